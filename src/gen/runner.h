// runner.h: a model (a folder, or a GGUF file) made ready to run. Three steps, so that a verb pays only for what it uses:
//
//     hone_runner_open      config.json, tokenizer, parameters declared     (no weight is touched)
//     hone_model_build_*    the programs that the caller wants, into runner.graph
//     hone_runner_start     plan, memory check, arena, weights, constants, living forms
#pragma once
#include "graph/session.h"
#include "io/peft.h"
#include "model/decoder.h"
#include "text/tokenizer.h"

typedef struct hone_runner {
    char *folder;
    hone_graph *graph;
    hone_model model;
    hone_session session;
    hone_tokenizer *tokenizer;      // NULL: the folder has none
    hone_peft *adapter;             // NULL: none
    const char *backend;            // name or path, borrowed; NULL: cpu. Set between open and start
    double load_s;                  // open + start
} hone_runner;

hone_status hone_runner_open(hone_runner *runner, const char *folder);
// Between the first two: the low-rank changes of a PEFT folder (io/peft.h). Those of another base are refused, by start at the latest.
hone_status hone_runner_add_adapter(hone_runner *runner, const char *folder);
// Refuses with both figures where the plan needs more memory than there is.
hone_status hone_runner_start(hone_runner *runner);
void hone_runner_close(hone_runner *runner);     // may be called after a failure of either
// The tokenizer, or a message that the folder has none.
hone_status hone_runner_need_tokenizer(const hone_runner *runner);
