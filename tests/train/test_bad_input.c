// What a training run is asked in vain: one clear message with place and remedy, exit code 1, nothing written.
#include "base/file.h"
#include "support/cmocka_all.h"
#include "support/run_rig.h"
#include "support/verb.h"

static char *folder;
static int make_folder(void **state) { (void)state; folder = run_rig_folder(); return 0; }
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

// The recipe of the rig with one override more must be refused with `want` in the message, before output_dir exists.
static void refuse(const char *override, const char *want)
{
    char *path = run_rig_recipe_file(folder, "max_steps: 3\n"), *out = hone_path_join(folder, "out"), *output;
    int code = verb(&output, (const char *[]){ "pretrain", path, override, NULL });
    if (code != 1) fail_msg("%s: exit code %d: %s", override, code, output);
    if (!strstr(output, want)) fail_msg("%s: '%s' does not say '%s'", override, output, want);
    assert_false(hone_dir_exists(out));
    hone_free(path);
    hone_free(out);
    hone_free(output);
}

static void test_recipes_that_cannot_be_are_refused(void **state)
{
    (void)state;
    refuse("max_step=3", "max_step is not a key; did you mean max_steps?");
    refuse("model.hiden_size=64", "hiden_size is not a key of a llama config.json; did you mean hidden_size?");
    refuse("model.hidden_size=0", "hidden_size is 0");
    refuse("model.num_hidden_layers=-1", "num_hidden_layers is -1");
    refuse("model.hidden_size=33", "hidden_size 33 is not a multiple of num_attention_heads 4");
    refuse("model.model_type=lama", "model_type \"lama\" is not a family");
    refuse("per_device_train_batch_size=0", "per_device_train_batch_size is 0 rows; it must lie in [1,65536]");
    refuse("gradient_accumulation_steps=-2", "gradient_accumulation_steps is -2");
    refuse("learning_rate=0", "learning_rate is 0; it must lie in (0,)");
    refuse("model.max_position_embeddings=36", "cutoff_len is 37 tokens, but the model has 36 positions");
    refuse("max_steps=0", "the run would never end");
    refuse("backend=gpu", "gpu");
    refuse("model_name_or_path=/nowhere", "model and model_name_or_path are both given");
    refuse("sample_steps=2", "samples need a tokenizer");
}

static void test_data_that_cannot_be_is_refused(void **state)
{
    (void)state;
    refuse("dataset=/nowhere/x.u16", "/nowhere/x.u16");
    refuse("cutoff_len=1000000", "cutoff_len");
    refuse("model.vocab_size=100", "train.u16: token "); // ids up to 119: with file and position
}

static void test_too_little_memory_is_refused_with_the_plan(void **state)
{
    (void)state;
    refuse("max_memory=1MiB", "max_memory allows 1.00 MiB");
    refuse("max_memory=1MiB", "optimizer moments");
    refuse("model.hidden_size=65536", "machine has available");
}

// Root may write anywhere but below a file.
static void test_a_folder_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    char *out = hone_format("output_dir=%s/train.u16/out", folder);
    refuse(out, "/train.u16");
    refuse("output_dir=/proc/hone", "/proc/hone");
    refuse("output_dir=", "no output_dir");
    hone_free(out);
}

static void test_wrong_command_lines_have_exit_code_2(void **state)
{
    (void)state;
    char *output;
    assert_int_equal(verb(&output, (const char *[]){ "pretrain", NULL }), 2);
    assert_non_null(strstr(output, "which recipe?"));
    hone_free(output);
    assert_int_equal(verb(&output, (const char *[]){ "pretrain", "--profle", "a.yaml", NULL }), 2);
    assert_non_null(strstr(output, "did you mean --profile?"));
    hone_free(output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recipes_that_cannot_be_are_refused),
        cmocka_unit_test(test_data_that_cannot_be_is_refused),
        cmocka_unit_test(test_too_little_memory_is_refused_with_the_plan),
        cmocka_unit_test(test_a_folder_that_cannot_be_written_is_named),
        cmocka_unit_test(test_wrong_command_lines_have_exit_code_2),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
