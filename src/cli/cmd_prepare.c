// cmd_prepare.c: hone prepare: text files to a data set.
#include "cli/args.h"
#include "cli/verbs.h"
#include "base/units.h"
#include "data/clean.h"
#include "data/prepare.h"
#include "run/stop.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// One line on a terminal that is written over; nothing where output is piped.
static void show_progress(void *context, const hone_prepare_progress *p)
{
    (void)context;
    double share = p->file_bytes_total ? (double)p->file_bytes / (double)p->file_bytes_total : 0.0;
    double left = share > 0.0 ? p->seconds * (1.0 - share) / share : 0.0;
    fprintf(stderr, "\r  ");
    if (share > 0.0) fprintf(stderr, "%3.0f%%  ", 100.0 * share);
    fprintf(stderr, "%s documents  %.1f MB  %s tokens  %.1f MB/s", hone_units_grouped(p->documents).s, (double)p->bytes / 1e6,
            hone_units_count((double)p->tokens).s, (double)p->text_bytes / 1e6 / p->seconds);
    if (share > 0.0) fprintf(stderr, "  left %s", hone_units_time(left).s);
    fprintf(stderr, " \033[K");
    fflush(stderr);
}

static void print_row(const char *name, int64_t documents, int64_t bytes, int64_t tokens, int64_t shards)
{
    printf("  %-8s  %10" PRId64 "  %12.3f  %12" PRId64 "  %12.3f  %6" PRId64 "\n", name, documents, (double)bytes / 1e6, tokens,
           tokens ? (double)bytes / (double)tokens : 0.0, shards);
}

// A line a filter: what it dropped or changed, and an example.
static void print_filters(const json_t *filters)
{
    const char *name;
    json_t *row;
    if (json_object_size(filters)) printf("  filter                    dropped   MB dropped      changed       pieces\n");
    json_object_foreach((json_t *)(uintptr_t)filters, name, row) {
        const json_t *example = json_array_get(json_object_get(row, "examples"), 0), *parameters = json_object_get(row, "parameters");
        printf("  %-20s  %11s  %11.3f  %11s  %11s\n", name, hone_units_grouped(json_integer_value(json_object_get(row, "dropped"))).s,
               (double)json_integer_value(json_object_get(row, "dropped_bytes")) / 1e6, hone_units_grouped(json_integer_value(json_object_get(row, "changed"))).s,
               hone_units_grouped(json_integer_value(json_object_get(row, "pieces"))).s);
        int64_t too_short = json_integer_value(json_object_get(parameters, "too_short"));
        if (too_short) printf("      %s of %s evaluation texts have fewer words than an overlap: they cannot be found\n", hone_units_grouped(too_short).s,
                              hone_units_grouped(json_integer_value(json_object_get(parameters, "texts"))).s);
        if (example) printf("      %s: %s\n      | %s\n", json_string_value(json_object_get(example, "where")), json_string_value(json_object_get(example, "why")),
                            json_string_value(json_object_get(example, "text")));
    }
}

static void print_report(const hone_prepare_options *options, const hone_prepare_report *r)
{
    int64_t bytes = r->bytes[0] + r->bytes[1];
    printf("%s\n            documents       MB text        tokens   bytes/token  shards\n", options->output);
    for (int s = 0; s < HONE_SPLIT_COUNT; s++) print_row(hone_split_name[s], r->documents[s], r->bytes[s], r->tokens[s], r->shards[s]);
    print_row("all", r->documents[0] + r->documents[1], bytes, r->tokens[0] + r->tokens[1], r->shards[0] + r->shards[1]);
    printf("  %.2f s, %.1f MB/s", r->seconds, (double)r->text_bytes / 1e6 / r->seconds);
    if (r->resumed) printf("; gone on with behind %.1f MB of an earlier run", (double)r->resumed_bytes / 1e6);
    printf("\n");
    if (options->chat) {
        printf("  %s of them trained", hone_units_grouped(r->trained_tokens).s);
        for (int f = HONE_CHAT_KEPT + 1; f < HONE_CHAT_FATES; f++) if (r->fate[f]) printf("; %s conversations left out: %s", hone_units_grouped(r->fate[f]).s, hone_chat_fate_what[f]);
        printf("\n");
    }
    if (r->empty) printf("  %s empty documents left out\n", hone_units_grouped(r->empty).s);
    if (r->invalid) printf("  %s documents hold bytes that are not UTF-8\n", hone_units_grouped(r->invalid).s);
    if (r->long_lines) printf("  %s documents hold a line of more than %d bytes\n", hone_units_grouped(r->long_lines).s, HONE_LONG_LINE_BYTES);
    if (r->passed_over) printf("  %s files of no known format were passed over, as %s\n", hone_units_grouped(r->passed_over).s, r->passed_example);
    print_filters(r->cleaning);
    if (options->held_out > 0.0 && r->documents[HONE_SPLIT_HELD] == 0)
        printf("  no document fell into the held-out part: there are too few; give more text, a larger --held-out or a smaller --document-bytes\n");
}

// \n, \t and \\ as in C.
static char *unescape(const char *text)
{
    char *out = hone_strdup(text), *to = out;
    for (const char *p = text; out && *p; p++) {
        if (*p == '\\' && p[1] && strchr("nt\\", p[1])) {
            p++;
            *to++ = *p == 'n' ? '\n' : *p == 't' ? '\t' : '\\';
        } else *to++ = *p;
    }
    if (out) *to = 0;
    return out;
}

static void list_filters(void)
{
    printf("filters, in the order in which a document meets them:\n");
    for (int f = 0; f < HONE_FILTER_COUNT; f++) printf("  %-20s  %s\n", hone_filter_name[f], hone_filter_what[f]);
    printf("\nTheir numbers are keys of a recipe (`hone schema --format text`, Cleaning text), given by --recipe or --set.\n");
}

// The recipe's keys of cleaning, overridden by the command line.
static hone_status load_recipe(hone_recipe *recipe, const char *path, const hone_cli_texts *filters, const hone_cli_texts *sets)
{
    char *override[33];
    int n = 0;
    hone_buffer list = { 0 };
    hone_status status = HONE_OK;
    for (int i = 0; i < filters->count && !status; i++) status = hone_buffer_print(&list, "%s%s", i ? ", " : "filters=[", filters->text[i]);
    if (filters->count && !status) status = hone_buffer_print(&list, "]");
    if (filters->count) override[n++] = list.data;
    for (int i = 0; i < sets->count; i++) override[n++] = (char *)(uintptr_t)sets->text[i];
    if (!status) status = hone_recipe_load(recipe, path, n, override);
    hone_buffer_release(&list);
    return status;
}

hone_status hone_cmd_prepare(int argc, char **argv)
{
    int64_t seed = 1, shard_tokens = 0;
    const char *separator = NULL, *recipe_path = NULL;
    hone_cli_texts filters = { 0 }, sets = { 0 }, roles = { 0 };
    bool list = false;
    char *unescaped = NULL;
    hone_prepare_options o = { .text_field = "text", .held_out = 0.02, .document_bytes = 64 << 10 };
    const hone_cli_option options[] = {
        { "tokenizer", HONE_CLI_TEXT, &o.tokenizer, "PATH", "tokenizer.json, or a folder with a tokenizer (required)" },
        { "output", HONE_CLI_TEXT, &o.output, "DIR", "folder to make (required)" },
        { "held-out", HONE_CLI_REAL, &o.held_out, "SHARE", "share of documents kept for evaluation (default 0.02)" },
        { "format", HONE_CLI_TEXT, &o.format, "NAME", "of all FILEs, whatever their names: text, jsonl, json, csv, tsv, markdown, html (default: by name; standard input: text)" },
        { "text-field", HONE_CLI_TEXT, &o.text_field, "NAME", "field of JSONL records, or column of CSV, that holds the text (default text)" },
        { "template", HONE_CLI_TEXT, &o.template, "TEXT", "several fields as one text, in place of --text-field: '{question}\\n\\n{answer}'" },
        { "chat", HONE_CLI_FLAG, &o.chat, NULL, "records are conversations: messages, ShareGPT, Alpaca, prompt and completion, told by their keys; rendered by the chat template of the --tokenizer folder; answers alone are trained" },
        { "chat-template", HONE_CLI_TEXT, &o.chat_template, "FILE", "rendered by this template (Jinja) instead" },
        { "role", HONE_CLI_TEXTS, &roles, "NAME", "whose turns are trained (default assistant); may be given several times" },
        { "train-on-prompt", HONE_CLI_FLAG, &o.rules.train_on_prompt, NULL, "all of a conversation is trained" },
        { "cutoff-len", HONE_CLI_INT, &o.rules.cutoff_len, "N", "conversations of more than N tokens are left out and counted (default 0: none is)" },
        { "allow-dropped", HONE_CLI_FLAG, &o.allow_dropped, NULL, "more than 1 % of the conversations may be left out" },
        { "separator", HONE_CLI_TEXT, &separator, "TEXT", "what ends a document of plain text, as '<|endoftext|>' or '\\n---\\n'; it is left out" },
        { "document-bytes", HONE_CLI_INT, &o.document_bytes, "N", "cut plain text at blank lines into documents of about N bytes; 0: a file is one document (default 65536)" },
        { "eos", HONE_CLI_TEXT, &o.eos, "TOKEN", "token that closes a document (default: the tokenizer's own)" },
        { "seed", HONE_CLI_INT, &seed, "N", "of the held-out split (default 1)" },
        { "shard-tokens", HONE_CLI_INT, &shard_tokens, "N", "a shard is closed behind the batch that fills it to N tokens; a killed run goes on behind the last closed one (default 268435456)" },
        { "recipe", HONE_CLI_TEXT, &recipe_path, "RECIPE.yaml", "clean the text as its keys of cleaning say (filters and their numbers)" },
        { "filter", HONE_CLI_TEXTS, &filters, "NAME", "clean by this filter; may be given several times" },
        { "set", HONE_CLI_TEXTS, &sets, "KEY=VALUE", "a key of cleaning; may be given several times" },
        { "filters", HONE_CLI_FLAG, &list, NULL, "say what each filter does" },
        { "strict", HONE_CLI_FLAG, &o.strict, NULL, "bytes that are not UTF-8, empty documents and lines of more than 100,000 bytes are errors, not counts" },
        { 0 },
    };
    const hone_cli_command command = { "prepare", "--tokenizer PATH --output DIR [options] FILE...",
        "Turns text into tokens to train on: checksummed shards with an index of documents and a held-out part.\n"
        "FILE is plain text, JSONL, JSON, CSV, TSV, Markdown or HTML, as its name ends, packed with gzip, zstd or xz or not. It may be a\n"
        "folder (all such files below it), a pattern ('corpus/*.md'), @LIST (a file of names, one a line), or - (standard input).\n"
        "Ctrl-C or kill lose little: the same command goes on. DIR appears when all of it is there.\n"
        "With --chat records are conversations:\n\n"
        "  hone prepare --chat --tokenizer SmolLM2-135M-Instruct --output data/talks talks.jsonl",
        "hone prepare --tokenizer tok.json --output data/novels novels/*.txt", options };
    bool done;
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (list) {
        list_filters();
        return HONE_OK;
    }
    if (!o.tokenizer) return hone_fail_usage("prepare: --tokenizer PATH is missing; `hone tokenizer train` makes one");
    if (!o.output) return hone_fail_usage("prepare: --output DIR is missing");
    if (argc == 0) return hone_fail_usage("prepare: no files are given");
    if (shard_tokens < 0) return hone_fail_usage("prepare: --shard-tokens %" PRId64 " must be positive", shard_tokens);
    if (!o.chat && (o.chat_template || roles.count || o.rules.train_on_prompt || o.rules.cutoff_len || o.allow_dropped))
        return hone_fail_usage("prepare: --chat-template, --role, --train-on-prompt, --cutoff-len and --allow-dropped are of conversations; say --chat too");
    o.rules.role = roles.text;
    o.rules.n_roles = roles.count;
    o.files = (const char *const *)argv;
    o.n_files = argc;
    o.seed = (uint64_t)seed;
    o.shard_tokens = shard_tokens;
    bool terminal = isatty(2);
    if (terminal) o.progress = show_progress;
    hone_recipe recipe;
    if ((status = load_recipe(&recipe, recipe_path, &filters, &sets))) return status;
    o.recipe = &recipe;
    if (separator && !(unescaped = unescape(separator))) {
        hone_recipe_release(&recipe);
        return HONE_FAILED;
    }
    o.separator = unescaped;
    o.stop = hone_stop_asked;
    hone_stop_watch(HONE_STOP_TERM);
    hone_prepare_report report;
    status = hone_prepare(&o, &report);
    if (terminal) fprintf(stderr, "\r\033[K");
    if (!status && report.stopped && o.chat) {
        hone_fail("stopped; nothing was written");
        status = hone_stop_status();
    } else if (!status && report.stopped) {
        hone_fail("stopped; %s.tmp holds %.1f MB of text that are done, and the same command goes on from there", o.output, (double)(report.bytes[0] + report.bytes[1]) / 1e6);
        status = hone_stop_status();
    } else if (!status) print_report(&o, &report);
    hone_prepare_report_release(&report);
    hone_stop_unwatch();
    hone_free(unescaped);
    hone_recipe_release(&recipe);
    return status;
}
