// Sequences that share a beginning get the log-probabilities of program score on the whole sequences, whatever is shared, however
// runs are cut and slots reused; on small random models of every family, on each backend.
#include "base/memory.h"
#include "base/rng.h"
#include "gen/branches.h"
#include "gen/score.h"
#include "support/cmocka_all.h"
#include "support/rig.h"
#include <math.h>

enum { CONTEXT = 80, FORKS = 40, MOST = 5 };
static int32_t ids[FORKS][MOST][CONTEXT + 1];
static hone_branch branch[FORKS][MOST];
static hone_fork fork_of[FORKS];

static void *place(void *session, hone_tid id) { return hone_session_data(session, id); }
static uint32_t draw(int fork, int what, uint32_t below) { return (uint32_t)(hone_rng_uniform(5, HONE_RNG_TEST, (uint32_t)fork, (uint64_t)what) * below); }

// 1 to 5 sequences a fork, with 0 to 60 ids in common, and 1 to 20 of their own; some of them the beginning of others or the same.
static void make_forks(int64_t vocab)
{
    for (int f = 0; f < FORKS; f++) {
        int64_t shared = draw(f, 0, 61), count = 1 + draw(f, 1, MOST);
        fork_of[f] = (hone_fork){ branch[f], count };
        for (int64_t b = 0; b < count; b++) {
            int64_t n = shared + 2 + draw(f, 2 + (int)b, f % 3 ? 18 : 2);
            for (int64_t i = 0; i < n; i++) ids[f][b][i] = (int32_t)draw(f, 100 + (int)i + (i < shared || f % 4 == 3 ? 0 : 200 * (int)(b + 1)), (uint32_t)vocab);
            branch[f][b] = (hone_branch){ .ids = ids[f][b], .n = n, .judged = 1 + draw(f, 50 + (int)b, (uint32_t)(n - 1)) };
        }
    }
}

static void check_against_score(hone_session *session, const hone_model *model, const hone_train_io *io, double bound)
{
    hone_scorer scorer;
    float logprob[CONTEXT + 1];
    bool ran;
    assert_int_equal(hone_scorer_open(&scorer, session, model, io), HONE_OK);
    for (int f = 0; f < FORKS; f++)
        for (int64_t b = 0; b < fork_of[f].count; b++) {
            const hone_branch *one = &branch[f][b];
            double sum = 0;
            assert_int_equal(hone_scorer_add(&scorer, &(hone_score_item){ one->ids, one->n, logprob }, "test", &ran), HONE_OK);
            hone_scorer_flush(&scorer);
            for (int64_t i = one->n - one->judged; i < one->n; i++) sum += (double)logprob[i];
            if (!(fabs(sum - one->logprob) <= bound * (double)one->judged)) fail_msg("fork %d, sequence %d: %.7f, score says %.7f", f, (int)b, one->logprob, sum);
        }
    hone_scorer_close(&scorer);
}

// tight: no room for more than one fork at a time, and few rows a run.
static void run_both(int kind, const char *backend, bool tight)
{
    hone_config config = rig_config(kind);
    hone_model model;
    hone_session session;
    hone_train_io score;
    hone_decode_io io;
    hone_decode_need need;
    hone_brancher brancher;
    hone_graph *graph = hone_graph_new();
    config.max_positions = CONTEXT;
    config.init_std = 0.25;
    make_forks(config.vocab);
    assert_int_equal(hone_model_declare(&model, graph, &config), HONE_OK);
    assert_int_equal(hone_model_build_score(&model, 1, CONTEXT, &score), HONE_OK);
    assert_int_equal(hone_brancher_need(&config, fork_of, FORKS, &need), HONE_OK);
    if (tight) {
        hone_decode_need one, most = { 7, 3, MOST, need.context, 1 };
        for (int f = 0; f < FORKS; f++) {
            assert_int_equal(hone_brancher_need(&config, &fork_of[f], 1, &one), HONE_OK);
            if (one.pool > most.pool) most.pool = one.pool;
        }
        need = most;
    }
    assert_int_equal(hone_model_build_decode_pool(&model, need.rows, need.wanted, need.slots, need.context, need.pool, &io), HONE_OK);
    if (hone_session_open(&session, graph, &(hone_session_options){ .backend = backend })) fail_msg("%s", hone_error());
    hone_model_init(&model, 11, place, &session);
    hone_model_fill_constants(&model, place, &session);
    hone_session_run(&session, "refresh");
    assert_int_equal(hone_brancher_open(&brancher, &session, &model, &io), HONE_OK);
    for (int f = 0; f < FORKS; f++) assert_int_equal(hone_brancher_add(&brancher, &fork_of[f]), HONE_OK);
    hone_brancher_flush(&brancher);
    assert_true(brancher.shared > 0 && brancher.tokens > 0);
    hone_brancher_close(&brancher);
    check_against_score(&session, &model, &score, 2e-5);
    hone_session_close(&session);
    hone_model_release(&model);
    hone_graph_free(graph);
}

static void test_branches_have_the_likelihoods_of_whole_sequences(void **state)
{
    (void)state;
    for (int kind = 0; kind < RIG_KINDS; kind++) run_both(kind, "cpu", false);
    run_both(0, "ref", false);
}

static void test_forks_are_cut_over_runs_and_slots_are_used_again(void **state)
{
    (void)state;
    for (int kind = 0; kind < RIG_KINDS; kind++) run_both(kind, "cpu", true);
}

static void test_sequences_that_cannot_be_are_refused(void **state)
{
    (void)state;
    hone_config config = rig_config(0);
    hone_decode_need need;
    static const int32_t few[] = { 1, 2, 3 }, outside[] = { 1, 9999 };
    hone_branch one = { .ids = few, .n = 3, .judged = 3 };
    hone_fork forks[] = { { &one, 1 } };
    assert_int_equal(hone_brancher_need(&config, forks, 1, &need), HONE_FAILED);
    assert_string_equal(hone_error(), "question 1: nothing stands before its answer, or its answer is empty");
    one = (hone_branch){ .ids = outside, .n = 2, .judged = 1 };
    assert_int_equal(hone_brancher_need(&config, forks, 1, &need), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "id 9999 is outside the vocabulary"));
    config.max_positions = 1;
    one = (hone_branch){ .ids = few, .n = 3, .judged = 1 };
    assert_int_equal(hone_brancher_need(&config, forks, 1, &need), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "2 tokens, but the model sees 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_branches_have_the_likelihoods_of_whole_sequences),
        cmocka_unit_test(test_forks_are_cut_over_runs_and_slots_are_used_again),
        cmocka_unit_test(test_sequences_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
