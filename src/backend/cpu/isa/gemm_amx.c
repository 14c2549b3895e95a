// gemm_amx.c: the core on AMX matrix tiles: f32 products at 2.7 times the rate of vector multiply-adds.
//
// A float is the exact sum of three bf16 parts of 8 bits each, x = h + m + l: h cuts x off after 8 bits, m rounds the rest
// to 8 bits, l is what remains. The product of two floats is then nine products of bf16 numbers, each exact in f32. Those
// below the last place are dropped, six stay:
//
//     x y = l h' + m h' + m m' + h m' + h l' + h h'     (+ m l' + l m' + l l', at most 2^-22 |x y|, of either sign)
//
// (Henry, Tang & Heinecke 2019, arXiv:1904.06376.) A tile instruction does 16 x 16 x 32 bf16 products in 16 cycles, 16 times
// as many as two vector units: 16 / 6 = 2.7. test_gemm holds the result to the bound of an f32 sum, and its mean error to no
// more than that of the multiply-add core.
//
// Differences from f32: infinities become NaN; where a part falls below 2^-126 it is zero (numbers below 2^-102 lose digits,
// products below 2^-126 vanish).
//
// Products of operands rounded to bf16 are the same with one part, rounded to nearest: six times the rate.
//
// Storage is in cells of 32 rows or columns x 32 steps: [part h, m, l][half][16 lines of 64 bytes], 6 KiB (2 KiB). Step i of a cell
// is paired with step i + 16, in A and in B alike, so that a line is made of two whole vectors by masks and shifts:
//
//     A   line = row, 16 pairs of steps      B   line = pair of steps, 16 columns of it
//
// Rows of A and columns of B have their steps adjacent; the other two makers transpose squares of 16.
#include "backend/cpu/isa/gemm.h"
#ifdef __AMX_BF16__
#include "backend/cpu/isa/tiles.h"

enum { MR = 32, DEPTH = 32, LINE = 64, HALF = 16 * LINE, PART = 2 * HALF };
enum { HIGH = 0, MID = PART, LOW = 2 * PART }; // places of the parts in a cell
#define CELL (parts * PART)                    // parts: 3 or 1, constant

// Tiles 0 to 3 hold C by halves (rows, columns): 00 01 10 11. 4 and 5 hold A's halves, 6 and 7 B's.
#define LOAD_A(part) _tile_loadd(4, a + (part), LINE); if (tall) _tile_loadd(5, a + (part) + HALF, LINE)
#define LOAD_B(part) _tile_loadd(6, b + (part), LINE); if (wide) _tile_loadd(7, b + (part) + HALF, LINE)
#define MULTIPLY                              \
    _tile_dpbf16ps(0, 4, 6);                  \
    if (wide) _tile_dpbf16ps(1, 4, 7);        \
    if (tall) _tile_dpbf16ps(2, 5, 6);        \
    if (tall && wide) _tile_dpbf16ps(3, 5, 7)

// sum (32, 32) = A B over `cells`; tall, wide: the second half of rows, of columns is wanted.
V_INLINE void multiply_cells(const int parts, const bool tall, const bool wide, const char *a, const char *b, int64_t cells, float *sum, int64_t ld)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (; cells > 0; cells--, a += CELL, b += CELL) {
        if (parts == 1) {
            LOAD_A(HIGH);
            LOAD_B(HIGH);
            MULTIPLY;
            continue;
        }
        LOAD_A(LOW);
        LOAD_B(HIGH);
        MULTIPLY;
        LOAD_A(MID);
        MULTIPLY;
        LOAD_B(MID);
        MULTIPLY;
        LOAD_A(HIGH);
        MULTIPLY;
        LOAD_B(LOW);
        MULTIPLY;
        LOAD_B(HIGH);
        MULTIPLY;
    }
    const int64_t stride = ld * (int64_t)sizeof(float);
    _tile_stored(0, sum, stride);
    if (wide) _tile_stored(1, sum + 16, stride);
    if (tall) _tile_stored(2, sum + 16 * ld, stride);
    if (tall && wide) _tile_stored(3, sum + 16 * ld + 16, stride);
}

#define TILE_PARAMETERS int64_t height, int64_t depth, const void *a, const void *b, fetch ahead, float *c, int64_t ldc, int64_t width, const float *bias, const float *addend
V_INLINE void tile(const int parts, TILE_PARAMETERS)
{
    (void)ahead; // the rate of tiles is far from what would need it
    float room[MR * NR] __attribute__((aligned(64)));
    const int64_t cells = divide_up(depth, DEPTH);
    const bool tall = height > 16, wide = width > 16, straight = !bias && !addend && height >= MR && width >= NR;
    float *sum = straight ? c : room;
    const int64_t ld = straight ? ldc : NR;
    if (tall && wide) multiply_cells(parts, true, true, a, b, cells, sum, ld);
    else if (tall) multiply_cells(parts, true, false, a, b, cells, sum, ld);
    else if (wide) multiply_cells(parts, false, true, a, b, cells, sum, ld);
    else multiply_cells(parts, false, false, a, b, cells, sum, ld);
    if (straight) return;
    for (int64_t r = 0; r < height; r++)
        tile_finish(c + r * ldc, v_load(room + r * NR), v_load(room + r * NR + VW), width, bias, addend ? addend + r * ldc : NULL);
}

static void multiply_of_1(TILE_PARAMETERS) { tile(1, height, depth, a, b, ahead, c, ldc, width, bias, addend); }
static void multiply_of_3(TILE_PARAMETERS) { tile(3, height, depth, a, b, ahead, c, ldc, width, bias, addend); }

V_INLINE void block(const int parts, const gemm *g, span tiles, span panels)
{
    tiles_begin();
    if (parts == 1) walk_tiles(&gemm_amx_bf16, multiply_of_1, g, tiles, panels);
    else walk_tiles(&gemm_amx, multiply_of_3, g, tiles, panels);
    tiles_end();
}

// Panels and tiles ------------------------------------------------------------------------------------------------------

// Stores the parts of steps i (x) and i + 16 (y) of 16 rows or columns as one line of each part.
V_INLINE void store_line(const int parts, char *line, vf x, vf y)
{
    const __m512i top = _mm512_set1_epi32((int)0xffff0000), half = _mm512_set1_epi32(0x8000);
    if (parts == 1) {
        _mm512_store_si512(line, bf16_pairs(x, y));
        return;
    }
    const __m512i xh = _mm512_and_si512((__m512i)x, top), yh = _mm512_and_si512((__m512i)y, top);
    const vf xr = x - (vf)xh, yr = y - (vf)yh;
    const __m512i xm = _mm512_and_si512(_mm512_add_epi32((__m512i)xr, half), top);
    const __m512i ym = _mm512_and_si512(_mm512_add_epi32((__m512i)yr, half), top);
    const __m512i xl = (__m512i)(xr - (vf)xm), yl = (__m512i)(yr - (vf)ym);
    // top ? y : x >> 16
    _mm512_store_si512(line + LOW, _mm512_ternarylogic_epi32(top, yl, _mm512_srli_epi32(xl, 16), 0xca));
    _mm512_store_si512(line + MID, _mm512_ternarylogic_epi32(top, ym, _mm512_srli_epi32(xm, 16), 0xca));
    _mm512_store_si512(line + HIGH, _mm512_ternarylogic_epi32(top, yh, _mm512_srli_epi32(xh, 16), 0xca));
}

// Steps k .. k + 31 of source rows first .. first + 15, rows along lanes: x[i] is step k + i, y[i] step k + 16 + i. Rows from
// `n` on and steps from `depth` on are zeros; rows NULL: row r lies at r * ld, else at rows[r] * ld.
V_INLINE void load_steps(vf x[16], vf y[16], const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t first,
                         int64_t n, int64_t k, int64_t depth)
{
    for (int64_t i = 0; i < 16; i++) {
        const bool there = first + i < n;
        const int64_t at = there ? (rows ? rows[first + i] : first + i) * ld + k : 0;
        x[i] = there ? source_load(source, dtype, at, depth - k) : v_zero();
        y[i] = there ? source_load(source, dtype, at + 16, depth - k - 16) : v_zero();
    }
    v_transpose(x);
    v_transpose(y);
}

V_INLINE void panel_of_rows(const int parts, void *to, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth)
{
    char *cell = to;
    for (int64_t k = 0; k < depth; k += DEPTH, cell += CELL)
        for (int64_t part = 0; part < NR; part += 16) {
            vf x[16], y[16];
            load_steps(x, y, source, dtype, ld, rows, part, n, k, depth);
            for (int64_t i = 0; i < 16; i++) store_line(parts, cell + part / 16 * HALF + i * LINE, x[i], y[i]);
        }
}

V_INLINE void panel_of_columns(const int parts, void *to, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth)
{
    char *cell = to;
    for (int64_t k = 0; k < depth; k += DEPTH, cell += CELL)
        for (int64_t i = 0; i < 16; i++) {
            const int64_t x_step = k + i, y_step = x_step + 16;
            const int64_t x_at = (rows && x_step < depth ? rows[x_step] : x_step) * ld, y_at = (rows && y_step < depth ? rows[y_step] : y_step) * ld;
            for (int64_t part = 0; part < NR; part += 16) {
                const vf x = x_step < depth ? source_load(source, dtype, x_at + part, n - part) : v_zero();
                const vf y = y_step < depth ? source_load(source, dtype, y_at + part, n - part) : v_zero();
                store_line(parts, cell + part / 16 * HALF + i * LINE, x, y);
            }
        }
}

static void tiles_of_rows(const int parts, void *to, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile, int64_t depth)
{
    char *cell = to;
    for (int64_t t = tile.from; t < tile.to; t++)
        for (int64_t k = 0; k < depth; k += DEPTH, cell += CELL)
            for (int64_t i = 0; i < MR; i++) {
                const bool there = t * MR + i < rows;
                const int64_t at = (t * MR + i) * ld + k;
                const vf x = there ? source_load(source, dtype, at, depth - k) : v_zero();
                const vf y = there ? source_load(source, dtype, at + 16, depth - k - 16) : v_zero();
                store_line(parts, cell + i * LINE, x, y);
            }
}

V_INLINE void tiles_of_columns(const int parts, void *to, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile, int64_t depth, float *sum)
{
    const int64_t tile_bytes = CELL * divide_up(depth, DEPTH);
    for (int64_t k = 0; k < depth; k += DEPTH)
        for (int64_t row = tile.from * MR; row < at_most(rows, tile.to * MR); row += 16) {
            char *half = (char *)to + row / MR * tile_bytes + k / DEPTH * CELL + row % MR / 16 * HALF;
            const int64_t from = k * ld + row;
            vf x[16], y[16], total = v_zero();
            for (int64_t i = 0; i < 16; i++) {
                x[i] = k + i < depth ? source_load(source, dtype, from + i * ld, rows - row) : v_zero();
                y[i] = k + i + 16 < depth ? source_load(source, dtype, from + (i + 16) * ld, rows - row) : v_zero();
                total += x[i] + y[i];
            }
            if (sum) tile_store(sum + row, tile_load(sum + row, rows - row) + total, rows - row);
            v_transpose(x);
            v_transpose(y);
            for (int64_t i = 0; i < 16; i++) store_line(parts, half + i * LINE, x[i], y[i]);
        }
}

GEMM_CORE(gemm_amx, 3, .rows = MR, .grain = DEPTH, .bytes = 6)
GEMM_CORE(gemm_amx_bf16, 1, .rows = MR, .grain = DEPTH, .bytes = 2)
#else
typedef int empty_file; // a translation unit needs a declaration
#endif
