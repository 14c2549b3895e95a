// minhash.h: near duplicates by MinHash and locality-sensitive hashing (Broder 1997, "On the resemblance and containment of
// documents"; Indyk and Motwani 1998).
//
//     a text's set      its runs of `shingle` words (all of it where it is shorter)
//     signature         for each of bands x rows hash functions the least value over the set: two texts agree in one of them
//                       with probability s, the Jaccard similarity of their sets
//     a band            `rows` values hashed to one key; two texts share at least one key with probability 1 - (1 - s^rows)^bands
//
// 14 x 8 over 5 words, FineWeb's choice, finds s = 0.75 in 77 of 100 cases, 0.8 in 92, 0.9 in 99.9, and s = 0.5 in 5.
#pragma once
#include "data/wordlist.h"

// key: (bands,). words: plain. 0 words: nothing, and false. scratch: (bands * rows,)
bool hone_minhash_keys(const hone_wordlist *words, int64_t shingle, int64_t bands, int64_t rows, uint32_t *scratch, uint64_t *key);
double hone_minhash_chance(double similarity, int64_t bands, int64_t rows);    // of sharing a key
