// line_reader.h: a text read line by line, as it arrives: a file, or standard input for a program that talks to us by a pipe.
#pragma once
#include "base/memory.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char *name;      // for messages: the path, or "standard input"
    int fd;
    int64_t number;        // of the line last given out, from 1
    hone_buffer text;      // bytes read; text.data[used..] is not given out yet
    size_t used, searched; // text.data[used..searched) holds no line end
    bool ended;
} hone_line_reader;

hone_status hone_line_reader_open(hone_line_reader *lines, const char *path);      // NULL: standard input; the path is borrowed
// *line: the next line without its end, NUL behind it, valid until the next call; NULL behind the last one.
hone_status hone_line_reader_next(hone_line_reader *lines, char **line, size_t *size);
void hone_line_reader_close(hone_line_reader *lines);
