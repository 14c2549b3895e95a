// graph.h: a model is a graph; every technique is a pass over it.
//
//     graph = tensors (one table) + programs (lists of nodes over that table)
//
//     micro    forward + backward of one micro-batch, gradients accumulated
//     update   global norm, clip, optimizer
//     score    forward to per-token log-probabilities
//     decode   up to N token rows: chunks of prompts and decoding slots mixed
//
// Activations are single-assignment: exactly one node of a program writes each. Persistent tensors (classes.def) may be
// updated in place by many nodes; the order of the list is their order. Passes insert, clone, remove and reorder nodes
// and add tensors; nothing else is ever mutated. Builders report a misuse (shapes that do not fit) as a bug, by assertion:
// sizes that come from users were checked by model/config.c before.
#pragma once
#include "graph/op.h"

typedef enum { HONE_PHASE_FORWARD, HONE_PHASE_RECOMPUTE, HONE_PHASE_BACKWARD, HONE_PHASE_UPDATE } hone_phase;

typedef struct hone_node {
    hone_op op;
    int n_in, n_out;
    hone_tid in[HONE_MAX_IN], out[HONE_MAX_OUT];   // HONE_NONE where an optional operand is absent
    hone_attr attr;
    hone_phase phase;
    int layer;                  // as hone_tensor.layer
    int stage, slot, stream;    // schedule: pipeline stage, micro-batch slot, stream; all 0 in one process
} hone_node;

typedef struct hone_program {
    char name[16];
    hone_node *node;            // (count,) in execution order
    int64_t count, capacity;
} hone_program;

enum { HONE_PROGRAMS = 8 };     // of a graph, at most

typedef struct hone_graph {
    hone_tensor *tensor;        // (n_tensor,)
    int64_t n_tensor, capacity;
    hone_program program[HONE_PROGRAMS];
    int n_program;
    hone_program *now;          // where new nodes go
    hone_phase phase;           // what new nodes are marked with
    int layer;                  // likewise, and new tensors
    double move_flops;          // what a byte of a move costs beside computing (hone_node_work); 0: a disk's (offload.h)
    bool failed;                // memory ran out while building: checked once, by hone_session_open
} hone_graph;

hone_graph *hone_graph_new(void);
void hone_graph_free(hone_graph *graph);
hone_program *hone_graph_program(hone_graph *graph, const char *name);   // finds or makes it, and makes it `now`

// Tensors. dims: rank values. Names are copied.
hone_tid hone_graph_tensor(hone_graph *graph, hone_class cls, hone_dtype dtype, int rank, const int64_t *dim,
                           const char *name, ...) __attribute__((format(printf, 6, 7)));
#define HONE_DIMS(...) (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ }
// Rows [row, row + rows) of dimension 0 of `base`, as a tensor of its own (q, k, v inside a fused weight).
hone_tid hone_graph_view(hone_graph *graph, hone_tid base, int64_t row, int64_t rows, const char *name, ...)
    __attribute__((format(printf, 5, 6)));
int64_t hone_view_row(const hone_tensor *view);     // its first row within what it is a view of
// From here on a storage and its views are of another dtype. Before any program reads them.
void hone_graph_store(hone_graph *graph, hone_tid storage, hone_dtype dtype);
hone_tid hone_graph_find(const hone_graph *graph, const char *name);     // a persistent tensor by name, or HONE_NONE
static inline hone_tensor *hone_at(const hone_graph *graph, hone_tid id) { return &graph->tensor[id]; }
static inline hone_tid hone_storage(const hone_graph *graph, hone_tid id)  // what holds its bytes: itself, or what it is a view of
{
    return id == HONE_NONE || hone_at(graph, id)->base == HONE_NONE ? id : hone_at(graph, id)->base;
}
// Operand i of n_in + n_out: inputs, then outputs.
static inline hone_tid hone_node_operand(const hone_node *node, int i) { return i < node->n_in ? node->in[i] : node->out[i - node->n_in]; }
static inline bool hone_is_move(const hone_node *node) { return hone_op_get(node->op)->flags & HONE_MOVE; }

// Appends a node to graph->now. in: the op's inputs in table order, HONE_NONE for absent optional ones.
// update: existing tensors for its `+` outputs, in order (NULL if it has none). Other outputs are created: class
// activation (actgrad in the backward phase, form for pack), shapes and dtypes from the table row, dtype of "any float"
// outputs from the first "any float" input. Live counts pass from inputs to outputs whose dim 0 is the same symbol.
// Returns the node; the pointer is valid until the next append.
hone_node *hone_graph_add(hone_graph *graph, hone_op op, const hone_attr *attr, const hone_tid *in, const hone_tid *update);
// An optional ordinary output that nobody wants (attention_back's dkv of a fused tensor) is left HONE_NONE.

// Shorthands for what models and passes write most. Each returns output 0.
hone_tid hone_embed(hone_graph *graph, hone_tid ids, hone_tid table, hone_tid addend);
hone_tid hone_linear(hone_graph *graph, hone_tid x, hone_tid w, hone_tid bias, hone_tid residual);
hone_tid hone_add(hone_graph *graph, hone_tid a, hone_tid b);

// Binds every symbol of a node to its value (bounds). Fails with a message naming node, operand and sizes that disagree.
hone_status hone_node_bind(const hone_graph *graph, const hone_node *node, hone_binding *binding);
double hone_node_flops(const hone_graph *graph, const hone_node *node);   // by bounds
void hone_node_print(const hone_graph *graph, const hone_node *node, char *text, size_t size); // one line, for messages
// Whole-program check: operands fit the table, activations are written once and before they are read. For tests and
// after every pass.
hone_status hone_graph_validate(const hone_graph *graph, const hone_program *program);
