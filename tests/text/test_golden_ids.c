// Ids equal those of the tokenizers' own libraries on every row of ../shared/data/tokenizers/golden_ids.jsonl, and
// decoding them gives the text back.
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define TOKENIZERS HONE_SOURCE_DIR "/../shared/data/tokenizers"

static json_t *read_rows(void)
{
    char *text;
    size_t size;
    assert_int_equal(hone_file_read(TOKENIZERS "/golden_ids.jsonl", &text, &size), HONE_OK);
    json_t *rows = json_array();
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *row;
        assert_int_equal(hone_json_parse("golden", line, strlen(line), &row), HONE_OK);
        json_array_append_new(rows, row);
    }
    hone_free(text);
    assert_true(json_array_size(rows) >= 243);
    return rows;
}

static void check_tokenizer(const char *name, const char *path, bool composes)
{
    if (!hone_file_exists(TOKENIZERS "/golden_ids.jsonl")) { printf("skipped: no ../shared/data\n"); skip(); }
    hone_tokenizer *tokenizer;
    if (hone_tokenizer_load(path, &tokenizer)) fail_msg("%s", hone_error());
    json_t *rows = read_rows(), *row, *id;
    size_t r, i;
    int wrong = 0;
    json_array_foreach(rows, r, row) {
        json_t *want = json_object_get(row, name), *text = json_object_get(row, "text");
        hone_ids got = { 0 };
        hone_buffer back = { 0 };
        if (hone_tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), 0, &got)) fail_msg("%s", hone_error());
        bool same = got.count == (int64_t)json_array_size(want);
        json_array_foreach(want, i, id) same = same && got.data[i] == (int32_t)json_integer_value(id);
        if (hone_tokenizer_decode(tokenizer, got.data, got.count, false, &back)) fail_msg("%s", hone_error());
        if (!composes) // no NFC: the very bytes come back
            same = same && back.size == json_string_length(text) && (back.size == 0 || memcmp(back.data, json_string_value(text), back.size) == 0);
        if (!same && wrong++ < 5) {
            char *wanted = json_dumps(want, JSON_COMPACT);
            printf("row %zu \"%s\": wanted %s, got", r + 1, json_string_value(text), wanted);
            for (int64_t k = 0; k < got.count; k++) printf(" %d", got.data[k]);
            printf("; decoded \"%s\"\n", back.data ? back.data : "");
            free(wanted);
        }
        hone_free(got.data);
        hone_buffer_release(&back);
    }
    printf("%s: %zu rows, %d wrong\n", name, json_array_size(rows), wrong);
    json_decref(rows);
    hone_tokenizer_free(tokenizer);
    assert_int_equal(wrong, 0);
}

static void test_gpt2(void **state) { (void)state; check_tokenizer("gpt2", TOKENIZERS "/gpt2", false); }
static void test_qwen3(void **state) { (void)state; check_tokenizer("qwen3", TOKENIZERS "/qwen3", true); }
static void test_mistral_v1(void **state) { (void)state; check_tokenizer("mistral_v1", TOKENIZERS "/mistral_v1/tokenizer.json", false); }
static void test_neox(void **state) { (void)state; check_tokenizer("neox", TOKENIZERS "/neox/20B_tokenizer.json", true); }
static void test_deepseek_v3(void **state) { (void)state; check_tokenizer("deepseek_v3", TOKENIZERS "/deepseek_v3", false); }
static void test_cl100k(void **state) { (void)state; check_tokenizer("cl100k", TOKENIZERS "/cl100k_o200k/cl100k_base.tiktoken", false); }
static void test_o200k(void **state) { (void)state; check_tokenizer("o200k", TOKENIZERS "/cl100k_o200k/o200k_base.tiktoken", false); }

// llama.cpp's own test strings: .inp holds texts with a marker between them, .out a line of ids for each.
static void check_llamacpp(const char *name, const char *path)
{
    static const char marker[] = "\n__ggml_vocab_test__\n";
    char file[512], *inp, *out;
    size_t size;
    if (!hone_dir_exists(TOKENIZERS)) { printf("skipped: no ../shared/data\n"); skip(); }
    snprintf(file, sizeof file, TOKENIZERS "/llamacpp_vocab/ggml-vocab-%s.gguf.inp", name);
    if (hone_file_read(file, &inp, &size)) fail_msg("%s", hone_error());
    memcpy(strrchr(file, '.'), ".out", 5);
    if (hone_file_read(file, &out, &size)) fail_msg("%s", hone_error());
    hone_tokenizer *tokenizer;
    if (hone_tokenizer_load(path, &tokenizer)) fail_msg("%s", hone_error());
    int rows = 0, wrong = 0;
    char *want = out;
    for (char *text = inp, *end; (end = strstr(text, marker)); text = end + sizeof marker - 1, rows++) {
        hone_ids got = { 0 };
        if (hone_tokenizer_encode(tokenizer, text, (size_t)(end - text), 0, &got)) fail_msg("%s", hone_error());
        int64_t n = 0;
        bool same = true;
        while (*want && *want != '\n') {
            long id = strtol(want, &want, 10);
            same = same && n < got.count && got.data[n] == id;
            n++;
            while (*want == ' ') want++;
        }
        want += *want == '\n';
        if ((!same || n != got.count) && wrong++ < 5) printf("%s: \"%.*s\": wrong\n", name, (int)(end - text), text);
        hone_free(got.data);
    }
    printf("llama.cpp %s: %d texts, %d wrong\n", name, rows, wrong);
    hone_free(inp);
    hone_free(out);
    hone_tokenizer_free(tokenizer);
    assert_true(rows >= 40);
    assert_int_equal(wrong, 0);
}

static void test_llamacpp_gpt2(void **state) { (void)state; check_llamacpp("gpt-2", TOKENIZERS "/gpt2"); }
static void test_llamacpp_qwen2(void **state) { (void)state; check_llamacpp("qwen2", TOKENIZERS "/qwen3"); }
static void test_llamacpp_r1_qwen(void **state) { (void)state; check_llamacpp("deepseek-r1-qwen", TOKENIZERS "/qwen3"); }
static void test_llamacpp_mpt(void **state) { (void)state; check_llamacpp("mpt", TOKENIZERS "/neox/20B_tokenizer.json"); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2), cmocka_unit_test(test_qwen3), cmocka_unit_test(test_mistral_v1), cmocka_unit_test(test_neox),
        cmocka_unit_test(test_deepseek_v3), cmocka_unit_test(test_cl100k), cmocka_unit_test(test_o200k), cmocka_unit_test(test_llamacpp_gpt2),
        cmocka_unit_test(test_llamacpp_qwen2), cmocka_unit_test(test_llamacpp_r1_qwen), cmocka_unit_test(test_llamacpp_mpt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
