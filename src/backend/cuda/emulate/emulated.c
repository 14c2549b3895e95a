// emulated.c: the emulator as a backend. Memory is the host's. Option `threads` 2 runs the threads of every block in descending
// order: results must be the same bits.
#include "backend/cuda/emulate/emulated.h"
#include "backend/cuda/cuda.h"
#include "base/memory.h"
#include <string.h>

static void launch(void *self, hone_cuda_kernel kernel, const hone_cuda_shape *shape, const hone_cuda_call *call, int stream)
{
    const bool *descending = self;
    (void)stream;
    hone_emulated_run(&hone_emulated_kernels[kernel], shape, 0, *descending, call);
}

static void multiply(void *self, const hone_cuda_gemm *gemm, void *scratch, int stream)
{
    (void)self, (void)scratch, (void)stream;
    hone_emulated_multiply(gemm);
}

static hone_status take(void *self, hone_space space, size_t bytes, void **pointer)
{
    (void)self, (void)space;
    *pointer = hone_pages_alloc(bytes);
    return *pointer ? HONE_OK : HONE_FAILED;
}

static void give_back(void *self, hone_space space, void *pointer, size_t bytes)
{
    (void)self, (void)space;
    hone_pages_free(pointer, bytes);
}

static void copy(void *self, void *to, const void *from, size_t bytes, int stream)
{
    (void)self, (void)stream;
    memcpy(to, from, bytes);
}

static void clear(void *self, void *to, size_t bytes, int stream)
{
    (void)self, (void)stream;
    memset(to, 0, bytes);
}

static hone_status open_emulated(const hone_backend_options *options, void **self)
{
    static bool descending[2] = { false, true };
    hone_cuda_backend *cuda = hone_alloc(1, sizeof *cuda);
    if (!cuda) return HONE_FAILED;
    *cuda = (hone_cuda_backend){
        .device = { .self = &descending[options->threads == 2], .shared_bytes = 99 << 10, .launch = launch, .gemm = multiply, .fp8 = true, .fp8_blocks = true }, // memory as on sm_89, products as on sm_90
        .alloc = take, .release = give_back, .copy = copy, .clear = clear,
    };
    *self = cuda;
    return HONE_OK;
}

static void close_emulated(void *self) { hone_free(self); }

const hone_backend hone_backend_emulated = { HONE_CUDA_SEAM, .name = "cuda, emulated", .open = open_emulated, .close = close_emulated };
