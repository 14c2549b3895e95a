// regex.c: see regex.h.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/regex.h"
#include "base/memory.h"
#include "text/regex_young.h"

#include <pcre2.h>
#include <string.h>

struct hone_regex { pcre2_code *code; bool jit; };

static void *pcre_alloc(size_t size, void *unused) { (void)unused; return hone_alloc(1, size); }
static void pcre_free(void *pointer, void *unused) { (void)unused; hone_free(pointer); }

// White_Space of Unicode, as items of a character class. PCRE2's own \s also holds U+180E.
static const char space_items[] = "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";

// \p{Lu}, \p{L}, \pL at p: its length, and the category's name; 0 where it is something else.
static size_t category_at(const char *p, const char **name, size_t *length)
{
    if (p[0] != '\\' || (p[1] != 'p' && p[1] != 'P')) return 0;
    const bool braces = p[2] == '{';
    *name = p + 2 + braces;
    *length = braces ? strcspn(*name, "}") : 1;
    if (*length < 1 || *length > 2 || (braces && (*name)[*length] != '}')) return 0;
    return 2 + *length + 2 * braces;
}

// The category at p with its young characters. Within a class \P{..} stays PCRE2's own: a class has no way to take some out.
static hone_status print_category(hone_buffer *out, const char *p, size_t size, const char *name, size_t length, bool within)
{
    if (within && p[1] == 'P') return hone_buffer_append(out, p, size);
    hone_status status = within ? HONE_OK : hone_buffer_print(out, p[1] == 'P' ? "[^" : "[");
    if (!status) status = hone_buffer_print(out, "\\p{%.*s}", (int)length, name);
    for (size_t i = 0; i < sizeof young / sizeof *young && !status; i++)
        if (!strncmp(young[i].category, name, length)) status = hone_buffer_print(out, "\\x{%x}-\\x{%x}", (unsigned)young[i].first, (unsigned)young[i].last);
    return status || within ? status : hone_buffer_append(out, "]", 1);
}

static hone_status translate(const char *pattern, const char *where, hone_buffer *out)
{
    bool within = false; // [ ]
    for (const char *p = pattern; *p; p++) {
        hone_status status;
        const char *name;
        size_t length, category = category_at(p, &name, &length);
        if (category) {
            status = print_category(out, p, category, name, length, within);
            p += category - 1;
        } else if (*p == '\\' && p[1]) {
            if (p[1] == 's') status = hone_buffer_print(out, within ? "%s" : "[%s]", space_items);
            else if (p[1] == 'S' && !within) status = hone_buffer_print(out, "[^%s]", space_items);
            else status = hone_buffer_append(out, p, 2);
            p++;
        } else {
            if (within && (*p == '[' || (*p == '&' && p[1] == '&')))
                return hone_fail("%s: the regular expression \"%s\" has a class within a class, which is not supported", where, pattern);
            if (*p == '[') within = true;
            if (*p == ']') within = false;
            status = hone_buffer_append(out, p, 1);
        }
        if (status) return status;
    }
    return HONE_OK;
}

hone_status hone_regex_new(hone_regex **regex, const char *pattern, bool literal, const char *where)
{
    hone_buffer text = { 0 };
    pcre2_general_context *general = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    pcre2_compile_context *context = general ? pcre2_compile_context_create(general) : NULL;
    hone_regex *made = hone_alloc(1, sizeof *made);
    hone_status status = context && made ? literal ? hone_buffer_append(&text, pattern, strlen(pattern)) : translate(pattern, where, &text) : HONE_FAILED;
    if (status) goto out;
    if (text.size == 0) { status = hone_fail("%s: an empty pattern", where); goto out; }
    int code;
    PCRE2_SIZE place;
    uint32_t options = literal ? PCRE2_UTF | PCRE2_LITERAL : PCRE2_UTF | PCRE2_UCP;
    made->code = pcre2_compile((PCRE2_SPTR)text.data, text.size, options, &code, &place, context);
    if (!made->code) {
        char message[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
        status = hone_fail("%s: the regular expression \"%s\" cannot be read: %s", where, pattern, message);
        goto out;
    }
    made->jit = pcre2_jit_compile(made->code, PCRE2_JIT_COMPLETE) == 0; // not where memory may not be executed: interpreted
    *regex = made;
    made = NULL;
out:
    hone_buffer_release(&text);
    hone_regex_free(made);
    if (context) pcre2_compile_context_free(context);
    if (general) pcre2_general_context_free(general);
    return status;
}

void hone_regex_free(hone_regex *regex)
{
    if (!regex) return;
    if (regex->code) pcre2_code_free(regex->code);
    hone_free(regex);
}

bool hone_regex_matches_empty(const hone_regex *regex)
{
    uint32_t empty = 0;
    return pcre2_pattern_info(regex->code, PCRE2_INFO_MATCHEMPTY, &empty) == 0 && empty;
}

hone_status hone_matcher_init(hone_matcher *matcher)
{
    *matcher = (hone_matcher){ 0 };
    pcre2_general_context *general = pcre2_general_context_create(pcre_alloc, pcre_free, NULL);
    if (!general) return HONE_FAILED;
    matcher->data = pcre2_match_data_create(1, general);
    matcher->context = pcre2_match_context_create(general);
    matcher->stack = pcre2_jit_stack_create(32 << 10, 64 << 20, general); // grows in its address range only as used
    pcre2_general_context_free(general);
    if (!matcher->data || !matcher->context || !matcher->stack) {
        hone_matcher_release(matcher);
        return HONE_FAILED;
    }
    pcre2_jit_stack_assign(matcher->context, NULL, matcher->stack);
    return HONE_OK;
}

void hone_matcher_release(hone_matcher *matcher)
{
    if (matcher->data) pcre2_match_data_free(matcher->data);
    if (matcher->context) pcre2_match_context_free(matcher->context);
    if (matcher->stack) pcre2_jit_stack_free(matcher->stack);
    *matcher = (hone_matcher){ 0 };
}

hone_status hone_regex_find(const hone_regex *regex, hone_matcher *matcher, const char *text, size_t size, size_t from,
                            bool *found, size_t *start, size_t *end)
{
    *found = false;
    if (from >= size) return HONE_OK;
    int code = regex->jit
        ? pcre2_jit_match(regex->code, (PCRE2_SPTR)text, size, from, PCRE2_NOTEMPTY, matcher->data, matcher->context)
        : pcre2_match(regex->code, (PCRE2_SPTR)text, size, from, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, matcher->data, matcher->context);
    if (code == PCRE2_ERROR_NOMATCH) return HONE_OK;
    if (code < 0) {
        char message[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)message, sizeof message);
        return hone_fail("a text of %zu bytes: its regular expression failed at byte %zu: %s", size, from, message);
    }
    const PCRE2_SIZE *place = pcre2_get_ovector_pointer(matcher->data);
    *start = place[0];
    *end = place[1];
    *found = true;
    return HONE_OK;
}
