// SPDX-License-Identifier: Apache-2.0
// The version, as text and as numbers for #if. Plain preprocessor: C++ and C sources include it, and the build reads it.
#pragma once

/// Changes with every interface that changes, from 1.0 on.
#define TRITIUM_VERSION_MAJOR 0
/// Changes with every interface that changes, before 1.0.
#define TRITIUM_VERSION_MINOR 1
/// Changes no interface.
#define TRITIUM_VERSION_PATCH 0
/// The version of these headers, as text.
#define TRITIUM_VERSION "0.1.0"

/// Whether this is the version major.minor.patch or a later one: #if TRITIUM_VERSION_AT_LEAST(0, 2, 0)
#define TRITIUM_VERSION_AT_LEAST(major, minor, patch) \
  (TRITIUM_VERSION_MAJOR > (major) ||                 \
   (TRITIUM_VERSION_MAJOR == (major) &&               \
    (TRITIUM_VERSION_MINOR > (minor) || (TRITIUM_VERSION_MINOR == (minor) && TRITIUM_VERSION_PATCH >= (patch)))))
