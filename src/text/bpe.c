// bpe.c: a piece of text to ids, by merging pairs in the order of their ranks (Sennrich et al. 2016, arXiv:1508.07909).
//
// Symbols are a doubly linked list; at each turn the pair of lowest rank, leftmost among equals, becomes one symbol.
// Short pieces look for it by scanning, long ones keep a heap of candidates, so n symbols cost n log n whatever they are.
// A cache of 65,536 pieces (a direct-mapped table, one cache line each) answers most words of real text at once: 96 % of
// the pieces of 18.75 MB of novels, from a cold start.
#include "text/parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct hone_symbol { int32_t id, previous, next; uint32_t rank, merged; } hone_symbol; // rank, merged: with next
typedef struct hone_candidate { uint32_t rank; int32_t left; uint32_t merged; int32_t left_id, right_id; } hone_candidate;
enum { SCAN_MOST = 48 }; // symbols; above, the heap wins

static void look_up(const hone_merges *merges, hone_symbol *symbol, int32_t left)
{
    hone_symbol *s = &symbol[left];
    s->rank = UINT32_MAX;
    if (s->next < 0) return;
    const hone_merge *merge = hone_merges_find(merges, (uint32_t)s->id, (uint32_t)symbol[s->next].id);
    if (merge) { s->rank = merge->rank; s->merged = merge->id; }
}

static void join(hone_symbol *symbol, int32_t left) // with the one behind it, which leaves the list
{
    hone_symbol *s = &symbol[left];
    int32_t gone = s->next;
    s->id = (int32_t)s->merged;
    s->next = symbol[gone].next;
    symbol[gone].id = -1;
    if (s->next >= 0) symbol[s->next].previous = left;
}

static void merge_by_scan(const hone_merges *merges, hone_symbol *symbol, int64_t n)
{
    for (int64_t i = 0; i < n; i++) look_up(merges, symbol, (int32_t)i);
    for (;;) {
        int32_t best = 0;
        for (int32_t i = 0; i >= 0; i = symbol[i].next)
            if (symbol[i].rank < symbol[best].rank) best = i;
        if (symbol[best].rank == UINT32_MAX) return;
        join(symbol, best);
        look_up(merges, symbol, best);
        if (symbol[best].previous >= 0) look_up(merges, symbol, symbol[best].previous);
    }
}

static bool before(const hone_candidate *a, const hone_candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static hone_status push_candidate(hone_encoder *encoder, int32_t left)
{
    const hone_symbol *symbol = encoder->symbol, *s = &symbol[left];
    if (s->rank == UINT32_MAX) return HONE_OK;
    if (hone_grow(&encoder->heap, encoder->heap_count, &encoder->heap_capacity, sizeof *encoder->heap)) return HONE_FAILED;
    hone_candidate made = { s->rank, left, s->merged, s->id, symbol[s->next].id }, *heap = encoder->heap;
    int64_t i = encoder->heap_count++;
    for (; i > 0 && before(&made, &heap[(i - 1) / 2]); i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = made;
    return HONE_OK;
}

static hone_candidate pop_candidate(hone_encoder *encoder)
{
    hone_candidate *heap = encoder->heap, top = heap[0], last = heap[--encoder->heap_count];
    int64_t n = encoder->heap_count, i = 0;
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &last)) break;
        heap[i] = heap[child];
    }
    if (n) heap[i] = last;
    return top;
}

static hone_status merge_by_heap(hone_encoder *encoder, int64_t n)
{
    const hone_merges *merges = &encoder->tokenizer->merges;
    hone_symbol *symbol = encoder->symbol;
    encoder->heap_count = 0;
    for (int64_t i = 0; i < n; i++) {
        look_up(merges, symbol, (int32_t)i);
        if (push_candidate(encoder, (int32_t)i)) return HONE_FAILED;
    }
    while (encoder->heap_count) {
        hone_candidate c = pop_candidate(encoder);
        hone_symbol *s = &symbol[c.left];
        if (s->id != c.left_id || s->next < 0 || symbol[s->next].id != c.right_id) continue; // one of the two is gone
        s->merged = c.merged;
        join(symbol, c.left);
        look_up(merges, symbol, c.left);
        if (push_candidate(encoder, c.left)) return HONE_FAILED;
        if (s->previous < 0) continue;
        look_up(merges, symbol, s->previous);
        if (push_candidate(encoder, s->previous)) return HONE_FAILED;
    }
    return HONE_OK;
}

static void add_symbol(hone_encoder *encoder, int64_t *n, int32_t id) // room was reserved
{
    encoder->symbol[*n] = (hone_symbol){ .id = id, .previous = (int32_t)*n - 1, .next = (int32_t)*n + 1, .rank = UINT32_MAX };
    ++*n;
}

// Characters to symbols: a token of its own, else its bytes' tokens (byte fallback), else the unknown token (one for a
// whole run of them with fuse_unk). The unknown token is held back until the next known character, as the original does.
static hone_status symbols_of_characters(hone_encoder *encoder, const char *text, size_t size, int64_t *n)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    bool unknown = false;
    for (size_t i = 0; i < size;) {
        int length;
        bool valid = hone_utf8_next(text + i, size - i, &length) >= 0;
        int32_t id = valid ? hone_vocab_find(&tokenizer->vocab, text + i, (size_t)length) : -1;
        bool bytes = id < 0 && tokenizer->byte_fallback;
        for (int b = 0; bytes && b < length; b++) bytes = tokenizer->byte_id[(uint8_t)text[i + (size_t)b]] >= 0;
        if (bytes) {
            for (int b = 0; b < length; b++) add_symbol(encoder, n, tokenizer->byte_id[(uint8_t)text[i + (size_t)b]]);
        } else if (id >= 0 || tokenizer->unk >= 0) {
            if (unknown && (id >= 0 || !tokenizer->fuse_unk)) add_symbol(encoder, n, tokenizer->unk);
            unknown = id < 0;
            if (id >= 0) add_symbol(encoder, n, id);
        } else {
            return hone_fail("the character \"%.*s\" has no token, and the tokenizer has neither byte tokens nor an unknown token", length, text + i);
        }
        i += (size_t)length;
    }
    if (unknown) add_symbol(encoder, n, tokenizer->unk);
    return HONE_OK;
}

static hone_status symbols_of_bytes(hone_encoder *encoder, const char *text, size_t size, int64_t *n)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    for (size_t i = 0; i < size; i++) {
        int32_t id = tokenizer->byte_id[(uint8_t)text[i]];
        if (id < 0) id = tokenizer->unk;
        if (id < 0) return hone_fail("byte 0x%02X has no token in this tokenizer, and it has no unknown token", (uint8_t)text[i]);
        add_symbol(encoder, n, id);
    }
    return HONE_OK;
}

// The token that a whole piece is, -1 none.
static int32_t find_whole(hone_encoder *encoder, const char *text, size_t size)
{
    const hone_vocab *vocab = &encoder->tokenizer->vocab;
    if (!encoder->tokenizer->byte_level) return hone_vocab_find(vocab, text, size);
    char chars[512];
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        if (used + 2 > sizeof chars) return -1; // no token is that long
        used += (size_t)hone_byte_to_char((uint8_t)text[i], chars + used);
    }
    return hone_vocab_find(vocab, chars, used);
}

static hone_status encode_piece(hone_encoder *encoder, const char *text, size_t size)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    if (tokenizer->ignore_merges) {
        int32_t id = find_whole(encoder, text, size);
        if (id >= 0) return hone_ids_append(encoder->out, id);
    }
    if (size > INT32_MAX / 2) return hone_fail("a piece of %zu bytes without a cut is too long", size);
    if ((int64_t)size > encoder->symbol_capacity) {
        hone_symbol *symbol = hone_realloc(encoder->symbol, size * 2, sizeof *symbol);
        if (!symbol) return HONE_FAILED;
        encoder->symbol = symbol;
        encoder->symbol_capacity = (int64_t)size * 2;
    }
    int64_t n = 0;
    hone_status status = (tokenizer->byte_level ? symbols_of_bytes : symbols_of_characters)(encoder, text, size, &n);
    if (status || n == 0) return status;
    encoder->symbol[n - 1].next = -1;
    if (n > SCAN_MOST) status = merge_by_heap(encoder, n);
    else merge_by_scan(&tokenizer->merges, encoder->symbol, n);
    if (!status) status = hone_ids_reserve(encoder->out, n);
    if (status) return status;
    for (int32_t i = 0; i >= 0; i = encoder->symbol[i].next) encoder->out->data[encoder->out->count++] = encoder->symbol[i].id;
    return HONE_OK;
}

static uint64_t mix(uint64_t h) { h *= 0x9E3779B97F4A7C15ull; return h ^ h >> 32; }

static hone_status encode_cached(hone_encoder *encoder, const char *text, size_t size)
{
    if (size > HONE_CACHE_KEY) return encode_piece(encoder, text, size);
    uint64_t key[4] = { 0 };
    memcpy(key, text, size);
    uint64_t h = mix(key[0] + size);
    if (size > 8) h = mix(h ^ key[1]);
    if (size > 16) h = mix(mix(h ^ key[2]) ^ key[3]);
    hone_cache_entry *entry = &encoder->cache[h >> 16 & (HONE_CACHE_SLOTS - 1)];
    hone_ids *out = encoder->out;
    if (entry->size == size && memcmp(entry->key, key, sizeof key) == 0) {
        if (hone_ids_reserve(out, HONE_CACHE_IDS)) return HONE_FAILED;
        memcpy(out->data + out->count, entry->ids, sizeof entry->ids); // all seven: cheaper than counting
        out->count += entry->n;
        return HONE_OK;
    }
    int64_t first = out->count;
    hone_status status = encode_piece(encoder, text, size);
    int64_t n = out->count - first;
    if (status || n > HONE_CACHE_IDS) return status;
    memcpy(entry->key, key, sizeof key);
    entry->size = (uint8_t)size;
    entry->n = (uint8_t)n;
    memcpy(entry->ids, out->data + first, (size_t)n * sizeof *out->data);
    return HONE_OK;
}

static const char word_mark[] = "\xe2\x96\x81"; // ▁

hone_status hone_bpe_encode(hone_encoder *encoder, const char *text, size_t size)
{
    if (!encoder->tokenizer->cut_words) return encode_cached(encoder, text, size);
    size_t start = 0;
    for (size_t i = 1; i + 3 <= size; i++) { // cut in front of a mark that follows another character
        const char *hit = memmem(text + i, size - i, word_mark, 3);
        if (!hit) break;
        i = (size_t)(hit - text);
        if (i >= 3 && memcmp(hit - 3, word_mark, 3) == 0) continue;
        hone_status status = encode_cached(encoder, text + start, i - start);
        if (status) return status;
        start = i;
    }
    return start < size ? encode_cached(encoder, text + start, size - start) : HONE_OK;
}

// True if no merge makes a token that holds a mark behind another character, and marks and unknown characters cannot
// influence each other otherwise: then words may be encoded apart.
static bool words_are_apart(const hone_tokenizer *tokenizer)
{
    if (tokenizer->byte_level || tokenizer->ignore_merges || hone_vocab_find(&tokenizer->vocab, word_mark, 3) < 0) return false;
    for (uint64_t s = 0; s <= tokenizer->merges.mask; s++) {
        const hone_merge *merge = &tokenizer->merges.slot[s];
        if (merge->rank == UINT32_MAX) continue;
        const char *content = hone_vocab_content(&tokenizer->vocab, (int32_t)merge->id);
        size_t size = tokenizer->vocab.token[merge->id].size;
        bool other = false;
        for (size_t i = 0; i < size;) {
            bool mark = size - i >= 3 && memcmp(content + i, word_mark, 3) == 0;
            if (mark && other) return false;
            other |= !mark;
            i += mark ? 3 : 1;
        }
    }
    return true;
}

hone_status hone_bpe_prepare(hone_tokenizer *tokenizer, const char *where)
{
    char name[8];
    int missing = 0;
    for (int b = 0; b < 256; b++) {
        int size = tokenizer->byte_level ? hone_byte_to_char((uint8_t)b, name) : snprintf(name, sizeof name, "<0x%02X>", b);
        tokenizer->byte_id[b] = hone_vocab_find(&tokenizer->vocab, name, (size_t)size);
        missing += tokenizer->byte_id[b] < 0;
    }
    if (tokenizer->byte_level && missing == 256)
        return hone_fail("%s: a ByteLevel tokenizer whose vocabulary has no token for any byte", where);
    tokenizer->cut_words = words_are_apart(tokenizer);
    return HONE_OK;
}
