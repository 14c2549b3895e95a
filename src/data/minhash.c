// minhash.c: see minhash.h. The hash functions are x -> a x + b over 2^32 with random odd a: the order by their high bits is
// what counts, and those depend on all bits of x. The inner loop runs over functions, so that it is one of vectors; it is
// compiled for AVX2 as well, chosen at load time (3.4 times baseline x86-64, which has no 32-bit vector product).
#include "data/minhash.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/rng.h"

#include <math.h>

enum { MOST_FUNCTIONS = 4096, MINHASH_SEED = 20 };

HONE_AVX2_TOO static void take_least(uint32_t *restrict least, const uint32_t *restrict a, const uint32_t *restrict b, int64_t n, uint32_t x)
{
    for (int64_t k = 0; k < n; k++) {
        uint32_t value = a[k] * x + b[k];
        least[k] = value < least[k] ? value : least[k];
    }
}

static uint32_t factor[MOST_FUNCTIONS], term[MOST_FUNCTIONS];
__attribute__((constructor)) static void draw_functions(void)
{
    for (uint64_t k = 0; k < MOST_FUNCTIONS; k++) {
        uint32_t word[4];
        hone_rng_block(MINHASH_SEED, HONE_RNG_INIT, 0, k, word);
        factor[k] = word[0] | 1;
        term[k] = word[1];
    }
}

bool hone_minhash_keys(const hone_wordlist *words, int64_t shingle, int64_t bands, int64_t rows, uint32_t *scratch, uint64_t *key)
{
    int64_t n = bands * rows;
    HONE_ASSERT(n <= MOST_FUNCTIONS, "%lld x %lld functions", (long long)bands, (long long)rows);
    if (words->count == 0) return false;
    if (shingle > words->count) shingle = words->count;
    for (int64_t k = 0; k < n; k++) scratch[k] = UINT32_MAX;
    for (int64_t i = 0; i + shingle <= words->count; i++) {
        uint64_t h = hone_words_hash(words->word + i, shingle);
        take_least(scratch, factor, term, n, (uint32_t)(h ^ h >> 32));
    }
    for (int64_t band = 0; band < bands; band++) key[band] = hone_hash64(scratch + band * rows, (size_t)rows * sizeof *scratch);
    return true;
}

double hone_minhash_chance(double similarity, int64_t bands, int64_t rows)
{
    return 1.0 - pow(1.0 - pow(similarity, (double)rows), (double)bands);
}
