// test_gguf.c: models and tokenizers written as GGUF read back the same; a GGUF file is a model for every verb; files that lie are
// refused with one message that names the file and what is wrong. What others read: test_gguf_peers.c.
#include "support/cmocka_all.h"
#include "support/check.h"
#include "support/folder.h"
#include "support/store.h"
#include "support/verb.h"
#include "base/gguf.h"
#include "base/json.h"
#include "io/gguf_model.h"
#include "io/hf.h"
#include <math.h>
#include <stdio.h>

#define SHARED HONE_SOURCE_DIR "/../shared/data"
#define GOLDEN HONE_SOURCE_DIR "/tests/golden/"

static const char *const families[] = { "gpt2", "llama", "mistral", "qwen2", "qwen3", "olmo2", "gemma2", "gemma3_text" };
enum { FAMILIES = sizeof families / sizeof *families };

// llama.cpp has Llama 3's scaling for the families that are as Llama is.
static bool has_llama3(const char *family) { return strncmp(family, "gemma", 5) && strcmp(family, "olmo2"); }

static hone_config config_of(const char *family, bool tied)
{
    hone_config config = test_family_config(family, tied);
    const bool olmo = strcmp(family, "olmo2") == 0;
    config.max_positions = 64;
    if (!config.full_every) config.window = config.window_from = 0;     // cannot be said
    if (config.full_every) config.attention_scale = 1 / sqrt((double)config.head_dim);
    if (olmo) config.head_dim = config.width / config.heads;
    if (olmo || config.full_every) {
        config.qkv_bias = config.out_bias = false;
        config.tied = !olmo;
    }
    return config;
}

// Gains that 1 can be added to without rounding.
static void round_weights(test_store *a)
{
    for (int64_t p = 0; p < a->model.n_param; p++) {
        float *w = test_store_place(a, a->model.param[p]);
        for (int64_t i = 0, n = hone_tensor_count(hone_at(a->graph, a->model.param[p])); i < n; i++) w[i] = roundf(w[i] * 0x1p20f) * 0x1p-20f;
    }
}

// Mistral's architecture is Llama's in GGUF: such a file comes back as a Llama, which is the same model.
static void test_models_of_every_family_read_back(void **state)
{
    (void)state;
    for (int f = 0; f < FAMILIES; f++)
        for (int variant = 0; variant < 3; variant++) {
            hone_config config = config_of(families[f], variant == 0);
            if (variant == 1 && config.rope) { config.rope = HONE_ROPE_LINEAR; config.rope_factor = 2; }
            if (variant == 2 && config.rope && has_llama3(families[f])) { config.rope = HONE_ROPE_LLAMA3; config.rope_factor = 8; config.rope_low = 1; config.rope_high = 4; config.rope_original = 16; }
            test_store a, b;
            test_store_open(&a, &config, false);
            test_store_fill(&a, 5);
            if (config.norm_base != 0) round_weights(&a);
            const char *path = test_path("family.gguf");
            double off;
            if (hone_gguf_save(&a.model, path, "title", hone_gguf_kind_find("f32"), NULL, NULL, test_store_place, &a)) fail_msg("%s: %s", families[f], hone_error());
            must(hone_gguf_compare(&a.model, path, hone_gguf_kind_find("f32"), test_store_place, &a, &off));
            hone_config again;
            must(hone_hf_load_config(&again, path));
            assert_true(again.rope == config.rope && again.tied == config.tied && again.qkv_bias == config.qkv_bias && again.out_bias == config.out_bias && again.mlp_bias == config.mlp_bias);
            assert_true(again.layers == config.layers && again.kv_heads == config.kv_heads && again.head_dim == config.head_dim && again.vocab == config.vocab);
            assert_true(again.rope_factor == config.rope_factor && again.rope_original == config.rope_original);
            assert_true(fabs(again.norm_eps - config.norm_eps) < 1e-6 * config.norm_eps && fabs(again.attention_scale - config.attention_scale) < 1e-6);
            assert_true(again.window == config.window && again.attention_cap == config.attention_cap && again.softcap == config.softcap && again.rope_local == config.rope_local);
            assert_string_equal(again.family->model_type, strcmp(families[f], "mistral") == 0 ? "llama" : families[f]);
            test_store_open(&b, &again, false);
            if (hone_hf_load(&b.model, path, test_store_place, &b)) fail_msg("%s: %s", families[f], hone_error());
            if (!test_store_equal(&a, &b)) fail_msg("%s, variant %d: weights differ", families[f], variant);
            test_store_close(&a);
            test_store_close(&b);
        }
}

// Gains are written as they multiply, and the largest Gemma 2 divides its scores by another number.
static void test_gains_and_scores_are_written_as_they_are_used(void **state)
{
    (void)state;
    hone_config config = config_of("gemma2", true), again;
    test_store a;
    hone_gguf file;
    config.layers = 46;
    config.heads = config.kv_heads = 2;
    config.attention_scale = 1 / sqrt(24.0);
    test_store_open(&a, &config, false);
    test_store_fill(&a, 3);
    must(hone_gguf_save(&a.model, test_path("gains.gguf"), "t", hone_gguf_kind_find("f32"), NULL, NULL, test_store_place, &a));
    must(hone_gguf_open(&file, test_path("gains.gguf")));
    const char *const names[] = { "blk.7.post_ffw_norm.weight", "output_norm.weight" }, *const params[] = { "layers.7.post2.g", "norm.g" };
    for (int i = 0; i < 2; i++) {
        const float kept = *(float *)test_store_place(&a, hone_graph_find(a.graph, params[i])), wanted = kept + 1;
        assert_memory_equal(file.map.data + hone_gguf_find_tensor(&file, names[i])->begin, &wanted, 4);
    }
    hone_gguf_close(&file);
    must(hone_hf_load_config(&again, test_path("gains.gguf")));
    assert_float_equal(again.attention_scale, config.attention_scale, 1e-9);
    a.model.config.width = 48, a.model.config.head_dim = 20;   // sqrt(48 / 2) is no longer sqrt(20)
    assert_float_equal(hone_gguf_attention_scale(&(hone_gguf_arch){ .large = 46 }, &a.model.config), 1 / sqrt(24.0), 1e-12);
    assert_float_equal(hone_gguf_attention_scale(&(hone_gguf_arch){ .large = 62 }, &a.model.config), 1 / sqrt(20.0), 1e-12);
    test_store_close(&a);
}

// OLMo 3 says olmo2, too, but has windows: its results would be wrong without them.
static void test_a_window_that_the_family_lacks_is_refused(void **state)
{
    (void)state;
    static const struct { const char *key; uint32_t value; } sizes[] = { { "block_count", 1 }, { "context_length", 64 }, { "embedding_length", 4 }, { "feed_forward_length", 4 },
        { "attention.head_count", 1 }, { "attention.sliding_window", 16 } };
    hone_gguf_head head = { 0 };
    hone_writer writer;
    hone_config config;
    const float embedding[32] = { 0 };
    hone_gguf_put_text(&head, "general.architecture", "olmo2", 5);
    hone_gguf_put_f32(&head, "olmo2.attention.layer_norm_rms_epsilon", 1e-5f);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char key[64];
        snprintf(key, sizeof key, "olmo2.%s", sizes[i].key);
        hone_gguf_put_u32(&head, key, sizes[i].value);
    }
    hone_gguf_put_tensor(&head, "token_embd.weight", HONE_BLOCKS_f32, 2, (int64_t[]){ 4, 8 });
    must(hone_writer_open(&writer, test_path("olmo3.gguf")));
    must(hone_gguf_head_write(&head, &writer));
    must(hone_writer_write(&writer, embedding, sizeof embedding));
    must(hone_writer_commit(&writer));
    hone_gguf_head_release(&head);
    assert_int_equal(hone_gguf_read_config(&config, test_path("olmo3.gguf")), HONE_FAILED);
    assert_says(hone_error(), "a olmo2 model cannot have this value of window");
}

// What llama.cpp's rotation asks for; biases of q and k, which are vectors, are turned with them.
static void test_rows_of_q_and_k_are_turned(void **state)
{
    (void)state;
    static const int64_t wanted[] = { 0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11 };
    for (int64_t r = 0; r < 12; r++) assert_int_equal(hone_gguf_row(6, r), wanted[r]);
    for (int64_t r = 0; r < 12; r++) assert_int_equal(hone_gguf_row(0, r), r);
    hone_config config = config_of("llama", true);
    config.qkv_bias = config.out_bias = true;
    test_store a;
    hone_gguf file;
    test_store_open(&a, &config, false);
    test_store_fill(&a, 3);
    must(hone_gguf_save(&a.model, test_path("biased.gguf"), "t", hone_gguf_kind_find("f32"), NULL, NULL, test_store_place, &a));
    must(hone_gguf_open(&file, test_path("biased.gguf")));
    const float *bias = test_store_place(&a, hone_graph_find(a.graph, "layers.0.k.b"));
    const hone_gguf_tensor *t = hone_gguf_find_tensor(&file, "blk.0.attn_k.bias");
    assert_true(t && t->rank == 1 && t->count == config.kv_heads * config.head_dim);
    for (int64_t r = 0; r < t->count; r++) assert_memory_equal(file.map.data + t->begin + 4 * r, bias + hone_gguf_row(config.head_dim, r), 4);
    hone_gguf_close(&file);
    test_store_close(&a);
}

static void test_every_type_is_as_near_as_it_says(void **state)
{
    (void)state;
    hone_config config = config_of("llama", false);
    config.width = 256;
    config.heads = config.kv_heads = 4;
    config.head_dim = 64;
    config.mlp_width = 512;
    config.layers = 3;
    test_store a;
    test_store_open(&a, &config, false);
    for (int64_t p = 0; p < a.model.n_param; p++) {
        float *w = test_store_place(&a, a.model.param[p]);
        for (int64_t i = 0, n = hone_tensor_count(hone_at(a.graph, a.model.param[p])); i < n; i++) w[i] = sinf((float)(i * (p + 3)) * 1.7f) * 0.05f;
    }
    double last = -1;
    for (int k = 0; hone_gguf_kind_at(k); k++) {
        const hone_gguf_kind *kind = hone_gguf_kind_at(k);
        double off = 1;
        must(hone_gguf_save(&a.model, test_path("type.gguf"), "t", kind, NULL, NULL, test_store_place, &a));
        must(hone_gguf_compare(&a.model, test_path("type.gguf"), kind, test_store_place, &a, &off));
        print_message("%s: %.5f\n", kind->name, off);
        assert_true(off > last && off <= kind->most_off);
        last = off;
        // One matrix in another's place, or a row, is found.
        float *w = test_store_place(&a, a.model.block[1].o), kept = w[7 * 256];
        for (int64_t c = 0; c < 256; c++) w[7 * 256 + c] = -w[7 * 256 + c] - 1;
        assert_int_equal(hone_gguf_compare(&a.model, test_path("type.gguf"), kind, test_store_place, &a, &off), HONE_FAILED);
        assert_says(hone_error(), "blk.1.attn_output.weight reads back");
        for (int64_t c = 0; c < 256; c++) w[7 * 256 + c] = -w[7 * 256 + c] - 1;
        assert_true(fabsf(w[7 * 256] - kept) < 1e-6f);
    }
    ((float *)test_store_place(&a, a.model.block[2].down))[5] = NAN;
    assert_int_equal(hone_gguf_save(&a.model, test_path("nan.gguf"), "t", hone_gguf_kind_find("f16"), NULL, NULL, test_store_place, &a), HONE_FAILED);
    assert_says(hone_error(), "blk.2.ffn_down.weight holds a number that is not finite");
    assert_false(hone_file_exists(test_path("nan.gguf")));
    test_store_close(&a);
}

// Tokenizers ---------------------------------------------------------------------------------------------------------

// Through a file and back: the same ids for the same text, the same special tokens, the chat template kept.
static void check_tokenizer(const char *path)
{
    static const char text[] = "Hello  World's 1234567 caf\xc3\xa9 \xe4\xb8\xad\xe6\x96\x87\n\n\tint x = 3;  <|endoftext|> don't WE'LL \xf0\x9f\x98\x80 ";
    hone_tokenizer *a, *b;
    hone_ids from = { 0 }, to = { 0 };
    hone_gguf_head head = { 0 };
    hone_writer writer;
    must(hone_tokenizer_load(path, &a));
    if (hone_tokenizer_put_gguf(a, hone_tokenizer_vocab(a) + 3, "{{ messages }}", &head)) fail_msg("%s: %s", path, hone_error());
    must(hone_writer_open(&writer, test_path("tokenizer.gguf")));
    must(hone_gguf_head_write(&head, &writer));
    must(hone_writer_commit(&writer));
    hone_gguf_head_release(&head);
    must(hone_tokenizer_load(test_path("tokenizer.gguf"), &b));
    must(hone_tokenizer_encode(a, text, sizeof text - 1, HONE_ENCODE_SPECIAL, &from));
    must(hone_tokenizer_encode(b, text, sizeof text - 1, HONE_ENCODE_SPECIAL, &to));
    if (from.count != to.count || memcmp(from.data, to.data, (size_t)from.count * sizeof *to.data) != 0) fail_msg("%s: other ids", path);
    assert_true(hone_tokenizer_special(a)->bos == hone_tokenizer_special(b)->bos && hone_tokenizer_special(a)->eos == hone_tokenizer_special(b)->eos);
    must(hone_dir_create(test_path("saved")));
    must(hone_tokenizer_save(b, test_path("saved")));
    char *config = test_read(test_path("saved/tokenizer_config.json"));
    assert_says(config, "{{ messages }}");
    hone_free(config);
    hone_free(from.data);
    hone_free(to.data);
    hone_tokenizer_free(a);
    hone_tokenizer_free(b);
}

static void test_a_learned_tokenizer_reads_back(void **state)
{
    (void)state;
    verb_must("", (const char *[]){ "tokenizer", "train", "--vocab", "400", "--output", test_path("learned"), HONE_SOURCE_DIR "/README.md", NULL });
    check_tokenizer(test_path("learned"));
}

static void test_tokenizers_of_the_world_read_back(void **state)
{
    (void)state;
    static const char *const names[] = { "gpt2", "qwen3/tokenizer.json", "mistral_v1/tokenizer.json" };
    if (!hone_dir_exists(SHARED "/tokenizers")) {
        print_message("skipped: no ../shared/data\n");
        skip();
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, SHARED "/tokenizers/%s", names[i]);
        check_tokenizer(path);
    }
    // One that cuts text in a way that has no name.
    hone_tokenizer *odd;
    hone_gguf_head head = { 0 };
    must(hone_tokenizer_load(SHARED "/tokenizers/deepseek_v3/tokenizer.json", &odd));
    assert_int_equal(hone_tokenizer_put_gguf(odd, hone_tokenizer_vocab(odd), NULL, &head), HONE_FAILED);
    assert_says(hone_error(), "no name in GGUF");
    hone_gguf_head_release(&head);
    hone_tokenizer_free(odd);
}

// Verbs --------------------------------------------------------------------------------------------------------------

static void test_a_gguf_file_is_a_model_for_every_verb(void **state)
{
    (void)state;
    const char *file = test_path("llama.gguf"), *input = test_path("ids.jsonl");
    char *of_folder, *of_file;
    must(hone_file_write(input, "{\"ids\": [1, 5, 99, 17, 3, 88, 21, 4]}\n", 38));
    verb_must("off by 0 %", (const char *[]){ "export", GOLDEN "llama", "--output", file, "--type", "f32", NULL });
    char *modelfile = test_read(test_path("llama.Modelfile"));
    assert_says(modelfile, "FROM ./llama.gguf\nPARAMETER num_ctx 64\n");
    hone_free(modelfile);
    assert_int_equal(verb(&of_folder, (const char *[]){ "score", GOLDEN "llama", "--input", input, NULL }), 0);
    assert_int_equal(verb(&of_file, (const char *[]){ "score", file, "--input", input, NULL }), 0);
    const char *a = strchr(of_folder, '{'), *b = strchr(of_file, '{');   // the scores; before or behind them stands the time taken
    assert_true(a && b && strcspn(a, "}") > 60 && strncmp(a, b, strcspn(a, "}")) == 0);
    hone_free(of_folder);
    hone_free(of_file);
    verb_must("\"ids\"", (const char *[]){ "generate", file, "--input", input, "--max-new-tokens", "3", NULL });
    // Out as a folder, and that as a file: the same bytes.
    verb_must("Hugging Face folder", (const char *[]){ "export", file, "--output", test_path("back"), NULL });
    verb_must_fail("is there already", (const char *[]){ "export", file, "--output", test_path("back"), NULL });
    must(hone_dir_create(test_path("again")));
    verb_must("f32", (const char *[]){ "export", test_path("back"), "--output", test_path("again/llama.gguf"), "--type", "f32", NULL });
    assert_true(test_hash("%s", file) == test_hash("%s", test_path("again/llama.gguf")));
}

static void test_what_cannot_be_exported_is_refused(void **state)
{
    (void)state;
    const char *file = test_path("no.gguf");
    verb_must_fail("sliding window of 16", (const char *[]){ "export", GOLDEN "mistral", "--output", file, NULL });
    verb_must_fail("divides scores by 4.47", (const char *[]){ "export", GOLDEN "gemma2", "--output", file, NULL });
    verb_must_fail("heads that are not as wide", (const char *[]){ "export", GOLDEN "olmo2", "--output", file, NULL });
    verb_must_fail("for a granite model; write a Hugging Face folder instead", (const char *[]){ "export", GOLDEN "granite", "--output", file, NULL });
    verb_must_fail("give one of f32, f16, bf16, q8_0, q4_k_m", (const char *[]){ "export", GOLDEN "llama", "--output", file, "--type", "q3", NULL });
    verb_must_fail("a Hugging Face folder is written in f32", (const char *[]){ "export", GOLDEN "llama", "--output", test_path("no"), "--type", "f16", NULL });
    verb_must_fail("--output PATH is missing", (const char *[]){ "export", GOLDEN "llama", NULL });
    verb_must_fail("no such folder", (const char *[]){ "export", test_path("nowhere"), "--output", file, NULL });
    assert_false(hone_file_exists(file));
    assert_false(hone_file_exists(test_path("no.gguf.part")));
}

// Lies ---------------------------------------------------------------------------------------------------------------

// A small whole model, damaged by `damage`, must be refused with these words and the path.
typedef void (*damage_fn)(char *data, size_t *size);

static void assert_refused(damage_fn damage, const char *words)
{
    char *data;
    size_t size;
    hone_config config;
    must(hone_file_read(test_path("whole.gguf"), &data, &size));
    damage(data, &size);
    const char *path = test_path("bad.gguf");
    must(hone_file_write(path, data, size));
    hone_free(data);
    hone_status status = hone_gguf_read_config(&config, path);
    if (!status) {
        test_store b;
        test_store_open(&b, &config, false);
        status = hone_gguf_load(&b.model, path, test_store_place, &b);
        test_store_close(&b);
    }
    if (!status) fail_msg("accepted, though: %s", words);
    if (!strstr(hone_error(), words) || !strstr(hone_error(), path)) fail_msg("the message lacks \"%s\" or the path: %s", words, hone_error());
}

// The first place where these bytes stand.
static char *find(char *data, size_t size, const char *name)
{
    char *at = memmem(data, size, name, strlen(name));
    assert_non_null(at);
    return at;
}

static void put_u64(char *at, uint64_t value) { memcpy(at, &value, 8); }
static void put_u32(char *at, uint32_t value) { memcpy(at, &value, 4); }
static void cut_head(char *data, size_t *size) { (void)data; *size = 1600; }
static void cut_data(char *data, size_t *size) { (void)data; *size -= 64; }
static void no_magic(char *data, size_t *size) { (void)size; data[0] = 'X'; }
static void version_one(char *data, size_t *size) { (void)size; put_u32(data + 4, 1); }
static void other_end(char *data, size_t *size) { (void)size; put_u32(data + 4, 3u << 24); }
static void many_tensors(char *data, size_t *size) { (void)size; put_u64(data + 8, UINT64_MAX); }
static void long_name(char *data, size_t *size) { (void)size; put_u64(data + 24, 1000); }
static void endless_text(char *data, size_t *size) { put_u64(find(data, *size, "general.architecture") + 24, UINT64_MAX - 3); }
static void other_type(char *data, size_t *size) { put_u32(find(data, *size, "llama.block_count") + 17, HONE_GGUF_F32); }
static void no_type(char *data, size_t *size) { put_u32(find(data, *size, "llama.block_count") + 17, 77); }
static void other_arch(char *data, size_t *size) { memcpy(find(data, *size, "general.architecture") + 32, "lemur", 5); }
static void key_gone(char *data, size_t *size) { memcpy(find(data, *size, "llama.context_length"), "llama.context_leNgth", 20); }
static void heads_odd(char *data, size_t *size) { put_u32(find(data, *size, "llama.attention.head_count") + 30, 0); }
static void rank_nine(char *data, size_t *size) { put_u32(find(data, *size, "blk.0.ffn_up.weight") + 19, 9); }
static void dim_none(char *data, size_t *size) { put_u64(find(data, *size, "blk.0.ffn_up.weight") + 23, 0); }
static void dims_huge(char *data, size_t *size) { put_u64(find(data, *size, "blk.0.ffn_up.weight") + 23, INT32_MAX); }
static void other_shape(char *data, size_t *size) { put_u64(find(data, *size, "blk.0.ffn_up.weight") + 31, 1); }
static void other_blocks(char *data, size_t *size) { put_u32(find(data, *size, "blk.0.ffn_up.weight") + 39, 10); }
static void half_block(char *data, size_t *size) { put_u32(find(data, *size, "blk.0.ffn_up.weight") + 39, 12); }
static void offset_far(char *data, size_t *size) { put_u64(find(data, *size, "blk.0.ffn_up.weight") + 43, (uint64_t)1 << 40); }
static void offset_odd(char *data, size_t *size) { put_u64(find(data, *size, "blk.0.ffn_up.weight") + 43, 4); }
static void same_name(char *data, size_t *size) { memcpy(find(data, *size, "blk.1.attn_norm.weight"), "blk.0.attn_norm.weight", 22); }
static void strange_name(char *data, size_t *size) { memcpy(find(data, *size, "blk.1.attn_norm.weight"), "blk.1.attn_norn.weight", 22); }
static void name_with_zero(char *data, size_t *size) { find(data, *size, "blk.1.attn_norm.weight")[3] = 0; }

static void test_files_that_lie_are_refused_by_name(void **state)
{
    (void)state;
    static const struct { damage_fn damage; const char *words; } lie[] = {
        { cut_head, "ends within" }, { cut_data, "the file ends before" }, { no_magic, "does not begin with \"GGUF\"" }, { version_one, "GGUF version 1" },
        { other_end, "little-endian" }, { many_tensors, "more than its" }, { long_name, "is no name" }, { endless_text, "ends within general.architecture" },
        { other_type, "llama.block_count is of type f32; a whole number is expected" }, { no_type, "llama.block_count is of type 77" },
        { other_arch, "\"lemur\" is not one that hone has: llama, qwen2, qwen3, gpt2" }, { key_gone, "llama.context_length is missing" },
        { heads_odd, "head_count is 0" }, { rank_nine, "blk.0.ffn_up.weight has 9 dimensions" }, { dim_none, "has dimension 0" },
        { dims_huge, "the file ends before" }, { other_shape, "the file's values ask for" }, { other_blocks, "is of type 10, which hone does not read (F32, F16" },
        { half_block, "no whole blocks of Q4_K" }, { offset_far, "the file ends before" }, { offset_odd, "no multiple of 32" },
        { same_name, "two tensors are called blk.0.attn_norm.weight" }, { strange_name, "blk.1.attn_norm.weight is missing" }, { name_with_zero, "is no name" },
    };
    hone_config config = config_of("llama", false);
    test_store a;
    test_store_open(&a, &config, false);
    test_store_fill(&a, 9);
    must(hone_gguf_save(&a.model, test_path("whole.gguf"), "t", hone_gguf_kind_find("f32"), NULL, NULL, test_store_place, &a));
    test_store_close(&a);
    for (size_t i = 0; i < sizeof lie / sizeof *lie; i++) assert_refused(lie[i].damage, lie[i].words);
}

static void test_no_beginning_of_a_file_is_taken_for_a_file(void **state)
{
    (void)state;
    char *data;
    size_t size;
    must(hone_file_read(test_path("whole.gguf"), &data, &size));
    for (size_t n = 0; n < size; n += n < 4000 ? 7 : 4001) {
        hone_gguf file;
        must(hone_file_write(test_path("cut.gguf"), data, n));
        if (hone_gguf_open(&file, test_path("cut.gguf")) == HONE_OK) fail_msg("accepted with %zu of %zu bytes", n, size);
        assert_says(hone_error(), "cut.gguf");
    }
    hone_free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models_of_every_family_read_back), cmocka_unit_test(test_gains_and_scores_are_written_as_they_are_used),
        cmocka_unit_test(test_a_window_that_the_family_lacks_is_refused), cmocka_unit_test(test_rows_of_q_and_k_are_turned),
        cmocka_unit_test(test_every_type_is_as_near_as_it_says), cmocka_unit_test(test_a_learned_tokenizer_reads_back),
        cmocka_unit_test(test_tokenizers_of_the_world_read_back), cmocka_unit_test(test_a_gguf_file_is_a_model_for_every_verb),
        cmocka_unit_test(test_what_cannot_be_exported_is_refused), cmocka_unit_test(test_files_that_lie_are_refused_by_name),
        cmocka_unit_test(test_no_beginning_of_a_file_is_taken_for_a_file),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
