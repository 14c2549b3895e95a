// store.h: the run store: what all runs under a folder did, in one SQLite database beside them.
//
//     RUNS/runs.db                 <- import -   RUNS/a/log.jsonl, RUNS/b/log.jsonl, ...
//
//     runs         one row a run: recipe, plan, machine, hashes of data and programs, how it stands, its result (JSON)
//     steps        (run, step) -> one column a metric (metrics.def)
//     events       every other row of the log as it is: evaluations, samples, saves, warnings
//     evaluations, checkpoints     views of events
//     logs         how far each log.jsonl has been read
//
// The log is the truth and the database follows it: an import reads what a log gained since the last one and writes it in
// one transaction together with the new offset, so a row arrives exactly once however often a writer is killed, and a
// database that was locked, damaged or deleted is made good by the next import. Write-ahead logging: readers never wait for
// the writer nor it for them. A resume drops the steps that it will repeat; `generation` counts that, for readers that
// keep what they have read.
//
// Run folders are kept relative to the database's own, so that the tree may be moved.
#pragma once
#include "base/json.h"

typedef enum {                      // columns of `steps`, in the order of metrics.def
#define METRIC(name, ...) HONE_METRIC_##name,
#include "run/metrics.def"
#undef METRIC
    HONE_METRIC_COUNT
} hone_metric;
typedef struct hone_metric_about { const char *name, *title, *unit; bool charted; } hone_metric_about;
extern const hone_metric_about hone_metric_table[HONE_METRIC_COUNT];

typedef struct hone_store hone_store;

// Write: made where it is absent. Read: refused where it is absent, and nothing is ever changed.
hone_status hone_store_open(hone_store **store, const char *path, bool write);
void hone_store_close(hone_store *store);                                // NULL is fine
// The store of the runs in folder `dir`, hone_free() it: dir/runs.db.
char *hone_store_path_in(const char *dir);
// Where a run in `output_dir` is kept when the recipe does not say: the folder that it lies in.
hone_status hone_store_path_for(const char *output_dir, char **path);

// Reads what run_folder/log.jsonl gained. *rows (may be NULL): how many.
hone_status hone_store_import(hone_store *store, const char *run_folder, int64_t *rows);
// The same for every log.jsonl below `dir`; *logs: how many there are.
hone_status hone_store_import_all(hone_store *store, const char *dir, int64_t *logs, int64_t *rows);

// All runs, oldest first: an array of objects {id, name, folder, state, started, updated, generation, step, steps,
// recipe, plan, machine, data_hash, program_hash, hone, from, last: {metric: value}, held_out: {...}, best: {...}, result}.
// state: running, ended, stopped, failed, died (its process is gone), silent (no word for long, on another machine).
hone_status hone_store_runs(hone_store *store, json_t **out);
// The run that `which` names: its number, its folder, or its name (the newest of that name). json_decref() it.
hone_status hone_store_find(hone_store *store, const char *which, json_t **out);
// Events of a run in order, each the row of the log; kind NULL: all; limit 0: all, else the newest so many.
hone_status hone_store_events(hone_store *store, int64_t run, const char *kind, int64_t limit, json_t **out);
// Calls `row` for each step behind `after` that fits, in order; value[m] is NaN where a metric is absent.
hone_status hone_store_steps(hone_store *store, int64_t run, int64_t after,
                             void (*row)(void *context, int64_t step, const double value[HONE_METRIC_COUNT]), void *context);
