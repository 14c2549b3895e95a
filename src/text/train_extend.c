// train_extend.c: a trainer that begins at an existing BPE tokenizer instead of at bytes: words are cut as it cuts them and
// start as its ids, new merges stand behind the old ones. So a text's old ids come first, and new tokens join only whole
// old ones: what the old tokenizer knew stays as it was.
#include "text/train_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

hone_status hone_trainer_begin_at(hone_trainer *trainer, const hone_tokenizer *base)
{
    if (base->model != &hone_model_bpe) return hone_fail("a %s tokenizer cannot be extended; only BPE can", base->model->type);
    if (!base->byte_level && !base->cut_words) return hone_fail("this tokenizer does not cut texts into words, so it cannot be extended");
    for (int64_t id = 0; id < base->vocab.count; id++) {
        const hone_token *token = &base->vocab.token[id];
        hone_status status = token->exists ? hone_vocab_add(&trainer->vocab, id, hone_vocab_content(&base->vocab, (int32_t)id), token->size, "the tokenizer") : HONE_OK;
        if (status) return status;
    }
    return HONE_OK;
}

// Words of characters that have tokens: one without is bytes or unknown, which nothing may be joined to.
static hone_status cut_at_strangers(hone_trainer *t)
{
    hone_words known = { 0 };
    hone_status status = HONE_OK;
    for (int64_t w = 0; w < t->words.count && !status; w++) {
        const hone_word *word = &t->words.word[w];
        const char *text = t->words.bytes.data + word->offset;
        size_t start = 0;
        for (size_t i = 0; i <= word->size && !status;) {
            int length = 1;
            bool valid = i < word->size && hone_utf8_next(text + i, word->size - i, &length) >= 0;
            if (!valid || hone_vocab_find(&t->options.base->vocab, text + i, (size_t)length) < 0) {
                if (i > start) status = hone_words_add(&known, text + start, i - start, hone_words_hash(text + start, i - start), word->count);
                start = i + (size_t)length;
            }
            i += (size_t)length;
        }
    }
    hone_words_release(&t->words);
    t->words = known;
    return status;
}

hone_status hone_trainer_lay_out_base(hone_trainer *t)
{
    hone_ids ids = { 0 };
    int64_t total = 0, capacity = 0;
    if (!t->options.base->byte_level && cut_at_strangers(t)) return HONE_FAILED;
    t->start = hone_alloc((size_t)t->words.count + 1, sizeof *t->start);
    t->length = hone_alloc((size_t)t->words.count + 1, sizeof *t->length);
    hone_status status = t->start && t->length ? HONE_OK : HONE_FAILED;
    for (int64_t w = 0; w < t->words.count && !status; w++) {
        const hone_word *word = &t->words.word[w];
        ids.count = 0;
        status = hone_tokenizer_encode_piece(t->options.base, t->words.bytes.data + word->offset, word->size, &ids);
        while (!status && total + ids.count > capacity) {
            int64_t more = capacity ? capacity * 2 : 1 << 16;
            int32_t *symbol = hone_realloc(t->symbol, (size_t)more, sizeof *symbol);
            if (!symbol) status = HONE_FAILED;
            else { t->symbol = symbol; capacity = more; }
        }
        if (status) break;
        t->start[w] = total;
        t->length[w] = (int32_t)ids.count;
        if (ids.count) memcpy(t->symbol + total, ids.data, (size_t)ids.count * sizeof *ids.data);
        total += ids.count;
    }
    hone_free(ids.data);
    return status;
}

static json_t *content(const hone_trainer *t, int64_t id)
{
    return json_stringn(hone_vocab_content(&t->vocab, (int32_t)id), t->vocab.token[id].size);
}

// The base's own file with more entries. Its added tokens get theirs in the model's table too, so that readers which
// number them by the table's size keep their ids.
json_t *hone_trainer_json_base(const hone_trainer *t)
{
    const hone_tokenizer *base = t->options.base;
    json_t *json = NULL;
    if (hone_json_parse("the tokenizer", base->source, base->source_size, &json)) return NULL;
    json_t *model = json_object_get(json, "model"), *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
    bool pairs = json_array_size(merges) == 0 || json_is_array(json_array_get(merges, 0));
    int failed = 0;
    for (int64_t id = 0; id < t->vocab.count && !failed; id++)
        if (t->vocab.token[id].exists && (id >= base->vocab.count || base->vocab.token[id].beside))
            failed |= json_object_setn_new(vocab, hone_vocab_content(&t->vocab, (int32_t)id), t->vocab.token[id].size, json_integer(id));
    for (int64_t m = 0; m < t->n_merges && !failed; m++) {
        json_t *left = content(t, t->merge[m][0]), *right = content(t, t->merge[m][1]);
        char *both = left && right && !pairs ? hone_format("%s %s", json_string_value(left), json_string_value(right)) : NULL;
        failed |= json_array_append_new(merges, pairs ? json_pack("[O, O]", left, right) : json_string(both ? both : ""));
        hone_free(both);
        json_decref(left);
        json_decref(right);
    }
    if (failed) { json_decref(json); return NULL; }
    return json;
}
