// Hugging Face tokenizers, tiktoken and SentencePiece, live: ids of a torture set, decoded text, and the merges that training learns are equal.
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "base/file.h"

#define SHARED HONE_SOURCE_DIR "/../shared/data"

static void test_ids_and_merges_equal_hugging_faces(void **state)
{
    (void)state;
    if (!test_python_present()) {
        print_message("skipped: HONE_PYTHON names no Python with tokenizers\n");
        skip();
    }
    static const char *const more[] = { "gpt2", "qwen3/tokenizer.json", "mistral_v1/tokenizer.json", "neox/20B_tokenizer.json", "deepseek_v3/tokenizer.json",
                                        "../weights/stories260K/hf/tokenizer.json" };
    char command[4096];
    int n = snprintf(command, sizeof command, "'%s' '%s/tools/compare_tokenizers.py' '%s/hone'", getenv("HONE_PYTHON"), HONE_SOURCE_DIR, HONE_BINARY_DIR);
    if (!hone_dir_exists(SHARED "/tokenizers")) print_message("skipped: no ../shared/data: only tokenizers made here\n");
    else for (size_t i = 0; i < sizeof more / sizeof *more; i++) n += snprintf(command + n, sizeof command - (size_t)n, " '%s/tokenizers/%s'", SHARED, more[i]);
    assert_int_equal(system(command), 0);
}

static void test_ids_equal_tiktokens_and_sentencepieces(void **state)
{
    (void)state;
    if (!test_python_present()) {
        print_message("skipped: HONE_PYTHON names no Python with tiktoken and sentencepiece\n");
        skip();
    }
    char command[4096];
    int n = snprintf(command, sizeof command, "'%s' '%s/tools/compare_pieces.py' '%s/hone'", getenv("HONE_PYTHON"), HONE_SOURCE_DIR, HONE_BINARY_DIR);
    if (!hone_dir_exists(SHARED "/tokenizers")) print_message("skipped: no ../shared/data: only SentencePiece models made here\n");
    else snprintf(command + n, sizeof command - (size_t)n, " '" SHARED "/tokenizers/cl100k_o200k/cl100k_base.tiktoken' '" SHARED "/tokenizers/cl100k_o200k/o200k_base.tiktoken'");
    assert_int_equal(system(command), 0);
}

static void test_transplanted_models_load_in_transformers(void **state)
{
    (void)state;
    if (!test_python_present() || !hone_dir_exists(SHARED "/tokenizers")) {
        print_message("skipped: no ../shared/data, or HONE_PYTHON names no Python with transformers\n");
        skip();
    }
    char command[4096];
    snprintf(command, sizeof command, "'%s' '%s/tools/compare_transplant.py' '%s/hone' '" SHARED "/text/tinyshakespeare.txt' '" SHARED "/weights/stories260K/hf/tokenizer.json' '"
             SHARED "/tokenizers/gpt2' '" SHARED "/tokenizers/qwen3/tokenizer.json' '" SHARED "/tokenizers/mistral_v1/tokenizer.json'", getenv("HONE_PYTHON"), HONE_SOURCE_DIR, HONE_BINARY_DIR);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_ids_and_merges_equal_hugging_faces), cmocka_unit_test(test_ids_equal_tiktokens_and_sentencepieces),
                                        cmocka_unit_test(test_transplanted_models_load_in_transformers) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
