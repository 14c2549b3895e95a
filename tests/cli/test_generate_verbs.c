// test_generate_verbs.c: generate, score and eval as a user meets them, on the trained model stories260K.
#include "support/cmocka_all.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "support/program.h"
#include <math.h>
#include <unistd.h>

#define MODEL HONE_SOURCE_DIR "/../shared/data/weights/stories260K/hf"
static hone_test_run run;
static char folder[256], file[300];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/test_generate_verbs.%ld", HONE_BINARY_DIR, (long)getpid());
    snprintf(file, sizeof file, "%s/input.jsonl", folder);
    return hone_dir_create(folder) ? -1 : 0;
}
static int remove_folder(void **state)
{
    (void)state;
    return hone_dir_remove(folder) ? -1 : 0;
}

static void write_input(const char *text) { assert_int_equal(hone_file_write(file, text, strlen(text)), HONE_OK); }

// The n-th line of what was printed, as JSON.
static json_t *line_of_output(int n)
{
    const char *at = run.out;
    while (n-- > 0) at = strchr(at, '\n') + 1;
    json_t *row = NULL;
    if (hone_json_parse("output", at, strcspn(at, "\n"), &row)) fail_msg("%s in: %s", hone_error(), run.out);
    return row;
}

static void test_a_prompt_is_continued_as_text(void **state)
{
    (void)state;
    hone_test_hone(&run, "generate '%s' --prompt 'Once upon a time' --max-new-tokens 40", MODEL);
    assert_int_equal(run.code, 0);
    assert_string_equal(run.out, "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball.");
    assert_non_null(strstr(run.err, "tok/s"));
    hone_test_hone(&run, "generate '%s' --prompt 'Once upon a' --max-new-tokens 3", MODEL);
    assert_string_equal(run.out, "Once upon a time, there");   // " time": the blank is of the text, not before it
}

// The same story with keys and values in each format; its log-probabilities are others, but near.
static void test_keys_and_values_are_kept_as_asked(void **state)
{
    (void)state;
    static const char *const formats[] = { "auto", "f32", "bf16", "int8" };
    enum { FORMATS = 4, NEW = 40 };
    double logprob[FORMATS][NEW];
    write_input("{\"prompt\": \"Once upon a time\"}\n");
    for (int f = 0; f < FORMATS; f++) {
        hone_test_hone(&run, "generate '%s' --input '%s' --max-new-tokens %d --logprobs --kv-cache %s", MODEL, file, NEW, formats[f]);
        assert_int_equal(run.code, 0);
        json_t *row = line_of_output(0), *logprobs = json_object_get(row, "logprobs");
        assert_int_equal(json_array_size(logprobs), NEW);
        for (size_t i = 0; i < NEW; i++) logprob[f][i] = json_real_value(json_array_get(logprobs, i));
        json_decref(row);
    }
    assert_memory_equal(logprob[0], logprob[1], sizeof logprob[0]);
    for (int f = 1; f < FORMATS; f++)
        for (int g = f + 1; g < FORMATS; g++) assert_memory_not_equal(logprob[f], logprob[g], sizeof logprob[f]);
    double sum[FORMATS] = { 0 };
    for (int f = 2; f < FORMATS; f++)
        for (int i = 0; i < NEW; i++) sum[f] += fabs(logprob[f][i] - logprob[1][i]) / NEW;
    print_message("           mean |change| of log-probabilities: bf16 %.2e, int8 %.2e\n", sum[2], sum[3]);
    assert_true(sum[3] > 1.5 * sum[2] && sum[3] < 7 * sum[2]);  // as test_cache8 derives
}

static void test_a_stop_string_ends_the_text_before_it(void **state)
{
    (void)state;
    hone_test_hone(&run, "generate '%s' --prompt 'Once upon a time' --max-new-tokens 60 --stop 'zzz' --stop ' the park'", MODEL);
    assert_int_equal(run.code, 0);
    assert_string_equal(run.out, "Once upon a time, there was a little girl named Lily. She loved to play outside in");
    hone_test_hone(&run, "generate '%s' --prompt 'Once upon a time' --stop ' the park' --json", MODEL);
    json_t *row = line_of_output(0);
    assert_string_equal(json_string_value(json_object_get(row, "finish")), "stop");
    assert_string_equal(json_string_value(json_object_get(row, "text")), ", there was a little girl named Lily. She loved to play outside in");
    json_decref(row);
}

static void test_a_file_is_answered_in_order_whatever_the_batch(void **state)
{
    (void)state;
    write_input("{\"prompt\": \"Once upon a time\"}\n\n{\"text\": \"The big dog\"}\n{\"ids\": [1, 403, 407]}\n{\"prompt\": \"\"}\n");
    char first[sizeof run.out];
    for (int batch = 1; batch <= 4; batch += 3) {
        hone_test_hone(&run, "generate '%s' --input '%s' --max-new-tokens 30 --temperature 0.9 --top-k 50 --top-p 0.95 --min-p 0.02 "
                             "--repetition-penalty 1.1 --seed 4 --batch %d", MODEL, file, batch);
        assert_int_equal(run.code, 0);
        if (batch == 1) memcpy(first, run.out, sizeof first);
    }
    assert_string_equal(first, run.out);
    for (int i = 0; i < 4; i++) {
        static const json_int_t prompts[] = { 5, 0, 3, 1 };
        json_t *row = line_of_output(i);
        assert_true(json_array_size(json_object_get(row, "ids")) <= 30);
        if (prompts[i]) assert_int_equal(json_integer_value(json_object_get(row, "prompt_tokens")), prompts[i]);
        json_decref(row);
    }
    hone_test_hone(&run, "generate '%s' --input '%s' --max-new-tokens 30 --temperature 0.9 --seed 5", MODEL, file);
    assert_string_not_equal(first, run.out);
}

static void test_score_gives_each_token_its_logprob(void **state)
{
    (void)state;
    write_input("{\"text\": \"Once upon a time, there was\"}\n{\"ids\": [1, 403]}\n{\"ids\": [7]}\n");
    hone_test_hone(&run, "score '%s' --input '%s'", MODEL, file);
    assert_int_equal(run.code, 0);
    json_t *row = line_of_output(0), *ids = json_object_get(row, "ids"), *logprobs = json_object_get(row, "logprobs");
    assert_int_equal(json_integer_value(json_array_get(ids, 0)), 1);
    assert_int_equal(json_array_size(ids), json_array_size(logprobs));
    assert_true(json_is_null(json_array_get(logprobs, 0)));
    // ", there was" after "Once upon a time" is what this model says: each likelier than not
    for (size_t i = 5; i < json_array_size(ids); i++) assert_true(json_real_value(json_array_get(logprobs, i)) > log(0.5));
    double second = json_real_value(json_array_get(logprobs, 1));
    json_decref(row);
    row = line_of_output(1); // the same two ids begin the text above: the same number but for where it lies in the run
    assert_float_equal(json_real_value(json_array_get(json_object_get(row, "logprobs"), 1)), second, 1e-5);
    json_decref(row);
    row = line_of_output(2);
    assert_int_equal(json_array_size(json_object_get(row, "logprobs")), 1);
    json_decref(row);
}

// A narrower precision changes what a model says a little (here bf16 by 0.002 of a nat a token, int8 by 0.008); a story goes on
// as it did.
static void test_precisions_agree_but_for_rounding(void **state)
{
    (void)state;
    static const char *const name[] = { "f32", "bf16", "int8" };
    double loss[3];
    write_input("{\"text\": \"Lily and Tom went to the park to play with a ball. The ball was big and red.\"}\n");
    for (int i = 0; i < 3; i++) {
        hone_test_hone(&run, "eval '%s' --data '%s' --precision %s --json", MODEL, file, name[i]);
        assert_int_equal(run.code, 0);
        json_t *result = line_of_output(0);
        loss[i] = json_real_value(json_object_get(result, "loss"));
        json_decref(result);
        hone_test_hone(&run, "generate '%s' --prompt 'Once upon a time' --max-new-tokens 4 --precision %s", MODEL, name[i]);
        assert_string_equal(run.out, "Once upon a time, there was a");
    }
    print_message("           loss f32 %.4f, bf16 %+.4f, int8 %+.4f\n", loss[0], loss[1] - loss[0], loss[2] - loss[0]);
    assert_true(loss[1] != loss[0] && fabs(loss[1] - loss[0]) < 0.02);
    assert_true(loss[2] != loss[0] && fabs(loss[2] - loss[0]) < 0.05);
}

// auto takes one of the three, says which, and gives its very numbers.
static void test_auto_is_one_of_the_precisions(void **state)
{
    (void)state;
    static const char *const name[] = { "f32", "bf16", "int8" };
    char *scored[3] = { NULL };
    write_input("{\"text\": \"Lily and Tom went to the park.\"}\n");
    for (int i = 0; i < 3; i++) {
        hone_test_hone(&run, "score '%s' --input '%s' --precision %s", MODEL, file, name[i]);
        scored[i] = hone_strdup(run.out);
    }
    hone_test_hone(&run, "score '%s' --input '%s' --precision auto", MODEL, file);
    int taken = -1;
    for (int i = 0; i < 3; i++) {
        char said[64];
        snprintf(said, sizeof said, "precision  auto: %s; a short text", name[i]);
        if (strstr(run.err, said)) taken = i;
    }
    assert_int_equal(run.code, 0);
    assert_in_range(taken, 0, 2);
    assert_string_equal(run.out, scored[taken]);
    for (int i = 0; i < 3; i++) hone_free(scored[i]);
    hone_test_hone(&run, "generate '%s' --prompt 'Once upon a time' --max-new-tokens 4 --precision auto", MODEL);
    assert_string_equal(run.out, "Once upon a time, there was a");
    assert_non_null(strstr(run.err, "a token of each"));
}

// Loss, error and bytes by score's numbers, window by window.
static void test_eval_sums_what_score_lists(void **state)
{
    (void)state;
    enum { CONTEXT = 8 };
    static const char *const texts[] = { "Lily and Tom went to the park to play with a ball.", "The cat", "One day, a boy saw a big red bird." };
    write_input("{\"text\": \"Lily and Tom went to the park to play with a ball.\"}\n{\"text\": \"The cat\"}\n{\"text\": \"One day, a boy saw a big red bird.\"}\n");
    hone_test_hone(&run, "eval '%s' --data '%s' --context %d --json", MODEL, file, CONTEXT);
    assert_int_equal(run.code, 0);
    json_t *result = line_of_output(0);
    hone_test_hone(&run, "score '%s' --input '%s'", MODEL, file);
    char windows[8192] = "";
    double bytes = 0;
    for (int i = 0; i < 3; i++) { // each text's ids, cut into windows of 8 that overlap by one
        json_t *row = line_of_output(i), *ids = json_object_get(row, "ids");
        bytes += (double)strlen(texts[i]);
        for (size_t at = 0; at + 1 < json_array_size(ids); at += CONTEXT) {
            strcat(windows, "{\"ids\": [");
            for (size_t k = at; k < json_array_size(ids) && k <= at + CONTEXT; k++)
                sprintf(windows + strlen(windows), "%s%d", k > at ? ", " : "", (int)json_integer_value(json_array_get(ids, k)));
            strcat(windows, "]}\n");
        }
        json_decref(row);
    }
    write_input(windows);
    hone_test_hone(&run, "score '%s' --input '%s'", MODEL, file);
    double nll = 0, sum[32] = { 0 }, loss, square = 0;
    int tokens = 0, n[32] = { 0 }, count = 0;
    for (const char *at = windows; *at; at = strchr(at, '\n') + 1, count++) {
        json_t *row = line_of_output(count), *logprobs = json_object_get(row, "logprobs");
        for (size_t k = 1; k < json_array_size(logprobs); k++, n[count]++) sum[count] -= json_real_value(json_array_get(logprobs, k));
        nll += sum[count];
        tokens += n[count];
        json_decref(row);
    }
    loss = nll / tokens;
    for (int w = 0; w < count; w++) square += (sum[w] - loss * n[w]) * (sum[w] - loss * n[w]);
    assert_true(count > 5);
    assert_int_equal(json_integer_value(json_object_get(result, "windows")), count);
    assert_int_equal(json_integer_value(json_object_get(result, "tokens")), tokens);
    assert_float_equal(json_real_value(json_object_get(result, "loss")), loss, 1e-5);
    assert_float_equal(json_real_value(json_object_get(result, "loss_standard_error")), sqrt((double)count / (count - 1) * square) / tokens, 1e-5);
    assert_float_equal(json_real_value(json_object_get(result, "perplexity")), exp(loss), 1e-4);
    assert_float_equal(json_real_value(json_object_get(result, "bits_per_byte")), nll / log(2) / bytes, 1e-5); // <s> is before each text
    json_decref(result);
}

static void test_eval_reads_token_files_and_prepared_folders(void **state)
{
    (void)state;
    char raw[300], data[300];
    uint16_t ids[2000];
    for (int i = 0; i < 2000; i++) ids[i] = (uint16_t)(3 + i * i % 500);
    snprintf(raw, sizeof raw, "%s/ids.u16", folder);
    assert_int_equal(hone_file_write(raw, ids, sizeof ids), HONE_OK);
    hone_test_hone(&run, "eval '%s' --data '%s' --context 64 --json", MODEL, raw);
    assert_int_equal(run.code, 0);
    json_t *row = line_of_output(0);
    assert_int_equal(json_integer_value(json_object_get(row, "tokens")), 1999);
    json_decref(row);
    hone_test_hone(&run, "eval '%s' --data '%s' --context 64 --max-tokens 500 --json", MODEL, raw);
    row = line_of_output(0);
    assert_in_range(json_integer_value(json_object_get(row, "tokens")), 500, 1999);
    json_decref(row);
    write_input("{\"text\": \"Once upon a time, there was a little girl.\"}\n{\"text\": \"She loved to play.\"}\n");
    snprintf(data, sizeof data, "%s/data", folder);
    hone_test_hone(&run, "prepare '%s' --tokenizer '%s' --output '%s' --held-out 0", file, MODEL, data);
    if (run.code) fail_msg("%s", run.err);
    hone_test_hone(&run, "eval '%s' --data '%s' --json", MODEL, data);
    if (run.code) fail_msg("%s", run.err);
    row = line_of_output(0);
    assert_true(json_real_value(json_object_get(row, "loss")) < 4);
    assert_true(json_real_value(json_object_get(row, "bits_per_byte")) > 0);
    json_decref(row);
}

static void refuse(int code, const char *part, const char *command)
{
    hone_test_hone(&run, "%s", command);
    if (run.code != code || !strstr(run.err, part)) fail_msg("%s: exit %d, not %d with \"%s\": %s", command, run.code, code, part, run.err);
    assert_string_equal(run.out, "");
}

static void test_what_cannot_be_done_is_said_and_nothing_is_printed(void **state)
{
    (void)state;
    static const struct { int code; const char *part, *command; } bad[] = {
        { 2, "one model folder", "generate --prompt x" },
        { 2, "either --prompt TEXT or --input", "generate '" MODEL "'" },
        { 2, "either --prompt TEXT or --input", "generate '" MODEL "' --prompt x --input y" },
        { 2, "temperature -1", "generate '" MODEL "' --prompt x --temperature -1" },
        { 2, "top_p 0", "generate '" MODEL "' --prompt x --top-p 0" },
        { 2, "--batch 0", "generate '" MODEL "' --prompt x --batch 0" },
        { 2, "empty string", "generate '" MODEL "' --prompt x --stop ''" },
        { 1, "no such folder", "generate /nowhere --prompt x" },
        { 1, "512 positions", "generate '" MODEL "' --prompt x --max-new-tokens 5000" },
        { 1, "/nowhere.jsonl", "generate '" MODEL "' --input /nowhere.jsonl" },
        { 1, "backend", "generate '" MODEL "' --prompt x --backend nosuch" },
        { 2, "give f32, bf16, fp16, int8 or auto; did you mean int8", "generate '" MODEL "' --prompt x --precision in8" },
        { 2, "--kv-cache: 'f16' is not one of auto, f32, bf16, int8; did you mean bf16?", "generate '" MODEL "' --prompt x --kv-cache f16" },
        { 2, "--input FILE", "score '" MODEL "'" },
        { 1, "/nowhere.jsonl", "score '" MODEL "' --input /nowhere.jsonl" },
        { 2, "--data PATH", "eval '" MODEL "'" },
        { 1, "/nowhere.txt", "eval '" MODEL "' --data /nowhere.txt" },
        { 1, "512 positions", "eval '" MODEL "' --data '" MODEL "/config.json' --context 513" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refuse(bad[i].code, bad[i].part, bad[i].command);
    static const struct { const char *input, *generate, *score; } lines[] = {
        { "", "no lines", "no lines" },
        { "\n \n", "no lines", "no lines" },
        { "{\"text\": \"a\"}\n{\"txt\": \"a\"}\n", ":2: has neither", ":2: has neither" },
        { "{\"ids\": [1, 2]}\n[1]\n", ":2: not a JSON object", ":2: not a JSON object" },
        { "{\"ids\": [1, 2\n", "input.jsonl:1", "input.jsonl:1" },
        { "{\"ids\": [1, 512]}\n", "id 512 at position 1 is outside the vocabulary of 512", "id 512 at position 1" },
        { "{\"ids\": [-1, 5]}\n", "id -1", "id -1" },
        { "{\"ids\": [1.5]}\n", "element 0", "element 0" },
        { "{\"ids\": 5}\n", "not a list", "not a list" },
        { "{\"ids\": []}\n", "empty", "empty" },
        { "{\"text\": 5}\n", "not a string", "not a string" },
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char command[1024];
        write_input(lines[i].input);
        snprintf(command, sizeof command, "generate '%s' --input '%s'", MODEL, file);
        refuse(1, lines[i].generate, command);
        snprintf(command, sizeof command, "score '%s' --input '%s'", MODEL, file);
        refuse(1, lines[i].score, command);
    }
    char long_line[4096] = "{\"ids\": [1", command[1024];
    for (int i = 0; i < 600; i++) strcat(long_line, ",5");
    strcat(long_line, "]}\n");
    write_input(long_line);
    snprintf(command, sizeof command, "score '%s' --input '%s'", MODEL, file);
    refuse(1, ":1: 601 tokens", command);
    snprintf(command, sizeof command, "generate '%s' --input '%s'", MODEL, file);
    refuse(1, "512 positions", command);
    write_input("{\"ids\": [1]}\n");
    snprintf(command, sizeof command, "eval '%s' --data '%s'", MODEL, file);
    refuse(1, "no token to predict", command);
}

// Without a tokenizer ids still work, text is refused with what to do.
static void test_a_model_without_tokenizer_takes_ids(void **state)
{
    (void)state;
    char model[300], command[1200];
    snprintf(model, sizeof model, "%s/bare", folder);
    assert_int_equal(hone_dir_create(model), HONE_OK);
    snprintf(command, sizeof command, "--version > /dev/null; cp '%s/config.json' '%s/model.safetensors' '%s'", MODEL, MODEL, model);
    hone_test_hone(&run, "%s", command);
    snprintf(command, sizeof command, "generate '%s' --prompt hello", model);
    refuse(1, "has no tokenizer.json", command);
    snprintf(command, sizeof command, "generate '%s' --input '%s' --stop x", model, file);
    refuse(1, "has no tokenizer.json", command);
    write_input("{\"ids\": [1, 403, 407, 261, 378]}\n");
    hone_test_hone(&run, "generate '%s' --input '%s' --max-new-tokens 3 --logprobs", model, file);
    assert_int_equal(run.code, 0);
    json_t *row = line_of_output(0);
    assert_null(json_object_get(row, "text"));
    assert_int_equal(json_integer_value(json_array_get(json_object_get(row, "ids"), 0)), 432);
    assert_int_equal(json_array_size(json_object_get(row, "logprobs")), 3);
    json_decref(row);
}

int main(void)
{
    if (!hone_dir_exists(MODEL)) {
        printf("skipped: no ../shared/data\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_prompt_is_continued_as_text), cmocka_unit_test(test_a_stop_string_ends_the_text_before_it),
        cmocka_unit_test(test_a_file_is_answered_in_order_whatever_the_batch), cmocka_unit_test(test_score_gives_each_token_its_logprob),
        cmocka_unit_test(test_precisions_agree_but_for_rounding), cmocka_unit_test(test_auto_is_one_of_the_precisions), cmocka_unit_test(test_eval_sums_what_score_lists), cmocka_unit_test(test_eval_reads_token_files_and_prepared_folders),
        cmocka_unit_test(test_keys_and_values_are_kept_as_asked),
        cmocka_unit_test(test_what_cannot_be_done_is_said_and_nothing_is_printed),
        cmocka_unit_test(test_a_model_without_tokenizer_takes_ids),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
