// memory.c: the heap behind one door (fault.h can fail each call), resident pages for arenas, and what /proc says.
#include "base/memory.h"
#include "base/cgroup.h"
#include "base/fault.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool (*hone_fault_hook)(hone_call call, const char *path, const char *to, const void *data, size_t size);

// NULL always means failure: nothing asked for still gets a byte.
static bool bytes_of(size_t count, size_t size, size_t *bytes)
{
    if (__builtin_mul_overflow(count, size, bytes)) {
        hone_fail("out of memory: %zu elements of %zu bytes are more than an address can hold", count, size);
        return false;
    }
    if (*bytes == 0) *bytes = 1;
    return true;
}

static void *short_of(size_t bytes)
{
    hone_fail("out of memory: %zu bytes (%.1f MiB) were refused, %.1f MiB are available", bytes,
              (double)bytes / 0x1p20, (double)hone_memory_available_bytes() / 0x1p20);
    return NULL;
}

void *hone_alloc(size_t count, size_t size)
{
    size_t bytes;
    if (!bytes_of(count, size, &bytes)) return NULL;
    void *pointer = hone_fault(HONE_CALL_ALLOC, NULL, NULL, NULL, bytes) ? NULL : calloc(1, bytes);
    return pointer ? pointer : short_of(bytes);
}

void *hone_realloc(void *old, size_t count, size_t size)
{
    size_t bytes;
    if (!bytes_of(count, size, &bytes)) return NULL;
    void *pointer = hone_fault(HONE_CALL_ALLOC, NULL, NULL, NULL, bytes) ? NULL : realloc(old, bytes);
    return pointer ? pointer : short_of(bytes);
}

void hone_free(void *pointer) { free(pointer); }

char *hone_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = hone_alloc(size, 1);
    if (copy) memcpy(copy, text, size);
    return copy;
}

char *hone_format(const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    HONE_ASSERT(length >= 0, "format %s", format);
    char *text = hone_alloc((size_t)length + 1, 1);
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

hone_status hone_grow(void *array_pointer, int64_t count, int64_t *capacity, size_t size)
{
    HONE_ASSERT(count >= 0 && *capacity >= 0, "count %lld, capacity %lld", (long long)count, (long long)*capacity);
    if (count < *capacity) return HONE_OK;
    int64_t wanted = *capacity < 8 ? 16 : *capacity * 2;
    if (wanted <= count) wanted = count + 1;
    void *old, *grown; // by memcpy: *array_pointer is a pointer to some other type
    memcpy(&old, array_pointer, sizeof old);
    grown = hone_realloc(old, (size_t)wanted, size);
    if (!grown) return HONE_FAILED;
    memcpy(array_pointer, &grown, sizeof grown);
    *capacity = wanted;
    return HONE_OK;
}

static hone_status buffer_reserve(hone_buffer *buffer, size_t more)
{
    size_t wanted; // with room for the NUL
    if (__builtin_add_overflow(buffer->size, more, &wanted) || __builtin_add_overflow(wanted, 1, &wanted))
        return hone_fail("out of memory: a byte string of %zu + %zu bytes", buffer->size, more);
    if (wanted <= buffer->capacity) return HONE_OK;
    size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
    while (capacity < wanted) capacity = capacity > SIZE_MAX / 2 ? wanted : capacity * 2;
    char *data = hone_realloc(buffer->data, capacity, 1);
    if (!data) return HONE_FAILED;
    buffer->data = data;
    buffer->capacity = capacity;
    return HONE_OK;
}

hone_status hone_buffer_append(hone_buffer *buffer, const void *data, size_t size)
{
    if (buffer_reserve(buffer, size)) return HONE_FAILED;
    if (size) memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = 0;
    return HONE_OK;
}

hone_status hone_buffer_print(hone_buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    HONE_ASSERT(length >= 0, "format %s", format);
    hone_status status = buffer_reserve(buffer, (size_t)length);
    if (!status) {
        vsnprintf(buffer->data + buffer->size, (size_t)length + 1, format, again);
        buffer->size += (size_t)length;
    }
    va_end(again);
    return status;
}

void hone_buffer_release(hone_buffer *buffer)
{
    hone_free(buffer->data);
    *buffer = (hone_buffer){ 0 };
}

// Pages -------------------------------------------------------------------------------------------------------------

enum { HUGE_BYTES = 2 << 20 };

static size_t whole_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

// Maps `size` bytes at a multiple of `alignment`: maps more, gives the ends back.
static uint8_t *map_aligned(size_t size, size_t alignment)
{
    uint8_t *raw = mmap(NULL, size + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) return NULL;
    uint8_t *start = raw + (alignment - (uintptr_t)raw % alignment) % alignment;
    if (start > raw) munmap(raw, (size_t)(start - raw));
    size_t behind = (size_t)(raw + size + alignment - (start + size));
    if (behind) munmap(start + size, behind);
    return start;
}

void *hone_pages_alloc(size_t bytes)
{
    if (bytes > SIZE_MAX / 2) return short_of(bytes);
    size_t size = whole_pages(bytes ? bytes : 1), page = whole_pages(1);
    if (hone_fault(HONE_CALL_ALLOC, NULL, NULL, NULL, size)) return short_of(size);
    // Linux grants more than there is and kills the process at the first touch: refuse here, with a message.
    int64_t available = hone_memory_available_bytes();
    if (available > 0 && size > (size_t)available) return short_of(size);
    bool huge = size >= HUGE_BYTES;
    uint8_t *pages = map_aligned(size, huge ? HUGE_BYTES : page);
    if (!pages) return short_of(size);
    if (huge) madvise(pages, size, MADV_HUGEPAGE); // a wish: kernels without huge pages say no
    if (madvise(pages, size, MADV_POPULATE_WRITE) == 0) return pages;
    if (errno != EINVAL) { // ENOMEM, EFAULT: the system cannot give them
        munmap(pages, size);
        return short_of(size);
    }
    for (size_t at = 0; at < size; at += page) ((volatile uint8_t *)pages)[at] = 0; // before Linux 5.14
    return pages;
}

void hone_pages_free(void *pages, size_t bytes)
{
    if (pages) munmap(pages, whole_pages(bytes ? bytes : 1));
}

// What the system says ----------------------------------------------------------------------------------------------

// "Key:   123 kB" of a /proc file, in bytes; -1 if absent.
static int64_t proc_bytes(const char *path, const char *key)
{
    FILE *file = fopen(path, "re");
    if (!file) return -1;
    char line[256];
    int64_t bytes = -1;
    size_t n = strlen(key);
    while (bytes < 0 && fgets(line, sizeof line, file))
        if (!strncmp(line, key, n) && line[n] == ':') bytes = strtoll(line + n + 1, NULL, 10) * 1024;
    fclose(file);
    return bytes;
}

int64_t hone_memory_resident_bytes(void) { return proc_bytes("/proc/self/status", "VmRSS"); }

int64_t hone_memory_peak_bytes(void) { return proc_bytes("/proc/self/status", "VmHWM"); }

int64_t hone_memory_total_bytes(void) { return proc_bytes("/proc/meminfo", "MemTotal"); }

int64_t hone_memory_available_bytes(void)
{
    int64_t system = proc_bytes("/proc/meminfo", "MemAvailable"), group = hone_cgroup_memory_free_bytes();
    return system < group ? system : group;
}

int64_t hone_memory_limit_bytes(void)
{
    int64_t system = hone_memory_total_bytes(), group = hone_cgroup_memory_limit_bytes();
    return system < group ? system : group;
}
