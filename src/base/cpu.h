// cpu.h: what this machine is: instruction sets, cores, caches, clock. HONE_ISA=portable|avx2|avx512|avx512_bf16|amx forces a lower set.
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum { HONE_ISA_PORTABLE, HONE_ISA_AVX2, HONE_ISA_AVX512, HONE_ISA_AVX512_BF16, HONE_ISA_AMX, HONE_ISA_COUNT } hone_isa; // kernels exist for these
extern const char *const hone_isa_name[HONE_ISA_COUNT];

typedef struct {
    char model[128];
    int cores;                     // this process may use (affinity and cgroup quota)
    int64_t l1d_bytes, l2_bytes, l3_bytes; // l1d, l2 of one core, l3 as a whole; 0 unknown
    bool avx2, avx512, avx512_vnni, avx512_bf16, avx512_fp16, avx_vnni, amx_bf16, amx_int8;
    hone_isa best;                 // highest with kernels here
} hone_cpu_info;

const hone_cpu_info *hone_cpu(void);
// The set to use: HONE_ISA if set (an error if this machine lacks it or it is unknown), else the best.
hone_status hone_cpu_isa(hone_isa *isa);
hone_status hone_cpu_threads(int *threads); // HONE_THREADS if set (an error if < 1), else cores

double hone_clock_s(void);     // monotonic, seconds
double hone_thread_cpu_s(void); // that this thread has had of a core
