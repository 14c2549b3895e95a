// bench_attention.c: attention on the GPU alone, forward and backward, as training calls it: q, k and v in one bf16 tensor, causal rows.
//
//     build/bench_attention [seconds per figure] [token rows]
//
// Heads of 64 and 128 (2,048 columns of each), pieces of 1,024 and 4,096 tokens, 16,384 token rows. FLOPs count visible pairs only: 4 D
// forward, 10 D backward (five products; its other passes are in the time). Times are of many runs between two synchronisations. The
// last line has all figures; bench/peer_gpu.py --only attention makes the same of scaled_dot_product_attention.
#include "backend/backends.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "base/rng.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 2048 };
static const hone_backend *const gpu = &hone_backend_cuda;
static void *self;

static void must(hone_status status)
{
    if (!status) return;
    fprintf(stderr, "bench_attention: %s\n", hone_error());
    exit(1);
}

static hone_operand on_gpu(int64_t rows, int64_t cols, hone_dtype dtype, const void *content)
{
    hone_operand o = { .dim = { rows, cols }, .rank = cols > 1 ? 2 : 1, .dtype = dtype, .present = true };
    const size_t bytes = (size_t)(rows * cols) * hone_dtype_bytes(dtype);
    must(gpu->alloc(self, HONE_SPACE_DEVICE, bytes, &o.data));
    if (content) gpu->copy(self, o.data, content, bytes, 0);
    gpu->synchronize(self);
    return o;
}
static void release(const hone_operand *o, int64_t cols)
{
    gpu->release(self, HONE_SPACE_DEVICE, o->data, (size_t)(o->dim[0] * cols) * hone_dtype_bytes(o->dtype));
}

// Seconds of one run.
static double time_node(hone_args *args, double seconds)
{
    const char *why = "";
    if (!gpu->supports(self, args, &why)) must(hone_fail("%s", why));
    args->workspace_bytes = gpu->workspace_bytes(self, args);
    must(gpu->alloc(self, HONE_SPACE_DEVICE, args->workspace_bytes + 1, &args->workspace));
    double took = 0;
    int64_t runs = 1;
    for (;; runs *= (int64_t)fmin(100, fmax(2, 1.5 * seconds / took))) { // the first runs warm up
        const double start = hone_clock_s();
        for (int64_t i = 0; i < runs; i++) gpu->run(self, args, NULL, 0);
        gpu->synchronize(self);
        took = hone_clock_s() - start;
        if (took >= seconds) break;
    }
    gpu->release(self, HONE_SPACE_DEVICE, args->workspace, args->workspace_bytes + 1);
    return took / (double)runs;
}

// TFLOP/s forward and backward.
static void measure(int64_t N, int64_t T, int32_t D, double seconds, double rate[2])
{
    const int64_t P = 3 * WIDTH;
    uint16_t *numbers = hone_alloc((size_t)(N * P), sizeof *numbers);
    int32_t *ranges = hone_alloc((size_t)(2 * N), sizeof *ranges);
    if (!numbers || !ranges) must(HONE_FAILED);
    for (int64_t i = 0; i < N * P; i++)
        numbers[i] = i < 1 << 16 ? hone_f32_to_bf16((float)(2 * hone_rng_uniform(1, HONE_RNG_TEST, 0, (uint64_t)i) - 1)) : numbers[i - (1 << 16)];
    for (int64_t n = 0; n < N; n++) ranges[n] = (int32_t)(n / T * T), ranges[N + n] = (int32_t)n + 1;
    const hone_attr attr = { .heads = WIDTH / D, .kv_heads = WIDTH / D, .head_dim = D, .k_col = WIDTH, .v_col = 2 * WIDTH, .scale = (float)(1 / sqrt(D)),
                             .group_rows = (int32_t)T };
    const hone_operand qkv = on_gpu(N, P, HONE_bf16, numbers), lo = on_gpu(N, 1, HONE_i32, ranges), hi = on_gpu(N, 1, HONE_i32, ranges + N);
    const hone_operand o = on_gpu(N, WIDTH, HONE_bf16, NULL), lse = on_gpu(N, attr.heads, HONE_f32, NULL);
    const hone_operand d_o = on_gpu(N, WIDTH, HONE_bf16, numbers), d_qkv = on_gpu(N, P, HONE_bf16, NULL);
    hone_args forward = { .op = HONE_OP_attention, .attr = attr, .in = { qkv, qkv, lo, hi }, .out = { o, lse }, .same_kv = true };
    hone_args back = { .op = HONE_OP_attention_back, .attr = attr, .in = { d_o, qkv, qkv, o, lse, lo, hi }, .out = { d_qkv }, .same_kv = true };
    const double pairs = (double)N * (double)(T + 1) / 2 * attr.heads;
    rate[0] = 4 * D * pairs / time_node(&forward, seconds) * 1e-12;
    rate[1] = 10 * D * pairs / time_node(&back, seconds) * 1e-12;
    const hone_operand *all[] = { &qkv, &lo, &hi, &o, &lse, &d_o, &d_qkv };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) release(all[i], all[i]->dim[1]);
    hone_free(numbers), hone_free(ranges);
}

int main(int argc, char **argv)
{
    const double seconds = argc > 1 ? atof(argv[1]) : 0.5;
    const int64_t rows = argc > 2 ? atoll(argv[2]) : 16384;
    char line[256] = "TFLOP/s forward/backward";
    must(gpu->open(&(hone_backend_options){ 0 }, &self));
    printf("%-4s %6s %8s %12s %12s   TFLOP/s, %lld token rows, bf16, causal\n", "D", "T", "", "forward", "backward", (long long)rows);
    for (int32_t D = 64; D <= 128; D *= 2)
        for (int64_t T = rows < 4096 ? rows / 4 : 1024; T <= rows && T <= 4096; T *= 4) {
            double rate[2];
            measure(rows, T, D, seconds, rate);
            printf("%-4d %6lld %8s %12.4g %12.4g\n", D, (long long)T, "", rate[0], rate[1]);
            const size_t used = strlen(line);
            snprintf(line + used, sizeof line - used, ", %dx%lld %.3g/%.3g", D, (long long)T, rate[0], rate[1]);
        }
    puts(line);
    gpu->close(self);
    return 0;
}
