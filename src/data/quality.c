// quality.c: see quality.h. The numbers are the papers' own: Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A1) and FineWeb
// (Penedo et al. 2024, arXiv:2406.17557, section 3.6).
#include "data/quality.h"
#include "base/file.h"

#include <stdio.h>
#include <string.h>

void hone_quality_release(hone_quality *q)
{
    hone_wordlist_release(&q->shown);
    hone_wordlist_release(&q->plain);
    hone_keyset_release(&q->seen);
    hone_buffer_release(&q->counts);
}

#define DROP_IF(condition, ...) \
    do { if (condition) { *drop = true; snprintf(why, HONE_WHY_BYTES, __VA_ARGS__); return HONE_OK; } } while (0)

// --- lines and paragraphs

// The next line at *at that is not blank, without white space at its ends; false: no more.
static bool next_line(hone_text t, size_t *at, hone_text *line)
{
    while (*at < t.size) {
        const char *from = t.text + *at, *stop = memchr(from, '\n', t.size - *at);
        size_t n = stop ? (size_t)(stop - from) : t.size - *at;
        *at += n + (stop != NULL);
        while (n && hone_is_space(*from)) { from++; n--; }
        while (n && hone_is_space(from[n - 1])) n--;
        *line = (hone_text){ from, n };
        if (n) return true;
    }
    return false;
}

// Paragraphs are apart by a blank line.
static bool next_paragraph(hone_text t, size_t *at, hone_text *paragraph)
{
    while (*at < t.size && hone_is_space(t.text[*at])) ++*at;
    if (*at >= t.size) return false;
    const char *from = t.text + *at, *stop = memmem(from, t.size - *at, "\n\n", 2);
    size_t n = stop ? (size_t)(stop - from) : t.size - *at;
    *at += n;
    while (n && hone_is_space(from[n - 1])) n--;
    *paragraph = (hone_text){ from, n };
    return true;
}

static bool starts_with(hone_text t, const char *start) { size_t n = strlen(start); return t.size >= n && memcmp(t.text, start, n) == 0; }
static bool ends_with(hone_text t, const char *end) { size_t n = strlen(end); return t.size >= n && memcmp(t.text + t.size - n, end, n) == 0; }
static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

// --- Gopher's quality rules

static bool has_letter(hone_text w)
{
    for (size_t i = 0; i < w.size; i++) if (hone_is_letter(w.text[i])) return true;
    return false;
}

static bool is_stop_word(const char *text, const hone_word *w)
{
    static const char *const stop[] = { "the", "be", "to", "of", "and", "that", "have", "with" };
    for (size_t i = 0; i < sizeof stop / sizeof *stop; i++)
        if (w->size == strlen(stop[i]) && strncasecmp(text + w->at, stop[i], w->size) == 0) return true;
    return false;
}

static int64_t count_characters(hone_text t)
{
    int64_t n = 0;
    for (size_t i = 0; i < t.size; i++) n += (t.text[i] & 0xc0) != 0x80;
    return n;
}

static hone_status count_words(hone_quality *q, hone_text t, bool *drop, char why[HONE_WHY_BYTES])
{
    int64_t characters = 0, hashes = 0, ellipses = 0, alphabetic = 0, stops = 0, n = q->shown.count;
    for (int64_t i = 0; i < n; i++) {
        hone_text w = { t.text + q->shown.word[i].at, q->shown.word[i].size };
        characters += count_characters(w);
        hashes += memchr(w.text, '#', w.size) != NULL;
        ellipses += ends_with(w, "...") || ends_with(w, "\xe2\x80\xa6");
        alphabetic += has_letter(w);
        stops += is_stop_word(t.text, &q->shown.word[i]);
    }
    DROP_IF(n < 50 || n > 100000, "%lld words; 50 to 100,000 are kept", (long long)n);
    double length = share((double)characters, (double)n);
    DROP_IF(length < 3 || length > 10, "mean word of %.1f characters; 3 to 10 are kept", length);
    DROP_IF(share((double)hashes, (double)n) > 0.1, "%.0f %% of words with #; at most 10 %%", 100 * share((double)hashes, (double)n));
    DROP_IF(share((double)ellipses, (double)n) > 0.1, "%.0f %% of words with an ellipsis; at most 10 %%", 100 * share((double)ellipses, (double)n));
    DROP_IF(share((double)alphabetic, (double)n) < 0.8, "%.0f %% of words with a letter; at least 80 %%", 100 * share((double)alphabetic, (double)n));
    DROP_IF(stops < 2, "%lld stop words; at least 2", (long long)stops);
    return HONE_OK;
}

hone_status hone_quality_gopher(hone_quality *q, hone_text t, bool *drop, char why[HONE_WHY_BYTES])
{
    int64_t lines = 0, bullets = 0, ellipses = 0;
    size_t at = 0;
    hone_text line;
    if (hone_wordlist_shown(&q->shown, t.text, t.size)) return HONE_FAILED;
    hone_status status = count_words(q, t, drop, why);
    if (status || *drop) return status;
    while (next_line(t, &at, &line)) {
        lines++;
        bullets += starts_with(line, "-") || starts_with(line, "*") || starts_with(line, "\xe2\x80\xa2");
        ellipses += ends_with(line, "...") || ends_with(line, "\xe2\x80\xa6");
    }
    DROP_IF(share((double)bullets, (double)lines) > 0.9, "%.0f %% of lines are bullets; at most 90 %%", 100 * share((double)bullets, (double)lines));
    DROP_IF(share((double)ellipses, (double)lines) > 0.3, "%.0f %% of lines end in an ellipsis; at most 30 %%", 100 * share((double)ellipses, (double)lines));
    return HONE_OK;
}

// --- repetition

typedef struct { int64_t parts, repeated; double bytes, repeated_bytes; } repeats;

static hone_status count_repeats(hone_quality *q, hone_text t, bool (*next)(hone_text, size_t *, hone_text *), repeats *r)
{
    hone_text part;
    *r = (repeats){ 0 };
    hone_keyset_clear(&q->seen);
    for (size_t at = 0; next(t, &at, &part); r->parts++) {
        bool fresh;
        if (hone_keyset_add(&q->seen, hone_hash64(part.text, part.size), &fresh)) return HONE_FAILED;
        r->bytes += (double)part.size;
        if (fresh) continue;
        r->repeated++;
        r->repeated_bytes += (double)part.size;
    }
    return HONE_OK;
}

static int64_t gram_bytes(const hone_wordlist *w, int64_t i, int64_t n) { return (int64_t)(w->word[i + n - 1].at + w->word[i + n - 1].size - w->word[i].at); }

typedef struct { uint64_t key; int64_t count; } gram_count;

// Share of the text's bytes in its most frequent n-gram.
static hone_status top_gram(hone_quality *q, int64_t n, double bytes, double *out)
{
    const hone_wordlist *w = &q->plain;
    int64_t grams = w->count - n + 1, room = 64, best = 0, best_at = 0;
    *out = 0;
    if (grams < 2) return HONE_OK;
    while (room < 2 * grams) room *= 2;
    size_t size = (size_t)room * sizeof(gram_count);
    if (q->counts.capacity < size) {
        hone_buffer_release(&q->counts);
        if (!(q->counts.data = hone_alloc(size, 1))) return HONE_FAILED;
        q->counts.capacity = size;
    }
    gram_count *table = (gram_count *)(void *)q->counts.data;
    memset(table, 0, size);
    for (int64_t i = 0; i < grams; i++) {
        uint64_t key = hone_words_hash(w->word + i, n) | 1;
        int64_t at = (int64_t)(key * 0x9E3779B97F4A7C15u >> 20) & (room - 1);
        while (table[at].key && table[at].key != key) at = (at + 1) & (room - 1);
        table[at].key = key;
        if (++table[at].count > best) { best = table[at].count; best_at = i; }
    }
    if (best > 1) *out = share((double)(best * gram_bytes(w, best_at, n)), bytes);
    return HONE_OK;
}

// Share of the text's bytes in n-grams that were there before, each byte once.
static hone_status repeated_grams(hone_quality *q, int64_t n, double bytes, double *out)
{
    const hone_wordlist *w = &q->plain;
    double sum = 0;
    hone_keyset_clear(&q->seen);
    for (int64_t i = 0; i + n <= w->count;) {
        bool fresh;
        if (hone_keyset_add(&q->seen, hone_words_hash(w->word + i, n), &fresh)) return HONE_FAILED;
        if (!fresh) sum += (double)gram_bytes(w, i, n);
        i += fresh ? 1 : n;
    }
    *out = share(sum, bytes);
    return HONE_OK;
}

hone_status hone_quality_repetition(hone_quality *q, hone_text t, bool *drop, char why[HONE_WHY_BYTES])
{
    static const double top[] = { 0.20, 0.18, 0.16 }, most[] = { 0.15, 0.14, 0.13, 0.12, 0.11, 0.10 };
    repeats lines, paragraphs;
    double bytes = (double)t.size, part;
    if (count_repeats(q, t, next_line, &lines) || count_repeats(q, t, next_paragraph, &paragraphs)) return HONE_FAILED;
    DROP_IF(share((double)lines.repeated, (double)lines.parts) > 0.3, "%.0f %% of lines were there before; at most 30 %%", 100 * share((double)lines.repeated, (double)lines.parts));
    DROP_IF(share((double)paragraphs.repeated, (double)paragraphs.parts) > 0.3, "%.0f %% of paragraphs were there before; at most 30 %%", 100 * share((double)paragraphs.repeated, (double)paragraphs.parts));
    DROP_IF(share(lines.repeated_bytes, lines.bytes) > 0.2, "%.0f %% of the text is in repeated lines; at most 20 %%", 100 * share(lines.repeated_bytes, lines.bytes));
    DROP_IF(share(paragraphs.repeated_bytes, paragraphs.bytes) > 0.2, "%.0f %% of the text is in repeated paragraphs; at most 20 %%", 100 * share(paragraphs.repeated_bytes, paragraphs.bytes));
    if (hone_wordlist_plain(&q->plain, t.text, t.size)) return HONE_FAILED;
    for (int64_t n = 2; n <= 4; n++) {
        if (top_gram(q, n, bytes, &part)) return HONE_FAILED;
        DROP_IF(part > top[n - 2], "one run of %lld words makes %.0f %% of the text; at most %.0f %%", (long long)n, 100 * part, 100 * top[n - 2]);
    }
    for (int64_t n = 5; n <= 10; n++) {
        if (repeated_grams(q, n, bytes, &part)) return HONE_FAILED;
        DROP_IF(part > most[n - 5], "repeated runs of %lld words make %.0f %% of the text; at most %.0f %%", (long long)n, 100 * part, 100 * most[n - 5]);
    }
    return HONE_OK;
}

// --- FineWeb

hone_status hone_quality_fineweb(hone_quality *q, hone_text t, bool *drop, char why[HONE_WHY_BYTES])
{
    static const char *const marks[] = { ".", "!", "?", "\"", "'", "\xe2\x80\x9d", "\xe2\x80\xa6", "\xe3\x80\x82", "\xef\xbc\x81", "\xef\xbc\x9f" };
    int64_t lines = 0, ended = 0, small = 0;
    size_t at = 0;
    hone_text line;
    repeats r;
    while (next_line(t, &at, &line)) {
        lines++;
        for (size_t k = 0; k < sizeof marks / sizeof *marks; k++) if (ends_with(line, marks[k])) { ended++; break; }
        small += count_characters(line) < 30;
    }
    DROP_IF(share((double)ended, (double)lines) < 0.12, "%.0f %% of lines end with a mark; at least 12 %%", 100 * share((double)ended, (double)lines));
    DROP_IF(share((double)small, (double)lines) > 0.67, "%.0f %% of lines are below 30 characters; at most 67 %%", 100 * share((double)small, (double)lines));
    if (count_repeats(q, t, next_line, &r)) return HONE_FAILED;
    DROP_IF(share(r.repeated_bytes, r.bytes) > 0.1, "%.0f %% of the text is in repeated lines; at most 10 %%", 100 * share(r.repeated_bytes, r.bytes));
    return HONE_OK;
}
