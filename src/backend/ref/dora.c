// dora.c: matrices whose rows have lengths of their own (DoRA; Liu et al. 2024, arXiv:2402.09353).
//
//     W' = m (W + s B A) / |W + s B A|, row by row;  |.| is held constant in the backward (their section 4.3)
//
// Row e of B, m and n is row part_col[u] + i of W, the columns of z likewise.
#include "backend/ref/ref.h"

// The row of W (column of z) that row e of the factors is; *u: its part.
static int64_t row_of(const hone_attr *attr, int64_t e, int64_t *u)
{
    for (*u = 0; e >= attr->part_rows[*u]; ++*u) e -= attr->part_rows[*u];
    return attr->part_col[*u] + e;
}

// n[e] = |w[row] + scale sum_j b[e,j] a[u J + j]|
//   w (M, K)   a (U J, K)   b (E, J)   n (E,)
void hone_ref_dora_norm(const hone_args *args)
{
    const hone_operand *w = &args->in[0], *a = &args->in[1], *b = &args->in[2], *n = &args->out[0];
    const int64_t K = w->dim[1], J = b->dim[1];
    for (int64_t e = 0; e < n->dim[0]; e++) {
        int64_t u, row = row_of(&args->attr, e, &u);
        double squares = 0;
        for (int64_t k = 0; k < K; k++) {
            double change = 0;
            for (int64_t j = 0; j < J; j++) change += get(b, e * J + j) * get(a, (u * J + j) * K + k);
            const double v = get(w, row * K + k) + (double)args->attr.scale * change;
            squares += v * v;
        }
        put(n, e, sqrt(squares));
    }
}

// y = z (+ bias) (+ residual), the parts' columns of z times m / n
void hone_ref_dora(const hone_args *args)
{
    const hone_operand *z = &args->in[0], *m = &args->in[1], *n = &args->in[2], *bias = &args->in[3], *residual = &args->in[4], *y = &args->out[0];
    const int64_t N = hone_rows(z), M = z->dim[1], E = m->dim[0];
    for (int64_t r = 0; r < N; r++) {
        int64_t e = 0, u;
        for (int64_t c = 0; c < M; c++) {
            const bool scaled = e < E && row_of(&args->attr, e, &u) == c;
            const double g = scaled ? get(m, e) / get(n, e) : 1;
            put(y, r * M + c, get(z, r * M + c) * g + get_or(bias, c, 0) + get_or(residual, r * M + c, 0));
            e += scaled;
        }
    }
}

// dz = dy g,  dm[e] += sum_r dy z / n,  db += sum_r dy
void hone_ref_dora_back(const hone_args *args)
{
    const hone_operand *dy = &args->in[0], *z = &args->in[1], *m = &args->in[2], *n = &args->in[3];
    const hone_operand *dz = &args->out[0], *dm = &args->out[1], *db = &args->out[2];
    const int64_t N = hone_rows(dy), M = dy->dim[1], E = m->dim[0];
    for (int64_t c = 0, e = 0, u; c < M; c++) {
        const bool scaled = e < E && row_of(&args->attr, e, &u) == c;
        double products = 0, sum = 0;
        for (int64_t r = 0; r < N; r++) {
            products += get(dy, r * M + c) * get(z, r * M + c);
            sum += get(dy, r * M + c);
            put(dz, r * M + c, get(dy, r * M + c) * (scaled ? get(m, e) / get(n, e) : 1));
        }
        if (db->present) put(db, c, get(db, c) + sum);
        if (!scaled) continue;
        put(dm, e, get(dm, e) + products / get(n, e));
        e++;
    }
}
