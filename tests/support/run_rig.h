// run_rig.h: small recipes on small data: what tests of planning and training share.
#pragma once
#include "train/loop.h"

// A folder under /dev/shm or /tmp with train.u16 and held.u16: ids below 120 that a model can learn to foretell a little; id 7 closes
// documents of mixed lengths.
enum { RUN_RIG_VOCAB = 120, RUN_RIG_EOS = 7 };
char *run_rig_folder(void);                              // hone_free() it; timings are cached there too, not in the user's cache
char *run_rig_folder_on_disk(void);                      // surely under /tmp: for offloading, which refuses files that lie in memory
void run_rig_remove(char *folder);                       // with all in it; frees the name
// A two-layer llama on that data; more is appended to the YAML, and may name a model that exists in its place. Fails the test where the recipe is wrong.
void run_rig_recipe(hone_recipe *recipe, const char *folder, const char *more);
// The same as a file: its path; hone_free() it.
char *run_rig_recipe_file(const char *folder, const char *more);
// hone_job_open, arena, constants, initial weights. Ids of RUN_RIG_EOS close documents although there is no tokenizer.
void run_rig_start(hone_job *job, const hone_recipe *recipe);

typedef struct { hone_recipe recipe; hone_job job; hone_loop loop; } run_rig; // ready for hone_loop_step
void run_rig_open(run_rig *r, const char *folder, const char *more);
void run_rig_close(run_rig *r);
uint64_t run_rig_hash(const hone_job *job);              // of all weights and moments: equal bits, equal hash
