// yaml.c: YAML documents and key=value overrides into a recipe, remembering where each value stood.
//
// libyaml's document API gives nodes with marks; pairs keep their order, so a key given twice is seen. Aliases are
// resolved, with a bound on what they may expand to.
#include "base/file.h"
#include "base/nearest.h"
#include "recipe/value.h"
#include <stdarg.h>
#include <string.h>
#include <yaml.h>

typedef struct reader {
    hone_recipe *recipe;
    yaml_document_t document;
    const char *text;          // the source, for quoting lines
    bool command_line;
    int column0;               // where the source stands in the user's line (overrides: behind the '=')
    int budget;                // nodes that may still be converted
} reader;

// Copies line `line` (from 0) of the source.
static char *copy_line(const char *text, size_t line)
{
    for (; line > 0; line--) {
        const char *next = strchr(text, '\n');
        if (!next) break;
        text = next + 1;
    }
    return hone_format("%.*s", (int)strcspn(text, "\r\n"), text);
}

static hone_place place_of(const reader *r, const char *line_text, yaml_mark_t from, yaml_mark_t to)
{
    hone_place place = { .text = line_text, .line = r->command_line ? 0 : (int)from.line + 1, .column = (int)from.column + r->column0 };
    if (to.line == from.line) place.length = (int)(to.column - from.column);
    return place; // a value over several lines: length 0, one caret
}

// "where: message" + the line + a caret. message: what hone_error() holds.
static hone_status fail_at(const hone_recipe *recipe, const hone_place *place)
{
    hone_buffer out = { 0 };
    hone_status ok = place->line ? hone_buffer_print(&out, "%s:%d: ", recipe->path, place->line) : hone_buffer_print(&out, "command line: ");
    if (ok == HONE_OK) ok = hone_buffer_print(&out, "%s\n    %s\n    %*s^", hone_error(), place->text, place->column, "");
    for (int i = 1; i < place->length && ok == HONE_OK; i++) ok = hone_buffer_append(&out, "~", 1);
    if (ok == HONE_OK) hone_fail("%s", out.data);
    hone_buffer_release(&out);
    return HONE_FAILED;
}

static hone_entry *find_entry(const hone_recipe *recipe, hone_key_id key, const char *member)
{
    for (int64_t i = 0; i < recipe->n_entry; i++) {
        hone_entry *e = &recipe->entry[i];
        if (e->key == key && (member ? e->member && strcmp(e->member, member) == 0 : !e->member)) return e;
    }
    return NULL;
}

bool hone_recipe_given(const hone_recipe *recipe, hone_key_id key)
{
    for (int64_t i = 0; i < recipe->n_entry; i++)
        if (recipe->entry[i].key == key) return true;
    return false;
}

static hone_status unknown_key(const char *name)
{
    const char *all[HONE_KEY_COUNT];
    for (int k = 0; k < HONE_KEY_COUNT; k++) all[k] = hone_key_table[k].name;
    const char *near = hone_nearest(name, all, HONE_KEY_COUNT);
    for (int k = 0; k < HONE_KEY_COUNT && !near && strlen(name) >= 4; k++) // "batch_size", short for a longer name
        if (strstr(all[k], name)) near = all[k];
    if (near) return hone_fail("%s is not a key; did you mean %s?", name, near);
    return hone_fail("%s is not a key; `hone schema --format text` lists them all", name);
}

hone_status hone_recipe_fail(const hone_recipe *recipe, hone_key_id key, const char *member, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    hone_fail("%s", message);
    const hone_entry *entry = member ? find_entry(recipe, key, member) : NULL;
    if (!entry) entry = find_entry(recipe, key, NULL);
    if (entry) return fail_at(recipe, &entry->value);
    return hone_fail("%s: %s", recipe->path[0] ? recipe->path : "command line", message);
}

hone_status hone_recipe_fail_member(const hone_recipe *recipe, hone_key_id key, const char *member, const json_t *known, const char *of)
{
    const char *name[256], *each;
    int count = 0;
    json_t *unused;
    json_object_foreach((json_t *)(uintptr_t)known, each, unused) if (count < 256) name[count++] = each;
    const char *dot = strrchr(member, '.'), *own = dot ? dot + 1 : member; // "2.weight": of a list of maps
    const char *near = hone_nearest(own, name, count);
    hone_fail("%s is not a key of %s%s%s%s", own, of, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    const hone_entry *entry = find_entry(recipe, key, member);
    return entry ? fail_at(recipe, &entry->name) : HONE_FAILED;
}

// Remembers a given key, in place of an earlier one (the command line after the file). line_text is taken over.
static hone_status remember(hone_recipe *recipe, hone_key_id key, const char *member, char *line_text, hone_place name, hone_place value)
{
    hone_entry *entry = find_entry(recipe, key, member);
    if (!entry) {
        char *copy = member ? hone_strdup(member) : NULL;
        if ((member && !copy) || hone_grow(&recipe->entry, recipe->n_entry, &recipe->capacity, sizeof *entry) != HONE_OK) {
            hone_free(copy);
            hone_free(line_text);
            return HONE_FAILED;
        }
        entry = &recipe->entry[recipe->n_entry++];
        *entry = (hone_entry){ .key = key, .member = copy };
    }
    hone_free(entry->line_text);
    entry->line_text = line_text;
    entry->name = name;
    entry->value = value;
    return HONE_OK;
}

static const char *scalar(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && strlen((const char *)node->data.scalar.value) == node->data.scalar.length
               ? (const char *)node->data.scalar.value : NULL;
}

// Names in maps, in bytes. YAML reads no key of more than 1,024 characters, and in the JSON that checkpoints keep of a recipe a
// byte may take six.
enum { LONGEST_NAME = 100 };
static bool fits_as_name(const char *name)
{
    const size_t length = strlen(name);
    if (length > LONGEST_NAME) hone_fail("a name of %zu bytes in a map; the longest may have %d", length, LONGEST_NAME);
    return length <= LONGEST_NAME;
}

// A node as JSON; NULL with hone_error() set. Depth is bounded by libyaml, aliased repetition by the budget.
static json_t *to_json(reader *r, int index)
{
    yaml_node_t *node = yaml_document_get_node(&r->document, index);
    if (r->budget-- <= 0) { hone_fail("too large: more than 10000 values (does an alias contain itself?)"); return NULL; }
    if (node->type == YAML_SCALAR_NODE) {
        const char *text = scalar(node);
        if (!text) { hone_fail("a zero byte in a value"); return NULL; }
        json_t *value = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? hone_value_plain_json(text) : json_string(text);
        if (!value) hone_fail("'%s' is not UTF-8", text);
        return value;
    }
    json_t *out = node->type == YAML_SEQUENCE_NODE ? json_array() : json_object();
    if (node->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
            json_t *value = to_json(r, *item);
            if (!value || json_array_append_new(out, value) != 0) { json_decref(out); return NULL; }
        }
        return out;
    }
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const char *name = scalar(yaml_document_get_node(&r->document, pair->key));
        if (!name || json_object_get(out, name)) {
            hone_fail("%s%s", name ? name : "a key", name ? " is given twice" : " is not a text");
            json_decref(out);
            return NULL;
        }
        json_t *value = fits_as_name(name) ? to_json(r, pair->value) : NULL;
        if (!value || json_object_set_new(out, name, value) != 0) { json_decref(out); return NULL; }
    }
    return out;
}

// item: of a list of maps, -1 for a map of its own.
static hone_status set_map(reader *r, const hone_key *key, json_t *map, int item, yaml_node_t *node)
{
    hone_status status = HONE_OK;
    hone_key_id id = (hone_key_id)(key - hone_key_table);
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top && status == HONE_OK; pair++) {
        yaml_node_t *name = yaml_document_get_node(&r->document, pair->key), *value = yaml_document_get_node(&r->document, pair->value);
        char *line = copy_line(r->text, name->start_mark.line);
        if (!line) return HONE_FAILED;
        hone_place at = place_of(r, line, name->start_mark, name->end_mark), value_at = at;
        if (value->start_mark.line == name->start_mark.line) value_at = place_of(r, line, value->start_mark, value->end_mark);
        const char *member = scalar(name);
        json_t *json = NULL;
        if (!member) hone_fail("a key of %s is not a text", key->name);
        else if (json_object_get(map, member) && !r->command_line) hone_fail("%s is given twice", member);
        else if (fits_as_name(member)) json = to_json(r, pair->value);
        if (!json) {
            status = fail_at(r->recipe, &at);
            hone_free(line);
        } else if (json_object_set_new(map, member, json) != 0) {
            hone_free(line);
            status = hone_fail("%s: '%s' is not UTF-8", key->name, member);
        } else {
            char *name_in_list = item >= 0 ? hone_format("%d.%s", item, member) : NULL;
            if (item >= 0 && !name_in_list) { hone_free(line); return HONE_FAILED; }
            status = remember(r->recipe, id, item >= 0 ? name_in_list : member, line, at, value_at);
            hone_free(name_in_list);
        }
    }
    return status;
}

// A list of maps, in place of what an earlier one said.
static hone_status set_maps(reader *r, const hone_key *key, yaml_node_t *node)
{
    json_t *list = *(json_t **)hone_value_at(r->recipe, key);
    json_array_clear(list);
    int item = 0;
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top; i++, item++) {
        yaml_node_t *each = yaml_document_get_node(&r->document, *i);
        json_t *map = json_object();
        if (!map || json_array_append_new(list, map)) return hone_fail("out of memory while reading a recipe");
        if (each->type != YAML_MAPPING_NODE) {
            char *line = copy_line(r->text, each->start_mark.line);
            hone_fail("%s: item %d is not a map of keys and values", key->name, item + 1);
            hone_place at = place_of(r, line ? line : "", each->start_mark, each->end_mark);
            fail_at(r->recipe, &at);
            hone_free(line);
            return HONE_FAILED;
        }
        hone_status status = set_map(r, key, map, item, each);
        if (status) return status;
    }
    return HONE_OK;
}

// One `key: value`. The message has no place yet.
static hone_status set_node(reader *r, const hone_key *key, yaml_node_t *value)
{
    if (key->type == HONE_TYPE_list && value->type == YAML_SEQUENCE_NODE) {
        hone_value_release(r->recipe, key);
        for (yaml_node_item_t *item = value->data.sequence.items.start; item < value->data.sequence.items.top; item++) {
            const char *text = scalar(yaml_document_get_node(&r->document, *item));
            if (!text) return hone_fail("%s: item %d is not a text", key->name, (int)(item - value->data.sequence.items.start) + 1);
            if (hone_value_append(r->recipe, key, text) != HONE_OK) return HONE_FAILED;
        }
        return HONE_OK;
    }
    const char *text = scalar(value);
    if (!text) return hone_fail("%s: one value is wanted, not a %s", key->name, value->type == YAML_SEQUENCE_NODE ? "list" : "map");
    bool plain = value->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (plain && (!text[0] || strcmp(text, "~") == 0 || strcmp(text, "null") == 0))
        return hone_fail("%s has no value; leave the key out for its default", key->name);
    return hone_value_set(r->recipe, key, text);
}

static hone_status read_pair(reader *r, yaml_node_t *name, yaml_node_t *value)
{
    char *line = copy_line(r->text, name->start_mark.line);
    if (!line) return HONE_FAILED;
    hone_place at = place_of(r, line, name->start_mark, name->end_mark), value_at = at;
    if (value->start_mark.line == name->start_mark.line && value->end_mark.column > value->start_mark.column)
        value_at = place_of(r, line, value->start_mark, value->end_mark);
    hone_status status = HONE_FAILED;
    const char *text = scalar(name);
    int k = 0;
    while (text && k < HONE_KEY_COUNT && strcmp(hone_key_table[k].name, text) != 0) k++;
    const hone_entry *earlier = k < HONE_KEY_COUNT && text ? find_entry(r->recipe, (hone_key_id)k, NULL) : NULL;
    if (!text) {
        hone_fail("a key must be a plain text");
    } else if (k == HONE_KEY_COUNT) {
        unknown_key(text);
    } else if (earlier) {
        hone_fail("%s is given twice, first in line %d", text, earlier->name.line);
    } else {
        const hone_key *key = &hone_key_table[k];
        bool map = key->type == HONE_TYPE_map && value->type == YAML_MAPPING_NODE, maps = key->type == HONE_TYPE_maps && value->type == YAML_SEQUENCE_NODE;
        // a member's failure has its own place
        status = map ? set_map(r, key, *(json_t **)hone_value_at(r->recipe, key), -1, value) : maps ? set_maps(r, key, value) : set_node(r, key, value);
        if (status == HONE_OK) return remember(r->recipe, (hone_key_id)k, NULL, line, at, value_at);
        if (map || maps) { hone_free(line); return status; }
        at = value_at;
    }
    fail_at(r->recipe, &at);
    hone_free(line);
    return HONE_FAILED;
}

// Loads one document. A syntax error is given the place that libyaml names.
static hone_status parse(reader *r, size_t size)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return hone_fail("out of memory while reading a recipe");
    yaml_parser_set_input_string(&parser, (const unsigned char *)r->text, size);
    hone_status status = HONE_OK;
    if (!yaml_parser_load(&parser, &r->document)) {
        yaml_mark_t mark = parser.problem_mark;
        char *line = copy_line(r->text, mark.line);
        hone_fail("%s", parser.problem ? parser.problem : "out of memory");
        hone_place at = place_of(r, line ? line : "", mark, mark);
        status = fail_at(r->recipe, &at);
        hone_free(line);
    }
    yaml_parser_delete(&parser);
    return status;
}

hone_status hone_yaml_parse(hone_recipe *recipe, const char *path, const char *text, size_t size)
{
    reader r = { .recipe = recipe, .text = text, .budget = 10000 };
    if (strlen(text) != size) return hone_fail("%s: a zero byte at %zu: this is not a YAML text", path, strlen(text));
    hone_status status = parse(&r, size);
    if (status != HONE_OK) return status;
    yaml_node_t *root = yaml_document_get_root_node(&r.document);
    if (!root) status = hone_fail("%s: the recipe is empty; `hone schema --format text` lists the keys", path);
    else if (root->type != YAML_MAPPING_NODE) status = hone_fail("%s:%d: a recipe is a list of `key: value` lines", path, (int)root->start_mark.line + 1);
    else
        for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top && status == HONE_OK; pair++)
            status = read_pair(&r, yaml_document_get_node(&r.document, pair->key), yaml_document_get_node(&r.document, pair->value));
    yaml_document_delete(&r.document);
    return status;
}

hone_status hone_yaml_load(hone_recipe *recipe, const char *path)
{
    char *text;
    size_t size;
    if (hone_file_read(path, &text, &size) != HONE_OK) return HONE_FAILED;
    hone_status status = hone_yaml_parse(recipe, path, text, size);
    hone_free(text);
    return status;
}

// The value of an override that has structure ("[a, b]", "{hidden_size: 64}") or stands for a map's member.
static hone_status override_yaml(hone_recipe *recipe, const hone_key *key, const char *member, const char *value, int column)
{
    reader r = { .recipe = recipe, .text = value, .command_line = true, .column0 = column, .budget = 10000 };
    if (parse(&r, strlen(value)) != HONE_OK) return HONE_FAILED;
    yaml_node_t *root = yaml_document_get_root_node(&r.document);
    hone_status status = HONE_FAILED;
    if (!root) {
        hone_fail("%s has no value", member ? member : key->name);
    } else if (member) {
        json_t *json = fits_as_name(member) ? to_json(&r, 1) : NULL;
        if (json && json_object_set_new(*(json_t **)hone_value_at(recipe, key), member, json) == 0) status = HONE_OK;
    } else if (key->type == HONE_TYPE_map && root->type == YAML_MAPPING_NODE) {
        status = set_map(&r, key, *(json_t **)hone_value_at(recipe, key), -1, root);
    } else if (key->type == HONE_TYPE_maps && root->type == YAML_SEQUENCE_NODE) {
        status = set_maps(&r, key, root);
    } else {
        status = set_node(&r, key, root);
    }
    yaml_document_delete(&r.document);
    return status;
}

hone_status hone_yaml_override(hone_recipe *recipe, const char *text)
{
    size_t name_length = strcspn(text, "=");
    if (!text[name_length]) return hone_fail_usage("'%s' is neither an option nor key=value", text);
    hone_error_clear();
    json_t *proof = json_string(text); // as logs and checkpoints will write it
    if (!proof) return *hone_error() ? HONE_FAILED : hone_fail("command line: %.*s: its value is not UTF-8", (int)name_length, text);
    json_decref(proof);
    char *name = hone_format("%.*s", (int)name_length, text), *line = hone_strdup(text);
    if (!name || !line) { hone_free(name); hone_free(line); return HONE_FAILED; }
    const char *value = text + name_length + 1;
    hone_place at = { .text = line, .length = (int)name_length };
    hone_place value_at = { .text = line, .column = (int)name_length + 1, .length = (int)strlen(value) };
    char *member = strchr(name, '.');
    if (member) *member++ = '\0';
    int k = 0;
    while (k < HONE_KEY_COUNT && strcmp(hone_key_table[k].name, name) != 0) k++;
    hone_status status;
    if (k == HONE_KEY_COUNT || (member && hone_key_table[k].type != HONE_TYPE_map)) {
        if (k == HONE_KEY_COUNT) unknown_key(name);
        else hone_fail("%s has no members", name);
        status = fail_at(recipe, &at);
    } else {
        const hone_key *key = &hone_key_table[k];
        bool structured = member || key->type == HONE_TYPE_map || key->type == HONE_TYPE_maps || (key->type == HONE_TYPE_list && value[0] == '[');
        status = structured ? override_yaml(recipe, key, member, value, value_at.column) : hone_value_set(recipe, key, value);
        if (status == HONE_OK) {
            status = remember(recipe, (hone_key_id)k, member, line, at, value_at);
            line = NULL;
        } else if (!strchr(hone_error(), '\n')) { // no place yet
            fail_at(recipe, &value_at);
        }
    }
    hone_free(name);
    hone_free(line);
    return status;
}
