// lines.h: a JSONL file of texts or ids, one object a line: what generate, score and eval read.
//
//     {"text": "Once upon a time"}
//     {"ids": [1, 403, 407]}
#pragma once
#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer.h"

typedef struct hone_lines {
    const char *path;           // borrowed
    hone_map map;
    size_t at;
    int64_t number;             // of the last line handed out
} hone_lines;

typedef struct hone_line {
    char where[512];            // "path:line", for messages
    json_t *json;               // the object
} hone_line;

hone_status hone_lines_open(hone_lines *lines, const char *path);
void hone_lines_close(hone_lines *lines);
// The next line that is not blank; false at the end or at a line that is no JSON object (*status then says so).
bool hone_lines_next(hone_lines *lines, hone_line *line, hone_status *status);
void hone_line_release(hone_line *line);
// What the line gives: *text (borrowed from the line) under the first of `keys` that is there, or else NULL and *ids from
// "ids" (hone_free(ids->data)). Neither, or of the wrong type: an error that names what was expected.
hone_status hone_line_content(const hone_line *line, const char *const *keys, const char **text, hone_ids *ids);
