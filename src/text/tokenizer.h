// tokenizer.h: text to ids and back, exactly as the tokenizer's own library does it.
//
//     text -> added tokens cut out -> normalizers -> pre-tokenizers (pieces) -> model (ids) -> post-processor (bos, eos)
//     ids  -> decoders -> bytes
//
// Reads tokenizer.json (Hugging Face), GPT-2's vocab.json + merges.txt, tiktoken rank files, SentencePiece models and the
// vocabulary in a GGUF file (all are turned into the first, convert.h). What each part may be stands in one table each:
// model.c, normalize.c, pretokenize.c, decode.c, post.c; a component that is not in its table is refused by name. (The keys
// "truncation" and "padding" of a tokenizer.json are about batches, not text; encoding here never cuts or pads.)
// After loading a tokenizer never changes, and any number of threads may use it.
#pragma once
#include "base/error.h"
#include "base/memory.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hone_tokenizer hone_tokenizer;

// path: a file of one of these formats, or a folder that holds tokenizer.json, tokenizer.model or vocab.json. Beside it,
// tokenizer_config.json, if there, names the special tokens (a GGUF file does so itself).
hone_status hone_tokenizer_load(const char *path, hone_tokenizer **tokenizer);
void hone_tokenizer_free(hone_tokenizer *tokenizer);
// Writes tokenizer.json and tokenizer_config.json, and chat_template.jinja where one came along, into a folder, as transformers'
// AutoTokenizer loads them.
hone_status hone_tokenizer_save(const hone_tokenizer *tokenizer, const char *folder);
// Adds the vocabulary, special tokens and chat template (NULL: the one of tokenizer_config.json) to the head of a GGUF file, for
// an embedding of `vocab` rows. Refused: what GGUF has no word for.
struct hone_gguf_head;
hone_status hone_tokenizer_put_gguf(const hone_tokenizer *tokenizer, int64_t vocab, const char *chat_template, struct hone_gguf_head *head);

typedef struct hone_special_ids { int32_t bos, eos, pad, unk; } hone_special_ids; // -1: has none
const hone_special_ids *hone_tokenizer_special(const hone_tokenizer *tokenizer);
int64_t hone_tokenizer_vocab(const hone_tokenizer *tokenizer);          // every id is below
uint64_t hone_tokenizer_identity(const hone_tokenizer *tokenizer);      // same for tokenizers that encode alike; never 0
int32_t hone_tokenizer_find(const hone_tokenizer *tokenizer, const char *token); // by content ("<|endoftext|>", "Ġthe"), -1 none
// A token as it is written in the vocabulary, NULL where the id is not used; and the bytes that it decodes to.
const char *hone_tokenizer_token(const hone_tokenizer *tokenizer, int32_t id, size_t *size);
const char *hone_tokenizer_token_bytes(const hone_tokenizer *tokenizer, int32_t id, size_t *size);
bool hone_tokenizer_is_special(const hone_tokenizer *tokenizer, int32_t id); // decoding with skip_special leaves it out
hone_status hone_tokenizer_describe(const hone_tokenizer *tokenizer, hone_buffer *text); // a few lines: kind, sizes, components

typedef struct hone_ids { int32_t *data; int64_t count, capacity; } hone_ids; // starts all zero; hone_free(data)
enum {
    HONE_ENCODE_SPECIAL = 1,    // adds what the post-processor adds (bos, eos)
    HONE_ENCODE_PLAIN = 2,      // special tokens written in the text are ordinary text, for text that is not trusted
    HONE_ENCODE_MIDDLE = 4      // the text goes on where an earlier part ended: no prefix is added at its start
};
hone_status hone_ids_append(hone_ids *ids, int32_t id);
// Appends the ids of a text. Text need not be valid UTF-8: invalid bytes become byte tokens, one each, or the unknown token.
hone_status hone_tokenizer_encode(const hone_tokenizer *tokenizer, const char *text, size_t size, int flags, hone_ids *out);
// For extending a vocabulary: counts the pieces that a text is cut into before the model sees them; and the ids of one piece.
struct hone_words;
hone_status hone_tokenizer_count_pieces(const hone_tokenizer *tokenizer, const char *text, size_t size, struct hone_words *words);
const char *hone_tokenizer_piece(const hone_tokenizer *tokenizer, int32_t id, size_t *size); // the piece that token id is
hone_status hone_tokenizer_encode_piece(const hone_tokenizer *tokenizer, const char *text, size_t size, hone_ids *out);
// The same for n texts, on all cores; out[i] is emptied first.
hone_status hone_tokenizer_encode_many(const hone_tokenizer *tokenizer, int64_t n, const char *const *text, const size_t *size,
                                       int flags, hone_ids *out);

// Appends the bytes of ids. An id outside the vocabulary is an error.
hone_status hone_tokenizer_decode(const hone_tokenizer *tokenizer, const int32_t *ids, int64_t count, bool skip_special, hone_buffer *out);
// The same as text: bytes that are no UTF-8 become U+FFFD, as many of them as the tokenizer's own library writes.
hone_status hone_tokenizer_decode_text(const hone_tokenizer *tokenizer, const int32_t *ids, int64_t count, bool skip_special, hone_buffer *out);
hone_status hone_utf8_append_lossy(hone_buffer *out, const char *text, size_t size); // one U+FFFD for each maximal part of a character
// The same, one id after another: the pieces together equal the whole. State starts all zero.
typedef struct hone_decode_state { bool started; int stripped; } hone_decode_state;
hone_status hone_tokenizer_decode_next(const hone_tokenizer *tokenizer, hone_decode_state *state, int32_t id, bool skip_special, hone_buffer *out);
// How many of the bytes end on a whole UTF-8 character: what may be shown already while more is to come. An invalid byte
// counts as whole.
size_t hone_utf8_whole(const char *text, size_t size);
// Length of the longest valid UTF-8 prefix.
size_t hone_utf8_valid(const char *text, size_t size);
