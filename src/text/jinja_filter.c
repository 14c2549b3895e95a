// jinja_filter.c: filters (value | name) and tests (value is name). One row each in the tables at the end.
#include "text/jinja_parts.h"
#include "text/parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FILTER(name) static hone_jvalue *name(hone_jrender *r, hone_jvalue *self, const hone_jargs *args)
static const hone_jargs no_args = { 0 };

static hone_jvalue *as_text(hone_jrender *r, hone_jvalue *v) { return hone_j_printed(&r->room, v); }

static hone_jvalue *call_method(hone_jrender *r, hone_jvalue *self, const char *name, const hone_jargs *args)
{
    hone_jvalue *text = as_text(r, self);
    return text ? hone_jinja_method(text, name)->call(r, text, args) : NULL;
}

static bool option(const hone_jargs *args, int index, const char *name, bool otherwise)
{
    const hone_jvalue *v = hone_jinja_argument(args, index, name);
    return v ? hone_j_truth(v) : otherwise;
}

// "a.b.0" of a value; path NULL or None: the value.
static hone_jvalue *get_path(hone_jrender *r, hone_jvalue *value, const hone_jvalue *path)
{
    if (!path || path->kind == HONE_J_NONE) return value;
    if (hone_j_is_whole(path)) return hone_jinja_item(r, value, (hone_jvalue *)(uintptr_t)path);
    if (path->kind != HONE_J_TEXT) return hone_fail("an attribute is named by a text"), NULL;
    for (size_t from = 0, to; value && from <= path->size; from = to + 1) {
        char *end;
        for (to = from; to < path->size && path->text[to] != '.';) to++;
        hone_jvalue *key = hone_j_text(&r->room, path->text + from, to - from);
        if (!key) return NULL;
        long long whole = strtoll(key->text, &end, 10);
        value = hone_jinja_item(r, value, *end || !key->size ? key : hone_j_int(&r->room, whole));
    }
    return value;
}

// --- texts

FILTER(upper) { return call_method(r, self, "upper", args); }
FILTER(lower) { return call_method(r, self, "lower", args); }
FILTER(capitalize) { return call_method(r, self, "capitalize", args); }
FILTER(trim) { return call_method(r, self, "strip", args); }
FILTER(replace) { return call_method(r, self, "replace", args); }
FILTER(string) { (void)args; return as_text(r, self); }

// Words begin behind blanks, hyphens and opening brackets.
FILTER(title)
{
    hone_jvalue *text = as_text(r, self), *out = text ? hone_j_text(&r->room, "", 0) : NULL;
    hone_buffer all = { 0 };
    hone_status status = out ? HONE_OK : HONE_FAILED;
    (void)args;
    for (size_t at = 0; !status && at < text->size;) {
        size_t from = at;
        int n;
        bool apart = false;
        for (; at < text->size; at += (size_t)n) {
            int32_t code = hone_utf8_next(text->text + at, text->size - at, &n);
            bool separates = hone_char_is_space(code) || (code >= 0x1c && code <= 0x1f) || (code < 0x80 && strchr("-({[<", code) && code);
            if (at > from && separates != apart) break;
            apart = separates;
        }
        hone_jvalue *word = hone_j_borrow(&r->room, text->text + from, at - from), *made = word ? call_method(r, word, "capitalize", &no_args) : NULL;
        status = made ? hone_buffer_append(&all, made->text, made->size) : HONE_FAILED;
    }
    hone_jvalue *value = status ? NULL : hone_j_text(&r->room, all.data, all.size);
    hone_buffer_release(&all);
    return value;
}

// As Jinja counts lines, a text that ends with a line break has one more, empty.
static hone_jvalue *lines_of(hone_jrender *r, hone_jvalue *text)
{
    hone_jvalue *keep = hone_j_bool(&r->room, true), *whole = keep ? call_method(r, text, "splitlines", &(hone_jargs){ .at = &keep, .n = 1 }) : NULL;
    hone_jvalue *lines = whole ? call_method(r, text, "splitlines", &no_args) : NULL;
    if (!lines) return NULL;
    int64_t n = whole->count;
    bool ended = n == 0 || whole->at[n - 1]->size > lines->at[n - 1]->size;
    return ended && hone_j_add(&r->room, lines, hone_j_text(&r->room, "", 0)) ? NULL : lines;
}

FILTER(indent)
{
    const hone_jvalue *width = hone_jinja_argument(args, 0, "width");
    bool first = option(args, 1, "first", false), blank = option(args, 2, "blank", false);
    hone_jvalue *lines = self->kind == HONE_J_TEXT ? lines_of(r, self) : hone_jinja_undefined(self) ? NULL : (hone_fail("indent wants a text, not '%s'", hone_j_kind_name(self)), NULL);
    hone_buffer pad = { 0 }, out = { 0 };
    if (!lines) return NULL;
    if (width && width->kind != HONE_J_TEXT && !(hone_j_is_whole(width) && width->whole <= 1000)) return hone_fail("indent: width must be a text, or a number up to 1,000"), NULL;
    hone_status status = HONE_OK;
    if (width && width->kind == HONE_J_TEXT) status = hone_buffer_append(&pad, width->text, width->size);
    else for (int64_t i = 0; i < (width ? width->whole : 4) && !status; i++) status = hone_buffer_append(&pad, " ", 1);
    for (int64_t i = 0; i < lines->count && !status; i++) {
        const hone_jvalue *line = lines->at[i];
        if (i) status = hone_buffer_append(&out, "\n", 1);
        if (!status && (i == 0 ? first : blank || line->size) && pad.size) status = hone_buffer_append(&out, pad.data, pad.size);
        if (!status && line->size) status = hone_buffer_append(&out, line->text, line->size);
    }
    hone_jvalue *value = status ? NULL : hone_j_text(&r->room, out.data, out.size);
    hone_buffer_release(&pad);
    hone_buffer_release(&out);
    return value;
}

// A %-conversion of Python: flags, width, .precision, then one of s r d i x f e g.
typedef struct { bool zero, left, plus; int width, precision; char kind; size_t size; } conversion;

static int small_number(const char *text, size_t size, size_t *at)
{
    int n = 0;
    for (; *at < size && text[*at] >= '0' && text[*at] <= '9'; ++*at) n = n > 1000 ? n : n * 10 + (text[*at] - '0');
    return n;
}

static bool parse_conversion(const char *text, size_t size, conversion *c)
{
    size_t at = 1;
    *c = (conversion){ .precision = -1 };
    for (; at < size && strchr("0-+", text[at]) && text[at]; at++) {
        c->zero |= text[at] == '0';
        c->left |= text[at] == '-';
        c->plus |= text[at] == '+';
    }
    c->width = small_number(text, size, &at);
    if (at < size && text[at] == '.') { at++; c->precision = small_number(text, size, &at); }
    c->kind = at < size ? text[at] : 0;
    c->size = at + 1;
    return c->kind && strchr("srdixfeg", c->kind) && c->width <= 1000 && c->precision <= 1000;
}

static hone_status convert_number(const hone_jvalue *v, const conversion *c, hone_buffer *out)
{
    const char *plus = c->plus ? "+" : "";
    double real = hone_j_is_number(v) ? hone_j_number(v) : 0;
    int precision = c->precision < 0 ? 6 : c->precision;
    if (!hone_j_is_number(v)) return hone_fail("format: %%%c wants a number, not '%s'", c->kind, hone_j_kind_name(v));
    if (real < 0) plus = "";
    if (c->kind == 'f') return hone_buffer_print(out, "%s%.*f", plus, precision, real);
    if (c->kind == 'e') return hone_buffer_print(out, "%s%.*e", plus, precision, real);
    if (c->kind == 'g') return hone_buffer_print(out, "%s%.*g", plus, precision, real);
    if (c->precision >= 0 || !(fabs(real) < 9e18) || (c->kind == 'x' && (v->kind == HONE_J_REAL || v->whole < 0))) return hone_fail("format: this %%%c is not supported", c->kind);
    int64_t whole = v->kind == HONE_J_REAL ? (int64_t)real : v->whole;
    return c->kind == 'x' ? hone_buffer_print(out, "%s%" PRIx64, plus, whole) : hone_buffer_print(out, "%s%" PRId64, plus, whole);
}

static hone_status convert(const hone_jvalue *v, const conversion *c, hone_buffer *out)
{
    hone_buffer body = { 0 };
    bool text = c->kind == 's' || c->kind == 'r';
    hone_status status = c->kind == 's' ? hone_j_print(v, &body) : c->kind == 'r' ? hone_j_repr(v, &body, 1) : convert_number(v, c, &body);
    if (!status && text && c->precision >= 0) body.size = hone_j_offset(body.data, body.size, c->precision);
    int64_t fill = status ? 0 : c->width - hone_j_characters(body.data, body.size);
    bool zeros = c->zero && !c->left && !text, sign = !text && body.size && strchr("+-", body.data[0]);
    size_t ahead = zeros && sign ? 1 : 0;
    if (!status && ahead) status = hone_buffer_append(out, body.data, ahead);
    for (int64_t i = 0; i < fill && !c->left && !status; i++) status = hone_buffer_append(out, zeros ? "0" : " ", 1);
    if (!status && body.size > ahead) status = hone_buffer_append(out, body.data + ahead, body.size - ahead);
    for (int64_t i = 0; i < fill && c->left && !status; i++) status = hone_buffer_append(out, " ", 1);
    hone_buffer_release(&body);
    return status;
}

FILTER(format)
{
    hone_jvalue *text = as_text(r, self);
    hone_buffer out = { 0 };
    int used = 0;
    hone_status status = text ? HONE_OK : HONE_FAILED;
    for (size_t at = 0; !status && at < text->size;) {
        const char *here = text->text + at;
        conversion c = { .size = 1 };
        if (*here != '%') status = hone_buffer_append(&out, here, 1);
        else if (here[1] == '%') {
            c.size = 2;
            status = hone_buffer_append(&out, "%", 1);
        } else if (!parse_conversion(here, text->size - at, &c)) status = hone_fail("format: the conversion '%.20s' is not supported", here);
        else if (used >= args->n) status = hone_fail("format: more conversions than values");
        else status = convert(args->at[used++], &c, &out);
        at += c.size;
    }
    if (!status && used < args->n) status = hone_fail("format: %d values for %d conversions", args->n, used);
    hone_jvalue *value = status ? NULL : hone_j_text(&r->room, out.data, out.size);
    hone_buffer_release(&out);
    return value;
}

FILTER(tojson)
{
    const hone_jvalue *indent = hone_jinja_argument(args, 1, "indent"), *separators = hone_jinja_argument(args, 2, "separators");
    hone_buffer text = { 0 };
    if (option(args, 0, "ensure_ascii", false)) return hone_fail("tojson: ensure_ascii is not supported"), NULL;
    if (separators && separators->kind != HONE_J_NONE) return hone_fail("tojson: separators are not supported"), NULL;
    if (indent && indent->kind != HONE_J_NONE && (!hone_j_is_whole(indent) || indent->whole > 100)) return hone_fail("tojson: indent must be a number up to 100"), NULL;
    int64_t n = indent && indent->kind != HONE_J_NONE ? (indent->whole < 0 ? 0 : indent->whole) : -1;
    hone_jvalue *value = hone_j_json(self, n, option(args, 3, "sort_keys", false), 0, &text) ? NULL : hone_j_text(&r->room, text.data, text.size);
    hone_buffer_release(&text);
    return value;
}

// --- numbers

FILTER(absolute)
{
    (void)args;
    if (self->kind == HONE_J_REAL) return hone_j_real(&r->room, fabs(self->real));
    if (hone_j_is_whole(self) && self->whole != INT64_MIN) return hone_j_int(&r->room, llabs(self->whole));
    return hone_jinja_undefined(self) ? NULL : (hone_fail("abs wants a number, not '%s'", hone_j_kind_name(self)), NULL);
}

static bool parse_number(const hone_jvalue *v, double *real)
{
    char *end;
    if (v->size == 0 || v->size > 300 || memchr(v->text, 'x', v->size) || memchr(v->text, 'X', v->size)) return false;
    char text[304];
    memcpy(text, v->text, v->size);
    text[v->size] = 0;
    *real = strtod(text, &end);
    while (end > text && *end && strchr(" \t\n\r", *end)) end++;
    return end > text && *end == 0;
}

FILTER(whole)
{
    hone_jvalue *otherwise = hone_jinja_argument(args, 0, "default");
    double real;
    if (hone_jinja_undefined(self)) return NULL;
    if (hone_j_is_whole(self)) return hone_j_int(&r->room, self->whole);
    bool number = self->kind == HONE_J_REAL ? (real = self->real, true) : self->kind == HONE_J_TEXT && parse_number(self, &real);
    if (number && fabs(real) < 9007199254740992.0) return hone_j_int(&r->room, (int64_t)real);
    if (number && isfinite(real)) return hone_fail("int: a number beyond 2^53"), NULL;
    return otherwise ? otherwise : hone_j_int(&r->room, 0);
}

FILTER(real)
{
    hone_jvalue *otherwise = hone_jinja_argument(args, 0, "default");
    double value;
    if (hone_jinja_undefined(self)) return NULL;
    if (hone_j_is_number(self)) return hone_j_real(&r->room, hone_j_number(self));
    if (self->kind == HONE_J_TEXT && parse_number(self, &value)) return hone_j_real(&r->room, value);
    return otherwise ? otherwise : hone_j_real(&r->room, 0);
}

FILTER(rounded)
{
    const hone_jvalue *precision = hone_jinja_argument(args, 0, "precision"), *method = hone_jinja_argument(args, 1, "method");
    int64_t digits = precision && hone_j_is_whole(precision) ? precision->whole : 0;
    char text[400];
    if (!hone_j_is_number(self)) return hone_jinja_undefined(self) ? NULL : (hone_fail("round wants a number, not '%s'", hone_j_kind_name(self)), NULL);
    if (digits < 0 || digits > 50) return hone_fail("round: a precision of 0 to 50 digits"), NULL;
    double value = hone_j_number(self), scale = pow(10, (double)digits);
    if (method && method->kind == HONE_J_TEXT && !strcmp(method->text, "ceil")) return hone_j_real(&r->room, ceil(value * scale) / scale);
    if (method && method->kind == HONE_J_TEXT && !strcmp(method->text, "floor")) return hone_j_real(&r->room, floor(value * scale) / scale);
    snprintf(text, sizeof text, "%.*f", (int)digits, value);
    return hone_j_is_whole(self) ? hone_j_int(&r->room, self->whole) : hone_j_real(&r->room, strtod(text, NULL));
}

// --- lists

FILTER(length)
{
    int64_t n = hone_j_length(self);
    (void)args;
    return n >= 0 ? hone_j_int(&r->room, n) : (hone_fail("a value of type '%s' has no length", hone_j_kind_name(self)), NULL);
}

FILTER(list)
{
    (void)args;
    return hone_j_items(&r->room, self);
}

static hone_jvalue *end_item(hone_jrender *r, hone_jvalue *self, bool last)
{
    const hone_jvalue *items = hone_j_items(&r->room, self);
    if (!items) return NULL;
    return items->count ? items->at[last ? items->count - 1 : 0] : hone_j_new(&r->room, HONE_J_UNDEFINED);
}
FILTER(first) { (void)args; return end_item(r, self, false); }
FILTER(last) { (void)args; return end_item(r, self, true); }

FILTER(reverse)
{
    hone_jvalue *items = hone_j_items(&r->room, self), *list = hone_j_new(&r->room, HONE_J_LIST);
    (void)args;
    if (!items || !list) return NULL;
    for (int64_t i = items->count; i-- > 0;) if (hone_j_add(&r->room, list, items->at[i])) return NULL;
    if (self->kind != HONE_J_TEXT) return list;
    hone_jargs of = { .at = &list, .n = 1 };
    hone_jvalue *empty = hone_j_text(&r->room, "", 0);
    return empty ? call_method(r, empty, "join", &of) : NULL;
}

FILTER(join)
{
    hone_jvalue *items = hone_j_items(&r->room, self), *texts = hone_j_new(&r->room, HONE_J_LIST), *by = hone_jinja_argument(args, 0, "d");
    const hone_jvalue *path = hone_jinja_argument(args, 1, "attribute");
    if (!by) by = hone_j_text(&r->room, "", 0);
    if (!items || !texts || !by) return NULL;
    for (int64_t i = 0; i < items->count; i++) {
        hone_jvalue *item = get_path(r, items->at[i], path);
        if (!item || hone_j_add(&r->room, texts, as_text(r, item))) return NULL;
    }
    return call_method(r, by, "join", &(hone_jargs){ .at = &texts, .n = 1 });
}

typedef struct { hone_jvalue *key, *value; int64_t at; bool backwards; } sortable;
static _Thread_local bool no_order;
static int by_order(const void *a, const void *b)
{
    const sortable *x = a, *y = b;
    int sign;
    if (hone_j_compare(x->key, y->key, &sign)) { no_order = true; sign = 0; }
    if (sign && x->backwards) sign = -sign;
    return sign ? sign : (x->at > y->at) - (x->at < y->at);
}

// What case-insensitive filters compare.
static hone_jvalue *sort_key(hone_jrender *r, hone_jvalue *v, bool exact)
{
    return !exact && v && v->kind == HONE_J_TEXT ? call_method(r, v, "lower", &no_args) : v;
}

static hone_jvalue *sorted(hone_jrender *r, const hone_jvalue *items, const hone_jvalue *path, bool exact, bool backwards)
{
    hone_jvalue *list = hone_j_new(&r->room, HONE_J_LIST);
    sortable *all = hone_room_take(&r->room, (size_t)items->count + 1, sizeof *all);
    for (int64_t i = 0; all && i < items->count; i++) {
        hone_jvalue *key = get_path(r, items->at[i], path);
        all[i] = (sortable){ key ? sort_key(r, key, exact) : NULL, items->at[i], i, backwards };
        if (!all[i].key) return NULL;
    }
    if (!list || !all) return NULL;
    no_order = false;
    qsort(all, (size_t)items->count, sizeof *all, by_order);
    if (no_order) return NULL; // the message is set
    for (int64_t i = 0; i < items->count; i++) if (hone_j_add(&r->room, list, all[i].value)) return NULL;
    return list;
}

FILTER(sort)
{
    const hone_jvalue *items = hone_j_items(&r->room, self);
    return items ? sorted(r, items, hone_jinja_argument(args, 2, "attribute"), option(args, 1, "case_sensitive", false), option(args, 0, "reverse", false)) : NULL;
}

FILTER(dictsort)
{
    if (self->kind != HONE_J_DICT) return hone_fail("dictsort wants a dict, not '%s'", hone_j_kind_name(self)), NULL;
    const hone_jvalue *by = hone_jinja_argument(args, 1, "by");
    bool values = by && by->kind == HONE_J_TEXT && !strcmp(by->text, "value");
    hone_jvalue *items = hone_jinja_method(self, "items")->call(r, self, &no_args), *path = hone_j_int(&r->room, values);
    return items && path ? sorted(r, items, path, option(args, 0, "case_sensitive", false), option(args, 2, "reverse", false)) : NULL;
}

FILTER(unique)
{
    const hone_jvalue *items = hone_j_items(&r->room, self), *path = hone_jinja_argument(args, 1, "attribute");
    hone_jvalue *list = hone_j_new(&r->room, HONE_J_LIST), *seen = hone_j_new(&r->room, HONE_J_DICT);
    for (int64_t i = 0; items && list && seen && i < items->count; i++) {
        hone_jvalue *key = get_path(r, items->at[i], path);
        int64_t before = seen->count;
        if (!key || !(key = sort_key(r, key, option(args, 0, "case_sensitive", false))) || hone_j_put(&r->room, seen, key, key)) return NULL;
        if (seen->count > before && hone_j_add(&r->room, list, items->at[i])) return NULL;
    }
    return items && seen ? list : NULL;
}

static hone_jvalue *extreme(hone_jrender *r, hone_jvalue *self, const hone_jargs *args, bool most)
{
    const hone_jvalue *items = hone_j_items(&r->room, self);
    if (!items) return NULL;
    if (items->count == 0) return hone_j_new(&r->room, HONE_J_UNDEFINED);
    const hone_jvalue *all = sorted(r, items, hone_jinja_argument(args, 1, "attribute"), option(args, 0, "case_sensitive", false), most);
    return all ? all->at[0] : NULL;
}
FILTER(least) { return extreme(r, self, args, false); }
FILTER(most) { return extreme(r, self, args, true); }

FILTER(sum)
{
    const hone_jvalue *items = hone_j_items(&r->room, self), *path = hone_jinja_argument(args, 0, "attribute"), *start = hone_jinja_argument(args, 1, "start");
    double total = start && hone_j_is_number(start) ? hone_j_number(start) : 0;
    int64_t whole = start && hone_j_is_whole(start) ? start->whole : 0;
    bool real = start && start->kind == HONE_J_REAL;
    for (int64_t i = 0; items && i < items->count; i++) {
        const hone_jvalue *item = get_path(r, items->at[i], path);
        if (!item) return NULL;
        if (!hone_j_is_number(item)) return hone_fail("sum wants numbers, item %" PRId64 " is '%s'", i, hone_j_kind_name(item)), NULL;
        real |= item->kind == HONE_J_REAL;
        total += hone_j_number(item);
        if (item->kind != HONE_J_REAL && __builtin_add_overflow(whole, item->whole, &whole)) return hone_fail("sum: beyond 64 bits"), NULL;
    }
    return !items ? NULL : real ? hone_j_real(&r->room, total) : hone_j_int(&r->room, whole);
}

FILTER(items)
{
    (void)args;
    if (self->kind == HONE_J_UNDEFINED) return hone_j_new(&r->room, HONE_J_LIST);
    if (self->kind != HONE_J_DICT) return hone_fail("items wants a dict, not '%s'", hone_j_kind_name(self)), NULL;
    return hone_jinja_method(self, "items")->call(r, self, &no_args);
}

FILTER(attribute)
{
    return args->at[0]->kind == HONE_J_TEXT ? hone_jinja_attribute(r, self, args->at[0]->text) : (hone_fail("attr wants a name"), NULL);
}

FILTER(or_default)
{
    hone_jvalue *otherwise = hone_jinja_argument(args, 0, "default_value");
    bool given = option(args, 1, "boolean", false) ? hone_j_truth(self) : self->kind != HONE_J_UNDEFINED;
    return given ? self : otherwise ? otherwise : hone_j_text(&r->room, "", 0);
}

FILTER(safe) { (void)args; return as_text(r, self); }

static hone_jvalue *items_or_none(hone_jrender *r, hone_jvalue *v) // whatever counts as false has no items
{
    return hone_j_truth(v) ? hone_j_items(&r->room, v) : hone_j_new(&r->room, HONE_J_LIST);
}

// map(attribute=...) or map('filter', ...)
FILTER(map)
{
    const hone_jvalue *items = items_or_none(r, self), *path = hone_jinja_named(args, "attribute");
    hone_jvalue *list = hone_j_new(&r->room, HONE_J_LIST), *otherwise = hone_jinja_named(args, "default");
    if (!path && (args->n == 0 || args->at[0]->kind != HONE_J_TEXT)) return hone_fail("map wants the name of a filter, or attribute="), NULL;
    hone_jargs rest = *args;
    if (!path) { rest.at++; rest.n--; }
    for (int64_t i = 0; items && list && i < items->count; i++) {
        hone_jvalue *made = path ? get_path(r, items->at[i], path) : hone_jinja_filter(r, args->at[0]->text, items->at[i], &rest);
        if (made && path && otherwise && made->kind == HONE_J_UNDEFINED) made = otherwise;
        if (hone_j_add(&r->room, list, made)) return NULL;
    }
    return items ? list : NULL;
}

// The items of which a test holds (wanted) or does not. by_attribute: the first argument names what of an item is tested.
static hone_jvalue *choose(hone_jrender *r, hone_jvalue *self, const hone_jargs *args, bool by_attribute, bool wanted)
{
    const hone_jvalue *items = items_or_none(r, self);
    hone_jvalue *list = hone_j_new(&r->room, HONE_J_LIST);
    int at = by_attribute;
    if (!items || !list) return NULL;
    if (args->n > at && args->at[at]->kind != HONE_J_TEXT) return hone_fail("a test is named by a text"), NULL;
    for (int64_t i = 0; i < items->count; i++) {
        hone_jvalue *value = get_path(r, items->at[i], by_attribute ? args->at[0] : NULL), *holds = value;
        hone_jargs rest = { .at = args->at + at + 1, .n = args->n - at - 1 };
        if (value && args->n > at) holds = hone_jinja_test(r, args->at[at]->text, value, &rest);
        if (!holds || (hone_j_truth(holds) == wanted && hone_j_add(&r->room, list, items->at[i]))) return NULL;
    }
    return list;
}
FILTER(select_items) { return choose(r, self, args, false, true); }
FILTER(reject_items) { return choose(r, self, args, false, false); }
FILTER(select_by) { return choose(r, self, args, true, true); }
FILTER(reject_by) { return choose(r, self, args, true, false); }

// --- tests

#define TEST(name, holds) FILTER(name) { (void)args; return hone_j_bool(&r->room, (holds)); }
TEST(is_defined, self->kind != HONE_J_UNDEFINED)
TEST(is_undefined, self->kind == HONE_J_UNDEFINED)
TEST(is_none, self->kind == HONE_J_NONE)
TEST(is_true, self->kind == HONE_J_BOOL && self->whole)
TEST(is_false, self->kind == HONE_J_BOOL && !self->whole)
TEST(is_boolean, self->kind == HONE_J_BOOL)
TEST(is_integer, self->kind == HONE_J_INT)
TEST(is_float, self->kind == HONE_J_REAL)
TEST(is_number, hone_j_is_number(self))
TEST(is_string, self->kind == HONE_J_TEXT)
TEST(is_mapping, self->kind == HONE_J_DICT)
TEST(is_sequence, self->kind == HONE_J_TEXT || hone_j_is_list(self) || self->kind == HONE_J_DICT || self->kind == HONE_J_UNDEFINED)
TEST(is_iterable, self->kind == HONE_J_TEXT || hone_j_is_list(self) || self->kind == HONE_J_DICT || self->kind == HONE_J_UNDEFINED || self->kind == HONE_J_LOOP)
TEST(is_callable, self->kind == HONE_J_FUNCTION || self->kind == HONE_J_MACRO)

static hone_jvalue *parity(hone_jrender *r, const hone_jvalue *self, int64_t rest)
{
    if (!hone_j_is_number(self)) return hone_jinja_undefined(self) ? NULL : (hone_fail("odd and even want a number, not '%s'", hone_j_kind_name(self)), NULL);
    return hone_j_bool(&r->room, hone_j_is_whole(self) ? (self->whole & 1) == rest : fabs(fmod(self->real, 2)) == (double)rest);
}
FILTER(is_odd) { (void)args; return parity(r, self, 1); }
FILTER(is_even) { (void)args; return parity(r, self, 0); }

FILTER(is_divisible)
{
    const hone_jvalue *by = args->at[0];
    if (!hone_j_is_number(self) || !hone_j_is_number(by) || hone_j_number(by) == 0) return hone_fail("divisibleby wants numbers, the second not 0"), NULL;
    bool whole = hone_j_is_whole(self) && hone_j_is_whole(by);
    return hone_j_bool(&r->room, whole ? by->whole == -1 || self->whole % by->whole == 0 : fmod(hone_j_number(self), hone_j_number(by)) == 0);
}

static hone_jvalue *case_is(hone_jrender *r, hone_jvalue *self, const char *method)
{
    const hone_jvalue *text = as_text(r, self), *mapped = text ? call_method(r, self, method, &no_args) : NULL;
    const hone_jvalue *other = mapped ? call_method(r, self, !strcmp(method, "upper") ? "lower" : "upper", &no_args) : NULL;
    return other ? hone_j_bool(&r->room, hone_j_equal(text, mapped) && !hone_j_equal(mapped, other)) : NULL;
}
FILTER(is_upper) { (void)args; return case_is(r, self, "upper"); }
FILTER(is_lower) { (void)args; return case_is(r, self, "lower"); }

TEST(is_equal, hone_j_equal(self, args->at[0]))
TEST(is_unequal, !hone_j_equal(self, args->at[0]))
TEST(is_same, self == args->at[0] || (self->kind == args->at[0]->kind && self->kind <= HONE_J_INT && hone_j_equal(self, args->at[0])))

static hone_jvalue *ordered(hone_jrender *r, const hone_jvalue *self, const hone_jargs *args, int low, int high)
{
    int sign;
    if (hone_j_compare(self, args->at[0], &sign)) return NULL;
    sign = (sign > 0) - (sign < 0);
    return hone_j_bool(&r->room, sign >= low && sign <= high);
}
FILTER(is_less) { return ordered(r, self, args, -1, -1); }
FILTER(is_less_or_equal) { return ordered(r, self, args, -1, 0); }
FILTER(is_greater) { return ordered(r, self, args, 1, 1); }
FILTER(is_greater_or_equal) { return ordered(r, self, args, 0, 1); }

FILTER(is_within)
{
    bool in;
    return hone_j_contains(args->at[0], self, &in) ? NULL : hone_j_bool(&r->room, in);
}

static const hone_jfunction filter_table[] = {
    { "abs", absolute, 0, 0, "" }, { "attr", attribute, 1, 1, "" }, { "capitalize", capitalize, 0, 0, "" }, { "count", length, 0, 0, "" }, { "d", or_default, 0, 2, "default_value boolean" },
    { "default", or_default, 0, 2, "default_value boolean" }, { "dictsort", dictsort, 0, 3, "case_sensitive by reverse" }, { "first", first, 0, 0, "" },
    { "float", real, 0, 1, "default" }, { "format", format, 0, -1, "" }, { "indent", indent, 0, 3, "width first blank" }, { "int", whole, 0, 1, "default" },
    { "items", items, 0, 0, "" }, { "join", join, 0, 2, "d attribute" }, { "last", last, 0, 0, "" }, { "length", length, 0, 0, "" }, { "list", list, 0, 0, "" },
    { "lower", lower, 0, 0, "" }, { "map", map, 0, -1, "*" }, { "max", most, 0, 2, "case_sensitive attribute" }, { "min", least, 0, 2, "case_sensitive attribute" },
    { "reject", reject_items, 0, -1, "" }, { "rejectattr", reject_by, 1, -1, "" }, { "replace", replace, 2, 3, "old new count" }, { "reverse", reverse, 0, 0, "" },
    { "round", rounded, 0, 2, "precision method" }, { "safe", safe, 0, 0, "" }, { "select", select_items, 0, -1, "" }, { "selectattr", select_by, 1, -1, "" },
    { "sort", sort, 0, 3, "reverse case_sensitive attribute" }, { "string", string, 0, 0, "" }, { "sum", sum, 0, 2, "attribute start" }, { "title", title, 0, 0, "" },
    { "tojson", tojson, 0, 4, "ensure_ascii indent separators sort_keys" }, { "trim", trim, 0, 1, "chars" }, { "unique", unique, 0, 2, "case_sensitive attribute" },
    { "upper", upper, 0, 0, "" } };

static const hone_jfunction test_table[] = {
    { "defined", is_defined, 0, 0, "" }, { "undefined", is_undefined, 0, 0, "" }, { "none", is_none, 0, 0, "" }, { "true", is_true, 0, 0, "" }, { "false", is_false, 0, 0, "" },
    { "boolean", is_boolean, 0, 0, "" }, { "integer", is_integer, 0, 0, "" }, { "float", is_float, 0, 0, "" }, { "number", is_number, 0, 0, "" }, { "string", is_string, 0, 0, "" },
    { "mapping", is_mapping, 0, 0, "" }, { "sequence", is_sequence, 0, 0, "" }, { "iterable", is_iterable, 0, 0, "" }, { "callable", is_callable, 0, 0, "" }, { "odd", is_odd, 0, 0, "" },
    { "even", is_even, 0, 0, "" }, { "divisibleby", is_divisible, 1, 1, "" }, { "upper", is_upper, 0, 0, "" }, { "lower", is_lower, 0, 0, "" }, { "in", is_within, 1, 1, "" },
    { "eq", is_equal, 1, 1, "" }, { "equalto", is_equal, 1, 1, "" }, { "==", is_equal, 1, 1, "" }, { "ne", is_unequal, 1, 1, "" }, { "!=", is_unequal, 1, 1, "" },
    { "sameas", is_same, 1, 1, "" }, { "lt", is_less, 1, 1, "" }, { "<", is_less, 1, 1, "" }, { "lessthan", is_less, 1, 1, "" }, { "le", is_less_or_equal, 1, 1, "" },
    { "<=", is_less_or_equal, 1, 1, "" }, { "gt", is_greater, 1, 1, "" }, { ">", is_greater, 1, 1, "" }, { "greaterthan", is_greater, 1, 1, "" },
    { "ge", is_greater_or_equal, 1, 1, "" }, { ">=", is_greater_or_equal, 1, 1, "" } };

hone_jvalue *hone_jinja_filter(hone_jrender *r, const char *name, hone_jvalue *value, const hone_jargs *args)
{
    return hone_jinja_apply(r, filter_table, (int)(sizeof filter_table / sizeof *filter_table), "filter", name, value, args);
}

hone_jvalue *hone_jinja_test(hone_jrender *r, const char *name, hone_jvalue *value, const hone_jargs *args)
{
    return hone_jinja_apply(r, test_table, (int)(sizeof test_table / sizeof *test_table), "test", name, value, args);
}
