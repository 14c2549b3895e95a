// table.c: this instruction set's kernels, one entry per row of ops.def.
#include "backend/cpu/kernels.h"

extern const hone_cpu_kernels ISA(hone_cpu_kernels);
const hone_cpu_kernels ISA(hone_cpu_kernels) = {
    .op = {
#define OP(name, ...) [HONE_OP_##name] = { ISA(hone_cpu_##name), ISA(hone_cpu_##name##_workspace) },
#define MOVE(...)
#include "graph/ops.def"
#undef OP
    },
    .form_bytes = ISA(hone_cpu_form_bytes),
};
