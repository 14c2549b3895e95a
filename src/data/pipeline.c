// pipeline.c: see pipeline.h.
#include "data/pipeline.h"
#include "base/cpu.h"
#include "base/rng.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

enum { JOB_BYTES = 64 << 10, KEEP_BYTES = 1 << 20 };

// The first failure in the order of documents, whichever thread had it: the same message every time.
typedef struct { int64_t at; hone_status status; char message[1024]; } failure;

static void note_failure(failure *f, int64_t at)
{
    #pragma omp critical
    if (!f->status || at < f->at) {
        f->at = at;
        f->status = HONE_FAILED;
        snprintf(f->message, sizeof f->message, "%s", hone_error());
    }
}

static const char *name_of(const hone_pipeline *p, const hone_document *document)
{
    const char *path = p->inputs.input[document->file].path;
    return strcmp(path, "-") ? path : "standard input";
}

static const char *text_of(const hone_lane *lane, const hone_item_job *job, const hone_item *item)
{
    const char *const base[] = { lane->batch.bytes.data, job->room.data, job->masked.data, job->cut.data };
    return item->size ? base[item->in] + item->offset : "";
}

// --- taking out

static int64_t find_long_line(const char *text, size_t size)
{
    int64_t line = 0;
    for (size_t at = 0; size - at > HONE_LONG_LINE_BYTES; line++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t next = end ? (size_t)(end - text) + 1 : size;
        if (next - at > HONE_LONG_LINE_BYTES + 1) return line;
        at = next;
    }
    return -1;
}

static hone_status check_strict(const hone_pipeline *p, const hone_lane *lane, const hone_document *document, const hone_item *item, int64_t long_line)
{
    const char *name = name_of(p, document);
    bool plain = p->inputs.input[document->file].format == HONE_FORMAT_text;
    if (item->invalid) {
        int64_t line = hone_document_invalid_line(&lane->batch, document);
        return hone_fail("%s:%" PRId64 ": not valid UTF-8 (--strict)", name, line ? line : document->line);
    }
    if (item->size == 0) return hone_fail("%s:%" PRId64 ": the document has no text (--strict)", name, document->line);
    if (item->long_line)
        return hone_fail("%s:%" PRId64 ": a line of more than %d bytes (--strict)", name, document->line + (plain ? long_line : 0), HONE_LONG_LINE_BYTES);
    return HONE_OK;
}

static int parts_of(const hone_pipeline *p) { return p->chat.jinja && p->options->rules.pairs ? 2 : 1; }

// A conversation's text, and which bytes of it are trained; of a pair, of one behind the other.
static hone_status take_chat(const hone_pipeline *p, const hone_lane *lane, hone_item_job *job, int64_t d)
{
    const hone_prepare_options *o = p->options;
    const hone_document *document = &lane->batch.document[d];
    const char *json = lane->batch.bytes.data + document->offset;
    hone_item *item = &lane->item[d];
    char where[1024];
    snprintf(where, sizeof where, "%s:%" PRId64, name_of(p, document), document->line);
    *item = (hone_item){ .in = HONE_IN_ROOM, .offset = job->room.size, .span = job->n_spans };
    hone_status status = o->rules.pairs ? hone_chat_mark_pair(&p->chat, &o->rules, json, document->size, where, p->tokenizer, job->chat)
                                        : hone_chat_mark(&p->chat, &o->rules, json, document->size, where, p->tokenizer, job->chat);
    for (int part = 0; part < parts_of(p) && !status; part++) {
        const hone_chat_text *chat = &job->chat[part];
        if (chat->text.size) status = hone_buffer_append(&job->room, chat->text.data, chat->text.size);
        for (int64_t s = 0; s < chat->n_spans && !status; s++) {
            if (hone_grow(&job->span, job->n_spans, &job->span_capacity, sizeof *job->span)) return HONE_FAILED;
            job->span[job->n_spans++] = chat->span[s];
        }
        item->part[part].size = chat->text.size;
        item->part[part].n_spans = chat->n_spans;
        item->size += chat->text.size;
    }
    if (status) return status;
    item->split = hone_rng_uniform(o->seed, HONE_RNG_SPLIT, 0, hone_hash64(text_of(lane, job, item), item->size)) < o->held_out ? HONE_SPLIT_HELD : HONE_SPLIT_TRAIN;
    return HONE_OK;
}

// A pair is kept if both of its conversations are, and fit together.
static hone_status encode_chat(const hone_pipeline *p, const hone_lane *lane, hone_item_job *job, int64_t d)
{
    hone_item *item = &lane->item[d];
    const hone_chat_rules *rules = &p->options->rules;
    const char *text = text_of(lane, job, item);
    const hone_jinja_span *span = job->span + item->span;
    const int64_t before = job->ids.count;
    hone_status status = HONE_OK;
    for (int part = 0; part < parts_of(p) && !status && item->fate == HONE_CHAT_KEPT; part++) {
        const int64_t so_far = job->ids.count;
        status = hone_chat_encode(rules, p->tokenizer, text, item->part[part].size, span, item->part[part].n_spans, &job->ids, &job->trained, &item->fate);
        text += item->part[part].size;
        span += item->part[part].n_spans;
        item->part[part].tokens = job->ids.count - so_far;
    }
    if (status) hone_fail_context("%s:%" PRId64, name_of(p, &lane->batch.document[d]), lane->batch.document[d].line);
    if (item->fate == HONE_CHAT_KEPT && rules->cutoff_len && job->ids.count - before > rules->cutoff_len) item->fate = HONE_CHAT_LONG;
    if (item->fate != HONE_CHAT_KEPT) job->ids.count = job->trained.count = before;
    return status;
}

static hone_status take_out(const hone_pipeline *p, const hone_lane *lane, hone_item_job *job, int64_t d)
{
    if (p->chat.jinja) return take_chat(p, lane, job, d);
    const hone_document *document = &lane->batch.document[d];
    hone_item *item = &lane->item[d];
    const char *text;
    *item = (hone_item){ 0 };
    size_t before = job->room.size;
    hone_status status = hone_document_text(&p->document_options, &lane->batch, document, &job->room, &text, &item->size, &item->invalid);
    if (status) return status;
    item->in = p->inputs.input[document->file].format != HONE_FORMAT_text ? HONE_IN_ROOM : HONE_IN_BATCH;
    item->offset = item->in == HONE_IN_ROOM ? before : document->offset;
    int64_t long_line = find_long_line(text, item->size);
    item->long_line = long_line >= 0;
    if (p->options->strict) status = check_strict(p, lane, document, item, long_line);
    if (!status && p->cleaning.any) {
        hone_verdict *verdict = &lane->verdict[d];
        before = job->masked.size;
        status = hone_cleaning_judge(&p->cleaning, &p->cleaner[omp_get_thread_num()], (hone_text){ text, item->size }, &job->masked, &job->marks, verdict);
        if (status) return status;
        if (verdict->masks) {
            item->in = HONE_IN_MASKED;
            item->offset = before;
            item->size = job->masked.size - before;
            text = job->masked.data + before;
        }
    }
    item->split = hone_rng_uniform(p->options->seed, HONE_RNG_SPLIT, 0, hone_hash64(text, item->size)) < p->options->held_out ? HONE_SPLIT_HELD : HONE_SPLIT_TRAIN;
    return status;
}

static hone_status encode(const hone_pipeline *p, const hone_lane *lane, hone_item_job *job, int64_t d)
{
    hone_item *item = &lane->item[d];
    hone_status status = HONE_OK;
    if (item->size == 0) return HONE_OK;
    if (p->chat.jinja) return encode_chat(p, lane, job, d);
    if (p->cleaning.any) {
        const hone_verdict *verdict = &lane->verdict[d];
        if (verdict->filter >= 0) return HONE_OK;
        size_t cut = job->cut.size;
        if (verdict->cuts) {
            if (hone_cleaning_cut(&p->cleaning, (hone_text){ text_of(lane, job, item), item->size }, &job->marks, verdict, &job->cut)) return HONE_FAILED;
            item->in = HONE_IN_CUT;
            item->offset = cut;
            item->size = job->cut.size - cut;
        }
    }
    int64_t before = job->ids.count;
    status = hone_tokenizer_encode(p->tokenizer, text_of(lane, job, item), item->size, 0, &job->ids);
    if (!status) status = hone_ids_append(&job->ids, p->eos);
    const hone_document *document = &lane->batch.document[d];
    if (status) hone_fail_context("%s:%" PRId64, name_of(p, document), document->line);
    item->tokens = job->ids.count - before;
    return status;
}

static void take_out_all(const hone_pipeline *p, const hone_lane *lane, hone_item_job *job, failure *f)
{
    job->room.size = job->masked.size = job->cut.size = job->marks.size = 0;
    job->n_spans = 0;
    for (int64_t d = job->first; d < job->last; d++)
        if (take_out(p, lane, job, d)) { note_failure(f, d); return; }
}

static void encode_all(const hone_pipeline *p, const hone_lane *lane, hone_item_job *job, failure *f)
{
    job->ids.count = job->trained.count = 0;
    for (int64_t d = job->first; d < job->last; d++)
        if (encode(p, lane, job, d)) { note_failure(f, d); return; }
}

// The filters that compare, in the order of documents.
static hone_status remember(hone_pipeline *p, const hone_lane *lane)
{
    for (int64_t j = 0; j < lane->n_jobs; j++)
        for (int64_t d = lane->job[j].first; d < lane->job[j].last; d++)
            if (lane->item[d].size && hone_cleaning_remember(&p->cleaning, &lane->job[j].marks, &lane->verdict[d])) return HONE_FAILED;
    return HONE_OK;
}

// --- lanes

static hone_status deal_jobs(hone_lane *lane, bool judged)
{
    int64_t before = lane->item_capacity, count = lane->batch.count;
    if (count > before && hone_grow(&lane->item, count - 1, &lane->item_capacity, sizeof *lane->item)) return HONE_FAILED;
    if (judged && count > lane->verdict_capacity && hone_grow(&lane->verdict, count - 1, &lane->verdict_capacity, sizeof *lane->verdict)) return HONE_FAILED;
    lane->n_jobs = 0;
    for (int64_t d = 0; d < count;) {
        int64_t room = lane->job_capacity;
        if (hone_grow(&lane->job, lane->n_jobs, &lane->job_capacity, sizeof *lane->job)) return HONE_FAILED;
        if (lane->job_capacity > room) memset(lane->job + room, 0, (size_t)(lane->job_capacity - room) * sizeof *lane->job);
        hone_item_job *job = &lane->job[lane->n_jobs++];
        size_t bytes = 0;
        for (job->first = d; d < count && bytes < JOB_BYTES; d++) bytes += lane->batch.document[d].size;
        job->last = d;
    }
    return HONE_OK;
}

// Long documents must not leave their size behind in every buffer.
static void trim_job(hone_item_job *job)
{
    hone_buffer *const buffers[] = { &job->room, &job->masked, &job->cut, &job->marks };
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) if (buffers[i]->capacity > KEEP_BYTES) hone_buffer_release(buffers[i]);
    if ((size_t)job->ids.capacity * sizeof *job->ids.data > KEEP_BYTES) {
        hone_free(job->ids.data);
        job->ids = (hone_ids){ 0 };
    }
}

static hone_status read_lane(hone_pipeline *p, hone_lane *lane)
{
    hone_status status = hone_document_reader_next(&p->reader, &lane->batch, p->batch_bytes);
    lane->end = p->reader.at;
    return status ? status : deal_jobs(lane, p->cleaning.any);
}

static void count(hone_pipeline *p)
{
    hone_prepare_report *report = p->report;
    for (int k = 0; k < HONE_SPLIT_COUNT; k++) {
        report->documents[k] = p->writer.documents[k];
        report->bytes[k] = p->writer.bytes[k];
        report->tokens[k] = p->writer.tokens[k];
    }
    report->seconds = hone_clock_s() - p->began_s;
    hone_prepare_progress progress = { .seconds = report->seconds, .file_bytes = p->reader.read_bytes, .file_bytes_total = p->inputs.standard ? 0 : p->inputs.size_bytes,
        .documents = report->documents[0] + report->documents[1], .tokens = report->tokens[0] + report->tokens[1], .bytes = report->bytes[0] + report->bytes[1] };
    progress.text_bytes = report->text_bytes;
    if (p->options->progress) p->options->progress(p->options->context, &progress);
}

// Time to close shards and write the journal: one is full, or filters let so little through that much reading could be lost.
static bool is_full(const hone_pipeline *p)
{
    if (p->unsaved_bytes / 8 >= p->shard_tokens) return true;
    for (int k = 0; k < HONE_SPLIT_COUNT; k++)
        if (p->writer.open[k] && p->writer.shard[k].n_tokens >= p->shard_tokens) return true;
    return false;
}

static hone_status note_verdict(hone_pipeline *p, const hone_lane *lane, const hone_item_job *job, int64_t d)
{
    const hone_verdict *verdict = &lane->verdict[d];
    const hone_document *document = &lane->batch.document[d];
    char where[1024];
    if (verdict->filter < 0 && !verdict->masks && !verdict->cuts) return HONE_OK;
    snprintf(where, sizeof where, "%s:%" PRId64, name_of(p, document), document->line);
    return hone_cleaning_note(&p->cleaning, verdict, (hone_text){ text_of(lane, job, &lane->item[d]), lane->item[d].size }, where);
}

static hone_status write_lane(hone_pipeline *p, hone_lane *lane)
{
    hone_prepare_report *report = p->report;
    for (int64_t j = 0; j < lane->n_jobs; j++) {
        hone_item_job *job = &lane->job[j];
        const int32_t *ids = job->ids.data, *trained = p->chat.jinja ? job->trained.data : NULL;
        for (int64_t d = job->first; d < job->last; d++) {
            const hone_item *item = &lane->item[d];
            report->text_bytes += (int64_t)item->size;
            if (item->size == 0) { report->empty++; continue; }
            report->fate[item->fate]++;
            if (item->fate != HONE_CHAT_KEPT) continue;
            report->invalid += item->invalid > 0;
            report->long_lines += item->long_line;
            hone_status status = p->cleaning.any ? note_verdict(p, lane, job, d) : HONE_OK;
            if (!status && p->cleaning.any && lane->verdict[d].filter >= 0) continue;
            for (int part = 0; part < parts_of(p) && !status; part++) {
                const int64_t tokens = trained ? item->part[part].tokens : item->tokens, bytes = (int64_t)(trained ? item->part[part].size : item->size);
                status = hone_dataset_writer_add_trained(&p->writer, item->split, ids, trained, tokens, bytes, lane->batch.document[d].file);
                for (int64_t t = 0; trained && t < tokens; t++) report->trained_tokens += trained[t];
                ids += tokens;
                if (trained) trained += tokens;
            }
            if (status) return status;
        }
        trim_job(job);
    }
    bool any = lane->n_jobs > 0;
    p->unsaved_bytes += (int64_t)lane->batch.bytes.size;
    lane->n_jobs = 0;
    if (!any) return HONE_OK;
    count(p);
    if (hone_journal_spill(p)) return HONE_FAILED;
    return is_full(p) ? hone_journal_write(p, &lane->end) : HONE_OK;
}

// All threads on `now`; the first that is free writes `other` and reads the next batch into it. Filters that compare need every
// text of `now` before any is encoded; what they remember of it is no part of a journal that is written for `other`.
static hone_status turn(hone_pipeline *p, hone_lane *now, hone_lane *other, int threads)
{
    failure work = { 0 }, files = { 0 };
    bool compares = p->cleaning.compares;
    p->keys_ready = p->cleaning.fresh.size;
    if (compares) {
        #pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
        for (int64_t j = 0; j < now->n_jobs; j++) take_out_all(p, now, &now->job[j], &work);
        if (!work.status && remember(p, now)) return HONE_FAILED;
    }
    #pragma omp parallel num_threads(threads)
    {
        #pragma omp single nowait
        if (write_lane(p, other) || read_lane(p, other)) note_failure(&files, 0);
        #pragma omp for schedule(dynamic, 1)
        for (int64_t j = 0; j < now->n_jobs; j++) {
            if (!compares) take_out_all(p, now, &now->job[j], &work);
            if (!work.status) encode_all(p, now, &now->job[j], &work);
        }
    }
    if (work.status) return hone_fail("%s", work.message);
    return files.status ? hone_fail("%s", files.message) : HONE_OK;
}

hone_status hone_pipeline_run(hone_pipeline *p)
{
    int threads, at = 0;
    hone_status status = hone_cpu_threads(&threads);
    if (!status && p->cleaning.any && !(p->cleaner = hone_alloc((size_t)threads, sizeof *p->cleaner))) status = HONE_FAILED;
    if (!status) p->n_cleaners = p->cleaner ? threads : 0;
    if (!status) status = read_lane(p, &p->lane[0]);
    for (; !status && p->lane[at].batch.count; at = !at) {
        hone_lane *now = &p->lane[at], *other = &p->lane[!at];
        if (p->options->stop && p->options->stop(p->options->context)) {
            p->report->stopped = true;
            if (!other->n_jobs) return HONE_OK;
            p->keys_ready = p->cleaning.fresh.size;
            status = write_lane(p, other); // `now` was read, and is left to the next run
            return status ? status : hone_journal_write(p, &other->end);
        }
        status = turn(p, now, other, threads);
    }
    p->keys_ready = p->cleaning.fresh.size;
    if (!status) status = write_lane(p, &p->lane[!at]);
    return status;
}

void hone_pipeline_release(hone_pipeline *p)
{
    for (int k = 0; k < 2; k++) {
        hone_lane *lane = &p->lane[k];
        for (int64_t j = 0; j < lane->job_capacity; j++) {
            hone_buffer_release(&lane->job[j].room);
            hone_buffer_release(&lane->job[j].masked);
            hone_buffer_release(&lane->job[j].cut);
            hone_buffer_release(&lane->job[j].marks);
            hone_free(lane->job[j].ids.data);
            hone_free(lane->job[j].trained.data);
            hone_free(lane->job[j].span);
            for (int part = 0; part < 2; part++) hone_chat_text_release(&lane->job[j].chat[part]);
        }
        hone_free(lane->job);
        hone_free(lane->item);
        hone_free(lane->verdict);
        hone_document_batch_release(&lane->batch);
    }
    for (int t = 0; t < p->n_cleaners; t++) hone_cleaner_release(&p->cleaner[t]);
    hone_free(p->cleaner);
    if (p->keys_open) hone_writer_abort(&p->keys);
    json_decref(p->key_files);
    hone_cleaning_close(&p->cleaning);
    if (p->reader.options) hone_document_reader_close(&p->reader);
    hone_template_release(&p->fields);
    hone_inputs_close(&p->inputs);
    hone_chat_close(&p->chat);
    hone_tokenizer_free(p->tokenizer);
}
