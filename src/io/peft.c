// peft.c: see peft.h.
#include "io/peft.h"
#include "base/json.h"
#include "base/memory.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char CONFIG[] = "adapter_config.json", WEIGHTS[] = "adapter_model.safetensors", BASE[] = "base.json";
static const char PREFIX[] = "base_model.model.";
static const char *const FACTOR[] = { ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector" };
enum { FACTORS = sizeof FACTOR / sizeof *FACTOR };

// Reading -------------------------------------------------------------------------------------------------------------

// Absent, null, false, "", [], {}: all that PEFT writes for "not used".
static bool is_nothing(const json_t *value)
{
    return !value || json_is_null(value) || json_is_false(value) || (json_is_string(value) && !json_string_length(value)) ||
           (json_is_array(value) && !json_array_size(value)) || (json_is_object(value) && !json_object_size(value));
}

static hone_status refuse_unknown(const json_t *config, const char *where)
{
    static const char *const unused[] = { "modules_to_save", "rank_pattern", "alpha_pattern", "lora_bias", "target_parameters",
                                          "trainable_token_indices", "layer_replication", "alora_invocation_tokens", "use_qalora", "use_bdlora", "arrow_config", "kasa_config", "monteclora_config" };
    const char *type = NULL, *bias = "none";
    hone_status status = hone_json_text(config, "peft_type", where, true, &type);
    if (!status && strcmp(type, "LORA")) return hone_fail("%s: peft_type is %s; hone reads LORA adapters", where, type);
    if (!status) status = hone_json_text(config, "bias", where, false, &bias);
    if (!status && strcmp(bias, "none")) return hone_fail("%s: bias is %s; hone reads adapters whose biases are not trained (none)", where, bias);
    for (size_t i = 0; i < sizeof unused / sizeof *unused && !status; i++)
        if (!is_nothing(json_object_get(config, unused[i])))
            status = hone_fail("%s: %s is set; hone does not have that, merge the adapter with PEFT and use the merged model", where, unused[i]);
    const char *init = json_string_value(json_object_get(config, "init_lora_weights"));
    if (!status && init && strcmp(init, "gaussian") && strcmp(init, "eva") && strcmp(init, "orthogonal"))
        status = hone_fail("%s: init_lora_weights is %s, which changes the base model as well; convert the adapter with PEFT first", where, init);
    return status;
}

static hone_status read_config(hone_peft *peft)
{
    json_t *config = NULL;
    hone_lora_options *o = &peft->options;
    char *path = hone_path_join(peft->folder, CONFIG);
    hone_status status = path ? hone_json_load(path, &config) : HONE_FAILED;
    if (!status) status = refuse_unknown(config, path);
    if (!status) status = hone_json_int(config, "r", path, true, &o->rank);
    if (!status) status = hone_json_real(config, "lora_alpha", path, true, &o->alpha);
    if (!status) status = hone_json_bool(config, "use_rslora", path, false, &o->rslora);
    if (!status) status = hone_json_bool(config, "use_dora", path, false, &o->dora);
    if (!status && (o->rank < 1 || o->rank > INT32_MAX)) status = hone_fail("%s: r is %" PRId64 "; it must be 1 or more", path, o->rank);
    if (!status && !isfinite(o->alpha)) status = hone_fail("%s: lora_alpha is not finite", path);
    json_decref(config);
    hone_free(path);
    return status;
}

static bool parse_hex(const char *text, uint64_t *value)
{
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) return false;
    *value = strtoull(text, NULL, 16);
    return true;
}

static hone_status read_base(hone_peft *peft)
{
    json_t *base = NULL;
    const char *hash = "", *from = "", *blocks = "";
    char *path = hone_path_join(peft->folder, BASE);
    hone_status status = path ? HONE_OK : HONE_FAILED;
    if (!status && hone_file_exists(path)) {
        status = hone_json_load(path, &base);
        if (!status) status = hone_json_text(base, "xxh3", path, true, &hash);
        if (!status) status = hone_json_text(base, "path", path, true, &from);
        if (!status) status = hone_json_text(base, "quantization", path, false, &blocks);
        if (!status && !parse_hex(hash, &peft->base_hash)) status = hone_fail("%s: xxh3 is not 16 hexadecimal digits", path);
        if (!status && (!(peft->base_path = hone_strdup(from)) || !(peft->base_blocks = hone_strdup(blocks)))) status = HONE_FAILED;
        peft->has_base = !status;
    }
    json_decref(base);
    hone_free(path);
    return status;
}

// The module that a tensor is factor `which` of; NULL where it is none. hone_free() it.
static char *module_of(const char *name, int which)
{
    const size_t n = strlen(name), p = strlen(PREFIX), f = strlen(FACTOR[which]);
    if (n <= p + f || strncmp(name, PREFIX, p) || strcmp(name + n - f, FACTOR[which])) return NULL;
    return hone_format("%.*s", (int)(n - p - f), name + p);
}

static bool is_factor(const char *name)
{
    bool is = false;
    for (int which = 0; which < FACTORS; which++) {
        char *module = module_of(name, which);
        is |= module != NULL;
        hone_free(module);
    }
    return is;
}

// Modules from the tensors' names; each has two, with DoRA three.
static hone_status list_modules(hone_peft *peft)
{
    const hone_safetensors *set = &peft->set;
    if (!(peft->module = hone_alloc((size_t)set->count + 1, sizeof *peft->module))) return HONE_FAILED;
    for (int64_t i = 0; i < set->count; i++) {
        if (!is_factor(set->tensor[i].name))
            return hone_fail("%s/%s: %.200s is not a factor of a matrix (%s...%s); hone reads adapters of the blocks' matrices", peft->folder, WEIGHTS,
                             set->tensor[i].name, PREFIX, FACTOR[0]);
        char *module = module_of(set->tensor[i].name, 0);
        if (!module) continue;
        peft->module[peft->options.n_target++] = module;
        const hone_safetensor *a = &set->tensor[i];
        if (a->rank != 2 || a->dim[0] != peft->options.rank)
            return hone_fail("%s/%s: %.200s does not have the %" PRId64 " rows that r of %s says", peft->folder, WEIGHTS, a->name, peft->options.rank, CONFIG);
    }
    peft->options.target = (const char *const *)peft->module;
    if (!peft->options.n_target) return hone_fail("%s/%s: holds no adapter", peft->folder, WEIGHTS);
    return HONE_OK;
}

hone_status hone_peft_open(hone_peft *peft, const char *folder)
{
    *peft = (hone_peft){ 0 };
    if (!hone_dir_exists(folder)) return hone_fail("%s: no such folder; an adapter is a PEFT folder with %s and %s", folder, CONFIG, WEIGHTS);
    char *path = hone_path_join(folder, WEIGHTS);
    hone_status status = path && (peft->folder = hone_strdup(folder)) ? HONE_OK : HONE_FAILED;
    if (!status) status = read_config(peft);
    if (!status) status = read_base(peft);
    if (!status) status = hone_safetensors_open(&peft->set, path);
    if (!status) status = list_modules(peft);
    hone_free(path);
    if (status) hone_peft_close(peft);
    return status;
}

void hone_peft_close(hone_peft *peft)
{
    for (int64_t i = 0; i < peft->options.n_target; i++) hone_free(peft->module[i]);
    hone_free(peft->module);
    hone_free(peft->folder);
    hone_free(peft->base_path);
    hone_free(peft->base_blocks);
    if (peft->set.n_file) hone_safetensors_close(&peft->set);
    *peft = (hone_peft){ 0 };
}

// The base -------------------------------------------------------------------------------------------------------------

hone_status hone_peft_note_base(hone_model *model, const char *path, hone_place_fn data, void *context)
{
    hone_free(model->lora.base_path);
    model->lora.base_hash = hone_model_hash(model, data, context);
    model->lora.base_path = hone_strdup(path);
    return model->lora.base_path ? HONE_OK : HONE_FAILED;
}

static hone_status check_base(const hone_peft *peft, const hone_lora *lora)
{
    if (!peft->has_base || peft->base_hash == lora->base_hash) return HONE_OK;
    return hone_fail("%s: this adapter was trained on %s, whose weights differ from those of %s; give it with the model that it was trained on",
                     peft->folder, peft->base_path, lora->base_path);
}

static hone_status load_factor(const hone_peft *peft, const hone_model *model, int64_t i, hone_place_fn data, void *context)
{
    const int count = hone_lora_factors(&model->lora);
    const hone_tid id = hone_lora_factor(&model->lora, i);
    const hone_tensor *t = hone_at(model->graph, id);
    char *name = hone_format("%s%s%s", PREFIX, model->lora.module[i / count].name, FACTOR[i % count]);
    if (!name) return HONE_FAILED;
    const hone_safetensor *saved = hone_safetensors_find(&peft->set, name);
    hone_status status = HONE_OK;
    if (!saved) status = hone_fail("%s/%s: %s is missing", peft->folder, WEIGHTS, name);
    else if (saved->rank != t->rank || saved->dim[0] != t->dim[0] || (t->rank > 1 && saved->dim[1] != t->dim[1]))
        status = hone_fail("%s/%s: %s is [%" PRId64 ", %" PRId64 "], this model asks for [%" PRId64 ", %" PRId64 "]; the adapter belongs to another base model",
                           peft->folder, WEIGHTS, name, saved->dim[0], saved->rank > 1 ? saved->dim[1] : 1, t->dim[0], t->rank > 1 ? t->dim[1] : 1);
    else if (!hone_safetensor_converts(saved, HONE_f32))
        status = hone_fail("%s/%s: %s is of type %s, hone reads F32, BF16 and F16", peft->folder, WEIGHTS, name, saved->dtype);
    else hone_safetensor_read(&peft->set, saved, 0, saved->count, HONE_f32, data(context, id));
    hone_free(name);
    return status;
}

hone_status hone_peft_load(const hone_peft *peft, const hone_model *model, hone_place_fn data, void *context)
{
    const int64_t count = hone_lora_factors(&model->lora) * model->lora.n_module;
    hone_status status = check_base(peft, &model->lora);
    for (int64_t i = 0; i < count && !status; i++) status = load_factor(peft, model, i, data, context);
    if (!status && peft->set.count != count)
        status = hone_fail("%s/%s: has %" PRId64 " tensors, %d for each of %" PRId64 " matrices were expected", peft->folder, WEIGHTS, peft->set.count,
                           hone_lora_factors(&model->lora), model->lora.n_module);
    return status;
}

// Writing -------------------------------------------------------------------------------------------------------------

static const char *tail_of(const char *module)
{
    const char *dot = strrchr(module, '.');
    return dot ? dot + 1 : module;
}

// Does the last word of each module's name, over all layers, name the adapted ones and no others? c_proj alone would not where
// only one of GPT-2's two is adapted.
static bool tails_suffice(const hone_model *model)
{
    const hone_lora *lora = &model->lora;
    const hone_family *family = model->config.family;
    for (int64_t i = 0; i < lora->n_module; i++) {
        int64_t have = 0, all = 0;
        const char *tail = tail_of(lora->module[i].name);
        for (int64_t k = 0; k < lora->n_module; k++) have += !strcmp(tail, tail_of(lora->module[k].name));
        for (int r = 0; r < family->n_row; r++) {
            const hone_weight_row *row = &family->row[r];
            const char *end = strrchr(row->file_name, '.'), *at = end;
            while (at && at > row->file_name && at[-1] != '.') at--;
            if (row->part == 0 && end && !strcmp(end, ".weight") && (size_t)(end - at) == strlen(tail) && !strncmp(at, tail, strlen(tail))) all++;
        }
        if (have != all * model->config.layers) return false;
    }
    return true;
}

static json_t *target_modules(const hone_model *model)
{
    json_t *out = json_array();
    const bool tails = tails_suffice(model);
    for (int64_t i = 0; i < model->lora.n_module; i++) {
        const char *name = tails ? tail_of(model->lora.module[i].name) : model->lora.module[i].name;
        bool there = false;
        for (size_t k = 0; k < json_array_size(out); k++) there |= !strcmp(json_string_value(json_array_get(out, k)), name);
        if (!there) json_array_append_new(out, json_string(name));
    }
    return out;
}

static hone_status save_json(const char *folder, const char *name, json_t *value)
{
    char *path = hone_path_join(folder, name);
    hone_status status = !value || !path ? hone_fail("%s: out of memory while writing %s", folder, name) : hone_json_save(path, value);
    hone_free(path);
    json_decref(value);
    return status;
}

hone_status hone_peft_save_about(const hone_model *model, const char *folder)
{
    const hone_lora *lora = &model->lora;
    char hash[17];
    json_t *alpha = lora->alpha == floor(lora->alpha) ? json_integer((json_int_t)lora->alpha) : json_real(lora->alpha);
    json_t *config = json_pack("{s:s, s:s, s:s, s:I, s:o, s:f, s:s, s:b, s:b, s:b, s:o, s:b}", "peft_type", "LORA", "task_type", "CAUSAL_LM",
                               "base_model_name_or_path", lora->base_path, "r", (json_int_t)lora->rank, "lora_alpha", alpha, "lora_dropout", lora->dropout,
                               "bias", "none", "use_rslora", lora->rslora, "use_dora", lora->dora, "fan_in_fan_out", hone_family_transposes(model->config.family),
                               "target_modules", target_modules(model), "inference_mode", true);
    snprintf(hash, sizeof hash, "%016" PRIx64, lora->base_hash);
    hone_status status = save_json(folder, CONFIG, config);
    json_t *base = json_pack("{s:s, s:s}", "path", lora->base_path, "xxh3", hash);
    if (base && hone_model_is_blocked(model)) json_object_set_new(base, "quantization", json_string(hone_model_blocked_title(model)));
    if (!status) return save_json(folder, BASE, base);
    json_decref(base);
    return status;
}

typedef struct { const hone_model *model; hone_place_fn data; void *context; } factors;

static const void *factor_source(void *factors_pointer, int64_t index, int64_t first, int64_t count, void *scratch)
{
    const factors *f = factors_pointer;
    (void)count, (void)scratch;
    return (const float *)f->data(f->context, hone_lora_factor(&f->model->lora, index)) + first;
}

hone_status hone_peft_write_factors(const hone_model *model, hone_writer *writer, hone_place_fn data, void *context)
{
    const int each = hone_lora_factors(&model->lora);
    const int64_t count = each * model->lora.n_module;
    hone_safetensor_spec *spec = hone_alloc((size_t)count + 1, sizeof *spec);
    hone_status status = spec ? HONE_OK : HONE_FAILED;
    for (int64_t i = 0; i < count && !status; i++) {
        const hone_tensor *t = hone_at(model->graph, hone_lora_factor(&model->lora, i));
        spec[i] = (hone_safetensor_spec){ .name = hone_format("%s%s%s", PREFIX, model->lora.module[i / each].name, FACTOR[i % each]),
                                          .dtype = HONE_f32, .rank = t->rank, .dim = { t->dim[0], t->rank > 1 ? t->dim[1] : 0 } };
        if (!spec[i].name) status = HONE_FAILED;
    }
    factors f = { model, data, context };
    if (!status) status = hone_safetensors_write(writer, spec, count, factor_source, &f, NULL, 1 << 20);
    for (int64_t i = 0; spec && i < count; i++) hone_free((char *)(uintptr_t)spec[i].name);
    hone_free(spec);
    return status;
}

hone_status hone_peft_save(const hone_model *model, const char *folder, hone_place_fn data, void *context)
{
    hone_writer writer;
    char *path = hone_path_join(folder, WEIGHTS);
    hone_status status = path ? hone_dir_create(folder) : HONE_FAILED;
    if (!status) status = hone_peft_save_about(model, folder);
    if (!status) status = hone_writer_open(&writer, path);
    if (!status) {
        status = hone_peft_write_factors(model, &writer, data, context);
        if (!status) status = hone_writer_commit(&writer);
        else hone_writer_abort(&writer);
    }
    hone_free(path);
    return status;
}
