// graph.c: the tensor table, appending nodes, checks.
#include "graph/graph.h"
#include "base/memory.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

hone_graph *hone_graph_new(void)
{
    hone_graph *graph = hone_alloc(1, sizeof *graph);
    if (!graph) return NULL;
    graph->layer = HONE_NONE;
    if (hone_grow(&graph->tensor, 0, &graph->capacity, sizeof *graph->tensor)) { // slot 0 is there: see new_tensor
        hone_free(graph);
        return NULL;
    }
    return graph;
}

void hone_graph_free(hone_graph *graph)
{
    if (!graph) return;
    for (int i = 0; i < graph->n_program; i++) hone_free(graph->program[i].node);
    hone_free(graph->tensor);
    hone_free(graph);
}

hone_program *hone_graph_program(hone_graph *graph, const char *name)
{
    for (int i = 0; i < graph->n_program; i++)
        if (!strcmp(graph->program[i].name, name)) return graph->now = &graph->program[i];
    HONE_ASSERT(graph->n_program < HONE_PROGRAMS, "no room for program %s", name);
    hone_program *program = &graph->program[graph->n_program++];
    snprintf(program->name, sizeof program->name, "%s", name);
    graph->phase = HONE_PHASE_FORWARD;
    graph->layer = HONE_NONE;
    return graph->now = program;
}

// A row of the tensor table to fill. When memory ran out the graph is marked failed and slot 0 serves as scratch, so that
// builders need no check after each line: no shape is looked at any more, passes and hone_session_plan refuse the graph.
static hone_tid new_tensor(hone_graph *graph)
{
    static hone_tensor empty = { .live = HONE_NONE, .base = HONE_NONE, .layer = HONE_NONE };
    if (graph->failed || hone_grow(&graph->tensor, graph->n_tensor, &graph->capacity, sizeof *graph->tensor)) {
        graph->failed = true;
        return 0;
    }
    graph->tensor[graph->n_tensor] = empty;
    graph->tensor[graph->n_tensor].layer = graph->layer;
    return (hone_tid)graph->n_tensor++;
}

hone_tid hone_graph_tensor(hone_graph *graph, hone_class cls, hone_dtype dtype, int rank, const int64_t *dim,
                           const char *name, ...)
{
    HONE_ASSERT(rank >= 1 && rank <= HONE_MAX_RANK, "rank %d", rank);
    hone_tid id = new_tensor(graph);
    hone_tensor *tensor = hone_at(graph, id);
    tensor->cls = cls;
    tensor->dtype = dtype;
    tensor->rank = rank;
    for (int i = 0; i < rank; i++) tensor->dim[i] = dim[i];
    va_list list;
    va_start(list, name);
    vsnprintf(tensor->name, sizeof tensor->name, name, list);
    va_end(list);
    return id;
}

hone_tid hone_graph_view(hone_graph *graph, hone_tid base, int64_t row, int64_t rows, const char *name, ...)
{
    hone_tid id = new_tensor(graph);
    hone_tensor *tensor = hone_at(graph, id);
    const hone_tensor *of = hone_at(graph, base);
    if (graph->failed) return id;
    HONE_ASSERT(row >= 0 && rows > 0 && row + rows <= of->dim[0], "rows %lld + %lld of %s, which has %lld", (long long)row,
                (long long)rows, of->name, (long long)of->dim[0]);
    *tensor = *of;
    tensor->dim[0] = rows;
    tensor->live = HONE_NONE;
    tensor->base = of->base == HONE_NONE ? base : of->base;
    tensor->offset_bytes = of->offset_bytes
                         + hone_dtype_size(of->dtype, row * (hone_tensor_count(of) / of->dim[0]));
    va_list list;
    va_start(list, name);
    vsnprintf(tensor->name, sizeof tensor->name, name, list);
    va_end(list);
    return id;
}

int64_t hone_view_row(const hone_tensor *view) { return view->offset_bytes / hone_dtype_size(view->dtype, hone_tensor_count(view) / view->dim[0]); }

void hone_graph_store(hone_graph *graph, hone_tid storage, hone_dtype dtype)
{
    for (hone_tid id = 0; id < graph->n_tensor; id++) {
        hone_tensor *t = hone_at(graph, id);
        if (hone_storage(graph, id) != storage) continue;
        const int64_t row = hone_view_row(t);
        t->dtype = dtype;
        t->offset_bytes = hone_dtype_size(dtype, row * (hone_tensor_count(t) / t->dim[0]));
    }
}

hone_tid hone_graph_find(const hone_graph *graph, const char *name)
{
    for (hone_tid id = 0; id < graph->n_tensor; id++)
        if (!strcmp(graph->tensor[id].name, name)) return id;
    return HONE_NONE;
}

static hone_status bind_attributes(const hone_node *node, hone_binding *binding)
{
    const struct { const char *name; int64_t value; } known[] = {
        { "H", node->attr.heads }, { "G", node->attr.kv_heads }, { "D", node->attr.head_dim }, { "U", node->attr.parts } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].value > 0 && hone_binding_set(binding, known[i].name, known[i].value)) return HONE_FAILED;
    return HONE_OK;
}

// The size of dim i of an operand, where a tensor of one dimension less than its row counts as (1, ...).
static int64_t operand_dim(const hone_tensor *tensor, const hone_operand_spec *spec, int i)
{
    int missing = spec->rank - tensor->rank;
    return i < missing ? 1 : tensor->dim[i - missing];
}

// Binds the lone symbols of one operand (expressions = false), then checks its expressions (true).
static hone_status bind_operand(const hone_tensor *tensor, const hone_operand_spec *spec, hone_binding *binding, bool expressions)
{
    int missing = spec->rank - tensor->rank;
    if (missing < 0 || missing > 1)
        return hone_fail("%s has %d dimensions, not %d", tensor->name, tensor->rank, spec->rank);
    for (int i = 0; i < spec->rank; i++) {
        int64_t have = operand_dim(tensor, spec, i), want = have;
        bool lone = !strpbrk(spec->dim[i], "+*0123456789");
        if (lone == expressions) continue;
        hone_status status = lone ? hone_binding_set(binding, spec->dim[i], have) : hone_binding_eval(binding, spec->dim[i], &want);
        if (status && !lone && !hone_binding_solve(binding, spec->dim[i], have)) continue;
        if (status) {
            hone_fail_context("%s as %s", tensor->name, spec->name);
            return HONE_FAILED;
        }
        if (!lone && want != have)
            return hone_fail("%s as %s: dimension %d is %lld, not %s = %lld", tensor->name, spec->name, i, (long long)have,
                             spec->dim[i], (long long)want);
    }
    if (!spec->any_float && spec->dtype != HONE_DTYPE_COUNT && tensor->dtype != spec->dtype && !(spec->dtype == HONE_f32 && tensor->dtype == HONE_f64))
        return hone_fail("%s as %s is %s, not %s", tensor->name, spec->name, hone_dtype_name(tensor->dtype),
                         hone_dtype_name(spec->dtype));
    if (spec->any_float && !spec->blocked && hone_dtype_is_blocked(tensor->dtype))
        return hone_fail("%s as %s is in blocks (%s), which it cannot read", tensor->name, spec->name, hone_dtype_name(tensor->dtype));
    if (spec->any_float && (tensor->dtype == HONE_i32 || tensor->dtype == HONE_u8))
        return hone_fail("%s as %s is %s, not a float", tensor->name, spec->name, hone_dtype_name(tensor->dtype));
    return HONE_OK;
}

static hone_status bind_operands(const hone_graph *graph, const hone_node *node, hone_binding *binding, bool outputs)
{
    const hone_op_info *info = hone_op_get(node->op);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < info->n_in; i++) {
            if (node->in[i] == HONE_NONE) {
                if (!info->in[i].optional) return hone_fail("input %s is missing", info->in[i].name);
                continue;
            }
            if (bind_operand(hone_at(graph, node->in[i]), &info->in[i], binding, pass)) return HONE_FAILED;
        }
        for (int i = 0; i < info->n_out; i++) {
            if (!outputs && !info->out[i].update) continue;
            if (node->out[i] == HONE_NONE) {
                if (!info->out[i].optional) return hone_fail("output %s is missing", info->out[i].name);
                continue;
            }
            if (bind_operand(hone_at(graph, node->out[i]), &info->out[i], binding, pass)) return HONE_FAILED;
        }
    }
    return HONE_OK;
}

hone_status hone_node_bind(const hone_graph *graph, const hone_node *node, hone_binding *binding)
{
    binding->count = 0;
    if (bind_attributes(node, binding) || bind_operands(graph, node, binding, true)) {
        char text[256];
        hone_node_print(graph, node, text, sizeof text);
        hone_fail_context("%s", text);
        return HONE_FAILED;
    }
    return HONE_OK;
}

double hone_node_flops(const hone_graph *graph, const hone_node *node)
{
    hone_binding binding;
    int64_t flops = 0;
    if (hone_node_bind(graph, node, &binding) || hone_binding_eval(&binding, hone_op_get(node->op)->flops, &flops)) return 0;
    return (double)flops;
}

void hone_node_print(const hone_graph *graph, const hone_node *node, char *text, size_t size)
{
    int n = snprintf(text, size, "%s(", hone_op_get(node->op)->name);
    for (int i = 0; i < node->n_in && n < (int)size; i++)
        n += snprintf(text + n, size - (size_t)n, "%s%s", i ? ", " : "", node->in[i] == HONE_NONE ? "-" : hone_at(graph, node->in[i])->name);
    for (int i = 0; i < node->n_out && n < (int)size; i++)
        n += snprintf(text + n, size - (size_t)n, "%s%s", i ? ", " : ") -> ", node->out[i] == HONE_NONE ? "-" : hone_at(graph, node->out[i])->name);
}

// The live count of a new output: that of the first input whose dim 0 is the same expression.
static hone_tid inherit_live(const hone_graph *graph, const hone_node *node, const hone_op_info *info, const hone_operand_spec *out)
{
    for (int i = 0; i < info->n_in; i++) {
        if (node->in[i] == HONE_NONE || strcmp(info->in[i].dim[0], out->dim[0])) continue;
        hone_tid live = hone_at(graph, node->in[i])->live;
        if (live != HONE_NONE) return live;
    }
    return HONE_NONE;
}

// What is made of a table in bf16 is not; which activations are, a pass says later.
static hone_dtype float_dtype(const hone_graph *graph, const hone_node *node, const hone_op_info *info)
{
    if (node->op == HONE_OP_pack) return node->attr.dtype;
    for (int i = 0; i < info->n_in; i++)
        if (node->in[i] != HONE_NONE && info->in[i].any_float) return hone_at(graph, node->in[i])->dtype == HONE_f64 ? HONE_f64 : HONE_f32;
    return HONE_f32;
}

// The tensor of an ordinary output, shaped by the op's row.
static hone_tid new_output(hone_graph *graph, const hone_node *node, const hone_op_info *info, int k, const hone_binding *binding)
{
    const hone_operand_spec *spec = &info->out[k];
    int64_t dim[HONE_MAX_RANK];
    for (int i = 0; i < spec->rank; i++) {
        hone_status status = hone_binding_eval(binding, spec->dim[i], &dim[i]);
        HONE_ASSERT(!status, "%s: output %s: %s", info->name, spec->name, hone_error());
    }
    hone_dtype real = float_dtype(graph, node, info);
    hone_dtype dtype = spec->any_float || (spec->dtype == HONE_f32 && real == HONE_f64) ? real : spec->dtype;
    hone_class cls = node->op == HONE_OP_pack ? HONE_CLASS_form
                   : graph->phase == HONE_PHASE_BACKWARD ? HONE_CLASS_actgrad : HONE_CLASS_activation;
    hone_tid live = inherit_live(graph, node, info, spec);
    hone_tid id = hone_graph_tensor(graph, cls, dtype, spec->rank, dim, "%s.%s.%lld", info->name, spec->name, (long long)graph->n_tensor);
    hone_at(graph, id)->live = live;
    if (node->op == HONE_OP_pack) hone_at(graph, id)->form = node->attr.form;
    return id;
}

hone_node *hone_graph_add(hone_graph *graph, hone_op op, const hone_attr *attr, const hone_tid *in, const hone_tid *update)
{
    HONE_ASSERT(graph->now, "hone_graph_add before hone_graph_program");
    const hone_op_info *info = hone_op_get(op);
    hone_node node = { .op = op, .n_in = info->n_in, .n_out = info->n_out, .phase = graph->phase, .layer = graph->layer };
    if (attr) node.attr = *attr;
    memcpy(node.in, in, (size_t)info->n_in * sizeof *in);
    for (int i = 0; i < info->n_out; i++) node.out[i] = info->out[i].update && update ? *update++ : HONE_NONE;
    static hone_node scratch; // where memory ran out: see new_tensor
    if (graph->failed) {
        scratch = node;
        for (int i = 0; i < info->n_out; i++) if (!info->out[i].update && !info->out[i].optional) scratch.out[i] = 0;
        return &scratch;
    }

    hone_binding binding = { 0 };
    hone_status status = bind_attributes(&node, &binding) || bind_operands(graph, &node, &binding, false) ? HONE_FAILED : HONE_OK;
    HONE_ASSERT(!status, "%s: %s", info->name, hone_error());
    for (int i = 0; i < info->n_out; i++)
        if (!info->out[i].update && !info->out[i].optional) node.out[i] = new_output(graph, &node, info, i, &binding);

    hone_program *now = graph->now;
    if (graph->failed || hone_grow(&now->node, now->count, &now->capacity, sizeof node)) {
        graph->failed = true;
        scratch = node;
        return &scratch;
    }
    now->node[now->count] = node;
    return &now->node[now->count++];
}

hone_tid hone_embed(hone_graph *graph, hone_tid ids, hone_tid table, hone_tid addend)
{
    return hone_graph_add(graph, HONE_OP_embed, NULL, (hone_tid[]){ ids, table, addend }, NULL)->out[0];
}

hone_tid hone_linear(hone_graph *graph, hone_tid x, hone_tid w, hone_tid bias, hone_tid residual)
{
    return hone_graph_add(graph, HONE_OP_linear, NULL, (hone_tid[]){ x, w, bias, residual }, NULL)->out[0];
}

hone_tid hone_add(hone_graph *graph, hone_tid a, hone_tid b)
{
    return hone_graph_add(graph, HONE_OP_add, NULL, (hone_tid[]){ a, b }, NULL)->out[0];
}

bool hone_is_transient(const hone_tensor *tensor)
{
    static const bool persistent[] = {
#define CLASS(name, persistent, title) persistent,
#include "graph/classes.def"
#undef CLASS
    };
    return !persistent[tensor->cls] && !tensor->parked;
}

hone_status hone_graph_validate(const hone_graph *graph, const hone_program *program)
{
    if (graph->failed) return hone_fail("out of memory while the graph was built");
    hone_status status = HONE_FAILED;
    int64_t *written = hone_alloc((size_t)graph->n_tensor, sizeof *written); // 1 + node that wrote it
    if (!written) return HONE_FAILED;
    for (int64_t n = 0; n < program->count; n++) {
        const hone_node *node = &program->node[n];
        hone_binding binding;
        char text[256];
        hone_node_print(graph, node, text, sizeof text);
        if (hone_node_bind(graph, node, &binding)) goto out;
        for (int i = 0; i < node->n_in; i++)
            if (node->in[i] != HONE_NONE && hone_is_transient(hone_at(graph, node->in[i])) && !written[hone_storage(graph, node->in[i])]) {
                hone_fail("%s node %lld %s reads %s before it is written", program->name, (long long)n, text, hone_at(graph, node->in[i])->name);
                goto out;
            }
        for (int i = 0; i < node->n_out; i++) {
            if (node->out[i] == HONE_NONE || !hone_is_transient(hone_at(graph, node->out[i]))) continue;
            bool update = hone_op_get(node->op)->out[i].update;
            int64_t *by = &written[hone_storage(graph, node->out[i])];
            if (update != (*by > 0)) {
                hone_fail("%s node %lld %s: %s", program->name, (long long)n, text,
                          update ? "updates a tensor that nobody wrote" : "writes a tensor a second time");
                goto out;
            }
            *by = n + 1;
        }
    }
    status = HONE_OK;
out:
    hone_free(written);
    return status;
}
