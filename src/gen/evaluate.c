// evaluate.c: see evaluate.h. Two sources, one sum: shards come through the loader as training reads them, texts through
// the scorer, window by window.
#include "gen/evaluate.h"
#include "base/cpu.h"
#include "gen/batch.h"
#include "gen/lines.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { DEFAULT_CONTEXT = 1024, RUN_ROWS = 2048 };

typedef struct hone_window_sum { double nll; int64_t n; } window_sum;

hone_status hone_evaluation_add(hone_evaluation *e, double nll, int64_t n)
{
    if (n == 0) return HONE_OK;
    if (hone_grow(&e->window, e->windows, &e->capacity, sizeof *e->window)) return HONE_FAILED;
    e->window[e->windows++] = (window_sum){ nll, n };
    e->nll += nll;
    e->tokens += n;
    return HONE_OK;
}

hone_status hone_evaluation_join(hone_evaluation *e, const hone_evaluation *other)
{
    hone_status status = HONE_OK;
    bool first = e->windows == 0, unknown = other->bytes == 0 || (!first && e->bytes == 0);
    for (int64_t w = 0; w < other->windows && !status; w++) status = hone_evaluation_add(e, other->window[w].nll, other->window[w].n);
    e->bytes = unknown ? 0 : e->bytes + other->bytes; // unknown of one: unknown of both
    e->texts += other->texts;
    e->seconds += other->seconds;
    return status;
}

void hone_evaluation_release(hone_evaluation *e)
{
    hone_free(e->window);
    *e = (hone_evaluation){ 0 };
}

double hone_evaluation_loss(const hone_evaluation *e) { return e->nll / (double)e->tokens; }

double hone_evaluation_loss_error(const hone_evaluation *e)
{
    double loss = hone_evaluation_loss(e), sum = 0, W = (double)e->windows;
    if (e->windows < 2) return 0;
    for (int64_t w = 0; w < e->windows; w++) {
        double d = e->window[w].nll - loss * (double)e->window[w].n;
        sum += d * d;
    }
    return sqrt(W / (W - 1) * sum) / (double)e->tokens;
}

double hone_evaluation_bits_per_byte(const hone_evaluation *e) { return e->bytes > 0 ? e->nll / log(2.0) / e->bytes : 0; }

typedef struct { float *logprob; int64_t n; } window; // of n ids

typedef struct {
    hone_runner *runner;
    const hone_evaluate_options *options;
    hone_evaluation *e;
    int64_t context;
    hone_train_io io;
    int64_t given;                                      // predicted tokens on their way or done
    window *waiting; int64_t n_waiting, waiting_capacity; // handed to the scorer
    bool bytes_unknown;
} job;

static bool enough(const job *j) { return j->options->max_tokens > 0 && j->given >= j->options->max_tokens; }

static void report(const job *j) { if (j->options->progress) j->options->progress(j->options->progress_context, j->e); }

static hone_status start(job *j, int64_t rows)
{
    return hone_model_build_score(&j->runner->model, 1, rows, &j->io) || hone_runner_start(j->runner) ? HONE_FAILED : HONE_OK;
}

// Windows that share a run.
static int64_t run_rows(const job *j) { return RUN_ROWS / j->context > 1 ? RUN_ROWS / j->context : 1; }

// --- shards and raw token files ---

static void *place(const job *j, hone_tid id) { return hone_session_data(&j->runner->session, id); }

static double text_bytes(const hone_tokenizer *tokenizer, int32_t id)
{
    size_t size;
    if (hone_tokenizer_is_special(tokenizer, id)) return 0;
    return hone_tokenizer_token_bytes(tokenizer, id, &size) ? (double)size : 0;
}

// Adds the windows of one run.
static hone_status add_run(job *j, const hone_batch *batch, int64_t rows)
{
    const float *logprob = place(j, j->io.logprob);
    for (int64_t w = 0; w < rows; w++) {
        double nll = 0;
        int64_t n = 0;
        for (int64_t i = w * j->context; i < (w + 1) * j->context; i++) {
            if (batch->weight[i] == 0) continue;
            nll -= (double)logprob[i];
            n++;
            if (j->runner->tokenizer) j->e->bytes += text_bytes(j->runner->tokenizer, batch->target[i]);
        }
        if (hone_evaluation_add(j->e, nll, n)) return HONE_FAILED;
        j->given += n;
    }
    return HONE_OK;
}

static hone_status run_windows(job *j, hone_loader *loader, int64_t rows)
{
    hone_batch batch = hone_batch_of(&j->runner->session, &j->io);
    hone_status status = HONE_OK;
    batch.weight = hone_alloc((size_t)j->io.N, sizeof *batch.weight);
    if (!batch.weight) return HONE_FAILED;
    while (!status && loader->row < loader->windows && !enough(j)) {
        int64_t left = loader->windows - loader->row, now = left < rows ? left : rows;
        if ((status = hone_loader_next(loader, now, &batch))) break;
        *(int32_t *)place(j, j->io.count) = (int32_t)(now * j->context);
        hone_session_run(&j->runner->session, "score");
        status = add_run(j, &batch, now);
        report(j);
    }
    hone_free(batch.weight);
    return status;
}

static hone_status evaluate_shards(job *j)
{
    const hone_config *c = &j->runner->model.config;
    const hone_tokenizer *tokenizer = j->runner->tokenizer;
    bool held = false, raw = hone_dataset_is_raw(j->options->data);
    if (!raw && hone_dataset_has_split(j->options->data, HONE_SPLIT_HELD, &held)) return HONE_FAILED;
    hone_loader loader;
    hone_loader_options options = { .path = j->options->data, .split = held ? HONE_SPLIT_HELD : HONE_SPLIT_TRAIN,
        .order = HONE_ORDER_ONCE, .window = j->context, .isolation = true, .strategy = HONE_PACK_AUTO, .vocab = c->vocab,
        .tokenizer = tokenizer ? hone_tokenizer_identity(tokenizer) : 0, .eos = raw && c->n_eos > 0 ? c->eos[0] : -1 };
    if (hone_loader_open(&loader, &options)) return HONE_FAILED;
    int64_t rows = run_rows(j);
    hone_status status = start(j, rows * j->context);
    if (!status) status = run_windows(j, &loader, rows);
    if (!tokenizer) j->e->bytes = hone_loader_bytes_per_token(&loader) * (double)j->e->tokens;
    j->e->texts = loader.data.n_documents;
    hone_loader_close(&loader);
    return status;
}

// --- texts ---

// Bytes that all ids but the first stand for, as they decode in their places.
static hone_status count_bytes(job *j, const int32_t *ids, int64_t count)
{
    hone_decode_state state = { 0 };
    hone_buffer piece = { 0 };
    hone_status status = HONE_OK;
    if (!j->runner->tokenizer) { j->bytes_unknown = true; return HONE_OK; }
    for (int64_t i = 0; !status && i < count; i++) {
        piece.size = 0;
        status = hone_tokenizer_decode_next(j->runner->tokenizer, &state, ids[i], true, &piece);
        if (i > 0) j->e->bytes += (double)piece.size;
    }
    hone_buffer_release(&piece);
    return status;
}

// Sums up the first `count` waiting windows, whose log-probabilities are there now.
static hone_status take_windows(job *j, int64_t count)
{
    hone_status status = HONE_OK;
    for (int64_t w = 0; w < count; w++) {
        double nll = 0;
        for (int64_t i = 1; i < j->waiting[w].n; i++) nll -= (double)j->waiting[w].logprob[i];
        if (!status) status = hone_evaluation_add(j->e, nll, j->waiting[w].n - 1);
        hone_free(j->waiting[w].logprob);
    }
    if (count > 0) memmove(j->waiting, j->waiting + count, (size_t)(j->n_waiting - count) * sizeof *j->waiting);
    j->n_waiting -= count;
    report(j);
    return status;
}

// Windows overlap by one id: the last of one, predicted there, is the first input of the next.
static hone_status evaluate_ids(job *j, hone_scorer *scorer, const hone_ids *ids, const char *where)
{
    int64_t count = ids->count, left = j->options->max_tokens - j->given;
    if (j->options->max_tokens > 0 && count - 1 > left) count = left + 1;
    hone_status status = HONE_OK;
    bool ran;
    for (int64_t at = 0; !status && at + 1 < count; at += j->context) {
        int64_t n = count - at < j->context + 1 ? count - at : j->context + 1;
        if (hone_grow(&j->waiting, j->n_waiting, &j->waiting_capacity, sizeof *j->waiting)) return HONE_FAILED;
        window *w = &j->waiting[j->n_waiting];
        *w = (window){ hone_alloc((size_t)n, sizeof *w->logprob), n };
        if (!w->logprob) return HONE_FAILED;
        j->n_waiting++;
        status = hone_scorer_add(scorer, &(hone_score_item){ ids->data + at, n, w->logprob }, where, &ran);
        if (!status && ran) status = take_windows(j, j->n_waiting - 1);
        j->given += n - 1;
    }
    if (!status) status = count_bytes(j, ids->data, count);
    j->e->texts++;
    return status;
}

static hone_status evaluate_text(job *j, hone_scorer *scorer, const char *text, size_t size, const char *where)
{
    hone_ids ids = { 0 };
    if (hone_runner_need_tokenizer(j->runner)) return HONE_FAILED;
    hone_status status = hone_tokenizer_encode(j->runner->tokenizer, text, size, HONE_ENCODE_SPECIAL, &ids);
    if (!status) status = evaluate_ids(j, scorer, &ids, where);
    hone_free(ids.data);
    return status;
}

static hone_status evaluate_lines(job *j, hone_scorer *scorer)
{
    static const char *const keys[] = { "text", NULL };
    hone_lines lines;
    hone_status status = hone_lines_open(&lines, j->options->data);
    if (status) return status;
    for (hone_line line; !status && !enough(j) && hone_lines_next(&lines, &line, &status);) {
        const char *text;
        hone_ids ids = { 0 };
        status = hone_line_content(&line, keys, &text, &ids);
        if (!status) status = text ? evaluate_text(j, scorer, text, strlen(text), line.where) : evaluate_ids(j, scorer, &ids, line.where);
        hone_free(ids.data);
        hone_line_release(&line);
    }
    hone_lines_close(&lines);
    return status;
}

static bool ends_with(const char *path, const char *end)
{
    size_t n = strlen(path), e = strlen(end);
    return n >= e && !strcmp(path + n - e, end);
}

static hone_status evaluate_file(job *j)
{
    hone_scorer scorer = { 0 };
    hone_map map;
    if (hone_map_open(&map, j->options->data)) return HONE_FAILED; // before the weights are read
    hone_status status = start(j, run_rows(j) * j->context);
    if (!status) status = hone_scorer_open(&scorer, &j->runner->session, &j->runner->model, &j->io);
    if (!status) status = ends_with(j->options->data, ".jsonl") ? evaluate_lines(j, &scorer)
                        : evaluate_text(j, &scorer, (const char *)map.data, map.size, j->options->data);
    if (!status) hone_scorer_flush(&scorer);
    if (!status) status = take_windows(j, j->n_waiting);
    for (int64_t w = 0; w < j->n_waiting; w++) hone_free(j->waiting[w].logprob);
    hone_free(j->waiting);
    hone_scorer_close(&scorer);
    hone_map_close(&map);
    return status;
}

hone_status hone_evaluate(hone_runner *runner, const hone_evaluate_options *options, hone_evaluation *e)
{
    double begin = hone_clock_s();
    int64_t positions = runner->model.config.max_positions;
    job j = { .runner = runner, .options = options, .e = e, .context = options->context };
    *e = (hone_evaluation){ 0 };
    if (j.context == 0) j.context = positions < DEFAULT_CONTEXT ? positions : DEFAULT_CONTEXT;
    if (j.context < 1 || j.context > positions)
        return hone_fail("context of %" PRId64 " tokens: the model has %" PRId64 " positions", j.context, positions);
    bool shards = hone_dir_exists(options->data) || hone_dataset_is_raw(options->data);
    hone_status status = shards ? evaluate_shards(&j) : evaluate_file(&j);
    if (!status && e->tokens == 0) status = hone_fail("%s: no token to predict; it needs at least two tokens of text", options->data);
    if (j.bytes_unknown) e->bytes = 0;
    e->seconds = hone_clock_s() - begin - runner->load_s;
    if (status) hone_evaluation_release(e);
    return status;
}
