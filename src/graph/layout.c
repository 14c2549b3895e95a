// layout.c: lifetimes -> offsets (see layout.h).
//
// A *block* is what gets a place: a transient tensor, or several that share one place because an op works in place, or one
// node's workspace (alive for that node only). Blocks are placed from large to small, each at the lowest offset where it
// meets no block that is alive at the same time.
#include "graph/layout.h"
#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int64_t birth, death; size_t bytes, offset, align; } block;

typedef struct {
    const hone_graph *graph;
    const hone_program *program;
    hone_layout *layout;
    block *block; int64_t n_block, capacity;
    int64_t *block_of;       // (n_tensor,) 1 + block of a transient, 0 none yet
    int64_t *last_reader;    // (n_tensor,) last node that reads or writes it, -1 none
} planner;

static bool persistent(const hone_tensor *tensor) { return !hone_is_transient(tensor); }

static size_t round_up(size_t bytes, size_t align) { return (bytes + align - 1) / align * align; }
size_t hone_layout_align(size_t bytes) { return round_up(bytes, HONE_ALIGN); }

static size_t align_of(const hone_tensor *tensor) { return tensor->cls == HONE_CLASS_stage ? HONE_STAGE_ALIGN : HONE_ALIGN; }
size_t hone_layout_place_bytes(const hone_tensor *tensor, size_t bytes) { return round_up(bytes, align_of(tensor)); }

size_t hone_layout_tensor_bytes(const hone_tensor *tensor, const hone_backend *backend, void *self)
{
    size_t plain = (size_t)hone_tensor_bytes(tensor);
    if (tensor->form == HONE_FORM_PLAIN) return plain;
    size_t bytes = backend->form_bytes(self, tensor->form, tensor->dtype, tensor->dim[0], tensor->dim[1]);
    return bytes ? bytes : plain; // a backend without forms of its own copies
}

// Shapes, dtypes and presence of a node's operands; places come with the session.
void hone_args_describe(const hone_graph *graph, const hone_node *node, hone_args *args)
{
    const hone_op_info *info = hone_op_get(node->op);
    *args = (hone_args){ .op = node->op, .attr = node->attr };
    for (int side = 0; side < 2; side++) {
        const hone_tid *ids = side ? node->out : node->in;
        hone_operand *operand = side ? args->out : args->in;
        for (int i = 0, n = side ? node->n_out : node->n_in; i < n; i++) {
            if (ids[i] == HONE_NONE) continue;
            const hone_tensor *tensor = hone_at(graph, ids[i]);
            operand[i] = (hone_operand){ .rank = tensor->rank, .dtype = tensor->dtype, .form = tensor->form, .present = true };
            memcpy(operand[i].dim, tensor->dim, sizeof tensor->dim);
            const hone_operand_spec *spec = side ? &info->out[i] : &info->in[i];
            if (tensor->rank + 1 == spec->rank) { // a vector where a matrix is wanted: one row, as in hone_node_bind
                operand[i].rank = spec->rank;
                operand[i].dim[0] = 1;
                memcpy(operand[i].dim + 1, tensor->dim, (size_t)tensor->rank * sizeof *tensor->dim);
            }
        }
    }
    if (node->op == HONE_OP_attention) args->same_kv = node->in[0] == node->in[1];
    if (node->op == HONE_OP_attention_back) args->same_kv = node->in[1] == node->in[2];
}

// Tensors of one class, one after another behind `at` bytes; returns how many bytes they take.
static size_t place_class(const hone_graph *graph, hone_layout *layout, int cls, size_t at)
{
    size_t bytes = 0;
    for (hone_tid id = 0; id < graph->n_tensor; id++) {
        const hone_tensor *tensor = hone_at(graph, id);
        if ((int)tensor->cls != cls || !persistent(tensor) || tensor->base != HONE_NONE || tensor->parked) continue;
        layout->offset[id] = at + bytes;
        bytes += hone_layout_align(layout->bytes[id]);
    }
    return bytes;
}

static void place_behind(const hone_graph *graph, hone_layout *layout, int cls)
{
    layout->class_bytes[cls] = place_class(graph, layout, cls, layout->persistent_bytes);
    layout->persistent_bytes += layout->class_bytes[cls];
}

static void place_persistent(const hone_graph *graph, hone_layout *layout)
{
    // what the host reads and writes between runs comes first: a backend with memory of its own has a twin of it (mirror.h)
    place_behind(graph, layout, HONE_CLASS_input);
    place_behind(graph, layout, HONE_CLASS_output);
    for (int cls = 0; cls < HONE_CLASS_COUNT; cls++)
        if (cls != HONE_CLASS_input && cls != HONE_CLASS_output && cls != HONE_CLASS_cache) place_behind(graph, layout, cls);
    for (hone_tid id = 0; id < graph->n_tensor; id++) {
        const hone_tensor *tensor = hone_at(graph, id);
        if (!tensor->parked || tensor->base != HONE_NONE) continue;
        layout->home[id] = layout->home_bytes;
        layout->home_bytes += round_up(layout->bytes[id], HONE_SCRATCH_ALIGN);
    }
    if (layout->home_bytes) layout->persistent_bytes = round_up(layout->persistent_bytes, HONE_STAGE_ALIGN); // transients begin behind it
    layout->cache_bytes = place_class(graph, layout, HONE_CLASS_cache, layout->persistent_bytes);
    if (layout->home_bytes) layout->cache_bytes = round_up(layout->cache_bytes, HONE_STAGE_ALIGN);
}

static bool touches_cache(const hone_graph *graph, const hone_program *program)
{
    for (int64_t n = 0; n < program->count; n++) {
        const hone_node *node = &program->node[n];
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] != HONE_NONE && hone_at(graph, node->in[i])->cls == HONE_CLASS_cache) return true;
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] != HONE_NONE && hone_at(graph, node->out[i])->cls == HONE_CLASS_cache) return true;
    }
    return false;
}

static hone_status new_block(planner *p, int64_t birth, int64_t death, size_t bytes, size_t align, int64_t *index)
{
    if (hone_grow(&p->block, p->n_block, &p->capacity, sizeof *p->block)) return HONE_FAILED;
    *index = p->n_block;
    p->block[p->n_block++] = (block){ .birth = birth, .death = death, .bytes = round_up(bytes, align), .align = align };
    return HONE_OK;
}

static void find_last_readers(planner *p)
{
    for (hone_tid id = 0; id < p->graph->n_tensor; id++) p->last_reader[id] = -1;
    for (int64_t n = 0; n < p->program->count; n++) {
        const hone_node *node = &p->program->node[n];
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] != HONE_NONE) p->last_reader[hone_storage(p->graph, node->in[i])] = n;
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] != HONE_NONE) p->last_reader[hone_storage(p->graph, node->out[i])] = n;
    }
}

// May output 0 of node n take the place of input k? Only if that tensor is a whole transient of the same size, read here
// for the last time, and the node reads it through no other operand.
static bool may_work_in_place(const planner *p, const hone_node *node, int64_t n, int k)
{
    hone_tid from = node->in[k], to = node->out[0];
    if (from == HONE_NONE || persistent(hone_at(p->graph, from)) || persistent(hone_at(p->graph, to))) return false;
    if (hone_at(p->graph, from)->base != HONE_NONE || hone_at(p->graph, from)->dtype != hone_at(p->graph, to)->dtype) return false;
    if (p->last_reader[from] != n || p->layout->bytes[from] != p->layout->bytes[to]) return false;
    for (int i = 0; i < node->n_in; i++)
        if (i != k && node->in[i] != HONE_NONE && hone_storage(p->graph, node->in[i]) == from) return false;
    return true;
}

static hone_status make_blocks(planner *p, const hone_backend *backend, void *self, int which, bool no_reuse)
{
    hone_layout *layout = p->layout;
    find_last_readers(p);
    for (int64_t n = 0; n < p->program->count; n++) {
        const hone_node *node = &p->program->node[n];
        const hone_op_info *info = hone_op_get(node->op);
        for (int i = 0; i < node->n_out; i++) {
            hone_tid id = node->out[i];
            if (id == HONE_NONE || persistent(hone_at(p->graph, id)) || p->block_of[hone_storage(p->graph, id)]) continue;
            id = hone_storage(p->graph, id);
            int64_t death = p->last_reader[id] < n ? n : p->last_reader[id];
            int k = info->flags & 0xff;
            if (i == 0 && info->flags & 1 << 8 && !no_reuse && may_work_in_place(p, node, n, k)) {
                p->block_of[id] = p->block_of[node->in[k]];
                block *shared = &p->block[p->block_of[id] - 1];
                shared->death = death;
                if (shared->align < align_of(hone_at(p->graph, id))) shared->align = align_of(hone_at(p->graph, id));
                shared->bytes = round_up(shared->bytes, shared->align);
                continue;
            }
            int64_t index;
            if (new_block(p, n, death, layout->bytes[id], align_of(hone_at(p->graph, id)), &index)) return HONE_FAILED;
            p->block_of[id] = index + 1;
        }
        hone_args args;
        hone_args_describe(p->graph, node, &args);
        layout->workspace_bytes[which][n] = backend->workspace_bytes && !hone_is_move(node) ? backend->workspace_bytes(self, &args) : 0;
        layout->workspace_offset[which][n] = HONE_NOWHERE;
        if (layout->workspace_bytes[which][n]) {
            int64_t index;
            if (new_block(p, n, n, layout->workspace_bytes[which][n], HONE_ALIGN, &index)) return HONE_FAILED;
            layout->workspace_offset[which][n] = (size_t)index; // the block for now; its place once that is known
        }
    }
    return HONE_OK;
}

typedef struct { size_t bytes; int64_t index; } sized;

static int larger_first(const void *a, const void *b)
{
    const sized *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

static int by_offset(const void *a, const void *b)
{
    const block *const *x = a, *const *y = b;
    return (*x)->offset < (*y)->offset ? -1 : (*x)->offset > (*y)->offset;
}

// Lowest offset at which `b` meets none of the n blocks placed so far that live at the same time.
static size_t lowest_gap(const block *b, const block *all, const sized *order, int64_t n, const block **alive)
{
    int64_t n_alive = 0;
    for (int64_t i = 0; i < n; i++) {
        const block *other = &all[order[i].index];
        if (other->birth <= b->death && b->birth <= other->death) alive[n_alive++] = other;
    }
    qsort(alive, (size_t)n_alive, sizeof *alive, by_offset);
    size_t offset = 0;
    for (int64_t i = 0; i < n_alive; i++) {
        if (offset + b->bytes <= alive[i]->offset) break;
        size_t end = round_up(alive[i]->offset + alive[i]->bytes, b->align);
        if (end > offset) offset = end;
    }
    return offset;
}

static hone_status place_blocks(planner *p, bool no_reuse, size_t *peak)
{
    hone_status status = HONE_FAILED;
    sized *order = hone_alloc((size_t)p->n_block + 1, sizeof *order);
    const block **alive = hone_alloc((size_t)p->n_block + 1, sizeof *alive);
    if (!order || !alive) goto out;
    for (int64_t i = 0; i < p->n_block; i++) order[i] = (sized){ p->block[i].bytes, i };
    qsort(order, (size_t)p->n_block, sizeof *order, larger_first);
    *peak = 0;
    for (int64_t i = 0; i < p->n_block; i++) {
        block *b = &p->block[order[i].index];
        b->offset = no_reuse ? round_up(*peak, b->align) : lowest_gap(b, p->block, order, i, alive);
        if (b->offset + b->bytes > *peak) *peak = b->offset + b->bytes;
    }
    status = HONE_OK;
out:
    hone_free(order);
    hone_free(alive);
    return status;
}

// Bytes alive at each node; where they are most is the peak that `hone plan` explains.
static void account_peak(planner *p, int which)
{
    hone_layout *layout = p->layout;
    size_t most = 0;
    int64_t at = 0;
    for (int64_t n = 0; n < p->program->count; n++) {
        size_t sum = 0;
        for (int64_t i = 0; i < p->n_block; i++)
            if (p->block[i].birth <= n && n <= p->block[i].death) sum += p->block[i].bytes;
        if (sum > most) { most = sum; at = n; }
    }
    layout->peak_program = which;
    layout->peak_node = at;
    layout->workspace_peak_bytes = hone_layout_align(layout->workspace_bytes[which][at]);
    for (int cls = 0; cls < HONE_CLASS_COUNT; cls++) {
        hone_tensor like = { .cls = (hone_class)cls };
        if (!persistent(&like)) layout->class_bytes[cls] = 0;
    }
    layout->class_bytes[HONE_CLASS_cache] = layout->transient_base[which] - layout->persistent_bytes;
    for (hone_tid id = 0; id < p->graph->n_tensor; id++) {
        if (!p->block_of[id]) continue;
        const block *b = &p->block[p->block_of[id] - 1];
        bool first = true; // tensors that share a block are counted once, by the one that is first in the table
        for (hone_tid other = 0; other < id && first; other++) first = p->block_of[other] != p->block_of[id];
        if (first && b->birth <= at && at <= b->death) layout->class_bytes[hone_at(p->graph, id)->cls] += b->bytes;
    }
}

static hone_status plan_program(const hone_graph *graph, int which, const hone_backend *backend, void *self, bool no_reuse,
                                hone_layout *layout)
{
    planner p = { .graph = graph, .program = &graph->program[which], .layout = layout };
    hone_status status = HONE_FAILED;
    size_t peak = 0, largest = 0;
    for (int i = 0; i < which; i++) if (layout->transient_bytes[i] > largest) largest = layout->transient_bytes[i];
    p.block_of = hone_alloc((size_t)graph->n_tensor, sizeof *p.block_of);
    p.last_reader = hone_alloc((size_t)graph->n_tensor, sizeof *p.last_reader);
    layout->workspace_offset[which] = hone_alloc((size_t)p.program->count + 1, sizeof(size_t));
    layout->workspace_bytes[which] = hone_alloc((size_t)p.program->count + 1, sizeof(size_t));
    if (!p.block_of || !p.last_reader || !layout->workspace_offset[which] || !layout->workspace_bytes[which]) goto out;
    if (make_blocks(&p, backend, self, which, no_reuse) || place_blocks(&p, no_reuse, &peak)) goto out;
    size_t base = layout->persistent_bytes + (touches_cache(graph, p.program) ? layout->cache_bytes : 0);
    layout->transient_base[which] = base;
    peak += base - layout->persistent_bytes;
    for (hone_tid id = 0; id < graph->n_tensor; id++)
        if (p.block_of[id]) {
            HONE_ASSERT(layout->offset[id] == HONE_NOWHERE, "%s is a transient of two programs", hone_at(graph, id)->name);
            layout->offset[id] = base + p.block[p.block_of[id] - 1].offset;
        }
    for (int64_t n = 0; n < p.program->count; n++)
        if (layout->workspace_offset[which][n] != HONE_NOWHERE)
            layout->workspace_offset[which][n] = base + p.block[layout->workspace_offset[which][n]].offset;
    layout->transient_bytes[which] = peak;
    if (peak > largest) account_peak(&p, which);
    status = HONE_OK;
out:
    hone_free(p.block);
    hone_free(p.block_of);
    hone_free(p.last_reader);
    return status;
}

hone_status hone_layout_plan(const hone_graph *graph, const hone_backend *backend, void *self, const hone_layout_options *options,
                             hone_layout *layout)
{
    bool no_reuse = options && options->no_reuse;
    *layout = (hone_layout){ .n_tensor = graph->n_tensor };
    layout->offset = hone_alloc((size_t)graph->n_tensor + 1, sizeof *layout->offset);
    layout->bytes = hone_alloc((size_t)graph->n_tensor + 1, sizeof *layout->bytes);
    layout->home = hone_alloc((size_t)graph->n_tensor + 1, sizeof *layout->home);
    if (!layout->offset || !layout->bytes || !layout->home) goto fail;
    for (hone_tid id = 0; id < graph->n_tensor; id++) {
        layout->offset[id] = layout->home[id] = HONE_NOWHERE;
        layout->bytes[id] = hone_layout_tensor_bytes(hone_at(graph, id), backend, self);
    }
    place_persistent(graph, layout);
    size_t largest = 0;
    for (int which = 0; which < graph->n_program; which++) {
        if (plan_program(graph, which, backend, self, no_reuse, layout)) goto fail;
        if (layout->transient_bytes[which] > largest) largest = layout->transient_bytes[which];
    }
    for (hone_tid id = 0; id < graph->n_tensor; id++) { // views, once their storages have places
        const hone_tensor *tensor = hone_at(graph, id);
        if (tensor->base != HONE_NONE && layout->offset[tensor->base] != HONE_NOWHERE)
            layout->offset[id] = layout->offset[tensor->base] + (size_t)tensor->offset_bytes;
    }
    layout->arena_bytes = layout->persistent_bytes + largest;
    return HONE_OK;
fail:
    hone_layout_release(layout);
    return HONE_FAILED;
}

int64_t hone_layout_node_bytes(const hone_layout *layout, const hone_node *node)
{
    int64_t bytes = 0;
    for (int i = 0; i < node->n_in + node->n_out; i++)
        if (hone_node_operand(node, i) != HONE_NONE) bytes += (int64_t)layout->bytes[hone_node_operand(node, i)];
    return bytes;
}

void hone_layout_release(hone_layout *layout)
{
    hone_free(layout->offset);
    hone_free(layout->bytes);
    hone_free(layout->home);
    for (int i = 0; i < HONE_PROGRAMS; i++) {
        hone_free(layout->workspace_offset[i]);
        hone_free(layout->workspace_bytes[i]);
    }
    *layout = (hone_layout){ 0 };
}
