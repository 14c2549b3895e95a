// normalize.c: normalizers: text in, text out, before anything is cut.
#include "text/parts.h"

#include <string.h>
#include <utf8proc.h>

struct hone_normalizer_kind {
    const char *type;
    hone_status (*read)(hone_tokenizer *tokenizer, hone_normalizer *self, const json_t *json, const char *where);
    hone_status (*apply)(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, hone_buffer *out);
};

static hone_status read_nothing(hone_tokenizer *tokenizer, hone_normalizer *self, const json_t *json, const char *where)
{
    (void)self; (void)json; (void)where;
    return hone_buffer_print(&tokenizer->identity, ";");
}

// --- NFC. Nearly all text is composed already. A character below U+0300, or between U+2002 and U+203F (quotes, dashes),
// or a Han ideograph below U+A000 is composed and joins nothing before it: only the stretches between such characters,
// each with the character before it, go through utf8proc.
static size_t settled(const char *text, size_t size) // bytes of the character if it is one of those, else 0
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

static hone_status compose(hone_encoder *encoder, const char *text, size_t size, hone_buffer *out)
{
    utf8proc_option_t options = UTF8PROC_STABLE | UTF8PROC_COMPOSE;
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

static hone_status apply_nfc(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, hone_buffer *out)
{
    (void)self;
    size_t i = 0, copied = 0, before = 0; // before: start of the settled character last passed
    while (i < size) {
        size_t length = settled(text + i, size - i);
        if (length) { before = i; i += length; continue; }
        size_t begin = before;
        while (i < size && !settled(text + i, size - i)) {
            int step;
            hone_utf8_next(text + i, size - i, &step);
            i += (size_t)step;
        }
        hone_status status = hone_buffer_append(out, text + copied, begin - copied);
        if (!status) status = compose(encoder, text + begin, i - begin, out);
        if (status) return status;
        copied = before = i;
    }
    return hone_buffer_append(out, text + copied, size - copied);
}

// --- Prepend: a string in front of a text that is not empty
static hone_status read_prepend(hone_tokenizer *tokenizer, hone_normalizer *self, const json_t *json, const char *where)
{
    const char *text = NULL;
    hone_status status = hone_json_text(json, "prepend", where, true, &text);
    if (status) return status;
    self->to = hone_strdup(text);
    self->to_size = strlen(text);
    return self->to ? hone_buffer_print(&tokenizer->identity, " %zu:%s;", self->to_size, text) : HONE_FAILED;
}

static hone_status apply_prepend(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, hone_buffer *out)
{
    (void)encoder;
    hone_status status = size ? hone_buffer_append(out, self->to, self->to_size) : HONE_OK;
    return status ? status : hone_buffer_append(out, text, size);
}

// --- Replace: a string by another
static hone_status read_replace(hone_tokenizer *tokenizer, hone_normalizer *self, const json_t *json, const char *where)
{
    const char *from = NULL, *to = NULL;
    const json_t *pattern = json_object_get(json, "pattern");
    if (json_object_get(pattern, "Regex")) return hone_fail("%s: normalizer \"Replace\" with a regular expression is not supported", where);
    hone_status status = hone_json_text(pattern, "String", where, true, &from);
    if (!status) status = hone_json_text(json, "content", where, true, &to);
    if (status) return status;
    if (!*from) return hone_fail("%s: normalizer \"Replace\" of an empty string", where);
    self->from = hone_strdup(from);
    self->to = hone_strdup(to);
    self->from_size = strlen(from);
    self->to_size = strlen(to);
    if (!self->from || !self->to) return HONE_FAILED;
    return hone_buffer_print(&tokenizer->identity, " %zu:%s %zu:%s;", self->from_size, from, self->to_size, to);
}

static hone_status apply_replace(const hone_normalizer *self, hone_encoder *encoder, const char *text, size_t size, hone_buffer *out)
{
    (void)encoder;
    const char *end = text + size, *hit;
    for (; (hit = memmem(text, (size_t)(end - text), self->from, self->from_size)); text = hit + self->from_size) {
        hone_status status = hone_buffer_append(out, text, (size_t)(hit - text));
        if (!status) status = hone_buffer_append(out, self->to, self->to_size);
        if (status) return status;
    }
    return hone_buffer_append(out, text, (size_t)(end - text));
}

static const struct hone_normalizer_kind kinds[] = {
    { "NFC", read_nothing, apply_nfc },
    { "Prepend", read_prepend, apply_prepend },
    { "Replace", read_replace, apply_replace },
};
static const char *const known[] = { "NFC", "Prepend", "Replace", "Sequence" };

hone_status hone_normalizer_read(hone_tokenizer *tokenizer, const json_t *json, const char *where)
{
    if (!json || json_is_null(json)) return HONE_OK;
    const char *type = NULL;
    hone_status status = hone_json_text(json, "type", where, true, &type);
    if (status) return status;
    if (strcmp(type, "Sequence") == 0) {
        size_t i;
        json_t *part;
        json_array_foreach(json_object_get(json, "normalizers"), i, part)
            if ((status = hone_normalizer_read(tokenizer, part, where))) return status;
        return HONE_OK;
    }
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (strcmp(kinds[k].type, type) != 0) continue;
        if (tokenizer->n_normalizer == HONE_MAX_COMPONENTS) return hone_fail("%s: more than %d normalizers", where, HONE_MAX_COMPONENTS);
        hone_normalizer *self = &tokenizer->normalizer[tokenizer->n_normalizer++];
        self->kind = &kinds[k];
        self->type = kinds[k].type;
        status = hone_buffer_print(&tokenizer->identity, "normalizer %s", type);
        return status ? status : kinds[k].read(tokenizer, self, json, where);
    }
    return hone_refuse(where, "normalizer", type, known, sizeof known / sizeof *known);
}

hone_status hone_normalize(hone_encoder *encoder, const char *text, size_t size, const char **out, size_t *out_size)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    for (int n = 0; n < tokenizer->n_normalizer; n++) {
        hone_buffer *buffer = &encoder->normal[n & 1];
        buffer->size = 0;
        hone_status status = tokenizer->normalizer[n].kind->apply(&tokenizer->normalizer[n], encoder, text, size, buffer);
        if (status) return status;
        text = buffer->data;
        size = buffer->size;
    }
    *out = text;
    *out_size = size;
    return HONE_OK;
}
