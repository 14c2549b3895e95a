#!/usr/bin/env bash
# compile_cuda.sh NVCC MODULE RESOURCES: compiles src/backend/cuda/kernels.cu for Ampere, Ada and Hopper into one file (MODULE), and
# writes what each kernel takes, a line each: kernel, then "registers:bytes spilled" for sm_80, sm_89, sm_90a (RESOURCES).
set -eu
cd "$(dirname "$0")/.."
nvcc=$1 module=$2 resources=$3
said=$(mktemp)
trap 'rm -f "$said"' EXIT
targets=()
for sm in 80 89 90a; do targets+=("-gencode=arch=compute_$sm,code=sm_$sm"); done
if ! "$nvcc" -std=c++20 -O3 -Isrc -fatbin "${targets[@]}" -Werror all-warnings -Xptxas -v -o "$module" src/backend/cuda/kernels.cu > "$said" 2>&1; then
    cat "$said" >&2
    exit 1
fi
awk -v q="'" '
    /Compiling entry function/ { split($0, part, q); kernel = part[2]; sub(/^hone_cuda_/, "", kernel); sm = part[4]; names[kernel] }
    /bytes spill stores/ { match($0, /[0-9]+ bytes spill stores/); spilled[kernel, sm] = substr($0, RSTART) + 0 }
    /Used [0-9]+ registers/ { match($0, /Used [0-9]+/); registers[kernel, sm] = substr($0, RSTART + 5) + 0 }
    END {
        n = split("sm_80 sm_89 sm_90a", sms, " ")
        for (kernel in names) {
            line = sprintf("%-18s", kernel)
            for (i = 1; i <= n; i++) line = line sprintf("%8s", registers[kernel, sms[i]] ":" spilled[kernel, sms[i]])
            print line
        }
    }' "$said" | LC_ALL=C sort > "$resources"
