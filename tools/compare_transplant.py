#!/usr/bin/env python3
"""Checks `hone tokenizer transplant` against transformers: compare_transplant.py HONE TEXT TOKENIZER...

For each tokenizer (a tokenizer.json or GPT-2's folder) a small random model is made and extended. The folder that comes out
must load, give hone's ids, keep every old weight, and begin each new token at its old pieces' mean. Exit code 1 otherwise.
A table of value embeddings, as model_type hone has them, lies beside the model's tensors and is extended likewise.
"""
import json, os, subprocess, sys, tempfile
import torch, transformers
from safetensors.torch import load_file, save_file
from compare_tokenizers import hone, load

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def check(program, source, path, folder, dtype, tied):
    old = load(path)
    rows = max(old.get_vocab().values()) + 1 + 7  # padded, as many models are
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=rows, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, tie_word_embeddings=tied)).to(dtype)
    model.save_pretrained(folder)
    table = {"model.embed_values.0.weight": torch.randn(rows, 4).to(dtype)}
    save_file(load_file(f"{folder}/model.safetensors") | table, f"{folder}/model.safetensors", metadata={"format": "pt"})
    old.save(f"{folder}/tokenizer.json")
    out = folder + ".out"
    subprocess.run([program, "tokenizer", "transplant", "--add", "300", "--output", out, folder, source], check=True, stdout=subprocess.DEVNULL)
    after, new = transformers.LlamaForCausalLM.from_pretrained(out, dtype=dtype), load(f"{out}/tokenizer.json")
    transformers.PreTrainedTokenizerFast.from_pretrained(out)
    text = open(source, encoding="utf-8").read()[:20000]
    ids, first = new.encode(text, add_special_tokens=False).ids, max(old.get_vocab().values()) + 1
    pieces = {i: [t.id for t in old.model.tokenize(name)] for name, i in new.get_vocab().items() if i >= first}
    wrong = []
    if len(pieces) != 300: wrong.append(f"{len(pieces)} new tokens")
    if hone(program, "encode", out, [{"text": text}])[0]["ids"] != ids: wrong.append("ids differ")
    if [p for i in ids for p in pieces.get(i, [i])] != old.encode(text, add_special_tokens=False).ids: wrong.append("new tokens are not rows of old ones")
    if len(ids) >= len(old.encode(text, add_special_tokens=False).ids): wrong.append("no fewer tokens")
    extended = after.state_dict() | {name: load_file(f"{out}/model.safetensors")[name] for name in table}
    for name, a in (model.state_dict() | table).items():
        b = extended[name]
        if name in table and b.shape == a.shape: wrong.append(f"{name} was not extended")
        if a.shape == b.shape:
            if not torch.equal(a, b): wrong.append(f"{name} changed")
            continue
        if not torch.equal(a[:first], b[:first]): wrong.append(f"{name}: old rows changed")
        for i, p in pieces.items():
            if not torch.equal(a[p].float().mean(0).to(dtype), b[i]) and not torch.allclose(a[p].float().mean(0), b[i].float(), rtol=2**-7 if dtype == torch.bfloat16 else 1e-6, atol=1e-7):
                wrong.append(f"{name}: row {i} is no mean")
                break
    print(f"transplant {path}, {dtype}, tied {tied}: {len(old.encode(text, add_special_tokens=False).ids)} tokens become {len(ids)}; {wrong or 'right'}", flush=True)
    return bool(wrong)


def main():
    program, source, paths = sys.argv[1], sys.argv[2], sys.argv[3:]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for i, path in enumerate(paths):
            wrong += check(program, source, path, f"{folder}/{i}", torch.bfloat16 if i % 2 else torch.float32, i % 2 == 0)
    sys.exit(1 if wrong else 0)


main()
