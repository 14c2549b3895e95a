// replay.c: see replay.h. A run is a function of its recipe and its data, so any checkpoint before a step leads to it with
// the same bits; replay-N, which a bad step leaves, is the one right before it.
#include "train/replay.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/units.h"
#include "train/inspect.h"
#include "train/run.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

// The state that leads to the step: *path, its step in *from.
static hone_status find_start(const char *folder, int64_t step, char **path, int64_t *from)
{
    hone_checkpoint_list list;
    *from = step - 1;
    if (!(*path = hone_format("%s/replay-%" PRId64, folder, step))) return HONE_FAILED;
    if (hone_dir_exists(*path)) return hone_checkpoint_verify(*path);
    hone_free(*path);
    *path = NULL;
    if (!hone_dir_exists(folder)) return hone_fail("%s: no such folder; give the output_dir of a run", folder);
    hone_status status = hone_checkpoint_list_folder(folder, &list);
    for (int64_t i = list.count - 1; i >= 0 && !*path && !status; i--) {
        if (list.entry[i].step >= step) continue;
        if (hone_checkpoint_verify(list.entry[i].path)) { hone_warn("%s; it is not used", hone_error()); continue; }
        *from = list.entry[i].step;
        if (!(*path = hone_strdup(list.entry[i].path))) status = HONE_FAILED;
    }
    if (!status && !*path)
        status = hone_fail("%s: no checkpoint before step %" PRId64 " is there (save_total_limit keeps the newest); steps behind %s%" PRId64 " can be replayed",
                           folder, step, list.count ? "step-" : "the first checkpoint, step ", list.count ? list.entry[0].step : 0);
    hone_checkpoint_list_release(&list);
    return status;
}

// All steps in between, as the run did them.
static hone_status walk_to(hone_run *run, int64_t step)
{
    hone_status status = HONE_OK;
    while (!status && run->loop.step + 1 < step) {
        hone_step done;
        char verdict[160];
        if ((status = hone_loop_step(&run->loop, hone_run_total_steps(run), &done))) break;
        if (done.verdict == HONE_STEP_GOOD) continue;
        hone_step_print_verdict(&done, verdict, sizeof verdict);
        if (run->recipe->on_bad_step == HONE_on_bad_step_skip) hone_loop_skip(&run->loop);
        else status = hone_fail("step %" PRId64 " on the way to step %" PRId64 " is bad: %s; replay that one, or give on_bad_step=skip", run->loop.step + 1, step, verdict);
    }
    return status;
}

static void print_head(const hone_run *run, const char *folder, int64_t step, const char *path, int64_t from)
{
    const hone_job *job = &run->job;
    fprintf(run->out, "replay %s step %" PRId64 "\n", folder, step);
    fprintf(run->out, "  from              %s", path);
    if (step - 1 > from) fprintf(run->out, ", %" PRId64 " step%s on the way", step - 1 - from, step - 2 > from ? "s" : "");
    fprintf(run->out, "\n  rows              %" PRId64 " to %" PRId64 " of %s, epoch %.3f\n", job->train.now.row,
            job->train.now.row + hone_loop_step_rows(&run->loop) - 1, job->train.n_sources == 1 ? job->train.source[0].name : "the mixture", hone_mixture_epochs(&job->train));
    if (run->steps == 0) fprintf(run->out, "  learning rate     followed the clock: nearly, not exactly, that of the run\n");
    fflush(run->out);
}

static void print_largest(FILE *out, const hone_largest *largest)
{
    fprintf(out, "  largest values\n");
    for (int i = 0; i < HONE_LARGEST && largest[i].tensor[0]; i++)
        fprintf(out, "    %-10.4g %s, node %" PRId64 "\n", largest[i].value, largest[i].tensor, largest[i].node);
}

static hone_status show_step(hone_run *run)
{
    hone_finding finding;
    hone_largest largest[HONE_LARGEST] = { 0 };
    hone_step done;
    char text[320], verdict[160], number[32];
    hone_status status = hone_inspect_step(&run->loop, &finding, NULL, largest);
    if (status || (status = hone_loop_step(&run->loop, hone_run_total_steps(run), &done))) return status;
    fprintf(run->out, "  trained tokens    %s\n  loss              %s\n", hone_units_grouped(done.trained).s, hone_number_print(done.loss, number));
    if (done.zscore != 0) fprintf(run->out, "  z-score           %.2f over %" PRId64 " steps\n", done.zscore, run->loop.spikes.window);
    if (isfinite(done.loss) && done.verdict != HONE_STEP_SPIKE) fprintf(run->out, "  gradient norm     %s\n", hone_number_print(done.norm, number));
    if (done.scale > 0) fprintf(run->out, "  loss scale        %g%s\n", done.scale, done.overflow ? ", halved: gradients overflow, nothing else changes" : "");
    if (done.verdict == HONE_STEP_GOOD) fprintf(run->out, "  learning rate     %.4g\n", done.rate);
    else hone_step_print_verdict(&done, verdict, sizeof verdict);
    fprintf(run->out, "  verdict           %s\n", done.verdict == HONE_STEP_GOOD ? "good" : verdict);
    hone_finding_print(&finding, text, sizeof text);
    fprintf(run->out, "  first not finite  %s\n", text);
    if (finding.node[0]) fprintf(run->out, "  made by           %s\n", finding.node);
    if (largest[0].tensor[0]) print_largest(run->out, largest);
    return HONE_OK;
}

static hone_status replay(hone_run *run, const char *folder, int64_t step, const char *path, int64_t from)
{
    hone_status status = hone_job_open(&run->job, run->recipe);
    if (status) return status;
    run->steps = hone_job_steps(&run->job);
    if (!(status = hone_plan_make(&run->job, &run->forecast.plan)) && !(status = hone_plan_check(&run->forecast.plan, run->recipe)) &&
        !(status = hone_session_allocate(&run->job.session))) {
        hone_loop_open(&run->loop, &run->job);
        status = hone_run_resume(run, path);
        run->began_s = hone_clock_s();
    }
    if (!status) status = walk_to(run, step);
    if (!status) {
        print_head(run, folder, step, path, from);
        status = show_step(run);
    }
    hone_forecast_release(&run->forecast);
    hone_job_close(&run->job);
    return status;
}

hone_status hone_replay(const char *folder, int64_t step, int n_override, char *const *override, FILE *out)
{
    char *path = NULL;
    int64_t from;
    hone_checkpoint_state state = { 0 };
    hone_recipe recipe;
    hone_status status = find_start(folder, step, &path, &from);
    if (!status) status = hone_checkpoint_read_state(path, &state);
    if (!status && !(status = hone_recipe_parse(&recipe, path, state.recipe, n_override, override))) {
        hone_run run = { .recipe = &recipe, .out = out, .held_step = -1, .saved_step = -1, .good_step = -1 };
        status = replay(&run, folder, step, path, from);
        hone_recipe_release(&recipe);
    }
    hone_checkpoint_state_release(&state);
    hone_free(path);
    return status;
}
