// probe.h: how long a model takes here with products of one precision or another, before any of its weights is read.
//
//     the model's sizes with one layer, with two   ->   t1, t2 seconds of a run of the very programs that will run
//     all its layers                                    t1 + (L - 1) (t2 - t1)
//
// Weights are one number everywhere, which no kernel's time depends on.
#pragma once
#include "model/decoder.h"

typedef struct hone_probe {
    const char *backend;        // NULL: cpu
    int64_t slots;              // sequences that are continued side by side, a token each; 0: texts are scored
} hone_probe;

// Seconds of one run: a token for each slot, or HONE_PROBE_TOKENS scored.
enum { HONE_PROBE_TOKENS = 256 };
hone_status hone_probe_time(const hone_probe *probe, const hone_config *config, hone_dtype product, double *seconds);
