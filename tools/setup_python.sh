#!/usr/bin/env bash
# setup_python.sh: prints the path of a Python with the packages that parity tests and benches compare with, or fails and
# says why on stderr. Takes HONE_PYTHON if that has them, else makes build/venv (about 1 GB, once).
set -eu
cd "$(dirname "$0")/.."
packages=(torch==2.13.0 transformers==5.23.0 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6 tiktoken==0.14.0 sentencepiece==0.2.3 wandb==0.29.0 gguf==0.19.0 accelerate==1.15.0 peft==0.21.2)

complete() { # the interpreter $1 has every package in the version asked for ("2.13.0+cpu" is 2.13.0)
    [ -x "$1" ] && "$1" - "${packages[@]}" > /dev/null 2>&1 << 'PYTHON'
import sys
from importlib.metadata import version
for package in sys.argv[1:]:
    name, wanted = package.split("==")
    if version(name).split("+")[0] != wanted: sys.exit(1)
PYTHON
}

for python in "${HONE_PYTHON:-}" build/venv/bin/python; do
    if [ -n "$python" ] && complete "$python"; then
        realpath -s "$python"
        exit 0
    fi
done
command -v python3 > /dev/null || { echo "setup_python: no python3" >&2; exit 1; }
mkdir -p build
python3 -m venv build/venv > build/venv.log 2>&1 || { tail -3 build/venv.log >&2; echo "setup_python: python3 -m venv failed" >&2; exit 1; }
echo "setup_python: installing ${packages[*]} into build/venv" >&2
if ! timeout 900 build/venv/bin/pip install --quiet "${packages[@]}" > build/venv.log 2>&1; then
    tail -3 build/venv.log >&2
    echo "setup_python: pip could not install ${packages[*]}" >&2
    exit 1
fi
complete build/venv/bin/python || { echo "setup_python: build/venv lacks a package after the install" >&2; exit 1; }
realpath -s build/venv/bin/python
