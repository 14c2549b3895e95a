// propose_tune.h: a recipe that tunes a given model on given data, on this machine: `hone init --model`.
//
//     method      the first of: every weight; LoRA; QLoRA (rows of whole NF4 blocks); each without and with blocks
//                 recomputed; of which one row of a micro-batch fits, by the plan that a run keeps to (plan/memory.h)
//     cutoff_len  the least power of two that holds 95 % of the documents whole, within 64 and 2,048, the model's positions and the data
//     batch       as many rows of a micro-batch as fit, up to 4,096 tokens; of a step 16 rows, fewer where the run
//                 would have less than 100 steps
//     rate        by method and size: LoRA's factors bear some ten times the rate of the weights (Schulman et al. 2025)
//     evaluations ten, fewer where they would take more than a tenth of the time
//     length      three passes over the data where the time allows them, else the time; speed is measured as `hone plan` does
#pragma once
#include "recipe/recipe.h"
#include <stdio.h>

typedef struct hone_propose_tune_options {
    const char *model, *data, *tokenizer;   // a folder or GGUF file; as key dataset takes it; NULL: the model's
    const char *output_dir;             // of the run: prepared conversations lie beside it
    const char *method;                 // finetuning_type; NULL: what fits
    double time_s;
    int64_t memory_bytes;               // 0: four fifths of what is available
} hone_propose_tune_options;

typedef struct hone_tune_proposal {
    hone_choice method, precision;      // finetuning_type; what `precision: auto` came to
    bool checkpointing;
    int64_t T, rows, accumulation;
    double learning_rate;
    double epochs;                      // 0: the clock ends the run
    int64_t params, trained;            // numbers of the model; of what is trained
    int64_t documents, data_tokens, usual_tokens;   // of the split that is trained on; 95 % of the documents are no longer. documents 0: unknown
    int64_t held_tokens;                // that an evaluation takes; 0: the data have no held-out part
    int64_t steps, tokens;
    double tokens_per_s, passes, seconds;
    int evaluations;                    // on the way; 0: there are no data for them, or they would take too long
    int64_t process_bytes, memory_bytes;
    char refused[96];                   // the method that was tried before this one, and what it would take; "": none was
} hone_tune_proposal;

enum { HONE_PROPOSE_LORA_RANK = 16, HONE_PROPOSE_LORA_ALPHA = 32, HONE_PROPOSE_EPOCHS = 3 };

// Tells on `out` what it measures (NULL: nothing).
hone_status hone_propose_tune(const hone_propose_tune_options *options, hone_tune_proposal *proposal, FILE *out);
