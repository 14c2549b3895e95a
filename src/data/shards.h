// shards.h: the file that holds tokens: ids, then an index of documents and checksums.
//
//     head   64 bytes   magic, version, bytes of an id, vocabulary, tokenizer
//     ids    u16 or u32, n_tokens of them, padded with zeros to 8 bytes
//     ends   u64[n_documents]   token offset in this shard behind each document
//     source u32[n_documents]   which of the data set's sources (data.json) it came from, padded with zeros to 8 bytes
//     sums   u64[n_blocks]      XXH3-64 of each 64 KiB of ids
//     foot   64 bytes   counts, XXH3-64 of ends + source + sums, XXH3-64 of head and foot, magic
//
// The index is mapped; ids are read where they lie, since a row of 512 costs 1 us so and 10 where pages are mapped and let go
// again to keep the process small, and since a file that is cut short under a mapping would end the process.
// The counts stand at the end because a shard is written in one pass. Opening checks head, foot and index, so a shard
// that was cut short or altered there is refused at once; ids are checked block by block, each the first time it is
// read: every id that trains a model was checked, and opening a large data set costs nothing.
// Invariant: a document lies in one shard whole, and its last id is the one that closes it (eos).
// Little-endian, as every machine hone runs on.
#pragma once
#include "base/file.h"
#include "base/memory.h"

enum { HONE_SHARD_BLOCK_BYTES = 64 << 10 };

typedef struct hone_shard {
    char *path;
    hone_map map;                   // for head, foot and index
    hone_reader file;               // for ids
    int id_bytes;                   // 2 or 4
    int64_t n_tokens, n_documents;
    int64_t n_bytes;                // of text; 0 unknown
    int64_t vocab;                  // every id is below; 0 unknown
    uint64_t tokenizer;             // identity hash; 0 unknown
    const uint64_t *ends;           // (n_documents,) NULL in a raw file
    const uint32_t *source;         // (n_documents,) NULL in a raw file
    const uint64_t *sums;           // (n_blocks,) NULL in a raw file
    uint64_t *checked;              // one bit per block: its checksum and its ids were looked at
    int64_t limit;                  // ids must be below this; set by the reader
} hone_shard;

// Opens a shard. limit: the vocabulary that the reader has; ids outside are refused when they are read.
hone_status hone_shard_open(hone_shard *shard, const char *path, int64_t limit);
// Opens a headerless file of u16 (name ends in .u16) or u32 (.u32) ids.
hone_status hone_shard_open_raw(hone_shard *shard, const char *path, int64_t limit);
void hone_shard_close(hone_shard *shard);
// out[i] = ids[first + i], count of them, after checking the blocks they lie in.
hone_status hone_shard_read(hone_shard *shard, int64_t first, int64_t count, int32_t *out);
hone_status hone_shard_verify(hone_shard *shard);   // checks every block
uint64_t hone_shard_hash(const hone_shard *shard);  // of its ids, by their checksums; not of a raw file

// Writing: ids of whole documents, one after another; then finish (publishes the file) or abort.
typedef struct hone_shard_writer {
    hone_writer file;
    char *path;
    int id_bytes;
    int64_t vocab, n_tokens, n_documents, n_bytes;
    uint64_t tokenizer;
    uint64_t *ends, *sums; int64_t ends_capacity, n_sums, sums_capacity;
    uint32_t *source; int64_t source_capacity;
    uint8_t *block; size_t block_used;  // ids on their way to the file
} hone_shard_writer;
hone_status hone_shard_writer_open(hone_shard_writer *writer, const char *path, int64_t vocab, uint64_t tokenizer);
hone_status hone_shard_writer_add(hone_shard_writer *writer, const int32_t *ids, int64_t count, int64_t text_bytes, int64_t source);
hone_status hone_shard_writer_finish(hone_shard_writer *writer);
void hone_shard_writer_abort(hone_shard_writer *writer);
