// json.h: a thin layer over jansson (order of keys kept, errors with path and line).
#pragma once
#include "base/error.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

hone_status hone_json_load(const char *path, json_t **out);                     // json_decref() it
// json_loadb, but sound where memory runs out: NULL and hone_error() set then; without a message the text is no JSON.
json_t *hone_json_scan(const char *text, size_t size, size_t flags, json_error_t *error);
hone_status hone_json_parse(const char *where, const char *text, size_t size, json_t **out);
char *hone_json_dumps(const json_t *value, size_t flags);                       // json_dumps, but NULL and a message where memory runs out; hone_free() it
hone_status hone_json_save(const char *path, const json_t *value);              // indented, by hone_file_write
// Reads object[key]. Absent or null: *out stays as it is, or an error naming `where` and key where `required`.
hone_status hone_json_int(const json_t *object, const char *key, const char *where, bool required, int64_t *out);
hone_status hone_json_real(const json_t *object, const char *key, const char *where, bool required, double *out);
hone_status hone_json_bool(const json_t *object, const char *key, const char *where, bool required, bool *out);
hone_status hone_json_text(const json_t *object, const char *key, const char *where, bool required, const char **out); // borrowed
