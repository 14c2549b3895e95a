// test_capture.c: which runs are walked, captured and replayed (graph/capture.h), on backend cuda over the stub of its driver: a table of
// runs with what must happen in each, and behind each the bits of the same run in the emulator, which captures nothing. The program adds
// to a table, so a run too many or too few shows as well as one that used the numbers of another.
#include "graph/capture.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/stub.h"
#include <string.h>

enum { ROWS = 24, WORDS = 11, WIDTH = 8 };

typedef struct adder {
    hone_graph *graph;
    hone_session session;
    hone_tid count, ids, x, table, y;
    int64_t nodes;
} adder;

static hone_tid tensor(hone_graph *graph, hone_class cls, hone_dtype dtype, int64_t rows, int64_t columns, hone_tid live, const char *name)
{
    const hone_tid id = hone_graph_tensor(graph, cls, dtype, columns ? 2 : 1, (int64_t[]){ rows, columns }, "%s", name);
    hone_at(graph, id)->live = live;
    return id;
}

// y = 3 x;  table[ids[n]] += y[n], for the rows that live
static void open_adder(adder *a, const char *backend)
{
    hone_graph *g = a->graph = hone_graph_new();
    hone_graph_program(g, "add");
    a->count = tensor(g, HONE_CLASS_input, HONE_i32, 1, 0, HONE_NONE, "count");
    a->ids = tensor(g, HONE_CLASS_input, HONE_i32, ROWS, 0, a->count, "ids");
    a->x = tensor(g, HONE_CLASS_input, HONE_f32, ROWS, WIDTH, a->count, "x");
    a->table = tensor(g, HONE_CLASS_grad, HONE_f32, WORDS, WIDTH, HONE_NONE, "table");
    a->y = hone_graph_add(g, HONE_OP_scale, &(hone_attr){ .scale = 3 }, (hone_tid[]){ a->x }, (hone_tid[]){ HONE_NONE })->out[0];
    hone_at(g, a->y)->cls = HONE_CLASS_output;
    hone_graph_add(g, HONE_OP_embed_dw, &(hone_attr){ 0 }, (hone_tid[]){ a->ids, a->y }, (hone_tid[]){ a->table });
    a->nodes = g->program[0].count;
    must(hone_session_open(&a->session, g, &(hone_session_options){ .backend = backend }));
}

static void close_adder(adder *a)
{
    hone_session_close(&a->session);
    hone_graph_free(a->graph);
}

static void fill(adder *a, int rows, int number)
{
    int32_t *ids = hone_session_data(&a->session, a->ids);
    float *x = hone_session_data(&a->session, a->x);
    *(int32_t *)hone_session_data(&a->session, a->count) = rows;
    for (int n = 0; n < ROWS; n++) ids[n] = (n * 5 + number) % WORDS;
    for (int i = 0; i < ROWS * WIDTH; i++) x[i] = (float)(i % 13) / 7 + (float)number;
}

typedef enum { WALKED, CAPTURED, REPLAYED } happening;
static const char *const title[] = { "walked", "captured", "replayed" };
typedef struct { int rows; happening what; bool parts; } row;     // parts: node by node, two keys of their own

static happening happened(const hone_capture_counts *before, const hone_capture_counts *after)
{
    return after->walked > before->walked ? WALKED : after->captured > before->captured ? CAPTURED : REPLAYED;
}

static void run(adder *a, const row *r)
{
    if (!r->parts) must(hone_session_run(&a->session, "add"));
    for (int64_t n = 0; r->parts && n < a->nodes; n++) must(hone_session_run_part(&a->session, "add", n, n + 1));
}

static bool same_bits(const void *a, const void *b, size_t size) { return memcmp(a, b, size) == 0; }

static void check_table(const row *list, int n, hone_capture_counts *counts)
{
    adder cuda, emulated;
    float got[WORDS * WIDTH];
    open_adder(&cuda, "cuda");
    open_adder(&emulated, HONE_BINARY_DIR "/cuda_emulated_backend.so");
    for (int i = 0; i < n; i++) {
        const hone_capture_counts before = *hone_capture_counted(&cuda.session, "add");
        fill(&cuda, list[i].rows, i), fill(&emulated, list[i].rows, i);
        run(&cuda, &list[i]), run(&emulated, &list[i]);
        const happening what = happened(&before, hone_capture_counted(&cuda.session, "add"));
        if (what != list[i].what) fail_msg("run %d, of %d rows, was %s; it should be %s", i, list[i].rows, title[what], title[list[i].what]);
        must(hone_session_read(&cuda.session, cuda.table, 0, sizeof got, got));
        if (!same_bits(got, hone_session_data(&emulated.session, emulated.table), sizeof got)) fail_msg("run %d, of %d rows, %s: sums differ", i, list[i].rows, title[what]);
        assert_memory_equal(hone_session_data(&cuda.session, cuda.y), hone_session_data(&emulated.session, emulated.y), (size_t)(list[i].rows * WIDTH) * sizeof(float));
    }
    *counts = *hone_capture_counted(&cuda.session, "add");
    assert_int_equal(hone_capture_counted(&emulated.session, "add")->walked, counts->walked + counts->replayed);
    close_adder(&cuda);
    close_adder(&emulated);
}

static void test_a_run_is_captured_when_its_rows_return(void **state)
{
    (void)state;
    static const row list[] = { { 2, WALKED, false }, { 2, CAPTURED, false }, { 2, REPLAYED, false }, { 5, WALKED, false }, { 2, REPLAYED, false },
                                { 5, CAPTURED, false }, { 5, REPLAYED, false }, { 0, WALKED, false }, { 0, CAPTURED, false }, { 2, REPLAYED, false } };
    hone_capture_counts counts;
    check_table(list, sizeof list / sizeof *list, &counts);
    assert_int_equal(counts.captured, 3);
    assert_int_equal(counts.replayed, 7);
    assert_int_equal(counts.forgotten, 0);
}

static void test_parts_of_a_program_are_runs_of_their_own(void **state)
{
    (void)state;
    static const row list[] = { { 3, WALKED, false }, { 3, WALKED, true }, { 3, CAPTURED, true }, { 3, CAPTURED, false }, { 3, REPLAYED, true } };
    hone_capture_counts counts;
    check_table(list, sizeof list / sizeof *list, &counts);
    assert_int_equal(counts.captured, 3);
}

// More numbers of rows than are kept: the one that ran longest ago begins anew, the others do not.
static void test_the_run_longest_ago_is_forgotten(void **state)
{
    (void)state;
    enum { K = HONE_CAPTURE_KEYS };
    row list[2 * K + 5];
    int n = 0;
    for (int k = 0; k < 2 * K; k++) list[n++] = (row){ 1 + k / 2, k % 2 ? CAPTURED : WALKED, false };
    list[n++] = (row){ 1, REPLAYED, false };         // the oldest is 2 now
    list[n++] = (row){ K + 1, WALKED, false };       // in place of 2
    list[n++] = (row){ 1, REPLAYED, false };
    list[n++] = (row){ 2, WALKED, false };           // in place of 3
    list[n++] = (row){ 2, CAPTURED, false };
    hone_capture_counts counts;
    check_table(list, n, &counts);
    assert_int_equal(counts.forgotten, 2);
    assert_int_equal(counts.captured, K + 1);
}

int main(void)
{
    if (!stub_use("captures")) return 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_run_is_captured_when_its_rows_return),
        cmocka_unit_test(test_parts_of_a_program_are_runs_of_their_own),
        cmocka_unit_test(test_the_run_longest_ago_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
