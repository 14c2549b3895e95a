// shards.c: see shards.h for the file's form.
#include "data/shards.h"

#include <inttypes.h>
#include <string.h>

enum { VERSION = 2, HEAD_BYTES = 64, FOOT_BYTES = 64 };
static const char head_magic[8] = "HONESHD\n", foot_magic[8] = "\nHONEEND";

typedef struct { // 64 bytes, no padding
    char magic[8];
    uint32_t version, id_bytes;
    uint64_t vocab, tokenizer, zero[4];
} shard_head;

typedef struct { // 64 bytes, no padding
    uint64_t n_tokens, n_documents, n_bytes, n_blocks;
    uint64_t index_hash;    // of ends, source and sums
    uint64_t zero;
    uint64_t hash;          // of the head and this struct up to here
    char magic[8];
} shard_foot;

_Static_assert(sizeof(shard_head) == HEAD_BYTES && sizeof(shard_foot) == FOOT_BYTES, "on-disk structs");

static uint64_t hash_ends_of_file(const shard_head *head, const shard_foot *foot)
{
    uint8_t bytes[HEAD_BYTES + offsetof(shard_foot, hash)];
    memcpy(bytes, head, HEAD_BYTES);
    memcpy(bytes + HEAD_BYTES, foot, offsetof(shard_foot, hash));
    return hone_hash64(bytes, sizeof bytes);
}

static int64_t padded(int64_t bytes) { return (bytes + 7) / 8 * 8; }
static int64_t count_blocks(int64_t bytes) { return (bytes + HONE_SHARD_BLOCK_BYTES - 1) / HONE_SHARD_BLOCK_BYTES; }
static int64_t block_ids(const hone_shard *shard) { return HONE_SHARD_BLOCK_BYTES / shard->id_bytes; }
static int64_t id_place(const hone_shard *shard, int64_t first) { return (shard->sums ? HEAD_BYTES : 0) + first * shard->id_bytes; }

// --- reading

static hone_status alloc_checked(hone_shard *shard)
{
    int64_t words = (count_blocks(shard->n_tokens * shard->id_bytes) + 63) / 64;
    shard->checked = hone_alloc((size_t)words + 1, sizeof *shard->checked);
    return shard->checked ? HONE_OK : HONE_FAILED;
}

static hone_status read_frame(hone_shard *shard)
{
    const char *path = shard->path;
    shard_head head;
    shard_foot foot;
    size_t size = shard->map.size;
    if (size < HEAD_BYTES + FOOT_BYTES)
        return hone_fail("%s: %zu bytes are too few for a shard; it was probably cut short, prepare the data again", path, size);
    memcpy(&head, shard->map.data, HEAD_BYTES);
    memcpy(&foot, shard->map.data + size - FOOT_BYTES, FOOT_BYTES);
    if (memcmp(head.magic, head_magic, 8) != 0)
        return hone_fail("%s: not a shard of hone (its first bytes are others)", path);
    if (head.version != VERSION)
        return hone_fail("%s: shard version %" PRIu32 ", this program reads version %d; prepare the data again", path, head.version, VERSION);
    if (memcmp(foot.magic, foot_magic, 8) != 0)
        return hone_fail("%s: the end of the shard is missing (%zu bytes are there); it was cut short, prepare the data again", path, size);
    if (foot.hash != hash_ends_of_file(&head, &foot))
        return hone_fail("%s: wrong checksum of head and foot: the file was altered or is damaged, prepare the data again", path);
    if (head.id_bytes != 2 && head.id_bytes != 4)
        return hone_fail("%s: ids of %" PRIu32 " bytes; 2 or 4 are known", path, head.id_bytes);
    uint64_t most = size / 2; // no count can be larger: keeps the sums below from overflowing
    if (foot.n_tokens > most || foot.n_documents > most || foot.n_blocks > most)
        return hone_fail("%s: claims %" PRIu64 " tokens, but the file has %zu bytes", path, foot.n_tokens, size);
    int64_t id_bytes = (int64_t)(foot.n_tokens * head.id_bytes);
    int64_t index_bytes = (int64_t)(foot.n_documents + foot.n_blocks) * 8 + padded((int64_t)foot.n_documents * 4);
    if ((int64_t)size != HEAD_BYTES + padded(id_bytes) + index_bytes + FOOT_BYTES || (int64_t)foot.n_blocks != count_blocks(id_bytes))
        return hone_fail("%s: %" PRIu64 " tokens and %" PRIu64 " documents do not fit its %zu bytes; it was cut short or altered, "
                         "prepare the data again", path, foot.n_tokens, foot.n_documents, size);
    const uint8_t *index = shard->map.data + HEAD_BYTES + padded(id_bytes);
    if (foot.index_hash != hone_hash64(index, (size_t)index_bytes))
        return hone_fail("%s: wrong checksum of the document index: the file is damaged, prepare the data again", path);
    shard->id_bytes = (int)head.id_bytes;
    shard->n_tokens = (int64_t)foot.n_tokens;
    shard->n_documents = (int64_t)foot.n_documents;
    shard->n_bytes = (int64_t)foot.n_bytes;
    shard->vocab = (int64_t)head.vocab;
    shard->tokenizer = head.tokenizer;
    shard->ends = (const uint64_t *)(const void *)index;
    shard->source = (const uint32_t *)(const void *)(shard->ends + shard->n_documents);
    shard->sums = (const uint64_t *)(const void *)((const uint8_t *)shard->source + padded(shard->n_documents * 4));
    return HONE_OK;
}

hone_status hone_shard_open(hone_shard *shard, const char *path, int64_t limit)
{
    *shard = (hone_shard){ .limit = limit };
    hone_status status = hone_map_open(&shard->map, path);
    if (status) return status;
    shard->path = hone_strdup(path);
    status = shard->path ? hone_reader_open(&shard->file, path) : HONE_FAILED;
    if (!status) status = read_frame(shard);
    if (!status) status = alloc_checked(shard);
    if (status) hone_shard_close(shard);
    return status;
}

hone_status hone_shard_open_raw(hone_shard *shard, const char *path, int64_t limit)
{
    *shard = (hone_shard){ .limit = limit };
    hone_status status = hone_map_open(&shard->map, path);
    if (status) return status;
    size_t length = strlen(path);
    shard->id_bytes = length >= 4 && strcmp(path + length - 4, ".u32") == 0 ? 4 : 2;
    shard->n_tokens = (int64_t)(shard->map.size / (size_t)shard->id_bytes);
    shard->path = hone_strdup(path);
    if (!shard->path || hone_reader_open(&shard->file, path)) status = HONE_FAILED;
    else if (shard->map.size % (size_t)shard->id_bytes)
        status = hone_fail("%s: %zu bytes are no whole number of %d-byte ids; it was probably cut short", path, shard->map.size, shard->id_bytes);
    else status = alloc_checked(shard);
    if (status) hone_shard_close(shard);
    return status;
}

void hone_shard_close(hone_shard *shard)
{
    hone_map_close(&shard->map);
    if (shard->file.path) hone_reader_close(&shard->file);
    hone_free(shard->path);
    hone_free(shard->checked);
    *shard = (hone_shard){ 0 };
}

static void widen(int id_bytes, const void *data, int64_t count, int32_t *out)
{
    const uint16_t *in2 = data;
    const uint32_t *in4 = data;
    if (id_bytes == 2) for (int64_t i = 0; i < count; i++) out[i] = in2[i];
    else for (int64_t i = 0; i < count; i++) out[i] = (int32_t)in4[i];
}

static hone_status check_block(hone_shard *shard, int64_t block)
{
    uint64_t bit = 1ull << (block & 63);
    if (shard->checked[block >> 6] & bit) return HONE_OK;
    int64_t first = block * block_ids(shard), count = block_ids(shard);
    if (count > shard->n_tokens - first) count = shard->n_tokens - first;
    _Alignas(8) uint8_t data[HONE_SHARD_BLOCK_BYTES];
    if (hone_reader_read_at(&shard->file, id_place(shard, first), data, (size_t)(count * shard->id_bytes))) return HONE_FAILED;
    if (shard->sums && hone_hash64(data, (size_t)(count * shard->id_bytes)) != shard->sums[block])
        return hone_fail("%s: wrong checksum of tokens %" PRId64 " to %" PRId64 ": the file is damaged, prepare the data again",
                         shard->path, first, first + count - 1);
    uint32_t top = 0; // the largest id first: one comparison a block, the place only where it is needed
    const uint16_t *in2 = (const uint16_t *)(const void *)data;
    const uint32_t *in4 = (const uint32_t *)(const void *)data;
    if (shard->id_bytes == 2) for (int64_t i = 0; i < count; i++) top = in2[i] > top ? in2[i] : top;
    else for (int64_t i = 0; i < count; i++) top = in4[i] > top ? in4[i] : top;
    if ((int64_t)top >= shard->limit) {
        int64_t i = 0;
        while ((shard->id_bytes == 2 ? in2[i] : in4[i]) < shard->limit) i++;
        return hone_fail("%s: token %" PRId64 " has id %" PRIu32 ", outside the model's vocabulary of %" PRId64
                         "; the data was made for another model", shard->path, first + i,
                         shard->id_bytes == 2 ? in2[i] : in4[i], shard->limit);
    }
    shard->checked[block >> 6] |= bit;
    return HONE_OK;
}

hone_status hone_shard_read(hone_shard *shard, int64_t first, int64_t count, int32_t *out)
{
    HONE_ASSERT(first >= 0 && count >= 0 && first + count <= shard->n_tokens, "tokens %" PRId64 "+%" PRId64 " of %" PRId64,
                first, count, shard->n_tokens);
    if (count == 0) return HONE_OK;
    int64_t last = (first + count - 1) / block_ids(shard);
    for (int64_t block = first / block_ids(shard); block <= last; block++) {
        hone_status status = check_block(shard, block);
        if (status) return status;
    }
    _Alignas(8) uint8_t piece[4096];
    for (int64_t most = (int64_t)sizeof piece / shard->id_bytes; count > 0;) {
        int64_t take = count < most ? count : most;
        if (hone_reader_read_at(&shard->file, id_place(shard, first), piece, (size_t)(take * shard->id_bytes))) return HONE_FAILED;
        widen(shard->id_bytes, piece, take, out);
        first += take;
        count -= take;
        out += take;
    }
    return HONE_OK;
}

uint64_t hone_shard_hash(const hone_shard *shard)
{
    return hone_hash64(shard->sums, (size_t)count_blocks(shard->n_tokens * shard->id_bytes) * sizeof *shard->sums);
}

hone_status hone_shard_verify(hone_shard *shard)
{
    int64_t blocks = count_blocks(shard->n_tokens * shard->id_bytes);
    for (int64_t block = 0; block < blocks; block++) {
        hone_status status = check_block(shard, block);
        if (status) return status;
    }
    uint64_t before = 0;
    for (int64_t d = 0; shard->ends && d < shard->n_documents; d++) {
        if (shard->ends[d] <= before || shard->ends[d] > (uint64_t)shard->n_tokens)
            return hone_fail("%s: document %" PRId64 " ends at token %" PRIu64 ", the one before at %" PRIu64, shard->path, d, shard->ends[d], before);
        before = shard->ends[d];
    }
    if (shard->ends && before != (uint64_t)shard->n_tokens)
        return hone_fail("%s: its documents end at token %" PRIu64 " of %" PRId64, shard->path, before, shard->n_tokens);
    return HONE_OK;
}

// --- writing

hone_status hone_shard_writer_open(hone_shard_writer *writer, const char *path, int64_t vocab, uint64_t tokenizer)
{
    *writer = (hone_shard_writer){ .vocab = vocab, .tokenizer = tokenizer, .id_bytes = vocab <= 65536 ? 2 : 4 };
    hone_status status = hone_writer_open(&writer->file, path);
    if (status) return status;
    shard_head head = { .version = VERSION, .id_bytes = (uint32_t)writer->id_bytes, .vocab = (uint64_t)vocab, .tokenizer = tokenizer };
    memcpy(head.magic, head_magic, 8);
    writer->path = hone_strdup(path);
    writer->block = hone_alloc(HONE_SHARD_BLOCK_BYTES, 1);
    status = writer->path && writer->block ? hone_writer_write(&writer->file, &head, HEAD_BYTES) : HONE_FAILED;
    if (status) hone_shard_writer_abort(writer);
    return status;
}

static hone_status flush_block(hone_shard_writer *writer)
{
    if (writer->block_used == 0) return HONE_OK;
    if (hone_grow(&writer->sums, writer->n_sums, &writer->sums_capacity, sizeof *writer->sums)) return HONE_FAILED;
    writer->sums[writer->n_sums++] = hone_hash64(writer->block, writer->block_used);
    hone_status status = hone_writer_write(&writer->file, writer->block, writer->block_used);
    writer->block_used = 0;
    return status;
}

hone_status hone_shard_writer_add(hone_shard_writer *writer, const int32_t *ids, int64_t count, int64_t text_bytes, int64_t source)
{
    for (int64_t i = 0; i < count;) {
        int64_t room = (HONE_SHARD_BLOCK_BYTES - (int64_t)writer->block_used) / writer->id_bytes;
        int64_t take = count - i < room ? count - i : room;
        uint16_t *out2 = (uint16_t *)(void *)(writer->block + writer->block_used);
        uint32_t *out4 = (uint32_t *)(void *)(writer->block + writer->block_used);
        for (int64_t k = 0; k < take; k++) {
            HONE_ASSERT(ids[i + k] >= 0 && ids[i + k] < writer->vocab, "id %" PRId32 " of %" PRId64, ids[i + k], writer->vocab);
            if (writer->id_bytes == 2) out2[k] = (uint16_t)ids[i + k];
            else out4[k] = (uint32_t)ids[i + k];
        }
        writer->block_used += (size_t)(take * writer->id_bytes);
        i += take;
        if (writer->block_used == HONE_SHARD_BLOCK_BYTES && flush_block(writer)) return HONE_FAILED;
    }
    if (hone_grow(&writer->ends, writer->n_documents, &writer->ends_capacity, sizeof *writer->ends)) return HONE_FAILED;
    if (hone_grow(&writer->source, writer->n_documents, &writer->source_capacity, sizeof *writer->source)) return HONE_FAILED;
    writer->source[writer->n_documents] = (uint32_t)source;
    writer->n_tokens += count;
    writer->n_bytes += text_bytes;
    writer->ends[writer->n_documents++] = (uint64_t)writer->n_tokens;
    return HONE_OK;
}

static hone_status write_index(hone_shard_writer *writer)
{
    shard_head head = { .version = VERSION, .id_bytes = (uint32_t)writer->id_bytes, .vocab = (uint64_t)writer->vocab, .tokenizer = writer->tokenizer };
    memcpy(head.magic, head_magic, 8);
    int64_t id_bytes = writer->n_tokens * writer->id_bytes, pad = padded(id_bytes) - id_bytes;
    hone_status status = flush_block(writer);
    if (!status) status = hone_writer_write(&writer->file, (char[8]){ 0 }, (size_t)pad);
    if (status) return status;
    size_t ends_bytes = (size_t)writer->n_documents * 8, sums_bytes = (size_t)writer->n_sums * 8;
    hone_buffer index = { 0 };
    if (ends_bytes) status = hone_buffer_append(&index, writer->ends, ends_bytes);
    size_t source_bytes = (size_t)writer->n_documents * 4;
    if (!status && source_bytes) status = hone_buffer_append(&index, writer->source, source_bytes);
    if (!status) status = hone_buffer_append(&index, (char[8]){ 0 }, (size_t)padded((int64_t)source_bytes) - source_bytes);
    if (!status && sums_bytes) status = hone_buffer_append(&index, writer->sums, sums_bytes);
    if (!status) {
        shard_foot foot = { .n_tokens = (uint64_t)writer->n_tokens, .n_documents = (uint64_t)writer->n_documents,
                            .n_bytes = (uint64_t)writer->n_bytes, .n_blocks = (uint64_t)writer->n_sums,
                            .index_hash = hone_hash64(index.data, index.size) };
        foot.hash = hash_ends_of_file(&head, &foot);
        memcpy(foot.magic, foot_magic, 8);
        if (index.size) status = hone_writer_write(&writer->file, index.data, index.size);
        if (!status) status = hone_writer_write(&writer->file, &foot, FOOT_BYTES);
    }
    hone_buffer_release(&index);
    return status;
}

static void release(hone_shard_writer *writer)
{
    hone_free(writer->path);
    hone_free(writer->ends);
    hone_free(writer->source);
    hone_free(writer->sums);
    hone_free(writer->block);
    *writer = (hone_shard_writer){ 0 };
}

hone_status hone_shard_writer_finish(hone_shard_writer *writer)
{
    hone_status status = write_index(writer);
    if (status) hone_writer_abort(&writer->file);
    else status = hone_writer_commit(&writer->file);
    release(writer);
    return status;
}

void hone_shard_writer_abort(hone_shard_writer *writer)
{
    hone_writer_abort(&writer->file);
    release(writer);
}
