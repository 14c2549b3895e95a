// planned.c: backend cuda where no GPU is, for plans alone: what `hone plan --on` takes for machines whose products this one's kernels
// do not make. It accepts what a Hopper does, so that a plan's arena is the one that a run there has; it holds and runs nothing.
#include "backend/backends.h"
#include "backend/cuda/cuda.h"
#include "base/memory.h"

enum { SHARED_BYTES = 223 << 10 };      // of 227 KiB that a block may ask for, as gpu.c takes them

static hone_status plan_alloc(void *self, hone_space space, size_t bytes, void **pointer)
{
    (void)self, (void)space, (void)bytes, (void)pointer;
    return hone_fail("backend cuda_planned only plans; run with backend: cuda where a GPU is");
}
static void plan_release(void *self, hone_space space, void *pointer, size_t bytes) { (void)self, (void)space, (void)pointer, (void)bytes; }
static void *plan_native_stream(void *self, int stream) { (void)self, (void)stream; return NULL; }

static hone_status plan_open(const hone_backend_options *options, void **self)
{
    (void)options;
    hone_cuda_backend *cuda = hone_alloc(1, sizeof *cuda);
    if (!cuda) return HONE_FAILED;
    *cuda = (hone_cuda_backend){ .device = { .shared_bytes = SHARED_BYTES, .gemm_bytes = HONE_CUDA_GEMM_BYTES, .fp8 = true, .fp8_blocks = true }, .alloc = plan_alloc, .release = plan_release };
    *self = cuda;
    return HONE_OK;
}
static void plan_close(void *self) { hone_free(self); }

const hone_backend hone_backend_cuda_planned = { HONE_CUDA_SEAM, .name = "cuda_planned", .open = plan_open, .close = plan_close, .native_stream = plan_native_stream };
