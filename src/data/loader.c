// loader.c: see loader.h for which window a row is and what isolation means.
#include "data/loader.h"
#include "base/rng.h"

#include <inttypes.h>
#include <string.h>

hone_status hone_loader_open(hone_loader *loader, const hone_loader_options *options)
{
    int64_t T = options->window;
    *loader = (hone_loader){ .options = *options };
    if (T < 1) return hone_fail("a window of %" PRId64 " tokens: it must be positive", T);
    hone_status status = hone_dataset_open(&loader->data, options->path, options->split, options->vocab, options->tokenizer, options->eos);
    if (status) return status;
    loader->options.path = loader->data.path;
    int64_t n = loader->data.n_tokens;
    // `sequential` needs one token more: its starts are taken modulo n - T - 1
    int64_t least = options->order == HONE_ORDER_ONCE ? 2 : options->order == HONE_ORDER_SEQUENTIAL ? T + 2 : T + 1;
    if (n < least) {
        status = hone_fail("%s: its split \"%s\" has %" PRId64 " tokens, but one row of %" PRId64 " needs %" PRId64
                           "; use more text or a shorter cutoff_len", options->path, hone_split_name[options->split], n, T, least);
        goto out;
    }
    loader->windows = options->order == HONE_ORDER_ONCE ? (n - 2) / T + 1 : (n - 1) / T;
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
    hone_free(loader->scratch);
    hone_free(loader->trained);
    hone_free(loader->ends);
    *loader = (hone_loader){ 0 };
}

int64_t hone_loader_start(const hone_loader *loader, int64_t row)
{
    int64_t T = loader->options.window, n = loader->data.n_tokens, epoch;
    switch (loader->options.order) {
    case HONE_ORDER_SEQUENTIAL: return row * T % (n - T - 1);
    case HONE_ORDER_SHUFFLED:
        epoch = row / loader->windows;
        return hone_rng_permute(loader->options.seed, HONE_RNG_ORDER, loader->options.stream << 20 | ((uint32_t)epoch & 0xfffff), loader->windows, row % loader->windows) * T;
    default: return row < loader->windows ? row * T : n - 1;
    }
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

static void fill_row(hone_loader *loader, int64_t start, int64_t count, int64_t base, hone_batch *batch)
{
    int64_t T = loader->options.window;
    const int32_t *x = loader->scratch;
    int64_t n_ends = loader->options.isolation ? find_ends(loader, start, count) : 0, e = 0, begin = 0;
    if (batch->ids) memcpy(batch->ids + base, x, (size_t)count * sizeof *x);
    if (batch->target) memcpy(batch->target + base, x + 1, (size_t)count * sizeof *x);
    for (int64_t t = 0; t < T; t++) {
        int64_t n = base + t;
        bool padding = t >= count, closes = false;
        if (padding) {
            begin = t;
            if (batch->ids) batch->ids[n] = 0;
            if (batch->target) batch->target[n] = 0;
        } else {
            while (e < n_ends && loader->ends[e] <= t) begin = loader->ends[e++];
            closes = e < n_ends && loader->ends[e] == t + 1;
        }
        bool trained = !padding && !closes && (!loader->trained || loader->trained[t + 1]);
        if (batch->pos) batch->pos[n] = (int32_t)(t - begin);
        if (batch->lo) batch->lo[n] = (int32_t)(base + begin);
        if (batch->hi) batch->hi[n] = (int32_t)(n + 1);
        if (batch->weight) batch->weight[n] = trained ? 1.0f : 0.0f;
        batch->trained += trained;
    }
}

hone_status hone_loader_read(hone_loader *loader, int64_t row, int64_t at, hone_batch *batch)
{
    int64_t T = loader->options.window, n = loader->data.n_tokens, start = hone_loader_start(loader, row);
    int64_t count = n - 1 - start < T ? n - 1 - start : T; // inputs that have a next token
    hone_status status = count ? hone_dataset_read(&loader->data, start, count + 1, loader->scratch) : HONE_OK;
    if (!status && count && loader->trained) status = hone_dataset_read_trained(&loader->data, start, count + 1, loader->trained);
    if (!status) fill_row(loader, start, count, at * T, batch);
    return status;
}

hone_status hone_loader_next(hone_loader *loader, int64_t rows, hone_batch *batch)
{
    batch->trained = 0;
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
