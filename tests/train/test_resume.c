// A run that was stopped and goes on ends with the bits of one that never stopped: weights and moments alike. The program
// is driven as a user would: started, interrupted, started again with the same command.
#include "base/cpu.h"
#include "base/file.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include <signal.h>
#include <unistd.h>

// 5 micro-batches of 2 rows: a step is 10 of the 162 rows of an epoch. Stops come in the middle of an epoch, in the
// middle of the next one, and (four times in five) within an accumulation.
enum { STEPS = 24 };
static const char *const more = "length_warmup_from: 8\nper_device_train_batch_size: 2\ngradient_accumulation_steps: 5\nmax_steps: 24\nsave_steps: 7\n"
                                "eval_steps: 9\nlogging_steps: 1\nwarmup_ratio: 0.2\n";

static char *folder;
static int make_folder(void **state) { (void)state; folder = run_rig_folder(); return 0; }
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

static int64_t steps_logged(const char *out)
{
    char *path = hone_path_join(out, "log.jsonl"), *text;
    size_t size;
    int64_t steps = 0;
    if (hone_file_exists(path) && hone_file_read(path, &text, &size) == HONE_OK) {
        steps = count_in(text, "\"event\":\"step\"");
        hone_free(text);
    }
    hone_free(path);
    return steps;
}

// Interrupts three processes of one run. False: one came to its end before its signal did, as happens on a busy machine.
static bool stop_three_times(const char *recipe, const char *key, const char *parts)
{
    static const int64_t stop_after[] = { 4, 5, 9 }; // steps in each process before it is interrupted
    for (int i = 0; i < 3; i++) {
        verb_run run;
        int64_t before = steps_logged(parts + 11);
        verb_start(&run, (const char *[]){ "pretrain", recipe, key, parts, NULL });
        double began = hone_clock_s();
        while (steps_logged(parts + 11) < before + stop_after[i] && hone_clock_s() - began < 100) usleep(500);
        kill(run.pid, i == 1 ? SIGTERM : SIGINT);
        int status = verb_finish(&run);
        bool finished = status == 0;
        if (!finished) {
            assert_int_equal(status, i == 1 ? 128 + SIGTERM : 128 + SIGINT);
            assert_non_null(strstr(run.output, "the same command goes on from there"));
        }
        hone_free(run.output);
        if (finished) return false;
    }
    return true;
}

// name: of the two folders; key: what this training has that others have not
static void check_recipe_stopped_three_times(const char *name, const char *text, const char *key)
{
    char *recipe = run_rig_recipe_file(folder, text), *whole = hone_format("output_dir=%s/%s-whole", folder, name), *output;
    char *parts = hone_format("output_dir=%s/%s-parts", folder, name);
    assert_int_equal(verb(&output, (const char *[]){ "pretrain", recipe, key, whole, NULL }), 0);
    hone_free(output);
    for (int tries = 1; !stop_three_times(recipe, key, parts); tries++) {
        assert_true(tries < 5);
        assert_int_equal(hone_dir_remove(parts + 11), HONE_OK);
    }
    assert_int_equal(verb(&output, (const char *[]){ "pretrain", recipe, key, parts, NULL }), 0);
    assert_non_null(strstr(output, "resume from step"));
    hone_free(output);
    assert_true(test_hash("%s/step-%d/model.safetensors", whole + 11, STEPS) == test_hash("%s/step-%d/model.safetensors", parts + 11, STEPS));
    assert_true(test_hash("%s/step-%d/optimizer.safetensors", whole + 11, STEPS) == test_hash("%s/step-%d/optimizer.safetensors", parts + 11, STEPS));
    // a finished run has nothing left to do, and says so by doing nothing
    assert_int_equal(verb(&output, (const char *[]){ "pretrain", recipe, key, parts, NULL }), 0);
    hone_free(output);
    hone_free(recipe);
    hone_free(whole);
    hone_free(parts);
}

static void check_stopped_three_times(const char *name, const char *key) { check_recipe_stopped_three_times(name, more, key); }

static void test_stopped_three_times_is_bit_identical(void **state) { (void)state; check_stopped_three_times("adamw", "optimizer=adamw"); }
static void test_bf16_moments_stopped_three_times_are_bit_identical(void **state) { (void)state; check_stopped_three_times("bf16", "optimizer_state=bf16"); }
static void test_int8_moments_stopped_three_times_are_bit_identical(void **state) { (void)state; check_stopped_three_times("int8", "optimizer_state=int8"); }
static void test_muon_stopped_three_times_is_bit_identical(void **state) { (void)state; check_stopped_three_times("muon", "optimizer=muon"); }

// Tables that two layers share, and gains that some layers have, are parameters like the others: saved, stepped, read back.
static void test_value_embeddings_and_skips_stopped_three_times_are_bit_identical(void **state)
{
    (void)state;
    char *text = hone_format("%smodel_name_or_path: %s/tests/golden/values\n", more, HONE_SOURCE_DIR);
    check_recipe_stopped_three_times("values", text, "optimizer=muon");
    hone_free(text);
}

// 24 steps: warm-ups that a stop falls into, a mean that begins before the last one.
static void test_warm_ups_and_the_mean_stopped_three_times_are_bit_identical(void **state)
{
    (void)state;
    check_stopped_three_times("batch", "batch_warmup_steps=15");
    check_stopped_three_times("length", "length_warmup_steps=20");
    check_stopped_three_times("mean", "average_ratio=0.6");
}

// The control: another seed, or one step more, changes the bits that the test above compares.
static void test_comparison_notices_a_different_run(void **state)
{
    (void)state;
    char *recipe = run_rig_recipe_file(folder, more), *other = hone_format("output_dir=%s/other", folder), *whole = hone_format("%s/adamw-whole", folder);
    assert_int_equal(verb(NULL, (const char *[]){ "pretrain", recipe, other, "seed=2", NULL }), 0);
    assert_false(test_hash("%s/step-%d/model.safetensors", whole, STEPS) == test_hash("%s/step-%d/model.safetensors", other + 11, STEPS));
    hone_free(recipe);
    hone_free(other);
    hone_free(whole);
}

// What "the next row" means may not change under a run.
static void test_a_run_does_not_go_on_with_another_order(void **state)
{
    (void)state;
    static const char *const change[] = { "seed=3", "cutoff_len=36", "order=sequential", "dataset=held.u16" };
    char *recipe = run_rig_recipe_file(folder, more), *whole = hone_format("output_dir=%s/adamw-whole", folder), *held = hone_format("dataset=%s/held.u16", folder);
    for (int i = 0; i < 4; i++) {
        char *output;
        assert_int_equal(verb(&output, (const char *[]){ "pretrain", recipe, whole, i == 3 ? held : change[i], NULL }), 1);
        assert_non_null(strstr(output, "start anew in another output_dir"));
        hone_free(output);
    }
    char *output;
    assert_int_equal(verb(&output, (const char *[]){ "pretrain", recipe, whole, "resume=never", NULL }), 1);
    assert_non_null(strstr(output, "of an earlier run"));
    hone_free(output);
    hone_free(recipe);
    hone_free(whole);
    hone_free(held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stopped_three_times_is_bit_identical),
        cmocka_unit_test(test_bf16_moments_stopped_three_times_are_bit_identical),
        cmocka_unit_test(test_int8_moments_stopped_three_times_are_bit_identical),
        cmocka_unit_test(test_muon_stopped_three_times_is_bit_identical),
        cmocka_unit_test(test_value_embeddings_and_skips_stopped_three_times_are_bit_identical),
        cmocka_unit_test(test_warm_ups_and_the_mean_stopped_three_times_are_bit_identical),
        cmocka_unit_test(test_comparison_notices_a_different_run),
        cmocka_unit_test(test_a_run_does_not_go_on_with_another_order),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
