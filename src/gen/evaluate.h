// evaluate.h: how well a model foretells held-out text.
//
//   loss        mean of -log p over all predicted tokens, nats per token
//   perplexity  exp(loss)
//   bits/byte   sum of -log2 p / bytes of the predicted tokens: comparable over tokenizers
//
// Standard errors: tokens of one window depend on each other, windows hardly. So windows are the sample: with s_w and n_w
// the sum and number of tokens of window w of W,   se(loss)^2 = W / (W - 1) sum_w (s_w - loss n_w)^2 / (sum_w n_w)^2.
//
// A text longer than `context` is cut into windows of that many tokens, as training reads it: each token but a text's
// first is predicted once, from those before it in its window.
#pragma once
#include "data/loader.h"
#include "gen/runner.h"
#include "gen/score.h"

typedef struct hone_evaluation {
    double nll;                       // sum, nats
    int64_t tokens, windows, texts;
    double bytes;                     // of the predicted tokens; 0 unknown
    double seconds;
    struct hone_window_sum *window; int64_t capacity; // (windows,)
} hone_evaluation;

typedef void (*hone_progress_fn)(void *context, const hone_evaluation *so_far);

// data: a prepared folder or raw token file (its held-out split, or train where there is none), a .jsonl file of {"text"}
// or {"ids"}, or any other file as one text. Stops after the first max_tokens predicted tokens, 0: none.
typedef struct hone_evaluate_options {
    const char *data;
    int64_t context;                  // 0: 1024 or the model's positions
    int64_t max_tokens;
    hone_progress_fn progress; void *progress_context;
} hone_evaluate_options;
// Runs on an opened runner (hone_runner_open), which it starts.
hone_status hone_evaluate(hone_runner *runner, const hone_evaluate_options *options, hone_evaluation *evaluation);
void hone_evaluation_release(hone_evaluation *evaluation);

// One window more: sum of -log p of n tokens.
hone_status hone_evaluation_add(hone_evaluation *evaluation, double nll, int64_t n);
hone_status hone_evaluation_join(hone_evaluation *e, const hone_evaluation *other);  // adds another's windows and sums
double hone_evaluation_loss(const hone_evaluation *evaluation);
double hone_evaluation_loss_error(const hone_evaluation *evaluation);   // 0 with fewer than two windows
double hone_evaluation_bits_per_byte(const hone_evaluation *evaluation); // 0 unknown
