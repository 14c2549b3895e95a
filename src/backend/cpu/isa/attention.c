// attention.c: exact attention with a running maximum (Milakov & Gimelshein 2018; Dao et al. 2022); see attention.h for the
// lay-out. Per block of queries and tile of keys:
//
//     s = k qt;  m' = max(m, s);  p = exp(s - m');  l = l exp(m - m') + sum p;  ot = ot exp(m - m') + v p
//
// then o = ot / l, lse = m + log l. Blocks are independent of each other and shared out as threads become free, the longest
// (the last of a causal run) first.
#include "backend/cpu/isa/attention.h"

typedef struct scratch { // one thread's
    lane_block b;
    float m[LANES], l[LANES];
    const float *k[KEYS + 8], *v[KEYS + 8];
    float *ot, *s; // (D, LANES), (KEYS + 8, LANES)
} scratch;

static size_t scratch_bytes(int64_t D)
{
    return (size_t)(round_up((int64_t)sizeof(scratch), 64) + (2 * D + KEYS + 8) * LANES * (int64_t)sizeof(float));
}

static scratch *scratch_at(void *place, int64_t D)
{
    scratch *t = place;
    float *data = (float *)((char *)place + round_up((int64_t)sizeof(scratch), 64));
    t->b.qt = data, t->ot = data + D * LANES, t->s = data + 2 * D * LANES;
    return t;
}

// m' = max(m, s) over a tile's segments; lanes whose maximum grew have l and ot scaled down to it
static void raise_maximum(scratch *t, const segment *seg, int segments, int64_t D)
{
    vf top[VECS];
    for (int v = 0; v < VECS; v++) top[v] = v_load(t->m + v * VW);
    for (int i = 0; i < segments; i++)
        for (int v = seg[i].v0; v < seg[i].v1; v++)
            for (int j = seg[i].from; j < seg[i].to; j++) top[v] = v_max(v_load(t->s + j * LANES + v * VW), top[v]);
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

static void run_tile(const attention *a, scratch *t, int64_t g, int64_t tile)
{
    segment seg[KEYS / SUB];
    const int segments = list_segments(&t->b, tile, seg);
    if (!segments) return;
    const int from = seg[0].from, to = seg[segments - 1].to;
    for (int j = from; j < to + 8; j++) { // rows behind the last repeat it: dot_tile takes up to 8 at once
        const float *row = j < to ? key_row(a, &t->b, tile + j) : NULL;
        t->k[j] = row ? row + a->k_col + g * a->D : t->k[to - 1];
        t->v[j] = row ? row + a->v_col + g * a->D : t->v[to - 1];
    }
    for (int i = 0; i < segments; i++) {
        dot_segment(seg[i], t->s, t->k, t->b.qt, a->D);
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
        for (int v = seg[i].v0; v < seg[i].v1; v++) {
            const vf m = v_load(t->m + v * VW), safe = v_select(v_lt(v_set(-INFINITY), m), m, v_zero());
            vf sum = v_load(t->l + v * VW);
            for (int j = seg[i].from; j < seg[i].to; j++) {
                float *at = t->s + j * LANES + v * VW;
                const vf p = v_exp(v_load(at) - safe);
                v_store(at, p);
                sum += p;
            }
            v_store(t->l + v * VW, sum);
        }
        mix_segment(seg[i], t->ot, t->v, t->s, a->D);
    }
}

static void run_block(const attention *a, const query_block *block, int64_t g, scratch *t, float *o, float *lse)
{
    float *rows[LANES], factor[LANES];
    open_block(a, block, g, &t->b);
    for (int l = 0; l < LANES; l++) t->m[l] = -INFINITY, t->l[l] = 0.0f;
    memset(t->ot, 0, (size_t)(a->D * LANES) * sizeof(float));
    for (int64_t tile = t->b.first / KEYS * KEYS; tile < t->b.last; tile += KEYS) run_tile(a, t, g, tile);
    for (int l = 0; l < LANES; l++) {
        factor[l] = t->l[l] > 0.0f ? 1.0f / t->l[l] : 0.0f;
        rows[l] = o + (t->b.row[l] * a->H + t->b.head[l]) * a->D;
        if (lse && l < t->b.lanes) lse[t->b.row[l] * a->H + t->b.head[l]] = t->m[l] + logf(t->l[l]); // no key: -inf
    }
    transpose_out(rows, t->ot, factor, t->b.lanes, a->D);
}

size_t ISA(hone_cpu_attention_workspace)(const hone_args *args, int threads)
{
    const int64_t blocks = most_blocks(args, args->in[4].present) * (int64_t)sizeof(query_block);
    return (size_t)round_up(blocks, 64) + (size_t)threads * scratch_bytes(args->attr.head_dim);
}

void ISA(hone_cpu_attention)(const hone_args *args, int threads)
{
    attention a = attention_of(args, &args->in[0], &args->in[1], i32_in(args, 2), i32_in(args, 3));
    float *o = f32_out(args, 0), *lse = f32_out(args, 1);
    if (args->in[4].present)
        a.slot = i32_in(args, 4), a.table = i32_in(args, 5), a.table_stride = args->in[5].dim[1], a.key_block = args->attr.block;
    query_block *block = args->workspace;
    const int64_t blocks = list_blocks(&a, args->attr.group_rows, block);
    char *scratches = (char *)args->workspace + round_up(most_blocks(args, a.slot != NULL) * (int64_t)sizeof *block, 64);
#pragma omp parallel num_threads(worth(threads, blocks * a.G * 65536))
    {
        scratch *t = scratch_at(scratches + (size_t)omp_get_thread_num() * scratch_bytes(a.D), a.D);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < blocks * a.G; i++) run_block(&a, &block[blocks - 1 - i / a.G], i % a.G, t, o, lse);
    }
}
