// sample.h: from one row of logits to the next id.
//
//   logits z -> repetition penalty -> / temperature -> top-k -> top-p -> min-p -> draw
//
// The order is that of transformers, and each step looks at the distribution that the one before it left. The random
// number is a function of (seed, key, position): the ids of a request depend on nothing else that runs beside it.
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct hone_sampling {
    double temperature;         // 0: greedy, the smallest id among equals
    int64_t top_k;              // only the k most likely; 0: all. Equals are taken by smaller id
    double top_p;               // only the fewest that together reach p (Holtzman et al. 2020); 1: all
    double min_p;               // only those at least min_p times as likely as the best (Nguyen et al. 2024); 0: all
    double repetition_penalty;  // z / r or z r (the smaller) for ids that occurred (Keskar et al. 2019); 1: none
    uint64_t seed;
} hone_sampling;
#define HONE_SAMPLING_GREEDY ((hone_sampling){ .top_p = 1.0, .repetition_penalty = 1.0 })

hone_status hone_sampling_check(const hone_sampling *how, const char *where); // names what is out of range

// Room for one row at a time; one per thread.
typedef struct hone_sampler {
    int64_t V;
    struct hone_candidate *candidate; // (V,)
    float *penalised, *weight;        // (V,) logits, and exp of them
    uint8_t *seen;                    // (V,) zero between calls
} hone_sampler;
hone_status hone_sampler_init(hone_sampler *sampler, int64_t V);
void hone_sampler_release(hone_sampler *sampler);

// logits (V,). ids (n,): the sequence so far, for the penalty; the new id will stand at position n.
int32_t hone_sample(hone_sampler *sampler, const hone_sampling *how, const float *logits, const int32_t *ids, int64_t n, uint64_t key);

// log sum exp(logits), and the likeliest id, the smallest among equals: of the model, before any of the above.
double hone_logits_lse(hone_sampler *sampler, const float *logits, int32_t *best);
// log softmax(logits)[id], likewise.
float hone_logprob_of(hone_sampler *sampler, const float *logits, int32_t id);
