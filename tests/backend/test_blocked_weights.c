// Weights kept in blocks of few bits, or with a low-rank change: what the matrix kernels make of them is what they make of the numbers
// that are meant.
#include "backend/cpu/kernels.h"
#include "base/rng.h"
#include "support/cmocka_all.h"
#include <stdlib.h>
#include <string.h>

static void *room(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(p);
    memset(p, 0x5a, (bytes + 127) / 64 * 64);
    return p;
}

// f, of `bytes`, from w on an instruction set; whatever is not written stays as room() leaves it.
static void *pack_changed(hone_isa isa, hone_operand w, const hone_args *change, hone_form form, hone_dtype product, size_t bytes, int threads)
{
    const hone_cpu_kernel *kernel = &hone_cpu_kernel_tables[isa]->op[HONE_OP_pack];
    hone_args args = *change;
    args.op = HONE_OP_pack, args.attr.form = form, args.attr.dtype = product, args.in[0] = args.out[0] = w;
    args.out[0].form = form, args.out[0].dtype = product, args.out[0].data = room(bytes);
    args.workspace_bytes = kernel->workspace(&args, threads);
    args.workspace = room(args.workspace_bytes + 64);
    kernel->run(&args, threads);
    for (size_t i = 0; i < 64; i++) assert_int_equal(((uint8_t *)args.workspace)[args.workspace_bytes + i], 0x5a);
    free(args.workspace);
    return args.out[0].data;
}

static void *pack(hone_isa isa, hone_operand w, hone_form form, hone_dtype product, size_t bytes, int threads)
{
    return pack_changed(isa, w, &(hone_args){ 0 }, form, product, bytes, threads);
}

static void check_forms(hone_isa isa, const hone_operand *plain, const hone_operand *blocked)
{
    static const hone_dtype products[] = { HONE_f32, HONE_bf16, HONE_int8 };
    for (int p = 0; p < 3; p++)
        for (int form = p == 2; form < HONE_FORM_COUNT; form++) {   // integers need scales: there is no plain form
            const size_t bytes = hone_cpu_kernel_tables[isa]->form_bytes((hone_form)form, products[p], plain->dim[0], plain->dim[1]);
            void *want = pack(isa, *plain, (hone_form)form, products[p], bytes, 1);
            for (int threads = 1; threads < 4; threads += 2) {
                void *got = pack(isa, *blocked, (hone_form)form, products[p], bytes, threads);
                if (memcmp(got, want, bytes)) fail_msg("%s: %s to form %d of %s, %d threads", hone_isa_name[isa], hone_dtype_name(blocked->dtype), form, hone_dtype_name(products[p]), threads);
                free(got);
            }
            free(want);
        }
}

// Every form, of every kind of blocks, is bit for bit that of the decoded matrix.
static void test_forms_of_blocks_are_forms_of_their_numbers(void **state)
{
    (void)state;
    static const int64_t rows[] = { 1, 37, 131 };
    for (int dtype = HONE_q4_0; dtype < HONE_DTYPE_COUNT; dtype++)
        for (int r = 0; r < 3; r++) {
            const hone_blocks blocks = hone_dtype_blocks((hone_dtype)dtype);
            const int64_t M = rows[r], K = 3 * hone_blocks_about(blocks)->elements, count = M * K;
            float *x = room((size_t)count * sizeof *x);
            void *data = room((size_t)hone_dtype_size((hone_dtype)dtype, count));
            for (int64_t i = 0; i < count; i++) x[i] = (float)hone_rng_normal(1, HONE_RNG_TEST, (uint32_t)r, (uint64_t)i);
            hone_blocks_encode(blocks, x, count, data);
            hone_blocks_decode(blocks, data, count, x);
            hone_operand plain = { .data = x, .dtype = HONE_f32, .rank = 2, .dim = { M, K }, .present = true }, blocked = plain;
            blocked.data = data, blocked.dtype = (hone_dtype)dtype;
            for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa)) check_forms(isa, &plain, &blocked);
            free(x), free(data);
        }
}

static hone_operand numbers(int64_t rows, int64_t columns, uint32_t stream)
{
    float *x = room((size_t)(rows * columns) * sizeof *x);
    for (int64_t i = 0; i < rows * columns; i++) x[i] = (float)hone_rng_normal(2, HONE_RNG_TEST, stream, (uint64_t)i);
    return (hone_operand){ .data = x, .dtype = HONE_f32, .rank = 2, .dim = { rows, columns }, .present = true };
}

// Every form of a matrix and its low-rank change is bit for bit that of the plain one, which the op harness holds to ref.
static void test_forms_of_a_change_are_forms_of_their_sum(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = { { 8, 8, 1 }, { 131, 96, 3 }, { 37, 515, 16 }, { 100, 70, 21 } };   // M, K, J
    static const hone_dtype products[] = { HONE_f32, HONE_bf16, HONE_int8 };
    for (int s = 0; s < 4; s++) {
        const int64_t M = sizes[s][0], K = sizes[s][1], J = sizes[s][2], half = M / 2;
        hone_operand w = numbers(M, K, 1), b = numbers(M - 2, J, 2), a = numbers(2 * J, K, 3);
        const hone_args change = { .attr = { .parts = 2, .part_col = { 1, (int32_t)half + 1 }, .part_rows = { (int32_t)half, (int32_t)(M - half - 2) }, .scale = 0.7f },
                                   .in = { w, b, a } };
        for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa)) {
            hone_operand sum = w;
            sum.data = pack_changed(isa, w, &change, HONE_FORM_PLAIN, HONE_f32, (size_t)(M * K) * sizeof(float), 1);
            assert_memory_not_equal((float *)sum.data + K, (float *)w.data + K, (size_t)K * sizeof(float));
            for (int p = 0; p < 3; p++)
                for (int form = p == 2; form < HONE_FORM_COUNT; form++) {
                    const size_t bytes = hone_cpu_kernel_tables[isa]->form_bytes((hone_form)form, products[p], M, K);
                    void *want = pack(isa, sum, (hone_form)form, products[p], bytes, 1), *got = pack_changed(isa, w, &change, (hone_form)form, products[p], bytes, 2);
                    if (memcmp(got, want, bytes)) fail_msg("%s: size %d to form %d of %s", hone_isa_name[isa], s, form, hone_dtype_name(products[p]));
                    free(got), free(want);
                }
            free(sum.data);
        }
        free(w.data), free(b.data), free(a.data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_forms_of_blocks_are_forms_of_their_numbers),
                                        cmocka_unit_test(test_forms_of_a_change_are_forms_of_their_sum) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
