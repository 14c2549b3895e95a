// test_op_gradients.c: the gradient rule of every op, through hone_pass_grad, against central differences.
//
//     x = embed(0 .. N-1, table)      token-row operands are rows of a trained table, so that their gradients are kept;
//     y = op(x, ...)                  weights are parameters as they are
//     loss = linear_xent(y, random)   a scalar that depends on every y
//
// All of it in f64 on the portable backend. Operands come from the op's row (support/op_harness.h). For a direction d in
// the space of one operand, f(t) = loss(operand + t d):
//     f'(0) = (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h + O(h^4)
// With h = 1e-3 that leaves h^4 / 30 = 3e-14 times a fifth derivative of order 1, and rounding of 1e-16 f / h = 1e-11 for a
// loss of order 100: both far below the 1e-7 of the gradient's size that is asked for. A random direction meets every
// element, so that one wrong element shows there; single elements (first, last, two more) show which.
//
// Controls: each output of each backward node is scaled by 1.01, and its last rows skipped, and each addend dropped: the
// same comparison must reject every one.
#include "backend/ref/ref.h"
#include "base/rng.h"
#include "graph/pass.h"
#include "graph/session.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/op_harness.h"
#include <limits.h>

enum { DIRECTIONS = 1, PROBES = DIRECTIONS + 4, LOSS_VOCABULARY = 5 };
static const double tolerance = 1e-7;

typedef struct probe {
    int operand;
    int64_t element;    // -1: a random direction of unit length, the `seed`-th
    uint32_t seed;
    double slope;       // of the loss, by differences
} probe;

typedef struct bench {
    op_trial trial;
    hone_graph *graph;
    hone_session session;
    hone_tid in[HONE_MAX_IN];               // of the op
    hone_tid param[HONE_MAX_IN];            // whose gradient is asked for; HONE_NONE
    double *clean[HONE_MAX_IN], *gradient[HONE_MAX_IN];
    int64_t n_forward;                      // nodes before the backward's
    hone_tid loss_weight, logprob, live;
    probe probe[HONE_MAX_IN * PROBES];
    int n_probe;
} bench;

// -- the graph --------------------------------------------------------------------------------------------------------

static hone_tid tensor_like(bench *b, hone_class cls, const hone_operand *o, const char *name)
{
    hone_tid id = hone_graph_tensor(b->graph, cls, o->dtype, o->rank, o->dim, "%s", name);
    if (cls == HONE_CLASS_input && o->live) hone_at(b->graph, id)->live = b->live;
    hone_at(b->graph, id)->trained = cls == HONE_CLASS_param;
    return id;
}

static void add_input(bench *b, int i)
{
    const hone_operand_spec *spec = &b->trial.info->in[i];
    const hone_operand *o = &b->trial.args.in[i];
    b->in[i] = b->param[i] = HONE_NONE;
    if (!o->present) return;
    if (!spec->any_float) {
        b->in[i] = tensor_like(b, HONE_CLASS_input, o, spec->name);
        return;
    }
    bool rows = !strcmp(spec->dim[0], "N") || !strcmp(spec->dim[0], "R");
    b->in[i] = b->param[i] = tensor_like(b, HONE_CLASS_param, o, spec->name);
    if (!rows) return;
    hone_tid ids = hone_graph_tensor(b->graph, HONE_CLASS_input, HONE_i32, 1, o->dim, "rows.%s", spec->name);
    if (o->live) hone_at(b->graph, ids)->live = b->live;
    b->in[i] = hone_embed(b->graph, ids, b->param[i], HONE_NONE);
}

static void add_loss(bench *b, hone_tid y)
{
    hone_tensor like = *hone_at(b->graph, y);
    hone_tid w = hone_graph_tensor(b->graph, HONE_CLASS_param, HONE_f64, HONE_DIMS(LOSS_VOCABULARY, like.dim[1]), "loss.w");
    hone_tid target = hone_graph_tensor(b->graph, HONE_CLASS_input, HONE_i32, HONE_DIMS(like.dim[0]), "loss.target");
    b->loss_weight = hone_graph_tensor(b->graph, HONE_CLASS_input, HONE_f64, HONE_DIMS(like.dim[0]), "loss.weight");
    b->logprob = hone_graph_add(b->graph, HONE_OP_linear_xent, NULL, (hone_tid[]){ y, w, target, b->loss_weight }, NULL)->out[0];
}

static double *place(const bench *b, hone_tid id) { return hone_session_data(&b->session, id); }

static void fill_loss(bench *b)
{
    hone_tid w = hone_graph_find(b->graph, "loss.w"), target = hone_graph_find(b->graph, "loss.target");
    hone_tensor like = *hone_at(b->graph, w);
    for (int64_t i = 0; i < hone_tensor_count(&like); i++)
        place(b, w)[i] = hone_rng_normal(3, HONE_RNG_TEST, 0, (uint64_t)i) / sqrt((double)like.dim[1]);
    for (int64_t n = 0; n < hone_at(b->graph, target)->dim[0]; n++) {
        ((int32_t *)hone_session_data(&b->session, target))[n] = (int32_t)(n * 7 % LOSS_VOCABULARY);
        place(b, b->loss_weight)[n] = 0.5 + hone_rng_uniform(3, HONE_RNG_TEST, 1, (uint64_t)n);
    }
}

static void fill_inputs(bench *b)
{
    for (int i = 0; i < HONE_MAX_IN; i++) {
        if (b->in[i] == HONE_NONE || (b->trial.args.same_kv && !b->trial.block[i])) continue;
        hone_tid id = b->param[i] == HONE_NONE ? b->in[i] : b->param[i];
        memcpy(place(b, id), b->trial.args.in[i].data, b->trial.bytes[i]);
        char name[32];
        snprintf(name, sizeof name, "rows.%s", b->trial.info->in[i].name);
        hone_tid ids = hone_graph_find(b->graph, name);
        for (int32_t n = 0; ids != HONE_NONE && n < hone_at(b->graph, ids)->dim[0]; n++)
            ((int32_t *)hone_session_data(&b->session, ids))[n] = n;
    }
    if (b->live != HONE_NONE) *(int32_t *)hone_session_data(&b->session, b->live) = b->trial.live;
}

static void bench_open(bench *b, const op_variant *v)
{
    *b = (bench){ .live = HONE_NONE };
    op_trial_make(&b->trial, v);
    b->graph = hone_graph_new();
    hone_graph_program(b->graph, "micro");
    if (v->live) b->live = hone_graph_tensor(b->graph, HONE_CLASS_input, HONE_i32, HONE_DIMS(1), "live");
    for (int i = 0; i < HONE_MAX_IN; i++) b->in[i] = b->param[i] = HONE_NONE;
    for (int i = 0; i < b->trial.info->n_in; i++) {
        bool shared = b->trial.args.same_kv && !b->trial.block[i] && b->trial.args.in[i].present;
        if (shared) b->in[i] = b->in[0];
        else add_input(b, i);
    }
    hone_tid y = hone_graph_add(b->graph, v->op, &b->trial.args.attr, b->in, NULL)->out[0];
    if (v->op != HONE_OP_linear_xent) add_loss(b, y);
    else b->logprob = y, b->loss_weight = b->in[3];
    hone_at(b->graph, b->logprob)->cls = HONE_CLASS_output;
    b->n_forward = b->graph->now->count;
    assert_int_equal(hone_pass_grad(b->graph, NULL), HONE_OK);
    if (hone_graph_validate(b->graph, b->graph->now)) fail_msg("%s: %s", b->trial.label, hone_error());
    if (hone_session_open(&b->session, b->graph, &(hone_session_options){ .backend = "ref" })) fail_msg("%s", hone_error());
    fill_inputs(b);
    if (v->op != HONE_OP_linear_xent) fill_loss(b);
}

static void bench_close(bench *b)
{
    for (int i = 0; i < HONE_MAX_IN; i++) free(b->clean[i]), free(b->gradient[i]);
    hone_session_close(&b->session);
    hone_graph_free(b->graph);
    op_trial_free(&b->trial);
}

static double loss(bench *b)
{
    for (int64_t n = 0; n < b->n_forward; n++) b->session.backend->run(b->session.self, &b->session.args[0][n], NULL, 0);
    const hone_tensor *rows = hone_at(b->graph, b->logprob);
    int64_t N = rows->live == HONE_NONE ? rows->dim[0] : b->trial.live;
    double sum = 0;
    for (int64_t n = 0; n < N; n++) sum -= place(b, b->loss_weight)[n] * place(b, b->logprob)[n];
    return sum;
}

// -- slopes by differences, slopes by gradient ------------------------------------------------------------------------

static int64_t size_of(const bench *b, int i) { return hone_tensor_count(hone_at(b->graph, b->param[i])); }

// Element k of a probe's direction.
static double direction(const probe *p, int64_t k, int64_t n)
{
    if (p->element >= 0) return k == p->element;
    return hone_rng_normal(4, HONE_RNG_TEST, p->seed, (uint64_t)k) / sqrt((double)n);
}

static double loss_at(bench *b, const probe *p, double t)
{
    int64_t n = size_of(b, p->operand);
    double *x = place(b, b->param[p->operand]);
    const double *start = b->trial.args.in[p->operand].data;
    for (int64_t k = 0; k < n; k++) x[k] = start[k] + t * direction(p, k, n);
    double value = loss(b);
    memcpy(x, start, (size_t)n * sizeof *x);
    return value;
}

static void measure_slopes(bench *b)
{
    const double h = 1e-3;
    for (int i = 0; i < HONE_MAX_IN; i++) {
        if (b->param[i] == HONE_NONE) continue;
        int64_t n = size_of(b, i);
        int64_t element[4] = { 0, n - 1, n / 3, n * 2 / 3 };
        for (int k = 0; k < PROBES; k++) {
            probe *p = &b->probe[b->n_probe++];
            *p = (probe){ .operand = i, .element = k < DIRECTIONS ? -1 : element[k - DIRECTIONS], .seed = (uint32_t)(i * 8 + k) };
            p->slope = (8 * (loss_at(b, p, h) - loss_at(b, p, -h)) - (loss_at(b, p, 2 * h) - loss_at(b, p, -2 * h))) / (12 * h);
        }
    }
}

// Runs the program once on cleared gradients and copies them. True if they are not the clean ones (the first taken).
static bool take_gradients(bench *b)
{
    bool changed = false;
    for (int i = 0; i < HONE_MAX_IN; i++)
        if (b->param[i] != HONE_NONE)
            memset(place(b, hone_grad_of_param(b->graph, b->param[i])), 0, (size_t)size_of(b, i) * sizeof(double));
    hone_session_run(&b->session, "micro");
    for (int i = 0; i < HONE_MAX_IN; i++) {
        if (b->param[i] == HONE_NONE) continue;
        size_t bytes = (size_t)size_of(b, i) * sizeof(double);
        const double *made = place(b, hone_grad_of_param(b->graph, b->param[i]));
        if (!b->clean[i]) {
            b->clean[i] = malloc(bytes);
            b->gradient[i] = malloc(bytes);
            memcpy(b->clean[i], made, bytes);
        }
        changed |= memcmp(b->clean[i], made, bytes) != 0;
        memcpy(b->gradient[i], made, bytes);
    }
    return changed;
}

// The first probe that the gradients contradict, or NULL.
static const probe *contradiction(const bench *b, double *found, double *size)
{
    for (int k = 0; k < b->n_probe; k++) {
        const probe *p = &b->probe[k];
        int64_t n = size_of(b, p->operand);
        double squares = 0;
        *found = 0;
        for (int64_t i = 0; i < n; i++) {
            *found += b->gradient[p->operand][i] * direction(p, i, n);
            squares += b->gradient[p->operand][i] * b->gradient[p->operand][i];
        }
        *size = fabs(*found) > sqrt(squares / (double)n) ? fabs(*found) : sqrt(squares / (double)n);
        if (!(fabs(*found - p->slope) <= tolerance * *size)) return p;
    }
    return NULL;
}

// -- tests ------------------------------------------------------------------------------------------------------------

static int wrong, spoiled;

static void check_gradients(bench *b)
{
    double found, size;
    measure_slopes(b);
    take_gradients(b);
    const probe *p = contradiction(b, &found, &size);
    if (!p) return;
    wrong++;
    print_error("%s: gradient of %s (element %lld): %.12g, by differences %.12g, off by %.2g of its size\n", b->trial.label,
                b->trial.info->in[p->operand].name, (long long)p->element, found, p->slope, fabs(found - p->slope) / size);
}

// What backward nodes and the losses write, spoiled: the gradients change, so the comparison must fail. The session poisons
// its transients meanwhile, else a row that was skipped would hold what the run before wrote there.
static void check_controls(bench *b)
{
    const hone_program *program = b->graph->now;
    op_spoiler spoiler = { .backend = b->session.backend, .self = b->session.self };
    b->session.backend = &op_spoiler_backend;
    b->session.self = &spoiler;
    b->session.poison = true;
    for (int64_t n = 0; n < program->count; n++)
        for (int damage = SPOIL_SCALE; damage <= SPOIL_DROP; damage++)
            for (int i = 0; i < HONE_MAX_IN + HONE_MAX_OUT; i++) {
                const hone_node *node = &program->node[n];
                bool loss_node = node->op == HONE_OP_linear_xent && i > HONE_MAX_IN; // dx, dw; logprob is no gradient
                op_trial view = { .info = hone_op_get(node->op), .args = b->session.args[0][n] };
                if (node->phase != HONE_PHASE_BACKWARD && !loss_node) continue;
                if (damage == SPOIL_DROP && i >= HONE_MAX_IN) continue;
                if (!op_spoil_applies(&view, (op_spoil)damage, i)) continue;
                double found, size;
                spoiler.only = &b->session.args[0][n];
                spoiler.spoil = (op_spoil)damage;
                spoiler.operand = i;
                if (!take_gradients(b)) continue; // none of it reached a gradient
                spoiled++;
                if (contradiction(b, &found, &size)) continue;
                wrong++;
                print_error("accepted: %s with operand %d of %s %s\n", b->trial.label, i, view.info->name, op_spoil_name[damage]);
            }
    b->session.backend = spoiler.backend;
    b->session.self = spoiler.self;
}

static void for_all_rules(int cases, void (*check)(bench *))
{
    wrong = spoiled = 0;
    for (int op = 0; op < HONE_OP_COUNT; op++) {
        if (!hone_op_get((hone_op)op)->has_grad) continue;
        op_variant v = op_variant_first((hone_op)op);
        v.real = HONE_f64;
        do {
            bench b;
            bool paged = op == HONE_OP_attention && v.present; // what decoding reads through a table has no gradient
            if (paged || v.number >= cases) continue;
            bench_open(&b, &v);
            check(&b);
            bench_close(&b);
        } while (op_variant_next(&v));
    }
    assert_int_equal(wrong, 0);
}

static void test_every_gradient_rule_agrees_with_central_differences(void **state)
{
    (void)state;
    for_all_rules(SANITIZED ? 2 : INT_MAX, check_gradients); // numbers again: under sanitizers the smaller shapes do
}

static void check_both(bench *b)
{
    check_gradients(b);
    check_controls(b);
}

static void test_a_spoiled_backward_is_rejected(void **state)
{
    (void)state;
    if (SANITIZED) { print_message("skipped: spoiled backward nodes, under sanitizers\n"); skip(); }
    for_all_rules(2, check_both);
    print_message("           %d spoiled backward nodes rejected\n", spoiled);
    assert_true(spoiled > 100);
}

// pair_loss has no rule: its weights are what linear_xent's backward takes. They must be the losses' slopes, with the sign of share.
static void test_weights_of_pairs_are_slopes_of_their_losses(void **state)
{
    (void)state;
    op_variant v = op_variant_first(HONE_OP_pair_loss);
    v.real = HONE_f64;
    do {
        op_trial t;
        op_trial_make(&t, &v);
        const hone_operand *logprob = &t.args.in[0], *share = &t.args.in[1], *measure = &t.args.out[1];
        const int64_t N = hone_rows(share), E = measure->dim[0];
        for (int64_t n = 0; n < N; n++) {
            const double h = 1e-3, x = get(logprob, n);
            double loss[2] = { 0, 0 };
            for (int i = 0; i < 2; i++) {
                put(logprob, n, x + (i ? h : -h));
                hone_ref_pair_loss(&t.args);
                for (int64_t e = 0; e < E; e++) loss[i] += 0.25 * get(measure, 3 * e);    // the size of each share
            }
            put(logprob, n, x);
            hone_ref_pair_loss(&t.args);
            const double slope = (loss[1] - loss[0]) / (2 * h), weight = get(&t.args.out[0], n);
            assert_true(get(share, n) != 0 || weight == 0);
            if (!(fabs(weight + slope) <= 1e-6 * (fabs(weight) + 1e-3))) fail_msg("%s: weight %.12g of row %lld, slope %.12g", t.label, weight, (long long)n, slope);
        }
        op_trial_free(&t);
    } while (op_variant_next(&v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_gradient_rule_agrees_with_central_differences),
        cmocka_unit_test(test_a_spoiled_backward_is_rejected),
        cmocka_unit_test(test_weights_of_pairs_are_slopes_of_their_losses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
