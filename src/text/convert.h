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

// tokenizer.json of these parts; takes over the references. NULL parts are null.
typedef struct { json_t *added, *normalizer, *pre_tokenizer, *post_processor, *decoder, *model; } hone_tokenizer_parts;
json_t *hone_tokenizer_json(const hone_tokenizer_parts *parts);
json_t *hone_added_json(int64_t id, const char *content, bool special); // an entry of added_tokens
json_t *hone_byte_level_json(bool use_regex);
