// A real model, SmolLM2-135M-Instruct as its GGUF file (HONE_GGUF, of tools/setup_smollm2.sh): answers a question put by its own chat
// template, and learns from conversations.
#include "base/file.h"
#include "base/json.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/verb.h"
#include "text/chat.h"
#include <stdlib.h>
#include <string.h>

static const char *need_model(void)
{
    const char *model = getenv("HONE_GGUF");
    if (!model || !model[0]) {
        print_message("skipped: HONE_GGUF names no real GGUF model\n");
        skip();
    }
    return model;
}

// The question as a line of `hone generate --input`.
static void write_question(const char *model, const char *path, const char *question)
{
    hone_tokenizer *tokenizer;
    hone_chat chat;
    hone_buffer text = { 0 };
    json_t *conversation = json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user", "content", question);
    must(hone_tokenizer_load(model, &tokenizer));
    must(hone_chat_open(&chat, model, NULL, tokenizer));
    must(hone_chat_render(&chat, conversation, true, NULL, &text));
    json_t *row = json_pack("{s:s}", "prompt", text.data);
    char *line = json_dumps(row, JSON_COMPACT);
    must(hone_file_write(path, line, strlen(line)));
    hone_free(line);
    json_decref(row);
    json_decref(conversation);
    hone_buffer_release(&text);
    hone_chat_close(&chat);
    hone_tokenizer_free(tokenizer);
}

static void test_it_knows_the_capital_of_france(void **state)
{
    (void)state;
    const char *model = need_model(), *question = test_path("question.jsonl");
    write_question(model, question, "What is the capital of France?");
    verb_must("Paris", (const char *[]){ "generate", model, "--input", question, "--max-new-tokens", "16", NULL });
    verb_must("Paris", (const char *[]){ "generate", model, "--input", question, "--max-new-tokens", "16", "--precision", "int8", NULL });
}

// The loss of each step.
static int read_losses(const char *log, double *loss, int most)
{
    char *text = test_read(log), *rest;
    int count = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        json_t *row;
        must(hone_json_parse(log, line, strlen(line), &row));
        const char *event = json_string_value(json_object_get(row, "event"));
        if (event && strcmp(event, "step") == 0 && count < most) loss[count++] = json_real_value(json_object_get(row, "loss"));
        json_decref(row);
    }
    hone_free(text);
    return count;
}

static void test_adapters_learn_a_new_answer(void **state)
{
    (void)state;
    enum { STEPS = 3 };
    const char *model = need_model();
    char *talks = hone_strdup(test_path("talks.jsonl")), *data = hone_strdup(test_path("talks")), *recipe = hone_strdup(test_path("tune.yaml"));
    hone_buffer lines = { 0 };
    for (int i = 0; i < 24; i++)
        must(hone_buffer_print(&lines, "{\"messages\": [{\"role\": \"user\", \"content\": \"Who keeps the lamp?\"}, {\"role\": \"assistant\", \"content\": \"Old Tamsin keeps it, on the far rock.\"}]}\n"));
    must(hone_file_write(talks, lines.data, lines.size));
    hone_buffer_release(&lines);
    verb_must("24", (const char *[]){ "prepare", "--chat", "--held-out", "0", "--tokenizer", model, "--output", data, talks, NULL });
    char *yaml = hone_format("model_name_or_path: '%s'\ndataset: '%s'\noutput_dir: '%s'\nfinetuning_type: lora\nlora_rank: 16\nlora_alpha: 32\ncutoff_len: 64\nper_device_train_batch_size: 2\n"
                             "learning_rate: 1e-3\nlr_scheduler_type: constant\nmax_steps: %d\nlogging_steps: 1\nrun_store: none\n", model, data, test_path("tuned"), STEPS);
    must(hone_file_write(recipe, yaml, strlen(yaml)));
    hone_free(yaml);
    verb_must("adapter", (const char *[]){ "tune", recipe, NULL });
    double loss[STEPS];
    assert_int_equal(read_losses(test_path("tuned/log.jsonl"), loss, STEPS), STEPS);
    for (int i = 1; i < STEPS; i++) assert_true(loss[i] < loss[i - 1]);
    assert_true(loss[STEPS - 1] < 0.9 * loss[0]);
    assert_true(hone_file_exists(test_path("tuned/adapter/adapter_model.safetensors")));
    hone_free(talks), hone_free(data), hone_free(recipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_it_knows_the_capital_of_france), cmocka_unit_test(test_adapters_learn_a_new_answer) };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
