// peak.c: runs the loops on all threads at once and takes the best of several runs.
#include "plan/peak.h"
#include "backend/cpu/isa/peak.h"
#include "base/memory.h"
#include <omp.h>

enum { RUNS = 8 };

static double (*const loop[HONE_ISA_COUNT])(int64_t, double *) = {
    [HONE_ISA_PORTABLE] = hone_peak_loop_portable, [HONE_ISA_AVX2] = hone_peak_loop_avx2, [HONE_ISA_AVX512] = hone_peak_loop_avx512,
};

// All threads start together and the slowest one's end counts: what a step that waits for all of them would see.
static double seconds_of(int threads, hone_isa isa, int64_t turns, double *flops)
{
    double begin = 0, end = 0, sum = 0, count = 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum, count)
    {
        double mine = 0;
#pragma omp barrier
#pragma omp master
        begin = hone_clock_s();
        sum += loop[isa](turns, &mine);
        count += mine;
#pragma omp barrier
#pragma omp master
        end = hone_clock_s();
    }
    *flops = sum > 0 ? count : 0; // the sum is positive: this only keeps the loops alive
    return end - begin;
}

double hone_peak_flops(int threads, hone_isa isa)
{
    int64_t turns = 10000;
    double flops, best = 0, seconds;
    while ((seconds = seconds_of(threads, isa, turns, &flops)) < 0.01) turns *= seconds < 0.001 ? 8 : 2; // also wakes the clock up
    for (int run = 0; run < RUNS; run++) {
        seconds = seconds_of(threads, isa, turns, &flops);
        if (flops / seconds > best) best = flops / seconds;
    }
    return best;
}

double hone_peak_bandwidth(int threads)
{
    // Three arrays beyond the last cache, within bounds; small machines get less rather than an error.
    int64_t cache = hone_cpu()->l3_bytes, bytes = cache > 0 ? 2 * cache : 64 << 20;
    int64_t most = hone_memory_available_bytes() / 8, cap = 128 << 20;
    if (bytes > cap) bytes = cap;
    if (bytes > most) bytes = most;
    int64_t n = bytes / (int64_t)sizeof(float);
    float *pages = n > 0 ? hone_pages_alloc((size_t)(3 * bytes)) : NULL;
    if (!pages) return 0;
    float *a = pages, *b = a + n, *c = b + n;
    double best = 0;
    for (int run = 0; run < 4; run++) {
        float scale = (float)run;
        double begin = hone_clock_s();
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t i = 0; i < n; i++) a[i] = b[i] + scale * c[i];
        double rate = 3.0 * (double)bytes / (hone_clock_s() - begin);
        if (rate > best) best = rate;
    }
    hone_pages_free(pages, (size_t)(3 * bytes));
    return best;
}
