// loader.c: see loader.h for which window a row is and what isolation means.
#include "data/loader.h"
#include "base/rng.h"

#include <inttypes.h>
#include <string.h>

// `sequential` needs one token more: its starts are taken modulo n - T - 1.
static hone_status count_windows(hone_loader *loader)
{
    const hone_loader_options *o = &loader->options;
    const int64_t n = loader->data.n_tokens, T = o->window, least = o->order == HONE_ORDER_ONCE ? 2 : o->order == HONE_ORDER_SEQUENTIAL ? T + 2 : T + 1;
    if (n < least)
        return hone_fail("%s: its split \"%s\" has %" PRId64 " tokens, but one row of %" PRId64 " needs %" PRId64
                         "; use more text or a shorter cutoff_len", o->path, hone_split_name[o->split], n, T, least);
    loader->windows = o->order == HONE_ORDER_ONCE ? (n - 2) / T + 1 : (n - 1) / T;
    return HONE_OK;
}

static bool wants_whole(const hone_loader *loader)
{
    const hone_loader_options *o = &loader->options;
    return o->pairs || o->strategy == HONE_PACK_WHOLE || (o->strategy == HONE_PACK_AUTO && loader->data.trained && o->order != HONE_ORDER_SEQUENTIAL);
}

static hone_status check_pairs(const hone_dataset *data, bool wanted)
{
    bool even = true;
    for (int64_t s = 0; s < data->n_shards; s++) even &= data->shard[s].n_documents % 2 == 0;
    if (wanted && !(data->pairs && data->trained && even)) return hone_fail("%s: no pairs of replies; stage: dpo learns from records with \"chosen\" and \"rejected\"", data->path);
    if (!wanted && data->pairs) return hone_fail("%s: pairs of replies; they are learned from with stage: dpo", data->path);
    return HONE_OK;
}

static hone_status check_whole(const hone_loader *loader)
{
    if (loader->options.strategy != HONE_PACK_WHOLE) return HONE_OK;
    if (loader->data.raw)
        return hone_fail("%s: a raw token file has no index of documents to keep whole; use packing_strategy: wrapped, or `hone prepare`", loader->data.path);
    if (loader->options.order == HONE_ORDER_SEQUENTIAL)
        return hone_fail("%s: order: sequential cuts the data every cutoff_len tokens; use packing_strategy: wrapped with it", loader->data.path);
    return HONE_OK;
}

hone_status hone_loader_open(hone_loader *loader, const hone_loader_options *options)
{
    int64_t T = options->window;
    *loader = (hone_loader){ .options = *options };
    if (T < 1) return hone_fail("a window of %" PRId64 " tokens: it must be positive", T);
    hone_status status = hone_dataset_open(&loader->data, options->path, options->split, options->vocab, options->tokenizer, options->eos);
    if (status) return status;
    loader->options.path = loader->data.path;
    if ((status = check_pairs(&loader->data, options->pairs)) || (status = check_whole(loader))) goto out;
    if ((status = wants_whole(loader) ? hone_packing_make(&loader->packing, &loader->data, T) : count_windows(loader))) goto out;
    if (loader->packing.n_rows) loader->windows = loader->packing.n_rows;
    loader->scratch = hone_alloc((size_t)T + 1, sizeof *loader->scratch);
    loader->ends = hone_alloc((size_t)T + 2, sizeof *loader->ends);
    if (loader->data.trained) loader->trained = hone_alloc((size_t)T + 1, sizeof *loader->trained);
    if (!loader->scratch || !loader->ends || (loader->data.trained && !loader->trained)) status = HONE_FAILED;
out:
    if (status) hone_loader_close(loader);
    return status;
}

void hone_loader_close(hone_loader *loader)
{
    hone_dataset_close(&loader->data);
    hone_packing_release(&loader->packing);
    hone_free(loader->scratch);
    hone_free(loader->trained);
    hone_free(loader->ends);
    *loader = (hone_loader){ 0 };
}

// Which of an epoch's rows the row is, under a shuffle.
static int64_t shuffled(const hone_loader *loader, int64_t row)
{
    const hone_loader_options *o = &loader->options;
    const int64_t epoch = row / loader->windows;
    return hone_rng_permute(o->seed, HONE_RNG_ORDER, o->stream << 20 | ((uint32_t)epoch & 0xfffff), loader->windows, row % loader->windows);
}

// Of a window: position in the split of its first token.
static int64_t window_start(const hone_loader *loader, int64_t row)
{
    const int64_t T = loader->options.window, n = loader->data.n_tokens;
    switch (loader->options.order) {
    case HONE_ORDER_SEQUENTIAL: return row * T % (n - T - 1);
    case HONE_ORDER_SHUFFLED: return shuffled(loader, row) * T;
    default: return row < loader->windows ? row * T : n - 1;
    }
}

// Places of a window from there on: fewer at the split's end.
static int64_t window_used(const hone_loader *loader, int64_t start)
{
    const int64_t left = loader->data.n_tokens - 1 - start;
    return left < loader->options.window ? left : loader->options.window;
}

typedef struct { int64_t first, end; } pieces;
static pieces pieces_of(const hone_loader *loader, int64_t row)
{
    const hone_packing *p = &loader->packing;
    if (loader->options.order == HONE_ORDER_SHUFFLED) row = shuffled(loader, row);
    return row < p->n_rows ? (pieces){ p->first[row], p->first[row + 1] } : (pieces){ 0, 0 };
}

int64_t hone_loader_position(const hone_loader *loader, int64_t row, int64_t t)
{
    const hone_packing *p = &loader->packing;
    if (p->n_rows == 0) {
        const int64_t at = window_start(loader, row) + t;
        return at < loader->data.n_tokens - 1 ? at : -1;
    }
    const pieces of = pieces_of(loader, row);
    for (int64_t i = of.first; i < of.end; t -= p->pairs[i++])
        if (t < p->pairs[i]) return p->start[i] + t;
    return -1;
}

int64_t hone_loader_used(const hone_loader *loader, int64_t row)
{
    if (loader->packing.n_rows == 0) return window_used(loader, window_start(loader, row));
    const pieces of = pieces_of(loader, row);
    int64_t used = 0;
    for (int64_t i = of.first; i < of.end; i++) used += loader->packing.pairs[i];
    return used;
}

double hone_loader_padding(const hone_loader *loader)
{
    const double places = (double)loader->windows * (double)loader->options.window;
    const int64_t pairs = loader->packing.n_rows ? loader->packing.n_pairs
                        : loader->options.order == HONE_ORDER_ONCE ? loader->data.n_tokens - 1 : loader->windows * loader->options.window;
    return 1 - (double)pairs / places;
}

// Where documents end in the row: positions relative to the window, ascending, in loader->ends. Returns how many.
static int64_t find_ends(hone_loader *loader, int64_t start, int64_t count)
{
    int64_t found = 0;
    if (!loader->data.raw) {
        found = hone_dataset_ends(&loader->data, start, count, loader->ends);
        for (int64_t e = 0; e < found; e++) loader->ends[e] -= start;
    } else if (loader->data.eos >= 0) {
        for (int64_t t = 0; t < count; t++)
            if (loader->scratch[t] == loader->data.eos) loader->ends[found++] = t + 1;
    }
    return found;
}

// Place n of the batch, whose text begins at place `begin`.
static inline void set_place(hone_batch *batch, int64_t n, int64_t begin, bool trained)
{
    if (batch->pos) batch->pos[n] = (int32_t)(n - begin);
    if (batch->lo) batch->lo[n] = (int32_t)begin;
    if (batch->hi) batch->hi[n] = (int32_t)(n + 1);
    if (batch->weight) batch->weight[n] = trained ? 1.0f : 0.0f;
    batch->trained += trained;
}

// Places that nothing is at: each sees itself, none is trained.
static void pad(hone_batch *batch, int64_t from, int64_t to)
{
    for (int64_t n = from; n < to; n++) {
        if (batch->ids) batch->ids[n] = 0;
        if (batch->target) batch->target[n] = 0;
        if (batch->pair) batch->pair[n] = 0;
        set_place(batch, n, n, false);
    }
}

// `count` tokens from a position on, and what stands behind each, to place n.
static hone_status read_tokens(hone_loader *loader, int64_t position, int64_t count, int64_t n, hone_batch *batch)
{
    hone_status status = hone_dataset_read(&loader->data, position, count + 1, loader->scratch);
    if (!status && loader->trained) status = hone_dataset_read_trained(&loader->data, position, count + 1, loader->trained);
    if (status) return status;
    if (batch->ids) memcpy(batch->ids + n, loader->scratch, (size_t)count * sizeof *batch->ids);
    if (batch->target) memcpy(batch->target + n, loader->scratch + 1, (size_t)count * sizeof *batch->target);
    return HONE_OK;
}

static hone_status read_window(hone_loader *loader, int64_t row, int64_t base, hone_batch *batch)
{
    const int64_t T = loader->options.window, start = window_start(loader, row), count = window_used(loader, start);
    hone_status status = count ? read_tokens(loader, start, count, base, batch) : HONE_OK;
    if (status) return status;
    const int64_t n_ends = loader->options.isolation && count ? find_ends(loader, start, count) : 0;
    for (int64_t t = 0, e = 0, begin = 0; t < count; t++) {
        while (e < n_ends && loader->ends[e] <= t) begin = loader->ends[e++];
        const bool closes = e < n_ends && loader->ends[e] == t + 1;
        set_place(batch, base + t, base + begin, !closes && (!loader->trained || loader->trained[t + 1]));
    }
    pad(batch, base + count, base + T);
    return HONE_OK;
}

// A piece of a pair: the chosen reply's conversation, then the rejected one's.
static hone_status read_pair(hone_loader *loader, int64_t start, int64_t places, int64_t at, hone_batch *batch)
{
    hone_dataset_ends(&loader->data, start, 1, loader->ends);
    const int64_t chosen = loader->ends[0] - start - 1;
    const int64_t document = hone_dataset_document(&loader->data, start);
    for (int side = 0; side < 2; side++) {
        const int64_t base = at + (side ? chosen : 0), count = side ? places - chosen : chosen;
        hone_status status = count ? read_tokens(loader, side ? start + chosen + 1 : start, count, base, batch) : HONE_OK;
        if (status) return status;
        for (int64_t n = base; n < base + count; n++) {
            set_place(batch, n, base, loader->trained[n - base + 1]);
            if (batch->weight && side) batch->weight[n] *= -1;
            if (batch->pair) batch->pair[n] = (int32_t)batch->n_pairs;
        }
        if (batch->reference) batch->reference[2 * batch->n_pairs + side] = loader->reference ? loader->reference[document + side] : 0;
    }
    if (batch->document) batch->document[batch->n_pairs] = document;
    batch->n_pairs++;
    return HONE_OK;
}

static hone_status read_packed(hone_loader *loader, int64_t row, int64_t base, hone_batch *batch)
{
    const hone_packing *p = &loader->packing;
    const pieces of = pieces_of(loader, row);
    int64_t at = base;
    for (int64_t i = of.first; i < of.end; at += p->pairs[i++]) {
        hone_status status = loader->options.pairs ? read_pair(loader, p->start[i], p->pairs[i], at, batch) : read_tokens(loader, p->start[i], p->pairs[i], at, batch);
        if (status) return status;
        if (loader->options.pairs) continue;
        const int64_t begin = loader->options.isolation ? at : base;
        for (int64_t t = 0; t < p->pairs[i]; t++) set_place(batch, at + t, begin, !loader->trained || loader->trained[t + 1]);
    }
    pad(batch, at, base + loader->options.window);
    return HONE_OK;
}

hone_status hone_loader_read(hone_loader *loader, int64_t row, int64_t at, hone_batch *batch)
{
    const int64_t base = at * loader->options.window;
    return loader->packing.n_rows ? read_packed(loader, row, base, batch) : read_window(loader, row, base, batch);
}

hone_status hone_loader_next(hone_loader *loader, int64_t rows, hone_batch *batch)
{
    batch->trained = batch->n_pairs = 0;
    for (int64_t r = 0; r < rows; r++) {
        hone_status status = hone_loader_read(loader, loader->row + r, r, batch);
        if (status) return status;
    }
    loader->row += rows;
    return HONE_OK;
}

int64_t hone_loader_tokens_seen(const hone_loader *loader)
{
    return loader->row * loader->options.window;
}

const char *hone_loader_source(const hone_loader *loader)
{
    const char *path = loader->data.path, *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

double hone_loader_epochs(const hone_loader *loader)
{
    return (double)loader->row / (double)loader->windows;
}

double hone_loader_bytes_per_token(const hone_loader *loader)
{
    return (double)loader->data.n_bytes / (double)loader->data.n_tokens;
}
