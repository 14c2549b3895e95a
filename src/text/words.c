// words.c: see words.h.
#include "text/words.h"
#include "base/file.h"

#include <string.h>

uint64_t hone_words_hash(const char *text, size_t size)
{
    if (size > 16) return hone_hash64(text, size);
    uint64_t low = 0, high = 0; // most words: two loads
    if (size >= 8) {
        memcpy(&low, text, 8);
        memcpy(&high, text + size - 8, 8);
    } else {
        for (size_t i = 0; i < size; i++) low = low << 8 | (uint8_t)text[i];
    }
    uint64_t h = (low ^ size * 0xC2B2AE3D27D4EB4Full) * 0x9E3779B97F4A7C15ull;
    h = (h ^ h >> 32 ^ high) * 0xD6E8FEB86659FD93ull;
    return h ^ h >> 32;
}

static hone_status grow(hone_words *words)
{
    int64_t slots = words->slots ? words->slots * 2 : 4096;
    int32_t *slot = hone_alloc((size_t)slots, sizeof *slot);
    if (!slot) return HONE_FAILED;
    memset(slot, 0xff, (size_t)slots * sizeof *slot);
    for (int64_t w = 0; w < words->count; w++) {
        uint64_t s = words->word[w].hash;
        while (slot[s & (uint64_t)(slots - 1)] >= 0) s++;
        slot[s & (uint64_t)(slots - 1)] = (int32_t)w;
    }
    hone_free(words->slot);
    words->slot = slot;
    words->slots = slots;
    return HONE_OK;
}

hone_status hone_words_add(hone_words *words, const char *text, size_t size, uint64_t hash, int64_t count)
{
    if (words->count * 2 >= words->slots && grow(words)) return HONE_FAILED;
    uint64_t s = hash;
    for (int32_t w; (w = words->slot[s & (uint64_t)(words->slots - 1)]) >= 0; s++) {
        hone_word *word = &words->word[w];
        if (word->hash == hash && word->size == size && memcmp(words->bytes.data + word->offset, text, size) == 0) {
            word->count += count;
            return HONE_OK;
        }
    }
    if (words->count == INT32_MAX || size > UINT32_MAX) return hone_fail("more distinct pieces of text than the trainer can count");
    if (hone_grow(&words->word, words->count, &words->capacity, sizeof *words->word)) return HONE_FAILED;
    words->word[words->count] = (hone_word){ hash, words->bytes.size, (uint32_t)size, count };
    if (hone_buffer_append(&words->bytes, text, size)) return HONE_FAILED;
    words->slot[s & (uint64_t)(words->slots - 1)] = (int32_t)words->count++;
    return HONE_OK;
}

void hone_words_release(hone_words *words)
{
    hone_free(words->word);
    hone_free(words->slot);
    hone_buffer_release(&words->bytes);
    *words = (hone_words){ 0 };
}
