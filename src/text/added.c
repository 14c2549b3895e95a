// added.c: added tokens, found in a text before anything else looks at it. A tree over bytes: leftmost match, the longest
// where several begin there.
#include "text/parts.h"

#include <string.h>

static hone_status new_node(hone_added *added, int32_t *node)
{
    if (hone_grow(&added->id, added->nodes, &added->id_capacity, sizeof *added->id)) return HONE_FAILED;
    int64_t capacity = added->capacity;
    if (hone_grow(&added->child, added->nodes, &capacity, 256 * sizeof *added->child)) return HONE_FAILED;
    added->capacity = capacity;
    memset(added->child + added->nodes * 256, 0, 256 * sizeof *added->child);
    added->id[added->nodes] = -1;
    *node = (int32_t)added->nodes++;
    return HONE_OK;
}

hone_status hone_added_insert(hone_added *added, const char *content, size_t size, int32_t id)
{
    int32_t node = 0;
    if (size == 0) return HONE_OK;
    if (added->nodes == 0 && new_node(added, &node)) return HONE_FAILED;
    for (size_t i = 0; i < size; i++) {
        int64_t place = node * 256ll + (uint8_t)content[i];
        if (added->child[place] == 0) {
            int32_t made;
            if (new_node(added, &made)) return HONE_FAILED;
            added->child[place] = made;
        }
        node = added->child[place];
    }
    added->firsts += !added->first[(uint8_t)content[0]];
    added->first[(uint8_t)content[0]] = true;
    added->only = content[0];
    added->id[node] = id;
    added->count++;
    return HONE_OK;
}

void hone_added_release(hone_added *added)
{
    hone_free(added->child);
    hone_free(added->id);
    *added = (hone_added){ 0 };
}

static int32_t code_before(const char *text, size_t place, int *length)
{
    size_t i = place - 1;
    while (i > 0 && ((uint8_t)text[i] & 0xc0) == 0x80) i--;
    *length = (int)(place - i);
    int whole;
    return hone_utf8_next(text + i, place - i, &whole);
}

// Applies single_word, lstrip and rstrip to a match; false: it does not count.
static bool adjust(hone_added_flags flags, const char *text, size_t size, size_t from, size_t *start, size_t *stop)
{
    int length;
    if (flags.single_word && ((*start > 0 && hone_char_is_word(code_before(text, *start, &length)))
                              || (*stop < size && hone_char_is_word(hone_utf8_next(text + *stop, size - *stop, &length))))) return false;
    while (flags.lstrip && *start > from && hone_char_is_space(code_before(text, *start, &length))) *start -= (size_t)length;
    while (flags.rstrip && *stop < size && hone_char_is_space(hone_utf8_next(text + *stop, size - *stop, &length))) *stop += (size_t)length;
    return true;
}

int32_t hone_added_find(const hone_added *added, const hone_tokenizer *tokenizer, const char *text, size_t size, size_t from, bool plain,
                        size_t *start, size_t *stop)
{
    for (size_t i = from; added->count && i < size; i++) {
        if (added->firsts == 1) { // mostly "<"
            const char *hit = memchr(text + i, added->only, size - i);
            if (!hit) break;
            i = (size_t)(hit - text);
        }
        if (!added->first[(uint8_t)text[i]]) continue;
        int32_t found = -1;
        size_t found_stop = 0;
        int32_t node = 0;
        for (size_t k = i; k < size && (node = added->child[node * 256ll + (uint8_t)text[k]]) != 0; k++) {
            int32_t id = added->id[node];
            if (id >= 0 && !(plain && tokenizer->vocab.token[id].special)) { found = id; found_stop = k + 1; }
        }
        if (found < 0) continue;
        *start = i;
        *stop = found_stop;
        if (adjust(tokenizer->added_flags[found], text, size, from, start, stop)) return found;
        i = found_stop - 1; // a match that does not count still used up its text
    }
    *start = *stop = size;
    return -1;
}
