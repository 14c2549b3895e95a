// moves.c: see moves.h.
#include "graph/moves.h"
#include "base/memory.h"
#include "base/units.h"
#include "graph/mirror.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { IN, OUT, WAYS };
enum { EVENT_HERE, FIRST_EVENT, EVENTS = (HONE_EVENTS - FIRST_EVENT) / WAYS };      // HERE: how far compute has come
static const int stream_of[WAYS] = { HONE_STREAM_IN, HONE_STREAM_OUT };

typedef struct lane { int64_t begun, passed; } lane;    // numbers of moves; passed: compute has waited for it

struct hone_moves {
    hone_scratch *scratch;      // the offload file, or
    uint8_t *pinned;            // the host's memory; home_bytes
    lane lane[WAYS];            // of streams
    hone_tid borrowed, stage;   // a storage that the host has in the place of this staging tensor of its; NONE
    int64_t *ticket;            // (n_tensor,) of a staging tensor's last move, of the last park of a home; 0 none. Streams: number << 1 | way
};

bool hone_moves_on_streams(const hone_session *s) { return s->moves && s->moves->pinned; }

// --- opening -------------------------------------------------------------------------------------------------------------

static hone_status open_pinned(hone_session *s)
{
    const size_t bytes = s->layout.home_bytes;
    void *homes = NULL;
    HONE_ASSERT(s->backend->record && s->backend->wait, "backend %s has memory of its own, but one stream", s->backend->name);
    if (!s->backend->alloc(s->self, HONE_SPACE_HOST, bytes, &homes)) {
        s->moves->pinned = homes;
        return HONE_OK;
    }
    struct rlimit lock = { 0 };
    char why[512], limit[32] = "unlimited";
    snprintf(why, sizeof why, "%s", hone_error());
    getrlimit(RLIMIT_MEMLOCK, &lock);
    if (lock.rlim_cur != RLIM_INFINITY) snprintf(limit, sizeof limit, "%s", hone_units_bytes((double)lock.rlim_cur).s);
    return hone_fail("offload: the plan parks %s in pinned host memory, which cannot be had: %s; `ulimit -l` is %s; free memory of the host, raise the limit, or give more"
                     " `memory`, so that less is parked", hone_units_bytes((double)bytes).s, why, limit);
}

hone_status hone_moves_open(hone_session *s)
{
    if (!s->layout.home_bytes) return HONE_OK;
    if (!(s->moves = hone_alloc(1, sizeof *s->moves))) return HONE_FAILED;
    s->moves->borrowed = HONE_NONE;
    if (!(s->moves->ticket = hone_alloc((size_t)s->graph->n_tensor, sizeof *s->moves->ticket))) return HONE_FAILED;
    if (s->mirror) return open_pinned(s);
    HONE_ASSERT(s->offload, "tensors are parked, but the session has no folder for the offload file");
    return hone_scratch_open(&s->moves->scratch, s->offload, (int64_t)s->layout.home_bytes);
}

void hone_moves_close(hone_session *s)
{
    hone_moves *m = s->moves;
    if (!m) return;
    hone_scratch_close(m->scratch);
    if (m->pinned) s->backend->release(s->self, HONE_SPACE_HOST, m->pinned, s->layout.home_bytes);
    hone_free(m->ticket);
    hone_free(m);
    s->moves = NULL;
}

// --- streams -------------------------------------------------------------------------------------------------------------

static int event_of(int way, int64_t number) { return FIRST_EVENT + way * EVENTS + (int)(number % EVENTS); }

// What is asked of `stream` next runs behind the move of that number.
static void let_wait(const hone_session *s, int stream, int way, int64_t number) { s->backend->wait(s->self, event_of(way, number), stream); }

static void compute_waits(hone_session *s, int way, int64_t number)
{
    lane *l = &s->moves->lane[way];
    if (number <= l->passed) return;
    let_wait(s, HONE_STREAM_COMPUTE, way, number);
    l->passed = number;
}

// `after`: of a park that a fetch has to see.
static int64_t begin_copy(hone_session *s, int way, void *to, const void *from, size_t size, int64_t after)
{
    lane *l = s->moves->lane;
    s->backend->record(s->self, EVENT_HERE, HONE_STREAM_COMPUTE);
    s->backend->wait(s->self, EVENT_HERE, stream_of[way]);
    if (after >> 1 > l[after & 1].passed) let_wait(s, stream_of[way], after & 1, after >> 1);
    s->backend->copy(s->self, to, from, size, stream_of[way]);
    s->backend->record(s->self, event_of(way, ++l[way].begun), stream_of[way]);
    return l[way].begun << 1 | way;
}

// --- moves ---------------------------------------------------------------------------------------------------------------

void hone_moves_begin(hone_session *s, const hone_node *node)
{
    hone_moves *m = s->moves;
    const bool fetch = node->op == HONE_OP_fetch;
    const hone_tid home = fetch ? node->in[0] : node->out[0], stage = fetch ? node->out[0] : node->in[0];
    if (node->op == HONE_OP_settle) return;
    uint8_t *place = s->arena + s->layout.offset[stage];
    const size_t bytes = s->layout.bytes[stage], size = hone_layout_place_bytes(hone_at(s->graph, stage), bytes);
    if (home == HONE_NONE) {
        if (m->pinned) s->backend->clear(s->self, place, bytes, HONE_STREAM_COMPUTE);
        else memset(place, 0, bytes);
        return;
    }
    const int64_t at = (int64_t)s->layout.home[home];
    if (m->pinned && fetch) m->ticket[stage] = begin_copy(s, IN, place, m->pinned + at, bytes, m->ticket[home]);
    else if (m->pinned) m->ticket[stage] = m->ticket[home] = begin_copy(s, OUT, m->pinned + at, place, bytes, 0);
    else if (fetch) m->ticket[stage] = hone_scratch_begin_read(m->scratch, at, place, size, m->ticket[home]);
    else m->ticket[stage] = m->ticket[home] = hone_scratch_begin_write(m->scratch, at, place, size);
}

static void wait_for(hone_session *s, hone_tid id)
{
    int64_t *ticket = &s->moves->ticket[id];
    if (*ticket && s->moves->pinned) compute_waits(s, *ticket & 1, *ticket >> 1);
    else if (*ticket) hone_scratch_wait(s->moves->scratch, *ticket);
    *ticket = 0;
}

// --- the host ------------------------------------------------------------------------------------------------------------

static hone_tid stage_of(const hone_session *s, hone_tid home)
{
    for (int p = 0; p < s->graph->n_program; p++)
        for (int64_t n = 0; n < s->graph->program[p].count; n++) {
            const hone_node *node = &s->graph->program[p].node[n];
            if (node->op == HONE_OP_fetch && node->in[0] == home) return node->out[0];
        }
    HONE_ASSERT(false, "no program fetches %s", hone_at(s->graph, home)->name);
    return HONE_NONE;
}

// The borrowed one's place fetched from its home or parked there, now.
static void carry_borrowed(hone_session *s, hone_op op)
{
    const hone_moves *m = s->moves;
    const bool fetch = op == HONE_OP_fetch;
    const hone_node node = { .op = op, .n_in = 1, .n_out = 1, .in = { fetch ? m->borrowed : m->stage }, .out = { fetch ? m->stage : m->borrowed } };
    hone_moves_begin(s, &node);
    wait_for(s, m->stage);
}

static void give_back(hone_session *s)
{
    if (s->moves->borrowed != HONE_NONE) carry_borrowed(s, HONE_OP_park);
    s->moves->borrowed = HONE_NONE;
}

static uint8_t *place_of_borrowed(const hone_session *s) { return s->arena + s->layout.offset[s->moves->stage]; }

void *hone_moves_borrow(hone_session *s, hone_tid id)
{
    hone_moves *m = s->moves;
    const hone_tid storage = hone_storage(s->graph, id);
    const int64_t within = hone_at(s->graph, id)->offset_bytes;
    if (m->pinned) return m->pinned + s->layout.home[storage] + within;
    if (m->borrowed != storage) {
        give_back(s);
        m->borrowed = storage;
        m->stage = stage_of(s, storage);
        carry_borrowed(s, HONE_OP_fetch);
    }
    return place_of_borrowed(s) + within;
}

// --- waiting -------------------------------------------------------------------------------------------------------------

void hone_moves_wait(hone_session *s, const hone_node *node)
{
    for (int i = 0; s->moves && i < node->n_in + node->n_out; i++) {
        const hone_tid id = hone_storage(s->graph, hone_node_operand(node, i));
        if (id != HONE_NONE && !hone_at(s->graph, id)->parked) wait_for(s, id);
    }
}

void hone_moves_join(hone_session *s)
{
    if (s->moves) give_back(s);
    for (int way = 0; s->moves && s->moves->pinned && way < WAYS; way++) compute_waits(s, way, s->moves->lane[way].begun);
    for (hone_tid id = 0; s->moves && id < s->graph->n_tensor; id++) wait_for(s, id);
}

hone_status hone_moves_check(const hone_session *s) { return s->moves && s->moves->scratch ? hone_scratch_check(s->moves->scratch) : HONE_OK; }

hone_status hone_moves_carry(const hone_session *s, hone_tid id, size_t first, size_t size, void *data, bool store)
{
    hone_moves *m = s->moves;
    const hone_tid storage = hone_storage(s->graph, id);
    const int64_t within = hone_at(s->graph, id)->offset_bytes + (int64_t)first, at = (int64_t)s->layout.home[storage] + within;
    uint8_t *here = m->pinned ? m->pinned + at : m->borrowed == storage ? place_of_borrowed(s) + within : NULL;
    if (!here) return store ? hone_scratch_write(m->scratch, at, data, size) : hone_scratch_read(m->scratch, at, data, size);
    memcpy(store ? here : data, store ? data : here, size);
    return HONE_OK;
}
