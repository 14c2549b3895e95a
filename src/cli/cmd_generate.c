// cmd_generate.c: hone generate: text from a model, streamed for one prompt, in order for a file of them.
#include "base/cpu.h"
#include "base/file.h"
#include "cli/model.h"
#include "gen/lines.h"
#include "cli/verbs.h"
#include "data/chat_record.h"
#include "gen/generate.h"
#include "gen/stream.h"
#include "gen/turn_end.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_NEW = 256, DEFAULT_BATCH = 16, PREFILL_ROWS = 256 };

typedef struct {
    const char *prompt, *input, *template;
    hone_cli_model model;
    hone_cli_sampling sampling;
    int64_t max_new, batch;      // 0: not given
    bool chat, json, ignore_eos, logprobs;
} settings;

typedef struct {                 // one answer on its way out
    hone_text_stream text;
    hone_decode_state decoder;
    bool done;
} answer;

typedef struct {
    settings *set;
    hone_runner runner;
    hone_chat chat;              // where prompts are messages
    hone_ids *prompt;            // (count,)
    hone_request *request;       // (count,)
    answer *answer;              // (count,)
    int64_t count, capacity, printed;
    hone_buffer piece;
    hone_status status;          // of what happens inside hooks
} job;

// --- prompts ---

static hone_status add_prompt(job *j, const hone_ids *ids)
{
    if (hone_grow(&j->prompt, j->count, &j->capacity, sizeof *j->prompt)) return HONE_FAILED;
    j->prompt[j->count++] = *ids;
    return HONE_OK;
}

// What an empty text begins with: the model's first token, where it has one.
static hone_status begin_text(const job *j, hone_ids *ids, const char *where)
{
    const hone_config *c = &j->runner.model.config;
    int64_t first = c->bos >= 0 ? c->bos : c->n_eos > 0 ? c->eos[0] : -1;
    if (first < 0) return hone_fail("%s: empty prompt, and the model has no token to begin a text with; give some text", where);
    return hone_ids_append(ids, (int32_t)first);
}

static hone_status encode_prompt(job *j, const char *text, size_t size, int flags, const char *where)
{
    hone_ids ids = { 0 };
    hone_status status = hone_runner_need_tokenizer(&j->runner);
    if (!status) status = hone_tokenizer_encode(j->runner.tokenizer, text, size, flags, &ids);
    if (!status && ids.count == 0) status = begin_text(j, &ids, where);
    if (!status) status = add_prompt(j, &ids);
    if (status) hone_free(ids.data);
    return status;
}

// A conversation up to where its next answer begins.
static hone_status encode_conversation(job *j, const json_t *conversation, const char *where)
{
    hone_buffer text = { 0 };
    hone_status status = hone_chat_render(&j->chat, conversation, true, NULL, &text);
    if (status) hone_fail_context("%s", where);
    else status = encode_prompt(j, text.size ? text.data : "", text.size, 0, where);
    hone_buffer_release(&text);
    return status;
}

static hone_status encode_text(job *j, const char *text, const char *where)
{
    if (!j->set->chat) return encode_prompt(j, text, strlen(text), HONE_ENCODE_SPECIAL, where);
    json_t *conversation = json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user", "content", text);
    hone_status status = conversation ? encode_conversation(j, conversation, where) : hone_fail("%s: the prompt is not UTF-8", where);
    json_decref(conversation);
    return status;
}

static hone_status encode_line(job *j, const hone_line *line)
{
    static const char *const keys[] = { "prompt", "text", NULL };
    const char *text;
    hone_ids ids = { 0 };
    if (j->set->chat && json_object_get(line->json, "messages")) {
        json_t *conversation;
        const json_t *plain;
        hone_status status = hone_chat_record(line->json, line->where, &conversation, &plain);
        if (!status) status = encode_conversation(j, conversation, line->where);
        json_decref(conversation);
        return status;
    }
    hone_status status = hone_line_content(line, keys, &text, &ids);
    if (status) return status;
    return text ? encode_text(j, text, line->where) : add_prompt(j, &ids);
}

static hone_status read_prompts(job *j)
{
    if (j->set->prompt) return encode_text(j, j->set->prompt, "--prompt");
    hone_lines lines;
    if (hone_lines_open(&lines, j->set->input)) return HONE_FAILED;
    hone_status status = HONE_OK;
    for (hone_line line; !status && hone_lines_next(&lines, &line, &status);) {
        status = encode_line(j, &line);
        hone_line_release(&line);
    }
    if (!status && j->count == 0) status = hone_fail("%s: no lines; give one JSON object with \"prompt\" or \"ids\" a line", j->set->input);
    hone_lines_close(&lines);
    return status;
}

// The template by which prompts become conversations, and the tokens that end an answer.
static hone_status open_chat(job *j)
{
    if (!j->set->chat) return HONE_OK;
    hone_status status = hone_runner_need_tokenizer(&j->runner);
    if (!status) status = hone_cli_default_sampling(&j->set->sampling, &j->runner);
    if (!status) status = hone_chat_open(&j->chat, j->runner.folder, j->set->template, j->runner.tokenizer);
    return status ? status : hone_turn_end_add(&j->runner, &j->chat);
}

// --- answers ---

static void print_text(job *j, const char *bytes, size_t n)
{
    if (j->set->input || j->set->json) return;
    fwrite(bytes, 1, n, stdout);
    fflush(stdout);
}

static bool on_token(void *context, hone_request *r, int32_t id)
{
    job *j = context;
    answer *a = &j->answer[r - j->request];
    const char *fresh;
    size_t n;
    if (!j->runner.tokenizer || j->status) return j->status != HONE_OK;
    j->piece.size = 0;
    j->status = hone_tokenizer_decode_next(j->runner.tokenizer, &a->decoder, id, true, &j->piece);
    if (!j->status) j->status = hone_text_stream_add(&a->text, j->piece.data, j->piece.size, &fresh, &n);
    if (j->status) return true;
    print_text(j, fresh, n);
    return a->text.stopped;
}

static hone_status print_json(job *j, int64_t index)
{
    const hone_request *r = &j->request[index];
    json_t *row = json_object(), *ids = json_array();
    for (int64_t i = r->n_prompt; i < r->n_ids; i++) json_array_append_new(ids, json_integer(r->ids[i]));
    if (j->runner.tokenizer) {
        const hone_buffer *text = &j->answer[index].text.text;
        size_t valid = hone_utf8_valid(text->data ? text->data : "", text->size);
        if (valid < text->size) hone_warn("request %" PRId64 ": bytes after %zu are not UTF-8 and are left out of \"text\"", index, valid);
        json_object_set_new(row, "text", json_stringn(text->data ? text->data : "", valid));
    }
    json_object_set_new(row, "ids", ids);
    if (r->logprob) {
        json_t *logprobs = json_array();
        for (int64_t i = 0; i < r->n_ids - r->n_prompt; i++) json_array_append_new(logprobs, json_real((double)r->logprob[i]));
        json_object_set_new(row, "logprobs", logprobs);
    }
    json_object_set_new(row, "finish", json_string(hone_finish_name[r->finish]));
    json_object_set_new(row, "prompt_tokens", json_integer(r->n_prompt));
    int failed = json_dumpf(row, stdout, JSON_COMPACT | JSON_REAL_PRECISION(8));
    json_decref(row);
    printf("\n");
    fflush(stdout);
    return failed ? hone_fail("standard output: cannot write the answer of request %" PRId64, index) : HONE_OK;
}

// Answers leave in the order of their prompts, each as soon as those before it are out.
static void on_finish(void *context, hone_request *r)
{
    job *j = context;
    answer *a = &j->answer[r - j->request];
    const char *rest;
    size_t n;
    hone_text_stream_finish(&a->text, &rest, &n);
    print_text(j, rest, n);
    a->done = true;
    if (!j->set->input && !j->set->json) return;
    for (; j->printed < j->count && j->answer[j->printed].done && !j->status; j->printed++) j->status = print_json(j, j->printed);
}

static void print_speed(const job *j, const hone_generator_stats *s, double start_s)
{
    fprintf(stderr, "%sgenerate  %" PRId64 " request%s  load %.2f s  prompt %" PRId64 " tokens %.2f s %.0f tok/s  new %" PRId64
            " tokens %.2f s %.1f tok/s  first after %.3f s\n", j->set->input || j->set->json ? "" : "\n", j->count,
            j->count == 1 ? "" : "s", j->runner.load_s, s->prompt_tokens, s->prompt_s, (double)s->prompt_tokens / s->prompt_s,
            s->new_tokens, s->decode_s, s->decode_s > 0 ? (double)s->decode_new / s->decode_s : 0, start_s + s->first_token_s);
}

// --- the run ---

// A text that is continued is decoded as one text, so that the blank before its next word is not taken for one at its beginning.
static hone_status read_through(job *j, int64_t index)
{
    const hone_ids *prompt = &j->prompt[index];
    hone_status status = HONE_OK;
    for (int64_t i = 0; j->runner.tokenizer && i < prompt->count && !status; i++) {
        if (prompt->data[i] < 0 || prompt->data[i] >= hone_tokenizer_vocab(j->runner.tokenizer)) return HONE_OK; // refused later, with its place
        j->piece.size = 0;
        status = hone_tokenizer_decode_next(j->runner.tokenizer, &j->answer[index].decoder, prompt->data[i], true, &j->piece);
    }
    return status;
}

static hone_status make_requests(job *j)
{
    int64_t positions = j->runner.model.config.max_positions;
    j->request = hone_alloc((size_t)j->count, sizeof *j->request);
    j->answer = hone_alloc((size_t)j->count, sizeof *j->answer);
    if (!j->request || !j->answer) return HONE_FAILED;
    for (int64_t i = 0; i < j->count; i++) {
        int64_t room = positions - j->prompt[i].count, wanted = j->set->max_new ? j->set->max_new : DEFAULT_NEW;
        if (!j->set->max_new && room < wanted && room > 0) wanted = room;
        j->request[i] = (hone_request){ .prompt = j->prompt[i].data, .n_prompt = j->prompt[i].count, .max_new = wanted,
                                        .sampling = j->set->sampling.how, .key = (uint64_t)i, .ignore_eos = j->set->ignore_eos,
                                        .want_logprobs = j->set->logprobs };
        j->answer[i].text = (hone_text_stream){ .stop = j->set->sampling.stop.text, .n_stop = j->set->sampling.stop.count };
        if (wanted > room)
            return hone_fail("request %" PRId64 ": prompt of %" PRId64 " tokens and %" PRId64 " new ones exceed the model's %" PRId64
                             " positions; shorten the prompt or give a smaller --max-new-tokens", i, j->prompt[i].count, wanted, positions);
        if (!j->set->chat && read_through(j, i)) return HONE_FAILED;
    }
    return HONE_OK;
}

// Sizes of the decode program: no more slots, rows and blocks than these requests can use.
static hone_status build(job *j, hone_decode_io *io)
{
    int64_t context = 0, prompt = 0, longest = 0, slots = j->set->batch < j->count ? j->set->batch : j->count;
    for (int64_t i = 0; i < j->count; i++) {
        int64_t whole = j->request[i].n_prompt + j->request[i].max_new;
        if (whole > context) context = whole;
        if (j->request[i].n_prompt > longest) longest = j->request[i].n_prompt;
    }
    prompt = longest * slots < PREFILL_ROWS ? longest * slots : PREFILL_ROWS;
    return hone_model_build_decode(&j->runner.model, prompt > slots ? prompt : slots, slots, slots, context, io);
}

static hone_status run(job *j, const char *folder)
{
    double start = hone_clock_s();
    hone_decode_io io;
    hone_generator generator;
    hone_cli_model how = j->set->model;
    how.slots = j->set->prompt ? 1 : j->set->batch;
    hone_status status = hone_cli_open_model(&j->runner, folder, &how);
    if (status) return status;
    if (j->set->sampling.stop.count && hone_runner_need_tokenizer(&j->runner)) return HONE_FAILED;
    if (open_chat(j) || read_prompts(j) || make_requests(j) || build(j, &io)) return HONE_FAILED;
    if (hone_runner_start(&j->runner)) return HONE_FAILED;
    if (hone_generator_open(&generator, &j->runner.session, &j->runner.model, &io)) return HONE_FAILED;
    double ready = hone_clock_s() - start;
    if (j->set->prompt && !j->set->chat) print_text(j, j->set->prompt, strlen(j->set->prompt));
    status = hone_generator_run(&generator, j->request, j->count,
                                            &(hone_generate_hooks){ .token = on_token, .finish = on_finish, .context = j });
    if (!status) status = j->status;
    if (!status) print_speed(j, &generator.stats, ready);
    hone_generator_close(&generator);
    return status;
}

static hone_status check(settings *s, int operands, char **operand)
{
    if (operands != 1) return hone_fail_usage("generate: give one model folder%s%s", operands > 1 ? ", not also " : "", operands > 1 ? operand[1] : "");
    if (!s->prompt == !s->input) return hone_fail_usage("generate: give either --prompt TEXT or --input F.jsonl");
    if (s->template && !s->chat) return hone_fail_usage("generate: --chat-template is of conversations; say --chat too");
    if (s->max_new < 0) return hone_fail_usage("generate: --max-new-tokens %" PRId64 ": must be 1 or more", s->max_new);
    if (s->batch < 1) return hone_fail_usage("generate: --batch %" PRId64 ": must be 1 or more", s->batch);
    return hone_cli_check_sampling(&s->sampling, "generate");
}

hone_status hone_cmd_generate(int argc, char **argv)
{
    settings s = { .sampling = HONE_CLI_SAMPLING_NONE, .batch = DEFAULT_BATCH };
    bool done;
    const hone_cli_option options[] = {
        { "prompt", HONE_CLI_TEXT, &s.prompt, "TEXT", "what the text begins with; it is printed too (not with --chat)" },
        { "input", HONE_CLI_TEXT, &s.input, "FILE", "one JSON object a line, {\"prompt\"} or {\"ids\"}; prints one a line,\n"
          "                               {\"text\", \"ids\", \"finish\", \"prompt_tokens\"}, in the same order" },
        { "chat", HONE_CLI_FLAG, &s.chat, NULL, "a prompt is a user's message, by the model's chat template, or {\"messages\": [...]} in FILE;\n"
          "                               the answer alone is printed, up to the end of its turn" },
        { "chat-template", HONE_CLI_TEXT, &s.template, "FILE", "by this template (Jinja) instead of the model's" },
        { "max-new-tokens", HONE_CLI_INT, &s.max_new, "N", "(default 256, or what the model's positions leave)" },
        HONE_CLI_SAMPLING_OPTIONS(s.sampling),
        { "batch", HONE_CLI_INT, &s.batch, "N", "how many requests of --input run side by side (default 16)" },
        { "ignore-eos", HONE_CLI_FLAG, &s.ignore_eos, NULL, "goes on behind the end-of-text token" },
        { "logprobs", HONE_CLI_FLAG, &s.logprobs, NULL, "adds each new token's log-probability (JSON output)" },
        HONE_CLI_MODEL_OPTIONS(s.model),
        HONE_CLI_CACHE_OPTION(s.model),
        { "json", HONE_CLI_FLAG, &s.json, NULL, "prints one JSON object instead of text" }, { 0 } };
    const hone_cli_command command = { "generate", "MODEL --prompt TEXT | --input FILE [options]",
        "Continues texts. MODEL is a Hugging Face folder or a GGUF file. Text goes to standard output as it is made, speed to\n"
        "standard error. With --chat and no option that says how tokens are drawn, the model's generation_config.json does.",
        "hone generate out/step-700 --prompt \"Once upon a time\" --temperature 0.8 --top-p 0.95 --max-new-tokens 100", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if ((status = check(&s, argc, argv))) return status;
    job j = { .set = &s };
    status = run(&j, argv[0]);
    for (int64_t i = 0; i < j.count; i++) {
        hone_free(j.prompt[i].data);
        if (j.answer) hone_text_stream_release(&j.answer[i].text);
        if (j.request) hone_request_release(&j.request[i]);
    }
    hone_free(j.prompt);
    hone_free(j.request);
    hone_free(j.answer);
    hone_buffer_release(&j.piece);
    hone_chat_close(&j.chat);
    hone_runner_close(&j.runner);
    return status;
}
