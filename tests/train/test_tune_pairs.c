// Pairs of replies straight in a recipe (stage: dpo): from a file to a model that prefers the chosen ones, whole and by an adapter; gone on
// with bit for bit; the starting model asked once.
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/talks.h"
#include "support/verb.h"
#include <math.h>

static const char *const question[] = { "ping", "one", "red", "fox" }, *const better[] = { "pong", "two", "a colour", "an animal" }, *const worse[] = { "echo", "uno", "a hue", "a beast" };
enum { KINDS = 4, TIMES = 15 };

// One pair in each of the forms: all are the same data.
static const char *const form[] = {
    "{\"prompt\": \"%s\", \"chosen\": \"%s\", \"rejected\": \"%s\"}\n",
    "{\"prompt\": [{\"role\": \"user\", \"content\": \"%s\"}], \"chosen\": [{\"role\": \"assistant\", \"content\": \"%s\"}], \"rejected\": [{\"role\": \"assistant\", \"content\": \"%s\"}]}\n",
    "{\"conversations\": [{\"from\": \"human\", \"value\": \"%s\"}], \"chosen\": {\"from\": \"gpt\", \"value\": \"%s\"}, \"rejected\": {\"from\": \"gpt\", \"value\": \"%s\"}}\n",
    "{\"instruction\": \"%s\", \"input\": \"\", \"chosen\": \"%s\", \"rejected\": \"%s\"}\n",
};
static const char whole[] = "{\"prompt\": \"ignored\", \"chosen\": [{\"role\": \"user\", \"content\": \"%s\"}, {\"role\": \"assistant\", \"content\": \"%s\"}], "
                            "\"rejected\": [{\"role\": \"user\", \"content\": \"%s\"}, {\"role\": \"assistant\", \"content\": \"%s\"}]}\n";

static void write_files(void)
{
    hone_buffer talks = { 0 }, pairs = { 0 };
    for (int i = 0; i < KINDS * TIMES; i++) {
        const char *q = question[i % KINDS], *c = better[i % KINDS], *r = worse[i % KINDS];
        must(hone_buffer_print(&talks, "{\"prompt\": \"%s\", \"completion\": \"%s\"}\n{\"prompt\": \"%s\", \"completion\": \"%s\"}\n", q, c, q, r));
        if (i % 5 == 4) must(hone_buffer_print(&pairs, whole, q, c, q, r));
        else {
            must(hone_buffer_print(&pairs, form[i % 5], q, c, r));
        }
    }
    test_put("talks.jsonl", talks.data);
    test_put("pairs.jsonl", pairs.data);
    hone_buffer_release(&talks);
    hone_buffer_release(&pairs);
}

static int make_files(void **state)
{
    if (test_folder_make(state)) return -1;
    test_talk_tokenizer();
    write_files();
    char *recipe = hone_format("model: {model_type: llama, hidden_size: 48, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 4}\n"
                               "tokenizer: %s\ndataset: %s\ncutoff_len: 128\nper_device_train_batch_size: 4\nlearning_rate: 5e-3\nmax_steps: 60\noutput_dir: %s\nrun_store: none\n",
                               test_folder(), test_path("talks.jsonl"), test_path("base"));
    test_put("base.yaml", recipe);
    hone_free(recipe);
    verb_must("", (const char *const[]){ "pretrain", test_path("base.yaml"), NULL });
    recipe = hone_format("model_name_or_path: %s\nstage: dpo\ndataset: %s\neval_dataset: %s\ncutoff_len: 128\nper_device_train_batch_size: 2\ngradient_accumulation_steps: 2\n"
                         "learning_rate: 5e-4\nlr_scheduler_type: constant\nlogging_steps: 1\nmax_steps: 12\noutput_dir: %s\nrun_store: none\n",
                         test_path("base/model"), test_path("pairs.jsonl"), test_path("pairs.jsonl"), test_path("run"));
    test_put("recipe.yaml", recipe);
    hone_free(recipe);
    return 0;
}

// `hone tune` of the recipe with two keys more; what it printed, hone_free() it.
static char *tune(const char *out, const char *more)
{
    char *text, *key = hone_format("output_dir=%s", test_path(out));
    int code = verb(&text, (const char *const[]){ "tune", test_path("recipe.yaml"), key, more, NULL });
    if (code) fail_msg("%d: %s", code, text);
    hone_free(key);
    return text;
}

// Number `name` of the n-th row `event` of a log; n -1: the last.
static double logged(const char *out, const char *event, int n, const char *name)
{
    char *path = hone_format("%s/%s/log.jsonl", test_folder(), out), *text = test_read(path), *next;
    double value = (double)NAN;
    for (char *line = text; *line; line = next) {
        next = strchr(line, '\n') + 1;
        next[-1] = 0;
        json_t *row = NULL;
        must(hone_json_parse(path, line, strlen(line), &row));
        if (!strcmp(json_string_value(json_object_get(row, "event")), event) && n-- <= 0) {
            value = json_number_value(json_object_get(row, name));
            if (n == -1) *(next = line) = 0;
        }
        json_decref(row);
    }
    hone_free(text);
    hone_free(path);
    return value;
}

static void test_the_chosen_replies_become_likelier(void **state)
{
    (void)state;
    char *text = tune("run", NULL);
    assert_says(text, "log-probabilities of 240 replies");
    assert_says(text, "60 pairs of replies, 885 of 5,835 tokens trained");
    assert_says(text, "accuracy 100.0%");
    assert_true(fabs(logged("run", "step", 0, "loss") - log(2)) < 1e-5);    // nothing has changed yet
    assert_true(logged("run", "step", 11, "loss") < 0.4);
    assert_true(logged("run", "step", 11, "reward_accuracy") == 1);
    assert_true(logged("run", "step", 11, "reward_chosen") > logged("run", "step", 11, "reward_rejected"));
    assert_true(logged("run", "eval", 0, "loss") < 0.4);
    assert_true(logged("run", "eval", 0, "reward_accuracy") == 1);
    assert_true(logged("run", "eval", 0, "pairs") == 60);
    hone_free(text);
}

static void test_it_goes_on_bit_for_bit_and_asks_the_starting_model_once(void **state)
{
    (void)state;
    hone_free(tune("stopped", "max_steps=5"));
    char *text = tune("stopped", NULL);
    assert_says(text, "resume from step 5");
    assert_null(strstr(text, "log-probabilities of"));
    assert_int_equal(test_hash("%s/stopped/model/model.safetensors", test_folder()), test_hash("%s/run/model/model.safetensors", test_folder()));
    hone_free(text);
}

static void test_an_adapter_learns_beside_the_base_that_it_changes(void **state)
{
    (void)state;
    char *key = hone_format("%s", "finetuning_type=lora"), *out = hone_format("output_dir=%s", test_path("lora"));
    verb_must("accuracy 100.0%", (const char *const[]){ "tune", test_path("recipe.yaml"), out, key, "lora_rank=4", "learning_rate=5e-3", "max_steps=20", NULL });
    assert_true(fabs(logged("lora", "step", 0, "loss") - log(2)) < 1e-5);
    assert_true(hone_file_exists(test_path("lora/adapter/adapter_model.safetensors")));
    hone_free(key);
    hone_free(out);
}

// Micro-batches are a matter of memory alone: a step's loss is over all of its pairs.
static void test_a_step_is_the_same_in_one_micro_batch(void **state)
{
    (void)state;
    char *out = hone_format("output_dir=%s", test_path("whole"));
    verb_must("", (const char *const[]){ "tune", test_path("recipe.yaml"), out, "per_device_train_batch_size=4", "gradient_accumulation_steps=1", "max_steps=4", NULL });
    for (int i = 0; i < 4; i++) assert_true(fabs(logged("whole", "step", i, "loss") - logged("run", "step", i, "loss")) < 1e-4);
    hone_free(out);
}

static void refused(const char *verb_name, const char *pairs, const char *more, const char *says)
{
    test_put("bad.jsonl", pairs);
    char *dataset = hone_format("dataset=%s", test_path("bad.jsonl")), *out = hone_format("output_dir=%s", test_path("bad/run"));
    verb_must_fail(says, (const char *const[]){ verb_name, test_path("recipe.yaml"), dataset, out, "eval_dataset=", more, NULL });
    assert_false(hone_dir_exists(test_path("bad/run")));
    hone_free(dataset);
    hone_free(out);
}

static void test_what_is_wrong_is_named(void **state)
{
    (void)state;
    static const char good[] = "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n";
    char *text = hone_format("%s\n{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"b\"}\n", good);
    refused("tune", text, NULL, "bad.jsonl:3: \"chosen\" and \"rejected\" are the same");
    hone_free(text);
    refused("tune", "{\"prompt\": \"a\", \"chosen\": \"b\"}\n", NULL, "bad.jsonl:1: no \"rejected\" in the record");
    refused("tune", "{\"prompt\": \"a\", \"chosen\": \"\", \"rejected\": \"b\"}\n", NULL, "bad.jsonl:1: \"chosen\" is empty");
    refused("tune", "{\"chosen\": \"x\", \"rejected\": \"b\"}\n", NULL, "bad.jsonl:1: no prompt that both replies answer");
    refused("tune", "{\"prompt\": \"a\", \"chosen\": 7, \"rejected\": \"b\"}\n", NULL, "bad.jsonl:1: \"chosen\" is no list of messages");
    refused("tune", good, "stage=sft", "bad.jsonl:1: no conversation in the record");
    refused("tune", good, "cutoff_len=16", "1 are longer than the cut-off");
    refused("tune", good, "neat_packing=false", "leave neat_packing true");
    refused("tune", good, "train_on_prompt=true", "nothing to learn in it");
    refused("tune", good, "length_warmup_steps=3", "cannot be cut into pieces");
    refused("pretrain", good, NULL, "by `hone tune`");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_chosen_replies_become_likelier),
        cmocka_unit_test(test_it_goes_on_bit_for_bit_and_asks_the_starting_model_once),
        cmocka_unit_test(test_an_adapter_learns_beside_the_base_that_it_changes),
        cmocka_unit_test(test_a_step_is_the_same_in_one_micro_batch),
        cmocka_unit_test(test_what_is_wrong_is_named),
    };
    return cmocka_run_group_tests(tests, make_files, test_folder_remove);
}
