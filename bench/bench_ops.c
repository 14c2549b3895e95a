// bench_ops.c: how near each CPU kernel, the matrix products apart (bench_gemm.c), comes to what the machine allows.
//
//     build/bench_ops [threads] [seconds per line] [op]
//
// Two models' training shapes: llama-15m 16 x 256 and GPT-2 4 x 512. Bytes are what an op must move at least (each operand
// once; updated ones twice); FLOPs of attention count visible pairs only: 4 D forward, 10 D backward (five products).
// Best time of several runs. The share is of this machine's peak for the same number of threads, measured in the same run.
#include "backend/cpu/kernels.h"
#include "base/memory.h"
#include "base/rng.h"
#include "plan/peak.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct shape { const char *name; int64_t rows, T, C, H, G, D, F, V, J; } shape;
static const shape shapes[] = {
    { "llama-15m 16x256", 16, 256, 384, 6, 6, 64, 1024, 4096, 32 },
    { "GPT-2 4x512", 4, 512, 768, 12, 12, 64, 3072, 50257, 0 },
};

static const shape long_rows = { .name = "row of 2048", .rows = 1, .T = 2048, .H = 12, .G = 12, .D = 64 };

static double seconds = 0.5, peak_flops, peak_bytes;
static int threads = 2;
static const hone_cpu_kernels *kernels;
static const char *only;

static void *fresh(int64_t count, int integer)
{
    float *data = hone_pages_alloc((size_t)count * 4);
    if (!data) fprintf(stderr, "bench_ops: %s\n", hone_error()), exit(1);
    if (!integer)
        for (int64_t i = 0; i < count; i++)
            data[i] = i < 65536 ? (float)hone_rng_uniform(1, HONE_RNG_TEST, 0, (uint64_t)i) - 0.5f : data[i - 65536];
    return data;
}

static hone_operand real(int64_t rows, int64_t cols)
{
    return (hone_operand){ .data = fresh(rows * (cols ? cols : 1), 0), .dim = { rows, cols }, .rank = cols ? 2 : 1, .dtype = HONE_f32,
                           .present = true };
}

static hone_operand whole(int64_t rows)
{
    return (hone_operand){ .data = fresh(rows, 1), .dim = { rows }, .rank = 1, .dtype = HONE_i32, .present = true };
}

static void release(hone_operand *o)
{
    int64_t count = o->dim[0] * (o->rank > 1 ? o->dim[1] : 1);
    if (o->present) hone_pages_free(o->data, (size_t)count * 4);
}

static int64_t bytes_of(const hone_operand *o) { return o->present ? o->dim[0] * (o->rank > 1 ? o->dim[1] : 1) * 4 : 0; }

// flops 0: bound by memory, `bytes` (0: all operands once).
static void time_op(const shape *s, hone_args *args, double flops, int64_t bytes)
{
    const hone_cpu_kernel *kernel = &kernels->op[args->op];
    const char *name = hone_op_get(args->op)->name;
    double best = 1e9;
    if (!only || !strcmp(only, name)) {
        args->workspace_bytes = kernel->workspace ? kernel->workspace(args, threads) : 0;
        args->workspace = args->workspace_bytes ? hone_pages_alloc(args->workspace_bytes) : NULL;
        const double begin = hone_clock_s();
        for (int run = 0; run < 3 || hone_clock_s() - begin < seconds; run++) {
            const double start = hone_clock_s();
            kernel->run(args, threads);
            const double time = hone_clock_s() - start;
            if (time < best) best = time;
        }
        if (args->workspace) hone_pages_free(args->workspace, args->workspace_bytes);
        if (!bytes) {
            for (int i = 0; i < HONE_MAX_IN; i++) bytes += bytes_of(&args->in[i]);
            for (int i = 0; i < HONE_MAX_OUT; i++) bytes += bytes_of(&args->out[i]);
        }
        const double rate = (flops > 0 ? flops : (double)bytes) / best, peak = flops > 0 ? peak_flops : peak_bytes;
        printf("%-18s %-15s %9.3f ms %8.1f %s %4.0f%%\n", s->name, name, best * 1e3, rate / 1e9, flops > 0 ? "GFLOP/s" : "GB/s   ",
               100 * rate / peak);
        fflush(stdout);
    }
}

static void finish(hone_args *args)
{
    for (int i = 0; i < HONE_MAX_IN; i++) release(&args->in[i]);
    for (int i = 0; i < HONE_MAX_OUT; i++) release(&args->out[i]);
}

static void bench(const shape *s, hone_args args, double flops, int64_t bytes)
{
    time_op(s, &args, flops, bytes);
    finish(&args);
}

static void bench_attention(const shape *s)
{
    const int64_t N = s->rows * s->T, P = (s->H + 2 * s->G) * s->D;
    const double pairs = (double)(s->rows * s->H) * (double)(s->T * (s->T + 1) / 2);
    hone_args args = { .op = HONE_OP_attention, .same_kv = true };
    args.attr = (hone_attr){ .heads = (int32_t)s->H, .kv_heads = (int32_t)s->G, .head_dim = (int32_t)s->D,
                             .k_col = (int32_t)(s->H * s->D), .v_col = (int32_t)((s->H + s->G) * s->D), .group_rows = (int32_t)s->T,
                             .scale = 0.125f };
    args.in[0] = args.in[1] = real(N, P);
    args.in[2] = whole(N), args.in[3] = whole(N);
    for (int64_t n = 0; n < N; n++) {
        ((int32_t *)args.in[2].data)[n] = (int32_t)(n / s->T * s->T);
        ((int32_t *)args.in[3].data)[n] = (int32_t)(n + 1);
    }
    args.out[0] = real(N, s->H * s->D), args.out[1] = real(N, s->H);
    time_op(s, &args, 4.0 * (double)s->D * pairs, 0);
    hone_args back = { .op = HONE_OP_attention_back, .attr = args.attr, .same_kv = true };
    back.in[0] = real(N, s->H * s->D), back.in[1] = back.in[2] = args.in[0];
    back.in[3] = args.out[0], back.in[4] = args.out[1], back.in[5] = args.in[2], back.in[6] = args.in[3];
    back.out[0] = real(N, P);
    time_op(s, &back, 10.0 * (double)s->D * pairs, 0);
    release(&back.in[0]), release(&back.out[0]);
    args.in[1].present = false;
    finish(&args);
}

// 32 slots that decode one token each with T keys of context, every slot's keys scattered over the cache.
static void bench_decode(const shape *s)
{
    enum { SLOTS = 32, BLOCK = 32 };
    const int64_t kv = 2 * s->G * s->D, blocks = s->T / BLOCK;
    hone_args args = { .op = HONE_OP_attention };
    args.attr = (hone_attr){ .heads = (int32_t)s->H, .kv_heads = (int32_t)s->G, .head_dim = (int32_t)s->D,
                             .v_col = (int32_t)(s->G * s->D), .block = BLOCK, .scale = 0.125f };
    args.in[0] = real(SLOTS, s->H * s->D + kv), args.in[1] = real(SLOTS * s->T, kv);
    args.in[2] = whole(SLOTS), args.in[3] = whole(SLOTS), args.in[4] = whole(SLOTS), args.in[5] = whole(SLOTS * blocks);
    args.in[5].dim[0] = SLOTS, args.in[5].dim[1] = blocks, args.in[5].rank = 2;
    for (int64_t n = 0; n < SLOTS; n++)
        ((int32_t *)args.in[3].data)[n] = (int32_t)s->T, ((int32_t *)args.in[4].data)[n] = (int32_t)n;
    for (int64_t i = 0; i < SLOTS * blocks; i++) ((int32_t *)args.in[5].data)[i] = (int32_t)(i * 37 % (SLOTS * blocks));
    args.out[0] = real(SLOTS, s->H * s->D), args.out[1] = real(SLOTS, s->H);
    shape named = *s;
    named.name = s->H == 6 ? "llama-15m decode32" : "GPT-2 decode32";
    bench(&named, args, 0, 0);
}

// One matrix (rows, columns) of Muon's step, its products of bf16.
static void bench_muon(const shape *s, int64_t rows, int64_t columns)
{
    const hone_attr bf16 = { .product = HONE_bf16, .poly = { 4, -3, 0.5f } };
    const int64_t side = rows < columns ? rows : columns;
    const double products = (double)side * (double)rows * (double)columns, cube = (double)side * (double)side * (double)side;
    const hone_op gram = rows > columns ? HONE_OP_gram_columns : HONE_OP_gram;
    bench(s, (hone_args){ .op = HONE_OP_momentum, .in = { real(5, 0), real(2, 0) }, .out = { real(rows, columns), real(rows, columns), real(rows, columns) } }, 0,
          rows * columns * 20);
    bench(s, (hone_args){ .op = gram, .attr = bf16, .in = { real(rows, columns) }, .out = { real(side, side), real(1, 0) } }, products, 0);
    bench(s, (hone_args){ .op = HONE_OP_gram_poly, .attr = bf16, .in = { real(side, side), real(1, 0) }, .out = { real(side, side) } }, cube, 0);
    bench(s, (hone_args){ .op = HONE_OP_muon, .in = { real(5, 0), real(rows, columns), real(1, 0) }, .out = { real(rows, columns) } }, 0,
          rows * columns * 12);
}

static void bench_shape(const shape *s)
{
    const int64_t N = s->rows * s->T, C = s->C, F = s->F, P = (s->H + 2 * s->G) * s->D, J = s->J;
    const hone_attr heads = { .heads = (int32_t)s->H, .kv_heads = (int32_t)s->G, .head_dim = (int32_t)s->D, .eps = 1e-5f,
                              .k_col = (int32_t)(s->H * s->D) };
    const hone_attr adam = { .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .decay = 0.1f };
    bench_attention(s);
    bench_decode(s);
    hone_args ids = { .in = { whole(N) } };
    for (int64_t n = 0; n < N; n++)
        ((int32_t *)ids.in[0].data)[n] = (int32_t)(hone_rng_uniform(1, HONE_RNG_TEST, 1, (uint64_t)n) * (double)s->V);
    bench(s, (hone_args){ .op = HONE_OP_embed, .in = { ids.in[0], real(s->V, C) }, .out = { real(N, C) } }, 0, N * C * 8);
    ids.in[0] = whole(N);
    bench(s, (hone_args){ .op = HONE_OP_embed_dw, .in = { ids.in[0], real(N, C) }, .out = { real(s->V, C) } }, 0, N * C * 12);
    if (J) {
        bench(s, (hone_args){ .op = HONE_OP_rmsnorm, .attr = heads, .in = { real(N, C), real(C, 0) }, .out = { real(N, C), real(N, 0) } }, 0, 0);
        bench(s, (hone_args){ .op = HONE_OP_rmsnorm_back, .in = { real(N, C), real(N, C), real(C, 0), real(N, 0), real(N, C) },
                              .out = { real(N, C), real(C, 0) } }, 0, 0);
        bench(s, (hone_args){ .op = HONE_OP_qk_norm, .attr = heads, .in = { real(N, P), real(s->D, 0), real(s->D, 0) },
                              .out = { real(N, P), real(N, s->H + s->G) } }, 0, 0);
        bench(s, (hone_args){ .op = HONE_OP_qk_norm_back, .attr = heads,
                              .in = { real(N, P), real(N, P), real(s->D, 0), real(s->D, 0), real(N, s->H + s->G) },
                              .out = { real(N, P), real(s->D, 0), real(s->D, 0) } }, 0, 0);
        bench(s, (hone_args){ .op = HONE_OP_rope_table, .in = { whole(N), real(J, 0) }, .out = { real(N, 2 * J) } }, 0, 0);
        bench(s, (hone_args){ .op = HONE_OP_rope, .attr = heads, .in = { real(N, P), real(N, s->D) }, .out = { real(N, P) } }, 0, 0);
        bench(s, (hone_args){ .op = HONE_OP_swiglu, .in = { real(N, 2 * F) }, .out = { real(N, F) } }, 0, 0);
        bench(s, (hone_args){ .op = HONE_OP_swiglu_back, .in = { real(N, F), real(N, 2 * F) }, .out = { real(N, 2 * F) } }, 0, 0);
    } else {
        bench(s, (hone_args){ .op = HONE_OP_layernorm, .attr = heads, .in = { real(N, C), real(C, 0), real(C, 0) },
                              .out = { real(N, C), real(N, 2) } }, 0, 0);
        bench(s, (hone_args){ .op = HONE_OP_layernorm_back, .in = { real(N, C), real(N, C), real(C, 0), real(N, 2), real(N, C) },
                              .out = { real(N, C), real(C, 0), real(C, 0) } }, 0, 0);
        bench(s, (hone_args){ .op = HONE_OP_gelu, .in = { real(N, F) }, .out = { real(N, F) } }, 0, 0);
        bench(s, (hone_args){ .op = HONE_OP_gelu_back, .in = { real(N, F), real(N, F) }, .out = { real(N, F) } }, 0, 0);
    }
    bench(s, (hone_args){ .op = HONE_OP_add, .in = { real(N, C), real(N, C) }, .out = { real(N, C) } }, 0, 0);
    bench(s, (hone_args){ .op = HONE_OP_sum_squares, .in = { real(s->V, C) }, .out = { real(1, 0) } }, 0, 0);
    hone_args step = { .op = HONE_OP_adamw, .attr = adam, .in = { real(5, 0), real(2, 0) },
                       .out = { real(s->V, C), real(s->V, C), real(s->V, C), real(s->V, C) } };
    for (int i = 0; i < 5; i++) ((float *)step.in[0].data)[i] = 0.001f + (float)(i > 0);
    memset(step.out[3].data, 0, (size_t)(s->V * C) * 4); // second moments are no negative numbers
    bench(s, step, 0, s->V * C * 32);
    bench_muon(s, C, C);
    bench_muon(s, F, C);
}

int main(int argc, char **argv)
{
    hone_isa isa;
    if (hone_cpu_isa(&isa) != HONE_OK) return fprintf(stderr, "bench_ops: %s\n", hone_error()), 1;
    if (argc > 1) threads = atoi(argv[1]);
    if (argc > 2) seconds = atof(argv[2]);
    if (argc > 3) only = argv[3];
    kernels = hone_cpu_kernel_tables[isa];
    peak_flops = hone_peak_flops(threads, isa, HONE_f32);
    peak_bytes = hone_peak_bandwidth(threads);
    printf("%s, %s, %d threads: %.0f GFLOP/s, %.1f GB/s\n", hone_cpu()->model, hone_isa_name[isa], threads, peak_flops / 1e9,
           peak_bytes / 1e9);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) bench_shape(&shapes[i]);
    bench_attention(&long_rows);
    return 0;
}
