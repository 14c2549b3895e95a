// check.h: what most tests ask for.
#pragma once
#include "base/error.h"
#include <stdint.h>

// Built with AddressSanitizer: a test may do a sample, and says so.
#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

void must(hone_status status);                              // or the test fails with hone_error()
void assert_says(const char *text, const char *words);      // the words stand in the text
int64_t count_in(const char *text, const char *words);      // how often they do
