// pieces.h: one input as several: a piece ends at a zero byte, the last takes the rest. And a folder in memory, for what is read
// by name.
#pragma once
#include "fuzz/fuzz.h"
#include "base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

typedef struct { const uint8_t *data; size_t size; } fuzz_piece;

// The bytes up to the first zero, taken off *rest; all of them where `last`.
static inline fuzz_piece fuzz_take(fuzz_piece *rest, bool last)
{
    const uint8_t *cut = last || !rest->size ? NULL : memchr(rest->data, 0, rest->size);
    fuzz_piece piece = { rest->data, cut ? (size_t)(cut - rest->data) : rest->size };
    size_t used = piece.size + (cut ? 1 : 0);
    *rest = (fuzz_piece){ rest->data + used, rest->size - used };
    return piece;
}

// A piece as a text of its own, so that a read behind it is seen. free() it.
static inline char *fuzz_text(fuzz_piece piece)
{
    char *text = malloc(piece.size + 1);
    FUZZ_HOLDS(text);
    if (piece.size) memcpy(text, piece.data, piece.size);
    text[piece.size] = '\0';
    return text;
}

static char fuzz_folder_path[64];

static inline void fuzz_folder_remove(void) { hone_dir_remove(fuzz_folder_path); }

static inline const char *fuzz_folder(void)
{
    if (!*fuzz_folder_path) {
        snprintf(fuzz_folder_path, sizeof fuzz_folder_path, "%s/hone-fuzz-%d", hone_dir_exists("/dev/shm") ? "/dev/shm" : "/tmp", (int)getpid());
        FUZZ_HOLDS(hone_dir_create(fuzz_folder_path) == HONE_OK && atexit(fuzz_folder_remove) == 0);
    }
    return fuzz_folder_path;
}

static inline void fuzz_file(const char *name, const void *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    FUZZ_HOLDS(fd >= 0 && (size == 0 || write(fd, data, size) == (ssize_t)size));
    close(fd);
}
