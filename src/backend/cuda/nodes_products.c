// nodes_products.c: matrix products and what is made of them: linear and its gradients, low-rank changes, the head in chunks, Muon's Gram matrices.
//
// A product is the device's gemm(). Its operands have one dtype, `product` (bf16, f16 or f32): an operand that lies in the other one is
// cast into scratch first (weights of training come as forms, already cast). Sums are f32. A result that needs nothing more goes
// where it belongs; else it is made in f32 scratch and finished by a kernel (bias, addend, one rounding). Of products in fp8 both operands
// are quantised (nodes_fp8.c), transposed where they do not lie along the sum; what is beside them (low-rank changes) is bf16. Forward
// their sums may be short (fast): some 14 bits, against operands of 4. Gradients' are whole, and all where blocks are scaled: the library
// takes no others there.
#include "backend/cuda/cuda.h"

static bool in_fp8(const hone_cuda_node *node) { return hone_dtype_is_fp8(node->args->attr.product); }
static hone_dtype product_of(const hone_cuda_node *node) { return in_fp8(node) ? HONE_bf16 : hone_cuda_product(node->args); }
static size_t bytes_of(int64_t count, hone_dtype dtype) { return (size_t)count * hone_dtype_bytes(dtype); }

// An operand as the product takes it, cast where needed. With scratch that only counts, nothing runs.
static const void *in_product(const hone_cuda_node *node, const hone_operand *o, hone_cuda_scratch *scratch)
{
    const hone_dtype product = product_of(node);
    if (o->dtype == product) return o->data;
    void *to = hone_cuda_take(scratch, bytes_of(hone_cuda_bound(o) * hone_cuda_cols(o), product));
    if (scratch->counts) return NULL;
    hone_cuda_call call = { .in = { hone_cuda_view_of(o) } };
    call.out[0] = call.in[0];
    call.out[0].data = to, call.out[0].dtype = product;
    hone_cuda_elements(node, HONE_CUDA_cast, call.in[0].rows * call.in[0].cols, &call);
    return to;
}

static void multiply(const hone_cuda_node *node, hone_cuda_gemm gemm, void *scratch)
{
    if (!gemm.scale_a) gemm.of = gemm.of_b = product_of(node);
    if (gemm.n > 0) node->device->gemm(node->device->self, &gemm, scratch, node->stream);
}

// a (n, k), b (m, k) of a product in fp8: e5m2 are gradients.
static void take_fp8(hone_cuda_gemm *gemm, hone_cuda_fp8 a, hone_cuda_fp8 b)
{
    gemm->a = a.codes, gemm->scale_a = a.scale, gemm->scaling_a = a.scaling, gemm->of = a.dtype;
    gemm->b = b.codes, gemm->scale_b = b.scale, gemm->scaling_b = b.scaling, gemm->of_b = b.dtype;
    gemm->a_t = false, gemm->b_t = true, gemm->fast = a.scaling == HONE_FP8_TENSOR && a.dtype == HONE_e4m3;
}

// --- linear --------------------------------------------------------------------------------------------------------------

// The product library rounds sums to 16 bits only where the operands have those.
static bool makes(const hone_cuda_node *node, hone_dtype dtype) { return dtype == HONE_f32 || product_of(node) == dtype; }

// The factors b (E, J) of a change to a weight of M rows as one matrix F (M, R), times `scale`, in the product's numbers.
static const void *spread_factors(const hone_cuda_node *node, const hone_operand *b, int64_t M, int64_t R, hone_cuda_scratch *scratch)
{
    void *to = hone_cuda_take(scratch, bytes_of(M * R, product_of(node)));
    if (scratch->counts) return NULL;
    hone_cuda_call call = hone_cuda_call_of(node);
    call.in[0] = hone_cuda_view_of(b);
    call.out[0] = (hone_cuda_view){ to, M, R, product_of(node) };
    hone_cuda_elements(node, HONE_CUDA_lora_spread, M * R, &call);
    return to;
}

// y (rows, m) = a (rows, k) W (+ t F^T) (+ bias) (+ addend); t, b: NULL where the weight has no change
static void make_rows(const hone_cuda_node *node, bool w_t, const hone_operand *t, const hone_operand *b, const hone_operand *bias,
                      const hone_operand *addend, hone_cuda_scratch *scratch)
{
    const hone_operand *a = &node->args->in[0], *w = &node->args->in[1], *y = &node->args->out[0];
    const int64_t m = hone_cuda_cols(y), k = hone_cuda_cols(a);
    const bool direct = !bias->present && !addend->present && makes(node, y->dtype) && (!b || y->dtype == HONE_f32);
    hone_cuda_gemm gemm = { .m = m, .k = k, .b_t = w_t, .to = direct ? y->dtype : HONE_f32 };
    void *library = hone_cuda_take(scratch, node->device->gemm_bytes);
    if (in_fp8(node)) {
        const hone_cuda_fp8 rows = hone_cuda_in_fp8(node, a, w_t ? HONE_CUDA_FP8_ROWS : HONE_CUDA_FP8_GRADIENT, false, scratch);
        take_fp8(&gemm, rows, hone_cuda_in_fp8(node, w, HONE_CUDA_FP8_WEIGHT, !w_t, scratch));
    } else gemm.a = in_product(node, a, scratch), gemm.b = in_product(node, w, scratch);
    gemm.d = direct ? y->data : hone_cuda_take(scratch, bytes_of(hone_cuda_bound(y) * m, HONE_f32));
    hone_cuda_gemm change = { .m = m, .b_t = true, .add = true, .to = HONE_f32, .d = gemm.d };
    if (b) {
        change.k = hone_cuda_cols(t);
        change.a = in_product(node, t, scratch), change.b = spread_factors(node, b, m, change.k, scratch);
    }
    if (scratch->counts) return;
    change.n = gemm.n = hone_rows(y);
    multiply(node, gemm, library);
    if (b) multiply(node, change, library);
    if (direct) return;
    hone_cuda_call call = { .in = { hone_cuda_view_of(bias), hone_cuda_view_of(addend) }, .out = { hone_cuda_view_of(y) }, .work = gemm.d };
    hone_cuda_elements(node, HONE_CUDA_finish, gemm.n * m, &call);
}

static void linear(const hone_cuda_node *node, hone_cuda_scratch *scratch)
{
    make_rows(node, true, NULL, NULL, &node->args->in[2], &node->args->in[3], scratch);
}
static void lora_linear(const hone_cuda_node *node, hone_cuda_scratch *scratch)
{
    const hone_operand *in = node->args->in;
    make_rows(node, true, &in[2], &in[3], &in[4], &in[5], scratch);
}
static void linear_dx(const hone_cuda_node *node, hone_cuda_scratch *scratch)
{
    make_rows(node, false, NULL, NULL, &(hone_operand){ 0 }, &node->args->in[2], scratch);
}

// dt (rows, R) = dy (rows, M) F
static void lora_dt(const hone_cuda_node *node, hone_cuda_scratch *scratch)
{
    const hone_operand *dy = &node->args->in[0], *dt = &node->args->out[0];
    const int64_t M = hone_cuda_cols(dy), R = hone_cuda_cols(dt);
    const bool direct = makes(node, dt->dtype);
    void *library = hone_cuda_take(scratch, node->device->gemm_bytes);
    hone_cuda_gemm gemm = { .m = R, .k = M, .to = direct ? dt->dtype : HONE_f32 };
    gemm.a = in_product(node, dy, scratch), gemm.b = spread_factors(node, &node->args->in[1], M, R, scratch);
    gemm.d = direct ? dt->data : hone_cuda_take(scratch, bytes_of(hone_cuda_bound(dt) * R, HONE_f32));
    if (scratch->counts) return;
    gemm.n = hone_rows(dt);
    multiply(node, gemm, library);
    const hone_cuda_call narrow = { .in = { { gemm.d, gemm.n, R, HONE_f32 } }, .out = { hone_cuda_view_of(dt) } };
    if (!direct) hone_cuda_elements(node, HONE_CUDA_cast, gemm.n * R, &narrow);
}

// db += scale dy^T t, of which each part's rows and columns are taken
static void lora_dw(const hone_cuda_node *node, hone_cuda_scratch *scratch)
{
    const hone_operand *dy = &node->args->in[0], *t = &node->args->in[1], *db = &node->args->out[0];
    hone_cuda_gemm gemm = { .n = hone_cuda_cols(dy), .m = hone_cuda_cols(t), .a_t = true, .to = HONE_f32 };
    void *library = hone_cuda_take(scratch, node->device->gemm_bytes);
    gemm.a = in_product(node, dy, scratch), gemm.b = in_product(node, t, scratch);
    gemm.d = hone_cuda_take(scratch, bytes_of(gemm.n * gemm.m, HONE_f32));
    if (scratch->counts) return;
    gemm.k = hone_rows(dy);
    if (gemm.k == 0) return;
    multiply(node, gemm, library);
    hone_cuda_call call = hone_cuda_call_of(node);
    call.work = gemm.d;
    hone_cuda_elements(node, HONE_CUDA_lora_gather, hone_cuda_bound(db) * hone_cuda_cols(db), &call);
}

// dw (M, K) += dy^T x, db += sums of dy
static void linear_dw(const hone_cuda_node *node, hone_cuda_scratch *scratch)
{
    const hone_operand *dy = &node->args->in[0], *x = &node->args->in[1], *dw = &node->args->out[0], *db = &node->args->out[1];
    hone_cuda_gemm gemm = { .n = hone_cuda_cols(dy), .m = hone_cuda_cols(x), .a_t = true, .add = true, .to = HONE_f32, .d = dw->data };
    void *library = hone_cuda_take(scratch, node->device->gemm_bytes);
    void *parts = db->present ? hone_cuda_take(scratch, hone_cuda_column_bytes(dy)) : NULL;
    if (in_fp8(node)) {
        const hone_cuda_fp8 columns = hone_cuda_in_fp8(node, dy, HONE_CUDA_FP8_GRADIENT, true, scratch);
        take_fp8(&gemm, columns, hone_cuda_in_fp8(node, x, HONE_CUDA_FP8_ROWS, true, scratch));
    } else gemm.a = in_product(node, dy, scratch), gemm.b = in_product(node, x, scratch);
    if (scratch->counts) return;
    gemm.k = hone_rows(dy);
    if (gemm.k == 0) return;
    multiply(node, gemm, library);
    const hone_cuda_view rows = hone_cuda_view_of(dy), sums = hone_cuda_view_of(db);
    hone_cuda_add_columns(node, &rows, &sums, parts);
}

// Every form is the weight as it lies, in the numbers that the product is made in; of a frozen matrix in blocks, made so at each use.
size_t hone_cuda_form_bytes(void *self, hone_form form, hone_dtype dtype, int64_t M, int64_t K)
{
    (void)self;
    if (hone_dtype_is_fp8(dtype)) return hone_cuda_fp8_form_bytes(form, dtype, M, K);
    return dtype == HONE_bf16 || dtype == HONE_f16 || dtype == HONE_f32 ? bytes_of(M * K, dtype) : 0;
}

size_t hone_cuda_scratch_pack(const hone_cuda_node *node) { return hone_cuda_fp8_part_bytes(node->args->attr.dtype); }

void hone_cuda_node_pack(const hone_cuda_node *node)
{
    if (hone_dtype_is_fp8(node->args->attr.dtype)) {
        hone_cuda_make_fp8_form(node);
        return;
    }
    const hone_cuda_call call = hone_cuda_call_of(node);
    const hone_cuda_kernel kernel = hone_dtype_is_blocked(call.in[0].dtype) ? HONE_CUDA_unblock : HONE_CUDA_cast;
    hone_cuda_elements(node, kernel, call.in[0].rows * call.in[0].cols, &call);
}

// --- the head ------------------------------------------------------------------------------------------------------------

// Token rows whose logits are made at a time: some 128 MiB of them, so that few launches do and the chunk is a small part of memory.
static int64_t chunk_rows(int64_t N, int64_t V)
{
    int64_t rows = ((int64_t)128 << 20) / (V * (int64_t)sizeof(float)) / 64 * 64;
    if (rows < 64) rows = 64;
    return rows < N ? rows : N;
}

typedef struct head {
    const hone_operand *x, *w;
    int64_t N, V, C, chunk;     // N: rows by bound
    void *library;
    const uint8_t *rows;        // x and w in the product's dtype
    const void *weight;
    float *z;                   // (chunk, V)
    void *dz;                   // (chunk, V) in the product's dtype; z itself where that is f32
    float *dx;                  // (chunk, C) where dx itself cannot be a product's result, else NULL
} head;

static head head_of(const hone_cuda_node *node, bool gradients, hone_cuda_scratch *scratch)
{
    head h = { .x = &node->args->in[0], .w = &node->args->in[1] };
    h.N = hone_cuda_bound(h.x), h.C = hone_cuda_cols(h.x), h.V = hone_cuda_bound(h.w);
    h.chunk = chunk_rows(h.N, h.V);
    h.library = hone_cuda_take(scratch, node->device->gemm_bytes);
    h.rows = in_product(node, h.x, scratch), h.weight = in_product(node, h.w, scratch);
    h.z = hone_cuda_take(scratch, bytes_of(h.chunk * h.V, HONE_f32));
    h.dz = h.z;
    if (gradients && product_of(node) != HONE_f32) h.dz = hone_cuda_take(scratch, bytes_of(h.chunk * h.V, product_of(node)));
    if (gradients && !makes(node, node->args->out[1].dtype)) h.dx = hone_cuda_take(scratch, bytes_of(h.chunk * h.C, HONE_f32));
    return h;
}

// z of rows [from, from + rows); returns where these rows of x lie.
static const void *make_logits(const hone_cuda_node *node, const head *h, int64_t from, int64_t rows)
{
    const void *x = h->rows + bytes_of(from * h->C, product_of(node));
    multiply(node, (hone_cuda_gemm){ .n = rows, .m = h->V, .k = h->C, .a = x, .b = h->weight, .b_t = true, .d = h->z, .to = HONE_f32 }, h->library);
    return x;
}

static void linear_xent(const hone_cuda_node *node, hone_cuda_scratch *scratch)
{
    const head h = head_of(node, true, scratch);
    if (scratch->counts) return;
    const hone_operand *dx = &node->args->out[1], *dw = &node->args->out[2];
    hone_cuda_call call = { .in = { hone_cuda_view_of(&node->args->in[2]), hone_cuda_view_of(&node->args->in[3]) }, .work = h.z, .cap = node->args->attr.cap,
                            .out = { hone_cuda_view_of(&node->args->out[0]), { h.dz, h.chunk, h.V, product_of(node) } } };
    for (int64_t from = 0, N = hone_rows(h.x); from < N; from += h.chunk) {
        const int64_t rows = N - from < h.chunk ? N - from : h.chunk;
        const void *x = make_logits(node, &h, from, rows);
        call.n[0] = from;
        hone_cuda_blocks(node, HONE_CUDA_xent_rows, rows, 1, 0, &call);
        void *to = (uint8_t *)dx->data + bytes_of(from * h.C, dx->dtype);
        multiply(node, (hone_cuda_gemm){ .n = rows, .m = h.C, .k = h.V, .a = h.dz, .b = h.weight, .d = h.dx ? h.dx : to,
                                         .to = h.dx ? HONE_f32 : dx->dtype }, h.library);
        const hone_cuda_call narrow = { .in = { { h.dx, rows, h.C, HONE_f32 } }, .out = { { to, rows, h.C, dx->dtype } } };
        if (h.dx) hone_cuda_elements(node, HONE_CUDA_cast, rows * h.C, &narrow);
        if (!dw->present) continue;
        multiply(node, (hone_cuda_gemm){ .n = h.V, .m = h.C, .k = rows, .a = h.dz, .a_t = true, .b = x, .d = dw->data, .to = HONE_f32, .add = true },
                 h.library);
    }
}

static void linear_logprob(const hone_cuda_node *node, hone_cuda_scratch *scratch)
{
    const head h = head_of(node, false, scratch);
    if (scratch->counts) return;
    hone_cuda_call call = hone_cuda_call_of(node);
    call.in[0] = call.in[2], call.work = h.z, call.n[1] = h.V;
    for (int64_t from = 0, N = hone_rows(h.x); from < N; from += h.chunk) {
        const int64_t rows = N - from < h.chunk ? N - from : h.chunk;
        make_logits(node, &h, from, rows);
        call.n[0] = from;
        hone_cuda_blocks(node, HONE_CUDA_logprob_rows, rows, 1, 0, &call);
    }
}

// --- Gram matrices -------------------------------------------------------------------------------------------------------

// s (side, side) = x x^T or, of columns, x^T x; size = |s|
static void gram_of(const hone_cuda_node *node, bool columns, hone_cuda_scratch *scratch)
{
    const hone_operand *x = &node->args->in[0], *s = &node->args->out[0];
    const int64_t A = hone_cuda_bound(x), B = hone_cuda_cols(x), side = columns ? B : A;
    void *library = hone_cuda_take(scratch, node->device->gemm_bytes);
    void *parts = hone_cuda_take(scratch, hone_cuda_square_bytes(side * side));
    const void *rows = in_product(node, x, scratch);
    const bool direct = s->dtype == HONE_f32; // the size is of s before it is rounded
    void *to = direct ? s->data : hone_cuda_take(scratch, bytes_of(side * side, HONE_f32));
    if (scratch->counts) return;
    multiply(node, (hone_cuda_gemm){ .n = side, .m = side, .k = columns ? A : B, .a = rows, .b = rows, .a_t = columns, .b_t = !columns, .d = to, .to = HONE_f32 },
             library);
    hone_cuda_call call = { .in = { { to, side, side, HONE_f32 } }, .out = { hone_cuda_view_of(s) } };
    if (!direct) hone_cuda_elements(node, HONE_CUDA_cast, side * side, &call);
    const hone_cuda_view size = hone_cuda_view_of(&node->args->out[1]);
    hone_cuda_sum_squares(node, &call.in[0], &size, true, parts);
}
static void gram(const hone_cuda_node *node, hone_cuda_scratch *scratch) { gram_of(node, false, scratch); }
static void gram_columns(const hone_cuda_node *node, hone_cuda_scratch *scratch) { gram_of(node, true, scratch); }

static void gram_poly(const hone_cuda_node *node, hone_cuda_scratch *scratch)
{
    const hone_operand *s = &node->args->in[0];
    const int64_t A = hone_cuda_bound(s);
    void *library = hone_cuda_take(scratch, node->device->gemm_bytes);
    const void *rows = in_product(node, s, scratch);
    void *square = hone_cuda_take(scratch, bytes_of(A * A, HONE_f32));
    if (scratch->counts) return;
    multiply(node, (hone_cuda_gemm){ .n = A, .m = A, .k = A, .a = rows, .b = rows, .b_t = true, .d = square, .to = HONE_f32 }, library);
    hone_cuda_call call = hone_cuda_call_of(node);
    call.work = square;
    hone_cuda_elements(node, HONE_CUDA_gram_poly, A * A, &call);
}

// Each of them once to count its scratch, once to run in it.
#define PRODUCT(op)                                                                     \
    void hone_cuda_node_##op(const hone_cuda_node *node)                                \
    {                                                                                   \
        op(node, &(hone_cuda_scratch){ .base = node->args->workspace });                \
    }                                                                                   \
    size_t hone_cuda_scratch_##op(const hone_cuda_node *node)                           \
    {                                                                                   \
        hone_cuda_scratch scratch = { .counts = true };                                              \
        op(node, &scratch);                                                             \
        return scratch.used;                                                            \
    }
PRODUCT(linear)
PRODUCT(linear_dx)
PRODUCT(lora_linear)
PRODUCT(lora_dt)
PRODUCT(lora_dw)
PRODUCT(linear_dw)
PRODUCT(linear_xent)
PRODUCT(linear_logprob)
PRODUCT(gram)
PRODUCT(gram_columns)
PRODUCT(gram_poly)
