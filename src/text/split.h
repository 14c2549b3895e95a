// split.h: well-known split patterns as functions (see split.c).
#pragma once
#include <stddef.h>

#define HONE_GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

// End of the match that begins at text[i], i < size, within valid UTF-8. Every place begins a match.
typedef size_t (*hone_split_fn)(const char *text, size_t size, size_t i);
hone_split_fn hone_split_find(const char *pattern); // NULL: not one of them
