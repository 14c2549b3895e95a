// keys.c: keys.def as a table, and what is printed from it: help for people, JSON schema for editors.
#include "recipe/value.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const hone_key hone_key_table[HONE_KEY_COUNT] = {
#define GROUP(title)
#define KEY(type_, name_, unit_, fallback_, range_, what_) \
    [HONE_KEY_##name_] = { .name = #name_, .unit = unit_, .fallback = fallback_, .range = range_, .what = what_, \
                           .type = HONE_TYPE_##type_, .offset = offsetof(hone_recipe, name_) },
#define CHOICE(key, value)
#include "recipe/keys.def"
};

static const struct { const char *key, *name; } choice_table[HONE_CHOICE_COUNT] = {
#define GROUP(title)
#define KEY(...)
#define CHOICE(key_, value_) { #key_, #value_ },
#include "recipe/keys.def"
};

// The table in print order: a row without a key is a heading.
static const struct { const char *title; int key; } print_table[] = {
#define GROUP(title_) { title_, -1 },
#define KEY(type, name, ...) { NULL, HONE_KEY_##name },
#define CHOICE(key, value)
#include "recipe/keys.def"
};

const char *hone_key_group(hone_key_id key)
{
    const char *title = "";
    for (size_t i = 0; i < sizeof print_table / sizeof *print_table; i++) {
        if (print_table[i].title) title = print_table[i].title;
        else if (print_table[i].key == (int)key) break;
    }
    return title;
}

static const char *const type_name[] = { "int", "real", "bool", "text", "enum", "list", "bytes", "time", "map", "maps" };

const char *hone_choice_name(hone_choice choice) { return choice_table[choice].name; }

bool hone_choice_of(const hone_key *key, hone_choice choice) { return strcmp(choice_table[choice].key, key->name) == 0; }

hone_status hone_key_choices(const hone_key *key, const char *separator, hone_buffer *out)
{
    const char *between = "";
    for (int c = 0; c < HONE_CHOICE_COUNT; c++) {
        if (!hone_choice_of(key, (hone_choice)c)) continue;
        if (hone_buffer_print(out, "%s%s", between, choice_table[c].name) != HONE_OK) return HONE_FAILED;
        between = separator;
    }
    return HONE_OK;
}

hone_status hone_key_print_kind(const hone_key *key, hone_buffer *out)
{
    if (key->type == HONE_TYPE_enum) return hone_key_choices(key, "|", out);
    return hone_buffer_print(out, "%s%s%s", type_name[key->type], key->range[0] ? " " : "", key->range);
}

hone_status hone_recipe_print_keys(hone_buffer *out)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < sizeof print_table / sizeof *print_table && status == HONE_OK; i++) {
        if (print_table[i].title) {
            status = hone_buffer_print(out, "%s%s\n", i ? "\n" : "", print_table[i].title);
            continue;
        }
        const hone_key *key = &hone_key_table[print_table[i].key];
        hone_buffer kind = { 0 };
        status = hone_key_print_kind(key, &kind);
        if (status == HONE_OK)
            status = hone_buffer_print(out, "  %-28s %-28s %-10s %s%s%s%s\n", key->name, kind.data,
                                       key->fallback[0] ? key->fallback : "-", key->unit[0] ? "[" : "", key->unit,
                                       key->unit[0] ? "] " : "", key->what);
        hone_buffer_release(&kind);
    }
    return status;
}

// "[1,)" -> minimum 1; "(0,1]" -> exclusiveMinimum 0, maximum 1.
static int schema_range(json_t *property, const char *range)
{
    if (!range[0]) return 0;
    const char *comma = strchr(range, ',');
    int bad = 0;
    if (comma > range + 1)
        bad |= json_object_set_new(property, range[0] == '(' ? "exclusiveMinimum" : "minimum", json_real(strtod(range + 1, NULL)));
    if (comma[1] != ')' && comma[1] != ']')
        bad |= json_object_set_new(property, range[strlen(range) - 1] == ')' ? "exclusiveMaximum" : "maximum",
                                   json_real(strtod(comma + 1, NULL)));
    return bad;
}

static json_t *schema_property(const hone_recipe *defaults, const hone_key *key)
{
    static const char *const json_type[] = { "integer", "number", "boolean", "string", "string", "array", NULL, NULL, "object", "array" };
    json_t *property = json_object();
    int bad = json_object_set_new(property, "description",
                                  json_sprintf("%s%s%s%s", key->what, key->unit[0] ? " [" : "", key->unit, key->unit[0] ? "]" : ""));
    const void *value = hone_value_at(defaults, key);
    if (json_type[key->type]) bad |= json_object_set_new(property, "type", json_string(json_type[key->type]));
    else bad |= json_object_set_new(property, "type", json_pack("[s, s]", "number", "string")); // "512MiB", "5m"
    switch (key->type) {
    case HONE_TYPE_int: bad |= json_object_set_new(property, "default", json_integer(*(const int64_t *)value)); break;
    case HONE_TYPE_bytes: bad |= json_object_set_new(property, "default", json_integer(*(const int64_t *)value)); break;
    case HONE_TYPE_real: case HONE_TYPE_time: bad |= json_object_set_new(property, "default", json_real(*(const double *)value)); break;
    case HONE_TYPE_bool: bad |= json_object_set_new(property, "default", json_boolean(*(const bool *)value)); break;
    case HONE_TYPE_text: case HONE_TYPE_enum: bad |= json_object_set_new(property, "default", json_string(key->fallback)); break;
    case HONE_TYPE_list: case HONE_TYPE_map: case HONE_TYPE_maps: break;
    }
    if (key->type == HONE_TYPE_enum) {
        json_t *values = json_array();
        for (int c = 0; c < HONE_CHOICE_COUNT; c++)
            if (hone_choice_of(key, (hone_choice)c)) bad |= json_array_append_new(values, json_string(hone_choice_name((hone_choice)c)));
        bad |= json_object_set_new(property, "enum", values);
    }
    if (key->type == HONE_TYPE_int || key->type == HONE_TYPE_real) bad |= schema_range(property, key->range);
    if (bad) { json_decref(property); return NULL; }
    return property;
}

hone_status hone_recipe_schema(json_t **out)
{
    hone_recipe defaults = { 0 };
    if (hone_value_defaults(&defaults) != HONE_OK) return HONE_FAILED;
    json_t *properties = json_object();
    int bad = 0;
    for (int k = 0; k < HONE_KEY_COUNT; k++)
        bad |= json_object_set_new(properties, hone_key_table[k].name, schema_property(&defaults, &hone_key_table[k]));
    *out = json_pack("{s:s, s:s, s:s, s:b, s:o}", "$schema", "https://json-schema.org/draft/2020-12/schema", "title",
                     "hone recipe", "type", "object", "additionalProperties", 0, "properties", properties);
    hone_recipe_release(&defaults);
    return bad || !*out ? hone_fail("out of memory while writing the schema of recipes") : HONE_OK;
}

hone_status hone_recipe_to_json(const hone_recipe *recipe, json_t **out)
{
    json_t *object = json_object();
    int bad = !object;
    for (int k = 0; k < HONE_KEY_COUNT; k++) {
        const hone_key *key = &hone_key_table[k];
        const void *value = hone_value_at(recipe, key);
        json_t *item = NULL;
        switch (key->type) {
        case HONE_TYPE_int: case HONE_TYPE_bytes: item = json_integer(*(const int64_t *)value); break;
        case HONE_TYPE_real: case HONE_TYPE_time: item = json_real(*(const double *)value); break;
        case HONE_TYPE_bool: item = json_boolean(*(const bool *)value); break;
        case HONE_TYPE_text: item = json_string(*(char *const *)value); break;
        case HONE_TYPE_enum: item = json_string(hone_choice_name((hone_choice)*(const int *)value)); break;
        case HONE_TYPE_map: case HONE_TYPE_maps: item = json_incref(*(json_t *const *)value); break;
        case HONE_TYPE_list: {
            const hone_list *list = value;
            item = json_array();
            for (int64_t i = 0; i < list->count; i++) bad |= json_array_append_new(item, json_string(list->item[i]));
        }
        }
        bad |= json_object_set_new(object, key->name, item);
    }
    *out = object;
    if (!bad) return HONE_OK;
    json_decref(object);
    return hone_fail("out of memory while writing a recipe as JSON");
}

// The character that c begins with, where JSON leaves it as it is and YAML refuses it or takes it for the end of a line; else 0.
static int32_t unfit_for_yaml(const unsigned char *c, int *length)
{
    *length = c[0] == 0x7f ? 1 : c[0] == 0xc2 ? 2 : 3;
    if (c[0] == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0)) return c[*length - 1];              // DEL, U+0080 to U+009F
    if (c[0] == 0xe2 && c[1] == 0x80 && (c[2] == 0xa8 || c[2] == 0xa9)) return 0x2000 + c[2] - 0x80; // line and paragraph separators
    if (c[0] == 0xef && c[1] == 0xbb && c[2] == 0xbf) return 0xfeff;                       // byte order mark
    return c[0] == 0xef && c[1] == 0xbf && c[2] >= 0xbe ? 0xff00 + c[2] + 0x40 : 0;        // U+FFFE, U+FFFF
}

hone_status hone_recipe_to_text(const hone_recipe *recipe, char **out)
{
    json_t *json;
    if (hone_recipe_to_json(recipe, &json) != HONE_OK) return HONE_FAILED;
    char *plain = hone_json_dumps(json, JSON_COMPACT);
    json_decref(json);
    hone_buffer text = { 0 };
    hone_status status = plain ? HONE_OK : hone_fail("out of memory while writing a recipe as JSON");
    for (const unsigned char *c = (unsigned char *)plain, *from = c; !status; c++) {
        int length = 1;
        const int32_t unfit = *c ? unfit_for_yaml(c, &length) : 0;
        if (*c && !unfit) continue;
        status = hone_buffer_append(&text, from, (size_t)(c - from));
        if (!*c) break;
        if (!status) status = hone_buffer_print(&text, "\\u%04x", (unsigned)unfit);
        c += length - 1, from = c + 1;
    }
    hone_free(plain);
    *out = text.data;
    if (status) hone_buffer_release(&text);
    return status;
}
