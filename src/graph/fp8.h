// fp8.h: floats of 8 bits (Micikevicius et al. 2022, arXiv:2209.05433): their codes, how a tensor becomes them for a product, the same on
// every backend bit for bit, and which products they are for (fp8.c).
//
//     e4m3   s eeee mmm   bias 7    2^-9 .. 448       activations, weights     no infinity
//     e5m2   s eeeee mm   bias 15   2^-16 .. 57344    gradients
//
// A tensor has one scale, of the largest element that it has now:   x ~ s q,   s = max |x| / largest,   q = round(x / s)
// to nearest, ties to even. Sums are f32, times both scales. Where the largest is not finite, s is 1 and what is not finite
// becomes NaN: a step whose numbers ran away is seen as in any other precision. A scale is of a whole tensor, so that a row's
// result depends on the rows beside it: programs whose rows are few or come and go (score, decode) multiply in bf16.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { HONE_FP8_SIZES = 16 };       // every dimension of a product is a multiple of it: 16 bytes, as cuBLASLt demands

#define HONE_FP8_NAN 0x7f
static inline float hone_fp8_largest(bool e5m2) { return e5m2 ? 57344.0f : 448.0f; }

// Larger ones become the largest, what is not finite becomes NaN. Below the least normal number a sum with 2^23 steps rounds to whole steps.
static inline uint8_t hone_fp8_code(float x, bool e5m2)
{
    const int drop = e5m2 ? 21 : 20;
    const float least = e5m2 ? 0x1p-14f : 0x1p-6f, steps = e5m2 ? 0x1p7f : 0x1p14f;
    union { float f; uint32_t u; } v = { x }, whole = { steps };
    const uint8_t sign = (uint8_t)(v.u >> 24 & 0x80);
    v.u &= 0x7fffffffu;
    if (v.u >= 0x7f800000u) return (uint8_t)(sign | HONE_FP8_NAN);
    if (v.f > hone_fp8_largest(e5m2)) v.f = hone_fp8_largest(e5m2);
    if (v.f < least) {
        v.f += steps;
        return (uint8_t)(sign | (v.u - whole.u));
    }
    v.u += (1u << (drop - 1)) - 1 + (v.u >> drop & 1);
    return (uint8_t)(sign | ((v.u - ((e5m2 ? 112u : 120u) << 23)) >> drop));
}

static inline float hone_fp8_value(uint8_t code, bool e5m2)
{
    const uint32_t size = code & 0x7f, normal = e5m2 ? 4 : 8;
    union { float f; uint32_t u; } v = { 0 };
    if (size == HONE_FP8_NAN || (e5m2 && size > 0x7c)) v.u = 0x7fc00000u;
    else if (e5m2 && size == 0x7c) v.u = 0x7f800000u;
    else if (size < normal) v.f = (float)size * (e5m2 ? 0x1p-16f : 0x1p-9f);
    else v.u = (size << (e5m2 ? 21 : 20)) + ((e5m2 ? 112u : 120u) << 23);
    v.u |= (uint32_t)(code & 0x80) << 24;
    return v.f;
}

// top: the largest |x|, infinity where one is not finite. Below 2^-100, where 1 / s would overflow before long, all become zeros.
typedef struct hone_fp8_scale { float scale, inverse; } hone_fp8_scale;
static inline hone_fp8_scale hone_fp8_scale_of(float top, bool e5m2)
{
    const bool usable = top >= 0x1p-100f && top <= 0x1.fffffep127f;
    const hone_fp8_scale s = { usable ? top / hone_fp8_largest(e5m2) : 1, usable ? hone_fp8_largest(e5m2) / top : 1 };
    return s;
}
