// clean.h: the filters of filters.def at work on documents, and the account of what they did.
//
//     judge       any thread: the filters that look at one document alone; keys for those that compare
//     remember    one thread, in the order of documents: exact, near and paragraph duplicates
//     cut         any thread: takes out the paragraphs that `remember` marked
//
// What is dropped depends on the order of documents and on nothing else. Memory: 9 to 19 bytes for each document (exact), near_bands
// times that for each document kept (near: at most 256 bytes with 14 bands), and for each paragraph kept.
#pragma once
#include "base/json.h"
#include "data/decontaminate.h"
#include "data/quality.h"
#include "recipe/recipe.h"

typedef enum {
#define FILTER(name, what) HONE_FILTER_##name,
#include "data/filters.def"
#undef FILTER
    HONE_FILTER_COUNT
} hone_filter;
extern const char *const hone_filter_name[HONE_FILTER_COUNT], *const hone_filter_what[HONE_FILTER_COUNT];

enum { HONE_FILTER_EXAMPLES = 5, HONE_FILTER_EXCERPT = 160 };
typedef struct hone_filter_tally {
    int64_t documents, bytes;       // dropped
    int64_t changed, pieces;        // documents changed; masks set or paragraphs taken out
    struct { char *where, *why, *text; } example[HONE_FILTER_EXAMPLES];
    int n_examples;
} hone_filter_tally;

typedef struct hone_cleaning {
    bool on[HONE_FILTER_COUNT], any;
    bool compares;                  // some filter needs the documents before
    const char *const *language; int64_t n_languages;
    int64_t shingle, bands, rows, paragraph_words;
    hone_contaminants contaminants;
    hone_keyset documents, paragraphs, *band; // band: (bands,)
    hone_filter_tally tally[HONE_FILTER_COUNT];
    hone_buffer fresh;              // keys added since they were last taken: u64 set (0 documents, 1 paragraphs, 2.. bands), u64 key
    bool keep_fresh;
} hone_cleaning;

// recipe: its keys of cleaning (borrowed); NULL: none. On failure nothing is left to close.
hone_status hone_cleaning_open(hone_cleaning *c, const hone_recipe *recipe);
void hone_cleaning_close(hone_cleaning *c);
uint64_t hone_cleaning_identity(const hone_cleaning *c);    // of filters and their numbers
hone_status hone_cleaning_add_keys(hone_cleaning *c, const void *fresh, size_t size);   // what an earlier run remembered

typedef struct hone_cleaner { hone_quality quality; uint32_t *least; } hone_cleaner;   // one thread's room; starts all zero
void hone_cleaner_release(hone_cleaner *cleaner);

typedef struct hone_verdict {
    int filter;                     // that dropped it, -1: it stays
    char why[HONE_WHY_BYTES];
    int64_t masks, cuts;            // pieces masked; paragraphs to be taken out
    size_t keys; int64_t n_paragraphs; // in `marks`: document, bands, paragraphs
} hone_verdict;

// text stays where it is, or is appended to `masked` where pieces were masked (verdict->masks > 0). marks: room for keys.
hone_status hone_cleaning_judge(const hone_cleaning *c, hone_cleaner *cleaner, hone_text text, hone_buffer *masked, hone_buffer *marks, hone_verdict *verdict);
hone_status hone_cleaning_remember(hone_cleaning *c, hone_buffer *marks, hone_verdict *verdict);
// Appends what is left of the text. Only where verdict->cuts > 0.
hone_status hone_cleaning_cut(const hone_cleaning *c, hone_text text, const hone_buffer *marks, const hone_verdict *verdict, hone_buffer *out);
// Into the account, in the order of documents.
hone_status hone_cleaning_note(hone_cleaning *c, const hone_verdict *verdict, hone_text text, const char *where);

// The account: {"filter": {"dropped", "dropped_bytes", "changed", "pieces", "examples": [...]}} of filters that are on.
hone_status hone_cleaning_report(const hone_cleaning *c, json_t **out);
hone_status hone_cleaning_take_report(hone_cleaning *c, const json_t *report);  // goes on from one
