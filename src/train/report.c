// report.c: what a run tells: header, progress, rows of the log, the table at the end.
#include "base/cpu.h"
#include "base/units.h"
#include "base/power.h"
#include "data/talks.h"
#include "graph/loss_scale.h"
#include "train/run.h"
#include <math.h>

double hone_run_elapsed_s(const hone_run *run) { return run->before_s + hone_clock_s() - run->began_s; }

double hone_run_done(const hone_run *run)
{
    double by_step = run->steps > 0 ? (double)run->loop.step / (double)run->steps : 0;
    double by_time = run->recipe->max_time > 0 ? hone_run_elapsed_s(run) / run->recipe->max_time : 0;
    return fmin(1, fmax(by_step, by_time));
}

// A line a source: tokens, weight now and at the end, caps.
static void report_sources(const hone_run *run)
{
    const hone_mixture *m = &run->job.train;
    for (int64_t i = 0; i < m->n_sources; i++) {
        const hone_mixture_source *s = &m->source[i];
        fprintf(run->out, "\n  data   %-16s %9s tokens  weight %.3g", s->name, hone_units_count((double)s->loader.data.n_tokens).s, s->point[0].weight);
        if (s->n_points > 1) fprintf(run->out, " to %.3g at step %.0f", s->point[s->n_points - 1].weight, s->point[s->n_points - 1].step);
        if (s->epochs > 0) fprintf(run->out, "  at most %.3g epochs", s->epochs);
        if (s->from_step > 0) fprintf(run->out, "  from step %lld", (long long)s->from_step);
        if (s->to_step >= 0) fprintf(run->out, "  to step %lld", (long long)s->to_step);
    }
}

// What a source of whole documents comes to.
static void report_packing(const hone_run *run, const hone_loader *loader)
{
    const hone_packing *p = &loader->packing;
    if (!p->n_rows) return;
    fprintf(run->out, "\n  rows   %s of %lld tokens, documents whole, %.2f %% padding", hone_units_grouped(p->n_rows).s, (long long)loader->options.window, 100 * hone_loader_padding(loader));
    if (p->cut) fprintf(run->out, "; %s longer than a row, cut into pieces", hone_units_grouped(p->cut).s);
}

// A line a source of conversations, and one of how they are packed; one that cannot be read any more is found by who needs it.
static void report_talks(const hone_run *run)
{
    for (int64_t i = 0; i < run->job.train.n_sources; i++) {
        hone_buffer what = { 0 };
        if (!hone_talks_describe(run->job.train.source[i].path, &what) && what.size) fprintf(run->out, "\n  data   %s", what.data);
        report_packing(run, &run->job.train.source[i].loader);
        hone_buffer_release(&what);
    }
}

static void report_precision(const hone_run *run)
{
    hone_buffer why = { 0 };
    if (run->precision.chosen && !hone_precision_print(&run->precision, &why))
        fprintf(run->out, "\n  numbers %s  %s", hone_choice_name(run->precision.precision), why.data);
    hone_buffer_release(&why);
}

void hone_report_header(const hone_run *run)
{
    const hone_job *job = &run->job;
    int64_t step_tokens = hone_job_step_tokens(job);
    fprintf(run->out, "%s  %s %s  %s  %s %s tokens", run->verb, job->config.family->model_type, hone_units_count((double)run->forecast.plan.params).s,
            hone_choice_name((hone_choice)run->recipe->precision),
            job->train.n_sources == 1 ? job->train.source[0].name : "mixture of", hone_units_count((double)hone_mixture_all_tokens(&job->train)).s);
    double held = 0;
    for (int64_t i = 0; i < job->n_held; i++) held += (double)job->held[i].loader.data.n_tokens;
    if (job->has_held) fprintf(run->out, ", held out %s", hone_units_count(held).s);
    if (job->train.n_sources > 1) report_sources(run);
    report_talks(run);
    report_precision(run);
    fprintf(run->out, "\n  plan   arena %s", hone_units_bytes((double)run->forecast.plan.arena_bytes).s);
    fprintf(run->out, "  process %s", hone_units_bytes((double)run->forecast.plan.process_bytes).s);
    if (run->steps > 0) fprintf(run->out, "  %s steps", hone_units_grouped(run->steps).s);
    if (run->recipe->max_time > 0) fprintf(run->out, "  %s%s", run->steps > 0 ? "or " : "", hone_units_time(run->recipe->max_time).s);
    fprintf(run->out, "  %s tokens a step (%lld x %lld x %lld)", hone_units_grouped(step_tokens).s, (long long)job->accumulation,
            (long long)job->rows, (long long)job->T);
    if (run->steps > 0)
        fprintf(run->out, "  %.3g epochs", hone_job_whole_steps(job, (double)run->steps) * (double)(job->rows * job->accumulation) / (double)job->train.windows);
    if (run->forecast.paced) fprintf(run->out, "  %s tokens a second", hone_units_grouped((int64_t)run->forecast.cost.tokens_per_s).s);
    if (run->forecast.cost.total_s > 0) fprintf(run->out, "  %s", hone_units_time(run->forecast.cost.total_s).s);
    fprintf(run->out, "\n");
    if (run->reference_s > 0) fprintf(run->out, "  replies scored by the model as it is in %s\n", hone_units_time(run->reference_s).s);
    if (run->first_step > 0) fprintf(run->out, "  resume from step %s, row %s\n", hone_units_grouped(run->first_step).s, hone_units_grouped(job->train.now.row).s);
    fflush(run->out);
}

// Seconds until the limit that comes first, at the pace of this process so far.
static double left_s(const hone_run *run)
{
    double left = INFINITY, wall = hone_clock_s() - run->began_s;
    int64_t done = run->loop.step - run->first_step;
    if (run->steps > 0) left = (double)(run->steps - run->loop.step) * wall / (double)(done > 0 ? done : 1);
    if (run->recipe->max_time > 0) left = fmin(left, run->recipe->max_time - hone_run_elapsed_s(run));
    return fmax(0, left);
}

// Means over pairs: into a row of the log.
static void add_rewards(json_t *row, const hone_pair_sums *pairs)
{
    const double n = (double)pairs->count;
    if (!row || pairs->count == 0) return;
    json_object_set_new(row, "reward_accuracy", json_real((double)pairs->right / n));
    json_object_set_new(row, "reward_margin", hone_run_number((pairs->chosen - pairs->rejected) / n));
    json_object_set_new(row, "reward_chosen", hone_run_number(pairs->chosen / n));
    json_object_set_new(row, "reward_rejected", hone_run_number(pairs->rejected / n));
}

static hone_status log_step(hone_run *run, const hone_step *step, double tokens_per_s, int64_t memory)
{
    const hone_job *job = &run->job;
    double flops = tokens_per_s * run->forecast.plan.flops_per_token;
    json_t *row = json_pack("{s:I, s:f, s:f, s:o, s:f, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:f}", "step", (json_int_t)run->loop.step,
        "loss", run->last_loss, "learning_rate", step->rate, "gradient_norm", hone_run_number(step->norm), "clip_factor", step->factor,
        "tokens", (json_int_t)hone_mixture_tokens_seen(&job->train), "trained_tokens", (json_int_t)run->loop.trained_tokens,
        "epochs", hone_mixture_epochs(&job->train), "step_seconds", step->seconds, "tokens_per_second", tokens_per_s, "flops_per_second", flops,
        "share_of_peak", run->peak_flops > 0 ? flops / run->peak_flops : 0.0, "resident_bytes", (json_int_t)memory,
        "elapsed_seconds", hone_run_elapsed_s(run));
    double joules, now = hone_clock_s();
    if (hone_power_read(NULL, &joules)) {
        if (row && run->power_s > 0 && joules > run->power_joules) {
            json_object_set_new(row, "watts", json_real((joules - run->power_joules) / (now - run->power_s)));
            run->energy_j += joules - run->power_joules;
        }
        run->power_joules = joules;
        run->power_s = now;
    }
    double bpb = hone_run_bits_per_byte(run, run->last_loss);
    json_t *sources = row ? json_object() : NULL;
    for (int64_t i = 0; i < job->train.n_sources && sources; i++)
        json_object_set_new(sources, job->train.source[i].name, json_integer(hone_mixture_tokens(&job->train, i)));
    if (sources) json_object_set_new(row, "tokens_by_source", sources);
    if (row && bpb > 0) json_object_set_new(row, "bits_per_byte", json_real(bpb));
    if (row && step->scale > 0) json_object_set_new(row, "loss_scale", json_real(step->scale));
    add_rewards(row, &run->window_pairs);
    return hone_log_add(&run->log, "step", row);
}

// Gradients too large for f16 at this scale: the step changed nothing else.
static hone_status report_overflow(hone_run *run, const hone_step *step)
{
    const double scale = (double)hone_loss_scale(run->loop.scale[0]);
    hone_progress_say(&run->progress, "  step %s: gradients overflow at a loss scale of %g; it is %g now, nothing else has changed", hone_units_grouped(run->loop.step).s,
                      step->scale, scale);
    return hone_log_add(&run->log, "overflow", json_pack("{s:I, s:f, s:f, s:f, s:o, s:I}", "step", (json_int_t)run->loop.step, "loss", step->loss,
        "loss_scale", step->scale, "next_loss_scale", scale, "gradient_norm", hone_run_number(step->norm), "overflows", (json_int_t)run->loop.scale[2]));
}

hone_status hone_report_step(hone_run *run, const hone_step *step)
{
    run->busy_s += step->seconds;
    hone_pair_sums_join(&run->window_pairs, &step->pairs);
    const hone_job *job = &run->job;
    const double whole_s = step->seconds * (double)job->accumulation / (double)hone_job_micro_batches(job, run->loop.step - 1);
    run->step_s = run->step_s > 0 ? 0.8 * run->step_s + 0.2 * whole_s : whole_s;
    run->window_loss += step->loss;
    run->window_steps++;
    bool last = hone_run_done(run) >= 1, logged = last || run->loop.step % run->recipe->logging_steps == 0;
    double tokens_per_s = (double)hone_job_step_tokens(job) / run->step_s;
    int64_t memory = hone_memory_resident_bytes();
    double loss = run->window_loss / (double)run->window_steps;
    hone_status status = step->overflow ? report_overflow(run, step) : HONE_OK;
    if (logged && !status) {
        run->last_loss = loss;
        run->window_loss = 0;
        run->window_steps = 0;
        status = log_step(run, step, tokens_per_s, memory);
        run->window_pairs = (hone_pair_sums){ 0 };
    }
    hone_progress_step(&run->progress, &(hone_progress_row){
        .step = run->loop.step, .steps = run->steps, .done = hone_run_done(run), .loss = loss, .bits_per_byte = hone_run_bits_per_byte(run, loss),
        .tokens_per_s = tokens_per_s, .flops_per_s = tokens_per_s * run->forecast.plan.flops_per_token, .left_s = left_s(run), .memory_bytes = memory });
    return status;
}

// "bits per byte: novels 1.61, medical 1.22", and the same into `rows`; the loss where bytes are unknown.
static hone_status say_sources(hone_run *run, const hone_evaluation *part, json_t *rows)
{
    const hone_job *job = &run->job;
    hone_buffer line = { 0 };
    hone_status status = HONE_OK;
    bool bytes = true;
    if (job->n_held < 2) return HONE_OK;
    for (int64_t i = 0; i < job->n_held; i++) bytes &= hone_evaluation_bits_per_byte(&part[i]) > 0;
    for (int64_t i = 0; i < job->n_held && !status; i++) {
        if (part[i].tokens == 0) continue;
        double loss = hone_evaluation_loss(&part[i]), bits = hone_evaluation_bits_per_byte(&part[i]);
        status = hone_buffer_print(&line, "%s %s %.3f", line.size ? "," : bytes ? "    bits per byte:" : "    loss:", job->held[i].name, bytes ? bits : loss);
        json_t *row = json_pack("{s:o, s:I}", "loss", hone_run_number(loss), "tokens", (json_int_t)part[i].tokens);
        if (row && bits > 0) json_object_set_new(row, "bits_per_byte", json_real(bits));
        if (!row || json_object_set_new(rows, job->held[i].name, row)) status = hone_fail("out of memory while an evaluation was written");
    }
    if (!status && line.size) hone_progress_say(&run->progress, "%s", line.data);
    hone_buffer_release(&line);
    return status;
}

hone_status hone_report_held(hone_run *run, const hone_evaluation *held, const hone_evaluation *part)
{
    double loss = hone_evaluation_loss(held), error = hone_evaluation_loss_error(held), bits_per_byte = hone_evaluation_bits_per_byte(held);
    run->held_step = run->loop.step;
    run->held_loss = loss;
    run->held_error = error;
    run->held_bits = bits_per_byte;
    hone_progress_held(&run->progress, run->loop.step, loss, bits_per_byte);
    char bits[48] = "";
    if (bits_per_byte > 0) snprintf(bits, sizeof bits, "  %.3f bits/byte", bits_per_byte);
    hone_progress_say(&run->progress, "  held out @%lld%s  loss %.4f +- %.4f  perplexity %.2f  %s tokens in %.1f s", (long long)run->loop.step, bits,
                      loss, error, exp(loss), hone_units_grouped(held->tokens).s, held->seconds);
    json_t *sources = json_object();
    hone_status status = say_sources(run, part, sources);
    json_t *row = json_pack("{s:I, s:o, s:o, s:o, s:I, s:f, s:f}", "step", (json_int_t)run->loop.step, "loss", hone_run_number(loss), "standard_error",
                            hone_run_number(error), "perplexity", hone_run_number(exp(loss)), "tokens", (json_int_t)held->tokens, "seconds", held->seconds,
                            "elapsed_seconds", hone_run_elapsed_s(run));
    if (row && bits_per_byte > 0) json_object_set_new(row, "bits_per_byte", json_real(bits_per_byte));
    if (row && run->job.n_held > 1) json_object_set(row, "by_source", sources);
    json_decref(sources);
    hone_status logged = hone_log_add(&run->log, "eval", row);
    return status ? status : logged;
}

hone_status hone_report_held_pairs(hone_run *run, const hone_evaluation *losses, const hone_pair_sums *pairs)
{
    const double n = (double)pairs->count;
    run->held_step = run->loop.step;
    run->held_loss = hone_evaluation_loss(losses);
    run->held_error = hone_evaluation_loss_error(losses);
    run->held_bits = 0;
    run->held_pairs = *pairs;
    hone_progress_held(&run->progress, run->loop.step, run->held_loss, 0);
    hone_progress_say(&run->progress, "  held out @%lld  loss %.4f +- %.4f  accuracy %.1f%%  margin %.3f  %s pairs in %.1f s", (long long)run->loop.step, run->held_loss,
                      run->held_error, 100 * (double)pairs->right / n, (pairs->chosen - pairs->rejected) / n, hone_units_grouped(pairs->count).s, losses->seconds);
    json_t *row = json_pack("{s:I, s:o, s:o, s:I, s:f, s:f}", "step", (json_int_t)run->loop.step, "loss", hone_run_number(run->held_loss), "standard_error",
                            hone_run_number(run->held_error), "pairs", (json_int_t)pairs->count, "seconds", losses->seconds, "elapsed_seconds", hone_run_elapsed_s(run));
    add_rewards(row, pairs);
    return hone_log_add(&run->log, "eval", row);
}

// " (4:05 planned, +2.9%)": how far what was measured lies off; nothing where there was no plan.
static void beside(FILE *out, const char *planned, double ratio)
{
    fprintf(out, " (%s planned, %+.1f%%)", planned, 100 * (ratio - 1));
}

void hone_report_end(const hone_run *run, const char *model)
{
    FILE *out = run->out;
    int64_t steps = run->loop.step - run->first_step;
    double whole = hone_job_whole_steps(&run->job, (double)run->loop.step) - hone_job_whole_steps(&run->job, (double)run->first_step);
    double tokens = whole * (double)hone_job_step_tokens(&run->job), wall = hone_clock_s() - run->began_s;
    double flops = run->busy_s > 0 ? tokens * run->forecast.plan.flops_per_token / run->busy_s : 0;
    int64_t peak = hone_memory_peak_bytes();
    fprintf(out, "\n  steps        %s", hone_units_grouped(run->loop.step).s);
    if (run->first_step > 0) fprintf(out, ", %s of them now", hone_units_grouped(steps).s);
    const int64_t overflows = (int64_t)run->loop.scale[2];
    if (run->loop.skipped > overflows) fprintf(out, ", %s left out as bad", hone_units_grouped(run->loop.skipped - overflows).s);
    if (run->loop.scale_state != HONE_NONE)
        fprintf(out, "\n  loss scale   %g, %s overflow%s", (double)hone_loss_scale(run->loop.scale[0]), hone_units_grouped(overflows).s, overflows == 1 ? "" : "s");
    const hone_cost *planned = &run->forecast.cost;
    fprintf(out, "\n  time         %s", hone_units_time(wall).s);
    if (planned->total_s > 0 && run->first_step == 0) beside(out, hone_units_time(planned->total_s).s, wall / planned->total_s);
    fprintf(out, ", %s of it in steps", hone_units_time(run->busy_s).s);
    if (run->save_wait_s > 0.05) fprintf(out, ", %.1f s waiting for checkpoints", run->save_wait_s);
    fprintf(out, "\n  tokens       %s", hone_units_grouped((int64_t)tokens).s);
    if (steps > 0) fprintf(out, ", %s a second", hone_units_grouped((int64_t)(tokens / run->busy_s)).s);
    if (steps > 0 && planned->tokens_per_s > 0) beside(out, hone_units_grouped((int64_t)planned->tokens_per_s).s, tokens / run->busy_s / planned->tokens_per_s);
    fprintf(out, "\n  FLOP/s       %s", hone_units_flops(flops).s);
    if (run->peak_flops > 0) fprintf(out, ", %.0f%% of the measured peak of %s", 100 * flops / run->peak_flops, hone_units_flops(run->peak_flops).s);
    fprintf(out, "\n  memory       %s planned", hone_units_bytes((double)run->forecast.plan.process_bytes).s);
    fprintf(out, ", %s measured (%+.1f%%)", hone_units_bytes((double)peak).s, 100 * ((double)peak / (double)run->forecast.plan.process_bytes - 1));
    if (run->energy_j > 0) fprintf(out, "\n  energy       %s", hone_units_energy(run->energy_j / 3.6e6).s);
    if (run->energy_j > 0 && planned->energy_kwh > 0 && run->first_step == 0) beside(out, hone_units_energy(planned->energy_kwh).s, run->energy_j / 3.6e6 / planned->energy_kwh);
    fprintf(out, "\n  loss         %.4f", run->last_loss);
    if (run->held_step == run->loop.step) {
        fprintf(out, ", held out %.4f +- %.4f", run->held_loss, run->held_error);
        if (run->job.pairs) fprintf(out, ", accuracy %.1f%%", 100 * (double)run->held_pairs.right / (double)run->held_pairs.count);
        else fprintf(out, ", perplexity %.2f", exp(run->held_loss));
        if (run->held_bits > 0) fprintf(out, ", %.3f bits/byte", run->held_bits);
    }
    fprintf(out, "\n  model        %s\n", model);
    fflush(out);
}
