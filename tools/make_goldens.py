#!/usr/bin/env python3
"""Writes tests/golden/: tiny random models of every family with what PyTorch + transformers make of them.

    tools/make_goldens.py [NAME...]  needs torch, transformers >= 5, safetensors; writes into tests/golden/ of this checkout

Each folder is a Hugging Face model (config.json, model.safetensors in f32) and golden.safetensors, computed in float64 from
those same f32 weights (transformers itself keeps RoPE angles, RMS norms and some softmaxes in f32):

    ids         i32 (5, 2, 37)   the batches of five steps; ids repeat; the first is also that of logits, loss, grad.*
    logits      f32 (2, 37, V)   of ids[0]
    loss        f64 (1,)         mean cross entropy of the 2 x 36 next tokens
    grad.NAME   f32              of that loss
    losses      f64 (5,)         of AdamW: lr 1e-2, betas 0.9 0.95, eps 1e-5, decay 0.5 on matrices only, clipped at max_norm
    norms       f64 (5,)         gradient norms before clipping; max_norm lies between them, so some steps are clipped
    max_norm    f64 (1,)
    after.NAME  f32              parameters after five steps
    packed.ids  i32 (37,), packed.lengths i32 (3,)    three documents in one row, one of length 1
    packed.logits f32 (37, V), packed.loss f64 (1,)   of each document run alone, put together; mean over the 34 next tokens

AdamW's eps is 1e-5, not 1e-8: Adam's step g / (|g| + eps) turns a gradient that is rounding (1e-8 of f32 against a typical
1e-2) into a step of full size and random sign, in one element of a model or two; with 1e-5 it is a thousandth of a step.
Besides, an eps in the wrong place then shows.

Weights are drawn wide (std 0.2, norms and biases off their 1 and 0), so that every term is large enough to be missed.
"""
import json
import pathlib
import shutil
import sys

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file

T, V, ROWS, STEPS, LENGTHS = 37, 131, 2, 5, (20, 1, 16)
EPS = 1e-5
ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"

COMMON = dict(vocab_size=V, initializer_range=0.2, bos_token_id=1, eos_token_id=2)
SIZES = dict(**COMMON, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             head_dim=24, max_position_embeddings=64)


def rope(kind="default", **more):
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


LLAMA3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)

MODELS = {
    "gpt2": (transformers.GPT2Config, dict(**COMMON, n_embd=48, n_head=2, n_layer=2, n_inner=56, n_positions=40,
                                           resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)),
    "llama": (transformers.LlamaConfig, dict(**SIZES, **rope(), tie_word_embeddings=False)),
    "llama_biased": (transformers.LlamaConfig, dict(SIZES, num_attention_heads=3, num_key_value_heads=1, hidden_size=36, head_dim=12,
                                                    **rope("linear", factor=2.0), tie_word_embeddings=True, attention_bias=True,
                                                    mlp_bias=True)),
    "llama3": (transformers.LlamaConfig, dict(**SIZES, **LLAMA3, tie_word_embeddings=True)),
    "mistral": (transformers.MistralConfig, dict(**SIZES, **rope(), tie_word_embeddings=False, sliding_window=16)),
    "qwen2": (transformers.Qwen2Config, dict(**SIZES, **rope(), tie_word_embeddings=True)),
    "qwen2_window": (transformers.Qwen2Config, dict(SIZES, num_attention_heads=2, num_key_value_heads=1, **rope(),
                                                    tie_word_embeddings=False, use_sliding_window=True, sliding_window=16,
                                                    max_window_layers=1)),
    "qwen3": (transformers.Qwen3Config, dict(**SIZES, **rope(), tie_word_embeddings=True)),
    "nemotron": (transformers.NemotronConfig, dict(**SIZES, **rope(partial_rotary_factor=1.0), tie_word_embeddings=False)),
    "capped": (transformers.Qwen3Config, dict(**SIZES, **rope(), tie_word_embeddings=True)),
    "granite": (transformers.GraniteConfig, dict(**SIZES, **rope(), tie_word_embeddings=True, embedding_multiplier=3.0,
                                                 attention_multiplier=0.11, residual_multiplier=0.4, logits_scaling=1.7)),
    "stablelm": (transformers.StableLmConfig, dict({k: v for k, v in SIZES.items() if k != "head_dim"}, hidden_size=48,
                                                   **rope(partial_rotary_factor=0.5), tie_word_embeddings=False, use_qkv_bias=True)),
    "phi3": (transformers.Phi3Config, dict(**SIZES, **rope(), tie_word_embeddings=False, sliding_window=16, pad_token_id=None)),
    "olmo2": (transformers.Olmo2Config, dict(SIZES, hidden_size=36, head_dim=12, num_attention_heads=6, **rope(), tie_word_embeddings=False,
                                             pad_token_id=None)),
    "gemma2": (transformers.Gemma2Config, dict(SIZES, num_hidden_layers=3, **rope(), tie_word_embeddings=True, sliding_window=16, query_pre_attn_scalar=20,
                                               attn_logit_softcapping=1.5, final_logit_softcapping=2.5, pad_token_id=None)),
    "gemma3": (transformers.Gemma3TextConfig, dict(SIZES, num_hidden_layers=6, num_attention_heads=2, num_key_value_heads=1, head_dim=16, intermediate_size=32,
                                                   tie_word_embeddings=True, sliding_window=16, query_pre_attn_scalar=20, pad_token_id=None, rope_parameters={
                                                       "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1000.0},
                                                       "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}})),
    "unet": (transformers.Qwen3Config, dict(SIZES, num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=1, **rope(), tie_word_embeddings=True)),
    "values": (transformers.Qwen3Config, dict(SIZES, num_hidden_layers=5, num_attention_heads=2, num_key_value_heads=1, head_dim=16, intermediate_size=32,
                                              **rope(), tie_word_embeddings=False)),
}


CAP = 2.5   # of "capped": Qwen3 with Gemma 2's bound on the logits, which is of no family; most logits are well bent by it


def cap_logits(module, inputs, out):
    out.logits = CAP * torch.tanh(out.logits / CAP)
    return out


def cap(model):
    model.register_forward_hook(cap_logits)


def add_skips(model):
    """Layer i of the last half gets skip_gain * (what layer L - 1 - i put out) on top of its input."""
    layers, put_out = model.model.layers, {}
    for i, layer in enumerate(layers):
        layer.register_forward_hook(lambda module, inputs, out, i=i: put_out.__setitem__(i, out))
        if i < len(layers) - len(layers) // 2:
            continue
        layer.skip_gain = torch.nn.Parameter(torch.ones(model.config.hidden_size))
        layer.register_forward_pre_hook(lambda module, inputs, i=i: (inputs[0] + module.skip_gain * put_out[len(layers) - 1 - i], *inputs[1:]))


def add_values(model, tables):
    """The first and the last `tables` layers get value_gain * (the token's row of a table) on top of what v_proj makes."""
    layers, width, ids = model.model.layers, model.config.num_key_value_heads * model.config.head_dim, []
    model.model.embed_values = torch.nn.ModuleList([torch.nn.Embedding(V, width) for _ in range(tables)])
    for table in model.model.embed_values:
        torch.nn.init.normal_(table.weight, std=0.2)
    model.model.embed_tokens.register_forward_hook(lambda module, inputs, out: ids.__setitem__(slice(None), inputs[:1]))
    for i, k in [(k, k) for k in range(tables)] + [(len(layers) - tables + k, k) for k in range(tables)]:
        attention = layers[i].self_attn
        attention.value_gain = torch.nn.Parameter(torch.full((width,), 0.5))
        attention.v_proj.register_forward_hook(
            lambda module, inputs, out, gain=attention, table=model.model.embed_values[k]: out + gain.value_gain * table(ids[0]))


# Of no family: what is done to a model of transformers, and the keys that say so.
OWN = {
    "capped": (cap, dict(final_logit_softcapping=CAP)),
    "unet": (add_skips, dict(skip_connections=True)),
    "values": (lambda model: (add_skips(model), add_values(model, 2)), dict(skip_connections=True, value_embeddings=2)),
}


def say_own(path, keys):
    config = json.loads(path.read_text())
    config.update(model_type="hone", architectures=["HoneForCausalLM"], norm_eps=config.pop("rms_norm_eps"), qk_norm=True, **keys)
    path.write_text(json.dumps(config, indent=2) + "\n")


def make_model(config, change):
    kind = "eager" if getattr(config, "attn_logit_softcapping", None) else "sdpa"   # sdpa leaves the bound of the scores out
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=kind).eval()
    change(model)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 1:
                p += 0.2 * torch.randn_like(p)
    return model


def make_ids(generator):
    """Ids with repeats: every third is one of five."""
    ids = torch.randint(0, V, (STEPS, ROWS, T), generator=generator)
    few = torch.randint(0, 5, ids.shape, generator=generator)
    ids[..., ::3] = few[..., ::3]
    return ids


def loss_of(logits, ids):
    return F.cross_entropy(logits[:, :-1].reshape(-1, V), ids[:, 1:].reshape(-1))


def gradients(model, ids):
    model.zero_grad()
    logits = model(ids).logits
    loss = loss_of(logits, ids)
    loss.backward()
    return logits.detach(), loss.item()


def norm_of(model):
    return torch.sqrt(sum((p.grad ** 2).sum() for p in model.parameters())).item()


def adamw(model, ids, max_norm):
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    plain = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.5}, {"params": plain, "weight_decay": 0.0}], lr=1e-2,
                                  betas=(0.9, 0.95), eps=EPS)
    losses, norms = [], []
    for batch in ids:
        losses.append(gradients(model, batch)[1])
        norms.append(norm_of(model))
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
    return losses, norms


def packed(model, generator):
    documents = [torch.randint(0, V, (1, n), generator=generator) for n in LENGTHS]
    logits = [model(d).logits.detach() for d in documents]
    nll = sum(F.cross_entropy(z[0, :-1], d[0, 1:], reduction="sum") for z, d in zip(logits, documents) if d.shape[1] > 1)
    return torch.cat(documents, 1)[0], torch.cat(logits, 1)[0], nll.item() / sum(n - 1 for n in LENGTHS)


def make(name, config_class, keys, seed):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    change, own = OWN.get(name, (lambda model: None, None))
    model = make_model(config_class(**keys), change)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if own:
        say_own(folder / "config.json", own)
    model = model.double()
    start = {k: v.clone() for k, v in model.state_dict().items()}

    ids = make_ids(generator)
    logits, loss = gradients(model, ids[0])
    out = {"ids": ids.int(), "logits": logits.float(), "loss": torch.tensor([loss]).double()}
    out.update({f"grad.{k}": p.grad.float().clone() for k, p in model.named_parameters()})
    document_ids, document_logits, document_loss = packed(model, generator)
    out.update({"packed.ids": document_ids.int(), "packed.lengths": torch.tensor(LENGTHS).int(),
                "packed.logits": document_logits.float(), "packed.loss": torch.tensor([document_loss]).double()})

    # Once without a bound to see the norms, then with the first bound that some steps pass and some do not.
    median = sorted(adamw(model, ids, 1e9)[1])[STEPS // 2]
    for max_norm in (0.9 * median, 1.05 * median, 1.2 * median):
        model.load_state_dict(start)
        losses, norms = adamw(model, ids, max_norm)
        if min(norms) < 0.98 * max_norm and 1.02 * max_norm < max(norms):
            break
    else:
        raise SystemExit(f"{name}: no bound splits the norms {norms}")
    out.update({f"after.{k}": p.detach().float().clone() for k, p in model.named_parameters()})
    out.update({"losses": torch.tensor(losses).double(), "norms": torch.tensor(norms).double(), "max_norm": torch.tensor([max_norm]).double()})
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "golden.safetensors")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name:14} {sum(p.numel() for p in model.parameters()):7} parameters  {size / 1024:5.0f} KiB  loss {loss:.4f} -> {losses[-1]:.4f}"
          f"  norms {' '.join(f'{n:.3f}' for n in norms)}  bound {max_norm:.3f}")
    return size


def main():
    sizes = [make(name, *row, seed) for seed, (name, row) in enumerate(MODELS.items(), 1) if name in (sys.argv[1:] or MODELS)]
    print(f"{sum(sizes) / 1e6:.2f} MB in {ROOT}")


if __name__ == "__main__":
    main()
