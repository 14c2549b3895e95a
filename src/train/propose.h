// propose.h: a recipe for this machine, these data and a given time: `hone init`.
//
//     size        the one with the lowest loss that the time allows, by the fit of Muennighoff et al. 2023 (arXiv:2305.16264),
//                 which counts repeated data and parameters beyond what the data feed for less:
//                     L(N, D) = E + A / N'^a + B / D'^a         D' = U (1 + R (1 - exp(-(D/U - 1) / R)))   U: different tokens
//                 without repetition it is the rule of Hoffmann et al. 2022 (arXiv:2203.15556): 20 tokens a parameter.
//                 N: parameters of the blocks; so it comes within one size of what recipes/demo.yaml found by trial
//     batch, rate B = 0.292 C^0.3271 tokens, 0.3118 C^-0.125 (DeepSeek 2024, arXiv:2401.02954), C FLOPs of the whole run
//     speed       measured as `hone plan` does (plan/speed.h), and the choice is made again where it came out otherwise
//     memory      rows of a micro-batch are halved (and accumulated) until the plan fits; then the size below is tried
//
// The fits come from models above 10M parameters; below that they are an extrapolation, and say only where to begin.
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct hone_propose_options {
    const char *data, *tokenizer;       // of hone prepare; tokenizer NULL: the data's
    double time_s;
    int64_t memory_bytes;               // 0: four fifths of what is available
} hone_propose_options;

typedef struct hone_proposal {
    int64_t layers, width, mlp_width, heads, T, rows, accumulation;
    double learning_rate;
    int64_t params, data_tokens, tokens, steps;
    double tokens_per_s, flops_per_s, epochs;
    int64_t process_bytes, memory_bytes;
    bool has_held;                      // the data have a held-out part
} hone_proposal;

// The fitted loss; `different`: tokens that are not repetitions.
double hone_propose_loss(double params, double tokens, double different);
// Tells on `out` what it measures (NULL: nothing).
hone_status hone_propose(const hone_propose_options *options, hone_proposal *proposal, FILE *out);
