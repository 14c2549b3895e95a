// hone eval --tasks: the figures of lm-evaluation-harness on the same model and questions (tests/golden/lm_eval.json, made by
// tools/make_eval_golden.py), question by question; and what is refused.
#include "base/file.h"
#include "base/json.h"
#include "gen/task_eval.h"
#include "support/cmocka_all.h"
#include "support/fault.h"
#include "support/folder.h"
#include "support/verb.h"
#include <math.h>

#define SHARED HONE_SOURCE_DIR "/../shared/data"
#define MODEL SHARED "/weights/stories260K/hf"

static json_t *golden;

static int load_golden(void **state)
{
    return test_folder_make(state) || hone_json_load(HONE_SOURCE_DIR "/tests/golden/lm_eval.json", &golden) ? -1 : 0;
}
static int drop_golden(void **state)
{
    json_decref(golden);
    return test_folder_remove(state);
}

static bool present(void)
{
    if (hone_dir_exists(MODEL) && hone_dir_exists(SHARED "/eval")) return true;
    print_message("%s or its questions are not there\n", MODEL);
    return false;
}

static json_t *line_of(const char *text, int64_t n)
{
    json_t *row = NULL;
    while (n-- > 0) text = strchr(text, '\n') + 1;
    if (hone_json_parse("samples", text, strcspn(text, "\n"), &row)) fail_msg("%s", hone_error());
    return row;
}

static char *evaluate(const char *tasks, const char *data, const char *samples, json_t **report)
{
    char limit[32], *output;
    snprintf(limit, sizeof limit, "%lld", (long long)json_integer_value(json_object_get(golden, "limit")));
    const char *const command[] = { "eval", MODEL, "--tasks", tasks, "--data", data, "--limit", limit, "--samples", samples, "--json", NULL };
    if (verb(&output, command)) fail_msg("%s", output);
    if (hone_json_parse("report", output, strlen(output), report)) fail_msg("%s", hone_error());
    hone_free(output);
    return test_read(samples);
}

// Log-likelihoods of f32 sums in another order: 1e-6 a token on sums of up to 300 nats. Figures count them, so they are equal
// to rounding; the harness' error of a perplexity is a bootstrap's, ours is not compared.
static void compare_figures(const json_t *ours, const char *task, const json_t *theirs)
{
    const char *key;
    const json_t *value;
    json_object_foreach((json_t *)theirs, key, value) {
        if (strstr(key, "perplexity_stderr")) continue;
        char name[64];
        snprintf(name, sizeof name, "%s", key);
        char *end = strstr(name, "_stderr");
        if (end) strcpy(end, "_standard_error");
        const json_t *mine = json_object_get(ours, name);
        if (!mine) fail_msg("%s: no figure %s", task, name);
        double a = json_real_value(mine), b = json_real_value(value);
        if (!(fabs(a - b) <= 2e-5 * fabs(b))) fail_msg("%s: %s is %.9g, the harness has %.9g", task, name, a, b);
    }
}

static void test_every_task_has_the_figures_of_the_harness(void **state)
{
    (void)state;
    if (!present()) skip();
    json_t *report, *row, *samples = json_object_get(golden, "samples");
    char *text = evaluate("all", SHARED "/eval", test_path("samples.jsonl"), &report);
    int64_t line = 0;
    const hone_task *task;
    for (int t = 0; (task = hone_task_at(t)); t++) {
        if (task->measure == HONE_MEASURE_SOLVE) continue;
        const json_t *ours = json_object_get(json_object_get(report, "tasks"), task->name), *theirs = json_object_get(samples, task->name);
        if (!ours || !theirs) fail_msg("%s is not in both", task->name);
        compare_figures(ours, task->name, json_object_get(json_object_get(golden, "tasks"), task->name));
        assert_int_equal(json_integer_value(json_object_get(ours, "questions")), json_array_size(theirs));
        for (size_t i = 0; i < json_array_size(theirs); i++, line++) {
            row = line_of(text, line);
            const json_t *list = json_object_get(row, "loglikelihoods"), *expected = json_array_get(theirs, i);
            assert_string_equal(json_string_value(json_object_get(row, "task")), task->name);
            assert_int_equal(json_array_size(list), json_array_size(expected));
            for (size_t k = 0; k < json_array_size(list); k++) {
                double a = json_real_value(json_array_get(list, k)), b = json_real_value(json_array_get(expected, k));
                if (!(fabs(a - b) <= 2e-6 * fabs(b) + 1e-5)) fail_msg("%s, question %zu, answer %zu: %.7f, the harness has %.7f", task->name, i, k, a, b);
            }
            json_decref(row);
        }
    }
    assert_int_equal(json_object_size(json_object_get(json_object_get(json_object_get(report, "tasks"), "mmlu"), "parts")), 6);
    json_decref(report);
    hone_free(text);
}

static void test_sums_are_continued_as_in_the_harness(void **state)
{
    (void)state;
    if (!present()) skip();
    json_t *report, *texts = json_object_get(json_object_get(golden, "samples"), "gsm8k");
    char *text = evaluate("gsm8k", SHARED "/rl", test_path("sums.jsonl"), &report);
    for (size_t i = 0; i < json_array_size(texts); i++) {
        json_t *row = line_of(text, (int64_t)i);
        assert_string_equal(json_string_value(json_object_get(row, "text")), json_string_value(json_array_get(texts, i)));
        assert_true(json_is_true(json_object_get(row, "cut")));     // five worked examples are more than this model sees
        json_decref(row);
    }
    json_decref(report);
    hone_free(text);
}

static void test_numbers_are_taken_from_texts_as_in_the_harness(void **state)
{
    (void)state;
    const json_t *list = json_object_get(golden, "answers"), *row;
    size_t i;
    json_array_foreach((json_t *)list, i, row) {
        const char *text = json_string_value(json_array_get(row, 0)), *reference = json_string_value(json_array_get(row, 1));
        bool strict, flexible;
        assert_int_equal(hone_task_match(text, reference, &strict, &flexible), HONE_OK);
        if (strict != (json_integer_value(json_array_get(row, 2)) != 0)) fail_msg("'%s' against '%s': strict %d", text, reference, strict);
        if (flexible != (json_integer_value(json_array_get(row, 3)) != 0)) fail_msg("'%s' against '%s': flexible %d", text, reference, flexible);
    }
    assert_true(i > 100);
}

// --- files ---

static void write_file(const char *name, const char *text)
{
    if (hone_file_write(test_path(name), text, strlen(text))) fail_msg("%s", hone_error());
}

static hone_questions load(const char *name, int64_t limit)
{
    const hone_task *task;
    hone_questions all;
    assert_int_equal(hone_task_find(name, &task), HONE_OK);
    if (hone_task_load(task, test_folder(), limit, -1, &all)) fail_msg("%s", hone_error());
    return all;
}

static void test_prompts_are_those_of_the_tasks(void **state)
{
    (void)state;
    assert_int_equal(hone_dir_create(test_path("mmlu")), HONE_OK);
    write_file("mmlu/world_history_test.csv", "\" Who said \"\"no\"\"?\nAnd when?\",a,b,c,\"d, e\",D\r\nq2,a,b,c,d,A\n");
    write_file("boolq.jsonl", "{\"query\": \"Passage: All is well.\\nQuestion: is it?\", \"choices\": [\"no\", \"yes\"], \"gold\": 1}\n");
    write_file("winogrande_dev.jsonl", "\n{\"context_options\": [\"A so A\", \"A so B\"], \"continuation\": \"won.\", \"gold\": 1}\n");
    write_file("hellaswag.txt", "Ski: he\n2\none\ntwo\nthree\nfour\n");
    hone_questions all = load("mmlu", 0);
    assert_int_equal(all.count, 2);
    assert_string_equal(all.question[0].prompt[0], "The following are multiple choice questions (with answers) about world history.\n\nWho said \"no\"?\nAnd when?\n"
                                                   "A. a\nB. b\nC. c\nD. d, e\nAnswer:");
    assert_int_equal(all.question[0].gold, 3);
    assert_string_equal(all.part[0], "world_history_test.csv");
    hone_questions_release(&all);
    all = load("boolq", 0);
    assert_string_equal(all.question[0].prompt[0], "All is well.\nQuestion: is it?\nAnswer:");
    assert_string_equal(all.question[0].answer[1], "yes");
    hone_questions_release(&all);
    all = load("winogrande", 1);
    assert_int_equal(all.question[0].n_prompt, 2);
    assert_int_equal(all.question[0].n_answer, 1);
    hone_questions_release(&all);
    all = load("hellaswag", 0);
    assert_int_equal(all.question[0].gold, 2);
    assert_string_equal(all.question[0].answer[3], "four");
    hone_questions_release(&all);
}

static void refused(const char *name, const char *file, const char *text, const char *message)
{
    const hone_task *task;
    hone_questions all;
    write_file(file, text);
    assert_int_equal(hone_task_find(name, &task), HONE_OK);
    assert_int_equal(hone_task_load(task, test_folder(), 0, -1, &all), HONE_FAILED);
    if (!strstr(hone_error(), message)) fail_msg("%s: '%s' is not in '%s'", name, message, hone_error());
    hone_questions_release(&all);
    assert_int_equal(remove(test_path(file)), 0);
}

static void test_files_that_are_wrong_are_refused_with_their_line(void **state)
{
    (void)state;
    refused("piqa", "piqa.jsonl", "{\"query\": \"Question: a\\n\", \"choices\": [\"b\"], \"gold\": 0}\n{\"query\"", "piqa.jsonl:2:1:8: not valid JSON");
    refused("piqa", "piqa.jsonl", "[]\n", "piqa.jsonl:1: not a JSON object");
    refused("piqa", "piqa.jsonl", "\n", "no questions in it");
    refused("piqa", "piqa.jsonl", "{\"query\": \"a\", \"choices\": [\"b\"], \"gold\": 1}", "piqa.jsonl:1: \"gold\" names answer 2 of 1");
    refused("piqa", "piqa.jsonl", "{\"query\": \"a\", \"choices\": [\"b\"], \"gold\": \"one\"}", "should say which answer is right, by a number or a letter");
    refused("piqa", "piqa.jsonl", "{\"query\": \"a\", \"choices\": [], \"gold\": 0}", "\"choices\" is an empty list");
    refused("piqa", "piqa.jsonl", "{\"query\": \"a\", \"choices\": [3], \"gold\": 0}", "element 0 of \"choices\" is no string");
    refused("piqa", "piqa.jsonl", "{\"goal\": \"a\"}", "the record has no field \"query\"; is this the task's file?");
    refused("hellaswag", "hellaswag_2.txt", "Ski: he\n2\none\ntwo\n", "hellaswag_2.txt:4: the file ends within a record");
    refused("mmlu", "mmlu/a_test.csv", "q,a,b,c,d\n", "the row has 5 columns, the header line has 6");
    refused("mmlu", "mmlu/a_test.csv", "q,a,b,\"c,d,A\n", "a_test.csv:1: ");
    refused("mmlu", "mmlu/a_test.csv", "q\xff,a,b,c,d,A\n", "not valid UTF-8");
    refused("gsm8k", "unused", "", "the task gsm8k wants gsm8k/test*.jsonl there, and there is none");
}

static void test_the_command_says_what_it_wants(void **state)
{
    (void)state;
    verb_must_fail("--limit, --shots and --samples belong to --tasks", (const char *const[]){ "eval", "x", "--data", "y", "--limit", "3", NULL });
    verb_must_fail("do not go with --tasks", (const char *const[]){ "eval", "x", "--data", "y", "--tasks", "all", "--context", "3", NULL });
    verb_must_fail("did you mean hellaswag", (const char *const[]){ "eval", "x", "--data", "y", "--tasks", "piqa,helaswag", NULL });
    verb_must_fail("no file of any task is there", (const char *const[]){ "eval", "x", "--data", "/nowhere", "--tasks", "all", NULL });
    if (!present()) skip();
    verb_must_fail("this task has no file of worked examples", (const char *const[]){ "eval", MODEL, "--data", SHARED "/eval", "--tasks", "piqa", "--shots", "2", NULL });
}

// Each allocation fails once: an error, and nothing leaks (under the sanitizers).
static void test_memory_that_runs_out_is_an_error(void **state)
{
    (void)state;
    const hone_task *task;
    hone_questions all;
    const char *const names[] = { "mmlu", "boolq", "winogrande", "hellaswag" };
    for (int k = 0; k < 4; k++) {
        assert_int_equal(hone_task_find(names[k], &task), HONE_OK);
        for (int64_t n = 0, calls = 0; n <= calls; n++) {
            hone_test_fail(HONE_CALL_ALLOC, n);
            hone_status status = hone_task_load(task, test_folder(), 1, -1, &all);
            int64_t counted = hone_test_fail_end();
            if (n == 0) calls = counted;
            assert_int_equal(status, n == 0 ? HONE_OK : HONE_FAILED);
            hone_questions_release(&all);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_taken_from_texts_as_in_the_harness),
        cmocka_unit_test(test_prompts_are_those_of_the_tasks),
        cmocka_unit_test(test_memory_that_runs_out_is_an_error),
        cmocka_unit_test(test_files_that_are_wrong_are_refused_with_their_line),
        cmocka_unit_test(test_the_command_says_what_it_wants),
        cmocka_unit_test(test_every_task_has_the_figures_of_the_harness),
        cmocka_unit_test(test_sums_are_continued_as_in_the_harness),
    };
    return cmocka_run_group_tests(tests, load_golden, drop_golden);
}
