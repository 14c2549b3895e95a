// lora.c: which matrices get factors, and the pass that puts their products in (see lora.h).
#include "model/decoder.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include <math.h>
#include <string.h>

double hone_lora_scale(const hone_lora *lora) { return lora->alpha / (lora->rslora ? sqrt((double)lora->rank) : (double)lora->rank); }

void hone_lora_release(hone_lora *lora)
{
    for (int64_t i = 0; i < lora->n_module; i++) hone_free(lora->module[i].name);
    hone_free(lora->base_path);
    hone_free(lora->module);
    hone_free(lora->site);
    *lora = (hone_lora){ 0 };
}

// --- modules -----------------------------------------------------------------------------------------------------------

// PEFT's rule: the whole name, or its end behind a dot.
static bool names(const char *target, const char *module)
{
    const size_t n = strlen(module), t = strlen(target);
    return t <= n && !strcmp(module + n - t, target) && (t == n || module[n - t - 1] == '.');
}

static bool wanted(const hone_lora_options *options, const char *module, bool *used)
{
    bool found = false;
    for (int64_t i = 0; i < options->n_target; i++) {
        if (strcmp(options->target[i], "all") && !names(options->target[i], module)) continue;
        used[i] = found = true;
    }
    return found;
}

// "model.layers.{layer}.mlp.up_proj.weight", 3 -> "model.layers.3.mlp.up_proj"; NULL where it is no such matrix. hone_free() it.
static char *module_name(const hone_weight_row *row, int64_t layer)
{
    static const char weight[] = ".weight";
    char *name = hone_weight_is_layered(row->file_name) ? hone_weight_name(row->file_name, layer) : NULL;
    const size_t n = name ? strlen(name) : 0, w = strlen(weight);
    if (n >= w && strcmp(name + n - w, weight) == 0) {
        name[n - w] = '\0';
        return name;
    }
    hone_free(name);
    return NULL;
}

// The logical parameter of a row: rows [*first, + its own) of its storage.
static hone_tid find_param(const hone_graph *graph, const hone_weight_row *row, int layer, int64_t *first)
{
    const hone_tid id = hone_weight_find(graph, row->param, layer);
    HONE_ASSERT(id != HONE_NONE, "families.def: no parameter %s", row->param);
    const hone_tensor *t = hone_at(graph, id);
    *first = t->rank == 2 ? hone_view_row(t) : 0;
    return id;
}

static bool is_module_row(const hone_model *model, const hone_weight_row *row, int layer)
{
    return row->param && row->part == 0 && hone_weight_is_layered(row->file_name) && hone_config_has(&model->config, row->when, layer);
}

// The module that begins at a row; rows behind it of the same file name are its further parts.
static hone_status add_module(hone_model *model, const hone_weight_row *row, int layer, const hone_lora_options *options, bool *used, int64_t *capacity)
{
    hone_lora *lora = &model->lora;
    hone_lora_module m = { .layer = layer, .a = HONE_NONE, .b = HONE_NONE, .m = HONE_NONE };
    int64_t first;
    const hone_tid param = find_param(model->graph, row, layer, &m.row);
    if (!hone_at(model->graph, param)->hidden) return HONE_OK;
    if (!(m.name = module_name(row, layer))) return HONE_FAILED;
    if (!wanted(options, m.name, used)) {
        hone_free(m.name);
        return HONE_OK;
    }
    m.weight = hone_storage(model->graph, param);
    for (int part = 0; part < row->parts; part++) {
        const hone_tid id = find_param(model->graph, &row[part], layer, &first);
        HONE_ASSERT(hone_storage(model->graph, id) == m.weight && first == m.row + m.rows, "%s is not in one piece", m.name);
        m.rows += hone_at(model->graph, id)->dim[0];
    }
    if (hone_grow(&lora->module, lora->n_module, capacity, sizeof m)) {
        hone_free(m.name);
        return HONE_FAILED;
    }
    lora->module[lora->n_module++] = m;
    return HONE_OK;
}

// Matrices that could have been named, for the message: those of the first block, behind its number.
static hone_status refuse_target(const hone_model *model, const char *target)
{
    const hone_family *family = model->config.family;
    hone_buffer known = { 0 };
    for (int r = 0; r < family->n_row; r++) {
        int64_t first;
        if (!is_module_row(model, &family->row[r], 0) || !hone_at(model->graph, find_param(model->graph, &family->row[r], 0, &first))->hidden) continue;
        char *name = module_name(&family->row[r], 0);
        const char *tail = name ? strstr(name, ".0.") : NULL;
        if (tail) hone_buffer_print(&known, "%s%s", known.size ? ", " : "", tail + 3);
        hone_free(name);
    }
    hone_status status = hone_fail("%s names no matrix of a %s model; there are %s, or all", target, family->model_type, known.data ? known.data : "none");
    hone_buffer_release(&known);
    return status;
}

static hone_status find_modules(hone_model *model, const hone_lora_options *options)
{
    const hone_family *family = model->config.family;
    bool *used = hone_alloc((size_t)options->n_target + 1, sizeof *used);
    int64_t capacity = 0;
    hone_status status = used ? HONE_OK : HONE_FAILED;
    for (int layer = 0; layer < model->config.layers && !status; layer++)
        for (int r = 0; r < family->n_row && !status; r++)
            if (is_module_row(model, &family->row[r], layer)) status = add_module(model, &family->row[r], layer, options, used, &capacity);
    for (int64_t i = 0; i < options->n_target && !status; i++)
        if (!used[i]) status = refuse_target(model, options->target[i]);
    hone_free(used);
    return status;
}

// --- factors -----------------------------------------------------------------------------------------------------------

// columns 0: a vector.
static hone_tid declare_factor(hone_graph *graph, int64_t rows, int64_t columns, const char *name)
{
    const hone_tid id = hone_graph_tensor(graph, HONE_CLASS_param, HONE_f32, columns ? 2 : 1, (int64_t[]){ rows, columns }, "%.79s", name);
    hone_at(graph, id)->trained = true;
    hone_at(graph, id)->decayed = columns > 0;
    return id;
}

// Names within the graph: "layers.3.self_attn.q_proj.lora_A"; m: lora_M.
static void factor_name(const hone_lora_module *m, char which, char name[80])
{
    char number[16];
    snprintf(number, sizeof number, ".%d.", m->layer);
    const char *tail = strstr(m->name, number);
    snprintf(name, 80, "layers%.60s.lora_%c", tail, which);
}

// B A takes M K r multiplications, dt A takes rows x parts r K, in a product so thin that each takes over twice as long.
static bool folds(int64_t rows, int64_t parts, int64_t M) { return 2 * rows * parts >= M && rows > 0; }

// The site of modules [first, first + count), which share a weight.
static void declare_site(hone_model *model, int64_t first, int64_t count, int64_t fold_rows)
{
    hone_graph *graph = model->graph;
    hone_lora *lora = &model->lora;
    hone_lora_module *m = &lora->module[first];
    const hone_tensor weight = *hone_at(graph, m->weight);
    hone_lora_site site = { .weight = m->weight, .m = HONE_NONE, .attr = { .parts = (int32_t)count, .scale = (float)hone_lora_scale(lora) } };
    char name[80];
    int64_t rows = 0;
    HONE_ASSERT(count <= HONE_MAX_PARTS, "%lld matrices in %s", (long long)count, weight.name);
    for (int64_t i = 0; i < count; i++) {
        site.attr.part_col[i] = (int32_t)m[i].row;
        site.attr.part_rows[i] = (int32_t)m[i].rows;
        rows += m[i].rows;
    }
    site.attr.fold = folds(fold_rows, count, weight.dim[0]);
    graph->layer = m->layer;
    for (int f = 0; f < hone_lora_factors(lora); f++) {     // A, B, lengths
        const char which = "ABM"[f];
        const int64_t storage_rows = f == 0 ? count * lora->rank : rows, columns = (int64_t[]){ weight.dim[1], lora->rank, 0 }[f];
        factor_name(m, which, name);
        if (count > 1) snprintf(name, sizeof name, "%.60s.lora_%c", weight.name, which);
        const hone_tid storage = declare_factor(graph, storage_rows, columns, name);
        hone_at(graph, storage)->fast = which == 'B';
        *(f == 0 ? &site.a : f == 1 ? &site.b : &site.m) = storage;
        for (int64_t i = 0, row = 0; i < count; i++) {
            const int64_t own = f == 0 ? lora->rank : m[i].rows;
            factor_name(&m[i], which, name);
            *(f == 0 ? &m[i].a : f == 1 ? &m[i].b : &m[i].m) = count == 1 ? storage : hone_graph_view(graph, storage, row, own, "%.79s", name);
            row += own;
        }
    }
    lora->site[lora->n_site++] = site;
}

hone_status hone_lora_declare(hone_model *model, const hone_lora_options *options)
{
    hone_lora *lora = &model->lora;
    hone_graph *graph = model->graph;
    const int layer = graph->layer;
    HONE_ASSERT(options->rank > 0 && !lora->rank, "rank %lld, %lld before", (long long)options->rank, (long long)lora->rank);
    *lora = (hone_lora){ .rank = options->rank, .alpha = options->alpha, .rslora = options->rslora, .dora = options->dora,
                         .dropout = options->dropout };
    hone_status status = find_modules(model, options);
    if (!status && !(lora->site = hone_alloc((size_t)lora->n_module + 1, sizeof *lora->site))) status = HONE_FAILED;
    if (status) return status;
    for (hone_tid id = 0; id < graph->n_tensor; id++)
        if (hone_at(graph, id)->cls == HONE_CLASS_param) hone_at(graph, id)->trained = false;
    for (int64_t i = 0, end; i < lora->n_module; i = end) {
        for (end = i + 1; end < lora->n_module && lora->module[end].weight == lora->module[i].weight; end++) {}
        declare_site(model, i, end - i, options->fold_rows);
    }
    graph->layer = layer;
    return graph->failed ? hone_fail("out of memory while adapters were declared") : HONE_OK;
}

int64_t hone_lora_count(const hone_model *model)
{
    const hone_lora *lora = &model->lora;
    const int64_t factors = hone_lora_factors(lora) * lora->n_module;
    int64_t count = 0;
    for (int64_t i = 0; i < factors; i++) count += hone_tensor_count(hone_at(model->graph, hone_lora_factor(lora, i)));
    return count;
}

int64_t hone_model_n_logical(const hone_model *model) { return model->n_param + hone_lora_factors(&model->lora) * model->lora.n_module; }

hone_tid hone_model_logical(const hone_model *model, int64_t i)
{
    return i < model->n_param ? model->param[i] : hone_lora_factor(&model->lora, i - model->n_param);
}

static void init_factor(float *w, int64_t count, double bound, uint64_t seed, uint32_t stream)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) w[i] = (float)(bound * (2 * hone_rng_uniform(seed, HONE_RNG_INIT, stream, (uint64_t)i) - 1));
}

// Length of row r of a matrix that lies in f32 or in blocks.
static double row_length(const hone_tensor *w, const uint8_t *data, int64_t r)
{
    enum { PIECE = 256 };   // whole blocks of any kind
    const hone_blocks blocks = hone_dtype_blocks(w->dtype);
    const int64_t K = w->dim[1];
    double squares = 0;
    data += hone_dtype_size(w->dtype, r * K);
    for (int64_t k = 0; k < K; k += PIECE) {
        float room[PIECE];
        const int64_t n = K - k < PIECE ? K - k : PIECE;
        const uint8_t *from = data + hone_dtype_size(w->dtype, k);
        if (blocks == HONE_BLOCKS_COUNT) memcpy(room, from, (size_t)n * sizeof *room);
        else hone_blocks_decode(blocks, from, n, room);
        for (int64_t j = 0; j < n; j++) squares += (double)room[j] * (double)room[j];
    }
    return sqrt(squares);
}

void hone_lora_fill_lengths(const hone_model *model, hone_place_fn data, void *context)
{
    for (int64_t i = 0; i < model->lora.n_module && model->lora.dora; i++) {
        const hone_lora_module *m = &model->lora.module[i];
        float *length = data(context, m->m);
        const void *weight = data(context, m->weight);
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < m->rows; r++) length[r] = (float)row_length(hone_at(model->graph, m->weight), weight, m->row + r);
    }
}

void hone_lora_init(const hone_model *model, uint64_t seed, hone_place_fn data, void *context)
{
    for (int64_t i = 0; i < model->lora.n_module; i++) {
        const hone_lora_module *m = &model->lora.module[i];
        const hone_tensor *a = hone_at(model->graph, m->a), *b = hone_at(model->graph, m->b);
        init_factor(data(context, m->a), hone_tensor_count(a), 1 / sqrt((double)a->dim[1]), seed, (uint32_t)hone_hash64(a->name, strlen(a->name)));
        memset(data(context, m->b), 0, (size_t)hone_tensor_count(b) * sizeof(float));
    }
    hone_lora_fill_lengths(model, data, context);
}

// --- the pass ------------------------------------------------------------------------------------------------------------

static const hone_lora_site *site_of(const hone_lora *lora, const hone_node *node)
{
    for (int64_t i = 0; i < lora->n_site && node->op == HONE_OP_linear; i++)
        if (lora->site[i].weight == node->in[1]) return &lora->site[i];
    return NULL;
}

// y = x W^T (+ bias) (+ residual) -> its low-rank change, and with DoRA the lengths of the rows behind it. Appends what comes
// before the last node, which takes the place of `node`.
static void change(hone_graph *graph, const hone_lora *lora, const hone_lora_site *site, hone_tid drop, hone_node *node)
{
    const hone_attr attr = { .rate = (float)lora->dropout, .stream = (int32_t)(site - lora->site) };
    hone_tid seen = node->in[0];
    if (drop != HONE_NONE) seen = hone_graph_add(graph, HONE_OP_dropout, &attr, (hone_tid[]){ seen, drop }, NULL)->out[0];
    const hone_tid t = hone_linear(graph, seen, site->a, HONE_NONE, HONE_NONE);
    hone_tid in[HONE_MAX_IN] = { node->in[0], node->in[1], t, site->b, node->in[2], node->in[3] };
    node->op = HONE_OP_lora_linear;
    if (lora->dora) {
        in[4] = in[5] = HONE_NONE;
        const hone_tid z = hone_graph_add(graph, HONE_OP_lora_linear, &site->attr, in, NULL)->out[0];
        const hone_tid n = hone_graph_add(graph, HONE_OP_dora_norm, &site->attr, (hone_tid[]){ site->weight, site->a, site->b }, NULL)->out[0];
        memcpy(in, (hone_tid[]){ z, site->m, n, node->in[2], node->in[3] }, 5 * sizeof *in);
        node->op = HONE_OP_dora;
    }
    node->n_in = hone_op_get(node->op)->n_in;
    node->attr = site->attr;
    memcpy(node->in, in, sizeof in);
}

void hone_pass_lora(const hone_lora *lora, hone_graph *graph, hone_program *program, hone_tid drop)
{
    const hone_program before = *program;
    hone_program *now = graph->now;
    const hone_phase phase = graph->phase;
    const int layer = graph->layer;
    if (graph->failed || !lora->rank) return;
    program->node = NULL;
    program->count = program->capacity = 0;
    graph->now = program;
    for (int64_t n = 0; n < before.count && !graph->failed; n++) {
        hone_node node = before.node[n];
        const hone_lora_site *site = site_of(lora, &node);
        graph->phase = node.phase;
        graph->layer = node.layer;
        if (site) change(graph, lora, site, drop, &node);
        if (graph->failed || hone_grow(&program->node, program->count, &program->capacity, sizeof node)) graph->failed = true;
        else program->node[program->count++] = node;
    }
    hone_free(before.node);
    graph->now = now;
    graph->phase = phase;
    graph->layer = layer;
}
