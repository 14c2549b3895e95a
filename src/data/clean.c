// clean.c: see clean.h.
#include "data/clean.h"
#include "base/file.h"
#include "base/nearest.h"
#include "data/minhash.h"
#include "data/pii.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <string.h>

const char *const hone_filter_name[HONE_FILTER_COUNT] = {
#define FILTER(name, what) #name,
#include "data/filters.def"
#undef FILTER
};
const char *const hone_filter_what[HONE_FILTER_COUNT] = {
#define FILTER(name, what) what,
#include "data/filters.def"
#undef FILTER
};

enum { SET_DOCUMENTS, SET_PARAGRAPHS, SET_BANDS };

// --- opening

static hone_status name_filters(hone_cleaning *c, const hone_recipe *r)
{
    for (int64_t i = 0; i < r->filters.count; i++) {
        int f = 0;
        while (f < HONE_FILTER_COUNT && strcmp(hone_filter_name[f], r->filters.item[i]) != 0) f++;
        if (f == HONE_FILTER_COUNT) {
            const char *near = hone_nearest(r->filters.item[i], hone_filter_name, HONE_FILTER_COUNT);
            return hone_recipe_fail(r, HONE_KEY_filters, NULL, "'%s' is not a filter%s%s%s; `hone prepare --filters` lists them", r->filters.item[i],
                                    near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
        }
        c->on[f] = c->any = true;
    }
    return HONE_OK;
}

static hone_status check_languages(const hone_recipe *r)
{
    if (r->languages.count == 0) return hone_recipe_fail(r, HONE_KEY_languages, NULL, "the filter language needs a language that may stay, such as en");
    for (int64_t i = 0; i < r->languages.count; i++) {
        int l = 0;
        while (hone_quality_languages[l] && strcmp(hone_quality_languages[l], r->languages.item[i]) != 0) l++;
        if (!hone_quality_languages[l])
            return hone_recipe_fail(r, HONE_KEY_languages, NULL, "language '%s' is not known; known are en, de, fr, es, it, pt, nl, pl, sv, ru", r->languages.item[i]);
    }
    return HONE_OK;
}

hone_status hone_cleaning_open(hone_cleaning *c, const hone_recipe *r)
{
    *c = (hone_cleaning){ 0 };
    if (!r) return HONE_OK;
    hone_status status = name_filters(c, r);
    c->language = (const char *const *)r->languages.item;
    c->n_languages = r->languages.count;
    c->shingle = r->near_shingle_words;
    c->bands = r->near_bands;
    c->rows = r->near_rows;
    c->paragraph_words = r->paragraph_words;
    c->compares = c->on[HONE_FILTER_exact_duplicates] || c->on[HONE_FILTER_near_duplicates] || c->on[HONE_FILTER_paragraph_duplicates];
    if (!status && c->on[HONE_FILTER_language]) status = check_languages(r);
    if (!status && c->on[HONE_FILTER_language]) status = hone_quality_language_open();
    if (!status && c->on[HONE_FILTER_decontaminate] && r->decontaminate_files.count == 0)
        status = hone_recipe_fail(r, HONE_KEY_filters, NULL, "the filter decontaminate needs decontaminate_files: the evaluation texts that must not be in the data");
    if (!status && c->on[HONE_FILTER_decontaminate])
        status = hone_contaminants_open(&c->contaminants, (const char *const *)r->decontaminate_files.item, r->decontaminate_files.count, r->decontaminate_words);
    if (!status && c->on[HONE_FILTER_near_duplicates] && !(c->band = hone_alloc((size_t)c->bands, sizeof *c->band))) status = HONE_FAILED;
    if (status) hone_cleaning_close(c);
    return status;
}

static void free_examples(hone_filter_tally *t)
{
    for (int i = 0; i < t->n_examples; i++) {
        hone_free(t->example[i].where);
        hone_free(t->example[i].why);
        hone_free(t->example[i].text);
    }
    t->n_examples = 0;
}

void hone_cleaning_close(hone_cleaning *c)
{
    if (c->on[HONE_FILTER_language]) hone_quality_language_close();
    hone_contaminants_close(&c->contaminants);
    hone_keyset_release(&c->documents);
    hone_keyset_release(&c->paragraphs);
    for (int64_t b = 0; c->band && b < c->bands; b++) hone_keyset_release(&c->band[b]);
    hone_free(c->band);
    hone_buffer_release(&c->fresh);
    for (int f = 0; f < HONE_FILTER_COUNT; f++) free_examples(&c->tally[f]);
    *c = (hone_cleaning){ 0 };
}

uint64_t hone_cleaning_identity(const hone_cleaning *c)
{
    uint64_t hash = hone_hash64(c->on, sizeof c->on);
    const int64_t numbers[] = { c->shingle, c->bands, c->rows, c->paragraph_words, c->contaminants.words, c->contaminants.grams.count, (int64_t)hash };
    hash = c->any ? hone_hash64(numbers, sizeof numbers) : 0;
    for (int64_t i = 0; c->any && i < c->n_languages; i++) hash = hash * 31 + hone_hash64(c->language[i], strlen(c->language[i]));
    return hash;
}

void hone_cleaner_release(hone_cleaner *cleaner)
{
    hone_quality_release(&cleaner->quality);
    hone_free(cleaner->least);
    cleaner->least = NULL;
}

// --- one document alone

// The paragraph that begins at *at and the blank lines behind it.
static size_t take_paragraph(hone_text t, size_t at)
{
    const char *stop = memmem(t.text + at, t.size - at, "\n\n", 2);
    size_t end = stop ? (size_t)(stop - t.text) : t.size;
    while (end < t.size && t.text[end] == '\n') end++;
    return end - at;
}

// 0: too short to be judged.
static uint64_t paragraph_key(const hone_cleaning *c, const char *text, size_t size)
{
    int64_t words = 0;
    while (size && hone_is_space(text[size - 1])) size--;
    for (size_t i = 0; i < size && words < c->paragraph_words; i++) words += !hone_is_space(text[i]) && (i == 0 || hone_is_space(text[i - 1]));
    if (words < c->paragraph_words) return 0;
    uint64_t key = hone_hash64(text, size);
    return key ? key : 1;
}

static hone_status make_keys(const hone_cleaning *c, hone_cleaner *cleaner, hone_text t, hone_buffer *marks, hone_verdict *v)
{
    uint64_t key = hone_hash64(t.text, t.size), bands[128] = { 0 };
    hone_wordlist *words = &cleaner->quality.plain;
    marks->size = (marks->size + 7) / 8 * 8;
    v->keys = marks->size;
    if (hone_buffer_append(marks, &key, sizeof key)) return HONE_FAILED;
    if (c->on[HONE_FILTER_near_duplicates]) {
        if (!cleaner->least && !(cleaner->least = hone_alloc((size_t)(c->bands * c->rows), sizeof *cleaner->least))) return HONE_FAILED;
        if (hone_wordlist_plain(words, t.text, t.size)) return HONE_FAILED;
        if (!hone_minhash_keys(words, c->shingle, c->bands, c->rows, cleaner->least, bands)) memset(bands, 0, sizeof bands);
        if (hone_buffer_append(marks, bands, (size_t)c->bands * sizeof *bands)) return HONE_FAILED;
    }
    for (size_t at = 0; c->on[HONE_FILTER_paragraph_duplicates] && at < t.size; v->n_paragraphs++) {
        size_t size = take_paragraph(t, at);
        key = paragraph_key(c, t.text + at, size);
        if (hone_buffer_append(marks, &key, sizeof key)) return HONE_FAILED;
        at += size;
    }
    return HONE_OK;
}

static hone_status find_contaminants(const hone_cleaning *c, hone_quality *q, hone_text t, bool *drop, char *why)
{
    if (hone_wordlist_plain(&q->plain, t.text, t.size)) return HONE_FAILED;
    int64_t at = hone_contaminants_find(&c->contaminants, &q->plain);
    if (at < 0) return HONE_OK;
    const hone_word *first = &q->plain.word[at], *last = &q->plain.word[at + c->contaminants.words - 1];
    int size = (int)(last->at + last->size - first->at);
    *drop = true;
    snprintf(why, HONE_WHY_BYTES, "\"%.*s\"", size < HONE_WHY_BYTES - 3 ? size : HONE_WHY_BYTES - 3, t.text + first->at);
    return HONE_OK;
}

hone_status hone_cleaning_judge(const hone_cleaning *c, hone_cleaner *cleaner, hone_text t, hone_buffer *masked, hone_buffer *marks, hone_verdict *v)
{
    static const struct { hone_filter filter; hone_quality_rule *rule; } rules[] = {
        { HONE_FILTER_gopher_quality, hone_quality_gopher }, { HONE_FILTER_gopher_repetition, hone_quality_repetition }, { HONE_FILTER_fineweb_quality, hone_quality_fineweb } };
    bool drop = false;
    int by = HONE_FILTER_language;
    hone_status status = HONE_OK;
    *v = (hone_verdict){ .filter = -1 };
    if (t.size == 0) return HONE_OK;
    if (c->on[by]) status = hone_quality_language(&cleaner->quality, t, c->language, c->n_languages, &drop, v->why);
    for (size_t i = 0; i < sizeof rules / sizeof *rules && !status && !drop; i++)
        if (c->on[rules[i].filter]) status = rules[i].rule(&cleaner->quality, t, &drop, v->why), by = (int)rules[i].filter;
    if (!status && !drop && c->on[HONE_FILTER_decontaminate]) status = find_contaminants(c, &cleaner->quality, t, &drop, v->why), by = HONE_FILTER_decontaminate;
    if (status) return status;
    if (drop) {
        v->filter = by;
        return HONE_OK;
    }
    size_t before = masked->size;
    if (c->on[HONE_FILTER_mask_pii]) status = hone_pii_mask(t.text, t.size, masked, &v->masks);
    if (v->masks) t = (hone_text){ masked->data + before, masked->size - before };
    return status || !c->compares ? status : make_keys(c, cleaner, t, marks, v);
}

// --- compared with those before

static hone_status remember_key(hone_cleaning *c, hone_keyset *set, uint64_t which, uint64_t key, bool *fresh)
{
    hone_status status = hone_keyset_add(set, key, fresh);
    if (status || !*fresh || !c->keep_fresh) return status;
    return hone_buffer_append(&c->fresh, (uint64_t[2]){ which, key }, 16);
}

static hone_status drop_as(hone_verdict *v, hone_filter filter, const char *why)
{
    v->filter = (int)filter;
    snprintf(v->why, sizeof v->why, "%s", why);
    return HONE_OK;
}

hone_status hone_cleaning_remember(hone_cleaning *c, hone_buffer *marks, hone_verdict *v)
{
    uint64_t *key = (uint64_t *)(void *)(marks->data + v->keys), *band = key + 1, *paragraph = band + (c->on[HONE_FILTER_near_duplicates] ? c->bands : 0);
    bool fresh = true, all_cut = v->n_paragraphs > 0;
    hone_status status = HONE_OK;
    if (v->filter >= 0) return HONE_OK;
    if (c->on[HONE_FILTER_exact_duplicates]) status = remember_key(c, &c->documents, SET_DOCUMENTS, *key, &fresh);
    if (status || !fresh) return status ? status : drop_as(v, HONE_FILTER_exact_duplicates, "the same text was there before");
    if (c->on[HONE_FILTER_near_duplicates] && band[0]) {
        for (int64_t b = 0; b < c->bands; b++) hone_keyset_prefetch(&c->band[b], band[b]);
        int64_t shared = 0;
        for (int64_t b = 0; b < c->bands; b++) shared += hone_keyset_has(&c->band[b], band[b]);
        char why[HONE_WHY_BYTES];
        snprintf(why, sizeof why, "%lld of %lld keys are an earlier document's", (long long)shared, (long long)c->bands);
        if (shared) return drop_as(v, HONE_FILTER_near_duplicates, why);
        for (int64_t b = 0; b < c->bands && !status; b++) status = remember_key(c, &c->band[b], SET_BANDS + (uint64_t)b, band[b], &fresh);
    }
    for (int64_t p = 0; p < v->n_paragraphs && !status; p++) { // from here on the place of a key holds 1: cut, 0: stays
        fresh = true;
        if (paragraph[p]) status = remember_key(c, &c->paragraphs, SET_PARAGRAPHS, paragraph[p], &fresh);
        paragraph[p] = !fresh;
        v->cuts += !fresh;
        all_cut &= !fresh;
    }
    if (!status && all_cut) return drop_as(v, HONE_FILTER_paragraph_duplicates, "every paragraph was there before");
    return status;
}

hone_status hone_cleaning_add_keys(hone_cleaning *c, const void *fresh, size_t size)
{
    hone_status status = HONE_OK;
    for (size_t at = 0; at + 16 <= size && !status; at += 16) {
        uint64_t pair[2];
        memcpy(pair, (const char *)fresh + at, sizeof pair);
        if (pair[0] >= SET_BANDS + (uint64_t)c->bands || (pair[0] >= SET_BANDS && !c->band)) return hone_fail("a remembered key is of set %llu, which is not there", (unsigned long long)pair[0]);
        hone_keyset *set = pair[0] == SET_DOCUMENTS ? &c->documents : pair[0] == SET_PARAGRAPHS ? &c->paragraphs : &c->band[pair[0] - SET_BANDS];
        status = hone_keyset_add(set, pair[1], NULL);
    }
    return status;
}

hone_status hone_cleaning_cut(const hone_cleaning *c, hone_text t, const hone_buffer *marks, const hone_verdict *v, hone_buffer *out)
{
    const uint64_t *cut = (const uint64_t *)(const void *)(marks->data + v->keys) + 1 + (c->on[HONE_FILTER_near_duplicates] ? c->bands : 0);
    hone_status status = HONE_OK;
    size_t at = 0;
    for (int64_t p = 0; p < v->n_paragraphs && !status; p++) {
        size_t size = take_paragraph(t, at);
        if (!cut[p]) status = hone_buffer_append(out, t.text + at, size);
        at += size;
    }
    return status;
}

// --- the account

// The beginning of a text on one line of valid UTF-8; hone_free() it.
static char *excerpt(hone_text t, size_t most)
{
    hone_buffer out = { 0 };
    size_t size = t.size < most ? t.size : most;
    hone_status status = HONE_OK;
    for (size_t i = 0; i < size && !status;) {
        size_t valid = hone_utf8_valid(t.text + i, size - i);
        size_t before = out.size;
        status = hone_buffer_append(&out, t.text + i, valid);
        for (size_t k = before; k < out.size; k++) if ((unsigned char)out.data[k] < 32) out.data[k] = ' ';
        i += valid;
        if (status || i == size || (t.size > size && size - i < 4)) break; // a character cut in half by the excerpt's end
        status = hone_buffer_append(&out, "\xef\xbf\xbd", 3);
        i++;
    }
    if (!status && t.size > size) status = hone_buffer_append(&out, "...", 3);
    if (!status && !out.data) return hone_strdup("");
    if (!status) return out.data;
    hone_buffer_release(&out);
    return NULL;
}

static hone_status add_example(hone_filter_tally *tally, const char *where, const char *why, hone_text t)
{
    int k = tally->n_examples++;
    tally->example[k].where = hone_strdup(where);
    tally->example[k].why = excerpt((hone_text){ why, strlen(why) }, HONE_WHY_BYTES);
    tally->example[k].text = excerpt(t, HONE_FILTER_EXCERPT);
    return tally->example[k].where && tally->example[k].why && tally->example[k].text ? HONE_OK : HONE_FAILED;
}

hone_status hone_cleaning_note(hone_cleaning *c, const hone_verdict *v, hone_text t, const char *where)
{
    hone_filter_tally *mask = &c->tally[HONE_FILTER_mask_pii], *cuts = &c->tally[HONE_FILTER_paragraph_duplicates];
    hone_status status = HONE_OK;
    if (v->masks && v->filter < 0) {
        mask->changed++;
        mask->pieces += v->masks;
        if (mask->n_examples < HONE_FILTER_EXAMPLES) { // what stands around the first mask
            const char *at = memchr(t.text, '<', t.size);
            size_t from = at && at - t.text > 60 ? (size_t)(at - t.text) - 60 : 0;
            char why[HONE_WHY_BYTES];
            while (from < t.size && (t.text[from] & 0xc0) == 0x80) from++;
            snprintf(why, sizeof why, "%lld masked", (long long)v->masks);
            status = add_example(mask, where, why, (hone_text){ t.text + from, t.size - from });
        }
    }
    if (!status && v->cuts) {
        cuts->pieces += v->cuts;
        cuts->changed += v->filter < 0;
    }
    if (status || v->filter < 0) return status;
    hone_filter_tally *tally = &c->tally[v->filter];
    tally->documents++;
    tally->bytes += (int64_t)t.size;
    return tally->n_examples < HONE_FILTER_EXAMPLES ? add_example(tally, where, v->why, t) : HONE_OK;
}

hone_status hone_cleaning_report(const hone_cleaning *c, json_t **out)
{
    int bad = !(*out = json_object());
    for (int f = 0; f < HONE_FILTER_COUNT && !bad; f++) {
        const hone_filter_tally *t = &c->tally[f];
        if (!c->on[f]) continue;
        json_t *examples = json_array();
        for (int i = 0; i < t->n_examples; i++)
            bad |= json_array_append_new(examples, json_pack("{s:s, s:s, s:s}", "where", t->example[i].where, "why", t->example[i].why, "text", t->example[i].text));
        json_t *row = json_pack("{s:I, s:I, s:I, s:I, s:o}", "dropped", (json_int_t)t->documents, "dropped_bytes", (json_int_t)t->bytes, "changed", (json_int_t)t->changed,
                                "pieces", (json_int_t)t->pieces, "examples", examples);
        if (row && f == HONE_FILTER_near_duplicates)
            bad |= json_object_set_new(row, "parameters", json_pack("{s:I, s:I, s:I, s:f}", "shingle_words", (json_int_t)c->shingle, "bands", (json_int_t)c->bands, "rows", (json_int_t)c->rows,
                                       "found_at_similarity_0.8", hone_minhash_chance(0.8, c->bands, c->rows)));
        if (row && f == HONE_FILTER_decontaminate)
            bad |= json_object_set_new(row, "parameters", json_pack("{s:I, s:I, s:I}", "words", (json_int_t)c->contaminants.words, "texts", (json_int_t)c->contaminants.texts, "too_short",
                                       (json_int_t)c->contaminants.too_short));
        bad |= json_object_set_new(*out, hone_filter_name[f], row);
    }
    if (!bad) return HONE_OK;
    json_decref(*out);
    *out = NULL;
    return hone_fail("out of memory while the account of filters was written");
}

hone_status hone_cleaning_take_report(hone_cleaning *c, const json_t *report)
{
    hone_status status = HONE_OK;
    for (int f = 0; f < HONE_FILTER_COUNT && !status; f++) {
        const json_t *row = json_object_get(report, hone_filter_name[f]), *example;
        hone_filter_tally *t = &c->tally[f];
        size_t i;
        if (!row) continue;
        t->documents = json_integer_value(json_object_get(row, "dropped"));
        t->bytes = json_integer_value(json_object_get(row, "dropped_bytes"));
        t->changed = json_integer_value(json_object_get(row, "changed"));
        t->pieces = json_integer_value(json_object_get(row, "pieces"));
        json_array_foreach(json_object_get(row, "examples"), i, example) {
            const char *where = json_string_value(json_object_get(example, "where")), *why = json_string_value(json_object_get(example, "why")), *text = json_string_value(json_object_get(example, "text"));
            if (t->n_examples == HONE_FILTER_EXAMPLES || !where || !why || !text) break;
            t->example[t->n_examples].where = hone_strdup(where);
            t->example[t->n_examples].why = hone_strdup(why);
            t->example[t->n_examples].text = hone_strdup(text);
            t->n_examples++;
            if (!t->example[t->n_examples - 1].where || !t->example[t->n_examples - 1].why || !t->example[t->n_examples - 1].text) status = HONE_FAILED;
        }
    }
    return status;
}
