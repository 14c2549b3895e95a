// fit.c: see fit.h.
#include "plan/fit.h"
#include "base/file.h"
#include "base/units.h"
#include "graph/budget.h"
#include "graph/offload.h"
#include "plan/memory.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    hone_job *job;
    hone_program *micro, *update;
    hone_program original[HONE_PROGRAMS];        // all as they were built, with nodes of their own
    int n_original;
    int64_t n_tensor, n_norm;        // likewise
    hone_tid *candidate;             // storages that may be parked: persistent ones in their order, behind them activations in theirs
    int64_t n_candidate, n_activation;
    bool activations_first;          // which of the two are parked before the other
    hone_program built;              // micro with what is parked of persistent storages, without recomputation
    hone_recompute recompute;
    hone_budget *budget;
    double *cost;                    // (built.count,)
} fitter;

// This process grows by a few pages from here to the run, and not by the same ones each time: a whole number of these, so
// that what is planned once is chosen again.
enum { BASE_STEP_BYTES = 4 << 20 };
enum { LEAST_PARKED_BYTES = 4096 };

static int64_t process_bytes(const hone_job *job)
{
    if (hone_backend_is_apart(job->session.backend)) return (int64_t)job->session.layout.arena_bytes; // `memory` is the device's then
    int64_t base = (hone_memory_resident_bytes() / BASE_STEP_BYTES + 1) * BASE_STEP_BYTES;
    return base + (int64_t)job->session.layout.arena_bytes + hone_plan_late_bytes(job);
}

// --- what is parked --------------------------------------------------------------------------------------------------------

static hone_status copy_program(hone_program *to, const hone_program *from)
{
    *to = *from;
    to->capacity = from->count + 1;
    if (!(to->node = hone_alloc((size_t)to->capacity, sizeof *to->node))) return HONE_FAILED;
    memcpy(to->node, from->node, (size_t)from->count * sizeof *to->node);
    return HONE_OK;
}

// Moments are touched once a step, gradients with each micro-batch, weights twice with each and by all that evaluates. -1: stays.
static int rank_of(const hone_tensor *t)
{
    return t->cls == HONE_CLASS_moment ? 0 : t->cls == HONE_CLASS_grad ? 1 : t->cls == HONE_CLASS_param ? 2 : -1;
}

// Within a class the largest first: few long moves.
static int parked_before(const hone_graph *graph, hone_tid a, hone_tid b)
{
    const hone_tensor *x = hone_at(graph, a), *y = hone_at(graph, b);
    if (x->cls != y->cls) return rank_of(x) < rank_of(y);
    const int64_t more = hone_tensor_bytes(x) - hone_tensor_bytes(y);
    return more > 0 || (more == 0 && a < b);
}

// A weight of the model itself, which is saved from its home piece by piece: not of families whose files have matrices transposed.
static bool is_weight(const hone_model *model, hone_tid id)
{
    if (hone_family_transposes(model->config.family)) return false;
    for (int64_t i = 0; i < model->n_param; i++)
        if (hone_storage(model->graph, model->param[i]) == id) return true;
    return false;
}

static void find_persistent(fitter *f)
{
    const hone_graph *graph = f->job->graph;
    for (hone_tid id = 0; id < graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(graph, id);
        if (rank_of(t) < 0 || t->base != HONE_NONE || t->rank != 2 || hone_tensor_bytes(t) < LEAST_PARKED_BYTES) continue;
        if (t->cls == HONE_CLASS_param && !is_weight(&f->job->model, id)) continue;
        int64_t at = f->n_candidate++;
        for (; at > 0 && parked_before(graph, id, f->candidate[at - 1]); at--) f->candidate[at] = f->candidate[at - 1];
        f->candidate[at] = id;
    }
}

// Bytes of what a node writes, times the nodes that they wait between the forward's last use and the backward's first.
static double idle_area(const hone_program *micro, const hone_graph *graph, hone_tid id)
{
    int64_t last = 0, first = -1;
    for (int64_t n = 0; n < micro->count; n++) {
        const hone_node *node = &micro->node[n];
        for (int i = 0; i < node->n_in + node->n_out; i++) {
            if (hone_node_operand(node, i) != id) continue;
            if (node->phase == HONE_PHASE_FORWARD) last = n;
            else if (first < 0) first = n;
        }
    }
    return (double)hone_tensor_bytes(hone_at(graph, id)) * (double)(first - last);
}

// What recomputing blocks keeps, the residual stream between them: the largest area first, which is the order of the forward.
static hone_status find_activations(fitter *f)
{
    const hone_graph *graph = f->job->graph;
    const hone_program *micro = &f->original[f->micro - graph->program];
    hone_recompute r;
    double *area = hone_alloc((size_t)graph->n_tensor, sizeof *area);
    if (!area || hone_recompute_open(&r, graph, micro)) {
        hone_free(area);
        return HONE_FAILED;
    }
    const int64_t persistent = f->n_candidate;
    for (int64_t n = 0; n < micro->count; n++) {
        const hone_node *node = &micro->node[n];
        const hone_tid id = node->out[0];
        if (!hone_recompute_may_park(&r, n) || hone_drop_blocks(graph, micro, node) || hone_tensor_bytes(hone_at(graph, id)) < LEAST_PARKED_BYTES) continue;
        area[id] = idle_area(micro, graph, id);
        int64_t at = f->n_candidate++;
        for (; at > persistent && area[f->candidate[at - 1]] < area[id]; at--) f->candidate[at] = f->candidate[at - 1];
        f->candidate[at] = id;
    }
    f->n_activation = f->n_candidate - persistent;
    hone_recompute_close(&r);
    hone_free(area);
    return HONE_OK;
}

static hone_status find_candidates(fitter *f)
{
    if (!f->job->recipe->offload[0]) return HONE_OK;
    if (!(f->candidate = hone_alloc((size_t)f->job->graph->n_tensor, sizeof *f->candidate))) return HONE_FAILED;
    find_persistent(f);
    return find_activations(f);
}

// Is candidate i among the first `parked`?
static bool is_chosen(const fitter *f, int64_t i, int64_t parked)
{
    const int64_t persistent = f->n_candidate - f->n_activation;
    if (f->activations_first) i = i < persistent ? i + f->n_activation : i - persistent;
    return i < parked;
}

static void close_choice(fitter *f)
{
    hone_budget_close(f->budget);
    hone_recompute_close(&f->recompute);
    hone_free(f->cost);
    hone_free(f->built.node);
    f->budget = NULL;
    f->cost = NULL;
    f->built = (hone_program){ 0 };
}

// All programs as they were built, rewritten for the first `parked` candidates; nothing recomputed yet but what is cheap (or
// what gradient_checkpointing says).
static hone_status open_choice(fitter *f, int64_t parked)
{
    hone_job *job = f->job;
    hone_graph *graph = job->graph;
    hone_status status = HONE_OK;
    close_choice(f);
    graph->n_tensor = f->n_tensor;
    job->update.n_norm = f->n_norm;
    for (int p = 0; p < f->n_original && !status; p++) {
        hone_free(graph->program[p].node);
        graph->program[p].node = NULL;
        status = copy_program(&graph->program[p], &f->original[p]);
    }
    const int64_t persistent = f->n_candidate - f->n_activation;
    for (int64_t i = 0; i < persistent; i++) hone_offload_set(graph, f->candidate[i], is_chosen(f, i, parked));
    if (!status && parked) status = hone_offload_move_norms(graph, f->micro, f->update, &job->update.n_norm);
    for (int p = 0; p < f->n_original && !status; p++) {
        hone_program *program = &graph->program[p];
        status = hone_pass_offload(graph, program, job->fresh_grads);
        if (!status && program != f->micro) status = hone_pass_overlap(graph, program, program == f->update ? job->update.n_norm : 0);
    }
    if (!status) status = copy_program(&f->built, f->micro);
    if (!status) status = hone_recompute_open(&f->recompute, graph, &f->built);
    if (status) return status;
    for (int64_t i = persistent; i < f->n_candidate; i++) f->recompute.park[f->recompute.producer[f->candidate[i]]] = is_chosen(f, i, parked);
    hone_recompute_choose(&f->recompute, job->recipe->gradient_checkpointing ? hone_drop_blocks : hone_drop_cheap);
    if (!(f->cost = hone_alloc((size_t)f->built.count + 1, sizeof *f->cost))) return HONE_FAILED;
    for (int64_t n = 0; n < f->built.count; n++) f->cost[n] = hone_node_work(graph, &f->built.node[n]);
    return hone_budget_open(&f->budget, &f->recompute, job->session.backend, job->session.self, f->cost);
}

static void close_fitter(fitter *f)
{
    close_choice(f);
    for (int p = 0; p < f->n_original; p++) hone_free(f->original[p].node);
    hone_free(f->candidate);
}

static hone_status open_fitter(fitter *f, hone_job *job)
{
    hone_graph *graph = job->graph;
    *f = (fitter){ .job = job, .micro = hone_graph_program(graph, "micro"), .update = hone_graph_program(graph, "update"), .n_tensor = graph->n_tensor,
                   .n_norm = job->update.n_norm };
    hone_status status = HONE_OK;
    while (f->n_original < graph->n_program && !status) {
        status = copy_program(&f->original[f->n_original], &graph->program[f->n_original]);
        f->n_original++;
    }
    if (!status) status = find_candidates(f);
    return status ? status : open_choice(f, 0);
}

// --- what is recomputed ------------------------------------------------------------------------------------------------------

// Makes what was chosen the program, and plans it.
static hone_status apply(fitter *f)
{
    hone_free(f->micro->node);
    *f->micro = f->built;
    f->micro->node = NULL;
    hone_recompute_order(&f->recompute);
    hone_status status = hone_recompute_apply(&f->recompute, f->job->graph, f->micro);
    if (!status) status = hone_pass_overlap(f->job->graph, f->micro, 0);
    return status ? status : hone_session_replan(&f->job->session);
}

// The choice whose peak is the lowest that the search finds.
static hone_status apply_least(fitter *f)
{
    hone_budget_choose(f->budget, 0);
    size_t peak = hone_budget_peak(f->budget), step = peak / 64 + 1;
    while (step > HONE_ALIGN) {
        if (hone_budget_choose(f->budget, peak - step)) peak = hone_budget_peak(f->budget);
        else step /= 4;
    }
    hone_budget_choose(f->budget, peak);
    return apply(f);
}

static hone_status refuse(fitter *f)
{
    hone_job *job = f->job;
    hone_plan plan;
    hone_buffer table = { 0 };
    int64_t least = (process_bytes(job) / (1 << 20) + 1) * (1 << 20);
    job->base_bytes = hone_memory_resident_bytes();
    hone_status status = hone_plan_make(job, &plan);
    if (status) return status;
    if (!(status = hone_plan_print(&plan, &table)))
        status = hone_recipe_fail(job->recipe, HONE_KEY_memory, NULL, "%s of memory are not enough even where all that can be is recomputed%s; the least is memory: %lldMiB."
                                  " Or %slower per_device_train_batch_size (and raise gradient_accumulation_steps), cutoff_len or the model's sizes",
                                  hone_units_bytes((double)job->recipe->memory).s, f->n_candidate ? " and offloaded" : "", (long long)(least >> 20),
                                  f->n_candidate ? "" : hone_backend_is_apart(job->session.backend) ? "give offload: host, " : "name a folder on a local disk with `offload`, ");
    if (table.data) {
        char message[1024];
        snprintf(message, sizeof message, "%s", hone_error());
        hone_fail("%s\n%s", message, table.data);
    }
    hone_buffer_release(&table);
    hone_plan_release(&plan);
    return status;
}

// With what is parked now: the cheapest recomputation that makes it fit, *over: bytes too many where none does.
static hone_status fit_choice(fitter *f, int64_t *over)
{
    enum { TRIES = 12 };
    hone_job *job = f->job;
    const int64_t memory = job->recipe->memory;
    hone_status status = apply(f);   // what is cheap is dropped anyhow
    int64_t most = (int64_t)hone_budget_peak(f->budget);
    *over = status ? 0 : process_bytes(job) - memory;
    for (int i = 0; i < TRIES && !status && *over > 0; i++) {
        most -= *over;
        if (most <= 0 || !hone_budget_choose(f->budget, (size_t)most)) break;
        if (!(status = apply(f))) *over = process_bytes(job) - memory;
    }
    return status;
}

// --- both --------------------------------------------------------------------------------------------------------------------

static bool fits(const fitter *f) { return process_bytes(f->job) <= f->job->recipe->memory; }

// How many of the candidates, at least, have to be parked, with what is cheap recomputed or, as a search's upper bound, whole blocks.
// n_candidate where even all are not enough.
static hone_status least_parked(fitter *f, hone_drop_fn drop, int64_t *parked)
{
    int64_t low = -1, high = f->n_candidate;   // low: too few
    hone_status status = HONE_OK;
    while (high - low > 1 && !status) {
        int64_t middle = low + (high - low) / 2;
        if ((status = open_choice(f, middle))) break;
        hone_recompute_choose(&f->recompute, drop);
        if ((status = apply(f))) break;
        if (fits(f)) high = middle;
        else low = middle;
    }
    *parked = high;
    return status;
}

// Work of a step, moves beside it, in FLOPs (hone_node_work).
static hone_status find_step_work(const fitter *f, double *work)
{
    const hone_job *job = f->job;
    *work = 0;
    for (int i = 0; i < 2; i++) {
        const hone_program *p = i ? f->update : f->micro;
        double waited, *of = hone_alloc((size_t)p->count + 1, sizeof *of);
        if (!of) return HONE_FAILED;
        for (int64_t n = 0; n < p->count; n++) of[n] = hone_node_work(job->graph, &p->node[n]);
        *work += hone_offload_time(job->graph, p, of, &waited) * (i ? 1.0 : (double)job->accumulation);
        hone_free(of);
    }
    return isnan(*work) ? HONE_FAILED : HONE_OK;
}

typedef struct { int64_t parked; bool activations_first, stands; double work; } parking;   // stands: it is what is planned now

// In the order that the fitter has, between as little parked as blocks recomputed allow and so much that nothing dear is recomputed: the
// cheapest of a few, where it beats the best so far. (One that does not, even if nothing dear were recomputed, is not fitted.)
static hone_status try_order(fitter *f, parking *best)
{
    enum { TRIES = 4 };
    int64_t least, enough, over, last = -1;
    double work;
    hone_status status = least_parked(f, hone_drop_blocks, &least);
    if (!status) status = least_parked(f, hone_drop_cheap, &enough);
    for (int i = 0; i <= TRIES && !status; i++) {
        const int64_t parked = least + (enough - least) * i / TRIES;
        if (parked == last) continue;
        last = parked;
        best->stands = false;
        if ((status = open_choice(f, parked)) || (status = apply(f)) || (status = find_step_work(f, &work))) break;
        if (work >= best->work) continue;
        if ((status = fit_choice(f, &over)) || over > 0) continue;
        if (!(status = find_step_work(f, &work)) && work < best->work) *best = (parking){ parked, f->activations_first, true, work };
    }
    return status;
}

// With all that is persistent parked, and blocks recomputed, each block's output that goes home frees its bytes, until the stages of others
// on their way are as many: those beyond are no candidates.
static hone_status trim_activations(fitter *f)
{
    const int64_t persistent = f->n_candidate - f->n_activation;
    int64_t enough = 0, least = INT64_MAX;
    hone_status status = HONE_OK;
    f->activations_first = false;
    for (int64_t n = 0; n <= f->n_activation && !status; n++) {
        if ((status = open_choice(f, persistent + n))) break;
        hone_recompute_choose(&f->recompute, hone_drop_blocks);
        if ((status = apply(f)) || process_bytes(f->job) >= least) continue;
        least = process_bytes(f->job);
        enough = n;
    }
    f->n_candidate = persistent + enough;
    f->n_activation = enough;
    return status;
}

// The better of two orders: persistent storages first, activations first.
static hone_status fit_parked(fitter *f)
{
    parking best = { .parked = -1, .work = INFINITY };
    int64_t over;
    hone_status status = trim_activations(f);
    const bool two = f->n_activation > 0 && f->n_activation < f->n_candidate;
    for (int i = 0; i <= two && !status; i++) {
        f->activations_first = i;
        status = try_order(f, &best);
    }
    if (status || best.stands) return status;
    f->activations_first = best.activations_first;
    status = open_choice(f, best.parked < 0 ? f->n_candidate : best.parked);
    if (status) return status;
    return best.parked < 0 ? apply_least(f) : fit_choice(f, &over);
}

static hone_status fit_memory(fitter *f)
{
    int64_t over;
    hone_status status = f->n_candidate ? fit_parked(f) : fit_choice(f, &over);
    if (status || fits(f)) return status;
    if (!f->n_candidate && (status = apply_least(f))) return status;
    return fits(f) ? HONE_OK : refuse(f);
}

// Where homes can be is the backend's: a file, or, of a device with memory of its own, the host's memory.
static hone_status check_offload(const hone_job *job)
{
    const hone_recipe *r = job->recipe;
    const bool apart = hone_backend_is_apart(job->session.backend), host = !strcmp(r->offload, "host");
    if (!r->offload[0]) return HONE_OK;
    if (r->memory == 0)
        return hone_recipe_fail(r, HONE_KEY_offload, NULL, "offload moves what does not fit into `memory`, but none is given; say how much %s may take, such as memory: 6GiB",
                                apart ? "of the device the arena" : "the process");
    if (apart && !host)
        return hone_recipe_fail(r, HONE_KEY_offload, NULL, "backend %s keeps no tensors in a file: what leaves the device goes to the host's memory; give offload: host",
                                job->session.backend->name);
    if (!apart && host)
        return hone_recipe_fail(r, HONE_KEY_offload, NULL, "backend %s computes in the host's memory: what leaves that goes to a file; name a folder on a local disk"
                                " (./host, where it is called so)", job->session.backend->name);
    if (!host && !hone_dir_exists(r->offload))
        return hone_recipe_fail(r, HONE_KEY_offload, NULL, "%s: no such folder; make it, on a local disk", r->offload);
    return HONE_OK;
}

hone_status hone_job_fit(hone_job *job)
{
    const hone_recipe *r = job->recipe;
    if (r->memory > 0 && r->gradient_checkpointing)
        return hone_recipe_fail(r, HONE_KEY_gradient_checkpointing, NULL, "memory chooses what is recomputed, gradient_checkpointing fixes it; give one of the two");
    if (check_offload(job)) return HONE_FAILED;
    if (hone_backend_is_apart(job->session.backend))
        job->graph->move_flops = hone_job_product(r) == HONE_f32 ? HONE_FLOPS_A_BUS_BYTE_F32 : HONE_FLOPS_A_BUS_BYTE_NARROW;
    fitter f;
    hone_status status = open_fitter(&f, job);
    if (!status) status = r->memory > 0 ? fit_memory(&f) : apply(&f);
    close_fitter(&f);
    return status;
}

void hone_job_price_recompute(const hone_job *job, hone_recompute_price *price)
{
    double flops[2] = { 0 }, work[2] = { 0 };
    *price = (hone_recompute_price){ 0 };
    for (int p = 0; p < job->graph->n_program; p++) {
        const hone_program *program = &job->graph->program[p];
        for (int64_t n = 0; n < program->count && strcmp(program->name, "micro") == 0; n++) {
            const hone_node *node = &program->node[n];
            bool again = node->phase == HONE_PHASE_RECOMPUTE;
            if (hone_is_move(node)) continue;
            flops[again] += hone_node_flops(job->graph, node);
            work[again] += hone_node_work(job->graph, node);
            price->node[node->op] += again;
            price->nodes += again;
        }
    }
    price->flops_share = flops[1] / flops[0];
    price->work_share = work[1] / work[0];
}

void hone_job_price_offload(const hone_job *job, hone_offload_price *price)
{
    *price = (hone_offload_price){ 0 };
    *(hone_backend_is_apart(job->session.backend) ? &price->pinned_bytes : &price->file_bytes) = (int64_t)job->session.layout.home_bytes;
    for (hone_tid id = 0; id < job->graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(job->graph, id);
        if (t->parked && t->base == HONE_NONE) price->class_bytes[t->cls] += (int64_t)job->session.layout.bytes[id];
    }
    for (int p = 0; p < job->graph->n_program; p++) {
        const hone_program *program = &job->graph->program[p];
        const int64_t runs = !strcmp(program->name, "micro") ? job->accumulation : !strcmp(program->name, "update");
        for (int64_t n = 0; n < program->count; n++) {
            const hone_node *node = &program->node[n];
            if (node->op == HONE_OP_fetch && node->in[0] != HONE_NONE) price->read_bytes += runs * (int64_t)job->session.layout.bytes[node->in[0]];
            if (node->op == HONE_OP_park) price->written_bytes += runs * (int64_t)job->session.layout.bytes[node->in[0]];
        }
    }
}
