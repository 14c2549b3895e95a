// test_budget.c: recomputation within a number of bytes. What is simulated is what layout plans; what is chosen is near the
// cheapest of all choices; what runs, what goes home and comes back included, gives the bits of a run that stores everything.
#include "base/memory.h"
#include "graph/budget.h"
#include "graph/layout.h"
#include "graph/offload.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/rig.h"
#include <stdlib.h>

static const char *const backends[] = { "ref", "cpu" };

typedef struct { rig r; hone_program built; hone_session session; hone_recompute recompute; hone_budget *budget; double *cost; } bench;

static void bench_open_rows(bench *b, int kind, int64_t layers, const char *backend, int64_t T)
{
    hone_config config = rig_config(kind);
    config.layers = layers;
    b->r = (rig){ .graph = hone_graph_new() };
    assert_int_equal(hone_model_declare(&b->r.model, b->r.graph, &config), HONE_OK);
    assert_int_equal(hone_model_build_stored(&b->r.model, 2, T, &b->r.io), HONE_OK);
    b->built = *b->r.graph->now;
    assert_int_equal(hone_session_plan(&b->session, b->r.graph, &(hone_session_options){ .backend = backend }), HONE_OK);
    b->cost = hone_alloc((size_t)b->built.count, sizeof *b->cost);
    for (int64_t n = 0; n < b->built.count; n++) b->cost[n] = hone_node_work(b->r.graph, &b->built.node[n]);
    assert_int_equal(hone_recompute_open(&b->recompute, b->r.graph, &b->built), HONE_OK);
    hone_recompute_choose(&b->recompute, hone_drop_cheap);
    assert_int_equal(hone_budget_open(&b->budget, &b->recompute, b->session.backend, b->session.self, b->cost), HONE_OK);
}

static void bench_open(bench *b, int kind, int64_t layers, const char *backend) { bench_open_rows(b, kind, layers, backend, 37); }

static void bench_close(bench *b)
{
    if (b->built.node != b->r.graph->now->node) hone_free(b->built.node);
    hone_budget_close(b->budget);
    hone_recompute_close(&b->recompute);
    hone_session_close(&b->session);
    hone_model_release(&b->r.model);
    hone_graph_free(b->r.graph);
    hone_free(b->cost);
}

// Any choice at all, not only good ones: the bytes alive at the peak are those that layout counts.
static void test_simulated_peaks_are_the_layouts(void **state)
{
    (void)state;
    for (int kind = 0; kind < RIG_KINDS; kind++) {
        bench b;
        bench_open(&b, kind, 3, backends[kind % 2]);
        srand(7);
        for (int turn = 0; turn < 24; turn++) {
            for (int64_t n = 0; n < b.built.count; n++) b.recompute.drop[n] = b.recompute.stored[n] && rand() % 24 < turn;
            size_t simulated = hone_budget_peak(b.budget);
            hone_node *before = b.r.graph->now->node;
            assert_int_equal(hone_recompute_apply(&b.recompute, b.r.graph, b.r.graph->now), HONE_OK);
            if (before != b.built.node) hone_free(before);
            assert_int_equal(hone_graph_validate(b.r.graph, b.r.graph->now), HONE_OK);
            hone_layout layout;
            assert_int_equal(hone_layout_plan(b.r.graph, b.session.backend, b.session.self, NULL, &layout), HONE_OK);
            assert_int_equal(simulated, layout.workspace_peak_bytes + layout.class_bytes[HONE_CLASS_activation]
                                        + layout.class_bytes[HONE_CLASS_actgrad] + layout.class_bytes[HONE_CLASS_form]);
            hone_layout_release(&layout);
        }
        bench_close(&b);
    }
}

// A choice of what goes home and what is dropped: the program of it, and the peak that was simulated.
static size_t park_some(bench *b, int turn, int64_t *parked)
{
    *parked = 0;
    for (int64_t n = 0; n < b->built.count; n++) {
        const int at = rand() % 24;
        b->recompute.park[n] = hone_recompute_may_park(&b->recompute, n) && at < turn;
        b->recompute.drop[n] = b->recompute.stored[n] && !b->recompute.park[n] && at >= turn && at < 2 * turn;
        *parked += b->recompute.park[n];
    }
    hone_budget_close(b->budget);
    must(hone_budget_open(&b->budget, &b->recompute, b->session.backend, b->session.self, b->cost));
    const size_t simulated = hone_budget_peak(b->budget);
    hone_program *micro = b->r.graph->now;
    hone_node *before = micro->node;
    must(hone_recompute_apply(&b->recompute, b->r.graph, micro));
    if (before != b->built.node) hone_free(before);
    return simulated;
}

static size_t planned_peak(const bench *b, size_t *homes)
{
    hone_layout layout;
    must(hone_layout_plan(b->r.graph, b->session.backend, b->session.self, NULL, &layout));
    size_t peak = layout.workspace_peak_bytes + layout.class_bytes[HONE_CLASS_stage];
    peak += layout.class_bytes[HONE_CLASS_activation] + layout.class_bytes[HONE_CLASS_actgrad] + layout.class_bytes[HONE_CLASS_form];
    *homes = layout.home_bytes;
    hone_layout_release(&layout);
    return peak;
}

// Any choice of what goes home, of what is dropped beside: the peak is that of layout, to the byte where all rows together are whole pages.
static void test_peaks_where_much_is_parked_are_the_layouts(void **state)
{
    (void)state;
    for (int kind = 0; kind < RIG_KINDS; kind++) {
        bench b;
        bench_open_rows(&b, kind, 3, backends[kind % 2], HONE_STAGE_ALIGN / sizeof(float) / 2);
        srand(7);
        for (int turn = 0; turn < 24; turn++) {
            int64_t parked;
            size_t homes;
            const size_t simulated = park_some(&b, turn, &parked);
            must(hone_graph_validate(b.r.graph, b.r.graph->now));
            assert_int_equal(simulated, planned_peak(&b, &homes));
            assert_int_equal(homes > 0, parked > 0);
        }
        bench_close(&b);
    }
}

// What runs, overlapped, poisoned, has the bits of a run that stores everything.
static void test_what_is_parked_changes_no_bit(void **state)
{
    (void)state;
    for (int kind = 0; kind < RIG_KINDS; kind++) {
        bench b;
        uint64_t plain = 0;
        int64_t parked, most = 0;
        bench_open(&b, kind, 3, backends[kind % 2]);
        srand(7);
        for (int turn = 0; turn < (SANITIZED ? 6 : 12); turn++) {
            park_some(&b, turn, &parked);
            most = parked > most ? parked : most;
            must(hone_pass_overlap(b.r.graph, b.r.graph->now, 0));
            rig here = b.r;
            const hone_session_options options = { .backend = backends[kind % 2], .poison = true, .offload = "/tmp" };
            rig_start(&here, &options);
            rig_fill(&here, &here.io, 7);
            for (int run = 0; run < 2; run++) must(hone_session_run(&here.session, "micro"));
            const uint64_t hash = rig_hash(&here);
            hone_session_close(&here.session);
            if (turn == 0) plain = hash;
            if (hash != plain) fail_msg("%s, choice %d: %lld parked", rig_name(kind), turn, (long long)parked);
        }
        assert_true(most > (SANITIZED ? 0 : 8));
        bench_close(&b);
    }
}

typedef struct { size_t peak; double cost; } choice;

// All 2^n choices.
static choice *look_at_all(bench *b, const int64_t *stored, int n)
{
    choice *all = hone_alloc((size_t)1 << n, sizeof *all);
    for (int64_t set = 0; set < 1 << n; set++) {
        for (int i = 0; i < n; i++) b->recompute.drop[stored[i]] = set >> i & 1;
        all[set] = (choice){ hone_budget_peak(b->budget), hone_budget_cost(b->budget) };
    }
    for (int i = 0; i < n; i++) b->recompute.drop[stored[i]] = false;
    return all;
}

static double cheapest(const choice *all, int n, size_t most)
{
    double least = 0x1p62;
    for (int64_t set = 0; set < 1 << n; set++)
        if (all[set].peak <= most && all[set].cost < least) least = all[set].cost;
    return least;
}

// Two blocks hold 8 to 12 stored outputs: all choices can be looked at. (With norms around they hold 19, with skips 18: too many.)
static void test_the_choice_is_near_the_cheapest_of_all(void **state)
{
    (void)state;
    for (int kind = 0; kind < RIG_KINDS; kind += SANITIZED ? 3 : 1) {
        if (rig_config(kind).norms != HONE_NORMS_BEFORE || rig_config(kind).skip_connections) continue;
        bench b;
        bench_open(&b, kind, 2, "cpu");
        int64_t stored[64];
        int n = 0;
        for (int64_t i = 0; i < b.built.count; i++)
            if (b.recompute.stored[i] && !b.recompute.drop[i]) stored[n++] = i;
        assert_in_range(n, 6, 16);
        choice *all = look_at_all(&b, stored, n);
        size_t whole = all[0].peak, least = whole;
        for (int64_t set = 0; set < 1 << n; set++) if (all[set].peak < least) least = all[set].peak;
        assert_true(least < whole);
        double ours_sum = 0, best_sum = 0;
        for (int i = 0; i <= 6; i++) {
            for (int k = 0; k < n; k++) b.recompute.drop[stored[k]] = false;
            size_t most = least + (whole - least) * (size_t)i / 6;
            assert_true(hone_budget_choose(b.budget, most));
            assert_true(hone_budget_peak(b.budget) <= most);
            double ours = hone_budget_cost(b.budget), best = cheapest(all, n, most);
            print_message("  %-22s %d stored, %7zu bytes: cost %.4g, the least of all %.4g\n", rig_name(kind), n, most, ours, best);
            assert_true(ours <= best * 1.05);
            ours_sum += ours;
            best_sum += best;
        }
        assert_true(ours_sum <= best_sum * 1.01);
        hone_free(all);
        bench_close(&b);
    }
}

static uint64_t hash_of_two_runs(rig *r, const hone_session_options *options)
{
    rig_start(r, options);
    rig_fill(r, &r->io, 7);
    hone_session_run(&r->session, "micro");
    hone_session_run(&r->session, "micro");
    uint64_t hash = rig_hash(r);
    rig_close(r);
    return hash;
}

static void test_any_budget_gives_the_same_bits(void **state)
{
    (void)state;
    for (int b = 0; b < 2; b++)
        for (int kind = 0; kind < RIG_KINDS; kind++) {
            hone_config config = rig_config(kind);
            config.layers = 3;
            hone_session_options plain = { .backend = backends[b] }, poisoned = { .backend = backends[b], .poison = true };
            rig r;
            rig_forward(&r, &config, 2, 37);
            assert_int_equal(hone_pass_grad(r.graph, NULL), HONE_OK); // stores everything, packs nothing
            uint64_t want = hash_of_two_runs(&r, &plain);
            for (int tight = 0; tight <= 4; tight++) {
                rig_micro_within(&r, &config, 2, 37, &plain, tight / 4.0);
                assert_int_equal(hash_of_two_runs(&r, tight % 2 ? &poisoned : &plain), want);
            }
            rig_forward(&r, &config, 2, 37);
            assert_int_equal(hone_pass_grad(r.graph, NULL), HONE_OK);
            assert_int_equal(hone_pass_recompute(r.graph, r.graph->now, hone_drop_blocks), HONE_OK);
            assert_int_equal(hash_of_two_runs(&r, &poisoned), want);
        }
}

// A plain per-block checkpointing is one of the choices: at its peak the search may not be dearer.
static void test_the_choice_is_no_dearer_than_per_block_checkpointing(void **state)
{
    (void)state;
    for (int kind = 0; kind < RIG_KINDS; kind++) {
        bench b;
        bench_open(&b, kind, 12, "cpu");
        double cheap = hone_budget_cost(b.budget);
        size_t whole = hone_budget_peak(b.budget);
        hone_recompute_choose(&b.recompute, hone_drop_blocks);
        double blocks = hone_budget_cost(b.budget);
        size_t most = hone_budget_peak(b.budget);
        hone_recompute_choose(&b.recompute, hone_drop_cheap);
        assert_true(hone_budget_choose(b.budget, most));
        double ours = hone_budget_cost(b.budget);
        print_message("  %-22s 12 blocks: %zu of %zu bytes, cost %.4g instead of %.4g\n", rig_name(kind), most, whole, ours - cheap, blocks - cheap);
        assert_true(hone_budget_peak(b.budget) <= most);
        assert_true(ours <= blocks);
        assert_true(most < whole);
        bench_close(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_simulated_peaks_are_the_layouts),
        cmocka_unit_test(test_peaks_where_much_is_parked_are_the_layouts),
        cmocka_unit_test(test_what_is_parked_changes_no_bit),
        cmocka_unit_test(test_the_choice_is_near_the_cheapest_of_all),
        cmocka_unit_test(test_the_choice_is_no_dearer_than_per_block_checkpointing),
        cmocka_unit_test(test_any_budget_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
