#!/usr/bin/env python3
"""Compares `hone tokenizer` with tiktoken and SentencePiece: ids of a torture set.

    compare_pieces.py HONE [FILE.tiktoken ...]

SentencePiece models are trained here, BPE and Unigram with several normalizations. Exit code 1 where anything differs. It adds
a Unigram model's log-probabilities in f32, hone in f64: of cuts that are equally probable, as of a run of 100,000 letters, each may
take another. Those are counted as ties.
"""
import json, os, random, sys, tempfile
import sentencepiece, tiktoken
from compare_tokenizers import hone, synthetic, torture

PATTERNS = {
    "cl100k_base": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "o200k_base": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
                  r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
                  r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}


def compare(program, path, texts, encode, decode, score=None):
    got, wrong, ties = hone(program, "encode", path, [{"text": t} for t in texts]), 0, 0
    for text, row in zip(texts, got):
        want = encode(text)
        if row["ids"] != want and score and abs(sum(map(score, row["ids"])) / sum(map(score, want)) - 1) < 1e-9:
            ties += 1
        elif row["ids"] != want and (wrong := wrong + 1) <= 5:
            print(f"{path}: {text[:60]!r}\n  want {want[:40]}\n  got  {row['ids'][:40]}")
    back = hone(program, "decode", path, got)
    for row, text in zip(back, got):
        want = decode(text["ids"])
        if want is not None and row["text"] != want and (wrong := wrong + 1) <= 10:
            print(f"{path}: decode {text['ids'][:20]}\n  want {want[:60]!r}\n  got  {row['text'][:60]!r}")
    print(f"{path}: {len(texts)} texts, {wrong} differences" + (f", {ties} ties" if ties else ""), flush=True)
    return wrong


def load_tiktoken(path):
    import base64
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in open(path, "rb") if line.strip())}
    name = os.path.basename(path).split(".")[0]
    return tiktoken.Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=ranks, special_tokens={})


def main():
    program, paths = sys.argv[1], sys.argv[2:]
    rng, wrong = random.Random(21), 0
    texts = torture(rng)[:: 1 if os.environ.get("HONE_TEST_LONG") else 6]
    plain = [t for t in texts if not any(s in t for s in ("<|", "<s>", "</s>", "<unk>"))]
    for path in paths:
        reference = load_tiktoken(path)
        wrong += compare(program, path, plain, reference.encode_ordinary, lambda ids: reference.decode(ids))
    prose = [line for line in (synthetic(rng, 4000) + " ".join(texts)[:60000]).replace("\x00", "").split("\n") if line.strip()]
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/text.txt"
        open(source, "w", encoding="utf-8").write("\n".join(line[:300] for line in prose))
        for name, more in [("bpe", dict(model_type="bpe", byte_fallback=True)), ("bpe-identity", dict(model_type="bpe", normalization_rule_name="identity", remove_extra_whitespaces=False)),
                           ("bpe-llama", dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True)),
                           ("bpe-user", dict(model_type="bpe", byte_fallback=True, user_defined_symbols=["<sep>", "\u25ac"], remove_extra_whitespaces=False)),
                           ("unigram", dict(model_type="unigram")), ("unigram-bytes", dict(model_type="unigram", byte_fallback=True, normalization_rule_name="nfkc_cf")),
                           ("unigram-identity", dict(model_type="unigram", normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False)),
                           ("unigram-user", dict(model_type="unigram", user_defined_symbols=["<sep>", "ab c"]))]:
            sentencepiece.SentencePieceTrainer.train(input=source, model_prefix=f"{folder}/{name}", vocab_size=1500, character_coverage=0.98, minloglevel=2, hard_vocab_limit=False, **more)
            reference = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/{name}.model")
            unknown = reference.unk_id()
            wrong += compare(program, f"{folder}/{name}.model", [t.replace("\x00", "") for t in plain], reference.encode,
                             lambda ids: None if unknown in ids else reference.decode(ids),
                             score=reference.get_score if name.startswith("unigram") else None)
    sys.exit(1 if wrong else 0)


main()
