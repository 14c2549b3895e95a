// A run that is killed, at any moment, as often as one likes, ends with the bits of one that nobody touched. Three ways to
// die, each followed by the same command again:
//
//     kill -9 at random moments                         30 times (HONE_TEST_LONG: 1,000)
//     at every call of one save in turn, in the midst of writes too          a sample of calls (HONE_TEST_LONG: all)
//     every allocation, every call to the disk failing in turn               likewise: an error in words, no crash,
//                                                                            and the earlier checkpoints as they were
//
// A kill keeps what the kernel has; what a power cut leaves is the matter of tests/io/test_checkpoint_crash.c.
#include "base/cpu.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include "io/checkpoint.h"
#include "support/cmocka_all.h"
#include "support/fault.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include "train/pretrain.h"
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static char *folder, *recipe_file, *run_folder, *disk;
static char last_words[500];     // the stderr of a child
static uint64_t whole[2];        // hashes of the end of an untouched run
static double whole_s;

static const char *const keys = "per_device_train_batch_size: 2\ngradient_accumulation_steps: 2\nmax_steps: 24\nsave_steps: 1\nsave_total_limit: 2\n"
                                "eval_steps: 5\nkeep_best: true\nlogging_steps: 2\nwarmup_steps: 5\nlr_scheduler_type: constant\nsave_retry: 0s\nthreads: 1\n";

static bool is_long(void) { return getenv("HONE_TEST_LONG") != NULL; }

static int make_folder(void **state)
{
    (void)state;
    char *output;
    folder = run_rig_folder();
    recipe_file = run_rig_recipe_file(folder, keys);
    run_folder = hone_path_join(folder, "out");
    disk = hone_path_join(folder, "disk");
    snprintf(last_words, sizeof last_words, "%s/last_words", folder);
    double began = hone_clock_s();
    int code = verb(&output, (const char *[]){ "pretrain", recipe_file, NULL });
    whole_s = hone_clock_s() - began;
    if (code) fprintf(stderr, "%s\n", output);
    hone_free(output);
    whole[0] = test_hash("%s/step-24/model.safetensors", run_folder);
    whole[1] = test_hash("%s/step-24/optimizer.safetensors", run_folder);
    return code;
}

static int remove_folder(void **state)
{
    (void)state;
    hone_free(disk);
    hone_free(run_folder);
    hone_free(recipe_file);
    run_rig_remove(folder);
    return 0;
}

static void assert_ends_the_same(void)
{
    assert_true(test_hash("%s/step-24/model.safetensors", run_folder) == whole[0]);
    assert_true(test_hash("%s/step-24/optimizer.safetensors", run_folder) == whole[1]);
}

static void test_kill_9_at_random_moments(void **state)
{
    (void)state;
    int wanted = is_long() ? 1000 : 30, kills = 0, ends = 0;
    assert_int_equal(hone_dir_remove(run_folder), HONE_OK);
    for (uint32_t i = 0; kills < wanted; i++) {
        verb_run run;
        uint32_t bits[4];
        hone_rng_block((uint64_t)getpid(), HONE_RNG_TEST, 9, i, bits);
        verb_start(&run, (const char *[]){ "pretrain", recipe_file, NULL });
        usleep((useconds_t)(1e6 * whole_s * (double)bits[0] / 0x1p32));
        kill(run.pid, SIGKILL);
        int code = verb_finish(&run);
        if (code != 0 && code != 1000 + SIGKILL) fail_msg("start %u: %s", i, run.output);
        if (code) kills++;
        hone_free(run.output);
        if (code == 0) {
            assert_ends_the_same();
            assert_int_equal(hone_dir_remove(run_folder), HONE_OK);
            ends++;
        }
    }
    char *output;
    if (verb(&output, (const char *[]){ "pretrain", recipe_file, NULL })) fail_msg("%s", output);
    hone_free(output);
    assert_ends_the_same();
    print_message("%d kills, %d runs to the end\n", kills, ends + 1);
}

// In a process of its own -----------------------------------------------------------------------------------------------

static const char *save_steps = "save_steps=1";
static void run_in_child(bool (*hook)(hone_call, const char *, const char *, const void *, size_t), const char *max_steps)
{
    hone_recipe recipe;
    char *const more[] = { (char *)(uintptr_t)max_steps, (char *)(uintptr_t)save_steps };
    FILE *sink = fopen("/dev/null", "w");
    if (!sink || hone_recipe_load(&recipe, recipe_file, 2, more)) _exit(99);
    if (!freopen(last_words, "w", stderr)) _exit(99);
    hone_fault_hook = hook;
    hone_error_clear();
    hone_status status = hone_pretrain(&recipe, sink);
    hone_fault_hook = NULL;
    _exit(status == HONE_OK ? 0 : hone_error()[0] ? 1 : 98);   // 98: failed without a word
}

static int fork_run(bool (*hook)(hone_call, const char *, const char *, const void *, size_t), const char *max_steps)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) run_in_child(hook, max_steps);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// Dies at call `die_at` of those that change the disk, counted from the first that names `since`; a write is half done.
static const char *since;
static atomic_bool counting;
static atomic_int counted;
static int die_at;
static bool die(hone_call call, const char *path, const char *to, const void *data, size_t size)
{
    (void)to;
    if (call == HONE_CALL_ALLOC || call == HONE_CALL_READ) return false;
    if (path && strstr(path, since)) atomic_store(&counting, true);
    if (!atomic_load(&counting) || atomic_fetch_add(&counted, 1) + 1 != die_at) return false;
    if (call == HONE_CALL_WRITE && size > 1) {
        int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        if (fd < 0 || write(fd, data, size / 2) < 0) _exit(97);
    }
    kill(getpid(), SIGKILL);
    return false;
}

static bool just_count(hone_call call, const char *path, const char *to, const void *data, size_t size)
{
    if (path && strstr(path, "step-13.tmp")) { printf("%d\n", atomic_load(&counted)); fflush(stdout); kill(getpid(), SIGKILL); }
    return die(call, path, to, data, size);
}

// How many calls there are between the first of step 12's save and the first of step 13's: written to a pipe by a child.
static int calls_of_one_save(void)
{
    int ends[2];
    char text[32] = "";
    assert_int_equal(pipe(ends), 0);
    int out = dup(1);
    dup2(ends[1], 1);
    die_at = -1;
    assert_int_equal(fork_run(just_count, "max_steps=24"), 1000 + SIGKILL);
    dup2(out, 1);
    close(out);
    close(ends[1]);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    close(ends[0]);
    return atoi(text);
}

static void test_a_kill_at_every_call_of_a_save(void **state)
{
    (void)state;
    since = "step-12.tmp";
    assert_int_equal(hone_dir_remove(run_folder), HONE_OK);
    int calls = calls_of_one_save(), stride = is_long() ? 1 : (calls + 19) / 20;
    assert_true(calls > 20);
    for (die_at = 1; die_at <= calls; die_at += stride) {
        char *path;
        assert_int_equal(hone_dir_remove(run_folder), HONE_OK);
        assert_int_equal(fork_run(die, "max_steps=24"), 1000 + SIGKILL);
        if (hone_checkpoint_find_last(run_folder, &path)) fail_msg("call %d: %s", die_at, hone_error());
        if (!path) fail_msg("call %d: no checkpoint is left", die_at);
        int64_t step = hone_checkpoint_step_of(strrchr(path, '/') + 1);
        if (step < 11 || step > 12) fail_msg("call %d: %s is found", die_at, path);
        hone_free(path);
        assert_int_equal(fork_run(NULL, "max_steps=24"), 0);
        assert_ends_the_same();
    }
    print_message("%d calls, every %d of them\n", calls, stride);
}

// Failing calls -------------------------------------------------------------------------------------------------------

// The folder as it stands when step 8 is saved and a process goes on to step 12.
static void copy_folder(const char *from, const char *to)
{
    char *command = hone_format("rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
    assert_int_equal(system(command), 0);
    hone_free(command);
}

static int failing_call;
static unsigned failing_kinds;
static bool fail_one(hone_call call, const char *path, const char *to, const void *data, size_t size)
{
    (void)path; (void)to; (void)data; (void)size;
    return (failing_kinds & call) && atomic_fetch_add(&counted, 1) + 1 == failing_call;
}
static bool count_all(hone_call call, const char *path, const char *to, const void *data, size_t size)
{
    (void)path; (void)to; (void)data; (void)size;
    if (failing_kinds & call) atomic_fetch_add(&counted, 1);
    return false;
}

static int count_calls(void)
{
    int ends[2], calls = 0;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        hone_recipe recipe;
        char *const more[] = { (char *)(uintptr_t)"max_steps=12", (char *)(uintptr_t)save_steps };
        FILE *sink = fopen("/dev/null", "w");
        if (!sink || hone_recipe_load(&recipe, recipe_file, 2, more)) _exit(99);
        hone_fault_hook = count_all;
        hone_status status = hone_pretrain(&recipe, sink);
        calls = atomic_load(&counted);
        _exit(status || write(ends[1], &calls, sizeof calls) != sizeof calls);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], &calls, sizeof calls), sizeof calls);
    close(ends[0]);
    close(ends[1]);
    return calls;
}

// Step 8 is there. Whatever fails on the way to step 12: no crash, an error in words if it ends, a whole checkpoint of
// step 8 or later, and the same end afterwards.
static void fail_each(unsigned kinds, int sample)
{
    failing_kinds = kinds;
    save_steps = "save_steps=12";   // one save, not one like the other
    assert_int_equal(hone_dir_remove(run_folder), HONE_OK);
    assert_int_equal(fork_run(NULL, "max_steps=8"), 0);
    copy_folder(run_folder, disk);
    int calls = count_calls(), stride = is_long() ? 1 : calls / sample + 1, survived = 0, ended = 0;
    assert_true(calls > sample);
    for (failing_call = 1; failing_call <= calls; failing_call += stride) {
        char *path;
        copy_folder(disk, run_folder);
        int code = fork_run(fail_one, "max_steps=12");
        if (code > 1) {
            char *words = NULL;
            size_t size;
            hone_status read = hone_file_read(last_words, &words, &size);
            fail_msg("call %d of %d failed: code %d: %s", failing_call, calls, code, read ? hone_error() : words);
        }
        survived += code == 0;
        ended += code == 1;
        if (hone_checkpoint_find_last(run_folder, &path)) fail_msg("call %d of %d: %s", failing_call, calls, hone_error());
        if (!path || hone_checkpoint_step_of(strrchr(path, '/') + 1) < 8) fail_msg("call %d of %d: %s is found", failing_call, calls, path ? path : "none");
        hone_free(path);
    }
    assert_int_equal(fork_run(NULL, "max_steps=24"), 0);
    assert_ends_the_same();
    save_steps = "save_steps=1";
    print_message("%d calls, every %d of them: %d runs went on, %d ended with an error\n", calls, stride, survived, ended);
    assert_true(ended > 0);
}

static void test_every_allocation_of_a_run_fails_in_turn(void **state) { (void)state; fail_each(HONE_CALL_ALLOC, 30); }
static void test_every_disk_call_of_a_run_fails_in_turn(void **state) { (void)state; fail_each(HONE_CALL_DISK | HONE_CALL_READ | HONE_CALL_REMOVE, 30); }

// A disk that is really full: 1 MiB, most of it taken by another file, which goes away once the run has complained.
static void test_a_small_disk_fills_up_and_is_emptied(void **state)
{
    (void)state;
    char *output, *script = hone_format(
        "set -e\n mount -t tmpfs -o size=1m tmpfs '%s'\n head -c 600000 /dev/zero > '%s/other'\n"
        "( while ! grep -q save_failed '%s/out/log.jsonl' 2>/dev/null; do sleep 0.02; done; rm '%s/other' ) &\n"
        "'%s/hone' pretrain '%s' output_dir='%s/out' save_total_limit=2 keep_best=false save_retry=30s\n"
        "cp '%s/out/step-24/model.safetensors' '%s/from_disk'\n", disk, disk, disk, disk, HONE_BINARY_DIR, recipe_file, disk, disk, folder);
    char *command = hone_format("%s sh -c \"$SCRIPT\" 2>&1", geteuid() == 0 ? "unshare -m" : "unshare -rm"), text[8192] = "";
    assert_int_equal(hone_dir_remove(disk), HONE_OK);
    assert_int_equal(hone_dir_create(disk), HONE_OK);
    char *probe = hone_format("%s mount -t tmpfs -o size=1m tmpfs '%s' 2>/dev/null", geteuid() == 0 ? "unshare -m" : "unshare -rm", disk);
    bool allowed = system(probe) == 0;
    hone_free(probe);
    if (!allowed) {
        print_message("skipped: no tmpfs may be mounted here\n");
    } else {
        setenv("SCRIPT", script, 1);
        FILE *pipe_end = popen(command, "r");
        assert_non_null(pipe_end);
        size_t n = fread(text, 1, sizeof text - 1, pipe_end);
        text[n] = '\0';
        int code = pclose(pipe_end);
        unsetenv("SCRIPT");
        if (code) fail_msg("code %d: %s", code, text);
        output = hone_path_join(folder, "from_disk");
        uint64_t hash;
        assert_int_equal(hone_file_hash(output, &hash), HONE_OK);
        assert_true(hash == whole[0]);
        hone_free(output);
        if (!strstr(text, "No space left on device")) fail_msg("the disk was never full: %s", text);
        if (!strstr(text, "is the last good one")) fail_msg("%s", text);
    }
    hone_free(command);
    hone_free(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_9_at_random_moments),
        cmocka_unit_test(test_a_kill_at_every_call_of_a_save),
        cmocka_unit_test(test_every_allocation_of_a_run_fails_in_turn),
        cmocka_unit_test(test_every_disk_call_of_a_run_fails_in_turn),
        cmocka_unit_test(test_a_small_disk_fills_up_and_is_emptied),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
