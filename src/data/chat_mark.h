// chat_mark.h: conversations to tokens, each token trained or not.
//
//     <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n
//                                                          [      trained      ]
//
// Trained is what an answer consists of: from behind the header that asks for it (chat.h: opening) to the end of its turn, as the template
// writes it. Where the template marks answers itself ({% generation %}), those marks hold. Which bytes belong to which message is
// what the template's own loop over the messages wrote at it (jinja.h: hone_jinja_trace). A token is trained where any of its bytes is.
#pragma once
#include "text/chat.h"

typedef struct hone_chat_rules {
    const char *const *role; int n_roles;   // whose turns are trained; 0: assistant
    bool train_on_prompt;                   // all of it
    int64_t cutoff_len;                     // conversations (pairs: both together) of more tokens are left out; 0: none is
    bool pairs;                             // records are pairs of replies: trained are the turns behind those that both have
} hone_chat_rules;

typedef enum { HONE_CHAT_KEPT, HONE_CHAT_MASKED, HONE_CHAT_LONG, HONE_CHAT_UNPLACED, HONE_CHAT_FATES } hone_chat_fate;
extern const char *const hone_chat_fate_name[HONE_CHAT_FATES];  // members of data.json's report, "kept" first
extern const char *const hone_chat_fate_what[HONE_CHAT_FATES];

typedef struct hone_chat_text {     // starts all zero; reused
    hone_buffer text;
    hone_jinja_span *span; int64_t n_spans, capacity;   // trained bytes, ascending, apart
    hone_jinja_trace trace;
} hone_chat_text;
void hone_chat_text_release(hone_chat_text *text);

// The text of a record (JSON) and its trained bytes.
hone_status hone_chat_mark(const hone_chat *chat, const hone_chat_rules *rules, const char *json, size_t size, const char *where, const hone_tokenizer *tokenizer, hone_chat_text *out);
// The same of a pair (chat_record.h): the conversations with its chosen (0) and its rejected (1) reply.
hone_status hone_chat_mark_pair(const hone_chat *chat, const hone_chat_rules *rules, const char *json, size_t size, const char *where, const hone_tokenizer *tokenizer, hone_chat_text out[2]);
// Appends ids, and for each 1 where it is trained. UNPLACED: the tokenizer changes the text so that no token's place is known. Nothing is
// appended but where it is kept.
hone_status hone_chat_encode(const hone_chat_rules *rules, const hone_tokenizer *tokenizer, const char *text, size_t size, const hone_jinja_span *span, int64_t n_spans,
                             hone_ids *ids, hone_ids *trained, hone_chat_fate *fate);
