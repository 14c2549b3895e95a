// block_bits.h: where bits lie in blocks (blocks.h), for all who read them: base/blocks.c, and a GPU's kernels, which compile this text.
#pragma once
#include "base/half.h"

// NF4's 16 values, ascending: quantiles of a normal distribution.
#define HONE_NF4_VALUES                                                                                                            \
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,        \
    -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,           \
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f

static inline float hone_block_half(const uint8_t *at) { return hone_f16_to_f32((uint16_t)(at[0] | at[1] << 8)); }

// q4_k, q5_k: scales s and shifts t of 6 bits in 12 bytes: bytes 0-3 hold s0-s3 below and two bits of s4-s7 above, bytes 4-7 t0-t3 and
// t4-t7 likewise, bytes 8-11 the lower four bits of s4-s7 and t4-t7.
static inline void hone_block_scale(const uint8_t *b, int j, int *s, int *t)
{
    if (j < 4) {
        *s = b[j] & 63;
        *t = b[j + 4] & 63;
    } else {
        *s = (b[j + 4] & 15) | (b[j - 4] >> 6) << 4;
        *t = b[j + 4] >> 4 | (b[j] >> 6) << 4;
    }
}

// q6_k: element 128 h + 64 u + l (l < 64) has its lower four bits in half u of byte 64 h + l; element 128 h + 32 w + l (l < 32)
// its upper two in pair w of byte 32 h + l of the upper ones. A scale for each 16 elements.
enum { HONE_HIGH6 = 128, HONE_SCALE6 = 192, HONE_D6 = 208 };
typedef struct hone_block_place6 { int low, low_shift, high, high_shift; } hone_block_place6;
static inline hone_block_place6 hone_block_place6_of(int i)
{
    const hone_block_place6 place = { i / 128 * 64 + i % 64, i / 64 % 2 * 4, HONE_HIGH6 + i / 128 * 32 + i % 32, i / 32 % 4 * 2 };
    return place;
}
