// turn_end.h: the tokens with which a chat model ends a turn.
//
// They come from four places, none of which has all of them in every model that is out there:
//
//     config.json, or the GGUF file         eos_token_id
//     generation_config.json                eos_token_id, one or a list
//     the tokenizer                         its eos
//     the chat template                     the special token that it writes behind an answer:  ...assistant\nHello.<|im_end|>
#pragma once
#include "gen/runner.h"
#include "text/chat.h"

// Adds them to the end tokens of the runner's model (config.eos), where generation stops.
hone_status hone_turn_end_add(hone_runner *runner, const hone_chat *chat);
