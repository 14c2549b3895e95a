// test_cache8.c: what keeping keys and values in 8 bits (graph/kv8.h) costs: how far numbers are off, how far log-probabilities of
// golden models and of a trained one move, and that a scale that is wrong shows; how many bytes it takes.
//
// The bounds are what the formats lose. bf16 rounds x to 8 places: off by 2^-8 / sqrt(3) = 0.23 % of it where a binade begins, half of
// that where it ends, 0.16 % as a root mean square. Codes are off by s / sqrt(12), s = largest / 127: of D normal numbers the largest is
// 2 to 3 times their size for D of 8 to 128: 0.45 % to 0.7 %. So log-probabilities move three to four times as far as with bf16, as far
// as both are small; half and twice that are allowed. A scale that is 5 % off moves them farther.
#include "base/memory.h"
#include "base/rng.h"
#include "graph/fp8.h"
#include "graph/kv8.h"
#include "graph/session.h"
#include "io/hf.h"
#include "model/decoder.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include <math.h>

enum { ROWS = 36, CONTEXT = 64, SLOTS = 2 };

typedef struct bench {
    hone_graph *graph;
    hone_model model;
    hone_session session;
    hone_decode_io io;
} bench;

static void *place(void *session, hone_tid id) { return hone_session_data(session, id); }

static void bench_open(bench *b, const char *folder, const char *backend, hone_dtype cache)
{
    hone_config config;
    *b = (bench){ .graph = hone_graph_new() };
    must(hone_hf_load_config(&config, folder));
    must(hone_model_declare(&b->model, b->graph, &config));
    b->model.cache = cache;
    must(hone_model_build_decode(&b->model, ROWS, ROWS, SLOTS, config.max_positions < CONTEXT ? config.max_positions : CONTEXT, &b->io));
    must(hone_session_open(&b->session, b->graph, &(hone_session_options){ .backend = backend }));
    must(hone_hf_load(&b->model, folder, place, &b->session));
    hone_model_fill_constants(&b->model, place, &b->session);
    must(hone_session_run(&b->session, "refresh"));
}

static void bench_close(bench *b)
{
    hone_session_close(&b->session);
    hone_model_release(&b->model);
    hone_graph_free(b->graph);
}

// Rows [from, to) of a text in slot 1, through a table that is not the identity; log-probabilities of all ids behind each, (to - from, V).
static void read_rows(bench *b, int32_t from, int32_t to, double *logprob)
{
    const hone_decode_io *io = &b->io;
    const int64_t V = b->model.config.vocab;
    int32_t *table = place(&b->session, io->table);
    for (int64_t i = 0; i < io->S * io->blocks; i++) table[i] = (int32_t)(io->S * io->blocks - 1 - i);
    for (int32_t i = 0; i < to - from; i++) {
        const int32_t p = from + i;
        ((int32_t *)place(&b->session, io->ids))[i] = (int32_t)(3 + (p * p * 7 + p * 5) % 125);
        ((int32_t *)place(&b->session, io->pos))[i] = p;
        ((int32_t *)place(&b->session, io->slot))[i] = 1;
        ((int32_t *)place(&b->session, io->cache_row))[i] = (int32_t)(table[io->blocks + p / io->block] * io->block + p % io->block);
        ((int32_t *)place(&b->session, io->lo))[i] = 0;
        ((int32_t *)place(&b->session, io->hi))[i] = p + 1;
        ((int32_t *)place(&b->session, io->wanted))[i] = i;
    }
    *(int32_t *)place(&b->session, io->count) = *(int32_t *)place(&b->session, io->wanted_count) = to - from;
    must(hone_session_run(&b->session, "decode"));
    for (int64_t i = 0; i < to - from; i++) {
        const float *z = (const float *)place(&b->session, io->logits) + i * V;
        double top = (double)z[0], sum = 0;
        for (int64_t v = 0; v < V; v++) top = fmax(top, (double)z[v]);
        for (int64_t v = 0; v < V; v++) sum += exp((double)z[v] - top);
        for (int64_t v = 0; v < V; v++) logprob[i * V + v] = (double)z[v] - top - log(sum);
    }
}

static hone_tid tensor(const bench *b, const char *what, int64_t layer)
{
    char name[40];
    snprintf(name, sizeof name, "cache.%lld%s", (long long)layer, what);
    const hone_tid id = hone_graph_find(b->graph, name);
    assert_int_not_equal(id, HONE_NONE);
    return id;
}

// How far log-probabilities of the second half of the text are, on average over ids weighted by how likely they are, from those with
// keys and values in f32. factor: what the scales of the first half are times, which is 1 where nothing is wrong.
static double moved(const char *folder, const char *backend, hone_dtype cache, float factor)
{
    bench exact, kept;
    double sum = 0;
    bench_open(&exact, folder, backend, HONE_f32);
    bench_open(&kept, folder, backend, cache);
    const int64_t V = exact.model.config.vocab, rows = ROWS - ROWS / 2;
    double *p = malloc((size_t)(ROWS * V) * sizeof *p), *q = malloc((size_t)(ROWS * V) * sizeof *q);
    read_rows(&exact, 0, ROWS / 2, p);
    read_rows(&kept, 0, ROWS / 2, q);
    for (int64_t layer = 0; cache == HONE_int8 && layer < kept.model.config.layers; layer++) {
        const hone_tid id = tensor(&kept, ".scale", layer);
        float *scale = place(&kept.session, id);
        for (int64_t i = 0; i < hone_tensor_count(hone_at(kept.graph, id)); i++) scale[i] *= factor;
    }
    read_rows(&exact, ROWS / 2, ROWS, p);
    read_rows(&kept, ROWS / 2, ROWS, q);
    for (int64_t i = 0; i < rows * V; i++) sum += exp(p[i]) * fabs(p[i] - q[i]);
    free(p), free(q);
    bench_close(&exact);
    bench_close(&kept);
    return sum / (double)rows;
}

static void check_folder(const char *folder, bool all)
{
    static const char *const backends[] = { "cpu", "ref" };
    for (int i = 0; i < (all ? 2 : 1); i++) {
        const double bf16 = moved(folder, backends[i], HONE_bf16, 1), int8 = moved(folder, backends[i], HONE_int8, 1);
        const double wrong = moved(folder, backends[i], HONE_int8, 1.05f);
        print_message("           %-4s %-14s mean |change| of log-probabilities: bf16 %.2e, int8 %.2e; scales 5 %% off %.2e\n", backends[i], strrchr(folder, '/') + 1, bf16, int8, wrong);
        if (!(int8 > 1.5 * bf16 && int8 < 7 * bf16)) fail_msg("%s on %s: %.3g with 8 bits, %.3g with bf16", folder, backends[i], int8, bf16);
        if (wrong < 7 * bf16) fail_msg("%s on %s: a wrong scale moves as little (%.3g)", folder, backends[i], wrong);
    }
}

static void test_log_probabilities_of_golden_models_move_as_far_as_8_bits_say(void **state)
{
    (void)state;
    static const char *const folders[] = { "llama", "gemma2", "gemma3", "qwen2_window", "qwen3", "gpt2", "mistral", "stablelm" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char folder[512];
        snprintf(folder, sizeof folder, "%s/tests/golden/%s", HONE_SOURCE_DIR, folders[i]);
        check_folder(folder, i < 2);
    }
}

static const char *const trained_model = HONE_SOURCE_DIR "/../shared/data/weights/stories260K/hf";

static void test_those_of_a_trained_model_move_as_little(void **state)
{
    (void)state;
    if (!hone_dir_exists(trained_model)) {
        print_message("skipped: no ../shared/data\n");
        skip();
    }
    check_folder(trained_model, false);
}

// Root mean square of what `heads` of D numbers are off by, of their own size: codes of kv8.h, and e4m3 with a scale of a head.
static void errors_of(const float *x, int64_t heads, int64_t D, int64_t stride, double *int8, double *e4m3)
{
    double of8 = 0, of4 = 0, size = 0;
    for (int64_t h = 0; h < heads; h++) {
        const float *head = x + h * stride;
        float top = 0;
        for (int64_t d = 0; d < D; d++) top = hone_kv8_larger(top, head[d]);
        const hone_quant q = hone_quant_of(top);
        const hone_fp8_scale s = hone_fp8_scale_of(top, false);
        for (int64_t d = 0; d < D; d++) {
            const double a = (double)q.scale * hone_kv8_code(head[d], q.inverse) - (double)head[d];
            const double b = (double)s.scale * (double)hone_fp8_value(hone_fp8_code(head[d] * s.inverse, false), false) - (double)head[d];
            of8 += a * a, of4 += b * b, size += (double)head[d] * (double)head[d];
        }
    }
    *int8 = sqrt(of8 / size), *e4m3 = sqrt(of4 / size);
}

// One number in 64 is 10 times as large: what keys of some models look like.
static void test_codes_are_nearer_than_e4m3(void **state)
{
    (void)state;
    enum { HEADS = 500 };
    for (int64_t D = 32; D <= 128; D *= 2)
        for (int outliers = 0; outliers < 2; outliers++) {
            float *x = malloc((size_t)(HEADS * D) * sizeof *x);
            double int8, e4m3;
            for (int64_t i = 0; i < HEADS * D; i++) x[i] = (float)hone_rng_normal(3, HONE_RNG_TEST, 0, (uint64_t)i) * (outliers && i % 64 == 5 ? 10 : 1);
            errors_of(x, HEADS, D, D, &int8, &e4m3);
            print_message("           normals, D %3lld%s: int8 %.2f %%, e4m3 %.2f %%\n", (long long)D, outliers ? ", with outliers" : "", 100 * int8, 100 * e4m3);
            assert_true(outliers ? int8 < e4m3 : 3 * int8 < e4m3 && int8 < 0.0075);
            free(x);
        }
    if (!hone_dir_exists(trained_model)) return;
    bench b;
    bench_open(&b, trained_model, "cpu", HONE_f32);
    const int64_t G = b.model.config.kv_heads, D = b.model.config.head_dim;
    double *unused = malloc((size_t)(ROWS * b.model.config.vocab) * sizeof *unused), int8, e4m3;
    read_rows(&b, 0, ROWS, unused);
    for (int values = 0; values < 2; values++) {
        const int64_t first = ((const int32_t *)place(&b.session, b.io.table))[b.io.blocks] * b.io.block;
        const float *cache = place(&b.session, tensor(&b, "", 1));
        errors_of(cache + (first * 2 + values) * G * D, b.io.block, G * D, 2 * G * D, &int8, &e4m3);
        print_message("           a trained model's %s: int8 %.2f %%, e4m3 %.2f %%\n", values ? "values" : "keys", 100 * int8, 100 * e4m3);
        assert_true(int8 < e4m3);
    }
    free(unused);
    bench_close(&b);
}

// What is not finite makes the head's scale NaN, and so whatever reads it; a head of zeros, or of numbers below 2^-100, is zeros.
static void test_heads_at_the_ends_of_the_range(void **state)
{
    (void)state;
    const float ends[] = { NAN, INFINITY, -INFINITY };
    for (int i = 0; i < 3; i++) {
        assert_true(isnan(hone_quant_of(hone_kv8_larger(hone_kv8_larger(0, ends[i]), 1)).scale));
        assert_true(isnan(hone_quant_of(hone_kv8_larger(1, ends[i])).scale));
        assert_int_equal(hone_kv8_code(ends[i], 0), -127);
    }
    assert_true(hone_quant_of(0).scale == 0 && hone_quant_of(0x1p-101f).scale == 0);
    for (int e = -100; e < 128; e++) {
        const float top = ldexpf(1.9999f, e);
        const hone_quant q = hone_quant_of(top);
        assert_int_equal(hone_kv8_code(top, q.inverse), 127);
        assert_int_equal(hone_kv8_code(-top, q.inverse), -127);
        assert_true(fabsf(127 * q.scale - top) <= 0x1p-22f * top);
    }
    assert_int_equal(hone_kv8_code(2.5f, 1), 2);
    assert_int_equal(hone_kv8_code(-3.5f, 1), -4);
}

static void test_the_plan_has_every_byte(void **state)
{
    (void)state;
    bench narrow, half;
    bench_open(&narrow, HONE_SOURCE_DIR "/tests/golden/llama", "cpu", HONE_int8);
    bench_open(&half, HONE_SOURCE_DIR "/tests/golden/llama", "cpu", HONE_bf16);
    const hone_config *c = &narrow.model.config;
    size_t less = 0;
    for (int64_t layer = 0; layer < c->layers; layer++) {
        const int64_t rows = narrow.io.cache_rows, codes = rows * 2 * c->kv_heads * c->head_dim, scales = rows * 2 * c->kv_heads * 4;
        assert_int_equal(narrow.session.layout.bytes[tensor(&narrow, "", layer)], codes);
        assert_int_equal(narrow.session.layout.bytes[tensor(&narrow, ".scale", layer)], scales);
        assert_int_equal(half.session.layout.bytes[tensor(&half, "", layer)], 2 * codes);
        less += hone_layout_align((size_t)(2 * codes)) - hone_layout_align((size_t)codes) - hone_layout_align((size_t)scales);
    }
    assert_true(less > 0);
    assert_int_equal(half.session.layout.cache_bytes - narrow.session.layout.cache_bytes, less);
    bench_close(&narrow);
    bench_close(&half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes_are_nearer_than_e4m3),
        cmocka_unit_test(test_heads_at_the_ends_of_the_range),
        cmocka_unit_test(test_the_plan_has_every_byte),
        cmocka_unit_test(test_log_probabilities_of_golden_models_move_as_far_as_8_bits_say),
        cmocka_unit_test(test_those_of_a_trained_model_move_as_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
