// A recipe says what is wrong, where, and what to do; and what is right arrives as written.
#include "base/file.h"
#include "recipe/recipe.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[64], path[96];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/hone_recipe_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/r.yaml", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return hone_dir_remove(folder);
}

static hone_status load(hone_recipe *recipe, const char *text, int n, char *const *override)
{
    assert_int_equal(hone_file_write(path, text, strlen(text)), HONE_OK);
    return hone_recipe_load(recipe, path, n, override);
}

// Loads what must fail; the message must be `want`, with PATH for the recipe's path.
static void expect_error(const char *text, char *override, const char *want)
{
    hone_recipe recipe;
    assert_int_equal(load(&recipe, text, override ? 1 : 0, &override), HONE_FAILED);
    char expected[1024];
    const char *at = strstr(want, "PATH");
    if (at) snprintf(expected, sizeof expected, "%.*s%s%s", (int)(at - want), want, path, at + 4);
    else snprintf(expected, sizeof expected, "%s", want);
    assert_string_equal(hone_error(), expected);
}

static void test_values_arrive_as_written(void **state)
{
    (void)state;
    hone_recipe r;
    char *override[] = { "cutoff_len=64", "model.hidden_size=96", "sample_prompt=[one, 'two, three']" };
    const char *text = "model:\n  model_type: llama\n  hidden_size: 64\n  rope_theta: 1e4\n  tie_word_embeddings: true\n"
                       "  architectures: [a, b]\n  note: '12'\n"
                       "learning_rate: 3e-4\nlr_scheduler_type: wsd\ncutoff_len: 128\nneat_packing: off\n"
                       "max_tokens: 1e6\nmax_time: 1.5h\nmax_memory: 512 MiB\noutput_dir: \"runs/ä\"\n";
    assert_int_equal(load(&r, text, 3, override), HONE_OK);
    assert_true(r.learning_rate == 3e-4);
    assert_int_equal(r.lr_scheduler_type, HONE_lr_scheduler_type_wsd);
    assert_int_equal(r.cutoff_len, 64);
    assert_false(r.neat_packing);
    assert_int_equal(r.max_tokens, 1000000);
    assert_true(r.max_time == 5400);
    assert_int_equal(r.max_memory, 512 << 20);
    assert_string_equal(r.output_dir, "runs/ä");
    assert_int_equal(json_integer_value(json_object_get(r.model, "hidden_size")), 96);
    assert_true(json_is_real(json_object_get(r.model, "rope_theta")));
    assert_true(json_is_true(json_object_get(r.model, "tie_word_embeddings")));
    assert_string_equal(json_string_value(json_object_get(r.model, "note")), "12");
    assert_int_equal(json_array_size(json_object_get(r.model, "architectures")), 2);
    assert_int_equal(r.sample_prompt.count, 2);
    assert_string_equal(r.sample_prompt.item[1], "two, three");
    assert_true(hone_recipe_given(&r, HONE_KEY_cutoff_len));
    assert_false(hone_recipe_given(&r, HONE_KEY_seed));
    assert_int_equal(r.seed, 1);
    hone_recipe_release(&r);
}

static void test_unknown_key_names_the_nearest_and_points(void **state)
{
    (void)state;
    expect_error("seed: 1\nlearning_rte: 3e-4\n", NULL,
                 "PATH:2: learning_rte is not a key; did you mean learning_rate?\n    learning_rte: 3e-4\n    ^~~~~~~~~~~~");
    expect_error("batch_size: 8\n", NULL,
                 "PATH:1: batch_size is not a key; did you mean per_device_train_batch_size?\n    batch_size: 8\n    ^~~~~~~~~~");
    expect_error("zzzzzzz: 8\n", NULL,
                 "PATH:1: zzzzzzz is not a key; `hone schema --format text` lists them all\n    zzzzzzz: 8\n    ^~~~~~~");
    expect_error("seed: 1\n", "sede=2", "command line: sede is not a key; did you mean seed?\n    sede=2\n    ^~~~");
}

static void test_bad_values_are_refused_with_their_place(void **state)
{
    (void)state;
    expect_error("learning_rate: fast\n", NULL,
                 "PATH:1: learning_rate: 'fast' is not a number\n    learning_rate: fast\n                   ^~~~");
    expect_error("cutoff_len: 0\n", NULL,
                 "PATH:1: cutoff_len is 0 tokens; it must lie in [1,1048576]\n    cutoff_len: 0\n                ^");
    expect_error("adam_beta1: 1\n", NULL, "PATH:1: adam_beta1 is 1; it must lie in [0,1)\n    adam_beta1: 1\n                ^");
    expect_error("max_steps: 2.5\n", NULL, "PATH:1: max_steps: '2.5' is not a whole number\n    max_steps: 2.5\n               ^~~");
    expect_error("learning_rate: nan\n", NULL,
                 "PATH:1: learning_rate: 'nan' is not a number\n    learning_rate: nan\n                   ^~~");
    expect_error("lr_scheduler_type: cosin\n", NULL,
                 "PATH:1: lr_scheduler_type: 'cosin' is not one of cosine, linear, wsd, constant; did you mean cosine?\n"
                 "    lr_scheduler_type: cosin\n                       ^~~~~");
    expect_error("max_time: 5 weeks\n", NULL,
                 "PATH:1: max_time: '5 weeks' is not a time (such as 90s, 5m or 1.5h)\n    max_time: 5 weeks\n              ^~~~~~~");
    expect_error("neat_packing: maybe\n", NULL,
                 "PATH:1: neat_packing: 'maybe' is neither true nor false\n    neat_packing: maybe\n                  ^~~~~");
    expect_error("seed:\n", NULL, "PATH:1: seed has no value; leave the key out for its default\n    seed:\n    ^~~~");
    expect_error("seed: [1]\n", NULL, "PATH:1: seed: one value is wanted, not a list\n    seed: [1]\n          ^~~");
    expect_error("seed: 1\n", "cutoff_len=-5",
                 "command line: cutoff_len is -5 tokens; it must lie in [1,1048576]\n    cutoff_len=-5\n               ^~");
    expect_error("seed: 1\n", "seed.x=2", "command line: seed has no members\n    seed.x=2\n    ^~~~~~");
}

static void test_a_key_given_twice_is_refused(void **state)
{
    (void)state;
    expect_error("seed: 1\nthreads: 2\nseed: 3\n", NULL, "PATH:3: seed is given twice, first in line 1\n    seed: 3\n    ^~~~");
    expect_error("model:\n  hidden_size: 1\n  hidden_size: 2\n", NULL,
                 "PATH:3: hidden_size is given twice\n      hidden_size: 2\n      ^~~~~~~~~~~");
}

static void test_what_is_no_recipe_is_refused(void **state)
{
    (void)state;
    expect_error("", NULL, "PATH: the recipe is empty; `hone schema --format text` lists the keys");
    expect_error("- 1\n", NULL, "PATH:1: a recipe is a list of `key: value` lines");
    hone_recipe r;
    assert_int_equal(load(&r, "seed: [1, 2\nthreads: 3\n", 0, NULL), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "r.yaml:2: "));
    assert_int_equal(load(&r, "model: &a\n  x: *a\n", 0, NULL), HONE_FAILED);      // an alias that contains itself
    char *stray = "seed";
    assert_int_equal(load(&r, "seed: 1\n", 1, &stray), HONE_USAGE);
    assert_int_equal(hone_recipe_load(&r, "/nonexistent/r.yaml", 0, NULL), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "/nonexistent/r.yaml"));
}

static void test_keys_that_exclude_each_other_are_named(void **state)
{
    (void)state;
    expect_error("warmup_steps: 5\nwarmup_ratio: 0.1\n", NULL,
                 "PATH:2: warmup_ratio and warmup_steps are both given; keep one\n    warmup_ratio: 0.1\n                  ^~~");
}

// What is judged later points at the same place, into a map too.
static void test_later_failures_point_into_the_file(void **state)
{
    (void)state;
    hone_recipe r;
    assert_int_equal(load(&r, "model:\n  hiden_size: 64\ncutoff_len: 2048\n", 0, NULL), HONE_OK);
    hone_recipe_fail(&r, HONE_KEY_cutoff_len, NULL, "cutoff_len is 2048, but the model has %d positions", 1024);
    assert_non_null(strstr(hone_error(), ":3: cutoff_len is 2048, but the model has 1024 positions\n    cutoff_len: 2048\n                ^~~~"));
    json_t *known = json_pack("{s:i, s:i}", "hidden_size", 1, "vocab_size", 1);
    hone_recipe_fail_member(&r, HONE_KEY_model, "hiden_size", known, "a llama model");
    assert_non_null(strstr(hone_error(), ":2: hiden_size is not a key of a llama model; did you mean hidden_size?\n      hiden_size: 64\n      ^~~~~~~~~~"));
    json_decref(known);
    hone_recipe_release(&r);
}

// Every row of the table reaches help, schema and the record of a run.
static void test_table_is_printed_whole(void **state)
{
    (void)state;
    hone_buffer text = { 0 };
    json_t *schema, *values;
    hone_recipe r;
    assert_int_equal(hone_recipe_print_keys(&text), HONE_OK);
    assert_int_equal(hone_recipe_schema(&schema), HONE_OK);
    assert_int_equal(hone_recipe_load(&r, NULL, 0, NULL), HONE_OK);
    assert_int_equal(hone_recipe_to_json(&r, &values), HONE_OK);
    for (int k = 0; k < HONE_KEY_COUNT; k++) {
        const char *name = hone_key_table[k].name;
        assert_non_null(strstr(text.data, name));
        json_t *property = json_object_get(json_object_get(schema, "properties"), name);
        assert_non_null(json_object_get(property, "type"));
        assert_non_null(json_object_get(values, name));
    }
    json_t *rate = json_object_get(json_object_get(schema, "properties"), "learning_rate");
    assert_true(json_real_value(json_object_get(rate, "exclusiveMinimum")) == 0 && json_object_get(rate, "exclusiveMinimum"));
    assert_string_equal(json_string_value(json_object_get(values, "order")), "shuffled");
    json_decref(schema);
    json_decref(values);
    hone_recipe_release(&r);
    hone_buffer_release(&text);
}

// What logs and checkpoints could not hold is refused where it is said, not as memory that ran out later.
static void test_an_override_that_is_no_utf8_is_refused(void **state)
{
    (void)state;
    hone_recipe r;
    assert_int_equal(hone_recipe_load(&r, NULL, 1, (char *[]){ "output_dir=a\xff" }), HONE_FAILED);
    assert_string_equal(hone_error(), "command line: output_dir: its value is not UTF-8");
    assert_int_equal(hone_recipe_load(&r, NULL, 1, (char *[]){ "output_dir=a\xc3\xa9" }), HONE_OK);
    hone_recipe_release(&r);
}

// A checkpoint keeps the recipe as JSON, and the recipe's reader, which is one of YAML, reads it back.
static void test_characters_that_yaml_refuses_come_back(void **state)
{
    (void)state;
    static const char odd[] = "\x7f|\xc2\x80|\xc2\x85|\xc2\xa0|\xe2\x80\xa8|\xe2\x80\xa9|\xef\xbb\xbf|\xef\xbf\xbd|\xef\xbf\xbe|\xef\xbf\xbf|\xf0\x9f\x99\x82|\t|\"";
    hone_recipe r, again;
    char *text, *override = hone_format("output_dir=%s", odd);
    assert_int_equal(hone_recipe_load(&r, NULL, 1, &override), HONE_OK);
    assert_int_equal(hone_recipe_to_text(&r, &text), HONE_OK);
    assert_int_equal(hone_recipe_parse(&again, "again", text, 0, NULL), HONE_OK);
    assert_string_equal(again.output_dir, odd);
    hone_recipe_release(&again);
    hone_recipe_release(&r);
    hone_free(override);
    hone_free(text);
}

// override is taken, and comes back from the JSON that checkpoints keep; or its name is too long. Frees it.
static void expect_name(char *override, bool taken)
{
    hone_recipe r, again;
    char *text;
    assert_int_equal(hone_recipe_load(&r, NULL, 1, &override), taken ? HONE_OK : HONE_FAILED);
    if (!taken) assert_non_null(strstr(hone_error(), "a name of 101 bytes in a map; the longest may have 100"));
    if (taken) {
        assert_int_equal(hone_recipe_to_text(&r, &text), HONE_OK);
        assert_int_equal(hone_recipe_parse(&again, "again", text, 0, NULL), HONE_OK);
        hone_recipe_release(&again);
        hone_recipe_release(&r);
        hone_free(text);
    }
    hone_free(override);
}

// YAML reads no key of more than 1,024 characters back, and a control character takes six in JSON.
static void test_a_name_in_a_map_has_a_length(void **state)
{
    (void)state;
    char name[102] = { 0 };
    memset(name, 'a', 101);
    for (int from = 0; from < 2; from++) {
        expect_name(hone_format("model.%s=3", name + from), from == 1);
        expect_name(hone_format("model={%s: 3}", name + from), from == 1);
        expect_name(hone_format("model.rope_scaling={%s: 3}", name + from), from == 1);
    }
    memset(name, 0x10, 101);
    expect_name(hone_format("model.%s=3", name), false);
    expect_name(hone_format("model.%s=3", name + 1), true);
}

// Whatever bytes stand in the file, loading ends in a value or in a message.
static void test_mutated_recipes_never_crash(void **state)
{
    (void)state;
    const char seed[] = "model: {model_type: llama, hidden_size: 64, x: [1, 2, {a: b}]}\nlearning_rate: 3e-4\nmax_time: 5m\n"
                        "sample_prompt: [a, 'b']\norder: shuffled\n# end\noutput_dir: &x \"r\"\ndataset: *x\n";
    uint32_t random = 12345;
    for (int round = 0; round < 2000; round++) {
        char text[sizeof seed];
        memcpy(text, seed, sizeof seed);
        for (int edit = 0; edit < 1 + round % 4; edit++) {
            random = random * 1664525u + 1013904223u;
            text[(random >> 8) % (sizeof seed - 1)] = (char)(round % 2 ? ":-[]{}&*!|>'\"\n\t #0"[random % 18] : (char)(random >> 16));
        }
        hone_recipe r;
        assert_int_equal(hone_file_write(path, text, sizeof seed - 1), HONE_OK);
        hone_error_clear();
        if (hone_recipe_load(&r, path, 0, NULL) == HONE_OK) hone_recipe_release(&r);
        else assert_true(hone_error()[0] != '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_arrive_as_written),
        cmocka_unit_test(test_unknown_key_names_the_nearest_and_points),
        cmocka_unit_test(test_bad_values_are_refused_with_their_place),
        cmocka_unit_test(test_a_key_given_twice_is_refused),
        cmocka_unit_test(test_what_is_no_recipe_is_refused),
        cmocka_unit_test(test_keys_that_exclude_each_other_are_named),
        cmocka_unit_test(test_later_failures_point_into_the_file),
        cmocka_unit_test(test_table_is_printed_whole),
        cmocka_unit_test(test_an_override_that_is_no_utf8_is_refused),
        cmocka_unit_test(test_characters_that_yaml_refuses_come_back),
        cmocka_unit_test(test_a_name_in_a_map_has_a_length),
        cmocka_unit_test(test_mutated_recipes_never_crash),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
