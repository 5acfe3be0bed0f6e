// SPDX-License-Identifier: Apache-2.0
// Everything another engine includes: core, formats and ops.
//
// Headers alone: the kernels are those of the compiler's flags (-march=...). Linked with tritium::kernels, which defines
// TRITIUM_DISPATCH=1: those of the CPU, chosen at run time.
#pragma once

#include "tritium/core/thread_pool.h"
#include "tritium/format/gguf_blocks.h"
#include "tritium/format/pack_quantized.h"
#include "tritium/ops/activation_rows.h"
#include "tritium/ops/rope.h"
#include "tritium/ops/selftest.h"
