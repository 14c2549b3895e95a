// merge.h: an adapter made part of its model: W + scale B A in f32, and how much that changes what the model says.
//
// Kullback-Leibler divergences, nats a token, over the whole vocabulary at each of the ids:
//     merged   of the merged model from base and adapter side by side: rounding alone
//     base     of the base model from them: what the adapter does
#pragma once
#include "gen/runner.h"

enum { HONE_MERGE_TOKENS = 256 };

typedef struct hone_merge { int64_t tokens; double kl_merged, kl_base; } hone_merge;

// Reads up to HONE_MERGE_TOKENS ids of real text: a prepared folder or raw token file (held-out where there is that), a .jsonl file of
// {"text"} or {"ids"}, or any other file as one text. hone_free() ids->data.
hone_status hone_merge_read_ids(const hone_runner *runner, const char *data, hone_ids *ids);
// On an opened runner with an adapter (hone_runner_add_adapter), which it starts. Afterwards runner->model's weights are the merged ones.
hone_status hone_merge_adapter(hone_runner *runner, const hone_ids *ids, hone_merge *merge);
