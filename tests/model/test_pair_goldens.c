// test_pair_goldens.c: five AdamW steps of DPO against PyTorch + transformers, on tests/golden_pairs/ (tools/make_pair_goldens.py says
// what is in there), with ref and with every instruction set of this machine on one and two threads.
#include "base/cpu.h"
#include "graph/session.h"
#include "io/hf.h"
#include "optim/update.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include <math.h>

enum { ROWS = 2, T = 48, STEPS = 5, PAIRS = 3 };
static const double beta = 0.3, smoothing = 0.1, rate = 1e-2;
static const double loss_bound = 1e-4, change_bound = 1e-3;
static const char base[] = HONE_SOURCE_DIR "/tests/golden/llama";

typedef struct bench {
    hone_graph *graph;
    hone_model model;
    hone_session session;
    hone_train_io micro, score;
    hone_update_io update;
    hone_safetensors gold;
    const char *where;
} bench;

static int wrong;
static bool quiet;
static void check(const bench *b, double value, double bound, const char *what)
{
    if (value <= bound) return; // false for NaN
    if (wrong++ < 30 && !quiet) print_error("%s: %s is off by %.3g, allowed is %.3g\n", b->where, what, value, bound);
}

static void *place(void *session, hone_tid id) { return hone_session_data(session, id); }
static void *data(bench *b, hone_tid id) { return hone_session_data(&b->session, id); }

// Elements of step `step` (of `count` each) to where they belong.
static void copy_gold(const bench *b, const char *name, hone_dtype dtype, int step, int64_t count, void *to)
{
    const hone_safetensor *t = hone_safetensors_find(&b->gold, name);
    if (!t) fail_msg("no golden %s", name);
    hone_safetensor_read(&b->gold, t, step * count, count, dtype, to);
}

static void bench_open(bench *b, const hone_session_options *options, const char *where, double pair_beta)
{
    hone_config config;
    const hone_optim_options adamw = { .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-5, .weight_decay = 0.5 };
    *b = (bench){ .where = where };
    must(hone_safetensors_open(&b->gold, HONE_SOURCE_DIR "/tests/golden_pairs/llama.safetensors"));
    must(hone_config_load(&config, HONE_SOURCE_DIR "/tests/golden/llama/config.json"));
    b->graph = hone_graph_new();
    must(hone_model_declare(&b->model, b->graph, &config));
    b->model.pair_beta = pair_beta;
    b->model.pair_smoothing = smoothing;
    must(hone_model_build_micro(&b->model, ROWS, T, &b->micro));
    must(hone_optim_build_update(b->graph, &adamw, &b->update));
    must(hone_model_build_score(&b->model, ROWS, T, &b->score));
    for (int i = 0; i < b->graph->n_program; i++) must(hone_graph_validate(b->graph, &b->graph->program[i]));
    must(hone_session_open(&b->session, b->graph, options));
    must(hone_hf_load(&b->model, base, place, &b->session));
    hone_model_fill_constants(&b->model, place, &b->session);
}

static void bench_close(bench *b)
{
    hone_safetensors_close(&b->gold);
    hone_session_close(&b->session);
    hone_model_release(&b->model);
    hone_graph_free(b->graph);
}

static void fill(bench *b, const hone_train_io *io, int step)
{
    const int64_t N = ROWS * T;
    int32_t *lo = data(b, io->lo), *target = data(b, io->target);
    copy_gold(b, "ids", HONE_i32, step, N, data(b, io->ids));
    copy_gold(b, "target", HONE_i32, step, N, target);
    copy_gold(b, "lo", HONE_i32, step, N, lo);
    for (int32_t n = 0; n < N; n++) {
        ((int32_t *)data(b, io->pos))[n] = n - lo[n];
        ((int32_t *)data(b, io->hi))[n] = n + 1;
    }
    if (io->pair == HONE_NONE) return;
    copy_gold(b, "weight", HONE_f32, step, N, data(b, io->weight));
    copy_gold(b, "pair", HONE_i32, step, N, data(b, io->pair));
    copy_gold(b, "reference", HONE_f32, step, 2 * PAIRS, data(b, io->reference));
    memcpy(data(b, io->scored), target, (size_t)N * sizeof *target);
}

// Sums over replies by program score are the golden reference of them.
static void check_reference(bench *b, int step)
{
    float expected[2 * PAIRS], weight[ROWS * T];
    int32_t pair[ROWS * T];
    double found[2 * PAIRS] = { 0 };
    fill(b, &b->score, step);
    copy_gold(b, "reference", HONE_f32, step, 2 * PAIRS, expected);
    copy_gold(b, "weight", HONE_f32, step, ROWS * T, weight);
    copy_gold(b, "pair", HONE_i32, step, ROWS * T, pair);
    must(hone_session_run(&b->session, "score"));
    for (int n = 0; n < ROWS * T; n++)
        if (weight[n] != 0) found[2 * pair[n] + (weight[n] < 0)] += (double)((float *)data(b, b->score.logprob))[n];
    for (int i = 0; i < 2 * PAIRS; i++) check(b, fabs(found[i] - (double)expected[i]) / fabs((double)expected[i]), loss_bound, "a reference");
}

static void check_changes(bench *b)
{
    hone_safetensors start;
    hone_hf_map map;
    must(hone_safetensors_open_folder(&start, base));
    must(hone_hf_map_build(&map, &b->model));
    for (int64_t i = 0; i < map.count; i++) {
        const hone_hf_entry *entry = &map.entry[i];
        const int64_t n = hone_tensor_count(hone_at(b->graph, entry->param[0]));
        char name[160];
        snprintf(name, sizeof name, "after.%s", entry->name);
        assert_true(entry->parts == 1 && !entry->transposed);
        float *from = malloc((size_t)n * sizeof *from), *to = malloc((size_t)n * sizeof *to);
        const float *found = data(b, entry->param[0]);
        double off = 0, change = 0;
        hone_safetensor_read(&start, hone_safetensors_find(&start, entry->name), 0, n, HONE_f32, from);
        copy_gold(b, name, HONE_f32, 0, n, to);
        for (int64_t k = 0; k < n; k++) {
            off += pow((double)found[k] - (double)to[k], 2);
            change += pow((double)to[k] - (double)from[k], 2);
        }
        check(b, sqrt(off / change), change_bound, entry->name);
        free(from);
        free(to);
    }
    hone_hf_map_release(&map);
    hone_safetensors_close(&start);
}

static void check_steps(const hone_session_options *options, const char *where, double pair_beta)
{
    bench made, *b = &made;
    const hone_optim_options adamw = { .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-5, .weight_decay = 0.5 };
    bench_open(b, options, where, pair_beta);
    check_reference(b, 2);
    for (hone_tid id = 0; id < b->graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(b->graph, id);
        if ((t->cls == HONE_CLASS_grad || t->cls == HONE_CLASS_moment) && t->base == HONE_NONE) memset(data(b, id), 0, (size_t)hone_tensor_bytes(t));
    }
    for (int step = 0; step < STEPS; step++) {
        float expected[3 * PAIRS];
        double losses[STEPS], loss = 0;
        fill(b, &b->micro, step);
        must(hone_session_run(&b->session, "micro"));
        const float *measure = data(b, b->micro.measure);
        copy_gold(b, "measure", HONE_f32, step, 3 * PAIRS, expected);
        for (int e = 0; e < PAIRS; e++) {
            loss += (double)measure[3 * e] / PAIRS;
            for (int side = 1; side <= 2; side++) check(b, fabs((double)(measure[3 * e + side] - expected[3 * e + side])) / (1 + fabs((double)expected[3 * e + side])), loss_bound, "a reward");
        }
        copy_gold(b, "losses", HONE_f64, 0, STEPS, losses);
        check(b, fabs(loss - losses[step]) / losses[step], loss_bound, "a loss");
        hone_optim_hyper(&adamw, rate, step + 1, data(b, b->update.hyper));
        must(hone_session_run(&b->session, "update"));
    }
    check_changes(b);
    bench_close(b);
}

static void test_steps_equal_torch(void **state)
{
    (void)state;
    wrong = 0;
    check_steps(&(hone_session_options){ .backend = "ref" }, "ref", beta);
    for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa))
        for (int threads = 1; threads <= 2; threads++) check_steps(&(hone_session_options){ .hardware = { .threads = threads, .force_isa = 1 + (int)isa } }, hone_isa_name[isa], beta);
    assert_int_equal(wrong, 0);
}

static void test_a_wrong_beta_is_noticed(void **state)
{
    (void)state;
    wrong = 0;
    quiet = true;
    check_steps(&(hone_session_options){ .hardware = { .threads = 1 } }, "cpu", beta * 1.01);
    quiet = false;
    assert_true(wrong > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_equal_torch),
        cmocka_unit_test(test_a_wrong_beta_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
