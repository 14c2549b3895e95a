// blocks.c: see blocks.h. The small formats and decoding of all; scales of the k-formats are sought in blocks_fit.c.
//
// Decoding rounds once: d has 11 bits, a scale 6 to 8, a code 4 to 6, so d s q and m t are exact in f32 and the compiler
// may fuse what it likes (q6_k: d s is exact, the product with q is the one rounding).
#include "base/blocks.h"
#include "base/block_bits.h"
#include "base/blocks_fit.h"
#include "base/cpu.h"
#include "base/error.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { SMALL = 32 };

const float hone_nf4_value[16] = { HONE_NF4_VALUES };

static void put_half(uint8_t *at, float x)
{
    uint16_t h = hone_f32_to_f16(x);
    memcpy(at, &h, 2);
}

// Cut off, kept within 0 .. top; NaN is 0.
static uint8_t code_of(float x, int top) { return x >= (float)top ? (uint8_t)top : x > 0 ? (uint8_t)x : 0; }

// One element a block ------------------------------------------------------------------------------------------------

static void f32_decode(const uint8_t *b, float *y) { memcpy(y, b, 4); }
static void f32_encode(const float *x, uint8_t *b) { memcpy(b, x, 4); }
static void f16_decode(const uint8_t *b, float *y) { *y = hone_block_half(b); }
static void f16_encode(const float *x, uint8_t *b) { put_half(b, *x); }

static void bf16_decode(const uint8_t *b, float *y)   // the upper half of an f32
{
    const uint8_t word[4] = { 0, 0, b[0], b[1] };
    memcpy(y, word, 4);
}

static void bf16_encode(const float *x, uint8_t *b)   // to nearest, ties to even
{
    uint32_t u;
    memcpy(&u, x, 4);
    u = (u & 0x7fffffffu) > 0x7f800000u ? u | 0x400000 : u + 0x7fff + (u >> 16 & 1);
    b[0] = (uint8_t)(u >> 16);
    b[1] = (uint8_t)(u >> 24);
}

// 32 elements a block: element i in the lower half of byte i, element i + 16 in the upper -----------------------------

static void q8_0_decode(const uint8_t *b, float *y)
{
    float d = hone_block_half(b);
    for (int i = 0; i < SMALL; i++) y[i] = d * (float)(int8_t)b[2 + i];
}

static void q8_0_encode(const float *x, uint8_t *b)
{
    float top = 0;
    for (int i = 0; i < SMALL; i++) top = fmaxf(top, fabsf(x[i]));
    float d = top / 127, inverse = d == 0 ? 0 : 1 / d;
    put_half(b, d);
    for (int i = 0; i < SMALL; i++) b[2 + i] = (uint8_t)(int8_t)fmaxf(-127, fminf(127, roundf(x[i] * inverse)));
}

// Codes less `zero`; a fifth bit each where `high` is given.
static void get_codes(const uint8_t *high, const uint8_t *q, int zero, float *y)
{
    uint32_t fifth = 0;
    if (high) memcpy(&fifth, high, 4);
    for (int i = 0; i < SMALL / 2; i++) {
        y[i] = (float)((int)((q[i] & 15u) | (fifth >> i & 1) << 4) - zero);
        y[i + SMALL / 2] = (float)((int)(q[i] >> 4u | (fifth >> (i + SMALL / 2) & 1) << 4) - zero);
    }
}

static void decode_signed(const uint8_t *b, const uint8_t *high, const uint8_t *q, int zero, float *y)
{
    float d = hone_block_half(b);
    get_codes(high, q, zero, y);
    for (int i = 0; i < SMALL; i++) y[i] *= d;
}

static void decode_range(const uint8_t *b, const uint8_t *high, const uint8_t *q, float *y)
{
    float d = hone_block_half(b), m = hone_block_half(b + 2);
    get_codes(high, q, 0, y);
    for (int i = 0; i < SMALL; i++) y[i] = d * y[i] + m;
}

static void q4_0_decode(const uint8_t *b, float *y) { decode_signed(b, NULL, b + 2, 8, y); }
static void q4_1_decode(const uint8_t *b, float *y) { decode_range(b, NULL, b + 4, y); }
static void q5_0_decode(const uint8_t *b, float *y) { decode_signed(b, b + 2, b + 6, 16, y); }
static void q5_1_decode(const uint8_t *b, float *y) { decode_range(b, b + 4, b + 8, y); }

// Codes of (x - from) / d + half, cut off; fifth bits where `high` is given.
static void encode_codes(const float *x, float from, float d, float half, int top, uint8_t *high, uint8_t *q)
{
    float inverse = d == 0 ? 0 : 1 / d;
    uint32_t fifth = 0;
    for (int i = 0; i < SMALL / 2; i++) {
        uint8_t low = code_of((x[i] - from) * inverse + half, top), up = code_of((x[i + SMALL / 2] - from) * inverse + half, top);
        q[i] = (uint8_t)((low & 15) | up << 4);
        fifth |= (uint32_t)(low >> 4) << i | (uint32_t)(up >> 4) << (i + SMALL / 2);
    }
    if (high) memcpy(high, &fifth, 4);
}

// The element furthest from zero becomes code 0, so that its sign uses the longer side: d = x / -levels.
static float signed_scale(const float *x, int levels)
{
    float top = 0;
    for (int i = 0; i < SMALL; i++)
        if (fabsf(x[i]) > fabsf(top)) top = x[i];
    return top / (float)-levels;
}

static void q4_0_encode(const float *x, uint8_t *b)
{
    float d = signed_scale(x, 8);
    put_half(b, d);
    encode_codes(x, 0, d, 8.5f, 15, NULL, b + 2);
}

static void q5_0_encode(const float *x, uint8_t *b)
{
    float d = signed_scale(x, 16);
    put_half(b, d);
    encode_codes(x, 0, d, 16.5f, 31, b + 2, b + 6);
}

static void encode_range(const float *x, int top, uint8_t *b, uint8_t *high, uint8_t *q)
{
    float low = x[0], up = x[0];
    for (int i = 1; i < SMALL; i++) {
        low = fminf(low, x[i]);
        up = fmaxf(up, x[i]);
    }
    float d = (up - low) / (float)top;
    put_half(b, d);
    put_half(b + 2, low);
    encode_codes(x, low, d, 0.5f, top, high, q);
}

static void q4_1_encode(const float *x, uint8_t *b) { encode_range(x, 15, b, NULL, b + 4); }
static void q5_1_encode(const float *x, uint8_t *b) { encode_range(x, 31, b, b + 4, b + 8); }

// 256 elements a block, 8 parts of 32 ---------------------------------------------------------------------------------

static void put_scale(uint8_t *b, int j, int s, int t)   // as hone_block_scale() reads; in order of j, on zeros
{
    if (j < 4) {
        b[j] = (uint8_t)s;
        b[j + 4] = (uint8_t)t;
    } else {
        b[j + 4] = (uint8_t)((s & 15) | (t & 15) << 4);
        b[j - 4] |= (uint8_t)((s >> 4) << 6);
        b[j] |= (uint8_t)((t >> 4) << 6);
    }
}

// fifth: bit j of byte i is the fifth bit of element i of part j; NULL in q4_k.
static void decode_parts(const uint8_t *b, const uint8_t *fifth, const uint8_t *q, float *y)
{
    float d = hone_block_half(b), m = hone_block_half(b + 2);
    for (int j = 0; j < 8; j++, y += SMALL) {
        int s, t, shift = j % 2 * 4;
        hone_block_scale(b + 4, j, &s, &t);
        float by = d * (float)s, off = m * (float)t;
        const uint8_t *code = q + j / 2 * SMALL;
        for (int i = 0; i < SMALL; i++) y[i] = by * (float)((code[i] >> shift & 15) | (fifth ? (fifth[i] >> j & 1) << 4 : 0)) - off;
    }
}

static void encode_parts(const float *x, int top, uint8_t *b, uint8_t *fifth, uint8_t *q)
{
    float scale[8], shift[8];
    for (int j = 0; j < 8; j++) hone_blocks_fit_range(x + j * SMALL, SMALL, top, &scale[j], &shift[j]);
    float most = 0, furthest = 0;
    for (int j = 0; j < 8; j++) {
        most = fmaxf(most, scale[j]);
        furthest = fmaxf(furthest, shift[j]);
    }
    put_half(b, most / 63);
    put_half(b + 2, furthest / 63);
    float d = hone_block_half(b), m = hone_block_half(b + 2);   // as the reader will see them
    for (int j = 0; j < 8; j++) {
        int s = d > 0 ? code_of(scale[j] / d + 0.5f, 63) : 0, t = m > 0 ? code_of(shift[j] / m + 0.5f, 63) : 0;
        float by = d * (float)s, off = m * (float)t, inverse = by > 0 ? 1 / by : 0;
        put_scale(b + 4, j, s, t);
        for (int i = 0; i < SMALL; i++) {
            uint8_t code = code_of((x[j * SMALL + i] + off) * inverse + 0.5f, top);
            q[j / 2 * SMALL + i] |= (uint8_t)((code & 15) << j % 2 * 4);
            if (fifth) fifth[i] |= (uint8_t)((code >> 4) << j);
        }
    }
}

static void q4_k_decode(const uint8_t *b, float *y) { decode_parts(b, NULL, b + 16, y); }
static void q5_k_decode(const uint8_t *b, float *y) { decode_parts(b, b + 16, b + 48, y); }
static void q4_k_encode(const float *x, uint8_t *b) { memset(b, 0, 144); encode_parts(x, 15, b, NULL, b + 16); }
static void q5_k_encode(const float *x, uint8_t *b) { memset(b, 0, 176); encode_parts(x, 31, b, b + 16, b + 48); }

enum { PARTS6 = 16 };

static void q6_k_decode(const uint8_t *b, float *y)
{
    float d = hone_block_half(b + HONE_D6);
    for (int part = 0; part < PARTS6; part++) {
        float by = d * (float)(int8_t)b[HONE_SCALE6 + part];
        for (int i = part * 16; i < part * 16 + 16; i++) {
            hone_block_place6 p = hone_block_place6_of(i);
            int q = (b[p.low] >> p.low_shift & 15) | (b[p.high] >> p.high_shift & 3) << 4;
            y[i] = by * (float)(q - 32);
        }
    }
}

static void q6_k_encode(const float *x, uint8_t *b)
{
    float scale[PARTS6], top = 0;
    for (int part = 0; part < PARTS6; part++) {
        scale[part] = hone_blocks_fit_scale(x + part * 16, 16, 32);
        if (fabsf(scale[part]) > fabsf(top)) top = scale[part];
    }
    memset(b, 0, 210);
    put_half(b + HONE_D6, top / -128);
    float d = hone_block_half(b + HONE_D6);
    for (int part = 0; part < PARTS6; part++) {
        float s = d == 0 ? 0 : fmaxf(-128, fminf(127, roundf(scale[part] / d))), by = d * s, inverse = by == 0 ? 0 : 1 / by;
        b[HONE_SCALE6 + part] = (uint8_t)(int8_t)s;
        for (int i = part * 16; i < part * 16 + 16; i++) {
            hone_block_place6 p = hone_block_place6_of(i);
            uint8_t q = code_of(x[i] * inverse + 32.5f, 63);
            b[p.low] |= (uint8_t)((q & 15) << p.low_shift);
            b[p.high] |= (uint8_t)((q >> 4) << p.high_shift);
        }
    }
}

// NF4: 64 elements a block, element 2 i in the upper half of byte i -----------------------------------------------------

static void nf4_decode(const uint8_t *b, float *y)
{
    float d;
    memcpy(&d, b, 4);
    for (int i = 0; i < 32; i++) {
        y[2 * i] = d * hone_nf4_value[b[4 + i] >> 4];
        y[2 * i + 1] = d * hone_nf4_value[b[4 + i] & 15];
    }
}

// The nearest value; half-way, the lower.
static int nearest_nf4(float x)
{
    int code = 0;
    for (int i = 1; i < 16; i++) code += x > 0.5f * (hone_nf4_value[i - 1] + hone_nf4_value[i]);
    return code;
}

static void nf4_encode(const float *x, uint8_t *b)
{
    float d = 0;
    for (int i = 0; i < 64; i++) d = fmaxf(d, fabsf(x[i]));
    memcpy(b, &d, 4);
    float by = d > 0 ? d : 1;
    for (int i = 0; i < 32; i++) b[4 + i] = (uint8_t)(nearest_nf4(x[2 * i] / by) << 4 | nearest_nf4(x[2 * i + 1] / by));
}

// The table -----------------------------------------------------------------------------------------------------------

static const hone_blocks_format about[] = {
#define BLOCKS(name, gguf, elements, bytes, title) { title, gguf, elements, bytes },
#include "base/blocks.def"
#undef BLOCKS
};

// Rows of blocks, with the loop inside so that a block's code is inlined in it. Decoding is part of each product of a frozen weight:
// it is compiled for AVX2, too.
#define BLOCKS(name, gguf, elements, bytes, title)                                                                             \
    HONE_AVX2_TOO static void name##_decode_all(const uint8_t *b, int64_t blocks, float *y)                                    \
    {                                                                                                                          \
        for (int64_t i = 0; i < blocks; i++) name##_decode(b + i * (bytes), y + i * (elements));                               \
    }                                                                                                                          \
    static void name##_encode_all(const float *x, int64_t blocks, uint8_t *b)                                                  \
    {                                                                                                                          \
        for (int64_t i = 0; i < blocks; i++) name##_encode(x + i * (elements), b + i * (bytes));                               \
    }
#include "base/blocks.def"
#undef BLOCKS

static const struct {
    void (*decode)(const uint8_t *b, int64_t blocks, float *y);
    void (*encode)(const float *x, int64_t blocks, uint8_t *b);
} code[] = {
#define BLOCKS(name, gguf, elements, bytes, title) { name##_decode_all, name##_encode_all },
#include "base/blocks.def"
#undef BLOCKS
};

const hone_blocks_format *hone_blocks_about(hone_blocks blocks) { return &about[blocks]; }

hone_blocks hone_blocks_of_gguf(uint32_t number)
{
    int i = 0;
    while (i < HONE_BLOCKS_COUNT && about[i].gguf != (int64_t)number) i++;
    return (hone_blocks)i;
}

static int64_t blocks_in(hone_blocks blocks, int64_t count)
{
    int64_t each = about[blocks].elements;
    HONE_ASSERT(count >= 0 && count % each == 0, "%" PRId64 " elements are no whole blocks of %s", count, about[blocks].name);
    return count / each;
}

size_t hone_blocks_bytes(hone_blocks blocks, int64_t count) { return (size_t)blocks_in(blocks, count) * about[blocks].bytes; }
void hone_blocks_decode(hone_blocks blocks, const void *data, int64_t count, float *y) { code[blocks].decode(data, blocks_in(blocks, count), y); }
void hone_blocks_encode(hone_blocks blocks, const float *x, int64_t count, void *data) { code[blocks].encode(x, blocks_in(blocks, count), data); }
