// rows.c: ops that move or add whole rows: embed, embed_dw, gather_rows, kv_write, kv_write8, add.
#include "backend/cpu/isa/kernel.h"
#include "graph/kv8.h"

static void copy_row(float *restrict to, const float *restrict from, int64_t C)
{
    int64_t c = 0;
    for (; c + VW <= C; c += VW) v_store(to + c, v_load(from + c));
    v_store_n(to + c, v_load_n(from + c, C - c), C - c);
}

static void add_reals(float *to, reals a, const float *b, int64_t C)
{
    for (int64_t c = 0; c < C; c += VW) {
        const int64_t n = at_most(VW, C - c);
        v_store_n(to + c, reals_load(a, c, n) + v_load_n(b + c, n), n);
    }
}
static void add_rows(float *to, const float *a, const float *b, int64_t C) // `to` may be a or b
{
    int64_t c = 0;
    for (; c + VW <= C; c += VW) v_store(to + c, v_load(a + c) + v_load(b + c));
    v_store_n(to + c, v_load_n(a + c, C - c) + v_load_n(b + c, C - c), C - c);
}

void ISA(hone_cpu_embed)(const hone_args *args, int threads)
{
    const int32_t *ids = i32_in(args, 0);
    const reals table = reals_of(&args->in[1]), y = reals_of(&args->out[0]);
    const float *addend = f32_in(args, 2);
    const int64_t N = hone_rows(&args->out[0]), C = args->out[0].dim[1];
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * C * 8))
    for (int64_t n = 0; n < N; n++) {
        const reals row = reals_at(table, ids[n] * C), to = reals_at(y, n * C);
        if (addend) add_reals((float *)to.data, row, addend + n * C, C);
        else reals_copy(to, row, C);
    }
}

// Threads share out columns, so each entry sums in order of n whatever their number.
void ISA(hone_cpu_embed_dw)(const hone_args *args, int threads)
{
    const int32_t *ids = i32_in(args, 0);
    const float *dy = f32_in(args, 1);
    float *dtable = f32_out(args, 0);
    const int64_t N = at_most(hone_rows(&args->in[0]), hone_rows(&args->in[1])), C = args->in[1].dim[1];
    threads = worth(threads, N * C * 12);
#pragma omp parallel num_threads(threads)
    {
        const span s = share(C, 16, omp_get_thread_num(), omp_get_num_threads());
        for (int64_t n = 0; n < N && s.from < s.to; n++) {
            float *row = dtable + ids[n] * C + s.from;
            add_rows(row, row, dy + n * C + s.from, s.to - s.from);
        }
    }
}

void ISA(hone_cpu_gather_rows)(const hone_args *args, int threads)
{
    const float *x = f32_in(args, 0);
    const int32_t *rows = i32_in(args, 1);
    float *y = f32_out(args, 0);
    const int64_t R = hone_rows(&args->out[0]), C = args->out[0].dim[1];
#pragma omp parallel for schedule(static) num_threads(worth(threads, R * C * 8))
    for (int64_t r = 0; r < R; r++) copy_row(y + r * C, x + rows[r] * C, C);
}

void ISA(hone_cpu_kv_write)(const hone_args *args, int threads)
{
    const float *kv = f32_in(args, 0);
    const int32_t *rows = i32_in(args, 1);
    const reals cache = reals_of(&args->out[0]);
    const int64_t N = at_most(hone_rows(&args->in[0]), hone_rows(&args->in[1]));
    const int64_t P = args->in[0].dim[1], Q = args->out[0].dim[1];
    kv += args->attr.k_col;
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * Q * 8))
    for (int64_t n = 0; n < N; n++) reals_copy(reals_at(cache, rows[n] * Q), (reals){ (char *)(uintptr_t)(kv + n * P), false }, Q);
}

void ISA(hone_cpu_kv_write8)(const hone_args *args, int threads)
{
    const float *kv = f32_in(args, 0);
    const int32_t *rows = i32_in(args, 1);
    const int64_t N = at_most(hone_rows(&args->in[0]), hone_rows(&args->in[1])), P = args->in[0].dim[1];
    const int64_t heads = args->out[1].dim[1], D = args->attr.head_dim;
#pragma omp parallel for schedule(static) num_threads(worth(threads, N * heads * D * 8))
    for (int64_t i = 0; i < N * heads; i++) {
        const float *from = kv + i / heads * P + args->attr.k_col + i % heads * D;
        const int64_t to = rows[i / heads] * heads + i % heads;
        int8_t *code = (int8_t *)args->out[0].data + to * D;
        float top = 0;
        for (int64_t d = 0; d < D; d++) top = hone_kv8_larger(top, from[d]);
        const hone_quant q = hone_quant_of(top);
        f32_out(args, 1)[to] = q.scale;
        for (int64_t d = 0; d < D; d++) code[d] = hone_kv8_code(from[d], q.inverse);
    }
}

void ISA(hone_cpu_add)(const hone_args *args, int threads)
{
    const float *a = f32_in(args, 0), *b = f32_in(args, 1);
    float *y = f32_out(args, 0);
    const int64_t count = hone_rows(&args->out[0]) * args->out[0].dim[1];
#pragma omp parallel num_threads(worth(threads, count * 12))
    {
        const span s = share(count, 16, omp_get_thread_num(), omp_get_num_threads());
        add_rows(y + s.from, a + s.from, b + s.from, s.to - s.from);
    }
}
