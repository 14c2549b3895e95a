// test_kernels.c: the CPU kernels that are too intricate for the op harness' random operands: attention and its gradient
// over packed documents, windows, grouped heads, odd sizes and paged keys, against plain f64 loops; that a row's bits depend
// neither on the rows beside it nor on the number of threads; that nothing beyond the live rows is written.
#include "support/cmocka_all.h"
#include "backend/cpu/kernels.h"
#include "base/memory.h"
#include "base/rng.h"
#include <math.h>


static float *random_floats(int64_t count, uint32_t stream, double size)
{
    float *data = hone_alloc((size_t)count, sizeof *data);
    for (int64_t i = 0; i < count; i++) data[i] = (float)(size * hone_rng_normal(7, HONE_RNG_TEST, stream, (uint64_t)i));
    return data;
}


static hone_operand operand(void *data, hone_dtype dtype, int64_t rows, int64_t cols)
{
    return (hone_operand){ .data = data, .dim = { rows, cols }, .rank = cols ? 2 : 1, .dtype = dtype, .present = data != NULL };
}

// Runs one kernel with a workspace that starts as NaN: a kernel may not rely on what lies there.
static void run_op(hone_isa isa, hone_args *args, int threads)
{
    const hone_cpu_kernel *kernel = &hone_cpu_kernel_tables[isa]->op[args->op];
    args->workspace_bytes = kernel->workspace ? kernel->workspace(args, threads) : 0;
    args->workspace = aligned_alloc(64, (args->workspace_bytes + 127) / 64 * 64);
    memset(args->workspace, 0xff, args->workspace_bytes);
    kernel->run(args, threads);
    free(args->workspace);
}

// One case of attention: N query rows over R keys.
typedef struct problem {
    const char *name;
    int64_t N, R, H, G, D, window, group;
    int layout;          // of lo and hi, see make_ranges
    int64_t q_col, k_col, v_col, P, Q;
    float *q, *kv, *d_o; // q == kv: one fused tensor
    int32_t *lo, *hi, *slot, *table;
    int64_t slots, blocks, block;
} problem;

enum { CAUSAL, DOCUMENTS, HOLES, CROSS };

// CAUSAL: each group from its start. DOCUMENTS: packed, one of length 1, borders at no multiple of anything. HOLES: some
// rows see nothing. CROSS: all rows see all R keys but the last few.
static void make_ranges(problem *p)
{
    static const int64_t length[] = { 5, 1, 17, 64, 3, 40, 130, 2, 77 };
    int64_t start = 0, end = 0, next = 0;
    p->lo = hone_alloc((size_t)p->N, sizeof *p->lo), p->hi = hone_alloc((size_t)p->N, sizeof *p->hi);
    for (int64_t n = 0; n < p->N; n++) {
        if (p->group && n % p->group == 0) start = end = n;
        if (p->layout == DOCUMENTS && n >= end) start = n, end = n + length[next++ % 9];
        p->lo[n] = (int32_t)(p->layout == CROSS ? 0 : start);
        p->hi[n] = (int32_t)(p->layout == CROSS ? p->R - 3 : n + 1);
        if (p->layout == HOLES && n % 7 < 3) p->lo[n] = p->hi[n];
    }
}

static void make(problem *p)
{
    const int64_t heads = p->H * p->D, kv = p->G * p->D;
    if (p->layout == CROSS) { // q and kv apart, with a column block in front that belongs to nobody
        p->q_col = 8, p->P = heads + 8, p->k_col = 0, p->v_col = kv, p->Q = 2 * kv;
        p->q = random_floats(p->N * p->P, 1, 1.5), p->kv = random_floats(p->R * p->Q, 2, 1.5);
    } else {
        p->q_col = 0, p->k_col = heads, p->v_col = heads + kv, p->P = p->Q = heads + 2 * kv, p->R = p->N;
        p->q = p->kv = random_floats(p->N * p->P, 1, 1.5);
    }
    p->d_o = random_floats(p->N * heads, 3, 1.0);
    make_ranges(p);
}

static void drop(problem *p)
{
    if (p->kv != p->q) hone_free(p->kv);
    hone_free(p->q), hone_free(p->d_o), hone_free(p->lo), hone_free(p->hi), hone_free(p->slot), hone_free(p->table);
}

static hone_args attention_args(const problem *p, float *o, float *lse)
{
    hone_args args = { .op = HONE_OP_attention, .same_kv = p->q == p->kv };
    args.attr = (hone_attr){ .heads = (int32_t)p->H, .kv_heads = (int32_t)p->G, .head_dim = (int32_t)p->D, .q_col = (int32_t)p->q_col,
                             .k_col = (int32_t)p->k_col, .v_col = (int32_t)p->v_col, .window = (int32_t)p->window,
                             .group_rows = (int32_t)p->group, .block = (int32_t)p->block,
                             .scale = 1.0f / sqrtf((float)p->D) };
    args.in[0] = operand(p->q, HONE_f32, p->N, p->P), args.in[1] = operand(p->kv, HONE_f32, p->R, p->Q);
    args.in[2] = operand(p->lo, HONE_i32, p->N, 0), args.in[3] = operand(p->hi, HONE_i32, p->N, 0);
    args.in[4] = operand(p->slot, HONE_i32, p->N, 0), args.in[5] = operand(p->table, HONE_i32, p->slots, p->blocks);
    args.out[0] = operand(o, HONE_f32, p->N, p->H * p->D), args.out[1] = operand(lse, HONE_f32, p->N, p->H);
    return args;
}

static int64_t physical(const problem *p, int64_t n, int64_t j)
{
    return p->slot ? (int64_t)p->table[p->slot[n] * p->blocks + j / p->block] * p->block + j % p->block : j;
}

// The definition, in f64. Gradients where dq is not NULL: dq (N, P), dkv (R, Q), added up in one tensor where q == kv.
static void by_definition(const problem *p, double *o, double *lse, double *dq, double *dkv)
{
    const double scale = (double)(1.0f / sqrtf((float)p->D));
    double *w = hone_alloc((size_t)(p->slot ? p->blocks * p->block : p->R), sizeof *w);
    for (int64_t n = 0; n < p->N; n++)
        for (int64_t h = 0; h < p->H; h++) {
            const int64_t g = h / (p->H / p->G), at = n * p->H + h, hi = p->hi[n];
            const int64_t lo = p->window && hi - p->window > p->lo[n] ? hi - p->window : p->lo[n];
            const float *q = p->q + n * p->P + p->q_col + h * p->D;
            double sum = 0, delta = 0;
            for (int64_t d = 0; d < p->D; d++) o[at * p->D + d] = 0;
            for (int64_t j = lo; j < hi; j++) {
                const float *k = p->kv + physical(p, n, j) * p->Q + p->k_col + g * p->D;
                double s = 0;
                for (int64_t d = 0; d < p->D; d++) s += (double)q[d] * k[d];
                sum += w[j - lo] = exp(scale * s);
            }
            lse[at] = log(sum);
            for (int64_t j = lo; j < hi; j++) {
                const float *v = p->kv + physical(p, n, j) * p->Q + p->v_col + g * p->D;
                for (int64_t d = 0; d < p->D; d++) o[at * p->D + d] += w[j - lo] / sum * v[d];
            }
            if (!dq) continue;
            for (int64_t d = 0; d < p->D; d++) delta += (double)p->d_o[at * p->D + d] * o[at * p->D + d];
            for (int64_t j = lo; j < hi; j++) {
                const int64_t k = j * p->Q + p->k_col + g * p->D, v = j * p->Q + p->v_col + g * p->D;
                double dp = 0;
                for (int64_t d = 0; d < p->D; d++) dp += (double)p->d_o[at * p->D + d] * p->kv[v + d];
                const double weight = w[j - lo] / sum, ds = weight * (dp - delta);
                for (int64_t d = 0; d < p->D; d++) {
                    dq[n * p->P + p->q_col + h * p->D + d] += scale * ds * p->kv[k + d];
                    dkv[k + d] += scale * ds * q[d];
                    dkv[v + d] += weight * p->d_o[at * p->D + d];
                }
            }
        }
    hone_free(w);
}

// ||a - b|| / ||b||; infinities must agree
static double difference(const float *a, const double *b, int64_t count)
{
    double square = 0, norm = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        if (isinf(b[i]) && a[i] == b[i]) continue;
        square += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(square / norm);
}

static problem cases[] = {
    { .name = "one row", .N = 1, .H = 2, .G = 1, .D = 8 },
    { .name = "T 37, D 24, grouped heads", .N = 74, .H = 4, .G = 2, .D = 24, .group = 37 },
    { .name = "D 64, causal over three tiles", .N = 150, .H = 2, .G = 2, .D = 64, .group = 150 },
    { .name = "packed documents", .N = 400, .H = 3, .G = 1, .D = 24, .group = 200, .layout = DOCUMENTS },
    { .name = "packed documents, window", .N = 300, .H = 2, .G = 2, .D = 16, .window = 19, .layout = DOCUMENTS },
    { .name = "window across tiles", .N = 260, .H = 2, .G = 1, .D = 64, .window = 70, .group = 130 },
    { .name = "rows that see nothing", .N = 90, .H = 4, .G = 2, .D = 20, .layout = HOLES },
    { .name = "seven heads on one", .N = 51, .H = 7, .G = 1, .D = 33, .group = 17 },
    { .name = "more heads on one than lanes", .N = 9, .H = 70, .G = 1, .D = 8, .group = 9 },
    { .name = "keys apart", .N = 70, .R = 141, .H = 4, .G = 2, .D = 24, .layout = CROSS },
};
enum { CASES = sizeof cases / sizeof *cases };

// Rounding: a score sums D products (error about eps sqrt(D) |s|, |s| up to some 10), and exp turns that into a relative
// error of a weight; 2e-6 is eps sqrt(64) 2 and some room for the tail of a sum over 400 keys.
enum { ROUNDING_E7 = 20 };

static void test_attention_equals_its_definition(void **state)
{
    (void)state;
    for (int c = 0; c < CASES; c++) {
        problem p = cases[c];
        make(&p);
        const int64_t outs = p.N * p.H * p.D;
        double *o64 = hone_alloc((size_t)outs, 8), *lse64 = hone_alloc((size_t)(p.N * p.H), 8);
        double *dq64 = hone_alloc((size_t)(p.N * p.P), 8), *dkv64 = p.q == p.kv ? dq64 : hone_alloc((size_t)(p.R * p.Q), 8);
        float *o = hone_alloc((size_t)outs, 4), *lse = hone_alloc((size_t)(p.N * p.H), 4);
        float *dq = hone_alloc((size_t)(p.N * p.P), 4), *dkv = p.q == p.kv ? NULL : hone_alloc((size_t)(p.R * p.Q), 4);
        by_definition(&p, o64, lse64, dq64, dkv64);
        for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa))
            for (int threads = 1; threads <= 2; threads++) {
                memset(o, 0xff, (size_t)outs * 4), memset(lse, 0xff, (size_t)(p.N * p.H) * 4);
                memset(dq, 0xff, (size_t)(p.N * p.P) * 4);
                if (dkv) memset(dkv, 0xff, (size_t)(p.R * p.Q) * 4);
                hone_args args = attention_args(&p, o, lse);
                run_op(isa, &args, threads);
                hone_args back = { .op = HONE_OP_attention_back, .attr = args.attr, .same_kv = args.same_kv };
                back.in[0] = operand(p.d_o, HONE_f32, p.N, p.H * p.D), back.in[1] = args.in[0], back.in[2] = args.in[1];
                back.in[3] = args.out[0], back.in[4] = args.out[1], back.in[5] = args.in[2], back.in[6] = args.in[3];
                back.out[0] = operand(dq, HONE_f32, p.N, p.P), back.out[1] = operand(dkv, HONE_f32, p.R, p.Q);
                run_op(isa, &back, threads);
                const double e[] = { difference(o, o64, outs), difference(lse, lse64, p.N * p.H), difference(dq, dq64, p.N * p.P),
                                     dkv ? difference(dkv, dkv64, p.R * p.Q) : 0 };
                for (int i = 0; i < 4; i++)
                    if (!(e[i] < ROUNDING_E7 * 1e-7))
                        fail_msg("%s, %s, %d threads: %s is off by %.2e", p.name, hone_isa_name[isa], threads,
                                 (const char *[]){ "o", "lse", "dq", "dkv" }[i], e[i]);
            }
        hone_free(o), hone_free(lse), hone_free(dq), hone_free(dkv), hone_free(o64), hone_free(lse64);
        if (dkv64 != dq64) hone_free(dkv64);
        hone_free(dq64);
        drop(&p);
    }
}

// 512 rows at once, then 1, 7 and 64 at a time (the same keys, other lanes, other neighbours): the same bits.
static void test_a_row_of_attention_does_not_depend_on_its_neighbours(void **state)
{
    (void)state;
    for (int layout = CAUSAL; layout <= HOLES; layout++) {
        problem p = { .N = 512, .H = 2, .G = layout == CAUSAL ? 1 : 2, .D = 24, .layout = layout };
        make(&p);
        const int64_t width = p.H * p.D;
        float *o = hone_alloc((size_t)(p.N * width), 4), *lse = hone_alloc((size_t)(p.N * p.H), 4);
        float *part = hone_alloc((size_t)(64 * width), 4), *part_lse = hone_alloc((size_t)(64 * p.H), 4);
        for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa)) {
            hone_args whole = attention_args(&p, o, lse);
            run_op(isa, &whole, 2);
            for (int64_t rows = 1; rows <= 64; rows = rows == 1 ? 7 : rows == 7 ? 64 : 65)
                for (int64_t n = 0; n + rows <= p.N; n += 3 * rows) {
                    problem some = p;
                    some.N = rows, some.q += n * p.P, some.lo += n, some.hi += n;
                    hone_args args = attention_args(&some, part, part_lse);
                    args.same_kv = false;
                    run_op(isa, &args, 1);
                    assert_memory_equal(part, o + n * width, (size_t)(rows * width) * 4);
                    assert_memory_equal(part_lse, lse + n * p.H, (size_t)(rows * p.H) * 4);
                }
        }
        hone_free(o), hone_free(lse), hone_free(part), hone_free(part_lse);
        drop(&p);
    }
}

static void test_attention_back_does_not_depend_on_threads(void **state)
{
    (void)state;
    problem p = { .N = 260, .H = 4, .G = 2, .D = 24, .group = 130, .layout = DOCUMENTS };
    make(&p);
    const size_t bytes = (size_t)(p.N * p.P) * 4;
    float *o = hone_alloc((size_t)(p.N * p.H * p.D), 4), *lse = hone_alloc((size_t)(p.N * p.H), 4);
    float *dq[3] = { hone_alloc(bytes, 1), hone_alloc(bytes, 1), hone_alloc(bytes, 1) };
    for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa)) {
        hone_args args = attention_args(&p, o, lse);
        run_op(isa, &args, 1);
        for (int threads = 1; threads <= 3; threads++) {
            hone_args back = { .op = HONE_OP_attention_back, .attr = args.attr, .same_kv = true };
            back.in[0] = operand(p.d_o, HONE_f32, p.N, p.H * p.D), back.in[1] = back.in[2] = args.in[0];
            back.in[3] = args.out[0], back.in[4] = args.out[1], back.in[5] = args.in[2], back.in[6] = args.in[3];
            back.out[0] = operand(dq[threads - 1], HONE_f32, p.N, p.P);
            run_op(isa, &back, threads);
            assert_memory_equal(dq[threads - 1], dq[0], bytes);
        }
    }
    hone_free(o), hone_free(lse), hone_free(dq[0]), hone_free(dq[1]), hone_free(dq[2]);
    drop(&p);
}

// Keys and values as codes and scales, whose numbers take their place.
typedef struct codes { int8_t *code; float *scale; } codes;
static codes keep_codes(problem *p)
{
    const int64_t heads = 2 * p->G;
    const codes c = { hone_alloc((size_t)(p->R * p->Q), 1), hone_alloc((size_t)(p->R * heads), 4) };
    int32_t *rows = hone_alloc((size_t)p->R, 4);
    for (int64_t r = 0; r < p->R; r++) rows[r] = (int32_t)r;
    hone_args args = { .op = HONE_OP_kv_write8, .attr = { .kv_heads = (int32_t)p->G, .head_dim = (int32_t)p->D } };
    args.in[0] = operand(p->kv, HONE_f32, p->R, p->Q), args.in[1] = operand(rows, HONE_i32, p->R, 0);
    args.out[0] = operand(c.code, HONE_int8, p->R, p->Q), args.out[1] = operand(c.scale, HONE_f32, p->R, heads);
    run_op(0, &args, 1);
    for (int64_t i = 0; i < p->R * p->Q; i++) p->kv[i] = (float)c.code[i] * c.scale[i / p->D];
    hone_free(rows);
    return c;
}

static hone_args paged_args(const problem *p, const codes *c, float *o, float *lse)
{
    hone_args args = attention_args(p, o, lse);
    if (!c) return args;
    args.op = HONE_OP_attention8;
    args.in[1] = operand(c->code, HONE_int8, p->R, p->Q), args.in[6] = operand(c->scale, HONE_f32, p->R, 2 * p->G);
    return args;
}

// Slots of mixed lengths through a shuffled block table: a chunk of a prompt, single decoding rows, a fresh slot; once more with a
// window. Cache rows that no slot owns hold NaN.
static void check_paged_keys(bool in_8_bits, int64_t window)
{
    static const int64_t blocks_per_slot = 5, rows_of[] = { 30, 1, 1, 7, 1, 70 }, length_of[] = { 75, 1, 80, 7, 33, 70 };
    for (int64_t G = 1; G <= 4; G *= 2) {
        problem p = { .H = 4, .G = G, .D = 24, .block = 16, .slots = 6, .blocks = blocks_per_slot, .N = 110, .window = window };
        const int64_t kv = p.G * p.D;
        p.R = p.slots * p.blocks * p.block, p.P = p.H * p.D + 2 * kv, p.Q = 2 * kv, p.k_col = 0, p.v_col = kv;
        p.q = random_floats(p.N * p.P, 1, 1.5), p.kv = random_floats(p.R * p.Q, 2, 1.5);
        p.lo = hone_alloc((size_t)p.N, 4), p.hi = hone_alloc((size_t)p.N, 4), p.slot = hone_alloc((size_t)p.N, 4);
        p.table = hone_alloc((size_t)(p.slots * p.blocks), 4);
        for (int64_t i = 0; i < p.slots * p.blocks; i++) p.table[i] = (int32_t)(i * 7 % (p.slots * p.blocks));
        for (int64_t s = 0, n = 0; s < p.slots; s++) {
            for (int64_t i = 0; i < rows_of[s]; i++, n++)
                p.slot[n] = (int32_t)s, p.lo[n] = 0, p.hi[n] = (int32_t)(length_of[s] - rows_of[s] + i + 1);
            for (int64_t j = length_of[s]; j < p.blocks * p.block; j++) {
                float *row = p.kv + ((int64_t)p.table[s * p.blocks + j / p.block] * p.block + j % p.block) * p.Q;
                for (int64_t c = 0; c < p.Q; c++) row[c] = NAN;
            }
        }
        const int64_t outs = p.N * p.H * p.D;
        const codes made = in_8_bits ? keep_codes(&p) : (codes){ 0 }, *c = in_8_bits ? &made : NULL;
        double *o64 = hone_alloc((size_t)outs, 8), *lse64 = hone_alloc((size_t)(p.N * p.H), 8);
        float *o = hone_alloc((size_t)outs, 4), *lse = hone_alloc((size_t)(p.N * p.H), 4);
        by_definition(&p, o64, lse64, NULL, NULL);
        for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa))
            for (int threads = 1; threads <= 2; threads++) {
                hone_args args = paged_args(&p, c, o, lse);
                run_op(isa, &args, threads);
                assert_true(difference(o, o64, outs) < ROUNDING_E7 * 1e-7);
                assert_true(difference(lse, lse64, p.N * p.H) < ROUNDING_E7 * 1e-7);
                // one row alone: the same bits as in the crowd
                float one[96], one_lse[4];
                for (int64_t n = 0; n < p.N; n += 4) {
                    problem alone = p;
                    alone.N = 1, alone.q += n * p.P, alone.lo += n, alone.hi += n, alone.slot += n;
                    hone_args single = paged_args(&alone, c, one, one_lse);
                    run_op(isa, &single, 1);
                    assert_memory_equal(one, o + n * p.H * p.D, (size_t)(p.H * p.D) * 4);
                    assert_memory_equal(one_lse, lse + n * p.H, (size_t)p.H * 4);
                }
            }
        hone_free(o), hone_free(lse), hone_free(o64), hone_free(lse64), hone_free(made.code), hone_free(made.scale);
        drop(&p);
    }
}
static void test_paged_keys_equal_the_definition(void **state)
{
    (void)state;
    check_paged_keys(false, 0);
    check_paged_keys(false, 20);
}
static void test_paged_keys_of_8_bits_equal_the_definition(void **state)
{
    (void)state;
    check_paged_keys(true, 0);
    check_paged_keys(true, 20);
}

// A live count below the bound: rows behind it stay as they were, and the others' bits do not change.
static void test_rows_behind_the_live_count_stay(void **state)
{
    (void)state;
    const int32_t live = 61;
    problem p = { .N = 100, .H = 2, .G = 1, .D = 24 };
    make(&p);
    const int64_t width = p.H * p.D, outs = p.N * width;
    float *all = hone_alloc((size_t)outs, 4), *o = hone_alloc((size_t)outs, 4), *lse = hone_alloc((size_t)(p.N * p.H), 4);
    for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa)) {
        hone_args args = attention_args(&p, all, lse);
        run_op(isa, &args, 2);
        memset(o, 0x5a, (size_t)outs * 4), memset(lse, 0x5a, (size_t)(p.N * p.H) * 4);
        args = attention_args(&p, o, lse);
        for (int k = 0; k < 4; k++) args.in[k].live = &live;
        args.out[0].live = args.out[1].live = &live;
        run_op(isa, &args, 2);
        assert_memory_equal(o, all, (size_t)(live * width) * 4);
        for (int64_t i = live * width * 4; i < outs * 4; i++) assert_int_equal(((uint8_t *)o)[i], 0x5a);
        for (int64_t i = live * p.H * 4; i < p.N * p.H * 4; i++) assert_int_equal(((uint8_t *)lse)[i], 0x5a);
    }
    hone_free(all), hone_free(o), hone_free(lse);
    drop(&p);
}

// Sums over rows (dg, db of norms, the squared norm) run over fixed chunks: any number of threads, the same bits.
static void test_reductions_do_not_depend_on_threads(void **state)
{
    (void)state;
    enum { N = 1000, C = 131 };
    float *dy = random_floats(N * C, 1, 1), *x = random_floats(N * C, 2, 1), *g = random_floats(C, 3, 1), *s = random_floats(2 * N, 4, 1);
    float *dx = hone_alloc(N * C, 4), *dg[3], *db[3], part[3];
    for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa))
        for (int t = 0; t < 3; t++) {
            dg[t] = random_floats(C, 5, 1), db[t] = random_floats(C, 6, 1);
            hone_args rms = { .op = HONE_OP_rmsnorm_back, .in = { operand(dy, HONE_f32, N, C), operand(x, HONE_f32, N, C),
                              operand(g, HONE_f32, C, 0), operand(s, HONE_f32, N, 0) },
                              .out = { operand(dx, HONE_f32, N, C), operand(dg[t], HONE_f32, C, 0) } };
            hone_args layer = rms, squares = { .op = HONE_OP_sum_squares, .in = { operand(x, HONE_f32, N, C) },
                                               .out = { operand(&part[t], HONE_f32, 1, 0) } };
            layer.op = HONE_OP_layernorm_back, layer.in[3] = operand(s, HONE_f32, N, 2), layer.out[2] = operand(db[t], HONE_f32, C, 0);
            run_op(isa, &rms, t + 1);
            run_op(isa, &layer, t + 1);
            run_op(isa, &squares, t + 1);
            if (t) assert_memory_equal(dg[t], dg[0], C * 4);
            if (t) assert_memory_equal(db[t], db[0], C * 4);
            if (t) assert_memory_equal(&part[t], &part[0], 4);
            if (t == 2)
                for (int i = 0; i < 3; i++) hone_free(dg[i]), hone_free(db[i]);
        }
    hone_free(dy), hone_free(x), hone_free(g), hone_free(s), hone_free(dx);
}

// Activations far out: no NaN, and the limits that calculus gives.
static void test_activations_reach_their_limits(void **state)
{
    (void)state;
    float x[] = { -1e30f, -200, -88, -20, 0, 20, 88, 200, 1e6f }, y[9], one[9], dx[9];
    for (int i = 0; i < 9; i++) one[i] = 1;
    for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa)) {
        hone_args gelu = { .op = HONE_OP_gelu, .in = { operand(x, HONE_f32, 1, 9) }, .out = { operand(y, HONE_f32, 1, 9) } };
        hone_args back = { .op = HONE_OP_gelu_back, .in = { operand(one, HONE_f32, 1, 9), operand(x, HONE_f32, 1, 9) },
                           .out = { operand(dx, HONE_f32, 1, 9) } };
        run_op(isa, &gelu, 1);
        run_op(isa, &back, 1);
        for (int i = 1; i < 9; i++) {
            assert_true(fabsf(y[i] - (x[i] > 0 ? x[i] : 0)) < 1e-6f);
            assert_true(fabsf(dx[i] - (x[i] > 0 ? 1 : x[i] < 0 ? 0 : 0.5f)) < 1e-6f);
        }
    }
}

// A store in bf16 is hone_f32_to_bf16 on every instruction set: ties, carries, subnormals, infinities, NaN; tails write no more.
// rope copies the columns of v, so that y is x, rounded.
static void test_a_store_in_bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    enum { N = 401, D = 38, P = 3 * D };
    float *x = random_floats(N * P, 40, 1), *cs = random_floats(N * D, 41, 1);
    uint16_t *y = hone_alloc(N * P + 1, sizeof *y);
    static const uint32_t special[] = { 0, 0x80000000, 1, 0x8000, 0x8001, 0x18000, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff, 0x7f7fffff, 0x7f800000,
                                        0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff, 0x007fffff, 0xbf7f8000 };
    for (int64_t i = 0; i < N * P; i++) { // bit patterns of all kinds
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits = i % 3 == 0 ? special[i / 3 % 18] : i % 3 == 1 ? (bits & 0xffff0000) | 0x8000 : bits * 2654435761u;
        memcpy(&x[i], &bits, sizeof bits);
    }
    for (hone_isa isa = 0; isa < HONE_ISA_COUNT; isa = hone_isa_next(isa)) {
        hone_args args = { .op = HONE_OP_rope, .attr = { .heads = 1, .kv_heads = 1, .head_dim = D },
                           .in = { operand(x, HONE_f32, N, P), operand(cs, HONE_f32, N, D) }, .out = { operand(y, HONE_bf16, N, P) } };
        y[N * P] = 0xa5a5;
        run_op(isa, &args, 2);
        assert_int_equal(y[N * P], 0xa5a5);
        for (int64_t n = 0; n < N; n++)
            for (int64_t i = n * P + 2 * D; i < (n + 1) * P; i++)
                if (y[i] != hone_f32_to_bf16(x[i])) fail_msg("%s: %a is stored as %04x, not %04x", hone_isa_name[isa], (double)x[i], y[i], hone_f32_to_bf16(x[i]));
    }
    hone_free(x), hone_free(cs), hone_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_store_in_bf16_rounds_to_nearest_even),
        cmocka_unit_test(test_attention_equals_its_definition),
        cmocka_unit_test(test_a_row_of_attention_does_not_depend_on_its_neighbours),
        cmocka_unit_test(test_attention_back_does_not_depend_on_threads),
        cmocka_unit_test(test_paged_keys_equal_the_definition),
        cmocka_unit_test(test_paged_keys_of_8_bits_equal_the_definition),
        cmocka_unit_test(test_rows_behind_the_live_count_stay),
        cmocka_unit_test(test_reductions_do_not_depend_on_threads),
        cmocka_unit_test(test_activations_reach_their_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
