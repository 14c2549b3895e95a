// decontaminate.h: keeps evaluation texts out of training data: the runs of N words of the evaluation files, as hashes; a
// document that holds one of them is contaminated (Brown et al. 2020, arXiv:2005.14165, appendix C, with N = 13).
#pragma once
#include "data/keyset.h"
#include "data/wordlist.h"

typedef struct hone_contaminants {
    hone_keyset grams;
    int64_t words;              // N
    int64_t texts, too_short;   // evaluation texts; those of fewer than N words, which cannot be found
} hone_contaminants;

// Files as in inputs.h; of JSONL every text in a record, also in lists and inner objects.
hone_status hone_contaminants_open(hone_contaminants *c, const char *const *file, int64_t n_files, int64_t words);
void hone_contaminants_close(hone_contaminants *c);
// The first run of `words` (plain) that is one of them: its index, -1 none.
int64_t hone_contaminants_find(const hone_contaminants *c, const hone_wordlist *words);
