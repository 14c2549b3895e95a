// fault.h: the one seam through which tests fail or record hone's calls to the system. Every allocation and every call
// that changes the disk asks here first. Without a hook that is one load and a branch that is never taken.
#pragma once
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum { // a mask, so that a test may pick kinds
    HONE_CALL_ALLOC = 1, HONE_CALL_READ = 2, HONE_CALL_CREATE = 4, HONE_CALL_WRITE = 8, HONE_CALL_FSYNC = 16,
    HONE_CALL_RENAME = 32, HONE_CALL_REMOVE = 64, HONE_CALL_MKDIR = 128
} hone_call;

// Set by tests only. true: the call fails (with ENOMEM or EIO, or the errno that the hook set) and is not made. `to` is a
// rename's new name; data and size are what a write would write (size alone for an allocation). May be called from
// several threads.
extern bool (*hone_fault_hook)(hone_call call, const char *path, const char *to, const void *data, size_t size);

static inline bool hone_fault(hone_call call, const char *path, const char *to, const void *data, size_t size)
{
    if (!hone_fault_hook) return false;
    errno = 0;
    if (!hone_fault_hook(call, path, to, data, size)) return false;
    if (!errno) errno = call == HONE_CALL_ALLOC ? ENOMEM : EIO;
    return true;
}
