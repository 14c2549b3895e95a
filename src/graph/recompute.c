// recompute.c: activation checkpointing as a pass (see recompute.h, pass.h).
#include "graph/recompute.h"
#include "base/memory.h"
#include <string.h>

bool hone_drop_cheap(const hone_graph *graph, const hone_program *program, const hone_node *node)
{
    (void)graph, (void)program;
    return hone_op_get(node->op)->flags & HONE_CHEAP;
}

static bool reads(const hone_node *node, hone_tid id)
{
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] == id) return true;
    return false;
}

// A block's output is what a forward node beyond the block reads.
bool hone_drop_blocks(const hone_graph *graph, const hone_program *program, const hone_node *node)
{
    if (hone_drop_cheap(graph, program, node)) return true;
    if (node->layer < 0) return false;
    for (int64_t n = 0; n < program->count; n++) {
        const hone_node *other = &program->node[n];
        if (other->phase != HONE_PHASE_FORWARD || other->layer == node->layer) continue;
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] != HONE_NONE && reads(other, node->out[i])) return false;
    }
    return true;
}

static bool may_clone(const hone_node *node)
{
    const hone_op_info *info = hone_op_get(node->op);
    for (int i = 0; i < info->n_out; i++)
        if (info->out[i].update) return false;
    return node->phase == HONE_PHASE_FORWARD;
}

hone_status hone_recompute_open(hone_recompute *r, const hone_graph *graph, const hone_program *program)
{
    *r = (hone_recompute){ .graph = graph, .program = program, .n_tensor = graph->n_tensor };
    const size_t count = (size_t)program->count + 1;
    r->producer = hone_alloc((size_t)graph->n_tensor + 1, sizeof *r->producer);
    r->stored = hone_alloc(count, sizeof *r->stored);
    r->drop = hone_alloc(count, sizeof *r->drop);
    r->again = hone_alloc(count, sizeof *r->again);
    r->item = hone_alloc(2 * count, sizeof *r->item);
    if (!r->producer || !r->stored || !r->drop || !r->again || !r->item) {
        hone_recompute_close(r);
        return HONE_FAILED;
    }
    for (hone_tid id = 0; id < graph->n_tensor; id++) r->producer[id] = -1;
    for (int64_t n = 0; n < program->count; n++) {
        const hone_node *node = &program->node[n];
        for (int i = 0; i < node->n_out && may_clone(node); i++)
            if (node->out[i] != HONE_NONE && hone_is_transient(hone_at(graph, node->out[i]))) r->producer[node->out[i]] = n;
        for (int i = 0; i < node->n_in && node->phase != HONE_PHASE_FORWARD; i++)
            if (node->in[i] != HONE_NONE && r->producer[node->in[i]] >= 0) r->stored[r->producer[node->in[i]]] = true;
    }
    return HONE_OK;
}

void hone_recompute_close(hone_recompute *r)
{
    hone_free(r->producer);
    hone_free(r->stored);
    hone_free(r->drop);
    hone_free(r->again);
    hone_free(r->item);
    *r = (hone_recompute){ 0 };
}

void hone_recompute_choose(hone_recompute *r, hone_drop_fn drop)
{
    for (int64_t n = 0; n < r->program->count; n++) r->drop[n] = r->stored[n] && drop(r->graph, r->program, &r->program->node[n]);
}

// The node whose clone has to have run before `id` can be read in the backward, or -1.
static int64_t wanted_clone(const hone_recompute *r, hone_tid id)
{
    int64_t n = id == HONE_NONE ? -1 : r->producer[id];
    return n < 0 || (r->stored[n] && !r->drop[n]) ? -1 : n;
}

static void add_inputs(hone_recompute *r, int64_t n)
{
    const hone_node *node = &r->program->node[n];
    for (int i = 0; i < node->n_in; i++) {
        int64_t from = wanted_clone(r, node->in[i]);
        if (from < 0 || r->again[from]) continue;
        r->again[from] = true;
        add_inputs(r, from);
        r->item[r->n_item++] = (hone_recompute_item){ from, true };
    }
}

void hone_recompute_order(hone_recompute *r)
{
    memset(r->again, 0, (size_t)r->program->count * sizeof *r->again);
    r->n_item = 0;
    for (int64_t n = 0; n < r->program->count; n++) {
        if (r->program->node[n].phase != HONE_PHASE_FORWARD) add_inputs(r, n);
        r->item[r->n_item++] = (hone_recompute_item){ n, false };
    }
}

bool hone_recompute_reads_clone(const hone_recompute *r, const hone_recompute_item *item, hone_tid id)
{
    return (item->again || r->program->node[item->node].phase != HONE_PHASE_FORWARD) && wanted_clone(r, id) >= 0;
}

// A twin of a tensor for the clone of its node.
static hone_tid make_twin(hone_graph *graph, hone_tid id)
{
    hone_tensor like = *hone_at(graph, id);
    hone_tid made = hone_graph_tensor(graph, like.cls, like.dtype, like.rank, like.dim, "again.%.72s", like.name);
    hone_tensor *twin = hone_at(graph, made);
    twin->form = like.form;
    twin->live = like.live;
    twin->layer = like.layer;
    twin->trained = like.trained;
    return made;
}

hone_status hone_recompute_apply(hone_recompute *r, hone_graph *graph, hone_program *program)
{
    hone_node *node = hone_alloc((size_t)r->n_item + 1, sizeof *node);
    hone_tid *twin = hone_alloc((size_t)r->n_tensor + 1, sizeof *twin);
    graph->n_tensor = r->n_tensor;
    if (!node || !twin) {
        hone_free(node);
        hone_free(twin);
        return HONE_FAILED;
    }
    for (int64_t i = 0; i < r->n_item; i++) {
        node[i] = r->program->node[r->item[i].node];
        for (int k = 0; k < node[i].n_in; k++)
            if (hone_recompute_reads_clone(r, &r->item[i], node[i].in[k])) node[i].in[k] = twin[node[i].in[k]];
        if (!r->item[i].again) continue;
        node[i].phase = HONE_PHASE_RECOMPUTE;
        for (int k = 0; k < node[i].n_out; k++)
            if (node[i].out[k] != HONE_NONE) node[i].out[k] = twin[node[i].out[k]] = make_twin(graph, node[i].out[k]);
    }
    hone_free(twin);
    if (graph->failed) {
        hone_free(node);
        return hone_fail("out of memory while recomputation was planned");
    }
    program->node = node;
    program->count = r->n_item;
    program->capacity = r->n_item + 1;
    return HONE_OK;
}

hone_status hone_pass_recompute(hone_graph *graph, hone_program *program, hone_drop_fn drop)
{
    if (graph->failed) return hone_fail("out of memory while the graph was built");
    const hone_program built = *program;
    hone_recompute r;
    hone_status status = hone_recompute_open(&r, graph, &built);
    if (status) return status;
    hone_recompute_choose(&r, drop);
    hone_recompute_order(&r);
    status = hone_recompute_apply(&r, graph, program);
    hone_recompute_close(&r);
    if (!status) hone_free(built.node);
    return status;
}
