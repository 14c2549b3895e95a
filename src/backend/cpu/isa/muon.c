// muon.c: momentum, gram, gram_columns, gram_poly, muon.
//
// s = x x^T is symmetric: only blocks that touch the lower triangle are multiplied, then mirrored.
//
//     tiles 0..1   [##      ]       a task is a few tiles of rows against the panels of columns up to their own;
//     tiles 2..3   [####    ]       the longest ones go first, so that threads end together
//     tiles 4..5   [######  ]
//     tiles 6..7   [########]
//
// x goes into tiles and panels of the core for KC steps at a time, as in linear_dw: they fit the cache with s, which passes
// through it once for each KC. gram_poly is the same product of s with itself; its polynomial is made while mirroring.
#include "backend/cpu/isa/gemm.h"
#include "backend/cpu/isa/moment.h"
#include <math.h>

enum { TASK_ROWS = 64 };

// A symmetric product: side x side over depth; x by rows (ld apart, steps adjacent) or by columns.
typedef struct symmetric {
    const gemm_core *core;
    const float *x;
    int64_t side, depth, ld;
    bool columns;
    float *s;               // (side, side)
    char *tiles, *panels;
} symmetric;

static int64_t tile_room(const gemm_core *core, int64_t side) { return round_up(gemm_tiles(core, side) * gemm_tile_bytes(core, KC), 64); }
static int64_t mirror_room(int64_t side) { return round_up(divide_up(side, VW) * (int64_t)sizeof(double), 64); }
static size_t room(const hone_args *args, int64_t side)
{
    const gemm_core *core = gemm_core_of(args->attr.product);
    return (size_t)(mirror_room(side) + tile_room(core, side) + gemm_panels(side) * gemm_panel_bytes(core, KC));
}
static symmetric symmetric_of(const hone_args *args, int64_t side, int64_t depth, bool columns)
{
    const gemm_core *core = gemm_core_of(args->attr.product);
    char *tiles = (char *)args->workspace + mirror_room(side);
    return (symmetric){ core, args->in[0].data, side, depth, args->in[0].dim[1], columns, args->out[0].data, tiles, tiles + tile_room(core, side) };
}

// Steps k .. k + depth of tiles [tile.from, tile.to), of panel j.
static void make_tiles(const symmetric *y, span tile, int64_t k, int64_t depth)
{
    if (y->columns) y->core->tiles_of_columns(y->tiles, y->x + k * y->ld, HONE_f32, y->ld, y->side, tile, depth, NULL);
    else y->core->tiles_of_rows(y->tiles + tile.from * gemm_tile_bytes(y->core, depth), y->x + k, HONE_f32, y->ld, y->side, tile, depth);
}
static void make_panel(const symmetric *y, int64_t j, int64_t k, int64_t depth)
{
    char *panel = y->panels + j * gemm_panel_bytes(y->core, depth);
    const int64_t n = at_most(NR, y->side - j * NR);
    if (y->columns) y->core->panel_of_columns(panel, y->x + k * y->ld + j * NR, HONE_f32, y->ld, NULL, n, depth);
    else y->core->panel_of_rows(panel, y->x + j * NR * y->ld + k, HONE_f32, y->ld, NULL, n, depth);
}

// The lower triangle of s, and what of the upper one lies in the same blocks. Called by all threads of a team.
static void multiply_lower(const symmetric *y)
{
    const gemm_core *core = y->core;
    const int64_t tiles = gemm_tiles(core, y->side), panels = gemm_panels(y->side), tasks = divide_up(tiles, at_least(1, TASK_ROWS / core->rows));
    for (int64_t k = 0; k < y->depth; k += KC) {
        const int64_t depth = at_most(KC, y->depth - k);
        const gemm g = { .rows = y->side, .cols = y->side, .depth = depth, .a = y->tiles, .tiles = true, .b = y->panels,
                         .b_panel = gemm_panel_bytes(core, depth), .c = y->s, .ldc = y->side, .addend = k ? y->s : NULL };
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < tasks + panels; i++) {
            if (i < tasks) make_tiles(y, share(tiles, 1, (int)i, (int)tasks), k, depth);
            else make_panel(y, i - tasks, k, depth);
        }
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < tasks; i++) {
            const span tile = share(tiles, 1, (int)(tasks - 1 - i), (int)tasks);
            core->block(&g, tile, (span){ 0, divide_up(gemm_tile_row(core, y->side, tile.to), NR) });
        }
    }
}

// One square of VW x VW below or on the diagonal: v = c2 v + c1 plus (c0 on the diagonal), and its mirror image. Returns
// the sum of squares of all that was written.
typedef struct finish { const float *plus; float c0, c1, c2; } finish; // plus NULL: v stays
static double finish_square(const symmetric *y, const finish *f, int64_t row, int64_t column)
{
    const int64_t side = y->side, height = at_most(VW, side - row), width = at_most(VW, side - column);
    vf v[VW], t[VW];
    vd squares = { 0 };
    double sum = 0.0;
    for (int64_t i = 0; i < VW; i++) {
        const int64_t at = (row + i) * side + column;
        v[i] = i < height ? v_load_n(y->s + at, width) : v_zero();
        if (f->plus && i < height) v[i] = v_fma(v_set(f->c2), v[i], v_set(f->c1) * v_load_n(f->plus + at, width));
    }
    if (f->plus && row == column)
        for (int64_t i = 0; i < height; i++) v[i] = v_select(v_between(i, i + 1), v[i] + v_set(f->c0), v[i]);
    memcpy(t, v, sizeof t);
    v_transpose(t);
    for (int64_t i = 0; i < VW && row == column; i++) v[i] = v_select(v_first(i), v[i], t[i]); // below the diagonal; above it its image
    for (int64_t i = 0; i < height; i++) v_store_n(y->s + (row + i) * side + column, v[i], width);
    for (int64_t i = 0; i < width && row != column; i++) v_store_n(y->s + (column + i) * side + row, t[i], height);
    for (int64_t i = 0; i < height && !f->plus; i++) {
        const vd a = v_load_f64((float *)&v[i]), b = v_load_f64((float *)&v[i] + VW / 2);
        squares += a * a + b * b;
    }
    for (int l = 0; l < VW / 2; l++) sum += squares[l];
    return row == column ? sum : 2 * sum;
}

// Called by all threads; returns |s| (0 where a polynomial was made) to each of them.
static double mirror(const symmetric *y, const finish *f, double *partial)
{
    const int64_t strips = divide_up(y->side, VW);
    double sum = 0.0;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < strips; i++) {
        partial[i] = 0.0;
        for (int64_t j = 0; j <= i; j++) partial[i] += finish_square(y, f, i * VW, j * VW);
    }
    for (int64_t i = 0; i < strips; i++) sum += partial[i];
    return sqrt(sum);
}

static int threads_for(const symmetric *y, int threads)
{
    return (int)at_least(1, at_most(threads, (int64_t)((double)y->side * (double)y->side * (double)y->depth / 4e5)));
}

static void gram(const hone_args *args, int64_t side, int64_t depth, bool columns, int threads)
{
    const symmetric y = symmetric_of(args, side, depth, columns);
    const finish as_it_is = { .plus = NULL };
    float *size = args->out[1].data;
#pragma omp parallel num_threads(threads_for(&y, threads))
    {
        multiply_lower(&y);
        const double norm = mirror(&y, &as_it_is, args->workspace);
#pragma omp single nowait
        size[0] = (float)norm;
    }
}

size_t ISA(hone_cpu_gram_workspace)(const hone_args *args, int threads) { (void)threads; return room(args, args->in[0].dim[0]); }
void ISA(hone_cpu_gram)(const hone_args *args, int threads) { gram(args, args->in[0].dim[0], args->in[0].dim[1], false, threads); }

size_t ISA(hone_cpu_gram_columns_workspace)(const hone_args *args, int threads) { (void)threads; return room(args, args->in[0].dim[1]); }
void ISA(hone_cpu_gram_columns)(const hone_args *args, int threads) { gram(args, args->in[0].dim[1], args->in[0].dim[0], true, threads); }

size_t ISA(hone_cpu_gram_poly_workspace)(const hone_args *args, int threads) { (void)threads; return room(args, args->in[0].dim[0]); }
void ISA(hone_cpu_gram_poly)(const hone_args *args, int threads)
{
    const symmetric y = symmetric_of(args, args->in[0].dim[0], args->in[0].dim[0], false);
    const float size = f32_in(args, 1)[0], part = size > 0 ? 1 / size : 0, *c = args->attr.poly;
    const finish poly = { .plus = y.x, .c0 = c[0], .c1 = c[1] * part, .c2 = c[2] * part * part };
#pragma omp parallel num_threads(threads_for(&y, threads))
    {
        multiply_lower(&y);
        mirror(&y, &poly, args->workspace);
    }
}

// Bound by memory -----------------------------------------------------------------------------------------------------

void ISA(hone_cpu_momentum)(const hone_args *args, int threads)
{
    float *U = f32_out(args, 0), *G = f32_out(args, 1);
    const hone_operand M = args->out[2];
    const uint32_t key = hone_round_key(f32_in(args, 0)[4], args->attr.stream);
    const int64_t count = args->out[0].dim[0] * args->out[0].dim[1];
    const vf factor = v_set(f32_in(args, 1)[1]), beta = v_set(args->attr.beta1);
    if (step_is_skipped(args)) {
        memset(U, 0, (size_t)count * sizeof *U);
        return;
    }
#pragma omp parallel num_threads(worth(threads, count * 20))
    {
        const span s = share(count, 16, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t i = s.from; i < s.to; i += VW) {
            const int64_t n = at_most(VW, s.to - i);
            const vf g = v_load_n(G + i, n) * factor, m = v_fma(beta, moment_load(&M, i, n), g);
            v_store_n(U + i, v_fma(beta, m, g), n);
            moment_store(&M, i, m, v_round_bits(key, i) & 0xffff, n);
            v_store_n(G + i, v_zero(), n);
        }
    }
}

void ISA(hone_cpu_muon)(const hone_args *args, int threads)
{
    const float rate = f32_in(args, 0)[3], *X = f32_in(args, 1), size = f32_in(args, 2)[0];
    float *P = f32_out(args, 0);
    const int64_t count = args->out[0].dim[0] * args->out[0].dim[1];
    const vf keep = v_set(1.0f - rate * args->attr.decay), step = v_set(size > 0 ? rate * args->attr.scale / sqrtf(size) : 0.0f);
    if (args->in[3].present && f32_in(args, 3)[1] == 0) return; // the step is skipped
#pragma omp parallel num_threads(worth(threads, count * 12))
    {
        const span s = share(count, 16, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t i = s.from; i < s.to; i += VW) {
            const int64_t n = at_most(VW, s.to - i);
            v_store_n(P + i, v_fnma(step, v_load_n(X + i, n), keep * v_load_n(P + i, n)), n);
        }
    }
}
