// chat_record.h: conversations out of records, told apart by their keys:
//
//     {"messages": [{"role", "content", ...}], "tools"}           as it is: further keys reach the template
//     {"conversations": [{"from", "value"}], "system", "tools"}   ShareGPT: human, gpt, system, tool, observation, function_call ...
//     {"instruction", "input", "output", "system", "history"}     Alpaca
//     {"prompt", "completion"}                                    texts, or lists of messages; {"prompt", "response"}, {"question", "answer"} too
//     {"text"}                                                    plain text: no conversation
#pragma once
#include "base/json.h"

// *conversation: a new object with "messages" and perhaps "tools"; NULL: the record is plain text, *text (borrowed).
hone_status hone_chat_record(const json_t *record, const char *where, json_t **conversation, const json_t **text);
