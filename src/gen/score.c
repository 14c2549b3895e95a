// score.c: see score.h. Sequences keep their order; one that does not fit behind those that wait starts a new run.
#include "gen/score.h"
#include "base/cpu.h"
#include "base/memory.h"
#include <inttypes.h>
#include <string.h>

typedef struct hone_score_piece { float *logprob; int64_t row, n; } piece; // rows [row, row + n) of the run -> logprob[0..n)

hone_status hone_scorer_open(hone_scorer *scorer, hone_session *session, const hone_model *model, const hone_train_io *io)
{
    HONE_ASSERT(io->T == io->N, "score program of %" PRId64 " rows in groups of %" PRId64, io->N, io->T);
    *scorer = (hone_scorer){ .session = session, .model = model, .io = *io };
    scorer->waiting = hone_alloc((size_t)io->N, sizeof *scorer->waiting);
    return scorer->waiting ? HONE_OK : HONE_FAILED;
}

void hone_scorer_close(hone_scorer *scorer)
{
    hone_free(scorer->waiting);
    *scorer = (hone_scorer){ 0 };
}

void hone_scorer_flush(hone_scorer *s)
{
    if (s->used == 0) return;
    double start = hone_clock_s();
    *(int32_t *)hone_session_data(s->session, s->io.count) = (int32_t)s->used;
    hone_session_run(s->session, "score");
    const float *logprob = hone_session_data(s->session, s->io.logprob);
    for (int64_t i = 0; i < s->n_waiting; i++)
        memcpy(s->waiting[i].logprob, logprob + s->waiting[i].row, (size_t)s->waiting[i].n * sizeof *logprob);
    s->tokens += s->used;
    s->seconds += hone_clock_s() - start;
    s->used = s->n_waiting = 0;
}

static hone_status check(const hone_scorer *s, const hone_score_item *item, const char *where)
{
    const hone_config *c = &s->model->config;
    if (item->n < 1) return hone_fail("%s: empty; nothing to score", where);
    int64_t most = c->max_positions < s->io.N ? c->max_positions : s->io.N;
    if (item->n - 1 > most)
        return hone_fail("%s: %" PRId64 " tokens, but the model sees at most %" PRId64 " positions (and %" PRId64
                         " rows a run); cut it into shorter pieces", where, item->n, c->max_positions, s->io.N);
    for (int64_t i = 0; i < item->n; i++)
        if (item->ids[i] < 0 || item->ids[i] >= c->vocab)
            return hone_fail("%s: id %d at position %" PRId64 " is outside the vocabulary of %" PRId64, where, item->ids[i], i, c->vocab);
    return HONE_OK;
}

hone_status hone_scorer_add(hone_scorer *s, const hone_score_item *item, const char *where, bool *ran)
{
    if (check(s, item, where)) return HONE_FAILED;
    int64_t n = item->n - 1;
    item->logprob[0] = 0;
    *ran = s->used + n > s->io.N;
    if (*ran) hone_scorer_flush(s);
    if (n == 0) return HONE_OK;
    int32_t *ids = hone_session_data(s->session, s->io.ids), *target = hone_session_data(s->session, s->io.target);
    int32_t *pos = hone_session_data(s->session, s->io.pos), *lo = hone_session_data(s->session, s->io.lo);
    int32_t *hi = hone_session_data(s->session, s->io.hi);
    for (int64_t i = 0, row = s->used; i < n; i++, row++) {
        ids[row] = item->ids[i];
        target[row] = item->ids[i + 1];
        pos[row] = (int32_t)i;
        lo[row] = (int32_t)s->used;
        hi[row] = (int32_t)row + 1;
    }
    s->waiting[s->n_waiting++] = (piece){ item->logprob + 1, s->used, n };
    s->used += n;
    return HONE_OK;
}
