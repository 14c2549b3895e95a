#!/usr/bin/env python3
"""bench/time_to_loss.py: how long hone takes to reach the loss that PyTorch has after a given time.

    bench/time_to_loss.py                        the measure: 1,800 s of the peer, some six hours in all
    bench/time_to_loss.py --budget 60 --seeds 1  a trial of the whole way
    bench/time_to_loss.py --recipe FILE          another recipe of hone's (YAML that is JSON); the parameters must not be more

The same token files for both sides: the novels of ../shared/data but Stevenson's and Ward's, which are held out and read in full,
in the same windows (the last tokens that no whole batch of the peer covers are left away). Bits per byte of the raw text.

    peer      llama-15m, 16 x 256, shuffled, compiled, cosine over exactly the steps that fit into the budget of train_seconds;
              f32 and bf16, the faster by tokens/s with each learning rate of --rates, the other with the best of them unless it is
              slower by half. Its time is the least of what the run took, its steps at its own median and at the pace of a short run
              made first: other work on the machine does not make it slow
    default   the same with nanoGPT's: learning rate 6e-4, beta2 0.95, decay 0.1, warm-up 2,000 steps or a tenth of the run
    target    the lowest held-out bits per byte of the tuned runs
    hone      runs of so many steps that the model folder, read again by `hone eval`, is at the target or below: from a guess, then
              by the slope between two runs, then a twentieth longer until it is there. Its time is the whole process: start, plan,
              training, saving, the folder; median over --seeds
    equal     one run of hone's over the whole budget

Every finished run is a row of OUT/state.json and is not made again: stop it and start it as you like. Energy where RAPL can be read.
"""
import argparse, glob, json, math, os, shutil, statistics, subprocess, sys, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run as bench  # noqa: E402

HELD = ("Stevenson", "Ward")
ROWS, T, VOCAB = 16, 256, 8192
RECIPE = dict(  # chosen on two other novels: docs/ablations.md
    model=dict(model_type="qwen3", vocab_size=VOCAB, hidden_size=256, intermediate_size=688, num_hidden_layers=3, num_attention_heads=4,
               num_key_value_heads=4, head_dim=64, max_position_embeddings=1024, tie_word_embeddings=True),
    precision="auto", zero_init_outputs=True, optimizer="muon", muon_learning_rate=0.02, learning_rate=6e-3, warmup_steps=10,
    lr_scheduler_type="wsd", decay_ratio=0.6, min_lr_ratio=0.0, per_device_train_batch_size=16)


class State:
    """Rows of finished runs, on disk after each."""
    def __init__(self, folder):
        self.path = os.path.join(folder, "state.json")
        self.rows = json.load(open(self.path)) if os.path.exists(self.path) else {}

    def once(self, name, make):
        if name not in self.rows:
            print(f"... {name}", flush=True)
            self.rows[name] = make()
            with open(self.path + ".new", "w") as f:
                json.dump(self.rows, f, indent=1)
            os.replace(self.path + ".new", self.path)
        return self.rows[name]


def count_params(folder):
    with open(os.path.join(folder, "model.safetensors"), "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    return sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")


def joules():
    """Of all packages since some start; None where the meter cannot be read."""
    try:
        return sum(int(open(p).read()) for p in glob.glob("/sys/class/powercap/intel-rapl:?/energy_uj")) / 1e6 or None
    except OSError:
        return None


def metered(work):
    """work()'s row with the seconds and joules that it took."""
    before, start = joules(), time.monotonic()
    row = work()
    after, row["wall_s"] = joules(), round(time.monotonic() - start, 2)
    row["joules"] = round(after - before, 1) if before and after and after > before else None
    return row


def write_tokens(folder, held_out, kept=(), most=1 << 40):
    """A tokenizer and token files of the novels: train.u16 without the authors held out or kept back, held.u16 of whole batches, `most` tokens of it."""
    novels = sorted(glob.glob(os.path.join(bench.SHARED, "data", "text", "novels", "[A-Z]*_*.txt")))
    held = [p for p in novels if os.path.basename(p).startswith(held_out)]
    if len(held) != len(held_out):
        raise bench.Skip("no ../shared/data")
    train = [p for p in novels if not os.path.basename(p).startswith(held_out + kept)]
    tokenizer, made = os.path.join(folder, "peer", "tokenizer.json"), {}
    os.makedirs(os.path.dirname(tokenizer), exist_ok=True)
    start = time.monotonic()
    bench.run(bench.HONE, "tokenizer", "train", "--vocab", VOCAB, "--output", tokenizer, *train)
    made["tokenizer_s"] = round(time.monotonic() - start, 2)
    start = time.monotonic()
    bench.peer("tokens", "--tokenizer", tokenizer, "--eot", 0, "--out", os.path.join(folder, "train.u16"), "--text", *train)
    made["prepare_s"] = round(time.monotonic() - start, 2)
    path = os.path.join(folder, "held.u16")
    said = bench.peer("tokens", "--tokenizer", tokenizer, "--out", path, "--text", *held)
    tokens = min(most, said["tokens"] - 1) // (ROWS * T) * ROWS * T
    os.truncate(path, 2 * (tokens + 1))
    return dict(made, bytes_per_token=said["bytes_per_token"], held_tokens=tokens, left_away=said["tokens"] - 1 - tokens)


def prepare(folder):
    bench.peer("init", "--shape", "llama-15m", "--out", os.path.join(folder, "peer"))
    return write_tokens(folder, HELD)


def peer_run(folder, data, steps, rate, bf16, *more):
    held = ("--held", os.path.join(folder, "held.u16"), "--eval-every", steps, "--eval-rows", data["held_tokens"] // T,
            "--bytes-per-token", data["bytes_per_token"]) if "--no-held" not in more else ()
    row = metered(lambda: bench.peer("pretrain", "--model", os.path.join(folder, "peer"), "--tokens", os.path.join(folder, "train.u16"), "--batch", ROWS,
                                     "--seq", T, "--steps", steps, "--lr", rate, "--shuffle", 1, "--schedule", "cosine", "--compile", "--threads", bench.THREADS,
                                     *(("--bf16",) if bf16 else ()), *held, *(m for m in more if m != "--no-held")))
    row["bits_per_byte"] = row["evals"][-1]["bits_per_byte"] if row["evals"] else None
    return {k: row[k] for k in ("steps", "bf16", "seconds_per_step", "tokens_per_second", "train_seconds", "bits_per_byte", "wall_s", "joules", "peak_mib")}


def hone_run(folder, data, recipe, seed, **length):
    """A whole run in a process of its own, then its folder read again."""
    out = os.path.join(folder, "hone")
    shutil.rmtree(out, ignore_errors=True)
    keys = dict(recipe, dataset=os.path.join(folder, "train.u16"), tokenizer=os.path.join(folder, "peer", "tokenizer.json"), cutoff_len=T,
                neat_packing=False, seed=seed, threads=bench.THREADS, output_dir=out, run_store="none", **length)
    path = os.path.join(folder, "recipe.yaml")
    with open(path, "w") as f:
        json.dump(keys, f)
    row = metered(lambda: bench.run(bench.HONE, "pretrain", path) and {})
    log = [json.loads(line) for line in open(os.path.join(out, "log.jsonl"))]
    end = [r for r in log if r["event"] == "end"][-1]
    seen = json.loads(bench.run(bench.HONE, "eval", os.path.join(out, "model"), "--data", os.path.join(folder, "held.u16"), "--context", T, "--json").stdout)
    if seen["tokens"] != data["held_tokens"]:
        raise RuntimeError(f"hone eval read {seen['tokens']} held-out tokens, the peer {data['held_tokens']}")
    return dict(row, steps=end["step"], tokens=end["trained_tokens"], seconds_in_steps=round(end["seconds_in_steps"], 2), peak_mib=end["peak_resident_bytes"] / 2**20,
                params=count_params(os.path.join(out, "model")), bits_per_byte=round(seen["loss"] / math.log(2) / data["bytes_per_token"], 5))


def crossing(state, folder, data, recipe, seed, target, guess):
    """The shortest of the runs tried that reaches the target. Each next length from the slope in log(steps), a little beyond."""
    tried, steps = [], max(20, guess)
    while True:
        row = state.once(f"hone seed {seed}, {steps} steps", lambda n=steps: hone_run(folder, data, recipe, seed, max_steps=n))
        tried.append(row)
        below = [r for r in tried if r["bits_per_byte"] <= target]
        above = [r for r in tried if r["bits_per_byte"] > target]
        most, least = (max(above, key=lambda r: r["steps"]) if above else None), (min(below, key=lambda r: r["steps"]) if below else None)
        if least and (len(tried) >= 5 or least["steps"] <= 20 or (most and least["steps"] <= 1.06 * most["steps"])):
            return least
        if len(tried) >= 12:
            raise RuntimeError(f"{recipe}: {target} bits per byte are not reached after {max(r['steps'] for r in tried)} steps")
        last = sorted(tried, key=lambda r: abs(r["bits_per_byte"] - target))[:2]
        slope = -0.25
        if len(last) == 2 and last[0]["steps"] != last[1]["steps"]:
            slope = min(-0.05, (last[0]["bits_per_byte"] - last[1]["bits_per_byte"]) / math.log(last[0]["steps"] / last[1]["steps"]))
        steps = round(last[0]["steps"] * math.exp(max(-0.7, min(0.7, (target - last[0]["bits_per_byte"]) / slope))) * 1.01)
        if most and least:
            steps = min(max(steps, round(1.03 * most["steps"])), round(0.97 * least["steps"]))
        elif most:
            steps = max(steps, round(1.05 * most["steps"]))
        else:
            steps = max(20, min(steps, round(0.8 * least["steps"])))


def fitting_steps(state, folder, data, bf16, budget):
    name = "bf16" if bf16 else "f32"
    row = state.once(f"peer pace {name}", lambda: peer_run(folder, data, 20, 1e-3, bf16, "--no-held"))
    return max(10, int(budget / row["seconds_per_step"])), row["tokens_per_second"]


def tuned_peer(state, folder, data, a):
    paces = {bf16: fitting_steps(state, folder, data, bf16, a.budget) for bf16 in (False, True)}
    fast = max(paces, key=lambda b: paces[b][1])

    def at(bf16, rate):
        steps = paces[bf16][0]
        return state.once(f"peer {'bf16' if bf16 else 'f32'} {rate:g}, {steps} steps", lambda: peer_run(folder, data, steps, rate, bf16, "--warmup", max(10, steps // 20)))
    runs = [(at(fast, rate), rate) for rate in a.rates]
    best_rate = min(runs, key=lambda r: r[0]["bits_per_byte"])[1]
    if paces[fast][1] < 1.5 * paces[not fast][1]:
        runs.append((at(not fast, best_rate), best_rate))
    steps = paces[fast][0]
    default = state.once(f"peer default, {steps} steps", lambda: peer_run(folder, data, steps, 6e-4, fast, "--warmup", min(2000, max(1, steps // 10))))

    def timed(row):
        pace = min(row["seconds_per_step"], ROWS * T / paces[row["bf16"]][1])
        return dict(row, train_seconds=round(min(row["train_seconds"], row["steps"] * pace), 1))
    best, rate = min(runs, key=lambda r: r[0]["bits_per_byte"])
    return (timed(best), rate), timed(default)


def say(what, row, baseline=None):
    ratio = f"{row['wall_s'] / baseline:8.3f}" if baseline else " " * 8
    energy = f"{row['joules']:.0f} J" if row["joules"] else "not metered"
    tokens = row.get("tokens") or row["steps"] * ROWS * T
    print(f"{what:34} {row['bits_per_byte']:8.4f} {row['wall_s']:9.1f} s {ratio} {row['steps']:6d} steps {tokens:10d} tokens {row['peak_mib']:6.0f} MiB  {energy}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=1800, help="seconds that the peer trains")
    parser.add_argument("--rates", type=lambda s: [float(x) for x in s.split(",")], default=[3e-4, 1e-3, 3e-3], help="the peer's learning rates")
    parser.add_argument("--seeds", type=lambda s: [int(x) for x in s.split(",")], default=[1, 2, 3], help="hone's")
    parser.add_argument("--recipe", help="JSON of recipe keys in place of the one here")
    parser.add_argument("--out", default=os.path.join(bench.BUILD, "time_to_loss"))
    a = parser.parse_args()
    folder = os.path.join(a.out, f"{a.budget:g}s")
    os.makedirs(folder, exist_ok=True)
    recipe = json.load(open(a.recipe)) if a.recipe else RECIPE
    state = State(folder)
    if state.once("recipe", lambda: recipe) != recipe:
        parser.error(f"{state.path} is of another recipe; choose another --out")
    data = state.once("prepare", lambda: prepare(folder))
    (best, rate), default = tuned_peer(state, folder, data, a)
    found = []
    for seed in a.seeds:
        guess = statistics.median_low([r["steps"] for r in found]) if found else round(0.25 * best["steps"] * 16 / recipe["per_device_train_batch_size"])
        found.append(crossing(state, folder, data, recipe, seed, best["bits_per_byte"], guess))
    median = sorted(found, key=lambda r: r["wall_s"])[(len(found) - 1) // 2]
    easy = crossing(state, folder, data, recipe, a.seeds[0], default["bits_per_byte"], median["steps"])
    equal = state.once(f"hone over {a.budget:g} s", lambda: hone_run(folder, data, recipe, a.seeds[0], max_time=a.budget))
    peer_params = count_params(os.path.join(folder, "peer"))

    print(f"\nheld out: {', '.join(HELD)}, {data['held_tokens']} tokens ({data['left_away']} at the end left away), {data['bytes_per_token']:.3f} bytes a token")
    print(f"before either side's clock: tokenizer {data['tokenizer_s']} s, token files {data['prepare_s']} s")
    print(f"parameters: PyTorch {peer_params:,}, hone {median['params']:,}\n")
    print(f"{'':34} {'bits/byte':>8} {'wall':>11} {'ratio':>8}")
    for name, row in (("PyTorch, tuned (%s, %g)" % ("bf16" if best["bf16"] else "f32", rate), best), ("PyTorch, nanoGPT's defaults", default)):
        say(name, dict(row, wall_s=row["train_seconds"]))
    for seed, row in zip(a.seeds, found):
        say(f"hone to the tuned one's, seed {seed}", row, best["train_seconds"])
    say("median", median, best["train_seconds"])
    say("hone to the default one's", easy, default["train_seconds"])
    say("hone in equal time", equal, best["train_seconds"])
    ratio = median["wall_s"] / best["train_seconds"]
    print(f"\ntime to the tuned baseline's loss: {ratio:.3f} of its time (bar 0.2, {'holds' if ratio <= 0.2 else 'MISSED'}); tokens "
          f"{median['tokens'] / (best['steps'] * ROWS * T):.3f}; against the defaults {easy['wall_s'] / default['train_seconds']:.3f}; "
          f"in equal time {best['bits_per_byte'] - equal['bits_per_byte']:+.4f} bits per byte lower")
    if median["params"] > peer_params:
        print("hone's model has more parameters than the peer's: the comparison is not the one that was asked for")
    return 0


if __name__ == "__main__":
    bench.finish(main)
