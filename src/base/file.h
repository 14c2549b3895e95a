// file.h: every byte that hone reads from or writes to disk passes here, so that durability is decided once and tests
// can fail or record each call. A file becomes visible only whole: written beside its place, fsynced, renamed.
#pragma once
#include "base/error.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

hone_status hone_file_read(const char *path, char **data, size_t *size); // whole; NUL behind it; hone_free() it
bool hone_file_exists(const char *path);
bool hone_dir_exists(const char *path);
char *hone_path_join(const char *folder, const char *name);               // hone_free() it

// A read-only mapping of a whole file. An empty file maps to data NULL, size 0.
typedef struct { const uint8_t *data; size_t size; } hone_map;
hone_status hone_map_open(hone_map *map, const char *path);
void hone_map_drop(const hone_map *map);      // lets resident pages go (they stay in the page cache): bounds our RSS
void hone_map_close(hone_map *map);

// A file read as a stream, or standard input (path "-"). At its end it must be as long and as old as when it was opened: a
// file that changes under its reader is an error, never half a text. It is read, not mapped: a file cut short under a
// mapping would end the process.
typedef struct { int fd; char *path; bool regular; int64_t size_bytes, time_ns, read_bytes; uint64_t hash; void *hash_state; } hone_reader;
hone_status hone_reader_open(hone_reader *reader, const char *path);
hone_status hone_reader_read(hone_reader *reader, void *data, size_t size, size_t *got); // *got < size: the end; .hash is XXH3-64 of it all
hone_status hone_reader_read_at(const hone_reader *reader, int64_t offset, void *data, size_t size); // all of it, whatever was read so far; any thread
void hone_reader_close(hone_reader *reader);
hone_status hone_file_about(const char *path, bool *folder, int64_t *size_bytes, int64_t *time_ns);

// Writes `path` by way of `path.tmp`. After a failed write the writer stays failed; commit then fails too and removes
// the temporary file. Call exactly one of commit and abort.
//
// With a buffer (of hone_pages_alloc, whole pages) the bytes go to the disk past the page cache (O_DIRECT) where the file
// system can: a twentieth of the CPU time, at the disk's pace. As soon as *hurry is true, the rest goes into the page
// cache instead: at memory's pace.
typedef struct {
    int fd; char *path, *temporary; int64_t written_bytes; uint64_t hash; void *hash_state; bool failed;
    int64_t on_disk_bytes; uint8_t *buffer; size_t buffer_bytes, buffered; bool direct; const atomic_bool *hurry;
} hone_writer;
hone_status hone_writer_open(hone_writer *writer, const char *path);
hone_status hone_writer_open_direct(hone_writer *writer, const char *path, void *buffer, size_t buffer_bytes, const atomic_bool *hurry);
hone_status hone_writer_flush(hone_writer *writer);    // the buffer is free again; only before commit
hone_status hone_writer_write(hone_writer *writer, const void *data, size_t size);
hone_status hone_writer_commit(hone_writer *writer);   // fsync, rename, fsync the folder; then .hash is XXH3-64 of it all
void hone_writer_abort(hone_writer *writer);
hone_status hone_file_write(const char *path, const void *data, size_t size); // the three in one
hone_status hone_file_publish(const char *temporary, const char *final_path); // a written file gets its name: rename, fsync parent
hone_status hone_file_append(const char *path, const void *data, size_t size); // O_APPEND, no fsync: logs; all or nothing

hone_status hone_dir_create(const char *path);                              // with parents; no error if it exists
hone_status hone_dir_publish(const char *temporary, const char *final_path); // fsync, rename, fsync parent
hone_status hone_dir_remove(const char *path);                              // with all in it; no error if absent
hone_status hone_dir_list(const char *path, char ***names, int64_t *count); // sorted; hone_free() each and the array

uint64_t hone_hash64(const void *data, size_t size); // XXH3-64: checksums and identities, not security
typedef struct hone_hash_stream hone_hash_stream;    // the same of data that comes in pieces
hone_status hone_hash_open(hone_hash_stream **hash);
void hone_hash_add(hone_hash_stream *hash, const void *data, size_t size);
uint64_t hone_hash_close(hone_hash_stream *hash);
hone_status hone_file_hash(const char *path, uint64_t *hash);
