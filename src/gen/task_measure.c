// task_measure.c: figures of a task out of the scores of its questions.
#include "gen/task_eval.h"
#include <math.h>

static const char *const names[][HONE_TASK_FIGURES] = {
    [HONE_MEASURE_CHOICE] = { "acc" }, [HONE_MEASURE_NORMED] = { "acc", "acc_norm" },
    [HONE_MEASURE_WORD] = { "perplexity", "acc" }, [HONE_MEASURE_SOLVE] = { "exact_match_strict", "exact_match_flexible" } };

// Mean of x and its standard error, s / sqrt(n) with s^2 = sum (x - mean)^2 / (n - 1), over the questions of one part.
static void mean_of(const hone_questions *all, const hone_task_score *score, int figure, int64_t part, int64_t *n, double *mean, double *error)
{
    double sum = 0, squares = 0;
    *n = 0;
    for (int64_t i = 0; i < all->count; i++) if (all->question[i].part == part) sum += score[i].figure[figure], ++*n;
    *mean = sum / (double)*n;
    for (int64_t i = 0; i < all->count; i++)
        if (all->question[i].part == part) squares += (score[i].figure[figure] - *mean) * (score[i].figure[figure] - *mean);
    *error = *n > 1 ? sqrt(squares / (double)(*n - 1) / (double)*n) : 0;
}

// Parts [from, to): the mean over all their questions; errors pooled, se^2 = sum_i (n_i - 1) s_i^2 / (N - parts) / N.
static hone_task_figure figure_of(const hone_questions *all, const hone_task_score *score, int figure, int64_t from, int64_t to)
{
    hone_task_figure out = { .name = names[all->task->measure][figure] };
    double sum = 0, squares = 0;
    int64_t N = 0;
    for (int64_t p = from; p < to; p++) {
        int64_t n;
        double mean, error;
        mean_of(all, score, figure, p, &n, &mean, &error);
        sum += mean * (double)n;
        squares += (double)(n - 1) * error * error * (double)n;
        N += n;
    }
    out.value = sum / (double)N;
    if (N > to - from) out.error = sqrt(squares / (double)(N - (to - from)) / (double)N);
    if (all->task->measure == HONE_MEASURE_WORD && figure == 0) { // of the log-likelihood: perplexity exp(-x), its error by its slope
        out.value = exp(-out.value);
        out.error *= out.value;
    }
    return out;
}

static hone_status add_result(const hone_questions *all, const hone_task_score *score, const bool *cut, int64_t from, int64_t to,
                              const char *part, hone_task_results *out)
{
    if (hone_grow(&out->result, out->count, &out->capacity, sizeof *out->result)) return HONE_FAILED;
    hone_task_result *r = &out->result[out->count];
    *r = (hone_task_result){ .task = all->task };
    if (part && !(r->part = hone_strdup(part))) return HONE_FAILED;
    out->count++;
    for (int64_t i = 0; i < all->count; i++)
        if (all->question[i].part >= from && all->question[i].part < to) r->questions++, r->cut += cut[i];
    for (int f = 0; f < HONE_TASK_FIGURES && names[all->task->measure][f]; f++) r->figure[r->n_figure++] = figure_of(all, score, f, from, to);
    return HONE_OK;
}

hone_status hone_task_measure(const hone_questions *all, const hone_task_score *score, const bool *cut, hone_task_results *out)
{
    hone_status status = add_result(all, score, cut, 0, all->n_part, NULL, out);
    for (int64_t p = 0; p < all->n_part && all->n_part > 1 && !status; p++) status = add_result(all, score, cut, p, p + 1, all->part[p], out);
    return status;
}

void hone_task_results_release(hone_task_results *out)
{
    for (int64_t i = 0; i < out->count; i++) hone_free(out->result[i].part);
    hone_free(out->result);
    *out = (hone_task_results){ 0 };
}
