// documents.c: see documents.h.
#include "data/documents.h"
#include "base/json.h"
#include "text/tokenizer.h"

#include <inttypes.h>
#include <string.h>

enum { READ_BYTES = 1 << 20, LINE_MOST = 1 << 30 };

bool hone_document_is_jsonl(const char *path)
{
    static const char *const ends[] = { ".jsonl", ".jsonl.gz", ".jsonl.zst", ".ndjson", ".ndjson.gz", ".ndjson.zst" };
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (n > strlen(ends[i]) && strcmp(path + n - strlen(ends[i]), ends[i]) == 0) return true;
    return false;
}

void hone_document_reader_init(hone_document_reader *reader, const char *const *path, int64_t n_paths, size_t document_bytes)
{
    *reader = (hone_document_reader){ .path = path, .n_paths = n_paths, .file = -1, .document_bytes = document_bytes };
}

void hone_document_reader_release(hone_document_reader *reader)
{
    if (reader->open) hone_source_close(&reader->source);
    hone_buffer_release(&reader->pending);
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
    if (reader->used) {
        memmove(reader->pending.data, reader->pending.data + reader->used, reader->pending.size - reader->used);
        reader->pending.size -= reader->used;
        reader->used = 0;
    }
    if (reader->pending.capacity < reader->pending.size + READ_BYTES + 1) {
        size_t capacity = reader->pending.size * 2 + READ_BYTES + 1;
        char *data = hone_realloc(reader->pending.data, capacity, 1);
        if (!data) return HONE_FAILED;
        reader->pending.data = data;
        reader->pending.capacity = capacity;
    }
    size_t got, before = reader->source.place;
    hone_status status = hone_source_read(&reader->source, reader->pending.data + reader->pending.size, READ_BYTES, &got);
    reader->pending.size += got;
    reader->read_bytes += (int64_t)(reader->source.place - before);
    reader->ended = got == 0;
    return status;
}

static hone_status next_file(hone_document_reader *reader)
{
    if (reader->open) hone_source_close(&reader->source);
    reader->open = false;
    if (++reader->file >= reader->n_paths) return HONE_OK;
    hone_status status = hone_source_open(&reader->source, reader->path[reader->file]);
    if (status) return status;
    reader->open = true;
    reader->ended = false;
    reader->pending.size = reader->used = 0;
    reader->line = 1;
    return HONE_OK;
}

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

// Size of the next document in pending; more is read until it is known. 0: the file has no more.
static hone_status find_plain(hone_document_reader *reader, size_t *size)
{
    size_t goal = reader->document_bytes;
    while (!reader->ended && (goal == 0 || reader->pending.size - reader->used < 2 * goal)) {
        hone_status status = fill(reader);
        if (status) return status;
    }
    size_t have = reader->pending.size - reader->used;
    *size = goal && have >= 2 * goal ? find_cut(reader->pending.data + reader->used, goal) : have;
    return HONE_OK;
}

static hone_status find_line(hone_document_reader *reader, size_t *size)
{
    size_t seen = 0;
    for (;;) {
        size_t have = reader->pending.size - reader->used;
        const char *end = have > seen ? memchr(reader->pending.data + reader->used + seen, '\n', have - seen) : NULL;
        *size = end ? (size_t)(end - (reader->pending.data + reader->used)) + 1 : have;
        if (end || reader->ended) return HONE_OK;
        if (have > LINE_MOST) return hone_fail("%s:%" PRId64 ": a line of more than 1 GiB; is this JSONL?", reader->source.path, reader->line);
        seen = have;
        hone_status status = fill(reader);
        if (status) return status;
    }
}

static bool is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r' && text[i] != '\n') return false;
    return true;
}

hone_status hone_document_reader_next(hone_document_reader *reader, hone_document_batch *batch, size_t batch_bytes)
{
    batch->count = 0;
    batch->bytes.size = 0;
    while (reader->file < reader->n_paths && batch->bytes.size < batch_bytes) {
        size_t size = 0;
        bool json = false;
        hone_status status = HONE_OK;
        if (reader->open) {
            json = hone_document_is_jsonl(reader->source.path);
            status = json ? find_line(reader, &size) : find_plain(reader, &size);
        }
        if (status) return status;
        if (size == 0) {
            if ((status = next_file(reader))) return status;
            continue;
        }
        const char *text = reader->pending.data + reader->used;
        hone_document document = { batch->bytes.size, size, reader->file, reader->line, json };
        if (json) reader->line++;
        else for (const char *p = text; (p = memchr(p, '\n', (size_t)(text + size - p))); p++) reader->line++;
        reader->used += size;
        if (json && is_blank(text, size)) continue; // an empty line between records
        if (hone_grow(&batch->document, batch->count, &batch->capacity, sizeof *batch->document)) return HONE_FAILED;
        if (hone_buffer_append(&batch->bytes, text, size)) return HONE_FAILED;
        batch->document[batch->count++] = document;
    }
    return HONE_OK;
}

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

hone_status hone_document_text(const hone_document_batch *batch, const hone_document *document, const char *const *path, const char *field,
                               const char **text, size_t *size, char **copy, int64_t *invalid)
{
    *text = batch->bytes.data + document->offset;
    *size = document->size;
    *copy = NULL;
    *invalid = 0;
    if (!document->json) {
        for (size_t i = 0; (i += hone_utf8_valid(*text + i, *size - i)) < *size; i++) ++*invalid; // kept as byte tokens
        return HONE_OK;
    }
    json_t *json = NULL;
    json_error_t error;
    hone_buffer mended = { 0 };
    hone_status status = HONE_OK;
    if (hone_utf8_valid(*text, *size) < *size) {
        status = replace_invalid(*text, *size, &mended, invalid);
        *text = mended.data;
        *size = mended.size;
    }
    const char *where = path[document->file];
    if (!status) {
        hone_error_clear();
        json = json_loadb(*text, *size, JSON_ALLOW_NUL, &error);
        if (*hone_error()) status = HONE_FAILED; // memory ran out, which jansson may have passed over
    }
    if (!status && !json)
        status = hone_fail("%s:%" PRId64 ": not valid JSON at column %d: %s", where, document->line, error.column, error.text);
    if (!status && !json_is_object(json)) status = hone_fail("%s:%" PRId64 ": the line is no JSON object", where, document->line);
    const json_t *value = json_object_get(json, field);
    if (!status && !value)
        status = hone_fail("%s:%" PRId64 ": the record has no field \"%s\"; name the field that holds the text with --text-field", where, document->line, field);
    if (!status && !json_is_string(value)) status = hone_fail("%s:%" PRId64 ": the field \"%s\" is no string", where, document->line, field);
    if (!status) {
        *size = json_string_length(value);
        *copy = hone_alloc(*size + 1, 1);
        if (*copy) memcpy(*copy, json_string_value(value), *size);
        else status = HONE_FAILED;
        *text = *copy;
    }
    json_decref(json);
    hone_buffer_release(&mended);
    return status;
}
