// file.c: reading and mapping, and writing so that a file or folder appears whole or not at all:
//
//     path.tmp: create, write ..., fsync   ->   rename to path   ->   fsync the folder (the name itself is data)
//
// A rename before the fsync could survive a power cut that the bytes did not. Every call that changes the disk asks
// fault.h first. Interrupted and short calls are continued; everything else fails with path, reason and remedy.
#include "base/file.h"
#include "base/fault.h"
#include "base/memory.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_STATIC_LINKING_ONLY // the state's size, to hold it in our own memory
#include <xxhash.h>
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h> // the same functions by AVX2 or AVX-512 where the chip has it
// They choose at the first call, which must not be made by two threads at once: it is made before main.
__attribute__((constructor)) static void choose_hash(void)
{
    static const char text[512]; // short ones go without a choice
    XXH3_64bits(text, sizeof text);
}
#endif

// Direct writes are multiples of DIRECT_BYTES, from an address that is one; what is hashed while it is copied is a SLICE.
enum { DIRECT_BYTES = 4096, SLICE_BYTES = 32 << 10 };

static const char *remedy(int error)
{
    switch (error) {
    case ENOENT: return "; check the path";
    case EACCES: case EPERM: return "; check its permissions (ls -l) or choose another place";
    case EROFS: return "; choose a place that can be written";
    case ENOSPC: case EDQUOT: return "; free some space there or choose another place";
    case EMFILE: case ENFILE: return "; raise the limit of open files (ulimit -n)";
    case EISDIR: return "; give a file";
    case ENOTDIR: return "; a part of the path is a file";
    case ENOTEMPTY: case EEXIST: return "; remove it or choose another name";
    case EIO: return "; the disk may be failing";
    default: return "";
    }
}

static hone_status fail(const char *path, const char *what, int error)
{
    return hone_fail("%s: cannot %s: %s%s", path, what, strerror(error), remedy(error));
}

// hash_state is our memory with room to align: XXH3 wants its state at a multiple of 64.
static XXH3_state_t *hash_of(void *hash_state)
{
    return (XXH3_state_t *)(((uintptr_t)hash_state + 63) & ~(uintptr_t)63);
}

// Reading -----------------------------------------------------------------------------------------------------------

static int open_to_read(const char *path)
{
    int fd;
    if (hone_fault(HONE_CALL_READ, path, NULL, NULL, 0)) return -1;
    do fd = open(path, O_RDONLY | O_CLOEXEC); while (fd < 0 && errno == EINTR);
    return fd;
}

// Reads up to `size` bytes; less only at the end of the file. -1: errno.
static ssize_t read_full(int fd, void *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = read(fd, (char *)data + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

hone_status hone_file_read(const char *path, char **data, size_t *size)
{
    *data = NULL;
    *size = 0;
    int fd = open_to_read(path);
    if (fd < 0) return fail(path, "open", errno);
    struct stat about;
    hone_status status = HONE_OK;
    char *text = NULL;
    size_t used = 0, capacity = 0;
    if (fstat(fd, &about)) { status = fail(path, "look at", errno); goto out; }
    if (S_ISDIR(about.st_mode)) { status = fail(path, "read", EISDIR); goto out; }
    capacity = (size_t)about.st_size + 2; // one byte more than the file, to see its end; a pipe has size 0 and grows
    for (;;) {
        char *grown = hone_realloc(text, capacity, 1);
        if (!grown) { status = HONE_FAILED; hone_fail_context("%s", path); goto out; }
        text = grown;
        ssize_t n = read_full(fd, text + used, capacity - 1 - used);
        if (n < 0) { status = fail(path, "read", errno); goto out; }
        used += (size_t)n;
        if (used < capacity - 1) break;
        capacity *= 2;
    }
    text[used] = 0;
    *data = text;
    *size = used;
    text = NULL;
out:
    hone_free(text);
    close(fd);
    return status;
}

bool hone_file_exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && !S_ISDIR(about.st_mode);
}

bool hone_dir_exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

char *hone_path_join(const char *folder, const char *name)
{
    size_t n = strlen(folder);
    if (n == 0 || name[0] == '/') return hone_strdup(name);
    return hone_format(folder[n - 1] == '/' ? "%s%s" : "%s/%s", folder, name);
}

hone_status hone_map_open(hone_map *map, const char *path)
{
    *map = (hone_map){ 0 };
    int fd = open_to_read(path);
    if (fd < 0) return fail(path, "open", errno);
    struct stat about;
    hone_status status = HONE_OK;
    if (fstat(fd, &about)) status = fail(path, "look at", errno);
    else if (S_ISDIR(about.st_mode)) status = fail(path, "map", EISDIR);
    else if (about.st_size > 0) {
        void *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) status = fail(path, "map", errno);
        else *map = (hone_map){ data, (size_t)about.st_size };
    }
    close(fd);
    return status;
}

void hone_map_drop(const hone_map *map)
{
    if (map->size) madvise((void *)(uintptr_t)map->data, map->size, MADV_DONTNEED);
}

void hone_map_close(hone_map *map)
{
    if (map->size) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (hone_map){ 0 };
}

// The reader --------------------------------------------------------------------------------------------------------

static int64_t time_of(const struct stat *about) { return (int64_t)about->st_mtim.tv_sec * 1000000000 + about->st_mtim.tv_nsec; }

hone_status hone_file_about(const char *path, bool *folder, int64_t *size_bytes, int64_t *time_ns)
{
    struct stat about;
    if (stat(path, &about)) return errno == ENOENT ? hone_fail("%s: no such file", path) : fail(path, "look at", errno);
    *folder = S_ISDIR(about.st_mode);
    *size_bytes = S_ISREG(about.st_mode) ? (int64_t)about.st_size : 0;
    *time_ns = time_of(&about);
    return HONE_OK;
}

hone_status hone_reader_open(hone_reader *reader, const char *path)
{
    bool standard = strcmp(path, "-") == 0;
    struct stat about;
    *reader = (hone_reader){ .fd = standard ? STDIN_FILENO : open_to_read(path) };
    if (reader->fd < 0) return errno == ENOENT ? hone_fail("%s: no such file; it vanished, or the path is wrong", path) : fail(path, "open", errno);
    reader->path = hone_strdup(standard ? "standard input" : path);
    reader->hash_state = hone_alloc(1, sizeof(XXH3_state_t) + 63);
    hone_status status = reader->path && reader->hash_state ? HONE_OK : HONE_FAILED;
    if (!status && fstat(reader->fd, &about)) status = fail(path, "look at", errno);
    else if (!status && S_ISDIR(about.st_mode)) status = fail(path, "read", EISDIR);
    if (status) {
        hone_reader_close(reader);
        return status;
    }
    XXH3_64bits_reset(hash_of(reader->hash_state));
    reader->regular = !standard && S_ISREG(about.st_mode);
    reader->size_bytes = reader->regular ? (int64_t)about.st_size : 0;
    reader->time_ns = time_of(&about);
    return HONE_OK;
}

// At the end of a file: is it still what was opened?
static hone_status check_unchanged(const hone_reader *reader)
{
    struct stat about;
    if (!reader->regular) return HONE_OK;
    if (fstat(reader->fd, &about)) return fail(reader->path, "look at", errno);
    if (reader->read_bytes == reader->size_bytes && (int64_t)about.st_size == reader->size_bytes && time_of(&about) == reader->time_ns) return HONE_OK;
    return hone_fail("%s: it changed while it was read (%lld bytes at first, %lld read); wait until it is written whole, then begin again",
                     reader->path, (long long)reader->size_bytes, (long long)reader->read_bytes);
}

hone_status hone_reader_read(hone_reader *reader, void *data, size_t size, size_t *got)
{
    *got = 0;
    ssize_t n = hone_fault(HONE_CALL_READ, reader->path, NULL, NULL, size) ? -1 : read_full(reader->fd, data, size);
    if (n < 0) return fail(reader->path, "read", errno);
    *got = (size_t)n;
    reader->read_bytes += n;
    XXH3_64bits_update(hash_of(reader->hash_state), data, (size_t)n);
    if ((size_t)n == size) return HONE_OK;
    reader->hash = XXH3_64bits_digest(hash_of(reader->hash_state));
    return check_unchanged(reader);
}

hone_status hone_reader_read_at(const hone_reader *reader, int64_t offset, void *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = hone_fault(HONE_CALL_READ, reader->path, NULL, NULL, size) ? -1 : pread(reader->fd, (char *)data + done, size - done, (off_t)(offset + (int64_t)done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(reader->path, "read", errno);
        if (n == 0) return hone_fail("%s: it ends at byte %lld, where more was when it was opened; it was cut short while in use", reader->path, (long long)offset + (long long)done);
        done += (size_t)n;
    }
    return HONE_OK;
}

void hone_reader_close(hone_reader *reader)
{
    if (reader->fd > STDIN_FILENO) close(reader->fd);
    hone_free(reader->path);
    hone_free(reader->hash_state);
    *reader = (hone_reader){ .fd = -1 };
}

// Steps of writing, each of which may be failed or recorded -----------------------------------------------------------

static int create(const char *path, int flags)
{
    int fd;
    if (hone_fault(HONE_CALL_CREATE, path, NULL, NULL, 0)) return -1;
    do fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0666); while (fd < 0 && errno == EINTR);
    return fd;
}

// Past the page cache, or through it again. true: it is so now.
static bool set_direct(int fd, bool direct)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

static int write_full(int fd, const char *path, const void *data, size_t size)
{
    if (hone_fault(HONE_CALL_WRITE, path, NULL, data, size)) return -1;
    size_t done = 0;
    while (done < size) {
        ssize_t n = write(fd, (const char *)data + done, size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        done += (size_t)n;
    }
    return 0;
}

static int sync_fd(int fd, const char *path)
{
    if (hone_fault(HONE_CALL_FSYNC, path, NULL, NULL, 0)) return -1;
    int result;
    do result = fsync(fd); while (result < 0 && errno == EINTR);
    return result;
}

static hone_status sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(path, "open the folder", errno);
    // Some file systems have no fsync for folders and say EINVAL: then there is nothing to wait for.
    hone_status status = sync_fd(fd, path) && errno != EINVAL ? fail(path, "flush the folder", errno) : HONE_OK;
    close(fd);
    return status;
}

static hone_status sync_parent(const char *path)
{
    char *parent = hone_strdup(path);
    if (!parent) return HONE_FAILED;
    size_t n = strlen(parent);
    while (n > 1 && parent[n - 1] == '/') parent[--n] = 0;
    char *slash = strrchr(parent, '/');
    if (slash == parent) slash[1] = 0;
    else if (slash) *slash = 0;
    hone_status status = sync_folder(slash ? parent : ".");
    hone_free(parent);
    return status;
}

static hone_status rename_to(const char *from, const char *to)
{
    if (hone_fault(HONE_CALL_RENAME, from, to, NULL, 0) || rename(from, to)) {
        int error = errno;
        return hone_fail("%s: cannot rename to %s: %s%s", from, to, strerror(error), remedy(error));
    }
    return HONE_OK;
}

// The writer --------------------------------------------------------------------------------------------------------


static void writer_release(hone_writer *writer)
{
    hone_free(writer->path);
    hone_free(writer->temporary);
    hone_free(writer->hash_state);
    writer->path = writer->temporary = NULL;
    writer->hash_state = NULL;
    writer->fd = -1;
}

hone_status hone_writer_open(hone_writer *writer, const char *path)
{
    *writer = (hone_writer){ .fd = -1, .failed = true };
    writer->path = hone_strdup(path);
    writer->temporary = hone_format("%s.tmp", path);
    writer->hash_state = hone_alloc(1, sizeof(XXH3_state_t) + 63);
    if (!writer->path || !writer->temporary || !writer->hash_state) goto fail;
    XXH3_64bits_reset(hash_of(writer->hash_state));
    if (hone_dir_exists(path)) {
        hone_fail("%s: is a folder; give the name of a file", path);
        goto fail;
    }
    writer->fd = create(writer->temporary, O_TRUNC);
    if (writer->fd < 0) {
        fail(writer->temporary, "create", errno);
        goto fail;
    }
    writer->failed = false;
    return HONE_OK;
fail:
    writer_release(writer);
    return HONE_FAILED;
}

hone_status hone_writer_open_direct(hone_writer *writer, const char *path, void *buffer, size_t buffer_bytes, const atomic_bool *hurry)
{
    hone_status status = hone_writer_open(writer, path);
    if (status) return status;
    writer->buffer = buffer;
    writer->buffer_bytes = buffer_bytes;
    writer->hurry = hurry;
    writer->direct = set_direct(writer->fd, true);   // not on every file system
    return HONE_OK;
}

static hone_status write_through(hone_writer *writer, const void *data, size_t size)
{
    if (writer->direct && (atomic_load(writer->hurry) || size % DIRECT_BYTES)) writer->direct = !set_direct(writer->fd, false);
    int result = write_full(writer->fd, writer->temporary, data, size);
    if (result && writer->direct && errno == EINVAL) {   // it wants another alignment
        writer->direct = !set_direct(writer->fd, false);
        if (lseek(writer->fd, (off_t)writer->on_disk_bytes, SEEK_SET) >= 0) result = write_full(writer->fd, writer->temporary, data, size);
    }
    if (result) {
        writer->failed = true;
        return fail(writer->temporary, "write", errno);
    }
    writer->on_disk_bytes += (int64_t)size;
    return HONE_OK;
}

hone_status hone_writer_flush(hone_writer *writer)
{
    if (writer->failed) return HONE_FAILED;
    size_t size = writer->buffered;
    writer->buffered = 0;
    return size ? write_through(writer, writer->buffer, size) : HONE_OK;
}

// Copied and hashed slice by slice, while a slice is in the nearest cache: a save takes its time from the training beside it.
hone_status hone_writer_write(hone_writer *writer, const void *data, size_t size)
{
    if (writer->failed) return HONE_FAILED; // the first message stands
    const uint8_t *from = data;
    writer->written_bytes += (int64_t)size;
    while (size > 0 && (writer->direct || writer->buffered)) {   // behind the last direct piece the buffer runs empty
        size_t room = writer->buffer_bytes - writer->buffered, n = size < room ? size : room;
        if (n > SLICE_BYTES) n = SLICE_BYTES;
        memcpy(writer->buffer + writer->buffered, from, n);
        XXH3_64bits_update(hash_of(writer->hash_state), writer->buffer + writer->buffered, n);
        writer->buffered += n;
        from += n;
        size -= n;
        if (writer->buffered == writer->buffer_bytes && hone_writer_flush(writer)) return HONE_FAILED;
    }
    if (!size) return HONE_OK;
    XXH3_64bits_update(hash_of(writer->hash_state), from, size);
    return write_through(writer, from, size);
}

hone_status hone_writer_commit(hone_writer *writer)
{
    if (hone_writer_flush(writer)) goto fail;
    if (sync_fd(writer->fd, writer->temporary)) {
        fail(writer->temporary, "flush", errno);
        goto fail;
    }
    int closed = close(writer->fd);
    writer->fd = -1;
    if (closed) {
        fail(writer->temporary, "close", errno);
        goto fail;
    }
    if (rename_to(writer->temporary, writer->path)) goto fail;
    writer->hash = XXH3_64bits_digest(hash_of(writer->hash_state));
    hone_status status = sync_parent(writer->path);
    writer_release(writer);
    return status;
fail:
    hone_writer_abort(writer);
    return HONE_FAILED;
}

void hone_writer_abort(hone_writer *writer)
{
    if (writer->fd >= 0) close(writer->fd);
    if (writer->temporary && !hone_fault(HONE_CALL_REMOVE, writer->temporary, NULL, NULL, 0)) unlink(writer->temporary);
    writer_release(writer);
    writer->failed = true;
}

hone_status hone_file_write(const char *path, const void *data, size_t size)
{
    hone_writer writer;
    hone_status status = hone_writer_open(&writer, path);
    if (status) return status;
    hone_writer_write(&writer, data, size); // commit reports its failure
    return hone_writer_commit(&writer);
}

hone_status hone_file_append(const char *path, const void *data, size_t size)
{
    int fd = create(path, O_APPEND);
    if (fd < 0) return fail(path, "open to append", errno);
    struct stat before;
    hone_status status = fstat(fd, &before) ? fail(path, "look at", errno) : HONE_OK;
    if (!status && write_full(fd, path, data, size)) {
        status = fail(path, "append", errno);
        if (ftruncate(fd, before.st_size)) hone_fail_context("a part of a row stays behind");
    }
    if (close(fd) && !status) status = fail(path, "append", errno);
    return status;
}

hone_status hone_file_publish(const char *temporary, const char *final_path)
{
    hone_status status = rename_to(temporary, final_path);
    return status ? status : sync_parent(final_path);
}

// Folders -----------------------------------------------------------------------------------------------------------

hone_status hone_dir_create(const char *path)
{
    char *part = hone_strdup(path);
    if (!part) return HONE_FAILED;
    hone_status status = HONE_OK;
    size_t n = strlen(part);
    if (n == 0) status = hone_fail("a folder without a name cannot be made");
    for (size_t i = 1; !status && i <= n; i++) { // each prefix that ends before a slash, then the whole
        if (part[i] != '/' && part[i] != 0) continue;
        char kept = part[i];
        part[i] = 0;
        if (!hone_dir_exists(part)) {
            if (hone_fault(HONE_CALL_MKDIR, part, NULL, NULL, 0) || (mkdir(part, 0777) && errno != EEXIST))
                status = fail(part, "make the folder", errno);
            else if (!hone_dir_exists(part)) status = hone_fail("%s: is not a folder; remove it or choose another name", part);
            else status = sync_parent(part);
        }
        part[i] = kept;
    }
    hone_free(part);
    return status;
}

hone_status hone_dir_publish(const char *temporary, const char *final_path)
{
    hone_status status = sync_folder(temporary);
    if (!status) status = rename_to(temporary, final_path);
    if (!status) status = sync_parent(final_path);
    return status;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

hone_status hone_dir_list(const char *path, char ***names, int64_t *count)
{
    *names = NULL;
    *count = 0;
    DIR *dir = hone_fault(HONE_CALL_READ, path, NULL, NULL, 0) ? NULL : opendir(path);
    if (!dir) return fail(path, "list the folder", errno);
    hone_status status = HONE_OK;
    char **list = NULL;
    int64_t n = 0, capacity = 0;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno) status = fail(path, "list the folder", errno);
            break;
        }
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if ((status = hone_grow(&list, n, &capacity, sizeof *list))) break;
        if (!(list[n] = hone_strdup(entry->d_name))) { status = HONE_FAILED; break; }
        n++;
    }
    closedir(dir);
    if (status) {
        for (int64_t i = 0; i < n; i++) hone_free(list[i]);
        hone_free(list);
        return status;
    }
    if (n) qsort(list, (size_t)n, sizeof *list, by_name);
    *names = list;
    *count = n;
    return HONE_OK;
}

hone_status hone_dir_remove(const char *path)
{
    struct stat about;
    if (lstat(path, &about)) return errno == ENOENT ? HONE_OK : fail(path, "look at", errno);
    bool folder = S_ISDIR(about.st_mode); // a link to a folder is a link: what it points to stays
    hone_status status = HONE_OK;
    if (folder) {
        char **names;
        int64_t count;
        if ((status = hone_dir_list(path, &names, &count))) return status;
        for (int64_t i = 0; i < count; i++) {
            char *inner = status ? NULL : hone_path_join(path, names[i]);
            if (!status) status = inner ? hone_dir_remove(inner) : HONE_FAILED;
            hone_free(inner);
            hone_free(names[i]);
        }
        hone_free(names);
    }
    if (!status && (hone_fault(HONE_CALL_REMOVE, path, NULL, NULL, 0) || (folder ? rmdir(path) : unlink(path))))
        status = fail(path, "remove", errno);
    return status;
}

// Hashes ------------------------------------------------------------------------------------------------------------

uint64_t hone_hash64(const void *data, size_t size) { return XXH3_64bits(data, size); }

struct hone_hash_stream { uint8_t state[sizeof(XXH3_state_t) + 63]; };

hone_status hone_hash_open(hone_hash_stream **hash)
{
    if (!(*hash = hone_alloc(1, sizeof **hash))) return HONE_FAILED;
    XXH3_64bits_reset(hash_of(*hash));
    return HONE_OK;
}

void hone_hash_add(hone_hash_stream *hash, const void *data, size_t size) { XXH3_64bits_update(hash_of(hash), data, size); }

uint64_t hone_hash_close(hone_hash_stream *hash)
{
    const uint64_t value = XXH3_64bits_digest(hash_of(hash));
    hone_free(hash);
    return value;
}

hone_status hone_file_hash(const char *path, uint64_t *hash)
{
    hone_map map;
    hone_status status = hone_map_open(&map, path);
    if (status) return status;
    XXH3_state_t *state; // in pieces, dropped behind us: hashing a big file must not fill this process' memory
    void *memory = hone_alloc(1, sizeof *state + 63);
    if (!memory) { hone_map_close(&map); return HONE_FAILED; }
    state = (XXH3_state_t *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    XXH3_64bits_reset(state);
    const size_t piece = 1 << 20;
    for (size_t at = 0; at < map.size; at += piece) {
        size_t size = map.size - at < piece ? map.size - at : piece;
        XXH3_64bits_update(state, map.data + at, size);
        madvise((void *)(uintptr_t)(map.data + at), size, MADV_DONTNEED);
    }
    *hash = XXH3_64bits_digest(state);
    hone_free(memory);
    hone_map_close(&map);
    return HONE_OK;
}
