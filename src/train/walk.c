// walk.c: see walk.h.
#include "train/walk.h"
#include <string.h>

static int find(const hone_session *session, const char *name)
{
    int which = 0;
    while (which < session->graph->n_program && strcmp(session->graph->program[which].name, name) != 0) which++;
    HONE_ASSERT(which < session->graph->n_program, "no program %s in this graph", name);
    return which;
}

const hone_program *hone_walk_program(const hone_session *session, const char *name)
{
    return &session->graph->program[find(session, name)];
}

hone_status hone_walk_nodes(hone_session *session, const char *name, int64_t from, int64_t to)
{
    int which = find(session, name);
    const hone_program *program = &session->graph->program[which];
    if (to < 0) to = program->count;
    HONE_ASSERT(0 <= from && from <= to && to <= program->count, "nodes %lld to %lld of %s", (long long)from, (long long)to, name);
    for (int64_t n = from; n < to; n++) hone_session_run_node(session, which, n);
    if (session->backend->synchronize) session->backend->synchronize(session->self);
    session->caches_valid = false;   // as behind any run that is not of "refresh" or "decode"
    return hone_session_settle(session);
}
