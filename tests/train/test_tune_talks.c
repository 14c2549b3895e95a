// Conversations straight in a recipe: from a file to a model that answers, from scratch and on top of a GGUF file.
#include "base/file.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/talks.h"
#include "support/program.h"
#include "support/verb.h"
#include <unistd.h>

static const char *const question[] = { "ping", "one", "red", "fox" }, *const answer[] = { "pong", "two", "a colour", "an animal" };
enum { PAIRS = 4, TIMES = 30 };

// In each of the forms: as JSONL of messages, and as a JSON list of ShareGPT's.
static void write_talks(void)
{
    hone_buffer lines = { 0 }, list = { 0 };
    for (int i = 0; i < PAIRS * TIMES; i++) {
        const char *q = question[i % PAIRS], *a = answer[i % PAIRS];
        must(hone_buffer_print(&lines, "{\"messages\": [{\"role\": \"user\", \"content\": \"%s\"}, {\"role\": \"assistant\", \"content\": \"%s\"}]}\n", q, a));
        must(hone_buffer_print(&list, "%s\n {\"conversations\": [{\"from\": \"human\", \"value\": \"%s\"},\n  {\"from\": \"gpt\", \"value\": \"%s\"}]}", i ? "," : "[", q, a));
    }
    must(hone_buffer_print(&list, "\n]\n"));
    test_put("talks.jsonl", lines.data);
    test_put("list.json", list.data);
    hone_buffer_release(&lines);
    hone_buffer_release(&list);
}

static int make_files(void **state)
{
    if (test_folder_make(state)) return -1;
    test_talk_tokenizer();
    write_talks();
    char *recipe = hone_format("model: {model_type: llama, hidden_size: 48, intermediate_size: 96, num_hidden_layers: 2, num_attention_heads: 4}\n"
                               "tokenizer: %s\ndataset: %s\ncutoff_len: 64\nper_device_train_batch_size: 8\nlearning_rate: 5e-3\nmax_steps: 250\noutput_dir: %s\nrun_store: none\n",
                               test_folder(), test_path("talks.jsonl"), test_path("run"));
    test_put("recipe.yaml", recipe);
    hone_free(recipe);
    return 0;
}

// Data sets in a folder; *path: of one of them.
static int count_made(const char *parent, char *path, size_t size)
{
    char **names;
    int64_t count;
    int made = 0;
    if (!hone_dir_exists(test_path(parent))) return 0;
    must(hone_dir_list(test_path(parent), &names, &count));
    for (int64_t i = 0; i < count; i++) {
        if (names[i][0] != '.' && ++made) snprintf(path, size, "%s/%s", parent, names[i]);
        hone_free(names[i]);
    }
    hone_free(names);
    return made;
}

static const char *folder_of_only(const char *parent)
{
    static char path[600];
    assert_int_equal(count_made(parent, path, sizeof path), 1);
    return path;
}

static void same_shards(const char *a, const char *b)
{
    static const char *const file[] = { "train-00000.bin", "train-00000-trained.bin" };
    for (int i = 0; i < 2; i++) assert_int_equal(test_hash("%s/%s/%s", test_folder(), a, file[i]), test_hash("%s/%s/%s", test_folder(), b, file[i]));
}

static void assert_answers(const char *model, const char *adapter)
{
    hone_test_run run;
    test_put("said.txt", "ping\n/clear\nfox\n");
    hone_test_hone(&run, "chat '%s' %s%s --max-new-tokens 20 < '%s'", model, adapter ? "--adapter " : "", adapter ? adapter : "", test_path("said.txt"));
    if (run.code || strcmp(run.out, "pong\nan animal\n")) fail_msg("%d: %s%s", run.code, run.out, run.err);
}

static void test_a_recipe_takes_conversations_as_they_are(void **state)
{
    (void)state;
    const char *const train[] = { "pretrain", test_path("recipe.yaml"), NULL };
    verb_must("120 conversations, 960 of 5,910 tokens trained", train);
    assert_answers(test_path("run/model"), NULL);       // the template came along
    char *made = hone_strdup(folder_of_only("prepared"));
    verb_must("pass 1  ", (const char *const[]){ "inspect", "data", test_path("recipe.yaml"), NULL });
    assert_string_equal(folder_of_only("prepared"), made);      // found again
    verb_must("960 of them trained", (const char *const[]){ "prepare", "--chat", "--tokenizer", test_folder(), "--output", test_path("by-hand"), test_path("talks.jsonl"), NULL });
    same_shards(made, "by-hand");
    hone_free(made);
}

static void test_inspect_shows_what_is_trained_of_them(void **state)
{
    (void)state;
    char *text;
    assert_int_equal(verb(&text, (const char *const[]){ "inspect", "data", "--rows", "8", test_path("recipe.yaml"), NULL }), 0);
    assert_says(text, "|a| |c|o|l|o|u|r|<|im_end|>|[⏎]");
    assert_says(text, "[<|im_start|>]|[u]|[s]|[e]|[r]|");
    hone_free(text);
}

static void test_a_json_list_of_another_form_is_the_same_data(void **state)
{
    (void)state;
    char *dataset = hone_format("dataset=%s", test_path("list.json")), *out = hone_format("output_dir=%s", test_path("other/run"));
    verb_must("list.json", (const char *const[]){ "inspect", "data", test_path("recipe.yaml"), dataset, out, NULL });
    same_shards(folder_of_only("other/prepared"), "by-hand");
    hone_free(dataset);
    hone_free(out);
}

static void must_say(const char *say, const char *run, const char *key)
{
    char *out = hone_format("output_dir=%s/%s", test_path("keys"), run);
    verb_must(say, (const char *const[]){ "pretrain", test_path("recipe.yaml"), out, "max_steps=1", key, NULL });
    hone_free(out);
}

// Runs that start at once share what one of them prepares.
static void test_runs_side_by_side_prepare_once(void **state)
{
    (void)state;
    enum { RUNS = 3 };
    verb_run run[RUNS];
    char *out = hone_format("output_dir=%s", test_path("side/run"));
    for (int i = 0; i < RUNS; i++) verb_start(&run[i], (const char *const[]){ "inspect", "data", test_path("recipe.yaml"), out, NULL });
    for (int i = 0; i < RUNS; i++) {
        int code = verb_finish(&run[i]);
        if (code) fail_msg("%d: %s", code, run[i].output);
        hone_free(run[i].output);
    }
    folder_of_only("side/prepared");
    hone_free(out);
}

static void test_keys_say_what_is_trained_and_what_is_held_out(void **state)
{
    (void)state;
    char *eval = hone_format("eval_dataset=%s", test_path("list.json"));
    must_say("rows   120 of 64 tokens, documents whole, 24.61 % padding", "whole", "packing_strategy=bfd");
    must_say("rows   122 of 48 tokens, documents whole, 1.13 % padding; 60 longer than a row, cut into pieces", "pieces", "cutoff_len=48");
    must_say("120 conversations, 4,590 of 5,910 tokens trained", "roles", "roles_to_train=[user, assistant]");
    must_say("120 conversations, 5,910 of 5,910 tokens trained", "all", "train_on_prompt=true");
    must_say("held out 5.91k", "eval", eval);
    must_say(", held out ", "share", "held_out=0.6");   // equal conversations are on one side: some of the four kinds are held out
    hone_free(eval);
}

static void refused(const char *talks, const char *more, const char *says)
{
    test_put("bad.jsonl", talks);
    char *dataset = hone_format("dataset=%s", test_path("bad.jsonl")), *out = hone_format("output_dir=%s", test_path("bad/run"));
    verb_must_fail(says, (const char *const[]){ "pretrain", test_path("recipe.yaml"), dataset, out, more, NULL });
    char made[600];
    assert_int_equal(count_made("bad/prepared", made, sizeof made), 0);
    hone_free(dataset);
    hone_free(out);
}

static void test_what_is_wrong_is_named_and_nothing_is_written(void **state)
{
    (void)state;
    static const char good[] = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";
    char *text = hone_format("%s\n%s{\"messages\": []}\n", good, good);
    refused(text, NULL, "bad.jsonl:4: \"messages\" is no list");
    hone_free(text);
    text = hone_format("%s{\"prompt\": \n", good);
    refused(text, NULL, "bad.jsonl:2");
    hone_free(text);
    refused("{\"conversations\": [{\"from\": \"alien\", \"value\": \"x\"}]}\n", NULL, "bad.jsonl:1: turn 1 is from \"alien\"");
    refused("{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n", NULL, "1 have no token to train");
    refused("{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n", NULL, "in a recipe allow_dropped");
    refused(good, "chat_template=/nowhere.jinja", "/nowhere.jinja");
    refused(good, "tokenizer=", "name it with `tokenizer: PATH`");
    verb_must_fail("there is no such file", (const char *const[]){ "pretrain", test_path("recipe.yaml"), "dataset=/nowhere.jsonl", NULL });
    verb_must_fail("there is no such file", (const char *const[]){ "pretrain", test_path("recipe.yaml"), "eval_dataset=/nowhere.json.gz", NULL });
}

// What an exported model brings along is enough to go on from: sizes, tokenizer, template.
static void test_a_gguf_model_learns_new_answers_by_an_adapter(void **state)
{
    (void)state;
    verb_must("", (const char *const[]){ "export", test_path("run/model"), "--output", test_path("base.gguf"), "--type", "f32", NULL });
    assert_answers(test_path("base.gguf"), NULL);
    hone_buffer lines = { 0 };
    for (int i = 0; i < 20; i++) must(hone_buffer_print(&lines, "{\"instruction\": \"ping\", \"output\": \"echo\"}\n{\"instruction\": \"fox\", \"output\": \"red\"}\n"));
    test_put("new.jsonl", lines.data);
    hone_buffer_release(&lines);
    char *recipe = hone_format("model_name_or_path: %s\ndataset: %s\nheld_out: 0\nfinetuning_type: lora\nlora_rank: 16\ncutoff_len: 64\nper_device_train_batch_size: 4\nlearning_rate: 1e-2\n"
                               "max_steps: 250\noutput_dir: %s\nrun_store: none\n", test_path("base.gguf"), test_path("new.jsonl"), test_path("tuned"));
    test_put("tune.yaml", recipe);
    verb_must("40 conversations, ", (const char *const[]){ "tune", test_path("tune.yaml"), NULL });
    hone_test_run run;
    hone_test_hone(&run, "chat '%s' --adapter '%s' --max-new-tokens 20 < '%s'", test_path("base.gguf"), test_path("tuned/adapter"), test_path("said.txt"));
    if (run.code || strcmp(run.out, "echo\nred\n")) fail_msg("%d: %s%s", run.code, run.out, run.err);
    hone_free(recipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_recipe_takes_conversations_as_they_are),
        cmocka_unit_test(test_inspect_shows_what_is_trained_of_them),
        cmocka_unit_test(test_a_json_list_of_another_form_is_the_same_data),
        cmocka_unit_test(test_runs_side_by_side_prepare_once),
        cmocka_unit_test(test_keys_say_what_is_trained_and_what_is_held_out),
        cmocka_unit_test(test_what_is_wrong_is_named_and_nothing_is_written),
        cmocka_unit_test(test_a_gguf_model_learns_new_answers_by_an_adapter),
    };
    return cmocka_run_group_tests(tests, make_files, test_folder_remove);
}
