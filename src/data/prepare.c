// prepare.c: see prepare.h: opens what the pipeline needs, goes on where an earlier run stopped, publishes.
#include "data/prepare.h"
#include "base/cpu.h"
#include "base/json.h"
#include "data/pipeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { BATCH_BYTES = 8 << 20 };

static hone_status find_eos(hone_pipeline *p)
{
    const char *name = p->options->eos;
    p->eos = name ? hone_tokenizer_find(p->tokenizer, name) : hone_tokenizer_special(p->tokenizer)->eos;
    if (p->eos >= 0) return HONE_OK;
    if (name) return hone_fail("%s: \"%s\" is no token of it, so it cannot close documents", p->options->tokenizer, name);
    return hone_fail("%s: it does not say which token ends a text; name one with --eos", p->options->tokenizer);
}

// What the data set was made from.
static hone_status describe_sources(const hone_pipeline *p, json_t *more)
{
    json_t *list = json_array();
    hone_status status = list && !json_object_set_new(more, "sources", list) ? HONE_OK : hone_fail("out of memory");
    for (int64_t f = 0; !status && f < p->inputs.count; f++) {
        const hone_input *input = &p->inputs.input[f];
        char text[32];
        snprintf(text, sizeof text, "%016" PRIx64, p->reader.hash[f]);
        json_t *row = json_pack("{s:s, s:I, s:s}", "path", input->path, "bytes", (json_int_t)input->size_bytes, "xxh3", text);
        if (json_array_append_new(list, row)) status = hone_fail("%s: its name is not UTF-8", input->path);
    }
    return status;
}

// What was odd, and what the filters did, for programs; the terminal's report is made from the same.
static hone_status describe_report(const hone_pipeline *p, json_t *more)
{
    const hone_prepare_report *r = p->report;
    json_t *filters = NULL;
    hone_status status = hone_cleaning_report(&p->cleaning, &filters);
    if (status) return status;
    if (p->cleaning.any) p->report->cleaning = json_incref(filters);
    json_t *row = json_pack("{s:I, s:I, s:I, s:I, s:o}", "empty", (json_int_t)r->empty, "invalid_utf8", (json_int_t)r->invalid, "long_lines", (json_int_t)r->long_lines,
                            "files_passed_over", (json_int_t)r->passed_over, "filters", filters);
    for (int f = 0; p->options->chat && row && f < HONE_CHAT_FATES; f++)
        if (json_object_set_new(row, hone_chat_fate_name[f], json_integer(r->fate[f]))) return hone_fail("out of memory");
    if (p->options->chat && row && json_object_set_new(row, "trained_tokens", json_integer(r->trained_tokens))) return hone_fail("out of memory");
    return !row || json_object_set_new(more, "report", row) ? hone_fail("out of memory") : HONE_OK;
}

static hone_status check_options(const hone_prepare_options *options)
{
    if (options->held_out < 0.0 || options->held_out >= 1.0) return hone_fail("held-out share %g must be at least 0 and below 1", options->held_out);
    if (options->document_bytes < 0 || options->document_bytes > 1 << 30) return hone_fail("document size %" PRId64 " must be within 0 and 2^30 bytes", options->document_bytes);
    if (options->separator && !*options->separator) return hone_fail("the separator of documents is empty");
    return HONE_OK;
}

static hone_status open_chat(hone_pipeline *p)
{
    const hone_prepare_options *o = p->options;
    if (!o->chat) return HONE_OK;
    if (p->cleaning.any) return hone_fail("conversations are not cleaned by filters; clean the records before, or leave the filters out");
    if (o->rules.cutoff_len < 0) return hone_fail("cutoff length %" PRId64 " must be positive", o->rules.cutoff_len);
    for (int64_t i = 0; i < p->inputs.count; i++)
        if (!hone_format_is_json(p->inputs.input[i].format))
            return hone_fail("%s: conversations are read from JSONL, one object a line, or from a JSON list of them; if that is what it holds, say --format jsonl or json", p->inputs.input[i].path);
    return hone_chat_open(&p->chat, o->tokenizer, o->chat_template, p->tokenizer);
}

// 1 % of the conversations may be lost without a word beyond the report's.
static hone_status check_dropped(const hone_pipeline *p)
{
    const int64_t *fate = p->report->fate;
    int64_t dropped = fate[HONE_CHAT_MASKED] + fate[HONE_CHAT_LONG] + fate[HONE_CHAT_UNPLACED], all = dropped + fate[HONE_CHAT_KEPT];
    if (!p->options->chat || p->options->allow_dropped || dropped * 100 <= all) return HONE_OK;
    return hone_fail("%" PRId64 " of %" PRId64 " conversations would be left out: %" PRId64 " have no token to train, %" PRId64 " are longer than the cut-off, %" PRId64
                     " cannot be placed; mend them, or allow it: --allow-dropped, in a recipe allow_dropped", dropped, all, fate[HONE_CHAT_MASKED], fate[HONE_CHAT_LONG], fate[HONE_CHAT_UNPLACED]);
}

static hone_status open_pipeline(hone_pipeline *p)
{
    const hone_prepare_options *o = p->options;
    json_t *state = NULL;
    hone_status status = check_options(o);
    if (!status) status = hone_inputs_open(&p->inputs, o->files, o->n_files, o->format);
    if (!status) status = o->template ? hone_template_parse(&p->fields, o->template) : hone_template_field(&p->fields, o->text_field);
    if (!status) status = hone_cleaning_open(&p->cleaning, o->recipe);
    if (!status && !(p->key_files = json_array())) status = hone_fail("out of memory");
    if (!status) status = hone_tokenizer_load(o->tokenizer, &p->tokenizer);
    if (!status) status = find_eos(p);
    if (!status) status = open_chat(p);
    if (status) return status;
    p->cleaning.keep_fresh = !p->inputs.standard;
    p->report->vocab = hone_tokenizer_vocab(p->tokenizer);
    p->report->files = p->inputs.count;
    p->report->passed_over = p->inputs.passed_over;
    p->report->passed_example = p->inputs.passed_example; // handed on
    p->inputs.passed_example = NULL;
    p->document_options = (hone_document_options){ &p->inputs, &p->fields, (size_t)o->document_bytes, o->separator };
    p->batch_bytes = o->shard_tokens > 0 && o->shard_tokens < BATCH_BYTES ? (size_t)o->shard_tokens : BATCH_BYTES;
    p->shard_tokens = o->shard_tokens > 0 ? o->shard_tokens : HONE_SHARD_TOKENS;
    p->command = hone_journal_identity(p);
    if (!p->command) return HONE_FAILED;
    if (!hone_dir_exists(o->output) && (status = hone_journal_read(p, &state))) return status;
    if (state) status = hone_journal_resume(p, state);
    else {
        status = hone_document_reader_open(&p->reader, &p->document_options, NULL);
        if (!status) status = hone_dataset_writer_open(&p->writer, o->output, p->report->vocab, hone_tokenizer_identity(p->tokenizer), p->eos, 0, NULL);
        p->writer.with_trained = p->chat.jinja != NULL;
    }
    json_decref(state);
    return status;
}

static void count(hone_pipeline *p)
{
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) {
        p->report->documents[k] = p->writer.documents[k];
        p->report->bytes[k] = p->writer.bytes[k];
        p->report->tokens[k] = p->writer.tokens[k];
        p->report->shards[k] = (int64_t)json_array_size(p->writer.shards[k]) + p->writer.open[k];
    }
    p->report->seconds = hone_clock_s() - p->began_s;
}

static hone_status publish(hone_pipeline *p)
{
    const hone_prepare_options *o = p->options;
    hone_status status = check_dropped(p);
    if (status) return status;
    if (p->writer.tokens[0] + p->writer.tokens[1] == 0)
        return hone_fail("%s: no text in it%s%s", p->inputs.input[0].path, p->inputs.count > 1 ? " nor in the other files" : "", p->cleaning.any ? " that the filters let pass" : "");
    if (p->keys_open) { // what is still to be remembered is of no use any more
        hone_writer_abort(&p->keys);
        p->keys_open = false;
    }
    json_t *more = json_pack("{s:f, s:I, s:I}", "held_out", o->held_out, "seed", (json_int_t)o->seed, "document_bytes", (json_int_t)o->document_bytes);
    status = more ? describe_sources(p, more) : hone_fail("out of memory");
    if (!status) status = describe_report(p, more);
    if (!status && o->rules.pairs && json_object_set_new(more, "pairs", json_true())) status = hone_fail("out of memory");
    count(p);
    if (!status) status = hone_tokenizer_save(p->tokenizer, p->writer.temporary); // the data explains itself: training needs no other path
    if (!status) status = hone_journal_remove(p);
    if (!status) status = hone_dataset_writer_finish(&p->writer, more);
    json_decref(more);
    p->report->seconds = hone_clock_s() - p->began_s;
    return status;
}

hone_status hone_prepare(const hone_prepare_options *options, hone_prepare_report *report)
{
    *report = (hone_prepare_report){ 0 };
    hone_pipeline p = { .options = options, .report = report, .began_s = hone_clock_s() };
    hone_status status = open_pipeline(&p);
    if (!status) {
        status = hone_pipeline_run(&p);
        count(&p);
        if (!status && !report->stopped) status = publish(&p);
    }
    if (p.writer.path) { // not published: closed shards that a journal names are worth keeping, nothing else is
        bool keep = hone_journal_exists(&p);
        if (keep) hone_dataset_writer_keep(&p.writer);
        else hone_dataset_writer_abort(&p.writer);
        char message[1024];
        snprintf(message, sizeof message, "%s", hone_error());
        if (status && keep) hone_fail("%s\n  what is done waits in %s.tmp: the same command goes on from there once this is mended; or remove the folder", message, options->output);
    }
    hone_pipeline_release(&p);
    if (status) hone_prepare_report_release(report);
    return status;
}

void hone_prepare_report_release(hone_prepare_report *report)
{
    hone_free(report->passed_example);
    report->passed_example = NULL;
    json_decref(report->cleaning);
    report->cleaning = NULL;
}
