// prepare.c: see prepare.h. Batch after batch: one thread reads, all threads take documents out of the batch and encode
// them, one thread writes them in their order; so the data set does not depend on the number of threads.
#include "data/prepare.h"
#include "base/cpu.h"
#include "base/json.h"
#include "base/rng.h"
#include "data/documents.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { BATCH_BYTES = 16 << 20 };

typedef struct {    // one document on its way
    hone_ids ids;
    int64_t bytes, invalid;
    hone_split split;
} slot;

typedef struct {
    const hone_prepare_options *options;
    hone_tokenizer *tokenizer;
    int32_t eos;
    hone_document_batch batch;
    slot *slot; int64_t capacity;
    hone_dataset_writer writer;
    hone_prepare_report *report;
} state;

static hone_status find_eos(state *s)
{
    const char *name = s->options->eos;
    s->eos = name ? hone_tokenizer_find(s->tokenizer, name) : hone_tokenizer_special(s->tokenizer)->eos;
    if (s->eos >= 0) return HONE_OK;
    if (name) return hone_fail("%s: \"%s\" is no token of it, so it cannot close documents", s->options->tokenizer, name);
    return hone_fail("%s: it does not say which token ends a text; name one with --eos", s->options->tokenizer);
}

static hone_status encode_document(state *s, const hone_document *document, slot *out)
{
    const char *text;
    char *copy;
    size_t size;
    out->ids.count = 0;
    hone_status status = hone_document_text(&s->batch, document, s->options->files, s->options->text_field, &text, &size, &copy, &out->invalid);
    if (!status && size) {
        status = hone_tokenizer_encode(s->tokenizer, text, size, 0, &out->ids);
        if (!status) status = hone_ids_append(&out->ids, s->eos);
        if (status) hone_fail_context("%s:%" PRId64, s->options->files[document->file], document->line);
        out->split = hone_rng_uniform(s->options->seed, HONE_RNG_SPLIT, 0, hone_hash64(text, size)) < s->options->held_out ? HONE_SPLIT_HELD : HONE_SPLIT_TRAIN;
    }
    out->bytes = (int64_t)size;
    hone_free(copy);
    return status;
}

static hone_status encode_batch(state *s)
{
    int64_t before = s->capacity;
    if (s->capacity < s->batch.count) {
        if (hone_grow(&s->slot, s->batch.count - 1, &s->capacity, sizeof *s->slot)) return HONE_FAILED;
        memset(s->slot + before, 0, (size_t)(s->capacity - before) * sizeof *s->slot);
    }
    int threads;
    hone_status status = hone_cpu_threads(&threads);
    if (status) return status;
    int64_t failed = INT64_MAX; // the first document that failed, whichever thread had it: the same message every time
    char message[1024] = "";
    #pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (int64_t d = 0; d < s->batch.count; d++) {
        if (encode_document(s, &s->batch.document[d], &s->slot[d]) == HONE_OK) continue;
        #pragma omp critical
        if (d < failed) {
            failed = d;
            status = HONE_FAILED;
            snprintf(message, sizeof message, "%s", hone_error());
        }
    }
    return status ? hone_fail("%s", message) : HONE_OK;
}

static hone_status write_batch(state *s)
{
    for (int64_t d = 0; d < s->batch.count; d++) {
        slot *x = &s->slot[d];
        if (x->bytes == 0) { s->report->empty++; continue; }
        s->report->invalid += x->invalid > 0;
        hone_status status = hone_dataset_writer_add(&s->writer, x->split, x->ids.data, x->ids.count, x->bytes);
        if (status) return status;
    }
    return HONE_OK;
}

static void count(state *s, double began)
{
    hone_prepare_report *report = s->report;
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) {
        report->documents[k] = s->writer.documents[k];
        report->bytes[k] = s->writer.bytes[k];
        report->tokens[k] = s->writer.tokens[k];
    }
    report->seconds = hone_clock_s() - began;
}

static hone_status run_batches(state *s, double began)
{
    const hone_prepare_options *options = s->options;
    hone_document_reader reader;
    hone_document_reader_init(&reader, options->files, options->n_files, (size_t)options->document_bytes);
    hone_prepare_progress progress = { 0 };
    hone_status status = HONE_OK;
    for (int64_t f = 0; f < options->n_files; f++) {
        struct stat info;
        if (stat(options->files[f], &info) == 0) progress.file_bytes_total += info.st_size;
    }
    while (!(status = hone_document_reader_next(&reader, &s->batch, BATCH_BYTES)) && s->batch.count) {
        status = encode_batch(s);
        if (!status) status = write_batch(s);
        if (status) break;
        count(s, began);
        progress.seconds = s->report->seconds;
        progress.file_bytes = reader.read_bytes;
        progress.documents = s->report->documents[0] + s->report->documents[1];
        progress.tokens = s->report->tokens[0] + s->report->tokens[1];
        progress.bytes = s->report->bytes[0] + s->report->bytes[1];
        if (options->progress) options->progress(options->context, &progress);
    }
    hone_document_reader_release(&reader);
    return status;
}

// What the data set was made from.
static hone_status describe_sources(const hone_prepare_options *options, json_t *more)
{
    json_t *list = json_array();
    hone_status status = list && !json_object_set_new(more, "sources", list) ? HONE_OK : hone_fail("out of memory");
    for (int64_t f = 0; !status && f < options->n_files; f++) {
        struct stat info;
        uint64_t hash;
        char text[32];
        status = hone_file_hash(options->files[f], &hash);
        if (!status && stat(options->files[f], &info)) status = hone_fail("%s: it vanished while it was read", options->files[f]);
        if (status) break;
        snprintf(text, sizeof text, "%016" PRIx64, hash);
        json_t *row = json_pack("{s:s, s:I, s:s}", "path", options->files[f], "bytes", (json_int_t)info.st_size, "xxh3", text);
        if (json_array_append_new(list, row)) status = hone_fail("%s: its name is not UTF-8", options->files[f]);
    }
    return status;
}

static hone_status check_options(const hone_prepare_options *options)
{
    if (options->held_out < 0.0 || options->held_out >= 1.0) return hone_fail("held-out share %g must be at least 0 and below 1", options->held_out);
    if (options->document_bytes < 0 || options->document_bytes > 1 << 30) return hone_fail("document size %" PRId64 " must be within 0 and 2^30 bytes", options->document_bytes);
    if (options->n_files < 1) return hone_fail("no files to prepare");
    for (int64_t f = 0; f < options->n_files; f++) {
        if (hone_dir_exists(options->files[f])) return hone_fail("%s: it is a folder; name the files in it", options->files[f]);
        if (!hone_file_exists(options->files[f])) return hone_fail("%s: no such file", options->files[f]);
    }
    return HONE_OK;
}

hone_status hone_prepare(const hone_prepare_options *options, hone_prepare_report *report)
{
    state s = { .options = options, .report = report };
    json_t *more = NULL;
    double began = hone_clock_s();
    *report = (hone_prepare_report){ 0 };
    hone_status status = check_options(options);
    if (!status) status = hone_tokenizer_load(options->tokenizer, &s.tokenizer);
    if (!status) status = find_eos(&s);
    if (status) goto out;
    report->vocab = hone_tokenizer_vocab(s.tokenizer);
    status = hone_dataset_writer_open(&s.writer, options->output, report->vocab, hone_tokenizer_identity(s.tokenizer), s.eos, options->shard_tokens);
    if (status) goto out;
    status = run_batches(&s, began);
    if (!status && s.writer.tokens[0] + s.writer.tokens[1] == 0) status = hone_fail("%s: no text in it%s", options->files[0], options->n_files > 1 ? " nor in the other files" : "");
    more = json_pack("{s:f, s:I, s:I}", "held_out", options->held_out, "seed", (json_int_t)options->seed, "document_bytes", (json_int_t)options->document_bytes);
    if (!status) status = more ? describe_sources(options, more) : hone_fail("out of memory");
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) report->shards[k] = (int64_t)json_array_size(s.writer.shards[k]) + s.writer.open[k];
    count(&s, began);
    if (!status) status = hone_tokenizer_save(s.tokenizer, s.writer.temporary); // the data explains itself: training needs no other path
    if (status) hone_dataset_writer_abort(&s.writer);
    else status = hone_dataset_writer_finish(&s.writer, more);
    report->seconds = hone_clock_s() - began;
out:
    json_decref(more);
    for (int64_t i = 0; i < s.capacity; i++) hone_free(s.slot[i].ids.data);
    hone_free(s.slot);
    hone_document_batch_release(&s.batch);
    hone_tokenizer_free(s.tokenizer);
    return status;
}
