// loop.c: see loop.h.
#include "train/loop.h"
#include "base/cpu.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static void *data(const hone_loop *loop, hone_tid id) { return hone_session_data(&loop->job->session, id); }

void hone_loop_open(hone_loop *loop, hone_job *job)
{
    *loop = (hone_loop){ .job = job, .schedule = hone_schedule_of(job->recipe),
                         .weight = hone_session_data(&job->session, job->micro.weight) };
}

// Trained tokens of the whole step. Reading rows twice costs less than keeping a step's inputs: it is a copy of ids.
static hone_status count_trained(hone_loop *loop, int64_t *trained)
{
    hone_job *job = loop->job;
    int64_t row = job->train.row;
    hone_status status = HONE_OK;
    *trained = 0;
    for (int64_t a = 0; a < job->accumulation && !status; a++) {
        hone_batch batch = { 0 };
        status = hone_loader_next(&job->train, job->rows, &batch);
        *trained += batch.trained;
    }
    hone_loader_seek(&job->train, row);
    if (!status && *trained == 0)
        return hone_fail("%s: rows %" PRId64 " to %" PRId64 " have no token to train on; raise cutoff_len or the batch",
                         job->train.data.path, row, row + job->rows * job->accumulation - 1);
    return status;
}

static hone_status fill_inputs(hone_loop *loop, int64_t trained)
{
    hone_job *job = loop->job;
    const hone_train_io *io = &job->micro;
    hone_batch batch = { .ids = data(loop, io->ids), .target = data(loop, io->target), .pos = data(loop, io->pos),
                         .lo = data(loop, io->lo), .hi = data(loop, io->hi), .weight = loop->weight };
    hone_status status = hone_loader_next(&job->train, job->rows, &batch);
    float share = (float)(1.0 / (double)trained);
    for (int64_t n = 0; n < io->N && !status; n++) loop->weight[n] *= share;
    return status;
}

// Leaves the state at the step's beginning: what was accumulated is cleared, the rows will be read again.
static void drop_step(hone_loop *loop, int64_t row)
{
    const hone_job *job = loop->job;
    for (hone_tid id = 0; id < job->graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(job->graph, id);
        if (t->cls == HONE_CLASS_grad && t->base == HONE_NONE) memset(data(loop, id), 0, job->session.layout.bytes[id]);
    }
    hone_loader_seek(&loop->job->train, row);
}

static hone_status accumulate(hone_loop *loop, int64_t row, hone_step *out)
{
    hone_job *job = loop->job;
    const float *logprob = data(loop, job->micro.logprob);
    double sum = 0;
    hone_status status = count_trained(loop, &out->trained);
    for (int64_t a = 0; a < job->accumulation && !status; a++) {
        if (loop->stop && loop->stop(loop->context)) {
            drop_step(loop, row);
            out->dropped = true;
            return HONE_OK;
        }
        if ((status = fill_inputs(loop, out->trained))) break;
        hone_session_run(&job->session, "micro");
        for (int64_t n = 0; n < job->micro.N; n++)
            if (loop->weight[n] != 0) sum -= (double)logprob[n];
    }
    out->loss = sum / (double)out->trained;
    return status;
}

static hone_status update(hone_loop *loop, double total, hone_step *out)
{
    hone_job *job = loop->job;
    hone_status status = loop->before_update ? loop->before_update(loop->context) : HONE_OK;
    if (status) return status;
    out->rate = hone_schedule_rate(&loop->schedule, loop->step, total);
    hone_adamw_hyper(&job->adamw, out->rate, loop->step + 1, data(loop, job->update.hyper));
    hone_session_run(&job->session, "update");
    const float *norm = data(loop, job->update.norm);
    out->norm = (double)norm[0];
    out->factor = (double)norm[1];
    return HONE_OK;
}

hone_status hone_loop_step(hone_loop *loop, double total, hone_step *out)
{
    *out = (hone_step){ 0 };
    double start = hone_clock_s();
    int64_t row = loop->job->train.row;
    hone_status status = accumulate(loop, row, out);
    if (status || out->dropped) return status;
    if (!isfinite(out->loss))
        return hone_fail("step %" PRId64 ": the loss is %g; a lower learning_rate, a longer warm-up or max_grad_norm may help",
                         loop->step + 1, out->loss);
    if ((status = update(loop, total, out))) return status;
    if (!isfinite(out->norm))
        return hone_fail("step %" PRId64 ": the gradients' norm is %g, the weights are lost; go on from the last checkpoint with a"
                         " lower learning_rate", loop->step + 1, out->norm);
    loop->step++;
    loop->trained_tokens += out->trained;
    out->seconds = hone_clock_s() - start;
    return HONE_OK;
}
