// scratch.c: see scratch.h. Each direction is a queue served by one thread in order, so that a ticket is a number and "done"
// is a comparison:
//
//     ticket = 2 number + direction          done[direction] = the last number that ended
#include "base/scratch.h"
#include "base/fault.h"
#include "base/memory.h"
#include "base/thread.h"
#include "base/units.h"
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

enum { READ, WRITE, DIRECTIONS, MOST_WAITING = 64, STACK_BYTES = 256 << 10, CACHED_BYTES = 8 << 20 };
enum { IN_MEMORY_TMPFS = 0x01021994 };

typedef struct { int64_t offset, after; uint8_t *data; size_t size; } move;

typedef struct {
    hone_scratch *scratch;
    int way;
    move move[MOST_WAITING];         // number n at n % MOST_WAITING
    int64_t begun, done;             // numbers of moves
    pthread_t thread; bool running;
} lane;

struct hone_scratch {
    char *path;                      // for messages
    int fd, plain;                   // for moves; through the page cache
    bool direct;
    lane lane[DIRECTIONS];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool quit, failed;
    char message[512];
};

size_t hone_scratch_memory_bytes(void) { return sizeof(hone_scratch) + DIRECTIONS * (32 << 10); }   // a thread touches little of its stack

// --- bytes ---------------------------------------------------------------------------------------------------------------

static hone_status fail_at(const hone_scratch *s, const char *what, int64_t offset, int error)
{
    return hone_fail("%s: the offload file cannot be %s at byte %" PRId64 ": %s; its disk may be failing: name another folder with `offload`, then the same"
                     " command goes on from the last checkpoint", s->path, what, offset, error ? strerror(error) : "it ends there");
}

static hone_status transfer(hone_scratch *s, int fd, int way, int64_t offset, uint8_t *data, size_t size)
{
    const char *what = way == WRITE ? "written" : "read";
    size_t done = 0;
    if (hone_fault(way == WRITE ? HONE_CALL_WRITE : HONE_CALL_READ, s->path, NULL, data, size)) return fail_at(s, what, offset, errno);
    while (done < size) {
        const off_t at = (off_t)(offset + (int64_t)done);
        ssize_t n = way == WRITE ? pwrite(fd, data + done, size - done, at) : pread(fd, data + done, size - done, at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return fail_at(s, what, offset + (int64_t)done, n < 0 ? errno : 0);
        done += (size_t)n;
    }
    return HONE_OK;
}

// Out of the page cache again; a written page must be on the disk before it can go.
static void let_go(int fd, int way, int64_t offset, size_t size)
{
    if (way == WRITE) sync_file_range(fd, offset, (off_t)size, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    posix_fadvise(fd, offset, (off_t)size, POSIX_FADV_DONTNEED);
}

static hone_status transfer_cached(hone_scratch *s, int way, int64_t offset, uint8_t *data, size_t size)
{
    hone_status status = HONE_OK;
    for (size_t done = 0; done < size && !status; done += CACHED_BYTES) {
        size_t n = size - done < CACHED_BYTES ? size - done : CACHED_BYTES;
        status = transfer(s, s->plain, way, offset + (int64_t)done, data + done, n);
        let_go(s->plain, way, offset + (int64_t)done, n);
    }
    return status;
}

hone_status hone_scratch_read(hone_scratch *s, int64_t offset, void *data, size_t size) { return transfer_cached(s, READ, offset, data, size); }

hone_status hone_scratch_write(hone_scratch *s, int64_t offset, const void *data, size_t size)
{
    return transfer_cached(s, WRITE, offset, (uint8_t *)(uintptr_t)data, size);
}

// --- moves ---------------------------------------------------------------------------------------------------------------

static void do_move(hone_scratch *s, int way, const move *m)
{
    pthread_mutex_lock(&s->lock);
    while (m->after && s->lane[WRITE].done < m->after >> 1) pthread_cond_wait(&s->changed, &s->lock);
    bool dead = s->failed;
    pthread_mutex_unlock(&s->lock);
    if (dead) return;
    hone_status status = s->direct ? transfer(s, s->fd, way, m->offset, m->data, m->size) : transfer_cached(s, way, m->offset, m->data, m->size);
    if (!status) return;
    pthread_mutex_lock(&s->lock);
    if (!s->failed) snprintf(s->message, sizeof s->message, "%s", hone_error());
    s->failed = true;
    pthread_mutex_unlock(&s->lock);
}

static void *serve(void *lane_pointer)
{
    lane *l = lane_pointer;
    hone_scratch *s = l->scratch;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (l->done == l->begun && !s->quit) pthread_cond_wait(&s->changed, &s->lock);
        bool quit = l->done == l->begun;
        move next = l->move[(l->done + 1) % MOST_WAITING];
        pthread_mutex_unlock(&s->lock);
        if (quit) return NULL;
        do_move(s, l->way, &next);
        pthread_mutex_lock(&s->lock);
        l->done++;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
    }
}

static int64_t begin(hone_scratch *s, int way, move m)
{
    lane *l = &s->lane[way];
    HONE_ASSERT(m.offset % HONE_SCRATCH_ALIGN == 0 && m.size % HONE_SCRATCH_ALIGN == 0 && (uintptr_t)m.data % HONE_SCRATCH_ALIGN == 0,
                "a move of %zu bytes at %lld from %p", m.size, (long long)m.offset, (void *)m.data);
    pthread_mutex_lock(&s->lock);
    while (l->begun - l->done == MOST_WAITING) pthread_cond_wait(&s->changed, &s->lock);
    l->move[++l->begun % MOST_WAITING] = m;
    int64_t ticket = l->begun << 1 | way;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return ticket;
}

int64_t hone_scratch_begin_read(hone_scratch *s, int64_t offset, void *data, size_t size, int64_t after)
{
    return begin(s, READ, (move){ .offset = offset, .after = after, .data = data, .size = size });
}

int64_t hone_scratch_begin_write(hone_scratch *s, int64_t offset, void *data, size_t size)
{
    return begin(s, WRITE, (move){ .offset = offset, .data = data, .size = size });
}

void hone_scratch_wait(hone_scratch *s, int64_t ticket)
{
    lane *l = &s->lane[ticket & 1];
    pthread_mutex_lock(&s->lock);
    while (l->done < ticket >> 1) pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

hone_status hone_scratch_check(hone_scratch *s)
{
    pthread_mutex_lock(&s->lock);
    bool failed = s->failed;
    pthread_mutex_unlock(&s->lock);
    return failed ? hone_fail("%s", s->message) : HONE_OK;
}

// --- opening -------------------------------------------------------------------------------------------------------------

// A file without a name, open twice: for moves and through the page cache.
static hone_status create(hone_scratch *s)
{
    if (hone_fault(HONE_CALL_CREATE, s->path, NULL, NULL, 0)) return hone_fail("%s: the offload file cannot be made: %s", s->path, strerror(errno));
    s->plain = open(s->path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (s->plain < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {   // a file system without nameless files
        char *name = hone_format("%s/.hone-offload-XXXXXX", s->path);
        if (!name) return HONE_FAILED;
        s->plain = mkostemp(name, O_CLOEXEC);
        if (s->plain >= 0) unlink(name);
        hone_free(name);
    }
    if (s->plain < 0)
        return hone_fail("%s: the offload file cannot be made: %s; `offload` names a folder that is there and may be written", s->path, strerror(errno));
    char again[32];
    snprintf(again, sizeof again, "/proc/self/fd/%d", s->plain);
    s->fd = open(again, O_RDWR | O_CLOEXEC | O_DIRECT);
    s->direct = s->fd >= 0;
    return HONE_OK;
}

static hone_status reserve(hone_scratch *s, int64_t size_bytes)
{
    struct statfs about;
    if (fstatfs(s->plain, &about)) return hone_fail("%s: cannot look at its file system: %s", s->path, strerror(errno));
    if (about.f_type == IN_MEMORY_TMPFS)
        return hone_fail("%s: its files lie in memory (tmpfs), so that offloading there frees none; name a folder on a disk with `offload`", s->path);
    const double free_bytes = (double)about.f_bavail * (double)about.f_bsize;
    int error = (double)size_bytes > free_bytes ? ENOSPC : size_bytes ? posix_fallocate(s->plain, 0, (off_t)size_bytes) : 0;
    if (error == ENOSPC)
        return hone_fail("%s: offloading takes %s there, %s are free; free some space, name another folder with `offload`, or give more `memory`", s->path,
                         hone_units_bytes((double)size_bytes).s, hone_units_bytes(free_bytes).s);
    return error ? hone_fail("%s: cannot reserve %s for the offload file: %s", s->path, hone_units_bytes((double)size_bytes).s, strerror(error)) : HONE_OK;
}

static hone_status start(hone_scratch *s, int way)
{
    lane *l = &s->lane[way];
    l->scratch = s;
    l->way = way;
    hone_status status = hone_thread_start(&l->thread, STACK_BYTES, serve, l, "moves what is offloaded");
    l->running = !status;
    return status;
}

hone_status hone_scratch_open(hone_scratch **scratch, const char *folder, int64_t size_bytes)
{
    hone_scratch *s = *scratch = hone_alloc(1, sizeof *s);
    if (!s) return HONE_FAILED;
    s->fd = s->plain = -1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    hone_status status = (s->path = hone_strdup(folder)) ? create(s) : HONE_FAILED;
    if (!status) status = reserve(s, size_bytes);
    for (int way = 0; way < DIRECTIONS && !status; way++) status = start(s, way);
    if (status) {
        hone_scratch_close(s);
        *scratch = NULL;
    }
    return status;
}

void hone_scratch_close(hone_scratch *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->quit = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    for (int way = 0; way < DIRECTIONS; way++)
        if (s->lane[way].running) pthread_join(s->lane[way].thread, NULL);
    if (s->fd >= 0) close(s->fd);
    if (s->plain >= 0) close(s->plain);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    hone_free(s->path);
    hone_free(s);
}
