// mixture_recipe.c: a recipe's `dataset` or `datasets` to the sources of a mixture (mixture.h).
#include "data/mixture.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MOST_SOURCES = 4096 }; // loader.h: streams of the shuffle

static hone_status fail_in(const hone_recipe *recipe, int64_t item, const char *key, const char *message)
{
    char member[64];
    snprintf(member, sizeof member, "%d.%s", (int)item, key);
    return hone_recipe_fail(recipe, HONE_KEY_datasets, member, "%s", message);
}

static char *last_name(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t from = n;
    while (from > 0 && path[from - 1] != '/') from--;
    return hone_format("%.*s", (int)(n - from), path + from);
}

static hone_status one_point(hone_mixture_source *s, double step, double weight)
{
    int64_t capacity = s->n_points;
    hone_mixture_point *point = hone_realloc(s->point, (size_t)capacity + 1, sizeof *point);
    if (!point) return HONE_FAILED;
    s->point = point;
    s->point[s->n_points++] = (hone_mixture_point){ step, weight };
    return HONE_OK;
}

static hone_status parse_weight(const hone_recipe *recipe, hone_mixture_source *s, int64_t item, const json_t *value)
{
    char message[256];
    if (!value) return one_point(s, 0, 1);
    if (json_is_number(value)) {
        double weight = json_number_value(value);
        if (weight > 0 && isfinite(weight)) return one_point(s, 0, weight);
        snprintf(message, sizeof message, "weight %g must be positive; leave the source out if it shall give nothing", weight);
        return fail_in(recipe, item, "weight", message);
    }
    static const char wanted[] = "weight must be a positive number, or a list of [step, weight] with rising steps, such as [[0, 0.1], [1000, 0.9]]";
    const json_t *pair;
    size_t i;
    double highest = 0;
    if (!json_is_array(value) || json_array_size(value) == 0) return fail_in(recipe, item, "weight", wanted);
    json_array_foreach(value, i, pair) {
        const json_t *step = json_array_get(pair, 0), *weight = json_array_get(pair, 1);
        if (json_array_size(pair) != 2 || !json_is_number(step) || !json_is_number(weight)) return fail_in(recipe, item, "weight", wanted);
        double at = json_number_value(step), w = json_number_value(weight);
        if (at < 0 || (i > 0 && at <= s->point[i - 1].step)) return fail_in(recipe, item, "weight", wanted);
        if (!(w >= 0) || !isfinite(w)) {
            snprintf(message, sizeof message, "weight %g at step %g must not be negative", w, at);
            return fail_in(recipe, item, "weight", message);
        }
        if (w > highest) highest = w;
        hone_status status = one_point(s, at, w);
        if (status) return status;
    }
    return highest > 0 ? HONE_OK : fail_in(recipe, item, "weight", "weight is 0 at every step; leave the source out if it shall give nothing");
}

static hone_status parse_step(const hone_recipe *recipe, int64_t item, const char *key, const json_t *value, int64_t *out)
{
    if (!value) return HONE_OK;
    double step = json_is_number(value) ? json_number_value(value) : -1;
    char message[128];
    if (step >= 0 && step == floor(step) && step < 9e15) {
        *out = (int64_t)step;
        return HONE_OK;
    }
    snprintf(message, sizeof message, "%s must be a whole number of steps", key);
    return fail_in(recipe, item, key, message);
}

static hone_status refuse_unknown(const hone_recipe *recipe, int64_t item, const json_t *map)
{
    json_t *known = json_pack("{s:n, s:n, s:n, s:n, s:n, s:n}", "path", "name", "weight", "epochs", "from_step", "to_step"), *unused;
    const char *key;
    hone_status status = known ? HONE_OK : hone_fail("out of memory while reading a recipe");
    json_object_foreach((json_t *)(uintptr_t)map, key, unused) {
        char member[256];
        if (status || json_object_get(known, key)) continue;
        snprintf(member, sizeof member, "%d.%s", (int)item, key);
        status = hone_recipe_fail_member(recipe, HONE_KEY_datasets, member, known, "a source of datasets");
    }
    json_decref(known);
    return status;
}

static hone_status parse_source(const hone_recipe *recipe, hone_mixture_source *s, int64_t item, const json_t *map)
{
    const json_t *path = json_object_get(map, "path"), *name = json_object_get(map, "name"), *epochs = json_object_get(map, "epochs");
    char message[128];
    s->to_step = -1;
    hone_status status = refuse_unknown(recipe, item, map);
    if (status) return status;
    if (!json_is_string(path) || !*json_string_value(path)) {
        snprintf(message, sizeof message, "source %d has no path: the folder that `hone prepare` wrote, or a raw token file", (int)item + 1);
        return fail_in(recipe, item, "path", message);
    }
    if (name && (!json_is_string(name) || !*json_string_value(name))) return fail_in(recipe, item, "name", "name must be a text");
    s->path = hone_strdup(json_string_value(path));
    s->name = name ? hone_strdup(json_string_value(name)) : last_name(json_string_value(path));
    if (!s->path || !s->name) return HONE_FAILED;
    if (epochs) {
        s->epochs = json_is_number(epochs) ? json_number_value(epochs) : -1;
        if (!(s->epochs > 0) || !isfinite(s->epochs)) return fail_in(recipe, item, "epochs", "epochs must be a positive number: passes over the source at most");
    }
    if ((status = parse_step(recipe, item, "from_step", json_object_get(map, "from_step"), &s->from_step))) return status;
    if ((status = parse_step(recipe, item, "to_step", json_object_get(map, "to_step"), &s->to_step))) return status;
    if (s->to_step >= 0 && s->to_step <= s->from_step) return fail_in(recipe, item, "to_step", "to_step must lie behind from_step");
    return parse_weight(recipe, s, item, json_object_get(map, "weight"));
}

static hone_status refuse_twice(const hone_recipe *recipe, const hone_mixture *m)
{
    for (int64_t i = 0; i < m->n_sources; i++)
        for (int64_t k = 0; k < i; k++)
            if (strcmp(m->source[i].name, m->source[k].name) == 0) {
                char message[400];
                snprintf(message, sizeof message, "two sources are called %s; tell them apart by `name`", m->source[i].name);
                return fail_in(recipe, i, json_object_get(json_array_get(recipe->datasets, (size_t)i), "name") ? "name" : "path", message);
            }
    return HONE_OK;
}

hone_status hone_mixture_parse(hone_mixture *m, const hone_recipe *recipe)
{
    size_t n = json_array_size(recipe->datasets);
    *m = (hone_mixture){ 0 };
    if (n == 0 && !recipe->dataset[0])
        return hone_recipe_fail(recipe, HONE_KEY_dataset, NULL, "no dataset: give the folder that `hone prepare` wrote, or a raw token file");
    if (n > MOST_SOURCES) return hone_recipe_fail(recipe, HONE_KEY_datasets, NULL, "%zu sources; at most %d", n, MOST_SOURCES);
    m->n_sources = n ? (int64_t)n : 1;
    m->source = hone_alloc((size_t)m->n_sources, sizeof *m->source);
    hone_status status = m->source ? HONE_OK : HONE_FAILED;
    if (!m->source) m->n_sources = 0;
    for (size_t i = 0; i < n && !status; i++) status = parse_source(recipe, &m->source[i], (int64_t)i, json_array_get(recipe->datasets, i));
    if (!status && n == 0) {
        hone_mixture_source *s = m->source;
        s->to_step = -1;
        s->path = hone_strdup(recipe->dataset);
        s->name = last_name(recipe->dataset);
        status = s->path && s->name ? one_point(s, 0, 1) : HONE_FAILED;
    }
    if (!status) status = refuse_twice(recipe, m);
    if (status) hone_mixture_close(m);
    return status;
}
