// test_cuda_run.c: `backend: cuda` over a driver that is a stub (tests/plugins/cuda_stub.c): whole steps of training through the same
// calls that a GPU gets, kernels in the emulator, device memory unreadable to the host. Losses and norms are the CPU backend's; the
// second run of micro is captured and the third replayed; what goes wrong is told by name.
#include "base/file.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

// Few and small: an emulated step takes half a second.
enum { STEPS = 4 };
#define SMALL "per_device_train_batch_size: 1\nwarmup_ratio: 0\n"
static char *folder, *log_path;

static int have_kernels(void)
{
    return access(HONE_BINARY_DIR "/kernels.fatbin", R_OK) == 0;
}
#define NEED_KERNELS() do { if (!have_kernels()) { print_message("skipped: backend cuda over a stub, without nvcc on the PATH\n"); skip(); } } while (0)

static int set_up(void **state)
{
    (void)state;
    folder = run_rig_folder();
    log_path = hone_path_join(folder, "calls");
    setenv("HONE_LIBCUDA", HONE_BINARY_DIR "/cuda_stub.so", 1);
    setenv("HONE_CUBLASLT", HONE_BINARY_DIR "/cuda_stub.so", 1);
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

// f32: another order of sums, through five steps of AdamW at a large rate. bf16: operands round apart where sums do (2^-9 each).
static void compare(const char *more, double tolerance)
{
    hone_step cpu[STEPS], cuda[STEPS];
    uint64_t hash[2];
    char *on_cuda = hone_format("%sbackend: cuda\n", more);
    train(more, cpu, &hash[0]);
    train(on_cuda, cuda, &hash[1]);
    for (int i = 0; i < STEPS; i++) {
        if (!(fabs(cuda[i].loss - cpu[i].loss) <= tolerance * cpu[i].loss)) fail_msg("step %d: loss %.7f, cpu %.7f (%s)", i + 1, cuda[i].loss, cpu[i].loss, more);
        if (!(fabs(cuda[i].norm - cpu[i].norm) <= 10 * tolerance * cpu[i].norm)) fail_msg("step %d: norm %.7f, cpu %.7f (%s)", i + 1, cuda[i].norm, cpu[i].norm, more);
    }
    assert_true(hash[0] != 0 && hash[1] != 0);
    hone_free(on_cuda);
}

static void test_training_on_the_stub_is_training_on_the_cpu(void **state)
{
    (void)state;
    NEED_KERNELS();
    compare(SMALL "max_grad_norm: 1.0\n", 1e-4);
    compare(SMALL "precision: bf16\n", 1e-2);
}

static void test_micro_is_captured_once_and_replayed(void **state)
{
    (void)state;
    NEED_KERNELS();
    hone_step step[STEPS];
    uint64_t hash;
    setenv("CUDA_STUB_LOG", log_path, 1);
    train(SMALL "backend: cuda\n", step, &hash);
    unsetenv("CUDA_STUB_LOG");
    assert_int_equal(calls("cuStreamBeginCapture_v2"), 1);
    assert_int_equal(calls("cuGraphLaunch"), STEPS - 1);
    assert_int_equal(calls("cuGraphExecDestroy"), 1);
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

static void fails(const char *variable, const char *value, const char *says)
{
    char *recipe = run_rig_recipe_file(folder, SMALL "backend: cuda\nmax_steps: 2\nresume: never\n"), *before = getenv(variable) ? hone_strdup(getenv(variable)) : NULL;
    setenv(variable, value, 1);
    verb_must_fail(says, (const char *[]){ "pretrain", recipe, NULL });
    if (before) setenv(variable, before, 1);
    else unsetenv(variable);
    hone_free(before);
    hone_free(recipe);
}

static void test_what_goes_wrong_is_named(void **state)
{
    (void)state;
    fails("HONE_LIBCUDA", "/nowhere/libcuda.so.1", "no NVIDIA driver");
    fails("CUDA_STUB_VERSION", "12080", "driver is for CUDA 12.8, hone's kernels need 13.0");
    fails("CUDA_STUB_FAIL", "cuInit:100:1", "finds no GPU");
    fails("HONE_GPU", "3", "there are 1 GPUs");
    fails("HONE_LIBCUDA", "libm.so.6", "has no cuInit");
    fails("HONE_CUBLASLT", "libm.so.6", "has no cublasLtCreate");
    NEED_KERNELS();
    fails("CUDA_STUB_MIB", "0", "the plan needs");
    fails("CUDA_STUB_FAIL", "cuMemHostAlloc:2:1", "CUDA_ERROR_OUT_OF_MEMORY");
    fails("CUDA_STUB_FAIL", "cuModuleLoadData:209:1", "compute capability 8.0, 8.9 and 9.0");
    fails("CUDA_STUB_FAIL", "cuStreamSynchronize:719:20", "the last checkpoint is whole");
    fails("CUDA_STUB_FAIL", "cuLaunchKernel:700:30", "dmesg");
    fails("CUDA_STUB_FAIL", "cuMemcpyAsync:214:9", "(ECC)");
    fails("CUDA_STUB_FAIL", "cublasLtMatmul:14:3", "status 14 for a product of");
    fails("CUDA_STUB_FAIL", "cuStreamEndCapture:901:1", "cuStreamEndCapture");
}

static void test_doctor_says_what_is_there(void **state)
{
    (void)state;
    verb_must("GPU 0: stub, 4.0 GiB", (const char *[]){ "doctor", NULL });
    verb_must("13.0, " HONE_BINARY_DIR "/cuda_stub.so", (const char *[]){ "doctor", NULL });
    setenv("HONE_LIBCUDA", "/nowhere/libcuda.so.1", 1);
    verb_must("not usable: no NVIDIA driver", (const char *[]){ "doctor", "--json", NULL });
    setenv("HONE_LIBCUDA", HONE_BINARY_DIR "/cuda_stub.so", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training_on_the_stub_is_training_on_the_cpu),
        cmocka_unit_test(test_micro_is_captured_once_and_replayed),
        cmocka_unit_test(test_a_run_is_saved_and_resumed),
        cmocka_unit_test(test_what_goes_wrong_is_named),
        cmocka_unit_test(test_doctor_says_what_is_there),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
