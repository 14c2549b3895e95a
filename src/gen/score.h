// score.h: log-probabilities of whole sequences by program "score": as many as fit are packed into one run, each apart
// from the others, as training packs documents.
//
//     run of N rows   [ a0 a1 a2 | b0 | c0 c1 c2 c3 ... ]      row i of a sequence predicts its id i + 1
//
// A sequence of n ids needs n - 1 rows: the last id predicts nothing that is known, the first is predicted by nothing.
#pragma once
#include "graph/session.h"
#include "model/decoder.h"

typedef struct hone_score_item {
    const int32_t *ids; int64_t n;
    float *logprob;             // (n,) out: [i] of ids[i] given those before it; [0] is 0 and means nothing
} hone_score_item;

typedef struct hone_scorer {
    hone_session *session;      // borrowed, weights in place
    const hone_model *model;
    hone_train_io io;           // of hone_model_build_score
    int64_t tokens; double seconds; // scored since open, and time in runs
    // rows waiting for a run
    int64_t used, n_waiting;
    struct hone_score_piece *waiting; // (N,)
} hone_scorer;

hone_status hone_scorer_open(hone_scorer *scorer, hone_session *session, const hone_model *model, const hone_train_io *io);
void hone_scorer_close(hone_scorer *scorer);
// Takes a sequence; it may wait for others to share a run with it, so logprob must stay until flush (ids need not). *ran tells
// that all sequences before this one are done. Refuses, with `where` in the message, what is longer than a run's rows or
// the model's positions and ids outside the vocabulary.
hone_status hone_scorer_add(hone_scorer *scorer, const hone_score_item *item, const char *where, bool *ran);
void hone_scorer_flush(hone_scorer *scorer);
