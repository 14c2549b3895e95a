// jinja_method.c: methods of texts, lists and dicts, and the functions that every template may call. Text is UTF-8; what Python counts
// in characters is counted in characters here. Upper and lower case map one letter to one letter, but for ß.
#include "text/jinja_parts.h"
#include "text/parts.h"

#include <inttypes.h>
#include <string.h>
#include <utf8proc.h>

#define METHOD(name) static hone_jvalue *name(hone_jrender *r, hone_jvalue *self, const hone_jargs *args)

static bool is_space(int32_t code) { return hone_char_is_space(code) || (code >= 0x1c && code <= 0x1f); }

static const hone_jvalue *text_argument(const hone_jargs *args, int index, const char *name)
{
    const hone_jvalue *v = hone_jinja_argument(args, index, name);
    if (v && v->kind == HONE_J_TEXT) return v;
    if (!v) hone_fail("a text is missing as argument %d", index + 1);
    else if (!hone_jinja_undefined(v)) hone_fail("argument %d must be a text, not '%s'", index + 1, hone_j_kind_name(v));
    return NULL;
}

static bool whole_argument(const hone_jargs *args, int index, const char *name, int64_t *out)
{
    const hone_jvalue *v = hone_jinja_argument(args, index, name);
    if (!v || v->kind == HONE_J_NONE) return true;
    if (!hone_j_is_whole(v)) return hone_fail("argument %d must be a whole number, not '%s'", index + 1, hone_j_kind_name(v)), false;
    *out = v->whole;
    return true;
}

// --- stripping

static bool strips(const hone_jvalue *set, const char *at, size_t n)
{
    int length;
    return set ? memmem(set->text, set->size, at, n) != NULL : is_space(hone_utf8_next(at, n, &length));
}

static hone_jvalue *strip(hone_jrender *r, const hone_jvalue *self, const hone_jargs *args, bool left, bool right)
{
    const hone_jvalue *set = hone_jinja_argument(args, 0, "chars");
    const char *text = self->text;
    size_t size = self->size, n;
    if (set && set->kind == HONE_J_NONE) set = NULL;
    if (set && !(set = text_argument(args, 0, "chars"))) return NULL;
    for (; left && size > 0 && strips(set, text, n = hone_j_offset(text, size, 1)); size -= n) text += n;
    while (right && size > 0) {
        size_t last = size - 1;
        while (last > 0 && ((uint8_t)text[last] & 0xc0) == 0x80) last--;
        if (!strips(set, text + last, size - last)) break;
        size = last;
    }
    return hone_j_borrow(&r->room, text, size);
}

METHOD(text_strip) { return strip(r, self, args, true, true); }
METHOD(text_lstrip) { return strip(r, self, args, true, false); }
METHOD(text_rstrip) { return strip(r, self, args, false, true); }

// --- cutting

static hone_jvalue *split_at_space(hone_jrender *r, const hone_jvalue *self, int64_t most)
{
    hone_jvalue *list = hone_j_new(&r->room, HONE_J_LIST);
    const char *text = self->text;
    size_t at = 0;
    int n;
    while (list) {
        while (at < self->size && is_space(hone_utf8_next(text + at, self->size - at, &n))) at += (size_t)n;
        if (at == self->size) return list;
        size_t from = at;
        if (most >= 0 && list->count == most) {
            hone_jvalue *rest = strip(r, &(hone_jvalue){ .kind = HONE_J_TEXT, .text = text + from, .size = self->size - from }, &(hone_jargs){ 0 }, false, false);
            return hone_j_add(&r->room, list, rest) ? NULL : list;
        }
        while (at < self->size && !is_space(hone_utf8_next(text + at, self->size - at, &n))) at += (size_t)n;
        if (hone_j_add(&r->room, list, hone_j_borrow(&r->room, text + from, at - from))) return NULL;
    }
    return NULL;
}

METHOD(text_split)
{
    const hone_jvalue *by = hone_jinja_argument(args, 0, "sep");
    int64_t most = -1;
    if (!whole_argument(args, 1, "maxsplit", &most)) return NULL;
    if (!by || by->kind == HONE_J_NONE) return split_at_space(r, self, most);
    if (!(by = text_argument(args, 0, "sep"))) return NULL;
    if (by->size == 0) return hone_fail("an empty separator"), NULL;
    hone_jvalue *list = hone_j_new(&r->room, HONE_J_LIST);
    const char *text = self->text, *end = text + self->size, *found;
    while (list && (most < 0 || list->count < most) && (found = memmem(text, (size_t)(end - text), by->text, by->size))) {
        if (hone_j_add(&r->room, list, hone_j_borrow(&r->room, text, (size_t)(found - text)))) return NULL;
        text = found + by->size;
    }
    return list && !hone_j_add(&r->room, list, hone_j_borrow(&r->room, text, (size_t)(end - text))) ? list : NULL;
}

static const char *find_last(const char *text, size_t size, const hone_jvalue *what)
{
    for (size_t at = size < what->size ? 0 : size - what->size + 1; at-- > 0;)
        if (what->size == 0 || memcmp(text + at, what->text, what->size) == 0) return text + at;
    return NULL;
}

METHOD(text_rsplit)
{
    const hone_jvalue *by = hone_jinja_argument(args, 0, "sep"), *most_given = hone_jinja_argument(args, 1, "maxsplit");
    int64_t most = -1;
    if (!most_given) return text_split(r, self, args);
    if (!by || by->kind == HONE_J_NONE) return hone_fail("rsplit() with maxsplit wants a separator"), NULL;
    if (!(by = text_argument(args, 0, "sep")) || !whole_argument(args, 1, "maxsplit", &most)) return NULL;
    if (by->size == 0) return hone_fail("an empty separator"), NULL;
    hone_jvalue *back = hone_j_new(&r->room, HONE_J_LIST), *list = hone_j_new(&r->room, HONE_J_LIST);
    size_t size = self->size;
    const char *found;
    while (back && (most < 0 || back->count < most) && (found = find_last(self->text, size, by))) {
        size_t behind = (size_t)(found - self->text) + by->size;
        if (hone_j_add(&r->room, back, hone_j_borrow(&r->room, self->text + behind, size - behind))) return NULL;
        size = (size_t)(found - self->text);
    }
    if (!back || !list || hone_j_add(&r->room, list, hone_j_borrow(&r->room, self->text, size))) return NULL;
    for (int64_t i = back->count; i-- > 0;) if (hone_j_add(&r->room, list, back->at[i])) return NULL;
    return list;
}

static size_t line_end(const char *text, size_t size) // bytes of the line break at text, 0: there is none
{
    int n;
    int32_t code = hone_utf8_next(text, size, &n);
    if (code == '\r' && size > 1 && text[1] == '\n') return 2;
    return (code >= 10 && code <= 13) || (code >= 0x1c && code <= 0x1e) || code == 0x85 || code == 0x2028 || code == 0x2029 ? (size_t)n : 0;
}

METHOD(text_splitlines)
{
    const hone_jvalue *keep = hone_jinja_argument(args, 0, "keepends");
    hone_jvalue *list = hone_j_new(&r->room, HONE_J_LIST);
    for (size_t at = 0, from = 0, n; list && at < self->size; from = at) {
        for (n = 0; at < self->size && (n = line_end(self->text + at, self->size - at)) == 0;) at++;
        if (hone_j_add(&r->room, list, hone_j_borrow(&r->room, self->text + from, at - from + (keep && hone_j_truth(keep) ? n : 0)))) return NULL;
        at += n;
    }
    return list;
}

METHOD(text_partition)
{
    const hone_jvalue *by = text_argument(args, 0, "sep");
    hone_jvalue *all = by ? hone_j_new(&r->room, HONE_J_TUPLE) : NULL;
    if (!all) return NULL;
    if (by->size == 0) return hone_fail("an empty separator"), NULL;
    const char *found = memmem(self->text, self->size, by->text, by->size);
    size_t before = found ? (size_t)(found - self->text) : self->size, from = found ? before + by->size : self->size;
    hone_j_add(&r->room, all, hone_j_borrow(&r->room, self->text, before));
    hone_j_add(&r->room, all, hone_j_borrow(&r->room, by->text, found ? by->size : 0));
    return hone_j_add(&r->room, all, hone_j_borrow(&r->room, self->text + from, self->size - from)) ? NULL : all;
}

// --- asking

static hone_jvalue *has_end(hone_jrender *r, const hone_jvalue *self, const hone_jargs *args, bool at_start)
{
    const hone_jvalue *given = args->n ? args->at[0] : NULL;
    bool tuple = given && given->kind == HONE_J_TUPLE, holds = false;
    for (int64_t i = 0; i < (tuple ? given->count : 1) && !holds; i++) {
        const hone_jvalue *end = tuple ? given->at[i] : text_argument(args, 0, "");
        if (!end) return NULL;
        if (end->kind != HONE_J_TEXT) return hone_fail("startswith and endswith want texts"), NULL;
        holds = end->size <= self->size && (end->size == 0 || memcmp(self->text + (at_start ? 0 : self->size - end->size), end->text, end->size) == 0);
    }
    return hone_j_bool(&r->room, holds);
}

METHOD(text_startswith) { return has_end(r, self, args, true); }
METHOD(text_endswith) { return has_end(r, self, args, false); }

static hone_jvalue *find(hone_jrender *r, const hone_jvalue *self, const hone_jargs *args, bool last, bool must)
{
    const hone_jvalue *what = text_argument(args, 0, "");
    if (!what) return NULL;
    const char *found = last ? find_last(self->text, self->size, what) : what->size ? memmem(self->text, self->size, what->text, what->size) : self->text;
    if (!found && must) return hone_fail("substring not found"), NULL;
    return hone_j_int(&r->room, found ? hone_j_characters(self->text, (size_t)(found - self->text)) : -1);
}

METHOD(text_find) { return find(r, self, args, false, false); }
METHOD(text_rfind) { return find(r, self, args, true, false); }
METHOD(text_index) { return find(r, self, args, false, true); }

METHOD(text_count)
{
    const hone_jvalue *what = text_argument(args, 0, "");
    int64_t n = 0;
    if (!what) return NULL;
    if (what->size == 0) return hone_j_int(&r->room, hone_j_characters(self->text, self->size) + 1);
    for (const char *at = self->text, *end = at + self->size; (at = memmem(at, (size_t)(end - at), what->text, what->size)); at += what->size) n++;
    return hone_j_int(&r->room, n);
}

static bool is_digit(int32_t c) { return utf8proc_category(c) == UTF8PROC_CATEGORY_ND; }
static bool is_alpha(int32_t c) { return utf8proc_category(c) >= UTF8PROC_CATEGORY_LU && utf8proc_category(c) <= UTF8PROC_CATEGORY_LO; }
static bool is_alnum(int32_t c) { return is_alpha(c) || hone_char_is_numeric(c); }
static hone_jvalue *all_are(hone_jrender *r, const hone_jvalue *self, bool (*is)(int32_t code))
{
    bool holds = self->size > 0;
    int n;
    for (size_t at = 0; at < self->size && holds; at += (size_t)n) holds = is(hone_utf8_next(self->text + at, self->size - at, &n));
    return hone_j_bool(&r->room, holds);
}
METHOD(text_isdigit) { (void)args; return all_are(r, self, is_digit); }
METHOD(text_isalpha) { (void)args; return all_are(r, self, is_alpha); }
METHOD(text_isalnum) { (void)args; return all_are(r, self, is_alnum); }
METHOD(text_isspace) { (void)args; return all_are(r, self, is_space); }

// --- changing

static int32_t upper(int32_t code) { return utf8proc_toupper(code); }
static int32_t lower(int32_t code) { return utf8proc_tolower(code); }

// first: of characters that begin a word (title), or the text (capitalize), or of all where rest is NULL.
static hone_jvalue *map_case(hone_jrender *r, const hone_jvalue *self, int32_t (*first)(int32_t), int32_t (*rest)(int32_t), bool words)
{
    hone_buffer text = { 0 };
    hone_status status = HONE_OK;
    bool inside = false;
    int n;
    for (size_t at = 0; at < self->size && !status; at += (size_t)n) {
        int32_t code = hone_utf8_next(self->text + at, self->size - at, &n);
        if (code == 0xdf && first == upper && !(rest && inside)) status = hone_buffer_append(&text, rest ? "Ss" : "SS", 2); // ß alone has two
        else status = hone_char_append(&text, !rest || !inside ? first(code) : rest(code));
        inside = !words || (code != utf8proc_toupper(code) || code != utf8proc_tolower(code));
    }
    hone_jvalue *value = status ? NULL : hone_j_text(&r->room, text.data, text.size);
    hone_buffer_release(&text);
    return value;
}

METHOD(text_upper) { (void)args; return map_case(r, self, upper, NULL, false); }
METHOD(text_lower) { (void)args; return map_case(r, self, lower, NULL, false); }
METHOD(text_capitalize) { (void)args; return map_case(r, self, upper, lower, false); }
METHOD(text_title) { (void)args; return map_case(r, self, upper, lower, true); }

METHOD(text_replace)
{
    const hone_jvalue *from = text_argument(args, 0, "old"), *to = from ? text_argument(args, 1, "new") : NULL;
    int64_t most = -1, done = 0;
    hone_buffer text = { 0 };
    if (!to || !whole_argument(args, 2, "count", &most)) return NULL;
    const char *at = self->text, *end = at + self->size, *found;
    hone_status status = HONE_OK;
    if (from->size == 0) { // before each character and at the end
        for (; !status && (most < 0 || done < most) && at <= end; done++) {
            size_t n = at < end ? hone_j_offset(at, (size_t)(end - at), 1) : 0;
            if (to->size) status = hone_buffer_append(&text, to->text, to->size);
            if (!status && n) status = hone_buffer_append(&text, at, n);
            at += n ? n : 1;
        }
        if (at > end) at = end;
    } else for (; !status && (most < 0 || done < most) && (found = memmem(at, (size_t)(end - at), from->text, from->size)); done++) {
        if (found > at) status = hone_buffer_append(&text, at, (size_t)(found - at));
        if (!status && to->size) status = hone_buffer_append(&text, to->text, to->size);
        if (!status && text.size > HONE_JINJA_OUTPUT_BYTES) status = hone_fail("replace makes more than %d MiB", HONE_JINJA_OUTPUT_BYTES >> 20);
        at = found + from->size;
    }
    if (!status && end > at) status = hone_buffer_append(&text, at, (size_t)(end - at));
    hone_jvalue *value = status ? NULL : hone_j_text(&r->room, text.data, text.size);
    hone_buffer_release(&text);
    return value;
}

static hone_jvalue *remove_end(hone_jrender *r, const hone_jvalue *self, const hone_jargs *args, bool at_start)
{
    const hone_jvalue *end = text_argument(args, 0, ""), *has = end ? has_end(r, self, args, at_start) : NULL;
    if (!has) return NULL;
    size_t off = has->whole ? end->size : 0;
    return hone_j_borrow(&r->room, self->text + (at_start ? off : 0), self->size - off);
}
METHOD(text_removeprefix) { return remove_end(r, self, args, true); }
METHOD(text_removesuffix) { return remove_end(r, self, args, false); }

METHOD(text_join)
{
    hone_jvalue *items = hone_j_items(&r->room, args->at[0]);
    hone_buffer text = { 0 };
    hone_status status = items ? HONE_OK : HONE_FAILED;
    for (int64_t i = 0; !status && i < items->count; i++) {
        const hone_jvalue *item = items->at[i];
        if (item->kind != HONE_J_TEXT) status = hone_fail("join() wants texts, item %" PRId64 " is '%s'", i, hone_j_kind_name(item));
        if (!status && i && self->size) status = hone_buffer_append(&text, self->text, self->size);
        if (!status && item->size) status = hone_buffer_append(&text, item->text, item->size);
    }
    hone_jvalue *value = status ? NULL : hone_j_text(&r->room, text.data, text.size);
    hone_buffer_release(&text);
    return value;
}

// --- lists and dicts

METHOD(list_index)
{
    for (int64_t i = 0; i < self->count; i++) if (hone_j_equal(self->at[i], args->at[0])) return hone_j_int(&r->room, i);
    return hone_fail("the value is not in the list"), NULL;
}

METHOD(list_count)
{
    int64_t n = 0;
    for (int64_t i = 0; i < self->count; i++) n += hone_j_equal(self->at[i], args->at[0]);
    return hone_j_int(&r->room, n);
}

METHOD(dict_get)
{
    hone_jvalue *found = hone_j_find(self, args->at[0]), *otherwise = hone_jinja_argument(args, 1, "");
    return found ? found : otherwise ? otherwise : hone_j_new(&r->room, HONE_J_NONE);
}

static hone_jvalue *dict_list(hone_jrender *r, const hone_jvalue *self, bool keys, bool values)
{
    hone_jvalue *list = hone_j_new(&r->room, HONE_J_LIST);
    for (int64_t i = 0; list && i < self->count; i++) {
        hone_jvalue *item = keys ? self->key[i] : self->at[i];
        if (keys && values) {
            item = hone_j_new(&r->room, HONE_J_TUPLE);
            if (!item || hone_j_add(&r->room, item, self->key[i]) || hone_j_add(&r->room, item, self->at[i])) return NULL;
        }
        if (hone_j_add(&r->room, list, item)) return NULL;
    }
    return list;
}

METHOD(dict_items) { (void)args; return dict_list(r, self, true, true); }
METHOD(dict_keys) { (void)args; return dict_list(r, self, true, false); }
METHOD(dict_values) { (void)args; return dict_list(r, self, false, true); }
METHOD(copy) { (void)r; (void)args; return self; } // values never change in place

// --- of loops

METHOD(loop_cycle) { (void)r; return args->at[self->loop->index % args->n]; }

METHOD(loop_changed)
{
    hone_jvalue *now = hone_j_new(&r->room, HONE_J_TUPLE);
    for (int i = 0; now && i < args->n; i++) if (hone_j_add(&r->room, now, args->at[i])) return NULL;
    if (!now) return NULL;
    bool same = self->loop->changed && hone_j_equal(self->loop->changed, now);
    self->loop->changed = now;
    return hone_j_bool(&r->room, !same);
}

static const hone_jfunction text_methods[] = {
    { "strip", text_strip, 0, 1, "" }, { "lstrip", text_lstrip, 0, 1, "" }, { "rstrip", text_rstrip, 0, 1, "" }, { "split", text_split, 0, 2, "sep maxsplit" },
    { "rsplit", text_rsplit, 0, 2, "sep maxsplit" }, { "splitlines", text_splitlines, 0, 1, "keepends" }, { "partition", text_partition, 1, 1, "" },
    { "startswith", text_startswith, 1, 1, "" }, { "endswith", text_endswith, 1, 1, "" }, { "find", text_find, 1, 1, "" }, { "rfind", text_rfind, 1, 1, "" },
    { "index", text_index, 1, 1, "" }, { "count", text_count, 1, 1, "" }, { "isdigit", text_isdigit, 0, 0, "" }, { "isalpha", text_isalpha, 0, 0, "" },
    { "isalnum", text_isalnum, 0, 0, "" }, { "isspace", text_isspace, 0, 0, "" }, { "upper", text_upper, 0, 0, "" }, { "lower", text_lower, 0, 0, "" },
    { "capitalize", text_capitalize, 0, 0, "" }, { "title", text_title, 0, 0, "" }, { "replace", text_replace, 2, 3, "count" },
    { "removeprefix", text_removeprefix, 1, 1, "" }, { "removesuffix", text_removesuffix, 1, 1, "" }, { "join", text_join, 1, 1, "" }, { 0 } };
static const hone_jfunction list_methods[] = { { "index", list_index, 1, 1, "" }, { "count", list_count, 1, 1, "" }, { "copy", copy, 0, 0, "" }, { 0 } };
static const hone_jfunction dict_methods[] = { { "get", dict_get, 1, 2, "" }, { "items", dict_items, 0, 0, "" }, { "keys", dict_keys, 0, 0, "" },
    { "values", dict_values, 0, 0, "" }, { "copy", copy, 0, 0, "" }, { 0 } };
static const hone_jfunction loop_methods[] = { { "cycle", loop_cycle, 1, -1, "" }, { "changed", loop_changed, 0, -1, "" }, { 0 } };

static const hone_jfunction *find_row(const hone_jfunction *table, const char *name)
{
    for (; table && table->name; table++) if (!strcmp(table->name, name)) return table;
    return NULL;
}

const hone_jfunction *hone_jinja_method(const hone_jvalue *v, const char *name)
{
    return find_row(v->kind == HONE_J_TEXT ? text_methods : hone_j_is_list(v) ? list_methods : v->kind == HONE_J_DICT ? dict_methods
                    : v->kind == HONE_J_LOOP ? loop_methods : NULL, name);
}

// --- functions of every template

METHOD(raise_exception)
{
    (void)self;
    const hone_jvalue *text = hone_j_printed(&r->room, args->at[0]);
    if (text) hone_fail("the template refuses these messages: %.*s", (int)(text->size < 800 ? text->size : 800), text->text);
    return NULL;
}

METHOD(strftime_now)
{
    const hone_jvalue *format = text_argument(args, 0, "format");
    char text[256];
    time_t now = r->now ? r->now : time(NULL);
    struct tm tm;
    (void)self;
    if (!format) return NULL;
    if (!localtime_r(&now, &tm)) return hone_fail("strftime_now: the clock tells no date"), NULL;
    size_t n = format->size ? strftime(text, sizeof text, format->text, &tm) : 0;
    return n || !format->size ? hone_j_text(&r->room, text, n) : (hone_fail("strftime_now: the format makes no text, or a long one"), NULL);
}

METHOD(range)
{
    int64_t bound[3] = { 0, 0, 1 };
    (void)self;
    for (int i = 0; i < args->n; i++) if (!whole_argument(args, i, "", &bound[args->n == 1 ? 1 : i])) return NULL;
    if (bound[2] == 0) return hone_fail("range() with a step of 0"), NULL;
    hone_jvalue *list = hone_j_new(&r->room, HONE_J_LIST);
    for (int64_t at = bound[0]; list && (bound[2] > 0 ? at < bound[1] : at > bound[1]);) {
        if (list->count >= HONE_JINJA_RANGE) return hone_fail("range() of more than %d numbers", HONE_JINJA_RANGE), NULL;
        if (hone_j_add(&r->room, list, hone_j_int(&r->room, at))) return NULL;
        if (__builtin_add_overflow(at, bound[2], &at)) break;
    }
    return list;
}

static hone_jvalue *make_dict(hone_jrender *r, const hone_jargs *args, hone_jkind kind)
{
    hone_jvalue *dict = hone_j_new(&r->room, kind), *from = args->n ? args->at[0] : NULL;
    if (from && from->kind != HONE_J_DICT) return hone_fail("dict() and namespace() want a dict, or members by name"), NULL;
    for (int64_t i = 0; dict && from && i < from->count; i++) if (hone_j_put(&r->room, dict, from->key[i], from->at[i])) return NULL;
    for (int i = 0; dict && i < args->n_named; i++)
        if (hone_j_put(&r->room, dict, hone_j_borrow(&r->room, args->name[i], strlen(args->name[i])), args->named[i])) return NULL;
    return dict;
}

METHOD(new_dict) { (void)self; return make_dict(r, args, HONE_J_DICT); }
METHOD(new_namespace) { (void)self; return make_dict(r, args, HONE_J_NAMESPACE); }

const hone_jfunction *hone_jinja_global(const char *name)
{
    static const hone_jfunction globals[] = { { "raise_exception", raise_exception, 1, 1, "" }, { "strftime_now", strftime_now, 1, 1, "format" },
        { "range", range, 1, 3, "" }, { "dict", new_dict, 0, -1, "*" }, { "namespace", new_namespace, 0, -1, "*" }, { 0 } };
    return find_row(globals, name);
}
