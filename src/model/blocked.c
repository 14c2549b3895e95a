// blocked.c: see blocked.h.
#include "model/decoder.h"
#include "base/memory.h"
#include <string.h>

static int64_t index_of(const hone_model *model, hone_tid param)
{
    int64_t i = 0;
    while (i < model->n_param && model->param[i] != param) i++;
    HONE_ASSERT(i < model->n_param, "%s is no logical parameter", hone_at(model->graph, param)->name);
    return i;
}

// What a storage is kept in.
static hone_dtype choose(const hone_model *model, hone_tid storage, hone_dtype dtype, const hone_dtype *own)
{
    hone_dtype kept = HONE_DTYPE_COUNT;
    for (int64_t i = 0; own && i < model->n_param; i++) {
        if (hone_storage(model->graph, model->param[i]) != storage) continue;
        if (own[i] == HONE_DTYPE_COUNT) return dtype;
        if (kept != HONE_DTYPE_COUNT && kept != own[i]) return HONE_q8_0;
        kept = own[i];
    }
    return kept == HONE_DTYPE_COUNT ? dtype : kept;
}

// bf16 is a block of one.
static hone_blocks blocks_of(hone_dtype dtype) { return dtype == HONE_bf16 ? HONE_BLOCKS_bf16 : hone_dtype_blocks(dtype); }

hone_status hone_model_keep_blocked(hone_model *model, hone_dtype dtype, const hone_dtype *own, hone_dtype tables)
{
    for (hone_tid id = 0; id < model->graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(model->graph, id);
        if (t->cls != HONE_CLASS_param || t->rank != 2 || t->base != HONE_NONE || t->trained) continue;
        if (!t->hidden) {
            hone_graph_store(model->graph, id, tables);
            continue;
        }
        const hone_dtype kept = choose(model, id, dtype, own);
        const hone_blocks_format *about = hone_blocks_about(hone_dtype_blocks(kept));
        if (t->dim[1] % about->elements)
            return hone_fail("%s has rows of %lld, which are no whole blocks of %s (%lld)", t->name, (long long)t->dim[1], about->name, (long long)about->elements);
        hone_graph_store(model->graph, id, kept);
    }
    model->blocked_hash = hone_alloc((size_t)model->n_param + 1, sizeof *model->blocked_hash);
    return model->blocked_hash ? HONE_OK : HONE_FAILED;
}

bool hone_model_is_blocked(const hone_model *model) { return model->blocked_hash != NULL; }

const char *hone_model_blocked_title(const hone_model *model)
{
    hone_blocks found = HONE_BLOCKS_COUNT;
    for (int64_t i = 0; i < model->n_param; i++) {
        const hone_blocks its = hone_dtype_blocks(hone_at(model->graph, model->param[i])->dtype);
        if (its == HONE_BLOCKS_COUNT) continue;
        if (found != HONE_BLOCKS_COUNT && found != its) return "several kinds of blocks";
        found = its;
    }
    return hone_blocks_about(found)->name;
}

hone_status hone_blocked_open(hone_blocked_writer *writer, const hone_model *model, hone_tid param, void *place)
{
    const hone_tensor *t = hone_at(model->graph, param);
    *writer = (hone_blocked_writer){ .dtype = t->dtype, .columns = t->dim[1], .to = place, .noted = &model->blocked_hash[index_of(model, param)] };
    return hone_hash_open(&writer->hash);
}

void hone_blocked_write(hone_blocked_writer *writer, const float *x, int64_t rows, const void *as)
{
    const hone_blocks blocks = blocks_of(writer->dtype);
    const size_t row_bytes = hone_blocks_bytes(blocks, writer->columns);
    hone_hash_add(writer->hash, x, (size_t)(rows * writer->columns) * sizeof *x);
    if (as) memcpy(writer->to, as, (size_t)rows * row_bytes);
#pragma omp parallel for schedule(static) if (rows * writer->columns > 1 << 16)
    for (int64_t r = 0; r < (as ? 0 : rows); r++) hone_blocks_encode(blocks, x + r * writer->columns, writer->columns, writer->to + (size_t)r * row_bytes);
    writer->to += (size_t)rows * row_bytes;
}

void hone_blocked_close(hone_blocked_writer *writer) { *writer->noted = hone_hash_close(writer->hash); }
