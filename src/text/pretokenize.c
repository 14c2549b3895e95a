// pretokenize.c: pre-tokenizers: a text is cut into pieces; merges never cross a cut.
//
// The pre-tokenizers of a tokenizer are stages. A stage hands each piece that it makes to the next one as soon as it has
// it, the last to the BPE model, so no list of pieces exists.
#include "text/parts.h"

#include <string.h>

const char hone_gpt2_pattern[] = HONE_GPT2_PATTERN;

struct hone_pretokenizer_kind {
    const char *type;
    hone_status (*read)(hone_tokenizer *tokenizer, hone_pretokenizer *self, const json_t *json, const char *where);
    hone_status (*apply)(const hone_pretokenizer *self, hone_encoder *encoder, int stage, hone_piece piece);
};

static hone_status pass_on(hone_encoder *encoder, int stage, hone_piece whole, size_t start, size_t end)
{
    if (start == end) return HONE_OK;
    return hone_pretokenize(encoder, stage + 1, (hone_piece){ whole.text + start, end - start, whole.first && start == 0 });
}

// --- Split: by the matches of a pattern. Matches and what lies between them alternate; `behavior` says which stay whole.
typedef struct splitter {
    hone_split_behavior behavior;
    bool have, held_match, last_match;  // a span is held back; it began as a match; the last span seen was one
    size_t start, end;                  // of the span held back
} splitter;

// Takes the next span; *out is true where [*start, *end) may be passed on now.
static void split_next(splitter *self, bool match, size_t *start, size_t *end, bool *out)
{
    bool joins = false;
    switch (self->behavior) {
    case HONE_SPLIT_REMOVED: *out = !match; return;
    case HONE_SPLIT_ISOLATED: *out = true; return;
    case HONE_SPLIT_CONTIGUOUS: joins = self->have && match == self->last_match; break;
    case HONE_SPLIT_MERGED_WITH_PREVIOUS: joins = self->have && match && !self->last_match; break;
    case HONE_SPLIT_MERGED_WITH_NEXT: joins = self->have && self->held_match && !match; break;
    }
    self->last_match = match;
    *out = false;
    if (joins) {
        self->end = *end;
        self->held_match = match;
        return;
    }
    size_t held_start = self->start, held_end = self->end;
    *out = self->have;
    self->have = true;
    self->held_match = match;
    self->start = *start;
    self->end = *end;
    *start = held_start;
    *end = held_end;
}

static hone_status split_span(splitter *splits, bool match, size_t start, size_t end, hone_encoder *encoder, int stage, hone_piece piece)
{
    bool out;
    if (start == end) return HONE_OK;
    split_next(splits, match, &start, &end, &out);
    return out ? pass_on(encoder, stage, piece, start, end) : HONE_OK;
}

// By a well-known pattern: every span is a match. Where only the model follows, pieces go there without a detour.
static hone_status apply_known(const hone_pretokenizer *self, hone_encoder *encoder, int stage, hone_piece piece)
{
    const char *text = piece.text;
    size_t size = piece.size;
    hone_status status = HONE_OK;
    for (size_t place = 0, end; place < size && !status; place = end) {
        end = self->known(text, size, place);
        status = stage + 1 >= encoder->tokenizer->last_stage ? hone_model_encode(encoder, text + place, end - place) : pass_on(encoder, stage, piece, place, end);
    }
    return status;
}

static hone_status apply_regex(const hone_pretokenizer *self, hone_encoder *encoder, int stage, hone_piece piece)
{
    if (self->known) return apply_known(self, encoder, stage, piece);
    splitter splits = { .behavior = self->behavior };
    size_t place = 0;
    hone_status status = HONE_OK;
    while (!status && place < piece.size) {
        bool found;
        size_t start, end;
        status = hone_regex_find(self->regex, &encoder->matcher, piece.text, piece.size, place, &found, &start, &end);
        if (status) return status;
        if (!found) start = end = piece.size;
        status = split_span(&splits, self->invert, place, start, encoder, stage, piece);
        if (!status) status = split_span(&splits, !self->invert, start, end, encoder, stage, piece);
        place = end;
    }
    if (!status && splits.have) status = pass_on(encoder, stage, piece, splits.start, splits.end);
    return status;
}

static hone_status read_behavior(hone_pretokenizer *self, const json_t *json, const char *where)
{
    static const char *const name[] = { "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous" };
    const char *text = NULL;
    hone_status status = hone_json_text(json, "behavior", where, true, &text);
    if (status) return status;
    for (int b = 0; b < 5; b++)
        if (strcmp(name[b], text) == 0) { self->behavior = (hone_split_behavior)b; return HONE_OK; }
    return hone_refuse(where, "behavior of pre-tokenizer Split", text, name, 5);
}

static hone_status read_split(hone_tokenizer *tokenizer, hone_pretokenizer *self, const json_t *json, const char *where)
{
    const json_t *pattern = json_object_get(json, "pattern");
    bool literal = json_object_get(pattern, "String") != NULL;
    const char *text = NULL;
    hone_status status = hone_json_text(pattern, literal ? "String" : "Regex", where, true, &text);
    if (!status) status = hone_json_bool(json, "invert", where, false, &self->invert);
    if (!status) status = read_behavior(self, json, where);
    if (!status) status = hone_regex_new(&self->regex, text, literal, where);
    if (!status && !literal && !self->invert && self->behavior == HONE_SPLIT_ISOLATED) self->known = hone_split_find(text);
    return status ? status : hone_buffer_print(&tokenizer->identity, " %d %d %d %zu:%s;", literal, self->behavior, self->invert, strlen(text), text);
}

// --- ByteLevel: from here on symbols are bytes; cut by GPT-2's pattern unless told otherwise
static hone_status read_byte_level(hone_tokenizer *tokenizer, hone_pretokenizer *self, const json_t *json, const char *where)
{
    bool use_regex = true;
    self->add_prefix_space = true;
    hone_status status = hone_json_bool(json, "add_prefix_space", where, false, &self->add_prefix_space);
    if (!status) status = hone_json_bool(json, "use_regex", where, false, &use_regex);
    if (!status && use_regex) status = hone_regex_new(&self->regex, hone_gpt2_pattern, false, where);
    self->behavior = HONE_SPLIT_ISOLATED;
    if (use_regex) self->known = hone_split_find(hone_gpt2_pattern);
    tokenizer->byte_level = true;
    return status ? status : hone_buffer_print(&tokenizer->identity, " %d %d;", self->add_prefix_space, use_regex);
}

static hone_status apply_byte_level(const hone_pretokenizer *self, hone_encoder *encoder, int stage, hone_piece piece)
{
    if (self->add_prefix_space && piece.size && piece.text[0] != ' ') {
        hone_buffer *buffer = &encoder->stage[stage];
        buffer->size = 0;
        hone_status status = hone_buffer_append(buffer, " ", 1);
        if (!status) status = hone_buffer_append(buffer, piece.text, piece.size);
        if (status) return status;
        piece.text = buffer->data;
        piece.size = buffer->size;
    }
    return self->regex ? apply_regex(self, encoder, stage, piece) : pass_on(encoder, stage, piece, 0, piece.size);
}

// --- Metaspace: spaces become a visible mark, each word begins with one
static hone_status read_metaspace(hone_tokenizer *tokenizer, hone_pretokenizer *self, const json_t *json, const char *where)
{
    static const char *const name[] = { "always", "first", "never" };
    const char *replacement = "\xe2\x96\x81", *scheme = "always";
    self->split = true;
    hone_status status = hone_json_text(json, "replacement", where, false, &replacement);
    if (!status) status = hone_json_bool(json, "split", where, false, &self->split);
    if (!status && json_object_get(json, "prepend_scheme")) {
        status = hone_json_text(json, "prepend_scheme", where, true, &scheme);
    } else if (!status) { // older files say it with a switch
        bool add = true;
        status = hone_json_bool(json, "add_prefix_space", where, false, &add);
        if (!add) scheme = "never";
    }
    if (status) return status;
    self->replacement_size = strlen(replacement);
    if (self->replacement_size == 0 || self->replacement_size > 4) return hone_fail("%s: pre-tokenizer \"Metaspace\": replacement \"%s\" must be one character", where, replacement);
    memcpy(self->replacement, replacement, self->replacement_size);
    int p = 0;
    while (p < 3 && strcmp(name[p], scheme)) p++;
    if (p == 3) return hone_refuse(where, "prepend_scheme of pre-tokenizer Metaspace", scheme, name, 3);
    self->prepend = (hone_prepend)p;
    return hone_buffer_print(&tokenizer->identity, " %s %d %d;", replacement, p, self->split);
}

static hone_status apply_metaspace(const hone_pretokenizer *self, hone_encoder *encoder, int stage, hone_piece piece)
{
    hone_buffer *buffer = &encoder->stage[stage];
    const char *mark = self->replacement, *end = piece.text + piece.size;
    size_t mark_size = self->replacement_size;
    hone_status status = HONE_OK;
    buffer->size = 0;
    bool begins = piece.size && (piece.text[0] == ' ' || (piece.size >= mark_size && memcmp(piece.text, mark, mark_size) == 0));
    bool prepend = self->prepend == HONE_PREPEND_ALWAYS || (self->prepend == HONE_PREPEND_FIRST && piece.first);
    if (prepend && piece.size && !begins) status = hone_buffer_append(buffer, mark, mark_size);
    for (const char *p = piece.text; !status && p < end;) {
        const char *space = memchr(p, ' ', (size_t)(end - p)), *stop = space ? space : end;
        status = hone_buffer_append(buffer, p, (size_t)(stop - p));
        if (!status && space) status = hone_buffer_append(buffer, mark, mark_size);
        p = space ? space + 1 : end;
    }
    if (status) return status;
    piece.text = buffer->data;
    piece.size = buffer->size;
    size_t start = 0;
    for (size_t i = 1; self->split && i + mark_size <= piece.size; i++) {
        if (memcmp(piece.text + i, mark, mark_size) != 0) continue;
        if ((status = pass_on(encoder, stage, piece, start, i))) return status;
        start = i;
    }
    return pass_on(encoder, stage, piece, start, piece.size);
}

// --- Whitespace: words and runs of other signs; spaces are dropped. Rust's \w: Alphabetic, M, Nd, Pc, Join_Control
static const char word_items[] = "\\p{L}\\p{Nl}\\p{M}\\p{Nd}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}\\x{200c}\\x{200d}";

static hone_status read_whitespace(hone_tokenizer *tokenizer, hone_pretokenizer *self, const json_t *json, const char *where)
{
    (void)json;
    char *pattern = hone_format("[%s]+|[^%s\\s]+", word_items, word_items);
    hone_status status = pattern ? hone_regex_new(&self->regex, pattern, false, where) : HONE_FAILED;
    self->behavior = HONE_SPLIT_REMOVED;
    self->invert = true;
    hone_free(pattern);
    return status ? status : hone_buffer_print(&tokenizer->identity, ";");
}

// --- by character: each one that matches is a match of its own
static hone_status apply_characters(const hone_pretokenizer *self, hone_encoder *encoder, int stage, hone_piece piece)
{
    splitter splits = { .behavior = self->behavior };
    size_t place = 0;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < piece.size && !status;) {
        int length;
        int32_t code = hone_utf8_next(piece.text + i, piece.size - i, &length);
        size_t end = i + (size_t)length;
        if (self->matches(code)) {
            status = split_span(&splits, false, place, i, encoder, stage, piece);
            if (!status) status = split_span(&splits, true, i, end, encoder, stage, piece);
            place = end;
        }
        i = end;
    }
    if (!status) status = split_span(&splits, false, place, piece.size, encoder, stage, piece);
    if (!status && splits.have) status = pass_on(encoder, stage, piece, splits.start, splits.end);
    return status;
}

static hone_status read_digits(hone_tokenizer *tokenizer, hone_pretokenizer *self, const json_t *json, const char *where)
{
    bool individual = false;
    hone_status status = hone_json_bool(json, "individual_digits", where, false, &individual);
    self->matches = hone_char_is_numeric;
    self->behavior = individual ? HONE_SPLIT_ISOLATED : HONE_SPLIT_CONTIGUOUS;
    return status ? status : hone_buffer_print(&tokenizer->identity, " %d;", individual);
}

static hone_status read_punctuation(hone_tokenizer *tokenizer, hone_pretokenizer *self, const json_t *json, const char *where)
{
    self->matches = hone_char_is_punctuation;
    self->behavior = HONE_SPLIT_ISOLATED;
    hone_status status = json_object_get(json, "behavior") ? read_behavior(self, json, where) : HONE_OK;
    return status ? status : hone_buffer_print(&tokenizer->identity, " %d;", self->behavior);
}

static hone_status read_whitespace_split(hone_tokenizer *tokenizer, hone_pretokenizer *self, const json_t *json, const char *where)
{
    (void)json; (void)where;
    self->matches = hone_char_is_space;
    self->behavior = HONE_SPLIT_REMOVED;
    return hone_buffer_print(&tokenizer->identity, ";");
}

// --- BertPreTokenizer: spaces dropped, each punctuation sign apart
static hone_status read_bert(hone_tokenizer *tokenizer, hone_pretokenizer *self, const json_t *json, const char *where)
{
    (void)self; (void)json; (void)where;
    return hone_buffer_print(&tokenizer->identity, ";");
}

static hone_status apply_bert(const hone_pretokenizer *self, hone_encoder *encoder, int stage, hone_piece piece)
{
    (void)self;
    hone_status status = HONE_OK;
    size_t place = 0;
    for (size_t i = 0; i < piece.size && !status;) {
        int length;
        int32_t code = hone_utf8_next(piece.text + i, piece.size - i, &length);
        size_t end = i + (size_t)length;
        bool space = hone_char_is_space(code), sign = hone_char_is_punctuation(code);
        if (space || sign) {
            status = pass_on(encoder, stage, piece, place, i);
            if (!status && sign) status = pass_on(encoder, stage, piece, i, end);
            place = end;
        }
        i = end;
    }
    return status ? status : pass_on(encoder, stage, piece, place, piece.size);
}

static const struct hone_pretokenizer_kind kinds[] = {
    { "BertPreTokenizer", read_bert, apply_bert },
    { "ByteLevel", read_byte_level, apply_byte_level },
    { "Digits", read_digits, apply_characters },
    { "Metaspace", read_metaspace, apply_metaspace },
    { "Punctuation", read_punctuation, apply_characters },
    { "Split", read_split, apply_regex },
    { "Whitespace", read_whitespace, apply_regex },
    { "WhitespaceSplit", read_whitespace_split, apply_characters },
};

static hone_status add_pretokenizer(hone_tokenizer *tokenizer, int kind, const json_t *json, const char *where)
{
    if (tokenizer->n_pretokenizer == HONE_MAX_COMPONENTS) return hone_fail("%s: more than %d pre-tokenizers", where, HONE_MAX_COMPONENTS);
    if (tokenizer->byte_level) return hone_fail("%s: pre-tokenizer \"%s\" behind \"ByteLevel\" is not supported", where, kinds[kind].type);
    hone_pretokenizer *self = &tokenizer->pretokenizer[tokenizer->n_pretokenizer++];
    self->kind = &kinds[kind];
    self->type = kinds[kind].type;
    hone_status status = hone_buffer_print(&tokenizer->identity, "pre-tokenizer %s", self->type);
    if (!status) status = kinds[kind].read(tokenizer, self, json, where);
    bool nothing = kinds[kind].apply == apply_byte_level && !self->add_prefix_space && !self->regex; // it only says that symbols are bytes
    if (!nothing) tokenizer->last_stage = tokenizer->n_pretokenizer;
    return status;
}

hone_status hone_pretokenizer_read(hone_tokenizer *tokenizer, const json_t *json, const char *where)
{
    static const hone_component_table table = { "pre-tokenizer", "pretokenizers", kinds, sizeof *kinds, sizeof kinds / sizeof *kinds, add_pretokenizer };
    return hone_components_read(tokenizer, json, where, &table);
}

hone_status hone_pretokenize(hone_encoder *encoder, int stage, hone_piece piece)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    if (stage == tokenizer->n_pretokenizer) return hone_model_encode(encoder, piece.text, piece.size);
    const hone_pretokenizer *self = &tokenizer->pretokenizer[stage];
    return self->kind->apply(self, encoder, stage, piece);
}
