// Mixtures: the shares are exact, the order is the recipe's alone, nothing is seen twice before all was seen once; and what
// is wrong in a recipe is named with its line.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "base/file.h"
#include "data/mixture.h"

#include <math.h>

enum { T = 16, SOURCES = 3 };
static const int rows_of[SOURCES] = { 40, 25, 300 };

// Source s holds rows_of[s] rows; every id of row w is s * 1000 + w.
static int make(void **state)
{
    if (test_folder_make(state)) return 1;
    for (int s = 0; s < SOURCES; s++) {
        uint16_t *ids = hone_alloc((size_t)rows_of[s] * T + 1, sizeof *ids);
        for (int i = 0; i <= rows_of[s] * T; i++) ids[i] = (uint16_t)(s * 1000 + i / T);
        must(hone_file_write(test_path((const char *[]){ "a.u16", "b.u16", "c.u16" }[s]), ids, ((size_t)rows_of[s] * T + 1) * sizeof *ids));
        hone_free(ids);
    }
    return 0;
}

static hone_recipe recipe;
static hone_mixture mixture;

// `$` stands for the folder of the test.
static hone_status load(const char *yaml, int64_t step_rows)
{
    hone_buffer text = { 0 };
    for (const char *p = yaml; *p; p++) must(*p == '$' ? hone_buffer_print(&text, "%s", test_folder()) : hone_buffer_append(&text, p, 1));
    must(hone_file_write(test_path("recipe.yaml"), text.data, text.size));
    hone_buffer_release(&text);
    hone_status status = hone_recipe_load(&recipe, test_path("recipe.yaml"), 0, NULL);
    if (status) return status;
    status = hone_mixture_parse(&mixture, &recipe);
    hone_loader_options common = { .split = HONE_SPLIT_TRAIN, .seed = 3, .window = T, .vocab = 5000, .eos = -1 };
    if (!status) status = hone_mixture_open(&mixture, &recipe, &common, step_rows);
    return status;
}

static void unload(void)
{
    hone_mixture_close(&mixture);
    hone_recipe_release(&recipe);
}

static void take(int64_t rows, int *first) // first[r]: the first id of row r
{
    int32_t ids[T * 64];
    hone_batch batch = { .ids = ids };
    assert_true(rows <= 64);
    must(hone_mixture_next(&mixture, rows, &batch));
    for (int64_t r = 0; r < rows; r++) first[r] = ids[r * T];
}

static const char three[] = "datasets:\n  - {path: $/a.u16, weight: 0.5}\n  - {path: $/b.u16, weight: 0.3}\n  - path: $/c.u16\n    weight: 0.2\n    name: last\n";

static void test_shares_are_exact_to_a_row_at_every_moment(void **state)
{
    (void)state;
    static const double share[SOURCES] = { 0.5, 0.3, 0.2 };
    int count[SOURCES] = { 0 };
    must(load(three, 8));
    for (int r = 1; r <= 2000; r++) {
        int first;
        take(1, &first);
        count[first / 1000]++;
        for (int s = 0; s < SOURCES; s++)
            if (fabs(count[s] - share[s] * r) > 1.0) fail_msg("row %d: %d of source %d, its share is %g", r, count[s], s, share[s] * r);
    }
    for (int s = 0; s < SOURCES; s++) assert_int_equal(hone_mixture_tokens(&mixture, s), count[s] * T);
    assert_int_equal(hone_mixture_tokens_seen(&mixture), 2000 * T);
    assert_string_equal(mixture.source[0].name, "a.u16");
    assert_string_equal(mixture.source[2].name, "last");
    unload();
}

static void test_a_source_is_seen_whole_before_any_of_it_is_seen_again(void **state)
{
    (void)state;
    int *seen = hone_alloc(SOURCES * 1000, sizeof *seen), passes[SOURCES] = { 0 }, left[SOURCES], changed = 0, before = -1;
    must(load(three, 8));
    memcpy(left, rows_of, sizeof left);
    for (int r = 0; r < 1000; r++) {
        int first;
        take(1, &first);
        int s = first / 1000;
        assert_true(seen[first]++ == passes[s]); // not seen in this pass yet
        if (--left[s] == 0) { left[s] = rows_of[s]; passes[s]++; }
        changed += s == 2 && first != before + 1; // shuffled, not as it lies
        if (s == 2) before = first;
    }
    assert_true(passes[0] > 5 && passes[1] > 5 && changed > 150);
    hone_free(seen);
    unload();
}

static void test_ranks_batches_and_resumes_see_the_same_rows(void **state)
{
    (void)state;
    enum { N = 600 };
    int all[N], other[N];
    static const char *const recipes[] = { three,
        "datasets:\n- {path: $/a.u16, weight: [[0, 1], [40, 0.1]], to_step: 50}\n- {path: $/b.u16, weight: [[0, 0], [50, 2]], epochs: 6}\n- {path: $/c.u16, weight: 0.3, from_step: 10}\n" };
    for (int k = 0; k < 2; k++) {
        must(load(recipes[k], 8));
        for (int r = 0; r < N; r += 8) take(8, all + r);
        hone_mixture_seek(&mixture, 0);
        for (int r = 0; r < N;) { // other splits, some across steps
            int n = 1 + r % 7 < N - r ? 1 + r % 7 : N - r;
            take(n, other + r);
            r += n;
        }
        assert_memory_equal(all, other, sizeof all);
        for (int from = 0; from < N - 8; from += 53) { // forwards, backwards and from nothing
            hone_mixture_seek(&mixture, from % 2 ? from : N - 8 - from);
            take(8, other);
            assert_memory_equal(all + (from % 2 ? from : N - 8 - from), other, 8 * sizeof *all);
        }
        unload();
        must(load(recipes[k], 8));
        hone_mixture_seek(&mixture, 311); // as a run does that is gone on with
        take(64, other);
        assert_memory_equal(all + 311, other, 64 * sizeof *all);
        for (int rank = 0; rank < 2; rank++) // rank of two: every second row of a step
            for (int step = 0; step < 10; step++)
                for (int r = rank; r < 8; r += 2) {
                    hone_mixture_seek(&mixture, step * 8 + r);
                    take(1, other);
                    assert_int_equal(other[0], all[step * 8 + r]);
                }
        unload();
    }
}

static void test_schedules_and_caps_turn_the_mixture(void **state)
{
    (void)state;
    // general first, domain rising from step 10 to 20; 10 rows a step
    must(load("datasets:\n- {path: $/c.u16, weight: [[10, 1], [20, 0]]}\n- {path: $/a.u16, weight: [[10, 0], [20, 1]]}\n- {path: $/b.u16, weight: 1, from_step: 30, epochs: 2}\n", 10));
    for (int step = 0; step < 60; step++) {
        int first[10], of_a = 0, of_b = 0;
        take(10, first);
        for (int r = 0; r < 10; r++) { of_a += first[r] / 1000 == 0; of_b += first[r] / 1000 == 1; }
        double want = step <= 10 ? 0 : step >= 20 ? 10 : step - 10.0;
        if (step < 30) assert_true(fabs(of_a - want) <= 1.0);
        if (step < 30) assert_int_equal(of_b, 0);
        if (step >= 30 && step < 40) assert_int_equal(of_b, 5);     // half of what a and b weigh together
        if (step >= 40) assert_int_equal(of_b, 0);                  // 2 x 25 rows are given: used up
    }
    assert_int_equal(hone_mixture_tokens(&mixture, 1 + 1), 50 * T);
    unload();
    must(load("datasets:\n- {path: $/a.u16, epochs: 2}\n- {path: $/b.u16, epochs: 1}\n", 5));
    assert_int_equal(hone_mixture_most_rows(&mixture), 105);
    must(hone_mixture_check(&mixture, &recipe, 21));
    assert_int_equal(hone_mixture_check(&mixture, &recipe, 22), HONE_FAILED);
    int first[64];
    take(64, first);
    take(41, first);
    hone_batch batch = { 0 };
    assert_int_equal(hone_mixture_next(&mixture, 1, &batch), HONE_FAILED);
    assert_int_equal(mixture.now.row, 105); // did not move
    unload();
}

static void test_mistakes_are_named_with_their_line(void **state)
{
    (void)state;
    static const struct { const char *yaml, *message; } rows[] = {
        { "datasets:\n- {path: $/a.u16, weight: 0}\n", "recipe.yaml:2: weight 0 must be positive" },
        { "datasets:\n- path: $/a.u16\n  weight: -1\n", "recipe.yaml:3: weight -1 must be positive" },
        { "datasets:\n- path: $/a.u16\n  weight: [[0, 0], [5, 0]]\n", "recipe.yaml:3: weight is 0 at every step" },
        { "datasets:\n- path: $/a.u16\n  weight: [[5, 1], [5, 2]]\n", "rising steps" },
        { "datasets:\n- path: $/a.u16\n  weight: heavy\n", "recipe.yaml:3: weight must be a positive number" },
        { "datasets:\n- path: $/a.u16\n  wieght: 1\n", "recipe.yaml:3: wieght is not a key of a source of datasets; did you mean weight?" },
        { "datasets:\n- weight: 1\n", "source 1 has no path" },
        { "datasets:\n- path: $/none\n", "recipe.yaml:2: " },
        { "datasets:\n- path: $/a.u16\n- path: $/a.u16\n", "recipe.yaml:3: two sources are called a.u16" },
        { "datasets:\n- path: $/a.u16\n  epochs: 0\n", "recipe.yaml:3: epochs must be a positive number" },
        { "datasets:\n- path: $/a.u16\n  epochs: 0.001\n", "recipe.yaml:3: epochs 0.001 of 40 rows are less than one row" },
        { "datasets:\n- path: $/a.u16\n  from_step: 5\n  to_step: 5\n", "recipe.yaml:4: to_step must lie behind from_step" },
        { "datasets: $/a.u16\n", "is not a list of maps" },
        { "datasets:\n- $/a.u16\n", "recipe.yaml:2: datasets: item 1 is not a map" },
        { "dataset: x\ndatasets:\n- path: $/a.u16\n", "dataset and datasets are both given" },
        { "cutoff_len: 3\n", "no dataset" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (load(rows[i].yaml, 8) == HONE_OK) fail_msg("read: %s", rows[i].yaml);
        if (!strstr(hone_error(), rows[i].message)) fail_msg("\"%s\" does not say \"%s\"", hone_error(), rows[i].message);
        unload();
    }
    must(hone_file_write(test_path("tiny.u16"), "\1\0\2\0", 4));
    assert_int_equal(load("datasets:\n- path: $/a.u16\n- path: $/tiny.u16\n", 8), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "recipe.yaml:3: ")); // a source smaller than a sequence
    assert_non_null(strstr(hone_error(), "has 2 tokens, but one row of 16 needs 17"));
    unload();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares_are_exact_to_a_row_at_every_moment), cmocka_unit_test(test_a_source_is_seen_whole_before_any_of_it_is_seen_again),
        cmocka_unit_test(test_ranks_batches_and_resumes_see_the_same_rows), cmocka_unit_test(test_schedules_and_caps_turn_the_mixture),
        cmocka_unit_test(test_mistakes_are_named_with_their_line),
    };
    return cmocka_run_group_tests(tests, make, test_folder_remove);
}
