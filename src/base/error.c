// error.c: the message of each thread, and the ways to set it. Nothing here allocates: an error must be reportable when
// memory is what is short.
#include "base/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_BYTES = 4096 };
static _Thread_local char message[MESSAGE_BYTES];

// Formats aside first: an argument may be hone_error() itself.
static void set_message(const char *format, va_list args)
{
    char text[MESSAGE_BYTES];
    vsnprintf(text, sizeof text, format, args);
    memcpy(message, text, strlen(text) + 1);
}

hone_status hone_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_message(format, args);
    va_end(args);
    return HONE_FAILED;
}

hone_status hone_fail_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_message(format, args);
    va_end(args);
    return HONE_USAGE;
}

void hone_fail_context(const char *format, ...)
{
    char text[2 * MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, MESSAGE_BYTES, format, args);
    va_end(args);
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, ": %s", message);
    text[MESSAGE_BYTES - 1] = 0;
    memcpy(message, text, strlen(text) + 1);
}

const char *hone_error(void) { return message; }

void hone_error_clear(void) { message[0] = 0; }

void hone_warn(const char *format, ...)
{
    char text[MESSAGE_BYTES]; // one write, so that lines of several threads do not mix
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "hone: warning: %s\n", text);
}

void hone_assert_failed(const char *file, int line, const char *condition, const char *format, ...)
{
    char text[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "hone: bug: %s:%d: %s is false: %s\n", file, line, condition, text);
    abort();
}
