// device.h: what the backend asks of a device, of which there are two: the GPU (gpu.c) and the emulator (emulate/emulate.c).
// Everything above it (which kernels a node takes, grids, scratch, what is supported) is one text for both, so that it is tested
// where no GPU is.
#pragma once
#include "backend/cuda/call.h"
#include "graph/backend.h"

typedef struct hone_cuda_shape { int64_t x, y; size_t shared_bytes; } hone_cuda_shape;  // a grid, and a block's dynamic shared memory

// Row-major:  d (n, m) = a (n, k) b (k, m)      (d += ... where `add`); a_t: a lies as (k, n); b_t: b lies as (m, k)
typedef struct hone_cuda_gemm {
    int64_t n, m, k;
    const void *a, *b;
    void *d;
    bool a_t, b_t, add;
    hone_dtype of, of_b, to;    // of a, of b (one but in fp8), of d. Sums are f32
    const float *scale_a, *scale_b;     // fp8, on the device: d = scale_a scale_b a b (+ d), a not transposed, b_t; else NULL
    hone_fp8_scaling scaling_a, scaling_b;      // what shares each of them: of both a tensor, or runs of a and runs or squares of b
    bool fast;                  // fp8: sums may keep the fewer digits that matrix cores have
} hone_cuda_gemm;

enum { HONE_CUDA_GEMM_BYTES = 32 << 20 };   // what the product library may take of scratch

typedef struct hone_cuda_device {
    void *self;
    int64_t shared_bytes;       // dynamic shared memory that a block may ask for
    size_t gemm_bytes;          // scratch of any product
    bool fp8, fp8_blocks;       // it makes products in fp8, with a scale for each block
    void (*launch)(void *self, hone_cuda_kernel kernel, const hone_cuda_shape *shape, const hone_cuda_call *call, int stream);
    void (*gemm)(void *self, const hone_cuda_gemm *gemm, void *scratch, int stream);
} hone_cuda_device;
