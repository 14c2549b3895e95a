// matrix.cu: what surrounds matrix products (cuBLASLt makes those): casts, epilogues, sums over columns and over everything.
#include "backend/cuda/kernel.h"

// n[0] bytes at `work`, a multiple of 4, become 0
HONE_KERNEL(zero, 256)
{
    for (int64_t i = first_element(); i < c.n[0] / 4; i += element_step()) ((uint32_t *)c.work)[i] = 0;
}

// out 0 = in 0 in its own dtype
HONE_KERNEL(cast, 256)
{
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) put(&c.out[0], i, get(&c.in[0], i));
}

// y = product (+ bias) (+ addend): what a product in f32 still needs before it is rounded
//   product (N, M) f32 at `work`   in: bias (M,), addend (N, M), which may be y   out: y (N, M)
HONE_KERNEL(finish, 256)
{
    const float *product = (const float *)c.work;
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step())
        put(&c.out[0], i, product[i] + get_or(&c.in[0], i % c.out[0].cols, 0) + get_or(&c.in[1], i, 0));
}

// --- sums over rows ------------------------------------------------------------------------------------------------------
// Gradients of biases and gains: sums over all rows, one for each column. Blocks (x: 32 columns, y: PART_ROWS rows) write partial
// sums, which column_total adds in order: deterministic, without atomics.
//   a_c = sum_n dy z    b_c = sum_n dy       z by n[0]: 0 none (a is not made), 1 x rstd, 2 (x - mean) s, 3 qk_norm: head by head, 4 x
//   in: dy (N, C), x (N, C) (kind 4: each of a width of its own), stats   work: (parts, 2, C) f32   n: kind, columns; of kind 3 columns of a head of k

HONE_DEVICE float normalised(const hone_cuda_call *c, int64_t n, int64_t column)
{
    const int64_t i = n * c->in[1].cols + column;
    if (c->n[0] == 4) return get(&c->in[1], i);
    if (c->n[0] == 1) return get(&c->in[1], i) * get(&c->in[2], n);
    if (c->n[0] == 2) return (get(&c->in[1], i) - get(&c->in[2], 2 * n)) * get(&c->in[2], 2 * n + 1);
    const int64_t q = (int64_t)c->heads * c->head_dim, head = column < q ? column / c->head_dim : c->heads + (column - q) / c->n[2];
    return get(&c->in[1], i) * get(&c->in[2], n * c->in[2].cols + head);
}

HONE_KERNEL(column_parts, 256)
{
    __shared__ float a[256], b[256];
    const int t = (int)threadIdx.x, lane = t % WARP, warp = t / WARP;
    const int64_t column = (int64_t)blockIdx.x * WARP + lane, C = c.in[0].cols;
    const int64_t from = (int64_t)blockIdx.y * HONE_CUDA_PART_ROWS, end = from + HONE_CUDA_PART_ROWS;
    float sum_a = 0, sum_b = 0;
    for (int64_t n = from + warp; n < end && n < c.in[0].rows && column < c.n[1]; n += 256 / WARP) {
        const float dy = get(&c.in[0], n * C + column);
        if (c.n[0]) sum_a += dy * normalised(&c, n, column);
        sum_b += dy;
    }
    a[t] = sum_a, b[t] = sum_b;
    __syncthreads();
    if (warp || column >= c.n[1]) return;
    for (int w = 1; w < 256 / WARP; w++) sum_a += a[w * WARP + lane], sum_b += b[w * WARP + lane];
    float *parts = (float *)c.work + (int64_t)blockIdx.y * 2 * c.n[1];
    parts[column] = sum_a, parts[c.n[1] + column] = sum_b;
}

// out 0 [i] += sum over parts and over columns first + i, first + i + period, ... < end      (period: elements of out 0)
//   n: first, columns, parts, end   work: where the first part's sums of this kind (a or b) begin
HONE_KERNEL(column_total, 256)
{
    const int64_t period = count(&c.out[0]);
    for (int64_t i = first_element(); i < period; i += element_step()) {
        float sum = 0;
        for (int64_t part = 0; part < c.n[2]; part++)
            for (int64_t column = c.n[0] + i; column < c.n[3]; column += period) sum += ((const float *)c.work)[part * 2 * c.n[1] + column];
        put(&c.out[0], i, get(&c.out[0], i) + sum);
    }
}

// --- sums of squares -----------------------------------------------------------------------------------------------------

// work[block] = sum of squares of SQUARE_CHUNK elements of in 0, in f64
HONE_KERNEL(square_parts, 256)
{
    const int64_t from = (int64_t)blockIdx.x * HONE_CUDA_SQUARE_CHUNK, end = from + HONE_CUDA_SQUARE_CHUNK;
    double sum = 0;
    for (int64_t i = from + threadIdx.x; i < end && i < count(&c.in[0]); i += 256) {
        const double x = (double)get(&c.in[0], i);
        sum += x * x;
    }
    sum = block_sum_f64(sum);
    if (threadIdx.x == 0) ((double *)c.work)[blockIdx.x] = sum;
}

// out 0 = sum of work[0 .. n[0]), or its root where n[1]. One block.
HONE_KERNEL(square_total, 256)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < c.n[0]; i += 256) sum += ((const double *)c.work)[i];
    sum = block_sum_f64(sum);
    if (threadIdx.x == 0) put(&c.out[0], 0, (float)(c.n[1] ? sqrt(sum) : sum));
}

// p = c0 I + c1 s / size + c2 t / size^2,  t = s s^T at `work`
//   in: s (A, A), size (1,)   out: p (A, A)
HONE_KERNEL(gram_poly, 256)
{
    const int64_t A = c.in[0].rows;
    const float size = get(&c.in[1], 0), part = size > 0 ? 1 / size : 0;
    for (int64_t i = first_element(); i < A * A; i += element_step()) {
        const float identity = i / A == i % A ? c.poly[0] : 0;
        put(&c.out[0], i, identity + c.poly[1] * part * get(&c.in[0], i) + c.poly[2] * part * part * ((const float *)c.work)[i]);
    }
}

// --- low-rank changes -----------------------------------------------------------------------------------------------------
// The factors B of a weight's parts lie one below the other: b (E, J), rows of part 0, of part 1 ... As one matrix F (M, R = parts J)
// part u has columns [u J, (u + 1) J) and rows from part_col[u] on, zeros elsewhere: the change is t F^T.

// The part that row e of b is of, and the row of F that it is.
HONE_DEVICE int part_of_row(const hone_cuda_call *c, int64_t e, int64_t *row)
{
    int u = 0;
    for (; u + 1 < c->parts && e >= c->part_rows[u]; u++) e -= c->part_rows[u];
    *row = c->part_col[u] + e;
    return u;
}

// F = scale b, spread      in: b (E, J)   out: F (M, R)
HONE_KERNEL(lora_spread, 256)
{
    const int64_t R = c.out[0].cols, J = c.in[0].cols;
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step()) {
        const int u = (int)(i % R / J);
        int64_t first = 0;
        for (int k = 0; k < u; k++) first += c.part_rows[k];
        const int64_t e = i / R - c.part_col[u];
        put(&c.out[0], i, e >= 0 && e < c.part_rows[u] ? c.scale * get(&c.in[0], (first + e) * J + i % J) : 0);
    }
}

// db += scale G, gathered      G (M, R) f32 at `work`   out: db (E, J)
HONE_KERNEL(lora_gather, 256)
{
    const float *G = (const float *)c.work;
    const int64_t J = c.out[0].cols, R = J * c.parts;
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step()) {
        int64_t row;
        const int u = part_of_row(&c, i / J, &row);
        put(&c.out[0], i, get(&c.out[0], i) + c.scale * G[row * R + u * J + i % J]);
    }
}

// --- lengths of rows (DoRA) ------------------------------------------------------------------------------------------------
// Row e of b, m and n is one of the weight's rows, as part_of_row says.

// n[e] = |w + scale b a|, row by row: a block has a row      in: w (M, K), a (T, K), b (E, J)   out: n (E,)
HONE_KERNEL(dora_norm, 256)
{
    const int64_t e = blockIdx.x, K = c.in[0].cols, J = c.in[2].cols;
    int64_t row;
    const int u = part_of_row(&c, e, &row);
    double squares = 0;
    for (int64_t k = threadIdx.x; k < K; k += 256) {
        float change = 0;
        for (int64_t j = 0; j < J; j++) change += get(&c.in[2], e * J + j) * get(&c.in[1], (u * J + j) * K + k);
        const double v = (double)(get(&c.in[0], row * K + k) + c.scale * change);
        squares += v * v;
    }
    squares = block_sum_f64(squares);
    if (threadIdx.x == 0) put(&c.out[0], e, (float)sqrt(squares));
}

// What a column is multiplied by: m / n where it is of a part, else 1.
HONE_DEVICE float length_factor(const hone_cuda_call *c, int64_t column)
{
    int64_t first = 0;
    for (int u = 0; u < c->parts; first += c->part_rows[u++]) {
        const int64_t e = column - c->part_col[u];
        if (e >= 0 && e < c->part_rows[u]) return get(&c->in[1], first + e) / get(&c->in[2], first + e);
    }
    return 1;
}

// in: z (N, M), m (E,), n (E,), bias (M,), residual (N, M)   out: y (N, M), which may be residual
HONE_KERNEL(dora, 256)
{
    const int64_t M = c.out[0].cols;
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step())
        put(&c.out[0], i, get(&c.in[0], i) * length_factor(&c, i % M) + get_or(&c.in[3], i % M, 0) + get_or(&c.in[4], i, 0));
}

// dm[e] += sum_n dy z / n[e]       the sums: column_parts, kind 4, at `work`   n: parts of the sums, columns   in 0: n (E,)   out: dm (E,)
HONE_KERNEL(dora_lengths, 256)
{
    for (int64_t e = first_element(); e < count(&c.out[0]); e += element_step()) {
        int64_t row;
        part_of_row(&c, e, &row);
        float sum = 0;
        for (int64_t part = 0; part < c.n[0]; part++) sum += ((const float *)c.work)[part * 2 * c.n[1] + row];
        put(&c.out[0], e, get(&c.out[0], e) + sum / get(&c.in[0], e));
    }
}
