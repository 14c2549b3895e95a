// mixture.c: see mixture.h: which source gives a row. What a recipe says is read in mixture_recipe.c.
#include "data/mixture.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

double hone_mixture_weight(const hone_mixture_source *s, int64_t step)
{
    double at = (double)step;
    if (step < s->from_step || (s->to_step >= 0 && step >= s->to_step)) return 0;
    int64_t i = 0;
    while (i < s->n_points && s->point[i].step <= at) i++;
    if (i == 0) return s->point[0].weight;
    if (i == s->n_points) return s->point[i - 1].weight;
    const hone_mixture_point *a = &s->point[i - 1], *b = &s->point[i];
    return a->weight + (b->weight - a->weight) * ((at - a->step) / (b->step - a->step));
}

// --- choosing

// Gives the next row to a source and returns it; -1: none has anything to give, and nothing changed.
static int64_t choose(const hone_mixture *m, hone_mixture_state *state)
{
    int64_t step = state->row / m->step_rows, best = -1;
    double sum = 0;
    if (m->n_sources == 1) best = state->taken[0] < m->source[0].most_rows ? 0 : -1;
    for (int64_t i = 0; i < m->n_sources && m->n_sources > 1; i++)
        if (state->taken[i] < m->source[i].most_rows) sum += hone_mixture_weight(&m->source[i], step);
    for (int64_t i = 0; i < m->n_sources && sum > 0; i++) {
        double weight = state->taken[i] < m->source[i].most_rows ? hone_mixture_weight(&m->source[i], step) : 0;
        if (weight <= 0) continue;
        state->debt[i] += weight / sum;
        if (best < 0 || state->debt[i] > state->debt[best]) best = i;
    }
    if (best < 0) return -1;
    state->debt[best] -= 1;
    state->taken[best]++;
    state->row++;
    return best;
}

static void copy_state(const hone_mixture *m, hone_mixture_state *to, const hone_mixture_state *from)
{
    to->row = from->row;
    memcpy(to->taken, from->taken, (size_t)m->n_sources * sizeof *to->taken);
    memcpy(to->debt, from->debt, (size_t)m->n_sources * sizeof *to->debt);
}

static hone_status new_state(const hone_mixture *m, hone_mixture_state *state)
{
    *state = (hone_mixture_state){ 0, hone_alloc((size_t)m->n_sources, sizeof *state->taken), hone_alloc((size_t)m->n_sources, sizeof *state->debt) };
    return state->taken && state->debt ? HONE_OK : HONE_FAILED;
}

static void free_state(hone_mixture_state *state)
{
    hone_free(state->taken);
    hone_free(state->debt);
    *state = (hone_mixture_state){ 0 };
}

static void reset_state(const hone_mixture *m, hone_mixture_state *state)
{
    state->row = 0;
    memset(state->taken, 0, (size_t)m->n_sources * sizeof *state->taken);
    memset(state->debt, 0, (size_t)m->n_sources * sizeof *state->debt);
}

void hone_mixture_seek(hone_mixture *m, int64_t row)
{
    if (m->anchor.row <= row && (row < m->now.row || m->anchor.row > m->now.row)) copy_state(m, &m->now, &m->anchor);
    else if (row < m->now.row) reset_state(m, &m->now);
    if (m->n_sources == 1 && row <= m->source[0].most_rows) m->now.row = m->now.taken[0] = row;
    while (m->now.row < row && choose(m, &m->now) >= 0) { }
}

int64_t hone_mixture_peek(const hone_mixture *m, int64_t *row)
{
    hone_mixture_state state;
    int64_t source = -1;
    if (new_state(m, &state) == HONE_OK) {
        copy_state(m, &state, &m->now);
        source = choose(m, &state);
        if (source >= 0) *row = m->now.taken[source];
    }
    free_state(&state);
    return source;
}

hone_status hone_mixture_next(hone_mixture *m, int64_t rows, hone_batch *batch)
{
    int64_t begin = m->now.row;
    hone_status status = HONE_OK;
    batch->trained = batch->n_pairs = 0;
    for (int64_t r = 0; r < rows && !status; r++) {
        if (m->now.row % m->step_rows == 0) copy_state(m, &m->anchor, &m->now);
        int64_t source = choose(m, &m->now);
        if (source < 0)
            status = hone_fail("step %" PRId64 ": no dataset has anything left to give: each is used up by its `epochs`, or outside from_step .. to_step, or of weight 0", m->now.row / m->step_rows);
        else status = hone_loader_read(&m->source[source].loader, m->now.taken[source] - 1, r, batch);
    }
    if (status) hone_mixture_seek(m, begin);
    return status;
}

hone_status hone_mixture_check(const hone_mixture *m, const hone_recipe *recipe, int64_t steps)
{
    hone_mixture_state state;
    if (m->n_sources == 1 && m->source[0].most_rows == INT64_MAX) return HONE_OK;
    if (new_state(m, &state)) { free_state(&state); return HONE_FAILED; }
    int64_t rows = steps < INT64_MAX / m->step_rows ? steps * m->step_rows : INT64_MAX;
    while (state.row < rows && choose(m, &state) >= 0) { }
    hone_status status = HONE_OK;
    if (state.row < rows)
        status = hone_recipe_fail(recipe, HONE_KEY_datasets, NULL, "at step %" PRId64 " of %" PRId64 " no dataset has anything left to give: each is used up by its `epochs`,"
                                  " or outside from_step .. to_step, or of weight 0", state.row / m->step_rows, steps);
    free_state(&state);
    return status;
}

// --- opening

static hone_status open_source(hone_mixture *m, const hone_recipe *recipe, int64_t i)
{
    hone_mixture_source *s = &m->source[i];
    hone_loader_options options = m->common;
    options.path = s->path;
    options.stream = (uint32_t)i;
    hone_status status = hone_loader_open(&s->loader, &options);
    if (status) {
        if (json_array_size(recipe->datasets) == 0) return status;
        char member[32], message[1024];
        snprintf(member, sizeof member, "%d.path", (int)i);
        snprintf(message, sizeof message, "%s", hone_error());
        return hone_recipe_fail(recipe, HONE_KEY_datasets, member, "%s", message);
    }
    s->open = true;
    double most = s->epochs * (double)s->loader.windows;
    s->most_rows = s->epochs > 0 && most < 9e18 ? (int64_t)most : INT64_MAX;
    if (s->most_rows < 1) {
        char member[32];
        snprintf(member, sizeof member, "%d.epochs", (int)i);
        return hone_recipe_fail(recipe, HONE_KEY_datasets, member, "epochs %g of %" PRId64 " rows are less than one row", s->epochs, s->loader.windows);
    }
    m->windows += s->loader.windows;
    return HONE_OK;
}

hone_status hone_mixture_open(hone_mixture *m, const hone_recipe *recipe, const hone_loader_options *common, int64_t step_rows)
{
    m->common = *common;
    m->step_rows = step_rows;
    m->windows = 0;
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < m->n_sources && !status; i++) status = open_source(m, recipe, i);
    if (!status) status = new_state(m, &m->now);
    if (!status) status = new_state(m, &m->anchor);
    return status;
}

void hone_mixture_close(hone_mixture *m)
{
    for (int64_t i = 0; i < m->n_sources; i++) {
        hone_mixture_source *s = &m->source[i];
        if (s->open) hone_loader_close(&s->loader);
        hone_free(s->name);
        hone_free(s->path);
        hone_free(s->point);
    }
    hone_free(m->source);
    free_state(&m->now);
    free_state(&m->anchor);
    *m = (hone_mixture){ 0 };
}

// --- sums

int64_t hone_mixture_most_rows(const hone_mixture *m)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < m->n_sources; i++)
        if (__builtin_add_overflow(sum, m->source[i].most_rows, &sum)) return INT64_MAX;
    return sum;
}

int64_t hone_mixture_all_tokens(const hone_mixture *m)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < m->n_sources; i++) sum += m->source[i].loader.data.n_tokens;
    return sum;
}

double hone_mixture_bytes_per_token(const hone_mixture *m)
{
    double bytes = 0, sum = 0;
    for (int64_t i = 0; i < m->n_sources; i++) {
        double share = m->now.row > 0 ? (double)m->now.taken[i] : hone_mixture_weight(&m->source[i], 0);
        double each = hone_loader_bytes_per_token(&m->source[i].loader);
        if (share > 0 && each <= 0) return 0;
        bytes += share * each;
        sum += share;
    }
    return sum > 0 ? bytes / sum : 0;
}

double hone_mixture_epochs(const hone_mixture *m) { return (double)m->now.row / (double)m->windows; }

uint64_t hone_mixture_hash(const hone_mixture *m)
{
    uint64_t hash = 0;
    for (int64_t i = 0; i < m->n_sources; i++) {
        const hone_dataset *data = &m->source[i].loader.data;
        const uint64_t about[] = { (uint64_t)data->n_tokens, (uint64_t)data->n_documents, (uint64_t)data->n_bytes, data->tokenizer, (uint64_t)data->vocab, hash };
        hash = hone_hash64(about, i ? sizeof about : sizeof about - sizeof hash);
        for (int64_t s = 0; data->trained && s < data->n_shards; s++) {
            const uint64_t column[] = { hash, hone_shard_hash(&data->trained[s]) };
            hash = hone_hash64(column, sizeof column);
        }
    }
    return hash;
}
