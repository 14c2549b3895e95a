// bad_step.c: what a run does with a step that went wrong (loop.h: nothing has changed yet).
//
//     loss or norm not finite, or the loss a spike
//       -> not finite: the step again, node by node (inspect.h): which node, which tensor, which element
//       -> a row "bad_step" in the log
//       -> stop: this state is saved as a checkpoint, unless the weights themselves are what is broken; the run ends
//          skip: the state is kept as replay-N (two of them stay), the rows are left out, the run goes on
//
// `hone replay RUN N` does the step again, from replay-N or from the newest checkpoint before it.
#include "train/inspect.h"
#include "train/run.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MOST_SKIPPED = 10 };   // in a row: then it is not the rows

json_t *hone_run_number(double value)
{
    char text[32];
    return isfinite(value) ? json_real(value) : json_string(hone_number_print(value, text));
}

void hone_step_print_verdict(const hone_step *step, char *text, size_t size)
{
    char number_text[32];
    if (step->verdict == HONE_STEP_LOSS) snprintf(text, size, "the loss is %s", hone_number_print(step->loss, number_text));
    else if (step->verdict == HONE_STEP_NORM)
        snprintf(text, size, "the loss is %.4f, the gradients' norm %s", step->loss, hone_number_print(step->norm, number_text));
    else snprintf(text, size, "the loss is %.4f, %.1f standard deviations above the last steps'", step->loss, step->zscore);
}

static hone_status log_bad(hone_run *run, const hone_step *step, const hone_finding *finding, const char *found)
{
    const hone_job *job = &run->job;
    static const char *const kind[] = { "good", "loss", "norm", "spike" };
    const json_int_t next = run->loop.step + 1, rows = hone_loop_step_rows(&run->loop);
    json_t *row = json_pack("{s:I, s:s, s:o, s:o, s:o, s:I, s:I, s:s}", "step", next, "kind", kind[step->verdict],
        "loss", hone_run_number(step->loss), "gradient_norm", hone_run_number(step->norm), "zscore", hone_run_number(step->zscore), "first_row", (json_int_t)job->train.now.row,
        "rows", rows, "action", hone_choice_name((hone_choice)run->recipe->on_bad_step));
    if (row && finding->found) {
        json_object_set_new(row, "node", json_string(finding->node));
        json_object_set_new(row, "tensor", json_string(finding->tensor));
        json_object_set_new(row, "found", json_string(found));
    }
    return hone_log_add(&run->log, "bad_step", row);
}

static hone_status stop_run(hone_run *run, const char *what, bool sound)
{
    const hone_recipe *r = run->recipe;
    hone_status status = sound ? hone_run_save_last(run) : hone_run_save(run, true);
    if (!status && !sound) status = hone_run_note_saves(run, hone_checkpoint_finish(run->writer, &run->save_wait_s));
    if (status) hone_fail_context("%s; besides", what);
    if (status) return status;
    char saved[160];
    if (sound) snprintf(saved, sizeof saved, "step-%" PRId64 "; no weight has changed since", run->loop.step);
    else if (run->good_step < 0) snprintf(saved, sizeof saved, "nothing that is sound: start anew");
    else snprintf(saved, sizeof saved, "not this state; the newest checkpoint is step-%" PRId64 ", `hone ckpt verify` tells whether it is sound", run->good_step);
    return hone_fail("%s\n  saved             %s\n  to look closer    hone replay %s %" PRId64 "\n  to go on          %s", what, saved, r->output_dir,
                     run->loop.step + 1, !sound ? "with a lower learning_rate, from a sound checkpoint" :
                     "with another learning_rate or max_grad_norm, or without these rows: on_bad_step=skip");
}

hone_status hone_run_bad_step(hone_run *run, const hone_step *step)
{
    hone_finding finding = { 0 };
    char verdict[160], found[320] = "", what[960];
    hone_status status = HONE_OK;
    hone_step_print_verdict(step, verdict, sizeof verdict);
    if (step->verdict != HONE_STEP_SPIKE && !(status = hone_inspect_step(&run->loop, &finding, NULL, NULL)))
        hone_finding_print(&finding, found, sizeof found);
    if (!status) status = log_bad(run, step, &finding, found);
    if (status) return status;
    bool sound = !finding.found || finding.node[0];
    run->skipped_in_row++;
    snprintf(what, sizeof what, "step %" PRId64 ": %s%s%s%s%s", run->loop.step + 1, verdict, found[0] ? "\n  first not finite  " : "", found,
             finding.node[0] ? "\n  made by           " : "", finding.node);
    if (run->recipe->on_bad_step == HONE_on_bad_step_stop || !sound) return stop_run(run, what, sound);
    if (run->skipped_in_row > MOST_SKIPPED) {
        snprintf(what + strlen(what), sizeof what - strlen(what), "\n  %d steps in a row were bad: it is not their rows", MOST_SKIPPED + 1);
        return stop_run(run, what, sound);
    }
    hone_progress_say(&run->progress, "  warning: %s\n  left out          rows %" PRId64 " to %" PRId64 "\n  to look closer    hone replay %s %" PRId64, what,
                      run->job.train.now.row, run->job.train.now.row + hone_loop_step_rows(&run->loop) - 1, run->recipe->output_dir, run->loop.step + 1);
    status = hone_run_save(run, true);
    hone_loop_skip(&run->loop);
    return status;
}
