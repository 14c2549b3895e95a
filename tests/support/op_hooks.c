// op_hooks.c: see op_hooks.h.
#include "support/op_hooks.h"
#include "backend/ref/ref.h"
#include "base/rng.h"
#include "graph/fp8.h"
#include "graph/loss_scale.h"
#include <stdlib.h>
#include <string.h>

static void scale_by(hone_operand *o, double factor)
{
    for (int64_t k = 0; k < op_count(o); k++) put(o, k, get(o, k) * factor);
}

static void make_positive(hone_operand *o)
{
    for (int64_t k = 0; k < op_count(o); k++) put(o, k, get(o, k) * get(o, k));
}

static void share_kv(op_trial *t)
{
    int q = op_operand_named(t->info, "q"), kv = op_operand_named(t->info, "kv");
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
    int32_t block = R / 8 > 0 ? R / 8 : 1, *slot = op_named(t, "slot")->data, *table = op_named(t, "table")->data;
    t->args.attr.block = block;
    for (int32_t i = 0; i < OP_SLOTS * OP_BLOCKS; i++) // slots share some blocks: a common prefix
        table[i] = (int32_t)(hone_rng_uniform(2, HONE_RNG_TEST, 0, (uint64_t)i) * (R / block));
    for (int32_t n = 0; n < N; n++) {
        int32_t part = (N + OP_SLOTS - 1) / OP_SLOTS, seen = n % part + 1 + n / part;
        slot[n] = n / part;
        lo[n] = 0;
        hi[n] = seen < OP_BLOCKS * block ? seen : OP_BLOCKS * block;
    }
}

static bool fill_attention(op_trial *t)
{
    int kind = t->variant.kind;
    bool back = t->variant.op == HONE_OP_attention_back;
    bool paged = !back && op_named(t, "slot")->present, half = !back && paged != op_named(t, "table")->present;
    if (half || paged != (kind >= KIND_PAGED) || (back && op_named(t, "dkv")->present != (kind == KIND_RANGES))) return false;
    int32_t *lo = op_named(t, "lo")->data, *hi = op_named(t, "hi")->data;
    int32_t N = (int32_t)op_symbol(t, "N"), R = (int32_t)op_symbol(t, "R");
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
    int32_t *rows = op_named(t, "rows")->data;
    for (int64_t n = 0; n < op_symbol(t, "N"); n++) // a cache row is written once
        rows[n] = (int32_t)hone_rng_permute(1, HONE_RNG_TEST, 0, op_symbol(t, "R"), n);
    const hone_operand *cache = op_named(t, "cache");
    t->args.attr.k_col = (int32_t)(op_symbol(t, "P") - cache->dim[1]);
    if (t->variant.kind == 0) return true;
    // first heads that are zeros, or too small for a scale
    hone_operand *kv = op_named(t, "kv");
    for (int64_t n = 0; n < op_symbol(t, "N"); n++)
        for (int64_t i = 0; i < op_symbol(t, "D"); i++) {
            const int64_t at = n * op_symbol(t, "P") + t->args.attr.k_col + i;
            put(kv, at, n % 3 == 0 ? 0 : n % 3 == 1 ? get(kv, at) * 0x1p-105 : get(kv, at));
        }
    return true;
}

// Codes of heads that are some 1 large. Kinds: as they are, with a cap, with a window.
static bool fill_attention8(op_trial *t)
{
    hone_attr *attr = &t->args.attr;
    fill_paged(t, op_named(t, "lo")->data, op_named(t, "hi")->data, (int32_t)op_symbol(t, "N"), (int32_t)op_symbol(t, "R"));
    attr->k_col = 0, attr->v_col = attr->kv_heads * attr->head_dim;
    if (t->variant.kind == 1) attr->cap = 1.5f;
    if (t->variant.kind == 2) attr->window = 5;
    hone_operand *scale = op_named(t, "scale");
    for (int64_t k = 0; k < op_count(scale); k++) put(scale, k, (0.25 + fabs(get(scale, k))) / 64);
    return true;
}

static bool fill_rope_table(op_trial *t)
{
    int64_t J = op_symbol(t, "J");
    for (int64_t n = 0; n < op_symbol(t, "N"); n++) ((int32_t *)op_named(t, "pos")->data)[n] = n % 3 ? (int32_t)n : (int32_t)(4000 - n);
    for (int64_t j = 0; j < J; j++) put(op_named(t, "freq"), j, pow(10000, -(double)j / (double)J));
    return true;
}

static bool fill_scale(op_trial *t)
{
    t->args.attr.scale = t->variant.kind ? -0.375f : 12;
    return true;
}

// The columns at the beginning, at the end, and in between.
static bool fill_blend(op_trial *t)
{
    const int32_t spare = (int32_t)(op_symbol(t, "P") - op_symbol(t, "Q"));
    t->args.attr.v_col = (int32_t[]){ 0, spare, spare / 3 }[t->variant.kind];
    return t->variant.kind == 0 || spare > 0;
}

static bool fill_rope(op_trial *t)
{
    t->args.attr.inverse = t->variant.kind;
    return true;
}

// Products as they are, of operands rounded to bf16, of 8-bit integers, of operands rounded to f16, and (FP8: linears alone) of 8-bit floats
// with a scale for each tensor and for each block, whose sizes are multiples of 16.
enum { PRODUCTS = 4, FP8 = 2 };
static bool multiply_in(op_trial *t, int kind)
{
    if (t->variant.real == HONE_f64 && kind) return false; // rounding has no derivative to compare with
    if (t->variant.live && kind) return false;             // live rows are no other with bf16: time is better spent
    t->args.attr.product = (hone_dtype[PRODUCTS + FP8]){ HONE_f32, HONE_bf16, HONE_int8, HONE_f16, HONE_e4m3, HONE_e4m3_128 }[kind];
    for (int i = 0; i < 4 && hone_dtype_is_fp8(t->args.attr.product); i++)
        if (t->args.in[i / 2].dim[i % 2] % HONE_FP8_SIZES) return false;
    return true;
}

static bool fill_product(op_trial *t) { return multiply_in(t, t->variant.kind); }

// Parts of uneven sizes, a gap between each two where the weight has rows to spare.
static void set_parts(op_trial *t)
{
    hone_attr *attr = &t->args.attr;
    const int32_t E = (int32_t)op_symbol(t, "E"), M = (int32_t)op_symbol(t, "M"), U = attr->parts = (int32_t)op_symbol(t, "U");
    int32_t left = E, at = 0;
    for (int32_t u = 0; u < U; u++) {
        attr->part_rows[u] = u == U - 1 ? left : left / 2 + 1;
        attr->part_col[u] = at;
        left -= attr->part_rows[u];
        at += attr->part_rows[u] + (U > 1 ? (M - E) / (U - 1) : 0);
    }
    attr->scale = 0.7f;
}

static bool fill_lora(op_trial *t)
{
    set_parts(t);
    return fill_product(t);
}

static bool fill_dora(op_trial *t)
{
    set_parts(t);
    hone_operand *n = op_named(t, "n");     // lengths
    for (int64_t k = 0; k < op_count(n); k++) put(n, k, 0.5 + fabs(get(n, k)));
    return true;
}

// Logits of order 1, so that no probability is all or nothing; and, in the smaller cases, with a cap. Every third row's weight is 0.
static bool fill_head(op_trial *t)
{
    const bool capped = t->variant.kind == 2, integers = t->variant.kind == PRODUCTS;
    if (capped ? t->variant.number > 1 : !multiply_in(t, integers ? 2 : t->variant.kind)) return false;
    t->args.attr.cap = capped ? 1.5f : 0; // from nearly linear to nearly flat
    scale_by(op_named(t, "w"), 1 / sqrt((double)op_symbol(t, "C")));
    for (int64_t n = 0; t->variant.op == HONE_OP_linear_xent && n < op_symbol(t, "N"); n++)
        put(op_named(t, "weight"), n, n % 3 == 1 ? 0 : 0.5 + hone_rng_uniform(1, HONE_RNG_TEST, 1, (uint64_t)n));
    return true;
}

// Shares of one size, every fourth 0; the second kind takes some pairs for wrongly ordered.
static bool fill_pair_loss(op_trial *t)
{
    t->args.attr.scale = 0.3f;
    t->args.attr.rate = t->variant.kind ? 0.2f : 0;
    for (int64_t n = 0; n < op_symbol(t, "N"); n++) put(op_named(t, "share"), n, n % 4 == 3 ? 0 : get(op_named(t, "logprob"), n) > 0 ? 0.25 : -0.25);
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

// Stores an output in 16 bits, its old content (random, where it has any) with it.
static void store_in(op_trial *t, const char *name, hone_dtype dtype)
{
    const int i = op_operand_named(t->info, name);
    hone_operand *o = op_trial_operand(t, i), wide = *o;
    o->dtype = dtype;
    t->bytes[i] = (size_t)op_count(o) * hone_dtype_bytes(o->dtype);
    o->data = op_block_new(t->bytes[i]);
    for (int64_t k = 0; op_spec(t, i)->update && k < op_count(o); k++) put(o, k, get(&wide, k));
    free(t->block[i]);
    t->block[i] = o->data;
}

// Keeps an input in blocks. False: its rows are no whole ones.
static bool keep_in_blocks(op_trial *t, const char *name, hone_dtype dtype)
{
    const int i = op_operand_named(t->info, name);
    hone_operand *o = op_trial_operand(t, i);
    const int64_t count = op_count(o), K = o->dim[1];
    if (hone_dtype_bytes(o->dtype) == 2) return true;     // a variant that stores it so
    if (o->dtype != HONE_f32 || K % hone_blocks_about(hone_dtype_blocks(dtype))->elements) return false;
    t->bytes[i] = (size_t)hone_dtype_size(dtype, count);
    void *data = op_block_new(t->bytes[i]);
    hone_blocks_encode(hone_dtype_blocks(dtype), o->data, count, data);
    free(t->block[i]);
    t->block[i] = o->data = data;
    o->dtype = dtype;
    return true;
}

static bool fill_dora_norm(op_trial *t)
{
    set_parts(t);
    return t->variant.kind == 0 || keep_in_blocks(t, "w", HONE_q8_0);
}

enum { PACK_FIRST_BLOCKS = 3 };     // kinds: a copy, to bf16, to f16, then of each kind of blocks
static bool fill_pack(op_trial *t)
{
    if (op_named(t, "b")->present != op_named(t, "a")->present) return false;
    set_parts(t);
    if (t->variant.kind == 0) return true;
    if (t->variant.kind >= PACK_FIRST_BLOCKS) return keep_in_blocks(t, "w", (hone_dtype)(HONE_q4_0 + t->variant.kind - PACK_FIRST_BLOCKS));
    t->args.attr.dtype = t->variant.kind == 1 ? HONE_bf16 : HONE_f16;
    store_in(t, "f", t->args.attr.dtype);
    return true;
}

static void set_scale(op_trial *t, int doublings, int good, int overflows)
{
    hone_operand *state = op_named(t, "state");
    for (int i = 0; i < 3 && state->present; i++) put(state, i, (double[]){ doublings, good, overflows }[i]);
}

static bool fill_scale_loss(op_trial *t)
{
    set_scale(t, -14, 5, 3);
    return true;
}

// A finite norm, the one that makes enough of them, one at the largest scale; one that is not, and that at the least scale.
static bool fill_adapt_scale(op_trial *t)
{
    static const struct { double norm; int doublings, good; } of[] = { { 3, -15, 5 }, { 3, -15, HONE_SCALE_GOOD - 1 }, { 3, HONE_SCALE_MOST - HONE_SCALE_FIRST, HONE_SCALE_GOOD - 1 },
        { (double)INFINITY, -15, 5 }, { (double)NAN, HONE_SCALE_LEAST - HONE_SCALE_FIRST, 5 } };
    put(op_named(t, "norm"), 0, of[t->variant.kind].norm);
    set_scale(t, of[t->variant.kind].doublings, of[t->variant.kind].good, 3);
    return true;
}

static bool fill_clip_factor(op_trial *t)
{
    make_positive(op_named(t, "parts"));
    t->args.attr.max_norm = (float[]){ 0, 0.125f, 1e6f, 0.125f }[t->variant.kind]; // never, active, not reached; and of no finite norm
    if (t->variant.kind == 3) put(op_named(t, "parts"), 0, (double)INFINITY);
    set_scale(t, -14, 5, 3);
    return true;
}

static void fill_step(op_trial *t) // of step 2
{
    for (int i = 0; i < 5; i++) put(op_named(t, "hyper"), i, (double[]){ 0.01, 0.19, 0.0199, 0.02, 2 }[i]);
    t->args.attr.stream = 7;
}

// A factor, or, of a norm that is not finite, 0: what the gradient holds then shows nowhere.
static void set_norm(op_trial *t, bool skipped)
{
    const double of[2][2] = { { 3.7, 0.31 }, { (double)INFINITY, 0 } };
    for (int i = 0; i < 2; i++) put(op_named(t, "norm"), i, of[skipped][i]);
    if (skipped) put(op_named(t, "g"), 0, (double)NAN);
}

static bool fill_adamw(op_trial *t)
{
    make_positive(op_named(t, "v"));
    if (t->variant.kind == 1) store_in(t, "m", HONE_bf16), store_in(t, "v", HONE_bf16);
    set_norm(t, t->variant.kind == 2);
    fill_step(t);
    return true;
}

static bool fill_adamw8(op_trial *t)
{
    make_positive(op_named(t, "scale"));
    set_norm(t, t->variant.kind == 1);
    fill_step(t);
    return true;
}

static bool fill_momentum(op_trial *t)
{
    if (t->variant.kind == 1) store_in(t, "m", HONE_bf16);
    if (t->variant.kind == 2) set_norm(t, true);
    fill_step(t);
    return true;
}

// A Gram matrix (symmetric) and its size.
static bool fill_gram_poly(op_trial *t)
{
    hone_operand *s = op_named(t, "s");
    int64_t A = op_symbol(t, "A");
    double squares = 0;
    for (int64_t i = 0; i < A; i++)
        for (int64_t j = 0; j < i; j++) put(s, j * A + i, get(s, i * A + j));
    for (int64_t i = 0; i < A * A; i++) squares += get(s, i) * get(s, i);
    put(op_named(t, "size"), 0, sqrt(squares));
    memcpy(t->args.attr.poly, (float[]){ 0.5f, -3, 40 }, sizeof t->args.attr.poly); // parts of like size
    return fill_product(t);
}

static bool fill_muon(op_trial *t)
{
    hone_operand *norm = op_named(t, "norm");
    make_positive(op_named(t, "size"));
    fill_step(t);
    if (norm->present && t->variant.kind) put(norm, 1, 0);
    return norm->present || t->variant.kind == 0;
}

const struct op_hook op_hook[HONE_OP_COUNT] = {
    [HONE_OP_attention] = { KIND_ATTENTION_COUNT, fill_attention },
    [HONE_OP_attention_back] = { KIND_PAGED, fill_attention },
    [HONE_OP_kv_write] = { 1, fill_kv_write },
    [HONE_OP_kv_write8] = { 2, fill_kv_write },
    [HONE_OP_attention8] = { 3, fill_attention8 },
    [HONE_OP_rope_table] = { 1, fill_rope_table },
    [HONE_OP_rope] = { 2, fill_rope },
    [HONE_OP_scale] = { 2, fill_scale },
    [HONE_OP_blend] = { 3, fill_blend },
    [HONE_OP_blend_back] = { 3, fill_blend },
    [HONE_OP_linear] = { PRODUCTS + FP8, fill_product },
    [HONE_OP_linear_dx] = { PRODUCTS + FP8, fill_product },
    [HONE_OP_linear_dw] = { PRODUCTS + FP8, fill_product },
    [HONE_OP_lora_linear] = { PRODUCTS + FP8, fill_lora },
    [HONE_OP_lora_dt] = { PRODUCTS, fill_lora },
    [HONE_OP_lora_dw] = { PRODUCTS, fill_lora },
    [HONE_OP_dora_norm] = { 2, fill_dora_norm },
    [HONE_OP_dora] = { 1, fill_dora },
    [HONE_OP_dora_back] = { 1, fill_dora },
    [HONE_OP_linear_xent] = { PRODUCTS + 1, fill_head },
    [HONE_OP_linear_logprob] = { PRODUCTS, fill_head },
    [HONE_OP_pair_loss] = { 2, fill_pair_loss },
    [HONE_OP_softcap] = { 1, fill_softcap },
    [HONE_OP_rmsnorm] = { 2, fill_norm },
    [HONE_OP_rmsnorm_back] = { 2, fill_norm },
    [HONE_OP_layernorm] = { 2, fill_norm },
    [HONE_OP_layernorm_back] = { 2, fill_norm },
    [HONE_OP_qk_norm] = { 2, fill_norm },
    [HONE_OP_qk_norm_back] = { 2, fill_norm },
    [HONE_OP_pack] = { PACK_FIRST_BLOCKS + HONE_DTYPE_COUNT - HONE_q4_0, fill_pack },
    [HONE_OP_clip_factor] = { 4, fill_clip_factor },
    [HONE_OP_adapt_scale] = { 5, fill_adapt_scale },
    [HONE_OP_scale_loss] = { 1, fill_scale_loss },
    [HONE_OP_adamw] = { 3, fill_adamw },
    [HONE_OP_adamw8] = { 2, fill_adamw8 },
    [HONE_OP_momentum] = { 3, fill_momentum },
    [HONE_OP_gram] = { 2, fill_product },
    [HONE_OP_gram_columns] = { 2, fill_product },
    [HONE_OP_gram_poly] = { 2, fill_gram_poly },
    [HONE_OP_muon] = { 2, fill_muon },
};
