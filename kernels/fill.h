// SPDX-License-Identifier: Apache-2.0
// What the files of this folder offer each other: each fills its part of a tier's table.
#pragma once

#include "tritium/ops/isa.h"
#include "tritium/ops/kernel_table.h"

TRITIUM_NAMESPACE_BEGIN
namespace detail {
/// Each returns false when the tier was not compiled in. A pass hands over constant data and no code: a function that is
/// compiled for AVX-512 may not run on a CPU without it, not even to store pointers.
bool fill_rowops(Tier tier, KernelTable& table);  ///< first: starts the table anew
template <FormatFamily kFamily>
bool fill_matmul(Tier tier, KernelTable& table);
template <>
bool fill_matmul<FormatFamily::ternary>(Tier tier, KernelTable& table);
template <>
bool fill_matmul<FormatFamily::int4>(Tier tier, KernelTable& table);
template <>
bool fill_matmul<FormatFamily::int8>(Tier tier, KernelTable& table);
template <>
bool fill_matmul<FormatFamily::blocks>(Tier tier, KernelTable& table);
template <>
bool fill_matmul<FormatFamily::super>(Tier tier, KernelTable& table);
}  // namespace detail
TRITIUM_NAMESPACE_END
