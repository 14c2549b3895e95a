// scratch.h: a file that holds what this process has no memory for, as long as it lives.
//
//     the process      begin(write) . . . . . . begin(read) . . . . wait(read)
//     two threads          [ pwrite ]               [ pread ]                      one writes, one reads, each in turn
//
// The file has no name (O_TMPFILE, else it is unlinked at once): whatever ends the process, nothing of it is left, and
// nobody takes it for data. Its room is reserved when it is opened, so that no write runs out of disk later; what was never
// written reads as zeros. Moves pass by the page cache (O_DIRECT): where the file system cannot, each is let go from it
// behind the move, so that a memory limit that counts the cache is kept all the same. Nothing is mapped and nothing is
// allocated once it is open.
#pragma once
#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

enum { HONE_SCRATCH_ALIGN = 4096 }; // of offsets, sizes and addresses of moves

typedef struct hone_scratch hone_scratch;

// Refused, with the figures, where the folder's disk has not so many bytes free, or where its files lie in memory (tmpfs).
hone_status hone_scratch_open(hone_scratch **scratch, const char *folder, int64_t size_bytes);
void hone_scratch_close(hone_scratch *scratch);   // waits for moves under way; NULL is fine

// Begins a move and returns its ticket (> 0); blocks only where very many are under way. data stays as it is until the move
// was waited for. A read with `after` > 0 begins when the write of that ticket has ended. Called by one thread.
int64_t hone_scratch_begin_read(hone_scratch *scratch, int64_t offset, void *data, size_t size, int64_t after);
int64_t hone_scratch_begin_write(hone_scratch *scratch, int64_t offset, void *data, size_t size);
void hone_scratch_wait(hone_scratch *scratch, int64_t ticket);
// The first move that failed says why here; it and all behind it moved nothing more. Any thread.
hone_status hone_scratch_check(hone_scratch *scratch);

// Now, of any alignment, by way of the page cache, from which it is let go. Any thread.
hone_status hone_scratch_read(hone_scratch *scratch, int64_t offset, void *data, size_t size);
hone_status hone_scratch_write(hone_scratch *scratch, int64_t offset, const void *data, size_t size);

size_t hone_scratch_memory_bytes(void);   // what an open one keeps resident, for the plan
