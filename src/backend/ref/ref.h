// ref.h: how the portable kernels see their operands.
//
// An operand is a numbered row of real numbers: get() loads element i as a double whatever its dtype, put() rounds a
// double to it. So every kernel accumulates in f64, rounds each result once, and the same text serves f32, f64, bf16 and
// f16 tensors (an f64 graph differentiates to 1e-7, see tests/graph/test_ops.c). Speed is no aim here; being right is.
#pragma once
#include "graph/backend.h"
#include <math.h>

// One kernel per row of ops.def: a row without a rule here does not link.
#define OP(name, ...) void hone_ref_##name(const hone_args *a);
#define MOVE(...)
#include "graph/ops.def"
#undef OP

extern const hone_backend hone_backend_ref;

void hone_ref_put_moment(const hone_operand *x, int64_t i, double value, uint32_t bits16); // optim.c
bool hone_ref_skips(const hone_operand *norm, const hone_operand *g); // optim.c
double hone_ref_f16_to_f64(uint16_t half);
uint16_t hone_ref_f64_to_f16(double value); // to nearest, ties to even
double hone_ref_get_blocked(const hone_operand *x, int64_t i);  // its whole block is decoded

static inline double get(const hone_operand *x, int64_t i)
{
    switch (x->dtype) {
    case HONE_f32: return ((const float *)x->data)[i];
    case HONE_f64: return ((const double *)x->data)[i];
    case HONE_bf16: return hone_bf16_to_f32(((const uint16_t *)x->data)[i]);
    case HONE_f16: return hone_ref_f16_to_f64(((const uint16_t *)x->data)[i]);
    case HONE_u8: return ((const uint8_t *)x->data)[i];
    case HONE_int8: return ((const int8_t *)x->data)[i];
    case HONE_e4m3: case HONE_e4m3_128: return ((const float *)x->data)[i];     // a form that holds the numbers: they are quantised where they are multiplied
    default: return hone_ref_get_blocked(x, i);
    }
}

static inline void put(const hone_operand *x, int64_t i, double value)
{
    switch (x->dtype) {
    case HONE_f32: ((float *)x->data)[i] = (float)value; break;
    case HONE_f64: ((double *)x->data)[i] = value; break;
    case HONE_bf16: ((uint16_t *)x->data)[i] = hone_f32_to_bf16((float)value); break;
    case HONE_f16: ((uint16_t *)x->data)[i] = hone_ref_f64_to_f16(value); break;
    case HONE_e4m3: case HONE_e4m3_128: ((float *)x->data)[i] = (float)value; break;
    case HONE_u8: ((uint8_t *)x->data)[i] = (uint8_t)fmin(255, value + 0.5); break; // a code, >= 0
    case HONE_int8: ((int8_t *)x->data)[i] = (int8_t)fmax(-127, fmin(127, nearbyint(value))); break;
    default: HONE_ASSERT(false, "dtype %d holds no real numbers", x->dtype);
    }
}

// An optional operand: `otherwise` where it is absent.
static inline double get_or(const hone_operand *x, int64_t i, double otherwise)
{
    return x->present ? get(x, i) : otherwise;
}

static inline int32_t get_index(const hone_operand *x, int64_t i) { return ((const int32_t *)x->data)[i]; }

// Attribute product: the number that a matrix product multiplies for v. (Rounded to f32 first, as who stores f32 and casts has it.)
static inline double factor_in(hone_dtype product, double v)
{
    if (product == HONE_f16) return hone_ref_f16_to_f64(hone_ref_f64_to_f16((double)(float)v));
    return product == HONE_bf16 ? (double)hone_bf16_to_f32(hone_f32_to_bf16((float)v)) : v;
}
static inline double factor(const hone_args *a, double v) { return factor_in(a->attr.product, v); }

// Elements of an operand of any rank (a vector serves where the table says [A,B]).
static inline int64_t count(const hone_operand *x)
{
    int64_t n = hone_rows(x);
    for (int r = 1; r < x->rank; r++) n *= x->dim[r];
    return n;
}
