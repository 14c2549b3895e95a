// model.h: what verbs that run a model folder have in common: the options that say how, and opening it.
#pragma once
#include "cli/args.h"
#include "gen/runner.h"
#include "gen/sample.h"
#include <math.h>

typedef struct hone_cli_model {
    const char *backend, *precision, *adapter, *cache;  // NULL: the default
    int64_t slots;                      // for precision auto: sequences continued side by side; 0: texts are scored
} hone_cli_model;

// Rows of an option table.
#define HONE_CLI_MODEL_OPTIONS(how)                                                                                             \
    { "adapter", HONE_CLI_TEXT, &(how).adapter, "DIR", "a PEFT folder that was trained on this model: its changes apply" },     \
    { "backend", HONE_CLI_TEXT, &(how).backend, "NAME", "cpu (default), cuda, ref, or the path of a shared object" },                 \
    { "precision", HONE_CLI_TEXT, &(how).precision, "f32|bf16|fp16|int8|auto", "numbers that matrix products multiply (default f32); weights are then\n" \
      "                               read in a half or a quarter of their bytes; fp16: with backend cuda;\n" \
      "                               auto: what is fastest here, by a short measurement" }

#define HONE_CLI_CACHE_OPTION(how)                                                                                              \
    { "kv-cache", HONE_CLI_TEXT, &(how).cache, "auto|f32|bf16|int8", "numbers in which keys and values are kept (default auto: f32 with --precision f32,\n" \
      "                               else bf16); int8: with a scale for each head of a token, about half of bf16's bytes" }

// How ids are drawn, and what ends a text.
typedef struct hone_cli_sampling {
    hone_sampling how;
    bool given;                         // by an option; set by hone_cli_check_sampling()
    int64_t seed;
    hone_cli_texts stop;
} hone_cli_sampling;

// What it starts as: nothing is given.
#define HONE_CLI_SAMPLING_NONE ((hone_cli_sampling){ .how = { NAN, INT64_MIN, NAN, NAN, NAN, 0 } })

#define HONE_CLI_SAMPLING_OPTIONS(s)                                                                                            \
    { "temperature", HONE_CLI_REAL, &(s).how.temperature, "T", "0: always the likeliest token (default; of a conversation: see above)" },                     \
    { "top-k", HONE_CLI_INT, &(s).how.top_k, "K", "only the K likeliest tokens (default 0: all)" },                             \
    { "top-p", HONE_CLI_REAL, &(s).how.top_p, "P", "only the fewest likeliest that together reach P (default 1: all)" },        \
    { "min-p", HONE_CLI_REAL, &(s).how.min_p, "P", "only tokens at least P times as likely as the likeliest (default 0: all)" }, \
    { "repetition-penalty", HONE_CLI_REAL, &(s).how.repetition_penalty, "R", "makes tokens that occurred less likely (default 1: does not)" }, \
    { "seed", HONE_CLI_INT, &(s).seed, "N", "of the random numbers; a request's tokens do not depend on the batch (default 0)" }, \
    { "stop", HONE_CLI_TEXTS, &(s).stop, "TEXT", "ends the text before this string; may be given several times" }

// After parsing: makes what is not given greedy, puts the seed into `how` and refuses what is out of range, HONE_USAGE.
hone_status hone_cli_check_sampling(hone_cli_sampling *sampling, const char *verb);
// Of conversations: where no option said how, the model's generation_config.json does, and a line on standard error tells it.
hone_status hone_cli_default_sampling(hone_cli_sampling *sampling, const hone_runner *runner);

// hone_runner_open() as they say; programs are built after it. HONE_USAGE for a precision that there is not.
hone_status hone_cli_open_model(hone_runner *runner, const char *folder, const hone_cli_model *how);
