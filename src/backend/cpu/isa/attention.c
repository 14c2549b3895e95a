// attention.c: exact attention with a running maximum (Milakov & Gimelshein 2018; Dao et al. 2022); see attention.h for the
// lay-out. Per block of queries and tile of keys:
//
//     s = k qt;  m' = max(m, s);  p = exp(s - m');  l = l exp(m - m') + sum p;  ot = ot exp(m - m') + v p
//
// then o = ot / l, lse = m + log l. Blocks are independent of each other and shared out as threads become free, the longest
// (the last of a causal run) first.
#include "backend/cpu/isa/attention.h"

enum { FEW = VW / 4 }; // up to so many lanes, keys along vectors are faster (bench_ops, decode)

typedef struct scratch { // one thread's
    lane_block b;
    float m[LANES], l[LANES];
    key row[KEYS], next[KEYS];
    const float *k[KEYS + 8], *v[KEYS + 8];
    float *ot, *s; // (D, LANES), (KEYS + 8, LANES)
    float *kt;     // (D, KEYS); this and what follows: few lanes only
    float *q, *o;  // (LANES, width): one row for each lane of each head in turn, zero behind D
    float *k_room, *v_room; // (KEYS, D): a tile of keys and values as floats; there are none where they lie so
} scratch;

static size_t scratch_bytes(const hone_args *args)
{
    const int64_t D = args->attr.head_dim, floats = (2 * D + KEYS + 8) * LANES + D * KEYS + 2 * LANES * round_up(D, VW) + float_rows_room(&args->in[1], D);
    return (size_t)(round_up((int64_t)sizeof(scratch), 64) + round_up(floats * (int64_t)sizeof(float), 64));
}

static scratch *scratch_at(void *place, int64_t D)
{
    scratch *t = place;
    float *data = (float *)((char *)place + round_up((int64_t)sizeof(scratch), 64));
    t->b.qt = data, t->ot = data + D * LANES, t->s = data + 2 * D * LANES, t->kt = t->s + (KEYS + 8) * LANES;
    t->q = t->kt + D * KEYS, t->o = t->q + LANES * round_up(D, VW);
    t->k_room = t->o + LANES * round_up(D, VW), t->v_room = t->k_room + KEYS * D;
    return t;
}

// m' = max(m, s) over a tile's segments; lanes whose maximum grew have l and ot scaled down to it
static void raise_maximum(scratch *t, const segment *seg, int segments, int64_t D)
{
    vf top[VECS];
    for (int v = 0; v < VECS; v++) top[v] = v_load(t->m + v * VW);
    for (int i = 0; i < segments; i++)
        for (int v = seg[i].v0; v < seg[i].v1; v++) {
            const float *s = t->s + v * VW;
            vf a = top[v], b = a;
            int j = seg[i].from;
            for (; j + 2 <= seg[i].to; j += 2) a = v_max(v_load(s + j * LANES), a), b = v_max(v_load(s + (j + 1) * LANES), b);
            if (j < seg[i].to) a = v_max(v_load(s + j * LANES), a);
            top[v] = v_max(a, b);
        }
    for (int v = 0; v < VECS; v++) {
        const vf old = v_load(t->m + v * VW), shift = old - top[v];
        if (v_top(v_select(v_lt(old, top[v]), v_set(1.0f), v_zero())) == 0.0f) continue;
        // -inf - -inf is no number: a lane that still sees nothing keeps its factor 1
        const vf factor = v_select(v_lt(old, top[v]), v_exp(shift), v_set(1.0f));
        v_store(t->m + v * VW, top[v]);
        v_store(t->l + v * VW, v_load(t->l + v * VW) * factor);
        for (int64_t d = 0; d < D; d++) {
            float *at = t->ot + d * LANES + v * VW;
            v_store(at, v_load(at) * factor);
        }
    }
}

// p = exp(s - m) in place of s, l += p in order of keys, for U vectors of lanes from v. narrow: row i becomes the pair of keys 2 i
// and 2 i + 1, 0 for one outside; rows in front of a segment are done with, so that it may lie on them.
V_INLINE void weigh(const bool narrow, int U, scratch *t, int v, segment g)
{
    vf m[4], l[4], p[4];
    V_UNROLL for (int u = 0; u < U; u++) {
        const vf top = v_load(t->m + (v + u) * VW);
        m[u] = v_select(v_lt(v_set(-INFINITY), top), top, v_zero()); // a lane that sees nothing yet: exp(-inf - 0)
        l[u] = v_load(t->l + (v + u) * VW);
    }
    vf even[4];
    V_UNROLL for (int u = 0; u < U; u++) even[u] = v_zero();
    for (int j = g.from; j < g.to; j++) {
        float *at = t->s + j * LANES + v * VW, *pair = t->s + j / 2 * LANES + v * VW;
        V_UNROLL for (int u = 0; u < U; u++) p[u] = v_load(at + u * VW) - m[u];
        v_exp_each(U, p);
        V_UNROLL for (int u = 0; u < U; u++) l[u] += p[u];
        if (narrow && j % 2 == 0 && j + 1 < g.to)
            V_UNROLL for (int u = 0; u < U; u++) even[u] = p[u];
        else if (narrow && j % 2 == 0)
            V_UNROLL for (int u = 0; u < U; u++) v_store(pair + u * VW, pairs_of(p[u], v_zero()));
        else if (narrow)
            V_UNROLL for (int u = 0; u < U; u++) v_store(pair + u * VW, pairs_of(even[u], p[u])); // a first key that is odd: with 0
        else
            V_UNROLL for (int u = 0; u < U; u++) v_store(at + u * VW, p[u]);
    }
    V_UNROLL for (int u = 0; u < U; u++) v_store(t->l + (v + u) * VW, l[u]);
}

static void cap_segment(segment g, float *s, float cap)
{
    for (int j = g.from; j < g.to; j++)
        for (int v = g.v0; v < g.v1; v++) v_store(s + j * LANES + v * VW, v_set(cap) * bend(v_load(s + j * LANES + v * VW), cap));
}

V_INLINE void run_tile(const bool narrow, const attention *a, scratch *t, int64_t g, int64_t tile)
{
    segment seg[KEYS / SUB];
    const int segments = list_segments(&t->b, tile, seg);
    if (!segments) return;
    const int from = seg[0].from, to = seg[segments - 1].to;
    const int64_t head_k = head_of_k(a, g), head_v = head_of_v(a, g);
    find_rows(a, t->b.row[0], tile, from, to, t->row);
    for (int j = from; j < to + 8; j++) { // rows behind the last repeat it: dot_tile takes up to 8 at once
        t->k[j] = j < to ? key_row(narrow, a, t->row[j], a->k_col + g * a->D, head_k, t->k_room, j) : t->k[to - 1];
        t->v[j] = j < to ? key_row(narrow, a, t->row[j], a->v_col + g * a->D, head_v, t->v_room, j) : t->v[to - 1];
    }
    if (narrow) pair_keys(t->v, t->v_room, t->v, from, to, a->D);
    for (int i = 0; i < segments; i++) {
        dot_segment(narrow, seg[i], t->s, t->k, t->b.qt, a->D, a->scale);
        if (a->cap > 0) cap_segment(seg[i], t->s, a->cap);
        for (int v = seg[i].v0; v < seg[i].v1; v++) {
            if (sees_whole(&t->b, v, tile + seg[i].from, tile + seg[i].to)) continue;
            for (int j = seg[i].from; j < seg[i].to; j++) {
                float *at = t->s + j * LANES + v * VW;
                v_store(at, v_select(sees(&t->b, v, tile + j), v_load(at), v_set(-INFINITY)));
            }
        }
    }
    raise_maximum(t, seg, segments, a->D);
    for (int i = 0; i < segments; i++) {
        for (int v = seg[i].v0; v < seg[i].v1;) {
            const int U = (int)at_most(4, seg[i].v1 - v);
            switch (U) {
            case 1: weigh(narrow, 1, t, v, seg[i]); break;
            case 2: weigh(narrow, 2, t, v, seg[i]); break;
            case 3: weigh(narrow, 3, t, v, seg[i]); break;
            default: weigh(narrow, 4, t, v, seg[i]);
            }
            v += U;
        }
        mix_segment(narrow, seg[i], t->ot, t->v, t->s, a->D);
    }
}

// ---- few lanes (decoding: one row a slot): keys lie along vectors instead ----------------------------------------------------
//
// With a lane or two most of a vector of lanes would be idle. So a tile's K is transposed to kt (D, KEYS), scores come out VW
// keys at a time, and o is a row. Each sum runs in the same order as above, so a row has the same bits either way
// (test_paged_keys_equal_the_definition compares them). The rows of the next tile, or of the next block's first one, are fetched while
// this one is computed, whole and in order: they lie scattered, and decoding is bound by memory.

// Cache lines of k and v to be asked for, row by row. A few at a time, between the arithmetic: a chip waits for a fixed number of
// lines at once, and all that is asked for beyond that stops everything else.
typedef struct line_list { const key *row; int64_t rows, at, k, v, half, lines; } line_list; // lines: of a row; the first `half` from k on

V_INLINE void fetch_lines(line_list *list, int n)
{
    for (int i = 0; i < n && list->rows > 0; i++) {
        const int64_t at = list->at++;
        if (at == 0 && list->row->scale) fetch_line(list->row->scale);
        fetch_line(list->row->row + (at < list->half ? list->k + at * 64 : list->v + (at - list->half) * 64));
        if (list->at == list->lines) list->at = 0, list->row++, list->rows--;
    }
}
// Columns of heads g0 .. g1 - 1 of `count` rows.
static line_list lines_of(const attention *a, const key *row, int count, int64_t g0, int64_t g1)
{
    const int64_t bytes = bytes_of(numbers_of(a)), half = divide_up((g1 - g0) * a->D * bytes, 64);
    return (line_list){ row, count, 0, (a->k_col + g0 * a->D) * bytes, (a->v_col + g0 * a->D) * bytes, half, 2 * half };
}

// s[v] = sum_d q[d] kt[d][v], vectors v0 <= v < v0 + C of keys: chains side by side, each in order of d
V_INLINE void dot_row(int C, vf *s, const float *kt, const float *q, int64_t D, int v0)
{
    vf sum[4];
    V_UNROLL for (int c = 0; c < C; c++) sum[c] = v_zero();
    for (int64_t d = 0; d < D; d++) {
        const vf w = v_set(q[d]);
        V_UNROLL for (int c = 0; c < C; c++) sum[c] = v_fma(v_load(kt + d * KEYS + (v0 + c) * VW), w, sum[c]);
    }
    V_UNROLL for (int c = 0; c < C; c++) s[v0 + c] = sum[c];
}

// o[d] += sum over keys from <= j < to of p[j] v[j][d], C vectors of d from d0; v[j]: from number `at` of row j on. Asks for
// `each` lines on the way, key by key.
V_INLINE void mix_row(int C, const numbers stored, float *o, const key *row, int64_t at, int64_t head, const float *p, int64_t d0, int64_t D, int from, int to, line_list *ahead, int each)
{
    vf sum[4];
    const int64_t tail = D - d0 - (C - 1) * VW;
    V_UNROLL for (int c = 0; c < C; c++) sum[c] = v_load(o + d0 + c * VW);
    for (int j = from; j < to; j++) {
        const vf w = v_set(p[j]);
        fetch_lines(ahead, each);
        V_UNROLL for (int c = 0; c < C; c++) sum[c] = v_fma(key_load(stored, row[j], at + d0 + c * VW, c == C - 1 ? tail : VW, head), w, sum[c]);
    }
    V_UNROLL for (int c = 0; c < C; c++) v_store(o + d0 + c * VW, sum[c]);
}

// Row i of q and o over one tile of head g; from, to: the keys that it sees.
V_INLINE void run_row(const attention *a, const numbers stored, scratch *t, int i, int64_t g, int from, int to, line_list *ahead, int each)
{
    float *p = t->s, *o = t->o + i * round_up(a->D, VW);
    const float *q = t->q + i * round_up(a->D, VW);
    const int64_t at = a->v_col + g * a->D, head = stored == CODES ? head_of_v(a, g) : 0;
    vf s[KEYS / VW], top = v_set(-INFINITY);
    const int v0 = from / VW, v1 = (to + VW - 1) / VW;
    for (int v = v0; v < v1; v += 4) {
        switch (at_most(4, v1 - v)) {
        case 1: dot_row(1, s, t->kt, q, a->D, v); break;
        case 2: dot_row(2, s, t->kt, q, a->D, v); break;
        case 3: dot_row(3, s, t->kt, q, a->D, v); break;
        default: dot_row(4, s, t->kt, q, a->D, v);
        }
    }
    for (int v = v0; v < v1; v++) {
        if (a->cap > 0) s[v] = v_set(a->cap) * bend(s[v], a->cap);
        s[v] = v_select(v_between(at_least(0, from - v * VW), at_most(VW, to - v * VW)), s[v], v_set(-INFINITY));
        top = v_max(s[v], top);
    }
    const float old = t->m[i], m = v_top(v_max(v_set(old), top));
    if (old < m) {
        const vf factor = v_exp(v_set(old - m));
        for (int64_t d = 0; d < a->D; d += VW) v_store(o + d, v_load(o + d) * factor);
        t->m[i] = m;
        t->l[i] *= factor[0];
        __asm__("" : "+m"(t->l[i])); // the product rounds before the sum below, as it does above
    }
    const vf shift = v_set(m > -INFINITY ? m : 0.0f);
    for (int v = v0; v < v1; v++) v_store(p + v * VW, v_exp(s[v] - shift));
    float sum = t->l[i];
    for (int j = from; j < to; j++) sum += p[j];
    t->l[i] = sum;
    for (int64_t d = 0; d < a->D;) {
        const int64_t C = at_most(4, divide_up(a->D - d, VW));
        switch (C) {
        case 1: mix_row(1, stored, o, t->row, at, head, p, d, a->D, from, to, ahead, each); break;
        case 2: mix_row(2, stored, o, t->row, at, head, p, d, a->D, from, to, ahead, each); break;
        case 3: mix_row(3, stored, o, t->row, at, head, p, d, a->D, from, to, ahead, each); break;
        default: mix_row(4, stored, o, t->row, at, head, p, d, d + 4 * VW < a->D ? d + 4 * VW : a->D, from, to, ahead, each);
        }
        d += C * VW;
    }
}

// kt of keys from <= j < to of head g. Rows outside, up to whole vectors, must be readable. Asks for `each` lines a block.
V_INLINE void transpose_keys(const attention *a, const numbers stored, scratch *t, int64_t g, int from, int to, line_list *ahead, int each)
{
    const int64_t at = a->k_col + g * a->D, head = stored == CODES ? head_of_k(a, g) : 0;
    for (int v = from / VW; v * VW < to; v++)
        for (int64_t d = 0; d < a->D; d += VW) {
            vf block[VW];
            const int64_t n = at_most(VW, a->D - d);
            fetch_lines(ahead, each);
            V_UNROLL for (int i = 0; i < VW; i++) block[i] = key_load(stored, t->row[v * VW + i], at + d, n, head);
            v_transpose(block);
            for (int64_t i = 0; i < n; i++) v_store(t->kt + (d + i) * KEYS + v * VW, block[i]);
        }
}

// Finds what is read behind a tile: rows 0 .. ahead - 1 of the next one or, where it was the last, those of the first tile of block
// `then` (NULL: of none). Returns how many.
static int find_next(const attention *a, const lane_block *b, int64_t tile, int ahead, const query_block *then, key *row)
{
    if (ahead > 0) find_rows(a, b->row[0], tile + KEYS, 0, ahead, row);
    if (ahead > 0 || !then) return ahead;
    const int64_t n = then->row0 + then->u0 / a->r, origin = a->slot ? 0 : then->row0, first = first_key(a, n), last = a->hi[n];
    const int from = (int)((first - origin) % KEYS), count = (int)at_least(0, at_most(last - first, KEYS - from));
    find_rows(a, n, first - from, from, from + count, row - from);
    return count;
}

// A block of few lanes, kv heads g0 .. g1 - 1, tile by tile with all heads in turn: cache rows are read whole and in order.
// then: the one behind it; or NULL.
V_INLINE void run_few(const attention *a, const numbers stored, const query_block *block, const query_block *then, int64_t g0, int64_t g1, scratch *t, reals o, float *lse)
{
    const lane_block *b = &t->b;
    const int64_t width = round_up(a->D, VW), rows = block->lanes * (g1 - g0);
    open_lanes(a, block, g0, &t->b);
    for (int64_t i = 0; i < rows; i++) {
        const reals q = reals_at(query_row(a, b, (int)(i % b->lanes)), i / b->lanes * a->r * a->D);
        for (int64_t d = 0; d < a->D; d += VW) v_store(t->q + i * width + d, reals_load(q, d, at_most(VW, a->D - d)) * v_set(a->scale));
        t->m[i] = -INFINITY, t->l[i] = 0.0f;
    }
    memset(t->o, 0, (size_t)(rows * width) * sizeof(float));
    for (int64_t tile = first_tile(b); tile < b->last; tile += KEYS) {
        const int from = (int)at_least(b->first - tile, 0), to = (int)at_most(b->last - tile, KEYS);
        const int ahead = (int)at_least(0, at_most(b->last - tile - KEYS, KEYS));
        if (tile <= b->first) find_rows(a, b->row[0], tile, from, to, t->row);
        for (int j = from / VW * VW; j < from; j++) t->row[j] = t->row[from]; // keys outside repeat one inside, and are masked
        for (int j = to; j % VW; j++) t->row[j] = t->row[to - 1];
        line_list next = lines_of(a, t->next, find_next(a, b, tile, ahead, then, t->next), g0, g1);
        // a half of them between the blocks of K, the rest between the rows of V
        const int64_t share = divide_up(next.rows * next.lines, 2 * (g1 - g0)), blocks = divide_up(to - from, VW) * divide_up(a->D, VW);
        const int each_block = (int)divide_up(share, blocks), each_key = (int)divide_up(share, b->lanes * (to - from) * divide_up(a->D, 4 * VW));
        for (int64_t g = g0; g < g1; g++) {
            transpose_keys(a, stored, t, g, from, to, &next, each_block);
            for (int l = 0; l < b->lanes; l++) {
                const int row_from = (int)at_least(b->lo[l] - tile, 0), row_to = (int)at_most(b->hi[l] - tile, KEYS);
                if (row_from < row_to) run_row(a, stored, t, (int)(g - g0) * b->lanes + l, g, row_from, row_to, &next, each_key);
            }
        }
        memcpy(t->row, t->next, (size_t)ahead * sizeof *t->row);
    }
    for (int64_t i = 0; i < rows; i++) {
        const int64_t l = i % b->lanes, at = b->row[l] * a->H + b->head[l] + i / b->lanes * a->r;
        const float factor = t->l[i] > 0.0f ? 1.0f / t->l[i] : 0.0f;
        for (int64_t d = 0; d < a->D; d += VW) reals_store(o, at * a->D + d, v_load(t->o + i * width + d) * v_set(factor), at_most(VW, a->D - d));
        if (lse) lse[at] = t->m[i] + logf(t->l[i]); // no key: -inf
    }
}

static void run_few_f32(const attention *a, const query_block *block, const query_block *then, int64_t g0, int64_t g1, scratch *t, reals o, float *lse)
{
    run_few(a, WIDE, block, then, g0, g1, t, o, lse);
}
static void run_few_bf16(const attention *a, const query_block *block, const query_block *then, int64_t g0, int64_t g1, scratch *t, reals o, float *lse)
{
    run_few(a, HALF, block, then, g0, g1, t, o, lse);
}
static void run_few_codes(const attention *a, const query_block *block, const query_block *then, int64_t g0, int64_t g1, scratch *t, reals o, float *lse)
{
    run_few(a, CODES, block, then, g0, g1, t, o, lse);
}

// ---- blocks of many lanes ----------------------------------------------------------------------------------------------------

V_INLINE void run_block(const bool narrow, const attention *a, const query_block *block, int64_t g, scratch *t, reals o, float *lse)
{
    reals rows[LANES];
    float factor[LANES];
    open_block(narrow, a, block, g, &t->b);
    for (int l = 0; l < LANES; l++) t->m[l] = -INFINITY, t->l[l] = 0.0f;
    memset(t->ot, 0, (size_t)(a->D * LANES) * sizeof(float));
    for (int64_t tile = first_tile(&t->b); tile < t->b.last; tile += KEYS) run_tile(narrow, a, t, g, tile);
    for (int l = 0; l < LANES; l++) {
        const int64_t at = t->b.row[l] * a->H + t->b.head[l];
        factor[l] = t->l[l] > 0.0f ? 1.0f / t->l[l] : 0.0f;
        rows[l] = reals_at(o, at * a->D);
        if (lse && l < t->b.lanes) lse[at] = t->m[l] + logf(t->l[l]); // no key: -inf
    }
    transpose_out(rows, t->ot, factor, t->b.lanes, a->D);
}

static void run_wide(const attention *a, const query_block *block, int64_t g, scratch *t, reals o, float *lse) { run_block(false, a, block, g, t, o, lse); }
static void run_narrow(const attention *a, const query_block *block, int64_t g, scratch *t, reals o, float *lse) { run_block(true, a, block, g, t, o, lse); }

size_t ISA(hone_cpu_attention_workspace)(const hone_args *args, int threads)
{
    const int64_t blocks = most_blocks(args, args->in[4].present) * (int64_t)sizeof(query_block);
    return (size_t)round_up(blocks, 64) + (size_t)threads * scratch_bytes(args);
}

static void run(const hone_args *args, int threads)
{
    typedef void (*few_fn)(const attention *, const query_block *, const query_block *, int64_t, int64_t, scratch *, reals, float *);
    static const few_fn few[] = { [WIDE] = run_few_f32, [HALF] = run_few_bf16, [CODES] = run_few_codes };
    attention a = attention_of(args, &args->in[0], &args->in[1], i32_in(args, 2), i32_in(args, 3));
    a.head_scale = f32_in(args, 6);
    const reals o = reals_of(&args->out[0]);
    float *lse = f32_out(args, 1);
    if (args->in[4].present)
        a.slot = i32_in(args, 4), a.table = i32_in(args, 5), a.table_stride = args->in[5].dim[1], a.key_block = args->attr.block;
    query_block *block = args->workspace;
    const int64_t blocks = list_blocks(&a, args->attr.group_rows, block);
    char *scratches = (char *)args->workspace + round_up(most_blocks(args, a.slot != NULL) * (int64_t)sizeof *block, 64);
    const bool narrow = is_narrow(&a);
    const bool whole_rows = blocks >= 4 * threads; // few lanes: all kv heads in one task where there is work for all threads so
#pragma omp parallel num_threads(worth(threads, blocks * a.G * 65536))
    {
        scratch *t = scratch_at(scratches + (size_t)omp_get_thread_num() * scratch_bytes(args), a.D);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < blocks * a.G; i++) {
            const query_block *one = &block[blocks - 1 - i / a.G], *then = one - omp_get_num_threads(); // what this thread takes next, if all go on alike
            const int64_t g = i % a.G, heads = whole_rows ? at_most(a.G, LANES / one->lanes) : 1;
            if (narrow) run_narrow(&a, one, g, t, o, lse);
            else if (one->lanes > FEW) run_wide(&a, one, g, t, o, lse);
            else if (g % heads == 0) few[numbers_of(&a)](&a, one, whole_rows && then >= block && then->lanes <= FEW ? then : NULL, g, at_most(a.G, g + heads), t, o, lse);
        }
    }
}

void ISA(hone_cpu_attention)(const hone_args *args, int threads) { run(args, threads); }

// The same over codes (graph/kv8.h), which become floats at the load: all that is behind it is the same arithmetic.
size_t ISA(hone_cpu_attention8_workspace)(const hone_args *args, int threads) { return ISA(hone_cpu_attention_workspace)(args, threads); }
void ISA(hone_cpu_attention8)(const hone_args *args, int threads) { run(args, threads); }
