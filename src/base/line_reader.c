// line_reader.c: read(2) into a buffer that keeps what is not given out yet; bytes already searched are not searched again, so a
// long line costs its length once.
#include "base/line_reader.h"
#include "base/fault.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1 << 16 };

hone_status hone_line_reader_open(hone_line_reader *lines, const char *path)
{
    *lines = (hone_line_reader){ .name = path ? path : "standard input", .fd = STDIN_FILENO };
    if (!path) return HONE_OK;
    do lines->fd = open(path, O_RDONLY | O_CLOEXEC); while (lines->fd < 0 && errno == EINTR);
    return lines->fd < 0 ? hone_fail("%s: cannot open: %s", path, strerror(errno)) : HONE_OK;
}

static hone_status read_more(hone_line_reader *lines)
{
    char piece[PIECE];
    ssize_t n;
    if (hone_fault(HONE_CALL_READ, lines->name, NULL, NULL, 0)) n = -1;
    else do n = read(lines->fd, piece, sizeof piece); while (n < 0 && errno == EINTR);
    if (n < 0) return hone_fail("%s:%lld: cannot read on: %s", lines->name, (long long)lines->number + 1, strerror(errno));
    lines->ended = n == 0;
    if (lines->used > 0) { // what was given out makes room
        lines->text.size -= lines->used;
        lines->searched -= lines->used;
        memmove(lines->text.data, lines->text.data + lines->used, lines->text.size);
        lines->used = 0;
    }
    return hone_buffer_append(&lines->text, piece, (size_t)n);
}

hone_status hone_line_reader_next(hone_line_reader *lines, char **line, size_t *size)
{
    *line = NULL;
    *size = 0;
    for (;;) {
        hone_buffer *text = &lines->text;
        char *end = text->size > lines->searched ? memchr(text->data + lines->searched, '\n', text->size - lines->searched) : NULL;
        bool last = !end && lines->ended && text->size > lines->used; // a text may end without a line end
        if (end || last) {
            char *start = text->data + lines->used;
            if (last) end = text->data + text->size; // the buffer's own NUL stands there
            *end = 0;
            *line = start;
            *size = (size_t)(end - start);
            lines->used = lines->searched = last ? text->size : (size_t)(end + 1 - text->data);
            lines->number++;
            return HONE_OK;
        }
        if (lines->ended) return HONE_OK;
        lines->searched = text->size;
        hone_status status = read_more(lines);
        if (status) return status;
    }
}

void hone_line_reader_close(hone_line_reader *lines)
{
    if (lines->fd > STDIN_FILENO) close(lines->fd);
    hone_buffer_release(&lines->text);
    lines->fd = -1;
}
