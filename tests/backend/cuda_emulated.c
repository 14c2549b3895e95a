// test_cuda_emulated: what the emulator of CUDA kernels must notice, and kernels at offsets beyond 2^31 elements.
//
// The first part is the control of the second and of test_ops_cuda: kernels with a planted fault must not pass. The second lays
// operands of more than 2^31 elements into address space that is mostly never touched, and runs the last block of every launch of
// a node: its results must be what ref makes of the last row alone.
#include "backend/cuda/cuda.h"
#include "backend/cuda/emulate/emulated.h"
#include "backend/cuda/kernel.h"
#include "backend/backends.h"
#include "base/memory.h"
#include "base/rng.h"
#include "support/cmocka_all.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

// --- planted faults --------------------------------------------------------------------------------------------------------

// Each thread hands its number to its neighbour through shared memory; n[0]: with the barrier between, or without.
static void hand_over(const hone_cuda_call c)
{
    __shared__ float slot[64];
    const int t = (int)threadIdx.x;
    slot[t] = (float)t;
    if (c.n[0]) __syncthreads();
    ((float *)c.out[0].data)[t] = slot[t ^ (int)c.n[1]];
}

static int wrong_handed(bool barrier, int neighbour, bool descending)
{
    float y[64];
    const hone_emulated_kernel kernel = { hand_over, "hand_over", 64 };
    const hone_cuda_call call = { .out = { { y, 64, 1, HONE_f32 } }, .n = { barrier, neighbour } };
    hone_emulated_run(&kernel, &(hone_cuda_shape){ 1, 1, 0 }, 0, descending, &call);
    int wrong = 0;
    for (int t = 0; t < 64; t++) wrong += !(y[t] == (float)(t ^ neighbour)); // NaN is wrong
    return wrong;
}

static void test_a_missing_barrier_shows_in_the_result(void **state)
{
    (void)state;
    for (int neighbour = 1; neighbour < 64; neighbour *= 2)
        for (int order = 0; order < 2; order++) {
            assert_int_equal(wrong_handed(true, neighbour, order), 0);
            assert_int_equal(wrong_handed(false, neighbour, order), 32); // those who read before the other has written
        }
}

static void divided(const hone_cuda_call c)
{
    if (threadIdx.x < (uint32_t)c.n[0]) __syncthreads();
    else
        __syncthreads();
}

static void overrun(const hone_cuda_call c)
{
    HONE_DYNAMIC(volatile uint8_t, shared);
    shared[c.n[0]] = 1;
}

// Runs a kernel in a process of its own; true if it was stopped.
static bool stopped(void (*run)(const hone_cuda_call c), int64_t number)
{
    const pid_t child = fork();
    if (child == 0) {
        const hone_emulated_kernel kernel = { run, "planted", 64 };
        const hone_cuda_call call = { .n = { number } };
        freopen("/dev/null", "w", stderr);
        hone_emulated_run(&kernel, &(hone_cuda_shape){ 1, 1, 32 }, 0, false, &call);
        _exit(0);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void test_barriers_that_not_all_reach_are_reported(void **state)
{
    (void)state;
    assert_false(stopped(divided, 0));      // all at one of them
    assert_false(stopped(divided, 64));
    assert_true(stopped(divided, 7));       // within a warp
    assert_true(stopped(divided, 32));      // between warps
}

static void test_an_overrun_of_shared_memory_is_reported(void **state)
{
    (void)state;
    assert_false(stopped(overrun, 31));
    assert_true(stopped(overrun, 32));
}

static void sum_of_lanes(const hone_cuda_call c)
{
    const float t = (float)threadIdx.x;
    ((float *)c.out[0].data)[threadIdx.x] = c.n[0] ? block_sum(t) : warp_sum(t) + 0 * block_max(t);
}

static void test_sums_over_warps_and_blocks_reach_every_thread(void **state)
{
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        float y[96];
        const hone_emulated_kernel kernel = { sum_of_lanes, "sum_of_lanes", 96 };
        const hone_cuda_call call = { .out = { { y, 96, 1, HONE_f32 } }, .n = { whole } };
        hone_emulated_run(&kernel, &(hone_cuda_shape){ 1, 1, 0 }, 0, whole, &call);
        for (int t = 0; t < 96; t++) assert_true(y[t] == (whole ? 95 * 96 / 2 : (float)(31 * 32 / 2 + t / 32 * 32 * 32)));
    }
}

// --- beyond 2^31 -------------------------------------------------------------------------------------------------------------

enum { C = 4096, TAIL = 256 };                                    // columns; how many of the last row's results are looked at
static const int64_t N = ((INT64_C(1) << 31) + (1 << 24)) / C;    // rows; whole sweeps of hone_cuda_elements()

// The device of this part: the last block of every launch (of each y).
static void launch_last(void *self, hone_cuda_kernel kernel, const hone_cuda_shape *shape, const hone_cuda_call *call, int stream)
{
    (void)self, (void)stream;
    hone_emulated_run(&hone_emulated_kernels[kernel], shape, shape->x - 1, false, call);
}

typedef struct big {
    hone_args args;             // rows in the billions of elements
    hone_args last;             // the last row of each alone, results in memory of their own
    void *room[HONE_MAX_IN + HONE_MAX_OUT + 1];
    size_t bytes[HONE_MAX_IN + HONE_MAX_OUT + 1];
} big;

static void *sparse(big *b, int i, size_t bytes)
{
    b->bytes[i] = bytes;
    b->room[i] = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(b->room[i] != MAP_FAILED);
    return b->room[i];
}

// An operand of `rows` rows whose last row is random (indices: the last of everything), and that row alone.
static void add_operand(big *b, int i, int64_t rows, int64_t cols, hone_dtype dtype, int32_t index)
{
    const size_t element = hone_dtype_bytes(dtype), row_bytes = (size_t)cols * element;
    const bool output = i >= HONE_MAX_IN;
    hone_operand *o = output ? &b->args.out[i - HONE_MAX_IN] : &b->args.in[i], *alone = output ? &b->last.out[i - HONE_MAX_IN] : &b->last.in[i];
    *o = (hone_operand){ .data = sparse(b, i, (size_t)rows * row_bytes), .dim = { rows, cols }, .rank = 2, .dtype = dtype, .present = true };
    uint8_t *tail = (uint8_t *)o->data + (size_t)(rows - 1) * row_bytes;
    for (int64_t k = 0; k < cols; k++)
        if (dtype == HONE_i32) ((int32_t *)tail)[k] = index;
        else if (dtype == HONE_int8) tail[k] = 0;
        else if (dtype == HONE_bf16) ((uint16_t *)tail)[k] = hone_f32_to_bf16((float)(0.5 + hone_rng_uniform(3, HONE_RNG_TEST, (uint32_t)i, (uint64_t)k)));
        else ((float *)tail)[k] = (float)(0.5 + hone_rng_uniform(3, HONE_RNG_TEST, (uint32_t)i, (uint64_t)k));
    *alone = *o;
    alone->dim[0] = 1, alone->data = tail;
    if (!output && dtype != HONE_i32) return;
    alone->data = hone_alloc((size_t)cols, element);
    assert_non_null(alone->data);
    if (output) memcpy(alone->data, tail, row_bytes); // updated ones begin alike; indices of the row alone are 0
}

static void run_last(big *b)
{
    hone_cuda_backend cuda = { .device = { .shared_bytes = 99 << 10, .launch = launch_last } };
    const char *why = "";
    if (!hone_backend_emulated.supports(&cuda, &b->args, &why)) fail_msg("%s", why);
    b->args.workspace_bytes = hone_backend_emulated.workspace_bytes(&cuda, &b->args);
    b->args.workspace = sparse(b, HONE_MAX_IN + HONE_MAX_OUT, b->args.workspace_bytes + 4096);
    hone_backend_emulated.run(&cuda, &b->args, NULL, 0);
}

static void release(big *b)
{
    for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT + 1; i++) {
        const hone_operand *alone = i < HONE_MAX_IN ? &b->last.in[i] : i < HONE_MAX_IN + HONE_MAX_OUT ? &b->last.out[i - HONE_MAX_IN] : NULL;
        const uint8_t *room = b->room[i];
        if (alone && alone->data && ((uint8_t *)alone->data < room || (uint8_t *)alone->data >= room + b->bytes[i])) hone_free(alone->data);
        if (room) munmap(b->room[i], b->bytes[i]);
    }
}

typedef struct shape { char kind; int64_t cols; } shape; // 'n' token rows, 'c' of codes, 'v' one row, 'i' indices of rows, 0: absent
typedef struct row_case { hone_op op; shape in[6], out[4]; } row_case;
static const row_case cases[] = {
    { HONE_OP_embed, { { 'i', 1 }, { 'n', C }, { 'n', C } }, { { 'n', C } } },
    { HONE_OP_gather_rows, { { 'n', C }, { 'i', 1 } }, { { 'n', C } } },
    { HONE_OP_kv_write, { { 'n', C }, { 'i', 1 } }, { { 'n', C } } },
    { HONE_OP_kv_write8, { { 'n', C }, { 'i', 1 } }, { { 'c', C }, { 'n', C / 128 } } },
    { HONE_OP_rmsnorm, { { 'n', C }, { 'v', C } }, { { 'n', C }, { 'n', 1 } } },
    { HONE_OP_rmsnorm_back, { { 'n', C }, { 'n', C }, { 'v', C }, { 'n', 1 }, { 'n', C } }, { { 'n', C } } },
    { HONE_OP_layernorm, { { 'n', C }, { 'v', C }, { 'v', C } }, { { 'n', C }, { 'n', 2 } } },
    { HONE_OP_layernorm_back, { { 'n', C }, { 'n', C }, { 'v', C }, { 'n', 2 }, { 'n', C } }, { { 'n', C } } },
    { HONE_OP_qk_norm, { { 'n', C }, { 'v', 128 }, { 'v', 128 } }, { { 'n', C }, { 'n', 24 } } },
    { HONE_OP_qk_norm_back, { { 'n', C }, { 'n', C }, { 'v', 128 }, { 'v', 128 }, { 'n', 24 } }, { { 'n', C } } },
    { HONE_OP_rope, { { 'n', C }, { 'n', 128 } }, { { 'n', C } } },
    { HONE_OP_swiglu, { { 'n', 2 * C } }, { { 'n', C } } },
    { HONE_OP_swiglu_back, { { 'n', C }, { 'n', 2 * C } }, { { 'n', 2 * C } } },
    { HONE_OP_geglu, { { 'n', 2 * C } }, { { 'n', C } } },
    { HONE_OP_geglu_back, { { 'n', C }, { 'n', 2 * C } }, { { 'n', 2 * C } } },
    { HONE_OP_gelu, { { 'n', C } }, { { 'n', C } } },
    { HONE_OP_gelu_back, { { 'n', C }, { 'n', C } }, { { 'n', C } } },
    { HONE_OP_scale, { { 'n', C } }, { { 'n', C } } },
    { HONE_OP_blend, { { 'n', C }, { 'n', C }, { 'v', C } }, { { 'n', C } } },
    { HONE_OP_blend_back, { { 'n', C }, { 'n', C }, { 'v', C } }, { { 'n', C } } },
    { HONE_OP_add, { { 'n', C }, { 'n', C } }, { { 'n', C } } },
    { HONE_OP_adamw, { { 'v', 5 }, { 'v', 2 } }, { { 'n', C }, { 'n', C }, { 'n', C }, { 'n', C } } },
    { HONE_OP_momentum, { { 'v', 5 }, { 'v', 2 } }, { { 'n', C }, { 'n', C }, { 'n', C } } },
    { HONE_OP_muon, { { 'v', 5 }, { 'n', C }, { 'v', 1 } }, { { 'n', C } } },
    { HONE_OP_pack, { { 'n', C } }, { { 'n', C } } },
};

static void add_shape(big *b, int i, shape s)
{
    if (s.kind) add_operand(b, i, s.kind == 'v' ? 1 : N, s.cols, s.kind == 'i' ? HONE_i32 : s.kind == 'c' ? HONE_int8 : HONE_f32, (int32_t)(N - 1));
}

// Bit by bit where nothing is summed in another order; else within the rounding of a sum over C.
static void compare(const row_case *k, const big *b, int output)
{
    const hone_operand *o = &b->args.out[output], *alone = &b->last.out[output];
    const int64_t cols = o->dim[1], first = cols > TAIL ? cols - TAIL : 0;
    const float *y = (const float *)o->data + (o->dim[0] - 1) * cols, *r = alone->data;
    double difference = 0, size = 0;
    if (o->dtype == HONE_int8) {
        assert_memory_equal((const int8_t *)o->data + (o->dim[0] - 1) * cols, alone->data, (size_t)cols);
        return;
    }
    for (int64_t i = first; i < cols; i++) {
        difference += ((double)y[i] - r[i]) * ((double)y[i] - r[i]);
        size += (double)r[i] * r[i];
    }
    if (!(difference <= size * 1e-12)) fail_msg("%s: output %d of the last row is off by %.3g of %.3g", hone_op_get(k->op)->name, output, sqrt(difference), sqrt(size));
}

static void test_offsets_beyond_two_to_the_31(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const row_case *k = &cases[i];
        big b = { .args = { .op = k->op } };
        b.args.attr = (hone_attr){ .heads = 16, .kv_heads = 8, .head_dim = 128, .eps = 1e-5f, .beta1 = 0.9f, .beta2 = 0.99f, .decay = 0.1f, .scale = 1,
                                   .dtype = HONE_f32 };
        b.last.op = k->op, b.last.attr = b.args.attr;
        for (int j = 0; j < 6; j++) add_shape(&b, j, k->in[j]);
        for (int j = 0; j < 4; j++) add_shape(&b, HONE_MAX_IN + j, k->out[j]);
        run_last(&b);
        hone_backend_ref.run(NULL, &b.last, NULL, 0);
        for (int j = 0; j < 4; j++)
            if (k->out[j].kind) compare(k, &b, j);
        release(&b);
    }
}

static double value_of(const hone_operand *o, int64_t i) // of the last row
{
    const int64_t at = (o->dim[0] - 1) * o->dim[1] + i;
    return o->dtype == HONE_bf16 ? (double)hone_bf16_to_f32(((const uint16_t *)o->data)[at]) : (double)((const float *)o->data)[at];
}

// The last query sees its own key alone: o is its v, and the gradient of v is do. In f32 on multiply-adds, in bf16 on matrix cores.
static void check_attention(hone_dtype dtype)
{
    enum { H = 2, D = 64, P = C };
    big b = { .args = { .op = HONE_OP_attention, .same_kv = true } };
    b.args.attr = (hone_attr){ .heads = H, .kv_heads = H, .head_dim = D, .q_col = P - 3 * H * D, .k_col = P - 2 * H * D, .v_col = P - H * D, .scale = 0.125f };
    const hone_attr *attr = &b.args.attr;
    const hone_operand *q = &b.args.in[0], *o = &b.args.out[0];
    add_operand(&b, 0, N, P, dtype, 0);
    b.args.in[1] = b.args.in[0];
    add_operand(&b, 2, N, 1, HONE_i32, (int32_t)(N - 1));
    add_operand(&b, 3, N, 1, HONE_i32, (int32_t)N);
    add_operand(&b, HONE_MAX_IN, N, H * D, dtype, 0);
    add_operand(&b, HONE_MAX_IN + 1, N, H, HONE_f32, 0);
    hone_args back = { .op = HONE_OP_attention_back, .attr = *attr, .same_kv = true };
    assert_int_equal(hone_cuda_attention_width(&b.args), dtype == HONE_bf16 ? 64 : 0);
    run_last(&b);
    for (int i = 0; i < H * D; i++) assert_true(value_of(o, i) == value_of(q, attr->v_col + i));
    for (int h = 0; h < H; h++) {
        double score = 0;
        for (int d = 0; d < D; d++) score += value_of(q, attr->q_col + h * D + d) * value_of(q, attr->k_col + h * D + d) / 8;
        assert_true(fabs(score - value_of(&b.args.out[1], h)) < 1e-5);
    }
    big c = { .args = back };
    add_operand(&c, 0, N, H * D, dtype, 0);
    c.args.in[1] = c.args.in[2] = b.args.in[0], c.args.in[3] = b.args.out[0], c.args.in[4] = b.args.out[1], c.args.in[5] = b.args.in[2], c.args.in[6] = b.args.in[3];
    add_operand(&c, HONE_MAX_IN, N, P, dtype, 0);
    run_last(&c);
    const hone_operand *d_o = &c.args.in[0], *dq = &c.args.out[0];
    for (int i = 0; i < H * D; i++) {
        assert_true(fabs(value_of(dq, attr->v_col + i) - value_of(d_o, i)) < 1e-5);                                // p = 1
        assert_true(fabs(value_of(dq, attr->q_col + i)) < 1e-4 && fabs(value_of(dq, attr->k_col + i)) < 1e-4);     // ds = 0
    }
    release(&c);
    release(&b);
}

static void test_attention_beyond_two_to_the_31(void **state)
{
    (void)state;
    check_attention(HONE_f32);
    check_attention(HONE_bf16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_missing_barrier_shows_in_the_result),
        cmocka_unit_test(test_barriers_that_not_all_reach_are_reported),
        cmocka_unit_test(test_an_overrun_of_shared_memory_is_reported),
        cmocka_unit_test(test_sums_over_warps_and_blocks_reach_every_thread),
        cmocka_unit_test(test_offsets_beyond_two_to_the_31),
        cmocka_unit_test(test_attention_beyond_two_to_the_31),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
