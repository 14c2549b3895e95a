// A step that goes wrong changes nothing, is named to the element, and can be done again: by the loop, by a whole run, by
// `hone replay`. And the judgement itself: what a spike is.
#include "base/file.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include "train/inspect.h"
#include <math.h>

static char *folder;
static int make_folder(void **state) { (void)state; folder = run_rig_folder(); return 0; }
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

static const char *const parts = "per_device_train_batch_size: 2\ngradient_accumulation_steps: 3\n";

static float *param(run_rig *f, const char *name)
{
    hone_tid id = hone_graph_find(f->job.graph, name);
    if (id == HONE_NONE) fail_msg("no parameter %s", name);
    return hone_session_data(&f->job.session, id);
}

static void test_a_spike_is_far_above_the_window(void **state)
{
    (void)state;
    hone_spikes s = { .threshold = 3, .window = 8 };
    for (int i = 0; i < 7; i++) hone_spikes_add(&s, i % 2 ? 2.0 : 4.0);
    assert_true(hone_spikes_score(&s, 100) == 0);            // the window is not full
    hone_spikes_add(&s, 2.0);                                // mean 3, deviation 1
    assert_true(fabs(hone_spikes_score(&s, 5.5) - 2.5) < 1e-12);
    assert_true(fabs(hone_spikes_score(&s, 1.0) + 2.0) < 1e-12);
    for (int i = 0; i < 8; i++) hone_spikes_add(&s, 7);      // the old ones have left
    assert_int_equal(s.count, 8);
    assert_true(hone_spikes_score(&s, 7) == 0 && hone_spikes_score(&s, 7.1) > 1e6);
    s.threshold = 0;
    assert_true(hone_spikes_score(&s, 1e9) == 0);
}

// Infinite from the product in layer 1 on: that node is named, neither the weight nor what comes of it. With a large but
// finite weight nothing is found (the control).
static void test_the_node_that_made_the_first_infinity_is_named(void **state)
{
    (void)state;
    run_rig f;
    hone_finding finding;
    run_rig_open(&f, folder, parts);
    assert_int_equal(hone_inspect_step(&f.loop, &finding, NULL, NULL), HONE_OK);
    assert_false(finding.found);
    param(&f, "layers.1.up")[40] = 3e38f;
    param(&f, "layers.1.up")[41] = 3e38f;
    for (int64_t i = 0; i < 32; i++) param(&f, "layers.1.norm2.g")[i] = 1e4f;
    uint64_t before = run_rig_hash(&f.job);
    assert_int_equal(hone_inspect_step(&f.loop, &finding, NULL, NULL), HONE_OK);
    assert_true(finding.found);
    if (!strstr(finding.node, "micro-batch 1, node ") || !strstr(finding.node, "(forward, layer 1): linear(")) fail_msg("%s", finding.node);
    assert_non_null(strstr(finding.node, finding.tensor));
    assert_true(isinf(finding.value) && finding.bad >= 1 && finding.bad <= 2 * 37);
    assert_int_equal(finding.rank, 2);
    assert_int_equal(finding.index[1], 48 + 1);   // gate | up: element 40 lies in up's row 1
    assert_true(run_rig_hash(&f.job) == before);
    assert_int_equal(f.job.train.now.row, 0);
    run_rig_close(&f);
}

static void test_a_weight_that_is_no_number_is_named_as_such(void **state)
{
    (void)state;
    run_rig f;
    hone_finding finding;
    char text[320];
    run_rig_open(&f, folder, parts);
    param(&f, "layers.0.o")[32 * 3 + 5] = NAN;
    assert_int_equal(hone_inspect_step(&f.loop, &finding, NULL, NULL), HONE_OK);
    assert_true(finding.found);
    assert_string_equal(finding.node, "");
    hone_finding_print(&finding, text, sizeof text);
    assert_string_equal(text, "layers.0.o, nan at [3, 5], 1 of 1,024 values, before the step");
    run_rig_close(&f);
}

// Gradients that overflow although the loss is finite: known before a weight has changed.
static void test_a_norm_that_is_not_finite_changes_nothing(void **state)
{
    (void)state;
    run_rig f;
    hone_step out;
    hone_finding finding;
    run_rig_open(&f, folder, parts);
    float *embed = param(&f, "embed.tokens");
    for (int64_t i = 0; i < RUN_RIG_VOCAB * 32; i++) embed[i] *= 1e21f;        // squares overflow: rstd 0, logits 0
    for (int64_t i = 0; i < 32; i++) param(&f, "norm.g")[i] = 1e19f;
    uint64_t before = run_rig_hash(&f.job);
    assert_int_equal(hone_loop_step(&f.loop, 40, &out), HONE_OK);
    assert_int_equal(out.verdict, HONE_STEP_NORM);
    assert_true(isfinite(out.loss) && !isfinite(out.norm));
    assert_true(run_rig_hash(&f.job) == before);
    assert_int_equal(f.loop.step, 0);
    assert_int_equal(f.job.train.now.row, 0);
    assert_int_equal(hone_inspect_step(&f.loop, &finding, NULL, NULL), HONE_OK);
    assert_true(finding.found && finding.node[0]);
    hone_loop_skip(&f.loop);
    assert_int_equal(f.loop.step, 1);
    assert_int_equal(f.loop.skipped, 1);
    assert_int_equal(f.job.train.now.row, 6);
    run_rig_close(&f);
}

// Looked at or not, skipped before or not: a step's bits are the same.
static void test_looking_does_not_change_a_step(void **state)
{
    (void)state;
    uint64_t hash[2];
    for (int looked = 0; looked < 2; looked++) {
        run_rig f;
        hone_step out;
        hone_finding finding;
        double loss;
        run_rig_open(&f, folder, parts);
        for (int s = 0; s < 3; s++) {
            if (looked) {
                assert_int_equal(hone_inspect_step(&f.loop, &finding, &loss, NULL), HONE_OK);
                assert_false(finding.found);
            }
            assert_int_equal(hone_loop_step(&f.loop, 40, &out), HONE_OK);
            if (looked) assert_true(loss == out.loss);
        }
        hash[looked] = run_rig_hash(&f.job);
        run_rig_close(&f);
    }
    assert_true(hash[0] == hash[1]);
}

// Whole runs -----------------------------------------------------------------------------------------------------------

static const char *const run_keys = "per_device_train_batch_size: 2\nmax_steps: 60\nsave_steps: 7\nsave_total_limit: 30\nlr_scheduler_type: constant\n";

static char *recipe_path(const char *more)
{
    char *text = hone_format("%s%s", run_keys, more), *path = run_rig_recipe_file(folder, text);
    hone_free(text);
    return path;
}

static int hone(char **output, const char *a, const char *b, const char *c, const char *d, const char *e)
{
    return verb(output, (const char *[]){ a, b, c, d, e, NULL });
}

static void test_a_run_stops_before_the_damage_and_replay_shows_it(void **state)
{
    (void)state;
    char *recipe = recipe_path(""), *out = hone_format("output_dir=%s/burst", folder), *output, *again;
    assert_int_equal(hone(&output, "pretrain", recipe, out, "learning_rate=1e19", NULL), 1);
    assert_says(output, "hone: step 2: the loss is ");
    assert_says(output, "\n  first not finite  ");
    assert_says(output, "\n  made by           node ");
    assert_says(output, "\n  saved             step-1; no weight has changed since");
    assert_int_equal(hone(&again, "replay", out + 11, "2", NULL, NULL), 0);
    char *line = strstr(output, "  first not finite  "), *end = strstr(line, "\n  saved");
    *end = '\0';
    assert_says(again, line);   // the same node, tensor, element
    assert_says(again, "/burst/step-1\n");
    hone_free(again);
    assert_int_equal(hone(&again, "replay", out + 11, "2", "learning_rate=1e-3", NULL), 0);
    hone_free(again);
    assert_int_equal(hone(&again, "replay", out + 11, "1", NULL, NULL), 1);
    assert_says(again, "no checkpoint before step 1 is there");
    hone_free(again);
    hone_free(output);
    hone_free(out);
    hone_free(recipe);
}

// Spikes are left out, in a run that was stopped at step 20 as in one that was not: the window is part of the state. The
// steps that were left out are kept to look at.
static void test_skipped_steps_are_the_same_behind_a_resume(void **state)
{
    (void)state;
    char *recipe = recipe_path("on_bad_step: skip\nspike_zscore: 0.8\nspike_window: 8\n"), *output;
    char *whole = hone_format("output_dir=%s/spikes", folder), *halves = hone_format("output_dir=%s/spikes2", folder), *log = hone_format("%s/log.jsonl", whole + 11);
    assert_int_equal(hone(&output, "pretrain", recipe, whole, NULL, NULL), 0);
    assert_says(output, "standard deviations above the last steps'");
    assert_says(output, "left out          rows ");
    char *rows = test_read(log);
    int64_t skipped = count_in(rows, "\"event\":\"bad_step\"");
    assert_true(skipped >= 2);
    hone_free(output);
    assert_int_equal(hone(&output, "pretrain", recipe, halves, "max_steps=20", NULL), 0);
    hone_free(output);
    assert_int_equal(hone(&output, "pretrain", recipe, halves, NULL, NULL), 0);
    hone_free(output);
    assert_true(test_hash("%s/step-60/model.safetensors", whole + 11) == test_hash("%s/step-60/model.safetensors", halves + 11));
    assert_true(test_hash("%s/step-60/optimizer.safetensors", whole + 11) == test_hash("%s/step-60/optimizer.safetensors", halves + 11));
    // The newest that was left out, from its replay-N: the same verdict.
    char **names;
    int64_t count, replays = 0, newest = 0;
    assert_int_equal(hone_dir_list(whole + 11, &names, &count), HONE_OK);
    for (int64_t i = 0; i < count; i++) {
        int64_t n = strncmp(names[i], "replay-", 7) == 0 ? strtoll(names[i] + 7, NULL, 10) : 0;
        replays += n > 0;
        if (n > newest) newest = n;
        hone_free(names[i]);
    }
    hone_free(names);
    assert_int_equal(replays, 2);
    char number[24];
    snprintf(number, sizeof number, "%d", (int)newest);
    assert_int_equal(hone(&output, "replay", whole + 11, number, NULL, NULL), 0);
    assert_says(output, "/replay-");
    assert_says(output, "standard deviations above");
    hone_free(output);
    // The control: without the rule the weights are others.
    char *plain = hone_format("output_dir=%s/plain", folder);
    assert_int_equal(hone(&output, "pretrain", recipe, plain, "spike_zscore=0", NULL), 0);
    hone_free(output);
    assert_false(test_hash("%s/step-60/model.safetensors", whole + 11) == test_hash("%s/step-60/model.safetensors", plain + 11));
    hone_free(plain);
    hone_free(rows);
    hone_free(log);
    hone_free(halves);
    hone_free(whole);
    hone_free(recipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_spike_is_far_above_the_window),
        cmocka_unit_test(test_the_node_that_made_the_first_infinity_is_named),
        cmocka_unit_test(test_a_weight_that_is_no_number_is_named_as_such),
        cmocka_unit_test(test_a_norm_that_is_not_finite_changes_nothing),
        cmocka_unit_test(test_looking_does_not_change_a_step),
        cmocka_unit_test(test_a_run_stops_before_the_damage_and_replay_shows_it),
        cmocka_unit_test(test_skipped_steps_are_the_same_behind_a_resume),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
