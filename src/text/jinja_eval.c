// jinja_eval.c: scopes, members, operators, calls: what an expression comes to. Scopes are lexical: a for's turn, a macro, a call block,
// a captured block each have their own, whose names are gone behind it; what must outlive a loop lies in a namespace.
#include "text/jinja_parts.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>


static void *fail(const char *message)
{
    hone_fail("%s", message);
    return NULL;
}

bool hone_jinja_step(hone_jrender *r, const hone_jnode *node)
{
    r->line = node->line;
    if (++r->steps > HONE_JINJA_STEPS) return fail("more than 20,000,000 steps; the template loops without end, or the messages are that long");
    if (r->depth > HONE_JINJA_DEPTH) return fail("macros or expressions are nested more than 200 deep; a macro that calls itself must end");
    return true;
}

hone_status hone_jinja_undefined(const hone_jvalue *v)
{
    if (v->kind != HONE_J_UNDEFINED) return HONE_OK;
    return hone_fail("'%s' is undefined; the messages lack it, or it must be given to the template", v->text ? v->text : "value");
}

// --- scopes

hone_jscope *hone_jinja_scope(hone_jrender *r, hone_jscope *outer)
{
    hone_jscope *scope = hone_room_take(&r->room, 1, sizeof *scope);
    if (scope) scope->outer = outer;
    return scope;
}

hone_status hone_jinja_assign(hone_jrender *r, hone_jscope *scope, const char *name, hone_jvalue *value)
{
    if (!value) return HONE_FAILED;
    int64_t i = 0;
    while (i < scope->count && strcmp(scope->name[i], name)) i++;
    if (i == scope->capacity) {
        int64_t capacity = scope->capacity ? scope->capacity * 2 : 4;
        const char **names = hone_room_take(&r->room, (size_t)capacity, sizeof *names);
        hone_jvalue **values = names ? hone_room_take(&r->room, (size_t)capacity, sizeof(hone_jvalue *)) : NULL;
        if (!values) return HONE_FAILED;
        for (int64_t k = 0; k < i; k++) {
            names[k] = scope->name[k];
            values[k] = scope->value[k];
        }
        scope->name = names;
        scope->value = values;
        scope->capacity = capacity;
    }
    scope->name[i] = name;
    scope->value[i] = value;
    if (i == scope->count) scope->count++;
    return HONE_OK;
}

hone_jvalue *hone_jinja_look_up(hone_jrender *r, const hone_jscope *scope, const char *name)
{
    for (; scope; scope = scope->outer)
        for (int64_t i = 0; i < scope->count; i++) if (!strcmp(scope->name[i], name)) return scope->value[i];
    const hone_jfunction *global = hone_jinja_global(name);
    hone_jvalue *value = hone_j_new(&r->room, global ? HONE_J_FUNCTION : HONE_J_UNDEFINED);
    if (!value) return NULL;
    if (global) value->function = global;
    else value->text = name;
    return value;
}

// --- members and items

static hone_jvalue *undefined(hone_jrender *r, const char *name)
{
    hone_jvalue *value = hone_j_new(&r->room, HONE_J_UNDEFINED);
    if (value) value->text = name;
    return value;
}

static hone_jvalue *loop_member(hone_jrender *r, hone_jloop *loop, const char *name)
{
    static const char *const whole[] = { "index", "index0", "revindex", "revindex0", "length", "depth", "depth0" };
    const int64_t n = loop->items->count, i = loop->index, value[] = { i + 1, i, n - i, n - i - 1, n, 1, 0 };
    for (size_t k = 0; k < sizeof whole / sizeof *whole; k++) if (!strcmp(name, whole[k])) return hone_j_int(&r->room, value[k]);
    if (!strcmp(name, "first")) return hone_j_bool(&r->room, i == 0);
    if (!strcmp(name, "last")) return hone_j_bool(&r->room, i == n - 1);
    if (!strcmp(name, "previtem") && i > 0) return loop->items->at[i - 1];
    if (!strcmp(name, "nextitem") && i < n - 1) return loop->items->at[i + 1];
    return undefined(r, name);
}

static hone_jvalue *bind(hone_jrender *r, hone_jvalue *self, const hone_jfunction *function)
{
    hone_jvalue *bound = hone_j_new(&r->room, HONE_J_FUNCTION);
    if (!bound) return NULL;
    bound->function = function;
    bound->self = self;
    return bound;
}

hone_jvalue *hone_jinja_attribute(hone_jrender *r, hone_jvalue *value, const char *name)
{
    if (hone_jinja_undefined(value)) return NULL;
    const hone_jfunction *method = hone_jinja_method(value, name);
    if (method) return bind(r, value, method);
    if (value->kind == HONE_J_LOOP) return loop_member(r, value->loop, name);
    hone_jvalue *found = value->kind == HONE_J_DICT || value->kind == HONE_J_NAMESPACE ? hone_j_member(value, name) : NULL;
    return found ? found : undefined(r, name);
}

hone_jvalue *hone_jinja_item(hone_jrender *r, hone_jvalue *value, hone_jvalue *key)
{
    if (hone_jinja_undefined(value)) return NULL;
    if (value->kind == HONE_J_DICT) {
        hone_jvalue *found = hone_j_find(value, key);
        if (found) return found;
    } else if (hone_j_is_whole(key) && (hone_j_is_list(value) || value->kind == HONE_J_TEXT)) {
        int64_t n = hone_j_length(value), i = key->whole < 0 ? key->whole + n : key->whole;
        if (i < 0 || i >= n) return undefined(r, "item");
        if (value->kind != HONE_J_TEXT) return value->at[i];
        size_t from = hone_j_offset(value->text, value->size, i);
        return hone_j_borrow(&r->room, value->text + from, hone_j_offset(value->text + from, value->size - from, 1));
    }
    return key->kind == HONE_J_TEXT ? hone_jinja_attribute(r, value, key->text) : undefined(r, "item");
}

// Python's rules for a bound of a slice over n items.
static bool slice_bound(const hone_jvalue *v, int64_t n, int64_t least, int64_t most, int64_t otherwise, int64_t *bound)
{
    *bound = otherwise;
    if (!v || v->kind == HONE_J_NONE) return true;
    if (!hone_j_is_whole(v)) return fail("the bounds of a slice must be whole numbers");
    int64_t at = v->whole < 0 ? (v->whole < -n ? least : v->whole + n) : v->whole;
    *bound = at < least ? least : at > most ? most : at;
    return true;
}

static hone_jvalue *slice(hone_jrender *r, hone_jvalue *of, const hone_jvalue *from, const hone_jvalue *to, const hone_jvalue *by)
{
    if (hone_jinja_undefined(of)) return NULL;
    if (!hone_j_is_list(of) && of->kind != HONE_J_TEXT) return hone_fail("a value of type '%s' cannot be sliced", hone_j_kind_name(of)), NULL;
    int64_t n = hone_j_length(of), step = 1, start, stop;
    if (by && by->kind != HONE_J_NONE) {
        if (!hone_j_is_whole(by) || by->whole == 0) return fail("the step of a slice must be a whole number other than 0");
        step = by->whole;
    }
    int64_t least = step < 0 ? -1 : 0, most = step < 0 ? n - 1 : n;
    if (!slice_bound(from, n, least, most, step < 0 ? n - 1 : 0, &start) || !slice_bound(to, n, least, most, step < 0 ? -1 : n, &stop)) return NULL;
    if (of->kind == HONE_J_TEXT && step == 1) {
        size_t a = hone_j_offset(of->text, of->size, start), b = start < stop ? hone_j_offset(of->text, of->size, stop) : a;
        return hone_j_borrow(&r->room, of->text + a, b - a);
    }
    hone_jvalue *items = of->kind == HONE_J_TEXT ? hone_j_items(&r->room, of) : of, *list = hone_j_new(&r->room, of->kind == HONE_J_TUPLE ? HONE_J_TUPLE : HONE_J_LIST);
    if (!items || !list) return NULL;
    for (int64_t i = start; step < 0 ? i > stop : i < stop;) {
        if (hone_j_add(&r->room, list, items->at[i])) return NULL;
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    if (of->kind != HONE_J_TEXT) return list;
    char *text = hone_room_take(&r->room, of->size + 1, 1);
    size_t size = 0;
    for (int64_t i = 0; text && i < list->count; i++) {
        memcpy(text + size, list->at[i]->text, list->at[i]->size);
        size += list->at[i]->size;
    }
    return text ? hone_j_borrow(&r->room, text, size) : NULL;
}

// --- operators

static hone_jvalue *repeat(hone_jrender *r, const hone_jvalue *what, int64_t times)
{
    if (times < 0) times = 0;
    if (what->kind == HONE_J_TEXT) {
        size_t size;
        if (__builtin_mul_overflow(what->size, (size_t)times, &size)) size = SIZE_MAX - 1;
        char *text = hone_room_take(&r->room, size + 1, 1);
        for (size_t at = 0; text && at < size; at += what->size) memcpy(text + at, what->text, what->size);
        return text ? hone_j_borrow(&r->room, text, size) : NULL;
    }
    hone_jvalue *list = hone_j_new(&r->room, what->kind);
    for (int64_t k = 0; list && k < times && what->count; k++)
        for (int64_t i = 0; i < what->count; i++) if (hone_j_add(&r->room, list, what->at[i])) return NULL;
    return list;
}

static hone_jvalue *join(hone_jrender *r, const hone_jvalue *a, const hone_jvalue *b)
{
    if (a->kind == HONE_J_TEXT) {
        char *text = hone_room_take(&r->room, a->size + b->size + 1, 1);
        if (!text) return NULL;
        if (a->size) memcpy(text, a->text, a->size);
        if (b->size) memcpy(text + a->size, b->text, b->size);
        return hone_j_borrow(&r->room, text, a->size + b->size);
    }
    hone_jvalue *list = hone_j_new(&r->room, a->kind);
    for (int64_t i = 0; list && i < a->count; i++) if (hone_j_add(&r->room, list, a->at[i])) return NULL;
    for (int64_t i = 0; list && i < b->count; i++) if (hone_j_add(&r->room, list, b->at[i])) return NULL;
    return list;
}

static hone_jvalue *whole_arithmetic(hone_jrender *r, const char *op, int64_t a, int64_t b)
{
    int64_t c = 0;
    bool over = false;
    if (strchr("/%", op[0]) && b == 0) return fail("division by zero");
    if (op[0] == '/' && !op[1]) return hone_j_real(&r->room, (double)a / (double)b);
    if (strchr("/%", op[0]) && b == -1) return op[0] == '%' ? hone_j_int(&r->room, 0) : __builtin_sub_overflow(0, a, &c) ? fail("a whole number beyond 64 bits") : hone_j_int(&r->room, c);
    if (op[0] == '+') over = __builtin_add_overflow(a, b, &c);
    else if (op[0] == '-') over = __builtin_sub_overflow(a, b, &c);
    else if (op[0] == '%') c = a % b + (a % b != 0 && (a < 0) != (b < 0) ? b : 0);
    else if (op[0] == '/') c = a / b - (a % b != 0 && (a < 0) != (b < 0));
    else if (!op[1]) over = __builtin_mul_overflow(a, b, &c);
    else if (b < 0) return a == 0 ? fail("0 to a negative power") : hone_j_real(&r->room, pow((double)a, (double)b));
    else for (c = 1; b > 0 && !over; b >>= 1) {
        if (b & 1) over = __builtin_mul_overflow(c, a, &c);
        if (b > 1 && !over) over = __builtin_mul_overflow(a, a, &a);
    }
    return over ? fail("a whole number beyond 64 bits") : hone_j_int(&r->room, c);
}

static hone_jvalue *real_arithmetic(hone_jrender *r, const char *op, double a, double b)
{
    if (strchr("/%", op[0]) && b == 0) return fail("division by zero");
    double m = strchr("/%", op[0]) ? fmod(a, b) : 0;
    if (m != 0 && (m < 0) != (b < 0)) m += b;
    double c = op[0] == '+' ? a + b : op[0] == '-' ? a - b : op[0] == '%' ? m : op[0] == '/' ? (op[1] ? floor((a - m) / b + 0.5) : a / b) : op[1] ? pow(a, b) : a * b;
    return isfinite(c) || !isfinite(a) || !isfinite(b) ? hone_j_real(&r->room, c) : fail("a number beyond the range of floats");
}

static hone_jvalue *binary(hone_jrender *r, const char *op, hone_jvalue *a, hone_jvalue *b)
{
    if (op[0] == '%' && a->kind == HONE_J_TEXT) {
        hone_jargs args = b->kind == HONE_J_TUPLE ? (hone_jargs){ .at = b->at, .n = (int)b->count } : (hone_jargs){ .at = &b, .n = 1 };
        return hone_jinja_filter(r, "format", a, &args);
    }
    if (hone_jinja_undefined(a) || hone_jinja_undefined(b)) return NULL;
    if (hone_j_is_whole(a) && hone_j_is_whole(b)) return whole_arithmetic(r, op, a->whole, b->whole);
    if (hone_j_is_number(a) && hone_j_is_number(b)) return real_arithmetic(r, op, hone_j_number(a), hone_j_number(b));
    bool sequence_a = a->kind == HONE_J_TEXT || hone_j_is_list(a), sequence_b = b->kind == HONE_J_TEXT || hone_j_is_list(b);
    if (op[0] == '+' && a->kind == b->kind && sequence_a) return join(r, a, b);
    if (!strcmp(op, "*") && sequence_a && hone_j_is_whole(b)) return repeat(r, a, b->whole);
    if (!strcmp(op, "*") && sequence_b && hone_j_is_whole(a)) return repeat(r, b, a->whole);
    hone_fail("%s between '%s' and '%s' is not defined%s", op, hone_j_kind_name(a), hone_j_kind_name(b), op[0] == '+' ? "; ~ joins any two values as text" : "");
    return NULL;
}

static hone_jvalue *comparison(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    hone_jvalue *left = hone_jinja_eval(r, node->a, scope);
    bool holds = true;
    for (int64_t i = 0; left && holds && i < node->list.count; i++) {
        const char *op = node->list.at[i]->text;
        hone_jvalue *right = hone_jinja_eval(r, node->list.at[i]->a, scope);
        int sign = 0;
        if (!right) return NULL;
        r->line = node->line;
        if (op[1] == '=' && (op[0] == '=' || op[0] == '!')) holds = hone_j_equal(left, right) == (op[0] == '=');
        else if (op[0] == 'i' || op[0] == 'n') {
            if (hone_j_contains(right, left, &holds)) return NULL;
            holds = holds == (op[0] == 'i');
        } else {
            if (hone_j_compare(left, right, &sign)) return NULL;
            holds = op[0] == '<' ? (op[1] ? sign <= 0 : sign < 0) : op[1] ? sign >= 0 : sign > 0;
        }
        left = right;
    }
    return left ? hone_j_bool(&r->room, holds) : NULL;
}

// --- calls

bool hone_jinja_args(hone_jrender *r, const hone_jnode *node, hone_jscope *scope, hone_jargs *args)
{
    *args = (hone_jargs){ .n = (int)node->list.count, .n_named = (int)node->named.count };
    args->at = hone_room_take(&r->room, (size_t)node->list.count + 1, sizeof *args->at);
    args->name = args->at ? hone_room_take(&r->room, (size_t)node->named.count + 2, sizeof *args->name) : NULL; // one more: caller
    args->named = args->name ? hone_room_take(&r->room, (size_t)node->named.count + 2, sizeof *args->named) : NULL;
    if (!args->named) return false;
    for (int i = 0; i < args->n; i++) if (!(args->at[i] = hone_jinja_eval(r, node->list.at[i], scope))) return false;
    for (int i = 0; i < args->n_named; i++) {
        args->name[i] = node->named.at[i]->text;
        if (!(args->named[i] = hone_jinja_eval(r, node->named.at[i]->a, scope))) return false;
    }
    r->line = node->line;
    return true;
}

hone_jvalue *hone_jinja_named(const hone_jargs *args, const char *name)
{
    for (int i = 0; i < args->n_named; i++) if (!strcmp(args->name[i], name)) return args->named[i];
    return NULL;
}

static hone_jvalue *call_macro(hone_jrender *r, const hone_jnode *macro, hone_jscope *outer, const hone_jargs *args)
{
    hone_jscope *scope = hone_jinja_scope(r, outer);
    int taken = 0;
    if (!scope) return NULL;
    if (args->n > macro->named.count) {
        hone_fail("macro '%s' takes %" PRId64 " arguments, %d were given", macro->text, macro->named.count, args->n);
        return NULL;
    }
    for (int64_t i = 0; i < macro->named.count; i++) {
        const hone_jnode *parameter = macro->named.at[i];
        hone_jvalue *named = hone_jinja_named(args, parameter->text), *value = i < args->n ? args->at[i] : named;
        taken += named != NULL;
        if (!value) value = parameter->a ? hone_jinja_eval(r, parameter->a, scope) : undefined(r, parameter->text);
        if (hone_jinja_assign(r, scope, parameter->text, value)) return NULL;
    }
    hone_jvalue *caller = hone_jinja_named(args, "caller");
    if (caller && hone_jinja_assign(r, scope, "caller", caller)) return NULL;
    if (taken + (caller != NULL) < args->n_named) {
        hone_fail("macro '%s' has no parameter '%s'", macro->text, args->name[args->n_named - 1]);
        return NULL;
    }
    r->depth += 8;  // a macro's frames take as much room as several expressions'
    hone_jvalue *text = hone_jinja_capture(r, &macro->body, scope);
    r->depth -= 8;
    return text;
}

hone_jvalue *hone_jinja_call(hone_jrender *r, hone_jvalue *callee, const hone_jargs *args)
{
    if (callee->kind == HONE_J_MACRO) return call_macro(r, callee->macro, callee->scope, args);
    if (callee->kind == HONE_J_FUNCTION) return hone_jinja_apply(r, callee->function, 1, "function", callee->function->name, callee->self, args);
    if (!hone_jinja_undefined(callee)) hone_fail("a value of type '%s' cannot be called", hone_j_kind_name(callee));
    return NULL;
}

static bool takes_name(const hone_jfunction *f, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = f->names; at && (at = strstr(at, name)); at += n)
        if ((at == f->names || at[-1] == ' ') && (at[n] == ' ' || at[n] == 0)) return true;
    return f->names && !strcmp(f->names, "*");
}

hone_jvalue *hone_jinja_apply(hone_jrender *r, const hone_jfunction *table, int rows, const char *what, const char *name, hone_jvalue *self, const hone_jargs *args)
{
    for (int i = 0; i < rows; i++) {
        const hone_jfunction *f = &table[i];
        if (strcmp(f->name, name)) continue;
        for (int k = 0; k < args->n_named; k++)
            if (!takes_name(f, args->name[k])) {
                hone_fail("%s '%s' has no argument '%s'", what, name, args->name[k]);
                return NULL;
            }
        int given = args->n + args->n_named;
        if (given >= f->least && (f->most < 0 || given <= f->most)) return f->call(r, self, args);
        hone_fail("%s '%s' takes %d to %d arguments, %d were given", what, name, f->least, f->most, given);
        return NULL;
    }
    hone_buffer known = { 0 };
    for (int i = 0; i < rows; i++) if (hone_buffer_print(&known, "%s%s", i ? ", " : "", table[i].name)) break;
    hone_fail("the %s '%s' is not supported (supported: %s)", what, name, known.data ? known.data : "");
    hone_buffer_release(&known);
    return NULL;
}

// --- expressions

static hone_jvalue *make_list(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    hone_jvalue *list = hone_j_new(&r->room, node->kind == HONE_N_DICT ? HONE_J_DICT : node->kind == HONE_N_TUPLE ? HONE_J_TUPLE : HONE_J_LIST);
    for (int64_t i = 0; list && i < node->list.count; i++) {
        hone_jvalue *item = hone_jinja_eval(r, node->list.at[i], scope);
        if (!item) return NULL;
        if (node->kind != HONE_N_DICT ? hone_j_add(&r->room, list, item) : hone_j_put(&r->room, list, item, hone_jinja_eval(r, node->list.at[i + 1], scope))) return NULL;
        i += node->kind == HONE_N_DICT;
    }
    return list;
}

static hone_jvalue *concatenate(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    hone_buffer text = { 0 };
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < node->list.count && !status; i++) {
        const hone_jvalue *part = hone_jinja_eval(r, node->list.at[i], scope);
        status = part ? hone_j_print(part, &text) : HONE_FAILED;
    }
    hone_jvalue *value = status ? NULL : hone_j_text(&r->room, text.data, text.size);
    hone_buffer_release(&text);
    return value;
}

static hone_jvalue *sign(hone_jrender *r, const hone_jnode *node, const hone_jvalue *v)
{
    bool minus = node->kind == HONE_N_NEGATE;
    int64_t whole = v->whole;
    if (v->kind == HONE_J_REAL) return hone_j_real(&r->room, minus ? -v->real : v->real);
    if (hone_j_is_whole(v)) return minus && __builtin_sub_overflow(0, whole, &whole) ? fail("a whole number beyond 64 bits") : hone_j_int(&r->room, whole);
    if (!hone_jinja_undefined(v)) hone_fail("a sign before a value of type '%s'", hone_j_kind_name(v));
    return NULL;
}

static hone_jvalue *eval_operators(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    if (node->kind == HONE_N_COMPARE) return comparison(r, node, scope);
    if (node->kind == HONE_N_CONCAT) return concatenate(r, node, scope);
    hone_jvalue *a = hone_jinja_eval(r, node->a, scope), *b;
    if (!a) return NULL;
    switch (node->kind) {
    case HONE_N_NOT: return hone_j_bool(&r->room, !hone_j_truth(a));
    case HONE_N_AND: return hone_j_truth(a) ? hone_jinja_eval(r, node->b, scope) : a;
    case HONE_N_OR: return hone_j_truth(a) ? a : hone_jinja_eval(r, node->b, scope);
    case HONE_N_CHOICE: return hone_j_truth(a) ? hone_jinja_eval(r, node->b, scope) : node->c ? hone_jinja_eval(r, node->c, scope) : undefined(r, "if without else");
    case HONE_N_BINARY:
        if (!(b = hone_jinja_eval(r, node->b, scope))) return NULL;
        r->line = node->line;
        return binary(r, node->text, a, b);
    default: return sign(r, node, a);
    }
}

static hone_jvalue *eval_slice(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    const hone_jnode *const bound[3] = { node->b, node->c, node->list.count ? node->list.at[0] : NULL };
    hone_jvalue *value[3] = { 0 }, *of = hone_jinja_eval(r, node->a, scope);
    for (int i = 0; i < 3; i++) if (bound[i] && !(value[i] = hone_jinja_eval(r, bound[i], scope))) return NULL;
    return of ? slice(r, of, value[0], value[1], value[2]) : NULL;
}

static hone_jvalue *eval_node(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    hone_jvalue *a, *b;
    hone_jargs args;
    switch (node->kind) {
    case HONE_N_CONST: return node->value;
    case HONE_N_NAME: return hone_jinja_look_up(r, scope, node->text);
    case HONE_N_LIST: case HONE_N_TUPLE: case HONE_N_DICT: return make_list(r, node, scope);
    case HONE_N_ATTRIBUTE: return (a = hone_jinja_eval(r, node->a, scope)) ? r->line = node->line, hone_jinja_attribute(r, a, node->text) : NULL;
    case HONE_N_ITEM: return (a = hone_jinja_eval(r, node->a, scope)) && (b = hone_jinja_eval(r, node->b, scope)) ? r->line = node->line, hone_jinja_item(r, a, b) : NULL;
    case HONE_N_SLICE: return eval_slice(r, node, scope);
    case HONE_N_CALL: return (a = hone_jinja_eval(r, node->a, scope)) && hone_jinja_args(r, node, scope, &args) ? hone_jinja_call(r, a, &args) : NULL;
    case HONE_N_FILTER: return (a = hone_jinja_eval(r, node->a, scope)) && hone_jinja_args(r, node, scope, &args) ? hone_jinja_filter(r, node->text, a, &args) : NULL;
    case HONE_N_TEST: return (a = hone_jinja_eval(r, node->a, scope)) && hone_jinja_args(r, node, scope, &args) ? hone_jinja_test(r, node->text, a, &args) : NULL;
    default: return eval_operators(r, node, scope);
    }
}

hone_jvalue *hone_jinja_eval(hone_jrender *r, const hone_jnode *node, hone_jscope *scope)
{
    r->depth++;
    hone_jvalue *value = hone_jinja_step(r, node) ? eval_node(r, node, scope) : NULL;
    r->depth--;
    return value;
}
