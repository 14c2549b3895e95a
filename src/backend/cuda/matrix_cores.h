// matrix_cores.h: products on matrix cores (sm_80 and later) as kernels see them: tiles of bf16 or f16 in shared memory, copies that fill
// them while threads work on, fragments, and mma.m16n8k16.
//
// A tile has rows of W numbers, 64 or 128, in chunks of 8 (16 bytes). Chunk k of row r lies where chunk k ^ (r mod 8) would: the 8 rows
// that a fragment takes of one chunk, and the 8 chunks of a row that neighbouring threads fill, are then in all 32 banks once.
// Registers hold fragments (16 x 16 of a, 16 x 8 of b and of the sums) as the PTX ISA lays them out: lane 4 i + j has columns 2 j and
// 2 j + 1 of rows i and i + 8. A pair of sums, rounded, is the word of a fragment of the next product.
#pragma once
#include "backend/cuda/kernel.h"

enum { CHUNK = 8 };

#ifdef __CUDACC__
HONE_DEVICE uint32_t shared_address(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

// 16 or 4 bytes of global to shared memory, or zeros. They are there behind wait_copies(), for other threads behind the barrier after it.
HONE_DEVICE void copy_later16(void *to, const void *from, bool is_there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(shared_address(to)), "l"(from), "r"(is_there ? 16 : 0) : "memory");
}
HONE_DEVICE void copy_later4(void *to, const void *from, bool is_there)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" :: "r"(shared_address(to)), "l"(from), "r"(is_there ? 4 : 0) : "memory");
}
HONE_DEVICE void wait_copies(void) { asm volatile("cp.async.wait_all;" ::: "memory"); }

// Four matrices of 8 x 8, each lane with the address of one row.
HONE_DEVICE void load_matrices(uint32_t r[4], const uint16_t *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
HONE_DEVICE void load_transposed(uint32_t r[4], const uint16_t *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
// d (16, 8) += a (16, 16) b (16, 8). dtype: bf16 or f16, a constant where this is called, as in all that follows
HONE_DEVICE void multiply_add(hone_dtype dtype, float d[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    if (dtype == HONE_f16)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// x, of which the compiler knows nothing: what is made of it is made where it is needed, not kept in registers across a loop.
HONE_DEVICE int made_here(int x)
{
    asm volatile("" : "+r"(x));
    return x;
}
// Two numbers, rounded to nearest.
HONE_DEVICE uint32_t pair_of(hone_dtype dtype, float low, float high)
{
    uint32_t pair;
    if (dtype == HONE_f16) asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    else asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
// 2^x to 2 ulp, 0 for -inf
HONE_DEVICE float power_of_2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
HONE_DEVICE float reciprocal(float x) // to 1 ulp
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#else
#define copy_later16(to, from, is_there) hone_emulated_copy_later(to, (is_there) ? (from) : NULL, 16)
#define copy_later4(to, from, is_there) hone_emulated_copy_later(to, (is_there) ? (from) : NULL, 4)
#define wait_copies() hone_emulated_wait_copies()
#define load_matrices(r, row) hone_emulated_ldmatrix(r, row, false, __LINE__)
#define load_transposed(r, row) hone_emulated_ldmatrix(r, row, true, __LINE__)
#define multiply_add(dtype, d, a, b0, b1) hone_emulated_mma(dtype, d, a, b0, b1, __LINE__)
HONE_DEVICE int made_here(int x) { return x; }
HONE_DEVICE uint32_t pair_of(hone_dtype dtype, float low, float high) { return half_of(dtype, low) | (uint32_t)half_of(dtype, high) << 16; }
HONE_DEVICE float power_of_2(float x) { return exp2f(x); }
HONE_DEVICE float reciprocal(float x) { return 1 / x; }
#endif

// --- tiles ---------------------------------------------------------------------------------------------------------------

HONE_DEVICE int place(int W, int row, int chunk) { return row * W + (chunk ^ (row & 7)) * CHUNK; }

// Begins to fill a tile with rows [at, at + rows) of x, columns [column, column + D); rows outside [from, to) and columns from D are zeros.
HONE_DEVICE void fill_tile(uint16_t *tile, int W, int rows, int threads, const hone_cuda_view *x, int64_t at, int64_t from, int64_t to,
                           int64_t column, int D)
{
    const int r = (int)threadIdx.x / (W / CHUNK), k = (int)threadIdx.x % (W / CHUNK), step = threads / (W / CHUNK); // a multiple of 8 rows
    const uint16_t *data = (const uint16_t *)x->data + (at + r) * x->cols + column + k * CHUNK;
    UNROLL
    for (int i = 0; i < rows / step; i++, data += step * x->cols) {
        const int64_t row = at + r + i * step;
        const bool is_there = row >= from && row < to && k * CHUNK < D;
        copy_later16(&tile[place(W, r, k) + i * step * W], is_there ? data : (const uint16_t *)x->data, is_there);
    }
}

// --- products of a warp --------------------------------------------------------------------------------------------------
// Sums are s[m][n]: 16 rows m by 8 columns n. M, J, W are constants where these are called, so that all loops unroll.

// s (16 M, J) = a b^T: rows [row, row + 16 M) of tile a by all J of tile b, over W columns
HONE_DEVICE void multiply_tiles(hone_dtype dtype, float s[][8][4], int M, int J, int W, const uint16_t *a, int row, const uint16_t *b)
{
    const int lane = made_here((int)threadIdx.x % WARP), turned_a = lane / 16 ^ lane % 8, turned_b = lane / 8 % 2 ^ lane % 8;
    const uint16_t *row_a = a + (row + lane % 16) * W, *row_b = b + (lane / 16 * 8 + lane % 8) * W;
    UNROLL
    for (int m = 0; m < M; m++)
        UNROLL
        for (int n = 0; n < J / 8; n++) s[m][n][0] = s[m][n][1] = s[m][n][2] = s[m][n][3] = 0;
    UNROLL
    for (int k = 0; k < W / 16; k++) {
        uint32_t x[2][4];
        UNROLL
        for (int m = 0; m < M; m++) load_matrices(x[m], row_a + 16 * m * W + (2 * k ^ turned_a) * CHUNK);
        UNROLL
        for (int n = 0; n < J / 16; n++) {
            uint32_t y[4];
            load_matrices(y, row_b + 16 * n * W + (2 * k ^ turned_b) * CHUNK);
            UNROLL
            for (int m = 0; m < M; m++) {
                multiply_add(dtype, s[m][2 * n], x[m], y[0], y[1]);
                multiply_add(dtype, s[m][2 * n + 1], x[m], y[2], y[3]);
            }
        }
    }
}

// sum (16 M, W) += p (16 M, J), rounded, by tile b (J, W)
HONE_DEVICE void add_product(hone_dtype dtype, float sum[][16][4], int M, int J, int W, float p[][8][4], const uint16_t *b)
{
    const int lane = made_here((int)threadIdx.x % WARP), turned = lane / 16 ^ lane % 8;
    const uint16_t *row = b + lane % 16 * W;
    UNROLL
    for (int k = 0; k < J / 16; k++) {
        uint32_t x[2][4];
        UNROLL
        for (int m = 0; m < M; m++)
            UNROLL
            for (int i = 0; i < 4; i++) x[m][i] = pair_of(dtype, p[m][2 * k + i / 2][i % 2 * 2], p[m][2 * k + i / 2][i % 2 * 2 + 1]);
        UNROLL
        for (int n = 0; n < W / 16; n++) {
            uint32_t y[4];
            load_transposed(y, row + 16 * k * W + (2 * n ^ turned) * CHUNK);
            UNROLL
            for (int m = 0; m < M; m++) {
                multiply_add(dtype, sum[m][2 * n], x[m], y[0], y[1]);
                multiply_add(dtype, sum[m][2 * n + 1], x[m], y[2], y[3]);
            }
        }
    }
}
