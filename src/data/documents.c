// documents.c: see documents.h.
#include "data/documents.h"
#include "data/markup.h"
#include "text/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { READ_BYTES = 1 << 16, DOCUMENT_MOST = 1 << 30 };

static const hone_input *input_of(const hone_document_reader *r) { return &r->options->inputs->input[r->at.file]; }

hone_status hone_document_reader_open(hone_document_reader *reader, const hone_document_options *options, const hone_document_position *position)
{
    *reader = (hone_document_reader){ .options = options, .at = { .line = 1 } };
    size_t n = (size_t)options->inputs->count;
    hone_markup_start();
    reader->header = hone_alloc(n, sizeof *reader->header);
    reader->hash = hone_alloc(n, sizeof *reader->hash);
    if (!reader->header || !reader->hash) {
        hone_document_reader_close(reader);
        return HONE_FAILED;
    }
    if (!position) return HONE_OK;
    reader->at = *position;
    for (int64_t f = 0; f < position->file; f++) reader->read_bytes += options->inputs->input[f].size_bytes;
    return HONE_OK;
}

void hone_document_reader_close(hone_document_reader *reader)
{
    if (reader->open) hone_source_close(&reader->source);
    hone_buffer_release(&reader->pending);
    for (int64_t f = 0; reader->header && f < reader->options->inputs->count; f++) {
        if (reader->header[f]) hone_csv_close(reader->header[f]);
        hone_free(reader->header[f]);
    }
    hone_free(reader->header);
    hone_free(reader->hash);
    *reader = (hone_document_reader){ 0 };
}

void hone_document_batch_release(hone_document_batch *batch)
{
    hone_buffer_release(&batch->bytes);
    hone_free(batch->document);
    *batch = (hone_document_batch){ 0 };
}

// Reads more of the file behind what is pending; what was used is moved out first.
static hone_status fill(hone_document_reader *reader)
{
    hone_buffer *pending = &reader->pending;
    if (reader->used) {
        memmove(pending->data, pending->data + reader->used, pending->size - reader->used);
        pending->size -= reader->used;
        reader->used = 0;
    }
    if (pending->capacity < pending->size + READ_BYTES + 1) {
        size_t capacity = pending->size * 2 + READ_BYTES + 1;
        char *data = hone_realloc(pending->data, capacity, 1);
        if (!data) return HONE_FAILED;
        pending->data = data;
        pending->capacity = capacity;
    }
    size_t got;
    int64_t before = reader->source.file.read_bytes;
    hone_status status = hone_source_read(&reader->source, pending->data + pending->size, READ_BYTES, &got);
    pending->size += got;
    reader->read_bytes += reader->source.file.read_bytes - before;
    reader->ended = !status && got == 0;
    if (reader->ended) reader->hash[reader->at.file] = reader->source.file.hash;
    return status;
}

// --- where documents end

// Where a plain text is cut, given at least 2 * goal bytes of it.
static size_t find_cut(const char *text, size_t goal)
{
    const char *from = text + goal, *hit = memmem(from, goal, "\n\n", 2);
    if (hit) {
        size_t cut = (size_t)(hit - text) + 2;
        while (cut < 2 * goal && text[cut] == '\n') cut++; // all of the blank lines stay with what they end
        return cut;
    }
    if ((hit = memrchr(from, '\n', goal)) || (hit = memrchr(from, ' ', goal))) return (size_t)(hit - text) + 1;
    size_t whole = hone_utf8_whole(text, 2 * goal);
    return whole ? whole : 2 * goal;
}

static hone_status too_long(const hone_document_reader *r, const char *remedy)
{
    return hone_fail("%s:%" PRId64 ": a document of more than 1 GiB begins here; %s", r->source.file.path, r->at.line, remedy);
}

// Size of the next document in pending; more is read until it is known. 0: the file has no more.
static hone_status find_by_size(hone_document_reader *reader, size_t goal, size_t *size)
{
    while (!reader->ended && (goal == 0 || reader->pending.size - reader->used < 2 * goal)) {
        hone_status status = fill(reader);
        if (status) return status;
        if (goal == 0 && reader->pending.size - reader->used > DOCUMENT_MOST) return too_long(reader, "say --document-bytes, or cut the file");
    }
    size_t have = reader->pending.size - reader->used;
    *size = goal && have >= 2 * goal ? find_cut(reader->pending.data + reader->used, goal) : have;
    return HONE_OK;
}

// Up to and with the next `end`; all that is left where there is none. *found: it was there.
static hone_status find_end(hone_document_reader *reader, const char *end, size_t *size, bool *found)
{
    size_t seen = 0, length = strlen(end);
    for (;;) {
        size_t have = reader->pending.size - reader->used;
        const char *from = reader->pending.data + reader->used;
        const char *hit = have <= seen ? NULL : length == 1 ? memchr(from + seen, *end, have - seen) : memmem(from + seen, have - seen, end, length);
        *found = hit != NULL;
        *size = hit ? (size_t)(hit - from) + length : have;
        if (hit || reader->ended) return HONE_OK;
        if (have > DOCUMENT_MOST) return too_long(reader, "is this the right format, or the right separator?");
        seen = have >= length ? have - length + 1 : 0;
        hone_status status = fill(reader);
        if (status) return status;
    }
}

static hone_status find_row(hone_document_reader *reader, char separator, size_t *size)
{
    hone_csv_scan scan = { 0 };
    for (;;) {
        size_t have = reader->pending.size - reader->used;
        bool found = have && hone_csv_find_end(&scan, reader->pending.data + reader->used, have, separator);
        *size = found ? scan.at : have;
        if (found) return HONE_OK;
        if (reader->ended && have && hone_csv_open_quote(&scan))
            return hone_fail("%s:%" PRId64 ": a quoted field of the row that begins here never closes", reader->source.file.path, reader->at.line);
        if (reader->ended) return HONE_OK;
        if (have > DOCUMENT_MOST) return too_long(reader, "does a quoted field never close?");
        hone_status status = fill(reader);
        if (status) return status;
    }
}

// --- JSON: a list, or objects one behind another

static int64_t count_lines(const char *text, size_t size)
{
    int64_t lines = 0;
    for (const char *p = text; (p = memchr(p, '\n', (size_t)(text + size - p))); p++) lines++;
    return lines;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// The first byte at or behind *at that is no blank; -1: the file has none.
static hone_status find_mark(hone_document_reader *reader, size_t *at, int *mark)
{
    for (*mark = -1;;) {
        const char *text = reader->pending.data + reader->used;
        size_t have = reader->pending.size - reader->used;
        while (*at < have && is_space(text[*at])) ++*at;
        if (*at < have) *mark = (unsigned char)text[*at];
        if (*at < have || reader->ended) return HONE_OK;
        hone_status status = fill(reader);
        if (status) return status;
    }
}

static hone_status fail_at(const hone_document_reader *r, size_t at, const char *what)
{
    return hone_fail("%s:%" PRId64 ": %s", r->source.file.path, r->at.line + count_lines(r->pending.data + r->used, at), what);
}

// Behind the object that begins at `from`.
static hone_status find_object_end(hone_document_reader *reader, size_t from, size_t *end)
{
    size_t at = from;
    int64_t depth = 0;
    bool text = false, escaped = false;
    for (;;) {
        const char *p = reader->pending.data + reader->used;
        for (size_t have = reader->pending.size - reader->used; at < have; at++) {
            if (escaped) escaped = false;
            else if (text) { text = p[at] != '"'; escaped = p[at] == '\\'; }
            else if (p[at] == '"') text = true;
            else if (p[at] == '{' || p[at] == '[') depth++;
            else if ((p[at] == '}' || p[at] == ']') && --depth == 0) {
                *end = at + 1;
                return HONE_OK;
            }
        }
        if (reader->ended) return fail_at(reader, from, "the record that begins here never closes; is the file cut short?");
        if (at - from > DOCUMENT_MOST) return too_long(reader, "does it never close?");
        hone_status status = fill(reader);
        if (status) return status;
    }
}

// skip: what stands before the record. All of it where the list ends.
static hone_status find_element(hone_document_reader *reader, size_t *size, size_t *skip)
{
    size_t at = 0;
    int mark;
    char last = reader->last;
    hone_status status = find_mark(reader, &at, &mark);
    if (!status && mark == ',' && reader->list && last == '}') {
        last = ',';
        at++;
        status = find_mark(reader, &at, &mark);
    }
    if (status) return status;
    bool closes = mark == ']' && reader->list && (last == '}' || last == '[');
    if (closes) {
        at++;
        if ((status = find_mark(reader, &at, &mark))) return status;
        if (mark >= 0) return fail_at(reader, at, "something stands behind the end of the list");
    }
    *size = *skip = at;
    if (closes || (mark < 0 && (!reader->list || last == ']'))) return HONE_OK;
    if (mark < 0) return fail_at(reader, at, "the list that this file is does not end; is the file cut short?");
    if (mark != '{' || (reader->list && last == '}')) return fail_at(reader, at, reader->list ? "no record {...} where the list should go on" : "no record {...} here, and no list of them");
    return find_object_end(reader, at, size);
}

static char separator_of(hone_input_format format) { return format == HONE_FORMAT_tsv ? '\t' : ','; }

// skip, cut: bytes at its beginning and end that are no part of the document.
static hone_status find_next(hone_document_reader *reader, size_t *size, size_t *skip, size_t *cut)
{
    const hone_document_options *o = reader->options;
    hone_input_format format = input_of(reader)->format;
    bool found = false;
    hone_status status;
    *skip = *cut = 0;
    switch (format) {
    case HONE_FORMAT_json: return find_element(reader, size, skip);
    case HONE_FORMAT_jsonl: return find_end(reader, "\n", size, &found);
    case HONE_FORMAT_csv: case HONE_FORMAT_tsv: return find_row(reader, separator_of(format), size);
    case HONE_FORMAT_text:
        if (!o->separator) return find_by_size(reader, o->document_bytes, size);
        status = find_end(reader, o->separator, size, &found);
        if (found) *cut = strlen(o->separator);
        return status;
    default: return find_by_size(reader, 0, size);
    }
}

// --- files

static void use(hone_document_reader *reader, size_t size)
{
    reader->at.line += count_lines(reader->pending.data + reader->used, size);
    reader->at.offset += (int64_t)size;
    for (size_t i = size; i-- > 0;)
        if (!is_space(reader->pending.data[reader->used + i])) {
            reader->last = reader->pending.data[reader->used + i];
            break;
        }
    reader->used += size;
}

static hone_status begin_list(hone_document_reader *reader)
{
    size_t at = 0;
    int mark;
    hone_status status = find_mark(reader, &at, &mark);
    reader->list = mark == '[';
    reader->last = 0;
    if (reader->list) use(reader, at + 1);
    return status;
}

// What stands before the first document: a byte order mark of records, the bracket of a list, the header line of CSV.
static hone_status begin_records(hone_document_reader *reader)
{
    hone_input_format format = input_of(reader)->format;
    if (format == HONE_FORMAT_text) return HONE_OK;
    while (!reader->ended && reader->pending.size < 3) {
        hone_status status = fill(reader);
        if (status) return status;
    }
    if (reader->pending.size >= 3 && memcmp(reader->pending.data, "\xef\xbb\xbf", 3) == 0) use(reader, 3);
    if (format == HONE_FORMAT_json) return begin_list(reader);
    if (format != HONE_FORMAT_csv && format != HONE_FORMAT_tsv) return HONE_OK;
    size_t size;
    char where[1024];
    hone_status status = find_row(reader, separator_of(format), &size);
    if (status) return status;
    snprintf(where, sizeof where, "%s:1", reader->source.file.path);
    hone_csv_header **header = &reader->header[reader->at.file];
    if (!*header) {
        if (!(*header = hone_alloc(1, sizeof **header))) return HONE_FAILED;
        status = hone_csv_open(*header, reader->pending.data + reader->used, size, separator_of(format), reader->options->fields, where);
    }
    if (!status) use(reader, size);
    return status;
}

static hone_status pass_over(hone_document_reader *reader, const hone_document_position *to)
{
    while (reader->at.offset < to->offset) {
        size_t have = reader->pending.size - reader->used, left = (size_t)(to->offset - reader->at.offset);
        if (have == 0 && reader->ended) return hone_fail("%s: it ends before byte %" PRId64 ", where the work was to go on", reader->source.file.path, to->offset);
        if (have == 0) {
            hone_status status = fill(reader);
            if (status) return status;
            continue;
        }
        use(reader, have < left ? have : left);
    }
    reader->at.line = to->line;
    return HONE_OK;
}

static hone_status open_file(hone_document_reader *reader)
{
    hone_document_position to = reader->at;
    const hone_input *input = input_of(reader);
    hone_status status = hone_source_open(&reader->source, input->path);
    if (status) return status;
    reader->open = true;
    reader->ended = false;
    reader->pending.size = reader->used = 0;
    reader->read_bytes += reader->source.file.read_bytes;
    reader->at = (hone_document_position){ .file = to.file, .line = 1 };
    const hone_reader *file = &reader->source.file;
    if (file->regular && (file->size_bytes != input->size_bytes || file->time_ns != input->time_ns))
        return hone_fail("%s: it changed since the work began (%" PRId64 " bytes then, %" PRId64 " now); wait until it is written whole, then begin again",
                         input->path, input->size_bytes, file->size_bytes);
    if (!(status = fill(reader))) status = begin_records(reader); // from here on pending is there, if empty
    return !status && to.offset > reader->at.offset ? pass_over(reader, &to) : status;
}

static bool is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) if (!is_space(text[i])) return false;
    return true;
}

hone_status hone_document_reader_next(hone_document_reader *reader, hone_document_batch *batch, size_t batch_bytes)
{
    batch->count = 0;
    batch->bytes.size = 0;
    while (reader->at.file < reader->options->inputs->count && batch->bytes.size < batch_bytes) {
        size_t size = 0, skip = 0, cut = 0;
        hone_status status = reader->open ? HONE_OK : open_file(reader);
        if (!status) status = find_next(reader, &size, &skip, &cut);
        if (status) return status;
        if (size == 0) { // the next file
            hone_source_close(&reader->source);
            reader->open = false;
            reader->at = (hone_document_position){ .file = reader->at.file + 1, .line = 1 };
            continue;
        }
        const char *text = reader->pending.data + reader->used;
        hone_input_format format = input_of(reader)->format;
        hone_document document = { batch->bytes.size, size - skip - cut, reader->at.file, reader->at.line + count_lines(text, skip), reader->header[reader->at.file] };
        bool between = format != HONE_FORMAT_text && is_blank(text + skip, size - skip); // an empty line between records
        if (!between) {
            if (hone_grow(&batch->document, batch->count, &batch->capacity, sizeof *batch->document)) return HONE_FAILED;
            if (hone_buffer_append(&batch->bytes, text + skip, size - skip - cut)) return HONE_FAILED;
            batch->document[batch->count++] = document;
        }
        use(reader, size);
    }
    return HONE_OK;
}

// --- texts

static int64_t count_invalid(const char *text, size_t size)
{
    int64_t invalid = 0;
    for (size_t i = 0; (i += hone_utf8_valid(text + i, size - i)) < size; i++) invalid++;
    return invalid;
}

hone_status hone_document_text(const hone_document_options *options, const hone_document_batch *batch, const hone_document *document,
                               hone_buffer *room, const char **text, size_t *size, int64_t *invalid)
{
    const hone_input *input = &options->inputs->input[document->file];
    const char *raw = batch->bytes.data + document->offset;
    char where[1024];
    size_t before = room->size;
    hone_status status = HONE_OK;
    *text = raw;
    *size = document->size;
    *invalid = 0;
    if (input->format == HONE_FORMAT_text) {
        *invalid = count_invalid(raw, document->size); // kept as byte tokens
        return HONE_OK;
    }
    snprintf(where, sizeof where, "%s:%" PRId64, strcmp(input->path, "-") ? input->path : "standard input", document->line);
    switch (input->format) {
    case HONE_FORMAT_jsonl: case HONE_FORMAT_json: status = hone_record_json(raw, document->size, options->fields, where, room, invalid); break;
    case HONE_FORMAT_csv: case HONE_FORMAT_tsv:
        *invalid = count_invalid(raw, document->size);
        status = hone_record_csv(document->header, raw, document->size, separator_of(input->format), options->fields, where, room);
        break;
    case HONE_FORMAT_markdown: status = hone_markup_markdown(raw, document->size, where, room); *invalid = count_invalid(raw, document->size); break;
    case HONE_FORMAT_html: status = hone_markup_html(raw, document->size, where, room); break;
    default: HONE_ASSERT(false, "format %d", input->format);
    }
    *text = room->data ? room->data + before : "";
    *size = room->size - before;
    return status;
}

int64_t hone_document_invalid_line(const hone_document_batch *batch, const hone_document *document)
{
    const char *text = batch->bytes.data + document->offset;
    size_t at = hone_utf8_valid(text, document->size);
    return at == document->size ? 0 : document->line + count_lines(text, at);
}
