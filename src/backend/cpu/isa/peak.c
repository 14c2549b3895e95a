// peak.c: independent multiply-adds in registers, nothing else: the f32 rate that no kernel can pass on these instructions.
//
// The chains hide the latency: 4 cycles x 2 units need 8, some chips more. With the two factors they must fit the register
// file (16 names below AVX-512, else 32), or the loop would measure spills. They are named one by one, since compilers keep
// an array of vectors in memory.
#include "backend/cpu/isa/peak.h"
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

#ifdef __AMX_BF16__
#include "backend/cpu/isa/tiles.h"
// Four independent chains of tile products hide their latency. Six products make one f32 product.
double JOIN(hone_peak_loop_, HONE_ISA)(int64_t turns, double *flops)
{
    float sum[16 * 16];
    tiles_begin();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    for (int64_t turn = 0; turn < turns; turn++) {
        _tile_dpbf16ps(0, 4, 5);
        _tile_dpbf16ps(1, 4, 5);
        _tile_dpbf16ps(2, 4, 5);
        _tile_dpbf16ps(3, 4, 5);
    }
    _tile_stored(0, sum, 64);
    tiles_end();
    *flops = 4.0 * 2 * 16 * 16 * 32 / 6 * (double)turns;
    return 1 + (double)sum[0];
}
#else
#define CHAINS_12(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#if defined __AVX512F__
enum { LANES = 16, CHAINS = 24 };
#define EACH(DO) CHAINS_12(DO) DO(12) DO(13) DO(14) DO(15) DO(16) DO(17) DO(18) DO(19) DO(20) DO(21) DO(22) DO(23)
#elif defined __AVX2__
enum { LANES = 8, CHAINS = 12 };
#define EACH(DO) CHAINS_12(DO)
#else
enum { LANES = 4, CHAINS = 12 };
#define EACH(DO) CHAINS_12(DO)
#endif
typedef float vec __attribute__((vector_size(LANES * sizeof(float))));

// Runs `turns` times CHAINS multiply-adds; *flops counts them. The value returned depends on all of them.
double JOIN(hone_peak_loop_, HONE_ISA)(int64_t turns, double *flops)
{
    // x -> 0.999 x + 0.001 stays near 1: no denormals, no infinities
    const vec zero = { 0 }, scale = zero + 0.999f, step = zero + 0.001f;
#define BEGIN(i) vec sum##i = zero + (float)i;
#define MULTIPLY_ADD(i) sum##i = sum##i * scale + step; __asm__("" : "+v"(sum##i)); // the asm keeps chains apart
#define ADD(i) total += sum##i;
    EACH(BEGIN)
    for (int64_t turn = 0; turn < turns; turn++) {
        EACH(MULTIPLY_ADD)
    }
    *flops = 2.0 * LANES * CHAINS * (double)turns;
    vec total = zero;
    EACH(ADD)
    double all = 0;
    for (int lane = 0; lane < LANES; lane++) all += total[lane];
    return all;
}
#endif
