#!/usr/bin/env bash
# cuda_limits.sh RESOURCES: compares what kernels take (tools/compile_cuda.sh) with what they may (tools/cuda_limits.txt): no more
# registers, no more bytes spilled, no kernel missing. After a change that is worth it: cp RESOURCES tools/cuda_limits.txt.
set -eu
cd "$(dirname "$0")/.."
[ -s "${1:-}" ] || { echo "skipped: registers of CUDA kernels, without nvcc on the PATH"; exit 0; }
awk '
    FNR == NR { for (i = 2; i <= 4; i++) limit[$1, i] = $i; known[$1]; next }
    {
        seen[$1]
        if (!($1 in known)) { print $1 ": not in tools/cuda_limits.txt"; bad = 1; next }
        for (i = 2; i <= 4; i++) {
            split($i, now, ":"); split(limit[$1, i], most, ":")
            if (now[1] + 0 < 1 || now[1] + 0 > most[1] + 0 || now[2] + 0 > most[2] + 0) { print $1 ": " $i " (registers:spilled), at most " limit[$1, i]; bad = 1 }
        }
    }
    END { for (kernel in known) if (!(kernel in seen)) { print kernel ": was not compiled"; bad = 1 }; exit bad }' tools/cuda_limits.txt "$1"
