// rng.c: Philox 4x32-10. Ten rounds of two 32x32 -> 64 multiplications over a counter, the key bumped between rounds.
//
//   key     = seed                                (2 x u32)
//   counter = (index low, index high, stream, purpose)
#include "base/rng.h"
#include "base/error.h"
#include <math.h>

void hone_rng_philox(uint32_t counter[4], uint32_t k0, uint32_t k1)
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c0 = n0; c1 = (uint32_t)b; c2 = n2; c3 = (uint32_t)a;
        k0 += 0x9E3779B9u; // golden ratio
        k1 += 0xBB67AE85u; // sqrt(3) - 1
    }
    counter[0] = c0; counter[1] = c1; counter[2] = c2; counter[3] = c3;
}

void hone_rng_block(uint64_t seed, hone_rng_purpose purpose, uint32_t stream, uint64_t index, uint32_t out[4])
{
    out[0] = (uint32_t)index; out[1] = (uint32_t)(index >> 32); out[2] = stream; out[3] = (uint32_t)purpose;
    hone_rng_philox(out, (uint32_t)seed, (uint32_t)(seed >> 32));
}

// 53 bits of two words, in [0, 1).
static double unit(uint32_t high, uint32_t low)
{
    return (double)(((uint64_t)high << 32 | low) >> 11) * 0x1p-53;
}

double hone_rng_uniform(uint64_t seed, hone_rng_purpose purpose, uint32_t stream, uint64_t index)
{
    uint32_t word[4];
    hone_rng_block(seed, purpose, stream, index, word);
    return unit(word[0], word[1]);
}

double hone_rng_normal(uint64_t seed, hone_rng_purpose purpose, uint32_t stream, uint64_t index)
{
    uint32_t word[4];
    hone_rng_block(seed, purpose, stream, index, word);
    double radius = sqrt(-2.0 * log(1.0 - unit(word[0], word[1]))); // 1 - u is in (0, 1]
    return radius * cos(2.0 * 3.14159265358979323846 * unit(word[2], word[3]));
}

// The bits of an index are cut into a left and a right part; each round changes one by a keyed function of the other, so
// every round, and their chain, is a bijection of 0..2^bits-1. An image >= n is sent through again (cycle walking): as the
// orbit of i < n must come back below n, that is a bijection of 0..n-1. 2^bits < 2 n: less than two turns on average.
// 24 rounds: with halves of one or two bits, 8 were measurably uneven (test_rng); one call costs about half a microsecond.
int64_t hone_rng_permute(uint64_t seed, hone_rng_purpose purpose, uint32_t stream, int64_t n, int64_t i)
{
    HONE_ASSERT(n > 0 && i >= 0 && i < n, "element %lld of a permutation of %lld", (long long)i, (long long)n);
    int bits = n == 1 ? 0 : 64 - __builtin_clzll((uint64_t)n - 1);
    int left_bits = bits / 2, right_bits = bits - left_bits;
    uint64_t left_mask = (UINT64_C(1) << left_bits) - 1, right_mask = (UINT64_C(1) << right_bits) - 1;
    uint64_t x = (uint64_t)i;
    do {
        uint64_t left = x >> right_bits, right = x & right_mask;
        for (uint64_t round = 0; round < 24; round++) {
            uint32_t word[4]; // the round number keeps clear of the half's at most 32 bits
            uint64_t half = round % 2 ? left : right;
            hone_rng_block(seed, purpose, stream, (round + 1) << 40 | half, word);
            if (round % 2) right ^= word[0] & right_mask;
            else left ^= word[0] & left_mask;
        }
        x = left << right_bits | right;
    } while (x >= (uint64_t)n);
    return (int64_t)x;
}
