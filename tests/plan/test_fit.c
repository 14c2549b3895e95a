// test_fit.c: training within a given memory: what is planned fits, less memory costs more work, too little is refused with
// the value that would do, and no choice changes a bit of what is trained.
#include "plan/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"

static char *folder, *recipe_path;

static int make_folder(void **state)
{
    (void)state;
    folder = run_rig_folder();
    recipe_path = run_rig_recipe_file(folder, "per_device_train_batch_size: 24\nmax_steps: 4\nsave_steps: 2\neval_tokens: 600\nrun_store: none\n");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    run_rig_remove(folder);
    hone_free(recipe_path);
    return 0;
}

typedef struct { int64_t process_bytes; double work_share; } numbers;

// Eight blocks whose activations outweigh the weights, with one key more (or NULL). False: refused.
static bool plan_with(char *key, numbers *out)
{
    char *override[] = { "model.hidden_size=128", "model.intermediate_size=352", "model.num_hidden_layers=8", "cutoff_len=64", key };
    hone_recipe recipe;
    hone_job job;
    hone_plan plan;
    if (hone_recipe_load(&recipe, recipe_path, key ? 5 : 4, override)) fail_msg("%s", hone_error());
    bool opened = hone_job_open(&job, &recipe) == HONE_OK;
    if (opened) {
        assert_int_equal(hone_plan_make(&job, &plan), HONE_OK);
        *out = (numbers){ plan.process_bytes, plan.recompute.work_share };
        hone_plan_release(&plan);
        hone_job_close(&job);
    }
    hone_recipe_release(&recipe);
    return opened;
}

static bool plan_within(int64_t memory, numbers *out)
{
    char *key = hone_format("memory=%lld", (long long)memory);
    bool opened = plan_with(key, out);
    hone_free(key);
    return opened;
}

// The number behind "the least is memory: " of the refusal, in bytes.
static int64_t least_memory(void)
{
    numbers unused;
    assert_false(plan_within(8 << 20, &unused));
    const char *said = strstr(hone_error(), "the least is memory: ");
    assert_non_null(said);
    assert_says(hone_error(), "memory=8388608\n");     // where it was written
    assert_says(hone_error(), "  recomputed ");        // and the table
    return strtoll(said + strlen("the least is memory: "), NULL, 10) << 20;
}

// Then the process is mostly the sanitizer's own memory, which grows from plan to plan.
static bool sanitized(void)
{
    if (SANITIZED) print_message("skipped: a sanitizer's memory is not in the plan\n");
    return SANITIZED;
}

static void test_plans_fit_and_cost_more_the_less_memory_there_is(void **state)
{
    (void)state;
    if (sanitized()) return;
    numbers whole, blocks, last, now;
    assert_true(plan_with(NULL, &whole));
    assert_true(plan_with("gradient_checkpointing=true", &blocks));
    assert_true(plan_within(4 * whole.process_bytes, &now));
    assert_true(now.work_share == whole.work_share);                // enough is enough
    int64_t least = least_memory();
    assert_true(least < whole.process_bytes * 2 / 3);
    last = now;
    for (int i = 1; i <= 5; i++) {
        int64_t memory = whole.process_bytes - (whole.process_bytes - least) * i / 5;
        assert_true(plan_within(memory, &now));
        print_message("  memory %6.1f MiB: process %6.1f MiB, %5.1f %% more work\n", (double)memory / 0x1p20, (double)now.process_bytes / 0x1p20, 100 * now.work_share);
        assert_true(now.process_bytes <= memory);
        assert_true(now.work_share >= last.work_share - 0.005);     // the search is not perfect
        last = now;
    }
    print_message("  per block        : process %6.1f MiB, %5.1f %% more work\n", (double)blocks.process_bytes / 0x1p20, 100 * blocks.work_share);
    assert_true(last.work_share > whole.work_share);
    assert_true(blocks.process_bytes < whole.process_bytes && blocks.work_share > whole.work_share);
}

static void test_the_least_that_is_named_works_and_less_does_not(void **state)
{
    (void)state;
    if (sanitized()) return;
    numbers now;
    int64_t least = least_memory();
    assert_true(plan_within(least, &now));
    assert_true(now.process_bytes <= least);
    assert_false(plan_within(least - (12 << 20), &now));
}

// Three runs of four steps: storing all, within little memory, and the first one's second step gone on with per block.
static void test_training_is_bit_identical_within_any_memory(void **state)
{
    (void)state;
    char *out[3], *key[3], *resume = hone_format("resume=%s/run0/step-2", folder), *text;
    numbers whole;
    int64_t least = least_memory();
    assert_true(plan_with(NULL, &whole));
    for (int i = 0; i < 3; i++) out[i] = hone_format("output_dir=%s/run%d", folder, i);
    key[0] = hone_strdup("memory=0");
    key[1] = hone_format("memory=%lld", (long long)(least + (whole.process_bytes - least) / 4));
    key[2] = hone_strdup("gradient_checkpointing=true");
    for (int i = 0; i < 3; i++) {
        int code = verb(&text, (const char *[]){ "pretrain", recipe_path, "model.hidden_size=128", "model.intermediate_size=352",
                                                 "model.num_hidden_layers=8", "cutoff_len=64", out[i], key[i], i == 2 ? resume : "resume=auto", NULL });
        if (code) fail_msg("%s: %s", key[i], text);
        hone_free(text);
        for (int file = 0; file < 2; file++) {
            const char *name = file ? "optimizer.safetensors" : "model.safetensors";
            assert_true(test_hash("%s/run%d/step-4/%s", folder, i, name) == test_hash("%s/run0/step-4/%s", folder, name));
        }
    }
    assert_false(test_hash("%s/run0/step-2/model.safetensors", folder) == test_hash("%s/run0/step-4/model.safetensors", folder));
    for (int i = 0; i < 3; i++) {
        hone_free(out[i]);
        hone_free(key[i]);
    }
    hone_free(resume);
}

static void test_the_two_keys_exclude_each_other_and_shares_are_read(void **state)
{
    (void)state;
    hone_recipe recipe;
    hone_job job;
    assert_int_equal(hone_recipe_load(&recipe, recipe_path, 2, (char *[]){ "memory=50%", "gradient_checkpointing=true" }), HONE_OK);
    assert_int_equal(recipe.memory, hone_memory_limit_bytes() / 2);
    assert_int_equal(hone_job_open(&job, &recipe), HONE_FAILED);
    assert_says(hone_error(), "give one of the two");
    hone_recipe_release(&recipe);
    assert_int_equal(hone_recipe_load(&recipe, recipe_path, 1, (char *[]){ "memory=50 %%" }), HONE_FAILED);
    assert_says(hone_error(), "512MiB, 4GB or 50%");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans_fit_and_cost_more_the_less_memory_there_is),
        cmocka_unit_test(test_the_least_that_is_named_works_and_less_does_not),
        cmocka_unit_test(test_training_is_bit_identical_within_any_memory),
        cmocka_unit_test(test_the_two_keys_exclude_each_other_and_shares_are_read),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
