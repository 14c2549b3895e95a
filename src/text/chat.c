// chat.c: see chat.h.
#include "text/chat.h"
#include "base/file.h"
#include "text/parts.h"

#include <string.h>

static const json_t *default_of(const json_t *template)
{
    const json_t *row;
    size_t i;
    json_array_foreach(template, i, row) {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name && !strcmp(name, "default")) return json_object_get(row, "template");
    }
    return template;
}

// *text: a copy; NULL: the model has none.
static hone_status find_template(const char *model, const hone_tokenizer *tokenizer, hone_buffer *text)
{
    json_t *config = NULL;
    hone_status status = HONE_OK;
    if (tokenizer->template) return hone_buffer_append(text, tokenizer->template, tokenizer->template_size);
    if (tokenizer->config) status = hone_json_parse(model, tokenizer->config, tokenizer->config_size, &config);
    const json_t *found = default_of(json_object_get(config, "chat_template"));
    if (!status && json_is_string(found)) status = hone_buffer_append(text, json_string_value(found), json_string_length(found));
    json_decref(config);
    return status;
}

static hone_status name_tokens(hone_chat *chat, const hone_tokenizer *tokenizer)
{
    const hone_special_ids *special = hone_tokenizer_special(tokenizer);
    const struct { const char *name; int32_t id; } row[] = { { "bos_token", special->bos }, { "eos_token", special->eos }, { "pad_token", special->pad }, { "unk_token", special->unk } };
    if (!(chat->tokens = json_object())) return hone_fail("out of memory");
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        size_t size;
        const char *token = hone_tokenizer_token(tokenizer, row[i].id, &size);
        if (token && json_object_set_new(chat->tokens, row[i].name, json_stringn(token, size))) return hone_fail("out of memory");
    }
    return HONE_OK;
}

// What is written behind the last turn where an answer is asked for. A template that refuses the question asked here has no header that
// could be told apart: then an answer's whole turn counts as the answer.
static hone_status find_opening(hone_chat *chat)
{
    hone_jinja_trace trace = { .list = "messages" };
    hone_buffer text = { 0 };
    json_t *question = json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user", "content", "a");
    hone_status status = question ? HONE_OK : hone_fail("out of memory");
    if (!status && !hone_chat_render(chat, question, true, &trace, &text) && trace.n_turns) {
        size_t end = trace.turn[trace.n_turns - 1].to;
        if (end < text.size) status = hone_buffer_append(&chat->opening, text.data + end, text.size - end);
    }
    json_decref(question);
    hone_jinja_trace_release(&trace);
    hone_buffer_release(&text);
    return status;
}

hone_status hone_chat_open(hone_chat *chat, const char *model, const char *path, const hone_tokenizer *tokenizer)
{
    hone_buffer text = { 0 };
    char *file = NULL, *where = path ? NULL : hone_format("%s: chat template", model);
    size_t size = 0;
    *chat = (hone_chat){ 0 };
    hone_status status = path ? hone_file_read(path, &file, &size) : where ? find_template(model, tokenizer, &text) : HONE_FAILED;
    if (!status && !file && !text.data)
        status = hone_fail("%s: the model has no chat template (neither chat_template.jinja nor \"chat_template\" in tokenizer_config.json); it is no chat model, or give a template in a file: --chat-template FILE", model);
    if (!file) size = text.size;
    if (!status) status = hone_jinja_parse(path ? path : where, file ? file : text.data, size, &chat->jinja);
    if (!status) chat->hash = hone_hash64(file ? file : text.data, size);
    if (!status) status = name_tokens(chat, tokenizer);
    if (!status) status = find_opening(chat);
    hone_buffer_release(&text);
    hone_free(file);
    hone_free(where);
    if (status) hone_chat_close(chat);
    return status;
}

void hone_chat_close(hone_chat *chat)
{
    hone_jinja_free(chat->jinja);
    json_decref(chat->tokens);
    hone_buffer_release(&chat->opening);
    *chat = (hone_chat){ 0 };
}

hone_status hone_chat_render(const hone_chat *chat, const json_t *conversation, bool opened, hone_jinja_trace *trace, hone_buffer *out)
{
    json_t *variables = json_copy(chat->tokens), *tools = json_object_get(conversation, "tools");
    int failed = !variables;
    if (!failed) failed = json_object_set(variables, "messages", json_object_get(conversation, "messages"));
    if (!failed) failed = tools ? json_object_set(variables, "tools", tools) : json_object_set_new(variables, "tools", json_null());
    if (!failed) failed = json_object_set_new(variables, "documents", json_null()) | json_object_set_new(variables, "add_generation_prompt", json_boolean(opened));
    hone_status status = failed ? hone_fail("out of memory") : hone_jinja_render(chat->jinja, variables, 0, trace, out);
    json_decref(variables);
    return status;
}
