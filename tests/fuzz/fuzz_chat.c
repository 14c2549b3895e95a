// Conversations and pairs of replies: any text as a record: refused in words, or tokens of which each is trained or not. What is trained of
// a record that the template of turns renders lies within its text.
#include "fuzz/fuzz.h"
#include "data/chat_mark.h"
#include "text/parts.h"

static const char turns[] = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
static const char bytes[] = "{\"added_tokens\": [{\"id\": 4, \"content\": \"<|end|>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, \"special\": true}],"
                            " \"model\": {\"type\": \"BPE\", \"unk_token\": \"u\", \"vocab\": {\"u\": 0, \"a\": 1, \"b\": 2, \"ab\": 3}, \"merges\": [\"a b\"]}}";

static void try_text(const hone_chat_rules *rules, const hone_tokenizer *tokenizer, const hone_chat_text *text)
{
    hone_ids ids = { 0 }, trained = { 0 };
    hone_chat_fate fate = HONE_CHAT_FATES;
    for (int64_t s = 0; s < text->n_spans; s++)
        FUZZ_HOLDS(text->span[s].from < text->span[s].to && text->span[s].to <= text->text.size && (s == 0 || text->span[s - 1].to < text->span[s].from));
    FUZZ_HOLDS(hone_chat_encode(rules, tokenizer, text->text.data, text->text.size, text->span, text->n_spans, &ids, &trained, &fate) == HONE_OK);
    FUZZ_HOLDS(ids.count == trained.count && fate < HONE_CHAT_FATES && (fate == HONE_CHAT_KEPT) == (ids.count > 0));
    hone_free(ids.data);
    hone_free(trained.data);
}

static void try_record(const hone_chat *chat, const hone_tokenizer *tokenizer, const char *data, size_t size, bool pairs)
{
    hone_chat_text text[2] = { 0 };
    const hone_chat_rules rules = { .train_on_prompt = size % 7 == 0, .cutoff_len = size % 5 == 0 ? 20 : 0, .pairs = pairs };
    hone_error_clear();
    hone_status status = pairs ? hone_chat_mark_pair(chat, &rules, data, size, "fuzz:1", tokenizer, text) : hone_chat_mark(chat, &rules, data, size, "fuzz:1", tokenizer, text);
    if (status) FUZZ_HOLDS(*hone_error());
    for (int i = 0; i < 2; i++) {
        if (!status && i <= pairs) try_text(&rules, tokenizer, &text[i]);
        hone_chat_text_release(&text[i]);
    }
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
    for (int pairs = 0; pairs < 2; pairs++) try_record(&chat, tokenizer, (const char *)data, size, pairs);
    return 0;
}
