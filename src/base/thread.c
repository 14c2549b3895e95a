// thread.c: see thread.h.
#include "base/thread.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

hone_status hone_thread_start(pthread_t *thread, size_t stack_bytes, void *(*main)(void *), void *argument, const char *purpose)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (!error) {
        pthread_attr_setstacksize(&attributes, stack_bytes);
        error = pthread_create(thread, &attributes, main, argument);
        pthread_attr_destroy(&attributes);
    }
    return error ? hone_fail("the thread that %s cannot start: %s; raise the limit of processes (ulimit -u)", purpose, strerror(error)) : HONE_OK;
}

void hone_thread_wait_briefly(char **argv)
{
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT") || setenv("GOMP_SPINCOUNT", "10000", 0)) return;
    execv("/proc/self/exe", argv);
}
