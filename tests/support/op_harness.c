// op_harness.c: makes, runs and judges trials (op_harness.h). In order: operands from the row, variants, running, judging. The
// structure that some ops want of their operands is in op_hooks.c, the damage that controls do in op_spoil.c.
#include "support/op_hooks.h"
#include "backend/ref/ref.h"
#include "base/rng.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD_BYTES = 64, GUARD = 0xa5 };

// -- making a trial ---------------------------------------------------------------------------------------------------

const hone_operand_spec *op_spec(const op_trial *t, int i)
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

int op_operand_named(const hone_op_info *info, const char *name)
{
    for (int i = 0; i < info->n_in; i++)
        if (!strcmp(info->in[i].name, name)) return i;
    for (int i = 0; i < info->n_out; i++)
        if (!strcmp(info->out[i].name, name)) return HONE_MAX_IN + i;
    return -1;
}

hone_operand *op_named(op_trial *t, const char *name)
{
    int i = op_operand_named(t->info, name);
    HONE_ASSERT(i >= 0, "%s has no operand %s", t->info->name, name);
    return op_trial_operand(t, i);
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
    const hone_operand_spec *spec = op_spec(t, i);
    return *row_symbol(t->info) && spec->rank > 0 && !strcmp(spec->dim[0], row_symbol(t->info));
}

int64_t op_symbol(const op_trial *t, const char *name)
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
    if (hone_binding_eval(&t->binding, "S", &unused) != HONE_OK) hone_binding_set(&t->binding, "S", OP_SLOTS);
    if (hone_binding_eval(&t->binding, "B", &unused) != HONE_OK) hone_binding_set(&t->binding, "B", OP_BLOCKS);
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

void *op_block_new(size_t bytes)
{
    void *block = aligned_alloc(64, (bytes + GUARD_BYTES + 63) / 64 * 64);
    HONE_ASSERT(block, "no memory for %zu bytes", bytes);
    memset(block, 0xff, bytes); // NaN in every dtype
    memset((char *)block + bytes, GUARD, GUARD_BYTES);
    return block;
}

int64_t op_count(const hone_operand *o) // by bounds
{
    int64_t n = 1;
    for (int r = 0; r < o->rank; r++) n *= o->dim[r];
    return n;
}

static int64_t row_size(const hone_operand *o) { return o->dim[0] ? op_count(o) / o->dim[0] : 0; }

static hone_dtype narrow_of(const op_variant *v) { return v->narrow == HONE_f16 ? HONE_f16 : HONE_bf16; }

static void make_operand(op_trial *t, int i)
{
    const hone_operand_spec *spec = op_spec(t, i);
    hone_operand *o = op_trial_operand(t, i);
    o->rank = spec->rank;
    for (int r = 0; r < spec->rank; r++) o->dim[r] = op_symbol(t, spec->dim[r]);
    bool real = spec->any_float || spec->dtype == HONE_f32;
    o->dtype = !real ? spec->dtype : spec->any_float && t->variant.half >> i & 1 ? narrow_of(&t->variant) : t->variant.real;
    o->present = true;
    t->bytes[i] = (size_t)op_count(o) * hone_dtype_bytes(o->dtype);
    t->block[i] = o->data = op_block_new(t->bytes[i]);
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
    const hone_operand_spec *spec = op_spec(t, i);
    hone_operand *o = op_trial_operand(t, i);
    int64_t below = *spec->below ? op_symbol(t, spec->below) : 1000;
    for (int64_t k = 0; k < op_count(o); k++) {
        if (o->dtype == HONE_i32)
            ((int32_t *)o->data)[k] = (int32_t)((double)below * hone_rng_uniform(1, HONE_RNG_TEST, stream_of(t, i), (uint64_t)k));
        else if (o->dtype == HONE_int8) put(o, k, floor(255 * hone_rng_uniform(1, HONE_RNG_TEST, stream_of(t, i), (uint64_t)k)) - 127);
        else if (o->dtype == HONE_u8) put(o, k, floor(256 * hone_rng_uniform(1, HONE_RNG_TEST, stream_of(t, i), (uint64_t)k)));
        else put(o, k, normal(stream_of(t, i), k));
    }
}

// Rows behind the live ones: NaN, and an index that no table has.
static void poison_operand(op_trial *t, int i)
{
    hone_operand *o = op_trial_operand(t, i);
    if (!o->live) return;
    for (int64_t k = t->live * row_size(o); k < op_count(o); k++) {
        if (o->dtype == HONE_i32) ((int32_t *)o->data)[k] = INT32_MAX;
        else put(o, k, (double)NAN);
    }
}

static bool reads_results(const hone_op_info *back, const hone_op_info *forward)
{
    bool reads = false;
    for (int i = 0; i < forward->n_out; i++) reads |= op_operand_named(back, forward->out[i].name) >= 0;
    return reads;
}

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
    if (!reads_results(t->info, info)) return;
    for (int i = 0; i < info->n_in; i++) {
        int same = op_operand_named(t->info, info->in[i].name);
        if (same >= 0) forward.in[i] = *op_trial_operand(t, same);
        HONE_ASSERT(same >= 0 || info->in[i].optional || info->in[i].rank == 1, "%s lacks %s", t->info->name, info->in[i].name);
        if (same >= 0 || info->in[i].optional) continue;
        forward.in[i] = *op_named(t, "g"); // a bias, which no result that the backward reads depends on
    }
    for (int i = 0; i < info->n_out; i++) {
        int same = op_operand_named(t->info, info->out[i].name);
        if (same >= 0) { forward.out[i] = *op_trial_operand(t, same); continue; }
        hone_operand *o = &forward.out[i];
        *o = (hone_operand){ .rank = info->out[i].rank, .dtype = HONE_f64, .present = true };
        for (int r = 0; r < o->rank; r++) o->dim[r] = op_symbol(t, info->out[i].dim[r]);
        o->data = scratch[i] = op_block_new((size_t)op_count(o) * sizeof(double));
    }
    forward.workspace = op_block_new(hone_backend_ref.workspace_bytes(NULL, &forward));
    hone_backend_ref.run(NULL, &forward, NULL, 0);
    free(forward.workspace);
    for (int i = 0; i < HONE_MAX_OUT; i++) free(scratch[i]);
}

static bool make(op_trial *t, const op_variant *variant)
{
    *t = (op_trial){ .variant = *variant, .info = hone_op_get(variant->op) };
    int length = snprintf(t->label, sizeof t->label, "%s case %d kind %d optional %x%s%s", t->info->name, variant->number, variant->kind,
                          variant->present, variant->live ? " live" : "", !variant->half ? "" : variant->narrow == HONE_f16 ? " f16" : " bf16");
    for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT; i++)
        if (variant->half >> i & 1) length += snprintf(t->label + length, sizeof t->label - (size_t)length, " %s", op_spec(t, i)->name);
    bind_case(t);
    set_attributes(t);
    int optional = 0;
    for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT; i++) {
        bool exists = i < HONE_MAX_IN ? i < t->info->n_in : i - HONE_MAX_IN < t->info->n_out;
        if (!exists || (op_spec(t, i)->optional && !(variant->present >> optional++ & 1))) continue;
        make_operand(t, i);
        if (i < HONE_MAX_IN || op_spec(t, i)->update) fill_operand(t, i);
        if (!variant->live || !op_operand_is_rows(t, i)) continue;
        t->live = (int32_t)(op_symbol(t, row_symbol(t->info)) * 2 / 3);
        op_trial_operand(t, i)->live = &t->live;
    }
    if (op_hook[variant->op].fill && !op_hook[variant->op].fill(t)) return false;
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
        copy->block[i] = o->data = op_block_new(t->bytes[i]);
        memcpy(o->data, t->block[i], t->bytes[i]);
    }
    if (t->args.same_kv) {
        int q = op_operand_named(t->info, "q"), kv = op_operand_named(t->info, "kv");
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
    int optional = 0, kinds = op_hook[v->op].kinds ? op_hook[v->op].kinds : 1;
    for (int i = 0; i < info->n_in; i++) optional += info->in[i].optional;
    for (int i = 0; i < info->n_out; i++) optional += info->out[i].optional;
    if (v->number < 0) { *v = (op_variant){ .op = v->op, .half = v->half, .narrow = v->narrow, .real = v->real }; return true; }
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
    char *workspace = op_block_new(t->args.workspace_bytes);
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
    int i = op_operand_named(t->info, "w");
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
    pack.args.out[0].data = op_block_new(bytes);
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
// A CPU keeps the shares that dz is made of in bf16 then, half an ulp each: 2^-9. In 8-bit integers both factors are off by a part of a
// step, 1/127 of the largest of 384 numbers (3.5 times a normal's size) drawn at random (1/2 of it) and to the nearest (1/sqrt 12): 2^-6.
// Either is a share of the product, which is less than half of the gradient: the target's part is made without them.
// Results stored in bf16 differ where the two f32 values round apart: one bf16 ulp at most; codes of 8 bits
// differ then by one in 256. An f16 has three bits more: 2^-11 in place of 2^-8. Codes of a cache are the same everywhere: 0.
// Operands in fp8 are the same codes on every backend. Their sums on matrix cores keep some 14 bits (DeepSeek-V3, arXiv:2412.19437, 3.3.2):
// 2^-13 of the result for each of the K / 32 additions of 32 products; the emulator's are f32.
// Attention in pairs of bf16 rounds probabilities, half an ulp each; a gradient is of two such factors: an ulp. Scores are exact.

bool op_fp8_sums_are_short, op_attention_in_pairs, op_shares_are_half;

static bool in_pairs(const op_trial *t, const hone_operand *o)
{
    const bool back = t->args.op == HONE_OP_attention_back;
    if (!op_attention_in_pairs || (!back && t->args.op != HONE_OP_attention) || (!back && o == &t->args.out[1])) return false;
    return t->args.in[back].dtype == HONE_bf16 && t->args.in[back + 1].dtype == HONE_bf16 && (back || !t->args.in[4].present);
}

static double bound_of(const op_trial *t, const hone_operand *o)
{
    double K = 1, u = o->dtype == HONE_f64 ? 0x1p-53 : 0x1p-24;
    for (int i = 0; i < t->binding.count; i++)
        if ((double)t->binding.symbol[i].value > K) K = (double)t->binding.symbol[i].value;
    if (o->dtype == HONE_int8) return 0;
    if (o->dtype == HONE_f16) return 0x1p-11;
    if (o->dtype == HONE_bf16 || o->dtype == HONE_u8) return 0x1p-8;
    if (in_pairs(t, o)) return 0x1p-8;
    if (op_fp8_sums_are_short && hone_dtype_is_fp8(t->args.attr.product)) return 0x1p-13 * ceil(K / 32);
    const double ulp = t->args.attr.product == HONE_bf16 ? 0x1p-8 : t->args.attr.product == HONE_f16 ? 0x1p-11 : 0;
    const bool rounds_dz = t->args.op == HONE_OP_linear_xent && o != &t->args.out[0];
    const double share = !rounds_dz ? 0 : t->args.attr.product == HONE_int8 ? 0x1p-7 : op_shares_are_half ? ulp / 4 : 0;
    return 8 * u * sqrt(K) + (rounds_dz ? sqrt(ulp * 8 * u * sqrt(K)) : 0) + share;
}

static int64_t live_count(const hone_operand *o) { return o->live ? *o->live * row_size(o) : op_count(o); }

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
    const char *name = op_spec(t, i)->name;
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
        snprintf(verdict, sizeof verdict, "%s: %s is off by %.3g, allowed is %.3g", t->label, op_spec(t, i)->name, error, bound);
        return verdict;
    }
    if (memcmp((char *)o->data + live_bytes, (char *)expected->data + live_bytes, t->bytes[i] - live_bytes)) {
        snprintf(verdict, sizeof verdict, "%s: writes %s behind its live rows", t->label, op_spec(t, i)->name);
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
        snprintf(verdict, sizeof verdict, "%s: %s is not the same bits", t->label, op_spec(t, i)->name);
        return verdict;
    }
    return NULL;
}
