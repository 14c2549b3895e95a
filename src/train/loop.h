// loop.h: the one step loop.
//
//     count the trained tokens of all micro-batches of the step            W
//     for each micro-batch:  inputs <- loader, weight / W;   run "micro"    gradients add up
//     wait until nobody reads the weights (a checkpoint being written)
//     hyper <- schedule;  run "update"
//
// Weights are divided by the trained tokens of the whole step, so how rows are split into micro-batches changes nothing
// but rounding. The state of a run is (step, next row) beside weights and moments: rows are a function of their number,
// random numbers of (seed, index). So a run that stops at any step boundary goes on as if it had never stopped; a stop
// within an accumulation drops what was accumulated, and the step is done again.
#pragma once
#include "optim/schedule.h"
#include "plan/job.h"

typedef struct hone_loop {
    hone_job *job;
    hone_schedule schedule;
    float *weight;                       // micro's weight input
    int64_t step;                        // steps done: with job->train.row, the state
    int64_t trained_tokens;              // over all steps done
    // Asked before each micro-batch; true: drop the step. NULL: never.
    bool (*stop)(void *context);
    // Called before weights change. May be NULL.
    hone_status (*before_update)(void *context);
    void *context;
} hone_loop;

typedef struct hone_step {
    bool dropped;                        // stopped: nothing changed
    double loss;                         // mean over the step's trained tokens, nats
    double rate, norm, factor;           // learning rate, global norm of the gradients, what clipping multiplied by
    int64_t trained;
    double seconds;
} hone_step;

void hone_loop_open(hone_loop *loop, hone_job *job);
// One step at the rate of `total` steps. Fails, before weights change, where the loss is not finite.
hone_status hone_loop_step(hone_loop *loop, double total, hone_step *out);
