// cuda_fp8.c (test_cuda_fp8): products in fp8 by the CUDA backend's kernels in the emulator: each op against ref, with plain weights and
// with forms, with a scale for each tensor and for each block; codes and scales of blocks one by one; what quantising must not hide or
// invent; which rows depend on each other; what is declined. (test_ops_cuda has the products among all others, in samples.)
#include "backend/cuda/cuda.h"
#include "backend/cuda/emulate/emulated.h"
#include "backend/ref/ref.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/op_harness.h"
#include <stdlib.h>
#include <string.h>

static const hone_op products[] = { HONE_OP_linear, HONE_OP_linear_dx, HONE_OP_linear_dw, HONE_OP_lora_linear };
enum { FP8_KIND = 4, BLOCKS_KIND = 5, PRODUCTS = sizeof products / sizeof *products };
static void *emulated, *descending;

static int open_both(void **state)
{
    (void)state;
    must(hone_backend_emulated.open(&(hone_backend_options){ .threads = 1 }, &emulated));
    must(hone_backend_emulated.open(&(hone_backend_options){ .threads = 2 }, &descending));
    return 0;
}
static int close_both(void **state)
{
    (void)state;
    hone_backend_emulated.close(emulated);
    hone_backend_emulated.close(descending);
    return 0;
}

static void run(op_trial *trial, const op_trial *made, const hone_backend *backend, void *self)
{
    const char *why_not = "";
    op_trial_copy(trial, made);
    if (!op_trial_run(trial, backend, self, &why_not)) fail_msg("%s: %s", made->label, why_not);
}

static void judge(const op_trial *trial, const op_trial *reference)
{
    const char *wrong = op_trial_judge(trial, reference);
    if (wrong) fail_msg("%s", wrong);
}

static void compare(const op_trial *made, int *forms)
{
    op_trial reference, plain, other, formed;
    run(&reference, made, &hone_backend_ref, NULL);
    run(&plain, made, &hone_backend_emulated, emulated);
    run(&other, made, &hone_backend_emulated, descending);
    judge(&plain, &reference);
    assert_null(op_trial_same(&other, &plain, -1));
    for (int form = HONE_FORM_PLAIN + 1; form < HONE_FORM_COUNT; form++) {
        const char *why_not = "";
        op_trial_copy(&formed, made);
        if (op_trial_pack(&formed, &hone_backend_emulated, emulated, (hone_form)form)) {
            ++*forms;
            assert_int_equal(form, made->variant.op == HONE_OP_linear_dx ? HONE_FORM_PACKED_T : HONE_FORM_PACKED);
            assert_true(op_trial_run(&formed, &hone_backend_emulated, emulated, &why_not));
            assert_null(op_trial_same(&formed, &plain, -1));    // a form has the codes that quantising at use has
        }
        op_trial_free(&formed);
    }
    op_trial_free(&reference), op_trial_free(&plain), op_trial_free(&other);
}

static void compare_products(int kind)
{
    for (int p = 0; p < PRODUCTS; p++) {
        int trials = 0, forms = 0;
        for (unsigned half = 0; half < 2; half++) {
            op_variant v = op_variant_first(products[p]);
            do {
                op_trial made;
                if (v.kind != kind) continue;
                v.half = half ? 1u | 1u << HONE_MAX_IN : 0;     // rows and result stored in bf16
                if (half && products[p] == HONE_OP_linear_dw) v.half = 3;
                op_trial_make(&made, &v);
                v.half = 0;
                compare(&made, &forms);
                trials++;
                op_trial_free(&made);
            } while (op_variant_next(&v));
        }
        assert_true(trials >= 4);
        assert_true(products[p] == HONE_OP_linear_dw ? forms == 0 : forms == trials);
    }
}

static void test_products_in_fp8_are_ref_s(void **state) { (void)state, compare_products(FP8_KIND); }
static void test_products_of_blocks_are_ref_s(void **state) { (void)state, compare_products(BLOCKS_KIND); }

// The judges hold these products so closely that one operand in the other format, or without its scale, is another result.
static void test_the_judges_know_formats_and_scales(void **state)
{
    (void)state;
    for (int damage = 0; damage < 4; damage++) {
        op_variant v = op_variant_first(damage == 2 ? HONE_OP_linear_dx : HONE_OP_linear);
        while (v.kind != FP8_KIND) assert_true(op_variant_next(&v));
        op_trial made, reference, trial;
        op_trial_make(&made, &v);
        run(&reference, &made, &hone_backend_ref, NULL);
        op_trial_copy(&trial, &made);
        const char *why_not = "";
        hone_operand *x = &trial.args.in[0];
        if (damage == 0) ((float *)x->data)[7] *= 2;                        // one element
        if (damage == 1) trial.args.attr.product = HONE_bf16;               // no rounding to fp8
        if (damage == 2) trial.args.attr.product = HONE_f32;
        if (damage == 3) trial.args.attr.product = HONE_e4m3_128;           // the same codes but for who shares a scale
        assert_true(op_trial_run(&trial, &hone_backend_emulated, emulated, &why_not));
        memcpy(x->data, made.args.in[0].data, made.bytes[0]);
        assert_non_null(op_trial_judge(&trial, &reference));
        op_trial_free(&made), op_trial_free(&reference), op_trial_free(&trial);
    }
}

// y (N, M) = x (N, K) w (M, K)^T of one node; dx, dw likewise by op.
enum { N = 32, K = 48, M = 64 };
static float x[N * K], w[M * K], dy[N * M], y[M * K + N * M + N * K];
static hone_operand matrix(float *data, int64_t rows, int64_t cols)
{
    return (hone_operand){ .data = data, .dim = { rows, cols }, .rank = 2, .dtype = HONE_f32, .present = true };
}
static hone_dtype product = HONE_e4m3;
static void multiply(hone_op op)
{
    hone_args args = { .op = op, .attr.product = product };
    args.in[0] = op == HONE_OP_linear ? matrix(x, N, K) : matrix(dy, N, M);
    args.in[1] = op == HONE_OP_linear_dw ? matrix(x, N, K) : matrix(w, M, K);
    args.out[0] = op == HONE_OP_linear ? matrix(y, N, M) : op == HONE_OP_linear_dx ? matrix(y, N, K) : matrix(y, M, K);
    memset(y, 0, sizeof y);
    args.workspace_bytes = hone_backend_emulated.workspace_bytes(emulated, &args);
    assert_int_equal(posix_memalign(&args.workspace, 64, args.workspace_bytes), 0);
    memset(args.workspace, 0xff, args.workspace_bytes);
    hone_backend_emulated.run(emulated, &args, NULL, 0);
    free(args.workspace);
}

static void fill(void)
{
    for (int i = 0; i < N * K; i++) x[i] = (float)(i % 13 - 6);
    for (int i = 0; i < M * K; i++) w[i] = (float)(i % 7 - 3);
    for (int i = 0; i < N * M; i++) dy[i] = (float)(i % 5 - 2);
}

// Infinity or NaN anywhere in an operand is one in every result that it is a term of, and the others are as they were but for a scale of 1.
static void not_finite_is_seen(void)
{
    const float bad[] = { NAN, INFINITY, -INFINITY };
    for (int i = 0; i < 3; i++) {
        fill();
        x[5 * K + 7] = bad[i];
        multiply(HONE_OP_linear);
        for (int n = 0; n < N; n++)
            for (int m = 0; m < M; m++) assert_true(isnan(y[n * M + m]) == (n == 5));
        multiply(HONE_OP_linear_dw);
        for (int m = 0; m < M; m++)
            for (int k = 0; k < K; k++) assert_true(isnan(y[m * K + k]) == (k == 7));
        fill();
        dy[3 * M + 9] = bad[i];
        multiply(HONE_OP_linear_dx);
        for (int n = 0; n < N; n++)
            for (int k = 0; k < K; k++) assert_true(isnan(y[n * K + k]) == (n == 3));
    }
}

// Zeros give zeros; gradients of any size keep their digits, which is what the scale is for.
static void zeros_and_sizes(void)
{
    static float before[N * K];
    fill();
    memset(dy, 0, sizeof dy);
    multiply(HONE_OP_linear_dx);
    for (int i = 0; i < N * K; i++) assert_true(y[i] == 0);
    fill();
    multiply(HONE_OP_linear_dx);
    memcpy(before, y, sizeof before);
    const float size[] = { 0x1p-60f, 0x1p-20f, 0x1p20f, 0x1p60f };
    for (int s = 0; s < 4; s++) {
        fill();
        for (int i = 0; i < N * M; i++) dy[i] *= size[s];
        multiply(HONE_OP_linear_dx);
        for (int i = 0; i < N * K; i++) assert_true(y[i] == before[i] * size[s]);
    }
}

static void with_both(void (*check)(void))
{
    const hone_dtype both[] = { HONE_e4m3, HONE_e4m3_128 };
    for (int i = 0; i < 2; i++) product = both[i], check();
    product = HONE_e4m3;
}
static void test_what_is_not_finite_is_seen(void **state) { (void)state, with_both(not_finite_is_seen); }
static void test_zeros_and_sizes(void **state) { (void)state, with_both(zeros_and_sizes); }

// With blocks a row of y is that row of x's affair alone; with one scale a row 1,000 times as large takes the others' digits.
static void test_rows_depend_on_each_other_only_through_a_tensor_s_scale(void **state)
{
    (void)state;
    static float before[N * M];
    for (int blocks = 0; blocks < 2; blocks++) {
        product = blocks ? HONE_e4m3_128 : HONE_e4m3;
        fill();
        for (int i = 0; i < N * K; i++) x[i] *= 0.37f;
        multiply(HONE_OP_linear);
        memcpy(before, y, sizeof before);
        for (int k = 0; k < K; k++) x[5 * K + k] *= 1000;
        multiply(HONE_OP_linear);
        int same = 0;
        for (int n = 0; n < N; n++) {
            int equal = 0;
            for (int m = 0; m < M; m++) equal += y[n * M + m] == before[n * M + m];
            same += equal == M;
        }
        if (blocks) assert_int_equal(same, N - 1);
        else assert_true(same < N / 2);
    }
    product = HONE_e4m3;
}

// --- codes and scales of blocks ---------------------------------------------------------------------------------------------

// What a block is of each element of (rows, cols), as the format's definition has it, spelled out.
typedef struct quantised { int64_t rows, cols; hone_cuda_fp8_role role; bool turned; } quantised;

static float *tops_of_blocks(const quantised *q, const float *values)
{
    const bool weight = q->role == HONE_CUDA_FP8_WEIGHT;
    const int64_t high = weight || q->turned ? 128 : 1, wide = weight || !q->turned ? 128 : 1;
    float *top = calloc((size_t)(q->rows * q->cols), sizeof *top);
    for (int pass = 0; pass < 2; pass++)    // found where a block begins, then told to all of it
        for (int64_t r = 0; r < q->rows; r++)
            for (int64_t c = 0; c < q->cols; c++) {
                float *first = &top[r / high * high * q->cols + c / wide * wide];
                if (pass) top[r * q->cols + c] = *first;
                else *first = fmaxf(*first, fabsf(values[r * q->cols + c]));
            }
    return top;
}

static void check_blocks(const quantised *q, const float *values, const uint8_t *codes, const float *scales)
{
    const int64_t rows = q->turned ? q->cols : q->rows, depth = q->turned ? q->rows : q->cols;
    const int64_t across = (depth + 127) / 128, stride = (across + 3) / 4 * 4;
    float *tops = tops_of_blocks(q, values);
    for (int64_t r = 0; r < q->rows; r++)
        for (int64_t c = 0; c < q->cols; c++) {
            const float top = tops[r * q->cols + c], scale = top / 448;
            const int64_t row = q->turned ? c : r, k = q->turned ? r : c;
            const int64_t at = q->role == HONE_CUDA_FP8_WEIGHT ? row / 128 * stride + k / 128 : k / 128 * rows + row;
            const uint8_t code = codes[row * depth + k];
            if (scales[at] != scale) fail_msg("%lld x %lld: scale of (%lld, %lld) is %g, not %g", (long long)q->rows, (long long)q->cols, (long long)r, (long long)c, (double)scales[at], (double)scale);
            if (code != hone_fp8_code(values[r * q->cols + c] * (448 / top), false))
                fail_msg("%lld x %lld: code of (%lld, %lld), %g, is %02x", (long long)q->rows, (long long)q->cols, (long long)r, (long long)c, (double)values[r * q->cols + c], code);
        }
    free(tops);
    if (q->role != HONE_CUDA_FP8_WEIGHT) return;
    for (int64_t p = 0; p < (rows + 127) / 128; p++)
        for (int64_t b = across; b < stride; b++) assert_true(scales[p * stride + b] == 0);
}

// Numbers of all sizes, so that each block has a scale of its own.
static float *values_of(const quantised *q, hone_dtype dtype)
{
    float *values = malloc((size_t)(q->rows * q->cols) * sizeof *values);
    uint64_t bits = 7;
    for (int64_t i = 0; i < q->rows * q->cols; i++) {
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        const float small = (float)((double)(int64_t)bits * 0x1p-63) * ldexpf(1, (int)(i / q->cols * 7 + i % q->cols / 16 * 5) % 23 - 11);
        values[i] = dtype == HONE_bf16 ? hone_bf16_to_f32(hone_f32_to_bf16(small)) : small;
    }
    return values;
}

static void check_kernel(const quantised *q, hone_dtype dtype, void *backend)
{
    float *values = values_of(q, dtype);
    uint16_t *halves = malloc((size_t)(q->rows * q->cols) * sizeof *halves);
    for (int64_t i = 0; i < q->rows * q->cols; i++) halves[i] = hone_f32_to_bf16(values[i]);
    hone_operand o = matrix(values, q->rows, q->cols);
    if (dtype == HONE_bf16) o.data = halves, o.dtype = dtype;
    const hone_args args = { .op = HONE_OP_linear, .attr.product = HONE_e4m3_128 };
    const hone_cuda_node node = { &args, &((hone_cuda_backend *)backend)->device, 0 };
    hone_cuda_scratch counted = { .counts = true }, scratch = { 0 };
    hone_cuda_in_fp8(&node, &o, q->role, q->turned, &counted);
    assert_int_equal(posix_memalign((void **)&scratch.base, 256, counted.used), 0);
    memset(scratch.base, 0xff, counted.used);
    const hone_cuda_fp8 made = hone_cuda_in_fp8(&node, &o, q->role, q->turned, &scratch);
    assert_int_equal(scratch.used, counted.used);
    assert_int_equal(made.dtype, HONE_e4m3);
    assert_int_equal(made.scaling, q->role == HONE_CUDA_FP8_WEIGHT ? HONE_FP8_SQUARES : HONE_FP8_RUNS);
    check_blocks(q, values, made.codes, made.scale);
    free(scratch.base), free(values), free(halves);
}

static const int64_t shapes[][2] = { { 16, 16 }, { 128, 128 }, { 144, 272 }, { 272, 112 }, { 400, 528 }, { 16, 656 } };
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void test_codes_and_scales_of_blocks_are_the_definition_s(void **state)
{
    (void)state;
    for (int s = 0; s < SHAPES; s++)
        for (int role = HONE_CUDA_FP8_ROWS; role <= HONE_CUDA_FP8_WEIGHT; role++)
            for (int turned = 0; turned < 2; turned++)
                for (int half = 0; half < 2; half++) {
                    const quantised q = { shapes[s][0], shapes[s][1], (hone_cuda_fp8_role)role, turned };
                    check_kernel(&q, half ? HONE_bf16 : HONE_f32, half ? descending : emulated);
                }
}

// A form takes what the plan counts for it, to the byte: codes, then a float for each square and for the rest of a row of them.
static void test_forms_of_blocks_are_as_large_as_planned(void **state)
{
    (void)state;
    for (int s = 0; s < SHAPES; s++)
        for (int turned = 0; turned < 2; turned++) {
            const quantised q = { shapes[s][0], shapes[s][1], HONE_CUDA_FP8_WEIGHT, turned };
            const hone_form form = turned ? HONE_FORM_PACKED_T : HONE_FORM_PACKED;
            const int64_t rows = turned ? q.cols : q.rows, depth = turned ? q.rows : q.cols, squares = (rows + 127) / 128 * (((depth + 127) / 128 + 3) / 4 * 4);
            const size_t bytes = hone_backend_emulated.form_bytes(emulated, form, HONE_e4m3_128, q.rows, q.cols);
            assert_int_equal(bytes, q.rows * q.cols + 4 * squares);
            float *values = values_of(&q, HONE_f32);
            uint8_t *made = aligned_alloc(64, (bytes + 64 + 63) / 64 * 64);
            memset(made, 0xa5, bytes + 64);
            hone_args args = { .op = HONE_OP_pack, .attr = { .form = form, .dtype = HONE_e4m3_128 }, .in = { matrix(values, q.rows, q.cols) }, .out = { matrix(values, q.rows, q.cols) } };
            args.out[0].data = made, args.out[0].dtype = HONE_e4m3_128, args.out[0].form = form;
            assert_int_equal(hone_backend_emulated.workspace_bytes(emulated, &args), 0);
            hone_backend_emulated.run(emulated, &args, NULL, 0);
            check_blocks(&q, values, made, (const float *)(made + q.rows * q.cols));
            for (int i = 0; i < 64; i++) assert_int_equal(made[bytes + (size_t)i], 0xa5);
            free(values), free(made);
        }
}

static void test_what_is_declined_is_named(void **state)
{
    (void)state;
    hone_cuda_backend ampere = *(hone_cuda_backend *)emulated;
    ampere.device.fp8 = false;
    hone_args args = { .op = HONE_OP_linear, .attr.product = HONE_e4m3, .in = { matrix(x, N, K), matrix(w, M, K) }, .out = { matrix(y, N, M) } };
    const char *why = "";
    assert_true(hone_cuda_supports(emulated, &args, &why));
    assert_false(hone_cuda_supports(&ampere, &args, &why));
    assert_non_null(strstr(why, "no products in fp8: it takes compute capability 8.9 (Ada) or 9.0 (Hopper)"));
    args.attr.product = HONE_bf16;
    assert_true(hone_cuda_supports(&ampere, &args, &why));
    hone_cuda_backend ada = *(hone_cuda_backend *)emulated;
    ada.device.fp8_blocks = false;
    args.attr.product = HONE_e4m3;
    assert_true(hone_cuda_supports(&ada, &args, &why));
    args.attr.product = HONE_e4m3_128;
    assert_true(hone_cuda_supports(emulated, &args, &why));
    assert_false(hone_cuda_supports(&ada, &args, &why));
    assert_non_null(strstr(why, "a scale for each block: they take compute capability 9.0 (Hopper)"));
    args.in[1].dtype = HONE_e4m3, args.in[1].form = HONE_FORM_PACKED;   // a form of one scale
    assert_false(hone_cuda_supports(emulated, &args, &why));
    args.in[1].dtype = HONE_e4m3_128;
    assert_true(hone_cuda_supports(emulated, &args, &why));
    args.in[1] = matrix(w, M, K);
    args.attr.product = HONE_e4m3, args.in[0].dim[0] = N + 8;
    assert_false(hone_cuda_supports(emulated, &args, &why));
    assert_non_null(strstr(why, "multiples of 16"));
    args.in[0].dim[0] = N, args.op = HONE_OP_linear_logprob;
    assert_false(hone_cuda_supports(emulated, &args, &why));
    assert_non_null(strstr(why, "linear_logprob"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_in_fp8_are_ref_s),
        cmocka_unit_test(test_products_of_blocks_are_ref_s),
        cmocka_unit_test(test_the_judges_know_formats_and_scales),
        cmocka_unit_test(test_what_is_not_finite_is_seen),
        cmocka_unit_test(test_zeros_and_sizes),
        cmocka_unit_test(test_rows_depend_on_each_other_only_through_a_tensor_s_scale),
        cmocka_unit_test(test_codes_and_scales_of_blocks_are_the_definition_s),
        cmocka_unit_test(test_forms_of_blocks_are_as_large_as_planned),
        cmocka_unit_test(test_what_is_declined_is_named),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
