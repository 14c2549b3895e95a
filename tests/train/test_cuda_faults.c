// test_cuda_faults.c: a GPU's faults, over the stub of its driver: each call fails in turn and is named with device and code; what fails
// before the start has exit code 1, what fails under way 3, and the checkpoints that were written are whole: the run goes on from them.
#include "backend/cuda/library.h"
#include "base/file.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/stub.h"
#include "support/verb.h"
#include <stdlib.h>
#include <string.h>

#define SMALL "per_device_train_batch_size: 1\nwarmup_ratio: 0\neval_tokens: 37\nlr_scheduler_type: constant\n"
#define LAYERS "model.num_hidden_layers=1"
static char *folder, *model, *input;
static bool kernels;

static int set_up(void **state)
{
    (void)state;
    kernels = stub_use("faults of a GPU");
    folder = run_rig_folder();
    char *recipe = run_rig_recipe_file(folder, "max_steps: 1\nrun_store: none\n"), *out = hone_format("output_dir=%s/base", folder);
    verb_must("model", (const char *[]){ "pretrain", recipe, out, LAYERS, NULL });
    model = hone_format("%s/base/model", folder), input = hone_path_join(folder, "ids.jsonl");
    must(hone_file_write(input, "{\"ids\": [3, 5, 6, 8, 11]}\n", 26));
    hone_free(recipe), hone_free(out);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hone_free(model), hone_free(input);
    run_rig_remove(folder);
    return 0;
}

// Exit code of a verb with a variable set; *says: all that it printed.
static int with(const char *variable, const char *value, char **says, const char *const *argument)
{
    char *before = getenv(variable) ? hone_strdup(getenv(variable)) : NULL;
    setenv(variable, value, 1);
    const int code = verb(says, argument);
    if (before) setenv(variable, before, 1);
    else unsetenv(variable);
    hone_free(before);
    return code;
}

static const char *const *scoring(void)
{
    static const char *argument[] = { "score", NULL, "--input", NULL, "--backend", "cuda", NULL };
    argument[1] = model, argument[3] = input;
    return argument;
}

static void fails(const char *variable, const char *value, int code, const char *words)
{
    char *says;
    const int is = with(variable, value, &says, scoring());
    if (is != code || !strstr(says, words)) fail_msg("%s=%s: exit code %d (expected %d), lacks '%s': %s", variable, value, is, code, words, says);
    hone_free(says);
}

static void test_what_is_wrong_before_the_start_is_named(void **state)
{
    (void)state;
    fails("HONE_LIBCUDA", "/nowhere/libcuda.so.1", HONE_FAILED, "no NVIDIA driver");
    fails("CUDA_STUB_VERSION", "12080", HONE_FAILED, "driver is for CUDA 12.8, hone's kernels need 13.0");
    fails("CUDA_STUB_FAIL", "cuInit:100:1", HONE_FAILED, "finds no GPU");
    fails("CUDA_STUB_FAIL", "cuInit:803:1", HONE_FAILED, "of two versions");
    fails("HONE_GPU", "3", HONE_FAILED, "HONE_GPU is 3; there are 1 GPUs");
    fails("HONE_GPU", "first", HONE_FAILED, "HONE_GPU is first");
    fails("HONE_LIBCUDA", "libm.so.6", HONE_FAILED, "has no cuInit");
    fails("HONE_CUBLASLT", "libm.so.6", HONE_FAILED, "has no cublasLtCreate");
    if (!kernels) skip();
    fails("CUDA_STUB_MIB", "0", HONE_FAILED, "the plan needs");
    fails("CUDA_STUB_FAIL", "cuMemHostAlloc:2:1", HONE_FAILED, "CUDA_ERROR_OUT_OF_MEMORY");
    fails("CUDA_STUB_FAIL", "cuModuleLoadData:209:1", HONE_FAILED, "compute capability 8.0, 8.9 and 9.0");
}

// Every code of faults.def, from the first call that finds it: its advice is given, and the device named.
static void test_every_fault_has_its_advice(void **state)
{
    (void)state;
    if (!kernels) skip();
    static const struct { int code; const char *advice; } faults[] = {
#define FAULT(name, code, advice) { code, advice },
#include "backend/cuda/faults.def"
#undef FAULT
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        char *fault = hone_format("cuStreamSynchronize:%d:2", faults[i].code);
        fails("CUDA_STUB_FAIL", fault, HONE_DEVICE_LOST, faults[i].advice);
        fails("CUDA_STUB_FAIL", fault, HONE_DEVICE_LOST, "GPU 0 (stub): cuStreamSynchronize");
        hone_free(fault);
    }
    fails("CUDA_STUB_FAIL", "cuLaunchKernel:2:3", HONE_DEVICE_LOST, "what the driver needs beside them is not");
}

// Calls that tidy up, that only tell what went wrong, or that scoring does not make.
static bool may_fail(const char *name)
{
    static const char *const names[] = { "cuGetErrorName", "cuGetErrorString", "cuDeviceTotalMem_v2", "cuMemGetInfo_v2", "cuStreamDestroy_v2", "cuModuleUnload",
                                         "cuStreamWaitEvent", "cuEventRecord", "cuEventDestroy_v2",
                                         "cuDevicePrimaryCtxRelease_v2", "cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags",
                                         "cuGraphLaunch", "cuGraphExecDestroy", "cuGraphDestroy", "cublasLtDestroy", "cublasLtMatmulDescDestroy",
                                         "cublasLtMatrixLayoutDestroy", "cublasLtMatmulPreferenceDestroy" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

static void test_every_call_that_fails_is_told(void **state)
{
    (void)state;
    if (!kernels) skip();
    static const char *const entries[] = {
#define ENTRY(name, ...) #name,
#include "backend/cuda/driver.def"
#include "backend/cuda/cublaslt.def"
#undef ENTRY
    };
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        char *fault = hone_format("%s:777:1", entries[i]), *says;
        const int code = with("CUDA_STUB_FAIL", fault, &says, scoring());
        const bool told = (code == HONE_FAILED || code == HONE_DEVICE_LOST) && strstr(says, "777") && (strstr(says, "GPU 0") || strstr(says, "cuda_stub.so"));
        if (may_fail(entries[i]) ? code != HONE_OK : !told) fail_msg("%s: exit code %d: %s", entries[i], code, says);
        hone_free(says), hone_free(fault);
    }
}

// Two of six steps are saved, then the device is lost: the run goes on from there to the bits of one that was never disturbed.
static void test_a_lost_device_costs_no_checkpoint(void **state)
{
    (void)state;
    if (!kernels) skip();
    char *recipe = run_rig_recipe_file(folder, SMALL "backend: cuda\nmax_steps: 6\nsave_steps: 2\n");
    char *whole = hone_format("output_dir=%s/whole", folder), *lost = hone_format("output_dir=%s/lost", folder), *step = hone_format("%s/lost/step-2", folder), *says;
    verb_must("step", (const char *[]){ "pretrain", recipe, whole, LAYERS, NULL });
    const int code = with("CUDA_STUB_FAIL", "cuGraphLaunch:214:9", &says, (const char *[]){ "pretrain", recipe, lost, LAYERS, NULL });
    if (code != HONE_DEVICE_LOST || !strstr(says, "damaged (ECC)") || !strstr(says, "the last checkpoint is whole")) fail_msg("exit code %d: %s", code, says);
    verb_must("step-2", (const char *[]){ "ckpt", "verify", step, NULL });
    verb_must("resume from step", (const char *[]){ "pretrain", recipe, lost, LAYERS, NULL });
    assert_true(test_hash("%s/whole/step-6/model.safetensors", folder) == test_hash("%s/lost/step-6/model.safetensors", folder));
    assert_true(test_hash("%s/whole/step-6/optimizer.safetensors", folder) == test_hash("%s/lost/step-6/optimizer.safetensors", folder));
    hone_free(says), hone_free(recipe), hone_free(whole), hone_free(lost), hone_free(step);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_wrong_before_the_start_is_named),
        cmocka_unit_test(test_every_fault_has_its_advice),
        cmocka_unit_test(test_every_call_that_fails_is_told),
        cmocka_unit_test(test_a_lost_device_costs_no_checkpoint),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
