// attention_back.c: the gradient of attention in one sweep; see attention.h for the lay-out.
//
// With scores s = (scale q) . k, p = exp(s - lse), delta = do . o:
//
//     dp = v do      ds = p (dp - delta) (with a cap times the slope of the capped score, 1 - (s / cap)^2)      dv += p do      dk += ds (scale q)      dq = scale sum_j ds k
//
// A task is one kv head of one run of rows: it alone writes that head's columns of dk and dv for the run's keys and adds to
// them block by block in order, straight in the output (of bf16: in its scratch, rounded when the run is done), so the sums do not
// depend on the number of threads. Scores are
// computed again (one product of five) rather than kept.
#include "backend/cpu/isa/attention.h"

typedef struct scratch { // one thread's
    lane_block b;
    float lse[LANES], delta[LANES];
    const float *k[KEYS + 8], *v[KEYS + 8];
    float *dk[KEYS + 8], *dv[KEYS + 8];
    float *dot, *dqt;      // (D, LANES): do and dq, lanes along vectors
    float *p, *ds;         // (KEYS + 8, LANES); narrow: then rows of LANES numbers of bf16, in the front half of their place
    float *ds_pairs;       // (KEYS / 2, LANES): narrow: ds of keys 2 i and 2 i + 1
    const float *k_pair[KEYS / 2];
    float *q_row, *do_row; // (LANES, width): scaled q and do as rows, zero behind D and behind the last lane
    float *k_room, *v_room;   // (KEYS, D): a tile of bf16 keys and values as floats; there are none of f32
    float *dk_sum, *dv_sum;   // (keys of a run, D): sums of what is stored in bf16; none of f32
} scratch;

typedef struct gradient { // one call
    attention a;
    reals o, d_o, dq, dkv; // dkv.data NULL: not wanted
    const float *lse;
    int64_t dkv_stride, width;
    int64_t run, keys;     // rows of a run; keys that it may see
} gradient;

// dk and dv, where they are wanted: of a fused tensor in dq's place.
static const hone_operand *dkv_of(const hone_args *args) { return &args->out[args->same_kv ? 0 : 1]; }
static int64_t run_rows(const hone_args *args, int64_t rows) { return args->attr.group_rows > 0 ? args->attr.group_rows : at_least(rows, 1); }
static int64_t run_keys(const hone_args *args) { return args->attr.group_rows > 0 ? args->attr.group_rows : args->in[2].dim[0]; }

static int64_t pairs_room(const hone_args *args) { return args->in[2].dtype == HONE_bf16 ? KEYS / 2 * LANES : 0; }
static size_t scratch_bytes(const hone_args *args)
{
    const int64_t D = args->attr.head_dim, width = round_up(D, VW), sums = dkv_of(args)->dtype == HONE_bf16 ? 2 * run_keys(args) * D : 0;
    const int64_t floats = (3 * D + 2 * (KEYS + 8) + 2 * width) * LANES + float_rows_room(&args->in[2], D) + pairs_room(args) + sums;
    return (size_t)(round_up((int64_t)sizeof(scratch), 64) + round_up(floats * (int64_t)sizeof(float), 64));
}

static scratch *scratch_at(void *place, const hone_args *args)
{
    const int64_t D = args->attr.head_dim;
    scratch *t = place;
    float *data = (float *)((char *)place + round_up((int64_t)sizeof(scratch), 64));
    t->b.qt = data, t->dot = data + D * LANES, t->dqt = data + 2 * D * LANES;
    t->p = data + 3 * D * LANES, t->ds = t->p + (KEYS + 8) * LANES;
    t->q_row = t->ds + (KEYS + 8) * LANES, t->do_row = t->q_row + LANES * round_up(D, VW);
    t->k_room = t->do_row + LANES * round_up(D, VW), t->v_room = t->k_room + KEYS * D;
    t->ds_pairs = t->k_room + float_rows_room(&args->in[2], D);
    t->dk_sum = t->ds_pairs + pairs_room(args), t->dv_sum = t->dk_sum + run_keys(args) * D;
    return t;
}

// out[j][c] += sum over lanes of w[j][lane] x[lane][c] for J keys and C vectors of columns; `tail` columns in the last vector.
// narrow: lanes are pairs.
V_INLINE void gather_tile(const bool narrow, int J, int C, float *const *out, const float *w, const float *x, int64_t width, int64_t c0, int64_t tail,
                          int lane0, int lane1)
{
    vf sum[4][4];
    V_UNROLL for (int j = 0; j < J; j++)
        V_UNROLL for (int c = 0; c < C; c++) sum[j][c] = v_load_n(out[j] + c0 + c * VW, c == C - 1 ? tail : VW);
    for (int l = lane0; l < lane1; l++) {
        vf y[4];
        V_UNROLL for (int c = 0; c < C; c++) y[c] = v_load(x + l * width + c0 + c * VW);
        V_UNROLL for (int j = 0; j < J; j++) {
            const vf a = v_set(w[j * LANES + l]);
            V_UNROLL for (int c = 0; c < C; c++) sum[j][c] = add_product(narrow, a, y[c], sum[j][c]);
        }
    }
    V_UNROLL for (int j = 0; j < J; j++)
        V_UNROLL for (int c = 0; c < C; c++) v_store_n(out[j] + c0 + c * VW, sum[j][c], c == C - 1 ? tail : VW);
}

V_INLINE void gather_keys(const bool narrow, int J, segment g, float *const *out, const float *w, const float *x, int64_t D, int64_t width)
{
    const int lane0 = g.v0 * VW / (narrow ? 2 : 1), lane1 = g.v1 * VW / (narrow ? 2 : 1);
    for (int64_t c = 0; c < D;) {
        const int64_t left = divide_up(D - c, VW), C = at_most(NU, left), tail = at_most(VW, D - c - (C - 1) * VW);
        switch (C) {
        case 1: gather_tile(narrow, J, 1, out, w, x, width, c, tail, lane0, lane1); break;
        case 2: gather_tile(narrow, J, 2, out, w, x, width, c, tail, lane0, lane1); break;
        case 3: gather_tile(narrow, J, 3, out, w, x, width, c, tail, lane0, lane1); break;
        default: gather_tile(narrow, J, 4, out, w, x, width, c, tail, lane0, lane1);
        }
        c += C * VW;
    }
}

V_INLINE void gather_segment(const bool narrow, segment g, float *const *out, const float *w, const float *x, int64_t D, int64_t width)
{
    int j = g.from;
    for (; j + 4 <= g.to; j += 4) gather_keys(narrow, 4, g, out + j, w + j * LANES, x, D, width);
    for (; j < g.to; j++) gather_keys(narrow, 1, g, out + j, w + j * LANES, x, D, width);
}

// p = exp(s - lse) in place of s, ds = p (dp - delta) in place of dp, for U keys from j and one vector of lanes. narrow: both
// rounded, ds times `scale`, by lanes in place and ds by pairs of keys as well; keys outside [from, to) are 0.
V_INLINE void weigh_back(const bool narrow, int U, scratch *t, int v, int64_t tile, int j, segment g, bool whole, vf lse, vf delta, float cap, float scale)
{
    vf p[4], slope[4], ds[4];
    float *p_at = t->p + j * LANES + v * VW, *ds_at = t->ds + j * LANES + v * VW;
    V_UNROLL for (int u = 0; u < U; u++) {
        p[u] = v_load(p_at + u * LANES);
        slope[u] = v_set(1.0f);
        if (cap > 0) {
            const vf bent = bend(p[u], cap);
            slope[u] = v_fnma(bent, bent, slope[u]);
            p[u] = v_set(cap) * bent;
        }
        p[u] = p[u] - lse;
    }
    v_exp_each(U, p);
    if (!whole)
        V_UNROLL for (int u = 0; u < U; u++) p[u] = v_select(sees(&t->b, v, tile + j + u), p[u], v_zero());
    V_UNROLL for (int u = 0; u < U; u++) ds[u] = slope[u] * (p[u] * (v_load(ds_at + u * LANES) - delta));
    if (!narrow) {
        V_UNROLL for (int u = 0; u < U; u++) v_store(p_at + u * LANES, p[u]), v_store(ds_at + u * LANES, ds[u]);
        return;
    }
    V_UNROLL for (int u = 0; u < U; u++) {
        const bool there = g.from <= j + u && j + u < g.to;
        p[u] = there ? p[u] : v_zero();
        ds[u] = there ? ds[u] * v_set(scale) : v_zero();
        store_half(t->p + (j + u) * LANES + v * VW / 2, p[u]);
        store_half(t->ds + (j + u) * LANES + v * VW / 2, ds[u]);
    }
    V_UNROLL for (int u = 0; u < U; u += 2) v_store(t->ds_pairs + (j + u) / 2 * LANES + v * VW, pairs_of(ds[u], ds[u + 1]));
}

V_INLINE void run_tile(const bool narrow, const gradient *c, scratch *t, int64_t g, int64_t tile)
{
    const attention *a = &c->a;
    segment seg[KEYS / SUB];
    const int segments = list_segments(&t->b, tile, seg);
    if (!segments) return;
    const int from = seg[0].from, to = seg[segments - 1].to;
    const int64_t head_k = head_of_k(a, g), head_v = head_of_v(a, g);
    for (int j = from; j < to + 8; j++) { // rows behind the last repeat it: dot_tile takes up to 8 at once
        const int64_t row = tile + (j < to ? j : to - 1), sum = (row - t->b.origin) * a->D, out = row * c->dkv_stride + g * a->D;
        const key of = key_at(a, row);
        t->k[j] = j < to ? key_row(narrow, a, of, a->k_col + g * a->D, head_k, t->k_room, j) : t->k[to - 1];
        t->v[j] = j < to ? key_row(narrow, a, of, a->v_col + g * a->D, head_v, t->v_room, j) : t->v[to - 1];
        if (!c->dkv.data) continue;
        t->dk[j] = c->dkv.half ? t->dk_sum + sum : (float *)c->dkv.data + out + a->k_col;
        t->dv[j] = c->dkv.half ? t->dv_sum + sum : (float *)c->dkv.data + out + a->v_col;
    }
    if (narrow) pair_keys(t->k_pair, t->k_room, t->k, from, to, a->D);
    for (int i = 0; i < segments; i++) {
        const segment s = seg[i];
        dot_segment(narrow, s, t->p, t->k, t->b.qt, a->D, a->scale);
        dot_segment(narrow, s, t->ds, t->v, t->dot, a->D, 1.0f);
        for (int v = s.v0; v < s.v1; v++) {
            const vf lse = v_load(t->lse + v * VW), delta = v_load(t->delta + v * VW);
            const bool whole = sees_whole(&t->b, v, tile + s.from, tile + s.to);
            int j = narrow ? s.from / 4 * 4 : s.from; // pairs are of even keys
            for (; j + 4 <= s.to || (narrow && j < s.to); j += 4) weigh_back(narrow, 4, t, v, tile, j, s, whole, lse, delta, a->cap, a->scale);
            for (; j < s.to; j++) weigh_back(false, 1, t, v, tile, j, s, whole, lse, delta, a->cap, a->scale);
        }
        if (c->dkv.data) {
            gather_segment(narrow, s, t->dv, t->p, t->do_row, a->D, c->width);
            gather_segment(narrow, s, t->dk, t->ds, t->q_row, a->D, c->width);
        }
        mix_segment(narrow, s, t->dqt, narrow ? t->k_pair : t->k, narrow ? t->ds_pairs : t->ds, a->D);
    }
}

V_INLINE void run_block(const bool narrow, const gradient *c, const query_block *block, int64_t g, scratch *t)
{
    const attention *a = &c->a;
    reals d_o[LANES], dq[LANES];
    float scale[LANES];
    const float factor = narrow ? 1.0f : a->scale; // narrow: ds has it
    open_block(narrow, a, block, g, &t->b);
    for (int l = 0; l < LANES; l++) {
        const int64_t at = t->b.row[l] * a->H + t->b.head[l];
        const reals q = query_row(a, &t->b, l), o = reals_at(c->o, at * a->D);
        float *q_row = t->q_row + l * c->width, *do_row = t->do_row + l * c->width;
        const bool used = l < t->b.lanes;
        d_o[l] = reals_at(c->d_o, at * a->D);
        dq[l] = reals_at(c->dq, t->b.row[l] * a->P + a->q_col + t->b.head[l] * a->D);
        vf delta = v_zero();
        for (int64_t d = 0; d < c->width; d += VW) {
            const int64_t n = used ? at_most(VW, a->D - d) : 0;
            const vf grad = reals_load(d_o[l], d, n);
            delta = v_fma(grad, reals_load(o, d, n), delta);
            v_store(do_row + d, grad);
            v_store(q_row + d, reals_load(q, d, n) * v_set(factor));
        }
        scale[l] = factor;
        t->delta[l] = v_sum(delta);
        t->lse[l] = used ? c->lse[at] : INFINITY; // lanes behind the last: p = exp(-inf)
    }
    transpose_in(t->dot, d_o, t->b.lanes, a->D, 1.0f);
    if (narrow) {
        pair_rows(t->dot, t->dot, a->D, LANES);
        pair_rows(t->q_row, t->q_row, LANES, c->width);
        pair_rows(t->do_row, t->do_row, LANES, c->width);
    }
    memset(t->dqt, 0, (size_t)(a->D * LANES) * sizeof(float));
    for (int64_t tile = first_tile(&t->b); tile < t->b.last; tile += KEYS) run_tile(narrow, c, t, g, tile);
    transpose_out(dq, t->dqt, scale, t->b.lanes, a->D);
}

static void run_wide(const gradient *c, const query_block *block, int64_t g, scratch *t) { run_block(false, c, block, g, t); }
static void run_narrow(const gradient *c, const query_block *block, int64_t g, scratch *t) { run_block(true, c, block, g, t); }

size_t ISA(hone_cpu_attention_back_workspace)(const hone_args *args, int threads)
{
    return (size_t)threads * scratch_bytes(args);
}

static void clear_rows(reals to, int64_t stride, int64_t col, int64_t width, int64_t row, int64_t end)
{
    for (; row < end; row++) memset(reals_at(to, row * stride + col).data, 0, (size_t)(width * reals_bytes(to)));
}

// One kv head of the run of rows that begins at `row`.
static void run_task(const gradient *c, int64_t row, int64_t g, int64_t R, scratch *t)
{
    const attention *a = &c->a;
    const int64_t lanes = (at_most(a->N, row + c->run) - row) * a->r, keys = at_least(0, at_most(c->keys, R - row));
    const bool sums = c->dkv.data && c->dkv.half;
    if (sums) {
        memset(t->dk_sum, 0, (size_t)(keys * a->D) * sizeof(float));
        memset(t->dv_sum, 0, (size_t)(keys * a->D) * sizeof(float));
    }
    for (int64_t u = 0; u < lanes; u += LANES) {
        const query_block block = { (int32_t)row, (int32_t)u, (int32_t)at_most(LANES, lanes - u) };
        if (is_narrow(a)) run_narrow(c, &block, g, t);
        else run_wide(c, &block, g, t);
    }
    for (int64_t j = 0; sums && j < keys; j++) {
        const reals out = reals_at(c->dkv, (row + j) * c->dkv_stride + g * a->D);
        reals_copy(reals_at(out, a->k_col), (reals){ (char *)(t->dk_sum + j * a->D), false }, a->D);
        reals_copy(reals_at(out, a->v_col), (reals){ (char *)(t->dv_sum + j * a->D), false }, a->D);
    }
}

void ISA(hone_cpu_attention_back)(const hone_args *args, int threads)
{
    gradient c = { .a = attention_of(args, &args->in[1], &args->in[2], i32_in(args, 5), i32_in(args, 6)),
                   .o = reals_of(&args->in[3]), .d_o = reals_of(&args->in[0]), .lse = f32_in(args, 4), .dq = reals_of(&args->out[0]),
                   .dkv = reals_of(dkv_of(args)), .run = run_rows(args, hone_rows(&args->in[1])), .keys = run_keys(args) };
    const attention *a = &c.a;
    const int64_t R = hone_rows(&args->in[2]), runs = divide_up(a->N, c.run), query_end = a->q_col + a->H * a->D;
    c.width = round_up(a->D, VW);
    c.dkv_stride = args->same_kv ? a->P : a->Q;
#pragma omp parallel num_threads(worth(threads, a->N * a->G * 16384))
    {
        scratch *t = scratch_at((char *)args->workspace + (size_t)omp_get_thread_num() * scratch_bytes(args), args);
        if (args->same_kv) {
#pragma omp for schedule(static)
            for (int64_t n = 0; n < a->N; n++) {
                clear_rows(c.dq, a->P, a->k_col, a->G * a->D, n, n + 1);
                clear_rows(c.dq, a->P, a->v_col, a->G * a->D, n, n + 1);
            }
        } else {
#pragma omp for schedule(static)
            for (int64_t n = 0; n < at_least(a->N, R); n++) { // columns of q's tensor that are no query have gradient 0
                if (n < a->N) clear_rows(c.dq, a->P, 0, a->q_col, n, n + 1);
                if (n < a->N) clear_rows(c.dq, a->P, query_end, a->P - query_end, n, n + 1);
                if (n < R && c.dkv.data) clear_rows(c.dkv, a->Q, 0, a->Q, n, n + 1);
            }
        }
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < runs * a->G; i++) run_task(&c, i / a->G * c.run, i % a->G, R, t);
    }
}
