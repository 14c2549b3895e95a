// json.c: jansson, with its memory through base/memory.h (so tests can fail it) and messages that say where.
#include "base/json.h"
#include "base/file.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

static void *json_memory(size_t size) { return hone_alloc(size, 1); }

__attribute__((constructor)) static void use_our_memory(void) { json_set_alloc_funcs(json_memory, hone_free); }

hone_status hone_json_parse(const char *where, const char *text, size_t size, json_t **out)
{
    json_error_t error;
    *out = NULL;
    hone_error_clear();
    // NUL inside a string is legal JSON and may stand in texts; whoever wants a C string gets a check (hone_json_text).
    json_t *value = json_loadb(text, size, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (value && !*hone_error()) { // a message: jansson's lexer drops a byte and goes on where its buffer cannot grow
        *out = value;
        return HONE_OK;
    }
    json_decref(value);
    if (json_error_code(&error) == json_error_out_of_memory || *hone_error()) return hone_fail("%s: out of memory while reading JSON", where);
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

static int append(const char *text, size_t size, void *buffer) { return hone_buffer_append(buffer, text, size) ? -1 : 0; }

// Dumps with the fewest digits (15 to 17) that read back as the same numbers: 1e-05, not 1.0000000000000001e-05.
static hone_status dump(const json_t *value, hone_buffer *text)
{
    for (size_t digits = 15; digits <= 17; digits++) {
        json_error_t error;
        text->size = 0;
        if (json_dump_callback(value, append, text, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits)) || *hone_error())
            return *hone_error() ? HONE_FAILED : hone_fail("this JSON value cannot be written (text that is not UTF-8)");
        if (digits == 17) break;
        json_t *again = json_loadb(text->data, text->size, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
        if (!again && *hone_error()) return HONE_FAILED; // out of memory
        bool same = again && json_equal(value, again);
        json_decref(again);
        if (same) break;
    }
    return hone_buffer_append(text, "\n", 1);
}

hone_status hone_json_save(const char *path, const json_t *value)
{
    hone_buffer text = { 0 };
    hone_error_clear();
    hone_status status = dump(value, &text);
    if (status) hone_fail_context("%s", path);
    else status = hone_file_write(path, text.data, text.size);
    hone_buffer_release(&text);
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
