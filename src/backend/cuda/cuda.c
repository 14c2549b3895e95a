// cuda.c: the seam: what the backend takes, how a node's operands reach a kernel, and the calls that every node makes.
#include "backend/cuda/cuda.h"
#include "base/memory.h"
#include "graph/pass.h"
#include <stdio.h>
#include <string.h>

static const uint16_t threads[HONE_CUDA_KERNEL_COUNT] = {
#define KERNEL(name, threads) [HONE_CUDA_##name] = threads,
#include "backend/cuda/kernels.def"
#undef KERNEL
};

typedef struct rule {
    void (*run)(const hone_cuda_node *node);
    size_t (*scratch)(const hone_cuda_node *node);
} rule;
static const rule rules[HONE_OP_COUNT] = {
#define OP(name, ...) [HONE_OP_##name] = { hone_cuda_node_##name, hone_cuda_scratch_##name },
#define MOVE(...)
#include "graph/ops.def"
#undef OP
};

// --- operands as kernels see them ----------------------------------------------------------------------------------------

int64_t hone_cuda_bound(const hone_operand *o) { return o->present ? o->dim[0] : 0; }

int64_t hone_cuda_cols(const hone_operand *o)
{
    int64_t cols = 1;
    for (int r = 1; r < o->rank; r++) cols *= o->dim[r];
    return cols;
}

hone_cuda_view hone_cuda_view_of(const hone_operand *o)
{
    if (!o->present) return (hone_cuda_view){ 0 };
    return (hone_cuda_view){ .data = o->data, .rows = hone_rows(o), .cols = hone_cuda_cols(o), .dtype = o->dtype };
}

hone_cuda_call hone_cuda_call_of(const hone_cuda_node *node)
{
    const hone_args *args = node->args;
    const hone_attr *a = &args->attr;
    hone_cuda_call call = {
        .work = args->workspace, .heads = a->heads, .kv_heads = a->kv_heads, .head_dim = a->head_dim, .q_col = a->q_col, .k_col = a->k_col,
        .v_col = a->v_col, .window = a->window, .group_rows = a->group_rows, .block = a->block, .inverse = a->inverse, .stream = a->stream,
        .scale = a->scale, .cap = a->cap, .base = a->base, .eps = a->eps, .beta1 = a->beta1, .beta2 = a->beta2, .decay = a->decay, .max_norm = a->max_norm,
        .rate = a->rate, .parts = a->parts,
        .poly = { a->poly[0], a->poly[1], a->poly[2] }, .same_kv = args->same_kv,
    };
    for (int u = 0; u < HONE_MAX_PARTS; u++) call.part_col[u] = a->part_col[u], call.part_rows[u] = a->part_rows[u];
    for (int i = 0; i < HONE_MAX_IN; i++) call.in[i] = hone_cuda_view_of(&args->in[i]);
    for (int i = 0; i < HONE_MAX_OUT; i++) call.out[i] = hone_cuda_view_of(&args->out[i]);
    return call;
}

void hone_cuda_blocks(const hone_cuda_node *node, hone_cuda_kernel kernel, int64_t x, int64_t y, size_t shared_bytes, const hone_cuda_call *call)
{
    const hone_cuda_shape shape = { x, y, shared_bytes };
    if (x > 0 && y > 0) node->device->launch(node->device->self, kernel, &shape, call, node->stream); // no live rows: nothing
}

void hone_cuda_elements(const hone_cuda_node *node, hone_cuda_kernel kernel, int64_t count, const hone_cuda_call *call)
{
    const int64_t most = 1 << 16, blocks = (count + threads[kernel] - 1) / threads[kernel]; // the rest by strides
    hone_cuda_blocks(node, kernel, blocks < most ? blocks : most, 1, 0, call);
}

void *hone_cuda_take(hone_cuda_scratch *scratch, size_t bytes)
{
    void *place = scratch->base ? scratch->base + scratch->used : NULL;
    scratch->used += (bytes + 255) / 256 * 256; // as the product library likes its operands
    return place;
}

// --- what is taken -------------------------------------------------------------------------------------------------------

static bool takes(const hone_args *args, hone_dtype dtype, int k, bool output)
{
    if (dtype == HONE_f32 || dtype == HONE_i32 || dtype == HONE_u8) return true;
    if (hone_dtype_is_fp8(dtype)) return args->op == HONE_OP_pack ? output : !output && k == 1 && args->in[1].form != HONE_FORM_PLAIN;
    if (hone_dtype_is_blocked(dtype)) return args->op == HONE_OP_pack && !output;
    if (dtype == (output ? hone_op_get(args->op)->out[k].dtype : hone_op_get(args->op)->in[k].dtype)) return true;  // codes of a cache
    const bool moment = output && k >= 2;   // rounded at random, in bf16 alone
    return (dtype == HONE_bf16 || (dtype == HONE_f16 && !moment)) && hone_may_be_half(args->op, output, k);
}

// Forms are copies of a weight in the numbers that its product is made in; in fp8 they lie as the product reads them.
static const char *refused(const void *self, const hone_args *args, const hone_operand *o, int k, bool output)
{
    const hone_cuda_backend *cuda = self;
    const bool plain = o->form == HONE_FORM_PLAIN || args->op == HONE_OP_pack;
    const bool reads_forms = !output && k == 1 && (args->op == HONE_OP_linear || args->op == HONE_OP_linear_dx || args->op == HONE_OP_lora_linear);
    const bool change = args->op == HONE_OP_pack && !output && k > 0;
    if (change || !takes(args, o->dtype, k, output)) return "takes no %s as %s";
    const bool fp8 = hone_dtype_is_fp8(args->attr.product), turned = fp8 && o->form != (args->op == HONE_OP_linear_dx ? HONE_FORM_PACKED_T : HONE_FORM_PACKED);
    if (!plain && (!reads_forms || o->dtype != (fp8 ? args->attr.product : hone_cuda_product(args)) || turned)) return "takes no form of %s as %s";
    const bool attention = args->op == HONE_OP_attention || args->op == HONE_OP_attention_back;
    if (attention && args->attr.head_dim > hone_cuda_head_dim(cuda->device.shared_bytes, args->op)) return "has too little shared memory for this head_dim, %s %s";
    return NULL;
}

bool hone_cuda_supports(void *self, const hone_args *args, const char **why_not)
{
    static _Thread_local char message[160];
    const hone_op_info *info = hone_op_get(args->op);
    *why_not = message;
    if (!rules[args->op].run) {
        snprintf(message, sizeof message, "the cuda backend has no %s", info->name);
        return false;
    }
    if (args->attr.product == HONE_int8 && info->flags & HONE_PRODUCT) {
        snprintf(message, sizeof message, "the cuda backend makes no products of 8-bit integers (%s)", info->name);
        return false;
    }
    const char *not_in_fp8 = hone_cuda_fp8_refused(&((hone_cuda_backend *)self)->device, args);
    if (not_in_fp8) {
        snprintf(message, sizeof message, "%s (%s)", not_in_fp8, info->name);
        return false;
    }
    for (int i = 0; i < info->n_in + info->n_out; i++) {
        const bool output = i >= info->n_in;
        const int k = output ? i - info->n_in : i;
        const hone_operand *o = output ? &args->out[k] : &args->in[k];
        const char *why = o->present ? refused(self, args, o, k, output) : NULL;
        if (!why) continue;
        const int length = snprintf(message, sizeof message, "the cuda backend's %s ", info->name);
        snprintf(message + length, sizeof message - (size_t)length, why, hone_dtype_name(o->dtype), output ? info->out[k].name : info->in[k].name);
        return false;
    }
    return true;
}

size_t hone_cuda_workspace_bytes(void *self, const hone_args *args)
{
    const hone_cuda_backend *cuda = self;
    const hone_cuda_node node = { args, &cuda->device, 0 };
    return rules[args->op].scratch ? rules[args->op].scratch(&node) : 0;
}

void hone_cuda_run(void *self, const hone_args *args, void *handle, int stream)
{
    const hone_cuda_backend *cuda = self;
    const hone_cuda_node node = { args, &cuda->device, stream };
    (void)handle;
    rules[args->op].run(&node);
}

hone_status hone_cuda_alloc(void *self, hone_space space, size_t bytes, void **pointer)
{
    hone_cuda_backend *cuda = self;
    return cuda->alloc(cuda->device.self, space, bytes, pointer);
}
void hone_cuda_release(void *self, hone_space space, void *pointer, size_t bytes)
{
    hone_cuda_backend *cuda = self;
    cuda->release(cuda->device.self, space, pointer, bytes);
}
void hone_cuda_copy(void *self, void *to, const void *from, size_t bytes, int stream)
{
    hone_cuda_backend *cuda = self;
    cuda->copy(cuda->device.self, to, from, bytes, stream);
}
void hone_cuda_clear(void *self, void *to, size_t bytes, int stream)
{
    hone_cuda_backend *cuda = self;
    cuda->clear(cuda->device.self, to, bytes, stream);
}
