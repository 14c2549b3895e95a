#include "support/stub.h"
#include "support/cmocka_all.h"
#include <stdlib.h>
#include <unistd.h>

bool stub_use(const char *what)
{
    setenv("HONE_LIBCUDA", HONE_BINARY_DIR "/cuda_stub.so", 1);
    setenv("HONE_CUBLASLT", HONE_BINARY_DIR "/cuda_stub.so", 1);
    if (access(HONE_BINARY_DIR "/kernels.fatbin", R_OK) == 0) return true;
    print_message("skipped: %s over a stub, without nvcc on the PATH\n", what);
    return false;
}
