// kernels.cu: all kernels as one module, for nvcc. (The emulator compiles the files one by one.)
#include "backend/cuda/attention.cu"
#include "backend/cuda/attention_mma.cu"
#include "backend/cuda/blocks.cu"
#include "backend/cuda/fp8.cu"
#include "backend/cuda/head.cu"
#include "backend/cuda/matrix.cu"
#include "backend/cuda/optim.cu"
#include "backend/cuda/rows.cu"
