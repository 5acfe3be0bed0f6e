// SPDX-License-Identifier: Apache-2.0
// The version, as text and as numbers for #if. Plain preprocessor: C++ and C sources include it, and the build reads it.
#pragma once

#define TRITIUM_VERSION_MAJOR 0
#define TRITIUM_VERSION_MINOR 1
#define TRITIUM_VERSION_PATCH 0
#define TRITIUM_VERSION "0.1.0"

// Whether this is the version major.minor.patch or a later one: #if TRITIUM_VERSION_AT_LEAST(0, 2, 0)
#define TRITIUM_VERSION_AT_LEAST(major, minor, patch) \
  (TRITIUM_VERSION_MAJOR > (major) ||                 \
   (TRITIUM_VERSION_MAJOR == (major) &&               \
    (TRITIUM_VERSION_MINOR > (minor) || (TRITIUM_VERSION_MINOR == (minor) && TRITIUM_VERSION_PATCH >= (patch)))))
