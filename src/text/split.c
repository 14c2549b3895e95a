// split.c: the split patterns that most models use, each as a function written by hand: 3 to 5 times as fast as the same
// regular expression compiled by PCRE2. A pattern is recognised by its very text (the table at the end); every other one
// goes to PCRE2. Each of these patterns matches at every place, so pieces follow each other without a gap.
#include "text/split.h"
#include "text/parts.h"

#include <string.h>
#include <utf8proc.h>

// Classes of a character. UPPER: Lu Lt Lm Lo M, LOWER: Ll Lm Lo M, as o200k's pattern has them (they overlap).
enum { LETTER = 1, NUMBER = 2, SPACE = 4, NEWLINE = 8, UPPER = 16, LOWER = 32 };
static const uint8_t ascii[128] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 12, 4, 4, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0,
    0, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 0, 0, 0, 0, 0,
    0, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 33, 0, 0, 0, 0, 0,
};

static unsigned class_beyond_ascii(const char *text, size_t size, int *length)
{
    static const uint8_t of_category[32] = {
        [UTF8PROC_CATEGORY_LU] = LETTER | UPPER, [UTF8PROC_CATEGORY_LL] = LETTER | LOWER, [UTF8PROC_CATEGORY_LT] = LETTER | UPPER,
        [UTF8PROC_CATEGORY_LM] = LETTER | UPPER | LOWER, [UTF8PROC_CATEGORY_LO] = LETTER | UPPER | LOWER,
        [UTF8PROC_CATEGORY_MN] = UPPER | LOWER, [UTF8PROC_CATEGORY_MC] = UPPER | LOWER, [UTF8PROC_CATEGORY_ME] = UPPER | LOWER,
        [UTF8PROC_CATEGORY_ND] = NUMBER, [UTF8PROC_CATEGORY_NL] = NUMBER, [UTF8PROC_CATEGORY_NO] = NUMBER,
    };
    int32_t code = hone_utf8_next(text, size, length);
    return hone_char_is_space(code) ? SPACE : of_category[utf8proc_category(code)];
}

static inline unsigned class_at(const char *text, size_t size, size_t i, int *length)
{
    *length = 1;
    return (uint8_t)text[i] < 0x80 ? ascii[(uint8_t)text[i]] : class_beyond_ascii(text + i, size - i, length);
}

// End of the run of characters whose class under `mask` is `want`.
static inline size_t run(const char *text, size_t size, size_t i, unsigned mask, unsigned want)
{
    for (int length; i < size; i += (size_t)length)
        if ((class_at(text, size, i, &length) & mask) != want) break;
    return i;
}

static inline size_t others(const char *text, size_t size, size_t i) { return run(text, size, i, LETTER | NUMBER | SPACE, 0); } // [^\s\p{L}\p{N}]*

static inline size_t any_of(const char *text, size_t size, size_t i, char a, char b, char c)
{
    while (i < size && (text[i] == a || text[i] == b || text[i] == c)) i++;
    return i;
}

// \s+(?!\S)|\s+, and with `lines` \s*[\r\n]+ in front of them: a run of spaces ends behind its last line's end; else it
// leaves its last space to what follows, unless that is all it has.
static inline size_t spaces(const char *text, size_t size, size_t i, bool lines)
{
    size_t end = i, last = i, line = 0;
    for (int length; end < size; end += (size_t)length) {
        unsigned class = class_at(text, size, end, &length);
        if (!(class & SPACE)) break;
        last = end;
        if (class & NEWLINE) line = end + 1;
    }
    if (lines && line) return line;
    return end == size || last == i ? end : last;
}

// Length of 's 't 're 've 'm 'll 'd at an apostrophe, 0 none; folded: in any case, with ſ (U+017F) for s.
static inline size_t contraction(const char *text, size_t size, bool folded)
{
    if (size < 2) return 0;
    char fold = folded ? 0x20 : 0, a = text[1] | fold, b = size > 2 ? text[2] | fold : 0;
    if ((text[1] | 0x20) < 'a' || (uint8_t)text[1] >= 0x80) return folded && size > 2 && memcmp(text + 1, "\xc5\xbf", 2) == 0 ? 3 : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

static inline size_t digits(const char *text, size_t size, size_t i, int most)
{
    for (int n = 0, length; n < most && i < size && class_at(text, size, i, &length) & NUMBER; n++) i += (size_t)length;
    return i;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
static inline size_t next_gpt2(const char *text, size_t size, size_t i)
{
    int length;
    size_t from = i;
    if (text[i] == '\'') {
        size_t short_form = contraction(text + i, size - i, false);
        if (short_form) return i + short_form;
    }
    if (text[i] == ' ' && i + 1 < size) from++;
    unsigned class = class_at(text, size, from, &length);
    if (class & SPACE) return spaces(text, size, i, false);
    if (class & LETTER) return run(text, size, from + (size_t)length, LETTER, LETTER);
    if (class & NUMBER) return run(text, size, from + (size_t)length, NUMBER, NUMBER);
    return others(text, size, from + (size_t)length);
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,most}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
static inline size_t next_cl100k(const char *text, size_t size, size_t i, int most)
{
    int length, next_length;
    if (text[i] == '\'') {
        size_t short_form = contraction(text + i, size - i, true);
        if (short_form) return i + short_form;
    }
    unsigned class = class_at(text, size, i, &length);
    size_t next = i + (size_t)length;
    if (class & LETTER) return run(text, size, next, LETTER, LETTER);
    if (class & NUMBER) return digits(text, size, i, most);
    unsigned behind = next < size ? class_at(text, size, next, &next_length) : SPACE;
    if (behind & LETTER && !(class & NEWLINE)) return run(text, size, next + (size_t)next_length, LETTER, LETTER);
    if (class & SPACE && (text[i] != ' ' || behind & (SPACE | NUMBER | LETTER))) return spaces(text, size, i, true);
    return any_of(text, size, others(text, size, next), '\r', '\n', '\n');
}

// [UPPER]*[LOWER]+ from i, 0: does not match. The run of UPPER gives back what LOWER needs: its last character that is both.
static inline size_t word_o200k(const char *text, size_t size, size_t i)
{
    size_t end = i, both = 0;
    for (int length; end < size; end += (size_t)length) {
        unsigned class = class_at(text, size, end, &length);
        if (!(class & UPPER)) {
            if (class & LOWER) return run(text, size, end, LOWER, LOWER);
            break;
        }
        if (class & LOWER) both = end + (size_t)length;
    }
    return both;
}

// [^\r\n\p{L}\p{N}]?[UPPER]*[LOWER]+(?i:'s|...)?|[^\r\n\p{L}\p{N}]?[UPPER]+[LOWER]*(?i:'s|...)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
static inline size_t next_o200k(const char *text, size_t size, size_t i)
{
    int length, next_length;
    unsigned class = class_at(text, size, i, &length);
    size_t next = i + (size_t)length, end = 0;
    bool prefix = !(class & (LETTER | NUMBER | NEWLINE)) && next < size;
    unsigned behind = next < size ? class_at(text, size, next, &next_length) : SPACE;
    if (prefix && behind & (UPPER | LOWER)) end = word_o200k(text, size, next);
    if (!end && class & (UPPER | LOWER)) end = word_o200k(text, size, i);
    if (!end && prefix && behind & UPPER) end = run(text, size, next, UPPER, UPPER);
    if (!end && class & UPPER) end = run(text, size, i, UPPER, UPPER);
    if (end) return end < size && text[end] == '\'' ? end + contraction(text + end, size - end, true) : end;
    if (class & NUMBER) return digits(text, size, i, 3);
    if (class & SPACE && (text[i] != ' ' || behind & (SPACE | NUMBER | LETTER))) return spaces(text, size, i, true);
    return any_of(text, size, others(text, size, next), '\r', '\n', '/');
}

static size_t gpt2(const char *text, size_t size, size_t i) { return next_gpt2(text, size, i); }
static size_t cl100k(const char *text, size_t size, size_t i) { return next_cl100k(text, size, i, 3); }
static size_t qwen2(const char *text, size_t size, size_t i) { return next_cl100k(text, size, i, 1); }
static size_t o200k(const char *text, size_t size, size_t i) { return next_o200k(text, size, i); }

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define REST "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
static const struct { const char *pattern; hone_split_fn split; } known[] = {
    { HONE_GPT2_PATTERN, gpt2 },
    { CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" REST, cl100k },
    { CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" REST, qwen2 },
    { "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" CONTRACTIONS "?"
      "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" CONTRACTIONS "?"
      "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" REST, o200k },
};

hone_split_fn hone_split_find(const char *pattern)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i].pattern, pattern) == 0) return known[i].split;
    return NULL;
}
