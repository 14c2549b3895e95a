// task_eval.h: how many questions of known tasks (task.h) a model answers rightly.
//
//     questions -> ids -> one decode program that has room for all -> forks (branches.h), greedy texts (generate.h) -> figures
//
// Ids are made as lm-evaluation-harness makes them: prompt + answer are one text, and what it has more than the prompt alone is
// judged; what the model cannot see loses its beginning. Standard errors are those of a mean of independent questions; of a task
// of several files, pooled; of a perplexity, by the delta method (the harness draws bootstraps).
#pragma once
#include "gen/runner.h"
#include "gen/task.h"

enum { HONE_TASK_FIGURES = 2 };
typedef struct hone_task_figure { const char *name; double value, error; } hone_task_figure; // error 0: fewer than two questions
typedef struct hone_task_result {
    const hone_task *task;
    char *part;                         // a file's name; NULL: the whole task
    int64_t questions, cut;             // cut: lost the beginning of their prompt
    int n_figure; hone_task_figure figure[HONE_TASK_FIGURES];
} hone_task_result;

typedef struct hone_task_results {
    hone_task_result *result; int64_t count, capacity;  // a task, and its parts behind it where there are several
    int64_t tokens, shared;             // computed; saved, since sequences share their beginning
    double seconds;
} hone_task_results;

typedef struct hone_task_options {
    const char *folder;
    int64_t limit, shots;               // hone_task_load()
    hone_status (*sample)(void *context, const json_t *row); // called for each question in order, or NULL: what was answered
    void (*progress)(void *context, int64_t done, int64_t all); // or NULL
    void *context;
} hone_task_options;

// On an opened runner, which it starts.
hone_status hone_task_evaluate(hone_runner *runner, const hone_task *const *tasks, int64_t n, const hone_task_options *options, hone_task_results *results);
void hone_task_results_release(hone_task_results *results);

// What one question came to, by the task's measure: figure[i], and for a perplexity the log-likelihood.
typedef struct hone_task_score { double figure[HONE_TASK_FIGURES]; } hone_task_score;
// Adds a task's rows to the results.
hone_status hone_task_measure(const hone_questions *questions, const hone_task_score *score, const bool *cut, hone_task_results *results);
