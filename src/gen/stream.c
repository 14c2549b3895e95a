// stream.c: see stream.h. Stop strings are short, so they are compared directly; only bytes that were not shown yet can
// belong to one, which keeps the search short however long the text is.
#include "gen/stream.h"
#include <string.h>

// First place at or after `from` where a stop string begins, or SIZE_MAX.
static size_t find_stop(const hone_text_stream *s, size_t from)
{
    for (size_t at = from; at < s->text.size; at++)
        for (int i = 0; i < s->n_stop; i++) {
            size_t n = strlen(s->stop[i]);
            if (n <= s->text.size - at && !memcmp(s->text.data + at, s->stop[i], n)) return at;
        }
    return SIZE_MAX;
}

// Bytes at the end that begin some stop string: the longest such tail.
static size_t unsure_stop_bytes(const hone_text_stream *s)
{
    size_t most = 0;
    for (int i = 0; i < s->n_stop; i++) {
        size_t n = strlen(s->stop[i]) - 1, room = s->text.size - s->shown;
        for (size_t k = n < room ? n : room; k > most; k--)
            if (!memcmp(s->text.data + s->text.size - k, s->stop[i], k)) most = k;
    }
    return most;
}

// Bytes at the end of data that begin a UTF-8 character whose rest is missing.
static size_t cut_character_bytes(const char *data, size_t size)
{
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        unsigned char c = (unsigned char)data[size - back];
        if ((c & 0xc0) == 0x80) continue;           // continuation: look further back for its head
        size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        return length > back ? back : 0;
    }
    return 0;
}

hone_status hone_text_stream_add(hone_text_stream *s, const char *bytes, size_t n, const char **fresh, size_t *n_fresh)
{
    *n_fresh = 0;
    *fresh = "";
    if (s->stopped || n == 0) return HONE_OK;
    if (hone_buffer_append(&s->text, bytes, n)) return HONE_FAILED;
    size_t stop = find_stop(s, s->shown), end = s->text.size;
    if (stop != SIZE_MAX) {
        s->stopped = true;
        s->text.data[s->text.size = end = stop] = 0;
    } else {
        end -= unsure_stop_bytes(s);
        end -= cut_character_bytes(s->text.data + s->shown, end - s->shown);
    }
    *fresh = s->text.data + s->shown;
    *n_fresh = end - s->shown;
    s->shown = end;
    return HONE_OK;
}

void hone_text_stream_finish(hone_text_stream *s, const char **fresh, size_t *n_fresh)
{
    *fresh = s->text.data ? s->text.data + s->shown : "";
    *n_fresh = s->text.size - s->shown;
    s->shown = s->text.size;
}

void hone_text_stream_release(hone_text_stream *s) { hone_buffer_release(&s->text); }
