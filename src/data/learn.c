// learn.c: see learn.h.
#include "data/learn.h"
#include "base/cpu.h"
#include "text/tokenizer.h"

#include <inttypes.h>
#include <string.h>

enum { BATCH_BYTES = 16 << 20, PART_BYTES = 64 << 10 };

typedef struct { const char **text; size_t *size; int64_t count, text_capacity, size_capacity; char **copy; int64_t n_copies, copy_capacity; } texts;

static hone_status add_text(texts *list, const char *text, size_t size)
{
    if (hone_grow(&list->text, list->count, &list->text_capacity, sizeof *list->text)) return HONE_FAILED;
    if (hone_grow(&list->size, list->count, &list->size_capacity, sizeof *list->size)) return HONE_FAILED;
    list->text[list->count] = text;
    list->size[list->count++] = size;
    return HONE_OK;
}

static void clear(texts *list)
{
    for (int64_t i = 0; i < list->n_copies; i++) hone_free(list->copy[i]);
    list->n_copies = list->count = 0;
}

static hone_status add_record(texts *list, const hone_learn_options *options, const hone_document_batch *batch, const hone_document *document)
{
    const char *text;
    size_t size;
    int64_t invalid;
    if (hone_grow(&list->copy, list->n_copies, &list->copy_capacity, sizeof *list->copy)) return HONE_FAILED;
    hone_status status = hone_document_text(batch, document, options->files, options->text_field, &text, &size, &list->copy[list->n_copies], &invalid);
    if (list->copy[list->n_copies]) list->n_copies++;
    return status ? status : add_text(list, text, size);
}

static hone_status read_batches(hone_trainer *trainer, const hone_learn_options *options, hone_learn_report *report)
{
    hone_document_reader reader;
    hone_document_batch batch = { 0 };
    texts list[2] = { { 0 }, { 0 } }; // plain texts, records
    hone_document_reader_init(&reader, options->files, options->n_files, PART_BYTES);
    hone_status status;
    while (!(status = hone_document_reader_next(&reader, &batch, BATCH_BYTES)) && batch.count) {
        for (int64_t d = 0; d < batch.count && !status; d++) {
            const hone_document *document = &batch.document[d];
            if (document->json) status = add_record(&list[1], options, &batch, document);
            else status = add_text(&list[0], batch.bytes.data + document->offset, document->size);
        }
        for (int k = 0; k < 2; k++) {
            if (!status && list[k].count) status = hone_trainer_add(trainer, list[k].count, list[k].text, list[k].size, k == 0);
            clear(&list[k]);
        }
        if (status) break;
        report->bytes += (int64_t)batch.bytes.size;
        if (options->progress) options->progress(options->context, report->bytes, 0);
    }
    for (int k = 0; k < 2; k++) {
        clear(&list[k]);
        hone_free(list[k].text);
        hone_free(list[k].size);
        hone_free(list[k].copy);
    }
    hone_document_batch_release(&batch);
    hone_document_reader_release(&reader);
    return status;
}

typedef struct { const hone_learn_options *options; int64_t bytes; } telling;
static void tell(void *context, int64_t vocab)
{
    const telling *t = context;
    if (t->options->progress) t->options->progress(t->options->context, t->bytes, vocab);
}

// The file, or a folder as AutoTokenizer loads it.
static hone_status save(const hone_trainer *trainer, const char *output)
{
    size_t length = strlen(output);
    if (length > 5 && strcmp(output + length - 5, ".json") == 0) return hone_trainer_save(trainer, output);
    char *path = hone_path_join(output, "tokenizer.json");
    hone_tokenizer *tokenizer = NULL;
    hone_status status = path ? hone_dir_create(output) : HONE_FAILED;
    if (!status) status = hone_trainer_save(trainer, path);
    if (!status) status = hone_tokenizer_load(path, &tokenizer);
    if (!status) status = hone_tokenizer_save(tokenizer, output);
    hone_tokenizer_free(tokenizer);
    hone_free(path);
    return status;
}

hone_status hone_learn_tokenizer(const hone_learn_options *options, hone_learn_report *report)
{
    hone_trainer *trainer = NULL;
    double began = hone_clock_s();
    *report = (hone_learn_report){ 0 };
    hone_status status = hone_trainer_new(&trainer, &options->trainer);
    if (!status) status = read_batches(trainer, options, report);
    if (!status && hone_trainer_words(trainer) == 0) status = hone_fail("%s: no text in it%s", options->files[0], options->n_files > 1 ? " nor in the other files" : "");
    report->read_seconds = hone_clock_s() - began;
    telling t = { options, report->bytes };
    if (!status) status = hone_trainer_run(trainer, tell, &t);
    report->learn_seconds = hone_clock_s() - began - report->read_seconds;
    if (!status) {
        report->words = hone_trainer_words(trainer);
        report->vocab = hone_trainer_vocab(trainer);
        status = save(trainer, options->output);
    }
    hone_trainer_free(trainer);
    return status;
}
