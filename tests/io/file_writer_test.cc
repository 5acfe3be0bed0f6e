// SPDX-License-Identifier: Apache-2.0
#include "tritium/io/file_writer.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstdarg>
#include <random>

#include "io/allocation_meter.h"
#include "io/test_files.h"

using namespace tritium;

// --- the system calls of this executable, with faults on demand ------------------------------------------------------
namespace {

struct Faults {
  int write_error = 0;  // errno of the write that fails
  int write_after = 0;  // how many writes succeed first
  bool short_writes = false;
  bool interrupt = false;  // every other call to write or pread fails with EINTR
  bool short_reads = false;
  int read_error = 0;
  bool file_ends_early = false;
  int map_error = 0;
  int reserve_error = 0;
  int create_error = 0;
  int create_failures = 0;  // how many times
  int fsync_error = 0;
  int fsync_after = 0;
  int close_error = 0;
  int rename_error = 0;
  int truncate_before_fsync = -1;
  int calls = 0;
  int writes = 0;
  int fsyncs = 0;
};
Faults* faults = nullptr;  // set only while a test wants them

class FaultScope {
 public:
  explicit FaultScope(Faults& plan) { faults = &plan; }
  FaultScope(const FaultScope&) = delete;
  FaultScope& operator=(const FaultScope&) = delete;
  ~FaultScope() { faults = nullptr; }
};

template <class... Arguments>
long system_call(long number, Arguments... arguments) {
  return ::syscall(number, arguments...);
}
int fail_with(int code) {
  errno = code;
  return -1;
}

}  // namespace

extern "C" {
ssize_t write(int descriptor, const void* bytes, size_t size) {
  if (faults != nullptr && descriptor > 2) {
    if (faults->interrupt && ++faults->calls % 2 == 1) return fail_with(EINTR);
    if (faults->write_error != 0 && faults->writes++ >= faults->write_after) return fail_with(faults->write_error);
    if (faults->short_writes && size > 7) size = 7 + size / 3;
  }
  return system_call(SYS_write, descriptor, bytes, size);
}
ssize_t pread(int descriptor, void* bytes, size_t size, off_t offset) {
  if (faults != nullptr) {
    if (faults->interrupt && ++faults->calls % 2 == 1) return fail_with(EINTR);
    if (faults->read_error != 0) return fail_with(faults->read_error);
    if (faults->file_ends_early) return 0;
    if (faults->short_reads && size > 7) size = 7 + size / 3;
  }
  return system_call(SYS_pread64, descriptor, bytes, size, offset);
}
void* mmap(void* address, size_t size, int protection, int flags, int descriptor, off_t offset) noexcept {
  if (faults != nullptr && faults->map_error != 0 && descriptor >= 0) {
    errno = faults->map_error;
    return MAP_FAILED;
  }
  return reinterpret_cast<void*>(system_call(SYS_mmap, address, size, protection, flags, descriptor, offset));
}
int fallocate(int descriptor, int mode, off_t offset, off_t size) {
  if (faults != nullptr && faults->reserve_error != 0) return fail_with(faults->reserve_error);
  return static_cast<int>(system_call(SYS_fallocate, descriptor, mode, offset, size));
}
int openat(int folder, const char* path, int flags, ...) {
  if (faults != nullptr && (flags & O_CREAT) != 0 && faults->create_failures > 0) {
    --faults->create_failures;
    return fail_with(faults->create_error);
  }
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return static_cast<int>(system_call(SYS_openat, folder, path, flags, mode));
}
int fsync(int descriptor) {
  if (faults != nullptr) {
    if (faults->fsync_error != 0 && faults->fsyncs++ >= faults->fsync_after) return fail_with(faults->fsync_error);
    if (faults->truncate_before_fsync >= 0) {
      const long size = std::exchange(faults->truncate_before_fsync, -1);
      if (system_call(SYS_ftruncate, descriptor, size) != 0) return -1;
    }
  }
  return static_cast<int>(system_call(SYS_fsync, descriptor));
}
int close(int descriptor) {
  const int outcome = static_cast<int>(system_call(SYS_close, descriptor));
  if (faults != nullptr && faults->close_error != 0) return fail_with(std::exchange(faults->close_error, 0));
  return outcome;
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  if (faults != nullptr && faults->rename_error != 0) return fail_with(faults->rename_error);
  return static_cast<int>(system_call(SYS_renameat2, from_folder, from, to_folder, to, 0));
}
}

namespace {

std::string pattern(std::size_t size, unsigned seed = 1) {
  std::string text(size, '\0');
  std::minstd_rand random(seed);
  for (char& c : text) c = static_cast<char>(random() >> 8);
  return text;
}

Status write_whole(const std::string& path, std::string_view content, std::size_t piece) {
  TRITIUM_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(path));
  for (std::size_t at = 0; at < content.size(); at += piece) TRITIUM_TRY(writer.write(content.substr(at, piece)));
  return writer.commit();
}

}  // namespace

TEST_CASE("a file appears whole under its name", "[file_writer]") {
  const TemporaryFolder folder;
  const std::string content = pattern(1'000'003);
  const std::size_t piece =
      GENERATE(std::size_t{1'000'003}, std::size_t{262'144}, std::size_t{262'145}, std::size_t{4099});
  AtomicFileWriter writer = value_of(AtomicFileWriter::create(folder / "out"));
  CHECK(folder.entries().size() == 1);
  CHECK_FALSE(std::filesystem::exists(folder / "out"));
  for (std::size_t at = 0; at < content.size(); at += piece) {
    require_ok(writer.write(std::string_view(content).substr(at, piece)));
    REQUIRE(writer.size() == std::min(at + piece, content.size()));
  }
  CHECK_FALSE(std::filesystem::exists(folder / "out"));
  require_ok(writer.commit());
  CHECK(folder.entries() == std::vector<std::string>{"out"});
  CHECK(file_contents(folder / "out") == content);
  CHECK(contains(message_of(writer.write("more")), "closed"));
  CHECK(contains(message_of(writer.commit()), "closed"));
}

TEST_CASE("zeros and empty files", "[file_writer]") {
  const TemporaryFolder folder;
  AtomicFileWriter writer = value_of(AtomicFileWriter::create(folder / "zeros"));
  require_ok(writer.write("x"));
  require_ok(writer.write_zeros(1000));
  require_ok(writer.write_zeros(0));
  require_ok(writer.commit());
  CHECK(file_contents(folder / "zeros") == "x" + std::string(1000, '\0'));
  require_ok(write_whole(folder / "empty", "", 1));
  CHECK(file_contents(folder / "empty").empty());
}

TEST_CASE("without commit nothing happened", "[file_writer]") {
  const TemporaryFolder folder;
  write_file(folder / "out", "old");
  {
    AtomicFileWriter writer = value_of(AtomicFileWriter::create(folder / "out"));
    require_ok(writer.write(pattern(700'000)));
    AtomicFileWriter moved = std::move(writer);
    CHECK(folder.entries().size() == 2);
  }
  CHECK(folder.entries() == std::vector<std::string>{"out"});
  CHECK(file_contents(folder / "out") == "old");
}

TEST_CASE("an existing file keeps its mode, and a link its place", "[file_writer]") {
  const TemporaryFolder folder;
  write_file(folder / "real", "old");
  REQUIRE(::chmod((folder / "real").c_str(), 0640) == 0);
  REQUIRE(::symlink("real", (folder / "link").c_str()) == 0);
  require_ok(write_whole(folder / "link", "new", 3));
  CHECK(std::filesystem::is_symlink(folder / "link"));
  CHECK(file_contents(folder / "real") == "new");
  struct stat status{};
  REQUIRE(::stat((folder / "real").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
  CHECK(folder.entries().size() == 2);
}

TEST_CASE("targets that cannot be replaced are refused", "[file_writer]") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  const std::pair<std::string, std::string> cases[] = {
      {"", "empty file name"},
      {std::string("a\0b", 3), "NUL"},
      {folder.path(), "a folder"},
      {folder / "", "a folder"},
      {folder / "fifo", "a FIFO"},
      {"/dev/full", "a device"},
      {"/dev/null", "a device"},
      {folder / "missing/out", "No such file"},
      {folder / "missing/", "a file name"},
      {folder / "fifo/out", "Not a directory"},
      {folder / std::string(300, 'n'), "File name too long"},
  };
  for (const auto& [path, names] : cases) {
    const std::string message = message_of(AtomicFileWriter::create(path));
    INFO(message);
    CHECK(contains(message, names));
    CHECK(is_one_printable_line(message));
  }
  CHECK(folder.entries() == std::vector<std::string>{"fifo"});
}

TEST_CASE("names up to the system's limit work", "[file_writer]") {
  const TemporaryFolder folder;
  const std::string longest(255, 'n');
  require_ok(write_whole(folder / longest, "content", 3));
  CHECK(folder.entries() == std::vector<std::string>{longest});
}

TEST_CASE("a full device is reported", "[file_writer]") {
  const int full = ::open("/dev/full", O_WRONLY);
  REQUIRE(full >= 0);
  const std::string content(5000, 'x');
  CHECK(detail::write_all(full, as_bytes(content).data(), content.size()) == ENOSPC);
  CHECK(detail::write_all(full, nullptr, 0) == 0);
  ::close(full);
}

TEST_CASE("every failing step is reported and leaves the old file alone", "[file_writer]") {
  const TemporaryFolder folder;
  write_file(folder / "out", "old");
  Faults plan;
  std::string names;
  SECTION("disk full at the first write") {
    plan.write_error = ENOSPC;
    names = "No space left on device after 0 bytes";
  }
  SECTION("disk full later") {
    plan.write_error = ENOSPC;
    plan.write_after = 2;
    names = "No space left on device after 600000 bytes";
  }
  SECTION("quota") {
    plan.write_error = EDQUOT;
    names = "Disk quota exceeded";
  }
  SECTION("size limit") {
    plan.write_error = EFBIG;
    names = "File too large";
  }
  SECTION("device error") {
    plan.write_error = EIO;
    names = "Input/output error";
  }
  SECTION("sync of the file") {
    plan.fsync_error = EIO;
    names = "cannot sync the output file";
  }
  SECTION("close") {
    plan.close_error = EDQUOT;
    names = "cannot close the output file";
  }
  SECTION("rename") {
    plan.rename_error = EACCES;
    names = "cannot rename the output file into place";
  }
  SECTION("bytes lost without a word") {
    plan.truncate_before_fsync = 5;
    names = "expected 900000 bytes, found 5";
  }
  const std::string content = pattern(900'000);
  std::string message;
  {
    AtomicFileWriter writer = value_of(AtomicFileWriter::create(folder / "out"));
    const FaultScope scope(plan);
    Status status;
    for (std::size_t at = 0; at < content.size() && status.ok(); at += 300'000) {
      status = writer.write(std::string_view(content).substr(at, 300'000));
    }
    if (status.ok()) status = writer.commit();
    message = message_of(status);
    CHECK(contains(message_of(writer.write("x")), "closed"));
  }
  INFO(message);
  CHECK(contains(message, names));
  CHECK(contains(message, folder / "out"));
  CHECK(is_one_printable_line(message));
  CHECK(folder.entries() == std::vector<std::string>{"out"});
  CHECK(file_contents(folder / "out") == "old");
}

TEST_CASE("a folder that cannot be synced is reported with the new file in place", "[file_writer]") {
  const TemporaryFolder folder;
  write_file(folder / "out", "old");
  Faults plan;
  plan.fsync_error = EIO;
  plan.fsync_after = 1;
  {
    const FaultScope scope(plan);
    CHECK(contains(message_of(write_whole(folder / "out", "new", 3)), "cannot sync the folder"));
  }
  CHECK(file_contents(folder / "out") == "new");
}

TEST_CASE("interrupted and short system calls are continued", "[file_writer]") {
  const TemporaryFolder folder;
  const std::string content = pattern(800'000);
  Faults plan;
  plan.interrupt = true;
  plan.short_writes = true;
  plan.short_reads = true;
  {
    const FaultScope scope(plan);
    require_ok(write_whole(folder / "out", content, 300'000));
    CHECK(value_of(read_file(folder / "out", 1 << 20)) == content);
    const MappedFile file = value_of(MappedFile::open(folder / "out", FileAccess::read));
    CHECK(std::memcmp(file.bytes().data(), content.data(), content.size()) == 0);
  }
  CHECK(file_contents(folder / "out") == content);
  Faults broken;
  broken.read_error = EIO;
  const FaultScope scope(broken);
  CHECK(contains(message_of(MappedFile::open(folder / "out", FileAccess::read)), "Input/output error"));
  CHECK(contains(message_of(read_file(folder / "out", 1 << 20)), "Input/output error"));
}

TEST_CASE("a file-size limit is an error, not a signal", "[file_writer]") {
  const TemporaryFolder folder;
  write_file(folder / "out", "old");
  const std::string content = pattern(1 << 20);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  auto* const old_handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit limit = before;
  limit.rlim_cur = 65536;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  Status written;
  Status reserved;
  {
    auto writer = AtomicFileWriter::create(folder / "out");
    written = writer->write(content);
    auto second = AtomicFileWriter::create(folder / "out");
    reserved = second->reserve(content.size());
    if (reserved.ok()) reserved = second->write(content);  // where room cannot be claimed ahead
  }
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  ::signal(SIGXFSZ, old_handler);
  CHECK(contains(message_of(written), "File too large"));
  CHECK(contains(message_of(written), folder / "out"));
  CHECK(contains(message_of(reserved), "File too large"));
  CHECK(contains(message_of(reserved), "room for 1048576 bytes"));
  CHECK(folder.entries() == std::vector<std::string>{"out"});
  CHECK(file_contents(folder / "out") == "old");
}

TEST_CASE("room claimed ahead and not used is given back", "[file_writer]") {
  const TemporaryFolder folder;
  AtomicFileWriter writer = value_of(AtomicFileWriter::create(folder / "out"));
  require_ok(writer.reserve(8 << 20));
  require_ok(writer.write("short"));
  require_ok(writer.commit());
  struct stat status{};
  REQUIRE(::stat((folder / "out").c_str(), &status) == 0);
  CHECK(status.st_size == 5);
  CHECK(status.st_blocks * 512 <= 65536);
  CHECK(contains(message_of(value_of(AtomicFileWriter::create(folder / "out")).reserve(~std::size_t{0})),
                 "File too large"));
}

TEST_CASE("leftovers of killed runs go, files of running ones and of others stay", "[file_writer]") {
  const TemporaryFolder folder;
  write_file(folder / ".out.tritium-0123456789abcdef.tmp", "left over");
  write_file(folder / ".out2.tritium-0123456789abcdef.tmp", "of another target");
  write_file(folder / ".out.tritium-0123456789abcde.tmp", "not our pattern");
  write_file(folder / ".out.tmp", "not ours");
  REQUIRE(::symlink("nowhere", (folder / ".out.tritium-aaaaaaaaaaaaaaaa.tmp").c_str()) == 0);
  AtomicFileWriter running = value_of(AtomicFileWriter::create(folder / "out"));
  require_ok(running.write("first"));
  AtomicFileWriter second = value_of(AtomicFileWriter::create(folder / "out"));
  require_ok(second.write("second"));
  CHECK(folder.entries().size() == 6);  // the four above that stay, and two running ones
  CHECK_FALSE(std::filesystem::exists(folder / ".out.tritium-0123456789abcdef.tmp"));
  require_ok(running.commit());
  CHECK(file_contents(folder / "out") == "first");
  require_ok(second.commit());
  CHECK(file_contents(folder / "out") == "second");
  CHECK(folder.entries().size() == 5);
}

TEST_CASE("killed at any moment, a writer leaves the old file or the new one", "[file_writer]") {
  const TemporaryFolder folder;
  const std::string contents[2] = {pattern(400'000, 1), pattern(300'000, 2)};
  require_ok(write_whole(folder / "out", contents[0], 50'000));
  std::minstd_rand random(7);
  std::size_t seen[2] = {0, 0};
  std::size_t leftovers = 0;
  for (int round = 0; round < 200; ++round) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (int i = 0; i < 1000; ++i) {
        if (!write_whole(folder / "out", contents[i % 2], 10'000).ok()) ::_exit(1);
      }
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(500 + random() % 4000));
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE_FALSE((WIFEXITED(status) && WEXITSTATUS(status) == 1));
    const std::string found = file_contents(folder / "out");
    const bool is_first = found == contents[0];
    if (!is_first && found != contents[1]) FAIL("round " << round << ": a mixture of " << found.size() << " bytes");
    ++seen[is_first ? 0 : 1];
    const std::size_t n = folder.entries().size();
    REQUIRE(n <= 2);  // one killed writer leaves at most one temporary, and the next removes it
    leftovers += n - 1;
  }
  INFO("old " << seen[0] << ", new " << seen[1] << ", leftovers " << leftovers);
  CHECK(leftovers > 0);  // else nothing was interrupted
  require_ok(write_whole(folder / "out", contents[0], 50'000));
  CHECK(folder.entries() == std::vector<std::string>{"out"});
}

TEST_CASE("short memory ends in an error, not in an exception", "[file_writer]") {
  const TemporaryFolder folder;
  write_file(folder / "out", "old");
  std::size_t failures = 0;
  for (std::size_t n = 1; n < 200; ++n) {
    Status status;
    {
      const std::string path = folder / "out";
      const AllocationFailure failure(n);
      status = [&]() -> Status {
        TRITIUM_ASSIGN(AtomicFileWriter writer, AtomicFileWriter::create(path));
        TRITIUM_TRY(writer.write("new"));
        return writer.commit();
      }();
    }
    if (status.ok()) break;
    ++failures;
    CHECK(status.error().code == Errc::out_of_memory);
    REQUIRE(file_contents(folder / "out") == "old");
  }
  CHECK(failures > 0);
  CHECK(file_contents(folder / "out") == "new");
  CHECK(folder.entries() == std::vector<std::string>{"out"});
}

TEST_CASE("a file system that cannot map is read instead, a real failure is reported", "[file_writer][mapped_file]") {
  const TemporaryFolder folder;
  const std::string content = pattern(100'000);
  write_file(folder / "f", content);
  Faults plan;
  plan.map_error = ENODEV;
  {
    const FaultScope scope(plan);
    const MappedFile file = value_of(MappedFile::open(folder / "f"));
    CHECK_FALSE(file.mapped());
    CHECK(std::memcmp(file.bytes().data(), content.data(), content.size()) == 0);
  }
  plan.map_error = ENOMEM;
  {
    const FaultScope scope(plan);
    const auto file = MappedFile::open(folder / "f");
    CHECK(contains(message_of(file), "cannot map file"));
    CHECK(file.error().code == Errc::out_of_memory);
  }
  plan.map_error = EAGAIN;
  {
    const FaultScope scope(plan);
    CHECK(MappedFile::open(folder / "f").error().code == Errc::io);
  }
  plan = {};
  plan.file_ends_early = true;
  const FaultScope scope(plan);
  CHECK(
      contains(message_of(MappedFile::open(folder / "f", FileAccess::read)), "file became shorter while it was read"));
}

TEST_CASE("a disk without room is found before the work", "[file_writer]") {
  const TemporaryFolder folder;
  write_file(folder / "out", "old");
  Faults plan;
  plan.reserve_error = ENOSPC;
  {
    AtomicFileWriter writer = value_of(AtomicFileWriter::create(folder / "out"));
    const FaultScope scope(plan);
    const std::string message = message_of(writer.reserve(123'456));
    CHECK(contains(message, "expected room for 123456 bytes, found No space left on device after 0 bytes"));
  }
  CHECK(folder.entries() == std::vector<std::string>{"out"});
  plan.reserve_error = EOPNOTSUPP;  // not every file system can tell
  AtomicFileWriter writer = value_of(AtomicFileWriter::create(folder / "out"));
  {
    const FaultScope scope(plan);
    require_ok(writer.reserve(123'456));
    require_ok(writer.write("new"));
    require_ok(writer.commit());
  }
  CHECK(file_contents(folder / "out") == "new");
}

TEST_CASE("the temporary's name is tried again, and not for ever", "[file_writer]") {
  const TemporaryFolder folder;
  Faults plan;
  plan.create_error = EEXIST;
  plan.create_failures = 3;
  {
    const FaultScope scope(plan);
    require_ok(write_whole(folder / "out", "content", 7));
  }
  CHECK(plan.create_failures == 0);
  CHECK(file_contents(folder / "out") == "content");
  plan.create_failures = 1000;
  {
    const FaultScope scope(plan);
    CHECK(contains(message_of(AtomicFileWriter::create(folder / "out")), "File exists"));
  }
  plan.create_error = EROFS;
  {
    const FaultScope scope(plan);
    CHECK(contains(message_of(AtomicFileWriter::create(folder / "out")), "Read-only file system"));
  }
  CHECK(file_contents(folder / "out") == "content");
  CHECK(folder.entries() == std::vector<std::string>{"out"});
}
