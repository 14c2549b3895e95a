// fp8.c: see fp8.h.
#include "plan/fp8.h"
#include "graph/pass.h"
#include <stdio.h>
#include <string.h>

// The node as it was judged: it read the weight, not yet a form of it.
static hone_node before_forms(const hone_program *program, const hone_node *node)
{
    hone_node before = *node;
    for (int64_t n = 0; n < program->count; n++)
        if (program->node[n].op == HONE_OP_pack && program->node[n].out[0] == node->in[1]) before.in[1] = program->node[n].in[0];
    return before;
}

// "layers.3.attn.o" -> "attn.o", and what of it: its gradients are dx and dw.
static void label_of(const hone_graph *graph, const hone_node *node, char label[96])
{
    const char *op = hone_op_get(node->op)->name, *gradient = strrchr(op, '_');
    const bool is_dw = gradient && !strcmp(gradient, "_dw"), is_gradient = is_dw || (gradient && (!strcmp(gradient, "_dx") || !strcmp(gradient, "_dt")));
    const char *name = hone_at(graph, is_dw ? node->out[0] : node->in[1])->name;
    int layer, used = 0;
    if (!strncmp(name, "grad.", 5)) name += 5;
    if (sscanf(name, "layers.%d.%n", &layer, &used) == 1 && used > 0) name += used;
    snprintf(label, 96, "%.80s%s%s", name, is_gradient ? " " : "", is_gradient ? gradient + 1 : "");
}

typedef struct judged { hone_fp8_verdict verdict; char label[96]; } judged;

static hone_status add_reason(const judged *all, int64_t count, hone_fp8_verdict reason, hone_buffer *out)
{
    hone_status status = HONE_OK;
    bool any = false;
    for (int64_t i = 0; i < count && !status; i++) {
        bool new = all[i].verdict == reason;
        for (int64_t k = 0; k < i && new; k++) new = all[k].verdict != reason || strcmp(all[k].label, all[i].label);
        if (!new) continue;
        status = hone_buffer_print(out, "%s%s", any ? ", " : out->size ? "; " : "", all[i].label);
        any = true;
    }
    return status || !any ? status : hone_buffer_print(out, " (%s)", hone_fp8_reason[reason]);
}

hone_status hone_fp8_count(const hone_job *job, hone_fp8_share *share, hone_buffer *others)
{
    const hone_program *micro = NULL;
    for (int p = 0; p < job->graph->n_program; p++)
        if (!strcmp(job->graph->program[p].name, "micro")) micro = &job->graph->program[p];
    HONE_ASSERT(micro, "a job without micro");
    judged *all = hone_alloc((size_t)micro->count + 1, sizeof *all);
    hone_status status = all ? HONE_OK : HONE_FAILED;
    *share = (hone_fp8_share){ 0 };
    for (int64_t n = 0; n < micro->count && all; n++) {
        const hone_node *node = &micro->node[n];
        if (!(hone_op_get(node->op)->flags & HONE_PRODUCT) || node->phase == HONE_PHASE_RECOMPUTE) continue;
        const hone_node before = before_forms(micro, node);
        judged *its = &all[share->products++];
        its->verdict = hone_dtype_is_fp8(node->attr.product) ? HONE_FP8_TAKEN : hone_fp8_judge(job->graph, &before, job->model.product, job->model.fp8_flops_per_byte);
        label_of(job->graph, &before, its->label);
        share->made += its->verdict == HONE_FP8_TAKEN;
    }
    for (int reason = HONE_FP8_TAKEN + 1; reason < HONE_FP8_VERDICTS && !status && others; reason++)
        status = add_reason(all, share->products, (hone_fp8_verdict)reason, others);
    hone_free(all);
    return status;
}
