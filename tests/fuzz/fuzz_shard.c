// Shards: any bytes are a shard or refused, and what opens can be read. Checksums stop a mutated file at once, so that the
// head, foot and index behind them are given right ones here (byte 0 odd), and their counts are looked at.
#include "fuzz/fuzz.h"
#include "data/shards.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FRAME = 64, INDEX_HASH = 32, HASH = 48 }; // sizes and places of shards.c's structs

static void put_sums(uint8_t *file, size_t size, uint8_t kind)
{
    uint8_t *foot = file + size - FRAME, about[FRAME + HASH];
    uint64_t tokens, id_bytes, hash;
    memcpy(file, "HONESHD\n\2\0\0\0", 12);
    file[12] = kind & 2 ? 2 : 4;
    memset(file + 13, 0, 3);
    memcpy(foot + 56, "\nHONEEND", 8);
    memcpy(&tokens, foot, 8);
    id_bytes = tokens < size ? (tokens * file[12] + 7) / 8 * 8 : 0;
    if (FRAME + id_bytes <= size - FRAME) { // the index as the counts have it
        hash = hone_hash64(file + FRAME + id_bytes, size - 2 * FRAME - id_bytes);
        memcpy(foot + INDEX_HASH, &hash, 8);
    }
    memcpy(about, file, FRAME);
    memcpy(about + FRAME, foot, HASH);
    hash = hone_hash64(about, sizeof about);
    memcpy(foot + HASH, &hash, 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    uint8_t *file = malloc(size);
    size_t length = size - 1;
    memcpy(file, data + 1, length);
    if (data[0] & 1 && length >= 2 * FRAME) put_sums(file, length, data[0]);
    int fd = memfd_create("shard", 0);
    FUZZ_HOLDS(fd >= 0 && write(fd, file, length) == (ssize_t)length);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    hone_shard shard;
    for (int raw = 0; raw < 2; raw++) {
        if (raw ? hone_shard_open_raw(&shard, path, 300) : hone_shard_open(&shard, path, 300)) continue;
        int32_t ids[16];
        if (hone_shard_verify(&shard) == HONE_OK)
            for (int64_t at = 0; at < shard.n_tokens; at += 16) {
                int64_t n = shard.n_tokens - at < 16 ? shard.n_tokens - at : 16;
                FUZZ_HOLDS(hone_shard_read(&shard, at, n, ids) == HONE_OK);
                for (int64_t i = 0; i < n; i++) FUZZ_HOLDS(ids[i] >= 0 && ids[i] < 300);
            }
        hone_shard_close(&shard);
    }
    close(fd);
    free(file);
    return 0;
}
