// decode.c: decoders: what bytes a token stands for. Worked out once for each token while loading, so that decoding is
// copying. What depends on the place in the text (a space that only the first token loses) is kept as numbers.
#include "text/parts.h"

#include <stdlib.h>
#include <string.h>

struct hone_decoder_kind {
    const char *type;
    hone_status (*read)(hone_tokenizer *tokenizer, hone_decoder *self, const json_t *json, const char *where);
    hone_status (*apply)(const hone_decoder *self, bool first, const char *text, size_t size, hone_buffer *out); // NULL: nothing per token
};

static hone_status read_nothing(hone_tokenizer *tokenizer, hone_decoder *self, const json_t *json, const char *where)
{
    (void)tokenizer; (void)self; (void)json; (void)where;
    return HONE_OK;
}

static hone_status apply_byte_level(const hone_decoder *self, bool first, const char *text, size_t size, hone_buffer *out)
{
    (void)first;
    (void)self;
    bool all;
    return hone_bytes_from_chars(text, size, out, &all);
}

static hone_status apply_byte_fallback(const hone_decoder *self, bool first, const char *text, size_t size, hone_buffer *out)
{
    (void)first;
    (void)self;
    char digits[3] = { 0 }, *rest = digits;
    if (size == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>') {
        memcpy(digits, text + 3, 2);
        uint8_t byte = (uint8_t)strtoul(digits, &rest, 16);
        if (rest == digits + 2) return hone_buffer_append(out, &byte, 1);
    }
    return hone_buffer_append(out, text, size);
}

static hone_status read_replace(hone_tokenizer *tokenizer, hone_decoder *self, const json_t *json, const char *where)
{
    (void)tokenizer;
    const char *from = NULL, *to = NULL;
    const json_t *pattern = json_object_get(json, "pattern");
    if (json_object_get(pattern, "Regex")) return hone_fail("%s: decoder \"Replace\" with a regular expression is not supported", where);
    hone_status status = hone_json_text(pattern, "String", where, true, &from);
    if (!status) status = hone_json_text(json, "content", where, true, &to);
    if (status) return status;
    if (!*from) return hone_fail("%s: decoder \"Replace\" of an empty string", where);
    self->from = hone_strdup(from);
    self->to = hone_strdup(to);
    self->from_size = strlen(from);
    self->to_size = strlen(to);
    return self->from && self->to ? HONE_OK : HONE_FAILED;
}

static hone_status apply_replace(const hone_decoder *self, bool first, const char *text, size_t size, hone_buffer *out)
{
    (void)first;
    const char *end = text + size, *hit;
    for (; (hit = memmem(text, (size_t)(end - text), self->from, self->from_size)); text = hit + self->from_size) {
        hone_status status = hone_buffer_append(out, text, (size_t)(hit - text));
        if (!status) status = hone_buffer_append(out, self->to, self->to_size);
        if (status) return status;
    }
    return hone_buffer_append(out, text, (size_t)(end - text));
}

static hone_status read_metaspace(hone_tokenizer *tokenizer, hone_decoder *self, const json_t *json, const char *where)
{
    const char *replacement = "\xe2\x96\x81", *scheme = NULL;
    bool add = true;
    hone_status status = hone_json_text(json, "replacement", where, false, &replacement);
    if (!status) status = hone_json_text(json, "prepend_scheme", where, false, &scheme);
    if (!status) status = hone_json_bool(json, "add_prefix_space", where, false, &add);
    if (status) return status;
    tokenizer->first_differs |= scheme ? strcmp(scheme, "never") != 0 : add;
    self->start = scheme ? strcmp(scheme, "never") != 0 : add;
    self->from = hone_strdup(replacement);
    self->to = hone_strdup(" ");
    self->from_size = strlen(replacement);
    self->to_size = 1;
    return self->from && self->to ? HONE_OK : HONE_FAILED;
}

// The first token loses its marks, also one inside it.
static hone_status apply_metaspace(const hone_decoder *self, bool first, const char *text, size_t size, hone_buffer *out)
{
    hone_decoder drop = *self;
    if (first && self->start) drop.to_size = 0;
    return apply_replace(&drop, first, text, size, out);
}

// WordPiece: tokens that continue a word lose their mark, others but the first get a space in front.
static hone_status read_wordpiece(hone_tokenizer *tokenizer, hone_decoder *self, const json_t *json, const char *where)
{
    const char *prefix = "##";
    self->cleanup = true;
    hone_status status = hone_json_text(json, "prefix", where, false, &prefix);
    if (!status) status = hone_json_bool(json, "cleanup", where, false, &self->cleanup);
    if (status) return status;
    tokenizer->first_differs = true;
    self->from = hone_strdup(prefix);
    self->from_size = strlen(prefix);
    return self->from ? HONE_OK : HONE_FAILED;
}

// English punctuation back at its word, one rule behind the other over the whole token.
static hone_status clean_up(hone_buffer *text)
{
    static const char *const rules[][2] = { { " .", "." }, { " ?", "?" }, { " !", "!" }, { " ,", "," }, { " ' ", "'" }, { " n't", "n't" }, { " 'm", "'m" },
                                            { " do not", " don't" }, { " 's", "'s" }, { " 've", "'ve" }, { " 're", "'re" } };
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        hone_decoder rule = { .from = (char *)(uintptr_t)rules[r][0], .to = (char *)(uintptr_t)rules[r][1], .from_size = strlen(rules[r][0]), .to_size = strlen(rules[r][1]) };
        hone_buffer made = { 0 };
        if (!text->size || !memmem(text->data, text->size, rule.from, rule.from_size)) continue;
        if (apply_replace(&rule, false, text->data, text->size, &made)) { hone_buffer_release(&made); return HONE_FAILED; }
        hone_buffer_release(text);
        *text = made;
    }
    return HONE_OK;
}

static hone_status apply_wordpiece(const hone_decoder *self, bool first, const char *text, size_t size, hone_buffer *out)
{
    hone_buffer made = { 0 };
    bool goes_on = size >= self->from_size && memcmp(text, self->from, self->from_size) == 0;
    size_t skip = goes_on && !first ? self->from_size : 0;
    hone_status status = first || goes_on ? HONE_OK : hone_buffer_append(&made, " ", 1);
    if (!status) status = hone_buffer_append(&made, text + skip, size - skip);
    if (!status && self->cleanup) status = clean_up(&made);
    if (!status && made.size) status = hone_buffer_append(out, made.data, made.size);
    hone_buffer_release(&made);
    return status;
}

static hone_status read_strip(hone_tokenizer *tokenizer, hone_decoder *self, const json_t *json, const char *where)
{
    const char *content = NULL;
    int64_t stop = 0;
    hone_status status = hone_json_text(json, "content", where, true, &content);
    if (!status) status = hone_json_int(json, "start", where, true, &self->start);
    if (!status) status = hone_json_int(json, "stop", where, true, &stop);
    if (status) return status;
    bool fused = tokenizer->n_decoder > 1 && strcmp(tokenizer->decoder[tokenizer->n_decoder - 2].type, "Fuse") == 0;
    if (strcmp(content, " ") || stop != 0 || self->start < 0 || !fused)
        return hone_fail("%s: decoder \"Strip\" is supported for spaces at the start, behind \"Fuse\", only", where);
    tokenizer->strip = self->start;
    return HONE_OK;
}

static const struct hone_decoder_kind kinds[] = {
    { "ByteFallback", read_nothing, apply_byte_fallback },
    { "ByteLevel", read_nothing, apply_byte_level },
    { "Fuse", read_nothing, NULL },
    { "Metaspace", read_metaspace, apply_metaspace },
    { "Replace", read_replace, apply_replace },
    { "Strip", read_strip, NULL },
    { "WordPiece", read_wordpiece, apply_wordpiece },
};

static hone_status add_decoder(hone_tokenizer *tokenizer, int kind, const json_t *json, const char *where)
{
    if (tokenizer->n_decoder == HONE_MAX_COMPONENTS) return hone_fail("%s: more than %d decoders", where, HONE_MAX_COMPONENTS);
    hone_decoder *self = &tokenizer->decoder[tokenizer->n_decoder++];
    self->kind = &kinds[kind];
    self->type = kinds[kind].type;
    return kinds[kind].read(tokenizer, self, json, where);
}

hone_status hone_decoder_read(hone_tokenizer *tokenizer, const json_t *json, const char *where)
{
    static const hone_component_table table = { "decoder", "decoders", kinds, sizeof *kinds, sizeof kinds / sizeof *kinds, add_decoder };
    return hone_components_read(tokenizer, json, where, &table);
}

// Runs one token's content through the decoders; the result lies in stage[*last].
static hone_status decode_token(const hone_tokenizer *tokenizer, int32_t id, bool first, hone_buffer stage[2], int *last)
{
    const hone_vocab *vocab = &tokenizer->vocab;
    int now = 0;
    stage[0].size = 0;
    hone_status status = hone_buffer_append(&stage[0], hone_vocab_content(vocab, id), vocab->token[id].size);
    for (int d = 0; !status && d < tokenizer->n_decoder; d++) {
        const hone_decoder *self = &tokenizer->decoder[d];
        if (!self->kind->apply) continue;
        stage[!now].size = 0;
        status = self->kind->apply(self, first, stage[now].size ? stage[now].data : "", stage[now].size, &stage[!now]);
        now = !now;
    }
    *last = now;
    return status;
}

static hone_status plain_of_token(hone_tokenizer *tokenizer, int32_t id, hone_buffer stage[2])
{
    hone_vocab *vocab = &tokenizer->vocab;
    hone_token *token = &vocab->token[id];
    int now;
    hone_status status = decode_token(tokenizer, id, false, stage, &now);
    if (status) return status;
    if (stage[now].size == token->size && memcmp(stage[now].size ? stage[now].data : "", hone_vocab_content(vocab, id), token->size) == 0) {
        token->plain = token->offset;
        token->plain_size = token->size;
        return HONE_OK;
    }
    token->plain = (uint32_t)vocab->bytes.size;
    token->plain_size = (uint32_t)stage[now].size;
    return hone_buffer_append(&vocab->bytes, stage[now].data, stage[now].size);
}

hone_status hone_decoder_prepare(hone_tokenizer *tokenizer)
{
    hone_buffer stage[2] = { 0 };
    hone_status status = HONE_OK;
    tokenizer->join_with_space = tokenizer->n_decoder == 0;
    for (int64_t id = 0; !status && id < tokenizer->vocab.count; id++)
        if (tokenizer->vocab.token[id].exists) status = plain_of_token(tokenizer, (int32_t)id, stage);
    hone_buffer_release(&stage[0]);
    hone_buffer_release(&stage[1]);
    return status;
}

hone_status hone_tokenizer_decode_next(const hone_tokenizer *tokenizer, hone_decode_state *state, int32_t id, bool skip_special, hone_buffer *out)
{
    if (id < 0 || id >= tokenizer->vocab.count || !tokenizer->vocab.token[id].exists)
        return hone_fail("id %d is not in the tokenizer's vocabulary of %lld", id, (long long)tokenizer->vocab.count);
    const hone_token *token = &tokenizer->vocab.token[id];
    if (skip_special && token->special) return HONE_OK;
    const char *text = tokenizer->vocab.bytes.data + token->plain;
    size_t size = token->plain_size;
    bool first = !state->started;
    hone_buffer stage[2] = { 0 };
    int now;
    state->started = true;
    if (first && tokenizer->first_differs) {
        hone_status status = decode_token(tokenizer, id, true, stage, &now);
        if (!status && stage[now].size) status = hone_buffer_append(out, stage[now].data, stage[now].size);
        hone_buffer_release(&stage[0]);
        hone_buffer_release(&stage[1]);
        return status;
    }
    while (size && state->stripped < tokenizer->strip && *text == ' ') { text++; size--; state->stripped++; }
    if (size) state->stripped = (int)tokenizer->strip; // something else came first: what follows stays
    if (!first && tokenizer->join_with_space && hone_buffer_append(out, " ", 1)) return HONE_FAILED;
    return hone_buffer_append(out, text, size);
}

hone_status hone_tokenizer_decode(const hone_tokenizer *tokenizer, const int32_t *ids, int64_t count, bool skip_special, hone_buffer *out)
{
    hone_decode_state state = { 0 };
    hone_status status = HONE_OK;
    for (int64_t i = 0; !status && i < count; i++) status = hone_tokenizer_decode_next(tokenizer, &state, ids[i], skip_special, out);
    return status;
}

// --- as text

hone_status hone_utf8_append_lossy(hone_buffer *out, const char *text, size_t size)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < size && !status;) {
        size_t valid = hone_utf8_valid(text + i, size - i);
        status = hone_buffer_append(out, text + i, valid);
        i += valid;
        if (status || i == size) break;
        uint8_t lead = (uint8_t)text[i++];
        int more = lead >= 0xc2 && lead <= 0xdf ? 1 : lead >= 0xe0 && lead <= 0xef ? 2 : lead >= 0xf0 && lead <= 0xf4 ? 3 : 0;
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        for (; more > 0 && i < size && (uint8_t)text[i] >= low && (uint8_t)text[i] <= high; more--, i++) { low = 0x80; high = 0xbf; }
        status = hone_buffer_append(out, "\xef\xbf\xbd", 3);
    }
    return status;
}

// A run of byte tokens that is no valid UTF-8 becomes one U+FFFD for each of them (decoder ByteFallback).
static hone_status flush_run(hone_buffer *run, hone_buffer *out)
{
    bool valid = hone_utf8_valid(run->data ? run->data : "", run->size) == run->size;
    hone_status status = valid && run->size ? hone_buffer_append(out, run->data, run->size) : HONE_OK;
    for (size_t i = 0; !valid && !status && i < run->size; i++) status = hone_buffer_append(out, "\xef\xbf\xbd", 3);
    run->size = 0;
    return status;
}

hone_status hone_tokenizer_decode_text(const hone_tokenizer *tokenizer, const int32_t *ids, int64_t count, bool skip_special, hone_buffer *out)
{
    hone_buffer bytes = { 0 }, run = { 0 };
    hone_decode_state state = { 0 };
    hone_status status = HONE_OK;
    bool fallback = false;
    for (int d = 0; d < tokenizer->n_decoder; d++) fallback |= strcmp(tokenizer->decoder[d].type, "ByteFallback") == 0;
    for (int64_t i = 0; i < count && !status; i++) {
        bytes.size = 0;
        status = hone_tokenizer_decode_next(tokenizer, &state, ids[i], skip_special, fallback ? &bytes : &run);
        if (status || !fallback || (skip_special && tokenizer->vocab.token[ids[i]].special)) continue;
        const char *content = hone_vocab_content(&tokenizer->vocab, ids[i]);
        bool byte = bytes.size == 1 && tokenizer->vocab.token[ids[i]].size == 6 && memcmp(content, "<0x", 3) == 0;
        if (!byte) status = flush_run(&run, out);
        if (!status && bytes.size) status = hone_buffer_append(byte ? &run : out, bytes.data, bytes.size);
    }
    if (!status) status = fallback ? flush_run(&run, out) : run.size ? hone_utf8_append_lossy(out, run.data, run.size) : HONE_OK;
    hone_buffer_release(&bytes);
    hone_buffer_release(&run);
    return status;
}
