// lock.h: a folder that one process at a time may change.
//
// flock(2) on FOLDER/.lock: the kernel lets go when the process ends, however it ends, so a dead process never holds it.
// The file stays behind (to remove it would race with the next taker); what it says is only for the message.
#pragma once
#include "base/error.h"
#include <stdbool.h>

typedef struct hone_lock { int fd; bool held; } hone_lock;

// The folder exists. who: the command that takes it ("hone pretrain"). Fails where another process holds it, and says
// which. Where the file system has no locks it warns and goes on.
hone_status hone_lock_take(hone_lock *lock, const char *folder, const char *who);
// The same, but waits for whoever holds it.
hone_status hone_lock_wait(hone_lock *lock, const char *folder, const char *who);
void hone_lock_release(hone_lock *lock);   // nothing where it is not held
