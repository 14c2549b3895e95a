// lock.c: see lock.h.
#include "base/lock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/memory.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static int open_file(const char *path)
{
    int fd;
    if (hone_fault(HONE_CALL_CREATE, path, NULL, NULL, 0)) return -1;
    do fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666); while (fd < 0 && errno == EINTR);
    return fd;
}

// Who holds it, as the holder wrote it. A holder that could not write (a full disk) is nameless.
static void read_holder(int fd, char *text, size_t size)
{
    ssize_t n = pread(fd, text, size - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (!text[0]) snprintf(text, size, "another process");
}

static void write_holder(int fd, const char *who)
{
    char text[256], host[64] = "", when[32];
    time_t now = time(NULL);
    struct tm utc;
    gethostname(host, sizeof host - 1);
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &utc));
    int n = snprintf(text, sizeof text, "%s, process %ld on %s, since %s\n", who, (long)getpid(), host, when);
    if (ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)n, 0) != n) hone_error_clear(); // without a name it is as good a lock
}

// how: LOCK_NB, or 0 to wait.
static hone_status take(hone_lock *lock, const char *folder, const char *who, int how)
{
    *lock = (hone_lock){ .fd = -1 };
    char *path = hone_path_join(folder, ".lock"), holder[256];
    if (!path) return HONE_FAILED;
    hone_status status = HONE_OK;
    int fd = open_file(path), result;
    if (fd < 0) {
        status = hone_fail("%s: cannot open: %s; check the folder's permissions or choose another one", path, strerror(errno));
        goto out;
    }
    do result = flock(fd, LOCK_EX | how); while (result && errno == EINTR);
    if (result && errno == EWOULDBLOCK) {
        read_holder(fd, holder, sizeof holder);
        status = hone_fail("%s: is in use by %s; wait for it, stop it, or choose another folder", folder, holder);
        close(fd);
    } else if (result) {
        hone_warn("%s: cannot lock: %s; nothing keeps a second run out of this folder", path, strerror(errno));
        close(fd);
    } else {
        write_holder(fd, who);
        *lock = (hone_lock){ fd, true };
    }
out:
    hone_free(path);
    return status;
}

hone_status hone_lock_take(hone_lock *lock, const char *folder, const char *who) { return take(lock, folder, who, LOCK_NB); }
hone_status hone_lock_wait(hone_lock *lock, const char *folder, const char *who) { return take(lock, folder, who, 0); }

void hone_lock_release(hone_lock *lock)
{
    if (lock->held) close(lock->fd);
    *lock = (hone_lock){ .fd = -1 };
}
