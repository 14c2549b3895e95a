// test_cuda_run.c: `backend: cuda` over a driver that is a stub (tests/plugins/cuda_stub.c): whole steps of training through the same
// calls that a GPU gets, kernels in the emulator, device memory unreadable to the host. Losses, norms and weights are those of the
// emulator alone, to the bit; what runs again is captured and replayed; what goes wrong is told by name.
#include "base/file.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/stub.h"
#include "support/verb.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Few and small: an emulated step takes half a second.
enum { STEPS = 3 };
#define SMALL "per_device_train_batch_size: 1\nwarmup_ratio: 0\neval_tokens: 37\n"
static char *folder, *log_path;

static bool kernels;
#define NEED_KERNELS() do { if (!kernels) skip(); } while (0)

static int set_up(void **state)
{
    (void)state;
    folder = run_rig_folder();
    log_path = hone_path_join(folder, "calls");
    kernels = stub_use("backend cuda");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hone_free(log_path);
    run_rig_remove(folder);
    return 0;
}

// Calls of an entry so far.
static int64_t calls(const char *name)
{
    char *text = NULL, line[80];
    size_t size = 0;
    must(hone_file_read(log_path, &text, &size));
    snprintf(line, sizeof line, "%s\n", name);
    int64_t count = count_in(text, line);
    hone_free(text);
    return count;
}

static void train(const char *more, hone_step step[STEPS], uint64_t *hash)
{
    run_rig r;
    run_rig_open(&r, folder, more);
    for (int i = 0; i < STEPS; i++) {
        must(hone_loop_step(&r.loop, 20, &step[i]));
        assert_int_equal(step[i].verdict, HONE_STEP_GOOD);
    }
    *hash = run_rig_hash(&r.job);
    run_rig_close(&r);
}

// The same kernels in the emulator, on the host's memory, node by node (a backend in a shared object). What those kernels compute is judged
// by test_ops_cuda; what the driver's side adds (copies, twins, capture, the product library's transposed view) must not change a bit.
static void compare(const char *more)
{
    hone_step emulated[STEPS], cuda[STEPS];
    uint64_t hash[2];
    char *on_host = hone_format("%sbackend: " HONE_BINARY_DIR "/cuda_emulated_backend.so\n", more), *on_cuda = hone_format("%sbackend: cuda\n", more);
    train(on_host, emulated, &hash[0]);
    train(on_cuda, cuda, &hash[1]);
    for (int i = 0; i < STEPS; i++) {
        if (cuda[i].loss != emulated[i].loss) fail_msg("step %d: loss %.17g, emulated %.17g (%s)", i + 1, cuda[i].loss, emulated[i].loss, more);
        if (cuda[i].norm != emulated[i].norm) fail_msg("step %d: norm %.17g, emulated %.17g (%s)", i + 1, cuda[i].norm, emulated[i].norm, more);
    }
    assert_true(hash[0] == hash[1]);
    assert_true(emulated[0].loss != emulated[STEPS - 1].loss); // it trains
    hone_free(on_host), hone_free(on_cuda);
}

static void test_training_on_the_stub_is_training_in_the_emulator(void **state)
{
    (void)state;
    NEED_KERNELS();
    compare(SMALL "max_grad_norm: 1.0\ngradient_accumulation_steps: 2\n");
    compare(SMALL "precision: bf16\n");
    compare(SMALL "precision: fp16\n");
}

#define EMULATED "backend: " HONE_BINARY_DIR "/cuda_emulated_backend.so\n"

// With products and storage of f16 the loss comes down as it does in f32 (a step's rounding is some 2^-11 of its gradient).
static void test_f16_learns_what_f32_does(void **state)
{
    (void)state;
    enum { MORE = 12 };
    double loss[2][MORE];
    for (int f16 = 0; f16 < 2; f16++) {
        run_rig r;
        hone_step step;
        run_rig_open(&r, folder, f16 ? SMALL EMULATED "precision: fp16\n" : SMALL "backend: cpu\n");
        for (int i = 0; i < MORE; i++) {
            must(hone_loop_step(&r.loop, 20, &step));
            loss[f16][i] = step.loss;
            assert_true(step.verdict == HONE_STEP_GOOD && !step.overflow && step.scale == (f16 ? 65536 : 0));
            assert_true(step.norm < 100 && step.factor > 0.01 && step.factor <= 1); // the gradients' own, not the scaled ones'
        }
        run_rig_close(&r);
    }
    assert_true(loss[1][MORE - 1] < loss[1][0] - 0.1);
    for (int i = 0; i < MORE; i++)
        if (!(fabs(loss[1][i] - loss[0][i]) < 0.01)) fail_msg("step %d: loss %.6f in f16, %.6f in f32", i + 1, loss[1][i], loss[0][i]);
}

// A scale 2^8 times too large: each step that overflows changes no weight and no moment, is counted, and halves it, until gradients fit.
// At the least scale there is nothing to halve: the step is bad, and is to be done again.
static void test_a_loss_scale_that_is_too_large_is_survived(void **state)
{
    (void)state;
    run_rig r;
    hone_step step;
    int64_t overflows = 0;
    run_rig_open(&r, folder, SMALL EMULATED "precision: fp16\n");
    must(hone_loop_set_scale(&r.loop, (float[]){ 8, 5, 0 }));
    const uint64_t before = run_rig_hash(&r.job);
    for (;; overflows++) {
        must(hone_loop_step(&r.loop, 20, &step));
        assert_true(step.verdict == HONE_STEP_GOOD && step.scale == ldexp(65536, (int)(8 - overflows)));
        if (!step.overflow) break;
        assert_true(isfinite(step.loss) && !isfinite(step.norm) && run_rig_hash(&r.job) == before);
        assert_true(r.loop.scale[0] == (float)(7 - overflows) && r.loop.scale[1] == 0 && r.loop.scale[2] == (float)(overflows + 1));
        assert_true(r.loop.step == overflows + 1 && r.loop.skipped == overflows + 1 && r.job.train.now.row == overflows + 1);
        assert_true(r.loop.trained_tokens == 0);
    }
    assert_true(overflows >= 2 && overflows <= 8);
    assert_true(run_rig_hash(&r.job) != before && r.loop.skipped == overflows && r.loop.scale[1] == 1);
    ((float *)hone_session_data(&r.job.session, hone_graph_find(r.job.graph, "norm.g")))[3] = 1e30f; // in the last norm: the loss stays a number, dx does not
    must(hone_loop_set_scale(&r.loop, (float[]){ -30, 5, 9 }));
    const uint64_t broken = run_rig_hash(&r.job);
    const int64_t row = r.job.train.now.row, done = r.loop.step;
    must(hone_loop_step(&r.loop, 20, &step));
    assert_true(step.verdict == HONE_STEP_NORM || step.verdict == HONE_STEP_LOSS);
    assert_true(run_rig_hash(&r.job) == broken && r.loop.step == done && r.job.train.now.row == row);
    run_rig_close(&r);
}

typedef struct { const hone_session *session; hone_tid weight; atomic_bool stop; int64_t reads; } reader;
static void *read_on(void *pointer)
{
    reader *r = pointer;
    float first;
    for (; !r->stop; r->reads++) must(hone_session_read(r->session, r->weight, 0, sizeof first, &first));
    return NULL;
}

// A save reads weights while micro-batches run: what it asks for is not to get into the program that is captured meanwhile.
static void test_what_another_thread_reads_is_not_captured(void **state)
{
    (void)state;
    NEED_KERNELS();
    run_rig r;
    hone_step step[2];
    pthread_t thread;
    run_rig_open(&r, folder, SMALL "backend: cuda\n");
    reader other = { .session = &r.job.session, .weight = r.job.model.param[0] };
    setenv("CUDA_STUB_CAPTURE_MS", "200", 1);
    assert_int_equal(pthread_create(&thread, NULL, read_on, &other), 0);
    for (int i = 0; i < 2; i++) must(hone_loop_step(&r.loop, 20, &step[i]));
    unsetenv("CUDA_STUB_CAPTURE_MS");
    other.stop = true;
    pthread_join(thread, NULL);
    assert_true(other.reads > 0);
    run_rig_close(&r);
}

// Of a step micro, the norm and the rest of update are three runs: walked in the first step, captured in the second, replayed since. The
// learning rate that changes from step to step reaches update by a tensor: the losses above are the emulator's.
static void test_a_step_is_captured_once_and_replayed(void **state)
{
    (void)state;
    NEED_KERNELS();
    hone_step step[STEPS];
    uint64_t hash;
    setenv("CUDA_STUB_LOG", log_path, 1);
    train(SMALL "backend: cuda\n", step, &hash);
    unsetenv("CUDA_STUB_LOG");
    assert_int_equal(calls("cuStreamBeginCapture_v2"), 3);
    assert_int_equal(calls("cuGraphLaunch"), 3 * (STEPS - 1));
    assert_int_equal(calls("cuGraphInstantiateWithFlags"), 3);
    assert_int_equal(calls("cuGraphExecDestroy"), 3);
    assert_int_equal(calls("cuMemAlloc_v2"), calls("cuMemFree_v2"));
    assert_int_equal(calls("cuMemHostAlloc"), calls("cuMemFreeHost"));
    assert_int_equal(calls("cuStreamCreate"), calls("cuStreamDestroy_v2"));
    assert_int_equal(calls("cublasLtMatrixLayoutCreate"), calls("cublasLtMatrixLayoutDestroy"));
    assert_true(calls("cublasLtMatmulAlgoGetHeuristic") < calls("cublasLtMatmul") / 2); // searched once a shape
    assert_int_equal(calls("cuDevicePrimaryCtxRetain"), calls("cuDevicePrimaryCtxRelease_v2"));
}

// A checkpoint is read from the device and put back there: a run in two parts ends with the bits of one.
static void test_a_run_is_saved_and_resumed(void **state)
{
    (void)state;
    NEED_KERNELS();
    char *recipe = run_rig_recipe_file(folder, SMALL "backend: cuda\nlr_scheduler_type: constant\n");
    char *whole = hone_format("output_dir=%s/whole", folder), *parts = hone_format("output_dir=%s/parts", folder);
    verb_must("step", (const char *[]){ "pretrain", recipe, whole, "max_steps=4", NULL });
    verb_must("step", (const char *[]){ "pretrain", recipe, parts, "max_steps=2", NULL });
    verb_must("resume from step", (const char *[]){ "pretrain", recipe, parts, "max_steps=4", NULL });
    assert_true(test_hash("%s/step-4/model.safetensors", whole + 11) == test_hash("%s/step-4/model.safetensors", parts + 11));
    assert_true(test_hash("%s/step-4/optimizer.safetensors", whole + 11) == test_hash("%s/step-4/optimizer.safetensors", parts + 11));
    hone_free(recipe), hone_free(whole), hone_free(parts);
}

// Few tokens have large weights in the loss, and go through large weights of a head: their gradients overflow at the first scale. The run says so and goes on, and one that was
// stopped between overflows, or behind them, has the scale, the weights and the moments of one that was not.
#define WIDE "model.initializer_range=1"
static void test_a_scale_that_overflows_is_saved_and_resumed(void **state)
{
    (void)state;
    char *recipe = run_rig_recipe_file(folder, SMALL EMULATED "precision: fp16\nlr_scheduler_type: constant\nlogging_steps: 1\n"), *says = NULL;
    char *whole = hone_format("output_dir=%s/f16", folder), *parts = hone_format("output_dir=%s/f16-parts", folder), *text[2];
    assert_int_equal(verb(&says, (const char *[]){ "pretrain", recipe, whole, "cutoff_len=3", WIDE, "max_steps=7", NULL }), 0);
    assert_says(says, "gradients overflow at a loss scale of 65536; it is 32768 now");
    assert_says(says, "\n  loss scale   ");
    hone_free(says);
    for (int steps = 1; steps <= 7; steps += 3) {
        char *most = hone_format("max_steps=%d", steps);
        verb_must("step", (const char *[]){ "pretrain", recipe, parts, "cutoff_len=3", WIDE, most, "save_total_limit=9", NULL });
        hone_free(most);
    }
    assert_true(test_hash("%s/step-7/model.safetensors", whole + 11) == test_hash("%s/step-7/model.safetensors", parts + 11));
    assert_true(test_hash("%s/step-7/optimizer.safetensors", whole + 11) == test_hash("%s/step-7/optimizer.safetensors", parts + 11));
    for (int i = 0; i < 2; i++) {
        char *path = hone_format("%s/step-7/state.json", (i ? parts : whole) + 11), *all = test_read(path), *at = strstr(all, "\"loss_scale\"");
        assert_non_null(at);
        assert_non_null(strchr(at, ']'));
        *strchr(at, ']') = '\0';
        text[i] = hone_strdup(at);
        hone_free(all), hone_free(path);
    }
    assert_string_equal(text[0], text[1]);
    char *path = hone_format("%s/log.jsonl", whole + 11), *log = test_read(path);
    const int64_t overflows = count_in(log, "\"event\":\"overflow\"");
    const int64_t rows = count_in(log, "\"loss_scale\":"), bad = count_in(log, "\"event\":\"bad_step\"");
    if (!(overflows > 0 && overflows < 7 && rows == 7 + overflows && bad == 0))
        fail_msg("%d overflows, %d rows with a scale, %d bad steps", (int)overflows, (int)rows, (int)bad);
    verb_must(", halved: gradients overflow", (const char *[]){ "replay", parts + 11, "2", NULL });
    for (int i = 0; i < 2; i++) hone_free(text[i]);
    hone_free(log), hone_free(path), hone_free(recipe), hone_free(whole), hone_free(parts);
}

// Adapters with dropout, trained on the model that the run before left: on the stub and in the emulator the same to the bit.
static void test_adapters_are_the_emulator_s(void **state)
{
    (void)state;
    NEED_KERNELS();
    uint64_t hash[2];
    char *model = hone_format("model_name_or_path: %s/whole/step-4\n", folder);
    char *more = hone_format("%s" SMALL "finetuning_type: lora\nlora_rank: 2\nlora_dropout: 0.1\nmax_steps: 3\n", model);
    char *recipe = run_rig_recipe_file(folder, more);
    for (int i = 0; i < 2; i++) {
        char *backend = hone_format("backend=%s", i ? HONE_BINARY_DIR "/cuda_emulated_backend.so" : "cuda"), *output = hone_format("output_dir=%s/tuned%d", folder, i);
        verb_must("step", (const char *[]){ "tune", recipe, backend, output, NULL });
        hash[i] = test_hash("%s/step-3/adapter_model.safetensors", output + 11);
        hone_free(backend), hone_free(output);
    }
    assert_true(hash[0] == hash[1]);
    hone_free(recipe), hone_free(more), hone_free(model);
}

// The losses of a run's steps, from its log.
static void losses_of(const char *out, double loss[STEPS])
{
    char *path = hone_path_join(out, "log.jsonl"), *log = test_read(path), *rest = NULL;
    int n = 0;
    for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *at = strstr(line, "\"event\":\"step\"") ? strstr(line, "\"loss\":") : NULL;
        if (at && n < STEPS) loss[n++] = strtod(at + strlen("\"loss\":"), NULL);
    }
    assert_int_equal(n, STEPS);
    hone_free(log), hone_free(path);
}

// Frozen matrices in blocks are made numbers by a kernel at each use: on the stub and in the emulator the same adapter to the bit, and the
// losses of the CPU's kernels within what the goldens allow a run.
static void compare_in_blocks(const char *recipe, const char *type)
{
    static const char *const backend[] = { "cuda", HONE_BINARY_DIR "/cuda_emulated_backend.so", "cpu" };
    double loss[3][STEPS] = { 0 };
    uint64_t hash[3];
    char *key = hone_format("quantization_type=%s", type);
    for (int i = 0; i < 3; i++) {
        char *on = hone_format("backend=%s", backend[i]), *out = hone_format("output_dir=%s/%s%d", folder, type, i);
        verb_must("step", (const char *[]){ "tune", recipe, key, on, out, NULL });
        losses_of(out + strlen("output_dir="), loss[i]);
        hash[i] = test_hash("%s/adapter/adapter_model.safetensors", out + strlen("output_dir="));
        hone_free(on), hone_free(out);
    }
    assert_true(hash[0] == hash[1]);
    for (int n = 0; n < STEPS; n++) {
        if (loss[0][n] != loss[1][n]) fail_msg("%s, step %d: loss %.9g, emulated %.9g", type, n + 1, loss[0][n], loss[1][n]);
        if (!(fabs(loss[0][n] - loss[2][n]) <= 1e-4 * loss[2][n])) fail_msg("%s, step %d: loss %.9g, on the CPU %.9g", type, n + 1, loss[0][n], loss[2][n]);
    }
    assert_true(loss[0][0] != loss[0][STEPS - 1]);
    hone_free(key);
}

static void test_frozen_matrices_in_blocks(void **state)
{
    (void)state;
    NEED_KERNELS();
    char *recipe = run_rig_recipe_file(folder, SMALL "max_steps: 8\nresume: never\n"), *out = hone_format("output_dir=%s/wide", folder);
    verb_must("model", (const char *[]){ "pretrain", recipe, out, "model.hidden_size=64", "model.intermediate_size=64", "model.num_hidden_layers=1", NULL });
    hone_free(recipe);
    char *more = hone_format("model_name_or_path: %s/wide/model\n" SMALL "finetuning_type: qlora\nlora_rank: 4\nmax_steps: 3\nlogging_steps: 1\nresume: never\n", folder);
    recipe = run_rig_recipe_file(folder, more);
    compare_in_blocks(recipe, "nf4");
    compare_in_blocks(recipe, "q8_0");
    hone_free(recipe), hone_free(out), hone_free(more);
}

// What cannot be captured or multiplied is named (test_cuda_faults has all other faults).
static void test_what_fails_within_a_step_is_named(void **state)
{
    (void)state;
    NEED_KERNELS();
    static const char *const faults[][2] = { { "cuStreamBeginCapture_v2:900:1", "cuStreamBeginCapture" }, { "cuStreamEndCapture:901:1", "cuStreamEndCapture" },
                                             { "cuGraphInstantiateWithFlags:2:2", "cuGraphInstantiate" }, { "cublasLtMatmul:14:3", "status 14 for a product of" } };
    char *recipe = run_rig_recipe_file(folder, SMALL "backend: cuda\nmax_steps: 2\nresume: never\n");
    for (int i = 0; i < 4; i++) {
        char *says;
        setenv("CUDA_STUB_FAIL", faults[i][0], 1);
        const int code = verb(&says, (const char *[]){ "pretrain", recipe, NULL });
        unsetenv("CUDA_STUB_FAIL");
        if ((code != HONE_FAILED && code != HONE_DEVICE_LOST) || !strstr(says, faults[i][1])) fail_msg("%s: exit code %d: %s", faults[i][0], code, says);
        hone_free(says);
    }
    hone_free(recipe);
}

// The arena is none of the process's memory; shares of a peak that is not known are left out; what the device does not do is refused.
static void test_the_plan_and_the_profile_know_the_device(void **state)
{
    (void)state;
    NEED_KERNELS();
    char *recipe = run_rig_recipe_file(folder, SMALL "backend: cuda\nmax_steps: 4\nresume: never\nprofile_steps: 1\n");
    verb_must("exact, on the device", (const char *[]){ "plan", recipe, "--memory", NULL });
    verb_must("by layer", (const char *[]){ "pretrain", recipe, NULL });
    hone_free(recipe);
}

// The JSON objects that a verb prints, a line each: what it says of its times is left out.
static char *printed(const char *const *argument)
{
    hone_buffer objects = { 0 };
    char *text = NULL, *rest = NULL;
    if (verb(&text, argument) != 0) fail_msg("%s", text);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (*line == '{') must(hone_buffer_print(&objects, "%s\n", line));
    assert_non_null(objects.data);
    hone_free(text);
    return objects.data;
}

// Programs with rows that live and a paged cache: captured where as many rows come again, here two of decoding, longer by one each time.
static void test_scores_and_texts_are_the_emulator_s(void **state)
{
    (void)state;
    NEED_KERNELS();
    char *input = hone_path_join(folder, "ids.jsonl"), *model = hone_path_join(folder, "whole/step-4");
    must(hone_file_write(input, "{\"ids\": [3, 5, 6, 8, 11]}\n{\"ids\": [20, 21]}\n", 43));
    const char *const backend[] = { "cuda", HONE_BINARY_DIR "/cuda_emulated_backend.so" };
    char *scores[2], *ids[2], *narrow[2];
    for (int i = 0; i < 2; i++) {
        if (i == 0) unlink(log_path), setenv("CUDA_STUB_LOG", log_path, 1);
        else unsetenv("CUDA_STUB_LOG");
        scores[i] = printed((const char *[]){ "score", model, "--input", input, "--backend", backend[i], NULL });
        ids[i] = printed((const char *[]){ "generate", model, "--input", input, "--max-new-tokens", "5", "--logprobs", "--backend", backend[i], NULL });
        narrow[i] = printed((const char *[]){ "generate", model, "--input", input, "--max-new-tokens", "5", "--logprobs", "--kv-cache", "int8", "--backend", backend[i], NULL });
    }
    assert_string_equal(scores[0], scores[1]);
    assert_string_equal(ids[0], ids[1]);
    assert_string_equal(narrow[0], narrow[1]);
    assert_string_not_equal(narrow[0], ids[0]);
    assert_non_null(strstr(scores[0], "logprobs"));
    assert_int_equal(calls("cuStreamBeginCapture_v2"), 2);  // once each time text is generated
    assert_int_equal(calls("cuGraphLaunch"), 6);
    for (int i = 0; i < 2; i++) hone_free(scores[i]), hone_free(ids[i]), hone_free(narrow[i]);
    hone_free(input), hone_free(model);
}

static void test_doctor_says_what_is_there(void **state)
{
    (void)state;
    char *says = NULL;
    assert_int_equal(verb(&says, (const char *[]){ "doctor", NULL }), 0);
    assert_non_null(strstr(says, "GPU 0: stub, 4.0 GiB"));
    assert_non_null(strstr(says, "13.0, " HONE_BINARY_DIR "/cuda_stub.so"));
    hone_free(says);
    setenv("HONE_LIBCUDA", "/nowhere/libcuda.so.1", 1);
    verb_must("not usable: no NVIDIA driver", (const char *[]){ "doctor", "--json", NULL });
    setenv("HONE_LIBCUDA", HONE_BINARY_DIR "/cuda_stub.so", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training_on_the_stub_is_training_in_the_emulator),
        cmocka_unit_test(test_f16_learns_what_f32_does),
        cmocka_unit_test(test_a_loss_scale_that_is_too_large_is_survived),
        cmocka_unit_test(test_what_another_thread_reads_is_not_captured),
        cmocka_unit_test(test_a_step_is_captured_once_and_replayed),
        cmocka_unit_test(test_a_run_is_saved_and_resumed),
        cmocka_unit_test(test_a_scale_that_overflows_is_saved_and_resumed),
        cmocka_unit_test(test_adapters_are_the_emulator_s),
        cmocka_unit_test(test_frozen_matrices_in_blocks),
        cmocka_unit_test(test_what_fails_within_a_step_is_named),
        cmocka_unit_test(test_the_plan_and_the_profile_know_the_device),
        cmocka_unit_test(test_scores_and_texts_are_the_emulator_s),
        cmocka_unit_test(test_doctor_says_what_is_there),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
