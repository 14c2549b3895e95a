// task_eval.c: see task_eval.h.
#include "gen/task_eval.h"
#include "base/cpu.h"
#include "gen/branches.h"
#include "gen/generate.h"
#include "gen/stream.h"
#include <inttypes.h>
#include <string.h>

// A greedy continuation ends at one of these words, or after so many ids: those of the harness.
static const char *const stops[] = { "Question:", "</s>", "<|im_end|>" };
enum { STOPS = sizeof stops / sizeof *stops, MAX_NEW = 256, SLOTS = 32, ROWS = 512 };

typedef struct answer { hone_text_stream text; hone_decode_state decoder; } answer; // a text under way

typedef struct work { // a task under way
    hone_questions all;
    hone_ids *ids; int64_t n_ids;       // of every prompt x answer; of SOLVE, of every prompt
    hone_branch *branch;                // (n_ids,)
    hone_fork *fork;                    // (all.count,)
    hone_request *request;              // (all.count,) of SOLVE
    answer *answer;
    bool *cut;                          // (all.count,)
    hone_task_score *score;             // (all.count,)
} work;

typedef struct job {
    hone_runner *runner;
    const hone_task_options *options;
    work *work; int64_t n_work, questions, done;
    hone_decode_need need;
    hone_decode_io io;
    work *now;                          // whose texts are being written
    hone_buffer piece;
    hone_status status;                 // of a hook
    hone_task_results *results;
} job;

static bool solves(const work *w) { return w->all.task->measure == HONE_MEASURE_SOLVE; }
static int64_t ways(const hone_question *q) { return q->n_prompt > 1 ? q->n_prompt : q->n_answer; }
static const char *prompt_of(const hone_question *q, int64_t way) { return q->prompt[q->n_prompt > 1 ? way : 0]; }
static const char *answer_of(const hone_question *q, int64_t way) { return q->answer[q->n_prompt > 1 ? 0 : way]; }

static void release_work(work *w)
{
    for (int64_t i = 0; i < w->all.count && w->request; i++) hone_request_release(&w->request[i]);
    for (int64_t i = 0; i < w->all.count && w->answer; i++) hone_text_stream_release(&w->answer[i].text);
    for (int64_t i = 0; i < w->n_ids && w->ids; i++) hone_free(w->ids[i].data);
    hone_free(w->ids);
    hone_free(w->branch);
    hone_free(w->fork);
    hone_free(w->request);
    hone_free(w->answer);
    hone_free(w->cut);
    hone_free(w->score);
    hone_questions_release(&w->all);
}

// --- ids ---

static bool white(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static hone_status encode(const hone_tokenizer *t, const char *text, size_t size, bool alone, hone_ids *ids)
{
    return hone_tokenizer_encode(t, text, size, alone ? HONE_ENCODE_SPECIAL : 0, ids);
}

// Ids of prompt + " " + answer, and how many of them the answer makes. White space that ends the prompt belongs to the answer.
static hone_status encode_pair(const job *j, const char *prompt, const char *text, hone_ids *ids, int64_t *judged)
{
    const hone_tokenizer *t = j->runner->tokenizer;
    size_t size = strlen(prompt);
    while (size && white(prompt[size - 1])) size--;
    hone_ids front = { 0 };
    char *whole = hone_format("%s %s", prompt, text);
    hone_status status = whole ? HONE_OK : HONE_FAILED;
    if (!status && size) {
        status = encode(t, whole, strlen(whole), true, ids);
        if (!status) status = encode(t, prompt, size, true, &front);
    } else if (!status) { // nothing in front: a text begins with bos, or else eos
        const hone_special_ids *special = hone_tokenizer_special(t);
        int32_t first = special->bos >= 0 ? special->bos : special->eos;
        status = first < 0 ? hone_fail("an empty prompt, and the tokenizer has no token that begins a text") : hone_ids_append(&front, first);
        if (!status) status = hone_ids_append(ids, first);
        if (!status) status = encode(t, whole, strlen(whole), false, ids);
    }
    *judged = ids->count - front.count;
    hone_free(front.data);
    hone_free(whole);
    return status;
}

// The ends of the prompts that the model can see: at most `most` ids.
static bool cut_front(hone_ids *ids, int64_t most)
{
    if (ids->count <= most) return false;
    memmove(ids->data, ids->data + ids->count - most, (size_t)most * sizeof *ids->data);
    ids->count = most;
    return true;
}

static hone_status make_forks(job *j, work *w)
{
    int64_t positions = j->runner->model.config.max_positions;
    w->fork = hone_alloc((size_t)w->all.count, sizeof *w->fork);
    w->branch = hone_alloc((size_t)w->n_ids, sizeof *w->branch);
    if (!w->fork || !w->branch) return HONE_FAILED;
    hone_branch *branch = w->branch;
    for (int64_t i = 0, at = 0; i < w->all.count; i++) {
        const hone_question *q = &w->all.question[i];
        w->fork[i] = (hone_fork){ branch, ways(q) };
        for (int64_t k = 0; k < ways(q); k++, at++, branch++) {
            if (encode_pair(j, prompt_of(q, k), answer_of(q, k), &w->ids[at], &branch->judged)) return HONE_FAILED;
            w->cut[i] |= cut_front(&w->ids[at], positions + 1);
            branch->ids = w->ids[at].data;
            branch->n = w->ids[at].count;
        }
    }
    return HONE_OK;
}

static hone_status make_requests(job *j, work *w)
{
    int64_t positions = j->runner->model.config.max_positions, most = positions - MAX_NEW;
    if (most < 1) return hone_fail("%s: %s continues a prompt by %d tokens, but the model sees %" PRId64, j->runner->folder, w->all.task->name, MAX_NEW, positions);
    w->request = hone_alloc((size_t)w->all.count, sizeof *w->request);
    w->answer = hone_alloc((size_t)w->all.count, sizeof *w->answer);
    if (!w->request || !w->answer) return HONE_FAILED;
    for (int64_t i = 0; i < w->all.count; i++) {
        const char *prompt = w->all.question[i].prompt[0];
        if (encode(j->runner->tokenizer, prompt, strlen(prompt), true, &w->ids[i])) return HONE_FAILED;
        w->cut[i] = cut_front(&w->ids[i], most);
        w->request[i] = (hone_request){ .prompt = w->ids[i].data, .n_prompt = w->ids[i].count, .max_new = MAX_NEW, .sampling = HONE_SAMPLING_GREEDY };
        w->answer[i].text = (hone_text_stream){ .stop = stops, .n_stop = STOPS };
    }
    return HONE_OK;
}

static hone_status load(job *j, const hone_task *task, work *w)
{
    const hone_task_options *o = j->options;
    if (hone_task_load(task, o->folder, o->limit, o->shots, &w->all)) return HONE_FAILED;
    for (int64_t i = 0; i < w->all.count; i++) w->n_ids += solves(w) ? 1 : ways(&w->all.question[i]);
    w->ids = hone_alloc((size_t)w->n_ids, sizeof *w->ids);
    w->cut = hone_alloc((size_t)w->all.count, sizeof *w->cut);
    w->score = hone_alloc((size_t)w->all.count, sizeof *w->score);
    j->questions += w->all.count;
    return w->ids && w->cut && w->score ? solves(w) ? make_requests(j, w) : make_forks(j, w) : HONE_FAILED;
}

// --- one program for all ---

static void grow_to(int64_t *value, int64_t least) { if (*value < least) *value = least; }

static hone_status need_of(job *j, const work *w)
{
    hone_decode_need need = { 1, 1, 1, 1, 1 };
    if (!solves(w)) {
        if (hone_brancher_need(&j->runner->model.config, w->fork, w->all.count, &need)) return HONE_FAILED;
    } else {
        for (int64_t i = 0; i < w->all.count; i++) grow_to(&need.context, w->request[i].n_prompt + MAX_NEW);
        need.slots = w->all.count < SLOTS ? w->all.count : SLOTS;
        need.rows = ROWS;
        need.wanted = need.slots;
        need.pool = need.slots * ((need.context + HONE_KV_BLOCK - 1) / HONE_KV_BLOCK);
    }
    grow_to(&j->need.rows, need.rows);
    grow_to(&j->need.wanted, need.wanted);
    grow_to(&j->need.slots, need.slots);
    grow_to(&j->need.context, need.context);
    grow_to(&j->need.pool, need.pool);
    return HONE_OK;
}

static hone_status start(job *j)
{
    hone_decode_need *n = &j->need;
    for (int64_t i = 0; i < j->n_work; i++) if (need_of(j, &j->work[i])) return HONE_FAILED;
    grow_to(&n->wanted, n->slots);      // the generator wants a row of every slot
    grow_to(&n->rows, n->wanted);
    grow_to(&n->pool, (n->context + HONE_KV_BLOCK - 1) / HONE_KV_BLOCK);
    hone_status status = hone_model_build_decode_pool(&j->runner->model, n->rows, n->wanted, n->slots, n->context, n->pool, &j->io);
    return status ? status : hone_runner_start(j->runner);
}

static void show(job *j)
{
    j->done++;
    if (j->options->progress) j->options->progress(j->options->context, j->done, j->questions);
}

// --- multiple choice, and words ---

static int64_t characters(const char *text)
{
    int64_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

// The likeliest, the first among equals; by character where `normed`.
static int64_t choose(const hone_fork *f, const hone_question *q, bool normed)
{
    int64_t best = 0;
    double most = 0;
    for (int64_t k = 0; k < f->count; k++) {
        int64_t length = characters(answer_of(q, k));
        double value = f->branch[k].logprob / (normed && length ? (double)length : 1);
        if (k == 0 || value > most) best = k, most = value;
    }
    return best;
}

static hone_status judge(job *j, work *w)
{
    hone_brancher b;
    hone_status status = hone_brancher_open(&b, &j->runner->session, &j->runner->model, &j->io);
    for (int64_t i = 0; i < w->all.count && !status; i++) {
        status = hone_brancher_add(&b, &w->fork[i]);
        show(j);
    }
    if (!status) hone_brancher_flush(&b);
    for (int64_t i = 0; i < w->all.count && !status; i++) {
        const hone_question *q = &w->all.question[i];
        const hone_fork *f = &w->fork[i];
        hone_task_score *s = &w->score[i];
        if (w->all.task->measure == HONE_MEASURE_WORD) *s = (hone_task_score){ { f->branch[0].logprob, f->branch[0].greedy } };
        else *s = (hone_task_score){ { choose(f, q, false) == q->gold, choose(f, q, true) == q->gold } };
    }
    j->results->tokens += b.tokens;
    j->results->shared += b.shared;
    hone_brancher_close(&b);
    return status;
}

// --- texts ---

static bool on_token(void *context, hone_request *r, int32_t id)
{
    job *j = context;
    answer *a = &j->now->answer[r - j->now->request];
    const char *fresh;
    size_t n;
    if (j->status) return true;
    j->piece.size = 0;
    j->status = hone_tokenizer_decode_next(j->runner->tokenizer, &a->decoder, id, true, &j->piece);
    if (!j->status) j->status = hone_text_stream_add(&a->text, j->piece.data, j->piece.size, &fresh, &n);
    return j->status || a->text.stopped;
}

static void on_finish(void *context, hone_request *r)
{
    (void)r;
    show(context);
}

static const char *text_of(const work *w, int64_t i)
{
    const hone_buffer *text = &w->answer[i].text.text;
    return text->size ? text->data : "";
}

static hone_status solve(job *j, work *w)
{
    hone_generator g;
    j->now = w;
    hone_status status = hone_generator_open(&g, &j->runner->session, &j->runner->model, &j->io);
    if (!status) status = hone_generator_run(&g, w->request, w->all.count, &(hone_generate_hooks){ .token = on_token, .finish = on_finish, .context = j });
    if (!status) status = j->status;
    for (int64_t i = 0; i < w->all.count && !status; i++) {
        bool strict, flexible;
        status = hone_task_match(text_of(w, i), w->all.question[i].answer[0], &strict, &flexible);
        w->score[i] = (hone_task_score){ { strict, flexible } };
    }
    j->results->tokens += g.stats.prompt_tokens + g.stats.new_tokens;
    hone_generator_close(&g);
    return status;
}

// --- what came of it ---

static hone_status tell(const job *j, const work *w, int64_t i)
{
    const hone_question *q = &w->all.question[i];
    json_t *row = json_pack("{s:s, s:s, s:I, s:b}", "task", w->all.task->name, "part", w->all.part[q->part], "question", (json_int_t)i, "cut", (int)w->cut[i]);
    json_t *list = json_array();
    int failed = !row || !list;
    if (solves(w)) {
        hone_buffer text = { 0 };
        failed |= hone_utf8_append_lossy(&text, text_of(w, i), strlen(text_of(w, i))) || json_object_set_new(row, "text", json_string(text.size ? text.data : "")) ||
                  json_object_set_new(row, "strict", json_boolean(w->score[i].figure[0] > 0)) || json_object_set_new(row, "flexible", json_boolean(w->score[i].figure[1] > 0));
        hone_buffer_release(&text);
    } else {
        for (int64_t k = 0; k < w->fork[i].count; k++) failed |= json_array_append_new(list, json_real(w->fork[i].branch[k].logprob));
        failed |= json_object_set(row, "loglikelihoods", list);
        if (*w->all.task->gold) failed |= json_object_set_new(row, "gold", json_integer(q->gold)) || json_object_set_new(row, "chosen", json_integer(choose(&w->fork[i], q, false)));
        else failed |= json_object_set_new(row, "greedy", json_boolean(w->fork[i].branch[0].greedy));
    }
    hone_status status = failed ? hone_fail("out of memory") : j->options->sample(j->options->context, row);
    json_decref(list);
    json_decref(row);
    return status;
}

static hone_status finish(job *j, const work *w)
{
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < w->all.count && !status && j->options->sample; i++) status = tell(j, w, i);
    return status ? status : hone_task_measure(&w->all, w->score, w->cut, j->results);
}

hone_status hone_task_evaluate(hone_runner *runner, const hone_task *const *tasks, int64_t n, const hone_task_options *options, hone_task_results *results)
{
    job j = { .runner = runner, .options = options, .results = results };
    *results = (hone_task_results){ 0 };
    if (hone_runner_need_tokenizer(runner)) return HONE_FAILED;
    hone_status status = (j.work = hone_alloc((size_t)n, sizeof *j.work)) ? HONE_OK : HONE_FAILED;
    for (int64_t i = 0; i < n && !status; i++, j.n_work++) status = load(&j, tasks[i], &j.work[i]);
    if (!status) status = start(&j);
    double begin = hone_clock_s();
    for (int64_t i = 0; i < n && !status; i++) status = solves(&j.work[i]) ? solve(&j, &j.work[i]) : judge(&j, &j.work[i]);
    results->seconds = hone_clock_s() - begin;
    for (int64_t i = 0; i < n && !status; i++) status = finish(&j, &j.work[i]);
    for (int64_t i = 0; i < n && j.work; i++) release_work(&j.work[i]);
    hone_free(j.work);
    hone_buffer_release(&j.piece);
    return status;
}
