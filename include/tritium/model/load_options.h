// SPDX-License-Identifier: Apache-2.0
// LoadOptions: how load_model and load_encoder_decoder make a model of a file.
//
// Apart from the loader, which compiles every family: code that chooses options and calls a loader compiled elsewhere needs
// this header only.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "tritium/format/formats.h"

TRITIUM_NAMESPACE_BEGIN

class PackedCache;
class PackedRecord;

/// How a checkpoint becomes a model.
struct LoadOptions {
  /// Format of the layers' matrices; empty: keep what each tensor of the file holds, losslessly.
  std::optional<PackFormat> weights;
  /// Format of the output head; empty: keep.
  std::optional<PackFormat> head;
  /// Format of a narrower copy of the head that finds the largest logits (model/shortlist.h); empty: none. It takes memory of its own
  /// and serves Decoder::only_largest().
  std::optional<PackFormat> shortlist;
  /// The reference path: with `weights` and `head` f32, BitLinears keep their ternary weights and int8 activations.
  bool exact = false;
  /// Rotates the model into a basis in which few bits lose less (QuaRot): norms are folded into the matrices behind them, the
  /// residual stream, values and the MLP's middle are turned by Hadamard blocks. The same function, other weights.
  bool rotate = false;
  /// Panels that were packed before, of the same files and with the same weights, head, exact and rotate: mapped, not packed.
  std::shared_ptr<const PackedCache> cache;
  /// Where given, is told of every matrix that the model gets, for write_packed_cache().
  PackedRecord* record = nullptr;
  /// Called after each matrix with the bytes packed so far and in all; not from several threads at once.
  std::function<void(std::size_t done, std::size_t total)> progress;
};

TRITIUM_NAMESPACE_END
