// compare.c: see compare.h.
#include "run/compare.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const json_t *follow(const json_t *value, const char *key)
{
    char part[128];
    while (value && *key) {
        size_t length = strcspn(key, ".");
        snprintf(part, sizeof part, "%.*s", (int)(length < sizeof part ? length : sizeof part - 1), key);
        value = json_object_get(value, part);
        key += length + (key[length] == '.');
    }
    return json_is_null(value) ? NULL : value;
}

const json_t *hone_run_value(const json_t *run, const char *key)
{
    static const char *const section[] = { "recipe", "recipe.model", "last", "plan", "machine", "result" };
    const json_t *value = follow(run, key);
    for (size_t i = 0; i < sizeof section / sizeof *section && !value; i++) value = follow(follow(run, section[i]), key);
    return value;
}

static hone_status text_of(const json_t *value, hone_buffer *out)
{
    if (!value || json_is_null(value)) return hone_buffer_print(out, "-");
    if (json_is_string(value)) return hone_buffer_print(out, "%s", json_string_value(value));
    if (json_is_integer(value)) return hone_buffer_print(out, "%lld", (long long)json_integer_value(value));
    if (json_is_real(value)) return hone_buffer_print(out, "%.6g", json_real_value(value));
    char *text = hone_json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    hone_status status = text ? hone_buffer_print(out, "%s", text) : HONE_FAILED;
    hone_free(text);
    return status;
}

hone_status hone_run_print_value(const json_t *value, hone_buffer *out) { return text_of(value, out); }

// -1, 0, 1 as strcmp; numbers where both sides are.
static int compare(const char *a, const char *b)
{
    char *end_a, *end_b;
    double x = strtod(a, &end_a), y = strtod(b, &end_b);
    if (*a && *b && !*end_a && !*end_b) return x < y ? -1 : x > y;
    return strcmp(a, b);
}

hone_status hone_run_matches(const json_t *run, const char *filter, bool *matches)
{
    size_t length = strcspn(filter, "=!<>");
    const char *sign = filter + length, *value = sign + 1 + (sign[0] && sign[1] == '=');
    if (length == 0 || !*sign || (*sign == '!' && sign[1] != '='))
        return hone_fail_usage("runs: %s: a filter is KEY=VALUE, or with != < <= > >=", filter);
    char key[128];
    snprintf(key, sizeof key, "%.*s", (int)(length < sizeof key ? length : sizeof key - 1), filter);
    const json_t *mine = hone_run_value(run, key);
    hone_buffer text = { 0 };
    hone_status status = text_of(mine, &text);
    int order = status ? 0 : compare(text.data, value);
    bool or_equal = sign[1] == '=';
    switch (*sign) {
    case '=': *matches = order == 0; break;
    case '!': *matches = order != 0; break;
    case '<': *matches = mine && (order < 0 || (or_equal && order == 0)); break;
    default: *matches = mine && (order > 0 || (or_equal && order == 0)); break;
    }
    hone_buffer_release(&text);
    return status;
}

// --- differences ------------------------------------------------------------------------------------------------------

static hone_status add_row(json_t *rows, const char *section, const char *key, const json_t *a, const json_t *b)
{
    if ((a && b && json_equal(a, b)) || (!a && !b)) return HONE_OK;
    json_t *row = json_pack("{s:s, s:s, s:O?, s:O?}", "section", section, "key", key, "a", (json_t *)(uintptr_t)a, "b", (json_t *)(uintptr_t)b);
    return json_array_append_new(rows, row) ? hone_fail("out of memory while runs were compared") : HONE_OK;
}

// Objects are compared member by member, under dotted names.
static hone_status add_object(json_t *rows, const char *section, const char *prefix, const json_t *a, const json_t *b)
{
    hone_status status = HONE_OK;
    for (int side = 0; side < 2 && !status; side++) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)(side ? b : a), key, value) {
            if (side && json_object_get(a, key)) continue; // came with a
            char *name = hone_format("%s%s", prefix, key);
            const json_t *x = json_object_get(a, key), *y = json_object_get(b, key);
            if (!name) status = HONE_FAILED;
            else if (json_is_object(x) && json_is_object(y)) {
                char *inner = hone_format("%s.", name);
                status = inner ? add_object(rows, section, inner, x, y) : HONE_FAILED;
                hone_free(inner);
            } else {
                status = add_row(rows, section, name, x, y);
            }
            hone_free(name);
            if (status) break;
        }
    }
    return status;
}

hone_status hone_run_diff(const json_t *a, const json_t *b, json_t **out)
{
    static const struct { const char *section, *key, *title; } single[] = {
        { "program", "hone", "hone" }, { "program", "program_hash", "programs" }, { "data", "data_hash", "data" }, { "machine", "machine.name", "name" },
        { "machine", "machine.cpu", "cpu" }, { "machine", "machine.threads", "threads" }, { "machine", "machine.instructions", "instructions" },
        { "result", "state", "state" }, { "result", "step", "steps" }, { "result", "last.loss", "loss" }, { "result", "held_out.loss", "held-out loss" },
        { "result", "held_out.bits_per_byte", "held-out bits per byte" }, { "result", "best.loss", "best held-out loss" },
        { "result", "last.tokens_per_second", "tokens per second" }, { "result", "last.elapsed_seconds", "seconds" },
        { "result", "result.peak_resident_bytes", "peak bytes" },
    };
    json_t *rows = json_array();
    hone_status status = rows ? add_object(rows, "recipe", "", json_object_get(a, "recipe"), json_object_get(b, "recipe")) : HONE_FAILED;
    for (size_t i = 0; i < sizeof single / sizeof *single && !status; i++)
        status = add_row(rows, single[i].section, single[i].title, follow(a, single[i].key), follow(b, single[i].key));
    if (status) json_decref(rows);
    else *out = rows;
    return status;
}
