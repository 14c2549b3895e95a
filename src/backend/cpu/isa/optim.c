// optim.c: sum_squares, clip_factor, adapt_scale, scale_loss, adamw, adamw8. Bound by memory: each reads every gradient once.
#include "backend/cpu/isa/moment.h"
#include "graph/loss_scale.h"
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
    const double scale = args->in[1].present ? hone_loss_scale(f32_in(args, 1)[0]) : 1.0;
    float *norm = f32_out(args, 0);
    double sum = 0.0;
    (void)threads;
    for (int64_t l = 0; l < args->in[0].dim[0]; l++) sum += parts[l];
    sum = sqrt(sum) / scale;
    norm[0] = (float)sum;
    norm[1] = !isfinite(sum) ? 0.0f : (float)((max_norm > 0 && norm[0] > max_norm ? max_norm / (sum + 1e-6) : 1.0) / scale);
}

void ISA(hone_cpu_adapt_scale)(const hone_args *args, int threads)
{
    (void)threads;
    hone_loss_scale_adapt(f32_out(args, 0), isfinite(f32_in(args, 0)[0]));
}

void ISA(hone_cpu_scale_loss)(const hone_args *args, int threads)
{
    const float *weight = f32_in(args, 0), scale = hone_loss_scale(f32_in(args, 1)[0]);
    float *y = f32_out(args, 0);
    (void)threads;
    for (int64_t n = 0; n < hone_rows(&args->out[0]); n++) y[n] = scale * weight[n];
}

// p -= lr (m / c1) / (sqrt(v / c2) + eps), with the corrections c1 and c2 moved into constants
typedef struct adam { vf factor, keep, eps, b1, d1, b2, d2, step, root; uint32_t key; } adam;
static adam adam_of(const hone_args *args)
{
    const float *hyper = f32_in(args, 0), *norm = f32_in(args, 1);
    const hone_attr *a = &args->attr;
    return (adam){ .factor = v_set(norm[1]), .keep = v_set(1.0f - hyper[0] * a->decay), .eps = v_set(a->eps), .b1 = v_set(a->beta1),
                   .d1 = v_set(1.0f - a->beta1), .b2 = v_set(a->beta2), .d2 = v_set(1.0f - a->beta2), .step = v_set(hyper[0] / hyper[1]),
                   .root = v_set(1.0f / sqrtf(hyper[2])), .key = hone_round_key(hyper[4], a->stream) };
}
V_INLINE void adam_step(const adam *s, float *P, float *G, vf *m, vf *v, int64_t n)
{
    const vf g = v_load_n(G, n) * s->factor;
    *m = v_fma(s->b1, *m, s->d1 * g);
    *v = v_fma(s->b2, *v, s->d2 * g * g);
    v_store_n(P, v_fnma(s->step, *m / v_fma(v_sqrt(*v), s->root, s->eps), v_load_n(P, n) * s->keep), n);
    v_store_n(G, v_zero(), n);
}

void ISA(hone_cpu_adamw)(const hone_args *args, int threads)
{
    float *P = f32_out(args, 0), *G = f32_out(args, 1);
    const hone_operand M = args->out[2], V = args->out[3];
    const int64_t count = hone_rows(&args->out[0]) * args->out[0].dim[1];
    const adam constants = adam_of(args);
    if (step_is_skipped(args)) return;
#pragma omp parallel num_threads(worth(threads, count * 32))
    {
        const adam s = constants;
        const span part = share(count, 16, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t i = part.from; i < part.to; i += VW) {
            const int64_t n = at_most(VW, part.to - i);
            const vu bits = v_round_bits(s.key, i);
            vf m = moment_load(&M, i, n), v = moment_load(&V, i, n);
            adam_step(&s, P + i, G + i, &m, &v, n);
            moment_store(&M, i, m, bits & 0xffff, n);
            moment_store(&V, i, v, bits >> 16, n);
        }
    }
}

// Elements [from, to) have one scale each for m and v, which is known when all are stepped: until then they stay in `first`
// and `second`.
static void adam_block(const adam *s, float *P, float *G, uint8_t *M, uint8_t *V, float scale[2], int64_t from, int64_t to)
{
    float first[HONE_MOMENT_BLOCK], second[HONE_MOMENT_BLOCK];
    vf most1 = v_zero(), most2 = v_zero();
    const vu sign = (vu){ 0 } + 0x80000000u;
    for (int64_t i = from; i < to; i += VW) {
        const int64_t n = at_most(VW, to - i);
        const vu code = code_load(M + i, n);
        vf m = (vf)((vu)(v_code_value(code & 127, HONE_CODE_BIAS1) * v_set(scale[0])) | code >> 7 << 31);
        vf v = v_code_value(code_load(V + i, n), HONE_CODE_BIAS2) * v_set(scale[1]);
        adam_step(s, P + i, G + i, &m, &v, n);
        most1 = v_max(most1, (vf)((vu)m & ~sign));
        most2 = v_max(most2, v);
        v_store_n(first + i - from, m, n);
        v_store_n(second + i - from, v, n);
    }
    const float top1 = v_top(most1), top2 = v_top(most2);
    const vf down1 = v_set(top1 > 0 ? HONE_CODE_TOP / top1 : 0.0f), down2 = v_set(top2 > 0 ? HONE_CODE_TOP / top2 : 0.0f);
    scale[0] = top1 / HONE_CODE_TOP;
    scale[1] = top2 / HONE_CODE_TOP;
    for (int64_t i = from; i < to; i += VW) {
        const int64_t n = at_most(VW, to - i);
        const vu bits = v_round_bits(s->key, i), m = (vu)v_load_n(first + i - from, n);
        const vf v = v_load_n(second + i - from, n), most = v_set(HONE_CODE_TOP);
        vu of_v = v_code_of(v_min(v * down2, most), bits >> 16, HONE_CODE_BIAS2);
        of_v += (vu)(of_v == 0) & (vu)(v > 0) & 1; // a second moment of 0 would make a step of m / eps
        code_store(M + i, v_code_of(v_min((vf)(m & ~sign) * down1, most), bits & 0xffff, HONE_CODE_BIAS1) | m >> 31 << 7, n);
        code_store(V + i, of_v, n);
    }
}

void ISA(hone_cpu_adamw8)(const hone_args *args, int threads)
{
    const int64_t A = args->out[0].dim[0], B = args->out[0].dim[1], S = args->out[4].dim[1] / 2;
    float *P = f32_out(args, 0), *G = f32_out(args, 1), *scale = f32_out(args, 4);
    uint8_t *M = args->out[2].data, *V = args->out[3].data;
    const adam constants = adam_of(args);
    if (step_is_skipped(args)) return;
#pragma omp parallel num_threads(worth(threads, A * B * 20))
    {
        const adam s = constants;
        const span rows = share(A, 1, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t row = rows.from; row < rows.to; row++)
            for (int64_t block = 0; block < S; block++) {
                const int64_t from = row * B + block * HONE_MOMENT_BLOCK;
                adam_block(&s, P, G, M, V, scale + (row * S + block) * 2, from, at_most(from + HONE_MOMENT_BLOCK, row * B + B));
            }
    }
}
