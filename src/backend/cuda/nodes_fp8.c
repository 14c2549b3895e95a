// nodes_fp8.c: operands of products in fp8, and forms of weights that are made once for several. A form is the codes as the product
// reads them (packed: (M, K), packed_t: (K, M)) and, behind them, their scale.
#include "backend/cuda/cuda.h"
#include "graph/pass.h"

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static size_t code_bytes(int64_t M, int64_t K) { return (size_t)(M * K + 15) / 16 * 16; }

size_t hone_cuda_fp8_form_bytes(hone_form form, int64_t M, int64_t K)
{
    const bool made = (form == HONE_FORM_PACKED || form == HONE_FORM_PACKED_T) && M % HONE_FP8_SIZES == 0 && K % HONE_FP8_SIZES == 0;
    return made ? code_bytes(M, K) + sizeof(float) : 0;
}

size_t hone_cuda_fp8_part_bytes(void) { return HONE_CUDA_FP8_PARTS * sizeof(float); }

// codes, scale = x   (e4m3 or e5m2; transposed or as it lies)
static void quantise(const hone_cuda_node *node, const hone_cuda_view *x, hone_dtype dtype, bool transposed, void *codes, float *scale, void *parts)
{
    enum { BLOCK_ELEMENTS = 256 * 8, MOST_BLOCKS = 2048 };
    const int64_t count = x->rows * x->cols, blocks = (count + BLOCK_ELEMENTS - 1) / BLOCK_ELEMENTS, side = HONE_CUDA_FP8_TILE;
    HONE_ASSERT(x->rows % HONE_FP8_SIZES == 0 && x->cols % HONE_FP8_SIZES == 0, "fp8 of %lld x %lld", (long long)x->rows, (long long)x->cols);
    const hone_cuda_call call = { .in = { *x }, .out = { { codes, x->rows, x->cols, dtype }, { scale, 1, 1, HONE_f32 } }, .work = parts,
                                  .n = { smaller(blocks, HONE_CUDA_FP8_PARTS) } };
    const int64_t tiles = (x->rows + side - 1) / side * ((x->cols + side - 1) / side);
    hone_cuda_blocks(node, HONE_CUDA_fp8_largest, call.n[0], 1, 0, &call);
    if (transposed) hone_cuda_blocks(node, HONE_CUDA_fp8_transpose, smaller(tiles, MOST_BLOCKS), 1, 0, &call);
    else hone_cuda_blocks(node, HONE_CUDA_fp8_cast, smaller(blocks, MOST_BLOCKS), 1, 0, &call);
}

hone_cuda_fp8 hone_cuda_in_fp8(const hone_cuda_node *node, const hone_operand *o, hone_dtype dtype, bool transposed, hone_cuda_scratch *scratch)
{
    const int64_t rows = hone_cuda_bound(o), cols = hone_cuda_cols(o);
    if (o->dtype == HONE_e4m3) // a form
        return (hone_cuda_fp8){ o->data, o->data ? (const float *)((const uint8_t *)o->data + code_bytes(rows, cols)) : NULL };
    void *codes = hone_cuda_take(scratch, code_bytes(rows, cols)), *parts = hone_cuda_take(scratch, hone_cuda_fp8_part_bytes());
    float *scale = hone_cuda_take(scratch, sizeof *scale);
    const hone_cuda_view x = hone_cuda_view_of(o);
    if (!scratch->counts && x.rows > 0) quantise(node, &x, dtype, transposed, codes, scale, parts);
    return (hone_cuda_fp8){ codes, scale };
}

void hone_cuda_make_fp8_form(const hone_cuda_node *node)
{
    const hone_operand *w = &node->args->in[0], *f = &node->args->out[0];
    const hone_cuda_view x = hone_cuda_view_of(w);
    quantise(node, &x, HONE_e4m3, f->form == HONE_FORM_PACKED_T, f->data, (float *)((uint8_t *)f->data + code_bytes(x.rows, x.cols)), node->args->workspace);
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
    if ((pack ? args->attr.dtype : args->attr.product) != HONE_e4m3) return NULL;
    if (!device->fp8) return "this GPU makes no products in fp8: it takes compute capability 8.9 (Ada) or 9.0 (Hopper)";
    if (pack && (hone_dtype_is_blocked(args->in[0].dtype) || !hone_cuda_fp8_form_bytes(args->attr.form, args->in[0].dim[0], args->in[0].dim[1])))
        return "the cuda backend makes no such form in fp8";
    if (pack) return NULL;
    return hone_op_get(args->op)->flags & HONE_FP8 ? wrong_operands(args) : "the cuda backend makes these products not in fp8";
}
