// gpu.c: the device that is a GPU: memory, streams, launches, products, graphs; `hone_backend_cuda`.
//
// What can fail at open and alloc is told as any other failure. What fails later (a launch, a copy, what a kernel did, found at the
// next synchronisation) cannot be mended. Then one message names device, call, cause and what to do (faults.def), and the process ends
// with an exit code of its own (HONE_DEVICE_LOST), by which a supervisor knows to go on elsewhere; checkpoints that were written are whole.
// HONE_GPU (an ordinal, 0 by default) chooses among several.
#include "backend/backends.h"
#include "backend/cuda/cuda.h"
#include "backend/cuda/library.h"
#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


// A shape of product and what the library chose for it, once.
typedef struct plan {
    hone_cuda_gemm shape;           // pointers as their alignment
    void *description, *a, *b, *d;  // the library's: its a is our b, since it counts columns first
    hone_cublaslt_algorithm algorithm;
} plan;

typedef struct gpu {
    const hone_cuda_driver *driver;
    const hone_cublaslt *blas;
    int ordinal, device;
    char name[96];
    void *context, *module, *function[HONE_CUDA_KERNEL_COUNT], *stream[HONE_STREAMS], *event[HONE_EVENTS], *handle;
    plan *plans;
    int64_t n_plan, plan_capacity;
    size_t planned_bytes;           // taken for sessions
    hone_cuda_backend backend;
} gpu;

#ifdef HONE_CUDA_MODULE     // built with nvcc
extern const uint8_t hone_cuda_module[];    // module.S
static const uint8_t *module(void) { return hone_cuda_module; }
#else
static const uint8_t *module(void) { return NULL; }
#endif

static const struct { const char *name; int threads; } kernels[HONE_CUDA_KERNEL_COUNT] = {
#define KERNEL(name, threads) { "hone_cuda_" #name, threads },
#include "backend/cuda/kernels.def"
#undef KERNEL
};

// --- errors --------------------------------------------------------------------------------------------------------------

static const char *advice(int error)
{
    switch (error) {
#define FAULT(name, code, advice) case code: return "; " advice;
#include "backend/cuda/faults.def"
#undef FAULT
    default: return "";
    }
}

static hone_status told(const gpu *g, const char *call, int error)
{
    const char *name = "unknown error", *text = "";
    char planned[128] = "";
    if (!error) return HONE_OK;
    g->driver->cuGetErrorName(error, &name);
    g->driver->cuGetErrorString(error, &text);
    if (error == HONE_CU_OUT_OF_MEMORY && g->planned_bytes)
        snprintf(planned, sizeof planned, "; the plan's %.1f MiB are there, what the driver needs beside them is not", (double)g->planned_bytes / 0x1p20);
    return hone_fail("GPU %d%s%s%s: %s: %s (%d), %s%s%s", g->ordinal, *g->name ? " (" : "", g->name, *g->name ? ")" : "", call, name, error, text, planned, advice(error));
}

// What fails under way cannot be mended: the context is gone with all that lies on the device.
static _Noreturn void give_up(void)
{
    fflush(stdout);
    fprintf(stderr, "hone: %s; the last checkpoint is whole\n", hone_error());
    _exit(HONE_DEVICE_LOST);
}

static void must(const gpu *g, const char *call, int error)
{
    if (told(g, call, error)) give_up();
}

static void use(const gpu *g) { must(g, "cuCtxSetCurrent", g->driver->cuCtxSetCurrent(g->context)); } // any thread may call

// --- memory --------------------------------------------------------------------------------------------------------------

static void gpu_clear(void *self, void *to, size_t bytes, int stream)
{
    const gpu *g = self;
    use(g);
    must(g, "cuMemsetD8Async", g->driver->cuMemsetD8Async((uintptr_t)to, 0, bytes, g->stream[stream]));
}

static hone_status gpu_alloc(void *self, hone_space space, size_t bytes, void **pointer)
{
    gpu *g = self;
    use(g);
    if (space == HONE_SPACE_HOST) {
        const int error = g->driver->cuMemHostAlloc(pointer, bytes + 1, HONE_CU_HOST_PORTABLE);
        if (error == HONE_CU_OUT_OF_MEMORY)
            return hone_fail("GPU %d (%s): cuMemHostAlloc: CUDA_ERROR_OUT_OF_MEMORY: the host has no %.1f MiB that it could lock into its memory", g->ordinal, g->name,
                             (double)bytes / 0x1p20);
        if (told(g, "cuMemHostAlloc", error)) return HONE_FAILED;
        memset(*pointer, 0, bytes);
        return HONE_OK;
    }
    uint64_t place = 0;
    size_t available = 0, total = 0;
    const int error = g->driver->cuMemAlloc_v2(&place, bytes + 1);
    if (error == HONE_CU_OUT_OF_MEMORY && !g->driver->cuMemGetInfo_v2(&available, &total))
        return hone_fail("GPU %d (%s): the plan needs %.1f MiB, %.1f of %.1f MiB are free; take fewer rows a micro-batch, or gradient_checkpointing",
                         g->ordinal, g->name, (double)bytes / 0x1p20, (double)available / 0x1p20, (double)total / 0x1p20);
    if (told(g, "cuMemAlloc", error)) return HONE_FAILED;
    g->planned_bytes += bytes;
    *pointer = (void *)(uintptr_t)place;
    gpu_clear(g, *pointer, bytes, 0);
    must(g, "cuStreamSynchronize", g->driver->cuStreamSynchronize(g->stream[0]));
    return HONE_OK;
}

static void gpu_release(void *self, hone_space space, void *pointer, size_t bytes)
{
    gpu *g = self;
    use(g);
    if (space == HONE_SPACE_HOST) must(g, "cuMemFreeHost", g->driver->cuMemFreeHost(pointer));
    else must(g, "cuMemFree", g->driver->cuMemFree_v2((uintptr_t)pointer)), g->planned_bytes -= bytes;
}

static void gpu_copy(void *self, void *to, const void *from, size_t bytes, int stream)
{
    const gpu *g = self;
    use(g);
    must(g, "cuMemcpyAsync", g->driver->cuMemcpyAsync((uintptr_t)to, (uintptr_t)from, bytes, g->stream[stream]));
}

// --- launches ------------------------------------------------------------------------------------------------------------

static void gpu_launch(void *self, hone_cuda_kernel kernel, const hone_cuda_shape *shape, const hone_cuda_call *call, int stream)
{
    const gpu *g = self;
    hone_cuda_call copy = *call;
    void *parameters[] = { &copy };
    use(g);
    must(g, kernels[kernel].name, g->driver->cuLaunchKernel(g->function[kernel], (unsigned)shape->x, (unsigned)shape->y, 1, (unsigned)kernels[kernel].threads,
                                                            1, 1, (unsigned)shape->shared_bytes, g->stream[stream], parameters, NULL));
}

// --- products ------------------------------------------------------------------------------------------------------------

static int type_of(hone_dtype dtype)
{
    static const int of[] = { [HONE_f32] = HONE_LT_R_32F, [HONE_bf16] = HONE_LT_R_16BF, [HONE_f16] = HONE_LT_R_16F, [HONE_e4m3] = HONE_LT_R_E4M3, [HONE_e5m2] = HONE_LT_R_E5M2 };
    return of[dtype];
}

static void must_blas(const gpu *g, const char *call, int status, const hone_cuda_gemm *s)
{
    if (!status) return;
    hone_fail("GPU %d (%s): %s of %s: status %d for a product of %lld x %lld x %lld of %s", g->ordinal, g->name, call, g->blas->path, status,
              (long long)s->n, (long long)s->m, (long long)s->k, hone_dtype_name(s->of));
    give_up();
}

// The largest power of two, up to 256, that an address is a multiple of.
static uint32_t alignment(const void *pointer)
{
    const uintptr_t address = (uintptr_t)pointer | 256;
    return (uint32_t)(address & -address);
}

static bool same(const hone_cuda_gemm *x, const hone_cuda_gemm *y)
{
    return x->n == y->n && x->m == y->m && x->k == y->k && x->a_t == y->a_t && x->b_t == y->b_t && x->add == y->add && x->of == y->of && x->of_b == y->of_b && x->to == y->to
        && x->fast == y->fast && x->scaling_a == y->scaling_a && x->scaling_b == y->scaling_b && x->a == y->a && x->b == y->b && x->d == y->d;
}

// Row-major (rows, cols) as the library sees it.
static void *layout_of(const gpu *g, const hone_cuda_gemm *s, hone_dtype dtype, int64_t rows, int64_t cols)
{
    void *layout = NULL;
    must_blas(g, "cublasLtMatrixLayoutCreate", g->blas->cublasLtMatrixLayoutCreate(&layout, type_of(dtype), (uint64_t)cols, (uint64_t)rows, cols), s);
    return layout;
}

static void set(const gpu *g, const plan *p, int attribute, const void *value, size_t bytes)
{
    must_blas(g, "cublasLtMatmulDescSetAttribute", g->blas->cublasLtMatmulDescSetAttribute(p->description, attribute, value, bytes), &p->shape);
}

// Scales are numbers on the device: where they lie is told before each product (and before one is chosen), what they are never.
static void set_scales(const gpu *g, const plan *p, const hone_cuda_gemm *gemm)
{
    if (!gemm->scale_a) return;
    set(g, p, HONE_LT_A_SCALE, &gemm->scale_b, sizeof gemm->scale_b);
    set(g, p, HONE_LT_B_SCALE, &gemm->scale_a, sizeof gemm->scale_a);
}

// What shares a scale, where that is not all of an operand.
static void set_scaling(const gpu *g, const plan *p, int attribute, hone_fp8_scaling scaling)
{
    const int mode = scaling == HONE_FP8_RUNS ? HONE_LT_SCALE_VEC128 : HONE_LT_SCALE_BLK128;
    if (scaling != HONE_FP8_TENSOR) set(g, p, attribute, &mode, sizeof mode);
}

static void choose(const gpu *g, plan *p, const hone_cuda_gemm *gemm)
{
    const hone_cublaslt *lt = g->blas;
    const hone_cuda_gemm *s = &p->shape;
    const int trans_a = s->b_t ? HONE_LT_T : HONE_LT_N, trans_b = s->a_t ? HONE_LT_T : HONE_LT_N;
    const size_t room = HONE_CUDA_GEMM_BYTES;
    const uint32_t at_a = (uint32_t)(uintptr_t)s->b, at_b = (uint32_t)(uintptr_t)s->a, at_d = (uint32_t)(uintptr_t)s->d;
    void *preference = NULL;
    hone_cublaslt_choice choice;
    int found = 0;
    must_blas(g, "cublasLtMatmulDescCreate", lt->cublasLtMatmulDescCreate(&p->description, HONE_LT_COMPUTE_32F, HONE_LT_R_32F), s);
    const int8_t fast = s->fast;
    set(g, p, HONE_LT_TRANS_A, &trans_a, sizeof trans_a);
    set(g, p, HONE_LT_TRANS_B, &trans_b, sizeof trans_b);
    if (gemm->scale_a) set(g, p, HONE_LT_FAST_ACCUM, &fast, sizeof fast);
    set_scaling(g, p, HONE_LT_A_SCALE_MODE, s->scaling_b);
    set_scaling(g, p, HONE_LT_B_SCALE_MODE, s->scaling_a);
    set_scales(g, p, gemm);
    p->a = s->b_t ? layout_of(g, s, s->of_b, s->m, s->k) : layout_of(g, s, s->of_b, s->k, s->m);
    p->b = s->a_t ? layout_of(g, s, s->of, s->k, s->n) : layout_of(g, s, s->of, s->n, s->k);
    p->d = layout_of(g, s, s->to, s->n, s->m);
    must_blas(g, "cublasLtMatmulPreferenceCreate", lt->cublasLtMatmulPreferenceCreate(&preference), s);
    const struct { int attribute; const void *value; size_t bytes; } bound[] = {
        { HONE_LT_PREFERENCE_WORKSPACE, &room, sizeof room }, { HONE_LT_PREFERENCE_ALIGNMENT_A, &at_a, sizeof at_a },
        { HONE_LT_PREFERENCE_ALIGNMENT_B, &at_b, sizeof at_b }, { HONE_LT_PREFERENCE_ALIGNMENT_C, &at_d, sizeof at_d },
        { HONE_LT_PREFERENCE_ALIGNMENT_D, &at_d, sizeof at_d } };
    for (size_t i = 0; i < sizeof bound / sizeof *bound; i++)
        must_blas(g, "cublasLtMatmulPreferenceSetAttribute",
                  lt->cublasLtMatmulPreferenceSetAttribute(preference, bound[i].attribute, bound[i].value, bound[i].bytes), s);
    const int status = lt->cublasLtMatmulAlgoGetHeuristic(g->handle, p->description, p->a, p->b, p->d, p->d, preference, 1, &choice, &found);
    lt->cublasLtMatmulPreferenceDestroy(preference);
    must_blas(g, "cublasLtMatmulAlgoGetHeuristic", status ? status : found < 1 ? -1 : 0, s);
    p->algorithm = choice.algorithm;
}

static const plan *plan_of(gpu *g, const hone_cuda_gemm *gemm)
{
    hone_cuda_gemm shape = *gemm;
    shape.a = (const void *)(uintptr_t)alignment(gemm->a), shape.b = (const void *)(uintptr_t)alignment(gemm->b);
    shape.d = (void *)(uintptr_t)alignment(gemm->d);
    shape.scale_a = shape.scale_b = NULL;   // where they lie is no part of it
    for (int64_t i = 0; i < g->n_plan; i++)
        if (same(&g->plans[i].shape, &shape)) return &g->plans[i];
    if (hone_grow(&g->plans, g->n_plan, &g->plan_capacity, sizeof *g->plans)) must(g, "plan of a product", HONE_CU_OUT_OF_MEMORY);
    plan *p = &g->plans[g->n_plan++];
    *p = (plan){ .shape = shape };
    choose(g, p, gemm);
    return p;
}

static void gpu_gemm(void *self, const hone_cuda_gemm *gemm, void *scratch, int stream)
{
    gpu *g = self;
    const float one = 1, addition = gemm->add;
    use(g);
    const plan *p = plan_of(g, gemm);
    set_scales(g, p, gemm);
    must_blas(g, "cublasLtMatmul", g->blas->cublasLtMatmul(g->handle, p->description, &one, gemm->b, p->a, gemm->a, p->b, &addition, gemm->d, p->d, gemm->d,
                                                           p->d, &p->algorithm, scratch, HONE_CUDA_GEMM_BYTES, g->stream[stream]), gemm);
}

// --- streams and graphs --------------------------------------------------------------------------------------------------

static gpu *gpu_of(void *self) { return ((hone_cuda_backend *)self)->device.self; }

static void gpu_synchronize(void *self)
{
    const gpu *g = gpu_of(self);
    use(g);
    for (int i = 0; i < HONE_STREAMS; i++) must(g, "cuStreamSynchronize", g->driver->cuStreamSynchronize(g->stream[i]));
}

static void gpu_record(void *self, int event, int stream)
{
    const gpu *g = gpu_of(self);
    use(g);
    must(g, "cuEventRecord", g->driver->cuEventRecord(g->event[event], g->stream[stream]));
}

static void gpu_wait(void *self, int event, int stream)
{
    const gpu *g = gpu_of(self);
    use(g);
    must(g, "cuStreamWaitEvent", g->driver->cuStreamWaitEvent(g->stream[stream], g->event[event], 0));
}

static void *gpu_native_stream(void *self, int stream) { return gpu_of(self)->stream[stream]; }

static hone_status gpu_capture_begin(void *self)
{
    gpu *g = gpu_of(self);
    use(g);
    return told(g, "cuStreamBeginCapture", g->driver->cuStreamBeginCapture_v2(g->stream[0], HONE_CU_CAPTURE_THREAD_LOCAL));
}

static hone_status gpu_capture_end(void *self, void **captured)
{
    gpu *g = gpu_of(self);
    void *graph = NULL;
    hone_status status = told(g, "cuStreamEndCapture", g->driver->cuStreamEndCapture(g->stream[0], &graph));
    if (!status) status = told(g, "cuGraphInstantiate", g->driver->cuGraphInstantiateWithFlags(captured, graph, 0));
    if (graph) g->driver->cuGraphDestroy(graph);
    return status;
}

static void gpu_replay(void *self, void *captured)
{
    const gpu *g = gpu_of(self);
    use(g);
    must(g, "cuGraphLaunch", g->driver->cuGraphLaunch(captured, g->stream[0]));
}

static void gpu_forget(void *self, void *captured)
{
    const gpu *g = gpu_of(self);
    use(g);
    must(g, "cuGraphExecDestroy", g->driver->cuGraphExecDestroy(captured));
}

// --- opening and closing ---------------------------------------------------------------------------------------------------

static hone_status find_device(gpu *g)
{
    const hone_cuda_driver *d = g->driver;
    const char *asked = getenv("HONE_GPU");
    int version = 0, count = 0;
    int error = d->cuInit(0);
    if (error == HONE_CU_NO_DEVICE) return hone_fail("the driver finds no GPU; CUDA_VISIBLE_DEVICES may hide it");
    if (told(g, "cuInit", error) || told(g, "cuDriverGetVersion", d->cuDriverGetVersion(&version))) return HONE_FAILED;
    if (version < HONE_CUDA_VERSION)
        return hone_fail("the NVIDIA driver is for CUDA %d.%d, hone's kernels need %d.%d: update the driver", version / 1000, version % 1000 / 10,
                         HONE_CUDA_VERSION / 1000, HONE_CUDA_VERSION % 1000 / 10);
    char *end = NULL;
    const long ordinal = asked ? strtol(asked, &end, 10) : 0;
    if (asked && (end == asked || *end)) return hone_fail("HONE_GPU is %s; it is a GPU's number, counted from 0", asked);
    if (told(g, "cuDeviceGetCount", d->cuDeviceGetCount(&count))) return HONE_FAILED;
    if (ordinal < 0 || ordinal >= count) return hone_fail("HONE_GPU is %s; there are %d GPUs, counted from 0", asked, count);
    g->ordinal = (int)ordinal;
    error = d->cuDeviceGet(&g->device, g->ordinal);
    if (!error) error = d->cuDeviceGetName(g->name, sizeof g->name, g->device);
    return told(g, "cuDeviceGet", error);
}

static hone_status load_kernels(gpu *g)
{
    int shared = 0, major = 0, minor = 0;
    if (!module()) return hone_fail("this hone was built without nvcc and has no CUDA kernels: build it where CUDA %d.%d's nvcc is on the PATH",
                                            HONE_CUDA_VERSION / 1000, HONE_CUDA_VERSION % 1000 / 10);
    if (told(g, "cuModuleLoadData", g->driver->cuModuleLoadData(&g->module, module()))) return HONE_FAILED;
    if (told(g, "cuDeviceGetAttribute", g->driver->cuDeviceGetAttribute(&shared, HONE_CU_ATTRIBUTE_SHARED_OPTIN, g->device))) return HONE_FAILED;
    for (int i = 0; i < HONE_CUDA_KERNEL_COUNT; i++)
        if (told(g, kernels[i].name, g->driver->cuModuleGetFunction(&g->function[i], g->module, kernels[i].name))) return HONE_FAILED;
    shared -= 4 << 10; // what kernels declare themselves: less than 2 KiB beside dynamic memory
    static const hone_cuda_kernel large[] = {
#define KERNEL(name, threads)
#define LARGE(name, threads) HONE_CUDA_##name,
#include "backend/cuda/kernels.def"
#undef KERNEL
    };
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        if (told(g, "cuFuncSetAttribute", g->driver->cuFuncSetAttribute(g->function[large[i]], HONE_CU_FUNCTION_DYNAMIC_SHARED, shared))) return HONE_FAILED;
    g->backend.device.shared_bytes = shared;
    if (told(g, "cuDeviceGetAttribute", g->driver->cuDeviceGetAttribute(&major, HONE_CU_ATTRIBUTE_MAJOR, g->device))) return HONE_FAILED;
    if (told(g, "cuDeviceGetAttribute", g->driver->cuDeviceGetAttribute(&minor, HONE_CU_ATTRIBUTE_MINOR, g->device))) return HONE_FAILED;
    g->backend.device.fp8 = hone_fp8_on(10 * major + minor), g->backend.device.fp8_blocks = hone_fp8_blocks_on(10 * major + minor);
    return HONE_OK;
}

static void gpu_close(void *self)
{
    gpu *g = gpu_of(self);
    if (g->context) g->driver->cuCtxSetCurrent(g->context);
    for (int64_t i = 0; i < g->n_plan; i++) {
        g->blas->cublasLtMatmulDescDestroy(g->plans[i].description);
        void *layouts[] = { g->plans[i].a, g->plans[i].b, g->plans[i].d };
        for (int k = 0; k < 3; k++) g->blas->cublasLtMatrixLayoutDestroy(layouts[k]);
    }
    hone_free(g->plans);
    if (g->handle) g->blas->cublasLtDestroy(g->handle);
    for (int i = 0; i < HONE_EVENTS; i++)
        if (g->event[i]) g->driver->cuEventDestroy_v2(g->event[i]);
    for (int i = 0; i < HONE_STREAMS; i++)
        if (g->stream[i]) g->driver->cuStreamDestroy_v2(g->stream[i]);
    if (g->module) g->driver->cuModuleUnload(g->module);
    if (g->context) g->driver->cuDevicePrimaryCtxRelease_v2(g->device);
    hone_free(g);
}

static hone_status open_libraries(gpu *g)
{
    if (hone_cuda_driver_open(&g->driver) || find_device(g) || hone_cublaslt_open(&g->blas)) return HONE_FAILED;
    if (told(g, "cuDevicePrimaryCtxRetain", g->driver->cuDevicePrimaryCtxRetain(&g->context, g->device))) return HONE_FAILED;
    if (told(g, "cuCtxSetCurrent", g->driver->cuCtxSetCurrent(g->context)) || load_kernels(g)) return HONE_FAILED;
    for (int i = 0; i < HONE_STREAMS; i++)
        if (told(g, "cuStreamCreate", g->driver->cuStreamCreate(&g->stream[i], HONE_CU_STREAM_NON_BLOCKING))) return HONE_FAILED;
    for (int i = 0; i < HONE_EVENTS; i++)
        if (told(g, "cuEventCreate", g->driver->cuEventCreate(&g->event[i], HONE_CU_EVENT_DISABLE_TIMING))) return HONE_FAILED;
    const int status = g->blas->cublasLtCreate(&g->handle);
    return status ? hone_fail("%s: cublasLtCreate: status %d", g->blas->path, status) : HONE_OK;
}

void hone_cuda_describe(char driver[256], char products[640])
{
    gpu g = { 0 };
    int version = 0, major = 0, minor = 0;
    size_t bytes = 0;
    if (hone_cuda_driver_open(&g.driver) || find_device(&g) || told(&g, "cuDeviceTotalMem", g.driver->cuDeviceTotalMem_v2(&bytes, g.device)))
        snprintf(driver, 256, "not usable: %s", hone_error());
    else {
        g.driver->cuDriverGetVersion(&version);
        g.driver->cuDeviceGetAttribute(&major, HONE_CU_ATTRIBUTE_MAJOR, g.device);
        g.driver->cuDeviceGetAttribute(&minor, HONE_CU_ATTRIBUTE_MINOR, g.device);
        snprintf(driver, 256, "GPU %d: %s, %.1f GiB, compute capability %d.%d; driver for CUDA %d.%d%s", g.ordinal, g.name, (double)bytes / 0x1p30, major,
                 minor, version / 1000, version % 1000 / 10, module() ? "" : "; this hone was built without kernels for it");
    }
    if (hone_cublaslt_open(&g.blas)) snprintf(products, 640, "not found: %s", hone_error());
    else snprintf(products, 640, "%zu.%zu, %s", g.blas->cublasLtGetVersion() / 10000, g.blas->cublasLtGetVersion() / 100 % 100, g.blas->path);
    hone_error_clear();
}

static hone_status gpu_open(const hone_backend_options *options, void **self)
{
    (void)options; // threads and instruction sets are the CPU's
    gpu *g = hone_alloc(1, sizeof *g);
    if (!g) return HONE_FAILED;
    g->backend = (hone_cuda_backend){ .device = { .self = g, .gemm_bytes = HONE_CUDA_GEMM_BYTES, .launch = gpu_launch, .gemm = gpu_gemm },
                                      .alloc = gpu_alloc, .release = gpu_release, .copy = gpu_copy, .clear = gpu_clear };
    if (open_libraries(g)) {
        gpu_close(&g->backend);
        return HONE_FAILED;
    }
    *self = &g->backend;
    return HONE_OK;
}

const hone_backend hone_backend_cuda = {
    HONE_CUDA_SEAM,
    .name = "cuda",
    .open = gpu_open,
    .close = gpu_close,
    .record = gpu_record,
    .wait = gpu_wait,
    .synchronize = gpu_synchronize,
    .native_stream = gpu_native_stream,
    .capture_begin = gpu_capture_begin,
    .capture_end = gpu_capture_end,
    .replay = gpu_replay,
    .forget = gpu_forget,
};
