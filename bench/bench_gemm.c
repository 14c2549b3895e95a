// bench_gemm.c: the matrix kernels over the shapes of training and decoding, as shares of the measured multiply-add peak,
// beside oneDNN's sgemm where the build found it.
//
//     bench_gemm [--json] [--quick] [--product bf16|int8] [only]        only: part of a row's name
//
// A row runs as training runs it: linear and linear_dx with the making of the weight's form before them, the head with its
// softmax. oneDNN gets bare products (for the head three of them, chunk by chunk) and no softmax. Both sides and the peak (a
// loop of multiply-adds in registers) take turns, the peak for 2 ms right after the kernel, at the clock that the machine
// grants under this load; share and ratio are medians over the rounds of turns, so that a machine whose speed wavers
// (neighbours, power) wavers on both sides of a quotient.
// bf16 and int8: the same rows with such products (of int8 without the head, which has none); shares are of the peak of their instructions.
// flops: of all runs of the shape in one training step, so that shares can be weighted.
#include "backend/cpu/kernels.h"
#include "base/memory.h"
#include "plan/peak.h"
#include "backend/cpu/isa/peak.h"
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef HONE_HAVE_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

typedef struct row { const char *model; hone_op op; int64_t N, K, M; int per_step; } row; // K in, M out features
#define LAYER(model, N, K, M, runs) \
    { model, HONE_OP_linear, N, K, M, runs }, { model, HONE_OP_linear_dx, N, K, M, runs }, { model, HONE_OP_linear_dw, N, K, M, runs }
static const row rows[] = {
    LAYER("gpt2-124m", 2048, 768, 2304, 12),
    LAYER("gpt2-124m", 2048, 768, 768, 12),
    LAYER("gpt2-124m", 2048, 768, 3072, 12),
    LAYER("gpt2-124m", 2048, 3072, 768, 12),
    { "gpt2-124m", HONE_OP_linear_xent, 2048, 768, 50257, 1 },
    LAYER("llama-15m", 4096, 384, 1152, 6),
    LAYER("llama-15m", 4096, 384, 384, 6),
    LAYER("llama-15m", 4096, 384, 2048, 6),
    LAYER("llama-15m", 4096, 1024, 384, 6),
    { "llama-15m", HONE_OP_linear_xent, 4096, 384, 8192, 1 },
    // decoding: weights packed once; per_step 0 keeps them out of the training figures
    { "decode-1", HONE_OP_linear, 1, 768, 3072, 0 },
    { "decode-1", HONE_OP_linear, 1, 3072, 768, 0 },
    { "decode-1", HONE_OP_linear, 1, 768, 50257, 0 },
    { "decode-8", HONE_OP_linear, 8, 768, 50257, 0 },
    { "decode-32", HONE_OP_linear, 32, 768, 3072, 0 },
    { "decode-32", HONE_OP_linear, 32, 3072, 768, 0 },
    { "decode-32", HONE_OP_linear, 32, 768, 50257, 0 },
};

static const hone_cpu_kernels *kernels;
static int threads;
static hone_dtype product = HONE_f32;
static double peak_rate = 1; // of `product`, in multiply-adds of the loop
static double (*peak_loop)(int64_t turns, double *flops);

static void *pages(size_t bytes)
{
    void *p = hone_pages_alloc(bytes ? bytes : 64);
    if (!p) fprintf(stderr, "bench_gemm: %s\n", hone_error()), exit(1);
    return p;
}
static float *random_floats(int64_t n, float size)
{
    float *p = pages((size_t)n * sizeof *p);
    uint32_t s = 1;
    for (int64_t i = 0; i < n; i++) s = s * 1664525u + 1013904223u, p[i] = size * (float)(int32_t)s * 0x1p-31f;
    return p;
}
static hone_operand operand(void *data, hone_dtype dtype, int64_t a, int64_t b)
{
    return (hone_operand){ .data = data, .dim = { a, b }, .rank = b ? 2 : 1, .dtype = dtype, .present = data != NULL };
}

// One row's data: x (N, K), w (M, K), y (N, M), their gradients and the packed form of w.
typedef struct bench {
    const row *row;
    float *x, *w, *y, *dw, *form;
    float *weight, *logprob, *dx;
    int32_t *target;
    hone_args args, pack;
    size_t form_bytes;
} bench;

static double flops_of(const row *r) { return (r->op == HONE_OP_linear_xent ? 6.0 : 2.0) * (double)r->N * (double)r->K * (double)r->M; }

static void bench_open(bench *b, const row *r)
{
    *b = (bench){ .row = r };
    const bool head = r->op == HONE_OP_linear_xent;
    b->x = random_floats(r->N * r->K, 1), b->w = random_floats(r->M * r->K, 0.05f), b->dw = random_floats(r->M * r->K, 1);
    b->y = random_floats(head ? 256 * r->M : r->N * r->M, 1);
    hone_operand x = operand(b->x, HONE_f32, r->N, r->K), w = operand(b->w, HONE_f32, r->M, r->K), y = operand(b->y, HONE_f32, r->N, r->M);
    hone_operand dw = operand(b->dw, HONE_f32, r->M, r->K);
    const hone_form form = r->op == HONE_OP_linear_dx ? HONE_FORM_PACKED_T : r->per_step ? HONE_FORM_PACKED : HONE_FORM_STREAMED;
    b->form_bytes = kernels->form_bytes(form, product, r->M, r->K);
    b->form = pages(b->form_bytes);
    hone_operand packed = w;
    packed.data = b->form, packed.form = form, packed.dtype = product;
    b->pack = (hone_args){ .op = HONE_OP_pack, .in = { w }, .out = { packed } };
    if (r->op == HONE_OP_linear) b->args = (hone_args){ .op = r->op, .in = { x, packed }, .out = { y } };
    if (r->op == HONE_OP_linear_dx) b->args = (hone_args){ .op = r->op, .in = { y, packed }, .out = { x } };
    if (r->op == HONE_OP_linear_dw) b->args = (hone_args){ .op = r->op, .in = { y, x }, .out = { dw } };
    if (head) {
        b->weight = pages((size_t)r->N * 4), b->logprob = pages((size_t)r->N * 4), b->target = pages((size_t)r->N * 4);
        b->dx = pages((size_t)(r->N * r->K) * 4);
        for (int64_t n = 0; n < r->N; n++) b->weight[n] = 1.0f / (float)r->N, b->target[n] = (int32_t)(n * 7919 % r->M);
        b->args = (hone_args){ .op = r->op, .in = { x, w, operand(b->target, HONE_i32, r->N, 0), operand(b->weight, HONE_f32, r->N, 0) },
                               .out = { operand(b->logprob, HONE_f32, r->N, 0), operand(b->dx, HONE_f32, r->N, r->K), dw } };
    }
    b->args.attr.product = product;
    b->args.workspace_bytes = kernels->op[r->op].workspace ? kernels->op[r->op].workspace(&b->args, threads) : 0;
    b->args.workspace = pages(b->args.workspace_bytes);
    kernels->op[HONE_OP_pack].run(&b->pack, threads);
}

static void bench_close(bench *b)
{
    const row *r = b->row;
    const bool head = r->op == HONE_OP_linear_xent;
    hone_pages_free(b->x, (size_t)(r->N * r->K) * 4), hone_pages_free(b->w, (size_t)(r->M * r->K) * 4);
    hone_pages_free(b->dw, (size_t)(r->M * r->K) * 4), hone_pages_free(b->form, b->form_bytes);
    hone_pages_free(b->y, (size_t)(head ? 256 * r->M : r->N * r->M) * 4);
    hone_pages_free(b->args.workspace, b->args.workspace_bytes ? b->args.workspace_bytes : 64);
    if (head) {
        hone_pages_free(b->weight, (size_t)r->N * 4), hone_pages_free(b->logprob, (size_t)r->N * 4);
        hone_pages_free(b->target, (size_t)r->N * 4), hone_pages_free(b->dx, (size_t)(r->N * r->K) * 4);
    }
}

static void run_hone(const bench *b)
{
    if (b->row->per_step && (b->row->op == HONE_OP_linear || b->row->op == HONE_OP_linear_dx)) kernels->op[HONE_OP_pack].run(&b->pack, threads);
    kernels->op[b->row->op].run(&b->args, threads);
}

#ifdef HONE_HAVE_ONEDNN
static void run_onednn(const bench *b)
{
    const row *r = b->row;
    const bool head = r->op == HONE_OP_linear_xent;
    for (int64_t n = 0; n < r->N; n += head ? 256 : r->N) {
        const int64_t N = head && r->N - n > 256 ? 256 : r->N - n;
        if (r->op == HONE_OP_linear || head) dnnl_sgemm('N', 'T', N, r->M, r->K, 1, b->x + n * r->K, r->K, b->w, r->K, 0, b->y, r->M);
        if (r->op == HONE_OP_linear_dx || head)
            dnnl_sgemm('N', 'N', N, r->K, r->M, 1, b->y, r->M, b->w, r->K, 0, head ? b->dx + n * r->K : b->x, r->K);
        if (r->op == HONE_OP_linear_dw || head) dnnl_sgemm('T', 'N', r->M, r->K, N, 1, b->y, r->M, b->x + n * r->K, r->K, 1, b->dw, r->K);
    }
}
#endif

// Seconds of one run, over as many runs as take about 15 ms.
typedef struct timing { int runs; double seconds; } timing;
static void take_turn(timing *t, void (*run)(const bench *), const bench *b)
{
    if (!t->runs) {
        double from = hone_clock_s();
        run(b);
        t->runs = 1 + (int)(0.015 / (hone_clock_s() - from));
    }
    double from = hone_clock_s();
    for (int i = 0; i < t->runs; i++) run(b);
    t->seconds = (hone_clock_s() - from) / t->runs;
}
static double peak_turn(void) // FLOP/s: the sum of what each thread reaches
{
    double total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
        double flops = 0, from = hone_clock_s();
        peak_loop(300000, &flops);
        total += peak_rate * flops / (hone_clock_s() - from);
    }
    return total;
}
static int by_value(const void *a, const void *b) { return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b); }
static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

int main(int argc, char **argv)
{
    static double (*const peaks[HONE_ISA_COUNT])(int64_t, double *) = {
#define INSTRUCTION_SET(id, name, ...) hone_peak_loop_##name,
#include "base/isa.def"
#undef INSTRUCTION_SET
    };
    enum { ROUNDS = 15 };
    bool json = false, quick = false;
    const char *only = "";
    hone_isa isa;
    double total = 0, ideal = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json")) json = true;
        else if (!strcmp(argv[i], "--quick")) quick = true;
        else if (!strcmp(argv[i], "--product") && i + 1 < argc) {
            i++;
            while (product < HONE_DTYPE_COUNT && strcmp(argv[i], hone_dtype_name(product))) product++;
            if (product != HONE_f32 && product != HONE_bf16 && product != HONE_int8) return fprintf(stderr, "bench_gemm: no products of %s; bf16 or int8\n", argv[i]), 2;
        } else only = argv[i];
    }
    if (hone_cpu_isa(&isa) != HONE_OK || hone_cpu_threads(&threads) != HONE_OK) return fprintf(stderr, "bench_gemm: %s\n", hone_error()), 1;
    kernels = hone_cpu_kernel_tables[isa], peak_rate = hone_isa_rate(isa, product);
    peak_loop = peaks[isa == HONE_ISA_AMX && product == HONE_f32 ? HONE_ISA_AVX512_BF16 : isa]; // f32: of multiply-adds, on AMX too
    if (!json) printf("%-9s %-11s %5s %5s %6s  %9s %6s  %9s  %7s\n", hone_isa_name[isa], "", "N", "K", "M", "GFLOP/s", "share", "GB/s", "/oneDNN");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *r = &rows[i];
        char name[64];
        snprintf(name, sizeof name, "%s.%s.%lldx%lld", r->model, hone_op_get(r->op)->name + (r->op == HONE_OP_linear ? 0 : 7), (long long)r->K, (long long)r->M);
        if (!strstr(name, only) || (product == HONE_int8 && r->op == HONE_OP_linear_xent)) continue;
        bench b;
        timing ours = { 0 }, theirs = { 0 };
        double share[ROUNDS], ratio[ROUNDS], seconds[ROUNDS], peak[ROUNDS];
        const int rounds = quick ? 3 : r->op == HONE_OP_linear_xent ? 5 : ROUNDS;
        bench_open(&b, r);
        for (int round = 0; round < rounds; round++) {
            take_turn(&ours, run_hone, &b);
            peak[round] = peak_turn();
#ifdef HONE_HAVE_ONEDNN
            take_turn(&theirs, run_onednn, &b);
#endif
            seconds[round] = ours.seconds;
            share[round] = flops_of(r) / ours.seconds / peak[round];
            ratio[round] = theirs.seconds / ours.seconds;
        }
        const double time = median(seconds, rounds), rate = flops_of(r) / time * 1e-9, bytes = 4e-9 * (double)r->K * (double)r->M / time;
        const double of_peak = median(share, rounds), over = median(ratio, rounds);
        if (r->per_step) total += r->per_step * flops_of(r) / of_peak, ideal += r->per_step * flops_of(r);
        if (json) {
            printf("{\"name\": \"%s\", \"rows\": %lld, ", name, (long long)r->N);
            if (r->per_step) printf("\"flops\": %.0f, ", r->per_step * flops_of(r));
            printf("\"gflops\": %.1f, \"peak_gflops\": %.1f, \"share\": %.4f, \"weight_gb_per_s\": %.2f", rate, median(peak, rounds) * 1e-9, of_peak, bytes);
            if (theirs.runs) printf(", \"over_onednn\": %.3f", over);
            printf("}\n");
        } else
            printf("%-9s %-11s %5lld %5lld %6lld  %9.1f %6.3f  %9.2f  %7.2f\n", r->model, hone_op_get(r->op)->name, (long long)r->N, (long long)r->K,
                   (long long)r->M, rate, of_peak, bytes, over);
        fflush(stdout);
        bench_close(&b);
    }
    if (!json && total > 0) printf("\nweighted by FLOPs: %.3f of the peak (%d threads)\n", ideal / total, threads);
    return 0;
}
