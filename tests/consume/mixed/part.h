// SPDX-License-Identifier: Apache-2.0
// What objects with different flags share: plain data.
#pragma once

#include <string>
#include <vector>

struct Products {
  std::string tier;      ///< whose kernels computed; empty: a failure
  std::vector<float> y;  ///< (5, 75)
};

Products first();
Products second();
