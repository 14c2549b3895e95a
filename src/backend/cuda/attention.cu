// attention.cu: exact attention over ranges of keys in tiles, and its gradient; no N x N matrix.
//
// A block has QUERIES query rows of one head and walks over the keys that any of them sees, KEYS at a time: scores, then a running
// maximum and sum (Milakov & Gimelshein 2018; Dao et al. 2022), then values. Tiles of keys begin at multiples of KEYS whatever rows
// share the block, and a tile that a row does not see changes none of its bits, so that a row's result is a function of the row.
// The backward walks twice: over keys for dq, over queries for dk and dv; nothing is added by atomics.
// Sums are multiply-adds in f32: the kernels of operands that attention_mma.cu does not take.
#include "backend/cuda/attention.h"

enum { QUERIES = HONE_CUDA_QUERIES, KEYS = HONE_CUDA_KEYS, PAIRS = QUERIES * KEYS, THREADS = 128 };

// Ranges of a tile's rows into shared memory; rows that are not there see nothing.
HONE_DEVICE void load_ranges(const hone_cuda_call *c, const hone_cuda_view *lo, const hone_cuda_view *hi, int64_t n0, int64_t N, range *rows)
{
    const int64_t n = n0 + threadIdx.x;
    if (threadIdx.x >= QUERIES) return;
    rows[threadIdx.x].from = n < N ? first_key(c, lo, hi, n) : 0;
    rows[threadIdx.x].to = n < N ? get_index(hi, n) : 0;
}

// What any row of the tile sees.
HONE_DEVICE range span_of(const range *rows)
{
    range all;
    all.from = 0x7fffffff, all.to = 0;
    for (int r = 0; r < QUERIES; r++) {
        if (rows[r].from >= rows[r].to) continue;
        if (rows[r].from < all.from) all.from = rows[r].from;
        if (rows[r].to > all.to) all.to = rows[r].to;
    }
    return all;
}

// Rows [at, at + count) of x, columns [column, column + D), to shared memory at a given stride; rows outside [from, to) are zeros.
HONE_DEVICE void load_tile(float *tile, int stride, const hone_cuda_view *x, int64_t at, int count, int64_t from, int64_t to, int64_t column, int D)
{
    for (int e = (int)threadIdx.x; e < count * D; e += THREADS) {
        const int64_t row = at + e / D;
        tile[e / D * stride + e % D] = row >= from && row < to ? get(x, row * x->cols + column + e % D) : 0;
    }
}

HONE_DEVICE float dot(const float *a, const float *b, int D)
{
    float sum = 0;
    for (int d = 0; d < D; d++) sum += a[d] * b[d];
    return sum;
}

// --- forward -------------------------------------------------------------------------------------------------------------

//   in: q (N, P), kv (R, Q), lo, hi (N,)   out: o (N, H D), lse (N, H)
//   shared: q, o (QUERIES, D); k (KEYS, D + 1); v (KEYS, D); scores (QUERIES, KEYS)           grid: tiles of rows, heads
HONE_KERNEL(attention, 128)
{
    HONE_DYNAMIC(float, shared);
    __shared__ range rows[QUERIES];
    __shared__ float top[QUERIES], sum[QUERIES], shrink[QUERIES];
    const int D = c.head_dim, t = (int)threadIdx.x, lane = t % WARP, h = (int)blockIdx.y, g = h / (c.heads / c.kv_heads);
    const int64_t n0 = (int64_t)blockIdx.x * QUERIES, N = c.in[0].rows;
    float *q = shared, *o = q + QUERIES * D, *k = o + QUERIES * D, *v = k + KEYS * (D + 1), *s = v + KEYS * D;
    load_tile(q, D, &c.in[0], n0, QUERIES, 0, N, c.q_col + (int64_t)h * D, D);
    load_ranges(&c, &c.in[2], &c.in[3], n0, N, rows);
    for (int e = t; e < QUERIES * D; e += THREADS) o[e] = 0;
    if (t < QUERIES) top[t] = NOTHING, sum[t] = 0;
    __syncthreads();
    const range seen = span_of(rows);
    for (int64_t j0 = seen.from / KEYS * KEYS; j0 < seen.to; j0 += KEYS) {
        load_tile(k, D + 1, &c.in[1], j0, KEYS, seen.from, seen.to, c.k_col + (int64_t)g * D, D);
        load_tile(v, D, &c.in[1], j0, KEYS, seen.from, seen.to, c.v_col + (int64_t)g * D, D);
        __syncthreads();
        for (int r = t / WARP; r < QUERIES; r += THREADS / WARP) {
            const bool sees = j0 + lane >= rows[r].from && j0 + lane < rows[r].to;
            const float score = sees ? score_of(c.scale, c.cap, dot(q + r * D, k + lane * (D + 1), D)) : NOTHING;
            const float before = top[r], now = fmaxf(before, warp_max(score));
            const float p = sees ? expf(score - now) : 0, added = warp_sum(p);
            s[r * KEYS + lane] = p;
            if (lane == 0) {
                shrink[r] = sum[r] > 0 ? expf(before - now) : 0;
                sum[r] = sum[r] * shrink[r] + added;
                top[r] = now;
            }
        }
        __syncthreads();
        for (int e = t; e < QUERIES * D; e += THREADS) {
            const int r = e / D, d = e % D;
            float value = o[e] * shrink[r];
            for (int j = 0; j < KEYS; j++) value += s[r * KEYS + j] * v[j * D + d];
            o[e] = value;
        }
        __syncthreads();
    }
    for (int e = t; e < QUERIES * D && n0 + e / D < N; e += THREADS)
        put(&c.out[0], (n0 + e / D) * c.out[0].cols + (int64_t)h * D + e % D, sum[e / D] > 0 ? o[e] / sum[e / D] : 0);
    if (t < QUERIES && n0 + t < N) put(&c.out[1], (n0 + t) * c.heads + h, sum[t] > 0 ? top[t] + logf(sum[t]) : NOTHING);
}

// Keys through a table: rows of a tile may be of different slots, so a block has one row and one head. A warp has a key at a time.
//   in: q, cache, lo, hi, slot (N,), table (S, B), scale (R, 2 G) where the cache is codes    grid: rows, heads
//   shared: o (D,), scores (PAGE_KEYS,)

HONE_DEVICE int64_t row_of_key(const hone_cuda_call *c, int64_t slot, int key)
{
    return (int64_t)get_index(&c->in[5], slot * c->in[5].cols + key / c->block) * c->block + key % c->block;
}
HONE_DEVICE float key_number(const hone_cuda_call *c, bool codes, int64_t i) { return codes ? (float)((const int8_t *)c->in[1].data)[i] : get(&c->in[1], i); }
// What codes of head e of a row are times.
HONE_DEVICE float scale_of(const hone_cuda_call *c, bool codes, int64_t row, int e) { return codes ? get(&c->in[6], row * c->in[6].cols + e) : 1; }

HONE_DEVICE void attend_paged(const hone_cuda_call *c, bool codes, float *shared)
{
    const int D = c->head_dim, t = (int)threadIdx.x, lane = t % WARP, h = (int)blockIdx.y, g = h / (c->heads / c->kv_heads);
    const int64_t n = blockIdx.x, slot = get_index(&c->in[4], n), Q = c->in[1].cols;
    const int64_t from_q = n * c->in[0].cols + c->q_col + (int64_t)h * D;
    const int from = first_key(c, &c->in[2], &c->in[3], n), to = get_index(&c->in[3], n);
    float *o = shared, *s = o + D, top = NOTHING, sum = 0;
    for (int d = t; d < D; d += THREADS) o[d] = 0;
    for (int j0 = from; j0 < to; j0 += HONE_CUDA_PAGE_KEYS) {
        const int keys = to - j0 < HONE_CUDA_PAGE_KEYS ? to - j0 : HONE_CUDA_PAGE_KEYS;
        float largest = NOTHING, added = 0;
        for (int j = t / WARP; j < keys; j += THREADS / WARP) {
            const int64_t row = row_of_key(c, slot, j0 + j);
            float part = 0;
            for (int d = lane; d < D; d += WARP) part += get(&c->in[0], from_q + d) * key_number(c, codes, row * Q + c->k_col + (int64_t)g * D + d);
            part = score_of(c->scale, c->cap, warp_sum(part) * scale_of(c, codes, row, g));
            if (lane == 0) s[j] = part;
            largest = fmaxf(largest, part);
        }
        const float now = fmaxf(top, block_max(largest)), shrink = sum > 0 ? expf(top - now) : 0;
        if (t < keys) {
            added = expf(s[t] - now);
            s[t] = codes ? added * scale_of(c, codes, row_of_key(c, slot, j0 + t), c->kv_heads + g) : added;
        }
        sum = sum * shrink + block_sum(added), top = now;
        for (int d = t; d < D; d += THREADS) {
            float value = o[d] * shrink;
            for (int j = 0; j < keys; j++) value += s[j] * key_number(c, codes, row_of_key(c, slot, j0 + j) * Q + c->v_col + (int64_t)g * D + d);
            o[d] = value;
        }
        __syncthreads();
    }
    for (int d = t; d < D; d += THREADS) put(&c->out[0], n * c->out[0].cols + (int64_t)h * D + d, sum > 0 ? o[d] / sum : 0);
    if (t == 0) put(&c->out[1], n * c->heads + h, sum > 0 ? top + logf(sum) : NOTHING);
}

HONE_KERNEL(attention_paged, 128)
{
    HONE_DYNAMIC(float, shared);
    attend_paged(&c, false, shared);
}
HONE_KERNEL(attention_paged8, 128)
{
    HONE_DYNAMIC(float, shared);
    attend_paged(&c, true, shared);
}

// --- backward ------------------------------------------------------------------------------------------------------------
//     p_j = exp(s_j - lse), s_j = scale q . k_j      ds_j = p_j (do . v_j - do . o), with a cap times 1 - (s_j / cap)^2 of the capped s_j
//     dq = scale sum_j ds_j k_j      dk_j = scale sum_n ds_nj q_n      dv_j = sum_n p_nj do_n
// in: do (N, H D), q (N, P), kv (R, Q), o (N, H D), lse (N, H), lo, hi (N,)   out: dq (N, P), dkv (R, Q)
// work: delta (N, H) f32 = do . o, then spans (tiles,) of query tiles, n[0] bytes behind it

HONE_DEVICE range *spans_of(const hone_cuda_call *c) { return (range *)((char *)c->work + c->n[0]); }

// A warp has a row and head.
HONE_KERNEL(attention_delta, 128)
{
    const int D = c.head_dim, lane = (int)threadIdx.x % WARP;
    const int64_t i = (int64_t)blockIdx.x * (THREADS / WARP) + threadIdx.x / WARP;
    if (i >= c.in[0].rows * c.heads) return;
    float sum = 0;
    for (int d = lane; d < D; d += WARP) sum += get(&c.in[0], i * D + d) * get(&c.in[3], i * D + d);
    sum = warp_sum(sum);
    if (lane == 0) ((float *)c.work)[i] = sum;
}

// A block has a tile.
HONE_KERNEL(attention_spans, 128)
{
    __shared__ range rows[QUERIES];
    load_ranges(&c, &c.in[5], &c.in[6], (int64_t)blockIdx.x * QUERIES, c.in[0].rows, rows);
    __syncthreads();
    if (threadIdx.x == 0) spans_of(&c)[blockIdx.x] = span_of(rows);
}

// Probability and its gradient of row r and key j of two tiles in shared memory.
typedef struct tiles { const float *q, *d_o, *k, *v, *lse, *delta; const range *rows; int D; float scale, cap; } tiles;
HONE_DEVICE void probability(const tiles *x, int r, int j, int64_t key, float *p, float *ds)
{
    const bool sees = key >= x->rows[r].from && key < x->rows[r].to;
    const float s = score_of(x->scale, x->cap, dot(x->q + r * x->D, x->k + j * (x->D + 1), x->D)), part = x->cap > 0 ? s / x->cap : 0;
    *p = sees ? expf(s - x->lse[r]) : 0;
    *ds = sees ? (1 - part * part) * *p * (dot(x->d_o + r * x->D, x->v + j * (x->D + 1), x->D) - x->delta[r]) : 0;
}

// Query rows of a tile, what goes with them, into shared memory.
HONE_DEVICE void load_queries(const hone_cuda_call *c, int64_t n0, int h, float *q, float *d_o, float *lse, float *delta, range *rows)
{
    const int64_t N = c->in[0].rows, n = n0 + threadIdx.x;
    const int D = c->head_dim;
    load_tile(q, D, &c->in[1], n0, QUERIES, 0, N, c->q_col + (int64_t)h * D, D);
    load_tile(d_o, D, &c->in[0], n0, QUERIES, 0, N, (int64_t)h * D, D);
    load_ranges(c, &c->in[5], &c->in[6], n0, N, rows);
    if (threadIdx.x >= QUERIES) return;
    lse[threadIdx.x] = n < N ? get(&c->in[4], n * c->heads + h) : 0;
    delta[threadIdx.x] = n < N ? ((const float *)c->work)[n * c->heads + h] : 0;
}

//   shared: q, do, dq (QUERIES, D); k, v (KEYS, D + 1); ds (QUERIES, KEYS)                     grid: tiles of rows, heads
HONE_KERNEL(attention_dq, 128)
{
    HONE_DYNAMIC(float, shared);
    __shared__ range rows[QUERIES];
    __shared__ float lse[QUERIES], delta[QUERIES];
    const int D = c.head_dim, t = (int)threadIdx.x, h = (int)blockIdx.y, g = h / (c.heads / c.kv_heads);
    const int64_t n0 = (int64_t)blockIdx.x * QUERIES, N = c.in[0].rows;
    float *q = shared, *d_o = q + QUERIES * D, *dq = d_o + QUERIES * D, *k = dq + QUERIES * D, *v = k + KEYS * (D + 1), *ds = v + KEYS * (D + 1);
    const tiles x = { q, d_o, k, v, lse, delta, rows, D, c.scale, c.cap };
    load_queries(&c, n0, h, q, d_o, lse, delta, rows);
    for (int e = t; e < QUERIES * D; e += THREADS) dq[e] = 0;
    __syncthreads();
    const range seen = span_of(rows);
    for (int64_t j0 = seen.from / KEYS * KEYS; j0 < seen.to; j0 += KEYS) {
        load_tile(k, D + 1, &c.in[2], j0, KEYS, seen.from, seen.to, c.k_col + (int64_t)g * D, D);
        load_tile(v, D + 1, &c.in[2], j0, KEYS, seen.from, seen.to, c.v_col + (int64_t)g * D, D);
        __syncthreads();
        for (int e = t; e < PAIRS; e += THREADS) {
            float p;
            probability(&x, e / KEYS, e % KEYS, j0 + e % KEYS, &p, &ds[e]);
        }
        __syncthreads();
        for (int e = t; e < QUERIES * D; e += THREADS) {
            float sum = 0;
            for (int j = 0; j < KEYS; j++) sum += ds[e / D * KEYS + j] * k[j * (D + 1) + e % D];
            dq[e] += sum;
        }
        __syncthreads();
    }
    for (int e = t; e < QUERIES * D && n0 + e / D < N; e += THREADS)
        put(&c.out[0], (n0 + e / D) * c.out[0].cols + c.q_col + (int64_t)h * D + e % D, c.scale * dq[e]);
}

//   shared: q, do (QUERIES, D); k, v (KEYS, D + 1); dk, dv (KEYS, D); p, ds (QUERIES, KEYS)     grid: tiles of keys, heads of keys
HONE_KERNEL(attention_dkv, 128)
{
    HONE_DYNAMIC(float, shared);
    __shared__ range rows[QUERIES];
    __shared__ float lse[QUERIES], delta[QUERIES];
    const int D = c.head_dim, t = (int)threadIdx.x, g = (int)blockIdx.y, share = c.heads / c.kv_heads;
    const int64_t j0 = (int64_t)blockIdx.x * KEYS, N = c.in[0].rows, R = c.in[2].rows;
    float *q = shared, *d_o = q + QUERIES * D, *k = d_o + QUERIES * D, *v = k + KEYS * (D + 1);
    float *dk = v + KEYS * (D + 1), *dv = dk + KEYS * D, *p = dv + KEYS * D, *ds = p + PAIRS;
    const tiles x = { q, d_o, k, v, lse, delta, rows, D, c.scale, c.cap };
    load_tile(k, D + 1, &c.in[2], j0, KEYS, 0, R, c.k_col + (int64_t)g * D, D);
    load_tile(v, D + 1, &c.in[2], j0, KEYS, 0, R, c.v_col + (int64_t)g * D, D);
    for (int e = t; e < KEYS * D; e += THREADS) dk[e] = dv[e] = 0;
    int64_t from = 0, to = N; // query rows that may see these keys
    if (c.group_rows) {
        from = j0 / c.group_rows * c.group_rows;
        to = (j0 + KEYS + c.group_rows - 1) / c.group_rows * c.group_rows;
        if (to > N) to = N;
    }
    for (int64_t tile = from / QUERIES; tile * QUERIES < to; tile++) {
        const range seen = spans_of(&c)[tile];
        if (seen.from >= j0 + KEYS || seen.to <= j0) continue;
        for (int h = g * share; h < (g + 1) * share; h++) {
            __syncthreads(); // the tile before is done with
            load_queries(&c, tile * QUERIES, h, q, d_o, lse, delta, rows);
            __syncthreads();
            for (int e = t; e < PAIRS; e += THREADS) probability(&x, e / KEYS, e % KEYS, j0 + e % KEYS, &p[e], &ds[e]);
            __syncthreads();
            for (int e = t; e < KEYS * D; e += THREADS) {
                const int j = e / D, d = e % D;
                float sum_k = 0, sum_v = 0;
                for (int r = 0; r < QUERIES; r++) {
                    sum_k += ds[r * KEYS + j] * q[r * D + d];
                    sum_v += p[r * KEYS + j] * d_o[r * D + d];
                }
                dk[e] += sum_k, dv[e] += sum_v;
            }
        }
    }
    const hone_cuda_view *out = c.same_kv ? &c.out[0] : &c.out[1];
    for (int e = t; e < KEYS * D && j0 + e / D < R; e += THREADS) {
        const int64_t at = (j0 + e / D) * out->cols + (int64_t)g * D + e % D;
        put(out, at + c.k_col, c.scale * dk[e]);
        put(out, at + c.v_col, dv[e]);
    }
}
