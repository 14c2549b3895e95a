// test_hf.c: weights go to a Hugging Face folder and come back bit by bit, under the names and shapes that PyTorch has;
// a folder that does not fit is refused with one message that names everything.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/store.h"
#include "base/memory.h"
#include "io/hf.h"
#include <unistd.h>

static const char *const families[] = { "gpt2", "llama", "mistral", "qwen2", "qwen3", "nemotron", "granite", "stablelm", "phi3", "olmo2", "gemma2", "gemma3_text" };

static void test_every_family_comes_back_bit_by_bit(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (int tied = 0; tied < 2; tied++) {
            const char *folder = test_path(families[f]);
            hone_config config = test_family_config(families[f], tied), again;
            test_store a, b;
            test_store_open(&a, &config, false);
            test_store_open(&b, &config, false);
            test_store_fill(&a, 1);
            assert_false(test_store_equal(&a, &b));
            if (hone_hf_save(&a.model, folder, NULL, test_store_place, NULL, &a)) fail_msg("%s", hone_error());
            if (hone_hf_load(&b.model, folder, test_store_place, &b)) fail_msg("%s", hone_error());
            assert_true(test_store_equal(&a, &b));
            char *path = hone_path_join(folder, "config.json");
            assert_int_equal(hone_config_load(&again, path), HONE_OK);
            assert_int_equal(again.tied, tied);
            hone_free(path);
            test_store_close(&a);
            test_store_close(&b);
        }
}

// GPT-2 stores q|k|v as one matrix (in, 3 out): element [i][p C + o] is row o, column i of part p.
static void test_gpt2_is_stored_transposed_and_fused(void **state)
{
    (void)state;
    hone_config config = test_family_config("gpt2", true);
    test_store a;
    hone_safetensors set;
    test_store_open(&a, &config, false);
    test_store_fill(&a, 2);
    const char *folder = test_path("gpt2_layout");
    assert_int_equal(hone_hf_save(&a.model, folder, NULL, test_store_place, NULL, &a), HONE_OK);
    assert_int_equal(hone_safetensors_open_folder(&set, folder), HONE_OK);
    assert_null(hone_safetensors_find(&set, "lm_head.weight"));
    const hone_safetensor *w = hone_safetensors_find(&set, "transformer.h.1.attn.c_attn.weight"), *b = hone_safetensors_find(&set, "transformer.h.1.attn.c_attn.bias");
    assert_true(w && w->rank == 2 && w->dim[0] == 48 && w->dim[1] == 144);
    assert_true(b && b->rank == 1 && b->dim[0] == 144);
    const char *part[] = { "layers.1.q", "layers.1.k", "layers.1.v" }, *bias[] = { "layers.1.q.b", "layers.1.k.b", "layers.1.v.b" };
    for (int p = 0; p < 3; p++)
        for (int64_t o = 0; o < 48; o++) {
            float value;
            hone_safetensor_read(&set, b, p * 48 + o, 1, HONE_f32, &value);
            assert_true(value == ((float *)test_store_place(&a, hone_graph_find(a.graph, bias[p])))[o]);
            for (int64_t i = 0; i < 48; i++) {
                hone_safetensor_read(&set, w, i * 144 + p * 48 + o, 1, HONE_f32, &value);
                assert_true(value == ((float *)test_store_place(&a, hone_graph_find(a.graph, part[p])))[o * 48 + i]);
            }
        }
    hone_safetensors_close(&set);
    test_store_close(&a);
}

// Rewrites a folder's weights with names and shapes changed by `change`; data are zeros.
typedef void (*change_fn)(hone_safetensor_spec *spec, int64_t *count);
static const void *zeros(void *context, int64_t index, int64_t first, int64_t count, void *scratch)
{
    (void)context; (void)index; (void)first;
    memset(scratch, 0, (size_t)count * 8);
    return scratch;
}

static hone_status load_changed(const char *model_type, bool tied, change_fn change)
{
    static char scratch[1 << 16];
    hone_config config = test_family_config(model_type, tied);
    hone_hf_map map;
    test_store a;
    hone_writer writer;
    test_store_open(&a, &config, false);
    assert_int_equal(hone_hf_map_build(&map, &a.model), HONE_OK);
    hone_safetensor_spec *spec = hone_alloc((size_t)map.count + 8, sizeof *spec);
    int64_t count = map.count;
    for (int64_t i = 0; i < count; i++)
        spec[i] = (hone_safetensor_spec){ map.entry[i].name, HONE_f32, map.entry[i].rank, { map.entry[i].dim[0], map.entry[i].dim[1] } };
    change(spec, &count);
    assert_int_equal(hone_dir_create(test_path("changed")), HONE_OK);
    assert_int_equal(hone_writer_open(&writer, test_path("changed/model.safetensors")), HONE_OK);
    assert_int_equal(hone_safetensors_write(&writer, spec, count, zeros, NULL, scratch, sizeof scratch / 8), HONE_OK);
    assert_int_equal(hone_writer_commit(&writer), HONE_OK);
    hone_status status = hone_hf_load(&a.model, test_path("changed"), test_store_place, &a);
    hone_free(spec);
    hone_hf_map_release(&map);
    test_store_close(&a);
    return status;
}

static void unchanged(hone_safetensor_spec *spec, int64_t *count) { (void)spec; (void)count; }
static void drop_two(hone_safetensor_spec *spec, int64_t *count) { memmove(spec, spec + 2, (size_t)(*count -= 2) * sizeof *spec); }
static void add_one(hone_safetensor_spec *spec, int64_t *count) { spec[(*count)++] = (hone_safetensor_spec){ "model.layers.3.surprise", HONE_f32, 1, { 3 } }; }
static void reshape(hone_safetensor_spec *spec, int64_t *count) { (void)count; spec[0].dim[0] = 130; }
static void add_rank(hone_safetensor_spec *spec, int64_t *count) { (void)count; spec[0].rank = 3; spec[0].dim[2] = 1; }
static void retype(hone_safetensor_spec *spec, int64_t *count) { (void)count; spec[1].dtype = HONE_i32; }
static void rename_all(hone_safetensor_spec *spec, int64_t *count) { for (int64_t i = 0; i < *count; i++) spec[i].name += strcmp(spec[i].name, "lm_head.weight") ? 12 : 0; }
static void add_buffers(hone_safetensor_spec *spec, int64_t *count)
{
    spec[(*count)++] = (hone_safetensor_spec){ "h.2.attn.bias", HONE_f32, 4, { 1, 1, 64, 64 } };
    spec[(*count)++] = (hone_safetensor_spec){ "transformer.h.0.attn.masked_bias", HONE_f32, 0, { 0 } };
}
static void add_tied_head(hone_safetensor_spec *spec, int64_t *count) { spec[(*count)++] = (hone_safetensor_spec){ "lm_head.weight", HONE_f32, 2, { 131, 48 } }; }
static void add_wrong_head(hone_safetensor_spec *spec, int64_t *count) { spec[(*count)++] = (hone_safetensor_spec){ "lm_head.weight", HONE_f32, 2, { 132, 48 } }; }
static void all_bf16(hone_safetensor_spec *spec, int64_t *count) { for (int64_t i = 0; i < *count; i++) spec[i].dtype = i % 2 ? HONE_bf16 : HONE_f16; }

static void test_what_does_not_fit_is_named(void **state)
{
    (void)state;
    assert_int_equal(load_changed("llama", false, unchanged), HONE_OK);
    assert_int_equal(load_changed("llama", false, drop_two), HONE_FAILED);
    assert_says(hone_error(), test_path("changed"));
    assert_says(hone_error(), "2 missing: model.embed_tokens.weight, model.layers.0.input_layernorm.weight");
    assert_int_equal(load_changed("llama", false, add_one), HONE_FAILED);
    assert_says(hone_error(), "1 unexpected: model.layers.3.surprise");
    assert_int_equal(load_changed("llama", false, reshape), HONE_FAILED);
    assert_says(hone_error(), "model.embed_tokens.weight is [130, 48], config.json asks for [131, 48]");
    assert_int_equal(load_changed("llama", false, add_rank), HONE_FAILED);
    assert_says(hone_error(), "[131, 48, 1]");
    assert_int_equal(load_changed("llama", false, retype), HONE_FAILED);
    assert_says(hone_error(), "I32");
    assert_int_equal(load_changed("llama", true, add_wrong_head), HONE_FAILED);
    assert_says(hone_error(), "lm_head.weight");
    assert_int_equal(load_changed("qwen3", false, rename_all), HONE_FAILED);   // 12 characters cut the wrong prefix
    assert_says(hone_error(), " more");
}

static void test_what_may_differ_loads(void **state)
{
    (void)state;
    assert_int_equal(load_changed("gpt2", true, rename_all), HONE_OK);      // names of the base model, as openai-community/gpt2 has
    assert_int_equal(load_changed("gpt2", true, add_buffers), HONE_OK);
    assert_int_equal(load_changed("llama", true, add_tied_head), HONE_OK);  // all zeros, as is the embedding
    assert_int_equal(load_changed("mistral", false, all_bf16), HONE_OK);
}

// The head of a tied model, present and different, is not passed over in silence.
static void test_a_tied_head_that_differs_is_refused(void **state)
{
    (void)state;
    hone_config tied = test_family_config("llama", true), untied = test_family_config("llama", false);
    test_store a, b;
    test_store_open(&a, &untied, false);
    test_store_open(&b, &tied, false);
    test_store_fill(&a, 3);
    assert_int_equal(hone_hf_save(&a.model, test_path("untied"), NULL, test_store_place, NULL, &a), HONE_OK);
    assert_int_equal(hone_hf_load(&b.model, test_path("untied"), test_store_place, &b), HONE_FAILED);
    assert_says(hone_error(), "set tie_word_embeddings to false");
    test_store_close(&a);
    test_store_close(&b);
}

static const char tokenizer[] = "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [{\"id\": 1, \"content\": \"<|begin|>\", \"special\": true, "
    "\"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false}], \"normalizer\": null, \"pre_tokenizer\": null, \"post_processor\": null, \"decoder\": null, "
    "\"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"vocab\": {\"<unk>\": 0, \"<|begin|>\": 1, \"<|end|>\": 2, \"a\": 3, \"b\": 4, \"ab\": 5}, \"merges\": [[\"a\", \"b\"]]}}";

static void assert_has(const char *path, const char *words)
{
    char *text;
    size_t size;
    assert_int_equal(hone_file_read(path, &text, &size), HONE_OK);
    if (!strstr(text, words)) fail_msg("%s lacks %s: %s", path, words, text);
    hone_free(text);
}

static void test_tokenizer_files_come_along(void **state)
{
    (void)state;
    hone_config config = test_family_config("llama", true);
    test_store a;
    test_store_open(&a, &config, false);
    assert_int_equal(hone_dir_create(test_path("tok")), HONE_OK);
    assert_int_equal(hone_file_write(test_path("tok/tokenizer.json"), tokenizer, sizeof tokenizer - 1), HONE_OK);
    assert_int_equal(hone_hf_save(&a.model, test_path("with"), &(hone_hf_tokenizer){ test_path("tok"), NULL }, test_store_place, NULL, &a), HONE_OK);
    assert_has(test_path("with/tokenizer.json"), tokenizer);
    assert_has(test_path("with/tokenizer_config.json"), "\"bos_token\": \"<|begin|>\"");
    assert_has(test_path("with/tokenizer_config.json"), "\"eos_token\": \"<|end|>\"");
    assert_has(test_path("with/tokenizer_config.json"), "\"unk_token\": \"<unk>\"");
    assert_has(test_path("with/generation_config.json"), "\"eos_token_id\": 2");
    assert_int_equal(hone_file_write(test_path("tok/tokenizer_config.json"), "{\"mine\": 1}", 11), HONE_OK);
    assert_int_equal(hone_hf_save(&a.model, test_path("with"), &(hone_hf_tokenizer){ test_path("tok/tokenizer.json"), NULL }, test_store_place, NULL, &a), HONE_OK);
    assert_has(test_path("with/tokenizer_config.json"), "mine");
    assert_int_equal(hone_hf_save(&a.model, test_path("with"), &(hone_hf_tokenizer){ test_path("nothing"), NULL }, test_store_place, NULL, &a), HONE_FAILED);
    assert_says(hone_error(), "nothing");
    test_store_close(&a);
}

// How the makers want answers drawn, and what else ends one, comes along, if what is there is about this model's ids.
static void test_generation_config_comes_along(void **state)
{
    (void)state;
    hone_config config = test_family_config("llama", true);
    test_store a;
    test_store_open(&a, &config, false);
    const hone_hf_tokenizer there = { test_path("tok3"), NULL };
    assert_int_equal(hone_dir_create(there.path), HONE_OK);
    assert_int_equal(hone_file_write(test_path("tok3/tokenizer.json"), tokenizer, sizeof tokenizer - 1), HONE_OK);
    static const char ours[] = "{\"do_sample\": true, \"temperature\": 0.6, \"eos_token_id\": [4, 2]}", other[] = "{\"temperature\": 0.6, \"eos_token_id\": [4, 3]}";
    assert_int_equal(hone_file_write(test_path("tok3/generation_config.json"), ours, sizeof ours - 1), HONE_OK);
    assert_int_equal(hone_hf_save(&a.model, test_path("drawn"), &there, test_store_place, NULL, &a), HONE_OK);
    assert_has(test_path("drawn/generation_config.json"), "\"temperature\": 0.6");
    assert_has(test_path("drawn/generation_config.json"), "4");
    assert_int_equal(hone_file_write(test_path("tok3/generation_config.json"), other, sizeof other - 1), HONE_OK);
    assert_int_equal(hone_hf_save(&a.model, test_path("drawn"), &there, test_store_place, NULL, &a), HONE_OK);
    assert_has(test_path("drawn/generation_config.json"), "\"eos_token_id\": 2");
    assert_int_equal(hone_file_write(test_path("tok3/generation_config.json"), "{", 1), HONE_OK);
    assert_int_equal(hone_hf_save(&a.model, test_path("drawn"), &there, test_store_place, NULL, &a), HONE_FAILED);
    assert_says(hone_error(), "tok3/generation_config.json");
    test_store_close(&a);
}

// GPT-2's vocab.json and merges.txt are a tokenizer, too: the folder that is written encodes alike.
static void test_gpt2_tokenizer_files_come_along(void **state)
{
    (void)state;
    const char *source = HONE_SOURCE_DIR "/../shared/data/tokenizers/gpt2";
    if (!hone_dir_exists(source)) {
        print_message("skipped: no ../shared/data\n");
        skip();
    }
    hone_config config = test_family_config("llama", true);
    config.vocab = 50257;
    config.n_eos = 1;
    config.eos[0] = 50256;
    hone_tokenizer *a, *b;
    test_store store;
    test_store_open(&store, &config, false);
    const hone_hf_tokenizer by_vocab = { HONE_SOURCE_DIR "/../shared/data/tokenizers/gpt2/vocab.json", NULL }, by_folder = { source, NULL };
    assert_int_equal(hone_hf_save(&store.model, test_path("gpt2_tokenizer"), &by_vocab, test_store_place, NULL, &store), HONE_OK);
    assert_int_equal(hone_hf_save(&store.model, test_path("gpt2_tokenizer"), &by_folder, test_store_place, NULL, &store), HONE_OK);
    assert_has(test_path("gpt2_tokenizer/tokenizer_config.json"), "\"eos_token\": \"<|endoftext|>\"");
    assert_int_equal(hone_tokenizer_load(source, &a), HONE_OK);
    if (hone_tokenizer_load(test_path("gpt2_tokenizer"), &b)) fail_msg("%s", hone_error());
    assert_true(hone_tokenizer_identity(a) == hone_tokenizer_identity(b));
    hone_tokenizer_free(a);
    hone_tokenizer_free(b);
    test_store_close(&store);
}

static void test_a_folder_that_cannot_be_written_is_named(void **state)
{
    (void)state;
    hone_config config = test_family_config("llama", true);
    test_store a;
    test_store_open(&a, &config, false);
    assert_int_equal(hone_file_write(test_path("file"), "x", 1), HONE_OK);
    assert_int_equal(hone_hf_save(&a.model, test_path("file"), NULL, test_store_place, NULL, &a), HONE_FAILED);
    assert_says(hone_error(), test_path("file"));
    assert_int_equal(hone_hf_save(&a.model, "/proc/hone", NULL, test_store_place, NULL, &a), HONE_FAILED);
    assert_says(hone_error(), "/proc/hone");
    test_store_close(&a);
}

// Folders that others made: every tensor finds its place. One known value of each shows that the data did.
static void test_folders_of_others_load(void **state)
{
    (void)state;
    static const struct { const char *folder, *param; int64_t count; float first; } cases[] = {
        { "stories260K/hf", "embed.tokens", 512 * 64, -0.29474878311157227f }, { "tiny_llama_random/model", "layers.3.down", 128 * 344, -0.0166015625f },
    };
    for (int i = 0; i < 2; i++) {
        char folder[600], path[640];
        snprintf(folder, sizeof folder, HONE_SOURCE_DIR "/../shared/data/weights/%s", cases[i].folder);
        snprintf(path, sizeof path, "%s/config.json", folder);
        if (!hone_dir_exists(folder)) {
            print_message("skipped: no ../shared/data\n");
            skip();
        }
        hone_config config;
        test_store a;
        if (hone_config_load(&config, path)) fail_msg("%s", hone_error());
        test_store_open(&a, &config, false);
        if (hone_hf_load(&a.model, folder, test_store_place, &a)) fail_msg("%s", hone_error());
        hone_tid id = hone_graph_find(a.graph, cases[i].param);
        assert_int_equal(hone_tensor_count(hone_at(a.graph, id)), cases[i].count);
        assert_true(*(float *)test_store_place(&a, id) == cases[i].first);
        test_store_close(&a);
    }
}

// What transformers itself says: no warning, every weight loaded, nothing left over.
static void test_transformers_loads_without_a_warning(void **state)
{
    (void)state;
    if (!test_python_present()) {
        print_message("skipped: HONE_PYTHON names no Python with transformers\n");
        skip();
    }
    assert_int_equal(hone_dir_create(test_path("tok2")), HONE_OK);
    assert_int_equal(hone_file_write(test_path("tok2/tokenizer.json"), tokenizer, sizeof tokenizer - 1), HONE_OK);
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (int variant = 0; variant < 3; variant++) {
            hone_config config = test_family_config(families[f], variant == 0);
            const bool scales = config.rope && strcmp(families[f], "phi3"); // transformers has longrope alone there
            if (variant == 2 && scales) { config.rope = HONE_ROPE_LLAMA3; config.rope_factor = 8; config.rope_low = 1; config.rope_high = 4; config.rope_original = 16; }
            if (variant == 2) { config.eos[1] = 5; config.n_eos = 2; config.pad = 0; config.bos = -1; }
            if (variant == 1 && scales) { config.rope = HONE_ROPE_LINEAR; config.rope_factor = 2; }
            test_store a;
            test_store_open(&a, &config, false);
            test_store_fill(&a, 4 + f);
            char name[64];
            snprintf(name, sizeof name, "torch/%s-%d", families[f], variant);
            const char *folder = test_path(name);
            if (hone_hf_save(&a.model, folder, &(hone_hf_tokenizer){ test_path("tok2"), NULL }, test_store_place, NULL, &a)) fail_msg("%s", hone_error());
            test_store_close(&a);
        }
    assert_int_equal(test_python(HONE_SOURCE_DIR "/tests/io/check_hf.py", test_path("torch")), 0);
    // The check can fail: transformers warns where the original length is not below max_position_embeddings.
    hone_config config;
    assert_int_equal(hone_config_load(&config, test_path("torch/llama-2/config.json")), HONE_OK);
    config.rope_original = 4096;
    assert_int_equal(hone_config_save(&config, test_path("torch/llama-2/config.json")), HONE_OK);
    assert_int_not_equal(test_python(HONE_SOURCE_DIR "/tests/io/check_hf.py", test_path("torch")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_family_comes_back_bit_by_bit),
        cmocka_unit_test(test_gpt2_is_stored_transposed_and_fused),
        cmocka_unit_test(test_what_does_not_fit_is_named),
        cmocka_unit_test(test_what_may_differ_loads),
        cmocka_unit_test(test_a_tied_head_that_differs_is_refused),
        cmocka_unit_test(test_tokenizer_files_come_along),
        cmocka_unit_test(test_generation_config_comes_along),
        cmocka_unit_test(test_gpt2_tokenizer_files_come_along),
        cmocka_unit_test(test_a_folder_that_cannot_be_written_is_named),
        cmocka_unit_test(test_folders_of_others_load),
        cmocka_unit_test(test_transformers_loads_without_a_warning),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
