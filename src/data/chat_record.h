// chat_record.h: conversations out of records, told apart by their keys:
//
//     {"messages": [{"role", "content", ...}], "tools"}           as it is: further keys reach the template
//     {"conversations": [{"from", "value"}], "system", "tools"}   ShareGPT: human, gpt, system, tool, observation, function_call ...
//     {"instruction", "input", "output", "system", "history"}     Alpaca
//     {"prompt", "completion"}                                    texts, or lists of messages; {"prompt", "response"}, {"question", "answer"} too
//     {"text"}                                                    plain text: no conversation
//
// Pairs of replies have "chosen" and "rejected", each a text, a message or a list of them (ShareGPT's turns, too), behind a prompt in any
// of these forms ("messages", "conversations", "instruction", "prompt", "question", with "system"); or whole conversations, which begin alike.
#pragma once
#include "base/json.h"

// *conversation: a new object with "messages" and perhaps "tools"; NULL: the record is plain text, *text (borrowed).
hone_status hone_chat_record(const json_t *record, const char *where, json_t **conversation, const json_t **text);
// The conversations that end with the chosen and with the rejected reply, both new, and how many messages they begin with in common: the
// prompt. Pairs that are the same, empty or of different prompts are refused.
hone_status hone_chat_pair(const json_t *record, const char *where, json_t *conversation[2], int64_t *prompt);
extern const char *const hone_chat_side[2]; // "chosen", "rejected"
