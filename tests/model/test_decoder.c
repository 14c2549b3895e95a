// The structure of a decoder, before any number is computed: parameters as transformers counts them, programs that hold
// together, constants and initial weights. What the programs compute is tested against PyTorch elsewhere.
#include "base/memory.h"
#include "model/decoder.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static const hone_config gpt2 = {
    .vocab = 50257, .width = 768, .mlp_width = 3072, .layers = 12, .heads = 12, .kv_heads = 12, .head_dim = 64,
    .max_positions = 1024, .norm = HONE_NORM_LAYER, .mlp = HONE_MLP_GELU, .rope = HONE_ROPE_NONE, .norm_eps = 1e-5,
    .init_std = 0.02, .tied = true, .qkv_bias = true, .out_bias = true, .mlp_bias = true, .init_scaled = true, .bos = 50256, .pad = -1,
};
#define LLAMA(V, C, F, L, H, G, D) .vocab = V, .width = C, .mlp_width = F, .layers = L, .heads = H, .kv_heads = G, \
    .head_dim = D, .max_positions = 2048, .rope = HONE_ROPE_PLAIN, .rope_theta = 10000, .norm_eps = 1e-5, .init_std = 0.02, .pad = -1
static const hone_config llama_15m = { LLAMA(8192, 384, 1024, 6, 6, 6, 64), .tied = true };
static const hone_config tiny_llama = { LLAMA(32000, 2048, 5632, 22, 32, 4, 64) };
static const hone_config llama32_1b = { LLAMA(128256, 2048, 8192, 16, 32, 8, 64), .tied = true };
static const hone_config mistral_7b = { LLAMA(32000, 4096, 14336, 32, 32, 8, 128), .window = 4096 };
static const hone_config qwen2_05b = { LLAMA(151936, 896, 4864, 24, 14, 2, 64), .tied = true, .qkv_bias = true };
static const hone_config qwen3_06b = { LLAMA(151936, 1024, 3072, 28, 16, 8, 128), .tied = true, .qk_norm = true };

// Counts by transformers 5, AutoModelForCausalLM.from_config on the meta device.
static const struct { const char *name; const hone_config *config; int64_t count; } known[] = {
    { "gpt2", &gpt2, 124439808 }, { "llama-15m", &llama_15m, 13767552 }, { "TinyLlama", &tiny_llama, 1100048384 },
    { "Llama-3.2-1B", &llama32_1b, 1235814400 }, { "Mistral-7B", &mistral_7b, 7241732096 },
    { "Qwen2-0.5B", &qwen2_05b, 494032768 }, { "Qwen3-0.6B", &qwen3_06b, 596049920 },
};
enum { N_KNOWN = sizeof known / sizeof *known };

static void test_parameters_count_as_in_transformers(void **state)
{
    (void)state;
    for (int i = 0; i < N_KNOWN; i++) {
        hone_graph *graph = hone_graph_new();
        hone_model model;
        assert_int_equal(hone_model_declare(&model, graph, known[i].config), HONE_OK);
        if (hone_model_count(&model) != known[i].count) fail_msg("%s: %lld", known[i].name, (long long)hone_model_count(&model));
        hone_model_release(&model);
        hone_graph_free(graph);
    }
}

// Logical parameters cover every storage once: what a checkpoint or the optimizer sees is all there is.
static void test_logical_parameters_cover_the_storages(void **state)
{
    (void)state;
    for (int i = 0; i < N_KNOWN; i++) {
        hone_graph *graph = hone_graph_new();
        hone_model model;
        assert_int_equal(hone_model_declare(&model, graph, known[i].config), HONE_OK);
        int64_t storage = 0;
        for (hone_tid t = 0; t < graph->n_tensor; t++) {
            const hone_tensor *tensor = hone_at(graph, t);
            if (tensor->cls != HONE_CLASS_param) continue;
            assert_true(tensor->trained);
            assert_int_equal(tensor->decayed, tensor->rank == 2);
            if (tensor->base == HONE_NONE) storage += hone_tensor_count(tensor);
        }
        assert_int_equal(storage, known[i].count);
        for (int64_t p = 1; p < model.n_param; p++) { // views of one storage follow each other without a gap
            const hone_tensor *a = hone_at(graph, model.param[p - 1]), *b = hone_at(graph, model.param[p]);
            if (a->base == HONE_NONE || a->base != b->base) continue;
            assert_int_equal(a->offset_bytes + hone_tensor_count(a) * 4, b->offset_bytes);
        }
        hone_model_release(&model);
        hone_graph_free(graph);
    }
}

static void test_all_programs_of_every_family_validate(void **state)
{
    (void)state;
    for (int i = 0; i < N_KNOWN; i++) {
        hone_config config = *known[i].config;
        config.layers = 3;
        hone_graph *graph = hone_graph_new();
        hone_model model;
        hone_train_io micro, score;
        hone_decode_io decode;
        assert_int_equal(hone_model_declare(&model, graph, &config), HONE_OK);
        assert_int_equal(hone_model_build_micro(&model, 2, 64, &micro), HONE_OK);
        assert_int_equal(hone_model_build_score(&model, 1, 96, &score), HONE_OK);
        assert_int_equal(hone_model_build_decode(&model, 48, 4, 4, 100, &decode), HONE_OK);
        for (int p = 0; p < graph->n_program; p++)
            if (hone_graph_validate(graph, &graph->program[p])) fail_msg("%s %s: %s", known[i].name, graph->program[p].name, hone_error());
        assert_int_equal(micro.N, 128);
        assert_int_equal(micro.count, HONE_NONE);
        assert_int_equal(decode.blocks, (100 + HONE_KV_BLOCK - 1) / HONE_KV_BLOCK);
        assert_int_equal(decode.cache_rows, 4 * decode.blocks * decode.block);
        assert_int_equal(hone_at(graph, decode.logits)->dim[0], 4);
        assert_int_equal(hone_at(graph, decode.logits)->dim[1], config.vocab);
        assert_int_equal(hone_at(graph, decode.logits)->live, decode.wanted_count);
        // every parameter is trained: it has a gradient
        for (int64_t p = 0; p < model.n_param; p++)
            if (hone_grad_of_param(graph, model.param[p]) == HONE_NONE) fail_msg("%s has no gradient", hone_at(graph, model.param[p])->name);
        hone_model_release(&model);
        hone_graph_free(graph);
    }
}

// 6 FLOPs a weight of the products that run, and 12 H D a visible key: nodes of the built program count the same.
static void test_flops_per_token_match_the_nodes(void **state)
{
    (void)state;
    for (int i = 0; i < N_KNOWN; i++) {
        hone_config config = *known[i].config;
        config.layers = 2;
        hone_graph *graph = hone_graph_new();
        hone_model model;
        hone_train_io io;
        assert_int_equal(hone_model_declare(&model, graph, &config), HONE_OK);
        assert_int_equal(hone_model_build_micro(&model, 2, 128, &io), HONE_OK);
        double flops = 0, attention = 2.0 * 6 * (double)(config.heads * config.head_dim) * 128;
        for (int64_t n = 0; n < graph->program[0].count; n++) flops += hone_node_flops(graph, &graph->program[0].node[n]);
        assert_float_equal(flops / 256, hone_model_flops_per_token(&config, 128) - attention, 1);
        hone_model_release(&model);
        hone_graph_free(graph);
    }
    hone_config windowed = mistral_7b, full = mistral_7b;
    windowed.window = 8; full.window = 0;
    double keys = 0; // of a row, averaged, without its own half: as T / 2 is for T
    for (int t = 0; t < 1000; t++) keys += (t < 8 ? t + 0.5 : 8) / 1000;
    assert_float_equal(hone_model_flops_per_token(&full, 1000) - hone_model_flops_per_token(&windowed, 1000),
                       32.0 * 12 * 4096 * (500 - keys), 1);
}

// Values of ROPE_INIT_FUNCTIONS and LlamaRotaryEmbedding of transformers 5, head size 24.
static void test_rope_frequencies_are_those_of_transformers(void **state)
{
    (void)state;
    static const float llama3[12] = { 0x1.26f0dcp-1f, 0x1.528e1p-4f, 0x1.b93a6ap-6f, 0x1.99999ap-7f, 0x1.7c3d2ap-8f, 0x1.60fb8cp-9f,
                                      0x1.47ae14p-10f, 0x1.3030f4p-11f, 0x1.1a62d2p-12f, 0x1.0624dep-13f, 0x1.e6b4b8p-15f, 0x1.c3d14ep-16f };
    static const float linear[12] = { 0x1p-2f, 0x1.db4c78p-4f, 0x1.b93a6ap-5f, 0x1.99999ap-6f, 0x1.7c3d2ap-7f, 0x1.60fb8cp-8f,
                                      0x1.47ae14p-9f, 0x1.3030f4p-10f, 0x1.1a62d2p-11f, 0x1.0624dep-12f, 0x1.e6b4b8p-14f, 0x1.c3d14ep-15f };
    static const float plain[12] = { 0x1p+0f, 0x1.571288p-2f, 0x1.cbc2aap-4f, 0x1.34119p-5f, 0x1.9cd9d2p-7f, 0x1.14a2e4p-8f,
                                     0x1.72ba42p-10f, 0x1.f0d27p-12f, 0x1.4ce6ecp-13f, 0x1.be2188p-15f, 0x1.2aefa4p-16f, 0x1.909caap-18f };
    const struct { hone_config config; const float *expected; } rows[] = {
        { { .rope = HONE_ROPE_LLAMA3, .rope_theta = 10000, .rope_factor = 8, .rope_low = 1, .rope_high = 4, .rope_original = 16 }, llama3 },
        { { .rope = HONE_ROPE_LINEAR, .rope_theta = 10000, .rope_factor = 4 }, linear },
        { { .rope = HONE_ROPE_PLAIN, .rope_theta = 500000 }, plain },
    };
    for (int i = 0; i < 3; i++) {
        hone_config config = rows[i].config;
        float freq[12];
        config.head_dim = 24;
        hone_config_rope_frequencies(&config, freq);
        // torch's powf and ours may each round the last bit otherwise; the blend of llama3 doubles that
        for (int j = 0; j < 12; j++) assert_float_equal(freq[j] / rows[i].expected[j], 1.0f, 4 * 6e-8f);
    }
}

// Places for init without a session: one heap block per storage.
static void *heap_place(void *context, hone_tid id)
{
    void **data = context;
    return data[id];
}

static void **allocate(const hone_graph *graph)
{
    void **data = hone_alloc((size_t)graph->n_tensor, sizeof *data);
    for (hone_tid t = 0; t < graph->n_tensor; t++) {
        const hone_tensor *tensor = hone_at(graph, t);
        data[t] = tensor->base == HONE_NONE ? hone_alloc((size_t)hone_tensor_count(tensor), 8)
                                            : (char *)data[tensor->base] + tensor->offset_bytes;
    }
    return data;
}

static void release(const hone_graph *graph, void **data)
{
    for (hone_tid t = 0; t < graph->n_tensor; t++) if (hone_at(graph, t)->base == HONE_NONE) hone_free(data[t]);
    hone_free(data);
}

static void moments(const float *w, int64_t n, double *mean, double *std)
{
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) { sum += (double)w[i]; square += (double)w[i] * (double)w[i]; }
    *mean = sum / (double)n;
    *std = sqrt(square / (double)n - *mean * *mean);
}

static void test_initial_weights_are_those_of_transformers(void **state)
{
    (void)state;
    for (int family = 0; family < 2; family++) {
        hone_config config = family ? gpt2 : llama_15m;
        config.vocab = 515; config.width = 96; config.mlp_width = 250; config.layers = 3; config.heads = config.kv_heads = 4;
        config.head_dim = 24; config.pad = family ? -1 : 7; config.qk_norm = !family;
        hone_graph *graph = hone_graph_new();
        hone_model model;
        assert_int_equal(hone_model_declare(&model, graph, &config), HONE_OK);
        void **data = allocate(graph), **again = allocate(graph);
        hone_model_init(&model, 3, heap_place, data);
        hone_model_init(&model, 3, heap_place, again);
        const float *previous = NULL;
        for (int64_t p = 0; p < model.n_param; p++) {
            const hone_tensor *t = hone_at(graph, model.param[p]);
            const float *w = data[model.param[p]];
            int64_t n = hone_tensor_count(t);
            assert_memory_equal(w, again[model.param[p]], (size_t)n * sizeof *w);
            double mean, std, expected = 0.02;
            moments(w, n, &mean, &std);
            if (t->rank == 1) {
                bool bias = !strcmp(t->name + strlen(t->name) - 2, ".b");
                assert_float_equal(std, 0, 0);
                assert_float_equal(mean, bias ? 0 : 1, 0);
                continue;
            }
            if (family && (strstr(t->name, ".o") || strstr(t->name, ".down"))) expected /= sqrt(6.0);
            // standard errors: std / sqrt(n) of the mean, std / sqrt(2 n) of std; five of them. Padding: one row in 515 of zeros.
            double pad = model.param[p] == model.embed && config.pad >= 0 ? 0.002 : 0;
            if (fabs(mean) > 5 * expected / sqrt((double)n) || fabs(std / expected - 1) > 5 / sqrt(2.0 * (double)n) + pad)
                fail_msg("%s: mean %g std %g", t->name, mean, std);
            if (previous) assert_memory_not_equal(previous, w, 64); // each parameter has its own numbers
            previous = w;
        }
        const float *row = (float *)data[model.embed] + 7 * 96;
        for (int c = 0; c < 96; c++) assert_true((row[c] == 0) == (family == 0));
        if (!family) assert_float_equal(((float *)data[model.rope_freq])[0], 1, 0);
        release(graph, data);
        release(graph, again);
        hone_model_release(&model);
        hone_graph_free(graph);
    }
}

// Tables are drawn as the tokens' is, each its own, padding zeros; gains are 1/2 of values, 1 of skips. Neither is Muon's.
static void test_value_embeddings_and_skips_start_as_documented(void **state)
{
    (void)state;
    hone_config config = llama_15m;
    config.vocab = 515; config.width = 96; config.mlp_width = 250; config.layers = 5; config.heads = 4; config.kv_heads = 2; config.head_dim = 24;
    config.pad = 7; config.value_embeddings = 2; config.skip_connections = true;
    hone_graph *graph = hone_graph_new();
    hone_model model;
    assert_int_equal(hone_model_declare(&model, graph, &config), HONE_OK);
    void **data = allocate(graph);
    hone_model_init(&model, 3, heap_place, data);
    int tables = 0, values = 0, skips = 0;
    for (int64_t p = 0; p < model.n_param; p++) {
        const hone_tensor *t = hone_at(graph, model.param[p]);
        const float *w = data[model.param[p]];
        const bool table = !strncmp(t->name, "embed.values.", 13), value = strstr(t->name, "value_gain") != NULL, skip = strstr(t->name, "skip_gain") != NULL;
        if (!table && !value && !skip) continue;
        tables += table, values += value, skips += skip;
        assert_int_equal(t->dim[0], table ? 515 : value ? 48 : 96);
        assert_true(!t->hidden && t->decayed == table && t->trained);
        double mean, std;
        moments(w, hone_tensor_count(t), &mean, &std);
        if (table) {
            assert_true(fabs(std / 0.02 - 1) < 5 / sqrt(2.0 * 515 * 48) + 0.002);   // as above; one row in 515 of zeros
            for (int c = 0; c < 48; c++) assert_true(w[7 * 48 + c] == 0 && w[8 * 48 + c] != 0);
        } else {
            assert_true(std == 0 && mean == (value ? 0.5 : 1));
        }
    }
    assert_true(tables == 2 && values == 4 && skips == 2);
    assert_memory_not_equal(data[model.block[0].values], data[model.block[1].values], 64);
    release(graph, data);
    hone_model_release(&model);
    hone_graph_free(graph);
}

// zero_outputs: what a block adds to the residual stream is zero, all else as without it.
static void test_zero_outputs_change_o_and_down_alone(void **state)
{
    (void)state;
    hone_config config = llama_15m;
    config.vocab = 515; config.width = 96; config.mlp_width = 250; config.layers = 2; config.heads = config.kv_heads = 4; config.head_dim = 24;
    hone_graph *graph = hone_graph_new();
    hone_model model;
    assert_int_equal(hone_model_declare(&model, graph, &config), HONE_OK);
    void **random = allocate(graph), **zero = allocate(graph);
    hone_model_init(&model, 3, heap_place, random);
    model.zero_outputs = true;
    hone_model_init(&model, 3, heap_place, zero);
    for (int64_t p = 0; p < model.n_param; p++) {
        const hone_tensor *t = hone_at(graph, model.param[p]);
        const float *w = zero[model.param[p]];
        int64_t n = hone_tensor_count(t);
        bool output = strstr(t->name, ".o") || strstr(t->name, ".down");
        for (int64_t k = 0; output && k < n; k++) assert_true(w[k] == 0);
        if (!output) assert_memory_equal(w, random[model.param[p]], (size_t)n * sizeof *w);
    }
    release(graph, random);
    release(graph, zero);
    hone_model_release(&model);
    hone_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters_count_as_in_transformers), cmocka_unit_test(test_logical_parameters_cover_the_storages),
        cmocka_unit_test(test_all_programs_of_every_family_validate), cmocka_unit_test(test_flops_per_token_match_the_nodes),
        cmocka_unit_test(test_rope_frequencies_are_those_of_transformers),
        cmocka_unit_test(test_initial_weights_are_those_of_transformers),
        cmocka_unit_test(test_value_embeddings_and_skips_start_as_documented),
        cmocka_unit_test(test_zero_outputs_change_o_and_down_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
