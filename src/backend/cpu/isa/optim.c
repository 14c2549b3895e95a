// optim.c: sum_squares, clip_factor, adamw. Bound by memory: each reads every gradient once.
#include "backend/cpu/isa/kernel.h"
#include <math.h>

enum { CHUNK = 16384 }; // elements with one partial sum: the norm does not depend on the number of threads

static double sum_squares_of(const float *g, int64_t count)
{
    vd a = { 0 }, b = { 0 };
    int64_t i = 0;
    double sum = 0.0;
    for (; i + VW <= count; i += VW) {
        const vd x = v_load_f64(g + i), y = v_load_f64(g + i + VW / 2);
        a += x * x;
        b += y * y;
    }
    for (; i < count; i++) sum += (double)g[i] * g[i];
    for (int l = 0; l < VW / 2; l++) sum += a[l] + b[l];
    return sum;
}

size_t ISA(hone_cpu_sum_squares_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    return (size_t)divide_up(args->in[0].dim[0] * args->in[0].dim[1], CHUNK) * sizeof(double);
}

void ISA(hone_cpu_sum_squares)(const hone_args *args, int threads)
{
    const float *g = f32_in(args, 0);
    double *partial = args->workspace, sum = 0.0;
    const int64_t count = hone_rows(&args->in[0]) * args->in[0].dim[1], chunks = divide_up(count, CHUNK);
#pragma omp parallel for schedule(static) num_threads(worth(threads, count * 4))
    for (int64_t i = 0; i < chunks; i++) partial[i] = sum_squares_of(g + i * CHUNK, at_most(CHUNK, count - i * CHUNK));
    for (int64_t i = 0; i < chunks; i++) sum += partial[i];
    f32_out(args, 0)[0] = (float)sum;
}

void ISA(hone_cpu_clip_factor)(const hone_args *args, int threads)
{
    const float *parts = f32_in(args, 0), max_norm = args->attr.max_norm;
    float *norm = f32_out(args, 0);
    double sum = 0.0;
    (void)threads;
    for (int64_t l = 0; l < args->in[0].dim[0]; l++) sum += parts[l];
    norm[0] = (float)sqrt(sum);
    norm[1] = max_norm > 0 && norm[0] > max_norm ? (float)(max_norm / (sqrt(sum) + 1e-6)) : 1.0f;
}

void ISA(hone_cpu_adamw)(const hone_args *args, int threads)
{
    const float *hyper = f32_in(args, 0), *norm = f32_in(args, 1);
    float *P = f32_out(args, 0), *G = f32_out(args, 1), *M = f32_out(args, 2), *V = f32_out(args, 3);
    const hone_attr *a = &args->attr;
    const int64_t count = hone_rows(&args->out[0]) * args->out[0].dim[1];
    // p -= lr (m / c1) / (sqrt(v / c2) + eps), with the corrections c1 and c2 moved into constants
    const vf factor = v_set(norm[1]), keep = v_set(1.0f - hyper[0] * a->decay), eps = v_set(a->eps);
    const vf b1 = v_set(a->beta1), d1 = v_set(1.0f - a->beta1), b2 = v_set(a->beta2), d2 = v_set(1.0f - a->beta2);
    const vf step = v_set(hyper[0] / hyper[1]), root = v_set(1.0f / sqrtf(hyper[2]));
#pragma omp parallel num_threads(worth(threads, count * 32))
    {
        const span s = share(count, 16, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t i = s.from; i < s.to; i += VW) {
            const int64_t n = at_most(VW, s.to - i);
            const vf g = v_load_n(G + i, n) * factor;
            const vf m = v_fma(b1, v_load_n(M + i, n), d1 * g), v = v_fma(b2, v_load_n(V + i, n), d2 * g * g);
            const vf p = v_load_n(P + i, n) * keep;
            v_store_n(M + i, m, n);
            v_store_n(V + i, v, n);
            v_store_n(P + i, v_fnma(step, m / v_fma(v_sqrt(v), root, eps), p), n);
            v_store_n(G + i, v_zero(), n);
        }
    }
}
