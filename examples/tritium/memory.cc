// SPDX-License-Identifier: Apache-2.0
#include "memory.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>

namespace cli {

namespace {

/// The first number of a file such as memory.max; nothing for "max" or no file.
std::optional<std::size_t> number_in(const char* path) {
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return std::nullopt;
  unsigned long long value = 0;
  const bool found = std::fscanf(file, "%llu", &value) == 1;
  std::fclose(file);
  if (!found) return std::nullopt;
  return static_cast<std::size_t>(value);
}

/// A line "KEY:   123 kB" or "KEY 123" of a file, as the number.
std::optional<std::size_t> field_in(const char* path, const char* key) {
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return std::nullopt;
  std::optional<std::size_t> found;
  char line[256];
  const std::size_t length = std::strlen(key);
  while (!found && std::fgets(line, sizeof(line), file) != nullptr) {
    unsigned long long value = 0;
    if (std::strncmp(line, key, length) == 0 && std::sscanf(line + length, "%*[: \t]%llu", &value) == 1) {
      found = static_cast<std::size_t>(value);
    }
  }
  std::fclose(file);
  return found;
}

}  // namespace

std::optional<std::size_t> available_memory() {
  std::optional<std::size_t> available;
  const auto limit = [&](std::size_t bytes) {
    available = std::min(available.value_or(std::numeric_limits<std::size_t>::max()), bytes);
  };
  if (const auto kilobytes = field_in("/proc/meminfo", "MemAvailable")) limit(*kilobytes * 1024);
  // A control group counts the page cache as used; inactive file pages go when memory is wanted.
  const auto group = [&](const char* max_path, const char* used_path, const char* stat_path, const char* key) {
    const auto most = number_in(max_path);
    const auto used = number_in(used_path);
    if (!most || !used || *most > (std::size_t{1} << 60)) return;
    const std::size_t reclaimable = field_in(stat_path, key).value_or(0);
    const std::size_t held = *used > reclaimable ? *used - reclaimable : 0;
    limit(*most > held ? *most - held : 0);
  };
  group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat", "inactive_file");
  group("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat", "total_inactive_file");
  rlimit address_space{};
  if (::getrlimit(RLIMIT_AS, &address_space) == 0 && address_space.rlim_cur != RLIM_INFINITY) {
    limit(address_space.rlim_cur);
  }
  return available;
}

std::size_t peak_resident_bytes() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

}  // namespace cli
