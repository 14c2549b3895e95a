#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus: small files of every format, by hand. (Those of shards, documents and filters are kept as they are.)"""
import base64, functools, json, operator, os, struct

ROOT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "fuzz", "corpus")


def write(target, name, data):
    os.makedirs(os.path.join(ROOT, target), exist_ok=True)
    with open(os.path.join(ROOT, target, name), "wb") as f:
        f.write(data if isinstance(data, bytes) else json.dumps(data, ensure_ascii=False).encode())


def varint(n):
    out = b""
    while n >= 128:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def spm(kind, pieces, *normalizer):
    out = b"".join(field(1, field(1, text.encode()) + field(2, score) + field(3, what)) for text, score, what in pieces)
    return out + field(2, field(3, kind) + field(35, 1) + field(40, 0) + field(41, 1) + field(42, 2)) + field(3, b"".join(normalizer))


def added(i, content, **more):
    return dict(dict(id=i, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True), **more)


bpe = dict(type="BPE", unk_token="<unk>", byte_fallback=True, fuse_unk=True, vocab={"<unk>": 0, "<s>": 1, "▁": 2, "a": 3, "b": 4, "ab": 5, "▁ab": 6, "<0xC3>": 7},
           merges=["a b", ["▁", "ab"]])
first = [added(0, "<unk>"), added(1, "<s>")]
template = dict(type="TemplateProcessing", single=[dict(SpecialToken=dict(id="<s>", type_id=0)), dict(Sequence=dict(id="A", type_id=0))],
                special_tokens={"<s>": dict(id="<s>", ids=[1], tokens=["<s>"])})
space = dict(type="Replace", pattern=dict(String=" "), content="▁")
spaces = dict(type="Sequence", decoders=[dict(type="Replace", pattern=dict(String="▁"), content=" "), dict(type="ByteFallback"), dict(type="Fuse"), dict(type="Strip", content=" ", start=1, stop=0)])
tree = struct.pack("<I", 16) + struct.pack("<4I", 1 << 10, 0, 0, 0) + b"a\0"
write("fuzz_tokenizer_file", "bpe.json", dict(version="1.0", added_tokens=first, normalizer=dict(type="Sequence", normalizers=[dict(type="Prepend", prepend="▁"), space]), post_processor=template, decoder=spaces, model=bpe))
write("fuzz_tokenizer_file", "bytes.json", dict(added_tokens=[added(9, "x y", lstrip=True, rstrip=True, single_word=True, normalized=True, special=False)], normalizer=dict(type="NFC"),
      pre_tokenizer=dict(type="ByteLevel", add_prefix_space=True), decoder=dict(type="ByteLevel"), model=dict(vocab={"a": 0, "b": 1, "Ġ": 2, "Ġa": 3, "l": 4, "ll": 5}, merges=["Ġ a", "l l"], ignore_merges=True, unk_token="a")))
write("fuzz_tokenizer_file", "split.json", dict(pre_tokenizer=dict(type="Sequence", pretokenizers=[dict(type="Split", pattern=dict(Regex=r"\s+|\p{N}{1,3}"), behavior="MergedWithNext", invert=False),
      dict(type="Punctuation"), dict(type="Digits", individual_digits=True), dict(type="WhitespaceSplit"), dict(type="Metaspace", replacement="▁", prepend_scheme="first", split=True)]), decoder=dict(type="Metaspace"), model=bpe))
write("fuzz_tokenizer_file", "unigram.json", dict(normalizer=dict(type="Precompiled", precompiled_charsmap=base64.b64encode(tree).decode()), pre_tokenizer=dict(type="Metaspace"),
      post_processor=dict(type="RobertaProcessing", sep=["a", 1], cls=["b", 2]), model=dict(type="Unigram", unk_id=0, byte_fallback=False, vocab=[["<unk>", 0.0], ["a", -1.5], ["b", -2], ["▁a", -3], ["ll", -4]])))
write("fuzz_tokenizer_file", "wordpiece.json", dict(normalizer=dict(type="BertNormalizer", lowercase=True), pre_tokenizer=dict(type="BertPreTokenizer"), decoder=dict(type="WordPiece", prefix="##", cleanup=True),
      post_processor=dict(type="BertProcessing", sep=["a", 1], cls=["b", 2]), model=dict(type="WordPiece", unk_token="u", continuing_subword_prefix="##", max_input_chars_per_word=9, vocab={"u": 0, "a": 1, "b": 2, "##b": 3, ".": 4})))
pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("<0xC3>", 0.0, 6), ("▁", -1.0, 1), ("a", -2.0, 1), ("b", -3.0, 1), ("ab", -4.0, 1), ("▁ab", -5.0, 1), ("<u>", 0.0, 4)]
write("fuzz_tokenizer_file", "unigram.model", spm(1, pieces, field(2, tree)))
write("fuzz_tokenizer_file", "bpe.model", spm(2, pieces, field(3, 0), field(4, 0)))
write("fuzz_tokenizer_file", "ranks.tiktoken", b"".join(base64.b64encode(t) + b" %d\n" % i for i, t in enumerate([b"a", b"b", b"ab", b" a"])))
write("fuzz_merges", "gpt2", json.dumps({"a": 0, "b": 1, "ab": 2, "Ġ": 3, "Ġab": 4, "<|endoftext|>": 5}).encode() + b"\0#version: 0.2\na b\n\xc4\xa0 ab\n")
write("fuzz_merges", "carriage", json.dumps({"a": 0, "aa": 1}).encode() + b"\0a a\r\n")
for i, text in enumerate(["Hello  world's 1234\r\n", "\xe9 \u4e2d\u6587 \U0001f600 a\u0301b", "ab abab  ab.Ab", "'LL \u01c5\u02b0/\n\n x", "  a b  ", "\u2581ab\u2581 <0xC3>"]):
    write("fuzz_encode", f"text{i}", bytes([i]) + text.encode() + (b"\xff\xc3" if i % 2 else b""))


# --- recipes, JSON, models, checkpoints, data sets, logs, the board's port ---------------------------------------------------
def lines(*rows):
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def tensors(shapes, **more):
    """A header, and how many bytes it speaks of."""
    header, at = dict(more), 0
    for name, shape in shapes.items():
        end = at + 4 * functools.reduce(operator.mul, shape, 1)
        header[name], at = dict(dtype="F32", shape=shape, data_offsets=[at, end]), end
    return json.dumps(header).encode(), at


write("fuzz_recipe", "run", b"""# a recipe
model: {model_type: llama, hidden_size: 64, num_hidden_layers: 2, "rope_theta": 1e4, names: [a, ~, true]}
dataset: data/novels   # prepared
learning_rate: 6e-4
max_time: 1.5h
memory: 50%
filters: [language, 'mask_pii']
lr_scheduler_type: wsd
""" + b"\0seed=7\0model.head_dim=16\0filters=[exact_duplicates]\0max_steps=1e3")
write("fuzz_recipe", "mixture", b"""datasets:
  - &one {path: a, weight: 0.7, name: "n\\u00e9"}
  - {path: b/c/, weight: [[0, 0.1], [1000, 0.9]], epochs: 2.5, from_step: 3, to_step: 9}
  - *one
gradient_accumulation_steps: 0x10
""" + b"\0datasets=[{path: x}, {path: y, to_step: 4}]\0output_dir=")
write("fuzz_recipe", "wrong", b"learning_rte: 3e-4\nmodel:\n  a: |\n    text\n  ? b\n  : >-\n    more\n--- \n%TAG ! x\n\xef\xbb\xbf")
write("fuzz_json", "values", dict(a=None, b=[1, -2.5e-7, 1e300, True, False], c={"d\u0000e": "\U0001f600 \u00e9\n", "": {}}, whole=2048.0, large=2**62))
write("fuzz_json", "text", b' "a\\ud83d\\ude00\\u0000b" ')
write("fuzz_json", "wrong", b'{"a": [1, 2,], "a": nul}')
one, size = tensors({"w": [2, 3], "empty": [0, 4]}, __metadata__=dict(format="pt"))
write("fuzz_safetensors", "file", b"\0" + struct.pack("<Q", len(one)) + one + bytes(size))
write("fuzz_safetensors", "parts", b"\1" + one + b"\0" + bytes(range(size)))
write("fuzz_safetensors", "kinds", b"\1" + json.dumps({k: dict(dtype=k, shape=[1, 1, 2], data_offsets=[i, i + n]) for k, i, n in
      [("F32", 0, 8), ("BF16", 8, 4), ("F16", 12, 4), ("I64", 16, 16), ("BOOL", 32, 2), ("U8", 34, 2), ("I8", 36, 2), ("I32", 38, 8)]}).encode() + b"\0" + bytes(46))
two, _ = tensors({"v": [1]})
write("fuzz_safetensors", "folder", b"\2" + json.dumps(dict(metadata=dict(total_size=4), weight_map=dict(w="a.safetensors", v="b.safetensors"))).encode() + b"\0" + tensors({"w": [1]})[0]
      + b"\0" + b"abcd" + b"\0" + two + b"\0" + b"efgh")


def gguf(values, tensors):
    def text(t):
        t = t.encode()
        return struct.pack("<Q", len(t)) + t

    def value(v):
        kinds = {bool: (7, "<?"), int: (4, "<I"), float: (6, "<f")}
        if isinstance(v, str):
            return struct.pack("<I", 8) + text(v)
        if isinstance(v, list):
            kind = 8 if isinstance(v[0], str) else 5 if isinstance(v[0], int) else 6
            return struct.pack("<IIQ", 9, kind, len(v)) + b"".join(text(x) if kind == 8 else struct.pack("<i" if kind == 5 else "<f", x) for x in v)
        kind, form = kinds[type(v)]
        return struct.pack("<I", kind) + struct.pack(form, v)

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + b"".join(text(k) + value(v) for k, v in values.items())
    data = b""
    for name, (dims, kind, content) in tensors.items():
        head += text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, len(data))
        data += content + bytes(-len(content) % 32)
    return head + bytes(-len(head) % 32) + data


def small_gguf(kind, block):
    """One layer of width 32, every matrix of the given type."""
    many = lambda rows: ([32, rows], kind, block * rows)
    ones = ([32], 0, struct.pack("<32f", *[1.0] * 32))
    names = {f"blk.0.{n}.weight": many(32) for n in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}
    return dict(names, **{"token_embd.weight": many(6), "output_norm.weight": ones, "blk.0.attn_norm.weight": ones, "blk.0.ffn_norm.weight": ones})


llama = {"general.architecture": "llama", "llama.block_count": 1, "llama.context_length": 64, "llama.embedding_length": 32, "llama.feed_forward_length": 32,
         "llama.attention.head_count": 2, "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 1e4}
byte_bpe = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": ["<s>", "a", "b", "ab", "Ġ", "<u>"], "tokenizer.ggml.token_type": [3, 1, 1, 1, 1, 4],
            "tokenizer.ggml.merges": ["a b"], "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.add_bos_token": True, "tokenizer.chat_template": "{{ messages }}"}
piece_bpe = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["<unk>", "<s>", "<0xC3>", "▁", "a", "▁a"], "tokenizer.ggml.token_type": [2, 3, 6, 1, 1, 1],
             "tokenizer.ggml.scores": [0.0, 0.0, 0.0, -1.0, -2.0, -3.0], "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.add_space_prefix": True}
write("fuzz_gguf", "q8_0", gguf({**llama, **byte_bpe}, small_gguf(8, struct.pack("<e", 0.01) + bytes(range(32)))))
write("fuzz_gguf", "q4_1", gguf({**llama, **piece_bpe}, small_gguf(3, struct.pack("<ee", 0.01, -0.1) + bytes(range(16)))))
write("fuzz_gguf", "vocabulary", gguf(byte_bpe, {}))

factors, size = tensors({f"base_model.model.model.layers.{l}.self_attn.q_proj.lora_{n}.weight": s for l in (0, 1) for n, s in (("A", [2, 8]), ("B", [8, 2]))})
write("fuzz_peft", "own", json.dumps(dict(peft_type="LORA", r=2, lora_alpha=4, use_rslora=True, bias="none", rank_pattern={})).encode()
      + b"\0" + json.dumps(dict(path="m", xxh3="0123456789abcdef")).encode() + b"\0" + factors + b"\0" + bytes(size))
sizes = dict(vocab_size=131, hidden_size=48, intermediate_size=50, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
write("fuzz_config", "gpt2", dict(model_type="gpt2", vocab_size=131, n_positions=64, n_embd=48, n_layer=2, n_head=4, n_inner=None, activation_function="gelu_new", bos_token_id=1, eos_token_id=[1, 2]))
write("fuzz_config", "llama", dict(sizes, model_type="llama", attention_bias=True, mlp_bias=True, rope_theta=5e5, rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
      high_freq_factor=4.0, original_max_position_embeddings=32), tie_word_embeddings=True, hidden_act="silu", eos_token_id=3))
write("fuzz_config", "mistral", dict(sizes, model_type="mistral", head_dim=24, sliding_window=16, rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=1e4)))
write("fuzz_config", "qwen2", dict(sizes, model_type="qwen2", use_sliding_window=True, sliding_window=16, max_window_layers=2, layer_types=["full_attention"] * 2 + ["sliding_attention"]))
write("fuzz_config", "qwen3", dict(sizes, model_type="qwen3", head_dim=24, quantization_config=None, rms_norm_eps=1e-5, pad_token_id=0, bos_token_id=None))
write("fuzz_config", "granite", dict(sizes, model_type="granite", embedding_multiplier=12.0, attention_multiplier=0.015625, residual_multiplier=0.22, logits_scaling=8.0, rope_theta=1e4))
write("fuzz_config", "stablelm", dict(sizes, model_type="stablelm", use_qkv_bias=True, partial_rotary_factor=0.5, layer_norm_eps=1e-5))
write("fuzz_config", "phi3", dict(sizes, model_type="phi3", sliding_window=16, rope_scaling=None, original_max_position_embeddings=64))
state = dict(version=1, hone="0", step=3, row=21, tokens=3000, tokens_by_source=dict(novels=2000, medical=1000), seconds=3.5, seed=-7, data_hash="8000000000000001", program_hash="0" * 16, skipped=1,
             held_out_loss=2.5, recent_losses=[3.0, 2.75], recipe="{}", files={"model.safetensors": dict(size=1, xxh3=""), "config.json": dict(size=1, xxh3=""), "optimizer.safetensors": dict(size=1, xxh3="")}, self="")
names = {"model.embed_tokens.weight": [7, 4], "model.layers.0.input_layernorm.weight": [4], "model.layers.0.self_attn.q_proj.weight": [4, 4], "model.layers.0.self_attn.k_proj.weight": [4, 4],
         "model.layers.0.self_attn.v_proj.weight": [4, 4], "model.layers.0.self_attn.o_proj.weight": [4, 4], "model.layers.0.post_attention_layernorm.weight": [4], "model.layers.0.mlp.gate_proj.weight": [6, 4],
         "model.layers.0.mlp.up_proj.weight": [6, 4], "model.layers.0.mlp.down_proj.weight": [4, 6], "model.norm.weight": [4], "lm_head.weight": [7, 4]}
params = ["embed.tokens", "layers.0.norm1.g", "layers.0.q", "layers.0.k", "layers.0.v", "layers.0.o", "layers.0.norm2.g", "layers.0.gate", "layers.0.up", "layers.0.down", "norm.g", "head"]
moments = {f"moment{i}.{param}": shape for param, shape in zip(params, names.values()) for i in (1, 2)}
write("fuzz_checkpoint", "whole", b"\1" + json.dumps(state).encode())
write("fuzz_checkpoint", "sums", b"\0" + json.dumps(state).encode())
write("fuzz_checkpoint", "weights", b"\1" + json.dumps(state).encode() + b"\0" + tensors(names)[0])
write("fuzz_checkpoint", "moments", b"\1" + json.dumps(state).encode() + b"\0\0" + tensors(moments)[0])
split = dict(documents=1, tokens=4, bytes=3)
shards = {s: dict(split, shards=[dict(split, file=f"{s}-00000.bin")]) for s in ("train", "held")}
about = dict(format="hone data set", version=2, tokenizer="%016x" % 0x1234, vocab=3, eos=2, **shards)
tally = dict(dropped=1, dropped_bytes=9, changed=2, pieces=3, examples=[dict(where="a:1", why="b", text="c")])
write("fuzz_dataset", "data", b"\0" + json.dumps(dict(about, sources=[dict(path="a", bytes=3, xxh3="0")])).encode())
write("fuzz_dataset", "journal", b"\1" + json.dumps(dict(command="0" * 16, at=[0, 0, 1], counts=dict(empty=0, invalid=1, long_lines=2), hashes=["0" * 16], data=about,
      keys=["2d06800538d394c2"], cleaning=dict(exact_duplicates=tally, near_duplicates=tally))).encode())
when = "2026-01-31T12:00:00Z"
write("fuzz_log", "run", lines(dict(event="start", time=when, hone="0", recipe=dict(max_steps=3), plan=dict(a=1), machine=dict(cpu="x"), data_hash="1", program_hash="2", peak_flops_per_second=1e9),
      dict(event="step", time=when, step=1, loss=2.5, learning_rate=1e-3, trained_tokens=64), dict(event="eval", time=when, step=1, loss=2.25, standard_error=0.1), dict(event="sample", step=1, text="\u00e9"),
      dict(event="save", time=when, step=1, bytes=99, seconds=0.5), dict(event="resume", time=when, **{"from": "a/step-0/step-1"}), dict(event="step", time=when, step=2, loss=2), dict(event="stop", step=2),
      dict(event="end", time=when, step=3, loss=1.5)))
write("fuzz_log", "torn", lines(dict(event="step", step=1)) + b'{"event": "log_gap", "rows_lost": 3}\n[]\n\n{"event": 3}\n{"event": "failed", "time": 1, "step": -1}\n{"event": "st')
write("fuzz_lines", "lines", lines(dict(text="Once upon a time"), dict(prompt="\u00e9", text=1), dict(ids=[1, 403, 407])) + b" \t\r\n" + lines(dict(ids=[])))
write("fuzz_lines", "wrong", lines(dict(text=7)) + lines(dict(ids=[2**31])) + lines(dict(ids="a")) + lines({}) + b"[1]\n{\n")
write("fuzz_task", "piqa", b"\0" + lines(dict(query="Question: a\n", choices=["18. #### $18", "no 3"], gold=1)))
write("fuzz_task", "lines", b"\1Ski: he\n2\none\ntwo\r\nthree\nfour\n")
write("fuzz_task", "rows", b'\2" Who ""said""\n it?",a,b,c,"d, e",D\r\nq,a,b,c,d,A\n')
write("fuzz_task", "prompts", b"\3" + lines(dict(context_options=["A so A", "A so B"], continuation="won.", gold=0)))
write("fuzz_task", "letters", b"\4" + lines(dict(question="a", options=dict(A="b", B="c", C="d", D="e"), answer_idx="C")))
for i, query in enumerate(["series?runs=1,2&x=time&from=0&to=9e9&width=20", "events?runs=1", "report?run=1", "runs", "metrics", "series?runs=,1-%2c1&width=-1&x=tokens&from=nan", "report?run=%00%ff"]):
    write("fuzz_board", f"address{i}", b"\1" + query.encode())
write("fuzz_board", "request", b"\0GET /?token=a HTTP/1.1\r\nHost: [::1]\r\nCookie: hone_token=b\r\nAuthorization: Bearer c\r\n\r\n")
write("fuzz_board", "others", b"\0HEAD / HTTP/1.1\r\nHost: localhost:80\r\n\r\nPOST /api/runs HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc")
