// log.h: log.jsonl, one JSON object a line: what happened in a run, under full names, for programs.
//
//   {"event": "start" | "resume" | "step" | "eval" | "sample" | "save" | "save_failed" | "log_gap" | "stop" | "end", "time": "2026-01-31T12:00:00Z", ...}
//
// Appended, never rewritten: after a resume the steps that were repeated stand twice, behind their "resume" row. A row is
// one write, so that a stopped run leaves whole lines.
#pragma once
#include "run/tensorboard.h"
#include "run/wandb.h"

typedef struct hone_log {
    char *path;
    int64_t rows, lost;                 // written; not written since, for want of room
    hone_tensorboard tensorboard;       // these get the numbers too, where they are open
    hone_wandb wandb;
} hone_log;

hone_status hone_log_open(hone_log *log, const char *folder);   // appends to folder/log.jsonl
void hone_log_close(hone_log *log);
// Takes `row` over (an object, NULL where memory ran out) and puts event and time in front.
hone_status hone_log_add(hone_log *log, const char *event, json_t *row);
