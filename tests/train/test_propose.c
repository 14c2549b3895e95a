// A proposed recipe keeps what it promises: the published rule, memory within the limit, a recipe that loads and trains.
#include "train/propose.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/verb.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void test_without_repetition_the_best_size_has_20_tokens_a_parameter(void **state)
{
    (void)state;
    for (double compute = 1e16; compute < 1e23; compute *= 100) {
        double best = 0, lowest = INFINITY;
        for (double N = 1e5; N < 1e12; N *= 1.01) {
            double loss = hone_propose_loss(N, compute / (6 * N), 1e30);
            if (loss < lowest) { lowest = loss; best = N; }
        }
        double ratio = compute / (6 * best) / best; // (B / A)^(1 / exponent) = 19.6; the grid is 1 % apart, the ratio 2 %
        assert_true(ratio > 19.6 / 1.03 && ratio < 19.6 * 1.03);
    }
}

static void test_repeated_data_count_for_less_and_for_less_each_time(void **state)
{
    (void)state;
    double once = hone_propose_loss(1e8, 1e9, 1e9), four = hone_propose_loss(1e8, 4e9, 1e9), fresh = hone_propose_loss(1e8, 4e9, 4e9);
    assert_true(fresh < four && four < once);
    assert_true((once - four) > 0.85 * (once - fresh));      // the paper: up to 4 passes are nearly as good as new data
    double many = hone_propose_loss(1e8, 100e9, 1e9), more = hone_propose_loss(1e8, 200e9, 1e9);
    assert_true(many - more < 0.01 * (once - many));         // and after a hundred nothing is left to gain
}

#if defined(__SANITIZE_ADDRESS__) // a sanitizer's memory counts as the program's own
#define BUDGET_MB "220"
#else
#define BUDGET_MB "40"
#endif
static void test_init_writes_a_recipe_that_fits_and_trains(void **state)
{
    (void)state;
    char *text = hone_strdup(test_path("a text.txt")), *tok = hone_strdup(test_path("tok")), *data = hone_strdup(test_path("the data")), *recipe = hone_strdup(test_path("r.yaml"));
    char *out = hone_strdup(test_path("run \"1\"")), *model = hone_path_join(out, "model/config.json"), *output;
    hone_buffer words = { 0 };
    for (int i = 0; i < 9000; i++) assert_int_equal(hone_buffer_print(&words, "%s %d%s", i % 3 ? "and it came to pass in the year" : "the king", i % 97, i % 11 ? " " : "\n\n"), HONE_OK);
    assert_int_equal(hone_file_write(text, words.data, words.size), HONE_OK);
    hone_buffer_release(&words);
    verb_must("", (const char *[]){ "tokenizer", "train", "--vocab", "300", "--output", tok, text, NULL });
    verb_must("", (const char *[]){ "prepare", "--tokenizer", tok, "--output", data, "--held-out", "0.1", text, NULL });
    verb_must("is written", (const char *[]){ "init", "--time", "20s", "--memory", BUDGET_MB "MB", "--output", recipe, "--output-dir", out, data, NULL });
    if (verb(&output, (const char *[]){ "plan", "--json", recipe, NULL })) fail_msg("%s", output);
    json_t *plan;
    assert_int_equal(hone_json_parse("plan", output, strlen(output), &plan), HONE_OK);
    assert_true(json_number_value(json_object_get(plan, "process_bytes")) <= atof(BUDGET_MB) * 1e6 * 1.03); // planned in another process
    json_decref(plan);
    hone_free(output);
    verb_must("loss", (const char *[]){ "pretrain", recipe, "max_steps=2", NULL });
    assert_true(hone_file_exists(model));
    verb_must_fail("--force", (const char *[]){ "init", "--output", recipe, data, NULL });
    verb_must_fail("--memory", (const char *[]){ "init", "--force", "--output", recipe, "--memory", "1MB", data, NULL });
    verb_must_fail("max_time", (const char *[]){ "init", "--force", "--output", recipe, "--time", "soon", data, NULL });
    verb_must_fail("/no/such/data", (const char *[]){ "init", "--force", "--output", recipe, "/no/such/data", NULL });
    hone_free(text);
    hone_free(tok);
    hone_free(data);
    hone_free(recipe);
    hone_free(out);
    hone_free(model);
}

// --- tuning a model that exists ------------------------------------------------------------------------------------------

static void write_text(const char *path, int pieces)
{
    hone_buffer words = { 0 };
    for (int i = 0; i < pieces; i++) assert_int_equal(hone_buffer_print(&words, "what is %d%s", i % 97, i % 7 ? " " : "\n\n"), HONE_OK);
    assert_int_equal(hone_file_write(path, words.data, words.size), HONE_OK);
    hone_buffer_release(&words);
}

// A tiny llama with a tokenizer of bytes and a chat template, trained a little.
static char *make_model(void)
{
    static const char template[] = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    char *text = hone_strdup(test_path("words.txt")), *tok = hone_strdup(test_path("bytes")), *data = hone_strdup(test_path("words")), *recipe = hone_strdup(test_path("base.yaml"));
    char *out = hone_strdup(test_path("base")), *model = hone_path_join(out, "model"), *path = hone_path_join(model, "chat_template.jinja");
    write_text(text, 2000);
    verb_must("", (const char *[]){ "tokenizer", "train", "--vocab", "262", "--special", "</s>", "--output", tok, text, NULL });
    verb_must("", (const char *[]){ "prepare", "--tokenizer", tok, "--eos", "</s>", "--output", data, text, NULL });
    char *yaml = hone_format("model: {model_type: llama, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 128}\n"
                             "dataset: '%s'\noutput_dir: '%s'\ncutoff_len: 32\nmax_steps: 2\nrun_store: none\n", data, out);
    assert_int_equal(hone_file_write(recipe, yaml, strlen(yaml)), HONE_OK);
    verb_must("loss", (const char *[]){ "pretrain", recipe, NULL });
    assert_int_equal(hone_file_write(path, template, sizeof template - 1), HONE_OK);
    hone_free(yaml), hone_free(text), hone_free(tok), hone_free(data), hone_free(recipe), hone_free(out), hone_free(path);
    return model;
}

static void write_talks(const char *path)
{
    hone_buffer talks = { 0 };
    for (int i = 0; i < 300; i++)
        assert_int_equal(hone_buffer_print(&talks, "{\"messages\": [{\"role\": \"user\", \"content\": \"%d?\"}, {\"role\": \"assistant\", \"content\": \"It is %d.\"}]}\n", i % 50, i % 50 + 1), HONE_OK);
    assert_int_equal(hone_file_write(path, talks.data, talks.size), HONE_OK);
    hone_buffer_release(&talks);
}

static double planned(const char *const command[])
{
    char *output;
    json_t *plan;
    if (verb(&output, command)) fail_msg("%s", output);
    assert_int_equal(hone_json_parse("plan", output, strlen(output), &plan), HONE_OK);
    const double bytes = json_number_value(json_object_get(plan, "process_bytes"));
    json_decref(plan);
    hone_free(output);
    return bytes;
}
static double planned_bytes(const char *recipe) { return planned((const char *[]){ "plan", "--json", recipe, NULL }); }
// A little more than a recipe takes in the precision that takes most: timings choose which it is.
static double planned_amply(const char *recipe) { return planned((const char *[]){ "plan", "--json", recipe, "precision=f32", NULL }) * 1.05; }
// In one precision, of one number of rows, which timings choose, too.
static double planned_alike(const char *recipe)
{
    return planned((const char *[]){ "plan", "--json", recipe, "precision=f32", "per_device_train_batch_size=2", NULL });
}

static void must_hold(const char *path, const char *words)
{
    char *text = test_read(path);
    if (!strstr(text, words)) fail_msg("no '%s' in %s", words, text);
    hone_free(text);
}

static void test_init_with_a_model_writes_a_recipe_that_fits_and_tunes(void **state)
{
    (void)state;
    char *model = make_model(), *talks = hone_strdup(test_path("talks.jsonl")), *recipe = hone_strdup(test_path("tune.yaml")), *out = hone_strdup(test_path("tuned \"1\""));
    char *data = hone_strdup(test_path("talks-data")), *tuned = hone_path_join(out, "model/config.json"), *out2 = hone_strdup(test_path("adapted")), *adapter = hone_path_join(out2, "adapter"), *more = hone_strdup(test_path("more.txt"));
    write_talks(talks);
    // conversations as they are; few and fast: three passes, every weight
    verb_must("full", (const char *[]){ "init", "--model", model, "--data", talks, "--time", "5m", "--output", recipe, "--output-dir", out, NULL });
    must_hold(recipe, "talks.jsonl\"\n");
    must_hold(recipe, "finetuning_type: full\n");
    must_hold(recipe, "num_train_epochs: 3\n");
    must_hold(recipe, "cutoff_len: 64\n");
    assert_true(planned_bytes(recipe) < 1e9);
    verb_must("loss", (const char *[]){ "tune", recipe, "max_steps=2", NULL });
    assert_true(hone_file_exists(tuned));
    // what is prepared is taken as it is, too; adapters
    verb_must("300", (const char *[]){ "prepare", "--chat", "--tokenizer", model, "--output", data, talks, NULL });
    verb_must("lora", (const char *[]){ "init", "--force", "--model", model, "--method", "lora", "--output", recipe, "--output-dir", out2, data, NULL });
    must_hold(recipe, "lora_rank: 16\nlora_alpha: 32\n");
    must_hold(recipe, "learning_rate: 0.0002\n");
    verb_must("loss", (const char *[]){ "tune", recipe, "max_steps=2", NULL });
    assert_true(hone_dir_exists(adapter));
    // text, with so little time that the clock ends the run
    write_text(more, 100000);
    verb_must("documents", (const char *[]){ "init", "--force", "--model", model, "--data", more, "--time", "0.2s", "--output", recipe, "--output-dir", out, NULL });
    must_hold(recipe, "max_time: 0.2s\n");
    verb_must_fail("say --data", (const char *[]){ "init", "--force", "--model", model, "--data", more, "--output", recipe, NULL });
    verb_must_fail("--memory", (const char *[]){ "init", "--force", "--model", model, "--data", data, "--output", recipe, "--memory", "1MB", NULL });
    verb_must_fail("full, lora or qlora", (const char *[]){ "init", "--force", "--model", model, "--data", data, "--output", recipe, "--method", "lroa", NULL });
    verb_must_fail("--model", (const char *[]){ "init", "--force", "--data", data, "--output", recipe, "--method", "lora", NULL });
    verb_must_fail("/no/such/model", (const char *[]){ "init", "--force", "--model", "/no/such/model", "--data", data, "--output", recipe, NULL });
    verb_must_fail("/no/such/data", (const char *[]){ "init", "--force", "--model", model, "--data", "/no/such/data", "--output", recipe, NULL });
    hone_free(model), hone_free(talks), hone_free(recipe), hone_free(out), hone_free(data), hone_free(tuned), hone_free(out2), hone_free(adapter), hone_free(more);
}

// 8 million numbers: with moments and gradients 134 MB; factors with what they need of it take half of that.
static void test_init_takes_adapters_where_full_tuning_does_not_fit(void **state)
{
    (void)state;
    if (SANITIZED) { print_message("skipped: a sanitizer's memory is not in the plan\n"); skip(); }
    static const char config[] = "{\"model_type\": \"llama\", \"vocab_size\": 8192, \"hidden_size\": 256, \"intermediate_size\": 704, \"num_hidden_layers\": 8,"
                                 " \"num_attention_heads\": 4, \"num_key_value_heads\": 4, \"max_position_embeddings\": 512, \"tie_word_embeddings\": true}";
    char *model = hone_strdup(test_path("medium")), *file = hone_path_join(model, "config.json"), *recipe = hone_strdup(test_path("medium.yaml"));
    char *tok = hone_strdup(test_path("bytes")), *data = hone_strdup(test_path("talks-data"));
    assert_int_equal(hone_dir_create(model), HONE_OK);
    assert_int_equal(hone_file_write(file, config, sizeof config - 1), HONE_OK);
    verb_must("lora", (const char *[]){ "init", "--model", model, "--tokenizer", tok, "--method", "lora", "--data", data, "--output", recipe, NULL });
    // a little more than adapters need
    char *enough = hone_format("%.0fMB", planned_amply(recipe) / 1e6);
    const double lora = planned_alike(recipe);
    verb_must("lora", (const char *[]){ "init", "--force", "--model", model, "--tokenizer", tok, "--data", data, "--memory", enough, "--output", recipe, NULL });
    must_hold(recipe, "finetuning_type: lora\n");
    must_hold(recipe, "# full with blocks recomputed takes");
    assert_true(planned_bytes(recipe) <= atof(enough) * 1e6 * 1.03);
    verb_must_fail("not even full", (const char *[]){ "init", "--force", "--model", model, "--tokenizer", tok, "--method", "full", "--data", data, "--memory", enough, "--output", recipe, NULL });
    // and a little more than they need beside matrices in few bits
    verb_must("qlora", (const char *[]){ "init", "--force", "--model", model, "--tokenizer", tok, "--method", "qlora", "--data", data, "--output", recipe, NULL });
    char *less = hone_format("%.0fMB", planned_amply(recipe) / 1e6);
    assert_true(planned_alike(recipe) < 0.8 * lora);
    verb_must("qlora", (const char *[]){ "init", "--force", "--model", model, "--tokenizer", tok, "--data", data, "--memory", less, "--output", recipe, NULL });
    must_hold(recipe, "finetuning_type: qlora\nlora_rank: 16\n");
    must_hold(recipe, "# lora with blocks recomputed takes");
    assert_true(planned_bytes(recipe) <= atof(less) * 1e6 * 1.03);
    verb_must_fail("not even QLoRA", (const char *[]){ "init", "--force", "--model", model, "--tokenizer", tok, "--data", data, "--output", recipe, "--memory", "1MB", NULL });
    hone_free(less), hone_free(enough), hone_free(model), hone_free(file), hone_free(recipe), hone_free(tok), hone_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_repetition_the_best_size_has_20_tokens_a_parameter),
        cmocka_unit_test(test_repeated_data_count_for_less_and_for_less_each_time),
        cmocka_unit_test(test_init_writes_a_recipe_that_fits_and_trains),
        cmocka_unit_test(test_init_with_a_model_writes_a_recipe_that_fits_and_tunes),
        cmocka_unit_test(test_init_takes_adapters_where_full_tuning_does_not_fit),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
