// fp8.h: floats of 8 bits (Micikevicius et al. 2022, arXiv:2209.05433): their codes, how a tensor becomes them for a product, the same on
// every backend bit for bit, and which products they are for (fp8.c).
//
//     e4m3   s eeee mmm   bias 7    2^-9 .. 448       activations, weights     no infinity
//     e5m2   s eeeee mm   bias 15   2^-16 .. 57344    gradients
//
// Numbers that share a scale have that of the largest element among them now:   x ~ s q,   s = max |x| / largest,   q = round(x / s)
// to nearest, ties to even. Sums are f32, times both scales. Where the largest is not finite, s is 1 and what is not finite
// becomes NaN: a step whose numbers ran away is seen as in any other precision. Who shares one (recipe key fp8_scaling):
//
//     tensor     all of a tensor, so that a row's result depends on the rows beside it
//     block      each 128 along the sum of an activation's or gradient's row, each 128 x 128 of a weight, whose transpose then has the
//                same codes; all of them are e4m3 (DeepSeek-V3, arXiv:2412.19437, 3.3.2). Sums over 128 are scaled before they are added.
//
// The gradient of a weight sums over token rows, so both of its operands are quantised again, along those. Programs whose rows are few or
// come and go (score, decode) multiply in bf16 with either: the product library wants whole fours of rows.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { HONE_FP8_SIZES = 16 };       // every dimension of a product is a multiple of it: 16 bytes, as cuBLASLt demands

// How the scales of an operand lie whose product sums over its `depth`, of each row (cuBLASLt: "Scaling factors layouts").
typedef enum {
    HONE_FP8_TENSOR,        // one
    HONE_FP8_RUNS,          // of each run of 128 along the sum:  (depth / 128, rows)               runs that are cut off count
    HONE_FP8_SQUARES,       // of each square of 128 x 128:       (rows / 128, depth / 128 up to a multiple of 4)    zeros behind them
} hone_fp8_scaling;
enum { HONE_FP8_BLOCK = 128 };
static inline int64_t hone_fp8_blocks(int64_t numbers) { return (numbers + HONE_FP8_BLOCK - 1) / HONE_FP8_BLOCK; }
static inline int64_t hone_fp8_squares_across(int64_t depth) { return (hone_fp8_blocks(depth) + 3) / 4 * 4; }
static inline int64_t hone_fp8_scale_count(hone_fp8_scaling scaling, int64_t rows, int64_t depth)
{
    return scaling == HONE_FP8_TENSOR ? 1 : scaling == HONE_FP8_RUNS ? rows * hone_fp8_blocks(depth) : hone_fp8_blocks(rows) * hone_fp8_squares_across(depth);
}
static inline int64_t hone_fp8_scale_at(hone_fp8_scaling scaling, int64_t rows, int64_t depth, int64_t row, int64_t k)
{
    const int64_t block = k / HONE_FP8_BLOCK;
    return scaling == HONE_FP8_TENSOR ? 0 : scaling == HONE_FP8_RUNS ? block * rows + row : row / HONE_FP8_BLOCK * hone_fp8_squares_across(depth) + block;
}

// NVIDIA GPUs by compute capability times ten: Ada, Hopper and later have fp8; of cuBLASLt, blocks are for Hopper alone.
static inline bool hone_fp8_on(int capability) { return capability >= 89; }
static inline bool hone_fp8_blocks_on(int capability) { return capability / 10 == 9; }

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
