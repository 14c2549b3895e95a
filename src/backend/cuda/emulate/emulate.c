// emulate.c: runs kernels block by block on the CPU (emulate.h), and makes products in plain loops.
#include "backend/cuda/emulate/emulate.h"
#include "backend/cuda/emulate/emulated.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { WARP = 32, MOST_THREADS = 1024, STACK_BYTES = 128 << 10, GUARD_BYTES = 64, GUARD = 0xa5, MOST_WORDS = 6, MOST_COPIES = 64 };

hone_emulated_dim hone_emulated_thread, hone_emulated_block, hone_emulated_block_size, hone_emulated_grid_size;
void *hone_emulated_shared;

// --- fibers --------------------------------------------------------------------------------------------------------------
// hone_emulated_switch(from, to): saves the registers that a call must keep on this stack, its top in *from, and goes on at `to`.
void hone_emulated_switch(void **from, void *to);
__asm__(".text\n.globl hone_emulated_switch\n.type hone_emulated_switch, @function\nhone_emulated_switch:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
        "mov %rsp, (%rdi)\nmov %rsi, %rsp\n"
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
        ".size hone_emulated_switch, .-hone_emulated_switch\n");

typedef enum { RUNNING, AT_WARP, AT_BLOCK, DONE } state;
typedef struct copy { void *to; const void *from; size_t bytes; } copy; // from NULL: zeros
typedef struct fiber {
    void *top;
    state state;
    int line, exchanges, n_copy;
    copy copy[MOST_COPIES];             // under way
} fiber;

static struct {
    fiber thread[MOST_THREADS];
    uint32_t given[2][MOST_THREADS][MOST_WORDS];    // to warps, at even and odd exchanges
    struct { int exchange; float sum[16][8]; } product[MOST_THREADS / WARP];    // of a warp, and at which of its exchanges
    uint8_t *stacks;                    // (MOST_THREADS, STACK_BYTES)
    void *scheduler;                    // its stack's top while a thread runs
    int now;
    void (*kernel)(const hone_cuda_call call);
    const char *name;
    const hone_cuda_call *call;
    bool descending;
} block;

static void go(int t)
{
    block.now = t;
    hone_emulated_thread.x = (uint32_t)t;
    hone_emulated_switch(&block.scheduler, block.thread[t].top);
}

static void wait_at(state barrier, int line)
{
    fiber *me = &block.thread[block.now];
    me->state = barrier, me->line = line;
    hone_emulated_switch(&me->top, block.scheduler);
}

static void thread_main(void)
{
    block.kernel(*block.call);
    HONE_ASSERT(block.thread[block.now].n_copy == 0, "kernel %s: thread %d ends before its copies have landed", block.name, block.now);
    wait_at(DONE, 0);
}

// A fresh stack whose first switch "returns" into thread_main, aligned as if it had been called.
static void start(int t)
{
    void **top = (void **)(block.stacks + (size_t)(t + 1) * STACK_BYTES) - 2;
    *top = (void *)(uintptr_t)thread_main;
    top -= 6;
    memset(top, 0, 6 * sizeof *top);
    block.thread[t].top = top, block.thread[t].state = RUNNING;
    block.thread[t].line = block.thread[t].exchanges = block.thread[t].n_copy = 0;
    block.product[t / WARP].exchange = 0;
}

void hone_emulated_barrier(int line) { wait_at(AT_BLOCK, line); }

// Gives `bytes` to the warp and waits until all have given. A thread that goes on may give its next value before others have read
// this one: so there are two, by turns. It cannot be two ahead.
static int give(const void *value, size_t bytes, int line)
{
    fiber *me = &block.thread[block.now];
    const int turn = me->exchanges++ % 2;
    memcpy(block.given[turn][block.now], value, bytes);
    wait_at(AT_WARP, line);
    return turn;
}
static const uint32_t *given(int lane, int turn) { return block.given[turn][block.now / WARP * WARP + lane]; }

double hone_emulated_exchange(double value, int with_lane, int line)
{
    const int turn = give(&value, sizeof value, line);
    memcpy(&value, given(with_lane, turn), sizeof value);
    return value;
}

bool hone_emulated_any(bool value, int line)
{
    const uint32_t word = value;
    const int turn = give(&word, sizeof word, line);
    uint32_t any = 0;
    for (int lane = 0; lane < WARP; lane++) any |= *given(lane, turn);
    return any;
}

// --- matrix cores: the layouts of the PTX ISA ------------------------------------------------------------------------------

static float number(hone_dtype dtype, uint16_t half) { return dtype == HONE_bf16 ? hone_bf16_to_f32(half) : hone_f16_to_f32(half); }

// d (16, 8) += a (16, 16) b (16, 8). Lane 4 i + j has of a: rows i, i + 8 and of each columns 2 j, 2 j + 1 (words 0, 1), then the same
// 8 columns on (words 2, 3); of b: rows 2 j, 2 j + 1 of column i, then 8 rows on; of d: columns 2 j, 2 j + 1 of row i, then of row i + 8.
static void multiply_fragments(float sum[16][8], hone_dtype dtype, int turn)
{
    float a[16][16], b[16][8];
    for (int lane = 0; lane < WARP; lane++)
        for (int word = 0; word < 6; word++)
            for (int e = 0; e < 2; e++) {
                const float x = number(dtype, (uint16_t)(given(lane, turn)[word] >> 16 * e));
                if (word < 4) a[lane / 4 + word % 2 * 8][lane % 4 * 2 + e + word / 2 * 8] = x;
                else b[lane % 4 * 2 + e + (word - 4) * 8][lane / 4] = x;
            }
    memset(sum, 0, 16 * sizeof *sum);
    for (int i = 0; i < 16; i++)
        for (int k = 0; k < 16; k++)
            for (int j = 0; j < 8; j++) sum[i][j] += a[i][k] * b[k][j];
}

// The first of a warp that goes on multiplies for all.
void hone_emulated_mma(hone_dtype dtype, float *d, const uint32_t *a, uint32_t b0, uint32_t b1, int line)
{
    const uint32_t mine[MOST_WORDS] = { a[0], a[1], a[2], a[3], b0, b1 };
    const int turn = give(mine, sizeof mine, line), lane = block.now % WARP, warp = block.now / WARP;
    if (block.product[warp].exchange != block.thread[block.now].exchanges) multiply_fragments(block.product[warp].sum, dtype, turn);
    block.product[warp].exchange = block.thread[block.now].exchanges;
    for (int e = 0; e < 4; e++) d[e] += block.product[warp].sum[lane / 4 + e / 2 * 8][lane % 4 * 2 + e % 2];
}

// Four matrices of 8 x 8 numbers: lane i gives a row, of matrix i / 8; lane 4 i + j gets of each columns 2 j, 2 j + 1 of row i, or
// of its transpose.
void hone_emulated_ldmatrix(uint32_t *r, const void *row, bool transposed, int line)
{
    HONE_ASSERT((uintptr_t)row % 16 == 0, "kernel %s: ldmatrix of a row that is not aligned", block.name);
    const int turn = give(row, 16, line), lane = block.now % WARP;
    for (int m = 0; m < 4; m++) {
        uint32_t pair[2];
        for (int e = 0; e < 2; e++) {
            const int at = lane / 4, along = lane % 4 * 2 + e, i = transposed ? along : at, j = transposed ? at : along;
            pair[e] = given(m * 8 + i, turn)[j / 2] >> (j % 2 * 16) & 0xffff;
        }
        r[m] = pair[0] | pair[1] << 16;
    }
}

// --- copies under way ------------------------------------------------------------------------------------------------------

void hone_emulated_copy_later(void *to, const void *from, size_t bytes)
{
    fiber *me = &block.thread[block.now];
    HONE_ASSERT(me->n_copy < MOST_COPIES, "kernel %s: thread %d has more than %d copies under way", block.name, block.now, MOST_COPIES);
    HONE_ASSERT((uintptr_t)to % bytes == 0 && (uintptr_t)from % bytes == 0, "kernel %s: a copy of %zu bytes that is not aligned", block.name, bytes);
    memset(to, 0xff, bytes);
    me->copy[me->n_copy++] = (copy){ to, from, bytes };
}

void hone_emulated_wait_copies(void)
{
    fiber *me = &block.thread[block.now];
    for (int i = 0; i < me->n_copy; i++)
        if (me->copy[i].from) memcpy(me->copy[i].to, me->copy[i].from, me->copy[i].bytes);
        else memset(me->copy[i].to, 0, me->copy[i].bytes);
    me->n_copy = 0;
}

// All who have not ended wait at one barrier of one kind.
static void check(const fiber *f, const fiber *other)
{
    HONE_ASSERT(f->state == other->state && f->line == other->line, "kernel %s, block (%u, %u): thread %d waits at line %d, thread %d at line %d",
                block.name, hone_emulated_block.x, hone_emulated_block.y, (int)(f - block.thread), f->line, (int)(other - block.thread), other->line);
}

// Runs a warp until its threads wait for the block or are done; returns one who waits, NULL: all are done.
static const fiber *run_warp(int from, int to)
{
    for (;;) {
        const fiber *waits = NULL;
        for (int i = from; i < to; i++) {
            const int t = block.descending ? to - 1 - (i - from) : i;
            if (block.thread[t].state == DONE) continue;
            go(t);
            if (block.thread[t].state == DONE) continue;
            if (waits) check(&block.thread[t], waits);
            waits = &block.thread[t];
        }
        if (!waits || waits->state == AT_BLOCK) return waits;
    }
}

extern uint8_t __start_hone_shared[], __stop_hone_shared[]; // the linker's names of where __shared__ variables lie

static void run_block(int threads)
{
    memset(__start_hone_shared, 0xff, (size_t)(__stop_hone_shared - __start_hone_shared));
    for (int t = 0; t < threads; t++) start(t);
    for (const fiber *waits = block.thread; waits;) {
        waits = NULL;
        for (int i = 0; i < threads; i += WARP) {
            const int from = block.descending ? threads - WARP - i : i;
            const fiber *warp = run_warp(from, from + WARP);
            if (warp && waits) check(warp, waits);
            if (warp) waits = warp;
        }
    }
}

// --- the device ----------------------------------------------------------------------------------------------------------

#define KERNEL(name, threads) void hone_cuda_##name(const hone_cuda_call call);
#include "backend/cuda/kernels.def"
#undef KERNEL
const hone_emulated_kernel hone_emulated_kernels[HONE_CUDA_KERNEL_COUNT] = {
#define KERNEL(name, threads) { hone_cuda_##name, #name, threads },
#include "backend/cuda/kernels.def"
#undef KERNEL
};

void hone_emulated_run(const hone_emulated_kernel *kernel, const hone_cuda_shape *shape, int64_t first, bool descending, const hone_cuda_call *call)
{
    HONE_ASSERT(shape->x < INT64_C(1) << 31 && shape->y < 1 << 16, "kernel %s: a grid of %lld x %lld", kernel->name,
                (long long)shape->x, (long long)shape->y);
    if (!block.stacks) block.stacks = mmap(NULL, (size_t)MOST_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    HONE_ASSERT(block.stacks != MAP_FAILED, "no memory for %d stacks", MOST_THREADS);
    block.kernel = kernel->run, block.name = kernel->name, block.call = call, block.descending = descending;
    hone_emulated_block_size = (hone_emulated_dim){ (uint32_t)kernel->threads, 1, 1 };
    hone_emulated_grid_size = (hone_emulated_dim){ (uint32_t)shape->x, (uint32_t)shape->y, 1 };
    uint8_t *shared = hone_alloc(1, shape->shared_bytes + GUARD_BYTES);
    HONE_ASSERT(shared, "%s", hone_error());
    memset(shared + shape->shared_bytes, GUARD, GUARD_BYTES);
    hone_emulated_shared = shared;
    for (int64_t y = 0; y < shape->y; y++)
        for (int64_t x = first; x < shape->x; x++) {
            hone_emulated_block = (hone_emulated_dim){ (uint32_t)x, (uint32_t)y, 0 };
            memset(shared, 0xff, shape->shared_bytes);
            run_block(kernel->threads);
        }
    for (int i = 0; i < GUARD_BYTES; i++)
        HONE_ASSERT(shared[shape->shared_bytes + (size_t)i] == GUARD, "kernel %s writes behind its shared memory", block.name);
    hone_free(shared);
}

// (rows, cols) in f32 of a matrix that lies so, or transposed.
static float *unpacked(const void *data, hone_dtype dtype, bool transposed, int64_t rows, int64_t cols)
{
    float *plain = hone_alloc((size_t)(rows * cols), sizeof *plain);
    HONE_ASSERT(plain, "%s", hone_error());
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            const int64_t at = transposed ? c * rows + r : r * cols + c;
            plain[r * cols + c] = dtype == HONE_f32 ? ((const float *)data)[at]
                                : dtype == HONE_e4m3 || dtype == HONE_e5m2 ? hone_fp8_value(((const uint8_t *)data)[at], dtype == HONE_e5m2)
                                : number(dtype, ((const uint16_t *)data)[at]);
        }
    return plain;
}

static void put_row(const hone_cuda_gemm *g, int64_t n, const float *sum)
{
    for (int64_t m = 0; m < g->m; m++)
        if (g->to == HONE_f32) ((float *)g->d)[n * g->m + m] = sum[m];
        else ((uint16_t *)g->d)[n * g->m + m] = g->to == HONE_bf16 ? hone_f32_to_bf16(sum[m]) : hone_f32_to_f16(sum[m]);
}

// Sums of codes over what shares scales, all of k or 128 of it, times both scales.
static void multiply_fp8(const hone_cuda_gemm *g)
{
    const int64_t run = g->scaling_a == HONE_FP8_TENSOR ? g->k : HONE_FP8_BLOCK;
    float *a = unpacked(g->a, g->of, false, g->n, g->k), *b = unpacked(g->b, g->of_b, true, g->k, g->m);
    float *sum = hone_alloc((size_t)g->m, sizeof *sum), *part = hone_alloc((size_t)g->m, sizeof *part);
    HONE_ASSERT(sum && part, "%s", hone_error());
    for (int64_t n = 0; n < g->n; n++) {
        memset(sum, 0, (size_t)g->m * sizeof *sum);
        for (int64_t from = 0; from < g->k; from += run) {
            const float scale = g->scale_a[hone_fp8_scale_at(g->scaling_a, g->n, g->k, n, from)];
            memset(part, 0, (size_t)g->m * sizeof *part);
            for (int64_t k = from; k < g->k && k < from + run; k++)
                for (int64_t m = 0; m < g->m; m++) part[m] += a[n * g->k + k] * b[k * g->m + m];
            for (int64_t m = 0; m < g->m; m++) sum[m] += scale * g->scale_b[hone_fp8_scale_at(g->scaling_b, g->m, g->k, m, from)] * part[m];
        }
        for (int64_t m = 0; m < g->m && g->add; m++) sum[m] += ((const float *)g->d)[n * g->m + m];
        put_row(g, n, sum);
    }
    hone_free(a), hone_free(b), hone_free(sum), hone_free(part);
}

void hone_emulated_multiply(const hone_cuda_gemm *g)
{
    const bool fp8 = g->scale_a != NULL;
    HONE_ASSERT(g->to == HONE_f32 || ((fp8 || g->of == g->to) && !g->add), "the product library makes 16 bits only of such, and adds to f32");
    HONE_ASSERT(!fp8 || (!g->a_t && g->b_t && g->n % 16 + g->m % 16 + g->k % 16 == 0 && g->of_b == HONE_e4m3), "not as the product library takes fp8");
    HONE_ASSERT(!fp8 || (g->scaling_a == HONE_FP8_TENSOR) == (g->scaling_b == HONE_FP8_TENSOR), "both operands have a scale for each block, or none");
    if (fp8) {
        multiply_fp8(g);
        return;
    }
    float *a = unpacked(g->a, g->of, g->a_t, g->n, g->k), *b = unpacked(g->b, g->of_b, g->b_t, g->k, g->m);
    float *sum = hone_alloc((size_t)g->m, sizeof *sum);
    HONE_ASSERT(sum, "%s", hone_error());
    for (int64_t n = 0; n < g->n; n++) {
        for (int64_t m = 0; m < g->m; m++) sum[m] = g->add ? ((const float *)g->d)[n * g->m + m] : 0;
        for (int64_t k = 0; k < g->k; k++)
            for (int64_t m = 0; m < g->m; m++) sum[m] += a[n * g->k + k] * b[k * g->m + m];
        put_row(g, n, sum);
    }
    hone_free(a), hone_free(b), hone_free(sum);
}
