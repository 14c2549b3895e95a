// layout.h: where every tensor of a graph lives.
//
// Persistent tensors come first, one after another; behind them each program has its transients, which share bytes when
// their lives do not overlap. A transient is born at the node that writes it and dies after the last node that reads it.
//
//     [ persistent ............ | transients of micro      ]
//     [ persistent ............ | transients of score  ]           arena = persistent + the largest
//     [ persistent ............ | caches | of decode ]             of programs that touch class cache
//
//     node      0    1    2    3    4
//     x        [=========]
//     h             [=========]             offset 0      x, then y
//     y                       [====]        offset |x|    h
//
// A parked tensor (offload.h) has no place but a home, behind one another in the offload file; its staging tensors are transients
// whose places and sizes are whole pages, as a move past the page cache wants them.
//
// Invariant: hone_layout_plan() and the arena use the same offsets; arena_bytes is exact, not an estimate.
// Greedy by size (Pisarchyk & Lee 2020, arXiv:2001.03288), 64-byte aligned for the widest vector loads.
#pragma once
#include "base/scratch.h"
#include "graph/backend.h"

enum { HONE_ALIGN = 64, HONE_STAGE_ALIGN = HONE_SCRATCH_ALIGN };
#define HONE_NOWHERE SIZE_MAX

typedef struct hone_layout {
    size_t persistent_bytes, cache_bytes;
    size_t transient_bytes[HONE_PROGRAMS];  // per program, with the caches where it touches them
    size_t transient_base[HONE_PROGRAMS];   // where the program's transients begin
    size_t arena_bytes;
    int64_t n_tensor;
    size_t *offset;             // (n_tensor,) place of each tensor, HONE_NOWHERE if no program uses it
    size_t *bytes;              // (n_tensor,)
    size_t *home;               // (n_tensor,) parked: where it lies in the offload file, else HONE_NOWHERE
    size_t home_bytes;          // of that file
    size_t *workspace_offset[HONE_PROGRAMS]; // per program: (count,) place of each node's workspace
    size_t *workspace_bytes[HONE_PROGRAMS];
    size_t class_bytes[HONE_CLASS_COUNT]; // persistent: sum; transient: live at the peak of the largest program
    size_t workspace_peak_bytes;          // workspace live at that peak
    int peak_program; int64_t peak_node;
} hone_layout;

typedef struct hone_layout_options {
    bool no_reuse;              // every transient has its own place: for tests
} hone_layout_options;

hone_status hone_layout_plan(const hone_graph *graph, const hone_backend *backend, void *self,
                             const hone_layout_options *options, hone_layout *layout);
int64_t hone_layout_node_bytes(const hone_layout *layout, const hone_node *node);   // of all its operands: what it reads and writes
void hone_layout_release(hone_layout *layout);
size_t hone_layout_tensor_bytes(const hone_tensor *tensor, const hone_backend *backend, void *self); // in its form
size_t hone_layout_align(size_t bytes);
size_t hone_layout_place_bytes(const hone_tensor *tensor, size_t bytes);   // what a tensor of so many bytes takes of the arena
