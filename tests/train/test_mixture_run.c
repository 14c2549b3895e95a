// A run on a mixture: tokens are counted by source and saved, each source is evaluated, and a run that was stopped goes on with
// the rows that the whole run would have seen; `hone inspect data` shows those rows.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/program.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"

static hone_test_run run;

static void hone(const char *arguments)
{
    hone_test_hone(&run, "%s", arguments);
    if (run.code) fail_msg("hone %s: %s", arguments, run.err);
}

static void write_words(const char *name, const char *const words[8], uint64_t seed)
{
    hone_buffer text = { 0 };
    for (int i = 0; i < 12000; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        must(hone_buffer_print(&text, "%s%s", words[seed >> 61], i % 60 == 59 ? "\n\n" : i % 9 == 8 ? "\n" : " "));
    }
    must(hone_file_write(test_path(name), text.data, text.size));
    hone_buffer_release(&text);
}

static int make(void **state)
{
    if (test_folder_make(state)) return 1;
    char line[4000];
    const char *f = test_folder();
    write_words("sea.txt", (const char *const[]){ "sea", "the", "of", "night", "cold", "was", "it's", "42" }, 3);
    write_words("drug.txt", (const char *const[]){ "dose", "the", "of", "milligram", "daily", "patient", "is", "7" }, 4);
    snprintf(line, sizeof line, "tokenizer train --vocab 300 --output %s/tok %s/sea.txt %s/drug.txt", f, f, f);
    hone(line);
    for (int k = 0; k < 2; k++) {
        const char *name = k ? "drug" : "sea";
        snprintf(line, sizeof line, "prepare --tokenizer %s/tok --output %s/%s --held-out 0.2 --document-bytes 300 %s/%s.txt", f, f, name, f, name);
        hone(line);
    }
    snprintf(line, sizeof line, "model: {model_type: llama, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 1, num_attention_heads: 2}\n"
        "datasets:\n- {path: %s/sea, weight: [[0, 1], [20, 0]]}\n- {path: %s/drug, weight: [[0, 0], [20, 1]]}\n"
        "cutoff_len: 32\nper_device_train_batch_size: 4\nlr_scheduler_type: constant\neval_tokens: 2000\nlogging_steps: 1\nrun_store: none\n", f, f);
    must(hone_file_write(test_path("recipe.yaml"), line, strlen(line)));
    return 0;
}

static void pretrain(const char *out, int steps, const char *more)
{
    char line[2000];
    snprintf(line, sizeof line, "pretrain %s output_dir=%s max_steps=%d %s", test_path("recipe.yaml"), out, steps, more);
    hone_test_hone(&run, "%s", line);
}

static int64_t tokens_of(const char *checkpoint, const char *source)
{
    json_t *json;
    int64_t tokens = -1;
    char *path = hone_path_join(test_path(checkpoint), "state.json");
    must(hone_json_load(path, &json));
    must(hone_json_int(json_object_get(json, "tokens_by_source"), source, path, true, &tokens));
    json_decref(json);
    hone_free(path);
    return tokens;
}

static void test_a_stopped_run_sees_the_rows_of_the_whole_run(void **state)
{
    (void)state;
    pretrain(test_path("whole"), 20, "");
    assert_int_equal(run.code, 0);
    assert_non_null(strstr(run.out, "    bits per byte: sea "));
    assert_non_null(strstr(run.out, ", drug "));
    assert_non_null(strstr(run.out, "mixture of"));
    pretrain(test_path("half"), 9, "");
    assert_int_equal(run.code, 0);
    assert_int_equal(tokens_of("half/step-9", "sea") + tokens_of("half/step-9", "drug"), 9 * 4 * 32);
    assert_true(tokens_of("half/step-9", "sea") > 3 * tokens_of("half/step-9", "drug"));
    pretrain(test_path("half"), 20, "per_device_train_batch_size=2 gradient_accumulation_steps=1"); // other rows a step: another order
    assert_int_equal(run.code, 1);
    assert_non_null(strstr(run.err, "keep the rows of a step"));
    pretrain(test_path("half"), 20, "datasets.x=1");
    assert_int_equal(run.code, 1);
    pretrain(test_path("half"), 20, "");
    assert_int_equal(run.code, 0);
    char *a, *b;
    size_t na, nb;
    must(hone_file_read(test_path("whole/model/model.safetensors"), &a, &na));
    must(hone_file_read(test_path("half/model/model.safetensors"), &b, &nb));
    assert_int_equal(na, nb);
    assert_memory_equal(a, b, na);
    hone_free(a);
    hone_free(b);
    assert_int_equal(tokens_of("half/step-20", "sea"), tokens_of("whole/step-20", "sea"));
    assert_int_equal(tokens_of("half/step-20", "sea") + tokens_of("half/step-20", "drug"), 20 * 4 * 32);
    must(hone_file_read(test_path("whole/log.jsonl"), &a, &na));
    assert_non_null(strstr(a, "\"tokens_by_source\":{\"sea\":"));
    assert_non_null(strstr(a, "\"by_source\":{\"sea\":{\"loss\":"));
    hone_free(a);
}

static void test_caps_that_do_not_reach_are_refused_before_the_run(void **state)
{
    (void)state;
    char more[600];
    snprintf(more, sizeof more, "'datasets=[{path: %s, epochs: 1}]'", test_path("sea"));
    pretrain(test_path("capped"), 100000, more);
    assert_int_equal(run.code, 1);
    assert_non_null(strstr(run.err, "the `epochs` of the sources allow"));
    assert_false(hone_dir_exists(test_path("capped")));
}

static void test_inspect_shows_rows_with_their_sources(void **state)
{
    (void)state;
    hone_test_hone(&run, "inspect data %s --rows 4 --step 19", test_path("recipe.yaml"));
    assert_int_equal(run.code, 0);
    assert_non_null(strstr(run.out, "row 76  step 19  drug"));
    assert_non_null(strstr(run.out, "/drug.txt"));  // the file of a document
    assert_non_null(strstr(run.out, "<|endoftext|>"));
    hone_test_hone(&run, "inspect data %s --rows 3 --json", test_path("recipe.yaml"));
    assert_int_equal(run.code, 0);
    int rows = 0, documents = 0;
    for (char *line = strtok(run.out, "\n"); line; line = strtok(NULL, "\n"), rows++) {
        json_t *json;
        must(hone_json_parse("row", line, strlen(line), &json));
        assert_int_equal(json_integer_value(json_object_get(json, "row")), rows);
        assert_string_equal(json_string_value(json_object_get(json, "source")), "sea");
        assert_int_equal(json_array_size(json_object_get(json, "ids")), 32);
        documents += (int)json_array_size(json_object_get(json, "documents"));
        json_decref(json);
    }
    assert_int_equal(rows, 3);
    assert_true(documents >= 3);
    hone_test_hone(&run, "inspect data %s --table --rows 1", test_path("recipe.yaml"));
    assert_int_equal(run.code, 0);
    assert_non_null(strstr(run.out, "trained  token"));
    hone_test_hone(&run, "inspect model");
    assert_int_equal(run.code, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stopped_run_sees_the_rows_of_the_whole_run), cmocka_unit_test(test_caps_that_do_not_reach_are_refused_before_the_run),
        cmocka_unit_test(test_inspect_shows_rows_with_their_sources),
    };
    return cmocka_run_group_tests(tests, make, test_folder_remove);
}
