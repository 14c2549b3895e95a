// blocks.cu: frozen matrices in blocks of few bits (base/blocks.def) made numbers again, ahead of the product that reads them.
#include "backend/cuda/kernel.h"

enum {
#define BLOCKS(name, gguf, elements, bytes, title) ELEMENTS_##name = (elements), BYTES_##name = (bytes),
#include "base/blocks.def"
#undef BLOCKS
};

#ifdef __CUDACC__
static __device__ const float nf4_values[16] = { HONE_NF4_VALUES };
#else
static const float nf4_values[16] = { HONE_NF4_VALUES };
#endif

// Element i of the block at b: products are exact or round once, as in base/blocks.c, so that the numbers are the same on every backend.
HONE_DEVICE float code4(const uint8_t *q, int i, int zero) { return (float)((i < 16 ? q[i] & 15 : q[i - 16] >> 4) - zero); }
HONE_DEVICE float code5(const uint8_t *high, const uint8_t *q, int i, int zero) { return code4(q, i, zero) + (float)((high[i / 8] >> i % 8 & 1) << 4); }
HONE_DEVICE float value_q4_0(const uint8_t *b, int i) { return hone_block_half(b) * code4(b + 2, i, 8); }
HONE_DEVICE float value_q4_1(const uint8_t *b, int i) { return hone_block_half(b) * code4(b + 4, i, 0) + hone_block_half(b + 2); }
HONE_DEVICE float value_q5_0(const uint8_t *b, int i) { return hone_block_half(b) * code5(b + 2, b + 6, i, 16); }
HONE_DEVICE float value_q5_1(const uint8_t *b, int i) { return hone_block_half(b) * code5(b + 4, b + 8, i, 0) + hone_block_half(b + 2); }
HONE_DEVICE float value_q8_0(const uint8_t *b, int i) { return hone_block_half(b) * (float)(int8_t)b[2 + i]; }
HONE_DEVICE float value_nf4(const uint8_t *b, int i)
{
    union { uint32_t u; float f; } d = { b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24 };
    return d.f * nf4_values[b[4 + i / 2] >> (i % 2 ? 0 : 4) & 15];
}

// The 32 elements of part i / 32 have a scale and a shift; bit j of byte l of `fifth` is the fifth bit of element l of part j.
HONE_DEVICE float value_of_part(const uint8_t *b, const uint8_t *fifth, const uint8_t *q, int i)
{
    const int j = i / 32, l = i % 32;
    int s, t;
    hone_block_scale(b + 4, j, &s, &t);
    const int code = (q[j / 2 * 32 + l] >> j % 2 * 4 & 15) | (fifth ? (fifth[l] >> j & 1) << 4 : 0);
    return hone_block_half(b) * (float)s * (float)code - hone_block_half(b + 2) * (float)t;
}
HONE_DEVICE float value_q4_k(const uint8_t *b, int i) { return value_of_part(b, NULL, b + 16, i); }
HONE_DEVICE float value_q5_k(const uint8_t *b, int i) { return value_of_part(b, b + 16, b + 48, i); }
HONE_DEVICE float value_q6_k(const uint8_t *b, int i)
{
    const hone_block_place6 p = hone_block_place6_of(i);
    const int code = (b[p.low] >> p.low_shift & 15) | (b[p.high] >> p.high_shift & 3) << 4;
    return hone_block_half(b + HONE_D6) * (float)(int8_t)b[HONE_SCALE6 + i / 16] * (float)(code - 32);
}

// out 0 (M, K) = the numbers of in 0, whose rows are whole blocks
HONE_KERNEL(unblock, 256)
{
    const uint8_t *blocks = (const uint8_t *)c.in[0].data;
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step()) {
        float value = 0;
        switch (c.in[0].dtype) {
#define DTYPE(...)
#define BLOCKED(name) case HONE_##name: value = value_##name(blocks + i / ELEMENTS_##name * BYTES_##name, (int)(i % ELEMENTS_##name)); break;
#include "graph/dtypes.def"
#undef DTYPE
        default: break;
        }
        put(&c.out[0], i, value);
    }
}
