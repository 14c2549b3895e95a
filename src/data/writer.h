// writer.h: a data set (dataset.h) being written, for `hone prepare` and others that make one: whole documents are added,
// then it is finished (published by rename), aborted (nothing is left), or kept aside to go on later.
#pragma once
#include "data/dataset.h"
#include "base/json.h"

enum { HONE_SHARD_TOKENS = 1 << 28 };

typedef struct hone_dataset_writer {
    char *path, *temporary;
    hone_shard_writer shard[HONE_SPLIT_COUNT]; bool open[HONE_SPLIT_COUNT];
    bool with_trained;                              // set before the first document: the column of dataset.h is written
    hone_shard_writer trained[HONE_SPLIT_COUNT];
    json_t *shards[HONE_SPLIT_COUNT];               // rows of data.json
    int64_t documents[HONE_SPLIT_COUNT], bytes[HONE_SPLIT_COUNT], tokens[HONE_SPLIT_COUNT];
    int64_t vocab, eos, shard_tokens;
    uint64_t tokenizer;
} hone_dataset_writer;

char *hone_dataset_writer_temporary(const char *path);  // where it lies until it is whole; hone_free() it
// shard_tokens: a shard is closed by the document that fills it to this many; 0: the caller flushes. state: of hone_dataset_writer_describe, at
// a moment when no shard was open: what lies in the temporary folder is gone on with; NULL: it is removed.
hone_status hone_dataset_writer_open(hone_dataset_writer *writer, const char *path, int64_t vocab, uint64_t tokenizer, int64_t eos, int64_t shard_tokens, const json_t *state);
// source: index in data.json's list "sources".
hone_status hone_dataset_writer_add(hone_dataset_writer *writer, hone_split split, const int32_t *ids, int64_t count, int64_t text_bytes, int64_t source);
// The same with 1 for each id that is trained, 0 for the others (with_trained).
hone_status hone_dataset_writer_add_trained(hone_dataset_writer *writer, hone_split split, const int32_t *ids, const int32_t *trained, int64_t count, int64_t text_bytes, int64_t source);
hone_status hone_dataset_writer_flush(hone_dataset_writer *writer);    // closes the open shards: they are on disk, whole
// Members of data.json so far, and more (NULL none, borrowed). NULL: memory ran out.
json_t *hone_dataset_writer_describe(const hone_dataset_writer *writer, json_t *more);
hone_status hone_dataset_writer_finish(hone_dataset_writer *writer, json_t *more);
void hone_dataset_writer_abort(hone_dataset_writer *writer);
void hone_dataset_writer_keep(hone_dataset_writer *writer);            // the temporary folder stays
