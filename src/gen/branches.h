// branches.h: how likely each of several ends is to follow one beginning; the beginning is computed once.
//
//     Question: ... Answer: [ the | marsh     ]        a fork: sequences that share their first ids
//                           [     | tundra    ]        rows of the shared part run once, in the slot of the first sequence
//                           [ a | desert ]             other sequences have a slot of their own for the rest
//
// All of them see the shared part through the block table of the paged cache: each slot's table begins with the same blocks.
// So that the shared part ends where a block ends, it begins `offset` keys behind the start of its first block, and its rows see
// keys from `offset` on: sharing is to the token, not to the block. Rows of many forks run together.
//
// A log-probability does not depend on what else runs, since every kernel is row-invariant.
#pragma once
#include "gen/sample.h"
#include "graph/session.h"
#include "model/decoder.h"

typedef struct hone_branch {
    const int32_t *ids; int64_t n;  // the whole sequence
    int64_t judged;                 // how many ids at its end are judged, 1 <= judged < n
    double logprob;                 // out: sum of log p of those, each given all ids before it
    bool greedy;                    // out: each was the likeliest of all
} hone_branch;
typedef struct hone_fork { hone_branch *branch; int64_t count; } hone_fork;

typedef struct hone_brancher {
    hone_session *session;          // borrowed, weights in place and "refresh" run
    const hone_model *model;
    hone_decode_io io;
    int64_t rows, wanted, run;      // of the run that is being filled; how many were computed before it
    struct hone_branch_slot *slot;  // (S,)
    int32_t *free_block; int64_t n_free;                // a stack
    struct hone_want *want; int64_t n_want, capacity;   // whose log-probability comes from which wanted row
    double *lse; int32_t *best;     // (R,) of the last run
    hone_sampler *sampler; int n_sampler;               // one per thread
    int64_t tokens, shared; double seconds;             // since open: rows computed, rows that sharing saved, time in runs
} hone_brancher;

// Sizes of a decode program (hone_model_build_decode_pool) in which every one of these forks has room. Refuses a sequence longer
// than the model's positions and ids outside the vocabulary, with the number of the fork in the message.
typedef struct hone_decode_need { int64_t rows, wanted, slots, context, pool; } hone_decode_need;
hone_status hone_brancher_need(const hone_config *config, const hone_fork *forks, int64_t count, hone_decode_need *need);
hone_status hone_brancher_open(hone_brancher *brancher, hone_session *session, const hone_model *model, const hone_decode_io *io);
void hone_brancher_close(hone_brancher *brancher);
// Takes a fork, one of those that the program was built for; it waits for others to share a run, so it must stay until flush.
hone_status hone_brancher_add(hone_brancher *brancher, hone_fork *fork);
void hone_brancher_flush(hone_brancher *brancher);
