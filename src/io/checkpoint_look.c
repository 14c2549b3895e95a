// checkpoint_look.c: see checkpoint_look.h. Tensors are read in pieces of fixed size, so a checkpoint of any size takes
// little memory.
#include "io/checkpoint_look.h"
#include "base/memory.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 16 };
static const char *const FILES[] = { "model.safetensors", "optimizer.safetensors" }, ADAPTER[] = "adapter_model.safetensors";

// The tensors of a folder's file; the weights may be spread over several. *there false: it has no such file.
static hone_status open_set(hone_safetensors *set, const char *folder, int which, bool *there)
{
    *set = (hone_safetensors){ 0 };
    *there = true;
    char *path = hone_path_join(folder, which ? FILES[which] : ADAPTER);
    if (!path) return HONE_FAILED;
    const bool has = hone_file_exists(path);
    *there = has || which == 0;
    hone_status status = has ? hone_safetensors_open(set, path) : which == 0 ? hone_safetensors_open_folder(set, folder) : HONE_OK;
    hone_free(path);
    return status;
}

static hone_status check_tensor(const hone_safetensors *set, const hone_safetensor *t, float *piece)
{
    if (!hone_safetensor_converts(t, HONE_f32)) return HONE_OK;   // integers: always numbers
    for (int64_t first = 0; first < t->count; first += PIECE) {
        int64_t n = t->count - first < PIECE ? t->count - first : PIECE;
        hone_safetensor_read(set, t, first, n, HONE_f32, piece);
        for (int64_t i = 0; i < n; i++)
            if (!isfinite(piece[i]))
                return hone_fail("%s: element %" PRId64 " of %s is %g", hone_safetensor_path(set, t), first + i, t->name, isnan(piece[i]) ? (double)NAN : (double)piece[i]);
    }
    return HONE_OK;
}

hone_status hone_checkpoint_check_finite(const char *path)
{
    float *piece = hone_alloc(PIECE, sizeof *piece);
    hone_status status = piece ? HONE_OK : HONE_FAILED;
    for (int which = 0; which < 2 && !status; which++) {
        hone_safetensors set;
        bool there;
        status = open_set(&set, path, which, &there);
        for (int64_t i = 0; i < set.count && !status; i++) status = check_tensor(&set, &set.tensor[i], piece);
        hone_safetensors_close(&set);
    }
    hone_free(piece);
    return status;
}

// Differences ---------------------------------------------------------------------------------------------------------

typedef struct { hone_checkpoint_difference *out; int64_t capacity; float *piece[2]; double square, square_diff; } comparison;

static hone_tensor_difference *add(comparison *c, const hone_safetensor *t, int which, const char *only)
{
    if (hone_grow(&c->out->tensor, c->out->count, &c->capacity, sizeof *c->out->tensor)) return NULL;
    hone_tensor_difference *d = &c->out->tensor[c->out->count];
    *d = (hone_tensor_difference){ .name = hone_strdup(t->name), .file = FILES[which], .only = only, .count = t->count };
    if (!d->name) return NULL;
    c->out->count++;
    return d;
}

static bool same_form(const hone_safetensor *a, const hone_safetensor *b)
{
    bool same = a->rank == b->rank;
    for (int d = 0; same && d < a->rank; d++) same = a->dim[d] == b->dim[d];
    return same && hone_safetensor_converts(a, HONE_f32) && hone_safetensor_converts(b, HONE_f32);
}

static hone_status compare_tensors(comparison *c, const hone_safetensors *set_a, const hone_safetensor *a, const hone_safetensors *set_b,
                                   const hone_safetensor *b, int which)
{
    double square = 0, square_diff = 0, largest = 0;
    int64_t differing = 0;
    for (int64_t first = 0; first < a->count; first += PIECE) {
        int64_t n = a->count - first < PIECE ? a->count - first : PIECE;
        hone_safetensor_read(set_a, a, first, n, HONE_f32, c->piece[0]);
        hone_safetensor_read(set_b, b, first, n, HONE_f32, c->piece[1]);
        for (int64_t i = 0; i < n; i++) {
            float x = c->piece[0][i], y = c->piece[1][i];
            uint32_t x_bits, y_bits; // differing bits count, of NaN and of zeros too
            memcpy(&x_bits, &x, sizeof x);
            memcpy(&y_bits, &y, sizeof y);
            double delta = (double)x - (double)y;
            differing += x_bits != y_bits;
            square += (double)x * (double)x;
            square_diff += delta * delta;
            if (!(fabs(delta) <= largest)) largest = fabs(delta);   // NaN counts
        }
    }
    if (which == 0) {
        c->square += square;
        c->square_diff += square_diff;
    }
    if (differing == 0) { c->out->equal++; return HONE_OK; }
    hone_tensor_difference *d = add(c, a, which, NULL);
    if (!d) return HONE_FAILED;
    d->differing = differing;
    d->largest = largest;
    d->relative = square > 0 ? sqrt(square_diff / square) : INFINITY;
    return HONE_OK;
}

static hone_status compare_sets(comparison *c, const hone_safetensors *a, const hone_safetensors *b, int which)
{
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < a->count && !status; i++) {
        const hone_safetensor *t = &a->tensor[i], *other = hone_safetensors_find(b, t->name);
        const char *only = !other ? "first" : !same_form(t, other) ? "shape" : NULL;
        if (only) status = add(c, t, which, only) ? HONE_OK : HONE_FAILED;
        else status = compare_tensors(c, a, t, b, other, which);
    }
    for (int64_t i = 0; i < b->count && !status; i++)
        if (!hone_safetensors_find(a, b->tensor[i].name)) status = add(c, &b->tensor[i], which, "second") ? HONE_OK : HONE_FAILED;
    return status;
}

static int by_difference(const void *x, const void *y)
{
    const hone_tensor_difference *a = x, *b = y;
    if (!a->only != !b->only) return a->only ? -1 : 1;
    if (a->relative != b->relative) return a->relative < b->relative ? 1 : -1;
    return strcmp(a->name, b->name);
}

hone_status hone_checkpoint_diff(const char *a, const char *b, hone_checkpoint_difference *out)
{
    *out = (hone_checkpoint_difference){ 0 };
    comparison c = { .out = out, .piece = { hone_alloc(PIECE, sizeof(float)), hone_alloc(PIECE, sizeof(float)) } };
    hone_status status = c.piece[0] && c.piece[1] ? HONE_OK : HONE_FAILED;
    for (int which = 0; which < 2 && !status; which++) {
        hone_safetensors set_a, set_b = { 0 };
        bool there_a, there_b = false;
        status = open_set(&set_a, a, which, &there_a);
        if (!status) status = open_set(&set_b, b, which, &there_b);
        if (!status && there_a && there_b) status = compare_sets(&c, &set_a, &set_b, which);
        hone_safetensors_close(&set_a);
        hone_safetensors_close(&set_b);
    }
    out->relative = c.square > 0 ? sqrt(c.square_diff / c.square) : 0;
    if (out->count > 1) qsort(out->tensor, (size_t)out->count, sizeof *out->tensor, by_difference);
    hone_free(c.piece[0]);
    hone_free(c.piece[1]);
    if (status) hone_checkpoint_difference_release(out);
    return status;
}

void hone_checkpoint_difference_release(hone_checkpoint_difference *d)
{
    for (int64_t i = 0; i < d->count; i++) hone_free(d->tensor[i].name);
    hone_free(d->tensor);
    *d = (hone_checkpoint_difference){ 0 };
}
