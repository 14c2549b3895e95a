// value.c: texts to values, by the type column of keys.def. Strict: all of the text must be the value; a number that does
// not fit its range is refused, never clamped.
#include "base/nearest.h"
#include "recipe/value.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool parse_number(const char *text, double *value, const char **rest)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    // strtod would read "nan", "inf" and hexadecimal too: none of them is a sensible size or rate
    if (end == text || errno == ERANGE || !isfinite(*value) || text[strcspn(text, "xX")]) return false;
    while (*end == ' ') end++;
    *rest = end;
    return true;
}

// A number with a unit behind it: "512MiB", "1.5h", "90"; "50%" is a share of this machine's memory.
static bool parse_unit(const char *text, hone_key_type type, double *value)
{
    static const struct { const char *name; hone_key_type type; double factor; } unit[] = {
        { "", HONE_TYPE_bytes, 1 }, { "B", HONE_TYPE_bytes, 1 },
        { "KiB", HONE_TYPE_bytes, 1024 }, { "MiB", HONE_TYPE_bytes, 1048576 }, { "GiB", HONE_TYPE_bytes, 1073741824 },
        { "kB", HONE_TYPE_bytes, 1e3 }, { "KB", HONE_TYPE_bytes, 1e3 }, { "MB", HONE_TYPE_bytes, 1e6 }, { "GB", HONE_TYPE_bytes, 1e9 },
        { "", HONE_TYPE_time, 1 }, { "s", HONE_TYPE_time, 1 }, { "m", HONE_TYPE_time, 60 }, { "min", HONE_TYPE_time, 60 },
        { "h", HONE_TYPE_time, 3600 }, { "d", HONE_TYPE_time, 86400 },
    };
    const char *rest;
    if (!parse_number(text, value, &rest)) return false;
    if (type == HONE_TYPE_bytes && strcmp(rest, "%") == 0) { *value = floor(*value / 100 * (double)hone_memory_limit_bytes()); return true; }
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
        if (unit[i].type == type && strcmp(rest, unit[i].name) == 0) { *value *= unit[i].factor; return true; }
    return false;
}

static bool parse_bool(const char *text, bool *value)
{
    static const char *const yes[] = { "true", "True", "TRUE", "yes", "on" }, *const no[] = { "false", "False", "FALSE", "no", "off" };
    for (int i = 0; i < 5; i++) {
        if (strcmp(text, yes[i]) == 0) { *value = true; return true; }
        if (strcmp(text, no[i]) == 0) { *value = false; return true; }
    }
    return false;
}

// Is the value in the interval of keys.def, such as "(0,1]"?
static bool in_range(const char *range, double value)
{
    if (!range[0]) return true;
    const char *comma = strchr(range, ',');
    if (comma > range + 1) {
        double low = strtod(range + 1, NULL);
        if (value < low || (value == low && range[0] == '(')) return false;
    }
    if (comma[1] != ')' && comma[1] != ']') {
        double high = strtod(comma + 1, NULL);
        if (value > high || (value == high && range[strlen(range) - 1] == ')')) return false;
    }
    return true;
}

static hone_status fail_range(const hone_key *key, const char *text)
{
    return hone_fail("%s is %s%s%s; it must lie in %s", key->name, text, key->unit[0] ? " " : "", key->unit, key->range);
}

hone_status hone_key_choose(const hone_key *key, const char *called, const char *text, hone_key_enum *chosen)
{
    const char *name[HONE_CHOICE_COUNT];
    int count = 0;
    for (int c = 0; c < HONE_CHOICE_COUNT; c++) {
        if (!hone_choice_of(key, (hone_choice)c)) continue;
        name[count++] = hone_choice_name((hone_choice)c);
        if (strcmp(text, name[count - 1]) == 0) { *chosen = c; return HONE_OK; }
    }
    hone_buffer choices = { 0 };
    if (hone_key_choices(key, ", ", &choices) != HONE_OK) return HONE_FAILED;
    const char *near = hone_nearest(text, name, count);
    hone_fail("%s: '%s' is not one of %s%s%s%s", called, text, choices.data, near ? "; did you mean " : "", near ? near : "",
              near ? "?" : "");
    hone_buffer_release(&choices);
    return HONE_FAILED;
}

hone_status hone_value_append(hone_recipe *recipe, const hone_key *key, const char *text)
{
    hone_list *list = hone_value_at(recipe, key);
    char **item = hone_realloc(list->item, (size_t)list->count + 1, sizeof *item);
    if (!item) return HONE_FAILED;
    list->item = item;
    if (!(item[list->count] = hone_strdup(text))) return HONE_FAILED;
    list->count++;
    return HONE_OK;
}

hone_status hone_value_set(hone_recipe *recipe, const hone_key *key, const char *text)
{
    void *at = hone_value_at(recipe, key);
    const char *rest;
    double number;
    switch (key->type) {
    case HONE_TYPE_int:
        // 1e6 and 3.2e7 are welcome where they are whole numbers
        if (!parse_number(text, &number, &rest) || *rest || number != floor(number) || fabs(number) > 9007199254740992.0)
            return hone_fail("%s: '%s' is not a whole number", key->name, text);
        if (!in_range(key->range, number)) return fail_range(key, text);
        *(int64_t *)at = (int64_t)number;
        return HONE_OK;
    case HONE_TYPE_real:
        if (!parse_number(text, &number, &rest) || *rest) return hone_fail("%s: '%s' is not a number", key->name, text);
        if (!in_range(key->range, number)) return fail_range(key, text);
        *(double *)at = number;
        return HONE_OK;
    case HONE_TYPE_bytes: case HONE_TYPE_time:
        if (!parse_unit(text, key->type, &number))
            return hone_fail("%s: '%s' is not a %s", key->name, text,
                             key->type == HONE_TYPE_bytes ? "size in bytes (such as 512MiB, 4GB or 50%)" : "time (such as 90s, 5m or 1.5h)");
        if (!in_range(key->range, number)) return fail_range(key, text);
        if (key->type == HONE_TYPE_time) *(double *)at = number;
        else if (number < 9e18) *(int64_t *)at = (int64_t)number;
        else return fail_range(key, text);
        return HONE_OK;
    case HONE_TYPE_bool:
        if (parse_bool(text, at)) return HONE_OK;
        return hone_fail("%s: '%s' is neither true nor false", key->name, text);
    case HONE_TYPE_text: {
        char *copy = hone_strdup(text);
        if (!copy) return HONE_FAILED;
        hone_free(*(char **)at);
        *(char **)at = copy;
        return HONE_OK;
    }
    case HONE_TYPE_enum:
        return hone_key_choose(key, key->name, text, at);
    case HONE_TYPE_list:
        hone_value_release(recipe, key);
        return text[0] ? hone_value_append(recipe, key, text) : HONE_OK;
    case HONE_TYPE_map:
        return hone_fail("%s: '%s' is not a map of keys and values", key->name, text);
    case HONE_TYPE_maps:
        return hone_fail("%s: '%s' is not a list of maps (`- path: ...`)", key->name, text);
    }
    return HONE_FAILED;
}

void hone_value_release(hone_recipe *recipe, const hone_key *key)
{
    void *at = hone_value_at(recipe, key);
    if (key->type == HONE_TYPE_text) {
        hone_free(*(char **)at);
        *(char **)at = NULL;
    } else if (key->type == HONE_TYPE_list) {
        hone_list *list = at;
        for (int64_t i = 0; i < list->count; i++) hone_free(list->item[i]);
        hone_free(list->item);
        *list = (hone_list){ 0 };
    } else if (key->type == HONE_TYPE_map || key->type == HONE_TYPE_maps) {
        json_decref(*(json_t **)at);
        *(json_t **)at = NULL;
    }
}

hone_status hone_value_defaults(hone_recipe *recipe)
{
    for (int k = 0; k < HONE_KEY_COUNT; k++) {
        const hone_key *key = &hone_key_table[k];
        if (key->type == HONE_TYPE_map || key->type == HONE_TYPE_maps) {
            if (!(*(json_t **)hone_value_at(recipe, key) = key->type == HONE_TYPE_map ? json_object() : json_array())) return hone_fail("out of memory while reading a recipe");
        } else if (hone_value_set(recipe, key, key->fallback) != HONE_OK) {
            return HONE_FAILED;
        }
    }
    return HONE_OK;
}

json_t *hone_value_plain_json(const char *text)
{
    bool truth;
    double number;
    const char *rest;
    if (!text[0] || strcmp(text, "~") == 0 || strcmp(text, "null") == 0) return json_null();
    if (parse_bool(text, &truth)) return json_boolean(truth);
    if (!parse_number(text, &number, &rest) || *rest) return json_string(text);
    if (!text[strcspn(text, ".eE")]) return json_integer(strtoll(text, NULL, 10));
    return json_real(number);
}
