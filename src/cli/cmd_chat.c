// cmd_chat.c: hone chat: a conversation in the terminal, or through a pipe: a line in, a reply out.
#include "base/line_reader.h"
#include "base/units.h"
#include "cli/model.h"
#include "cli/verbs.h"
#include "gen/talk.h"
#include "run/stop.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_CONTEXT = 4096, DEFAULT_NEW = 1024, ASK_MS = 100 };

typedef struct {
    const char *system, *template;
    hone_cli_model model;
    hone_cli_sampling sampling;
    int64_t max_new, context;           // 0: not given
} settings;

typedef struct {
    settings *set;
    hone_runner runner;
    hone_talk talk;
    hone_line_reader lines;
    bool terminal;                      // somebody types and reads
    bool colour;
    hone_buffer message;                // being typed: lines that end in \ go on
    int64_t replies, prompt_tokens, kept_tokens, new_tokens, decode_new;
    double decode_s;
} session;

// --- what the user says

// Was Ctrl-C typed since this was last asked? In a pipe it ends the program, as any other there.
static bool take_stop(const session *s)
{
    if (!s->terminal || !hone_stop_asked(NULL)) return false;
    hone_stop_unwatch();
    hone_stop_watch(HONE_STOP_INT);
    return true;
}

// Waits until there is something to read. False: Ctrl-C came first.
static bool wait_for_input(const session *s)
{
    struct pollfd in = { .fd = 0, .events = POLLIN };
    while (!take_stop(s)) {
        int n = poll(&in, 1, ASK_MS);   // the signal may have reached another thread: then it is found a moment later
        if (n > 0 || (n < 0 && errno != EINTR)) return true;
    }
    return false;
}

static void print_prompt(const session *s, const char *mark)
{
    if (!s->terminal) return;
    printf("%s%s%s", s->colour ? "\033[1m" : "", mark, s->colour ? "\033[0m" : "");
    fflush(stdout);
}

// *line: NULL at the end: Ctrl-D, Ctrl-C twice, the end of a pipe.
static hone_status read_line(session *s, const char *mark, char **line, size_t *size)
{
    bool warned = false;
    *line = NULL;
    for (print_prompt(s, mark); s->terminal; print_prompt(s, mark)) {
        if (wait_for_input(s)) break;
        printf("\n");
        if (warned) return HONE_OK;
        warned = true;
        s->message.size = 0;            // what stood before it is given up
        mark = "> ";
        printf("Ctrl-C once more, or Ctrl-D, ends\n");
    }
    hone_status status = hone_line_reader_next(&s->lines, line, size);
    if (s->terminal && !*line) printf("\n");
    return status;
}

// The message in s->message; *ended: there is none any more.
static hone_status read_message(session *s, bool *ended)
{
    hone_status status = HONE_OK;
    s->message.size = 0;
    for (bool more = true; more && !status;) {
        char *line;
        size_t size;
        if ((status = read_line(s, s->message.size ? ". " : "> ", &line, &size))) return status;
        *ended = !line && s->message.size == 0;
        if (!line) return HONE_OK;
        more = size > 0 && line[size - 1] == '\\';
        if (more) line[size - 1] = '\n';
        status = hone_buffer_append(&s->message, line, size);
    }
    return status;
}

// --- commands

typedef enum { SAY, DONE, END } meaning;

static const struct { const char *name, *what; } command[] = {
    { "/clear", "forgets what was said, but for the system message" }, { "/help", "lists these" }, { "/exit", "ends, as Ctrl-D does" } };
enum { CLEAR, HELP, EXIT, COMMANDS };

static void print_help(void)
{
    for (int i = 0; i < COMMANDS; i++) fprintf(stderr, "  %-8s  %s\n", command[i].name, command[i].what);
    fprintf(stderr, "  A line that ends in \\ goes on in the next one. Ctrl-C stops a reply. A message that begins with / has a blank before it.\n");
}

static hone_status obey(session *s, const char *text, meaning *meant)
{
    int i = 0;
    *meant = DONE;
    while (i < COMMANDS && strcmp(text, command[i].name)) i++;
    if (i == CLEAR) return hone_talk_clear(&s->talk);
    if (i == EXIT) *meant = END;
    if (i == HELP) print_help();
    if (i == COMMANDS && text[0] == '/') fprintf(stderr, "%s is no command; /help lists them\n", text);
    else if (i == COMMANDS) *meant = text[strspn(text, " \t\n")] ? SAY : DONE;
    return HONE_OK;
}

// --- what the model says

// On a terminal a model's control characters are shown as '?': they could move its cursor or change its title.
static void show(void *context, const char *text, size_t size)
{
    const session *s = context;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
        putchar(s->terminal && control ? '?' : c);
    }
    fflush(stdout);
}

static void count(session *s, const hone_generator_stats *stats)
{
    s->replies++;
    s->prompt_tokens += stats->prompt_tokens;
    s->kept_tokens += stats->kept_tokens;
    s->new_tokens += stats->new_tokens;
    s->decode_new += stats->decode_new;
    s->decode_s += stats->decode_s;
}

static hone_status reply(session *s)
{
    hone_talk_turn turn;
    const hone_talk_hooks hooks = { .show = show, .stop = s->terminal ? hone_stop_asked : NULL, .context = s };
    hone_status status = hone_talk_say(&s->talk, s->message.data, s->message.size, &hooks, &turn);
    if (status) return status;
    take_stop(s);
    printf("\n");
    fflush(stdout);
    count(s, &turn.stats);
    if (turn.left_out) fprintf(stderr, "(the context is full: the %" PRId64 " oldest messages were left out)\n", turn.left_out);
    if (turn.finish == HONE_FINISH_LENGTH) fprintf(stderr, "(cut at %" PRId64 " tokens; --max-new-tokens)\n", s->talk.options.max_new);
    if (s->terminal) printf("\n");
    return HONE_OK;
}

// --- the run

static hone_status converse(session *s)
{
    hone_status status = HONE_OK;
    for (bool ended = false; !status;) {
        meaning meant = DONE;
        status = read_message(s, &ended);
        if (ended) break;
        if (!status) status = obey(s, s->message.size ? s->message.data : "", &meant);
        if (meant == END) break;
        if (!status && meant == SAY) status = reply(s);
        if (status && s->terminal && meant == SAY) { // a message that is too long, or that the template refuses, ends nothing
            fprintf(stderr, "%s\n", hone_error());
            status = HONE_OK;
        }
    }
    return status;
}

static void greet(const session *s, const char *model)
{
    if (!s->terminal) return;
    const char *name = strrchr(model, '/');
    printf("hone chat  %s  %s %s  context of %s tokens\n/help says what else can be typed; Ctrl-C stops a reply, Ctrl-D ends\n\n", name && name[1] ? name + 1 : model,
           s->runner.model.config.family->model_type, hone_units_count((double)hone_model_count(&s->runner.model)).s, hone_units_grouped(s->talk.options.context).s);
}

static void print_speed(const session *s)
{
    fprintf(stderr, "chat  %" PRId64 " repl%s  load %.2f s  prompt %" PRId64 " tokens, %" PRId64 " of them kept from earlier turns  new %" PRId64 " tokens %.1f tok/s\n", s->replies,
            s->replies == 1 ? "y" : "ies", s->runner.load_s, s->prompt_tokens, s->kept_tokens, s->new_tokens, s->decode_s > 0 ? (double)s->decode_new / s->decode_s : 0);
}

static hone_status open_talk(session *s)
{
    const settings *set = s->set;
    int64_t positions = s->runner.model.config.max_positions, context = set->context ? set->context : positions < DEFAULT_CONTEXT ? positions : DEFAULT_CONTEXT;
    int64_t max_new = set->max_new ? set->max_new : context / 2 < DEFAULT_NEW ? context / 2 : DEFAULT_NEW;
    if (context > positions) return hone_fail_usage("chat: --context %" PRId64 ": the model has %" PRId64 " positions", context, positions);
    if (max_new >= context) return hone_fail_usage("chat: --max-new-tokens %" PRId64 " leaves nothing of the context of %" PRId64 " tokens to read", max_new, context);
    return hone_talk_open(&s->talk, &s->runner, &(hone_talk_options){ .template = set->template, .system = set->system, .context = context, .max_new = max_new,
                          .sampling = set->sampling.how, .stop = set->sampling.stop.text, .n_stop = set->sampling.stop.count });
}

static hone_status run(session *s, const char *model)
{
    hone_cli_model how = s->set->model;
    how.slots = 1;
    hone_status status = hone_cli_open_model(&s->runner, model, &how);
    if (!status) status = hone_cli_default_sampling(&s->set->sampling, &s->runner);
    if (!status) status = open_talk(s);
    if (status) return status;
    if ((status = hone_line_reader_open(&s->lines, NULL))) return status;
    if (s->terminal) hone_stop_watch(HONE_STOP_INT);
    greet(s, model);
    status = converse(s);
    if (s->terminal) hone_stop_unwatch();
    if (!status) print_speed(s);
    hone_line_reader_close(&s->lines);
    return status;
}

static hone_status check(settings *s, int operands, char **operand)
{
    if (operands != 1) return hone_fail_usage("chat: give one model, a folder or a GGUF file%s%s", operands > 1 ? ", not also " : "", operands > 1 ? operand[1] : "");
    if (s->max_new < 0) return hone_fail_usage("chat: --max-new-tokens %" PRId64 ": must be 1 or more", s->max_new);
    if (s->context < 0 || s->context == 1) return hone_fail_usage("chat: --context %" PRId64 ": must be 2 or more", s->context);
    return hone_cli_check_sampling(&s->sampling, "chat");
}

hone_status hone_cmd_chat(int argc, char **argv)
{
    settings set = { .sampling = HONE_CLI_SAMPLING_NONE };
    bool done;
    const hone_cli_option options[] = {
        { "system", HONE_CLI_TEXT, &set.system, "TEXT", "the system message (default: what the template has of its own)" },
        { "chat-template", HONE_CLI_TEXT, &set.template, "FILE", "by this template (Jinja) instead of the model's" },
        { "max-new-tokens", HONE_CLI_INT, &set.max_new, "N", "the longest reply (default 1024, or half the context)" },
        { "context", HONE_CLI_INT, &set.context, "N", "tokens that history and reply may take; beyond them the oldest turns are left out\n"
          "                               (default 4096, or the model's positions)" },
        HONE_CLI_SAMPLING_OPTIONS(set.sampling),
        HONE_CLI_MODEL_OPTIONS(set.model), HONE_CLI_CACHE_OPTION(set.model), { 0 } };
    const hone_cli_command command_line = { "chat", "MODEL [options]",
        "Talks with a chat model, a Hugging Face folder or a GGUF file, by its own chat template. Replies are shown as they are made;\n"
        "each turn computes what is new alone. Ctrl-C stops a reply, Ctrl-D ends; /help lists what else can be typed.\n"
        "Through a pipe: a line in, a reply out. Where no option says how tokens are drawn, the model's generation_config.json does.",
        "hone chat SmolLM2-135M-Instruct-Q4_1.gguf --system \"You are a helpful assistant.\" --temperature 0.7 --top-p 0.9", options };
    hone_status status = hone_cli_parse(&command_line, &argc, argv, &done);
    if (status || done) return status;
    if ((status = check(&set, argc, argv))) return status;
    session s = { .set = &set, .terminal = isatty(0) && isatty(1), .colour = hone_cli_colour(1) };
    status = run(&s, argv[0]);
    hone_buffer_release(&s.message);
    hone_talk_close(&s.talk);
    hone_runner_close(&s.runner);
    return status;
}
