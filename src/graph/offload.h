// offload.h: tensors that a step needs only now and then live in a file or in the host's memory, and come to the arena when a node wants them.
//
//     adamw(.. +grad +m +v)         ->     fetch m -> stage m     fetch v -> stage v     fetch grad -> stage grad
//                                          adamw(.. +stage grad +stage m +stage v)
//                                          park stage m -> m      park stage v -> v
//                                          settle stage m         settle stage v
//
// A persistent storage is *parked*: it has a home (layout.h) in the offload file or, where the backend has memory of its own, in pinned host
// memory, and no place in the arena.
// Passes rewrite its uses: hone_pass_offload() puts fetch, park and settle around each use, hone_pass_overlap() then moves every
// fetch up and every settle down, so that the disk or the bus works while nodes compute (moves.h). A staging tensor is an ordinary transient: layout knows
// its life, recomputation clones the fetch of a weight with the weight's form, and double buffers are nothing but two lives that
// overlap. So the arena stays exact, and nothing but places has changed: results are bit-identical.
//
// Gradients: where a step has one micro-batch, each begins as zeros in micro (a fetch without a home) and is forgotten once the
// update took it: it goes to the disk once and comes back once. Its share of the norm is taken before it is parked.
//
// Weights: fetched where a form of them is made, in the forward, in the backward, in every clone, and in the programs that evaluate; those that
// are trained go home from update. What loads them borrows the place of a stage (moves.h), what saves them reads the home.
//
// Activations: what the forward makes and the backward reads much later goes home behind the forward's last use and comes back where else
// it would be made again, written by the pass that chooses between the two (recompute.h). Its home is a parked tensor of its own.
#pragma once
#include "graph/graph.h"

// What a byte of a move costs beside computing (hone_node_work; hone_graph.move_flops). Disk: a server's core pair makes some 300 GFLOP/s, its
// disk moves 1 GB/s. Bus: of the GPUs in plan/hardware.def, at half their peaks and 0.8 of the bus, f32 makes 380 (A100) to 1,600 (RTX 4090)
// a byte, bf16 2,400 (L4) to 9,700 (H100). Constants, so that what is chosen does not hang on the minute; `hone plan` shows seconds.
enum { HONE_FLOPS_A_DISK_BYTE = 300, HONE_FLOPS_A_BUS_BYTE_F32 = 700, HONE_FLOPS_A_BUS_BYTE_NARROW = 5000 };

hone_node hone_offload_move(const hone_node *beside, hone_op op);          // a move on its stream, else marked as the node; operands yet to come
void hone_offload_set(hone_graph *graph, hone_tid storage, bool parked);   // with its views
// Every sum_squares of a parked gradient: out of `update`, behind the gradient's last use in `micro` (what an earlier micro-batch
// wrote there, the last one writes over). *n_norm becomes as many less (optim/update.h).
hone_status hone_offload_move_norms(hone_graph *graph, hone_program *micro, hone_program *update, int64_t *n_norm);
// fresh: gradients begin each run of program "micro" as zeros, and nobody reads them behind "update".
hone_status hone_pass_offload(hone_graph *graph, hone_program *program, bool fresh);
// Nodes before `first` stay where they are and nothing moves before them. Last of all passes.
hone_status hone_pass_overlap(hone_graph *graph, hone_program *program, int64_t first);

// When a program ends whose node n takes seconds[n], where moves run beside: one lane to the homes, one back. *waited: of that, what
// nodes waited for moves. NAN where memory is out.
double hone_offload_time(const hone_graph *graph, const hone_program *program, const double *seconds, double *waited);
static inline bool hone_is_copy(const hone_node *node) { return (node->op == HONE_OP_fetch && node->in[0] != HONE_NONE) || node->op == HONE_OP_park; }  // bytes move
double hone_move_work(const hone_graph *graph, const hone_node *node);      // of a MOVE node, in the units of hone_node_work
