// jinja_run.c: statements, and a template as a whole (jinja.h): parsed once, rendered any number of times.
#include "text/jinja_parts.h"

#include <inttypes.h>
#include <string.h>

typedef enum { FAILED, NEXT, BREAK, CONTINUE } flow;
static flow run(hone_jrender *r, const hone_jnodes *body, hone_jscope *scope);

hone_jvalue *hone_jinja_capture(hone_jrender *r, const hone_jnodes *body, hone_jscope *scope)
{
    hone_buffer text = { 0 }, *before = r->out;
    r->out = &text;
    hone_jvalue *value = run(r, body, scope) == FAILED ? NULL : hone_j_text(&r->room, text.data, text.size);
    r->out = before;
    hone_buffer_release(&text);
    return value;
}

static hone_status write(hone_jrender *r, const hone_jvalue *value)
{
    hone_status status = hone_j_print(value, r->out);
    if (!status && r->out->size > HONE_JINJA_OUTPUT_BYTES) status = hone_fail("the text is longer than %d MiB", HONE_JINJA_OUTPUT_BYTES >> 20);
    return status;
}

// Assigns a value to names, unpacking it where there are several.
static hone_status set_targets(hone_jrender *r, const hone_jnodes *target, hone_jvalue *value, hone_jscope *scope)
{
    const hone_jvalue *items = target->count > 1 ? hone_j_items(&r->room, value) : NULL;
    if (target->count > 1 && !items) return HONE_FAILED;
    if (items && items->count != target->count) return hone_fail("%" PRId64 " values for %" PRId64 " names", items->count, target->count);
    for (int64_t i = 0; i < target->count; i++) {
        const hone_jnode *t = target->at[i];
        hone_jvalue *one = items ? items->at[i] : value;
        if (t->kind == HONE_N_NAME) {
            if (hone_jinja_assign(r, scope, t->text, one)) return HONE_FAILED;
            continue;
        }
        hone_jvalue *space = hone_jinja_look_up(r, scope, t->a->text);
        if (!space || hone_jinja_undefined(space)) return HONE_FAILED;
        if (space->kind != HONE_J_NAMESPACE) return hone_fail("'%s' is no namespace, so '%s' of it cannot be set; make it with namespace()", t->a->text, t->text);
        if (hone_j_put(&r->room, space, hone_j_borrow(&r->room, t->text, strlen(t->text)), one)) return HONE_FAILED;
    }
    return HONE_OK;
}

static hone_jvalue *filter_items(hone_jrender *r, const hone_jnode *node, hone_jvalue *items, hone_jscope *scope)
{
    hone_jvalue *kept = hone_j_new(&r->room, HONE_J_LIST);
    for (int64_t i = 0; kept && i < items->count; i++) {
        hone_jscope *inner = hone_jinja_scope(r, scope);
        if (!inner || set_targets(r, &node->list, items->at[i], inner)) return NULL;
        const hone_jvalue *holds = hone_jinja_eval(r, node->b, inner);
        if (!holds || (hone_j_truth(holds) && hone_j_add(&r->room, kept, items->at[i]))) return NULL;
    }
    return kept;
}

static hone_status add_span(hone_jinja_span **span, int64_t *count, int64_t *capacity, size_t from, size_t to, int64_t item)
{
    if (to <= from) return HONE_OK;
    if (hone_grow(span, *count, capacity, sizeof **span)) return HONE_FAILED;
    (*span)[(*count)++] = (hone_jinja_span){ from, to, item };
    return HONE_OK;
}

static flow run_turn(hone_jrender *r, const hone_jnode *node, const hone_jvalue *loop, hone_jscope *scope)
{
    hone_jloop *state = loop->loop;
    hone_jvalue *item = state->items->at[state->index];
    hone_jscope *inner = hone_jinja_scope(r, scope);
    if (!inner || set_targets(r, &node->list, item, inner) || hone_jinja_assign(r, inner, "loop", (hone_jvalue *)(uintptr_t)loop)) return FAILED;
    bool watched = r->trace && item->item && !r->in_turn && r->out == r->whole;
    size_t from = r->out->size - (r->out == r->whole ? r->begin : 0);
    if (watched) r->in_turn = true;
    flow end = run(r, &node->body, inner);
    if (watched) {
        hone_jinja_trace *t = r->trace;
        r->in_turn = false;
        if (end != FAILED && add_span(&t->turn, &t->n_turns, &t->turn_capacity, from, r->out->size - r->begin, item->item - 1)) return FAILED;
    }
    return end;
}

static flow run_for(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    hone_jvalue *items = hone_jinja_eval(r, node->a, scope), *loop = hone_j_new(&r->room, HONE_J_LOOP);
    r->line = node->line;
    if (!items || !loop || !(items = hone_j_items(&r->room, items))) return FAILED;
    if (node->b && !(items = filter_items(r, node, items, scope))) return FAILED;
    if (!(loop->loop = hone_room_take(&r->room, 1, sizeof *loop->loop))) return FAILED;
    *loop->loop = (hone_jloop){ .items = items };
    flow end = NEXT;
    bool whole = false; // some turn ran to its end: as in Jinja, else: is for loops of which none did
    for (int64_t i = 0; i < items->count && end != FAILED && end != BREAK; i++) {
        loop->loop->index = i;
        end = run_turn(r, node, loop, scope);
        whole |= end == NEXT;
    }
    if (end == FAILED || whole || node->other.count == 0) return end == FAILED ? FAILED : NEXT;
    return (scope = hone_jinja_scope(r, scope)) ? run(r, &node->other, scope) : FAILED;
}

// The value of a filter chain over a text: its innermost operand is the constant that the parser left there.
static hone_jvalue *filter_text(hone_jrender *r, const hone_jnode *node, hone_jvalue *text, hone_jscope *scope)
{
    if (node->kind != HONE_N_FILTER) return text;
    hone_jvalue *inner = filter_text(r, node->a, text, scope);
    hone_jargs args;
    return inner && hone_jinja_args(r, node, scope, &args) ? hone_jinja_filter(r, node->text, inner, &args) : NULL;
}

static hone_jvalue *new_macro(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    hone_jvalue *macro = hone_j_new(&r->room, HONE_J_MACRO);
    if (!macro) return NULL;
    macro->macro = node;
    macro->scope = scope;
    return macro;
}

static hone_jvalue *call_block(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    hone_jargs args;
    hone_jvalue *callee = hone_jinja_eval(r, node->a->a, scope), *caller = new_macro(r, node, scope);
    if (!callee || !caller || !hone_jinja_args(r, node->a, scope, &args)) return NULL;
    args.name[args.n_named] = "caller";
    args.named[args.n_named++] = caller;
    return hone_jinja_call(r, callee, &args);
}

static flow run_generation(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    hone_jscope *inner = hone_jinja_scope(r, scope);
    size_t from = r->out->size;
    if (!inner || run(r, &node->body, inner) == FAILED) return FAILED;
    hone_jinja_trace *t = r->trace;
    if (!t || r->out != r->whole) return NEXT;
    return add_span(&t->generation, &t->n_generations, &t->generation_capacity, from - r->begin, r->out->size - r->begin, -1) ? FAILED : NEXT;
}

static flow run_with(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    hone_jscope *inner = hone_jinja_scope(r, scope);
    for (int64_t i = 0; inner && i < node->named.count; i++)
        if (hone_jinja_assign(r, inner, node->named.at[i]->text, hone_jinja_eval(r, node->named.at[i]->a, scope))) return FAILED;
    return inner ? run(r, &node->body, inner) : FAILED;
}

static hone_jvalue *captured_block(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    hone_jscope *inner = hone_jinja_scope(r, scope);
    hone_jvalue *text = inner ? hone_jinja_capture(r, &node->body, inner) : NULL;
    return text && node->b ? filter_text(r, node->b, text, scope) : text;
}

static flow run_node(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    hone_jvalue *value = NULL;
    hone_status status = HONE_OK;
    switch (node->kind) {
    case HONE_N_DATA: status = write(r, node->value); break;
    case HONE_N_PRINT: status = (value = hone_jinja_eval(r, node->a, scope)) ? write(r, value) : HONE_FAILED; break;
    case HONE_N_IF:
        if (!(value = hone_jinja_eval(r, node->a, scope))) return FAILED;
        return run(r, hone_j_truth(value) ? &node->body : &node->other, scope);
    case HONE_N_FOR: return run_for(r, node, scope);
    case HONE_N_SET: status = (value = hone_jinja_eval(r, node->a, scope)) ? set_targets(r, &node->list, value, scope) : HONE_FAILED; break;
    case HONE_N_SET_BLOCK: status = (value = captured_block(r, node, scope)) ? set_targets(r, &node->list, value, scope) : HONE_FAILED; break;
    case HONE_N_FILTER_BLOCK: status = (value = captured_block(r, node, scope)) ? write(r, value) : HONE_FAILED; break;
    case HONE_N_MACRO: status = hone_jinja_assign(r, scope, node->text, new_macro(r, node, scope)); break;
    case HONE_N_CALL_BLOCK: status = (value = call_block(r, node, scope)) ? write(r, value) : HONE_FAILED; break;
    case HONE_N_WITH: return run_with(r, node, scope);
    case HONE_N_GENERATION: return run_generation(r, node, scope);
    default: return node->kind == HONE_N_BREAK ? BREAK : CONTINUE;
    }
    return status ? FAILED : NEXT;
}

static flow run(hone_jrender *r, const hone_jnodes *body, hone_jscope *scope)
{
    flow end = NEXT;
    r->depth++;
    for (int64_t i = 0; i < body->count && end == NEXT; i++) end = hone_jinja_step(r, body->at[i]) ? run_node(r, body->at[i], scope) : FAILED;
    r->depth--;
    return end;
}

// --- the whole

hone_status hone_jinja_parse(const char *where, const char *text, size_t size, hone_jinja **out)
{
    hone_jtoken *tokens = NULL;
    int64_t count;
    hone_jinja *jinja = hone_alloc(1, sizeof *jinja);
    *out = NULL;
    if (!jinja) return HONE_FAILED;
    jinja->where = hone_strdup(where);
    hone_status status = jinja->where ? hone_jinja_lex(jinja, text, size, &tokens, &count) : HONE_FAILED;
    if (!status) status = hone_jinja_build(jinja, tokens);
    hone_free(tokens);
    if (status) hone_jinja_free(jinja);
    else *out = jinja;
    return status;
}

void hone_jinja_free(hone_jinja *jinja)
{
    if (!jinja) return;
    hone_room_release(&jinja->room);
    hone_free(jinja->where);
    hone_free(jinja);
}

bool hone_jinja_has_generation(const hone_jinja *jinja) { return jinja->generation; }

void hone_jinja_trace_release(hone_jinja_trace *trace)
{
    hone_free(trace->turn);
    hone_free(trace->generation);
    *trace = (hone_jinja_trace){ .list = trace->list };
}

static hone_jscope *open_scopes(hone_jrender *r, const json_t *variables)
{
    hone_jscope *root = hone_jinja_scope(r, NULL);
    hone_jvalue *all = hone_j_from_json(&r->room, variables, 0);
    for (int64_t i = 0; root && all && i < all->count; i++) {
        hone_jvalue *value = all->at[i];
        if (hone_jinja_assign(r, root, all->key[i]->text, value)) return NULL;
        if (!r->trace || !r->trace->list || strcmp(all->key[i]->text, r->trace->list) || value->kind != HONE_J_LIST) continue;
        for (int64_t k = 0; k < value->count; k++) value->at[k]->item = k + 1;
    }
    return root && all ? hone_jinja_scope(r, root) : NULL;
}

hone_status hone_jinja_render(const hone_jinja *jinja, const json_t *variables, time_t now, hone_jinja_trace *trace, hone_buffer *out)
{
    hone_jrender r = { .jinja = jinja, .now = now, .out = out, .whole = out, .begin = out->size, .trace = trace, .line = 1 };
    if (trace) trace->n_turns = trace->n_generations = 0;
    hone_jscope *scope = open_scopes(&r, variables);
    hone_status status = scope && run(&r, &jinja->body, scope) != FAILED ? HONE_OK : HONE_FAILED;
    if (status) {
        hone_fail_context("%s: line %d", jinja->where, r.line);
        out->size = r.begin;
    }
    hone_room_release(&r.room);
    return status;
}
