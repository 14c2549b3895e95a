// report.h: what a run came to: what was predicted beside what was measured, its course, its end.
//
//     log.jsonl (read into a store in memory)  ->  one JSON document  ->  terminal | Markdown | JSON
//
//   predicted_measured   [{what, unit, predicted, measured}]     predictions are those of the plan in the log's first row
//   results              [{what, unit, value, note}]
//   course               [{step, loss, held_out}]                a dozen steps from the first to the last
//   checkpoints          [{step, bytes, seconds}]
//   events               [{event, count, last}]                  beside steps, evaluations, saves, samples
#pragma once
#include "run/store.h"
#include "base/memory.h"

typedef enum { HONE_REPORT_TERMINAL, HONE_REPORT_MARKDOWN } hone_report_form;

// The run of a folder that holds a log.jsonl; the newest, where it was begun several times.
hone_status hone_report_of_folder(const char *run_folder, json_t **out);
// The same for a run of a store.
hone_status hone_report_of_run(hone_store *store, const json_t *run, json_t **out);
hone_status hone_report_print(const json_t *report, hone_report_form form, hone_buffer *out);
