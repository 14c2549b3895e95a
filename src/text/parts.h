// parts.h: the inside of a tokenizer, shared by the files of this folder and nobody else.
//
// A tokenizer is a model (a vocabulary with merges or scores) and four lists of components (normalizers, pre-tokenizers, decoders,
// the post-processor's ids). Each list's kinds stand in one table in the file named below; `Sequence` is flattened while
// reading. Everything that changes what ids come out is also written to `identity`, in one canonical form.
#pragma once
#include "base/json.h"
#include "text/regex.h"
#include "text/split.h"
#include "text/tokenizer.h"
#include <pthread.h>

enum { HONE_MAX_COMPONENTS = 16 };

// --- vocabulary (vocab.c)
typedef struct hone_token {
    uint32_t offset, size;          // content, in hone_vocab.bytes
    uint32_t plain, plain_size;     // what it decodes to, likewise
    bool exists, added, special, beside; // beside: only an added token, not of the model
} hone_token;

typedef struct hone_vocab {
    hone_token *token;              // (count,) by id
    int64_t count, capacity;
    hone_buffer bytes;
    int32_t *slot; int64_t slots, used; // hash of content -> id, open addressing, -1 free; slots a power of two
} hone_vocab;
hone_status hone_vocab_add(hone_vocab *vocab, int64_t id, const char *content, size_t size, const char *where);
int32_t hone_vocab_find(const hone_vocab *vocab, const char *content, size_t size); // -1 none
static inline const char *hone_vocab_content(const hone_vocab *vocab, int32_t id) { return vocab->bytes.data + vocab->token[id].offset; }
void hone_vocab_release(hone_vocab *vocab);

// Pairs that merge: (left, right) -> rank and the token they become.
typedef struct hone_merge { uint32_t left, right, rank, id; } hone_merge; // free where rank == UINT32_MAX
typedef struct hone_merges { hone_merge *slot; uint64_t mask; int64_t count; } hone_merges;
hone_status hone_merges_reserve(hone_merges *merges, int64_t count);
void hone_merges_add(hone_merges *merges, uint32_t left, uint32_t right, uint32_t rank, uint32_t id); // the last of equal pairs counts
static inline uint64_t hone_merges_hash(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15ull;
    return h ^ h >> 29;
}
static inline const hone_merge *hone_merges_find(const hone_merges *merges, uint32_t left, uint32_t right)
{
    for (uint64_t s = hone_merges_hash(left, right);; s++) {
        const hone_merge *merge = &merges->slot[s & merges->mask];
        if (merge->left == left && merge->right == right) return merge;
        if (merge->rank == UINT32_MAX) return NULL;
    }
}

// --- GPT-2's printable alphabet for bytes (bytes.c)
int hone_byte_to_char(uint8_t byte, char out[2]);       // UTF-8 of its character; returns 1 or 2
hone_status hone_bytes_from_chars(const char *text, size_t size, hone_buffer *out, bool *all); // inverse; *all false: some character is no byte
int32_t hone_utf8_next(const char *text, size_t size, int *length); // first character; -1 and length 1 where invalid

// --- characters (characters.c), as Rust's standard library and its Unicode crates class them
bool hone_char_is_space(int32_t code);      // White_Space
bool hone_char_is_word(int32_t code);       // letters, marks, digits, connectors: what single_word looks at
bool hone_char_is_numeric(int32_t code);    // N
bool hone_char_is_punctuation(int32_t code); // ASCII's, and P
bool hone_char_is_mark(int32_t code, bool nonspacing); // M, or Mn alone
bool hone_young_punctuation(int32_t code);              // young.c: what the reference does not know yet
bool hone_young_mark(int32_t code, bool only_nonspacing);
bool hone_young_mapping(int32_t code);
hone_status hone_char_append(hone_buffer *out, int32_t code);   // as UTF-8
hone_status hone_base64_decode(const char *text, size_t size, hone_buffer *out, bool *valid);

// --- a tree of byte strings (trie.c): one hash table of its edges, (node, byte) -> node. Node 0 is the root.
typedef struct hone_trie {
    uint64_t *edge; uint64_t mask; int64_t edges;   // (node + 1) << 40 | byte << 32 | child, 0 free
    int32_t *id; int64_t nodes, capacity;           // (nodes,) the string that ends here, -1 none
} hone_trie;
hone_status hone_trie_add(hone_trie *trie, const char *text, size_t size, int32_t id);
void hone_trie_release(hone_trie *trie);
static inline int32_t hone_trie_step(const hone_trie *trie, int32_t node, uint8_t byte) // -1 none
{
    uint64_t key = (uint64_t)(node + 1) << 8 | byte;
    for (uint64_t s = key * 0x9E3779B97F4A7C15ull >> 20;; s++) {
        uint64_t edge = trie->edge[s & trie->mask];
        if (edge >> 32 == key) return (int32_t)(uint32_t)edge;
        if (edge == 0) return -1;
    }
}

// --- components
typedef struct hone_encoder hone_encoder;
typedef struct hone_charsmap hone_charsmap; // charsmap.c: SentencePiece's table of replacements
hone_status hone_charsmap_new(hone_charsmap **map, const char *data, size_t size, const char *where);
void hone_charsmap_free(hone_charsmap *map);
// Longest: SentencePiece's way, the longest string of the table at each place. Else Hugging Face's, character by character.
hone_status hone_charsmap_apply(const hone_charsmap *map, bool longest, const char *text, size_t size, hone_buffer *out);
typedef struct hone_piece { const char *text; size_t size; bool first; } hone_piece; // first: at the very start of the input

typedef struct hone_normalizer {    // normalize.c
    const struct hone_normalizer_kind *kind; const char *type;
    char *from, *to; size_t from_size, to_size;
    hone_regex *regex;
    bool left, right, first_only, clean, han, accents, lower;   // what each means stands beside its kind
    hone_charsmap *charsmap;
} hone_normalizer;

typedef enum { HONE_SPLIT_REMOVED, HONE_SPLIT_ISOLATED, HONE_SPLIT_MERGED_WITH_PREVIOUS, HONE_SPLIT_MERGED_WITH_NEXT,
               HONE_SPLIT_CONTIGUOUS } hone_split_behavior;
typedef enum { HONE_PREPEND_ALWAYS, HONE_PREPEND_FIRST, HONE_PREPEND_NEVER } hone_prepend;
typedef struct hone_pretokenizer {  // pretokenize.c
    const struct hone_pretokenizer_kind *kind; const char *type;
    hone_regex *regex; hone_split_fn known; // known: the same as a function, NULL none
    hone_split_behavior behavior;
    bool invert, add_prefix_space, split;
    hone_prepend prepend;
    char replacement[8]; size_t replacement_size;
    bool (*matches)(int32_t code);  // pre-tokenizers that look at characters
} hone_pretokenizer;

typedef struct hone_decoder {       // decode.c
    const struct hone_decoder_kind *kind; const char *type;
    char *from, *to; size_t from_size, to_size;
    int64_t start;
    bool cleanup;
} hone_decoder;

// Added tokens: a tree over bytes, leftmost match, longest first (added.c).
typedef struct hone_added {
    int32_t *child;                 // (nodes, 256) 0 none
    int32_t *id;                    // (nodes,) token that ends here, -1 none
    int64_t nodes, capacity, id_capacity; // capacity of child in nodes
    bool first[256];                // bytes that some token begins with
    int firsts; char only;          // how many, and the last of them
    int64_t count;
} hone_added;
typedef struct hone_added_flags { bool single_word, lstrip, rstrip; } hone_added_flags;
hone_status hone_added_insert(hone_added *added, const char *content, size_t size, int32_t id);
void hone_added_release(hone_added *added);
// The next added token at or after `from`: its id, or -1 and *start = size. plain: special ones do not count.
int32_t hone_added_find(const hone_added *added, const hone_tokenizer *tokenizer, const char *text, size_t size, size_t from, bool plain,
                        size_t *start, size_t *stop);

struct hone_tokenizer {
    const struct hone_model_kind *model;
    hone_vocab vocab;
    hone_merges merges;                 // BPE
    hone_trie trie;                     // Unigram, WordPiece: all tokens
    double *score, unknown_score; int64_t scores; // Unigram: (scores,) log-probabilities
    char *prefix_mark; int32_t prefix_node; int64_t most_chars; // WordPiece: what continues a word begins with; longest word
    hone_normalizer normalizer[HONE_MAX_COMPONENTS]; int n_normalizer;
    hone_pretokenizer pretokenizer[HONE_MAX_COMPONENTS]; int n_pretokenizer;
    int last_stage;                     // pre-tokenizers from here on change nothing
    hone_decoder decoder[HONE_MAX_COMPONENTS]; int n_decoder;
    hone_added raw, normalized;         // added tokens sought before and after normalization
    hone_added_flags *added_flags;      // (vocab.count,) of added tokens
    int32_t *prefix, *suffix; int64_t n_prefix, n_suffix; // ids that the post-processor puts around a text

    bool byte_level;                    // symbols are bytes; else characters
    int32_t byte_id[256];               // token of each byte (byte level, or byte fallback), -1 none
    bool byte_fallback, fuse_unk, ignore_merges;
    int32_t unk;
    bool apart_from_text;               // SentencePiece: special and byte tokens are never found in a text
    bool cut_words;                     // no merge crosses a ▁ that follows another character: words encode apart
    bool join_with_space;               // no decoder: tokens stand apart
    bool first_differs;                 // some decoder treats the first token unlike the others
    int64_t strip;                      // decoder Strip: so many leading spaces

    hone_special_ids special;
    char *source; size_t source_size;   // tokenizer.json
    char *config; size_t config_size;   // tokenizer_config.json, NULL none
    char *template; size_t template_size; // chat_template.jinja, likewise: saved along, so that a model keeps its own
    hone_buffer identity; uint64_t identity_hash;
    pthread_mutex_t lock; hone_encoder *idle; // encoders for the next callers
};

// A tokenizer from the text of its file alone: it encodes and decodes, but cannot be saved and names no special ids.
hone_status hone_tokenizer_parse(const char *where, const char *text, size_t size, hone_tokenizer **out);

// --- encoding (encode.c, normalize.c, pretokenize.c, bpe.c)
enum { HONE_CACHE_FIRST_SLOTS = 1 << 10, HONE_CACHE_SLOTS = 1 << 16, HONE_CACHE_KEY = 32, HONE_CACHE_IDS = 7 };
typedef struct hone_cache_entry { // 64 bytes: one line
    uint8_t key[HONE_CACHE_KEY];
    uint8_t size, n; uint16_t zero;
    int32_t ids[HONE_CACHE_IDS];
} hone_cache_entry;

struct hone_encoder {
    const hone_tokenizer *tokenizer;
    hone_ids *out;
    hone_matcher matcher;
    hone_buffer normal[2], stage[HONE_MAX_COMPONENTS];
    bool same;                                      // a normalizer says: the text stays as it is, nothing was written
    int32_t *scratch; int64_t scratch_capacity;     // utf8proc's characters
    struct hone_symbol *symbol; int64_t symbol_capacity;
    struct hone_candidate *heap; int64_t heap_count, heap_capacity;
    struct hone_lattice *lattice; int64_t lattice_capacity;
    struct hone_words *count;                       // not NULL: pieces are counted there, not encoded
    hone_cache_entry *cache; int64_t cache_slots, missed; // missed: since the cache last grew
    hone_encoder *next;
};
hone_status hone_ids_reserve(hone_ids *ids, int64_t more);

// A part of tokenizer.json: null, a component of one of these kinds, or a "Sequence" of them.
typedef struct hone_component_table {
    const char *what, *list;                         // "normalizer"; "normalizers": where a Sequence has its components
    const void *kinds; size_t kind_size; int n_kinds; // rows that begin with their type, a string
    hone_status (*add)(hone_tokenizer *tokenizer, int kind, const json_t *json, const char *where);
} hone_component_table;
hone_status hone_components_read(hone_tokenizer *tokenizer, const json_t *json, const char *where, const hone_component_table *table);

hone_status hone_normalizer_read(hone_tokenizer *tokenizer, const json_t *json, const char *where);
hone_status hone_normalize(hone_encoder *encoder, const char *text, size_t size, bool first, const char **out, size_t *out_size);
hone_status hone_pretokenizer_read(hone_tokenizer *tokenizer, const json_t *json, const char *where);
hone_status hone_pretokenize(hone_encoder *encoder, int stage, hone_piece piece); // and on to the model

// Models (model.c holds the table): a piece of text to ids.
typedef struct hone_model_kind {
    const char *type;
    hone_status (*read)(hone_tokenizer *tokenizer, json_t *json, const char *where);
    hone_status (*prepare)(hone_tokenizer *tokenizer, const char *where);   // after added tokens are known
    hone_status (*encode)(hone_encoder *encoder, const char *text, size_t size);
} hone_model_kind;
extern const hone_model_kind hone_model_bpe, hone_model_unigram, hone_model_wordpiece; // bpe.c, unigram.c, wordpiece.c
hone_status hone_model_read(hone_tokenizer *tokenizer, json_t *json, const char *where);
hone_status hone_model_prepare(hone_tokenizer *tokenizer, const char *where);
hone_status hone_model_encode(hone_encoder *encoder, const char *text, size_t size); // the last stage of pre-tokenizing
hone_status hone_vocab_read(hone_tokenizer *tokenizer, json_t *model, const char *where); // model.vocab, a table of tokens and ids
hone_status hone_unknown_read(hone_tokenizer *tokenizer, json_t *model, const char *where); // model.unk_token

hone_status hone_decoder_read(hone_tokenizer *tokenizer, const json_t *json, const char *where);
hone_status hone_decoder_prepare(hone_tokenizer *tokenizer);                      // every token's plain bytes
hone_status hone_post_read(hone_tokenizer *tokenizer, const json_t *json, const char *where);
hone_status hone_special_read(hone_tokenizer *tokenizer, const char *folder);
void hone_encoder_free(hone_encoder *encoder);

// "where: the normalizer "X" is not supported (supported: A, B, C)"
hone_status hone_refuse(const char *where, const char *part, const char *type, const char *const *known, int n_known);
extern const char hone_gpt2_pattern[];
extern const char hone_cl100k_pattern[], hone_o200k_pattern[];  // tiktoken.c
