#!/usr/bin/env python3
"""random_model.py CONFIG FOLDER: a Llama of random weights (normal, 0.02) in bf16 as a Hugging Face folder, to measure speed and memory of
a shape where no model can be had. CONFIG: its config.json. Numbers of one block are repeated, so that 16 GB take seconds; no packages."""
import array, json, os, random, struct, sys

BLOCK = 1 << 20     # numbers


def bf16(values):
    whole = array.array("f", values).tobytes()      # the upper halves, little-endian
    out = bytearray(len(whole) // 2)
    out[0::2], out[1::2] = whole[2::4], whole[3::4]
    return bytes(out)


def tensors(c):
    """Name and shape of each, as transformers names them."""
    width, inner, heads = c["hidden_size"], c["intermediate_size"], c["num_attention_heads"]
    head = c.get("head_dim", width // heads)
    q, kv = heads * head, c.get("num_key_value_heads", heads) * head
    yield "model.embed_tokens.weight", (c["vocab_size"], width)
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}."
        for name, shape in (("self_attn.q_proj", (q, width)), ("self_attn.k_proj", (kv, width)), ("self_attn.v_proj", (kv, width)), ("self_attn.o_proj", (width, q)),
                            ("mlp.gate_proj", (inner, width)), ("mlp.up_proj", (inner, width)), ("mlp.down_proj", (width, inner)),
                            ("input_layernorm", (width,)), ("post_attention_layernorm", (width,))):
            yield at + name + ".weight", shape
    yield "model.norm.weight", (width,)
    if not c.get("tie_word_embeddings"): yield "lm_head.weight", (c["vocab_size"], width)


def main():
    if len(sys.argv) != 3: sys.exit(__doc__)
    with open(sys.argv[1]) as file: config = json.load(file)
    os.makedirs(sys.argv[2], exist_ok=True)
    with open(os.path.join(sys.argv[2], "config.json"), "w") as file: json.dump(config, file, indent=1)
    draw, header, offset = random.Random(1), {}, 0
    normal = memoryview(bf16(draw.gauss(0, 0.02) for _ in range(BLOCK)) * 2)
    for name, shape in tensors(config):
        count = 1
        for n in shape: count *= n
        header[name] = dict(dtype="BF16", shape=list(shape), data_offsets=[offset, offset + 2 * count])
        offset += 2 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(sys.argv[2], "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors(config):
            left = header[name]["data_offsets"][1] - header[name]["data_offsets"][0]
            if len(shape) == 1:
                file.write(b"\x80\x3f" * (left // 2))       # gains of 1
                continue
            while left:
                start = 2 * draw.randrange(BLOCK)
                left -= file.write(normal[start:start + min(left, 2 * BLOCK)])


if __name__ == "__main__": sys.exit(main())
