// memory.h: heap memory for everything that is not a tensor (tensors live in the arena, see graph/layout.h).
// A failing call sets hone_error() and returns NULL. One place, so that tests can fail each allocation in turn.
#pragma once
#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

void *hone_alloc(size_t count, size_t size);                 // zeroed; checks count * size for overflow
void *hone_realloc(void *old, size_t count, size_t size);    // old stays valid where it fails
void hone_free(void *pointer);
char *hone_strdup(const char *text);
char *hone_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Room for one element more in an array that doubles: grows *array (elements of `size` bytes) so that
// [count] may be written. *capacity starts at 0 and *array at NULL.
hone_status hone_grow(void *array_pointer, int64_t count, int64_t *capacity, size_t size);

// A growable byte string; data is NUL-terminated whenever size > 0.
typedef struct { char *data; size_t size, capacity; } hone_buffer;
hone_status hone_buffer_append(hone_buffer *buffer, const void *data, size_t size);
hone_status hone_buffer_print(hone_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void hone_buffer_release(hone_buffer *buffer);

// Pages straight from the system, zeroed and made resident now, in huge pages where the system gives them:
// after this the process owns them (no later surprise). NULL and a message where memory is short.
void *hone_pages_alloc(size_t bytes);
void hone_pages_free(void *pages, size_t bytes);

int64_t hone_memory_resident_bytes(void);       // VmRSS of this process
int64_t hone_memory_peak_bytes(void);           // VmHWM of this process
int64_t hone_memory_total_bytes(void);          // MemTotal of this machine
int64_t hone_memory_limit_bytes(void);          // MemTotal, or the cgroup's limit where that is less
int64_t hone_memory_available_bytes(void);      // MemAvailable, bounded by the cgroup's limit
