// wordlist.c: see wordlist.h.
#include "data/wordlist.h"

static hone_status add(hone_wordlist *list, size_t at, size_t size, uint64_t hash)
{
    if (list->count == list->capacity && hone_grow(&list->word, list->count, &list->capacity, sizeof *list->word)) return HONE_FAILED;
    list->word[list->count++] = (hone_word){ at, size, hash };
    return HONE_OK;
}

hone_status hone_wordlist_shown(hone_wordlist *list, const char *text, size_t size)
{
    list->count = 0;
    for (size_t i = 0; i < size;) {
        while (i < size && hone_is_space(text[i])) i++;
        size_t from = i;
        while (i < size && !hone_is_space(text[i])) i++;
        if (i > from && add(list, from, i - from, 0)) return HONE_FAILED;
    }
    return HONE_OK;
}

hone_status hone_wordlist_plain(hone_wordlist *list, const char *text, size_t size)
{
    list->count = 0;
    for (size_t i = 0; i < size;) {
        while (i < size && !hone_is_letter(text[i]) && !hone_is_digit(text[i])) i++;
        size_t from = i;
        uint64_t hash = 0xcbf29ce484222325u; // FNV-1a, then mixed: words are short
        for (; i < size && (hone_is_letter(text[i]) || hone_is_digit(text[i])); i++) {
            unsigned char c = (unsigned char)text[i];
            if (c >= 'A' && c <= 'Z') c |= 32;
            hash = (hash ^ c) * 0x100000001b3u;
        }
        hash ^= hash >> 29;
        if (i > from && add(list, from, i - from, hash * 0xBF58476D1CE4E5B9u)) return HONE_FAILED;
    }
    return HONE_OK;
}

void hone_wordlist_release(hone_wordlist *list)
{
    hone_free(list->word);
    *list = (hone_wordlist){ 0 };
}
