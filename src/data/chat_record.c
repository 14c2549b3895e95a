// chat_record.c: see chat_record.h.
#include "data/chat_record.h"

#include <stdio.h>
#include <string.h>

static hone_status add_message(json_t *messages, const char *role, const json_t *content, const char *where, const char *key)
{
    if (!json_is_string(content)) return hone_fail("%s: \"%s\" is no text", where, key);
    json_t *message = json_pack("{s:s, s:O}", "role", role, "content", content);
    return json_array_append_new(messages, message) ? hone_fail("out of memory") : HONE_OK;
}

static bool is_empty(const json_t *v) { return !v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0); }

static hone_status check_messages(const json_t *messages, const char *where, const char *key)
{
    const json_t *message;
    size_t i;
    if (!json_is_array(messages) || json_array_size(messages) == 0) return hone_fail("%s: \"%s\" is no list of messages, or an empty one", where, key);
    json_array_foreach(messages, i, message) {
        const json_t *role = json_object_get(message, "role");
        if (!json_is_object(message) || !json_is_string(role) || !json_string_length(role)) return hone_fail("%s: message %zu of \"%s\" has no \"role\"", where, i + 1, key);
        if (!json_object_get(message, "content") && !json_object_get(message, "tool_calls")) return hone_fail("%s: message %zu of \"%s\" has neither \"content\" nor \"tool_calls\"", where, i + 1, key);
    }
    return HONE_OK;
}

static hone_status add_turns(const json_t *list, const char *where, const char *key, json_t *messages)
{
    static const struct { const char *from, *role; } known[] = { { "human", "user" }, { "user", "user" }, { "prompter", "user" }, { "gpt", "assistant" }, { "assistant", "assistant" },
        { "chatgpt", "assistant" }, { "bing", "assistant" }, { "bard", "assistant" }, { "model", "assistant" }, { "system", "system" }, { "tool", "tool" }, { "observation", "tool" },
        { "function_response", "tool" }, { "function_call", "assistant" } };
    enum { KNOWN = sizeof known / sizeof *known };
    const json_t *turn;
    size_t i;
    hone_status status = json_array_size(list) ? HONE_OK : hone_fail("%s: \"%s\" is empty", where, key);
    json_array_foreach(list, i, turn) {
        const char *from = json_string_value(json_object_get(turn, "from"));
        int k = 0;
        if (status) return status;
        if (!from) return hone_fail("%s: turn %zu of \"%s\" has no \"from\"", where, i + 1, key);
        while (k < KNOWN && strcmp(from, known[k].from)) k++;
        if (k == KNOWN) return hone_fail("%s: turn %zu is from \"%s\"; known are human, gpt, system, tool, observation, function_call", where, i + 1, from);
        status = add_message(messages, known[k].role, json_object_get(turn, "value"), where, "value");
    }
    return status;
}

static hone_status add_system(const json_t *record, const char *where, json_t *messages)
{
    const json_t *system = json_object_get(record, "system");
    return is_empty(system) ? HONE_OK : add_message(messages, "system", system, where, "system");
}

static hone_status from_sharegpt(const json_t *record, const json_t *list, const char *where, json_t *messages)
{
    hone_status status = add_system(record, where, messages);
    return status ? status : add_turns(list, where, "conversations", messages);
}

// All but the answer.
static hone_status ask_alpaca(const json_t *record, const char *where, json_t *messages)
{
    const json_t *instruction = json_object_get(record, "instruction"), *input = json_object_get(record, "input"), *pair;
    size_t i;
    hone_status status = add_system(record, where, messages);
    json_array_foreach(json_object_get(record, "history"), i, pair) {
        if (!status) status = add_message(messages, "user", json_array_get(pair, 0), where, "history");
        if (!status) status = add_message(messages, "assistant", json_array_get(pair, 1), where, "history");
    }
    if (!status && !json_is_string(instruction)) status = hone_fail("%s: \"instruction\" is no text", where);
    if (status) return status;
    json_t *joined = is_empty(input) ? json_incref((json_t *)(uintptr_t)instruction) : json_sprintf("%s\n%s", json_string_value(instruction), json_is_string(input) ? json_string_value(input) : "");
    if (!is_empty(input) && !json_is_string(input)) status = hone_fail("%s: \"input\" is no text", where);
    else status = joined ? add_message(messages, "user", joined, where, "instruction") : hone_fail("out of memory");
    json_decref(joined);
    return status;
}

static hone_status from_alpaca(const json_t *record, const char *where, json_t *messages)
{
    hone_status status = ask_alpaca(record, where, messages);
    return status ? status : add_message(messages, "assistant", json_object_get(record, "output"), where, "output");
}

// Either side may be a text or a list of messages.
static hone_status add_side(json_t *messages, const char *role, const json_t *side, const char *where, const char *key)
{
    if (!json_is_array(side)) return add_message(messages, role, side, where, key);
    hone_status status = check_messages(side, where, key);
    if (!status && json_array_extend(messages, (json_t *)(uintptr_t)side)) status = hone_fail("out of memory");
    return status;
}

static hone_status fill(const json_t *record, const char *where, json_t *conversation, json_t *messages)
{
    static const char *const pair[][2] = { { "prompt", "completion" }, { "prompt", "response" }, { "question", "answer" } };
    json_t *given = json_object_get(record, "messages"), *turns = json_object_get(record, "conversations"), *tools = json_object_get(record, "tools");
    if (!is_empty(tools) && json_object_set(conversation, "tools", tools)) return hone_fail("out of memory");
    if (!given && turns && json_object_get(json_array_get(turns, 0), "role")) given = turns;
    if (given) {
        hone_status status = check_messages(given, where, given == turns ? "conversations" : "messages");
        return !status && json_array_extend(messages, given) ? hone_fail("out of memory") : status;
    }
    if (turns) return from_sharegpt(record, turns, where, messages);
    if (json_object_get(record, "instruction") && json_object_get(record, "output")) return from_alpaca(record, where, messages);
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        const json_t *question = json_object_get(record, pair[i][0]), *answer = json_object_get(record, pair[i][1]);
        if (!question || !answer) continue;
        hone_status status = add_side(messages, "user", question, where, pair[i][0]);
        return status ? status : add_side(messages, "assistant", answer, where, pair[i][1]);
    }
    return hone_fail("%s: no conversation in the record; known are \"messages\", \"conversations\", \"instruction\" with \"output\", \"prompt\" with \"completion\" or"
                     " \"response\", \"question\" with \"answer\", and \"text\"", where);
}

hone_status hone_chat_record(const json_t *record, const char *where, json_t **conversation, const json_t **text)
{
    *conversation = NULL;
    *text = json_object_get(record, "text");
    if (json_is_string(*text) && !json_object_get(record, "messages") && !json_object_get(record, "conversations")) return HONE_OK;
    *text = NULL;
    json_t *made = json_object(), *messages = json_array();
    hone_status status = made && messages ? fill(record, where, made, messages) : hone_fail("out of memory");
    if (!status && json_object_set(made, "messages", messages)) status = hone_fail("out of memory");
    json_decref(messages);
    if (status) json_decref(made);
    else *conversation = made;
    return status;
}

// --- pairs of replies

const char *const hone_chat_side[2] = { "chosen", "rejected" };

static hone_status add_list(const json_t *list, const char *where, const char *key, json_t *messages)
{
    if (json_object_get(json_array_get(list, 0), "from")) return add_turns(list, where, key, messages);
    hone_status status = check_messages(list, where, key);
    return !status && json_array_extend(messages, (json_t *)(uintptr_t)list) ? hone_fail("out of memory") : status;
}

static hone_status add_prompt(const json_t *record, const char *where, json_t *messages)
{
    static const char *const lists[] = { "messages", "conversations" }, *const texts[] = { "prompt", "question" };
    if (json_object_get(record, "instruction")) return ask_alpaca(record, where, messages);
    hone_status status = add_system(record, where, messages);
    for (size_t i = 0; i < sizeof lists / sizeof *lists && !status; i++)
        if (json_object_get(record, lists[i])) return add_list(json_object_get(record, lists[i]), where, lists[i], messages);
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !status; i++)
        if (json_object_get(record, texts[i])) return add_side(messages, "user", json_object_get(record, texts[i]), where, texts[i]);
    return status;
}

// Behind the prompt; a list that does not begin with an answer is the whole conversation.
static hone_status add_reply(const json_t *reply, const char *where, const char *key, json_t *messages)
{
    if (!reply) return hone_fail("%s: no \"%s\" in the record; a pair has \"chosen\" and \"rejected\", behind a \"prompt\" or as whole conversations", where, key);
    if (json_is_string(reply)) return add_message(messages, "assistant", reply, where, key);
    json_t *list = json_is_object(reply) ? json_pack("[O]", reply) : json_incref((json_t *)(uintptr_t)reply), *said = json_array();
    hone_status status = list && said ? add_list(list, where, key, said) : hone_fail("out of memory");
    const char *role = json_string_value(json_object_get(json_array_get(said, 0), "role"));
    if (!status && role && strcmp(role, "assistant")) json_array_clear(messages);
    if (!status && json_array_extend(messages, said)) status = hone_fail("out of memory");
    json_decref(list);
    json_decref(said);
    return status;
}

static hone_status make_side(const json_t *record, const char *where, int side, json_t **conversation)
{
    json_t *made = json_object(), *messages = json_array(), *tools = json_object_get(record, "tools");
    hone_status status = made && messages ? add_prompt(record, where, messages) : hone_fail("out of memory");
    if (!status) status = add_reply(json_object_get(record, hone_chat_side[side]), where, hone_chat_side[side], messages);
    if (!status && (json_object_set(made, "messages", messages) || (!is_empty(tools) && json_object_set(made, "tools", tools)))) status = hone_fail("out of memory");
    json_decref(messages);
    if (status) json_decref(made);
    else *conversation = made;
    return status;
}

static hone_status check_pair(json_t *conversation[2], const char *where, int64_t *prompt)
{
    const json_t *messages[2];
    size_t count[2], same = 0;
    for (int side = 0; side < 2; side++) {
        messages[side] = json_object_get(conversation[side], "messages");
        count[side] = json_array_size(messages[side]);
    }
    while (same < count[0] && same < count[1] && json_equal(json_array_get(messages[0], same), json_array_get(messages[1], same))) same++;
    if (same == count[0] && same == count[1]) return hone_fail("%s: \"chosen\" and \"rejected\" are the same; a pair says which of two replies is the better one", where);
    if (same == 0) return hone_fail("%s: no prompt that both replies answer; give \"prompt\", or whole conversations that begin alike", where);
    for (int side = 0; side < 2; side++) {
        const json_t *last = json_array_get(messages[side], count[side] - 1);
        if (same == count[side] || (is_empty(json_object_get(last, "content")) && is_empty(json_object_get(last, "tool_calls"))))
            return hone_fail("%s: \"%s\" is empty: there is no reply to learn from", where, hone_chat_side[side]);
    }
    *prompt = (int64_t)same;
    return HONE_OK;
}

hone_status hone_chat_pair(const json_t *record, const char *where, json_t *conversation[2], int64_t *prompt)
{
    conversation[0] = conversation[1] = NULL;
    hone_status status = make_side(record, where, 0, &conversation[0]);
    if (!status) status = make_side(record, where, 1, &conversation[1]);
    if (!status) status = check_pair(conversation, where, prompt);
    for (int side = 0; side < 2 && status; side++) {
        json_decref(conversation[side]);
        conversation[side] = NULL;
    }
    return status;
}
