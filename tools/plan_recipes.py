#!/usr/bin/env python3
"""Keeps recipes/ true: writes NAME-qlora.yaml from each NAME-lora.yaml, and into the head of every recipe of a published model what
`hone plan` says of it, without the model, from recipes/configs alone. tests/plan/test_recipes.c compares the two.

    tools/plan_recipes.py build/hone
"""
import pathlib
import re
import subprocess
import sys
import tempfile

RECIPES = pathlib.Path(__file__).resolve().parent.parent / "recipes"
PLANNED = re.compile(r"(# Planned for .*?\(hone plan --on (\S+), an estimate\)): .*")
STEPS = 1000    # where a recipe says none
THREADS = 2     # each has some room of its own; so that every machine plans the same


def qlora_of(text, name):
    """The same run with the frozen matrices kept in 4 bits."""
    text = text.replace(f"{name}-lora", f"{name}-qlora").replace("(f32 weights)", "(the blocks' matrices in NF4, 4.5 bits)")
    return text.replace("finetuning_type: lora\n", "finetuning_type: qlora\n")


def key(text, name):
    found = re.search(rf"^{name}: (.*)$", text, re.M)
    return found and found[1]


def planned(hone, path, text, machine, tokens):
    """'6.7 GiB of tensors, 8,631 tok/s, 31:51 for 1,000 steps'"""
    steps = int(key(text, "max_steps") or STEPS)
    settings = [f"dataset={tokens}", f"max_steps={steps}", "num_train_epochs=0", f"threads={THREADS}"]
    if model := key(text, "model_name_or_path"):
        settings.append(f"model_name_or_path={RECIPES / 'configs' / model}")
    report = subprocess.run([hone, "plan", path, *settings, "--on", machine], capture_output=True, text=True)
    if report.returncode:
        sys.exit(report.stderr)
    memory = re.search(r"^ +memory +([\d.]+ \w+) +of tensors", report.stdout, re.M)
    speed = re.search(r"([\d,]+) tok/s", report.stdout)
    time = re.search(r"^ +time +([\d:]+)", report.stdout, re.M)
    if not (memory and speed and time):
        sys.exit(f"{path}: no memory, speed or time in:\n{report.stdout}")
    return f"{memory[1]} of tensors, {speed[1]} tok/s, {time[1]} for {steps:,} steps."


def main(hone):
    for path in sorted(RECIPES.glob("*-lora.yaml")):
        name = path.name.removesuffix("-lora.yaml")
        (RECIPES / f"{name}-qlora.yaml").write_text(qlora_of(path.read_text(), name))
    with tempfile.TemporaryDirectory() as folder:
        tokens = pathlib.Path(folder) / "tokens.u16"
        tokens.write_bytes(bytes(100000))
        for path in sorted(RECIPES.glob("*.yaml")):
            text = path.read_text()
            if found := PLANNED.search(text):
                line = f"{found[1]}: {planned(hone, path, text, found[2], tokens)}"
                path.write_text(text.replace(found[0], line))
                print(path.name, line.partition("): ")[2])


if __name__ == "__main__":
    main(sys.argv[1])
