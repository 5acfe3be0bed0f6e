// SPDX-License-Identifier: Apache-2.0
// EncoderDecoder: two stacks of the same layers. The encoder reads a source once; the decoder attends to what it made of it.
//
//   M = N(encoder(source)), every token seeing every other;   K_c, V_c = W M once a layer;   logits = decoder(tokens; K_c, V_c)
//
// Nothing of the encoder is computed again while tokens are produced, and what the decoder holds grows with its own tokens only.
// Both stacks are the graph of decoder.h: policies of their specs tell them apart. Source: transformers modeling_t5gemma.py.
#pragma once

#include <memory>
#include <vector>

#include "tritium/model/decoder.h"

TRITIUM_NAMESPACE_BEGIN

/// A model of two stacks.
struct EncoderDecoderModel {
  std::unique_ptr<Model> encoder;  ///< reads the source
  std::unique_ptr<Model> decoder;  ///< writes the answer, attending to what the encoder made
};

/// Runs both stacks, with caches and buffers of its own. One thread at a time.
class EncoderDecoder {
 public:
  /// Sizes of both stacks.
  struct Options {
    std::size_t source = 0;       ///< tokens of the longest source; 0: the encoder's context
    std::size_t context = 0;      ///< positions of the decoder; 0: its own context
    std::size_t max_batch = 512;  ///< of the decoder
    KvType kv = KvType::f16;      ///< type of cached keys and values
  };

  /// `model` must outlive the result. Errors: as Decoder::create().
  static Result<std::unique_ptr<EncoderDecoder>> create(const EncoderDecoderModel& model, const Options& options,
                                                        const Executor& executor) {
    return no_throw([&]() -> Result<std::unique_ptr<EncoderDecoder>> {
      std::unique_ptr<EncoderDecoder> both(new EncoderDecoder());
      const std::size_t source = options.source == 0 ? model.encoder->spec.context : options.source;
      Decoder::Options encoder{source, source, options.kv, 0};  // one batch: its tokens see each other
      Decoder::Options decoder{options.context, options.max_batch, options.kv, source};
      TRITIUM_ASSIGN(both->encoder_, Decoder::create(*model.encoder, encoder, executor));
      TRITIUM_ASSIGN(both->decoder_, Decoder::create(*model.decoder, decoder, executor));
      TRITIUM_ASSIGN(both->memory_, Array<float>::allocate(source * model.encoder->spec.hidden));
      return both;
    });
  }

  /// Encodes a source; the decoder starts from position 0.
  /// Errors: out_of_range (ids, a source that is empty or too long), out_of_memory.
  Status read(std::span<const std::int32_t> source) {
    if (!encoder_->rewind(0)) return Error{Errc::invalid_argument, "an encoder cannot be rewound"};
    TRITIUM_TRY(encoder_->forward(source, Decoder::Logits::none, nullptr));
    encoder_->read_hidden(memory_.data());
    return decoder_->set_memory({memory_.data(), source.size(), encoder_->model().spec.hidden});
  }

  /// The decoder, ready once a source has been read: forward(), rewind(), position() as of any other.
  [[nodiscard]] Decoder& decoder() { return *decoder_; }

 private:
  EncoderDecoder() = default;

  std::unique_ptr<Decoder> encoder_;
  std::unique_ptr<Decoder> decoder_;
  Array<float> memory_;  // (source, hidden of the encoder)
};

TRITIUM_NAMESPACE_END
