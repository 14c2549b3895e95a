#include "support/rig.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const char *const names[RIG_KINDS] = { "gpt2-like", "llama-like", "llama3-like, tied", "mistral-like, window", "qwen3-like", "gemma2-like",
                                               "values and skips" };
const char *rig_name(int kind) { return names[kind]; }

hone_config rig_config(int kind)
{
    hone_config c = { .vocab = 131, .width = 48, .mlp_width = 80, .layers = 2, .heads = 4, .kv_heads = 2, .head_dim = 12,
                      .max_positions = 1024, .norm_eps = 1e-5, .init_std = 0.08, .rope = HONE_ROPE_PLAIN, .rope_theta = 10000,
                      .bos = -1, .pad = -1 };
    switch (kind) {
    case 0:
        c.norm = HONE_NORM_LAYER; c.mlp = HONE_MLP_GELU; c.rope = HONE_ROPE_NONE; c.kv_heads = 4;
        c.tied = c.qkv_bias = c.out_bias = c.mlp_bias = true;
        break;
    case 2:
        c.rope = HONE_ROPE_LLAMA3; c.rope_factor = 8; c.rope_low = 1; c.rope_high = 4; c.rope_original = 16; c.tied = true;
        break;
    case 3: c.window = 16; c.qkv_bias = true; break;
    case 4: c.qk_norm = true; c.head_dim = 24; c.tied = true; break;
    case 5:
        c.norms = HONE_NORMS_AROUND; c.norm_base = 1; c.mlp = HONE_MLP_GEGLU; c.attention_cap = 1.5; c.softcap = 2.5; c.embed_root = c.tied = true;
        c.window = 16; c.full_every = 2; c.qk_norm = c.qk_whole = true;
        break;
    case 6: c.layers = 3; c.value_embeddings = 1; c.skip_connections = c.qk_norm = true; break;
    default: break;
    }
    return c;
}

void rig_forward(rig *r, const hone_config *config, int64_t rows, int64_t T)
{
    *r = (rig){ .graph = hone_graph_new() };
    assert_non_null(r->graph);
    assert_int_equal(hone_model_declare(&r->model, r->graph, config), HONE_OK);
    hone_model_build_forward(&r->model, rows, T, &r->io);
}

void rig_micro(rig *r, const hone_config *config, int64_t rows, int64_t T) { rig_micro_in(r, config, HONE_f32, rows, T); }

void rig_micro_stored(rig *r, const hone_config *config, int64_t rows, int64_t T)
{
    *r = (rig){ .graph = hone_graph_new() };
    assert_non_null(r->graph);
    assert_int_equal(hone_model_declare(&r->model, r->graph, config), HONE_OK);
    assert_int_equal(hone_model_build_stored(&r->model, rows, T, &r->io), HONE_OK);
}

void rig_micro_in(rig *r, const hone_config *config, hone_dtype product, int64_t rows, int64_t T)
{
    *r = (rig){ .graph = hone_graph_new() };
    assert_non_null(r->graph);
    assert_int_equal(hone_model_declare(&r->model, r->graph, config), HONE_OK);
    r->model.product = product;
    assert_int_equal(hone_model_build_micro(&r->model, rows, T, &r->io), HONE_OK);
}

void rig_micro_within(rig *r, const hone_config *config, int64_t rows, int64_t T, const hone_session_options *options, double tight)
{
    *r = (rig){ .graph = hone_graph_new() };
    assert_non_null(r->graph);
    assert_int_equal(hone_model_declare(&r->model, r->graph, config), HONE_OK);
    assert_int_equal(hone_model_build_stored(&r->model, rows, T, &r->io), HONE_OK);
    hone_program *micro = r->graph->now, built = *micro;
    double *cost = hone_alloc((size_t)built.count, sizeof *cost);
    for (int64_t n = 0; n < built.count; n++) cost[n] = hone_node_work(r->graph, &built.node[n]);
    hone_session session;
    hone_recompute recompute;
    hone_budget *budget;
    assert_int_equal(hone_session_plan(&session, r->graph, options), HONE_OK);
    assert_int_equal(hone_recompute_open(&recompute, r->graph, &built), HONE_OK);
    hone_recompute_choose(&recompute, hone_drop_cheap);
    assert_int_equal(hone_budget_open(&budget, &recompute, session.backend, session.self, cost), HONE_OK);
    size_t whole = hone_budget_peak(budget);
    assert_false(hone_budget_choose(budget, 0));
    size_t least = hone_budget_peak(budget);
    assert_true(hone_budget_choose(budget, whole - (size_t)(tight * (double)(whole - least))));
    hone_recompute_order(&recompute);
    assert_int_equal(hone_recompute_apply(&recompute, r->graph, micro), HONE_OK);
    hone_budget_close(budget);
    hone_recompute_close(&recompute);
    hone_session_close(&session);
    hone_free(built.node);
    hone_free(cost);
}

void *rig_place(void *r, hone_tid id) { return hone_session_data(&((rig *)r)->session, id); }

void *rig_named(rig *r, const char *name)
{
    hone_tid id = hone_graph_find(r->graph, name);
    if (id == HONE_NONE) fail_msg("no tensor %s", name);
    return rig_place(r, id);
}

void rig_start(rig *r, const hone_session_options *options)
{
    for (int i = 0; i < r->graph->n_program; i++)
        if (hone_graph_validate(r->graph, &r->graph->program[i])) fail_msg("%s", hone_error());
    if (hone_session_open(&r->session, r->graph, options)) fail_msg("%s", hone_error());
    hone_model_init(&r->model, 1, rig_place, r);
}

void rig_close(rig *r)
{
    hone_session_close(&r->session);
    hone_model_release(&r->model);
    hone_graph_free(r->graph);
}

void rig_fill(rig *r, const hone_train_io *io, uint64_t seed)
{
    int64_t V = r->model.config.vocab;
    int32_t *ids = rig_place(r, io->ids), *target = rig_place(r, io->target), *pos = rig_place(r, io->pos);
    int32_t *lo = rig_place(r, io->lo), *hi = rig_place(r, io->hi);
    float *weight = io->weight == HONE_NONE ? NULL : rig_place(r, io->weight);
    int64_t start = 0, length = 0;
    for (int64_t n = 0; n < io->N; n++) {
        uint32_t u[4];
        hone_rng_block(seed, HONE_RNG_TEST, 0, (uint64_t)n, u);
        if (n % io->T == 0 || n - start == length) { start = n; length = 1 + u[3] % 29 * (n % io->T != 5); }
        ids[n] = (int32_t)(u[0] % (uint64_t)V);
        target[n] = (int32_t)(u[1] % (uint64_t)V);
        pos[n] = (int32_t)(n - start);
        lo[n] = (int32_t)start;
        hi[n] = (int32_t)n + 1;
        if (weight) weight[n] = u[2] % 4 == 0 ? 0.0f : 1.0f / (float)io->N;
    }
}

uint64_t rig_hash(rig *r)
{
    uint64_t hash = hone_hash64(rig_place(r, r->io.logprob), (size_t)r->io.N * sizeof(float));
    for (hone_tid id = 0; id < r->graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(r->graph, id);
        if (t->cls != HONE_CLASS_grad || t->base != HONE_NONE) continue;
        hash = hash * 31 + hone_hash64(rig_place(r, id), (size_t)hone_tensor_count(t) * sizeof(float));
    }
    return hash;
}

double rig_difference(const float *a, const float *b, int64_t n)
{
    double d = 0, s = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        s += (double)b[i] * b[i];
    }
    return s > 0 ? sqrt(d / s) : sqrt(d);
}
