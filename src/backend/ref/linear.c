// linear.c: products with a weight W (M, K), and casting one.
#include "backend/ref/ref.h"

// y = x W^T (+ bias) (+ residual)
//   x (N, K)   w (M, K)   bias (M,)   residual, y (N, M), which may be one
void hone_ref_linear(const hone_args *a)
{
    const hone_operand *x = &a->in[0], *w = &a->in[1], *bias = &a->in[2], *residual = &a->in[3], *y = &a->out[0];
    int64_t N = hone_rows(x), K = w->dim[1], M = w->dim[0];
    for (int64_t n = 0; n < N; n++)
        for (int64_t m = 0; m < M; m++) {
            double sum = get_or(bias, m, 0) + get_or(residual, n * M + m, 0);
            for (int64_t k = 0; k < K; k++) sum += factor(a, get(x, n * K + k)) * factor(a, get(w, m * K + k));
            put(y, n * M + m, sum);
        }
}

// dL/dx[n,k] = sum_m dL/dy[n,m] dy[n,m]/dx[n,k]:  dx = dy W (+ addend)
//   dy (N, M)   w (M, K)   addend, dx (N, K), which may be one
void hone_ref_linear_dx(const hone_args *a)
{
    const hone_operand *dy = &a->in[0], *w = &a->in[1], *addend = &a->in[2], *dx = &a->out[0];
    int64_t N = hone_rows(dy), K = w->dim[1], M = w->dim[0];
    for (int64_t n = 0; n < N; n++)
        for (int64_t k = 0; k < K; k++) {
            double sum = get_or(addend, n * K + k, 0);
            for (int64_t m = 0; m < M; m++) sum += factor(a, get(dy, n * M + m)) * factor(a, get(w, m * K + k));
            put(dx, n * K + k, sum);
        }
}

// dw += dy^T x,  db += sum_n dy[n]
//   dy (N, M)   x (N, K)   dw (M, K)   db (M,)
void hone_ref_linear_dw(const hone_args *a)
{
    const hone_operand *dy = &a->in[0], *x = &a->in[1], *dw = &a->out[0], *db = &a->out[1];
    int64_t N = hone_rows(dy), K = dw->dim[1], M = dw->dim[0];
    for (int64_t m = 0; m < M; m++) {
        for (int64_t k = 0; k < K; k++) {
            double sum = get(dw, m * K + k);
            for (int64_t n = 0; n < N; n++) sum += factor(a, get(dy, n * M + m)) * factor(a, get(x, n * K + k));
            put(dw, m * K + k, sum);
        }
        if (!db->present) continue;
        double sum = get(db, m);
        for (int64_t n = 0; n < N; n++) sum += get(dy, n * M + m);
        put(db, m, sum);
    }
}

// f = w in another dtype (this backend has no other arrangement)
void hone_ref_pack(const hone_args *a)
{
    const hone_operand *w = &a->in[0], *f = &a->out[0];
    for (int64_t i = 0; i < count(w); i++) put(f, i, get(w, i));
}
