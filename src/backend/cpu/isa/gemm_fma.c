// gemm_fma.c: the core on vector multiply-adds: register tiles, panels and the walk over one block (see gemm.h).
//
// Goto & van de Geijn 2008 as refined by BLIS (Van Zee & van de Geijn 2015), with two changes: A is not repacked where its
// steps are adjacent already, and the depth is cut at one fixed KC.
#include "backend/cpu/isa/gemm.h"

// A block is walked depth block by depth block, panel by panel, tile by tile: a panel's KC rows stay in the first-level
// cache while all tiles of the block pass, the block of A (tiles x KC) and of C stay in the second level.

#if VW == 16
enum { MR = 14 };   // 28 accumulators + 2 of B + 1 broadcast of 32 registers
#elif VW == 8
enum { MR = 6 };    // 12 + 2 + 1 of 16
#else
enum { MR = 4 };    // 8 + 2 + 1 of 16
#endif

// The sums of a tile are named one by one: compilers keep an array of them in memory as often as not.
#if VW == 16
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#elif VW == 8
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#else
#define EACH_ROW(X) X(0) X(1) X(2) X(3)
#endif

// Rows of A in place share a pointer by threes: p, p + lda, p + 2 lda are addressing modes, and 14 pointers would spill.
// The empty asm keeps the compiler from seeing through that.
#define OPAQUE(p) __asm__("" : "+r"(p))
#define POINTER(i) const char *p##i = (const char *)a + (packed || 3 * i >= R ? 0 : 3 * i * stride);
#define ADVANCE(i) if (!packed && 3 * i < R) { p##i += STEPS * sizeof(float); OPAQUE(p##i); }
#define EACH_POINTER(X) X(0) X(1) X(2) X(3) X(4)
#define POINTER_OF(r) ((r) < 3 ? p0 : (r) < 6 ? p1 : (r) < 9 ? p2 : (r) < 12 ? p3 : p4)
#define A(r) (*(const float *)(packed ? (const char *)(a + at * MR + r) : POINTER_OF(r) + r % 3 * stride + at * 4))

// Row r: sum += A(r) b. Instructions by hand where there are some. Left to itself gcc picks the form that overwrites the
// broadcast, runs out of registers and spills 14 of them a step, a fifth of the speed. And AVX-512 takes the broadcast as a
// memory operand, one micro-op less: for a third of the rows in place (those whose address has no index, or it would be split
// again), for two thirds of a tile's rows (more would pass the two loads a cycle). Where a hyperthread neighbour has half of
// the front end that is worth 7 %, on a core of one's own 1 %.
#if VW == 16
#define ADD_PRODUCT(sum, s, b) __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(s), "v"(b))
#define ADD_PRODUCT_OF(sum, where, b) __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(b), "m"(where))
#define FROM_MEMORY(r) (((r) % 3 == 0) != packed)
#else
#if VW == 8
#define ADD_PRODUCT(sum, s, b) __asm__("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(s), "v"(b))
#else
#define ADD_PRODUCT(sum, s, b) sum = v_fma(s, b, sum)
#endif
#define ADD_PRODUCT_OF(sum, where, b) ADD_PRODUCT(sum, v_set(where), b)
#define FROM_MEMORY(r) false
#endif

// One tile over one depth block. R rows (constant), `width` columns. ahead: where to fetch into the second-level cache, LINES
// every four steps; more where low tiles say that few of them will pass a panel (decoding 32 rows: 1.7x).
#define LINES(R) ((R) + 2 < MR ? 3 : 1)
V_INLINE void tile(const int R, const bool packed, int64_t depth, const float *a, int64_t lda, const float *b,
                   const char *ahead, float *c, int64_t ldc, int64_t width, const float *bias, const float *addend)
{
    int64_t stride = lda * (int64_t)sizeof(float);
    EACH_POINTER(POINTER)
#define BEGIN(r)                                  \
    vf sum##r##0 = v_zero(), sum##r##1 = v_zero(); \
    if (r < R) fetch_line(c + r * ldc), fetch_line(c + r * ldc + NR - 1);
    EACH_ROW(BEGIN)
#define ROW(r)                                     \
    if (r < R && FROM_MEMORY(r)) {                 \
        ADD_PRODUCT_OF(sum##r##0, A(r), b0);       \
        ADD_PRODUCT_OF(sum##r##1, A(r), b1);       \
    } else if (r < R) {                            \
        const vf s = v_set(A(r));                  \
        ADD_PRODUCT(sum##r##0, s, b0);             \
        ADD_PRODUCT(sum##r##1, s, b1);             \
    }
#define STEP                                                                   \
    {                                                                          \
        const vf b0 = v_load(b + at * NR), b1 = v_load(b + at * NR + VW);      \
        EACH_ROW(ROW)                                                          \
        OPAQUE(stride);                                                        \
    }
    int64_t k = 0;
    for (; k + 4 <= depth; k += 4) {
        enum { STEPS = 4 };
        { enum { at = 0 }; STEP }
        { enum { at = 1 }; STEP }
        { enum { at = 2 }; STEP }
        { enum { at = 3 }; STEP }
        EACH_POINTER(ADVANCE)
        if (packed) a += STEPS * MR;
        b += STEPS * NR;
        fetch_line(ahead);
        if (LINES(R) == 3) fetch_line(ahead + 64), fetch_line(ahead + 128);
        ahead += 64 * LINES(R);
    }
    for (; k < depth; k++) {
        enum { STEPS = 1, at = 0 };
        STEP
        EACH_POINTER(ADVANCE)
        if (packed) a += MR;
        b += NR;
    }
#define FINISH(r) if (r < R) tile_finish(c + r * ldc, sum##r##0, sum##r##1, width, bias, addend ? addend + r * ldc : NULL);
    EACH_ROW(FINISH)
}

typedef void tile_fn(int64_t depth, const float *a, int64_t lda, const float *b, const char *ahead, float *c, int64_t ldc,
                     int64_t width, const float *bias, const float *addend);
#define TILE_AS(name, packed, R)                                                                                               \
    static void name(int64_t depth, const float *a, int64_t lda, const float *b, const char *ahead, float *c, int64_t ldc,     \
                     int64_t width, const float *bias, const float *addend)                                                   \
    {                                                                                                                          \
        tile(R, packed, depth, a, lda, b, ahead, c, ldc, width, bias, addend);                                                 \
    }
#define TILE(R) TILE_AS(rows_##R, false, R) TILE_AS(packed_##R, true, R)
#if VW == 16
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#elif VW == 8
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4)
#endif
EACH_HEIGHT(TILE)
#define ROWS(R) rows_##R,
#define PACKED(R) packed_##R,
static tile_fn *const tile_of_rows[MR] = { EACH_HEIGHT(ROWS) }, *const tile_packed[MR] = { EACH_HEIGHT(PACKED) };

static void tiles_of_rows(bool narrow, void *tiles, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile, int64_t depth);

V_INLINE void block(const bool narrow, const gemm *g, span tiles, span panels)
{
    const bool packed = g->tiles || g->make;
    const int64_t bytes = source_bytes(g->dtype);
    int64_t soon = g->soon.from;
    tile_fn *const *const kernel = packed ? tile_packed : tile_of_rows;
    for (int64_t k = 0; k < g->depth; k += KC) {
        const int64_t depth = at_most(KC, g->depth - k);
        const float *bias = k ? NULL : g->bias, *addend = k ? g->c : g->addend;
        const float *a = (const float *)g->a + (g->tiles ? gemm_tiles(&gemm_fma, g->rows) * MR * k : k), *first = g->make ? (float *)g->make - tiles.from * MR * depth : a;
        if (g->make) tiles_of_rows(narrow, g->make, (const char *)g->a + k * bytes, g->dtype, g->lda, g->rows, tiles, depth);
        for (int64_t j = panels.from; j < panels.to; j++) {
            const char *b = g->b + j * g->b_panel + k * NR * 4;
            const char *next = j + 1 < panels.to ? b + g->b_panel : g->b + panels.from * g->b_panel + (k + KC) * NR * 4;
            for (int64_t i = tiles.from; i < tiles.to; i++) {
                const int64_t row = gemm_tile_row(&gemm_fma, g->rows, i), height = gemm_tile_row(&gemm_fma, g->rows, i + 1) - row;
                const int64_t at = row * g->ldc + j * NR, eighth = depth / 4 * 64;
                const char *ahead = soon < g->soon.to ? (const char *)soon : next + (i - tiles.from) * LINES(height) % 8 * eighth;
                kernel[height - 1](depth, packed ? first + i * MR * depth : a + row * g->lda, g->lda, (const float *)b, ahead, g->c + at, g->ldc,
                                   g->cols - j * NR, bias ? bias + j * NR : NULL, addend ? addend + at : NULL);
                soon += LINES(height) * eighth;
            }
        }
    }
}

// Panels and tiles ------------------------------------------------------------------------------------------------------

V_INLINE vf rounded(const bool narrow, vf v) { return narrow ? v_round_bf16(v) : v; }

V_INLINE void panel_of_rows(const bool narrow, void *to, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth)
{
    float *panel = to;
    for (int64_t k = 0; k < depth; k += VW) {
        const int64_t steps = at_most(VW, depth - k);
        for (int64_t part = 0; part < NR; part += VW) {
            vf square[VW];
            for (int64_t i = 0; i < VW; i++)
                square[i] = part + i < n ? source_load(source, dtype, (rows ? rows[part + i] : part + i) * ld + k, steps) : v_zero();
            v_transpose(square);
            for (int64_t i = 0; i < steps; i++) v_store(panel + (k + i) * NR + part, rounded(narrow, square[i]));
        }
    }
}

// Both copy short pieces far apart, which the hardware does not foresee: rows are asked for AHEAD steps before they are read.
enum { AHEAD = 32 };

V_INLINE void panel_of_columns(const bool narrow, void *to, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth)
{
    float *panel = to;
    for (int64_t k = 0; k < depth; k++) {
        const int64_t soon = at_most(k + AHEAD, depth - 1), at = (rows ? rows[k] : k) * ld;
        fetch_piece(source, dtype, (rows ? rows[soon] : soon) * ld, NR);
        for (int64_t part = 0; part < NR; part += VW) v_store(panel + k * NR + part, rounded(narrow, source_load(source, dtype, at + part, n - part)));
    }
}

V_INLINE void tiles_of_columns(const bool narrow, void *to, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile, int64_t depth, float *sum)
{
    enum { TOGETHER = 8 }; // tiles side by side: each step then reads whole cache lines
    float *tiles = to;
    for (int64_t t = tile.from; t < tile.to; t += TOGETHER) {
        const int64_t many = at_most(TOGETHER, tile.to - t);
        vf total[TOGETHER];
        for (int64_t i = 0; i < many; i++) total[i] = v_zero();
        const int64_t left = gemm_tile_row(&gemm_fma, rows, t), right = gemm_tile_row(&gemm_fma, rows, t + many);
        int64_t row_of[TOGETHER + 1];
        for (int64_t i = 0; i <= many; i++) row_of[i] = gemm_tile_row(&gemm_fma, rows, t + i);
        for (int64_t k = 0; k < depth; k++) {
            for (int64_t c = left; c < right; c += 16) fetch_line((const char *)source + (at_most(k + AHEAD, depth - 1) * ld + c) * source_bytes(dtype));
            for (int64_t i = 0; i < many; i++) {
                const vf v = source_load(source, dtype, k * ld + row_of[i], row_of[i + 1] - row_of[i]);
                v_store_n(tiles + (t + i) * MR * depth + k * MR, rounded(narrow, v), MR);
                total[i] += v;
            }
        }
        for (int64_t i = 0; sum && i < many; i++) {
            const int64_t row = gemm_tile_row(&gemm_fma, rows, t + i), height = gemm_tile_row(&gemm_fma, rows, t + i + 1) - row;
            v_store_n(sum + row, v_load_n(sum + row, height) + total[i], height);
        }
    }
}

static void tiles_of_rows(const bool narrow, void *to, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile, int64_t depth)
{
    float *tiles = to;
    for (int64_t t = tile.from; t < tile.to; t++, tiles += MR * depth) {
        const int64_t row = gemm_tile_row(&gemm_fma, rows, t), height = gemm_tile_row(&gemm_fma, rows, t + 1) - row;
        for (int64_t k = 0; k < depth; k += VW) {
            const int64_t steps = at_most(VW, depth - k);
            vf square[VW];
            for (int64_t i = row + height; i < at_most(row + height + MR, rows); i++) fetch_row(source, dtype, ld, i, k, VW);
            for (int64_t i = 0; i < VW; i++) square[i] = i < height ? source_load(source, dtype, (row + i) * ld + k, steps) : v_zero();
            v_transpose(square);
            for (int64_t i = 0; i < steps; i++) v_store_n(tiles + (k + i) * MR, rounded(narrow, square[i]), MR);
        }
    }
}

GEMM_CORE(gemm_fma, false, .rows = MR, .even = true, .in_place = true, .grain = 1, .bytes = sizeof(float))
// Rounded once, on the way into tiles and panels; the products are then exact in f32.
GEMM_CORE(gemm_fma_bf16, true, .rows = MR, .even = true, .grain = 1, .bytes = sizeof(float))
