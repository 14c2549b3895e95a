// gguf.c: reading of GGUF files. See gguf.h.
#include "base/gguf.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char magic[4] = { 'G', 'G', 'U', 'F' };
static const size_t type_bytes[HONE_GGUF_TYPES] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };   // 0: not of fixed size
static const char *const type_name[HONE_GGUF_TYPES] = { "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "text", "array", "u64", "i64", "f64" };
enum { MAX_NAME = 255, LEAST_VALUE = 8 + 4 + 1, LEAST_TENSOR = 8 + 4 + 4 + 8, DEFAULT_ALIGNMENT = 32 };

typedef struct { const char *path; const uint8_t *data; size_t at, size; } cursor;

static hone_status cut_short(const cursor *c, const char *what)
{
    return hone_fail("%s: not a whole GGUF file: it ends within %s (at byte %zu of %zu); the download was probably cut short, fetch it again",
                     c->path, what, c->at, c->size);
}

static hone_status take(cursor *c, void *out, size_t bytes, const char *what)
{
    if (bytes > c->size - c->at) return cut_short(c, what);
    memcpy(out, c->data + c->at, bytes);
    c->at += bytes;
    return HONE_OK;
}

// Passes over a text; *text lies in the map.
static hone_status take_text(cursor *c, const char **text, size_t *size, const char *what)
{
    uint64_t bytes = 0;
    hone_status status = take(c, &bytes, 8, what);
    if (status) return status;
    if (bytes > c->size - c->at) return cut_short(c, what);
    *text = (const char *)c->data + c->at;
    *size = (size_t)bytes;
    c->at += (size_t)bytes;
    return HONE_OK;
}

// A name becomes a C string: 1 to MAX_NAME bytes, no NUL.
static hone_status take_name(cursor *c, char **name, const char *what)
{
    const char *text = NULL;
    size_t size = 0;
    hone_status status = take_text(c, &text, &size, what);
    if (status) return status;
    if (size < 1 || size > MAX_NAME || memchr(text, 0, size))
        return hone_fail("%s: %s at byte %zu is no name (%zu bytes; 1 to %d without a zero are allowed); the file is damaged", c->path, what, c->at - size, size, MAX_NAME);
    return (*name = hone_format("%.*s", (int)size, text)) ? HONE_OK : HONE_FAILED;
}

static hone_status take_value(cursor *c, hone_gguf_value *value)
{
    uint32_t type = 0;
    uint64_t count = 1;
    hone_status status = take_name(c, &value->name, "the name of a value");
    if (!status) status = take(c, &type, 4, value->name);
    if (!status && type == HONE_GGUF_ARRAY) {
        value->array = true;
        status = take(c, &type, 4, value->name);
        if (!status) status = take(c, &count, 8, value->name);
    }
    if (status) return status;
    if (type >= HONE_GGUF_TYPES || type == HONE_GGUF_ARRAY)
        return hone_fail("%s: %s is of type %" PRIu32 "%s, which hone does not read", c->path, value->name, type, value->array ? " in an array" : "");
    value->type = (hone_gguf_type)type;
    value->data = c->data + c->at;
    size_t left = c->size - c->at, each = type == HONE_GGUF_TEXT ? 8 : type_bytes[type];
    if (count > left / each) return cut_short(c, value->name);
    value->count = (int64_t)count;
    if (type != HONE_GGUF_TEXT) {
        c->at += (size_t)count * each;
        return HONE_OK;
    }
    const char *text;
    size_t size;
    for (uint64_t i = 0; i < count && !status; i++) status = take_text(c, &text, &size, value->name);
    return status;
}

static hone_status take_tensor(cursor *c, hone_gguf_tensor *t)
{
    uint32_t rank = 0;
    uint64_t dim = 0, offset = 0;
    hone_status status = take_name(c, &t->name, "the name of a tensor");
    if (!status) status = take(c, &rank, 4, t->name);
    if (status) return status;
    if (rank < 1 || rank > HONE_GGUF_RANK) return hone_fail("%s: tensor %s has %" PRIu32 " dimensions; 1 to %d are allowed", c->path, t->name, rank, HONE_GGUF_RANK);
    t->rank = (int)rank;
    t->count = 1;
    for (int d = 0; d < t->rank; d++) {
        if ((status = take(c, &dim, 8, t->name))) return status;
        if (dim < 1 || dim > INT32_MAX || t->count > (INT64_MAX >> 4) / (int64_t)dim)
            return hone_fail("%s: tensor %s has dimension %" PRIu64 " in place %d; sizes from 1 to %d that multiply to less than 2^59 are allowed", c->path, t->name, dim, d, INT32_MAX);
        t->dim[d] = (int64_t)dim;
        t->count *= t->dim[d];
    }
    if ((status = take(c, &t->type, 4, t->name)) || (status = take(c, &offset, 8, t->name))) return status;
    t->blocks = hone_blocks_of_gguf(t->type);
    t->begin = (size_t)offset;   // within the data, for now
    if (t->blocks == HONE_BLOCKS_COUNT) return HONE_OK;
    const hone_blocks_format *format = hone_blocks_about(t->blocks);
    if (t->dim[0] % format->elements != 0)
        return hone_fail("%s: rows of tensor %s have %" PRId64 " elements, no whole blocks of %s (%" PRId64 ")", c->path, t->name, t->dim[0], format->name, format->elements);
    t->size = hone_blocks_bytes(t->blocks, t->count);
    return HONE_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(((const hone_gguf_tensor *)a)->name, ((const hone_gguf_tensor *)b)->name); }

// Places in the data become places in the file.
static hone_status place_tensors(hone_gguf *file, size_t head_bytes)
{
    int64_t alignment = DEFAULT_ALIGNMENT;
    hone_status status = hone_gguf_int(file, "general.alignment", false, &alignment);
    if (status) return status;
    if (alignment < 8 || alignment > 1 << 20 || (alignment & (alignment - 1)) != 0)
        return hone_fail("%s: general.alignment is %" PRId64 "; it must be a power of two from 8 to 2^20", file->path, alignment);
    size_t mask = (size_t)alignment - 1, start = (head_bytes + mask) & ~mask;
    for (int64_t i = 0; i < file->n_tensor; i++) {
        hone_gguf_tensor *t = &file->tensor[i];
        if ((t->begin & mask) != 0) return hone_fail("%s: tensor %s lies at %zu, which is no multiple of %" PRId64, file->path, t->name, t->begin, alignment);
        if (start > file->map.size || t->begin > file->map.size - start || t->size > file->map.size - start - t->begin)
            return hone_fail("%s: tensor %s needs bytes %zu to %zu of the data but the file ends before; the download was probably cut short, fetch it again",
                             file->path, t->name, t->begin, t->begin + t->size);
        t->begin += start;
    }
    qsort(file->tensor, (size_t)file->n_tensor, sizeof *file->tensor, by_name);
    for (int64_t i = 1; i < file->n_tensor; i++)
        if (!by_name(&file->tensor[i - 1], &file->tensor[i])) return hone_fail("%s: two tensors are called %s", file->path, file->tensor[i].name);
    return HONE_OK;
}

static hone_status read_all(hone_gguf *file)
{
    cursor c = { file->path, file->map.data, 0, file->map.size };
    char begin[4] = { 0 };
    uint32_t version = 0;
    uint64_t n_tensor = 0, n_value = 0;
    hone_status status = take(&c, begin, 4, "its first bytes");
    if (!status && memcmp(begin, magic, 4) != 0) return hone_fail("%s: not a GGUF file (it does not begin with \"GGUF\")", file->path);
    if (!status) status = take(&c, &version, 4, "its version");
    if (!status && version != 2 && version != 3)
        return hone_fail("%s: GGUF version %" PRIu32 "; hone reads versions 2 and 3%s", file->path, version, (version & 0xffff) == 0 ? ", little-endian" : "");
    if (!status) status = take(&c, &n_tensor, 8, "its counts");
    if (!status) status = take(&c, &n_value, 8, "its counts");
    if (status) return status;
    size_t left = c.size - c.at;
    if (n_value > left / LEAST_VALUE || n_tensor > left / LEAST_TENSOR)
        return hone_fail("%s: claims %" PRIu64 " values and %" PRIu64 " tensors, more than its %zu bytes can hold; the file is damaged", file->path, n_value, n_tensor, c.size);
    file->value = hone_alloc((size_t)n_value + 1, sizeof *file->value);
    file->tensor = hone_alloc((size_t)n_tensor + 1, sizeof *file->tensor);
    if (!file->value || !file->tensor) return HONE_FAILED;
    while (!status && file->n_value < (int64_t)n_value) status = take_value(&c, &file->value[file->n_value++]);
    while (!status && file->n_tensor < (int64_t)n_tensor) status = take_tensor(&c, &file->tensor[file->n_tensor++]);
    return status ? status : place_tensors(file, c.at);
}

hone_status hone_gguf_open(hone_gguf *file, const char *path)
{
    *file = (hone_gguf){ .path = hone_strdup(path) };
    hone_status status = file->path ? hone_map_open(&file->map, path) : HONE_FAILED;
    if (!status) status = read_all(file);
    if (status) hone_gguf_close(file);
    return status;
}

void hone_gguf_close(hone_gguf *file)
{
    for (int64_t i = 0; i < file->n_value; i++) hone_free(file->value[i].name);
    for (int64_t i = 0; i < file->n_tensor; i++) hone_free(file->tensor[i].name);
    hone_free(file->value);
    hone_free(file->tensor);
    hone_map_close(&file->map);
    hone_free(file->path);
    *file = (hone_gguf){ 0 };
}

bool hone_gguf_is(const char *path)
{
    hone_reader reader;
    char begin[4];
    size_t got = 0;
    if (hone_dir_exists(path) || !hone_file_exists(path) || hone_reader_open(&reader, path)) return false;
    bool is = hone_reader_read(&reader, begin, sizeof begin, &got) == HONE_OK && got == sizeof begin && memcmp(begin, magic, sizeof magic) == 0;
    hone_reader_close(&reader);
    return is;
}

// Values --------------------------------------------------------------------------------------------------------------

const hone_gguf_value *hone_gguf_find(const hone_gguf *file, const char *name)
{
    for (int64_t i = 0; i < file->n_value; i++)
        if (strcmp(file->value[i].name, name) == 0) return &file->value[i];
    return NULL;
}

const hone_gguf_tensor *hone_gguf_find_tensor(const hone_gguf *file, const char *name)
{
    hone_gguf_tensor key = { .name = (char *)name };
    return file->n_tensor ? bsearch(&key, file->tensor, (size_t)file->n_tensor, sizeof key, by_name) : NULL;
}

// *value NULL where it is absent and need not be there.
static hone_status find_scalar(const hone_gguf *file, const char *name, bool required, const hone_gguf_value **value)
{
    *value = hone_gguf_find(file, name);
    if (!*value) return required ? hone_fail("%s: %s is missing, so this file is no model that hone can read", file->path, name) : HONE_OK;
    return (*value)->array ? hone_fail("%s: %s is an array; one value is expected", file->path, name) : HONE_OK;
}

static hone_status wrong_kind(const hone_gguf *file, const hone_gguf_value *value, const char *wanted)
{
    return hone_fail("%s: %s is %s %s; %s is expected", file->path, value->name, value->array ? "an array of" : "of type", type_name[value->type], wanted);
}

hone_status hone_gguf_int(const hone_gguf *file, const char *name, bool required, int64_t *out)
{
    const hone_gguf_value *value;
    hone_status status = find_scalar(file, name, required, &value);
    if (status || !value) return status;
    size_t bytes = type_bytes[value->type];
    bool is_signed = value->type == HONE_GGUF_I8 || value->type == HONE_GGUF_I16 || value->type == HONE_GGUF_I32 || value->type == HONE_GGUF_I64;
    bool is_unsigned = value->type == HONE_GGUF_U8 || value->type == HONE_GGUF_U16 || value->type == HONE_GGUF_U32 || value->type == HONE_GGUF_U64;
    if (!is_signed && !is_unsigned) return wrong_kind(file, value, "a whole number");
    uint64_t bits = 0;
    memcpy(&bits, value->data, bytes);
    unsigned spare = 64 - 8 * (unsigned)bytes;
    if (is_unsigned && bits > INT64_MAX) return hone_fail("%s: %s is %" PRIu64 ", beyond all sense", file->path, name, bits);
    *out = is_signed ? (int64_t)(bits << spare) >> spare : (int64_t)bits;
    return HONE_OK;
}

hone_status hone_gguf_real(const hone_gguf *file, const char *name, bool required, double *out)
{
    const hone_gguf_value *value;
    hone_status status = find_scalar(file, name, required, &value);
    if (status || !value) return status;
    float narrow;
    if (value->type == HONE_GGUF_F32) {
        memcpy(&narrow, value->data, 4);
        *out = (double)narrow;
    } else if (value->type == HONE_GGUF_F64) {
        memcpy(out, value->data, 8);
    } else {
        return wrong_kind(file, value, "a real number");
    }
    return isfinite(*out) ? HONE_OK : hone_fail("%s: %s is not a finite number", file->path, name);
}

hone_status hone_gguf_bool(const hone_gguf *file, const char *name, bool required, bool *out)
{
    const hone_gguf_value *value;
    hone_status status = find_scalar(file, name, required, &value);
    if (status || !value) return status;
    if (value->type != HONE_GGUF_BOOL) return wrong_kind(file, value, "true or false");
    *out = *value->data != 0;
    return HONE_OK;
}

hone_status hone_gguf_text(const hone_gguf *file, const char *name, bool required, char **out)
{
    const hone_gguf_value *value;
    hone_status status = find_scalar(file, name, required, &value);
    if (status || !value) return status;
    if (value->type != HONE_GGUF_TEXT) return wrong_kind(file, value, "a text");
    size_t size;
    const uint8_t *at = value->data;
    const char *text = hone_gguf_next_text(&at, &size);
    if (memchr(text, 0, size)) return hone_fail("%s: %s has a zero byte inside; the file is damaged", file->path, name);
    char *copy = hone_alloc(size + 1, 1);
    if (!copy) return HONE_FAILED;
    memcpy(copy, text, size);
    *out = copy;
    return HONE_OK;
}

hone_status hone_gguf_array(const hone_gguf *file, const char *name, bool required, hone_gguf_type type, const hone_gguf_value **out)
{
    const hone_gguf_value *value = hone_gguf_find(file, name);
    if (!value) return required ? hone_fail("%s: %s is missing, so this file is no model that hone can read", file->path, name) : HONE_OK;
    bool fits = value->array && (value->type == type || (type == HONE_GGUF_I32 && value->type == HONE_GGUF_U32));
    if (!fits) return hone_fail("%s: %s is no array of %s", file->path, name, type_name[type]);
    *out = value;
    return HONE_OK;
}

const char *hone_gguf_next_text(const uint8_t **at, size_t *size)
{
    uint64_t bytes;
    memcpy(&bytes, *at, 8);
    const char *text = (const char *)*at + 8;
    *size = (size_t)bytes;
    *at += 8 + bytes;
    return text;
}

float hone_gguf_f32_at(const hone_gguf_value *array, int64_t index)
{
    float y;
    memcpy(&y, array->data + 4 * index, 4);
    return y;
}

int32_t hone_gguf_i32_at(const hone_gguf_value *array, int64_t index)
{
    int32_t y;
    memcpy(&y, array->data + 4 * index, 4);
    return y;
}
