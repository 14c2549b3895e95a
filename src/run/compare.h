// compare.h: runs as `hone_store_runs` gives them, looked at by key: one value, a filter, the differences of two.
//
// A key is a path with dots (held_out.loss, last.learning_rate). Without a section it is looked for in the run itself, then
// in its recipe, the recipe's model, the last step, plan, machine, result.
#pragma once
#include "base/json.h"
#include "base/memory.h"

const json_t *hone_run_value(const json_t *run, const char *key);    // NULL: the run has none
// "state=ended", "recipe.learning_rate>=1e-3", "name!=a": numbers compare as numbers, all else as text.
hone_status hone_run_matches(const json_t *run, const char *filter, bool *matches);
// [{section, key, a, b}]: recipes, machine, data, programs, what each came to. Equal values are left out.
hone_status hone_run_diff(const json_t *a, const json_t *b, json_t **out);
// A value as a table shows it: numbers of at most 6 digits, "-" where there is none.
hone_status hone_run_print_value(const json_t *value, hone_buffer *out);
