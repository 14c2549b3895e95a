// op_harness.c: makes, runs and judges trials (op_harness.h). In order: operands from the row, structure where an op wants
// it (the hooks), variants, running, judging. The damage that controls do is in op_spoil.c.
#include "support/op_harness.h"
#include "backend/ref/ref.h"
#include "base/rng.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD_BYTES = 64, GUARD = 0xa5, SLOTS = 3, BLOCKS = 5 };

// -- making a trial ---------------------------------------------------------------------------------------------------

static const hone_operand_spec *spec_of(const op_trial *t, int i)
{
    return i < HONE_MAX_IN ? &t->info->in[i] : &t->info->out[i - HONE_MAX_IN];
}

hone_operand *op_trial_operand(op_trial *t, int i)
{
    return i < HONE_MAX_IN ? &t->args.in[i] : &t->args.out[i - HONE_MAX_IN];
}

static const hone_operand *operand_of(const op_trial *t, int i)
{
    return i < HONE_MAX_IN ? &t->args.in[i] : &t->args.out[i - HONE_MAX_IN];
}

// The rows that a live count cuts: token rows N, or the picked rows R of gather_rows: dimension 0 of the first operand
// that is written whole, else of the first input.
static const char *row_symbol(const hone_op_info *info)
{
    const char *symbol = info->out[0].update ? info->in[0].dim[0] : info->out[0].dim[0];
    return strcmp(symbol, "N") && strcmp(symbol, "R") ? "" : symbol;
}

bool op_operand_is_rows(const op_trial *t, int i)
{
    const hone_operand_spec *spec = spec_of(t, i);
    return *row_symbol(t->info) && spec->rank > 0 && !strcmp(spec->dim[0], row_symbol(t->info));
}

static int64_t symbol(const op_trial *t, const char *name)
{
    int64_t value = 0;
    HONE_ASSERT(hone_binding_eval(&t->binding, name, &value) == HONE_OK, "%s: %s", t->label, hone_error());
    return value;
}

static void bind_case(op_trial *t)
{
    char names[80], *at = names;
    snprintf(names, sizeof names, "%s", t->info->case_symbols);
    const int64_t *values = t->info->cases + 8 * t->variant.number;
    for (char *name = strtok_r(at, " ", &at); name; name = strtok_r(NULL, " ", &at))
        HONE_ASSERT(hone_binding_set(&t->binding, name, *values++) == HONE_OK, "%s", hone_error());
    // Sizes that only optional operands show are no part of the cases.
    int64_t unused;
    if (hone_binding_eval(&t->binding, "S", &unused) != HONE_OK) hone_binding_set(&t->binding, "S", SLOTS);
    if (hone_binding_eval(&t->binding, "B", &unused) != HONE_OK) hone_binding_set(&t->binding, "B", BLOCKS);
}

static int32_t symbol_or_0(const op_trial *t, const char *name)
{
    int64_t value;
    return hone_binding_eval(&t->binding, name, &value) == HONE_OK ? (int32_t)value : 0;
}

// One value for every attribute that any op reads; hooks change what an op's kinds are about.
static void set_attributes(op_trial *t)
{
    int32_t H = symbol_or_0(t, "H"), G = symbol_or_0(t, "G"), D = symbol_or_0(t, "D");
    t->args.op = t->variant.op;
    t->args.attr = (hone_attr){
        .heads = H, .kv_heads = G, .head_dim = D, .k_col = H * D, .v_col = (H + G) * D, .form = HONE_FORM_PLAIN,
        .dtype = t->variant.real, .scale = D ? 1 / sqrtf((float)D) : 0, .eps = 1e-5f, .beta1 = 0.9f, .beta2 = 0.99f,
        .decay = 0.1f, .max_norm = 1, .rate = 0.3f,
    };
}

static void *block_new(size_t bytes)
{
    void *block = aligned_alloc(64, (bytes + GUARD_BYTES + 63) / 64 * 64);
    HONE_ASSERT(block, "no memory for %zu bytes", bytes);
    memset(block, 0xff, bytes); // NaN in every dtype
    memset((char *)block + bytes, GUARD, GUARD_BYTES);
    return block;
}

static int64_t count_of(const hone_operand *o) // by bounds
{
    int64_t n = 1;
    for (int r = 0; r < o->rank; r++) n *= o->dim[r];
    return n;
}

static int64_t row_size(const hone_operand *o) { return o->dim[0] ? count_of(o) / o->dim[0] : 0; }

static void make_operand(op_trial *t, int i)
{
    const hone_operand_spec *spec = spec_of(t, i);
    hone_operand *o = op_trial_operand(t, i);
    o->rank = spec->rank;
    for (int r = 0; r < spec->rank; r++) o->dim[r] = symbol(t, spec->dim[r]);
    bool real = spec->any_float || spec->dtype == HONE_f32;
    o->dtype = !real ? spec->dtype : spec->any_float && t->variant.half >> i & 1 ? HONE_bf16 : t->variant.real;
    o->present = true;
    t->bytes[i] = (size_t)count_of(o) * hone_dtype_bytes(o->dtype);
    t->block[i] = o->data = block_new(t->bytes[i]);
}

static uint32_t stream_of(const op_trial *t, int i) { return (uint32_t)(t->variant.op * 64 + i); }

// N(0, 1): element k of a stream, from one table that is drawn once (thousands of trials draw millions).
static double normal(uint32_t stream, int64_t k)
{
    enum { COUNT = 65521 };
    static double table[COUNT];
    for (int64_t i = 0; table[0] == 0 && i < COUNT; i++) table[COUNT - 1 - i] = hone_rng_normal(1, HONE_RNG_TEST, 0, (uint64_t)i);
    return table[((int64_t)stream * 7919 + k) % COUNT];
}

static void fill_operand(op_trial *t, int i)
{
    const hone_operand_spec *spec = spec_of(t, i);
    hone_operand *o = op_trial_operand(t, i);
    int64_t below = *spec->below ? symbol(t, spec->below) : 1000;
    for (int64_t k = 0; k < count_of(o); k++) {
        if (o->dtype == HONE_i32)
            ((int32_t *)o->data)[k] = (int32_t)((double)below * hone_rng_uniform(1, HONE_RNG_TEST, stream_of(t, i), (uint64_t)k));
        else if (o->dtype == HONE_u8) put(o, k, floor(256 * hone_rng_uniform(1, HONE_RNG_TEST, stream_of(t, i), (uint64_t)k)));
        else put(o, k, normal(stream_of(t, i), k));
    }
}

// Rows behind the live ones: NaN, and an index that no table has.
static void poison_operand(op_trial *t, int i)
{
    hone_operand *o = op_trial_operand(t, i);
    if (!o->live) return;
    for (int64_t k = t->live * row_size(o); k < count_of(o); k++) {
        if (o->dtype == HONE_i32) ((int32_t *)o->data)[k] = INT32_MAX;
        else put(o, k, (double)NAN);
    }
}

// -- structure, where an op wants it ----------------------------------------------------------------------------------

static int operand_named(const hone_op_info *info, const char *name)
{
    for (int i = 0; i < info->n_in; i++)
        if (!strcmp(info->in[i].name, name)) return i;
    for (int i = 0; i < info->n_out; i++)
        if (!strcmp(info->out[i].name, name)) return HONE_MAX_IN + i;
    return -1;
}

static hone_operand *named(op_trial *t, const char *name)
{
    int i = operand_named(t->info, name);
    HONE_ASSERT(i >= 0, "%s has no operand %s", t->info->name, name);
    return op_trial_operand(t, i);
}

static void scale_by(hone_operand *o, double factor)
{
    for (int64_t k = 0; k < count_of(o); k++) put(o, k, get(o, k) * factor);
}

static void make_positive(hone_operand *o)
{
    for (int64_t k = 0; k < count_of(o); k++) put(o, k, get(o, k) * get(o, k));
}

static void share_kv(op_trial *t)
{
    int q = operand_named(t->info, "q"), kv = operand_named(t->info, "kv");
    free(t->block[kv]);
    t->block[kv] = NULL;
    t->args.in[kv] = t->args.in[q];
    t->args.same_kv = true;
}

// What row n of N sees, by kind: [lo, hi) of R keys.
//   whole     all rows before it and itself
//   packed    groups of rows (half of them each where N is even), in them documents of 1, 2, 3 ... rows
//   ranges    runs of four rows: an empty range, then growing ones that neither start at 0 nor are causal
//   paged     runs of rows of one slot, each seeing what its slot has so far
enum { KIND_WHOLE, KIND_PACKED, KIND_WINDOW, KIND_CAPPED, KIND_RANGES, KIND_PAGED, KIND_PAGED_CAPPED, KIND_ATTENTION_COUNT };

static void fill_packed(op_trial *t, int32_t *lo, int32_t *hi, int32_t N)
{
    int32_t group = N % 2 ? N : N / 2, start = 0, length = 1;
    t->args.attr.group_rows = group < N ? group : 0;
    for (int32_t n = 0; n < N; n++) {
        if (n % group == 0 || n == start + length) length = n % group == 0 ? 1 : length + 1, start = n;
        lo[n] = start;
        hi[n] = n + 1;
    }
}

static void fill_ranges(int32_t *lo, int32_t *hi, int32_t N, int32_t R)
{
    int32_t runs = (N + 3) / 4;
    for (int32_t n = 0; n < N; n++) {
        int32_t first = n / 4 * R / runs, next = (n / 4 + 1) * R / runs;
        lo[n] = first;
        hi[n] = first + (next - first) * (n % 4) / 3;
    }
}

static void fill_paged(op_trial *t, int32_t *lo, int32_t *hi, int32_t N, int32_t R)
{
    int32_t block = R / 8 > 0 ? R / 8 : 1, *slot = named(t, "slot")->data, *table = named(t, "table")->data;
    t->args.attr.block = block;
    for (int32_t i = 0; i < SLOTS * BLOCKS; i++) // slots share some blocks: a common prefix
        table[i] = (int32_t)(hone_rng_uniform(2, HONE_RNG_TEST, 0, (uint64_t)i) * (R / block));
    for (int32_t n = 0; n < N; n++) {
        int32_t part = (N + SLOTS - 1) / SLOTS, seen = n % part + 1 + n / part;
        slot[n] = n / part;
        lo[n] = 0;
        hi[n] = seen < BLOCKS * block ? seen : BLOCKS * block;
    }
}

static bool fill_attention(op_trial *t)
{
    int kind = t->variant.kind;
    bool back = t->variant.op == HONE_OP_attention_back;
    bool paged = !back && named(t, "slot")->present, half = !back && paged != named(t, "table")->present;
    if (half || paged != (kind >= KIND_PAGED) || (back && named(t, "dkv")->present != (kind == KIND_RANGES))) return false;
    int32_t *lo = named(t, "lo")->data, *hi = named(t, "hi")->data;
    int32_t N = (int32_t)symbol(t, "N"), R = (int32_t)symbol(t, "R");
    if (kind == KIND_CAPPED || kind == KIND_PAGED_CAPPED) t->args.attr.cap = 1.5f;
    if (kind == KIND_WHOLE || kind == KIND_CAPPED)
        for (int32_t n = 0; n < N; n++) lo[n] = 0, hi[n] = n + 1;
    if (kind == KIND_PACKED || kind == KIND_WINDOW) fill_packed(t, lo, hi, N);
    if (kind == KIND_WINDOW) t->args.attr.window = 5;
    if (kind == KIND_RANGES) fill_ranges(lo, hi, N, R);
    if (kind >= KIND_PAGED) fill_paged(t, lo, hi, N, R);
    if (kind <= KIND_CAPPED) share_kv(t);
    return true;
}

static bool fill_kv_write(op_trial *t)
{
    int32_t *rows = named(t, "rows")->data;
    for (int64_t n = 0; n < symbol(t, "N"); n++) // a cache row is written once
        rows[n] = (int32_t)hone_rng_permute(1, HONE_RNG_TEST, 0, symbol(t, "R"), n);
    t->args.attr.k_col = (int32_t)(symbol(t, "P") - symbol(t, "Q"));
    return true;
}

static bool fill_rope_table(op_trial *t)
{
    int64_t J = symbol(t, "J");
    for (int64_t n = 0; n < symbol(t, "N"); n++) ((int32_t *)named(t, "pos")->data)[n] = n % 3 ? (int32_t)n : (int32_t)(4000 - n);
    for (int64_t j = 0; j < J; j++) put(named(t, "freq"), j, pow(10000, -(double)j / (double)J));
    return true;
}

static bool fill_scale(op_trial *t)
{
    t->args.attr.scale = t->variant.kind ? -0.375f : 12;
    return true;
}

static bool fill_rope(op_trial *t)
{
    t->args.attr.inverse = t->variant.kind;
    return true;
}

// Products as they are, of operands rounded to bf16, and of 8-bit integers.
static bool multiply_in(op_trial *t, int kind)
{
    if (t->variant.real == HONE_f64 && kind) return false; // rounding has no derivative to compare with
    if (t->variant.live && kind) return false;             // live rows are no other with bf16: time is better spent
    t->args.attr.product = (hone_dtype[]){ HONE_f32, HONE_bf16, HONE_int8 }[kind];
    return true;
}

static bool fill_product(op_trial *t) { return multiply_in(t, t->variant.kind); }

// Parts of uneven sizes, a gap between each two where the weight has rows to spare.
static bool fill_lora(op_trial *t)
{
    hone_attr *attr = &t->args.attr;
    const int32_t E = (int32_t)symbol(t, "E"), M = (int32_t)symbol(t, "M"), U = attr->parts = (int32_t)symbol(t, "U");
    int32_t left = E, at = 0;
    for (int32_t u = 0; u < U; u++) {
        attr->part_rows[u] = u == U - 1 ? left : left / 2 + 1;
        attr->part_col[u] = at;
        left -= attr->part_rows[u];
        at += attr->part_rows[u] + (U > 1 ? (M - E) / (U - 1) : 0);
    }
    attr->scale = 0.7f;
    return fill_product(t);
}

// Logits of order 1, so that no probability is all or nothing; and, in the smaller cases, with a cap. Every third row's weight is 0.
static bool fill_head(op_trial *t)
{
    const bool capped = t->variant.kind == 2;
    if (capped ? t->variant.number > 1 : !multiply_in(t, t->variant.kind)) return false;
    t->args.attr.cap = capped ? 1.5f : 0; // from nearly linear to nearly flat
    scale_by(named(t, "w"), 1 / sqrt((double)symbol(t, "C")));
    for (int64_t n = 0; t->variant.op == HONE_OP_linear_xent && n < symbol(t, "N"); n++)
        put(named(t, "weight"), n, n % 3 == 1 ? 0 : 0.5 + hone_rng_uniform(1, HONE_RNG_TEST, 1, (uint64_t)n));
    return true;
}

static bool fill_softcap(op_trial *t)
{
    t->args.attr.cap = 1.5f;
    return true;
}

static bool fill_norm(op_trial *t)
{
    t->args.attr.base = (float)t->variant.kind;
    return t->variant.kind == 0 || t->variant.number == 1;
}

// Stores an output in bf16, its old content (random, where it has any) with it.
static void store_in_bf16(op_trial *t, const char *name)
{
    const int i = operand_named(t->info, name);
    hone_operand *o = op_trial_operand(t, i), wide = *o;
    o->dtype = HONE_bf16;
    t->bytes[i] = (size_t)count_of(o) * hone_dtype_bytes(o->dtype);
    o->data = block_new(t->bytes[i]);
    for (int64_t k = 0; spec_of(t, i)->update && k < count_of(o); k++) put(o, k, get(&wide, k));
    free(t->block[i]);
    t->block[i] = o->data;
}

// Keeps an input in blocks. False: its rows are no whole ones.
static bool keep_in_blocks(op_trial *t, const char *name, hone_dtype dtype)
{
    const int i = operand_named(t->info, name);
    hone_operand *o = op_trial_operand(t, i);
    const int64_t count = count_of(o), K = o->dim[1];
    if (o->dtype == HONE_bf16) return true;     // a variant that stores it so
    if (o->dtype != HONE_f32 || K % hone_blocks_about(hone_dtype_blocks(dtype))->elements) return false;
    t->bytes[i] = (size_t)hone_dtype_size(dtype, count);
    void *data = block_new(t->bytes[i]);
    hone_blocks_encode(hone_dtype_blocks(dtype), o->data, count, data);
    free(t->block[i]);
    t->block[i] = o->data = data;
    o->dtype = dtype;
    return true;
}

enum { PACK_FIRST_BLOCKS = 2 };     // kinds: a copy, to bf16, then of each kind of blocks
static bool fill_pack(op_trial *t)
{
    if (t->variant.kind == 0) return true;
    if (t->variant.kind >= PACK_FIRST_BLOCKS) return keep_in_blocks(t, "w", (hone_dtype)(HONE_q4_0 + t->variant.kind - PACK_FIRST_BLOCKS));
    t->args.attr.dtype = HONE_bf16;
    store_in_bf16(t, "f");
    return true;
}

static bool fill_clip_factor(op_trial *t)
{
    make_positive(named(t, "parts"));
    t->args.attr.max_norm = (float[]){ 0, 0.125f, 1e6f }[t->variant.kind]; // never, active, not reached
    return true;
}

static void fill_step(op_trial *t) // of step 2
{
    for (int i = 0; i < 5; i++) put(named(t, "hyper"), i, (double[]){ 0.01, 0.19, 0.0199, 0.02, 2 }[i]);
    t->args.attr.stream = 7;
}

static bool fill_adamw(op_trial *t)
{
    make_positive(named(t, "v"));
    if (t->variant.kind) store_in_bf16(t, "m"), store_in_bf16(t, "v");
    for (int i = 0; i < 2; i++) put(named(t, "norm"), i, (double[]){ 3.7, 0.31 }[i]);
    fill_step(t);
    return true;
}

static bool fill_adamw8(op_trial *t)
{
    make_positive(named(t, "scale"));
    for (int i = 0; i < 2; i++) put(named(t, "norm"), i, (double[]){ 3.7, 0.31 }[i]);
    fill_step(t);
    return true;
}

static bool fill_momentum(op_trial *t)
{
    if (t->variant.kind) store_in_bf16(t, "m");
    fill_step(t);
    return true;
}

// A Gram matrix (symmetric) and its size.
static bool fill_gram_poly(op_trial *t)
{
    hone_operand *s = named(t, "s");
    int64_t A = symbol(t, "A");
    double squares = 0;
    for (int64_t i = 0; i < A; i++)
        for (int64_t j = 0; j < i; j++) put(s, j * A + i, get(s, i * A + j));
    for (int64_t i = 0; i < A * A; i++) squares += get(s, i) * get(s, i);
    put(named(t, "size"), 0, sqrt(squares));
    memcpy(t->args.attr.poly, (float[]){ 0.5f, -3, 40 }, sizeof t->args.attr.poly); // parts of like size
    return fill_product(t);
}

static bool fill_muon(op_trial *t)
{
    make_positive(named(t, "size"));
    fill_step(t);
    return true;
}

static const struct { int kinds; bool (*fill)(op_trial *); } hook[HONE_OP_COUNT] = {
    [HONE_OP_attention] = { KIND_ATTENTION_COUNT, fill_attention },
    [HONE_OP_attention_back] = { KIND_PAGED, fill_attention },
    [HONE_OP_kv_write] = { 1, fill_kv_write },
    [HONE_OP_rope_table] = { 1, fill_rope_table },
    [HONE_OP_rope] = { 2, fill_rope },
    [HONE_OP_scale] = { 2, fill_scale },
    [HONE_OP_linear] = { 3, fill_product },
    [HONE_OP_linear_dx] = { 3, fill_product },
    [HONE_OP_linear_dw] = { 3, fill_product },
    [HONE_OP_lora_linear] = { 3, fill_lora },
    [HONE_OP_lora_dt] = { 3, fill_lora },
    [HONE_OP_lora_dw] = { 3, fill_lora },
    [HONE_OP_linear_xent] = { 3, fill_head },
    [HONE_OP_linear_logprob] = { 3, fill_head },
    [HONE_OP_softcap] = { 1, fill_softcap },
    [HONE_OP_rmsnorm] = { 2, fill_norm },
    [HONE_OP_rmsnorm_back] = { 2, fill_norm },
    [HONE_OP_layernorm] = { 2, fill_norm },
    [HONE_OP_layernorm_back] = { 2, fill_norm },
    [HONE_OP_qk_norm] = { 2, fill_norm },
    [HONE_OP_qk_norm_back] = { 2, fill_norm },
    [HONE_OP_pack] = { PACK_FIRST_BLOCKS + HONE_DTYPE_COUNT - HONE_q4_0, fill_pack },
    [HONE_OP_clip_factor] = { 3, fill_clip_factor },
    [HONE_OP_adamw] = { 2, fill_adamw },
    [HONE_OP_adamw8] = { 1, fill_adamw8 },
    [HONE_OP_momentum] = { 2, fill_momentum },
    [HONE_OP_gram] = { 2, fill_product },
    [HONE_OP_gram_columns] = { 2, fill_product },
    [HONE_OP_gram_poly] = { 2, fill_gram_poly },
    [HONE_OP_muon] = { 1, fill_muon },
};

// What "<op>_back" reads of <op>'s results is made by running <op> on operands of the same names.
static void fill_from_forward(op_trial *t)
{
    size_t length = strlen(t->info->name);
    hone_args forward = { .attr = t->args.attr, .same_kv = t->args.same_kv };
    void *scratch[HONE_MAX_OUT] = { 0 };
    if (length < 5 || strcmp(t->info->name + length - 5, "_back")) return;
    const hone_op_info *info = NULL;
    for (int op = 0; op < HONE_OP_COUNT && !info; op++) {
        const hone_op_info *other = hone_op_get((hone_op)op);
        if (strlen(other->name) == length - 5 && !strncmp(other->name, t->info->name, length - 5))
            info = other, forward.op = (hone_op)op;
    }
    HONE_ASSERT(info, "%s has no forward op", t->info->name);
    for (int i = 0; i < info->n_in; i++) {
        int same = operand_named(t->info, info->in[i].name);
        if (same >= 0) forward.in[i] = *op_trial_operand(t, same);
        HONE_ASSERT(same >= 0 || info->in[i].optional || info->in[i].rank == 1, "%s lacks %s", t->info->name, info->in[i].name);
        if (same >= 0 || info->in[i].optional) continue;
        forward.in[i] = *named(t, "g"); // a bias, which no result that the backward reads depends on
    }
    for (int i = 0; i < info->n_out; i++) {
        int same = operand_named(t->info, info->out[i].name);
        if (same >= 0) { forward.out[i] = *op_trial_operand(t, same); continue; }
        hone_operand *o = &forward.out[i];
        *o = (hone_operand){ .rank = info->out[i].rank, .dtype = HONE_f64, .present = true };
        for (int r = 0; r < o->rank; r++) o->dim[r] = symbol(t, info->out[i].dim[r]);
        o->data = scratch[i] = block_new((size_t)count_of(o) * sizeof(double));
    }
    forward.workspace = block_new(hone_backend_ref.workspace_bytes(NULL, &forward));
    hone_backend_ref.run(NULL, &forward, NULL, 0);
    free(forward.workspace);
    for (int i = 0; i < HONE_MAX_OUT; i++) free(scratch[i]);
}

static bool make(op_trial *t, const op_variant *variant)
{
    *t = (op_trial){ .variant = *variant, .info = hone_op_get(variant->op) };
    int length = snprintf(t->label, sizeof t->label, "%s case %d kind %d optional %x%s%s", t->info->name, variant->number, variant->kind,
                          variant->present, variant->live ? " live" : "", variant->half ? " bf16" : "");
    for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT; i++)
        if (variant->half >> i & 1) length += snprintf(t->label + length, sizeof t->label - (size_t)length, " %s", spec_of(t, i)->name);
    bind_case(t);
    set_attributes(t);
    int optional = 0;
    for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT; i++) {
        bool exists = i < HONE_MAX_IN ? i < t->info->n_in : i - HONE_MAX_IN < t->info->n_out;
        if (!exists || (spec_of(t, i)->optional && !(variant->present >> optional++ & 1))) continue;
        make_operand(t, i);
        if (i < HONE_MAX_IN || spec_of(t, i)->update) fill_operand(t, i);
        if (!variant->live || !op_operand_is_rows(t, i)) continue;
        t->live = (int32_t)(symbol(t, row_symbol(t->info)) * 2 / 3);
        op_trial_operand(t, i)->live = &t->live;
    }
    if (hook[variant->op].fill && !hook[variant->op].fill(t)) return false;
    for (int i = 0; i < HONE_MAX_IN; i++)
        if (t->block[i]) poison_operand(t, i);
    fill_from_forward(t);
    return true;
}

void op_trial_make(op_trial *trial, const op_variant *variant)
{
    HONE_ASSERT(make(trial, variant), "%s: not a variant", trial->label);
}

void op_trial_copy(op_trial *copy, const op_trial *t)
{
    *copy = *t;
    for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT; i++) {
        hone_operand *o = op_trial_operand(copy, i);
        if (o->live) o->live = &copy->live;
        if (!t->block[i]) continue;
        copy->block[i] = o->data = block_new(t->bytes[i]);
        memcpy(o->data, t->block[i], t->bytes[i]);
    }
    if (t->args.same_kv) {
        int q = operand_named(t->info, "q"), kv = operand_named(t->info, "kv");
        copy->args.in[kv] = copy->args.in[q];
    }
}

void op_trial_free(op_trial *t)
{
    for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT; i++) free(t->block[i]);
    memset(t->block, 0, sizeof t->block);
}

// -- variants ---------------------------------------------------------------------------------------------------------

op_variant op_variant_first(hone_op op)
{
    op_variant v = { .op = op, .real = HONE_f32, .live = true, .number = -1 };
    HONE_ASSERT(op_variant_next(&v), "%s has no variant", hone_op_get(op)->name);
    return v;
}

static bool step(op_variant *v)
{
    const hone_op_info *info = hone_op_get(v->op);
    int optional = 0, kinds = hook[v->op].kinds ? hook[v->op].kinds : 1;
    for (int i = 0; i < info->n_in; i++) optional += info->in[i].optional;
    for (int i = 0; i < info->n_out; i++) optional += info->out[i].optional;
    if (v->number < 0) { *v = (op_variant){ .op = v->op, .half = v->half, .real = v->real }; return true; }
    if (!v->live && *row_symbol(info)) { v->live = true; return true; }
    v->live = false;
    if (++v->present < 1u << optional) return true;
    v->present = 0;
    if (++v->kind < kinds) return true;
    v->kind = 0;
    return ++v->number < info->n_case;
}

bool op_variant_next(op_variant *v)
{
    while (step(v)) {
        op_trial t;
        bool exists = make(&t, v);
        op_trial_free(&t);
        if (exists) return true;
    }
    return false;
}

// -- running ----------------------------------------------------------------------------------------------------------

// A backend with memory of its own: operands and workspace, guards with them, go there and come back.
static void run_apart(op_trial *t, const hone_backend *backend, void *self, void *handle)
{
    enum { MOST = HONE_MAX_IN + HONE_MAX_OUT + 1 };
    void *host[MOST] = { [MOST - 1] = t->args.workspace }, *device[MOST] = { 0 };
    size_t bytes[MOST] = { [MOST - 1] = t->args.workspace_bytes + GUARD_BYTES };
    hone_args args = t->args;
    for (int i = 0; i < MOST - 1; i++) host[i] = t->block[i], bytes[i] = t->bytes[i] + GUARD_BYTES;
    for (int i = 0; i < MOST; i++) {
        if (!host[i]) continue;
        HONE_ASSERT(backend->alloc(self, HONE_SPACE_DEVICE, bytes[i], &device[i]) == HONE_OK, "%s", hone_error());
        backend->copy(self, device[i], host[i], bytes[i], 0);
    }
    for (int i = 0; i < MOST - 1; i++) { // where two operands are one, or one works in the other's place, both are found by where they lay
        hone_operand *o = i < HONE_MAX_IN ? &args.in[i] : &args.out[i - HONE_MAX_IN];
        for (int k = 0; k < MOST - 1 && o->data; k++)
            if (o->data == host[k]) { o->data = device[k]; break; }
    }
    args.workspace = device[MOST - 1];
    backend->run(self, &args, handle, 0);
    for (int i = 0; i < MOST; i++)
        if (host[i]) backend->copy(self, host[i], device[i], bytes[i], 0);
    backend->synchronize(self);
    for (int i = 0; i < MOST; i++)
        if (host[i]) backend->release(self, HONE_SPACE_DEVICE, device[i], bytes[i]);
}

bool op_trial_run(op_trial *t, const hone_backend *backend, void *self, const char **why_not)
{
    if (!backend->supports(self, &t->args, why_not)) return false;
    t->args.workspace_bytes = backend->workspace_bytes(self, &t->args);
    char *workspace = block_new(t->args.workspace_bytes);
    t->args.workspace = workspace;
    void *handle = NULL;
    HONE_ASSERT(!backend->prepare || backend->prepare(self, &t->args, &handle) == HONE_OK, "%s: %s", t->label, hone_error());
    if (backend->native_stream) run_apart(t, backend, self, handle);
    else backend->run(self, &t->args, handle, 0);
    for (int i = 0; i < GUARD_BYTES; i++)
        HONE_ASSERT((uint8_t)workspace[t->args.workspace_bytes + (size_t)i] == GUARD, "%s writes behind its workspace", t->label);
    t->args.workspace = NULL;
    free(workspace);
    return true;
}

bool op_trial_pack(op_trial *t, const hone_backend *backend, void *self, hone_form form)
{
    int i = operand_named(t->info, "w");
    const char *why_not;
    if (i < 0 || i >= t->info->n_in || t->variant.op == HONE_OP_pack) return false;
    hone_operand *w = &t->args.in[i];
    const hone_dtype dtype = t->args.attr.product; // as the forms pass has it: of a bf16 weight, too
    size_t bytes = backend->form_bytes(self, form, dtype, w->dim[0], w->dim[1]);
    op_trial pack = { .info = hone_op_get(HONE_OP_pack), .label = "pack" };
    pack.args = (hone_args){ .op = HONE_OP_pack, .attr = { .form = form, .dtype = dtype }, .in = { *w }, .out = { *w } };
    hone_operand plain = *w;
    w->form = form;
    w->dtype = dtype;
    pack.args.out[0] = *w;
    if (bytes == 0 || !backend->supports(self, &t->args, &why_not)) { *w = plain; return false; }
    pack.args.out[0].data = block_new(bytes);
    pack.block[0] = t->block[i], pack.bytes[0] = t->bytes[i]; // of which there is a copy on a device
    pack.block[HONE_MAX_IN] = pack.args.out[0].data, pack.bytes[HONE_MAX_IN] = bytes;
    bool packed = op_trial_run(&pack, backend, self, &why_not);
    HONE_ASSERT(packed, "%s uses form %d but does not make it: %s", t->label, form, why_not);
    free(t->block[i]);
    t->block[i] = w->data = pack.args.out[0].data;
    t->bytes[i] = bytes;
    snprintf(t->label + strlen(t->label), sizeof t->label - strlen(t->label), " form %d", form);
    return true;
}

bool op_trial_place(op_trial *t)
{
    int k = t->info->flags & 0xff;
    if (!(t->info->flags & 1 << 8) || !t->args.in[k].present) return false;
    if (t->args.in[k].dtype != t->args.out[0].dtype) return false; // as layout.c has it
    HONE_ASSERT(t->bytes[k] == t->bytes[HONE_MAX_IN], "%s: input %d cannot hold output 0", t->label, k);
    t->args.out[0].data = t->args.in[k].data;
    return true;
}

// -- judging ----------------------------------------------------------------------------------------------------------
// The normalised error of an output is |y - r| / |r| over its live elements, in the 2-norm.
//
// Its bound: a sum of K products of random sign, rounded after each addition by u = eps / 2 relative to a partial sum that
// grows as sqrt(k), is off by u sqrt(sum k / 3) = u K / sqrt(6), against a result that is sqrt(K) large: u sqrt(K / 6).
// The longest sum of any op runs along one of its symbols, so K is the largest of them. Two sums in a row (scores, then
// values), a polynomial exp of 2 ulp, and the reference's own rounding to f32 each add a term of that size or less:
// 8 of them are allowed. Where linear_xent multiplies in bf16, dz is a result of f32 sums that is rounded on the way: with an
// error of d it falls on the other side of a tie with a chance of d / 2^-8 and is off by 2^-8 then, together 2^-8 sqrt(d / 2^-8).
// Results stored in bf16 differ where the two f32 values round apart: one bf16 ulp at most; codes of 8 bits
// differ then by one in 256.

static double bound_of(const op_trial *t, const hone_operand *o)
{
    double K = 1, u = o->dtype == HONE_f64 ? 0x1p-53 : 0x1p-24;
    for (int i = 0; i < t->binding.count; i++)
        if ((double)t->binding.symbol[i].value > K) K = (double)t->binding.symbol[i].value;
    if (o->dtype == HONE_bf16 || o->dtype == HONE_u8) return 0x1p-8;
    const bool rounds_dz = t->args.op == HONE_OP_linear_xent && t->args.attr.product == HONE_bf16 && o != &t->args.out[0];
    return 8 * u * sqrt(K) + (rounds_dz ? 0x1p-8 * sqrt(8 * u * sqrt(K) * 0x1p8) : 0);
}

static int64_t live_count(const hone_operand *o) { return o->live ? *o->live * row_size(o) : count_of(o); }

static double normalised_error(const hone_operand *y, const hone_operand *r)
{
    double difference = 0, size = 0;
    for (int64_t k = 0; k < live_count(y); k++) {
        double a = get(y, k), b = get(r, k);
        if (isinf(b) && a == b) continue;
        if (!isfinite(a) || !isfinite(b)) return (double)INFINITY;
        difference += (a - b) * (a - b);
        size += b * b;
    }
    return difference == 0 ? 0 : sqrt(difference / size);
}

static _Thread_local char verdict[320];

// All that must be as before: inputs, guards, rows behind the live ones.
static const char *judge_untouched(const op_trial *t, const op_trial *r, int i)
{
    const hone_operand *o = operand_of(t, i), *before = operand_of(r, i);
    const char *name = spec_of(t, i)->name;
    for (int k = 0; t->block[i] && k < GUARD_BYTES; k++)
        if (((uint8_t *)t->block[i])[t->bytes[i] + (size_t)k] != GUARD) {
            snprintf(verdict, sizeof verdict, "%s: writes behind %s", t->label, name);
            return verdict;
        }
    if (o->form != before->form || i >= HONE_MAX_IN || !t->block[i]) return NULL; // packed, written, or q's memory
    if (memcmp(o->data, before->data, t->bytes[i])) {
        snprintf(verdict, sizeof verdict, "%s: writes its input %s", t->label, name);
        return verdict;
    }
    return NULL;
}

static const char *judge_output(const op_trial *t, const op_trial *r, int i)
{
    const hone_operand *o = operand_of(t, i), *expected = operand_of(r, i);
    size_t live_bytes = (size_t)live_count(o) * hone_dtype_bytes(o->dtype);
    double error = normalised_error(o, expected), bound = bound_of(t, o);
    if (error > bound) {
        snprintf(verdict, sizeof verdict, "%s: %s is off by %.3g, allowed is %.3g", t->label, spec_of(t, i)->name, error, bound);
        return verdict;
    }
    if (memcmp((char *)o->data + live_bytes, (char *)expected->data + live_bytes, t->bytes[i] - live_bytes)) {
        snprintf(verdict, sizeof verdict, "%s: writes %s behind its live rows", t->label, spec_of(t, i)->name);
        return verdict;
    }
    return NULL;
}

const char *op_trial_judge(const op_trial *t, const op_trial *r)
{
    for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT; i++) {
        if (!operand_of(t, i)->present) continue;
        const char *wrong = judge_untouched(t, r, i);
        if (!wrong && i >= HONE_MAX_IN) wrong = judge_output(t, r, i);
        if (wrong) return wrong;
    }
    return NULL;
}

const char *op_trial_same(const op_trial *t, const op_trial *other, int64_t rows)
{
    for (int i = HONE_MAX_IN; i < HONE_MAX_IN + HONE_MAX_OUT; i++) {
        const hone_operand *o = operand_of(t, i);
        if (!o->present || (rows >= 0 && !op_operand_is_rows(t, i))) continue;
        size_t bytes = rows >= 0 ? (size_t)(rows * row_size(o)) * hone_dtype_bytes(o->dtype)
                                 : (size_t)live_count(o) * hone_dtype_bytes(o->dtype);
        if (!memcmp(o->data, operand_of(other, i)->data, bytes)) continue;
        snprintf(verdict, sizeof verdict, "%s: %s is not the same bits", t->label, spec_of(t, i)->name);
        return verdict;
    }
    return NULL;
}
