#!/usr/bin/env python3
"""Writes tests/golden_pairs/llama.safetensors: DPO on the model tests/golden/llama, as PyTorch + transformers compute it.

    tools/make_pair_goldens.py       needs torch, transformers >= 5, safetensors; writes into this checkout

Five AdamW steps (lr 1e-2, betas 0.9 0.95, eps 1e-5, decay 0.5, no clipping) on the loss of Rafailov et al. 2023 with beta 0.3 and label
smoothing 0.1, in float64. Each reply is computed by itself behind its prompt; how hone has them, several in a row of T, is in

    ids, target, lo, pair  i32 (5, 2 * T)   of five steps of two rows; target 0 where nothing is foretold
    weight                 f32 (5, 2 * T)   1 / 3 in the chosen reply, -1 / 3 in the rejected one, else 0
    reference              f32 (5, 3, 2)    log-probabilities of the replies under the model as it is
    losses                 f64 (5,)         mean over the step's three pairs
    measure                f32 (5, 3, 3)    loss, reward of the chosen, of the rejected
    after.NAME             f32              weights after five steps
"""
import pathlib

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

T, ROWS, STEPS, PAIRS, BETA, SMOOTHING = 48, 2, 5, 3, 0.3, 0.1
TESTS = pathlib.Path(__file__).resolve().parent.parent / "tests"


def draw(V, generator):
    """Three pairs (prompt, chosen, rejected): two in the first row, one in the second."""
    def some(low, high):
        return torch.randint(0, V, (int(torch.randint(low, high, (1,), generator=generator)),), generator=generator)
    return [(some(1, 5), some(2, 9), some(1, 8)) for _ in range(PAIRS)]


def pack(pairs):
    row = {k: torch.zeros(ROWS * T, dtype=torch.int32) for k in ("ids", "target", "lo", "pair")}
    row["lo"] = torch.arange(ROWS * T, dtype=torch.int32)
    row["weight"] = torch.zeros(ROWS * T)
    at = 0
    for e, (prompt, *replies) in enumerate(pairs):
        at = T if e == 2 else at
        for side, reply in enumerate(replies):
            ids = torch.cat([prompt, reply])
            n = len(ids)
            row["ids"][at:at + n] = ids
            row["target"][at:at + n - 1] = ids[1:]
            row["lo"][at:at + n] = at
            row["pair"][at:at + n] = e
            row["weight"][at + len(prompt) - 1:at + n - 1] = (1 - 2 * side) / PAIRS
            at += n
    return row


def main():
    model = transformers.AutoModelForCausalLM.from_pretrained(TESTS / "golden" / "llama", dtype=torch.float64, attn_implementation="sdpa").eval()
    generator = torch.Generator().manual_seed(5)
    steps = [draw(model.config.vocab_size, generator) for _ in range(STEPS)]

    def logprob(prompt, reply):
        ids = torch.cat([prompt, reply])
        rows = model(ids[None]).logits[0, :-1].log_softmax(-1)
        return rows.gather(1, ids[1:, None])[len(prompt) - 1:].sum()

    with torch.no_grad():
        reference = torch.stack([torch.stack([torch.stack([logprob(p, r) for r in (c, j)]) for p, c, j in pairs]) for pairs in steps])
    losses, measures = [], []
    vectors = [p for p in model.parameters() if p.ndim == 1]
    matrices = [p for p in model.parameters() if p.ndim > 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.5}, {"params": vectors, "weight_decay": 0.0}], lr=1e-2, betas=(0.9, 0.95), eps=1e-5)
    for s, pairs in enumerate(steps):
        reward = BETA * (torch.stack([torch.stack([logprob(p, c), logprob(p, r)]) for p, c, r in pairs]) - reference[s])
        z = reward[:, 0] - reward[:, 1]
        loss = -(1 - SMOOTHING) * F.logsigmoid(z) - SMOOTHING * F.logsigmoid(-z)
        measures.append(torch.cat([loss[:, None], reward], 1).detach())
        losses.append(loss.mean().item())
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    packed = [pack(pairs) for pairs in steps]
    out = {k: torch.stack([p[k] for p in packed]) for k in packed[0]}
    out |= {"reference": reference.float(), "losses": torch.tensor(losses).double(), "measure": torch.stack(measures).float()}
    out |= {f"after.{n}": p.detach().float().contiguous() for n, p in model.named_parameters()}
    (TESTS / "golden_pairs").mkdir(exist_ok=True)
    save_file(out, TESTS / "golden_pairs" / "llama.safetensors")
    print("losses", losses)


if __name__ == "__main__":
    main()
