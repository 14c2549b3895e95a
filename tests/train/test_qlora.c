// Frozen matrices in blocks of few bits, driven as a user would: the adapter of qlora is bit for bit that of lora on the numbers that
// the blocks say, memory falls as planned, and the adapter belongs to the base as it is in its file.
#include "base/file.h"
#include "base/json.h"
#include "io/safetensors.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static char *folder, *recipe, *base;

static void pretrain(const char *out, const char *hidden, const char *inner, const char *layers)
{
    char *init = run_rig_recipe_file(folder, "max_steps: 1\nrun_store: none\nper_device_train_batch_size: 2\n"), *to = hone_format("output_dir=%s", out);
    verb_must("model", (const char *[]){ "pretrain", init, to, hidden, inner, layers, "max_steps=12", NULL });
    hone_free(init), hone_free(to);
}

// Both recipes are one file's content, one behind the other.
static void write_recipe(void)
{
    char *more = hone_format("model_name_or_path: %s\nfinetuning_type: qlora\nlora_rank: 4\nlora_dropout: 0.1\nper_device_train_batch_size: 2\nmax_steps: 12\n"
                             "save_steps: 4\nsave_total_limit: 9\nlogging_steps: 1\nrun_store: none\n", base);
    hone_free(recipe);
    recipe = run_rig_recipe_file(folder, more);
    hone_free(more);
}

static int make_base(void **state)
{
    (void)state;
    folder = run_rig_folder();
    char *out = hone_format("%s/base", folder);
    pretrain(out, "model.hidden_size=128", "model.intermediate_size=192", "model.num_hidden_layers=2");
    base = hone_format("%s/model", out);
    write_recipe();
    hone_free(out);
    return 0;
}
static int remove_base(void **state)
{
    (void)state;
    hone_free(recipe), hone_free(base);
    run_rig_remove(folder);
    return 0;
}

static const void *source(void *values, int64_t index, int64_t first, int64_t count, void *scratch)
{
    (void)count, (void)scratch;
    return ((float **)values)[index] + first;
}

// The base with the matrices of its blocks as `blocks` say them, the others as `tables` do.
static char *write_rounded(const char *name, hone_blocks blocks, hone_blocks tables)
{
    char *to = hone_format("%s/%s", folder, name), *from = hone_path_join(base, "model.safetensors"), *weights = hone_path_join(to, "model.safetensors");
    char *config = hone_path_join(base, "config.json"), *copy = hone_path_join(to, "config.json"), *text;
    size_t size;
    hone_safetensors set;
    must(hone_dir_create(to));
    must(hone_file_read(config, &text, &size));
    must(hone_file_write(copy, text, size));
    must(hone_safetensors_open(&set, from));
    float **values = hone_alloc((size_t)set.count, sizeof *values);
    hone_safetensor_spec *spec = hone_alloc((size_t)set.count, sizeof *spec);
    for (int64_t i = 0; i < set.count; i++) {
        const hone_safetensor *t = &set.tensor[i];
        values[i] = hone_alloc((size_t)t->count, sizeof **values);
        hone_safetensor_read(&set, t, 0, t->count, HONE_f32, values[i]);
        spec[i] = (hone_safetensor_spec){ .name = t->name, .dtype = HONE_f32, .rank = t->rank, .dim = { t->dim[0], t->rank > 1 ? t->dim[1] : 0 } };
        if (t->rank < 2) continue;
        const hone_blocks its = strstr(t->name, "layers.") ? blocks : tables;
        void *data = hone_alloc(1, hone_blocks_bytes(its, t->count));
        hone_blocks_encode(its, values[i], t->count, data);
        hone_blocks_decode(its, data, t->count, values[i]);
        hone_free(data);
    }
    hone_writer writer;
    must(hone_writer_open(&writer, weights));
    must(hone_safetensors_write(&writer, spec, set.count, source, values, NULL, 1 << 16));
    must(hone_writer_commit(&writer));
    for (int64_t i = 0; i < set.count; i++) hone_free(values[i]);
    hone_safetensors_close(&set);
    hone_free(values), hone_free(spec), hone_free(from), hone_free(weights), hone_free(config), hone_free(copy), hone_free(text);
    return to;
}

// Tunes into folder/<name> with three keys; the hash of the adapter.
static uint64_t tune(const char *name, const char *key, const char *key2, const char *key3)
{
    char *out = hone_format("output_dir=%s/%s", folder, name), *say = hone_format("%s/adapter", name);
    verb_must(say, (const char *[]){ "tune", recipe, out, key, key2, key3, NULL });
    const uint64_t hash = test_hash("%s/adapter/adapter_model.safetensors", out + strlen("output_dir="));
    hone_free(out), hone_free(say);
    return hash;
}

static void test_qlora_is_lora_on_what_the_blocks_say(void **state)
{
    (void)state;
    static const struct { const char *name; hone_blocks blocks; } kinds[] = { { "nf4", HONE_BLOCKS_nf4 }, { "q4_0", HONE_BLOCKS_q4_0 }, { "q8_0", HONE_BLOCKS_q8_0 } };
    uint64_t before = 0;
    for (int k = 0; k < 3; k++) {
        char *rounded = write_rounded(kinds[k].name, kinds[k].blocks, HONE_BLOCKS_f32), *model = hone_format("model_name_or_path=%s", rounded);
        char *type = hone_format("quantization_type=%s", kinds[k].name), *q = hone_format("q_%s", kinds[k].name), *l = hone_format("l_%s", kinds[k].name);
        const uint64_t in_blocks = tune(q, type, NULL, NULL), in_numbers = tune(l, "finetuning_type=lora", model, NULL);
        assert_true(in_blocks == in_numbers && in_blocks != before);
        before = in_blocks;
        hone_free(rounded), hone_free(model), hone_free(type), hone_free(q), hone_free(l);
    }
    assert_true(tune("lora8", "finetuning_type=lora", "quantization_bit=8", NULL) == before);     // LLaMA-Factory's way to say it
}

// Tables of values are kept as the embedding is, gains in f32.
static void test_a_model_with_value_embeddings_and_skips_is_kept_so_as_well(void **state)
{
    (void)state;
    char *llama = base, *init = run_rig_recipe_file(folder, "run_store: none\nper_device_train_batch_size: 2\n"), *out = hone_format("output_dir=%s/own", folder);
    verb_must("model", (const char *[]){ "pretrain", init, out, "model.model_type=hone", "model.hidden_size=64", "model.intermediate_size=64",
                                         "model.value_embeddings=1", "model.skip_connections=true", "max_steps=12", NULL });
    base = hone_format("%s/own/model", folder);
    write_recipe();
    char *rounded = write_rounded("own_nf4", HONE_BLOCKS_nf4, HONE_BLOCKS_bf16), *model = hone_format("model_name_or_path=%s", rounded);
    assert_true(tune("own_q", "precision=bf16", NULL, NULL) == tune("own_l", "finetuning_type=lora", "precision=bf16", model));
    hone_free(base);
    base = llama;
    write_recipe();
    hone_free(init), hone_free(out), hone_free(rounded), hone_free(model);
}

static void test_products_of_bf16_and_recomputation_see_the_same_numbers(void **state)
{
    (void)state;
    char *rounded = write_rounded("nf4_bf16", HONE_BLOCKS_nf4, HONE_BLOCKS_bf16), *model = hone_format("model_name_or_path=%s", rounded);
    char *out = hone_format("output_dir=%s/bf16", folder);
    verb_must("adapter", (const char *[]){ "tune", recipe, out, "finetuning_type=lora", model, "precision=bf16", NULL });
    const uint64_t numbers = test_hash("%s/adapter/adapter_model.safetensors", out + strlen("output_dir="));
    assert_true(tune("bf16_q", "precision=bf16", "gradient_checkpointing=true", NULL) == numbers);
    hone_free(rounded), hone_free(model), hone_free(out);
}

static void test_gone_on_is_bit_identical(void **state)
{
    (void)state;
    char *from = hone_format("resume=%s/q_nf4/step-8", folder);
    assert_true(tune("on", from, "quantization_type=nf4", NULL) == test_hash("%s/q_nf4/adapter/adapter_model.safetensors", folder));
    char *out = hone_format("output_dir=%s/q_nf4", folder);
    verb_must_fail("quantization_type was", (const char *[]){ "tune", recipe, out, "quantization_type=q8_0", "max_steps=20", NULL });
    hone_free(from), hone_free(out);
}

// A file's own blocks stay as they are: nothing is lost, so lora on the file's numbers is the same run.
static void test_a_gguf_base_keeps_its_blocks(void **state)
{
    (void)state;
    char *file = hone_format("%s/base.gguf", folder), *model = hone_format("model_name_or_path=%s", file);
    verb_must("base.gguf", (const char *[]){ "export", base, "--output", file, "--type", "q8_0", NULL });
    verb_must("\"frozen_blocks\": \"Q8_0\"", (const char *[]){ "plan", recipe, model, "--json", NULL });
    assert_true(tune("g_q", model, NULL, NULL) == tune("g_l", model, "finetuning_type=lora", NULL));
    assert_true(test_hash("%s/g_q/adapter/adapter_config.json", folder) == test_hash("%s/g_l/adapter/adapter_config.json", folder));
    hone_free(file), hone_free(model);
}

static void test_the_adapter_belongs_to_the_base_as_it_is_in_its_file(void **state)
{
    (void)state;
    char *adapter = hone_format("%s/q_nf4/adapter", folder), *merged = hone_format("%s/merged", folder), *data = hone_format("%s/held.u16", folder);
    char *rounded = hone_format("%s/nf4", folder);
    verb_must("trained on these matrices in NF4", (const char *[]){ "merge", base, "--adapter", adapter, "--output", merged, "--data", data, NULL });
    verb_must("loss", (const char *[]){ "eval", base, "--adapter", adapter, "--data", data, NULL });
    verb_must_fail("whose weights differ", (const char *[]){ "eval", rounded, "--adapter", adapter, "--data", data, NULL });
    hone_free(adapter), hone_free(merged), hone_free(data), hone_free(rounded);
}

static void test_what_cannot_be_is_refused(void **state)
{
    (void)state;
    static const char *const odd = "model_name_or_path=" HONE_SOURCE_DIR "/tests/golden/llama";
    verb_must_fail("rows of 24, which are no whole blocks of NF4", (const char *[]){ "plan", recipe, odd, NULL });
    verb_must_fail("weights that are trained", (const char *[]){ "plan", recipe, "finetuning_type=full", "quantization_bit=4", NULL });
    verb_must_fail("give 4 or 8", (const char *[]){ "plan", recipe, "quantization_bit=5", NULL });
    verb_must_fail("nf4 has not the 8 bits", (const char *[]){ "plan", recipe, "quantization_bit=8", "quantization_type=nf4", NULL });
    verb_must_fail("nothing is kept in few bits", (const char *[]){ "plan", recipe, "finetuning_type=lora", "quantization_type=nf4", NULL });
}

// The number behind the last "key": in a text.
static double number_of(const char *text, const char *key)
{
    const char *last = NULL;
    for (const char *at = text; (at = strstr(at, key)); at++) last = at;
    if (!last) fail_msg("no %s in %s", key, text);
    return strtod(last + strlen(key) + 1, NULL);
}

// Twenty million parameters: as numbers they would take 76 MiB more than planned, if only while they are read.
static void test_memory_is_what_is_planned(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    print_message("skipped: the sanitizer's own memory is not in the plan\n");
    skip();
#endif
    char *wide = hone_format("%s/wide", folder), *model = hone_format("model_name_or_path=%s/model", wide), *text, *log = hone_format("%s/narrow/log.jsonl", folder);
    size_t size;
    pretrain(wide, "model.hidden_size=384", "model.intermediate_size=1024", "model.num_hidden_layers=12");
    write_recipe();
    tune("narrow", model, "lora_dropout=0", "lora_rank=2");
    must(hone_file_read(log, &text, &size));
    const double planned = number_of(text, "\"planned_bytes\""), peak = number_of(text, "\"peak_resident_bytes\"");
    printf("  planned %.1f MiB  measured %.1f MiB  %+.2f%%\n", planned / 0x1p20, peak / 0x1p20, 100 * (peak / planned - 1));
    assert_true(fabs(peak / planned - 1) < 0.05);
    assert_true(planned < 60 * 0x1p20);
    hone_free(text), hone_free(wide), hone_free(model), hone_free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qlora_is_lora_on_what_the_blocks_say),
        cmocka_unit_test(test_a_model_with_value_embeddings_and_skips_is_kept_so_as_well),
        cmocka_unit_test(test_products_of_bf16_and_recomputation_see_the_same_numbers),
        cmocka_unit_test(test_gone_on_is_bit_identical),
        cmocka_unit_test(test_a_gguf_base_keeps_its_blocks),
        cmocka_unit_test(test_the_adapter_belongs_to_the_base_as_it_is_in_its_file),
        cmocka_unit_test(test_what_cannot_be_is_refused),
        cmocka_unit_test(test_memory_is_what_is_planned),
    };
    return cmocka_run_group_tests(tests, make_base, remove_base);
}
