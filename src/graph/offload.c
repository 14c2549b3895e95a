// offload.c: see offload.h.
#include "graph/offload.h"
#include "base/memory.h"
#include "graph/backend.h"
#include "graph/budget.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Uses of one storage in one block and phase share a stage if no more nodes than this lie between: Muon's steps of q, k and v.
enum { REACH = 64 };
// Moves that may be under way ahead of a node, and behind it: those of one storage's update (parameter, gradient, two moments).
enum { AHEAD = 4 };

static bool touches(const hone_graph *graph, const hone_node *node, hone_tid storage)
{
    for (int i = 0; i < node->n_in + node->n_out; i++)
        if (hone_storage(graph, hone_node_operand(node, i)) == storage) return true;
    return false;
}

void hone_offload_set(hone_graph *graph, hone_tid storage, bool parked)
{
    for (hone_tid id = 0; id < graph->n_tensor; id++)
        if (hone_storage(graph, id) == storage) hone_at(graph, id)->parked = parked;
}

// A list of nodes being written in place of another.
typedef struct { hone_program now; } list;

static hone_status append(list *to, const hone_node *node)
{
    if (hone_grow(&to->now.node, to->now.count, &to->now.capacity, sizeof *node)) return HONE_FAILED;
    to->now.node[to->now.count++] = *node;
    return HONE_OK;
}

static hone_status finish(list *to, hone_program *program, hone_status status)
{
    if (status) {
        hone_free(to->now.node);
        return status;
    }
    hone_free(program->node);
    program->node = to->now.node;
    program->count = to->now.count;
    program->capacity = to->now.capacity;
    return HONE_OK;
}

// --- the norm ------------------------------------------------------------------------------------------------------------

static bool is_parked_norm(const hone_graph *graph, const hone_node *node)
{
    return node->op == HONE_OP_sum_squares && hone_at(graph, node->in[0])->parked;
}

static const hone_node *norm_of(const hone_graph *graph, const hone_program *update, hone_tid gradient)
{
    for (int64_t n = 0; n < update->count; n++)
        if (is_parked_norm(graph, &update->node[n]) && hone_storage(graph, update->node[n].in[0]) == gradient) return &update->node[n];
    return NULL;
}

// Behind node n of micro: the norms of the gradients that it is the last to touch.
static hone_status append_norms(list *to, const hone_graph *graph, const hone_program *micro, const hone_program *update, int64_t n)
{
    const hone_node *node = &micro->node[n];
    for (int i = 0; i < node->n_out; i++) {
        hone_tid id = hone_storage(graph, node->out[i]);
        const hone_node *norm = id != HONE_NONE && hone_at(graph, id)->parked ? norm_of(graph, update, id) : NULL;
        for (int64_t later = n + 1; norm && later < micro->count; later++)
            if (touches(graph, &micro->node[later], id)) norm = NULL;
        if (!norm) continue;
        hone_node moved = *norm;
        moved.phase = node->phase;
        moved.layer = node->layer;
        if (append(to, &moved)) return HONE_FAILED;
    }
    return HONE_OK;
}

hone_status hone_offload_move_norms(hone_graph *graph, hone_program *micro, hone_program *update, int64_t *n_norm)
{
    list in_micro = { 0 }, in_update = { 0 };
    hone_status status = HONE_OK;
    int64_t moved = 0;
    for (int64_t n = 0; n < micro->count && !status; n++) {
        status = append(&in_micro, &micro->node[n]);
        if (!status) status = append_norms(&in_micro, graph, micro, update, n);
    }
    for (int64_t n = 0; n < update->count && !status; n++) {
        if (is_parked_norm(graph, &update->node[n])) moved++;
        else status = append(&in_update, &update->node[n]);
    }
    HONE_ASSERT(status || in_micro.now.count == micro->count + moved, "a parked gradient is touched by no node of micro");
    *n_norm -= status ? 0 : moved;
    hone_status done = finish(&in_micro, micro, status);
    return finish(&in_update, update, status) || done ? HONE_FAILED : HONE_OK;
}

// --- moves around uses ---------------------------------------------------------------------------------------------------

typedef struct { hone_tid stage; bool written, seen; } use;   // of a storage: the stage that is open, NONE; and whether it had one before

typedef struct {
    hone_graph *graph;
    const hone_program *program;
    list to;
    use *of;              // (n_tensor,)
    bool in_micro, in_update, fresh;
} rewriter;

hone_node hone_offload_move(const hone_node *beside, hone_op op)
{
    const hone_op_info *info = hone_op_get(op);
    return (hone_node){ .op = op, .n_in = info->n_in, .n_out = info->n_out, .in = { HONE_NONE }, .out = { HONE_NONE }, .phase = beside->phase,
                        .layer = beside->layer, .stage = beside->stage, .slot = beside->slot,
                        .stream = op == HONE_OP_fetch ? HONE_STREAM_IN : op == HONE_OP_park ? HONE_STREAM_OUT : beside->stream };
}

static hone_status open_stage(rewriter *r, const hone_node *node, hone_tid storage)
{
    hone_graph *graph = r->graph;
    const hone_tensor home = *hone_at(graph, storage);
    hone_tid stage = hone_graph_tensor(graph, HONE_CLASS_stage, home.dtype, home.rank, home.dim, "stage.%.56s.%lld", home.name, (long long)graph->n_tensor);
    if (graph->failed) return hone_fail("out of memory while offloading was planned");
    hone_at(graph, stage)->layer = home.layer;
    hone_node fetch = hone_offload_move(node, HONE_OP_fetch);
    const bool zeros = home.cls == HONE_CLASS_grad && r->in_micro && r->fresh && !r->of[storage].seen;
    fetch.in[0] = zeros ? HONE_NONE : storage;
    fetch.out[0] = stage;
    if (zeros) fetch.stream = node->stream;
    r->of[storage] = (use){ .stage = stage, .seen = true };
    return append(&r->to, &fetch);
}

static hone_status close_stage(rewriter *r, const hone_node *node, hone_tid storage)
{
    use *u = &r->of[storage];
    const bool forgotten = r->fresh && r->in_update && hone_at(r->graph, storage)->cls == HONE_CLASS_grad;
    const hone_tid stage = u->stage;
    u->stage = HONE_NONE;
    if (!u->written || forgotten) return HONE_OK;
    hone_node park = hone_offload_move(node, HONE_OP_park), settle = hone_offload_move(node, HONE_OP_settle);
    park.in[0] = settle.in[0] = stage;
    park.out[0] = storage;
    return append(&r->to, &park) || append(&r->to, &settle) ? HONE_FAILED : HONE_OK;
}

// The stage in place of the storage; of a view: those rows of it.
static hone_tid staged(rewriter *r, hone_tid id)
{
    const hone_tensor t = *hone_at(r->graph, id);
    if (t.base == HONE_NONE) return r->of[id].stage;
    const int64_t row_bytes = hone_tensor_bytes(&t) / t.dim[0];
    hone_tid view = hone_graph_view(r->graph, r->of[t.base].stage, t.offset_bytes / row_bytes, t.dim[0], "stage.%.56s.%lld", t.name, (long long)r->graph->n_tensor);
    return view;
}

// Does a node soon behind n go on with the storage's stage?
static bool goes_on(const rewriter *r, int64_t n, hone_tid storage)
{
    const hone_node *node = &r->program->node[n];
    for (int64_t m = n + 1; m < r->program->count && m <= n + REACH; m++) {
        const hone_node *other = &r->program->node[m];
        const bool near = m == n + 1 || (node->layer >= 0 && other->layer == node->layer && other->phase == node->phase);
        if (near && touches(r->graph, other, storage)) return true;
    }
    return false;
}

static hone_status rewrite_node(rewriter *r, int64_t n)
{
    const hone_node *node = &r->program->node[n];
    hone_node staging = *node;
    hone_status status = HONE_OK;
    for (int i = 0; i < node->n_in + node->n_out && !status; i++) {
        const hone_tid id = hone_node_operand(node, i), storage = hone_storage(r->graph, id);
        if (id == HONE_NONE || !hone_at(r->graph, id)->parked) continue;
        if (r->of[storage].stage == HONE_NONE) status = open_stage(r, node, storage);
        if (status) break;
        if (i < node->n_in) staging.in[i] = staged(r, id);
        else staging.out[i - node->n_in] = staged(r, id);
        r->of[storage].written |= i >= node->n_in;
    }
    if (!status) status = append(&r->to, &staging);
    for (int i = 0; i < node->n_in + node->n_out && !status; i++) {
        const hone_tid storage = hone_storage(r->graph, hone_node_operand(node, i));
        if (storage == HONE_NONE || !hone_at(r->graph, storage)->parked || r->of[storage].stage == HONE_NONE || goes_on(r, n, storage)) continue;
        status = close_stage(r, node, storage);
    }
    return status;
}

static bool touches_parked(const hone_graph *graph, const hone_program *program)
{
    for (int64_t n = 0; n < program->count; n++)
        for (int i = 0; i < program->node[n].n_in + program->node[n].n_out; i++) {
            hone_tid id = hone_node_operand(&program->node[n], i);
            if (id != HONE_NONE && hone_at(graph, id)->parked) return true;
        }
    return false;
}

hone_status hone_pass_offload(hone_graph *graph, hone_program *program, bool fresh)
{
    if (!touches_parked(graph, program)) return HONE_OK;
    rewriter r = { .graph = graph, .program = program, .in_micro = !strcmp(program->name, "micro"), .in_update = !strcmp(program->name, "update"),
                   .fresh = fresh };
    const int layer = graph->layer;
    if (!(r.of = hone_alloc((size_t)graph->n_tensor, sizeof *r.of))) return HONE_FAILED;
    for (hone_tid id = 0; id < graph->n_tensor; id++) r.of[id].stage = HONE_NONE;
    hone_status status = HONE_OK;
    for (int64_t n = 0; n < program->count && !status; n++) status = rewrite_node(&r, n);
    if (!status && graph->failed) status = hone_fail("out of memory while offloading was planned");
    graph->layer = layer;
    hone_free(r.of);
    return finish(&r.to, program, status);
}

// --- overlap -------------------------------------------------------------------------------------------------------------

double hone_move_work(const hone_graph *graph, const hone_node *node)
{
    if (node->op == HONE_OP_settle) return 0;
    const bool zeros = node->op == HONE_OP_fetch && node->in[0] == HONE_NONE;
    const double a_byte = zeros ? 12 : graph->move_flops > 0 ? graph->move_flops : HONE_FLOPS_A_DISK_BYTE;
    return (double)hone_tensor_bytes(hone_at(graph, node->op == HONE_OP_fetch ? node->out[0] : node->in[0])) * a_byte;
}

static bool is_fetched(const hone_node *node) { return node->op == HONE_OP_fetch && hone_is_copy(node); }

// Before which node a fetch begins: where the nodes up to its use hide it; but no more than AHEAD at a time, and behind the
// last park of the same home.
static int64_t place_fetch(const hone_graph *graph, const hone_program *p, int64_t n, int64_t first)
{
    double left = hone_move_work(graph, &p->node[n]);
    int64_t at = n, others = 0;
    for (int64_t q = n - 1; q >= first && left > 0 && others < AHEAD; q--) {
        const hone_node *node = &p->node[q];
        if (node->op == HONE_OP_park && node->out[0] == p->node[n].in[0]) break;
        if (is_fetched(node)) others++;
        if (hone_is_move(node)) continue;
        left -= hone_node_work(graph, node);
        at = q;
    }
    return at;
}

// Before which node a park has to be done: likewise, downwards.
static int64_t place_settle(const hone_graph *graph, const hone_program *p, int64_t n)
{
    const hone_node park = { .op = HONE_OP_park, .in = { p->node[n].in[0] } };
    double left = hone_move_work(graph, &park);
    int64_t others = 0, q = n + 1;
    for (; q < p->count && left > 0; q++) {
        const hone_node *node = &p->node[q];
        if (node->op == HONE_OP_park && ++others > AHEAD) break;
        if (!hone_is_move(node)) left -= hone_node_work(graph, node);
    }
    return q;
}

typedef struct { double at; int64_t node; } spot;

static int by_place(const void *a, const void *b)
{
    const spot *x = a, *y = b;
    if (x->at != y->at) return x->at < y->at ? -1 : 1;
    return x->node < y->node ? -1 : x->node > y->node;
}

hone_status hone_pass_overlap(hone_graph *graph, hone_program *program, int64_t first)
{
    list to = { 0 };
    spot *order = hone_alloc((size_t)program->count + 1, sizeof *order);
    hone_status status = order ? HONE_OK : HONE_FAILED;
    for (int64_t n = 0; n < program->count && !status; n++) {
        const hone_node *node = &program->node[n];
        order[n] = (spot){ (double)n, n };
        if (is_fetched(node)) order[n].at = (double)place_fetch(graph, program, n, first) - 0.5;
        if (node->op == HONE_OP_settle) order[n].at = (double)place_settle(graph, program, n) - 0.25;
    }
    if (!status) qsort(order, (size_t)program->count, sizeof *order, by_place);
    for (int64_t i = 0; i < program->count && !status; i++) status = append(&to, &program->node[order[i].node]);
    hone_free(order);
    return finish(&to, program, status);
}

// --- time ----------------------------------------------------------------------------------------------------------------

double hone_offload_time(const hone_graph *graph, const hone_program *program, const double *seconds, double *waited)
{
    enum { READ, WRITE };
    double *ready = hone_alloc((size_t)graph->n_tensor + 1, sizeof *ready), lane[2] = { 0 }, now = 0, busy = 0;   // ready: of moves
    *waited = NAN;
    if (!ready) return NAN;
    for (int64_t n = 0; n < program->count; n++) {
        const hone_node *node = &program->node[n];
        for (int i = 0; i < node->n_in + node->n_out; i++) {
            const hone_tid id = hone_storage(graph, hone_node_operand(node, i));
            if (id != HONE_NONE && !hone_at(graph, id)->parked) now = fmax(now, ready[id]);
        }
        if (is_fetched(node)) {
            lane[READ] = fmax(fmax(now, lane[READ]), ready[node->in[0]]) + seconds[n];
            ready[node->out[0]] = lane[READ];
        } else if (node->op == HONE_OP_park) {
            lane[WRITE] = fmax(now, lane[WRITE]) + seconds[n];
            ready[node->in[0]] = ready[node->out[0]] = lane[WRITE];
        } else {
            now += seconds[n];
            busy += seconds[n];
        }
    }
    hone_free(ready);
    now = fmax(now, fmax(lane[READ], lane[WRITE]));
    *waited = now - busy;
    return now;
}
