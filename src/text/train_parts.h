// train_parts.h: the inside of a trainer, shared by train.c and train_extend.c.
#pragma once
#include "text/parts.h"
#include "text/spill.h"
#include "text/train.h"
#include "text/train_unigram.h"
#include "text/words.h"

typedef struct { uint32_t left, right; int64_t count; int32_t step, last_word, fresh; } hone_pair; // step, last_word, fresh: of the step under way
typedef struct { int64_t count; uint32_t left, right; int32_t pair, n; int64_t first; } hone_pair_entry; // words: places[first, first + n)
typedef struct { int32_t pair, word; } hone_sighting;    // a pair that a merge created, and where

struct hone_trainer {
    hone_trainer_options options;
    hone_words words; hone_spill spill;
    hone_vocab vocab;                               // contents in GPT-2's alphabet
    int32_t byte_id[256];
    int32_t (*merge)[2]; int64_t n_merges, merge_capacity;

    int32_t *symbol; int64_t *start; int32_t *length;   // word w: symbol[start[w], + length[w])
    hone_pair *pair; int64_t n_pairs, pair_capacity;
    int32_t *slot; int64_t slots;                   // hash of pairs
    hone_pair_entry *heap; int64_t n_heap, heap_capacity;
    int32_t *place; int64_t n_places, place_capacity;
    hone_sighting *seen; int64_t n_seen, seen_capacity;
    int32_t *touched; int64_t n_touched, touched_capacity;
    int32_t step;

    hone_unigram unigram;                           // in place of merges
};

// train_extend.c: instead of the bytes' tokens, their words and their file, those of options.base
hone_status hone_trainer_begin_at(hone_trainer *trainer, const hone_tokenizer *base);
hone_status hone_trainer_lay_out_base(hone_trainer *trainer);   // symbol, start, length
json_t *hone_trainer_json_base(const hone_trainer *trainer);
