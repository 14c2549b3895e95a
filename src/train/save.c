// save.c: when a run saves, what a checkpoint says, and what happens where a save fails.
//
//     step 40  save fails (disk full)   warning: why, and which checkpoint is the last good one; the run goes on
//     step 41  tried again              then at 43, 47, ...: the wait doubles, up to save_steps (or 64 steps)
//     the end  must succeed             tried again for save_retry before the run gives up
//
// A failed save leaves the checkpoints before it as they were (io/checkpoint.h), so nothing is lost but the time since.
#include "base/cpu.h"
#include "base/file.h"
#include "run/stop.h"
#include "train/run.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

enum { MOST_WAIT_STEPS = 64 };
static const double MOST_WAIT_S = 15;   // between tries at the end of a run

// Where a failed save is tried again, and what is still there.
static void plan_retry(hone_run *run)
{
    int64_t most = run->recipe->save_steps > 0 ? run->recipe->save_steps : MOST_WAIT_STEPS;
    run->retry_wait = run->retry_wait > 0 ? run->retry_wait * 2 : 1;
    if (run->retry_wait > most) run->retry_wait = most;
    run->retry_step = run->loop.step + run->retry_wait;
}

static hone_status note_failure(hone_run *run)
{
    char good[64] = "none is saved yet", again[64] = "";
    if (run->good_step >= 0) snprintf(good, sizeof good, "step-%" PRId64 " is the last good one", run->good_step);
    plan_retry(run);
    if (!run->ending) snprintf(again, sizeof again, "; the run goes on, next try at step %" PRId64, run->retry_step);
    hone_progress_say(&run->progress, "  warning: %s; %s%s", hone_error(), good, again);
    run->saved_step = -1;
    json_t *row = json_pack("{s:I, s:s, s:I}", "step", (json_int_t)run->loop.step, "error", hone_error(), "next_try_step", (json_int_t)run->retry_step);
    if (row && run->good_step >= 0) json_object_set_new(row, "last_good_step", json_integer(run->good_step));
    return hone_log_add(&run->log, "save_failed", row);
}

hone_status hone_run_note_saves(hone_run *run, hone_status outcome)
{
    hone_checkpoint_report report;
    if (outcome) return note_failure(run);
    if (!hone_checkpoint_take_report(run->writer, &report)) return HONE_OK;
    if (!report.replay) {
        if (run->retry_step > 0) hone_progress_say(&run->progress, "  step-%" PRId64 " is saved", report.step);
        run->good_step = report.step;
        run->retry_step = run->retry_wait = 0;
    }
    return hone_log_add(&run->log, "save", json_pack("{s:I, s:I, s:f, s:f, s:f, s:b}", "step", (json_int_t)report.step, "bytes", (json_int_t)report.bytes,
                                                     "read_seconds", report.read_s, "seconds", report.total_s, "cpu_seconds", report.cpu_s, "replay", report.replay));
}

hone_status hone_run_save(hone_run *run, bool replay)
{
    hone_job *job = &run->job;
    hone_checkpoint_tokens *source = hone_alloc((size_t)job->train.n_sources, sizeof *source);
    if (!source) return HONE_FAILED;
    for (int64_t i = 0; i < job->train.n_sources; i++) source[i] = (hone_checkpoint_tokens){ job->train.source[i].name, hone_mixture_tokens(&job->train, i) };
    hone_checkpoint_state state = { .step = run->loop.step, .row = job->train.now.row, .tokens = run->loop.trained_tokens,
                                    .seconds = hone_run_elapsed_s(run), .seed = (uint64_t)run->recipe->seed,
                                    .data_hash = hone_mixture_hash(&job->train), .program_hash = hone_checkpoint_hash_programs(job->graph),
                                    .recipe = run->recipe_text, .source = source, .n_source = job->train.n_sources,
                                    .skipped = run->loop.skipped, .held_loss = run->held_step == run->loop.step ? run->held_loss : 0,
                                    .recent = run->loop.spikes.loss, .n_recent = run->loop.spikes.threshold > 0 ? run->loop.spikes.count : 0 };
    memcpy(state.loss_scale, run->loop.scale, sizeof state.loss_scale);
    hone_status status = hone_run_note_saves(run, hone_checkpoint_finish(run->writer, &run->save_wait_s));
    if (!status && !replay) run->saved_step = run->loop.step;
    if (!status) status = replay ? hone_checkpoint_start_replay(run->writer, &state) : hone_checkpoint_start(run->writer, &state);
    hone_free(source); // the writer has its own copy
    return status;
}

bool hone_run_save_due(hone_run *run)
{
    int64_t step = run->loop.step;
    bool best = run->recipe->keep_best && run->held_step == step && (run->best_loss == 0 || run->held_loss < run->best_loss);
    if (best) run->best_loss = run->held_loss;
    bool planned = run->recipe->save_steps > 0 && step % run->recipe->save_steps == 0 && run->retry_step == 0;
    bool asked = hone_stop_take_save();
    if (asked) hone_progress_say(&run->progress, "  SIGUSR1: step-%" PRId64 " is being saved", step);
    return asked || best || planned || (run->retry_step > 0 && step >= run->retry_step);
}

static void sleep_s(double seconds)
{
    struct timespec time = { (time_t)seconds, (long)(fmod(seconds, 1) * 1e9) };
    nanosleep(&time, NULL);   // a signal may end it early: then the next try comes early
}

static hone_status give_up(const hone_run *run)
{
    char from[64] = "starts anew, nothing was saved";
    if (run->good_step >= 0) snprintf(from, sizeof from, "goes on from step-%" PRId64, run->good_step);
    return hone_fail("%s: step %" PRId64 " could not be saved in %.0f s (save_retry); make room there, then the same command %s",
                     run->recipe->output_dir, run->loop.step, run->recipe->save_retry, from);
}

hone_status hone_run_save_last(hone_run *run)
{
    double began = hone_clock_s(), wait = 0.5;
    run->ending = true;
    hone_status status = hone_run_note_saves(run, hone_checkpoint_finish(run->writer, &run->save_wait_s)); // of an earlier step
    while (!status && run->good_step != run->loop.step) {
        status = hone_run_save(run, false);
        if (!status) status = hone_run_note_saves(run, hone_checkpoint_finish(run->writer, &run->save_wait_s));
        if (status || run->good_step == run->loop.step) break;
        if (hone_clock_s() - began + wait > run->recipe->save_retry)
            return give_up(run);
        sleep_s(wait);
        wait = fmin(2 * wait, MOST_WAIT_S);
    }
    return status;
}
