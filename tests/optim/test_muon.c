// Muon steps along U V^T of the momentum U S V^T, each logical matrix by itself, on every backend.
#include "base/rng.h"
#include "graph/session.h"
#include "optim/muon.h"
#include "optim/update.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { SIDE = 24, LONG = 70, MATRICES = 4 };
static const struct { const char *name; int64_t rows, columns; } matrix[MATRICES] = {
    { "wide", SIDE, LONG }, { "tall", LONG, SIDE }, { "part.a", SIDE, SIDE }, { "part.b", LONG, SIDE } };
static const hone_optim_options options = { .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.5, .max_grad_norm = 1,
                                            .muon = true, .muon_rate = 20, .momentum = 0.95 };
static const double RATE = 1e-3, MUON_RATE = 20 * 1e-3;

typedef struct { hone_graph *graph; hone_session session; hone_update_io io; } fixture;

static hone_tid declare(fixture *f, const char *name, int64_t rows, int64_t columns, bool hidden)
{
    hone_tid id = hone_graph_tensor(f->graph, HONE_CLASS_param, HONE_f32, HONE_DIMS(rows, columns), "%s", name);
    hone_at(f->graph, id)->decayed = true;
    hone_at(f->graph, id)->hidden = hidden;
    hone_graph_tensor(f->graph, HONE_CLASS_grad, HONE_f32, HONE_DIMS(rows, columns), "grad.%s", name);
    return id;
}

static void declare_view(fixture *f, hone_tid base, int64_t row, int64_t rows, const char *name)
{
    hone_graph_view(f->graph, base, row, rows, "%s", name);
    hone_graph_view(f->graph, hone_grad_of_param(f->graph, base), row, rows, "grad.%s", name);
}

// fused: part.a and part.b are views of one storage, or storages of their own.
static void open_fixture(fixture *f, const char *backend, int threads, bool fused)
{
    f->graph = hone_graph_new();
    declare(f, "wide", SIDE, LONG, true);
    declare(f, "tall", LONG, SIDE, true);
    if (fused) {
        hone_tid both = declare(f, "both", SIDE + LONG, SIDE, true);
        declare_view(f, both, 0, SIDE, "part.a");
        declare_view(f, both, SIDE, LONG, "part.b");
    } else {
        declare(f, "part.a", SIDE, SIDE, true);
        declare(f, "part.b", LONG, SIDE, true);
    }
    declare(f, "table", LONG, SIDE, false);
    assert_int_equal(hone_optim_build_update(f->graph, &options, &f->io), HONE_OK);
    assert_int_equal(hone_graph_validate(f->graph, f->graph->now), HONE_OK);
    hone_session_options how = { .backend = backend, .hardware = { .threads = threads }, .poison = true };
    assert_int_equal(hone_session_open(&f->session, f->graph, &how), HONE_OK);
}

static void close_fixture(fixture *f)
{
    hone_session_close(&f->session);
    hone_graph_free(f->graph);
}

static float *tensor(const fixture *f, const char *prefix, const char *name)
{
    char full[80];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    hone_tid id = hone_graph_find(f->graph, full);
    if (id == HONE_NONE) fail_msg("no tensor %s", full);
    return hone_session_data(&f->session, id);
}

// n orthonormal vectors of `length`, by Gram and Schmidt.
static void orthonormal(double *q, int64_t n, int64_t length, uint32_t stream)
{
    for (int64_t i = 0; i < n; i++) {
        double *row = q + i * length, norm = 0;
        for (int64_t k = 0; k < length; k++) row[k] = hone_rng_normal(3, HONE_RNG_TEST, stream, (uint64_t)(i * length + k));
        for (int twice = 0; twice < 2; twice++)
            for (int64_t j = 0; j < i; j++) {
                double dot = 0;
                for (int64_t k = 0; k < length; k++) dot += row[k] * q[j * length + k];
                for (int64_t k = 0; k < length; k++) row[k] -= dot * q[j * length + k];
            }
        for (int64_t k = 0; k < length; k++) norm += row[k] * row[k];
        for (int64_t k = 0; k < length; k++) row[k] /= sqrt(norm);
    }
}

static double left[MATRICES][SIDE * LONG], right[MATRICES][SIDE * LONG]; // U^T, V^T: singular vectors as rows

// From 1 down to 0.004, evenly in the logarithm.
static double singular_value(int64_t i) { return pow(0.004, (double)i / (SIDE - 1)); }

static void fill_gradients(const fixture *f)
{
    for (int i = 0; i < MATRICES; i++) {
        const int64_t rows = matrix[i].rows, columns = matrix[i].columns;
        float *g = tensor(f, "grad.", matrix[i].name);
        orthonormal(left[i], SIDE, rows, (uint32_t)(2 * i));
        orthonormal(right[i], SIDE, columns, (uint32_t)(2 * i + 1));
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++) {
                double sum = 0;
                for (int64_t k = 0; k < SIDE; k++) sum += left[i][k * rows + r] * 1e-3 * singular_value(k) * right[i][k * columns + c];
                g[r * columns + c] = (float)sum;
            }
    }
}

static void fill_weights(const fixture *f)
{
    for (int i = 0; i < MATRICES; i++)
        for (int64_t k = 0; k < matrix[i].rows * matrix[i].columns; k++)
            tensor(f, "", matrix[i].name)[k] = (float)hone_rng_normal(4, HONE_RNG_TEST, (uint32_t)i, (uint64_t)k);
}

static void run_update(const fixture *f, int64_t t)
{
    hone_optim_hyper(&options, RATE, t, hone_session_data(&f->session, f->io.hyper));
    hone_session_run((hone_session *)&f->session, "update");
}

// What the polynomials make of a singular value in [0, 1].
static double mapped(double s)
{
    const double (*c)[3];
    double lower, error;
    int n = hone_muon_polynomials(&c, &lower, &error);
    for (int k = 0; k < n; k++) s = c[k][0] * s + c[k][1] * s * s * s + c[k][2] * s * s * s * s * s;
    return s;
}

// The step taken, in the basis of the singular vectors, is the identity up to the error of the polynomials.
// Operands are rounded to bf16 (2^-9) four times over, an early error is amplified by what multiplies the least singular
// values afterwards (4 x 3.5 x 2.5), and an element in the singular basis is one of SIDE in a row: 35 x 2^-9 / sqrt(24) = 0.014,
// of which the largest of some thousand is 4 standard deviations.
static void check_step(const float *before, const float *after, int i)
{
    const int64_t rows = matrix[i].rows, columns = matrix[i].columns;
    const double scale = sqrt(fmax(1, (double)rows / (double)columns)), keep = 1 - MUON_RATE * options.weight_decay;
    const double (*c)[3];
    double lower, error;
    hone_muon_polynomials(&c, &lower, &error);
    for (int64_t a = 0; a < SIDE; a++)
        for (int64_t b = 0; b < SIDE; b++) {
            double sum = 0;
            for (int64_t k = 0; k < rows * columns; k++) {
                double step = (keep * (double)before[k] - (double)after[k]) / (MUON_RATE * scale);
                sum += left[i][a * rows + k / columns] * step * right[i][b * columns + k % columns];
            }
            double off = fabs(sum - (a == b)), allowed = 0.056 + (a == b ? error : 0);
            if (off > allowed) fail_msg("%s: %lld, %lld is off by %g, allowed is %g", matrix[i].name, (long long)a, (long long)b, off, allowed);
        }
}

static void check_backend(const char *backend)
{
    static float before[MATRICES][SIDE * LONG];
    fixture f;
    open_fixture(&f, backend, 1, true);
    fill_weights(&f);
    fill_gradients(&f);
    for (int i = 0; i < MATRICES; i++)
        memcpy(before[i], tensor(&f, "", matrix[i].name), (size_t)(matrix[i].rows * matrix[i].columns) * sizeof(float));
    run_update(&f, 1);
    for (int i = 0; i < MATRICES; i++) check_step(before[i], tensor(&f, "", matrix[i].name), i);
    close_fixture(&f);
}

static void test_a_step_is_orthogonal_on_ref(void **state) { (void)state; check_backend("ref"); }
static void test_a_step_is_orthogonal_on_cpu(void **state) { (void)state; check_backend("cpu"); }

// m = 0.95 m + g over three steps; the gradient is cleared for the next one's sums.
static void test_momentum_sums_gradients(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "cpu", 1, true);
    fill_weights(&f);
    for (int t = 1; t <= 3; t++) {
        for (int64_t k = 0; k < SIDE * LONG; k++) tensor(&f, "grad.", "wide")[k] += 1e-4f * (float)t;
        run_update(&f, t);
    }
    const double expected = 1e-4 * (3 + 0.95 * (2 + 0.95));
    for (int64_t k = 0; k < SIDE * LONG; k++) {
        assert_true(fabs(tensor(&f, "moment1.", "wide")[k] - expected) < 4e-7 * expected * 4); // four roundings
        assert_true(tensor(&f, "grad.", "wide")[k] == 0);
    }
    close_fixture(&f);
}

// Tables of embeddings are AdamW's: two moments, and a first step of the rate's length.
static void test_tables_are_stepped_by_adamw(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "cpu", 1, true);
    for (int64_t k = 0; k < LONG * SIDE; k++) tensor(&f, "grad.", "table")[k] = 1e-4f;
    run_update(&f, 1);
    assert_true(fabs(tensor(&f, "", "table")[5] + RATE) < 2e-4 * RATE); // eps beside sqrt(v)
    assert_true(hone_graph_find(f.graph, "moment2.table") != HONE_NONE);
    assert_true(hone_graph_find(f.graph, "moment2.wide") == HONE_NONE);
    close_fixture(&f);
}

// A zero gradient has no direction: the matrix decays and no more.
static void test_a_zero_gradient_only_decays(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "cpu", 1, true);
    fill_weights(&f);
    float before = tensor(&f, "", "wide")[7];
    run_update(&f, 1);
    assert_true(fabs(tensor(&f, "", "wide")[7] - (1 - MUON_RATE * 0.5) * (double)before) < 1e-6);
    close_fixture(&f);
}

static void test_fused_matrices_are_stepped_as_if_apart(void **state)
{
    (void)state;
    fixture together, apart;
    open_fixture(&together, "cpu", 2, true);
    open_fixture(&apart, "cpu", 1, false);
    for (int t = 1; t <= 3; t++)
        for (int i = 0; i < 2; i++) {
            fixture *f = i ? &apart : &together;
            if (t == 1) fill_weights(f);
            fill_gradients(f);
            run_update(f, t);
        }
    for (int i = 0; i < MATRICES; i++)
        assert_memory_equal(tensor(&together, "", matrix[i].name), tensor(&apart, "", matrix[i].name),
                            (size_t)(matrix[i].rows * matrix[i].columns) * sizeof(float));
    close_fixture(&together);
    close_fixture(&apart);
}

// The error claimed is what the polynomials make, no less and no more.
static void test_polynomials_reach_one_within_their_error(void **state)
{
    (void)state;
    const double (*c)[3];
    double lower, error, worst = 0;
    hone_muon_polynomials(&c, &lower, &error);
    for (double s = lower; s <= 1; s *= 1.0005) worst = fmax(worst, fabs(mapped(s) - 1));
    assert_true(worst <= error && worst > 0.97 * error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_is_orthogonal_on_ref),
        cmocka_unit_test(test_a_step_is_orthogonal_on_cpu),
        cmocka_unit_test(test_momentum_sums_gradients),
        cmocka_unit_test(test_tables_are_stepped_by_adamw),
        cmocka_unit_test(test_a_zero_gradient_only_decays),
        cmocka_unit_test(test_fused_matrices_are_stepped_as_if_apart),
        cmocka_unit_test(test_polynomials_reach_one_within_their_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
