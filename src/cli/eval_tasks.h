// eval_tasks.h: the part of hone eval that asks questions (--tasks).
#pragma once
#include "cli/model.h"

typedef struct hone_cli_eval_tasks {
    const char *names, *samples;    // --tasks, --samples; NULL: not given
    int64_t limit, shots;           // shots -1: as each task has it
} hone_cli_eval_tasks;

// The names of all tasks, for --help: "arc_easy, arc_challenge, ..."
const char *hone_cli_task_names(void);
hone_status hone_cli_eval_tasks_run(const hone_cli_eval_tasks *how, const char *folder, const char *data, const hone_cli_model *model, bool as_json);
