// pipeline.h: inside data/ only: documents on their way from the reader to the shards.
//
//     lane A   read | take out, encode  | write
//     lane B          (write), read     | take out, encode | write
//
// Two lanes of a batch each: while all threads work on one, whoever is free first writes the other and reads the next batch
// into it. The reading order is the writing order.
#pragma once
#include "data/chat_mark.h"
#include "data/clean.h"
#include "data/documents.h"
#include "data/prepare.h"
#include "data/writer.h"

typedef struct hone_item {      // a document on its way
    enum { HONE_IN_BATCH, HONE_IN_ROOM, HONE_IN_MASKED, HONE_IN_CUT } in;
    size_t offset, size;        // of its text there
    int64_t tokens;             // with eos; of conversations see part
    int64_t invalid;
    bool long_line;
    hone_split split;
    int64_t span;               // of conversations: trained bytes, in hone_item_job.span
    struct { size_t size; int64_t n_spans, tokens; } part[2]; // of a conversation, or of both of a pair, one behind the other: documents
    hone_chat_fate fate;        // likewise: kept where there is no chat
} hone_item;

typedef struct hone_item_job {  // neighbouring documents, some 64 KiB: what a thread takes at a time
    int64_t first, last;        // of the lane's documents, last excluded
    hone_buffer room, masked, cut; // texts that do not lie in the batch: taken out of records, masked, cut
    hone_buffer marks;          // keys of filters that compare
    hone_ids ids;               // of all its documents, one behind another
    hone_ids trained;           // of conversations: 1 or 0 for each of them
    hone_chat_text chat[2];     // room for one conversation, or for a pair's two
    hone_jinja_span *span; int64_t n_spans, span_capacity;
} hone_item_job;

typedef struct hone_lane {
    hone_document_batch batch;
    hone_item *item; int64_t item_capacity;
    hone_verdict *verdict; int64_t verdict_capacity; // (documents,) where there are filters
    hone_item_job *job; int64_t n_jobs, job_capacity;
    hone_document_position end; // of the reader behind this batch
} hone_lane;

typedef struct hone_pipeline {
    const hone_prepare_options *options;
    hone_prepare_report *report;
    hone_inputs inputs;
    hone_template fields;
    hone_document_options document_options;
    hone_tokenizer *tokenizer;
    hone_chat chat;             // the template, where records are conversations (options.chat)
    int32_t eos;
    uint64_t command;           // identity of options, inputs and tokenizer: what may be gone on with
    hone_document_reader reader;
    hone_dataset_writer writer;
    hone_lane lane[2];
    size_t batch_bytes;
    int64_t shard_tokens;
    int64_t unsaved_bytes;      // of input since the journal was last written
    hone_cleaning cleaning;
    hone_cleaner *cleaner; int n_cleaners;  // one a thread
    hone_writer keys; bool keys_open;       // what was remembered since the last journal, on its way to keys-N.bin
    size_t keys_ready;                      // bytes of cleaning.fresh that are of lanes written or being written
    json_t *key_files;                      // hashes of those that are whole
    double began_s;
} hone_pipeline;

hone_status hone_pipeline_run(hone_pipeline *p);
void hone_pipeline_release(hone_pipeline *p);

// journal.c: DIR.tmp/journal.json says how far the closed shards go. Written whenever shards were closed, so that a killed
// run loses no more than the open ones. keys-00000.bin ... beside it hold what filters remember.
uint64_t hone_journal_identity(const hone_pipeline *p);
hone_status hone_journal_write(hone_pipeline *p, const hone_document_position *at);
// *state: the journal of the same command, NULL where there is none (then what lies in the way may be removed).
hone_status hone_journal_read(const hone_pipeline *p, json_t **state);
// Counts and position out of it; the reader is opened there, the writer on what it names.
hone_status hone_journal_resume(hone_pipeline *p, const json_t *state);
hone_status hone_journal_spill(hone_pipeline *p);       // moves remembered keys to disk; cheap where there are few
bool hone_journal_exists(const hone_pipeline *p);
hone_status hone_journal_remove(const hone_pipeline *p);
