// gemm_dot.c: the core on AVX512-BF16 dot products, for products of operands rounded to bf16: an instruction multiplies two
// pairs a lane where a fused multiply-add multiplies one, at the same rate on Zen 4.
//
// As gemm_fma.c, with a pair of steps in the place of a step. Storage is in cells of 32 steps: 16 lines of pairs (i, i + 16),
// one 32-bit pair for each row of a tile (MR) or column of a panel (NR); so lines are made of two vectors by masks and shifts.
//
//     line i:   (x[i][0], x[i + 16][0])  (x[i][1], x[i + 16][1])  ...
#include "backend/cpu/isa/gemm.h"
#ifdef __AVX512BF16__

enum { MR = 14, DEPTH = 32, PAIRS = 16 }; // 28 sums + 2 of B + 1 broadcast of 32 registers

#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)

// One tile of R rows (constant) over `pairs` pairs of steps. By hand for the reason that gemm_fma.c gives.
#define ADD_DOT(sum, s, b) __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(s), "v"(b))
#define ADD_DOT_OF(sum, where, b) __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(b), "m"(where))
V_INLINE void tile(const int R, int64_t pairs, const int32_t *a, const int32_t *b, fetch ahead, float *c, int64_t ldc, int64_t width,
                   const float *bias, const float *addend)
{
#define BEGIN(r) vf sum##r##0 = v_zero(), sum##r##1 = v_zero();
    EACH_ROW(BEGIN)
    for (; pairs > 0; pairs--, a += MR, b += NR) {
        if (pairs % 4 == 0) fetch_next(&ahead);
        const __m512i b0 = _mm512_loadu_si512(b), b1 = _mm512_loadu_si512(b + VW);
#define ROW(r)                                    \
        if (r < R && r % 3) {                     \
            ADD_DOT_OF(sum##r##0, a[r], b0);      \
            ADD_DOT_OF(sum##r##1, a[r], b1);      \
        } else if (r < R) {                       \
            const __m512i s = _mm512_set1_epi32(a[r]); \
            ADD_DOT(sum##r##0, s, b0);            \
            ADD_DOT(sum##r##1, s, b1);            \
        }
        EACH_ROW(ROW)
    }
#define FINISH(r) if (r < R) tile_finish(c + r * ldc, sum##r##0, sum##r##1, width, bias, addend ? addend + r * ldc : NULL);
    EACH_ROW(FINISH)
}

typedef void tile_fn(int64_t pairs, const int32_t *a, const int32_t *b, fetch ahead, float *c, int64_t ldc, int64_t width, const float *bias, const float *addend);
#define TILE(R)                                                                                                                \
    static void tile_##R(int64_t pairs, const int32_t *a, const int32_t *b, fetch ahead, float *c, int64_t ldc, int64_t width, const float *bias, \
                         const float *addend) { tile(R, pairs, a, b, ahead, c, ldc, width, bias, addend); }
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
EACH_HEIGHT(TILE)
#define ENTRY(R) tile_##R,
static tile_fn *const tile_of[MR] = { EACH_HEIGHT(ENTRY) };

static void multiply_tile(int64_t height, int64_t depth, const void *a, const void *b, fetch ahead, float *c, int64_t ldc, int64_t width,
                          const float *bias, const float *addend) { tile_of[height - 1](divide_up(depth, DEPTH) * PAIRS, a, b, ahead, c, ldc, width, bias, addend); }
static void block(const gemm *g, span tiles, span panels) { walk_tiles(&gemm_dot, multiply_tile, g, tiles, panels); }

// Panels and tiles ------------------------------------------------------------------------------------------------------

// Pairs of steps (k + i, k + i + 16) of source rows first .. first + 15: line[i], rows along lanes. Rows from `n` on and steps from
// `depth` on are zeros; rows NULL: row r lies at r * ld, else at rows[r] * ld.
V_INLINE void load_pairs(vf line[16], const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t first, int64_t n,
                         int64_t k, int64_t depth)
{
    for (int64_t i = 0; i < 16; i++) {
        line[i] = v_zero();
        if (first + i >= n) continue;
        const int64_t at = (rows ? rows[first + i] : first + i) * ld + k;
        line[i] = (vf)bf16_pairs(source_load(source, dtype, at, depth - k), source_load(source, dtype, at + 16, depth - k - 16));
    }
    v_transpose(line);
}

static void panel_of_rows(void *to, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth)
{
    int32_t *cell = to;
    for (int64_t k = 0; k < depth; k += DEPTH, cell += PAIRS * NR)
        for (int64_t part = 0; part < NR; part += 16) {
            vf line[16];
            load_pairs(line, source, dtype, ld, rows, part, n, k, depth);
            for (int64_t i = 0; i < PAIRS; i++) v_store((float *)(void *)(cell + i * NR + part), line[i]);
        }
}

static void panel_of_columns(void *to, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth)
{
    int32_t *line = to;
    for (int64_t k = 0; k < depth; k += DEPTH)
        for (int64_t i = k; i < k + PAIRS; i++, line += NR) {
            const int64_t soon = at_most(i + DEPTH, depth - 1), later = at_most(i + DEPTH + PAIRS, depth - 1); // the hardware does not foresee them
            fetch_piece(source, dtype, (rows ? rows[soon] : soon) * ld, n);
            fetch_piece(source, dtype, (rows ? rows[later] : later) * ld, n);
            for (int64_t part = 0; part < NR; part += 16) {
                const vf x = i < depth ? source_load(source, dtype, (rows ? rows[i] : i) * ld + part, n - part) : v_zero();
                const vf y = i + 16 < depth ? source_load(source, dtype, (rows ? rows[i + 16] : i + 16) * ld + part, n - part) : v_zero();
                _mm512_storeu_si512(line + part, bf16_pairs(x, y));
            }
        }
}

// A line of a tile is shorter than a vector: the first MR of it.
V_INLINE void store_rows(int32_t *line, __m512i pairs) { _mm512_mask_storeu_epi32(line, v_first(MR), pairs); }

static void tiles_of_rows(void *to, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile, int64_t depth)
{
    int32_t *cell = to;
    for (int64_t t = tile.from; t < tile.to; t++) {
        const int64_t row = gemm_tile_row(&gemm_dot, rows, t), next = gemm_tile_row(&gemm_dot, rows, t + 1);
        for (int64_t k = 0; k < depth; k += DEPTH, cell += PAIRS * MR) {
            vf line[16];
            for (int64_t i = next; i < at_most(next + MR, rows); i++) fetch_row(source, dtype, ld, i, k, DEPTH);
            load_pairs(line, source, dtype, ld, NULL, row, next, k, depth);
            for (int64_t i = 0; i < PAIRS; i++) store_rows(cell + i * MR, (__m512i)line[i]);
        }
    }
}

static void tiles_of_columns(void *to, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile, int64_t depth, float *sum)
{
    const int64_t tile_bytes = gemm_tile_bytes(&gemm_dot, depth), bytes = source_bytes(dtype);
    for (int64_t k = 0; k < depth; k += DEPTH) {
        const int64_t last = depth - 1 - k;
        for (int64_t t = tile.from; t < tile.to; t++) {
            const int64_t row = gemm_tile_row(&gemm_dot, rows, t), height = gemm_tile_row(&gemm_dot, rows, t + 1) - row;
            int32_t *cell = (int32_t *)((char *)to + t * tile_bytes) + k / DEPTH * PAIRS * MR;
            const char *far = (const char *)source + (k * ld + row) * bytes; // rows of the next cell: the hardware does not foresee them
            vf total = v_zero();
            for (int64_t i = 0; i < PAIRS; i++) {
                fetch_line(far + at_most(i + DEPTH, last) * ld * bytes);
                fetch_line(far + at_most(i + DEPTH + PAIRS, last) * ld * bytes);
                const vf x = k + i < depth ? source_load(source, dtype, (k + i) * ld + row, height) : v_zero();
                const vf y = k + i + 16 < depth ? source_load(source, dtype, (k + i + 16) * ld + row, height) : v_zero();
                total += x + y;
                store_rows(cell + i * MR, bf16_pairs(x, y));
            }
            if (sum) v_store_n(sum + row, v_load_n(sum + row, height) + total, height);
        }
    }
}

const gemm_core gemm_dot = { .rows = MR, .even = true, .grain = DEPTH, .bytes = 2, .block = block, .panel_of_rows = panel_of_rows,
                             .panel_of_columns = panel_of_columns, .tiles_of_rows = tiles_of_rows, .tiles_of_columns = tiles_of_columns };
#else
typedef int empty_file; // a translation unit needs a declaration
#endif
