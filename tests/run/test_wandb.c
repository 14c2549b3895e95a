// Weights & Biases' offline files: the frame read back by rules written apart from the writer, and the whole by the package
// wandb itself: every metric, the config, the summary and the exit code, over a resume and without an end.
#include "run/wandb.h"
#include "base/file.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include <string.h>
#include <zlib.h>

enum { BLOCK = 32768 };

// Whole records of a file, each NUL behind it in *all; how many.
static int read_records(const char *path, hone_buffer *all, int kinds[5])
{
    char *data;
    size_t size;
    int records = 0;
    assert_int_equal(hone_file_read(path, &data, &size), HONE_OK);
    assert_true(size >= 7 && memcmp(data, ":W&B\xe1\xbe\0", 7) == 0);
    for (size_t at = 7; at < size;) {
        if (BLOCK - at % BLOCK < 7) {
            for (; at % BLOCK; at++) assert_int_equal(data[at], 0);
            continue;
        }
        uint32_t crc;
        uint16_t length;
        memcpy(&crc, data + at, 4);
        memcpy(&length, data + at + 4, 2);
        int kind = data[at + 6];
        assert_in_range(kind, 1, 4);
        assert_true(at % BLOCK + 7 + length <= BLOCK); // no chunk reaches into the next block
        assert_int_equal(crc, crc32(0, (const Bytef *)data + at + 6, 1u + length)); // of the kind and the bytes
        kinds[kind]++;
        assert_int_equal(hone_buffer_append(all, data + at + 7, length), HONE_OK);
        at += 7u + length;
        if (kind == 1 || kind == 4) records++;
    }
    hone_free(data);
    return records;
}

static void test_records_of_any_length_lie_in_blocks(void **state)
{
    (void)state;
    hone_wandb w;
    hone_buffer all = { 0 };
    int kinds[5] = { 0 };
    char *folder = hone_strdup(test_path("blocks"));
    assert_int_equal(hone_dir_create(folder), HONE_OK);
    if (hone_wandb_open(&w, folder, false)) fail_msg("%s", hone_error());
    char *path = hone_strdup(w.path), *text = hone_alloc(100001, 1);
    memset(text, 'x', 100000);
    json_t *start = json_pack("{s:s, s:{s:s, s:i}}", "hone", "0", "recipe", "note", text, "seed", 7);
    hone_wandb_add(&w, "start", start);
    for (int step = 1; step <= 2000; step++) { // of growing length, so that the ends of blocks are met in every way
        json_t *row = json_pack("{s:i, s:f, s:s}", "step", step, "loss", 1.0 / step, "note", "no number");
        hone_wandb_add(&w, "step", row);
        json_decref(row);
    }
    assert_int_equal(read_records(path, &all, kinds), 2 + 1999); // header, run, and the steps that are over
    assert_true(kinds[1] > 1900 && kinds[2] > 3 && kinds[3] >= 2 && kinds[4] == kinds[2]);
    assert_non_null(memmem(all.data, all.size, "0.00050025", 10)); // 1 / 1999
    assert_null(memmem(all.data, all.size, "no number", 9));
    hone_wandb_close(&w);
    all.size = 0;
    assert_int_equal(read_records(path, &all, kinds), 2 + 2000 + 2); // and summary, exit
    hone_buffer_release(&all);
    json_decref(start);
    hone_free(text);
    hone_free(path);
    hone_free(folder);
}

static void test_a_file_that_cannot_be_written_costs_a_warning(void **state)
{
    (void)state;
    hone_wandb w;
    char *folder = hone_strdup(test_path("gone"));
    assert_int_equal(hone_dir_create(folder), HONE_OK);
    assert_int_equal(hone_wandb_open(&w, folder, false), HONE_OK);
    assert_int_equal(hone_dir_remove(folder), HONE_OK);
    json_t *start = json_pack("{s:s, s:{}}", "hone", "0", "recipe");
    hone_wandb_add(&w, "start", start);
    assert_true(w.failed);
    hone_wandb_add(&w, "start", start);
    hone_wandb_close(&w);
    json_decref(start);
    hone_free(folder);
}

// Ended, gone on with, and gone on with until it fails: tests/run/check_wandb.py compares the files with log.jsonl. The last one is
// evaluated once with the weights that made its loss no number: the log says so.
static void test_wandb_reads_every_metric_config_and_exit_code(void **state)
{
    (void)state;
    char *folder = run_rig_folder(), *out = hone_path_join(folder, "out"), *log = hone_path_join(out, "log.jsonl");
    char *recipe = run_rig_recipe_file(folder, "per_device_train_batch_size: 2\nmax_steps: 6\nsave_steps: 3\neval_steps: 2\nlogging_steps: 1\nreport_to: wandb\nthreads: 1\n");
    verb_must("step", (const char *[]){ "pretrain", recipe, NULL });
    verb_must("step", (const char *[]){ "pretrain", recipe, "max_steps=11", NULL });
    verb_must_fail("to look closer", (const char *[]){ "pretrain", recipe, "max_steps=14", "learning_rate=1e19", NULL });
    char *rows = test_read(log);
    assert_says(rows, "\"loss\":\"nan\",\"standard_error\":\"nan\",\"perplexity\":\"nan\"");
    hone_free(rows);
    bool live = test_python_has("wandb");
    if (live) assert_int_equal(test_python(HONE_SOURCE_DIR "/tests/run/check_wandb.py", out), 0);
    hone_free(log);
    hone_free(recipe);
    hone_free(out);
    run_rig_remove(folder);
    if (!live) print_message("skipped: HONE_PYTHON names no Python with wandb\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_records_of_any_length_lie_in_blocks), cmocka_unit_test(test_a_file_that_cannot_be_written_costs_a_warning),
                                        cmocka_unit_test(test_wandb_reads_every_metric_config_and_exit_code) };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
