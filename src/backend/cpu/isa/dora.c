// dora.c: dora_norm, dora, dora_back: matrices whose rows have lengths of their own (ref/dora.c has the mathematics).
//
// dora_norm makes each changed row in a thread's room, a factor's rows added one by one: a hundredth of what the products with the
// matrix cost at 2048 rows. Sums over token rows are taken by columns, each thread some, so that they do not depend on how many.
#include "backend/cpu/isa/kernel.h"
#include <math.h>
#include <string.h>

enum { GRAIN = 64 };    // columns: no two threads write to one cache line

// The row of the weight that row e of the factors is, and its part.
typedef struct factor_row { int64_t row, part; } factor_row;
static factor_row row_of(const hone_attr *attr, int64_t e)
{
    int64_t u = 0;
    while (e >= attr->part_rows[u]) e -= attr->part_rows[u++];
    return (factor_row){ attr->part_col[u] + e, u };
}

static const float *weight_row(const hone_operand *w, int64_t row, float *room)
{
    const int64_t K = w->dim[1];
    const hone_blocks blocks = hone_dtype_blocks(w->dtype);
    if (blocks == HONE_BLOCKS_COUNT) return (const float *)w->data + row * K;
    hone_blocks_decode(blocks, (const char *)w->data + (size_t)row * hone_blocks_bytes(blocks, K), K, room);
    return room;
}

size_t ISA(hone_cpu_dora_norm_workspace)(const hone_args *args, int threads)
{
    return (size_t)(threads * round_up(args->in[0].dim[1], 16)) * sizeof(float);
}
void ISA(hone_cpu_dora_norm)(const hone_args *args, int threads)
{
    const hone_operand *w = &args->in[0];
    const float *a = f32_in(args, 1), *b = f32_in(args, 2);
    float *n = f32_out(args, 0);
    const int64_t K = w->dim[1], J = args->in[2].dim[1], E = args->in[2].dim[0];
#pragma omp parallel for schedule(static) num_threads(worth(threads, E * K * 4))
    for (int64_t e = 0; e < E; e++) {
        float *room = (float *)args->workspace + omp_get_thread_num() * round_up(K, 16);
        const factor_row r = row_of(&args->attr, e);
        const float *x = weight_row(w, r.row, room), *low = a + r.part * J * K;
        double squares = 0;
        for (int64_t k = 0; k < K; k += VW) {
            const int64_t lanes = at_most(VW, K - k);
            vf change = v_zero();
            for (int64_t j = 0; j < J; j++) change = v_fma(v_set(b[e * J + j]), v_load_n(low + j * K + k, lanes), change);
            const vf v = v_fma(v_set(args->attr.scale), change, v_load_n(x + k, lanes));
            squares += (double)v_sum(v * v);
        }
        n[e] = (float)sqrt(squares);
    }
}

// g (M,): m / n in the columns of parts, else 1.
static void fill_factors(const hone_args *args, const float *m, const float *n, float *g, int64_t M, int64_t E)
{
    for (int64_t c = 0; c < M; c++) g[c] = 1;
    for (int64_t e = 0; e < E; e++) g[row_of(&args->attr, e).row] = m[e] / n[e];
}

size_t ISA(hone_cpu_dora_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    return (size_t)args->in[0].dim[1] * sizeof(float);
}
void ISA(hone_cpu_dora)(const hone_args *args, int threads)
{
    const reals z = reals_of(&args->in[0]), y = reals_of(&args->out[0]);
    const float *bias = f32_in(args, 3), *residual = f32_in(args, 4);
    const int64_t N = hone_rows(&args->in[0]), M = args->in[0].dim[1];
    float *g = args->workspace;
    fill_factors(args, f32_in(args, 1), f32_in(args, 2), g, M, args->in[1].dim[0]);
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * M * 8))
    for (int64_t r = 0; r < N; r++)
        for (int64_t c = 0; c < M; c += VW) {
            const int64_t lanes = at_most(VW, M - c);
            const vf rest = (bias ? v_load_n(bias + c, lanes) : v_zero()) + (residual ? v_load_n(residual + r * M + c, lanes) : v_zero());
            reals_store(y, r * M + c, v_fma(reals_load(z, r * M + c, lanes), v_load_n(g + c, lanes), rest), lanes);
        }
}

// Workspace: g, sums of dy z, sums of dy.
size_t ISA(hone_cpu_dora_back_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    return (size_t)(3 * round_up(args->in[0].dim[1], GRAIN)) * sizeof(float);
}
void ISA(hone_cpu_dora_back)(const hone_args *args, int threads)
{
    const reals dy = reals_of(&args->in[0]), z = reals_of(&args->in[1]), dz = reals_of(&args->out[0]);
    const float *m = f32_in(args, 2), *n = f32_in(args, 3);
    float *dm = f32_out(args, 1), *db = f32_out(args, 2);
    const int64_t N = hone_rows(&args->in[0]), M = args->in[0].dim[1], E = args->in[2].dim[0], apart = round_up(M, GRAIN);
    float *g = args->workspace, *products = g + apart, *sums = products + apart;
    fill_factors(args, m, n, g, M, E);
    memset(products, 0, (size_t)(2 * apart) * sizeof *products);
#pragma omp parallel num_threads(worth(threads, N * M * 12))
    {
        const span s = share(M, GRAIN, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t r = 0; r < N; r++)
            for (int64_t c = s.from; c < s.to; c += VW) {
                const int64_t lanes = at_most(VW, s.to - c);
                const vf d = reals_load(dy, r * M + c, lanes);
                v_store_n(products + c, v_fma(d, reals_load(z, r * M + c, lanes), v_load_n(products + c, lanes)), lanes);
                v_store_n(sums + c, d + v_load_n(sums + c, lanes), lanes);
                reals_store(dz, r * M + c, d * v_load_n(g + c, lanes), lanes);
            }
    }
    for (int64_t e = 0; e < E; e++) dm[e] += products[row_of(&args->attr, e).row] / n[e];
    for (int64_t c = 0; db && c < M; c++) db[c] += sums[c];
}
