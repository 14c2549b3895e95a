#!/usr/bin/env bash
# gpu_pack.sh [TEXT...]: gathers in build/gpu_pack what tools/gpu_check.sh takes to a bare machine with a GPU and PyTorch:
#     hone-*.tar.gz        tools/dist.sh
#     tests.tar.gz         the op harness and the goldens on the GPU, bench_attention, the library they need, tests/golden
#     data.tar.gz          TEXT as tokens of a vocabulary learned from it, some 20 MB at most; without TEXT ../shared/data/text/novels
#     gpu_check.sh, peer_gpu.py, random_model.py
# CUDA's libraries are found there. Refused above 60 MiB.
set -eu -o pipefail
cd "$(dirname "$0")/.."
build=build to=build/gpu_pack
most_bytes=$((60 << 20)) text_bytes=$((40 << 20))        # two bytes a token, some four of text
[ $# -gt 0 ] || set -- ../shared/data/text/novels
for text in "$@"; do [ -e "$text" ] || { echo "gpu_pack: $text is not there; give texts to train on" >&2; exit 1; }; done
[ "$(du -cbL "$@" | tail -n 1 | cut -f 1)" -le "$text_bytes" ] || { echo "gpu_pack: more than $((text_bytes >> 20)) MiB of text: give less" >&2; exit 1; }
[ -f "$build/kernels.fatbin" ] || { echo "gpu_pack: $build was made without nvcc: no kernels to pack" >&2; exit 1; }
ninja -C "$build" hone hone_dist test_ops_gpu test_goldens_gpu bench_attention > /dev/null
rm -rf "$to"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$to" "$work/tests"
tools/dist.sh "$build" "$to" > /dev/null
for test in test_ops_gpu test_goldens_gpu bench_attention; do install -s "$build/$test" "$work/tests/$test"; done
install -m 644 "$(ldd "$build/test_ops_gpu" | awk '$1 ~ /^libcmocka/ { print $3 }')" "$work/tests/libcmocka.so.0"
cp -r tests/golden "$work/tests/golden"
tar -C "$work" -czf "$to/tests.tar.gz" tests
find -L "$@" -type f -name '*.txt' ! -name SOURCE.txt > "$work/texts"
xargs -d '\n' "$build/hone" tokenizer train --vocab 32768 --output "$work/tokenizer.json" < "$work/texts" > /dev/null
"$build/hone" prepare --tokenizer "$work/tokenizer.json" --output "$work/data" "@$work/texts" > /dev/null
tar -C "$work" -czf "$to/data.tar.gz" data
install tools/gpu_check.sh tools/random_model.py bench/peer_gpu.py "$to/"
bytes=$(du -sb "$to" | cut -f 1)
[ "$bytes" -le "$most_bytes" ] || { echo "gpu_pack: $to has $((bytes >> 20)) MiB, more than $((most_bytes >> 20))" >&2; exit 1; }
echo "$to: $((bytes >> 20)) MiB; on the machine with the GPU: $to/gpu_check.sh"
