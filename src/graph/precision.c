// precision.c: in which numbers matrix products are made (see pass.h). Storage stays as it is: the kernels round on the way.
#include "graph/pass.h"

void hone_pass_precision(hone_program *program, hone_dtype product)
{
    for (int64_t n = 0; n < program->count; n++) {
        const int flags = hone_op_get(program->node[n].op)->flags;
        if (flags & HONE_PRODUCT) program->node[n].attr.product = product == HONE_int8 && !(flags & HONE_INTEGERS) ? HONE_bf16 : product;
    }
}
