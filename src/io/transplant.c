// transplant.c: see transplant.h. The tensors pass through as bytes of their own type; only the vocabulary's tensors, those
// whose first dimension is vocab_size and whose name is one of a known few, are lengthened.
#include "io/transplant.h"
#include "base/file.h"
#include "base/json.h"
#include "model/config.h"
#include "io/safetensors.h"

#include <inttypes.h>
#include <string.h>

enum { SCRATCH_BYTES = 4 << 20 };
static const char *const vocabulary_tensors[] = { "embed_tokens.weight", "wte.weight", "lm_head.weight" };

typedef struct job {
    hone_safetensors set;
    const hone_tokenizer *old;
    int64_t first, behind, rows, old_rows; // new tokens: ids [first, behind)
    hone_ids ids; int64_t *start;       // new token i had the old ids[start[i], start[i + 1])
    float *sum, *row;                   // one row each
} job;

static bool is_vocabulary(const hone_safetensor *t, int64_t rows)
{
    size_t length = strlen(t->name);
    if (hone_weight_matches("model.embed_values.{layer}.weight", t->name)) return t->rank == 2 && t->dim[0] == rows;
    for (size_t i = 0; i < sizeof vocabulary_tensors / sizeof *vocabulary_tensors; i++) {
        size_t tail = strlen(vocabulary_tensors[i]);
        if (t->rank == 2 && t->dim[0] == rows && length >= tail && strcmp(t->name + length - tail, vocabulary_tensors[i]) == 0) return true;
    }
    return false;
}

static void mean_row(job *j, const hone_safetensor *t, int64_t id, char *out)
{
    int64_t C = t->dim[1], from = j->start[id - j->first], to = j->start[id - j->first + 1];
    memset(j->sum, 0, (size_t)C * sizeof *j->sum);
    for (int64_t i = from; i < to; i++) {
        hone_safetensor_read(&j->set, t, j->ids.data[i] * C, C, HONE_f32, j->row);
        for (int64_t c = 0; c < C; c++) j->sum[c] += j->row[c];
    }
    for (int64_t c = 0; c < C; c++) {
        float mean = to > from ? j->sum[c] / (float)(to - from) : 0.0f;
        uint16_t half = hone_f32_to_bf16(mean);
        if (t->kind == HONE_f32) memcpy(out + c * 4, &mean, 4);
        else memcpy(out + c * 2, &half, 2);
    }
}

static const void *source(void *context, int64_t index, int64_t first, int64_t count, void *scratch)
{
    job *j = context;
    const hone_safetensor *t = &j->set.tensor[index];
    size_t bytes = hone_dtype_bytes(t->kind);
    const char *data = (const char *)j->set.file[t->file].map.data + t->begin;
    if (!is_vocabulary(t, j->old_rows)) return data + (size_t)first * bytes;
    int64_t C = t->dim[1];
    for (int64_t at = first; at < first + count;) { // whole rows or parts of them, one row after the other
        int64_t row = at / C, column = at % C, k = C - column < first + count - at ? C - column : first + count - at;
        char *out = (char *)scratch + (size_t)(at - first) * bytes;
        if (row < j->first || row >= j->behind) { // behind the new tokens: rows that padded the old vocabulary
            memcpy(out, data + (size_t)at * bytes, (size_t)k * bytes);
        } else {
            char *whole = (char *)scratch + SCRATCH_BYTES; // room behind for one row
            mean_row(j, t, row, whole);
            memcpy(out, whole + (size_t)column * bytes, (size_t)k * bytes);
        }
        at += k;
    }
    return scratch;
}

static hone_status write_weights(job *j, const char *output)
{
    int64_t found = 0, width = 0;
    hone_safetensor_spec *spec = hone_alloc((size_t)j->set.count + 1, sizeof *spec);
    hone_status status = spec ? HONE_OK : HONE_FAILED;
    for (int64_t i = 0; i < j->set.count && !status; i++) {
        const hone_safetensor *t = &j->set.tensor[i];
        if (t->kind == HONE_DTYPE_COUNT || t->rank > HONE_MAX_RANK) return hone_free(spec), hone_fail("%s: tensor %s of type %s and rank %d cannot be carried over", hone_safetensor_path(&j->set, t), t->name, t->dtype, t->rank);
        spec[i] = (hone_safetensor_spec){ .name = t->name, .dtype = t->kind, .rank = t->rank };
        for (int d = 0; d < t->rank; d++) spec[i].dim[d] = t->dim[d];
        if (!is_vocabulary(t, j->old_rows)) continue;
        if (t->kind != HONE_f32 && t->kind != HONE_bf16) status = hone_fail("%s: %s is of type %s; only F32 and BF16 embeddings can be extended", hone_safetensor_path(&j->set, t), t->name, t->dtype);
        spec[i].dim[0] = j->rows;
        found++;
        if (t->dim[1] > width) width = t->dim[1];
    }
    if (!status && !found) status = hone_fail("the model has no embeddings of %" PRId64 " rows", j->old_rows);
    j->sum = hone_alloc((size_t)width + 1, sizeof *j->sum);
    j->row = hone_alloc((size_t)width + 1, sizeof *j->row);
    char *scratch = hone_alloc(SCRATCH_BYTES + (size_t)width * 4, 1), *path = hone_path_join(output, "model.safetensors");
    if (!status && (!j->sum || !j->row || !scratch || !path)) status = HONE_FAILED;
    hone_writer writer;
    if (!status && !(status = hone_writer_open(&writer, path))) {
        status = hone_safetensors_write(&writer, spec, j->set.count, source, j, scratch, SCRATCH_BYTES);
        if (status) hone_writer_abort(&writer);
        else status = hone_writer_commit(&writer);
    }
    hone_free(scratch);
    hone_free(path);
    hone_free(spec);
    return status;
}

static hone_status copy_if_there(const char *folder, const char *output, const char *name)
{
    char *from = hone_path_join(folder, name), *to = hone_path_join(output, name), *data = NULL;
    size_t size;
    hone_status status = from && to ? HONE_OK : HONE_FAILED;
    if (!status && hone_file_exists(from)) {
        status = hone_file_read(from, &data, &size);
        if (!status) status = hone_file_write(to, data, size);
    }
    hone_free(data);
    hone_free(from);
    hone_free(to);
    return status;
}

// What each new token was before: its text, cut by the old tokenizer.
static hone_status trace(job *j, const hone_tokenizer *extended)
{
    int64_t n = hone_tokenizer_vocab(extended) - j->first;
    hone_status status = (j->start = hone_alloc((size_t)n + 1, sizeof *j->start)) ? HONE_OK : HONE_FAILED;
    for (int64_t i = 0; i < n && !status; i++) {
        size_t size;
        const char *text = hone_tokenizer_piece(extended, (int32_t)(j->first + i), &size);
        status = hone_tokenizer_encode_piece(j->old, text, size, &j->ids);
        j->start[i + 1] = j->ids.count;
    }
    for (int64_t i = 0; i < j->ids.count && !status; i++)
        if (j->ids.data[i] >= j->old_rows) status = hone_fail("token %d of the tokenizer has no row in the model's %" PRId64, j->ids.data[i], j->old_rows);
    return status;
}

hone_status hone_hf_transplant(const char *folder, const char *output, const hone_tokenizer *old, const hone_tokenizer *extended)
{
    job j = { .old = old, .first = hone_tokenizer_vocab(old), .behind = hone_tokenizer_vocab(extended) };
    json_t *config = NULL;
    char *path = hone_path_join(folder, "config.json"), *to = hone_path_join(output, "config.json");
    hone_status status = path && to ? hone_json_load(path, &config) : HONE_FAILED;
    if (!status) status = hone_json_int(config, "vocab_size", path, true, &j.old_rows);
    j.rows = hone_tokenizer_vocab(extended) > j.old_rows ? hone_tokenizer_vocab(extended) : j.old_rows;
    if (!status && j.first > j.old_rows) status = hone_fail("%s: the tokenizer has %" PRId64 " ids, but the model's vocab_size is %" PRId64, folder, j.first, j.old_rows);
    if (!status) status = trace(&j, extended);
    if (!status) status = hone_safetensors_open_folder(&j.set, folder);
    bool opened = !status;
    if (!status) status = copy_if_there(folder, output, "generation_config.json");
    if (!status) status = copy_if_there(folder, output, "chat_template.jinja");
    if (!status && json_object_set_new(config, "vocab_size", json_integer(j.rows))) status = HONE_FAILED;
    if (!status) status = hone_json_save(to, config);
    if (!status) status = write_weights(&j, output);
    if (opened) hone_safetensors_close(&j.set);
    hone_free(j.ids.data);
    hone_free(j.start);
    hone_free(j.sum);
    hone_free(j.row);
    hone_free(path);
    hone_free(to);
    json_decref(config);
    return status;
}
