// pii.c: see pii.h. Scanners by hand, since text need not be valid UTF-8 and most of it holds neither '@' nor digits. Numbers
// that have a check digit must keep it: a card Luhn's (ISO/IEC 7812-1), an IBAN 97-10's (ISO 13616).
#include "data/pii.h"
#include "data/wordlist.h"

#include <string.h>

typedef struct { const char *text; size_t size; } span;

static char at(span s, size_t i) { return i < s.size ? s.text[i] : 0; }
static bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_alnum(char c) { return is_ascii_letter(c) || hone_is_digit(c); }
static bool is_local(char c) { return is_alnum(c) || (c && strchr("._%+-", c)); }

// Each takes the place where it may begin and returns its length, 0: it is none.

// i: of the '@'. *from: where the address begins.
static size_t find_email(span s, size_t i, size_t floor, size_t *from)
{
    size_t begin = i, end = i + 1, dot = 0;
    while (begin > floor && is_local(s.text[begin - 1])) begin--;
    while (begin < i && !is_alnum(s.text[begin])) begin++;
    while (end < s.size && (is_alnum(s.text[end]) || s.text[end] == '-' || (s.text[end] == '.' && is_alnum(at(s, end + 1))))) {
        if (s.text[end] == '.') dot = end;
        end++;
    }
    size_t top = dot ? end - dot - 1 : 0;
    for (size_t k = dot + 1; dot && k < end; k++) if (!is_ascii_letter(s.text[k])) top = 0;
    *from = begin;
    return begin < i && top >= 2 ? end - begin : 0;
}

static size_t match_ip(span s, size_t i)
{
    size_t k = i;
    for (int part = 0; part < 4; part++) {
        int value = 0, digits = 0;
        while (digits < 4 && hone_is_digit(at(s, k))) { value = value * 10 + (s.text[k++] - '0'); digits++; }
        if (digits == 0 || digits > 3 || value > 255) return 0;
        if (part < 3 && at(s, k++) != '.') return 0;
    }
    return is_alnum(at(s, k)) || (at(s, k) == '.' && hone_is_digit(at(s, k + 1))) ? 0 : k - i;
}

// "ddd-dd-dddd": digits of the pattern stand for digits, all else for itself.
static size_t match_pattern(span s, size_t i, const char *pattern)
{
    size_t n = strlen(pattern);
    for (size_t k = 0; k < n; k++)
        if (pattern[k] == 'd' ? !hone_is_digit(at(s, i + k)) : pattern[k] != at(s, i + k)) return 0;
    return is_alnum(at(s, i + n)) || (at(s, i + n) == '-' && hone_is_digit(at(s, i + n + 1))) ? 0 : n;
}

static size_t match_card(span s, size_t i)
{
    int digit[20], n = 0, sum = 0;
    size_t k = i;
    for (;;) {
        if (n == 20) return 0;
        if (hone_is_digit(at(s, k))) digit[n++] = s.text[k++] - '0';
        else if ((at(s, k) == ' ' || at(s, k) == '-') && n > 0 && hone_is_digit(at(s, k + 1))) k++;
        else break;
    }
    if (n < 13 || n > 19 || is_alnum(at(s, k))) return 0;
    for (int d = 0; d < n; d++) {
        int x = digit[n - 1 - d];
        if (d % 2) x = 2 * x > 9 ? 2 * x - 9 : 2 * x;
        sum += x;
    }
    return sum % 10 == 0 ? k - i : 0;
}

static size_t match_phone(span s, size_t i)
{
    static const char *const american[] = { "(ddd) ddd-dddd", "(ddd)ddd-dddd", "ddd-ddd-dddd", "ddd.ddd.dddd" };
    for (size_t p = 0; p < sizeof american / sizeof *american; p++) {
        size_t n = match_pattern(s, i, american[p]);
        if (n) return n;
    }
    if (at(s, i) != '+') return 0;
    size_t k = i + 1, last = k;
    int digits = 0;
    for (int separators = 0; k < s.size; k++) { // "+44 (20) 7946 0958"
        if (hone_is_digit(s.text[k])) { digits++; separators = 0; last = k + 1; }
        else if (!strchr(" -.()", s.text[k]) || ++separators > 2 || digits == 0) break;
    }
    return digits >= 8 && digits <= 15 && !is_alnum(at(s, last)) ? last - i : 0;
}

static size_t match_iban(span s, size_t i)
{
    size_t k = i, end = i;
    int n = 0, rest = 0;
    char code[34];
    if (!(at(s, i) >= 'A' && at(s, i) <= 'Z' && at(s, i + 1) >= 'A' && at(s, i + 1) <= 'Z' && hone_is_digit(at(s, i + 2)) && hone_is_digit(at(s, i + 3)))) return 0;
    while (n < 34) {
        char c = at(s, k);
        if (hone_is_digit(c) || (c >= 'A' && c <= 'Z')) { code[n++] = c; end = ++k; }
        else if (c == ' ' && n % 4 == 0 && n > 0 && (hone_is_digit(at(s, k + 1)) || (at(s, k + 1) >= 'A' && at(s, k + 1) <= 'Z'))) k++;
        else break;
    }
    if (n < 15 || is_alnum(at(s, end))) return 0;
    for (int d = 0; d < n; d++) { // the first four go behind the rest; letters are 10 to 35
        char c = code[(d + 4) % n];
        rest = hone_is_digit(c) ? (rest * 10 + (c - '0')) % 97 : (rest * 100 + (c - 'A' + 10)) % 97;
    }
    return rest == 1 ? end - i : 0;
}

static size_t match_number(span s, size_t i, const char **mask)
{
    size_t n;
    if ((n = match_ip(s, i))) *mask = "<ip>";
    else if ((n = match_pattern(s, i, "ddd-dd-dddd"))) *mask = "<ssn>";
    else if ((n = match_phone(s, i))) *mask = "<phone>";
    else if ((n = match_card(s, i))) *mask = "<card>";
    return n;
}

// The next one at or behind i: its place and length; 0: none. floor: where the one before ended.
static size_t find_next(span s, size_t i, size_t floor, size_t *from, const char **mask)
{
    for (; i < s.size; i++) {
        char c = s.text[i];
        size_t n = 0;
        if (c != '@' && c != '+' && c != '(' && !hone_is_digit(c) && !(c >= 'A' && c <= 'Z')) continue;
        *from = i;
        bool fresh = i == 0 || !is_alnum(s.text[i - 1]); // does not go on with a word or number
        if (c == '@') {
            n = find_email(s, i, floor, from);
            *mask = "<email>";
        } else if (fresh && c >= 'A' && c <= 'Z') {
            n = match_iban(s, i);
            *mask = "<iban>";
        } else if (fresh && !(c >= 'A' && c <= 'Z') && !(i > 0 && (s.text[i - 1] == '.' || s.text[i - 1] == '-') && i > 1 && hone_is_digit(s.text[i - 2])))
            n = match_number(s, i, mask);
        if (n) return n;
    }
    return 0;
}

hone_status hone_pii_mask(const char *text, size_t size, hone_buffer *out, int64_t *found)
{
    span s = { text, size };
    size_t done = 0, from = 0, n;
    const char *mask = "";
    hone_status status = HONE_OK;
    *found = 0;
    for (size_t i = 0; !status && (n = find_next(s, i, done, &from, &mask)); i = done) {
        status = hone_buffer_append(out, text + done, from - done);
        if (!status) status = hone_buffer_append(out, mask, strlen(mask));
        done = from + n;
        ++*found;
    }
    if (!status && *found) status = hone_buffer_append(out, text + done, size - done);
    return status;
}
