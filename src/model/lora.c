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

static bool is_module_row(const hone_model *model, const hone_weight_row *row)
{
    return row->param && row->part == 0 && hone_weight_is_layered(row->file_name) && hone_config_has(&model->config, row->when);
}

// The module that begins at a row; rows behind it of the same file name are its further parts.
static hone_status add_module(hone_model *model, const hone_weight_row *row, int layer, const hone_lora_options *options, bool *used, int64_t *capacity)
{
    hone_lora *lora = &model->lora;
    hone_lora_module m = { .layer = layer, .a = HONE_NONE, .b = HONE_NONE };
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
        if (!is_module_row(model, &family->row[r]) || !hone_at(model->graph, find_param(model->graph, &family->row[r], 0, &first))->hidden) continue;
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
            if (is_module_row(model, &family->row[r])) status = add_module(model, &family->row[r], layer, options, used, &capacity);
    for (int64_t i = 0; i < options->n_target && !status; i++)
        if (!used[i]) status = refuse_target(model, options->target[i]);
    hone_free(used);
    return status;
}

// --- factors -----------------------------------------------------------------------------------------------------------

static hone_tid declare_factor(hone_graph *graph, int64_t rows, int64_t columns, const char *name)
{
    const hone_tid id = hone_graph_tensor(graph, HONE_CLASS_param, HONE_f32, HONE_DIMS(rows, columns), "%.79s", name);
    hone_at(graph, id)->trained = hone_at(graph, id)->decayed = true;
    return id;
}

// Names within the graph: "layers.3.self_attn.q_proj.lora_A".
static void factor_name(const hone_lora_module *m, char which, char name[80])
{
    char number[16];
    snprintf(number, sizeof number, ".%d.", m->layer);
    const char *tail = strstr(m->name, number);
    snprintf(name, 80, "layers%.60s.lora_%c", tail, which);
}

// The site of modules [first, first + count), which share a weight.
static void declare_site(hone_model *model, int64_t first, int64_t count)
{
    hone_graph *graph = model->graph;
    hone_lora *lora = &model->lora;
    hone_lora_module *m = &lora->module[first];
    const hone_tensor weight = *hone_at(graph, m->weight);
    hone_lora_site site = { .weight = m->weight, .attr = { .parts = (int32_t)count, .scale = (float)hone_lora_scale(lora) } };
    char name[80];
    int64_t rows = 0;
    HONE_ASSERT(count <= HONE_MAX_PARTS, "%lld matrices in %s", (long long)count, weight.name);
    for (int64_t i = 0; i < count; i++) {
        site.attr.part_col[i] = (int32_t)m[i].row;
        site.attr.part_rows[i] = (int32_t)m[i].rows;
        rows += m[i].rows;
    }
    graph->layer = m->layer;
    for (int b = 0; b < 2; b++) {
        const char which = b ? 'B' : 'A';
        factor_name(m, which, name);
        if (count > 1) snprintf(name, sizeof name, "%.60s.lora_%c", weight.name, which);
        const hone_tid storage = which == 'A' ? declare_factor(graph, count * lora->rank, weight.dim[1], name) : declare_factor(graph, rows, lora->rank, name);
        hone_at(graph, storage)->fast = which == 'B';
        *(which == 'A' ? &site.a : &site.b) = storage;
        for (int64_t i = 0, row = 0; i < count; i++) {
            const int64_t own = which == 'A' ? lora->rank : m[i].rows;
            factor_name(&m[i], which, name);
            *(which == 'A' ? &m[i].a : &m[i].b) = count == 1 ? storage : hone_graph_view(graph, storage, row, own, "%.79s", name);
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
    *lora = (hone_lora){ .rank = options->rank, .alpha = options->alpha, .rslora = options->rslora, .dropout = options->dropout };
    hone_status status = find_modules(model, options);
    if (!status && !(lora->site = hone_alloc((size_t)lora->n_module + 1, sizeof *lora->site))) status = HONE_FAILED;
    if (status) return status;
    for (hone_tid id = 0; id < graph->n_tensor; id++)
        if (hone_at(graph, id)->cls == HONE_CLASS_param) hone_at(graph, id)->trained = false;
    for (int64_t i = 0, end; i < lora->n_module; i = end) {
        for (end = i + 1; end < lora->n_module && lora->module[end].weight == lora->module[i].weight; end++) {}
        declare_site(model, i, end - i);
    }
    graph->layer = layer;
    return graph->failed ? hone_fail("out of memory while adapters were declared") : HONE_OK;
}

int64_t hone_lora_count(const hone_model *model)
{
    int64_t count = 0;
    for (int64_t i = 0; i < model->lora.n_site; i++)
        count += hone_tensor_count(hone_at(model->graph, model->lora.site[i].a)) + hone_tensor_count(hone_at(model->graph, model->lora.site[i].b));
    return count;
}

int64_t hone_model_n_logical(const hone_model *model) { return model->n_param + 2 * model->lora.n_module; }

hone_tid hone_model_logical(const hone_model *model, int64_t i)
{
    if (i < model->n_param) return model->param[i];
    const hone_lora_module *m = &model->lora.module[(i - model->n_param) / 2];
    return (i - model->n_param) % 2 ? m->b : m->a;
}

static void init_factor(float *w, int64_t count, double bound, uint64_t seed, uint32_t stream)
{
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) w[i] = (float)(bound * (2 * hone_rng_uniform(seed, HONE_RNG_INIT, stream, (uint64_t)i) - 1));
}

void hone_lora_init(const hone_model *model, uint64_t seed, hone_place_fn data, void *context)
{
    for (int64_t i = 0; i < model->lora.n_module; i++) {
        const hone_lora_module *m = &model->lora.module[i];
        const hone_tensor *a = hone_at(model->graph, m->a), *b = hone_at(model->graph, m->b);
        init_factor(data(context, m->a), hone_tensor_count(a), 1 / sqrt((double)a->dim[1]), seed, (uint32_t)hone_hash64(a->name, strlen(a->name)));
        memset(data(context, m->b), 0, (size_t)hone_tensor_count(b) * sizeof(float));
    }
}

// --- the pass ------------------------------------------------------------------------------------------------------------

static const hone_lora_site *site_of(const hone_lora *lora, const hone_node *node)
{
    for (int64_t i = 0; i < lora->n_site && node->op == HONE_OP_linear; i++)
        if (lora->site[i].weight == node->in[1]) return &lora->site[i];
    return NULL;
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
        if (site) {
            const hone_attr attr = { .rate = (float)lora->dropout, .stream = (int32_t)(site - lora->site) };
            const hone_tid seen = drop == HONE_NONE ? node.in[0] : hone_graph_add(graph, HONE_OP_dropout, &attr, (hone_tid[]){ node.in[0], drop }, NULL)->out[0];
            const hone_tid t = hone_linear(graph, seen, site->a, HONE_NONE, HONE_NONE);
            const hone_tid in[] = { node.in[0], node.in[1], t, site->b, node.in[2], node.in[3] };
            node.op = HONE_OP_lora_linear;
            node.n_in = hone_op_get(node.op)->n_in;
            node.attr = site->attr;
            memcpy(node.in, in, sizeof in);
        }
        if (graph->failed || hone_grow(&program->node, program->count, &program->capacity, sizeof node)) graph->failed = true;
        else program->node[program->count++] = node;
    }
    hone_free(before.node);
    graph->now = now;
    graph->phase = phase;
    graph->layer = layer;
}
