// blocks.h: weights in blocks of few bits: a row of a matrix is cut into blocks of 32 to 256 neighbours, each block stores a
// scale (and a shift) of its own and a code of 4 to 8 bits an element. The table is blocks.def: what GGUF files hold
// (f32 to q6_k, the layouts of ggml) and what QLoRA keeps frozen weights in (nf4).
//
//     q4_0    | d | q0 q16 | q1 q17 | ... | q15 q31 |       y_i = d (q_i - 8),  18 bytes for 32 elements
//
// NF4 (Dettmers et al. 2023, arXiv:2305.14314): codes are 16 quantiles of a normal distribution, d is the block's largest |x|.
//
// Bytes are little-endian and need no alignment. Reading never fails: every bit pattern is some number (maybe not finite).
// Decoding is exact up to one rounding, so that every program that reads these files gets the same f32, bit for bit.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef enum {
#define BLOCKS(name, gguf, elements, bytes, title) HONE_BLOCKS_##name,
#include "base/blocks.def"
#undef BLOCKS
    HONE_BLOCKS_COUNT
} hone_blocks;

typedef struct hone_blocks_format {
    const char *name;               // "Q4_K"
    int gguf;                       // its number in a GGUF file, -1 none
    int64_t elements; size_t bytes; // of one block
} hone_blocks_format;

const hone_blocks_format *hone_blocks_about(hone_blocks blocks);
hone_blocks hone_blocks_of_gguf(uint32_t number);     // HONE_BLOCKS_COUNT: hone does not know it
// Bytes of `count` elements, which must be whole blocks.
size_t hone_blocks_bytes(hone_blocks blocks, int64_t count);

// Whole blocks only. Encoding takes finite numbers; q4_k, q5_k and q6_k look for the scales of least squared error.
void hone_blocks_decode(hone_blocks blocks, const void *data, int64_t count, float *y);
void hone_blocks_encode(hone_blocks blocks, const float *x, int64_t count, void *data);

extern const float hone_nf4_value[16];   // ascending, -1 ... 0 ... 1
