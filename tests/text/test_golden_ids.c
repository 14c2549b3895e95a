// Ids equal those of the tokenizers' own libraries on every row of ../shared/data/tokenizers/golden_ids.jsonl, and
// decoding them gives the text back.
#include "base/file.h"
#include "base/json.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2), cmocka_unit_test(test_qwen3), cmocka_unit_test(test_mistral_v1), cmocka_unit_test(test_neox),
        cmocka_unit_test(test_deepseek_v3),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
