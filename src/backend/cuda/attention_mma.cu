// attention_mma.cu: attention on matrix cores, for operands in bf16 or f16 and heads of up to 128 (FlashAttention-2, Dao 2023).
//
// A warp has whole query rows, 16 M of them, and all that belongs to them in registers: scores, running maximum and sum, values. Four
// warps share the tiles of J keys and values in shared memory, two of each by turns: while one is multiplied with, cp.async fills the
// other, one barrier a tile. Scores become probabilities where they lie; rounded in pairs they are the operand of the product
// with the values. Everything is in powers of 2: scale and log2(e) are one factor, multiplied by where the maximum is subtracted.
//
//              W    head sizes      16 M    J     shared, KiB    registers    blocks of 4 warps on sm_80, 89, 90
//     forward  64   multiples of 8  32      64    16 + 32        254          2, 2, 2
//              128  to 128          32      32    32 + 32        251 - 252    2, 1, 2
//     dq       64                   32      32    32 + 16        232 - 238    2, 2, 2
//              128                  16      32    32 + 32        168          2, 1, 3
//     dkv      64                   32      32    32 + 16        255          2, 2, 2
//              128                  16      32    32 + 32        242 - 244    2, 1, 2
// Registers bound the blocks (65536 / 128 threads / 255: two), shared memory where a multiprocessor has 164 KiB (sm_80: two of 64 KiB) or
// 100 (sm_89: one). None spills; the machine code has HMMA, LDSM, LDGSTS and no local memory. Not measured yet.
//
// A head that is narrower than W is zeros behind D. A warp has 32 rows where registers hold them: each fragment of k and v that comes out of
// shared memory then serves two products, where with 16 rows its 128 bytes a cycle would be what bounds a multiprocessor.
// Tiles that no row of the block sees are not loaded, those that no row of a warp sees change none of its bits, and only those that some
// row sees in part are tested key by key. Tiles begin at multiples of J, so that, as in attention.cu, a row's result is a function of the row.
#include "backend/cuda/attention.h"
#include "backend/cuda/matrix_cores.h"

#define LOG2_E 1.44269504f
#define LN_2 0.693147181f
enum { MMA_THREADS = 128, MMA_WARPS = MMA_THREADS / WARP };

// A kernel for rows in bf16 and one for rows in f16.
#define ON_MATRIX_CORES(name, of, W, tile)                  \
    HONE_KERNEL(name, 128)                                  \
    {                                                       \
        HONE_DYNAMIC(uint16_t, tile_memory);                \
        of(HONE_bf16, &c, tile_memory, W, tile);            \
    }                                                       \
    HONE_KERNEL(name##_f16, 128)                            \
    {                                                       \
        HONE_DYNAMIC(uint16_t, tile_memory);                \
        of(HONE_f16, &c, tile_memory, W, tile);             \
    }

// --- what is seen ----------------------------------------------------------------------------------------------------------

// Keys that some row sees, and those that all do.
typedef struct span { int from, to, all_from, all_to; } span;
HONE_DEVICE int least(int a, int b) { return a < b ? a : b; }
HONE_DEVICE int most(int a, int b) { return a > b ? a : b; }
HONE_DEVICE span span_of_warp(range row) // each lane with a row
{
    const bool empty = row.from >= row.to;
    span s;
    s.from = empty ? 0x7fffffff : row.from, s.to = empty ? 0 : row.to, s.all_from = row.from, s.all_to = row.to;
    for (int lane = WARP / 2; lane; lane /= 2) {
        s.from = least(s.from, __shfl_xor_sync(ALL_LANES, s.from, lane)), s.to = most(s.to, __shfl_xor_sync(ALL_LANES, s.to, lane));
        s.all_from = most(s.all_from, __shfl_xor_sync(ALL_LANES, s.all_from, lane));
        s.all_to = least(s.all_to, __shfl_xor_sync(ALL_LANES, s.all_to, lane));
    }
    return s;
}
// The least from and the largest to of the block's warps (shared memory that is free again behind it: two blocks of 48 + 1 KiB just fit sm_89).
HONE_DEVICE range range_of_block(uint16_t *memory, int from, int to)
{
    range *const part = (range *)memory, all = { 0x7fffffff, 0 };
    if (threadIdx.x % WARP == 0) part[threadIdx.x / WARP].from = from, part[threadIdx.x / WARP].to = to;
    __syncthreads();
    for (int w = 0; w < MMA_WARPS; w++) all.from = least(all.from, part[w].from), all.to = most(all.to, part[w].to);
    __syncthreads();
    return all;
}
HONE_DEVICE range range_of_row(const hone_cuda_call *c, const hone_cuda_view *lo, const hone_cuda_view *hi, int64_t n) // none: nothing
{
    range row;
    row.from = n < lo->rows ? first_key(c, lo, hi, n) : 0, row.to = n < lo->rows ? get_index(hi, n) : 0;
    return row;
}
HONE_DEVICE bool meets(span s, int j, int J) { return s.from - J < j && s.to > j; }
HONE_DEVICE bool covers(span s, int j, int J) { return s.all_from <= j && s.all_to - J >= j; }

// --- forward ---------------------------------------------------------------------------------------------------------------

// Products become scores where there is a cap: tanh x = 1 - 2 / (1 + exp 2 x). Returns by what s is to be multiplied for powers of 2.
HONE_DEVICE float cap_scores(float s[][8][4], int M, int J, float scale, float cap)
{
    if (!(cap > 0)) return scale * LOG2_E;
    UNROLL
    for (int e = 0; e < M * J / 2; e++) {
        float *const x = &s[e / (J / 2)][e / 4 % (J / 8)][e % 4];
        *x = cap - 2 * cap * reciprocal(1 + power_of_2(2 * LOG2_E / cap * scale * *x));
    }
    return LOG2_E;
}

// The lane's row r of 2 M is row lane / 4 + 8 r of the warp; of s[r / 2][n] sums r % 2 * 2 and the next are its.
HONE_DEVICE void hide_keys(float s[][8][4], int M, int J, const range *rows, int j0)
{
    const int lane = (int)threadIdx.x % WARP, first = j0 + lane % 4 * 2;
    UNROLL
    for (int r = 0; r < 2 * M; r++) {
        const range row = rows[lane / 4 + 8 * r];
        UNROLL
        for (int e = 0; e < J / 4; e++) {
            const int key = first + e / 2 * 8 + e % 2;
            if (key < row.from || key >= row.to) s[r / 2][e / 2][r % 2 * 2 + e % 2] = NOTHING;
        }
    }
}

// Scores become probabilities relative to the new maximum (top: times `factor`, which is positive); returns by what sums so far shrink.
HONE_DEVICE float weigh_row(float s[][4], int J, int half, float factor, float *top, float *sum)
{
    float now = NOTHING;
    UNROLL
    for (int e = 0; e < J / 4; e++) now = fmaxf(now, s[e / 2][half * 2 + e % 2]);
    now = fmaxf(now, __shfl_xor_sync(ALL_LANES, now, 1));
    now = fmaxf(now, __shfl_xor_sync(ALL_LANES, now, 2));
    now = fmaxf(*top, factor * now);
    const float base = now > NOTHING ? now : 0, shrink = power_of_2(*top - base); // nothing seen yet: 0
    float added = 0;
    UNROLL
    for (int e = 0; e < J / 4; e++) {
        const float p = power_of_2(factor * s[e / 2][half * 2 + e % 2] - base);
        s[e / 2][half * 2 + e % 2] = p;
        added += p;
    }
    *top = now, *sum = *sum * shrink + added;
    return shrink;
}

// Row `half` of sums (16, W), times factor, to D numbers of x from i on.
HONE_DEVICE void put_row(hone_dtype dtype, const hone_cuda_view *x, int64_t i, int D, int W, float factor, float sums[][4], int half)
{
    const int column = (int)threadIdx.x % 4 * 2;
    UNROLL
    for (int n = 0; n < W / 8; n++)
        if (n * 8 + column < D)
            *(uint32_t *)((uint16_t *)x->data + i + n * 8 + column) = pair_of(dtype, factor * sums[n][half * 2], factor * sums[n][half * 2 + 1]);
}

//   in: q (N, P), kv (R, Q), lo, hi (N,)   out: o (N, H D), lse (N, H)                       grid: tiles of rows, heads
//   shared: q (QUERIES_MMA, W); twice k, v (J, W)
enum { QUERIES_MMA = HONE_CUDA_MMA_QUERIES, M_FORWARD = QUERIES_MMA / (16 * MMA_WARPS) };
HONE_DEVICE void attend(hone_dtype dtype, const hone_cuda_call *c, uint16_t *memory, int W, int J)
{
    __shared__ range rows[QUERIES_MMA]; // a thread's, while it is about ranges
    const int D = c->head_dim, t = (int)threadIdx.x, lane = t % WARP, h = (int)blockIdx.y, g = h / (c->heads / c->kv_heads);
    const int64_t N = c->in[0].rows, n0 = (int64_t)blockIdx.x * QUERIES_MMA, k_col = c->k_col + (int64_t)g * D, v_col = c->v_col + (int64_t)g * D;
    uint16_t *const q = memory, *const tiles = q + QUERIES_MMA * W;
    float s[M_FORWARD][8][4], o[M_FORWARD][16][4], top[2 * M_FORWARD], sum[2 * M_FORWARD], shrink[2 * M_FORWARD];
    rows[t] = range_of_row(c, &c->in[2], &c->in[3], n0 + t);
    const span seen = span_of_warp(rows[t]);
    const range all = range_of_block(memory, seen.from, seen.to);
    const int begin = all.from / J * J;
    UNROLL
    for (int r = 0; r < 2 * M_FORWARD; r++) top[r] = NOTHING, sum[r] = 0;
    UNROLL
    for (int e = 0; e < M_FORWARD * W / 2; e++) o[e / (W / 2)][e / 4 % (W / 8)][e % 4] = 0;
    if (all.from < all.to) {
        fill_tile(q, W, QUERIES_MMA, MMA_THREADS, &c->in[0], n0, 0, N, c->q_col + (int64_t)h * D, D);
        fill_tile(tiles, W, J, MMA_THREADS, &c->in[1], begin, all.from, all.to, k_col, D);
        fill_tile(tiles + J * W, W, J, MMA_THREADS, &c->in[1], begin, all.from, all.to, v_col, D);
    }
    for (int j0 = begin, turn = 0; j0 < all.to; j0 += J, turn ^= 1) {
        uint16_t *const k = tiles + turn * 2 * J * W, *const v = k + J * W, *const next = tiles + (turn ^ 1) * 2 * J * W;
        wait_copies();
        __syncthreads(); // and nobody multiplies with the other tiles any more
        if (all.to - j0 > J) {
            fill_tile(next, W, J, MMA_THREADS, &c->in[1], (int64_t)j0 + J, all.from, all.to, k_col, D);
            fill_tile(next + J * W, W, J, MMA_THREADS, &c->in[1], (int64_t)j0 + J, all.from, all.to, v_col, D);
        }
        if (!meets(seen, j0, J)) continue;
        multiply_tiles(dtype, s, M_FORWARD, J, W, q, t / WARP * WARP, k);
        const float factor = cap_scores(s, M_FORWARD, J, c->scale, c->cap);
        if (!covers(seen, j0, J)) hide_keys(s, M_FORWARD, J, rows + t / WARP * WARP, j0);
        bool moved = false;
        UNROLL
        for (int r = 0; r < 2 * M_FORWARD; r++) {
            shrink[r] = weigh_row(s[r / 2], J, r % 2, factor, &top[r], &sum[r]);
            moved |= shrink[r] != 1;
        }
        if (__any_sync(ALL_LANES, moved))
            UNROLL
            for (int e = 0; e < M_FORWARD * W / 2; e++) o[e / (W / 2)][e / 4 % (W / 8)][e % 4] *= shrink[e / (W / 2) * 2 + e % 4 / 2];
        add_product(dtype, o, M_FORWARD, J, W, s, v);
    }
    UNROLL
    for (int r = 0; r < 2 * M_FORWARD; r++) {
        const int64_t n = n0 + t / WARP * WARP + lane / 4 + 8 * r;
        sum[r] += __shfl_xor_sync(ALL_LANES, sum[r], 1);
        sum[r] += __shfl_xor_sync(ALL_LANES, sum[r], 2);
        if (n >= N) continue;
        const float part = sum[r] > 0 ? 1 / sum[r] : 0;
        put_row(dtype, &c->out[0], n * c->out[0].cols + (int64_t)h * D, D, W, part, o[r / 2], r % 2);
        if (lane % 4 == 0) ((float *)c->out[1].data)[n * c->heads + h] = sum[r] > 0 ? (top[r] + log2f(sum[r])) * LN_2 : NOTHING;
    }
}
ON_MATRIX_CORES(attention_mma64, attend, 64, 64)
ON_MATRIX_CORES(attention_mma128, attend, 128, 32)

// --- backward --------------------------------------------------------------------------------------------------------------
// Formulas, operands and scratch as in attention.cu, but for the spans: of query rows PASSING at a time, and all four bounds.
// Both walks have two tiles that stay, STAYING / W = 64 M rows of which a warp has 16 M, and pairs of tiles of PASSING rows that pass by:
//     dq      rows are queries     s = q k^T        dp = do v^T        dq += ds k
//     dk, dv  rows are keys        s^T = k q^T      dp^T = v do^T      dk += ds^T q      dv += p^T do
//     W = 64: M = 2, 48 KiB shared     W = 128: M = 1, 64 KiB
// Heads that share keys are walked one after the other for each tile of queries: sums have one order.
enum { STAYING = HONE_CUDA_MMA_STAYING, PASSING = HONE_CUDA_MMA_PASSING };

// A thread has a query row, a warp a tile of them.
HONE_KERNEL(attention_mma_spans, 128)
{
    const int64_t n = (int64_t)blockIdx.x * MMA_THREADS + threadIdx.x;
    const span seen = span_of_warp(range_of_row(&c, &c.in[5], &c.in[6], n));
    if (n % PASSING == 0 && n < c.in[5].rows) ((span *)((char *)c.work + c.n[0]))[n / PASSING] = seen;
}

HONE_DEVICE float exponent_of(float lse) { return lse > NOTHING ? lse * LOG2_E : 0; } // rows that see nothing have no p but 0

// Scores become p, products do . v become ds. lse (as exponents) and delta are of rows, or of columns, 8 n + 2 (lane % 4) + e.
HONE_DEVICE void make_gradients(float s[][8][4], float dp[][8][4], int M, bool of_rows, const float *lse, const float *delta, float factor, float cap)
{
    const int column = made_here((int)threadIdx.x % 4 * 2);
    if (cap > 0)
        UNROLL
        for (int i = 0; i < M * PASSING / 2; i++) {
            const int m = i / (PASSING / 2), n = i / 4 % (PASSING / 8), e = i % 4, at = of_rows ? 2 * m + e / 2 : n * 8 + column + e % 2;
            const float part = s[m][n][e] * reciprocal(cap);
            dp[m][n][e] = part * part < 1 ? (1 - part * part) * (dp[m][n][e] - delta[at]) + delta[at] : delta[at]; // a hidden score: -inf
        }
    UNROLL
    for (int i = 0; i < M * PASSING / 2; i++) {
        const int m = i / (PASSING / 2), n = i / 4 % (PASSING / 8), e = i % 4, at = of_rows ? 2 * m + e / 2 : n * 8 + column + e % 2;
        s[m][n][e] = power_of_2(factor * s[m][n][e] - (of_rows ? lse[at] : exponent_of(lse[at])));
        dp[m][n][e] = s[m][n][e] * (dp[m][n][e] - delta[at]);
    }
}

//   shared: q, do (64 M, W); twice k, v (PASSING, W)                                         grid: tiles of rows, heads
HONE_DEVICE void make_dq(hone_dtype dtype, const hone_cuda_call *c, uint16_t *memory, int W, int M)
{
    __shared__ range rows[STAYING / 64];
    const int D = c->head_dim, t = (int)threadIdx.x, lane = t % WARP, h = (int)blockIdx.y, g = h / (c->heads / c->kv_heads), mine = t / WARP * 16 * M;
    const int64_t N = c->in[0].rows, n0 = (int64_t)blockIdx.x * 64 * M, k_col = c->k_col + (int64_t)g * D, v_col = c->v_col + (int64_t)g * D;
    uint16_t *const q = memory, *const d_o = q + STAYING, *const tiles = d_o + STAYING;
    float s[2][8][4], dp[2][8][4], dq[2][16][4], lse[4], delta[4];
    const range row = range_of_row(c, &c->in[5], &c->in[6], n0 + mine + lane % (16 * M));
    rows[mine + lane % (16 * M)] = row;
    const span seen = span_of_warp(row);
    const range all = range_of_block(memory, seen.from, seen.to);
    const int begin = all.from / PASSING * PASSING;
    UNROLL
    for (int r = 0; r < 2 * M; r++) {
        const int64_t n = n0 + mine + lane / 4 + 8 * r, at = n * c->heads + h;
        lse[r] = n < N ? exponent_of(((const float *)c->in[4].data)[at]) : 0, delta[r] = n < N ? ((const float *)c->work)[at] : 0;
    }
    UNROLL
    for (int e = 0; e < M * W / 2; e++) dq[e / (W / 2)][e / 4 % (W / 8)][e % 4] = 0;
    if (all.from < all.to) {
        fill_tile(q, W, 64 * M, MMA_THREADS, &c->in[1], n0, 0, N, c->q_col + (int64_t)h * D, D);
        fill_tile(d_o, W, 64 * M, MMA_THREADS, &c->in[0], n0, 0, N, (int64_t)h * D, D);
        fill_tile(tiles, W, PASSING, MMA_THREADS, &c->in[2], begin, all.from, all.to, k_col, D);
        fill_tile(tiles + PASSING * W, W, PASSING, MMA_THREADS, &c->in[2], begin, all.from, all.to, v_col, D);
    }
    for (int j0 = begin, turn = 0; j0 < all.to; j0 += PASSING, turn ^= 1) {
        uint16_t *const k = tiles + turn * 2 * PASSING * W, *const v = k + PASSING * W, *const next = tiles + (turn ^ 1) * 2 * PASSING * W;
        wait_copies();
        __syncthreads();
        if (all.to - j0 > PASSING) {
            fill_tile(next, W, PASSING, MMA_THREADS, &c->in[2], (int64_t)j0 + PASSING, all.from, all.to, k_col, D);
            fill_tile(next + PASSING * W, W, PASSING, MMA_THREADS, &c->in[2], (int64_t)j0 + PASSING, all.from, all.to, v_col, D);
        }
        if (!meets(seen, j0, PASSING)) continue;
        multiply_tiles(dtype, s, M, PASSING, W, q, mine, k);
        multiply_tiles(dtype, dp, M, PASSING, W, d_o, mine, v);
        const float factor = cap_scores(s, M, PASSING, c->scale, c->cap);
        if (!covers(seen, j0, PASSING)) hide_keys(s, M, PASSING, rows + mine, j0);
        make_gradients(s, dp, M, true, lse, delta, factor, c->cap);
        add_product(dtype, dq, M, PASSING, W, dp, k);
    }
    UNROLL
    for (int r = 0; r < 2 * M; r++) {
        const int64_t n = n0 + mine + lane / 4 + 8 * r;
        if (n < N) put_row(dtype, &c->out[0], n * c->out[0].cols + c->q_col + (int64_t)h * D, D, W, c->scale, dq[r / 2], r % 2);
    }
}
ON_MATRIX_CORES(attention_mma64_dq, make_dq, 64, STAYING / 64 / 64)
ON_MATRIX_CORES(attention_mma128_dq, make_dq, 128, STAYING / 128 / 64)

// What goes with the query rows that pass by.
typedef struct queries { float lse[PASSING], delta[PASSING]; int lo[PASSING], hi[PASSING]; } queries;

// Begins to fetch the queries of a tile and head: a warp has each of the four columns.
HONE_DEVICE void fetch_queries(const hone_cuda_call *c, uint16_t *tiles, int W, queries *with, int64_t n0, int h)
{
    const int D = c->head_dim, lane = (int)threadIdx.x % WARP, warp = (int)threadIdx.x / WARP;
    const int64_t N = c->in[0].rows, n = n0 + lane < N ? n0 + lane : 0, at = n * c->heads + h;
    fill_tile(tiles, W, PASSING, MMA_THREADS, &c->in[1], n0, 0, N, c->q_col + (int64_t)h * D, D);
    fill_tile(tiles + PASSING * W, W, PASSING, MMA_THREADS, &c->in[0], n0, 0, N, (int64_t)h * D, D);
    const float *of_head = warp == 0 ? (const float *)c->in[4].data : (const float *)c->work;
    const int32_t *of_row = (const int32_t *)c->in[warp == 2 ? 5 : 6].data;
    if (warp < 2) copy_later4(warp == 0 ? &with->lse[lane] : &with->delta[lane], &of_head[at], n0 + lane < N);
    else copy_later4(warp == 2 ? &with->lo[lane] : &with->hi[lane], &of_row[n], n0 + lane < N);
}

// Rows of s are keys from j0 on, columns are queries.
HONE_DEVICE void hide_from_queries(float s[][8][4], int M, const queries *with, int window, int j0)
{
    const int lane = made_here((int)threadIdx.x % WARP);
    UNROLL
    for (int e = 0; e < PASSING / 4; e++) {
        const int column = e / 2 * 8 + lane % 4 * 2 + e % 2, to = with->hi[column], within = to - window, lo = with->lo[column];
        const int from = window > 0 && within > lo ? within : lo;
        UNROLL
        for (int r = 0; r < 2 * M; r++) {
            const int key = j0 + lane / 4 + 8 * r;
            if (key < from || key >= to) s[r / 2][e / 2][r % 2 * 2 + e % 2] = NOTHING;
        }
    }
}

//   shared: k, v (64 M, W); twice q, do (PASSING, W)                                         grid: tiles of keys, heads of keys
HONE_DEVICE void make_dkv(hone_dtype dtype, const hone_cuda_call *c, uint16_t *memory, int W, int M)
{
    __shared__ queries with[2];
    const int D = c->head_dim, t = (int)threadIdx.x, lane = t % WARP, g = (int)blockIdx.y, share = c->heads / c->kv_heads;
    const int64_t N = c->in[0].rows, R = c->in[2].rows, j0 = (int64_t)blockIdx.x * 64 * M;
    const span *spans = (const span *)((const char *)c->work + c->n[0]);
    uint16_t *const k = memory, *const v = k + STAYING, *const tiles = v + STAYING;
    float s[2][8][4], dp[2][8][4], dk[2][16][4], dv[2][16][4];
    int64_t from = 0, to = N; // query rows that may see these keys, then the tiles of them that do, and what lies between
    if (c->group_rows) {
        from = j0 / c->group_rows * c->group_rows;
        to = (j0 + 64 * M + c->group_rows - 1) / c->group_rows * c->group_rows;
        if (to > N) to = N;
    }
    range seeing;
    seeing.from = 0x7fffffff, seeing.to = 0;
    for (int64_t i = from / PASSING + t; i * PASSING < to; i += MMA_THREADS)
        if (meets(spans[i], (int)j0, 64 * M)) seeing.from = least(seeing.from, (int)i), seeing.to = (int)i + 1;
    const span of_warp = span_of_warp(seeing);
    seeing = range_of_block(memory, of_warp.from, of_warp.to);
    if (seeing.from > seeing.to) seeing.from = 0; // nobody
    UNROLL
    for (int e = 0; e < M * W / 2; e++) dk[e / (W / 2)][e / 4 % (W / 8)][e % 4] = dv[e / (W / 2)][e / 4 % (W / 8)][e % 4] = 0;
    if (seeing.from < seeing.to) {
        fill_tile(k, W, 64 * M, MMA_THREADS, &c->in[2], j0, 0, R, c->k_col + (int64_t)g * D, D);
        fill_tile(v, W, 64 * M, MMA_THREADS, &c->in[2], j0, 0, R, c->v_col + (int64_t)g * D, D);
        const int turn = seeing.from * share & 1;
        fetch_queries(c, tiles + turn * 2 * PASSING * W, W, &with[turn], (int64_t)seeing.from * PASSING, g * share);
    }
    for (int i = seeing.from * share; i < seeing.to * share; i++) { // head i mod share of tile i / share
        const int turn = i & 1, ahead = i + 1;
        uint16_t *const q = tiles + turn * 2 * PASSING * W, *const d_o = q + PASSING * W, *const next = tiles + (turn ^ 1) * 2 * PASSING * W;
        const span seen = spans[i / share];
        wait_copies();
        __syncthreads();
        if (ahead < seeing.to * share) fetch_queries(c, next, W, &with[turn ^ 1], (int64_t)(ahead / share) * PASSING, g * share + ahead % share);
        const int mine = made_here(t) / WARP * 16 * M, first = (int)j0 + mine; // the warp's keys
        if (!meets(seen, first, 16 * M)) continue;
        multiply_tiles(dtype, s, M, PASSING, W, k, mine, q);
        multiply_tiles(dtype, dp, M, PASSING, W, v, mine, d_o);
        const float factor = cap_scores(s, M, PASSING, c->scale, c->cap);
        if (!covers(seen, first, 16 * M)) hide_from_queries(s, M, &with[turn], c->window, first);
        make_gradients(s, dp, M, false, with[turn].lse, with[turn].delta, factor, c->cap);
        add_product(dtype, dv, M, PASSING, W, s, d_o);
        add_product(dtype, dk, M, PASSING, W, dp, q);
    }
    const hone_cuda_view *out = c->same_kv ? &c->out[0] : &c->out[1];
    UNROLL
    for (int r = 0; r < 2 * M; r++) {
        const int64_t j = j0 + t / WARP * 16 * M + lane / 4 + 8 * r, at = j * out->cols + (int64_t)g * D;
        if (j >= R) continue;
        put_row(dtype, out, at + c->k_col, D, W, c->scale, dk[r / 2], r % 2);
        put_row(dtype, out, at + c->v_col, D, W, 1, dv[r / 2], r % 2);
    }
}
ON_MATRIX_CORES(attention_mma64_dkv, make_dkv, 64, STAYING / 64 / 64)
ON_MATRIX_CORES(attention_mma128_dkv, make_dkv, 128, STAYING / 128 / 64)
