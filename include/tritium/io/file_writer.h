// SPDX-License-Identifier: Apache-2.0
// AtomicFileWriter: an output file that appears whole under its name or not at all.
//
// Bytes go to a hidden temporary file in the same folder; commit() flushes, syncs, checks the size, renames and syncs
// the folder. Interrupted at any moment, the old file (or none) is under the name. The temporary is locked while its
// writer lives, so the next run can tell a leftover of a killed process from the file of a running one, and removes it.
// A file-size limit (RLIMIT_FSIZE) raises SIGXFSZ, which ends the process unless it is ignored: applications that want
// the error line call signal(SIGXFSZ, SIG_IGN) once; the library changes no signal.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "tritium/core/buffer.h"
#include "tritium/core/no_throw.h"
#include "tritium/io/mapped_file.h"

TRITIUM_NAMESPACE_BEGIN

namespace detail {

/// Writes all of `size` bytes, continuing after interrupted and short writes; 0, or the errno of the first failure.
inline int write_all(int descriptor, const std::byte* source, std::size_t size) {
  while (size != 0) {
    // Linux moves at most 2^31 - 4096 bytes a call.
    const ssize_t put = ::write(descriptor, source, size < (std::size_t{1} << 30) ? size : std::size_t{1} << 30);
    if (put < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    if (put == 0) return ENOSPC;  // a regular file never answers this with room left
    source += put;
    size -= static_cast<std::size_t>(put);
  }
  return 0;
}

inline constexpr std::string_view kTemporaryMark = ".tritium-";
inline constexpr std::string_view kTemporarySuffix = ".tmp";

/// The beginning that all temporaries of a target share: ".NAME.tritium-", NAME cut so that the whole fits in a name.
inline std::string temporary_prefix(std::string_view base) {
  std::string prefix(".");
  prefix.append(base.substr(0, 200)).append(kTemporaryMark);
  return prefix;
}

/// Removes temporaries of this target whose writers are gone: those that nobody holds a lock on. Best effort.
inline void remove_abandoned_temporaries(int folder, std::string_view prefix) {
  const int listing = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (listing < 0) return;
  DIR* entries = ::fdopendir(listing);
  if (entries == nullptr) {
    (void)::close(listing);
    return;
  }
  while (const dirent* entry = ::readdir(entries)) {
    const std::string_view name(entry->d_name);
    if (!name.starts_with(prefix) || !name.ends_with(kTemporarySuffix)) continue;
    if (name.size() != prefix.size() + 16 + kTemporarySuffix.size()) continue;
    struct stat status{};
    if (::fstatat(folder, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode)) continue;
    const Descriptor leftover(::openat(folder, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!leftover.valid() || ::flock(leftover.get(), LOCK_EX | LOCK_NB) != 0) continue;
    (void)::unlinkat(folder, entry->d_name, 0);
  }
  (void)::closedir(entries);
}

/// 16 hexadecimal digits that differ between processes, between calls and between runs.
inline std::string unique_tag() {
  static std::atomic<std::uint64_t> calls{0};
  std::uint64_t x = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  x ^= static_cast<std::uint64_t>(::getpid()) << 40;
  x += calls.fetch_add(1, std::memory_order_relaxed) * 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  x ^= x >> 31;
  char text[17];
  (void)std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(x));
  return text;
}

}  // namespace detail

/// A file under way: write(), then commit(). Without commit() nothing is left. One thread at a time.
class AtomicFileWriter {
 public:
  AtomicFileWriter() = default;
  /// Takes the file under way; the other one has none.
  AtomicFileWriter(AtomicFileWriter&& other) noexcept { swap(other); }
  /// Drops its own file under way and takes the other's.
  AtomicFileWriter& operator=(AtomicFileWriter&& other) noexcept {
    AtomicFileWriter taken(std::move(other));
    swap(taken);
    return *this;
  }
  AtomicFileWriter(const AtomicFileWriter&) = delete;
  AtomicFileWriter& operator=(const AtomicFileWriter&) = delete;
  /// Without commit() the temporary is removed and the target stays as it was.
  ~AtomicFileWriter() { discard(); }

  /// Starts a file that will replace `path`. A symbolic link is followed; the mode of an existing file is kept.
  /// Errors: invalid_argument (empty name), io (the folder is missing or not writable; the target is a folder, a FIFO,
  /// a device, or a file without write permission).
  static Result<AtomicFileWriter> create(std::string_view path) {
    return no_throw([&]() -> Result<AtomicFileWriter> {
      TRITIUM_TRY(detail::check_path(path));
      AtomicFileWriter writer;
      writer.path_ = path;
      std::string target(path);
      mode_t mode = 0;
      struct stat status{};
      if (::stat(target.c_str(), &status) == 0) {
        if (!S_ISREG(status.st_mode)) {
          return make_error(Errc::io, "cannot write", printable_path(path), "a regular file",
                            detail::irregular_kind(status.st_mode));
        }
        if (::access(target.c_str(), W_OK) != 0) return writer.failed("cannot replace file", errno);
        mode = status.st_mode & 0777;
        const std::unique_ptr<char, void (*)(void*)> real(::realpath(target.c_str(), nullptr), &std::free);
        if (real == nullptr) return writer.failed("cannot resolve file name", errno);
        target = real.get();
      } else if (errno != ENOENT) {
        return writer.failed("cannot write", errno);
      }
      const std::size_t slash = target.rfind('/');
      const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : target.substr(0, slash);
      writer.base_ = slash == std::string::npos ? target : target.substr(slash + 1);
      if (writer.base_.empty() || writer.base_ == "." || writer.base_ == "..") {
        return make_error(Errc::io, "cannot write", printable_path(path), "a file name", "a folder");
      }
      writer.folder_ = detail::Descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!writer.folder_.valid()) return writer.failed("cannot open the folder of the output file", errno);
      TRITIUM_ASSIGN(writer.buffer_, AlignedBuffer::allocate(kBufferBytes));
      const std::string prefix = detail::temporary_prefix(writer.base_);
      detail::remove_abandoned_temporaries(writer.folder_.get(), prefix);
      TRITIUM_TRY(writer.create_temporary(prefix));
      if (mode != 0 && ::fchmod(writer.file_.get(), mode) != 0) return writer.failed("cannot write", errno);
      return writer;
    });
  }

  /// Appends bytes. After the first failure every call fails. Errors: io (no space, size limit, device error).
  [[nodiscard]] Status write(std::span<const std::byte> bytes) {
    if (!file_.valid()) return closed();
    if (bytes.size() >= kBufferBytes) {
      TRITIUM_TRY(flush());
      return put(bytes.data(), bytes.size());
    }
    if (bytes.size() > kBufferBytes - buffered_) TRITIUM_TRY(flush());
    if (!bytes.empty()) std::memcpy(buffer_.data() + buffered_, bytes.data(), bytes.size());
    buffered_ += bytes.size();
    return {};
  }
  /// Appends text. Errors: io.
  [[nodiscard]] Status write(std::string_view text) {
    return write(std::as_bytes(std::span(text.data(), text.size())));
  }

  /// Appends `count` zero bytes.
  [[nodiscard]] Status write_zeros(std::size_t count) {
    constexpr std::byte kZeros[256] = {};
    while (count != 0) {
      const std::size_t piece = count < sizeof(kZeros) ? count : sizeof(kZeros);
      TRITIUM_TRY(write(std::span<const std::byte>(kZeros, piece)));
      count -= piece;
    }
    return {};
  }

  /// Claims room for a file of `total_bytes`, so that a full disk is found before hours of work and the message says
  /// how much is needed. Where the file system cannot claim ahead, nothing happens. Errors: io.
  [[nodiscard]] Status reserve(std::size_t total_bytes) {
    if (!file_.valid()) return closed();
    expected_bytes_ = total_bytes;
#if defined(__linux__)
    if (total_bytes == 0) return {};
    if (total_bytes > static_cast<std::size_t>(LONG_MAX)) return write_failed(EFBIG);
    int outcome = 0;
    do {
      outcome = ::fallocate(file_.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(total_bytes));
    } while (outcome != 0 && errno == EINTR);
    if (outcome != 0 && (errno == ENOSPC || errno == EFBIG || errno == EDQUOT || errno == EIO)) {
      return write_failed(errno);
    }
#endif
    return {};
  }

  /// Bytes accepted so far.
  [[nodiscard]] std::size_t size() const { return written_ + buffered_; }
  [[nodiscard]] std::string_view path() const { return path_; }  ///< The name that the file gets.

  /// Makes the file appear under its name, durable. The writer is closed afterwards, whatever the outcome.
  /// Errors: io (anything that any of the steps reports); the target is then untouched, unless it was the sync of the
  /// folder that failed: then the new file is in place but may not survive a power cut.
  [[nodiscard]] Status commit() {
    if (!file_.valid()) return closed();
    return no_throw([&]() -> Status {
      TRITIUM_TRY(flush());
      struct stat status{};
      // Room claimed ahead and not used is given back.
      if (expected_bytes_ > written_ && ::ftruncate(file_.get(), static_cast<off_t>(written_)) != 0) {
        return abandon("cannot finish the output file", errno);
      }
      if (::fsync(file_.get()) != 0) return abandon("cannot sync the output file", errno);
      if (::fstat(file_.get(), &status) != 0) return abandon("cannot examine the output file", errno);
      if (static_cast<std::size_t>(status.st_size) != written_) {
        discard();
        return make_error(Errc::io, "the output file has a wrong size", printable_path(path_),
                          concat(written_, " bytes"), std::to_string(status.st_size));
      }
      // Some file systems report a lost write only on close, so the close comes before the rename; a second descriptor
      // keeps the lock until the name is final.
      const detail::Descriptor lock(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 0));
      if (::close(file_.release()) != 0 && errno != EINTR) return abandon("cannot close the output file", errno);
      if (::renameat(folder_.get(), temporary_.c_str(), folder_.get(), base_.c_str()) != 0) {
        return abandon("cannot rename the output file into place", errno);
      }
      temporary_.clear();
      if (::fsync(folder_.get()) != 0 && errno != EINVAL) {
        return failed("cannot sync the folder of the output file", errno);
      }
      return {};
    });
  }

 private:
  static constexpr std::size_t kBufferBytes = std::size_t{1} << 18;

  Status create_temporary(const std::string& prefix) {
    for (int attempt = 0; attempt < 100; ++attempt) {
      temporary_ = prefix + detail::unique_tag();
      temporary_ += detail::kTemporarySuffix;
      const int descriptor =
          ::openat(folder_.get(), temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
      if (descriptor < 0) {
        const int code = errno;
        temporary_.clear();  // not ours to remove
        if (code == EEXIST || code == EINTR) continue;
        return failed("cannot create the output file", code);
      }
      file_ = detail::Descriptor(descriptor);
      // Another process that cleans this folder may have locked and removed the file before we could lock it.
      int locked = 0;
      do {
        locked = ::flock(descriptor, LOCK_EX);
      } while (locked != 0 && errno == EINTR);
      struct stat status{};
      const bool examined = ::fstat(descriptor, &status) == 0;
      if (locked != 0 || (examined && status.st_nlink != 0)) return {};
      if (!examined) (void)::unlinkat(folder_.get(), temporary_.c_str(), 0);
      file_ = detail::Descriptor();
    }
    temporary_.clear();
    return failed("cannot create the output file", EEXIST);
  }

  Status flush() {
    const std::size_t pending = std::exchange(buffered_, 0);
    return pending == 0 ? Status() : put(buffer_.data(), pending);
  }

  Status put(const std::byte* bytes, std::size_t size) {
    const int code = detail::write_all(file_.get(), bytes, size);
    if (code != 0) return write_failed(code);
    written_ += size;
    return {};
  }

  Status write_failed(int code) {
    return no_throw([&]() -> Status {
      const std::size_t done = written_;
      discard();
      return make_error(
          Errc::io, "cannot write the output file", printable_path(path_),
          expected_bytes_ != 0 ? concat("room for ", expected_bytes_, " bytes") : std::string("room for more bytes"),
          concat(detail::system_message(code), " after ", done, " bytes"));
    });
  }

  Status abandon(std::string_view what, int code) {
    discard();
    return failed(what, code);
  }

  [[nodiscard]] Error failed(std::string_view what, int code) const {
    return make_error(Errc::io, what, concat(printable_path(path_), ": ", detail::system_message(code)));
  }

  Status closed() const {
    return no_throw([&]() -> Status {
      return make_error(Errc::io, "the output file is closed", path_.empty() ? "no file" : printable_path(path_));
    });
  }

  void discard() noexcept {
    if (!temporary_.empty()) (void)::unlinkat(folder_.get(), temporary_.c_str(), 0);
    temporary_.clear();
    file_ = detail::Descriptor();
    buffered_ = 0;
  }

  void swap(AtomicFileWriter& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(base_, other.base_);
    std::swap(temporary_, other.temporary_);
    std::swap(folder_, other.folder_);
    std::swap(file_, other.file_);
    std::swap(buffer_, other.buffer_);
    std::swap(buffered_, other.buffered_);
    std::swap(written_, other.written_);
    std::swap(expected_bytes_, other.expected_bytes_);
  }

  std::string path_;       // as the caller spelled it, for messages
  std::string base_;       // the target's name in its folder
  std::string temporary_;  // the temporary's name in the same folder; empty: nothing to remove
  detail::Descriptor folder_;
  detail::Descriptor file_;
  AlignedBuffer buffer_;
  std::size_t buffered_ = 0;
  std::size_t written_ = 0;
  std::size_t expected_bytes_ = 0;
};

TRITIUM_NAMESPACE_END
