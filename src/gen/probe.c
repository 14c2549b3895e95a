// probe.c: see probe.h.
#include "gen/probe.h"
#include "base/cpu.h"
#include "graph/session.h"
#include <string.h>

enum { RUNS = 5 };

static void *place(void *session, hone_tid id) { return hone_session_data(session, id); }

static void fill(hone_session *session, hone_tid id, float value)
{
    float *at = hone_session_data(session, id);
    const int64_t count = hone_tensor_count(hone_at(session->graph, id));
    for (int64_t i = 0; i < count; i++) at[i] = value;
}

static void write_index(hone_session *session, hone_tid id, int64_t count, int64_t first, int64_t step)
{
    int32_t *at = hone_session_data(session, id);
    for (int64_t i = 0; i < count; i++) at[i] = (int32_t)(first + i * step);
}

// Each slot's first token, in a block of its own.
static void write_decode(hone_session *session, const hone_decode_io *io)
{
    write_index(session, io->count, 1, io->N, 0);
    write_index(session, io->wanted_count, 1, io->R, 0);
    write_index(session, io->ids, io->N, 0, 0);
    write_index(session, io->pos, io->N, 0, 0);
    write_index(session, io->slot, io->N, 0, 1);
    write_index(session, io->cache_row, io->N, 0, io->block);
    write_index(session, io->lo, io->N, 0, 0);
    write_index(session, io->hi, io->N, 1, 0);
    write_index(session, io->table, io->S * io->blocks, 0, 1);
    write_index(session, io->wanted, io->R, 0, 1);
}

// One text of T tokens.
static void write_score(hone_session *session, const hone_train_io *io)
{
    write_index(session, io->ids, io->N, 0, 0);
    write_index(session, io->target, io->N, 0, 0);
    write_index(session, io->pos, io->N, 0, 1);
    write_index(session, io->lo, io->N, 0, 0);
    write_index(session, io->hi, io->N, 1, 1);
}

static hone_status time_layers(const hone_probe *probe, hone_config config, int64_t layers, hone_dtype product, double *seconds)
{
    hone_model model = { 0 };
    hone_session session = { 0 };
    hone_decode_io decode;
    hone_train_io score;
    hone_graph *graph = hone_graph_new();
    if (!graph) return HONE_FAILED;
    config.layers = layers;
    hone_status status = hone_model_declare(&model, graph, &config);
    model.product = product;
    model.cache = hone_model_cache_of(product);
    if (!status && probe->slots) status = hone_model_build_decode(&model, probe->slots, probe->slots, probe->slots, HONE_KV_BLOCK, &decode);
    else if (!status) status = hone_model_build_score(&model, 1, config.max_positions < HONE_PROBE_TOKENS ? config.max_positions : HONE_PROBE_TOKENS, &score);
    if (!status) status = hone_session_open(&session, graph, &(hone_session_options){ .backend = probe->backend });
    if (status) goto out;
    for (int64_t i = 0; i < model.n_param; i++) fill(&session, model.param[i], 0.01f);
    hone_model_fill_constants(&model, place, &session);
    if (probe->slots) write_decode(&session, &decode);
    else write_score(&session, &score);
    if (probe->slots) status = hone_session_run(&session, "refresh");
    for (int run = 0; run < RUNS && !status; run++) {
        const double start = hone_clock_s();
        status = hone_session_run(&session, probe->slots ? "decode" : "score");
        const double taken = hone_clock_s() - start;
        if (run == 1 || (run > 1 && taken < *seconds)) *seconds = taken;    // the first one warms up
    }
out:
    if (session.backend) hone_session_close(&session);
    hone_model_release(&model);
    hone_graph_free(graph);
    return status;
}

hone_status hone_probe_time(const hone_probe *probe, const hone_config *config, hone_dtype product, double *seconds)
{
    double one = 0, two = 0;
    hone_status status = time_layers(probe, *config, 1, product, &one);
    if (!status && config->layers > 1) status = time_layers(probe, *config, 2, product, &two);
    *seconds = one + (config->layers > 1 && two > one ? (double)(config->layers - 1) * (two - one) : 0);
    return status;
}
