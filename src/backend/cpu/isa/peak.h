// peak.h: the multiply-add loop of plan/peak.c, once per instruction set.
#pragma once
#include <stdint.h>

double hone_peak_loop_portable(int64_t turns, double *flops);
double hone_peak_loop_avx2(int64_t turns, double *flops);
double hone_peak_loop_avx512(int64_t turns, double *flops);
double hone_peak_loop_avx512_bf16(int64_t turns, double *flops);
double hone_peak_loop_amx(int64_t turns, double *flops); // f32 by six products of bf16 tiles (gemm_amx.c)
