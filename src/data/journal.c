// journal.c: how far a data set that is being made has come (see pipeline.h). The journal is written when no shard is open,
// after the shards it names were flushed to disk, so what it says is there.
#include "data/pipeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static char *journal_path(const hone_pipeline *p)
{
    char *folder = hone_dataset_writer_temporary(p->options->output);
    char *path = folder ? hone_path_join(folder, "journal.json") : NULL;
    hone_free(folder);
    return path;
}

// 0: memory ran out.
uint64_t hone_journal_identity(const hone_pipeline *p)
{
    const hone_prepare_options *o = p->options;
    hone_buffer text = { 0 };
    hone_status status = hone_buffer_print(&text, "%d %016" PRIx64 " %d %.17g %" PRIu64 " %" PRId64 " %" PRId64 " %d %s %s %s %016" PRIx64 "\n", HONE_DATASET_VERSION,
        hone_tokenizer_identity(p->tokenizer), (int)p->eos, o->held_out, o->seed, o->document_bytes, o->shard_tokens, o->strict,
        o->separator ? o->separator : "", o->template ? o->template : "", o->text_field, hone_cleaning_identity(&p->cleaning));
    for (int64_t i = 0; i < p->inputs.count && !status; i++) {
        const hone_input *input = &p->inputs.input[i];
        status = hone_buffer_print(&text, "%s %d %" PRId64 " %" PRId64 "\n", input->path, (int)input->format, input->size_bytes, input->time_ns);
    }
    if (!status && p->chat.jinja) status = hone_buffer_print(&text, "chat %016" PRIx64 "\n", p->chat.hash);
    uint64_t hash = status ? 0 : hone_hash64(text.data, text.size);
    hone_buffer_release(&text);
    return hash;
}

static char *key_path(const hone_pipeline *p, size_t index)
{
    char name[32];
    snprintf(name, sizeof name, "keys-%05zu.bin", index);
    return hone_path_join(p->writer.temporary, name);
}

enum { SPILL_BYTES = 1 << 20 };

static hone_status write_keys(hone_pipeline *p)
{
    hone_buffer *fresh = &p->cleaning.fresh;
    size_t ready = p->keys_ready;
    hone_status status = HONE_OK;
    if (ready == 0) return HONE_OK;
    if (!p->keys_open) {
        char *path = key_path(p, json_array_size(p->key_files));
        status = path ? hone_writer_open(&p->keys, path) : HONE_FAILED;
        hone_free(path);
        if (status) return status;
        p->keys_open = true;
    }
    status = hone_writer_write(&p->keys, fresh->data, ready);
    memmove(fresh->data, fresh->data + ready, fresh->size - ready);
    fresh->size -= ready;
    p->keys_ready = 0;
    return status;
}

hone_status hone_journal_spill(hone_pipeline *p) { return p->keys_ready < SPILL_BYTES ? HONE_OK : write_keys(p); }

static hone_status close_keys(hone_pipeline *p)
{
    char hash[32];
    hone_status status = write_keys(p);
    if (status || !p->keys_open) return status;
    p->keys_open = false;
    if ((status = hone_writer_commit(&p->keys))) return status;
    snprintf(hash, sizeof hash, "%016" PRIx64, p->keys.hash);
    return json_array_append_new(p->key_files, json_string(hash)) ? hone_fail("out of memory") : HONE_OK;
}

static hone_status take_keys(hone_pipeline *p, const json_t *files)
{
    const json_t *hash;
    size_t i;
    hone_status status = HONE_OK;
    json_array_foreach(files, i, hash) {
        char *path = key_path(p, i), text[32];
        hone_map map;
        if (!path || (status = hone_map_open(&map, path))) { hone_free(path); return HONE_FAILED; }
        snprintf(text, sizeof text, "%016" PRIx64, hone_hash64(map.data, map.size));
        if (!json_string_value(hash) || strcmp(text, json_string_value(hash)) != 0) status = hone_fail("%s: wrong checksum: the file was altered or is damaged; remove %s", path, p->writer.temporary);
        if (!status) status = hone_cleaning_add_keys(&p->cleaning, map.data, map.size);
        hone_map_close(&map);
        hone_free(path);
        if (!status && json_array_append(p->key_files, (json_t *)(uintptr_t)hash)) status = hone_fail("out of memory");
        if (status) return status;
    }
    return HONE_OK;
}

hone_status hone_journal_write(hone_pipeline *p, const hone_document_position *at)
{
    const hone_prepare_report *r = p->report;
    hone_status status = hone_dataset_writer_flush(&p->writer);
    p->unsaved_bytes = 0;
    if (status || p->inputs.standard || p->chat.jinja) return status; // standard input cannot be read a second time, sets of conversations are small
    if ((status = close_keys(p))) return status;
    char command[32], *path = journal_path(p);
    json_t *data = hone_dataset_writer_describe(&p->writer, NULL), *hashes = json_array(), *cleaning = NULL;
    status = hone_cleaning_report(&p->cleaning, &cleaning);
    snprintf(command, sizeof command, "%016" PRIx64, p->command);
    for (int64_t f = 0; f < at->file; f++) {
        char hash[32];
        snprintf(hash, sizeof hash, "%016" PRIx64, p->reader.hash[f]);
        if (json_array_append_new(hashes, json_string(hash))) status = HONE_FAILED;
    }
    json_t *json = json_pack("{s:s, s:[I,I,I], s:{s:I, s:I, s:I}, s:o, s:o, s:O, s:o}", "command", command, "at", (json_int_t)at->file, (json_int_t)at->offset, (json_int_t)at->line,
        "counts", "empty", (json_int_t)r->empty, "invalid", (json_int_t)r->invalid, "long_lines", (json_int_t)r->long_lines, "hashes", hashes, "data", data, "keys", p->key_files, "cleaning", cleaning);
    if (!path || !json || status) status = hone_fail("out of memory");
    if (!status) status = hone_json_save(path, json);
    json_decref(json);
    hone_free(path);
    return status;
}

bool hone_journal_exists(const hone_pipeline *p)
{
    char *path = journal_path(p);
    bool exists = path && hone_file_exists(path);
    hone_free(path);
    return exists;
}

hone_status hone_journal_remove(const hone_pipeline *p)
{
    char *path = journal_path(p);
    hone_status status = path ? hone_dir_remove(path) : HONE_FAILED;
    hone_free(path);
    for (size_t i = 0; i < json_array_size(p->key_files) && !status; i++) {
        path = key_path(p, i);
        status = path ? hone_dir_remove(path) : HONE_FAILED;
        hone_free(path);
    }
    return status;
}

hone_status hone_journal_read(const hone_pipeline *p, json_t **state)
{
    *state = NULL;
    char *path = journal_path(p), command[32];
    if (!path) return HONE_FAILED;
    hone_status status = HONE_OK;
    snprintf(command, sizeof command, "%016" PRIx64, p->command);
    if (hone_file_exists(path)) status = hone_json_load(path, state);
    const char *then = json_string_value(json_object_get(*state, "command"));
    if (!status && *state && (!then || strcmp(then, command) != 0)) {
        hone_warn("%s is of another command, or its inputs changed since: begun anew", path);
        json_decref(*state);
        *state = NULL;
    }
    hone_free(path);
    return status;
}

hone_status hone_journal_resume(hone_pipeline *p, const json_t *state)
{
    hone_prepare_report *r = p->report;
    const json_t *at = json_object_get(state, "at"), *counts = json_object_get(state, "counts"), *hash;
    size_t i;
    hone_status status = hone_json_int(counts, "empty", "journal.json", true, &r->empty);
    if (!status) status = hone_json_int(counts, "invalid", "journal.json", true, &r->invalid);
    if (!status) status = hone_json_int(counts, "long_lines", "journal.json", true, &r->long_lines);
    hone_document_position position = { json_integer_value(json_array_get(at, 0)), json_integer_value(json_array_get(at, 1)), json_integer_value(json_array_get(at, 2)) };
    if (!status && (json_array_size(at) != 3 || position.file < 0 || position.file > p->inputs.count || position.offset < 0))
        status = hone_fail("%s.tmp/journal.json: no place to go on from; remove the folder", p->options->output);
    if (status) return status;
    if ((status = hone_document_reader_open(&p->reader, &p->document_options, &position))) return status;
    json_array_foreach(json_object_get(state, "hashes"), i, hash) {
        if ((int64_t)i >= p->inputs.count || !json_is_string(hash)) return hone_fail("%s.tmp/journal.json: hashes are not of these inputs; remove the folder", p->options->output);
        p->reader.hash[i] = strtoull(json_string_value(hash), NULL, 16);
    }
    status = hone_dataset_writer_open(&p->writer, p->options->output, p->report->vocab, hone_tokenizer_identity(p->tokenizer), p->eos, 0,
                                      json_object_get(state, "data"));
    if (status) return status;
    if ((status = take_keys(p, json_object_get(state, "keys")))) return status;
    if ((status = hone_cleaning_take_report(&p->cleaning, json_object_get(state, "cleaning")))) return status;
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) r->resumed_bytes += p->writer.bytes[k];
    r->resumed = true;
    return HONE_OK;
}
