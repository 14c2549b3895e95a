// gguf_vocab.c: the vocabulary within a GGUF file, in (convert.h) and out (tokenizer.h).
//
//     tokenizer.ggml.model             "gpt2": byte-level BPE, or "llama": SentencePiece's BPE
//     tokenizer.ggml.pre               which way of cutting text into words, by a name that llama.cpp gave it (gguf_pre.def)
//     tokenizer.ggml.tokens, .token_type, .merges ("a b") or .scores
//     tokenizer.ggml.bos_token_id ...  tokenizer.ggml.add_bos_token          tokenizer.chat_template
#include "base/gguf.h"
#include "text/convert.h"
#include "text/parts.h"

#include <inttypes.h>
#include <string.h>

typedef struct {
    const char *name;               // tokenizer.ggml.pre
    const char *pattern;            // NULL: GPT-2's, by ByteLevel itself
    bool digits;                    // each digit apart, before all else
    bool nfc;
    bool whole_words;               // a word that is a token is not merged from its bytes
    bool bos;                       // added unless the file says otherwise
} pre;
static const char single_digits[] =   // Qwen2's
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const pre pres[] = {
#define PRE(name, ...) { name, __VA_ARGS__ },
#include "text/gguf_pre.def"
#undef PRE
};
enum { N_PRE = sizeof pres / sizeof *pres };

typedef struct { const char *path; const hone_gguf *file; const hone_gguf_value *tokens, *types; int64_t bos, eos, unk, pad; bool add_bos, add_eos; } vocabulary;

// The text of each token in turn: not empty, valid UTF-8 without a zero byte.
static hone_status next_token(const vocabulary *v, const uint8_t **at, int64_t id, const char **text, size_t *size)
{
    *text = hone_gguf_next_text(at, size);
    if (*size == 0 || *size > INT32_MAX || memchr(*text, 0, *size) || hone_utf8_valid(*text, *size) != *size)
        return hone_fail("%s: token %" PRId64 " of tokenizer.ggml.tokens is empty or no text", v->path, id);
    return HONE_OK;
}

static int64_t type_of_token(const vocabulary *v, int64_t id) { return v->types ? hone_gguf_i32_at(v->types, id) : HONE_PIECE_NORMAL; }

// Token `id` as a C string; NULL: there is none, or memory is short (then hone_error() is set).
static char *token_text(const vocabulary *v, int64_t id)
{
    const uint8_t *at = v->tokens->data;
    const char *text = NULL;
    size_t size = 0;
    if (id < 0 || id >= v->tokens->count) return NULL;
    for (int64_t i = 0; i <= id; i++) text = hone_gguf_next_text(&at, &size);
    return hone_format("%.*s", (int)size, text);
}

// --- byte-level BPE

static hone_status read_tokens(const vocabulary *v, json_t *table, json_t *added)
{
    const uint8_t *at = v->tokens->data;
    const char *text;
    size_t size;
    hone_status status = HONE_OK;
    for (int64_t id = 0; id < v->tokens->count && !status; id++) {
        int64_t type = type_of_token(v, id);
        if ((status = next_token(v, &at, id, &text, &size)) || type == HONE_PIECE_UNUSED) continue;   // padding of the embedding
        bool apart = type == HONE_PIECE_CONTROL || type == HONE_PIECE_USER_DEFINED || type == HONE_PIECE_UNKNOWN;
        char *copy = apart ? hone_format("%.*s", (int)size, text) : NULL;
        int failed = apart ? !copy || json_array_append_new(added, hone_added_json(id, copy, type != HONE_PIECE_USER_DEFINED))
                           : json_object_setn_new_nocheck(table, text, size, json_integer(id));
        hone_free(copy);
        if (failed) status = hone_fail("%s: no memory for the vocabulary", v->path);
    }
    return status;
}

static hone_status read_merges(const vocabulary *v, json_t *merges)
{
    const hone_gguf_value *list = NULL;
    hone_status status = hone_gguf_array(v->file, "tokenizer.ggml.merges", true, HONE_GGUF_TEXT, &list);
    const uint8_t *at = status ? NULL : list->data;
    for (int64_t i = 0; !status && i < list->count; i++) {
        size_t size;
        const char *text = hone_gguf_next_text(&at, &size), *space = memchr(text, ' ', size);
        bool good = space && space > text && space + 1 < text + size && !memchr(space + 1, ' ', size - (size_t)(space + 1 - text)) && !memchr(text, 0, size);
        if (!good) status = hone_fail("%s: merge %" PRId64 " is not two tokens with one space between them", v->path, i);
        else if (json_array_append_new(merges, json_stringn(text, size))) status = hone_fail("%s: merge %" PRId64 " is no text", v->path, i);
    }
    return status;
}

static json_t *pre_tokenizer(const pre *p)
{
    if (!p->pattern && !p->digits) return hone_byte_level_json(true);
    json_t *list = json_array();
    int failed = !list;
    if (p->digits) failed |= json_array_append_new(list, json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1));
    if (p->pattern)
        failed |= json_array_append_new(list, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", p->pattern, "behavior", "Isolated", "invert", 0));
    failed |= json_array_append_new(list, hone_byte_level_json(!p->pattern));
    json_t *sequence = failed ? NULL : json_pack("{s:s, s:O}", "type", "Sequence", "pretokenizers", list);
    json_decref(list);
    return sequence;
}

static hone_status find_pre(const vocabulary *v, const pre **found)
{
    char *name = NULL;
    hone_status status = hone_gguf_text(v->file, "tokenizer.ggml.pre", false, &name);
    *found = NULL;
    for (int i = 0; i < N_PRE && !status; i++)
        if (strcmp(pres[i].name, name ? name : "gpt-2") == 0) *found = &pres[i];
    if (!status && !*found) {
        const char *known[N_PRE];
        for (int i = 0; i < N_PRE; i++) known[i] = pres[i].name;
        status = hone_refuse(v->path, "tokenizer.ggml.pre", name, known, N_PRE);
    }
    hone_free(name);
    return status;
}

static hone_status convert_bpe(vocabulary *v, json_t **out)
{
    json_t *table = json_object(), *added = json_array(), *merges = json_array(), *post = NULL;
    char *bos = NULL;
    const pre *p;
    hone_status status = table && added && merges ? find_pre(v, &p) : hone_fail("%s: no memory for the vocabulary", v->path);
    if (!status) {
        v->add_bos = p->bos;
        status = hone_gguf_bool(v->file, "tokenizer.ggml.add_bos_token", false, &v->add_bos);
    }
    if (!status) status = read_tokens(v, table, added);
    if (!status) status = read_merges(v, merges);
    if (!status && v->add_bos && v->bos >= 0 && (!(bos = token_text(v, v->bos)) || !(post = hone_prefix_json(bos, v->bos)))) status = HONE_FAILED;
    if (!status) {
        json_t *model = json_pack("{s:s, s:n, s:n, s:b, s:b, s:b, s:O, s:O}", "type", "BPE", "dropout", "unk_token", "fuse_unk", 0, "byte_fallback", 0,
                                  "ignore_merges", p->whole_words, "vocab", table, "merges", merges);
        json_t *nfc = p->nfc ? json_pack("{s:s}", "type", "NFC") : NULL;
        *out = hone_tokenizer_json(&(hone_tokenizer_parts){ json_incref(added), nfc, pre_tokenizer(p), post ? json_incref(post) : NULL, hone_byte_level_json(true), model });
        if (!*out) status = hone_fail("%s: no memory for the vocabulary", v->path);
    }
    hone_free(bos);
    json_decref(post);
    json_decref(table);
    json_decref(added);
    json_decref(merges);
    return status;
}

// --- SentencePiece's BPE

static hone_status convert_pieces(vocabulary *v, json_t **out)
{
    const hone_gguf_value *scores = NULL;
    hone_spm m = { .path = v->path, .type = 2, .unk = v->unk, .bos = v->bos, .eos = v->eos, .pad = v->pad, .prefix = true, .escape = true };
    v->add_bos = true;
    hone_status status = hone_gguf_array(v->file, "tokenizer.ggml.scores", true, HONE_GGUF_F32, &scores);
    if (!status && scores->count != v->tokens->count)
        status = hone_fail("%s: %" PRId64 " tokens but %" PRId64 " scores", v->path, v->tokens->count, scores->count);
    if (!status) status = hone_gguf_bool(v->file, "tokenizer.ggml.add_space_prefix", false, &m.prefix);
    if (!status) status = hone_gguf_bool(v->file, "tokenizer.ggml.remove_extra_whitespaces", false, &m.squeeze);
    if (!status) status = hone_gguf_bool(v->file, "tokenizer.ggml.add_bos_token", false, &v->add_bos);
    if (!status && !(m.piece = hone_alloc((size_t)v->tokens->count + 1, sizeof *m.piece))) status = HONE_FAILED;
    if (!v->add_bos) m.bos = -1;
    const uint8_t *at = v->tokens->data;
    for (; !status && m.count < v->tokens->count; m.count++) {
        hone_spm_piece *p = &m.piece[m.count];
        *p = (hone_spm_piece){ .score = hone_gguf_f32_at(scores, m.count), .type = type_of_token(v, m.count), .id = m.count };
        if ((status = next_token(v, &at, m.count, &p->text, &p->size))) break;
        if (!(p->score > -1e30f && p->score < 1e30f)) status = hone_fail("%s: token %" PRId64 " has no finite score", v->path, m.count);
        m.byte_fallback |= p->type == HONE_PIECE_BYTE;
    }
    if (!status) status = hone_convert_pieces(&m, out);
    hone_free(m.piece);
    return status;
}

// --- what tokenizer_config.json says

static hone_status read_id(const vocabulary *v, const char *name, int64_t *id)
{
    *id = -1;
    hone_status status = hone_gguf_int(v->file, name, false, id);
    if (status || (*id >= -1 && *id < v->tokens->count)) return status;
    return hone_fail("%s: %s is %" PRId64 ", outside the vocabulary of %" PRId64, v->path, name, *id, v->tokens->count);
}

static hone_status make_config(const vocabulary *v, char **config)
{
    const struct { const char *key; int64_t id; } named[] = { { "bos_token", v->bos }, { "eos_token", v->eos }, { "unk_token", v->unk }, { "pad_token", v->pad } };
    char *template = NULL, *text = NULL;
    json_t *out = json_pack("{s:s, s:b, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "clean_up_tokenization_spaces", 0, "add_bos_token", v->add_bos);
    hone_status status = hone_gguf_text(v->file, "tokenizer.chat_template", false, &template);
    int failed = !out;
    for (int i = 0; i < 4 && !status; i++) {
        char *token = token_text(v, named[i].id);
        failed |= json_object_set_new(out, named[i].key, token ? json_string(token) : json_null());
        hone_free(token);
    }
    if (!status && template && json_object_set_new(out, "chat_template", json_string(template)))
        status = hone_fail("%s: tokenizer.chat_template is not valid UTF-8", v->path);
    if (!status) text = failed ? NULL : hone_json_dumps(out, JSON_INDENT(1));
    if (!status && (!text || !(*config = hone_strdup(text)))) status = hone_fail("%s: no memory for the vocabulary", v->path);
    hone_free(text);
    hone_free(template);
    json_decref(out);
    return status;
}

static hone_status convert(vocabulary *v, json_t **out, char **config)
{
    static const char *const models[] = { "gpt2", "llama" };
    char *model = NULL;
    hone_status status = hone_gguf_text(v->file, "tokenizer.ggml.model", true, &model);
    if (!status) status = hone_gguf_array(v->file, "tokenizer.ggml.tokens", true, HONE_GGUF_TEXT, &v->tokens);
    if (!status) status = hone_gguf_array(v->file, "tokenizer.ggml.token_type", false, HONE_GGUF_I32, &v->types);
    if (!status && v->types && v->types->count != v->tokens->count)
        status = hone_fail("%s: %" PRId64 " tokens but %" PRId64 " token types", v->path, v->tokens->count, v->types->count);
    if (!status) status = read_id(v, "tokenizer.ggml.bos_token_id", &v->bos);
    if (!status) status = read_id(v, "tokenizer.ggml.eos_token_id", &v->eos);
    if (!status) status = read_id(v, "tokenizer.ggml.unknown_token_id", &v->unk);
    if (!status) status = read_id(v, "tokenizer.ggml.padding_token_id", &v->pad);
    if (!status) status = hone_gguf_bool(v->file, "tokenizer.ggml.add_eos_token", false, &v->add_eos);
    if (!status && v->add_eos) status = hone_fail("%s: tokenizer.ggml.add_eos_token is not supported", v->path);
    if (!status && strcmp(model, models[0]) == 0) status = convert_bpe(v, out);
    else if (!status && strcmp(model, models[1]) == 0) status = convert_pieces(v, out);
    else if (!status) status = hone_refuse(v->path, "tokenizer.ggml.model", model, models, 2);
    hone_free(model);
    return status ? status : make_config(v, config);
}

hone_status hone_convert_gguf(const char *path, json_t **out, char **config)
{
    hone_gguf file;
    *out = NULL;
    hone_status status = hone_gguf_open(&file, path);
    if (status) return status;
    vocabulary v = { .path = path, .file = &file };
    status = convert(&v, out, config);
    if (status) {
        json_decref(*out);
        *out = NULL;
    }
    hone_gguf_close(&file);
    return status;
}

// Writing ------------------------------------------------------------------------------------------------------------

#define MARK "\xe2\x96\x81"     // ▁

// How a tokenizer.json cuts text, as far as a row of `pres` can say it; `odd` says what it cannot.
typedef struct { const char *pattern; bool digits, gpt2, nfc, prefix; const char *odd; } shape;

static bool is(const json_t *json, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(json, key));
    return value && strcmp(value, text) == 0;
}

static void look_at_pre(const json_t *json, shape *s)
{
    size_t i;
    json_t *part, *list = json_object_get(json, "pretokenizers");
    const char *regex = json_string_value(json_object_get(json_object_get(json, "pattern"), "Regex"));
    if (!json || json_is_null(json)) return;
    if (is(json, "type", "Sequence")) {
        json_array_foreach(list, i, part) look_at_pre(part, s);
    } else if (is(json, "type", "Digits") && json_is_true(json_object_get(json, "individual_digits")) && !s->pattern && !s->gpt2) {
        s->digits = true;
    } else if (is(json, "type", "Split") && regex && is(json, "behavior", "Isolated") && !json_is_true(json_object_get(json, "invert")) && !s->pattern && !s->gpt2) {
        s->pattern = regex;
    } else if (is(json, "type", "ByteLevel") && !json_is_true(json_object_get(json, "add_prefix_space"))) {
        s->gpt2 = !json_is_false(json_object_get(json, "use_regex"));
    } else {
        const char *type = json_string_value(json_object_get(json, "type"));
        s->odd = type ? type : "?";
    }
}

static void look_at_normalizer(const json_t *json, shape *s)
{
    size_t i;
    json_t *part, *list = json_object_get(json, "normalizers");
    if (!json || json_is_null(json)) return;
    if (is(json, "type", "Sequence")) {
        json_array_foreach(list, i, part) look_at_normalizer(part, s);
    } else if (is(json, "type", "NFC")) {
        s->nfc = true;
    } else if (is(json, "type", "Prepend") && is(json, "prepend", MARK)) {
        s->prefix = true;
    } else if (!(is(json, "type", "Replace") && is(json_object_get(json, "pattern"), "String", " ") && is(json, "content", MARK))) {
        const char *type = json_string_value(json_object_get(json, "type"));
        s->odd = type ? type : "?";
    }
}

static const pre *pre_of(const hone_tokenizer *tokenizer, const shape *s)
{
    for (int i = 0; i < N_PRE && !s->odd && !s->prefix; i++) {
        const pre *p = &pres[i];
        bool same = p->pattern ? s->pattern && !s->gpt2 && strcmp(p->pattern, s->pattern) == 0 : s->gpt2 && !s->pattern;
        if (same && p->digits == s->digits && p->nfc == s->nfc && p->whole_words == tokenizer->ignore_merges) return p;
    }
    return NULL;
}

// Both halves of a merge: "a b" or ["a", "b"].
static bool halves_of(const json_t *merge, const char *half[2], size_t size[2])
{
    const json_t *from[2] = { json_array_get(merge, 0), json_array_get(merge, 1) };
    const char *text = json_string_value(merge), *space = text ? strchr(text, ' ') : NULL;
    if (space) {
        half[0] = text;
        size[0] = (size_t)(space - text);
        half[1] = space + 1;
        size[1] = strlen(space + 1);
        return true;
    }
    for (int i = 0; i < 2; i++) {
        half[i] = json_string_value(from[i]);
        size[i] = json_string_length(from[i]);
    }
    return half[0] && half[1];
}

static hone_status put_merges(const json_t *merges, hone_gguf_head *head)
{
    size_t i;
    json_t *merge;
    hone_buffer text = { 0 };
    hone_status status = HONE_OK;
    hone_gguf_put_array(head, "tokenizer.ggml.merges", HONE_GGUF_TEXT, json_array_size(merges));
    json_array_foreach(merges, i, merge) {
        const char *half[2];
        size_t size[2];
        if (status || !halves_of(merge, half, size)) continue;   // it was read once: every merge has two halves
        text.size = 0;
        if ((status = hone_buffer_print(&text, "%.*s %.*s", (int)size[0], half[0], (int)size[1], half[1]))) continue;
        hone_gguf_add_text(head, text.data, text.size);
    }
    hone_buffer_release(&text);
    return status;
}

// A piece's score is how early it is made: llama.cpp merges the pair whose whole has the best score.
static hone_status put_scores(const hone_tokenizer *tokenizer, const json_t *merges, int64_t vocab, hone_gguf_head *head)
{
    size_t i;
    json_t *merge;
    hone_buffer text = { 0 };
    hone_status status = HONE_OK;
    float *score = hone_alloc((size_t)vocab, sizeof *score);
    if (!score) return HONE_FAILED;
    for (int64_t id = 0; id < vocab; id++) score[id] = -(float)(json_array_size(merges) + 1);
    json_array_foreach(merges, i, merge) {
        const char *half[2];
        size_t size[2];
        text.size = 0;
        if (status || !halves_of(merge, half, size) || (status = hone_buffer_print(&text, "%.*s%.*s", (int)size[0], half[0], (int)size[1], half[1]))) continue;
        int32_t id = hone_vocab_find(&tokenizer->vocab, text.data, text.size);
        if (id >= 0 && id < vocab && score[id] < -(float)(i + 1)) score[id] = -(float)(i + 1);
    }
    hone_gguf_put_array(head, "tokenizer.ggml.scores", HONE_GGUF_F32, (uint64_t)vocab);
    for (int64_t id = 0; id < vocab; id++) hone_gguf_add_word(head, &score[id]);
    hone_buffer_release(&text);
    hone_free(score);
    return status;
}

static bool is_byte_piece(const hone_tokenizer *tokenizer, int32_t id)
{
    bool found = false;
    for (int b = 0; b < 256 && !tokenizer->byte_level && tokenizer->byte_fallback && !found; b++) found = tokenizer->byte_id[b] == id;
    return found;
}

static int32_t piece_type(const hone_tokenizer *tokenizer, int32_t id)
{
    const hone_token *token = &tokenizer->vocab.token[id];
    if (!token->exists) return HONE_PIECE_UNUSED;
    if (id == tokenizer->unk && !tokenizer->byte_level) return HONE_PIECE_UNKNOWN;
    if (token->added) return token->special ? HONE_PIECE_CONTROL : HONE_PIECE_USER_DEFINED;
    return is_byte_piece(tokenizer, id) ? HONE_PIECE_BYTE : HONE_PIECE_NORMAL;
}

// The embedding may have more rows than the tokenizer has tokens: those are called [PADn] and are unused.
static void put_tokens(const hone_tokenizer *tokenizer, int64_t vocab, hone_gguf_head *head)
{
    hone_gguf_put_array(head, "tokenizer.ggml.tokens", HONE_GGUF_TEXT, (uint64_t)vocab);
    for (int64_t id = 0; id < vocab; id++) {
        char name[32];
        size_t size = 0;
        const char *text = hone_tokenizer_token(tokenizer, (int32_t)id, &size);
        if (!text) size = (size_t)snprintf(name, sizeof name, "[PAD%" PRId64 "]", id);
        hone_gguf_add_text(head, text ? text : name, size);
    }
    hone_gguf_put_array(head, "tokenizer.ggml.token_type", HONE_GGUF_I32, (uint64_t)vocab);
    for (int64_t id = 0; id < vocab; id++) {
        int32_t type = id < tokenizer->vocab.count ? piece_type(tokenizer, (int32_t)id) : HONE_PIECE_UNUSED;
        hone_gguf_add_word(head, &type);
    }
}

static hone_status put_model(const hone_tokenizer *tokenizer, json_t *json, int64_t vocab, hone_gguf_head *head)
{
    shape s = { 0 };
    const json_t *merges = json_object_get(json_object_get(json, "model"), "merges");
    look_at_normalizer(json_object_get(json, "normalizer"), &s);
    look_at_pre(json_object_get(json, "pre_tokenizer"), &s);
    bool pieces = !tokenizer->byte_level && tokenizer->byte_fallback && !s.odd && !s.pattern && !s.digits && !s.gpt2 && !s.nfc;
    const pre *p = tokenizer->byte_level ? pre_of(tokenizer, &s) : NULL;
    if (tokenizer->model != &hone_model_bpe || (!p && !pieces))
        return hone_fail("the tokenizer (%s%s%s) has no name in GGUF that hone knows: llama.cpp would cut text otherwise; --no-tokenizer writes the model without it",
                         tokenizer->model->type, s.odd ? ", " : "", s.odd ? s.odd : "");
    hone_gguf_put_text(head, "tokenizer.ggml.model", p ? "gpt2" : "llama", p ? 4 : 5);
    hone_gguf_put_text(head, "tokenizer.ggml.pre", p ? p->name : "default", strlen(p ? p->name : "default"));
    hone_gguf_put_bool(head, "tokenizer.ggml.add_space_prefix", s.prefix);
    put_tokens(tokenizer, vocab, head);
    return p ? put_merges(merges, head) : put_scores(tokenizer, merges, vocab, head);
}

static void put_id(hone_gguf_head *head, const char *name, int32_t id)
{
    if (id >= 0) hone_gguf_put_u32(head, name, (uint32_t)id);
}

hone_status hone_tokenizer_put_gguf(const hone_tokenizer *tokenizer, int64_t vocab, const char *template, hone_gguf_head *head)
{
    json_t *json = NULL, *config = NULL;
    const hone_special_ids *special = &tokenizer->special;
    HONE_ASSERT(tokenizer->vocab.count <= vocab, "%" PRId64 " tokens for %" PRId64 " rows", tokenizer->vocab.count, vocab);
    hone_status status = hone_json_parse("tokenizer.json", tokenizer->source, tokenizer->source_size, &json);
    if (!status) status = put_model(tokenizer, json, vocab, head);
    json_decref(json);
    if (status) return status;
    put_id(head, "tokenizer.ggml.bos_token_id", special->bos);
    put_id(head, "tokenizer.ggml.eos_token_id", special->eos);
    put_id(head, "tokenizer.ggml.unknown_token_id", special->unk);
    put_id(head, "tokenizer.ggml.padding_token_id", special->pad);
    hone_gguf_put_bool(head, "tokenizer.ggml.add_bos_token", tokenizer->n_prefix == 1 && tokenizer->prefix[0] == special->bos);
    if (!template && tokenizer->config) {
        json_error_t error;
        config = hone_json_scan(tokenizer->config, tokenizer->config_size, JSON_DECODE_INT_AS_REAL, &error);
        template = json_string_value(json_object_get(config, "chat_template"));
    }
    if (template) hone_gguf_put_text(head, "tokenizer.chat_template", template, strlen(template));
    json_decref(config);
    return HONE_OK;
}
