// quantize.h: how numbers become 8-bit integers for products, the same on every backend bit for bit.
//
// Of each row of A and each column of B, HONE_QUANT_BLOCK steps of the depth share a scale s = max |x| / 127:
//
//     x ~ s q,  q = round(x / s) in -127 .. 127       sum over a block of x y ~ s_x s_y sum q_x q_y, the integer sum exact
//
// Where many small numbers stand beside a large one (a head's gradient), rounding each to the nearest loses their sum. There q is
// drawn: floor(x / s + u), right on average, u in 0 .. 1 a hash of x's own bits, so that the same number is rounded the same way.
// A row's integers depend on that row alone, so that products stay row-invariant. The sum of a block's products is below
// 2^24 and hence a whole f32: 384 x 127^2 = 6.2 million. Nothing overflows: 32 bits would hold 133,000 steps.
// (Scales by vector: Dettmers et al. 2022, arXiv:2208.07339; by block: Xi et al. 2024, arXiv:2403.12422.)
#pragma once
#include <math.h>

enum { HONE_QUANT_BLOCK = 384 };
#define HONE_QUANT_MIX 2654435761u  // u is the upper 16 bits of (m ^ m >> 15) MIX2, m = bits MIX
#define HONE_QUANT_MIX2 2246822519u

typedef struct hone_quant { float scale, inverse; } hone_quant;

// top: the largest |x| of the block. Infinity or NaN: the scale is NaN and so is every sum of the block; the integers do not
// matter. Below 2^-100 (where 1 / s would overflow before long): zeros.
static inline hone_quant hone_quant_of(float top)
{
    hone_quant q = { NAN, 0 };
    if (top < 0x1p-100f) q.scale = 0;
    else if (top < INFINITY) q.scale = top / 127, q.inverse = 127 / top;
    return q;
}
