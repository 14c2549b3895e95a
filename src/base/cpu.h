// cpu.h: what this machine is: instruction sets, cores, caches, clock. HONE_ISA=NAME (isa.def) forces a lower set.
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum { // kernels exist for these
#define INSTRUCTION_SET(id, ...) HONE_ISA_##id,
#include "base/isa.def"
#undef INSTRUCTION_SET
    HONE_ISA_COUNT
} hone_isa;
extern const char *const hone_isa_name[HONE_ISA_COUNT];

typedef struct {
    char model[128];
    int cores;                     // this process may use (affinity and cgroup quota)
    int64_t l1d_bytes, l2_bytes, l3_bytes; // l1d, l2 of one core, l3 as a whole; 0 unknown
    bool avx2, avx512, avx512_vnni, avx512_bf16, avx512_fp16, avx_vnni, amx_bf16, amx_int8;
    bool has[HONE_ISA_COUNT];      // kernels of this set run here
    hone_isa best;                 // the highest of them
} hone_cpu_info;

// A function, static too, that is compiled for AVX2 as well, chosen at load time. (AddressSanitizer is not ready that early.)
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define HONE_AVX2_TOO __attribute__((target_clones("avx2", "default")))
#else
#define HONE_AVX2_TOO
#endif

const hone_cpu_info *hone_cpu(void);
hone_isa hone_isa_next(hone_isa isa); // the next higher set that this machine has, HONE_ISA_COUNT behind the last
// The set to use: HONE_ISA if set (an error if this machine lacks it or it is unknown), else the best.
hone_status hone_cpu_isa(hone_isa *isa);
hone_status hone_cpu_threads(int *threads); // HONE_THREADS if set (an error if < 1), else cores

double hone_clock_s(void);     // monotonic, seconds
double hone_wall_s(void);      // since 1970, seconds
double hone_thread_cpu_s(void); // that this thread has had of a core
