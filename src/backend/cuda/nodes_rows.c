// nodes_rows.c: ops on token rows and element by element: mostly one kernel each.
#include "backend/cuda/cuda.h"

// A kernel that takes the operands as they are: a block for each row of an operand.
#define BY_ROWS(op, operand)                                                                        \
    void hone_cuda_node_##op(const hone_cuda_node *node)                                            \
    {                                                                                               \
        const hone_cuda_call call = hone_cuda_call_of(node);                                        \
        hone_cuda_blocks(node, HONE_CUDA_##op, call.operand.rows, 1, 0, &call);                     \
    }
// ... or a thread for each element.
#define BY_ELEMENTS(op, operand)                                                                    \
    void hone_cuda_node_##op(const hone_cuda_node *node)                                            \
    {                                                                                               \
        const hone_cuda_call call = hone_cuda_call_of(node);                                        \
        hone_cuda_elements(node, HONE_CUDA_##op, call.operand.rows * call.operand.cols, &call);     \
    }
BY_ROWS(embed, out[0])
BY_ROWS(gather_rows, out[0])
BY_ROWS(kv_write, in[0])
BY_ROWS(kv_write8, in[0])
BY_ROWS(rmsnorm, in[0])
BY_ROWS(layernorm, in[0])
BY_ROWS(qk_norm, in[0])
BY_ROWS(rope, in[0])
BY_ROWS(pair_loss, in[3])
BY_ELEMENTS(rope_table, in[0])
BY_ELEMENTS(swiglu, out[0])
BY_ELEMENTS(swiglu_back, in[0])
BY_ELEMENTS(geglu, out[0])
BY_ELEMENTS(geglu_back, in[0])
BY_ELEMENTS(gelu, in[0])
BY_ELEMENTS(gelu_back, in[0])
BY_ELEMENTS(add, in[0])
BY_ELEMENTS(relu2, in[0])
BY_ELEMENTS(relu2_back, in[0])
BY_ELEMENTS(softcap, in[0])
BY_ELEMENTS(scale, in[0])
BY_ELEMENTS(dropout, in[0])
BY_ELEMENTS(noise, in[0])
BY_ELEMENTS(blend, in[0])
BY_ELEMENTS(dora, in[0])
BY_ROWS(dora_norm, out[0])
BY_ELEMENTS(scale_loss, out[0])
BY_ELEMENTS(adamw, out[0])
BY_ELEMENTS(momentum, out[0])
BY_ELEMENTS(muon, out[0])

void hone_cuda_node_clip_factor(const hone_cuda_node *node)
{
    const hone_cuda_call call = hone_cuda_call_of(node);
    hone_cuda_blocks(node, HONE_CUDA_clip_factor, 1, 1, 0, &call);
}

void hone_cuda_node_adapt_scale(const hone_cuda_node *node)
{
    const hone_cuda_call call = hone_cuda_call_of(node);
    hone_cuda_blocks(node, HONE_CUDA_adapt_scale, 1, 1, 0, &call);
}

void hone_cuda_node_adamw8(const hone_cuda_node *node)
{
    const hone_cuda_call call = hone_cuda_call_of(node);
    hone_cuda_blocks(node, HONE_CUDA_adamw8, call.out[0].rows, call.out[4].cols / 2, 0, &call);
}

// --- embedding's gradient -------------------------------------------------------------------------------------------------

// Rows by bound; the kernels, which go by what lives, use a part of it.
size_t hone_cuda_scratch_embed_dw(const hone_cuda_node *node)
{
    return (size_t)(hone_cuda_bound(&node->args->out[0]) + hone_cuda_bound(&node->args->in[0])) * 2 * sizeof(int32_t);
}

void hone_cuda_node_embed_dw(const hone_cuda_node *node)
{
    hone_cuda_call call = hone_cuda_call_of(node);
    const int64_t N = call.in[0].rows, V = call.out[0].rows;
    if (N == 0) return;
    call.n[0] = V * (int64_t)sizeof(int32_t);
    hone_cuda_elements(node, HONE_CUDA_zero, V, &call);
    hone_cuda_elements(node, HONE_CUDA_embed_count, N, &call);
    hone_cuda_blocks(node, HONE_CUDA_embed_scan, 1, 1, 0, &call);
    hone_cuda_elements(node, HONE_CUDA_embed_place, N, &call);
    hone_cuda_elements(node, HONE_CUDA_embed_rank, N, &call);
    hone_cuda_blocks(node, HONE_CUDA_embed_sum, N, 1, 0, &call);
}

// --- gradients of norms ---------------------------------------------------------------------------------------------------

static size_t part_bytes(int64_t rows, int64_t columns)
{
    return (size_t)((rows + HONE_CUDA_PART_ROWS - 1) / HONE_CUDA_PART_ROWS * 2 * columns) * sizeof(float);
}

// The two sums of column_parts over the first `columns` columns of dy; x and its statistics as its kind (n[0]) wants them.
static void make_parts(const hone_cuda_node *node, int kind, int64_t columns, const hone_cuda_view *dy, const hone_cuda_view *x,
                       const hone_cuda_view *stats, void *work)
{
    hone_cuda_call call = hone_cuda_call_of(node);
    call.in[0] = *dy, call.work = work;
    if (kind) call.in[1] = *x, call.in[2] = *stats;
    call.n[0] = kind, call.n[1] = columns, call.n[2] = call.in[3].rows * call.in[3].cols;
    hone_cuda_blocks(node, HONE_CUDA_column_parts, (columns + 31) / 32, (dy->rows + HONE_CUDA_PART_ROWS - 1) / HONE_CUDA_PART_ROWS, 0, &call);
}

// out += sums of kind b (or a) over the columns [first, end), folded.
static void add_parts(const hone_cuda_node *node, bool b, int64_t first, int64_t end, int64_t columns, int64_t rows, const hone_cuda_view *out, void *work)
{
    hone_cuda_call call = { .out = { *out }, .work = (float *)work + (b ? columns : 0),
                            .n = { first, columns, (rows + HONE_CUDA_PART_ROWS - 1) / HONE_CUDA_PART_ROWS, end } };
    if (out->data) hone_cuda_elements(node, HONE_CUDA_column_total, out->rows * out->cols, &call);
}

void hone_cuda_add_columns(const hone_cuda_node *node, const hone_cuda_view *dy, const hone_cuda_view *db, void *work)
{
    if (!db->data) return;
    make_parts(node, 0, dy->cols, dy, NULL, NULL, work);
    add_parts(node, true, 0, dy->cols, dy->cols, dy->rows, db, work);
}
size_t hone_cuda_column_bytes(const hone_operand *dy) { return part_bytes(hone_cuda_bound(dy), hone_cuda_cols(dy)); }

size_t hone_cuda_scratch_rmsnorm_back(const hone_cuda_node *node) { return hone_cuda_column_bytes(&node->args->in[0]); }
size_t hone_cuda_scratch_layernorm_back(const hone_cuda_node *node) { return hone_cuda_column_bytes(&node->args->in[0]); }
size_t hone_cuda_scratch_qk_norm_back(const hone_cuda_node *node) { return hone_cuda_column_bytes(&node->args->in[0]); }

void hone_cuda_node_rmsnorm_back(const hone_cuda_node *node)
{
    const hone_cuda_call call = hone_cuda_call_of(node);
    const int64_t C = call.in[0].cols;
    if (call.out[1].data) make_parts(node, 1, C, &call.in[0], &call.in[1], &call.in[3], call.work);
    add_parts(node, false, 0, C, C, call.in[0].rows, &call.out[1], call.work);
    hone_cuda_blocks(node, HONE_CUDA_rmsnorm_back, call.in[0].rows, 1, 0, &call);
}

void hone_cuda_node_layernorm_back(const hone_cuda_node *node)
{
    const hone_cuda_call call = hone_cuda_call_of(node);
    const int64_t C = call.in[0].cols;
    if (call.out[1].data || call.out[2].data) make_parts(node, 2, C, &call.in[0], &call.in[1], &call.in[3], call.work);
    add_parts(node, false, 0, C, C, call.in[0].rows, &call.out[1], call.work);
    add_parts(node, true, 0, C, C, call.in[0].rows, &call.out[2], call.work);
    hone_cuda_blocks(node, HONE_CUDA_layernorm_back, call.in[0].rows, 1, 0, &call);
}

// dqkv may be dy, so the gains' gradients come first.
void hone_cuda_node_qk_norm_back(const hone_cuda_node *node)
{
    const hone_cuda_call call = hone_cuda_call_of(node);
    const int64_t q = (int64_t)call.heads * call.head_dim, columns = q + (int64_t)call.kv_heads * call.in[3].rows * call.in[3].cols;
    if (call.out[1].data || call.out[2].data) make_parts(node, 3, columns, &call.in[0], &call.in[1], &call.in[4], call.work);
    add_parts(node, false, 0, q, columns, call.in[0].rows, &call.out[1], call.work);
    add_parts(node, false, q, columns, columns, call.in[0].rows, &call.out[2], call.work);
    hone_cuda_blocks(node, HONE_CUDA_qk_norm_back, call.in[0].rows, 1, 0, &call);
}

// --- blend ----------------------------------------------------------------------------------------------------------------

size_t hone_cuda_scratch_blend_back(const hone_cuda_node *node) { return hone_cuda_column_bytes(&node->args->in[1]); }

// dz may be z's place, so the sums over rows come first: of dy from its column v_col on.
void hone_cuda_node_blend_back(const hone_cuda_node *node)
{
    const hone_cuda_call call = hone_cuda_call_of(node);
    const int64_t Q = call.in[1].cols;
    hone_cuda_view columns = call.in[0];
    columns.data = (char *)columns.data + (size_t)call.v_col * hone_dtype_bytes(columns.dtype);
    if (call.out[1].data) make_parts(node, 4, Q, &columns, &call.in[1], &(hone_cuda_view){ 0 }, call.work);
    add_parts(node, false, 0, Q, Q, call.in[0].rows, &call.out[1], call.work);
    hone_cuda_elements(node, HONE_CUDA_blend_back, call.in[1].rows * Q, &call);
}

// --- lengths of rows ------------------------------------------------------------------------------------------------------

size_t hone_cuda_scratch_dora_back(const hone_cuda_node *node) { return hone_cuda_column_bytes(&node->args->in[0]); }

// dz may be dy's place, so the sums over rows come first; dz is dy as dora makes it of z.
void hone_cuda_node_dora_back(const hone_cuda_node *node)
{
    const hone_cuda_call call = hone_cuda_call_of(node);
    const int64_t M = call.in[0].cols, parts = (call.in[0].rows + HONE_CUDA_PART_ROWS - 1) / HONE_CUDA_PART_ROWS;
    make_parts(node, 4, M, &call.in[0], &call.in[1], &(hone_cuda_view){ 0 }, call.work);
    hone_cuda_call lengths = call, rows = call;
    lengths.in[0] = call.in[3], lengths.out[0] = call.out[1], lengths.n[0] = parts, lengths.n[1] = M;
    hone_cuda_elements(node, HONE_CUDA_dora_lengths, call.out[1].rows, &lengths);
    add_parts(node, true, 0, M, M, call.in[0].rows, &call.out[2], call.work);
    rows.in[1] = call.in[2], rows.in[2] = call.in[3], rows.in[3] = rows.in[4] = (hone_cuda_view){ 0 };
    hone_cuda_elements(node, HONE_CUDA_dora, call.in[0].rows * M, &rows);
}

// --- sums of squares ------------------------------------------------------------------------------------------------------

static int64_t square_parts(int64_t count) { return (count + HONE_CUDA_SQUARE_CHUNK - 1) / HONE_CUDA_SQUARE_CHUNK; }
size_t hone_cuda_square_bytes(int64_t count) { return (size_t)square_parts(count) * sizeof(double); }

void hone_cuda_sum_squares(const hone_cuda_node *node, const hone_cuda_view *x, const hone_cuda_view *out, bool root, void *work)
{
    hone_cuda_call call = { .in = { *x }, .out = { *out }, .work = work, .n = { square_parts(x->rows * x->cols), root } };
    hone_cuda_blocks(node, HONE_CUDA_square_parts, call.n[0], 1, 0, &call);
    hone_cuda_blocks(node, HONE_CUDA_square_total, 1, 1, 0, &call);
}

size_t hone_cuda_scratch_sum_squares(const hone_cuda_node *node)
{
    return hone_cuda_square_bytes(hone_cuda_bound(&node->args->in[0]) * hone_cuda_cols(&node->args->in[0]));
}

void hone_cuda_node_sum_squares(const hone_cuda_node *node)
{
    const hone_cuda_call call = hone_cuda_call_of(node);
    hone_cuda_sum_squares(node, &call.in[0], &call.out[0], false, call.work);
}
