#!/usr/bin/env python3
"""The PyTorch side of the figures on a GPU, as strong as it can be made, with PyTorch alone; and as most people run it.

    gpt2        GPT-2 124M, 64 x 1024 tokens a step, whole training
    llama       Llama 3.2 1B's shape, 4 x 4,096 tokens a step, whole training
    lora        Llama 3.1 8B's shape, LoRA r 16 on all seven matrices, 4 x 2,048
    generate    Llama 3.2 1B's shape, 256 sequences at once, 128 new tokens behind 128
    attention   scaled_dot_product_attention alone, as build/bench_attention: TFLOP/s forward/backward by head size and tokens of a row
    peft        the run of `lora` by transformers and PEFT, where both are installed
    hf_generate the run of `generate` by transformers

Models are plain modules (scaled_dot_product_attention, RMSNorm and RoPE that the compiler fuses), compiled whole, with fused AdamW and a
vocabulary padded to a multiple of 64. What is fastest is found by trying, one choice after the other: rows a micro-batch, pure bf16 or
autocast over f32 weights, attention kernel, checkpointing of blocks. Each figure is the best tokens a second with the choices that
gave it, and the memory that the device says is taken (context included) then.

    bench/peer_gpu.py --json peer.json                  all, on the GPU
    bench/peer_gpu.py --only gpt2 --seconds 90          one, stop trying after 90 s
    bench/peer_gpu.py --device cpu --tiny --eager       the logic alone, in a minute
"""
import argparse, contextlib, gc, importlib.util, json, math, statistics, sys, time
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

# layers, width, heads, key-value heads, head size, MLP width, vocabulary, positions (learned ones: GPT-2)
SHAPES = {
    "gpt2": dict(layers=12, width=768, heads=12, kv=12, head=64, mlp=3072, vocab=50257, learned=1024),
    "1b": dict(layers=16, width=2048, heads=32, kv=8, head=64, mlp=8192, vocab=128256, learned=0),
    "8b": dict(layers=32, width=4096, heads=32, kv=8, head=128, mlp=14336, vocab=128256, learned=0, untied=True),
}
TINY = {name: dict(shape, layers=2, width=64, heads=4, kv=4 if shape["learned"] else 2, head=16, mlp=96, vocab=250, learned=64 if shape["learned"] else 0)
        for name, shape in SHAPES.items()}
PACKAGES = {"peft": ["transformers", "peft"], "hf_generate": ["transformers"]}      # cases that need more than PyTorch
KERNELS = {"auto": None, "flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


def padded(vocab): return (vocab + 63) // 64 * 64


class Linear(nn.Linear):
    """With rank: frozen, plus a low-rank change (LoRA, alpha = 2 rank, as PEFT: B begins as zeros)."""
    def __init__(self, n_in, n_out, bias=False, rank=0):
        super().__init__(n_in, n_out, bias)
        self.rank = rank
        if rank:
            self.weight.requires_grad_(False)
            self.a, self.b = nn.Parameter(torch.empty(rank, n_in)), nn.Parameter(torch.empty(n_out, rank))

    def forward(self, x):
        y = super().forward(x)
        return y + 2 * F.linear(F.linear(x, self.a), self.b) if self.rank else y


class Block(nn.Module):
    def __init__(self, s, rank):
        super().__init__()
        self.s, self.gpt = s, s["learned"] > 0
        norm = nn.LayerNorm if self.gpt else nn.RMSNorm
        q, kv, bias = s["heads"] * s["head"], s["kv"] * s["head"], self.gpt
        self.norm1, self.norm2 = norm(s["width"], eps=1e-5), norm(s["width"], eps=1e-5)
        self.fused = rank == 0          # one product for q, k, v and one for gate and up, where there are no adapters
        sizes = [q + 2 * kv] if self.fused else [q, kv, kv]
        self.qkv = nn.ModuleList(Linear(s["width"], n, bias, rank) for n in sizes)
        self.out = Linear(q, s["width"], bias, rank)
        sizes = [s["mlp"]] if self.gpt else [2 * s["mlp"]] if self.fused else [s["mlp"]] * 2
        self.up = nn.ModuleList(Linear(s["width"], n, bias, rank) for n in sizes)
        self.down = Linear(s["mlp"], s["width"], bias, rank)

    def forward(self, x, turn, cache=None, at=None, mask=None):
        s, (B, T, _) = self.s, x.shape
        h = self.norm1(x)
        q, k, v = torch.cat([f(h) for f in self.qkv], -1).view(B, T, -1, s["head"]).transpose(1, 2).split([s["heads"], s["kv"], s["kv"]], 1)
        if turn is not None: q, k = rotate(q, turn), rotate(k, turn)
        if cache is not None:
            cache[0].index_copy_(2, at, k)
            cache[1].index_copy_(2, at, v)
            k, v = cache[0], cache[1]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=s["kv"] != s["heads"])
        x = x + self.out(y.transpose(1, 2).reshape(B, T, -1))
        h = torch.cat([f(self.norm2(x)) for f in self.up], -1)
        if self.gpt: return x + self.down(F.gelu(h, approximate="tanh"))
        gate, up = h.chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


def rotate(x, turn):
    cos, sin = turn
    a, b = x.float().chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class Model(nn.Module):
    def __init__(self, s, rank=0, again=False):
        super().__init__()
        self.s, self.again = s, again
        self.embed = nn.Embedding(padded(s["vocab"]), s["width"])
        self.position = nn.Embedding(s["learned"], s["width"]) if s["learned"] else None
        self.blocks = nn.ModuleList(Block(s, rank) for _ in range(s["layers"]))
        self.norm = (nn.LayerNorm if s["learned"] else nn.RMSNorm)(s["width"], eps=1e-5)
        self.head = nn.Linear(s["width"], padded(s["vocab"]), bias=False)
        if not s.get("untied"): self.head.weight = self.embed.weight
        if rank:
            for name, p in self.named_parameters(): p.requires_grad_(name.endswith((".a", ".b")))

    def begin(self):
        for name, p in self.named_parameters():
            with torch.no_grad():
                if name.endswith("norm.weight") or "norm1.weight" in name or "norm2.weight" in name: p.fill_(1)
                elif name.endswith((".bias", ".b")): p.zero_()
                else: p.normal_(0, 0.02)
        return self

    def turn(self, at):
        if self.position: return None
        D = self.s["head"]
        angle = at.float()[:, None] * 500000.0 ** (-torch.arange(0, D, 2, device=at.device).float() / D)
        return angle.cos(), angle.sin()

    def hidden(self, ids, at, caches=None, mask=None):
        x, turn = self.embed(ids), self.turn(at)
        if self.position: x = x + self.position(at)
        for i, block in enumerate(self.blocks):
            if self.again and self.training: x = checkpoint(block, x, turn, use_reentrant=False)
            else: x = block(x, turn, caches[i] if caches else None, at, mask)
        return self.norm(x)

    def forward(self, ids, target):
        x = self.hidden(ids, torch.arange(ids.shape[1], device=ids.device))
        return F.cross_entropy(self.head(x).flatten(0, 1).float(), target.flatten())


def parameters(s):
    """Of the shape as published: the padding of the vocabulary left out."""
    with torch.device("meta"): model = Model(s)
    all_of = sum(p.numel() for p in model.parameters())
    return all_of - (padded(s["vocab"]) - s["vocab"]) * s["width"] * (2 if s.get("untied") else 1)


def transformers_model(s, positions):
    """The same shape as transformers builds it, random."""
    from transformers import LlamaConfig, LlamaForCausalLM
    return LlamaForCausalLM(LlamaConfig(vocab_size=s["vocab"], hidden_size=s["width"], intermediate_size=s["mlp"], num_hidden_layers=s["layers"], head_dim=s["head"],
                                        num_attention_heads=s["heads"], num_key_value_heads=s["kv"], max_position_embeddings=positions, rms_norm_eps=1e-5,
                                        tie_word_embeddings=not s.get("untied"), attn_implementation="sdpa", bos_token_id=None, eos_token_id=None))


def lacks(*packages): return [p for p in packages if importlib.util.find_spec(p) is None]


# --- measuring ---------------------------------------------------------------------------------------------------------------------

class Bench:
    def __init__(self, options):
        self.device, self.tiny, self.eager, self.seconds = options.device, options.tiny, options.eager, options.seconds
        self.gpu = self.device != "cpu"

    def wait(self):
        if self.gpu: torch.cuda.synchronize()

    def clear(self):
        torch._dynamo.reset()
        gc.collect()
        if self.gpu: torch.cuda.empty_cache()

    def taken(self):
        """Bytes that the device says are in use: the allocator keeps what it ever had, so this is the peak."""
        if not self.gpu: return 0
        free, total = torch.cuda.mem_get_info()
        return total - free

    def compiled(self, function, **how): return function if self.eager else torch.compile(function, **how)

    def timed(self, step, tokens):
        """Tokens a second, the median of steps behind three that warm up."""
        for _ in range(1 if self.tiny else 3): step()
        self.wait()
        times, began = [], time.perf_counter()
        while len(times) < (3 if self.tiny else 5) or (time.perf_counter() - began < 3 and len(times) < 50 and not self.tiny):
            start = time.perf_counter()
            step()
            self.wait()
            times.append(time.perf_counter() - start)
        return tokens / statistics.median(times)

    def training(self, s, T, rows, rank, choice):
        torch.manual_seed(1)
        pure = choice["precision"] == "bf16"
        with torch.device(self.device): model = Model(s, rank, choice["checkpointing"])
        if rank:                        # frozen weights are bf16 in any case, the factors are as `precision` says
            for p in model.parameters(): p.data = p.data.to(torch.bfloat16 if pure or not p.requires_grad else torch.float32)
        elif pure: model.bfloat16()
        model.begin().train()
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-3 if self.tiny else 3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        forward = self.compiled(model)
        kernel = KERNELS[choice["attention"]]
        ids = torch.randint(0, s["vocab"], (rows, T + 1), device=self.device)
        batches = [(part[:, :-1].contiguous(), part[:, 1:].contiguous()) for part in ids.split(choice["micro_batch"])]
        losses = []

        def step():
            loss = 0.0
            for x, y in batches:
                with sdpa_kernel(kernel) if kernel is not None else contextlib.nullcontext():
                    with contextlib.nullcontext() if pure else torch.autocast(self.device, torch.bfloat16):
                        part = forward(x, y) / len(batches)
                    part.backward()
                loss = loss + part.detach()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss)

        rate = self.timed(step, rows * T)
        if not math.isfinite(losses[-1].item()): raise RuntimeError("the loss is not finite")
        return dict(tokens_per_s=rate, memory_bytes=self.taken(), first_loss=losses[0].item(), last_loss=losses[-1].item())

    def generation(self, s, rows, prompt, new, choice):
        torch.manual_seed(1)
        with torch.device(self.device): model = Model(s).bfloat16().begin().eval()
        length = prompt + new
        shape = (2, rows, s["kv"], length, s["head"])
        caches = [torch.zeros(shape, device=self.device, dtype=torch.bfloat16) for _ in range(s["layers"])]
        ids = torch.randint(0, s["vocab"], (rows, prompt), device=self.device)
        every = torch.arange(length, device=self.device)

        def tokens_of(last, at):        # (rows, n) at positions `at`: the likeliest next of each row
            mask = every[None, :] <= at[:, None]
            return model.head(model.hidden(last, at, caches, mask)[:, -1:])[..., : s["vocab"]].argmax(-1)

        decode = self.compiled(tokens_of, mode="reduce-overhead") if choice["graphs"] else self.compiled(tokens_of)

        @torch.inference_mode()
        def step():
            last = tokens_of(ids, every[:prompt])
            for n in range(prompt, length - 1): last = decode(last, every[n:n + 1]).clone()

        return dict(tokens_per_s=self.timed(step, rows * new), memory_bytes=self.taken())

    def attention(self, rows, width, shapes, choice):
        """TFLOP/s over visible pairs, 4 D forward and 10 D backward; tokens/s: of all shapes, both ways."""
        kernel, result, seconds = KERNELS[choice["attention"]], {}, 0.0
        for head, T in shapes:
            q, k, v, do = (torch.randn(rows // T, width // head, T, head, device=self.device, dtype=torch.bfloat16, requires_grad=i < 3) for i in range(4))
            with sdpa_kernel(kernel) if kernel is not None else contextlib.nullcontext():
                out = F.scaled_dot_product_attention(q, k, v, is_causal=True)

                def forward():
                    for _ in range(10): F.scaled_dot_product_attention(q, k, v, is_causal=True)

                def backward():
                    for _ in range(10): torch.autograd.grad(out, (q, k, v), do, retain_graph=True)

                took = [rows / self.timed(step, 10 * rows) for step in (forward, backward)]
            pairs = rows * (T + 1) / 2 * (width // head)
            result[f"{head}x{T}"] = "/".join(f"{flops * head * pairs / s * 1e-12:.3g}" for flops, s in zip((4, 10), took))
            seconds += sum(took)
        return dict(tokens_per_s=len(shapes) * rows / seconds, memory_bytes=self.taken(), **result)
    def peft(self, s, T, rows, rank, choice):
        import peft
        torch.manual_seed(1)
        with torch.device(self.device): model = transformers_model(s, T).bfloat16()
        model.config.use_cache = False
        if choice["checkpointing"]: model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False)), model.enable_input_require_grads()
        names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        model = peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, bias="none")).train()
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-3 if self.tiny else 3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        forward = self.compiled(model) if choice["compiled"] else model
        batches = torch.randint(0, s["vocab"], (rows, T), device=self.device).split(choice["micro_batch"])
        losses = []

        def step():
            loss = 0.0
            for ids in batches:
                with torch.autocast(self.device, torch.bfloat16): part = forward(input_ids=ids, labels=ids).loss / len(batches)
                part.backward()
                loss = loss + part.detach()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss)

        rate = self.timed(step, rows * T)
        return dict(tokens_per_s=rate, memory_bytes=self.taken(), first_loss=losses[0].item(), last_loss=losses[-1].item())

    def hf_generation(self, s, rows, prompt, new, choice):
        torch.manual_seed(1)
        with torch.device(self.device): model = transformers_model(s, prompt + new).bfloat16().eval()
        ids = torch.randint(0, s["vocab"], (rows, prompt), device=self.device)
        how = dict(attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=new, max_new_tokens=new, pad_token_id=0, eos_token_id=None)
        if choice["cache"] == "static": how["cache_implementation"] = "static"

        @torch.inference_mode()
        def step():
            if model.generate(ids, **how).shape[1] != prompt + new: raise RuntimeError("generate() stopped early")

        return dict(tokens_per_s=self.timed(step, rows * new), memory_bytes=self.taken())

    def attempt(self, measure, choice):
        """A measurement, or why there is none."""
        try: return dict(measure(choice), **choice)
        except torch.OutOfMemoryError: return dict(choice, failed="out of memory")
        except RuntimeError as error: return dict(choice, failed=str(error).strip().splitlines()[0][:200])
        finally: self.clear()

    def search(self, name, measure, choices):
        """The best of each choice in turn, the others as they were best so far; micro-batches from the largest on until one fits."""
        began, tried, best = time.perf_counter(), [], None
        now = {key: values[0] for key, values in choices.items()}
        for key, values in choices.items():
            for value in values:
                if best and (value == now[key] or time.perf_counter() - began > self.seconds): continue
                result = self.attempt(measure, dict(now, **{key: value}))
                tried.append(result)
                print(f"  {name}: {json.dumps(result)}", file=sys.stderr, flush=True)
                if "failed" not in result and (not best or result["tokens_per_s"] > best["tokens_per_s"]): best = result
            if best: now = {k: best[k] for k in choices}
        return dict(name=name, best=best, tried=tried)


def cases(bench):
    shapes, tiny = TINY if bench.tiny else SHAPES, bench.tiny
    kernels = ["auto", "flash", "cudnn"] if bench.gpu else ["auto"]

    def training(shape, rows, T, rank, micro):
        return (lambda choice: bench.training(shapes[shape], T, rows, rank, choice)), dict(
            micro_batch=[m for m in micro if m <= rows], checkpointing=[False, True], precision=["bf16", "autocast"], attention=kernels)

    def by_peft():
        return (lambda choice: bench.peft(shapes["8b"], 32 if tiny else 2048, 2 if tiny else 4, 16, choice)), dict(
            micro_batch=[2] if tiny else [4, 2, 1], checkpointing=[False, True], compiled=[False] if bench.eager else [True, False])

    def by_transformers():
        sizes = (4, 8, 8) if tiny else (256, 128, 128)
        return (lambda choice: bench.hf_generation(shapes["1b"], *sizes, choice)), dict(cache=["dynamic", "static"])

    found = {
        "gpt2": training("gpt2", 4 if tiny else 64, 32 if tiny else 1024, 0, [64, 32, 16, 8, 4, 2]),
        "llama": training("1b", 2 if tiny else 4, 32 if tiny else 4096, 0, [4, 2, 1]),
        "lora": training("8b", 2 if tiny else 4, 32 if tiny else 2048, 16, [4, 2, 1]),
        "generate": ((lambda choice: bench.generation(shapes["1b"], 4 if tiny else 256, 8 if tiny else 128, 8 if tiny else 128, choice)), dict(graphs=[True, False])),
        "attention": ((lambda choice: bench.attention(64, 32, [(16, 32)], choice)) if tiny else
                      (lambda choice: bench.attention(16384, 2048, [(64, 1024), (64, 4096), (128, 1024), (128, 4096)], choice)),
                      dict(attention=kernels)),
    }
    if not lacks(*PACKAGES["peft"]): found["peft"] = by_peft()
    if not lacks(*PACKAGES["hf_generate"]): found["hf_generate"] = by_transformers()
    return found


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--device", default="cuda", help="cuda (default) or cpu")
    parse.add_argument("--only", default="", help="names of cases, separated by commas")
    parse.add_argument("--seconds", type=float, default=300, help="for a case: nothing new is tried behind these (default 300)")
    parse.add_argument("--json", default="", help="write the results there")
    parse.add_argument("--tiny", action="store_true", help="small shapes, for a test of the logic")
    parse.add_argument("--eager", action="store_true", help="without torch.compile, likewise")
    options = parse.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available(): sys.exit("peer_gpu: PyTorch finds no GPU; --device cpu --tiny runs the logic")
    torch.set_float32_matmul_precision("high")
    bench = Bench(options)
    known = cases(bench)
    names = [n for n in options.only.split(",") if n] or list(known)
    for name in names:
        if name in PACKAGES and name not in known: sys.exit(f"peer_gpu: {name} needs {' and '.join(lacks(*PACKAGES[name]))}, not installed here")
        if name not in known: sys.exit(f"peer_gpu: {name} is none of {', '.join(known)}")
    results = [bench.search(name, *known[name]) for name in names]
    report = dict(torch=torch.__version__, device=torch.cuda.get_device_name() if bench.gpu else "cpu",
                  parameters={name: parameters(shape) for name, shape in SHAPES.items()}, cases=results)
    for r in results:
        best = r["best"]
        print(f"{r['name']:11} " + (f"{best['tokens_per_s']:12,.0f} tokens/s {best['memory_bytes'] / 2**30:7.2f} GiB  "
                                   + ", ".join(f"{k} {v}" for k, v in best.items() if k not in ("tokens_per_s", "memory_bytes")) if best else "no variant ran"))
    if options.json:
        with open(options.json, "w") as file: json.dump(report, file, indent=1)
    return 0 if all(r["best"] for r in results) else 1


if __name__ == "__main__": sys.exit(main())
