#!/usr/bin/env python3
"""bench/tokenizer_peer.py: the other side of bench/run.py's tokenizer rows; prints one JSON object.

    tokenizer_peer.py encode tokenizers|tiktoken|sentencepiece TOKENIZER THREADS FILE...     MB/s over the files' paragraphs
    tokenizer_peer.py train VOCAB THREADS FILE...                                            seconds and MiB of a BPE training
    tokenizer_peer.py pieces unigram|bpe VOCAB OUTPUT FILE...                                makes a SentencePiece model
"""
import base64, json, os, resource, sys, time


def paragraphs(files):
    texts = []
    for path in files:
        parts = open(path, encoding="utf-8", newline="").read().split("\n\n")
        texts += [part + "\n\n" for part in parts[:-1]] + [parts[-1]]
    return [text for text in texts if text]


def encoder(library, path, threads):
    if library == "tokenizers":
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        from tokenizers import Tokenizer, models, pre_tokenizers
        if os.path.isfile(os.path.join(path, "merges.txt")):
            tok = Tokenizer(models.BPE.from_file(os.path.join(path, "vocab.json"), os.path.join(path, "merges.txt")))
            tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        else:
            tok = Tokenizer.from_file(os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path)
        return lambda texts: sum(len(e.ids) for e in tok.encode_batch_fast(texts))
    if library == "tiktoken":
        import tiktoken
        # the faster form of cl100k's pattern, as tiktoken itself ships it
        pattern = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
        ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in open(path, "rb"))}
        tok = tiktoken.Encoding("cl100k_base", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        return lambda texts: sum(map(len, tok.encode_ordinary_batch(texts, num_threads=threads)))
    import sentencepiece
    tok = sentencepiece.SentencePieceProcessor(model_file=path)
    return lambda texts: sum(map(len, tok.encode(texts, num_threads=threads)))


def main():
    what, rest = sys.argv[1], sys.argv[2:]
    if what == "encode":
        library, path, threads, files = rest[0], rest[1], int(rest[2]), rest[3:]
        encode, texts = encoder(library, path, threads), paragraphs(files)
        size = sum(len(text.encode()) for text in texts)
        encode(texts[:100])
        start = time.perf_counter()
        tokens = encode(texts)
        print(json.dumps(dict(rate=size / 1e6 / (time.perf_counter() - start), tokens=tokens)))
    elif what == "train":
        os.environ["RAYON_NUM_THREADS"] = rest[1]
        from tokenizers import Tokenizer, models, pre_tokenizers, trainers
        tok = Tokenizer(models.BPE())
        tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        start = time.perf_counter()
        tok.train(rest[2:], trainers.BpeTrainer(vocab_size=int(rest[0]), special_tokens=["<|endoftext|>"], show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
        print(json.dumps(dict(seconds=time.perf_counter() - start, mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)))
    else:
        import sentencepiece
        source = rest[2] + ".txt"
        with open(source, "w", encoding="utf-8") as f:
            f.write("\n".join(text.replace("\n", " ") for text in paragraphs(rest[3:])[:8000]))
        sentencepiece.SentencePieceTrainer.train(input=source, model_prefix=rest[2], model_type=rest[0], vocab_size=int(rest[1]), minloglevel=2, num_threads=2)


main()
