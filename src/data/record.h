// record.h: texts out of records: a JSON object (a line of JSONL) or a row of CSV, by a template (template.h).
#pragma once
#include "base/json.h"
#include "data/template.h"

// Appends the text of one JSON object. Bytes that are not UTF-8 become U+FFFD, each counted in *invalid. `where`: "path:line".
hone_status hone_record_json(const char *text, size_t size, const hone_template *fields, const char *where, hone_buffer *out, int64_t *invalid);
// A field of an object, or "a.b" of an object in it; NULL: there is none. And the text of a template, as of an object's line;
// `remedy` ends the message about a field that is not there.
const json_t *hone_record_field(const json_t *object, const char *name);
hone_status hone_record_fill(const json_t *object, const hone_template *fields, const char *where, const char *remedy, hone_buffer *out);

// The columns of a CSV file: column[i] is that of the template's part i, -1 for a literal.
typedef struct hone_csv_header { int *column; int n_columns; } hone_csv_header;
hone_status hone_csv_open(hone_csv_header *header, const char *line, size_t size, char separator, const hone_template *fields, const char *where);
void hone_csv_close(hone_csv_header *header);
// Appends the text of one row, which may span lines.
hone_status hone_record_csv(const hone_csv_header *header, const char *row, size_t size, char separator, const hone_template *fields, const char *where, hone_buffer *out);

// Where the row that begins at text[0] ends: grows *at (starts at 0) as far as `size` reaches. True: *at is behind its end.
// False: more is needed; call again with more text and the same state.
typedef struct hone_csv_scan { size_t at; int state; } hone_csv_scan;
bool hone_csv_find_end(hone_csv_scan *scan, const char *text, size_t size, char separator);
bool hone_csv_open_quote(const hone_csv_scan *scan);    // the text so far ends within quotes
