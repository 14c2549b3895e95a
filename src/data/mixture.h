// mixture.h: rows of several data sets in chosen shares, in an order that is a function of the recipe alone.
//
//     recipe     datasets: [{path: data/novels, weight: 0.7}, {path: data/medical, weight: [[0, 0.1], [1000, 0.9]], epochs: 4}]
//     step s     weights w_i(s): 0 outside from_step .. to_step and for a source that is used up, else as given
//     row r      goes to the source that lags most behind its share: debt_i += w_i / sum w; the largest debt is paid with a row
//     its n-th   row is that source's loader's row n: sampling without replacement, a new keyed permutation each pass (loader.h)
//
// So the share of each source is exact to a row at every moment (a largest-remainder rule, as in smooth weighted round robin),
// and the state is the number of rows given. Ranks, micro-batches and resumes cut the same list of rows in other places. Going
// to a row far off replays the choices, some 5 ns a row and source. A single `dataset` is a mixture of one.
#pragma once
#include "data/loader.h"
#include "recipe/recipe.h"

typedef struct hone_mixture_point { double step, weight; } hone_mixture_point;

typedef struct hone_mixture_source {
    char *name, *path;
    hone_mixture_point *point; int64_t n_points; // weight over steps: linear between points, constant before and behind them
    double epochs;                  // passes at most; 0: any number
    int64_t from_step, to_step;     // steps [from, to); to -1: no end
    hone_loader loader;
    bool open;
    int64_t most_rows;              // by epochs; INT64_MAX: no limit
} hone_mixture_source;

typedef struct hone_mixture_state {
    int64_t row;                    // rows given so far
    int64_t *taken; double *debt;   // (sources,)
} hone_mixture_state;

typedef struct hone_mixture {
    hone_mixture_source *source; int64_t n_sources;
    hone_loader_options common;     // path, stream unset
    int64_t step_rows;              // rows of one step: weights may change from step to step
    int64_t windows;                // rows in one pass over all sources
    hone_mixture_state now, anchor; // anchor: at the beginning of the step last begun, for going back there
} hone_mixture;

// The sources that a recipe names, not opened yet. Every mistake is reported with the recipe's line.
hone_status hone_mixture_parse(hone_mixture *mixture, const hone_recipe *recipe);
// Opens them. common: what holds for each (path and stream are set here).
hone_status hone_mixture_open(hone_mixture *mixture, const hone_recipe *recipe, const hone_loader_options *common, int64_t step_rows);
void hone_mixture_close(hone_mixture *mixture);     // also after parse alone
// Rows that all sources can give under their caps; INT64_MAX: no limit.
int64_t hone_mixture_most_rows(const hone_mixture *mixture);
// Walks through `steps` steps: fails, with the recipe's line, where at some step no source has anything to give.
hone_status hone_mixture_check(const hone_mixture *mixture, const hone_recipe *recipe, int64_t steps);

// Fills the next `rows` rows and advances. On failure the state has not moved.
hone_status hone_mixture_next(hone_mixture *mixture, int64_t rows, hone_batch *batch);
void hone_mixture_seek(hone_mixture *mixture, int64_t row);
// The source that gives the next row, and that source's own row number; -1: none can.
int64_t hone_mixture_peek(const hone_mixture *mixture, int64_t *row);

static inline int64_t hone_mixture_tokens(const hone_mixture *m, int64_t source) { return m->now.taken[source] * m->common.window; }
static inline int64_t hone_mixture_tokens_seen(const hone_mixture *m) { return m->now.row * m->common.window; }
double hone_mixture_weight(const hone_mixture_source *source, int64_t step);   // as the recipe has it
int64_t hone_mixture_all_tokens(const hone_mixture *mixture);                  // in all sources
// Mean bytes of text per token of what was read so far (before that: by the weights of the first step); 0 unknown.
double hone_mixture_bytes_per_token(const hone_mixture *mixture);
double hone_mixture_epochs(const hone_mixture *mixture);
uint64_t hone_mixture_hash(const hone_mixture *mixture);   // tells the data of other mixtures apart
