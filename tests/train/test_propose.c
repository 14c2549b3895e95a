// A proposed recipe keeps what it promises: the published rule, memory within the limit, a recipe that loads and trains.
#include "train/propose.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
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
#define BUDGET_MB "160"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_repetition_the_best_size_has_20_tokens_a_parameter),
        cmocka_unit_test(test_repeated_data_count_for_less_and_for_less_each_time),
        cmocka_unit_test(test_init_writes_a_recipe_that_fits_and_trains),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
