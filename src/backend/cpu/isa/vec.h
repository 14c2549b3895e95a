// vec.h: one vocabulary for three vector widths, so that a kernel is written once and compiled for each set.
//
//     HONE_ISA      VW   what it stands on
//     portable       4   GNU vector types only: any compiler, any chip
//     avx2           8   AVX2 + FMA + F16C
//     avx2_vnni      8   and dot products of int8 (gemm_int8.c)
//     avx512        16   AVX-512 F, DQ, BW, VL
//     avx512_vnni   16   and dot products of int8
//     avx512_bf16   16   and dot products of bf16 (gemm_dot.c)
//     amx           16   AVX-512, VNNI and matrix tiles (gemm_amx.c, gemm_int8.c)
//
// vf VW floats, vi VW 32-bit integers, vm a mask of VW lanes. ISA(name) is name_<HONE_ISA>.
// Reductions and v_exp have one fixed order of operations per width, so results repeat bit for bit; they differ between
// widths by rounding. *_n variants touch the first n lanes only (0 <= n <= VW): tails read and write nothing beyond them.
#pragma once
#include <stdint.h>
#include <string.h>
#ifndef HONE_ISA
#error "compiled once per instruction set: -DHONE_ISA=<name in base/isa.def>"
#endif
#define HONE_PASTE_(a, b) a##_##b
#define HONE_PASTE(a, b) HONE_PASTE_(a, b)
#define ISA(name) HONE_PASTE(name, HONE_ISA)

#if defined(__AVX512F__)
#define VW 16
#include <immintrin.h>
#elif defined(__AVX2__)
#define VW 8
#include <immintrin.h>
#else
#define VW 4
#endif

typedef float vf __attribute__((vector_size(4 * VW)));
typedef int32_t vi __attribute__((vector_size(4 * VW)));
#define V_INLINE static inline __attribute__((always_inline, unused))
typedef float vh __attribute__((vector_size(2 * VW)));  // half a vector: as many floats as
typedef double vd __attribute__((vector_size(4 * VW))); // a whole one holds doubles

// Unrolls a loop of constant length whose body indexes an array of vectors, so that the array lives in registers.
#if defined(__clang__)
#define V_UNROLL _Pragma("clang loop unroll(full)")
#else
#define V_UNROLL _Pragma("GCC unroll 16")
#endif

V_INLINE vf v_set(float x)
{
#if VW == 16 // by hand: gcc 12 makes a loop over lanes into 16 masked moves, and 0 + x into an addition
    return (vf)_mm512_set1_ps(x);
#elif VW == 8
    return (vf)_mm256_set1_ps(x);
#else
    return (vf){ x, x, x, x };
#endif
}
V_INLINE vi v_set_i(int32_t x) { return (vi){ 0 } + x; }
V_INLINE vf v_zero(void) { return (vf){ 0 }; }
V_INLINE vf v_load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
V_INLINE void v_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
V_INLINE vd v_load_f64(const float *p) { vh h; memcpy(&h, p, sizeof h); return __builtin_convertvector(h, vd); } // VW / 2 of them
V_INLINE vi v_load_i(const int32_t *p) { vi v; memcpy(&v, p, sizeof v); return v; }
V_INLINE vi v_lanes(void) // 0, 1, 2, ...
{
    static const int32_t lane[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
    return v_load_i(lane);
}

#if VW == 16 // -------------------------------------------------------------------------------------------------- AVX-512
typedef __mmask16 vm;
V_INLINE vm v_first(int64_t n) { return (vm)((1u << n) - 1u); } // lanes < n
V_INLINE vf v_load_n(const float *p, int64_t n) { return (vf)_mm512_maskz_loadu_ps(v_first(n), p); }
V_INLINE void v_store_n(float *p, vf v, int64_t n) { _mm512_mask_storeu_ps(p, v_first(n), (__m512)v); }
V_INLINE vf v_select(vm m, vf yes, vf no) { return (vf)_mm512_mask_blend_ps(m, (__m512)no, (__m512)yes); }
V_INLINE vm v_lt(vf a, vf b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }
V_INLINE vm v_and(vm a, vm b) { return (vm)(a & b); }
V_INLINE vf v_fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }  // a b + c
V_INLINE vf v_fnma(vf a, vf b, vf c) { return (vf)_mm512_fnmadd_ps((__m512)a, (__m512)b, (__m512)c); } // c - a b
V_INLINE vf v_max(vf a, vf b) { return (vf)_mm512_max_ps((__m512)a, (__m512)b); } // b where either is NaN
V_INLINE vf v_min(vf a, vf b) { return (vf)_mm512_min_ps((__m512)a, (__m512)b); }
V_INLINE vf v_sqrt(vf a) { return (vf)_mm512_sqrt_ps((__m512)a); }
V_INLINE vf v_round(vf a) { return (vf)_mm512_roundscale_ps((__m512)a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
V_INLINE vf v_scale2(vf a, vf n) { return (vf)_mm512_scalef_ps((__m512)a, (__m512)n); } // a 2^n, n whole
V_INLINE vi v_to_int(vf a) { return (vi)_mm512_cvtps_epi32((__m512)a); } // to nearest, ties to even
V_INLINE vf v_from_bf16(const uint16_t *p)
{
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
}
V_INLINE __m256 v_half_sum_(vf v) { return _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1)); }
V_INLINE __m256 v_half_max_(vf v) { return _mm256_max_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1)); }
#elif VW == 8 // ----------------------------------------------------------------------------------------------------- AVX2
typedef vi vm;
V_INLINE vm v_first(int64_t n) { return v_lanes() < v_set_i((int32_t)n); }
V_INLINE vf v_load_n(const float *p, int64_t n) // the branch is cheaper than a masked access for whole vectors
{
    return n >= VW ? v_load(p) : (vf)_mm256_maskload_ps(p, (__m256i)v_first(n));
}
V_INLINE void v_store_n(float *p, vf v, int64_t n)
{
    if (n >= VW) v_store(p, v);
    else _mm256_maskstore_ps(p, (__m256i)v_first(n), (__m256)v);
}
V_INLINE vf v_select(vm m, vf yes, vf no) { return (vf)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)m); }
V_INLINE vm v_lt(vf a, vf b) { return a < b; }
V_INLINE vm v_and(vm a, vm b) { return a & b; }
V_INLINE vf v_fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
V_INLINE vf v_fnma(vf a, vf b, vf c) { return (vf)_mm256_fnmadd_ps((__m256)a, (__m256)b, (__m256)c); }
V_INLINE vf v_max(vf a, vf b) { return (vf)_mm256_max_ps((__m256)a, (__m256)b); }
V_INLINE vf v_min(vf a, vf b) { return (vf)_mm256_min_ps((__m256)a, (__m256)b); }
V_INLINE vf v_sqrt(vf a) { return (vf)_mm256_sqrt_ps((__m256)a); }
V_INLINE vf v_round(vf a) { return (vf)_mm256_round_ps((__m256)a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
V_INLINE vi v_to_int(vf a) { return (vi)_mm256_cvtps_epi32((__m256)a); }
V_INLINE vf v_from_bf16(const uint16_t *p)
{
    return (vf)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16);
}
V_INLINE __m256 v_half_sum_(vf v) { return (__m256)v; }
V_INLINE __m256 v_half_max_(vf v) { return (__m256)v; }
#else // ---------------------------------------------------------------------------------------------------------- portable
typedef vi vm;
V_INLINE vm v_first(int64_t n) { return v_lanes() < v_set_i((int32_t)n); }
V_INLINE vf v_load_n(const float *p, int64_t n)
{
    if (n >= VW) return v_load(p);
    vf v = v_zero();
    for (int64_t i = 0; i < n; i++) v[i] = p[i];
    return v;
}
V_INLINE void v_store_n(float *p, vf v, int64_t n)
{
    if (n >= VW) v_store(p, v);
    else for (int64_t i = 0; i < n; i++) p[i] = v[i];
}
V_INLINE vf v_select(vm m, vf yes, vf no) { return (vf)((m & (vi)yes) | (~m & (vi)no)); }
V_INLINE vm v_lt(vf a, vf b) { return a < b; }
V_INLINE vm v_and(vm a, vm b) { return a & b; }
V_INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; }
V_INLINE vf v_fnma(vf a, vf b, vf c) { return c - a * b; }
V_INLINE vf v_max(vf a, vf b) { return v_select(a > b, a, b); }
V_INLINE vf v_min(vf a, vf b) { return v_select(a < b, a, b); }
V_INLINE vf v_sqrt(vf a)
{
    for (int i = 0; i < VW; i++) a[i] = __builtin_sqrtf(a[i]);
    return a;
}
V_INLINE vf v_round(vf a) // |a| < 2^22; the sum's last place is 1, so adding rounds to nearest even
{
    volatile float big = 12582912.0f; // 1.5 2^23; volatile: the compiler must not cancel it
    vf b = v_set(big);
    return (a + b) - b;
}
V_INLINE vi v_to_int(vf a) { return __builtin_convertvector(v_round(a), vi); }
V_INLINE vf v_from_bf16(const uint16_t *p)
{
    vi v;
    for (int i = 0; i < VW; i++) v[i] = (int32_t)((uint32_t)p[i] << 16);
    return (vf)v;
}
#endif

// Lanes from <= i < to.
V_INLINE vm v_between(int64_t from, int64_t to)
{
#if VW == 16
    return (vm)(v_first(to) & ~v_first(from));
#else
    return v_first(to) & ~v_first(from);
#endif
}

#if VW != 16
// a 2^n in two steps, so that results below the normal range round once and those above overflow to infinity: |n| <= 252.
V_INLINE vf v_scale2(vf a, vf n)
{
    vi whole = v_to_int(n), half = whole >> 1;
    vf first = (vf)((half + 127) << 23), second = (vf)((whole - half + 127) << 23);
    return a * first * second;
}
#endif

// Sum and maximum over lanes, by halves.
#if VW == 4
V_INLINE float v_sum(vf v) { return (v[0] + v[2]) + (v[1] + v[3]); }
V_INLINE float v_top(vf v)
{
    float a = v[0] > v[2] ? v[0] : v[2], b = v[1] > v[3] ? v[1] : v[3];
    return a > b ? a : b;
}
#else
V_INLINE float v_sum(vf v)
{
    __m256 h = v_half_sum_(v);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}
V_INLINE float v_top(vf v)
{
    __m256 h = v_half_max_(v);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
}
#endif

// Transposes VW vectors in place: stage h swaps the h x h blocks off the diagonal of each 2h x 2h block.
#if VW == 16
#define V_SWAP(a, b, h)                                                                                                          \
    do {                                                                                                                         \
        const vf x_ = (a), y_ = (b);                                                                                             \
        (a) = __builtin_shufflevector(x_, y_, V_LOW(0, h), V_LOW(1, h), V_LOW(2, h), V_LOW(3, h), V_LOW(4, h), V_LOW(5, h),      \
                                      V_LOW(6, h), V_LOW(7, h), V_LOW(8, h), V_LOW(9, h), V_LOW(10, h), V_LOW(11, h),            \
                                      V_LOW(12, h), V_LOW(13, h), V_LOW(14, h), V_LOW(15, h));                                   \
        (b) = __builtin_shufflevector(x_, y_, V_HIGH(0, h), V_HIGH(1, h), V_HIGH(2, h), V_HIGH(3, h), V_HIGH(4, h),              \
                                      V_HIGH(5, h), V_HIGH(6, h), V_HIGH(7, h), V_HIGH(8, h), V_HIGH(9, h), V_HIGH(10, h),       \
                                      V_HIGH(11, h), V_HIGH(12, h), V_HIGH(13, h), V_HIGH(14, h), V_HIGH(15, h));                \
    } while (0)
#elif VW == 8
#define V_SWAP(a, b, h)                                                                                                          \
    do {                                                                                                                         \
        const vf x_ = (a), y_ = (b);                                                                                             \
        (a) = __builtin_shufflevector(x_, y_, V_LOW(0, h), V_LOW(1, h), V_LOW(2, h), V_LOW(3, h), V_LOW(4, h), V_LOW(5, h),      \
                                      V_LOW(6, h), V_LOW(7, h));                                                                 \
        (b) = __builtin_shufflevector(x_, y_, V_HIGH(0, h), V_HIGH(1, h), V_HIGH(2, h), V_HIGH(3, h), V_HIGH(4, h),              \
                                      V_HIGH(5, h), V_HIGH(6, h), V_HIGH(7, h));                                                 \
    } while (0)
#else
#define V_SWAP(a, b, h)                                                                                                          \
    do {                                                                                                                         \
        const vf x_ = (a), y_ = (b);                                                                                             \
        (a) = __builtin_shufflevector(x_, y_, V_LOW(0, h), V_LOW(1, h), V_LOW(2, h), V_LOW(3, h));                               \
        (b) = __builtin_shufflevector(x_, y_, V_HIGH(0, h), V_HIGH(1, h), V_HIGH(2, h), V_HIGH(3, h));                           \
    } while (0)
#endif
#define V_LOW(l, h) ((l) & (h) ? VW + (l) - (h) : (l))
#define V_HIGH(l, h) ((l) & (h) ? VW + (l) : (l) + (h))
#define V_STAGE(r, h)                                                       \
    for (int i_ = 0; i_ < VW; i_++)                                         \
        if (!(i_ & (h))) V_SWAP((r)[i_], (r)[i_ + (h)], h)
V_INLINE void v_transpose(vf r[VW])
{
#if VW == 16
    V_STAGE(r, 8);
#endif
#if VW >= 8
    V_STAGE(r, 4);
#endif
    V_STAGE(r, 2);
    V_STAGE(r, 1);
}

// To the nearest number of bf16, ties to even, as hone_f32_to_bf16; NaN stays NaN.
V_INLINE vf v_round_bf16(vf v)
{
    const vi bits = (vi)v, odd = (bits >> 16) & 1;
    const vi near = (bits + (v_set_i(0x7fff) + odd)) & v_set_i((int32_t)0xffff0000), quiet = (bits & v_set_i((int32_t)0xffff0000)) | v_set_i(0x400000);
    const vi is_nan = v != v;
    return (vf)((is_nan & quiet) | (~is_nan & near));
}

#if VW == 16
// Lane i: (x[i], y[i]) rounded to bf16, x in the low half. The instruction makes zeros of denormals, as its products do.
V_INLINE __m512i bf16_pairs(vf x, vf y)
{
#ifdef __AVX512BF16__
    const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)y, (__m512)x);
    const __m512i low_high = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(low_high, halves);
#else
    const __m512i low = _mm512_srli_epi32((__m512i)v_round_bf16(x), 16);
    return _mm512_ternarylogic_epi32(_mm512_set1_epi32((int)0xffff0000), (__m512i)v_round_bf16(y), low, 0xca); // mask ? y : x
#endif
}
#endif

V_INLINE vf v_from_bf16_n(const uint16_t *p, int64_t n)
{
#if VW == 16
    return (vf)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(v_first(n), p)), 16);
#else
    uint16_t part[VW] = { 0 };
    memcpy(part, p, (size_t)n * sizeof *p);
    return v_from_bf16(part);
#endif
}

V_INLINE vf v_from_int8(const int8_t *p)
{
#if VW == 16
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
#elif VW == 8
    return (vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
#else
    return (vf){ p[0], p[1], p[2], p[3] };
#endif
}
V_INLINE vf v_from_int8_n(const int8_t *p, int64_t n)
{
#if VW == 16
    return (vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(v_first(n), p)));
#else
    int8_t part[VW] = { 0 };
    memcpy(part, p, (size_t)n);
    return v_from_int8(part);
#endif
}

V_INLINE void v_to_bf16(uint16_t *p, vf v) // rounded as above
{
    const vi half = (vi)v_round_bf16(v) >> 16;
#if VW == 16
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16((__m512i)half));
#elif VW == 8
    const __m256i pairs = _mm256_permute4x64_epi64(_mm256_packs_epi32((__m256i)half, (__m256i)half), 0x08);
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(pairs));
#else
    for (int i = 0; i < VW; i++) p[i] = (uint16_t)half[i];
#endif
}
V_INLINE void v_to_bf16_n(uint16_t *p, vf v, int64_t n)
{
#if VW == 16
    _mm256_mask_storeu_epi16(p, v_first(n), _mm512_cvtepi32_epi16((__m512i)((vi)v_round_bf16(v) >> 16)));
#else
    uint16_t part[VW];
    v_to_bf16(part, v);
    memcpy(p, part, (size_t)n * sizeof *p);
#endif
}

// e^x within 1 ulp (test_vec.c): x = n ln 2 + r, |r| <= ln 2 / 2, e^x = 2^n e^r with a polynomial of degree 6 that is
// exact at 0 (least relative error, 3e-9). -inf and below -104: 0. Above 88.73: inf. NaN: NaN.
//
// For U <= 4 vectors at once, step by step: one chain of 15 dependent steps fills the scheduler with waiting instructions,
// several side by side do not (2.4 times the rate on Sapphire Rapids).
V_INLINE void v_exp_each(int U, vf *x)
{
    vf n[4], p[4];
    V_UNROLL for (int u = 0; u < U; u++) x[u] = v_min(v_set(89.0f), v_max(v_set(-104.0f), x[u])); // constant first: NaN stays
    V_UNROLL for (int u = 0; u < U; u++) n[u] = v_round(x[u] * v_set(1.44269504088896f));
    V_UNROLL for (int u = 0; u < U; u++) x[u] = v_fnma(n[u], v_set(0.693145751953125f), x[u]); // ln 2 in two parts, the first
    V_UNROLL for (int u = 0; u < U; u++) x[u] = v_fnma(n[u], v_set(1.42860682030941723e-6f), x[u]); // so short that this is exact
    V_UNROLL for (int u = 0; u < U; u++) p[u] = v_fma(v_set(1.381454e-3f), x[u], v_set(8.368745e-3f));
    V_UNROLL for (int u = 0; u < U; u++) p[u] = v_fma(p[u], x[u], v_set(4.166839e-2f));
    V_UNROLL for (int u = 0; u < U; u++) p[u] = v_fma(p[u], x[u], v_set(1.6666521e-1f));
    V_UNROLL for (int u = 0; u < U; u++) p[u] = v_fma(p[u], x[u], v_set(0.49999994f));
    V_UNROLL for (int u = 0; u < U; u++) p[u] = v_fma(p[u], x[u], v_set(1.0f));
    V_UNROLL for (int u = 0; u < U; u++) p[u] = v_fma(p[u], x[u], v_set(1.0f));
    V_UNROLL for (int u = 0; u < U; u++) x[u] = v_scale2(p[u], n[u]);
}
V_INLINE vf v_exp(vf x)
{
    v_exp_each(1, &x);
    return x;
}

V_INLINE vf v_sigmoid(vf x) { return v_set(1.0f) / (v_set(1.0f) + v_exp(-x)); }

// tanh within 4 ulp: 2 sigmoid(2 x) - 1 loses what small x need, which take the series (the next term is below 2^-24 there).
V_INLINE vf v_tanh(vf x)
{
    const vf s = x * x, one = v_set(1.0f), far = v_fma(v_set(2.0f), v_sigmoid(x + x), -one);
    vf p = v_fma(v_set(2.1869489e-2f), s, v_set(-5.3968254e-2f));
    p = v_fma(p, s, v_set(1.3333333e-1f));
    p = v_fma(p, s, v_set(-3.3333333e-1f));
    return v_select(v_lt(s, v_set(0.09f)), v_fma(x * s, p, x), far);
}
