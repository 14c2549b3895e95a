// recompute.h: which nodes run a second time, and where: shared by the pass that writes the program (recompute.c) and the
// search for what to drop (budget.c), so that what is weighed is what runs.
//
//     forward    a  b  c  d                     drop b, c:   b and c die in the forward
//     backward            D  C  B  A            ->           D  b' c'  C  B  A
//
// *Stored* is an output of a forward node that the backward reads. `drop` says which nodes' stored outputs are given up.
// Just before the first reader that wants one, its node is cloned, once; what the clone reads and is not stored (given up,
// or never wanted by the backward: weight forms, rows before RoPE) is cloned before it.
//
// `park` says which nodes' stored outputs go home (offload.h) behind the forward's last use, and come back in the clone's place: a fetch,
// which reads nothing else of the program and costs the nodes beside it nothing:
//
//     forward    a  b  c  park b  settle b  d       backward    D  fetch b  C  B  A
#pragma once
#include "graph/pass.h"

typedef struct hone_recompute_item { int64_t node; bool again; } hone_recompute_item; // a node of the program; its clone, or the fetch of what it wrote

typedef struct hone_recompute {
    const hone_graph *graph;
    const hone_program *program;        // as it was built: no clones yet; borrowed
    int64_t n_tensor;                   // the graph's, as it was built
    int64_t *producer;                  // (n_tensor,) node that writes a tensor and may be cloned, or -1
    bool *stored;                       // (count,) a node may be dropped: it writes something that is stored
    bool *drop;                         // (count,) in: of the stored ones
    bool *park;                         // (count,) in: of the stored ones, instead; only where hone_recompute_may_park
    bool *again;                        // (count,) out: has a clone
    hone_recompute_item *item; int64_t n_item;   // out: (<= 2 * count,) the program in its new order
} hone_recompute;

hone_status hone_recompute_open(hone_recompute *r, const hone_graph *graph, const hone_program *program); // drop, park: none
void hone_recompute_close(hone_recompute *r);
void hone_recompute_choose(hone_recompute *r, hone_drop_fn drop);    // of what is not parked
bool hone_recompute_may_park(const hone_recompute *r, int64_t node); // what a move can carry: plain activations
void hone_recompute_order(hone_recompute *r);                    // drop -> again, item. Allocates nothing
static inline bool hone_recompute_is_fetch(const hone_recompute *r, const hone_recompute_item *item) { return item->again && r->park[item->node]; }
// Does this operand of item i (no fetch) mean the clone's tensor?
bool hone_recompute_reads_clone(const hone_recompute *r, const hone_recompute_item *item, hone_tid id);
// Writes the order to `program`, which gets nodes of its own, and tensors of the clones behind those that there were when
// `r` was opened: applied again, those of the last time are forgotten.
hone_status hone_recompute_apply(hone_recompute *r, hone_graph *graph, hone_program *program);
