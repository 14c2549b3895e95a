// kernel.h: the vocabulary of the .cu files.
//
// They are written in what C and CUDA C++ have in common: nvcc compiles them for the GPU, a C compiler for the emulator
// (emulate/), which runs the same text on the CPU block by block. So no templates, no overloads, casts spelled out.
//
//     HONE_KERNEL(name)          one kernel of kernels.def; `c` is its hone_cuda_call
//     HONE_DEVICE                a function of kernels
//     HONE_DYNAMIC(type, name)   the block's shared memory of the size given at launch
//     UNROLL                     of a loop over what lies in registers
//
// Arithmetic is in f32 (sums of squares in f64); bf16 and f16 are unpacked at loads and rounded once at stores. Indices into operands are
// 64-bit; indices within a tile are int.
#pragma once
#ifdef __CUDACC__
#define HONE_KERNEL(name, threads) extern "C" __global__ void __launch_bounds__(threads) hone_cuda_##name(const __grid_constant__ hone_cuda_call c)
#define HONE_DEVICE static __device__ __forceinline__
#define HONE_DYNAMIC(type, name) extern __shared__ __align__(16) type name[]
#define UNROLL _Pragma("unroll")
#else
#include "backend/cuda/emulate/emulate.h"
#define HONE_KERNEL(name, threads) void hone_cuda_##name(const hone_cuda_call c); void hone_cuda_##name(const hone_cuda_call c)
#define HONE_DEVICE static inline
#define HONE_DYNAMIC(type, name) type *const name = (type *)hone_emulated_shared
#define UNROLL
#endif
#include "backend/cuda/call.h"
#include <math.h>

enum { WARP = 32 };
#define ALL_LANES 0xffffffffu
#define NOTHING (-INFINITY)   // the score of a key that is not seen, the maximum of no scores

// --- operands ------------------------------------------------------------------------------------------------------------

// Numbers of 16 bits: bf16 or f16. Both ways are gone and one result is taken, so that a loop over elements has no branch and unrolls.
#ifdef __CUDACC__
HONE_DEVICE float get_half(hone_dtype dtype, uint16_t h)
{
    const float bf16 = hone_bf16_to_f32(h);
    float f16;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f16) : "h"(h));
    return dtype == HONE_bf16 ? bf16 : f16;
}
HONE_DEVICE uint16_t half_of(hone_dtype dtype, float f)
{
    uint16_t bf16, f16;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bf16) : "f"(f));
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(f16) : "f"(f));
    return dtype == HONE_bf16 ? bf16 : f16;
}
#else
HONE_DEVICE float get_half(hone_dtype dtype, uint16_t h) { return dtype == HONE_bf16 ? hone_bf16_to_f32(h) : hone_f16_to_f32(h); }
HONE_DEVICE uint16_t half_of(hone_dtype dtype, float f) { return dtype == HONE_bf16 ? hone_f32_to_bf16(f) : hone_f32_to_f16(f); }
#endif

HONE_DEVICE float get(const hone_cuda_view *x, int64_t i)
{
    return x->dtype == HONE_f32 ? ((const float *)x->data)[i] : get_half(x->dtype, ((const uint16_t *)x->data)[i]);
}
HONE_DEVICE float get_or(const hone_cuda_view *x, int64_t i, float otherwise) { return x->data ? get(x, i) : otherwise; }
HONE_DEVICE int32_t get_index(const hone_cuda_view *x, int64_t i) { return ((const int32_t *)x->data)[i]; }
HONE_DEVICE void put(const hone_cuda_view *x, int64_t i, float value)
{
    if (x->dtype == HONE_f32) ((float *)x->data)[i] = value;
    else ((uint16_t *)x->data)[i] = half_of(x->dtype, value);
}
// Four numbers at an address that is a multiple of 16 bytes, in one access.
#ifdef __CUDACC__
HONE_DEVICE void load_16(float y[4], const float *from)
{
    const float4 v = *(const float4 *)from;
    y[0] = v.x, y[1] = v.y, y[2] = v.z, y[3] = v.w;
}
HONE_DEVICE void store_16(float *to, const float y[4]) { *(float4 *)to = make_float4(y[0], y[1], y[2], y[3]); }
#else
HONE_DEVICE void load_16(float y[4], const float *from) { for (int e = 0; e < 4; e++) y[e] = from[e]; }
HONE_DEVICE void store_16(float *to, const float y[4]) { for (int e = 0; e < 4; e++) to[e] = y[e]; }
#endif
HONE_DEVICE int64_t count(const hone_cuda_view *x) { return x->rows * x->cols; }

// The elements of a grid of threads over n: for (int64_t i = first_element(); i < n; i += element_step())
HONE_DEVICE int64_t first_element(void) { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }
HONE_DEVICE int64_t element_step(void) { return (int64_t)gridDim.x * blockDim.x; }

// --- sums over warps and blocks: in a fixed order, the same for every run and row ------------------------------------------

HONE_DEVICE float warp_sum(float v)
{
    for (int lane = WARP / 2; lane; lane /= 2) v += __shfl_xor_sync(ALL_LANES, v, lane);
    return v;
}
HONE_DEVICE float warp_max(float v)
{
    for (int lane = WARP / 2; lane; lane /= 2) v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, lane));
    return v;
}
HONE_DEVICE double warp_sum_f64(double v)
{
    for (int lane = WARP / 2; lane; lane /= 2) v += __shfl_xor_sync(ALL_LANES, v, lane);
    return v;
}

// Every thread of the block calls these and gets the result.
#define BLOCK_REDUCE(type, over_warp, nothing)                                               \
    __shared__ type part[WARP];                                                              \
    const int lane = (int)threadIdx.x % WARP, warps = (int)blockDim.x / WARP;                \
    v = over_warp(v);                                                                        \
    if (lane == 0) part[threadIdx.x / WARP] = v;                                             \
    __syncthreads();                                                                         \
    v = over_warp(lane < warps ? part[lane] : (type)(nothing));                              \
    __syncthreads(); /* part may be written again */                                         \
    return v
HONE_DEVICE float block_sum(float v) { BLOCK_REDUCE(float, warp_sum, 0); }
HONE_DEVICE float block_max(float v) { BLOCK_REDUCE(float, warp_max, NOTHING); }
HONE_DEVICE double block_sum_f64(double v) { BLOCK_REDUCE(double, warp_sum_f64, 0); }
