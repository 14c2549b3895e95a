// task_answer.c: the number that a worked-out sum ends in, as lm-evaluation-harness takes it from a text (its task gsm8k).
#include "gen/task.h"
#include "text/regex.h"
#include "text/tokenizer.h"
#include <ctype.h>
#include <string.h>

// The first or last match of a pattern in a text: *start, *end; *found.
static hone_status match(const char *pattern, const char *text, bool last, bool *found, size_t *start, size_t *end)
{
    hone_regex *regex = NULL;
    hone_matcher matcher = { 0 };
    size_t size = strlen(text), s, e, from = 0;
    bool more = true;
    *found = false;
    hone_status status = hone_regex_new(&regex, pattern, false, "gsm8k");
    if (!status) status = hone_matcher_init(&matcher);
    while (!status && more && from < size && !(*found && !last)) {
        status = hone_regex_find(regex, &matcher, text, size, from, &more, &s, &e);
        if (status || !more) break;
        *found = true;
        *start = s, *end = from = e;
    }
    hone_matcher_release(&matcher);
    hone_regex_free(regex);
    return status;
}

// What is compared: without , and $, without all up to the last "#### ", without a full stop at the end; small letters.
static char *normal(const char *text, size_t size)
{
    char *out = hone_alloc(size + 1, 1);
    size_t n = 0;
    if (!out) return NULL;
    for (size_t i = 0; i < size; i++) if (text[i] != ',' && text[i] != '$') out[n++] = (char)tolower((unsigned char)text[i]);
    out[n] = 0;
    for (char *at; (at = strstr(out, "#### "));) memmove(out, at + 5, strlen(at + 5) + 1);
    n = strlen(out);
    if (n && out[n - 1] == '.') out[n - 1] = 0;
    return out;
}

static hone_status same(const char *text, size_t size, const char *reference, bool *equal)
{
    char *a = normal(text, size), *b = normal(reference, strlen(reference));
    hone_status status = a && b ? HONE_OK : HONE_FAILED;
    *equal = !status && !strcmp(a, b);
    hone_free(a);
    hone_free(b);
    return status;
}

hone_status hone_task_match(const char *text, const char *reference, bool *strict, bool *flexible)
{
    static const size_t mark = sizeof "#### " - 1;
    bool found;
    size_t start, end;
    hone_buffer clean = { 0 };  // bytes that are no UTF-8 become U+FFFD
    *strict = *flexible = false;
    hone_status status = hone_utf8_append_lossy(&clean, text, strlen(text));
    const char *given = clean.data ? clean.data : "";
    if (!status) status = match("#### -?[0-9.,]+", given, false, &found, &start, &end);
    if (!status && found) status = same(given + start + mark, end - start - mark, reference, strict);
    if (!status) status = match("-?[$0-9.,]{2,}|-?[0-9]+", given, true, &found, &start, &end);
    if (!status && found) status = same(given + start, end - start, reference, flexible);
    hone_buffer_release(&clean);
    return status;
}
