#!/usr/bin/env python3
"""Compares `hone tokenizer` with Hugging Face tokenizers: ids of a torture set, and the merges that training learns.

    compare_tokenizers.py HONE [TOKENIZER ...]

TOKENIZER is a tokenizer.json or a folder with GPT-2's files. Without one, only tokenizers made here are compared.
Exit code 1 where anything differs; each difference is printed.
"""
import json, os, random, subprocess, sys, tempfile, unicodedata
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers


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
    everything = [c for c in range(1, 0x110000) if not 0xd800 <= c < 0xe000 and not 0x11f00 <= c < 0x11f60]  # Kawi: younger than PCRE2 10.42
    if not os.environ.get("HONE_TEST_LONG"):  # a sample: what is assigned today and is no ideograph or syllable; of those each twentieth
        everything = [c for c in everything if (unicodedata.category(chr(c)) not in ("Cn", "Co") and unicodedata.category(chr(c)) != "Lo") or c % 20 == 0]
    for first in range(0, len(everything), 64):
        texts.append(" ".join("a" + chr(c) for c in everything[first:first + 64]))
    for _ in range(150):  # pieces of all pools
        texts.append("".join("".join(chr(rng.choice(pool)) for _ in range(rng.randint(1, 6))) for pool in rng.sample(pools, 4)))
    return texts + [" " * 100_000, "a" * 100_000, "7" * 100_000, "1234567890" * 10_000, "\r\n" * 50_000, "\u00e9" * 100_000]


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
    return [json.loads(line) for line in out.stdout.decode().split("\n") if line]


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
        if row["text"] != want and (wrong := wrong + 1) <= 10:
            print(f"{path}: decode {i[:20]}\n  want {want[:60]!r}\n  got  {row['text'][:60]!r}")
    print(f"{path}: {len(texts)} texts, {wrong} differences", flush=True)
    return wrong


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

    def bytes_behind(name, normalizer=None, *splits):
        """A byte-level model, so that ids show every byte that comes out of normalizers and pre-tokenizers."""
        tok = Tokenizer(models.BPE())
        if normalizer:
            tok.normalizer = normalizer
        tok.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        tok.decoder = decoders.ByteLevel()
        tok.train_from_iterator([text[:20000]], trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **base))
        add(name, tok)

    n, p = normalizers, pre_tokenizers
    for name, part in [("nfd", n.NFD()), ("nfkc", n.NFKC()), ("nfkd", n.NFKD()), ("lower", n.Lowercase()), ("strip", n.Strip(left=True, right=False)),
                       ("strip-right", n.Strip(left=False, right=True)), ("accents", n.Sequence([n.NFD(), n.StripAccents()])), ("accents-alone", n.StripAccents()),
                       ("replace", n.Sequence([n.Replace(Regex(r"\s{2,}|x+"), "_"), n.Replace("ab", "é")])), ("prepend", n.Prepend("¡")),
                       ("bert", n.BertNormalizer()), ("bert-cased", n.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)),
                       ("bert-accents", n.BertNormalizer(clean_text=False, handle_chinese_chars=True, strip_accents=True, lowercase=False)),
                       ("precompiled", n.Precompiled(charsmap()))]:
        bytes_behind("normalizer-" + name, part)
    for name, parts in [("digits", [p.Digits()]), ("digits-each", [p.Digits(individual_digits=True)]), ("whitespace", [p.Whitespace()]), ("whitespace-split", [p.WhitespaceSplit()]),
                        ("punctuation", [p.Punctuation()]), ("punctuation-run", [p.Punctuation("contiguous"), p.Digits()]), ("punctuation-removed", [p.Punctuation("removed")]),
                        ("bert", [p.BertPreTokenizer()]), ("word-class", [p.Split(Regex(r"\w+"), "isolated")]), ("digit-class", [p.Split(Regex(r"\d+|[^\W\d]"), "merged_with_next")])]:
        bytes_behind("split-" + name, None, *parts)

    lines = [line for line in text[:60000].split("\n") if line]
    for name, fallback in (("unigram", False), ("unigram-bytes", True)):
        tok = Tokenizer(models.Unigram())
        tok.normalizer = n.Sequence([n.NFKC(), n.Replace(Regex(" {2,}"), " ")]) if not fallback else n.Replace(" ", "▁")
        if not fallback:
            tok.pre_tokenizer = p.Metaspace()
        tok.decoder = decoders.Metaspace() if not fallback else decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        tok.train_from_iterator(lines if not fallback else [line[:200] for line in lines], trainers.UnigramTrainer(vocab_size=900, show_progress=False, unk_token="<unk>", special_tokens=["<unk>", "<s>", "</s>"]))
        if fallback:
            state = json.loads(tok.to_str())
            state["model"]["vocab"] += [[f"<0x{b:02X}>", -20.0 - b / 256] for b in range(256)]
            state["model"]["byte_fallback"] = True
            tok = Tokenizer.from_str(json.dumps(state))
        tok.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
        add(name, tok)
    for name, low in (("wordpiece", True), ("wordpiece-cased", False)):
        tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20 if low else 100))
        tok.normalizer, tok.pre_tokenizer = n.BertNormalizer(lowercase=low), p.BertPreTokenizer()
        tok.decoder = decoders.WordPiece(cleanup=low)
        tok.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=700, show_progress=False, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]))
        tok.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
        add(name, tok)
    return made


def charsmap():
    """A small table in SentencePiece's form (see src/text/charsmap.c): ﬁ -> fi, ｆ -> f, é -> e, two letters -> one, tab -> space."""
    rules = {"\ufb01": "fi", "\uff46": "f", "e\u0301": "\u00e9", "ab": "#", "abc": "##", "\t": " ", "\u200b": "", "\u2126": "\u03a9"}
    text, values = b"", {}
    for key, value in rules.items():
        values[key.encode()] = len(text)
        text += value.encode() + b"\0"
    units, used = {0: 0}, {0}

    def children(prefix):
        return sorted({k[len(prefix)] if len(k) > len(prefix) else 0 for k in values if k.startswith(prefix)})

    def place(at, prefix):
        labels, offset = children(prefix), 1
        while any((at ^ offset ^ label) in used for label in labels):
            offset += 1
        used.update(at ^ offset ^ label for label in labels)
        units[at] = (units[at] & 0xff) | offset << 10 | (0x100 if 0 in labels else 0)
        for label in labels:
            child = at ^ offset ^ label
            units[child] = label if label else 1 << 31 | values[prefix]
            if label:
                place(child, prefix + bytes([label]))

    place(0, b"")
    size = max(max(units) + 1, 256)
    tree = b"".join(units.get(i, 0).to_bytes(4, "little") for i in range(size))
    return len(tree).to_bytes(4, "little") + tree + text


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
        source, pieces = f"{folder}/unicode.txt", f"{folder}/unigram.hone.json"
        out = subprocess.run([program, "tokenizer", "train", "--model", "unigram", "--vocab", "1200", "--output", pieces, source], capture_output=True)
        if out.returncode:
            raise SystemExit(f"hone tokenizer train --model unigram: {out.stderr.decode()}")
        learned.append(pieces)
        share = 1 if os.environ.get("HONE_TEST_LONG") else 6  # a sample: each tokenizer gets other texts
        for i, path in enumerate(learned + [path] + make_variants(folder, prose) + paths):
            wrong += compare(program, path, texts[i % share::share])
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
