// precision.c: in which numbers matrix products are made, and which tensors are stored in 16 bits (see pass.h).
#include "graph/pass.h"
#include "base/memory.h"

bool hone_may_be_half(hone_op op, bool output, int k)
{
    const hone_op_info *info = hone_op_get(op);
    if (output ? info->out[k].half : info->in[k].half) return true;
    if (op == HONE_OP_pack) return output || k == 0;
    if (output) return k >= 2 && (op == HONE_OP_adamw || op == HONE_OP_momentum);
    return k == 1 && (op == HONE_OP_linear || op == HONE_OP_lora_linear || op == HONE_OP_linear_dx || op == HONE_OP_linear_xent || op == HONE_OP_linear_logprob);
}

// wide[id]: some operand that is this tensor is not one that may be narrow (`~` in ops.def).
static void mark_wide(const hone_graph *graph, const hone_tid *id, const hone_operand_spec *spec, int n, bool *wide)
{
    for (int i = 0; i < n; i++)
        if (id[i] != HONE_NONE && !spec[i].half) wide[hone_storage(graph, id[i])] = true;
}

static void store_half(hone_graph *graph, const hone_tid *id, int n, const bool *wide, hone_dtype half)
{
    for (int i = 0; i < n; i++) {
        hone_tensor *t = id[i] == HONE_NONE ? NULL : hone_at(graph, id[i]);
        const bool activation = t && (t->cls == HONE_CLASS_activation || t->cls == HONE_CLASS_actgrad);
        if (activation && t->dtype == HONE_f32 && !wide[id[i]]) t->dtype = half;
    }
}

// A node that may work in place hands a stream on: what it takes is as wide as what it gives, so that a residual stream stays in f32
// where it passes such a node. Behind mark_wide(), from the last node to the first.
static void keep_streams_wide(const hone_graph *graph, const hone_program *program, bool *wide)
{
    for (int64_t n = program->count - 1; n >= 0; n--) {
        const hone_node *node = &program->node[n];
        const int flags = hone_op_get(node->op)->flags, k = flags & 0xff;
        if (!(flags & 1 << 8) || node->in[k] == HONE_NONE || node->out[0] == HONE_NONE) continue;
        if (wide[hone_storage(graph, node->out[0])]) wide[hone_storage(graph, node->in[k])] = true;
    }
}

hone_status hone_pass_storage(hone_graph *graph, hone_program *program, hone_dtype half)
{
    if (graph->failed) return hone_fail("out of memory while the graph was built");
    bool *wide = hone_alloc((size_t)graph->n_tensor + 1, sizeof *wide);
    if (!wide) return HONE_FAILED;
    for (int64_t n = 0; n < program->count; n++) {
        const hone_node *node = &program->node[n];
        const hone_op_info *info = hone_op_get(node->op);
        mark_wide(graph, node->in, info->in, node->n_in, wide);
        mark_wide(graph, node->out, info->out, node->n_out, wide);
    }
    keep_streams_wide(graph, program, wide);
    for (int64_t n = 0; n < program->count; n++) store_half(graph, program->node[n].out, program->node[n].n_out, wide, half);
    hone_free(wide);
    return HONE_OK;
}

void hone_pass_precision(const hone_graph *graph, hone_program *program, hone_dtype product, double fp8_flops_per_byte)
{
    for (int64_t n = 0; n < program->count; n++) {
        hone_node *node = &program->node[n];
        const int flags = hone_op_get(node->op)->flags;
        if (!(flags & HONE_PRODUCT)) continue;
        const bool other = (product == HONE_int8 && !(flags & HONE_INTEGERS))
                        || (hone_dtype_is_fp8(product) && hone_fp8_judge(graph, node, product, fp8_flops_per_byte) != HONE_FP8_TAKEN);
        node->attr.product = other ? HONE_bf16 : product;
    }
}

hone_tid hone_loss_scale_state(const hone_graph *graph) { return hone_graph_find(graph, "loss_scale"); }
