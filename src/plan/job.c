// job.c: from a recipe to a planned session (see job.h).
#include "data/talks.h"
#include "gen/batch.h"
#include "plan/fit.h"
#include "base/memory.h"
#include "io/gguf_model.h"
#include "io/hf.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

// --- tokenizer ---------------------------------------------------------------------------------------------------------

static hone_key_id data_key(const hone_recipe *r) { return json_array_size(r->datasets) ? HONE_KEY_datasets : HONE_KEY_dataset; }

// The recipe's own, else the model's, else the one that `hone prepare` left beside the data; none for a raw token file.
static hone_status open_tokenizer(hone_job *job)
{
    const hone_recipe *r = job->recipe;
    const char *path = r->tokenizer[0] ? r->tokenizer : hone_hf_has_tokenizer(r->model_name_or_path) ? r->model_name_or_path
                     : hone_hf_has_tokenizer(job->train.source[0].path) ? job->train.source[0].path : NULL;
    if (path) return !(job->tokenizer_path = hone_strdup(path)) ? HONE_FAILED : hone_tokenizer_load(path, &job->tokenizer);
    if (hone_dataset_is_raw(job->train.source[0].path)) return HONE_OK;
    return hone_recipe_fail(r, data_key(r), NULL, "no tokenizer: %s holds none; name it with `tokenizer: PATH`", job->train.source[0].path);
}

// --- model -------------------------------------------------------------------------------------------------------------

// What the family's config.json calls a field; NULL where it has no such key.
static const char *key_of(const hone_family *family, size_t field)
{
    for (int i = 0; i < family->n_key; i++)
        if (family->key[i].key && family->key[i].field == field) return family->key[i].key;
    return NULL;
}

static hone_status set_default(json_t *map, const char *key, json_t *value)
{
    if (!key || json_object_get(map, key)) { json_decref(value); return HONE_OK; }
    return json_object_set_new(map, key, value) ? hone_fail("out of memory while reading the model's keys") : HONE_OK;
}

static json_t *token_or_null(int32_t id) { return id < 0 ? json_null() : json_integer(id); }

// What a new model takes from its tokenizer and rows where the recipe does not say otherwise.
static hone_status fill_defaults(const hone_job *job, const hone_family *family, json_t *map)
{
#define KEY_OF(field) key_of(family, offsetof(hone_config, field))
    hone_status status = set_default(map, KEY_OF(max_positions), json_integer(job->T));
    if (status || !job->tokenizer) return status;
    const hone_special_ids *special = hone_tokenizer_special(job->tokenizer);
    if ((status = set_default(map, KEY_OF(vocab), json_integer(hone_tokenizer_vocab(job->tokenizer))))) return status;
    if ((status = set_default(map, KEY_OF(bos), token_or_null(special->bos)))) return status;
    if ((status = set_default(map, KEY_OF(eos), token_or_null(special->eos)))) return status;
    return set_default(map, KEY_OF(pad), token_or_null(special->pad));
#undef KEY_OF
}

// A member that no config.json of this family has is a typo: what the family can write is what it knows.
static hone_status refuse_unknown_members(const hone_job *job)
{
    json_t *known = NULL, *unused;
    const char *name;
    char of[64];
    hone_status status = hone_config_write(&job->config, "model", &known);
    if (status) return status;
    snprintf(of, sizeof of, "a %s config.json", job->config.family->model_type);
    json_object_foreach(job->recipe->model, name, unused)
        if (!json_object_get(known, name) && !status) status = hone_recipe_fail_member(job->recipe, HONE_KEY_model, name, known, of);
    json_decref(known);
    return status;
}

// Points a message of hone_config_read at the member that it is about.
static hone_status point_at_member(const hone_recipe *recipe)
{
    const char *name, *about = NULL;
    json_t *unused;
    json_object_foreach(recipe->model, name, unused)
        if (strstr(hone_error(), name) && (!about || strlen(name) > strlen(about))) about = name;
    char message[512];
    snprintf(message, sizeof message, "%s", hone_error());
    return hone_recipe_fail(recipe, HONE_KEY_model, about, "%s", message);
}

static hone_status open_config(hone_job *job)
{
    const hone_recipe *r = job->recipe;
    if (r->model_name_or_path[0]) return hone_hf_load_config(&job->config, r->model_name_or_path);
    if (json_object_size(r->model) == 0)
        return hone_recipe_fail(r, HONE_KEY_model, NULL, "no model: give `model:` with model_type and sizes for a new one, or model_name_or_path");
    json_t *map = json_deep_copy(r->model);
    const char *type = json_string_value(json_object_get(map, "model_type"));
    const hone_family *family = type ? hone_family_find(type) : NULL;
    hone_status status = !map ? hone_fail("out of memory while reading the model's keys") : family ? fill_defaults(job, family, map) : HONE_OK;
    if (!status) {
        status = hone_config_read(&job->config, map, "model");
        if (!status) status = refuse_unknown_members(job);
        else point_at_member(r);
    }
    json_decref(map);
    return status;
}

static hone_status check_sizes(const hone_job *job)
{
    const hone_recipe *r = job->recipe;
    if (job->T > job->config.max_positions)
        return hone_recipe_fail(r, HONE_KEY_cutoff_len, NULL, "cutoff_len is %" PRId64 " tokens, but the model has %" PRId64
                                " positions; make the rows shorter or give the model more", job->T, job->config.max_positions);
    if (job->rows * job->T > INT32_MAX)
        return hone_recipe_fail(r, HONE_KEY_per_device_train_batch_size, NULL, "%" PRId64 " rows of %" PRId64 " tokens are too many for one"
                                " micro-batch; use gradient_accumulation_steps", job->rows, job->T);
    if (job->tokenizer && hone_tokenizer_vocab(job->tokenizer) > job->config.vocab)
        return hone_fail("%s: the tokenizer has %" PRId64 " ids, but the model's vocabulary is %" PRId64 "; raise the model's vocab_size or use its own tokenizer",
                         job->tokenizer_path, hone_tokenizer_vocab(job->tokenizer), job->config.vocab);
    return HONE_OK;
}

// --- data --------------------------------------------------------------------------------------------------------------

static hone_status add_held(hone_job *job, const char *name, const hone_loader_options *options)
{
    hone_job_held *held = hone_realloc(job->held, (size_t)job->n_held + 1, sizeof *held);
    if (!held) return HONE_FAILED;
    job->held = held;
    held += job->n_held;
    *held = (hone_job_held){ .name = hone_strdup(name) };
    if (!held->name) return HONE_FAILED;
    hone_status status = hone_loader_open(&held->loader, options);
    if (status) hone_free(held->name);
    else job->n_held++;
    return status;
}

static hone_status prepare_talks(const hone_job *job, hone_key_id key, double held_out, char **path)
{
    char *folder;
    if (!hone_talks_named(*path)) return HONE_OK;
    if (!hone_file_exists(*path)) return hone_recipe_fail(job->recipe, key, NULL, "%s: there is no such file", *path);
    if (!job->tokenizer) return hone_recipe_fail(job->recipe, key, NULL, "%s: conversations need a tokenizer; name it with `tokenizer: PATH`", *path);
    hone_status status = hone_talks_prepare(job->recipe, *path, job->tokenizer_path, job->tokenizer, held_out, &folder);
    if (status) return status;
    hone_free(*path);
    *path = folder;
    return HONE_OK;
}

// Conversations that are named themselves become prepared folders.
static hone_status open_talks(hone_job *job)
{
    const hone_recipe *r = job->recipe;
    hone_status status = HONE_OK;
    if (r->eval_dataset[0] && !(job->eval_path = hone_strdup(r->eval_dataset))) return HONE_FAILED;
    for (int64_t i = 0; i < job->train.n_sources && !status; i++) status = prepare_talks(job, data_key(r), job->eval_path ? 0.0 : r->held_out, &job->train.source[i].path);
    return status || !job->eval_path ? status : prepare_talks(job, HONE_KEY_eval_dataset, 0.0, &job->eval_path);
}

// eval_dataset, else the held-out split of every source that has one.
static hone_status open_held(hone_job *job, hone_loader_options options)
{
    const hone_recipe *r = job->recipe;
    hone_status status = HONE_OK;
    bool has = false;
    options.order = HONE_ORDER_ONCE;
    if (job->eval_path) {
        options.path = job->eval_path;
        if (!hone_dataset_is_raw(options.path) && (status = hone_dataset_has_split(options.path, HONE_SPLIT_HELD, &has))) return status;
        if (has) options.split = HONE_SPLIT_HELD;
        return add_held(job, r->eval_dataset, &options);
    }
    options.split = HONE_SPLIT_HELD;
    for (int64_t i = 0; i < job->train.n_sources && !status; i++) {
        const hone_mixture_source *s = &job->train.source[i];
        options.path = s->path;
        if (s->loader.data.raw) continue;
        status = hone_dataset_has_split(options.path, HONE_SPLIT_HELD, &has);
        if (!status && has) status = add_held(job, s->name, &options);
    }
    return status;
}

static hone_packing_strategy strategy_of(const hone_recipe *r)
{
    return r->packing_strategy == HONE_packing_strategy_bfd ? HONE_PACK_WHOLE
         : r->packing_strategy == HONE_packing_strategy_wrapped ? HONE_PACK_WINDOWS : HONE_PACK_AUTO;
}

// Keys that pairs of replies leave no room for.
static hone_status check_stage(const hone_job *job)
{
    const hone_recipe *r = job->recipe;
    if (r->stage != HONE_stage_dpo) {
        if (r->dpo_label_smoothing > 0) return hone_recipe_fail(r, HONE_KEY_dpo_label_smoothing, NULL, "dpo_label_smoothing is of pairs of replies; use it with stage: dpo");
        return HONE_OK;
    }
    if (!r->model_name_or_path[0]) return hone_recipe_fail(r, HONE_KEY_stage, NULL, "dpo changes a model that exists; give model_name_or_path");
    if (r->precision == HONE_precision_fp8)
        return hone_recipe_fail(r, HONE_KEY_precision, NULL, "dpo compares the model with itself, and fp8 is for training alone: the starting model would be scored in bf16; use precision: bf16");
    if (!r->neat_packing) return hone_recipe_fail(r, HONE_KEY_neat_packing, NULL, "replies in one row must not see each other with stage: dpo; leave neat_packing true");
    if (r->train_on_prompt) return hone_recipe_fail(r, HONE_KEY_train_on_prompt, NULL, "both replies of a pair have one prompt, so there is nothing to learn in it with stage: dpo");
    if (r->order == HONE_order_sequential || r->packing_strategy == HONE_packing_strategy_wrapped)
        return hone_recipe_fail(r, r->order == HONE_order_sequential ? HONE_KEY_order : HONE_KEY_packing_strategy, NULL, "both replies of a pair lie whole in one row with stage: dpo; leave order and packing_strategy as they are");
    if (r->length_warmup_steps > 0) return hone_recipe_fail(r, HONE_KEY_length_warmup_steps, NULL, "replies cannot be cut into pieces with stage: dpo");
    return HONE_OK;
}

// Room for what the starting model says of the replies of each loader, touched, so that this process is measured with it.
hone_loader *hone_job_loader(hone_job *job, int64_t i)
{
    const int64_t held = i - job->train.n_sources;
    return held < 0 ? &job->train.source[i].loader : held < job->n_held ? &job->held[held].loader : NULL;
}

static hone_status open_reference(hone_job *job)
{
    int64_t at = 0;
    if (!job->pairs) return HONE_OK;
    hone_loader *loader;
    for (int64_t i = 0; (loader = hone_job_loader(job, i)); i++) job->n_reference += loader->data.n_documents;
    if (!(job->reference = hone_alloc((size_t)job->n_reference + 2, sizeof *job->reference))) return HONE_FAILED;    // behind them their hash (train/pairs.c)
    memset(job->reference, 0, ((size_t)job->n_reference + 2) * sizeof *job->reference);
    for (int64_t i = 0; (loader = hone_job_loader(job, i)); i++) {
        loader->reference = job->reference + at;
        at += loader->data.n_documents;
    }
    return HONE_OK;
}

hone_status hone_job_next(hone_job *job, const hone_train_io *io, float *weight, hone_batch *batch)
{
    hone_session *session = &job->session;
    *batch = hone_batch_of(session, io);
    batch->weight = weight;
    if (io->pair != HONE_NONE) {
        batch->pair = hone_session_data(session, io->pair);
        batch->reference = hone_session_data(session, io->reference);
    }
    hone_status status = hone_mixture_next(&job->train, job->rows, batch);
    if (!status && io->scored != HONE_NONE) memcpy(hone_session_data(session, io->scored), batch->target, (size_t)io->N * sizeof *batch->target);
    return status;
}

static hone_status open_data(hone_job *job)
{
    const hone_recipe *r = job->recipe;
    hone_status checked = check_stage(job);
    if (checked) return checked;
    job->pairs = r->stage == HONE_stage_dpo;
    hone_loader_options options = {
        .split = HONE_SPLIT_TRAIN, .seed = (uint64_t)r->seed, .window = job->T, .isolation = r->neat_packing, .strategy = strategy_of(r),
        .order = r->order == HONE_order_sequential ? HONE_ORDER_SEQUENTIAL : HONE_ORDER_SHUFFLED,
        .vocab = job->config.vocab ? job->config.vocab : job->tokenizer ? hone_tokenizer_vocab(job->tokenizer) : INT32_MAX,
        .tokenizer = job->tokenizer ? hone_tokenizer_identity(job->tokenizer) : 0,
        .eos = job->tokenizer ? hone_tokenizer_special(job->tokenizer)->eos : -1, .pairs = job->pairs,
    };
    hone_status status = hone_mixture_open(&job->train, r, &options, job->rows * job->accumulation);
    if (!status) status = open_held(job, options);
    if (!status) status = open_reference(job);
    job->has_held = job->n_held > 0;
    if (!status && !job->has_held && r->eval_steps > 0)
        return hone_recipe_fail(r, HONE_KEY_eval_steps, NULL, "eval_steps is given, but %s has no held-out part; give eval_dataset", job->train.source[0].path);
    return status;
}

// What the caps of `datasets` allow must reach for what is asked.
static hone_status check_mixture(hone_job *job)
{
    int64_t steps = hone_job_steps(job), most = hone_mixture_most_rows(&job->train);
    if (steps == 0) return HONE_OK;
    if (most / job->train.step_rows < steps)
        return hone_recipe_fail(job->recipe, HONE_KEY_datasets, NULL, "the `epochs` of the sources allow %" PRId64 " rows together, but %" PRId64 " steps of %" PRId64
                                " rows are asked for; raise them, or run fewer steps", most, steps, job->train.step_rows);
    return hone_mixture_check(&job->train, job->recipe, steps);
}

// Reads one row of each, so that the pages that reading keeps resident are there when this process is measured. Finds
// damage in the first rows, too.
static hone_status warm_loaders(hone_job *job)
{
    hone_batch batch = { 0 };
    hone_status status = HONE_OK;
    hone_loader *loader;
    for (int64_t i = 0; (loader = hone_job_loader(job, i)) && !status; i++) status = hone_loader_read(loader, 0, 0, &batch);
    return status;
}

int64_t hone_job_micro_batches(const hone_job *job, int64_t step)
{
    int64_t warm = job->recipe->batch_warmup_steps;
    return step >= warm ? job->accumulation : 1 + (job->accumulation - 1) * step / warm;
}

double hone_job_whole_steps(const hone_job *job, double steps)
{
    double left_out = 0, warm = fmin(steps, (double)job->recipe->batch_warmup_steps);
    for (int64_t s = 0; (double)s < warm && job->accumulation > 1; s++) left_out += (double)(job->accumulation - hone_job_micro_batches(job, s));
    return steps - left_out / (double)job->accumulation;
}

// Steps that come to so many whole ones at least.
static double steps_for(const hone_job *job, double whole)
{
    double micro = ceil(whole) * (double)job->accumulation, done = 0;
    int64_t s = 0;
    for (; s < job->recipe->batch_warmup_steps && job->accumulation > 1 && done < micro; s++) done += (double)hone_job_micro_batches(job, s);
    return (double)s + ceil((micro - done > 0 ? micro - done : 0) / (double)job->accumulation);
}

int64_t hone_job_steps(const hone_job *job) { return hone_job_steps_on(job, 1); }

int64_t hone_job_steps_on(const hone_job *job, int64_t chips)
{
    const hone_recipe *r = job->recipe;
    double rows = (double)(job->rows * job->accumulation * chips), most = INFINITY;
    if (r->max_steps > 0) most = fmin(most, (double)r->max_steps);
    if (r->max_tokens > 0) most = fmin(most, steps_for(job, (double)r->max_tokens / (rows * (double)job->T)));
    if (r->num_train_epochs > 0) most = fmin(most, steps_for(job, r->num_train_epochs * (double)job->train.windows / rows));
    int64_t rows_there = hone_mixture_most_rows(&job->train);
    if (most == INFINITY && r->max_time == 0 && rows_there < INT64_MAX) most = floor((double)rows_there / rows); // the caps alone
    return most < 9e15 ? (int64_t)most : 0;
}

// --- programs ----------------------------------------------------------------------------------------------------------

// An empty prompt is the token that begins a text, or the one that ended the text before.
static hone_status encode_prompt(hone_job *job, const char *text, hone_ids *ids)
{
    hone_status status = hone_tokenizer_encode(job->tokenizer, text, strlen(text), HONE_ENCODE_SPECIAL, ids);
    if (status || ids->count > 0) return status;
    int64_t first = job->config.bos >= 0 ? job->config.bos : job->config.n_eos > 0 ? job->config.eos[0] : 0;
    if (!(ids->data = hone_alloc(1, sizeof *ids->data))) return HONE_FAILED;
    ids->data[0] = (int32_t)first;
    ids->count = 1;
    return HONE_OK;
}

static hone_status open_prompts(hone_job *job)
{
    const hone_recipe *r = job->recipe;
    if (r->sample_steps == 0) return HONE_OK;
    if (!job->tokenizer) return hone_recipe_fail(r, HONE_KEY_sample_steps, NULL, "samples need a tokenizer; name it with `tokenizer: PATH`");
    int64_t n = r->sample_prompt.count ? r->sample_prompt.count : 1;
    if (!(job->prompt = hone_alloc((size_t)n, sizeof *job->prompt))) return HONE_FAILED;
    for (; job->n_prompt < n; job->n_prompt++) {
        hone_ids *ids = &job->prompt[job->n_prompt];
        hone_status status = encode_prompt(job, r->sample_prompt.count ? r->sample_prompt.item[job->n_prompt] : "", ids);
        if (status) return status;
        if (ids->count + r->sample_tokens > job->config.max_positions)
            return hone_recipe_fail(r, HONE_KEY_sample_tokens, NULL, "a prompt of %" PRId64 " tokens and %" PRId64 " more do not fit the model's %"
                                    PRId64 " positions", ids->count, r->sample_tokens, job->config.max_positions);
    }
    return HONE_OK;
}

hone_dtype hone_job_cache(hone_key_enum kv_cache, hone_dtype product)
{
    switch (kv_cache) {
    case HONE_kv_cache_f32: return HONE_f32;
    case HONE_kv_cache_bf16: return HONE_bf16;
    case HONE_kv_cache_int8: return HONE_int8;
    default: return hone_model_cache_of(product);
    }
}

hone_dtype hone_job_product(const hone_recipe *recipe)
{
    static const hone_dtype of[] = { [HONE_precision_f32] = HONE_f32, [HONE_precision_bf16] = HONE_bf16, [HONE_precision_fp16] = HONE_f16,
                                     [HONE_precision_int8] = HONE_int8, [HONE_precision_fp8] = HONE_e4m3 };
    HONE_ASSERT(recipe->precision != HONE_precision_auto, "precision: auto was not chosen yet (hone_precision_choose)");
    const bool blocks = recipe->precision == HONE_precision_fp8 && recipe->fp8_scaling == HONE_fp8_scaling_block;
    return blocks ? HONE_e4m3_128 : of[recipe->precision];
}

static hone_moments moments_of(const hone_recipe *r)
{
    return r->optimizer_state == HONE_optimizer_state_bf16 ? HONE_MOMENTS_BF16
         : r->optimizer_state == HONE_optimizer_state_int8 ? HONE_MOMENTS_INT8 : HONE_MOMENTS_F32;
}

// Rows of a decode run for samples: one prompt a time, read in chunks.
enum { SAMPLE_CHUNK = 32 };

static hone_status build_decode(hone_job *job)
{
    int64_t longest = 0;
    for (int64_t i = 0; i < job->n_prompt; i++) if (job->prompt[i].count > longest) longest = job->prompt[i].count;
    return hone_model_build_decode(&job->model, SAMPLE_CHUNK, 1, 1, longest + job->recipe->sample_tokens, &job->decode);
}

static hone_status declare_factors(hone_job *job)
{
    const hone_recipe *r = job->recipe;
    const hone_backend *backend;
    if (hone_backend_find(r->backend, &backend)) return HONE_FAILED;
    const hone_lora_options options = { .rank = r->lora_rank, .alpha = r->lora_alpha > 0 ? r->lora_alpha : 2.0 * (double)r->lora_rank, .rslora = r->use_rslora,
                                        .dora = r->use_dora || r->finetuning_type == HONE_finetuning_type_dora,
                                        .dropout = r->lora_dropout, .fold_rows = backend->folds ? job->rows * job->T : 0, .target = (const char *const *)r->lora_target.item, .n_target = r->lora_target.count };
    if (!r->model_name_or_path[0])
        return hone_recipe_fail(r, HONE_KEY_finetuning_type, NULL, "lora changes a model that exists; give model_name_or_path");
    if (r->optimizer == HONE_optimizer_muon)
        return hone_recipe_fail(r, HONE_KEY_optimizer, NULL, "muon orthogonalises steps of whole matrices; factors of lora are stepped by adamw");
    if (options.dora && options.dropout > 0)
        return hone_recipe_fail(r, HONE_KEY_lora_dropout, NULL, "lora_dropout drops inputs of the factors alone, but lengths of rows (DoRA) are of both; set it to 0");
    if (!hone_lora_declare(&job->model, &options)) return HONE_OK;
    char message[1024];
    snprintf(message, sizeof message, "%s", hone_error());
    return hone_recipe_fail(r, HONE_KEY_lora_target, NULL, "%s", message);
}

// What frozen matrices are kept in: HONE_DTYPE_COUNT, numbers.
static hone_status frozen_blocks(const hone_recipe *r, hone_dtype *dtype)
{
    static const hone_dtype of[] = { [HONE_quantization_type_nf4] = HONE_nf4, [HONE_quantization_type_q4_0] = HONE_q4_0, [HONE_quantization_type_q8_0] = HONE_q8_0 };
    const int64_t bits = r->quantization_bit ? r->quantization_bit : r->finetuning_type != HONE_finetuning_type_qlora ? 0 : r->quantization_type == HONE_quantization_type_q8_0 ? 8 : 4;
    const bool is_auto = r->quantization_type == HONE_quantization_type_auto;
    *dtype = !bits ? HONE_DTYPE_COUNT : !is_auto ? of[r->quantization_type] : bits == 8 ? HONE_q8_0 : HONE_nf4;
    if (bits && bits != 4 && bits != 8) return hone_recipe_fail(r, HONE_KEY_quantization_bit, NULL, "%" PRId64 " bits: give 4 or 8", bits);
    if (bits && r->finetuning_type == HONE_finetuning_type_full)
        return hone_recipe_fail(r, HONE_KEY_quantization_bit, NULL, "weights that are trained are not kept in few bits; use it with finetuning_type: qlora");
    if (!bits && !is_auto) return hone_recipe_fail(r, HONE_KEY_quantization_type, NULL, "nothing is kept in few bits; use it with finetuning_type: qlora");
    if (!is_auto && (bits == 8) != (*dtype == HONE_q8_0)) return hone_recipe_fail(r, HONE_KEY_quantization_type, NULL, "%s has not the %" PRId64 " bits of quantization_bit", hone_dtype_name(*dtype), bits);
    return HONE_OK;
}

static hone_status keep_frozen_blocked(hone_job *job)
{
    const hone_recipe *r = job->recipe;
    const hone_dtype product = job->model.product, tables = product == HONE_f32 || product == HONE_f16 ? HONE_f32 : HONE_bf16;
    hone_dtype dtype, *own = NULL;
    hone_status status = frozen_blocks(r, &dtype);
    if (status || dtype == HONE_DTYPE_COUNT) return status;
    if (r->quantization_type == HONE_quantization_type_auto && !r->quantization_bit && hone_gguf_is(r->model_name_or_path)) {
        if (!(own = hone_alloc((size_t)job->model.n_param + 1, sizeof *own))) return HONE_FAILED;
        status = hone_gguf_own_blocks(&job->model, r->model_name_or_path, own);
    }
    if (!status && hone_model_keep_blocked(&job->model, dtype, own, tables)) {
        char message[512];
        snprintf(message, sizeof message, "%s", hone_error());
        status = hone_recipe_fail(r, HONE_KEY_quantization_type, NULL, "%s; choose smaller blocks (q4_0, q8_0), or finetuning_type: lora", message);
    }
    hone_free(own);
    return status;
}

// A node that was declined for its numbers is a matter of the key that asks for them.
static hone_status point_at_precision(const hone_recipe *r)
{
    const bool f16 = r->precision == HONE_precision_fp16 && strstr(hone_error(), " no f16"), fp8 = r->precision == HONE_precision_fp8 && strstr(hone_error(), "fp8");
    if (!f16 && !fp8) return HONE_FAILED;
    char message[512];
    snprintf(message, sizeof message, "%s", hone_error());
    if (fp8 && strstr(message, "each block")) return hone_recipe_fail(r, HONE_KEY_fp8_scaling, NULL, "%s; use fp8_scaling: tensor, or precision: bf16", message);
    return hone_recipe_fail(r, HONE_KEY_precision, NULL, "%s%s", message, fp8 ? "; use precision: bf16, or a GPU that has fp8 with backend: cuda" : "");
}

static hone_status build_programs(hone_job *job)
{
    const hone_recipe *r = job->recipe;
    if (!(job->graph = hone_graph_new())) return HONE_FAILED;
    hone_status status = hone_model_declare(&job->model, job->graph, &job->config);
    job->model.product = hone_job_product(r);
    job->model.cache = hone_job_cache(r->kv_cache, job->model.product);
    job->model.fp8_flops_per_byte = r->fp8_flops_per_byte;
    job->model.zero_outputs = r->zero_init_outputs;
    if (job->pairs) job->model.pair_beta = r->pref_beta, job->model.pair_smoothing = r->dpo_label_smoothing;
    job->model.noise_alpha = r->neftune_noise_alpha;
    if (!status && r->use_dora && r->finetuning_type == HONE_finetuning_type_full)
        status = hone_recipe_fail(r, HONE_KEY_use_dora, NULL, "weights that are trained whole have lengths of their own; use it with finetuning_type: lora or qlora");
    if (!status && r->finetuning_type != HONE_finetuning_type_full) status = declare_factors(job);
    if (!status) status = keep_frozen_blocked(job);
    if (!status) status = hone_model_build_stored(&job->model, job->rows, job->T, &job->micro);
    job->optim = (hone_optim_options){ .beta1 = r->adam_beta1, .beta2 = r->adam_beta2, .epsilon = r->adam_epsilon,
                                       .weight_decay = r->weight_decay, .max_grad_norm = r->max_grad_norm,
                                       .muon = r->optimizer == HONE_optimizer_muon, .muon_rate = r->muon_learning_rate / r->learning_rate,
                                       .momentum = r->muon_momentum, .moments = moments_of(r), .average = r->average_ratio > 0,
                                       .fast_ratio = r->loraplus_lr_ratio };
    if (!status) status = hone_optim_build_update(job->graph, &job->optim, &job->update);
    if (!status && (job->has_held || job->pairs)) status = hone_model_build_score(&job->model, job->rows, job->T, &job->score);
    if (!status && job->n_prompt > 0) status = build_decode(job);
    if (status) return status;
    job->fresh_grads = job->accumulation == 1;
    hone_session_options options = { .backend = r->backend, .hardware = { .threads = (int)r->threads }, .offload = r->offload };
    status = hone_session_plan(&job->session, job->graph, &options);
    return status ? point_at_precision(r) : hone_job_fit(job);
}

hone_status hone_job_open_data(hone_job *job, const hone_recipe *recipe)
{
    *job = (hone_job){ .recipe = recipe, .rows = recipe->per_device_train_batch_size, .T = recipe->cutoff_len,
                       .accumulation = recipe->gradient_accumulation_steps };
    hone_status status = hone_mixture_parse(&job->train, recipe);
    if (!status) status = open_tokenizer(job);
    if (!status) status = open_talks(job);
    if (!status) status = open_data(job);
    if (status) hone_job_close(job);
    return status;
}

hone_status hone_job_open(hone_job *job, const hone_recipe *recipe)
{
    *job = (hone_job){ .recipe = recipe, .rows = recipe->per_device_train_batch_size, .T = recipe->cutoff_len,
                       .accumulation = recipe->gradient_accumulation_steps };
    hone_status status = hone_mixture_parse(&job->train, recipe);
    if (!status) status = open_tokenizer(job);
    if (!status) status = open_config(job);
    if (!status) status = check_sizes(job);
    if (!status) status = open_talks(job);
    if (!status) status = open_data(job);
    if (!status) status = check_mixture(job);
    if (!status) status = warm_loaders(job);
    if (!status) status = open_prompts(job);
    if (!status) status = build_programs(job);
    if (status) hone_job_close(job);
    else job->base_bytes = hone_memory_resident_bytes();
    return status;
}

void hone_job_close(hone_job *job)
{
    if (job->session.backend) hone_session_close(&job->session);
    hone_model_release(&job->model);
    hone_graph_free(job->graph);
    hone_mixture_close(&job->train);
    for (int64_t i = 0; i < job->n_held; i++) {
        hone_loader_close(&job->held[i].loader);
        hone_free(job->held[i].name);
    }
    hone_free(job->held);
    for (int64_t i = 0; i < job->n_prompt; i++) hone_free(job->prompt[i].data);
    hone_free(job->prompt);
    hone_tokenizer_free(job->tokenizer);
    hone_free(job->tokenizer_path);
    hone_free(job->eval_path);
    hone_free(job->reference);
    *job = (hone_job){ 0 };
}

void *hone_job_place(void *job, hone_tid id)
{
    const hone_session *session = &((hone_job *)job)->session;
    if (session->mirror && hone_at(session->graph, id)->cls == HONE_CLASS_moment) return NULL;
    return hone_session_data(session, id);
}

void *hone_job_borrow(void *job, hone_tid id)
{
    hone_session *session = &((hone_job *)job)->session;
    return hone_at(session->graph, id)->cls == HONE_CLASS_param ? hone_session_borrow(session, id) : hone_job_place(job, id);
}

hone_status hone_job_carry(void *job, hone_tid id, size_t first, size_t size, void *data, bool store)
{
    hone_session *session = &((hone_job *)job)->session;
    return store ? hone_session_write(session, id, first, size, data) : hone_session_read(session, id, first, size, data);
}
