// test_gemm.c: the matrix kernels of the CPU backend, for every instruction set of this machine, with 1, 2 and 3 threads:
// against f64 sums, and bit for bit where gemm.h promises it (rows, threads, forms, linear and the head).
#include "backend/cpu/kernels.h"
#include "support/cmocka_all.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KC = 384, MAX_THREADS = 3 };
static hone_isa isa;   // under test
#define EACH_ISA for (isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa))
#define EACH_THREADS(t) for (int t = 1; t <= MAX_THREADS; t++)

// Memory ------------------------------------------------------------------------------------------------------------------

static void *room(size_t bytes) // 64-byte aligned, filled with NaN so that what a kernel leaves unwritten shows
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(p);
    memset(p, 0xff, (bytes + 127) / 64 * 64);
    return p;
}
static float *floats(int64_t n) { return room((size_t)n * sizeof(float)); }
static uint32_t seed = 1;
static float noise(void) // in [-1, 1)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(int32_t)seed * 0x1p-31f;
}
static float *random_floats(int64_t n)
{
    float *p = floats(n);
    for (int64_t i = 0; i < n; i++) p[i] = noise();
    return p;
}
static float *copy_of(const float *from, int64_t n)
{
    float *p = floats(n);
    memcpy(p, from, (size_t)n * sizeof(float));
    return p;
}
static void assert_same_bits(const float *a, const float *b, int64_t n, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a))
            fail_msg("%s %s: element %lld is %.9g, not %.9g", hone_isa_name[isa], what, (long long)i, (double)a[i], (double)b[i]);
}

// A node ------------------------------------------------------------------------------------------------------------------

static hone_operand operand_of(const void *data, hone_dtype dtype, int64_t a, int64_t b)
{
    hone_operand o = { .data = (void *)(uintptr_t)data, .dim = { a, b }, .rank = b ? 2 : 1, .dtype = dtype, .present = data != NULL };
    return o;
}
static hone_operand f32_of(const float *data, int64_t a, int64_t b) { return operand_of(data, HONE_f32, a, b); }

static void run(hone_args *args, int threads)
{
    const hone_cpu_kernel *kernel = &hone_cpu_kernel_tables[isa]->op[args->op];
    args->workspace_bytes = kernel->workspace ? kernel->workspace(args, threads) : 0;
    char *space = room(args->workspace_bytes + 64);
    memset(space + args->workspace_bytes, 0x5a, 64);
    args->workspace = space;
    kernel->run(args, threads);
    for (int i = 0; i < 64; i++) assert_int_equal(space[args->workspace_bytes + (size_t)i], 0x5a); // stays in its workspace
    free(space);
}

typedef enum { AS_PLAIN, AS_BF16, AS_FORM, AS_STREAMED } storage;
// The weight (M, K) as a kernel gets it; `form` is the one of the op at hand. Free .data.
static hone_operand weight_of(const float *w, int64_t M, int64_t K, storage how, hone_form form)
{
    hone_operand plain = f32_of(w, M, K);
    const hone_dtype dtype = how == AS_BF16 ? HONE_bf16 : HONE_f32;
    hone_args args = { .op = HONE_OP_pack, .in = { plain }, .out = { operand_of(w, dtype, M, K) } };
    args.out[0].form = how == AS_FORM ? form : how == AS_STREAMED ? HONE_FORM_STREAMED : HONE_FORM_PLAIN;
    args.out[0].data = room(hone_cpu_kernel_tables[isa]->form_bytes(args.out[0].form, dtype, M, K));
    run(&args, 2);
    return args.out[0];
}
static void round_to_bf16(float *w, int64_t n)
{
    for (int64_t i = 0; i < n; i++) w[i] = hone_bf16_to_f32(hone_f32_to_bf16(w[i]));
}

// A sum of `depth` products in blocks of KC, with two terms more: each of its at most KC + depth / KC + 2 roundings is off by
// half a place of a partial sum, which is at most `size`, the sum of all magnitudes.
static double sum_bound(int64_t depth, double size)
{
    return (double)((depth < KC ? depth : KC) + depth / KC + 4) * 0x1p-24 * size;
}
static void assert_near(double got, double want, double bound, const char *what, int64_t i)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("%s %s: element %lld is %.9g, not %.9g +- %.2g", hone_isa_name[isa], what, (long long)i, got, want, bound);
}

// y = x w^T and dx = dy w -------------------------------------------------------------------------------------------------

// Both ops as one: A (N, depth), C (N, cols), w (M, K).
typedef struct product {
    hone_op op;
    int64_t N, M, K;
    const float *a, *w, *bias, *addend;
} product;
static int64_t cols_of(const product *p) { return p->op == HONE_OP_linear ? p->M : p->K; }
static int64_t depth_of(const product *p) { return p->op == HONE_OP_linear ? p->K : p->M; }

static float *multiply(const product *p, int64_t rows, storage how, bool in_place, int threads)
{
    const int64_t cols = cols_of(p);
    float *c = in_place ? copy_of(p->addend, p->N * cols) : floats(p->N * cols);
    const float *addend = in_place ? c : p->addend;
    const int32_t live = (int32_t)rows;
    const bool forward = p->op == HONE_OP_linear;
    hone_operand w = weight_of(p->w, p->M, p->K, how, forward ? HONE_FORM_PACKED : HONE_FORM_PACKED_T);
    hone_args args = { .op = p->op, .in = { f32_of(p->a, p->N, depth_of(p)), w }, .out = { f32_of(c, p->N, cols) } };
    args.in[0].live = args.out[0].live = &live;
    if (forward) args.in[2] = f32_of(p->bias, p->M, 0);
    args.in[forward ? 3 : 2] = f32_of(addend, p->N, cols);
    run(&args, threads);
    free(w.data);
    return c;
}

static void check_product(const product *p, const float *c, const char *what)
{
    const int64_t cols = cols_of(p), depth = depth_of(p);
    for (int64_t n = 0; n < p->N; n++)
        for (int64_t j = 0; j < cols; j++) {
            double sum = 0, size = 0;
            for (int64_t k = 0; k < depth; k++) {
                const float w = p->op == HONE_OP_linear ? p->w[j * depth + k] : p->w[k * cols + j];
                const double term = (double)p->a[n * depth + k] * (double)w;
                sum += term, size += fabs(term);
            }
            const double bias = p->bias ? (double)p->bias[j] : 0, addend = p->addend ? (double)p->addend[n * cols + j] : 0;
            assert_near((double)c[n * cols + j], sum + bias + addend, sum_bound(depth, size + fabs(bias) + fabs(addend)), what, n * cols + j);
        }
}

// Shapes around every edge: one row, one column, tile heights of 14, 6 and 4, panels of 32, 16 and 8, blocks of 384.
static const int64_t shapes[][3] = { { 1, 1, 1 },   { 1, 200, 64 },  { 2, 33, 31 },  { 5, 7, 385 },  { 13, 64, 16 },   { 15, 65, 17 },
                                     { 29, 96, 5 }, { 37, 131, 96 }, { 43, 17, 768 }, { 70, 50, 515 }, { 129, 200, 1025 } };

static void check_op(hone_op op)
{
    EACH_ISA for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const int64_t N = shapes[s][0], M = op == HONE_OP_linear ? shapes[s][1] : shapes[s][2], K = op == HONE_OP_linear ? shapes[s][2] : shapes[s][1];
        product p = { .op = op, .N = N, .M = M, .K = K, .a = random_floats(N * depth_of(&(product){ .op = op, .M = M, .K = K })) };
        float *w = random_floats(M * K), *bias = random_floats(M), *addend = random_floats(N * cols_of(&(product){ .op = op, .M = M, .K = K }));
        p.w = w;
        for (int with = 0; with < 4; with++) {
            p.bias = with & 1 && op == HONE_OP_linear ? bias : NULL, p.addend = with & 2 ? addend : NULL;
            float *c = multiply(&p, N, AS_FORM, false, 1);
            check_product(&p, c, "product");
            EACH_THREADS(t)
            {
                for (int how = 0; how < 2; how++) { // same bits: any threads, either form, addend in place
                    float *again = multiply(&p, N, how ? AS_FORM : AS_PLAIN, how && p.addend, t);
                    assert_same_bits(again, c, N * cols_of(&p), "forms and threads");
                    free(again);
                }
            }
            free(c);
        }
        round_to_bf16(w, M * K);
        float *narrow = multiply(&p, N, AS_BF16, false, 2), *wide = multiply(&p, N, AS_FORM, false, 1);
        assert_same_bits(narrow, wide, N * cols_of(&p), "bf16 weight");
        free(narrow), free(wide), free(w), free(bias), free(addend), free((void *)(uintptr_t)p.a);
    }
}
static void test_linear_matches_f64_in_every_form(void **state) { (void)state; check_op(HONE_OP_linear); }
static void test_linear_dx_matches_f64_in_every_form(void **state) { (void)state; check_op(HONE_OP_linear_dx); }

// A row's bits do not depend on the rows beside it; rows beyond the live count are not touched.
static void test_rows_do_not_depend_on_their_number(void **state)
{
    (void)state;
    static const int64_t counts[] = { 0, 1, 2, 7, 14, 15, 33, 64, 512 };
    enum { N = 600, M = 147, K = 770 };
    float *a = random_floats(N * (K + M)), *w = random_floats(M * K), *bias = random_floats(M);
    EACH_ISA for (int backward = 0; backward < 2; backward++) {
        const product p = { .op = backward ? HONE_OP_linear_dx : HONE_OP_linear, .N = N, .M = M, .K = K, .a = a, .w = w, .bias = bias };
        const int64_t cols = cols_of(&p);
        float *all = multiply(&p, N, AS_FORM, false, 2);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            EACH_THREADS(t)
            {
                float *some = multiply(&p, counts[i], t == 2 ? AS_PLAIN : AS_FORM, false, t), *none = floats(N * cols);
                assert_same_bits(some, all, counts[i] * cols, "rows");
                assert_memory_equal(some + counts[i] * cols, none, (size_t)((N - counts[i]) * cols) * sizeof(float));
                free(some), free(none);
            }
        free(all);
    }
    free(a), free(w), free(bias);
}

// The streamed form (decoding): as exact, same bits for the same rows whether 1 or 63 run.
static void test_streamed_weights(void **state)
{
    (void)state;
    enum { N = 130, M = 147, K = 770 };
    static const int64_t counts[] = { 1, 2, 31, 63, 64, 130 };
    float *a = random_floats(N * K), *w = random_floats(M * K), *bias = random_floats(M);
    const product p = { .op = HONE_OP_linear, .N = N, .M = M, .K = K, .a = a, .w = w, .bias = bias };
    EACH_ISA {
        float *few = multiply(&p, 63, AS_STREAMED, false, 2), *many = multiply(&p, N, AS_STREAMED, false, 2);
        check_product(&p, many, "streamed, many rows");
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            EACH_THREADS(t)
            {
                float *some = multiply(&p, counts[i], AS_STREAMED, false, t);
                assert_same_bits(some, counts[i] < 64 ? few : many, counts[i] * M, "streamed rows");
                for (int64_t j = 0; j < counts[i] * M; j++) assert_near((double)some[j], (double)many[j], 2 * sum_bound(K, K), "streamed, few rows", j);
                free(some);
            }
        free(few), free(many);
    }
    free(a), free(w), free(bias);
}

// Products by bf16 parts (gemm_amx.c) are f32 products: their mean error is no more than that of fused multiply-adds.
static void test_parts_are_as_exact_as_multiply_adds(void **state)
{
    (void)state;
    enum { N = 70, M = 64, K = 1500 };
    if (!hone_cpu()->has[HONE_ISA_AMX]) {
        print_message("skipped: no AMX\n");
        return;
    }
    float *a = random_floats(N * K), *w = random_floats(M * K);
    for (int64_t i = 0; i < N * K; i++) a[i] *= ldexpf(1, (int)(i % 23) - 11); // parts of very different places meet
    const product p = { .op = HONE_OP_linear, .N = N, .M = M, .K = K, .a = a, .w = w };
    double square[HONE_ISA_COUNT] = { 0 };
    for (isa = HONE_ISA_AVX512; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa)) {
        float *c = multiply(&p, N, AS_FORM, false, 2);
        for (int64_t n = 0; n < N; n++)
            for (int64_t m = 0; m < M; m++) {
                double sum = 0;
                for (int64_t k = 0; k < K; k++) sum += (double)a[n * K + k] * (double)w[m * K + k];
                const double error = (double)c[n * M + m] - sum;
                square[isa] += error * error;
            }
        free(c);
    }
    print_message("           error of parts / of multiply-adds: %.3f\n", sqrt(square[HONE_ISA_AMX] / square[HONE_ISA_AVX512]));
    assert_true(square[HONE_ISA_AMX] <= square[HONE_ISA_AVX512]);
    free(a), free(w);
}

// Products of 8-bit integers where quantize.h says something special: sums of the largest integers are exact, zeros and numbers
// below 2^-100 are zero, and what is not finite spoils its own row and nothing else. Everything ordinary is test_ops' affair.
static void test_integers_at_their_limits(void **state)
{
    (void)state;
    enum { N = 40, M = 37, K = 1000 };
    enum { ZEROS = 3, TINY = 5, INFINITE = 17, NOT_A_NUMBER = 33, ORDINARY = 8 };
    float *x = random_floats(N * K), *w = random_floats(M * K), *y = floats(N * M), *clean = floats(N * M);
    for (int64_t i = 0; i < K; i++) {
        for (int64_t n = 10; n < 16; n++) x[n * K + i] = n % 2 ? -2 : 2; // whole rows and columns of +-127
        w[9 * K + i] = 3;
        x[ZEROS * K + i] = 0, x[TINY * K + i] *= 0x1p-130f;
    }
    hone_args args = { .op = HONE_OP_linear, .attr.product = HONE_int8, .in = { f32_of(x, N, K), f32_of(w, M, K) }, .out = { f32_of(clean, N, M) } };
    EACH_ISA {
        x[INFINITE * K + 700] = 1, x[NOT_A_NUMBER * K] = 1;
        args.out[0].data = clean;
        run(&args, 2);
        for (int64_t n = 10; n < 16; n++) assert_true(fabsf(clean[n * M + 9] - (n % 2 ? -6 : 6) * (float)K) <= 0x1p-21f * 6 * K);
        for (int64_t m = 0; m < M; m++) {
            assert_true(clean[ZEROS * M + m] == 0);
            assert_true(clean[TINY * M + m] == 0);
            assert_true(clean[ORDINARY * M + m] != 0);
        }
        x[INFINITE * K + 700] = -INFINITY, x[NOT_A_NUMBER * K] = NAN;
        args.out[0].data = y;
        run(&args, 2);
        for (int64_t n = 0; n < N; n++) {
            const bool spoiled = n == INFINITE || n == NOT_A_NUMBER;
            if (!spoiled) assert_same_bits(y + n * M, clean + n * M, M, "row beside one that is not finite");
            else for (int64_t m = 0; m < M; m++) assert_false(isfinite(y[n * M + m]));
        }
    }
    free(x), free(w), free(y), free(clean);
}

// dw += dy^T x ------------------------------------------------------------------------------------------------------------

static void test_linear_dw_matches_f64(void **state)
{
    (void)state;
    EACH_ISA for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const int64_t N = shapes[s][2], M = shapes[s][0], K = shapes[s][1]; // the largest is the depth
        float *dy = random_floats(N * M), *x = random_floats(N * K), *dw = random_floats(M * K), *db = random_floats(M), *first[2] = { 0 };
        EACH_THREADS(t) for (int with_bias = 0; with_bias < 2; with_bias++) {
            float *w = copy_of(dw, M * K), *b = copy_of(db, M);
            hone_args args = { .op = HONE_OP_linear_dw, .in = { f32_of(dy, N, M), f32_of(x, N, K) }, .out = { f32_of(w, M, K), f32_of(with_bias ? b : NULL, M, 0) } };
            run(&args, t);
            if (!first[0]) {
                for (int64_t m = 0; m < M; m++)
                    for (int64_t k = 0; k < K; k++) {
                        double sum = (double)dw[m * K + k], size = fabs(sum);
                        for (int64_t n = 0; n < N; n++) {
                            const double term = (double)dy[n * M + m] * (double)x[n * K + k];
                            sum += term, size += fabs(term);
                        }
                        assert_near((double)w[m * K + k], sum, sum_bound(N, size), "dw", m * K + k);
                    }
                first[0] = copy_of(w, M * K);
            }
            assert_same_bits(w, first[0], M * K, "dw of any threads");
            if (with_bias && !first[1]) {
                for (int64_t m = 0; m < M; m++) {
                    double sum = (double)db[m], size = fabs(sum);
                    for (int64_t n = 0; n < N; n++) sum += (double)dy[n * M + m], size += fabs((double)dy[n * M + m]);
                    assert_near((double)b[m], sum, sum_bound(N, size), "db", m);
                }
                first[1] = copy_of(b, M);
            }
            if (with_bias) assert_same_bits(b, first[1], M, "db of any threads");
            else assert_same_bits(b, db, M, "absent db");
            free(w), free(b);
        }
        free(dy), free(x), free(dw), free(db), free(first[0]), free(first[1]);
    }
}

// The head ----------------------------------------------------------------------------------------------------------------

enum { HEAD_N = 530, HEAD_C = 41, HEAD_V = 515, HEAD_J = 3 };
typedef struct head {
    float *x, *w, *weight;  // (N, C) (V, C) (N,)
    int32_t *target, *ids;  // (N,) (N, J)
} head;
static head head_new(void)
{
    head h = { .x = random_floats(HEAD_N * HEAD_C), .w = random_floats(HEAD_V * HEAD_C), .weight = random_floats(HEAD_N),
               .target = room(HEAD_N * 4), .ids = room((size_t)HEAD_N * HEAD_J * 4) };
    for (int n = 0; n < HEAD_N; n++) {
        h.target[n] = n % 7 ? (int32_t)((double)(noise() + 1) * 0.5 * HEAD_V) : n % 2 ? 0 : HEAD_V - 1;
        for (int j = 0; j < HEAD_J; j++) h.ids[n * HEAD_J + j] = j ? (h.target[n] + 97 * j) % HEAD_V : h.target[n];
        if (n % 5 == 3) h.weight[n] = 0;
    }
    return h;
}
static void head_free(head *h) { free(h->x), free(h->w), free(h->weight), free(h->target), free(h->ids); }

typedef struct xent_out { float *logprob, *dx, *dw; } xent_out;
static void xent_free(xent_out *o) { free(o->logprob), free(o->dx), free(o->dw); }
static xent_out run_xent(const head *h, int64_t from, int64_t rows, const float *dw, storage how, int threads)
{
    xent_out o = { floats(HEAD_N), floats(HEAD_N * HEAD_C), dw ? copy_of(dw, HEAD_V * HEAD_C) : NULL };
    const int32_t live = (int32_t)rows;
    hone_operand w = weight_of(h->w, HEAD_V, HEAD_C, how, HONE_FORM_PLAIN);
    const int64_t N = HEAD_N - from;
    hone_args args = { .op = HONE_OP_linear_xent,
                       .in = { f32_of(h->x + from * HEAD_C, N, HEAD_C), w, operand_of(h->target + from, HONE_i32, N, 0), f32_of(h->weight + from, N, 0) },
                       .out = { f32_of(o.logprob, N, 0), f32_of(o.dx, N, HEAD_C), f32_of(o.dw, HEAD_V, HEAD_C) } };
    args.in[0].live = &live;
    run(&args, threads);
    free(w.data);
    return o;
}
typedef struct logprob_out { float *logprob, *entropy, *lse; } logprob_out;
static void logprob_free(logprob_out *o) { free(o->logprob), free(o->entropy), free(o->lse); }
static logprob_out run_logprob(const head *h, int64_t from, int64_t rows, storage how, int threads)
{
    logprob_out o = { floats(HEAD_N * HEAD_J), floats(HEAD_N), floats(HEAD_N) };
    const int32_t live = (int32_t)rows;
    hone_operand w = weight_of(h->w, HEAD_V, HEAD_C, how, HONE_FORM_PLAIN);
    const int64_t N = HEAD_N - from;
    hone_args args = { .op = HONE_OP_linear_logprob,
                       .in = { f32_of(h->x + from * HEAD_C, N, HEAD_C), w, operand_of(h->ids + from * HEAD_J, HONE_i32, N, HEAD_J) },
                       .out = { f32_of(o.logprob, N, HEAD_J), f32_of(o.entropy, N, 0), f32_of(o.lse, N, 0) } };
    args.in[0].live = &live;
    run(&args, threads);
    free(w.data);
    return o;
}

// Errors in f32: a logit is off by `logit`, lse by no more and by the roundings of V sums, exponentials (1 ulp) and one log;
// a probability p is then off by the relative sum of both.
static void test_linear_xent_matches_f64(void **state)
{
    (void)state;
    head h = head_new();
    float *dw0 = random_floats(HEAD_V * HEAD_C);
    double *z = calloc(HEAD_V, sizeof *z), *dw = calloc(HEAD_V * HEAD_C, sizeof *dw), *dw_size = calloc(HEAD_V * HEAD_C, sizeof *dw);
    EACH_ISA {
        xent_out o = run_xent(&h, 0, HEAD_N, dw0, AS_PLAIN, 2);
        const double logit = sum_bound(HEAD_C, HEAD_C), chain = (224 + 16) * 0x1p-24, lse_bound = logit + chain + 8 * 0x1p-24 * log(HEAD_V);
        for (int i = 0; i < HEAD_V * HEAD_C; i++) dw[i] = (double)dw0[i], dw_size[i] = fabs(dw[i]);
        for (int64_t n = 0; n < HEAD_N; n++) {
            const double weight = (double)h.weight[n];
            double sum = 0, dx[HEAD_C] = { 0 }, size[HEAD_C] = { 0 };
            for (int v = 0; v < HEAD_V; v++) {
                z[v] = 0;
                for (int c = 0; c < HEAD_C; c++) z[v] += (double)h.x[n * HEAD_C + c] * (double)h.w[v * HEAD_C + c];
                sum += exp(z[v]);
            }
            const double lse = log(sum);
            assert_near((double)o.logprob[n], weight != 0 ? z[h.target[n]] - lse : 0, logit + lse_bound + 0x1p-24 * fabs(lse), "logprob", n);
            for (int v = 0; v < HEAD_V; v++) {
                const double p = exp(z[v] - lse), dz = weight * (p - (v == h.target[n])), dz_bound = fabs(weight) * (p * (logit + lse_bound + 8 * 0x1p-24) + 0x1p-24);
                for (int c = 0; c < HEAD_C; c++) {
                    const double x = (double)h.x[n * HEAD_C + c], w = (double)h.w[v * HEAD_C + c];
                    dx[c] += dz * w, size[c] += fabs(dz * w) * (sum_bound(HEAD_V, 1)) + dz_bound * fabs(w);
                    dw[v * HEAD_C + c] += dz * x;
                    dw_size[v * HEAD_C + c] += fabs(dz * x) * sum_bound(HEAD_N, 1) + dz_bound * fabs(x);
                }
            }
            for (int c = 0; c < HEAD_C; c++) assert_near((double)o.dx[n * HEAD_C + c], dx[c], size[c], "dx", n * HEAD_C + c);
        }
        for (int i = 0; i < HEAD_V * HEAD_C; i++) assert_near((double)o.dw[i], dw[i], dw_size[i], "dw", i);
        EACH_THREADS(t)
        {
            xent_out again = run_xent(&h, 0, HEAD_N, dw0, AS_PLAIN, t), frozen = run_xent(&h, 0, HEAD_N, NULL, AS_PLAIN, t);
            assert_same_bits(again.logprob, o.logprob, HEAD_N, "logprob of any threads");
            assert_same_bits(again.dx, o.dx, HEAD_N * HEAD_C, "dx of any threads");
            assert_same_bits(again.dw, o.dw, HEAD_V * HEAD_C, "dw of any threads");
            assert_same_bits(frozen.logprob, o.logprob, HEAD_N, "logprob of a frozen head");
            assert_same_bits(frozen.dx, o.dx, HEAD_N * HEAD_C, "dx of a frozen head");
            xent_free(&again), xent_free(&frozen);
        }
        xent_free(&o);
    }
    free(z), free(dw), free(dw_size), free(dw0), head_free(&h);
}

// score (linear_logprob) and micro (linear_xent) give the same bits for the same rows, however many run at once, and both
// are near the logits that decode sees (linear): there the weight is the other operand, and may come in another form.
static void test_score_micro_and_decode_agree(void **state)
{
    (void)state;
    static const int64_t counts[] = { 1, 7, 64, 512 };
    head h = head_new();
    EACH_ISA {
        xent_out all = run_xent(&h, 0, HEAD_N, NULL, AS_PLAIN, 1);
        const product p = { .op = HONE_OP_linear, .N = HEAD_N, .M = HEAD_V, .K = HEAD_C, .a = h.x, .w = h.w };
        float *z = multiply(&p, HEAD_N, AS_FORM, false, 2);
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            for (int64_t from = 0; from < 16; from += 5)
                EACH_THREADS(t)
                {
                    logprob_out o = run_logprob(&h, from, counts[i], AS_PLAIN, t);
                    xent_out some = run_xent(&h, from, counts[i], NULL, AS_PLAIN, t);
                    assert_same_bits(some.dx, all.dx + from * HEAD_C, counts[i] * HEAD_C, "dx of some rows");
                    for (int64_t n = 0; n < counts[i]; n++) {
                        double entropy = 0;
                        for (int v = 0; v < HEAD_V; v++) {
                            const double logp = (double)z[(from + n) * HEAD_V + v] - (double)o.lse[n];
                            entropy -= exp(logp) * logp;
                        }
                        assert_near((double)o.entropy[n], entropy, (224 + 32) * 0x1p-24 * (1 + log(HEAD_V)), "entropy", n);
                        assert_same_bits(some.logprob + n, all.logprob + from + n, 1, "logprob of some rows");
                        if (h.weight[from + n] != 0) assert_same_bits(o.logprob + n * HEAD_J, all.logprob + from + n, 1, "score's logprob");
                        for (int j = 0; j < HEAD_J; j++) {
                            const float want = z[(from + n) * HEAD_V + h.ids[(from + n) * HEAD_J + j]] - o.lse[n];
                            assert_near((double)o.logprob[n * HEAD_J + j], (double)want, 2 * sum_bound(HEAD_C, HEAD_C) + 0x1p-20, "logits of linear", n);
                        }
                    }
                    logprob_free(&o), xent_free(&some);
                }
        free(z), xent_free(&all);
    }
    head_free(&h);
}

static void test_head_takes_a_bf16_weight(void **state)
{
    (void)state;
    head h = head_new();
    float *dw0 = random_floats(HEAD_V * HEAD_C);
    round_to_bf16(h.w, HEAD_V * HEAD_C);
    EACH_ISA {
        xent_out wide = run_xent(&h, 0, HEAD_N, dw0, AS_PLAIN, 1), narrow = run_xent(&h, 0, HEAD_N, dw0, AS_BF16, 2);
        logprob_out score = run_logprob(&h, 0, HEAD_N, AS_PLAIN, 1), score_narrow = run_logprob(&h, 0, HEAD_N, AS_BF16, 2);
        assert_same_bits(narrow.logprob, wide.logprob, HEAD_N, "bf16 logprob");
        assert_same_bits(narrow.dx, wide.dx, HEAD_N * HEAD_C, "bf16 dx");
        assert_same_bits(narrow.dw, wide.dw, HEAD_V * HEAD_C, "bf16 dw");
        assert_same_bits(score_narrow.logprob, score.logprob, HEAD_N * HEAD_J, "bf16 score");
        xent_free(&wide), xent_free(&narrow), logprob_free(&score), logprob_free(&score_narrow);
    }
    free(dw0), head_free(&h);
}

// The logits of a chunk are bounded: GPT-2's head must fit the plan of a small machine.
static void test_head_workspace_is_bounded(void **state)
{
    (void)state;
    EACH_ISA {
        hone_args args = { .op = HONE_OP_linear_xent,
                           .in = { f32_of(NULL, 4096, 768), f32_of(NULL, 50257, 768), operand_of(NULL, HONE_i32, 4096, 0), f32_of(NULL, 4096, 0) },
                           .out = { f32_of(NULL, 4096, 0), f32_of(NULL, 4096, 768), f32_of(NULL, 50257, 768) } };
        for (int k = 0; k < 4; k++) args.in[k].present = true;
        for (int k = 0; k < 3; k++) args.out[k].present = true;
        const size_t bytes = hone_cpu_kernel_tables[isa]->op[HONE_OP_linear_xent].workspace(&args, 2);
        assert_true(bytes > (size_t)40 << 20 && bytes < (size_t)56 << 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_matches_f64_in_every_form),
        cmocka_unit_test(test_linear_dx_matches_f64_in_every_form),
        cmocka_unit_test(test_rows_do_not_depend_on_their_number),
        cmocka_unit_test(test_streamed_weights),
        cmocka_unit_test(test_parts_are_as_exact_as_multiply_adds),
        cmocka_unit_test(test_integers_at_their_limits),
        cmocka_unit_test(test_linear_dw_matches_f64),
        cmocka_unit_test(test_linear_xent_matches_f64),
        cmocka_unit_test(test_score_micro_and_decode_agree),
        cmocka_unit_test(test_head_takes_a_bf16_weight),
        cmocka_unit_test(test_head_workspace_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
