// cuda.h: the backend apart from its device.
//
// A node becomes a few launches. For each row of ops.def there is a function in nodes_*.c
//     void   hone_cuda_node_<op>(const hone_cuda_node *node)
//     size_t hone_cuda_scratch_<op>(const hone_cuda_node *node)     only where it needs scratch (a weak symbol)
// A row without one is declined by name. The scratch function runs at plan time (no operand has a place) and by bounds; both must
// come to the same layout of the scratch, which is why sizes are taken by bounds everywhere and rows that live only for loops.
#pragma once
#include "backend/cuda/device.h"

typedef struct hone_cuda_backend {
    hone_cuda_device device;
    hone_status (*alloc)(void *self, hone_space space, size_t bytes, void **pointer);
    void (*release)(void *self, hone_space space, void *pointer, size_t bytes);
    void (*copy)(void *self, void *to, const void *from, size_t bytes, int stream);
    void (*clear)(void *self, void *to, size_t bytes, int stream);
} hone_cuda_backend;

typedef struct hone_cuda_node {
    const hone_args *args;
    const hone_cuda_device *device;
    int stream;
} hone_cuda_node;

#define OP(name, ...)                                              \
    void hone_cuda_node_##name(const hone_cuda_node *node) __attribute__((weak));  \
    size_t hone_cuda_scratch_##name(const hone_cuda_node *node) __attribute__((weak));
#define MOVE(...)
#include "graph/ops.def"
#undef OP

// The numbers of a node's products that are no integers.
static inline hone_dtype hone_cuda_product(const hone_args *args)
{
    const hone_dtype product = args->attr.product;
    return product == HONE_bf16 || product == HONE_f16 ? product : HONE_f32;
}

// --- for nodes_*.c (cuda.c) ----------------------------------------------------------------------------------------------

// The node's operands, attributes and scratch as a kernel sees them.
hone_cuda_call hone_cuda_call_of(const hone_cuda_node *node);
hone_cuda_view hone_cuda_view_of(const hone_operand *operand);
int64_t hone_cuda_bound(const hone_operand *operand);      // rows by bound
int64_t hone_cuda_cols(const hone_operand *operand);
// Launches: a block for each of x (times y); a thread for each of `count` elements.
void hone_cuda_blocks(const hone_cuda_node *node, hone_cuda_kernel kernel, int64_t x, int64_t y, size_t shared_bytes, const hone_cuda_call *call);
void hone_cuda_elements(const hone_cuda_node *node, hone_cuda_kernel kernel, int64_t count, const hone_cuda_call *call);
// Takes `bytes` off scratch, aligned. Where it only counts, nothing has a place and nothing runs.
typedef struct hone_cuda_scratch { uint8_t *base; size_t used; bool counts; } hone_cuda_scratch;
void *hone_cuda_take(hone_cuda_scratch *scratch, size_t bytes);
int64_t hone_cuda_head_dim(int64_t shared_bytes, hone_op op); // the widest head whose tiles fit so much shared memory
int hone_cuda_attention_width(const hone_args *args);           // of tiles on matrix cores, 0: the node is not for them (nodes_attention.c)

// Products in fp8 (nodes_fp8.c): an operand's codes and their scales, on the device.
typedef struct hone_cuda_fp8 { const void *codes; const float *scale; hone_dtype dtype; hone_fp8_scaling scaling; } hone_cuda_fp8;
typedef enum { HONE_CUDA_FP8_ROWS, HONE_CUDA_FP8_GRADIENT, HONE_CUDA_FP8_WEIGHT } hone_cuda_fp8_role;
const char *hone_cuda_fp8_refused(const hone_cuda_device *device, const hone_args *args);   // NULL: taken, or not in fp8
hone_cuda_fp8 hone_cuda_in_fp8(const hone_cuda_node *node, const hone_operand *o, hone_cuda_fp8_role role, bool transposed, hone_cuda_scratch *scratch);
size_t hone_cuda_fp8_form_bytes(hone_form form, hone_dtype dtype, int64_t M, int64_t K);
size_t hone_cuda_fp8_part_bytes(hone_dtype product);      // workspace of the pack that makes one
void hone_cuda_make_fp8_form(const hone_cuda_node *node);

// Sums that several ops make (nodes_rows.c), and the scratch that each needs.
size_t hone_cuda_column_bytes(const hone_operand *dy);
void hone_cuda_add_columns(const hone_cuda_node *node, const hone_cuda_view *dy, const hone_cuda_view *db, void *work); // db (C,) += sum over rows of dy (N, C)
size_t hone_cuda_square_bytes(int64_t count);
void hone_cuda_sum_squares(const hone_cuda_node *node, const hone_cuda_view *x, const hone_cuda_view *out, bool root, void *work); // out (1,)

// --- the seam, as both devices fill it (cuda.c) --------------------------------------------------------------------------

// (form_bytes in nodes_products.c, so that a linker that takes files of a library for their strong names takes that one.)
bool hone_cuda_supports(void *self, const hone_args *args, const char **why_not);
size_t hone_cuda_form_bytes(void *self, hone_form form, hone_dtype dtype, int64_t M, int64_t K);
size_t hone_cuda_workspace_bytes(void *self, const hone_args *args);
void hone_cuda_run(void *self, const hone_args *args, void *handle, int stream);
hone_status hone_cuda_alloc(void *self, hone_space space, size_t bytes, void **pointer);
void hone_cuda_release(void *self, hone_space space, void *pointer, size_t bytes);
void hone_cuda_copy(void *self, void *to, const void *from, size_t bytes, int stream);
void hone_cuda_clear(void *self, void *to, size_t bytes, int stream);
#define HONE_CUDA_SEAM                                                                                                              \
    .abi = HONE_BACKEND_ABI, .op_table_hash = hone_op_table_hash, .alloc = hone_cuda_alloc, .release = hone_cuda_release,           \
    .copy = hone_cuda_copy, .clear = hone_cuda_clear, .form_bytes = hone_cuda_form_bytes, .supports = hone_cuda_supports,                                     \
    .workspace_bytes = hone_cuda_workspace_bytes, .run = hone_cuda_run
