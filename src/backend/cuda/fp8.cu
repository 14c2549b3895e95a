// fp8.cu: tensors made 8-bit floats for a product (graph/fp8.h), as they lie or transposed, since the product library takes fp8
// only with both operands' rows along the sum. With a scale for each tensor that is two launches: the largest of the tensor, then the
// codes, whose every block takes the largest of the first one's parts. With a scale for each block it is one, which reads x once.
// Sizes are multiples of 16, so that 16 bytes are read and 8 or 16 written at a time.
//   in: x (N, K)   work: (n[0],) parts   out: codes (N, K) or (K, N), scale (1,)
#include "backend/cuda/kernel.h"

// Numbers i .. i + 7.
HONE_DEVICE void load_8(const hone_cuda_view *x, int64_t i, float y[8])
{
    if (x->dtype != HONE_bf16) {
        load_16((float *)y, (const float *)x->data + i);
        load_16((float *)y + 4, (const float *)x->data + i + 4);
        return;
    }
#ifdef __CUDACC__
    const uint4 pairs = *(const uint4 *)((const uint16_t *)x->data + i);
    const uint32_t pair[4] = { pairs.x, pairs.y, pairs.z, pairs.w };
    for (int e = 0; e < 8; e++) y[e] = hone_bf16_to_f32((uint16_t)(pair[e / 2] >> e % 2 * 16));
#else
    for (int e = 0; e < 8; e++) y[e] = hone_bf16_to_f32(((const uint16_t *)x->data)[i + e]);
#endif
}

// 8 or 16 codes, in one access.
HONE_DEVICE void store_words(uint8_t *to, const uint32_t *word, int words)
{
#ifdef __CUDACC__
    if (words == 2) *(uint2 *)to = make_uint2(word[0], word[1]);
    else *(uint4 *)to = make_uint4(word[0], word[1], word[2], word[3]);
#else
    for (int e = 0; e < words; e++) ((uint32_t *)to)[e] = word[e];
#endif
}

// The codes of two numbers, the second in the upper byte. What is not finite becomes NaN (the instruction makes infinity the largest).
HONE_DEVICE uint32_t codes_of_2(float x, float y, bool e5m2)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
    uint16_t pair;
    if (!(fabsf(x) < INFINITY)) x = NAN;
    if (!(fabsf(y) < INFINITY)) y = NAN;
    if (e5m2) asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(y), "f"(x));
    else asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(y), "f"(x));
    return pair;
#else
    return (uint32_t)hone_fp8_code(x, e5m2) | (uint32_t)hone_fp8_code(y, e5m2) << 8;
#endif
}

HONE_DEVICE uint32_t codes_of_4(float x, float y, float z, float w, float inverse, bool e5m2)
{
    return codes_of_2(x * inverse, y * inverse, e5m2) | codes_of_2(z * inverse, w * inverse, e5m2) << 16;
}

HONE_DEVICE void codes_of_8(const hone_cuda_call *c, int64_t i, float inverse, uint32_t code[2])
{
    const bool e5m2 = c->out[0].dtype == HONE_e5m2;
    float x[8];
    load_8(&c->in[0], i, x);
    for (int half = 0; half < 2; half++) code[half] = codes_of_4(x[4 * half], x[4 * half + 1], x[4 * half + 2], x[4 * half + 3], inverse, e5m2);
}

// The larger of a largest |x| and |x|, infinity where one is not finite.
HONE_DEVICE float larger(float top, float x)
{
    const float size = fabsf(x);
    return size < INFINITY ? fmaxf(top, size) : INFINITY;
}

// work[block] = largest |x| of its share, infinity where one is not finite
HONE_KERNEL(fp8_largest, 256)
{
    float top = 0;
    for (int64_t i = first_element(); i < count(&c.in[0]) / 8; i += element_step()) {
        float x[8];
        load_8(&c.in[0], 8 * i, x);
        for (int e = 0; e < 8; e++) top = larger(top, x[e]);
    }
    top = block_max(top);
    if (threadIdx.x == 0) ((float *)c.work)[blockIdx.x] = top;
}

// What all numbers are multiplied by; the first block leaves the scale where the product looks for it.
HONE_DEVICE float inverse_scale(const hone_cuda_call *c)
{
    float top = 0;
    for (int64_t i = threadIdx.x; i < c->n[0]; i += blockDim.x) top = fmaxf(top, ((const float *)c->work)[i]);
    const hone_fp8_scale s = hone_fp8_scale_of(block_max(top), c->out[0].dtype == HONE_e5m2);
    if (blockIdx.x == 0 && threadIdx.x == 0) put(&c->out[1], 0, s.scale);
    return s.inverse;
}

HONE_KERNEL(fp8_cast, 256)
{
    const float inverse = inverse_scale(&c);
    for (int64_t i = first_element(); i < count(&c.in[0]) / 8; i += element_step()) {
        uint32_t code[2];
        codes_of_8(&c, 8 * i, inverse, code);
        store_words((uint8_t *)c.out[0].data + 8 * i, code, 2);
    }
}

// A tile of codes goes through shared memory: a thread reads 16 numbers of a row and writes 16 codes of a column. (Rows of 68 bytes: a
// warp's 8 rows and 4 columns, 16 apart, meet in two banks at most.)
HONE_KERNEL(fp8_transpose, 256)
{
    enum { SIDE = HONE_CUDA_FP8_TILE, STRIDE = SIDE + 4 };
    __shared__ uint32_t tile[SIDE * STRIDE / 4];
    uint8_t *codes = (uint8_t *)tile;
    const float inverse = inverse_scale(&c);
    const int64_t rows = c.in[0].rows, cols = c.in[0].cols, across = (cols + SIDE - 1) / SIDE, tiles = (rows + SIDE - 1) / SIDE * across;
    const int line = (int)threadIdx.x / 4, along = (int)threadIdx.x % 4 * 16;
    for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
        const int64_t row = t / across * SIDE, col = t % across * SIDE;
        for (int part = along; part < along + 16 && row + line < rows && col + along < cols; part += 8) {
            uint32_t code[2];
            codes_of_8(&c, (row + line) * cols + col + part, inverse, code);
            for (int e = 0; e < 8; e++) codes[(part + e) * STRIDE + line] = (uint8_t)(code[e / 4] >> e % 4 * 8);
        }
        __syncthreads();
        if (col + line < cols && row + along < rows) store_words((uint8_t *)c.out[0].data + (col + line) * rows + row + along, tile + (line * STRIDE + along) / 4, 4);
        __syncthreads();
    }
}

// --- a scale for each block of 128: a tile of 128 x 128 at a time, of which a thread holds 8 rows of 8 numbers -----------------------
//   n: which blocks (hone_fp8_scaling), transposed   out: codes, scales as hone_fp8_scale_at() has them

enum { EDGE = 8, LINES = HONE_FP8_BLOCK / EDGE };   // of a thread's part; of a tile in such parts, down and across

typedef struct fp8_part { int64_t row, col; int line, along; float x[EDGE][EDGE]; } fp8_part;   // of x; of the tile

HONE_DEVICE void load_part(const hone_cuda_view *x, fp8_part *p)
{
    UNROLL
    for (int r = 0; r < EDGE; r++) {
        UNROLL
        for (int e = 0; e < EDGE; e++) p->x[r][e] = 0;
        if (p->row + r < x->rows && p->col < x->cols) load_8(x, (p->row + r) * x->cols + p->col, p->x[r]);
    }
}

// The largest of each of the tile's rows that the thread has a part of, columns, or of the whole of it.
HONE_DEVICE void largest_of_rows(const fp8_part *p, float top[EDGE])
{
    UNROLL
    for (int r = 0; r < EDGE; r++) {
        top[r] = 0;
        UNROLL
        for (int e = 0; e < EDGE; e++) top[r] = larger(top[r], p->x[r][e]);
        for (int lane = LINES / 2; lane; lane /= 2) top[r] = fmaxf(top[r], __shfl_xor_sync(ALL_LANES, top[r], lane));
    }
}
HONE_DEVICE void largest_of_columns(const fp8_part *p, float top[EDGE])
{
    __shared__ float of_lines[LINES][HONE_FP8_BLOCK];
    UNROLL
    for (int e = 0; e < EDGE; e++) {
        top[e] = 0;
        UNROLL
        for (int r = 0; r < EDGE; r++) top[e] = larger(top[e], p->x[r][e]);
        of_lines[p->line / EDGE][p->along + e] = top[e];
    }
    __syncthreads();
    for (int line = 0; line < LINES; line++)
        UNROLL
        for (int e = 0; e < EDGE; e++) top[e] = fmaxf(top[e], of_lines[line][p->along + e]);
    __syncthreads();
}
HONE_DEVICE void largest_of_all(const fp8_part *p, float top[EDGE])
{
    float all = 0;
    UNROLL
    for (int i = 0; i < EDGE * EDGE; i++) all = larger(all, p->x[i / EDGE][i % EDGE]);
    all = block_max(all);
    UNROLL
    for (int e = 0; e < EDGE; e++) top[e] = all;
}

// Writes the scales of an operand of (rows, depth), the first of whose eight is at (row, k), by one thread of each; with squares, behind the last of
// a row of them, zeros.
HONE_DEVICE void put_scales(const hone_cuda_call *c, const fp8_part *p, const float top[EDGE])
{
    const bool transposed = c->n[1] != 0;
    const hone_fp8_scaling scaling = (hone_fp8_scaling)c->n[0];
    const int64_t rows = transposed ? c->in[0].cols : c->in[0].rows, depth = transposed ? c->in[0].rows : c->in[0].cols;
    const int64_t row = transposed ? p->col : p->row, k = transposed ? p->row : p->col;
    const int down = transposed ? p->along : p->line, across = transposed ? p->line : p->along;
    if (across > 0) return;
    if (scaling == HONE_FP8_RUNS) {
        UNROLL
        for (int e = 0; e < EDGE; e++)
            if (row + e < rows) put(&c->out[1], hone_fp8_scale_at(scaling, rows, depth, row + e, k), hone_fp8_scale_of(top[e], false).scale);
        return;
    }
    if (down > 0) return;
    const int64_t at = hone_fp8_scale_at(scaling, rows, depth, row, k), end = hone_fp8_scale_at(scaling, rows, depth, row, 0) + hone_fp8_squares_across(depth);
    put(&c->out[1], at, hone_fp8_scale_of(top[0], false).scale);
    for (int64_t rest = at + 1; rest < end && k + HONE_FP8_BLOCK >= depth; rest++) put(&c->out[1], rest, 0);
}

// Codes as they lie: a row of the thread's part in one access.
HONE_DEVICE void put_rows(const hone_cuda_call *c, const fp8_part *p, const float inverse[EDGE])
{
    UNROLL
    for (int r = 0; r < EDGE; r++) {
        const float *x = p->x[r];
        const uint32_t code[2] = { codes_of_4(x[0], x[1], x[2], x[3], inverse[r], false), codes_of_4(x[4], x[5], x[6], x[7], inverse[r], false) };
        if (p->row + r < c->in[0].rows && p->col < c->in[0].cols) store_words((uint8_t *)c->out[0].data + (p->row + r) * c->in[0].cols + p->col, code, 2);
    }
}

// Codes transposed, through shared memory as in fp8_transpose. (row, col): the tile's.
HONE_DEVICE void put_columns(const hone_cuda_call *c, const fp8_part *p, const float inverse[EDGE], int64_t row, int64_t col)
{
    enum { WORDS = HONE_FP8_BLOCK / 4 + 1, TURN = 256 * 16 / HONE_FP8_BLOCK };
    __shared__ uint32_t tile[HONE_FP8_BLOCK * WORDS];
    UNROLL
    for (int e = 0; e < EDGE; e++)
        UNROLL
        for (int half = 0; half < 2; half++)
            tile[(p->along + e) * WORDS + p->line / 4 + half] = codes_of_4(p->x[4 * half][e], p->x[4 * half + 1][e], p->x[4 * half + 2][e], p->x[4 * half + 3][e], inverse[e], false);
    __syncthreads();
    const int at = (int)threadIdx.x % (HONE_FP8_BLOCK / 16) * 16;
    for (int line = (int)threadIdx.x / (HONE_FP8_BLOCK / 16); line < HONE_FP8_BLOCK; line += TURN)
        if (col + line < c->in[0].cols && row + at < c->in[0].rows)
            store_words((uint8_t *)c->out[0].data + (col + line) * c->in[0].rows + row + at, tile + line * WORDS + at / 4, 4);
    __syncthreads();
}

HONE_KERNEL(fp8_blocks, 256)
{
    const bool transposed = c.n[1] != 0;
    const int64_t across = hone_fp8_blocks(c.in[0].cols), tiles = hone_fp8_blocks(c.in[0].rows) * across;
    for (int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
        const int64_t row = t / across * HONE_FP8_BLOCK, col = t % across * HONE_FP8_BLOCK;
        fp8_part p;
        float top[EDGE], inverse[EDGE];
        p.line = (int)threadIdx.x / LINES * EDGE, p.along = (int)threadIdx.x % LINES * EDGE;
        p.row = row + p.line, p.col = col + p.along;
        load_part(&c.in[0], &p);
        if (c.n[0] == HONE_FP8_SQUARES) largest_of_all(&p, top);
        else if (transposed) largest_of_columns(&p, top);
        else largest_of_rows(&p, top);
        UNROLL
        for (int e = 0; e < EDGE; e++) inverse[e] = hone_fp8_scale_of(top[e], false).inverse;
        put_scales(&c, &p, top);
        if (transposed) put_columns(&c, &p, inverse, row, col);
        else put_rows(&c, &p, inverse);
    }
}
