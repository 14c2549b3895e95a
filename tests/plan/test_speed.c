// Speed adds up: with given seconds a step is what its nodes add up to, exactly; nodes of one kind share a time, nodes that
// differ do not; the cache gives back what was put in and shrugs at damage; measuring fills every kind and leaves no trace.
#include "base/file.h"
#include "plan/speed.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/run_rig.h"
#include <math.h>
#include <string.h>
#include <unistd.h>

static char *folder;
static int make_folder(void **state)
{
    (void)state;
    folder = run_rig_folder();
    return 0;
}
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

typedef struct { hone_recipe recipe; hone_job job; hone_speed speed; } rig;

static void open_rig(rig *r, const char *more)
{
    run_rig_recipe(&r->recipe, folder, more);
    must(hone_job_open(&r->job, &r->recipe));
    must(hone_speed_open(&r->speed, &r->job));
}

static void close_rig(rig *r)
{
    hone_speed_close(&r->speed);
    hone_job_close(&r->job);
    hone_recipe_release(&r->recipe);
}

static const hone_program *program(const rig *r, const char *name) { return hone_graph_program(r->job.graph, name); }

// Powers of two add up exactly in any order.
static void test_a_step_is_the_sum_of_its_nodes(void **state)
{
    (void)state;
    rig r;
    open_rig(&r, "per_device_train_batch_size: 2\ngradient_accumulation_steps: 3\n");
    assert_true(isnan(hone_speed_step_s(&r.speed)));
    assert_false(hone_speed_known(&r.speed));
    for (int64_t k = 0; k < r.speed.n_kind; k++) r.speed.kind[k].seconds = 0x1p-10;
    int64_t micro = program(&r, "micro")->count, update = program(&r, "update")->count;
    assert_true(hone_speed_program_s(&r.speed, "micro") == (double)micro * 0x1p-10);
    assert_true(hone_speed_program_s(&r.speed, "no such program") == 0);
    assert_true(hone_speed_step_s(&r.speed) == (double)(3 * (micro + 1) + update) * 0x1p-10);
    int32_t first = r.speed.kind_of[0][0];
    int64_t of_first = 0;
    for (int64_t n = 0; n < micro; n++) of_first += r.speed.kind_of[0][n] == first;
    r.speed.kind[first].seconds = 1 + 0x1p-10;
    assert_true(hone_speed_step_s(&r.speed) == (double)(3 * (micro + 1) + update) * 0x1p-10 + 3.0 * (double)of_first);
    r.speed.kind[first].seconds = 0;
    assert_true(isnan(hone_speed_step_s(&r.speed)));
    // what evaluation alone runs must be known as well
    for (int64_t k = 0; k < r.speed.n_kind; k++) r.speed.kind[k].seconds = strncmp(r.speed.kind[k].key, "linear_logprob ", 15) ? 1 : 0;
    assert_true(hone_speed_step_s(&r.speed) > 0);
    assert_false(hone_speed_known(&r.speed));
    close_rig(&r);
}

// Layers are alike: more of them bring no kinds; other rows, products or data seen do.
static void test_nodes_that_cost_alike_are_one_kind(void **state)
{
    (void)state;
    rig two, four, bf16;
    open_rig(&two, "");
    open_rig(&four, "");
    hone_speed_close(&four.speed);
    hone_job_close(&four.job);
    assert_int_equal(json_object_set_new(four.recipe.model, "num_hidden_layers", json_integer(4)), 0);
    must(hone_job_open(&four.job, &four.recipe));
    must(hone_speed_open(&four.speed, &four.job));
    assert_true(program(&four, "micro")->count > program(&two, "micro")->count + 20);
    assert_int_equal(four.speed.n_kind, two.speed.n_kind);
    open_rig(&bf16, "precision: bf16\n");
    int64_t same = 0;
    for (int64_t k = 0; k < bf16.speed.n_kind; k++)
        for (int64_t j = 0; j < two.speed.n_kind; j++) same += strcmp(bf16.speed.kind[k].key, two.speed.kind[j].key) == 0;
    assert_true(same > 10 && same < two.speed.n_kind - 4);    // every product is another kind, the rest is not
    close_rig(&two);
    close_rig(&four);
    close_rig(&bf16);
}

static char *cache_file(void)
{
    char *where = hone_path_join(folder, "hone"), **names;
    int64_t count;
    must(hone_dir_list(where, &names, &count));
    assert_int_equal(count, 1);
    char *path = hone_path_join(where, names[0]);
    hone_free(names[0]);
    hone_free(names);
    hone_free(where);
    return path;
}

static void test_the_cache_gives_back_what_was_measured(void **state)
{
    (void)state;
    rig r, again, other;
    open_rig(&r, "");
    for (int64_t k = 0; k < r.speed.n_kind; k++) r.speed.kind[k].seconds = 1e-5 * (double)(k + 1);
    r.speed.peak_flops = 1e11;
    r.speed.watts = 42;
    hone_speed_save(&r.speed);
    open_rig(&again, "warmup_steps: 5\ngradient_accumulation_steps: 2\n");
    hone_speed_load(&again.speed);
    assert_int_equal(again.speed.n_kind, r.speed.n_kind);
    for (int64_t k = 0; k < r.speed.n_kind; k++) assert_true(again.speed.kind[k].seconds == r.speed.kind[k].seconds);
    assert_true(again.speed.peak_flops == 1e11 && again.speed.watts == 42);
    // a slower peak does not replace a faster one; another shape is not known; another thread count is another machine
    again.speed.peak_flops = 1e10;
    hone_speed_save(&again.speed);
    again.speed.peak_flops = 0;
    hone_speed_load(&again.speed);
    assert_true(again.speed.peak_flops == 1e11);
    open_rig(&other, "per_device_train_batch_size: 3\n");
    hone_speed_load(&other.speed);
    assert_false(hone_speed_known(&other.speed));
    close_rig(&other);
    open_rig(&other, "threads: 7\n");
    hone_speed_load(&other.speed);
    assert_false(hone_speed_known(&other.speed));
    close_rig(&other);
    close_rig(&again);
    close_rig(&r);
}

static void test_a_damaged_or_missing_cache_costs_time_alone(void **state)
{
    (void)state;
    static const char *const damage[] = { "", "{", "[]", "{\"machine\": 1}", "{\"machine\":{},\"seconds\":7}" };
    rig r;
    open_rig(&r, "");
    for (int64_t k = 0; k < r.speed.n_kind; k++) r.speed.kind[k].seconds = 1e-5;
    hone_speed_save(&r.speed);
    char *path = cache_file();
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        must(hone_file_write(path, damage[i], strlen(damage[i])));
        hone_speed_load(&r.speed);
        assert_false(hone_speed_known(&r.speed));
        assert_string_equal(hone_error(), "");
        for (int64_t k = 0; k < r.speed.n_kind; k++) r.speed.kind[k].seconds = 10.5;
        hone_speed_save(&r.speed);
        hone_speed_load(&r.speed);
        assert_true(hone_speed_known(&r.speed));
    }
    // a number that is none, then nowhere to keep it
    char *text, *number;
    size_t size;
    must(hone_file_read(path, &text, &size));
    assert_non_null(number = strstr(text, "10.5"));
    memcpy(number, "-0.5", 4);
    must(hone_file_write(path, text, size));
    hone_speed_load(&r.speed);
    assert_false(hone_speed_known(&r.speed));
    setenv("XDG_CACHE_HOME", "/proc/no", 1);
    hone_speed_save(&r.speed);
    assert_string_equal(hone_error(), "");
    unsetenv("XDG_CACHE_HOME");
    char *home = hone_strdup(getenv("HOME") ? getenv("HOME") : "");
    unsetenv("HOME");
    hone_speed_save(&r.speed);
    hone_speed_load(&r.speed);
    assert_false(hone_speed_known(&r.speed));
    char *nowhere = hone_path_join(folder, "nowhere");
    setenv("HOME", nowhere, 1);
    hone_speed_save(&r.speed);
    assert_false(hone_dir_exists(nowhere));     // a home that is not there is not made
    hone_free(nowhere);
    setenv("HOME", home, 1);
    setenv("XDG_CACHE_HOME", folder, 1);
    hone_free(home);
    hone_free(text);
    hone_free(path);
    close_rig(&r);
}

static void test_measuring_fills_every_kind_and_leaves_the_job_as_it_was(void **state)
{
    (void)state;
    rig r;
    open_rig(&r, "per_device_train_batch_size: 2\neval_steps: 1\n");
    must(hone_speed_find(&r.speed, HONE_SPEED_QUICK));   // so small that a run measures it
    assert_true(hone_speed_known(&r.speed));
    for (int64_t k = 0; k < r.speed.n_kind; k++)
        if (!(r.speed.kind[k].seconds > 0 && r.speed.kind[k].seconds < 10)) fail_msg("%s: %g s", r.speed.kind[k].key, r.speed.kind[k].seconds);
    assert_true(hone_speed_program_s(&r.speed, "score") > 0);
    assert_true(r.speed.measured_s > 0 && r.speed.peak_flops > 0);
    assert_null(r.job.session.arena);
    assert_int_equal(r.job.train.now.row, 0);
    double before = hone_speed_step_s(&r.speed);
    hone_speed_close(&r.speed);
    must(hone_speed_open(&r.speed, &r.job));
    must(hone_speed_find(&r.speed, HONE_SPEED_FULL));
    assert_true(r.speed.measured_s == 0 && hone_speed_step_s(&r.speed) == before);   // now from the cache
    close_rig(&r);
}

// A machine of one FLOP a second would need years: a node of each kind on one row stands for all.
static void test_what_would_take_too_long_is_measured_on_fewer_rows(void **state)
{
    (void)state;
    rig r;
    open_rig(&r, "per_device_train_batch_size: 6\neval_steps: 1\nmodel_name_or_path: ''\n");
    r.speed.peak_flops = 1;
    assert_false(hone_speed_is_quick(&r.speed));
    must(hone_session_allocate(&r.job.session));
    must(hone_speed_measure(&r.speed, true));
    assert_true(hone_speed_known(&r.speed) && hone_speed_program_s(&r.speed, "score") > 0);
    const int32_t *ids = hone_job_place(&r.job, r.job.micro.ids);
    const float *logprob = hone_job_place(&r.job, r.job.micro.logprob);
    int64_t written = 0;
    for (int64_t n = 0; n < r.job.micro.N; n++) written += logprob[n] != 0;
    assert_true(ids[r.job.micro.N - 1] > 0);
    assert_true(written > 0 && written <= 37);    // rows beyond the first were not computed
    close_rig(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_is_the_sum_of_its_nodes),
        cmocka_unit_test(test_nodes_that_cost_alike_are_one_kind),
        cmocka_unit_test(test_the_cache_gives_back_what_was_measured),
        cmocka_unit_test(test_a_damaged_or_missing_cache_costs_time_alone),
        cmocka_unit_test(test_measuring_fills_every_kind_and_leaves_the_job_as_it_was),
        cmocka_unit_test(test_what_would_take_too_long_is_measured_on_fewer_rows),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
