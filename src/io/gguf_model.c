// gguf_model.c: see gguf_model.h.
#include "io/gguf_model.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef hone_gguf_arch arch;
static const arch archs[] = {
#define ARCH(...) { __VA_ARGS__ },
#include "io/gguf_names.def"
};
static const struct { const char *name; size_t field; bool required; } sizes[] = {
#define SIZE(name, field, required) { name, offsetof(hone_config, field), required },
#include "io/gguf_names.def"
};
static const struct { const char *name; size_t field; } reals[] = {
#define REAL(name, field) { name, offsetof(hone_config, field) },
#include "io/gguf_names.def"
};
enum { ALWAYS, FUSED, APART };
enum { TURNED = 1, GAIN };
static const struct { const char *name, *param; int when, how; } tensors[] = {
#define TENSOR(...) { __VA_ARGS__ },
#include "io/gguf_names.def"
};
enum { N_ARCH = sizeof archs / sizeof *archs, N_SIZE = sizeof sizes / sizeof *sizes, N_REAL = sizeof reals / sizeof *reals, N_TENSOR = sizeof tensors / sizeof *tensors };
enum { MAX_KEY = 128, DROP_BYTES = 4 << 20, PIECE_BYTES = 1 << 20 };
#define ROPE_FREQS "rope_freqs.weight"

const char *hone_gguf_size_name(int index, size_t *field)
{
    if (index >= N_SIZE) return NULL;
    *field = sizes[index].field;
    return sizes[index].name;
}

const char *hone_gguf_real_name(int index, size_t *field)
{
    if (index >= N_REAL) return NULL;
    *field = reals[index].field;
    return reals[index].name;
}

double hone_gguf_attention_scale(const hone_gguf_arch *a, const hone_config *config)
{
    const bool large = a->large > 0 && config->layers == a->large;
    return 1 / sqrt(large ? (double)config->width / (double)config->heads : (double)config->head_dim);
}

#define ELSE_FOLDER "; write a Hugging Face folder instead (--output DIR), which transformers and vLLM read"
hone_status hone_gguf_check_sayable(const hone_gguf_arch *a, const hone_config *c)
{
#define ONLY(architecture, holds, what) \
    if (strcmp(a->name, architecture) == 0 && !(holds)) return hone_fail("this model has " what ", which llama.cpp's " architecture " models do not" ELSE_FOLDER);
#include "io/gguf_names.def"
    if (a->window < 0 && c->window && c->window < c->max_positions)
        return hone_fail("this model's sliding window of %" PRId64 " tokens cannot be said in GGUF: llama.cpp would let it see all %" PRId64 ELSE_FOLDER, c->window, c->max_positions);
    if (c->attention_scale > 0 && fabs(c->attention_scale - hone_gguf_attention_scale(a, c)) > 1e-6 * c->attention_scale)
        return hone_fail("this model divides scores by %g, and llama.cpp would divide them by %g" ELSE_FOLDER, 1 / c->attention_scale, 1 / hone_gguf_attention_scale(a, c));
    if (c->rope == HONE_ROPE_LLAMA3 && (c->rope_low != 1 || c->rope_high != 4))
        return hone_fail("this model's rotary scaling has low_freq_factor %g and high_freq_factor %g; hone writes Llama 3's 1 and 4" ELSE_FOLDER, c->rope_low, c->rope_high);
    return HONE_OK;
}

// The config ---------------------------------------------------------------------------------------------------------

static hone_status find_arch(const hone_gguf *file, const arch **found)
{
    char *name = NULL;
    hone_status status = hone_gguf_text(file, "general.architecture", true, &name);
    *found = NULL;
    for (int i = N_ARCH - 1; i >= 0 && !status; i--)
        if (strcmp(archs[i].name, name) == 0) *found = &archs[i];
    if (!status && !*found) {
        hone_buffer known = { 0 };
        for (int i = 0; i < N_ARCH; i++)
            if (i == 0 || strcmp(archs[i].name, archs[i - 1].name) != 0) hone_buffer_print(&known, "%s%s", i ? ", " : "", archs[i].name);
        status = hone_fail("%s: general.architecture \"%.60s\" is not one that hone has: %s", file->path, name, known.data ? known.data : "");
        hone_buffer_release(&known);
    }
    hone_free(name);
    return status;
}

static const char *key_of(const arch *a, const char *name, char key[MAX_KEY])
{
    snprintf(key, MAX_KEY, "%s.%s", a->name, name);
    return key;
}

static hone_status read_token(const hone_gguf *file, const char *key, const hone_config *config, int64_t *id)
{
    *id = -1;
    hone_status status = hone_gguf_int(file, key, false, id);
    if (!status && *id >= config->vocab) *id = -1;   // a vocabulary larger than the embedding cannot say more
    return status;
}

void hone_gguf_rope_factors(const hone_config *config, float *factor)
{
    hone_config plain = *config;
    int64_t half = config->head_dim / 2;
    float *scaled = factor + half;
    plain.rope = HONE_ROPE_PLAIN;
    hone_config_rope_frequencies(&plain, factor);
    hone_config_rope_frequencies(config, scaled);
    for (int64_t i = 0; i < half; i++) factor[i] /= scaled[i];
}

// Which of Llama 3's scalings (low 1, high 4, the original context a power of two) these factors are.
static hone_status read_rope_factors(const hone_gguf *file, const hone_gguf_tensor *t, hone_config *config)
{
    int64_t half = config->head_dim / 2;
    if (t->count != half || t->blocks != HONE_BLOCKS_f32)
        return hone_fail("%s: " ROPE_FREQS " has %" PRId64 " elements of type %" PRIu32 "; %" PRId64 " of F32 are expected", file->path, t->count, t->type, half);
    float *is = hone_alloc(3 * (size_t)half, sizeof *is), *wanted = is + half, top = 0;
    if (!is) return HONE_FAILED;
    memcpy(is, file->map.data + t->begin, (size_t)half * sizeof *is);
    for (int64_t i = 0; i < half; i++) top = fmaxf(top, is[i]);
    bool found = false;
    config->rope = HONE_ROPE_LLAMA3;
    config->rope_factor = (double)top;
    config->rope_low = 1;
    config->rope_high = 4;
    for (int64_t original = 16; original <= 1 << 20 && !found && top >= 1; original *= 2) {
        config->rope_original = original;
        hone_gguf_rope_factors(config, wanted);
        found = true;
        for (int64_t i = 0; i < half; i++) found &= fabsf(is[i] - wanted[i]) <= 1e-4f * wanted[i];
    }
    hone_free(is);
    return found ? HONE_OK : hone_fail("%s: " ROPE_FREQS " is not Llama 3's rotary scaling (low_freq_factor 1, high_freq_factor 4), which is what hone has", file->path);
}

static hone_status read_rope(const hone_gguf *file, const arch *a, hone_config *config)
{
    char key[MAX_KEY], *type = NULL;
    int64_t turned = config->head_dim;
    config->rope_theta = 10000;
    hone_status status = hone_gguf_real(file, key_of(a, "rope.freq_base", key), false, &config->rope_theta);
    if (!status) status = hone_gguf_int(file, key_of(a, "rope.dimension_count", key), false, &turned);
    if (!status && turned != config->head_dim)
        return hone_fail("%s: %s is %" PRId64 "; hone turns whole heads only (%" PRId64 ")", file->path, key, turned, config->head_dim);
    if (!status) status = hone_gguf_text(file, key_of(a, "rope.scaling.type", key), false, &type);
    if (!status && type && strcmp(type, "linear") == 0) {
        config->rope = HONE_ROPE_LINEAR;
        status = hone_gguf_real(file, key_of(a, "rope.scaling.factor", key), true, &config->rope_factor);
    } else if (!status && type && strcmp(type, "none") != 0) {
        status = hone_fail("%s: %s is \"%.60s\"; hone has none, linear and Llama 3's", file->path, key, type);
    }
    hone_free(type);
    const hone_gguf_tensor *factors = hone_gguf_find_tensor(file, ROPE_FREQS);
    return status || !factors ? status : read_rope_factors(file, factors, config);
}

static void read_switches(const hone_gguf *file, hone_config *config)
{
    bool fused = hone_gguf_find_tensor(file, "blk.0.attn_qkv.bias") != NULL;
    config->tied = !hone_gguf_find_tensor(file, "output.weight");
    config->qkv_bias = fused || hone_gguf_find_tensor(file, "blk.0.attn_q.bias");
    config->out_bias = hone_gguf_find_tensor(file, "blk.0.attn_output.bias") != NULL;
    config->mlp_bias = hone_gguf_find_tensor(file, "blk.0.ffn_up.bias") != NULL;
    config->qk_norm = hone_gguf_find_tensor(file, "blk.0.attn_q_norm.weight") != NULL;
}

static hone_status read_config(const hone_gguf *file, hone_config *config)
{
    const arch *a;
    char key[MAX_KEY];
    hone_status status = find_arch(file, &a);
    if (status) return status;
    const hone_family *family = hone_family_find(a->model_type);
    HONE_ASSERT(family, "gguf_names.def: no family %s", a->model_type);
    const hone_gguf_tensor *embed = hone_gguf_find_tensor(file, "token_embd.weight");
    if (!embed || embed->rank != 2) return hone_fail("%s: has no matrix token_embd.weight, so this file is no model that hone can read", file->path);
    *config = family->switches;
    config->family = family;
    for (int i = 0; i < family->n_key; i++) {
        const hone_key_row *row = &family->key[i];
        if (row->kind == HONE_KEY_REAL || row->kind == HONE_KEY_CAP || row->kind == HONE_KEY_LOCAL_BASE) *(double *)(void *)((char *)config + row->field) = row->fallback;
    }
    for (int i = 0; i < N_SIZE && !status; i++)
        status = hone_gguf_int(file, key_of(a, sizes[i].name, key), sizes[i].required, (int64_t *)(void *)((char *)config + sizes[i].field));
    for (int i = 0; i < N_REAL && !status; i++)
        status = hone_gguf_real(file, key_of(a, reals[i].name, key), false, (double *)(void *)((char *)config + reals[i].field));
    if (a->window >= 0) config->window = a->window;
    if (!status && a->window >= 0) status = hone_gguf_int(file, key_of(a, HONE_GGUF_WINDOW, key), false, &config->window);
    if (status) return status;
    config->vocab = embed->dim[1];
    if (config->heads < 1) return hone_fail("%s: %s.attention.head_count is %" PRId64 "; it must be 1 or more", file->path, a->name, config->heads);
    if (!config->kv_heads) config->kv_heads = config->heads;
    if (!config->head_dim) config->head_dim = config->width / config->heads;
    if (config->head_dim < 2 || config->head_dim > INT32_MAX) return hone_fail("%s: heads of %" PRId64 " elements make no sense", file->path, config->head_dim);
    read_switches(file, config);
    for (int i = 0; i < family->n_key; i++)
        if (family->key[i].kind == HONE_KEY_ROOT) config->attention_scale = hone_gguf_attention_scale(a, config);
    const char *eps = config->norm == HONE_NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon";
    status = hone_gguf_real(file, key_of(a, eps, key), true, &config->norm_eps);
    if (!status && config->rope != HONE_ROPE_NONE) status = read_rope(file, a, config);
    if (!status) status = read_token(file, "tokenizer.ggml.bos_token_id", config, &config->bos);
    if (!status) status = read_token(file, "tokenizer.ggml.padding_token_id", config, &config->pad);
    if (!status) status = read_token(file, "tokenizer.ggml.eos_token_id", config, &config->eos[0]);
    config->n_eos = config->eos[0] >= 0;
    if (!config->n_eos) config->eos[0] = 0;
    return status ? status : hone_config_check(config, file->path);
}

hone_status hone_gguf_read_config(hone_config *config, const char *path)
{
    hone_gguf file;
    hone_status status = hone_gguf_open(&file, path);
    if (status) return status;
    status = read_config(&file, config);
    hone_gguf_close(&file);
    return status;
}

// The weights --------------------------------------------------------------------------------------------------------

// Adds the entry of one row; none where the model has no such parameter.
static hone_status add_entry(hone_gguf_map *map, int64_t *capacity, const hone_model *model, const arch *a, int row, int64_t layer)
{
    if ((tensors[row].when == FUSED && !a->fused) || (tensors[row].when == APART && a->fused)) return HONE_OK;
    hone_tid id = hone_weight_find(model->graph, tensors[row].param, layer);
    if (id == HONE_NONE) return HONE_OK;
    hone_status status = hone_grow(&map->entry, map->count, capacity, sizeof *map->entry);
    if (status) return status;
    const hone_tensor *t = hone_at(model->graph, id);
    bool turned = a->turned && tensors[row].how == TURNED;   // a vector has as many rows as elements then
    hone_gguf_entry entry = { .name = hone_weight_name(tensors[row].name, layer), .param = id, .rows = t->rank == 2 || turned ? t->dim[0] : 1,
                              .columns = t->rank == 2 ? t->dim[1] : turned ? 1 : t->dim[0], .rank = t->rank, .turned = turned ? model->config.head_dim : 0,
                              .base = tensors[row].how == GAIN ? (float)model->config.norm_base : 0 };
    if (!entry.name) return HONE_FAILED;
    map->entry[map->count++] = entry;
    return HONE_OK;
}

hone_status hone_gguf_map_build(hone_gguf_map *map, const hone_model *model)
{
    const char *type = model->config.family->model_type;
    const arch *a = NULL;
    hone_status status = HONE_OK;
    int64_t capacity = 0, elements = 0;
    *map = (hone_gguf_map){ 0 };
    for (int i = 0; i < N_ARCH && !a; i++)
        if (strcmp(archs[i].model_type, type) == 0) a = &archs[i];
    if (!a) return hone_fail("GGUF has no name that hone knows for a %s model" ELSE_FOLDER ", and llama.cpp's own converter", type);
    map->arch = a;
    for (int r = 0; r < N_TENSOR && !status; ) {
        int behind = r + 1;   // rows of one block go round together
        bool layered = hone_weight_is_layered(tensors[r].name);
        while (layered && behind < N_TENSOR && hone_weight_is_layered(tensors[behind].name)) behind++;
        for (int64_t layer = 0; layer < (layered ? model->config.layers : 1) && !status; layer++)
            for (int i = r; i < behind && !status; i++) status = add_entry(map, &capacity, model, a, i, layer);
        r = behind;
    }
    for (int64_t i = 0; i < map->count; i++) elements += map->entry[i].rows * map->entry[i].columns;
    HONE_ASSERT(status || elements == hone_model_count(model), "gguf_names.def names %" PRId64 " of %" PRId64 " elements of a %s model", elements, hone_model_count(model), type);
    if (status) hone_gguf_map_release(map);
    return status;
}

void hone_gguf_map_release(hone_gguf_map *map)
{
    for (int64_t i = 0; i < map->count; i++) hone_free(map->entry[i].name);
    hone_free(map->entry);
    *map = (hone_gguf_map){ 0 };
}

bool hone_gguf_fits(const hone_gguf_entry *entry, const hone_gguf_tensor *t)
{
    bool blocks = t->blocks == HONE_BLOCKS_COUNT || entry->columns % hone_blocks_about(t->blocks)->elements == 0;
    return t->count == entry->rows * entry->columns && (entry->rank == 1 || t->dim[0] == entry->columns) && blocks;
}

static hone_status check_tensor(const hone_gguf *file, const hone_gguf_entry *entry, const hone_gguf_tensor *t)
{
    if (!t) return hone_fail("%s: tensor %s is missing; the file is not a whole model", file->path, entry->name);
    if (!hone_gguf_fits(entry, t))
        return hone_fail("%s: tensor %s has %" PRId64 " elements in rows of %" PRId64 "; the file's values ask for %" PRId64 " rows of %" PRId64,
                         file->path, t->name, t->count, t->dim[0], entry->rows, entry->columns);
    if (t->blocks != HONE_BLOCKS_COUNT) return HONE_OK;
    hone_buffer known = { 0 };
    for (int b = 0; b < HONE_BLOCKS_COUNT; b++)
        if (hone_blocks_about((hone_blocks)b)->gguf >= 0) hone_buffer_print(&known, "%s%s", b ? ", " : "", hone_blocks_about((hone_blocks)b)->name);
    hone_status status = hone_fail("%s: tensor %s is of type %" PRIu32 ", which hone does not read (%s); fetch the model in one of those", file->path, t->name, t->type, known.data ? known.data : "");
    hone_buffer_release(&known);
    return status;
}

// found[i]: the tensor of entry i; every tensor of the file is one of them.
static hone_status check_fit(const hone_gguf *file, const hone_gguf_map *map, const hone_gguf_tensor **found)
{
    hone_status status = HONE_OK;
    uint8_t *used = hone_alloc((size_t)file->n_tensor + 1, 1);
    if (!used) return HONE_FAILED;
    for (int64_t i = 0; i < map->count && !status; i++) {
        found[i] = hone_gguf_find_tensor(file, map->entry[i].name);
        status = check_tensor(file, &map->entry[i], found[i]);
        if (!status) used[found[i] - file->tensor] = 1;
    }
    for (int64_t i = 0; i < file->n_tensor && !status; i++)
        if (!used[i] && strcmp(file->tensor[i].name, ROPE_FREQS) != 0)
            status = hone_fail("%s: tensor %s is no part of a model that hone knows; its results would be wrong without it", file->path, file->tensor[i].name);
    hone_free(used);
    return status;
}

// Pages of the file that were read go again, so that the process never has many of them beside the whole arena.
static void drop_read(const hone_gguf *file, size_t more, size_t *touched)
{
    if ((*touched += more) < DROP_BYTES) return;
    *touched = 0;
    hone_map_drop(&file->map);
}

static void read_tensor(const hone_gguf *file, const hone_gguf_tensor *t, const hone_gguf_entry *entry, float *y, size_t *touched)
{
    const uint8_t *data = file->map.data + t->begin;
    const size_t row_bytes = hone_blocks_bytes(t->blocks, entry->columns);
    const int64_t fit = (int64_t)(PIECE_BYTES / row_bytes), rows = fit > 1 ? fit : 1;
    for (int64_t first = 0; first < entry->rows; first += rows) {
        const int64_t behind = first + rows < entry->rows ? first + rows : entry->rows;
        #pragma omp parallel for if (t->count > 1 << 16)
        for (int64_t r = first; r < behind; r++)
            hone_blocks_decode(t->blocks, data + (size_t)r * row_bytes, entry->columns, y + hone_gguf_row(entry->turned, r) * entry->columns);
        drop_read(file, (size_t)(behind - first) * row_bytes, touched);
    }
    for (int64_t i = 0; i < t->count && entry->base != 0; i++) y[i] -= entry->base;
}

// Where row r of a parameter is in the file: hone_gguf_row() back.
static int64_t file_row(int64_t turned, int64_t r)
{
    return turned ? r / turned * turned + r % turned % (turned / 2) * 2 + r % turned / (turned / 2) : r;
}

// A matrix that is kept in blocks or in bf16, a piece at a time; in those of the file bit for bit where they are the same.
static hone_status read_blocked(const hone_model *model, const hone_gguf *file, const hone_gguf_tensor *t, const hone_gguf_entry *entry, void *place, size_t *touched)
{
    const int64_t K = entry->columns, fit = PIECE_BYTES / (K * (int64_t)sizeof(float)), rows = fit > 1 ? fit : 1;
    const size_t row_bytes = hone_blocks_bytes(t->blocks, K);
    const bool same = hone_dtype_of_blocks(t->blocks) == hone_at(model->graph, entry->param)->dtype;
    float *x = hone_alloc((size_t)(rows * K), sizeof *x);
    uint8_t *as = hone_alloc((size_t)rows, row_bytes);
    hone_blocked_writer writer;
    hone_status status = x && as ? hone_blocked_open(&writer, model, entry->param, place) : HONE_FAILED;
    for (int64_t first = 0; first < entry->rows && !status; first += rows) {
        const int64_t n = entry->rows - first < rows ? entry->rows - first : rows;
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < n; r++) {
            memcpy(as + (size_t)r * row_bytes, file->map.data + t->begin + (size_t)file_row(entry->turned, first + r) * row_bytes, row_bytes);
            hone_blocks_decode(t->blocks, as + (size_t)r * row_bytes, K, x + r * K);
        }
        hone_blocked_write(&writer, x, n, same ? as : NULL);
        drop_read(file, (size_t)n * row_bytes, touched);
    }
    if (!status) hone_blocked_close(&writer);
    hone_free(x);
    hone_free(as);
    return status;
}

hone_status hone_gguf_own_blocks(const hone_model *model, const char *path, hone_dtype *own)
{
    hone_gguf file;
    hone_gguf_map map = { 0 };
    hone_status status = hone_gguf_open(&file, path);
    if (status) return status;
    status = hone_gguf_map_build(&map, model);
    for (int64_t p = 0; p < model->n_param && !status; p++) {
        own[p] = HONE_DTYPE_COUNT;
        for (int64_t i = 0; i < map.count; i++) {
            const hone_gguf_tensor *t = map.entry[i].param == model->param[p] ? hone_gguf_find_tensor(&file, map.entry[i].name) : NULL;
            if (t) own[p] = hone_dtype_of_blocks(t->blocks);
        }
    }
    hone_gguf_map_release(&map);
    hone_gguf_close(&file);
    return status;
}

hone_status hone_gguf_load(const hone_model *model, const char *path, hone_place_fn data, void *context)
{
    hone_gguf file;
    hone_gguf_map map = { 0 };
    const hone_gguf_tensor **found = NULL;
    size_t touched = 0;
    hone_status status = hone_gguf_open(&file, path);
    if (status) return status;
    if ((status = hone_gguf_map_build(&map, model))) goto out;
    if (!(found = hone_alloc((size_t)map.count + 1, sizeof *found))) { status = HONE_FAILED; goto out; }
    if ((status = check_fit(&file, &map, found))) goto out;
    for (int64_t i = 0; i < map.count && !status; i++) {
        void *place = data(context, map.entry[i].param);
        if (!hone_is_kept_narrow(hone_at(model->graph, map.entry[i].param))) read_tensor(&file, found[i], &map.entry[i], place, &touched);
        else status = read_blocked(model, &file, found[i], &map.entry[i], place, &touched);
    }
out:
    hone_free(found);
    hone_gguf_map_release(&map);
    hone_gguf_close(&file);
    return status;
}
