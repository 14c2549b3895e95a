#!/usr/bin/env bash
# gpu_check.sh [RESULTS]: what hone does on the GPU of this machine, in one go of nine minutes at most, as one table. No network.
# Lies in the folder that tools/gpu_pack.sh gathered, or in tools/ of the repository, which it then builds (nvcc, build/).
#     ops        the op harness on the GPU against the portable kernels
#     goldens    logits, losses, gradients and optimizer steps against PyTorch's
#     curve      a small model's losses over 30 steps, GPU against CPU: the bar is 1e-3, as bench/parity.py's
#     memcheck, racecheck    compute-sanitizer on a sample of the op harness, where it is installed
#     attention  forward and backward alone, in TFLOP/s, beside PyTorch's scaled_dot_product_attention
#     fp8        the llama stage's model in fp8 (on Hopper with a scale for each block, too) and in bf16: its loss (the bar is 0.25 %), and tokens/s;
#                skipped where the GPU has none
#     gpt2, llama, lora, qlora, generate    speed and peak memory beside bench/peer_gpu.py, where PyTorch finds the GPU (lora and generate
#                beside transformers and PEFT, too, where they are installed), and a table of ratios
# A stage has a time limit; one that fails leaves the others running. Exit code: 0 all passed, 1 one failed, 2 there is no GPU to check.
# RESULTS: a folder for logs and table (default: gpu_check in the working folder). HONE_PEER: the Python with PyTorch (default python3).
# HONE_CHECK: names of stages, the others are left out; HONE_CHECK_TINY: shapes that take seconds, to try the stages themselves; with HONE_LIBCUDA and HONE_CUBLASLT naming the stub of the tests, and a program
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
wanted() { case ,${HONE_CHECK:-$1}, in *",$1,"*) ;; *) return 1 ;; esac; }
stage() {
    local name=$1 limit=$2 start=$SECONDS left code verdict what
    shift 2
    wanted "${name%.*}" || return 0
    left=$((total_s - (SECONDS - began)))
    if [ "$left" -lt 5 ]; then row "$name" "no time" 0 ""; failed=1; return 1; fi
    [ "$limit" -le "$left" ] || limit=$left
    timeout --kill-after=5 "$limit" "$@" > "$results/$name.log" 2>&1
    code=$?
    verdict=passed
    [ $code -eq 0 ] || { verdict=FAILED; failed=1; }
    what=$(grep -aE 'skipped:|tokens/s|TFLOP/s|ERROR SUMMARY|RACECHECK SUMMARY|worst' "$results/$name.log" | tail -n 1 | cut -c 1-110)
    if [ $code -eq 124 ]; then what="stopped after $limit s"
    elif [ $code -ne 0 ]; then what="code $code: $(grep -aE 'ERROR|error|hone:|off by' "$results/$name.log" | tail -n 1 | cut -c 1-100) ($results/$name.log)"
    elif grep -aq '^skipped: the \(op harness\|goldens\) on a GPU' "$results/$name.log"; then verdict=FAILED; failed=1
    fi
    row "$name" "$verdict" $((SECONDS - start)) "$what"
    [ $verdict = passed ]
}

# --- what runs ----------------------------------------------------------------------------------------------------------

unpacked() { # the folder of the pack, unpacked: sets hone, tests, data, golden, peer_script, write_model
    local work=$results/unpacked
    mkdir -p "$work" && for archive in "$here"/hone-*.tar.gz "$here/tests.tar.gz" "$here/data.tar.gz"; do tar -C "$work" -xzf "$archive" || return 1; done
    hone=$(echo "$work"/hone-*/bin/hone) tests=$work/tests data=$work/data golden=$work/tests/golden peer_script=$here/peer_gpu.py write_model=$here/random_model.py
    LD_LIBRARY_PATH=$tests:${hone%/bin/hone}/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
}
built() { # in the repository
    local root=$here/..
    { cmake -S "$root" -B "$root/build" -G Ninja && ninja -C "$root/build" hone test_ops_gpu test_goldens_gpu bench_attention; } > "$results/build.log" 2>&1 || return 1
    hone=$root/build/hone tests=$root/build golden=$root/tests/golden peer_script=$root/bench/peer_gpu.py write_model=$root/tools/random_model.py data=$results/data
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

if [ -n "${HONE_CHECK_TINY:-}" ]; then
    tiny="{model_type: llama, vocab_size: 2048, hidden_size: 64, intermediate_size: 96, num_hidden_layers: 1, num_attention_heads: 2, tie_word_embeddings: true}"
    small=$tiny gpt2=$tiny llama=$tiny
    curve_steps=3 curve_length=32 lengths=(16 16 16) rows=(2 2 2) steps=3 shape_8b=tiny shape_1b=tiny generate="4 4 3" eval_tokens=64 fp8_from=0
else
    curve_steps=30 curve_length=256 lengths=(1024 4096 2048) rows=(16 1 4) steps=8 shape_8b=8b shape_1b=1b generate="256 128 128" eval_tokens=4096 fp8_from=400
fi

recipe() { # NAME MODEL LINE...: a recipe in $results
    local name=$1 model=$2
    shift 2
    printf '%s\n' "$model" "dataset: $data" "output_dir: $results/$name.run" "resume: never" "run_store: none" "logging_steps: 1" "eval_tokens: $eval_tokens" \
        "warmup_ratio: 0" "$@" > "$results/$name.yaml"
}
train() { "$hone" "$1" "$results/$2.yaml" && rate "$results/$2.run/log.jsonl"; }

# The median rate of the steps behind the third.
rate() {
    python3 - "$1" << 'PYTHON'
import json, statistics, sys
rates = [row["tokens_per_second"] for row in map(json.loads, open(sys.argv[1])) if row["event"] == "step"]
print(f"hone {statistics.median(rates[3:] or rates):,.0f} tokens/s over {len(rates)} steps")
PYTHON
}

# A model of random weights in memory, deleted at the end: $scratch/NAME
scratch=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "$results")")
trap 'rm -rf "$scratch"' EXIT
random_model() {
    local sizes
    [ ! -e "$scratch/$1" ] || return 0
    case $1 in
    8b) sizes='"vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": false' ;;
    1b) sizes='"vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "tie_word_embeddings": true' ;;
    tiny) sizes='"vocab_size": 2048, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": true' ;;
    esac
    echo "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", $sizes, \"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-5, \"rope_theta\": 500000.0," \
        "\"hidden_act\": \"silu\", \"torch_dtype\": \"bfloat16\", \"bos_token_id\": null, \"eos_token_id\": null}" > "$results/$1.json"
    python3 "$write_model" "$results/$1.json" "$scratch/$1"
}
tune() { random_model "$shape_8b" && train tune "$1"; }

# ROWS PROMPT NEW: as many requests at once; tokens a second from the first prompt to the last token.
generation() {
    random_model "$shape_1b" || return 1
    python3 -c "
import json, random
for row in range($1): print(json.dumps(dict(ids=[random.Random(row * 4096 + n).randrange(2048) for n in range($2)])))" > "$results/prompts.jsonl"
    "$hone" generate "$scratch/$shape_1b" --input "$results/prompts.jsonl" --batch "$1" --max-new-tokens "$3" --ignore-eos --backend cuda --precision bf16 \
        2> "$results/generate.said" > "$results/generated.jsonl" || { cat "$results/generate.said"; return 1; }
    cat "$results/generate.said"
    python3 - "$results/generate.said" << 'PYTHON'
import re, sys
said = re.search(r"prompt \d+ tokens ([\d.]+) s .* new (\d+) tokens ([\d.]+) s", open(sys.argv[1]).read())
print(f"hone {int(said[2]) / max(float(said[1]) + float(said[3]), 1e-9):,.0f} tokens/s over {said[2]} new tokens")
PYTHON
}

curve() {
    recipe curve "model: $small" "cutoff_len: $curve_length" "per_device_train_batch_size: 2" "max_steps: $curve_steps" "learning_rate: 1e-3"
    for on in cpu cuda; do "$hone" pretrain "$results/curve.yaml" backend=$on "output_dir=$results/curve_$on.run" || return 1; done
    python3 - "$results/curve_cpu.run/log.jsonl" "$results/curve_cuda.run/log.jsonl" "$curve_steps" << 'PYTHON'
import json, sys
losses = [[row["loss"] for row in map(json.loads, open(path)) if row["event"] == "step"] for path in sys.argv[1:3]]
worst = max(abs(a - b) / a for a, b in zip(*losses, strict=True))
print(f"worst difference of {len(losses[0])} losses: {worst:.2g} (bar 1e-3)")
sys.exit(len(losses[0]) < int(sys.argv[3]) or not worst <= 1e-3)
PYTHON
}

# The last three losses' mean in fp8 and bf16, and the medians of rates.
fp8() {
    python3 -c "import sys; sys.exit(not ${capability:-9.0} >= 8.9)" || { echo "skipped: fp8 wants compute capability 8.9, this GPU has $capability"; return 0; }
    recipe fp8 "model: $llama" "backend: cuda" "cutoff_len: $fp8_length" "per_device_train_batch_size: $fp8_rows" "fp8_flops_per_byte: $fp8_from" "max_steps: $((2 * steps))" "learning_rate: 3e-4"
    local ways=(bf16 fp8)
    case ${capability:-9.0} in 9.*) ways+=(block) ;; esac
    for way in "${ways[@]}"; do
        case $way in block) keys="precision=fp8 fp8_scaling=block" ;; *) keys="precision=$way" ;; esac
        "$hone" pretrain "$results/fp8.yaml" $keys "output_dir=$results/fp8_$way.run" || return 1
    done
    python3 - "$results" "${ways[@]}" << 'PYTHON'
import json, statistics, sys
results, *ways = sys.argv[1:]
runs = [[row for row in map(json.loads, open(f"{results}/fp8_{way}.run/log.jsonl")) if row["event"] == "step"] for way in ways]
loss = [statistics.mean(row["loss"] for row in run[-3:]) for run in runs]
rate = [statistics.median(row["tokens_per_second"] for row in run[3:] or run) for run in runs]
off = [abs(l / loss[0] - 1) for l in loss]
said = [f"{way} {r:,.0f} ({r / rate[0]:.2f}x) {100 * o:.2g} %" for way, r, o in zip(ways[1:], rate[1:], off[1:])]
print(f"tokens/s, loss off by (bar 0.25 %): bf16 {rate[0]:,.0f}; " + "; ".join(said))
sys.exit(not max(off) <= 0.0025)
PYTHON
}

# One variant of each op and a sample of the rest: under the tool a kernel takes many times as long.
sanitizer() { # memcheck or racecheck
    command -v compute-sanitizer > /dev/null || { echo "skipped: compute-sanitizer is not installed"; return 0; }
    HONE_TEST_EVERY=97 compute-sanitizer --tool "$1" --error-exitcode 1 "$tests/test_ops_gpu"
}

used_mib() { smi memory.used; }
# What the device says is in use, while a stage runs: its peak above what was in use before, in MiB, in NAME.mib.
watched() { # NAME COMMAND...
    local name=$1 before most now code watcher
    shift
    before=$(used_mib)
    ( most=0; while now=$(used_mib); do [ "${now:-0}" -le "$most" ] || { most=$now; echo $((most - before)) > "$results/$name.mib"; }; sleep 0.3; done ) &
    watcher=$!
    "$@"
    code=$?
    kill $watcher 2> /dev/null
    return $code
}

# bench NAME SECONDS PEERS COMMAND: hone's side, then each case of peer_gpu.py, separated by commas.
bench() {
    local name=$1 seconds=$2 peers=$3 peer
    wanted "$name" || return 0
    stage "$name" "$seconds" bash -c "watched $name $4"
    [ -n "$has_torch" ] || { row "  PyTorch" none 0 "$peer_python has no torch that finds the GPU"; return; }
    for peer in ${peers//,/ }; do
        stage "$name.$peer" "$((seconds + 60))" "$peer_python" "$peer_script" --only "$peer" --seconds "$seconds" --json "$results/$name.$peer.json"
    done
}

# Tokens a second and memory of both sides, and their ratios; what was not measured is left open.
ratios() {
    python3 - "$results" << 'PYTHON'
import json, os, re, sys
results = sys.argv[1]
bars = {"gpt2": ("gpt2", ">= 1.3x"), "llama": ("llama", ""), "lora": ("peft", ">= 2x, memory <= 0.6x"), "qlora": ("", ""), "generate": ("hf_generate", ">= 5x")}
def read(name):
    path = os.path.join(results, name)
    return open(path, errors="replace").read() if os.path.exists(path) else ""
def number(value, form): return form.format(value) if value else "-"
lines = []
for name, (against, bar) in bars.items():
    rate = re.findall(r"^hone ([\d,]+) tokens/s", read(name + ".log"), re.M)
    if not rate: continue
    rate, gib = float(rate[-1].replace(",", "")), float(read(name + ".mib") or 0) / 1024
    peers = sorted(f.split(".")[1] for f in os.listdir(results) if f.startswith(name + ".") and f.endswith(".json") and f.count(".") == 2)
    for peer in peers or [None]:
        best = json.loads(read(f"{name}.{peer}.json"))["cases"][0]["best"] if peer else None
        theirs, memory = (best["tokens_per_s"], best["memory_bytes"] / 2**30) if best else (0, 0)
        choices = ", ".join(f"{k} {v}" for k, v in (best or {}).items() if k in ("micro_batch", "checkpointing", "precision", "attention", "graphs", "compiled", "cache"))
        lines.append(f"{name:9} {rate:10,.0f} {number(gib, '{:8.2f}'):>8}   {peer or 'none':11} {number(theirs, '{:10,.0f}'):>10} {number(memory, '{:8.2f}'):>8}"
                     f"   {number(theirs and rate / theirs, '{:6.2f}x'):>7} {number(memory and gib / memory, '{:6.2f}x'):>7}   {bar if peer == against else ''}  {choices}".rstrip())
if lines: print("          hone tok/s      GiB   PyTorch's        tok/s      GiB     speed  memory   bar, PyTorch's best choices", *lines, sep="\n")
PYTHON
}

say "hone $("$hone" --version | sed -n 1p | cut -d ' ' -f 2-) on $(smi name), driver $(smi driver_version)"
say "clocks $(smi clocks.sm) MHz SM of $(smi clocks.max.sm), $(smi clocks.mem) MHz memory; power limit $(smi power.limit) W; $(smi memory.total) MiB, $(smi memory.used) in use"
has_torch=$("$peer_python" -c 'import torch; print(torch.__version__ if torch.cuda.is_available() else "")' 2> /dev/null)
say "PyTorch ${has_torch:-none}"
stage doctor 30 "$hone" doctor
stage ops 100 "$tests/test_ops_gpu"
stage goldens 60 "$tests/test_goldens_gpu"
export -f curve fp8 sanitizer train rate recipe tune random_model generation watched used_mib smi
capability=$(smi compute_cap) fp8_length=${lengths[1]} fp8_rows=${rows[1]}
export hone results data small llama tests steps fp8_from fp8_length fp8_rows capability eval_tokens scratch write_model curve_steps curve_length shape_8b shape_1b
stage curve 60 bash -c curve
stage memcheck 60 bash -c 'sanitizer memcheck'
stage racecheck 60 bash -c 'sanitizer racecheck'
bench attention 30 attention "$tests/bench_attention"
recipe gpt2 "model: $gpt2" "backend: cuda" "precision: bf16" "cutoff_len: ${lengths[0]}" "per_device_train_batch_size: ${rows[0]}" "gradient_accumulation_steps: 4" "max_steps: $steps"
bench gpt2 45 gpt2 'train pretrain gpt2'
recipe llama "model: $llama" "backend: cuda" "precision: bf16" "cutoff_len: ${lengths[1]}" "per_device_train_batch_size: ${rows[1]}" "gradient_accumulation_steps: 4" "max_steps: $steps"
bench llama 45 llama 'train pretrain llama'
stage fp8 60 bash -c fp8
for type in lora qlora; do
    recipe $type "model_name_or_path: $scratch/$shape_8b" "backend: cuda" "precision: bf16" "finetuning_type: $type" "lora_rank: 16" "cutoff_len: ${lengths[2]}" \
        "per_device_train_batch_size: ${rows[2]}" "gradient_checkpointing: true" "max_steps: $steps"
done
bench lora 60 lora,peft 'tune lora'
bench qlora 60 "" 'tune qlora'
bench generate 45 generate,hf_generate "generation $generate"
ratios | tee -a "$results/table.txt"
say "behind the stages: clocks $(smi clocks.sm) MHz SM, $(smi temperature.gpu) C, throttled: $(smi clocks_throttle_reasons.active); $((SECONDS - began)) s"
exit $failed
