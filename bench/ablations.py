#!/usr/bin/env python3
"""bench/ablations.py: what each means to need fewer tokens is worth: the table of docs/ablations.md.

    bench/ablations.py                    all rows, three seeds; some 20 minutes on two cores
    bench/ablations.py --only skip        rows whose name has the word
    bench/ablations.py --steps 300        longer

A small decoder of 5.2 M parameters, 204,800 tokens of the novels of ../shared/data but Forster's and Gissing's, which are held out, and
Stevenson's and Ward's, which bench/time_to_loss.py keeps for its result. Every row names another and what it changes of that.
Finished runs are kept in OUT/state.json.
"""
import argparse, json, os, statistics, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run as bench  # noqa: E402
import time_to_loss as measure  # noqa: E402

HELD, KEPT, HELD_TOKENS = ("Forster", "Gissing"), measure.HELD, 131072
BASE = dict(
    model=dict(model_type="hone", vocab_size=measure.VOCAB, hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4,
               num_key_value_heads=4, head_dim=64, max_position_embeddings=1024, tie_word_embeddings=True),
    precision="bf16", optimizer="adamw", learning_rate=3e-3, warmup_steps=10, lr_scheduler_type="wsd", decay_ratio=0.6, min_lr_ratio=0.0,
    per_device_train_batch_size=8)
ROWS = [  # name, the row that it changes, keys (model.x: of the model), steps in units of --steps
    ("A: AdamW 3e-3, twice the tokens", None, {}, 2),
    ("B: Muon 0.02 on matrices, AdamW 3e-3 on the rest", "A", dict(optimizer="muon", muon_learning_rate=0.02), 1),
    ("C: B, outputs from zero", "B", dict(zero_init_outputs=True), 1),
    ("D: C, qk-norm", "C", {"model.qk_norm": True}, 1),
    ("E: D, AdamW 6e-3", "D", dict(learning_rate=6e-3), 1),
    ("F: E, 4 rows a step, twice the steps", "E", dict(per_device_train_batch_size=4), 2),
    ("E, Muon 0.03", "E", dict(muon_learning_rate=0.03), 1),
    ("E, cosine", "E", dict(lr_scheduler_type="cosine"), 1),
    ("E, decay from the start", "E", dict(decay_ratio=0.9), 1),
    ("E, logits capped at 15", "E", {"model.final_logit_softcapping": 15}, 1),
    ("E, squared ReLU, as many parameters", "E", {"model.hidden_act": "relu2", "model.intermediate_size": 1032}, 1),
    ("E, mean of the weights over the last fifth", "E", dict(average_ratio=0.2), 1),
    ("E, shorter pieces of rows over the first half", "E", dict(length_warmup_steps=0.5), 1),
    ("E, one table of value embeddings", "E", {"model.value_embeddings": 1}, 1),
    ("E, two tables of value embeddings", "E", {"model.value_embeddings": 2}, 1),
    ("E, skip connections", "E", {"model.skip_connections": True}, 1),
]


def recipe_of(name, steps):
    """The keys of a row: its own over those of the rows that it changes. A fraction of steps is one of the run's."""
    _, other, keys, units = next(r for r in ROWS if r[0] == name or r[0].startswith(name + ":"))
    recipe = recipe_of(other, steps)[0] if other else dict(BASE, model=dict(BASE["model"]))
    for key, value in keys.items():
        if key.startswith("model."):
            recipe["model"][key[6:]] = value
        else:
            recipe[key] = round(value * units * steps) if key.endswith("_steps") else value
    return recipe, units * steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="of a row of one unit")
    parser.add_argument("--seeds", type=lambda s: [int(x) for x in s.split(",")], default=[1, 2, 3])
    parser.add_argument("--only", default="", help="rows whose name has this")
    parser.add_argument("--out", default=os.path.join(bench.BUILD, "ablations"))
    a = parser.parse_args()
    os.makedirs(a.out, exist_ok=True)
    state = measure.State(a.out)
    data = state.once("prepare", lambda: measure.write_tokens(a.out, HELD, KEPT, HELD_TOKENS))
    rows = [r for r in ROWS if a.only in r[0]]

    def measured(name, seed):
        recipe, steps = recipe_of(name, a.steps)
        return state.once(json.dumps([recipe, steps, seed], sort_keys=True), lambda: measure.hone_run(a.out, data, recipe, seed, max_steps=steps))
    for seed in a.seeds:
        for name, *_ in rows:
            measured(name, seed)
    print(f"{HELD_TOKENS} tokens held out, {data['bytes_per_token']:.3f} bytes a token\n\n| | held out, bits/byte | mean | s in steps | parameters |\n|---|---|---|---|---|")
    for name, *_ in rows:
        seen = [measured(name, seed) for seed in a.seeds]
        bits = [r["bits_per_byte"] for r in seen]
        print(f"| {name} | {', '.join(f'{b:.4f}' for b in bits)} | {statistics.mean(bits):.4f} | {statistics.median(r['seconds_in_steps'] for r in seen):.1f} | {seen[0]['params']:,} |")
    return 0


if __name__ == "__main__":
    bench.finish(main)
