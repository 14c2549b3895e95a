// learn.c: see learn.h.
#include "data/learn.h"
#include "base/cpu.h"
#include "data/documents.h"
#include "text/tokenizer.h"

#include <inttypes.h>
#include <string.h>

enum { BATCH_BYTES = 16 << 20, PART_BYTES = 64 << 10 };

typedef struct { const char **text; size_t *size; int64_t count, text_capacity, size_capacity; } texts;

static hone_status add_text(texts *list, const char *text, size_t size)
{
    if (hone_grow(&list->text, list->count, &list->text_capacity, sizeof *list->text)) return HONE_FAILED;
    if (hone_grow(&list->size, list->count, &list->size_capacity, sizeof *list->size)) return HONE_FAILED;
    list->text[list->count] = text;
    list->size[list->count++] = size;
    return HONE_OK;
}

// Sorts a batch into plain texts, which lie in the batch, and others, which go to the room; that moves while it grows, so its
// texts get their addresses at the end.
static hone_status sort_batch(const hone_document_options *options, const hone_document_batch *batch, texts *plain, texts *other, hone_buffer *room)
{
    hone_status status = HONE_OK;
    plain->count = other->count = 0;
    room->size = 0;
    for (int64_t d = 0; d < batch->count && !status; d++) {
        const char *text;
        size_t size;
        int64_t invalid;
        bool is_plain = options->inputs->input[batch->document[d].file].format == HONE_FORMAT_text;
        status = hone_document_text(options, batch, &batch->document[d], room, &text, &size, &invalid);
        if (!status) status = add_text(is_plain ? plain : other, text, size);
    }
    size_t at = 0;
    for (int64_t i = 0; i < other->count; i++) {
        other->text[i] = room->data ? room->data + at : "";
        at += other->size[i];
    }
    return status;
}

static hone_status read_batches(hone_trainer *trainer, const hone_learn_options *options, const hone_document_options *from, hone_learn_report *report)
{
    hone_document_reader reader;
    hone_document_batch batch = { 0 };
    hone_buffer room = { 0 };
    texts list[2] = { { 0 }, { 0 } }; // plain texts, others
    hone_status status = hone_document_reader_open(&reader, from, NULL);
    if (status) return status;
    while (!(status = hone_document_reader_next(&reader, &batch, BATCH_BYTES)) && batch.count) {
        status = sort_batch(from, &batch, &list[0], &list[1], &room);
        for (int k = 0; k < 2; k++)
            if (!status && list[k].count) status = hone_trainer_add(trainer, list[k].count, list[k].text, list[k].size, k == 0);
        if (status) break;
        report->bytes += (int64_t)batch.bytes.size;
        if (options->progress) options->progress(options->context, report->bytes, 0);
    }
    for (int k = 0; k < 2; k++) {
        hone_free(list[k].text);
        hone_free(list[k].size);
    }
    hone_buffer_release(&room);
    hone_document_batch_release(&batch);
    hone_document_reader_close(&reader);
    return status;
}

static hone_status read_files(hone_trainer *trainer, const hone_learn_options *options, hone_learn_report *report)
{
    hone_inputs inputs;
    hone_template fields = { 0 };
    hone_status status = hone_inputs_open(&inputs, options->files, options->n_files, NULL);
    if (status) return status;
    status = hone_template_field(&fields, options->text_field);
    hone_document_options from = { &inputs, &fields, PART_BYTES, NULL };
    if (!status) status = read_batches(trainer, options, &from, report);
    hone_template_release(&fields);
    hone_inputs_close(&inputs);
    return status;
}

typedef struct { const hone_learn_options *options; int64_t bytes; } telling;
static void tell(void *context, int64_t vocab)
{
    const telling *t = context;
    if (t->options->progress) t->options->progress(t->options->context, t->bytes, vocab);
}

// The file, or a folder as AutoTokenizer loads it.
static hone_status save(const hone_trainer *trainer, const hone_tokenizer *base, const char *output)
{
    size_t length = strlen(output);
    if (length > 5 && strcmp(output + length - 5, ".json") == 0) return hone_trainer_save(trainer, output);
    char *path = hone_path_join(output, "tokenizer.json");
    hone_tokenizer *tokenizer = NULL;
    hone_status status = path ? hone_dir_create(output) : HONE_FAILED;
    if (!status && base) status = hone_tokenizer_save(base, output); // its tokenizer_config.json stays
    if (!status) status = hone_trainer_save(trainer, path);
    if (!status && !base) status = hone_tokenizer_load(path, &tokenizer);
    if (!status && !base) status = hone_tokenizer_save(tokenizer, output);
    hone_tokenizer_free(tokenizer);
    hone_free(path);
    return status;
}

hone_status hone_learn_tokenizer(const hone_learn_options *options, hone_learn_report *report)
{
    hone_trainer *trainer = NULL;
    double began = hone_clock_s();
    *report = (hone_learn_report){ 0 };
    hone_trainer_options how = options->trainer;
    char *folder = hone_format("%s.counts.tmp", options->output);
    if (how.memory_bytes == 0) how.memory_bytes = hone_memory_available_bytes() / 4; // learning takes about as much again
    how.spill_folder = folder;
    hone_status status = folder ? hone_trainer_new(&trainer, &how) : HONE_FAILED;
    if (!status) status = read_files(trainer, options, report);
    if (!status && hone_trainer_words(trainer) == 0 && !hone_trainer_spilled(trainer)) status = hone_fail("%s: no text in it%s", options->files[0], options->n_files > 1 ? " nor in the other files" : "");
    report->read_seconds = hone_clock_s() - began;
    telling t = { options, report->bytes };
    if (!status) status = hone_trainer_run(trainer, tell, &t);
    report->learn_seconds = hone_clock_s() - began - report->read_seconds;
    if (!status) {
        report->words = hone_trainer_words(trainer);
        report->dropped = hone_trainer_dropped(trainer);
        report->spilled = hone_trainer_spilled(trainer);
        report->vocab = hone_trainer_vocab(trainer);
        status = save(trainer, options->trainer.base, options->output);
    }
    hone_trainer_free(trainer);
    hone_free(folder);
    return status;
}
