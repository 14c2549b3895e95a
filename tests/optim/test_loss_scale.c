// The loss scale (graph/loss_scale.h) as a part of program "update": dividing by a power of 2 leaves no trace, a step that overflows
// changes nothing but the scale, enough good ones double it. On every backend, by AdamW with moments of each kind and by Muon.
#include "base/file.h"
#include "base/rng.h"
#include "graph/loss_scale.h"
#include "graph/pass.h"
#include "graph/session.h"
#include "optim/update.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include <math.h>
#include <string.h>

enum { STORAGES = 3 };
static const char *const name[STORAGES] = { "matrix", "bias", "hidden" };
static const int64_t rows[STORAGES] = { 24, 13, 12 }, columns[STORAGES] = { 300, 1, 20 };
static int64_t size_of(int i) { return rows[i] * columns[i]; }

static const char *const backends[] = { "ref", "cpu", HONE_BINARY_DIR "/cuda_emulated_backend.so" };
enum { BACKENDS = sizeof backends / sizeof *backends };

static const hone_optim_options kinds[] = {
    { .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.5, .max_grad_norm = 1 },
    { .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.5, .moments = HONE_MOMENTS_BF16, .average = true },
    { .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.5, .moments = HONE_MOMENTS_INT8 },
    { .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.5, .muon = true, .muon_rate = 2, .momentum = 0.95, .max_grad_norm = 1 },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

typedef struct { const hone_optim_options *options; hone_graph *graph; hone_session session; hone_update_io io; hone_tid state; int step; } fixture;

static void open_fixture(fixture *f, const char *backend, const hone_optim_options *options, bool scaled)
{
    *f = (fixture){ .options = options, .graph = hone_graph_new(), .state = HONE_NONE };
    for (int i = 0; i < STORAGES; i++) {
        const int rank = columns[i] > 1 ? 2 : 1;
        hone_tid param = hone_graph_tensor(f->graph, HONE_CLASS_param, HONE_f32, rank, (int64_t[]){ rows[i], columns[i] }, "%s", name[i]);
        hone_at(f->graph, param)->decayed = rank == 2;
        hone_at(f->graph, param)->hidden = i == 2;
        hone_graph_tensor(f->graph, HONE_CLASS_grad, HONE_f32, rank, (int64_t[]){ rows[i], columns[i] }, "grad.%s", name[i]);
    }
    if (scaled) f->state = hone_graph_tensor(f->graph, HONE_CLASS_state, HONE_f32, HONE_DIMS(3), "loss_scale");
    must(hone_optim_build_update(f->graph, options, &f->io));
    must(hone_graph_validate(f->graph, f->graph->now));
    must(hone_session_open(&f->session, f->graph, &(hone_session_options){ .backend = backend, .hardware = { .threads = 1 } }));
    for (int i = 0; i < STORAGES; i++) {
        float *weight = hone_session_data(&f->session, hone_graph_find(f->graph, name[i]));
        for (int64_t k = 0; k < size_of(i); k++) weight[k] = (float)hone_rng_normal(8, HONE_RNG_TEST, (uint32_t)i, (uint64_t)k);
    }
}

static void close_fixture(fixture *f)
{
    hone_session_close(&f->session);
    hone_graph_free(f->graph);
}

static float *gradient(const fixture *f, int i)
{
    char text[80];
    snprintf(text, sizeof text, "grad.%s", name[i]);
    return hone_session_data(&f->session, hone_graph_find(f->graph, text));
}

// A step of random gradients times `scale`, one of which is `odd` unless that is 0.
static void run_step(fixture *f, float scale, float odd)
{
    for (int i = 0; i < STORAGES; i++)
        for (int64_t k = 0; k < size_of(i); k++) gradient(f, i)[k] += scale * (float)hone_rng_normal(7, HONE_RNG_TEST, (uint32_t)(f->step * 10 + i), (uint64_t)k);
    if (odd != 0) gradient(f, 1)[5] = odd;
    hone_optim_hyper(f->options, 1e-2, ++f->step, hone_session_data(&f->session, f->io.hyper));
    if (f->io.mix != HONE_NONE) hone_optim_mix(0.25, hone_session_data(&f->session, f->io.mix));
    must(hone_session_run(&f->session, "update"));
}

// Of weights, moments and the mean.
static uint64_t hash_of(const fixture *f)
{
    uint64_t hash = 0;
    for (hone_tid id = 0; id < f->graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(f->graph, id);
        if ((t->cls != HONE_CLASS_param && t->cls != HONE_CLASS_moment) || t->base != HONE_NONE) continue;
        hash = hash * 1099511628211u + hone_hash64(hone_session_data(&f->session, id), (size_t)hone_tensor_bytes(t));
    }
    return hash;
}

static void check_state(const fixture *f, int doublings, int good, int overflows)
{
    float state[3];
    must(hone_session_read(&f->session, f->state, 0, sizeof state, state));
    if (state[0] != doublings || state[1] != good || state[2] != overflows)
        fail_msg("(%g, %g, %g) instead of (%d, %d, %d)", (double)state[0], (double)state[1], (double)state[2], doublings, good, overflows);
}

static float norm_of(const fixture *f) { return ((const float *)hone_session_data(&f->session, f->io.norm))[0]; }

static void test_scaled_gradients_give_the_bits_of_unscaled_ones(void **state)
{
    (void)state;
    for (int b = 0; b < BACKENDS; b++)
        for (int k = 0; k < KINDS; k++) {
            fixture plain, scaled;
            open_fixture(&plain, backends[b], &kinds[k], false);
            open_fixture(&scaled, backends[b], &kinds[k], true);
            for (int step = 0; step < 3; step++) {
                run_step(&plain, 1, 0);
                run_step(&scaled, 0x1p16f, 0);
                assert_true(norm_of(&plain) == norm_of(&scaled));
            }
            if (hash_of(&plain) != hash_of(&scaled)) fail_msg("%s, kind %d: other bits", backends[b], k);
            check_state(&scaled, 0, 3, 0);
            close_fixture(&plain), close_fixture(&scaled);
        }
}

// Infinite or no number: weights and moments keep their bits, gradients begin anew, the scale halves; and the next step is as if the
// one before had not been.
static void test_a_step_that_overflows_changes_nothing_but_the_scale(void **state)
{
    (void)state;
    for (int b = 0; b < BACKENDS; b++)
        for (int k = 0; k < KINDS; k++) {
            fixture f, without;
            open_fixture(&f, backends[b], &kinds[k], true);
            open_fixture(&without, backends[b], &kinds[k], false);
            run_step(&f, 0x1p16f, 0), run_step(&without, 1, 0);
            const uint64_t before = hash_of(&f);
            for (int turn = 0; turn < 2; turn++) {
                run_step(&f, 0x1p16f, turn ? NAN : INFINITY);
                if (hash_of(&f) != before) fail_msg("%s, kind %d: changed", backends[b], k);
                assert_false(isfinite(norm_of(&f)));
                for (int i = 0; i < STORAGES; i++)
                    for (int64_t e = 0; e < size_of(i); e++) assert_true(gradient(&f, i)[e] == 0);
                check_state(&f, -1 - turn, 0, 1 + turn);
            }
            f.step = 1; // the count of bias correction is the host's: of steps that were made
            run_step(&f, 0x1p14f, 0), run_step(&without, 1, 0);
            if (hash_of(&f) != hash_of(&without)) fail_msg("%s, kind %d: another step", backends[b], k);
            check_state(&f, -2, 1, 2);
            close_fixture(&f), close_fixture(&without);
        }
}

static void test_good_steps_in_a_row_double_the_scale(void **state)
{
    (void)state;
    for (int b = 0; b < BACKENDS; b++) {
        fixture f;
        open_fixture(&f, backends[b], &kinds[0], true);
        const bool all = strcmp(backends[b], "cpu") == 0; // there one by one
        must(hone_session_write(&f.session, f.state, 0, 3 * sizeof(float), (float[]){ 3, all ? 0 : HONE_SCALE_GOOD - 2, 1 }));
        for (int step = 0; step < (all ? HONE_SCALE_GOOD - 1 : 1); step++) run_step(&f, 1, 0);
        check_state(&f, 3, HONE_SCALE_GOOD - 1, 1);
        run_step(&f, 1, 0);
        check_state(&f, 4, 0, 1);
        must(hone_session_write(&f.session, f.state, 0, 3 * sizeof(float), (float[]){ HONE_SCALE_LEAST - HONE_SCALE_FIRST, 9, 1 })); // the least does not halve
        run_step(&f, 1, INFINITY);
        check_state(&f, HONE_SCALE_LEAST - HONE_SCALE_FIRST, 0, 1);
        close_fixture(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scaled_gradients_give_the_bits_of_unscaled_ones),
        cmocka_unit_test(test_a_step_that_overflows_changes_nothing_but_the_scale),
        cmocka_unit_test(test_good_steps_in_a_row_double_the_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
