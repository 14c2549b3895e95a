// merge.c: see merge.h. One program serves all three models: with the factors as they are, with B = 0 (the base), and with B = 0 on
// merged weights; lengths (DoRA) are then those of the weights at hand.
#include "gen/merge.h"
#include "base/memory.h"
#include "data/loader.h"
#include "gen/lines.h"
#include <math.h>
#include <string.h>

enum { CHUNK = 64 };    // rows of a run

// --- text ----------------------------------------------------------------------------------------------------------------

static hone_status read_shards(const hone_runner *r, const char *data, hone_ids *ids)
{
    const hone_config *c = &r->model.config;
    bool held = false, raw = hone_dataset_is_raw(data);
    if (!raw && hone_dataset_has_split(data, HONE_SPLIT_HELD, &held)) return HONE_FAILED;
    hone_loader loader;
    const hone_loader_options options = { .path = data, .split = held ? HONE_SPLIT_HELD : HONE_SPLIT_TRAIN, .order = HONE_ORDER_ONCE, .window = ids->count,
                                          .vocab = c->vocab, .tokenizer = r->tokenizer ? hone_tokenizer_identity(r->tokenizer) : 0, .eos = -1 };
    hone_status status = hone_loader_open(&loader, &options);
    if (status) return status;
    int32_t *other = hone_alloc((size_t)ids->count * 4, sizeof *other);
    float *weight = hone_alloc((size_t)ids->count, sizeof *weight);
    hone_batch batch = { .ids = ids->data, .target = other, .weight = weight };
    if (other) batch.pos = other + ids->count, batch.lo = other + 2 * ids->count, batch.hi = other + 3 * ids->count;
    status = other && weight ? hone_loader_read(&loader, 0, 0, &batch) : HONE_FAILED;
    while (!status && ids->count > 1 && weight[ids->count - 1] == 0) ids->count--;   // a text shorter than the window
    hone_free(other);
    hone_free(weight);
    hone_loader_close(&loader);
    return status;
}

static hone_status add_ids(hone_ids *ids, int64_t most, const hone_ids *more)
{
    for (int64_t i = 0; i < more->count && ids->count < most; i++) ids->data[ids->count++] = more->data[i];
    return HONE_OK;
}

static hone_status add_text(const hone_runner *r, hone_ids *ids, int64_t most, const char *text, size_t size)
{
    hone_ids more = { 0 };
    if (hone_runner_need_tokenizer(r)) return HONE_FAILED;
    hone_status status = hone_tokenizer_encode(r->tokenizer, text, size, HONE_ENCODE_SPECIAL, &more);
    if (!status) status = add_ids(ids, most, &more);
    hone_free(more.data);
    return status;
}

static hone_status read_lines(const hone_runner *r, const char *data, hone_ids *ids, int64_t most)
{
    static const char *const keys[] = { "text", NULL };
    hone_lines lines;
    hone_status status = hone_lines_open(&lines, data);
    if (status) return status;
    for (hone_line line; !status && ids->count < most && hone_lines_next(&lines, &line, &status);) {
        const char *text;
        hone_ids more = { 0 };
        status = hone_line_content(&line, keys, &text, &more);
        if (!status) status = text ? add_text(r, ids, most, text, strlen(text)) : add_ids(ids, most, &more);
        hone_free(more.data);
        hone_line_release(&line);
    }
    hone_lines_close(&lines);
    return status;
}

static hone_status read_file(const hone_runner *r, const char *data, hone_ids *ids, int64_t most)
{
    enum { ENOUGH_BYTES = 1 << 16 };    // for so many tokens of any text
    const char *end = strrchr(data, '.');
    if (end && !strcmp(end, ".jsonl")) return read_lines(r, data, ids, most);
    hone_map map;
    hone_status status = hone_map_open(&map, data);
    if (status) return status;
    size_t size = map.size < ENOUGH_BYTES ? map.size : ENOUGH_BYTES;
    size = hone_utf8_valid((const char *)map.data, size);
    status = add_text(r, ids, most, (const char *)map.data, size);
    hone_map_close(&map);
    return status;
}

hone_status hone_merge_read_ids(const hone_runner *r, const char *data, hone_ids *ids)
{
    const int64_t positions = r->model.config.max_positions, most = positions < HONE_MERGE_TOKENS ? positions : HONE_MERGE_TOKENS;
    const bool shards = hone_dir_exists(data) || hone_dataset_is_raw(data);
    *ids = (hone_ids){ .data = hone_alloc((size_t)most, sizeof *ids->data) };
    if (!ids->data) return HONE_FAILED;
    if (shards) ids->count = most;
    hone_status status = shards ? read_shards(r, data, ids) : read_file(r, data, ids, most);
    for (int64_t i = 0; i < ids->count && !status; i++)
        if (ids->data[i] < 0 || ids->data[i] >= r->model.config.vocab)
            status = hone_fail("%s: id %d is not of this model's vocabulary of %lld", data, ids->data[i], (long long)r->model.config.vocab);
    if (!status && ids->count == 0) status = hone_fail("%s: holds no text", data);
    if (status) {
        hone_free(ids->data);
        *ids = (hone_ids){ 0 };
    }
    return status;
}

// --- what a model says -----------------------------------------------------------------------------------------------------

typedef struct {
    hone_runner *runner;
    hone_decode_io io;
    const hone_ids *ids;
    float *said;            // (ids, V) log-probabilities of base and adapter
} job;

static void *place(const job *j, hone_tid id) { return hone_session_data(&j->runner->session, id); }

static void to_log_probabilities(float *logit, int64_t V)
{
    double most = -INFINITY, sum = 0;
    for (int64_t v = 0; v < V; v++) most = fmax(most, (double)logit[v]);
    for (int64_t v = 0; v < V; v++) sum += exp((double)logit[v] - most);
    const double lse = most + log(sum);
    for (int64_t v = 0; v < V; v++) logit[v] = (float)((double)logit[v] - lse);
}

// Mean divergence of what the model says now from j->said; or, with `keep`, that is made.
static double walk_text(const job *j, bool keep)
{
    const hone_decode_io *io = &j->io;
    const int64_t V = j->runner->model.config.vocab;
    double sum = 0;
    hone_session_run(&j->runner->session, "refresh");
    for (int32_t i = 0; i < io->blocks; i++) ((int32_t *)place(j, io->table))[i] = i;
    for (int64_t at = 0; at < j->ids->count; at += CHUNK) {
        const int32_t rows = (int32_t)(j->ids->count - at < CHUNK ? j->ids->count - at : CHUNK);
        *(int32_t *)place(j, io->count) = *(int32_t *)place(j, io->wanted_count) = rows;
        for (int32_t i = 0; i < rows; i++) {
            ((int32_t *)place(j, io->ids))[i] = j->ids->data[at + i];
            ((int32_t *)place(j, io->pos))[i] = ((int32_t *)place(j, io->cache_row))[i] = (int32_t)at + i;
            ((int32_t *)place(j, io->slot))[i] = ((int32_t *)place(j, io->lo))[i] = 0;
            ((int32_t *)place(j, io->hi))[i] = (int32_t)at + i + 1;
            ((int32_t *)place(j, io->wanted))[i] = i;
        }
        hone_session_run(&j->runner->session, "decode");
        float *logits = place(j, io->logits);
        for (int32_t i = 0; i < rows; i++) {
            float *now = logits + i * V, *said = j->said + (at + i) * V;
            to_log_probabilities(now, V);
            if (keep) memcpy(said, now, (size_t)V * sizeof *said);
            else for (int64_t v = 0; v < V; v++) sum += exp((double)said[v]) * ((double)said[v] - (double)now[v]);
        }
    }
    return sum / (double)j->ids->count;
}

// A row of W + scale B A, with DoRA at its own length; b, length: the module's factors, of which the model holds those of the base now.
static void merge_row(float *w, const float *a, const float *b, float scale, int64_t r, int64_t K, const float *length)
{
    double squares = 0;
    for (int64_t k = 0; k < K; k++) {
        double sum = 0;
        for (int64_t n = 0; n < r; n++) sum += (double)b[n] * (double)a[n * K + k];
        w[k] = (float)((double)w[k] + (double)scale * sum);
        squares += (double)w[k] * (double)w[k];
    }
    const double by = length ? (double)*length / sqrt(squares) : 1;
    for (int64_t k = 0; k < K && length; k++) w[k] = (float)((double)w[k] * by);
}

static void merge_module(const job *j, const hone_lora_module *m, const float *b, const float *length)
{
    const hone_model *model = &j->runner->model;
    const int64_t K = hone_at(model->graph, m->weight)->dim[1], r = model->lora.rank;
    const float *a = place(j, m->a), scale = (float)hone_lora_scale(&model->lora);
    float *w = (float *)place(j, m->weight) + m->row * K;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m->rows; i++) merge_row(w + i * K, a, b + i * r, scale, r, K, length ? length + i : NULL);
}

static void *place_of(void *j, hone_tid id) { return place(j, id); }

static hone_status merge_all(const job *j, hone_merge *merge)
{
    const hone_model *model = &j->runner->model;
    const hone_lora *lora = &model->lora;
    float *copy = hone_alloc((size_t)hone_lora_count(model), sizeof *copy), *at = copy;    // of each module's B and lengths
    if (!copy) return HONE_FAILED;
    walk_text(j, true);
    for (int64_t i = 0; i < lora->n_module; i++) {
        const size_t b = (size_t)hone_tensor_count(hone_at(model->graph, lora->module[i].b)), rows = lora->dora ? (size_t)lora->module[i].rows : 0;
        memcpy(at, place(j, lora->module[i].b), b * sizeof *at);
        memset(place(j, lora->module[i].b), 0, b * sizeof *at);
        if (rows) memcpy(at + b, place(j, lora->module[i].m), rows * sizeof *at);
        at += b + rows;
    }
    hone_lora_fill_lengths(model, place_of, (void *)(uintptr_t)j);
    merge->kl_base = walk_text(j, false);
    at = copy;
    for (int64_t i = 0; i < lora->n_module; i++) {
        const int64_t b = hone_tensor_count(hone_at(model->graph, lora->module[i].b)), rows = lora->dora ? lora->module[i].rows : 0;
        merge_module(j, &lora->module[i], at, rows ? at + b : NULL);
        at += b + rows;
    }
    hone_lora_fill_lengths(model, place_of, (void *)(uintptr_t)j);
    merge->kl_merged = walk_text(j, false);
    merge->tokens = j->ids->count;
    hone_free(copy);
    return HONE_OK;
}

hone_status hone_merge_adapter(hone_runner *runner, const hone_ids *ids, hone_merge *merge)
{
    job j = { .runner = runner, .ids = ids };
    hone_status status = hone_model_build_decode(&runner->model, CHUNK, CHUNK, 1, ids->count, &j.io);
    if (!status) status = hone_runner_start(runner);
    if (!status && !(j.said = hone_alloc((size_t)(ids->count * runner->model.config.vocab), sizeof *j.said))) status = HONE_FAILED;
    if (!status) status = merge_all(&j, merge);
    hone_free(j.said);
    return status;
}
