// keyset.c: see keyset.h. 0 marks an empty slot, so the key 0 is kept as another one: a collision as likely as any.
#include "data/keyset.h"
#include <string.h>

static uint64_t mend(uint64_t key) { return key ? key : 0x5bd1e9955bd1e995u; }
static uint64_t *find(const hone_keyset *set, uint64_t key)
{
    uint64_t at = hone_keyset_place(set, key);
    while (set->slot[at] && set->slot[at] != key) at = (at + 1) & (uint64_t)(set->capacity - 1);
    return &set->slot[at];
}

bool hone_keyset_has(const hone_keyset *set, uint64_t key) { return set->capacity && *find(set, mend(key)); }

static hone_status grow(hone_keyset *set)
{
    hone_keyset larger = { .count = set->count, .capacity = set->capacity ? set->capacity * 2 : 64 };
    if (!(larger.slot = hone_alloc((size_t)larger.capacity, sizeof *larger.slot))) return HONE_FAILED;
    for (int64_t i = 0; i < set->capacity; i++)
        if (set->slot[i]) *find(&larger, set->slot[i]) = set->slot[i];
    hone_free(set->slot);
    *set = larger;
    return HONE_OK;
}

hone_status hone_keyset_add(hone_keyset *set, uint64_t key, bool *fresh)
{
    if (set->count >= set->capacity / 8 * 7 && grow(set)) return HONE_FAILED;
    uint64_t *slot = find(set, mend(key));
    if (fresh) *fresh = *slot == 0;
    if (*slot) return HONE_OK;
    *slot = mend(key);
    set->count++;
    return HONE_OK;
}

void hone_keyset_clear(hone_keyset *set)
{
    if (set->count) memset(set->slot, 0, (size_t)set->capacity * sizeof *set->slot);
    set->count = 0;
}

void hone_keyset_release(hone_keyset *set)
{
    hone_free(set->slot);
    *set = (hone_keyset){ 0 };
}
