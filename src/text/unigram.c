// unigram.c: a piece of text to the most probable row of tokens (Kudo 2018, arXiv:1804.10959), by Viterbi.
//
//     best[e] = max over tokens t that end at e of  best[start of t] + score[t];   characters without a token: lowest score - 10
//
// Tokens that begin at a place are found by walking a tree of all tokens along the text, so n bytes cost n times the
// length of the longest token at most. A run of unknown characters is one unknown token, or their bytes' tokens.
#include "text/parts.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct hone_lattice { double score; int32_t start, id; } hone_lattice; // of the best path that ends here; start -1: none yet

static void offer(hone_lattice *at, double score, int32_t start, int32_t id)
{
    if (at->start < 0 || score > at->score) *at = (hone_lattice){ score, start, id };
}

static void fill(const hone_tokenizer *tokenizer, hone_lattice *best, const char *text, int32_t size)
{
    const hone_trie *trie = &tokenizer->trie;
    for (int32_t e = 1; e <= size; e++) best[e].start = -1;
    best[0] = (hone_lattice){ 0.0, 0, -1 };
    for (int32_t start = 0, length; start < size; start += length) {
        hone_utf8_next(text + start, (size_t)(size - start), &length);
        double here = best[start].score;
        bool alone = false; // some token is this very character
        int32_t node = 0;
        for (int32_t end = start; end < size && (node = hone_trie_step(trie, node, (uint8_t)text[end])) >= 0;) {
            int32_t id = trie->id[node];
            end++;
            if (id < 0) continue;
            offer(&best[end], here + tokenizer->score[id], start, id);
            alone |= end == start + length;
        }
        if (!alone) offer(&best[start + length], here + tokenizer->unknown_score, start, -1);
    }
}

static hone_status append_unknown(hone_encoder *encoder, const char *text, size_t size)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    int32_t id = hone_vocab_find(&tokenizer->vocab, text, size);
    bool bytes = id < 0 && tokenizer->byte_fallback;
    for (size_t i = 0; bytes && i < size; i++) bytes = tokenizer->byte_id[(uint8_t)text[i]] >= 0;
    hone_status status = HONE_OK;
    for (size_t i = 0; bytes && i < size && !status; i++) status = hone_ids_append(encoder->out, tokenizer->byte_id[(uint8_t)text[i]]);
    if (bytes) return status;
    if (id < 0 || tokenizer->apart_from_text) id = tokenizer->unk;
    if (id < 0) return hone_fail("\"%.*s\" has no token, and the tokenizer has neither byte tokens nor an unknown token", (int)size, text);
    return hone_ids_append(encoder->out, id);
}

static hone_status encode_unigram(hone_encoder *encoder, const char *text, size_t size)
{
    if (size > INT32_MAX / 2) return hone_fail("a piece of %zu bytes without a cut is too long", size);
    if ((int64_t)size >= encoder->lattice_capacity) {
        hone_lattice *lattice = hone_realloc(encoder->lattice, size * 2 + 64, sizeof *lattice);
        if (!lattice) return HONE_FAILED;
        encoder->lattice = lattice;
        encoder->lattice_capacity = (int64_t)size * 2 + 64;
    }
    hone_lattice *best = encoder->lattice;
    fill(encoder->tokenizer, best, text, (int32_t)size);
    // The best path is known from its end: best[start].score becomes the end of the token that begins there.
    for (int32_t e = (int32_t)size; e > 0; e = best[e].start) best[best[e].start].score = e;
    for (int32_t at = 0; at < (int32_t)size;) {
        int32_t end = (int32_t)best[at].score, from = at;
        hone_status status;
        if (best[end].id >= 0) {
            status = hone_ids_append(encoder->out, best[end].id);
        } else {
            while (end < (int32_t)size && best[(int32_t)best[end].score].id < 0) end = (int32_t)best[end].score;
            status = append_unknown(encoder, text + from, (size_t)(end - from));
        }
        if (status) return status;
        at = end;
    }
    return HONE_OK;
}

// --- reading

static hone_status read_unigram(hone_tokenizer *tokenizer, json_t *model, const char *where)
{
    json_t *vocab = json_object_get(model, "vocab"), *row;
    size_t n = json_array_size(vocab), id;
    int64_t unk = -1;
    double lowest = INFINITY;
    if (!json_is_array(vocab) || n == 0) return hone_fail("%s: model.vocab of a Unigram model is missing or no list of [token, score]", where);
    tokenizer->score = hone_alloc(n, sizeof *tokenizer->score);
    if (!tokenizer->score) return HONE_FAILED;
    json_array_foreach(vocab, id, row) {
        const json_t *content = json_array_get(row, 0), *score = json_array_get(row, 1);
        if (!json_is_string(content) || !json_is_number(score)) return hone_fail("%s: entry %zu of model.vocab is not [token, score]", where, id);
        hone_status status = hone_vocab_add(&tokenizer->vocab, (int64_t)id, json_string_value(content), json_string_length(content), where);
        if (status) return status;
        tokenizer->score[id] = json_number_value(score);
        if (tokenizer->score[id] < lowest) lowest = tokenizer->score[id];
        if (hone_buffer_append(&tokenizer->identity, &tokenizer->score[id], sizeof *tokenizer->score)) return HONE_FAILED;
    }
    hone_status status = hone_json_int(model, "unk_id", where, false, &unk);
    if (status) return status;
    if (unk < -1 || unk >= (int64_t)n) return hone_fail("%s: model.unk_id %" PRId64 " is outside the vocabulary of %zu", where, unk, n);
    tokenizer->unk = (int32_t)unk;
    tokenizer->scores = (int64_t)n;
    tokenizer->unknown_score = lowest - 10.0;
    if ((status = hone_json_real(model, "unknown_score", where, false, &tokenizer->unknown_score))) return status; // hone's own key
    return hone_buffer_print(&tokenizer->identity, "Unigram %d %d %d %.17g;", tokenizer->byte_fallback, tokenizer->unk, tokenizer->apart_from_text, tokenizer->unknown_score);
}

static bool is_byte_token(const char *content, size_t size) { return size == 6 && memcmp(content, "<0x", 3) == 0 && content[5] == '>'; }

static hone_status prepare_unigram(hone_tokenizer *tokenizer, const char *where)
{
    const hone_vocab *vocab = &tokenizer->vocab;
    bool apart = tokenizer->apart_from_text;
    for (int64_t id = 0; id < tokenizer->scores; id++) {
        const hone_token *token = &vocab->token[id];
        const char *content = hone_vocab_content(vocab, (int32_t)id);
        if (token->size == 0 || (apart && (token->special || id == tokenizer->unk || is_byte_token(content, token->size)))) continue;
        if (hone_trie_add(&tokenizer->trie, content, token->size, (int32_t)id)) return HONE_FAILED;
    }
    return tokenizer->trie.nodes ? HONE_OK : hone_fail("%s: a Unigram model without tokens for text", where);
}

const hone_model_kind hone_model_unigram = { "Unigram", read_unigram, prepare_unigram, encode_unigram };
