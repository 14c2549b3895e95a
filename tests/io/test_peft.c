// PEFT folders: those of PEFT's making (tests/golden_lora) are read, written again, and read by PEFT (HONE_PYTHON) with the same
// logits; damaged ones and those that hone does not do are refused by name.
#include "base/file.h"
#include "base/json.h"
#include "graph/session.h"
#include "io/hf.h"
#include "io/peft.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"

typedef struct bench { hone_peft peft; hone_graph *graph; hone_model model; hone_session session; } bench;

static void *place(void *session, hone_tid id) { return hone_session_data(session, id); }

// A base of tests/golden with an adapter of tests/golden_lora.
static void bench_open(bench *b, const char *base, const char *adapter)
{
    char *config_path = hone_format("%s/tests/golden/%s/config.json", HONE_SOURCE_DIR, base), *folder = hone_format("%s/tests/golden/%s", HONE_SOURCE_DIR, base);
    char *from = hone_format("%s/tests/golden_lora/%s", HONE_SOURCE_DIR, adapter);
    hone_config config;
    hone_train_io io;
    *b = (bench){ .graph = hone_graph_new() };
    must(hone_config_load(&config, config_path));
    must(hone_peft_open(&b->peft, from));
    must(hone_model_declare(&b->model, b->graph, &config));
    must(hone_lora_declare(&b->model, &b->peft.options));
    must(hone_model_build_score(&b->model, 1, 8, &io));
    must(hone_session_open(&b->session, b->graph, &(hone_session_options){ .backend = "ref" }));
    must(hone_hf_load(&b->model, folder, place, &b->session));
    must(hone_peft_note_base(&b->model, folder, place, &b->session));
    must(hone_peft_load(&b->peft, &b->model, place, &b->session));
    hone_free(config_path), hone_free(folder), hone_free(from);
}

static void bench_close(bench *b)
{
    hone_peft_close(&b->peft);
    hone_session_close(&b->session);
    hone_model_release(&b->model);
    hone_graph_free(b->graph);
}

static void test_what_hone_writes_peft_reads(void **state)
{
    (void)state;
    static const struct { const char *base, *adapter; } pair[] = { { "llama", "llama" }, { "gpt2", "gpt2" }, { "qwen2", "qwen2_rs" }, { "gpt2", "gpt2_dora" } };
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        bench b;
        bench_open(&b, pair[i].base, pair[i].adapter);
        char *out = hone_format("%s/%s", test_path("written"), pair[i].adapter);
        must(hone_peft_save(&b.model, out, place, &b.session));
        assert_true(test_hash("%s/adapter_model.safetensors", out) != 0);
        hone_peft again;
        must(hone_peft_open(&again, out));
        assert_true(again.has_base && again.base_hash == b.model.lora.base_hash);
        assert_int_equal(again.options.rank, b.model.lora.rank);
        assert_int_equal(again.options.n_target, b.model.lora.n_module);
        assert_true(again.options.rslora == b.model.lora.rslora && again.options.alpha == b.model.lora.alpha);
        must(hone_peft_load(&again, &b.model, place, &b.session));
        for (int64_t k = 0; k < again.set.count; k++) {     // bit by bit what PEFT wrote
            const hone_safetensor *ours = &again.set.tensor[k], *theirs = hone_safetensors_find(&b.peft.set, ours->name);
            assert_non_null(theirs);
            assert_int_equal(ours->size, theirs->size);
            assert_memory_equal(again.set.file[0].map.data + ours->begin, b.peft.set.file[0].map.data + theirs->begin, ours->size);
        }
        hone_peft_close(&again);
        bench_close(&b);
        hone_free(out);
    }
    if (!test_python_has("peft")) {
        print_message("skipped: HONE_PYTHON with peft, which would read them\n");
        return;
    }
    assert_int_equal(test_python(HONE_SOURCE_DIR "/tests/io/check_peft.py", test_path("written")), 0);
}

// A copy of the llama adapter, `key` of its configuration set to a JSON value (NULL: as it is).
static char *copy_adapter(const char *name, const char *key, const char *value)
{
    char *out = hone_strdup(test_path(name)), *data;
    size_t size;
    must(hone_dir_create(out));
    for (int i = 0; i < 2; i++) {
        const char *file = i ? "adapter_model.safetensors" : "adapter_config.json";
        char *from = hone_format("%s/tests/golden_lora/llama/%s", HONE_SOURCE_DIR, file), *to = hone_path_join(out, file);
        must(hone_file_read(from, &data, &size));
        must(hone_file_write(to, data, size));
        json_t *config, *member = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
        if (i == 0 && key) {
            must(hone_json_load(to, &config));
            if (member) json_object_set_new(config, key, member);
            else json_object_del(config, key);
            must(hone_json_save(to, config));
            json_decref(config);
        } else json_decref(member);
        hone_free(data), hone_free(from), hone_free(to);
    }
    return out;
}

static void test_what_hone_does_not_do_is_refused_by_name(void **state)
{
    (void)state;
    static const struct { const char *key, *value, *say; } bad[] = {
        { "peft_type", "\"IA3\"", "peft_type is IA3" }, { "peft_type", NULL, "peft_type" }, { "r", "0", "r is 0" }, { "r", NULL, "r" },
        { "r", "\"x\"", "r" }, { "lora_alpha", NULL, "lora_alpha" }, { "bias", "\"all\"", "bias is all" }, { "use_dora", "3", "use_dora" },
        { "modules_to_save", "[\"lm_head\"]", "modules_to_save is set" }, { "rank_pattern", "{\"q_proj\": 2}", "rank_pattern is set" },
        { "init_lora_weights", "\"pissa\"", "init_lora_weights is pissa" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        hone_peft peft;
        char *folder = copy_adapter("bad", bad[i].key, bad[i].value);
        assert_int_equal(hone_peft_open(&peft, folder), HONE_FAILED);
        assert_says(hone_error(), bad[i].say);
        assert_says(hone_error(), "adapter_config.json");
        hone_free(folder);
    }
}

static void test_damaged_folders_are_refused(void **state)
{
    (void)state;
    hone_peft peft;
    char *folder = copy_adapter("damaged", NULL, NULL), *weights = hone_path_join(folder, "adapter_model.safetensors"), *base = hone_path_join(folder, "base.json"), *data;
    size_t size;
    must(hone_file_write(base, "{\"path\": \"x\", \"xxh3\": \"zz\"}", 27));
    assert_int_equal(hone_peft_open(&peft, folder), HONE_FAILED);
    assert_says(hone_error(), "base.json: xxh3");
    must(hone_file_write(base, "{\"path\": \"x\", \"xxh3\": \"0123456789abcdef\"}", 41));
    bench b;
    bench_open(&b, "llama", "llama");
    must(hone_peft_open(&peft, folder));
    assert_int_equal(hone_peft_load(&peft, &b.model, place, &b.session), HONE_FAILED);
    assert_says(hone_error(), "was trained on x, whose weights differ");
    hone_peft_close(&peft);
    must(hone_file_read(weights, &data, &size));
    must(hone_file_write(weights, data, size - 8));
    assert_int_equal(hone_peft_open(&peft, folder), HONE_FAILED);
    assert_says(hone_error(), "adapter_model.safetensors");
    hone_free(data);
    assert_int_equal(hone_peft_open(&peft, test_path("nowhere")), HONE_FAILED);
    assert_says(hone_error(), "no such folder");
    bench_close(&b);
    hone_free(folder), hone_free(weights), hone_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_hone_writes_peft_reads),
        cmocka_unit_test(test_what_hone_does_not_do_is_refused_by_name),
        cmocka_unit_test(test_damaged_folders_are_refused),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
