// attention.h: what attention and its gradient share: lanes of queries, tiles of keys, and two register kernels.
//
// The queries of a run of rows that share keys, times the H / G heads that share a kv head, are numbered u = row (H/G) + head.
// A block is up to LANES consecutive u; each is one lane, so everything a query owns lies along vectors:
//
//     qt (D, LANES)   the block's scaled queries, transposed once
//     s  (keys, LANES)  scores of a tile of KEYS keys: s[j] = sum_d k[j][d] qt[d]      rows of k broadcast, straight from memory
//     ot (D, LANES)   ot[d] += sum_j v[j][d] p[j]                                      rows of v likewise
//
// Neither K nor V is packed or transposed (one kernel for plain and paged keys: rows come by pointer; those of bf16 or of 8 bits are
// widened tile by tile, or multiplied as they are: narrow, below), the softmax runs down
// columns without a horizontal step, and a lane's arithmetic is the same whatever lies in the other lanes. Tiles begin at
// multiples of KEYS from the first key of the run (its group's first row; 0 where keys are paged). A masked key adds exactly nothing (p = 0), so that skipping it, or a whole tile, or a whole
// vector of lanes, changes no bit: a row's result depends on its own query, keys and range only.
//
// narrow: queries and keys are bf16, side by side as in training, on a chip with dot products of bf16 pairs. The same kernels
// multiply pairs then: a float of an operand is two numbers of bf16, of two successive steps of the sum. Rows of k are that as they
// lie (steps are d); sums over keys or lanes pair rows first. Scores and sums stay f32, p and ds are rounded to bf16 where they
// are multiplied, as FlashAttention does (Dao 2023). Blocks of few lanes take the same way, so that a row's bits do not depend on its block.
#pragma once
#include "backend/cpu/isa/kernel.h"
#include <math.h>

// LANES: NU vectors at a time fill the registers (NU x 4 sums); a block is one or two such groups.
#if VW == 16
enum { NU = 4, LANES = 64 };
#elif VW == 8
enum { NU = 3, LANES = 48 };
#else
enum { NU = 2, LANES = 32 };
#endif
enum { KEYS = 64, SUB = 16, VECS = LANES / VW };

typedef struct attention { // one call
    reals q, kv;
    const float *head_scale;         // (R, 2 G) where kv is codes of 8 bits (graph/kv8.h), else NULL
    int64_t P, Q;                    // row strides
    int64_t q_col, k_col, v_col, H, G, D, r, N; // r = H / G
    const int32_t *lo, *hi, *slot, *table;
    int64_t table_stride, key_block, window;
    float scale, cap;                // cap: scores s become cap tanh(s / cap); 0: as they are
} attention;

typedef struct query_block { int32_t row0, u0, lanes; } query_block; // lanes u0 .. u0 + lanes - 1 of the run that starts at row0

typedef struct segment { int from, to, v0, v1; } segment; // keys (in the tile) x vectors of lanes that are not all masked

typedef struct lane_block { // a query block, spread out; lies in a thread's scratch
    int lanes;
    int64_t origin;                  // key index that tiles are counted from
    int64_t first, last;             // keys that some lane sees
    float *qt;                       // (D, LANES)
    int64_t row[LANES], head[LANES];
    int32_t lo[LANES], hi[LANES];    // a lane without keys: lo INT32_MAX, hi 0
    int64_t see_from[VECS], see_to[VECS];   // per vector: keys that some lane sees,
    int64_t all_from[VECS], all_to[VECS];   // ... and keys that every lane sees
} lane_block;

V_INLINE attention attention_of(const hone_args *args, const hone_operand *q, const hone_operand *kv, const int32_t *lo, const int32_t *hi)
{
    const hone_attr *a = &args->attr;
    return (attention){ .q = reals_of(q), .kv = reals_of(kv), .P = q->dim[1], .Q = kv->dim[1], .q_col = a->q_col, .k_col = a->k_col,
                        .v_col = a->v_col, .H = a->heads, .G = a->kv_heads, .D = a->head_dim, .r = a->heads / a->kv_heads,
                        .N = hone_rows(q), .lo = lo, .hi = hi, .window = a->window, .scale = a->scale, .cap = a->cap };
}

// Splits rows into runs that share keys (a group of rows, or rows of one slot) and runs into blocks. Returns their number.
V_INLINE int64_t list_blocks(const attention *a, int64_t group_rows, query_block *block)
{
    int64_t count = 0;
    for (int64_t row = 0, end; row < a->N; row = end) {
        end = group_rows > 0 ? at_most(a->N, row + group_rows) : a->N;
        if (a->slot)
            for (int64_t n = row + 1; n < end; n++)
                if (a->slot[n] != a->slot[row]) end = n;
        for (int64_t u = 0; u < (end - row) * a->r; u += LANES)
            block[count++] = (query_block){ (int32_t)row, (int32_t)u, (int32_t)at_most(LANES, (end - row) * a->r - u) };
    }
    return count;
}

V_INLINE int64_t most_blocks(const hone_args *args, bool slots)
{
    const int64_t N = args->out[0].dim[0], group = args->attr.group_rows, r = args->attr.heads / args->attr.kv_heads;
    const int64_t runs = slots ? N : group > 0 ? divide_up(N, group) : 1;
    return N * r / LANES + runs;
}

// What the numbers of kv are stored in: known where a loop over them is compiled.
typedef enum numbers { WIDE, HALF, CODES } numbers;
V_INLINE numbers numbers_of(const attention *a) { return a->head_scale ? CODES : a->kv.half ? HALF : WIDE; }
V_INLINE int64_t bytes_of(numbers stored) { return stored == CODES ? 1 : stored == HALF ? 2 : 4; }

// A row of kv, and the scales of its heads where it is codes.
typedef struct key { char *row; const float *scale; } key;
V_INLINE key key_at(const attention *a, int64_t r)
{
    return (key){ a->kv.data + r * a->Q * bytes_of(numbers_of(a)), a->head_scale ? a->head_scale + r * 2 * a->G : NULL };
}
// Head g of keys, or of values, as heads of a row are counted.
V_INLINE int64_t head_of_k(const attention *a, int64_t g) { return a->k_col / a->D + g; }
V_INLINE int64_t head_of_v(const attention *a, int64_t g) { return a->v_col / a->D + g; }

// Numbers `at` on, n of them (or VW), of a row; the scale is that of their head. A product rounds once wherever it is made.
V_INLINE vf key_load(const numbers stored, key k, int64_t at, int64_t n, int64_t head)
{
    if (stored != CODES) return reals_load((reals){ k.row, stored == HALF }, at, n);
    const int8_t *code = (const int8_t *)k.row + at;
    return (n >= VW ? v_from_int8(code) : v_from_int8_n(code, n)) * v_set(k.scale[head]);
}

// row[j] = the kv row of key tile + j as query row n sees it, for from <= j < to
V_INLINE void find_rows(const attention *a, int64_t n, int64_t tile, int from, int to, key *row)
{
    if (!a->slot) {
        for (int j = from; j < to; j++) row[j] = key_at(a, tile + j);
        return;
    }
    const int32_t *table = a->table + a->slot[n] * a->table_stride;
    int64_t page = (tile + from) / a->key_block, at = (tile + from) % a->key_block; // one division, then counting
    for (int j = from; j < to; j++) {
        row[j] = key_at(a, table[page] * a->key_block + at);
        if (++at == a->key_block) at = 0, page++;
    }
}

// D numbers of key j's row from column `col` on, those of a head: where they lie, or, if they are no floats, as row j of `room` (KEYS, D).
V_INLINE const float *float_row(const attention *a, key k, int64_t col, int64_t head, float *room, int64_t j)
{
    const numbers stored = numbers_of(a);
    float *to = room + j * a->D;
    if (stored == WIDE) return (const float *)(const void *)k.row + col;
    for (int64_t d = 0; d < a->D; d += VW) {
        const int64_t n = at_most(VW, a->D - d);
        reals_store((reals){ (char *)to, false }, d, stored == HALF ? key_load(HALF, k, col + d, n, head) : key_load(CODES, k, col + d, n, head), n);
    }
    return to;
}
// The same row for a product: narrow, as it lies.
V_INLINE const float *key_row(const bool narrow, const attention *a, key k, int64_t col, int64_t head, float *room, int64_t j)
{
    return narrow ? (const float *)(const void *)reals_at((reals){ k.row, true }, col).data : float_row(a, k, col, head, room, j);
}
V_INLINE int64_t float_rows_room(const hone_operand *kv, int64_t D) { return kv->dtype == HONE_f32 ? 0 : 2 * KEYS * D; } // of k and v, floats

#ifdef __AVX512BF16__
enum { HAS_PAIRS = true };
V_INLINE vf add_product(const bool narrow, vf a, vf b, vf sum) { return narrow ? (vf)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b) : v_fma(a, b, sum); }
V_INLINE vf pairs_of(vf x, vf y) { return (vf)bf16_pairs(x, y); }
V_INLINE void store_half(float *to, vf v) { _mm256_storeu_si256((__m256i *)(void *)to, (__m256i)_mm512_cvtneps_pbh((__m512)v)); } // VW numbers of bf16 in VW / 2 floats
#else
enum { HAS_PAIRS = false };
V_INLINE vf add_product(const bool narrow, vf a, vf b, vf sum) { (void)narrow; return v_fma(a, b, sum); }
V_INLINE vf pairs_of(vf x, vf y) { (void)y; return x; } // never called
V_INLINE void store_half(float *to, vf v) { v_store(to, v); }
#endif
V_INLINE bool is_narrow(const attention *a) { return HAS_PAIRS && a->q.half && a->kv.half && !a->slot && a->D % 2 == 0; }

// to[i][c] = (x[2 i][c], x[2 i + 1][c]) for an even number of rows of `width` numbers, a multiple of VW; `to` may be x
V_INLINE void pair_rows(float *to, const float *x, int64_t rows, int64_t width)
{
    for (int64_t i = 0; i < rows / 2; i++)
        for (int64_t c = 0; c < width; c += VW) v_store(to + i * width + c, pairs_of(v_load(x + 2 * i * width + c), v_load(x + (2 * i + 1) * width + c)));
}
// pair[i] = row i of room (KEYS / 2, D): numbers of keys 2 i and 2 i + 1 of [from, to), side by side; 0 for a key outside.
// pair may be rows.
V_INLINE void pair_keys(const float **pair, float *room, const float *const *rows, int from, int to, int64_t D)
{
    for (int i = from / 2; 2 * i < to; i++) {
        const reals even = { (char *)(uintptr_t)rows[2 * i], true }, odd = { (char *)(uintptr_t)rows[2 * i + 1], true };
        const reals both = { (char *)(room + i * D), false };
        pair[i] = room + i * D;
        for (int64_t d = 0; d < D; d += VW) {
            const int64_t n = at_most(VW, D - d);
            const vf x = 2 * i >= from ? reals_load(even, d, n) : v_zero(), y = 2 * i + 1 < to ? reals_load(odd, d, n) : v_zero();
            reals_store(both, d, pairs_of(x, y), n);
        }
    }
}

// to[d][lane] = rows[lane][d] * scale for `lanes` rows; the lanes behind them 0
V_INLINE void transpose_in(float *to, const reals *rows, int lanes, int64_t D, float scale)
{
    for (int l = 0; l < LANES; l += VW)
        for (int64_t d = 0; d < D; d += VW) {
            vf t[VW];
            const int64_t n = at_most(VW, D - d);
            V_UNROLL for (int i = 0; i < VW; i++) t[i] = l + i < lanes ? reals_load(rows[l + i], d, n) * v_set(scale) : v_zero();
            v_transpose(t);
            for (int64_t i = 0; i < n; i++) v_store(to + (d + i) * LANES + l, t[i]);
        }
}

// rows[lane][d] = from[d][lane] * factor[lane]
V_INLINE void transpose_out(const reals *rows, const float *from, const float *factor, int lanes, int64_t D)
{
    for (int l = 0; l < lanes; l += VW)
        for (int64_t d = 0; d < D; d += VW) {
            vf t[VW];
            const int64_t n = at_most(VW, D - d);
            for (int64_t i = 0; i < VW; i++) t[i] = i < n ? v_load(from + (d + i) * LANES + l) * v_load(factor + l) : v_zero();
            v_transpose(t);
            for (int i = 0; i < VW && l + i < lanes; i++) reals_store(rows[l + i], d, t[i], n);
        }
}

V_INLINE reals query_row(const attention *a, const lane_block *b, int l)
{
    return reals_at(a->q, b->row[l] * a->P + a->q_col + b->head[l] * a->D);
}

V_INLINE int32_t first_key(const attention *a, int64_t row)
{
    const int32_t lo = a->lo[row], hi = a->hi[row];
    return a->window > 0 && hi - a->window > lo ? (int32_t)(hi - a->window) : lo;
}

V_INLINE void open_lanes(const attention *a, const query_block *block, int64_t g, lane_block *b)
{
    b->lanes = block->lanes;
    b->origin = a->slot ? 0 : block->row0;
    b->first = INT64_MAX, b->last = 0;
    for (int l = 0; l < LANES; l++) {
        const int64_t u = block->u0 + (l < b->lanes ? l : b->lanes - 1); // lanes behind the last repeat it: they widen nothing
        const int64_t row = b->row[l] = block->row0 + u / a->r;
        b->head[l] = g * a->r + u % a->r;
        const int32_t lo = first_key(a, row), hi = a->hi[row];
        const bool empty = lo >= hi;
        b->lo[l] = empty ? INT32_MAX : lo, b->hi[l] = empty ? 0 : hi;
    }
    for (int v = 0; v < VECS; v++) {
        int64_t from = INT64_MAX, to = 0, all_from = 0, all_to = INT64_MAX;
        for (int l = v * VW; l < (v + 1) * VW; l++) {
            from = at_most(from, b->lo[l]), to = at_least(to, b->hi[l]);
            all_from = at_least(all_from, b->lo[l]), all_to = at_most(all_to, b->hi[l]);
        }
        b->see_from[v] = from, b->see_to[v] = to, b->all_from[v] = all_from, b->all_to[v] = all_to;
        b->first = at_most(b->first, from), b->last = at_least(b->last, to);
    }
}

// The tile that holds the first visible key.
V_INLINE int64_t first_tile(const lane_block *b) { return b->origin + (b->first - b->origin) / KEYS * KEYS; }

V_INLINE void open_block(const bool narrow, const attention *a, const query_block *block, int64_t g, lane_block *b)
{
    reals rows[LANES];
    open_lanes(a, block, g, b);
    for (int l = 0; l < LANES; l++) rows[l] = query_row(a, b, l);
    transpose_in(b->qt, rows, b->lanes, a->D, narrow ? 1.0f : a->scale);
    if (narrow) pair_rows(b->qt, b->qt, a->D, LANES);
}

// The parts of the tile that starts at key `tile` where something is visible: sub-tiles of SUB keys, joined where they see
// the same vectors of lanes. Returns their number.
V_INLINE int list_segments(const lane_block *b, int64_t tile, segment out[KEYS / SUB])
{
    int count = 0;
    for (int64_t at = tile; at < tile + KEYS; at += SUB) {
        int v0 = VECS, v1 = 0;
        for (int v = 0; v < VECS; v++)
            if (v * VW < b->lanes && b->see_from[v] < at + SUB && b->see_to[v] > at) {
                if (v < v0) v0 = v;
                v1 = v + 1;
            }
        if (v0 >= v1) continue;
        const int from = (int)(at_least(at, b->first) - tile), to = (int)(at_most(at + SUB, b->last) - tile);
        segment *last = count ? &out[count - 1] : NULL;
        if (last && last->to == from && last->v0 == v0 && last->v1 == v1) last->to = to;
        else out[count++] = (segment){ from, to, v0, v1 };
    }
    return count;
}

// s[j][lane] = scale sum_d rows[j][d] xt[d][lane] for J rows and U vectors of lanes; the sum over d runs in order. narrow: d are pairs;
// else xt is scaled already.
V_INLINE void dot_tile(const bool narrow, int J, int U, float *s, const float *const *rows, const float *xt, int64_t D, float scale)
{
    vf sum[8][4];
    const float *row[8];
    V_UNROLL for (int j = 0; j < J; j++) {
        row[j] = rows[j];
        V_UNROLL for (int u = 0; u < U; u++) sum[j][u] = v_zero();
    }
    for (int64_t d = 0; d < D; d++) {
        vf x[4];
        V_UNROLL for (int u = 0; u < U; u++) x[u] = v_load(xt + d * LANES + u * VW);
        V_UNROLL for (int j = 0; j < J; j++) {
            const vf k = v_set(row[j][d]);
            V_UNROLL for (int u = 0; u < U; u++) sum[j][u] = add_product(narrow, k, x[u], sum[j][u]);
        }
    }
    V_UNROLL for (int j = 0; j < J; j++)
        V_UNROLL for (int u = 0; u < U; u++) v_store(s + j * LANES + u * VW, narrow ? sum[j][u] * v_set(scale) : sum[j][u]);
}

// The same for a segment, D numbers a row. Reads rows[from] .. rows[round_up(to)]: those behind the last must be readable; s has room for them.
V_INLINE void dot_segment(const bool narrow, segment g, float *s, const float *const *rows, const float *xt, int64_t D, float scale)
{
    if (narrow) D /= 2;
    for (int v = g.v0; v < g.v1;) {
        const int U = (int)at_most(NU, g.v1 - v);
        for (int j = g.from; j < g.to;) {
            float *at = s + j * LANES + v * VW;
            const float *x = xt + v * VW;
            switch (U) {
            case 1: dot_tile(narrow, 8, 1, at, rows + j, x, D, scale); j += 8; break;
            case 2: dot_tile(narrow, VW == 16 ? 8 : 4, 2, at, rows + j, x, D, scale); j += VW == 16 ? 8 : 4; break;
            case 3: dot_tile(narrow, 4, 3, at, rows + j, x, D, scale); j += 4; break;
            default: dot_tile(narrow, 4, 4, at, rows + j, x, D, scale); j += 4; break;
            }
        }
        v += U;
    }
}

// ot[d][lane] += sum_j rows[j][d] p[j][lane] for I columns d and U vectors; the sum over j runs in order. narrow: j are pairs
V_INLINE void mix_tile(const bool narrow, int I, int U, float *ot, const float *const *rows, const float *p, int64_t d, int keys)
{
    vf sum[8][4];
    V_UNROLL for (int i = 0; i < I; i++)
        V_UNROLL for (int u = 0; u < U; u++) sum[i][u] = v_load(ot + (d + i) * LANES + u * VW);
    for (int j = 0; j < keys; j++) {
        vf x[4];
        const float *row = rows[j] + d;
        V_UNROLL for (int u = 0; u < U; u++) x[u] = v_load(p + j * LANES + u * VW);
        V_UNROLL for (int i = 0; i < I; i++) {
            const vf k = v_set(row[i]);
            V_UNROLL for (int u = 0; u < U; u++) sum[i][u] = add_product(narrow, k, x[u], sum[i][u]);
        }
    }
    V_UNROLL for (int i = 0; i < I; i++)
        V_UNROLL for (int u = 0; u < U; u++) v_store(ot + (d + i) * LANES + u * VW, sum[i][u]);
}

V_INLINE void mix_segment(const bool narrow, segment g, float *ot, const float *const *rows, const float *p, int64_t D)
{
    if (narrow) g.from /= 2, g.to = (g.to + 1) / 2;
    const int keys = g.to - g.from;
    rows += g.from;
    for (int v = g.v0; v < g.v1;) {
        const int U = (int)at_most(NU, g.v1 - v);
        const float *x = p + g.from * LANES + v * VW;
        float *y = ot + v * VW;
        int64_t d = 0;
        switch (U) {
        case 1:
            for (; d + 8 <= D; d += 8) mix_tile(narrow, 8, 1, y, rows, x, d, keys);
            for (; d < D; d++) mix_tile(narrow, 1, 1, y, rows, x, d, keys);
            break;
        case 2:
            for (; d + 4 <= D; d += 4) mix_tile(narrow, 4, 2, y, rows, x, d, keys);
            for (; d < D; d++) mix_tile(narrow, 1, 2, y, rows, x, d, keys);
            break;
        case 3:
            for (; d + 4 <= D; d += 4) mix_tile(narrow, 4, 3, y, rows, x, d, keys);
            for (; d < D; d++) mix_tile(narrow, 1, 3, y, rows, x, d, keys);
            break;
        default:
            for (; d + 4 <= D; d += 4) mix_tile(narrow, 4, 4, y, rows, x, d, keys);
            for (; d < D; d++) mix_tile(narrow, 1, 4, y, rows, x, d, keys);
        }
        v += U;
    }
}

// tanh(s / cap): the capped score is cap times that
V_INLINE vf bend(vf s, float cap) { return v_tanh(s * v_set(1.0f / cap)); }

// Lanes of vector v that see key j; all of them where `whole`.
V_INLINE bool sees_whole(const lane_block *b, int v, int64_t from, int64_t to) { return b->all_from[v] <= from && to <= b->all_to[v]; }
V_INLINE vm sees(const lane_block *b, int v, int64_t j)
{
    const vi at = v_set_i((int32_t)j), lo = v_load_i(b->lo + v * VW), hi = v_load_i(b->hi + v * VW);
#if VW == 16
    return _mm512_cmpge_epi32_mask((__m512i)at, (__m512i)lo) & _mm512_cmplt_epi32_mask((__m512i)at, (__m512i)hi);
#else
    return (at >= lo) & (at < hi);
#endif
}
