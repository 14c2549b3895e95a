// source.h: the bytes of a file, decompressed where its name ends in .gz or .zst, as a stream of bounded memory.
#pragma once
#include "base/file.h"

typedef struct hone_source {
    char *path;
    hone_map map;               // of the file as it lies on disk
    size_t place;               // bytes of it used so far
    void *gzip, *zstd;          // decoder states, NULL where not needed
    bool whole;                 // the compressed stream stands at a frame's end
    size_t undropped;
} hone_source;

hone_status hone_source_open(hone_source *source, const char *path);
void hone_source_close(hone_source *source);
// Reads up to `size` bytes; *got 0 means the end. A compressed file that ends within its stream is an error.
hone_status hone_source_read(hone_source *source, void *data, size_t size, size_t *got);
