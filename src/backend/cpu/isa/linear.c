// linear.c: linear, linear_dx, linear_dw and pack on the matrix core (gemm.h).
//
//     op         C           A                      B panels
//     linear     y  (N, M)   x  (N, K)              rows of w      form packed
//     linear_dx  dx (N, K)   dy (N, M)              columns of w   form packed_t
//     linear_dw  dw (M, K)   dy^T                   columns of x
//
// A weight in the right form is read where it lies; a plain one is made into panels block by block in the workspace, by all
// threads, before they share the products with it. Threads take tasks (a block of C each) from a common counter, so that a
// core that is slow or disturbed takes fewer; results do not depend on who takes what.
#include "backend/cpu/isa/gemm.h"

enum { TASK_TILES = 8, TASK_PANELS = 512 / NR, PANEL_BLOCK_BYTES = 4 << 20 };

// How many threads a product pays for: a fork and join costs about as much as 100,000 fused products.
static int product_threads(int threads, double products) { return (int)at_least(1, at_most(threads, (int64_t)(products / 1e5))); }

// Cuts C into tasks of about TASK_TILES x TASK_PANELS, smaller ones until each thread has eight; with `whole`, tasks take whole
// rows of C (what was made of A for them is then used by all columns).
typedef struct cut { int64_t tiles, panels, row_parts, col_parts; } cut;
static cut cut_tasks(int64_t rows, int64_t panels, bool whole, int threads)
{
    cut t = { gemm_tiles(rows), panels, divide_up(gemm_tiles(rows), TASK_TILES), whole ? 1 : divide_up(panels, TASK_PANELS) };
    while (t.row_parts * t.col_parts < 8 * (int64_t)threads) {
        const bool more_rows = t.row_parts < t.tiles, more_cols = !whole && t.col_parts < t.panels;
        if (more_cols && (!more_rows || t.panels / t.col_parts * NR > t.tiles / t.row_parts * MR))
            t.col_parts = at_most(2 * t.col_parts, t.panels);
        else if (more_rows) t.row_parts = at_most(2 * t.row_parts, t.tiles);
        else break;
    }
    if (whole) t.row_parts = at_most(t.tiles, round_up(t.row_parts, threads)); // equal cores end together
    return t;
}
static void run_task(const gemm *g, const cut *t, int64_t task, int64_t first_panel)
{
    span tile = share(t->tiles, 1, (int)(task / t->col_parts), (int)t->row_parts);
    span panel = share(t->panels, 1, (int)(task % t->col_parts), (int)t->col_parts);
    panel.from += first_panel, panel.to += first_panel;
    gemm_block(g, tile, panel);
}

// Forms -----------------------------------------------------------------------------------------------------------------

// Floats of the panels of a weight (M, K): features side by side (packed) or inputs side by side (packed_t).
static int64_t panel_floats(hone_form form, int64_t M, int64_t K)
{
    return form == HONE_FORM_PACKED ? gemm_panels(M) * NR * K : gemm_panels(K) * NR * M;
}
// Panels are f32 whatever the weight's dtype: they feed f32 products.
size_t ISA(hone_cpu_form_bytes)(hone_form form, hone_dtype dtype, int64_t M, int64_t K)
{
    if (dtype != HONE_f32 && dtype != HONE_bf16) return 0;
    if (form == HONE_FORM_PLAIN) return (size_t)(M * K) * (dtype == HONE_bf16 ? 2 : 4);
    return (size_t)panel_floats(form, M, K) * sizeof(float);
}

// Panel j of a plain weight (M, K) for y = x w^T (of its rows) or dx = dy w (of its columns).
static void weight_panel(float *panel, const hone_operand *w, hone_form form, int64_t j)
{
    const int64_t M = w->dim[0], K = w->dim[1], bytes = w->dtype == HONE_bf16 ? 2 : 4;
    const char *data = w->data;
    if (form == HONE_FORM_PACKED)
        panel_of_rows(panel, data + j * NR * K * bytes, w->dtype, K, NULL, at_most(NR, M - j * NR), K);
    else panel_of_columns(panel, data + j * NR * bytes, w->dtype, K, NULL, at_most(NR, K - j * NR), M);
}

void ISA(hone_cpu_pack)(const hone_args *args, int threads)
{
    const hone_operand *w = &args->in[0], *f = &args->out[0];
    const int64_t M = w->dim[0], K = w->dim[1];
    threads = worth(threads, M * K * 8);
    if (f->form == HONE_FORM_PLAIN) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t m = 0; m < M; m++)
            for (int64_t i = m * K; i < m * K + K; i++) {
                const float v = w->dtype == HONE_bf16 ? hone_bf16_to_f32(((const uint16_t *)w->data)[i]) : ((const float *)w->data)[i];
                if (f->dtype == HONE_bf16) ((uint16_t *)f->data)[i] = hone_f32_to_bf16(v);
                else ((float *)f->data)[i] = v;
            }
        return;
    }
    const int64_t panels = gemm_panels(f->form == HONE_FORM_PACKED ? M : K), depth = f->form == HONE_FORM_PACKED ? K : M;
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (int64_t j = 0; j < panels; j++) weight_panel((float *)f->data + j * NR * depth, w, f->form, j);
}

// y = x w^T and dx = dy w ------------------------------------------------------------------------------------------------

// Panels of a plain weight that are made at a time.
static int64_t panels_at_once(int64_t cols, int64_t depth)
{
    return at_least(1, at_most(gemm_panels(cols), PANEL_BLOCK_BYTES / (NR * depth * (int64_t)sizeof(float))));
}
// Tiles pay where at least two tiles of rows for each thread share them with many columns.
enum { TILES_PAY_COLS = 256 };
static bool tiles_pay(int64_t rows, int64_t cols, int threads) { return rows >= 4 * MR * threads && cols >= TILES_PAY_COLS; }

static size_t panels_bytes(const hone_operand *w, int64_t cols, int64_t depth)
{
    if (w->form != HONE_FORM_PLAIN) return 0;
    return (size_t)round_up(panels_at_once(cols, depth) * NR * depth * (int64_t)sizeof(float), 64);
}
static size_t multiply_workspace(const hone_operand *a, const hone_operand *w, int64_t cols, int64_t depth, int threads)
{
    const size_t tiles = tiles_pay(a->dim[0], cols, threads) ? (size_t)(threads * TASK_TILES * MR * KC) * sizeof(float) : 0;
    return panels_bytes(w, cols, depth) + tiles;
}

static void multiply(gemm g, const hone_operand *w, hone_form form, void *workspace, int threads)
{
    const bool plain = w->form == HONE_FORM_PLAIN, make = tiles_pay(g.rows, g.cols, threads);
    const int64_t panels = gemm_panels(g.cols), at_once = plain ? panels_at_once(g.cols, g.depth) : panels;
    float *made = workspace, *room = (float *)((char *)workspace + panels_bytes(w, g.cols, g.depth));
    if (!g.rows) return;
    threads = product_threads(threads, (double)g.rows * (double)g.cols * (double)g.depth);
    g.b_panel = NR * g.depth;
#pragma omp parallel num_threads(threads) firstprivate(g)
    for (int64_t first = 0; first < panels; first += at_once) {
        const int64_t many = at_most(at_once, panels - first);
        const cut t = cut_tasks(g.rows, many, make, threads);
        g.b = w->data;
        g.make = make ? room + omp_get_thread_num() * TASK_TILES * MR * KC : NULL;
        if (plain) {
            g.b = made - first * g.b_panel;
#pragma omp for schedule(dynamic)
            for (int64_t j = 0; j < many; j++) weight_panel(made + j * g.b_panel, w, form, first + j);
        }
#pragma omp for schedule(dynamic) // its barrier keeps the panels until all have used them
        for (int64_t task = 0; task < t.row_parts * t.col_parts; task++) run_task(&g, &t, task, first);
    }
}

size_t ISA(hone_cpu_linear_workspace)(const hone_args *args, int threads)
{
    return multiply_workspace(&args->in[0], &args->in[1], args->in[1].dim[0], args->in[1].dim[1], threads);
}
void ISA(hone_cpu_linear)(const hone_args *args, int threads)
{
    const hone_operand *x = &args->in[0], *w = &args->in[1];
    const int64_t M = w->dim[0], K = w->dim[1];
    const gemm g = { .rows = hone_rows(x), .cols = M, .depth = K, .a = x->data, .lda = K, .c = args->out[0].data, .ldc = M,
                     .bias = f32_in(args, 2), .addend = f32_in(args, 3) };
    multiply(g, w, HONE_FORM_PACKED, args->workspace, threads);
}

size_t ISA(hone_cpu_linear_dx_workspace)(const hone_args *args, int threads)
{
    return multiply_workspace(&args->in[0], &args->in[1], args->in[1].dim[1], args->in[1].dim[0], threads);
}
void ISA(hone_cpu_linear_dx)(const hone_args *args, int threads)
{
    const hone_operand *dy = &args->in[0], *w = &args->in[1];
    const int64_t M = w->dim[0], K = w->dim[1];
    const gemm g = { .rows = hone_rows(dy), .cols = K, .depth = M, .a = dy->data, .lda = M, .c = args->out[0].data, .ldc = K,
                     .addend = f32_in(args, 2) };
    multiply(g, w, HONE_FORM_PACKED_T, args->workspace, threads);
}

// dw += dy^T x, db += column sums of dy ------------------------------------------------------------------------------------
//
// Depth is the token rows. For KC of them at a time: dy into tiles (which sums db on the way), x into panels, then all of dw
// is updated from the two; dw passes through the caches once per KC rows, hidden behind 2 KC operations an element.

static int64_t dw_tile_floats(int64_t M) { return round_up(gemm_tiles(M) * MR * KC, 16); }
size_t ISA(hone_cpu_linear_dw_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    return (size_t)(dw_tile_floats(args->in[0].dim[1]) + gemm_panels(args->in[1].dim[1]) * NR * KC) * sizeof(float);
}
void ISA(hone_cpu_linear_dw)(const hone_args *args, int threads)
{
    enum { TILES_TOGETHER = 8 };
    const int64_t N = hone_rows(&args->in[0]), M = args->in[0].dim[1], K = args->in[1].dim[1];
    const float *dy = args->in[0].data, *x = args->in[1].data;
    float *dw = args->out[0].data, *db = f32_out(args, 1);
    float *tiles = args->workspace, *panels = tiles + dw_tile_floats(M);
    const int64_t n_panel = gemm_panels(K), n_tile = gemm_tiles(M);
    if (!N) return;
    threads = product_threads(threads, (double)N * (double)M * (double)K);
#pragma omp parallel num_threads(threads)
    for (int64_t n = 0; n < N; n += KC) {
        const int64_t depth = at_most(KC, N - n), groups = divide_up(n_tile, TILES_TOGETHER);
        const gemm g = { .rows = M, .cols = K, .depth = depth, .a = tiles, .tiles = true, .b = panels, .b_panel = NR * depth,
                         .c = dw, .ldc = K, .addend = dw };
        const cut t = cut_tasks(M, n_panel, false, threads);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < groups + n_panel; i++) {
            if (i < groups) {
                const span some = { i * TILES_TOGETHER, at_most(n_tile, (i + 1) * TILES_TOGETHER) };
                tiles_of_columns(tiles, dy + n * M, M, M, some, depth, db);
            } else {
                const int64_t j = i - groups;
                panel_of_columns(panels + j * NR * depth, x + n * K + j * NR, HONE_f32, K, NULL, at_most(NR, K - j * NR), depth);
            }
        }
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < t.row_parts * t.col_parts; task++) run_task(&g, &t, task, 0);
    }
}
