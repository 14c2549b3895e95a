// loader.h: rows of tokens for training and evaluation, as a pure function of (seed, row number).
//
// Row r is a window of T + 1 tokens of the split; its first T are inputs, its last T their targets. Which window:
//
//     shuffled     the (n-1)/T windows that start at multiples of T, permuted anew in every epoch: window
//                  permute(seed, stream, epoch)[r mod windows], epoch = r / windows. What training uses.
//     sequential   starts at (r T) mod (n - T - 1): the order of ../shared/bench/peer.py, for parity.
//     once         starts at r T, each token predicted once, the last window padded (weight 0); rows behind the last
//                  window are all padding. What evaluation uses.
//
// Or a row is some documents, whole (packing.h), and padding (weight 0) behind them; `shuffled` permutes these rows in every epoch,
// `once` takes them in order. A document's last token is a target only, so each begins a document of its own under isolation.
//
// So the whole state is one integer, the next row: resume is exact, and any split of a step into micro-batches reads the
// same rows.
//
// Of pairs of replies a row has whole pairs, isolated always; weight is -1 in a rejected reply.
//
// Packing isolation (on by default): a window that holds several documents keeps them apart. Attention and positions
// restart at each document's first token in the window, and the token that closes a document has weight 0, since the
// beginning of the next, unrelated one cannot be foretold. Off: the window is one text, all T tokens are trained.
//
//     window       ... the end . eos Once upon a time          (isolation on)
//     pos           5   6   7  8  9   0    1   2  3
//     lo            0   0   0  0  0   5    5   5  5
//     weight        1   1   1  1  0   1    1   1  1
// Data that says which tokens are trained (dataset.h) gives weight 1 where the target is one of them, by the same rules else.
#pragma once
#include "data/packing.h"

typedef enum { HONE_ORDER_SHUFFLED, HONE_ORDER_SEQUENTIAL, HONE_ORDER_ONCE } hone_order;
typedef enum { HONE_PACK_WINDOWS, HONE_PACK_WHOLE, HONE_PACK_AUTO } hone_packing_strategy;

typedef struct hone_loader_options {
    const char *path;           // dataset folder, or raw .u16/.u32 file
    hone_split split;
    hone_order order;
    uint64_t seed;              // of the shuffle
    uint32_t stream;            // of the shuffle: which source of a mixture, below 4096
    int64_t window;             // T
    bool isolation;
    hone_packing_strategy strategy; // auto: whole documents where the data says which tokens are trained (conversations), else windows
    int64_t vocab;              // the model's vocabulary: ids outside are refused with file and position
    uint64_t tokenizer;         // the model's tokenizer (hone_tokenizer_identity), 0 not to check
    int64_t eos;                // raw files: the id that closes documents, -1 none (then isolation has no effect)
    bool pairs;                 // the data must be pairs of replies; else it must not
} hone_loader_options;

// Host arrays of N = rows * T tokens, the inputs of programs micro and score (model/decoder.h); any may be NULL.
typedef struct hone_batch {
    int32_t *ids, *target;      // target: the next token of the window
    int32_t *pos;               // tokens since lo
    int32_t *lo, *hi;           // attention sees rows [lo, hi) of the batch: lo first of the document in its window, hi = row + 1
    float *weight;              // 1 trained (or counted), 0 not; the caller scales by 1 / trained tokens of the step
    int64_t trained;            // out: how many weights are not 0
    int32_t *pair;              // of pairs: which of the batch's a token is of, 0 in padding
    float *reference;           // (pairs, 2) hone_loader.reference of their replies; 0 where that is NULL
    int64_t *document;          // (pairs,) number in the split of the chosen reply's document
    int64_t n_pairs;            // out
} hone_batch;

typedef struct hone_loader {
    hone_dataset data;
    hone_packing packing;           // n_rows 0: windows
    hone_loader_options options;    // .path is the dataset's copy
    int64_t windows;                // rows in an epoch
    int64_t row;                    // the state: the next row
    int32_t *scratch, *trained; int64_t *ends;  // trained: NULL where all of the data is
    const float *reference;         // (documents,) of pairs: log-probability of each reply under the model that training starts from; borrowed
} hone_loader;

// Fails where the split has fewer than T + 1 tokens (once: 2), with both numbers, and where rows of whole documents are asked for in
// the order `sequential` or of a raw file.
hone_status hone_loader_open(hone_loader *loader, const hone_loader_options *options);
void hone_loader_close(hone_loader *loader);
// Fills the next `rows` rows and advances. On failure the state has not moved.
hone_status hone_loader_next(hone_loader *loader, int64_t rows, hone_batch *batch);
int64_t hone_loader_position(const hone_loader *loader, int64_t row, int64_t t);    // in the split, of the token at place t of the row; -1: padding
int64_t hone_loader_used(const hone_loader *loader, int64_t row);   // places of the row that are not padding
double hone_loader_padding(const hone_loader *loader);              // share of all places of an epoch
// Row `row` into place `at` of the batch, wherever the loader stands; batch->trained grows.
hone_status hone_loader_read(hone_loader *loader, int64_t row, int64_t at, hone_batch *batch);
static inline void hone_loader_seek(hone_loader *loader, int64_t row) { loader->row = row; }

// Tokens read so far from the source called hone_loader_source() (its folder's or file's name), and epochs begun.
int64_t hone_loader_tokens_seen(const hone_loader *loader);
const char *hone_loader_source(const hone_loader *loader);
double hone_loader_epochs(const hone_loader *loader);
// Average bytes of text per token of the split, so that bits per byte = nats per token / ln 2 / this. 0: unknown (raw
// file). Exact for whole splits; for a part, sum hone_tokenizer_token_bytes() over the counted targets.
double hone_loader_bytes_per_token(const hone_loader *loader);
