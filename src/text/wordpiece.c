// wordpiece.c: a word to tokens by taking the longest token that fits, again and again (BERT's way); tokens behind the
// first begin with a mark ("##"). A word that cannot be covered, or is too long, is the unknown token.
#include "text/parts.h"

#include <inttypes.h>
#include <string.h>

static hone_status encode_wordpiece(hone_encoder *encoder, const char *text, size_t size)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    const hone_trie *trie = &tokenizer->trie;
    hone_ids *out = encoder->out;
    int64_t first = out->count, chars = 0;
    for (size_t i = 0; i < size; i++) chars += ((uint8_t)text[i] & 0xc0) != 0x80;
    bool covered = chars <= tokenizer->most_chars;
    for (size_t at = 0; covered && at < size;) {
        int32_t node = at ? tokenizer->prefix_node : 0, id = -1;
        size_t stop = at;
        for (size_t i = at; i < size && node >= 0 && (node = hone_trie_step(trie, node, (uint8_t)text[i])) >= 0; i++)
            if (trie->id[node] >= 0) { id = trie->id[node]; stop = i + 1; }
        covered = id >= 0;
        if (covered && hone_ids_append(out, id)) return HONE_FAILED;
        at = stop;
    }
    if (covered) return HONE_OK;
    out->count = first;
    if (tokenizer->unk < 0) return hone_fail("the word \"%.*s\" has no tokens, and the tokenizer has no unknown token", (int)(size < 100 ? size : 100), text);
    return hone_ids_append(out, tokenizer->unk);
}

static hone_status read_wordpiece(hone_tokenizer *tokenizer, json_t *model, const char *where)
{
    const char *mark = "##";
    tokenizer->most_chars = 100;
    hone_status status = hone_json_text(model, "continuing_subword_prefix", where, false, &mark);
    if (!status) status = hone_json_int(model, "max_input_chars_per_word", where, false, &tokenizer->most_chars);
    if (!status && tokenizer->most_chars < 1) status = hone_fail("%s: model.max_input_chars_per_word is %" PRId64, where, tokenizer->most_chars);
    if (!status) status = hone_vocab_read(tokenizer, model, where);
    if (!status) status = hone_unknown_read(tokenizer, model, where);
    if (status) return status;
    tokenizer->prefix_mark = hone_strdup(mark);
    return tokenizer->prefix_mark ? hone_buffer_print(&tokenizer->identity, "WordPiece %s %" PRId64 " %d;", mark, tokenizer->most_chars, tokenizer->unk) : HONE_FAILED;
}

static hone_status prepare_wordpiece(hone_tokenizer *tokenizer, const char *where)
{
    (void)where;
    for (int64_t id = 0; id < tokenizer->vocab.count; id++) {
        const hone_token *token = &tokenizer->vocab.token[id];
        if (!token->exists || token->beside) continue;
        if (hone_trie_add(&tokenizer->trie, hone_vocab_content(&tokenizer->vocab, (int32_t)id), token->size, (int32_t)id)) return HONE_FAILED;
    }
    for (const char *p = tokenizer->prefix_mark; *p && tokenizer->prefix_node >= 0; p++)
        tokenizer->prefix_node = hone_trie_step(&tokenizer->trie, tokenizer->prefix_node, (uint8_t)*p);
    return HONE_OK;
}

const hone_model_kind hone_model_wordpiece = { "WordPiece", read_wordpiece, prepare_wordpiece, encode_wordpiece };
