// op.c: expands ops.def into facts: parses each row's signature once, binds symbols, evaluates expressions.
#include "graph/op.h"
#include "base/file.h"
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GRAD true
#define NONE false
#define CASES(symbols, ...)                                     \
    .case_symbols = symbols,                                    \
    .cases = &((const int64_t[][8]){ __VA_ARGS__ })[0][0],      \
    .n_case = (int)(sizeof((const int64_t[][8]){ __VA_ARGS__ }) / sizeof(int64_t[8]))

static hone_op_info table[HONE_OP_COUNT] = {
#define OP(name_, inputs_, outputs_, grad_, flags_, flops_, cases_, what_)                                       \
    [HONE_OP_##name_] = { .name = #name_, .inputs = inputs_, .outputs = outputs_, .has_grad = grad_, .flags = flags_, \
                          .flops = flops_, cases_, .what = what_ },
#include "graph/ops.def"
#undef OP
};
static uint64_t table_hash;

static const char *const dtype_name[] = {
#define DTYPE(name, bytes, st, is_float) [HONE_##name] = #name,
#define BLOCKED(name) [HONE_##name] = #name,
#include "graph/dtypes.def"
#undef DTYPE
};

size_t hone_dtype_bytes(hone_dtype dtype)
{
    static const size_t bytes[] = {
#define DTYPE(name, bytes, st, is_float) [HONE_##name] = bytes,
#include "graph/dtypes.def"
#undef DTYPE
    };
    HONE_ASSERT(dtype < sizeof bytes / sizeof *bytes, "%s has no bytes of one element", hone_dtype_name(dtype));
    return bytes[dtype];
}

hone_blocks hone_dtype_blocks(hone_dtype dtype)
{
    switch (dtype) {
#define DTYPE(...)
#define BLOCKED(name) case HONE_##name: return HONE_BLOCKS_##name;
#include "graph/dtypes.def"
#undef DTYPE
    default: return HONE_BLOCKS_COUNT;
    }
}

hone_dtype hone_dtype_of_blocks(hone_blocks blocks)
{
    switch (blocks) {
#define DTYPE(...)
#define BLOCKED(name) case HONE_BLOCKS_##name: return HONE_##name;
#include "graph/dtypes.def"
#undef DTYPE
    default: return HONE_DTYPE_COUNT;
    }
}

int64_t hone_dtype_size(hone_dtype dtype, int64_t count)
{
    const hone_blocks blocks = hone_dtype_blocks(dtype);
    return blocks == HONE_BLOCKS_COUNT ? count * (int64_t)hone_dtype_bytes(dtype) : (int64_t)hone_blocks_bytes(blocks, count);
}

const char *hone_dtype_name(hone_dtype dtype) { return dtype_name[dtype]; }

int64_t hone_tensor_count(const hone_tensor *tensor)
{
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++) count *= tensor->dim[i];
    return count;
}

int64_t hone_tensor_bytes(const hone_tensor *tensor) { return hone_dtype_size(tensor->dtype, hone_tensor_count(tensor)); }

// Copies the run of characters up to one of `stop` into `to`; returns where it stopped.
static const char *copy_until(char *to, size_t size, const char *from, const char *stop)
{
    size_t n = strcspn(from, stop);
    HONE_ASSERT(n < size, "ops.def: \"%.*s\" is longer than %zu characters", (int)n, from, size - 1);
    memcpy(to, from, n);
    to[n] = 0;
    return from + n;
}

// "name~?:dtype<V>[d,d]", the `+` already taken off.
static const char *parse_operand(hone_operand_spec *spec, const char *at)
{
    if (*at == '+') { spec->update = true; at++; }
    at = copy_until(spec->name, sizeof spec->name, at, "~#?:[");
    if (*at == '~') { spec->half = true; at++; }
    if (*at == '#') { spec->blocked = true; at++; }
    if (*at == '?') { spec->optional = true; at++; }
    spec->any_float = *at != ':';
    if (*at == ':') {
        char name[8];
        at = copy_until(name, sizeof name, at + 1, "<[");
        for (spec->dtype = 0; spec->dtype < HONE_DTYPE_COUNT && strcmp(name, dtype_name[spec->dtype]); spec->dtype++) {}
        HONE_ASSERT(spec->dtype < HONE_DTYPE_COUNT || !strcmp(name, "any"), "ops.def: dtype %s of %s is not in dtypes.def", name, spec->name);
        if (*at == '<') at = copy_until(spec->below, sizeof spec->below, at + 1, ">") + 1;
    }
    HONE_ASSERT(*at == '[', "ops.def: operand %s has no [dims]", spec->name);
    do {
        HONE_ASSERT(spec->rank < HONE_MAX_RANK, "ops.def: operand %s has more than %d dims", spec->name, HONE_MAX_RANK);
        at = copy_until(spec->dim[spec->rank++], sizeof spec->dim[0], at + 1, ",]");
    } while (*at == ',');
    return at + 1;
}

static int parse_operands(hone_operand_spec *spec, int most, const char *at)
{
    int n = 0;
    while (*at) {
        if (*at == ' ') { at++; continue; }
        HONE_ASSERT(n < most, "ops.def: more than %d operands in \"%s\"", most, at);
        at = parse_operand(&spec[n++], at);
    }
    return n;
}

static void parse_table(void)
{
    for (int op = 0; op < HONE_OP_COUNT; op++) {
        hone_op_info *info = &table[op];
        info->n_in = parse_operands(info->in, HONE_MAX_IN, info->inputs);
        info->n_out = parse_operands(info->out, HONE_MAX_OUT, info->outputs);
        const char *text[] = { info->name, info->inputs, info->outputs };
        for (int i = 0; i < 3; i++) table_hash = table_hash * 0x9E3779B97F4A7C15u + hone_hash64(text[i], strlen(text[i]));
        table_hash += (uint64_t)info->flags;
    }
    table_hash = table_hash * 31 + sizeof(hone_attr);
}

static pthread_once_t once = PTHREAD_ONCE_INIT;

const hone_op_info *hone_op_get(hone_op op)
{
    pthread_once(&once, parse_table);
    return &table[op];
}

uint64_t hone_op_table_hash(void)
{
    pthread_once(&once, parse_table);
    return table_hash;
}

hone_status hone_binding_set(hone_binding *binding, const char *symbol, int64_t value)
{
    for (int i = 0; i < binding->count; i++)
        if (!strcmp(binding->symbol[i].name, symbol))
            return binding->symbol[i].value == value ? HONE_OK
                 : hone_fail("%s is %lld here but %lld elsewhere", symbol, (long long)value, (long long)binding->symbol[i].value);
    HONE_ASSERT(binding->count < 16, "more than 16 symbols at %s", symbol);
    snprintf(binding->symbol[binding->count].name, sizeof binding->symbol[0].name, "%s", symbol);
    binding->symbol[binding->count++].value = value;
    return HONE_OK;
}

static hone_status eval_factor(const hone_binding *binding, const char *factor, int64_t *value)
{
    if (isdigit((unsigned char)*factor)) { *value = strtoll(factor, NULL, 10); return HONE_OK; }
    for (int i = 0; i < binding->count; i++)
        if (!strcmp(binding->symbol[i].name, factor)) { *value = binding->symbol[i].value; return HONE_OK; }
    return hone_fail("%s is not bound", factor);
}

hone_status hone_binding_eval(const hone_binding *binding, const char *expression, int64_t *value)
{
    *value = 0;
    for (const char *at = expression;;) {
        int64_t product = 1;
        for (;;) {
            char factor[12];
            int64_t f = 0;
            at = copy_until(factor, sizeof factor, at, "+*");
            if (eval_factor(binding, factor, &f)) return HONE_FAILED;
            product *= f;
            if (*at != '*') break;
            at++;
        }
        *value += product;
        if (!*at) return HONE_OK;
        at++;
    }
}

hone_status hone_binding_solve(hone_binding *binding, const char *expression, int64_t value)
{
    char unknown[12] = "";
    int64_t known = 1;
    for (const char *at = expression;; at++) {
        char factor[12];
        int64_t f = 1;
        at = copy_until(factor, sizeof factor, at, "+*");
        if (*at == '+') return hone_fail("%s is not one product", expression);
        if (eval_factor(binding, factor, &f)) {
            if (*unknown) return hone_fail("%s has two unbound symbols", expression);
            snprintf(unknown, sizeof unknown, "%s", factor);
        }
        known *= f;
        if (!*at) break;
    }
    if (!*unknown || known < 1 || value % known) return hone_fail("%lld is not a value of %s", (long long)value, expression);
    return hone_binding_set(binding, unknown, value / known);
}
