// nodes_fp8.c: operands of products in fp8, and forms of weights that are made once for several. A form is the codes as the product
// reads them (packed: (M, K), packed_t: (K, M)) and, behind them, their scales, at a multiple of 16 bytes as the product library wants.
#include "backend/cuda/cuda.h"
#include "graph/pass.h"

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static size_t code_bytes(int64_t M, int64_t K) { return (size_t)(M * K + 15) / 16 * 16; }

// Scales of (rows, cols) that become an operand, transposed or as they lie.
static int64_t scale_count(hone_fp8_scaling scaling, bool transposed, int64_t rows, int64_t cols)
{
    return transposed ? hone_fp8_scale_count(scaling, cols, rows) : hone_fp8_scale_count(scaling, rows, cols);
}

static hone_fp8_scaling scaling_of(hone_dtype product, hone_cuda_fp8_role role)
{
    return product != HONE_e4m3_128 ? HONE_FP8_TENSOR : role == HONE_CUDA_FP8_WEIGHT ? HONE_FP8_SQUARES : HONE_FP8_RUNS;
}

size_t hone_cuda_fp8_form_bytes(hone_form form, hone_dtype dtype, int64_t M, int64_t K)
{
    const bool made = (form == HONE_FORM_PACKED || form == HONE_FORM_PACKED_T) && M % HONE_FP8_SIZES == 0 && K % HONE_FP8_SIZES == 0;
    const hone_fp8_scaling scaling = scaling_of(dtype, HONE_CUDA_FP8_WEIGHT);
    return made ? code_bytes(M, K) + (size_t)scale_count(scaling, form == HONE_FORM_PACKED_T, M, K) * sizeof(float) : 0;
}

size_t hone_cuda_fp8_part_bytes(hone_dtype product) { return product == HONE_e4m3 ? HONE_CUDA_FP8_PARTS * sizeof(float) : 0; }

// to = x, transposed or as it lies; parts: of a tensor's largest
static void quantise(const hone_cuda_node *node, const hone_cuda_view *x, hone_cuda_fp8 to, bool transposed, void *parts)
{
    enum { BLOCK_ELEMENTS = 256 * 8, MOST_BLOCKS = 2048 };
    const bool whole = to.scaling == HONE_FP8_TENSOR;
    const int64_t count = x->rows * x->cols, blocks = (count + BLOCK_ELEMENTS - 1) / BLOCK_ELEMENTS, side = whole ? HONE_CUDA_FP8_TILE : HONE_FP8_BLOCK;
    HONE_ASSERT(x->rows % HONE_FP8_SIZES == 0 && x->cols % HONE_FP8_SIZES == 0, "fp8 of %lld x %lld", (long long)x->rows, (long long)x->cols);
    hone_cuda_call call = { .in = { *x }, .work = parts, .n = { whole ? smaller(blocks, HONE_CUDA_FP8_PARTS) : (int64_t)to.scaling, transposed },
                            .out = { { (void *)(uintptr_t)to.codes, x->rows, x->cols, to.dtype }, { (void *)(uintptr_t)to.scale, 1, 1, HONE_f32 } } };
    const int64_t tiles = (x->rows + side - 1) / side * ((x->cols + side - 1) / side);
    if (!whole) {
        hone_cuda_blocks(node, HONE_CUDA_fp8_blocks, smaller(tiles, MOST_BLOCKS), 1, 0, &call);
        return;
    }
    hone_cuda_blocks(node, HONE_CUDA_fp8_largest, call.n[0], 1, 0, &call);
    if (transposed) hone_cuda_blocks(node, HONE_CUDA_fp8_transpose, smaller(tiles, MOST_BLOCKS), 1, 0, &call);
    else hone_cuda_blocks(node, HONE_CUDA_fp8_cast, smaller(blocks, MOST_BLOCKS), 1, 0, &call);
}

hone_cuda_fp8 hone_cuda_in_fp8(const hone_cuda_node *node, const hone_operand *o, hone_cuda_fp8_role role, bool transposed, hone_cuda_scratch *scratch)
{
    const int64_t rows = hone_cuda_bound(o), cols = hone_cuda_cols(o);
    const hone_dtype product = node->args->attr.product;
    hone_cuda_fp8 made = { .dtype = product == HONE_e4m3 && role == HONE_CUDA_FP8_GRADIENT ? HONE_e5m2 : HONE_e4m3, .scaling = scaling_of(product, role) };
    if (o->dtype == product) { // a form
        made.codes = o->data, made.scale = o->data ? (const float *)((const uint8_t *)o->data + code_bytes(rows, cols)) : NULL;
        return made;
    }
    made.codes = hone_cuda_take(scratch, code_bytes(rows, cols));
    void *parts = hone_cuda_take(scratch, hone_cuda_fp8_part_bytes(product));
    made.scale = hone_cuda_take(scratch, (size_t)scale_count(made.scaling, transposed, rows, cols) * sizeof *made.scale);
    const hone_cuda_view x = hone_cuda_view_of(o);
    if (!scratch->counts && x.rows > 0) quantise(node, &x, made, transposed, parts);
    return made;
}

void hone_cuda_make_fp8_form(const hone_cuda_node *node)
{
    const hone_operand *w = &node->args->in[0], *f = &node->args->out[0];
    const hone_cuda_view x = hone_cuda_view_of(w);
    const hone_cuda_fp8 to = { f->data, (const float *)((const uint8_t *)f->data + code_bytes(x.rows, x.cols)), HONE_e4m3, scaling_of(f->dtype, HONE_CUDA_FP8_WEIGHT) };
    quantise(node, &x, to, f->form == HONE_FORM_PACKED_T, node->args->workspace);
}

static const char *wrong_operands(const hone_args *args)
{
    for (int i = 0; i < 2; i++)
        if (args->in[i].dtype == HONE_f16) return "the cuda backend's products in fp8 read no f16";
    for (int i = 0; i < 2; i++)
        for (int r = 0; r < 2; r++)
            if (args->in[i].present && args->in[i].dim[r] % HONE_FP8_SIZES) return "the cuda backend's products in fp8 want sizes that are multiples of 16";
    return NULL;
}

const char *hone_cuda_fp8_refused(const hone_cuda_device *device, const hone_args *args)
{
    const bool pack = args->op == HONE_OP_pack;
    const hone_dtype product = pack ? args->attr.dtype : args->attr.product;
    if (!hone_dtype_is_fp8(product)) return NULL;
    if (!device->fp8) return "this GPU makes no products in fp8: it takes compute capability 8.9 (Ada) or 9.0 (Hopper)";
    if (product == HONE_e4m3_128 && !device->fp8_blocks) return "this GPU makes no products in fp8 with a scale for each block: they take compute capability 9.0 (Hopper)";
    if (pack && (hone_dtype_is_blocked(args->in[0].dtype) || !hone_cuda_fp8_form_bytes(args->attr.form, product, args->in[0].dim[0], args->in[0].dim[1])))
        return "the cuda backend makes no such form in fp8";
    if (pack) return NULL;
    return hone_op_get(args->op)->flags & HONE_FP8 ? wrong_operands(args) : "the cuda backend makes these products not in fp8";
}
