// loop.h: the one step loop.
//
//     count the trained tokens of all micro-batches of the step            W
//     for each micro-batch:  inputs <- loader, weight / W;   run "micro"    gradients add up
//     the loss is judged: not finite, or a spike?                          bad: nothing has changed, the caller decides
//     run the norm of "update", and judge it
//     wait until nobody reads the weights (a checkpoint being written)
//     hyper <- schedule;  run the rest of "update"
//
// Where the loss is scaled (graph/loss_scale.h) a norm that is not finite is the scale's affair: nothing is judged in between, the rest of
// "update" changes nothing but the scale, and the step counts as done and skipped. At the least scale it is a bad step after all.
//
// Weights are divided by the trained tokens (stage dpo: the pairs of replies) of the whole step, so how rows are split into micro-batches changes nothing
// but rounding. The state of a run is (step, next row) beside weights and moments: rows are a function of their number,
// random numbers of (seed, index). So a run that stops at any step boundary goes on as if it had never stopped; a stop
// within an accumulation drops what was accumulated, and the step is done again.
#pragma once
#include "optim/schedule.h"
#include "plan/job.h"
#include "run/trace.h"
#include "run/watchdog.h"
#include "train/pairs.h"
#include "train/spikes.h"

typedef struct hone_loop {
    hone_job *job;
    hone_schedule schedule;
    float *weight;                       // micro's weight input
    int64_t step;                        // steps done: with the mixture's next row, the state
    int64_t trained_tokens;              // over all steps done
    int64_t n_pairs;                     // of the micro-batch whose inputs were filled last
    int64_t skipped;                     // of the steps done: changed nothing
    hone_tid scale_state;                // of the loss scale; HONE_NONE: the loss is not scaled
    float scale[3];                      // the host's copy of it
    hone_spikes spikes;
    hone_watchdog *watchdog;             // told what is being done; may be NULL
    // Asked before each micro-batch; true: drop the step. NULL: never.
    bool (*stop)(void *context);
    // Called before weights change. May be NULL.
    hone_status (*before_update)(void *context);
    void *context;
    hone_trace *trace;                   // programs run through it, node by node; NULL: straight
} hone_loop;

typedef enum { HONE_STEP_GOOD, HONE_STEP_LOSS, HONE_STEP_NORM, HONE_STEP_SPIKE } hone_step_verdict; // loss or norm not finite, loss a spike

typedef struct hone_step {
    bool dropped;                        // stopped: nothing changed
    hone_step_verdict verdict;           // not GOOD: nothing changed, the next step reads the same rows
    double loss;                         // mean over the step's trained tokens, nats; of pairs of replies: over these
    hone_pair_sums pairs;                // stage dpo
    double zscore;                       // of the loss (spikes.h)
    double rate, norm, factor;           // learning rate, global norm of the gradients, what clipping multiplied by
    double scale;                        // of the loss; 0: it is not scaled
    bool overflow;                       // the norm is not finite at this scale: the step changed nothing but the scale, and counts as done
    int64_t trained;
    double seconds;
} hone_step;

void hone_loop_open(hone_loop *loop, hone_job *job);
// One step at the rate of `total` steps.
hone_status hone_loop_step(hone_loop *loop, double total, hone_step *out);
// Puts a state of the loss scale in place, as a checkpoint has it. Nothing where the loss is not scaled.
hone_status hone_loop_set_scale(hone_loop *loop, const float state[3]);
void hone_loop_skip(hone_loop *loop);    // counts the bad step as done and goes behind its rows

// For those who look inside a step (inspect.h). count: its trained tokens, and what its loss is a mean over: these, or its pairs. fill: the
// inputs of the next micro-batch, of a step of so many parts. loss: the sum over the micro-batch just run; pairs (may be NULL) grow. drop: back to the beginning of the step at `row`, gradients cleared.
hone_status hone_loop_count_trained(hone_loop *loop, int64_t *trained, int64_t *parts);
int64_t hone_loop_step_rows(const hone_loop *loop);      // of the step that comes
hone_status hone_loop_fill_inputs(hone_loop *loop, int64_t parts);
double hone_loop_sum_losses(const hone_loop *loop, hone_pair_sums *pairs);
hone_status hone_loop_drop_step(hone_loop *loop, int64_t row);
