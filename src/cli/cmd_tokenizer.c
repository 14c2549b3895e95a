// cmd_tokenizer.c: the words of hone tokenizer, but for encode and decode: tokenizer_lines.c.
#include "base/cpu.h"
#include "base/file.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "data/learn.h"
#include "io/transplant.h"
#include "text/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void show_progress(void *context, int64_t bytes, int64_t vocab)
{
    (void)context;
    if (vocab) fprintf(stderr, "\r  %.1f MB read  %" PRId64 " tokens \033[K", (double)bytes / 1e6, vocab);
    else fprintf(stderr, "\r  %.1f MB read \033[K", (double)bytes / 1e6);
    fflush(stderr);
}

hone_status hone_cmd_tokenizer_train(int argc, char **argv)
{
    hone_learn_options o = { .trainer = { .vocab = 16384 }, .text_field = "text" };
    hone_cli_texts special = { .text = { "<|endoftext|>" } };
    const char *model = "bpe";
    int64_t memory_mib = 0;
    const hone_cli_option options[] = {
        { "output", HONE_CLI_TEXT, &o.output, "PATH", "tokenizer.json to write, or a folder for it and tokenizer_config.json (required)" },
        { "vocab", HONE_CLI_INT, &o.trainer.vocab, "N", "size of the vocabulary (default 16384)" },
        { "model", HONE_CLI_TEXT, &model, "NAME", "bpe (byte level, the default) or unigram" },
        { "min-count", HONE_CLI_INT, &o.trainer.min_count, "N", "pairs that occur less often are not merged (default 0)" },
        { "memory", HONE_CLI_INT, &memory_mib, "MIB", "for the counts; above, they go to disk beside the output (default a quarter of what is free)" },
        { "special", HONE_CLI_TEXTS, &special, "TOKEN", "special token, may be given several times; the first closes texts (default <|endoftext|>)" },
        { "text-field", HONE_CLI_TEXT, &o.text_field, "NAME", "field of JSONL records that holds the text (default text)" },
        { 0 },
    };
    const hone_cli_command command = { "tokenizer train", "--output PATH [options] FILE...",
        "Learns a vocabulary, byte-level BPE or Unigram, from plain text or JSONL (.gz and .zst of both), as tokenizer.json, which\n"
        "Hugging Face tokenizers and transformers load.",
        "hone tokenizer train --vocab 8192 --output tok.json novels/*.txt", options };
    bool done;
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (!o.output) return hone_fail_usage("tokenizer train: --output PATH is missing");
    o.trainer.unigram = strcmp(model, "unigram") == 0;
    if (!o.trainer.unigram && strcmp(model, "bpe") != 0) return hone_fail_usage("tokenizer train: --model %s: expected bpe or unigram", model);
    if (argc == 0) return hone_fail_usage("tokenizer train: no files are given");
    if (memory_mib < 0) return hone_fail_usage("tokenizer train: --memory %" PRId64 ": at least 1", memory_mib);
    o.trainer.memory_bytes = memory_mib << 20;
    o.trainer.special = special.text;
    o.trainer.n_special = special.count ? special.count : 1;
    o.files = (const char *const *)argv;
    o.n_files = argc;
    bool terminal = isatty(2);
    if (terminal) o.progress = show_progress;
    hone_learn_report r;
    status = hone_learn_tokenizer(&o, &r);
    if (terminal) fprintf(stderr, "\r\033[K");
    if (status) return status;
    printf("%s  %" PRId64 " tokens from %.1f MB, %" PRId64 " distinct pieces; counted in %.2f s, learned in %.2f s\n", o.output, r.vocab,
           (double)r.bytes / 1e6, r.words, r.read_seconds, r.learn_seconds);
    if (r.spilled) printf("  the counts took more than the memory given and went by way of the disk%s\n", r.dropped ? "" : "; nothing was left out");
    if (r.dropped) printf("  %" PRId64 " rare pieces had no room and were left out; --memory gives more\n", r.dropped);
    if (r.vocab < o.trainer.vocab)
        printf("  the text has no more pairs to merge: %" PRId64 " of %" PRId64 " tokens; a model's vocab_size may stay at the former\n", r.vocab, o.trainer.vocab);
    return HONE_OK;
}

// --- inspect

static hone_status show_pieces(const hone_tokenizer *tokenizer, const char *text)
{
    hone_ids ids = { 0 };
    hone_status status = hone_tokenizer_encode(tokenizer, text, strlen(text), 0, &ids);
    bool colour = hone_cli_colour(1);
    if (!status) printf("  ");
    for (int64_t i = 0; i < ids.count && !status; i++) {
        size_t size, plain_size;
        const char *token = hone_tokenizer_token(tokenizer, ids.data[i], &size), *plain = hone_tokenizer_token_bytes(tokenizer, ids.data[i], &plain_size);
        bool shows = plain_size && hone_utf8_valid(plain, plain_size) == plain_size && !memchr(plain, '\n', plain_size); // else as the vocabulary writes it
        if (shows) { token = plain; size = plain_size; }
        if (colour) printf("\033[30;%dm%.*s\033[0m", 41 + (int)(i % 6), (int)size, token);
        else printf("%s%.*s", i ? "|" : "", (int)size, token);
    }
    if (!status) printf("\n  %zu bytes, %" PRId64 " tokens\n", strlen(text), ids.count);
    hone_free(ids.data);
    return status;
}

// Bytes per token on the texts of files, cut at blank lines, and how fast they were encoded.
static hone_status measure(const hone_tokenizer *tokenizer, const hone_cli_texts *files)
{
    int threads;
    const char **text = NULL;
    size_t *size = NULL, file_size;
    int64_t count = 0, text_capacity = 0, size_capacity = 0, bytes = 0, tokens = 0;
    char *data[32] = { 0 };
    hone_ids *ids = NULL;
    hone_status status = hone_cpu_threads(&threads);
    for (int f = 0; f < files->count && !status; f++) {
        status = hone_file_read(files->text[f], &data[f], &file_size);
        for (size_t at = 0, next; !status && at < file_size; at = next) {
            const char *blank = memmem(data[f] + at, file_size - at, "\n\n", 2);
            next = blank ? (size_t)(blank - data[f]) + 2 : file_size;
            if (hone_grow(&text, count, &text_capacity, sizeof *text) || hone_grow(&size, count, &size_capacity, sizeof *size)) { status = HONE_FAILED; break; }
            text[count] = data[f] + at;
            size[count++] = next - at;
            bytes += (int64_t)(next - at);
        }
    }
    if (!status && !(ids = hone_alloc((size_t)count + 1, sizeof *ids))) status = HONE_FAILED;
    double began = hone_clock_s();
    if (!status) status = hone_tokenizer_encode_many(tokenizer, count, text, size, 0, ids);
    double seconds = hone_clock_s() - began;
    for (int64_t i = 0; ids && i < count; i++) { tokens += ids[i].count; hone_free(ids[i].data); }
    if (!status) printf("  measured       %" PRId64 " bytes in %" PRId64 " texts: %" PRId64 " tokens, %.3f bytes per token; encoded in %.3f s, %.1f MB/s on %d thread%s\n", bytes, count, tokens,
                        tokens ? (double)bytes / (double)tokens : 0.0, seconds, (double)bytes / 1e6 / seconds, threads, threads > 1 ? "s" : "");
    for (int f = 0; f < files->count; f++) hone_free(data[f]);
    hone_free(text);
    hone_free(size);
    hone_free(ids);
    return status;
}

hone_status hone_cmd_tokenizer_inspect(int argc, char **argv)
{
    const char *text = NULL;
    hone_cli_texts files = { .count = 0 };
    const hone_cli_option options[] = {
        { "text", HONE_CLI_TEXT, &text, "TEXT", "show the tokens of this text" },
        { "measure", HONE_CLI_TEXTS, &files, "FILE", "encode a plain text: bytes per token, MB/s; may be given several times" },
        { 0 },
    };
    const hone_cli_command command = { "tokenizer inspect", "[options] PATH", "What a tokenizer is made of: model, sizes, components, special tokens. PATH is a tokenizer.json, a tiktoken\n"
                                       "rank file, a SentencePiece model, GPT-2's vocab.json (merges.txt beside it), or a folder with one of them.",
                                       "hone tokenizer inspect --text 'Hello world' tok.json", options };
    bool done;
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 1) return hone_fail_usage("tokenizer inspect: one PATH is expected");
    hone_tokenizer *tokenizer;
    if ((status = hone_tokenizer_load(argv[0], &tokenizer))) return status;
    hone_buffer lines = { 0 };
    status = hone_tokenizer_describe(tokenizer, &lines);
    if (!status) printf("%s\n%s", argv[0], lines.data);
    if (!status && files.count) status = measure(tokenizer, &files);
    if (!status && text) status = show_pieces(tokenizer, text);
    hone_buffer_release(&lines);
    hone_tokenizer_free(tokenizer);
    return status;
}

// --- transplant

hone_status hone_cmd_tokenizer_transplant(int argc, char **argv)
{
    int64_t add = 1000, rows = 0;
    const char *output = NULL;
    hone_learn_options o = { .text_field = "text" };
    const hone_cli_option options[] = {
        { "output", HONE_CLI_TEXT, &output, "DIR", "folder for the new model (required)" },
        { "add", HONE_CLI_INT, &add, "N", "how many tokens to add (default 1000)" },
        { "min-count", HONE_CLI_INT, &o.trainer.min_count, "N", "pairs that occur less often are not joined (default 0)" },
        { "text-field", HONE_CLI_TEXT, &o.text_field, "NAME", "field of JSONL records that holds the text (default text)" },
        { 0 },
    };
    const hone_cli_command command = { "tokenizer transplant", "--output DIR [options] MODEL FILE...",
        "Adds the frequent pieces of a domain's text to a model's BPE tokenizer. Each new token begins as the mean of the\n"
        "embeddings that its text had before. MODEL is a Hugging Face folder; so is what comes out.",
        "hone tokenizer transplant --add 2000 --output gpt2-medical gpt2 medical/*.jsonl", options };
    bool done;
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (!output) return hone_fail_usage("tokenizer transplant: --output DIR is missing");
    if (argc < 2) return hone_fail_usage("tokenizer transplant: a model's folder and at least one file are expected");
    if (add < 1) return hone_fail_usage("tokenizer transplant: --add %" PRId64 ": at least 1", add);
    hone_tokenizer *old = NULL, *extended = NULL;
    hone_learn_report r = { 0 };
    if (hone_dir_exists(output)) return hone_fail("%s: exists already; choose another --output", output);
    if ((status = hone_tokenizer_load(argv[0], &old))) return status;
    char *temporary = hone_format("%s.tmp", output); // complete or absent
    o.trainer.base = old;
    o.trainer.vocab = hone_tokenizer_vocab(old) + add;
    o.files = (const char *const *)argv + 1;
    o.n_files = argc - 1;
    o.output = temporary;
    if (isatty(2)) o.progress = show_progress;
    if (!temporary) status = HONE_FAILED;
    if (!status) status = hone_dir_remove(temporary);
    if (!status) status = hone_learn_tokenizer(&o, &r);
    if (isatty(2)) fprintf(stderr, "\r\033[K");
    if (!status) status = hone_tokenizer_load(temporary, &extended);
    if (!status) status = hone_hf_transplant(argv[0], temporary, old, extended);
    if (!status) status = hone_dir_publish(temporary, output);
    if (status && temporary) hone_dir_remove(temporary);
    rows = extended ? hone_tokenizer_vocab(extended) - hone_tokenizer_vocab(old) : 0;
    if (!status) printf("%s  %" PRId64 " tokens added to %" PRId64 ", from %.1f MB of text\n", output, rows, hone_tokenizer_vocab(old), (double)r.bytes / 1e6);
    if (!status && rows < add) printf("  the text has no more pairs to join: %" PRId64 " of %" PRId64 "\n", rows, add);
    hone_tokenizer_free(old);
    hone_tokenizer_free(extended);
    hone_free(temporary);
    return status;
}
