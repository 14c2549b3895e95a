// writer.c: a data set being written: into DIR.tmp, renamed to DIR when all of it is there.
#include "data/prepare.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SHARD_TOKENS = 1 << 28 };

hone_status hone_dataset_writer_open(hone_dataset_writer *writer, const char *path, int64_t vocab, uint64_t tokenizer, int64_t eos, int64_t shard_tokens)
{
    *writer = (hone_dataset_writer){ .vocab = vocab, .tokenizer = tokenizer, .eos = eos, .shard_tokens = shard_tokens ? shard_tokens : SHARD_TOKENS };
    if (hone_dir_exists(path) || hone_file_exists(path))
        return hone_fail("%s: it exists already; remove it, or choose another --output", path);
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    writer->path = hone_format("%.*s", (int)length, path);
    writer->temporary = hone_format("%.*s.tmp", (int)length, path);
    hone_status status = writer->path && writer->temporary ? HONE_OK : HONE_FAILED;
    if (!status) status = hone_dir_remove(writer->temporary); // of a run that was killed
    if (!status) status = hone_dir_create(writer->temporary);
    for (int s = 0; s < HONE_SPLIT_COUNT && !status; s++)
        if (!(writer->shards[s] = json_array())) status = hone_fail("out of memory");
    if (status) hone_dataset_writer_abort(writer);
    return status;
}

static hone_status close_shard(hone_dataset_writer *writer, hone_split split)
{
    if (!writer->open[split]) return HONE_OK;
    hone_shard_writer *shard = &writer->shard[split];
    json_t *row = json_pack("{s:s, s:I, s:I, s:I}", "file", strrchr(shard->path, '/') + 1, "tokens", (json_int_t)shard->n_tokens,
                            "documents", (json_int_t)shard->n_documents, "bytes", (json_int_t)shard->n_bytes);
    writer->open[split] = false;
    hone_status status = hone_shard_writer_finish(shard);
    if (json_array_append_new(writer->shards[split], row) && !status) status = hone_fail("out of memory");
    return status;
}

static hone_status open_shard(hone_dataset_writer *writer, hone_split split)
{
    char name[64];
    snprintf(name, sizeof name, "%s-%05zu.bin", hone_split_name[split], json_array_size(writer->shards[split]));
    char *path = hone_path_join(writer->temporary, name);
    if (!path) return HONE_FAILED;
    hone_status status = hone_shard_writer_open(&writer->shard[split], path, writer->vocab, writer->tokenizer);
    hone_free(path);
    writer->open[split] = status == HONE_OK;
    return status;
}

hone_status hone_dataset_writer_add(hone_dataset_writer *writer, hone_split split, const int32_t *ids, int64_t count, int64_t text_bytes)
{
    hone_status status = writer->open[split] ? HONE_OK : open_shard(writer, split);
    if (!status) status = hone_shard_writer_add(&writer->shard[split], ids, count, text_bytes);
    if (status) return status;
    writer->documents[split]++;
    writer->bytes[split] += text_bytes;
    writer->tokens[split] += count;
    return writer->shard[split].n_tokens >= writer->shard_tokens ? close_shard(writer, split) : HONE_OK;
}

static json_t *describe(hone_dataset_writer *writer, json_t *more)
{
    char tokenizer[32];
    snprintf(tokenizer, sizeof tokenizer, "%016" PRIx64, writer->tokenizer);
    json_t *json = json_pack("{s:s, s:i, s:s, s:I, s:I}", "format", "hone data set", "version", HONE_DATASET_VERSION, "tokenizer", tokenizer,
                             "vocab", (json_int_t)writer->vocab, "eos", (json_int_t)writer->eos);
    int failed = !json;
    for (int s = 0; !failed && s < HONE_SPLIT_COUNT; s++)
        failed = json_object_set_new(json, hone_split_name[s], json_pack("{s:I, s:I, s:I, s:O}", "documents", (json_int_t)writer->documents[s], "tokens",
                                     (json_int_t)writer->tokens[s], "bytes", (json_int_t)writer->bytes[s], "shards", writer->shards[s]));
    if (!failed && more) failed = json_object_update(json, more);
    if (!failed) return json;
    json_decref(json);
    return NULL;
}

static void release(hone_dataset_writer *writer)
{
    for (int s = 0; s < HONE_SPLIT_COUNT; s++) json_decref(writer->shards[s]);
    hone_free(writer->path);
    hone_free(writer->temporary);
    *writer = (hone_dataset_writer){ 0 };
}

hone_status hone_dataset_writer_finish(hone_dataset_writer *writer, json_t *more)
{
    hone_status status = HONE_OK;
    for (int s = 0; s < HONE_SPLIT_COUNT && !status; s++) status = close_shard(writer, (hone_split)s);
    char *path = hone_path_join(writer->temporary, "data.json");
    json_t *json = describe(writer, more);
    if (!status && (!path || !json)) status = hone_fail("out of memory");
    if (!status) status = hone_json_save(path, json);
    if (!status) status = hone_dir_publish(writer->temporary, writer->path);
    json_decref(json);
    hone_free(path);
    if (status) hone_dataset_writer_abort(writer);
    else release(writer);
    return status;
}

void hone_dataset_writer_abort(hone_dataset_writer *writer)
{
    char *message = hone_strdup(hone_error()); // the clean-up must not hide why
    for (int s = 0; s < HONE_SPLIT_COUNT; s++)
        if (writer->open[s]) hone_shard_writer_abort(&writer->shard[s]);
    if (writer->temporary && hone_dir_exists(writer->temporary)) hone_dir_remove(writer->temporary);
    release(writer);
    if (message && *message) hone_fail("%s", message);
    hone_free(message);
}
