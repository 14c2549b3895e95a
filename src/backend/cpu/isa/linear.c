// linear.c: linear, linear_dx, linear_dw, their low-rank kin (lora_*) and pack on the matrix cores (gemm.h).
//
//     op         C           A                      B panels
//     linear     y  (N, M)   x  (N, K)              rows of w      form packed, streamed
//     linear_dx  dx (N, K)   dy (N, M)              columns of w   form packed_t
//     linear_dw  dw (M, K)   dy^T                   columns of x
//
// A weight in the right form is read where it lies; a plain one is made into panels block by block in the workspace, by all
// threads, before they share the products with it. Threads take tasks (a block of C each) from a common counter, so that a
// core that is slow or disturbed takes fewer; results do not depend on who takes what.
//
// A result that is stored in bf16 is summed in f32 all the same: each task makes its part of C in its thread's room, which stays
// in the second-level cache, and rounds it from there.
//
// The best core multiplies, but for the streamed form: it is of the core whose panels have the least bytes, because with few rows
// a weight's way from memory is all that counts. Where many rows meet it (a prompt), a better core makes panels of its own from it.
#include "backend/cpu/isa/gemm.h"
#include <string.h>

enum { TASK_ROWS = 128, TASK_PANELS = 512 / NR, COLS_A_ROW = 4, PANEL_BLOCK_BYTES = 4 << 20, MANY_ROWS = 64 };

// How many threads a product pays for: a fork and join costs about as much as 100,000 fused products.
static int product_threads(int threads, double products) { return (int)at_least(1, at_most(threads, (int64_t)(products / 1e5))); }

// Cuts C into tasks of about TASK_ROWS x TASK_PANELS, smaller ones until each thread has eight. With `makes`, each task makes
// tiles of A's rows for itself: it takes whole rows of C, or of few rows at least COLS_A_ROW times as many columns.
// Whole rows are cut in ever smaller parts towards the end, so that cores that are not equally fast end together.
typedef struct cut { int64_t tiles, panels, row_parts, col_parts; int64_t most, threads; } cut;
static int64_t task_tiles(const gemm_core *core) { return TASK_ROWS / core->rows; }
static span ending_part(const cut *t, int64_t part)
{
    span s = { 0, 0 };
    for (int64_t i = 0; i <= part; i++) {
        const int64_t left = t->tiles - s.to, fair = left / (2 * t->threads);
        s = (span){ s.to, s.to + at_most(left, at_least(divide_up(t->most, 3), at_most(t->most, fair))) };
    }
    return s;
}
static cut cut_tasks(const gemm_core *core, int64_t rows, int64_t panels, bool makes, int threads)
{
    const int64_t tiles = gemm_tiles(core, rows), most_cols = makes ? at_least(1, panels * NR / (COLS_A_ROW * rows)) : panels;
    cut t = { .tiles = tiles, .panels = panels, .row_parts = divide_up(tiles, task_tiles(core)), .col_parts = at_most(most_cols, divide_up(panels, TASK_PANELS)) };
    while (t.row_parts * t.col_parts < 8 * (int64_t)threads) {
        const bool more_rows = t.row_parts < t.tiles, more_cols = t.col_parts < most_cols;
        if (more_cols && (!more_rows || t.panels / t.col_parts * NR > t.tiles / t.row_parts * core->rows))
            t.col_parts = at_most(2 * t.col_parts, most_cols);
        else if (more_rows) t.row_parts = at_most(2 * t.row_parts, t.tiles);
        else break;
    }
    if (most_cols == 1) {
        t.most = divide_up(t.tiles, t.row_parts), t.threads = threads;
        for (t.row_parts = 0; ending_part(&t, t.row_parts).from < tiles; t.row_parts++) {}
    }
    return t;
}
// half: where C is rounded to, g->c being the thread's room; or NULL. low: a product of the same rows and columns that is added
// while C is in the cache; or NULL.
static void run_task(const gemm_core *core, const gemm *whole, const gemm *low, const cut *t, int64_t task, int64_t first_panel, const reals *half)
{
    gemm g = *whole;
    span tile = t->threads ? ending_part(t, task) : share(t->tiles, 1, (int)(task / t->col_parts), (int)t->row_parts);
    span panel = share(t->panels, 1, (int)(task % t->col_parts), (int)t->col_parts);
    panel.from += first_panel, panel.to += first_panel;
    const int64_t from = gemm_tile_row(core, g.rows, tile.from), to = gemm_tile_row(core, g.rows, tile.to);
    if (half) g.c -= from * g.ldc;
    core->block(&g, tile, panel);
    if (low) {
        gemm l = *low;
        l.c = g.c, l.addend = g.c, l.make = g.make;
        core->block(&l, tile, panel);
    }
    for (int64_t row = half ? from : to; row < to; row++) {
        const int64_t at = row * g.ldc + panel.from * NR;
        reals_copy(reals_at(*half, at), (reals){ (char *)(g.c + at), false }, at_most(g.cols, panel.to * NR) - panel.from * NR);
    }
}

// Forms -----------------------------------------------------------------------------------------------------------------

// A packed form is of the numbers that the product is made in.
static const gemm_core *core_of_form(hone_form form, hone_dtype dtype) { return form == HONE_FORM_STREAMED ? gemm_stream_core_of(dtype) : gemm_core_of(dtype); }

// Panels of a weight (M, K): features side by side (packed, streamed) or inputs side by side (packed_t).
static int64_t form_panels(hone_form form, int64_t M, int64_t K) { return gemm_panels(form == HONE_FORM_PACKED_T ? K : M); }
static int64_t form_depth(hone_form form, int64_t M, int64_t K) { return form == HONE_FORM_PACKED_T ? M : K; }

size_t ISA(hone_cpu_form_bytes)(hone_form form, hone_dtype dtype, int64_t M, int64_t K)
{
    if (dtype != HONE_f32 && dtype != HONE_bf16 && (dtype != HONE_int8 || form == HONE_FORM_PLAIN)) return 0; // integers need scales
    if (form == HONE_FORM_PLAIN) return (size_t)(M * K * source_bytes(dtype));
    return (size_t)(form_panels(form, M, K) * gemm_panel_bytes(core_of_form(form, dtype), form_depth(form, M, K)));
}

// Panel j of a plain weight (M, K) for y = x w^T (of its rows) or dx = dy w (of its columns).
static void weight_panel(const gemm_core *core, void *panel, const hone_operand *w, hone_form form, int64_t j)
{
    const int64_t M = w->dim[0], K = w->dim[1], bytes = source_bytes(w->dtype);
    const char *data = w->data;
    if (form == HONE_FORM_PACKED_T) core->panel_of_columns(panel, data + j * NR * bytes, w->dtype, K, NULL, at_most(NR, K - j * NR), M);
    else core->panel_of_rows(panel, data + j * NR * K * bytes, w->dtype, K, NULL, at_most(NR, M - j * NR), K);
}

// A weight kept in blocks is decoded piece by piece, each thread in room of its own: a row, a panel's rows, or so many columns as
// are whole blocks and whole panels (all are powers of two).
static int64_t piece_columns(hone_dtype dtype) { return hone_dtype_is_blocked(dtype) ? at_least(NR, hone_blocks_about(hone_dtype_blocks(dtype))->elements) : NR; }
static bool in_pieces(const hone_args *args) { return hone_dtype_is_blocked(args->in[0].dtype) || args->in[1].present; }
static int64_t piece_floats(const hone_args *args)
{
    const hone_operand *w = &args->in[0];
    const hone_form form = args->out[0].form;
    if (!in_pieces(args)) return 0;
    return round_up(form == HONE_FORM_PACKED_T ? w->dim[0] * piece_columns(w->dtype) : (form == HONE_FORM_PLAIN ? 1 : NR) * w->dim[1], 16);
}
size_t ISA(hone_cpu_pack_workspace)(const hone_args *args, int threads) { return (size_t)(threads * piece_floats(args)) * sizeof(float); }

// y (n, width) += scale b a, J of b's columns (n, J) and of a's rows, lda apart
static void add_low(float *y, int64_t n, int64_t width, const float *b, const float *a, int64_t lda, int64_t J, float scale)
{
    enum { TOGETHER = VW < 16 ? 8 : 16 };
    for (int64_t k = 0; k < width; k += VW) {
        const int64_t few = at_most(VW, width - k);
        for (int64_t from = 0; from < J; from += TOGETHER) {
            const int64_t some = at_most(TOGETHER, J - from);
            vf rows[TOGETHER];
            V_UNROLL for (int64_t j = 0; j < TOGETHER; j++) rows[j] = j < some ? v_set(scale) * v_load_n(a + (from + j) * lda + k, few) : v_zero();
            for (int64_t i = 0; i < n; i++) {
                vf sum = v_load_n(y + i * width + k, few);
                const float *factor = b + i * J + from;
                if (some == TOGETHER)
                    V_UNROLL for (int j = 0; j < TOGETHER; j++) sum = v_fma(v_set(factor[j]), rows[j], sum);
                else
                    for (int64_t j = 0; j < some; j++) sum = v_fma(v_set(factor[j]), rows[j], sum);
                v_store_n(y + i * width + k, sum, few);
            }
        }
    }
}

// Rows [row, row + n) and of those columns [column, column + width) of the weight's low-rank change, added to y (n, width).
static void add_change(const hone_args *args, int64_t row, int64_t n, int64_t column, int64_t width, float *y)
{
    const hone_operand *b = &args->in[1], *a = &args->in[2];
    const int64_t J = b->dim[1], K = a->dim[1];
    for (int64_t u = 0, part = 0; u < args->attr.parts; part += args->attr.part_rows[u++]) {
        const int64_t begin = args->attr.part_col[u], from = at_least(row, begin), to = at_most(row + n, begin + args->attr.part_rows[u]);
        if (from < to)
            add_low(y + (from - row) * width, to - from, width, (const float *)b->data + (part + from - begin) * J, (const float *)a->data + u * J * K + column, K, J,
                    args->attr.scale);
    }
}

// Rows [row, row + n) and of those columns [column, column + width), which begin and end with a block, as a plain (n, width).
static hone_operand piece(const hone_args *args, int64_t row, int64_t n, int64_t column, int64_t width, float *room)
{
    const hone_operand *w = &args->in[0];
    const bool blocked = hone_dtype_is_blocked(w->dtype);
    const hone_blocks blocks = hone_dtype_blocks(w->dtype);
    const size_t row_bytes = blocked ? hone_blocks_bytes(blocks, w->dim[1]) : 0, at = blocked ? hone_blocks_bytes(blocks, column) : 0;
    for (int64_t i = 0; i < n; i++)
        if (blocked) hone_blocks_decode(blocks, (const char *)w->data + (size_t)(row + i) * row_bytes + at, width, room + i * width);
        else reals_copy((reals){ (char *)(room + i * width), false }, reals_at(reals_of(w), (row + i) * w->dim[1] + column), width);
    if (args->in[1].present) add_change(args, row, n, column, width, room);
    return (hone_operand){ .data = room, .dtype = HONE_f32, .rank = 2, .dim = { n, width }, .present = true };
}

static void pack_pieces(const hone_args *args, const gemm_core *core, int64_t panels, int64_t bytes, int threads)
{
    const hone_operand *w = &args->in[0], *f = &args->out[0];
    const int64_t M = w->dim[0], K = w->dim[1], columns = f->form == HONE_FORM_PACKED_T ? piece_columns(w->dtype) : NR, together = columns / NR;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t first = 0; first < panels; first += together) {
        float *room = (float *)args->workspace + omp_get_thread_num() * piece_floats(args);
        const hone_operand part = f->form == HONE_FORM_PACKED_T ? piece(args, 0, M, first * NR, at_most(columns, K - first * NR), room)
                                                                : piece(args, first * NR, at_most(NR, M - first * NR), 0, K, room);
        for (int64_t j = 0; j < at_most(together, panels - first); j++) weight_panel(core, (char *)f->data + (first + j) * bytes, &part, f->form, j);
    }
}

// The numbers of a weight, or of one row in the thread's room, as plain ones.
static void pack_plain(const hone_args *args, int threads)
{
    const hone_operand *w = &args->in[0], *f = &args->out[0];
    const int64_t M = w->dim[0], K = w->dim[1];
    const bool apart = in_pieces(args);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t m = 0; m < M; m++) {
        const hone_operand row = apart ? piece(args, m, 1, 0, K, (float *)args->workspace + omp_get_thread_num() * piece_floats(args)) : *w;
        for (int64_t i = m * K; i < m * K + K; i++) {
            const int64_t from = apart ? i - m * K : i;
            const float v = row.dtype == HONE_bf16 ? hone_bf16_to_f32(((const uint16_t *)row.data)[from]) : ((const float *)row.data)[from];
            if (f->dtype == HONE_bf16) ((uint16_t *)f->data)[i] = hone_f32_to_bf16(v);
            else ((float *)f->data)[i] = v;
        }
    }
}

void ISA(hone_cpu_pack)(const hone_args *args, int threads)
{
    const hone_operand *w = &args->in[0], *f = &args->out[0];
    const int64_t M = w->dim[0], K = w->dim[1];
    threads = worth(threads, M * K * 8);
    if (f->form == HONE_FORM_PLAIN) {
        pack_plain(args, threads);
        return;
    }
    const gemm_core *core = core_of_form(f->form, f->dtype);
    const int64_t panels = form_panels(f->form, M, K), bytes = gemm_panel_bytes(core, form_depth(f->form, M, K));
    if (in_pieces(args)) {
        pack_pieces(args, core, panels, bytes, threads);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t j = 0; j < panels; j++) weight_panel(core, (char *)f->data + j * bytes, w, f->form, j);
}

// y = x w^T and dx = dy w ------------------------------------------------------------------------------------------------

// How a product runs: on which core, whether panels are made first (of a plain weight; of a streamed one for a better core),
// how many at a time, and whether A goes through tiles: those of few rows are made once, which all tasks read; of many rows each
// task makes its own. Rows are the bound where space is planned, the live ones in a run.
typedef struct product_plan {
    const gemm_core *core;
    bool panels;            // are made in the workspace
    int64_t at_once;        // how many
    bool once, tiles;       // A's tiles are made once; by each task
    int64_t panel_bytes, panel_room, once_room, tile_room; // of one panel; of all made at a time; of tiles made once; of a thread's
    int64_t half_room;      // of a thread's part of a result in bf16
} product_plan;

// Tiles pay where at least two of them for each thread share many columns; a core that reads nothing else has no choice.
enum { TILES_PAY_COLS = 256 };
static bool any_half_rows(const hone_args *args) { return args->in[0].dtype == HONE_bf16 || (args->op == HONE_OP_lora_linear && args->in[2].dtype == HONE_bf16); }
static product_plan plan_product(const hone_args *args, int64_t rows, int64_t cols, int64_t depth, int threads)
{
    const hone_operand *w = &args->in[1];
    const hone_dtype product = args->attr.product;
    const bool streamed = w->form == HONE_FORM_STREAMED;
    product_plan p = { .core = streamed && rows < MANY_ROWS ? gemm_stream_core_of(product) : gemm_core_of(product) };
    p.panels = w->form == HONE_FORM_PLAIN || (streamed && p.core != gemm_stream_core_of(product));
    const bool through_tiles = !p.core->in_place || any_half_rows(args) || (rows >= 4 * p.core->rows * threads && cols >= TILES_PAY_COLS);
    p.once = through_tiles && rows < MANY_ROWS && args->op != HONE_OP_lora_linear; // that one has two A
    p.tiles = through_tiles && !p.once;
    p.panel_bytes = gemm_panel_bytes(p.core, depth);
    p.at_once = p.panels ? at_least(1, at_most(gemm_panels(cols), PANEL_BLOCK_BYTES / p.panel_bytes)) : gemm_panels(cols);
    p.panel_room = p.panels ? round_up(p.at_once * p.panel_bytes, 64) : 0;
    p.once_room = p.once ? round_up(gemm_tiles(p.core, rows) * gemm_tile_bytes(p.core, depth), 64) : 0;
    p.tile_room = p.tiles ? task_tiles(p.core) * gemm_tile_bytes(p.core, KC) : 0;
    p.half_room = args->out[0].dtype == HONE_bf16 ? round_up(at_most(rows, task_tiles(p.core) * p.core->rows) * cols * (int64_t)sizeof(float), 64) : 0;
    return p;
}
static size_t multiply_workspace(const hone_args *args, int64_t cols, int64_t depth, int threads)
{
    const int64_t bound = args->in[0].dim[0], rows[] = { 1, at_most(bound, MANY_ROWS - 1), bound };
    int64_t most = 0;
    for (int i = 0; i < 3; i++) {
        const product_plan p = plan_product(args, rows[i], cols, depth, threads);
        most = at_least(most, p.panel_room + p.once_room + threads * (p.tile_room + p.half_room));
    }
    return (size_t)most;
}

// Tiles of all rows, every depth block.
static void make_tiles(const gemm_core *core, const gemm *g, char *to)
{
    const int64_t tiles = gemm_tiles(core, g->rows), blocks = divide_up(g->depth, KC);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < blocks * tiles; i++) {
        const int64_t k = i / tiles * KC, tile = i % tiles, depth = at_most(KC, g->depth - k);
        core->tiles_of_rows(to + tiles * gemm_tile_bytes(core, k) + tile * gemm_tile_bytes(core, depth), (const char *)g->a + k * source_bytes(g->dtype),
                            g->dtype, g->lda, g->rows, (span){ tile, tile + 1 }, depth);
    }
}

// low: lora_linear's second product, whose panels `factors` are made from first, in `low->b`; NULL: none.
static void multiply(gemm g, const gemm *low, const hone_operand *factors, const hone_args *args, hone_form form, int threads)
{
    const hone_operand *w = &args->in[1];
    const product_plan p = plan_product(args, g.rows, g.cols, g.depth, threads);
    const int64_t panels = gemm_panels(g.cols);
    const reals c = reals_of(&args->out[0]);
    char *made = args->workspace, *once = made + p.panel_room, *room = once + p.once_room, *half_room = room + threads * p.tile_room;
    if (!g.rows) return;
    threads = product_threads(threads, (double)g.rows * (double)g.cols * (double)g.depth);
    g.b_panel = p.panel_bytes;
    for (int64_t j = 0; low && j < panels; j++) weight_panel(p.core, (char *)(uintptr_t)low->b + j * low->b_panel, factors, HONE_FORM_PACKED, j);
#pragma omp parallel num_threads(threads) firstprivate(g)
    for (int64_t first = 0; first < panels; first += p.at_once) {
        const int64_t many = at_most(p.at_once, panels - first);
        const cut t = cut_tasks(p.core, g.rows, many, p.tiles, threads);
        g.b = w->data;
        g.make = p.tiles ? room + omp_get_thread_num() * p.tile_room : NULL;
        g.c = (float *)(c.half ? half_room + omp_get_thread_num() * p.half_room : c.data);
        if (p.once && first == 0) {
            make_tiles(p.core, &g, once);
            g.a = once, g.tiles = true;
        }
        if (p.panels) {
            g.b = made - first * g.b_panel;
#pragma omp for schedule(dynamic)
            for (int64_t j = 0; j < many; j++) {
                char *panel = made + j * g.b_panel;
                if (w->form == HONE_FORM_PLAIN) weight_panel(p.core, panel, w, form, first + j);
                else p.core->panel_of_columns(panel, (float *)w->data + (first + j) * NR * g.depth, HONE_f32, NR, NULL, NR, g.depth);
            }
        }
#pragma omp for schedule(dynamic) // its barrier keeps the panels until all have used them
        for (int64_t task = 0; task < t.row_parts * t.col_parts; task++) run_task(p.core, &g, low, &t, task, first, c.half ? &c : NULL);
    }
}

size_t ISA(hone_cpu_linear_workspace)(const hone_args *args, int threads)
{
    return multiply_workspace(args, args->in[1].dim[0], args->in[1].dim[1], threads);
}
void ISA(hone_cpu_linear)(const hone_args *args, int threads)
{
    const hone_operand *x = &args->in[0], *w = &args->in[1];
    const int64_t M = w->dim[0], K = w->dim[1];
    const gemm g = { .rows = hone_rows(x), .cols = M, .depth = K, .a = x->data, .lda = K, .dtype = x->dtype, .ldc = M,
                     .bias = f32_in(args, 2), .addend = f32_in(args, 3) };
    multiply(g, NULL, NULL, args, HONE_FORM_PACKED, threads);
}

size_t ISA(hone_cpu_linear_dx_workspace)(const hone_args *args, int threads)
{
    return multiply_workspace(args, args->in[1].dim[1], args->in[1].dim[0], threads);
}
void ISA(hone_cpu_linear_dx)(const hone_args *args, int threads)
{
    const hone_operand *dy = &args->in[0], *w = &args->in[1];
    const int64_t M = w->dim[0], K = w->dim[1];
    const gemm g = { .rows = hone_rows(dy), .cols = K, .depth = M, .a = dy->data, .lda = M, .dtype = dy->dtype, .ldc = K,
                     .addend = f32_in(args, 2) };
    multiply(g, NULL, NULL, args, HONE_FORM_PACKED_T, threads);
}

// y = x w^T + t f^T --------------------------------------------------------------------------------------------------------
//
// f (M, R) holds the parts' factors b side by side, scaled, zeros between them: a second product of depth R on the same block of
// C while it is in the cache. It and its panels are made anew at each run: a hundredth of the work at 2048 rows.

static int64_t spread_bytes(int64_t M, int64_t R) { return round_up(M * R * (int64_t)sizeof(float), 64); }
static hone_operand spread_factors(const hone_args *args, const hone_operand *b, int64_t M)
{
    const int64_t J = b->dim[1], R = J * args->attr.parts;
    const hone_operand f = { .data = args->workspace, .dtype = HONE_f32, .rank = 2, .dim = { M, R }, .present = true };
    const float *from = b->data;
    memset(f.data, 0, (size_t)(M * R) * sizeof(float));
    for (int64_t u = 0; u < args->attr.parts; u++) {
        float *to = (float *)f.data + args->attr.part_col[u] * R + u * J;
        for (int64_t i = 0; i < args->attr.part_rows[u]; i++, to += R, from += J)
            for (int64_t j = 0; j < J; j++) to[j] = args->attr.scale * from[j];
    }
    return f;
}
// The operands of a plain product with f: what is left of the workspace is its own.
static hone_args product_with(const hone_args *args, const hone_operand *x, const hone_operand *f)
{
    hone_args a = *args;
    a.in[0] = *x, a.in[1] = *f;
    a.workspace = (char *)args->workspace + spread_bytes(f->dim[0], f->dim[1]);
    return a;
}

static int64_t low_room(const hone_args *args, int64_t M, int64_t R)
{
    const gemm_core *few = gemm_stream_core_of(args->attr.product), *many = gemm_core_of(args->attr.product);
    return round_up(gemm_panels(M) * at_least(gemm_panel_bytes(few, R), gemm_panel_bytes(many, R)), 64);
}
size_t ISA(hone_cpu_lora_linear_workspace)(const hone_args *args, int threads)
{
    const int64_t M = args->in[1].dim[0], R = args->in[2].dim[1];
    return (size_t)(spread_bytes(M, R) + low_room(args, M, R)) + multiply_workspace(args, M, args->in[1].dim[1], threads);
}
void ISA(hone_cpu_lora_linear)(const hone_args *args, int threads)
{
    const hone_operand *x = &args->in[0], *w = &args->in[1], *t = &args->in[2];
    const int64_t M = w->dim[0], K = w->dim[1], R = t->dim[1];
    const hone_operand f = spread_factors(args, &args->in[3], M);
    const gemm g = { .rows = hone_rows(x), .cols = M, .depth = K, .a = x->data, .lda = K, .dtype = x->dtype, .ldc = M,
                     .bias = f32_in(args, 4), .addend = f32_in(args, 5) };
    hone_args rest = product_with(args, x, w);
    rest.workspace = (char *)args->workspace + spread_bytes(M, R) + low_room(args, M, R);
    const product_plan p = plan_product(&rest, g.rows, M, K, threads);
    const gemm low = { .rows = g.rows, .cols = M, .depth = R, .a = t->data, .lda = R, .dtype = t->dtype, .ldc = M,
                       .b = (char *)args->workspace + spread_bytes(M, R), .b_panel = gemm_panel_bytes(p.core, R) };
    multiply(g, &low, &f, &rest, HONE_FORM_PACKED, threads);
}

size_t ISA(hone_cpu_lora_dt_workspace)(const hone_args *args, int threads)
{
    const int64_t M = args->in[0].dim[1], R = args->out[0].dim[1];
    const hone_operand f = { .dtype = HONE_f32, .rank = 2, .dim = { M, R }, .present = true };
    hone_args rest = *args;
    rest.in[1] = f;
    return (size_t)spread_bytes(M, R) + multiply_workspace(&rest, R, M, threads);
}
void ISA(hone_cpu_lora_dt)(const hone_args *args, int threads)
{
    const hone_operand *dy = &args->in[0];
    const int64_t M = dy->dim[1], R = args->out[0].dim[1];
    const hone_operand f = spread_factors(args, &args->in[1], M);
    const hone_args rest = product_with(args, dy, &f);
    const gemm g = { .rows = hone_rows(dy), .cols = R, .depth = M, .a = dy->data, .lda = M, .dtype = dy->dtype, .ldc = R };
    multiply(g, NULL, NULL, &rest, HONE_FORM_PACKED_T, threads);
}

// dw += dy^T x, db += column sums of dy ------------------------------------------------------------------------------------
//
// Depth is the token rows. For KC of them at a time: dy into tiles (which sums db on the way), x into panels, then all of dw
// is updated from the two; dw passes through the caches once per KC rows, hidden behind 2 KC operations an element.

// Columns of dy and x, ldy and ldx apart from row to row.
typedef struct dw_product { int64_t N, M, K, ldy, ldx; reals dy, x; float *dw, *db; } dw_product;

static int64_t dw_tile_room(const gemm_core *core, int64_t M) { return round_up(gemm_tiles(core, M) * gemm_tile_bytes(core, KC), 64); }
static size_t dw_workspace(const gemm_core *core, int64_t M, int64_t K) { return (size_t)(dw_tile_room(core, M) + gemm_panels(K) * gemm_panel_bytes(core, KC)); }
static hone_dtype dtype_of(reals r) { return r.half ? HONE_bf16 : HONE_f32; }
// Addresses of the depth block's rows from row n on, `width` columns each: megabytes that would come from memory while nobody
// multiplies (3 % of dw's time). Empty where the columns are a part of a row's.
static span next_rows(const dw_product *p, reals of, int64_t ld, int64_t width, int64_t n)
{
    if (ld != width || n >= p->N) return (span){ 0, 0 };
    return gemm_soon(reals_at(of, n * ld).data, reals_at(of, at_most(p->N, n + KC) * ld).data);
}
static void multiply_dw(const gemm_core *core, const dw_product *p, void *workspace, int threads)
{
    enum { TILES_TOGETHER = 8 };
    const int64_t N = p->N, M = p->M, K = p->K;
    char *tiles = workspace, *panels = tiles + dw_tile_room(core, M);
    const int64_t n_panel = gemm_panels(K), n_tile = gemm_tiles(core, M);
    if (!N) return;
    threads = product_threads(threads, (double)N * (double)M * (double)K);
#pragma omp parallel num_threads(threads)
    for (int64_t n = 0; n < N; n += KC) {
        const int64_t depth = at_most(KC, N - n), groups = divide_up(n_tile, TILES_TOGETHER), panel_bytes = gemm_panel_bytes(core, depth);
        gemm g = { .rows = M, .cols = K, .depth = depth, .a = tiles, .tiles = true, .b = panels, .b_panel = panel_bytes,
                         .c = p->dw, .ldc = K, .addend = p->dw };
        const cut t = cut_tasks(core, M, n_panel, false, threads);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < groups + n_panel; i++) {
            if (i < groups) {
                const span some = { i * TILES_TOGETHER, at_most(n_tile, (i + 1) * TILES_TOGETHER) };
                core->tiles_of_columns(tiles, reals_at(p->dy, n * p->ldy).data, dtype_of(p->dy), p->ldy, M, some, depth, p->db);
            } else {
                const int64_t j = i - groups;
                core->panel_of_columns(panels + j * panel_bytes, reals_at(p->x, n * p->ldx + j * NR).data, dtype_of(p->x), p->ldx, NULL, at_most(NR, K - j * NR), depth);
            }
        }
        const int64_t tasks = t.row_parts * t.col_parts;
        const span soon[2] = { next_rows(p, p->dy, p->ldy, M, n + depth), next_rows(p, p->x, p->ldx, K, n + depth) };
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < tasks; task++) {
            g.soon = gemm_soon_share(soon[task % 2], (span){ task / 2, task / 2 + 1 }, divide_up(tasks, 2));
            run_task(core, &g, NULL, &t, task, 0, NULL);
        }
    }
}

size_t ISA(hone_cpu_linear_dw_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    return dw_workspace(gemm_core_of(args->attr.product), args->in[0].dim[1], args->in[1].dim[1]);
}
void ISA(hone_cpu_linear_dw)(const hone_args *args, int threads)
{
    const int64_t M = args->in[0].dim[1], K = args->in[1].dim[1];
    const dw_product p = { .N = hone_rows(&args->in[0]), .M = M, .K = K, .ldy = M, .ldx = K, .dy = reals_of(&args->in[0]), .x = reals_of(&args->in[1]),
                           .dw = args->out[0].data, .db = f32_out(args, 1) };
    multiply_dw(gemm_core_of(args->attr.product), &p, args->workspace, threads);
}

// db += scale dy^T t. Made as (t^T dy)^T: the few columns of t are the tiles and the many of dy the panels, which are copies of its
// rows. A part's product is summed in the workspace, then scaled and turned.
static int64_t part_rows_most(const hone_attr *attr)
{
    int64_t most = 0;
    for (int u = 0; u < attr->parts; u++) most = at_least(most, attr->part_rows[u]);
    return most;
}
size_t ISA(hone_cpu_lora_dw_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    const int64_t M = part_rows_most(&args->attr), J = args->out[0].dim[1];
    return (size_t)spread_bytes(M, J) + dw_workspace(gemm_core_of(args->attr.product), J, M);
}
void ISA(hone_cpu_lora_dw)(const hone_args *args, int threads)
{
    const int64_t M = args->in[0].dim[1], R = args->in[1].dim[1], J = args->out[0].dim[1];
    const reals dy = reals_of(&args->in[0]), t = reals_of(&args->in[1]);
    float *sum = args->workspace, *db = args->out[0].data;
    char *rest = (char *)args->workspace + spread_bytes(part_rows_most(&args->attr), J);
    for (int64_t u = 0; u < args->attr.parts; u++) {
        const int64_t rows = args->attr.part_rows[u];
        const dw_product p = { .N = hone_rows(&args->in[0]), .M = J, .K = rows, .ldy = R, .ldx = M, .dy = reals_at(t, u * J),
                               .x = reals_at(dy, args->attr.part_col[u]), .dw = sum };
        memset(sum, 0, (size_t)(rows * J) * sizeof *sum);
        multiply_dw(gemm_core_of(args->attr.product), &p, rest, threads);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < J; j++) db[i * J + j] += args->attr.scale * sum[j * rows + i];
        db += rows * J;
    }
}
