// SPDX-License-Identifier: Apache-2.0
// exp and what is built on it: sigmoid gates, the two GELUs, tanh.
//
//   Exp        <= 1.5 ulp on [-87.3, 88.7]; 0 below, +Inf above, NaN stays NaN. Cody-Waite reduction by ln 2 in two parts,
//              degree-6 minimax polynomial, the exponent added as bits.
//   Silu       x / (1 + exp(-x)). <= 2.4 ulp; 0 below -88.7, where the value is under 2.7e-37
//   GeluTanh   0.5 x (1 + tanh(u)) = x / (1 + exp(-2 u)),  u = sqrt(2/pi) (x + 0.044715 x^3): no tanh, no cancellation.
//              <= 2.6 ulp above -1, 35 to -5, 210 to -10 (a rounding of u grows with u); 0 below, under 3e-38
//   GeluErf    x * Phi(x) through erfc, so that the negative tail keeps its relative accuracy.
//              <= 8 ulp above -1, 40 to -5, 150 to -10; then under 1e-27
//   Tanh       odd polynomial near zero, 1 - 2 / (exp(2x) + 1) elsewhere. <= 8.5 ulp (just above 0.25)
// Division is IEEE. +Inf gives +Inf (Tanh: 1), -Inf gives NaN in the three products x * f(x), NaN stays NaN.
// Largest errors over every 37th float against double; tests/ops/activations_test.cc holds them to it.

#if defined(TRITIUM_SIMD_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRITIUM_SIMD_MATH_INL_H_
#undef TRITIUM_SIMD_MATH_INL_H_
#else
#define TRITIUM_SIMD_MATH_INL_H_
#endif

#include "tritium/core/config.h"
#include "tritium/simd/targets.h"
// After targets.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
TRITIUM_NAMESPACE_BEGIN
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V low = hn::Set(d, -87.33654f);  // exp of it is the smallest normal number
  const V high = hn::Set(d, 88.72283f);
  const V clamped = hn::Min(hn::Max(x, low), high);
  // 1.5 * 2^23 as bias: the sum's low bits are round(x / ln 2)
  const V bias = hn::Set(d, 12582912.0f);
  const V shifted = hn::MulAdd(clamped, hn::Set(d, 1.44269504f), bias);
  const V n = hn::Sub(shifted, bias);
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693145752f), clamped);
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6f), r);
  V p = hn::Set(d, 1.38427925e-3f);
  p = hn::MulAdd(p, r, hn::Set(d, 8.37655598e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.16683108e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.66664928e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.99999851e-1f));
  const V r2 = hn::Mul(r, r);
  p = hn::Add(hn::MulAdd(p, r2, r), hn::Set(d, 1.0f));
  // p * 2^n in two halves, so that n = 128 (x near 88.7) does not overflow the exponent before p < 1 is applied
  const auto exponent = hn::BitCast(di, shifted);
  const auto ni = hn::ShiftRight<9>(hn::ShiftLeft<9>(exponent));  // sign-extended low 23 bits: n + 2^22 wraps away
  const auto half = hn::ShiftRight<1>(ni);
  const auto one = hn::Set(di, 127);
  const V scale_a = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, one)));
  const V scale_b = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(ni, half), one)));
  V result = hn::Mul(hn::Mul(p, scale_a), scale_b);
  result = hn::IfThenZeroElse(hn::Lt(x, low), result);
  result = hn::IfThenElse(hn::Gt(x, high), hn::Inf(d), result);
  return hn::IfThenElse(hn::IsNaN(x), x, result);
}

/// exp for x <= 0, as softmax needs it: no upper clamp, NaN is not kept.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V ExpNonPositive(D d, V x) {
  const hn::RebindToSigned<D> di;
  const V low = hn::Set(d, -87.33654f);
  const V clamped = hn::Max(x, low);
  const V bias = hn::Set(d, 12582912.0f);
  const V shifted = hn::MulAdd(clamped, hn::Set(d, 1.44269504f), bias);
  const V n = hn::Sub(shifted, bias);
  V r = hn::NegMulAdd(n, hn::Set(d, 0.693145752f), clamped);
  r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6f), r);
  V p = hn::Set(d, 1.38427925e-3f);
  p = hn::MulAdd(p, r, hn::Set(d, 8.37655598e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.16683108e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.66664928e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.99999851e-1f));
  const V r2 = hn::Mul(r, r);
  p = hn::Add(hn::MulAdd(p, r2, r), hn::Set(d, 1.0f));
  // n is in [-126, 0]: adding it to the exponent of p in [0.7, 1.42] stays normal or rounds to the smallest normal
  const V result = hn::BitCast(d, hn::Add(hn::BitCast(di, p), hn::ShiftLeft<23>(hn::BitCast(di, shifted))));
  return hn::IfThenZeroElse(hn::Lt(x, low), result);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Sigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, Exp(d, hn::Neg(x))));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Silu(D d, V x) {
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), Exp(d, hn::Neg(x))));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluTanh(D d, V x) {
  const V x2 = hn::Mul(x, x);
  const V minus_2u = hn::Mul(x, hn::MulAdd(x2, hn::Set(d, -0.0713548163f), hn::Set(d, -1.59576912f)));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), Exp(d, minus_2u)));
}

/// erfc(z) for z >= 0: relative error below 1.2e-7. Source: W. J. Cody style Chebyshev fit (Numerical Recipes 6.2).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Erfc(D d, V z) {
  const V t = hn::Div(hn::Set(d, 1.0f), hn::MulAdd(z, hn::Set(d, 0.5f), hn::Set(d, 1.0f)));
  V p = hn::Set(d, 0.17087277f);
  p = hn::MulAdd(p, t, hn::Set(d, -0.82215223f));
  p = hn::MulAdd(p, t, hn::Set(d, 1.48851587f));
  p = hn::MulAdd(p, t, hn::Set(d, -1.13520398f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.27886807f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.18628806f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.09678418f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.37409196f));
  p = hn::MulAdd(p, t, hn::Set(d, 1.00002368f));
  p = hn::MulAdd(p, t, hn::Set(d, -1.26551223f));
  return hn::Mul(t, Exp(d, hn::NegMulAdd(z, z, p)));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluErf(D d, V x) {
  const V tail = hn::Mul(hn::Set(d, 0.5f), Erfc(d, hn::Mul(hn::Abs(x), hn::Set(d, 0.707106781f))));  // Phi(-|x|)
  const V phi = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(hn::Set(d, 1.0f), tail));
  return hn::Mul(x, phi);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE V Tanh(D d, V x) {
  const V x2 = hn::Mul(x, x);
  V p = hn::Set(d, 2.18694885e-2f);
  p = hn::MulAdd(p, x2, hn::Set(d, -5.39682540e-2f));
  p = hn::MulAdd(p, x2, hn::Set(d, 1.33333333e-1f));
  p = hn::MulAdd(p, x2, hn::Set(d, -3.33333333e-1f));
  const V small = hn::MulAdd(hn::Mul(p, x2), x, x);
  const V e = Exp(d, hn::Add(x, x));
  const V large = hn::Sub(hn::Set(d, 1.0f), hn::Div(hn::Set(d, 2.0f), hn::Add(e, hn::Set(d, 1.0f))));
  return hn::IfThenElse(hn::Lt(hn::Abs(x), hn::Set(d, 0.25f)), small, large);
}

}  // namespace HWY_NAMESPACE
TRITIUM_NAMESPACE_END
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
