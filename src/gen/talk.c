// talk.c: see talk.h.
#include "gen/talk.h"
#include "gen/turn_end.h"

#include <inttypes.h>
#include <string.h>

enum { PREFILL_ROWS = 256 };

static json_t *list_of(const hone_talk *t) { return json_object_get(t->messages, "messages"); }

static hone_status add_message(json_t *list, const char *role, const char *text, size_t size)
{
    hone_buffer valid = { 0 };
    hone_status status = hone_utf8_append_lossy(&valid, text, size);
    if (!status && json_array_append_new(list, json_pack("{s:s, s:s%}", "role", role, "content", valid.data ? valid.data : "", valid.size)))
        status = hone_fail("out of memory");
    hone_buffer_release(&valid);
    return status;
}

hone_status hone_talk_clear(hone_talk *t)
{
    const char *system = t->options.system;
    json_array_clear(list_of(t));
    return system ? add_message(list_of(t), "system", system, strlen(system)) : HONE_OK;
}

// A template that takes no system message says so now, not at the first turn.
static hone_status check_system(const hone_talk *t)
{
    hone_buffer text = { 0 };
    json_t *copy = t->options.system ? json_deep_copy(t->messages) : NULL;
    hone_status status = !t->options.system ? HONE_OK : copy ? add_message(json_object_get(copy, "messages"), "user", "a", 1) : hone_fail("out of memory");
    if (copy && !status) status = hone_chat_render(&t->chat, copy, true, NULL, &text);
    json_decref(copy);
    hone_buffer_release(&text);
    return status;
}

hone_status hone_talk_open(hone_talk *t, hone_runner *runner, const hone_talk_options *options)
{
    *t = (hone_talk){ .runner = runner, .options = *options };
    hone_decode_io io;
    int64_t context = options->context, rows = context < PREFILL_ROWS ? context : PREFILL_ROWS;
    hone_status status = hone_runner_need_tokenizer(runner);
    if (!status) status = hone_chat_open(&t->chat, runner->folder, options->template, runner->tokenizer);
    if (!status && !(t->messages = json_pack("{s:[]}", "messages"))) status = hone_fail("out of memory");
    if (!status) status = hone_talk_clear(t);
    if (!status) status = check_system(t);
    if (!status) status = hone_turn_end_add(runner, &t->chat);
    if (!status) status = hone_model_build_decode(&runner->model, rows, 1, 1, context, &io);
    if (!status) status = hone_runner_start(runner);
    if (!status) status = hone_generator_open(&t->generator, &runner->session, &runner->model, &io);
    t->generator.keep = true;
    if (status) hone_talk_close(t);
    return status;
}

void hone_talk_close(hone_talk *t)
{
    hone_generator_close(&t->generator);
    hone_chat_close(&t->chat);
    json_decref(t->messages);
    *t = (hone_talk){ 0 };
}

// --- what the model reads

static const char *role_at(const json_t *list, size_t i) { return json_string_value(json_object_get(json_array_get(list, i), "role")); }

// Drops the oldest turn: from the first message that is no system message up to the next of the user's. False: there is but one.
static bool drop_turn(json_t *list)
{
    size_t first = json_array_size(list) && !strcmp(role_at(list, 0), "system"), next = first + 1;
    while (next < json_array_size(list) && strcmp(role_at(list, next), "user")) next++;
    if (next >= json_array_size(list)) return false;
    while (next-- > first) json_array_remove(list, first);
    return true;
}

static hone_status encode(const hone_talk *t, const json_t *conversation, hone_ids *ids)
{
    hone_buffer text = { 0 };
    ids->count = 0;
    hone_status status = hone_chat_render(&t->chat, conversation, true, NULL, &text);
    if (!status && text.size) status = hone_tokenizer_encode(t->runner->tokenizer, text.data, text.size, 0, ids);
    hone_buffer_release(&text);
    return status;
}

// Leaves out turns of the conversation until a whole reply has room behind the rest.
static hone_status fit(const hone_talk *t, json_t *conversation, hone_ids *ids, int64_t *left_out)
{
    json_t *list = json_object_get(conversation, "messages");
    size_t before = json_array_size(list);
    hone_status status = encode(t, conversation, ids);
    while (!status && ids->count + t->options.max_new > t->options.context) {
        if (!drop_turn(list))
            return hone_fail("the message takes %" PRId64 " tokens with what the template writes around it, a reply up to %" PRId64 ", the context has %" PRId64
                             "; shorten it, or give a larger --context or smaller --max-new-tokens", ids->count, t->options.max_new, t->options.context);
        status = encode(t, conversation, ids);
    }
    *left_out = (int64_t)(before - json_array_size(list));
    return status;
}

// --- what it says

typedef struct {
    hone_talk *talk;
    const hone_talk_hooks *hooks;
    hone_text_stream text;
    hone_decode_state decoder;
    hone_buffer piece, shown;
    hone_status status;             // of what happens inside hooks
} reply;

static hone_status show(reply *r, const char *text, size_t size)
{
    r->shown.size = 0;
    hone_status status = size ? hone_utf8_append_lossy(&r->shown, text, size) : HONE_OK;
    if (!status && r->shown.size && r->hooks->show) r->hooks->show(r->hooks->context, r->shown.data, r->shown.size);
    return status;
}

static bool is_end(const hone_config *c, int32_t id)
{
    for (int64_t i = 0; i < c->n_eos; i++) if (c->eos[i] == id) return true;
    return false;
}

static bool on_token(void *context, hone_request *request, int32_t id)
{
    reply *r = context;
    const char *fresh;
    size_t n;
    (void)request;
    if (is_end(&r->talk->runner->model.config, id)) return false;   // it ends the reply, and is no part of it
    r->piece.size = 0;
    r->status = hone_tokenizer_decode_next(r->talk->runner->tokenizer, &r->decoder, id, true, &r->piece);
    if (!r->status) r->status = hone_text_stream_add(&r->text, r->piece.data, r->piece.size, &fresh, &n);
    if (!r->status) r->status = show(r, fresh, n);
    return r->status || r->text.stopped;
}

static bool on_stop(void *context)
{
    const reply *r = context;
    return r->hooks->stop && r->hooks->stop(r->hooks->context);
}

static hone_status answer(hone_talk *t, const hone_ids *ids, reply *r, hone_talk_turn *turn)
{
    const char *rest;
    size_t n;
    hone_request request = { .prompt = ids->data, .n_prompt = ids->count, .max_new = t->options.max_new, .sampling = t->options.sampling, .key = (uint64_t)t->turns };
    hone_status status = hone_generator_run(&t->generator, &request, 1, &(hone_generate_hooks){ .token = on_token, .stop = on_stop, .context = r });
    if (!status) status = r->status;
    if (!status) {
        hone_text_stream_finish(&r->text, &rest, &n);
        status = show(r, rest, n);
    }
    turn->finish = request.finish;
    turn->stats = t->generator.stats;
    hone_request_release(&request);
    return status;
}

hone_status hone_talk_say(hone_talk *t, const char *text, size_t size, const hone_talk_hooks *hooks, hone_talk_turn *turn)
{
    hone_ids ids = { 0 };
    reply r = { .talk = t, .hooks = hooks, .text = { .stop = t->options.stop, .n_stop = t->options.n_stop } };
    *turn = (hone_talk_turn){ 0 };
    json_t *next = json_deep_copy(t->messages), *list = json_object_get(next, "messages");
    hone_status status = next ? add_message(list, "user", text, size) : hone_fail("out of memory");
    if (!status) status = fit(t, next, &ids, &turn->left_out);
    if (!status) status = answer(t, &ids, &r, turn);
    if (!status) status = add_message(list, "assistant", r.text.text.data ? r.text.text.data : "", r.text.text.size);
    if (!status) {
        json_decref(t->messages);
        t->messages = json_incref(next);
        t->turns++;
    }
    json_decref(next);
    hone_text_stream_release(&r.text);
    hone_buffer_release(&r.piece);
    hone_buffer_release(&r.shown);
    hone_free(ids.data);
    return status;
}
