// error.h: the three kinds of failure.
//
//   a bug       HONE_ASSERT: prints file, line and values, aborts
//   the world   hone_fail:   a status and one message that says what, where (path, line, record) and what to do
//   usage       hone_fail_usage: the command line was wrong; exit code 2
//
// A function that can fail returns hone_status; the caller passes it up unchanged (`goto out` for clean-up).
// The message is kept per thread; only cli/ prints it.
#pragma once

// Also the process' exit code. HONE_DEVICE_LOST: a device failed under way, and the process ended at once (backend/cuda/gpu.c).
typedef enum { HONE_OK = 0, HONE_FAILED = 1, HONE_USAGE = 2, HONE_DEVICE_LOST = 3 } hone_status;

// Sets this thread's message and returns HONE_FAILED / HONE_USAGE.
hone_status hone_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
hone_status hone_fail_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Puts context in front of the message that is set: "context: message".
void hone_fail_context(const char *format, ...) __attribute__((format(printf, 1, 2)));

const char *hone_error(void); // this thread's last message, "" if none
void hone_error_clear(void);

// Non-fatal remarks, one line each on stderr: "hone: warning: ...".
void hone_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

_Noreturn void hone_assert_failed(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
// HONE_ASSERT(n > 0, "n %d of tensor %s", n, name): always on, so keep it out of inner loops.
#define HONE_ASSERT(condition, ...) \
    ((condition) ? (void)0 : hone_assert_failed(__FILE__, __LINE__, #condition, __VA_ARGS__))
