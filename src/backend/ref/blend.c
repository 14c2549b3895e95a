// blend.c: blend and its gradient by their definitions.
#include "backend/ref/ref.h"

// y = x;  y[v_col + c] += g[c] z[c]
void hone_ref_blend(const hone_args *args)
{
    const hone_operand *x = &args->in[0], *z = &args->in[1], *g = &args->in[2], *y = &args->out[0];
    const int64_t P = x->dim[1], Q = z->dim[1];
    for (int64_t n = 0; n < hone_rows(x); n++)
        for (int64_t p = 0; p < P; p++) {
            const int64_t c = p - args->attr.v_col;
            put(y, n * P + p, get(x, n * P + p) + (c >= 0 && c < Q ? get(g, c) * get(z, n * Q + c) : 0));
        }
}

// dz[c] = dy[v_col + c] g[c],  dg[c] += sum_n dy[v_col + c] z[c]
void hone_ref_blend_back(const hone_args *args)
{
    const hone_operand *dy = &args->in[0], *z = &args->in[1], *g = &args->in[2], *dz = &args->out[0], *dg = &args->out[1];
    const int64_t P = dy->dim[1], Q = z->dim[1];
    for (int64_t c = 0; c < Q; c++) {
        double sum = 0;
        for (int64_t n = 0; n < hone_rows(dy); n++) {
            const double d = get(dy, n * P + args->attr.v_col + c);
            sum += d * get(z, n * Q + c);
            put(dz, n * Q + c, d * get(g, c));
        }
        if (dg->present) put(dg, c, get(dg, c) + sum);
    }
}
