// emulate.h: a block of GPU threads on the CPU, for testing kernels where no GPU is.
//
// Every thread of a block is a fiber (a stack of its own, switched by hand). A thread runs until it ends or comes to a barrier;
// when all threads of a warp wait at a shuffle, or all of a block at __syncthreads(), they go on. So kernels are ordinary CUDA.
// What the emulator makes visible, by design:
//   - a missing barrier: threads run one after the other, in ascending order or (a second run) in descending: who reads what
//     another has yet to write finds NaN, since shared memory is filled with 0xff before each block;
//   - a missing wait for asynchronous copies: their target is NaN until the thread that began them waits for them;
//   - barriers that not all threads reach, or at different lines: reported, with the kernel's name;
//   - dynamic shared memory overrun: it is a heap block of just the size asked for at launch (AddressSanitizer; guard bytes).
// Not visible: races within one barrier interval whose outcome is the same in both orders, and the memory model of real warps.
#pragma once
#include "graph/tensor.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hone_emulated_dim { uint32_t x, y, z; } hone_emulated_dim;
extern hone_emulated_dim hone_emulated_thread, hone_emulated_block, hone_emulated_block_size, hone_emulated_grid_size;
extern void *hone_emulated_shared;

#define threadIdx hone_emulated_thread
#define blockIdx hone_emulated_block
#define blockDim hone_emulated_block_size
#define gridDim hone_emulated_grid_size
#define __shared__ static __attribute__((section("hone_shared")))

void hone_emulated_barrier(int line);                                   // of the block
double hone_emulated_exchange(double value, int with_lane, int line);   // of the warp; a double holds what f32, i32 and f64 do
#define __syncthreads() hone_emulated_barrier(__LINE__)
#define __syncwarp() ((void)hone_emulated_exchange(0, 0, __LINE__))
#define __shfl_xor_sync(lanes, value, xor) ((__typeof__(value))hone_emulated_exchange((double)(value), (int)(threadIdx.x % 32) ^ (xor), __LINE__))
#define __any_sync(lanes, value) hone_emulated_any(value, __LINE__)
bool hone_emulated_any(bool value, int line);
// matrix_cores.h: what these are on a GPU
void hone_emulated_mma(hone_dtype dtype, float *d, const uint32_t *a, uint32_t b0, uint32_t b1, int line);
void hone_emulated_ldmatrix(uint32_t *r, const void *row, bool transposed, int line);
void hone_emulated_copy_later(void *to, const void *from, size_t bytes); // from NULL: zeros
void hone_emulated_wait_copies(void);
static inline int atomicAdd(int *at, int by) { int old = *at; *at += by; return old; }
