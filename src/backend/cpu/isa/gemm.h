// gemm.h: the matrix cores under linear, linear_dx, linear_dw and the head: C (rows, cols) = A (rows, depth) B (depth, cols).
//
// The canonical sum. Every element of every product on one core is
//     c = ((block_0 + bias) + addend) + block_1 + block_2 + ...,   block_j = a chain of sums over k = j KC .. (j + 1) KC - 1, from 0
// with k rising; a link of the chain is a fused multiply-add (gemm_fma.c) or the sums of a matrix tile over 32 steps
// (gemm_amx.c); of 8-bit integers a block is one exact sum times its scale (gemm_int8.c). KC is a constant of the program:
// neither rows, cols, tile edges, threads, nor plain or packed storage of the weight enter, and the depth is never split
// between threads. A vector holds different elements, so vectorising over tokens (the head) or over features (linear) is the
// same arithmetic. Hence a row's bits depend on nothing but the row and the weight.
//
// That is why no library is called here. oneDNN 2.6's sgemm (768 -> 2304, AVX-512) gives 92 % of the elements of 1 or of 7 rows
// other bits than the same rows among 600. Speed alone would not decide it for the multiply-add core (bench_gemm, HONE_ISA=avx512:
// 0.65 to 0.80 of the multiply-add peak over the training shapes, 1.05 to 1.15 times oneDNN, 1.9 to 2.4 times at 32 rows with
// packed weights); the tile core passes both.
//
// Shapes. C is cut into tiles by panels of NR = NV VW columns, which live in registers over one depth block.
//
//          B panel j: [depth][NR]             a panel is read from top to bottom
//              | | |
//     A tile i ---- C tile (i, j)             a tile of A meets each panel
//
// A is read from tiles of a depth block, or in place (rows lda floats apart, steps adjacent) where a core can. Tiles are made
// where A's steps are not adjacent (dw = dy^T x) and where many columns share the cost of making them: they spare the
// multiply-add core address arithmetic and cache conflicts, 6 % here. In place is for few rows (decoding) and few columns (the head).
#pragma once
#include "backend/cpu/isa/kernel.h"

enum { NV = 2, NR = NV * VW, KC = 384 };

typedef struct gemm {
    int64_t rows, cols, depth;
    const void *a;          // rows in place: element (r, k) at a[r * lda + k] of dtype; or tiles
    int64_t lda;
    hone_dtype dtype;       // of A in place: f32, or bf16 only with `make`
    bool tiles;             // A is in tiles: all of one depth block, then all of the next
    void *make;             // A is in place, but goes through tiles made here on the way: room for those of one block; or NULL
    const char *b;          // panel j at b + j * b_panel bytes; columns beyond `cols` are zeros
    int64_t b_panel;
    float *c;               // (rows, ldc)
    int64_t ldc;
    const float *bias;      // (cols,) or NULL
    const float *addend;    // (rows, ldc) or NULL; may be c itself
    span soon;              // addresses of what the next product reads, to fetch on the way where a core can; empty: nothing
} gemm;

// A core: how tiles and panels are laid out, who makes them and who multiplies them. gemm_fma.c is on vector multiply-adds,
// gemm_dot.c on dot products of bf16, gemm_amx.c on matrix tiles, gemm_int8.c in 8-bit integers. Their bits differ, so that one
// operation on one form of a weight stays with one core.
//
// Makers of panels and tiles: `n` rows or columns of a source, ld apart; bf16 sources are widened.
//   panel_of_rows     panel (k, i) = source row i (of n <= NR), element k     rows NULL: i * ld, else rows[i] * ld
//   panel_of_columns  panel (k, i) = source row k, element i (of n <= NR)
//   tiles_of_rows     tiles [tile.from, tile.to) of A (rows, ...), its steps [0, depth): (k, i) = source[(row + i) * ld + k];
//                     the first one lies at `tiles`
//   tiles_of_columns  the same tiles of A^T: (k, i) = source[k * ld + row + i]; tile t lies at its place t in `tiles`;
//                     sum (NULL: no): adds each column's sum over k
typedef struct gemm_core {
    int64_t rows;           // of a tile
    bool even;              // rows are shared evenly between the fewest tiles that hold them; or every tile but the last is full
    bool in_place;          // can read f32 rows without tiles
    int64_t grain, bytes;   // depth is padded to multiples of `grain`; an element takes `bytes`
    int64_t head;           // bytes that each row or column has besides in every depth block
    void (*block)(const gemm *g, span tile, span panel);    // tiles x panels of the product, the whole depth
    void (*panel_of_rows)(void *panel, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth);
    void (*panel_of_columns)(void *panel, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth);
    void (*tiles_of_rows)(void *tiles, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile, int64_t depth);
    void (*tiles_of_columns)(void *tiles, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile, int64_t depth, float *sum);
} gemm_core;

// What multiplies f32 numbers, numbers rounded to bf16, and 8-bit integers.
#define gemm_fma ISA(hone_cpu_gemm_fma)
#define gemm_fma_bf16 ISA(hone_cpu_gemm_fma_bf16)
#define gemm_dot ISA(hone_cpu_gemm_dot)
#define gemm_amx ISA(hone_cpu_gemm_amx)
#define gemm_amx_bf16 ISA(hone_cpu_gemm_amx_bf16)
#define gemm_int8 ISA(hone_cpu_gemm_int8)
#define gemm_int8_drawn ISA(hone_cpu_gemm_int8_drawn)
extern const gemm_core gemm_fma, gemm_fma_bf16, gemm_dot, gemm_amx, gemm_amx_bf16, gemm_int8, gemm_int8_drawn;
V_INLINE const gemm_core *gemm_core_of(hone_dtype product)
{
    if (product == HONE_int8) return &gemm_int8;
#ifdef __AMX_BF16__
    return product == HONE_bf16 ? &gemm_amx_bf16 : &gemm_amx;
#elif defined __AVX512BF16__
    return product == HONE_bf16 ? &gemm_dot : &gemm_fma;
#else
    return product == HONE_bf16 ? &gemm_fma_bf16 : &gemm_fma;
#endif
}
// The one whose panels have the least bytes: for few rows.
V_INLINE const gemm_core *gemm_stream_core_of(hone_dtype product) { return product == HONE_f32 ? &gemm_fma : gemm_core_of(product); }

// Addresses [from, to) as `soon`, and what parts [part.from, part.to) of `parts` fetch of it.
V_INLINE span gemm_soon(const void *from, const void *to) { return (span){ (intptr_t)from, (intptr_t)to }; }
V_INLINE span gemm_soon_share(span soon, span part, int64_t parts)
{
    const int64_t lines = divide_up(soon.to - soon.from, 64);
    return (span){ soon.from + lines * part.from / parts * 64, soon.from + lines * part.to / parts * 64 };
}

V_INLINE int64_t gemm_tiles(const gemm_core *core, int64_t rows) { return divide_up(rows, core->rows); }
// Tile i covers rows [gemm_tile_row(i), gemm_tile_row(i + 1)).
V_INLINE int64_t gemm_tile_row(const gemm_core *core, int64_t rows, int64_t tile)
{
    return core->even ? rows * tile / gemm_tiles(core, rows) : at_most(rows, tile * core->rows);
}
V_INLINE int64_t gemm_panels(int64_t cols) { return divide_up(cols, NR); }
// Bytes of a row or column over `depth` steps; depth of whole blocks: where the next one begins.
V_INLINE int64_t gemm_line_bytes(const gemm_core *core, int64_t depth) { return core->bytes * round_up(depth, core->grain) + core->head * divide_up(depth, KC); }
V_INLINE int64_t gemm_tile_bytes(const gemm_core *core, int64_t depth) { return core->rows * gemm_line_bytes(core, depth); }
V_INLINE int64_t gemm_panel_bytes(const gemm_core *core, int64_t depth) { return NR * gemm_line_bytes(core, depth); }

// Defines a core from the five functions of a source, which take a constant `how` first.
#define GEMM_CORE(name, how, ...)                                                                                                   \
    static void name##_block(const gemm *g, span tile, span panel) { block(how, g, tile, panel); }                                  \
    static void name##_panel_of_rows(void *panel, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, \
                                     int64_t depth) { panel_of_rows(how, panel, source, dtype, ld, rows, n, depth); }               \
    static void name##_panel_of_columns(void *panel, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows,         \
                                        int64_t n, int64_t depth) { panel_of_columns(how, panel, source, dtype, ld, rows, n, depth); } \
    static void name##_tiles_of_rows(void *tiles, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile,        \
                                     int64_t depth) { tiles_of_rows(how, tiles, source, dtype, ld, rows, tile, depth); }            \
    static void name##_tiles_of_columns(void *tiles, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile,     \
                                        int64_t depth, float *sum) { tiles_of_columns(how, tiles, source, dtype, ld, rows, tile, depth, sum); } \
    const gemm_core name = { __VA_ARGS__, .block = name##_block, .panel_of_rows = name##_panel_of_rows,                             \
                             .panel_of_columns = name##_panel_of_columns, .tiles_of_rows = name##_tiles_of_rows,                    \
                             .tiles_of_columns = name##_tiles_of_columns };

// Shared by the cores' sources ----------------------------------------------------------------------------------------

V_INLINE void tile_store(float *c, vf v, int64_t n)
{
    if (n >= VW) v_store(c, v);
    else v_store_n(c, v, at_least(0, n));
}
V_INLINE vf tile_load(const float *c, int64_t n) { return n >= VW ? v_load(c) : v_load_n(c, at_least(0, n)); }

// One row of NR columns: c = addend + (sum + bias).
V_INLINE void tile_finish(float *c, vf sum0, vf sum1, int64_t width, const float *bias, const float *addend)
{
    if (bias) sum0 += tile_load(bias, width), sum1 += tile_load(bias + VW, width - VW);
    if (addend) sum0 = tile_load(addend, width) + sum0, sum1 = tile_load(addend + VW, width - VW) + sum1;
    tile_store(c, sum0, width);
    tile_store(c + VW, sum1, width - VW);
}

V_INLINE int64_t source_bytes(hone_dtype dtype) { return dtype == HONE_bf16 ? 2 : 4; } // of an element
// Asks for `depth` elements of a row from number k on: rows are read in part, one after the other, which the hardware does not foresee.
V_INLINE void fetch_row(const void *source, hone_dtype dtype, int64_t ld, int64_t row, int64_t k, int64_t depth)
{
    const char *from = (const char *)source + (row * ld + k) * source_bytes(dtype);
    for (int64_t at = 0; at < depth * source_bytes(dtype); at += 64) fetch_line(from + at);
}
// Asks for the first and the last of n elements from element `at` on: of a short piece, all of it.
V_INLINE void fetch_piece(const void *source, hone_dtype dtype, int64_t at, int64_t n)
{
    const char *from = (const char *)source + at * source_bytes(dtype);
    fetch_line(from);
    fetch_line(from + n * source_bytes(dtype) - 1);
}
// n (<= VW) elements from element `at` of a source, zeros behind them.
V_INLINE vf source_load(const void *source, hone_dtype dtype, int64_t at, int64_t n)
{
    return reals_load((reals){ (char *)(uintptr_t)source, dtype == HONE_bf16 }, at, at_least(0, n));
}

// The walk of a core whose A is always in tiles, made on the way or before: depth block by depth block, panel by panel, tile by
// tile. multiply: one tile over one depth block, `height` rows of it; c += it where addend is c. ahead: what it may fetch into the
// second-level cache on the way, of the next panel or of what the next product reads: an eighth of a panel, or three where few
// tiles pass one (decoding).
typedef struct fetch { const char *at; bool more; } fetch;
typedef void tile_multiply(int64_t height, int64_t depth, const void *a, const void *b, fetch ahead, float *c, int64_t ldc,
                           int64_t width, const float *bias, const float *addend);
// A line of it or three: at every fourth line of a panel.
V_INLINE void fetch_next(fetch *ahead)
{
    fetch_line(ahead->at);
    if (ahead->more) fetch_line(ahead->at + 64), fetch_line(ahead->at + 128);
    ahead->at += ahead->more ? 192 : 64;
}
V_INLINE void walk_tiles(const gemm_core *core, tile_multiply *multiply, const gemm *g, span tiles, span panels)
{
    int64_t soon = g->soon.from;
    for (int64_t k = 0; k < g->depth; k += KC) {
        const int64_t depth = at_most(KC, g->depth - k), tile_bytes = gemm_tile_bytes(core, depth);
        const bool few = tiles.to - tiles.from < 8;
        const int64_t part = gemm_panel_bytes(core, depth) / 8 * (few ? 3 : 1);
        const float *bias = k ? NULL : g->bias, *addend = k ? g->c : g->addend;
        const char *a = g->make ? (char *)g->make - tiles.from * tile_bytes : (const char *)g->a + gemm_tiles(core, g->rows) * gemm_tile_bytes(core, k);
        if (g->make) core->tiles_of_rows(g->make, (const char *)g->a + k * source_bytes(g->dtype), g->dtype, g->lda, g->rows, tiles, depth);
        for (int64_t j = panels.from; j < panels.to; j++) {
            const char *b = g->b + j * g->b_panel + gemm_panel_bytes(core, k);
            const char *next = j + 1 < panels.to ? b + g->b_panel : g->b + panels.from * g->b_panel + gemm_panel_bytes(core, k + KC);
            for (int64_t i = tiles.from; i < tiles.to; i++, soon += part) {
                const int64_t row = gemm_tile_row(core, g->rows, i), height = gemm_tile_row(core, g->rows, i + 1) - row;
                const int64_t at = row * g->ldc + j * NR;
                const fetch ahead = { soon < g->soon.to ? (const char *)soon : next + (i - tiles.from) % 8 * part, few };
                for (int64_t r = 0; r < height; r++) fetch_line(g->c + at + r * g->ldc), fetch_line(g->c + at + r * g->ldc + NR - 1);
                multiply(height, depth, a + i * tile_bytes, b, ahead, g->c + at, g->ldc, g->cols - j * NR, bias ? bias + j * NR : NULL,
                         addend ? addend + at : NULL);
            }
        }
    }
}
