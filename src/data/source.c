// source.c: see source.h. One buffer of compressed bytes; each decoder eats from it and is given more when it is empty.
#include "data/source.h"
#include "base/memory.h"

#include <limits.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum { IN_BYTES = 1 << 20, XZ_MEMORY_BYTES = 256 << 20 };

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static void *zlib_alloc(void *unused, unsigned count, unsigned size) { (void)unused; return hone_alloc(count, size); }
static void *xz_alloc(void *unused, size_t count, size_t size) { (void)unused; return hone_alloc(count, size); }
static void free_for(void *unused, void *pointer) { (void)unused; hone_free(pointer); }
static const lzma_allocator xz_memory = { xz_alloc, free_for, NULL };

static hone_status refill(hone_source *source)
{
    size_t got;
    hone_status status = hone_reader_read(&source->file, source->in, IN_BYTES, &got);
    source->in_size = got;
    source->in_used = 0;
    source->in_ended = got < IN_BYTES;
    return status;
}

static hone_status no_memory(const hone_source *source) { return hone_fail("%s: no memory to decompress it", source->file.path); }

static hone_status open_decoder(hone_source *source, const char *path)
{
    static const uint8_t gzip[2] = { 0x1f, 0x8b }, zstd[4] = { 0x28, 0xb5, 0x2f, 0xfd }, xz[6] = { 0xfd, '7', 'z', 'X', 'Z', 0 };
    const uint8_t *in = source->in;
    size_t n = source->in_size;
    if (ends_with(path, ".gz") || (n >= sizeof gzip && !memcmp(in, gzip, sizeof gzip))) {
        z_stream *z = hone_alloc(1, sizeof *z);
        if (!z) return HONE_FAILED;
        z->zalloc = zlib_alloc;
        z->zfree = free_for;
        if (inflateInit2(z, 15 + 16) != Z_OK) { // + 16: the gzip format
            hone_free(z);
            return no_memory(source);
        }
        source->gzip = z;
    } else if (ends_with(path, ".zst") || (n >= sizeof zstd && !memcmp(in, zstd, sizeof zstd))) {
        if (!(source->zstd = ZSTD_createDStream())) return no_memory(source);
    } else if (ends_with(path, ".xz") || (n >= sizeof xz && !memcmp(in, xz, sizeof xz))) {
        lzma_stream *x = hone_alloc(1, sizeof *x);
        if (!x) return HONE_FAILED;
        *x = (lzma_stream)LZMA_STREAM_INIT;
        x->allocator = &xz_memory;
        if (lzma_stream_decoder(x, XZ_MEMORY_BYTES, LZMA_CONCATENATED) != LZMA_OK) {
            hone_free(x);
            return no_memory(source);
        }
        source->xz = x;
    }
    return HONE_OK;
}

hone_status hone_source_open(hone_source *source, const char *path)
{
    *source = (hone_source){ .whole = true };
    hone_status status = hone_reader_open(&source->file, path);
    if (status) return status;
    if (!(source->in = hone_alloc(IN_BYTES, 1))) status = HONE_FAILED;
    if (!status) status = refill(source);
    if (!status) status = open_decoder(source, path);
    if (status) hone_source_close(source);
    return status;
}

void hone_source_close(hone_source *source)
{
    if (source->gzip) inflateEnd(source->gzip);
    if (source->xz) lzma_end(source->xz);
    if (source->zstd) ZSTD_freeDStream(source->zstd);
    hone_free(source->gzip);
    hone_free(source->xz);
    hone_free(source->in);
    hone_reader_close(&source->file);
    *source = (hone_source){ .file.fd = -1 };
}

// Bytes of the file that were used, for messages.
static long long place(const hone_source *source) { return (long long)(source->file.read_bytes - (int64_t)(source->in_size - source->in_used)); }

// One turn of each decoder: eats from in[in_used..], makes up to `size` bytes, *got of them.
static hone_status turn_gzip(hone_source *source, void *data, size_t size, size_t *got)
{
    z_stream *z = source->gzip;
    if (source->whole && inflateReset(z) != Z_OK) return hone_fail("%s: gzip cannot be reset", source->file.path);
    source->whole = false;
    z->next_out = data;
    z->avail_out = size > INT_MAX ? INT_MAX : (unsigned)size;
    z->next_in = source->in + source->in_used;
    z->avail_in = (unsigned)(source->in_size - source->in_used);
    unsigned room = z->avail_out;
    int code = inflate(z, Z_NO_FLUSH);
    source->in_used = source->in_size - z->avail_in;
    *got = room - z->avail_out;
    if (code == Z_STREAM_END) source->whole = true; // another member may follow
    else if (code != Z_OK && code != Z_BUF_ERROR)
        return hone_fail("%s: not valid gzip at byte %lld: %s", source->file.path, place(source), z->msg ? z->msg : "damaged");
    return HONE_OK;
}

static hone_status turn_zstd(hone_source *source, void *data, size_t size, size_t *got)
{
    ZSTD_outBuffer out = { data, size, 0 };
    ZSTD_inBuffer in = { source->in, source->in_size, source->in_used };
    size_t code = ZSTD_decompressStream(source->zstd, &out, &in);
    source->in_used = in.pos;
    source->whole = code == 0;
    *got = out.pos;
    return ZSTD_isError(code) ? hone_fail("%s: not valid zstd at byte %lld: %s", source->file.path, place(source), ZSTD_getErrorName(code)) : HONE_OK;
}

static hone_status turn_xz(hone_source *source, void *data, size_t size, size_t *got)
{
    lzma_stream *x = source->xz;
    x->next_out = data;
    x->avail_out = size;
    x->next_in = source->in + source->in_used;
    x->avail_in = source->in_size - source->in_used;
    lzma_ret code = lzma_code(x, source->in_ended ? LZMA_FINISH : LZMA_RUN);
    source->in_used = source->in_size - x->avail_in;
    source->whole = code == LZMA_STREAM_END;
    *got = size - x->avail_out;
    if (code == LZMA_OK || code == LZMA_STREAM_END || code == LZMA_BUF_ERROR) return HONE_OK;
    if (code == LZMA_MEMLIMIT_ERROR) return hone_fail("%s: this xz file needs more than %d MiB to decompress; compress it with -9 or less", source->file.path, XZ_MEMORY_BYTES >> 20);
    return hone_fail("%s: not valid xz at byte %lld: %s", source->file.path, place(source), code == LZMA_MEM_ERROR ? "out of memory" : "damaged");
}

static hone_status read_packed(hone_source *source, void *data, size_t size, size_t *got)
{
    const char *kind = source->gzip ? "gzip" : source->zstd ? "zstd" : "xz";
    hone_status status = HONE_OK;
    for (*got = 0; *got == 0 && !status;) {
        if (source->in_used == source->in_size && !source->in_ended) status = refill(source);
        bool empty = source->in_used == source->in_size;
        if (status || (empty && source->whole)) break;
        size_t before = source->in_used;
        status = source->gzip ? turn_gzip(source, data, size, got) : source->zstd ? turn_zstd(source, data, size, got) : turn_xz(source, data, size, got);
        if (!status && *got == 0 && source->in_used == before && !source->whole && source->in_ended)
            status = hone_fail("%s: the %s stream ends too early; the file was cut short", source->file.path, kind);
    }
    return status;
}

hone_status hone_source_read(hone_source *source, void *data, size_t size, size_t *got)
{
    *got = 0;
    if (source->gzip || source->zstd || source->xz) return read_packed(source, data, size, got);
    if (source->in_used < source->in_size) { // what was looked at
        *got = source->in_size - source->in_used < size ? source->in_size - source->in_used : size;
        memcpy(data, source->in + source->in_used, *got);
        source->in_used += *got;
        return HONE_OK;
    }
    if (source->in_ended) return HONE_OK;
    hone_status status = hone_reader_read(&source->file, data, size, got);
    source->in_ended = *got < size;
    return status;
}
