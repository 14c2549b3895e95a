// The loader: which tokens a row holds, how documents are kept apart, and that the state is one integer.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "data/loader.h"
#include "data/writer.h"

#define ROOT HONE_BINARY_DIR "/scratch_loader"
enum { N = 1003, EOS = 0, T = 16, ROWS = 5 };

static int32_t tokens[N];   // of the raw file and of the data set: documents of 1, 2, 3 ... 30, 1, 2 ... tokens
static int64_t n_ends, ends[N];

typedef struct { int32_t ids[ROWS * T], target[ROWS * T], pos[ROWS * T], lo[ROWS * T], hi[ROWS * T]; float weight[ROWS * T]; hone_batch batch; } arrays;
static void init(arrays *a)
{
    memset(a, 0xee, sizeof *a);
    a->batch = (hone_batch){ .ids = a->ids, .target = a->target, .pos = a->pos, .lo = a->lo, .hi = a->hi, .weight = a->weight };
}

static int make(void **state)
{
    (void)state;
    hone_dataset_writer writer;
    uint16_t raw[N];
    must(hone_dir_remove(ROOT));
    must(hone_dir_create(ROOT));
    must(hone_dataset_writer_open(&writer, ROOT "/set", 2000, 99, EOS, 100, NULL));
    for (int64_t at = 0, length = 1; at < N; length = length % 30 + 1) {
        int64_t count = length < N - at ? length : N - at;
        for (int64_t i = 0; i < count; i++) tokens[at + i] = (int32_t)(1 + (at + i) % 1500);
        if (count == length) tokens[at + count - 1] = EOS;
        must(hone_dataset_writer_add(&writer, HONE_SPLIT_TRAIN, tokens + at, count, count * 3, 0));
        at += count;
        ends[n_ends++] = at;
    }
    must(hone_dataset_writer_finish(&writer, NULL));
    for (int i = 0; i < N; i++) raw[i] = (uint16_t)tokens[i];
    must(hone_file_write(ROOT "/raw.u16", raw, sizeof raw));
    return 0;
}

static hone_loader_options options(const char *path, hone_order order)
{
    return (hone_loader_options){ .path = path, .order = order, .seed = 3, .window = T, .vocab = 2000, .eos = -1 };
}

// ../shared/bench/peer.py: row r reads T + 1 tokens from (r T) mod (n - T - 1)
static void test_sequential_rows_are_the_peers(void **state)
{
    (void)state;
    hone_loader loader;
    hone_loader_options o = options(ROOT "/raw.u16", HONE_ORDER_SEQUENTIAL);
    must(hone_loader_open(&loader, &o));
    arrays a;
    for (int64_t r = 0; r < 300; r += ROWS) {
        init(&a);
        must(hone_loader_next(&loader, ROWS, &a.batch));
        assert_int_equal(a.batch.trained, ROWS * T);
        for (int b = 0; b < ROWS; b++)
            for (int t = 0; t < T; t++) {
                int64_t start = (r + b) * T % (N - T - 1), n = b * T + t;
                assert_int_equal(a.ids[n], tokens[start + t]);
                assert_int_equal(a.target[n], tokens[start + t + 1]);
                assert_int_equal(a.pos[n], t);
                assert_int_equal(a.lo[n], b * T);
                assert_int_equal(a.hi[n], n + 1);
                assert_true(a.weight[n] == 1.0f);
            }
    }
    assert_int_equal(hone_loader_tokens_seen(&loader), 300 * T);
    assert_string_equal(hone_loader_source(&loader), "raw.u16");
    hone_loader_close(&loader);
}

// Each epoch shows every window once, in an order of its own; another seed, another order.
static void test_shuffled_epochs_are_permutations(void **state)
{
    (void)state;
    int64_t windows = (N - 1) / T, order[2][3][(N - 1) / T];
    for (int seed = 0; seed < 2; seed++) {
        hone_loader loader;
        hone_loader_options o = options(ROOT "/raw.u16", HONE_ORDER_SHUFFLED);
        o.seed = (uint64_t)seed;
        must(hone_loader_open(&loader, &o));
        assert_int_equal(loader.windows, windows);
        for (int epoch = 0; epoch < 3; epoch++) {
            bool seen[(N - 1) / T] = { false };
            for (int64_t r = 0; r < windows; r++) {
                arrays a;
                init(&a);
                must(hone_loader_next(&loader, 1, &a.batch));
                int64_t w = -1;
                for (int64_t k = 0; k < windows; k++)
                    if (memcmp(tokens + k * T, a.ids, T * sizeof *tokens) == 0 && tokens[k * T + T] == a.target[T - 1]) w = k;
                assert_true(w >= 0 && !seen[w]);
                seen[w] = true;
                order[seed][epoch][r] = w;
            }
        }
        assert_true(hone_loader_epochs(&loader) == 3.0);
        hone_loader_close(&loader);
    }
    assert_memory_not_equal(order[0][0], order[0][1], sizeof order[0][0]);
    assert_memory_not_equal(order[0][0], order[1][0], sizeof order[0][0]);
}

static bool is_end(int64_t p) // p: position behind a document
{
    for (int64_t e = 0; e < n_ends; e++)
        if (ends[e] == p) return true;
    return false;
}

// With isolation a token sees its own document only, positions restart, and a closing token is not trained. The prepared
// set knows documents by its index, the raw file by the id that closes them: both say the same.
static void test_documents_are_kept_apart(void **state)
{
    (void)state;
    static const char *const path[2] = { ROOT "/set", ROOT "/raw.u16" };
    for (int raw = 0; raw < 2; raw++) {
        hone_loader loader;
        hone_loader_options o = options(path[raw], HONE_ORDER_SEQUENTIAL);
        o.isolation = true;
        o.eos = raw ? EOS : -1;
        must(hone_loader_open(&loader, &o));
        arrays a;
        for (int64_t r = 0; r < 60; r += ROWS) {
            init(&a);
            must(hone_loader_next(&loader, ROWS, &a.batch));
            int64_t trained = 0;
            for (int b = 0; b < ROWS; b++) {
                int64_t start = (r + b) * T % (N - T - 1), begin = 0;
                for (int t = 0; t < T; t++) {
                    int64_t n = b * T + t;
                    if (t > 0 && is_end(start + t)) begin = t;
                    bool closes = is_end(start + t + 1);
                    assert_int_equal(a.ids[n], tokens[start + t]);
                    assert_int_equal(a.target[n], tokens[start + t + 1]);
                    assert_int_equal(a.lo[n], b * T + begin);
                    assert_int_equal(a.pos[n], t - begin);
                    assert_int_equal(a.hi[n], n + 1);
                    assert_true(a.weight[n] == (closes ? 0.0f : 1.0f));
                    trained += !closes;
                }
            }
            assert_int_equal(a.batch.trained, trained);
        }
        hone_loader_close(&loader);
    }
}

// Any split into micro-batches, and a restart at any row, reads the same rows.
static void test_rows_are_a_function_of_their_number(void **state)
{
    (void)state;
    hone_loader whole, parts;
    hone_loader_options o = options(ROOT "/set", HONE_ORDER_SHUFFLED);
    o.isolation = true;
    must(hone_loader_open(&whole, &o));
    must(hone_loader_open(&parts, &o));
    arrays a, b;
    for (int step = 0; step < 40; step++) {
        init(&a);
        must(hone_loader_next(&whole, ROWS, &a.batch));
        for (int r = 0; r < ROWS; r++) {
            init(&b);
            hone_loader_seek(&parts, step * ROWS + r);
            must(hone_loader_next(&parts, 1, &b.batch));
            assert_memory_equal(b.ids, a.ids + r * T, T * sizeof *a.ids);
            assert_memory_equal(b.target, a.target + r * T, T * sizeof *a.ids);
            assert_memory_equal(b.pos, a.pos + r * T, T * sizeof *a.ids);
            assert_memory_equal(b.weight, a.weight + r * T, T * sizeof *a.weight);
            for (int t = 0; t < T; t++) assert_int_equal(b.lo[t] + r * T, a.lo[r * T + t]);
        }
    }
    hone_loader_close(&whole);
    hone_loader_close(&parts);
}

// Evaluation predicts each token but the first exactly once, and pads what is left.
static void test_once_counts_every_token_once(void **state)
{
    (void)state;
    hone_loader loader;
    hone_loader_options o = options(ROOT "/set", HONE_ORDER_ONCE);
    must(hone_loader_open(&loader, &o));
    assert_int_equal(loader.windows, (N - 2) / T + 1);
    int64_t at = 0;
    for (int64_t r = 0; r < loader.windows + 2 * ROWS; r += ROWS) {
        arrays a;
        init(&a);
        must(hone_loader_next(&loader, ROWS, &a.batch));
        int64_t before = at;
        for (int n = 0; n < ROWS * T; n++) {
            assert_int_equal(a.hi[n], n + 1);
            if (a.weight[n] == 0.0f) {
                assert_int_equal(at, N - 1);
                assert_int_equal(a.lo[n], n);
                assert_true(a.ids[n] == 0 && a.target[n] == 0);
                continue;
            }
            assert_int_equal(a.ids[n], tokens[at++]);
            assert_int_equal(a.target[n], tokens[at]);
        }
        assert_int_equal(a.batch.trained, at - before);
    }
    assert_int_equal(at, N - 1);
    assert_true(hone_loader_bytes_per_token(&loader) == 3.0);
    hone_loader_close(&loader);
}

static void test_short_data_and_bad_sizes_are_refused(void **state)
{
    (void)state;
    hone_loader loader;
    hone_loader_options o = options(ROOT "/set", HONE_ORDER_SHUFFLED);
    o.window = N;
    assert_int_equal(hone_loader_open(&loader, &o), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "has 1003 tokens, but one row of 1003 needs 1004"));
    o.window = N - 1;
    must(hone_loader_open(&loader, &o));
    hone_loader_close(&loader);
    o.window = 0;
    assert_int_equal(hone_loader_open(&loader, &o), HONE_FAILED);
    o.window = T;
    o.split = HONE_SPLIT_HELD;
    assert_int_equal(hone_loader_open(&loader, &o), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "\"held\" has no tokens"));
    bool has;
    must(hone_dataset_has_split(ROOT "/set", HONE_SPLIT_HELD, &has));
    assert_false(has);
    must(hone_dataset_has_split(ROOT "/set", HONE_SPLIT_TRAIN, &has));
    assert_true(has);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequential_rows_are_the_peers),
        cmocka_unit_test(test_shuffled_epochs_are_permutations),
        cmocka_unit_test(test_documents_are_kept_apart),
        cmocka_unit_test(test_rows_are_a_function_of_their_number),
        cmocka_unit_test(test_once_counts_every_token_once),
        cmocka_unit_test(test_short_data_and_bad_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, make, NULL);
}
