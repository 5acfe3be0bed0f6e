// SPDX-License-Identifier: Apache-2.0
// A model from a packed cache is the model that was packed, to the bit; a cache that does not fit is refused, whatever of it
// differs or is damaged.
#include "tritium/model/packed_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <functional>
#include <set>

#include "support/golden_models.h"
#include "tritium/model/load.h"

using namespace tritium;

namespace {

using Path = std::filesystem::path;

/// Packs a model into `cache` and gives it back.
std::unique_ptr<Model> pack_to(const std::string& cache, const std::string& path, LoadOptions options = {}) {
  const Checkpoint checkpoint = open_checkpoint(path);
  PackedRecord record;
  options.record = &record;
  auto model = value_of(try_load(checkpoint, options));
  require_ok(write_packed_cache(cache, checkpoint, options, record));
  return model;
}

Result<std::unique_ptr<Model>> load_from(const std::string& cache, const std::string& path, LoadOptions options = {}) {
  TRITIUM_ASSIGN(const Checkpoint checkpoint, try_open(path));
  TRITIUM_ASSIGN(options.cache, PackedCache::open(cache));
  return try_load(checkpoint, options);
}

std::vector<float> logits_of(const Model& model, const GoldenRow& row) {
  return all_logits(*make_decoder(model, KvType::f16), row.tokens());
}

/// How many matrices of a model are not in its cache's mapping.
std::size_t matrices_elsewhere(const Model& model) {
  std::size_t count = 0;
  model.weights.visit([&](const PackedMatrix& matrix) {
    if (!model.weights.panels->holds(reinterpret_cast<const std::byte*>(matrix.data()))) ++count;
  });
  return count;
}

/// Bytes on a 64-byte boundary.
struct Bytes {
  explicit Bytes(std::string_view text) : buffer(value_of(AlignedBuffer::allocate(text.size()))) {
    std::memcpy(buffer.data(), text.data(), text.size());
  }
  [[nodiscard]] std::span<const std::byte> span() const { return {buffer.data(), buffer.size()}; }
  template <class T>
  void put(std::size_t offset, T value) {
    std::memcpy(buffer.data() + offset, &value, sizeof(value));
  }
  template <class T>
  [[nodiscard]] T get(std::size_t offset) const {
    return load_little_endian<T>(buffer.data() + offset);
  }
  /// Makes the hash of the directory right again.
  void seal() {
    const auto head = span().first(static_cast<std::size_t>(get<std::uint64_t>(24)));
    put(16, detail::hash_of(head.subspan(24)));
  }
  AlignedBuffer buffer;
};

std::string refusal(std::span<const std::byte> bytes) {
  const auto cache = PackedCache::view(bytes, "c.tritium");
  if (cache.ok()) FAIL("a damaged cache was believed");
  CHECK(is_one_printable_line(cache.error().message));
  return cache.error().message;
}

timespec modified(const std::string& path) {
  struct stat status{};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mtim;
}
void set_modified(const std::string& path, timespec time) {
  const timespec times[] = {time, time};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}
void flip_byte(const std::string& path, std::size_t at) {
  std::string bytes = file_contents(path);
  REQUIRE(at < bytes.size());
  bytes[at] = static_cast<char>(bytes[at] ^ 1);
  write_file(path, bytes);
}

}  // namespace

TEST_CASE("a model from a packed cache gives the same bits, from every golden file", "[golden][packed_cache]") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  std::size_t with_choices = 0;
  for (const GoldenRow& row : golden_rows()) {
    for (const std::string& path : row.paths()) {
      LoadOptions rounded;
      rounded.weights = PackFormat::int8_g32;
      rounded.head = PackFormat::int4_g32;
      for (const LoadOptions& options : {LoadOptions(), exact_options(), rounded}) {
        INFO(path << ", " << (options.exact ? "exact" : options.weights ? "rounded" : "kept"));
        const auto packed = pack_to(cache, path, options);
        const auto mapped = value_of(load_from(cache, path, options));
        REQUIRE(mapped->weights.panels != nullptr);
        CHECK(matrices_elsewhere(*mapped) == 0);
        CHECK(difference(logits_of(*mapped, row), logits_of(*packed, row)) == "");
        if (Bytes(file_contents(cache)).get<std::uint32_t>(52) != 0) ++with_choices;
      }
    }
  }
  CHECK(with_choices >= 3);  // TQ1_0 and TQ2_0, whose format depends on the weights
}

TEST_CASE("a rotated model from a packed cache gives the same bits", "[golden][packed_cache]") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  std::size_t rotated = 0;
  for (const GoldenRow& row : golden_rows()) {
    for (const std::string& path : row.paths()) {
      for (const bool exact : {false, true}) {
        LoadOptions options = exact ? exact_options() : LoadOptions();
        options.rotate = true;
        const Checkpoint checkpoint = open_checkpoint(path);
        if (!try_load(checkpoint, options).ok()) continue;  // a family that cannot be rotated
        INFO(path);
        ++rotated;
        const auto packed = pack_to(cache, path, options);
        const auto mapped = value_of(load_from(cache, path, options));
        CHECK(matrices_elsewhere(*mapped) == 0);
        CHECK(difference(logits_of(*mapped, row), logits_of(*packed, row)) == "");
        CHECK(contains(message_of(load_from(cache, path, exact ? exact_options() : LoadOptions())), "rotated"));
      }
    }
  }
  CHECK(rotated >= 8);
}

TEST_CASE("both stacks of an encoder-decoder come from one packed cache", "[golden][packed_cache]") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  for (const char* name : {"mu", "mu-dual", "t5gemma"}) {
    INFO(name);
    const std::string path = std::string(TRITIUM_TEST_DATA "/golden_pairs/") + name;
    const GoldenRow row = read_golden(path);
    const Json json = value_of(read_json_file(path + "/golden.json", {}));
    const auto source = value_of(value_of(JsonObject::of(json, "golden.json")).get_array<std::int32_t>("source_ids"));
    const Checkpoint checkpoint = open_checkpoint(path);
    PackedRecord record;
    LoadOptions options;
    options.record = &record;
    const EncoderDecoderModel packed = value_of(try_load_pair(checkpoint, options));
    require_ok(write_packed_cache(cache, checkpoint, options, record));
    options.record = nullptr;
    options.cache = value_of(PackedCache::open(cache));
    CHECK(options.cache->n_matrices() == record.n_matrices());
    const EncoderDecoderModel mapped = value_of(try_load_pair(checkpoint, options));
    CHECK(matrices_elsewhere(*mapped.encoder) == 0);
    CHECK(matrices_elsewhere(*mapped.decoder) == 0);
    std::vector<float> logits[2];
    for (const bool from_cache : {false, true}) {
      EncoderDecoder::Options how;
      const auto both = value_of(EncoderDecoder::create(from_cache ? mapped : packed, how, Executor()));
      require_ok(both->read(source));
      logits[from_cache ? 1 : 0] = all_logits(both->decoder(), row.tokens());
    }
    CHECK(difference(logits[1], logits[0]) == "");
    options.exact = true;
    CHECK(contains(message_of(try_load_pair(checkpoint, options)), "does not fit"));
  }
}

TEST_CASE("a packed cache under other options is refused", "[packed_cache]") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  const std::string path = golden_row("llama").gguf();
  (void)pack_to(cache, path);
  (void)value_of(load_from(cache, path));
  const auto refused = [&](const std::function<void(LoadOptions&)>& change, const char* what) {
    LoadOptions options;
    change(options);
    const Error error = error_of(load_from(cache, path, options));
    CHECK(error.code == Errc::invalid_file);
    INFO(error.message);
    CHECK(contains(error.message, "packed cache does not fit"));
    CHECK(contains(error.message, what));
    CHECK(contains(error.message, cache));
  };
  refused([](LoadOptions& o) { o.weights = PackFormat::int8_g32; },
          "format of the layers: expected int8g32, found keep");
  refused([](LoadOptions& o) { o.head = PackFormat::f16; }, "format of the head: expected f16, found keep");
  refused([](LoadOptions& o) { o.exact = true; }, "exact path: expected yes, found no");
  refused([](LoadOptions& o) { o.rotate = true; }, "rotated: expected yes, found no");
}

TEST_CASE("a packed cache of another or a changed model is refused", "[packed_cache]") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  const std::string path = folder / "model.gguf";
  std::filesystem::copy(golden_row("llama").gguf(), path);
  (void)pack_to(cache, path);
  const timespec time = modified(path);
  const std::string original = file_contents(path);

  std::filesystem::rename(path, folder / "moved.gguf");  // the name does not matter
  (void)value_of(load_from(cache, folder / "moved.gguf"));
  std::filesystem::rename(folder / "moved.gguf", path);

  timespec later = time;
  later.tv_nsec = (time.tv_nsec + 1) % 1000000000;
  set_modified(path, later);
  CHECK(contains(message_of(load_from(cache, path)), "time of modification of " + path));
  for (const std::size_t at : {original.size() - 1, original.size() / 2}) {  // the same size and time
    flip_byte(path, at);
    set_modified(path, time);
    CHECK(contains(message_of(load_from(cache, path)), "hash of " + path));
    write_file(path, original);
  }
  write_file(path, original + std::string(16, '\0'));  // less than an alignment: still well formed
  set_modified(path, time);
  CHECK(contains(message_of(load_from(cache, path)), "bytes of " + path));
  write_file(path, original);
  set_modified(path, time);
  (void)value_of(load_from(cache, path));
  CHECK(contains(message_of(load_from(cache, golden_row("qwen3").gguf())), "does not fit"));
  CHECK(contains(message_of(load_from(cache, golden_row("llama").folder)), "files of the model"));
}

TEST_CASE("a packed cache knows the config of a folder", "[packed_cache]") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  const std::string model = folder / "model";
  std::filesystem::create_directory(model);
  for (const char* file : {"config.json", "model.safetensors"})
    std::filesystem::copy(Path(golden_row("llama").folder) / file, Path(model) / file);
  (void)pack_to(cache, model);
  (void)value_of(load_from(cache, model));
  std::string config = file_contents(model + "/config.json");
  config.insert(config.rfind('}'), " ");
  write_file(model + "/config.json", config);
  CHECK(contains(message_of(load_from(cache, model)), "bytes of config.json"));
  config.erase(config.rfind('}') - 1, 1);
  write_file(model + "/config.json", config);  // the same text at another time
  (void)value_of(load_from(cache, model));
  const std::size_t number = config.find_first_of("123456789", config.find("rms_norm_eps"));
  REQUIRE(number != std::string::npos);
  config[number] = config[number] == '1' ? '2' : '1';
  write_file(model + "/config.json", config);
  CHECK(contains(message_of(load_from(cache, model)), "hash of config.json"));
}

TEST_CASE("large files are known by samples and by everything before the tensors", "[packed_cache]") {
  const TemporaryFolder folder;
  const std::string path = folder / "model.gguf";
  GgufWriter writer;
  require_ok(writer.set("general.architecture", std::string_view("other")));
  const std::uint64_t dims[] = {1024, 512};
  require_ok(writer.add_tensor("w", TensorType::f32, dims));
  require_ok(writer.begin(path));
  const std::vector<float> row(1024, 1.0f);
  for (int r = 0; r < 512; ++r) require_ok(writer.append("w", std::as_bytes(std::span(row))));
  require_ok(writer.finish());
  const auto hash = [&] {
    const Checkpoint checkpoint = open_checkpoint(path);
    return value_of(detail::packed_sources(checkpoint)).at(0).hash;
  };
  const std::size_t data = file_contents(path).size() - sizeof(float) * 1024 * 512;
  const std::uint64_t before = hash();
  CHECK(hash() == before);
  const std::string original = file_contents(path);
  const std::size_t key = original.find("other");
  REQUIRE(key < data);
  for (const std::size_t at : {key, data, original.size() - 1, data + (original.size() - data - 64) / 255 * 100}) {
    flip_byte(path, at);
    CHECK(hash() != before);
    write_file(path, original);
  }
}

TEST_CASE("every byte of a packed cache's head is guarded, and every length", "[packed_cache]") {
  const TemporaryFolder folder;
  const std::string path = golden_row("llama-tied").gguf();
  (void)pack_to(folder / "c.tritium", path);
  const std::string whole = file_contents(folder / "c.tritium");
  Bytes bytes(whole);
  REQUIRE(PackedCache::view(bytes.span(), "c.tritium").ok());
  const auto head = static_cast<std::size_t>(bytes.get<std::uint64_t>(24));
  REQUIRE(head >= 4096);
  for (std::size_t i = 0; i < head; ++i) {
    for (const unsigned mask : {0x01u, 0x80u, 0xFFu}) {
      bytes.buffer.data()[i] ^= static_cast<std::byte>(mask);
      const auto cache = PackedCache::view(bytes.span(), "c.tritium");
      INFO("byte " << i << ", mask " << mask);
      REQUIRE(!cache.ok());
      bytes.buffer.data()[i] ^= static_cast<std::byte>(mask);
    }
  }
  REQUIRE(PackedCache::view(bytes.span(), "c.tritium").ok());

  for (std::size_t n = 0; n < whole.size(); n += n < 300 ? 1 : 173) {
    const Bytes cut(std::string_view(whole).substr(0, n));
    INFO(n << " bytes");
    (void)refusal(cut.span());
  }
  (void)refusal(Bytes(whole.substr(0, whole.size() - 1)).span());
  (void)refusal(Bytes(whole + '\0').span());
  write_file(folder / "cut.tritium", whole.substr(0, whole.size() / 2));
  CHECK(contains(message_of(PackedCache::open(folder / "cut.tritium")), "another size"));
  write_file(folder / "empty.tritium", "");
  CHECK(contains(message_of(PackedCache::open(folder / "empty.tritium")), "ends too early"));
  CHECK(contains(message_of(PackedCache::open(path)), "not a packed cache"));
  CHECK(error_of(PackedCache::open(folder / "none")).code == Errc::io);
  CHECK(error_of(PackedCache::open(folder.path())).code == Errc::io);
}

TEST_CASE("a packed cache whose directory lies is refused", "[packed_cache]") {
  const TemporaryFolder folder;
  const std::string path = golden_row("llama").gguf();
  (void)pack_to(folder / "c.tritium", path);
  const std::string whole = file_contents(folder / "c.tritium");
  const std::size_t first = 128 + 32;  // behind the header and one source: matrix 0
  const auto sealed = [&](const std::function<void(Bytes&)>& change) {
    Bytes bytes(whole);
    change(bytes);
    bytes.seal();
    return refusal(bytes.span());
  };
  constexpr std::uint64_t kHuge[] = {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{1} << 40, 0};
  for (const std::uint64_t x : kHuge) {
    INFO(x);
    for (const std::size_t field : {16, 24, 40, 48}) {  // n, k, place, bytes
      CHECK(contains(sealed([&](Bytes& b) { b.put(first + field, x); }), "c.tritium"));
    }
    if (x != 0) CHECK(contains(sealed([&](Bytes& b) { b.put(40, x); }), "matrices"));
    Bytes bytes(whole);
    bytes.put(24, x);  // the size of the directory itself
    CHECK(contains(refusal(bytes.span()), "directory size"));
  }
  CHECK(contains(sealed([&](Bytes& b) { b.put(first + 16, b.get<std::uint64_t>(first + 16) + 16); }), "bytes"));
  CHECK(contains(sealed([&](Bytes& b) { b.put(first + 40, b.get<std::uint64_t>(first + 40) + 1); }), "place"));
  CHECK(contains(sealed([&](Bytes& b) { b.put(first + 64 + 40, b.get<std::uint64_t>(first + 40)); }), "place"));
  CHECK(contains(sealed([&](Bytes& b) { b.put(first + 40, std::uint64_t{whole.size() - 64}); }), "place"));
  CHECK(contains(sealed([&](Bytes& b) { b.put(first + 32, std::uint64_t{2}); }), "flags"));
  CHECK(contains(sealed([&](Bytes& b) { b.put(first + 56, std::uint64_t{1}); }), "flags"));
  CHECK(contains(sealed([&](Bytes& b) { b.put(first, 'x'); }), "format"));
  CHECK(contains(sealed([&](Bytes& b) { b.put(48, ~std::uint32_t{0}); }), "files"));
  CHECK(contains(sealed([&](Bytes& b) { b.put(52, ~std::uint32_t{0}); }), "choices"));
  CHECK(contains(sealed([&](Bytes& b) { b.put(64, '9'); }), "version of the library"));
  Bytes version(whole);
  version.put(8, kPackedCacheVersion + 1);
  CHECK(contains(refusal(version.span()), "another version"));
  Bytes order(whole);
  order.put(12, std::uint32_t{0x04030201});
  CHECK(contains(refusal(order.span()), "byte order"));
  const Bytes shifted("x" + whole);
  CHECK(contains(refusal(shifted.span().subspan(1)), "64-byte boundary"));
}

TEST_CASE("matrices that are not those of the model are refused while it loads", "[packed_cache]") {
  const TemporaryFolder folder;
  const std::string path = golden_row("llama").gguf();
  (void)pack_to(folder / "c.tritium", path);
  const std::string whole = file_contents(folder / "c.tritium");
  const Checkpoint checkpoint = open_checkpoint(path);
  const auto load = [&](const std::function<void(Bytes&)>& change) {
    Bytes bytes(whole);
    change(bytes);
    bytes.seal();
    LoadOptions options;
    options.cache = value_of(PackedCache::view(bytes.span(), "c.tritium"));
    return try_load(checkpoint, options);
  };
  (void)value_of(load([](Bytes&) {}));
  const auto n = Bytes(whole).get<std::uint64_t>(40);
  REQUIRE(n >= 8);
  CHECK(contains(message_of(load([&](Bytes& b) { b.put(40, n - 1); })), "the end"));
  CHECK(contains(message_of(load([&](Bytes& b) {  // a row fewer in as many panels
                   b.put(160 + 16, b.get<std::uint64_t>(160 + 16) - 1);
                 })),
                 "matrix 0"));
  Bytes more(whole);
  more.put(52, std::uint32_t{3});  // choices that nobody asks for
  more.seal();
  LoadOptions options;
  options.cache = value_of(PackedCache::view(more.span(), "c.tritium"));
  CHECK(contains(message_of(try_load(checkpoint, options)), "does not fit"));
}

TEST_CASE("a packed cache that is not finished leaves the old file", "[packed_cache]") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  write_file(cache, "the old one");
  const std::string path = golden_row("llama").gguf();
  const Checkpoint checkpoint = open_checkpoint(path);
  PackedRecord record;
  LoadOptions options;
  options.record = &record;
  const auto model = value_of(try_load(checkpoint, options));
  for (std::size_t stop = 0; stop <= record.n_matrices(); ++stop) {
    std::size_t asked = 0;
    const Status status = write_packed_cache(cache, checkpoint, options, record, [&] { return asked++ == stop; });
    REQUIRE(!status.ok());
    CHECK(status.error().code == Errc::cancelled);
    CHECK(file_contents(cache) == "the old one");
    CHECK(folder.entries() == std::vector<std::string>{"c.tritium"});
  }
  require_ok(write_packed_cache(cache, checkpoint, options, record));
  (void)value_of(load_from(cache, path));
  CHECK(error_of(write_packed_cache(path, checkpoint, options, record)).code == Errc::invalid_argument);
  CHECK(error_of(write_packed_cache(folder / "no/such", checkpoint, options, record)).code == Errc::io);
}

TEST_CASE("a packed cache that shrinks in use is noticed; a copy in memory does not care", "[packed_cache]") {
  const TemporaryFolder folder;
  const std::string cache = folder / "c.tritium";
  const GoldenRow& row = golden_row("llama");
  const auto packed = pack_to(cache, row.gguf());
  const auto mapped = value_of(load_from(cache, row.gguf()));
  const Checkpoint checkpoint = open_checkpoint(row.gguf());
  LoadOptions options;
  options.cache = value_of(PackedCache::open(cache, FileAccess::read));
  const auto copied = value_of(try_load(checkpoint, options));
  options.cache.reset();  // the models keep what they need
  require_ok(mapped->weights.check_unchanged());
  CHECK(difference(logits_of(*mapped, row), logits_of(*packed, row)) == "");
  std::filesystem::resize_file(cache, 4096);
  const Error error = error_of(mapped->weights.check_unchanged());
  CHECK(contains(error.message, "file changed while in use"));
  CHECK(contains(error.message, cache));
  CHECK(difference(logits_of(*copied, row), logits_of(*packed, row)) == "");
}
