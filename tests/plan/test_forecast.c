// What a run costs, from a given pace: steps, time, disk, energy, money to the digit; other machines' rows are sane and their
// roofline is the arithmetic that its header shows; what `hone plan` prints, side by side, and what it refuses.
#include "base/file.h"
#include "plan/forecast.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/run_rig.h"
#include "support/verb.h"
#include <math.h>
#include <string.h>

static char *folder;
static int make_folder(void **state)
{
    (void)state;
    folder = run_rig_folder();
    return 0;
}
static int remove_folder(void **state) { (void)state; run_rig_remove(folder); return 0; }

typedef struct { hone_recipe recipe; hone_job job; hone_plan plan; hone_cost cost; } rig;

static void open_rig(rig *r, const char *more)
{
    *r = (rig){ 0 };
    run_rig_recipe(&r->recipe, folder, more);
    must(hone_job_open(&r->job, &r->recipe));
    must(hone_plan_make(&r->job, &r->plan));
}

static void close_rig(rig *r)
{
    hone_cost_release(&r->cost);
    hone_plan_release(&r->plan);
    hone_job_close(&r->job);
    hone_recipe_release(&r->recipe);
}

static void make_cost(rig *r, const char *more, const hone_pace *pace)
{
    open_rig(r, more);
    must(hone_cost_make(&r->job, &r->plan, pace, &r->cost));
}

static void assert_near(double a, double b) { if (fabs(a - b) > 1e-9 * fabs(b)) fail_msg("%.17g is not %.17g", a, b); }

// held.u16: 1501 tokens = 41 windows of 37 (the last padded); 4 rows a run; evaluations after steps 30, 60, 90 and 100.
static void test_a_run_costs_what_its_parts_cost(void **state)
{
    (void)state;
    rig r;
    const hone_pace pace = { .chips = 1, .step_s = 0.5, .score_s = 0.25, .watts = 100 };
    make_cost(&r, "per_device_train_batch_size: 4\nmax_steps: 100\neval_steps: 30\neval_tokens: 370\nsave_steps: 40\nprice_per_hour: 3.6\ngco2_per_kwh: 400\n", &pace);
    const hone_cost *c = &r.cost;
    assert_int_equal(c->steps, 100);
    assert_int_equal(c->tokens, 100 * 4 * 37);
    assert_near(c->tokens_per_s, 4 * 37 / 0.5);
    assert_near(c->epochs, 400.0 / (double)r.job.train.windows);
    assert_near(c->steps_s, 50);
    assert_near(c->eval_s, 4 * (10.0 / 4) * 0.25);  // 370 tokens are 10 windows
    assert_int_equal(c->checkpoint_bytes, r.plan.class_bytes[HONE_CLASS_param] + r.plan.class_bytes[HONE_CLASS_moment]);
    assert_int_equal(c->checkpoints, 2);            // saves at 40, 80, 100; two stay
    assert_int_equal(c->disk_bytes, 3 * c->checkpoint_bytes + r.plan.class_bytes[HONE_CLASS_param]);
    assert_near(c->total_s, c->steps_s + c->eval_s + c->save_s);
    assert_true(c->save_s > 0 && c->save_s < 0.1);
    assert_near(c->energy_kwh, 100 * c->total_s / 3.6e6);
    assert_near(c->money, 3.6 * c->total_s / 3600);
    assert_near(c->co2_g, 400 * c->energy_kwh);
    close_rig(&r);
}

static void test_the_limit_that_comes_first_ends_the_run(void **state)
{
    (void)state;
    rig r;
    hone_pace pace = { .chips = 1, .step_s = 0.5, .score_s = 0, .watts = 1 };
    make_cost(&r, "per_device_train_batch_size: 4\nmax_steps: 1000\nmax_time: 1m\n", &pace);
    assert_int_equal(r.cost.steps, 120);
    close_rig(&r);
    make_cost(&r, "per_device_train_batch_size: 4\nmax_tokens: 1480\n", &pace);
    assert_int_equal(r.cost.steps, 10);
    close_rig(&r);
    pace.chips = 4;     // a step has four times the tokens
    make_cost(&r, "per_device_train_batch_size: 4\nmax_tokens: 1480\n", &pace);
    assert_int_equal(r.cost.steps, 3);
    assert_near(r.cost.tokens_per_s, 4 * 4 * 37 / 0.5);
    close_rig(&r);
    make_cost(&r, "", &pace);
    assert_int_equal(r.cost.steps, 0);
    assert_true(r.cost.total_s == 0 && r.cost.energy_kwh == 0 && r.cost.tokens_per_s > 0);
    close_rig(&r);
}

static void test_a_mixture_tells_the_epochs_of_each_source(void **state)
{
    (void)state;
    hone_recipe recipe;
    hone_job job;
    hone_plan plan;
    hone_cost cost;
    char *more = hone_format("dataset: ''\nmax_steps: 50\nper_device_train_batch_size: 4\ndatasets: [{path: %s/train.u16, weight: 3}, {path: %s/held.u16, weight: 1}]\n", folder, folder);
    char *text = hone_format("model: {model_type: llama, vocab_size: 120, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 1, num_attention_heads: 4}\n"
                             "cutoff_len: 37\n%s", strchr(more, '\n') + 1);
    must(hone_recipe_parse(&recipe, "mixture", text, 0, NULL));
    must(hone_job_open(&job, &recipe));
    must(hone_plan_make(&job, &plan));
    must(hone_cost_make(&job, &plan, &(hone_pace){ .chips = 1, .step_s = 1 }, &cost));
    assert_near(cost.source_epochs[0], 150.0 / (double)job.train.source[0].loader.windows);
    assert_near(cost.source_epochs[1], 50.0 / (double)job.train.source[1].loader.windows);
    assert_int_equal(job.train.now.row, 0);
    hone_cost_release(&cost);
    hone_plan_release(&plan);
    hone_job_close(&job);
    hone_recipe_release(&recipe);
    hone_free(text);
    hone_free(more);
}

// --- other machines ---------------------------------------------------------------------------------------------------

static void test_rows_of_hardware_are_sane(void **state)
{
    (void)state;
    for (int i = 0; i < hone_hardware_count; i++) {
        const hone_hardware *m = &hone_hardware_table[i], *found;
        int64_t chips;
        must(hone_hardware_find(m->name, &found, &chips));
        assert_ptr_equal(found, m);     // names are unique
        assert_int_equal(chips, 1);
        // a chip does 1 to 200 TFLOP/s in f32, at least as many and at most 40 times that in bf16, 10 to 600 FLOP a byte
        if (!(m->f32_flops >= 1e12 && m->f32_flops <= 2e14 && m->bf16_flops >= m->f32_flops && m->bf16_flops <= 40 * m->f32_flops)) fail_msg("%s: FLOP/s", m->name);
        if (!(m->int8_flops >= 1.5 * m->bf16_flops && m->int8_flops <= 4.5 * m->bf16_flops)) fail_msg("%s: int8", m->name);
        if ((m->capability > 0) != !strncmp(m->title, "NVIDIA", 6) || (m->capability > 0 && hone_fp8_on(m->capability) != (m->fp8_flops > 0))) fail_msg("%s: compute capability", m->name);
        if (m->fp8_flops > 0 && !(m->fp8_flops >= 1.95 * m->bf16_flops && m->fp8_flops <= 2.05 * m->bf16_flops)) fail_msg("%s: fp8", m->name);
        if (!(m->bf16_flops / m->bandwidth > 10 && m->bf16_flops / m->bandwidth < 800)) fail_msg("%s: bandwidth", m->name);
        if (!(m->watts >= 50 && m->watts <= 1500)) fail_msg("%s: watts", m->name);
        if ((m->cores == 0) != (m->memory > 0) || (m->cores == 0) != (m->cpu == NULL) || (m->cores == 0) != (m->link > 0) || (m->cores == 0) != (m->host > 0)) fail_msg("%s: neither accelerator nor processor", m->name);
        if (m->memory > 0 && !(m->host <= m->link && m->link < m->bandwidth && m->memory >= 16e9 && m->memory < 1e12)) fail_msg("%s: memory", m->name);
    }
}

// The default of fp8_flops_per_byte is what the machines that have fp8 break even at, within a factor of two: FLOPs by which the time that fp8
// saves is the time of a byte.
static void test_fp8_is_taken_where_these_machines_break_even(void **state)
{
    (void)state;
    hone_recipe recipe;
    run_rig_recipe(&recipe, folder, "");
    int with = 0;
    for (int i = 0; i < hone_hardware_count; i++) {
        const hone_hardware *m = &hone_hardware_table[i];
        if (m->fp8_flops == 0) continue;
        const double even = (1 / (m->bandwidth * HONE_SHARE_OF_BANDWIDTH)) / ((1 / m->bf16_flops - 1 / m->fp8_flops) / HONE_SHARE_OF_FLOPS);
        if (!(even > 204 && even < 526)) fail_msg("%s: %.0f", m->name, even);
        assert_true(recipe.fp8_flops_per_byte / even < 2 && even / recipe.fp8_flops_per_byte < 2);
        with++;
    }
    assert_true(with >= 5);
    hone_recipe_release(&recipe);
}

// The same products at twice the rate, what quantises them beside: reads of both operands' bytes and their codes.
static void test_the_roofline_of_fp8_has_its_rate_and_its_bytes(void **state)
{
    (void)state;
    rig bf16, fp8;
    hone_pace slow, fast, narrow[2];
    open_rig(&bf16, "backend: cuda_planned\nprecision: bf16\nper_device_train_batch_size: 16\n");
    open_rig(&fp8, "backend: cuda_planned\nprecision: fp8\nfp8_flops_per_byte: 0\nper_device_train_batch_size: 16\n");
    const hone_hardware flops = { .name = "x", .title = "x", .f32_flops = 1e3, .bf16_flops = 1e3, .fp8_flops = 2e3, .bandwidth = 1e30, .watts = 10 };
    const hone_hardware bytes = { .name = "y", .title = "y", .f32_flops = 1e30, .bf16_flops = 1e30, .fp8_flops = 2e30, .bandwidth = 1e6 };
    hone_hardware_pace(&bf16.job, &bf16.plan, &flops, 1, &slow);
    hone_hardware_pace(&fp8.job, &fp8.plan, &flops, 1, &fast);
    double halved = 0;
    const hone_program *micro = &fp8.job.graph->program[0];
    for (int64_t n = 0; n < micro->count; n++)
        if (micro->node[n].attr.product == HONE_e4m3) halved += hone_node_flops(fp8.job.graph, &micro->node[n]);
    assert_true(halved > 0);
    assert_near(slow.step_s - fast.step_s, (double)fp8.job.accumulation * halved / 2 / (1e3 * HONE_SHARE_OF_FLOPS));
    hone_hardware_pace(&bf16.job, &bf16.plan, &bytes, 1, &narrow[0]);
    hone_hardware_pace(&fp8.job, &fp8.plan, &bytes, 1, &narrow[1]);
    assert_true(narrow[1].step_s > narrow[0].step_s);   // where bytes are what costs, fp8 loses
    close_rig(&bf16);
    close_rig(&fp8);
}

static void test_the_roofline_is_its_arithmetic(void **state)
{
    (void)state;
    rig r;
    hone_pace one, eight;
    const hone_hardware slow = { .name = "x", .title = "x", .f32_flops = 1e3, .bf16_flops = 1e3, .int8_flops = 1e3, .bandwidth = 1e30, .link = 1, .watts = 10 };
    open_rig(&r, "per_device_train_batch_size: 2\ngradient_accumulation_steps: 3\n");
    hone_hardware_pace(&r.job, &r.plan, &slow, 1, &one);
    // memory is free: the model's FLOPs alone, at the share of peak
    double tokens = 3 * 2 * 37, flops = r.plan.flops_per_token * tokens;
    assert_near(one.step_s, flops / (1e3 * HONE_SHARE_OF_FLOPS));
    hone_hardware_pace(&r.job, &r.plan, &slow, 8, &eight);
    assert_near(eight.step_s - one.step_s, 2 * 7.0 / 8 * (double)r.plan.class_bytes[HONE_CLASS_grad]);
    assert_true(eight.watts == 80 && eight.chips == 8);
    // FLOPs are free: bytes alone, so half the bandwidth takes twice as long
    hone_hardware narrow = { .name = "y", .title = "y", .f32_flops = 1e30, .bf16_flops = 1e30, .bandwidth = 2e6 }, half = narrow;
    half.bandwidth = 1e6;
    hone_hardware_pace(&r.job, &r.plan, &narrow, 1, &one);
    hone_hardware_pace(&r.job, &r.plan, &half, 1, &eight);
    assert_near(eight.step_s, 2 * one.step_s);
    assert_true(one.step_s * 2e6 * HONE_SHARE_OF_BANDWIDTH > 3.0 * (double)r.plan.class_bytes[HONE_CLASS_param]);
    close_rig(&r);
}

static void test_watts_are_the_chips_or_said_to_be_assumed(void **state)
{
    (void)state;
    char how[96];
    assert_near(hone_hardware_watts_here("Intel(R) Xeon(R) Platinum 8480+", 28, how, sizeof how), 175);
    assert_string_equal(how, "350 W by the data sheet for 56 cores, 28 in use");
    assert_near(hone_hardware_watts_here("AMD EPYC 9654 96-Core Processor", 192, how, sizeof how), 720);
    assert_near(hone_hardware_watts_here("some chip", 4, how, sizeof how), 48);
    assert_non_null(strstr(how, "12 W a core"));
}

// --- the verb ---------------------------------------------------------------------------------------------------------

static char *recipe_file(const char *name, const char *more)
{
    hone_recipe recipe;
    char *text, *from = hone_path_join(folder, "recipe.yaml"), *to = hone_path_join(folder, name);
    size_t size;
    run_rig_recipe(&recipe, folder, more);
    hone_recipe_release(&recipe);
    must(hone_file_read(from, &text, &size));
    must(hone_file_write(to, text, size));
    hone_free(text);
    hone_free(from);
    return to;
}

static void must_say(int code, const char *const *argument, const char *const *said)
{
    char *output;
    int got = verb(&output, argument);
    if (got != code) fail_msg("exit code %d, not %d: %s", got, code, output);
    for (; *said; said++) assert_says(output, *said);
    hone_free(output);
}

static void test_plan_says_what_a_run_takes(void **state)
{
    (void)state;
    char *a = recipe_file("a.yaml", "max_steps: 1000\nsave_steps: 100\n"), *b = recipe_file("b.yaml", "max_steps: 2000\nper_device_train_batch_size: 4\n");
    must_say(0, (const char *[]){ "plan", a, NULL }, (const char *[]){ "hone plan  ", "a.yaml\n", "  model       llama 19.4k  f32 products", "  step         296 tokens  1 x 8 rows of 37\n", "exact; of ",
             " tok/s  ", "% of this machine's peak; measured in ", "  run         1,000 steps  296k tokens, ", "  time ", "2 checkpoints of ", "one more while it is written", "  energy ", NULL });
    must_say(0, (const char *[]){ "plan", a, "price_per_hour=2", "gco2_per_kwh=300", NULL }, (const char *[]){ "peak; measured before\n", "  cost ", "  2 an hour\n", "  CO2 ", "  300 g/kWh\n", NULL });
    must_say(0, (const char *[]){ "plan", a, b, "cutoff_len=30", NULL }, (const char *[]){ "hone plan          a.yaml          b.yaml\n", "  step         240 tokens      120 tokens\n",
             "  run         1,000 steps     2,000 steps\n", NULL });
    must_say(0, (const char *[]){ "plan", "--memory", a, NULL }, (const char *[]){ "  parameters ", "by layer, MiB", "weights", NULL });
    must_say(0, (const char *[]){ "plan", a, "max_memory=1MB", NULL }, (const char *[]){ "exact; of 977 KiB\n", "  fits                 no  max_memory is less; lower ", "  speed                 -  not measured: it does not fit\n", NULL });
    must_say(2, (const char *[]){ "plan", NULL }, (const char *[]){ "which recipe?", NULL });
    must_say(1, (const char *[]){ "plan", a, "/no/such.yaml", NULL }, (const char *[]){ "/no/such.yaml", NULL });
    must_say(1, (const char *[]){ "plan", a, "price_per_hour=-1", NULL }, (const char *[]){ "price_per_hour", "[0,)", NULL });
    hone_free(a);
    hone_free(b);
}

// What the plan foretold stands in the run's log, its closing table and its report.
static void test_a_run_puts_measured_beside_planned(void **state)
{
    (void)state;
    char *a = recipe_file("a.yaml", "max_steps: 20\nprice_per_hour: 2\n"), *run = hone_path_join(folder, "out");
    must_say(0, (const char *[]){ "pretrain", a, NULL }, (const char *[]){ " tokens a second  ", "  time  ", " planned, ", " a second (", "  memory ", NULL });
    must_say(0, (const char *[]){ "report", run, NULL }, (const char *[]){ "  tokens a second ", " %\n  time ", " %\n  energy ", "-\n  cost ", NULL });
    hone_free(a);
    hone_free(run);
}

static void test_plan_for_another_machine_says_that_it_is_an_estimate(void **state)
{
    (void)state;
    char *a = recipe_file("a.yaml", "max_tokens: 1000000\n");
    must_say(0, (const char *[]){ "plan", "--on", "h200", a, NULL }, (const char *[]){ "  on one NVIDIA H200 SXM 141 GB\n", "a roofline's estimate, not measured\n", "; of 131 GiB\n",
             "products at 50 % of 67.0 TFLOP/s (f32), 989 TFLOP/s (bf16) or 1.98 PFLOP/s (int8),\n  memory at 80 % of 4.80 TB/s.\n  An estimate: hone has no kernels for it yet.\n", "700 W, by its data sheet, the chip alone", NULL });
    must_say(0, (const char *[]){ "plan", "--on", "8xh100", a, "precision=bf16", NULL }, (const char *[]){ "  on 8 x NVIDIA H100 SXM 80 GB\n", "  step       2,368 tokens  8 chips x 1 x 8 rows of 37\n",
             "products at 50 % of 67.0 TFLOP/s", "links of 450 GB/s, nothing overlapped", "8 x 700 W", NULL });
    must_say(0, (const char *[]){ "plan", "--on", "h100", a, "precision=fp8", "cutoff_len=32", "fp8_flops_per_byte=0", NULL },
             (const char *[]){ "fp8 products, ", "as planned for the cuda backend's", "  numbers             fp8  24 of 25 products; in bf16: embed.tokens (needs more digits)\n", ", products in fp8 at 50 % of 1.98 PFLOP/s", NULL });
    must_say(0, (const char *[]){ "plan", "--on", "h100", a, "precision=fp8", "cutoff_len=32", "--memory", NULL }, (const char *[]){ "(too few FLOPs a byte)", "  in fp8                            0  of 25 products; in bf16: ", NULL });
    must_say(0, (const char *[]){ "plan", "--on", "h200", a, "precision=fp8", "fp8_scaling=block", "cutoff_len=32", "fp8_flops_per_byte=0", NULL },
             (const char *[]){ "fp8 products, ", "  numbers     fp8, blocks  24 of 25 products; in bf16: embed.tokens (needs more digits)\n", ", products in fp8 at 50 % of 1.98 PFLOP/s", NULL });
    const char *const others[][2] = { { "l40s", "NVIDIA L40S 48 GB" }, { "b200", "NVIDIA B200 SXM 180 GB" }, { "mi300x", "AMD Instinct MI300X 192 GB" } };
    for (int i = 0; i < 3; i++)
        must_say(1, (const char *[]){ "plan", "--on", others[i][0], a, "precision=fp8", "fp8_scaling=block", NULL },
                 (const char *[]){ others[i][1], "makes no products in fp8 with a scale for each block, which are for Hopper (H100, H200); use fp8_scaling: tensor, or precision: bf16", NULL });
    must_say(1, (const char *[]){ "plan", "--on", "a100", a, "precision=fp8", NULL }, (const char *[]){ "NVIDIA A100 SXM 80 GB makes no products in fp8; use precision: bf16, or another machine", NULL });
    must_say(0, (const char *[]){ "plan", "--on", "epyc-9654", a, NULL }, (const char *[]){ "  on one AMD EPYC 9654\n", "An estimate: `hone plan` run there measures.\n", NULL });
    must_say(2, (const char *[]){ "plan", "--on", "h20", a, NULL }, (const char *[]){ "--on h20: h20 is not a machine that hone knows; did you mean h200?", NULL });
    must_say(2, (const char *[]){ "plan", "--on", "0xh200", a, NULL }, (const char *[]){ "how many? 1 to ", NULL });
    must_say(2, (const char *[]){ "plan", "--on", "2xepyc-9654", a, NULL }, (const char *[]){ "one processor", NULL });
    must_say(0, (const char *[]){ "plan", "--machines", NULL }, (const char *[]){ "h200 ", "NVIDIA H200 SXM 141 GB", "epyc-9654", NULL });
    hone_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_run_costs_what_its_parts_cost),
        cmocka_unit_test(test_the_limit_that_comes_first_ends_the_run),
        cmocka_unit_test(test_a_mixture_tells_the_epochs_of_each_source),
        cmocka_unit_test(test_rows_of_hardware_are_sane),
        cmocka_unit_test(test_fp8_is_taken_where_these_machines_break_even),
        cmocka_unit_test(test_the_roofline_of_fp8_has_its_rate_and_its_bytes),
        cmocka_unit_test(test_the_roofline_is_its_arithmetic),
        cmocka_unit_test(test_watts_are_the_chips_or_said_to_be_assumed),
        cmocka_unit_test(test_plan_says_what_a_run_takes),
        cmocka_unit_test(test_a_run_puts_measured_beside_planned),
        cmocka_unit_test(test_plan_for_another_machine_says_that_it_is_an_estimate),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
