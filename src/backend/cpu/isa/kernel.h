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

// Asks for the line of an address, for the second-level cache: lines that lie whole pages apart are of one set of the first, which
// would drop them before they are used.
V_INLINE void fetch_line(const void *p) { __builtin_prefetch(p, 0, 2); }

// Numbers that may be stored in bf16 (`~` in ops.def). Kernels compute in f32 and round once, at the store. Which of the two it
// is does not change within a call, so that asking at each vector costs nothing beside the memory that it reads.
typedef struct reals { char *data; bool half; } reals; // data NULL: absent
V_INLINE reals reals_of(const hone_operand *o) { return (reals){ o->present ? o->data : NULL, o->dtype == HONE_bf16 }; }
V_INLINE int64_t reals_bytes(reals r) { return r.half ? 2 : 4; }  // of one
V_INLINE reals reals_at(reals r, int64_t i) { return (reals){ r.data + i * reals_bytes(r), r.half }; }
V_INLINE vf reals_load(reals r, int64_t i, int64_t n) // n <= VW (or more: VW), zeros behind them
{
    if (r.half) return n >= VW ? v_from_bf16((const uint16_t *)r.data + i) : v_from_bf16_n((const uint16_t *)r.data + i, n);
    return n >= VW ? v_load((const float *)r.data + i) : v_load_n((const float *)r.data + i, n);
}
V_INLINE void reals_store(reals r, int64_t i, vf v, int64_t n)
{
    if (r.half && n >= VW) v_to_bf16((uint16_t *)r.data + i, v);
    else if (r.half) v_to_bf16_n((uint16_t *)r.data + i, v, n);
    else if (n >= VW) v_store((float *)r.data + i, v);
    else v_store_n((float *)r.data + i, v, n);
}

V_INLINE int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }
V_INLINE int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
V_INLINE int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
V_INLINE int64_t round_up(int64_t a, int64_t b) { return divide_up(a, b) * b; }

V_INLINE void reals_copy(reals to, reals from, int64_t count) // `to` may be `from`
{
    for (int64_t i = 0; i < count && to.data != from.data; i += VW) reals_store(to, i, reals_load(from, i, at_most(VW, count - i)), at_most(VW, count - i));
}

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
