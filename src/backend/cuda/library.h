// library.h: the CUDA driver and cuBLASLt, found and opened at run time: one `hone` runs with and without them.
//
// libcuda.so.1 comes with the driver and lies in the system's folders (HONE_LIBCUDA names another file). libcublasLt.so.13 is looked for in order: HONE_CUBLASLT (a
// file), CUDA_HOME/lib64, the system's folders, then the nvidia wheels of the Python environment: VIRTUAL_ENV, HONE_PYTHON's.
#pragma once
#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct hone_cublaslt_algorithm { uint64_t data[8]; } hone_cublaslt_algorithm;
typedef struct hone_cublaslt_choice {
    hone_cublaslt_algorithm algorithm;
    size_t workspace_bytes;
    int status;
    float waves;
    int reserved[4];
} hone_cublaslt_choice;

typedef struct hone_cuda_driver {
    void *library;
#define ENTRY(name, arguments) int (*name) arguments;
#include "backend/cuda/driver.def"
#undef ENTRY
} hone_cuda_driver;

typedef struct hone_cublaslt {
    void *library;
    char path[512];
#define ENTRY(name, arguments) int (*name) arguments;
#include "backend/cuda/cublaslt.def"
#undef ENTRY
    size_t (*cublasLtGetVersion)(void);
} hone_cublaslt;

// Values of the libraries' enumerations; compared with the headers by tests/backend/cuda_headers.c.
enum {
#define FAULT(name, code, advice) HONE_CU_##name = (code),
#include "backend/cuda/faults.def"
#undef FAULT
    HONE_CU_ATTRIBUTE_SHARED_OPTIN = 97, HONE_CU_ATTRIBUTE_MAJOR = 75, HONE_CU_ATTRIBUTE_MINOR = 76, HONE_CU_ATTRIBUTE_PROCESSORS = 16,
    HONE_CU_FUNCTION_DYNAMIC_SHARED = 8, HONE_CU_STREAM_NON_BLOCKING = 1, HONE_CU_EVENT_DISABLE_TIMING = 2, HONE_CU_HOST_PORTABLE = 1, HONE_CU_CAPTURE_THREAD_LOCAL = 1,
    HONE_LT_COMPUTE_32F = 68, HONE_LT_R_32F = 0, HONE_LT_R_16F = 2, HONE_LT_R_16BF = 14, HONE_LT_TRANS_A = 3, HONE_LT_TRANS_B = 4, HONE_LT_N = 0, HONE_LT_T = 1,
    HONE_LT_R_E4M3 = 28, HONE_LT_R_E5M2 = 29, HONE_LT_A_SCALE = 17, HONE_LT_B_SCALE = 18, HONE_LT_FAST_ACCUM = 25,
    HONE_LT_A_SCALE_MODE = 31, HONE_LT_B_SCALE_MODE = 32, HONE_LT_SCALE_SCALAR = 0, HONE_LT_SCALE_VEC128 = 4, HONE_LT_SCALE_BLK128 = 5,
    HONE_LT_PREFERENCE_WORKSPACE = 1, HONE_LT_PREFERENCE_ALIGNMENT_A = 5, HONE_LT_PREFERENCE_ALIGNMENT_B = 6,
    HONE_LT_PREFERENCE_ALIGNMENT_C = 7, HONE_LT_PREFERENCE_ALIGNMENT_D = 8,
};
enum { HONE_CUDA_VERSION = 13000 };     // what the kernels are compiled for: a driver that says less is too old

// Opens once per process and keeps; each later call says the same. Fails by what is missing, with what to do.
hone_status hone_cuda_driver_open(const hone_cuda_driver **driver);
hone_status hone_cublaslt_open(const hone_cublaslt **library);
// For hone doctor: what there is, or why not (gpu.c).
void hone_cuda_describe(char driver[256], char products[640]);
