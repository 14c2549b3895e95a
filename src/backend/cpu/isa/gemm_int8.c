// gemm_int8.c: the core of products in 8-bit integers (graph/quantize.h): sums of four products a lane and instruction
// (VNNI), or 16 x 16 sums of 64 steps (AMX tiles); elsewhere the same sums by 16-bit multiply-adds. One depth block is one
// block of scales:
//
//     c = (s_a s_b) (sum (q_a + 128) q_b - 128 sum q_b)        VNNI multiplies unsigned by signed bytes, so A is moved up by 128
//
// Storage is in cells of 64 steps, in which byte b of quad i is step i + 16 b, in A and in B alike. So lines are made of
// whole vectors by shifts. In front of each depth block of a tile or panel stands its head.
//
//     tile    head: MR scales            cell: line of 16 quads per row, MR of them
//     panel   head: NR scales, NR times  cell: for each half (VW columns) 16 lines, line i = quad i of VW columns
//             -128 sum q_b
//
// Instruction sets differ in speed alone: integer sums are exact and the rest is the same few f32 operations.
//
// gemm_int8_drawn is the same but for A, whose numbers are rounded up or down at random (graph/quantize.h): for gradients whose
// many small parts, all rounded to 0, would be missed.
#include "backend/cpu/isa/gemm.h"
#include "graph/quantize.h"
#ifdef __AMX_INT8__
#include "backend/cpu/isa/tiles.h"
#endif

_Static_assert((int)KC == (int)HONE_QUANT_BLOCK, "a depth block is a block of scales");

enum { DEPTH = 64, QUADS = 16, LINE = 4 * VW, HALF = QUADS * LINE, CELL_B = NV * HALF, ROW = 4 * QUADS, HEAD = 8 };
#ifdef __AMX_INT8__
enum { MR = 32 };
#elif VW == 16
enum { MR = 12 };   // 24 sums + 2 of B + 1 broadcast of 32 registers; without VNNI B and A are two each
#elif defined __AVXVNNI__
enum { MR = 6 };    // 12 + 2 + 1 of 16
#else
enum { MR = 4 };    // 8 + 4 + 2 of 16
#endif
enum { CELL_A = MR * ROW };

// Vectors of integers ------------------------------------------------------------------------------------------------------

typedef uint32_t vu __attribute__((vector_size(4 * VW)));
V_INLINE vi vi_load(const void *p) { vi v; memcpy(&v, p, sizeof v); return v; }
V_INLINE void vi_store(void *p, vi v) { memcpy(p, &v, sizeof v); }
V_INLINE vf vi_to_float(vi v) { return __builtin_convertvector(v, vf); }
V_INLINE vi quad_set(const char *p) { int32_t quad; memcpy(&quad, p, sizeof quad); return v_set_i(quad); }

// sum + the four products of each lane: bytes of a are unsigned, of b signed.
V_INLINE vi add_quads(vi sum, vi a, vi b)
{
#if defined __AVX512VNNI__ || defined __AVXVNNI__
    __asm__(
#if VW == 8
        "%{vex%} "
#endif
        "vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
#elif VW == 16
    const __m512i bytes = _mm512_set1_epi16(0xff);
    const __m512i even = _mm512_madd_epi16(_mm512_and_si512((__m512i)a, bytes), _mm512_srai_epi16(_mm512_slli_epi16((__m512i)b, 8), 8));
    const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16((__m512i)a, 8), _mm512_srai_epi16((__m512i)b, 8));
    return sum + (vi)even + (vi)odd;
#elif VW == 8
    const __m256i bytes = _mm256_set1_epi16(0xff);
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256((__m256i)a, bytes), _mm256_srai_epi16(_mm256_slli_epi16((__m256i)b, 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16((__m256i)a, 8), _mm256_srai_epi16((__m256i)b, 8));
    return sum + (vi)even + (vi)odd;
#else
    for (int byte = 0; byte < 4; byte++) sum += (a >> 8 * byte & 255) * ((vi)((vu)b << (24 - 8 * byte)) >> 24);
    return sum;
#endif
}

// Lanes of four vectors of -127 .. 127 as bytes of one.
V_INLINE vi quads(vi q0, vi q1, vi q2, vi q3)
{
#if VW == 16 // packing leaves four bytes of q0, four of q1 ... in each 128 bits: a 4 x 4 transpose away
    const __m512i order = _mm512_set4_epi32(0x0f0b0703, 0x0e0a0602, 0x0d090501, 0x0c080400);
    const __m512i low = _mm512_packs_epi32((__m512i)q0, (__m512i)q1), high = _mm512_packs_epi32((__m512i)q2, (__m512i)q3);
    return (vi)_mm512_shuffle_epi8(_mm512_packs_epi16(low, high), order);
#elif VW == 8
    const __m256i order = _mm256_setr_epi32(0x0c080400, 0x0d090501, 0x0e0a0602, 0x0f0b0703, 0x0c080400, 0x0d090501, 0x0e0a0602, 0x0f0b0703);
    const __m256i low = _mm256_packs_epi32((__m256i)q0, (__m256i)q1), high = _mm256_packs_epi32((__m256i)q2, (__m256i)q3);
    return (vi)_mm256_shuffle_epi8(_mm256_packs_epi16(low, high), order);
#else
    return (vi)(((vu)q0 & 255) | ((vu)q1 & 255) << 8 | ((vu)q2 & 255) << 16 | (vu)q3 << 24);
#endif
}

// drawn: rounded at random, else to the nearest.
V_INLINE vi quantized(const bool drawn, vf v, vf inverse)
{
    if (!drawn) return v_to_int(v * inverse);
    const vu mixed = (vu)v * HONE_QUANT_MIX, bits = (mixed ^ mixed >> 15) * HONE_QUANT_MIX2;
    return v_to_int(v_fma(v, inverse, vi_to_float((vi)(bits >> 16)) * v_set(0x1p-16f) - v_set(0.5f)));
}

// Largest |x| by lane, as bits: whole numbers order non-negative floats, infinity above all of them and NaN above that.
V_INLINE vi larger(vi top, vf x)
{
    const vi bits = (vi)x & 0x7fffffff;
#if VW == 16
    return (vi)_mm512_max_epi32((__m512i)top, (__m512i)bits);
#elif VW == 8
    return (vi)_mm256_max_epi32((__m256i)top, (__m256i)bits);
#else
    const vi more = bits > top;
    return (bits & more) | (top & ~more);
#endif
}
V_INLINE float largest(vi top)
{
    int32_t best = 0;
    for (int i = 0; i < VW; i++) best = top[i] > best ? top[i] : best;
    float value;
    memcpy(&value, &best, sizeof value);
    return value;
}

// Products -------------------------------------------------------------------------------------------------------------------

#define TILE_PARAMETERS int64_t depth, const void *a, const void *b, fetch ahead, float *c, int64_t ldc, int64_t width, const float *bias, const float *addend

// Row r of the tile: sums of two vectors of columns become c.
V_INLINE void finish_row(int64_t r, vi sum0, vi sum1, const float *a, const float *b, float *c, int64_t ldc, int64_t width, const float *bias, const float *addend)
{
    const vf row = v_set(a[r]), scale0 = row * v_load(b), scale1 = row * v_load(b + VW);
    tile_finish(c + r * ldc, vi_to_float(sum0) * scale0, vi_to_float(sum1) * scale1, width, bias, addend ? addend + r * ldc : NULL);
}

// -128 sum q_b of half a panel's columns.
V_INLINE vi columns_less(const void *panel, int64_t half) { return vi_load((const char *)panel + NR * 4 + half * LINE); }

#ifdef __AMX_INT8__

// Tiles 0 to 3 hold sums by halves (rows, columns), 4 and 5 A's halves, 6 and 7 B's; as in gemm_amx.c. tall, wide: the second half is wanted.
V_INLINE void multiply_cells(const bool tall, const bool wide, int64_t cells, const char *a, const char *b, int32_t *sum)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (; cells > 0; cells--, a += CELL_A, b += CELL_B) {
        _tile_loadd(4, a, ROW);
        if (tall) _tile_loadd(5, a + 16 * ROW, ROW);
        _tile_loadd(6, b, LINE);
        if (wide) _tile_loadd(7, b + HALF, LINE);
        _tile_dpbusd(0, 4, 6);
        if (wide) _tile_dpbusd(1, 4, 7);
        if (tall) _tile_dpbusd(2, 5, 6);
        if (tall && wide) _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, sum, NR * 4);
    if (wide) _tile_stored(1, sum + 16, NR * 4);
    if (tall) _tile_stored(2, sum + 16 * NR, NR * 4);
    if (tall && wide) _tile_stored(3, sum + 16 * NR + 16, NR * 4);
}

static void multiply_tile(int64_t height, TILE_PARAMETERS)
{
    int32_t sum[MR * NR] __attribute__((aligned(64)));
    const int64_t cells = divide_up(depth, DEPTH);
    const char *cell_a = (const char *)a + MR * HEAD, *cell_b = (const char *)b + NR * HEAD;
    const bool tall = height > 16, wide = width > 16;
    (void)ahead;
    if (tall && wide) multiply_cells(true, true, cells, cell_a, cell_b, sum);
    else if (tall) multiply_cells(true, false, cells, cell_a, cell_b, sum);
    else if (wide) multiply_cells(false, true, cells, cell_a, cell_b, sum);
    else multiply_cells(false, false, cells, cell_a, cell_b, sum);
    const vi less0 = columns_less(b, 0), less1 = columns_less(b, 1);
    for (int64_t r = 0; r < height; r++)
        finish_row(r, vi_load(sum + r * NR) + less0, vi_load(sum + r * NR + VW) + less1, a, b, c, ldc, width, bias, addend);
}
#define BEGIN_TILES tiles_begin()
#define END_TILES tiles_end()

#else

#if VW == 16
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#elif defined __AVXVNNI__
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6)
#else
#define EACH_ROW(X) X(0) X(1) X(2) X(3)
#define EACH_HEIGHT(X) X(1) X(2) X(3) X(4)
#endif

// One tile of R rows (constant). Sums are named one by one for the reason that gemm_fma.c gives.
V_INLINE void tile(const int R, TILE_PARAMETERS)
{
    const vi less0 = columns_less(b, 0), less1 = columns_less(b, 1);
    const char *cell_a = (const char *)a + MR * HEAD, *cell_b = (const char *)b + NR * HEAD;
#define BEGIN(r) vi sum##r##0 = less0, sum##r##1 = less1;
    EACH_ROW(BEGIN)
    for (; depth > 0; depth -= DEPTH, cell_a += CELL_A, cell_b += CELL_B)
        for (int64_t i = 0; i < QUADS; i += 4) {
            fetch_next(&ahead);
#define MULTIPLY_ROW(r)                                                   \
            if (r < R) {                                                  \
                const vi s = quad_set(cell_a + r * ROW + (i + quad) * 4); \
                sum##r##0 = add_quads(sum##r##0, s, b0);                  \
                sum##r##1 = add_quads(sum##r##1, s, b1);                  \
            }
            V_UNROLL for (int quad = 0; quad < 4; quad++) {
                const vi b0 = vi_load(cell_b + (i + quad) * LINE), b1 = vi_load(cell_b + (i + quad) * LINE + HALF);
                EACH_ROW(MULTIPLY_ROW)
            }
        }
#define FINISH(r) if (r < R) finish_row(r, sum##r##0, sum##r##1, a, b, c, ldc, width, bias, addend);
    EACH_ROW(FINISH)
}

typedef void tile_fn(TILE_PARAMETERS);
#define TILE(R) static void tile_##R(TILE_PARAMETERS) { tile(R, depth, a, b, ahead, c, ldc, width, bias, addend); }
EACH_HEIGHT(TILE)
#define ENTRY(R) tile_##R,
static tile_fn *const tile_of[MR] = { EACH_HEIGHT(ENTRY) };
static void multiply_tile(int64_t height, TILE_PARAMETERS) { tile_of[height - 1](depth, a, b, ahead, c, ldc, width, bias, addend); }
#define BEGIN_TILES (void)0
#define END_TILES (void)0
#endif

static void block(const bool drawn, const gemm *g, span tiles, span panels)
{
    BEGIN_TILES;
    walk_tiles(drawn ? &gemm_int8_drawn : &gemm_int8, multiply_tile, g, tiles, panels);
    END_TILES;
}

// Panels and tiles -------------------------------------------------------------------------------------------------------------
//
// Of two kinds: the steps of a row lie side by side in the source, or the rows of a step do (its lanes). Either way four vectors
// 16 steps apart become a vector of quads; a transpose of VW by VW quads turns one kind into the other.

// The largest |x| of `depth` steps side by side.
V_INLINE float top_of_steps(const void *source, hone_dtype dtype, int64_t at, int64_t depth)
{
    vi top = { 0 };
    for (int64_t k = 0; k < depth; k += VW) top = larger(top, source_load(source, dtype, at + k, depth - k));
    return largest(top);
}
// Quads k, k + 1 .. of VW steps each time, from element `at` on; steps from `depth` on are zeros.
V_INLINE vi quads_of_steps(const bool drawn, const void *source, hone_dtype dtype, int64_t at, int64_t k, int64_t depth, float inverse)
{
    vi q[4];
    V_UNROLL for (int byte = 0; byte < 4; byte++, k += QUADS) q[byte] = quantized(drawn, source_load(source, dtype, at + k, depth - k), v_set(inverse));
    return quads(q[0], q[1], q[2], q[3]);
}

// Columns of a source: step k of column i is element i of row k (rows NULL) or rows[k], ld apart.
typedef struct columns { const void *source; hone_dtype dtype; int64_t ld; const int32_t *rows; int64_t depth; } columns;
V_INLINE int64_t row_of(const columns *c, int64_t k) { return (c->rows ? c->rows[k] : k) * c->ld; }

// The scales of columns column .. column + n - 1, what to multiply them by, and (sum not NULL) their sums. Many columns at a
// time, so that rows are read by whole cache lines.
static void scales_of_columns(const columns *c, int64_t column, int64_t n, float *scale, float *inverse, float *sum)
{
    enum { TOGETHER = 4, AHEAD = 32 }; // vectors; rows that are asked for before the hardware foresees them
    const int64_t bytes = source_bytes(c->dtype);
    for (int64_t i = 0; i < n; i += TOGETHER * VW) {
        const int64_t many = at_most(n - i, TOGETHER * VW);
        vi top[TOGETHER] = { 0 };
        vf total[TOGETHER] = { 0 };
        for (int64_t k = 0; k < c->depth; k++) {
            const int64_t at = row_of(c, k) + column + i, soon = row_of(c, at_most(k + AHEAD, c->depth - 1)) + column + i;
            __builtin_prefetch((const char *)c->source + soon * bytes);
            __builtin_prefetch((const char *)c->source + (soon + many - 1) * bytes);
            V_UNROLL for (int v = 0; v < TOGETHER; v++) {
                if (v * VW >= many) break;
                const vf x = source_load(c->source, c->dtype, at + v * VW, many - v * VW);
                top[v] = larger(top[v], x);
                total[v] += x;
            }
        }
        for (int64_t l = 0; l < many; l++) {
            const hone_quant quant = hone_quant_of(((vf)top[l / VW])[l % VW]);
            scale[i + l] = quant.scale;
            inverse[i + l] = quant.inverse;
            if (sum) sum[i + l] += total[l / VW][l % VW];
        }
    }
}
// Quad k of n (<= VW) columns from `column` on; steps from the depth on are zeros.
V_INLINE vi quads_of_columns(const bool drawn, const columns *c, int64_t column, int64_t n, int64_t k, vf inverse)
{
    vi q[4];
    V_UNROLL for (int byte = 0; byte < 4; byte++, k += QUADS)
        q[byte] = k < c->depth ? quantized(drawn, source_load(c->source, c->dtype, row_of(c, k) + column, n), inverse) : (vi){ 0 };
    return quads(q[0], q[1], q[2], q[3]);
}

// Adds up the signed bytes of quads.
V_INLINE vi add_bytes(vi sum, vi quads) { return add_quads(sum, v_set_i(0x01010101), quads); }
V_INLINE void store_less(char *panel, int64_t half, vi sum) { vi_store(panel + NR * 4 + half * LINE, sum * -128); }

// One depth block of a panel whose columns are source rows.
V_INLINE void block_of_rows(char *panel, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t from, int64_t depth)
{
    for (int64_t part = 0; part < NV; part++) {
        int64_t at[VW];
        float scale[VW], inverse[VW];
        vi sum = { 0 };
        for (int64_t i = 0; i < VW; i++) {
            const int64_t row = part * VW + i;
            const hone_quant none = { 0, 0 };
            at[i] = row < n ? (rows ? rows[row] : row) * ld + from : -1;
            const hone_quant quant = at[i] < 0 ? none : hone_quant_of(top_of_steps(source, dtype, at[i], depth));
            scale[i] = quant.scale, inverse[i] = quant.inverse;
        }
        vi_store(panel + part * LINE, vi_load(scale));
        char *line = panel + NR * HEAD + part * HALF;
        for (int64_t k = 0; k < depth; k += DEPTH, line += CELL_B - HALF)
            for (int64_t quad = 0; quad < QUADS; quad += VW) {
                vf square[VW];
                for (int64_t i = 0; i < VW; i++) square[i] = at[i] < 0 ? v_zero() : (vf)quads_of_steps(false, source, dtype, at[i], k + quad, depth, inverse[i]);
                v_transpose(square);
                for (int64_t i = 0; i < VW; i++, line += LINE) {
                    vi_store(line, (vi)square[i]);
                    sum = add_bytes(sum, (vi)square[i]);
                }
            }
        store_less(panel, part, sum);
    }
}
static void panel_of_rows(const bool drawn, void *panel, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth)
{
    (void)drawn;
    for (int64_t k = 0; k < depth; k += KC)
        block_of_rows((char *)panel + gemm_panel_bytes(&gemm_int8, k), source, dtype, ld, rows, n, k, at_most(KC, depth - k));
}

static void panel_of_columns(const bool drawn, void *panel, const void *source, hone_dtype dtype, int64_t ld, const int32_t *rows, int64_t n, int64_t depth)
{
    (void)drawn;
    const int64_t bytes = source_bytes(dtype);
    for (int64_t from = 0; from < depth; from += KC) {
        char *block = (char *)panel + gemm_panel_bytes(&gemm_int8, from);
        const columns c = { rows ? source : (const char *)source + from * ld * bytes, dtype, ld, rows ? rows + from : NULL, at_most(KC, depth - from) };
        float scale[NR] = { 0 }, inverse[NR] = { 0 };
        scales_of_columns(&c, 0, n, scale, inverse, NULL);
        memcpy(block, scale, sizeof scale);
        for (int64_t part = 0; part < NV; part++) {
            const vf by = v_load(inverse + part * VW);
            vi sum = { 0 };
            char *line = block + NR * HEAD + part * HALF;
            for (int64_t k = 0; k < c.depth; k += DEPTH, line += CELL_B - HALF)
                for (int64_t quad = 0; quad < QUADS; quad++, line += LINE) {
                    const vi q = quads_of_columns(false, &c, part * VW, n - part * VW, k + quad, by);
                    vi_store(line, q);
                    sum = add_bytes(sum, q);
                }
            store_less(block, part, sum);
        }
    }
}

V_INLINE vi unsigned_bytes(vi quads) { return quads ^ v_set_i((int32_t)0x80808080); } // + 128

static void tiles_of_rows(const bool drawn, void *to, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile, int64_t depth)
{
    char *out = to;
    for (int64_t t = tile.from; t < tile.to; t++, out += gemm_tile_bytes(&gemm_int8, depth)) {
        const int64_t row = gemm_tile_row(&gemm_int8, rows, t), height = gemm_tile_row(&gemm_int8, rows, t + 1) - row;
        for (int64_t r = 0; r < height; r++) {
            const int64_t at = (row + r) * ld;
            fetch_row(source, dtype, ld, at_most(row + r + 4, rows - 1), 0, depth);
            const hone_quant quant = hone_quant_of(top_of_steps(source, dtype, at, depth));
            ((float *)(void *)out)[r] = quant.scale;
            char *line = out + MR * HEAD + r * ROW;
            for (int64_t k = 0; k < depth; k += DEPTH, line += CELL_A)
                for (int64_t quad = 0; quad < QUADS; quad += VW)
                    vi_store(line + quad * 4, unsigned_bytes(quads_of_steps(drawn, source, dtype, at, k + quad, depth, quant.inverse)));
        }
    }
}

// One tile from columns row .. row + height - 1.
V_INLINE void tile_of_columns(const bool drawn, char *tile, const columns *c, int64_t row, int64_t height, const float *scale, const float *inverse)
{
    memcpy(tile, scale, (size_t)height * sizeof *scale);
    for (int64_t part = 0; part < height; part += VW) {
        const int64_t n = at_most(VW, height - part);
        const vf by = v_load_n(inverse + part, n);
        char *cell = tile + MR * HEAD + part * ROW;
        for (int64_t k = 0; k < c->depth; k += DEPTH, cell += CELL_A)
            for (int64_t quad = 0; quad < QUADS; quad += VW) {
                vf square[VW];
                for (int64_t i = 0; i < VW; i++) square[i] = (vf)unsigned_bytes(quads_of_columns(drawn, c, row + part, n, k + quad + i, by));
                v_transpose(square);
                for (int64_t r = 0; r < n; r++) vi_store(cell + r * ROW + quad * 4, (vi)square[r]);
            }
    }
}
static void tiles_of_columns(const bool drawn, void *to, const void *source, hone_dtype dtype, int64_t ld, int64_t rows, span tile, int64_t depth, float *sum)
{
    enum { TOGETHER = 8 }; // tiles
    const columns c = { source, dtype, ld, NULL, depth };
    const int64_t bytes = gemm_tile_bytes(&gemm_int8, depth);
    for (int64_t first = tile.from; first < tile.to; first += TOGETHER) {
        const int64_t last = at_most(first + TOGETHER, tile.to), from = gemm_tile_row(&gemm_int8, rows, first);
        float scale[TOGETHER * MR], inverse[TOGETHER * MR];
        scales_of_columns(&c, from, gemm_tile_row(&gemm_int8, rows, last) - from, scale, inverse, sum ? sum + from : NULL);
        for (int64_t t = first; t < last; t++) {
            const int64_t row = gemm_tile_row(&gemm_int8, rows, t), height = gemm_tile_row(&gemm_int8, rows, t + 1) - row;
            tile_of_columns(drawn, (char *)to + t * bytes, &c, row, height, scale + row - from, inverse + row - from);
        }
    }
}

GEMM_CORE(gemm_int8, false, .rows = MR, .even = MR < 32, .grain = DEPTH, .bytes = 1, .head = HEAD)
GEMM_CORE(gemm_int8_drawn, true, .rows = MR, .even = MR < 32, .grain = DEPTH, .bytes = 1, .head = HEAD)
