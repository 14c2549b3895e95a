// Program "update" is AdamW with clipping by the global norm, as the papers write it, on every backend.
#include "base/rng.h"
#include "graph/session.h"
#include "optim/update.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { STORAGES = 3, STEPS = 5 };
static const char *const name[STORAGES] = { "fused", "bias", "matrix" };
static const int64_t rows[STORAGES] = { 6, 13, 37 }, columns[STORAGES] = { 24, 0, 131 };
static const hone_optim_options options = { .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.5, .max_grad_norm = 1 };

static int64_t size_of(int i) { return rows[i] * (columns[i] ? columns[i] : 1); }

typedef struct { hone_graph *graph; hone_session session; hone_update_io io; hone_tid param[STORAGES]; } fixture;

static void open_fixture(fixture *f, const char *backend, int threads)
{
    f->graph = hone_graph_new();
    for (int i = 0; i < STORAGES; i++) {
        int64_t dim[] = { rows[i], columns[i] };
        int rank = columns[i] ? 2 : 1;
        f->param[i] = hone_graph_tensor(f->graph, HONE_CLASS_param, HONE_f32, rank, dim, "%s", name[i]);
        hone_at(f->graph, f->param[i])->decayed = rank == 2;
        hone_graph_tensor(f->graph, HONE_CLASS_grad, HONE_f32, rank, dim, "grad.%s", name[i]);
    }
    hone_graph_view(f->graph, f->param[0], 0, 2, "part.a");
    hone_graph_view(f->graph, f->param[0], 2, 4, "part.b");
    hone_graph_tensor(f->graph, HONE_CLASS_param, HONE_f32, HONE_DIMS(4, 4), "frozen"); // no gradient: left alone
    assert_int_equal(hone_optim_build_update(f->graph, &options, &f->io), HONE_OK);
    assert_int_equal(hone_graph_validate(f->graph, f->graph->now), HONE_OK);
    hone_session_options how = { .backend = backend, .hardware = { .threads = threads } };
    assert_int_equal(hone_session_open(&f->session, f->graph, &how), HONE_OK);
}

static void close_fixture(fixture *f)
{
    hone_session_close(&f->session);
    hone_graph_free(f->graph);
}

static float *tensor(const fixture *f, const char *prefix, int i)
{
    char full[80];
    snprintf(full, sizeof full, "%s%s", prefix, name[i]);
    hone_tid id = hone_graph_find(f->graph, full);
    assert_true(id != HONE_NONE);
    return hone_session_data(&f->session, id);
}

// Gradients whose global norm is about 25 in even steps (clipped) and 0.25 in odd ones (not).
static double gradient(int step, int i, int64_t k)
{
    return (float)(hone_rng_normal(7, HONE_RNG_TEST, (uint32_t)(step * 10 + i), (uint64_t)k) * (step % 2 ? 0.0035 : 0.35));
}

static double start(int i, int64_t k) { return (float)hone_rng_normal(8, HONE_RNG_TEST, (uint32_t)i, (uint64_t)k); }

static void run_steps(fixture *f)
{
    for (int i = 0; i < STORAGES; i++)
        for (int64_t k = 0; k < size_of(i); k++) tensor(f, "", i)[k] = (float)start(i, k);
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < STORAGES; i++)
            for (int64_t k = 0; k < size_of(i); k++) tensor(f, "grad.", i)[k] += (float)gradient(step, i, k); // cleared before
        hone_optim_hyper(&options, 1e-2, step + 1, hone_session_data(&f->session, f->io.hyper));
        hone_session_run(&f->session, "update");
    }
}

// The oracle: Loshchilov & Hutter 2019, algorithm 2, in f64, with torch's clip_grad_norm_.
typedef struct { double p[37 * 131], m[37 * 131], v[37 * 131]; } oracle_storage;
static oracle_storage oracle[STORAGES];
static double oracle_norm;

static void run_oracle(void)
{
    memset(oracle, 0, sizeof oracle);
    for (int i = 0; i < STORAGES; i++)
        for (int64_t k = 0; k < size_of(i); k++) oracle[i].p[k] = start(i, k);
    for (int step = 0; step < STEPS; step++) {
        double sum = 0;
        for (int i = 0; i < STORAGES; i++)
            for (int64_t k = 0; k < size_of(i); k++) sum += gradient(step, i, k) * gradient(step, i, k);
        oracle_norm = sqrt(sum);
        double factor = fmin(1, options.max_grad_norm / (oracle_norm + 1e-6)), t = step + 1, lr = 1e-2;
        for (int i = 0; i < STORAGES; i++)
            for (int64_t k = 0; k < size_of(i); k++) {
                oracle_storage *o = &oracle[i];
                double g = gradient(step, i, k) * factor;
                o->p[k] *= 1 - lr * (columns[i] ? options.weight_decay : 0);
                o->m[k] = options.beta1 * o->m[k] + (1 - options.beta1) * g;
                o->v[k] = options.beta2 * o->v[k] + (1 - options.beta2) * g * g;
                o->p[k] -= lr * (o->m[k] / (1 - pow(options.beta1, t)))
                         / (sqrt(o->v[k] / (1 - pow(options.beta2, t))) + options.epsilon);
            }
    }
}

static double worst(const float *have, const double *want, int64_t count)
{
    double most = 0, scale = 0;
    for (int64_t k = 0; k < count; k++) most = fmax(most, fabs(have[k] - want[k])), scale = fmax(scale, fabs(want[k]));
    return most / scale;
}

static void check_backend(const char *backend)
{
    fixture f;
    open_fixture(&f, backend, 1);
    assert_int_equal(f.io.n_storage, STORAGES);
    run_steps(&f);
    run_oracle();
    // f32 state, some 10 roundings a step over 5 steps: 50 eps = 6e-6. A missing bias correction or a decayed bias is 1e-2.
    for (int i = 0; i < STORAGES; i++) {
        assert_true(worst(tensor(&f, "", i), oracle[i].p, size_of(i)) < 6e-6);
        assert_true(worst(tensor(&f, "moment1.", i), oracle[i].m, size_of(i)) < 6e-6);
        assert_true(worst(tensor(&f, "moment2.", i), oracle[i].v, size_of(i)) < 6e-6);
        for (int64_t k = 0; k < size_of(i); k++) assert_true(tensor(&f, "grad.", i)[k] == 0);
    }
    const float *norm = hone_session_data(&f.session, f.io.norm);
    assert_true(fabs(norm[0] - oracle_norm) < 1e-6 * oracle_norm);
    close_fixture(&f);
}

static void test_update_is_adamw_on_ref(void **state) { (void)state; check_backend("ref"); }
static void test_update_is_adamw_on_cpu(void **state) { (void)state; check_backend("cpu"); }

// Moments have views like their storage's, so that a checkpoint can name logical parameters.
static void test_moments_have_the_storages_views(void **state)
{
    (void)state;
    fixture f;
    open_fixture(&f, "ref", 1);
    hone_tid view = hone_graph_find(f.graph, "moment2.part.b");
    assert_true(view != HONE_NONE);
    assert_int_equal(hone_at(f.graph, view)->dim[0], 4);
    assert_ptr_equal(hone_session_data(&f.session, view), tensor(&f, "moment2.", 0) + 2 * 24);
    assert_true(hone_graph_find(f.graph, "moment1.frozen") == HONE_NONE);
    close_fixture(&f);
}

static void test_threads_do_not_change_a_bit(void **state)
{
    (void)state;
    fixture one, two;
    open_fixture(&one, "cpu", 1);
    open_fixture(&two, "cpu", 2);
    run_steps(&one);
    run_steps(&two);
    for (int i = 0; i < STORAGES; i++)
        assert_memory_equal(tensor(&one, "", i), tensor(&two, "", i), (size_t)size_of(i) * sizeof(float));
    close_fixture(&one);
    close_fixture(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_is_adamw_on_ref),
        cmocka_unit_test(test_update_is_adamw_on_cpu),
        cmocka_unit_test(test_moments_have_the_storages_views),
        cmocka_unit_test(test_threads_do_not_change_a_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
