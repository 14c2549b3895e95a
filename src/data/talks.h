// talks.h: conversations named straight in a recipe: `dataset: talks.jsonl`.
//
// They are prepared as `hone prepare --chat` does it, once: into PARENT/prepared/NAME-HASH, PARENT being the folder that output_dir
// lies in. HASH is of the file, the tokenizer, the template and the keys that say what is trained, so that a run finds what an earlier
// one made, and another file or key makes another folder. Of runs that start side by side one prepares, the others wait.
#pragma once
#include "data/prepare.h"

// Is this a file of records, by its name: JSONL or JSON, packed or not?
bool hone_talks_named(const char *path);
// *folder (hone_free() it): the data set of it. tokenizer: loaded from tokenizer_path. held_out: share of conversations.
hone_status hone_talks_prepare(const hone_recipe *recipe, const char *path, const char *tokenizer_path, const hone_tokenizer *tokenizer, double held_out, char **folder);
// Appends what a prepared folder of conversations holds, for a run's header; nothing where it holds none.
hone_status hone_talks_describe(const char *folder, hone_buffer *out);
