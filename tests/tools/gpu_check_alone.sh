#!/usr/bin/env bash
# gpu_check_alone.sh: tools/gpu_check.sh where there is no GPU: says so, exit code 2. And as it judges stages, with programs in place of a
# pack's that pass, skip or fail: one that passes is a row, one that skips has failed, one that fails is named with its code and last
# error, one that is not asked for is none.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "gpu_check_alone: $1" >&2; cat "$work"/*.txt >&2 || true; exit 1; }
program() { # path, script
    mkdir -p "$(dirname "$1")"
    printf '#!/bin/sh\n%s\n' "$2" > "$1"
    chmod +x "$1"
}
checks() { # expected exit code, nvidia-smi's folder, script, results
    local code=0
    PATH=$2:$PATH HONE_PEER=false "$3" "$4" > "$work/said.txt" 2>&1 || code=$?
    [ $code -eq "$1" ] || fail "exit code $code, not $1"
}
says() { grep -qE "$1" "$work/said.txt" || fail "lacks '$1'"; }

program "$work/none/nvidia-smi" 'exit 9'
checks 2 "$work/none" tools/gpu_check.sh "$work/results"
says 'no NVIDIA GPU on this machine'
[ ! -e "$work/results" ] || fail "wrote results of nothing"

program "$work/one/nvidia-smi" 'case "$1" in -L) echo "GPU 0: of a test" ;; *) echo 7 ;; esac'
program "$work/pack/hone-0/bin/hone" 'echo "hone 0"'
program "$work/pack/tests/test_ops_gpu" 'echo "skipped: the op harness on a GPU: no driver"'
program "$work/pack/tests/test_goldens_gpu" 'echo "ERROR: llama is off by 3"; exit 3'
mkdir "$work/pack/data"
for part in hone-0 tests data; do tar -C "$work/pack" -czf "$work/pack/$part.tar.gz" $part; done
cp tools/gpu_check.sh "$work/pack/"
HONE_CHECK=doctor,ops,goldens checks 1 "$work/one" "$work/pack/gpu_check.sh" "$work/results"
says '^doctor +passed'
says '^ops +FAILED .*skipped: the op harness'
says '^goldens +FAILED .*code 3: ERROR: llama is off by 3'
if grep -qE '^(curve|sanitizer|attention|gpt2|llama)' "$work/said.txt"; then fail "ran what was not asked for"; fi
HONE_CHECK=doctor checks 0 "$work/one" "$work/pack/gpu_check.sh" "$work/again"
