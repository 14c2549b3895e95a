// recompute.c: activation checkpointing as a pass (see pass.h).
//
// The program is rewritten in one sweep. Forward nodes are kept. When a later node (backward or recompute) reads an output
// of a dropped forward node, that node is cloned just before, once; what the clone itself reads and is dropped as well is
// cloned first. The original output then dies in the forward, and layout gives its bytes to others.
#include "graph/pass.h"
#include "base/memory.h"
#include <stdio.h>
#include <string.h>

typedef struct {
    hone_graph *graph;
    hone_program *program;
    const hone_node *old;     // (n_old,) the program as it was
    int64_t *producer;        // (n_before,) 1 + node of `old` that wrote a tensor and may be cloned; 0 none
    hone_tid *clone_of;       // (n_before,) recomputed twin of a tensor, or HONE_NONE
    int64_t n_before;
} context;

bool hone_drop_cheap(const hone_graph *graph, const hone_node *node, void *unused)
{
    (void)graph, (void)unused;
    return hone_op_get(node->op)->flags & HONE_CHEAP;
}

static hone_status append(context *c, const hone_node *node)
{
    hone_program *p = c->program;
    if (hone_grow(&p->node, p->count, &p->capacity, sizeof *node)) return HONE_FAILED;
    p->node[p->count++] = *node;
    return HONE_OK;
}

static bool may_clone(const hone_node *node)
{
    const hone_op_info *info = hone_op_get(node->op);
    for (int i = 0; i < info->n_out; i++)
        if (info->out[i].update) return false;
    return node->phase == HONE_PHASE_FORWARD;
}

// The recomputed twin of `id` (or `id` itself where it was not dropped), cloning its producer if that has not happened.
static hone_status twin(context *c, hone_tid id, hone_tid *out)
{
    *out = id;
    if (id == HONE_NONE || id >= c->n_before || !c->producer[id]) return HONE_OK;
    if (c->clone_of[id] == HONE_NONE) {
        hone_node clone = c->old[c->producer[id] - 1];
        clone.phase = HONE_PHASE_RECOMPUTE;
        for (int i = 0; i < clone.n_in; i++)
            if (twin(c, clone.in[i], &clone.in[i])) return HONE_FAILED;
        for (int i = 0; i < clone.n_out; i++) {
            if (clone.out[i] == HONE_NONE) continue;
            hone_tensor like = *hone_at(c->graph, clone.out[i]);
            hone_tid made = hone_graph_tensor(c->graph, like.cls, like.dtype, like.rank, like.dim, "again.%.72s", like.name);
            hone_at(c->graph, made)->live = like.live;
            hone_at(c->graph, made)->layer = like.layer;
            hone_at(c->graph, made)->trained = like.trained;
            c->clone_of[clone.out[i]] = made;
            clone.out[i] = made;
        }
        if (append(c, &clone)) return HONE_FAILED;
    }
    *out = c->clone_of[id];
    return HONE_OK;
}

hone_status hone_pass_recompute(hone_graph *graph, hone_program *program, hone_drop_fn drop, void *drop_context)
{
    if (graph->failed) return hone_fail("out of memory while the graph was built");
    hone_program before = *program;
    context c = { .graph = graph, .program = program, .old = before.node, .n_before = graph->n_tensor };
    hone_status status = HONE_FAILED;
    c.producer = hone_alloc((size_t)c.n_before, sizeof *c.producer);
    c.clone_of = hone_alloc((size_t)c.n_before, sizeof *c.clone_of);
    if (!c.producer || !c.clone_of) goto out;
    for (int64_t i = 0; i < c.n_before; i++) c.clone_of[i] = HONE_NONE;
    for (int64_t n = 0; n < before.count; n++) {
        const hone_node *node = &before.node[n];
        if (!may_clone(node) || !drop(graph, node, drop_context)) continue;
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] != HONE_NONE) c.producer[node->out[i]] = n + 1;
    }
    program->node = NULL;
    program->count = program->capacity = 0;
    for (int64_t n = 0; n < before.count; n++) {
        hone_node node = before.node[n];
        if (node.phase != HONE_PHASE_FORWARD)
            for (int i = 0; i < node.n_in; i++)
                if (twin(&c, node.in[i], &node.in[i])) goto out;
        if (append(&c, &node)) goto out;
    }
    status = graph->failed ? hone_fail("out of memory while recomputation was planned") : HONE_OK;
out:
    hone_free(c.producer);
    hone_free(c.clone_of);
    if (program->node != before.node) hone_free(before.node);
    return status;
}
