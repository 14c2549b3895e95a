#!/usr/bin/env bash
# setup_cuda.sh: puts cublasLt.h of the version that PyTorch's CUDA 13.0 builds carry into build/cuda/include, for the check that the
# backend's own declarations agree with it (tests/backend/cuda_headers.c). Downloads nvidia-cublas from PyPI (some 400 MB), once.
set -eu
cd "$(dirname "$0")/.."
package=nvidia-cublas==13.1.0.3
[ -f build/cuda/include/cublasLt.h ] && exit 0
command -v pip > /dev/null || { echo "setup_cuda: no pip" >&2; exit 1; }
mkdir -p build/cuda/include
trap 'rm -rf build/cuda/wheel' EXIT
pip download --quiet --no-deps --only-binary=:all: --dest build/cuda/wheel "$package" || { echo "setup_cuda: pip could not get $package" >&2; exit 1; }
python3 - << 'PYTHON'
import glob, os, zipfile
with zipfile.ZipFile(glob.glob("build/cuda/wheel/*.whl")[0]) as wheel:
    for name in wheel.namelist():
        if "/include/" in name and name.endswith(".h"):
            with open(os.path.join("build/cuda/include", os.path.basename(name)), "wb") as to: to.write(wheel.read(name))
PYTHON
