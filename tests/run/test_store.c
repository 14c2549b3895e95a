// The run store follows the log: every row once whatever happens to the writer, readers beside it, and a database that is
// damaged or held by another program costs a run one warning and nothing else.
#include "base/file.h"
#include "base/rng.h"
#include "run/compare.h"
#include "run/store.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/fault.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char *folder;
static int make_folder(void **state) { (void)state; folder = run_rig_folder(); return 0; }
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

// --- a log made by hand -----------------------------------------------------------------------------------------------

static char *place(const char *name) { return hone_format("%s/%s", folder, name); }

static void append(const char *run, const char *text)
{
    char *dir = place(run), *path = hone_path_join(dir, "log.jsonl");
    assert_int_equal(hone_dir_create(dir), HONE_OK);
    assert_int_equal(hone_file_append(path, text, strlen(text)), HONE_OK);
    hone_free(dir);
    hone_free(path);
}

static void append_start(const char *run, double rate)
{
    char *row = hone_format("{\"event\":\"start\",\"time\":\"2026-01-31T12:00:00Z\",\"hone\":\"0.1.0\",\"recipe\":{\"learning_rate\":%g,\"max_steps\":40,"
                            "\"model\":{\"hidden_size\":32}},\"plan\":{\"parameters\":1000},\"data_hash\":\"0123456789abcdef\"}\n", rate);
    append(run, row);
    hone_free(row);
}

static void append_steps(const char *run, int64_t from, int64_t to, double base)
{
    hone_buffer rows = { 0 };
    for (int64_t s = from; s <= to; s++)
        assert_int_equal(hone_buffer_print(&rows, "{\"event\":\"step\",\"time\":\"2026-01-31T12:00:01Z\",\"step\":%lld,\"loss\":%.6f,\"learning_rate\":0.001}\n",
                                           (long long)s, base + 1.0 / (double)s), HONE_OK);
    append(run, rows.data);
    hone_buffer_release(&rows);
}

static hone_store *open_store(bool write)
{
    hone_store *store;
    char *path = hone_store_path_in(folder);
    if (hone_store_open(&store, path, write)) fail_msg("%s", hone_error());
    hone_free(path);
    return store;
}

static void import(hone_store *store, const char *run, int64_t rows)
{
    int64_t taken;
    char *dir = place(run);
    if (hone_store_import(store, dir, &taken)) fail_msg("%s", hone_error());
    assert_int_equal(taken, rows);
    hone_free(dir);
}

typedef struct { int64_t count, last; double sum; } seen;
static void see(void *context, int64_t step, const double value[HONE_METRIC_COUNT])
{
    seen *s = context;
    assert_true(step > s->last); // in order, each once
    s->last = step;
    s->count++;
    s->sum += value[HONE_METRIC_loss];
    assert_true(isnan(value[HONE_METRIC_watts])); // was not measured: absent, not zero
}

static seen look(hone_store *store, int64_t run)
{
    seen s = { 0 };
    assert_int_equal(hone_store_steps(store, run, 0, see, &s), HONE_OK);
    return s;
}

static void remove_store(void)
{
    static const char *const names[] = { "runs.db", "runs.db-wal", "runs.db-shm" };
    for (int i = 0; i < 3; i++) {
        char *path = place(names[i]);
        unlink(path);
        hone_free(path);
    }
}

static void remove_run(const char *run)
{
    char *dir = place(run);
    assert_int_equal(hone_dir_remove(dir), HONE_OK);
    hone_free(dir);
}

static void test_each_row_arrives_once_and_a_line_being_written_waits(void **state)
{
    (void)state;
    hone_store *store = open_store(true);
    append_start("a", 1e-3);
    append_steps("a", 1, 10, 2);
    append("a", "{\"event\":\"step\",\"step\":11,\"lo");
    import(store, "a", 11);
    import(store, "a", 0);
    append("a", "ss\":2.5}\nthis is no JSON\n\"a line about: out of memory\n{\"event\":\"eval\",\"step\":11,\"loss\":2.25,\"standard_error\":0.1}\n");
    import(store, "a", 2);
    assert_int_equal(look(store, 1).count, 11);
    json_t *run;
    assert_int_equal(hone_store_find(store, "a", &run), HONE_OK);
    assert_int_equal(json_integer_value(hone_run_value(run, "step")), 11);
    assert_true(json_number_value(hone_run_value(run, "last.loss")) == 2.5);
    assert_true(json_number_value(hone_run_value(run, "held_out.loss")) == 2.25);
    assert_true(json_number_value(hone_run_value(run, "hidden_size")) == 32);
    json_decref(run);
    hone_store_close(store);
    remove_run("a");
    remove_store();
}

static void test_resume_drops_the_steps_that_it_repeats(void **state)
{
    (void)state;
    hone_store *store = open_store(true);
    append_start("a", 1e-3);
    append_steps("a", 1, 20, 2);
    append("a", "{\"event\":\"eval\",\"step\":18,\"loss\":9.0}\n");
    import(store, "a", 22);
    append("a", "{\"event\":\"resume\",\"from\":\"x/step-9/a/step-12\",\"recipe\":{}}\n");
    append_steps("a", 13, 15, 5);
    import(store, "a", 4);
    seen s = look(store, 1);
    assert_int_equal(s.count, 15);
    assert_int_equal(s.last, 15);
    double sum = 0;
    for (int i = 1; i <= 15; i++) sum += (i <= 12 ? 2 : 5) + 1.0 / i;
    assert_true(fabs(s.sum - sum) < 1e-4); // six decimals a row
    json_t *run;
    assert_int_equal(hone_store_find(store, "1", &run), HONE_OK);
    assert_int_equal(json_integer_value(hone_run_value(run, "generation")), 1);
    assert_null(hone_run_value(run, "held_out")); // was behind step 12
    json_decref(run);
    append_start("a", 1e-3); // the same folder, begun anew: another run, and the first one's record stays
    append_steps("a", 1, 3, 1);
    import(store, "a", 4);
    assert_int_equal(look(store, 1).count, 15);
    assert_int_equal(look(store, 2).count, 3);
    remove_run("a");
    append_start("a", 5e-3); // the log itself was replaced
    import(store, "a", 1);
    json_t *runs;
    assert_int_equal(hone_store_runs(store, &runs), HONE_OK);
    assert_int_equal(json_array_size(runs), 3);
    json_decref(runs);
    hone_store_close(store);
    remove_run("a");
    remove_store();
}

static void test_importer_killed_at_random_moments_takes_each_row_once(void **state)
{
    (void)state;
    enum { STEPS = 6000 };
    bool all = getenv("HONE_TEST_LONG") != NULL;
    append_start("a", 1e-3);
    append_steps("a", 1, STEPS, 2);
    for (int i = 0; i < (all ? 300 : 12); i++) {
        pid_t child = fork();
        if (child == 0) {
            hone_store *store;
            char *path = hone_store_path_in(folder), *run = place("a");
            if (hone_store_open(&store, path, true) == HONE_OK) hone_store_import(store, run, NULL);
            _exit(0);
        }
        uint32_t bits[4];
        hone_rng_block(3, HONE_RNG_TEST, 9, (uint64_t)i, bits);
        usleep(bits[0] % 20000);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        if (i % 4 == 3) append_steps("a", STEPS + i, STEPS + i, 2);
    }
    hone_store *store = open_store(true);
    char *dir = place("a");
    assert_int_equal(hone_store_import(store, dir, NULL), HONE_OK);
    assert_int_equal(look(store, 1).count, STEPS + (all ? 75 : 3));
    json_t *runs;
    assert_int_equal(hone_store_runs(store, &runs), HONE_OK);
    assert_int_equal(json_array_size(runs), 1);
    json_decref(runs);
    hone_store_close(store);
    hone_free(dir);
    remove_run("a");
    remove_store();
}

typedef struct { hone_store *writer; seen s; } beside;
static void write_between(void *context, int64_t step, const double value[HONE_METRIC_COUNT])
{
    beside *b = context;
    see(&b->s, step, value);
    if (step != 5) return;
    append_steps("a", 101, 150, 2); // in the middle of the reader's query
    import(b->writer, "a", 50);
}

static void test_reader_and_writer_do_not_wait_for_each_other(void **state)
{
    (void)state;
    hone_store *writer = open_store(true);
    append_start("a", 1e-3);
    append_steps("a", 1, 100, 2);
    import(writer, "a", 101);
    hone_store *reader = open_store(false);
    beside b = { .writer = writer };
    assert_int_equal(hone_store_steps(reader, 1, 0, write_between, &b), HONE_OK);
    assert_int_equal(b.s.count, 100);                       // what was there when it began
    assert_int_equal(look(reader, 1).count, 150);           // and now all
    assert_int_not_equal(hone_store_import(reader, folder, NULL), HONE_OK); // readers change nothing
    hone_store_close(reader);
    hone_store_close(writer);
    remove_run("a");
    remove_store();
}

static void test_older_store_gains_the_columns_of_new_metrics(void **state)
{
    (void)state;
    hone_store_close(open_store(true));
    char *path = hone_store_path_in(folder);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "ALTER TABLE steps DROP COLUMN watts", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    hone_store *store = open_store(true);
    append_start("a", 1e-3);
    append_steps("a", 1, 2, 2);
    import(store, "a", 3);
    assert_int_equal(look(store, 1).count, 2);
    hone_store_close(store);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(hone_store_open(&store, path, false), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "newer hone"));
    hone_free(path);
    remove_run("a");
    remove_store();
}

static void test_filters_and_differences(void **state)
{
    (void)state;
    hone_store *store = open_store(true);
    append_start("a", 1e-3);
    append_start("b", 3e-3);
    append_steps("a", 1, 4, 2);
    import(store, "a", 5);
    import(store, "b", 1);
    json_t *a, *b, *rows;
    assert_int_equal(hone_store_find(store, "a", &a), HONE_OK);
    assert_int_equal(hone_store_find(store, "b", &b), HONE_OK);
    static const struct { const char *filter; bool of_a, of_b; } cases[] = {
        { "learning_rate=1e-3", true, false }, { "learning_rate!=0.001", false, true }, { "learning_rate>1e-3", false, true },
        { "learning_rate>=1e-3", true, true }, { "learning_rate<1e-3", false, false }, { "recipe.model.hidden_size<=32", true, true },
        { "name=b", false, true }, { "loss<100", true, false }, { "no_such_key=1", false, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool of_a, of_b;
        assert_int_equal(hone_run_matches(a, cases[i].filter, &of_a), HONE_OK);
        assert_int_equal(hone_run_matches(b, cases[i].filter, &of_b), HONE_OK);
        if (of_a != cases[i].of_a || of_b != cases[i].of_b) fail_msg("%s: %d %d", cases[i].filter, of_a, of_b);
    }
    bool unused;
    assert_int_equal(hone_run_matches(a, "learning_rate", &unused), HONE_USAGE);
    assert_int_equal(hone_run_diff(a, b, &rows), HONE_OK);
    assert_int_equal(json_array_size(rows), 3); // learning_rate; a has steps and a loss
    assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 0), "key")), "learning_rate");
    json_decref(rows);
    json_decref(a);
    json_decref(b);
    assert_int_equal(hone_store_find(store, "c", &a), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "has no run c"));
    hone_store_close(store);
    remove_run("a");
    remove_run("b");
    remove_store();
}

// Each allocation of opening, importing and reading fails in turn, SQLite's own among them: a clean error or a success, and
// in the end each row is there once.
static hone_status open_import_read(void)
{
    hone_store *store;
    json_t *runs = NULL;
    char *path = hone_store_path_in(folder), *run = hone_format("%s/a", folder);
    hone_status status = path && run ? hone_store_open(&store, path, true) : HONE_FAILED;
    if (!status) {
        status = hone_store_import(store, run, NULL);
        if (!status) status = hone_store_runs(store, &runs);
        json_decref(runs);
        hone_store_close(store);
    }
    hone_free(path);
    hone_free(run);
    return status;
}

static void test_each_allocation_failing_in_turn_loses_and_doubles_nothing(void **state)
{
    (void)state;
    bool all = getenv("HONE_TEST_LONG") != NULL;
    append_start("a", 1e-3);
    append_steps("a", 1, 20, 2);
    append("a", "{\"event\":\"eval\",\"step\":20,\"loss\":2.25}\n");
    hone_test_fail(HONE_CALL_ALLOC, 0);
    assert_int_equal(open_import_read(), HONE_OK);
    int64_t count = hone_test_fail_end();
    remove_store();
    assert_true(count > 100);
    for (int64_t n = 1; n <= count; n += all ? 1 : 1 + count / 150) {
        hone_error_clear();
        hone_test_fail(HONE_CALL_ALLOC, n);
        hone_status status = open_import_read();
        hone_test_fail_end();
        if (status && !*hone_error()) fail_msg("allocation %lld failed without a message", (long long)n);
        if (n % 7 == 0) continue; // the next round goes on with what this one left
        hone_store *store = open_store(true);
        char *run = hone_format("%s/a", folder);
        if (hone_store_import(store, run, NULL)) fail_msg("behind allocation %lld: %s", (long long)n, hone_error());
        assert_int_equal(look(store, 1).count, 20);
        json_t *runs;
        if (hone_store_runs(store, &runs)) fail_msg("behind allocation %lld: %s", (long long)n, hone_error());
        assert_int_equal(json_array_size(runs), 1);
        json_decref(runs);
        hone_free(run);
        hone_store_close(store);
        remove_store();
    }
    remove_run("a");
    remove_store();
}

// --- real runs --------------------------------------------------------------------------------------------------------

static const char *const more = "per_device_train_batch_size: 2\nmax_steps: 12\neval_steps: 6\nlogging_steps: 1\nsave_steps: 5\n";

static void test_run_is_listed_shown_and_compared(void **state)
{
    (void)state;
    char *recipe = run_rig_recipe_file(folder, more), *other = hone_format("output_dir=%s/other", folder), *output;
    assert_int_equal(verb(NULL, (const char *[]){ "pretrain", recipe, NULL }), 0);
    assert_int_equal(verb(NULL, (const char *[]){ "pretrain", recipe, other, "learning_rate=5e-3", NULL }), 0);
    verb_must("12/12", (const char *[]){ "runs", "--dir", folder, NULL });
    verb_must("other", (const char *[]){ "runs", "--dir", folder, "state=ended", "learning_rate=5e-3", NULL });
    verb_must("program_hash", (const char *[]){ "runs", "list", "--dir", folder, "--json", NULL });
    verb_must("newest events", (const char *[]){ "runs", "show", "--dir", folder, "out", NULL });
    verb_must("\"events\"", (const char *[]){ "runs", "show", "--dir", folder, "--json", "2", NULL });
    verb_must("learning_rate", (const char *[]){ "runs", "diff", "--dir", folder, "out", "other", NULL });
    verb_must("no difference", (const char *[]){ "runs", "diff", "--dir", folder, "1", "1", NULL });
    verb_must("0 new rows", (const char *[]){ "runs", "import", folder, NULL });
    assert_int_equal(verb(&output, (const char *[]){ "runs", "--dir", "/no/such/folder", NULL }), 1);
    assert_non_null(strstr(output, "no run store"));
    hone_free(output);
    hone_store *store = open_store(false); // what the store holds is what the log says
    json_t *run, *events;
    assert_int_equal(hone_store_find(store, "other", &run), HONE_OK);
    assert_string_equal(json_string_value(hone_run_value(run, "state")), "ended");
    assert_int_equal(look(store, 2).count, 12);
    assert_int_equal(hone_store_events(store, 2, "save", 0, &events), HONE_OK);
    assert_int_equal(json_array_size(events), 3); // steps 5, 10, 12
    json_decref(events);
    json_decref(run);
    hone_store_close(store);
    remove_run("out");
    remove_run("other");
    remove_store();
    hone_free(recipe);
    hone_free(other);
}

static void test_four_runs_at_once_share_the_store(void **state)
{
    (void)state;
    enum { RUNS = 4 };
    char *recipe = run_rig_recipe_file(folder, more), *out[RUNS];
    verb_run run[RUNS];
    for (int i = 0; i < RUNS; i++) {
        out[i] = hone_format("output_dir=%s/at-once-%d", folder, i);
        verb_start(&run[i], (const char *[]){ "pretrain", recipe, out[i], "threads=1", NULL });
    }
    for (int i = 0; i < RUNS; i++) {
        if (verb_finish(&run[i]) || strstr(run[i].output, "warning")) fail_msg("%s", run[i].output);
        hone_free(run[i].output);
    }
    hone_store *store = open_store(false);
    json_t *runs;
    assert_int_equal(hone_store_runs(store, &runs), HONE_OK);
    assert_int_equal(json_array_size(runs), RUNS);
    for (int i = 0; i < RUNS; i++) {
        assert_int_equal(look(store, i + 1).count, 12);
        assert_string_equal(json_string_value(hone_run_value(json_array_get(runs, (size_t)i), "state")), "ended");
        remove_run(strrchr(out[i], '/') + 1);
        hone_free(out[i]);
    }
    json_decref(runs);
    hone_store_close(store);
    remove_store();
    hone_free(recipe);
}

static void check_run_went_on(const char *recipe, const char *why)
{
    char *output, *log = place("out/log.jsonl"), *text;
    size_t size;
    int code = verb(&output, (const char *[]){ "pretrain", recipe, NULL });
    if (code || count_in(output, "the run store is not kept up") != 1 || !strstr(output, why)) fail_msg("exit code %d: %s", code, output);
    assert_int_equal(hone_file_read(log, &text, &size), HONE_OK);
    assert_int_equal(count_in(text, "\"event\":\"step\""), 12);
    assert_int_equal(count_in(text, "\"event\":\"end\""), 1);
    hone_free(text);
    hone_free(output);
    hone_free(log);
}

static void test_damaged_store_costs_a_warning_and_is_made_anew_from_logs(void **state)
{
    (void)state;
    char *recipe = run_rig_recipe_file(folder, more), *path = hone_store_path_in(folder);
    char junk[4096];
    memset(junk, 'x', sizeof junk);
    assert_int_equal(hone_file_write(path, junk, sizeof junk), HONE_OK);
    check_run_went_on(recipe, "it is damaged");
    remove_store();
    verb_must("1 logs, ", (const char *[]){ "runs", "import", folder, NULL });
    verb_must("12/12", (const char *[]){ "runs", "--dir", folder, NULL });
    remove_run("out");
    remove_store();
    hone_free(recipe);
    hone_free(path);
}

static void test_locked_store_costs_a_warning_and_catches_up(void **state)
{
    (void)state;
    char *recipe = run_rig_recipe_file(folder, more), *path = hone_store_path_in(folder);
    hone_store_close(open_store(true));
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    check_run_went_on(recipe, "another program holds it");
    assert_int_equal(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    verb_must("1 logs, ", (const char *[]){ "runs", "import", folder, NULL });
    verb_must("12/12", (const char *[]){ "runs", "--dir", folder, NULL });
    remove_run("out");
    remove_store();
    verb_must("loss", (const char *[]){ "pretrain", recipe, "run_store=none", NULL });
    assert_false(hone_file_exists(path));
    hone_free(recipe);
    hone_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_row_arrives_once_and_a_line_being_written_waits),
        cmocka_unit_test(test_resume_drops_the_steps_that_it_repeats),
        cmocka_unit_test(test_importer_killed_at_random_moments_takes_each_row_once),
        cmocka_unit_test(test_reader_and_writer_do_not_wait_for_each_other),
        cmocka_unit_test(test_older_store_gains_the_columns_of_new_metrics),
        cmocka_unit_test(test_filters_and_differences),
        cmocka_unit_test(test_each_allocation_failing_in_turn_loses_and_doubles_nothing),
        cmocka_unit_test(test_run_is_listed_shown_and_compared),
        cmocka_unit_test(test_four_runs_at_once_share_the_store),
        cmocka_unit_test(test_damaged_store_costs_a_warning_and_is_made_anew_from_logs),
        cmocka_unit_test(test_locked_store_costs_a_warning_and_catches_up),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
