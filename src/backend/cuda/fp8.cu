// fp8.cu: tensors made 8-bit floats for a product (graph/fp8.h), as they lie or transposed, since the product library takes fp8
// only with both operands' rows along the sum. Two launches: the largest of the tensor, then the codes, whose every block takes the
// largest of the first one's parts. Sizes are multiples of 16, so that 16 bytes are read and 8 or 16 written at a time.
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

HONE_DEVICE void codes_of_8(const hone_cuda_call *c, int64_t i, float inverse, uint32_t code[2])
{
    const bool e5m2 = c->out[0].dtype == HONE_e5m2;
    float x[8];
    load_8(&c->in[0], i, x);
    for (int half = 0; half < 2; half++) {
        const float *four = x + 4 * half;
        code[half] = codes_of_2(four[0] * inverse, four[1] * inverse, e5m2) | codes_of_2(four[2] * inverse, four[3] * inverse, e5m2) << 16;
    }
}

// work[block] = largest |x| of its share, infinity where one is not finite
HONE_KERNEL(fp8_largest, 256)
{
    float top = 0;
    for (int64_t i = first_element(); i < count(&c.in[0]) / 8; i += element_step()) {
        float x[8];
        load_8(&c.in[0], 8 * i, x);
        for (int e = 0; e < 8; e++) {
            const float size = fabsf(x[e]);
            top = size < INFINITY ? fmaxf(top, size) : INFINITY;
        }
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
