// forms.c: where each weight's matrix form is made (see pass.h). The pass only rewrites operands: a linear that read the
// storage W reads pack(W) instead; which bytes a form has is the backend's affair.
#include "graph/pass.h"
#include "base/memory.h"
#include <stdio.h>
#include <string.h>

// The form that input 1 of a node wants, or HONE_FORM_PLAIN. Programs whose forms live (decoding) stream weights past few rows.
// A weight in blocks has no form that lives: it is kept so for its few bytes.
static hone_form wanted_form(const hone_node *node, hone_forms policy)
{
    if (node->op == HONE_OP_linear || node->op == HONE_OP_lora_linear) return policy == HONE_FORMS_LIVING ? HONE_FORM_STREAMED : HONE_FORM_PACKED;
    return node->op == HONE_OP_linear_dx ? HONE_FORM_PACKED_T : HONE_FORM_PLAIN;
}

static bool has_form(const hone_graph *graph, const hone_node *node, hone_forms policy)
{
    const hone_tensor *w = node->n_in > 1 && node->in[1] != HONE_NONE ? hone_at(graph, node->in[1]) : NULL;
    return wanted_form(node, policy) != HONE_FORM_PLAIN && w && (w->cls == HONE_CLASS_param || w->cls == HONE_CLASS_form) && w->form == HONE_FORM_PLAIN;
}

// A weight with its low-rank change is a plain pack so far, all of whose readers get forms of their own.
static bool is_change(const hone_node *node) { return node->op == HONE_OP_pack && node->in[1] != HONE_NONE; }
static hone_node pack_of(const hone_program *program, hone_tid w)
{
    for (int64_t n = 0; n < program->count; n++)
        if (is_change(&program->node[n]) && program->node[n].out[0] == w) return program->node[n];
    return (hone_node){ .in = { w, HONE_NONE, HONE_NONE } };
}

static hone_forms policy_of(const hone_graph *graph, const hone_node *node, hone_forms policy)
{
    const bool blocked = node->n_in > 1 && node->in[1] != HONE_NONE && hone_dtype_is_blocked(hone_at(graph, node->in[1])->dtype);
    return blocked ? HONE_FORMS_AT_USE : policy;
}

// Lengths of changed rows (op dora_norm) depend on weights alone: where forms live they do, too.
static bool lives(const hone_node *node, hone_forms policy) { return policy == HONE_FORMS_LIVING && node->op == HONE_OP_dora_norm; }
static void let_live(hone_graph *graph, hone_node *node)
{
    const hone_tensor weight = *hone_at(graph, node->in[0]);
    hone_tensor *n = hone_at(graph, node->out[0]);
    n->cls = HONE_CLASS_cache;
    snprintf(n->name, sizeof n->name, "lengths.%.60s", weight.name);
}

// Of the numbers that the product is made in.
static hone_tid make_form(hone_graph *graph, hone_node pack, hone_form form, hone_dtype product)
{
    pack.attr.form = form;
    pack.attr.dtype = product != HONE_f32 ? product : hone_at(graph, pack.in[0])->dtype == HONE_f64 ? HONE_f64 : HONE_f32;
    return hone_graph_add(graph, HONE_OP_pack, &pack.attr, pack.in, NULL)->out[0];
}

// A living form is a cache: one per weight and kind, found by name, made anew by program "refresh".
static hone_tid living_form(hone_graph *graph, hone_tid w, hone_form form, hone_dtype product)
{
    char name[80];
    snprintf(name, sizeof name, "form%d%s.%.66s", (int)form, product == HONE_f32 ? "" : hone_dtype_name(product), hone_at(graph, w)->name);
    hone_tid found = hone_graph_find(graph, name);
    if (found != HONE_NONE) return found;
    hone_tid made = make_form(graph, (hone_node){ .in = { w, HONE_NONE, HONE_NONE } }, form, product);
    hone_tensor *tensor = hone_at(graph, made);
    tensor->cls = HONE_CLASS_cache;
    memcpy(tensor->name, name, sizeof name);
    return made;
}

hone_status hone_pass_forms(hone_graph *graph, hone_program *program, hone_forms policy)
{
    if (graph->failed) return hone_fail("out of memory while the graph was built");
    if (policy == HONE_FORMS_NONE) return HONE_OK;
    const hone_program before = *program;
    hone_program *now = graph->now;
    const hone_phase phase = graph->phase;
    const int layer = graph->layer;
    hone_program *refresh = policy == HONE_FORMS_LIVING ? hone_graph_program(graph, "refresh") : NULL;
    program->node = NULL;
    program->count = program->capacity = 0;
    hone_status status = HONE_FAILED;
    for (int64_t n = 0; n < before.count; n++) {
        hone_node node = before.node[n];
        const hone_forms its = policy_of(graph, &node, policy);
        graph->now = its == HONE_FORMS_AT_USE ? program : refresh;
        graph->phase = node.phase;
        graph->layer = node.layer;
        if (has_form(graph, &node, its))
            node.in[1] = its == HONE_FORMS_AT_USE ? make_form(graph, pack_of(&before, node.in[1]), wanted_form(&node, its), node.attr.product)
                                                  : living_form(graph, node.in[1], wanted_form(&node, its), node.attr.product);
        if (is_change(&node)) continue;
        const bool living = lives(&node, policy);
        if (living) let_live(graph, &node);
        hone_program *into = living ? refresh : program;
        if (hone_grow(&into->node, into->count, &into->capacity, sizeof node)) goto out;
        into->node[into->count++] = node;
    }
    status = graph->failed ? hone_fail("out of memory while weight forms were planned") : HONE_OK;
out:
    hone_free(before.node);
    graph->now = now;
    graph->phase = phase;
    graph->layer = layer;
    return status;
}
