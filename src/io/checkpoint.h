// checkpoint.h: the whole state of a training at a step boundary, as a folder that appears whole or not at all.
//
//     RUN/step-200/   a Hugging Face folder (hf.h), or of a model with adapters a PEFT folder (peft.h): usable as it stands
//                     optimizer.safetensors   moment1.<parameter>, moment2.<parameter>, moments.scale.<parameter>
//                     state.json              step, data position, counts, seed, recipe, hashes, size and XXH3 of every file
//     RUN/step-300.tmp/   being written; never read, removed by the next run (checkpoint_folder.c has the other names)
//
// Weights and moments change only in program *update*, so a thread reads them where they lie while micro-batches run:
//
//     loop     start | micro micro micro | wait | update | micro ...           | start ...
//     thread         [ read weights, moments ]   [ fsync  rename  drop old ]
//
// hone_checkpoint_wait() returns once everything has been read (the bytes are with the kernel); what is left of the save
// needs nothing of the model. No copy of the state is made: the thread owns one buffer, hone_checkpoint_buffer_bytes().
#pragma once
#include "io/hf.h"

enum { HONE_CHECKPOINT_VERSION = 1 };

typedef struct hone_checkpoint_tokens { char *source; int64_t tokens; } hone_checkpoint_tokens;

typedef struct hone_checkpoint_state {
    int64_t step;                   // optimizer steps taken
    int64_t row;                    // data position: the loader's next row
    int64_t tokens;                 // trained tokens so far
    double seconds;                 // of training so far
    uint64_t seed;
    uint64_t data_hash, program_hash;   // identities of what was read and what ran; 0 unknown
    char *recipe;                   // its text
    hone_checkpoint_tokens *source; int64_t n_source;  // trained tokens by source
    int64_t skipped;                // of the steps: changed nothing, their batches were bad
    double held_loss;               // held-out loss of these weights; 0: not measured
    float loss_scale[3];            // its state (graph/loss_scale.h); zeros: there is none, or it is at its beginning
    double *recent; int64_t n_recent;   // losses that the next step's is compared with, the oldest first
} hone_checkpoint_state;            // given to start: borrowed; got from load or read: hone_checkpoint_state_release() it

void hone_checkpoint_state_release(hone_checkpoint_state *state);

// Reading ----------------------------------------------------------------------------------------------------------

// Newest valid checkpoint of a run folder: *path (hone_free() it), or NULL where there is none at all. Damaged ones are
// named in a warning and the one before is taken; where all are damaged it is an error that names each and says what to do.
hone_status hone_checkpoint_find_last(const char *folder, char **path);
hone_status hone_checkpoint_verify(const char *path);            // every checksum; the message names the damaged file
hone_status hone_checkpoint_read_state(const char *path, hone_checkpoint_state *state);
// Weights (of a model with adapters: their factors alone, what is frozen is loaded before) and moments to where data(context, tid)
// says, bit by bit as they were saved; moments without a place by `carry` (NULL: all
// have one). state may be NULL.
hone_status hone_checkpoint_load(const char *path, const hone_model *model, hone_place_fn data, hone_carry_fn carry, void *context,
                                 hone_checkpoint_state *state);

typedef struct hone_checkpoint_entry { int64_t step; bool aside; char *path; } hone_checkpoint_entry;
typedef struct hone_checkpoint_list { hone_checkpoint_entry *entry; int64_t count; } hone_checkpoint_list;

hone_status hone_checkpoint_list_folder(const char *folder, hone_checkpoint_list *list);   // by step; none where there is no folder
void hone_checkpoint_list_release(hone_checkpoint_list *list);
// The step whose held-out loss is the lowest of those that were measured, -1 none.
int64_t hone_checkpoint_find_best(const hone_checkpoint_list *list, double *held_loss);

// Changing a run folder (checkpoint_folder.c). Whoever does holds its lock (base/lock.h) ------------------------------

hone_status hone_checkpoint_publish(const char *temporary, const char *final_path);   // also where final_path is there already
hone_status hone_checkpoint_remove(const char *path);
// Keeps the newest `limit` steps (0: all), in any case `kept` and, where keep_best, the best.
hone_status hone_checkpoint_drop_old(const char *folder, int64_t limit, bool keep_best, int64_t kept);
hone_status hone_checkpoint_drop_replays(const char *folder);   // "replay-N": all but the newest two
hone_status hone_checkpoint_repair_folder(const char *folder);  // undoes what an interrupted process left

// Writing ----------------------------------------------------------------------------------------------------------

typedef struct hone_checkpoint_options {
    const hone_model *model; hone_place_fn data; hone_carry_fn carry; void *context;  // borrowed until close; carry: as for load
    const char *folder;             // of the run; made if absent
    hone_hf_tokenizer tokenizer;    // .loaded is borrowed as well
    int64_t save_total_limit;       // how many step folders stay; 0: all
    bool keep_best;                 // beyond them the one with the lowest held-out loss
} hone_checkpoint_options;

typedef struct hone_checkpoint_report {
    int64_t step, bytes;
    double read_s, total_s;         // until all was read; until it was published
    double cpu_s;                   // of the thread, on a core: what training may have missed
    bool replay;
} hone_checkpoint_report;

typedef struct hone_checkpoint_writer hone_checkpoint_writer;

size_t hone_checkpoint_buffer_bytes(void);   // what a writer keeps resident, for the plan

// Fails at once where the folder cannot be written. Removes what an interrupted save left.
hone_status hone_checkpoint_open(hone_checkpoint_writer **writer, const hone_checkpoint_options *options);
// Begins a save and returns. A save under way is finished first; if that one failed, this returns its message and begins none.
hone_status hone_checkpoint_start(hone_checkpoint_writer *writer, const hone_checkpoint_state *state);
// The same into the folder "replay-<step + 1>": what that step began with, kept apart from the run's checkpoints.
hone_status hone_checkpoint_start_replay(hone_checkpoint_writer *writer, const hone_checkpoint_state *state);
// Call before anything changes weights or moments. Each failed save is reported once, by the first of wait, start and
// finish that sees it; it has left nothing visible. *stalled_s (may be NULL) grows by the seconds spent waiting.
hone_status hone_checkpoint_wait(hone_checkpoint_writer *writer, double *stalled_s);
hone_status hone_checkpoint_finish(hone_checkpoint_writer *writer, double *stalled_s); // until it is published
// True once for each save that was published.
bool hone_checkpoint_take_report(hone_checkpoint_writer *writer, hone_checkpoint_report *report);
void hone_checkpoint_close(hone_checkpoint_writer *writer);      // finishes; NULL is fine

// Identity of what runs: op table, programs, sizes. For state.json; not needed to load.
uint64_t hone_checkpoint_hash_programs(const hone_graph *graph);

// Shared by the two halves: the moments of a model that has any, by logical parameter.
typedef struct hone_checkpoint_moment { hone_tid id; char *name; } hone_checkpoint_moment;
hone_status hone_checkpoint_list_moments(const hone_model *model, hone_checkpoint_moment **moment, int64_t *count);
void hone_checkpoint_free_moments(hone_checkpoint_moment *moment, int64_t count);
// {"name": {"size": bytes, "xxh3": "..."}} of what the folder holds -> state.json.
hone_status hone_checkpoint_write_state(const char *folder, const hone_checkpoint_state *state, const json_t *files);
// The step that a folder's name tells, or -1.
int64_t hone_checkpoint_step_of(const char *name);
