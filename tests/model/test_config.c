// test_config.c: config.json in and out for every family, and one clear message for every file that is wrong.
#include "support/cmocka_all.h"
#include "model/config.h"
#include "base/file.h"
#include "base/memory.h"
#include <fcntl.h>
#include <unistd.h>

static char folder[256], path[512];

static hone_status load_text(hone_config *config, const char *text)
{
    assert_int_equal(hone_file_write(path, text, strlen(text)), HONE_OK);
    return hone_config_load(config, path);
}

// A valid config of a family with one key set to a JSON text (NULL: the key removed).
static hone_status load_changed(hone_config *config, const char *model_type, const char *key, const char *value)
{
    const char *gpt2 = "{\"model_type\": \"gpt2\", \"vocab_size\": 131, \"n_positions\": 64, \"n_embd\": 96, \"n_layer\": 2, \"n_head\": 4}";
    const char *other = "{\"vocab_size\": 131, \"hidden_size\": 96, \"intermediate_size\": 50, \"num_hidden_layers\": 3, \"num_attention_heads\": 4, "
                        "\"num_key_value_heads\": 2, \"max_position_embeddings\": 64, \"head_dim\": 24}";
    const char *text = strcmp(model_type, "gpt2") ? other : gpt2;
    json_t *json;
    assert_int_equal(hone_json_parse("base", text, strlen(text), &json), HONE_OK);
    json_object_set_new(json, "model_type", json_string(model_type));
    if (!strcmp(model_type, "nemotron")) json_object_set_new(json, "partial_rotary_factor", json_real(1));
    if (key && !value) json_object_del(json, key);
    if (key && value) {
        json_t *parsed;
        assert_int_equal(hone_json_parse(value, value, strlen(value), &parsed), HONE_OK);
        json_object_set_new(json, key, parsed);
    }
    assert_int_equal(hone_json_save(path, json), HONE_OK);
    json_decref(json);
    return hone_config_load(config, path);
}

// The message names the file and holds the given words.
static void assert_refused(const char *model_type, const char *key, const char *value, const char *words)
{
    hone_config config;
    if (load_changed(&config, model_type, key, value) == HONE_OK) fail_msg("%s with %s = %s was accepted", model_type, key, value ? value : "(absent)");
    if (!strstr(hone_error(), words) || !strstr(hone_error(), path)) fail_msg("%s = %s: the message lacks \"%s\" or the path: %s", key, value ? value : "(absent)", words, hone_error());
}

static const char *const every_family[] = { "gpt2", "llama", "mistral", "qwen2", "qwen3", "nemotron", "hone", "granite", "stablelm", "phi3", "olmo2", "gemma2", "gemma3_text" };

static void test_every_family_survives_saving_and_loading(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof every_family / sizeof *every_family; i++) {
        hone_config a, b;
        const bool windowed = i == 3 || i == 4 || i == 6, own = i == 6, gemma2 = i == 11, gemma3 = i == 12, gemma = gemma2 || gemma3;
        assert_int_equal(load_changed(&a, every_family[i], NULL, NULL), HONE_OK);
        a.norm_eps = 3e-6;
        a.n_eos = 2; a.eos[0] = 5; a.eos[1] = 130; a.bos = -1; a.pad = 7; a.tied = !a.tied;
        if (a.rope) { a.rope = HONE_ROPE_LLAMA3; a.rope_factor = 8; a.rope_low = 1; a.rope_high = 4; a.rope_original = 16; a.rope_theta = 5e5; }
        if (i == 1) { a.qkv_bias = a.out_bias = a.mlp_bias = true; }
        if (i == 2) a.window = 16;
        if (windowed) { a.window = 16; a.window_from = 1; }
        if (own) { a.softcap = 15; a.mlp = HONE_MLP_RELU2; a.norm = HONE_NORM_LAYER; a.qk_norm = true; a.value_embeddings = 1; a.skip_connections = true; }
        if (hone_config_save(&a, path)) fail_msg("%s: %s", every_family[i], hone_error());
        assert_int_equal(hone_config_load(&b, path), HONE_OK);
        assert_ptr_equal(b.family, hone_family_find(every_family[i]));
        assert_int_equal(b.head_dim, 24);
        assert_int_equal(b.n_eos, 2);
        assert_int_equal(b.eos[1], 130);
        assert_int_equal(b.bos, -1);
        assert_int_equal(b.pad, 7);
        assert_int_equal(b.tied, a.tied);
        assert_true(b.norm_eps == 3e-6);
        assert_int_equal(b.rope, i ? HONE_ROPE_LLAMA3 : HONE_ROPE_NONE);
        assert_int_equal(b.rope_original, i ? 16 : 0);
        assert_int_equal(b.out_bias, i <= 1);
        assert_int_equal(b.qkv_bias, i <= 1 || i == 3);
        assert_int_equal(b.qk_norm, i == 4 || own || i == 10 || gemma3);
        assert_int_equal(b.mlp, a.mlp);
        assert_int_equal(b.norm, a.norm);
        assert_true(b.softcap == (own ? 15 : gemma2 ? 30 : 0));
        assert_int_equal(b.own, own);
        assert_true(b.value_embeddings == own && b.skip_connections == own);
        assert_int_equal(hone_config_window(&b, 0), i == 2 ? 16 : gemma ? 4096 : 0);
        assert_int_equal(hone_config_window(&b, 1), i == 2 || windowed ? 16 : gemma3 ? 4096 : 0);
        assert_int_equal(hone_config_window(&b, 2), i == 2 || windowed ? 16 : gemma ? 4096 : 0);
        assert_true(b.rope_local == (gemma3 ? 10000 : 0) && b.attention_cap == (gemma2 ? 50 : 0) && b.attention_scale == (i == 7 ? 1 : gemma ? 1 / 16.0 : 0));
    }
}

// Both styles say two bases; scaling is of the layers that see all.
static void test_layers_with_a_window_have_a_base_of_their_own(void **state)
{
    (void)state;
    hone_config c;
    assert_int_equal(load_changed(&c, "gemma3_text", NULL, NULL), HONE_OK);
    assert_true(c.rope == HONE_ROPE_PLAIN && c.rope_theta == 1e6 && c.rope_local == 1e4);
    assert_int_equal(load_changed(&c, "gemma3_text", "rope_scaling", "{\"rope_type\": \"linear\", \"factor\": 8.0}"), HONE_OK);
    assert_true(c.rope == HONE_ROPE_LINEAR && c.rope_factor == 8 && c.rope_theta == 1e6 && c.rope_local == 1e4);
    assert_int_equal(load_changed(&c, "gemma3_text", "rope_local_base_freq", "5000"), HONE_OK);
    assert_true(c.rope_theta == 1e6 && c.rope_local == 5000);
    assert_int_equal(load_changed(&c, "gemma3_text", "rope_parameters", "{\"sliding_attention\": {\"rope_type\": \"default\", \"rope_theta\": 300.0},"
                                  " \"full_attention\": {\"rope_type\": \"linear\", \"factor\": 2, \"rope_theta\": 700.0}}"), HONE_OK);
    assert_true(c.rope == HONE_ROPE_LINEAR && c.rope_factor == 2 && c.rope_theta == 700 && c.rope_local == 300);
    for (int64_t l = 0; l < 12; l++) assert_int_equal(hone_config_window(&c, l), l % 6 == 5 ? 0 : 4096);
}

static void test_absent_keys_take_the_defaults_of_transformers(void **state)
{
    (void)state;
    hone_config c;
    assert_int_equal(load_changed(&c, "gpt2", NULL, NULL), HONE_OK);
    assert_int_equal(c.mlp_width, 4 * 96);
    assert_int_equal(c.kv_heads, 4);
    assert_true(c.tied && c.bos == -1 && c.n_eos == 0); // 50256 is outside this vocabulary
    assert_int_equal(load_changed(&c, "llama", "head_dim", NULL), HONE_OK);
    assert_int_equal(c.head_dim, 24);
    assert_true(!c.tied && c.bos == 1 && c.n_eos == 1 && c.eos[0] == 2 && c.pad == -1);
    assert_true(c.rope == HONE_ROPE_PLAIN && c.rope_theta == 10000.0 && c.norm_eps == 1e-6);
    assert_int_equal(load_changed(&c, "llama", "bos_token_id", "null"), HONE_OK); // null is not absent
    assert_int_equal(c.bos, -1);
    assert_int_equal(load_changed(&c, "llama", "num_key_value_heads", NULL), HONE_OK);
    assert_int_equal(c.kv_heads, 4);
    assert_int_equal(load_changed(&c, "mistral", NULL, NULL), HONE_OK);
    assert_int_equal(c.window, 4096);
    assert_int_equal(load_changed(&c, "mistral", "sliding_window", "null"), HONE_OK);
    assert_int_equal(c.window, 0);
    assert_int_equal(load_changed(&c, "qwen2", "sliding_window", "16"), HONE_OK); // use_sliding_window is false
    assert_int_equal(c.window, 0);
    assert_int_equal(load_changed(&c, "qwen3", "head_dim", NULL), HONE_OK);
    assert_int_equal(c.head_dim, 128);
}

#define SIZES "\"vocab_size\": 9, \"hidden_size\": 8, \"intermediate_size\": 5, \"num_hidden_layers\": 3, \"num_attention_heads\": 2, \"max_position_embeddings\": 64"

static void test_both_styles_of_rope_scaling_mean_the_same(void **state)
{
    (void)state;
    hone_config old, new;
    assert_int_equal(load_text(&old, "{\"model_type\": \"llama\", " SIZES ", \"rope_theta\": 5e5, \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 32.0,"
                                     "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 16}}"), HONE_OK);
    assert_int_equal(load_text(&new, "{\"model_type\": \"llama\", " SIZES ", \"rope_parameters\": {\"rope_theta\": 5e5, \"rope_type\": \"llama3\", \"factor\": 32,"
                                     "\"low_freq_factor\": 1, \"high_freq_factor\": 4, \"original_max_position_embeddings\": 16}}"), HONE_OK);
    assert_true(old.rope == HONE_ROPE_LLAMA3 && new.rope == HONE_ROPE_LLAMA3);
    assert_true(old.rope_theta == 5e5 && new.rope_theta == 5e5 && old.rope_factor == 32 && new.rope_factor == 32);
    assert_true(old.rope_low == 1 && new.rope_low == 1 && old.rope_high == 4 && new.rope_high == 4);
    assert_true(old.rope_original == 16 && new.rope_original == 16);
    assert_int_equal(load_text(&old, "{\"model_type\": \"llama\", " SIZES ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}}"), HONE_OK);
    assert_true(old.rope == HONE_ROPE_LINEAR && old.rope_factor == 2 && old.rope_theta == 10000);
}

static void test_layers_slide_where_layer_types_says(void **state)
{
    (void)state;
    hone_config c;
    assert_int_equal(load_text(&c, "{\"model_type\": \"qwen3\", " SIZES ", \"use_sliding_window\": true, \"sliding_window\": 16, \"max_window_layers\": 2}"), HONE_OK);
    assert_true(hone_config_window(&c, 1) == 0 && hone_config_window(&c, 2) == 16);
    assert_int_equal(load_text(&c, "{\"model_type\": \"qwen3\", " SIZES ", \"use_sliding_window\": true, \"sliding_window\": 16, \"max_window_layers\": 2,"
                                   "\"layer_types\": [\"full_attention\", \"sliding_attention\", \"sliding_attention\"]}"), HONE_OK);
    assert_true(hone_config_window(&c, 0) == 0 && hone_config_window(&c, 1) == 16);
    assert_int_equal(load_text(&c, "{\"model_type\": \"qwen2\", " SIZES ", \"use_sliding_window\": true, \"sliding_window\": 16}"), HONE_OK);
    assert_int_equal(c.window, 0); // 28 full layers come first by default, and there are 3
}

// The first and the last layers share tables in turn; the last half takes in the first, outermost to outermost.
static void test_layers_share_tables_and_skip_in_pairs(void **state)
{
    (void)state;
    static const int table[3][5] = { { 0, 1, -1, 0, 1 }, { 0, -1, -1, 0 }, { 0, 1, 0, 1 } }, from[2][5] = { { -1, -1, -1, 1, 0 }, { -1, -1, 1, 0 } };
    for (int i = 0; i < 3; i++) {
        const hone_config c = { .layers = i == 0 ? 5 : 4, .value_embeddings = i == 1 ? 1 : 2, .skip_connections = i < 2 };
        for (int l = 0; l < c.layers; l++) {
            assert_int_equal(hone_config_value_table(&c, l), table[i][l]);
            assert_int_equal(hone_config_skip_from(&c, l), i < 2 ? from[i][l] : -1);
        }
    }
    const hone_config none = { .layers = 4 };
    for (int l = 0; l < 4; l++) assert_true(hone_config_value_table(&none, l) == -1 && hone_config_skip_from(&none, l) == -1);
    hone_config one;
    assert_int_equal(load_changed(&one, "hone", "num_hidden_layers", "1"), HONE_OK);
    one.skip_connections = true;
    assert_int_equal(hone_config_check(&one, "here"), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "skip_connections is true, but they lead from the first half of the layers to the last, and there is one layer"));
}

static void test_each_missing_size_is_named(void **state)
{
    (void)state;
    const char *keys[] = { "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings" };
    for (size_t f = 1; f < sizeof every_family / sizeof *every_family; f++)
        for (size_t i = 0; i < 6; i++) assert_refused(every_family[f], keys[i], NULL, keys[i]);
    const char *gpt2[] = { "vocab_size", "n_positions", "n_embd", "n_layer", "n_head" };
    for (size_t i = 0; i < 5; i++) assert_refused("gpt2", gpt2[i], NULL, gpt2[i]);
}

static void test_each_bad_value_is_named_with_its_key(void **state)
{
    (void)state;
    const char *sizes[] = { "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings" };
    const char *values[] = { "0", "-1", "-96", "\"96\"", "9223372036854775807", "2.5", "[]", "1e300" };
    for (size_t i = 0; i < 8; i++)
        for (size_t v = 0; v < 8; v++) assert_refused("llama", sizes[i], values[v], sizes[i]);
    assert_refused("llama", "num_key_value_heads", "3", "num_key_value_heads 3");
    assert_refused("llama", "hidden_size", "97", "hidden_size 97");
    assert_refused("gpt2", "n_embd", "97", "n_embd 97");
    assert_refused("qwen3", "head_dim", "25", "25 is odd");
    assert_refused("llama", "intermediate_size", "1048577", "1048577");
    assert_refused("llama", "num_hidden_layers", "16385", "16385");
    assert_refused("llama", "hidden_act", "\"relu\"", "relu");
    assert_refused("gpt2", "activation_function", "\"gelu\"", "\"gelu\"");
    assert_refused("gpt2", "scale_attn_by_inverse_layer_idx", "true", "scale_attn_by_inverse_layer_idx");
    assert_refused("llama", "rms_norm_eps", "0", "rms_norm_eps");
    assert_refused("llama", "rms_norm_eps", "-1e-5", "rms_norm_eps");
    assert_refused("llama", "initializer_range", "-0.02", "initializer_range");
    assert_refused("llama", "rope_theta", "0", "rope_theta");
    assert_refused("llama", "tie_word_embeddings", "\"yes\"", "tie_word_embeddings");
    assert_refused("mistral", "sliding_window", "0", "sliding_window");
    assert_refused("mistral", "sliding_window", "-5", "sliding_window");
    assert_refused("llama", "bos_token_id", "\"<s>\"", "bos_token_id");
    assert_refused("llama", "eos_token_id", "[1,2,3,4,5,6,7,8,9]", "eos_token_id");
    assert_refused("llama", "eos_token_id", "[1,[2]]", "eos_token_id");
    assert_refused("llama", "quantization_config", "{\"bits\": 4}", "quantization_config");
    assert_refused("llama", "partial_rotary_factor", "0.3", "partial_rotary_factor 0.3 of head size 24 is not an even number of columns");
    assert_refused("llama", "partial_rotary_factor", "1.5", "partial_rotary_factor is 1.5; it must be above 0 and at most 1");
    assert_refused("stablelm", "partial_rotary_factor", "0.05", "partial_rotary_factor");
    assert_refused("stablelm", "qk_layernorm", "true", "qk_layernorm");
    assert_refused("granite", "residual_multiplier", "0", "residual_multiplier is 0; it must be above 0");
    assert_refused("granite", "attention_bias", "true", "attention_bias");
    assert_refused("phi3", "rope_scaling", "{\"type\": \"longrope\"}", "longrope");
    assert_refused("hone", "final_logit_softcapping", "-1", "final_logit_softcapping");
    assert_refused("hone", "value_embeddings", "2", "value_embeddings is 2, but the first layers and the last share so many tables, and there are 3 layers; it must be from 0 to 1");
    assert_refused("hone", "value_embeddings", "-1", "value_embeddings is -1; it must be from 0");
    assert_refused("hone", "value_embeddings", "1.5", "value_embeddings");
    assert_refused("hone", "skip_connections", "1", "skip_connections");
    assert_refused("hone", "hidden_act", "\"relu\"", "relu2");
    assert_refused("hone", "norm", "\"group\"", "layer");
    assert_refused("gemma2", "attn_logit_softcapping", "-1", "attn_logit_softcapping is -1");
    assert_refused("gemma2", "query_pre_attn_scalar", "0.5", "query_pre_attn_scalar is 0.5; it must be a whole number");
    assert_refused("gemma2", "sliding_window", "null", "sliding_window is null");
    assert_refused("gemma2", "layer_types", "[\"full_attention\", \"full_attention\", \"sliding_attention\"]", "layer_types[0] is \"full_attention\"");
    assert_refused("gemma2", "hidden_activation", "\"relu\"", "gelu_pytorch_tanh");
    assert_refused("gemma3_text", "sliding_window_pattern", "5", "for gemma3_text hone has [6]");
    assert_refused("gemma3_text", "use_bidirectional_attention", "true", "use_bidirectional_attention is true");
    assert_refused("gemma3_text", "rope_local_base_freq", "0", "rope_theta of layers with a window is 0");
    assert_refused("gemma3_text", "rope_parameters", "{\"full_attention\": {}, \"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": 2}}", "in layers with a window hone has default");
}

static void test_each_unsupported_rope_is_named(void **state)
{
    (void)state;
    assert_refused("llama", "rope_scaling", "{\"type\": \"dynamic\", \"factor\": 2}", "dynamic");
    assert_refused("llama", "rope_parameters", "{\"rope_type\": \"yarn\", \"factor\": 2}", "yarn");
    assert_refused("llama", "rope_parameters", "[1]", "rope_parameters");
    assert_refused("llama", "rope_parameters", "{\"full_attention\": {\"rope_type\": \"default\"}}", "full_attention");
    assert_refused("llama", "rope_parameters", "{\"rope_type\": \"linear\"}", "factor");
    assert_refused("llama", "rope_parameters", "{\"rope_type\": \"linear\", \"factor\": 0}", "factor is 0");
    assert_refused("llama", "rope_parameters", "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \"high_freq_factor\": 4}", "high_freq_factor");
    assert_refused("llama", "rope_parameters", "{\"rope_type\": \"llama3\", \"factor\": 8, \"high_freq_factor\": 4}", "low_freq_factor");
    assert_refused("llama", "rope_parameters", "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4, \"original_max_position_embeddings\": 0}",
                   "original_max_position_embeddings");
    assert_refused("qwen3", "layer_types", "[\"full_attention\", \"sliding_attention\", \"full_attention\"]", "layer_types[2]");
    assert_refused("qwen3", "layer_types", "[\"full_attention\", \"chunked_attention\", \"full_attention\"]", "chunked_attention");
    assert_refused("qwen3", "layer_types", "[\"full_attention\"]", "3 layers");
    assert_refused("qwen3", "layer_types", "[\"full_attention\", \"full_attention\", \"sliding_attention\"]", "use_sliding_window");
}

static void test_unknown_family_lists_the_known_ones(void **state)
{
    (void)state;
    hone_config c;
    assert_int_equal(load_text(&c, "{\"model_type\": \"bert\"}"), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "bert"));
    assert_non_null(strstr(hone_error(), "gpt2, llama, mistral, qwen2, qwen3"));
    assert_int_equal(load_text(&c, "{\"vocab_size\": 3}"), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "model_type"));
    assert_int_equal(load_text(&c, "[]"), HONE_FAILED);
    assert_int_equal(load_text(&c, "{\"model_type\": \"llama\""), HONE_FAILED);
    assert_int_equal(hone_config_load(&c, "/nowhere/config.json"), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "/nowhere/config.json"));
}

// A family's config.json cannot say what another family has: saving must refuse, not lose it.
static void test_what_a_family_cannot_say_is_not_saved(void **state)
{
    (void)state;
    hone_config good, c;
    assert_int_equal(load_changed(&good, "llama", NULL, NULL), HONE_OK);
    unlink(path);
#define REFUSES(change, word) do { c = good; change; assert_int_equal(hone_config_save(&c, path), HONE_FAILED); \
    assert_non_null(strstr(hone_error(), word)); assert_false(hone_file_exists(path)); } while (0)
    REFUSES(c.window = 16, "window");
    REFUSES(c.qk_norm = true, "qk_norm");
    REFUSES(c.value_embeddings = 1, "value_embeddings");
    REFUSES(c.skip_connections = true, "skip_connections");
    REFUSES(c.out_bias = true, "_bias");
    REFUSES(c.norm = HONE_NORM_LAYER, "norm");
    REFUSES(c.layers = 0, "num_hidden_layers");
    REFUSES(c.bos = 131, "131");
    REFUSES(c.n_eos = HONE_MAX_EOS + 1, "end tokens");
#undef REFUSES
}

// Each prefix and each single byte changed (deterministic) of a config: never a crash, and what is accepted passes the check.
static void test_damaged_configs_never_crash(void **state)
{
    (void)state;
    hone_config c;
    static const char text[] = "{\"model_type\": \"qwen3\", " SIZES ", \"head_dim\": 4, \"use_sliding_window\": true, \"sliding_window\": 16, \"max_window_layers\": 2,"
        "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2}, \"eos_token_id\": [1, 2]}";
    char copy[sizeof text];
    int accepted = 0, wrong = 0;
    uint32_t random = 1;
    int mutations = getenv("HONE_TEST_LONG") ? 200000 : 4000;
    fflush(stderr);
    int loud = dup(2), quiet = open("/dev/null", O_WRONLY); // thousands of warnings about odd token ids
    dup2(quiet, 2);
    for (int i = 0; i < (int)sizeof text + mutations; i++) {
        memcpy(copy, text, sizeof text);
        size_t size = i < (int)sizeof text ? (size_t)i : sizeof text - 1;
        for (int k = 0; i >= (int)sizeof text && k < 1 + i % 3; k++) {
            random = random * 1664525 + 1013904223;
            size_t at = (random >> 8) % (sizeof text - 1);
            static const char pieces[] = "0123456789-.,:[]{}\"\\truefalsnE \n";
            random = random * 1664525 + 1013904223;
            copy[at] = pieces[(random >> 8) % (sizeof pieces - 1)];
        }
        json_t *json;
        if (hone_json_parse("fuzz", copy, size, &json)) continue;
        bool read = hone_config_read(&c, json, "fuzz") == HONE_OK;
        accepted += read;
        wrong += read ? hone_config_check(&c, "fuzz") != HONE_OK : hone_error()[0] == 0;
        json_decref(json);
    }
    dup2(loud, 2);
    close(loud);
    close(quiet);
    assert_int_equal(wrong, 0);
    assert_true(accepted > 10); // the loop reaches the code behind the parser
}

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/test_config.%d", HONE_BINARY_DIR, (int)getpid());
    snprintf(path, sizeof path, "%s/config.json", folder);
    return hone_dir_create(folder);
}

static int tear_down(void **state)
{
    (void)state;
    return hone_dir_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_family_survives_saving_and_loading),
        cmocka_unit_test(test_layers_with_a_window_have_a_base_of_their_own),
        cmocka_unit_test(test_absent_keys_take_the_defaults_of_transformers),
        cmocka_unit_test(test_both_styles_of_rope_scaling_mean_the_same),
        cmocka_unit_test(test_layers_slide_where_layer_types_says),
        cmocka_unit_test(test_layers_share_tables_and_skip_in_pairs),
        cmocka_unit_test(test_each_missing_size_is_named),
        cmocka_unit_test(test_each_bad_value_is_named_with_its_key),
        cmocka_unit_test(test_each_unsupported_rope_is_named),
        cmocka_unit_test(test_unknown_family_lists_the_known_ones),
        cmocka_unit_test(test_what_a_family_cannot_say_is_not_saved),
        cmocka_unit_test(test_damaged_configs_never_crash),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
