// attention_mma.cu: attention on matrix cores, for operands in bf16 and heads of up to 128 (FlashAttention-2, Dao 2023).
//
// A warp has whole query rows, 16 M of them, and all that belongs to them in registers: scores, running maximum and sum, values. Four
// warps share the tiles of J keys and values in shared memory, two of each by turns: while one is multiplied with, cp.async fills the
// other, one barrier a tile. Scores become probabilities where they lie; rounded to bf16 in pairs they are the operand of the product
// with the values. Everything is in powers of 2: scores are multiplied by log2(e) at once.
//
//     W    head sizes      M    J     shared           what bounds a multiprocessor
//     64   multiples of 8  2   64     16 + 32 KiB      registers
//     128  to 128          2   32     32 + 32 KiB      registers (sm_89: shared memory)
//
// A head that is narrower than W is zeros behind D. 32 rows a warp, since each fragment of k and v that comes out of shared memory then
// serves two products: with 16 rows shared memory's 128 bytes a cycle would be what bounds it.
// Tiles that no row of the block sees are not loaded, those that no row of a warp sees change none of its bits, and only those that some
// row sees in part are tested key by key. Tiles begin at multiples of J, so that, as in attention.cu, a row's result is a function of the row.
#include "backend/cuda/attention.h"
#include "backend/cuda/matrix_cores.h"

#define LOG2_E 1.44269504f
#define LN_2 0.693147181f
enum { MMA_THREADS = 128, MMA_WARPS = MMA_THREADS / WARP };

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
HONE_DEVICE range range_of_block(int from, int to) // the least from and the largest to of its warps
{
    __shared__ range part[MMA_WARPS];
    if (threadIdx.x % WARP == 0) part[threadIdx.x / WARP].from = from, part[threadIdx.x / WARP].to = to;
    __syncthreads();
    for (int w = 0; w < MMA_WARPS; w++) from = least(from, part[w].from), to = most(to, part[w].to);
    range all;
    all.from = from, all.to = to;
    return all;
}
HONE_DEVICE bool meets(span s, int j, int J) { return s.from - J < j && s.to > j; }
HONE_DEVICE bool covers(span s, int j, int J) { return s.all_from <= j && s.all_to - J >= j; }

// --- forward ---------------------------------------------------------------------------------------------------------------

// Products become scores, bounded where there is a cap: tanh x = 1 - 2 / (1 + exp 2 x).
HONE_DEVICE void scale_scores(float s[][8][4], int M, int J, float scale, float cap)
{
    if (cap > 0)
        UNROLL
        for (int e = 0; e < M * J / 2; e++) {
            float *const x = &s[e / (J / 2)][e / 4 % (J / 8)][e % 4];
            *x = cap - 2 * cap * reciprocal(1 + power_of_2(2 * LOG2_E / cap * scale * *x));
        }
    const float factor = cap > 0 ? LOG2_E : scale * LOG2_E;
    UNROLL
    for (int e = 0; e < M * J / 2; e++) s[e / (J / 2)][e / 4 % (J / 8)][e % 4] *= factor;
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

// Scores (times log2 e) become probabilities relative to the new maximum; returns by what sums so far shrink.
HONE_DEVICE float weigh_row(float s[][4], int J, int half, float *top, float *sum)
{
    float now = *top;
    UNROLL
    for (int e = 0; e < J / 4; e++) now = fmaxf(now, s[e / 2][half * 2 + e % 2]);
    now = fmaxf(now, __shfl_xor_sync(ALL_LANES, now, 1));
    now = fmaxf(now, __shfl_xor_sync(ALL_LANES, now, 2));
    const float base = now > NOTHING ? now : 0, shrink = power_of_2(*top - base); // nothing seen yet: 0
    float added = 0;
    UNROLL
    for (int e = 0; e < J / 4; e++) {
        const float p = power_of_2(s[e / 2][half * 2 + e % 2] - base);
        s[e / 2][half * 2 + e % 2] = p;
        added += p;
    }
    *top = now, *sum = *sum * shrink + added;
    return shrink;
}

//   in: q (N, P), kv (R, Q), lo, hi (N,)   out: o (N, H D), lse (N, H)                       grid: tiles of rows, heads
//   shared: q (QUERIES_MMA, W); twice k, v (J, W)
enum { QUERIES_MMA = HONE_CUDA_MMA_QUERIES, M_FORWARD = QUERIES_MMA / (16 * MMA_WARPS) };
HONE_DEVICE void attend(const hone_cuda_call *c, uint16_t *memory, int W, int J)
{
    __shared__ range rows[QUERIES_MMA]; // a thread's, while it is about ranges
    const int D = c->head_dim, t = (int)threadIdx.x, lane = t % WARP, h = (int)blockIdx.y, g = h / (c->heads / c->kv_heads);
    const int64_t N = c->in[0].rows, n0 = (int64_t)blockIdx.x * QUERIES_MMA, k_col = c->k_col + (int64_t)g * D, v_col = c->v_col + (int64_t)g * D;
    uint16_t *const q = memory, *const tiles = q + QUERIES_MMA * W;
    float s[M_FORWARD][8][4], o[M_FORWARD][16][4], top[2 * M_FORWARD], sum[2 * M_FORWARD], shrink[2 * M_FORWARD];
    rows[t].from = n0 + t < N ? first_key(c, &c->in[2], &c->in[3], n0 + t) : 0, rows[t].to = n0 + t < N ? get_index(&c->in[3], n0 + t) : 0;
    const span seen = span_of_warp(rows[t]);
    const range all = range_of_block(seen.from, seen.to);
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
        multiply_tiles(s, M_FORWARD, J, W, q, t / WARP * WARP, k);
        scale_scores(s, M_FORWARD, J, c->scale, c->cap);
        if (!covers(seen, j0, J)) hide_keys(s, M_FORWARD, J, rows + t / WARP * WARP, j0);
        bool moved = false;
        UNROLL
        for (int r = 0; r < 2 * M_FORWARD; r++) {
            shrink[r] = weigh_row(s[r / 2], J, r % 2, &top[r], &sum[r]);
            moved |= shrink[r] != 1;
        }
        if (__any_sync(ALL_LANES, moved))
            UNROLL
            for (int e = 0; e < M_FORWARD * W / 2; e++) o[e / (W / 2)][e / 4 % (W / 8)][e % 4] *= shrink[e / (W / 2) * 2 + e % 4 / 2];
        add_product(o, M_FORWARD, J, W, s, v);
    }
    UNROLL
    for (int r = 0; r < 2 * M_FORWARD; r++) {
        const int64_t n = n0 + t / WARP * WARP + lane / 4 + 8 * r;
        sum[r] += __shfl_xor_sync(ALL_LANES, sum[r], 1);
        sum[r] += __shfl_xor_sync(ALL_LANES, sum[r], 2);
        if (n >= N) continue;
        const float part = sum[r] > 0 ? 1 / sum[r] : 0;
        uint16_t *const to = (uint16_t *)c->out[0].data + n * c->out[0].cols + (int64_t)h * D;
        UNROLL
        for (int i = 0; i < W / 8; i++) {
            const int d = i * 8 + lane % 4 * 2;
            if (d < D) *(uint32_t *)(to + d) = pair_of(part * o[r / 2][i][r % 2 * 2], part * o[r / 2][i][r % 2 * 2 + 1]);
        }
        if (lane % 4 == 0) ((float *)c->out[1].data)[n * c->heads + h] = sum[r] > 0 ? (top[r] + log2f(sum[r])) * LN_2 : NOTHING;
    }
}
HONE_KERNEL(attention_mma64, 128)
{
    HONE_DYNAMIC(uint16_t, tile_memory);
    attend(&c, tile_memory, 64, 64);
}
HONE_KERNEL(attention_mma128, 128)
{
    HONE_DYNAMIC(uint16_t, tile_memory);
    attend(&c, tile_memory, 128, 32);
}
