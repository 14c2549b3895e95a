// Every command in the docs runs. The ```sh blocks of each page are run in order in one folder with a small text; minutes
// become seconds there. The examples of all verbs are checked against their own options.
#include "base/file.h"
#include "base/memory.h"
#include "cli/describe.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/verb.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_book(const char *folder)
{
    static const char *const who[] = { "The king", "A fox", "My brother", "The old sailor", "Nobody" };
    static const char *const does[] = { "sees", "loves", "never finds", "remembers" };
    static const char *const what[] = { "the sea", "a golden ring", "his house", "the long road", "an apple", "the moon" };
    hone_buffer text = { 0 };
    unsigned r = 1;
    for (int i = 0; i < 6000; i++) {
        r = r * 1664525u + 1013904223u;
        assert_int_equal(hone_buffer_print(&text, "%s %s %s.%s", who[(r >> 8) % 5], does[(r >> 12) % 4], what[(r >> 16) % 6], i % 8 == 7 ? "\n\n" : " "), HONE_OK);
    }
    char *path = hone_path_join(folder, "book.txt");
    assert_int_equal(hone_file_write(path, text.data, text.size), HONE_OK);
    hone_free(path);
    hone_buffer_release(&text);
}

// The command as it is, but shorter: what is long in the docs takes seconds here.
static char *shorten(const char *line)
{
    static const struct { const char *from, *to; } less[] = { { "--time 5m", "--time 3s" }, { "--vocab 4096", "--vocab 320" } };
    char *out = hone_strdup(line);
    for (size_t i = 0; i < sizeof less / sizeof *less; i++) {
        char *at = strstr(out, less[i].from);
        if (!at) continue;
        char *shorter = hone_format("%.*s%s%s", (int)(at - out), out, less[i].to, at + strlen(less[i].from));
        hone_free(out);
        out = shorter;
    }
    return out;
}

static void run_line(const char *folder, const char *line)
{
    char *shorter = shorten(line);
    bool board = strncmp(line, "hone board", 10) == 0; // goes on until Ctrl-C
    char *command = hone_format("cd '%s' && PATH='%s':$PATH && export OMP_WAIT_POLICY=passive && { %s %s %s; } > output 2>&1 < /dev/null", folder, HONE_BINARY_DIR,
                                board ? "timeout --foreground --preserve-status -s INT 2" : "", shorter, board ? "--port 0" : ""); // the usual port may be taken
    int status = system(command);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        char *path = hone_path_join(folder, "output"), *text;
        size_t size;
        fail_msg("%s: exit code %d: %s", shorter, WEXITSTATUS(status), hone_file_read(path, &text, &size) ? "" : text);
    }
    hone_free(command);
    hone_free(shorter);
}

// Lines of ```sh blocks.
static int run_page(const char *folder, const char *page)
{
    char *path = hone_format("%s/docs/%s", HONE_SOURCE_DIR, page), *text, *rest;
    size_t size;
    bool inside = false;
    int lines = 0;
    if (hone_file_read(path, &text, &size)) fail_msg("%s", hone_error());
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "```", 3) == 0) inside = !inside && strcmp(line, "```sh") == 0;
        else if (inside) {
            run_line(folder, line);
            lines++;
        }
    }
    hone_free(text);
    hone_free(path);
    return lines;
}

static void test_every_command_of_the_pages_runs(void **state)
{
    (void)state;
    const char *folder = test_folder();
    write_book(folder);
    assert_true(run_page(folder, "tutorial.md") >= 14);
    assert_true(run_page(folder, "chat.md") >= 7);
    assert_true(run_page(folder, "formats.md") >= 1);
    assert_true(run_page(folder, "safety.md") >= 6);
    assert_true(run_page(folder, "data.md") >= 4);
    static const char *const made[] = { "recipe.yaml", "run/model/config.json", "run-profile/trace.json", "runs.db" };
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        char *path = hone_path_join(folder, made[i]);
        if (!hone_file_exists(path)) fail_msg("the tutorial made no %s", made[i]);
        hone_free(path);
    }
}

// With --help behind it an example is parsed up to there: unknown options and missing values are found, nothing runs.
static void test_every_example_has_options_that_exist(void **state)
{
    (void)state;
    hone_cli_text *text;
    int count;
    assert_int_equal(hone_cli_collect_texts(&text, &count), HONE_OK);
    for (int i = 0; i < count; i++) {
        char *wanted = hone_format("hone %s", text[i].verb), *at = strstr(text[i].example, wanted);
        if (!at) fail_msg("%s: is no example of hone %s", text[i].example, text[i].verb);
        char *example = hone_strdup(at); // behind a pipe, or before one
        example[strcspn(example, "|><\n")] = '\0';
        char *command = hone_format("PATH='%s':$PATH; %s --help > /dev/null 2>&1", HONE_BINARY_DIR, example);
        if (system(command)) fail_msg("%s: the example of hone %s does not parse", text[i].example, text[i].verb);
        hone_free(command);
        hone_free(wanted);
        hone_free(example);
    }
    hone_cli_free_texts(text, count);
}

// README's commands: verbs and options that exist (what they do is in the tutorial).
static void test_every_command_of_the_readme_parses(void **state)
{
    (void)state;
    char *path = hone_format("%s/README.md", HONE_SOURCE_DIR), *text, *rest;
    size_t size;
    int lines = 0;
    if (hone_file_read(path, &text, &size)) fail_msg("%s", hone_error());
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "    hone ", 9)) continue;
        char *end = strstr(line + 4, "  "); // what it does stands behind two spaces
        if (end) *end = '\0';
        char *command = hone_format("PATH='%s':$PATH; %s --help > /dev/null 2>&1", HONE_BINARY_DIR, line);
        if (system(command)) fail_msg("README: %s: does not parse", line);
        hone_free(command);
        lines++;
    }
    assert_true(lines >= 8);
    hone_free(text);
    hone_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_command_of_the_pages_runs), cmocka_unit_test(test_every_example_has_options_that_exist),
                                        cmocka_unit_test(test_every_command_of_the_readme_parses) };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
