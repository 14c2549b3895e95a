// norm.c: rmsnorm, layernorm and their gradients.
//
// One pass over memory: a row is read once and the second look at it finds it in L1. Gradients of the scale and shift sum
// over rows: each CHUNK of rows has its own partial row in the workspace, and the partials are added in order, so the sum
// does not depend on the number of threads.
#include "backend/cpu/isa/kernel.h"
#include <math.h>

enum { CHUNK = 64 };

// An inner loop over columns 0..C of `body` with c, `lanes` lanes: whole vectors first, then one partial vector.
#define COLUMNS(C, body)                                                    \
    do {                                                                    \
        int64_t c = 0;                                                      \
        for (; c + VW <= (C); c += VW) { enum { lanes = VW }; body(v_load, v_store) } \
        if (c < (C)) { const int64_t lanes = (C) - c; (void)lanes; body(LOAD_REST, STORE_REST) } \
    } while (0)
#define LOAD_REST(p) v_load_n(p, lanes)
#define STORE_REST(p, v) v_store_n(p, v, lanes)

static float sum_of_squares(const float *x, float shift, int64_t C)
{
    vf a = v_zero(), b = v_zero(), m = v_set(shift);
    int64_t c = 0;
    for (; c + 2 * VW <= C; c += 2 * VW) {
        const vf u = v_load(x + c) - m, v = v_load(x + c + VW) - m;
        a = v_fma(u, u, a);
        b = v_fma(v, v, b);
    }
    for (; c < C; c += VW) {
        const int64_t n = at_most(VW, C - c);
        const vf u = v_select(v_first(n), v_load_n(x + c, n) - m, v_zero());
        a = v_fma(u, u, a);
    }
    return v_sum(a + b);
}

static float sum_of(const float *x, int64_t C)
{
    vf a = v_zero(), b = v_zero();
    int64_t c = 0;
    for (; c + 2 * VW <= C; c += 2 * VW) {
        a += v_load(x + c);
        b += v_load(x + c + VW);
    }
    for (; c < C; c += VW) a += v_load_n(x + c, at_most(VW, C - c));
    return v_sum(a + b);
}

void ISA(hone_cpu_rmsnorm)(const hone_args *args, int threads)
{
    const float *X = f32_in(args, 0), *g = f32_in(args, 1), eps = args->attr.eps;
    const vf g0 = v_set(args->attr.base);
    const reals Y = reals_of(&args->out[0]);
    float *rstd = f32_out(args, 1);
    const int64_t N = hone_rows(&args->out[0]), C = args->out[0].dim[1];
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * C * 8))
    for (int64_t n = 0; n < N; n++) {
        const float *x = X + n * C;
        const reals y = reals_at(Y, n * C);
        const float s = 1.0f / sqrtf(sum_of_squares(x, 0.0f, C) / (float)C + eps);
        const vf scale = v_set(s);
        if (rstd) rstd[n] = s;
#define BODY(load, store) reals_store(y, c, load(x + c) * scale * (load(g + c) + g0), lanes);
        COLUMNS(C, BODY);
#undef BODY
    }
}

void ISA(hone_cpu_layernorm)(const hone_args *args, int threads)
{
    const float *X = f32_in(args, 0), *g = f32_in(args, 1), *b = f32_in(args, 2), eps = args->attr.eps;
    const vf g0 = v_set(args->attr.base);
    const reals Y = reals_of(&args->out[0]);
    float *stats = f32_out(args, 1);
    const int64_t N = hone_rows(&args->out[0]), C = args->out[0].dim[1];
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * C * 8))
    for (int64_t n = 0; n < N; n++) {
        const float *x = X + n * C;
        const reals y = reals_at(Y, n * C);
        const float mean = sum_of(x, C) / (float)C;
        const float s = 1.0f / sqrtf(sum_of_squares(x, mean, C) / (float)C + eps);
        const vf m = v_set(mean), scale = v_set(s);
        if (stats) stats[2 * n] = mean, stats[2 * n + 1] = s;
#define BODY(load, store) reals_store(y, c, v_fma((load(x + c) - m) * scale, (load(g + c) + g0), load(b + c)), lanes);
        COLUMNS(C, BODY);
#undef BODY
    }
}

// to[c] += partials of chunk 0, 1, ... in order
static void add_partials(float *to, const float *partial, int64_t stride, int64_t chunks, span s)
{
    for (int64_t c = s.from; c < s.to; c += VW) {
        const int64_t n = at_most(VW, s.to - c);
        vf sum = v_zero();
        for (int64_t i = 0; i < chunks; i++) sum += v_load_n(partial + i * stride + c, n);
        v_store_n(to + c, v_load_n(to + c, n) + sum, n);
    }
}

// dx of one row, and its part of dg
static void rmsnorm_back_row(float *dx, float *dg, reals dy, const float *x, const float *g, vf g0, float s,
                             const float *addend, int64_t C)
{
    vf dot = v_zero();
#define BODY(load, store) dot = v_fma(reals_load(dy, c, lanes) * (load(g + c) + g0), load(x + c), dot);
    COLUMNS(C, BODY);
#undef BODY
    // dx = s (dy g - x s mean(dy g x s)) = s dy g - x k,  k = s^3 mean(dy g x)
    const vf scale = v_set(s), k = v_set(s * s * s * (v_sum(dot) / (float)C));
#define BODY(load, store)                                                                   \
    const vf xv = load(x + c), dyv = reals_load(dy, c, lanes);                              \
    const vf base = addend ? load(addend + c) : v_zero();                                   \
    if (dg) store(dg + c, v_fma(dyv, xv * scale, load(dg + c)));                            \
    store(dx + c, v_fnma(xv, k, scale * dyv * (load(g + c) + g0)) + base);
    COLUMNS(C, BODY);
#undef BODY
}

size_t ISA(hone_cpu_rmsnorm_back_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    if (!args->out[1].present) return 0;
    return (size_t)(divide_up(args->in[0].dim[0], CHUNK) * round_up(args->in[0].dim[1], 16)) * sizeof(float);
}

void ISA(hone_cpu_rmsnorm_back)(const hone_args *args, int threads)
{
    const reals dy = reals_of(&args->in[0]);
    const float *x = f32_in(args, 1), *g = f32_in(args, 2), *rstd = f32_in(args, 3);
    const float *addend = f32_in(args, 4);
    float *dx = f32_out(args, 0), *dg = f32_out(args, 1), *partial = args->workspace;
    const int64_t N = hone_rows(&args->out[0]), C = args->out[0].dim[1];
    const int64_t chunks = divide_up(N, CHUNK), stride = round_up(C, 16);
#pragma omp parallel num_threads(worth(threads, N * C * 12))
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < chunks; i++) {
            float *part = dg ? partial + i * stride : NULL;
            if (part) memset(part, 0, (size_t)C * sizeof *part);
            for (int64_t n = i * CHUNK; n < at_most(N, (i + 1) * CHUNK); n++)
                rmsnorm_back_row(dx + n * C, part, reals_at(dy, n * C), x + n * C, g, v_set(args->attr.base), rstd[n], addend ? addend + n * C : NULL, C);
        }
        if (dg) add_partials(dg, partial, stride, chunks, share(C, 16, omp_get_thread_num(), omp_get_num_threads()));
    }
}

static void layernorm_back_row(float *dx, float *dg, float *db, reals dy, const float *x, const float *g, vf g0, float mean,
                               float s, const float *addend, int64_t C)
{
    const vf m = v_set(mean), scale = v_set(s);
    vf sum = v_zero(), dot = v_zero();
#define BODY(load, store)                                  \
    const vf dz = reals_load(dy, c, lanes) * (load(g + c) + g0);  \
    sum += dz;                                             \
    dot = v_fma(dz, load(x + c) - m, dot); /* lanes beyond C: dz is 0 */
    COLUMNS(C, BODY);
#undef BODY
    // z = (x - mean) s, dz = dy g:  dx = s (dz - mean(dz) - z mean(dz z))
    const vf m1 = v_set(v_sum(sum) / (float)C), m2 = v_set(s * (v_sum(dot) / (float)C));
#define BODY(load, store)                                                       \
    const vf dyv = reals_load(dy, c, lanes), z = (load(x + c) - m) * scale;                 \
    const vf base = addend ? load(addend + c) : v_zero();                       \
    if (dg) store(dg + c, v_fma(dyv, z, load(dg + c)));                         \
    if (db) store(db + c, load(db + c) + dyv);                                  \
    store(dx + c, v_fma(scale, v_fnma(z, m2, dyv * (load(g + c) + g0) - m1), base));
    COLUMNS(C, BODY);
#undef BODY
}

size_t ISA(hone_cpu_layernorm_back_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    const int64_t sums = args->out[1].present + args->out[2].present;
    return (size_t)(divide_up(args->in[0].dim[0], CHUNK) * round_up(args->in[0].dim[1], 16) * sums) * sizeof(float);
}

void ISA(hone_cpu_layernorm_back)(const hone_args *args, int threads)
{
    const reals dy = reals_of(&args->in[0]);
    const float *x = f32_in(args, 1), *g = f32_in(args, 2), *stats = f32_in(args, 3);
    const float *addend = f32_in(args, 4);
    float *dx = f32_out(args, 0), *dg = f32_out(args, 1), *db = f32_out(args, 2), *partial = args->workspace;
    const int64_t N = hone_rows(&args->out[0]), C = args->out[0].dim[1], width = round_up(C, 16);
    const int64_t chunks = divide_up(N, CHUNK), stride = width * ((dg != NULL) + (db != NULL)), db_at = dg ? width : 0;
#pragma omp parallel num_threads(worth(threads, N * C * 12))
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < chunks; i++) {
            float *part = partial + i * stride;
            if (stride) memset(part, 0, (size_t)stride * sizeof *part);
            for (int64_t n = i * CHUNK; n < at_most(N, (i + 1) * CHUNK); n++)
                layernorm_back_row(dx + n * C, dg ? part : NULL, db ? part + db_at : NULL, reals_at(dy, n * C), x + n * C, g, v_set(args->attr.base), stats[2 * n],
                                   stats[2 * n + 1], addend ? addend + n * C : NULL, C);
        }
        const span s = share(C, 16, omp_get_thread_num(), omp_get_num_threads());
        if (dg) add_partials(dg, partial, stride, chunks, s);
        if (db) add_partials(db, partial + db_at, stride, chunks, s);
    }
}
