// head.c: linear_xent and linear_logprob: logits, log-sum-exp and gradients in chunks of token rows, never (N, V) at once.
//
// A chunk is up to CHUNK_ROWS rows (fewer where V is so large that its shares would not fit CHUNK_BYTES). Logits are computed
// transposed, z (V, rows): W is then the broadcast operand, read where it lies, and only the small x is made into panels.
// Vector lanes are tokens: maximum, exponential and sum run down the vocabulary without a horizontal step, and a row's bits
// do not depend on which rows share its chunk.
//
//     z       (STAT, rows) W in place          x panels of rows       per block of words: m = max, e = exp(z - m), sum e
//     dz = weight (e exp(m - lse) - onehot), KC words at a time, which stay in cache:
//     dx      (rows, C)    dz^T tiles          W panels of columns    depth V, summed over the blocks of words in order
//     dw      (V, C)       dz in place         x panels of columns    depth rows
//
// Logits live for one block of STAT words, in their thread's room. What is kept of a chunk is e, the shares within a block: one
// exponential a logit serves loss and gradients, and where dz is rounded for its products anyway, e is kept in bf16. One sweep
// over the shares serves both gradients and W's panels live for one block, so nothing is multiplied twice. The log-sum-exp is put
// together from the blocks in their order, whoever computed them: linear_logprob keeps no shares and has the same bits.
//
// In 8-bit integers gradients alone are multiplied, and dz is drawn (graph/quantize.h). A target's dz would set the scale of its
// whole block: it stays out of the product, and its rows of W and x are added in f32. Held-out loss of SmolLM2-135M behind 24 steps
// of LoRA, bf16: 2.230; integers to the nearest 2.281, the target apart 2.258, drawn as well 2.232; with logits of integers, too,
// some 0.3 % more.
#include "backend/cpu/isa/gemm.h"
#include <math.h>

enum { CHUNK_ROWS = 512, CHUNK_BYTES = 50 << 20, STAT = 224 };

typedef struct head {
    const gemm_core *core, *back; // of the logits; of the gradients
    const hone_operand *x, *w;  // (N, C) (V, C)
    int64_t C, V, blocks;       // blocks of STAT words
    int64_t lanes;              // columns of z: rows of a chunk, up to a whole panel
    bool want_entropy;
    float cap;                  // logits z become cap tanh(z / cap); 0: as they are
    char *panels;               // x of the chunk, rows side by side
    int64_t panel_bytes;        // of one of them
    float *z;                   // per thread: (STAT, lanes)
    float *max, *sum, *dot;     // (blocks, lanes): m, sum exp(z - m), sum exp(z - m) (z - m); dot only for the entropy
    float *lse, *spread;        // (lanes,) log-sum-exp; its part log sum exp(z - m) - sum p (z - m), the entropy
    char *tiles;                // per thread: tiles of STAT words, KC steps of them; NULL: w is read in place
    int64_t tile_room;
} head;

// Columns of chunks whose shares, `each` bytes, fit `bytes`.
static int64_t chunk_lanes(int64_t N, int64_t V, int64_t each, int64_t bytes)
{
    const int64_t fit = at_least(NR, bytes / (V * each) / NR * NR);
    return round_up(at_most(at_most(CHUNK_ROWS, fit), at_least(1, N)), NR);
}

// A workspace is cut in order; with base NULL this only counts.
typedef struct cutter { char *base; size_t used; } cutter;
static void *cut_bytes(cutter *space, int64_t bytes)
{
    void *part = space->base ? space->base + space->used : NULL;
    space->used += (size_t)round_up(bytes, 64);
    return part;
}
static void *cut_off(cutter *space, int64_t count) { return cut_bytes(space, count * (int64_t)sizeof(float)); }
static bool keeps_half(const hone_args *args) { return args->attr.product != HONE_f32; }
static head head_make(const hone_args *args, int64_t chunk_bytes, int threads, cutter *space)
{
    const bool integers = args->attr.product == HONE_int8, half = keeps_half(args);
    const gemm_core *core = gemm_core_of(integers ? HONE_bf16 : args->attr.product), *back = integers ? &gemm_int8_drawn : core;
    head h = { .core = core, .back = back, .x = &args->in[0], .w = &args->in[1], .C = args->in[1].dim[1], .V = args->in[1].dim[0] };
    h.blocks = divide_up(h.V, STAT);
    h.lanes = chunk_lanes(h.x->dim[0], h.V, half ? 2 : 4, chunk_bytes);
    h.cap = args->attr.cap;
    h.want_entropy = args->op == HONE_OP_linear_logprob;
    h.panel_bytes = gemm_panel_bytes(core, h.C);
    h.panels = cut_bytes(space, h.lanes / NR * h.panel_bytes);
    h.z = cut_off(space, threads * STAT * h.lanes);
    h.max = cut_off(space, h.blocks * h.lanes);
    h.sum = cut_off(space, h.blocks * h.lanes);
    h.dot = h.want_entropy ? cut_off(space, h.blocks * h.lanes) : NULL;
    h.lse = cut_off(space, h.lanes);
    h.spread = cut_off(space, h.lanes);
    const bool in_place = core->in_place && h.w->dtype == HONE_f32;
    h.tile_room = in_place ? 0 : at_least(gemm_tiles(core, STAT) * gemm_tile_bytes(core, KC), gemm_tiles(back, STAT) * gemm_tile_bytes(back, KC));
    h.tiles = in_place ? NULL : cut_bytes(space, threads * h.tile_room);
    return h;
}

// The target's part of the gradients is not in their product.
static bool is_apart(const head *h) { return h->back != h->core; }

// Everything below runs inside a parallel region: "#pragma omp for" shares the loop out and waits for all at its end.

// x of the chunk's rows, side by side
static void head_load(const head *h, const int32_t *rows, int64_t n)
{
#pragma omp for schedule(dynamic)
    for (int64_t j = 0; j < gemm_panels(n); j++)
        h->core->panel_of_rows(h->panels + j * h->panel_bytes, h->x->data, h->x->dtype, h->C, rows + j * NR, at_most(NR, n - j * NR), h->C);
}

static float *my_logits(const head *h) { return h->z + omp_get_thread_num() * STAT * h->lanes; }
static void *my_tiles(const head *h) { return h->tiles ? h->tiles + omp_get_thread_num() * h->tile_room : NULL; }

static const char *words_at(const head *h, int64_t word) { return (const char *)h->w->data + word * h->C * source_bytes(h->w->dtype); }

// Words [block STAT, ...) of z for panels [panel.from, panel.to), into z (words, lanes).
static void head_logits(const head *h, int64_t block, span panel, float *z)
{
    const int64_t from = block * STAT, words = at_most(STAT, h->V - from);
    const char *w = words_at(h, from);
    const int64_t next = at_most(h->V, (block + omp_get_num_threads()) * STAT), end = at_most(h->V, next + STAT);
    const gemm g = { .soon = gemm_soon_share(gemm_soon(words_at(h, next), words_at(h, end)), panel, gemm_panels(h->lanes)), .rows = words, .cols = h->lanes, .depth = h->C, .a = w, .lda = h->C, .dtype = h->w->dtype, .make = my_tiles(h),
                     .b = h->panels, .b_panel = h->panel_bytes, .c = z, .ldc = h->lanes };
    h->core->block(&g, (span){ 0, gemm_tiles(h->core, words) }, panel);
    if (h->cap <= 0) return;
    const vf cap = v_set(h->cap), part = v_set(1 / h->cap);
    for (int64_t v = 0; v < words; v++)
        for (int64_t lane = panel.from * NR; lane < panel.to * NR; lane += VW) {
            float *at = z + v * h->lanes + lane;
            v_store(at, cap * v_tanh(v_load(at) * part));
        }
}

// Of the product by the logit: 1 - (z / cap)^2.
static vf head_slope(const head *h, vf z)
{
    const vf part = h->cap > 0 ? z * v_set(1 / h->cap) : v_zero();
    return v_fnma(part, part, v_set(1.0f));
}

// Maximum and sums of one block, by lane, words in order. shares: where exp(z - m) goes, times the slope; absent: nowhere.
static void head_stats(const head *h, int64_t block, span panel, const float *z, reals shares)
{
    const int64_t words = at_most(STAT, h->V - block * STAT);
    for (int64_t lane = panel.from * NR; lane < panel.to * NR; lane += VW) {
        const int64_t at = block * h->lanes + lane;
        vf m = v_load(z + lane), sum = v_zero(), dot = v_zero();
        for (int64_t v = 1; v < words; v++) m = v_max(v_load(z + v * h->lanes + lane), m);
        if (h->want_entropy)
            for (int64_t v = 0; v < words; v++) {
                const vf d = v_load(z + v * h->lanes + lane) - m, e = v_exp(d);
                sum += e;
                dot = v_fma(e, d, dot);
            }
        else
            for (int64_t v = 0; v < words; v++) {
                const vf logit = v_load(z + v * h->lanes + lane), e = v_exp(logit - m);
                sum += e;
                reals_store(shares, v * h->lanes + lane, h->cap > 0 ? e * head_slope(h, logit) : e, VW);
            }
        v_store(h->max + at, m);
        v_store(h->sum + at, sum);
        if (h->want_entropy) v_store(h->dot + at, dot);
    }
}

// lse = m + log s with m the largest maximum, s = sum_b s_b exp(m_b - m).
// Entropy = log s - (1/s) sum_v exp(z - m) (z - m): no difference of large numbers.
static void head_join(const head *h, int64_t n)
{
#pragma omp for schedule(static)
    for (int64_t lane = 0; lane < n; lane += VW) {
        vf m = v_load(h->max + lane), sum = v_zero(), dot = v_zero();
        for (int64_t b = 1; b < h->blocks; b++) m = v_max(v_load(h->max + b * h->lanes + lane), m);
        for (int64_t b = 0; b < h->blocks; b++) {
            const int64_t at = b * h->lanes + lane;
            const vf d = v_load(h->max + at) - m, e = v_exp(d), s = v_load(h->sum + at);
            sum = v_fma(e, s, sum);
            if (h->want_entropy) dot = v_fma(e, v_fma(d, s, v_load(h->dot + at)), dot);
        }
        const vf ratio = dot / sum;
        for (int i = 0; i < VW; i++) {
            const float log_sum = logf(sum[i]);
            h->lse[lane + i] = m[i] + log_sum;
            if (h->want_entropy) h->spread[lane + i] = log_sum - ratio[i];
        }
    }
}

// A word's logit in a lane of the block's z; NULL: it is in another block.
static const float *logit_of(const head *h, int64_t block, const float *z, int64_t word, int64_t lane)
{
    const int64_t v = word - block * STAT;
    return v >= 0 && v < STAT ? z + v * h->lanes + lane : NULL;
}

// Panels of z that one task computes: all of them, unless there are so few blocks of words that threads would wait.
static int64_t panel_parts(const head *h, int threads)
{
    const int64_t panels = h->lanes / NR;
    int64_t parts = 1;
    while (parts < panels && h->blocks * parts < 16 * (int64_t)threads) parts *= 2;
    return at_most(parts, panels);
}

// Rows [from, from + n) of a list, so that chunks have about the same number of rows.
static span chunk_of(int64_t rows, int64_t lanes, int64_t chunk)
{
    const int64_t chunks = divide_up(rows, lanes);
    return (span){ rows * chunk / chunks, rows * (chunk + 1) / chunks };
}

// linear_logprob ----------------------------------------------------------------------------------------------------------

static int32_t *all_rows(cutter *space, int64_t N) { return cut_off(space, N); }

size_t ISA(hone_cpu_linear_logprob_workspace)(const hone_args *args, int threads)
{
    cutter space = { 0 };
    const head h = head_make(args, INT64_MAX / 2, threads, &space);
    all_rows(&space, h.x->dim[0]);
    return space.used;
}

// logprob[n, j] = z[ids[n, j]] for the ids of this block; lse is taken off when all blocks are done.
static void pick(const head *h, const hone_args *args, span rows, int64_t block, span panel, const float *z)
{
    const int64_t J = args->in[2].dim[1];
    const int64_t last = at_most(rows.to, rows.from + panel.to * NR);
    for (int64_t n = rows.from + panel.from * NR; n < last; n++)
        for (int64_t i = n * J; i < n * J + J; i++) {
            const float *logit = logit_of(h, block, z, i32_in(args, 2)[i], n - rows.from);
            if (logit) f32_out(args, 0)[i] = *logit;
        }
}

void ISA(hone_cpu_linear_logprob)(const hone_args *args, int threads)
{
    cutter space = { args->workspace, 0 };
    const head h = head_make(args, INT64_MAX / 2, threads, &space);
    int32_t *rows = all_rows(&space, h.x->dim[0]);
    const int64_t N = hone_rows(h.x), J = args->in[2].dim[1], parts = panel_parts(&h, threads), chunks = divide_up(N, h.lanes);
    for (int64_t n = 0; n < N; n++) rows[n] = (int32_t)n;
#pragma omp parallel num_threads(threads)
    for (int64_t c = 0; c < chunks; c++) {
        const span chunk = chunk_of(N, h.lanes, c);
        const int64_t n_panel = gemm_panels(chunk.to - chunk.from);
        float *z = my_logits(&h);
        head_load(&h, rows + chunk.from, chunk.to - chunk.from);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < h.blocks * parts; task++) {
            const span panel = share(n_panel, 1, (int)(task % parts), (int)parts);
            head_logits(&h, task / parts, panel, z);
            head_stats(&h, task / parts, panel, z, (reals){ 0 });
            pick(&h, args, chunk, task / parts, panel, z);
        }
        head_join(&h, chunk.to - chunk.from);
#pragma omp for schedule(static)
        for (int64_t n = chunk.from; n < chunk.to; n++) {
            const float lse = h.lse[n - chunk.from];
            for (int64_t i = n * J; i < n * J + J; i++) f32_out(args, 0)[i] -= lse;
            f32_out(args, 1)[n] = h.spread[n - chunk.from];
            f32_out(args, 2)[n] = lse;
        }
    }
}

// linear_xent -------------------------------------------------------------------------------------------------------------

typedef struct xent {
    head h;
    const int32_t *target;      // (N,)
    const float *weight;        // (N,)
    reals shares;               // (V, lanes)
    float *dz;                  // (KC, lanes)
    char *dz_tiles;             // dz^T of KC words
    char *w_panels;             // KC words of W, columns side by side
    char *x_panels;             // x of the chunk, columns side by side; only for dw
    float *lane_weight;         // (lanes,) of each row of the chunk, 0 behind the last
    float *lane_logit;          // (lanes,) the target's
    float *lane_pull;           // (lanes,) its dz
    float *factor;              // (blocks, lanes) weight exp(m - lse)
    float *dx;                  // (lanes, C): of the chunk's rows, which may lie apart in the real dx
    int32_t *rows;              // (N,) rows whose weight is not 0
    const hone_args *args;
} xent;

static xent xent_make(const hone_args *args, int threads, cutter *space)
{
    xent t = { .h = head_make(args, CHUNK_BYTES, threads, space), .args = args };
    const gemm_core *core = t.h.back;
    const int64_t lanes = t.h.lanes, C_panels = gemm_panels(t.h.C);
    t.target = i32_in(args, 2), t.weight = f32_in(args, 3);
    t.shares.half = keeps_half(args);
    t.shares.data = cut_bytes(space, t.h.V * lanes * reals_bytes(t.shares));
    t.dz = cut_off(space, KC * lanes);
    t.dz_tiles = cut_bytes(space, gemm_tiles(core, lanes) * gemm_tile_bytes(core, KC));
    t.w_panels = cut_bytes(space, C_panels * gemm_panel_bytes(core, KC));
    t.x_panels = args->out[2].present ? cut_bytes(space, C_panels * gemm_panel_bytes(core, lanes)) : NULL;
    t.lane_weight = cut_off(space, lanes);
    t.lane_logit = cut_off(space, lanes);
    t.lane_pull = cut_off(space, lanes);
    t.factor = cut_off(space, t.h.blocks * lanes);
    t.dx = cut_off(space, lanes * t.h.C);
    t.rows = cut_off(space, t.h.x->dim[0]);
    return t;
}

size_t ISA(hone_cpu_linear_xent_workspace)(const hone_args *args, int threads)
{
    cutter space = { 0 };
    xent_make(args, threads, &space);
    return space.used;
}

// The logits of targets among the words of a block.
static void xent_pick(const xent *t, span rows_of, const int32_t *rows, int64_t block, const float *z)
{
    for (int64_t i = rows_of.from; i < rows_of.to; i++) {
        const float *logit = logit_of(&t->h, block, z, t->target[rows[i]], i);
        if (logit) t->lane_logit[i] = *logit;
    }
}

// What the loss leaves for the gradients of a chunk.
static void xent_join(const xent *t, const int32_t *rows, int64_t n)
{
    const head *h = &t->h;
    float *logprob = f32_out(t->args, 0);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < h->lanes; i++) {
        t->lane_weight[i] = i < n ? t->weight[rows[i]] : 0;
        if (i >= n) continue;
        const float logit = t->lane_logit[i];
        logprob[rows[i]] = logit - h->lse[i];
        t->lane_pull[i] = t->lane_weight[i] * head_slope(h, v_set(logit))[0] * (expf(logit - h->lse[i]) - 1);
    }
#pragma omp for schedule(static)
    for (int64_t b = 0; b < h->blocks; b++)
        for (int64_t i = 0; i < n; i += VW)
            v_store(t->factor + b * h->lanes + i, v_load(t->lane_weight + i) * v_exp(v_load(h->max + b * h->lanes + i) - v_load(h->lse + i)));
}

// y += a x, n of each
static void add_row(float *y, float a, reals x, int64_t n)
{
    for (int64_t i = 0; i < n; i += VW) {
        const int64_t some = at_most(VW, n - i);
        v_store_n(y + i, v_fma(v_set(a), reals_load(x, i, some), v_load_n(y + i, some)), some);
    }
}

// dz of words [v.from, v.to), of those from `first` on. Whole words to a thread: tiles of 14 lanes would have two cores write the
// same cache line.
enum { WORDS = 16 };
static void xent_words(const xent *t, const int32_t *rows, int64_t n, int64_t first, span v)
{
    const int64_t lanes = t->h.lanes, C = t->h.C;
    const reals shares = reals_at(t->shares, v.from * lanes), x = reals_of(t->h.x);
    float *dz = t->dz + (v.from - first) * lanes, *dw = f32_out(t->args, 2);
    for (int64_t k = 0; k < v.to - v.from; k++) {
        const float *factor = t->factor + (v.from + k) / STAT * lanes;
        for (int64_t lane = 0; lane < n; lane += VW) v_store(dz + k * lanes + lane, reals_load(shares, k * lanes + lane, VW) * v_load(factor + lane));
    }
    for (int64_t i = 0; i < n; i++) {
        const int64_t word = t->target[rows[i]];
        if (word < v.from || word >= v.to) continue;
        dz[(word - v.from) * lanes + i] = is_apart(&t->h) ? 0 : t->lane_pull[i];
        if (is_apart(&t->h) && dw) add_row(dw + word * C, t->lane_pull[i], reals_at(x, rows[i] * C), C);
    }
}

// Blocks of a product, about TASK_ROWS by TASK_PANELS each; where tiles are made on the way, whole rows of C.
enum { TASK_ROWS = 112, TASK_PANELS = 8 };
static int64_t rows_parts(const gemm_core *core, const gemm *g) { return divide_up(gemm_tiles(core, g->rows), TASK_ROWS / core->rows); }
static int64_t cols_parts(const gemm *g) { return g->make ? 1 : divide_up(gemm_panels(g->cols), TASK_PANELS); }
static void run_part(const gemm_core *core, const gemm *whole, int64_t part, int64_t parts)
{
    gemm part_of = *whole, *g = &part_of;
    g->soon = gemm_soon_share(g->soon, (span){ part, part + 1 }, parts);
    core->block(g, share(gemm_tiles(core, g->rows), 1, (int)(part / cols_parts(g)), (int)rows_parts(core, g)),
                share(gemm_panels(g->cols), 1, (int)(part % cols_parts(g)), (int)cols_parts(g)));
}

// Gradients from KC words: dx += dz^T W, dw += dz x.
static void xent_block(const xent *t, const int32_t *rows, int64_t n, int64_t from)
{
    const gemm_core *core = t->h.back;
    const int64_t words = at_most(KC, t->h.V - from), C = t->h.C, n_tile = gemm_tiles(core, n), n_group = divide_up(n_tile, 4), n_panel = gemm_panels(C);
    const int64_t w_panel = gemm_panel_bytes(core, words);
    const hone_operand *w = t->h.w;
    const char *w_from = words_at(&t->h, from);
    float *dw = f32_out(t->args, 2);
#pragma omp for schedule(dynamic)
    for (int64_t v = from; v < from + words; v += WORDS) xent_words(t, rows, n, from, (span){ v, at_most(from + words, v + WORDS) });
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < n_group + n_panel; i++) {
        const int64_t j = i - n_group;
        if (j < 0)
            core->tiles_of_columns(t->dz_tiles, t->dz, HONE_f32, t->h.lanes, n, share(n_tile, 1, (int)i, (int)n_group), words, NULL);
        else
            core->panel_of_columns(t->w_panels + j * w_panel, w_from + j * NR * source_bytes(w->dtype), w->dtype, C, NULL,
                                   at_most(NR, C - j * NR), words);
    }
    const int64_t next = from + words, end = at_most(t->h.V, next + KC);
    const gemm to_dx = { .rows = n, .cols = C, .depth = words, .soon = gemm_soon(words_at(&t->h, next), words_at(&t->h, end)), .a = t->dz_tiles, .tiles = true, .b = t->w_panels,
                         .b_panel = w_panel, .c = t->dx, .ldc = C, .addend = from ? t->dx : NULL };
    const gemm to_dw = { .rows = words, .cols = C, .depth = n, .soon = gemm_soon(reals_at(t->shares, next * t->h.lanes).data, reals_at(t->shares, end * t->h.lanes).data),
                         .a = t->dz, .lda = t->h.lanes, .make = my_tiles(&t->h), .b = t->x_panels, .b_panel = gemm_panel_bytes(core, n), .c = dw + from * C, .ldc = C, .addend = dw + from * C };
    const int64_t dx_parts = rows_parts(core, &to_dx) * cols_parts(&to_dx), dw_parts = dw ? rows_parts(core, &to_dw) * cols_parts(&to_dw) : 0;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < dx_parts + dw_parts; i++) {
        if (i < dx_parts) run_part(core, &to_dx, i, dx_parts);
        else run_part(core, &to_dw, i - dx_parts, dw_parts);
    }
}

static void xent_chunk(const xent *t, const int32_t *rows, int64_t n, int64_t parts)
{
    const head *h = &t->h;
    const gemm_core *core = h->back;
    const int64_t C = h->C;
    const reals x = reals_of(h->x), w = reals_of(h->w), dx = reals_of(&t->args->out[1]), made = { (char *)t->dx, false };
    head_load(h, rows, n);
#pragma omp for schedule(dynamic)
    for (int64_t j = 0; j < (t->x_panels ? gemm_panels(C) : 0); j++)
        core->panel_of_columns(t->x_panels + j * gemm_panel_bytes(core, n), reals_at(x, j * NR).data, h->x->dtype, C, rows,
                               at_most(NR, C - j * NR), n);
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < h->blocks * parts; task++) {
        const span panel = share(gemm_panels(n), 1, (int)(task % parts), (int)parts);
        float *z = my_logits(h);
        head_logits(h, task / parts, panel, z);
        head_stats(h, task / parts, panel, z, reals_at(t->shares, task / parts * STAT * h->lanes));
        xent_pick(t, (span){ panel.from * NR, at_most(n, panel.to * NR) }, rows, task / parts, z);
    }
    head_join(h, n);
    xent_join(t, rows, n);
    for (int64_t from = 0; from < h->V; from += KC) xent_block(t, rows, n, from);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        if (is_apart(h)) add_row(t->dx + i * C, t->lane_pull[i], reals_at(w, t->target[rows[i]] * C), C);
        reals_copy(reals_at(dx, rows[i] * C), reals_at(made, i * C), C);
    }
}

void ISA(hone_cpu_linear_xent)(const hone_args *args, int threads)
{
    cutter space = { args->workspace, 0 };
    const xent t = xent_make(args, threads, &space);
    const reals dx = reals_of(&args->out[1]);
    const int64_t N = hone_rows(t.h.x), C = t.h.C, parts = panel_parts(&t.h, threads);
    int64_t used = 0;
    for (int64_t n = 0; n < N; n++) {
        if (t.weight[n] != 0) t.rows[used++] = (int32_t)n;
        else {
            f32_out(args, 0)[n] = 0;
            memset(reals_at(dx, n * C).data, 0, (size_t)(C * reals_bytes(dx)));
        }
    }
    const int64_t chunks = divide_up(used, t.h.lanes);
#pragma omp parallel num_threads(threads)
    for (int64_t c = 0; c < chunks; c++) {
        const span chunk = chunk_of(used, t.h.lanes, c);
        xent_chunk(&t, t.rows + chunk.from, chunk.to - chunk.from, parts);
    }
}

// softcap -----------------------------------------------------------------------------------------------------------------

void ISA(hone_cpu_softcap)(const hone_args *args, int threads)
{
    const float *z = f32_in(args, 0);
    float *y = f32_out(args, 0);
    const vf cap = v_set(args->attr.cap), part = v_set(1 / args->attr.cap);
    const int64_t count = hone_rows(&args->out[0]) * args->out[0].dim[1];
#pragma omp parallel num_threads(worth(threads, count * 20))
    {
        const span s = share(count, 16, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t i = s.from; i < s.to; i += VW) {
            const int64_t n = at_most(VW, s.to - i);
            v_store_n(y + i, cap * v_tanh(v_load_n(z + i, n) * part), n);
        }
    }
}
