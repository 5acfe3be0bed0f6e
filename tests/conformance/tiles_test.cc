// SPDX-License-Identifier: Apache-2.0
// The matrix unit's kernels with their real instructions, on machines that have none: an unknown instruction stops the
// process with a signal, and a handler does here what the architecture's manual says of it.
//
// The emulated tier proves the kernels; this proves that the assembly behind the tile interface is that interface: register
// numbers, operand order, signs, the 64 bytes of configuration, and that nothing is used which was not configured.
// Where the CPU has AMX no signal comes and the same comparisons test the silicon.
#include <catch2/catch_test_macros.hpp>
#include <string>

#include "conformance/cases.h"
#include "support/tiers.h"
#include "tritium/ops/isa.h"

#if defined(__x86_64__) && defined(__linux__)
#include <csignal>
#include <ucontext.h>
#endif

using namespace tritium;

#if defined(__x86_64__) && defined(__linux__)
namespace {

/// A matrix unit in memory and what was done with it. One thread at a time.
struct TrappedUnit {
  bool configured = false;
  std::size_t rows[8] = {};
  std::size_t row_bytes[8] = {};
  std::uint8_t tile[8][16][64] = {};
  std::size_t configurations = 0, loads = 0, products = 0, stores = 0;
  const char* wrong = nullptr;  ///< the first use that hardware refuses

  void require(bool ok, const char* what) {
    if (!ok && wrong == nullptr) wrong = what;
  }
  void configure(const std::uint8_t* config) {
    require(config[0] == 1 && config[1] == 0, "palette 1, start row 0");
    for (std::size_t i = 2; i < 16; ++i) require(config[i] == 0, "reserved bytes are zero");
    for (std::size_t t = 0; t < 16; ++t) {
      std::uint16_t bytes = 0;
      std::memcpy(&bytes, config + 16 + 2 * t, sizeof bytes);
      const std::uint8_t count = config[48 + t];
      require(bytes <= 64 && count <= 16 && (t < 8 || (bytes == 0 && count == 0)), "eight tiles of 16 x 64 bytes");
      require((bytes == 0) == (count == 0), "rows and their bytes go together");
      if (t < 8) rows[t] = count, row_bytes[t] = bytes;
    }
    std::memset(tile, 0, sizeof tile);
    configured = true;
    ++configurations;
  }
  void load(std::size_t t, const std::uint8_t* from, std::ptrdiff_t stride) {
    require(configured && rows[t] != 0, "load of a configured tile");
    std::memset(tile[t], 0, sizeof tile[t]);
    for (std::size_t r = 0; r < rows[t]; ++r)
      std::memcpy(tile[t][r], from + static_cast<std::ptrdiff_t>(r) * stride, row_bytes[t]);
    ++loads;
  }
  void store(std::size_t t, std::uint8_t* to, std::ptrdiff_t stride) {
    require(configured && rows[t] != 0, "store of a configured tile");
    for (std::size_t r = 0; r < rows[t]; ++r)
      std::memcpy(to + static_cast<std::ptrdiff_t>(r) * stride, tile[t][r], row_bytes[t]);
    ++stores;
  }
  void multiply(std::size_t c, std::size_t a, std::size_t b, bool a_signed, bool b_signed) {
    require(configured && c != a && c != b && a != b, "three configured tiles");
    require(rows[c] == rows[a] && row_bytes[c] == row_bytes[b] && row_bytes[a] == 4 * rows[b], "matching tiles");
    const auto value = [](std::uint8_t byte, bool is_signed) {
      return is_signed ? static_cast<std::int32_t>(static_cast<std::int8_t>(byte)) : static_cast<std::int32_t>(byte);
    };
    for (std::size_t m = 0; m < rows[c]; ++m) {
      for (std::size_t n = 0; n < row_bytes[c] / 4; ++n) {
        std::uint32_t sum = 0;
        std::memcpy(&sum, tile[c][m] + 4 * n, sizeof sum);
        for (std::size_t k = 0; k < row_bytes[a]; ++k) {
          const std::int32_t product = value(tile[a][m][k], a_signed) * value(tile[b][k / 4][4 * n + k % 4], b_signed);
          sum += static_cast<std::uint32_t>(product);
        }
        std::memcpy(tile[c][m] + 4 * n, &sum, sizeof sum);
      }
    }
    ++products;
  }
};
TrappedUnit unit;

/// Registers by their number in an instruction.
constexpr int kRegisters[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

/// A memory operand: base + displacement, and the index register times its scale apart, which is a tile's stride.
struct Address {
  std::uintptr_t at = 0;
  std::ptrdiff_t stride = 0;
  std::size_t length = 1;  ///< bytes of the instruction from its ModRM byte on
};
Address address_of(const std::uint8_t* modrm, std::uint8_t rxb, const greg_t* registers, std::uintptr_t opcode_end) {
  Address a;
  const int mod = *modrm >> 6, low = *modrm & 7;
  int base = low | ((rxb & 0x20) != 0 ? 0 : 8);
  if (low == 4) {
    const std::uint8_t sib = modrm[1];
    ++a.length;
    const int index = ((sib >> 3) & 7) | ((rxb & 0x40) != 0 ? 0 : 8);
    if (index != 4) a.stride = static_cast<std::ptrdiff_t>(registers[kRegisters[index]]) * (1 << (sib >> 6));
    base = (sib & 7) | ((rxb & 0x20) != 0 ? 0 : 8);
  }
  const std::size_t displacement = mod == 1 ? 1 : mod == 2 || (mod == 0 && (base & 7) == 5) ? 4 : 0;
  std::int32_t offset = 0;
  if (displacement == 1) offset = static_cast<std::int8_t>(modrm[a.length]);
  if (displacement == 4) std::memcpy(&offset, modrm + a.length, sizeof offset);
  a.length += displacement;
  if (mod == 0 && (base & 7) == 5) {  // relative to the next instruction, or (with an index byte) to nothing
    a.at = low == 4 ? 0 : opcode_end + a.length;
  } else {
    a.at = static_cast<std::uintptr_t>(registers[kRegisters[base]]);
  }
  a.at += static_cast<std::uintptr_t>(static_cast<std::intptr_t>(offset));
  return a;
}

/// Executes a matrix instruction in place of the CPU; anything else stops the process as it would have.
void on_unknown_instruction(int number, siginfo_t*, void* context) {
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto* code = reinterpret_cast<const std::uint8_t*>(registers[REG_RIP]);
  // Three-byte VEX, opcode map 0F38, W = 0, 128 bits.
  if (code[0] == 0xC4 && (code[1] & 0x1F) == 2 && (code[2] & 0x84) == 0) {
    const int prefix = code[2] & 3;  // none, 66, F3, F2
    const std::size_t vvvv = ~static_cast<std::size_t>(code[2] >> 3) & 15;
    const std::uint8_t modrm = code[4];
    const std::size_t reg = (modrm >> 3) & 7, rm = modrm & 7;
    const bool in_registers = modrm >> 6 == 3;
    const Address a = address_of(code + 4, code[1], registers, reinterpret_cast<std::uintptr_t>(code + 4));
    std::size_t length = 0;
    if (code[3] == 0x49 && prefix == 0 && !in_registers && reg == 0) {
      unit.configure(reinterpret_cast<const std::uint8_t*>(a.at));
      length = 4 + a.length;
    } else if (code[3] == 0x49 && prefix == 0 && modrm == 0xC0) {
      unit.configured = false;
      length = 5;
    } else if (code[3] == 0x49 && prefix == 3 && in_registers && rm == 0) {
      unit.require(unit.configured && unit.rows[reg] != 0, "a configured tile becomes zero");
      std::memset(unit.tile[reg], 0, sizeof unit.tile[reg]);
      length = 5;
    } else if (code[3] == 0x4B && (prefix == 3 || prefix == 2) && !in_registers && rm == 4) {
      if (prefix == 3) unit.load(reg, reinterpret_cast<const std::uint8_t*>(a.at), a.stride);
      else unit.store(reg, reinterpret_cast<std::uint8_t*>(a.at), a.stride);
      length = 4 + a.length;
    } else if (code[3] == 0x5E && in_registers && vvvv < 8) {
      unit.multiply(reg, rm, vvvv, prefix >= 2, prefix == 3 || prefix == 1);
      length = 5;
    }
    if (length != 0) {
      registers[REG_RIP] += static_cast<greg_t>(length);
      return;
    }
  }
  std::signal(number, SIG_DFL);  // the instruction is met again
}

/// While it lives, matrix instructions run everywhere.
class Trap {
 public:
  Trap() {
    struct sigaction action{};
    action.sa_sigaction = &on_unknown_instruction;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &action, &before_);
    unit = {};
  }
  ~Trap() { sigaction(SIGILL, &before_, nullptr); }
  Trap(const Trap&) = delete;
  Trap& operator=(const Trap&) = delete;

 private:
  struct sigaction before_{};
};

std::vector<float> run(Tier tier, const conformance::Case& c) {
  conformance::GuardedScratch scratch;
  conformance::GuardedOutput out(c.s.m, c.s.n);
  kernel_table(tier)->matmul[static_cast<std::size_t>(c.f.format)](c.args(0, c.s.m, out.view()), 0, c.w.n_panels(),
                                                                   scratch.data());
  REQUIRE(out.intact());
  REQUIRE(scratch.intact());
  std::vector<float> y;
  for (std::size_t r = 0; r < c.s.m; ++r) {
    for (std::size_t i = 0; i < c.s.n; ++i) y.push_back(out.at(r, i));
  }
  return y;
}

/// What a shape of a format costs on the matrix unit, checked instruction by instruction where they can be counted.
void check(PackFormat format, conformance::Shape s, std::size_t products, std::size_t loads, std::size_t stores) {
  golden::Random random(5);
  const conformance::Case c(format, s, 0, random);
  const Trap trap;
  const std::vector<float> y = run(Tier::amx, c);
  REQUIRE(y == run(Tier::avx512_vnni, c));
  if (cpu_has(Tier::amx)) return;
  CAPTURE(c.f.name, s.m, s.n, s.k);
  REQUIRE(unit.products == products);
  REQUIRE(unit.loads == loads);
  REQUIRE(unit.stores == stores);
  REQUIRE(unit.configurations == (products == 0 ? 0 : 1));
}

}  // namespace

TEST_CASE("the matrix unit's instructions multiply what their emulation multiplies", "[tiles]") {
  if (!cpu_has(Tier::amx_emulated)) {
    WARN("not run: " << why_not(Tier::amx_emulated));
    return;
  }
  golden::Random random(17);
  std::size_t differ = 0;
  for (const PackFormatInfo& f : kPackFormats) {
    if (f.is_float || f.group == 16) continue;
    for (const conformance::Shape s : {conformance::Shape{3, 33, 65},
                                       {8, 80, 321},
                                       {16, 64, 700},
                                       {17, 48, 96},
                                       {24, 33, 577},
                                       {33, 75, 300},
                                       {57, 16, 130}}) {
      for (const std::size_t variant : {0u, 1u, 9u, 2u}) {  // random, largest codes with 127 and -127, smallest codes
        const conformance::Case c(f.format, s, variant, random);
        const Trap trap;
        const std::vector<float> y = run(Tier::amx, c);
        CAPTURE(f.name, s.m, s.n, s.k, variant);
        REQUIRE(std::string(unit.wrong == nullptr ? "" : unit.wrong) == "");
        REQUIRE_FALSE(unit.configured);
        REQUIRE((cpu_has(Tier::amx) || unit.products > 0 || (f.group != 0 && s.m < 24)));
        REQUIRE(y == run(Tier::amx_emulated, c));
        REQUIRE(y == run(Tier::avx512_vnni, c));
        for (const float v : y) differ += v != y[0] ? 1 : 0;
        if (tiers::sample(100) < 50) break;
      }
    }
  }
  REQUIRE(differ > 1000);  // results worth comparing
}

TEST_CASE("a matrix product is no more instructions than its tiles ask for", "[tiles]") {
  if (!cpu_has(Tier::amx_emulated)) {
    WARN("not run: " << why_not(Tier::amx_emulated));
    return;
  }
  // Two rows stay with vectors. Few rows: an A tile and four panels for every 64 inputs, sums stored once.
  check(PackFormat::ternary2, {2, 64, 640}, 0, 0, 0);
  check(PackFormat::ternary2, {3, 64, 640}, 40, 50, 4);
  check(PackFormat::ternary5, {8, 64, 640}, 40, 50, 4);
  check(PackFormat::int4, {16, 64, 640}, 40, 50, 4);
  check(PackFormat::int8, {16, 64, 608}, 40, 50, 4);
  check(PackFormat::int8, {16, 16, 640}, 10, 20, 1);
  // Many rows: 2 x 2 tiles, so a load for every product; a block of up to 16 rows leaves its second A tile alone.
  check(PackFormat::int8, {32, 64, 640}, 80, 80, 8);
  check(PackFormat::ternary2, {64, 64, 640}, 160, 160, 16);
  check(PackFormat::int4, {48, 64, 640}, 80 + 40, 80 + 60, 8 + 4);
  // Groups empty their tiles once a group.
  check(PackFormat::int4_g32, {32, 64, 640}, 160, 160, 160);
  check(PackFormat::int4_g64, {32, 64, 640}, 80, 80, 80);
  check(PackFormat::int4_g128m, {32, 64, 640}, 80, 80, 40);
  check(PackFormat::ternary2_g256, {32, 64, 1024}, 128, 128, 32);
  check(PackFormat::k4, {48, 64, 512}, 128 + 64, 128 + 96, 128 + 64);
}
#endif
