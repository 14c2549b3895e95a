#!/usr/bin/env python3
"""Writes tests/golden/blocks.safetensors: blocks of weights as the PyPI package `gguf` reads and writes them.

    tools/make_block_goldens.py      needs gguf, numpy, safetensors, torch

    F.bytes    u8 (n,)     random blocks of format F (finite scales), F.values f32: what they decode to
    x          f32 (n,)    numbers of many sizes, zeros, constants, ties
    F.encoded  u8          x in format F, where the package can encode it
    nf4.table  f32 (16,)   quantiles of the normal distribution as QLoRA's appendix defines them, in float64
"""
import pathlib

import numpy as np
import torch
from gguf import GGMLQuantizationType as Type, GGML_QUANT_SIZES
from gguf import quants
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "blocks.safetensors"
FORMATS = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K Q6_K".split()
HALVES = {"F16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
BLOCKS = 24


def random_blocks(name, rng):
    elements, size = GGML_QUANT_SIZES[Type[name]]
    n = BLOCKS * 32 if elements == 1 else BLOCKS
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in HALVES.get(name, []):   # any finite f16, subnormals among them
        blocks[:, at + 1] = np.where((blocks[:, at + 1] & 0x7c) == 0x7c, blocks[:, at + 1] & 0x83, blocks[:, at + 1])
    if name in ("F32", "BF16"):
        blocks[:, -1] &= 0xbf
    return blocks


def numbers(rng):
    rows = [rng.normal(size=256) * scale for scale in (1e-6, 0.02, 0.02, 1, 300)]
    rows += [rng.standard_cauchy(size=256), np.zeros(256), np.full(256, 0.37), np.full(256, -2.0), rng.uniform(1, 2, 256), -rng.uniform(1, 2, 256)]
    rows += [np.arange(256) % 32 / 4 - 4, np.round(rng.normal(size=256) * 8) / 8, np.where(np.arange(256) % 37 == 5, 1.0, 0.0)]
    return np.concatenate(rows).astype(np.float32)


def nf4_table():
    normal = torch.distributions.Normal(torch.tensor(0.0).double(), torch.tensor(1.0).double())
    upper = normal.icdf(torch.linspace(0.9677083, 0.5, 9).double()[:-1])
    lower = -normal.icdf(torch.linspace(0.9677083, 0.5, 8).double()[:-1])
    table = torch.cat([upper, torch.zeros(1).double(), lower]).sort().values
    return (table / table.max()).float().numpy()


def main():
    rng = np.random.default_rng(7)
    out = {"x": numbers(rng), "nf4.table": nf4_table()}
    for name in FORMATS:
        blocks = random_blocks(name, rng)
        out[f"{name}.bytes"] = blocks.reshape(-1)
        out[f"{name}.values"] = quants.dequantize(blocks, Type[name]).astype(np.float32).reshape(-1)
        try:
            out[f"{name}.encoded"] = quants.quantize(out["x"].reshape(1, -1), Type[name]).view(np.uint8).reshape(-1)
        except NotImplementedError:
            pass
    save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, OUT)
    print(f"{OUT}: {OUT.stat().st_size / 1024:.0f} KiB; encoded by the package: {' '.join(k[:-8] for k in out if k.endswith('.encoded'))}")


if __name__ == "__main__":
    main()
