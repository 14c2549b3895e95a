// cmd_prepare.c: hone prepare: text files to a data set.
#include "cli/args.h"
#include "cli/verbs.h"
#include "data/prepare.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

// One line on a terminal that is written over; nothing where output is piped.
static void show_progress(void *context, const hone_prepare_progress *p)
{
    (void)context;
    double share = p->file_bytes_total ? (double)p->file_bytes / (double)p->file_bytes_total : 1.0;
    double left = share > 0.0 ? p->seconds * (1.0 - share) / share : 0.0;
    fprintf(stderr, "\r  %3.0f%%  %" PRId64 " documents  %.1f MB  %" PRId64 " tokens  %.1f MB/s  left %d:%02d \033[K", 100.0 * share, p->documents,
            (double)p->bytes / 1e6, p->tokens, (double)p->bytes / 1e6 / p->seconds, (int)left / 60, (int)left % 60);
    fflush(stderr);
}

static void print_row(const char *name, int64_t documents, int64_t bytes, int64_t tokens, int64_t shards)
{
    printf("  %-8s  %10" PRId64 "  %12.3f  %12" PRId64 "  %12.3f  %6" PRId64 "\n", name, documents, (double)bytes / 1e6, tokens,
           tokens ? (double)bytes / (double)tokens : 0.0, shards);
}

static void print_report(const hone_prepare_options *options, const hone_prepare_report *r)
{
    int64_t bytes = r->bytes[0] + r->bytes[1];
    printf("%s\n            documents       MB text        tokens   bytes/token  shards\n", options->output);
    for (int s = 0; s < HONE_SPLIT_COUNT; s++) print_row(hone_split_name[s], r->documents[s], r->bytes[s], r->tokens[s], r->shards[s]);
    print_row("all", r->documents[0] + r->documents[1], bytes, r->tokens[0] + r->tokens[1], r->shards[0] + r->shards[1]);
    printf("  %.2f s, %.1f MB/s", r->seconds, (double)bytes / 1e6 / r->seconds);
    if (r->empty) printf("; %" PRId64 " empty documents left out", r->empty);
    if (r->invalid) printf("; %" PRId64 " documents hold bytes that are not UTF-8", r->invalid);
    printf("\n");
    if (options->held_out > 0.0 && r->documents[HONE_SPLIT_HELD] == 0)
        printf("  no document fell into the held-out part: there are too few; give more text, a larger --held-out or a smaller --document-bytes\n");
}

hone_status hone_cmd_prepare(int argc, char **argv)
{
    int64_t seed = 1, shard_tokens = 0;
    hone_prepare_options o = { .text_field = "text", .held_out = 0.02, .document_bytes = 64 << 10 };
    const hone_cli_option options[] = {
        { "tokenizer", HONE_CLI_TEXT, &o.tokenizer, "PATH", "tokenizer.json, or a folder with a tokenizer (required)" },
        { "output", HONE_CLI_TEXT, &o.output, "DIR", "folder to make (required)" },
        { "held-out", HONE_CLI_REAL, &o.held_out, "SHARE", "share of documents kept for evaluation (default 0.02)" },
        { "text-field", HONE_CLI_TEXT, &o.text_field, "NAME", "field of JSONL records that holds the text (default text)" },
        { "document-bytes", HONE_CLI_INT, &o.document_bytes, "N", "cut plain text at blank lines into documents of about N bytes; 0: a file is one document (default 65536)" },
        { "eos", HONE_CLI_TEXT, &o.eos, "TOKEN", "token that closes a document (default: the tokenizer's own)" },
        { "seed", HONE_CLI_INT, &seed, "N", "of the held-out split (default 1)" },
        { "shard-tokens", HONE_CLI_INT, &shard_tokens, "N", "tokens in a shard, at most one document more (default 268435456)" },
        { 0 },
    };
    const hone_cli_command command = { "prepare", "--tokenizer PATH --output DIR [options] FILE...",
        "Turns text into tokens to train on: memory-mapped shards with an index of documents and a held-out part.\n"
        "FILE is plain text, or JSONL (.jsonl) with the text in a field; .gz and .zst of both are read as they are.",
        "hone prepare --tokenizer tok.json --output data/novels novels/*.txt", options };
    bool done;
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (!o.tokenizer) return hone_fail_usage("prepare: --tokenizer PATH is missing; `hone tokenizer train` makes one");
    if (!o.output) return hone_fail_usage("prepare: --output DIR is missing");
    if (argc == 0) return hone_fail_usage("prepare: no files are given");
    if (shard_tokens < 0) return hone_fail_usage("prepare: --shard-tokens %" PRId64 " must be positive", shard_tokens);
    o.files = (const char *const *)argv;
    o.n_files = argc;
    o.seed = (uint64_t)seed;
    o.shard_tokens = shard_tokens;
    bool terminal = isatty(2);
    if (terminal) o.progress = show_progress;
    hone_prepare_report report;
    status = hone_prepare(&o, &report);
    if (terminal) fprintf(stderr, "\r\033[K");
    if (!status) print_report(&o, &report);
    return status;
}
