// trie.c: a tree of byte strings, in which a text is walked byte by byte. Its edges lie in one open-addressed hash table
// of 8-byte entries, at most half full: a step is one probe, a large vocabulary (250,000 tokens) takes some 16 MB.
#include "text/parts.h"

static void put(hone_trie *trie, uint64_t entry)
{
    uint64_t s = (entry >> 32) * 0x9E3779B97F4A7C15ull >> 20;
    while (trie->edge[s & trie->mask]) s++;
    trie->edge[s & trie->mask] = entry;
}

static hone_status grow(hone_trie *trie)
{
    hone_trie old = *trie;
    uint64_t slots = old.edge ? (old.mask + 1) * 2 : 1024;
    trie->edge = hone_alloc(slots, sizeof *trie->edge);
    if (!trie->edge) { *trie = old; return HONE_FAILED; }
    trie->mask = slots - 1;
    for (uint64_t s = 0; old.edge && s <= old.mask; s++)
        if (old.edge[s]) put(trie, old.edge[s]);
    hone_free(old.edge);
    return HONE_OK;
}

static hone_status new_node(hone_trie *trie, int32_t *node)
{
    if (trie->nodes >= (1 << 24) - 2) return hone_fail("a vocabulary with more than 16 million different beginnings of tokens");
    if (hone_grow(&trie->id, trie->nodes, &trie->capacity, sizeof *trie->id)) return HONE_FAILED;
    trie->id[trie->nodes] = -1;
    *node = (int32_t)trie->nodes++;
    return HONE_OK;
}

hone_status hone_trie_add(hone_trie *trie, const char *text, size_t size, int32_t id)
{
    int32_t node = 0;
    if (trie->nodes == 0 && (grow(trie) || new_node(trie, &node))) return HONE_FAILED;
    for (size_t i = 0; i < size; i++) {
        int32_t next = hone_trie_step(trie, node, (uint8_t)text[i]);
        if (next < 0) {
            if ((uint64_t)trie->edges * 2 >= trie->mask && grow(trie)) return HONE_FAILED;
            if (new_node(trie, &next)) return HONE_FAILED;
            put(trie, ((uint64_t)(node + 1) << 8 | (uint8_t)text[i]) << 32 | (uint32_t)next);
            trie->edges++;
        }
        node = next;
    }
    trie->id[node] = id;
    return HONE_OK;
}

void hone_trie_release(hone_trie *trie)
{
    hone_free(trie->edge);
    hone_free(trie->id);
    *trie = (hone_trie){ 0 };
}
