// round.h: numbers kept in fewer bits, rounded at random so that a sum of many small changes is not lost: x falls on one of its
// two neighbours, the nearer one more often, and on average on itself (stochastic rounding). Optimizer moments need it: with
// beta2 = 0.999 a second moment shrinks by 0.1 % a step, a quarter of half a bf16 place, and rounding to nearest would keep it for ever.
//
// Random bits are a hash of (step, stream, index), so that resume and any number of threads draw the same.
//
// Codes of 8 bits: a small float of 3 fraction bits relative to the scale of its block, |x| / scale in [0, 1.875]:
//
//     first moment     s eeee fff      2^-17 .. 1.875      sign, 4 bits of exponent
//     second moment    eeeee fff       2^-33 .. 1.875      no sign, 5 bits: the range of a square
//
// as IEEE floats: exponent 0 is linear (subnormal). scale = largest / 1.875, so that a block's largest element is exact.
#pragma once
#include <stdint.h>

enum { HONE_MOMENT_BLOCK = 256 };              // elements with one scale
enum { HONE_CODE_BIAS1 = 112, HONE_CODE_BIAS2 = 96 }; // what is taken off the exponent of |x| / scale
#define HONE_CODE_TOP 1.875f

// Wellons' "lowbias32".
static inline uint32_t hone_round_hash(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}
static inline uint32_t hone_round_key(float step, int32_t stream) { return hone_round_hash(hone_round_hash((uint32_t)step) + (uint32_t)stream); }
// Element i of the tensors with this key: 16 bits for the first moment (low half), 16 for the second.
static inline uint32_t hone_round_bits(uint32_t key, int64_t i) { return hone_round_hash((uint32_t)i ^ key); }

static inline uint16_t hone_round_bf16(float x, uint32_t bits16)
{
    union { float f; uint32_t u; } v = { x };
    return (uint16_t)((v.u + bits16) >> 16);
}

// y = |x| / scale >= 0. Exponent 0: adding the least normal number lines the fraction up, so both cases shift 20 bits out.
static inline uint32_t hone_code_of(float y, uint32_t bits16, uint32_t bias)
{
    union { uint32_t u; float f; } least = { (bias + 1) << 23 }, v = { .f = y };
    uint32_t normal = v.f >= least.f;
    if (!normal) v.f += least.f;
    return ((v.u + (bits16 << 4)) >> 20) - ((bias + !normal) << 3);
}
static inline float hone_code_value(uint32_t code, uint32_t bias)
{
    union { uint32_t u; float f; } least = { (bias + 1) << 23 }, v = { (code + (bias << 3)) << 20 };
    return code < 8 ? (float)code * 0.125f * least.f : v.f;
}
