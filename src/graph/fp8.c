// fp8.c: which products are made in 8-bit floats (pass.h: hone_pass_precision), and what quantising their operands moves.
//
// A product of F FLOPs takes F / peak, in fp8 half of that; quantising its operands takes bytes / bandwidth. So fp8 pays where
//
//     F / bytes >= (bandwidth x share) / (peak of bf16 x share) / (1 - 1/2)
//
// which by the rows of plan/hardware.def that have fp8 lies between 205 and 525 FLOPs a byte (test_forecast computes it). One number
// stands for all of them (recipe key fp8_flops_per_byte): a recipe trains in the same numbers whichever chip runs it. With N token
// rows much more than features, y = x W^T of M outputs makes 2 M / 5 FLOPs a byte: it pays from some 1,000 outputs on.
#include "graph/pass.h"

const char *const hone_fp8_reason[HONE_FP8_VERDICTS] = {
    [HONE_FP8_TAKEN] = "in fp8",
    [HONE_FP8_NO_RULE] = "needs more digits",
    [HONE_FP8_BLOCKED] = "weight in blocks",
    [HONE_FP8_FEW_ROWS] = "rows that come and go",
    [HONE_FP8_SIZE] = "sizes that are no multiples of 16",
    [HONE_FP8_WORK] = "too few FLOPs a byte",
};

// Its largest is looked for, then it is read again and written as codes; a product in bf16 reads what lies in f32 once and writes it, too.
static int64_t bytes_of(const hone_tensor *t)
{
    const int64_t count = hone_tensor_count(t), bytes = (int64_t)hone_dtype_bytes(t->dtype);
    return count * (t->dtype == HONE_bf16 ? 2 * bytes + 1 : bytes - 1);
}

int64_t hone_fp8_bytes(const hone_graph *graph, const hone_node *node)
{
    return bytes_of(hone_at(graph, node->in[0])) + bytes_of(hone_at(graph, node->in[1]));
}

hone_fp8_verdict hone_fp8_judge(const hone_graph *graph, const hone_node *node, double flops_per_byte)
{
    if (!(hone_op_get(node->op)->flags & HONE_FP8)) return HONE_FP8_NO_RULE;
    for (int i = 0; i < 2; i++) {
        const hone_tensor *t = hone_at(graph, node->in[i]);
        if (hone_dtype_is_blocked(t->dtype)) return HONE_FP8_BLOCKED;
        if (t->live != HONE_NONE) return HONE_FP8_FEW_ROWS;
        if (t->rank != 2 || t->dim[0] % HONE_FP8_SIZES || t->dim[1] % HONE_FP8_SIZES) return HONE_FP8_SIZE;
    }
    return hone_node_flops(graph, node) < flops_per_byte * (double)hone_fp8_bytes(graph, node) ? HONE_FP8_WORK : HONE_FP8_TAKEN;
}
