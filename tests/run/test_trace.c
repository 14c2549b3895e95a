// A profile tells the truth about time: nodes lie inside their programs, programs inside their steps, sums agree, the same
// numbers come out of the run, and the trace is the JSON that Chrome reads.
#include "base/cpu.h"
#include "base/file.h"
#include "base/power.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include "train/loop.h"
#include <math.h>
#include <string.h>

static char *folder;
static int make_folder(void **state) { folder = run_rig_folder(); return test_folder_make(state); }
static int remove_folder(void **state) { run_rig_remove(folder); return test_folder_remove(state); }

static double number(const json_t *object, const char *key) { return json_number_value(json_object_get(object, key)); }

static void check_nesting(const json_t *events)
{
    size_t i, k;
    json_t *e, *outer;
    json_array_foreach(events, i, e) {
        if (number(e, "tid") == 1) continue;
        bool inside = false;
        json_array_foreach(events, k, outer)
            inside |= number(outer, "tid") == number(e, "tid") - 1 && number(outer, "ts") <= number(e, "ts") + 0.002
                   && number(outer, "ts") + number(outer, "dur") >= number(e, "ts") + number(e, "dur") - 0.002; // written to a nanosecond
        if (!inside) fail_msg("event %zu, %s, lies in none of the next wider kind", i, json_string_value(json_object_get(e, "name")));
    }
}

static void test_traced_steps_train_the_same_and_add_up(void **state)
{
    (void)state;
    run_rig r;
    hone_step step;
    hone_trace trace;
    uint64_t hash[2];
    for (int traced = 0; traced < 2; traced++) {
        run_rig_open(&r, folder, "per_device_train_batch_size: 2\ngradient_accumulation_steps: 3\nmax_steps: 4\n");
        if (traced) {
            hone_trace_open(&trace, &r.job.session);
            r.loop.trace = &trace;
        }
        for (int s = 0; s < 4; s++) {
            double start = hone_clock_s();
            assert_int_equal(hone_loop_step(&r.loop, 4, &step), HONE_OK);
            if (traced) hone_trace_step(&trace, start, hone_clock_s() - start);
        }
        hash[traced] = run_rig_hash(&r.job);
        if (!traced) run_rig_close(&r);
    }
    assert_true(hash[0] == hash[1]); // to the bit
    json_t *row, *file;
    assert_int_equal(hone_trace_json(&trace, &row), HONE_OK);
    double phases = 0, ops = 0;
    const char *name;
    json_t *value;
    size_t i;
    json_object_foreach(json_object_get(row, "phases"), name, value) phases += json_number_value(value);
    json_array_foreach(json_object_get(row, "ops"), i, value) ops += number(value, "seconds");
    assert_true(fabs(phases / ops - 1) < 1e-9);
    assert_true(ops <= number(row, "seconds"));
    assert_non_null(json_object_get(json_object_get(row, "phases"), "update"));
    char *path = hone_strdup(test_path("trace.json"));
    assert_int_equal(hone_trace_write_chrome(&trace, path), HONE_OK);
    if (hone_json_load(path, &file)) fail_msg("%s", hone_error());
    const json_t *events = json_object_get(file, "traceEvents");
    int64_t nodes = 0;
    for (int p = 0; p < r.job.graph->n_program; p++)
        nodes += !strcmp(r.job.graph->program[p].name, "micro") ? 3 * r.job.graph->program[p].count + 3 : !strcmp(r.job.graph->program[p].name, "update") ? r.job.graph->program[p].count + 2 : 0;
    assert_int_equal(json_array_size(events), 4 * (nodes + 1)); // every node of every run of a program, the programs (update in two parts), the step
    check_nesting(events);
    json_decref(file);
    json_decref(row);
    hone_free(path);
    hone_trace_close(&trace);
    run_rig_close(&r);
}

static void test_the_verb_shows_a_table_and_goes_on(void **state)
{
    (void)state;
    char *path = run_rig_recipe_file(folder, "max_steps: 9\nprofile_steps: 3\n"), *trace = hone_format("%s/out/trace.json", folder), *output;
    if (verb(&output, (const char *[]){ "pretrain", "--profile", path, NULL })) fail_msg("%s", output);
    static const char *const said[] = { "profile of 3 steps", "by phase", "    backward ", "    outside of ops", "by op", "linear_xent, forward", "by layer", "    layer 1 " };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        if (!strstr(output, said[i])) fail_msg("no \"%s\" in\n%s", said[i], output);
    assert_non_null(strstr(output, "steps        9"));
    assert_true(hone_file_exists(trace));
    hone_free(output);
    hone_free(path);
    hone_free(trace);
}

static void test_watts_are_summed_over_packages(void **state)
{
    (void)state;
    double joules;
    assert_false(hone_power_read(test_path("no_such"), &joules));
    char *root = hone_strdup(test_path("powercap"));
    for (int i = 0; i < 2; i++) {
        char *dir = hone_format("%s/intel-rapl:%d", root, i), *file = hone_path_join(dir, "energy_uj");
        assert_int_equal(hone_dir_create(dir), HONE_OK);
        assert_int_equal(hone_file_write(file, i ? "500000\n" : "2000000\n", i ? 7 : 8), HONE_OK);
        hone_free(dir);
        hone_free(file);
    }
    assert_true(hone_power_read(root, &joules));
    assert_true(fabs(joules - 2.5) < 1e-12);
    hone_free(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_traced_steps_train_the_same_and_add_up), cmocka_unit_test(test_the_verb_shows_a_table_and_goes_on),
                                        cmocka_unit_test(test_watts_are_summed_over_packages) };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
