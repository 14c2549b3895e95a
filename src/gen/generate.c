// generate.c: the scheduler of generate.h. One turn: give slots to waiting requests, reserve blocks oldest first, write
// the rows, run, sample, retire.
#include "gen/generate.h"
#include "base/cpu.h"
#include "base/memory.h"
#include <inttypes.h>
#include <omp.h>
#include <string.h>

const char *const hone_finish_name[HONE_FINISH_COUNT] = { "none", "length", "eos", "stop" };

typedef struct hone_slot {
    hone_request *request;      // NULL: idle
    int64_t order;              // smaller is older: index of its request
    int64_t cached;             // ids whose keys are in the cache
    int64_t n_block;            // blocks held: table[0..n_block)
    int64_t rows;               // given to it in this run
    int64_t wanted;             // index among the wanted rows, -1 none
} slot;

typedef struct { // a call of hone_generator_run
    hone_generator *g;
    hone_request *requests;
    int64_t count, next;        // requests before `next` have been started
    int64_t *again, n_again;    // evicted ones: (S,) indices
    hone_generate_hooks hooks;
    double start_s;
} turn;

void hone_request_release(hone_request *request)
{
    hone_free(request->ids);
    hone_free(request->logprob);
    request->ids = NULL;
    request->logprob = NULL;
    request->n_ids = 0;
}

hone_status hone_generator_open(hone_generator *g, hone_session *session, const hone_model *model, const hone_decode_io *io)
{
    *g = (hone_generator){ .session = session, .model = model, .io = *io, .n_sampler = omp_get_max_threads() };
    HONE_ASSERT(io->N >= io->S && io->R >= io->S, "%" PRId64 " rows, %" PRId64 " wanted for %" PRId64 " slots", io->N, io->R, io->S);
    int64_t n_block = io->cache_rows / io->block;
    g->slot = hone_alloc((size_t)io->S, sizeof *g->slot);
    g->free_block = hone_alloc((size_t)n_block, sizeof *g->free_block);
    g->held = hone_alloc((size_t)(io->blocks * io->block), sizeof *g->held);
    g->sampler = hone_alloc((size_t)g->n_sampler, sizeof *g->sampler);
    bool ok = g->slot && g->free_block && g->held && g->sampler;
    for (int i = 0; ok && i < g->n_sampler; i++) ok = !hone_sampler_init(&g->sampler[i], model->config.vocab);
    if (!ok) { hone_generator_close(g); return HONE_FAILED; }
    for (int64_t i = 0; i < n_block; i++) g->free_block[g->n_free++] = (int32_t)(n_block - 1 - i);
    return HONE_OK;
}

void hone_generator_close(hone_generator *g)
{
    for (int i = 0; g->sampler && i < g->n_sampler; i++) hone_sampler_release(&g->sampler[i]);
    hone_free(g->sampler);
    hone_free(g->held);
    hone_free(g->free_block);
    hone_free(g->slot);
    *g = (hone_generator){ 0 };
}

static int32_t *i32(const hone_generator *g, hone_tid id) { return hone_session_data(g->session, id); }
static int32_t *table_of(const hone_generator *g, const slot *s) { return i32(g, g->io.table) + (s - g->slot) * g->io.blocks; }

// --- blocks ---

static void release_blocks(hone_generator *g, slot *s)
{
    while (s->n_block > 0) g->free_block[g->n_free++] = table_of(g, s)[--s->n_block];
    s->cached = s->rows = 0;
}

// The youngest slot in use, other than an older one than `than`; NULL if `than` is the youngest.
static slot *younger(hone_generator *g, const slot *than)
{
    slot *youngest = NULL;
    for (slot *s = g->slot; s < g->slot + g->io.S; s++)
        if (s->request && s->order > than->order && (!youngest || s->order > youngest->order)) youngest = s;
    return youngest;
}

// The slot's request is answered: its blocks are free, or stay for what begins alike.
static void leave_blocks(hone_generator *g, slot *s)
{
    if (g->keep) memcpy(g->held, s->request->ids, (size_t)(g->n_held = s->cached) * sizeof *g->held);
    else release_blocks(g, s);
}

// Takes over the keys that the last request left. One id at least is computed: its logits are wanted.
static void take_held(hone_generator *g, slot *s)
{
    int64_t most = g->n_held < s->request->n_ids - 1 ? g->n_held : s->request->n_ids - 1;
    while (s->cached < most && g->held[s->cached] == s->request->ids[s->cached]) s->cached++;
    g->n_held = 0;
    g->stats.kept_tokens += s->cached;
}

static void evict(turn *t, slot *s)
{
    release_blocks(t->g, s);
    s->request = NULL;
    t->again[t->n_again++] = s->order;
    t->g->stats.evictions++;
}

// Blocks for `rows` more ids. False: the slot itself had to give way.
static bool reserve(turn *t, slot *s, int64_t rows)
{
    hone_generator *g = t->g;
    while (s->n_block * g->io.block < s->cached + rows) {
        if (g->n_free == 0) {
            slot *victim = younger(g, s);
            evict(t, victim ? victim : s);
            if (!victim) return false;
            continue;
        }
        table_of(g, s)[s->n_block++] = g->free_block[--g->n_free];
    }
    return true;
}

// --- one run ---

static void fill_slots(turn *t)
{
    for (slot *s = t->g->slot; s < t->g->slot + t->g->io.S; s++) {
        if (s->request) continue;
        int64_t index = -1;
        if (t->n_again > 0) { // evicted ones first, the oldest of them
            int64_t oldest = 0;
            for (int64_t i = 1; i < t->n_again; i++) if (t->again[i] < t->again[oldest]) oldest = i;
            index = t->again[oldest];
            t->again[oldest] = t->again[--t->n_again];
        } else if (t->next < t->count) {
            index = t->next++;
        }
        if (index < 0) return;
        *s = (slot){ .request = &t->requests[index], .order = index, .wanted = -1, .n_block = t->g->keep ? s->n_block : 0 };
        if (t->g->keep) take_held(t->g, s);
    }
}

// Slots by age.
static int64_t active_slots(hone_generator *g, slot **list)
{
    int64_t n = 0;
    for (slot *s = g->slot; s < g->slot + g->io.S; s++) {
        if (!s->request) continue;
        int64_t i = n++;
        for (; i > 0 && list[i - 1]->order > s->order; i--) list[i] = list[i - 1];
        list[i] = s;
    }
    return n;
}

// Shares out the rows of a run: decoding slots need one each, the rest goes to prompts, oldest first.
static bool share_rows(turn *t, slot **list, int64_t n)
{
    int64_t left = t->g->io.N;
    bool reads_prompt = false;
    for (int64_t i = 0; i < n; i++) {
        list[i]->rows = list[i]->request->n_ids - list[i]->cached == 1;
        left -= list[i]->rows;
    }
    for (int64_t i = 0; i < n; i++) {
        slot *s = list[i];
        if (!s->request) continue; // evicted by an older one
        if (s->rows == 0) {
            int64_t pending = s->request->n_ids - s->cached;
            s->rows = pending < left ? pending : left;
            left -= s->rows;
            reads_prompt |= s->rows > 0;
        }
        reserve(t, s, s->rows);
    }
    return reads_prompt;
}

static void write_rows(hone_generator *g, slot **list, int64_t n)
{
    const hone_decode_io *io = &g->io;
    int32_t *ids = i32(g, io->ids), *pos = i32(g, io->pos), *where = i32(g, io->slot), *cache_row = i32(g, io->cache_row);
    int32_t *lo = i32(g, io->lo), *hi = i32(g, io->hi), *wanted = i32(g, io->wanted), row = 0, n_wanted = 0;
    for (int64_t i = 0; i < n; i++) {
        slot *s = list[i];
        if (!s->request) continue;
        const int32_t *table = table_of(g, s);
        for (int64_t k = 0; k < s->rows; k++, row++) {
            int32_t p = (int32_t)(s->cached + k);
            ids[row] = s->request->ids[p];
            pos[row] = p;
            where[row] = (int32_t)(s - g->slot);
            cache_row[row] = table[p / io->block] * (int32_t)io->block + p % (int32_t)io->block;
            lo[row] = 0;
            hi[row] = p + 1;
        }
        s->cached += s->rows;
        s->wanted = s->rows > 0 && s->cached == s->request->n_ids ? n_wanted++ : -1;
        if (s->wanted >= 0) wanted[s->wanted] = row - 1;
    }
    *i32(g, io->count) = row;
    *i32(g, io->wanted_count) = n_wanted;
}

static void finish(turn *t, slot *s)
{
    hone_request *r = s->request;
    leave_blocks(t->g, s);
    s->request = NULL;
    if (t->hooks.finish) t->hooks.finish(t->hooks.context, r);
}

static void append_id(turn *t, slot *s, int32_t id, float logprob)
{
    hone_request *r = s->request;
    const hone_config *c = &t->g->model->config;
    if (r->logprob) r->logprob[r->n_ids - r->n_prompt] = logprob;
    r->ids[r->n_ids++] = id;
    if (t->g->stats.new_tokens++ == 0) t->g->stats.first_token_s = hone_clock_s() - t->start_s;
    if (t->hooks.token && t->hooks.token(t->hooks.context, r, id)) r->finish = HONE_FINISH_STOP;
    for (int64_t i = 0; i < c->n_eos && !r->ignore_eos; i++) if (id == c->eos[i]) r->finish = HONE_FINISH_EOS;
    if (r->finish == HONE_FINISH_NONE && r->n_ids == r->n_prompt + r->max_new) r->finish = HONE_FINISH_LENGTH;
    if (r->finish != HONE_FINISH_NONE) finish(t, s);
}

static bool is_stopped(const turn *t) { return t->hooks.stop && t->hooks.stop(t->hooks.context); }

static void stop_all(turn *t)
{
    for (slot *s = t->g->slot; s < t->g->slot + t->g->io.S; s++) {
        if (!s->request) continue;
        s->request->finish = HONE_FINISH_STOP;
        finish(t, s);
    }
}

typedef struct { slot *slot; int32_t id; float logprob; } pick;

static void sample_wanted(turn *t, slot **list, int64_t n, pick *picks)
{
    hone_generator *g = t->g;
    int64_t V = g->model->config.vocab, n_pick = 0;
    float *logits = hone_session_data(g->session, g->io.logits);
    for (int64_t i = 0; i < n; i++) if (list[i]->request && list[i]->wanted >= 0) picks[n_pick++].slot = list[i];
#pragma omp parallel for schedule(dynamic) num_threads(g->n_sampler) if (n_pick > 1)
    for (int64_t i = 0; i < n_pick; i++) {
        const hone_request *r = picks[i].slot->request;
        const float *z = logits + picks[i].slot->wanted * V;
        hone_sampler *sampler = &g->sampler[omp_get_thread_num()];
        picks[i].id = hone_sample(sampler, &r->sampling, z, r->ids, r->n_ids, r->key);
        picks[i].logprob = r->logprob ? hone_logprob_of(sampler, z, picks[i].id) : 0;
    }
    for (int64_t i = 0; i < n_pick; i++) append_id(t, picks[i].slot, picks[i].id, picks[i].logprob);
}

static void run_once(turn *t, slot **list, pick *picks)
{
    hone_generator *g = t->g;
    double start = hone_clock_s();
    int64_t new_before = g->stats.new_tokens;
    int64_t n = active_slots(g, list);
    bool reads_prompt = share_rows(t, list, n);
    write_rows(g, list, n);
    hone_session_run(g->session, "decode");
    sample_wanted(t, list, n, picks);
    *(reads_prompt ? &g->stats.prompt_s : &g->stats.decode_s) += hone_clock_s() - start;
    if (!reads_prompt) g->stats.decode_new += g->stats.new_tokens - new_before;
    g->stats.runs++;
}

static hone_status check(const hone_generator *g, const hone_request *r, int64_t index)
{
    int64_t context = g->io.blocks * g->io.block, positions = g->model->config.max_positions;
    if (positions < context) context = positions;
    if (r->n_prompt < 1) return hone_fail("request %" PRId64 ": empty prompt; give at least one token", index);
    if (r->max_new < 1) return hone_fail("request %" PRId64 ": %" PRId64 " new tokens asked; at least 1", index, r->max_new);
    if (r->n_prompt + r->max_new > context)
        return hone_fail("request %" PRId64 ": prompt of %" PRId64 " tokens and %" PRId64 " new ones exceed the %" PRId64
                         " positions there are; shorten the prompt or ask for fewer", index, r->n_prompt, r->max_new, context);
    for (int64_t i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || r->prompt[i] >= g->model->config.vocab)
            return hone_fail("request %" PRId64 ": id %d at position %" PRId64 " is outside the vocabulary of %" PRId64, index,
                             r->prompt[i], i, g->model->config.vocab);
    char where[48];
    snprintf(where, sizeof where, "request %" PRId64, index);
    return hone_sampling_check(&r->sampling, where);
}

static hone_status prepare_answer(hone_request *r)
{
    r->finish = HONE_FINISH_NONE;
    r->n_ids = r->n_prompt;
    r->ids = hone_alloc((size_t)(r->n_prompt + r->max_new), sizeof *r->ids);
    r->logprob = r->want_logprobs ? hone_alloc((size_t)r->max_new, sizeof *r->logprob) : NULL;
    if (!r->ids || (r->want_logprobs && !r->logprob)) return HONE_FAILED;
    memcpy(r->ids, r->prompt, (size_t)r->n_prompt * sizeof *r->ids);
    return HONE_OK;
}

hone_status hone_generator_run(hone_generator *g, hone_request *requests, int64_t count, const hone_generate_hooks *hooks)
{
    turn t = { .g = g, .requests = requests, .count = count, .start_s = hone_clock_s() };
    if (hooks) t.hooks = *hooks;
    g->stats = (hone_generator_stats){ 0 };
    HONE_ASSERT(!g->keep || g->io.S == 1, "%" PRId64 " slots; keys are kept of one", g->io.S);
    for (int64_t i = 0; i < count; i++) {
        requests[i].ids = NULL;
        requests[i].logprob = NULL;
    }
    for (int64_t i = 0; i < count; i++) {
        if (check(g, &requests[i], i)) return HONE_FAILED;
        g->stats.prompt_tokens += requests[i].n_prompt;
    }
    hone_status status = HONE_FAILED;
    slot **list = hone_alloc((size_t)g->io.S, sizeof *list);
    pick *picks = hone_alloc((size_t)g->io.S, sizeof *picks);
    t.again = hone_alloc((size_t)g->io.S, sizeof *t.again);
    if (!list || !picks || !t.again) goto out;
    for (int64_t i = 0; i < count; i++) if (prepare_answer(&requests[i])) goto out;
    for (fill_slots(&t); active_slots(g, list) > 0 && !is_stopped(&t); fill_slots(&t)) run_once(&t, list, picks);
    stop_all(&t);
    status = HONE_OK;
out:
    hone_free(t.again);
    hone_free(picks);
    hone_free(list);
    if (status) for (int64_t i = 0; i < count; i++) hone_request_release(&requests[i]);
    return status;
}
