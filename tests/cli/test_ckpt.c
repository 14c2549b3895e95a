// hone ckpt as a user drives it: a run's checkpoints listed, verified, compared, pruned; damage named.
#include "base/file.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include <fcntl.h>
#include <unistd.h>

static char *folder, *run_folder;

static int make_run(void **state)
{
    (void)state;
    char *output;
    folder = run_rig_folder();
    char *path = run_rig_recipe_file(folder, "per_device_train_batch_size: 2\nmax_steps: 12\nsave_steps: 3\nsave_total_limit: 9\neval_steps: 6\n");
    run_folder = hone_path_join(folder, "out");
    int code = verb(&output, (const char *[]){ "pretrain", path, NULL });
    hone_free(output);
    hone_free(path);
    return code;
}

static int remove_run(void **state)
{
    (void)state;
    hone_free(run_folder);
    run_rig_remove(folder);
    return 0;
}

// hone ckpt ... with these arguments, "@" in front of what lies in the run folder.
static char *ckpt(int wanted, const char *a, const char *b, const char *c, const char *d, const char *e)
{
    const char *given[] = { a, b, c, d, e };
    const char *args[8] = { "ckpt" };
    char *made[5] = { 0 }, *output;
    int n = 1;
    for (int i = 0; i < 5 && given[i]; i++)
        args[n++] = given[i][0] != '@' ? given[i] : (made[i] = given[i][1] ? hone_path_join(run_folder, given[i] + 1) : hone_strdup(run_folder));
    int code = verb(&output, args);
    if (code != wanted) fail_msg("code %d, not %d: %s", code, wanted, output);
    for (int i = 0; i < 5; i++) hone_free(made[i]);
    return output;
}

static void says(char *output, const char *words)
{
    assert_says(output, words);
    hone_free(output);
}

static void flip(const char *name, int64_t at)
{
    char *path = hone_path_join(run_folder, name);
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    hone_free(path);
}

static void test_list_names_the_best(void **state)
{
    (void)state;
    char *output = ckpt(0, "ls", "@", NULL, NULL, NULL);
    assert_non_null(strstr(output, "  4 checkpoints  "));
    says(output, " best\n");
    json_t *json;
    output = ckpt(0, "ls", "--json", "@", NULL, NULL);
    assert_int_equal(hone_json_parse("ls", output, strlen(output), &json), HONE_OK);
    assert_int_equal(json_array_size(json), 4);
    json_t *row = json_array_get(json, 3);
    assert_int_equal(json_integer_value(json_object_get(row, "step")), 12);
    assert_true(json_number_value(json_object_get(row, "held_out_loss")) > 1);
    assert_null(json_object_get(json_array_get(json, 0), "held_out_loss"));   // step 3 was not evaluated
    json_decref(json);
    hone_free(output);
    says(ckpt(1, "ls", "@step-3", NULL, NULL, NULL), "holds no checkpoint (step-N)");
    says(ckpt(2, "list", NULL, NULL, NULL, NULL), "did you mean ls?");
}

static void test_verify_names_the_damage(void **state)
{
    (void)state;
    hone_free(ckpt(0, "verify", "@", NULL, NULL, NULL));
    flip("step-6/optimizer.safetensors", 30000);
    says(ckpt(1, "verify", "@", NULL, NULL, NULL), "step-6/optimizer.safetensors: its checksum differs");
    says(ckpt(1, "verify", "@step-6", NULL, NULL, NULL), "1 of 1 checkpoint cannot be used");
    hone_free(ckpt(0, "verify", "@step-3", "@step-9", NULL, NULL));
    flip("step-6/optimizer.safetensors", 30000);
    hone_free(ckpt(0, "verify", "@", NULL, NULL, NULL));
}

static void test_diff_tells_which_and_how_much(void **state)
{
    (void)state;
    char *same = ckpt(0, "diff", "@step-12", "@model", NULL, NULL);
    says(same, "  0 tensors differ, 20 equal bit by bit; all weights together 0\n");
    char *output = ckpt(0, "diff", "--json", "@step-9", "@step-12", NULL);
    json_t *json, *row;
    size_t i;
    int64_t weights = 0, moments = 0;
    double before = 1e300;
    assert_int_equal(hone_json_parse("diff", output, strlen(output), &json), HONE_OK);
    json_array_foreach(json_object_get(json, "tensors"), i, row) {
        double relative = json_number_value(json_object_get(row, "relative"));
        assert_true(relative > 0 && relative <= before);   // the largest first
        before = relative;
        if (strcmp(json_string_value(json_object_get(row, "file")), "model.safetensors") == 0) weights++;
        else moments++;
    }
    assert_int_equal(weights, 20);
    assert_int_equal(moments, 40);
    assert_true(json_number_value(json_object_get(json, "relative")) > 1e-4);
    json_decref(json);
    hone_free(output);
    // One bit of one weight: that tensor, one element of it, and the size of that bit. model.norm.weight is near 1.
    char *copy = hone_format("cp -r %s/model %s/copy", run_folder, run_folder), *header;
    assert_int_equal(system(copy), 0);
    hone_free(copy);
    size_t size;
    char *path = hone_path_join(run_folder, "copy/model.safetensors");
    assert_int_equal(hone_file_read(path, &header, &size), HONE_OK);
    uint64_t length;
    memcpy(&length, header, 8);
    json_t *names, *offsets;
    assert_int_equal(hone_json_parse("header", header + 8, length, &names), HONE_OK);
    offsets = json_object_get(json_object_get(names, "model.norm.weight"), "data_offsets");
    flip("copy/model.safetensors", 8 + (int64_t)length + json_integer_value(json_array_get(offsets, 0)) + 4 * 5);
    json_decref(names);
    hone_free(header);
    hone_free(path);
    output = ckpt(0, "diff", "@model", "@copy", NULL, NULL);
    assert_non_null(strstr(output, "  1 tensor differs, 19 equal"));
    assert_non_null(strstr(output, "  model.norm.weight\n"));
    says(output, " 3.1%  ");   // 1 of 32
}

static void test_prune_keeps_what_is_whole_and_waits_for_no_run(void **state)
{
    (void)state;
    says(ckpt(2, "prune", "@", NULL, NULL, NULL), "--keep N: how many stay?");
    hone_lock lock;
    assert_int_equal(hone_lock_take(&lock, run_folder, "hone pretrain"), HONE_OK);
    says(ckpt(1, "prune", "--keep", "1", "@", NULL), "is in use by hone pretrain");
    hone_lock_release(&lock);
    flip("step-12/model.safetensors", 40000);
    says(ckpt(0, "prune", "--keep", "1", "--dry-run", "@"), "2 folders would go");
    says(ckpt(0, "prune", "--keep", "1", "@", NULL), "(--damaged removes it)");
    hone_free(ckpt(1, "verify", "@", NULL, NULL, NULL));
    says(ckpt(0, "prune", "--keep", "1", "--damaged", "@"), "1 folder removed");
    says(ckpt(0, "verify", "@", NULL, NULL, NULL), "/step-9\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_names_the_best),
        cmocka_unit_test(test_verify_names_the_damage),
        cmocka_unit_test(test_diff_tells_which_and_how_much),
        cmocka_unit_test(test_prune_keeps_what_is_whole_and_waits_for_no_run),
    };
    return cmocka_run_group_tests(tests, make_run, remove_run);
}
