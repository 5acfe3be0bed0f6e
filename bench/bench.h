// SPDX-License-Identifier: Apache-2.0
// What the benchmark files share: a context with its limits, and how each file adds its benchmarks.
#pragma once

#include "limits.h"
#include "tritium/format/packed_matrix.h"
#include "tritium/ops/context.h"

namespace bench {

struct Machine {
  tritium::OpContext context;
  Limits limits;
  tritium::PackedMatrix matrix;  ///< of the last benchmark, for the next call of the same one
};

void register_matmul(Machine& machine);
void register_rowops(Machine& machine);
void register_rivals(Machine& machine);

}  // namespace bench
