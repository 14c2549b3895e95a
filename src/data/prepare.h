// prepare.h: text to a data set (dataset.h): read, take out texts, tokenize on all cores, split, write; published whole or
// not at all.
//
// A document goes to the held-out part by its own hash, so that equal documents are on one side, and the split does not
// change with the order of files. Every document ends with the tokenizer's eos. The data set depends on input and options
// alone: not on threads, nor on how often the work was stopped and gone on with.
//
// Conversations (chat_mark.h) carry a column of trained tokens, end as their template ends them (no eos is added), and are not cut. Their
// sets are made in one go: a run that was stopped begins anew.
//
// Memory: two batches of at most 8 MiB of text (or one document, where that is longer) with their ids, the index of the open
// shard (12 bytes a document), the tokenizer. It grows with the input by no more than what filters remember (clean.h).
#pragma once
#include "data/chat_mark.h"
#include "data/dataset.h"
#include "data/inputs.h"
#include "recipe/recipe.h"
#include "text/tokenizer.h"

typedef struct hone_prepare_progress {
    double seconds;
    int64_t file_bytes, file_bytes_total;   // read so far, of all files as they lie on disk; total 0: unknown
    int64_t documents, tokens, bytes;
    int64_t text_bytes;                     // of text that this process took, kept or dropped; what an earlier one did is not in it
} hone_prepare_progress;

typedef struct hone_prepare_options {
    const char *tokenizer;          // path
    const char *output;             // folder to make; must not exist
    const char *const *files; int64_t n_files;  // as in inputs.h
    const char *format;             // NULL: by name
    const char *text_field;         // of records
    const char *template;           // of records, in place of text_field; NULL none
    const char *separator;          // of plain text; NULL none
    const char *eos;                // content of the token that closes documents, NULL: the tokenizer's own
    double held_out;                // share of documents, [0, 1)
    uint64_t seed;                  // of the split
    int64_t document_bytes;         // plain text is cut into documents of about this; 0: a file is a document
    int64_t shard_tokens;           // a shard is closed at the first batch that fills it; 0: the default, 2^28
    bool chat;                      // records are conversations, rendered by the chat template of the tokenizer's folder
    const char *chat_template;      // or by the one in this file; NULL: none
    hone_chat_rules rules;          // of what is trained
    bool allow_dropped;             // more than 1 % of the conversations may be left out
    const hone_recipe *recipe;      // its keys of cleaning (filters.def); NULL: none
    bool strict;                    // invalid UTF-8, empty documents, over-long lines are errors
    void (*progress)(void *context, const hone_prepare_progress *progress); // NULL: none
    bool (*stop)(void *context);    // asked between batches; NULL: never
    void *context;
} hone_prepare_options;

enum { HONE_LONG_LINE_BYTES = 100000 };

typedef struct hone_prepare_report {
    int64_t documents[HONE_SPLIT_COUNT], bytes[HONE_SPLIT_COUNT], tokens[HONE_SPLIT_COUNT], shards[HONE_SPLIT_COUNT];
    int64_t text_bytes;             // that this process took, kept or dropped
    int64_t empty;                  // documents without a byte, left out
    int64_t invalid;                // documents with bytes that are not UTF-8
    int64_t long_lines;             // documents with a line of more than HONE_LONG_LINE_BYTES
    int64_t fate[HONE_CHAT_FATES];  // of documents that have text: kept, or why not
    int64_t trained_tokens;         // of conversations
    int64_t files, passed_over;     // inputs; files in folders of no known format
    char *passed_example;           // hone_prepare_report_release()
    json_t *cleaning;               // account of the filters (clean.h), in the order of their table; NULL: there are none
    int64_t vocab;
    double seconds;
    bool resumed;                   // an earlier, killed run was gone on with
    int64_t resumed_bytes;          // of text that it had done
    bool stopped;                   // by options.stop: what is done waits in the temporary folder for the same command
} hone_prepare_report;

void hone_prepare_report_release(hone_prepare_report *report);
// A run that was stopped is HONE_OK with report.stopped.
hone_status hone_prepare(const hone_prepare_options *options, hone_prepare_report *report);
