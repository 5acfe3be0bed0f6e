// SPDX-License-Identifier: Apache-2.0
// Two objects with different flags in one program: each runs its own tier, and integers are equal on all of them.
#include <cstdio>
#include <cstring>

#include "part.h"

int main() {
  const Products a = first();
  const Products b = second();
  std::printf("%s and %s\n", a.tier.c_str(), b.tier.c_str());
  if (a.tier.empty() || b.tier.empty() || a.tier == b.tier || a.y.size() != b.y.size()) return 1;
  bool any = false;
  for (const float v : a.y) any = any || v != 0.0f;
  return any && std::memcmp(a.y.data(), b.y.data(), a.y.size() * sizeof(float)) == 0 ? 0 : 1;
}
