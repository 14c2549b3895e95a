// quality.h: rules of thumb that tell text from debris, as papers state them. Each says whether a document is to be dropped,
// and why, with the number that decided.
#pragma once
#include "data/keyset.h"
#include "data/wordlist.h"

enum { HONE_WHY_BYTES = 96 };

typedef struct hone_quality {       // room for one thread; starts all zero
    hone_wordlist shown, plain;
    hone_keyset seen;
    hone_buffer counts;             // of n-grams
} hone_quality;
void hone_quality_release(hone_quality *q);

typedef struct hone_text { const char *text; size_t size; } hone_text;
typedef hone_status hone_quality_rule(hone_quality *q, hone_text text, bool *drop, char why[HONE_WHY_BYTES]);
hone_quality_rule hone_quality_gopher, hone_quality_repetition, hone_quality_fineweb;
// Between open and close, which are of one thread. languages: codes ("en") that may stay; known are those of hone_quality_languages.
hone_status hone_quality_language_open(void);
void hone_quality_language_close(void);
hone_status hone_quality_language(hone_quality *q, hone_text text, const char *const *language, int64_t n_languages, bool *drop, char why[HONE_WHY_BYTES]);
extern const char *const hone_quality_languages[];      // ends with NULL
