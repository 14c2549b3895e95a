// act.c: swiglu, geglu, gelu, relu2, their gradients, dropout, noise and scale. Element by element; a gradient may lie where its input lies.
#include "backend/cpu/isa/kernel.h"
#include "graph/drop.h"

// h = g sigmoid(g) u
static void swiglu_row(reals h, reals g, reals u, int64_t F)
{
    for (int64_t f = 0; f < F; f += VW) {
        const int64_t n = at_most(VW, F - f);
        const vf gv = reals_load(g, f, n);
        reals_store(h, f, gv * v_sigmoid(gv) * reals_load(u, f, n), n);
    }
}

void ISA(hone_cpu_swiglu)(const hone_args *args, int threads)
{
    const reals gu = reals_of(&args->in[0]), h = reals_of(&args->out[0]);
    const int64_t N = hone_rows(&args->out[0]), F = args->out[0].dim[1];
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * F * 12))
    for (int64_t n = 0; n < N; n++) swiglu_row(reals_at(h, n * F), reals_at(gu, n * 2 * F), reals_at(gu, n * 2 * F + F), F);
}

// s = sigmoid(g):  du = dh g s,  dg = dh u s (1 + g (1 - s))
static void swiglu_back_row(reals dg, reals du, reals dh, reals g, reals u, int64_t F)
{
    const vf one = v_set(1.0f);
    for (int64_t f = 0; f < F; f += VW) {
        const int64_t n = at_most(VW, F - f);
        const vf gv = reals_load(g, f, n), uv = reals_load(u, f, n), s = v_sigmoid(gv), ds = reals_load(dh, f, n) * s;
        reals_store(dg, f, ds * uv * v_fma(gv, one - s, one), n);
        reals_store(du, f, ds * gv, n);
    }
}

void ISA(hone_cpu_swiglu_back)(const hone_args *args, int threads)
{
    const reals dh = reals_of(&args->in[0]), gu = reals_of(&args->in[1]), dgu = reals_of(&args->out[0]);
    const int64_t N = hone_rows(&args->out[0]), F = args->in[0].dim[1];
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * F * 20))
    for (int64_t n = 0; n < N; n++) {
        const int64_t at = n * 2 * F;
        swiglu_back_row(reals_at(dgu, at), reals_at(dgu, at + F), reals_at(dh, n * F), reals_at(gu, at), reals_at(gu, at + F), F);
    }
}

// x (1 + tanh(t)) / 2 = x sigmoid(2 t),  2 t = x (A + B x^2)
static const float A = 1.5957691216057308f, B = 0.07135481282553484f; // 2 sqrt(2 / pi), and that times 0.044715
V_INLINE vf gelu_share(vf x) { return v_sigmoid(x * v_fma(x * x, v_set(B), v_set(A))); }
// s = sigmoid(2 t):  y' = s + x s (1 - s) (A + 3 B x^2)
V_INLINE vf gelu_slope(vf x, vf s) { return v_fma(x * s * (v_set(1.0f) - s), v_fma(x * x, v_set(3.0f * B), v_set(A)), s); }

void ISA(hone_cpu_gelu)(const hone_args *args, int threads)
{
    const reals x = reals_of(&args->in[0]), y = reals_of(&args->out[0]);
    const int64_t count = hone_rows(&args->out[0]) * args->out[0].dim[1];
#pragma omp parallel num_threads(worth(threads, count * 8))
    {
        const span s = share(count, 16, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t i = s.from; i < s.to; i += VW) {
            const int64_t n = at_most(VW, s.to - i);
            const vf v = reals_load(x, i, n);
            reals_store(y, i, v * gelu_share(v), n);
        }
    }
}

void ISA(hone_cpu_gelu_back)(const hone_args *args, int threads)
{
    const reals dy = reals_of(&args->in[0]), x = reals_of(&args->in[1]), dx = reals_of(&args->out[0]);
    const int64_t count = hone_rows(&args->out[0]) * args->out[0].dim[1];
#pragma omp parallel num_threads(worth(threads, count * 12))
    {
        const span s = share(count, 16, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t i = s.from; i < s.to; i += VW) {
            const int64_t n = at_most(VW, s.to - i);
            const vf v = reals_load(x, i, n);
            reals_store(dx, i, reals_load(dy, i, n) * gelu_slope(v, gelu_share(v)), n);
        }
    }
}

// h = gelu(g) u
void ISA(hone_cpu_geglu)(const hone_args *args, int threads)
{
    const reals gu = reals_of(&args->in[0]), h = reals_of(&args->out[0]);
    const int64_t N = hone_rows(&args->out[0]), F = args->out[0].dim[1];
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * F * 12))
    for (int64_t n = 0; n < N; n++)
        for (int64_t f = 0, at = n * 2 * F; f < F; f += VW) {
            const int64_t m = at_most(VW, F - f);
            const vf g = reals_load(gu, at + f, m);
            reals_store(h, n * F + f, g * gelu_share(g) * reals_load(gu, at + F + f, m), m);
        }
}

// dg = dh u gelu'(g),  du = dh gelu(g)
void ISA(hone_cpu_geglu_back)(const hone_args *args, int threads)
{
    const reals dh = reals_of(&args->in[0]), gu = reals_of(&args->in[1]), dgu = reals_of(&args->out[0]);
    const int64_t N = hone_rows(&args->out[0]), F = args->in[0].dim[1];
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * F * 20))
    for (int64_t n = 0; n < N; n++)
        for (int64_t f = 0, at = n * 2 * F; f < F; f += VW) {
            const int64_t m = at_most(VW, F - f);
            const vf g = reals_load(gu, at + f, m), u = reals_load(gu, at + F + f, m), d = reals_load(dh, n * F + f, m), s = gelu_share(g);
            reals_store(dgu, at + f, d * u * gelu_slope(g, s), m);
            reals_store(dgu, at + F + f, d * g * s, m);
        }
}

void ISA(hone_cpu_relu2)(const hone_args *args, int threads)
{
    const reals x = reals_of(&args->in[0]), y = reals_of(&args->out[0]);
    const int64_t count = hone_rows(&args->out[0]) * args->out[0].dim[1];
#pragma omp parallel num_threads(worth(threads, count * 2))
    {
        const span s = share(count, 16, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t i = s.from; i < s.to; i += VW) {
            const int64_t n = at_most(VW, s.to - i);
            const vf v = v_max(reals_load(x, i, n), v_zero());
            reals_store(y, i, v * v, n);
        }
    }
}

void ISA(hone_cpu_relu2_back)(const hone_args *args, int threads)
{
    const reals dy = reals_of(&args->in[0]), x = reals_of(&args->in[1]), dx = reals_of(&args->out[0]);
    const int64_t count = hone_rows(&args->out[0]) * args->out[0].dim[1];
#pragma omp parallel num_threads(worth(threads, count * 3))
    {
        const span s = share(count, 16, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t i = s.from; i < s.to; i += VW) {
            const int64_t n = at_most(VW, s.to - i);
            const vf v = v_max(reals_load(x, i, n), v_zero());
            reals_store(dx, i, (v + v) * reals_load(dy, i, n), n);
        }
    }
}

void ISA(hone_cpu_dropout)(const hone_args *args, int threads)
{
    const reals x = reals_of(&args->in[0]), y = reals_of(&args->out[0]);
    const int64_t N = hone_rows(&args->out[0]), K = args->out[0].dim[1];
    const uint32_t threshold = hone_drop_threshold(args->attr.rate);
    const float kept = 1 / (1 - args->attr.rate);
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * K * 16))
    for (int64_t n = 0; n < N; n++) {
        const uint32_t row = hone_drop_row(i32_in(args, 1), args->attr.stream, n);
        for (int64_t k = 0; k < K; k += VW) {
            float factor[VW];
            for (int64_t i = 0; i < VW; i++) factor[i] = hone_drop_keeps(row, k + i, threshold) ? kept : 0;
            reals_store(y, n * K + k, reals_load(x, n * K + k, at_most(VW, K - k)) * v_load(factor), at_most(VW, K - k));
        }
    }
}

void ISA(hone_cpu_noise)(const hone_args *args, int threads)
{
    const float *x = f32_in(args, 0);
    float *y = f32_out(args, 0);
    const int64_t N = hone_rows(&args->out[0]), K = args->out[0].dim[1];
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * K * 16))
    for (int64_t n = 0; n < N; n++) {
        const uint32_t row = hone_drop_row(i32_in(args, 1), args->attr.stream, n);
        for (int64_t k = 0; k < K; k++) y[n * K + k] = x[n * K + k] + args->attr.scale * hone_drop_noise(row, k);
    }
}

void ISA(hone_cpu_scale)(const hone_args *args, int threads)
{
    const reals x = reals_of(&args->in[0]), y = reals_of(&args->out[0]);
    const int64_t count = hone_rows(&args->out[0]) * args->out[0].dim[1];
#pragma omp parallel num_threads(worth(threads, count * 2))
    {
        const span s = share(count, 16, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t i = s.from; i < s.to; i += VW) reals_store(y, i, reals_load(x, i, at_most(VW, s.to - i)) * v_set(args->attr.scale), at_most(VW, s.to - i));
    }
}
