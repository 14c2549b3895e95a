// test_checkpoint.c: what is saved comes back bit by bit; whatever happens to a save or to its files, a damaged
// checkpoint is never used and the one before it is.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/fault.h"
#include "support/folder.h"
#include "support/store.h"
#include "base/memory.h"
#include "io/checkpoint.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

static hone_checkpoint_writer *open_writer(test_store *store, const char *folder, int64_t limit)
{
    hone_checkpoint_writer *writer;
    const hone_checkpoint_options options = { &store->model, test_store_place, NULL, store, folder, { NULL, NULL }, limit, false };
    if (hone_checkpoint_open(&writer, &options)) fail_msg("%s", hone_error());
    return writer;
}

static hone_checkpoint_tokens sources[] = { { (char *)"novels", 123 }, { (char *)"medical \xc3\xa9", 4567890123 } };
static hone_checkpoint_state state_of(int64_t step)
{
    return (hone_checkpoint_state){ .step = step, .row = step * 7, .tokens = step * 1000, .seconds = 0.1 + (double)step, .seed = 0xfedcba9876543210u,
                                    .data_hash = 0x8000000000000001u, .program_hash = 3, .recipe = (char *)"model: llama # \"\xc3\xbc\"\n\tlr: 3e-4\n",
                                    .source = sources, .n_source = 2 };
}

static hone_status save(hone_checkpoint_writer *writer, int64_t step)
{
    hone_checkpoint_state state = state_of(step);
    hone_status status = hone_checkpoint_start(writer, &state);
    return status ? status : hone_checkpoint_finish(writer, NULL);
}

static void assert_last(const char *folder, const char *name)
{
    char *path, *wanted = name ? hone_path_join(folder, name) : NULL;
    if (hone_checkpoint_find_last(folder, &path)) fail_msg("%s", hone_error());
    if (name) assert_string_equal(path ? path : "none", wanted);
    else assert_null(path);
    hone_free(path);
    hone_free(wanted);
}

// find_last, with its warnings caught.
static hone_status find_last(const char *folder, char **path, char **warnings)
{
    size_t size;
    fflush(stderr);
    int loud = dup(2), file = open(test_path("warnings"), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    dup2(file, 2);
    hone_status status = hone_checkpoint_find_last(folder, path);
    fflush(stderr);
    dup2(loud, 2);
    close(loud);
    close(file);
    assert_int_equal(hone_file_read(test_path("warnings"), warnings, &size), HONE_OK);
    return status;
}

// Step 2 is damaged: a warning says so with these words, and step 1 is found.
static void assert_falls_back(const char *folder, const char *words)
{
    char *path, *warnings, *wanted = hone_path_join(folder, "step-1");
    if (find_last(folder, &path, &warnings)) fail_msg("%s", hone_error());
    assert_string_equal(path, wanted);
    if (!strstr(warnings, words) || !strstr(warnings, "step-2 is not used")) fail_msg("no warning says \"%s\": %s", words, warnings);
    hone_free(path);
    hone_free(wanted);
    hone_free(warnings);
}

static void assert_names(const char *folder, const char *wanted)
{
    char **names, all[500] = "";
    int64_t count;
    assert_int_equal(hone_dir_list(folder, &names, &count), HONE_OK);
    for (int64_t i = 0; i < count; i++) {
        strcat(strcat(all, i ? " " : ""), names[i]);
        hone_free(names[i]);
    }
    hone_free(names);
    assert_string_equal(all, wanted);
}

static void test_every_family_resumes_bit_by_bit(void **state)
{
    (void)state;
    static const char *const families[] = { "gpt2", "llama", "mistral", "qwen2", "qwen3" };
    for (size_t f = 0; f < 5; f++) {
        hone_config config = test_family_config(families[f], f % 2);
        test_store a, b;
        test_store_open(&a, &config, true);
        test_store_open(&b, &config, true);
        test_store_fill(&a, f);
        const char *folder = test_path(families[f]);
        hone_checkpoint_writer *writer = open_writer(&a, folder, 0);
        if (save(writer, 12)) fail_msg("%s", hone_error());
        hone_checkpoint_report report;
        assert_true(hone_checkpoint_take_report(writer, &report));
        assert_false(hone_checkpoint_take_report(writer, &report));
        assert_int_equal(report.step, 12);
        assert_true(report.read_s >= 0 && report.total_s >= report.read_s);
        hone_checkpoint_close(writer);

        char *path;
        hone_checkpoint_state read;
        assert_int_equal(hone_checkpoint_find_last(folder, &path), HONE_OK);
        assert_non_null(path);
        if (hone_checkpoint_load(path, &b.model, test_store_place, NULL, &b, &read)) fail_msg("%s", hone_error());
        assert_true(test_store_equal(&a, &b));
        const hone_checkpoint_state wanted = state_of(12);
        assert_true(read.step == 12 && read.row == wanted.row && read.tokens == wanted.tokens && read.seconds == wanted.seconds);
        assert_true(read.seed == wanted.seed && read.data_hash == wanted.data_hash && read.program_hash == wanted.program_hash);
        assert_string_equal(read.recipe, wanted.recipe);
        assert_int_equal(read.n_source, 2);
        assert_string_equal(read.source[1].source, sources[1].source);
        assert_true(read.source[1].tokens == 4567890123);
        hone_checkpoint_state_release(&read);

        // The model part is a Hugging Face folder of its own.
        test_store_zero(&b);
        assert_int_equal(hone_hf_load(&b.model, path, test_store_place, &b), HONE_OK);
        hone_tid head = b.model.head;
        assert_memory_equal(test_store_place(&a, head), test_store_place(&b, head), (size_t)hone_tensor_count(hone_at(b.graph, head)) * 4);
        hone_free(path);
        test_store_close(&a);
        test_store_close(&b);
    }
}

// A weight that changes as soon as wait() returns is saved as it was at start().
static void test_wait_returns_only_when_all_is_read(void **state)
{
    (void)state;
    hone_config config = test_family_config("gpt2", true);
    test_store a, b, kept;
    test_store_open(&a, &config, true);
    test_store_open(&b, &config, true);
    test_store_open(&kept, &config, true);
    hone_checkpoint_writer *writer = open_writer(&a, test_path("wait"), 0);
    double stalled = 0;
    for (int64_t step = 1; step <= 10; step++) {
        hone_checkpoint_state s = state_of(step);
        char name[64];
        test_store_fill(&a, (uint64_t)step);
        test_store_fill(&kept, (uint64_t)step);
        assert_int_equal(hone_checkpoint_start(writer, &s), HONE_OK);
        s.step = -1;                                   // start has its own copy
        assert_int_equal(hone_checkpoint_wait(writer, &stalled), HONE_OK);
        test_store_zero(&a);
        assert_int_equal(hone_checkpoint_finish(writer, &stalled), HONE_OK);
        snprintf(name, sizeof name, "wait/step-%d", (int)step);
        assert_int_equal(hone_checkpoint_load(test_path(name), &b.model, test_store_place, NULL, &b, NULL), HONE_OK);
        assert_true(test_store_equal(&kept, &b));
    }
    assert_true(stalled >= 0);
    hone_checkpoint_close(writer);
    test_store_close(&a);
    test_store_close(&b);
    test_store_close(&kept);
}

static void test_only_the_newest_stay(void **state)
{
    (void)state;
    hone_config config = test_family_config("llama", true);
    test_store a;
    test_store_open(&a, &config, false);
    const char *folder = test_path("limit");
    assert_int_equal(hone_dir_create(test_path("limit/step-9.tmp")), HONE_OK);     // left by an interrupted save
    assert_int_equal(hone_file_write(test_path("limit/step-9.tmp/x"), "x", 1), HONE_OK);
    assert_int_equal(hone_dir_create(test_path("limit/step-9b")), HONE_OK);        // not ours
    hone_checkpoint_writer *writer = open_writer(&a, folder, 2);
    assert_names(folder, "step-9b");
    for (int64_t step = 8; step <= 11; step++) assert_int_equal(save(writer, step), HONE_OK);
    assert_names(folder, "step-10 step-11 step-9b");
    assert_int_equal(save(writer, 10), HONE_OK);                                   // again: replaced
    assert_names(folder, "step-10 step-11 step-9b");
    assert_int_equal(save(writer, 3), HONE_OK);                                    // went back: what was just saved stays
    assert_true(hone_dir_exists(test_path("limit/step-3")));
    hone_checkpoint_close(writer);
    test_store_close(&a);
}

static void test_a_folder_that_cannot_be_written_is_refused_at_once(void **state)
{
    (void)state;
    hone_config config = test_family_config("llama", true);
    test_store a;
    test_store_open(&a, &config, false);
    hone_checkpoint_writer *writer;
    hone_checkpoint_options options = { &a.model, test_store_place, NULL, &a, "/proc/hone", { NULL, NULL }, 0, false };
    assert_int_equal(hone_checkpoint_open(&writer, &options), HONE_FAILED);
    assert_null(writer);
    assert_says(hone_error(), "/proc/hone");
    assert_int_equal(hone_file_write(test_path("plain"), "x", 1), HONE_OK);
    options.folder = test_path("plain");
    assert_int_equal(hone_checkpoint_open(&writer, &options), HONE_FAILED);
    assert_says(hone_error(), test_path("plain"));
    options.folder = test_path("tokens");
    options.tokenizer.path = test_path("no-tokenizer");
    assert_int_equal(hone_checkpoint_open(&writer, &options), HONE_FAILED);
    assert_says(hone_error(), "no-tokenizer");
    test_store_close(&a);
}

// Each allocation, each call to the disk of a save fails in turn: the message comes back, nothing is visible, the previous
// checkpoint is the last one, and the next save works.
static void test_a_failed_save_leaves_nothing(void **state)
{
    (void)state;
    hone_config config = test_family_config("qwen3", true);
    test_store a;
    test_store_open(&a, &config, true);
    const char *folder = test_path("faults");
    hone_checkpoint_writer *writer = open_writer(&a, folder, 0);
    assert_int_equal(save(writer, 1), HONE_OK);
    const unsigned kinds[] = { HONE_CALL_DISK, HONE_CALL_ALLOC };
    for (int k = 0; k < 2; k++) {
        hone_test_fail(kinds[k], 0);
        assert_int_equal(save(writer, 2), HONE_OK);
        int64_t calls = hone_test_fail_end(), step = calls > 60 && !getenv("HONE_TEST_LONG") ? calls / 60 : 1;
        assert_true(calls > 10);
        hone_dir_remove(test_path("faults/step-2"));
        for (int64_t n = 1; n <= calls; n += step) {
            hone_test_fail(kinds[k], n);
            hone_status status = save(writer, 2);
            hone_test_fail_end();
            bool visible = hone_dir_exists(test_path("faults/step-2"));
            // Only the very last call, the flush of the parent behind the rename, may fail with the folder visible.
            if (status == HONE_OK) fail_msg("call %d of %d failed unnoticed", (int)n, (int)calls);
            if (visible && n < calls && kinds[k] == HONE_CALL_DISK) fail_msg("call %d of %d failed and step-2 is visible", (int)n, (int)calls);
            if (visible) {
                assert_int_equal(hone_checkpoint_verify(test_path("faults/step-2")), HONE_OK);
                assert_int_equal(hone_dir_remove(test_path("faults/step-2")), HONE_OK);
            }
            assert_names(folder, "step-1");
        }
        assert_last(folder, "step-1");
    }
    assert_int_equal(save(writer, 2), HONE_OK);
    assert_last(folder, "step-2");
    hone_checkpoint_close(writer);
    test_store_close(&a);
}

static void flip(const char *path, int64_t at, uint8_t mask)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= mask;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

// A byte changed anywhere (regions of each file; every byte in the long test): named, and the checkpoint before is used. In
// state.json a change may leave the meaning untouched (white space); then what is read must be the same.
static void test_a_changed_byte_is_never_read(void **state)
{
    (void)state;
    static const char *const files[] = { "config.json", "generation_config.json", "model.safetensors", "optimizer.safetensors", "state.json" };
    hone_config config = test_family_config("llama", true);
    test_store a;
    test_store_open(&a, &config, true);
    test_store_fill(&a, 5);
    const char *folder = test_path("flip");
    hone_checkpoint_writer *writer = open_writer(&a, folder, 0);
    assert_int_equal(save(writer, 1), HONE_OK);
    assert_int_equal(save(writer, 2), HONE_OK);
    hone_checkpoint_close(writer);
    for (int f = 0; f < 5; f++) {
        char name[100];
        struct stat about;
        snprintf(name, sizeof name, "flip/step-2/%s", files[f]);
        const char *path = test_path(name);
        char kept[600];
        strcpy(kept, path);
        assert_int_equal(stat(kept, &about), 0);
        int64_t step = getenv("HONE_TEST_LONG") || about.st_size < 40 ? 1 : about.st_size / 40;
        for (int64_t at = 0; at < about.st_size; at += step) {
            flip(kept, at, 0x10);
            hone_status status = hone_checkpoint_verify(test_path("flip/step-2"));
            if (status && !strstr(hone_error(), files[f])) fail_msg("byte %d of %s: the message does not name it: %s", (int)at, files[f], hone_error());
            if (!status && f < 4) fail_msg("byte %d of %s changed unnoticed", (int)at, files[f]);
            if (!status) {
                hone_checkpoint_state read;
                assert_int_equal(hone_checkpoint_read_state(test_path("flip/step-2"), &read), HONE_OK);
                assert_true(read.step == 2 && read.row == 14 && read.tokens == 2000 && read.seed == 0xfedcba9876543210u && !strcmp(read.recipe, state_of(2).recipe));
                hone_checkpoint_state_release(&read);
            }
            flip(kept, at, 0x10);
        }
        flip(kept, about.st_size / 2, 1);
        assert_falls_back(folder, f == 4 ? "state.json" : files[f]);
        flip(kept, about.st_size / 2, 1);
        assert_int_equal(truncate(kept, about.st_size - 2), 0);   // state.json may lose its last line end
        assert_falls_back(folder, "step-2 is not used");
        unlink(kept);
        assert_falls_back(folder, files[f]);
        writer = open_writer(&a, folder, 0);
        assert_int_equal(save(writer, 2), HONE_OK);      // a damaged one is replaced
        hone_checkpoint_close(writer);
        assert_last(folder, "step-2");
    }
    flip(test_path("flip/step-1/state.json"), 30, 1);
    flip(test_path("flip/step-2/model.safetensors"), 30, 1);
    char *path, *warnings;
    assert_int_equal(find_last(folder, &path, &warnings), HONE_FAILED);
    assert_non_null(strstr(warnings, "step-1"));
    assert_says(hone_error(), "no checkpoint is whole (2 are damaged)");
    assert_says(hone_error(), "flip/step-1/state.json: ");
    assert_says(hone_error(), "flip/step-2/model.safetensors: ");
    assert_says(hone_error(), "to start anew");
    assert_null(path);
    hone_free(warnings);
    assert_last(test_path("nowhere"), NULL);
    test_store_close(&a);
}

// A right checksum does not make a count right.
static void test_counts_below_zero_are_refused(void **state)
{
    (void)state;
    static const char *const name[] = { "step", "row", "tokens", "skipped", "seconds" };
    assert_int_equal(hone_dir_create(test_path("counts")), HONE_OK);
    json_t *files = json_object();
    for (int i = 0; i < 5; i++) {
        hone_checkpoint_state wrong = state_of(1), read;
        int64_t *count[] = { &wrong.step, &wrong.row, &wrong.tokens, &wrong.skipped };
        if (i < 4) *count[i] = -5;
        else wrong.seconds = -5;
        assert_int_equal(hone_checkpoint_write_state(test_path("counts"), &wrong, files), HONE_OK);
        assert_int_equal(hone_checkpoint_read_state(test_path("counts"), &read), HONE_FAILED);
        char words[64];
        snprintf(words, sizeof words, "counts/state.json: %s is -5; it must be 0 or more", name[i]);
        assert_says(hone_error(), words);
    }
    json_decref(files);
}

// The state of the loss scale comes back as it was; what cannot be one is refused.
static void test_a_loss_scale_is_kept(void **state)
{
    (void)state;
    static const struct { float state[3]; bool refused; } of[] = { { { -3, 1999, 2 }, false }, { { 0, 0, 0 }, false }, { { 5, 0, 0 }, false }, { { 900, 0, 0 }, true }, { { 0, -1, 0 }, true } };
    assert_int_equal(hone_dir_create(test_path("scale")), HONE_OK);
    json_t *files = json_object();
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        hone_checkpoint_state saved = state_of(1), read;
        memcpy(saved.loss_scale, of[i].state, sizeof saved.loss_scale);
        assert_int_equal(hone_checkpoint_write_state(test_path("scale"), &saved, files), HONE_OK);
        assert_int_equal(hone_checkpoint_read_state(test_path("scale"), &read), of[i].refused ? HONE_FAILED : HONE_OK);
        if (of[i].refused) { assert_says(hone_error(), "loss_scale is not [doublings, good steps, overflows]"); continue; }
        assert_memory_equal(read.loss_scale, of[i].state, sizeof read.loss_scale);
        hone_checkpoint_state_release(&read);
    }
    json_decref(files);
}

static void test_another_model_is_refused(void **state)
{
    (void)state;
    hone_config config = test_family_config("llama", true), wide = config, untrained = config;
    test_store a, b, c;
    wide.mlp_width = 52;
    test_store_open(&a, &config, true);
    test_store_open(&b, &wide, true);
    test_store_open(&c, &untrained, false);
    hone_checkpoint_writer *writer = open_writer(&c, test_path("other"), 0);
    assert_int_equal(save(writer, 1), HONE_OK);
    hone_checkpoint_close(writer);
    assert_int_equal(hone_checkpoint_load(test_path("other/step-1"), &b.model, test_store_place, NULL, &b, NULL), HONE_FAILED);
    assert_says(hone_error(), "misshapen");
    assert_int_equal(hone_checkpoint_load(test_path("other/step-1"), &a.model, test_store_place, NULL, &a, NULL), HONE_FAILED);
    assert_says(hone_error(), "optimizer.safetensors");                // weights without moments
    test_store_close(&a);
    test_store_close(&b);
    test_store_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_family_resumes_bit_by_bit),
        cmocka_unit_test(test_wait_returns_only_when_all_is_read),
        cmocka_unit_test(test_only_the_newest_stay),
        cmocka_unit_test(test_a_folder_that_cannot_be_written_is_refused_at_once),
        cmocka_unit_test(test_a_failed_save_leaves_nothing),
        cmocka_unit_test(test_a_changed_byte_is_never_read),
        cmocka_unit_test(test_counts_below_zero_are_refused),
        cmocka_unit_test(test_a_loss_scale_is_kept),
        cmocka_unit_test(test_another_model_is_refused),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
