// kernels.h: the CPU kernels, once per instruction set.
//
// A new op is one function with the right name in some isa/*.c:
//     void   ISA(hone_cpu_<op>)(const hone_args *args, int threads)
//     size_t ISA(hone_cpu_<op>_workspace)(const hone_args *args, int threads)     only where it needs scratch
// isa/table.c makes one table per instruction set of them from ops.def. A missing kernel fails to link; the workspace
// functions are weak symbols, so that the ops without one need no line anywhere. (Keep both in one file: the linker takes
// a file of the library for its kernel, never for a weak name alone.)
#pragma once
#include "base/cpu.h"
#include "graph/backend.h"

typedef struct hone_cpu_kernel {
    void (*run)(const hone_args *args, int threads);
    size_t (*workspace)(const hone_args *args, int threads); // NULL: none
} hone_cpu_kernel;

typedef struct hone_cpu_kernels {
    hone_cpu_kernel op[HONE_OP_COUNT];
    size_t (*form_bytes)(hone_form form, hone_dtype dtype, int64_t M, int64_t K); // 0: this form is not used
} hone_cpu_kernels;

extern const hone_cpu_kernels *const hone_cpu_kernel_tables[HONE_ISA_COUNT]; // cpu.c

#ifdef HONE_ISA // inside isa/
#include "backend/cpu/isa/vec.h"
#define OP(name, ...)                                              \
    void ISA(hone_cpu_##name)(const hone_args *args, int threads); \
    size_t ISA(hone_cpu_##name##_workspace)(const hone_args *args, int threads) __attribute__((weak));
#define MOVE(...)
#include "graph/ops.def"
#undef OP
size_t ISA(hone_cpu_form_bytes)(hone_form form, hone_dtype dtype, int64_t M, int64_t K);
#endif
