// test_fp8.c: floats of 8 bits against their definition, code by code; which products they are taken for.
#include "backend/ref/ref.h"
#include "graph/fp8.h"
#include "graph/pass.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include <math.h>
#include <string.h>

// The value of a code by the formats' definition (Micikevicius et al. 2022, table 1).
static double defined(int code, bool e5m2)
{
    const int fraction_bits = e5m2 ? 2 : 3, bias = e5m2 ? 15 : 7, exponent = (code & 0x7f) >> fraction_bits, fraction = code & ((1 << fraction_bits) - 1);
    const double part = (double)fraction / (1 << fraction_bits), sign = code & 0x80 ? -1 : 1;
    if (e5m2 && exponent == 31) return fraction ? (double)NAN : sign * (double)INFINITY;
    if (!e5m2 && (code & 0x7f) == 0x7f) return (double)NAN;
    return sign * (exponent ? ldexp(1 + part, exponent - bias) : ldexp(part, 1 - bias));
}

static bool is_number(int code, bool e5m2) { return isfinite(defined(code, e5m2)); }

static void test_all_codes_are_the_formats(void **state)
{
    (void)state;
    for (int e5m2 = 0; e5m2 < 2; e5m2++)
        for (int code = 0; code < 256; code++) {
            const double expected = defined(code, e5m2), value = (double)hone_fp8_value((uint8_t)code, e5m2);
            if (isnan(expected) ? !isnan(value) : value != expected || signbit(value) != signbit(expected)) fail_msg("code %02x: %g, defined %g", code, value, expected);
            if (is_number(code, e5m2)) assert_int_equal(hone_fp8_code((float)value, e5m2), code);     // and back
        }
    assert_true((double)hone_fp8_largest(false) == defined(0x7e, false) && (double)hone_fp8_largest(true) == defined(0x7b, true));
}

// Between two neighbours: exactly the middle goes to the even code, the next f32 on each side to the nearer one.
static void test_rounding_is_to_nearest_and_ties_to_even(void **state)
{
    (void)state;
    for (int e5m2 = 0; e5m2 < 2; e5m2++)
        for (int code = 0; is_number(code + 1, e5m2); code++)
            for (int sign = 0; sign < 256; sign += 128) {
                const float middle = (float)((defined(code, e5m2) + defined(code + 1, e5m2)) / 2);    // exact in f32
                const float s = sign ? -1 : 1;
                assert_int_equal(hone_fp8_code(s * middle, e5m2), sign | (code + (code & 1)));
                assert_int_equal(hone_fp8_code(s * nextafterf(middle, 0), e5m2), sign | code);
                assert_int_equal(hone_fp8_code(s * nextafterf(middle, INFINITY), e5m2), sign | (code + 1));
            }
}

static void test_what_is_too_large_saturates_and_what_is_no_number_stays_none(void **state)
{
    (void)state;
    for (int e5m2 = 0; e5m2 < 2; e5m2++) {
        const float largest = hone_fp8_largest(e5m2);
        const int top = e5m2 ? 0x7b : 0x7e;
        assert_int_equal(hone_fp8_code(nextafterf(largest, INFINITY), e5m2), top);
        assert_int_equal(hone_fp8_code(0x1.fffffep127f, e5m2), top);
        assert_int_equal(hone_fp8_code(-0x1.fffffep127f, e5m2), 0x80 | top);
        assert_true(isnan(hone_fp8_value(hone_fp8_code(INFINITY, e5m2), e5m2)) && isnan(hone_fp8_value(hone_fp8_code(-INFINITY, e5m2), e5m2)));
        assert_true(isnan(hone_fp8_value(hone_fp8_code(NAN, e5m2), e5m2)));
        assert_int_equal(hone_fp8_code(0x1p-149f, e5m2), 0);
        assert_int_equal(hone_fp8_code(-0.0f, e5m2), 0x80);
    }
}

static void test_scales(void **state)
{
    (void)state;
    for (int e5m2 = 0; e5m2 < 2; e5m2++) {
        const float unusable[] = { 0, 0x1p-120f, INFINITY };
        for (int i = 0; i < 3; i++) {
            const hone_fp8_scale s = hone_fp8_scale_of(unusable[i], e5m2);
            assert_true(s.scale == 1 && s.inverse == 1);
        }
        for (float top = 0x1p-100f; top < 0x1p127f; top *= 3.7f) { // the largest element becomes the largest code and comes back
            const hone_fp8_scale s = hone_fp8_scale_of(top, e5m2);
            const float back = s.scale * hone_fp8_value(hone_fp8_code(top * s.inverse, e5m2), e5m2);
            assert_true(isfinite(s.inverse) && fabsf(back - top) <= 0x1p-22f * top);
        }
    }
}

// A quantised product against one in f64: each operand is off by at most half a step, 2^-4 of itself (e4m3) or 2^-3 (e5m2), or, below
// the least normal number, half a subnormal step of the scale; so by Cauchy-Schwarz the product is off by a share of |x| |y| at most.
static void test_a_product_is_off_by_its_operands_rounding(void **state)
{
    (void)state;
    enum { N = 32, K = 64, M = 48 };
    static float x[N * K], w[M * K], y[2][N * M];
    static double room[N * K + M * K];
    const uint64_t seed = 0x9e3779b97f4a7c15u;
    uint64_t bits = seed;
    for (int i = 0; i < N * K + M * K; i++) {
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        const float value = (float)((double)(int64_t)bits * 0x1p-63) * (i % 5 ? 1 : 30);
        if (i < N * K) x[i] = value;
        else w[i - N * K] = value;
    }
    for (int fp8 = 0; fp8 < 2; fp8++) {
        const hone_args args = { .op = HONE_OP_linear, .attr.product = fp8 ? HONE_e4m3 : HONE_f32, .workspace = room,
                                 .in = { { x, NULL, { N, K }, 2, HONE_f32, HONE_FORM_PLAIN, true }, { w, NULL, { M, K }, 2, HONE_f32, HONE_FORM_PLAIN, true } },
                                 .out = { { y[fp8], NULL, { N, M }, 2, HONE_f32, HONE_FORM_PLAIN, true } } };
        hone_backend_ref.run(NULL, &args, NULL, 0);
    }
    const double half_step = 30 / 448.0 * 0x1p-10;
    bool differs = false;
    for (int n = 0; n < N; n++)
        for (int m = 0; m < M; m++) {
            double bound = 0;
            for (int k = 0; k < K; k++) {
                const double a = fabs((double)x[n * K + k]), b = fabs((double)w[m * K + k]), da = 0x1p-4 * a + half_step, db = 0x1p-4 * b + half_step;
                bound += da * b + db * a + da * db;
            }
            const double off = fabs((double)y[1][n * M + m] - (double)y[0][n * M + m]);
            differs |= off > 0x1p-12 * bound;
            assert_true(off <= bound);
        }
    assert_true(differs);
}

// --- which products ---------------------------------------------------------------------------------------------------------

typedef struct { hone_dtype product; int64_t N, K, M; hone_dtype weight; bool live; double flops_per_byte; hone_fp8_verdict verdict; } candidate;

static void check_verdict(const candidate *c)
{
    hone_graph *graph = hone_graph_new();
    hone_graph_program(graph, "micro");
    const hone_tid x = hone_graph_tensor(graph, HONE_CLASS_activation, HONE_bf16, HONE_DIMS(c->N, c->K), "x"), w = hone_graph_tensor(graph, HONE_CLASS_param, HONE_f32, HONE_DIMS(c->M, c->K), "w");
    const hone_tid count = hone_graph_tensor(graph, HONE_CLASS_input, HONE_i32, HONE_DIMS(1), "count");
    if (c->weight != HONE_f32) hone_graph_store(graph, w, c->weight);
    if (c->live) hone_at(graph, x)->live = count;
    hone_linear(graph, x, w, HONE_NONE, HONE_NONE);
    assert_int_equal(hone_fp8_judge(graph, &graph->now->node[0], c->product, c->flops_per_byte), c->verdict);
    hone_pass_precision(graph, graph->now, c->product, c->flops_per_byte);
    assert_int_equal(graph->now->node[0].attr.product, c->verdict == HONE_FP8_TAKEN ? c->product : HONE_bf16);
    hone_graph_free(graph);
}

// FLOPs a byte: with one scale a tensor 2 N M K / (5 N K + 3 M K); N = 16,384, K = 768 reach 400 from M = 1,038 on. With blocks every operand
// is read once and a cast of f32 to bf16 is not made, 2 N M K / ((3 + 4 / 128) N K - M K + 4 x squares): from M = 599 on.
static void test_products_are_taken_where_they_pay(void **state)
{
    (void)state;
    static const candidate cases[] = {
        { HONE_e4m3, 16384, 768, 3072, HONE_f32, false, 400, HONE_FP8_TAKEN },
        { HONE_e4m3, 16384, 768, 1040, HONE_f32, false, 400, HONE_FP8_TAKEN },
        { HONE_e4m3, 16384, 768, 1024, HONE_f32, false, 400, HONE_FP8_WORK },
        { HONE_e4m3, 16384, 768, 1024, HONE_f32, false, 0, HONE_FP8_TAKEN },
        { HONE_e4m3, 16384, 768, 3080, HONE_f32, false, 0, HONE_FP8_SIZE },
        { HONE_e4m3, 16390, 768, 3072, HONE_f32, false, 0, HONE_FP8_SIZE },
        { HONE_e4m3, 16384, 776, 3072, HONE_f32, false, 0, HONE_FP8_SIZE },
        { HONE_e4m3, 16384, 768, 3072, HONE_f32, true, 0, HONE_FP8_FEW_ROWS },
        { HONE_e4m3, 16384, 768, 3072, HONE_nf4, false, 0, HONE_FP8_BLOCKED },
        { HONE_e4m3, 16384, 768, 3072, HONE_bf16, false, 400, HONE_FP8_TAKEN },
        { HONE_e4m3_128, 16384, 768, 608, HONE_f32, false, 400, HONE_FP8_TAKEN },
        { HONE_e4m3_128, 16384, 768, 592, HONE_f32, false, 400, HONE_FP8_WORK },
        { HONE_e4m3_128, 16384, 768, 592, HONE_f32, false, 0, HONE_FP8_TAKEN },
        { HONE_e4m3_128, 16384, 768, 3080, HONE_f32, false, 0, HONE_FP8_SIZE },
        { HONE_e4m3_128, 16384, 768, 3072, HONE_f32, true, 0, HONE_FP8_FEW_ROWS },
        { HONE_e4m3_128, 16384, 768, 3072, HONE_nf4, false, 0, HONE_FP8_BLOCKED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_verdict(&cases[i]);
}

// What quantising moves, number by number. Of odd shapes: runs and squares that are cut off have scales, a row of squares is whole fours.
static void test_blocks_bytes_are_counted(void **state)
{
    (void)state;
    enum { N = 144, K = 272, M = 400 };
    hone_graph *graph = hone_graph_new();
    hone_graph_program(graph, "micro");
    const hone_tid x = hone_graph_tensor(graph, HONE_CLASS_activation, HONE_bf16, HONE_DIMS(N, K), "x"), dy = hone_graph_tensor(graph, HONE_CLASS_activation, HONE_f32, HONE_DIMS(N, M), "dy");
    const hone_tid w = hone_graph_tensor(graph, HONE_CLASS_param, HONE_f32, HONE_DIMS(M, K), "w");
    const struct { hone_op op; hone_tid in[2]; int64_t blocks, tensor; } row[] = {
        { HONE_OP_linear, { x, w }, 3 * N * K - M * K + 4 * (3 * N + 4 * 4), 5 * N * K + 3 * M * K },       // 3 runs a row; 4 rows of squares, 3 and one more
        { HONE_OP_linear_dx, { dy, w }, -N * M - M * K + 4 * (4 * N + 3 * 4), 3 * N * M + 3 * M * K },
        { HONE_OP_linear_dw, { dy, x }, -N * M + 3 * N * K + 4 * (2 * M + 2 * K), 3 * N * M + 5 * N * K },  // 2 runs a column
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        const hone_node node = { .op = row[i].op, .in = { row[i].in[0], row[i].in[1] } };
        assert_int_equal(hone_fp8_bytes(graph, &node, HONE_e4m3_128), row[i].blocks);
        assert_int_equal(hone_fp8_bytes(graph, &node, HONE_e4m3), row[i].tensor);
    }
    hone_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_codes_are_the_formats),
        cmocka_unit_test(test_rounding_is_to_nearest_and_ties_to_even),
        cmocka_unit_test(test_what_is_too_large_saturates_and_what_is_no_number_stays_none),
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_a_product_is_off_by_its_operands_rounding),
        cmocka_unit_test(test_products_are_taken_where_they_pay),
        cmocka_unit_test(test_blocks_bytes_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
