// Conversations and pairs of replies: any text as a record: refused in words, or tokens of which each is trained or not. What is trained of
// a record that the template of turns renders lies within its text.
#include "fuzz/fuzz.h"
#include "data/chat_mark.h"
#include "text/parts.h"

static const char turns[] = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
static const char bytes[] = "{\"added_tokens\": [{\"id\": 4, \"content\": \"<|end|>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true}],"
                            " \"model\": {\"type\": \"BPE\", \"unk_token\": \"u\", \"vocab\": {\"u\": 0, \"a\": 1, \"b\": 2, \"ab\": 3}, \"merges\": [\"a b\"]}}";

// side -1: a conversation; 0, 1: the one with a pair's chosen, rejected reply.
static void try_record(const hone_chat *chat, const hone_tokenizer *tokenizer, const char *data, size_t size, int side)
{
    hone_chat_text text = { 0 };
    hone_ids ids = { 0 }, trained = { 0 };
    hone_chat_fate fate = HONE_CHAT_FATES;
    const hone_chat_rules rules = { .train_on_prompt = size % 7 == 0, .cutoff_len = size % 5 == 0 ? 20 : 0, .pairs = side >= 0 };
    hone_error_clear();
    hone_status status = side < 0 ? hone_chat_mark(chat, &rules, data, size, "fuzz:1", tokenizer, &text) : hone_chat_mark_side(chat, &rules, data, size, "fuzz:1", tokenizer, side, &text);
    if (status) FUZZ_HOLDS(*hone_error());
    else {
        for (int64_t s = 0; s < text.n_spans; s++)
            FUZZ_HOLDS(text.span[s].from < text.span[s].to && text.span[s].to <= text.text.size && (s == 0 || text.span[s - 1].to < text.span[s].from));
        FUZZ_HOLDS(hone_chat_encode(&rules, tokenizer, text.text.data, text.text.size, text.span, text.n_spans, &ids, &trained, &fate) == HONE_OK);
        FUZZ_HOLDS(ids.count == trained.count && fate < HONE_CHAT_FATES && (fate == HONE_CHAT_KEPT) == (ids.count > 0));
    }
    hone_free(ids.data);
    hone_free(trained.data);
    hone_chat_text_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hone_tokenizer *tokenizer;
    static hone_chat chat;
    if (!tokenizer) {
        FUZZ_HOLDS(hone_tokenizer_parse("fuzz", bytes, sizeof bytes - 1, &tokenizer) == HONE_OK);
        FUZZ_HOLDS(hone_jinja_parse("fuzz", turns, sizeof turns - 1, &chat.jinja) == HONE_OK && (chat.tokens = json_object()));
        FUZZ_HOLDS(hone_buffer_append(&chat.opening, "<|assistant|>", 13) == HONE_OK);
    }
    for (int side = -1; side < 2; side++) try_record(&chat, tokenizer, (const char *)data, size, side);
    return 0;
}
