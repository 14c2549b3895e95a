// half.h: IEEE numbers of 16 bits to f32 and back (bf16: graph/tensor.h). Reading is exact; writing rounds to nearest, ties to even; NaN stays NaN.
#pragma once
#include <stdint.h>

static inline float hone_f16_to_f32(uint16_t h) // subnormals are m 2^-24
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023;
    union { uint32_t u; float f; } v;
    if (exponent == 0) {
        v.f = (float)mantissa * 0x1p-24f;
        v.u |= sign;
    } else {
        v.u = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | mantissa << 13;
    }
    return v.f;
}
// Too large becomes infinity. Below 2^-14 a sum with 0.5 rounds to whole 2^-24.
static inline uint16_t hone_f32_to_f16(float f)
{
    union { float f; uint32_t u; } v = { f };
    uint16_t sign = (uint16_t)(v.u >> 16 & 0x8000);
    v.u &= 0x7fffffff;
    if (v.u > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (v.f >= 65520) return (uint16_t)(sign | 0x7c00);
    if (v.f < 0x1p-14f) {
        v.f += 0.5f;
        return (uint16_t)(sign | (v.u - 0x3f000000));
    }
    return (uint16_t)(sign | (uint16_t)((v.u + 0xfff + (v.u >> 13 & 1) - (112u << 23)) >> 13));
}
