// test_gguf_peers.c: what hone writes, read by programs that know nothing of hone (tools/compare_gguf.py): the `gguf` package and
// transformers (HONE_PYTHON), llama.cpp (HONE_LLAMACPP, a folder of tools/setup_llamacpp.sh).
#include "support/cmocka_all.h"
#include "support/folder.h"
#include <stdlib.h>

static void test_others_read_what_hone_writes(void **state)
{
    (void)state;
    if (!test_python_has("gguf")) {
        print_message("skipped: HONE_PYTHON names no Python with the gguf package\n");
        skip();
    }
    const char *llamacpp = getenv("HONE_LLAMACPP");
    char command[4096];
    if (!llamacpp) print_message("HONE_LLAMACPP names no llama.cpp: only the gguf package and transformers\n");
    snprintf(command, sizeof command, "'%s' '%s/tools/compare_gguf.py' '%s/hone' %s%s%s", getenv("HONE_PYTHON"), HONE_SOURCE_DIR, HONE_BINARY_DIR,
             llamacpp ? "'" : "", llamacpp ? llamacpp : "", llamacpp ? "'" : "");
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_others_read_what_hone_writes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
