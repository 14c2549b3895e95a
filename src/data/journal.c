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
    hone_status status = hone_buffer_print(&text, "%d %016" PRIx64 " %d %.17g %" PRIu64 " %" PRId64 " %" PRId64 " %d %s %s %s\n", HONE_DATASET_VERSION,
        hone_tokenizer_identity(p->tokenizer), (int)p->eos, o->held_out, o->seed, o->document_bytes, o->shard_tokens, o->strict,
        o->separator ? o->separator : "", o->template ? o->template : "", o->text_field);
    for (int64_t i = 0; i < p->inputs.count && !status; i++) {
        const hone_input *input = &p->inputs.input[i];
        status = hone_buffer_print(&text, "%s %d %" PRId64 " %" PRId64 "\n", input->path, (int)input->format, input->size_bytes, input->time_ns);
    }
    uint64_t hash = status ? 0 : hone_hash64(text.data, text.size);
    hone_buffer_release(&text);
    return hash;
}

hone_status hone_journal_write(hone_pipeline *p, const hone_document_position *at)
{
    const hone_prepare_report *r = p->report;
    hone_status status = hone_dataset_writer_flush(&p->writer);
    if (status || p->inputs.standard) return status; // standard input cannot be read a second time
    char command[32], *path = journal_path(p);
    json_t *data = hone_dataset_writer_describe(&p->writer, NULL), *hashes = json_array();
    snprintf(command, sizeof command, "%016" PRIx64, p->command);
    for (int64_t f = 0; f < at->file; f++) {
        char hash[32];
        snprintf(hash, sizeof hash, "%016" PRIx64, p->reader.hash[f]);
        if (json_array_append_new(hashes, json_string(hash))) status = HONE_FAILED;
    }
    json_t *json = json_pack("{s:s, s:[I,I,I], s:{s:I, s:I, s:I}, s:o, s:o}", "command", command, "at", (json_int_t)at->file, (json_int_t)at->offset, (json_int_t)at->line,
        "counts", "empty", (json_int_t)r->empty, "invalid", (json_int_t)r->invalid, "long_lines", (json_int_t)r->long_lines, "hashes", hashes, "data", data);
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
    json_array_foreach(json_object_get(state, "hashes"), i, hash)
        if ((int64_t)i < p->inputs.count) p->reader.hash[i] = strtoull(json_string_value(hash), NULL, 16);
    status = hone_dataset_writer_open(&p->writer, p->options->output, p->report->vocab, hone_tokenizer_identity(p->tokenizer), p->eos, 0,
                                      json_object_get(state, "data"));
    if (status) return status;
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) p->bytes_before += p->writer.bytes[k];
    r->resumed = true;
    r->resumed_bytes = p->bytes_before;
    return HONE_OK;
}
