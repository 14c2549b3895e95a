// dataset.h: what a run trains on: one split of a prepared folder, or a raw token file, as one long row of tokens.
//
//     DIR/data.json        what it is: tokenizer, counts of both splits, shards, sources
//     DIR/train-00000.bin  DIR/train-00001.bin ...   DIR/held-00000.bin ...     (shards.h)
//     DIR/train-00000-trained.bin ...   where not every token is trained: 1 or 0 for each, in a file of the same form with the same documents
//     data.json says "pairs": documents 2i and 2i+1 are the conversations with the chosen and the rejected reply of pair i
//     DIR/tokenizer.json   DIR/tokenizer_config.json    what the ids mean
//
// A raw file of u16 or u32 ids (name.u16, name.u32) is a data set too: all of it is the split `train`, it has no
// documents unless the id that closes one is given, and its bytes of text are unknown.
#pragma once
#include "data/shards.h"

typedef enum { HONE_SPLIT_TRAIN, HONE_SPLIT_HELD, HONE_SPLIT_COUNT } hone_split;
extern const char *const hone_split_name[HONE_SPLIT_COUNT]; // "train", "held"
enum { HONE_DATASET_VERSION = 2, HONE_TRAINED_VALUES = 2 };

typedef struct hone_dataset {
    char *path;
    hone_split split;
    hone_shard *shard; int64_t n_shards;
    hone_shard *trained;            // (n_shards,) NULL: every token is trained
    int64_t *first;                 // (n_shards + 1,) position of each shard's first token in the whole
    int64_t n_tokens, n_documents, n_bytes; // of this split; n_bytes 0: unknown
    int64_t vocab;                  // of the tokenizer; 0 unknown (raw file)
    uint64_t tokenizer;             // identity hash; 0 unknown
    int64_t eos;                    // id that closes documents, -1 unknown
    bool raw, pairs;
    int64_t reads;
} hone_dataset;

// vocab: the model's vocabulary (ids outside are refused with file and position when read; a tokenizer with more ids is
// refused here). tokenizer: identity hash that the data must have been made with, 0 not to check. eos: for raw files,
// -1 for none. A split without tokens is an error that names it.
hone_status hone_dataset_open(hone_dataset *dataset, const char *path, hone_split split, int64_t vocab,
                              uint64_t tokenizer, int64_t eos);
void hone_dataset_close(hone_dataset *dataset);
bool hone_dataset_is_raw(const char *path);             // by its name
hone_status hone_dataset_has_split(const char *path, hone_split split, bool *has);  // with at least one token

// out[i] = token at position + i. Keeps only its own pages resident: this process stays small however long the data is.
hone_status hone_dataset_read(hone_dataset *dataset, int64_t position, int64_t count, int32_t *out);
hone_status hone_dataset_read_trained(hone_dataset *dataset, int64_t position, int64_t count, int32_t *out); // 1 or 0; only where dataset->trained
// Ends of the documents that reach into [position, position + count): ascending positions behind each, the last one at or
// after position + count. Not for raw files. ends: room for count + 1. Returns how many.
int64_t hone_dataset_ends(const hone_dataset *dataset, int64_t position, int64_t count, int64_t *ends);
// Which of data.json's sources the document at a position came from. Not for raw files.
int64_t hone_dataset_source(const hone_dataset *dataset, int64_t position);
int64_t hone_dataset_document(const hone_dataset *dataset, int64_t position);   // number in the split, from 0, of the one at a position. Not for raw files
hone_status hone_dataset_verify(hone_dataset *dataset); // every checksum and every id
