// embed.c: rows of tables by index: embed, its gradient, gather_rows.
#include "backend/ref/ref.h"

// y[n] = table[ids[n]] (+ addend[n])
//   ids (N,)   table (V, C)   addend, y (N, C)
void hone_ref_embed(const hone_args *a)
{
    const hone_operand *ids = &a->in[0], *table = &a->in[1], *addend = &a->in[2], *y = &a->out[0];
    int64_t N = hone_rows(ids), C = table->dim[1];
    for (int64_t n = 0; n < N; n++)
        for (int64_t c = 0; c < C; c++)
            put(y, n * C + c, get(table, get_index(ids, n) * C + c) + get_or(addend, n * C + c, 0));
}

// dtable[v] += sum of dy[n] over the n with ids[n] = v. Each v is summed when its first n comes by, rounded once.
void hone_ref_embed_dw(const hone_args *a)
{
    const hone_operand *ids = &a->in[0], *dy = &a->in[1], *dtable = &a->out[0];
    int64_t N = hone_rows(ids), C = dtable->dim[1];
    for (int64_t n = 0; n < N; n++) {
        int32_t v = get_index(ids, n);
        bool seen = false;
        for (int64_t i = 0; i < n && !seen; i++) seen = get_index(ids, i) == v;
        if (seen) continue;
        for (int64_t c = 0; c < C; c++) {
            double sum = get(dtable, v * C + c);
            for (int64_t i = n; i < N; i++)
                if (get_index(ids, i) == v) sum += get(dy, i * C + c);
            put(dtable, v * C + c, sum);
        }
    }
}

// y[r] = x[rows[r]]
//   x (N, C)   rows (R,)   y (R, C)
void hone_ref_gather_rows(const hone_args *a)
{
    const hone_operand *x = &a->in[0], *rows = &a->in[1], *y = &a->out[0];
    int64_t R = hone_rows(rows), C = x->dim[1];
    for (int64_t r = 0; r < R; r++)
        for (int64_t c = 0; c < C; c++) put(y, r * C + c, get(x, get_index(rows, r) * C + c));
}
