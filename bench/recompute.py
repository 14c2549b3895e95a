#!/usr/bin/env python3
"""bench/recompute.py: what memory costs: hone's `memory` against storing all and per-block checkpointing, one recipe.

    bench/recompute.py [gpt2|llama] [--steps 4]

Each row is one run of `hone pretrain`: planned and measured peak of the process, the share of work that the plan foretold,
and the best step. `memory` is asked for the peak of per-block checkpointing, and for points between that and storing all.
All rows must end with the same loss, bit for bit.
"""
import argparse, json, os, random, array, subprocess, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HONE = os.path.join(ROOT, "build", "hone")
MODEL = {
    "gpt2": ("model_type: gpt2, vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12", 4, 512, 50257),
    "llama": ("model_type: llama, vocab_size: 8192, hidden_size: 384, intermediate_size: 1024, num_hidden_layers: 6,"
              " num_attention_heads: 6, num_key_value_heads: 6, tie_word_embeddings: true, pad_token_id: null", 16, 256, 8192),
}


def recipe(folder, shape):
    model, rows, length, vocab = MODEL[shape]
    random.seed(1)
    with open(os.path.join(folder, "ids.u16"), "wb") as f:
        array.array("H", (random.randrange(min(vocab, 65536)) for _ in range(40 * rows * length))).tofile(f)
    path = os.path.join(folder, "recipe.yaml")
    with open(path, "w") as f:
        f.write(f"model: {{{model}}}\ndataset: {folder}/ids.u16\ncutoff_len: {length}\nper_device_train_batch_size: {rows}\n"
                "logging_steps: 1\nrun_store: none\n")
    return path


def measure(folder, path, name, key, steps):
    out = os.path.join(folder, name.replace(" ", "-"))
    done = subprocess.run([HONE, "pretrain", path, f"max_steps={steps}", f"output_dir={out}", key], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    rows = [json.loads(line) for line in open(os.path.join(out, "log.jsonl"))]
    plan, end = rows[0]["plan"], rows[-1]
    step = [r for r in rows if r["event"] == "step"]
    subprocess.run(["rm", "-rf", out], check=True)
    return {"planned": plan["process_bytes"], "work": plan["recompute"]["work_share"], "peak": end["peak_resident_bytes"],
            "seconds": min(r["step_seconds"] for r in step[1:]), "loss": step[-1]["loss"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", nargs="?", default="gpt2", choices=MODEL)
    parser.add_argument("--steps", type=int, default=4)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = recipe(folder, a.shape)
        rows = [("stored", measure(folder, path, "stored", "memory=0", a.steps)),
                ("per block", measure(folder, path, "per block", "gradient_checkpointing=true", a.steps))]
        most, least = rows[0][1]["planned"], rows[1][1]["planned"] + (6 << 20)   # memory leaves some pages for this process to grow
        for share in (0, 0.5):
            memory = int(least + share * (most - least))
            rows.append((f"memory {memory / 2**20:.0f} MiB", measure(folder, path, f"memory {share}", f"memory={memory}", a.steps)))
    base = rows[0][1]
    print(f"{a.shape:18s} {'planned':>9s} {'measured':>9s} {'foretold':>9s} {'step':>8s} {'price':>7s}")
    for name, r in rows:
        if r["loss"] != base["loss"]:
            raise SystemExit(f"{name}: loss {r['loss']!r}, stored {base['loss']!r}")
        print(f"{name:18s} {r['planned'] / 2**20:5.0f} MiB {r['peak'] / 2**20:5.0f} MiB {100 * (r['work'] - base['work']):7.1f} %"
              f" {r['seconds']:6.2f} s {100 * (r['seconds'] / base['seconds'] - 1):5.1f} %")


if __name__ == "__main__":
    main()
