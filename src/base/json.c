// json.c: jansson, with its memory through base/memory.h (so tests can fail it) and messages that say where.
#include "base/json.h"
#include "base/file.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

// jansson's scanner goes on with a byte less where its buffer cannot grow, and a string without its end is copied past its
// room (2.14). So it is never refused while it scans: what memory has not, a reserve of this parse gives, and then the text ends.
typedef struct { char *room; size_t size, used; bool needed; } reserve;
static _Thread_local reserve spare;

enum { SPARE_BYTES = 128 << 10, SPARE_A_BYTE = 16, SPARE_STEP = 16 };
// What is scanned after the refusal is at most jansson's 1,024 bytes of input: their values are smaller than SPARE_BYTES, and a
// buffer, list or table that grows then takes less than SPARE_A_BYTE for each byte of text.

static void *json_memory(size_t size)
{
    void *pointer = spare.needed ? NULL : hone_alloc(size, 1);
    if (pointer || !spare.room) return pointer;
    spare.needed = true;
    size = (size + SPARE_STEP - 1) / SPARE_STEP * SPARE_STEP;
    if (size > spare.size - spare.used) return NULL;
    pointer = spare.room + spare.used;
    spare.used += size;
    return memset(pointer, 0, size);
}

static void json_free(void *pointer)
{
    const uintptr_t at = (uintptr_t)pointer, room = (uintptr_t)spare.room;
    if (!spare.room || at < room || at >= room + spare.size) hone_free(pointer);
}

__attribute__((constructor)) static void use_our_memory(void) { json_set_alloc_funcs(json_memory, json_free); }

typedef struct { const char *text; size_t left; } source;

static size_t feed(void *to, size_t most, void *data)
{
    source *from = data;
    const size_t size = spare.needed ? 0 : from->left < most ? from->left : most;
    memcpy(to, from->text, size);
    from->text += size;
    from->left -= size;
    return size;
}

json_t *hone_json_scan(const char *text, size_t size, size_t flags, json_error_t *error)
{
    size_t bytes;
    *error = (json_error_t){ .line = -1, .column = -1 };
    if (__builtin_mul_overflow(size, SPARE_A_BYTE, &bytes) || __builtin_add_overflow(bytes, SPARE_BYTES, &bytes)) bytes = SIZE_MAX;
    spare = (reserve){ .room = hone_realloc(NULL, bytes, 1), .size = bytes };
    if (!spare.room) return NULL;
    json_t *value = json_load_callback(feed, &(source){ text, size }, flags, error);
    if (spare.needed) {
        json_decref(value);
        value = NULL;
    }
    hone_free(spare.room);
    spare = (reserve){ 0 };
    return value;
}

hone_status hone_json_parse(const char *where, const char *text, size_t size, json_t **out)
{
    json_error_t error;
    hone_error_clear();
    // NUL inside a string is legal JSON and may stand in texts; whoever wants a C string gets a check (hone_json_text).
    *out = hone_json_scan(text, size, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (*out) return HONE_OK;
    if (*hone_error()) return hone_fail("%s: out of memory while reading JSON", where);
    return hone_fail("%s:%d:%d: not valid JSON: %s", where, error.line, error.column, error.text);
}

hone_status hone_json_load(const char *path, json_t **out)
{
    char *text;
    size_t size;
    *out = NULL;
    hone_status status = hone_file_read(path, &text, &size);
    if (status) return status;
    status = hone_json_parse(path, text, size, out);
    hone_free(text);
    return status;
}

// jansson (2.14) goes on behind a failed write of an object's key, so that the text lacks a piece: what failed once stays failed.
typedef struct dumped { hone_buffer text; bool failed; } dumped;
static int append(const char *text, size_t size, void *to)
{
    dumped *d = to;
    d->failed = d->failed || hone_buffer_append(&d->text, text, size);
    return d->failed ? -1 : 0;
}

char *hone_json_dumps(const json_t *value, size_t flags)
{
    dumped d = { 0 };
    if (!json_dump_callback(value, append, &d, flags) && !d.failed) return d.text.data;
    hone_buffer_release(&d.text);
    if (!*hone_error()) hone_fail("this JSON value cannot be written (out of memory)");
    return NULL;
}

// Dumps with the fewest digits (15 to 17) that read back as the same numbers: 1e-05, not 1.0000000000000001e-05.
static hone_status dump(const json_t *value, dumped *to)
{
    hone_buffer *text = &to->text;
    for (size_t digits = 15; digits <= 17; digits++) {
        json_error_t error;
        text->size = 0;
        if (json_dump_callback(value, append, to, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits)) || to->failed)
            return *hone_error() ? HONE_FAILED : hone_fail("this JSON value cannot be written (text that is not UTF-8)");
        if (digits == 17) break;
        json_t *again = hone_json_scan(text->data, text->size, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
        if (!again && *hone_error()) return HONE_FAILED; // out of memory
        bool same = again && json_equal(value, again);
        json_decref(again);
        if (same) break;
    }
    return hone_buffer_append(text, "\n", 1);
}

hone_status hone_json_save(const char *path, const json_t *value)
{
    dumped d = { 0 };
    hone_error_clear();
    hone_status status = dump(value, &d);
    if (status) hone_fail_context("%s", path);
    else status = hone_file_write(path, d.text.data, d.text.size);
    hone_buffer_release(&d.text);
    return status;
}

// The value to convert, NULL where absent or null (then *status says whether that is an error).
static const json_t *get(const json_t *object, const char *key, const char *where, bool required, hone_status *status)
{
    *status = HONE_OK;
    if (!json_is_object(object)) {
        *status = hone_fail("%s: must be a JSON object that holds \"%s\"", where, key);
        return NULL;
    }
    const json_t *value = json_object_get(object, key);
    if (value && !json_is_null(value)) return value;
    if (required) *status = hone_fail("%s: \"%s\" is missing", where, key);
    return NULL;
}

static hone_status wrong(const char *where, const char *key, const char *wanted, const json_t *value)
{
    static const char *const kind[] = { "an object", "an array", "a string", "a whole number", "a number with a fraction or exponent",
                                        "true", "false", "null" };
    return hone_fail("%s: \"%s\" must be %s, not %s", where, key, wanted, kind[json_typeof(value)]);
}

hone_status hone_json_int(const json_t *object, const char *key, const char *where, bool required, int64_t *out)
{
    hone_status status;
    const json_t *value = get(object, key, where, required, &status);
    if (!value) return status;
    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return HONE_OK;
    }
    double real = json_is_real(value) ? json_real_value(value) : 0.5;
    if (real != floor(real) || fabs(real) > 0x1p53) return wrong(where, key, "a whole number", value);
    *out = (int64_t)real; // some writers print 2048 as 2048.0
    return HONE_OK;
}

hone_status hone_json_real(const json_t *object, const char *key, const char *where, bool required, double *out)
{
    hone_status status;
    const json_t *value = get(object, key, where, required, &status);
    if (!value) return status;
    if (!json_is_number(value)) return wrong(where, key, "a number", value);
    *out = json_number_value(value);
    return HONE_OK;
}

hone_status hone_json_bool(const json_t *object, const char *key, const char *where, bool required, bool *out)
{
    hone_status status;
    const json_t *value = get(object, key, where, required, &status);
    if (!value) return status;
    if (!json_is_boolean(value)) return wrong(where, key, "true or false", value);
    *out = json_is_true(value);
    return HONE_OK;
}

hone_status hone_json_text(const json_t *object, const char *key, const char *where, bool required, const char **out)
{
    hone_status status;
    const json_t *value = get(object, key, where, required, &status);
    if (!value) return status;
    if (!json_is_string(value)) return wrong(where, key, "a string", value);
    if (strlen(json_string_value(value)) != json_string_length(value))
        return hone_fail("%s: \"%s\" holds a NUL character", where, key);
    *out = json_string_value(value);
    return HONE_OK;
}
