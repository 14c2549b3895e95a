// op_spoil.c: a backend that does its work and then damages it, one kind of damage at a time (see op_harness.h).
#include "backend/ref/ref.h"
#include "support/op_harness.h"
#include <stdlib.h>
#include <string.h>

const char *const op_spoil_name[SPOIL_COUNT] = { "nothing", "x 1.01", "last tile skipped", "term dropped", "not accumulated",
                                                 "writes behind the live rows", "last bit" };

bool op_spoil_applies(const op_trial *t, op_spoil spoil, int i)
{
    const hone_operand *o = i < HONE_MAX_IN ? &t->args.in[i] : &t->args.out[i - HONE_MAX_IN];
    const hone_operand_spec *spec = i < HONE_MAX_IN ? &t->info->in[i] : &t->info->out[i - HONE_MAX_IN];
    if (!o->present) return false;
    if (i < HONE_MAX_IN) return spoil == SPOIL_DROP && spec->optional && strcmp(spec->name, "slot") && strcmp(spec->name, "table");
    switch (spoil) {
    case SPOIL_DROP: return spec->optional;
    case SPOIL_OVERWRITE: return spec->update;
    case SPOIL_BEYOND: return o->live && *o->live < o->dim[0];
    default: return spoil != SPOIL_NOTHING;
    }
}

// Of the whole operand, live or not.
static size_t bytes_of(const hone_operand *o)
{
    size_t bytes = hone_dtype_bytes(o->dtype);
    for (int r = 0; r < o->rank; r++) bytes *= (size_t)o->dim[r];
    return bytes;
}

static void spoil_after(const op_spoiler *s, const hone_operand *o, const void *before)
{
    size_t row_bytes = bytes_of(o) / (size_t)o->dim[0];
    int64_t rows = hone_rows(o), first = rows > 8 ? rows - 8 : 0, n = count(o);
    if (s->spoil == SPOIL_SCALE)
        for (int64_t k = 0; k < n; k++) put(o, k, get(o, k) * 1.01);
    if (s->spoil == SPOIL_SKIP)
        memcpy((char *)o->data + (size_t)first * row_bytes, (const char *)before + (size_t)first * row_bytes, (size_t)(rows - first) * row_bytes);
    if (s->spoil == SPOIL_DROP) memcpy(o->data, before, (size_t)rows * row_bytes);
    if (s->spoil == SPOIL_BEYOND) put(o, n, 0);
    if (s->spoil == SPOIL_ULP && n > 0) ((uint8_t *)o->data)[(size_t)(n - 1) * hone_dtype_bytes(o->dtype)] ^= 1;
}

static void spoiler_run(void *self, const hone_args *args, void *handle, int stream)
{
    const op_spoiler *s = self;
    if ((s->only && s->only != args) || s->spoil == SPOIL_NOTHING) {
        s->backend->run(s->self, args, handle, stream);
        return;
    }
    hone_args changed = *args;
    if (s->operand < HONE_MAX_IN) { // SPOIL_DROP of an input
        changed.in[s->operand] = (hone_operand){ 0 };
        s->backend->run(s->self, &changed, handle, stream);
        return;
    }
    hone_operand *o = &changed.out[s->operand - HONE_MAX_IN];
    size_t bytes = bytes_of(o);
    void *before = malloc(bytes);
    HONE_ASSERT(before, "no memory for %zu bytes", bytes);
    memcpy(before, o->data, bytes);
    if (s->spoil == SPOIL_OVERWRITE) memset(o->data, 0, bytes);
    s->backend->run(s->self, &changed, handle, stream);
    spoil_after(s, o, before);
    free(before);
}

static bool spoiler_supports(void *self, const hone_args *args, const char **why_not)
{
    const op_spoiler *s = self;
    return s->backend->supports(s->self, args, why_not);
}

static size_t spoiler_workspace_bytes(void *self, const hone_args *args)
{
    const op_spoiler *s = self;
    return s->backend->workspace_bytes(s->self, args);
}

const hone_backend op_spoiler_backend = {
    .abi = HONE_BACKEND_ABI,
    .name = "spoiler",
    .supports = spoiler_supports,
    .workspace_bytes = spoiler_workspace_bytes,
    .run = spoiler_run,
};
