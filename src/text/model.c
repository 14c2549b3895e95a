// model.c: what all models share: which there are, the vocabulary's reading, and the cache of pieces.
//
// A cache of 65,536 pieces (a direct-mapped table, one cache line each) answers most words of real text at once: 96 % of
// the pieces of 18.75 MB of novels, from a cold start. Where no token reaches over the start of a word (▁ behind another
// character), words are encoded apart, so that SentencePiece's whole lines profit as well.
#include "text/parts.h"
#include "text/words.h"

#include <stdio.h>
#include <string.h>

static uint64_t mix(uint64_t h) { h *= 0x9E3779B97F4A7C15ull; return h ^ h >> 32; }

// A cache begins small and is emptied when it grows, so that encoding a line costs no 4 MB.
static hone_status grow_cache(hone_encoder *encoder)
{
    hone_cache_entry *cache = hone_alloc((size_t)encoder->cache_slots * 8, sizeof *cache);
    if (!cache) return HONE_FAILED;
    hone_free(encoder->cache);
    encoder->cache = cache;
    encoder->cache_slots *= 8;
    encoder->missed = 0;
    return HONE_OK;
}

static hone_status encode_cached(hone_encoder *encoder, const char *text, size_t size)
{
    if (encoder->count) return hone_words_add(encoder->count, text, size, hone_words_hash(text, size), 1);
    if (size > HONE_CACHE_KEY) return encoder->tokenizer->model->encode(encoder, text, size);
    uint64_t key[4] = { 0 };
    memcpy(key, text, size);
    uint64_t h = mix(key[0] + size);
    if (size > 8) h = mix(h ^ key[1]);
    if (size > 16) h = mix(mix(h ^ key[2]) ^ key[3]);
    hone_cache_entry *entry = &encoder->cache[h >> 16 & (uint64_t)(encoder->cache_slots - 1)];
    hone_ids *out = encoder->out;
    if (entry->size == size && memcmp(entry->key, key, sizeof key) == 0) {
        if (hone_ids_reserve(out, HONE_CACHE_IDS)) return HONE_FAILED;
        memcpy(out->data + out->count, entry->ids, sizeof entry->ids); // all seven: cheaper than counting
        out->count += entry->n;
        return HONE_OK;
    }
    int64_t first = out->count;
    hone_status status = encoder->tokenizer->model->encode(encoder, text, size);
    int64_t n = out->count - first;
    if (status || n > HONE_CACHE_IDS) return status;
    if (encoder->cache_slots < HONE_CACHE_SLOTS && ++encoder->missed > encoder->cache_slots) return grow_cache(encoder);
    memcpy(entry->key, key, sizeof key);
    entry->size = (uint8_t)size;
    entry->n = (uint8_t)n;
    memcpy(entry->ids, out->data + first, (size_t)n * sizeof *out->data);
    return HONE_OK;
}

static const char word_mark[] = "\xe2\x96\x81"; // ▁

hone_status hone_model_encode(hone_encoder *encoder, const char *text, size_t size)
{
    if (!encoder->tokenizer->cut_words) return encode_cached(encoder, text, size);
    size_t start = 0;
    bool marked = true; // what stands before i is a mark, or the start
    for (size_t i = 0; i < size;) { // cut in front of a mark that follows another character
        const char *hit = memchr(text + i, word_mark[0], size - i);
        size_t place = hit ? (size_t)(hit - text) : size;
        if (place > i) marked = false;
        if (size - place < 3 || text[place + 1] != word_mark[1] || text[place + 2] != word_mark[2]) { i = place + 1; marked = false; continue; }
        if (!marked) {
            hone_status status = encode_cached(encoder, text + start, place - start);
            if (status) return status;
            start = place;
        }
        marked = true;
        i = place + 3;
    }
    return start < size ? encode_cached(encoder, text + start, size - start) : HONE_OK;
}


// True if no token holds a mark behind another character: then no token crosses a word's start.
static bool words_are_apart(const hone_tokenizer *tokenizer)
{
    if (tokenizer->byte_level || tokenizer->ignore_merges || hone_vocab_find(&tokenizer->vocab, word_mark, 3) < 0) return false;
    for (int64_t id = 0; id < tokenizer->vocab.count; id++) {
        const hone_token *token = &tokenizer->vocab.token[id];
        const char *content = hone_vocab_content(&tokenizer->vocab, (int32_t)id);
        bool other = false;
        for (size_t i = 0; token->exists && !token->beside && !(token->special && tokenizer->merges.slot) && i < token->size;) {
            bool mark = token->size - i >= 3 && memcmp(content + i, word_mark, 3) == 0;
            if (mark && other) return false;
            other |= !mark;
            i += mark ? 3 : 1;
        }
    }
    return true;
}

// --- reading

hone_status hone_vocab_read(hone_tokenizer *tokenizer, json_t *model, const char *where)
{
    json_t *vocab = json_object_get(model, "vocab"), *id;
    const char *content;
    if (!json_is_object(vocab) || json_object_size(vocab) == 0) return hone_fail("%s: model.vocab is missing or no table of tokens", where);
    json_object_foreach(vocab, content, id) {
        if (!json_is_integer(id)) return hone_fail("%s: the id of token \"%s\" is no integer", where, content);
        hone_status status = hone_vocab_add(&tokenizer->vocab, json_integer_value(id), content, strlen(content), where);
        if (status) return status;
    }
    return HONE_OK;
}

hone_status hone_unknown_read(hone_tokenizer *tokenizer, json_t *model, const char *where)
{
    const char *unk = NULL;
    hone_status status = hone_json_text(model, "unk_token", where, false, &unk);
    if (status || !unk) return status;
    tokenizer->unk = hone_vocab_find(&tokenizer->vocab, unk, strlen(unk));
    return tokenizer->unk >= 0 ? HONE_OK : hone_fail("%s: model.unk_token \"%s\" is not in the vocabulary", where, unk);
}

static const hone_model_kind *const kinds[] = { &hone_model_bpe, &hone_model_unigram, &hone_model_wordpiece };
enum { KINDS = sizeof kinds / sizeof *kinds };

hone_status hone_model_read(hone_tokenizer *tokenizer, json_t *model, const char *where)
{
    const char *type = hone_model_bpe.type, *known[KINDS]; // older files leave the type out
    if (!json_is_object(model)) return hone_fail("%s: it has no \"model\"", where);
    hone_status status = hone_json_text(model, "type", where, false, &type);
    if (!status) status = hone_json_bool(model, "byte_fallback", where, false, &tokenizer->byte_fallback);
    if (!status) status = hone_json_bool(model, "apart_from_text", where, false, &tokenizer->apart_from_text);
    for (int k = 0; k < KINDS && !status; k++) {
        known[k] = kinds[k]->type;
        if (strcmp(known[k], type) == 0) tokenizer->model = kinds[k];
    }
    if (status) return status;
    return tokenizer->model ? tokenizer->model->read(tokenizer, model, where) : hone_refuse(where, "model", type, known, KINDS);
}

hone_status hone_model_prepare(hone_tokenizer *tokenizer, const char *where)
{
    char name[8];
    for (int b = 0; b < 256; b++) {
        int size = tokenizer->byte_level ? hone_byte_to_char((uint8_t)b, name) : snprintf(name, sizeof name, "<0x%02X>", b);
        tokenizer->byte_id[b] = hone_vocab_find(&tokenizer->vocab, name, (size_t)size);
    }
    tokenizer->cut_words = words_are_apart(tokenizer);
    return tokenizer->model->prepare ? tokenizer->model->prepare(tokenizer, where) : HONE_OK;
}
