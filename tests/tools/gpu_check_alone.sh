#!/usr/bin/env bash
# gpu_check_alone.sh BUILD: tools/gpu_check.sh where there is no GPU: says so, exit code 2. And as it judges stages, with programs in place of a
# pack's that pass, skip or fail: one that passes is a row, one that skips has failed, one that fails is named with its code and last
# error, one that is not asked for is none. Then hone itself over the stub of the driver, shapes that take seconds: curve, training, adapters
# and generation run as on a GPU, beside a program in place of PyTorch's side, and the table has both sides and their ratios.
set -eu
build=$1
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
    PATH=$2:$PATH HONE_PEER=${peer:-false} "$3" "$4" > "$work/said.txt" 2>&1 || code=$?
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
if grep -qE '^(curve|memcheck|attention|gpt2|llama)' "$work/said.txt"; then fail "ran what was not asked for"; fi
HONE_CHECK=doctor checks 0 "$work/one" "$work/pack/gpu_check.sh" "$work/again"

# The sanitizer: passes, finds something, is not there.
program "$work/pack/tests/test_ops_gpu" 'echo "one in $HONE_TEST_EVERY"'
tar -C "$work/pack" -czf "$work/pack/tests.tar.gz" tests
program "$work/tool/nvidia-smi" 'case "$1" in -L) echo "GPU 0: of a test" ;; *) echo 7 ;; esac'
program "$work/tool/compute-sanitizer" 'case "$2" in racecheck) echo "RACECHECK SUMMARY: 1 hazard displayed"; echo "ERROR: a hazard"; exit 1 ;; *) for last; do :; done; "$last"; echo "ERROR SUMMARY: 0 errors" ;; esac'
HONE_CHECK=memcheck,racecheck checks 1 "$work/tool" "$work/pack/gpu_check.sh" "$work/sanitized"
says '^memcheck +passed .*ERROR SUMMARY: 0 errors'
says '^racecheck +FAILED .*code 1: ERROR: a hazard'
grep -q 'one in [0-9]' "$work/sanitized/memcheck.log" || fail "the op harness is not a sample"
if ! command -v compute-sanitizer > /dev/null; then
    HONE_CHECK=memcheck checks 0 "$work/one" "$work/pack/gpu_check.sh" "$work/bare"
    says '^memcheck +passed .*skipped: compute-sanitizer is not installed'
fi

[ -s "$build/kernels.fatbin" ] || { echo "skipped: gpu_check over the stub, without nvcc on the PATH"; exit 0; }
program "$work/pack/hone-0/bin/hone" "exec '$(realpath "$build")/hone' \"\$@\""
for text in docs/*.md; do cat "$text"; done > "$work/text.txt"
"$build/hone" tokenizer train --vocab 1000 --output "$work/tokenizer.json" "$work/text.txt" > /dev/null
rm -r "$work/pack/data"
"$build/hone" prepare --tokenizer "$work/tokenizer.json" --document-bytes 2000 --held-out 0.2 --output "$work/pack/data" "$work/text.txt" > /dev/null
for part in hone-0 data; do tar -C "$work/pack" -czf "$work/pack/$part.tar.gz" $part; done
cp tools/random_model.py "$work/pack/"
# In place of PyTorch's side: 10 tokens/s in 1 GiB, whatever is asked.
program "$work/peer" 'case "$1" in -c) echo "0 of a test"; exit ;; esac
while [ $# -gt 0 ]; do case "$1" in --json) json=$2 ;; esac; shift; done
echo "{\"cases\": [{\"best\": {\"tokens_per_s\": 10, \"memory_bytes\": 1073741824, \"micro_batch\": 2}}]}" > "$json"'
export HONE_LIBCUDA="$(realpath "$build")/cuda_stub.so" HONE_CUBLASLT="$(realpath "$build")/cuda_stub.so" HONE_CHECK_TINY=1 CUDA_STUB_MAJOR=9 CUDA_STUB_MINOR=0
# The device's memory: 512 MiB more whenever somebody looks.
program "$work/grows/nvidia-smi" "case \"\$*\" in -L*) echo 'GPU 0: of a test' ;; *compute_cap*) echo 9.0 ;; *memory.used*) echo 512 >> '$work/looks'; awk '{ s += \$1 } END { print s }' '$work/looks' ;; *) echo 7 ;; esac"
peer=$work/peer HONE_CHECK=curve,fp8,lora,qlora,generate checks 0 "$work/grows" "$work/pack/gpu_check.sh" "$work/stub"
says '^curve +passed .*worst difference of 3 losses'
says '^fp8 +passed .*bar 0.25 %.*: bf16 [0-9,]+; fp8 [0-9,]+ .* %; block [0-9,]+ .* %'
for stage in lora qlora generate; do says "^$stage +passed .*hone [0-9,]+ tokens/s"; done
says '^clocks 7 MHz .* power limit 7 W'
says '^lora +[0-9,]+ .* lora +10 +1\.00 +[0-9.]+x +[0-9.]+x'
says '^lora +[0-9,]+ .* peft +10 +1\.00 +[0-9.]+x +[0-9.]+x .*>= 2x'
says '^qlora +[0-9,]+ .* none '
says '^generate +[0-9,]+ .* hf_generate +10 +1\.00 +[0-9.]+x +[0-9.]+x .*>= 5x'
