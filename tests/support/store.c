#include "support/cmocka_all.h"
#include "support/store.h"
#include "base/memory.h"
#include "base/rng.h"
#include "optim/update.h"

static bool kept(const hone_tensor *t) { return t->base == HONE_NONE && (t->cls == HONE_CLASS_param || t->cls == HONE_CLASS_moment); }

void test_store_open(test_store *store, const hone_config *config, bool trained)
{
    *store = (test_store){ .graph = hone_graph_new() };
    assert_non_null(store->graph);
    if (hone_model_declare(&store->model, store->graph, config)) fail_msg("%s", hone_error());
    if (trained) {
        hone_train_io io;
        hone_update_io update;
        const hone_optim_options options = { .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1, .max_grad_norm = 1 };
        assert_int_equal(hone_model_build_micro(&store->model, 1, 8, &io), HONE_OK);
        assert_int_equal(hone_optim_build_update(store->graph, &options, &update), HONE_OK);
    }
    store->place = hone_alloc((size_t)store->graph->n_tensor, sizeof *store->place);
    assert_non_null(store->place);
    for (hone_tid i = 0; i < store->graph->n_tensor; i++)
        if (kept(hone_at(store->graph, i))) {
            assert_int_equal(hone_at(store->graph, i)->dtype, HONE_f32);
            store->place[i] = hone_alloc((size_t)hone_tensor_count(hone_at(store->graph, i)), sizeof(float));
            assert_non_null(store->place[i]);
        }
}

void test_store_close(test_store *store)
{
    for (hone_tid i = 0; i < store->graph->n_tensor; i++) hone_free(store->place[i]);
    hone_free(store->place);
    hone_model_release(&store->model);
    hone_graph_free(store->graph);
}

void *test_store_place(void *store_pointer, hone_tid id)
{
    test_store *store = store_pointer;
    const hone_tensor *t = hone_at(store->graph, id);
    return t->base == HONE_NONE ? (void *)store->place[id] : (void *)((uint8_t *)store->place[t->base] + t->offset_bytes);
}

void test_store_fill(test_store *store, uint64_t seed)
{
    for (hone_tid i = 0; i < store->graph->n_tensor; i++)
        if (store->place[i])
            for (int64_t k = 0; k < hone_tensor_count(hone_at(store->graph, i)); k++)
                store->place[i][k] = (float)hone_rng_normal(seed, HONE_RNG_TEST, (uint32_t)i, (uint64_t)k) * 0.05f;
}

void test_store_zero(test_store *store)
{
    for (hone_tid i = 0; i < store->graph->n_tensor; i++)
        if (store->place[i]) memset(store->place[i], 0, (size_t)hone_tensor_count(hone_at(store->graph, i)) * sizeof(float));
}

bool test_store_equal(test_store *a, test_store *b)
{
    assert_int_equal(a->graph->n_tensor, b->graph->n_tensor);
    for (hone_tid i = 0; i < a->graph->n_tensor; i++)
        if (a->place[i] && memcmp(a->place[i], b->place[i], (size_t)hone_tensor_count(hone_at(a->graph, i)) * sizeof(float)) != 0) return false;
    return true;
}

hone_config test_family_config(const char *model_type, bool tied)
{
    hone_config c = { 0 };
    json_t *json;
    const char *text = "{\"vocab_size\": 131, \"hidden_size\": 48, \"intermediate_size\": 50, \"num_hidden_layers\": 3, \"num_attention_heads\": 4, "
        "\"num_key_value_heads\": 2, \"max_position_embeddings\": 64, \"head_dim\": 24, \"rms_norm_eps\": 1e-5, \"bos_token_id\": 1, \"eos_token_id\": 2, "
        "\"use_sliding_window\": true, \"sliding_window\": 16, \"max_window_layers\": 2, \"attention_bias\": true, \"mlp_bias\": true}";
    if (strcmp(model_type, "gpt2") == 0)
        text = "{\"vocab_size\": 131, \"n_positions\": 64, \"n_embd\": 48, \"n_layer\": 3, \"n_head\": 4, \"n_inner\": 50, \"bos_token_id\": 1, \"eos_token_id\": 2}";
    assert_int_equal(hone_json_parse("family", text, strlen(text), &json), HONE_OK);
    json_object_set_new(json, "model_type", json_string(model_type));
    json_object_set_new(json, "tie_word_embeddings", json_boolean(tied));
    if (!strcmp(model_type, "nemotron")) json_object_set_new(json, "partial_rotary_factor", json_real(1));
    if (!strcmp(model_type, "stablelm")) json_object_set_new(json, "partial_rotary_factor", json_real(0.5));
    for (int i = 0; i < 2 && !strcmp(model_type, "granite"); i++) json_object_set_new(json, i ? "attention_bias" : "mlp_bias", json_false());
    if (hone_config_read(&c, json, "family")) fail_msg("%s", hone_error());
    json_decref(json);
    return c;
}
