// spill.h: counts of words that do not fit into memory, kept on disk in 64 parts by the words' hashes.
#pragma once
#include "text/words.h"

typedef struct hone_spill { char *folder; int64_t rounds; int64_t dropped; } hone_spill; // dropped: words left out in the end

int64_t hone_words_memory(const hone_words *words);                 // bytes that a table of words takes
hone_status hone_spill_out(hone_spill *spill, hone_words *words);   // adds them to the parts and empties the table
// All words with their sums, part after part. Where they take more than most_bytes, the rarest are left out: all words of
// the lowest counts, so that the result does not depend on when words went to disk.
hone_status hone_spill_in(hone_spill *spill, int64_t most_bytes, hone_words *words);
void hone_spill_release(hone_spill *spill);                         // and removes the folder
