// vocab.c: two tables: tokens by id and by content, and the merges.
#include "text/parts.h"
#include "base/file.h"

#include <inttypes.h>
#include <string.h>

static void insert_slot(hone_vocab *vocab, int32_t id)
{
    const hone_token *token = &vocab->token[id];
    uint64_t s = hone_hash64(hone_vocab_content(vocab, id), token->size);
    while (vocab->slot[s & (uint64_t)(vocab->slots - 1)] >= 0) s++;
    vocab->slot[s & (uint64_t)(vocab->slots - 1)] = id;
}

static hone_status grow_slots(hone_vocab *vocab)
{
    int64_t slots = vocab->slots ? vocab->slots * 2 : 1024;
    int32_t *slot = hone_alloc((size_t)slots, sizeof *slot);
    if (!slot) return HONE_FAILED;
    memset(slot, 0xff, (size_t)slots * sizeof *slot);
    hone_free(vocab->slot);
    vocab->slot = slot;
    vocab->slots = slots;
    for (int64_t id = 0; id < vocab->count; id++)
        if (vocab->token[id].exists) insert_slot(vocab, (int32_t)id);
    return HONE_OK;
}

hone_status hone_vocab_add(hone_vocab *vocab, int64_t id, const char *content, size_t size, const char *where)
{
    if (id < 0 || id >= 1 << 24)
        return hone_fail("%s: token \"%.*s\" has id %" PRId64 ", which is not within 0 to %d", where, (int)size, content, id, (1 << 24) - 1);
    if (id < vocab->count && vocab->token[id].exists)
        return hone_fail("%s: id %" PRId64 " is given to \"%.*s\" and to \"%.*s\"", where, id, (int)vocab->token[id].size,
                         hone_vocab_content(vocab, (int32_t)id), (int)size, content);
    if (id >= vocab->capacity) {
        int64_t capacity = id + 1 > vocab->capacity * 2 ? id + 1 : vocab->capacity * 2;
        hone_token *token = hone_realloc(vocab->token, (size_t)capacity, sizeof *token);
        if (!token) return HONE_FAILED;
        memset(token + vocab->capacity, 0, (size_t)(capacity - vocab->capacity) * sizeof *token);
        vocab->token = token;
        vocab->capacity = capacity;
    }
    size_t offset = vocab->bytes.size;
    if (offset + size > UINT32_MAX) return hone_fail("%s: a vocabulary of more than 4 GB", where);
    if (hone_buffer_append(&vocab->bytes, content, size)) return HONE_FAILED;
    if (id >= vocab->count) vocab->count = id + 1;
    vocab->token[id] = (hone_token){ .offset = (uint32_t)offset, .size = (uint32_t)size, .exists = true };
    if (++vocab->used * 2 > vocab->slots) return grow_slots(vocab);
    insert_slot(vocab, (int32_t)id);
    return HONE_OK;
}

int32_t hone_vocab_find(const hone_vocab *vocab, const char *content, size_t size)
{
    if (vocab->slots == 0) return -1;
    for (uint64_t s = hone_hash64(content, size);; s++) {
        int32_t id = vocab->slot[s & (uint64_t)(vocab->slots - 1)];
        if (id < 0) return -1;
        if (vocab->token[id].size == size && memcmp(hone_vocab_content(vocab, id), content, size) == 0) return id;
    }
}

void hone_vocab_release(hone_vocab *vocab)
{
    hone_free(vocab->token);
    hone_free(vocab->slot);
    hone_buffer_release(&vocab->bytes);
    *vocab = (hone_vocab){ 0 };
}

hone_status hone_merges_reserve(hone_merges *merges, int64_t count)
{
    uint64_t slots = 16;
    while (slots < (uint64_t)count * 2) slots *= 2;
    merges->slot = hone_alloc(slots, sizeof *merges->slot);
    if (!merges->slot) return HONE_FAILED;
    merges->mask = slots - 1;
    for (uint64_t s = 0; s < slots; s++) merges->slot[s] = (hone_merge){ UINT32_MAX, UINT32_MAX, UINT32_MAX, 0 };
    return HONE_OK;
}

void hone_merges_add(hone_merges *merges, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
    uint64_t s = hone_merges_hash(left, right);
    while (merges->slot[s & merges->mask].rank != UINT32_MAX) {
        hone_merge *merge = &merges->slot[s & merges->mask];
        if (merge->left == left && merge->right == right) { // a later line for the same pair: the map keeps the last
            *merge = (hone_merge){ left, right, rank, id };
            return;
        }
        s++;
    }
    merges->slot[s & merges->mask] = (hone_merge){ left, right, rank, id };
    merges->count++;
}
