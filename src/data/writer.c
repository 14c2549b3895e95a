// writer.c: a data set being written: into DIR.tmp, renamed to DIR when all of it is there.
#include "data/writer.h"
#include "base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

char *hone_dataset_writer_temporary(const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    return hone_format("%.*s.tmp", (int)length, path);
}

// What a run that was stopped left: its counts and its closed shards, each looked at; other files there are of no use.
static hone_status take_state(hone_dataset_writer *writer, const json_t *state)
{
    for (int s = 0; s < HONE_SPLIT_COUNT; s++) {
        const json_t *split = json_object_get(state, hone_split_name[s]), *shards = json_object_get(split, "shards"), *row;
        size_t i;
        const char *where = writer->temporary;
        hone_status status = hone_json_int(split, "documents", where, true, &writer->documents[s]);
        if (!status) status = hone_json_int(split, "tokens", where, true, &writer->tokens[s]);
        if (!status) status = hone_json_int(split, "bytes", where, true, &writer->bytes[s]);
        if (!status && json_array_extend(writer->shards[s], (json_t *)(uintptr_t)shards)) status = hone_fail("%s: its journal names no shards", where);
        json_array_foreach(writer->shards[s], i, row) {
            const char *name = NULL;
            hone_shard shard;
            if (!status) status = hone_json_text(row, "file", where, true, &name);
            char *path = status ? NULL : hone_path_join(writer->temporary, name);
            if (!status) status = path ? hone_shard_open(&shard, path, writer->vocab) : HONE_FAILED;
            if (!status) hone_shard_close(&shard);
            hone_free(path);
        }
        if (status) return status;
    }
    return HONE_OK;
}

hone_status hone_dataset_writer_open(hone_dataset_writer *writer, const char *path, int64_t vocab, uint64_t tokenizer, int64_t eos, int64_t shard_tokens, const json_t *state)
{
    *writer = (hone_dataset_writer){ .vocab = vocab, .tokenizer = tokenizer, .eos = eos, .shard_tokens = shard_tokens ? shard_tokens : INT64_MAX };
    if (hone_dir_exists(path) || hone_file_exists(path))
        return hone_fail("%s: it exists already; remove it, or choose another --output", path);
    writer->temporary = hone_dataset_writer_temporary(path);
    writer->path = writer->temporary ? hone_format("%.*s", (int)strlen(writer->temporary) - 4, path) : NULL;
    hone_status status = writer->path ? HONE_OK : HONE_FAILED;
    if (!status && !state) status = hone_dir_remove(writer->temporary); // of a run that was killed
    if (!status) status = hone_dir_create(writer->temporary);
    for (int s = 0; s < HONE_SPLIT_COUNT && !status; s++)
        if (!(writer->shards[s] = json_array())) status = hone_fail("out of memory");
    if (!status && state) status = take_state(writer, state);
    if (status) hone_dataset_writer_abort(writer);
    return status;
}

static hone_status close_shard(hone_dataset_writer *writer, hone_split split)
{
    if (!writer->open[split]) return HONE_OK;
    hone_shard_writer *shard = &writer->shard[split];
    json_t *row = json_pack("{s:s, s:I, s:I, s:I}", "file", strrchr(shard->path, '/') + 1, "tokens", (json_int_t)shard->n_tokens,
                            "documents", (json_int_t)shard->n_documents, "bytes", (json_int_t)shard->n_bytes);
    if (writer->with_trained && row && json_object_set_new(row, "trained", json_string(strrchr(writer->trained[split].path, '/') + 1))) {
        json_decref(row);
        row = NULL;
    }
    writer->open[split] = false;
    hone_status status = hone_shard_writer_finish(shard);
    if (writer->with_trained && status) hone_shard_writer_abort(&writer->trained[split]);
    else if (writer->with_trained) status = hone_shard_writer_finish(&writer->trained[split]);
    if (json_array_append_new(writer->shards[split], row) && !status) status = hone_fail("out of memory");
    return status;
}

static hone_status open_file(hone_dataset_writer *writer, hone_split split, const char *kind, int64_t vocab, hone_shard_writer *shard)
{
    char name[64];
    snprintf(name, sizeof name, "%s-%05zu%s.bin", hone_split_name[split], json_array_size(writer->shards[split]), kind);
    char *path = hone_path_join(writer->temporary, name);
    hone_status status = path ? hone_shard_writer_open(shard, path, vocab, writer->tokenizer) : HONE_FAILED;
    hone_free(path);
    return status;
}

static hone_status open_shard(hone_dataset_writer *writer, hone_split split)
{
    hone_status status = open_file(writer, split, "", writer->vocab, &writer->shard[split]);
    if (!status && writer->with_trained && (status = open_file(writer, split, "-trained", HONE_TRAINED_VALUES, &writer->trained[split]))) hone_shard_writer_abort(&writer->shard[split]);
    writer->open[split] = status == HONE_OK;
    return status;
}

hone_status hone_dataset_writer_add(hone_dataset_writer *writer, hone_split split, const int32_t *ids, int64_t count, int64_t text_bytes, int64_t source)
{
    return hone_dataset_writer_add_trained(writer, split, ids, NULL, count, text_bytes, source);
}

hone_status hone_dataset_writer_add_trained(hone_dataset_writer *writer, hone_split split, const int32_t *ids, const int32_t *trained, int64_t count, int64_t text_bytes, int64_t source)
{
    HONE_ASSERT(writer->with_trained == (trained != NULL), "the column of trained tokens is of all documents or of none");
    hone_status status = writer->open[split] ? HONE_OK : open_shard(writer, split);
    if (!status) status = hone_shard_writer_add(&writer->shard[split], ids, count, text_bytes, source);
    if (!status && trained) status = hone_shard_writer_add(&writer->trained[split], trained, count, text_bytes, source);
    if (status) return status;
    writer->documents[split]++;
    writer->bytes[split] += text_bytes;
    writer->tokens[split] += count;
    return writer->shard[split].n_tokens >= writer->shard_tokens ? close_shard(writer, split) : HONE_OK;
}

hone_status hone_dataset_writer_flush(hone_dataset_writer *writer)
{
    hone_status status = HONE_OK;
    for (int s = 0; s < HONE_SPLIT_COUNT && !status; s++) status = close_shard(writer, (hone_split)s);
    return status;
}

json_t *hone_dataset_writer_describe(const hone_dataset_writer *writer, json_t *more)
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
    hone_status status = hone_dataset_writer_flush(writer);
    char *path = hone_path_join(writer->temporary, "data.json");
    json_t *json = hone_dataset_writer_describe(writer, more);
    if (!status && (!path || !json)) status = hone_fail("out of memory");
    if (!status) status = hone_json_save(path, json);
    if (!status) status = hone_dir_publish(writer->temporary, writer->path);
    json_decref(json);
    hone_free(path);
    if (status) hone_dataset_writer_abort(writer);
    else release(writer);
    return status;
}

static void stop_writing(hone_dataset_writer *writer, bool remove)
{
    char *message = hone_strdup(hone_error()); // the clean-up must not hide why
    for (int s = 0; s < HONE_SPLIT_COUNT; s++)
        if (writer->open[s]) {
            hone_shard_writer_abort(&writer->shard[s]);
            if (writer->with_trained) hone_shard_writer_abort(&writer->trained[s]);
        }
    if (remove && writer->temporary && hone_dir_exists(writer->temporary)) hone_dir_remove(writer->temporary);
    release(writer);
    if (message && *message) hone_fail("%s", message);
    hone_free(message);
}

void hone_dataset_writer_abort(hone_dataset_writer *writer) { stop_writing(writer, true); }
void hone_dataset_writer_keep(hone_dataset_writer *writer) { stop_writing(writer, false); }
