// peak.h: the multiply-add loop of plan/peak.c, once per instruction set.
#pragma once
#include <stdint.h>

// On matrix tiles f32 is made by six products of bf16 (gemm_amx.c).
#define INSTRUCTION_SET(id, name, ...) double hone_peak_loop_##name(int64_t turns, double *flops);
#include "base/isa.def"
#undef INSTRUCTION_SET
