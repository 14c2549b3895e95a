// test_precision.c: `precision: auto` takes what its timings say is fastest, says so, and keeps to it when a run goes on.
#include "base/file.h"
#include "plan/precision.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include <string.h>

static char *folder;
static int make_folder(void **state) { (void)state; folder = run_rig_folder(); return 0; }
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

static void test_narrower_numbers_must_gain_more_than_the_margin(void **state)
{
    (void)state;
    static const struct { double seconds[HONE_PRECISIONS]; int taken; } of[] = {
        { { 1, 1, 1 }, 0 },       { { 1, 0.96, 0.97 }, 0 }, { { 1, 0.9, 0.87 }, 1 }, { { 1, 0.9, 0.8 }, 2 },
        { { 1, 2, 0.5 }, 2 },     { { 1, 0.5, 2 }, 1 },     { { 0.5, 1, 2 }, 0 },    { { 1.06, 1.04, 1 }, 1 },
    };
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) assert_int_equal(hone_precision_pick(of[i].seconds), of[i].taken);
}

// Puts into the cache that products take twice as long in all precisions but `fastest`.
static void inject(const hone_recipe *recipe, int fastest)
{
    for (int i = 0; i < HONE_PRECISIONS; i++) {
        hone_recipe trial = hone_precision_trial(recipe, hone_precision_of[i]);
        hone_job job;
        hone_speed speed;
        must(hone_job_open(&job, &trial));
        must(hone_speed_open(&speed, &job));
        for (int64_t k = 0; k < speed.n_kind; k++)
            speed.kind[k].seconds = strncmp(speed.kind[k].key, "linear", 6) ? 1e-6 : i == fastest ? 1e-3 : 2e-3;
        speed.peak_flops = 1e11;
        hone_speed_save(&speed);
        hone_speed_close(&speed);
        hone_job_close(&job);
    }
}

static void test_the_choice_follows_the_timings(void **state)
{
    (void)state;
    hone_recipe recipe;
    hone_precision_choice choice;
    run_rig_recipe(&recipe, folder, "precision: auto\nper_device_train_batch_size: 6\ngradient_accumulation_steps: 2\n");
    for (int fastest = 0; fastest < HONE_PRECISIONS; fastest++) {
        hone_buffer line = { 0 };
        inject(&recipe, fastest);
        recipe.precision = HONE_precision_auto;
        must(hone_precision_choose(&recipe, NULL, HONE_SPEED_FULL, &choice));
        assert_true(choice.chosen && choice.measured_s == 0);
        assert_int_equal(choice.precision, hone_precision_of[fastest]);
        assert_int_equal(recipe.precision, hone_precision_of[fastest]);
        for (int i = 0; i < HONE_PRECISIONS; i++) // products are nearly all of the step
            if (i != fastest) assert_true(choice.tokens_per_s[fastest] / choice.tokens_per_s[i] > 1.8 && choice.tokens_per_s[fastest] / choice.tokens_per_s[i] < 2.01);
        must(hone_precision_print(&choice, &line));
        for (int i = 0; i < HONE_PRECISIONS; i++)
            if (i != fastest) assert_non_null(strstr(line.data, hone_choice_name(hone_precision_of[i])));
        hone_buffer_release(&line);
    }
    // a precision that is given stays
    recipe.precision = HONE_precision_f32;
    must(hone_precision_choose(&recipe, NULL, HONE_SPEED_FULL, &choice));
    assert_true(!choice.chosen && recipe.precision == HONE_precision_f32);
    hone_recipe_release(&recipe);
}

// The trial takes less memory than the run: fewer rows, one micro-batch.
static void test_few_rows_are_timed(void **state)
{
    (void)state;
    hone_recipe recipe;
    run_rig_recipe(&recipe, folder, "per_device_train_batch_size: 400\ngradient_accumulation_steps: 2\n");
    hone_recipe trial = hone_precision_trial(&recipe, HONE_precision_int8);
    assert_true(trial.per_device_train_batch_size == 28 && trial.gradient_accumulation_steps == 1 && trial.precision == HONE_precision_int8);
    recipe.per_device_train_batch_size = 3;
    assert_int_equal(hone_precision_trial(&recipe, HONE_precision_f32).per_device_train_batch_size, 1);
    recipe.per_device_train_batch_size = 1;
    assert_int_equal(hone_precision_trial(&recipe, HONE_precision_f32).per_device_train_batch_size, 1);
    hone_recipe_release(&recipe);
}

// A limit of memory holds while auto times, too; what has no room is not timed, and said so.
static void test_a_limit_holds_for_what_is_timed(void **state)
{
    (void)state;
    hone_recipe recipe;
    hone_precision_choice choice;
    hone_job job;
    run_rig_recipe(&recipe, folder, "precision: auto\nper_device_train_batch_size: 64\nmemory: 1MiB\n");
    const hone_recipe trial = hone_precision_trial(&recipe, HONE_precision_f32);
    assert_true(trial.memory == 1 << 20);
    must(hone_precision_choose(&recipe, NULL, HONE_SPEED_FULL, &choice));
    for (int i = 0; i < HONE_PRECISIONS; i++) assert_true(choice.tokens_per_s[i] == 0);
    hone_buffer line = { 0 };
    must(hone_precision_print(&choice, &line));
    assert_non_null(strstr(line.data, "int8 does not fit"));
    hone_buffer_release(&line);
    assert_int_equal(hone_job_open(&job, &recipe), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "memory"));
    hone_error_clear();
    hone_recipe_release(&recipe);
}

static char *log_of(const char *out)
{
    char *path = hone_path_join(out, "log.jsonl"), *text;
    size_t size;
    must(hone_file_read(path, &text, &size));
    hone_free(path);
    return text;
}

static void test_a_run_says_what_it_takes_and_goes_on_with_it(void **state)
{
    (void)state;
    char *recipe = run_rig_recipe_file(folder, "precision: auto\nmax_steps: 4\nsave_steps: 2\nper_device_train_batch_size: 4\n");
    char *new_run = hone_format("output_dir=%s/new", folder), *output;
    verb_must("  numbers ", (const char *[]){ "plan", recipe, NULL });
    verb_must("  numbers ", (const char *[]){ "plan", "--on", "h100", recipe, NULL });
    assert_int_equal(verb(&output, (const char *[]){ "pretrain", recipe, new_run, NULL }), 0);
    assert_non_null(strstr(output, "  numbers "));
    assert_non_null(strstr(output, "auto: "));
    hone_free(output);
    char *text = log_of(new_run + 11);
    assert_non_null(strstr(text, "\"precision_choice\":{\"precision\":\""));
    assert_null(strstr(text, "\"precision\":\"auto\""));     // what it took, not what was asked
    hone_free(text);
    // begun in each precision, a run goes on in it, whatever is fastest
    for (int i = 0; i < HONE_PRECISIONS; i++) {
        const char *name = hone_choice_name(hone_precision_of[i]);
        char *out = hone_format("output_dir=%s/kept-%s", folder, name), *given = hone_format("precision=%s", name);
        char *expected = hone_format("numbers %s  auto: as in %s/kept-%s/step-4", name, folder, name);
        assert_int_equal(verb(NULL, (const char *[]){ "pretrain", recipe, out, given, NULL }), 0);
        verb_must(expected, (const char *[]){ "pretrain", recipe, out, "max_steps=6", NULL });
        text = log_of(out + 11);
        assert_non_null(strstr(text, "\"kept\":"));
        hone_free(text);
        hone_free(out), hone_free(given), hone_free(expected);
    }
    hone_free(recipe);
    hone_free(new_run);
}

// The CPU has no kernels for f16: said before anything is built on it, at the line that asks for it, with what to ask for instead.
static void test_fp16_is_refused_by_name_where_there_is_none(void **state)
{
    (void)state;
    char *recipe = run_rig_recipe_file(folder, "precision: fp16\nmax_steps: 4\n"), *says = NULL;
    assert_int_not_equal(verb(&says, (const char *[]){ "plan", recipe, NULL }), 0);
    const char *const words[] = { "recipe.yaml:8: ", "f16", "the cpu backend has no f16; use bf16, int8, auto or f32, or backend cuda", "precision: fp16" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) assert_says(says, words[i]);
    hone_free(says);
    verb_must_fail("use bf16, int8, auto or f32", (const char *[]){ "pretrain", recipe, NULL });
    assert_int_equal(verb(NULL, (const char *[]){ "plan", recipe, "backend=ref", NULL }), 0);
    hone_free(recipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_narrower_numbers_must_gain_more_than_the_margin),
        cmocka_unit_test(test_few_rows_are_timed),
        cmocka_unit_test(test_a_limit_holds_for_what_is_timed),
        cmocka_unit_test(test_the_choice_follows_the_timings),
        cmocka_unit_test(test_a_run_says_what_it_takes_and_goes_on_with_it),
        cmocka_unit_test(test_fp16_is_refused_by_name_where_there_is_none),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
