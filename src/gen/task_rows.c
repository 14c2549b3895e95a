// task_rows.c: see task.h. The ending of a file's name says what its records are: an object a line (.jsonl), a row (.csv), or as
// many lines as there are columns (.txt).
#include "base/file.h"
#include "data/record.h"
#include "gen/task.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

hone_status hone_task_rows_open(hone_task_rows *rows, const char *path, const char *columns)
{
    *rows = (hone_task_rows){ .path = path, .columns = columns };
    return hone_file_read(path, &rows->text, &rows->size);
}

void hone_task_rows_close(hone_task_rows *rows)
{
    hone_free(rows->text);
    *rows = (hone_task_rows){ 0 };
}

static int64_t count_lines(const char *text, size_t size)
{
    int64_t n = 0;
    for (const char *end; size && (end = memchr(text, '\n', size)); n++) {
        size -= (size_t)(end + 1 - text);
        text = end + 1;
    }
    return n;
}

static void set_where(hone_task_rows *r, int64_t line) { snprintf(r->where, sizeof r->where, "%s:%" PRId64, r->path, line); }

// The next line, its end taken off; false behind the last.
static bool take_line(hone_task_rows *r, const char **line, size_t *size)
{
    if (r->at >= r->size) return false;
    *line = r->text + r->at;
    const char *end = memchr(*line, '\n', r->size - r->at);
    *size = end ? (size_t)(end - *line) : r->size - r->at;
    r->at += *size + 1;
    if (*size && (*line)[*size - 1] == '\r') --*size;
    set_where(r, ++r->line);
    return true;
}

static hone_status set_text(json_t *record, const char *key, size_t key_size, const char *text, size_t size, const char *where)
{
    json_t *value = memchr(text, 0, size) ? NULL : json_stringn(text, size);
    if (!value) return *hone_error() ? HONE_FAILED : hone_fail("%s: the text is not valid UTF-8, or has a zero byte in it", where);
    return json_object_setn_new(record, key, key_size, value) ? hone_fail("out of memory") : HONE_OK;
}

static hone_status next_object(hone_task_rows *r, json_t **record)
{
    const char *line;
    size_t size;
    do if (!take_line(r, &line, &size)) return HONE_OK; while (size == 0);
    if (hone_json_parse(r->where, line, size, record)) return HONE_FAILED;
    if (json_is_object(*record)) return HONE_OK;
    json_decref(*record);
    *record = NULL;
    return hone_fail("%s: not a JSON object", r->where);
}

static hone_status next_lines(hone_task_rows *r, json_t **record)
{
    const char *line;
    size_t size;
    json_t *made = json_object();
    hone_status status = made ? HONE_OK : hone_fail("out of memory");
    for (const char *name = r->columns; !status && *name;) {
        size_t length = strcspn(name, ",");
        if (!take_line(r, &line, &size)) {
            if (name > r->columns) status = hone_fail("%s: the file ends within a record; its lines are %s, again and again", r->where, r->columns);
            json_decref(made);
            return status;
        }
        status = set_text(made, name, length, line, size, r->where);
        name += length + (name[length] == ',');
    }
    if (status) json_decref(made); else *record = made;
    return status;
}

static hone_status add_column(json_t *record, const char *columns, const char *name, size_t length, const char *row, size_t size, const char *where)
{
    char key[64];
    hone_template field;
    hone_csv_header header = { 0 };
    hone_buffer text = { 0 };
    snprintf(key, sizeof key, "%.*s", (int)length, name);
    if (hone_template_field(&field, key)) return HONE_FAILED;
    hone_status status = hone_csv_open(&header, columns, strlen(columns), ',', &field, where);
    if (!status) status = hone_record_csv(&header, row, size, ',', &field, where, &text);
    if (!status) status = set_text(record, name, length, text.data ? text.data : "", text.size, where);
    hone_buffer_release(&text);
    hone_csv_close(&header);
    hone_template_release(&field);
    return status;
}

static hone_status next_row(hone_task_rows *r, json_t **record)
{
    if (r->at >= r->size) return HONE_OK;
    hone_csv_scan scan = { 0 };
    const char *row = r->text + r->at;
    set_where(r, r->line + 1);
    size_t size = hone_csv_find_end(&scan, row, r->size - r->at, ',') ? scan.at : r->size - r->at;
    r->at += size;
    r->line += count_lines(row, size);
    json_t *made = json_object();
    hone_status status = made ? HONE_OK : hone_fail("out of memory");
    for (const char *name = r->columns; !status && *name;) {
        size_t length = strcspn(name, ",");
        status = add_column(made, r->columns, name, length, row, size, r->where);
        name += length + (name[length] == ',');
    }
    if (status) json_decref(made); else *record = made;
    return status;
}

hone_status hone_task_rows_next(hone_task_rows *r, json_t **record)
{
    *record = NULL;
    hone_error_clear();
    return ends_in(r->path, ".csv") ? next_row(r, record) : ends_in(r->path, ".txt") ? next_lines(r, record) : next_object(r, record);
}
