// fit.h: which activations of program micro are stored, and which of them, of moments and gradients live elsewhere, as the recipe's keys memory,
// offload and gradient_checkpointing have it.
//
//     neither                   what is as cheap to compute as to read is recomputed
//     gradient_checkpointing    all of a block but its output
//     memory                    the cheapest set with which the whole process fits (graph/budget.h)
//     memory, offload           the cheapest of several numbers of parked tensors (graph/offload.h), each with its cheapest set: from as
//                               few as fit with blocks recomputed to as many as make that unnecessary; once moments first, then
//                               gradients, then weights, the largest first, then blocks' outputs, the first first; once these before the others
//
// The simulated peak that budget.h keeps to knows no gaps between places. So the arena is planned with each choice, and
// where it is too large the choice is made again for as many bytes less.
#pragma once
#include "plan/job.h"

// After the session was planned with everything stored; plans it anew. Where no choice fits: an error with the table of the
// smallest plan, and the value of `memory` that would do.
hone_status hone_job_fit(hone_job *job);

// What recomputation costs a run of micro, as shares of what micro costs without: FLOPs of the matrix products, and work
// (hone_node_work: attention and memory traffic counted in).
typedef struct hone_recompute_price { int64_t node[HONE_OP_COUNT], nodes; double flops_share, work_share; } hone_recompute_price;
void hone_job_price_recompute(const hone_job *job, hone_recompute_price *price);

// What lives in the offload file or in pinned host memory, and what a step moves. 0: nothing is parked.
typedef struct hone_offload_price { int64_t file_bytes, pinned_bytes, class_bytes[HONE_CLASS_COUNT], read_bytes, written_bytes; } hone_offload_price;
static inline bool hone_offload_any(const hone_offload_price *price) { return price->file_bytes + price->pinned_bytes > 0; }
void hone_job_price_offload(const hone_job *job, hone_offload_price *price);
