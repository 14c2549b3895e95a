// What hone_sample draws: distributions by chi-square against the definition, truncations exactly.
#include "gen/sample.h"
#include "base/memory.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

enum { V = 9, DRAWS = 40000 };
static const float logits[V] = { 0.3f, 2.0f, -1.0f, 1.5f, 0.0f, 2.0f, -3.0f, 1.0f, 0.7f };

static void draw(const hone_sampling *how, const int32_t *ids, int64_t n_ids, int64_t count[V])
{
    hone_sampler sampler;
    assert_int_equal(hone_sampler_init(&sampler, V), HONE_OK);
    memset(count, 0, V * sizeof *count);
    for (uint64_t key = 0; key < DRAWS; key++) {
        int32_t id = hone_sample(&sampler, how, logits, ids, n_ids, key);
        assert_in_range(id, 0, V - 1);
        count[id]++;
    }
    hone_sampler_release(&sampler);
}

// p: probabilities by the definition, 0 where an id must not be drawn. 8 degrees of freedom at most: chi-square exceeds
// 32 with probability 1e-4, and the seeds are fixed.
static void assert_distribution(const int64_t count[V], const double z[V], const bool keep[V], double temperature)
{
    double p[V], sum = 0, chi2 = 0;
    for (int v = 0; v < V; v++) sum += p[v] = keep[v] ? exp(z[v] / temperature) : 0;
    for (int v = 0; v < V; v++) {
        double expected = DRAWS * p[v] / sum;
        if (!keep[v]) { assert_int_equal(count[v], 0); continue; }
        chi2 += ((double)count[v] - expected) * ((double)count[v] - expected) / expected;
    }
    assert_true(chi2 < 32);
}

static void check(hone_sampling how, const bool keep[V])
{
    int64_t count[V];
    double z[V];
    for (int v = 0; v < V; v++) z[v] = (double)logits[v];
    draw(&how, NULL, 0, count);
    assert_distribution(count, z, keep, how.temperature);
}

static const hone_sampling plain = { .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 5 };

static void test_temperature_draws_the_softmax(void **state)
{
    (void)state;
    bool all[V] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
    check(plain, all);
    hone_sampling how = plain;
    how.temperature = 0.5;
    check(how, all);
    how.temperature = 2.5;
    check(how, all);
}

static void test_chi_square_rejects_a_wrong_temperature(void **state)
{
    (void)state;
    hone_sampling how = plain;
    how.temperature = 1.05;
    int64_t count[V];
    draw(&how, NULL, 0, count);
    double sum = 0, chi2 = 0;
    for (int v = 0; v < V; v++) sum += exp((double)logits[v]);
    for (int v = 0; v < V; v++) {
        double expected = DRAWS * exp((double)logits[v]) / sum;
        chi2 += ((double)count[v] - expected) * ((double)count[v] - expected) / expected;
    }
    assert_true(chi2 > 32);
}

static void test_top_k_keeps_exactly_k_and_ties_go_to_the_smaller_id(void **state)
{
    (void)state;
    hone_sampling how = plain;
    how.top_k = 1; // 1 and 5 are equal
    check(how, (bool[V]){ [1] = true });
    how.top_k = 3;
    check(how, (bool[V]){ [1] = true, [5] = true, [3] = true });
    how.top_k = 4;
    check(how, (bool[V]){ [1] = true, [5] = true, [3] = true, [7] = true });
    how.top_k = 100;
    check(how, (bool[V]){ 1, 1, 1, 1, 1, 1, 1, 1, 1 });
}

// By descending probability 1, 5, 3, 7, 8, 0, 4, 2, 6: the fewest whose sum reaches p.
static void top_p_set(double p, int64_t k, bool keep[V])
{
    static const int order[V] = { 1, 5, 3, 7, 8, 0, 4, 2, 6 };
    double sum = 0, mass = 0;
    for (int i = 0; i < k; i++) sum += exp((double)logits[order[i]]);
    memset(keep, 0, V * sizeof *keep);
    for (int i = 0; i < k && (i == 0 || mass < p * sum); i++) {
        keep[order[i]] = true;
        mass += exp((double)logits[order[i]]);
    }
}

static void test_top_p_keeps_the_fewest_that_reach_p(void **state)
{
    (void)state;
    bool keep[V];
    hone_sampling how = plain;
    for (double p = 0.05; p < 1; p += 0.1) {
        how.top_p = p;
        top_p_set(p, V, keep);
        check(how, keep);
    }
}

static void test_top_p_is_a_share_of_what_top_k_left(void **state)
{
    (void)state;
    bool keep[V], alone[V];
    hone_sampling how = plain;
    how.top_k = 4;
    how.top_p = 0.8;
    top_p_set(0.8, 4, keep);
    top_p_set(0.8, V, alone);
    assert_true(keep[3] && !keep[7] && alone[7]); // the order of the two steps shows
    check(how, keep);
}

static void test_min_p_keeps_what_is_near_the_best(void **state)
{
    (void)state;
    hone_sampling how = plain;
    how.min_p = 0.3; // exp(-1) = 0.37 of the best stays (id 7), exp(-1.3) = 0.27 goes (id 8)
    check(how, (bool[V]){ [1] = true, [5] = true, [3] = true, [7] = true });
    how.temperature = 2; // exp(-1.3 / 2) = 0.52
    check(how, (bool[V]){ [0] = true, [1] = true, [5] = true, [3] = true, [7] = true, [8] = true, [4] = true });
    how.temperature = 1;
    how.top_k = 3; // with truncation before it
    how.min_p = 0.7;
    check(how, (bool[V]){ [1] = true, [5] = true });
}

static void test_repetition_penalty_counts_an_id_once(void **state)
{
    (void)state;
    hone_sampling how = plain;
    how.repetition_penalty = 2;
    int64_t count[V];
    double z[V];
    for (int v = 0; v < V; v++) z[v] = (double)logits[v];
    z[1] /= 2;  // above 0: divided
    z[2] *= 2;  // below: multiplied
    draw(&how, (int32_t[]){ 1, 2, 1, 1, 2 }, 5, count);
    assert_distribution(count, z, (bool[V]){ 1, 1, 1, 1, 1, 1, 1, 1, 1 }, 1);
}

static void test_greedy_takes_the_smallest_of_equals(void **state)
{
    (void)state;
    hone_sampler sampler;
    assert_int_equal(hone_sampler_init(&sampler, V), HONE_OK);
    assert_int_equal(hone_sample(&sampler, &HONE_SAMPLING_GREEDY, logits, NULL, 0, 0), 1);
    hone_sampling how = HONE_SAMPLING_GREEDY;
    how.repetition_penalty = 1.1;
    assert_int_equal(hone_sample(&sampler, &how, logits, (int32_t[]){ 1 }, 1, 0), 5);
    assert_int_equal(hone_sample(&sampler, &how, logits, (int32_t[]){ 1, 5 }, 2, 0), 1);
    hone_sampler_release(&sampler);
}

static void test_a_draw_depends_on_seed_key_and_position_only(void **state)
{
    (void)state;
    hone_sampler sampler;
    assert_int_equal(hone_sampler_init(&sampler, V), HONE_OK);
    hone_sampling how = plain, other = plain;
    other.seed++;
    int differs[3] = { 0 };
    int32_t ids[64] = { 0 };
    for (int64_t n = 0; n < 64; n++) {
        int32_t id = hone_sample(&sampler, &how, logits, ids, n, 7);
        assert_int_equal(id, hone_sample(&sampler, &how, logits, ids, n, 7));
        differs[0] += id != hone_sample(&sampler, &other, logits, ids, n, 7);
        differs[1] += id != hone_sample(&sampler, &how, logits, ids, n, 8);
        differs[2] += id != hone_sample(&sampler, &how, logits, ids, 63 - n, 7);
    }
    for (int i = 0; i < 3; i++) assert_true(differs[i] > 20);
    hone_sampler_release(&sampler);
}

static void test_logprob_is_log_softmax(void **state)
{
    (void)state;
    enum { BIG = 50257 };
    hone_sampler sampler;
    assert_int_equal(hone_sampler_init(&sampler, BIG), HONE_OK);
    float *z = hone_alloc(BIG, sizeof *z);
    double sum = 0, best = -1e30;
    for (int v = 0; v < BIG; v++) {
        z[v] = (float)(8 * sin(v * 1.7) - 40 * (v % 5 == 0));
        if ((double)z[v] > best) best = (double)z[v];
    }
    for (int v = 0; v < BIG; v++) sum += exp((double)z[v] - best);
    // exp_below errs by 2e-7 relative, f32 sums of 256 terms a lane by less than 256 * 6e-8
    for (int v = 0; v < BIG; v += 5000)
        assert_float_equal(hone_logprob_of(&sampler, z, v), (double)z[v] - best - log(sum), 2e-5);
    hone_free(z);
    hone_sampler_release(&sampler);
}

static void test_bad_settings_are_named(void **state)
{
    (void)state;
    const struct { hone_sampling how; const char *word; } bad[] = {
        { { .temperature = -1, .top_p = 1, .repetition_penalty = 1 }, "temperature" },
        { { .temperature = NAN, .top_p = 1, .repetition_penalty = 1 }, "temperature" },
        { { .top_k = -1, .top_p = 1, .repetition_penalty = 1 }, "top_k" },
        { { .top_p = 0, .repetition_penalty = 1 }, "top_p" }, { { .top_p = 1.5, .repetition_penalty = 1 }, "top_p" },
        { { .top_p = 1, .min_p = 2, .repetition_penalty = 1 }, "min_p" }, { { .top_p = 1 }, "repetition_penalty" },
    };
    assert_int_equal(hone_sampling_check(&plain, "here"), HONE_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(hone_sampling_check(&bad[i].how, "here"), HONE_FAILED);
        assert_non_null(strstr(hone_error(), bad[i].word));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_temperature_draws_the_softmax), cmocka_unit_test(test_chi_square_rejects_a_wrong_temperature),
        cmocka_unit_test(test_top_k_keeps_exactly_k_and_ties_go_to_the_smaller_id),
        cmocka_unit_test(test_top_p_keeps_the_fewest_that_reach_p), cmocka_unit_test(test_top_p_is_a_share_of_what_top_k_left),
        cmocka_unit_test(test_min_p_keeps_what_is_near_the_best), cmocka_unit_test(test_repetition_penalty_counts_an_id_once),
        cmocka_unit_test(test_greedy_takes_the_smallest_of_equals),
        cmocka_unit_test(test_a_draw_depends_on_seed_key_and_position_only),
        cmocka_unit_test(test_logprob_is_log_softmax), cmocka_unit_test(test_bad_settings_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
