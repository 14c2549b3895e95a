#!/usr/bin/env python3
"""Writes the seeds of tests/fuzz/corpus for the tokenizer's targets: small files of every format, by hand."""
import base64, json, os, struct

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
