// params.c: which parameters a decoder has. Storages are what linears read (fused where neighbours are read together);
// logical parameters are what files, optimizer and adapters see: views of a storage, or the storage itself.
//
//     layers.N.qkv (P, C)   [ q: H*D rows | k: G*D rows | v: G*D rows ]
//     layers.N.gate_up (2F, C)   [ gate: F rows | up: F rows ]
//
// Invariant: model->param lists each logical parameter once; together they cover every storage without overlap.
#include "model/decoder.h"
#include "base/memory.h"
#include <string.h>

// Names a part of a storage.
typedef struct { const char *name; int64_t rows; } part;

typedef struct {
    hone_model *model;
    int64_t capacity;
    bool failed;
} declaration;

static void list_param(declaration *d, hone_tid id)
{
    hone_model *m = d->model;
    if (d->failed || hone_grow(&m->param, m->n_param, &d->capacity, sizeof *m->param)) { d->failed = true; return; }
    m->param[m->n_param++] = id;
}

// A storage of the given parts (rows of width `columns`; columns 0: vectors), named "prefix + storage + suffix"; each part
// becomes a view "prefix + part + suffix". A storage of one part is its own logical parameter.
static hone_tid declare(declaration *d, const char *prefix, const char *storage, const char *suffix, int64_t columns,
                        int n_part, const part *parts)
{
    hone_graph *graph = d->model->graph;
    int64_t rows = 0;
    for (int i = 0; i < n_part; i++) rows += parts[i].rows;
    hone_tid id = hone_graph_tensor(graph, HONE_CLASS_param, HONE_f32, columns ? 2 : 1, (int64_t[]){ rows, columns },
                                    "%s%s%s", prefix, storage, suffix);
    hone_at(graph, id)->trained = true;
    hone_at(graph, id)->decayed = columns > 0;
    hone_at(graph, id)->hidden = columns > 0 && graph->layer >= 0;
    if (n_part == 1) { list_param(d, id); return id; }
    for (int64_t i = 0, row = 0; i < n_part; row += parts[i].rows, i++) {
        hone_tid view = hone_graph_view(graph, id, row, parts[i].rows, "%s%s%s", prefix, parts[i].name, suffix);
        list_param(d, view);
    }
    return id;
}

static hone_tid declare_one(declaration *d, const char *prefix, const char *name, int64_t rows, int64_t columns)
{
    return declare(d, prefix, name, "", columns, 1, &(part){ name, rows });
}

// "prefix + name.g" and, of LayerNorm, ".b"; HONE_NONE where the family has no such norm.
static void declare_norm(declaration *d, bool has, const char *prefix, const char *name, hone_tid *g, hone_tid *b)
{
    const hone_config *c = &d->model->config;
    char full[16];
    snprintf(full, sizeof full, "%s.g", name);
    *g = has ? declare_one(d, prefix, full, c->width, 0) : HONE_NONE;
    snprintf(full, sizeof full, "%s.b", name);
    *b = has && c->norm == HONE_NORM_LAYER ? declare_one(d, prefix, full, c->width, 0) : HONE_NONE;
}

static void declare_block(declaration *d, int layer)
{
    const hone_config *c = &d->model->config;
    hone_block *b = &d->model->block[layer];
    bool before = c->norms != HONE_NORMS_BEHIND, behind = c->norms != HONE_NORMS_BEFORE, gated = hone_config_gated(c);
    int64_t C = c->width, F = c->mlp_width, HD = c->heads * c->head_dim, GD = c->kv_heads * c->head_dim;
    const part qkv[] = { { "q", HD }, { "k", GD }, { "v", GD } }, gate_up[] = { { "gate", F }, { "up", F } };
    const part *up = gated ? gate_up : gate_up + 1;
    const char *up_name = gated ? "gate_up" : "up";
    int n_up = gated ? 2 : 1;
    char prefix[32];
    snprintf(prefix, sizeof prefix, "layers.%d.", layer);
    d->model->graph->layer = layer;

    b->skip_gain = hone_config_skip_from(c, layer) >= 0 ? declare_one(d, prefix, "skip_gain", C, 0) : HONE_NONE;
    declare_norm(d, before, prefix, "norm1", &b->norm1_g, &b->norm1_b);
    b->qkv = declare(d, prefix, "qkv", "", C, 3, qkv);
    b->qkv_b = c->qkv_bias ? declare(d, prefix, "qkv", ".b", 0, 3, qkv) : HONE_NONE;
    b->q_norm = c->qk_norm ? declare_one(d, prefix, "q_norm", c->qk_whole ? HD : c->head_dim, 0) : HONE_NONE;
    b->k_norm = c->qk_norm ? declare_one(d, prefix, "k_norm", c->qk_whole ? GD : c->head_dim, 0) : HONE_NONE;
    b->value_gain = hone_config_value_table(c, layer) >= 0 ? declare_one(d, prefix, "value_gain", GD, 0) : HONE_NONE;
    b->o = declare_one(d, prefix, "o", C, HD);
    b->o_b = c->out_bias ? declare_one(d, prefix, "o.b", C, 0) : HONE_NONE;
    declare_norm(d, behind, prefix, "post1", &b->post1_g, &b->post1_b);
    declare_norm(d, before, prefix, "norm2", &b->norm2_g, &b->norm2_b);
    b->up = declare(d, prefix, up_name, "", C, n_up, up);
    b->up_b = c->mlp_bias ? declare(d, prefix, up_name, ".b", 0, n_up, up) : HONE_NONE;
    b->down = declare_one(d, prefix, "down", C, F);
    b->down_b = c->mlp_bias ? declare_one(d, prefix, "down.b", C, 0) : HONE_NONE;
    declare_norm(d, behind, prefix, "post2", &b->post2_g, &b->post2_b);
}

// Of no layer, like the tokens' table: what looks rows up is no matrix of a product.
static void declare_values(declaration *d)
{
    const hone_config *c = &d->model->config;
    for (int64_t k = 0; k < c->value_embeddings; k++) {
        char name[32];
        snprintf(name, sizeof name, "values.%d", (int)k);
        d->model->block[k].values = declare_one(d, "embed.", name, c->vocab, c->kv_heads * c->head_dim);
    }
}

hone_status hone_model_declare(hone_model *model, hone_graph *graph, const hone_config *config)
{
    *model = (hone_model){ .config = *config, .graph = graph, .positions = HONE_NONE, .final_b = HONE_NONE,
                           .rope_freq = HONE_NONE, .rope_local = HONE_NONE, .score_count = HONE_NONE };
    model->block = hone_alloc((size_t)config->layers, sizeof *model->block);
    if (!model->block) return HONE_FAILED;
    declaration d = { .model = model };
    int64_t C = config->width, V = config->vocab;
    graph->layer = -1;
    model->embed = declare_one(&d, "", "embed.tokens", V, C);
    if (config->rope == HONE_ROPE_NONE) model->positions = declare_one(&d, "", "embed.positions", config->max_positions, C);
    for (int layer = 0; layer < config->layers; layer++) declare_block(&d, layer);
    graph->layer = -1;
    model->final_g = declare_one(&d, "", "norm.g", C, 0);
    if (config->norm == HONE_NORM_LAYER) model->final_b = declare_one(&d, "", "norm.b", C, 0);
    declare_values(&d);
    model->head = config->tied ? model->embed : declare_one(&d, "", "head", V, C);
    if (config->rope != HONE_ROPE_NONE)
        model->rope_freq = hone_graph_tensor(graph, HONE_CLASS_state, HONE_f32, HONE_DIMS(hone_config_rotated(config) / 2), "rope.freq");
    if (config->rope_local > 0)
        model->rope_local = hone_graph_tensor(graph, HONE_CLASS_state, HONE_f32, HONE_DIMS(hone_config_rotated(config) / 2), "rope.local");
    return d.failed || graph->failed ? hone_fail("out of memory while the model was declared") : HONE_OK;
}

void hone_model_release(hone_model *model)
{
    hone_free(model->param);
    hone_free(model->block);
    hone_free(model->blocked_hash);
    hone_lora_release(&model->lora);
    *model = (hone_model){ 0 };
}

int64_t hone_model_count(const hone_model *model)
{
    int64_t count = 0;
    for (int64_t i = 0; i < model->n_param; i++) count += hone_tensor_count(hone_at(model->graph, model->param[i]));
    return count;
}

// Forward and backward of a matrix product cost 6 FLOPs a weight and token. Causal attention: scores and sums cost
// 4 H D FLOPs a visible key forward, three times that with the backward; a row sees T/2 keys on average, or, with a
// window w < T, w - w^2 / (2 T).
static double matmul_weights(const hone_config *config)
{
    double C = (double)config->width, HD = (double)(config->heads * config->head_dim);
    double GD = (double)(config->kv_heads * config->head_dim), F = (double)config->mlp_width;
    double block = C * (HD + 2 * GD) + HD * C + (hone_config_gated(config) ? 3 : 2) * C * F;
    return (double)config->layers * block + (double)config->vocab * C;
}

double hone_model_flops_per_token(const hone_config *config, int64_t T)
{
    double attention = 0, HD = (double)(config->heads * config->head_dim);
    for (int64_t l = 0; l < config->layers; l++) {
        double w = (double)hone_config_window(config, l), keys = w > 0 && w < (double)T ? w - w * w / (2 * (double)T) : (double)T / 2;
        attention += 12 * HD * keys;
    }
    return 6 * matmul_weights(config) + attention;
}

double hone_model_trained_flops_per_token(const hone_model *model, int64_t T)
{
    const double all = hone_model_flops_per_token(&model->config, T);
    return model->lora.rank ? all - 2 * matmul_weights(&model->config) + 6 * (double)hone_lora_count(model) : all;
}

uint64_t hone_model_hash(const hone_model *model, hone_place_fn data, void *context)
{
    uint64_t pair[2] = { 0, 0 };   // hash so far, of the next parameter
    for (int64_t i = 0; i < model->n_param; i++) {
        const hone_tensor *t = hone_at(model->graph, model->param[i]);
        pair[1] = hone_is_kept_narrow(t) ? model->blocked_hash[i] : hone_hash64(data(context, model->param[i]), (size_t)hone_tensor_bytes(t));
        pair[0] = hone_hash64(pair, sizeof pair);
    }
    return pair[0];
}
