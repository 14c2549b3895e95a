// gemm.h: the matrix core under linear, linear_dx, linear_dw and the head: C (rows, cols) = A (rows, depth) B (depth, cols).
//
// The canonical sum. Every element of every product in this backend is
//     c = ((block_0 + bias) + addend) + block_1 + block_2 + ...,   block_j = fma chain over k = j KC .. (j + 1) KC - 1, from 0
// with k rising. KC is a constant of the program: neither rows, cols, tile edges, form of the weight, nor threads enter, and
// the depth is never split between threads. A vector holds VW *different* elements, so vectorising over tokens (the head) or
// over features (linear) is the same arithmetic. Hence a row's bits depend on nothing but the row and the weight.
//
// That is why no library is called here. oneDNN 2.6's sgemm (768 -> 2304, AVX-512) gives 92 % of the elements of 1 or of 7 rows
// other bits than the same rows among 600. Speed alone would not decide it: bench_gemm, two threads of a shared, loaded Xeon
// (AVX-512), two runs: 0.69 and 0.80 of the multiply-add peak over the training shapes, and 0.93 to 1.5 times oneDNN, most
// often 1.05 to 1.15; 1.9 to 2.4 times at 32 rows with packed weights.
//
// Shapes. C is cut into tiles of MR rows by NR = NV VW columns that live in registers over one depth block.
//
//          B panel j: [depth][NR]             a panel is read from top to bottom, one row of NR floats a step
//              | | |
//     A tile i ---- C tile (i, j)             a tile of A is broadcast, one float a row and step
//
// A is read from tiles [depth][MR] of one depth block, or in place (rows lda floats apart, steps adjacent). Tiles are made
// where A's steps are not adjacent (dw = dy^T x) and where many columns share the cost of making them: they spare the core
// address arithmetic and cache conflicts, 6 % here. In place is for few rows (decoding) and few columns (the head).
#pragma once
#include "backend/cpu/isa/kernel.h"

#if VW == 16
enum { MR = 14 };   // 28 accumulators + 2 of B + 1 broadcast of 32 registers
#elif VW == 8
enum { MR = 6 };    // 12 + 2 + 1 of 16
#else
enum { MR = 4 };    // 8 + 2 + 1 of 16
#endif
enum { NV = 2, NR = NV * VW, KC = 384 };

typedef struct gemm {
    int64_t rows, cols, depth;
    const float *a;         // element (r, k) at a[r * lda + k]; tiles: at a[tile][k][MR], heights as gemm_tile_row() says
    int64_t lda;
    bool tiles;             // then depth <= KC
    float *make;            // rows in place, but through tiles made here on the way: room for those of one block; or NULL
    const float *b;         // panel j at b + j * b_panel, [depth][NR]; columns beyond `cols` are zeros
    int64_t b_panel;
    float *c;               // (rows, ldc)
    int64_t ldc;
    const float *bias;      // (cols,) or NULL
    const float *addend;    // (rows, ldc) or NULL; may be c itself
} gemm;

// Rows are shared evenly between the fewest tiles that hold them: tile i covers rows [gemm_tile_row(i), gemm_tile_row(i + 1)).
V_INLINE int64_t gemm_tiles(int64_t rows) { return divide_up(rows, MR); }
V_INLINE int64_t gemm_tile_row(int64_t rows, int64_t tile) { return rows * tile / gemm_tiles(rows); }
V_INLINE int64_t gemm_panels(int64_t cols) { return divide_up(cols, NR); }

// Tiles [tile.from, tile.to) x panels [panel.from, panel.to) of the product, the whole depth.
#define gemm_block ISA(hone_cpu_gemm_block)
void gemm_block(const gemm *g, span tile, span panel);

// Makers of panels and tiles. `n` rows or columns of a source, ld apart; bf16 sources are widened.
//   panel_of_rows     panel[k][i] = source row i (of n <= NR), element k     transposes; rows NULL: i * ld, else rows[i] * ld
//   panel_of_columns  panel[k][i] = source row k, element i (of n <= NR)     copies
#define panel_of_rows ISA(hone_cpu_panel_of_rows)
#define panel_of_columns ISA(hone_cpu_panel_of_columns)
#define tiles_of_columns ISA(hone_cpu_tiles_of_columns)
#define tiles_of_rows ISA(hone_cpu_tiles_of_rows)
void panel_of_rows(float *panel, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth);
void panel_of_columns(float *panel, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth);
// Tiles [tile.from, tile.to) of A^T: A tile[k][i] = source[k * ld + row + i]; sum (NULL: no): adds each column's sum over k.
void tiles_of_columns(float *tiles, const float *source, int64_t ld, int64_t rows, span tile, int64_t depth, float *sum);
// Tiles [tile.from, tile.to) of A (rows, ...), its steps [0, depth): tile[k][i] = source[(row + i) * ld + k].
void tiles_of_rows(float *tiles, const float *source, int64_t ld, int64_t rows, span tile, int64_t depth);
