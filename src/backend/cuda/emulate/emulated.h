// emulated.h: the emulator as tests see it: a backend (emulated.c), and one kernel or product at a time.
#pragma once
#include "backend/cuda/device.h"

extern const hone_backend hone_backend_emulated;
typedef struct hone_emulated_kernel { void (*run)(const hone_cuda_call call); const char *name; int threads; } hone_emulated_kernel;
extern const hone_emulated_kernel hone_emulated_kernels[HONE_CUDA_KERNEL_COUNT];
// Runs blocks [first, shape->x) of each y. descending: the order of threads within a block.
void hone_emulated_run(const hone_emulated_kernel *kernel, const hone_cuda_shape *shape, int64_t first, bool descending, const hone_cuda_call *call);
void hone_emulated_multiply(const hone_cuda_gemm *gemm);
