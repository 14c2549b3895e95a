// speed_measure.c: times the kinds of nodes where a run will run them.
//
// Nodes run in the job's own arena, in the order of the program, on initial weights and real rows. So operands lie where
// they will lie, and what a node finds in the caches is what its neighbours left there: timed alone, a small node on hot
// operands is up to three times too fast, and on evicted ones as much too slow. Programs that take long are thinned:
//
//     forward   embed . . . . . . . . [layer 10] [layer 11] [head]        the last few nodes of each kind
//     backward  [head] [layer 11] [layer 10] . . . . . . . .              the first few: of the layers that ran
//
// and where even that is too much, nodes run on a part of their token rows, all ops being linear in them. Where that takes
// more than MOST_S all the same, only kinds without a time run. A kind takes the mean of its times, the first, a cold one,
// left out where there are two more: on a busy machine single nodes wait a hundred times as long as they compute, and so they
// will in the run; medians foretold 16 times too much there.
#include "plan/speed.h"
#include "base/cpu.h"
#include "graph/mirror.h"
#include "base/power.h"
#include "plan/peak.h"
#include <math.h>
#include <string.h>

static const double BUDGET_S = 2, QUICK_S = 0.3, MOST_S = 5, LIKELY_SHARE = 0.3;   // of the peak, for the effort alone
enum { FEW = 3, MOST_PASSES = 100, QUICK_BYTES = 256 << 20 };

typedef struct { double first, rest; int64_t count; } tally;   // seconds

typedef struct {
    hone_speed *speed;
    hone_job *job;
    tally *of;              // (n_kind,)
    bool *chosen[HONE_PROGRAMS];        // per program (count,)
    int64_t few;            // nodes of a kind in each half of a program
    int32_t live;           // token rows that nodes run on
    double budget_s, spent_s;
    hone_status failed;     // of moves
} timing;

// --- which nodes -------------------------------------------------------------------------------------------------------

static bool forward(const hone_node *node) { return node->phase == HONE_PHASE_FORWARD; }

// Marks at most `few` nodes of each kind in each half of program `which`; returns their FLOPs.
static double choose(const hone_speed *speed, int which, int64_t few, int64_t *count, bool *chosen)
{
    const hone_program *program = &speed->job->graph->program[which];
    double flops = 0;
    for (int half = 0; half < 2; half++) {
        memset(count, 0, (size_t)speed->n_kind * sizeof *count);
        for (int64_t i = 0; i < program->count; i++) {
            int64_t n = half ? i : program->count - 1 - i;
            int32_t kind = speed->kind_of[which][n];
            if (forward(&program->node[n]) == (half == 1) || count[kind] == few) continue;
            count[kind]++;
            if (chosen) chosen[n] = true;
            flops += hone_node_flops(speed->job->graph, &program->node[n]);
        }
    }
    return flops;
}

static double flops_of(const hone_speed *speed, int64_t few)
{
    int64_t *count = hone_alloc((size_t)speed->n_kind, sizeof *count);
    double flops = 0;
    for (int p = 0; p < 8 && count; p++)
        if (speed->kind_of[p]) flops += choose(speed, p, few, count, NULL);
    hone_free(count);
    return flops;
}

// How many of a kind, and which share of their rows, so that it does not take too long.
static void set_effort(const hone_speed *speed, int64_t *few, double *share)
{
    double rate = speed->peak_flops * LIKELY_SHARE;
    *share = 1;
    *few = INT64_MAX;
    if (flops_of(speed, *few) / rate <= MOST_S) return;
    *few = FEW;
    if (flops_of(speed, *few) / rate <= MOST_S) return;
    *few = 1;
    *share = fmin(1, MOST_S * rate / flops_of(speed, *few));
}

bool hone_speed_is_quick(const hone_speed *speed)
{
    return flops_of(speed, INT64_MAX) / (speed->peak_flops * LIKELY_SHARE) < QUICK_S && speed->job->session.layout.arena_bytes < QUICK_BYTES;
}

// --- one node ----------------------------------------------------------------------------------------------------------

// Lets the node's operands of N token rows count `live` of them; returns what to multiply its time by.
static double cut_rows(const timing *t, hone_args *args)
{
    const hone_op_info *info = hone_op_get(args->op);
    int64_t N = t->job->micro.N;
    bool any = false;
    for (int side = 0; side < 2; side++) {
        const hone_operand_spec *spec = side ? info->out : info->in;
        hone_operand *operand = side ? args->out : args->in;
        for (int i = 0; i < (side ? info->n_out : info->n_in); i++) {
            if (!operand[i].present || operand[i].dim[0] != N || strcmp(spec[i].dim[0], "N")) continue;
            operand[i].live = &t->live;
            any = true;
        }
    }
    return any ? (double)N / (double)t->live : 1;
}

static void note(timing *t, int32_t kind, double seconds)
{
    tally *to = &t->of[kind];
    *(to->count++ ? &to->rest : &to->first) += seconds;
}

// All of a move: begun, and waited for.
static void time_move(timing *t, int which, int64_t n)
{
    hone_session *s = &t->job->session;
    double start = hone_clock_s();
    hone_session_run_node(s, which, n);
    if (s->backend->synchronize) s->backend->synchronize(s->self);
    if (hone_session_settle(s)) t->failed = HONE_FAILED;
    double seconds = hone_clock_s() - start;
    note(t, t->speed->kind_of[which][n], seconds);
    t->spent_s += seconds;
}

static void time_node(timing *t, int which, int64_t n)
{
    hone_session *s = &t->job->session;
    if (hone_is_move(&s->graph->program[which].node[n])) {
        time_move(t, which, n);
        return;
    }
    hone_args args = s->args[which][n];
    hone_mirror_push(s);
    double scale = t->live < t->job->micro.N ? cut_rows(t, &args) : 1, start = hone_clock_s();
    s->backend->run(s->self, &args, s->handle[which][n], s->graph->program[which].node[n].stream);
    if (s->backend->synchronize) s->backend->synchronize(s->self);
    double seconds = hone_clock_s() - start;
    note(t, t->speed->kind_of[which][n], seconds * scale);
    t->spent_s += seconds;
}

static void time_program(timing *t, const char *name)
{
    const hone_graph *graph = t->job->graph;
    for (int p = 0; p < graph->n_program; p++) {
        if (strcmp(graph->program[p].name, name)) continue;
        for (int64_t n = 0; n < graph->program[p].count; n++) {
            bool known = t->of[t->speed->kind_of[p][n]].count > 0;
            if (t->chosen[p][n] && !(known && t->spent_s > MOST_S)) time_node(t, p, n);
        }
    }
}

// --- inputs ------------------------------------------------------------------------------------------------------------

static void *data(const timing *t, hone_tid id) { return hone_session_data(&t->job->session, id); }

static hone_status read_rows(timing *t, const hone_train_io *io, float *weight)
{
    hone_batch batch;
    return hone_job_next(t->job, io, weight, &batch);
}

// Reads a micro-batch as the loop does, once to count and once to copy, and times that.
static hone_status fill_micro(timing *t)
{
    hone_job *job = t->job;
    int64_t row = job->train.now.row;
    float *weight = data(t, job->micro.weight);
    hone_batch counted = { 0 };
    double start = hone_clock_s();
    hone_status status = hone_mixture_next(&job->train, job->rows, &counted);
    hone_mixture_seek(&job->train, row);
    if (!status) status = read_rows(t, &job->micro, weight);
    for (int64_t n = 0; n < job->micro.N && !status; n++) weight[n] /= (float)job->micro.N;
    note(t, t->speed->rows_kind, hone_clock_s() - start);
    hone_mixture_seek(&job->train, row);
    return status;
}

static hone_status fill_score(timing *t)
{
    int64_t row = t->job->train.now.row;
    hone_status status = t->job->score.N ? read_rows(t, &t->job->score, NULL) : HONE_OK;
    hone_mixture_seek(&t->job->train, row);
    return status;
}

// --- all ---------------------------------------------------------------------------------------------------------------

static double mean(const tally *of)
{
    if (of->count > 2) return of->rest / (double)(of->count - 1);
    return of->count > 0 ? (of->first + of->rest) / (double)of->count : 0;
}

static hone_status open_timing(timing *t)
{
    hone_speed *speed = t->speed;
    int64_t N = t->job->micro.N, T = t->job->T, *count = hone_alloc((size_t)speed->n_kind, sizeof *count);
    double share;
    set_effort(speed, &t->few, &share);
    if (t->job->session.backend->prepare) share = 1;    // what a backend prepared knows nothing of fewer rows
    const int64_t sequences = N / T, live = (int64_t)(share * (double)sequences);
    t->live = (int32_t)((live > 1 ? live : 1) * T);
    t->of = hone_alloc((size_t)speed->n_kind, sizeof *t->of);
    hone_status status = count && t->of ? HONE_OK : HONE_FAILED;
    for (int p = 0; p < t->job->graph->n_program && !status; p++) {
        if (!speed->kind_of[p]) continue;
        if (!(t->chosen[p] = hone_alloc((size_t)t->job->graph->program[p].count + 1, sizeof(bool)))) status = HONE_FAILED;
        else choose(speed, p, t->few, count, t->chosen[p]);
    }
    hone_free(count);
    return status;
}

static hone_status run_passes(timing *t)
{
    hone_job *job = t->job;
    hone_status status = HONE_OK;
    hone_model_init(&job->model, 1, hone_job_borrow, job);
    for (int pass = 0; pass < MOST_PASSES && t->spent_s < t->budget_s && !status; pass++) {
        status = fill_micro(t);
        if (!status) time_program(t, "micro");
        hone_optim_hyper(&job->optim, 1e-5, 1, data(t, job->update.hyper));
        if (!status) time_program(t, "update");
        if (!status) status = fill_score(t);
        if (!status) time_program(t, "score");
        if (!status) status = t->failed;
    }
    return status;
}

hone_status hone_speed_measure(hone_speed *speed, bool quick)
{
    double start = hone_clock_s(), joules = 0, before = 0;
    timing t = { .speed = speed, .job = speed->job, .budget_s = quick ? QUICK_S : BUDGET_S };
    hone_status status = open_timing(&t);
    bool metered = hone_power_read(NULL, &before);
    double began = hone_clock_s();
    if (!status) status = run_passes(&t);
    if (metered && hone_power_read(NULL, &joules) && joules > before) speed->watts = (joules - before) / (hone_clock_s() - began);
    for (int64_t k = 0; k < speed->n_kind && !status; k++) speed->kind[k].seconds = mean(&t.of[k]);
    for (int p = 0; p < HONE_PROGRAMS; p++) hone_free(t.chosen[p]);
    hone_free(t.of);
    speed->measured_s = hone_clock_s() - start;
    return status;
}

static hone_status find_peak(hone_speed *speed)
{
    int threads = (int)speed->job->recipe->threads;
    hone_isa isa;
    hone_status status = threads > 0 ? HONE_OK : hone_cpu_threads(&threads);
    if (!status) status = hone_cpu_isa(&isa);
    if (!status) speed->peak_flops = hone_peak_flops(threads, isa, hone_job_product(speed->job->recipe));
    return status;
}

hone_status hone_speed_find(hone_speed *speed, hone_speed_effort effort)
{
    hone_session *session = &speed->job->session;
    if (effort != HONE_SPEED_ANEW) hone_speed_load(speed);
    hone_status status = speed->peak_flops > 0 ? HONE_OK : find_peak(speed);
    if (status || hone_speed_known(speed)) return status;
    if (effort == HONE_SPEED_QUICK && !hone_speed_is_quick(speed)) return HONE_OK;
    if (!(status = hone_session_allocate(session))) status = hone_speed_measure(speed, effort == HONE_SPEED_QUICK);
    if (!status) hone_speed_save(speed);
    hone_session_release_arena(session);
    return status;
}

hone_status hone_speed_find_step(hone_job *job, hone_speed_effort effort, double *seconds)
{
    hone_speed speed;
    hone_status status = hone_speed_open(&speed, job);
    if (status) return status;
    if (!(status = hone_speed_find(&speed, effort))) *seconds = hone_speed_step_s(&speed);
    hone_speed_close(&speed);
    return status;
}
