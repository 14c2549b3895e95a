// muon.c: the parts of Muon (Jordan et al. 2024): momentum, products of a matrix with itself, the step.
#include "backend/ref/ref.h"
#include "graph/round.h"

// Nesterov's form:  g' = g factor   m = beta m + g'   u = g' + beta m   g = 0
//   hyper (5,): ..., t   norm (2,): norm, factor   u, g, m (A, B)
void hone_ref_momentum(const hone_args *a)
{
    const hone_operand *norm = &a->in[1], *u = &a->out[0], *g = &a->out[1], *m = &a->out[2];
    const uint32_t key = hone_round_key((float)get(&a->in[0], 4), a->attr.stream);
    double beta = (double)a->attr.beta1;
    const bool skips = hone_ref_skips(norm, g);
    for (int64_t i = 0; i < count(u) && skips; i++) put(u, i, 0);
    if (skips) return;
    for (int64_t i = 0; i < count(u); i++) {
        double d = get(g, i) * get(norm, 1), moment = beta * get(m, i) + d;
        put(u, i, d + beta * moment);
        hone_ref_put_moment(m, i, moment, hone_round_bits(key, i) & 0xffff);
        put(g, i, 0);
    }
}

// sum_k of element (i, k) x element (j, k), steps `step` apart, rows `row` apart
static double row_product(const hone_args *a, const hone_operand *x, int64_t i, int64_t j, int64_t row, int64_t step, int64_t depth)
{
    double sum = 0;
    for (int64_t k = 0; k < depth; k++) sum += factor(a, get(x, i * row + k * step)) * factor(a, get(x, j * row + k * step));
    return sum;
}

// s (side, side) of rows `row` apart;  size (1,) = |s|
static void gram(const hone_args *a, int64_t side, int64_t row, int64_t step, int64_t depth)
{
    const hone_operand *s = &a->out[0], *size = &a->out[1];
    double squares = 0;
    for (int64_t i = 0; i < side; i++)
        for (int64_t j = 0; j < side; j++) {
            double sum = row_product(a, &a->in[0], i, j, row, step, depth);
            put(s, i * side + j, sum);
            squares += sum * sum;
        }
    put(size, 0, sqrt(squares));
}

//   x (A, B)   s (A, A)
void hone_ref_gram(const hone_args *a)
{
    const int64_t *dim = a->in[0].dim;
    gram(a, dim[0], dim[1], 1, dim[1]);
}

//   x (A, B)   s (B, B)
void hone_ref_gram_columns(const hone_args *a)
{
    const int64_t *dim = a->in[0].dim;
    gram(a, dim[1], 1, dim[1], dim[0]);
}

// p = c0 I + c1 s / size + c2 s s^T / size^2
//   s, p (A, A)   size (1,)
void hone_ref_gram_poly(const hone_args *a)
{
    const hone_operand *s = &a->in[0], *p = &a->out[0];
    const float *c = a->attr.poly;
    int64_t A = s->dim[0];
    double size = get(&a->in[1], 0), part = size > 0 ? 1 / size : 0;
    for (int64_t i = 0; i < A; i++)
        for (int64_t j = 0; j < A; j++)
            put(p, i * A + j, (i == j ? (double)c[0] : 0) + (double)c[1] * part * get(s, i * A + j)
                            + (double)c[2] * part * part * row_product(a, s, i, j, A, 1, A));
}

// p = (1 - lr decay) p - lr scale x / sqrt(size)
//   hyper (5,): ..., lr, t   x, p (A, B)   size (1,)   norm (2,): factor 0, p stays
void hone_ref_muon(const hone_args *a)
{
    const hone_operand *x = &a->in[1], *p = &a->out[0];
    double lr = get(&a->in[0], 3), size = get(&a->in[2], 0);
    if (get_or(&a->in[3], 1, 1) == 0) return;
    double keep = 1 - lr * (double)a->attr.decay, step = size > 0 ? lr * (double)a->attr.scale / sqrt(size) : 0;
    for (int64_t i = 0; i < count(p); i++) put(p, i, keep * get(p, i) - step * get(x, i));
}
