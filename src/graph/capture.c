// capture.c: see capture.h.
#include "graph/capture.h"
#include "base/memory.h"
#include "graph/mirror.h"
#include "graph/moves.h"
#include <string.h>

typedef struct key {
    int64_t from, to;
    int32_t live[HONE_CAPTURE_LIVE];
    int64_t last;               // run at which it was used; 0: this place is empty
    void *captured;             // the backend's; NULL: ran once, walked
} key;

typedef struct program {
    bool fixed;                 // launches depend on nothing but `live`
    int n_live;
    hone_tid live[HONE_CAPTURE_LIVE];
    key keys[HONE_CAPTURE_KEYS];
    int64_t runs;
    hone_capture_counts counts;
} program;

enum { PROGRAMS = 8 };
struct hone_captures { program program[PROGRAMS]; };

// Notes the live count; false: there are more of them than a key holds.
static bool add_live(program *p, hone_tid live)
{
    for (int i = 0; i < p->n_live; i++)
        if (p->live[i] == live) return true;
    if (p->n_live == HONE_CAPTURE_LIVE) return false;
    p->live[p->n_live++] = live;
    return true;
}

static bool look_at(program *p, const hone_session *s, const hone_program *of)
{
    const hone_graph *graph = s->graph;
    for (int64_t n = 0; n < of->count; n++) {
        const hone_node *node = &of->node[n];
        if (hone_is_move(node) && !hone_moves_on_streams(s)) return false;
        for (int i = 0; i < node->n_in + node->n_out; i++) {
            const hone_tid id = hone_node_operand(node, i), live = id == HONE_NONE ? HONE_NONE : hone_at(graph, id)->live;
            if (live != HONE_NONE && !add_live(p, live)) return false;
        }
    }
    return true;
}

hone_status hone_capture_open(hone_session *s)
{
    if (!(s->captures = hone_alloc(1, sizeof *s->captures))) return HONE_FAILED;
    for (int i = 0; i < s->graph->n_program; i++) {
        program *p = &s->captures->program[i];
        p->fixed = s->backend->capture_begin && look_at(p, s, &s->graph->program[i]);
    }
    return HONE_OK;
}

static void forget(const hone_session *s, key *k)
{
    if (k->captured) s->backend->forget(s->self, k->captured);
    *k = (key){ 0 };
}

void hone_capture_close(hone_session *s)
{
    for (int i = 0; s->captures && i < PROGRAMS; i++)
        for (int k = 0; k < HONE_CAPTURE_KEYS; k++) forget(s, &s->captures->program[i].keys[k]);
    hone_free(s->captures);
    s->captures = NULL;
}

// The key of this run: its place, or the place that it takes, of the one that ran longest ago.
static key *find(const hone_session *s, program *p, int64_t from, int64_t to)
{
    key now = { .from = from, .to = to }, *oldest = p->keys;
    for (int i = 0; i < p->n_live; i++) now.live[i] = *(const int32_t *)hone_session_data(s, p->live[i]);
    for (key *k = p->keys; k < p->keys + HONE_CAPTURE_KEYS; k++) {
        if (k->last && k->from == from && k->to == to && !memcmp(k->live, now.live, sizeof now.live)) return k;
        if (k->last < oldest->last) oldest = k;
    }
    p->counts.forgotten += oldest->captured != NULL;
    forget(s, oldest);
    *oldest = now;
    return oldest;
}

static void walk(hone_session *s, int which, int64_t from, int64_t to)
{
    for (int64_t n = from; n < to; n++) hone_session_run_node(s, which, n);
    hone_moves_join(s);
}

static hone_status capture(hone_session *s, int which, key *k)
{
    hone_moves_join(s);
    hone_mirror_hold(s);
    hone_status status = s->backend->capture_begin(s->self);
    if (!status) walk(s, which, k->from, k->to);
    if (!status) status = s->backend->capture_end(s->self, &k->captured);
    hone_mirror_let_go(s);
    return status;
}

hone_status hone_capture_run(hone_session *s, int which, int64_t from, int64_t to)
{
    program *p = &s->captures->program[which];
    key *k = p->fixed ? find(s, p, from, to) : NULL;
    const bool is_first = !k || !k->last;
    if (k) k->last = ++p->runs;
    if (is_first) {
        p->counts.walked++;
        walk(s, which, from, to);
        return HONE_OK;
    }
    if (!k->captured) {
        p->counts.captured++;
        if (capture(s, which, k)) return HONE_FAILED;
    }
    p->counts.replayed++;
    hone_mirror_push(s);
    s->backend->replay(s->self, k->captured);
    return HONE_OK;
}

const hone_capture_counts *hone_capture_counted(const hone_session *s, const char *name)
{
    for (int i = 0; i < s->graph->n_program; i++)
        if (!strcmp(s->graph->program[i].name, name)) return &s->captures->program[i].counts;
    hone_assert_failed(__FILE__, __LINE__, "program exists", "no program %s in this graph", name);
}
