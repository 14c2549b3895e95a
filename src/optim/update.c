// update.c: builds program "update" (see update.h).
#include "optim/update.h"
#include "base/memory.h"
#include "graph/round.h"
#include "optim/muon.h"
#include <math.h>
#include <stdio.h>

// A tensor of class moment for a storage: as many rows, `columns` of them (0: of its shape), zero before the first step (the
// arena is), with views like the storage's.
static hone_tid declare_moment(hone_graph *graph, hone_tid param, const char *prefix, hone_dtype dtype, int64_t columns)
{
    hone_tensor storage = *hone_at(graph, param);
    if (columns) storage.dim[1] = columns;
    graph->layer = storage.layer;
    hone_tid made = hone_graph_tensor(graph, HONE_CLASS_moment, dtype, storage.rank, storage.dim, "%s.%.60s", prefix, storage.name);
    int64_t row_bytes = hone_tensor_count(hone_at(graph, param)) / storage.dim[0] * (int64_t)hone_dtype_bytes(storage.dtype);
    for (hone_tid id = 0, n = (hone_tid)graph->n_tensor; id < n; id++) {
        hone_tensor view = *hone_at(graph, id);
        if (view.base == param)
            hone_graph_view(graph, made, view.offset_bytes / row_bytes, view.dim[0], "%s.%.60s", prefix, view.name);
    }
    return made;
}

// Of moments that are no codes.
static hone_dtype moment_dtype(const hone_optim_options *options, const hone_tensor *param)
{
    if (param->dtype == HONE_f64) return HONE_f64;
    return options->moments == HONE_MOMENTS_BF16 || (options->moments == HONE_MOMENTS_INT8 && param->rank == 2) ? HONE_bf16 : HONE_f32;
}

static bool is_trained_storage(const hone_graph *graph, hone_tid id)
{
    const hone_tensor *t = hone_at(graph, id);
    return t->cls == HONE_CLASS_param && t->base == HONE_NONE && hone_grad_of_param(graph, id) != HONE_NONE;
}

static void step_by_adamw(hone_graph *graph, const hone_optim_options *options, const hone_update_io *io, hone_tid storage)
{
    const hone_tensor param = *hone_at(graph, storage);
    hone_attr attr = { .beta1 = (float)options->beta1, .beta2 = (float)options->beta2, .eps = (float)options->epsilon, .stream = storage };
    if (param.decayed) attr.decay = (float)options->weight_decay;
    const bool codes = options->moments == HONE_MOMENTS_INT8 && param.rank == 2;
    const hone_dtype dtype = codes ? HONE_u8 : moment_dtype(options, &param);
    hone_tid moment1 = declare_moment(graph, storage, "moment1", dtype, 0), moment2 = declare_moment(graph, storage, "moment2", dtype, 0);
    hone_tid out[] = { storage, hone_grad_of_param(graph, storage), moment1, moment2, HONE_NONE };
    if (codes)
        out[4] = declare_moment(graph, storage, "moments.scale", HONE_f32, (param.dim[1] + HONE_MOMENT_BLOCK - 1) / HONE_MOMENT_BLOCK * 2);
    const hone_tid hyper = param.fast && io->fast_hyper != HONE_NONE ? io->fast_hyper : io->hyper;
    hone_graph_add(graph, codes ? HONE_OP_adamw8 : HONE_OP_adamw, &attr, (hone_tid[]){ hyper, io->norm }, out);
}

// Each logical matrix of a storage: its views, or the storage itself where it has none.
static void step_by_muon(hone_graph *graph, const hone_optim_options *options, const hone_update_io *io, hone_tid storage)
{
    const double decay = hone_at(graph, storage)->decayed ? options->weight_decay : 0;
    const hone_tid n = (hone_tid)graph->n_tensor;
    hone_tid moment = declare_moment(graph, storage, "moment1", moment_dtype(options, hone_at(graph, storage)), 0);
    int64_t views = 0;
    for (hone_tid id = 0; id < n; id++) {
        if (hone_at(graph, id)->base != storage) continue;
        char name[96];
        snprintf(name, sizeof name, "moment1.%.60s", hone_at(graph, id)->name);
        hone_muon_add(graph, options->momentum, decay, io->hyper, io->norm,
                      (hone_muon_operands){ id, hone_grad_of_param(graph, id), hone_graph_find(graph, name) });
        views++;
    }
    if (!views)
        hone_muon_add(graph, options->momentum, decay, io->hyper, io->norm,
                      (hone_muon_operands){ storage, hone_grad_of_param(graph, storage), moment });
}

// a = (1 - share) a + share p is what op muon does with p as the direction, of size 1, scale -1, decay 1 and rate `share`: a mean
// needs no kernel of its own. mix: muon's five hyper numbers, and the size.
static hone_tid average_weights(hone_graph *graph, hone_tid norm, const hone_tid *storage, int64_t n)
{
    const hone_attr attr = { .scale = -1, .decay = 1 };
    graph->layer = -1;
    hone_tid mix = hone_graph_tensor(graph, HONE_CLASS_input, HONE_f32, HONE_DIMS(6), "update.mix");
    hone_tid hyper = hone_graph_view(graph, mix, 0, 5, "update.mix.hyper"), size = hone_graph_view(graph, mix, 5, 1, "update.mix.size");
    for (int64_t i = 0; i < n; i++) {
        hone_tid mean = declare_moment(graph, storage[i], "average", hone_at(graph, storage[i])->dtype, 0);
        hone_graph_add(graph, HONE_OP_muon, &attr, (hone_tid[]){ hyper, storage[i], size, norm }, &mean);
    }
    return mix;
}

void hone_optim_mix(double share, float mix[6])
{
    for (int i = 0; i < 6; i++) mix[i] = i == 3 ? (float)share : i == 5;
}

static bool any_fast(const hone_graph *graph, const hone_tid *storage, int64_t count)
{
    bool any = false;
    for (int64_t i = 0; i < count; i++) any |= hone_at(graph, storage[i])->fast;
    return any;
}

hone_status hone_optim_build_update(hone_graph *graph, const hone_optim_options *options, hone_update_io *io)
{
    *io = (hone_update_io){ .fast_hyper = HONE_NONE, .mix = HONE_NONE };
    hone_tid n = (hone_tid)graph->n_tensor;
    hone_tid *storage = hone_alloc((size_t)n, sizeof *storage);
    if (!storage) return HONE_FAILED;
    for (hone_tid id = 0; id < n; id++)
        if (is_trained_storage(graph, id)) storage[io->n_storage++] = id;
    HONE_ASSERT(io->n_storage > 0, "no gradients in the graph: program micro comes first");

    hone_graph_program(graph, "update");
    graph->phase = HONE_PHASE_UPDATE;
    graph->layer = -1;
    io->hyper = hone_graph_tensor(graph, HONE_CLASS_input, HONE_f32, HONE_DIMS(5), "update.hyper");
    if (any_fast(graph, storage, io->n_storage) && options->fast_ratio > 0 && options->fast_ratio != 1)
        io->fast_hyper = hone_graph_tensor(graph, HONE_CLASS_input, HONE_f32, HONE_DIMS(5), "update.fast_hyper");
    hone_tid parts = hone_graph_tensor(graph, HONE_CLASS_state, HONE_f32, HONE_DIMS(io->n_storage), "update.parts");
    for (int64_t i = 0; i < io->n_storage; i++) {
        hone_tid part = hone_graph_view(graph, parts, i, 1, "update.part.%lld", (long long)i);
        hone_graph_add(graph, HONE_OP_sum_squares, NULL, (hone_tid[]){ hone_grad_of_param(graph, storage[i]) }, &part);
    }
    io->norm = hone_graph_tensor(graph, HONE_CLASS_output, HONE_f32, HONE_DIMS(2), "update.norm");
    hone_tid scale = hone_loss_scale_state(graph);
    hone_graph_add(graph, HONE_OP_clip_factor, &(hone_attr){ .max_norm = (float)options->max_grad_norm }, (hone_tid[]){ parts, scale }, &io->norm);
    io->n_norm = graph->now->count;
    for (int64_t i = 0; i < io->n_storage; i++) {
        if (options->muon && hone_at(graph, storage[i])->hidden) step_by_muon(graph, options, io, storage[i]);
        else step_by_adamw(graph, options, io, storage[i]);
    }
    if (options->average) io->mix = average_weights(graph, io->norm, storage, io->n_storage);
    graph->layer = -1;
    if (scale != HONE_NONE) hone_graph_add(graph, HONE_OP_adapt_scale, NULL, &io->norm, &scale);
    hone_free(storage);
    return graph->failed ? hone_fail("out of memory while the update was built") : HONE_OK;
}

double hone_optim_share(double ratio, int64_t step, double total)
{
    double nth = (double)(step + 1) - (total - fmax(1, round(ratio * total)));
    return ratio > 0 && nth >= 1 ? 1 / nth : 0;
}

// In f64: 1 - beta^t is a small difference in the first steps.
void hone_optim_hyper(const hone_optim_options *options, double rate, int64_t t, float hyper[5])
{
    hyper[0] = (float)rate;
    hyper[1] = (float)(1 - pow(options->beta1, (double)t));
    hyper[2] = (float)(1 - pow(options->beta2, (double)t));
    hyper[3] = (float)(rate * options->muon_rate);
    hyper[4] = (float)t;
}
