// bpe.c: a piece of text to ids, by merging pairs in the order of their ranks (Sennrich et al. 2016, arXiv:1508.07909).
//
// Symbols are a doubly linked list; at each turn the pair of lowest rank, leftmost among equals, becomes one symbol.
// Short pieces look for it by scanning, long ones keep a heap of candidates, so n symbols cost n log n whatever they are.
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

// --- reading

// by_token: merges that make the same token stand together and are equals, of which the leftmost in the text goes first
// (tiktoken and SentencePiece rank tokens, not merges).
typedef struct { bool by_token; int32_t last; uint32_t rank; } merge_order;

static hone_status add_merge(hone_tokenizer *tokenizer, int64_t rank, const char *left, size_t left_size, const char *right, size_t right_size,
                             merge_order *order, hone_buffer *joined, const char *where)
{
    const hone_vocab *vocab = &tokenizer->vocab;
    joined->size = 0;
    if (left_size == 0 || right_size == 0) return hone_fail("%s: merge %" PRId64 " has an empty side, so it would never end", where, rank);
    if (hone_buffer_append(joined, left, left_size) || hone_buffer_append(joined, right, right_size)) return HONE_FAILED;
    int32_t a = hone_vocab_find(vocab, left, left_size), b = hone_vocab_find(vocab, right, right_size), ab = hone_vocab_find(vocab, joined->data, joined->size);
    if (a < 0 || b < 0 || ab < 0) {
        bool both = a >= 0 && b >= 0;
        const char *missing = a < 0 ? left : b < 0 ? right : joined->data;
        return hone_fail("%s: merge %" PRId64 " (\"%.*s\" and \"%.*s\"): %s\"%.*s\" is not in the vocabulary", where, rank, (int)left_size, left,
                         (int)right_size, right, both ? "their union " : "", (int)(a < 0 ? left_size : b < 0 ? right_size : joined->size), missing);
    }
    if (order->last != ab || !order->by_token) *order = (merge_order){ order->by_token, ab, (uint32_t)rank };
    hone_merges_add(&tokenizer->merges, (uint32_t)a, (uint32_t)b, order->rank, (uint32_t)ab);
    uint32_t triple[2] = { (uint32_t)a, (uint32_t)b };
    return hone_buffer_append(&tokenizer->identity, triple, sizeof triple);
}

static hone_status read_merges(hone_tokenizer *tokenizer, json_t *model, const char *where)
{
    json_t *merges = json_object_get(model, "merges"), *merge;
    size_t rank;
    hone_buffer joined = { 0 };
    merge_order order = { .last = -1 };
    if (hone_json_bool(model, "merges_by_token", where, false, &order.by_token)) return HONE_FAILED;
    if (!json_is_array(merges)) return hone_fail("%s: model.merges is missing or no list", where);
    hone_status status = hone_merges_reserve(&tokenizer->merges, (int64_t)json_array_size(merges));
    json_array_foreach(merges, rank, merge) {
        if (status) break;
        const json_t *a = json_array_get(merge, 0), *b = json_array_get(merge, 1);
        if (json_is_array(merge) && json_array_size(merge) == 2 && json_is_string(a) && json_is_string(b)) {
            status = add_merge(tokenizer, (int64_t)rank, json_string_value(a), json_string_length(a), json_string_value(b), json_string_length(b), &order, &joined, where);
            continue;
        }
        const char *text = json_string_value(merge), *space = text ? strchr(text, ' ') : NULL;
        if (!space || space == text || !space[1] || strchr(space + 1, ' '))
            status = hone_fail("%s: merge %zu is neither \"a b\" nor [\"a\", \"b\"]", where, rank);
        else
            status = add_merge(tokenizer, (int64_t)rank, text, (size_t)(space - text), space + 1, strlen(space + 1), &order, &joined, where);
    }
    hone_buffer_release(&joined);
    return status;
}

static hone_status read_bpe(hone_tokenizer *tokenizer, json_t *model, const char *where)
{
    static const char *const affixes[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    const char *affix = NULL;
    double dropout = 0.0;
    hone_status status = HONE_OK;
    for (int i = 0; i < 2; i++) {
        if ((status = hone_json_text(model, affixes[i], where, false, &affix))) return status;
        if (affix && *affix) return hone_fail("%s: model.%s \"%s\" is not supported (only empty)", where, affixes[i], affix);
    }
    status = hone_json_real(model, "dropout", where, false, &dropout);
    if (!status && dropout != 0.0) status = hone_fail("%s: model.dropout %g is not supported (only none)", where, dropout);
    if (!status) status = hone_json_bool(model, "fuse_unk", where, false, &tokenizer->fuse_unk);
    if (!status) status = hone_json_bool(model, "ignore_merges", where, false, &tokenizer->ignore_merges);
    if (!status) status = hone_vocab_read(tokenizer, model, where);
    if (!status) status = read_merges(tokenizer, model, where);
    if (!status) status = hone_unknown_read(tokenizer, model, where);
    if (status) return status;
    if (json_is_true(json_object_get(model, "merges_by_token")) && hone_buffer_print(&tokenizer->identity, "by token;")) return HONE_FAILED;
    return hone_buffer_print(&tokenizer->identity, "BPE %d %d %d %d;", tokenizer->fuse_unk, tokenizer->byte_fallback, tokenizer->ignore_merges, tokenizer->unk);
}

static hone_status prepare_bpe(hone_tokenizer *tokenizer, const char *where)
{
    int missing = 0;
    for (int b = 0; b < 256; b++) missing += tokenizer->byte_id[b] < 0;
    return tokenizer->byte_level && missing == 256 ? hone_fail("%s: a ByteLevel tokenizer whose vocabulary has no token for any byte", where) : HONE_OK;
}

const hone_model_kind hone_model_bpe = { "BPE", read_bpe, prepare_bpe, encode_piece };
