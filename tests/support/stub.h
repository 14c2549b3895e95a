// stub.h: `backend: cuda` over a stub of the driver and of cuBLASLt (tests/plugins/cuda_stub.c), for tests where no GPU is.
#pragma once
#include <stdbool.h>

// Names the stub to this process and its children. False, and the reason printed, where hone was built without nvcc: then there are no
// kernels to load, and the test skips.
bool stub_use(const char *what);
