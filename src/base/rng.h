// rng.h: counter-based random numbers (Philox 4x32-10; Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
// A number is a function of (seed, purpose, index), never of call order: resume, another batch split or another number of
// ranks draw the same.
#pragma once
#include <stdint.h>

typedef enum {            // purpose: one stream each; append only, the numbers are part of checkpoints' meaning
    HONE_RNG_INIT = 1, HONE_RNG_ORDER = 2, HONE_RNG_SAMPLE = 3, HONE_RNG_SPLIT = 4, HONE_RNG_DROPOUT = 5, HONE_RNG_TEST = 6, HONE_RNG_SEARCH = 7
} hone_rng_purpose;

// The bare generator: replaces the counter by its four random words.
void hone_rng_philox(uint32_t counter[4], uint32_t key0, uint32_t key1);
// out: four independent u32 for (seed, purpose, stream, index).
void hone_rng_block(uint64_t seed, hone_rng_purpose purpose, uint32_t stream, uint64_t index, uint32_t out[4]);
double hone_rng_uniform(uint64_t seed, hone_rng_purpose purpose, uint32_t stream, uint64_t index); // [0, 1), 53 bits
double hone_rng_normal(uint64_t seed, hone_rng_purpose purpose, uint32_t stream, uint64_t index);  // N(0, 1), Box-Muller
// A keyed permutation of 0..n-1 without a table (Feistel network with cycle walking): the i-th element.
int64_t hone_rng_permute(uint64_t seed, hone_rng_purpose purpose, uint32_t stream, int64_t n, int64_t i);
