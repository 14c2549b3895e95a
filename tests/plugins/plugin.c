// plugin.c: the smallest backend in a shared object: it can add, nothing else. Built four times by CMakeLists.txt: as it is,
// with another op-table hash, with another ABI number, and without the symbol that makes it a backend.
#include "graph/backend.h"

static hone_status open_nothing(const hone_backend_options *options, void **self)
{
    (void)options;
    *self = NULL;
    return HONE_OK;
}

static bool supports(void *self, const hone_args *args, const char **why_not)
{
    (void)self;
    *why_not = "the plugin can only add";
    return args->op == HONE_OP_add;
}

static void run(void *self, const hone_args *args, void *handle, int stream)
{
    (void)self, (void)handle, (void)stream;
    const float *a = args->in[0].data, *b = args->in[1].data;
    float *y = args->out[0].data;
    for (int64_t i = 0; i < hone_rows(&args->out[0]) * args->out[0].dim[1]; i++) y[i] = a[i] + b[i];
}

static uint64_t hash(void)
{
#ifdef PLUGIN_wrong_hash
    return hone_op_table_hash() + 1;
#else
    return hone_op_table_hash();
#endif
}

#ifndef PLUGIN_no_symbol
extern const hone_backend hone_backend_plugin;
const hone_backend hone_backend_plugin = {
#else
extern const hone_backend some_other_name;
const hone_backend some_other_name = {
#endif
#ifdef PLUGIN_wrong_abi
    .abi = HONE_BACKEND_ABI + 1,
#else
    .abi = HONE_BACKEND_ABI,
#endif
    .op_table_hash = hash,
    .name = "adder",
    .open = open_nothing,
    .supports = supports,
    .run = run,
};
