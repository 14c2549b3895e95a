// What a run survives: a full disk, a second run in its folder, a folder that may not be written. Where it says so, and
// what is left.
#include "base/cpu.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/lock.h"
#include "io/checkpoint.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include "train/pretrain.h"
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static char *folder;
static int make_folder(void **state) { (void)state; folder = run_rig_folder(); return 0; }
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

static const char *const base = "per_device_train_batch_size: 2\nmax_steps: 24\nlogging_steps: 1\n";
static const char *const saves = "save_steps: 4\nsave_total_limit: 20\n";

// A whole run in this process, in folder/out; what it showed to *shown (free() it).
static hone_status run_here(const char *more, char **shown)
{
    hone_recipe recipe;
    size_t size;
    char *out = hone_format("%s/out", folder), *keys = hone_format("%s%s", base, more);
    assert_int_equal(hone_dir_remove(out), HONE_OK);
    run_rig_recipe(&recipe, folder, keys);
    FILE *file = open_memstream(shown, &size);
    hone_status status = hone_pretrain(&recipe, file);
    fclose(file);
    hone_recipe_release(&recipe);
    hone_free(keys);
    hone_free(out);
    return status;
}

static bool has_step(int step)
{
    char *path = hone_format("%s/out/step-%d", folder, step);
    bool has = hone_dir_exists(path);
    hone_free(path);
    return has;
}

// The disk is full from the first call on folder `full_from` for so many calls that would take room.
static const char *full_from;
static int full_for;
static bool is_full;
static bool fill_disk(hone_call call, const char *path, const char *to, const void *data, size_t size)
{
    (void)to; (void)data; (void)size;
    if (path && full_from && strstr(path, full_from)) is_full = true;
    if (!is_full || full_for == 0 || !(call & (HONE_CALL_CREATE | HONE_CALL_WRITE | HONE_CALL_MKDIR | HONE_CALL_FSYNC))) return false;
    full_for--;
    errno = ENOSPC;
    return true;
}

static void test_a_full_disk_costs_a_warning_and_the_run_goes_on(void **state)
{
    (void)state;
    char *shown;
    if (run_here(saves, &shown)) fail_msg("%s", hone_error());
    free(shown);
    uint64_t whole = test_hash("%s/out/step-24/model.safetensors", folder);
    is_full = false;
    full_from = "step-12.tmp";
    full_for = 9;   // saves of steps 12, 13, 15 ... and rows of the log between them
    hone_fault_hook = fill_disk;
    hone_status status = run_here(saves, &shown);
    hone_fault_hook = NULL;
    if (status) fail_msg("%s", hone_error());
    assert_int_equal(full_for, 0);
    assert_says(shown, "checkpoint of step 12 was not saved: ");
    assert_says(shown, "No space left on device; free some space there");
    assert_says(shown, "step-8 is the last good one; the run goes on, next try at step 1");
    assert_says(shown, " is saved\n");
    assert_true(has_step(4) && has_step(8) && !has_step(12));
    assert_true(test_hash("%s/out/step-24/model.safetensors", folder) == whole);
    assert_true(test_hash("%s/out/model/model.safetensors", folder) == whole);
    free(shown);
}

static void test_the_last_save_is_tried_again_then_given_up_with_the_way_out(void **state)
{
    (void)state;
    char *shown;
    is_full = false;
    full_from = "step-24.tmp";
    full_for = 2;   // soon there is room again
    hone_fault_hook = fill_disk;
    hone_status status = run_here("save_steps: 4\nsave_total_limit: 20\nsave_retry: 20s\n", &shown);
    hone_fault_hook = NULL;
    if (status) fail_msg("%s", hone_error());
    assert_says(shown, "step-20 is the last good one");
    assert_true(has_step(24));
    free(shown);
    is_full = false;
    full_for = 1 << 30;
    hone_fault_hook = fill_disk;
    status = run_here("save_steps: 4\nsave_total_limit: 20\nsave_retry: 1s\n", &shown);
    hone_fault_hook = NULL;
    assert_int_equal(status, HONE_FAILED);
    assert_says(hone_error(), "step 24 could not be saved in 1 s (save_retry); make room there, then the same command goes on from step-20");
    assert_true(has_step(20) && !has_step(24));
    free(shown);
}

static void test_only_one_process_at_a_time_and_a_dead_one_holds_nothing(void **state)
{
    (void)state;
    char *recipe = hone_path_join(folder, "recipe.yaml"), *output, *out = hone_format("%s/out", folder), *shown;
    assert_int_equal(run_here(saves, &shown), HONE_OK);   // writes the recipe
    free(shown);
    assert_int_equal(hone_dir_remove(out), HONE_OK);
    verb_run first;
    verb_start(&first, (const char *[]){ "pretrain", recipe, "max_steps=100000000", NULL });
    char *log = hone_path_join(out, "log.jsonl");
    for (double began = hone_clock_s(); !hone_file_exists(log) && hone_clock_s() - began < 100;) usleep(500);
    assert_int_equal(verb(&output, (const char *[]){ "pretrain", recipe, NULL }), 1);
    char *who = hone_format("%s: is in use by hone pretrain, process %ld on ", out, (long)first.pid);
    assert_says(output, who);
    assert_says(output, "wait for it, stop it, or choose another folder");
    hone_free(output);
    hone_free(who);
    kill(first.pid, SIGKILL);
    assert_int_equal(verb_finish(&first), 1000 + SIGKILL);
    hone_free(first.output);
    assert_int_equal(verb(&output, (const char *[]){ "pretrain", recipe, "max_steps=2", NULL }), 0);
    hone_free(output);
    hone_lock one, two;   // within a process, too
    assert_int_equal(hone_lock_take(&one, out, "one"), HONE_OK);
    assert_int_equal(hone_lock_take(&two, out, "two"), HONE_FAILED);
    hone_lock_release(&two);
    hone_lock_release(&one);
    assert_int_equal(hone_lock_take(&two, out, "two"), HONE_OK);
    hone_lock_release(&two);
    hone_free(log);
    hone_free(out);
    hone_free(recipe);
}

static bool wait_for(const char *path, const char *words)
{
    for (double began = hone_clock_s(); hone_clock_s() - began < 100; usleep(2000)) {
        char *text;
        size_t size;
        if (!hone_file_exists(path) || hone_file_read(path, &text, &size)) continue;
        bool has = strstr(text, words) != NULL;
        hone_free(text);
        if (has) return true;
    }
    return false;
}

// SIGUSR1 saves and goes on, SIGTERM saves and ends; a process that was stopped for a while says so.
static void test_signals_save_and_a_stopped_process_is_noticed(void **state)
{
    (void)state;
    char *recipe = hone_path_join(folder, "recipe.yaml"), *out = hone_format("output_dir=%s/signals", folder), *log = hone_format("%s/log.jsonl", out + 11);
    verb_run run;
    verb_start(&run, (const char *[]){ "pretrain", recipe, out, "max_steps=100000000", "save_steps=0", "logging_steps=20", NULL });
    assert_true(wait_for(log, "\"event\":\"step\""));
    kill(run.pid, SIGUSR1);
    assert_true(wait_for(log, "\"event\":\"save\""));
    bool noticed = false;
    for (int i = 0; i < 5 && !noticed; i++) {   // the stop may fall between two steps
        kill(run.pid, SIGSTOP);
        usleep(1300000);
        kill(run.pid, SIGCONT);
        usleep(300000);
        char *text;
        size_t size;
        assert_int_equal(hone_file_read(log, &text, &size), HONE_OK);
        noticed = strstr(text, "\"event\":\"slow_step\"") != NULL;
        hone_free(text);
    }
    assert_true(noticed);
    kill(run.pid, SIGTERM);
    assert_int_equal(verb_finish(&run), 128 + SIGTERM);
    assert_says(run.output, "SIGUSR1: step-");
    assert_says(run.output, "; the process had ");
    assert_says(run.output, "the same command goes on from there");
    hone_free(run.output);
    verb_start(&run, (const char *[]){ "pretrain", recipe, out, "max_steps=100000000", "save_on_signal=false", NULL });
    assert_true(wait_for(log, "\"event\":\"resume\""));
    kill(run.pid, SIGTERM);
    assert_int_equal(verb_finish(&run), 1000 + SIGTERM);
    hone_free(run.output);
    hone_free(log);
    hone_free(out);
    hone_free(recipe);
}

// The best by held-out loss outlives the limit, and a resume: behind step 16 each weight is decayed to nothing at each step.
static void test_the_best_checkpoint_stays(void **state)
{
    (void)state;
    double loss;
    hone_checkpoint_list list;
    char *recipe = hone_path_join(folder, "recipe.yaml"), *out = hone_format("output_dir=%s/best", folder), *output;
    const char *args[] = { "pretrain", recipe, out, "save_steps=1", "save_total_limit=1", "keep_best=true", "eval_steps=2", "lr_scheduler_type=constant",
                           "max_steps=16", NULL, NULL };
    assert_int_equal(verb(&output, args), 0);
    hone_free(output);
    assert_int_equal(hone_checkpoint_list_folder(out + 11, &list), HONE_OK);
    assert_int_equal(list.count, 1);
    hone_checkpoint_list_release(&list);
    args[8] = "max_steps=24";
    args[9] = "weight_decay=99";
    assert_int_equal(verb(&output, args), 0);
    assert_int_equal(hone_checkpoint_list_folder(out + 11, &list), HONE_OK);
    assert_int_equal(list.count, 2);
    assert_int_equal(list.entry[0].step, 16);
    assert_int_equal(list.entry[1].step, 24);
    assert_int_equal(hone_checkpoint_find_best(&list, &loss), 16);
    hone_checkpoint_list_release(&list);
    hone_free(output);
    hone_free(recipe);
    hone_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_full_disk_costs_a_warning_and_the_run_goes_on),
        cmocka_unit_test(test_the_last_save_is_tried_again_then_given_up_with_the_way_out),
        cmocka_unit_test(test_only_one_process_at_a_time_and_a_dead_one_holds_nothing),
        cmocka_unit_test(test_signals_save_and_a_stopped_process_is_noticed),
        cmocka_unit_test(test_the_best_checkpoint_stays),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
