// heads.c: ops on the heads of a fused q | k | v row: qk_norm and its gradient, rope_table, rope.
//
//     row of qkv:  | q head 0 .. H-1 | k head 0 .. G-1 | v head 0 .. G-1 |    D columns each
//
// q and k are treated alike and v passes through, so a row is H + G heads and a tail of G D columns.
#include "backend/cpu/isa/kernel.h"
#include <math.h>

enum { CHUNK = 64 }; // rows with one partial sum of dgq, dgk: sums do not depend on the number of threads

static void copy_tail(float *to, const float *from, int64_t count)
{
    if (to != from) memcpy(to, from, (size_t)count * sizeof *to);
}

void ISA(hone_cpu_qk_norm)(const hone_args *args, int threads)
{
    const float *qkv = f32_in(args, 0), *gq = f32_in(args, 1), *gk = f32_in(args, 2);
    float *Y = f32_out(args, 0), *rstd = f32_out(args, 1);
    const int64_t N = hone_rows(&args->out[0]), P = args->out[0].dim[1];
    const int64_t H = args->attr.heads, G = args->attr.kv_heads, D = args->attr.head_dim;
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * P * 8))
    for (int64_t n = 0; n < N; n++) {
        for (int64_t h = 0; h < H + G; h++) {
            const float *x = qkv + n * P + h * D, *g = h < H ? gq : gk;
            float *y = Y + n * P + h * D;
            vf sum = v_zero();
            for (int64_t d = 0; d < D; d += VW) {
                const vf v = v_load_n(x + d, at_most(VW, D - d));
                sum = v_fma(v, v, sum);
            }
            const float s = 1.0f / sqrtf(v_sum(sum) / (float)D + args->attr.eps);
            if (rstd) rstd[n * (H + G) + h] = s;
            for (int64_t d = 0; d < D; d += VW) {
                const int64_t m = at_most(VW, D - d);
                v_store_n(y + d, v_load_n(x + d, m) * v_set(s) * v_load_n(g + d, m), m);
            }
        }
        copy_tail(Y + n * P + (H + G) * D, qkv + n * P + (H + G) * D, G * D);
    }
}

size_t ISA(hone_cpu_qk_norm_back_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    return (size_t)(divide_up(args->in[0].dim[0], CHUNK) * 2 * round_up(args->attr.head_dim, 16)) * sizeof(float);
}

// The gradient of rmsnorm (norm.c), head by head.
void ISA(hone_cpu_qk_norm_back)(const hone_args *args, int threads)
{
    const float *dY = f32_in(args, 0), *qkv = f32_in(args, 1), *gq = f32_in(args, 2), *gk = f32_in(args, 3);
    const float *rstd = f32_in(args, 4);
    float *dqkv = f32_out(args, 0), *dgq = f32_out(args, 1), *dgk = f32_out(args, 2), *partial = args->workspace;
    const int64_t N = hone_rows(&args->out[0]), P = args->out[0].dim[1];
    const int64_t H = args->attr.heads, G = args->attr.kv_heads, D = args->attr.head_dim, width = round_up(D, 16);
    const int64_t chunks = divide_up(N, CHUNK);
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * P * 12))
    for (int64_t i = 0; i < chunks; i++) {
        float *part = partial + i * 2 * width;
        memset(part, 0, (size_t)(2 * width) * sizeof *part);
        for (int64_t n = i * CHUNK; n < at_most(N, (i + 1) * CHUNK); n++) {
            for (int64_t h = 0; h < H + G; h++) {
                const float *x = qkv + n * P + h * D, *dy = dY + n * P + h * D, *g = h < H ? gq : gk;
                const float s = rstd[n * (H + G) + h];
                float *dx = dqkv + n * P + h * D, *dg = part + (h < H ? 0 : width);
                vf dot = v_zero();
                for (int64_t d = 0; d < D; d += VW) {
                    const int64_t m = at_most(VW, D - d);
                    dot = v_fma(v_load_n(dy + d, m) * v_load_n(g + d, m), v_load_n(x + d, m), dot);
                }
                const vf scale = v_set(s), k = v_set(s * s * s * (v_sum(dot) / (float)D));
                for (int64_t d = 0; d < D; d += VW) {
                    const int64_t m = at_most(VW, D - d);
                    const vf xv = v_load_n(x + d, m), dyv = v_load_n(dy + d, m);
                    v_store_n(dg + d, v_fma(dyv, xv * scale, v_load_n(dg + d, m)), m);
                    v_store_n(dx + d, v_fnma(xv, k, scale * dyv * v_load_n(g + d, m)), m);
                }
            }
            copy_tail(dqkv + n * P + (H + G) * D, dY + n * P + (H + G) * D, G * D);
        }
    }
    for (int64_t i = 0; i < chunks; i++)
        for (int64_t d = 0; d < D; d++) {
            if (dgq) dgq[d] += partial[i * 2 * width + d];
            if (dgk) dgk[d] += partial[i * 2 * width + width + d];
        }
}

// Angle, cosine and sine in f32, as transformers computes them: the product rounds to f32 before cos and sin.
void ISA(hone_cpu_rope_table)(const hone_args *args, int threads)
{
    const int32_t *pos = i32_in(args, 0);
    const float *freq = f32_in(args, 1);
    float *cs = f32_out(args, 0);
    const int64_t N = hone_rows(&args->out[0]), J = args->in[1].dim[0];
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * J * 64))
    for (int64_t n = 0; n < N; n++)
        for (int64_t j = 0; j < J; j++) {
            const float angle = (float)pos[n] * freq[j];
            cs[n * 2 * J + j] = cosf(angle);
            cs[n * 2 * J + J + j] = sinf(angle);
        }
}

void ISA(hone_cpu_rope)(const hone_args *args, int threads)
{
    const float *qkv = f32_in(args, 0), *cs = f32_in(args, 1);
    float *Y = f32_out(args, 0);
    const int64_t N = hone_rows(&args->out[0]), P = args->out[0].dim[1];
    const int64_t H = args->attr.heads, G = args->attr.kv_heads, D = args->attr.head_dim, J = D / 2;
    const vf sign = v_set(args->attr.inverse ? -1.0f : 1.0f);
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * P * 8))
    for (int64_t n = 0; n < N; n++) {
        const float *x = qkv + n * P, *cosine = cs + n * D, *sine = cosine + J;
        float *y = Y + n * P;
        for (int64_t j = 0; j < J; j += VW) {
            const int64_t m = at_most(VW, J - j);
            const vf c = v_load_n(cosine + j, m), s = v_load_n(sine + j, m) * sign;
            for (int64_t h = 0; h < H + G; h++) {
                const vf a = v_load_n(x + h * D + j, m), b = v_load_n(x + h * D + J + j, m);
                v_store_n(y + h * D + j, v_fnma(b, s, a * c), m);
                v_store_n(y + h * D + J + j, v_fma(a, s, b * c), m);
            }
        }
        copy_tail(y + (H + G) * D, x + (H + G) * D, G * D);
    }
}
