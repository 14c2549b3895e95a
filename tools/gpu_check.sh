#!/usr/bin/env bash
# gpu_check.sh [RESULTS]: what hone does on the GPU of this machine, in one go of nine minutes at most, as one table. No network.
# Lies in the folder that tools/gpu_pack.sh gathered, or in tools/ of the repository, which it then builds (nvcc, build/).
#     ops        the op harness on the GPU against the portable kernels
#     goldens    logits, losses, gradients and optimizer steps against PyTorch's
#     curve      a small model's losses over 30 steps, GPU against CPU: the bar is 1e-3, as bench/parity.py's
#     sanitizer  compute-sanitizer on a training run of two steps, where it is installed
#     attention  forward and backward alone, in TFLOP/s, beside PyTorch's scaled_dot_product_attention
#     gpt2 ...   training and generation beside bench/peer_gpu.py, where PyTorch finds the GPU
# A stage has a time limit; one that fails leaves the others running. Exit code: 0 all passed, 1 one failed, 2 there is no GPU to check.
# RESULTS: a folder for logs and table (default: gpu_check in the working folder). HONE_PEER: the Python with PyTorch (default python3).
# HONE_CHECK: names of stages, the others are left out; with HONE_LIBCUDA and HONE_CUBLASLT naming the stub of the tests, and a program
# nvidia-smi that says something, stages run without a GPU (tests/tools/gpu_check_alone.sh).
# shellcheck disable=SC2329     # functions that `bash -c` calls
set -u
here=$(cd "$(dirname "$0")" && pwd)
results=${1:-gpu_check}
peer_python=${HONE_PEER:-python3}
total_s=540
began=$SECONDS
failed=0

smi() { nvidia-smi --query-gpu="$1" --format=csv,noheader,nounits 2> /dev/null | sed -n 1p; }

if ! command -v nvidia-smi > /dev/null || ! nvidia-smi -L 2> /dev/null | grep -q '^GPU '; then
    echo "gpu_check: no NVIDIA GPU on this machine (nvidia-smi lists none): nothing was checked" >&2
    exit 2
fi
mkdir -p "$results" && results=$(cd "$results" && pwd) || exit 1
: > "$results/table.txt"

say() { printf '%s\n' "$*" | tee -a "$results/table.txt"; }
row() { say "$(printf '%-10s %-8s %5s s  %s' "$@")"; }           # stage, verdict, seconds, what

# stage NAME LIMIT COMMAND...: its output goes to NAME.log; the verdict is a row, with what `about` says of the log.
stage() {
    local name=$1 limit=$2 start=$SECONDS left code verdict what
    shift 2
    case ,${HONE_CHECK:-$name}, in *",$name,"*) ;; *) return 0 ;; esac
    left=$((total_s - (SECONDS - began)))
    if [ "$left" -lt 5 ]; then row "$name" "no time" 0 ""; failed=1; return 1; fi
    [ "$limit" -le "$left" ] || limit=$left
    timeout --kill-after=5 "$limit" "$@" > "$results/$name.log" 2>&1
    code=$?
    verdict=passed
    [ $code -eq 0 ] || { verdict=FAILED; failed=1; }
    what=$(grep -aE 'skipped:|tokens/s|TFLOP/s|ERROR SUMMARY|worst' "$results/$name.log" | tail -n 1 | cut -c 1-110)
    if [ $code -eq 124 ]; then what="stopped after $limit s"
    elif [ $code -ne 0 ]; then what="code $code: $(grep -aE 'ERROR|error|hone:|off by' "$results/$name.log" | tail -n 1 | cut -c 1-100) ($results/$name.log)"
    elif grep -aq '^skipped: the \(op harness\|goldens\) on a GPU' "$results/$name.log"; then verdict=FAILED; failed=1
    fi
    row "$name" "$verdict" $((SECONDS - start)) "$what"
    [ $verdict = passed ]
}

# --- what runs ----------------------------------------------------------------------------------------------------------

unpacked() { # the folder of the pack, unpacked: sets hone, tests, data, golden, peer
    local work=$results/unpacked
    mkdir -p "$work" && for archive in "$here"/hone-*.tar.gz "$here/tests.tar.gz" "$here/data.tar.gz"; do tar -C "$work" -xzf "$archive" || return 1; done
    hone=$(echo "$work"/hone-*/bin/hone) tests=$work/tests data=$work/data golden=$work/tests/golden peer=$here/peer_gpu.py
    LD_LIBRARY_PATH=$tests:${hone%/bin/hone}/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
}
built() { # in the repository
    local root=$here/..
    { cmake -S "$root" -B "$root/build" -G Ninja && ninja -C "$root/build" hone test_ops_gpu test_goldens_gpu bench_attention; } > "$results/build.log" 2>&1 || return 1
    hone=$root/build/hone tests=$root/build golden=$root/tests/golden peer=$root/bench/peer_gpu.py data=$results/data
    local text=${HONE_CHECK_TEXT:-$root/../shared/data/text/novels}
    "$hone" tokenizer train --vocab 32768 --output "$results/tokenizer.json" "$text"/*.txt > "$results/data.log" 2>&1 &&
        "$hone" prepare --tokenizer "$results/tokenizer.json" --output "$data" "$text" >> "$results/data.log" 2>&1
}
if compgen -G "$here/hone-*.tar.gz" > /dev/null; then unpacked; else built; fi ||
    { echo "gpu_check: could not unpack or build: see $results/*.log" >&2; exit 1; }
export HONE_GOLDEN=$golden

# --- stages -------------------------------------------------------------------------------------------------------------

small="{model_type: llama, vocab_size: 32768, hidden_size: 128, intermediate_size: 344, num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 2, tie_word_embeddings: true}"
gpt2="{model_type: gpt2, vocab_size: 50304, n_positions: 1024, n_embd: 768, n_layer: 12, n_head: 12}"
llama="{model_type: llama, vocab_size: 128256, hidden_size: 2048, intermediate_size: 8192, num_hidden_layers: 16, num_attention_heads: 32, num_key_value_heads: 8, head_dim: 64, max_position_embeddings: 4096, tie_word_embeddings: true}"

recipe() { # NAME MODEL LINE...: a recipe in $results
    local name=$1 model=$2
    shift 2
    printf '%s\n' "model: $model" "dataset: $data" "output_dir: $results/$name.run" "resume: never" "run_store: none" "logging_steps: 1" "eval_tokens: 4096" \
        "warmup_ratio: 0" "$@" > "$results/$name.yaml"
}
train() { "$hone" pretrain "$results/$1.yaml" "${@:2}" && rate "$results/$1.run/log.jsonl"; }

# The median rate of the steps behind the third.
rate() {
    python3 - "$1" << 'PYTHON'
import json, statistics, sys
rates = [row["tokens_per_second"] for row in map(json.loads, open(sys.argv[1])) if row["event"] == "step"]
print(f"hone {statistics.median(rates[3:] or rates):,.0f} tokens/s over {len(rates)} steps")
PYTHON
}

curve() {
    recipe curve "$small" "cutoff_len: 256" "per_device_train_batch_size: 2" "max_steps: 30" "learning_rate: 1e-3"
    "$hone" pretrain "$results/curve.yaml" backend=cpu "output_dir=$results/curve_cpu.run" && "$hone" pretrain "$results/curve.yaml" backend=cuda "output_dir=$results/curve_cuda.run" || return 1
    python3 - "$results/curve_cpu.run/log.jsonl" "$results/curve_cuda.run/log.jsonl" << 'PYTHON'
import json, sys
losses = [[row["loss"] for row in map(json.loads, open(path)) if row["event"] == "step"] for path in sys.argv[1:]]
worst = max(abs(a - b) / a for a, b in zip(*losses, strict=True))
print(f"worst difference of {len(losses[0])} losses: {worst:.2g} (bar 1e-3)")
sys.exit(len(losses[0]) < 30 or not worst <= 1e-3)
PYTHON
}

sanitizer() {
    command -v compute-sanitizer > /dev/null || { echo "skipped: compute-sanitizer is not installed"; return 0; }
    compute-sanitizer --error-exitcode 1 "$hone" pretrain "$results/curve.yaml" backend=cuda max_steps=2 "output_dir=$results/sanitizer.run"
}

# bench NAME SECONDS: hone's side, then PyTorch's.
bench() {
    local name=$1 seconds=$2
    stage "$name" "$seconds" "${@:3}"
    case ,${HONE_CHECK:-$name}, in *",$name,"*) ;; *) return 0 ;; esac
    [ -n "$has_torch" ] || { row "  PyTorch" none 0 "$peer_python has no torch that finds the GPU"; return; }
    stage "$name.peer" "$((seconds + 60))" "$peer_python" "$peer" --only "$name" --seconds "$seconds" --json "$results/$name.json"
}

say "hone $("$hone" --version | sed -n 1p | cut -d ' ' -f 2-) on $(smi name), driver $(smi driver_version)"
say "clocks $(smi clocks.sm) MHz SM of $(smi clocks.max.sm), $(smi clocks.mem) MHz memory; power limit $(smi power.limit) W; $(smi memory.total) MiB, $(smi memory.used) in use"
has_torch=$("$peer_python" -c 'import torch; print(torch.__version__ if torch.cuda.is_available() else "")' 2> /dev/null)
say "PyTorch ${has_torch:-none}"
stage doctor 30 "$hone" doctor
stage ops 100 "$tests/test_ops_gpu"
stage goldens 60 "$tests/test_goldens_gpu"
export -f curve sanitizer train rate recipe
export hone results data small
stage curve 60 bash -c curve
stage sanitizer 60 bash -c sanitizer
bench attention 30 "$tests/bench_attention"
recipe gpt2 "$gpt2" "backend: cuda" "precision: bf16" "cutoff_len: 1024" "per_device_train_batch_size: 16" "gradient_accumulation_steps: 4" "max_steps: 12"
bench gpt2 60 bash -c 'train gpt2'
recipe llama "$llama" "backend: cuda" "precision: bf16" "cutoff_len: 4096" "per_device_train_batch_size: 1" "gradient_accumulation_steps: 4" "max_steps: 8"
bench llama 60 bash -c 'train llama'
say "behind the stages: clocks $(smi clocks.sm) MHz SM, $(smi temperature.gpu) C, throttled: $(smi clocks_throttle_reasons.active); $((SECONDS - began)) s"
exit $failed
