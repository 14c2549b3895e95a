// cuda_headers.c: the numbers and layouts that backend/cuda/library.h writes down, against the headers they are of; a file that only
// has to compile. Built where the headers are (CUDA's toolkit; cublasLt.h: tools/setup_cuda.sh).
#include "backend/cuda/library.h"
#include <cuda.h>

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #theirs)
#define FAULT(name, code, advice) SAME(HONE_CU_##name, CUDA_ERROR_##name);
#include "backend/cuda/faults.def"
#undef FAULT
SAME(HONE_CU_ATTRIBUTE_SHARED_OPTIN, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
SAME(HONE_CU_ATTRIBUTE_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME(HONE_CU_ATTRIBUTE_MINOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
SAME(HONE_CU_FUNCTION_DYNAMIC_SHARED, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME(HONE_CU_STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING);
SAME(HONE_CU_EVENT_DISABLE_TIMING, CU_EVENT_DISABLE_TIMING);
SAME(HONE_CU_HOST_PORTABLE, CU_MEMHOSTALLOC_PORTABLE);
SAME(HONE_CU_CAPTURE_THREAD_LOCAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
SAME(sizeof(CUdeviceptr), sizeof(uint64_t));
SAME(sizeof(CUdevice), sizeof(int));
SAME(sizeof(CUresult), sizeof(int));

// Each entry that is looked up by name is one that the header declares.
void hone_cuda_declared(void *entry[]);
void hone_cuda_declared(void *entry[])
{
    int i = 0;
#define ENTRY(name, ...) entry[i++] = (void *)(uintptr_t)&name;
#include "backend/cuda/driver.def"
#undef ENTRY
}

#ifdef HONE_HAVE_CUBLASLT_H
#include <cublasLt.h>
SAME(HONE_LT_COMPUTE_32F, CUBLAS_COMPUTE_32F);
SAME(HONE_LT_R_32F, CUDA_R_32F);
SAME(HONE_LT_R_16BF, CUDA_R_16BF);
SAME(HONE_LT_R_16F, CUDA_R_16F);
SAME(HONE_LT_TRANS_A, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(HONE_LT_TRANS_B, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(HONE_LT_R_E4M3, CUDA_R_8F_E4M3);
SAME(HONE_LT_R_E5M2, CUDA_R_8F_E5M2);
SAME(HONE_LT_A_SCALE, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER);
SAME(HONE_LT_B_SCALE, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER);
SAME(HONE_LT_FAST_ACCUM, CUBLASLT_MATMUL_DESC_FAST_ACCUM);
SAME(HONE_LT_A_SCALE_MODE, CUBLASLT_MATMUL_DESC_A_SCALE_MODE);
SAME(HONE_LT_B_SCALE_MODE, CUBLASLT_MATMUL_DESC_B_SCALE_MODE);
SAME(HONE_LT_SCALE_SCALAR, CUBLASLT_MATMUL_MATRIX_SCALE_SCALAR_32F);
SAME(HONE_LT_SCALE_VEC128, CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F);
SAME(HONE_LT_SCALE_BLK128, CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F);
SAME(HONE_LT_N, CUBLAS_OP_N);
SAME(HONE_LT_T, CUBLAS_OP_T);
SAME(HONE_LT_PREFERENCE_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(HONE_LT_PREFERENCE_ALIGNMENT_A, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(HONE_LT_PREFERENCE_ALIGNMENT_B, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(HONE_LT_PREFERENCE_ALIGNMENT_C, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(HONE_LT_PREFERENCE_ALIGNMENT_D, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(sizeof(hone_cublaslt_algorithm), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(hone_cublaslt_choice), sizeof(cublasLtMatmulHeuristicResult_t));
SAME(offsetof(hone_cublaslt_choice, workspace_bytes), offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
SAME(offsetof(hone_cublaslt_choice, status), offsetof(cublasLtMatmulHeuristicResult_t, state));
#endif
