// normalize.c: normalizers: text in, text out, before anything is cut.
#include "text/parts.h"

#include <string.h>
#include <utf8proc.h>

struct hone_normalizer_kind {
    const char *type;
    hone_status (*read)(hone_tokenizer *tokenizer, hone_normalizer *self, const json_t *json, const char *where);
    hone_status (*apply)(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out);
};

static hone_status read_nothing(hone_tokenizer *tokenizer, hone_normalizer *self, const json_t *json, const char *where)
{
    (void)self; (void)json; (void)where;
    return hone_buffer_print(&tokenizer->identity, ";");
}

// --- NFC. Nearly all text is composed already. A character below U+0300, or between U+2002 and U+203F (quotes, dashes),
// or a Han ideograph below U+A000 is composed and joins nothing before it: only the stretches between such characters,
// each with the character before it, go through utf8proc.
static size_t settled_nfc(const char *text, size_t size) // bytes of the character if it is one of those, else 0
{
    const uint8_t *p = (const uint8_t *)text;
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xcc) return size >= 2 ? 2 : 0;
    if (size < 3) return 0;
    if (p[0] == 0xe2 && p[1] == 0x80 && p[2] >= 0x82) return 3;
    if (p[0] >= 0xe4 && p[0] <= 0xe9) return 3;
    if (p[0] == 0xe1 && p[1] == 0x86 && p[2] == 0xa7) return 3; // U+11A7: utf8proc 2.8 takes it for a final consonant
    return 0;
}

static hone_status reform(hone_encoder *encoder, utf8proc_option_t options, const char *text, size_t size, hone_buffer *out)
{
    utf8proc_ssize_t count;
    for (;;) {
        count = utf8proc_decompose((const uint8_t *)text, (utf8proc_ssize_t)size, encoder->scratch, encoder->scratch_capacity, options);
        if (count < 0) return hone_fail("Unicode normalization of %zu bytes failed: %s", size, utf8proc_errmsg(count));
        if (count < encoder->scratch_capacity) break; // reencode writes a NUL behind
        int32_t *scratch = hone_realloc(encoder->scratch, (size_t)count * 2 + 64, sizeof *scratch);
        if (!scratch) return HONE_FAILED;
        encoder->scratch = scratch;
        encoder->scratch_capacity = count * 2 + 64;
    }
    utf8proc_ssize_t bytes = utf8proc_reencode(encoder->scratch, count, options);
    if (bytes < 0) return hone_fail("Unicode normalization of %zu bytes failed: %s", size, utf8proc_errmsg(bytes));
    return hone_buffer_append(out, encoder->scratch, (size_t)bytes);
}

typedef size_t (*settled_fn)(const char *text, size_t size);

// Length of the unsettled character at text; 0: settled, or so young that the reference does not know it (*young its length).
static size_t unsettled(settled_fn settled, const char *text, size_t size, size_t *young)
{
    *young = 0;
    if (settled(text, size)) return 0;
    int length;
    int32_t code = hone_utf8_next(text, size, &length);
    if (!hone_young_mapping(code)) return (size_t)length;
    *young = (size_t)length;
    return 0;
}

static hone_status reform_stretches(settled_fn settled, utf8proc_option_t options, hone_encoder *encoder, const char *text, size_t size, hone_buffer *out)
{
    size_t i = 0, copied = 0, before = 0, young = 0; // before: start of the settled character last passed
    while (i < size) {
        size_t length = settled(text + i, size - i);
        if (length) { before = i; i += length; continue; }
        size_t begin = before, run = i, step;
        while (i < size && (step = unsettled(settled, text + i, size - i, &young))) i += step;
        if (i > run) {
            hone_status status = hone_buffer_append(out, text + copied, begin - copied);
            if (!status) status = reform(encoder, options, text + begin, i - begin, out);
            if (status) return status;
            copied = i;
        }
        before = i;
        if (i < size && young) before = i += young; // joins nothing
    }
    encoder->same = copied == 0;
    return copied ? hone_buffer_append(out, text + copied, size - copied) : HONE_OK;
}

static hone_status apply_nfc(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out)
{
    (void)self; (void)first;
    return reform_stretches(settled_nfc, UTF8PROC_STABLE | UTF8PROC_COMPOSE, encoder, text, size, out);
}

// --- NFD, NFKC, NFKD: only ASCII is settled
static size_t settled_ascii(const char *text, size_t size)
{
    if (size >= 3 && memcmp(text, "\xe1\x86\xa7", 3) == 0) return 3; // U+11A7, as above
    return (uint8_t)text[0] < 0x80;
}

static hone_status apply_nfd(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out)
{
    (void)self; (void)first;
    return reform_stretches(settled_ascii, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, encoder, text, size, out);
}

static hone_status apply_nfkc(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out)
{
    (void)self; (void)first;
    return reform_stretches(settled_ascii, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT, encoder, text, size, out);
}

static hone_status apply_nfkd(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out)
{
    (void)self; (void)first;
    return reform_stretches(settled_ascii, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT, encoder, text, size, out);
}

// --- Lowercase, StripAccents, Strip: character by character
static hone_status append_lower(hone_buffer *out, int32_t code)
{
    static const int32_t recent[][2] = { { 0x1c89, 0x1c8a }, { 0xa7cb, 0x264 }, { 0xa7cc, 0xa7cd }, { 0xa7ce, 0xa7cf }, { 0xa7d2, 0xa7d3 },
                                         { 0xa7d4, 0xa7d5 }, { 0xa7da, 0xa7db }, { 0xa7dc, 0x19b } }; // younger than utf8proc 2.8
    if (code < 0x80) return hone_char_append(out, code >= 'A' && code <= 'Z' ? code + 32 : code);
    if (code == 0x130) return hone_buffer_append(out, "i\xcc\x87", 3); // the one letter whose small form is two characters
    for (size_t i = 0; i < sizeof recent / sizeof *recent; i++)
        if (recent[i][0] == code) return hone_char_append(out, recent[i][1]);
    if (code >= 0x10d50 && code <= 0x10d65) return hone_char_append(out, code + 0x20);
    if (code >= 0x16ea0 && code <= 0x16eb8) return hone_char_append(out, code + 0x1b);
    return hone_char_append(out, utf8proc_tolower(code));
}

static hone_status apply_lowercase(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out)
{
    (void)self; (void)encoder; (void)first;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < size && !status;) {
        int length;
        int32_t code = hone_utf8_next(text + i, size - i, &length);
        status = append_lower(out, code);
        i += (size_t)length;
    }
    return status;
}

static hone_status strip_marks(const char *text, size_t size, bool nonspacing, hone_buffer *out)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < size && !status;) {
        int length;
        int32_t code = hone_utf8_next(text + i, size - i, &length);
        if (!hone_char_is_mark(code, nonspacing)) status = hone_buffer_append(out, text + i, (size_t)length);
        i += (size_t)length;
    }
    return status;
}

static hone_status apply_strip_accents(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out)
{
    (void)self; (void)encoder; (void)first;
    return strip_marks(text, size, false, out);
}

static hone_status read_strip(hone_tokenizer *tokenizer, hone_normalizer *self, const json_t *json, const char *where)
{
    self->left = self->right = true;
    hone_status status = hone_json_bool(json, "strip_left", where, false, &self->left);
    if (!status) status = hone_json_bool(json, "strip_right", where, false, &self->right);
    return status ? status : hone_buffer_print(&tokenizer->identity, " %d %d;", self->left, self->right);
}

static hone_status apply_strip(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out)
{
    (void)encoder; (void)first;
    int length;
    size_t start = 0;
    while (self->left && start < size && hone_char_is_space(hone_utf8_next(text + start, size - start, &length))) start += (size_t)length;
    while (self->right && size > start) {
        size_t last = size - 1;
        while (last > start && ((uint8_t)text[last] & 0xc0) == 0x80) last--;
        if (!hone_char_is_space(hone_utf8_next(text + last, size - last, &length))) break;
        size = last;
    }
    return hone_buffer_append(out, text + start, size - start);
}

// --- BertNormalizer: control characters out, spaces plain; Han characters between spaces; accents off; lower case
static hone_status read_bert(hone_tokenizer *tokenizer, hone_normalizer *self, const json_t *json, const char *where)
{
    self->clean = self->han = self->lower = true;
    hone_status status = hone_json_bool(json, "clean_text", where, false, &self->clean);
    if (!status) status = hone_json_bool(json, "handle_chinese_chars", where, false, &self->han);
    if (!status) status = hone_json_bool(json, "lowercase", where, false, &self->lower);
    self->accents = self->lower; // where the file does not say
    if (!status) status = hone_json_bool(json, "strip_accents", where, false, &self->accents);
    return status ? status : hone_buffer_print(&tokenizer->identity, " %d %d %d %d;", self->clean, self->han, self->accents, self->lower);
}

static bool is_han(int32_t c)
{
    return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) || (c >= 0x2a700 && c <= 0x2b73f)
        || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b920 && c <= 0x2ceaf) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

static bool is_dropped(int32_t code) // by clean_text: U+0000, U+FFFD, control and format characters, private use
{
    if (code == '\t' || code == '\n' || code == '\r') return false;
    if (code < 0x7f) return code < 0x20;
    utf8proc_category_t c = utf8proc_category(code);
    if (code == 0x890 || code == 0x891 || code == 0x8e2 || code == 0x110cd || (code >= 0x13430 && code <= 0x1343f)) return false; // young, as in young.c
    return code == 0xfffd || c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_CO;
}

static hone_status apply_bert(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out)
{
    (void)first;
    hone_buffer clean = { 0 }, flat = { 0 };
    hone_status status = HONE_OK;
    for (size_t i = 0; i < size && !status;) {
        int length;
        int32_t code = hone_utf8_next(text + i, size - i, &length);
        bool han = self->han && is_han(code), dropped = self->clean && is_dropped(code), space = self->clean && !dropped && hone_char_is_space(code);
        if (space || han) status = hone_buffer_append(&clean, " ", 1);
        if (!status && !dropped && !space) status = hone_buffer_append(&clean, text + i, (size_t)length);
        if (!status && han) status = hone_buffer_append(&clean, " ", 1);
        i += (size_t)length;
    }
    if (!status && self->accents && clean.size) {
        status = apply_nfd(self, encoder, clean.data, clean.size, false, &flat);
        if (!status && encoder->same) status = hone_buffer_append(&flat, clean.data, clean.size);
        encoder->same = false;
        clean.size = 0;
        if (!status && flat.size) status = strip_marks(flat.data, flat.size, true, &clean);
    }
    if (!status && clean.size) status = self->lower ? apply_lowercase(self, encoder, clean.data, clean.size, false, out) : hone_buffer_append(out, clean.data, clean.size);
    hone_buffer_release(&clean);
    hone_buffer_release(&flat);
    return status;
}

// --- Precompiled: SentencePiece's table; "longest" is hone's own word for its way of looking strings up
static hone_status read_precompiled(hone_tokenizer *tokenizer, hone_normalizer *self, const json_t *json, const char *where)
{
    const char *text = NULL;
    hone_buffer data = { 0 };
    bool valid = false;
    hone_status status = hone_json_text(json, "precompiled_charsmap", where, true, &text);
    if (!status) status = hone_json_bool(json, "longest", where, false, &self->left);
    if (!status) status = hone_base64_decode(text, strlen(text), &data, &valid);
    if (!status && !valid) status = hone_fail("%s: precompiled_charsmap is not base64", where);
    if (!status) status = hone_charsmap_new(&self->charsmap, data.data, data.size, where);
    if (!status) status = hone_buffer_print(&tokenizer->identity, " %d %zu:", self->left, data.size);
    if (!status) status = hone_buffer_append(&tokenizer->identity, data.data, data.size);
    hone_buffer_release(&data);
    return status;
}

static hone_status apply_precompiled(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out)
{
    (void)first;
    (void)encoder;
    return hone_charsmap_apply(self->charsmap, self->left, text, size, out);
}

// --- Prepend: a string in front of a text that is not empty; "first_only", hone's own: not behind an added token
static hone_status read_prepend(hone_tokenizer *tokenizer, hone_normalizer *self, const json_t *json, const char *where)
{
    const char *text = NULL;
    hone_status status = hone_json_text(json, "prepend", where, true, &text);
    if (!status) status = hone_json_bool(json, "first_only", where, false, &self->first_only);
    if (status) return status;
    self->to = hone_strdup(text);
    self->to_size = strlen(text);
    return self->to ? hone_buffer_print(&tokenizer->identity, " %zu:%s %d;", self->to_size, text, self->first_only) : HONE_FAILED;
}

static hone_status apply_prepend(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out)
{
    (void)encoder;
    hone_status status = size && (first || !self->first_only) ? hone_buffer_append(out, self->to, self->to_size) : HONE_OK;
    return status ? status : hone_buffer_append(out, text, size);
}

// --- Replace: what a string or a regular expression matches, by a string
static hone_status read_replace(hone_tokenizer *tokenizer, hone_normalizer *self, const json_t *json, const char *where)
{
    const char *from = NULL, *to = NULL;
    const json_t *pattern = json_object_get(json, "pattern");
    bool literal = json_object_get(pattern, "Regex") == NULL;
    hone_status status = hone_json_text(pattern, literal ? "String" : "Regex", where, true, &from);
    if (!status) status = hone_json_text(json, "content", where, true, &to);
    if (status) return status;
    if (!*from) return hone_fail("%s: normalizer \"Replace\" of an empty string", where);
    if (!literal && (status = hone_regex_new(&self->regex, from, false, where))) return status;
    if (!literal && hone_regex_matches_empty(self->regex)) return hone_fail("%s: normalizer \"Replace\": the regular expression \"%s\" matches where nothing stands, which is not supported", where, from);
    self->from = hone_strdup(from);
    self->to = hone_strdup(to);
    if (!self->from || !self->to) return HONE_FAILED;
    self->from_size = strlen(from);
    self->to_size = strlen(to);
    return hone_buffer_print(&tokenizer->identity, " %d %zu:%s %zu:%s;", literal, self->from_size, from, self->to_size, to);
}

// SentencePiece's two rules about spaces, at a glance where nothing is to be done.
static const char trim_pattern[] = "\\A +| +\\z", squeeze_pattern[] = " {2,}";

static bool has_no_match(const hone_normalizer *self, const char *text, size_t size)
{
    if (!self->regex) return !memmem(text, size, self->from, self->from_size);
    if (strcmp(self->from, trim_pattern) == 0) return size == 0 || (text[0] != ' ' && text[size - 1] != ' ');
    return strcmp(self->from, squeeze_pattern) == 0 && !memmem(text, size, "  ", 2);
}

static const char *next_place(const hone_normalizer *self, const char *text, size_t size)
{
    return self->from_size == 1 ? memchr(text, self->from[0], size) : memmem(text, size, self->from, self->from_size);
}

static hone_status apply_replace(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, bool first, hone_buffer *out)
{
    (void)first;
    size_t place = 0;
    if ((encoder->same = has_no_match(self, text, size))) return HONE_OK;
    for (bool found = true; place < size;) {
        size_t start, end;
        if (self->regex) {
            if (hone_regex_find(self->regex, &encoder->matcher, text, size, place, &found, &start, &end)) return HONE_FAILED;
        } else {
            const char *hit = next_place(self, text + place, size - place);
            found = hit != NULL;
            start = hit ? (size_t)(hit - text) : size;
            end = start + self->from_size;
        }
        if (!found) break;
        hone_status status = hone_buffer_append(out, text + place, start - place);
        if (!status) status = hone_buffer_append(out, self->to, self->to_size);
        if (status) return status;
        place = end;
    }
    return hone_buffer_append(out, text + place, size - place);
}

static const struct hone_normalizer_kind kinds[] = {
    { "BertNormalizer", read_bert, apply_bert },
    { "Lowercase", read_nothing, apply_lowercase },
    { "NFC", read_nothing, apply_nfc },
    { "NFD", read_nothing, apply_nfd },
    { "NFKC", read_nothing, apply_nfkc },
    { "NFKD", read_nothing, apply_nfkd },
    { "Precompiled", read_precompiled, apply_precompiled },
    { "Prepend", read_prepend, apply_prepend },
    { "Replace", read_replace, apply_replace },
    { "Strip", read_strip, apply_strip },
    { "StripAccents", read_nothing, apply_strip_accents },
};

static hone_status add_normalizer(hone_tokenizer *tokenizer, int kind, const json_t *json, const char *where)
{
    if (tokenizer->n_normalizer == HONE_MAX_COMPONENTS) return hone_fail("%s: more than %d normalizers", where, HONE_MAX_COMPONENTS);
    hone_normalizer *self = &tokenizer->normalizer[tokenizer->n_normalizer++];
    self->kind = &kinds[kind];
    self->type = kinds[kind].type;
    hone_status status = hone_buffer_print(&tokenizer->identity, "normalizer %s", self->type);
    return status ? status : kinds[kind].read(tokenizer, self, json, where);
}

hone_status hone_normalizer_read(hone_tokenizer *tokenizer, const json_t *json, const char *where)
{
    static const hone_component_table table = { "normalizer", "normalizers", kinds, sizeof *kinds, sizeof kinds / sizeof *kinds, add_normalizer };
    return hone_components_read(tokenizer, json, where, &table);
}

hone_status hone_normalize(hone_encoder *encoder, const char *text, size_t size, bool first, const char **out, size_t *out_size)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    for (int n = 0, turn = 0; n < tokenizer->n_normalizer; n++) {
        hone_buffer *buffer = &encoder->normal[turn & 1];
        buffer->size = 0;
        encoder->same = false;
        hone_status status = tokenizer->normalizer[n].kind->apply(&tokenizer->normalizer[n], encoder, text, size, first, buffer);
        if (status) return status;
        if (encoder->same) continue;
        turn++;
        text = buffer->size ? buffer->data : "";
        size = buffer->size;
    }
    *out = text;
    *out_size = size;
    return HONE_OK;
}
