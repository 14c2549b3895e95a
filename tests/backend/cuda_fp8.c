// cuda_fp8.c (test_cuda_fp8): products in fp8 by the CUDA backend's kernels in the emulator: each op against ref, with plain weights and
// with forms; what quantising must not hide or invent; what is declined. (test_ops_cuda has them among all others, in samples.)
#include "backend/cuda/cuda.h"
#include "backend/cuda/emulate/emulated.h"
#include "backend/ref/ref.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/op_harness.h"
#include <stdlib.h>
#include <string.h>

static const hone_op products[] = { HONE_OP_linear, HONE_OP_linear_dx, HONE_OP_linear_dw, HONE_OP_lora_linear };
enum { FP8_KIND = 4, PRODUCTS = sizeof products / sizeof *products };
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

static void test_products_in_fp8_are_ref_s(void **state)
{
    (void)state;
    for (int p = 0; p < PRODUCTS; p++) {
        int trials = 0, forms = 0;
        for (unsigned half = 0; half < 2; half++) {
            op_variant v = op_variant_first(products[p]);
            do {
                op_trial made;
                if (v.kind != FP8_KIND) continue;
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

// The judges hold these products so closely that one operand in the other format, or without its scale, is another result.
static void test_the_judges_know_formats_and_scales(void **state)
{
    (void)state;
    for (int damage = 0; damage < 3; damage++) {
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
static void multiply(hone_op op)
{
    hone_args args = { .op = op, .attr.product = HONE_e4m3 };
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
static void test_what_is_not_finite_is_seen(void **state)
{
    (void)state;
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
static void test_zeros_and_sizes(void **state)
{
    (void)state;
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
        cmocka_unit_test(test_the_judges_know_formats_and_scales),
        cmocka_unit_test(test_what_is_not_finite_is_seen),
        cmocka_unit_test(test_zeros_and_sizes),
        cmocka_unit_test(test_what_is_declined_is_named),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
