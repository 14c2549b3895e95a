// fit.c: see fit.h.
#include "plan/fit.h"
#include "base/units.h"
#include "graph/budget.h"
#include "plan/memory.h"
#include <string.h>

typedef struct {
    hone_job *job;
    hone_program *micro, built;      // as it runs; as it was built
    hone_recompute recompute;
    hone_budget *budget;
    double *cost;                    // (built.count,)
} fitter;

// This process grows by a few pages from here to the run, and not by the same ones each time: a whole number of these, so
// that what is planned once is chosen again.
enum { BASE_STEP_BYTES = 4 << 20 };

static int64_t process_bytes(const hone_job *job)
{
    int64_t base = (hone_memory_resident_bytes() / BASE_STEP_BYTES + 1) * BASE_STEP_BYTES;
    return base + (int64_t)job->session.layout.arena_bytes + hone_plan_late_bytes(job);
}

static void close_fitter(fitter *f)
{
    if (f->micro && f->micro->node != f->built.node) hone_free(f->built.node);
    hone_budget_close(f->budget);
    hone_recompute_close(&f->recompute);
    hone_free(f->cost);
}

static hone_status open_fitter(fitter *f, hone_job *job)
{
    hone_graph *graph = job->graph;
    *f = (fitter){ .job = job, .micro = hone_graph_program(graph, "micro") };
    f->built = *f->micro;
    hone_status status = hone_recompute_open(&f->recompute, graph, &f->built);
    if (status) return status;
    hone_recompute_choose(&f->recompute, job->recipe->gradient_checkpointing ? hone_drop_blocks : hone_drop_cheap);
    if (!(f->cost = hone_alloc((size_t)f->built.count + 1, sizeof *f->cost))) return HONE_FAILED;
    for (int64_t n = 0; n < f->built.count; n++) f->cost[n] = hone_node_work(graph, &f->built.node[n]);
    return hone_budget_open(&f->budget, &f->recompute, job->session.backend, job->session.self, f->cost);
}

// Makes what was chosen the program, and plans it.
static hone_status apply(fitter *f)
{
    if (f->micro->node != f->built.node) hone_free(f->micro->node);
    *f->micro = f->built;
    hone_recompute_order(&f->recompute);
    hone_status status = hone_recompute_apply(&f->recompute, f->job->graph, f->micro);
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
        status = hone_recipe_fail(job->recipe, HONE_KEY_memory, NULL, "%s of memory are not enough even where all that can be is recomputed; the least is memory: %lldMiB."
                                  " Or lower per_device_train_batch_size (and raise gradient_accumulation_steps), cutoff_len or the model's sizes",
                                  hone_units_bytes((double)job->recipe->memory).s, (long long)(least >> 20));
    if (table.data) {
        char message[1024];
        snprintf(message, sizeof message, "%s", hone_error());
        hone_fail("%s\n%s", message, table.data);
    }
    hone_buffer_release(&table);
    hone_plan_release(&plan);
    return status;
}

static hone_status fit_memory(fitter *f)
{
    enum { TRIES = 12 };
    hone_job *job = f->job;
    const int64_t memory = job->recipe->memory;
    hone_status status = apply(f);   // what is cheap is dropped anyhow
    int64_t most = (int64_t)hone_budget_peak(f->budget), over = status ? 0 : process_bytes(job) - memory;
    for (int i = 0; i < TRIES && !status && over > 0; i++) {
        most -= over;
        if (most <= 0 || !hone_budget_choose(f->budget, (size_t)most)) break;
        if (!(status = apply(f))) over = process_bytes(job) - memory;
    }
    if (status || over <= 0) return status;
    if ((status = apply_least(f))) return status;
    return process_bytes(job) <= memory ? HONE_OK : refuse(f);
}

hone_status hone_job_fit(hone_job *job)
{
    const hone_recipe *r = job->recipe;
    if (r->memory > 0 && r->gradient_checkpointing)
        return hone_recipe_fail(r, HONE_KEY_gradient_checkpointing, NULL, "memory chooses what is recomputed, gradient_checkpointing fixes it; give one of the two");
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
            flops[again] += hone_node_flops(job->graph, node);
            work[again] += hone_node_work(job->graph, node);
            price->node[node->op] += again;
            price->nodes += again;
        }
    }
    price->flops_share = flops[1] / flops[0];
    price->work_share = work[1] / work[0];
}
