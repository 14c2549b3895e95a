// keyset.h: a set of 64-bit hashes that only grows: open addressing, at most 7/8 full, doubled when it is. 9 to 19 bytes a key.
#pragma once
#include "base/memory.h"
#include <stdbool.h>

typedef struct hone_keyset { uint64_t *slot; int64_t count, capacity; } hone_keyset; // starts all zero

bool hone_keyset_has(const hone_keyset *set, uint64_t key);
hone_status hone_keyset_add(hone_keyset *set, uint64_t key, bool *fresh);   // fresh: it was not there (NULL: no matter)
void hone_keyset_clear(hone_keyset *set);                                   // keeps its memory
void hone_keyset_release(hone_keyset *set);
// Where a key would stand: the high bits of a product, which depend on all bits of the key.
static inline uint64_t hone_keyset_place(const hone_keyset *set, uint64_t key)
{
    return (key * 0x9E3779B97F4A7C15u) >> (__builtin_clzll((uint64_t)set->capacity) + 1);
}
// Asks the processor for that place.
static inline void hone_keyset_prefetch(const hone_keyset *set, uint64_t key)
{
    if (set->capacity) __builtin_prefetch(&set->slot[hone_keyset_place(set, key)]);
}
