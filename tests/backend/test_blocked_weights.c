// Weights kept in blocks of few bits: what the matrix kernels make of them is what they make of the numbers that the blocks say.
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
static void *pack(hone_isa isa, hone_operand w, hone_form form, hone_dtype product, size_t bytes, int threads)
{
    const hone_cpu_kernel *kernel = &hone_cpu_kernel_tables[isa]->op[HONE_OP_pack];
    hone_args args = { .op = HONE_OP_pack, .attr = { .form = form, .dtype = product }, .in = { w }, .out = { w } };
    args.out[0].form = form, args.out[0].dtype = product, args.out[0].data = room(bytes);
    args.workspace_bytes = kernel->workspace(&args, threads);
    args.workspace = room(args.workspace_bytes + 64);
    kernel->run(&args, threads);
    for (size_t i = 0; i < 64; i++) assert_int_equal(((uint8_t *)args.workspace)[args.workspace_bytes + i], 0x5a);
    free(args.workspace);
    return args.out[0].data;
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

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_forms_of_blocks_are_forms_of_their_numbers) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
