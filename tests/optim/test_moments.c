// Moments in fewer bits: on average what f32 moments are, and never a step that f32 would not make.
#include "graph/round.h"
#include "graph/session.h"
#include "optim/update.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { ROWS = 24, COLUMNS = 600, COUNT = ROWS * COLUMNS };   // two whole blocks of a row and a part of one
typedef struct { hone_graph *graph; hone_session session; hone_update_io io; hone_optim_options options; hone_tid param, grad; } fixture;

static void open_fixture(fixture *f, hone_moments moments, double beta2)
{
    f->options = (hone_optim_options){ .beta1 = 0.9, .beta2 = beta2, .epsilon = 1e-8, .moments = moments };
    f->graph = hone_graph_new();
    f->param = hone_graph_tensor(f->graph, HONE_CLASS_param, HONE_f32, HONE_DIMS(ROWS, COLUMNS), "w");
    f->grad = hone_graph_tensor(f->graph, HONE_CLASS_grad, HONE_f32, HONE_DIMS(ROWS, COLUMNS), "grad.w");
    hone_graph_view(f->graph, f->param, 0, 8, "a");
    hone_graph_view(f->graph, f->param, 8, 16, "b");
    assert_int_equal(hone_optim_build_update(f->graph, &f->options, &f->io), HONE_OK);
    assert_int_equal(hone_graph_validate(f->graph, f->graph->now), HONE_OK);
    hone_session_options how = { .backend = "cpu", .hardware = { .threads = 2 } };
    assert_int_equal(hone_session_open(&f->session, f->graph, &how), HONE_OK);
}

static void close_fixture(fixture *f)
{
    hone_session_close(&f->session);
    hone_graph_free(f->graph);
}

static void *data(const fixture *f, const char *name)
{
    hone_tid id = hone_graph_find(f->graph, name);
    if (id == HONE_NONE) fail_msg("no tensor %s", name);
    return hone_session_data(&f->session, id);
}

// Gradients of very different size within a block: 1e-6 .. 1.
static double size_of(int64_t i) { return pow(10, -6 * (double)(i % 97) / 96); }

static void step(fixture *f, int64_t t, double gradient)
{
    float *g = data(f, "grad.w");
    for (int64_t i = 0; i < COUNT; i++) g[i] = (float)(gradient * size_of(i));
    hone_optim_hyper(&f->options, 1e-3, t, hone_session_data(&f->session, f->io.hyper));
    hone_session_run(&f->session, "update");
}

static double second_moment(const fixture *f, int64_t i)
{
    if (f->options.moments == HONE_MOMENTS_BF16) return (double)hone_bf16_to_f32(((const uint16_t *)data(f, "moment2.w"))[i]);
    const int64_t S = (COLUMNS + HONE_MOMENT_BLOCK - 1) / HONE_MOMENT_BLOCK, block = i / COLUMNS * S + i % COLUMNS / HONE_MOMENT_BLOCK;
    const float scale = ((const float *)data(f, "moments.scale.w"))[2 * block + 1];
    return (double)(hone_code_value(((const uint8_t *)data(f, "moment2.w"))[i], HONE_CODE_BIAS2) * scale);
}

// One gradient, then none: v = (1 - b2) g^2 b2^t. Rounded to nearest, v would stay where it is (b2 = 0.999 is a change of a
// quarter of half a bf16 place). The mean over elements of the same size must follow; a single element takes a random walk:
// after 700 steps of at most one place (2^-8 of it for bf16, 2^-3 for codes) times sqrt(probability 0.001 .. 0.26), some 0.1 (0.8)
// relative, over 150 elements 0.01 (0.07).
static void check_decay(hone_moments moments, double tolerance)
{
    fixture f;
    open_fixture(&f, moments, 0.999);
    step(&f, 1, 1);
    for (int64_t t = 2; t <= 700; t++) step(&f, t, 0);
    for (int64_t kind = 0; kind < 97; kind += 24) {
        double sum = 0, expected = 1e-3 * size_of(kind) * size_of(kind) * pow(0.999, 699);
        int64_t n = 0;
        for (int64_t i = kind; i < COUNT; i += 97, n++) sum += second_moment(&f, i);
        if (fabs(sum / (double)n / expected - 1) > tolerance)
            fail_msg("size %g: mean second moment %g, not %g", size_of(kind), sum / (double)n, expected);
    }
    close_fixture(&f);
}

static void test_bf16_moments_shrink_as_f32_ones(void **state) { (void)state; check_decay(HONE_MOMENTS_BF16, 0.03); }

// AdamW's steps with constant gradients are of the rate's length whatever their size: with codes within the rounding of m (1/8) and
// of sqrt(v) (1/16). Below the least code (2^-17 of a block's largest) a first moment is rounded to 0 or to that code, which may
// be twice as much; a step of m / eps, with a second moment lost to 0, would be a thousand times too long.
static void test_codes_make_steps_of_the_same_length(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, HONE_MOMENTS_INT8, 0.95);
    float *w = data(&f, "w");
    for (int64_t t = 1; t <= 50; t++) {
        float before[COUNT];
        memcpy(before, w, sizeof before);
        step(&f, t, 1);
        for (int64_t i = 0; i < COUNT; i++) {
            double length = fabs((double)w[i] - (double)before[i]);
            bool coded = size_of(i) > 1e-4;
            if (length > (coded ? 1.3e-3 : 3e-3) || (coded && length < 0.75e-3)) fail_msg("step %lld, size %g: %g", (long long)t, size_of(i), length);
        }
    }
    close_fixture(&f);
}

// Every code is its own value's: rounding changes nothing that a code can say, whatever the random bits.
static void test_codes_are_their_own_values(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 256; code++) {
        assert_int_equal(hone_code_of(hone_code_value(code, HONE_CODE_BIAS2), 0xffff, HONE_CODE_BIAS2), code);
        if (code < 128) assert_int_equal(hone_code_of(hone_code_value(code, HONE_CODE_BIAS1), 0, HONE_CODE_BIAS1), code);
        if (code) assert_true(hone_code_value(code, HONE_CODE_BIAS2) > hone_code_value(code - 1, HONE_CODE_BIAS2));
    }
    assert_true(hone_code_value(127, HONE_CODE_BIAS1) == HONE_CODE_TOP && hone_code_value(255, HONE_CODE_BIAS2) == HONE_CODE_TOP);
}

// Between two codes, the random bits decide in proportion: the mean over all of them is the number.
static void test_rounding_is_unbiased(void **state)
{
    (void)state;
    static const float number[] = { 1.2f, 0.33f, 3.1e-4f, 2.7e-5f, 9e-6f };
    for (int k = 0; k < 5; k++) {
        double codes = 0, bf16 = 0;
        for (uint32_t bits = 0; bits < 65536; bits++) {
            codes += (double)hone_code_value(hone_code_of(number[k], bits, HONE_CODE_BIAS1), HONE_CODE_BIAS1);
            bf16 += (double)hone_bf16_to_f32(hone_round_bf16(number[k], bits));
        }
        assert_true(fabs(codes / 65536 / (double)number[k] - 1) < 1e-4);
        assert_true(fabs(bf16 / 65536 / (double)number[k] - 1) < 1e-6);
    }
}

// What the moments of a matrix take: 8, 4, and 2 bytes an element with 8 for each block of 256.
static void test_moments_take_the_bytes_they_should(void **state)
{
    (void)state;
    static const size_t bytes[] = { COUNT * 8, COUNT * 4, COUNT * 2 + ROWS * 3 * 8 };
    for (int moments = 0; moments < 3; moments++) {
        fixture f;
        open_fixture(&f, (hone_moments)moments, 0.95);
        assert_int_equal(f.session.layout.class_bytes[HONE_CLASS_moment], (bytes[moments] + 63) / 64 * 64);
        assert_ptr_equal((uint8_t *)data(&f, "moment1.b"), (uint8_t *)data(&f, "moment1.w") + bytes[moments] / (COUNT * 2) * 8 * COLUMNS);
        close_fixture(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bf16_moments_shrink_as_f32_ones),
        cmocka_unit_test(test_codes_make_steps_of_the_same_length),
        cmocka_unit_test(test_codes_are_their_own_values),
        cmocka_unit_test(test_rounding_is_unbiased),
        cmocka_unit_test(test_moments_take_the_bytes_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
