// lines.c: see lines.h. The file is mapped and parsed line by line, so its length does not matter.
#include "gen/lines.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

hone_status hone_lines_open(hone_lines *lines, const char *path)
{
    *lines = (hone_lines){ .path = path };
    return hone_map_open(&lines->map, path);
}

void hone_lines_close(hone_lines *lines) { hone_map_close(&lines->map); }

static bool blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) if (!strchr(" \t\r", text[i]) || !text[i]) return false;
    return true;
}

bool hone_lines_next(hone_lines *lines, hone_line *line, hone_status *status)
{
    *status = HONE_OK;
    line->json = NULL;
    while (lines->at < lines->map.size) {
        const char *text = (const char *)lines->map.data + lines->at;
        const char *end = memchr(text, '\n', lines->map.size - lines->at);
        size_t size = end ? (size_t)(end - text) : lines->map.size - lines->at;
        lines->at += size + 1;
        lines->number++;
        if (blank(text, size)) continue;
        snprintf(line->where, sizeof line->where, "%s:%" PRId64, lines->path, lines->number);
        if ((*status = hone_json_parse(line->where, text, size, &line->json))) return false;
        if (json_is_object(line->json)) return true;
        hone_line_release(line);
        *status = hone_fail("%s: not a JSON object; each line must look like {\"text\": \"...\"} or {\"ids\": [1, 2]}", line->where);
        return false;
    }
    return false;
}

void hone_line_release(hone_line *line)
{
    json_decref(line->json);
    line->json = NULL;
}

static hone_status read_ids(const hone_line *line, const json_t *list, hone_ids *ids)
{
    if (!json_is_array(list)) return hone_fail("%s: \"ids\" is not a list of whole numbers", line->where);
    ids->count = (int64_t)json_array_size(list);
    ids->data = hone_alloc((size_t)ids->count + 1, sizeof *ids->data);
    if (!ids->data) return HONE_FAILED;
    for (int64_t i = 0; i < ids->count; i++) {
        const json_t *id = json_array_get(list, (size_t)i);
        json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < INT32_MIN || value > INT32_MAX) {
            hone_free(ids->data);
            *ids = (hone_ids){ 0 };
            return hone_fail("%s: element %" PRId64 " of \"ids\" is not a token id", line->where, i);
        }
        ids->data[i] = (int32_t)value;
    }
    return HONE_OK;
}

hone_status hone_line_content(const hone_line *line, const char *const *keys, const char **text, hone_ids *ids)
{
    *text = NULL;
    for (const char *const *key = keys; *key; key++) {
        const json_t *value = json_object_get(line->json, *key);
        if (!value) continue;
        *text = json_string_value(value);
        return *text ? HONE_OK : hone_fail("%s: \"%s\" is not a string", line->where, *key);
    }
    const json_t *list = json_object_get(line->json, "ids");
    if (list) return read_ids(line, list, ids);
    return hone_fail("%s: has neither \"%s\" nor \"ids\"", line->where, keys[0]);
}
