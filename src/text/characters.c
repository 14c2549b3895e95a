// characters.c: classes of characters, as Rust's standard library and the Unicode crates beside it have them (the
// tokenizers that hone must equal are written in Rust), and base64.
#include "text/parts.h"

#include <utf8proc.h>

bool hone_char_is_space(int32_t code)
{
    return (code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a)
        || code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

bool hone_char_is_word(int32_t code)
{
    utf8proc_category_t c = utf8proc_category(code);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC;
}

bool hone_char_is_numeric(int32_t code)
{
    if (code < 0x80) return code >= '0' && code <= '9';
    utf8proc_category_t c = utf8proc_category(code);
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool hone_char_is_punctuation(int32_t code)
{
    if (code < 0x80) return (code >= '!' && code <= '/') || (code >= ':' && code <= '@') || (code >= '[' && code <= '`') || (code >= '{' && code <= '~');
    utf8proc_category_t c = utf8proc_category(code);
    if (code == 0x166d || code == 0x111c9) return true; // punctuation once, no more in today's Unicode
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO && !hone_young_punctuation(code);
}

bool hone_char_is_mark(int32_t code, bool nonspacing)
{
    if (code < 0x300) return false;
    utf8proc_category_t c = utf8proc_category(code);
    if (nonspacing ? code == 0x1734 : code == 0x1cf2 || code == 0x1cf3) return true; // once so
    return (c == UTF8PROC_CATEGORY_MN || (!nonspacing && (c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME))) && !hone_young_mark(code, nonspacing);
}

hone_status hone_char_append(hone_buffer *out, int32_t code)
{
    char bytes[4];
    return hone_buffer_append(out, bytes, (size_t)utf8proc_encode_char(code, (uint8_t *)bytes));
}

static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

hone_status hone_base64_decode(const char *text, size_t size, hone_buffer *out, bool *valid)
{
    while (size && text[size - 1] == '=') size--;
    uint32_t bits = 0;
    *valid = size % 4 != 1;
    for (size_t i = 0; i < size; i++) {
        int value = sextet(text[i]);
        if (value < 0) { *valid = false; return HONE_OK; }
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 == 0) continue;
        char byte = (char)(bits >> (6 - 2 * (i % 4))); // 6 + 2, 4 + 4, 2 + 6 bits
        if (hone_buffer_append(out, &byte, 1)) return HONE_FAILED;
    }
    return HONE_OK;
}
