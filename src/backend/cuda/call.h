// call.h: what a kernel is given. Every kernel takes one hone_cuda_call by value, so that launching, capturing and emulating
// know one signature; a host function (nodes_*.c) fills it from the node's operands and adds what is particular to the kernel in n[].
#pragma once
#ifdef __CUDACC__ // small functions that these headers define for the host run in kernels, too: one text for both
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#define inline __host__ __device__ __forceinline__
#include "base/block_bits.h"
#include "graph/round.h"
#include "graph/tensor.h"
#include "graph/drop.h"
#include "graph/loss_scale.h"
#include "graph/pair.h"
#include "graph/fp8.h"
#include "graph/kv8.h"
#undef inline
#else
#include "base/block_bits.h"
#include "graph/drop.h"
#include "graph/fp8.h"
#include "graph/kv8.h"
#include "graph/loss_scale.h"
#include "graph/pair.h"
#include "graph/round.h"
#include "graph/tensor.h"
#endif

// An operand as rows x cols; rank 1 is rows x 1. rows is what lives, known to the host when it launches.
typedef struct hone_cuda_view {
    void *data;                 // NULL: absent
    int64_t rows, cols;
    hone_dtype dtype;
} hone_cuda_view;

typedef struct hone_cuda_call {
    hone_cuda_view in[8], out[5];
    void *work;                 // scratch of the node, or the part of it that this kernel takes
    int64_t n[4];
    int32_t heads, kv_heads, head_dim, q_col, k_col, v_col, window, group_rows, block, inverse, stream;
    float scale, cap, base, eps, beta1, beta2, decay, max_norm, poly[3];
    bool same_kv;
    float rate;                 // dropout (here, not above: there attention_dkv spilled on sm_89)
    int32_t parts, part_col[3], part_rows[3];   // lora_*, as in hone_attr
} hone_cuda_call;

typedef enum {
#define KERNEL(name, threads) HONE_CUDA_##name,
#include "backend/cuda/kernels.def"
#undef KERNEL
    HONE_CUDA_KERNEL_COUNT
} hone_cuda_kernel;

// Tiles, known to kernels and to those who size their grids and scratch.
enum {
    HONE_CUDA_QUERIES = 16, HONE_CUDA_KEYS = 32,    // attention: query rows and keys of a tile; a warp's lane holds one key of a row
    HONE_CUDA_MMA_QUERIES = 128,                    // attention_mma: query rows of a block
    HONE_CUDA_MMA_TILE = 4096,                      // numbers of a tile of keys or values: 64 x 64 or 32 x 128
    HONE_CUDA_MMA_STAYING = 8192, HONE_CUDA_MMA_PASSING = 32,    // its backward: numbers of a tile that stays, rows of one that passes
    HONE_CUDA_PAGE_KEYS = 128,                      // attention_paged: keys between two barriers
    HONE_CUDA_PART_ROWS = 128,                      // column_parts: rows that one partial sum is over
    HONE_CUDA_SQUARE_CHUNK = 8192,                  // square_parts: elements that one partial sum is over
    HONE_CUDA_FP8_PARTS = 512,                      // fp8_largest: blocks, each with a largest of its own
    HONE_CUDA_FP8_TILE = 64,                        // fp8_transpose: rows and columns of a tile
};
