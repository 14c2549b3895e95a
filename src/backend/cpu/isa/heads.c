// heads.c: ops on the heads of a fused q | k | v row: qk_norm and its gradient, rope_table, rope.
//
//     row of qkv:  | q head 0 .. H-1 | k head 0 .. G-1 | v head 0 .. G-1 |    D columns each; of qk_norm k's and v's have E
//
// q and k are treated alike and v passes through, so a row is H + G heads and a tail of G D columns.
#include "backend/cpu/isa/kernel.h"
#include <math.h>

enum { CHUNK = 64 }; // rows with one partial sum of dgq, dgk: sums do not depend on the number of threads

// Head h of a row, q's before k's: where it begins, its columns.
#define HEAD(h) const int64_t at = (h) < H ? (h) * D : H * D + ((h) - H) * E, size = (h) < H ? D : E

void ISA(hone_cpu_qk_norm)(const hone_args *args, int threads)
{
    const reals qkv = reals_of(&args->in[0]), Y = reals_of(&args->out[0]);
    const float *gq = f32_in(args, 1), *gk = f32_in(args, 2);
    float *rstd = f32_out(args, 1);
    const int64_t N = hone_rows(&args->out[0]), P = args->out[0].dim[1];
    const int64_t H = args->attr.heads, G = args->attr.kv_heads, D = args->attr.head_dim, E = args->in[2].dim[0];
    const vf g0 = v_set(args->attr.base);
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * P * 8))
    for (int64_t n = 0; n < N; n++) {
        for (int64_t h = 0; h < H + G; h++) {
            HEAD(h);
            const reals x = reals_at(qkv, n * P + at), y = reals_at(Y, n * P + at);
            const float *g = h < H ? gq : gk;
            vf sum = v_zero();
            for (int64_t d = 0; d < size; d += VW) {
                const vf v = reals_load(x, d, at_most(VW, size - d));
                sum = v_fma(v, v, sum);
            }
            const float s = 1.0f / sqrtf(v_sum(sum) / (float)size + args->attr.eps);
            if (rstd) rstd[n * (H + G) + h] = s;
            for (int64_t d = 0; d < size; d += VW) {
                const int64_t m = at_most(VW, size - d);
                reals_store(y, d, reals_load(x, d, m) * v_set(s) * (v_load_n(g + d, m) + g0), m);
            }
        }
        reals_copy(reals_at(Y, n * P + H * D + G * E), reals_at(qkv, n * P + H * D + G * E), G * E);
    }
}

size_t ISA(hone_cpu_qk_norm_back_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    const int64_t D = args->in[2].dim[0], E = args->in[3].dim[0];
    return (size_t)(divide_up(args->in[0].dim[0], CHUNK) * (round_up(D, 16) + round_up(E, 16))) * sizeof(float);
}

// The gradient of rmsnorm (norm.c), head by head.
void ISA(hone_cpu_qk_norm_back)(const hone_args *args, int threads)
{
    const reals dY = reals_of(&args->in[0]), qkv = reals_of(&args->in[1]), dqkv = reals_of(&args->out[0]);
    const float *gq = f32_in(args, 2), *gk = f32_in(args, 3), *rstd = f32_in(args, 4);
    float *dgq = f32_out(args, 1), *dgk = f32_out(args, 2), *partial = args->workspace;
    const int64_t N = hone_rows(&args->out[0]), P = args->out[0].dim[1];
    const int64_t H = args->attr.heads, G = args->attr.kv_heads, D = args->attr.head_dim, E = args->in[3].dim[0];
    const int64_t chunks = divide_up(N, CHUNK), k_at = round_up(D, 16), width = k_at + round_up(E, 16);
    const vf g0 = v_set(args->attr.base);
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * P * 12))
    for (int64_t i = 0; i < chunks; i++) {
        float *part = partial + i * width;
        memset(part, 0, (size_t)width * sizeof *part);
        for (int64_t n = i * CHUNK; n < at_most(N, (i + 1) * CHUNK); n++) {
            for (int64_t h = 0; h < H + G; h++) {
                HEAD(h);
                const reals x = reals_at(qkv, n * P + at), dy = reals_at(dY, n * P + at), dx = reals_at(dqkv, n * P + at);
                const float s = rstd[n * (H + G) + h], *g = h < H ? gq : gk;
                float *dg = part + (h < H ? 0 : k_at);
                vf dot = v_zero();
                for (int64_t d = 0; d < size; d += VW) {
                    const int64_t m = at_most(VW, size - d);
                    dot = v_fma(reals_load(dy, d, m) * (v_load_n(g + d, m) + g0), reals_load(x, d, m), dot);
                }
                const vf scale = v_set(s), k = v_set(s * s * s * (v_sum(dot) / (float)size));
                for (int64_t d = 0; d < size; d += VW) {
                    const int64_t m = at_most(VW, size - d);
                    const vf xv = reals_load(x, d, m), dyv = reals_load(dy, d, m);
                    v_store_n(dg + d, v_fma(dyv, xv * scale, v_load_n(dg + d, m)), m);
                    reals_store(dx, d, v_fnma(xv, k, scale * dyv * (v_load_n(g + d, m) + g0)), m);
                }
            }
            reals_copy(reals_at(dqkv, n * P + H * D + G * E), reals_at(dY, n * P + H * D + G * E), G * E);
        }
    }
    for (int64_t i = 0; i < chunks; i++) {
        for (int64_t d = 0; dgq && d < D; d++) dgq[d] += partial[i * width + d];
        for (int64_t d = 0; dgk && d < E; d++) dgk[d] += partial[i * width + k_at + d];
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
    const reals qkv = reals_of(&args->in[0]), Y = reals_of(&args->out[0]);
    const float *cs = f32_in(args, 1);
    const int64_t N = hone_rows(&args->out[0]), P = args->out[0].dim[1];
    const int64_t H = args->attr.heads, G = args->attr.kv_heads, D = args->attr.head_dim, R = args->in[1].dim[1], J = R / 2;
    const vf sign = v_set(args->attr.inverse ? -1.0f : 1.0f);
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * P * 8))
    for (int64_t n = 0; n < N; n++) {
        const reals x = reals_at(qkv, n * P), y = reals_at(Y, n * P);
        const float *cosine = cs + n * R, *sine = cosine + J;
        for (int64_t j = 0; j < J; j += VW) {
            const int64_t m = at_most(VW, J - j);
            const vf c = v_load_n(cosine + j, m), s = v_load_n(sine + j, m) * sign;
            for (int64_t h = 0; h < H + G; h++) {
                const vf a = reals_load(x, h * D + j, m), b = reals_load(x, h * D + J + j, m);
                reals_store(y, h * D + j, v_fnma(b, s, a * c), m);
                reals_store(y, h * D + J + j, v_fma(a, s, b * c), m);
            }
        }
        for (int64_t h = 0; R < D && h < H + G; h++) reals_copy(reals_at(y, h * D + R), reals_at(x, h * D + R), D - R);
        reals_copy(reals_at(y, (H + G) * D), reals_at(x, (H + G) * D), G * D);
    }
}
