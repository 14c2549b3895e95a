// test_lora_goldens.c: adapters against PyTorch + transformers + PEFT, on tests/golden_lora/ (tools/make_lora_goldens.py says what
// is in there), with ref and with every instruction set of this machine on one and two threads. Bounds as in test_goldens.c.
#include "base/cpu.h"
#include "base/json.h"
#include "base/memory.h"
#include "graph/session.h"
#include "io/hf.h"
#include "io/peft.h"
#include "optim/update.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include <math.h>

enum { ROWS = 2, T = 37, STEPS = 5 };
static const double logits_bound = 1e-4, loss_bound = 1e-5, gradient_bound = 1e-3, losses_bound = 1e-4, change_bound = 1e-3;
static const double rate = 1e-2;

typedef struct bench {
    char folder[512], base[600], label[160];
    hone_peft peft;
    hone_graph *graph;
    hone_model model;
    hone_session session;
    hone_train_io micro, score;
    hone_decode_io decode;
    hone_update_io update;
    hone_optim_options adamw;
    hone_safetensors gold;
} bench;

static int wrong;
static bool quiet;
static int64_t fold_rows;     // of the benches to come
static void (*mistake)(hone_lora_options *lora, hone_optim_options *adamw); // of the control: what a bench gets wrong
#define CHECK(value, bound, ...) check_value(b, value, bound, __VA_ARGS__)
static void check_value(const bench *b, double value, double bound, const char *what, const char *name)
{
    if (value <= bound) return; // false for NaN
    if (wrong++ < 30 && !quiet) print_error("%s: %s %s is off by %.3g, allowed is %.3g\n", b->label, what, name, value, bound);
}

static void *place(void *session, hone_tid id) { return hone_session_data(session, id); }
static void *data(bench *b, hone_tid id) { return hone_session_data(&b->session, id); }

static void *gold_values(const bench *b, const char *prefix, const char *name, hone_dtype dtype)
{
    char full[200];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const hone_safetensor *t = hone_safetensors_find(&b->gold, full);
    if (!t) fail_msg("%s: no golden %s", b->label, full);
    void *values = malloc((size_t)t->count * hone_dtype_bytes(dtype));
    hone_safetensor_read(&b->gold, t, 0, t->count, dtype, values);
    return values;
}

static double gold_number(const bench *b, const char *name, int i)
{
    double *values = gold_values(b, "", name, HONE_f64), value = values[i];
    free(values);
    return value;
}

static double norm_of(const float *a, const float *b, int64_t n) // |a - b|; b may be NULL
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = (double)a[i] - (b ? (double)b[i] : 0);
        sum += d * d;
    }
    return sqrt(sum);
}

static void load(bench *b)
{
    must(hone_hf_load(&b->model, b->base, place, &b->session));
    hone_model_fill_constants(&b->model, place, &b->session);
    must(hone_peft_note_base(&b->model, b->base, place, &b->session));
    must(hone_peft_load(&b->peft, &b->model, place, &b->session));
}

static bool is_folded(const hone_program *program)
{
    for (int64_t n = 0; n < program->count; n++)
        if (program->node[n].op == HONE_OP_pack && program->node[n].in[1] != HONE_NONE) return true;
    return false;
}

static void bench_open(bench *b, const char *name, const hone_session_options *options, const char *where)
{
    char path[600];
    hone_config config;
    json_t *about;
    *b = (bench){ .adamw = { .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-5, .weight_decay = 0.5 } };
    snprintf(b->folder, sizeof b->folder, "%s/tests/golden_lora/%s", HONE_SOURCE_DIR, name);
    snprintf(b->label, sizeof b->label, "%s on %s", name, where);
    snprintf(path, sizeof path, "%s/golden.safetensors", b->folder);
    must(hone_safetensors_open(&b->gold, path));
    snprintf(path, sizeof path, "%s/adapter_config.json", b->folder);
    must(hone_json_load(path, &about));
    snprintf(b->base, sizeof b->base, "%s/%s", HONE_SOURCE_DIR, json_string_value(json_object_get(about, "base_model_name_or_path")));
    json_decref(about);
    snprintf(path, sizeof path, "%.512s/config.json", b->base);
    must(hone_config_load(&config, path));
    must(hone_peft_open(&b->peft, b->folder));
    b->peft.options.fold_rows = fold_rows;
    b->adamw.fast_ratio = gold_number(b, "ratio", 0);
    if (mistake) mistake(&b->peft.options, &b->adamw);
    b->graph = hone_graph_new();
    must(hone_model_declare(&b->model, b->graph, &config));
    must(hone_lora_declare(&b->model, &b->peft.options));
    must(hone_model_build_micro(&b->model, ROWS, T, &b->micro));
    assert_int_equal(is_folded(b->graph->now), fold_rows > 0);
    must(hone_optim_build_update(b->graph, &b->adamw, &b->update));
    must(hone_model_build_score(&b->model, ROWS, T, &b->score));
    must(hone_model_build_decode(&b->model, 64, T, 1, T, &b->decode));
    for (int i = 0; i < b->graph->n_program; i++) must(hone_graph_validate(b->graph, &b->graph->program[i]));
    must(hone_session_open(&b->session, b->graph, options));
    load(b);
}

static void bench_close(bench *b)
{
    hone_peft_close(&b->peft);
    hone_safetensors_close(&b->gold);
    hone_session_close(&b->session);
    hone_model_release(&b->model);
    hone_graph_free(b->graph);
}

// Whole rows; the last token of each foretells nothing.
static double run_micro(bench *b, const int32_t *ids)
{
    const hone_train_io *io = &b->micro;
    float *weight = data(b, io->weight);
    double loss = 0;
    for (int n = 0; n < ROWS * T; n++) {
        const bool last = n % T == T - 1;
        ((int32_t *)data(b, io->ids))[n] = ids[n];
        ((int32_t *)data(b, io->pos))[n] = n % T;
        ((int32_t *)data(b, io->lo))[n] = n - n % T;
        ((int32_t *)data(b, io->hi))[n] = n + 1;
        ((int32_t *)data(b, io->target))[n] = last ? 0 : ids[n + 1];
        weight[n] = last ? 0 : 1.0f / (ROWS * (T - 1));
    }
    hone_session_run(&b->session, "micro");
    const float *logprob = data(b, io->logprob);
    for (int n = 0; n < ROWS * T; n++) loss -= (double)weight[n] * (double)logprob[n];
    return loss;
}

// Logits of the first row, read as one prompt: decoding goes through living forms of what the adapters change.
static void check_logits(bench *b, const int32_t *ids, const float *logits)
{
    const hone_decode_io *io = &b->decode;
    const int64_t V = b->model.config.vocab;
    hone_session_run(&b->session, "refresh");
    for (int32_t i = 0; i < io->blocks; i++) ((int32_t *)data(b, io->table))[i] = i;
    *(int32_t *)data(b, io->count) = *(int32_t *)data(b, io->wanted_count) = T;
    for (int32_t i = 0; i < T; i++) {
        ((int32_t *)data(b, io->ids))[i] = ids[i];
        ((int32_t *)data(b, io->pos))[i] = ((int32_t *)data(b, io->cache_row))[i] = ((int32_t *)data(b, io->wanted))[i] = i;
        ((int32_t *)data(b, io->slot))[i] = ((int32_t *)data(b, io->lo))[i] = 0;
        ((int32_t *)data(b, io->hi))[i] = i + 1;
    }
    hone_session_run(&b->session, "decode");
    CHECK(norm_of(data(b, io->logits), logits, T * V) / norm_of(logits, NULL, T * V), logits_bound, "logits", "of decode");
}

// what: "grad." or "after.", against data of the gradient or of the factor itself, relative to the change from `from`.
static void check_factors(bench *b, const char *what, double bound)
{
    static const char *const factor[] = { "lora_A.weight", "lora_B.weight", "lora_magnitude_vector" };
    const int each = hone_lora_factors(&b->model.lora);
    for (int64_t i = 0; i < each * b->model.lora.n_module; i++) {
        const hone_tid id = hone_lora_factor(&b->model.lora, i);
        char name[160];
        snprintf(name, sizeof name, "base_model.model.%.100s.%s", b->model.lora.module[i / each].name, factor[i % each]);
        const bool gradient = *what == 'g';
        float *expected = gold_values(b, what, name, HONE_f32), *from = NULL;
        const float *found = data(b, gradient ? hone_grad_of_param(b->graph, id) : id);
        const int64_t n = hone_tensor_count(hone_at(b->graph, id));
        if (!gradient) {
            const hone_safetensor *t = hone_safetensors_find(&b->peft.set, name);
            from = malloc((size_t)n * sizeof *from);
            hone_safetensor_read(&b->peft.set, t, 0, n, HONE_f32, from);
        }
        CHECK(norm_of(found, expected, n) / norm_of(expected, from, n), bound, gradient ? "gradient of" : "change of", name);
        free(expected);
        free(from);
    }
}

static void check_steps(bench *b, const int32_t *ids)
{
    for (hone_tid id = 0; id < b->graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(b->graph, id);
        if (t->cls == HONE_CLASS_grad && t->base == HONE_NONE) memset(data(b, id), 0, (size_t)hone_tensor_bytes(t));
    }
    for (int s = 0; s < STEPS; s++) {
        const double loss = run_micro(b, ids + s * ROWS * T), golden = gold_number(b, "losses", s), norm = gold_number(b, "norms", s);
        hone_optim_hyper(&b->adamw, rate, s + 1, data(b, b->update.hyper));
        if (b->update.fast_hyper != HONE_NONE) hone_optim_hyper(&b->adamw, rate * b->adamw.fast_ratio, s + 1, data(b, b->update.fast_hyper));
        hone_session_run(&b->session, "update");
        CHECK(fabs(loss - golden) / golden, losses_bound, "loss", "of a step");
        CHECK(fabs((double)*(float *)data(b, b->update.norm) - norm) / norm, losses_bound, "gradient norm", "of a step");
    }
    check_factors(b, "after.", change_bound);
}

static void check_adapter(const char *name, const hone_session_options *options, const char *where)
{
    bench made, *b = &made;
    bench_open(b, name, options, where);
    int32_t *ids = gold_values(b, "", "ids", HONE_i32);
    float *logits = gold_values(b, "", "logits", HONE_f32);
    const double loss = run_micro(b, ids), golden = gold_number(b, "loss", 0);
    CHECK(fabs(loss - golden) / golden, loss_bound, "loss", "");
    check_factors(b, "grad.", gradient_bound);
    check_logits(b, ids, logits);
    check_steps(b, ids);
    free(ids);
    free(logits);
    bench_close(b);
}

static const char *const adapters[] = { "llama", "gpt2", "qwen2_rs", "gpt2_dora", "qwen2_dora" };
enum { ADAPTERS = sizeof adapters / sizeof *adapters };

static void test_adapters_equal_peft(void **state)
{
    (void)state;
    wrong = 0;
    for (int i = 0; i < 2 * ADAPTERS; i++) {
        fold_rows = i < ADAPTERS ? 0 : 1 << 20;   // the same, of a matrix that is made first
        const char *name = adapters[i % ADAPTERS];
        check_adapter(name, &(hone_session_options){ .backend = "ref" }, "ref");
        for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa))
            for (int threads = 1; threads <= 2; threads++) {
                char where[32];
                snprintf(where, sizeof where, "%s x %d", hone_isa_name[isa], threads);
                check_adapter(name, &(hone_session_options){ .hardware = { .threads = threads, .force_isa = 1 + (int)isa } }, where);
            }
    }
    fold_rows = 0;
    assert_int_equal(wrong, 0);
}

static void wrong_alpha(hone_lora_options *l, hone_optim_options *a) { (void)a; l->alpha *= 1.01; }
static void wrong_rslora(hone_lora_options *l, hone_optim_options *a) { (void)a; l->rslora = !l->rslora; }
static void wrong_ratio(hone_lora_options *l, hone_optim_options *a) { (void)l; a->fast_ratio *= 1.02; }

static void test_a_wrong_constant_is_noticed(void **state)
{
    (void)state;
    void (*const mistakes[])(hone_lora_options *, hone_optim_options *) = { wrong_alpha, wrong_rslora, wrong_ratio };
    quiet = true;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        wrong = 0;
        mistake = mistakes[i];
        check_adapter("qwen2_rs", &(hone_session_options){ .hardware = { .threads = 1 } }, "cpu");
        if (!wrong) fail_msg("mistake %zu passes", i);
    }
    quiet = false;
    mistake = NULL;
}

// What is frozen costs nothing but its own bytes and products.
static void test_frozen_weights_have_no_gradients_no_moments_and_no_dw(void **state)
{
    (void)state;
    bench made, *b = &made;
    bench_open(b, "llama", &(hone_session_options){ .hardware = { .threads = 1 } }, "cpu");
    const hone_program *micro = hone_graph_program(b->graph, "micro");
    int64_t dw = 0, low = 0, grads = 0, moments = 0, counted = 0;
    for (int64_t n = 0; n < micro->count; n++) {
        const hone_op op = micro->node[n].op;
        dw += op == HONE_OP_linear_dw;
        low += op == HONE_OP_lora_dw;
        assert_true(op != HONE_OP_embed_dw);
        if (op == HONE_OP_linear_xent) assert_int_equal(micro->node[n].out[2], HONE_NONE);
        if (op == HONE_OP_rmsnorm_back) assert_int_equal(micro->node[n].out[1], HONE_NONE);
    }
    for (hone_tid id = 0; id < b->graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(b->graph, id);
        if (t->base != HONE_NONE) continue;
        grads += t->cls == HONE_CLASS_grad ? hone_tensor_count(t) : 0;
        moments += t->cls == HONE_CLASS_moment ? hone_tensor_count(t) : 0;
    }
    for (int64_t i = 0; i < b->model.lora.n_module; i++)
        counted += hone_tensor_count(hone_at(b->graph, b->model.lora.module[i].a)) + hone_tensor_count(hone_at(b->graph, b->model.lora.module[i].b));
    assert_int_equal(b->model.lora.n_module, 7 * b->model.config.layers);
    assert_int_equal(b->model.lora.n_site, 4 * b->model.config.layers);
    assert_int_equal(dw, b->model.lora.n_site);
    assert_int_equal(low, b->model.lora.n_site);
    assert_int_equal(grads, counted);
    assert_int_equal(moments, 2 * counted);
    assert_int_equal(hone_lora_count(&b->model), counted);
    bench_close(b);
}

static void test_targets_that_name_nothing_are_refused(void **state)
{
    (void)state;
    hone_config config;
    hone_model model;
    must(hone_config_load(&config, HONE_SOURCE_DIR "/tests/golden/llama/config.json"));
    hone_graph *graph = hone_graph_new();
    must(hone_model_declare(&model, graph, &config));
    const char *target[] = { "q_proj", "proj" };
    assert_int_equal(hone_lora_declare(&model, &(hone_lora_options){ .rank = 2, .alpha = 4, .target = target, .n_target = 2 }), HONE_FAILED);
    assert_says(hone_error(), "proj names no matrix of a llama model");
    assert_says(hone_error(), "mlp.down_proj");
    hone_model_release(&model);
    hone_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adapters_equal_peft),
        cmocka_unit_test(test_a_wrong_constant_is_noticed),
        cmocka_unit_test(test_frozen_weights_have_no_gradients_no_moments_and_no_dw),
        cmocka_unit_test(test_targets_that_name_nothing_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
