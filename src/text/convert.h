// convert.h: other formats of tokenizers, turned into the tokenizer.json that says the same; then all go one way.
//
// Where tokenizer.json has no word for something, the JSON carries a key of hone's own, which Hugging Face's reader passes
// over: model.merges_by_token, model.apart_from_text, model.unknown_score, Precompiled.longest, Prepend.first_only.
#pragma once
#include "base/json.h"

hone_status hone_convert_gpt2(const char *folder, json_t **out);    // vocab.json + merges.txt
// The text of a tiktoken rank file: one "base64 rank" a line. Which regular expression and special tokens belong to it is
// not in the file: it is known by its number of ranks.
hone_status hone_convert_tiktoken(const char *path, const char *text, size_t size, json_t **out);
// A SentencePiece model (protobuf ModelProto): BPE and Unigram.
hone_status hone_convert_sentencepiece(const char *path, const char *data, size_t size, json_t **out);
// The vocabulary within a GGUF file: byte-level BPE ("gpt2") and SentencePiece's BPE ("llama"). config: the text of the
// tokenizer_config.json that says the same, special tokens and chat template; hone_free() it.
hone_status hone_convert_gguf(const char *path, json_t **out, char **config);

// A SentencePiece model, from whatever file. Types of pieces are numbered alike in protobuf and in GGUF.
enum { HONE_PIECE_NORMAL = 1, HONE_PIECE_UNKNOWN, HONE_PIECE_CONTROL, HONE_PIECE_USER_DEFINED, HONE_PIECE_UNUSED, HONE_PIECE_BYTE };
typedef struct hone_spm_piece { const char *text; size_t size; float score; int64_t type, id; } hone_spm_piece;
typedef struct hone_spm {
    const char *path;
    hone_spm_piece *piece; int64_t count, capacity;     // sorted anew by the conversion
    int64_t type, unk, bos, eos, pad;               // type 1: Unigram, 2: BPE
    bool byte_fallback, suffix, prefix, squeeze, escape;
    const char *charsmap; size_t charsmap_size;
} hone_spm;
hone_status hone_convert_pieces(hone_spm *pieces, json_t **out);
json_t *hone_prefix_json(const char *token, int64_t id);    // a post-processor that puts this token in front

// tokenizer.json of these parts; takes over the references. NULL parts are null.
typedef struct { json_t *added, *normalizer, *pre_tokenizer, *post_processor, *decoder, *model; } hone_tokenizer_parts;
json_t *hone_tokenizer_json(const hone_tokenizer_parts *parts);
json_t *hone_added_json(int64_t id, const char *content, bool special); // an entry of added_tokens
json_t *hone_byte_level_json(bool use_regex);
