// test_passes.c: proof that every technique is a pass. Each test-only pass below rewrites a two-layer model's program
// through the public graph interface alone; builder, executor and backends know nothing of it.
#include "support/rig.h"
#include "base/memory.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const char *const backends[] = { "ref", "cpu" };
static hone_session_options on(const char *backend) { return (hone_session_options){ .backend = backend }; }

// Runs micro once on random rows and returns the hash of losses and gradients.
static uint64_t run_hash(rig *r)
{
    rig_fill(r, &r->io, 7);
    hone_session_run(&r->session, "micro");
    return rig_hash(r);
}

static uint64_t plain_hash(const hone_config *config, const char *backend)
{
    rig r;
    rig_forward(&r, config, 2, 37);
    assert_int_equal(hone_pass_grad(r.graph, NULL), HONE_OK);
    rig_start(&r, &(hone_session_options){ .backend = backend });
    uint64_t hash = run_hash(&r);
    rig_close(&r);
    return hash;
}

// --- recomputation ------------------------------------------------------------------------------------------------------

static bool in_layer_0(const hone_graph *graph, const hone_program *program, const hone_node *node)
{
    (void)graph, (void)program;
    return node->layer == 0;
}

static void test_recomputing_a_block_changes_no_bit_and_saves_memory(void **state)
{
    (void)state;
    for (int b = 0; b < 2; b++) {
        hone_config config = rig_config(1);
        rig plain, again;
        hone_session_options options = on(backends[b]);
        rig_forward(&plain, &config, 4, 64);
        rig_forward(&again, &config, 4, 64);
        assert_int_equal(hone_pass_grad(plain.graph, NULL), HONE_OK);
        assert_int_equal(hone_pass_grad(again.graph, NULL), HONE_OK);
        assert_int_equal(hone_pass_recompute(again.graph, again.graph->now, in_layer_0), HONE_OK);
        assert_true(again.graph->now->count > plain.graph->now->count);
        rig_start(&plain, &options);
        rig_start(&again, &options);
        assert_int_equal(run_hash(&plain), run_hash(&again));
        assert_true(again.session.layout.arena_bytes < plain.session.layout.arena_bytes);
        rig_close(&plain);
        rig_close(&again);
    }
}

// --- two micro-batches in 1F1B order ------------------------------------------------------------------------------------

typedef struct { hone_node *node; int64_t count; } node_list;

static bool per_slot(const hone_tensor *t)
{
    return t->cls == HONE_CLASS_input || t->cls == HONE_CLASS_output || t->cls == HONE_CLASS_form
        || t->cls == HONE_CLASS_activation || t->cls == HONE_CLASS_actgrad;
}

// A second copy of a program's nodes with tensors of its own for all but weights and gradients: micro-batch slot 1.
static node_list second_slot(hone_graph *graph, const hone_program *program, hone_train_io *io)
{
    int64_t before = graph->n_tensor;
    hone_tid *twin = hone_alloc((size_t)before, sizeof *twin);
    for (hone_tid id = 0; id < before; id++) {
        hone_tensor like = *hone_at(graph, id);
        twin[id] = id;
        if (!per_slot(&like)) continue;
        twin[id] = hone_graph_tensor(graph, like.cls, like.dtype, like.rank, like.dim, "slot1.%.70s", like.name);
        hone_at(graph, twin[id])->form = like.form;
    }
    node_list list = { hone_alloc((size_t)program->count, sizeof(hone_node)), program->count };
    for (int64_t n = 0; n < list.count; n++) {
        list.node[n] = program->node[n];
        list.node[n].slot = 1;
        for (int i = 0; i < HONE_MAX_IN; i++)
            if (i < list.node[n].n_in && list.node[n].in[i] != HONE_NONE) list.node[n].in[i] = twin[list.node[n].in[i]];
        for (int i = 0; i < HONE_MAX_OUT; i++)
            if (i < list.node[n].n_out && list.node[n].out[i] != HONE_NONE) list.node[n].out[i] = twin[list.node[n].out[i]];
    }
    hone_tid *own[] = { &io->ids, &io->pos, &io->lo, &io->hi, &io->target, &io->weight, &io->logprob };
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) *own[i] = twin[*own[i]];
    hone_free(twin);
    return list;
}

// Layer 0 and the embedding are stage 0; layer 1 and the head stage 1.
static void assign_stages(hone_program *program)
{
    int stage = 0;
    for (int64_t n = 0; n < program->count; n++) {
        hone_node *node = &program->node[n];
        if (node->layer >= 0) stage = node->layer;
        node->stage = node->op == HONE_OP_embed_dw ? 0 : stage;
    }
}

static void take(hone_program *to, const hone_node *from, int64_t count, int stage, bool forward)
{
    for (int64_t n = 0; n < count; n++)
        if (from[n].stage == stage && (from[n].phase == HONE_PHASE_FORWARD) == forward) to->node[to->count++] = from[n];
}

static void test_two_micro_batches_in_1f1b_order_change_no_bit(void **state)
{
    (void)state;
    // stage, slot, forward?: both stages busy from the third entry on (PipeDream-flush; Narayanan et al. 2021)
    static const struct { int stage, slot; bool forward; } order_1f1b[] = {
        { 0, 0, true }, { 1, 0, true }, { 0, 1, true }, { 1, 0, false }, { 0, 0, false }, { 1, 1, true }, { 1, 1, false }, { 0, 1, false } };
    for (int b = 0; b < 2; b++) {
        uint64_t hash[2];
        for (int pipelined = 0; pipelined < 2; pipelined++) {
            hone_config config = rig_config(2);
            hone_session_options options = on(backends[b]);
            rig r;
            rig_forward(&r, &config, 1, 37);
            assert_int_equal(hone_pass_grad(r.graph, NULL), HONE_OK);
            hone_program *program = r.graph->now;
            assign_stages(program);
            hone_train_io second = r.io;
            node_list other = second_slot(r.graph, program, &second);
            hone_node *first = program->node;
            int64_t count = program->count;
            program->node = hone_alloc((size_t)count * 2, sizeof *program->node);
            program->count = 0;
            program->capacity = count * 2;
            if (pipelined) {
                for (int i = 0; i < 8; i++)
                    take(program, order_1f1b[i].slot ? other.node : first, count, order_1f1b[i].stage, order_1f1b[i].forward);
            } else {
                memcpy(program->node, first, (size_t)count * sizeof *first);
                memcpy(program->node + count, other.node, (size_t)count * sizeof *first);
                program->count = 2 * count;
            }
            assert_int_equal(program->count, 2 * count);
            rig_start(&r, &options);
            rig_fill(&r, &second, 8);
            hash[pipelined] = run_hash(&r);
            hone_free(first);
            hone_free(other.node);
            rig_close(&r);
        }
        assert_int_equal(hash[0], hash[1]);
    }
}

// --- one MLP split in two, as tensor parallelism will -------------------------------------------------------------------

typedef struct { hone_tid up[2], down[2]; } split_mlp;

// Rewrites block `layer`: y = x + D act(U x)  ->  y = (x + D_0 act(U_0 x)) + D_1 act(U_1 x), halves along the MLP's width.
static split_mlp pass_split_mlp(rig *r, int layer)
{
    hone_graph *graph = r->graph;
    const hone_block *block = &r->model.block[layer];
    hone_program *program = graph->now, before = *program;
    int64_t C = r->model.config.width, F = r->model.config.mlp_width;
    split_mlp split;
    graph->layer = layer;
    for (int half = 0; half < 2; half++) {
        split.up[half] = hone_graph_tensor(graph, HONE_CLASS_param, HONE_f32, HONE_DIMS(F, C), "split.up%d", half);
        split.down[half] = hone_graph_tensor(graph, HONE_CLASS_param, HONE_f32, HONE_DIMS(C, F / 2), "split.down%d", half);
        hone_at(graph, split.up[half])->trained = hone_at(graph, split.down[half])->trained = true;
    }
    program->node = NULL;
    program->count = program->capacity = 0;
    hone_tid x = HONE_NONE;
    for (int64_t n = 0; n < before.count; n++) {
        hone_node node = before.node[n];
        if (node.op == HONE_OP_linear && node.in[1] == block->up) { x = node.in[0]; continue; }
        if (node.op == HONE_OP_swiglu && node.layer == layer) continue;
        if (node.op == HONE_OP_linear && node.in[1] == block->down) {
            hone_tid part[2];
            for (int half = 0; half < 2; half++) {
                hone_tid gu = hone_linear(graph, x, split.up[half], HONE_NONE, HONE_NONE);
                hone_tid h = hone_graph_add(graph, HONE_OP_swiglu, NULL, (hone_tid[]){ gu }, NULL)->out[0];
                part[half] = hone_linear(graph, h, split.down[half], HONE_NONE, half ? HONE_NONE : node.in[3]);
            }
            hone_node *sum = hone_graph_add(graph, HONE_OP_add, NULL, part, NULL);
            sum->out[0] = node.out[0]; // its readers stay as they are
            continue;
        }
        assert_int_equal(hone_grow(&program->node, program->count, &program->capacity, sizeof node), HONE_OK);
        program->node[program->count++] = node;
    }
    hone_free(before.node);
    return split;
}

// Weights of the halves from the whole (to_halves), or their gradients against the whole's (relative difference).
static double halves(rig *whole, rig *split, const split_mlp *ids, int layer, bool to_halves)
{
    int64_t C = whole->model.config.width, F = whole->model.config.mlp_width;
    const hone_block *b = &whole->model.block[layer];
    float *up = rig_place(whole, to_halves ? b->up : hone_grad_of_param(whole->graph, b->up));
    float *down = rig_place(whole, to_halves ? b->down : hone_grad_of_param(whole->graph, b->down));
    double worst = 0;
    for (int half = 0; half < 2; half++) {
        float *u = rig_place(split, to_halves ? ids->up[half] : hone_grad_of_param(split->graph, ids->up[half]));
        float *d = rig_place(split, to_halves ? ids->down[half] : hone_grad_of_param(split->graph, ids->down[half]));
        for (int64_t part = 0; part < 2; part++) // gate, up
            for (int64_t f = 0; f < F / 2; f++) {
                float *row = u + (part * F / 2 + f) * C, *from = up + (part * F + half * F / 2 + f) * C;
                if (to_halves) memcpy(row, from, (size_t)C * sizeof *row);
                else worst = fmax(worst, rig_difference(row, from, C));
            }
        for (int64_t c = 0; c < C; c++) {
            float *row = d + c * F / 2, *from = down + c * F + half * F / 2;
            if (to_halves) memcpy(row, from, (size_t)F / 2 * sizeof *row);
            else worst = fmax(worst, rig_difference(row, from, F / 2));
        }
    }
    return worst;
}

static void test_an_mlp_split_in_two_with_a_sum_agrees(void **state)
{
    (void)state;
    for (int b = 0; b < 2; b++) {
        hone_config config = rig_config(1);
        hone_session_options options = on(backends[b]);
        rig whole, split;
        rig_forward(&whole, &config, 2, 37);
        rig_forward(&split, &config, 2, 37);
        split_mlp ids = pass_split_mlp(&split, 1);
        assert_int_equal(hone_pass_grad(whole.graph, NULL), HONE_OK);
        assert_int_equal(hone_pass_grad(split.graph, NULL), HONE_OK);
        rig_start(&whole, &options);
        rig_start(&split, &options);
        halves(&whole, &split, &ids, 1, true);
        run_hash(&whole);
        run_hash(&split);
        // One sum of 80 products became two sums of 40 and an addition: rounding differs by a few units of 2^-24.
        assert_true(rig_difference(rig_place(&split, split.io.logprob), rig_place(&whole, whole.io.logprob), whole.io.N) < 1e-6);
        assert_true(halves(&whole, &split, &ids, 1, false) < 1e-5); // per row of 48; the norms of rows differ
        hone_tid g = hone_grad_of_param(whole.graph, whole.model.block[0].qkv);
        assert_true(rig_difference(rig_place(&split, hone_grad_of_param(split.graph, split.model.block[0].qkv)), rig_place(&whole, g),
                                   hone_tensor_count(hone_at(whole.graph, g))) < 1e-6);
        rig_close(&whole);
        rig_close(&split);
    }
}

// --- weight forms ---------------------------------------------------------------------------------------------------------

static void test_forms_made_at_each_use_change_no_bit(void **state)
{
    (void)state;
    for (int b = 0; b < 2; b++)
        for (int kind = 0; kind < RIG_KINDS; kind++) {
            hone_config config = rig_config(kind);
            hone_session_options options = on(backends[b]);
            rig r;
            rig_forward(&r, &config, 2, 37);
            assert_int_equal(hone_pass_grad(r.graph, NULL), HONE_OK);
            assert_int_equal(hone_pass_forms(r.graph, r.graph->now, HONE_FORMS_AT_USE), HONE_OK);
            rig_start(&r, &options);
            assert_int_equal(run_hash(&r), plain_hash(&config, backends[b]));
            rig_close(&r);
        }
}

// --- precision ----------------------------------------------------------------------------------------------------------

// Gradients of the whole model with narrow products and storage: near those of f32 (an operand of bf16 is off by at most 2^-9 of itself, of
// f16 by 2^-12, of int8 by 2^-8 of the largest in its block), not equal; and the cpu's near ref's, which rounds the same operands: what
// differs is where sums round to another operand downstream. (The cpu has no f16.)
static void check_narrow_products(hone_dtype product, double allowed)
{
    const int n = product == HONE_f16 ? 2 : 3;
    for (int kind = 0; kind < RIG_KINDS; kind++) {
        hone_config config = rig_config(kind);
        rig r[3]; // ref f32, ref narrow, cpu narrow
        for (int i = 0; i < n; i++) {
            hone_session_options options = on(i < 2 ? "ref" : "cpu");
            rig_forward(&r[i], &config, 2, 37);
            assert_int_equal(hone_pass_grad(r[i].graph, NULL), HONE_OK);
            if (i) assert_int_equal(hone_pass_storage(r[i].graph, r[i].graph->now, hone_storage_of_product(product)), HONE_OK);
            hone_pass_precision(r[i].graph, r[i].graph->now, i ? product : HONE_f32, 0);
            assert_int_equal(hone_pass_forms(r[i].graph, r[i].graph->now, i == 2 ? HONE_FORMS_AT_USE : HONE_FORMS_NONE), HONE_OK);
            rig_start(&r[i], &options);
            run_hash(&r[i]);
        }
        double rounding = 0, backend = 0, size = 0; // squares, of all gradients together: some are zero but for rounding
        for (hone_tid id = 0; id < r[0].graph->n_tensor; id++) {
            const hone_tensor *t = hone_at(r[0].graph, id);
            if (t->cls != HONE_CLASS_grad || t->base != HONE_NONE) continue;
            const float *full = rig_named(&r[0], t->name), *narrow = rig_named(&r[1], t->name), *fast = rig_named(&r[n - 1], t->name);
            for (int64_t k = 0; k < hone_tensor_count(t); k++) {
                rounding += pow((double)narrow[k] - (double)full[k], 2), backend += pow((double)fast[k] - (double)narrow[k], 2);
                size += pow((double)full[k], 2);
            }
        }
        print_message("           %s: %s from f32 %.1e, cpu from ref %.1e\n", rig_name(kind), hone_dtype_name(product), sqrt(rounding / size),
                      sqrt(backend / size));
        assert_true(rounding < size * allowed * allowed && backend < rounding);
        assert_int_not_equal(rig_hash(&r[0]), rig_hash(&r[1]));
        for (int i = 0; i < n; i++) rig_close(&r[i]);
    }
}
static void test_narrow_products_are_near_f32_ones_on_every_backend(void **state)
{
    (void)state;
    check_narrow_products(HONE_bf16, 0.03);
    check_narrow_products(HONE_f16, 0.03 / 8);
    check_narrow_products(HONE_int8, 0.1);
}

// What stays f32: the residual stream and its gradient, weights, their gradients, statistics. A norm behind a product reads f32 and the sum
// behind it adds f32, so with those less is narrow: only what must stay wide is judged.
static void test_storage_in_bf16_leaves_the_residual_stream(void **state)
{
    (void)state;
    for (int kind = 0; kind < RIG_KINDS; kind++) {
        hone_config config = rig_config(kind);
        const bool before = config.norms == HONE_NORMS_BEFORE;
        rig r;
        rig_forward(&r, &config, 2, 37);
        assert_int_equal(hone_pass_grad(r.graph, NULL), HONE_OK);
        assert_int_equal(hone_pass_storage(r.graph, r.graph->now, HONE_bf16), HONE_OK);
        int half[HONE_OP_COUNT] = { 0 };
        for (int64_t n = 0; n < r.graph->now->count; n++) {
            const hone_node *node = &r.graph->now->node[n];
            const bool skip = node->op == HONE_OP_blend && node->attr.v_col == 0;
            const bool stream = node->op == HONE_OP_embed || skip || node->op == HONE_OP_blend_back || node->op == HONE_OP_add || node->op == HONE_OP_rmsnorm_back || node->op == HONE_OP_layernorm_back
                             || (node->op == HONE_OP_linear && node->in[3] != HONE_NONE);
            for (int i = 0; i < node->n_out; i++) {
                if (node->out[i] == HONE_NONE) continue;
                const bool is_half = hone_at(r.graph, node->out[i])->dtype == HONE_bf16;
                half[node->op] += is_half;
                assert_false(is_half && (stream || i > 0) && node->op != HONE_OP_linear_xent);
            }
            const bool expected = before && !stream && node->op != HONE_OP_linear_xent && node->op != HONE_OP_linear_dw && node->op != HONE_OP_embed_dw && node->op != HONE_OP_rope_table;
            if (expected) assert_int_equal(hone_at(r.graph, node->out[0])->dtype, HONE_bf16);
        }
        assert_true(!before || (half[HONE_OP_linear] == 2 * config.layers && half[HONE_OP_linear_dx] == 4 * config.layers));
        assert_true(half[HONE_OP_linear_xent] == 1);
        assert_int_equal(half[HONE_OP_blend], 2 * config.value_embeddings);
        assert_true(half[HONE_OP_attention] == config.layers && half[HONE_OP_attention_back] == config.layers);
        assert_int_equal(hone_graph_validate(r.graph, r.graph->now), HONE_OK);
        hone_graph_free(r.graph);
        hone_model_release(&r.model);
    }
}

// One linear reads its weight in bf16: the storage stays f32 (the master), the form is a cast made before its uses.
static void pass_store_bf16(hone_graph *graph, hone_tid w)
{
    hone_program *program = graph->now, before = *program;
    program->node = NULL;
    program->count = program->capacity = 0;
    for (int64_t n = 0; n < before.count; n++) {
        hone_node node = before.node[n];
        graph->phase = node.phase;
        if ((node.op == HONE_OP_linear || node.op == HONE_OP_linear_dx) && node.in[1] == w)
            node.in[1] = hone_graph_add(graph, HONE_OP_pack, &(hone_attr){ .dtype = HONE_bf16 }, (hone_tid[]){ w, HONE_NONE, HONE_NONE }, NULL)->out[0];
        assert_int_equal(hone_grow(&program->node, program->count, &program->capacity, sizeof node), HONE_OK);
        program->node[program->count++] = node;
    }
    hone_free(before.node);
}

static void test_a_weight_stored_in_bf16_equals_one_rounded_to_bf16(void **state)
{
    (void)state;
    for (int b = 0; b < 2; b++) {
        hone_config config = rig_config(1);
        hone_session_options options = on(backends[b]);
        rig stored, rounded;
        rig_forward(&stored, &config, 2, 37);
        rig_forward(&rounded, &config, 2, 37);
        assert_int_equal(hone_pass_grad(stored.graph, NULL), HONE_OK);
        assert_int_equal(hone_pass_grad(rounded.graph, NULL), HONE_OK);
        pass_store_bf16(stored.graph, stored.model.block[1].o);
        rig_start(&stored, &options);
        rig_start(&rounded, &options);
        uint64_t unrounded = run_hash(&rounded);
        for (hone_tid id = 0; id < rounded.graph->n_tensor; id++)
            if (hone_at(rounded.graph, id)->cls == HONE_CLASS_grad && hone_at(rounded.graph, id)->base == HONE_NONE)
                memset(rig_place(&rounded, id), 0, (size_t)hone_tensor_count(hone_at(rounded.graph, id)) * sizeof(float));
        float *w = rig_place(&rounded, rounded.model.block[1].o);
        for (int64_t i = 0; i < 48 * 48; i++) w[i] = hone_bf16_to_f32(hone_f32_to_bf16(w[i]));
        uint64_t hash = run_hash(&stored);
        assert_int_equal(hash, run_hash(&rounded));
        assert_int_not_equal(hash, unrounded);
        rig_close(&stored);
        rig_close(&rounded);
    }
}

// --- a frozen weight ------------------------------------------------------------------------------------------------------

static void test_a_frozen_weight_has_no_gradient_node(void **state)
{
    (void)state;
    hone_config config = rig_config(1);
    for (int b = 0; b < 2; b++) {
        hone_session_options options = on(backends[b]);
        rig all, frozen;
        rig_forward(&all, &config, 2, 37);
        rig_forward(&frozen, &config, 2, 37);
        hone_tid w = frozen.model.block[1].up;
        hone_at(frozen.graph, w)->trained = false;
        assert_int_equal(hone_pass_grad(all.graph, NULL), HONE_OK);
        assert_int_equal(hone_pass_grad(frozen.graph, NULL), HONE_OK);
        assert_int_equal(hone_grad_of_param(frozen.graph, w), HONE_NONE);
        assert_int_equal(frozen.graph->now->count, all.graph->now->count - 1);
        rig_start(&all, &options);
        rig_start(&frozen, &options);
        run_hash(&all);
        run_hash(&frozen);
        for (int layer = 0; layer < 2; layer++) { // all others are untouched by it
            hone_tid g = hone_grad_of_param(all.graph, all.model.block[layer].qkv);
            assert_memory_equal(rig_place(&all, g), rig_place(&frozen, hone_grad_of_param(frozen.graph, frozen.model.block[layer].qkv)),
                                (size_t)hone_tensor_count(hone_at(all.graph, g)) * sizeof(float));
        }
        rig_close(&all);
        rig_close(&frozen);
    }
}

// --- live counts ----------------------------------------------------------------------------------------------------------

// Gives every tensor of N rows a live count.
static hone_tid pass_live_rows(hone_graph *graph, int64_t N)
{
    hone_tid count = hone_graph_tensor(graph, HONE_CLASS_input, HONE_i32, HONE_DIMS(1), "live");
    for (hone_tid id = 0; id < count; id++) {
        hone_tensor *t = hone_at(graph, id);
        if (per_slot(t) && t->dim[0] == N) t->live = count;
    }
    return count;
}

static void test_rows_beyond_the_live_count_take_no_part(void **state)
{
    (void)state;
    enum { N = 74, LIVE = 50 };
    for (int b = 0; b < 2; b++)
        for (int kind = 0; kind < RIG_KINDS; kind++) {
            hone_config config = rig_config(kind);
            hone_session_options options = on(backends[b]);
            rig full, part;
            rig_forward(&full, &config, 1, N);
            rig_forward(&part, &config, 1, N);
            assert_int_equal(hone_pass_grad(full.graph, NULL), HONE_OK);
            assert_int_equal(hone_pass_grad(part.graph, NULL), HONE_OK);
            hone_tid live = pass_live_rows(part.graph, N);
            rig_start(&full, &options);
            rig_start(&part, &options);
            rig_fill(&full, &full.io, 7);
            rig_fill(&part, &part.io, 7);
            *(int32_t *)rig_place(&part, live) = LIVE;
            float *weight = rig_place(&full, full.io.weight), *logprob = rig_place(&part, part.io.logprob);
            for (int n = LIVE; n < N; n++) { weight[n] = 0; logprob[n] = 42; }
            hone_session_run(&full.session, "micro");
            hone_session_run(&part.session, "micro");
            assert_memory_equal(logprob, rig_place(&full, full.io.logprob), LIVE * sizeof(float));
            for (int n = LIVE; n < N; n++) assert_true(logprob[n] == 42);
            for (hone_tid id = 0; id < full.graph->n_tensor; id++) {
                const hone_tensor *t = hone_at(full.graph, id);
                if (t->cls != HONE_CLASS_grad || t->base != HONE_NONE) continue;
                // The same terms and zeros, in the same order up to how reductions over rows are cut into chunks.
                double d = rig_difference(rig_place(&part, id), rig_place(&full, id), hone_tensor_count(t));
                if (!(d < 1e-6)) fail_msg("%s %s: gradient of %s differs by %g", backends[b], rig_name(kind), t->name, d);
            }
            rig_close(&full);
            rig_close(&part);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recomputing_a_block_changes_no_bit_and_saves_memory),
        cmocka_unit_test(test_two_micro_batches_in_1f1b_order_change_no_bit),
        cmocka_unit_test(test_an_mlp_split_in_two_with_a_sum_agrees),
        cmocka_unit_test(test_forms_made_at_each_use_change_no_bit),
        cmocka_unit_test(test_narrow_products_are_near_f32_ones_on_every_backend),
        cmocka_unit_test(test_storage_in_bf16_leaves_the_residual_stream),
        cmocka_unit_test(test_a_weight_stored_in_bf16_equals_one_rounded_to_bf16),
        cmocka_unit_test(test_a_frozen_weight_has_no_gradient_node),
        cmocka_unit_test(test_rows_beyond_the_live_count_take_no_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
