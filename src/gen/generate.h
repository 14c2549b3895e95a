// generate.h: many requests through one decode program, by continuous batching.
//
//     queue -> slot -> run: [ row of slot 0 | row of slot 2 | chunk of slot 1's prompt ..... ] -> logits of wanted rows
//                ^                                                                              |
//                '------ a finished slot is refilled from the queue <------ sample, callback <--'
//
// A sequence's keys live in blocks of the cache; it takes a block whenever it grows past its last one. When the pool is
// empty the youngest sequence gives its blocks back and waits in the queue; later its ids are read again like a prompt.
// Since every kernel is row-invariant and random numbers are keyed by request and position, the ids of a request do not
// depend on what runs beside it.
#pragma once
#include "gen/sample.h"
#include "graph/session.h"
#include "model/decoder.h"

typedef enum { HONE_FINISH_NONE, HONE_FINISH_LENGTH, HONE_FINISH_EOS, HONE_FINISH_STOP, HONE_FINISH_COUNT } hone_finish;
extern const char *const hone_finish_name[HONE_FINISH_COUNT]; // "none", "length", "eos", "stop"

typedef struct hone_request {
    // asked
    const int32_t *prompt; int64_t n_prompt;  // at least one id
    int64_t max_new;
    hone_sampling sampling;
    uint64_t key;                             // random numbers are those of (seed, key, position)
    bool ignore_eos;
    bool want_logprobs;
    // answered
    int32_t *ids;                             // (n_ids,) prompt and new ids, an end-of-sequence id included
    float *logprob;                           // (n_ids - n_prompt,) of each new id, untempered; NULL unless wanted
    int64_t n_ids;
    hone_finish finish;
} hone_request;
void hone_request_release(hone_request *request); // the answer

// token: called for each new id, in order of positions for one request; true: stop this request here. finish: called when
// a request has its answer. stop: asked between runs; true: requests under way end here (HONE_FINISH_STOP), those in the queue
// stay HONE_FINISH_NONE and are not told. Each may be NULL.
typedef struct hone_generate_hooks {
    bool (*token)(void *context, hone_request *request, int32_t id);
    void (*finish)(void *context, hone_request *request);
    bool (*stop)(void *context);
    void *context;
} hone_generate_hooks;

typedef struct hone_generator_stats {
    int64_t prompt_tokens, new_tokens, runs, evictions;
    int64_t kept_tokens;                      // of prompt_tokens: their keys were in the cache (hone_generator.keep)
    double prompt_s, decode_s;                // runs that read some prompt; runs that only decode (sampling included)
    int64_t decode_new;                       // new tokens of the latter
    double first_token_s;                     // since the start of run()
} hone_generator_stats;

typedef struct hone_generator {
    hone_session *session;                    // borrowed; weights in place, and "refresh" run since any other program
    const hone_model *model;
    hone_decode_io io;
    struct hone_slot *slot;                   // (S,)
    int32_t *free_block; int64_t n_free;      // stack of blocks that nobody holds
    bool keep;                                // set after open, of one slot: keys of an answered request stay for the next one, which
    int32_t *held; int64_t n_held;            // computes what lies behind the ids that both begin with; (context,) whose keys stay
    hone_sampler *sampler; int n_sampler;     // one per thread
    hone_generator_stats stats;               // of the last run
} hone_generator;

hone_status hone_generator_open(hone_generator *generator, hone_session *session, const hone_model *model, const hone_decode_io *io);
void hone_generator_close(hone_generator *generator);
// Answers all requests. Refuses, before anything runs, a request whose ids lie outside the vocabulary, whose prompt is
// empty or whose prompt and max_new exceed the context; the message gives its index. hooks may be NULL.
hone_status hone_generator_run(hone_generator *generator, hone_request *requests, int64_t count, const hone_generate_hooks *hooks);
