// kv8.h: keys and values in 8 bits, the same on every backend bit for bit.
//
// A row of the cache has D codes for each head of keys and each head of values, and a scale for each of these heads:
//
//     x ~ s q,   s = max |x| / 127,   q = round(x / s) in -127 .. 127, ties to even           (quantize.h has the scale)
//
// So a row is a function of its own numbers: appending one scales no other again, and rows that were kept are those that would be
// computed. Integers and not e4m3: with one scale a head, whose largest is some three times its usual number, they are off by a fourth
// as much (tests/gen/test_cache8.c has both), and chips without fp8 read them as fast.
// Bytes: D + 4 a head, of 2 D in bf16: 53 % at D = 64, 52 % at D = 128.
#pragma once
#include "graph/quantize.h"
#include <stdint.h>

// The largest |x| of a head so far, 0 at first; infinity where one is not finite, at which the scale and so every sum is NaN.
static inline float hone_kv8_larger(float top, float x)
{
    const float size = fabsf(x);
    if (!(size < INFINITY)) return INFINITY;
    return size > top ? size : top;
}

static inline int8_t hone_kv8_code(float x, float inverse)
{
    const float q = rintf(x * inverse);
    if (q > 127) return 127;
    return (int8_t)(q > -127 ? q : -127);
}
