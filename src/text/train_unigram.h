// train_unigram.h: learns the tokens of a Unigram model from words and how often each occurs. See train_unigram.c.
#pragma once
#include "text/words.h"

typedef struct hone_unigram_piece { size_t offset; uint32_t size; double score; } hone_unigram_piece; // in bytes
typedef struct hone_unigram { hone_unigram_piece *piece; int64_t count, capacity; hone_buffer bytes; } hone_unigram;

// As many pieces as asked for, or fewer where the words hold no more; best scores first. The same at any number of threads.
hone_status hone_unigram_learn(const hone_words *words, int64_t pieces, hone_unigram *out, void (*progress)(void *context, int64_t pieces), void *context);
void hone_unigram_release(hone_unigram *unigram);
