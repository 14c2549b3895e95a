// chat.h: a model's chat template with what it needs to be rendered: conversations to text, as the model was taught to read them.
//
// The template comes with the tokenizer, from where transformers looks: chat_template.jinja in the model's folder, else "chat_template" of
// its tokenizer_config.json (a text, or a list of which "default" is taken), or from the GGUF file.
#pragma once
#include "text/jinja.h"
#include "text/tokenizer.h"

typedef struct hone_chat {
    hone_jinja *jinja;
    json_t *tokens;         // bos_token, eos_token, unk_token, pad_token, where the model has them
    hone_buffer opening;    // what add_generation_prompt writes: the header of an answer, may be empty
    uint64_t hash;          // of the template's text
} hone_chat;

// model: for messages. path: a template in a file of its own, in place of the model's; NULL none.
hone_status hone_chat_open(hone_chat *chat, const char *model, const char *path, const hone_tokenizer *tokenizer);
void hone_chat_close(hone_chat *chat);
// Appends the text of a conversation, an object with "messages" and perhaps "tools". opened: with the header of the next answer. trace
// (jinja.h) may be NULL.
hone_status hone_chat_render(const hone_chat *chat, const json_t *conversation, bool opened, hone_jinja_trace *trace, hone_buffer *out);
