#!/usr/bin/env python3
"""bench/tuned_quality.py: what tuning does to a real model: SmolLM2-135M-Instruct on MedQuAD's questions and answers by an adapter.

    bench/tuned_quality.py [--steps 600]       prints a table: before, after, each with its standard error; hone's own evaluation

Bits per byte are of the answers held out from training; MedQA and MedMCQA are questions of another kind (multiple choice).
"""
import argparse
import json
import os
import tempfile

import run as bench


def evaluate(model, *how):
    return json.loads(bench.run(bench.HONE, "eval", model, *how, "--precision", "bf16", "--json").stdout)


def measured(folder, data, tasks, *adapter):
    """{what: (value, standard error)}"""
    held = evaluate(folder, "--data", data, "--context", 512, "--max-tokens", 60000, *adapter)
    found = {"held-out bits per byte": (held["bits_per_byte"], held["bits_per_byte_standard_error"])}
    for name, task in evaluate(folder, "--tasks", "medqa,medmcqa", "--data", tasks, *adapter)["tasks"].items():
        found[f"{name}, share right"] = (task["acc"], task["acc_standard_error"])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600, help="of 4 x 512 tokens")
    steps = parser.parse_args().steps
    folder, _ = bench.smollm2()
    data, tasks = bench.conversations(folder), os.path.join(bench.SHARED, "data", "eval")
    recipe = dict(model_name_or_path=folder, dataset=data, finetuning_type="lora", lora_rank=16, lora_alpha=32, cutoff_len=512, per_device_train_batch_size=4,
                  max_steps=steps, learning_rate=5e-4, lr_scheduler_type="cosine", warmup_ratio=0.03, weight_decay=0, precision="bf16", run_store="none")
    with tempfile.TemporaryDirectory(dir=bench.WORK) as out:
        recipe.update(output_dir=os.path.join(out, "run"))
        path = os.path.join(out, "recipe.yaml")
        with open(path, "w") as f:
            json.dump(recipe, f)
        before = measured(folder, data, tasks)
        bench.run(bench.HONE, "tune", path)
        after = measured(folder, data, tasks, "--adapter", os.path.join(out, "run", "adapter"))
    print(f"SmolLM2-135M-Instruct, LoRA r 16, {steps} steps of 4 x 512 MedQuAD tokens")
    for what, (value, error) in before.items():
        print(f"  {what:24} {value:.4f} +- {error:.4f}  ->  {after[what][0]:.4f} +- {after[what][1]:.4f}")


if __name__ == "__main__":
    main()
