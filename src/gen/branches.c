// branches.c: see branches.h. Rows are put into a run one by one; a run that is full is computed, and the fork goes on in the next
// one, since its keys stay in the cache. A slot and its blocks are taken back when they are wanted and its last row was computed.
#include "gen/branches.h"
#include "base/cpu.h"
#include "base/memory.h"
#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <string.h>

enum { ROWS = 512, WANTED = 192, SLOTS = 128, POOL_RUNS = 3 };

typedef struct hone_branch_slot {
    bool held;
    int64_t last_run;               // the run of its last row
    int64_t from, to;               // blocks of its table that go back with it
} slot;
typedef struct hone_want { hone_branch *branch; int32_t id; int64_t row; } want; // id judged by wanted row `row`

// --- what a fork needs ---

// Rows that all sequences share: equal ids, the last id of none (it predicts nothing).
static int64_t shared_rows(const hone_fork *f)
{
    int64_t n = f->branch[0].n - 1;
    for (int64_t b = 1; b < f->count; b++) {
        int64_t most = n < f->branch[b].n - 1 ? n : f->branch[b].n - 1;
        for (n = 0; n < most && f->branch[b].ids[n] == f->branch[0].ids[n]; n++) {}
    }
    return n;
}

static int64_t blocks_for(int64_t keys) { return (keys + HONE_KV_BLOCK - 1) / HONE_KV_BLOCK; }

static int64_t fork_blocks(const hone_fork *f)
{
    int64_t shared = shared_rows(f), blocks = blocks_for(shared);
    for (int64_t b = 0; b < f->count; b++) blocks += blocks_for(f->branch[b].n - 1 - shared);
    return blocks;
}

static hone_status check(const hone_config *c, const hone_branch *b, int64_t fork)
{
    if (b->judged < 1 || b->judged >= b->n) return hone_fail("question %" PRId64 ": nothing stands before its answer, or its answer is empty", fork + 1);
    if (b->n - 1 > c->max_positions)
        return hone_fail("question %" PRId64 ": %" PRId64 " tokens, but the model sees %" PRId64, fork + 1, b->n - 1, c->max_positions);
    for (int64_t i = 0; i < b->n; i++)
        if (b->ids[i] < 0 || b->ids[i] >= c->vocab)
            return hone_fail("question %" PRId64 ": id %d is outside the vocabulary of %" PRId64, fork + 1, b->ids[i], c->vocab);
    return HONE_OK;
}

hone_status hone_brancher_need(const hone_config *config, const hone_fork *forks, int64_t count, hone_decode_need *need)
{
    int64_t longest = 1, slots = SLOTS, most = 1, rows = 0, wanted = 1, all = 0;
    for (int64_t f = 0; f < count; f++) {
        int64_t blocks = fork_blocks(&forks[f]);
        for (int64_t b = 0; b < forks[f].count; b++) {
            const hone_branch *branch = &forks[f].branch[b];
            if (check(config, branch, f)) return HONE_FAILED;
            if (branch->n > longest) longest = branch->n;
            rows += branch->n;
            wanted += branch->judged;
        }
        if (forks[f].count > slots) slots = forks[f].count;
        if (blocks > most) most = blocks;
        all += blocks;
    }
    // room for the forks of a few runs, but no more than all forks together need
    int64_t pool = most + POOL_RUNS * blocks_for(ROWS), context = longest + HONE_KV_BLOCK;
    if (pool > all) pool = all;
    if (pool < blocks_for(context)) pool = blocks_for(context);
    if (rows > ROWS) rows = ROWS;
    *need = (hone_decode_need){ rows > slots ? rows : slots, wanted < WANTED ? wanted : WANTED, slots, context, pool };
    return HONE_OK;
}

// --- open, close ---

hone_status hone_brancher_open(hone_brancher *b, hone_session *session, const hone_model *model, const hone_decode_io *io)
{
    *b = (hone_brancher){ .session = session, .model = model, .io = *io, .n_sampler = omp_get_max_threads() };
    int64_t n_block = io->cache_rows / io->block;
    b->slot = hone_alloc((size_t)io->S, sizeof *b->slot);
    b->free_block = hone_alloc((size_t)n_block, sizeof *b->free_block);
    b->lse = hone_alloc((size_t)io->R, sizeof *b->lse);
    b->best = hone_alloc((size_t)io->R, sizeof *b->best);
    b->sampler = hone_alloc((size_t)b->n_sampler, sizeof *b->sampler);
    bool ok = b->slot && b->free_block && b->lse && b->best && b->sampler;
    for (int i = 0; ok && i < b->n_sampler; i++) ok = !hone_sampler_init(&b->sampler[i], model->config.vocab);
    if (!ok) { hone_brancher_close(b); return HONE_FAILED; }
    while (b->n_free < n_block) b->free_block[b->n_free] = (int32_t)b->n_free, b->n_free++;
    return HONE_OK;
}

void hone_brancher_close(hone_brancher *b)
{
    for (int i = 0; b->sampler && i < b->n_sampler; i++) hone_sampler_release(&b->sampler[i]);
    hone_free(b->sampler);
    hone_free(b->slot);
    hone_free(b->free_block);
    hone_free(b->want);
    hone_free(b->lse);
    hone_free(b->best);
    *b = (hone_brancher){ 0 };
}

static int32_t *i32(const hone_brancher *b, hone_tid id) { return hone_session_data(b->session, id); }
static int32_t *table_of(const hone_brancher *b, int64_t s) { return i32(b, b->io.table) + s * b->io.blocks; }

// --- runs ---

static void judge(hone_brancher *b)
{
    int64_t V = b->model->config.vocab;
    const float *logits = hone_session_data(b->session, b->io.logits);
#pragma omp parallel for schedule(dynamic) num_threads(b->n_sampler) if (b->wanted > 1)
    for (int64_t r = 0; r < b->wanted; r++) b->lse[r] = hone_logits_lse(&b->sampler[omp_get_thread_num()], logits + r * V, &b->best[r]);
    for (int64_t i = 0; i < b->n_want; i++) {
        const want *w = &b->want[i];
        w->branch->logprob += (double)logits[w->row * V + w->id] - b->lse[w->row];
        w->branch->greedy &= w->id == b->best[w->row];
    }
}

static void run_once(hone_brancher *b)
{
    double start = hone_clock_s();
    *i32(b, b->io.count) = (int32_t)b->rows;
    *i32(b, b->io.wanted_count) = (int32_t)b->wanted;
    hone_session_run(b->session, "decode");
    judge(b);
    b->tokens += b->rows;
    b->seconds += hone_clock_s() - start;
    b->rows = b->wanted = b->n_want = 0;
    b->run++;
}

void hone_brancher_flush(hone_brancher *b)
{
    if (b->rows > 0) run_once(b);
}

// Takes back what runs before this one were the last to need.
static int64_t reclaim(hone_brancher *b)
{
    int64_t idle = 0;
    for (int64_t s = 0; s < b->io.S; s++) {
        slot *one = &b->slot[s];
        if (one->held && one->last_run < b->run) {
            for (int64_t i = one->from; i < one->to; i++) b->free_block[b->n_free++] = table_of(b, s)[i];
            one->held = false;
        }
        idle += !one->held;
    }
    return idle;
}

// --- a fork ---

// Position p of a sequence, in slot s. Its keys begin `offset` behind the start of its first block. The sequences of the fork that
// judge by this row: all of them in the shared part, else one.
static hone_status add_row(hone_brancher *b, const hone_branch *any, int64_t p, int64_t s, int64_t offset, hone_branch *judge, int64_t count)
{
    const hone_decode_io *io = &b->io;
    bool wanted = false;
    for (int64_t i = 0; i < count; i++) wanted |= p + 1 >= judge[i].n - judge[i].judged;
    if (b->rows == io->N || (wanted && b->wanted == io->R)) run_once(b);
    for (int64_t i = 0; i < count; i++) {
        if (p + 1 < judge[i].n - judge[i].judged) continue;
        if (hone_grow(&b->want, b->n_want, &b->capacity, sizeof *b->want)) return HONE_FAILED;
        b->want[b->n_want++] = (want){ &judge[i], judge[i].ids[p + 1], b->wanted };
    }
    int64_t row = b->rows++, key = offset + p;
    if (wanted) i32(b, io->wanted)[b->wanted++] = (int32_t)row;
    i32(b, io->ids)[row] = any->ids[p];
    i32(b, io->pos)[row] = (int32_t)p;
    i32(b, io->slot)[row] = (int32_t)s;
    i32(b, io->cache_row)[row] = table_of(b, s)[key / io->block] * (int32_t)io->block + (int32_t)(key % io->block);
    i32(b, io->lo)[row] = (int32_t)offset;
    i32(b, io->hi)[row] = (int32_t)key + 1;
    return HONE_OK;
}

// The next idle slot from *at on: n_shared blocks (NULL: new ones) and `own` more. The shared ones go back with the slot of the
// last sequence, whose rows come last.
static int64_t open_slot(hone_brancher *b, int64_t *at, const int32_t *shared, int64_t n_shared, int64_t own, bool last)
{
    while (b->slot[*at].held) ++*at;
    int32_t *table = table_of(b, *at);
    for (int64_t i = 0; i < n_shared + own; i++) table[i] = shared && i < n_shared ? shared[i] : b->free_block[--b->n_free];
    b->slot[*at] = (slot){ .held = true, .last_run = INT64_MAX, .from = last ? 0 : n_shared, .to = n_shared + own };
    return *at;
}

hone_status hone_brancher_add(hone_brancher *b, hone_fork *f)
{
    int64_t shared = shared_rows(f), n_shared = blocks_for(shared), offset = n_shared * b->io.block - shared, at = 0, need = fork_blocks(f);
    HONE_ASSERT(f->count <= b->io.S && need <= b->io.cache_rows / b->io.block, "%" PRId64 " sequences in %" PRId64 " blocks: not what was built for", f->count, need);
    while (reclaim(b) < f->count || b->n_free < need) run_once(b);
    for (int64_t i = 0; i < f->count; i++) f->branch[i].logprob = 0, f->branch[i].greedy = true;
    const int32_t *common = NULL;   // the shared blocks: the table of the first slot begins with them
    for (int64_t i = 0; i < f->count; i++) {
        hone_branch *one = &f->branch[i];
        int64_t s = open_slot(b, &at, common, n_shared, blocks_for(one->n - 1 - shared), i == f->count - 1);
        for (int64_t p = 0; i == 0 && p < shared; p++) if (add_row(b, one, p, s, offset, f->branch, f->count)) return HONE_FAILED;
        for (int64_t p = shared; p < one->n - 1; p++) if (add_row(b, one, p, s, offset, one, 1)) return HONE_FAILED;
        b->slot[s].last_run = b->run;
        if (i == 0) common = table_of(b, s);
    }
    b->shared += shared * (f->count - 1);
    return HONE_OK;
}
