// turn_end.c: see turn_end.h.
#include "gen/turn_end.h"
#include "base/file.h"

#include <inttypes.h>
#include <string.h>

static hone_status add(hone_runner *r, int64_t id)
{
    hone_config *c = &r->model.config;
    if (id < 0 || id >= c->vocab) return HONE_OK;
    for (int64_t i = 0; i < c->n_eos; i++) if (c->eos[i] == id) return HONE_OK;
    if (c->n_eos == HONE_MAX_EOS) return hone_fail("%s: more than %d tokens that end a turn", r->folder, HONE_MAX_EOS);
    c->eos[c->n_eos++] = id;
    return HONE_OK;
}

static hone_status add_configured(hone_runner *r)
{
    char *path = hone_path_join(r->folder, "generation_config.json");
    json_t *config = NULL;
    hone_status status = !path ? HONE_FAILED : hone_file_exists(path) ? hone_json_load(path, &config) : HONE_OK;
    const json_t *eos = json_object_get(config, "eos_token_id"), *id;
    size_t i;
    if (!status && json_is_integer(eos)) status = add(r, json_integer_value(eos));
    json_array_foreach(eos, i, id) if (!status && json_is_integer(id)) status = add(r, json_integer_value(id));
    json_decref(config);
    hone_free(path);
    return status;
}

// What stands behind an answer in a text of two turns, blanks left out. A template that refuses such a conversation has none.
static hone_status render_tail(const hone_chat *chat, hone_buffer *text, const char **tail)
{
    static const char answer[] = "Hone7answer";
    json_t *talk = json_pack("{s:[{s:s, s:s}, {s:s, s:s}]}", "messages", "role", "user", "content", "a", "role", "assistant", "content", answer);
    if (!talk) return hone_fail("out of memory");
    *tail = NULL;
    bool rendered = !hone_chat_render(chat, talk, false, NULL, text) && text->size;
    json_decref(talk);
    for (const char *at = rendered ? strstr(text->data, answer) : NULL; at; at = strstr(*tail, answer)) *tail = at + strlen(answer);
    if (*tail) *tail += strspn(*tail, " \n");
    return HONE_OK;
}

static hone_status add_written(hone_runner *r, const hone_chat *chat)
{
    hone_buffer text = { 0 };
    hone_ids ids = { 0 };
    const char *tail = NULL;
    hone_status status = render_tail(chat, &text, &tail);
    if (!status && tail && *tail) status = hone_tokenizer_encode(r->tokenizer, tail, strlen(tail), HONE_ENCODE_MIDDLE, &ids);
    if (!status && ids.count && hone_tokenizer_is_special(r->tokenizer, ids.data[0])) status = add(r, ids.data[0]);
    hone_free(ids.data);
    hone_buffer_release(&text);
    return status;
}

hone_status hone_turn_end_add(hone_runner *r, const hone_chat *chat)
{
    hone_status status = add_configured(r);
    if (!status) status = add(r, hone_tokenizer_special(r->tokenizer)->eos);
    return status ? status : add_written(r, chat);
}
