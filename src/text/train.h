// train.h: learns a vocabulary from text, as tokenizer.json: byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909) or
// Unigram (Kudo 2018, arXiv:1804.10959).
//
//     text -> pieces (GPT-2's pattern) -> how often each distinct piece occurs -> merge the most frequent pair, again and again
//
// The result equals Hugging Face tokenizers' BpeTrainer with initial_alphabet=ByteLevel.alphabet() on the same texts: ids
// are special tokens, then the 256 bytes in the order of their characters, then merges; ties between pairs of equal count
// go to the lower ids. It depends neither on the order of texts nor on the number of threads, nor on memory_bytes unless
// words had to be left out.
//
// A Unigram model (train_unigram.c) counts words that begin with a space, written ▁; ids are special tokens, <unk>, the 256
// bytes (any text can be written), then pieces, the likeliest first. It decodes to the very text as well.
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hone_trainer hone_trainer;
typedef struct hone_trainer_options {
    int64_t vocab;                          // size to reach; at least special tokens + 256
    int64_t min_count;                      // pairs that occur less often are not merged
    const char *const *special; int64_t n_special;  // first ids; the first one closes texts (eos)
    bool unigram;                           // a Unigram model, not BPE
    int64_t memory_bytes;                   // of the table of words; 0: no bound. Above, counts go to disk:
    const char *spill_folder;               // a folder for them, made when needed and removed in the end
    const struct hone_tokenizer *base;      // not NULL: extends this BPE tokenizer to `vocab` ids; borrowed
} hone_trainer_options;

hone_status hone_trainer_new(hone_trainer **trainer, const hone_trainer_options *options);
void hone_trainer_free(hone_trainer *trainer);
// Counts the pieces of n texts, on all cores. by_line: each line, with its end, is a text of its own.
hone_status hone_trainer_add(hone_trainer *trainer, int64_t n, const char *const *text, const size_t *size, bool by_line);
// Learns the merges. progress (may be NULL) is told now and then how large the vocabulary is.
hone_status hone_trainer_run(hone_trainer *trainer, void (*progress)(void *context, int64_t vocab), void *context);
int64_t hone_trainer_vocab(const hone_trainer *trainer);    // reached; less than asked for where the text has no more pairs
int64_t hone_trainer_words(const hone_trainer *trainer);    // distinct pieces
int64_t hone_trainer_dropped(const hone_trainer *trainer);  // rare ones that memory_bytes had no room for
bool hone_trainer_spilled(const hone_trainer *trainer);     // counts went to disk
hone_status hone_trainer_save(const hone_trainer *trainer, const char *path);   // tokenizer.json
