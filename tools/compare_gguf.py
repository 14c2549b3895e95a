#!/usr/bin/env python3
"""compare_gguf.py HONE LLAMACPP|- MODEL.gguf|- [TOKENIZER...]: what others make of GGUF files. Exits 0 if they agree.

The `gguf` package reads every type of every golden model, and of models of other families made here at random: its own names for the
weights, its own decoding. transformers loads the f32 files and gives the golden logits. LLAMACPP (a folder with node_modules/node-llama-cpp, made by tools/setup_llamacpp.sh):
llama.cpp loads every type of a model trained here for some steps and of those made at random, cuts texts into the same tokens, goes on greedily with the same ids,
and gives log-probabilities within the type's error; likewise the tokens of one-layer models with these tokenizers. MODEL.gguf: a real
model, which transformers and hone score alike.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
import gguf  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
import transformers  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
ARCH = {"llama": gguf.MODEL_ARCH.LLAMA, "gpt2": gguf.MODEL_ARCH.GPT2, "qwen2": gguf.MODEL_ARCH.QWEN2, "qwen3": gguf.MODEL_ARCH.QWEN3,
        "olmo2": gguf.MODEL_ARCH.OLMO2, "gemma2": gguf.MODEL_ARCH.GEMMA2, "gemma3_text": gguf.MODEL_ARCH.GEMMA3}
# Their goldens have sizes that llama.cpp has not. Windows are shorter than the texts, and bounds bend scores and logits.
SIZES = dict(hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
             max_position_embeddings=256, initializer_range=0.1, pad_token_id=None)
RANDOM = {
    "olmo2": (transformers.Olmo2Config, dict(tie_word_embeddings=False)),
    "gemma2": (transformers.Gemma2Config, dict(query_pre_attn_scalar=64, sliding_window=8, attn_logit_softcapping=1.5, final_logit_softcapping=2.5)),
    "gemma3_text": (transformers.Gemma3TextConfig, dict(num_hidden_layers=7, query_pre_attn_scalar=64, sliding_window=8, rope_parameters={
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}})),
}
GAIN_LESS_ONE = ("gemma2", "gemma3_text")
# Relative error of a matrix: f16 and bf16 round by half a step; the others some times what normal weights lose.
TYPES = {"f32": 0, "f16": 2 ** -11, "bf16": 2 ** -8, "q8_0": 0.02, "q4_k_m": 0.15}
TEXTS = ["The people had 1234 reasons to be glad.", "int main(void) { return 0; }\n\n\tx = 3;", "caf\u00e9 \u4e2d\u6587 \U0001f600 don't WE'LL  ok ", "a"]
MORE = [" leading  and   many spaces", "1234567890 3.14159 \u0661\u0662", "Stra\u00dfe \u0391\u03b8\u03ae\u03bd\u03b1 \u041c\u043e\u0441\u043a\u0432\u0430 \u65e5\u672c\u8a9e"]
failures = []


def check(good, what):
    if not good:
        failures.append(what)
        print("WRONG", what)


def run(*command, **more):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def turned(weights, heads):
    """Rows of q and k as llama.cpp's converter of Hugging Face folders orders them."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


def read_by_package(file, folder, most):
    reader = gguf.GGUFReader(file)
    config = json.loads((folder / "config.json").read_text())
    arch = ARCH[config["model_type"]]
    check(reader.fields["general.architecture"].contents() == gguf.MODEL_ARCH_NAMES[arch], f"{file}: architecture")
    names = gguf.get_tensor_name_map(arch, config.get("num_hidden_layers") or config["n_layer"])
    tensors = {t.name: t for t in reader.tensors}
    left = set(tensors) - {"rope_freqs.weight"}
    for name, weights in load_file(folder / "model.safetensors").items():
        ours = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if ours not in tensors:
            check(False, f"{file}: no tensor {ours} for {name}")
            continue
        left.discard(ours)
        weights = weights.numpy()
        if config["model_type"] == "gpt2" and weights.ndim == 2 and ".attn.c_" in name or ".mlp.c_" in name and weights.ndim == 2:
            weights = weights.T   # Conv1D
        if config["model_type"] == "llama" and (".q_proj." in name or ".k_proj." in name):
            weights = turned(weights, config["num_attention_heads" if ".q_proj." in name else "num_key_value_heads"])
        if config["model_type"] in GAIN_LESS_ONE and weights.ndim == 1:
            weights = weights + 1
        read = gguf.quants.dequantize(tensors[ours].data, tensors[ours].tensor_type).reshape(weights.shape)
        bound = 0 if weights.ndim == 1 else most
        off = np.sqrt(((read - weights) ** 2).sum() / (weights ** 2).sum())
        check(off <= bound, f"{file}: {ours} is {off:.3g} off, {bound} allowed")
    check(not left, f"{file}: {sorted(left)} belong to nothing")


def logits_by_transformers(file, folder):
    golden = load_file(folder / "golden.safetensors")
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    with torch.no_grad():
        off = (model(golden["ids"][0].long()).logits - golden["logits"]).abs().max().item()
    check(off < 1e-3, f"{file}: transformers' logits are {off} off")   # of size 10; row order or an epsilon in the wrong place shows at 0.1
    return off


def golden_models(hone, work):
    for name in ("llama", "llama_biased", "llama3", "gpt2", "qwen2", "qwen3"):
        for kind, most in TYPES.items():
            file = work / f"{name}.{kind}.gguf"
            run(hone, "export", GOLDEN / name, "--output", file, "--type", kind)
            read_by_package(file, GOLDEN / name, most)
        off = ""
        if name == "llama":   # of the others transformers does not read every size, bias or rope_freqs from GGUF
            off = f"  transformers' logits within {logits_by_transformers(work / f'{name}.f32.gguf', GOLDEN / name):.1e}"
        print(f"{name:13} read by the gguf package in {', '.join(TYPES)}{off}", flush=True)


RECIPE = """model: {model_type: llama, hidden_size: WIDTH, intermediate_size: 512, num_hidden_layers: LAYERS, num_attention_heads: 4, num_key_value_heads: 2,
        max_position_embeddings: 256}
dataset: DATA
output_dir: RUN
cutoff_len: 128
max_steps: STEPS
per_device_train_batch_size: 4
learning_rate: 3.0e-3
"""


def train(hone, work, tokenizer, width, layers, steps):
    text = ROOT / "LICENSE"   # which never changes, nor does the tokenizer then
    if not tokenizer:
        tokenizer = work / "tokenizer"
        run(hone, "tokenizer", "train", "--vocab", "600", "--output", tokenizer, text)
    with tempfile.TemporaryDirectory(dir=work) as made:
        made = pathlib.Path(made)
        run(hone, "prepare", "--tokenizer", tokenizer, "--output", made / "data", text)
        recipe = RECIPE
        for name, value in dict(DATA=made / "data", RUN=made / "run", WIDTH=width, LAYERS=layers, STEPS=steps).items():
            recipe = recipe.replace(name, str(value))
        (made / "recipe.yaml").write_text(recipe)
        run(hone, "pretrain", made / "recipe.yaml")
        return (made / "run" / "model").rename(pathlib.Path(tempfile.mkdtemp(dir=work)) / "model")


def make_random(family, trained, work):
    """A model with the tokenizer of `trained`; norms off their 1 or 0."""
    config_class, keys = RANDOM[family]
    torch.manual_seed(7)
    config = config_class(**{**SIZES, **keys}, vocab_size=json.loads((trained / "config.json").read_text())["vocab_size"], bos_token_id=None, eos_token_id=None)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() == 1:
                p += 0.2 * torch.randn_like(p)
    folder = work / family
    model.save_pretrained(folder)
    for file in trained.glob("tokenizer*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def lines(hone, verb, model, rows, work, *more):
    given = work / "rows.jsonl"
    given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [json.loads(line) for line in run(hone, verb, model, "--input", given, *more).splitlines()]


def by_llamacpp(hone, folder, model, work, name):
    """llama.cpp keeps keys and values in f16 (2e-3 of root mean square at most here), multiplies bf16 matrices by bf16 activations (1e-2)
    and quantised ones by 8 bits (6e-2); a window of 9 where 8 is meant is 0.5, and rows out of order show in the greedy ids, too."""
    count = 16
    for kind in TYPES:
        file = work / f"whole.{kind}.gguf"
        run(hone, "export", model, "--output", file, "--type", kind)
        out = run("node", ROOT / "tools" / "llamacpp.mjs", folder, file, count, *TEXTS)
        theirs = [json.loads(line) for line in out.splitlines()]
        scores = lines(hone, "score", file, [{"text": t} for t in TEXTS], work)
        greedy = lines(hone, "generate", file, [{"ids": t["ids"]} for t in theirs], work, "--max-new-tokens", count, "--ignore-eos", "--json")
        apart = []
        for text, they, score, ours in zip(TEXTS, theirs, scores, greedy):
            check(they["ids"] == score["ids"], f"{name} {kind}: tokens of {text!r}: llama.cpp {they['ids']}, hone {score['ids']}")
            if they["ids"] == score["ids"]:
                apart += [a - b for a, b in zip(they["logprobs"], score["logprobs"][1:])]
            if kind in ("f32", "f16"):
                check(they["greedy"] == ours["ids"], f"{name} {kind}: after {text!r}: llama.cpp {they['greedy']}, hone {ours['ids']}")
        bound = {"f32": 0.004, "f16": 0.004, "bf16": 0.02}.get(kind, 0.1)
        off = np.sqrt(np.mean(np.square(apart)))
        check(off < bound, f"{name} {kind}: log-probabilities {off} apart")
        print(f"llama.cpp     {name} {kind:7} the same tokens{', the same greedy ids' if kind in ('f32', 'f16') else ''}, log-probabilities {off:.1e} apart", flush=True)


def tokens_by_llamacpp(hone, folder, tokenizer, work):
    file = work / "tokens.gguf"
    run(hone, "export", train(hone, work, tokenizer, 64, 1, 1), "--output", file, "--type", "f16")
    theirs = [json.loads(line) for line in run("node", ROOT / "tools" / "llamacpp.mjs", folder, file, 1, *TEXTS, *MORE).splitlines()]
    for text, they, ours in zip(TEXTS + MORE, theirs, lines(hone, "score", file, [{"text": t} for t in TEXTS + MORE], work)):
        check(they["ids"] == ours["ids"], f"{tokenizer}: tokens of {text!r}: llama.cpp {they['ids']}, hone {ours['ids']}")
    print(f"llama.cpp     the same tokens as {tokenizer}", flush=True)


def real_model(hone, file, work):
    """Sums in another order are 1e-5 apart at 30 layers; a row in the wrong place shows at 1."""
    file = pathlib.Path(file)
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()
    worst = 0.0
    for text, score in zip(TEXTS[:3], lines(hone, "score", file, [{"text": t} for t in TEXTS[:3]], work)):
        ids = tokenizer(text).input_ids
        check(ids == score["ids"], f"{file}: tokens of {text!r}: transformers {ids}, hone {score['ids']}")
        with torch.no_grad():
            logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
        worst = max([worst] + [abs(logprobs[i, ids[i + 1]].item() - score["logprobs"][i + 1]) for i in range(len(ids) - 1)])
    check(worst < 1e-3, f"{file}: log-probabilities {worst} off transformers'")
    print(f"{file.name}: transformers' tokens, log-probabilities within {worst:.1e}", flush=True)


def main():
    hone, folder, model, *tokenizers = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        work = pathlib.Path(name)
        golden_models(hone, work)
        if model != "-":
            real_model(hone, model, work)
        trained = train(hone, work, None, 256, 4, 8)
        models = {"llama": trained, **{family: make_random(family, trained, work) for family in RANDOM}}
        for family in RANDOM:
            for kind, most in TYPES.items():
                file = work / f"{family}.{kind}.gguf"
                run(hone, "export", models[family], "--output", file, "--type", kind)
                read_by_package(file, models[family], most)
            print(f"{family:13} read by the gguf package in {', '.join(TYPES)}", flush=True)
        if folder != "-":
            for family, made in models.items():
                by_llamacpp(hone, folder, made, work, family)
            for tokenizer in tokenizers:
                tokens_by_llamacpp(hone, folder, tokenizer, work)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
