// test_fp8_run.c: `precision: fp8` from recipe to checkpoint, over the stub and in the emulator: the same bits, captured or not, with
// memory saved or not; the product library is told what fp8 wants; losses stay with bf16's; what cannot be is refused at plan time.
#include "base/file.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/stub.h"
#include "support/verb.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EMULATED "backend=" HONE_BINARY_DIR "/cuda_emulated_backend.so"
#define SMALL "per_device_train_batch_size: 2\nwarmup_ratio: 0\neval_tokens: 32\nresume: never\nlogging_steps: 1\nrun_store: none\n"
enum { MOST_STEPS = 10, LAYERS = 2 };
static char *folder, *log_path, *recipe;
static bool kernels;
static const char *scaling = "fp8_scaling=tensor";

static int set_up(void **state)
{
    (void)state;
    folder = run_rig_folder();
    log_path = hone_path_join(folder, "calls");
    recipe = run_rig_recipe_file(folder, SMALL);
    kernels = stub_use("precision fp8");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hone_free(recipe), hone_free(log_path);
    run_rig_remove(folder);
    return 0;
}

// What the stub is for blocks, and 8.9 (Ada) unless said.
static void hopper(bool is)
{
    if (is) setenv("CUDA_STUB_MAJOR", "9", 1), setenv("CUDA_STUB_MINOR", "0", 1);
    else unsetenv("CUDA_STUB_MAJOR"), unsetenv("CUDA_STUB_MINOR");
}

// A run of `steps` steps of 64 token rows, all products in fp8 that have a rule for it; its losses, and a hash of its model.
static uint64_t train(const char *name, const char *backend, int steps, const char *precision, const char *key, double loss[MOST_STEPS])
{
    char *out = hone_format("output_dir=%s/%s", folder, name), *count = hone_format("max_steps=%d", steps), *rest = NULL;
    verb_must("step", (const char *[]){ "pretrain", recipe, precision, scaling, "fp8_flops_per_byte=0", "cutoff_len=32", backend, count, out, key, NULL });
    char *path = hone_path_join(out + strlen("output_dir="), "log.jsonl"), *log = test_read(path);
    int n = 0;
    for (char *line = strtok_r(log, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        const char *at = strstr(line, "\"event\":\"step\"") ? strstr(line, "\"loss\":") : NULL;
        if (at && n < MOST_STEPS) loss[n++] = strtod(at + strlen("\"loss\":"), NULL);
    }
    assert_int_equal(n, steps);
    const uint64_t hash = test_hash("%s/model/model.safetensors", out + strlen("output_dir="));
    hone_free(log), hone_free(path), hone_free(out), hone_free(count);
    return hash;
}

static int64_t logged(const char *call)
{
    char *log = test_read(log_path), *line = hone_format("%s\n", call);
    const int64_t count = count_in(log, line);
    hone_free(log), hone_free(line);
    return count;
}

// Of a block q|k|v, o, gate|up and down; forward fast, both gradients whole. Step 1 is walked, step 2 captured, step 3 replayed. The stub
// declines what Ada and Hopper do (other transpositions, no scales, odd rows) and sums that are not made as said; its log counts them.
static void test_the_stub_s_run_is_the_emulator_s(void **state)
{
    (void)state;
    if (!kernels) skip();
    double emulated[MOST_STEPS], stub[MOST_STEPS];
    const uint64_t hash = train("emulated", EMULATED, 3, "precision=fp8", "seed=1", emulated);
    setenv("CUDA_STUB_LOG", log_path, 1);
    assert_true(train("stub", "backend=cuda", 3, "precision=fp8", "seed=1", stub) == hash);
    unsetenv("CUDA_STUB_LOG");
    for (int n = 0; n < 3; n++) assert_true(stub[n] == emulated[n]);
    assert_true(logged("fp8 fast") >= 2 * 4 * LAYERS);  // walked, captured, and what the plan measures
    assert_int_equal(logged("fp8 whole"), 2 * logged("fp8 fast"));
    assert_true(train("again", EMULATED, 3, "precision=fp8", "gradient_checkpointing=true", emulated) == hash);   // a clone has the codes of what it stands for
}

// With a scale for each block: weights in squares forward and back, gradients of weights of runs alone; the stub declines what Hopper's library does.
static void test_blocks_run_over_the_stub_as_in_the_emulator(void **state)
{
    (void)state;
    if (!kernels) skip();
    double emulated[MOST_STEPS], stub[MOST_STEPS], tensor[MOST_STEPS];
    const uint64_t of_tensors = train("tensor", EMULATED, 3, "precision=fp8", "seed=1", tensor);
    scaling = "fp8_scaling=block";
    const uint64_t hash = train("blocks", EMULATED, 3, "precision=fp8", "seed=1", emulated);
    assert_true(hash != of_tensors);
    const int64_t squares = logged("fp8 squares"), runs = logged("fp8 runs"), others = logged("fp8 fast") + logged("fp8 whole");
    setenv("CUDA_STUB_LOG", log_path, 1);
    hopper(true);
    assert_true(train("blocks_stub", "backend=cuda", 3, "precision=fp8", "seed=1", stub) == hash);
    hopper(false);
    unsetenv("CUDA_STUB_LOG");
    for (int n = 0; n < 3; n++) assert_true(stub[n] == emulated[n]);
    assert_true(logged("fp8 runs") - runs >= 2 * 4 * LAYERS);
    assert_int_equal(logged("fp8 squares") - squares, 2 * (logged("fp8 runs") - runs));
    assert_int_equal(logged("fp8 fast") + logged("fp8 whole"), others);
    assert_true(train("blocks_again", EMULATED, 3, "precision=fp8", "gradient_checkpointing=true", emulated) == hash);
    scaling = "fp8_scaling=tensor";
}

// A code is off by at most a sixteenth of its number, by a fortieth in the mean square, at random: what is summed of it in a row's hidden
// state is off by some percent, and a loss by less of what this state can say about it, which is what the run has learned. The bar: a
// twentieth of that, and 0.25 % of the loss, as in tools/gpu_check.sh.
static void stay_with_bf16(const char *name)
{
    static double bf16[MOST_STEPS];
    double fp8[MOST_STEPS];
    train(name, EMULATED, MOST_STEPS, "precision=fp8", "learning_rate=3e-3", fp8);
    if (bf16[0] == 0) train("bf16", EMULATED, MOST_STEPS, "precision=bf16", "learning_rate=3e-3", bf16);
    const double learned = bf16[0] - bf16[MOST_STEPS - 1];
    double worst = 0;
    for (int n = 0; n < MOST_STEPS; n++) worst = fmax(worst, fabs(fp8[n] / bf16[n] - 1));
    print_message("           %s, worst of %d losses: %.2g %% from bf16's, %.2f learned\n", scaling, MOST_STEPS, 100 * worst, learned);
    assert_true(learned > 0.15);
    for (int n = 0; n < MOST_STEPS; n++)
        if (!(fabs(fp8[n] - bf16[n]) < fmin(learned / 20, 0.0025 * bf16[n]))) fail_msg("step %d: loss %.5f, in bf16 %.5f, learned %.5f", n + 1, fp8[n], bf16[n], learned);
    assert_true(fp8[MOST_STEPS - 1] != bf16[MOST_STEPS - 1]);
}
static void test_losses_stay_with_those_of_bf16(void **state) { (void)state, stay_with_bf16("fp8"); }
static void test_losses_of_blocks_stay_with_those_of_bf16(void **state)
{
    (void)state;
    scaling = "fp8_scaling=block";
    stay_with_bf16("fp8_blocks");
    scaling = "fp8_scaling=tensor";
}

// Adapters of a frozen model: its matrices are quantised at each use, their low-rank changes are not.
static void test_adapters_train_beside_fp8(void **state)
{
    (void)state;
    if (!kernels) skip();
    double loss[MOST_STEPS];
    uint64_t hash[2][2];
    train("base", EMULATED, 1, "precision=fp8", "seed=1", loss);
    char *more = hone_format("model_name_or_path: %s/base/model\n" SMALL "finetuning_type: lora\nlora_rank: 2\nmax_steps: 2\n", folder);
    char *tuned = run_rig_recipe_file(folder, more);
    const char *const backend[] = { EMULATED, "backend=cuda" };
    for (int blocks = 0; blocks < 2; blocks++) {
        const char *key = blocks ? "fp8_scaling=block" : "fp8_scaling=tensor";
        hopper(blocks);
        for (int i = 0; i < 2; i++) {
            char *out = hone_format("output_dir=%s/tuned%d%d", folder, blocks, i);
            verb_must("step", (const char *[]){ "tune", tuned, "precision=fp8", key, "fp8_flops_per_byte=0", "cutoff_len=32", backend[i], out, NULL });
            hash[blocks][i] = test_hash("%s/adapter/adapter_model.safetensors", out + strlen("output_dir="));
            hone_free(out);
        }
        assert_true(hash[blocks][0] == hash[blocks][1]);
        verb_must_fail("dpo compares the model with itself, and fp8 is for training alone", (const char *[]){ "tune", tuned, "stage=dpo", "precision=fp8", key, "cutoff_len=32", EMULATED, NULL });
    }
    hopper(false);
    assert_true(hash[0][0] != hash[1][0]);
    hone_free(more), hone_free(tuned);
}

// Where the key stands, what lacks fp8, and what to do.
static void test_what_has_no_fp8_says_so(void **state)
{
    (void)state;
    char *keyed = run_rig_recipe_file(folder, SMALL "precision: fp8\nfp8_flops_per_byte: 0\n");
    const char *const cpu[] = { "plan", keyed, "cutoff_len=32", "backend=cpu", NULL };
    verb_must_fail("recipe.yaml:14: ", cpu);
    verb_must_fail("the cpu backend makes no products in fp8", cpu);
    verb_must_fail("use precision: bf16, or a GPU that has fp8 with backend: cuda", cpu);
    if (kernels) {
        setenv("CUDA_STUB_MINOR", "0", 1);  // an A100
        const char *const ampere[] = { "plan", keyed, "cutoff_len=32", "backend=cuda", NULL };
        verb_must_fail("recipe.yaml:14: ", ampere);
        verb_must_fail("it takes compute capability 8.9 (Ada) or 9.0 (Hopper)", ampere);
        verb_must_fail("use precision: bf16", ampere);
        unsetenv("CUDA_STUB_MINOR");
    }
    hone_free(keyed);
}

// Blocks are for Hopper: what a newer or older GPU does instead.
static void test_where_blocks_are_not_they_are_refused_at_their_key(void **state)
{
    (void)state;
    char *keyed = run_rig_recipe_file(folder, SMALL "precision: fp8\nfp8_scaling: block\nfp8_flops_per_byte: 0\n");
    const char *const cuda[] = { "plan", keyed, "cutoff_len=32", "backend=cuda", NULL }, *const cpu[] = { "plan", keyed, "cutoff_len=32", "backend=cpu", NULL };
    verb_must_fail("the cpu backend makes no products in fp8", cpu);
    for (int blackwell = 0; blackwell < 2 && kernels; blackwell++) {
        if (blackwell) setenv("CUDA_STUB_MAJOR", "10", 1), setenv("CUDA_STUB_MINOR", "0", 1);
        verb_must_fail("recipe.yaml:15: ", cuda);
        verb_must_fail("no products in fp8 with a scale for each block: they take compute capability 9.0 (Hopper)", cuda);
        verb_must_fail("use fp8_scaling: tensor, or precision: bf16", cuda);
    }
    hopper(true);
    if (kernels) verb_must("fp8, blocks", cuda);
    hopper(false);
    hone_free(keyed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_stub_s_run_is_the_emulator_s),
        cmocka_unit_test(test_blocks_run_over_the_stub_as_in_the_emulator),
        cmocka_unit_test(test_losses_stay_with_those_of_bf16),
        cmocka_unit_test(test_losses_of_blocks_stay_with_those_of_bf16),
        cmocka_unit_test(test_adapters_train_beside_fp8),
        cmocka_unit_test(test_what_has_no_fp8_says_so),
        cmocka_unit_test(test_where_blocks_are_not_they_are_refused_at_their_key),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
