// jinja_value.c: values of templates and their memory. They behave, compare and print as Python's do.
#include "text/jinja_parts.h"
#include "text/parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

// --- rooms

typedef struct hone_room_chunk { struct hone_room_chunk *next; size_t size, used; } chunk;
enum { CHUNK_BYTES = 32 << 10, ALIGN = 16 };

void *hone_room_take(hone_room *room, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > HONE_JINJA_ROOM_BYTES || room->total > HONE_JINJA_ROOM_BYTES - bytes) {
        hone_fail("its values take more than %d MiB; it builds texts without end, or the messages are that long", HONE_JINJA_ROOM_BYTES >> 20);
        return NULL;
    }
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (!room->chunk || room->chunk->size - room->chunk->used < bytes) {
        size_t head = (sizeof(chunk) + ALIGN - 1) / ALIGN * ALIGN, whole = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        chunk *fresh = hone_alloc(1, head + whole);
        if (!fresh) return NULL;
        *fresh = (chunk){ room->chunk, head + whole, head };
        room->chunk = fresh;
    }
    void *given = (char *)room->chunk + room->chunk->used;
    room->chunk->used += bytes;
    room->total += bytes;
    return given;
}

char *hone_room_text(hone_room *room, const char *text, size_t size)
{
    char *copy = hone_room_take(room, size + 1, 1);
    if (copy && size) memcpy(copy, text, size);
    return copy;
}

void hone_room_release(hone_room *room)
{
    for (chunk *at = room->chunk, *next; at; at = next) {
        next = at->next;
        hone_free(at);
    }
    *room = (hone_room){ 0 };
}

// --- making

hone_jvalue *hone_j_new(hone_room *room, hone_jkind kind)
{
    hone_jvalue *value = hone_room_take(room, 1, sizeof *value);
    if (value) value->kind = kind;
    return value;
}

static hone_jvalue *new_whole(hone_room *room, hone_jkind kind, int64_t whole)
{
    hone_jvalue *value = hone_j_new(room, kind);
    if (value) value->whole = whole;
    return value;
}

hone_jvalue *hone_j_bool(hone_room *room, bool truth) { return new_whole(room, HONE_J_BOOL, truth); }
hone_jvalue *hone_j_int(hone_room *room, int64_t whole) { return new_whole(room, HONE_J_INT, whole); }

hone_jvalue *hone_j_real(hone_room *room, double real)
{
    hone_jvalue *value = hone_j_new(room, HONE_J_REAL);
    if (value) value->real = real;
    return value;
}

hone_jvalue *hone_j_borrow(hone_room *room, const char *text, size_t size)
{
    hone_jvalue *value = hone_j_new(room, HONE_J_TEXT);
    if (!value) return NULL;
    value->text = text;
    value->size = size;
    return value;
}

hone_jvalue *hone_j_text(hone_room *room, const char *text, size_t size)
{
    const char *copy = hone_room_text(room, text, size);
    return copy ? hone_j_borrow(room, copy, size) : NULL;
}

static hone_status widen(hone_room *room, hone_jvalue *list, bool keys)
{
    if (list->count < list->capacity) return HONE_OK;
    int64_t capacity = list->capacity ? list->capacity * 2 : 4;
    hone_jvalue **at = hone_room_take(room, (size_t)capacity, sizeof *at), **key = keys && at ? hone_room_take(room, (size_t)capacity, sizeof *key) : NULL;
    if (!at || (keys && !key)) return HONE_FAILED;
    for (int64_t i = 0; i < list->count; i++) {
        at[i] = list->at[i];
        if (keys) key[i] = list->key[i];
    }
    list->at = at;
    list->key = key;
    list->capacity = capacity;
    return HONE_OK;
}

hone_status hone_j_add(hone_room *room, hone_jvalue *list, hone_jvalue *item)
{
    if (!item || widen(room, list, false)) return HONE_FAILED;
    list->at[list->count++] = item;
    return HONE_OK;
}

static hone_status check_key(const hone_jvalue *key)
{
    return key->kind == HONE_J_LIST || key->kind == HONE_J_DICT ? hone_fail("unhashable type: '%s'", hone_j_kind_name(key)) : HONE_OK;
}

static int64_t find_key(const hone_jvalue *dict, const hone_jvalue *key)
{
    for (int64_t i = 0; i < dict->count; i++) if (hone_j_equal(dict->key[i], key)) return i;
    return -1;
}

hone_status hone_j_put(hone_room *room, hone_jvalue *dict, hone_jvalue *key, hone_jvalue *item)
{
    if (!key || !item || check_key(key)) return HONE_FAILED;
    int64_t i = find_key(dict, key);
    if (i < 0 && widen(room, dict, true)) return HONE_FAILED;
    if (i < 0) dict->key[i = dict->count++] = key;
    dict->at[i] = item;
    return HONE_OK;
}

hone_jvalue *hone_j_find(const hone_jvalue *dict, const hone_jvalue *key)
{
    int64_t i = find_key(dict, key);
    return i < 0 ? NULL : dict->at[i];
}

hone_jvalue *hone_j_member(const hone_jvalue *dict, const char *key)
{
    return hone_j_find(dict, &(hone_jvalue){ .kind = HONE_J_TEXT, .text = key, .size = strlen(key) });
}

static hone_jvalue *from_object(hone_room *room, const json_t *json, int depth)
{
    hone_jvalue *dict = hone_j_new(room, HONE_J_DICT);
    json_t *object = (json_t *)(uintptr_t)json;
    for (void *at = json_object_iter(object); dict && at; at = json_object_iter_next(object, at)) {
        hone_jvalue *key = hone_j_borrow(room, json_object_iter_key(at), json_object_iter_key_len(at)); // keys of an object differ: no search
        hone_jvalue *item = key ? hone_j_from_json(room, json_object_iter_value(at), depth + 1) : NULL;
        if (!item || widen(room, dict, true)) return NULL;
        dict->key[dict->count] = key;
        dict->at[dict->count++] = item;
    }
    return dict;
}

hone_jvalue *hone_j_from_json(hone_room *room, const json_t *json, int depth)
{
    if (depth > HONE_JINJA_DEPTH) {
        hone_fail("values nested more than %d deep", HONE_JINJA_DEPTH);
        return NULL;
    }
    switch (json_typeof(json)) {
    case JSON_OBJECT: return from_object(room, json, depth);
    case JSON_STRING: return hone_j_borrow(room, json_string_value(json), json_string_length(json));
    case JSON_INTEGER: return hone_j_int(room, json_integer_value(json));
    case JSON_REAL: return hone_j_real(room, json_real_value(json));
    case JSON_TRUE: case JSON_FALSE: return hone_j_bool(room, json_is_true(json));
    case JSON_NULL: return hone_j_new(room, HONE_J_NONE);
    default: break;
    }
    hone_jvalue *list = hone_j_new(room, HONE_J_LIST);
    for (size_t i = 0; list && i < json_array_size(json); i++)
        if (hone_j_add(room, list, hone_j_from_json(room, json_array_get(json, i), depth + 1))) return NULL;
    return list;
}

// --- looking

const char *hone_j_kind_name(const hone_jvalue *value)
{
    static const char *const name[] = { "Undefined", "NoneType", "bool", "int", "float", "str", "list", "tuple", "dict", "Namespace", "LoopContext", "function", "Macro" };
    return name[value->kind];
}

bool hone_j_truth(const hone_jvalue *v)
{
    switch (v->kind) {
    case HONE_J_UNDEFINED: case HONE_J_NONE: return false;
    case HONE_J_BOOL: case HONE_J_INT: return v->whole != 0;
    case HONE_J_REAL: return v->real != 0;
    case HONE_J_TEXT: return v->size > 0;
    case HONE_J_LIST: case HONE_J_TUPLE: case HONE_J_DICT: return v->count > 0;
    default: return true;
    }
}

// Values nested deeper than may be printed are equal to none.
static bool equal_at(const hone_jvalue *a, const hone_jvalue *b, int depth)
{
    if (hone_j_is_whole(a) && hone_j_is_whole(b)) return a->whole == b->whole;
    if (hone_j_is_number(a) && hone_j_is_number(b)) return hone_j_number(a) == hone_j_number(b);
    if (a->kind != b->kind || depth > HONE_JINJA_DEPTH) return false;
    switch (a->kind) {
    case HONE_J_UNDEFINED: case HONE_J_NONE: return true;
    case HONE_J_TEXT: return a->size == b->size && (a->size == 0 || memcmp(a->text, b->text, a->size) == 0);
    case HONE_J_LIST: case HONE_J_TUPLE: case HONE_J_DICT:
        if (a->count != b->count) return false;
        for (int64_t i = 0; i < a->count; i++) {
            const hone_jvalue *other = a->kind == HONE_J_DICT ? hone_j_find(b, a->key[i]) : b->at[i];
            if (!other || !equal_at(a->at[i], other, depth + 1)) return false;
        }
        return true;
    default: return a == b;
    }
}

bool hone_j_equal(const hone_jvalue *a, const hone_jvalue *b) { return equal_at(a, b, 0); }

static hone_status compare_at(const hone_jvalue *a, const hone_jvalue *b, int *sign, int depth)
{
    *sign = 0;
    if (hone_j_is_whole(a) && hone_j_is_whole(b)) *sign = (a->whole > b->whole) - (a->whole < b->whole);
    else if (hone_j_is_number(a) && hone_j_is_number(b)) *sign = (hone_j_number(a) > hone_j_number(b)) - (hone_j_number(a) < hone_j_number(b));
    else if (a->kind == HONE_J_TEXT && b->kind == HONE_J_TEXT) { // UTF-8 keeps the order of characters
        size_t n = a->size < b->size ? a->size : b->size;
        int c = n ? memcmp(a->text, b->text, n) : 0;
        *sign = c ? c : (a->size > b->size) - (a->size < b->size);
    } else if (hone_j_is_list(a) && a->kind == b->kind) {
        int64_t i = 0;
        while (i < a->count && i < b->count && equal_at(a->at[i], b->at[i], depth + 1)) i++;
        if (depth > HONE_JINJA_DEPTH) return hone_fail("values nested more than %d deep", HONE_JINJA_DEPTH);
        if (i < a->count && i < b->count) return compare_at(a->at[i], b->at[i], sign, depth + 1);
        *sign = (a->count > b->count) - (a->count < b->count);
    } else {
        if (hone_jinja_undefined(a) || hone_jinja_undefined(b)) return HONE_FAILED;
        return hone_fail("'%s' and '%s' have no order", hone_j_kind_name(a), hone_j_kind_name(b));
    }
    return HONE_OK;
}

hone_status hone_j_compare(const hone_jvalue *a, const hone_jvalue *b, int *sign) { return compare_at(a, b, sign, 0); }

hone_status hone_j_contains(const hone_jvalue *where, const hone_jvalue *what, bool *in)
{
    *in = false;
    if (where->kind == HONE_J_TEXT) {
        if (what->kind != HONE_J_TEXT) return hone_jinja_undefined(what) ? HONE_FAILED : hone_fail("'in <text>' wants a text on its left, not '%s'", hone_j_kind_name(what));
        *in = what->size == 0 || (where->size && memmem(where->text, where->size, what->text, what->size));
    } else if (where->kind == HONE_J_DICT) {
        if (check_key(what)) return HONE_FAILED;
        *in = hone_j_find(where, what) != NULL;
    } else if (hone_j_is_list(where)) {
        for (int64_t i = 0; i < where->count && !*in; i++) *in = hone_j_equal(where->at[i], what);
    } else if (where->kind != HONE_J_UNDEFINED) return hone_fail("'in' wants a text, list or dict on its right, not '%s'", hone_j_kind_name(where));
    return HONE_OK;
}

int64_t hone_j_characters(const char *text, size_t size)
{
    int64_t n = 0;
    for (size_t i = 0; i < size; i++) n += ((uint8_t)text[i] & 0xc0) != 0x80;
    return n;
}

size_t hone_j_offset(const char *text, size_t size, int64_t characters)
{
    size_t at = 0;
    for (; at < size; at++) if (((uint8_t)text[at] & 0xc0) != 0x80 && characters-- <= 0) break;
    return at;
}

int64_t hone_j_length(const hone_jvalue *v)
{
    if (v->kind == HONE_J_TEXT) return hone_j_characters(v->text, v->size);
    if (v->kind == HONE_J_UNDEFINED) return 0;
    return hone_j_is_list(v) || v->kind == HONE_J_DICT ? v->count : v->kind == HONE_J_LOOP ? v->loop->items->count : -1;
}

hone_jvalue *hone_j_items(hone_room *room, hone_jvalue *v)
{
    if (v->kind == HONE_J_LIST) return v;
    hone_jvalue *list = hone_j_new(room, HONE_J_LIST);
    if (!list) return NULL;
    if (v->kind == HONE_J_TUPLE || v->kind == HONE_J_DICT) {
        list->at = v->kind == HONE_J_DICT ? v->key : v->at; // shared: values never change, and adding makes a copy
        list->count = list->capacity = v->count;
    } else if (v->kind == HONE_J_TEXT) {
        for (size_t at = 0; at < v->size;) {
            size_t n = hone_j_offset(v->text + at, v->size - at, 1);
            if (hone_j_add(room, list, hone_j_borrow(room, v->text + at, n))) return NULL;
            at += n;
        }
    } else if (v->kind != HONE_J_UNDEFINED) {
        hone_fail("'%s' object is not iterable", hone_j_kind_name(v));
        return NULL;
    }
    return list;
}

// --- printing

// The fewest digits that come back the same; as a decimal where the exponent lies in [-4, 16).
static hone_status print_real(double real, hone_buffer *out)
{
    char digits[40];
    if (isnan(real)) return hone_buffer_append(out, "nan", 3);
    if (isinf(real)) return hone_buffer_print(out, "%sinf", real < 0 ? "-" : "");
    int precision = 1;
    do snprintf(digits, sizeof digits, "%.*e", precision - 1, real);
    while (precision++ < 17 && strtod(digits, NULL) != real);
    const char *e = strchr(digits, 'e');
    int exponent = atoi(e + 1), n = precision - 1; // n digits
    if (exponent < -4 || exponent >= 16) return hone_buffer_print(out, "%.*se%c%02d", (int)(e - digits), digits, exponent < 0 ? '-' : '+', abs(exponent));
    int behind = n - 1 - exponent;
    return hone_buffer_print(out, "%.*f", behind < 1 ? 1 : behind, real);
}

static hone_status repr_text(const hone_jvalue *v, hone_buffer *out)
{
    bool single = v->size && memchr(v->text, '\'', v->size), both = single && memchr(v->text, '"', v->size);
    char quote = single && !both ? '"' : '\'';
    hone_status status = hone_buffer_append(out, &quote, 1);
    for (size_t i = 0; i < v->size && !status;) {
        int n;
        uint8_t c = (uint8_t)v->text[i];
        int32_t code = hone_utf8_next(v->text + i, v->size - i, &n);
        if (c == '\n' || c == '\r' || c == '\t') status = hone_buffer_print(out, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c == '\\' || c == (uint8_t)quote) status = hone_buffer_print(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f || (code >= 0x80 && code <= 0xa0) || code == 0xad) status = hone_buffer_print(out, "\\x%02x", (unsigned)code);
        else if (code == 0x200b || (hone_char_is_space(code) && c != ' ')) status = hone_buffer_print(out, "\\u%04x", (unsigned)code);
        else status = hone_buffer_append(out, v->text + i, (size_t)n);
        i += (size_t)n;
    }
    return status ? status : hone_buffer_append(out, &quote, 1);
}

static hone_status repr_items(const hone_jvalue *v, hone_buffer *out, int depth)
{
    bool dict = v->kind == HONE_J_DICT, tuple = v->kind == HONE_J_TUPLE;
    hone_status status = hone_buffer_append(out, dict ? "{" : tuple ? "(" : "[", 1);
    for (int64_t i = 0; i < v->count && !status; i++) {
        if (i) status = hone_buffer_append(out, ", ", 2);
        if (!status && dict && !(status = hone_j_repr(v->key[i], out, depth + 1))) status = hone_buffer_append(out, ": ", 2);
        if (!status) status = hone_j_repr(v->at[i], out, depth + 1);
    }
    if (!status && tuple && v->count == 1) status = hone_buffer_append(out, ",", 1);
    return status ? status : hone_buffer_append(out, dict ? "}" : tuple ? ")" : "]", 1);
}

hone_status hone_j_repr(const hone_jvalue *v, hone_buffer *out, int depth)
{
    if (depth > HONE_JINJA_DEPTH) return hone_fail("values nested more than %d deep", HONE_JINJA_DEPTH);
    if (out->size > HONE_JINJA_OUTPUT_BYTES) return hone_fail("a value prints as more than %d MiB", HONE_JINJA_OUTPUT_BYTES >> 20);
    switch (v->kind) {
    case HONE_J_UNDEFINED: return hone_buffer_append(out, depth ? "Undefined" : "", depth ? 9 : 0);
    case HONE_J_NONE: return hone_buffer_append(out, "None", 4);
    case HONE_J_BOOL: return hone_buffer_append(out, v->whole ? "True" : "False", v->whole ? 4 : 5);
    case HONE_J_INT: return hone_buffer_print(out, "%" PRId64, v->whole);
    case HONE_J_REAL: return print_real(v->real, out);
    case HONE_J_TEXT: return repr_text(v, out);
    case HONE_J_LIST: case HONE_J_TUPLE: case HONE_J_DICT: return repr_items(v, out, depth);
    case HONE_J_MACRO: return hone_buffer_print(out, "<Macro '%s'>", v->macro->text);
    default: return hone_fail("a value of type '%s' cannot be printed; print a member of it, or call it", hone_j_kind_name(v));
    }
}

hone_status hone_j_print(const hone_jvalue *v, hone_buffer *out)
{
    if (v->kind == HONE_J_TEXT) return v->size ? hone_buffer_append(out, v->text, v->size) : HONE_OK;
    return hone_j_repr(v, out, 0);
}

hone_jvalue *hone_j_printed(hone_room *room, const hone_jvalue *v)
{
    if (v->kind == HONE_J_TEXT) return (hone_jvalue *)(uintptr_t)v;
    hone_buffer text = { 0 };
    hone_jvalue *made = hone_j_print(v, &text) ? NULL : hone_j_text(room, text.data, text.size);
    hone_buffer_release(&text);
    return made;
}

// --- JSON, as Python's json.dumps(ensure_ascii=False) writes it

static hone_status json_text(const char *text, size_t size, hone_buffer *out)
{
    hone_status status = hone_buffer_append(out, "\"", 1);
    for (size_t i = 0; i < size && !status; i++) {
        static const char plain[] = "\"\\\n\r\t\b\f", letter[] = "\"\\nrtbf";
        uint8_t c = (uint8_t)text[i];
        const char *known = c ? strchr(plain, c) : NULL;
        if (known) status = hone_buffer_print(out, "\\%c", letter[known - plain]);
        else if (c < 0x20) status = hone_buffer_print(out, "\\u%04x", c);
        else status = hone_buffer_append(out, &text[i], 1);
    }
    return status ? status : hone_buffer_append(out, "\"", 1);
}

static hone_status json_line(int64_t indent, int level, hone_buffer *out)
{
    hone_status status = hone_buffer_append(out, "\n", 1);
    for (int64_t i = 0; i < indent * level && !status; i++) status = hone_buffer_append(out, " ", 1);
    return status;
}

static hone_status json_key(const hone_jvalue *key, hone_buffer *out)
{
    if (key->kind == HONE_J_TEXT) return json_text(key->text, key->size, out);
    if (key->kind != HONE_J_NONE && !hone_j_is_number(key)) return hone_fail("tojson: a key of type '%s'; keys must be texts or numbers", hone_j_kind_name(key));
    hone_status status = hone_buffer_append(out, "\"", 1);
    if (!status) status = hone_j_json(key, -1, false, 0, out);
    return status ? status : hone_buffer_append(out, "\"", 1);
}

static int by_key(const void *a, const void *b)
{
    int sign;
    if (hone_j_compare(**(hone_jvalue *const *const *)a, **(hone_jvalue *const *const *)b, &sign)) return 0;
    return sign;
}

// keys in the order of writing: order[i] points into v->key.
static hone_jvalue ***order_keys(const hone_jvalue *v, bool sort)
{
    hone_jvalue ***order = hone_alloc((size_t)v->count + 1, sizeof *order);
    for (int64_t i = 0; order && i < v->count; i++) order[i] = &v->key[i];
    if (order && sort) qsort(order, (size_t)v->count, sizeof *order, by_key);
    return order;
}

static hone_status json_items(const hone_jvalue *v, int64_t indent, bool sort, int level, hone_buffer *out)
{
    bool dict = v->kind == HONE_J_DICT;
    hone_jvalue ***order = dict ? order_keys(v, sort) : NULL;
    hone_status status = dict && !order ? HONE_FAILED : hone_buffer_append(out, dict ? "{" : "[", 1);
    for (int64_t i = 0; i < v->count && !status; i++) {
        int64_t at = dict ? order[i] - v->key : i;
        if (i) status = hone_buffer_append(out, ", ", indent >= 0 ? 1 : 2);
        if (!status && indent >= 0) status = json_line(indent, level + 1, out);
        if (!status && dict && !(status = json_key(v->key[at], out))) status = hone_buffer_append(out, ": ", 2);
        if (!status) status = hone_j_json(v->at[at], indent, sort, level + 1, out);
    }
    hone_free(order);
    if (!status && indent >= 0 && v->count) status = json_line(indent, level, out);
    return status ? status : hone_buffer_append(out, dict ? "}" : "]", 1);
}

hone_status hone_j_json(const hone_jvalue *v, int64_t indent, bool sort, int level, hone_buffer *out)
{
    if (level > HONE_JINJA_DEPTH) return hone_fail("tojson: values nested more than %d deep", HONE_JINJA_DEPTH);
    if (out->size > HONE_JINJA_OUTPUT_BYTES) return hone_fail("tojson writes more than %d MiB", HONE_JINJA_OUTPUT_BYTES >> 20);
    switch (v->kind) {
    case HONE_J_NONE: return hone_buffer_append(out, "null", 4);
    case HONE_J_BOOL: return hone_buffer_append(out, v->whole ? "true" : "false", v->whole ? 4 : 5);
    case HONE_J_REAL:
        if (isnan(v->real)) return hone_buffer_append(out, "NaN", 3);
        if (isinf(v->real)) return hone_buffer_print(out, "%sInfinity", v->real < 0 ? "-" : "");
        return print_real(v->real, out);
    case HONE_J_INT: return hone_j_repr(v, out, 0);
    case HONE_J_TEXT: return json_text(v->text, v->size, out);
    case HONE_J_LIST: case HONE_J_TUPLE: case HONE_J_DICT: return json_items(v, indent, sort, level, out);
    default:
        if (hone_jinja_undefined(v)) return HONE_FAILED;
        return hone_fail("tojson: a value of type '%s' cannot be written as JSON", hone_j_kind_name(v));
    }
}
