// nodes_attention.c: attention and its gradient: on matrix cores where the operands are made for them, else on multiply-adds.
#include "backend/cuda/cuda.h"

// --- which kernels -------------------------------------------------------------------------------------------------------
// On matrix cores (attention_mma.cu) where rows are bf16, or all f16, every head begins at a multiple of 16 bytes in them and larger products are larger
// scores: how wide a tile is then, 0 where the kernels of attention.cu take the node.

static bool in_chunks(int64_t x) { return x % 8 == 0; }

int hone_cuda_attention_width(const hone_args *args)
{
    const hone_attr *a = &args->attr;
    const bool back = args->op == HONE_OP_attention_back, paged = !back && args->in[5].present;
    const hone_operand *q = &args->in[back], *kv = &args->in[1 + back];
    const hone_operand *rows[] = { q, kv, &args->out[0], &args->in[back ? 0 : 1], &args->in[back ? 3 : 1], &args->out[back] };
    const int n = back ? args->out[1].present ? 6 : 5 : 3;
    bool narrow = (q->dtype == HONE_bf16 || q->dtype == HONE_f16) && !paged && a->scale > 0 && in_chunks(a->head_dim) && a->head_dim <= 128;
    for (int i = 0; i < n; i++) narrow = narrow && rows[i]->dtype == q->dtype && in_chunks(hone_cuda_cols(rows[i]));
    narrow = narrow && in_chunks(a->q_col) && in_chunks(a->k_col) && in_chunks(a->v_col);
    return !narrow ? 0 : a->head_dim <= 64 ? 64 : 128;
}

// The kernel of a name for the width and the numbers of the rows of q.
#define ON_MATRIX_CORES(part, W, f16) ((W) == 64 ? (f16) ? HONE_CUDA_attention_mma64##part##_f16 : HONE_CUDA_attention_mma64##part \
                                                 : (f16) ? HONE_CUDA_attention_mma128##part##_f16 : HONE_CUDA_attention_mma128##part)

// --- grids and scratch ---------------------------------------------------------------------------------------------------

static int64_t tiles(int64_t rows, int size) { return (rows + size - 1) / size; }

// Dynamic shared memory of a block, as the kernels lay it out.
enum { Q = HONE_CUDA_QUERIES, K = HONE_CUDA_KEYS };
static size_t shared_forward(int64_t D) { return (size_t)(2 * Q * D + K * (2 * D + 1) + Q * K) * sizeof(float); }
static size_t shared_dq(int64_t D) { return (size_t)(3 * Q * D + 2 * K * (D + 1) + Q * K) * sizeof(float); }
static size_t shared_dkv(int64_t D) { return (size_t)(2 * Q * D + 2 * K * (D + 1) + 2 * K * D + 2 * Q * K) * sizeof(float); }
static size_t shared_mma(int W) { return (size_t)(HONE_CUDA_MMA_QUERIES * W + 4 * HONE_CUDA_MMA_TILE) * sizeof(uint16_t); }
static size_t shared_mma_back(int W) { return (size_t)(2 * HONE_CUDA_MMA_STAYING + 4 * HONE_CUDA_MMA_PASSING * W) * sizeof(uint16_t); }
static size_t shared_paged(int64_t D) { return (size_t)(D + HONE_CUDA_PAGE_KEYS) * sizeof(float); }

int64_t hone_cuda_head_dim(int64_t shared_bytes, hone_op op)
{
    int64_t D = 0;
    while ((int64_t)(op == HONE_OP_attention ? shared_forward(D + 1) : shared_dkv(D + 1)) <= shared_bytes) D++;
    return D;
}

void hone_cuda_node_attention(const hone_cuda_node *node)
{
    const hone_cuda_call call = hone_cuda_call_of(node);
    const int W = hone_cuda_attention_width(node->args);
    if (W) hone_cuda_blocks(node, ON_MATRIX_CORES(, W, call.in[0].dtype == HONE_f16), tiles(call.in[0].rows, HONE_CUDA_MMA_QUERIES), call.heads,
                            shared_mma(W), &call);
    else if (call.in[5].data) hone_cuda_blocks(node, HONE_CUDA_attention_paged, call.in[0].rows, call.heads, shared_paged(call.head_dim), &call);
    else hone_cuda_blocks(node, HONE_CUDA_attention, tiles(call.in[0].rows, Q), call.heads, shared_forward(call.head_dim), &call);
}

void hone_cuda_node_attention8(const hone_cuda_node *node)
{
    const hone_cuda_call call = hone_cuda_call_of(node);
    hone_cuda_blocks(node, HONE_CUDA_attention_paged8, call.in[0].rows, call.heads, shared_paged(call.head_dim), &call);
}

static size_t delta_bytes(const hone_args *args) { return (size_t)(hone_cuda_bound(&args->in[0]) * args->attr.heads) * sizeof(float); }

size_t hone_cuda_scratch_attention_back(const hone_cuda_node *node)
{
    hone_cuda_scratch scratch = { 0 };
    hone_cuda_take(&scratch, delta_bytes(node->args));
    const int64_t N = hone_cuda_bound(&node->args->in[0]); // spans: two or four numbers for each tile of rows
    hone_cuda_take(&scratch, (size_t)(hone_cuda_attention_width(node->args) ? tiles(N, HONE_CUDA_MMA_PASSING) * 4 : tiles(N, Q) * 2) * sizeof(int32_t));
    return scratch.used;
}

static void zero(const hone_cuda_node *node, const hone_cuda_view *x)
{
    // A row is a multiple of 4 bytes: an even number of bf16 columns, as q|k|v is.
    hone_cuda_call call = { .work = x->data, .n = { x->rows * x->cols * (int64_t)hone_dtype_bytes(x->dtype) } };
    hone_cuda_elements(node, HONE_CUDA_zero, call.n[0] / 4, &call);
}

void hone_cuda_node_attention_back(const hone_cuda_node *node)
{
    hone_cuda_call call = hone_cuda_call_of(node);
    const int64_t N = call.in[0].rows, R = call.in[2].rows, D = call.head_dim;
    hone_cuda_scratch scratch = { .base = node->args->workspace };
    hone_cuda_take(&scratch, delta_bytes(node->args));
    call.n[0] = (int64_t)scratch.used; // where the spans begin
    if (!call.same_kv || call.out[0].cols != (call.heads + 2 * call.kv_heads) * D) zero(node, &call.out[0]);
    if (!call.same_kv && call.out[1].data) zero(node, &call.out[1]);
    hone_cuda_blocks(node, HONE_CUDA_attention_delta, tiles(N * call.heads, 4), 1, 0, &call);
    if (!call.same_kv) call.group_rows = 0; // groups are of queries and keys alike only where both are the same rows
    const int W = hone_cuda_attention_width(node->args);
    const bool of_keys = call.same_kv || call.out[1].data;
    if (W) {
        const bool f16 = call.in[1].dtype == HONE_f16;
        hone_cuda_blocks(node, HONE_CUDA_attention_mma_spans, tiles(N, 128), 1, 0, &call);
        hone_cuda_blocks(node, ON_MATRIX_CORES(_dq, W, f16), tiles(N, HONE_CUDA_MMA_STAYING / W), call.heads,
                         shared_mma_back(W), &call);
        if (of_keys) hone_cuda_blocks(node, ON_MATRIX_CORES(_dkv, W, f16), tiles(R, HONE_CUDA_MMA_STAYING / W),
                                      call.kv_heads, shared_mma_back(W), &call);
        return;
    }
    hone_cuda_blocks(node, HONE_CUDA_attention_spans, tiles(N, Q), 1, 0, &call);
    hone_cuda_blocks(node, HONE_CUDA_attention_dq, tiles(N, Q), call.heads, shared_dq(D), &call);
    if (of_keys) hone_cuda_blocks(node, HONE_CUDA_attention_dkv, tiles(R, K), call.kv_heads, shared_dkv(D), &call);
}
