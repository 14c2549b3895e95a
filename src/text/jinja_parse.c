// jinja_parse.c: tokens to a tree, by recursive descent in Jinja's own order of precedence:
//
//     a if c else b   or   and   not   == != < <= > >= in   + -   ~   * / // %   **   unary - +   .x [x] (x)   | filter   is test
//
// What a node's members are:
//     ATTRIBUTE a.text                 ITEM a[b]          SLICE a[b:c:list[0]]      CALL a(list, named)
//     FILTER a|text(list, named)       TEST a is text(list)                         NOT, NEGATE, PLUS a
//     BINARY a text b                  COMPARE a, then list of (text, a)            AND, OR a b
//     CHOICE b if a else c             CONCAT, LIST, TUPLE list                     DICT list: key, value, key, value
//     PRINT a                          FOR list (targets) in a if b: body else other
//     IF a: body else other            SET list = a       SET_BLOCK list, body, filter chain in b over the text (a CONST's value is replaced)
//     MACRO text(named): body          CALL_BLOCK a, body FILTER_BLOCK b over body  WITH named = values: body
#include "text/jinja_parts.h"

#include <string.h>

typedef struct {
    hone_jinja *jinja;
    const hone_jtoken *token;   // the next one
    int depth, loops;
} parser;

static hone_jnode *expression(parser *p);
static hone_jnode *choice(parser *p, bool with_else);
static hone_jnode *unary(parser *p, bool with_filters);
static hone_status statements(parser *p, const char *const *ends, hone_jnodes *body);

static void *fail(const parser *p, const char *message)
{
    hone_fail("%s: line %d: %s", p->jinja->where, p->token->line, message);
    return NULL;
}

static void *fail_expected(const parser *p, const char *what)
{
    const hone_jtoken *t = p->token;
    const char *found = t->kind == HONE_T_END ? "the end of the template" : t->kind == HONE_T_BLOCK_END || t->kind == HONE_T_PRINT_END ? "the end of the tag" : t->text;
    hone_fail("%s: line %d: %s expected, found %.40s", p->jinja->where, t->line, what, found);
    return NULL;
}

static hone_jnode *new_node(parser *p, hone_jnode_kind kind)
{
    hone_jnode *node = hone_room_take(&p->jinja->room, 1, sizeof *node);
    if (node) {
        node->kind = kind;
        node->line = p->token->line;
    }
    return node;
}

static hone_status add(parser *p, hone_jnodes *list, hone_jnode *node)
{
    if (!node) return HONE_FAILED;
    if (list->count == list->capacity) {
        int64_t capacity = list->capacity ? 2 * list->capacity : 4;
        hone_jnode **at = hone_room_take(&p->jinja->room, (size_t)capacity, sizeof *at);
        if (!at) return HONE_FAILED;
        if (list->count) memcpy(at, list->at, (size_t)list->count * sizeof *at);
        list->at = at;
        list->capacity = capacity;
    }
    list->at[list->count++] = node;
    return HONE_OK;
}

static bool is_op(const parser *p, const char *op) { return p->token->kind == HONE_T_OP && !strcmp(p->token->text, op); }
static bool is_word(const parser *p, const char *word) { return p->token->kind == HONE_T_NAME && !strcmp(p->token->text, word); }

static bool take_op(parser *p, const char *op)
{
    bool found = is_op(p, op);
    p->token += found;
    return found;
}

static bool take_word(parser *p, const char *word)
{
    bool found = is_word(p, word);
    p->token += found;
    return found;
}

static bool need_op(parser *p, const char *op) { return take_op(p, op) || fail_expected(p, op); }
static const char *need_name(parser *p) { return p->token->kind == HONE_T_NAME ? p->token++->text : fail_expected(p, "a name"); }
static bool need_end(parser *p)
{
    if (p->token->kind != HONE_T_BLOCK_END) return fail_expected(p, "%}");
    p->token++;
    return true;
}

static bool go_deeper(parser *p) { return ++p->depth <= HONE_JINJA_DEPTH || fail(p, "expressions or blocks are nested too deep"); }

// --- expressions

static hone_jnode *constant(parser *p, hone_jvalue *value)
{
    hone_jnode *node = value ? new_node(p, HONE_N_CONST) : NULL;
    if (node) node->value = value;
    return node;
}

static bool at_tuple_end(const parser *p)
{
    return p->token->kind == HONE_T_PRINT_END || p->token->kind == HONE_T_BLOCK_END || is_op(p, ")");
}

// a, or a, b, c as a TUPLE; empty only within parentheses.
static hone_jnode *tuple(parser *p, bool with_else, bool parenthesised)
{
    hone_jnode *all = new_node(p, HONE_N_TUPLE);
    bool comma = false;
    if (!all) return NULL;
    while (!at_tuple_end(p)) {
        if (add(p, &all->list, with_else ? expression(p) : choice(p, false))) return NULL;
        if (!take_op(p, ",")) break;
        comma = true;
    }
    if (comma || (all->list.count == 0 && parenthesised)) return all;
    return all->list.count ? all->list.at[0] : fail_expected(p, "an expression");
}

static hone_jnode *list_or_dict(parser *p, bool dict)
{
    const char *close = dict ? "}" : "]";
    hone_jnode *node = new_node(p, dict ? HONE_N_DICT : HONE_N_LIST);
    p->token++;
    if (!node) return NULL;
    while (!is_op(p, close)) {
        if (node->list.count && !need_op(p, ",")) return NULL;
        if (is_op(p, close)) break;
        if (add(p, &node->list, expression(p))) return NULL;
        if (dict && (!need_op(p, ":") || add(p, &node->list, expression(p)))) return NULL;
    }
    p->token++;
    return node;
}

static hone_jnode *text_constant(parser *p)
{
    const hone_jtoken *first = p->token;
    hone_buffer joined = { 0 };
    if (first[1].kind != HONE_T_TEXT) {
        p->token++;
        return constant(p, hone_j_borrow(&p->jinja->room, first->text, first->size));
    }
    hone_status status = HONE_OK;
    for (; p->token->kind == HONE_T_TEXT && !status; p->token++) status = hone_buffer_append(&joined, p->token->text, p->token->size);
    hone_jnode *node = status ? NULL : constant(p, hone_j_text(&p->jinja->room, joined.data, joined.size));
    hone_buffer_release(&joined);
    return node;
}

static hone_jnode *primary(parser *p)
{
    hone_room *room = &p->jinja->room;
    const hone_jtoken *t = p->token;
    if (t->kind == HONE_T_TEXT) return text_constant(p);
    if (t->kind == HONE_T_INT || t->kind == HONE_T_REAL) {
        p->token++;
        return constant(p, t->kind == HONE_T_INT ? hone_j_int(room, t->whole) : hone_j_real(room, t->real));
    }
    if (t->kind == HONE_T_NAME) {
        bool yes = take_word(p, "true") || take_word(p, "True");
        if (yes || take_word(p, "false") || take_word(p, "False")) return constant(p, hone_j_bool(room, yes));
        if (take_word(p, "none") || take_word(p, "None")) return constant(p, hone_j_new(room, HONE_J_NONE));
        hone_jnode *node = new_node(p, HONE_N_NAME);
        if (node) node->text = p->token++->text;
        return node;
    }
    if (is_op(p, "(")) {
        p->token++;
        hone_jnode *inner = tuple(p, true, true);
        return inner && need_op(p, ")") ? inner : NULL;
    }
    if (is_op(p, "[") || is_op(p, "{")) return list_or_dict(p, is_op(p, "{"));
    return fail_expected(p, "an expression");
}

// ( ... ) of a call, filter or test.
static hone_status arguments(parser *p, hone_jnode *call)
{
    p->token++;
    for (bool first = true; !is_op(p, ")"); first = false) {
        if (!first && !need_op(p, ",")) return HONE_FAILED;
        if (is_op(p, ")")) break;
        if (is_op(p, "*") || is_op(p, "**")) return fail(p, "*args and **kwargs are not supported; write the arguments out"), HONE_FAILED;
        if (p->token->kind == HONE_T_NAME && p->token[1].kind == HONE_T_OP && !strcmp(p->token[1].text, "=")) {
            hone_jnode *named = new_node(p, HONE_N_NAME);
            if (!named) return HONE_FAILED;
            named->text = p->token->text;
            p->token += 2;
            if (!(named->a = expression(p)) || add(p, &call->named, named)) return HONE_FAILED;
        } else if (call->named.count) return fail(p, "an argument by position behind one by name"), HONE_FAILED;
        else if (add(p, &call->list, expression(p))) return HONE_FAILED;
    }
    p->token++;
    return HONE_OK;
}

static hone_jnode *call(parser *p, hone_jnode *callee)
{
    hone_jnode *node = new_node(p, HONE_N_CALL);
    if (!node || arguments(p, node)) return NULL;
    node->a = callee;
    return node;
}

// [ ... ]
static hone_jnode *subscript(parser *p, hone_jnode *of)
{
    hone_jnode *node = new_node(p, HONE_N_ITEM), *step = NULL;
    p->token++;
    if (!node) return NULL;
    node->a = of;
    if (!is_op(p, ":") && !(node->b = expression(p))) return NULL;
    if (take_op(p, ":")) {
        node->kind = HONE_N_SLICE;
        if (!is_op(p, ":") && !is_op(p, "]") && !(node->c = expression(p))) return NULL;
        if (take_op(p, ":") && !is_op(p, "]") && (!(step = expression(p)) || add(p, &node->list, step))) return NULL;
    }
    return need_op(p, "]") ? node : NULL;
}

static hone_jnode *member(parser *p, hone_jnode *of)
{
    const hone_jtoken *name = ++p->token;
    hone_jnode *node = new_node(p, name->kind == HONE_T_INT ? HONE_N_ITEM : HONE_N_ATTRIBUTE);
    if (!node) return NULL;
    if (name->kind != HONE_T_NAME && name->kind != HONE_T_INT) return fail_expected(p, "a name behind the dot");
    p->token++;
    node->a = of;
    node->text = name->text;
    if (name->kind == HONE_T_INT && !(node->b = constant(p, hone_j_int(&p->jinja->room, name->whole)))) return NULL;
    return node;
}

static hone_jnode *postfix(parser *p, hone_jnode *node)
{
    while (node && p->token->kind == HONE_T_OP) {
        if (is_op(p, ".")) node = member(p, node);
        else if (is_op(p, "[")) node = subscript(p, node);
        else if (is_op(p, "(")) node = call(p, node);
        else break;
    }
    return node;
}

static const char *dotted_name(parser *p)
{
    const char *name = need_name(p);
    if (name && is_op(p, ".")) return fail(p, "a filter or test whose name has a dot is not supported");
    return name;
}

static hone_jnode *filter(parser *p, hone_jnode *of)
{
    hone_jnode *node = new_node(p, HONE_N_FILTER);
    if (!node || !(node->text = dotted_name(p))) return NULL;
    node->a = of;
    return is_op(p, "(") && arguments(p, node) ? NULL : node;
}

static hone_jnode *test(parser *p, hone_jnode *of)
{
    p->token++;
    bool negated = take_word(p, "not");
    hone_jnode *node = new_node(p, HONE_N_TEST), *outer = negated ? new_node(p, HONE_N_NOT) : NULL;
    if (!node || (negated && !outer) || !(node->text = dotted_name(p))) return NULL;
    node->a = of;
    hone_jtoken_kind next = p->token->kind;
    bool value = next == HONE_T_NAME || next == HONE_T_TEXT || next == HONE_T_INT || next == HONE_T_REAL || is_op(p, "[") || is_op(p, "{");
    if (is_op(p, "(")) {
        if (arguments(p, node)) return NULL;
    } else if (value && !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and")) {
        if (is_word(p, "is")) return fail(p, "tests cannot be chained with `is`; write `and` between them");
        hone_jnode *operand = primary(p);
        if (!operand || add(p, &node->list, postfix(p, operand))) return NULL;
    }
    if (!negated) return node;
    outer->a = node;
    return outer;
}

static hone_jnode *filters(parser *p, hone_jnode *node)
{
    while (node) {
        if (is_op(p, "|")) { p->token++; node = filter(p, node); }
        else if (is_word(p, "is")) node = test(p, node);
        else if (is_op(p, "(")) node = call(p, node);
        else break;
    }
    return node;
}

static hone_jnode *unary(parser *p, bool with_filters)
{
    hone_jnode *node;
    if (!go_deeper(p)) return NULL;
    if (is_op(p, "-") || is_op(p, "+")) {
        node = new_node(p, is_op(p, "-") ? HONE_N_NEGATE : HONE_N_PLUS);
        p->token++;
        if (!node || !(node->a = unary(p, false))) return NULL;
    } else node = primary(p);
    node = postfix(p, node);
    p->depth--;
    return node && with_filters ? filters(p, node) : node;
}

typedef hone_jnode *(*level)(parser *p);
static hone_jnode *operand(parser *p) { return unary(p, true); }

// a op b op c, from the left, for the operators of one level.
static hone_jnode *binary(parser *p, const char *const *operators, level next)
{
    hone_jnode *left = next(p);
    for (int i = 0; left && operators[i];) {
        if (!is_op(p, operators[i])) { i++; continue; }
        hone_jnode *node = new_node(p, HONE_N_BINARY);
        if (!node) return NULL;
        node->text = p->token++->text;
        node->a = left;
        if (!(node->b = next(p))) return NULL;
        left = node;
        i = 0;
    }
    return left;
}

static hone_jnode *power(parser *p) { return binary(p, (const char *const[]){ "**", NULL }, operand); }
static hone_jnode *product(parser *p) { return binary(p, (const char *const[]){ "*", "/", "//", "%", NULL }, power); }

static hone_jnode *concatenation(parser *p)
{
    hone_jnode *first = product(p);
    if (!first || !is_op(p, "~")) return first;
    hone_jnode *node = new_node(p, HONE_N_CONCAT);
    if (!node || add(p, &node->list, first)) return NULL;
    while (take_op(p, "~")) if (add(p, &node->list, product(p))) return NULL;
    return node;
}

static hone_jnode *sum(parser *p) { return binary(p, (const char *const[]){ "+", "-", NULL }, concatenation); }

static const char *comparison_operator(parser *p)
{
    static const char *const signs[] = { "==", "!=", "<", "<=", ">", ">=" };
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) if (take_op(p, signs[i])) return signs[i];
    if (take_word(p, "in")) return "in";
    if (is_word(p, "not") && p->token[1].kind == HONE_T_NAME && !strcmp(p->token[1].text, "in")) {
        p->token += 2;
        return "not in";
    }
    return NULL;
}

static hone_jnode *comparison(parser *p)
{
    hone_jnode *first = sum(p), *node = NULL;
    for (const char *op; first && (op = comparison_operator(p));) {
        if (!node && !(node = new_node(p, HONE_N_COMPARE))) return NULL;
        hone_jnode *other = new_node(p, HONE_N_BINARY);
        if (!other || !(other->a = sum(p)) || add(p, &node->list, other)) return NULL;
        other->text = op;
        node->a = first;
    }
    return node ? node : first;
}

static hone_jnode *negation(parser *p)
{
    if (!is_word(p, "not")) return comparison(p);
    hone_jnode *node = new_node(p, HONE_N_NOT);
    p->token++;
    if (!node || !go_deeper(p) || !(node->a = negation(p))) return NULL;
    p->depth--;
    return node;
}

static hone_jnode *joined(parser *p, const char *word, hone_jnode_kind kind, level next)
{
    hone_jnode *left = next(p);
    while (left && is_word(p, word)) {
        hone_jnode *node = new_node(p, kind);
        p->token++;
        if (!node || !(node->b = next(p))) return NULL;
        node->a = left;
        left = node;
    }
    return left;
}

static hone_jnode *conjunction(parser *p) { return joined(p, "and", HONE_N_AND, negation); }

// with_else false: `if` behind the expression is not part of it (the condition of a for).
static hone_jnode *choice(parser *p, bool with_else)
{
    if (!go_deeper(p)) return NULL;
    hone_jnode *left = joined(p, "or", HONE_N_OR, conjunction);
    while (left && with_else && is_word(p, "if")) {
        hone_jnode *node = new_node(p, HONE_N_CHOICE);
        p->token++;
        if (!node || !(node->a = joined(p, "or", HONE_N_OR, conjunction))) return NULL;
        node->b = left;
        if (take_word(p, "else") && !(node->c = choice(p, true))) return NULL;
        left = node;
    }
    p->depth--;
    return left;
}

static hone_jnode *expression(parser *p) { return choice(p, true); }

// --- statements

static hone_jnode *for_statement(parser *p)
{
    hone_jnode *node = new_node(p, HONE_N_FOR);
    if (!node) return NULL;
    bool parenthesised = take_op(p, "(");
    do {
        hone_jnode *target = new_node(p, HONE_N_NAME);
        if (!target || !(target->text = need_name(p)) || add(p, &node->list, target)) return NULL;
    } while (take_op(p, ","));
    if (parenthesised && !need_op(p, ")")) return NULL;
    if (!take_word(p, "in")) return fail_expected(p, "in");
    if (!(node->a = tuple(p, false, false))) return NULL;
    if (take_word(p, "if") && !(node->b = expression(p))) return NULL;
    if (is_word(p, "recursive")) return fail(p, "recursive loops are not supported; write a macro");
    p->loops++;
    if (!need_end(p) || statements(p, (const char *const[]){ "endfor", "else", NULL }, &node->body)) return NULL;
    p->loops--;
    if (take_word(p, "else") && (!need_end(p) || statements(p, (const char *const[]){ "endfor", NULL }, &node->other))) return NULL;
    p->token++;
    return node;
}

static hone_jnode *if_statement(parser *p)
{
    hone_jnode *node = new_node(p, HONE_N_IF), *inner;
    if (!node || !go_deeper(p) || !(node->a = tuple(p, true, false)) || !need_end(p)) return NULL;
    if (statements(p, (const char *const[]){ "endif", "else", "elif", NULL }, &node->body)) return NULL;
    if (take_word(p, "elif")) {
        if (!(inner = if_statement(p)) || add(p, &node->other, inner)) return NULL;
        p->depth--;
        return node; // the inner one took endif
    }
    if (take_word(p, "else") && (!need_end(p) || statements(p, (const char *const[]){ "endif", NULL }, &node->other))) return NULL;
    p->token++;
    p->depth--;
    return node;
}

static hone_jnode *set_target(parser *p)
{
    hone_jnode *name = new_node(p, HONE_N_NAME), *of;
    if (!name || !(name->text = need_name(p))) return NULL;
    if (!is_op(p, ".")) return name;
    of = new_node(p, HONE_N_ATTRIBUTE);
    p->token++;
    if (!of || !(of->text = need_name(p))) return NULL;
    of->a = name;
    return of;
}

// A chain of filters over a text that is made when the block ran.
static hone_jnode *filter_chain(parser *p)
{
    hone_jnode *node = constant(p, hone_j_new(&p->jinja->room, HONE_J_NONE));
    do node = node ? filter(p, node) : NULL;
    while (node && take_op(p, "|"));
    return node;
}

static hone_jnode *set_statement(parser *p)
{
    hone_jnode *node = new_node(p, HONE_N_SET);
    if (!node) return NULL;
    bool parenthesised = take_op(p, "(");
    do if (add(p, &node->list, set_target(p))) return NULL;
    while (take_op(p, ","));
    if (parenthesised && !need_op(p, ")")) return NULL;
    if (take_op(p, "=")) return (node->a = tuple(p, true, false)) ? node : NULL;
    node->kind = HONE_N_SET_BLOCK;
    if (take_op(p, "|") && !(node->b = filter_chain(p))) return NULL;
    if (!need_end(p) || statements(p, (const char *const[]){ "endset", NULL }, &node->body)) return NULL;
    p->token++;
    return node;
}

// ( a, b=1 ) of a macro or a call block.
static hone_status parameters(parser *p, hone_jnode *node)
{
    if (!need_op(p, "(")) return HONE_FAILED;
    while (!is_op(p, ")")) {
        hone_jnode *parameter = new_node(p, HONE_N_NAME);
        if (node->named.count && !need_op(p, ",")) return HONE_FAILED;
        if (!parameter || !(parameter->text = need_name(p)) || add(p, &node->named, parameter)) return HONE_FAILED;
        if (take_op(p, "=") && !(parameter->a = expression(p))) return HONE_FAILED;
    }
    p->token++;
    return HONE_OK;
}

static hone_jnode *with_body(parser *p, hone_jnode *node, const char *end)
{
    int loops = p->loops; // break and continue do not leave a block that runs apart
    p->loops = 0;
    if (!node || !need_end(p) || statements(p, (const char *const[]){ end, NULL }, &node->body)) return NULL;
    p->loops = loops;
    p->token++;
    return node;
}

static hone_jnode *macro_statement(parser *p)
{
    hone_jnode *node = new_node(p, HONE_N_MACRO);
    if (!node || !(node->text = need_name(p)) || parameters(p, node)) return NULL;
    if (!(node = with_body(p, node, "endmacro"))) return NULL;
    if (p->token->kind == HONE_T_NAME) p->token++; // endmacro name
    return node;
}

static hone_jnode *call_statement(parser *p)
{
    hone_jnode *node = new_node(p, HONE_N_CALL_BLOCK);
    if (!node) return NULL;
    node->text = "caller";
    if (is_op(p, "(") && parameters(p, node)) return NULL;
    if (!(node->a = expression(p))) return NULL;
    return node->a->kind == HONE_N_CALL ? with_body(p, node, "endcall") : fail(p, "{% call %} wants a call of a macro");
}

static hone_jnode *filter_statement(parser *p)
{
    hone_jnode *node = new_node(p, HONE_N_FILTER_BLOCK);
    if (!node || !(node->b = filter_chain(p))) return NULL;
    return with_body(p, node, "endfilter");
}

static hone_jnode *with_statement(parser *p)
{
    hone_jnode *node = new_node(p, HONE_N_WITH);
    while (node && p->token->kind != HONE_T_BLOCK_END) {
        hone_jnode *name = new_node(p, HONE_N_NAME);
        if (node->named.count && !need_op(p, ",")) return NULL;
        if (!name || !(name->text = need_name(p)) || !need_op(p, "=") || !(name->a = expression(p)) || add(p, &node->named, name)) return NULL;
    }
    if (!node || !need_end(p) || statements(p, (const char *const[]){ "endwith", NULL }, &node->body)) return NULL;
    p->token++;
    return node;
}

static hone_jnode *generation_statement(parser *p)
{
    p->jinja->generation = true;
    return with_body(p, new_node(p, HONE_N_GENERATION), "endgeneration");
}

static hone_jnode *leave(parser *p, hone_jnode_kind kind)
{
    return p->loops ? new_node(p, kind) : fail(p, "break and continue must stand in a loop");
}
static hone_jnode *break_statement(parser *p) { return leave(p, HONE_N_BREAK); }
static hone_jnode *continue_statement(parser *p) { return leave(p, HONE_N_CONTINUE); }

static const struct { const char *word; level parse; } known[] = {
    { "if", if_statement }, { "for", for_statement }, { "set", set_statement }, { "macro", macro_statement }, { "call", call_statement },
    { "filter", filter_statement }, { "with", with_statement }, { "generation", generation_statement }, { "break", break_statement },
    { "continue", continue_statement } };

static hone_jnode *statement(parser *p)
{
    const char *word = need_name(p);
    if (!word) return NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(word, known[i].word)) continue;
        hone_jnode *node = known[i].parse(p);
        return node && need_end(p) ? node : NULL;
    }
    p->token--;
    hone_fail("%s: line %d: {%% %s %%} is not supported here (supported: if, for, set, macro, call, filter, with, raw, generation, break, continue)",
              p->jinja->where, p->token->line, word);
    return NULL;
}

// Up to a tag that begins with one of `ends` (NULL: the end of the template), of which the word is next.
static hone_status statements(parser *p, const char *const *ends, hone_jnodes *body)
{
    int begin = ends ? p->token[-1].line : 1;  // of the end of the tag that opened them
    if (!go_deeper(p)) return HONE_FAILED;
    for (;;) {
        const hone_jtoken *t = p->token;
        hone_jnode *node = NULL;
        if (t->kind == HONE_T_END) {
            if (!ends) break;
            return hone_fail("%s: line %d: the template ends before {%% %s %%} of the block that began in line %d", p->jinja->where, t->line, ends[0], begin);
        }
        p->token++;
        if (t->kind == HONE_T_DATA) {
            node = new_node(p, HONE_N_DATA);
            if (node && !(node->value = hone_j_borrow(&p->jinja->room, t->text, t->size))) return HONE_FAILED;
        } else if (t->kind == HONE_T_PRINT) {
            node = new_node(p, HONE_N_PRINT);
            if (node && !(node->a = tuple(p, true, false))) return HONE_FAILED;
            if (p->token->kind != HONE_T_PRINT_END) return fail_expected(p, "}}"), HONE_FAILED;
            p->token++;
        } else {
            for (int i = 0; ends && ends[i]; i++)
                if (is_word(p, ends[i])) {
                    p->depth--;
                    return HONE_OK;
                }
            node = statement(p);
        }
        if (add(p, body, node)) return HONE_FAILED;
    }
    p->depth--;
    return HONE_OK;
}

hone_status hone_jinja_build(hone_jinja *jinja, const hone_jtoken *tokens)
{
    parser p = { .jinja = jinja, .token = tokens };
    return statements(&p, NULL, &jinja->body);
}
