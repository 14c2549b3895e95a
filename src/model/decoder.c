// decoder.c: the three programs of a decoder, built from one description of a block, so that training, scoring and
// decoding run the same operations on the same storages.
//
//     ids, pos -> embed -> [ (+ skip) - (norm1) - qkv - (qk_norm) - (rope) - (+ values) - attention - o - (post1) + residual
//                            (norm2) - up  - activation         - down          - (post2) + residual ] x L -> norm -> head
//
// What differs: micro and score read keys from the fused qkv rows of their own run; decode writes them to a paged cache
// and reads that. Decode needs logits of few rows, so the last block goes on with those only behind its attention.
#include "model/decoder.h"
#include "base/memory.h"
#include <math.h>

typedef struct {
    hone_model *model;
    hone_graph *graph;
    hone_tid ids, pos, lo, hi;           // of this program
    hone_tid cs, cs_local;               // RoPE's angles, HONE_NONE without; those of layers with a window
    int64_t T;                           // rows that may share keys (training); 0 in decode
    hone_tid noise;                      // key of the noise that embeddings get, HONE_NONE without
    const hone_decode_io *decode;        // NULL in micro and score
} builder;

static hone_tid node1(builder *b, hone_op op, const hone_attr *attr, hone_tid x, hone_tid y, hone_tid z)
{
    hone_tid in[HONE_MAX_IN] = { x, y, z, HONE_NONE, HONE_NONE, HONE_NONE, HONE_NONE, HONE_NONE };
    return hone_graph_add(b->graph, op, attr, in, NULL)->out[0];
}

// s x; x itself where there is no factor.
static hone_tid scale(builder *b, hone_tid x, double s)
{
    return s == 0 || s == 1 ? x : node1(b, HONE_OP_scale, &(hone_attr){ .scale = (float)s }, x, HONE_NONE, HONE_NONE);
}

// x itself where the family has no such norm.
static hone_tid norm(builder *b, hone_tid x, hone_tid g, hone_tid bias)
{
    if (g == HONE_NONE) return x;
    const hone_config *c = &b->model->config;
    const hone_attr attr = { .eps = (float)c->norm_eps, .base = (float)c->norm_base };
    return node1(b, c->norm == HONE_NORM_RMS ? HONE_OP_rmsnorm : HONE_OP_layernorm, &attr, x, g, bias);
}

static hone_tid build_angles(builder *b, hone_tid freq, hone_tid otherwise)
{
    return freq == HONE_NONE ? otherwise : node1(b, HONE_OP_rope_table, &(hone_attr){ 0 }, b->pos, freq, HONE_NONE);
}

// NEFTune's noise on what the table gives: uniform within alpha / sqrt(T C).
static hone_tid add_noise(builder *b, hone_tid x)
{
    enum { STREAM = -1 };   // sites that drop inputs are numbered from 0
    if (b->noise == HONE_NONE) return x;
    const hone_attr attr = { .scale = (float)(b->model->noise_alpha / sqrt((double)(b->T * b->model->config.width))), .stream = STREAM };
    return node1(b, HONE_OP_noise, &attr, x, b->noise, HONE_NONE);
}

// Tokens, learned positions or RoPE's angles.
static hone_tid build_embedding(builder *b, hone_tid ids)
{
    hone_model *m = b->model;
    hone_tid addend = m->positions == HONE_NONE ? HONE_NONE : hone_embed(b->graph, b->pos, m->positions, HONE_NONE);
    const double factor = m->config.embed_root ? sqrt((double)m->config.width) : m->config.embed_scale;
    hone_tid h = scale(b, add_noise(b, hone_embed(b->graph, ids, m->embed, addend)), factor);
    b->cs = build_angles(b, m->rope_freq, HONE_NONE);
    b->cs_local = build_angles(b, m->rope_local, b->cs);
    return h;
}

// x with gain z added to its columns from `column` on.
static hone_tid blend(builder *b, hone_tid x, hone_tid z, hone_tid gain, int64_t column)
{
    return node1(b, HONE_OP_blend, &(hone_attr){ .v_col = (int32_t)column }, x, z, gain);
}

// Value embeddings (Jordan et al. 2024, the speed-runs of modded-nanogpt): what a token is goes to the values, past all layers before. A
// table's rows are looked up once for the two layers that share it.
static hone_tid add_values(builder *b, int layer, hone_tid qkv)
{
    const hone_config *c = &b->model->config;
    const int64_t table = hone_config_value_table(c, layer);
    if (table < 0) return qkv;
    hone_block *shared = &b->model->block[table];
    if (table == layer) shared->looked_up = hone_embed(b->graph, b->ids, shared->values, HONE_NONE);
    return blend(b, qkv, shared->looked_up, b->model->block[layer].value_gain, (c->heads + c->kv_heads) * c->head_dim);
}

// The same speed-runs' U-net: the last layers take in what the first put out, the outermost the first.
static hone_tid add_skip(builder *b, int layer, hone_tid h)
{
    const int64_t from = hone_config_skip_from(&b->model->config, layer);
    return from < 0 ? h : blend(b, h, b->model->block[from].put_out, b->model->block[layer].skip_gain, 0);
}

// (N, H*D): what the queries of qkv (N, P) see.
static hone_tid build_attention(builder *b, int layer, hone_tid qkv)
{
    const hone_config *c = &b->model->config;
    int32_t H = (int32_t)c->heads, G = (int32_t)c->kv_heads, D = (int32_t)c->head_dim;
    hone_attr attr = { .heads = H, .kv_heads = G, .head_dim = D, .q_col = 0, .k_col = H * D, .v_col = (H + G) * D,
                       .window = (int32_t)hone_config_window(c, layer), .scale = (float)(c->attention_scale > 0 ? c->attention_scale : 1.0 / sqrt((double)D)), .eps = (float)c->norm_eps,
                       .cap = (float)c->attention_cap, .group_rows = (int32_t)b->T };
    hone_block *w = &b->model->block[layer];
    if (c->qk_norm) {
        const hone_attr by_head = { .heads = H, .kv_heads = G, .head_dim = D, .eps = attr.eps, .base = (float)c->norm_base };
        const hone_attr whole = { .heads = 1, .kv_heads = 1, .head_dim = H * D, .eps = attr.eps, .base = (float)c->norm_base };
        qkv = node1(b, HONE_OP_qk_norm, c->qk_whole ? &whole : &by_head, qkv, w->q_norm, w->k_norm);
    }
    if (b->cs != HONE_NONE) qkv = node1(b, HONE_OP_rope, &attr, qkv, attr.window ? b->cs_local : b->cs, HONE_NONE);
    qkv = add_values(b, layer, qkv);
    hone_tid in[HONE_MAX_IN] = { qkv, qkv, b->lo, b->hi, HONE_NONE, HONE_NONE, HONE_NONE, HONE_NONE };
    const hone_decode_io *d = b->decode;
    const bool codes = d && b->model->cache == HONE_int8;
    if (d) {
        hone_tid cache[HONE_MAX_OUT] = { hone_graph_tensor(b->graph, HONE_CLASS_cache, b->model->cache,
                                                           HONE_DIMS(d->cache_rows, (int64_t)2 * G * D), "cache.%d", layer) };
        if (codes) cache[1] = hone_graph_tensor(b->graph, HONE_CLASS_cache, HONE_f32, HONE_DIMS(d->cache_rows, (int64_t)2 * G), "cache.%d.scale", layer);
        hone_graph_add(b->graph, codes ? HONE_OP_kv_write8 : HONE_OP_kv_write, &attr, (hone_tid[HONE_MAX_IN]){ qkv, d->cache_row }, cache);
        attr.k_col = 0;
        attr.v_col = G * D;
        attr.block = (int32_t)d->block;
        in[1] = cache[0]; in[4] = d->slot; in[5] = d->table;
        if (codes) in[6] = cache[1];
    }
    return hone_graph_add(b->graph, codes ? HONE_OP_attention8 : HONE_OP_attention, &attr, in, NULL)->out[0];
}

static const hone_op activation[] = { [HONE_MLP_SWIGLU] = HONE_OP_swiglu, [HONE_MLP_GELU] = HONE_OP_gelu, [HONE_MLP_RELU2] = HONE_OP_relu2,
                                      [HONE_MLP_GEGLU] = HONE_OP_geglu };

// h + W x, or with a norm behind h + norm(W x).
static hone_tid join(builder *b, hone_tid x, hone_tid w, hone_tid bias, hone_tid post_g, hone_tid post_b, hone_tid h)
{
    if (post_g == HONE_NONE) return hone_linear(b->graph, x, w, bias, h);
    return node1(b, HONE_OP_add, &(hone_attr){ 0 }, h, norm(b, hone_linear(b->graph, x, w, bias, HONE_NONE), post_g, post_b), HONE_NONE);
}

static hone_tid build_block(builder *b, int layer, hone_tid h)
{
    hone_graph *g = b->graph;
    const hone_config *c = &b->model->config;
    const hone_block *w = &b->model->block[layer];
    g->layer = layer;
    h = add_skip(b, layer, h);
    hone_tid qkv = hone_linear(g, norm(b, h, w->norm1_g, w->norm1_b), w->qkv, w->qkv_b, HONE_NONE);
    hone_tid seen = build_attention(b, layer, qkv);
    if (b->decode && layer == c->layers - 1) {
        seen = node1(b, HONE_OP_gather_rows, &(hone_attr){ 0 }, seen, b->decode->wanted, HONE_NONE);
        h = node1(b, HONE_OP_gather_rows, &(hone_attr){ 0 }, h, b->decode->wanted, HONE_NONE);
    }
    h = join(b, scale(b, seen, c->residual_scale), w->o, w->o_b, w->post1_g, w->post1_b, h);
    hone_tid up = hone_linear(g, norm(b, h, w->norm2_g, w->norm2_b), w->up, w->up_b, HONE_NONE);
    hone_tid act = node1(b, activation[c->mlp], &(hone_attr){ 0 }, up, HONE_NONE, HONE_NONE);
    return join(b, scale(b, act, c->residual_scale), w->down, w->down_b, w->post2_g, w->post2_b, h);
}

// The normalised hidden rows that the head reads.
static hone_tid build_body(builder *b, hone_tid ids)
{
    b->ids = ids;
    hone_tid h = build_embedding(b, ids);
    for (int layer = 0; layer < b->model->config.layers; layer++) b->model->block[layer].put_out = h = build_block(b, layer, h);
    b->graph->layer = -1;
    const double divisor = b->model->config.logit_scale;
    return scale(b, norm(b, h, b->model->final_g, b->model->final_b), divisor > 0 ? 1 / divisor : 0);
}

static void start_program(builder *b, hone_model *model, const char *name)
{
    *b = (builder){ .model = model, .graph = model->graph, .noise = HONE_NONE };
    hone_graph_program(b->graph, name);
    b->graph->phase = HONE_PHASE_FORWARD;
    b->graph->layer = -1;
}

// An input of this program; live: its count of rows in use, or HONE_NONE.
static hone_tid input(builder *b, hone_dtype dtype, hone_tid live, int64_t rows, int64_t columns, const char *name)
{
    hone_tid id = hone_graph_tensor(b->graph, HONE_CLASS_input, dtype, columns ? 2 : 1, (int64_t[]){ rows, columns },
                                    "%s.%s", b->graph->now->name, name);
    hone_at(b->graph, id)->live = live;
    return id;
}

static void make_output(builder *b, hone_tid id, const char *name)
{
    hone_tensor *t = hone_at(b->graph, id);
    t->cls = HONE_CLASS_output;
    snprintf(t->name, sizeof t->name, "%s.%s", b->graph->now->name, name);
}

static void train_inputs(builder *b, int64_t rows, int64_t T, bool scored, hone_train_io *io)
{
    int64_t N = rows * T;
    *io = (hone_train_io){ .N = N, .T = T, .count = HONE_NONE, .weight = HONE_NONE, .drop = HONE_NONE,
                           .scored = HONE_NONE, .pair = HONE_NONE, .reference = HONE_NONE, .measure = HONE_NONE };
    if (scored) io->count = input(b, HONE_i32, HONE_NONE, 1, 0, "count");
    io->ids = input(b, HONE_i32, io->count, N, 0, "ids");
    io->pos = b->pos = input(b, HONE_i32, io->count, N, 0, "pos");
    io->lo = b->lo = input(b, HONE_i32, io->count, N, 0, "lo");
    io->hi = b->hi = input(b, HONE_i32, io->count, N, 0, "hi");
    io->target = input(b, HONE_i32, io->count, N, scored ? 1 : 0, "target");
    if (!scored) io->weight = input(b, HONE_f32, HONE_NONE, N, 0, "weight");
    if (!scored && (b->model->lora.dropout > 0 || b->model->noise_alpha > 0)) io->drop = input(b, HONE_i32, HONE_NONE, 3, 0, "drop");
    b->T = T;
    b->noise = b->model->noise_alpha > 0 ? io->drop : HONE_NONE;
}

// The weights with which linear_xent's gradient is that of the loss of pairs of replies.
static hone_tid build_pair_loss(builder *b, hone_tid h, hone_train_io *io)
{
    const hone_model *m = b->model;
    const int64_t pairs = io->N >= 2 ? io->N / 2 : 1;  // a reply foretells one token at least
    io->scored = input(b, HONE_i32, HONE_NONE, io->N, 1, "scored");
    io->pair = input(b, HONE_i32, HONE_NONE, io->N, 0, "pair");
    io->reference = input(b, HONE_f32, HONE_NONE, pairs, 2, "reference");
    const hone_tid logprob = node1(b, HONE_OP_linear_logprob, &(hone_attr){ .cap = (float)m->config.softcap }, h, m->head, io->scored);
    const hone_attr attr = { .scale = (float)m->pair_beta, .rate = (float)m->pair_smoothing };
    const hone_node *node = hone_graph_add(b->graph, HONE_OP_pair_loss, &attr, (hone_tid[HONE_MAX_IN]){ logprob, io->weight, io->pair, io->reference }, NULL);
    const hone_tid weight = node->out[0];
    io->measure = node->out[1];
    make_output(b, io->measure, "measure");
    return weight;
}

// In f16 gradients need the loss scale: a state that program "update" adapts.
static hone_tid scale_loss(builder *b, hone_tid weight)
{
    if (b->model->product != HONE_f16) return weight;
    hone_tid state = hone_graph_tensor(b->graph, HONE_CLASS_state, HONE_f32, HONE_DIMS(3), "loss_scale");
    return node1(b, HONE_OP_scale_loss, &(hone_attr){ 0 }, weight, state, HONE_NONE);
}

void hone_model_build_forward(hone_model *model, int64_t rows, int64_t T, hone_train_io *io)
{
    builder b;
    start_program(&b, model, "micro");
    train_inputs(&b, rows, T, false, io);
    hone_tid h = build_body(&b, io->ids);
    hone_tid weight = model->pair_beta > 0 ? build_pair_loss(&b, h, io) : io->weight;
    weight = scale_loss(&b, weight);
    hone_tid in[HONE_MAX_IN] = { h, model->head, io->target, weight, HONE_NONE, HONE_NONE, HONE_NONE, HONE_NONE };
    // dW: none here, hone_pass_grad puts it in where the head is trained.
    io->logprob = hone_graph_add(b.graph, HONE_OP_linear_xent, &(hone_attr){ .cap = (float)model->config.softcap }, in, (hone_tid[]){ HONE_NONE })->out[0];
    make_output(&b, io->logprob, "logprob");
    hone_pass_lora(&model->lora, b.graph, b.graph->now, model->lora.dropout > 0 ? io->drop : HONE_NONE);
}

// Products and storage of the program just built. Few rows are decoded at a time: only programs of many rows store them in 16 bits.
static hone_status narrow_and_form(hone_model *model)
{
    hone_graph *graph = model->graph;
    hone_status status = model->product == HONE_f32 ? HONE_OK : hone_pass_storage(graph, graph->now, hone_storage_of_product(model->product));
    hone_pass_precision(graph, graph->now, model->product, model->fp8_flops_per_byte);
    return status ? status : hone_pass_forms(graph, graph->now, HONE_FORMS_AT_USE);
}

hone_status hone_model_build_stored(hone_model *model, int64_t rows, int64_t T, hone_train_io *io)
{
    hone_graph *graph = model->graph;
    hone_model_build_forward(model, rows, T, io);
    hone_status status = hone_pass_grad(graph, NULL);
    return status ? status : narrow_and_form(model);
}

hone_status hone_model_build_micro(hone_model *model, int64_t rows, int64_t T, hone_train_io *io)
{
    hone_status status = hone_model_build_stored(model, rows, T, io);
    return status ? status : hone_pass_recompute(model->graph, model->graph->now, hone_drop_cheap);
}

hone_status hone_model_build_score(hone_model *model, int64_t rows, int64_t T, hone_train_io *io)
{
    builder b;
    start_program(&b, model, "score");
    train_inputs(&b, rows, T, true, io);
    model->score_count = io->count;
    model->score_rows = io->N;
    hone_tid h = build_body(&b, io->ids);
    io->logprob = node1(&b, HONE_OP_linear_logprob, &(hone_attr){ .cap = (float)model->config.softcap }, h, model->head, io->target);
    make_output(&b, io->logprob, "logprob");
    hone_pass_lora(&model->lora, b.graph, b.graph->now, HONE_NONE);
    return narrow_and_form(model);
}

hone_status hone_model_build_decode_pool(hone_model *model, int64_t N, int64_t R, int64_t slots, int64_t context, int64_t pool,
                                         hone_decode_io *io)
{
    builder b;
    start_program(&b, model, "decode");
    *io = (hone_decode_io){ .N = N, .R = R, .S = slots, .block = HONE_KV_BLOCK,
                            .blocks = (context + HONE_KV_BLOCK - 1) / HONE_KV_BLOCK, .cache_rows = pool * HONE_KV_BLOCK };
    HONE_ASSERT(N > 0 && R > 0 && R <= N && slots > 0 && io->blocks > 0 && pool >= io->blocks,
                "decode of %lld rows, %lld wanted, %lld slots, pool of %lld blocks", (long long)N, (long long)R,
                (long long)slots, (long long)pool);
    io->count = input(&b, HONE_i32, HONE_NONE, 1, 0, "count");
    io->ids = input(&b, HONE_i32, io->count, N, 0, "ids");
    io->pos = b.pos = input(&b, HONE_i32, io->count, N, 0, "pos");
    io->slot = input(&b, HONE_i32, io->count, N, 0, "slot");
    io->cache_row = input(&b, HONE_i32, io->count, N, 0, "cache_row");
    io->lo = b.lo = input(&b, HONE_i32, io->count, N, 0, "lo");
    io->hi = b.hi = input(&b, HONE_i32, io->count, N, 0, "hi");
    io->table = input(&b, HONE_i32, HONE_NONE, slots, io->blocks, "table");
    io->wanted_count = input(&b, HONE_i32, HONE_NONE, 1, 0, "wanted_count");
    io->wanted = input(&b, HONE_i32, io->wanted_count, R, 0, "wanted");
    b.decode = io;
    hone_tid h = build_body(&b, io->ids);
    io->logits = hone_linear(b.graph, h, model->head, HONE_NONE, HONE_NONE);
    if (model->config.softcap > 0)
        io->logits = node1(&b, HONE_OP_softcap, &(hone_attr){ .cap = (float)model->config.softcap }, io->logits, HONE_NONE, HONE_NONE);
    make_output(&b, io->logits, "logits");
    hone_pass_lora(&model->lora, b.graph, b.graph->now, HONE_NONE);
    hone_pass_precision(b.graph, b.graph->now, model->product, model->fp8_flops_per_byte);
    return hone_pass_forms(b.graph, b.graph->now, HONE_FORMS_LIVING);
}

hone_status hone_model_build_decode(hone_model *model, int64_t N, int64_t R, int64_t slots, int64_t context, hone_decode_io *io)
{
    int64_t blocks = (context + HONE_KV_BLOCK - 1) / HONE_KV_BLOCK;
    return hone_model_build_decode_pool(model, N, R, slots, context, slots * blocks, io);
}
