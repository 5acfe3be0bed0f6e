// SPDX-License-Identifier: Apache-2.0
// PackedCache: the packed panels of a model in a file beside its checkpoint, mapped instead of packed again.
//
// The checkpoint stays the source of everything else: facts, tokenizer, norms, tables that are only looked up. The cache holds
// the matrices in the order in which the loader asks for them; every one is checked against what the loader would have packed.
// Panels are the same bytes on every instruction set, so one file serves all tiers. It says which files it was made of, under
// which options and by which version, and is refused whole where any of that differs. docs/formats.md has the picture.
#pragma once

#include <bit>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tritium/format/packed_matrix.h"
#include "tritium/io/byte_reader.h"
#include "tritium/io/checkpoint.h"
#include "tritium/io/file_writer.h"

TRITIUM_NAMESPACE_BEGIN

/// Counts changes of the file's layout, of panels, and of which matrices the loader makes in which order.
inline constexpr std::uint32_t kPackedCacheVersion = 1;

/// A file that panels were made of. Files that are small are hashed whole and need no time.
struct PackedSource {
  std::string name;               ///< for messages; not in the cache, so that a folder may be moved
  std::uint64_t bytes = 0;        ///< of the file
  std::uint64_t seconds = 0;      ///< of the last modification
  std::uint64_t nanoseconds = 0;  ///< beside the seconds
  std::uint64_t hash = 0;         ///< of everything before the first tensor, and of samples of the rest
};

/// All that panels depend on.
struct PackedOrigin {
  std::vector<PackedSource> files;    ///< what the model was read from
  std::optional<PackFormat> weights,  ///< of LoadOptions, as all below
      head;                           ///< of the output head
  bool exact = false;                 ///< everything in f32
  bool rotate = false;                ///< matrices were rotated (model/hadamard.h)
};

namespace detail {

/// 64 bits of any bytes, in one pass: h = mix((h ^ word) * odd). Every step is a bijection of h and of the word, so a change
/// of one word always shows. Against accidents, not against forgers.
class Hash64 {
 public:
  void add(std::span<const std::byte> bytes) {
    std::size_t i = 0;
    for (; i + 8 <= bytes.size(); i += 8) step(load_little_endian<std::uint64_t>(bytes.data() + i));
    std::uint64_t tail = 0;
    for (std::size_t j = i; j < bytes.size(); ++j) tail |= std::to_integer<std::uint64_t>(bytes[j]) << 8 * (j - i);
    step(tail);
    step(bytes.size());
  }
  [[nodiscard]] std::uint64_t value() const { return hash_; }

 private:
  void step(std::uint64_t word) {
    hash_ = (hash_ ^ word) * 0x9E3779B97F4A7C15u;
    hash_ ^= hash_ >> 32;
  }
  std::uint64_t hash_ = 0x243F6A8885A308D3u;
};

inline std::uint64_t hash_of(std::span<const std::byte> bytes) {
  Hash64 hash;
  hash.add(bytes);
  return hash.value();
}

/// What a checkpoint's files are now. Errors: io, out_of_memory.
inline Result<std::vector<PackedSource>> packed_sources(const Checkpoint& checkpoint) {
  constexpr std::size_t kSamples = 256;
  constexpr std::size_t kSampleBytes = 64;
  constexpr std::size_t kWhole = std::size_t{1} << 20;
  constexpr std::size_t kMostHeader = std::size_t{64} << 20;
  std::vector<PackedSource> sources;
  for (const MappedFile* file : checkpoint.files()) {
    const std::span<const std::byte> bytes = file->bytes();
    std::size_t header = std::min(bytes.size(), kMostHeader);
    for (const TensorSource& t : checkpoint.tensors()) {
      if (file->holds(t.data)) header = std::min(header, static_cast<std::size_t>(t.data - bytes.data()));
    }
    const std::span<const std::byte> rest = bytes.subspan(header);
    Hash64 hash;
    hash.add(bytes.first(header));
    if (rest.size() <= kWhole) {
      hash.add(rest);
    } else {
      const std::size_t stride = (rest.size() - kSampleBytes) / (kSamples - 1);
      const auto sample = [&](std::size_t n) {
        return rest.subspan(n + 1 == kSamples ? rest.size() - kSampleBytes : n * stride, kSampleBytes);
      };
      for (std::size_t n = 0; n < kSamples; ++n)
        prefetch_mapped_pages(sample(n));  // one wait for the disk, not one each
      for (std::size_t n = 0; n < kSamples; ++n) hash.add(sample(n));
      drop_mapped_pages(rest);
    }
    const timespec modified = file->modified();
    sources.push_back({std::string(file->path()), bytes.size(), static_cast<std::uint64_t>(modified.tv_sec),
                       static_cast<std::uint64_t>(modified.tv_nsec), hash.value()});
  }
  if (checkpoint.kind() == Checkpoint::Kind::gguf) return sources;
  for (const char* name : {"config.json", "model.safetensors.index.json"}) {
    if (!checkpoint.has_sibling(name)) continue;
    TRITIUM_ASSIGN(const std::string text, checkpoint.read_sibling(name, kMostHeader));
    sources.push_back({name, text.size(), 0, 0, hash_of(std::as_bytes(std::span(text.data(), text.size())))});
  }
  return sources;
}

/// Sizes and places in the file.
struct PackedLayout {
  static constexpr char kMagic[8] = {'T', 'R', 'I', 'T', 'P', 'A', 'C', 'K'};
  static constexpr std::uint32_t kEndianMark = 0x01020304;
  static constexpr std::size_t kHashAt = 16;  ///< of all bytes from kHashedAt to the first panel
  static constexpr std::size_t kHashedAt = 24;
  static constexpr std::size_t kHeaderBytes = 128;
  static constexpr std::size_t kSourceBytes = 32;
  static constexpr std::size_t kMatrixBytes = 64;
  static constexpr std::size_t kNameBytes = 16;
  static constexpr std::size_t kPageBytes = 4096;
  static constexpr std::size_t kLargeMatrix = std::size_t{1} << 20;  ///< from here on a matrix begins on a page

  static constexpr std::size_t alignment(std::size_t bytes) { return bytes >= kLargeMatrix ? kPageBytes : kLineBytes; }
};

constexpr std::string_view packed_name(const std::optional<PackFormat>& format) {
  return format ? info(*format).name : std::string_view("keep");
}

}  // namespace detail

/// What a loader packed, in its order, for writing. Refers to the model's memory: write before the model goes.
class PackedRecord {
 public:
  /// Appends a matrix, in the order in which the loader asks for them.
  void add(const PackedMatrix& matrix) {
    entries_.push_back({matrix.format(), matrix.interleaved(), matrix.n(), matrix.k(), matrix.data(), matrix.bytes()});
  }
  /// An answer of keep_format() that took a look at the weights.
  void add_choice(PackFormat kept) { choices_.push_back(kept == PackFormat::ternary2 ? 1 : 0); }

  [[nodiscard]] std::size_t n_matrices() const { return entries_.size(); }  ///< Matrices so far.
  /// Bytes of all panels.
  [[nodiscard]] std::size_t bytes() const {
    std::size_t bytes = 0;
    for (const Entry& e : entries_) bytes += e.bytes;
    return bytes;
  }

  /// Writes the cache; the old file stays until the new one is whole. `cancelled` is asked between matrices.
  /// Errors: io (no space, ...), cancelled.
  [[nodiscard]] Status write(std::string_view path, const PackedOrigin& origin,
                             const std::function<bool()>& cancelled = {}) const {
    return no_throw([&]() -> Status {
      using L = detail::PackedLayout;
      std::string head(L::kHeaderBytes, '\0');
      const auto append = [&](const auto value) {
        for (std::size_t i = 0; i < sizeof(value); ++i)
          head += static_cast<char>(static_cast<std::uint64_t>(value) >> 8 * i & 255);
      };
      for (const PackedSource& file : origin.files) {
        for (const std::uint64_t x : {file.bytes, file.seconds, file.nanoseconds, file.hash}) append(x);
      }
      const std::size_t directory_bytes = entries_.size() * L::kMatrixBytes + choices_.size();
      const std::size_t head_bytes = round_up(head.size() + directory_bytes, L::kPageBytes);
      std::size_t at = head_bytes;
      std::vector<std::size_t> offsets;
      for (const Entry& e : entries_) {
        at = round_up(at, L::alignment(e.bytes));
        offsets.push_back(at);
        append_name(head, info(e.format).name);
        for (const std::uint64_t x :
             {e.n, e.k, e.interleaved ? std::size_t{1} : std::size_t{0}, at, e.bytes, std::size_t{0}})
          append(x);
        at += e.bytes;
      }
      const std::size_t file_bytes =
          round_up(at + kLineBytes, L::kPageBytes);  // kernels read a line past the last panel
      head.append(choices_.begin(), choices_.end());
      head.resize(head_bytes, '\0');
      const auto put = [&](std::size_t offset, const auto value) {
        for (std::size_t i = 0; i < sizeof(value); ++i)
          head[offset + i] = static_cast<char>(static_cast<std::uint64_t>(value) >> 8 * i & 255);
      };
      const auto put_name = [&](std::size_t offset, std::string_view name) {
        std::memcpy(head.data() + offset, name.data(), std::min(name.size(), L::kNameBytes));
      };
      std::memcpy(head.data(), L::kMagic, sizeof(L::kMagic));
      put(8, kPackedCacheVersion);
      std::memcpy(head.data() + 12, &L::kEndianMark, sizeof(L::kEndianMark));
      put(24, std::uint64_t{head_bytes});
      put(32, std::uint64_t{file_bytes});
      put(40, std::uint64_t{entries_.size()});
      put(48, static_cast<std::uint32_t>(origin.files.size()));
      put(52, static_cast<std::uint32_t>(choices_.size()));
      put(56, std::uint32_t{origin.exact ? 1u : 0u});
      put(60, std::uint32_t{origin.rotate ? 1u : 0u});
      put_name(64, TRITIUM_VERSION);
      put_name(80, detail::packed_name(origin.weights));
      put_name(96, detail::packed_name(origin.head));
      const auto head_span = std::as_bytes(std::span(head.data(), head.size()));
      put(L::kHashAt, detail::hash_of(head_span.subspan(L::kHashedAt)));

      TRITIUM_ASSIGN(AtomicFileWriter file, AtomicFileWriter::create(path));
      TRITIUM_TRY(file.reserve(file_bytes));
      TRITIUM_TRY(file.write(std::string_view(head)));
      for (std::size_t i = 0; i < entries_.size(); ++i) {
        if (cancelled && cancelled()) return Error{Errc::cancelled, "cancelled"};
        TRITIUM_TRY(file.write_zeros(offsets[i] - file.size()));
        TRITIUM_TRY(file.write({reinterpret_cast<const std::byte*>(entries_[i].data), entries_[i].bytes}));
      }
      TRITIUM_TRY(file.write_zeros(file_bytes - file.size()));
      if (cancelled && cancelled()) return Error{Errc::cancelled, "cancelled"};
      return file.commit();
    });
  }

 private:
  struct Entry {
    PackFormat format;
    bool interleaved;
    std::size_t n, k;
    const std::uint8_t* data;
    std::size_t bytes;
  };
  static void append_name(std::string& out, std::string_view name) {
    out.append(name.substr(0, detail::PackedLayout::kNameBytes));
    out.append(detail::PackedLayout::kNameBytes - std::min(name.size(), detail::PackedLayout::kNameBytes), '\0');
  }

  std::vector<Entry> entries_;
  std::vector<char> choices_;
};

/// The panels of an earlier load, mapped and checked. May be read by any number of threads.
class PackedCache {
 public:
  /// Maps a cache and reads its directory; panels are fetched ahead in the background, not waited for. FileAccess::read
  /// takes a copy, which later changes of the file cannot reach.
  /// Errors: as MappedFile::open; invalid_file (not a cache, damaged, cut short); unsupported (another version).
  static Result<std::shared_ptr<const PackedCache>> open(std::string_view path, FileAccess access = FileAccess::map) {
    return no_throw([&]() -> Result<std::shared_ptr<const PackedCache>> {
      auto cache = std::make_shared<PackedCache>();
      TRITIUM_ASSIGN(cache->file_, MappedFile::open(path, access));
      TRITIUM_TRY(cache->read(cache->file_.bytes(), path));
      prefetch_mapped_pages(cache->bytes_);
      return std::shared_ptr<const PackedCache>(std::move(cache));
    });
  }
  /// The same over bytes that outlive the object, on a 64-byte boundary; `name` stands for the path in messages.
  /// Errors: as open(); invalid_argument (alignment).
  static Result<std::shared_ptr<const PackedCache>> view(std::span<const std::byte> bytes, std::string_view name) {
    return no_throw([&]() -> Result<std::shared_ptr<const PackedCache>> {
      auto cache = std::make_shared<PackedCache>();
      TRITIUM_TRY(cache->read(bytes, name));
      return std::shared_ptr<const PackedCache>(std::move(cache));
    });
  }

  [[nodiscard]] std::string_view path() const { return path_; }             ///< The path that was opened.
  [[nodiscard]] std::size_t n_matrices() const { return entries_.size(); }  ///< Matrices in it.
  /// Bytes of the file.
  [[nodiscard]] std::size_t bytes() const { return bytes_.size(); }
  /// The mapping that matrices point into; without bytes for a view.
  [[nodiscard]] const MappedFile& file() const { return file_; }

  /// Whether panels made of `now` would be those of this file. Errors: invalid_file, naming the first thing that differs.
  [[nodiscard]] Status check_origin(const PackedOrigin& now) const {
    return no_throw([&]() -> Status {
      const auto differs = [&](std::string_view what, std::string_view expected, std::string_view found) {
        return make_error(Errc::invalid_file, "packed cache does not fit", concat(printable_path(path_), ", ", what),
                          expected, found);
      };
      const auto truth = [](bool x) { return x ? "yes" : "no"; };
      if (weights_ != detail::packed_name(now.weights))
        return differs("format of the layers", detail::packed_name(now.weights), printable(weights_));
      if (head_ != detail::packed_name(now.head))
        return differs("format of the head", detail::packed_name(now.head), printable(head_));
      if (exact_ != now.exact) return differs("packed for the exact path", truth(now.exact), truth(exact_));
      if (rotate_ != now.rotate) return differs("rotated", truth(now.rotate), truth(rotate_));
      if (sources_.size() != now.files.size()) {
        return differs("files of the model", std::to_string(now.files.size()), std::to_string(sources_.size()));
      }
      for (std::size_t i = 0; i < sources_.size(); ++i) {
        const PackedSource& own = sources_[i];
        const PackedSource& other = now.files[i];
        const std::string of = concat(" of ", printable_path(other.name));
        if (own.bytes != other.bytes)
          return differs("bytes" + of, std::to_string(other.bytes), std::to_string(own.bytes));
        if (own.seconds != other.seconds || own.nanoseconds != other.nanoseconds) {
          return differs("time of modification" + of, concat(other.seconds, " s ", other.nanoseconds, " ns"),
                         concat(own.seconds, " s ", own.nanoseconds, " ns"));
        }
        if (own.hash != other.hash) return differs("hash" + of, std::to_string(other.hash), std::to_string(own.hash));
      }
      return {};
    });
  }

  /// Matrix i as a view into the file, if it is what the loader would pack now.
  /// Errors: invalid_file (none left; another format or shape), out_of_range (a shape that no matrix can have).
  [[nodiscard]] Result<PackedMatrix> matrix(std::size_t i, PackFormat format, std::size_t n, std::size_t k,
                                            bool interleaved) const {
    return no_throw([&]() -> Result<PackedMatrix> {
      const auto text = [](PackFormat f, std::size_t rows, std::size_t cols, bool pair) {
        return concat(pair ? "two of " : "", info(f).name, " ", rows, " x ", cols);
      };
      const bool there = i < entries_.size();
      if (!there || entries_[i].format != format || entries_[i].n != n || entries_[i].k != k ||
          entries_[i].interleaved != interleaved) {
        return make_error(Errc::invalid_file, "packed cache does not fit",
                          concat(printable_path(path_), ", matrix ", i), text(format, n, k, interleaved),
                          there ? text(entries_[i].format, entries_[i].n, entries_[i].k, entries_[i].interleaved)
                                : std::string("the end"));
      }
      return at(i);
    });
  }
  /// Matrix i < n_matrices(), whatever it is.
  [[nodiscard]] Result<PackedMatrix> at(std::size_t i) const {
    const Entry& e = entries_[i];
    return PackedMatrix::view(e.format, e.n, e.k, e.interleaved,
                              reinterpret_cast<const std::uint8_t*>(bytes_.data()) + e.offset, e.bytes);
  }
  /// Answer i of keep_format() about weights that it would have to look at. Past the end check_used_up() will tell.
  [[nodiscard]] PackFormat choice(std::size_t i) const {
    return i < choices_.size() && choices_[i] == std::byte{1} ? PackFormat::ternary2 : PackFormat::ternary2_g256;
  }
  /// A loader is done after as many matrices and choices. Errors: invalid_file (they are not all there are).
  [[nodiscard]] Status check_used_up(std::size_t n_matrices, std::size_t n_choices) const {
    return no_throw([&]() -> Status {
      if (n_matrices == entries_.size() && n_choices == choices_.size()) return {};
      return make_error(Errc::invalid_file, "packed cache does not fit", printable_path(path_),
                        concat(n_matrices, " matrices, ", n_choices, " choices"),
                        concat(entries_.size(), " and ", choices_.size()));
    });
  }

 private:
  struct Entry {
    PackFormat format = PackFormat::f32;
    bool interleaved = false;
    std::size_t n = 0, k = 0, offset = 0, bytes = 0;
  };

  Status read(std::span<const std::byte> bytes, std::string_view path) {
    using L = detail::PackedLayout;
    path_ = path;
    bytes_ = bytes;
    ByteReader reader(bytes, path_);
    const auto refuse = [&](std::size_t offset, std::string_view what, std::string_view field,
                            std::string_view expected, std::string_view found) {
      return reader.error_at(offset, Errc::invalid_file, what, field, expected, found);
    };
    TRITIUM_ASSIGN(const std::span<const std::byte> magic, reader.read_bytes(sizeof(L::kMagic), "magic"));
    if (std::memcmp(magic.data(), L::kMagic, sizeof(L::kMagic)) != 0) {
      return refuse(0, "not a packed cache", "magic", "TRITPACK", "other bytes");
    }
    TRITIUM_ASSIGN(const auto version, reader.read<std::uint32_t>("version"));
    if (version != kPackedCacheVersion) {
      return reader.error_at(8, Errc::unsupported, "packed cache of another version", "version",
                             std::to_string(kPackedCacheVersion), std::to_string(version));
    }
    TRITIUM_ASSIGN(const std::span<const std::byte> mark, reader.read_bytes(sizeof(L::kEndianMark), "byte order"));
    if (std::memcmp(mark.data(), &L::kEndianMark, sizeof(L::kEndianMark)) != 0) {
      return refuse(12, "packed cache of another byte order", "byte order", "this machine's", "another");
    }
    TRITIUM_ASSIGN(const auto hash, reader.read<std::uint64_t>("hash"));
    TRITIUM_ASSIGN(const auto head_bytes, reader.read<std::uint64_t>("directory size"));
    TRITIUM_ASSIGN(const auto file_bytes, reader.read<std::uint64_t>("file size"));
    if (file_bytes != bytes.size()) {
      return refuse(32, "packed cache has another size than when it was written", "file size",
                    concat(file_bytes, " bytes"), std::to_string(bytes.size()));
    }
    if (head_bytes < L::kHeaderBytes || head_bytes > bytes.size()) {
      return refuse(24, "packed cache is damaged", "directory size", concat(L::kHeaderBytes, " to ", bytes.size()),
                    std::to_string(head_bytes));
    }
    const std::span<const std::byte> head = bytes.first(static_cast<std::size_t>(head_bytes));
    if (const std::uint64_t real = detail::hash_of(head.subspan(L::kHashedAt)); real != hash) {
      return refuse(L::kHashAt, "packed cache is damaged", "hash of the directory", std::to_string(hash),
                    std::to_string(real));
    }
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % kLineBytes != 0) {
      return make_error(Errc::invalid_argument, "packed cache in memory", printable_path(path_),
                        "bytes on a 64-byte boundary", "others");
    }
    return read_directory(head);
  }

  Status read_directory(std::span<const std::byte> head) {
    using L = detail::PackedLayout;
    ByteReader reader(head, path_);
    TRITIUM_TRY(reader.read_bytes(40, "header"));
    TRITIUM_ASSIGN(const auto n_matrices, reader.read<std::uint64_t>("matrices"));
    TRITIUM_ASSIGN(const auto n_sources, reader.read<std::uint32_t>("files"));
    TRITIUM_ASSIGN(const auto n_choices, reader.read<std::uint32_t>("choices"));
    TRITIUM_ASSIGN(const auto exact, reader.read<std::uint32_t>("exact"));
    TRITIUM_ASSIGN(const auto rotate, reader.read<std::uint32_t>("rotate"));
    exact_ = exact != 0;
    rotate_ = rotate != 0;
    TRITIUM_ASSIGN(const std::string version, read_name(reader, "version of the library"));
    if (version != TRITIUM_VERSION) {  // the loader may make other matrices of the same files
      return reader.error_at(64, Errc::unsupported, "packed cache of another version", "version of the library",
                             TRITIUM_VERSION, printable(version));
    }
    TRITIUM_ASSIGN(weights_, read_name(reader, "format of the layers"));
    TRITIUM_ASSIGN(head_, read_name(reader, "format of the head"));
    TRITIUM_TRY(reader.read_bytes(L::kHeaderBytes - reader.position(), "header"));

    TRITIUM_TRY(reader.check_count(n_sources, 48, "files", head.size(), L::kSourceBytes));
    for (std::uint32_t i = 0; i < n_sources; ++i) {
      PackedSource source;
      for (std::uint64_t* x : {&source.bytes, &source.seconds, &source.nanoseconds, &source.hash}) {
        TRITIUM_ASSIGN(*x, reader.read<std::uint64_t>("file"));
      }
      sources_.push_back(std::move(source));
    }
    TRITIUM_TRY(reader.check_count(n_matrices, 40, "matrices", head.size(), L::kMatrixBytes));
    entries_.reserve(static_cast<std::size_t>(n_matrices));
    std::size_t end = head.size();
    for (std::uint64_t i = 0; i < n_matrices; ++i) {
      const std::size_t start = reader.position();
      const std::string name = concat(i);
      reader.set_context("matrix", name);
      const auto refuse = [&](std::string_view field, std::string_view expected, std::string_view found) {
        return reader.error_at(start, Errc::invalid_file, "packed cache is damaged", field, expected, found);
      };
      Entry e;
      TRITIUM_ASSIGN(const std::string format, read_name(reader, "format"));
      const PackFormatInfo* known = find_pack_format(format);
      if (known == nullptr) return refuse("format", "one of 'tritium formats'", printable(format));
      e.format = known->format;
      std::uint64_t fields[6];  // n, k, interleaved, offset, bytes, 0
      for (std::uint64_t& x : fields) {
        TRITIUM_ASSIGN(x, reader.read<std::uint64_t>("field"));
      }
      if (fields[2] > 1 || fields[5] != 0) return refuse("flags", "0 or 1, and 0", concat(fields[2], ", ", fields[5]));
      e.n = static_cast<std::size_t>(fields[0]);
      e.k = static_cast<std::size_t>(fields[1]);
      e.interleaved = fields[2] == 1;
      e.offset = static_cast<std::size_t>(fields[3]);
      e.bytes = static_cast<std::size_t>(fields[4]);
      if (e.offset % kLineBytes != 0 || e.offset < end || e.offset > bytes_.size() ||
          bytes_.size() - e.offset < kLineBytes || e.bytes > bytes_.size() - e.offset - kLineBytes) {
        return refuse("place", concat("on a line, from ", end, " to ", bytes_.size()),
                      concat(e.bytes, " bytes at ", e.offset));
      }
      end = e.offset + e.bytes;
      entries_.push_back(e);
      if (!at(entries_.size() - 1).ok()) {
        return refuse("shape", "one that fits its bytes",
                      concat(known->name, " ", e.n, " x ", e.k, " in ", e.bytes, " bytes"));
      }
    }
    reader.set_context({}, {});
    TRITIUM_TRY(reader.check_count(n_choices, 52, "choices", head.size(), 1));
    TRITIUM_ASSIGN(choices_, reader.read_bytes(n_choices, "choices"));
    return {};
  }

  static Result<std::string> read_name(ByteReader& reader, std::string_view field) {
    TRITIUM_ASSIGN(const std::span<const std::byte> bytes, reader.read_bytes(detail::PackedLayout::kNameBytes, field));
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return std::string(text.substr(0, text.find('\0')));
  }

  std::string path_;
  MappedFile file_;
  std::span<const std::byte> bytes_;
  std::string weights_, head_;
  bool exact_ = false;
  bool rotate_ = false;
  std::vector<PackedSource> sources_;
  std::vector<Entry> entries_;
  std::span<const std::byte> choices_;
};

TRITIUM_NAMESPACE_END
