#!/usr/bin/env python3
"""Writes tests/golden_lora/: adapters on models of tests/golden, with what PyTorch + transformers + PEFT make of them.

    tools/make_lora_goldens.py [NAME ...]      needs torch, transformers >= 5, peft, safetensors; writes into this checkout

Each folder is a PEFT folder as PEFT itself writes it (its name begins with the base's), with random factors (B is not zero, so
that every gradient counts; with DoRA lengths that are not the rows' own), and golden.safetensors, computed in float64 from those f32 numbers:

    ids         i32 (5, 2, 37)   the batches of five steps; the first is also that of logits, loss, grad.*
    logits      f32 (2, 37, V)   of ids[0]
    loss        f64 (1,)         mean cross entropy of the 2 x 36 next tokens
    grad.NAME   f32              of that loss, NAME as in adapter_model.safetensors
    losses      f64 (5,)         of AdamW: lr 1e-2 (times `ratio` for B: LoRA+), betas 0.9 0.95, eps 1e-5, decay 0.5 (of matrices),
                     no clipping
    norms       f64 (5,)         gradient norms
    ratio       f64 (1,)
    after.NAME  f32              factors after five steps
"""
import json
import pathlib
import shutil
import sys

import torch
import torch.nn.functional as F
import transformers
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file

T, ROWS, STEPS, EPS = 37, 2, 5, 1e-5
TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests"

ADAPTERS = {
    "llama": ("llama", 1.0, dict(r=4, lora_alpha=8, target_modules="all-linear")),
    "gpt2": ("gpt2", 1.0, dict(r=3, lora_alpha=5, target_modules="all-linear", fan_in_fan_out=True)),
    "qwen2_rs": ("qwen2", 8.0, dict(r=4, lora_alpha=3, target_modules=["q_proj", "v_proj", "down_proj"], use_rslora=True)),
    "gpt2_dora": ("gpt2", 1.0, dict(r=3, lora_alpha=5, target_modules="all-linear", fan_in_fan_out=True, use_dora=True)),
    "qwen2_dora": ("qwen2", 8.0, dict(r=4, lora_alpha=3, target_modules=["q_proj", "v_proj", "down_proj"], use_dora=True)),
}


def make(name, base, ratio, keys, seed):
    torch.manual_seed(seed)
    folder = TESTS / "golden_lora" / name
    shutil.rmtree(folder, ignore_errors=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(TESTS / "golden" / base, dtype=torch.float32, attn_implementation="sdpa").eval()
    V = model.config.vocab_size
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **keys))
    with torch.no_grad():
        for n, p in model.named_parameters():
            if "magnitude" in n:
                p.mul_(1 + 0.2 * torch.randn_like(p))
            elif p.requires_grad:
                p.normal_(0, 0.2)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = f"tests/golden/{base}"
    (folder / "adapter_config.json").write_text(json.dumps(dict(config, target_modules=sorted(config["target_modules"])), indent=2) + "\n")
    model = model.double()

    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, V, (STEPS, ROWS, T), generator=generator)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}

    def state(pick):
        return {n.replace("vector.default.weight", "vector").replace(".default", ""): pick(p).float().clone().contiguous() for n, p in trained.items()}

    def gradients(batch):
        model.zero_grad()
        logits = model(batch).logits
        loss = F.cross_entropy(logits[:, :-1].reshape(-1, V), batch[:, 1:].reshape(-1))
        loss.backward()
        return logits.detach(), loss.item()

    assert set(state(lambda p: p.detach())) == set(get_peft_model_state_dict(model))
    logits, loss = gradients(ids[0])
    out = {"ids": ids.int(), "logits": logits.float(), "loss": torch.tensor([loss]).double(), "ratio": torch.tensor([ratio]).double()}
    out.update({f"grad.{n}": g for n, g in state(lambda p: p.grad).items()})
    optimizer = torch.optim.AdamW([{"params": [p for n, p in trained.items() if "lora_A" in n], "lr": 1e-2},
                                   {"params": [p for n, p in trained.items() if "lora_B" in n], "lr": 1e-2 * ratio},
                                   {"params": [p for n, p in trained.items() if "magnitude" in n], "lr": 1e-2, "weight_decay": 0.0}],
                                  betas=(0.9, 0.95), eps=EPS, weight_decay=0.5)
    losses, norms = [], []
    for batch in ids:
        losses.append(gradients(batch)[1])
        norms.append(torch.sqrt(sum((p.grad ** 2).sum() for p in trained.values())).item())
        optimizer.step()
    out.update({"losses": torch.tensor(losses).double(), "norms": torch.tensor(norms).double()})
    out.update({f"after.{n}": p for n, p in state(lambda p: p.detach()).items()})
    save_file(out, folder / "golden.safetensors")
    print(name, "loss", loss, "norms", norms)


if __name__ == "__main__":
    for seed, (name, (base, ratio, keys)) in enumerate(ADAPTERS.items()):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        make(name, base, ratio, keys, seed + 11)
