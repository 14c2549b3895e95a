// regex.h: the regular expressions of tokenizers, on PCRE2 with its just-in-time compiler.
//
// They are written for Oniguruma or Rust's regex; what those understand differently from PCRE2 is translated: \s is
// Unicode's White_Space exactly. Text is UTF-8 and was checked before.
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct hone_regex hone_regex;
hone_status hone_regex_new(hone_regex **regex, const char *pattern, bool literal, const char *where);
void hone_regex_free(hone_regex *regex);
bool hone_regex_matches_empty(const hone_regex *regex);    // it can match where nothing stands

// What one thread needs to match with.
typedef struct hone_matcher { void *data, *context, *stack; } hone_matcher;
hone_status hone_matcher_init(hone_matcher *matcher);
void hone_matcher_release(hone_matcher *matcher);

// The first match in text[from, size) that is not empty: *found, *start, *end.
hone_status hone_regex_find(const hone_regex *regex, hone_matcher *matcher, const char *text, size_t size, size_t from,
                            bool *found, size_t *start, size_t *end);
