// SPDX-License-Identifier: Apache-2.0
// MappedFile: a regular file as read-only bytes, mapped (the default) or read whole.
//
// A mapping costs nothing until it is touched and is shared between processes, but the file can change behind it: the
// descriptor stays open and check_unchanged() compares size and modification time. A file that shrinks raises SIGBUS on
// the next touch. The library installs no handler; find_mapping() is safe inside the application's own handler and
// tells which file the address belongs to. FIFOs, devices and folders are refused before they are opened, so nothing
// blocks.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "tritium/core/buffer.h"
#include "tritium/core/no_throw.h"
#include "tritium/io/byte_reader.h"

// The table of live mappings holds data only and has no ISA tag: all copies of the library in one program, whatever
// their flags, share it, so that one signal handler sees every mapping.
namespace tritium::shared {

/// One live mapping, for the handler of SIGBUS.
struct MappingSlot {
  std::atomic<std::uintptr_t> begin{0};    ///< 0: free, 1: being filled, else the first byte
  std::atomic<std::uintptr_t> end{0};      ///< one past the last byte
  std::atomic<const char*> path{nullptr};  ///< for the message; outlives the mapping
};
/// Mappings that can be live at once in a process.
inline constexpr std::size_t kMappingSlots = 1024;
/// The mappings of the process.
inline constinit MappingSlot mapping_slots[kMappingSlots] = {};
inline constinit std::atomic<std::size_t> mapping_slots_used{0};  ///< slots ever used are below this

}  // namespace tritium::shared

TRITIUM_NAMESPACE_BEGIN

/// How a file's bytes come into memory.
enum class FileAccess : std::uint8_t {
  map,   ///< mmap; falls back to read where the file system cannot map
  read,  ///< one copy in memory: immune to later changes of the file
};

namespace detail {

static_assert(std::atomic<std::uintptr_t>::is_always_lock_free && std::atomic<const char*>::is_always_lock_free,
              "find_mapping() runs inside signal handlers");

/// The system's words for an errno value.
inline std::string system_message(int code) { return std::generic_category().message(code); }

/// What a directory entry is, for a message; empty for a regular file.
inline std::string_view irregular_kind(mode_t mode) {
  if (S_ISREG(mode)) return {};
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "something else";
}

/// Refuses the empty path and NUL bytes, which the system would silently cut at.
inline Status check_path(std::string_view path) {
  if (path.empty()) return make_error(Errc::invalid_argument, "empty file name", "path", "a file", "nothing");
  if (path.find('\0') != std::string_view::npos) {
    return make_error(Errc::invalid_argument, "bad file name", printable_path(path), "no NUL byte", "one");
  }
  return {};
}

/// An open descriptor, closed with the object.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(Descriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) (void)::close(value_);
  }
  [[nodiscard]] int get() const { return value_; }
  [[nodiscard]] bool valid() const { return value_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(value_, -1); }

 private:
  int value_ = -1;
};

struct OpenedFile {
  Descriptor descriptor;
  std::size_t size = 0;
  timespec modified{};
};

/// Opens a regular file for reading and takes its size and time from the descriptor.
inline Result<OpenedFile> open_regular_file(const std::string& path) {
  TRITIUM_TRY(check_path(path));
  const auto refuse = [&](std::string_view kind) {
    return make_error(Errc::io, "cannot read", printable_path(path), "a regular file", kind);
  };
  const auto failed = [&](int code) {
    return make_error(Errc::io, "cannot open file", concat(printable_path(path), ": ", system_message(code)));
  };
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return failed(errno);
  if (!S_ISREG(status.st_mode)) return refuse(irregular_kind(status.st_mode));
  // Non-blocking: should the name become a FIFO between the two calls, the open must not wait for a writer.
  int descriptor = -1;
  do {
    descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) return failed(errno);
  OpenedFile file;
  file.descriptor = Descriptor(descriptor);
  if (::fstat(descriptor, &status) != 0) return failed(errno);
  if (!S_ISREG(status.st_mode)) return refuse(irregular_kind(status.st_mode));
  file.size = static_cast<std::size_t>(status.st_size);
  file.modified = status.st_mtim;
  return file;
}

/// Reads exactly `size` bytes from the start; interrupted and short reads are continued.
inline Status read_exactly(int descriptor, std::byte* target, std::size_t size, const std::string& path) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(descriptor, target + done, size - done, static_cast<off_t>(done));
    if (got < 0) {
      if (errno == EINTR) continue;
      const int code = errno;
      return make_error(Errc::io, "cannot read file", concat(printable_path(path), ": ", system_message(code)));
    }
    if (got == 0) {
      return make_error(Errc::io, "file became shorter while it was read", printable_path(path), concat(size, " bytes"),
                        std::to_string(done));
    }
    done += static_cast<std::size_t>(got);
  }
  return {};
}

/// Puts a mapping into the table; returns its slot, or kMappingSlots when all are taken.
inline std::size_t register_mapping(const void* begin, std::size_t size, const char* path) {
  for (std::size_t i = 0; i < shared::kMappingSlots; ++i) {
    shared::MappingSlot& slot = shared::mapping_slots[i];
    std::uintptr_t expected = 0;
    if (!slot.begin.compare_exchange_strong(expected, 1, std::memory_order_acq_rel)) continue;
    const auto first = reinterpret_cast<std::uintptr_t>(begin);
    slot.end.store(first + size, std::memory_order_relaxed);
    slot.path.store(path, std::memory_order_relaxed);
    slot.begin.store(first, std::memory_order_release);
    std::size_t used = shared::mapping_slots_used.load(std::memory_order_relaxed);
    while (used < i + 1 && !shared::mapping_slots_used.compare_exchange_weak(used, i + 1, std::memory_order_release)) {}
    return i;
  }
  return shared::kMappingSlots;
}
inline void unregister_mapping(std::size_t slot) {
  if (slot < shared::kMappingSlots) shared::mapping_slots[slot].begin.store(0, std::memory_order_release);
}

}  // namespace detail

/// Whether `address` lies in the mapping of a live MappedFile; if so, *path is its path (valid while that file is
/// open). Async-signal-safe: loads from a fixed table. For the handler of SIGBUS, with si_addr.
inline bool find_mapping(const void* address, const char** path) {
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  const std::size_t used = shared::mapping_slots_used.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < used; ++i) {
    const shared::MappingSlot& slot = shared::mapping_slots[i];
    const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
    if (begin <= 1 || wanted < begin || wanted >= slot.end.load(std::memory_order_acquire)) continue;
    const char* name = slot.path.load(std::memory_order_acquire);
    if (slot.begin.load(std::memory_order_acquire) != begin) continue;  // the slot changed hands meanwhile
    if (path != nullptr) *path = name;
    return true;
  }
  return false;
}

/// A regular file's bytes, read-only. May be read by any number of threads. Moves, does not copy.
class MappedFile {
 public:
  MappedFile() = default;
  /// Takes the bytes; the other one is left empty.
  MappedFile(MappedFile&& other) noexcept { swap(other); }
  /// Gives its own bytes back and takes the other's.
  MappedFile& operator=(MappedFile&& other) noexcept {
    MappedFile taken(std::move(other));
    swap(taken);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
    detail::unregister_mapping(slot_);  // before the addresses can belong to somebody else
    if (mapping_ != nullptr) (void)::munmap(mapping_, size_);
  }

  /// Opens a regular file. An empty file is well formed and has no bytes.
  /// Errors: invalid_argument (empty name), io (missing, not a regular file, not readable, cannot be mapped),
  /// out_of_memory, out_of_range (more than 1024 mapped files at once).
  static Result<MappedFile> open(std::string_view path, FileAccess access = FileAccess::map) {
    return no_throw([&]() -> Result<MappedFile> {
      MappedFile file;
      file.path_ = std::make_unique<const std::string>(path);
      TRITIUM_ASSIGN(detail::OpenedFile opened, detail::open_regular_file(*file.path_));
      file.descriptor_ = std::move(opened.descriptor);
      file.size_ = opened.size;
      file.modified_ = opened.modified;
      if (file.size_ == 0) return file;
      if (access == FileAccess::map) {
        void* mapping = ::mmap(nullptr, file.size_, PROT_READ, MAP_SHARED, file.descriptor_.get(), 0);
        if (mapping != MAP_FAILED) {
          file.mapping_ = mapping;
          static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
          file.slot_ = detail::register_mapping(mapping, round_up(file.size_, page), file.path_->c_str());
          if (file.slot_ == shared::kMappingSlots) {
            return make_error(Errc::out_of_range, "too many mapped files", printable_path(path),
                              concat("at most ", shared::kMappingSlots), "one more");
          }
          return file;
        }
        const int code = errno;
        if (code != ENODEV && code != EACCES && code != EPERM && code != EINVAL) {
          return make_error(code == ENOMEM ? Errc::out_of_memory : Errc::io, "cannot map file",
                            concat(printable_path(path), ": ", detail::system_message(code)));
        }
      }
      TRITIUM_ASSIGN(file.copy_, AlignedBuffer::allocate(file.size_));
      TRITIUM_TRY(detail::read_exactly(file.descriptor_.get(), file.copy_.data(), file.size_, *file.path_));
      return file;
    });
  }

  /// The whole file.
  [[nodiscard]] std::span<const std::byte> bytes() const {
    const auto* first = mapping_ != nullptr ? static_cast<const std::byte*>(mapping_) : copy_.data();
    return {first, first == nullptr ? 0 : size_};
  }
  [[nodiscard]] std::size_t size() const { return size_; }  ///< Bytes.
  /// Whether bytes are mapped; else they are a copy in memory.
  [[nodiscard]] bool mapped() const { return mapping_ != nullptr; }
  /// Whether `byte` is one of bytes().
  [[nodiscard]] bool holds(const std::byte* byte) const {
    return std::less_equal<>()(bytes().data(), byte) && std::less<>()(byte, bytes().data() + bytes().size());
  }
  /// The path that was opened.
  [[nodiscard]] std::string_view path() const { return path_ == nullptr ? std::string_view() : *path_; }
  /// When the file had last been written into as it was opened.
  [[nodiscard]] timespec modified() const { return modified_; }

  /// Whether the opened file still has the size and modification time that it had. A file that was replaced by rename
  /// is unchanged: the old one lives on behind the descriptor. Errors: io ("file changed while in use").
  [[nodiscard]] Status check_unchanged() const {
    return no_throw([&]() -> Status {
      if (!descriptor_.valid()) return {};
      struct stat status{};
      if (::fstat(descriptor_.get(), &status) != 0) {
        const int code = errno;
        return make_error(Errc::io, "cannot examine file",
                          concat(printable_path(path()), ": ", detail::system_message(code)));
      }
      const auto size = static_cast<std::size_t>(status.st_size);
      if (size != size_) {
        return make_error(Errc::io, "file changed while in use", printable_path(path()), concat(size_, " bytes"),
                          std::to_string(size));
      }
      if (status.st_mtim.tv_sec != modified_.tv_sec || status.st_mtim.tv_nsec != modified_.tv_nsec) {
        return make_error(Errc::io, "file changed while in use", printable_path(path()), "the time of opening",
                          "a later modification");
      }
      return {};
    });
  }

  /// Whether `path` names the file that was opened: the same one on the disk, by whatever way it is reached.
  [[nodiscard]] bool is_at(std::string_view path) const {
    struct stat own{};
    struct stat other{};
    char name[PATH_MAX];  // needs no memory: where there is none, the answer must be right too
    if (path.size() >= sizeof(name)) return false;
    name[path.copy(name, path.size())] = '\0';
    return descriptor_.valid() && ::fstat(descriptor_.get(), &own) == 0 && ::stat(name, &other) == 0 &&
           own.st_dev == other.st_dev && own.st_ino == other.st_ino;
  }

 private:
  void swap(MappedFile& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    std::swap(path_, other.path_);
    std::swap(copy_, other.copy_);
    std::swap(mapping_, other.mapping_);
    std::swap(size_, other.size_);
    std::swap(slot_, other.slot_);
    std::swap(modified_, other.modified_);
  }

  detail::Descriptor descriptor_;
  std::unique_ptr<const std::string> path_;  // on the heap: the table of mappings points at its characters
  AlignedBuffer copy_;
  void* mapping_ = nullptr;
  std::size_t size_ = 0;
  std::size_t slot_ = shared::kMappingSlots;
  timespec modified_{};
};

/// A whole small file as a string. The same kinds of file are refused as by MappedFile.
/// Errors: as MappedFile::open; invalid_file (larger than `max_bytes`).
inline Result<std::string> read_file(std::string_view path, std::size_t max_bytes) {
  return no_throw([&]() -> Result<std::string> {
    const std::string name(path);
    TRITIUM_ASSIGN(const detail::OpenedFile file, detail::open_regular_file(name));
    if (file.size > max_bytes) {
      return make_error(Errc::invalid_file, "file is too large", printable_path(path),
                        concat("at most ", max_bytes, " bytes"), std::to_string(file.size));
    }
    std::string text(file.size, '\0');
    TRITIUM_TRY(
        detail::read_exactly(file.descriptor.get(), reinterpret_cast<std::byte*>(text.data()), text.size(), name));
    return text;
  });
}

/// Gives back the memory of whole pages inside `bytes` if they lie in a mapped file; they are read again when touched.
/// After a tensor was packed elsewhere its pages only count against the process.
inline void drop_mapped_pages(std::span<const std::byte> bytes) {
  const char* path = nullptr;
  if (bytes.empty() || !find_mapping(bytes.data(), &path)) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = round_up(reinterpret_cast<std::uintptr_t>(bytes.data()), page);
  const auto end = (reinterpret_cast<std::uintptr_t>(bytes.data()) + bytes.size()) / page * page;
  if (begin < end) (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

/// Asks the system to read `bytes` of a mapped file in the background, all of which will be needed soon.
inline void prefetch_mapped_pages(std::span<const std::byte> bytes) {
  const char* path = nullptr;
  if (bytes.empty() || !find_mapping(bytes.data(), &path)) return;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data()) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(bytes.data()) + bytes.size();
  (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_WILLNEED);
}

TRITIUM_NAMESPACE_END
