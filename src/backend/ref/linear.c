// linear.c: products with a weight W (M, K), and casting one.
#include "backend/ref/ref.h"
#include "graph/fp8.h"
#include "graph/quantize.h"

// `depth` elements of an operand, `step` apart: a row or a column.
typedef struct line { const hone_operand *of; int64_t at, step; } line;
static double element(const line *l, int64_t k) { return get(l->of, l->at + k * l->step); }

// The scale of the block of steps from k to end.
static hone_quant quant_of(const line *l, int64_t k, int64_t end)
{
    float top = 0;
    for (; k < end; k++) {
        const float size = fabsf((float)element(l, k));
        if (!(size <= top)) top = size;
        if (isnan(size)) break;
    }
    return hone_quant_of(top);
}

static double dot_of_integers(const line *x, const line *y, int64_t depth)
{
    double sum = 0;
    for (int64_t from = 0; from < depth; from += HONE_QUANT_BLOCK) {
        const int64_t end = depth < from + HONE_QUANT_BLOCK ? depth : from + HONE_QUANT_BLOCK;
        const hone_quant qx = quant_of(x, from, end), qy = quant_of(y, from, end);
        double whole = 0;
        for (int64_t k = from; k < end; k++)
            whole += (double)rintf((float)element(x, k) * qx.inverse) * (double)rintf((float)element(y, k) * qy.inverse);
        sum += (double)qx.scale * (double)qy.scale * whole;
    }
    return sum;
}

// sum_k x[k] y[k] of the numbers that `product` multiplies. (fp8: in_product() has rounded them.)
static double dot_in(hone_dtype product, line x, line y, int64_t depth)
{
    if (product == HONE_int8) return dot_of_integers(&x, &y, depth);
    double sum = 0;
    for (int64_t k = 0; k < depth; k++) sum += factor_in(product, element(&x, k)) * factor_in(product, element(&y, k));
    return sum;
}
static double dot(const hone_args *a, line x, line y, int64_t depth) { return dot_in(a->attr.product, x, y, depth); }
// Of a weight's low-rank change, whose factors are too narrow for fp8.
static double dot_of_change(const hone_args *a, line x, line y, int64_t depth)
{
    return dot_in(hone_dtype_is_fp8(a->attr.product) ? HONE_bf16 : a->attr.product, x, y, depth);
}

typedef struct part { int64_t row, col, rows, cols; } part;     // of a matrix

// A part of o with one scale, as the numbers that its codes are.
static void quantise(const hone_operand *o, const hone_operand *codes, part p, bool e5m2)
{
    const int64_t cols = o->dim[1];
    float top = 0;
    for (int64_t n = p.row; n < p.row + p.rows; n++)
        for (int64_t k = p.col; k < p.col + p.cols; k++) {
            const float size = fabsf((float)get(o, n * cols + k));
            top = size < INFINITY ? fmaxf(top, size) : INFINITY;
        }
    const hone_fp8_scale s = hone_fp8_scale_of(top, e5m2);
    for (int64_t n = p.row; n < p.row + p.rows; n++)
        for (int64_t k = p.col; k < p.col + p.cols; k++)
            put(codes, n * cols + k, (double)s.scale * (double)hone_fp8_value(hone_fp8_code((float)get(o, n * cols + k) * s.inverse, e5m2), e5m2));
}

typedef enum { ROWS, GRADIENT, WEIGHT } role;
static int64_t at_most(int64_t most, int64_t n) { return n < most ? n : most; }

// Input i as the product multiplies it: as it is, or in fp8 quantised, at *room (in f64 a code times its scale is exact). down: the
// product sums over its rows.
static hone_operand in_product(const hone_args *a, int i, role is, bool down, double **room)
{
    const hone_operand *o = &a->in[i];
    if (!hone_dtype_is_fp8(a->attr.product)) return *o;
    hone_operand codes = *o;
    const bool blocks = a->attr.product == HONE_e4m3_128;
    const int64_t rows = hone_rows(o), cols = o->dim[1], most = rows > cols ? rows : cols, block = HONE_FP8_BLOCK;
    const int64_t high = !blocks ? most : is == WEIGHT || down ? block : 1, wide = !blocks ? most : is == WEIGHT || !down ? block : 1;
    codes.data = *room, codes.dtype = HONE_f64, codes.form = HONE_FORM_PLAIN;
    *room += codes.dim[0] * codes.dim[1];
    for (int64_t n = 0; n < rows; n += high)
        for (int64_t k = 0; k < cols; k += wide) quantise(o, &codes, (part){ n, k, at_most(high, rows - n), at_most(wide, cols - k) }, is == GRADIENT && !blocks);
    return codes;
}

// y = x W^T (+ bias) (+ residual)
//   x (N, K)   w (M, K)   bias (M,)   residual, y (N, M), which may be one
void hone_ref_linear(const hone_args *a)
{
    double *room = a->workspace;
    const hone_operand x = in_product(a, 0, ROWS, false, &room), w = in_product(a, 1, WEIGHT, false, &room), *bias = &a->in[2], *residual = &a->in[3], *y = &a->out[0];
    int64_t N = hone_rows(&x), K = w.dim[1], M = w.dim[0];
    for (int64_t n = 0; n < N; n++)
        for (int64_t m = 0; m < M; m++)
            put(y, n * M + m, get_or(bias, m, 0) + get_or(residual, n * M + m, 0) + dot(a, (line){ &x, n * K, 1 }, (line){ &w, m * K, 1 }, K));
}

// dL/dx[n,k] = sum_m dL/dy[n,m] dy[n,m]/dx[n,k]:  dx = dy W (+ addend)
//   dy (N, M)   w (M, K)   addend, dx (N, K), which may be one
void hone_ref_linear_dx(const hone_args *a)
{
    double *room = a->workspace;
    const hone_operand dy = in_product(a, 0, GRADIENT, false, &room), w = in_product(a, 1, WEIGHT, false, &room), *addend = &a->in[2], *dx = &a->out[0];
    int64_t N = hone_rows(&dy), K = w.dim[1], M = w.dim[0];
    for (int64_t n = 0; n < N; n++)
        for (int64_t k = 0; k < K; k++)
            put(dx, n * K + k, get_or(addend, n * K + k, 0) + dot(a, (line){ &dy, n * M, 1 }, (line){ &w, k, K }, M));
}

// dw += dy^T x,  db += sum_n dy[n]
//   dy (N, M)   x (N, K)   dw (M, K)   db (M,)
void hone_ref_linear_dw(const hone_args *a)
{
    double *room = a->workspace;
    const hone_operand *dy = &a->in[0], *dw = &a->out[0], *db = &a->out[1];
    const hone_operand dy_in = in_product(a, 0, GRADIENT, true, &room), x = in_product(a, 1, ROWS, true, &room);
    int64_t N = hone_rows(dy), K = dw->dim[1], M = dw->dim[0];
    for (int64_t m = 0; m < M; m++) {
        for (int64_t k = 0; k < K; k++) put(dw, m * K + k, get(dw, m * K + k) + dot(a, (line){ &dy_in, m, M }, (line){ &x, k, K }, N));
        if (!db->present) continue;
        double sum = get(db, m);
        for (int64_t n = 0; n < N; n++) sum += get(dy, n * M + m);
        put(db, m, sum);
    }
}

// The parts' factors side by side as one matrix (M, U*J), scaled, zeros between them: lora_linear is a product with it. At
// `room` in the workspace, of b's numbers.
//   b (E, J): rows of part 0, of part 1, ...
static hone_operand spread_factors(const hone_args *a, const hone_operand *b, int64_t M, double *room)
{
    const int64_t J = b->dim[1], R = J * a->attr.parts;
    const hone_operand f = { .data = room, .dtype = b->dtype, .rank = 2, .dim = { M, R }, .present = true };
    for (int64_t i = 0; i < M * R; i++) put(&f, i, 0);
    for (int64_t u = 0, row = 0; u < a->attr.parts; row += a->attr.part_rows[u++])
        for (int64_t i = 0; i < a->attr.part_rows[u]; i++)
            for (int64_t j = 0; j < J; j++)
                put(&f, (a->attr.part_col[u] + i) * R + u * J + j, (double)a->attr.scale * get(b, (row + i) * J + j));
    return f;
}

// y = x W^T + t F^T (+ bias) (+ residual)
//   x (N, K)   w (M, K)   t (N, R)   F (M, R): spread_factors   bias (M,)   residual, y (N, M), which may be one
void hone_ref_lora_linear(const hone_args *a)
{
    double *room = a->workspace;
    const hone_operand x = in_product(a, 0, ROWS, false, &room), w = in_product(a, 1, WEIGHT, false, &room), *t = &a->in[2], *bias = &a->in[4], *residual = &a->in[5], *y = &a->out[0];
    const int64_t N = hone_rows(&x), K = w.dim[1], M = w.dim[0], R = t->dim[1];
    const hone_operand f = spread_factors(a, &a->in[3], M, room);
    for (int64_t n = 0; n < N; n++)
        for (int64_t m = 0; m < M; m++)
            put(y, n * M + m, get_or(bias, m, 0) + get_or(residual, n * M + m, 0) + dot(a, (line){ &x, n * K, 1 }, (line){ &w, m * K, 1 }, K)
                              + dot_of_change(a, (line){ t, n * R, 1 }, (line){ &f, m * R, 1 }, R));
}

// dt = dy F
void hone_ref_lora_dt(const hone_args *a)
{
    const hone_operand *dy = &a->in[0], *dt = &a->out[0];
    const int64_t N = hone_rows(dy), M = dy->dim[1], R = dt->dim[1];
    const hone_operand f = spread_factors(a, &a->in[1], M, a->workspace);
    for (int64_t n = 0; n < N; n++)
        for (int64_t r = 0; r < R; r++) put(dt, n * R + r, dot(a, (line){ dy, n * M, 1 }, (line){ &f, r, R }, M));
}

// db += scale dy^T t: row i of part u is column part_col[u] + i of dy, its columns are u J .. of t
void hone_ref_lora_dw(const hone_args *a)
{
    const hone_operand *dy = &a->in[0], *t = &a->in[1], *db = &a->out[0];
    const int64_t N = hone_rows(dy), M = dy->dim[1], R = t->dim[1], J = db->dim[1];
    for (int64_t u = 0, row = 0; u < a->attr.parts; row += a->attr.part_rows[u++])
        for (int64_t i = 0; i < a->attr.part_rows[u]; i++)
            for (int64_t j = 0; j < J; j++) {
                const double sum = dot(a, (line){ dy, a->attr.part_col[u] + i, M }, (line){ t, u * J + j, R }, N);
                put(db, (row + i) * J + j, get(db, (row + i) * J + j) + (double)a->attr.scale * sum);
            }
}

// f = w (+ F a) in another dtype, w maybe in blocks (this backend has no other arrangement)
//   f, w (M, K)   F (M, R): spread_factors   a (R, K)
void hone_ref_pack(const hone_args *args)
{
    const hone_operand *w = &args->in[0], *b = &args->in[1], *a = &args->in[2], *f = &args->out[0];
    const int64_t K = w->dim[1], R = b->present ? a->dim[0] : 0;
    const hone_operand factors = b->present ? spread_factors(args, b, w->dim[0], args->workspace) : *w;
    for (int64_t i = 0; i < count(w); i++) {
        double sum = get(w, i);
        for (int64_t r = 0; r < R; r++) sum += get(&factors, i / K * R + r) * get(a, r * K + i % K);
        put(f, i, sum);
    }
}
