// What is planned is what runs: the peak of a process that trains, saves in the background, evaluates and samples nothing
// beyond is within 5 % of the plan. Six recipes and more, from 20 MiB to 3 GiB; the large ones under HONE_TEST_LONG.
#include "base/file.h"
#include "plan/memory.h"
#include "support/cmocka_all.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include <math.h>

static char *folder;
static int make_folder(void **state) { (void)state; folder = run_rig_folder(); return 0; }
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

typedef struct { const char *what; bool is_long; const char *key[12]; } size_case;

static const size_case cases[] = {
    { "small", false, { "per_device_train_batch_size=24", "cutoff_len=64", "model.hidden_size=96" } },
    { "many rows", false, { "per_device_train_batch_size=64", "cutoff_len=64", "model.num_hidden_layers=6" } },
    { "wide", false, { "model.hidden_size=256", "model.intermediate_size=700", "model.num_hidden_layers=4", "per_device_train_batch_size=4" } },
    { "accumulation", false, { "model.hidden_size=320", "model.intermediate_size=900", "model.num_hidden_layers=6", "per_device_train_batch_size=2",
                               "gradient_accumulation_steps=3" } },
    { "large data", false, { "model.hidden_size=192", "model.num_hidden_layers=4", "per_device_train_batch_size=16", "dataset=DATA" } },
    { "large vocabulary", false, { "model.vocab_size=30000", "model.hidden_size=192", "cutoff_len=128", "per_device_train_batch_size=2" } },
    { "per block", false, { "per_device_train_batch_size=48", "cutoff_len=64", "model.hidden_size=96", "model.num_hidden_layers=6", "gradient_checkpointing=true" } },
    { "bf16", false, { "precision=bf16", "per_device_train_batch_size=64", "cutoff_len=64", "model.num_hidden_layers=6" } },
    { "bf16, per block", false, { "precision=bf16", "per_device_train_batch_size=48", "cutoff_len=64", "model.hidden_size=96", "model.num_hidden_layers=6", "gradient_checkpointing=true" } },
    { "within 64 MiB", false, { "per_device_train_batch_size=48", "cutoff_len=64", "model.hidden_size=96", "model.num_hidden_layers=6", "memory=64MiB" } },
    { "llama 15M", true, { "model.vocab_size=8192", "model.hidden_size=384", "model.intermediate_size=1024", "model.num_hidden_layers=6",
                           "model.num_attention_heads=6", "model.num_key_value_heads=6", "cutoff_len=256", "per_device_train_batch_size=16" } },
    { "llama 15M, bf16", true, { "precision=bf16", "model.vocab_size=8192", "model.hidden_size=384", "model.intermediate_size=1024", "model.num_hidden_layers=6",
                           "model.num_attention_heads=6", "model.num_key_value_heads=6", "cutoff_len=256", "per_device_train_batch_size=16" } },
    { "llama 42M", true, { "model.vocab_size=16384", "model.hidden_size=512", "model.intermediate_size=1376", "model.num_hidden_layers=8",
                           "model.num_attention_heads=8", "model.num_key_value_heads=8", "cutoff_len=256", "per_device_train_batch_size=4" } },
    { "160M", true, { "model.vocab_size=32000", "model.hidden_size=768", "model.intermediate_size=2048", "model.num_hidden_layers=12",
                      "model.num_attention_heads=12", "model.num_key_value_heads=12", "cutoff_len=256", "per_device_train_batch_size=2",
                      "model.tie_word_embeddings=false" } },
};

// The number behind "key": in the log's last row.
static double number_of(const char *text, const char *key)
{
    const char *last = NULL;
    for (const char *at = text; (at = strstr(at, key)); at++) last = at;
    assert_non_null(last);
    return strtod(last + strlen(key) + 1, NULL);
}

static void check_case(const size_case *c)
{
    char *recipe = hone_path_join(folder, "recipe.yaml"), *out = hone_format("output_dir=%s/out", folder), *log = hone_format("%s/out/log.jsonl", folder);
    const char *argument[24] = { "pretrain", recipe, out };
    char *output, *text;
    size_t size;
    char *data = hone_format("dataset=%s/large.u16", folder);
    for (int i = 0; c->key[i]; i++) argument[3 + i] = strcmp(c->key[i], "dataset=DATA") ? c->key[i] : data;
    if (verb(&output, argument)) fail_msg("%s: %s", c->what, output);
    assert_int_equal(hone_file_read(log, &text, &size), HONE_OK);
    double planned = number_of(text, "planned_bytes\""), peak = number_of(text, "peak_resident_bytes\"");
    printf("  %-18s planned %7.1f MiB  measured %7.1f MiB  %+.2f%%\n", c->what, planned / 0x1p20, peak / 0x1p20, 100 * (peak / planned - 1));
    // `hone plan` says the same as the run: its own process may differ by a few pages
    argument[0] = "plan";
    argument[2] = "--json";
    char *plan;
    assert_int_equal(verb(&plan, argument), 0);
    assert_true(fabs(number_of(plan, "process_bytes\"") - planned) < 0x1p20);
    assert_true(fabs(peak / planned - 1) < 0.05);
    out[strlen("output_dir=") + strlen(folder) + 4] = '\0';
    assert_int_equal(hone_dir_remove(out + strlen("output_dir=")), HONE_OK);
    hone_free(plan);
    hone_free(text);
    hone_free(output);
    hone_free(recipe);
    hone_free(data);
    hone_free(out);
    hone_free(log);
}

// 24 MiB of ids: were its pages to stay, a run would outgrow its plan by as much.
static void write_large_data(void)
{
    enum { COUNT = 12 << 20 };
    uint16_t *ids = hone_alloc(COUNT, sizeof *ids);
    for (int64_t i = 0; i < COUNT; i++) ids[i] = (uint16_t)(i * 7919 % RUN_RIG_VOCAB);
    char *path = hone_path_join(folder, "large.u16");
    assert_int_equal(hone_file_write(path, ids, COUNT * sizeof *ids), HONE_OK);
    hone_free(path);
    hone_free(ids);
}

static void test_process_peak_is_within_5_percent_of_the_plan(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    print_message("skipped: the sanitizer's own memory is not in the plan\n");
    skip();
#endif
    hone_free(run_rig_recipe_file(folder, "max_steps: 6\nsave_steps: 2\neval_steps: 2\neval_tokens: 600\nmodel_name_or_path: ''\n"));
    write_large_data();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (!cases[i].is_long || getenv("HONE_TEST_LONG")) check_case(&cases[i]);
}

// The table adds up: groups to all parameters, classes to the arena; and the arena is the layout's, to the byte.
static void test_the_table_adds_up(void **state)
{
    (void)state;
    hone_recipe recipe;
    hone_job job;
    hone_plan plan;
    run_rig_recipe(&recipe, folder, "");
    assert_int_equal(hone_job_open(&job, &recipe), HONE_OK);
    assert_int_equal(hone_plan_make(&job, &plan), HONE_OK);
    int64_t group = 0, bytes = plan.workspace_bytes + plan.gap_bytes;
    for (int g = 0; g < HONE_PARAM_GROUPS; g++) group += plan.group[g];
    for (int c = 0; c < HONE_CLASS_COUNT; c++) bytes += plan.class_bytes[c];
    assert_int_equal(group, hone_model_count(&job.model));
    assert_int_equal(plan.params, group);
    assert_int_equal(plan.group[0], RUN_RIG_VOCAB * 32);
    assert_int_equal(plan.group[3], 5 * 32);
    assert_int_equal(bytes, (int64_t)job.session.layout.arena_bytes);
    assert_true(plan.gap_bytes >= 0);
    assert_int_equal(plan.class_bytes[HONE_CLASS_moment], 2 * plan.class_bytes[HONE_CLASS_grad]);
    int64_t layers = 0;
    for (int64_t l = 0; l <= plan.layers; l++) layers += plan.layer_bytes[l];
    assert_true(layers > 0);
    hone_plan_release(&plan);
    hone_job_close(&job);
    hone_recipe_release(&recipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_adds_up),
        cmocka_unit_test(test_process_peak_is_within_5_percent_of_the_plan),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
