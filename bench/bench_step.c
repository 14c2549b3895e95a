// bench_step: where one training step spends its time, op by op, on random weights and tokens.
//
//   build/bench_step gpt2|llama [rows T [repeats [bf16]]]       bf16: matrix products of bf16
#include "base/cpu.h"
#include "base/memory.h"
#include "graph/session.h"
#include "model/decoder.h"
#include "optim/update.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static hone_config shape(const char *name)
{
    hone_config c = { .layers = 12, .width = 768, .mlp_width = 3072, .heads = 12, .kv_heads = 12, .head_dim = 64, .vocab = 50257,
                      .max_positions = 1024, .norm_eps = 1e-5, .init_std = 0.02, .tied = true, .bos = -1, .pad = -1 };
    if (strcmp(name, "llama") == 0) {
        c.layers = 6; c.width = 384; c.mlp_width = 1024; c.heads = c.kv_heads = 6; c.vocab = 8192;
        c.rope = HONE_ROPE_PLAIN; c.rope_theta = 10000;
        return c;
    }
    c.norm = HONE_NORM_LAYER; c.mlp = HONE_MLP_GELU; c.rope = HONE_ROPE_NONE;
    c.qkv_bias = c.out_bias = c.mlp_bias = true;
    return c;
}

static void *place(void *session, hone_tid id) { return hone_session_data(session, id); }

static void fill(hone_session *s, const hone_train_io *io, int64_t vocab)
{
    int32_t *ids = place(s, io->ids), *target = place(s, io->target), *pos = place(s, io->pos);
    int32_t *lo = place(s, io->lo), *hi = place(s, io->hi);
    float *weight = place(s, io->weight);
    for (int64_t n = 0; n < io->N; n++) {
        ids[n] = (int32_t)(n * 7919 % vocab);
        target[n] = (int32_t)((n + 1) * 7919 % vocab);
        pos[n] = (int32_t)(n % io->T);
        lo[n] = (int32_t)(n - n % io->T);
        hi[n] = (int32_t)n + 1;
        weight[n] = 1.0f / (float)io->N;
    }
}

static double flops_of(const hone_graph *graph, const hone_program *program, hone_op op)
{
    double sum = 0;
    for (int64_t n = 0; n < program->count; n++)
        if (program->node[n].op == op) sum += hone_node_flops(graph, &program->node[n]);
    return sum;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "llama";
    bool gpt2 = strcmp(name, "gpt2") == 0;
    int64_t rows = argc > 3 ? atoll(argv[2]) : gpt2 ? 4 : 16, T = argc > 3 ? atoll(argv[3]) : gpt2 ? 512 : 256;
    int repeats = argc > 4 ? atoi(argv[4]) : 3;
    hone_config config = shape(name);
    hone_graph *graph = hone_graph_new();
    hone_model model;
    hone_train_io io;
    hone_session session;
    hone_status status = graph ? hone_model_declare(&model, graph, &config) : HONE_FAILED;
    if (argc > 5 && strcmp(argv[5], "bf16") == 0) model.product = HONE_bf16;
    if (status || hone_model_build_micro(&model, rows, T, &io)
        || hone_session_open(&session, graph, NULL)) {
        fprintf(stderr, "%s\n", hone_error());
        return 1;
    }
    hone_model_init(&model, 1, place, &session);
    fill(&session, &io, config.vocab);
    hone_session_run(&session, "micro");
    double best = 1e30;
    hone_profile profile = { 0 };
    for (int r = 0; r < repeats; r++) {
        hone_profile now = { 0 };
        hone_session_profile(&session, "micro", &now);
        double sum = 0;
        for (int op = 0; op < HONE_OP_COUNT; op++) sum += now.seconds[op];
        if (sum < best) { best = sum; profile = now; }
    }
    double useful = hone_model_flops_per_token(&config, T) * (double)(rows * T);
    printf("%s %lld x %lld: %.3f s, %.0f tokens/s, %.1f GFLOP/s of the model; arena %.0f MiB\n", name, (long long)rows, (long long)T,
           best, (double)(rows * T) / best, useful / best * 1e-9, (double)session.layout.arena_bytes / 1048576);
    for (int op = 0; op < HONE_OP_COUNT; op++) {
        if (profile.seconds[op] <= 0) continue;
        double flops = flops_of(graph, hone_graph_program(graph, "micro"), (hone_op)op);
        printf("  %-16s %5lld runs %9.2f ms %5.1f %%", hone_op_get((hone_op)op)->name, (long long)profile.runs[op], profile.seconds[op] * 1e3,
               100 * profile.seconds[op] / best);
        if (flops > 0) printf("  %7.1f GFLOP/s", flops / profile.seconds[op] * 1e-9);
        printf("\n");
    }
    hone_session_close(&session);
    hone_model_release(&model);
    hone_graph_free(graph);
    return 0;
}
