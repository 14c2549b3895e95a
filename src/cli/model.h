// model.h: what verbs that run a model folder have in common: the options that say how, and opening it.
#pragma once
#include "cli/args.h"
#include "gen/runner.h"

typedef struct hone_cli_model {
    const char *backend, *precision, *adapter;  // NULL: the default
    int64_t slots;                      // for precision auto: sequences continued side by side; 0: texts are scored
} hone_cli_model;

// Rows of an option table.
#define HONE_CLI_MODEL_OPTIONS(how)                                                                                             \
    { "adapter", HONE_CLI_TEXT, &(how).adapter, "DIR", "a PEFT folder that was trained on this model: its changes apply" },     \
    { "backend", HONE_CLI_TEXT, &(how).backend, "NAME", "cpu (default), ref, or the path of a shared object" },                 \
    { "precision", HONE_CLI_TEXT, &(how).precision, "f32|bf16|int8|auto", "numbers that matrix products multiply (default f32); weights are then\n" \
      "                               read in a half or a quarter of their bytes; auto: what is fastest\n" \
      "                               here, by a short measurement" }

// hone_runner_open() as they say; programs are built after it. HONE_USAGE for a precision that there is not.
hone_status hone_cli_open_model(hone_runner *runner, const char *folder, const hone_cli_model *how);
