// tensor.h: what a tensor is. Data is nowhere in sight: a tensor is a description; layout.h gives it a place.
//
// Row-major, contiguous, at most 4 dimensions, the last fastest. A dimension is a *bound*; dimension 0 may carry a live
// count: an i32 scalar tensor that says at run time how many rows are in use (<= bound). Layout uses the bound, kernels
// loop to the count.
#pragma once
#include "base/blocks.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HONE_MAX_RANK = 4 };

typedef enum {
#define DTYPE(name, bytes, st, is_float) HONE_##name,
#define BLOCKED(name) HONE_##name,
#include "graph/dtypes.def"
#undef DTYPE
    HONE_DTYPE_COUNT
} hone_dtype; // HONE_f32, HONE_bf16, ...

typedef enum {
#define CLASS(name, persistent, title) HONE_CLASS_##name,
#include "graph/classes.def"
#undef CLASS
    HONE_CLASS_COUNT
} hone_class;

// How the bytes of a weight are arranged. `plain` is row-major (M, K). The others are private to a backend: only its own
// kernels read them; the backend says how many bytes they take (backend.h: form_bytes).
typedef enum {
    HONE_FORM_PLAIN,
    HONE_FORM_PACKED,    // for y = x W^T   (linear)
    HONE_FORM_PACKED_T,  // for dx = dy W   (linear_dx)
    HONE_FORM_STREAMED,  // for y = x W^T with few rows (decoding), where the weight's bytes are what a product costs
    HONE_FORM_COUNT
} hone_form;

typedef int32_t hone_tid; // index into hone_graph.tensor
enum { HONE_NONE = -1 };

typedef struct hone_tensor {
    char name[80];            // "layers.3.attn.qkv", unique among persistent tensors
    hone_dtype dtype;
    hone_form form;
    hone_class cls;
    int rank;
    int64_t dim[HONE_MAX_RANK];
    hone_tid live;            // i32[1] tensor with the live count of dim 0, or HONE_NONE
    hone_tid base;            // a view: this tensor is part of `base` (never itself a view), at offset_bytes; or HONE_NONE
    int64_t offset_bytes;
    bool trained;             // param: gets a gradient; any: lies on a path to one that does
    bool decayed;             // param: weight decay applies (matrices)
    bool parked;              // lives in the offload file (offload.h), persistent or the home of an activation; programs reach it by staging tensors
    bool fast;                // param: steps at hone_optim_options.fast_ratio times the rate (LoRA+)
    bool hidden;              // param: a matrix from features to features, no table of tokens or positions: Muon's
    int layer;                // transformer block it belongs to, -1 none: for the plan's table
} hone_tensor;

size_t hone_dtype_bytes(hone_dtype dtype);            // of an element; blocked dtypes have none
static inline bool hone_dtype_is_fp8(hone_dtype dtype) { return dtype == HONE_e4m3 || dtype == HONE_e4m3_128; }   // of a product (fp8.h)
hone_blocks hone_dtype_blocks(hone_dtype dtype);      // HONE_BLOCKS_COUNT: it is not blocked
static inline bool hone_dtype_is_blocked(hone_dtype dtype) { return hone_dtype_blocks(dtype) != HONE_BLOCKS_COUNT; }
hone_dtype hone_dtype_of_blocks(hone_blocks blocks);  // HONE_DTYPE_COUNT: matrices are not kept in these
int64_t hone_dtype_size(hone_dtype dtype, int64_t count);    // bytes of so many elements, whole blocks where it is blocked
const char *hone_dtype_name(hone_dtype dtype);
int64_t hone_tensor_count(const hone_tensor *tensor); // elements, by bounds
int64_t hone_tensor_bytes(const hone_tensor *tensor); // as they lie plainly, without a form
bool hone_is_transient(const hone_tensor *tensor);    // its class lives within one run of a program (classes.def); no home does

static inline float hone_bf16_to_f32(uint16_t h)
{
    union { uint32_t u; float f; } v = { (uint32_t)h << 16 };
    return v.f;
}
static inline uint16_t hone_f32_to_bf16(float f) // to nearest, ties to even; NaN stays NaN
{
    union { float f; uint32_t u; } v = { f };
    if ((v.u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(v.u >> 16 | 0x40);
    return (uint16_t)((v.u + 0x7fffu + (v.u >> 16 & 1)) >> 16);
}
