// stream.h: text that grows token by token: what may be shown of it, and where a stop string ends it.
//
//     "The end.\n\nUs" + "er:"       stop "\n\nUser:"
//      `-shown-'`-held-'  -> stopped, text "The end."
//
// Bytes are held back while they may still become part of a stop string, or while they are a character cut in half. The
// stop string itself is not part of the text.
#pragma once
#include "base/memory.h"
#include <stdbool.h>

typedef struct hone_text_stream {
    const char *const *stop; int n_stop;  // borrowed; none is empty
    hone_buffer text;                     // all of it so far
    size_t shown;                         // bytes handed out
    bool stopped;
} hone_text_stream;

// Adds the bytes of one more token. *fresh, *n_fresh: what may be shown now, borrowed until the next call.
hone_status hone_text_stream_add(hone_text_stream *stream, const char *bytes, size_t n, const char **fresh, size_t *n_fresh);
// No more tokens: what was held back.
void hone_text_stream_finish(hone_text_stream *stream, const char **fresh, size_t *n_fresh);
void hone_text_stream_release(hone_text_stream *stream);
