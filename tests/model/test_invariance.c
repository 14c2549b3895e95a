// test_invariance.c: a row's log-probability depends on the row and what it sees, not on what runs beside it.
#include "support/rig.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

// Sequence t = 0 .. T - 1 of fixed ids, in each of `rows` rows.
static void fill_sequences(rig *r, const hone_train_io *io, int64_t rows)
{
    int32_t *ids = rig_place(r, io->ids), *target = rig_place(r, io->target), *pos = rig_place(r, io->pos);
    int32_t *lo = rig_place(r, io->lo), *hi = rig_place(r, io->hi);
    float *weight = io->weight == HONE_NONE ? NULL : rig_place(r, io->weight);
    for (int64_t n = 0; n < rows * io->T; n++) {
        int64_t t = n % io->T;
        ids[n] = (int32_t)(t * t * 7 % 131);
        target[n] = (int32_t)(t * 5 % 131);
        pos[n] = (int32_t)t;
        lo[n] = (int32_t)(n - t);
        hi[n] = (int32_t)n + 1;
        if (weight) weight[n] = 1.0f / (float)io->N;
    }
}

static const hone_dtype products[] = { HONE_f32, HONE_bf16, HONE_int8 };

static void check_places(hone_dtype product)
{
    for (int kind = 0; kind < RIG_KINDS; kind++)
        for (int64_t T = 1; T <= 200; T = T * 3 + 2) { // no multiple of any tile
            hone_config config = rig_config(kind);
            rig r;
            rig_micro_in(&r, &config, product, 3, T);
            rig_start(&r, NULL);
            fill_sequences(&r, &r.io, 3);
            hone_session_run(&r.session, "micro");
            const float *logprob = rig_place(&r, r.io.logprob);
            assert_memory_equal(logprob, logprob + T, (size_t)T * sizeof(float));
            assert_memory_equal(logprob, logprob + 2 * T, (size_t)T * sizeof(float));
            rig_close(&r);
        }
}
static void test_a_sequence_scores_the_same_at_every_place_of_a_batch(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) check_places(products[i]);
}

static void check_score(hone_dtype product)
{
    static const int64_t lengths[] = { 1, 7, 64, 512 };
    for (int kind = 0; kind < RIG_KINDS; kind++) {
        hone_config config = rig_config(kind);
        config.max_positions = 512;
        rig micro;
        rig_micro_in(&micro, &config, product, 1, 512);
        rig_start(&micro, NULL);
        fill_sequences(&micro, &micro.io, 1);
        hone_session_run(&micro.session, "micro");
        for (int i = 0; i < 4; i++) { // the first `length` rows of the sequence: what follows is not seen
            rig score;
            hone_train_io io;
            rig_forward(&score, &config, 1, lengths[i]);
            score.model.product = product;
            assert_int_equal(hone_model_build_score(&score.model, 1, lengths[i], &io), HONE_OK);
            rig_start(&score, NULL);
            fill_sequences(&score, &io, 1);
            hone_session_run(&score.session, "score");
            assert_memory_equal(rig_place(&score, io.logprob), rig_place(&micro, micro.io.logprob), (size_t)lengths[i] * sizeof(float));
            rig_close(&score);
        }
        rig_close(&micro);
    }
}
static void test_score_and_micro_agree_bit_for_bit_at_any_number_of_rows(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) check_score(products[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sequence_scores_the_same_at_every_place_of_a_batch),
        cmocka_unit_test(test_score_and_micro_agree_bit_for_bit_at_any_number_of_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
