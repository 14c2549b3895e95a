// kernel.h: what every kernel file includes: vectors, names, operands as typed pointers, and how work is shared out.
#pragma once
#include "backend/cpu/kernels.h"
#include <omp.h>

V_INLINE float *f32_in(const hone_args *args, int k) { return args->in[k].present ? (float *)args->in[k].data : NULL; }
V_INLINE float *f32_out(const hone_args *args, int k) { return args->out[k].present ? (float *)args->out[k].data : NULL; }
V_INLINE const int32_t *i32_in(const hone_args *args, int k)
{
    return args->in[k].present ? (const int32_t *)args->in[k].data : NULL;
}
V_INLINE int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
V_INLINE int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
V_INLINE int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
V_INLINE int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

// Part `part` of `parts` of n items, in whole multiples of `grain` (so that no two threads share a cache line or a tile).
typedef struct span { int64_t from, to; } span;
V_INLINE span share(int64_t n, int64_t grain, int part, int parts)
{
    int64_t grains = divide_up(n, grain);
    span s = { grains * part / parts * grain, at_most(n, grains * (part + 1) / parts * grain) };
    if (s.from > n) s.from = n;
    return s;
}
// Threads worth waking for `bytes` of memory traffic: a fork and join costs about as much as 32 KiB of copying.
V_INLINE int worth(int threads, int64_t bytes) { return (int)at_least(1, at_most(threads, bytes / 32768)); }
