// peak.c: independent multiply-adds in registers, nothing else: the f32 rate that no kernel can pass.
//
// CHAINS accumulators hide the latency: 4 cycles x 2 units need 8, some chips more; with the two factors they must fit the
// register file (16 names below AVX-512, else 32), or the loop would measure spills.
#include "backend/cpu/isa/peak.h"
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

#if defined __AVX512F__
enum { LANES = 16, CHAINS = 24 };
#elif defined __AVX2__
enum { LANES = 8, CHAINS = 12 };
#else
enum { LANES = 4, CHAINS = 12 };
#endif
typedef float vec __attribute__((vector_size(LANES * sizeof(float))));

// Runs `turns` times CHAINS multiply-adds; *flops counts them. The value returned depends on all of them.
double JOIN(hone_peak_loop_, HONE_ISA)(int64_t turns, double *flops)
{
    vec sum[CHAINS], scale, step;
    for (int lane = 0; lane < LANES; lane++) {
        scale[lane] = 0.999f; // x -> 0.999 x + 0.001 stays near 1: no denormals, no infinities
        step[lane] = 0.001f;
        for (int chain = 0; chain < CHAINS; chain++) sum[chain][lane] = (float)chain;
    }
    for (int64_t turn = 0; turn < turns; turn++) {
#pragma GCC unroll 32
        for (int chain = 0; chain < CHAINS; chain++) {
            sum[chain] = sum[chain] * scale + step;
            __asm__("" : "+x"(sum[chain])); // keeps each chain in its register, unmerged
        }
    }
    *flops = 2.0 * LANES * CHAINS * (double)turns;
    double total = 0;
    for (int chain = 0; chain < CHAINS; chain++)
        for (int lane = 0; lane < LANES; lane++) total += sum[chain][lane];
    return total;
}
