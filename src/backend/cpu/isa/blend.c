// blend.c: blend and its gradient. A row's bits depend on that row alone; sums over token rows are taken by columns, each thread
// some, so that they do not depend on how many threads there are.
#include "backend/cpu/isa/kernel.h"
#include <string.h>

enum { GRAIN = 64 };    // columns: no two threads write to one cache line

// In place x's other columns are where they belong.
void ISA(hone_cpu_blend)(const hone_args *args, int threads)
{
    const reals x = reals_of(&args->in[0]), z = reals_of(&args->in[1]), y = reals_of(&args->out[0]);
    const float *g = f32_in(args, 2);
    const int64_t N = hone_rows(&args->in[0]), P = args->in[0].dim[1], Q = args->in[1].dim[1], first = args->attr.v_col, behind = first + Q;
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * P * 8))
    for (int64_t n = 0; n < N; n++) {
        reals_copy(reals_at(y, n * P), reals_at(x, n * P), first);
        for (int64_t c = 0, at = n * P + first; c < Q; c += VW) {
            const int64_t lanes = at_most(VW, Q - c);
            reals_store(y, at + c, v_fma(v_load_n(g + c, lanes), reals_load(z, n * Q + c, lanes), reals_load(x, at + c, lanes)), lanes);
        }
        reals_copy(reals_at(y, n * P + behind), reals_at(x, n * P + behind), P - behind);
    }
}

// Workspace: sums of dy z.
size_t ISA(hone_cpu_blend_back_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    return (size_t)round_up(args->in[1].dim[1], GRAIN) * sizeof(float);
}
void ISA(hone_cpu_blend_back)(const hone_args *args, int threads)
{
    const reals dy = reals_of(&args->in[0]), z = reals_of(&args->in[1]), dz = reals_of(&args->out[0]);
    const float *g = f32_in(args, 2);
    float *dg = f32_out(args, 1), *sums = args->workspace;
    const int64_t N = hone_rows(&args->in[0]), P = args->in[0].dim[1], Q = args->in[1].dim[1], first = args->attr.v_col;
    memset(sums, 0, (size_t)Q * sizeof *sums);
#pragma omp parallel num_threads(worth(threads, N * Q * 12))
    {
        const span s = share(Q, GRAIN, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t n = 0; n < N; n++)
            for (int64_t c = s.from; c < s.to; c += VW) {
                const int64_t lanes = at_most(VW, s.to - c);
                const vf d = reals_load(dy, n * P + first + c, lanes);
                v_store_n(sums + c, v_fma(d, reals_load(z, n * Q + c, lanes), v_load_n(sums + c, lanes)), lanes);
                reals_store(dz, n * Q + c, d * v_load_n(g + c, lanes), lanes);
            }
    }
    for (int64_t c = 0; dg && c < Q; c++) dg[c] += sums[c];
}
