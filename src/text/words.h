// words.h: how often each piece of text occurs: a hash table of byte strings.
#pragma once
#include "base/memory.h"

typedef struct hone_word { uint64_t hash; size_t offset; uint32_t size; int64_t count; } hone_word; // bytes[offset, + size)
typedef struct hone_words {
    hone_word *word; int64_t count, capacity;
    int32_t *slot; int64_t slots;       // a power of two; -1 free
    hone_buffer bytes;
} hone_words;

hone_status hone_words_add(hone_words *words, const char *text, size_t size, uint64_t hash, int64_t count);
uint64_t hone_words_hash(const char *text, size_t size);
void hone_words_release(hone_words *words);
