// cost.c: see cost.h.
#include "plan/cost.h"
#include <math.h>

static const double DISK_BYTES_PER_S = 400e6;   // written and synced: what a cloud's disk or a laptop's SSD keeps up

// How often something happens that is done every `every` steps and at the end.
static double times(int64_t every, double steps) { return every > 0 ? ceil(steps / (double)every) : 1; }

// One evaluation: each held-out set by itself, eval_tokens dealt evenly (train/heldout.c).
static double evaluation_s(const hone_job *job, const hone_pace *pace)
{
    double rows = 0;
    for (int64_t i = 0; i < job->n_held; i++) {
        double share = ceil((double)job->recipe->eval_tokens / (double)job->n_held), most = ceil(share / (double)job->T);
        rows += fmin(most, (double)job->held[i].loader.windows);
    }
    return rows / (double)job->rows * pace->score_s;
}

// What the starting model says of all pairs, once.
static double reference_s(const hone_job *job, const hone_pace *pace)
{
    double rows = (double)job->train.windows;
    for (int64_t i = 0; i < job->n_held; i++) rows += (double)job->held[i].loader.windows;
    return job->pairs ? ceil(rows / (double)job->rows) * pace->score_s : 0;
}

static double samples_s(const hone_job *job, const hone_pace *pace)
{
    return job->recipe->sample_steps > 0 ? (double)(job->n_prompt * job->recipe->sample_tokens) * pace->token_s : 0;
}

// Steps that max_time leaves room for; INFINITY: no such limit.
static double steps_in_time(const hone_job *job, const hone_pace *pace, double eval_s, double sample_s)
{
    const hone_recipe *r = job->recipe;
    double step = pace->step_s;
    if (r->max_time == 0) return INFINITY;
    if (r->eval_steps > 0) step += eval_s / (double)r->eval_steps;
    if (r->sample_steps > 0) step += sample_s / (double)r->sample_steps;
    return fmax(1, ceil(r->max_time / step));
}

static void find_disk(const hone_job *job, const hone_plan *plan, hone_cost *cost)
{
    const hone_recipe *r = job->recipe;
    double saves = r->save_steps > 0 ? times(r->save_steps, (double)cost->steps) : 1;
    int64_t kept = (int64_t)fmin(saves, (double)r->save_total_limit), writing = saves > (double)kept;
    const int64_t weights = plan->factors ? plan->factors * (int64_t)sizeof(float) : plan->class_bytes[HONE_CLASS_param];   // what is frozen is not saved
    cost->checkpoint_bytes = weights + plan->class_bytes[HONE_CLASS_moment];
    cost->checkpoints = kept + (r->keep_best && saves > (double)kept);
    cost->disk_bytes = (cost->checkpoints + writing) * cost->checkpoint_bytes + weights;
}

// Where a mixture stands at the end: its choices replayed, then back to where it stood.
static hone_status find_sources(hone_job *job, int64_t rows, hone_cost *cost)
{
    hone_mixture *m = &job->train;
    int64_t now = m->now.row;
    if (m->n_sources < 2) return HONE_OK;
    if (!(cost->source_epochs = hone_alloc((size_t)m->n_sources, sizeof *cost->source_epochs))) return HONE_FAILED;
    hone_mixture_seek(m, rows);
    for (int64_t i = 0; i < m->n_sources; i++) cost->source_epochs[i] = (double)m->now.taken[i] / (double)m->source[i].loader.windows;
    hone_mixture_seek(m, now);
    return HONE_OK;
}

void hone_cost_release(hone_cost *cost)
{
    hone_free(cost->source_epochs);
    *cost = (hone_cost){ 0 };
}

hone_status hone_cost_make(hone_job *job, const hone_plan *plan, const hone_pace *pace, hone_cost *cost)
{
    const hone_recipe *r = job->recipe;
    double step_rows = (double)(job->rows * job->accumulation * pace->chips), step_tokens = step_rows * (double)job->T;
    double eval_s = evaluation_s(job, pace), sample_s = samples_s(job, pace);
    int64_t by_recipe = hone_job_steps_on(job, pace->chips);
    double steps = fmin(by_recipe > 0 ? (double)by_recipe : INFINITY, steps_in_time(job, pace, eval_s, sample_s));
    *cost = (hone_cost){ .tokens_per_s = step_tokens / pace->step_s };
    if (isfinite(steps)) {
        const double whole = hone_job_whole_steps(job, steps);
        cost->steps = (int64_t)steps;
        cost->tokens = (int64_t)(whole * step_tokens);
        cost->epochs = whole * step_rows / (double)job->train.windows;
        cost->steps_s = whole * pace->step_s;
        cost->eval_s = eval_s > 0 ? times(r->eval_steps, steps) * eval_s : 0;
        cost->sample_s = sample_s > 0 ? times(r->sample_steps, steps) * sample_s : 0;
    }
    find_disk(job, plan, cost);
    if (cost->steps == 0) return HONE_OK;
    cost->save_s = (double)(cost->checkpoint_bytes + plan->class_bytes[HONE_CLASS_param]) / DISK_BYTES_PER_S;
    cost->reference_s = reference_s(job, pace);
    cost->total_s = cost->reference_s + cost->steps_s + cost->eval_s + cost->sample_s + cost->save_s;
    cost->energy_kwh = pace->watts * cost->total_s / 3.6e6;
    cost->money = r->price_per_hour * cost->total_s / 3600;
    cost->co2_g = r->gco2_per_kwh * cost->energy_kwh;
    return find_sources(job, cost->tokens / job->T, cost);
}
