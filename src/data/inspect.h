// inspect.h: what a model will see: rows of a mixture as text, token by token, with sources and boundaries.
#pragma once
#include "data/mixture.h"
#include "text/tokenizer.h"

typedef enum { HONE_INSPECT_TEXT, HONE_INSPECT_TABLE, HONE_INSPECT_JSON } hone_inspect_form;

typedef struct hone_inspector {     // set the first four
    hone_mixture *mixture;
    const hone_tokenizer *tokenizer; // NULL: ids alone
    hone_inspect_form form;
    bool colour;
    hone_batch batch;
    json_t **files;                 // (sources,) list "sources" of data.json, where it was asked for
} hone_inspector;

hone_status hone_inspector_open(hone_inspector *inspector);
void hone_inspector_close(hone_inspector *inspector);
// Appends the mixture as a whole: sources, tokens, weights.
hone_status hone_inspect_mixture(hone_inspector *inspector, hone_buffer *out);
// Appends row `row`.
hone_status hone_inspect_row(hone_inspector *inspector, int64_t row, hone_buffer *out);
