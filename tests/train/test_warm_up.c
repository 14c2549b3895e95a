// Warm-up of batch and row length, and the mean of the weights: pure functions of the step that do what their keys say.
#include "base/file.h"
#include "io/hf.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/run_rig.h"
#include "support/store.h"
#include "support/verb.h"
#include <math.h>

static char *folder;
static int make_folder(void **state) { (void)state; folder = run_rig_folder(); return 0; }
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

static hone_step do_step(run_rig *r, double total)
{
    hone_step step;
    if (hone_loop_step(&r->loop, total, &step)) fail_msg("%s", hone_error());
    assert_int_equal(step.verdict, HONE_STEP_GOOD);
    return step;
}

static void test_steps_grow_to_all_their_micro_batches(void **state)
{
    (void)state;
    static const int64_t batches[] = { 1, 1, 2, 3, 4, 5, 5 };    // 1 + 4 s / 5
    run_rig r;
    run_rig_open(&r, folder, "per_device_train_batch_size: 2\ngradient_accumulation_steps: 5\nbatch_warmup_steps: 5\nmax_steps: 7\n");
    int64_t row = 0;
    for (int s = 0; s < 7; s++) {
        assert_int_equal(hone_job_micro_batches(&r.job, s), batches[s]);
        do_step(&r, 7);
        assert_int_equal(r.job.train.now.row, row += 2 * batches[s]);
    }
    assert_true(hone_job_whole_steps(&r.job, 7) == 21.0 / 5);
    run_rig_close(&r);
}

// 10 rows of 37 tokens are a whole step: 1,850 tokens are five of them, which take eight with the warm-up.
static void test_tokens_asked_for_are_trained_all_the_same(void **state)
{
    (void)state;
    run_rig r;
    run_rig_open(&r, folder, "per_device_train_batch_size: 2\ngradient_accumulation_steps: 5\nbatch_warmup_steps: 5\nmax_tokens: 1850\n");
    assert_int_equal(hone_job_steps(&r.job), 8);
    assert_true(hone_job_whole_steps(&r.job, 8) >= 5 && hone_job_whole_steps(&r.job, 7) < 5);
    run_rig_close(&r);
}

static void test_pieces_of_rows_do_not_see_each_other(void **state)
{
    (void)state;
    run_rig r;
    run_rig_open(&r, folder, "per_device_train_batch_size: 3\nlength_warmup_steps: 4\nlength_warmup_from: 9\nmax_steps: 5\n");
    const hone_train_io *io = &r.job.micro;
    const int32_t *lo = hone_session_data(&r.job.session, io->lo), *pos = hone_session_data(&r.job.session, io->pos);
    const int32_t *hi = hone_session_data(&r.job.session, io->hi);
    for (int s = 0; s < 5; s++) {
        int64_t length = (const int64_t[]){ 9, 16, 23, 30, 37 }[s], cut = 0, trained;
        assert_int_equal(hone_schedule_length(&r.recipe, s), length);
        must(hone_loop_count_trained(&r.loop, &trained, &trained));
        must(hone_loop_fill_inputs(&r.loop, trained));
        for (int64_t n = 0; n < io->N; n++) {
            assert_true(lo[n] >= n - n % io->T % length && lo[n] <= n && pos[n] == n - lo[n] && hi[n] == n + 1);
            cut += lo[n] == n && n % io->T && n % io->T % length == 0;
        }
        assert_true(s == 4 ? cut <= 3 : cut >= 3);   // a document may begin there by itself
        hone_mixture_seek(&r.job.train, r.job.train.now.row - 3);
        do_step(&r, 5);
    }
    run_rig_close(&r);
}

// Of 8 steps the last half: the mean of four sets of weights, each number within the rounding of three operations a step.
static void test_the_mean_is_that_of_the_last_steps(void **state)
{
    (void)state;
    enum { STEPS = 8 };
    run_rig r;
    run_rig_open(&r, folder, "per_device_train_batch_size: 2\naverage_ratio: 0.5\nmax_steps: 8\n");
    hone_tid id = r.job.model.param[1], mean = HONE_NONE;
    char name[96];
    snprintf(name, sizeof name, "average.%s", hone_at(r.job.graph, id)->name);
    assert_int_not_equal(mean = hone_graph_find(r.job.graph, name), HONE_NONE);
    int64_t count = hone_tensor_count(hone_at(r.job.graph, id));
    double *sum = calloc((size_t)count, sizeof *sum);
    const float *p = hone_session_data(&r.job.session, id), *a = hone_session_data(&r.job.session, mean);
    for (int s = 0; s < STEPS; s++) {
        do_step(&r, STEPS);
        for (int64_t i = 0; i < count; i++) {
            assert_true(s >= STEPS / 2 || a[i] == 0);
            if (s >= STEPS / 2) sum[i] += (double)p[i] / (STEPS / 2);
        }
    }
    double moved = 0;
    for (int64_t i = 0; i < count; i++) {
        assert_true(fabs((double)a[i] - sum[i]) <= 4 * 3 * 0x1p-24 * fmax(1, fabs(sum[i])));
        moved += fabs((double)(p[i] - a[i]));
    }
    assert_true(moved > 0);
    free(sum);
    run_rig_close(&r);
}

// The model's folder holds the mean, the checkpoint both.
static void test_the_written_model_is_the_mean(void **state)
{
    (void)state;
    char *recipe = run_rig_recipe_file(folder, "per_device_train_batch_size: 2\naverage_ratio: 0.5\nmax_steps: 6\n"), *output;
    if (verb(&output, (const char *[]){ "pretrain", recipe, NULL })) fail_msg("%s", output);
    hone_free(output);
    hone_safetensors model = { 0 }, moments = { 0 }, weights = { 0 };
    char *path[3] = { hone_path_join(folder, "out/model/model.safetensors"), hone_path_join(folder, "out/step-6/optimizer.safetensors"),
                      hone_path_join(folder, "out/step-6/model.safetensors") };
    must(hone_safetensors_open(&model, path[0]));
    must(hone_safetensors_open(&moments, path[1]));
    must(hone_safetensors_open(&weights, path[2]));
    const hone_safetensor *t[3] = { hone_safetensors_find(&model, "model.norm.weight"), hone_safetensors_find(&moments, "average.norm.g"),
                                    hone_safetensors_find(&weights, "model.norm.weight") };
    float value[3][32];
    const hone_safetensors *set[3] = { &model, &moments, &weights };
    for (int i = 0; i < 3; i++) {
        assert_non_null(t[i]);
        hone_safetensor_read(set[i], t[i], 0, 32, HONE_f32, value[i]);
    }
    assert_memory_equal(value[0], value[1], sizeof value[0]);
    assert_memory_not_equal(value[0], value[2], sizeof value[0]);
    hone_safetensors_close(&model), hone_safetensors_close(&moments), hone_safetensors_close(&weights);
    for (int i = 0; i < 3; i++) hone_free(path[i]);
    hone_free(recipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_grow_to_all_their_micro_batches),
        cmocka_unit_test(test_tokens_asked_for_are_trained_all_the_same),
        cmocka_unit_test(test_pieces_of_rows_do_not_see_each_other),
        cmocka_unit_test(test_the_mean_is_that_of_the_last_steps),
        cmocka_unit_test(test_the_written_model_is_the_mean),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
