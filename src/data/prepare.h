// prepare.h: text files to a data set (dataset.h): read, tokenize on all cores, split, write; published whole or not at all.
//
// A document goes to the held-out part by its own hash, so that equal documents are on one side, and the split does not
// change with the order of files. Every document ends with the tokenizer's eos.
#pragma once
#include "data/dataset.h"
#include "text/tokenizer.h"

typedef struct hone_prepare_progress {
    double seconds;
    int64_t file_bytes, file_bytes_total;   // read so far, of all files as they lie on disk
    int64_t documents, tokens, bytes;
} hone_prepare_progress;

typedef struct hone_prepare_options {
    const char *tokenizer;          // path
    const char *output;             // folder to make; must not exist
    const char *const *files; int64_t n_files;
    const char *text_field;         // of JSONL
    const char *eos;                // content of the token that closes documents, NULL: the tokenizer's own
    double held_out;                // share of documents, [0, 1)
    uint64_t seed;                  // of the split
    int64_t document_bytes;         // plain text is cut into documents of about this; 0: a file is a document
    int64_t shard_tokens;           // a shard is closed when it holds this many; 0: the default, 2^28
    void (*progress)(void *context, const hone_prepare_progress *progress); void *context; // NULL: none
} hone_prepare_options;

typedef struct hone_prepare_report {
    int64_t documents[HONE_SPLIT_COUNT], bytes[HONE_SPLIT_COUNT], tokens[HONE_SPLIT_COUNT], shards[HONE_SPLIT_COUNT];
    int64_t empty;                  // documents without a byte, left out
    int64_t invalid;                // documents with bytes that are not UTF-8
    int64_t vocab;
    double seconds;
} hone_prepare_report;

hone_status hone_prepare(const hone_prepare_options *options, hone_prepare_report *report);

// The writing half, for others that make data sets: adds whole documents, then finishes (publishes) or aborts.
typedef struct hone_dataset_writer {
    char *path, *temporary;
    hone_shard_writer shard[HONE_SPLIT_COUNT]; bool open[HONE_SPLIT_COUNT];
    struct json_t *shards[HONE_SPLIT_COUNT];        // rows of data.json
    int64_t documents[HONE_SPLIT_COUNT], bytes[HONE_SPLIT_COUNT], tokens[HONE_SPLIT_COUNT];
    int64_t vocab, eos, shard_tokens;
    uint64_t tokenizer;
} hone_dataset_writer;
hone_status hone_dataset_writer_open(hone_dataset_writer *writer, const char *path, int64_t vocab, uint64_t tokenizer, int64_t eos, int64_t shard_tokens);
hone_status hone_dataset_writer_add(hone_dataset_writer *writer, hone_split split, const int32_t *ids, int64_t count, int64_t text_bytes);
// more: further members of data.json (NULL none), borrowed.
hone_status hone_dataset_writer_finish(hone_dataset_writer *writer, struct json_t *more);
void hone_dataset_writer_abort(hone_dataset_writer *writer);
