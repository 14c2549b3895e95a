// fault.h: fails the n-th call of chosen kinds (base/fault.h), and counts them.
//
//     hone_test_fail(HONE_CALL_ALLOC, n);   // the n-th from now on fails, the others pass; 0: none fails, all are counted
//     ... the code under test ...
//     int64_t calls = hone_test_fail_end(); // how many calls of these kinds there were
#pragma once
#include "base/fault.h"
#include <stdint.h>

enum { HONE_CALL_DISK = HONE_CALL_CREATE | HONE_CALL_WRITE | HONE_CALL_FSYNC | HONE_CALL_RENAME | HONE_CALL_MKDIR };

void hone_test_fail(unsigned kinds, int64_t n);
int64_t hone_test_fail_end(void);
