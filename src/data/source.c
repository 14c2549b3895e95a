// source.c: see source.h. Files are mapped and pages let go behind the reader.
#include "data/source.h"
#include "base/memory.h"

#include <limits.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { DROP_BYTES = 16 << 20 };

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static void *zlib_alloc(void *unused, unsigned count, unsigned size) { (void)unused; return hone_alloc(count, size); }
static void zlib_free(void *unused, void *pointer) { (void)unused; hone_free(pointer); }

hone_status hone_source_open(hone_source *source, const char *path)
{
    *source = (hone_source){ .whole = true };
    hone_status status = hone_map_open(&source->map, path);
    if (status) return status;
    source->path = hone_strdup(path);
    if (!source->path) status = HONE_FAILED;
    if (!status && ends_with(path, ".gz")) {
        z_stream *gzip = hone_alloc(1, sizeof *gzip);
        if (gzip) {
            gzip->zalloc = zlib_alloc;
            gzip->zfree = zlib_free;
        }
        if (!gzip || inflateInit2(gzip, 15 + 16) != Z_OK) { // + 16: the gzip format
            hone_free(gzip);
            status = hone_fail("%s: no memory to decompress it", path);
        } else source->gzip = gzip;
    } else if (!status && ends_with(path, ".zst")) {
        source->zstd = ZSTD_createDStream();
        if (!source->zstd) status = hone_fail("%s: no memory to decompress it", path);
    }
    if (status) hone_source_close(source);
    return status;
}

void hone_source_close(hone_source *source)
{
    if (source->gzip) inflateEnd(source->gzip);
    hone_free(source->gzip);
    if (source->zstd) ZSTD_freeDStream(source->zstd);
    hone_map_close(&source->map);
    hone_free(source->path);
    *source = (hone_source){ 0 };
}

static hone_status read_gzip(hone_source *source, void *data, size_t size, size_t *got)
{
    z_stream *z = source->gzip;
    z->next_out = data;
    z->avail_out = size > INT_MAX ? INT_MAX : (unsigned)size;
    unsigned room = z->avail_out;
    while (z->avail_out == room) { // until something came out
        size_t left = source->map.size - source->place;
        if (left == 0 && source->whole) break;
        if (left == 0) return hone_fail("%s: the gzip stream ends too early; the file was cut short", source->path);
        if (source->whole && inflateReset(z) != Z_OK) return hone_fail("%s: gzip cannot be reset", source->path);
        source->whole = false;
        z->next_in = (uint8_t *)(uintptr_t)(source->map.data + source->place);
        z->avail_in = left > INT_MAX ? INT_MAX : (unsigned)left;
        unsigned before = z->avail_in;
        int code = inflate(z, Z_NO_FLUSH);
        source->place += before - z->avail_in;
        if (code == Z_STREAM_END) source->whole = true; // another member may follow
        else if (code != Z_OK && code != Z_BUF_ERROR)
            return hone_fail("%s: not valid gzip at byte %zu: %s", source->path, source->place, z->msg ? z->msg : "damaged");
    }
    *got = room - z->avail_out;
    return HONE_OK;
}

static hone_status read_zstd(hone_source *source, void *data, size_t size, size_t *got)
{
    ZSTD_outBuffer out = { data, size, 0 };
    while (out.pos == 0) {
        ZSTD_inBuffer in = { source->map.data, source->map.size, source->place };
        if (in.pos == in.size && source->whole) break;
        size_t code = ZSTD_decompressStream(source->zstd, &out, &in);
        if (ZSTD_isError(code)) return hone_fail("%s: not valid zstd at byte %zu: %s", source->path, source->place, ZSTD_getErrorName(code));
        bool stuck = in.pos == source->place && out.pos == 0;
        source->place = in.pos;
        source->whole = code == 0;
        if (stuck && !source->whole) return hone_fail("%s: the zstd stream ends too early; the file was cut short", source->path);
    }
    *got = out.pos;
    return HONE_OK;
}

hone_status hone_source_read(hone_source *source, void *data, size_t size, size_t *got)
{
    size_t before = source->place;
    hone_status status = HONE_OK;
    *got = 0;
    if (source->gzip) status = read_gzip(source, data, size, got);
    else if (source->zstd) status = read_zstd(source, data, size, got);
    else {
        *got = source->map.size - source->place < size ? source->map.size - source->place : size;
        if (*got) memcpy(data, source->map.data + source->place, *got);
        source->place += *got;
    }
    source->undropped += source->place - before;
    if (source->undropped > DROP_BYTES) {
        hone_map_drop(&source->map);
        source->undropped = 0;
    }
    return status;
}
