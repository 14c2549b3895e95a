// hardware.c: see hardware.h.
#include "plan/hardware.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "graph/offload.h"
#include "graph/pass.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const hone_hardware hone_hardware_table[] = {
#define ACCELERATOR(name, title, f32, bf16, int8, fp8, bandwidth, memory, link, host, watts, capability) { name, title, f32, bf16, int8, fp8, bandwidth, memory, link, host, watts, capability, 0, NULL },
#define PROCESSOR(name, title, f32, bf16, int8, bandwidth, watts, cores, cpu) { name, title, f32, bf16, int8, 0, bandwidth, 0, 0, 0, watts, 0, cores, cpu },
#include "plan/hardware.def"
#undef ACCELERATOR
#undef PROCESSOR
};
const int hone_hardware_count = sizeof hone_hardware_table / sizeof *hone_hardware_table;

// Whole trainings are published at 0.38 to 0.46 of the bf16 peak (PaLM, arXiv:2204.02311; Llama 3, arXiv:2407.21783): products
// alone reach somewhat more. Triads reach 0.8 to 0.9 of the bandwidth in data sheets.
const double HONE_SHARE_OF_FLOPS = 0.5, HONE_SHARE_OF_BANDWIDTH = 0.8;
// Of a core whose chip is not known (Lannelongue et al. 2021, Green Algorithms, doi:10.1002/advs.202100707).
static const double WATTS_A_CORE = 12;

hone_status hone_hardware_find(const char *text, const hone_hardware **row, int64_t *chips)
{
    const char *name = text;
    char *end;
    long count = strtol(text, &end, 10);
    *chips = 1;
    if (end != text && *end == 'x') {
        if (count < 1 || count > 1 << 20) return hone_fail_usage("--on %s: how many? 1 to %d, as in 8xh100", text, 1 << 20);
        *chips = count;
        name = end + 1;
    }
    const char *names[64];
    HONE_ASSERT(hone_hardware_count <= 64, "%d machines", hone_hardware_count);
    for (int i = 0; i < hone_hardware_count; i++) {
        *row = &hone_hardware_table[i];
        if (strcmp(names[i] = (*row)->name, name)) continue;
        return *chips == 1 || (*row)->link > 0 ? HONE_OK : hone_fail_usage("--on %s: no link is known between several of these; one processor at a time", text);
    }
    const char *near = hone_nearest(name, names, hone_hardware_count);
    if (near) return hone_fail_usage("--on %s: %s is not a machine that hone knows; did you mean %s?", text, name, near);
    return hone_fail_usage("--on %s: %s is not a machine that hone knows; hone plan --machines lists them", text, name);
}

static double peak_of(const hone_hardware *row, hone_dtype product)
{
    return product == HONE_int8 ? row->int8_flops : hone_dtype_is_fp8(product) ? row->fp8_flops : product == HONE_bf16 || product == HONE_f16 ? row->bf16_flops : row->f32_flops;
}

hone_status hone_hardware_plans(hone_recipe *recipe, const char *on)
{
    const hone_hardware *row;
    int64_t chips;
    if (!on || recipe->precision != HONE_precision_fp8) return HONE_OK;
    if (hone_hardware_find(on, &row, &chips)) return HONE_FAILED;
    if (row->fp8_flops == 0) return hone_recipe_fail(recipe, HONE_KEY_precision, NULL, "%s makes no products in fp8; use precision: bf16, or another machine", row->title);
    if (recipe->fp8_scaling == HONE_fp8_scaling_block && !hone_fp8_blocks_on(row->capability))
        return hone_recipe_fail(recipe, HONE_KEY_fp8_scaling, NULL, "%s makes no products in fp8 with a scale for each block, which are for Hopper (H100, H200); use fp8_scaling: tensor, or precision: bf16", row->title);
    if (strcmp(recipe->backend, "cpu")) return HONE_OK;
    char *planned = hone_strdup("cuda_planned");
    if (!planned) return HONE_FAILED;
    hone_free(recipe->backend);
    recipe->backend = planned;
    return HONE_OK;
}

// What quantising moves beside a node's own operands, each of which is counted once. (Blocks of f32 move less than a cast to bf16 does, which
// is counted for nobody.)
static double quantising_bytes(const hone_graph *graph, const hone_node *node)
{
    if (node->op == HONE_OP_pack && node->attr.dtype == HONE_e4m3) return (double)hone_tensor_bytes(hone_at(graph, node->in[0]));
    return hone_dtype_is_fp8(node->attr.product) ? fmax(0, (double)hone_fp8_bytes(graph, node, node->attr.product)) : 0;
}

typedef struct { double seconds, counted_flops, moves_s, waited_s; } roofline;     // counted: by ops, recomputation left out

// What is parked in a file lies on a disk that is not known.
static double move_s(const hone_job *job, const hone_hardware *row, const hone_node *node)
{
    const bool moves = hone_is_copy(node) && row->host > 0 && hone_backend_is_apart(job->session.backend);
    return moves ? (double)hone_tensor_bytes(hone_at(job->graph, node->in[0])) / (row->host * HONE_SHARE_OF_BANDWIDTH) : 0;
}

static roofline add_nodes(const hone_job *job, const hone_hardware *row, const char *name)
{
    const hone_graph *graph = job->graph;
    roofline sum = { 0 };
    for (int p = 0; p < graph->n_program; p++) {
        if (strcmp(graph->program[p].name, name)) continue;
        double *seconds = hone_alloc((size_t)graph->program[p].count + 1, sizeof *seconds);
        if (!seconds) return (roofline){ .seconds = NAN };
        for (int64_t n = 0; n < graph->program[p].count; n++) {
            const hone_node *node = &graph->program[p].node[n];
            double peak = peak_of(row, node->attr.product), flops = hone_node_flops(graph, node);
            seconds[n] = fmax(flops / (peak * HONE_SHARE_OF_FLOPS), (double)hone_layout_node_bytes(&job->session.layout, node) / (row->bandwidth * HONE_SHARE_OF_BANDWIDTH));
            seconds[n] += quantising_bytes(graph, node) / (row->bandwidth * HONE_SHARE_OF_BANDWIDTH);   // before the product, not beside it
            if (hone_is_move(node) && node->in[0] != HONE_NONE) sum.moves_s += seconds[n] = move_s(job, row, node);
            if (node->phase != HONE_PHASE_RECOMPUTE) sum.counted_flops += flops;
        }
        sum.seconds = hone_offload_time(graph, &graph->program[p], seconds, &sum.waited_s);
        hone_free(seconds);
    }
    return sum;
}

void hone_hardware_pace(const hone_job *job, const hone_plan *plan, const hone_hardware *row, int64_t chips, hone_pace *pace)
{
    roofline micro = add_nodes(job, row, "micro"), update = add_nodes(job, row, "update"), score = add_nodes(job, row, "score");
    // What no op counts of the model's FLOPs is attention's, which is never quantised; a third of it is forward.
    double attention_peak = peak_of(row, hone_job_product(job->recipe) == HONE_f32 ? HONE_f32 : HONE_bf16) * HONE_SHARE_OF_FLOPS;
    double attention_s = fmax(0, plan->flops_per_token * (double)job->micro.N - micro.counted_flops) / attention_peak;
    double exchange = chips > 1 ? 2 * (double)(chips - 1) / (double)chips * (double)plan->class_bytes[HONE_CLASS_grad] : 0;
    *pace = (hone_pace){ .chips = chips, .watts = (double)chips * row->watts,
                         .step_s = (double)job->accumulation * (micro.seconds + attention_s) + update.seconds + (exchange > 0 ? exchange / row->link : 0),
                         .moves_s = (double)job->accumulation * micro.moves_s + update.moves_s, .waited_s = (double)job->accumulation * micro.waited_s + update.waited_s,
                         .score_s = job->score.N ? score.seconds + attention_s / 3 : 0,
                         .token_s = (double)plan->class_bytes[HONE_CLASS_param] / (row->bandwidth * HONE_SHARE_OF_BANDWIDTH) };
    if (chips > 1) snprintf(pace->power, sizeof pace->power, "%" PRId64 " x %.0f W by the data sheet, the chips alone", chips, row->watts);
    else snprintf(pace->power, sizeof pace->power, "by its data sheet, the chip alone");
}

double hone_hardware_watts_here(const char *cpu, int threads, char *how, size_t size)
{
    for (int i = 0; i < hone_hardware_count; i++) {
        const hone_hardware *row = &hone_hardware_table[i];
        if (!row->cpu || !strstr(cpu, row->cpu)) continue;
        int chips = (threads + row->cores - 1) / row->cores;
        snprintf(how, size, "%.0f W by the data sheet for %d cores, %d in use", chips * row->watts, chips * row->cores, threads);
        return row->watts * (double)threads / (double)row->cores;
    }
    snprintf(how, size, "%.0f W a core assumed: chip unknown, not metered", WATTS_A_CORE);
    return WATTS_A_CORE * threads;
}
