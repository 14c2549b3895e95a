// The step loop: what may change a run's numbers (nothing but rounding), and what may not stop it halfway.
#include "support/cmocka_all.h"
#include "support/run_rig.h"
#include "train/heldout.h"
#include "train/loop.h"
#include <math.h>

static char *folder;
static int make_folder(void **state) { (void)state; folder = run_rig_folder(); return 0; }
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

static double step(run_rig *f)
{
    hone_step s;
    if (hone_loop_step(&f->loop, 40, &s) != HONE_OK) fail_msg("%s", hone_error());
    assert_false(s.dropped);
    return s.loss;
}

// Six rows at once, or in three or six micro-batches whose numbers of trained tokens differ (documents end anywhere): the
// loss and the weights are those of one batch. f32 sums of some 220 terms in another order: about 1e-6 relative; a mean
// of the micro-batches' means would be off by the spread of their trained tokens, 1e-2.
static void test_split_into_micro_batches_changes_rounding_only(void **state)
{
    (void)state;
    static const char *const split[] = {
        "per_device_train_batch_size: 6\n", "per_device_train_batch_size: 2\ngradient_accumulation_steps: 3\n",
        "per_device_train_batch_size: 1\ngradient_accumulation_steps: 6\n" };
    double loss[3][3], norm[3];
    for (int i = 0; i < 3; i++) {
        run_rig f;
        run_rig_open(&f, folder, split[i]);
        for (int s = 0; s < 3; s++) {
            hone_step out;
            assert_int_equal(hone_loop_step(&f.loop, 40, &out), HONE_OK);
            assert_true(out.trained < 6 * 37); // some rows hold the end of a document
            loss[i][s] = out.loss;
            norm[i] = out.norm;
        }
        assert_int_equal(f.job.train.now.row, 18);
        run_rig_close(&f);
    }
    for (int i = 1; i < 3; i++) {
        for (int s = 0; s < 3; s++) assert_true(fabs(loss[i][s] - loss[0][s]) < 1e-5 * loss[0][s]);
        assert_true(fabs(norm[i] - norm[0]) < 1e-4 * norm[0]);
    }
}

static void test_the_loss_falls(void **state)
{
    (void)state;
    run_rig f;
    run_rig_open(&f, folder, "per_device_train_batch_size: 8\n");
    double first = step(&f), last = 0;
    assert_true(fabs(first - log(RUN_RIG_VOCAB)) < 0.2); // a model that knows nothing
    for (int s = 0; s < 30; s++) last = step(&f);
    assert_true(last < 0.6 * first);
    run_rig_close(&f);
}

static void test_two_runs_are_bit_identical(void **state)
{
    (void)state;
    uint64_t hash[2];
    for (int i = 0; i < 2; i++) {
        run_rig f;
        run_rig_open(&f, folder, "gradient_accumulation_steps: 2\nper_device_train_batch_size: 3\n");
        for (int s = 0; s < 4; s++) step(&f);
        hash[i] = run_rig_hash(&f.job);
        run_rig_close(&f);
    }
    assert_true(hash[0] == hash[1]);
}

static bool count_down(void *context) { return (*(int *)context)-- == 0; }

// A stop after two of three micro-batches leaves weights, moments and the next row as they were; the step done again is
// the step that would have been.
static void test_a_step_dropped_halfway_leaves_no_trace(void **state)
{
    (void)state;
    run_rig f, g;
    const char *more = "gradient_accumulation_steps: 3\nper_device_train_batch_size: 2\n";
    run_rig_open(&f, folder, more);
    run_rig_open(&g, folder, more);
    step(&f);
    step(&g);
    uint64_t before = run_rig_hash(&f.job);
    int left = 2;
    f.loop.stop = count_down;
    f.loop.context = &left;
    hone_step out;
    assert_int_equal(hone_loop_step(&f.loop, 40, &out), HONE_OK);
    assert_true(out.dropped);
    assert_int_equal(f.loop.step, 1);
    assert_int_equal(f.job.train.now.row, 6);
    assert_true(run_rig_hash(&f.job) == before);
    f.loop.stop = NULL;
    assert_true(step(&f) == step(&g));
    assert_true(run_rig_hash(&f.job) == run_rig_hash(&g.job));
    run_rig_close(&f);
    run_rig_close(&g);
}

static hone_status refuse(void *context) { (void)context; return hone_fail("disk full"); }

static void test_a_failed_checkpoint_stops_before_weights_change(void **state)
{
    (void)state;
    run_rig f;
    run_rig_open(&f, folder, "");
    uint64_t before = run_rig_hash(&f.job);
    f.loop.before_update = refuse;
    hone_step out;
    assert_int_equal(hone_loop_step(&f.loop, 40, &out), HONE_FAILED);
    assert_string_equal(hone_error(), "disk full");
    assert_true(run_rig_hash(&f.job) == before);
    run_rig_close(&f);
}

static void test_a_loss_that_is_no_number_stops_before_weights_change(void **state)
{
    (void)state;
    run_rig f;
    run_rig_open(&f, folder, "");
    float *g = hone_session_data(&f.job.session, f.job.model.final_g);
    g[0] = NAN;
    uint64_t before = run_rig_hash(&f.job);
    hone_step out;
    assert_int_equal(hone_loop_step(&f.loop, 40, &out), HONE_OK);
    assert_int_equal(out.verdict, HONE_STEP_LOSS);
    assert_int_equal(f.loop.step, 0);
    assert_int_equal(f.job.train.now.row, 0);
    assert_true(run_rig_hash(&f.job) == before);
    run_rig_close(&f);
}

// Held-out loss is the mean over tokens, whatever the batch: rows scored 5 at a time or 2 at a time give the same.
static void test_held_out_loss_does_not_depend_on_the_batch(void **state)
{
    (void)state;
    hone_evaluation held[2];
    double loss[2];
    for (int i = 0; i < 2; i++) {
        run_rig f;
        run_rig_open(&f, folder, i ? "per_device_train_batch_size: 5\n" : "per_device_train_batch_size: 2\n");
        assert_int_equal(hone_heldout_score(&f.job.session, &f.job.score, &f.job.held[0].loader, NULL, 1 << 20, NULL, NULL, &held[i]), HONE_OK);
        loss[i] = hone_evaluation_loss(&held[i]);
        run_rig_close(&f);
    }
    assert_true(held[0].tokens > 1300 && held[0].tokens < 1500); // 1,500 less those that end documents
    assert_int_equal(held[0].windows, 41);                       // ceil(1500 / 37)
    assert_int_equal(held[0].tokens, held[1].tokens);
    assert_true(fabs(loss[0] - loss[1]) < 1e-12 * loss[0]); // the same bits of each row, summed in f64
    assert_true(fabs(loss[0] - log(RUN_RIG_VOCAB)) < 0.2);
    double error = hone_evaluation_loss_error(&held[0]);
    assert_true(error > 0 && error < 0.05);
    assert_true(hone_evaluation_bits_per_byte(&held[0]) == 0);
    for (int i = 0; i < 2; i++) hone_evaluation_release(&held[i]);
}

static void test_evaluation_of_a_part_is_bounded(void **state)
{
    (void)state;
    hone_evaluation held;
    run_rig f;
    run_rig_open(&f, folder, "per_device_train_batch_size: 4\n");
    assert_int_equal(hone_heldout_score(&f.job.session, &f.job.score, &f.job.held[0].loader, NULL, 200, NULL, NULL, &held), HONE_OK);
    assert_int_equal(held.windows, 6);
    assert_true(held.tokens <= 222);
    hone_evaluation_release(&held);
    run_rig_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_into_micro_batches_changes_rounding_only),
        cmocka_unit_test(test_the_loss_falls),
        cmocka_unit_test(test_two_runs_are_bit_identical),
        cmocka_unit_test(test_a_step_dropped_halfway_leaves_no_trace),
        cmocka_unit_test(test_a_failed_checkpoint_stops_before_weights_change),
        cmocka_unit_test(test_a_loss_that_is_no_number_stops_before_weights_change),
        cmocka_unit_test(test_held_out_loss_does_not_depend_on_the_batch),
        cmocka_unit_test(test_evaluation_of_a_part_is_bounded),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
