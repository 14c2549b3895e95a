// cuda_stub.c: a CUDA driver and a cuBLASLt on the host, for tests: one shared object that HONE_LIBCUDA and HONE_CUBLASLT name.
//
// Kernels run in the emulator, products in plain loops, streams and events as cuda_streams.h has it, a captured graph is the list of what was
// asked for between begin and end. So `backend: cuda` runs whole programs where no GPU is, by the same calls. What the stub sees that a GPU
// would not tell so well:
//   - device memory is readable while commands are carried out: a host that touches it outside dies at that spot;
//   - copies begin early and end late: a wait that is missing gives wrong bits;
//   - handles, sizes and parameters that make no sense are errors.
// Environment: CUDA_STUB_LOG=FILE appends a line for each call; CUDA_STUB_FAIL=NAME:CODE:N lets the N-th call of NAME (and all
// behind it) fail; CUDA_STUB_CAPTURE_MS lets a capture take so long; CUDA_STUB_VERSION, CUDA_STUB_MIB: what the driver says of its version and the device's memory;
// CUDA_STUB_MAJOR, CUDA_STUB_MINOR: its compute capability, 8.9 unless said.
#include "backend/cuda/emulate/emulated.h"
#include "backend/cuda/library.h"
#include "plugins/cuda_streams.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ENTRY(name, arguments) int name arguments;
#include "backend/cuda/driver.def"
#include "backend/cuda/cublaslt.def"
#undef ENTRY
size_t cublasLtGetVersion(void);

enum { INVALID = STUB_INVALID, BLOCKS = 256 };

typedef struct block { uint8_t *data; size_t bytes; } block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block blocks[BLOCKS];
static size_t used;
static bool is_open;            // device memory
static int fail_count;

// --- every call ----------------------------------------------------------------------------------------------------------

// Notes the call; the code with which it is to fail, or 0.
static int begin(const char *name)
{
    pthread_mutex_lock(&lock);
    const char *log = getenv("CUDA_STUB_LOG"), *fail = getenv("CUDA_STUB_FAIL");
    FILE *file = log ? fopen(log, "a") : NULL;
    if (file) fprintf(file, "%s\n", name), fclose(file);
    const size_t length = strlen(name);
    if (!fail || strncmp(fail, name, length) || fail[length] != ':') return 0;
    int code = 0, from = 1;
    sscanf(fail + length, ":%d:%d", &code, &from);
    return ++fail_count >= from ? code : 0;
}
static int end(int error)
{
    pthread_mutex_unlock(&lock);
    return error;
}
#define CALL(condition)                                                \
    const int failed = begin(__func__);                                \
    if (failed || !(condition)) return end(failed ? failed : INVALID)
// A call that gives `what` back, by `release`: it does so even when it is told to fail, or that would be a leak of the stub's.
#define CALL_BACK(what, release)                                       \
    const int failed = begin(__func__);                                \
    if (what) release(what);                                           \
    return end(failed ? failed : (what) ? 0 : INVALID)

static void open_device(bool open)
{
    for (int i = 0; i < BLOCKS && open != is_open; i++)
        if (blocks[i].data) mprotect(blocks[i].data, blocks[i].bytes, open ? PROT_READ | PROT_WRITE : PROT_NONE);
    is_open = open;
}

void stub_work(const stub_command *c)
{
    if (c->kind == STUB_LAUNCH) hone_emulated_run(&hone_emulated_kernels[c->kernel], &c->shape, 0, false, &c->call);
    if (c->kind == STUB_SET) memset(c->to, c->value, c->bytes);
    if (c->kind == STUB_MULTIPLY) hone_emulated_multiply(&c->gemm);
}

static int take(void *stream, const stub_command *c) { return end(stub_ask(stream, c)); }

// All that was asked of a stream, NULL: of all; the device is open meanwhile, and not outside.
static void finish(const stub_stream *stream)
{
    open_device(true);
    stub_finish(stream);
    open_device(false);
}

// --- the driver ----------------------------------------------------------------------------------------------------------

static int number(const char *variable, int otherwise) { return getenv(variable) ? atoi(getenv(variable)) : otherwise; }

int cuInit(unsigned flags) { CALL(flags == 0); return end(0); }
int cuDriverGetVersion(int *version) { CALL(version); *version = number("CUDA_STUB_VERSION", 13000); return end(0); }
int cuGetErrorName(int error, const char **name) { CALL(name); *name = error == HONE_CU_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_OF_THE_STUB"; return end(0); }
int cuGetErrorString(int error, const char **text) { CALL(error && text); *text = "what the stub was told to say"; return end(0); }
int cuDeviceGetCount(int *count) { CALL(count); *count = 1; return end(0); }
int cuDeviceGet(int *device, int ordinal) { CALL(ordinal == 0); *device = 0; return end(0); }
int cuDeviceGetName(char *name, int size, int device) { CALL(device == 0); snprintf(name, (size_t)size, "stub"); return end(0); }
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    CALL(device == 0);
    *value = attribute == HONE_CU_ATTRIBUTE_SHARED_OPTIN ? 99 << 10 : attribute == HONE_CU_ATTRIBUTE_MAJOR ? number("CUDA_STUB_MAJOR", 8) : number("CUDA_STUB_MINOR", 9);
    return end(0);
}
static size_t total(void) { return (size_t)number("CUDA_STUB_MIB", 4096) << 20; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { CALL(device == 0); *bytes = total(); return end(0); }
int cuDevicePrimaryCtxRetain(void **context, int device) { CALL(device == 0); *context = &lock; return end(0); }
int cuDevicePrimaryCtxRelease_v2(int device) { CALL(device == 0); return end(0); }
int cuCtxSetCurrent(void *context) { CALL(context == &lock); return end(0); }
int cuMemGetInfo_v2(size_t *free_bytes, size_t *total_bytes) { CALL(free_bytes); *total_bytes = total(); *free_bytes = total() - used; return end(0); }

int cuMemAlloc_v2(uint64_t *pointer, size_t bytes)
{
    CALL(pointer && bytes);
    int i = 0;
    while (i < BLOCKS && blocks[i].data) i++;
    if (i == BLOCKS || used + bytes > total()) return end(HONE_CU_OUT_OF_MEMORY);
    open_device(false);
    uint8_t *data = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return end(HONE_CU_OUT_OF_MEMORY);
    blocks[i] = (block){ data, bytes };
    used += bytes;
    *pointer = (uintptr_t)data;
    stub_note("device", 0, data, bytes);
    return end(0);
}
int cuMemFree_v2(uint64_t pointer)
{
    CALL(pointer);
    finish(NULL);
    for (int i = 0; i < BLOCKS; i++)
        if (blocks[i].data == (uint8_t *)(uintptr_t)pointer) {
            munmap(blocks[i].data, blocks[i].bytes);
            used -= blocks[i].bytes;
            blocks[i] = (block){ 0 };
            return end(0);
        }
    return end(INVALID);
}
int cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) { CALL(flags == HONE_CU_HOST_PORTABLE); *pointer = malloc(bytes); stub_note("pinned", 0, *pointer, bytes); return end(*pointer ? 0 : HONE_CU_OUT_OF_MEMORY); }
static void free_host(void *pointer) { finish(NULL); free(pointer); }
int cuMemFreeHost(void *pointer) { CALL_BACK(pointer, free_host); }
int cuMemsetD8Async(uint64_t pointer, unsigned char value, size_t count, void *stream)
{
    CALL(stream && pointer);
    return take(stream, &(stub_command){ .kind = STUB_SET, .to = (void *)(uintptr_t)pointer, .value = value, .bytes = count });
}
int cuMemcpyAsync(uint64_t to, uint64_t from, size_t bytes, void *stream)
{
    CALL(stream && to && from);
    return take(stream, &(stub_command){ .kind = STUB_COPY, .to = (void *)(uintptr_t)to, .from = (const void *)(uintptr_t)from, .bytes = bytes });
}
int cuStreamCreate(void **stream, unsigned flags) { CALL(flags == HONE_CU_STREAM_NON_BLOCKING); *stream = stub_stream_new(); return end(0); }
static void free_stream(void *stream) { finish(stream); stub_stream_free(stream); }
int cuStreamDestroy_v2(void *stream) { CALL_BACK(stream, free_stream); }
int cuStreamSynchronize(void *stream) { CALL(stream && !stub_is_capturing()); finish(stream); stub_note("sync", ((stub_stream *)stream)->number, NULL, 0); return end(0); }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { CALL(stream && event && flags == 0); return end(stub_wait(stream, event)); }
int cuEventCreate(void **event, unsigned flags)
{
    static int number;
    CALL(event && flags == HONE_CU_EVENT_DISABLE_TIMING);
    stub_event *made = malloc(sizeof *made);
    *made = (stub_event){ .number = ++number, .record = -1 };
    *event = made;
    return end(0);
}
int cuEventDestroy_v2(void *event) { CALL_BACK(event, free); }
int cuEventRecord(void *event, void *stream) { CALL(event && stream); return end(stub_record(event, stream)); }
int cuStreamBeginCapture_v2(void *stream, int mode)
{
    CALL(stream && mode == HONE_CU_CAPTURE_THREAD_LOCAL);
    const int status = end(stub_capture_begin(stream));
    usleep((useconds_t)number("CUDA_STUB_CAPTURE_MS", 0) * 1000);  // unlocked: what other threads ask for comes in between
    return status;
}
int cuStreamEndCapture(void *stream, void **made)
{
    stub_graph *graph = NULL;
    CALL(stream);
    const int status = stub_capture_end(stream, &graph);
    *made = graph;
    return end(status);
}
int cuGraphInstantiateWithFlags(void **runnable, void *made, unsigned long long flags)
{
    CALL(made && flags == 0);
    *runnable = stub_graph_copy(made);
    return end(0);
}
int cuGraphLaunch(void *runnable, void *stream)
{
    CALL(runnable && stream && !stub_is_capturing());
    return take(stream, &(stub_command){ .kind = STUB_GRAPH, .graph = runnable });
}
static void drop(void *graph) { stub_graph_free(graph); }
static void drop_runnable(void *graph) { finish(NULL); stub_graph_free(graph); }
int cuGraphExecDestroy(void *runnable) { CALL_BACK(runnable, drop_runnable); }
int cuGraphDestroy(void *made) { CALL_BACK(made, drop); }
int cuModuleLoadData(void **module, const void *image) { CALL(image && *(const uint32_t *)image == 0xba55ed50); *module = blocks; return end(0); } // a fat binary's first word
int cuModuleUnload(void *module) { CALL(module == blocks); return end(0); }
int cuModuleGetFunction(void **function, void *module, const char *name)
{
    CALL(module == blocks && !strncmp(name, "hone_cuda_", 10));
    for (int i = 0; i < HONE_CUDA_KERNEL_COUNT; i++)
        if (!strcmp(hone_emulated_kernels[i].name, name + 10)) {
            *function = (void *)(uintptr_t)&hone_emulated_kernels[i];
            return end(0);
        }
    return end(INVALID);
}
int cuFuncSetAttribute(void *function, int attribute, int value) { CALL(function && attribute == HONE_CU_FUNCTION_DYNAMIC_SHARED && value <= 99 << 10); return end(0); }
int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                   void *stream, void **parameters, void **extra)
{
    const hone_emulated_kernel *kernel = function;
    CALL(stream && !extra && grid_x && grid_y && grid_y < 65536 && grid_z == 1 && (int)block_x == kernel->threads && block_y == 1 && block_z == 1 && shared_bytes <= 99 << 10);
    return take(stream, &(stub_command){ .kind = STUB_LAUNCH, .kernel = (hone_cuda_kernel)(kernel - hone_emulated_kernels), .shape = { grid_x, grid_y, shared_bytes },
                            .call = *(const hone_cuda_call *)parameters[0] });
}

// --- cuBLASLt ------------------------------------------------------------------------------------------------------------

typedef struct description { int trans[2], mode[2]; const float *scale[2]; int8_t fast; } description;   // fast: -1, not said
typedef struct layout { int type; uint64_t rows, cols; int64_t stride; } layout;
enum { CHOSEN = 0x5eed };

size_t cublasLtGetVersion(void) { return 130000; }
int cublasLtCreate(void **handle) { CALL(handle); *handle = blocks; return end(0); }
int cublasLtDestroy(void *handle) { CALL(handle); return end(0); }
int cublasLtMatmulDescCreate(void **made, int compute, int scale) { CALL(compute == HONE_LT_COMPUTE_32F && scale == HONE_LT_R_32F); *made = calloc(1, sizeof(description)); ((description *)*made)->fast = -1; return end(0); }
int cublasLtMatmulDescDestroy(void *made) { CALL_BACK(made, free); }
int cublasLtMatmulDescSetAttribute(void *made, int attribute, const void *value, size_t bytes)
{
    const bool scale = attribute == HONE_LT_A_SCALE || attribute == HONE_LT_B_SCALE, fast = attribute == HONE_LT_FAST_ACCUM;
    const bool mode = attribute == HONE_LT_A_SCALE_MODE || attribute == HONE_LT_B_SCALE_MODE;
    CALL(made && bytes == (scale ? sizeof(void *) : fast ? 1 : sizeof(int)) && (scale || fast || mode || attribute == HONE_LT_TRANS_A || attribute == HONE_LT_TRANS_B));
    description *of = made;
    if (scale) memcpy(&of->scale[attribute == HONE_LT_B_SCALE], value, sizeof(void *));
    else if (fast) of->fast = *(const int8_t *)value;
    else if (mode) of->mode[attribute == HONE_LT_B_SCALE_MODE] = *(const int *)value;
    else of->trans[attribute == HONE_LT_TRANS_B] = *(const int *)value;
    return end(0);
}
int cublasLtMatrixLayoutCreate(void **made, int type, uint64_t rows, uint64_t cols, int64_t stride)
{
    CALL(rows && cols && (uint64_t)stride >= rows);
    *made = malloc(sizeof(layout));
    *(layout *)*made = (layout){ type, rows, cols, stride };
    return end(0);
}
int cublasLtMatrixLayoutDestroy(void *made) { CALL_BACK(made, free); }
int cublasLtMatmulPreferenceCreate(void **made) { CALL(made); *made = malloc(1); return end(0); }
int cublasLtMatmulPreferenceDestroy(void *made) { CALL_BACK(made, free); }
int cublasLtMatmulPreferenceSetAttribute(void *made, int attribute, const void *value, size_t bytes)
{
    CALL(made && (attribute == HONE_LT_PREFERENCE_WORKSPACE ? bytes == 8 && *(const size_t *)value : bytes == 4 && *(const uint32_t *)value));
    return end(0);
}

static bool is_fp8(const layout *l) { return l->type == HONE_LT_R_E4M3 || l->type == HONE_LT_R_E5M2; }

// Of the modes with a scale for each block, on Hopper alone: runs with runs or with squares, sums whole, scales at 16 bytes, whole fours of
// rows of both (the manual's "128-element 1D and 128x128 2D Block Scaling For FP8 Data Types").
static bool takes_modes(const description *x, const layout *d)
{
    const bool known[2] = { x->mode[0] == HONE_LT_SCALE_VEC128 || x->mode[0] == HONE_LT_SCALE_BLK128, x->mode[1] == HONE_LT_SCALE_VEC128 || x->mode[1] == HONE_LT_SCALE_BLK128 };
    if (x->mode[0] == HONE_LT_SCALE_SCALAR && x->mode[1] == HONE_LT_SCALE_SCALAR) return true;
    const bool squares = x->mode[0] == HONE_LT_SCALE_BLK128 && x->mode[1] == HONE_LT_SCALE_BLK128, placed = ((uintptr_t)x->scale[0] | (uintptr_t)x->scale[1]) % 16 == 0;
    return known[0] && known[1] && !squares && placed && !x->fast && d->rows % 4 == 0 && d->cols % 4 == 0 && number("CUDA_STUB_MAJOR", 8) == 9;
}

// As on Ada and Hopper: a transposed, b not, one of them e4m3, scales, leading dimensions of whole 16 bytes. Ours beside: gradients are
// summed whole, the others of tensors fast.
static bool takes_fp8(const description *x, const layout *a, const layout *b, const layout *d)
{
    const bool gradient = a->type == HONE_LT_R_E5M2 || b->type == HONE_LT_R_E5M2, scaled = x->mode[0] != HONE_LT_SCALE_SCALAR;
    return is_fp8(a) && is_fp8(b) && (a->type == HONE_LT_R_E4M3 || b->type == HONE_LT_R_E4M3) && x->trans[0] == HONE_LT_T && x->trans[1] == HONE_LT_N
        && a->stride % 16 == 0 && b->stride % 16 == 0 && d->stride % 8 == 0 && x->scale[0] && x->scale[1] && x->fast == !(gradient || scaled) && takes_modes(x, d)
        && (d->type == HONE_LT_R_32F || d->type == HONE_LT_R_16BF);
}

// d (m, n) = op(a) op(b) (+ c), columns first: the sizes must agree.
static bool agree(const description *x, const layout *a, const layout *b, const layout *d)
{
    const bool ta = x->trans[0] == HONE_LT_T, tb = x->trans[1] == HONE_LT_T;
    const uint64_t m = ta ? a->cols : a->rows, k = ta ? a->rows : a->cols, k2 = tb ? b->cols : b->rows, n = tb ? b->rows : b->cols;
    if (m != d->rows || n != d->cols || k != k2) return false;
    return is_fp8(a) || is_fp8(b) ? takes_fp8(x, a, b, d) : a->type == b->type && (d->type == HONE_LT_R_32F || a->type == d->type);
}

int cublasLtMatmulAlgoGetHeuristic(void *handle, void *x, void *a, void *b, void *c, void *d, void *preference, int wanted, hone_cublaslt_choice *choices, int *found)
{
    CALL(handle && preference && wanted == 1 && c == d && agree(x, a, b, d));
    *choices = (hone_cublaslt_choice){ .algorithm = { { CHOSEN } } };
    *found = 1;
    return end(0);
}

static hone_dtype dtype_of(const layout *l)
{
    return l->type == HONE_LT_R_16BF ? HONE_bf16 : l->type == HONE_LT_R_16F ? HONE_f16 : l->type == HONE_LT_R_E4M3 ? HONE_e4m3 : l->type == HONE_LT_R_E5M2 ? HONE_e5m2 : HONE_f32;
}

static hone_fp8_scaling scaling_of(int mode) { return mode == HONE_LT_SCALE_SCALAR ? HONE_FP8_TENSOR : mode == HONE_LT_SCALE_VEC128 ? HONE_FP8_RUNS : HONE_FP8_SQUARES; }

int cublasLtMatmul(void *handle, void *x, const void *alpha, const void *a, void *a_layout, const void *b, void *b_layout, const void *beta, const void *c,
                   void *c_layout, void *d, void *d_layout, const hone_cublaslt_algorithm *algorithm, void *workspace, size_t workspace_bytes, void *stream)
{
    const layout *la = a_layout, *lb = b_layout, *ld = d_layout;
    const description *how = x;
    if (is_fp8(la)) begin(how->mode[0] == HONE_LT_SCALE_BLK128 ? "fp8 squares" : how->mode[0] ? "fp8 runs" : how->fast ? "fp8 fast" : "fp8 whole"), end(0);     // for the log
    CALL(handle && *(const float *)alpha == 1 && c == d && c_layout == d_layout && algorithm->data[0] == CHOSEN && workspace && workspace_bytes && stream
         && agree(x, a_layout, b_layout, d_layout));
    return take(stream, &(stub_command){ .kind = STUB_MULTIPLY, .gemm = { .n = (int64_t)ld->cols, .m = (int64_t)ld->rows, .k = (int64_t)(how->trans[0] == HONE_LT_T ? la->rows : la->cols),
                                                        .a = b, .a_t = how->trans[1] == HONE_LT_T, .b = a, .b_t = how->trans[0] == HONE_LT_T, .d = d,
                                                        .add = *(const float *)beta != 0, .of = dtype_of(lb), .of_b = dtype_of(la), .to = dtype_of(ld),
                                                        .scale_a = how->scale[1], .scale_b = how->scale[0],
                                                        .scaling_a = scaling_of(how->mode[1]), .scaling_b = scaling_of(how->mode[0]) } });
}
