// gguf_export.c: a model written as a GGUF file, and that file compared with the model. See gguf_model.h.
//
// Vectors (norms, biases) and learned positions stay f32, as llama.cpp wants them. Q4_K_M is llama.cpp's mixture: q4_k, but q6_k for
// the output matrix and for v and down of the first and last eighth of the blocks and every third between. Blocks of 256 need rows
// of whole blocks: others take q5_0 and q8_0, and where rows are not even 32 long, f16.
#include "io/gguf_model.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const hone_gguf_kind kinds[] = {
    // An f16 has 11 bits, a bf16 8. The other bounds are some times what normal weights lose; rows in the wrong place are 1.4 off.
    { "f32",    0,  HONE_BLOCKS_f32,  HONE_BLOCKS_f32,  HONE_BLOCKS_f32,  HONE_BLOCKS_f32,  0 },
    { "f16",    1,  HONE_BLOCKS_f16,  HONE_BLOCKS_f16,  HONE_BLOCKS_f16,  HONE_BLOCKS_f16,  0x1p-11 },
    { "bf16",   32, HONE_BLOCKS_bf16, HONE_BLOCKS_bf16, HONE_BLOCKS_bf16, HONE_BLOCKS_bf16, 0x1p-8 },
    { "q8_0",   7,  HONE_BLOCKS_q8_0, HONE_BLOCKS_q8_0, HONE_BLOCKS_q8_0, HONE_BLOCKS_q8_0, 0.05 },
    { "q4_k_m", 15, HONE_BLOCKS_q4_k, HONE_BLOCKS_q6_k, HONE_BLOCKS_q5_0, HONE_BLOCKS_q8_0, 0.3 },
};
enum { N_KIND = sizeof kinds / sizeof *kinds, PIECE_ELEMENTS = 1 << 20, PART = 4096, MAX_KEY = 128, DROP_BYTES = 16 << 20 };

const hone_gguf_kind *hone_gguf_kind_at(int index) { return index < N_KIND ? &kinds[index] : NULL; }

const hone_gguf_kind *hone_gguf_kind_find(const char *name)
{
    for (int i = 0; i < N_KIND; i++)
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    return NULL;
}

static bool fits(hone_blocks blocks, int64_t columns) { return columns % hone_blocks_about(blocks)->elements == 0; }

static bool is_finer(const hone_model *model, const hone_gguf_entry *entry)
{
    int64_t n = model->config.layers;
    if (entry->param == model->head) return true;   // tied: the embedding
    for (int64_t i = 0; i < n; i++) {
        if (entry->param != model->block[i].down && !strstr(entry->name, "attn_v.")) continue;
        if (hone_at(model->graph, entry->param)->layer != i) continue;
        return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
    }
    return false;
}

static hone_blocks blocks_for(const hone_model *model, const hone_gguf_entry *entry, const hone_gguf_kind *kind)
{
    if (entry->rank == 1 || entry->param == model->positions) return HONE_BLOCKS_f32;
    bool finer = is_finer(model, entry);
    hone_blocks first = finer ? kind->finer : kind->matrix, second = finer ? kind->odd_finer : kind->odd_rows;
    return fits(first, entry->columns) ? first : fits(second, entry->columns) ? second : HONE_BLOCKS_f16;
}

// Values -------------------------------------------------------------------------------------------------------------

static const char *key_of(const char *arch, const char *name, char key[MAX_KEY])
{
    snprintf(key, MAX_KEY, "%s.%s", arch, name);
    return key;
}

static void put_sizes(const hone_config *c, const hone_gguf_arch *a, hone_gguf_head *head)
{
    const char *arch = a->name;
    char key[MAX_KEY];
    size_t field;
    const char *name;
    for (int i = 0; (name = hone_gguf_size_name(i, &field)); i++)
        hone_gguf_put_u32(head, key_of(arch, name, key), (uint32_t)*(const int64_t *)(const void *)((const char *)c + field));
    for (int i = 0; (name = hone_gguf_real_name(i, &field)); i++) {
        const double value = *(const double *)(const void *)((const char *)c + field);
        if (value != 0) hone_gguf_put_f32(head, key_of(arch, name, key), (float)value);
    }
    if (a->window >= 0 && c->window) hone_gguf_put_u32(head, key_of(arch, HONE_GGUF_WINDOW, key), (uint32_t)c->window);
    hone_gguf_put_u32(head, key_of(arch, "attention.value_length", key), (uint32_t)c->head_dim);
    hone_gguf_put_u32(head, key_of(arch, "vocab_size", key), (uint32_t)c->vocab);
    hone_gguf_put_f32(head, key_of(arch, c->norm == HONE_NORM_RMS ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", key), (float)c->norm_eps);
    if (c->rope == HONE_ROPE_NONE) return;
    hone_gguf_put_u32(head, key_of(arch, "rope.dimension_count", key), (uint32_t)c->head_dim);
    hone_gguf_put_f32(head, key_of(arch, "rope.freq_base", key), (float)c->rope_theta);
    if (c->rope != HONE_ROPE_LINEAR) return;
    hone_gguf_put_text(head, key_of(arch, "rope.scaling.type", key), "linear", 6);
    hone_gguf_put_f32(head, key_of(arch, "rope.scaling.factor", key), (float)c->rope_factor);
}

static hone_status put_head(const hone_model *model, const hone_gguf_map *map, const char *title, const hone_gguf_kind *kind, hone_gguf_head *head)
{
    const hone_config *c = &model->config;
    hone_status status = hone_gguf_check_sayable(map->arch, c);
    if (status) return status;
    hone_gguf_put_text(head, "general.architecture", map->arch->name, strlen(map->arch->name));
    hone_gguf_put_text(head, "general.type", "model", 5);
    hone_gguf_put_text(head, "general.name", title, strlen(title));
    hone_gguf_put_u32(head, "general.file_type", kind->file_type);
    hone_gguf_put_u32(head, "general.quantization_version", 2);
    put_sizes(c, map->arch, head);
    if (c->rope == HONE_ROPE_LLAMA3) hone_gguf_put_tensor(head, "rope_freqs.weight", HONE_BLOCKS_f32, 1, (int64_t[]){ c->head_dim / 2 });
    for (int64_t i = 0; i < map->count; i++) {
        const hone_gguf_entry *entry = &map->entry[i];
        hone_gguf_put_tensor(head, entry->name, blocks_for(model, entry, kind), entry->rank,
                             (int64_t[]){ entry->rank == 1 ? entry->rows * entry->columns : entry->columns, entry->rows });
    }
    return HONE_OK;
}

// Weights ------------------------------------------------------------------------------------------------------------

static bool all_finite(const float *x, int64_t count)
{
    float sum = 0;
    for (int64_t i = 0; i < count; i++) sum += x[i] * 0.0f;
    return sum == 0;
}

// Rows in pieces, each row encoded by one thread.
static hone_status write_entry(const hone_gguf_entry *entry, hone_blocks blocks, const float *w, hone_writer *writer, uint8_t *piece)
{
    size_t row_bytes = hone_blocks_bytes(blocks, entry->columns);
    int64_t most = PIECE_ELEMENTS / entry->columns > 1 ? PIECE_ELEMENTS / entry->columns : 1;
    hone_status status = HONE_OK;
    for (int64_t at = 0; at < entry->rows && !status; at += most) {
        int64_t n = entry->rows - at < most ? entry->rows - at : most;
        bool finite = true;
        #pragma omp parallel for reduction(&&:finite)
        for (int64_t r = 0; r < n; r++) {
            const float *x = w + hone_gguf_row(entry->turned, at + r) * entry->columns;
            finite = finite && all_finite(x, entry->columns);
            hone_blocks_encode(blocks, x, entry->columns, piece + (size_t)r * row_bytes);
        }
        for (int64_t i = 0; i < n * entry->columns && entry->base != 0; i++) ((float *)(void *)piece)[i] += entry->base;   // a vector: f32
        if (!finite) return hone_fail("%s holds a number that is not finite (hone ckpt verify finds it); such a model is not exported", entry->name);
        status = hone_writer_write(writer, piece, (size_t)n * row_bytes);
    }
    return status ? status : hone_gguf_pad(writer);
}

static hone_status write_rope_factors(const hone_config *c, hone_writer *writer)
{
    float *factor = hone_alloc((size_t)c->head_dim, sizeof *factor);
    if (!factor) return HONE_FAILED;
    hone_gguf_rope_factors(c, factor);
    hone_status status = hone_writer_write(writer, factor, (size_t)c->head_dim / 2 * sizeof *factor);
    hone_free(factor);
    return status ? status : hone_gguf_pad(writer);
}

static hone_status write_weights(const hone_model *model, const hone_gguf_map *map, const hone_gguf_kind *kind, hone_writer *writer, hone_place_fn data, void *context)
{
    int64_t widest = 0;
    for (int64_t i = 0; i < map->count; i++) widest = map->entry[i].columns > widest ? map->entry[i].columns : widest;
    uint8_t *piece = hone_alloc((size_t)(widest > PIECE_ELEMENTS ? widest : PIECE_ELEMENTS), sizeof(float));
    hone_status status = piece ? HONE_OK : HONE_FAILED;
    if (!status && model->config.rope == HONE_ROPE_LLAMA3) status = write_rope_factors(&model->config, writer);
    for (int64_t i = 0; i < map->count && !status; i++)
        status = write_entry(&map->entry[i], blocks_for(model, &map->entry[i], kind), data(context, map->entry[i].param), writer, piece);
    hone_free(piece);
    return status;
}

hone_status hone_gguf_save(const hone_model *model, const char *path, const char *title, const hone_gguf_kind *kind, const hone_tokenizer *tokenizer,
                           const char *chat_template, hone_place_fn data, void *context)
{
    hone_gguf_map map;
    hone_gguf_head head = { 0 };
    hone_writer writer;
    hone_status status = hone_gguf_map_build(&map, model);
    if (status) return status;
    status = put_head(model, &map, title, kind, &head);
    if (!status && tokenizer) status = hone_tokenizer_put_gguf(tokenizer, model->config.vocab, chat_template, &head);
    if (!status && !(status = hone_writer_open(&writer, path))) {
        status = hone_gguf_head_write(&head, &writer);
        if (!status) status = write_weights(model, &map, kind, &writer, data, context);
        if (!status) status = hone_writer_commit(&writer);
        else hone_writer_abort(&writer);
    }
    hone_gguf_head_release(&head);
    hone_gguf_map_release(&map);
    return status;
}

// Comparing ----------------------------------------------------------------------------------------------------------

// Sums of squares of row r: of the differences, and of the weights.
static void compare_row(const hone_gguf_entry *entry, const hone_gguf_tensor *t, const uint8_t *data, const float *w, int64_t r, double *off, double *all)
{
    float y[PART];
    const uint8_t *row = data + (size_t)r * hone_blocks_bytes(t->blocks, entry->columns);
    const float *x = w + hone_gguf_row(entry->turned, r) * entry->columns;
    for (int64_t at = 0; at < entry->columns; at += PART) {
        int64_t n = entry->columns - at < PART ? entry->columns - at : PART;
        hone_blocks_decode(t->blocks, row + hone_blocks_bytes(t->blocks, at), n, y);
        for (int64_t i = 0; i < n; i++) {
            const double wanted = (double)(x[at + i] + entry->base), d = (double)y[i] - wanted;
            *off += d * d;
            *all += wanted * wanted;
        }
    }
}

static hone_status compare_tensors(const hone_gguf *file, const hone_gguf_map *map, const hone_gguf_kind *kind, hone_place_fn data, void *context, double *off)
{
    double sum_off = 0, sum_all = 0;
    size_t touched = 0;
    for (int64_t i = 0; i < map->count; i++) {
        const hone_gguf_entry *entry = &map->entry[i];
        const hone_gguf_tensor *t = hone_gguf_find_tensor(file, entry->name);
        if (!t || t->blocks == HONE_BLOCKS_COUNT || !hone_gguf_fits(entry, t))
            return hone_fail("%s: %s was not written as it should have been; the disk or its driver lost it", file->path, entry->name);
        double e = 0, a = 0;
        const float *w = data(context, entry->param);
        #pragma omp parallel for reduction(+:e, a)
        for (int64_t r = 0; r < entry->rows; r++) compare_row(entry, t, file->map.data + t->begin, w, r, &e, &a);
        double most = t->blocks == HONE_BLOCKS_f32 ? 0 : kind->most_off;
        if (!(e <= most * most * a + (t->blocks == HONE_BLOCKS_f32 ? 0 : 0x1p-50 * (double)t->count)))
            return hone_fail("%s: %s reads back %.3g off (root mean square, relative); %s explains %.3g; nothing was written", file->path, t->name,
                             sqrt(e / a), hone_blocks_about(t->blocks)->name, most);
        sum_off += e;
        sum_all += a;
        if ((touched += t->size) < DROP_BYTES) continue;
        touched = 0;
        hone_map_drop(&file->map);
    }
    *off = sum_all > 0 ? sqrt(sum_off / sum_all) : 0;
    return HONE_OK;
}

static bool near(double a, double b) { return fabs(a - b) <= 1e-6 * fabs(b); }

static hone_status compare_config(const hone_gguf_arch *arch, const hone_config *is, const hone_config *wanted, const char *path)
{
    size_t field;
    const char *name;
    for (int i = 0; (name = hone_gguf_size_name(i, &field)); i++) {
        int64_t a = *(const int64_t *)(const void *)((const char *)is + field), b = *(const int64_t *)(const void *)((const char *)wanted + field);
        if (a != b) return hone_fail("%s: %s reads back as %" PRId64 ", the model has %" PRId64, path, name, a, b);
    }
    for (int i = 0; (name = hone_gguf_real_name(i, &field)); i++) {
        double a = *(const double *)(const void *)((const char *)is + field), b = *(const double *)(const void *)((const char *)wanted + field);
        if (!near(a, b)) return hone_fail("%s: %s reads back as %g, the model has %g", path, name, a, b);
    }
    if (arch->window >= 0 && is->window != wanted->window)
        return hone_fail("%s: " HONE_GGUF_WINDOW " reads back as %" PRId64 ", the model has %" PRId64, path, is->window, wanted->window);
    if (is->rope != wanted->rope || !near(is->attention_scale, wanted->attention_scale) || !near(is->norm_eps, wanted->norm_eps) || (wanted->rope != HONE_ROPE_NONE && !near(is->rope_theta, wanted->rope_theta)) ||
        (wanted->rope == HONE_ROPE_LLAMA3 && (is->rope_original != wanted->rope_original || !near(is->rope_factor, wanted->rope_factor))))
        return hone_fail("%s: its rotary embedding, epsilon or scale of scores do not read back as the model has them", path);
    return HONE_OK;
}

hone_status hone_gguf_compare(const hone_model *model, const char *path, const hone_gguf_kind *kind, hone_place_fn data, void *context, double *off)
{
    hone_gguf file;
    hone_gguf_map map = { 0 };
    hone_config config;
    hone_status status = hone_gguf_map_build(&map, model);
    if (!status) status = hone_gguf_read_config(&config, path);
    if (!status) status = compare_config(map.arch, &config, &model->config, path);
    if (!status && !(status = hone_gguf_open(&file, path))) {
        status = compare_tensors(&file, &map, kind, data, context, off);
        hone_gguf_close(&file);
    }
    hone_gguf_map_release(&map);
    return status;
}
