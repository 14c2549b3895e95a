// What surrounds a run may be odd: names with spaces and Unicode, no HOME, a locale with a decimal comma, a terminal of 40
// columns, NO_COLOR, a folder that may not be written, a reader in the midst of saves, a clock that jumps.
#include "base/cpu.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include "train/pretrain.h"
#include <pty.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// hone's own calls of time() come here (this program links the library into itself): an hour ahead, a day back, in turn.
static bool clock_jumps;
static int jumps;
time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    time_t said = now.tv_sec;
    if (clock_jumps) said += jumps++ % 2 ? 3600 : -86400;
    if (out) *out = said;
    return said;
}

static char *plain, *odd;    // one rig in a plain folder, the same data in an odd one
static const char *const keys = "per_device_train_batch_size: 2\nmax_steps: 12\nsave_steps: 4\nlogging_steps: 1\neval_steps: 6\n";

static int make_folders(void **state)
{
    (void)state;
    char *output, *recipe;
    plain = run_rig_folder();
    odd = hone_format("%s/r\xc3\xa4um 1 \xe6\x97\xa5\xe6\x9c\xac/it's", plain);
    char *command = hone_format("mkdir -p \"%s\" && cp %s/*.u16 \"%s/\"", odd, plain, odd);
    assert_int_equal(system(command), 0);
    hone_free(command);
    recipe = run_rig_recipe_file(plain, keys);
    assert_int_equal(verb(&output, (const char *[]){ "pretrain", recipe, NULL }), 0);
    hone_free(output);
    hone_free(recipe);
    return 0;
}

static int remove_folders(void **state)
{
    (void)state;
    hone_free(odd);
    run_rig_remove(plain);
    return 0;
}

// A shell line with "$HONE", "$AT" (the plain folder) and "$ODD"; its exit code, its output (free()).
static int shell(const char *line, char **output)
{
    size_t size = 1 << 16;
    setenv("HONE", HONE_BINARY_DIR "/hone", 1);
    setenv("AT", plain, 1);
    setenv("ODD", odd, 1);
    char *command = hone_format("( %s ) 2>&1", line);
    FILE *from = popen(command, "r");
    *output = calloc(1, size);
    assert_non_null(from);
    for (size_t n = 0, got; n + 1 < size && (got = fread(*output + n, 1, size - 1 - n, from)) > 0; n += got) { }
    int status = pclose(from);
    hone_free(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

static void assert_runs(const char *line, int code, const char *words)
{
    char *output;
    int is = shell(line, &output);
    if (is != code) fail_msg("%s: code %d: %s", line, is, output);
    if (words && !strstr(output, words)) fail_msg("%s: \"%s\" is not in: %s", line, words, output);
    free(output);
}

static void test_names_with_spaces_quotes_and_unicode(void **state)
{
    (void)state;
    hone_free(run_rig_recipe_file(odd, keys));
    assert_runs("\"$HONE\" pretrain \"$ODD/recipe.yaml\" max_steps=8", 0, "it's/out/model");
    assert_runs("\"$HONE\" pretrain \"$ODD/recipe.yaml\"", 0, "resume from step 8");
    assert_runs("\"$HONE\" ckpt verify \"$ODD/out\"", 0, "it's/out/step-12");
    assert_runs("\"$HONE\" replay \"$ODD/out\" 12", 0, "it's/out/step-8");
    assert_runs("cd \"$ODD\" && \"$HONE\" ckpt diff out/step-12 out/model", 0, "0 tensors differ");
}

static void test_an_empty_environment(void **state)
{
    (void)state;
    assert_runs("env -i OMP_WAIT_POLICY=passive \"$HONE\" pretrain \"$AT/recipe.yaml\" output_dir=\"$AT/empty\"", 0, "held out");
    assert_true(test_hash("%s/empty/step-12/model.safetensors", plain) == test_hash("%s/out/step-12/model.safetensors", plain));
    assert_runs("env -i HOME=/proc/nowhere OMP_WAIT_POLICY=passive \"$HONE\" plan \"$AT/recipe.yaml\"", 0, NULL);
}

// German: 0,5. Numbers are read and written with a point everywhere, and the weights are the same.
static void test_a_locale_with_a_decimal_comma(void **state)
{
    (void)state;
    char *output, *log = hone_format("%s/comma/log.jsonl", plain), *text, *line, *rest;
    size_t size;
    if (shell("mkdir \"$AT/locales\" && localedef -i de_DE -f UTF-8 \"$AT/locales/de_DE.UTF-8\" && "
              "LOCPATH=\"$AT/locales\" LC_ALL=de_DE.UTF-8 /usr/bin/printf %.1f 0,5", &output) || !strstr(output, "0,5")) {
        print_message("skipped: no locale can be made here (package locales): %s\n", output);
    } else {
        // detect_leaks: glibc keeps a copy of LOCPATH
        assert_runs("ASAN_OPTIONS=detect_leaks=0 LOCPATH=\"$AT/locales\" LC_ALL=de_DE.UTF-8 \"$HONE\" pretrain \"$AT/recipe.yaml\" output_dir=\"$AT/comma\"", 0, "  loss 4.");
        assert_true(test_hash("%s/comma/step-12/model.safetensors", plain) == test_hash("%s/out/step-12/model.safetensors", plain));
        assert_int_equal(hone_file_read(log, &text, &size), HONE_OK);
        for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
            json_t *json;
            if (hone_json_parse("log", line, strlen(line), &json)) fail_msg("%s", line);
            json_decref(json);
        }
        hone_free(text);
    }
    free(output);
    hone_free(log);
}

static void test_a_folder_that_may_not_be_written(void **state)
{
    (void)state;
    assert_runs("\"$HONE\" pretrain \"$AT/recipe.yaml\" output_dir=/proc/hone_run", 1, "hone: /proc/hone_run: cannot make the folder: ");
    if (geteuid() == 0) {   // root may write everywhere but on a file system that is mounted so
        char *output;
        int allowed = shell("mkdir -p \"$AT/ro\" && unshare -m mount -t tmpfs -o ro tmpfs \"$AT/ro\"", &output);
        free(output);
        if (allowed) { print_message("skipped: no tmpfs may be mounted here\n"); return; }
        assert_runs("unshare -m sh -c 'mount -t tmpfs -o ro tmpfs \"$AT/ro\" && \"$HONE\" pretrain \"$AT/recipe.yaml\" output_dir=\"$AT/ro\"'", 1,
                    "/ro/.lock: cannot open: Read-only file system");
    } else {
        assert_runs("mkdir -p \"$AT/ro\" && chmod 555 \"$AT/ro\" && \"$HONE\" pretrain \"$AT/recipe.yaml\" output_dir=\"$AT/ro\"", 1,
                    "/ro/.lock: cannot open: Permission denied");
    }
}

// Readers list and verify and load while a run saves at each step and removes what is old: they see whole checkpoints only.
static void test_a_reader_while_a_writer_saves(void **state)
{
    (void)state;
    char *recipe = hone_path_join(plain, "recipe.yaml"), *out = hone_format("output_dir=%s/busy", plain), *log = hone_format("%s/log.jsonl", out + 11), *output;
    verb_run run;
    verb_start(&run, (const char *[]){ "pretrain", recipe, out, "save_steps=1", "save_total_limit=2", "max_steps=100000000", NULL });
    for (double began = hone_clock_s(); !hone_file_exists(log) && hone_clock_s() - began < 60;) usleep(2000);
    int seen = 0;
    double began = hone_clock_s();
    for (int i = 0; i < 25 || (seen < 10 && hone_clock_s() - began < 60); i++) {
        int code = verb(&output, (const char *[]){ "ckpt", i % 2 ? "verify" : "ls", out + 11, NULL });
        bool none = strstr(output, "holds no checkpoint") != NULL;   // before the first
        if ((code && !none) || strstr(output, "damaged")) fail_msg("%s", output);
        seen += !none;
        hone_free(output);
    }
    assert_true(seen >= 10);
    kill(run.pid, SIGTERM);
    assert_int_equal(verb_finish(&run), 128 + SIGTERM);
    hone_free(run.output);
    hone_free(log);
    hone_free(out);
    hone_free(recipe);
}

static void test_a_clock_that_jumps(void **state)
{
    (void)state;
    hone_recipe recipe;
    char *path = hone_path_join(plain, "recipe.yaml"), *out = hone_format("output_dir=%s/jumps", plain), *shown;
    size_t size;
    assert_int_equal(hone_recipe_load(&recipe, path, 1, &out), HONE_OK);
    FILE *file = open_memstream(&shown, &size);
    double began = hone_clock_s();
    clock_jumps = true;
    hone_status status = hone_pretrain(&recipe, file);
    clock_jumps = false;
    double took = hone_clock_s() - began;
    fclose(file);
    if (status) fail_msg("%s", hone_error());
    assert_true(jumps > 12);   // each row of the log asked
    assert_true(test_hash("%s/jumps/step-12/model.safetensors", plain) == test_hash("%s/out/step-12/model.safetensors", plain));
    char *log = hone_format("%s/log.jsonl", out + 11), *text, *line, *rest;
    assert_int_equal(hone_file_read(log, &text, &size), HONE_OK);
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        json_t *json, *elapsed;
        assert_int_equal(hone_json_parse("log", line, strlen(line), &json), HONE_OK);
        elapsed = json_object_get(json, "elapsed_seconds");
        if (elapsed) assert_true(json_number_value(elapsed) >= 0 && json_number_value(elapsed) <= took);
        json_decref(json);
    }
    hone_free(text);
    free(shown);
    hone_free(log);
    hone_free(out);
    hone_free(path);
    hone_recipe_release(&recipe);
}

// The exit code and all that comes through a terminal of so many columns. hone_free() the text.
static char *on_terminal(int columns, const char *const *argument)
{
    struct winsize size = { .ws_row = 24, .ws_col = (unsigned short)columns };
    hone_buffer text = { 0 };
    char piece[4096];
    int master, status;
    ssize_t n;
    fflush(NULL);
    pid_t child = forkpty(&master, NULL, NULL, &size);
    assert_true(child >= 0);
    if (child == 0) {
        setenv("TERM", "xterm", 1);
        execv(HONE_BINARY_DIR "/hone", (char *const *)(uintptr_t)argument);
        _exit(127);
    }
    while ((n = read(master, piece, sizeof piece)) > 0) assert_int_equal(hone_buffer_append(&text, piece, (size_t)n), HONE_OK);
    assert_int_equal(hone_buffer_append(&text, "", 0), HONE_OK);
    close(master);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) fail_msg("%s", text.data);
    return text.data;
}

// What is redrawn in place fits the line: each piece between two returns is shorter than the terminal is wide.
static void test_a_terminal_of_40_columns(void **state)
{
    (void)state;
    char *recipe = hone_path_join(plain, "recipe.yaml"), *out = hone_format("output_dir=%s/narrow", plain), *rest;
    char *text = on_terminal(40, (const char *[]){ "hone", "pretrain", recipe, out, "max_steps=40", "eval_steps=0", NULL });
    int drawn = 0;
    for (char *piece = strtok_r(text, "\r\n", &rest); piece; piece = strtok_r(NULL, "\r\n", &rest)) {
        if (strncmp(piece, "  step ", 7) != 0) continue;
        if (strlen(piece) >= 40) fail_msg("%zu columns: %s", strlen(piece), piece);
        drawn++;
    }
    assert_true(drawn >= 1);
    hone_free(text);
    hone_free(out);
    hone_free(recipe);
}

static void test_no_color(void **state)
{
    (void)state;
    char *data = hone_path_join(plain, "words.txt"), *made = hone_path_join(plain, "tokenizer.json");
    char *words = hone_alloc(1, 60001);
    for (int i = 0; i < 60000; i++) words[i] = "the cat sat on a mat with the hat "[i % 34];
    assert_int_equal(hone_file_write(data, words, 60000), HONE_OK);
    hone_free(words);
    char *output;
    assert_int_equal(verb(&output, (const char *[]){ "tokenizer", "train", "--vocab", "270", "--output", made, data, NULL }), 0);
    hone_free(output);
    unsetenv("NO_COLOR");
    const char *const inspect[] = { "hone", "tokenizer", "inspect", "--text", "the cat", made, NULL };
    char *text = on_terminal(80, inspect);
    bool coloured = strstr(text, "\033[") != NULL;
    hone_free(text);
    setenv("NO_COLOR", "1", 1);
    text = on_terminal(80, inspect);
    assert_null(strstr(text, "\033["));
    hone_free(text);
    unsetenv("NO_COLOR");
    assert_true(coloured);   // the control
    hone_free(made);
    hone_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_with_spaces_quotes_and_unicode),
        cmocka_unit_test(test_an_empty_environment),
        cmocka_unit_test(test_a_locale_with_a_decimal_comma),
        cmocka_unit_test(test_a_folder_that_may_not_be_written),
        cmocka_unit_test(test_a_reader_while_a_writer_saves),
        cmocka_unit_test(test_a_terminal_of_40_columns),
        cmocka_unit_test(test_no_color),
        cmocka_unit_test(test_a_clock_that_jumps),   // the last: it starts threads in this process
    };
    return cmocka_run_group_tests(tests, make_folders, remove_folders);
}
