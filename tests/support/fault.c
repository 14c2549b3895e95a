// fault.c: the counting hook. Atomic, since a checkpoint is written by another thread.
#include "support/fault.h"
#include <stdatomic.h>

static unsigned failing_kinds;
static int64_t failing_call;
static atomic_llong calls;

static bool count_and_fail(hone_call call, const char *path, const char *to, const void *data, size_t size)
{
    (void)path; (void)to; (void)data; (void)size;
    if (!(failing_kinds & call)) return false;
    return atomic_fetch_add(&calls, 1) + 1 == failing_call;
}

void hone_test_fail(unsigned kinds, int64_t n)
{
    failing_kinds = kinds;
    failing_call = n;
    atomic_store(&calls, 0);
    hone_fault_hook = count_and_fail;
}

int64_t hone_test_fail_end(void)
{
    hone_fault_hook = NULL;
    return atomic_load(&calls);
}
