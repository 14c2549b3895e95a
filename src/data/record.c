// record.c: see record.h. Numbers and booleans may stand in a template of several parts, as JSON writes them; a template of
// one field wants a text, since anything else there is a mistake.
#include "data/record.h"
#include "text/tokenizer.h"

#include <string.h>

static hone_status replace_invalid(const char *text, size_t size, hone_buffer *out, int64_t *invalid)
{
    for (size_t i = 0; i < size;) {
        size_t valid = hone_utf8_valid(text + i, size - i);
        hone_status status = hone_buffer_append(out, text + i, valid);
        i += valid;
        if (!status && i < size) {
            status = hone_buffer_append(out, "\xef\xbf\xbd", 3);
            ++*invalid;
            i++;
        }
        if (status) return status;
    }
    return HONE_OK;
}

// --- JSON

const json_t *hone_record_field(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    const char *dot = strchr(name, '.');
    if (value || !dot) return value;
    const json_t *inner = json_object_getn(object, name, (size_t)(dot - name));
    return inner ? hone_record_field(inner, dot + 1) : NULL;
}

static hone_status append_value(const json_t *value, const char *name, bool single, const char *where, hone_buffer *out)
{
    if (json_is_string(value)) return hone_buffer_append(out, json_string_value(value), json_string_length(value));
    if (single || json_is_object(value) || json_is_array(value) || json_is_null(value)) return hone_fail("%s: the field \"%s\" is no string", where, name);
    char *text = hone_json_dumps(value, JSON_ENCODE_ANY);
    hone_status status = text ? hone_buffer_append(out, text, strlen(text)) : hone_fail("out of memory");
    hone_free(text);
    return status;
}

hone_status hone_record_fill(const json_t *json, const hone_template *fields, const char *where, const char *remedy, hone_buffer *out)
{
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < fields->count && !status; i++) {
        const hone_template_part *part = &fields->part[i];
        if (!part->field) { status = hone_buffer_append(out, part->text, part->size); continue; }
        const json_t *value = hone_record_field(json, part->text);
        if (!value) return hone_fail("%s: the record has no field \"%s\"; %s", where, part->text, remedy);
        status = append_value(value, part->text, fields->single, where, out);
    }
    return status;
}

hone_status hone_record_json(const char *text, size_t size, const hone_template *fields, const char *where, hone_buffer *out, int64_t *invalid)
{
    json_error_t error;
    hone_buffer mended = { 0 };
    hone_status status = HONE_OK;
    if (hone_utf8_valid(text, size) < size) {
        status = replace_invalid(text, size, &mended, invalid);
        text = mended.data;
        size = mended.size;
    }
    json_t *json = NULL;
    if (!status) {
        hone_error_clear();
        json = json_loadb(text, size, JSON_ALLOW_NUL, &error);
        if (*hone_error()) status = HONE_FAILED; // memory ran out, which jansson may have passed over
    }
    if (!status && !json) status = hone_fail("%s: not valid JSON at column %d: %s", where, error.column, error.text);
    if (!status && !json_is_object(json)) status = hone_fail("%s: the line is no JSON object", where);
    if (!status) status = hone_record_fill(json, fields, where, "name the field that holds the text with --text-field", out);
    json_decref(json);
    hone_buffer_release(&mended);
    return status;
}

// --- CSV: a field is bare, or quoted with quotes doubled inside; a row ends at a line's end outside quotes

enum { FIELD_START, BARE, QUOTED, QUOTE }; // QUOTE: a quote within quotes: the end of the field, or the first of two

bool hone_csv_find_end(hone_csv_scan *scan, const char *text, size_t size, char separator)
{
    int state = scan->state;
    size_t i = scan->at;
    for (; i < size; i++) {
        char c = text[i];
        if (state == QUOTED) {
            if (c == '"') state = QUOTE;
        } else if (c == '\n') {
            scan->at = i + 1;
            scan->state = FIELD_START;
            return true;
        } else if (c == separator) state = FIELD_START;
        else if (c == '"' && state != BARE) state = QUOTED; // opens, or the second of two
        else state = BARE;
    }
    scan->at = i;
    scan->state = state;
    return false;
}

bool hone_csv_open_quote(const hone_csv_scan *scan) { return scan->state == QUOTED; }

// Takes one field from *at; out NULL: only steps over it. *more: a separator stood behind it.
static hone_status take_field(const char *row, size_t size, size_t *at, char separator, const char *where, hone_buffer *out, bool *more)
{
    size_t i = *at;
    hone_status status = HONE_OK;
    if (i < size && row[i] == '"') {
        for (i++;;) {
            const char *quote = memchr(row + i, '"', size - i);
            if (!quote) return hone_fail("%s: a quoted field never closes; quotes inside a field must be doubled", where);
            size_t end = (size_t)(quote - row);
            bool doubled = end + 1 < size && row[end + 1] == '"';
            if (out) status = hone_buffer_append(out, row + i, end - i + doubled);
            if (status) return status;
            i = end + 1 + doubled;
            if (!doubled) break;
        }
        if (i < size && row[i] != separator) return hone_fail("%s: text behind the closing quote of a field; quotes inside a field must be doubled", where);
    } else {
        const char *end = memchr(row + i, separator, size - i);
        size_t stop = end ? (size_t)(end - row) : size;
        if (out) status = hone_buffer_append(out, row + i, stop - i);
        i = stop;
    }
    *more = i < size;
    *at = i + *more;
    return status;
}

static size_t without_line_end(const char *row, size_t size)
{
    if (size && row[size - 1] == '\n') size--;
    if (size && row[size - 1] == '\r') size--;
    return size;
}

hone_status hone_csv_open(hone_csv_header *header, const char *line, size_t size, char separator, const hone_template *fields, const char *where)
{
    hone_buffer name = { 0 };
    bool more = true;
    hone_status status = HONE_OK;
    *header = (hone_csv_header){ hone_alloc((size_t)fields->count, sizeof *header->column), 0 };
    if (!header->column) return HONE_FAILED;
    for (int64_t i = 0; i < fields->count; i++) header->column[i] = -1;
    size = without_line_end(line, size);
    for (size_t at = 0; more && !status; header->n_columns++) {
        name.size = 0;
        if ((status = take_field(line, size, &at, separator, where, &name, &more))) break;
        for (int64_t i = 0; i < fields->count; i++) {
            const hone_template_part *part = &fields->part[i];
            if (part->field && header->column[i] < 0 && part->size == name.size && name.size && !memcmp(part->text, name.data, name.size)) header->column[i] = header->n_columns;
        }
    }
    for (int64_t i = 0; i < fields->count && !status; i++)
        if (fields->part[i].field && header->column[i] < 0)
            status = hone_fail("%s: the header line has no column \"%s\"; name the column that holds the text with --text-field", where, fields->part[i].text);
    hone_buffer_release(&name);
    if (status) hone_csv_close(header);
    return status;
}

void hone_csv_close(hone_csv_header *header)
{
    hone_free(header->column);
    *header = (hone_csv_header){ 0 };
}

hone_status hone_record_csv(const hone_csv_header *header, const char *row, size_t size, char separator, const hone_template *fields, const char *where, hone_buffer *out)
{
    struct { size_t from, to; } place[fields->count]; // in `taken`, of each part that is a field
    memset(place, 0, sizeof place);
    hone_buffer taken = { 0 };
    bool more = true;
    int columns = 0;
    hone_status status = HONE_OK;
    size = without_line_end(row, size);
    for (size_t at = 0; more && !status; columns++) {
        bool wanted = false;
        size_t before = taken.size;
        for (int64_t i = 0; i < fields->count; i++) wanted |= header->column[i] == columns;
        status = take_field(row, size, &at, separator, where, wanted ? &taken : NULL, &more);
        for (int64_t i = 0; i < fields->count; i++)
            if (header->column[i] == columns) { place[i].from = before; place[i].to = taken.size; }
    }
    if (!status && columns != header->n_columns) status = hone_fail("%s: the row has %d columns, the header line has %d", where, columns, header->n_columns);
    for (int64_t i = 0; i < fields->count && !status; i++) {
        const hone_template_part *part = &fields->part[i];
        if (!part->field) status = hone_buffer_append(out, part->text, part->size);
        else if (place[i].to > place[i].from) status = hone_buffer_append(out, taken.data + place[i].from, place[i].to - place[i].from);
    }
    hone_buffer_release(&taken);
    return status;
}
