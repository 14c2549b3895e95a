// test_gguf_peers.c: GGUF files as programs see them that know nothing of hone (tools/compare_gguf.py): the `gguf` package and
// transformers (HONE_PYTHON), llama.cpp (HONE_LLAMACPP, a folder of tools/setup_llamacpp.sh), on models made here and a real one (HONE_GGUF).
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "base/file.h"
#include <stdlib.h>

#define TOKENIZERS HONE_SOURCE_DIR "/../shared/data/tokenizers/"

// An empty variable names nothing.
static const char *given(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

static void test_others_read_what_hone_writes(void **state)
{
    (void)state;
    if (!test_python_has("gguf")) {
        print_message("skipped: HONE_PYTHON names no Python with the gguf package\n");
        skip();
    }
    const char *llamacpp = given("HONE_LLAMACPP"), *model = given("HONE_GGUF");
    bool tokenizers = llamacpp && hone_dir_exists(TOKENIZERS);
    char command[4096];
    if (!llamacpp) print_message("skipped: HONE_LLAMACPP names no llama.cpp: only the gguf package and transformers\n");
    if (!model) print_message("skipped: HONE_GGUF names no real GGUF model: only models made here\n");
    snprintf(command, sizeof command, "'%s' '%s/tools/compare_gguf.py' '%s/hone' '%s' '%s' %s", getenv("HONE_PYTHON"), HONE_SOURCE_DIR, HONE_BINARY_DIR,
             llamacpp ? llamacpp : "-", model ? model : "-",
             tokenizers ? "'" TOKENIZERS "mistral_v1/tokenizer.json' '" TOKENIZERS "qwen3/tokenizer.json' '" TOKENIZERS "gpt2'" : "");
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_others_read_what_hone_writes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
