// recompute.c: activation checkpointing as a pass (see recompute.h, pass.h).
#include "graph/recompute.h"
#include "base/memory.h"
#include "graph/offload.h"
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
    r->park = hone_alloc(count, sizeof *r->park);
    r->again = hone_alloc(count, sizeof *r->again);
    r->item = hone_alloc(2 * count, sizeof *r->item);
    if (!r->producer || !r->stored || !r->drop || !r->park || !r->again || !r->item) {
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
    hone_free(r->park);
    hone_free(r->again);
    hone_free(r->item);
    *r = (hone_recompute){ 0 };
}

void hone_recompute_choose(hone_recompute *r, hone_drop_fn drop)
{
    for (int64_t n = 0; n < r->program->count; n++) r->drop[n] = r->stored[n] && !r->park[n] && drop(r->graph, r->program, &r->program->node[n]);
}

bool hone_recompute_may_park(const hone_recompute *r, int64_t n)
{
    const hone_node *node = &r->program->node[n];
    for (int i = 0; i < node->n_out; i++) {
        if (node->out[i] == HONE_NONE) continue;
        const hone_tensor *t = hone_at(r->graph, node->out[i]);
        if (t->cls != HONE_CLASS_activation || t->form != HONE_FORM_PLAIN || t->base != HONE_NONE || t->rank < 1 || t->rank > 2) return false;
    }
    return r->stored[n];
}

// The node whose clone (or fetch) has to have run before `id` can be read in the backward, or -1.
static int64_t wanted_clone(const hone_recompute *r, hone_tid id)
{
    int64_t n = id == HONE_NONE ? -1 : r->producer[id];
    return n < 0 || (r->stored[n] && !r->drop[n] && !r->park[n]) ? -1 : n;
}

static void add_inputs(hone_recompute *r, int64_t n)
{
    const hone_node *node = &r->program->node[n];
    for (int i = 0; i < node->n_in; i++) {
        int64_t from = wanted_clone(r, node->in[i]);
        if (from < 0 || r->again[from]) continue;
        r->again[from] = true;
        if (!r->park[from]) add_inputs(r, from);
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

// --- writing -------------------------------------------------------------------------------------------------------------

typedef struct {
    const hone_recompute *r;
    hone_graph *graph;
    hone_node *node; int64_t n_node;    // as written so far
    hone_tid *twin;                     // (n_tensor,) of the clone's outputs
    hone_tid *home, *stage;             // (n_tensor,) of what is parked: its home, and what lies in the arena in the forward; else NONE
    int64_t *last;                      // (n_tensor,) last item that means the forward's tensor
} writer;

static hone_tid make_like(hone_graph *graph, hone_class cls, const char *prefix, hone_tid id)
{
    hone_tensor like = *hone_at(graph, id);
    hone_tid made = hone_graph_tensor(graph, cls, like.dtype, like.rank, like.dim, "%s%.72s", prefix, like.name);
    hone_tensor *twin = hone_at(graph, made);
    twin->form = like.form;
    twin->live = like.live;
    twin->layer = like.layer;
    twin->trained = like.trained;
    return made;
}

// What of parked nodes' outputs the backward or a clone reads gets a home; and where the forward's uses end.
static void find_homes(writer *w)
{
    const hone_recompute *r = w->r;
    for (hone_tid id = 0; id < r->n_tensor; id++) w->home[id] = w->stage[id] = HONE_NONE;
    for (int64_t i = 0; i < r->n_item; i++) {
        const hone_node *node = &r->program->node[r->item[i].node];
        if (hone_recompute_is_fetch(r, &r->item[i])) continue;
        for (int k = 0; k < node->n_out && !r->item[i].again; k++)
            if (node->out[k] != HONE_NONE) w->last[node->out[k]] = i;
        for (int k = 0; k < node->n_in; k++) {
            const hone_tid id = node->in[k];
            if (id == HONE_NONE) continue;
            if (!hone_recompute_reads_clone(r, &r->item[i], id)) w->last[id] = i;
            else if (r->park[r->producer[id]] && w->home[id] == HONE_NONE) {
                w->home[id] = make_like(w->graph, HONE_CLASS_activation, "home.", id);
                w->stage[id] = make_like(w->graph, HONE_CLASS_stage, "", id);
                hone_at(w->graph, w->home[id])->parked = true;
            }
        }
    }
}

static void write_fetches(writer *w, const hone_node *node)
{
    for (int k = 0; k < node->n_out; k++) {
        const hone_tid id = node->out[k];
        if (id == HONE_NONE || w->home[id] == HONE_NONE) continue;
        hone_node fetch = hone_offload_move(node, HONE_OP_fetch);
        fetch.in[0] = w->home[id];
        fetch.out[0] = w->twin[id] = make_like(w->graph, HONE_CLASS_stage, "again.", id);
        fetch.phase = HONE_PHASE_BACKWARD;
        w->node[w->n_node++] = fetch;
    }
}

static void write_parks(writer *w, const hone_node *node, int64_t i)
{
    for (int k = 0; k < node->n_in + node->n_out; k++) {
        const hone_tid id = hone_node_operand(node, k);
        if (id == HONE_NONE || id >= w->r->n_tensor || w->home[id] == HONE_NONE || w->last[id] != i) continue;
        hone_node park = hone_offload_move(node, HONE_OP_park), settle = hone_offload_move(node, HONE_OP_settle);
        park.in[0] = settle.in[0] = w->stage[id];
        park.out[0] = w->home[id];
        w->node[w->n_node++] = park;
        w->node[w->n_node++] = settle;
        w->last[id] = -1;   // an operand may be there twice
    }
}

static void write_item(writer *w, int64_t i)
{
    const hone_recompute_item *item = &w->r->item[i];
    const hone_node *was = &w->r->program->node[item->node];
    hone_node node = *was;
    for (int k = 0; k < node.n_in; k++) {
        const hone_tid id = node.in[k];
        if (id == HONE_NONE) continue;
        if (hone_recompute_reads_clone(w->r, item, id)) node.in[k] = w->twin[id];
        else if (w->stage[id] != HONE_NONE) node.in[k] = w->stage[id];
    }
    for (int k = 0; k < node.n_out; k++) {
        const hone_tid id = node.out[k];
        if (id == HONE_NONE) continue;
        if (item->again) node.out[k] = w->twin[id] = make_like(w->graph, hone_at(w->graph, id)->cls, "again.", id);
        else if (w->stage[id] != HONE_NONE) node.out[k] = w->stage[id];
    }
    if (item->again) node.phase = HONE_PHASE_RECOMPUTE;
    w->node[w->n_node++] = node;
    if (!item->again) write_parks(w, was, i);
}

static size_t count_parked(const hone_recompute *r)
{
    size_t count = 0;
    for (int64_t n = 0; n < r->program->count; n++) count += r->park[n];
    return count;
}

hone_status hone_recompute_apply(hone_recompute *r, hone_graph *graph, hone_program *program)
{
    const size_t n_tensor = (size_t)r->n_tensor + 1, most = (size_t)r->n_item + 1 + 3 * HONE_MAX_OUT * count_parked(r);
    writer w = { .r = r, .graph = graph, .node = hone_alloc(most, sizeof *w.node), .twin = hone_alloc(n_tensor, sizeof *w.twin),
                 .home = hone_alloc(n_tensor, sizeof *w.home), .stage = hone_alloc(n_tensor, sizeof *w.stage), .last = hone_alloc(n_tensor, sizeof *w.last) };
    const bool have = w.node && w.twin && w.home && w.stage && w.last;
    graph->n_tensor = r->n_tensor;
    if (have) find_homes(&w);
    for (int64_t i = 0; have && i < r->n_item; i++) {
        if (hone_recompute_is_fetch(r, &r->item[i])) write_fetches(&w, &r->program->node[r->item[i].node]);
        else write_item(&w, i);
    }
    hone_free(w.twin);
    hone_free(w.home);
    hone_free(w.stage);
    hone_free(w.last);
    if (!have || graph->failed) {
        hone_free(w.node);
        return have ? hone_fail("out of memory while recomputation was planned") : HONE_FAILED;
    }
    program->node = w.node;
    program->count = w.n_node;
    program->capacity = (int64_t)most;
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
