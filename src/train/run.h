// run.h: inside train/ only: the state of a training run between its parts (pretrain.c, report.c, sample.c).
#pragma once
#include "base/lock.h"
#include "gen/generate.h"
#include "io/checkpoint.h"
#include "plan/forecast.h"
#include "run/log.h"
#include "run/progress.h"
#include "run/recorder.h"
#include "run/watchdog.h"
#include "train/heldout.h"
#include "train/loop.h"

typedef struct hone_run {
    const char *verb;                // "hone pretrain", "hone tune"
    const hone_recipe *recipe;
    hone_precision_choice precision;
    hone_job job;
    hone_forecast forecast;          // paced where the cache knew, or measuring took a moment only
    hone_loop loop;
    hone_log log;
    hone_progress progress;
    FILE *out;
    int64_t steps;                   // of the whole run; 0: limited by time alone
    double peak_flops;               // of this machine, measured at the start
    double began_s, before_s;        // clock at the start; seconds spent before it was resumed
    int64_t first_step;              // where this process began
    double step_s, busy_s;           // smoothed seconds of a whole step, summed seconds in steps
    double window_loss; int64_t window_steps;  // since the last row of the log
    hone_pair_sums window_pairs;     // likewise, of stage dpo
    double reference_s;              // it took to score the replies by the starting model, 0: that was done before
    double last_loss;                // mean over the last window
    int64_t held_step; double held_loss, held_error, held_bits;   // last evaluation, -1 none
    hone_pair_sums held_pairs;       // likewise
    hone_checkpoint_writer *writer;
    char *recipe_text;               // all keys as JSON, for the checkpoint
    hone_lock lock;                  // of output_dir
    int64_t saved_step;              // newest checkpoint begun or found, -1 none
    int64_t good_step;               // newest checkpoint published or found, -1 none
    int64_t retry_step, retry_wait;  // a save failed: when it is tried again, 0 none did; steps from the last try
    bool ending;                     // no more steps come: a save is tried again at once
    int64_t skipped_in_row;          // bad steps since the last good one
    hone_watchdog *watchdog;         // NULL: none
    double best_loss;                // lowest held-out loss so far, 0 none
    double save_wait_s;              // steps waited for checkpoints being written
    hone_generator generator;        // where there are samples
    double power_joules, power_s;    // the meter at the last row of the log
    double energy_j;                 // summed so far, 0: not metered
    hone_trace trace; bool profiled; // profile_steps: under way; done
    double peak_bandwidth;           // bytes/s, measured where steps are profiled
    hone_recorder *recorder;         // keeps the run store; NULL none
} hone_run;

static inline double hone_run_bits_per_byte(const hone_run *run, double loss)
{
    double bytes = run->job.pairs ? 0 : hone_mixture_bytes_per_token(&run->job.train);
    return bytes > 0 ? loss / 0.69314718055994531 / bytes : 0;
}
double hone_run_elapsed_s(const hone_run *run);      // over all resumes
double hone_run_done(const hone_run *run);           // 0..1, by the limit that is nearest

hone_status hone_run_recipe(const hone_recipe *recipe, const char *verb, FILE *out);   // pretrain.c: what pretrain and tune both do

// report.c
void hone_report_header(const hone_run *run);
hone_status hone_report_step(hone_run *run, const hone_step *step);  // progress line and log
// all: over all sources; part: of each of job.held.
hone_status hone_report_held(hone_run *run, const hone_evaluation *all, const hone_evaluation *part);
hone_status hone_report_held_pairs(hone_run *run, const hone_evaluation *losses, const hone_pair_sums *pairs);
void hone_report_end(const hone_run *run, const char *model);
// save.c
hone_status hone_run_save(hone_run *run, bool replay);       // begins one; replay: what the step that comes begins with, for `hone replay`
bool hone_run_save_due(hone_run *run);                       // asked once behind each step and its evaluation
hone_status hone_run_save_last(hone_run *run);               // until this step is published
// Outcomes of saves so far, `outcome` among them: a row of the log each; a failed one costs a warning, not the run.
hone_status hone_run_note_saves(hone_run *run, hone_status outcome);
// bad_step.c
json_t *hone_run_number(double value);                    // JSON knows no NaN and no infinity: told as a text
void hone_step_print_verdict(const hone_step *step, char *text, size_t size);    // "the loss is nan"
hone_status hone_run_bad_step(hone_run *run, const hone_step *step);             // says what was bad; skips the step or fails
// pretrain.c, for replay.c as well: weights, moments and the loop as a checkpoint has them
hone_status hone_run_resume(hone_run *run, const char *path);
double hone_run_total_steps(const hone_run *run);        // of the whole run, as the schedule needs them
// pairs.c: stage dpo. open: once the starting weights are in memory, factors of adapters as they are at first
hone_status hone_run_open_pairs(hone_run *run);
hone_status hone_run_evaluate_pairs(hone_run *run);
// sample.c: generated text on the way.
hone_status hone_run_open_samples(hone_run *run);
hone_status hone_run_sample(hone_run *run);
// profile.c: before weights are there; around each step.
void hone_run_open_profile(hone_run *run);
void hone_run_begin_profile(hone_run *run);
hone_status hone_run_end_profile(hone_run *run, const hone_step *step, bool last);
// record.c: the run store, and what the log's first row says for it.
void hone_run_describe(const hone_run *run, json_t *row);
void hone_run_open_record(hone_run *run);
void hone_run_watch_record(hone_run *run);                            // shows its warning, once
void hone_run_close_record(hone_run *run, hone_status status);        // after a row for an error
