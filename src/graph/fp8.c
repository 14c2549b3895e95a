// fp8.c: which products are made in 8-bit floats (pass.h: hone_pass_precision), and what quantising their operands moves.
//
// A product of F FLOPs takes F / peak, in fp8 half of that; quantising its operands takes bytes / bandwidth. So fp8 pays where
//
//     F / bytes >= (bandwidth x share) / (peak of bf16 x share) / (1 - 1/2)
//
// which by the rows of plan/hardware.def that have fp8 lies between 205 and 525 FLOPs a byte (test_forecast computes it). One number
// stands for all of them (recipe key fp8_flops_per_byte): a recipe trains in the same numbers whichever chip runs it. With N token
// rows much more than features, y = x W^T of M outputs makes 2 M / 5 FLOPs a byte: it pays from some 1,000 outputs on. With a scale for
// each block an operand is read but once: 2 M / 3.03, from some 600 on.
#include "graph/pass.h"

const char *const hone_fp8_reason[HONE_FP8_VERDICTS] = {
    [HONE_FP8_TAKEN] = "in fp8",
    [HONE_FP8_NO_RULE] = "needs more digits",
    [HONE_FP8_BLOCKED] = "weight in blocks",
    [HONE_FP8_FEW_ROWS] = "rows that come and go",
    [HONE_FP8_SIZE] = "sizes that are no multiples of 16",
    [HONE_FP8_WORK] = "too few FLOPs a byte",
};

// Its largest is looked for, then it is read again (of blocks: it is still at hand) and written as codes, then the scales; a product in
// bf16 reads what lies in f32 once and writes it, too. A form is quantised already.
static int64_t bytes_of(const hone_tensor *t, int64_t scales)
{
    const int64_t count = hone_tensor_count(t), bytes = (int64_t)hone_dtype_bytes(t->dtype), reads = scales ? 1 : 2;
    if (hone_dtype_is_fp8(t->dtype)) return 0;
    return count * (t->dtype == HONE_bf16 ? reads * bytes + 1 : reads * bytes + 1 - (bytes + 2)) + scales * (int64_t)sizeof(float);
}

// Of operand i, where blocks have them.
static int64_t block_scales(const hone_tensor *t, const hone_node *node, int i)
{
    if (node->op == HONE_OP_linear_dw) return hone_fp8_scale_count(HONE_FP8_RUNS, t->dim[1], t->dim[0]);
    if (node->op == HONE_OP_linear_dx && i) return hone_fp8_scale_count(HONE_FP8_SQUARES, t->dim[1], t->dim[0]);
    return hone_fp8_scale_count(i ? HONE_FP8_SQUARES : HONE_FP8_RUNS, t->dim[0], t->dim[1]);
}

int64_t hone_fp8_bytes(const hone_graph *graph, const hone_node *node, hone_dtype product)
{
    int64_t bytes = 0;
    for (int i = 0; i < 2; i++) {
        const hone_tensor *t = hone_at(graph, node->in[i]);
        bytes += bytes_of(t, product == HONE_e4m3_128 ? block_scales(t, node, i) : 0);
    }
    return bytes;
}

hone_fp8_verdict hone_fp8_judge(const hone_graph *graph, const hone_node *node, hone_dtype product, double flops_per_byte)
{
    if (!(hone_op_get(node->op)->flags & HONE_FP8)) return HONE_FP8_NO_RULE;
    for (int i = 0; i < 2; i++) {
        const hone_tensor *t = hone_at(graph, node->in[i]);
        if (hone_dtype_is_blocked(t->dtype)) return HONE_FP8_BLOCKED;
        if (t->live != HONE_NONE) return HONE_FP8_FEW_ROWS;
        if (t->rank != 2 || t->dim[0] % HONE_FP8_SIZES || t->dim[1] % HONE_FP8_SIZES) return HONE_FP8_SIZE;
    }
    return hone_node_flops(graph, node) < flops_per_byte * (double)hone_fp8_bytes(graph, node, product) ? HONE_FP8_WORK : HONE_FP8_TAKEN;
}
