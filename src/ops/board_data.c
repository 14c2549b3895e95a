// board_data.c: see board_data.h.
#include "ops/board_data.h"
#include "base/file.h"
#include "base/memory.h"
#include "run/report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RUNS = 64, EVENTS = 100 };
enum { X_STEP, X_TIME, X_TOKENS, X_COUNT };
static const char *const x_name[X_COUNT] = { "step", "time", "tokens" };

typedef struct columns {
    int64_t run, generation;
    int64_t count, capacity, last_step;
    double *x[X_COUNT];                       // (count,)
    float *value[HONE_METRIC_COUNT];          // (count,)
    bool failed;
} columns;

struct hone_board_data {
    char *path;
    hone_store *store;                        // NULL until there is one
    columns *run[MOST_RUNS]; int runs;        // of the runs that were looked at, the last ones
};

hone_board_data *hone_board_data_new(const char *dir)
{
    hone_board_data *data = hone_alloc(1, sizeof *data);
    if (data && !(data->path = hone_dir_exists(dir) ? hone_store_path_in(dir) : hone_strdup(dir))) {
        hone_free(data);
        return NULL;
    }
    return data;
}

static void free_columns(columns *c)
{
    if (!c) return;
    for (int i = 0; i < X_COUNT; i++) hone_free(c->x[i]);
    for (int m = 0; m < HONE_METRIC_COUNT; m++) hone_free(c->value[m]);
    hone_free(c);
}

void hone_board_data_free(hone_board_data *data)
{
    if (!data) return;
    for (int i = 0; i < data->runs; i++) free_columns(data->run[i]);
    hone_store_close(data->store);
    hone_free(data->path);
    hone_free(data);
}

static hone_status open_store(hone_board_data *data)
{
    if (data->store || !hone_file_exists(data->path)) return HONE_OK;
    return hone_store_open(&data->store, data->path, false);
}

// A store that was removed and made anew, or cannot be read any more, is opened again at the next question.
static hone_status drop_store(hone_board_data *data)
{
    for (int i = 0; i < data->runs; i++) free_columns(data->run[i]);
    data->runs = 0;
    hone_store_close(data->store);
    data->store = NULL;
    return HONE_FAILED;
}

hone_status hone_board_data_runs(hone_board_data *data, json_t **out)
{
    *out = NULL;
    if (open_store(data)) return HONE_FAILED;
    if (!data->store) return (*out = json_array()) ? HONE_OK : HONE_FAILED;
    return hone_store_runs(data->store, out) ? drop_store(data) : HONE_OK;
}

// --- columns ----------------------------------------------------------------------------------------------------------

static bool grow(columns *c)
{
    int64_t capacity = c->capacity ? 2 * c->capacity : 1024;
    for (int i = 0; i < X_COUNT; i++) {
        double *grown = hone_realloc(c->x[i], (size_t)capacity, sizeof *grown);
        if (!grown) return false;
        c->x[i] = grown;
    }
    for (int m = 0; m < HONE_METRIC_COUNT; m++) {
        float *grown = hone_realloc(c->value[m], (size_t)capacity, sizeof *grown);
        if (!grown) return false;
        c->value[m] = grown;
    }
    c->capacity = capacity;
    return true;
}

static void take_step(void *context, int64_t step, const double value[HONE_METRIC_COUNT])
{
    columns *c = context;
    if (c->failed || (c->count == c->capacity && !grow(c))) {
        c->failed = true;
        return;
    }
    c->x[X_STEP][c->count] = (double)step;
    c->x[X_TIME][c->count] = value[HONE_METRIC_elapsed_seconds];
    c->x[X_TOKENS][c->count] = value[HONE_METRIC_trained_tokens];
    for (int m = 0; m < HONE_METRIC_COUNT; m++) c->value[m][c->count] = (float)value[m];
    c->last_step = step;
    c->count++;
}

// The columns of a run, brought up to date. Those that were looked at longest ago make room.
static hone_status find_columns(hone_board_data *data, int64_t run, int64_t generation, columns **out)
{
    int at = 0;
    while (at < data->runs && data->run[at]->run != run) at++;
    if (at == data->runs) {
        columns *fresh = hone_alloc(1, sizeof *fresh);
        if (!fresh) return HONE_FAILED;
        *fresh = (columns){ .run = run, .generation = generation, .last_step = -1 };
        if (data->runs == MOST_RUNS) {
            free_columns(data->run[0]);
            memmove(data->run, data->run + 1, (MOST_RUNS - 1) * sizeof *data->run);
            data->runs--;
        }
        at = data->runs++;
        data->run[at] = fresh;
    }
    columns *c = data->run[at];
    memmove(data->run + at, data->run + at + 1, (size_t)(data->runs - 1 - at) * sizeof *data->run);
    data->run[data->runs - 1] = c;
    if (c->generation != generation) { // it went back to a checkpoint: what is kept may never have been
        c->count = 0;
        c->last_step = -1;
        c->generation = generation;
    }
    *out = c;
    if (hone_store_steps(data->store, run, c->last_step, take_step, c)) return HONE_FAILED;
    return c->failed ? hone_fail("out of memory for the steps of run %lld", (long long)run) : HONE_OK;
}

// --- buckets ----------------------------------------------------------------------------------------------------------

// The least power of two that cuts [from, to] into at most `most` buckets.
static double bucket_width(double from, double to, int most)
{
    double width = to > from ? exp2(floor(log2((to - from) / most))) : 1;
    while ((to - from) / width > most) width *= 2;
    return width;
}

// First index with x >= value; x does not fall.
static int64_t lower_bound(const double *x, int64_t count, double value)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (x[middle] < value) low = middle + 1;
        else high = middle;
    }
    return low;
}

// Numbers as short as a chart needs them: a screen has no more than five digits.
static json_t *number(double x)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", x);
    return json_real(strtod(text, NULL));
}

typedef struct { json_t *x, *low, *mid, *high; } lists;

static void put(const lists *to, double x, double low, double mid, double high)
{
    json_array_append_new(to->x, json_real(x));
    json_array_append_new(to->low, number(low));
    json_array_append_new(to->mid, number(mid));
    json_array_append_new(to->high, number(high));
}

static json_t *buckets(const double *x, const float *value, int64_t first, int64_t last, double width)
{
    lists to = { json_array(), json_array(), json_array(), json_array() };
    for (int64_t i = first; i < last;) {
        double end = (floor(x[i] / width) + 1) * width, low = INFINITY, high = -INFINITY, sum = 0;
        int64_t n = 0;
        for (; i < last && x[i] < end; i++) {
            if (!isfinite(value[i])) continue;
            low = fmin(low, (double)value[i]);
            high = fmax(high, (double)value[i]);
            sum += (double)value[i];
            n++;
        }
        if (n) put(&to, end - width, low, sum / (double)n, high);
    }
    return json_pack("{s:o, s:o, s:o, s:o}", "x", to.x, "low", to.low, "mid", to.mid, "high", to.high);
}

// Held-out losses: few, so all of them.
static json_t *evaluations(hone_board_data *data, const columns *c, int x)
{
    json_t *events, *event;
    if (hone_store_events(data->store, c->run, "eval", 0, &events)) return NULL;
    lists to = { json_array(), json_array(), json_array(), json_array() };
    size_t i;
    json_array_foreach(events, i, event) {
        double step = json_number_value(json_object_get(event, "step")), loss = json_number_value(json_object_get(event, "loss"));
        int64_t at = lower_bound(c->x[X_STEP], c->count, step);
        if (at == c->count) at--;
        if (at >= 0 && loss > 0) put(&to, x == X_STEP ? step : c->x[x][at], loss, loss, loss);
    }
    json_decref(events);
    return json_pack("{s:o, s:o, s:o, s:o}", "x", to.x, "low", to.low, "mid", to.mid, "high", to.high);
}

json_t *hone_board_data_metrics(void)
{
    json_t *out = json_array();
    json_array_append_new(out, json_pack("{s:s, s:s, s:s}", "name", "loss", "title", "loss", "unit", "nats a token"));
    json_array_append_new(out, json_pack("{s:s, s:s, s:s}", "name", "held_out", "title", "held-out loss", "unit", "nats a token"));
    for (int m = HONE_METRIC_loss + 1; m < HONE_METRIC_COUNT; m++)
        if (hone_metric_table[m].charted) json_array_append_new(out, json_pack("{s:s, s:s, s:s}", "name", hone_metric_table[m].name, "title", hone_metric_table[m].title, "unit", hone_metric_table[m].unit));
    return out;
}

// The runs of "1,2,3" that the store has, with their generation.
static hone_status pick(hone_board_data *data, const char *list, json_t **out)
{
    json_t *runs, *run, *picked = json_array();
    size_t i;
    hone_status status = hone_board_data_runs(data, &runs);
    if (status) { json_decref(picked); return status; }
    for (const char *at = list; *at;) {
        char *end;
        long long id = strtoll(at, &end, 10);
        json_array_foreach(runs, i, run)
            if (json_integer_value(json_object_get(run, "id")) == id) json_array_append(picked, run);
        at = end > at ? end : at + 1;
        while (*at == ',') at++;
    }
    json_decref(runs);
    *out = picked;
    return HONE_OK;
}

static int64_t integer(const json_t *run, const char *key) { return json_integer_value(json_object_get(run, key)); }

hone_status hone_board_data_series(hone_board_data *data, const hone_board_query *query, json_t **out)
{
    json_t *runs, *run, *result = json_object(), *metrics = hone_board_data_metrics(), *metric;
    int x = 0;
    while (x < X_COUNT - 1 && strcmp(x_name[x], query->x)) x++;
    *out = NULL;
    hone_status status = pick(data, query->runs, &runs);
    double from = INFINITY, to = -INFINITY;
    size_t i, k;
    if (!status) json_array_foreach(runs, i, run) {
        columns *c;
        if ((status = find_columns(data, integer(run, "id"), integer(run, "generation"), &c))) break;
        if (c->count) from = fmin(from, c->x[x][0]), to = fmax(to, c->x[x][c->count - 1]);
    }
    if (!isnan(query->from)) from = query->from;
    if (!isnan(query->to)) to = query->to;
    double width = bucket_width(from, to, query->width);
    if (!status) json_array_foreach(metrics, k, metric) {
        const char *name = json_string_value(json_object_get(metric, "name"));
        json_t *of = json_object();
        json_array_foreach(runs, i, run) {
            columns *c = NULL;
            for (int r = 0; r < data->runs; r++)
                if (data->run[r]->run == integer(run, "id")) c = data->run[r];
            if (!c || c->count == 0) continue;
            char id[24];
            snprintf(id, sizeof id, "%lld", (long long)c->run);
            int64_t first = lower_bound(c->x[x], c->count, floor(from / width) * width), last = lower_bound(c->x[x], c->count, to + width);
            int m = 0;
            while (m < HONE_METRIC_COUNT && strcmp(hone_metric_table[m].name, name)) m++;
            json_object_set_new(of, id, m < HONE_METRIC_COUNT ? buckets(c->x[x], c->value[m], first, last, width) : evaluations(data, c, x));
        }
        json_object_set_new(result, name, of);
    }
    json_decref(runs);
    json_decref(metrics);
    if (status) json_decref(result);
    else *out = result;
    return status;
}

hone_status hone_board_data_events(hone_board_data *data, const char *list, json_t **out)
{
    json_t *runs, *run, *events, *result = json_object();
    size_t i;
    hone_status status = pick(data, list, &runs);
    if (!status) json_array_foreach(runs, i, run) {
        char id[24];
        snprintf(id, sizeof id, "%lld", (long long)integer(run, "id"));
        if ((status = hone_store_events(data->store, integer(run, "id"), NULL, EVENTS, &events))) break;
        json_object_set_new(result, id, events);
    }
    json_decref(runs);
    *out = status ? NULL : result;
    if (status) json_decref(result);
    return status;
}

hone_status hone_board_data_report(hone_board_data *data, const char *which, json_t **out)
{
    json_t *run = NULL;
    *out = NULL;
    hone_status status = open_store(data);
    if (!status && !data->store) status = hone_fail("%s: is not there yet", data->path);
    if (!status) status = hone_store_find(data->store, which, &run);
    if (!status) status = hone_report_of_run(data->store, run, out);
    json_decref(run);
    return status;
}
