// charsmap.c: SentencePiece's "precompiled" table of replacements: which strings become which (its NFKC and the like).
//
//     u32 size of the tree | tree, u32 units | replacements, each ended by a zero byte
//
// The tree is a double array in the manner of Darts (Aoe 1989): the child of a unit at place p for byte b is at
// p ^ offset(unit) ^ b and carries b as its label; a unit with the leaf flag has its value beside it, at p ^ offset.
//     bits of a unit: 0-7 label, 31 set for values; 8 has-leaf; 9 offset is in 256s; 10-30 offset
// Every step is checked against the tree's size: the table comes from a file.
#include "text/parts.h"

#include <string.h>
#include <utf8proc.h>

struct hone_charsmap {
    uint32_t *unit; size_t units; char *text; size_t size;
    bool alone[128], before[128][128]; // ASCII: this character is in the table; some string of it begins with these two
};

static uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }
static uint32_t label_of(uint32_t unit) { return unit & (1u << 31 | 0xff); }

// The place of the child of `place` for a byte, 0 none.
static size_t child(const hone_charsmap *map, size_t place, uint8_t byte)
{
    size_t next = place ^ offset_of(map->unit[place]) ^ byte;
    return byte && next < map->units && label_of(map->unit[next]) == byte ? next : 0;
}

static void note_ascii(hone_charsmap *map)
{
    for (int a = 1; a < 128; a++) {
        size_t place = child(map, 0, (uint8_t)a);
        if (!place) continue;
        map->alone[a] = map->unit[place] >> 8 & 1;
        for (int b = 1; b < 128; b++) map->before[a][b] = child(map, place, (uint8_t)b) != 0;
    }
}

// How many bytes from here surely stay as they are, without a look at the tree.
static size_t plain_size(const hone_charsmap *map, const char *text, size_t size)
{
    size_t i = 0;
    for (; i < size; i++) {
        uint8_t a = (uint8_t)text[i], b = i + 1 < size ? (uint8_t)text[i + 1] : 0;
        if (a >= 0x80 || b >= 0x80 || map->alone[a] || map->before[a][b]) break;
    }
    return i;
}

hone_status hone_charsmap_new(hone_charsmap **out, const char *data, size_t size, const char *where)
{
    uint32_t tree = 0;
    if (size >= 4) memcpy(&tree, data, 4);
    if (size < 4 || tree > size - 4 || tree % 4 || tree == 0) return hone_fail("%s: the precompiled_charsmap of %zu bytes has no tree of %u bytes at its start", where, size, tree);
    hone_charsmap *map = hone_alloc(1, sizeof *map);
    if (!map) return HONE_FAILED;
    map->units = tree / 4;
    map->size = size - 4 - tree;
    map->unit = hone_alloc(map->units, sizeof *map->unit);
    map->text = hone_alloc(map->size + 1, 1); // and a zero behind
    if (!map->unit || !map->text) { hone_charsmap_free(map); return HONE_FAILED; }
    memcpy(map->unit, data + 4, tree);
    if (map->size) memcpy(map->text, data + 4 + tree, map->size);
    note_ascii(map);
    *out = map;
    return HONE_OK;
}

void hone_charsmap_free(hone_charsmap *map)
{
    if (!map) return;
    hone_free(map->unit);
    hone_free(map->text);
    hone_free(map);
}

// The shortest or longest string of the table that text begins with: its replacement, NULL none.
static const char *look_up(const hone_charsmap *map, bool longest, const char *text, size_t size, size_t *used)
{
    const char *found = NULL;
    size_t place = offset_of(map->unit[0]);
    for (size_t i = 0; i < size && place < map->units; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte == 0 || (place ^= byte) >= map->units) break;
        uint32_t unit = map->unit[place];
        if (label_of(unit) != byte) break;
        place ^= offset_of(unit);
        if (!(unit >> 8 & 1) || place >= map->units) continue;
        uint32_t value = map->unit[place] & 0x7fffffff;
        if (value >= map->size) continue;
        found = map->text + value;
        *used = i + 1;
        if (!longest) break;
    }
    return found;
}

static hone_status append_char(const hone_charsmap *map, const char *text, size_t size, hone_buffer *out)
{
    size_t used;
    const char *by = look_up(map, false, text, size, &used);
    return by ? hone_buffer_append(out, by, strlen(by)) : hone_buffer_append(out, text, size);
}

// Hugging Face's way: a grapheme of fewer than 6 bytes becomes the replacement of its shortest beginning in the table,
// all of it; otherwise each of its characters is replaced for itself.
static hone_status append_grapheme(const hone_charsmap *map, const char *text, size_t size, hone_buffer *out)
{
    size_t used;
    const char *by = size < 6 ? look_up(map, false, text, size, &used) : NULL;
    if (by) return hone_buffer_append(out, by, strlen(by));
    hone_status status = HONE_OK;
    for (size_t i = 0; i < size && !status;) {
        int length;
        hone_utf8_next(text + i, size - i, &length);
        status = append_char(map, text + i, (size_t)length, out);
        i += (size_t)length;
    }
    return status;
}

static size_t grapheme_size(const char *text, size_t size)
{
    utf8proc_int32_t state = 0;
    int length;
    int32_t code = hone_utf8_next(text, size, &length);
    size_t i = (size_t)length;
    while (i < size) {
        int32_t next = hone_utf8_next(text + i, size - i, &length);
        if (utf8proc_grapheme_break_stateful(code, next, &state)) break;
        code = next;
        i += (size_t)length;
    }
    return i;
}

hone_status hone_charsmap_apply(const hone_charsmap *map, bool longest, const char *text, size_t size, hone_buffer *out)
{
    hone_status status = HONE_OK;
    for (size_t i = 0, used; i < size && !status; i += used) {
        if ((used = plain_size(map, text + i, size - i))) {
            status = hone_buffer_append(out, text + i, used);
            continue;
        }
        if (!longest) {
            used = grapheme_size(text + i, size - i);
            status = append_grapheme(map, text + i, used, out);
            continue;
        }
        const char *by = look_up(map, true, text + i, size - i, &used);
        if (by) { status = hone_buffer_append(out, by, strlen(by)); continue; }
        int length;
        hone_utf8_next(text + i, size - i, &length);
        used = (size_t)length;
        status = hone_buffer_append(out, text + i, used);
    }
    return status;
}
