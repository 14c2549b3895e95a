// budget.h: which activations to give up, so that a program's transients fit a number of bytes at the least cost.
//
// Every stored output (recompute.h) costs bytes from the forward to its readers in the backward, or the cost of running
// its node again, with what that needs. The sum of costs is to be least, subject to: no node sees more than `most` bytes
// alive. That is a knapsack whose weights depend on what else is dropped (a chain is recomputed as one, and lives where the
// backward reads it first), as an integer program in Checkmate (Jain et al. 2020). Here: simulate exactly, search locally.
//
//     starts    nothing dropped; all but every k-th block's output dropped, k = 1, 2, 3, 4, 6, 8 ... (Chen et al. 2016)
//     repair    while too much is alive: drop what takes away most excess bytes x nodes per cost (Chen's and Checkmate's
//               greedy count bytes alone; the area says where a peak is wide)
//     refine    take back what is not needed, dearest per byte first; then exchange pairs; the cheapest start wins
//
// A simulation of the order and its lifetimes takes tens of microseconds, so that thousands are affordable.
#pragma once
#include "graph/backend.h"
#include "graph/recompute.h"

// What running a node costs, in FLOPs: its own (attention's by its bounds, half of them masked) and 12 for each byte that it
// reads or writes, as a core of a current server has it.
double hone_node_work(const hone_graph *graph, const hone_node *node);

typedef struct hone_budget hone_budget;   // a program ready to be simulated

// cost: (program->count,) of running each node again, in any unit (seconds); borrowed. Layout's rules in short: the same
// lifetimes, workspaces and work in place, without gaps between places (tests hold the two to the same number).
hone_status hone_budget_open(hone_budget **budget, hone_recompute *recompute, const hone_backend *backend, void *self, const double *cost);
void hone_budget_close(hone_budget *budget);
size_t hone_budget_peak(hone_budget *budget);   // most bytes alive with recompute->drop as it stands
double hone_budget_cost(hone_budget *budget);   // of all clones, likewise

// Sets recompute->drop: the cheapest set found with a peak of at most `most` bytes. False where none was found: then drop
// is the set of the lowest peak that was seen.
bool hone_budget_choose(hone_budget *budget, size_t most);
