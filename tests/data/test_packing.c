// Rows of whole documents: every pair of neighbours once, tight rows, and a row is a function of its number.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "data/loader.h"
#include "data/writer.h"
#include <math.h>

enum { T = 16, VOCAB = 30000 };

// A data set of documents of these lengths; token = its position.
static void make_set(const char *name, const int64_t *length, int64_t count)
{
    hone_dataset_writer writer;
    must(hone_dir_remove(test_path(name)));
    must(hone_dataset_writer_open(&writer, test_path(name), VOCAB, 99, -1, 1000, NULL));     // several shards
    for (int64_t d = 0, at = 0; d < count; at += length[d++]) {
        int32_t *tokens = hone_alloc((size_t)length[d], sizeof *tokens);
        for (int64_t i = 0; i < length[d]; i++) tokens[i] = (int32_t)(at + i);
        must(hone_dataset_writer_add(&writer, HONE_SPLIT_TRAIN, tokens, length[d], length[d], 0));
        hone_free(tokens);
    }
    must(hone_dataset_writer_finish(&writer, NULL));
}

static void open_loader(hone_loader *loader, const char *name, hone_order order, bool isolation)
{
    must(hone_loader_open(loader, &(hone_loader_options){ .path = test_path(name), .order = order, .seed = 3, .window = T, .vocab = VOCAB, .eos = -1,
                                                          .isolation = isolation, .strategy = HONE_PACK_WHOLE }));
}

enum { DOCUMENTS = 300 };
static int64_t some_length(int64_t d) { return 1 + d * 7 % 40; }    // 1 .. 40: a row holds documents of up to 17 tokens whole

static int make(void **state)
{
    int64_t length[DOCUMENTS];
    if (test_folder_make(state)) return -1;
    for (int64_t d = 0; d < DOCUMENTS; d++) length[d] = some_length(d);
    make_set("set", length, DOCUMENTS);
    return 0;
}

typedef struct { int32_t ids[T], target[T], pos[T], lo[T], hi[T]; float weight[T]; hone_batch batch; } arrays;
static void init(arrays *a)
{
    memset(a, 0xee, sizeof *a);
    a->batch = (hone_batch){ .ids = a->ids, .target = a->target, .pos = a->pos, .lo = a->lo, .hi = a->hi, .weight = a->weight };
}

// Each token but a document's last is an input once, its target the next; a document that fits lies in one row, seen from its start.
static void test_documents_lie_whole_in_rows(void **state)
{
    (void)state;
    static bool seen[VOCAB];
    hone_loader loader;
    open_loader(&loader, "set", HONE_ORDER_ONCE, true);
    int64_t pairs = 0, padding = 0, cut = 0;
    for (int64_t r = 0; r < loader.windows; r++) {
        arrays a;
        init(&a);
        must(hone_loader_next(&loader, 1, &a.batch));
        assert_int_equal(a.batch.trained, hone_loader_used(&loader, r));
        for (int64_t t = 0; t < T; t++) {
            assert_int_equal(a.hi[t], t + 1);
            assert_int_equal(a.pos[t], t - a.lo[t]);
            if (a.weight[t] == 0) {
                assert_true(t >= hone_loader_used(&loader, r) && a.lo[t] == t && a.ids[t] == 0 && a.target[t] == 0);
                assert_int_equal(hone_loader_position(&loader, r, t), -1);
                padding++;
                continue;
            }
            assert_int_equal(a.target[t], a.ids[t] + 1);
            assert_int_equal(a.ids[t] - a.pos[t], a.ids[a.lo[t]]);
            assert_int_equal(hone_loader_position(&loader, r, t), a.ids[t]);
            assert_false(seen[a.ids[t]]);
            seen[a.ids[t]] = true;
            pairs++;
        }
    }
    for (int64_t d = 0, at = 0; d < DOCUMENTS; at += some_length(d++)) {
        for (int64_t i = 0; i < some_length(d); i++) assert_int_equal(seen[at + i], i < some_length(d) - 1);
        cut += some_length(d) > T + 1;
    }
    assert_int_equal(pairs, loader.packing.n_pairs);
    assert_int_equal(cut, loader.packing.cut);
    assert_true(fabs(hone_loader_padding(&loader) - (double)padding / (double)(pairs + padding)) < 1e-12);
    assert_true(hone_loader_padding(&loader) < 0.02);
    arrays a;
    init(&a);
    must(hone_loader_next(&loader, 1, &a.batch));       // behind the last row: nothing but padding
    assert_int_equal(a.batch.trained, 0);
    hone_loader_close(&loader);
}

static int64_t rows_of(const int64_t *pairs, int64_t count)
{
    int64_t length[16], rows;
    hone_loader loader;
    for (int64_t i = 0; i < count; i++) length[i] = pairs[i] + 1;
    make_set("few", length, count);
    open_loader(&loader, "few", HONE_ORDER_ONCE, true);
    rows = loader.windows;
    hone_loader_close(&loader);
    return rows;
}

// The second list is one that first fit, without the sorting, spreads over three rows; the third fills both its rows.
static void test_rows_are_as_few_as_best_fit_makes_them(void **state)
{
    (void)state;
    assert_int_equal(rows_of((const int64_t[]){ 16, 16, 16 }, 3), 3);
    assert_int_equal(rows_of((const int64_t[]){ 4, 5, 12, 11 }, 4), 2);
    assert_int_equal(rows_of((const int64_t[]){ 9, 10, 6, 2, 2, 2, 1 }, 7), 2);
    assert_int_equal(rows_of((const int64_t[]){ 40, 8 }, 2), 3);        // 16, 16, 8 and 8
    assert_int_equal(rows_of((const int64_t[]){ 0, 0, 1 }, 3), 1);      // documents of one token foretell nothing
}

// Each epoch shows every row once in an order of its own; any row can be read at any time.
static void test_epochs_shuffle_the_rows(void **state)
{
    (void)state;
    hone_loader all, shuffled;
    open_loader(&all, "set", HONE_ORDER_ONCE, false);
    open_loader(&shuffled, "set", HONE_ORDER_SHUFFLED, false);
    int64_t changed = 0, *first = hone_alloc((size_t)all.windows, sizeof *first);
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        bool *seen = hone_alloc((size_t)all.windows, 1);
        for (int64_t r = 0; r < all.windows; r++) {
            arrays a, again;
            int64_t which = -1;
            init(&a), init(&again);
            must(hone_loader_next(&shuffled, 1, &a.batch));
            for (int64_t k = 0; k < all.windows && which < 0; k++)
                if (hone_loader_position(&all, k, 0) == a.ids[0]) which = k;
            assert_true(which >= 0 && !seen[which]);
            seen[which] = true;
            must(hone_loader_read(&all, which, 0, &again.batch));
            assert_memory_equal(a.ids, again.ids, sizeof a.ids);
            assert_memory_equal(a.lo, again.lo, sizeof a.lo);
            assert_int_equal(a.lo[0] + a.lo[hone_loader_used(&all, which) - 1], 0);    // no isolation: a row is one text
            if (epoch == 0) first[r] = which;
            else changed += first[r] != which;
        }
        hone_free(seen);
    }
    assert_true(changed > all.windows / 2);
    hone_free(first);
    hone_loader_close(&all);
    hone_loader_close(&shuffled);
}

static void test_what_cannot_be_packed_is_refused(void **state)
{
    (void)state;
    hone_loader loader;
    const uint16_t raw[40] = { 0 };
    must(hone_file_write(test_path("raw.u16"), raw, sizeof raw));
    hone_loader_options o = { .path = test_path("raw.u16"), .window = T, .vocab = VOCAB, .eos = -1, .strategy = HONE_PACK_WHOLE };
    assert_int_equal(hone_loader_open(&loader, &o), HONE_FAILED);
    assert_says(hone_error(), "raw.u16: a raw token file has no index of documents");
    o.path = test_path("set"), o.order = HONE_ORDER_SEQUENTIAL;
    assert_int_equal(hone_loader_open(&loader, &o), HONE_FAILED);
    assert_says(hone_error(), "use packing_strategy: wrapped");
    make_set("single", (const int64_t[]){ 1, 1 }, 2);
    o.path = test_path("single"), o.order = HONE_ORDER_ONCE;
    assert_int_equal(hone_loader_open(&loader, &o), HONE_FAILED);
    assert_says(hone_error(), "no document of its split \"train\" has two tokens");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_documents_lie_whole_in_rows),
        cmocka_unit_test(test_rows_are_as_few_as_best_fit_makes_them),
        cmocka_unit_test(test_epochs_shuffle_the_rows),
        cmocka_unit_test(test_what_cannot_be_packed_is_refused),
    };
    return cmocka_run_group_tests(tests, make, test_folder_remove);
}
