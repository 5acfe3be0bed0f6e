// SPDX-License-Identifier: Apache-2.0
#include "tritium/io/mapped_file.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstring>

#include "io/test_files.h"

using namespace tritium;

TEST_CASE("a file's bytes come mapped or read", "[mapped_file]") {
  const TemporaryFolder folder;
  std::string content(100'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 7);
  write_file(folder / "f", content);
  const auto access = GENERATE(FileAccess::map, FileAccess::read);
  MappedFile file = value_of(MappedFile::open(folder / "f", access));
  CHECK(file.mapped() == (access == FileAccess::map));
  REQUIRE(file.size() == content.size());
  CHECK(std::memcmp(file.bytes().data(), content.data(), content.size()) == 0);
  CHECK(file.path() == folder / "f");
  require_ok(file.check_unchanged());

  const std::byte* first = file.bytes().data();
  MappedFile moved = std::move(file);
  CHECK(moved.bytes().data() == first);
  CHECK(file.bytes().empty());  // NOLINT: what a moved-from file looks like is part of the contract
  moved = MappedFile();
  CHECK(moved.bytes().empty());
}

TEST_CASE("an empty file is well formed and has no bytes", "[mapped_file]") {
  const TemporaryFolder folder;
  write_file(folder / "empty", "");
  const auto access = GENERATE(FileAccess::map, FileAccess::read);
  const MappedFile file = value_of(MappedFile::open(folder / "empty", access));
  CHECK(file.bytes().empty());
  CHECK(value_of(read_file(folder / "empty", 10)).empty());
}

TEST_CASE("only regular files are opened, and nothing blocks", "[mapped_file]") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, (folder / "socket").c_str(), sizeof(address.sun_path) - 1);
  REQUIRE(::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  const std::pair<std::string, std::string> cases[] = {
      {folder / "fifo", "a FIFO"},     {folder.path(), "a folder"},           {"/dev/null", "a device"},
      {folder / "socket", "a socket"}, {folder / "none", "No such file"},     {"", "empty file name"},
      {std::string("a\0b", 3), "NUL"}, {folder / "fifo/x", "Not a directory"}};
  for (const auto& [path, names] : cases) {
    const std::string message = message_of(MappedFile::open(path));
    INFO(message);
    CHECK(contains(message, names));
    CHECK(is_one_printable_line(message));
    CHECK(contains(message_of(read_file(path, 100)), names));
  }
  ::close(socket);
}

TEST_CASE("a file that is too large for a small read is refused before it is read", "[mapped_file]") {
  const TemporaryFolder folder;
  write_file(folder / "f", "0123456789");
  CHECK(value_of(read_file(folder / "f", 10)) == "0123456789");
  CHECK(contains(message_of(read_file(folder / "f", 9)), "expected at most 9 bytes, found 10"));
}

TEST_CASE("a change behind an open file is noticed, a replacement is not one", "[mapped_file]") {
  const TemporaryFolder folder;
  const auto access = GENERATE(FileAccess::map, FileAccess::read);
  write_file(folder / "f", "0123456789");
  const MappedFile file = value_of(MappedFile::open(folder / "f", access));
  require_ok(file.check_unchanged());
  SECTION("shorter") {
    REQUIRE(::truncate((folder / "f").c_str(), 4) == 0);
    CHECK(contains(message_of(file.check_unchanged()), "file changed while in use"));
    CHECK(contains(message_of(file.check_unchanged()), "expected 10 bytes, found 4"));
  }
  SECTION("same size, later time") {
    const timespec times[2] = {{0, UTIME_OMIT}, {1234567, 0}};
    REQUIRE(::utimensat(AT_FDCWD, (folder / "f").c_str(), times, 0) == 0);
    CHECK(contains(message_of(file.check_unchanged()), "file changed while in use"));
  }
  SECTION("another file under the name") {
    write_file(folder / "g", "abc");
    REQUIRE(::rename((folder / "g").c_str(), (folder / "f").c_str()) == 0);
    require_ok(file.check_unchanged());
    CHECK(std::memcmp(file.bytes().data(), "0123456789", 10) == 0);
  }
}

TEST_CASE("live mappings are found by address", "[mapped_file]") {
  const TemporaryFolder folder;
  write_file(folder / "a", std::string(5000, 'a'));
  write_file(folder / "b", std::string(10, 'b'));
  const char* path = nullptr;
  const void* inside = nullptr;
  {
    const MappedFile a = value_of(MappedFile::open(folder / "a"));
    MappedFile b = value_of(MappedFile::open(folder / "b"));
    inside = a.bytes().data() + 4999;
    REQUIRE(find_mapping(inside, &path));
    CHECK(path == folder / "a");
    REQUIRE(find_mapping(b.bytes().data() + 4000, &path));  // the rest of the page faults for the same file
    CHECK(path == folder / "b");
    CHECK_FALSE(find_mapping(&folder, &path));
    const void* in_b = b.bytes().data();
    const MappedFile moved = std::move(b);
    REQUIRE(find_mapping(in_b, &path));
    CHECK(path == folder / "b");
  }
  CHECK_FALSE(find_mapping(inside, &path));
  for (int i = 0; i < 3000; ++i) {  // slots are given back
    const MappedFile again = value_of(MappedFile::open(folder / "b"));
    REQUIRE(find_mapping(again.bytes().data(), nullptr));
  }
}

TEST_CASE("the table of mappings is bounded", "[mapped_file]") {
  const TemporaryFolder folder;
  write_file(folder / "f", "x");
  std::vector<MappedFile> files;
  std::string message;
  for (std::size_t i = 0; i < shared::kMappingSlots + 2 && message.empty(); ++i) {
    auto file = MappedFile::open(folder / "f");
    if (file.ok()) {
      files.push_back(*std::move(file));
    } else {
      message = file.error().message;
    }
  }
  INFO(message);  // the table, or the descriptors of the process, whichever is smaller
  CHECK((contains(message, "too many mapped files") || contains(message, "Too many open files")));
}

namespace {
void end_in_a_line(int, siginfo_t* info, void*) {
  const char* path = nullptr;
  ::_exit(find_mapping(info->si_addr, &path) && std::strstr(path, "/shrinks") != nullptr ? 42 : 43);
}
}  // namespace

TEST_CASE("a handler of SIGBUS can name the file that shrank", "[mapped_file]") {
  const TemporaryFolder folder;
  const std::string path = folder / "shrinks";
  write_file(path, std::string(1 << 20, 'x'));
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    struct sigaction action{};
    action.sa_sigaction = &end_in_a_line;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGBUS, &action, nullptr);
    auto file = MappedFile::open(path);
    if (!file.ok() || ::truncate(path.c_str(), 100) != 0) ::_exit(1);
    volatile std::byte touched = file->bytes()[(1 << 20) - 1];
    (void)touched;
    ::_exit(2);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 42);
}
