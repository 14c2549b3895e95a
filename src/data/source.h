// source.h: the bytes of a file or of standard input, decompressed where they are gzip, zstd or xz, as a stream of bounded
// memory. What they are is told by their first bytes; a name that ends in .gz, .zst or .xz must keep its word.
#pragma once
#include "base/file.h"

typedef struct hone_source {
    hone_reader file;           // as it lies on disk
    uint8_t *in; size_t in_size, in_used;   // compressed bytes on their way; of a plain file the first few
    bool in_ended;
    void *gzip, *zstd, *xz;     // decoder states, NULL where not needed
    bool whole;                 // the compressed stream stands at a frame's end
} hone_source;

hone_status hone_source_open(hone_source *source, const char *path);    // "-": standard input
void hone_source_close(hone_source *source);
// Reads up to `size` bytes; *got 0 means the end. A compressed file that ends within its stream is an error.
hone_status hone_source_read(hone_source *source, void *data, size_t size, size_t *got);
