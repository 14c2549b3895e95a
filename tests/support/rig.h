// rig.h: a small random decoder, ready to run: what graph, layout and model tests share.
#pragma once
#include "graph/budget.h"
#include "graph/session.h"
#include "model/decoder.h"

typedef struct rig {
    hone_graph *graph;
    hone_model model;
    hone_train_io io;
    hone_session session;
} rig;

// Shapes that between them turn every switch of hone_config on and off (odd sizes, grouped heads, window, biases,
// qk-norm, tied and not, llama3 scaling, norms around, bounded scores, value embeddings, skips). kind: 0 <= kind < RIG_KINDS.
enum { RIG_KINDS = 7 };
hone_config rig_config(int kind);
const char *rig_name(int kind);

// Declares the model and the forward of micro (rows x T). The caller then runs passes and calls rig_start.
void rig_forward(rig *r, const hone_config *config, int64_t rows, int64_t T);
// The whole of micro, as training builds it.
void rig_micro(rig *r, const hone_config *config, int64_t rows, int64_t T);
// The same before recomputation is chosen: what the backward reads is stored.
void rig_micro_stored(rig *r, const hone_config *config, int64_t rows, int64_t T);
// As rig_micro with products in `product`, and the storage that goes with it.
void rig_micro_in(rig *r, const hone_config *config, hone_dtype product, int64_t rows, int64_t T);
// As rig_micro, within the share `tight` of what can be saved between dropping what is cheap (0) and the lowest peak that the
// search for recomputation finds (1).
void rig_micro_within(rig *r, const hone_config *config, int64_t rows, int64_t T, const hone_session_options *options, double tight);
void rig_start(rig *r, const hone_session_options *options);  // allocates and initialises weights with seed 1
void rig_close(rig *r);

void *rig_place(void *rig_pointer, hone_tid id);               // hone_place_fn
void *rig_named(rig *r, const char *name);                     // data of a persistent tensor
// Random ids and targets keyed by `seed` and row; packed documents of mixed lengths (one of them 1); uneven weights.
void rig_fill(rig *r, const hone_train_io *io, uint64_t seed);
// Sum over all gradient storages and logprobs, as one hash: equal bits, equal hash.
uint64_t rig_hash(rig *r);
double rig_difference(const float *a, const float *b, int64_t n); // ||a - b|| / ||b||
