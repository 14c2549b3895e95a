// test_rng.c: Philox against its authors' vectors, the distributions, the permutation.
#include "support/cmocka_all.h"
#include "base/rng.h"
#include <math.h>

// Random123's kat_vectors, philox4x32 with 10 rounds.
static void test_philox_gives_the_published_words(void **state)
{
    (void)state;
    static const struct { uint32_t counter[4], key[2], words[4]; } known[] = {
        { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { { ~0u, ~0u, ~0u, ~0u }, { ~0u, ~0u }, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 }, { 0xa4093822, 0x299f31d0 },
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        uint32_t counter[4];
        memcpy(counter, known[k].counter, sizeof counter);
        hone_rng_philox(counter, known[k].key[0], known[k].key[1]);
        for (int i = 0; i < 4; i++) assert_int_equal(counter[i], known[k].words[i]);
    }
}

static void test_block_depends_on_each_of_its_four_arguments(void **state)
{
    (void)state;
    uint32_t base[4], other[4];
    hone_rng_block(1, HONE_RNG_TEST, 2, 3, base);
    hone_rng_block(1, HONE_RNG_TEST, 2, 3, other);
    assert_memory_equal(base, other, sizeof base);
    hone_rng_block(1 + (UINT64_C(1) << 32), HONE_RNG_TEST, 2, 3, other);
    assert_memory_not_equal(base, other, sizeof base);
    hone_rng_block(1, HONE_RNG_INIT, 2, 3, other);
    assert_memory_not_equal(base, other, sizeof base);
    hone_rng_block(1, HONE_RNG_TEST, 4, 3, other);
    assert_memory_not_equal(base, other, sizeof base);
    hone_rng_block(1, HONE_RNG_TEST, 2, 3 + (UINT64_C(1) << 32), other);
    assert_memory_not_equal(base, other, sizeof base);
}

// The mean of n draws lies within 5 standard errors, and so do the second and fourth moments.
static void test_moments_are_those_of_the_distribution(void **state)
{
    (void)state;
    enum { N = 200000 };
    double u1 = 0, u2 = 0, z1 = 0, z2 = 0, z4 = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = hone_rng_uniform(7, HONE_RNG_TEST, 0, i), z = hone_rng_normal(7, HONE_RNG_TEST, 1, i);
        assert_true(u >= 0 && u < 1 && isfinite(z));
        u1 += u; u2 += u * u; z1 += z; z2 += z * z; z4 += z * z * z * z;
    }
    double bound = 5 / sqrt(N);
    assert_true(fabs(u1 / N - 0.5) < bound * sqrt(1.0 / 12));
    assert_true(fabs(u2 / N - 1.0 / 3) < bound * sqrt(4.0 / 45));
    assert_true(fabs(z1 / N) < bound);
    assert_true(fabs(z2 / N - 1) < bound * sqrt(2));
    assert_true(fabs(z4 / N - 3) < bound * sqrt(96));
}

static void test_permutation_hits_every_index_once(void **state)
{
    (void)state;
    static const int64_t sizes[] = { 1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 65, 1000, 4097 };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        int64_t n = sizes[s];
        uint8_t *seen = calloc((size_t)n, 1);
        for (int64_t i = 0; i < n; i++) {
            int64_t j = hone_rng_permute(11, HONE_RNG_ORDER, 5, n, i);
            assert_true(j >= 0 && j < n);
            assert_int_equal(seen[j], 0);
            seen[j] = 1;
        }
        free(seen);
    }
    int64_t big = INT64_C(1) << 45; // far beyond any table
    assert_true(hone_rng_permute(1, HONE_RNG_ORDER, 0, big + 12345, big) < big + 12345);
}

// A keyed permutation that keeps order would shuffle nothing: element i lands at j uniformly, over seeds and over i.
static void test_permutation_is_uniform_over_places(void **state)
{
    (void)state;
    enum { N = 6, SEEDS = 6000 };
    int64_t count[N][N] = { { 0 } };
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        for (int64_t i = 0; i < N; i++) count[i][hone_rng_permute(seed, HONE_RNG_ORDER, 0, N, i)]++;
    double expected = (double)SEEDS / N, chi2 = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) chi2 += (count[i][j] - expected) * (count[i][j] - expected) / expected;
    assert_true(chi2 < 25 + 5 * sqrt(50)); // (N-1)^2 = 25 degrees of freedom, 5 standard deviations
    int64_t fixed = 0, n = 100000;
    double drift = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t j = hone_rng_permute(3, HONE_RNG_ORDER, 1, n, i);
        fixed += i == j;
        drift += fabs((double)(i - j)) / (double)n;
    }
    assert_true(fixed < 10);                       // expected 1
    assert_true(fabs(drift / (double)n - 1.0 / 3) < 0.005); // mean distance of two uniform points
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_philox_gives_the_published_words),
        cmocka_unit_test(test_block_depends_on_each_of_its_four_arguments),
        cmocka_unit_test(test_moments_are_those_of_the_distribution),
        cmocka_unit_test(test_permutation_hits_every_index_once),
        cmocka_unit_test(test_permutation_is_uniform_over_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
