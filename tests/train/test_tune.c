// hone tune, merge and --adapter, driven as a user would: a tiny llama of tests/golden learns what tests/support/run_rig.h makes.
#include "base/cpu.h"
#include "base/file.h"
#include "base/json.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const base = HONE_SOURCE_DIR "/tests/golden/llama", *const other_base = HONE_SOURCE_DIR "/tests/golden/mistral";
static const char *const more = "model_name_or_path: " HONE_SOURCE_DIR "/tests/golden/llama\nfinetuning_type: lora\nlora_rank: 4\nlora_dropout: 0.1\n"
                                "per_device_train_batch_size: 2\ngradient_accumulation_steps: 2\nmax_steps: 30\nsave_steps: 7\nlogging_steps: 1\nrun_store: none\n";

static char *folder, *recipe;
static int make_folder(void **state)
{
    (void)state;
    folder = run_rig_folder();
    recipe = run_rig_recipe_file(folder, more);
    return 0;
}
static int remove_folder(void **state)
{
    (void)state;
    hone_free(recipe);
    run_rig_remove(folder);
    return 0;
}

// Held-out loss as `hone eval --json` tells it.
static double loss_of(const char *model, const char *adapter)
{
    char *output, *data = hone_format("%s/held.u16", folder);
    json_t *row;
    const int code = verb(&output, (const char *[]){ "eval", model, "--json", "--context", "37", "--data", data, adapter ? "--adapter" : NULL, adapter, NULL });
    if (code) fail_msg("%s", output);
    must(hone_json_parse("eval", output, strlen(output), &row));
    const double loss = json_real_value(json_object_get(row, "loss"));
    json_decref(row);
    hone_free(output);
    hone_free(data);
    return loss;
}

static double number_behind(const char *text, const char *words)
{
    const char *at = strstr(text, words);
    if (!at) fail_msg("no %s in %s", words, text);
    return strtod(at + strlen(words), NULL);
}

static void test_adapters_learn_and_merge_into_their_base(void **state)
{
    (void)state;
    char *out = hone_format("output_dir=%s/learn", folder), *adapter = hone_format("%s/learn/adapter", folder), *merged = hone_format("%s/merged", folder);
    char *data = hone_format("%s/held.u16", folder), *output;
    verb_must("learn/adapter", (const char *[]){ "tune", recipe, out, NULL });
    const double before = loss_of(base, NULL), after = loss_of(base, adapter);
    assert_true(after < before - 0.2);
    assert_int_equal(verb(&output, (const char *[]){ "merge", base, "--adapter", adapter, "--output", merged, "--data", data, NULL }), 0);
    assert_true(fabs(number_behind(output, "merged     ")) < 1e-7);     // log-probabilities are kept in f32: 5e-7 each
    assert_true(number_behind(output, "base       ") > 1e-3);
    hone_free(output);
    assert_true(fabs(loss_of(merged, NULL) - after) < 1e-5);
    char *prompt = hone_format("%s/prompt.jsonl", folder);
    must(hone_file_write(prompt, "{\"ids\": [5, 6, 8]}\n", 19));
    verb_must("\"ids\"", (const char *[]){ "generate", base, "--adapter", adapter, "--input", prompt, "--max-new-tokens", "8", NULL });
    hone_free(prompt);
    hone_free(out), hone_free(adapter), hone_free(merged), hone_free(data);
}

static void test_lengths_of_rows_learn_and_merge(void **state)
{
    (void)state;
    char *out = hone_format("output_dir=%s/dora", folder), *adapter = hone_format("%s/dora/adapter", folder), *merged = hone_format("%s/dora_merged", folder);
    char *data = hone_format("%s/held.u16", folder), *output, *from = hone_format("resume=%s/dora/step-14", folder), *again = hone_format("output_dir=%s/dora_on", folder);
    const char *const key = "finetuning_type=dora", *const dropout = "lora_dropout=0", *const keep = "save_total_limit=9";
    verb_must("dora/adapter", (const char *[]){ "tune", recipe, out, key, dropout, keep, NULL });
    verb_must("dora_on/adapter", (const char *[]){ "tune", recipe, again, key, dropout, from, NULL });
    assert_true(test_hash("%s/adapter_model.safetensors", adapter) == test_hash("%s/adapter/adapter_model.safetensors", again + 11));
    const double after = loss_of(base, adapter);
    assert_true(after < loss_of(base, NULL) - 0.2);
    assert_int_equal(verb(&output, (const char *[]){ "merge", base, "--adapter", adapter, "--output", merged, "--data", data, NULL }), 0);
    assert_true(fabs(number_behind(output, "merged     ")) < 1e-7);
    assert_true(number_behind(output, "base       ") > 1e-3);
    assert_true(fabs(loss_of(merged, NULL) - after) < 1e-5);
    hone_free(out), hone_free(adapter), hone_free(merged), hone_free(data), hone_free(output), hone_free(from), hone_free(again);
}

// Adapters are of the matrices in blocks: the tables of values and the gains stay as they are.
static void test_a_model_with_value_embeddings_and_skips_learns_and_merges(void **state)
{
    (void)state;
    const char *const model = HONE_SOURCE_DIR "/tests/golden/values";
    char *text = hone_format("%s", more), *merged = hone_format("%s/values_merged", folder), *data = hone_format("%s/held.u16", folder), *output;
    char *at = strstr(text, "golden/llama\n"), *own = hone_format("%.*sgolden/values\n%s", (int)(at - text), text, at + strlen("golden/llama\n"));
    char *path = run_rig_recipe_file(folder, own), *out = hone_format("output_dir=%s/values", folder), *adapter = hone_format("%s/values/adapter", folder);
    verb_must("values/adapter", (const char *[]){ "tune", path, out, NULL });
    const double before = loss_of(model, NULL), after = loss_of(model, adapter);
    assert_true(after < before - 0.05);
    assert_int_equal(verb(&output, (const char *[]){ "merge", model, "--adapter", adapter, "--output", merged, "--data", data, NULL }), 0);
    assert_true(fabs(number_behind(output, "merged     ")) < 1e-7);
    assert_true(fabs(loss_of(merged, NULL) - after) < 1e-5);
    hone_free(text), hone_free(own), hone_free(path), hone_free(out), hone_free(adapter), hone_free(merged), hone_free(data), hone_free(output);
    hone_free(recipe);
    recipe = run_rig_recipe_file(folder, more);
}

static void test_adapters_of_another_base_are_refused(void **state)
{
    (void)state;
    char *adapter = hone_format("%s/learn/adapter", folder), *merged = hone_format("%s/merged", folder), *data = hone_format("%s/held.u16", folder);
    verb_must_fail("whose weights differ from those of", (const char *[]){ "eval", other_base, "--data", data, "--adapter", adapter, NULL });
    verb_must_fail("whose weights differ from those of", (const char *[]){ "eval", merged, "--data", data, "--adapter", adapter, NULL });
    verb_must_fail("belongs to another base model", (const char *[]){ "eval", HONE_SOURCE_DIR "/tests/golden/gpt2", "--data", data, "--adapter", adapter, NULL });
    verb_must_fail("belongs to another base model", (const char *[]){ "eval", HONE_SOURCE_DIR "/tests/golden/llama_biased", "--data", data, "--adapter",
                                                                      HONE_SOURCE_DIR "/tests/golden_lora/llama", NULL });
    verb_must_fail("no such folder", (const char *[]){ "eval", base, "--data", data, "--adapter", "/nowhere", NULL });
    hone_free(adapter), hone_free(merged), hone_free(data);
}

static void test_what_tune_cannot_do_is_refused(void **state)
{
    (void)state;
    char *out = hone_format("output_dir=%s/refused", folder);
    verb_must_fail("hone tune", (const char *[]){ "pretrain", recipe, out, NULL });
    verb_must_fail("give model_name_or_path", (const char *[]){ "tune", recipe, out, "model_name_or_path=", NULL });
    verb_must_fail("names no matrix", (const char *[]){ "tune", recipe, out, "lora_target=q_porj", NULL });
    verb_must_fail("set it to 0", (const char *[]){ "tune", recipe, out, "use_dora=true", NULL });
    verb_must_fail("lengths of their own", (const char *[]){ "tune", recipe, out, "use_dora=true", "finetuning_type=full", NULL });
    verb_must_fail("adamw", (const char *[]){ "tune", recipe, out, "optimizer=muon", NULL });
    assert_false(hone_dir_exists(out + 11));
    hone_free(out);
}

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

// Dropout draws the same in whichever process a step runs.
static void test_stopped_and_gone_on_is_bit_identical(void **state)
{
    (void)state;
    char *parts = hone_format("output_dir=%s/parts", folder), *whole = hone_format("output_dir=%s/whole", folder);
    verb_run run;
    verb_start(&run, (const char *[]){ "tune", recipe, parts, "max_steps=200", "save_steps=10", NULL });
    for (double began = hone_clock_s(); steps_logged(parts + 11) < 35 && hone_clock_s() - began < 100;) usleep(500);
    kill(run.pid, SIGKILL);     // at any moment
    verb_finish(&run);
    hone_free(run.output);
    verb_must("resume from step", (const char *[]){ "tune", recipe, parts, "max_steps=200", NULL });
    verb_must("whole/adapter", (const char *[]){ "tune", recipe, whole, "max_steps=200", NULL });
    assert_true(test_hash("%s/adapter/adapter_model.safetensors", whole + 11) == test_hash("%s/adapter/adapter_model.safetensors", parts + 11));
    assert_true(test_hash("%s/step-200/optimizer.safetensors", whole + 11) == test_hash("%s/step-200/optimizer.safetensors", parts + 11));
    hone_free(parts), hone_free(whole);
}

static void test_checkpoints_hold_factors_alone(void **state)
{
    (void)state;
    char *step = hone_format("%s/learn/step-30", folder), *weights = hone_format("%s/model.safetensors", step);
    verb_must("step-30", (const char *[]){ "ckpt", "verify", step, NULL });
    assert_false(hone_file_exists(weights));
    char *out = hone_format("output_dir=%s/learn", folder);
    verb_must_fail("lora_rank was 4", (const char *[]){ "tune", recipe, out, "lora_rank=8", "max_steps=40", NULL });
    hone_free(step), hone_free(weights), hone_free(out);
}

static void test_full_tuning_starts_from_the_model(void **state)
{
    (void)state;
    char *out = hone_format("output_dir=%s/full", folder), *model = hone_format("%s/full/model", folder);
    verb_must("full/model", (const char *[]){ "tune", recipe, out, "finetuning_type=full", NULL });
    assert_true(loss_of(model, NULL) < loss_of(base, NULL) - 0.2);
    hone_free(out), hone_free(model);
}

// Losses of three steps of a job with dropout (or what `more` says), rows split into micro-batches as given.
static void three_losses(const char *more_keys, const char *split, double loss[3])
{
    run_rig r;
    char *text = hone_format("model_name_or_path: %s\nfinetuning_type: lora\nseed: 3\n%s%s", base, more_keys, split);
    run_rig_open(&r, folder, text);
    hone_lora_init(&r.job.model, 3, hone_job_place, &r.job);
    for (int i = 0; i < 3; i++) {
        hone_step step;
        must(hone_loop_step(&r.loop, 100, &step));
        loss[i] = step.loss;
    }
    run_rig_close(&r);
    hone_free(text);
}

static void check_split(const char *keys)
{
    double whole[3], split[3], without[3];
    three_losses(keys, "per_device_train_batch_size: 4\n", whole);
    three_losses(keys, "per_device_train_batch_size: 1\ngradient_accumulation_steps: 4\n", split);
    three_losses("", "per_device_train_batch_size: 4\n", without);
    for (int i = 0; i < 3; i++) assert_true(fabs(whole[i] - split[i]) < 1e-5);
    assert_true(fabs(whole[2] - without[2]) > 1e-5);
}

static void test_dropout_does_not_depend_on_the_split_into_micro_batches(void **state) { (void)state; check_split("lora_dropout: 0.3\n"); }

static void test_noise_of_embeddings_does_not_either(void **state) { (void)state; check_split("neftune_noise_alpha: 5\n"); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapters_learn_and_merge_into_their_base),
        cmocka_unit_test(test_lengths_of_rows_learn_and_merge),
        cmocka_unit_test(test_a_model_with_value_embeddings_and_skips_learns_and_merges),
        cmocka_unit_test(test_adapters_of_another_base_are_refused),
        cmocka_unit_test(test_what_tune_cannot_do_is_refused),
        cmocka_unit_test(test_checkpoints_hold_factors_alone),
        cmocka_unit_test(test_stopped_and_gone_on_is_bit_identical),
        cmocka_unit_test(test_full_tuning_starts_from_the_model),
        cmocka_unit_test(test_dropout_does_not_depend_on_the_split_into_micro_batches),
        cmocka_unit_test(test_noise_of_embeddings_does_not_either),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
