// grad.c: reverse-mode differentiation as a pass. Each op has one rule; the rule appends the nodes of its backward.
//
//   for each node from last to first:  rule(node)   reads  grad_of[outputs], writes grad_of[inputs]
//
// Where a tensor has several consumers its gradients are summed. Most sums cost nothing: backward ops take the gradient
// that exists so far as an addend (rmsnorm_back, linear_dx), so a residual stream needs no node of its own.
#include "graph/pass.h"
#include "base/memory.h"
#include <stdio.h>
#include <string.h>

typedef struct {
    hone_graph *graph;
    hone_node node;      // the forward node, a copy: the list grows under us
    int64_t index;
    hone_tid *of;        // (capacity,) gradient of each tensor
    int64_t capacity;
} context;

static bool wanted(const context *c, hone_tid id) { return id != HONE_NONE && hone_at(c->graph, id)->trained; }
static hone_tid in(const context *c, int i) { return c->node.in[i]; }
static hone_tid dout(const context *c, int i) { return c->of[c->node.out[i]]; }

// Adds a contribution that no backward op could take as its addend.
static void contribute(context *c, hone_tid id, hone_tid gradient)
{
    if (!wanted(c, id)) return;
    c->of[id] = c->of[id] == HONE_NONE ? gradient : hone_add(c->graph, c->of[id], gradient);
}

hone_tid hone_grad_of_param(const hone_graph *graph, hone_tid param)
{
    char name[96];
    snprintf(name, sizeof name, "grad.%s", hone_at(graph, param)->name);
    return hone_graph_find(graph, name);
}

// The gradient storage of a trained parameter: found or made, with views like the parameter's own.
static hone_tid gradient_of_param(context *c, hone_tid param)
{
    hone_graph *graph = c->graph;
    hone_tid found = hone_grad_of_param(graph, param);
    if (found != HONE_NONE) return found;
    hone_tensor storage = *hone_at(graph, param);
    HONE_ASSERT(storage.base == HONE_NONE, "%s is a view; nodes read whole storages", storage.name);
    hone_dtype dtype = storage.dtype == HONE_f64 ? HONE_f64 : HONE_f32;
    hone_tid made = hone_graph_tensor(graph, HONE_CLASS_grad, dtype, storage.rank, storage.dim, "grad.%.74s", storage.name);
    hone_at(graph, made)->layer = storage.layer;
    for (hone_tid id = 0, n = (hone_tid)graph->n_tensor; id < n; id++) {
        hone_tensor view = *hone_at(graph, id);
        if (view.base != param) continue;
        int64_t row = view.offset_bytes / (int64_t)hone_dtype_bytes(storage.dtype) / (hone_tensor_count(&storage) / storage.dim[0]);
        hone_graph_view(graph, made, row, view.dim[0], "grad.%.74s", view.name);
    }
    return made;
}

static hone_tid gradient_if_trained(context *c, hone_tid param) { return wanted(c, param) ? gradient_of_param(c, param) : HONE_NONE; }

// --- rules, in the order of ops.def ------------------------------------------------------------------------------------

static void grad_embed(context *c)
{
    if (wanted(c, in(c, 1)))
        hone_graph_add(c->graph, HONE_OP_embed_dw, NULL, (hone_tid[]){ in(c, 0), dout(c, 0) }, (hone_tid[]){ gradient_of_param(c, in(c, 1)) });
    contribute(c, in(c, 2), dout(c, 0));
}

static void grad_linear(context *c)
{
    hone_tid x = in(c, 0), w = in(c, 1), bias = in(c, 2), dy = dout(c, 0);
    HONE_ASSERT(!wanted(c, bias) || wanted(c, w), "%s is trained but its weight is not", hone_at(c->graph, bias)->name);
    if (wanted(c, w))
        hone_graph_add(c->graph, HONE_OP_linear_dw, NULL, (hone_tid[]){ dy, x },
                       (hone_tid[]){ gradient_of_param(c, w), gradient_if_trained(c, bias) });
    contribute(c, in(c, 3), dy);
    if (wanted(c, x))
        c->of[x] = hone_graph_add(c->graph, HONE_OP_linear_dx, NULL, (hone_tid[]){ dy, w, c->of[x] }, NULL)->out[0];
}

// The weight of the linear that made t of the same rows x, or NONE.
static hone_tid made_by(const context *c, hone_tid t, hone_tid x)
{
    const hone_node *node = c->graph->now->node;
    for (int64_t n = c->index - 1; n >= 0; n--)
        if (node[n].out[0] == t) return node[n].op == HONE_OP_linear && node[n].in[0] == x ? node[n].in[1] : HONE_NONE;
    return HONE_NONE;
}

// W + s B A
static hone_tid changed_weight(context *c, hone_tid a)
{
    hone_attr attr = c->node.attr;
    attr.dtype = hone_at(c->graph, a)->dtype;
    return hone_graph_add(c->graph, HONE_OP_pack, &attr, (hone_tid[]){ in(c, 1), in(c, 3), a }, NULL)->out[0];
}

// y = x W^T + s t B^T: dt = s dy B, dB += s dy^T t; t's own gradient goes on to A and x by the linear that made it. Folded, that is done
// here, with one product for both ways to x: dA += dt^T x, dx = dy (W + s B A).
static void grad_lora_linear(context *c)
{
    hone_tid x = in(c, 0), w = in(c, 1), t = in(c, 2), b = in(c, 3), bias = in(c, 4), dy = dout(c, 0), dt = HONE_NONE;
    const hone_tid a = c->node.attr.fold ? made_by(c, t, x) : HONE_NONE;
    HONE_ASSERT(!wanted(c, bias) || wanted(c, w), "%s is trained but its weight is not", hone_at(c->graph, bias)->name);
    if (wanted(c, w))
        hone_graph_add(c->graph, HONE_OP_linear_dw, NULL, (hone_tid[]){ dy, x },
                       (hone_tid[]){ gradient_of_param(c, w), gradient_if_trained(c, bias) });
    if (wanted(c, b)) hone_graph_add(c->graph, HONE_OP_lora_dw, &c->node.attr, (hone_tid[]){ dy, t }, (hone_tid[]){ gradient_of_param(c, b) });
    if (wanted(c, t)) dt = hone_graph_add(c->graph, HONE_OP_lora_dt, &c->node.attr, (hone_tid[]){ dy, b }, NULL)->out[0];
    if (a == HONE_NONE) contribute(c, t, dt);
    else hone_graph_add(c->graph, HONE_OP_linear_dw, NULL, (hone_tid[]){ dt, x }, (hone_tid[]){ gradient_of_param(c, a), HONE_NONE });
    contribute(c, in(c, 5), dy);
    if (!wanted(c, x)) return;
    const hone_tid through = a == HONE_NONE ? w : changed_weight(c, a);
    c->of[x] = hone_graph_add(c->graph, HONE_OP_linear_dx, NULL, (hone_tid[]){ dy, through, c->of[x] }, NULL)->out[0];
}

static void grad_dropout(context *c)
{
    contribute(c, in(c, 0), hone_graph_add(c->graph, HONE_OP_dropout, &c->node.attr, (hone_tid[]){ dout(c, 0), in(c, 1) }, NULL)->out[0]);
}

// The lengths n are held constant.
static void grad_dora(context *c)
{
    const hone_tid z = in(c, 0), m = in(c, 1), dy = dout(c, 0), dm = gradient_of_param(c, m), db = gradient_if_trained(c, in(c, 3));
    contribute(c, in(c, 4), dy);
    contribute(c, z, hone_graph_add(c->graph, HONE_OP_dora_back, &c->node.attr, (hone_tid[]){ dy, z, m, in(c, 2) }, (hone_tid[]){ dm, db })->out[0]);
}

static void grad_noise(context *c) { contribute(c, in(c, 0), dout(c, 0)); }

static void grad_rmsnorm(context *c)
{
    hone_tid x = in(c, 0), g = in(c, 1);
    c->of[x] = hone_graph_add(c->graph, HONE_OP_rmsnorm_back, &c->node.attr,
                              (hone_tid[]){ dout(c, 0), x, g, c->node.out[1], c->of[x] }, (hone_tid[]){ gradient_if_trained(c, g) })->out[0];
}

static void grad_layernorm(context *c)
{
    hone_tid x = in(c, 0), g = in(c, 1), b = in(c, 2);
    c->of[x] = hone_graph_add(c->graph, HONE_OP_layernorm_back, &c->node.attr, (hone_tid[]){ dout(c, 0), x, g, c->node.out[1], c->of[x] },
                              (hone_tid[]){ gradient_if_trained(c, g), gradient_if_trained(c, b) })->out[0];
}

static void grad_qk_norm(context *c)
{
    hone_tid x = in(c, 0), gq = in(c, 1), gk = in(c, 2);
    contribute(c, x, hone_graph_add(c->graph, HONE_OP_qk_norm_back, &c->node.attr, (hone_tid[]){ dout(c, 0), x, gq, gk, c->node.out[1] },
                                    (hone_tid[]){ gradient_if_trained(c, gq), gradient_if_trained(c, gk) })->out[0]);
}

// A rotation's transpose is the rotation back.
static void grad_rope(context *c)
{
    hone_attr attr = c->node.attr;
    attr.inverse = !attr.inverse;
    contribute(c, in(c, 0), hone_graph_add(c->graph, HONE_OP_rope, &attr, (hone_tid[]){ dout(c, 0), in(c, 1) }, NULL)->out[0]);
}

static void grad_attention(context *c)
{
    hone_tid q = in(c, 0), kv = in(c, 1);
    HONE_ASSERT(in(c, 5) == HONE_NONE, "paged attention has no gradient (%s)", hone_at(c->graph, q)->name);
    hone_node *back = hone_graph_add(c->graph, HONE_OP_attention_back, &c->node.attr,
                                     (hone_tid[]){ dout(c, 0), q, kv, c->node.out[0], c->node.out[1], in(c, 2), in(c, 3) }, NULL);
    if (q == kv) { contribute(c, q, back->out[0]); return; }
    hone_tensor like = *hone_at(c->graph, kv);
    hone_tid dq = back->out[0];
    hone_tid dkv = back->out[1] = hone_graph_tensor(c->graph, HONE_CLASS_actgrad, like.dtype, like.rank, like.dim, "attention_back.dkv.%lld",
                                                    (long long)c->graph->n_tensor);
    contribute(c, q, dq);
    contribute(c, kv, dkv);
}

static void grad_swiglu(context *c)
{
    contribute(c, in(c, 0), hone_graph_add(c->graph, HONE_OP_swiglu_back, NULL, (hone_tid[]){ dout(c, 0), in(c, 0) }, NULL)->out[0]);
}

static void grad_geglu(context *c)
{
    contribute(c, in(c, 0), hone_graph_add(c->graph, HONE_OP_geglu_back, NULL, (hone_tid[]){ dout(c, 0), in(c, 0) }, NULL)->out[0]);
}

static void grad_gelu(context *c)
{
    contribute(c, in(c, 0), hone_graph_add(c->graph, HONE_OP_gelu_back, NULL, (hone_tid[]){ dout(c, 0), in(c, 0) }, NULL)->out[0]);
}

static void grad_relu2(context *c)
{
    contribute(c, in(c, 0), hone_graph_add(c->graph, HONE_OP_relu2_back, NULL, (hone_tid[]){ dout(c, 0), in(c, 0) }, NULL)->out[0]);
}

static void grad_scale(context *c)
{
    contribute(c, in(c, 0), hone_graph_add(c->graph, HONE_OP_scale, &c->node.attr, (hone_tid[]){ dout(c, 0) }, NULL)->out[0]);
}

static void grad_add(context *c)
{
    contribute(c, in(c, 0), dout(c, 0));
    contribute(c, in(c, 1), dout(c, 0));
}

// The op computes its own dx and dw in the forward sweep (one head product less); here they are only handed over.
static void grad_linear_xent(context *c)
{
    hone_tid dw = gradient_if_trained(c, in(c, 1));
    c->graph->now->node[c->index].out[2] = dw;
    hone_at(c->graph, c->node.out[1])->cls = HONE_CLASS_actgrad;
    contribute(c, in(c, 0), c->node.out[1]);
}

// x may be z: both are of one shape then.
static void grad_blend(context *c)
{
    const hone_tid z = in(c, 1), g = in(c, 2), dy = dout(c, 0);
    contribute(c, in(c, 0), dy);
    if (!wanted(c, z) && !wanted(c, g)) return;
    contribute(c, z, hone_graph_add(c->graph, HONE_OP_blend_back, &c->node.attr, (hone_tid[]){ dy, z, g }, (hone_tid[]){ gradient_if_trained(c, g) })->out[0]);
}

typedef void (*rule_fn)(context *);
#define GRAD(name) grad_##name
#define NONE(name) NULL
static const rule_fn rule[] = {
#define OP(name, inputs, outputs, grad, ...) [HONE_OP_##name] = grad(name),
#include "graph/ops.def"
#undef OP
};

// Marks what lies on a path from a trained parameter: `trained` flows from inputs to outputs.
static void mark_trained(hone_graph *graph, const hone_program *program)
{
    for (int64_t n = 0; n < program->count; n++) {
        const hone_node *node = &program->node[n];
        bool trained = false;
        for (int i = 0; i < node->n_in; i++) trained |= node->in[i] != HONE_NONE && hone_at(graph, node->in[i])->trained;
        for (int i = 0; i < node->n_out; i++)
            if (node->out[i] != HONE_NONE) hone_at(graph, node->out[i])->trained |= trained;
    }
}

// New tensors appear while rules run: keep `of` as long as the table may become.
static hone_status reserve(context *c, int64_t more)
{
    int64_t need = c->graph->n_tensor + more;
    if (need <= c->capacity) return HONE_OK;
    hone_tid *grown = hone_realloc(c->of, (size_t)need * 2, sizeof *grown);
    if (!grown) return HONE_FAILED;
    for (int64_t i = c->capacity; i < need * 2; i++) grown[i] = HONE_NONE;
    c->of = grown;
    c->capacity = need * 2;
    return HONE_OK;
}

hone_status hone_pass_grad(hone_graph *graph, hone_tid **grad_of)
{
    if (graph->failed) return hone_fail("out of memory while the graph was built");
    context c = { .graph = graph };
    hone_phase phase = graph->phase;
    int layer = graph->layer;
    mark_trained(graph, graph->now);
    graph->phase = HONE_PHASE_BACKWARD;
    for (c.index = graph->now->count - 1; c.index >= 0; c.index--) {
        if (reserve(&c, 64)) { hone_free(c.of); return HONE_FAILED; }
        c.node = graph->now->node[c.index];
        if (c.node.op != HONE_OP_linear_xent && (c.node.out[0] == HONE_NONE || c.of[c.node.out[0]] == HONE_NONE)) continue;
        bool leads = false;
        for (int i = 0; i < c.node.n_in; i++) leads |= wanted(&c, c.node.in[i]);
        if (!leads) continue;
        HONE_ASSERT(rule[c.node.op], "%s has no gradient rule, yet a loss depends on its trained input", hone_op_get(c.node.op)->name);
        graph->layer = c.node.layer;
        rule[c.node.op](&c);
    }
    graph->phase = phase;
    graph->layer = layer;
    if (grad_of) *grad_of = c.of; else hone_free(c.of);
    return graph->failed ? hone_fail("out of memory while the backward was built") : HONE_OK;
}
