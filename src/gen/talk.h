// talk.h: a conversation with a model, turn by turn.
//
// The whole history is rendered by the model's chat template for each turn, so that every turn reads what the template makes of
// it; its keys stay in the cache, so that only what is new is computed:
//
//     turn 1   [system][user 1][header] reply 1
//     turn 2   [system][user 1][header][reply 1][user 2][header] reply 2
//              `----- kept: the ids that both begin with -----'`-computed-'
//
// A reply that is stopped stays in the history as far as it came. Where history, message and the longest reply exceed the
// context, the oldest turns are left out, never the system message.
#pragma once
#include "gen/generate.h"
#include "gen/runner.h"
#include "gen/stream.h"
#include "text/chat.h"

typedef struct hone_talk_options {
    const char *template;                   // file of a chat template; NULL: the model's own
    const char *system;                     // NULL: none (the template may have one of its own)
    int64_t context;                        // tokens that history and reply may take; at most the model's positions
    int64_t max_new;                        // of a reply, below context
    hone_sampling sampling;
    const char *const *stop; int n_stop;    // borrowed; strings that end a reply
} hone_talk_options;

typedef struct hone_talk {
    hone_runner *runner;                    // borrowed
    hone_talk_options options;
    hone_chat chat;
    hone_generator generator;
    json_t *messages;                       // {"messages": [...]}: what was said
    int64_t turns;                          // since open: keys of the random numbers
} hone_talk;

typedef struct hone_talk_hooks {
    void (*show)(void *context, const char *text, size_t size);    // more of the reply: whole characters, valid UTF-8
    bool (*stop)(void *context);            // asked between tokens: stops the reply
    void *context;
} hone_talk_hooks;

typedef struct hone_talk_turn {
    int64_t left_out;                       // messages that were dropped from the history to make room
    hone_finish finish;
    hone_generator_stats stats;
} hone_talk_turn;

// Of a runner that is open but not started: builds its program, loads it. Refuses a model without a chat template or tokenizer.
hone_status hone_talk_open(hone_talk *talk, hone_runner *runner, const hone_talk_options *options);
void hone_talk_close(hone_talk *talk);
// A message of the user's, and its reply. A failure leaves the history as it was.
hone_status hone_talk_say(hone_talk *talk, const char *text, size_t size, const hone_talk_hooks *hooks, hone_talk_turn *turn);
// Forgets all but the system message.
hone_status hone_talk_clear(hone_talk *talk);
