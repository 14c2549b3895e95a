// bytes.c: UTF-8, and the printable alphabet that GPT-2 writes bytes with.
//
// A byte that is a visible Latin-1 character (! to ~, ¡ to ¬, ® to ÿ) is written as that character, the other 68, in
// order, as U+0100 and on: a space is Ġ (U+0120), a newline Ċ (U+010A).
#include "text/parts.h"

#include <string.h>

static bool is_visible(int byte) { return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae; }

static int byte_to_code(int byte)
{
    if (is_visible(byte)) return byte;
    int before = 0;
    for (int b = 0; b < byte; b++) before += !is_visible(b);
    return 256 + before;
}

int hone_byte_to_char(uint8_t byte, char out[2])
{
    int code = byte_to_code(byte);
    if (code < 0x80) { out[0] = (char)code; return 1; }
    out[0] = (char)(0xc0 | code >> 6);
    out[1] = (char)(0x80 | (code & 0x3f));
    return 2;
}

static int code_to_byte(int32_t code) // -1: no byte is written so
{
    if (code < 0 || code >= 256 + 68) return -1;
    if (code < 256) return is_visible(code) ? code : -1;
    int before = 256;
    for (int b = 0; b < 256; b++)
        if (!is_visible(b) && before++ == code) return b;
    return -1;
}

hone_status hone_bytes_from_chars(const char *text, size_t size, hone_buffer *out, bool *all)
{
    *all = true;
    size_t before = out->size;
    for (size_t i = 0; i < size;) {
        int length, byte = code_to_byte(hone_utf8_next(text + i, size - i, &length));
        if (byte < 0) { // some character is no byte: the text stands for itself
            *all = false;
            out->size = before;
            return hone_buffer_append(out, text, size);
        }
        uint8_t value = (uint8_t)byte;
        hone_status status = hone_buffer_append(out, &value, 1);
        if (status) return status;
        i += (size_t)length;
    }
    return HONE_OK;
}

int32_t hone_utf8_next(const char *text, size_t size, int *length)
{
    const uint8_t *p = (const uint8_t *)text;
    *length = 1;
    if (p[0] < 0x80) return p[0];
    int more = p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : 1;
    if (p[0] < 0xc2 || p[0] > 0xf4 || size <= (size_t)more) return -1;
    int32_t code = p[0] & (0x3f >> more);
    for (int i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80) return -1;
        code = code << 6 | (p[i] & 0x3f);
    }
    static const int32_t least[4] = { 0, 0x80, 0x800, 0x10000 };
    if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return -1;
    *length = more + 1;
    return code;
}

size_t hone_utf8_valid(const char *text, size_t size)
{
    size_t i = 0;
    while (i < size) {
        uint64_t word;
        while (i + 8 <= size) { // eight ASCII bytes at a time
            memcpy(&word, text + i, 8);
            if (word & 0x8080808080808080ull) break;
            i += 8;
        }
        if (i == size) break;
        int length;
        if (hone_utf8_next(text + i, size - i, &length) < 0) return i;
        i += (size_t)length;
    }
    return size;
}

size_t hone_utf8_whole(const char *text, size_t size)
{
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        uint8_t byte = (uint8_t)text[size - back];
        if (byte < 0x80) return size;
        if (byte >= 0xc2) { // a leading byte: is its character there whole?
            size_t needs = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
            return byte <= 0xf4 && needs > back ? size - back : size;
        }
    }
    return size;
}
