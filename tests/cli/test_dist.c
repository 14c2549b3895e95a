// test_dist.c: what tools/dist.sh packs runs from a folder anywhere, by its own libraries alone.
#include "base/file.h"
#include "base/memory.h"
#include "support/cmocka_all.h"
#include "support/run_rig.h"
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined __SANITIZE_ADDRESS__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

static char *folder;

// A shell line with $AT, the folder, and $IN, what was unpacked there; exit code 0 and these words, else the test fails.
static void runs(const char *line, const char *words)
{
    char text[1 << 15] = "";
    char *command = hone_format("cd '%s' && IN=$(echo '%s'/unpacked/hone-*) && ( %s ) 2>&1", HONE_SOURCE_DIR, folder, line);
    setenv("AT", folder, 1);
    FILE *from = popen(command, "r");
    assert_non_null(from);
    for (size_t n = 0, got; n + 1 < sizeof text && (got = fread(text + n, 1, sizeof text - 1 - n, from)) > 0; n += got) { }
    const int status = pclose(from);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !strstr(text, words)) fail_msg("%s: status %d, \"%s\" wanted: %s", line, status, words, text);
    hone_free(command);
}

static void test_an_archive_runs_where_it_is_unpacked(void **state)
{
    (void)state;
#ifdef SANITIZED
    print_message("skipped: the archive of make dist, of a build with sanitizers\n");
    skip();
#endif
    if (system("command -v dpkg-query objdump > /dev/null")) {
        print_message("skipped: the archive of make dist, without Debian's packages and binutils\n");
        skip();
    }
    folder = run_rig_folder_on_disk();
    runs("mkdir \"$AT/unpacked\" && tar -C \"$AT/unpacked\" -xzf \"$(tools/dist.sh '" HONE_BINARY_DIR "' \"$AT\")\" && ls \"$AT/unpacked\"", "-linux-x86_64");
    // Every file is named in PACKED and the other way round.
    runs("cd \"$IN\" && find . -type f | sed 's|^./||' | sort > ../is && awk '{ print $1 }' PACKED | sort | diff - ../is && echo same", "same");
    // Of the system are glibc's own libraries alone; the loader says where each of the others is from.
    runs("ldd \"$IN/bin/hone\" | awk '$2 == \"=>\" && index($3, \"'\"$IN\"'/\") != 1 { print $1 }' | grep -vE '^lib(c|m|dl|pthread|rt)\\.so\\.' && exit 1; echo own", "own");
    runs("LD_DEBUG=libs \"$IN/bin/hone\" --version 2>&1 | sed -n 's/.*calling init: //p' | grep -v \"^$IN/\" | grep -vE '/(lib(c|m|dl|pthread|rt)|ld-linux-x86-64)\\.so' && exit 1; echo own", "own");
    runs("\"$IN/bin/hone\" --version", "hone ");
    runs("env -i \"$IN/bin/hone\" doctor", "libraries");
    char *recipe = run_rig_recipe_file(folder, "per_device_train_batch_size: 1\nmax_steps: 2\neval_tokens: 37\n");
    runs("\"$IN/bin/hone\" pretrain \"$AT/recipe.yaml\"", "step");
    hone_free(recipe);
    run_rig_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_an_archive_runs_where_it_is_unpacked) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
