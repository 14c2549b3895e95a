// job.h: what a recipe becomes: tokenizer, data, model, programs, layout. `hone plan` stops here and prints it; a training
// run allocates the session and goes on. Both call the same function, so what is planned is what runs.
//
//     recipe -> config, tokenizer, loaders -> GRAPH { micro, update, score, decode } -> layout
//
// Everything that can be refused before memory is taken is refused here.
#pragma once
#include "data/mixture.h"
#include "graph/session.h"
#include "model/decoder.h"
#include "optim/update.h"
#include "recipe/recipe.h"
#include "text/tokenizer.h"

typedef struct hone_job_held { char *name; hone_loader loader; } hone_job_held;

typedef struct hone_job {
    const hone_recipe *recipe;         // borrowed
    hone_tokenizer *tokenizer;         // NULL: a raw token file without one
    char *tokenizer_path;
    hone_config config;
    int64_t rows, T, accumulation;     // of a micro-batch, of a row, micro-batches of a step
    hone_mixture train;
    char *eval_path;                   // of eval_dataset; where that is conversations, of what was prepared of them; NULL: none is given
    hone_job_held *held; int64_t n_held;   // what is evaluated, each told apart
    bool has_held;                         // n_held > 0
    hone_graph *graph;
    hone_model model;
    hone_train_io micro, score;        // score: where has_held or pairs, else N 0
    hone_optim_options optim;
    hone_update_io update;
    bool pairs;                        // stage: dpo
    float *reference; int64_t n_reference;  // of pairs: log-probability of each reply under the model that training starts from, by loader; written once it is known
    bool fresh_grads;                  // accumulation 1: gradients that are parked begin each micro-batch as zeros (graph/offload.h)
    hone_decode_io decode;             // where sample_steps > 0, for
    hone_ids *prompt; int64_t n_prompt; //   what samples begin with
    hone_session session;              // planned; hone_session_allocate() is the caller's
    int64_t base_bytes;                // of this process once all of the above is there
} hone_job;

// Bytes that a run allocates or maps in after the arena and that do not depend on the recipe: windows of mapped data,
// buffers of logs and small files. The checkpoint writer's own come on top (hone_checkpoint_buffer_bytes).
// The thread that keeps the run store (run/recorder.h) takes the second where there is one: SQLite's code, cache, index.
enum { HONE_JOB_LATE_BYTES = 768 << 10, HONE_JOB_STORE_BYTES = 1280 << 10 };

// On failure nothing is left to close.
hone_status hone_job_open_data(hone_job *job, const hone_recipe *recipe); // tokenizer, train and held alone: no model, no programs
hone_status hone_job_open(hone_job *job, const hone_recipe *recipe);
void hone_job_close(hone_job *job);
void *hone_job_place(void *job, hone_tid id);      // hone_place_fn, once the session is allocated
void *hone_job_borrow(void *job, hone_tid id);     // the same where weights are loaded: of parked ones, too, until the next or a run (hone_session_borrow)
hone_status hone_job_carry(void *job, hone_tid id, size_t first, size_t size, void *data, bool store); // hone_carry_fn

static inline int64_t hone_job_step_tokens(const hone_job *job) { return job->rows * job->T * job->accumulation; }
// Loader i of those that are trained on and, behind them, those held out; NULL: there are no more.
hone_loader *hone_job_loader(hone_job *job, int64_t i);
// The mixture's next micro-batch into the inputs of a program; weight: of its rows, as the loader has it; NULL: not wanted.
hone_status hone_job_next(hone_job *job, const hone_train_io *io, float *weight, hone_batch *batch);
// Micro-batches of step 0, 1, ...: fewer while batch_warmup_steps lasts. What `steps` steps come to in whole ones.
int64_t hone_job_micro_batches(const hone_job *job, int64_t step);
double hone_job_whole_steps(const hone_job *job, double steps);
// Steps that max_steps, num_train_epochs and max_tokens allow; 0: none of them is given.
int64_t hone_job_steps(const hone_job *job);
int64_t hone_job_steps_on(const hone_job *job, int64_t chips);     // where so many chips each do the recipe's rows
hone_dtype hone_job_cache(hone_key_enum kv_cache, hone_dtype product);  // what decode keeps of keys and values: by key kv_cache, or option --kv-cache
hone_dtype hone_job_product(const hone_recipe *recipe);  // what matrix products multiply: key precision, which is not auto any more
