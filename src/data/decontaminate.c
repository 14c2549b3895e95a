// decontaminate.c: see decontaminate.h.
#include "data/decontaminate.h"
#include "base/json.h"
#include "data/documents.h"

#include <inttypes.h>
#include <stdio.h>

enum { BATCH_BYTES = 1 << 20 };

static hone_status add_text(hone_contaminants *c, hone_wordlist *words, const char *text, size_t size)
{
    if (hone_wordlist_plain(words, text, size)) return HONE_FAILED;
    if (words->count == 0) return HONE_OK;
    c->texts++;
    c->too_short += words->count < c->words;
    for (int64_t i = 0; i + c->words <= words->count; i++)
        if (hone_keyset_add(&c->grams, hone_words_hash(words->word + i, c->words), NULL)) return HONE_FAILED;
    return HONE_OK;
}

// Depth is bounded by jansson's own limit.
static hone_status add_json(hone_contaminants *c, hone_wordlist *words, const json_t *value)
{
    hone_status status = HONE_OK;
    const char *key;
    const json_t *inner;
    size_t i;
    if (json_is_string(value)) return add_text(c, words, json_string_value(value), json_string_length(value));
    json_array_foreach(value, i, inner) if (!status) status = add_json(c, words, inner);
    if (json_is_object(value)) json_object_foreach((json_t *)(uintptr_t)value, key, inner) if (!status) status = add_json(c, words, inner);
    return status;
}

static hone_status add_document(hone_contaminants *c, hone_wordlist *words, const hone_document_options *from, const hone_document_batch *batch, const hone_document *d)
{
    const hone_input *input = &from->inputs->input[d->file];
    const char *raw = batch->bytes.data + d->offset;
    if (!hone_format_is_json(input->format)) return add_text(c, words, raw, d->size); // marks are no words: raw Markdown or CSV will do
    char where[1024];
    json_t *json = NULL;
    snprintf(where, sizeof where, "%s:%" PRId64, input->path, d->line);
    hone_status status = hone_json_parse(where, raw, d->size, &json);
    if (!status) status = add_json(c, words, json);
    json_decref(json);
    return status;
}

hone_status hone_contaminants_open(hone_contaminants *c, const char *const *file, int64_t n_files, int64_t n_words)
{
    hone_inputs inputs;
    hone_template fields = { 0 };
    hone_document_reader reader;
    hone_document_batch batch = { 0 };
    hone_wordlist words = { 0 };
    *c = (hone_contaminants){ .words = n_words };
    hone_status status = hone_inputs_open(&inputs, file, n_files, NULL);
    if (status) return status;
    for (int64_t i = 0; i < inputs.count; i++) // rows of tables are texts as they stand
        if (!hone_format_is_json(inputs.input[i].format)) inputs.input[i].format = HONE_FORMAT_text;
    hone_document_options from = { &inputs, &fields, 0, NULL };
    if ((status = hone_document_reader_open(&reader, &from, NULL))) goto out;
    while (!(status = hone_document_reader_next(&reader, &batch, BATCH_BYTES)) && batch.count)
        for (int64_t d = 0; d < batch.count && !status; d++) status = add_document(c, &words, &from, &batch, &batch.document[d]);
    hone_document_reader_close(&reader);
    if (!status && c->grams.count == 0)
        status = hone_fail("%s: no text of at least %" PRId64 " words in it, so nothing can be kept out", file[0], n_words);
out:
    hone_wordlist_release(&words);
    hone_document_batch_release(&batch);
    hone_inputs_close(&inputs);
    if (status) hone_contaminants_close(c);
    return status;
}

void hone_contaminants_close(hone_contaminants *c)
{
    hone_keyset_release(&c->grams);
    *c = (hone_contaminants){ 0 };
}

int64_t hone_contaminants_find(const hone_contaminants *c, const hone_wordlist *words)
{
    for (int64_t i = 0; i + c->words <= words->count; i++)
        if (hone_keyset_has(&c->grams, hone_words_hash(words->word + i, c->words))) return i;
    return -1;
}
