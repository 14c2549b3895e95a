// hone inspect model: what a model is from its config.json alone; what hone does not have is named.
#include "base/file.h"
#include "base/json.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/program.h"
#include <stdio.h>
#include <string.h>

static hone_test_run run;

static void test_sizes_are_told_without_weights(void **state)
{
    (void)state;
    static const char *const says[] = { "qwen3 (Qwen3ForCausalLM)", "596,049,920", "28 x 1024, MLP 3072 (gated SiLU), RMS norms", "16 heads of 128, 8 of keys and values",
                                        "q and k normalised", "which is the head, too", "40,960", "no tokenizer there", "ends with 151645" };
    hone_test_hone(&run, "inspect model '%s/recipes/configs/Qwen3-0.6B'", HONE_SOURCE_DIR);
    assert_int_equal(run.code, 0);
    for (size_t i = 0; i < sizeof says / sizeof *says; i++) if (!strstr(run.out, says[i])) fail_msg("'%s' is not in %s", says[i], run.out);
    hone_test_hone(&run, "inspect model '%s/tests/golden/stablelm'", HONE_SOURCE_DIR);
    assert_int_equal(run.code, 0);
    assert_non_null(strstr(run.out, "6 of 12 columns turn"));
    assert_non_null(strstr(run.out, "layer norms"));
    static const char *const own[] = { "34,056: blocks", "; value embeddings 4.19k\n", "RMS norms; the last half takes in what the first put out\n",
                                       "; 2 value embeddings, each of two blocks\n" };
    hone_test_hone(&run, "inspect model '%s/tests/golden/values'", HONE_SOURCE_DIR);
    assert_int_equal(run.code, 0);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) if (!strstr(run.out, own[i])) fail_msg("'%s' is not in %s", own[i], run.out);
}

static void test_the_json_is_the_config(void **state)
{
    (void)state;
    json_t *row;
    hone_test_hone(&run, "inspect model '%s/recipes/configs/SmolLM2-135M' --json", HONE_SOURCE_DIR);
    assert_int_equal(run.code, 0);
    if (hone_json_parse("output", run.out, strlen(run.out), &row)) fail_msg("%s", hone_error());
    assert_int_equal(json_integer_value(json_object_get(row, "parameters")), 134515008);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(row, "config"), "hidden_size")), 576);
    json_decref(row);
}

static void refused(const char *config, const char *words)
{
    char path[512];
    snprintf(path, sizeof path, "%s/config.json", test_folder());
    assert_int_equal(hone_file_write(path, config, strlen(config)), HONE_OK);
    hone_test_hone(&run, "inspect model '%s'", test_folder());
    assert_int_equal(run.code, 1);
    if (!strstr(run.err, words)) fail_msg("'%s' is not in %s", words, run.err);
}

static void test_what_hone_does_not_have_is_named(void **state)
{
    (void)state;
    refused("{\"model_type\": \"mamba\"}", "model_type \"mamba\" is not a family that hone has: gpt2, llama,");
    refused("{\"model_type\": \"llama\", \"vocab_size\": 9, \"hidden_size\": 8, \"intermediate_size\": 8, \"num_hidden_layers\": 1, \"num_attention_heads\": 1, "
            "\"max_position_embeddings\": 8, \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 2}}", "rope_type \"yarn\"; hone has default, linear and llama3");
    hone_test_hone(&run, "inspect model");
    assert_int_equal(run.code, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_are_told_without_weights),
        cmocka_unit_test(test_the_json_is_the_config),
        cmocka_unit_test(test_what_hone_does_not_have_is_named),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
