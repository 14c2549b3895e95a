// moment.h: optimizer moments in f32, bf16 or 8 bits (graph/round.h), VW elements at a time.
#pragma once
#include "backend/cpu/isa/kernel.h"
#include "graph/round.h"

typedef uint32_t vu __attribute__((vector_size(4 * VW)));
typedef uint16_t vs __attribute__((vector_size(2 * VW)));
typedef uint8_t vb __attribute__((vector_size(VW)));

// A step whose factor is 0 (norm: input 1) changes nothing, but the gradient (output 1), which begins anew: true, and that is done.
static inline bool step_is_skipped(const hone_args *args)
{
    const hone_operand *g = &args->out[1];
    if (f32_in(args, 1)[1] != 0) return false;
    memset(g->data, 0, (size_t)(hone_rows(g) * g->dim[1]) * sizeof(float));
    return true;
}

// hone_round_bits of elements i .. i + VW - 1.
V_INLINE vu v_round_bits(uint32_t key, int64_t i)
{
    vu x = ((vu)v_lanes() + (uint32_t)i) ^ key;
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

V_INLINE vf moment_load(const hone_operand *o, int64_t i, int64_t n)
{
    if (o->dtype != HONE_bf16) return v_load_n((const float *)o->data + i, n);
    const uint16_t *p = (const uint16_t *)o->data + i;
    return n >= VW ? v_from_bf16(p) : v_from_bf16_n(p, n);
}
V_INLINE void moment_store(const hone_operand *o, int64_t i, vf x, vu bits16, int64_t n)
{
    if (o->dtype != HONE_bf16) {
        v_store_n((float *)o->data + i, x, n);
        return;
    }
    const vs half = __builtin_convertvector(((vu)x + bits16) >> 16, vs);
    uint16_t *p = (uint16_t *)o->data + i;
    if (n >= VW) memcpy(p, &half, sizeof half);
    else memcpy(p, &half, (size_t)n * sizeof *p);
}

V_INLINE vu code_load(const uint8_t *p, int64_t n)
{
    vb code = { 0 };
    if (n >= VW) memcpy(&code, p, sizeof code);
    else memcpy(&code, p, (size_t)n);
    return __builtin_convertvector(code, vu);
}
V_INLINE void code_store(uint8_t *p, vu code, int64_t n)
{
    const vb byte = __builtin_convertvector(code, vb);
    if (n >= VW) memcpy(p, &byte, sizeof byte);
    else memcpy(p, &byte, (size_t)n);
}

// hone_code_of, hone_code_value
V_INLINE vu v_code_of(vf y, vu bits16, uint32_t bias)
{
    const vf least = (vf)(((vu){ 0 } + (bias + 1)) << 23);
    const vu low = (vu)(y < least);                                      // all ones, or 0
    const vf lined = (vf)(((vu)(y + least) & low) | ((vu)y & ~low));
    return (((vu)lined + (bits16 << 4)) >> 20) - ((bias + (low & 1)) << 3);
}
V_INLINE vf v_code_value(vu code, uint32_t bias)
{
    const float least = (float[]){ 0x1p-14f, 0x1p-30f }[bias == HONE_CODE_BIAS2];
    const vu low = (vu)(code < 8);
    const vu linear = (vu)(__builtin_convertvector((vi)code, vf) * (0.125f * least));
    return (vf)((linear & low) | (((code + (bias << 3)) << 20) & ~low));
}
