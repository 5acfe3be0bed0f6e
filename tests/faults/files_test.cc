// SPDX-License-Identifier: Apache-2.0
// File operations that fail at every point of reading and writing: an error of the kind io, the old file whole, nothing left
// behind, no descriptor kept.

#include <dirent.h>

#include <catch2/catch_test_macros.hpp>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <set>

#include "faults/injection.h"
#include "support/golden_models.h"
#include "tritium/io/npy.h"
#include "tritium/model/packed_cache.h"

using namespace tritium;

namespace {

const std::string kGguf = TRITIUM_TEST_DATA "/golden/llama/model.gguf";
const std::string kFolder = TRITIUM_TEST_DATA "/golden/llama";

std::size_t open_descriptors() {
  std::size_t n = 0;
  DIR* descriptors = ::opendir("/proc/self/fd");
  REQUIRE(descriptors != nullptr);
  while (::readdir(descriptors) != nullptr) ++n;
  (void)::closedir(descriptors);
  return n;
}

struct Strike {
  std::size_t failures = 0;
  std::set<std::string> operations;
};

/// Lets each file operation of the work fail in turn; `check` sees whether the work was done all the same.
Strike strike(const std::function<Status()>& work, int code, const std::function<void(bool ok)>& check) {
  Strike strike;
  require_ok(work());
  const std::size_t descriptors = open_descriptors();
  for (std::size_t n = 1;; ++n) {
    Status status;
    bool struck = false;
    std::string operation;
    {
      const FileFault fault(n, code);
      status = work();
      struck = fault.struck();
      operation = fault.operation();
    }
    INFO("operation " << n << ", " << operation << (status.ok() ? "" : ": " + status.error().message));
    if (struck) strike.operations.insert(operation);
    if (!status.ok()) {
      ++strike.failures;
      CHECK(status.error().code == Errc::io);
      CHECK(is_one_printable_line(status.error().message));
    }
    check(status.ok());
    CHECK(open_descriptors() == descriptors);
    if (!struck) break;
    REQUIRE(n < 1000);
  }
  return strike;
}

}  // namespace

TEST_CASE("writing fails at every operation: the old file or the new one, no temporary", "[files]") {
  const Checkpoint checkpoint = open_checkpoint(kGguf);
  PackedRecord record;
  LoadOptions load;
  load.record = &record;
  const std::unique_ptr<Model> model = value_of(try_load(checkpoint, load));
  const std::vector<float> values(100000, 0.5f);
  const TemporaryFolder folder;
  const std::string out = folder / "out";
  const std::function<Status()> writers[] = {[&]() -> Status {
                                               TRITIUM_ASSIGN(AtomicFileWriter file, AtomicFileWriter::create(out));
                                               TRITIUM_TRY(file.reserve(300000));
                                               TRITIUM_TRY(file.write_zeros(200000));
                                               TRITIUM_TRY(file.write(std::as_bytes(std::span(values))));
                                               return file.commit();
                                             },
                                             [&]() -> Status {
                                               TRITIUM_ASSIGN(NpyWriter<float> file,
                                                              NpyWriter<float>::create(out, 1000, 100));
                                               TRITIUM_TRY(file.append(values));
                                               return file.finish();
                                             },
                                             [&] { return try_write_packed(out, checkpoint, load, record); }};
  std::size_t failures = 0;
  for (const std::function<Status()>& writer : writers) {
    require_ok(writer());
    const std::string whole = file_contents(out);
    for (const int code : {ENOSPC, EIO}) {
      const Strike made = strike(
          [&] {
            std::ofstream(out, std::ios::trunc) << "the old one";
            return writer();
          },
          code,
          [&](bool ok) {
            const std::string bytes = file_contents(out);
            CHECK((bytes == whole || (!ok && bytes == "the old one")));
            CHECK(folder.entries() == std::vector<std::string>{"out"});
          });
      for (const char* operation : {"write", "fsync", "renameat", "openat", "open", "fstat"}) {
        INFO(operation);
        CHECK(made.operations.contains(operation));
      }
      CHECK(made.failures >= 6);
      failures += made.failures;
    }
  }
  std::printf("figure: faults: writing: %zu failed operations became errors, 0 half files\n", failures);
}

TEST_CASE("reading fails at every operation", "[files]") {
  std::size_t failures = 0;
  for (const std::string& path : {kGguf, kFolder}) {
    for (const FileAccess access : {FileAccess::map, FileAccess::read}) {
      Checkpoint::Options options;
      options.access = access;
      const Strike made = strike(
          [&]() -> Status {
            TRITIUM_ASSIGN(const Checkpoint checkpoint, try_open(path, options));
            return checkpoint.check_unchanged();
          },
          EIO, [](bool) {});
      CHECK(made.operations.contains(access == FileAccess::map ? "mmap" : "pread"));
      CHECK(made.failures >= 3);
      failures += made.failures;
    }
  }
  std::printf("figure: faults: reading: %zu failed operations became errors\n", failures);
}

TEST_CASE("a file that shrinks behind a copy is an error of the load", "[files]") {
  const TemporaryFolder folder;
  const std::string path = folder / "model.gguf";
  std::filesystem::copy(kGguf, path);
  Checkpoint::Options options;
  options.access = FileAccess::read;  // behind a mapping it is SIGBUS, which the application handles (mapped_file.h)
  const Checkpoint checkpoint = value_of(try_open(path, options));
  std::filesystem::resize_file(path, 4096);
  const Error error = error_of(try_load(checkpoint));
  CHECK(error.code == Errc::io);
  CHECK(contains(error.message, "changed while in use"));
}
