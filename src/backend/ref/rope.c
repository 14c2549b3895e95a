// rope.c: rotary position embedding (Su et al. 2021, arXiv:2104.09864), half-split convention.
#include "backend/ref/ref.h"

// cs[n] = (cos(pos f_0) .. cos(pos f_{J-1}), sin(pos f_0) ..). The angle is rounded to f32 where the frequencies are f32,
// because transformers multiplies in f32: at position 4000 that rounding is worth more than all others together.
//   pos (N,)   freq (J,)   cs (N, 2 J)
void hone_ref_rope_table(const hone_args *a)
{
    const hone_operand *pos = &a->in[0], *freq = &a->in[1], *cs = &a->out[0];
    int64_t N = hone_rows(pos), J = freq->dim[0];
    for (int64_t n = 0; n < N; n++)
        for (int64_t j = 0; j < J; j++) {
            double angle = get_index(pos, n) * get(freq, j);
            if (freq->dtype == HONE_f32) angle = (float)angle;
            put(cs, n * 2 * J + j, cos(angle));
            put(cs, n * 2 * J + J + j, sin(angle));
        }
}

// (x_j, x_{j+J}) -> (x_j c - x_{j+J} s, x_{j+J} c + x_j s), J = R/2, in each q and k head; columns from R on, and v, unchanged.
// A rotation's inverse is its transpose, so rotating dy back (s -> -s) is the gradient.
//   qkv, y (N, P), which may be one   cs (N, R)
void hone_ref_rope(const hone_args *a)
{
    const hone_operand *qkv = &a->in[0], *cs = &a->in[1], *y = &a->out[0];
    int64_t N = hone_rows(qkv), P = qkv->dim[1], D = a->attr.head_dim, R = cs->dim[1], J = R / 2;
    int64_t heads = a->attr.heads + a->attr.kv_heads;
    for (int64_t n = 0; n < N; n++) {
        for (int64_t h = 0; h < heads; h++) {
            for (int64_t i = n * P + h * D + R; i < n * P + (h + 1) * D; i++) put(y, i, get(qkv, i));
            for (int64_t j = 0; j < J; j++) {
                int64_t first = n * P + h * D + j, second = first + J;
                double c = get(cs, n * R + j), s = get(cs, n * R + J + j) * (a->attr.inverse ? -1 : 1);
                double x1 = get(qkv, first), x2 = get(qkv, second);
                put(y, first, x1 * c - x2 * s);
                put(y, second, x2 * c + x1 * s);
            }
        }
        for (int64_t i = n * P + heads * D; i < (n + 1) * P; i++) put(y, i, get(qkv, i));
    }
}
