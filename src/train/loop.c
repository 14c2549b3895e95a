// loop.c: see loop.h.
#include "train/loop.h"
#include "base/cpu.h"
#include "graph/loss_scale.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static void *data(const hone_loop *loop, hone_tid id) { return hone_session_data(&loop->job->session, id); }

void hone_loop_open(hone_loop *loop, hone_job *job)
{
    *loop = (hone_loop){ .job = job, .schedule = hone_schedule_of(job->recipe),
                         .weight = hone_session_data(&job->session, job->micro.weight), .scale_state = hone_loss_scale_state(job->graph),
                         .spikes = { .threshold = job->recipe->spike_zscore, .window = job->recipe->spike_window } };
}

hone_status hone_loop_set_scale(hone_loop *loop, const float state[3])
{
    if (loop->scale_state == HONE_NONE) return HONE_OK;
    memcpy(loop->scale, state, sizeof loop->scale);
    return hone_session_write(&loop->job->session, loop->scale_state, 0, sizeof loop->scale, loop->scale);
}

static hone_status run_nodes(const hone_loop *loop, const char *name, int64_t from, int64_t to)
{
    return loop->trace ? hone_trace_run(loop->trace, name, from, to) : hone_session_run_part(&loop->job->session, name, from, to);
}

int64_t hone_loop_step_rows(const hone_loop *loop) { return loop->job->rows * hone_job_micro_batches(loop->job, loop->step); }

// Trained tokens of the whole step. Reading rows twice costs less than keeping a step's inputs: it is a copy of ids.
hone_status hone_loop_count_trained(hone_loop *loop, int64_t *trained, int64_t *parts)
{
    hone_job *job = loop->job;
    int64_t row = job->train.now.row, batches = hone_job_micro_batches(job, loop->step);
    hone_status status = HONE_OK;
    *trained = *parts = 0;
    for (int64_t a = 0; a < batches && !status; a++) {
        hone_batch batch = { 0 };
        status = hone_mixture_next(&job->train, job->rows, &batch);
        *trained += batch.trained;
        *parts += job->pairs ? batch.n_pairs : batch.trained;
    }
    hone_mixture_seek(&job->train, row);
    if (!status && *trained == 0)
        return hone_fail("%s: rows %" PRId64 " to %" PRId64 " have no token to train on; raise cutoff_len or the batch",
                         job->train.source[0].path, row, row + hone_loop_step_rows(loop) - 1);
    return status;
}

// Pieces of rows as documents of their own: of `length` tokens each, the last one shorter.
static void cut_rows(const hone_train_io *io, int64_t length, hone_batch *batch)
{
    if (length >= io->T) return;
    for (int64_t n = 0; n < io->N; n++) {
        int32_t first = (int32_t)(n - n % io->T % length);
        if (batch->lo[n] < first) batch->lo[n] = first;
        batch->pos[n] = (int32_t)n - batch->lo[n];
    }
}

hone_status hone_loop_fill_inputs(hone_loop *loop, int64_t parts)
{
    hone_job *job = loop->job;
    const hone_train_io *io = &job->micro;
    hone_batch batch;
    if (io->drop != HONE_NONE) {
        const uint64_t seed = (uint64_t)job->recipe->seed, token = (uint64_t)(job->train.now.row * job->T);
        memcpy(data(loop, io->drop), (int32_t[]){ (int32_t)(uint32_t)seed, (int32_t)(uint32_t)(seed >> 32), (int32_t)(uint32_t)token }, 3 * sizeof(int32_t));
    }
    hone_status status = hone_job_next(job, io, loop->weight, &batch);
    loop->n_pairs = batch.n_pairs;
    if (!status) cut_rows(io, hone_schedule_length(job->recipe, loop->step), &batch);
    float share = (float)(1.0 / (double)parts);
    for (int64_t n = 0; n < io->N && !status; n++) loop->weight[n] *= share;
    return status;
}

double hone_loop_sum_losses(const hone_loop *loop, hone_pair_sums *pairs)
{
    const hone_train_io *io = &loop->job->micro;
    const float *logprob = data(loop, io->logprob), *measure = io->measure == HONE_NONE ? NULL : data(loop, io->measure);
    double sum = 0;
    for (int64_t n = 0; n < io->N && !measure; n++)
        if (loop->weight[n] != 0) sum -= (double)logprob[n];
    for (int64_t e = 0; e < loop->n_pairs && measure; e++) {
        sum += (double)measure[3 * e];
        if (pairs) hone_pair_sums_add(pairs, (double)measure[3 * e], (double)measure[3 * e + 1], (double)measure[3 * e + 2]);
    }
    return sum;
}

// Leaves the state at the step's beginning: what was accumulated is cleared, the rows will be read again.
hone_status hone_loop_drop_step(hone_loop *loop, int64_t row)
{
    const hone_job *job = loop->job;
    hone_status status = HONE_OK;
    for (hone_tid id = 0; id < job->graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(job->graph, id);
        bool fetched = t->parked && job->fresh_grads;   // then it begins with zeros anyhow
        if (t->cls == HONE_CLASS_grad && t->base == HONE_NONE && !fetched && !status) status = hone_session_clear(&loop->job->session, id);
    }
    hone_mixture_seek(&loop->job->train, row);
    return status;
}

static hone_status accumulate(hone_loop *loop, int64_t row, hone_step *out)
{
    hone_job *job = loop->job;
    const int64_t batches = hone_job_micro_batches(job, loop->step);
    int64_t parts;
    double sum = 0;
    hone_status status = hone_loop_count_trained(loop, &out->trained, &parts);
    for (int64_t a = 0; a < batches && !status; a++) {
        hone_watchdog_doing(loop->watchdog, "forward and backward of micro-batch", a + 1, batches);
        if (loop->stop && loop->stop(loop->context)) {
            out->dropped = true;
            return hone_loop_drop_step(loop, row);
        }
        if ((status = hone_loop_fill_inputs(loop, parts))) break;
        if ((status = loop->trace ? hone_trace_run(loop->trace, "micro", 0, -1) : hone_session_run(&job->session, "micro"))) break;
        sum += hone_loop_sum_losses(loop, &out->pairs);
    }
    out->loss = sum / (double)parts;
    return status;
}

// The norm comes first in "update", so that it is judged before a weight has changed. (A backend with several streams
// waits here once a step.)
static hone_status run_norm(hone_loop *loop, hone_step *out)
{
    hone_job *job = loop->job;
    hone_watchdog_doing(loop->watchdog, "gradient norm", 0, 0);
    hone_status status = run_nodes(loop, "update", 0, job->update.n_norm);
    const float *norm = data(loop, job->update.norm);
    out->scale = loop->scale_state == HONE_NONE ? 0 : (double)hone_loss_scale(loop->scale[0]);
    out->norm = (double)norm[0];
    out->factor = (double)norm[1] * (out->scale > 0 ? out->scale : 1);
    return status;
}

static hone_status update(hone_loop *loop, double total, hone_step *out)
{
    hone_job *job = loop->job;
    hone_watchdog_doing(loop->watchdog, "waiting for a checkpoint to be read", 0, 0);
    hone_status status = loop->before_update ? loop->before_update(loop->context) : HONE_OK;
    if (status) return status;
    hone_watchdog_doing(loop->watchdog, "update", 0, 0);
    out->rate = hone_schedule_rate(&loop->schedule, loop->step, total);
    if (job->update.mix != HONE_NONE) hone_optim_mix(hone_optim_share(job->recipe->average_ratio, loop->step, total), data(loop, job->update.mix));
    hone_optim_hyper(&job->optim, out->rate, loop->step + 1 - loop->skipped, data(loop, job->update.hyper));
    if (job->update.fast_hyper != HONE_NONE)
        hone_optim_hyper(&job->optim, out->rate * job->optim.fast_ratio, loop->step + 1 - loop->skipped, data(loop, job->update.fast_hyper));
    return run_nodes(loop, "update", job->update.n_norm, -1);
}

static hone_step_verdict judge_loss(const hone_loop *loop, hone_step *out)
{
    if (!isfinite(out->loss)) return HONE_STEP_LOSS;
    out->zscore = hone_spikes_score(&loop->spikes, out->loss);
    return loop->spikes.threshold > 0 && out->zscore > loop->spikes.threshold ? HONE_STEP_SPIKE : HONE_STEP_GOOD;
}

// Behind "update": what became of the loss scale. Of a step that overflowed nothing is left to be done, unless the scale is at its end.
static hone_status read_scale(hone_loop *loop, int64_t row, hone_step *out)
{
    if (loop->scale_state == HONE_NONE) return HONE_OK;
    const bool least = hone_loss_scale_is_least(loop->scale[0]);
    hone_status status = hone_session_read(&loop->job->session, loop->scale_state, 0, sizeof loop->scale, loop->scale);
    if (status || isfinite(out->norm)) return status;
    out->overflow = !least;
    out->verdict = least ? HONE_STEP_NORM : HONE_STEP_GOOD;
    return least ? hone_loop_drop_step(loop, row) : HONE_OK;
}

static void count_step(hone_loop *loop, const hone_step *out)
{
    loop->step++;
    loop->skipped += out->overflow;
    loop->trained_tokens += out->overflow ? 0 : out->trained;
    hone_spikes_add(&loop->spikes, out->loss);
}

hone_status hone_loop_step(hone_loop *loop, double total, hone_step *out)
{
    *out = (hone_step){ 0 };
    double start = hone_clock_s();
    int64_t row = loop->job->train.now.row;
    hone_watchdog_begin(loop->watchdog, loop->step + 1);
    hone_status status = accumulate(loop, row, out);
    if (!status && !out->dropped && (out->verdict = judge_loss(loop, out)) == HONE_STEP_GOOD) {
        if (!(status = run_norm(loop, out)) && !isfinite(out->norm) && loop->scale_state == HONE_NONE) out->verdict = HONE_STEP_NORM;
    }
    if (!status && out->verdict != HONE_STEP_GOOD) status = hone_loop_drop_step(loop, row);
    if (!status && !out->dropped && out->verdict == HONE_STEP_GOOD) {
        if (!(status = update(loop, total, out))) status = read_scale(loop, row, out);
        if (!status && out->verdict == HONE_STEP_GOOD) count_step(loop, out);
    }
    out->seconds = hone_clock_s() - start;
    hone_watchdog_end(loop->watchdog);
    return status;
}

void hone_loop_skip(hone_loop *loop)
{
    hone_mixture_seek(&loop->job->train, loop->job->train.now.row + hone_loop_step_rows(loop));
    loop->step++;
    loop->skipped++;
}
