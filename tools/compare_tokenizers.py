#!/usr/bin/env python3
"""Compares `hone tokenizer` with Hugging Face tokenizers: ids of a torture set, and the merges that training learns.

    compare_tokenizers.py HONE [TOKENIZER ...]

TOKENIZER is a tokenizer.json or a folder with GPT-2's files. Without one, only tokenizers made here are compared.
Exit code 1 where anything differs; each difference is printed.
"""
import json, os, random, subprocess, sys, tempfile, unicodedata
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers


def torture(rng):
    texts = ["", " ", "  ", "\n", "\r\n", "\t\t x", "a", "I'm we'll THEY'RE 'sup 's", "x" * 3000, " " * 3000, "\n" * 999 + "a", "ab" * 2000,
             "12345 1234567890 3.14159 ١٢٣ ½ Ⅷ", "don't  stop\u00a0now\u2003wide\u180ezero\u200bwidth\ufeffbom", "e\u0301 \u00e9 n\u0303o A\u030a \u212b \u1100\u1161\u11a8 \uac01 q\u0307\u0323",
             "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪", "日本語のテキスト 中文 한국어 ไทย हिन्दी العربية עברית", "<|endoftext|> <s></s> <unk> <|im_start|>user", "a<|endoftext|>b", "▁▁a▁b c",
             "\x00\x01\x7f\u0080\u009f", "if (x == 1) {\n\treturn  foo[bar]; // ok\n}\n", "ﬁ ﬀ ſ K Å", "(?i:'S|'T) it'S IT'ſ", "fin.\n\n\nNext   \n  line\r\n\r\n end "]
    known = [c for c in range(0x20, 0x2fa20) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    pools = [[c for c in range(0x20, 0x7f)], known, list(range(0x300, 0x370)) + list(range(0x61, 0x7b)), list(range(0x1100, 0x1200)) + list(range(0xac00, 0xac80)),
             [0x20, 0x0a, 0x0d, 0x09, 0xa0, 0x2003, 0x3000, 0x61, 0x27, 0x2e, 0x31], list(range(0x1f300, 0x1f650)) + [0x200d, 0xfe0f]]
    for pool in pools:
        for size in (1, 2, 3, 5, 8, 20, 100, 400):
            for _ in range(24):
                texts.append("".join(chr(rng.choice(pool)) for _ in range(size)))
    for _ in range(150):  # pieces of all pools
        texts.append("".join("".join(chr(rng.choice(pool)) for _ in range(rng.randint(1, 6))) for pool in rng.sample(pools, 4)))
    return texts


def load(path):
    if os.path.isdir(path):
        if os.path.exists(f"{path}/tokenizer.json"):
            return Tokenizer.from_file(f"{path}/tokenizer.json")
        tok = Tokenizer(models.BPE.from_file(f"{path}/vocab.json", f"{path}/merges.txt"))
        tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        tok.add_special_tokens(["<|endoftext|>"])
        return tok
    return Tokenizer.from_file(path)


def hone(program, verb, path, rows, *more):
    text = "".join(json.dumps(r) + "\n" for r in rows)
    out = subprocess.run([program, "tokenizer", verb, "--tokenizer", path, *more], input=text.encode(), capture_output=True)
    if out.returncode:
        raise SystemExit(f"{path}: hone tokenizer {verb}: {out.stderr.decode()}")
    return [json.loads(line) for line in out.stdout.decode().splitlines()]


def compare(program, path, texts):
    tok, wrong = load(path), 0
    for special in (False, True):
        got = hone(program, "encode", path, [{"text": t} for t in texts], *(["--special"] if special else []))
        for text, row in zip(texts, got):
            want = tok.encode(text, add_special_tokens=special).ids
            if row["ids"] != want and (wrong := wrong + 1) <= 5:
                print(f"{path}: {text[:60]!r}\n  want {want[:40]}\n  got  {row['ids'][:40]}")
    ids = [tok.encode(t).ids for t in texts]
    got = hone(program, "decode", path, [{"ids": i} for i in ids])
    for row, i in zip(got, ids):
        want = tok.decode(i)
        # hone writes one U+FFFD for each invalid byte, Rust one for each maximal part: compared with runs of them as one
        if squeeze(row["text"]) != squeeze(want) and (wrong := wrong + 1) <= 10:
            print(f"{path}: decode {i[:20]}\n  want {want[:60]!r}\n  got  {row['text'][:60]!r}")
    print(f"{path}: {len(texts)} texts, {wrong} differences", flush=True)
    return wrong


def squeeze(text):
    while "\ufffd\ufffd" in text:
        text = text.replace("\ufffd\ufffd", "\ufffd")
    return text


def synthetic(rng, n):
    """Text whose pair counts tie often, with words that reach one string by different merges."""
    parts = ["ab", "a", "b", "abc", "c", "bc", "aa", "ba", "é", "ß", "1", "22", "'s", ".", "\n", "cab"]
    return "".join("".join(rng.choice(parts) for _ in range(rng.randint(1, 9))) + rng.choice([" ", "  ", "\n"]) for _ in range(n))


def compare_training(program, folder, name, text, vocab):
    source, ours, theirs = f"{folder}/{name}.txt", f"{folder}/{name}.hone.json", f"{folder}/{name}.json"
    with open(source, "w", encoding="utf-8", newline="") as f:
        f.write(text)
    out = subprocess.run([program, "tokenizer", "train", "--vocab", str(vocab), "--output", ours, source], capture_output=True)
    if out.returncode:
        raise SystemExit(f"hone tokenizer train: {out.stderr.decode()}")
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tok.train([source], trainers.BpeTrainer(vocab_size=vocab, special_tokens=["<|endoftext|>"], show_progress=False,
                                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tok.save(theirs)
    a, b = json.load(open(ours)), json.load(open(theirs))
    same = a["model"]["vocab"] == b["model"]["vocab"] and [tuple(m) for m in a["model"]["merges"]] == [tuple(m) for m in b["model"]["merges"]]
    print(f"training on {name}, {vocab}: {len(a['model']['merges'])} merges, {'equal' if same else 'DIFFERENT'}", flush=True)
    mine = Tokenizer.from_file(ours)  # must load there and encode alike
    return (0 if same else 1) + (mine.encode(text[:20000]).ids != tok.encode(text[:20000]).ids), ours


def make_variants(folder, text):
    """Tokenizers that use the components in other combinations."""
    made = []

    def add(name, tok):
        tok.save(f"{folder}/{name}.json")
        made.append(f"{folder}/{name}.json")

    base = dict(vocab_size=600, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"])
    for name, behavior in [("isolated", "isolated"), ("removed", "removed"), ("previous", "merged_with_previous"), ("next", "merged_with_next"), ("contiguous", "contiguous")]:
        for invert in (False, True):
            from tokenizers import Regex
            tok = Tokenizer(models.BPE())
            tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\s|\p{P}"), behavior, invert), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
            tok.decoder = decoders.ByteLevel()
            tok.train_from_iterator([text], trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **base))
            add(f"split-{name}-{invert}", tok)
    for prepend in ("always", "first", "never"):
        for split in (True, False):
            tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=split))
            tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend, split=split)
            tok.decoder = decoders.Metaspace(prepend_scheme=prepend, split=split)
            tok.train_from_iterator([text[:20000]] if split else text[:20000].split("\n"), trainers.BpeTrainer(**base))
            tok.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="$A $B", special_tokens=[("<s>", 1), ("</s>", 2)])
            add(f"metaspace-{prepend}-{split}", tok)
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
    tok.train_from_iterator([text], trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **base))
    tok.add_tokens([AddedToken("the sea", single_word=True), AddedToken("[x]", lstrip=True, rstrip=True), AddedToken("é!", normalized=True), AddedToken("    ", normalized=True),
                    AddedToken("[raw]", normalized=False, lstrip=True), "[xx]"])
    add("added", tok)
    return made


def main():
    program, paths = sys.argv[1], sys.argv[2:]
    rng = random.Random(20)
    texts, wrong = torture(rng), 0
    texts += [f"{a}{t}{b}" for t in ("the sea", "[x]", "é!", "e\u0301!", "    ", "[raw]", "[xx]", "[x][x]") for a in ("", " ", "a", "  a ", "\u3000") for b in ("", "b", " \n b", "!")]
    with tempfile.TemporaryDirectory() as folder:
        learned = []
        for name, n, vocab in (("ties", 3000, 700), ("more-ties", 30000, 3000), ("exhausted", 40, 5000)):
            bad, path = compare_training(program, folder, name, synthetic(rng, n), vocab)
            wrong, learned = wrong + bad, learned + [path]
        prose = synthetic(rng, 4000) + " ".join(texts)[:60000].replace("\x00", "") + "the sea the sea [x] é "
        bad, path = compare_training(program, folder, "unicode", prose, 2000)
        wrong += bad
        for path in learned + [path] + make_variants(folder, prose) + paths:
            wrong += compare(program, path, texts)
    sys.exit(1 if wrong else 0)


main()
