// test_cuda_attention: attention on matrix cores (attention_mma.cu) in the emulator, and the emulator's own matrix cores.
//
// First what the kernels stand on: mma and ldmatrix against plain multiplication, lanes and words by the formulas of the PTX ISA, and a
// kernel that does not wait for its copies. Then which kernels a node takes, one table; then odd shapes against ref, in both orders of
// threads, and a row among other rows. (test_ops_cuda has the shapes of ops.def.)
#include "backend/backends.h"
#include "backend/cuda/cuda.h"
#include "backend/cuda/emulate/emulated.h"
#include "backend/cuda/matrix_cores.h"
#include "base/memory.h"
#include "base/rng.h"
#include "support/cmocka_all.h"

static float number(uint32_t stream, int64_t i) { return (float)(2 * hone_rng_uniform(11, HONE_RNG_TEST, stream, (uint64_t)i) - 1); }

static void run_planted(void (*run)(const hone_cuda_call c), bool descending, const hone_cuda_call *call)
{
    const hone_emulated_kernel kernel = { run, "planted", WARP };
    hone_emulated_run(&kernel, &(hone_cuda_shape){ 1, 1, 1024 }, 0, descending, call);
}

// --- the emulator's matrix cores ---------------------------------------------------------------------------------------------

// d (16, 8) = a (16, 16) b (16, 8) + 1. PTX ISA, mma.m16n8k16 of bf16 and of f16, of lane l with groupID = l / 4, threadID_in_group = l % 4:
//     a_i   row groupID for i in 0, 1, 4, 5, else groupID + 8        column threadID_in_group * 2 + i % 2, + 8 for i >= 4
//     b_i   row threadID_in_group * 2 + i % 2, + 8 for i >= 2        column groupID
//     c_i   row groupID for i < 2, else groupID + 8                  column threadID_in_group * 2 + i % 2
static void multiply_fragments(const hone_cuda_call c)
{
    const int lane = (int)threadIdx.x, group = lane / 4, in_group = lane % 4;
    const uint16_t *a = c.in[0].data, *b = c.in[1].data;
    uint32_t words_a[4] = { 0 }, words_b[2] = { 0 };
    float d[4] = { 1, 1, 1, 1 };
    for (int i = 0; i < 8; i++) {
        const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8, column = in_group * 2 + i % 2 + (i >= 4 ? 8 : 0);
        words_a[i / 2] |= (uint32_t)a[row * 16 + column] << (i % 2 * 16);
    }
    for (int i = 0; i < 4; i++) words_b[i / 2] |= (uint32_t)b[(in_group * 2 + i % 2 + (i >= 2 ? 8 : 0)) * 8 + group] << (i % 2 * 16);
    multiply_add(c.in[0].dtype, d, words_a, words_b[0], words_b[1]);
    for (int i = 0; i < 4; i++) ((float *)c.out[0].data)[(i < 2 ? group : group + 8) * 8 + in_group * 2 + i % 2] = d[i];
}

static void test_mma_multiplies_as_the_ptx_isa_lays_fragments_out(void **state)
{
    (void)state;
    uint16_t a[16 * 16], b[16 * 8];
    float d[16 * 8];
    for (int way = 0; way < 4; way++) {
        const hone_dtype dtype = way & 2 ? HONE_f16 : HONE_bf16;
        for (int i = 0; i < 16 * 16; i++) a[i] = half_of(dtype, number(0, i));
        for (int i = 0; i < 16 * 8; i++) b[i] = half_of(dtype, number(1, i));
        run_planted(multiply_fragments, way & 1, &(hone_cuda_call){ .in = { { a, 16, 16, dtype }, { b, 16, 8, dtype } }, .out = { { d, 16, 8, HONE_f32 } } });
        for (int i = 0; i < 16; i++)
            for (int j = 0; j < 8; j++) {
                double sum = 1;
                for (int k = 0; k < 16; k++) sum += (double)get_half(dtype, a[i * 16 + k]) * (double)get_half(dtype, b[k * 8 + j]);
                assert_true(fabs(sum - d[i * 8 + j]) < 1e-5);
            }
    }
}

// ldmatrix.x4: lane l gives the address of row l % 8 of matrix l / 8, and gets of each matrix elements 2 (l % 4) and the next of row
// l / 4; with .trans of column l / 4. Here matrix m has rows [8 m, 8 m + 8) of 32 x 8 numbers; n[0]: transposed.
static void load_fragments(const hone_cuda_call c)
{
    HONE_DYNAMIC(uint16_t, tile);
    const int lane = (int)threadIdx.x;
    uint32_t r[4];
    for (int i = 0; i < 8; i++) tile[lane * 8 + i] = (uint16_t)(lane * 8 + i);
    __syncwarp();
    if (c.n[0]) load_transposed(r, tile + lane * 8);
    else load_matrices(r, tile + lane * 8);
    for (int m = 0; m < 4; m++) ((uint32_t *)c.out[0].data)[lane * 4 + m] = r[m];
}

static void test_ldmatrix_hands_out_rows_and_columns(void **state)
{
    (void)state;
    for (int transposed = 0; transposed < 2; transposed++) {
        uint32_t got[WARP * 4];
        run_planted(load_fragments, transposed, &(hone_cuda_call){ .n = { transposed }, .out = { { got, WARP, 4, HONE_i32 } } });
        for (int lane = 0; lane < WARP; lane++)
            for (int m = 0; m < 4; m++)
                for (int e = 0; e < 2; e++) {
                    const int major = lane / 4, minor = lane % 4 * 2 + e;
                    const int number_there = m * 64 + (transposed ? minor * 8 + major : major * 8 + minor);
                    assert_int_equal(got[lane * 4 + m] >> (e * 16) & 0xffff, number_there);
                }
    }
}

// Each lane copies 16 bytes and reads those of lane n[1]; n[0]: with a wait before the barrier, or behind what it should protect.
static void hand_over_copies(const hone_cuda_call c)
{
    HONE_DYNAMIC(float, slots);
    const int t = (int)threadIdx.x;
    copy_later16(slots + 4 * t, (const float *)c.in[0].data + 4 * t, t != 3);
    if (c.n[0]) wait_copies();
    __syncthreads();
    ((float *)c.out[0].data)[t] = slots[4 * (t ^ (int)c.n[1]) + 1];
    __syncthreads();
    wait_copies();
}

static void test_a_missing_wait_for_copies_shows_in_the_result(void **state)
{
    (void)state;
    static _Alignas(16) float x[4 * WARP];
    float y[WARP];
    for (int i = 0; i < 4 * WARP; i++) x[i] = (float)i;
    for (int way = 0; way < 8; way++) {
        const int waits = way & 1, neighbour = way & 2;
        run_planted(hand_over_copies, way & 4, &(hone_cuda_call){ .in = { { x, WARP, 4, HONE_f32 } }, .out = { { y, WARP, 1, HONE_f32 } }, .n = { waits, neighbour } });
        for (int t = 0; t < WARP; t++) {
            const int from = t ^ neighbour;
            if (waits) assert_true(y[t] == (from == 3 ? 0 : x[4 * from + 1])); // what is not there is zeros
            else assert_true(isnan(y[t]));
        }
    }
}

// --- nodes -------------------------------------------------------------------------------------------------------------------

typedef enum { CAUSAL, PACKED, ODD } kind;   // ranges: documents of 50 rows where PACKED; ODD: some are empty, none begins at 0
typedef struct shape { int N, H, G, D; kind kind; int window; float cap; } shape;
typedef struct trial { hone_args forward, back; } trial;

static hone_operand rows_of(int64_t rows, int64_t cols, hone_dtype dtype, int stream) // stream 0: zeros
{
    hone_operand o = { .dim = { rows, cols }, .rank = 2, .dtype = dtype, .present = true };
    o.data = hone_alloc((size_t)(rows * cols), hone_dtype_bytes(dtype));
    assert_non_null(o.data);
    for (int64_t i = 0; stream && i < rows * cols; i++)
        if (dtype != HONE_f32) ((uint16_t *)o.data)[i] = half_of(dtype, number((uint32_t)stream, i));
        else ((float *)o.data)[i] = number((uint32_t)stream, i);
    return o;
}

static void set_ranges(const shape *s, int32_t *lo, int32_t *hi)
{
    for (int n = 0; n < s->N; n++) {
        lo[n] = s->kind == PACKED ? n / 50 * 50 : s->kind == ODD ? n / 4 * 4 : 0;
        hi[n] = s->kind == ODD ? lo[n] + n % 4 * 3 : n + 1;
        if (hi[n] > s->N) hi[n] = s->N;
    }
}

// q, k and v in one tensor, as in training; outputs in memory of their own.
static trial trial_of(const shape *s, hone_dtype half)
{
    const int64_t P = (s->H + 2 * s->G) * s->D, O = (int64_t)s->H * s->D;
    trial t = { .forward = { .op = HONE_OP_attention, .same_kv = true }, .back = { .op = HONE_OP_attention_back, .same_kv = true } };
    t.forward.attr = (hone_attr){ .heads = s->H, .kv_heads = s->G, .head_dim = s->D, .k_col = (int32_t)O, .v_col = (int32_t)(O + (int64_t)s->G * s->D),
                                  .window = s->window, .cap = s->cap, .scale = 1.5f / sqrtf((float)s->D) };
    t.back.attr = t.forward.attr;
    hone_operand *in = t.forward.in, *out = t.forward.out;
    in[0] = in[1] = rows_of(s->N, P, half, 2);
    in[2] = rows_of(s->N, 1, HONE_i32, 0), in[3] = rows_of(s->N, 1, HONE_i32, 0);
    set_ranges(s, in[2].data, in[3].data);
    out[0] = rows_of(s->N, O, half, 0), out[1] = rows_of(s->N, s->H, HONE_f32, 0);
    t.back.in[0] = rows_of(s->N, O, half, 3);
    t.back.in[1] = t.back.in[2] = in[0], t.back.in[3] = out[0], t.back.in[4] = out[1], t.back.in[5] = in[2], t.back.in[6] = in[3];
    t.back.out[0] = rows_of(s->N, P, half, 0);
    return t;
}

static void run_on(const hone_backend *backend, void *self, hone_args *args)
{
    const char *why = "";
    if (!backend->supports(self, args, &why)) fail_msg("%s", why);
    args->workspace_bytes = backend->workspace_bytes(self, args);
    args->workspace = hone_alloc(args->workspace_bytes + 1, 1);
    assert_non_null(args->workspace);
    backend->run(self, args, NULL, 0);
    hone_free(args->workspace);
}

static void free_trial(trial *t)
{
    hone_operand all[] = { t->forward.in[0], t->forward.in[2], t->forward.in[3], t->forward.out[0], t->forward.out[1], t->back.in[0], t->back.out[0] };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) hone_free(all[i].data);
}

static double value_of(const hone_operand *o, int64_t i) { return o->dtype == HONE_f32 ? (double)((float *)o->data)[i] : (double)get_half(o->dtype, ((uint16_t *)o->data)[i]); }

static void compare(const char *label, int number_of, const hone_operand *y, const hone_operand *r, double bound)
{
    double difference = 0, size = 0;
    for (int64_t i = 0; i < y->dim[0] * y->dim[1]; i++) {
        const double a = value_of(y, i), b = value_of(r, i);
        if (isinf(b) && a == b) continue;
        difference += (a - b) * (a - b), size += b * b;
    }
    if (!(difference <= bound * bound * size)) fail_msg("%s, shape %d: off by %.3g, allowed is %.3g", label, number_of, sqrt(difference / size), bound);
}

// Heads as wide as a tile and not, rows that fill no tile, one row, groups, documents, windows, caps.
static const shape shapes[] = {
    { 130, 2, 1, 64, CAUSAL, 0, 0 }, { 130, 2, 2, 128, CAUSAL, 0, 0 }, { 110, 4, 2, 80, PACKED, 0, 0 }, { 150, 2, 1, 16, CAUSAL, 40, 0 },
    { 1, 1, 1, 8, CAUSAL, 0, 0 }, { 67, 3, 1, 96, CAUSAL, 0, 1.25f }, { 137, 2, 1, 64, ODD, 0, 0 }, { 133, 4, 2, 24, PACKED, 0, 2 },
    { 70, 1, 1, 112, ODD, 0, 0 }, { 260, 1, 1, 128, PACKED, 33, 0 },
};

// Probabilities and results are rounded to bf16, half an ulp each; a gradient is of two such factors. An f16 has three bits more; some of
// the smaller gradients are below its normal numbers, by less than those bits.
static void check_odd_shape(int i, hone_dtype half, void *const order[2])
{
    const double bound = half == HONE_f16 ? 0x1p-11 : 0x1p-8;
    trial r = trial_of(&shapes[i], half);
    run_on(&hone_backend_ref, NULL, &r.forward);
    run_on(&hone_backend_ref, NULL, &r.back);
    for (int o = 0; o < 2; o++) {
        trial t = trial_of(&shapes[i], half);
        assert_int_equal(hone_cuda_attention_width(&t.forward), shapes[i].D <= 64 ? 64 : 128);
        run_on(&hone_backend_emulated, order[o], &t.forward);
        compare("o", i, &t.forward.out[0], &r.forward.out[0], bound);
        compare("lse", i, &t.forward.out[1], &r.forward.out[1], shapes[i].N == 1 ? 1e-5 : 1e-6); // one row: 8 products that may cancel
        memcpy(t.forward.out[0].data, r.forward.out[0].data, (size_t)(shapes[i].N * shapes[i].H * shapes[i].D) * 2);
        run_on(&hone_backend_emulated, order[o], &t.back);
        compare("dqkv", i, &t.back.out[0], &r.back.out[0], bound);
        free_trial(&t);
    }
    free_trial(&r);
}

static void test_odd_shapes_agree_with_ref(void **state)
{
    (void)state;
    void *order[2];
    for (int i = 0; i < 2; i++) assert_int_equal(hone_backend_emulated.open(&(hone_backend_options){ .threads = i + 1 }, &order[i]), HONE_OK);
    for (int i = 0; i < (int)(sizeof shapes / sizeof *shapes); i++) {
        check_odd_shape(i, HONE_bf16, order);
        check_odd_shape(i, HONE_f16, order);
    }
    for (int i = 0; i < 2; i++) hone_backend_emulated.close(order[i]);
}

// Rows from the 21st on alone lie elsewhere in their blocks and tiles, among other rows: the same bits.
static void test_a_row_is_a_function_of_the_row(void **state)
{
    (void)state;
    enum { FROM = 21 };
    void *self;
    assert_int_equal(hone_backend_emulated.open(&(hone_backend_options){ 0 }, &self), HONE_OK);
    for (int i = 0; i < (int)(sizeof shapes / sizeof *shapes); i++) {
        const shape *s = &shapes[i];
        trial whole = trial_of(s, i % 2 ? HONE_f16 : HONE_bf16);
        run_on(&hone_backend_emulated, self, &whole.forward);
        hone_args part = whole.forward;
        part.same_kv = false;
        const int64_t left = s->N - FROM, O = (int64_t)s->H * s->D;
        const int in[] = { 0, 2, 3 };
        for (int k = 0; k < 3 && left > 0; k++) {
            hone_operand *o = &part.in[in[k]];
            o->data = (uint8_t *)o->data + (size_t)(FROM * o->dim[1]) * hone_dtype_bytes(o->dtype), o->dim[0] = left;
        }
        part.out[0] = rows_of(s->N, O, whole.forward.out[0].dtype, 0), part.out[1] = rows_of(s->N, s->H, HONE_f32, 0);
        part.out[0].dim[0] = part.out[1].dim[0] = left;
        if (left > 0) {
            run_on(&hone_backend_emulated, self, &part);
            assert_memory_equal(part.out[0].data, (uint16_t *)whole.forward.out[0].data + FROM * O, (size_t)(left * O) * 2);
            assert_memory_equal(part.out[1].data, (float *)whole.forward.out[1].data + (int64_t)FROM * s->H, (size_t)(left * s->H) * 4);
        }
        hone_free(part.out[0].data), hone_free(part.out[1].data);
        free_trial(&whole);
    }
    hone_backend_emulated.close(self);
}

// --- which kernels -------------------------------------------------------------------------------------------------------------

static hone_cuda_kernel launched[8];
static int n_launched;
static void note_launch(void *self, hone_cuda_kernel kernel, const hone_cuda_shape *grid, const hone_cuda_call *call, int stream)
{
    (void)self, (void)call, (void)stream;
    assert_true(grid->x > 0 && grid->shared_bytes <= 95 << 10); // of sm_89's 99 KiB, as gpu.c divides it
    if (n_launched < 8) launched[n_launched++] = kernel;
}

typedef struct choice { int D, q_col, columns; hone_dtype q, o; bool paged; int width; } choice; // columns: of q beside its heads; keys are in q's 16 bits
static const choice choices[] = {
    { 64, 0, 0, HONE_bf16, HONE_bf16, false, 64 },   { 128, 0, 0, HONE_bf16, HONE_bf16, false, 128 }, { 8, 0, 0, HONE_bf16, HONE_bf16, false, 64 },
    { 72, 0, 0, HONE_bf16, HONE_bf16, false, 128 },  { 64, 16, 16, HONE_bf16, HONE_bf16, false, 64 }, { 64, 4, 8, HONE_bf16, HONE_bf16, false, 0 },
    { 64, 0, 4, HONE_bf16, HONE_bf16, false, 0 },    { 12, 0, 0, HONE_bf16, HONE_bf16, false, 0 },    { 136, 0, 0, HONE_bf16, HONE_bf16, false, 0 },
    { 64, 0, 0, HONE_f32, HONE_bf16, false, 0 },     { 64, 0, 0, HONE_bf16, HONE_f32, false, 0 },     { 64, 0, 0, HONE_f32, HONE_f32, false, 0 },
    { 64, 0, 0, HONE_bf16, HONE_bf16, true, 0 },     { 64, 0, 0, HONE_f16, HONE_f16, false, 64 },    { 96, 0, 0, HONE_f16, HONE_f16, false, 128 },
    { 64, 0, 0, HONE_f16, HONE_bf16, false, 0 },     { 12, 0, 0, HONE_f16, HONE_f16, false, 0 },
};

// The gradient takes what the node takes: its own four kernels, dk and dv only where somebody wants them.
static void check_gradient_launches(hone_cuda_backend *cuda, const choice *k, const hone_args *forward)
{
    hone_args args = { .op = HONE_OP_attention_back, .attr = forward->attr };
    enum { PLAIN, NARROW, NARROW_F16, WIDE, WIDE_F16 };
    static const hone_cuda_kernel kernels[][3] = {
        [PLAIN] = { HONE_CUDA_attention_spans, HONE_CUDA_attention_dq, HONE_CUDA_attention_dkv },
        [NARROW] = { HONE_CUDA_attention_mma_spans, HONE_CUDA_attention_mma64_dq, HONE_CUDA_attention_mma64_dkv },
        [NARROW_F16] = { HONE_CUDA_attention_mma_spans, HONE_CUDA_attention_mma64_dq_f16, HONE_CUDA_attention_mma64_dkv_f16 },
        [WIDE] = { HONE_CUDA_attention_mma_spans, HONE_CUDA_attention_mma128_dq, HONE_CUDA_attention_mma128_dkv },
        [WIDE_F16] = { HONE_CUDA_attention_mma_spans, HONE_CUDA_attention_mma128_dq_f16, HONE_CUDA_attention_mma128_dkv_f16 },
    };
    const hone_cuda_kernel *wanted = kernels[k->width ? (k->width == 64 ? NARROW : WIDE) + (k->q == HONE_f16) : PLAIN];
    args.in[0] = args.in[3] = forward->out[0], args.in[1] = forward->in[0], args.in[2] = forward->in[1], args.in[4] = forward->out[1];
    args.in[5] = forward->in[2], args.in[6] = forward->in[3];
    args.out[0] = args.in[1], args.out[1] = args.in[2];
    for (int of_keys = 0; of_keys < 2; of_keys++) {
        args.out[1].present = of_keys;
        n_launched = 0;
        run_on(&hone_backend_emulated, cuda, &args);
        int n = 0;
        for (int i = 0; i < n_launched; i++) {
            if (launched[i] == HONE_CUDA_zero || launched[i] == HONE_CUDA_attention_delta) continue;
            if (n > 2 || launched[i] != wanted[n++]) fail_msg("choice %d, gradient: another kernel", (int)(k - choices));
        }
        assert_int_equal(n, 2 + of_keys);
    }
}

static void test_which_kernels_a_node_takes(void **state)
{
    (void)state;
    hone_cuda_backend cuda = { .device = { .shared_bytes = 95 << 10, .launch = note_launch } };
    for (int i = 0; i < (int)(sizeof choices / sizeof *choices); i++) {
        const choice *k = &choices[i];
        const int64_t O = 2 * (int64_t)k->D;
        hone_args args = { .op = HONE_OP_attention };
        args.attr = (hone_attr){ .heads = 2, .kv_heads = 1, .head_dim = k->D, .q_col = k->q_col, .v_col = k->D, .scale = 1, .block = 4 };
        args.in[0] = rows_of(9, O + k->columns, k->q, 1), args.in[1] = rows_of(9, O, k->q == HONE_f16 ? HONE_f16 : HONE_bf16, 1);
        args.in[2] = rows_of(9, 1, HONE_i32, 0), args.in[3] = rows_of(9, 1, HONE_i32, 0);
        args.in[4] = rows_of(9, 1, HONE_i32, 0), args.in[5] = rows_of(1, 2, HONE_i32, 0);
        args.in[4].present = args.in[5].present = k->paged;
        args.out[0] = rows_of(9, O, k->o, 0), args.out[1] = rows_of(9, 2, HONE_f32, 0);
        n_launched = 0;
        run_on(&hone_backend_emulated, &cuda, &args);
        const bool f16 = k->q == HONE_f16;
        const hone_cuda_kernel wanted = k->width == 64 ? f16 ? HONE_CUDA_attention_mma64_f16 : HONE_CUDA_attention_mma64
                                      : k->width       ? f16 ? HONE_CUDA_attention_mma128_f16 : HONE_CUDA_attention_mma128
                                      : k->paged       ? HONE_CUDA_attention_paged : HONE_CUDA_attention;
        if (hone_cuda_attention_width(&args) != k->width || n_launched != 1 || launched[0] != wanted) fail_msg("choice %d: another kernel", i);
        if (!k->paged) check_gradient_launches(&cuda, k, &args);
        for (int j = 0; j < 6; j++) hone_free(args.in[j].data);
        for (int j = 0; j < 2; j++) hone_free(args.out[j].data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mma_multiplies_as_the_ptx_isa_lays_fragments_out),
        cmocka_unit_test(test_ldmatrix_hands_out_rows_and_columns),
        cmocka_unit_test(test_a_missing_wait_for_copies_shows_in_the_result),
        cmocka_unit_test(test_odd_shapes_agree_with_ref),
        cmocka_unit_test(test_a_row_is_a_function_of_the_row),
        cmocka_unit_test(test_which_kernels_a_node_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
