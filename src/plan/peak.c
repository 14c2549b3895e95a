// peak.c: runs the loops on all threads at once. Each thread times short slices of its own and keeps its best; the peak is
// the sum. Timing the slowest thread instead would measure the neighbours on a shared machine, not the processor. Slices of
// more threads than cores would fit into each other's pauses and count the same core twice: threads are bounded by cores.
#include "plan/peak.h"
#include "backend/cpu/isa/peak.h"
#include "base/memory.h"

static const double SLICE_S = 0.002, WINDOW_S = 0.12;

static double (*const loop[HONE_ISA_COUNT])(int64_t, double *) = {
#define INSTRUCTION_SET(id, name, ...) [HONE_ISA_##id] = hone_peak_loop_##name,
#include "base/isa.def"
#undef INSTRUCTION_SET
};

// Seconds of one slice; *flops is what it computed.
static double slice(hone_isa isa, int64_t turns, double *flops)
{
    double begin = hone_clock_s();
    double sum = loop[isa](turns, flops);
    double seconds = hone_clock_s() - begin;
    return sum > 0 ? seconds : 1e9; // always positive: this keeps the loop alive
}

double hone_isa_rate(hone_isa isa, hone_dtype product)
{
    static const double bf16[] = {
#define INSTRUCTION_SET(id, name, has, bf16, int8) bf16,
#include "base/isa.def"
#undef INSTRUCTION_SET
    }, int8[] = {
#define INSTRUCTION_SET(id, name, has, bf16, int8) int8,
#include "base/isa.def"
#undef INSTRUCTION_SET
    };
    return product == HONE_int8 ? int8[isa] : product == HONE_bf16 ? bf16[isa] : 1;
}

double hone_peak_flops(int threads, hone_isa isa, hone_dtype product)
{
    if (threads > hone_cpu()->cores) threads = hone_cpu()->cores;
    int64_t turns = 1000;
    double flops, shortest = 0;
    while (shortest < SLICE_S / 2) { // also wakes the clock up
        turns *= 2;
        shortest = slice(isa, turns, &flops);
        for (int i = 0; i < 3; i++) {
            double seconds = slice(isa, turns, &flops);
            if (seconds < shortest) shortest = seconds;
        }
    }
    double total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
        double best = 0, end = hone_clock_s() + WINDOW_S;
        do {
            double mine, rate, seconds = slice(isa, turns, &mine);
            rate = mine / seconds;
            if (rate > best) best = rate;
        } while (hone_clock_s() < end);
        total += best;
    }
    return total * hone_isa_rate(isa, product);
}

double hone_peak_bandwidth_in(void *pages, int64_t size_bytes, int threads)
{
    int64_t n = size_bytes / 3 / (int64_t)sizeof(float);
    float *a = pages, *b = a + n, *c = b + n;
    double best = 0;
    for (int run = 0; run < 4; run++) {
        float scale = (float)run;
        double begin = hone_clock_s();
#pragma omp parallel for num_threads(threads) schedule(static)
        for (int64_t i = 0; i < n; i++) a[i] = b[i] + scale * c[i];
        double rate = 3.0 * (double)n * (double)sizeof(float) / (hone_clock_s() - begin);
        if (rate > best) best = rate;
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
    void *pages = bytes > 0 ? hone_pages_alloc((size_t)(3 * bytes)) : NULL;
    if (!pages) return 0;
    double best = hone_peak_bandwidth_in(pages, 3 * bytes, threads);
    hone_pages_free(pages, (size_t)(3 * bytes));
    return best;
}
