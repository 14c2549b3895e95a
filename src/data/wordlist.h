// wordlist.h: a text as words, for filters.
//
//     shown   runs without white space, as they stand: what Gopher's rules count
//     plain   runs of letters and digits, ASCII in lower case: what is compared ("Don't!" and "don t" are alike); every byte
//             above ASCII counts as a letter
#pragma once
#include "base/memory.h"
#include <stdbool.h>

typedef struct hone_word { size_t at, size; uint64_t hash; } hone_word;    // hash: of the plain form
typedef struct hone_wordlist { hone_word *word; int64_t count, capacity; } hone_wordlist;

hone_status hone_wordlist_shown(hone_wordlist *list, const char *text, size_t size);   // in place of what was there; no hashes
hone_status hone_wordlist_plain(hone_wordlist *list, const char *text, size_t size);
void hone_wordlist_release(hone_wordlist *list);

static inline bool hone_is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static inline bool hone_is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 128; }
static inline bool hone_is_digit(char c) { return c >= '0' && c <= '9'; }
// The hash of `n` words in a row.
static inline uint64_t hone_words_hash(const hone_word *word, int64_t n)
{
    uint64_t h = 0x2545F4914F6CDD1Du;
    for (int64_t i = 0; i < n; i++) h = (h ^ word[i].hash) * 0x9FB21C651E98DF25u, h ^= h >> 32;
    return h;
}
