// peak.h: what this machine can do at most, measured: the denominator of every "share of peak" and the planner's time.
// Each call takes 0.1 to 0.4 s and is the best of several short runs, because other load only ever slows a run down.
#pragma once
#include "base/cpu.h"
#include "graph/tensor.h"

// Multiply-adds in registers, 2 FLOP each, of operands in f32, bf16 or int8 as the kernels make them: FLOP/s
double hone_peak_flops(int threads, hone_isa isa, hone_dtype product);
double hone_isa_rate(hone_isa isa, hone_dtype product); // how many times the rate of f32 that is
double hone_peak_bandwidth(int threads);             // triad a = b + s c over arrays beyond the caches: bytes/s
// The same within memory that is there: three arrays of a third each; overwrites it.
double hone_peak_bandwidth_in(void *pages, int64_t size_bytes, int threads);
