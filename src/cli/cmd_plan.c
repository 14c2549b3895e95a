// cmd_plan.c: hone plan: what recipes take, before they take it: here or on another machine, one or several side by side.
#include "base/units.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "plan/forecast.h"
#include <stdio.h>
#include <string.h>

enum { MOST_RECIPES = 8 };

typedef struct { hone_recipe recipe; hone_job job; hone_forecast forecast; } planned;

static hone_status print_machines(void)
{
    printf("  %-11s %-30s %7s %7s %7s %7s %9s %10s %8s\n", "--on", "TFLOP/s:", "f32", "bf16", "int8", "fp8", "memory", "bandwidth", "power");
    for (int i = 0; i < hone_hardware_count; i++) {
        const hone_hardware *m = &hone_hardware_table[i];
        char memory[32] = "", fp8[16] = "-";
        if (m->fp8_flops > 0) snprintf(fp8, sizeof fp8, "%.1f", m->fp8_flops * 1e-12);
        if (m->memory > 0) snprintf(memory, sizeof memory, "%.0f GB", m->memory * 1e-9);
        printf("  %-11s %-30s %7.1f %7.1f %7.1f %7s %9s %5.0f GB/s %6.0f W\n", m->name, m->title, m->f32_flops * 1e-12, m->bf16_flops * 1e-12, m->int8_flops * 1e-12, fp8, memory,
               m->bandwidth * 1e-9, m->watts);
    }
    return HONE_OK;
}

static hone_status print_json(const hone_forecast *forecast, int count)
{
    json_t *all = json_array(), *one = NULL;
    hone_status status = HONE_OK;
    for (int i = 0; i < count && !status; i++)
        if (!(status = hone_forecast_json(&forecast[i], &one))) json_array_append_new(all, one);
    if (!status) status = hone_cli_print_json(count == 1 ? json_array_get(all, 0) : all);
    json_decref(all);
    return status;
}

static hone_status print_text(const hone_forecast *forecast, int count, bool memory)
{
    hone_buffer table = { 0 };
    hone_status status = hone_forecast_print(forecast, count, &table);
    for (int i = 0; i < count && memory && !status; i++) {
        status = hone_buffer_print(&table, "\n%s%s", count > 1 ? forecast[i].job->recipe->path : "", count > 1 ? "\n" : "");
        if (!status) status = hone_plan_print(&forecast[i].plan, &table);
    }
    if (!status) fputs(table.data, stdout);
    hone_buffer_release(&table);
    return status;
}

static hone_status open_one(planned *p, const char *path, int keys, char **key, const hone_forecast_options *options)
{
    hone_precision_choice precision;
    hone_forecast_options with = *options;
    hone_status status = hone_recipe_load(&p->recipe, path, keys, key);
    if (status) return status;
    with.precision = &precision;
    if (!(status = hone_hardware_plans(&p->recipe, options->on)) && !(status = hone_precision_choose(&p->recipe, options->on, options->effort, &precision))
        && !(status = hone_job_open(&p->job, &p->recipe))) {
        if (!(status = hone_forecast_make(&p->forecast, &p->job, &with))) return HONE_OK;
        hone_job_close(&p->job);
    }
    hone_recipe_release(&p->recipe);
    return status;
}

static void close_one(planned *p)
{
    hone_forecast_release(&p->forecast);
    hone_job_close(&p->job);
    hone_recipe_release(&p->recipe);
}

// Recipes come first, keys that hold for all of them behind.
static hone_status plan_all(int argc, char **argv, const hone_forecast_options *options, bool json, bool memory)
{
    int recipes = 0, opened = 0;
    while (recipes < argc && !strchr(argv[recipes], '=')) recipes++;
    if (recipes == 0) return hone_fail_usage("plan: which recipe? hone plan RECIPE.yaml");
    if (recipes > MOST_RECIPES) return hone_fail_usage("plan: %d recipes; at most %d stand side by side", recipes, MOST_RECIPES);
    planned *all = hone_alloc((size_t)recipes, sizeof *all);
    hone_forecast *forecast = hone_alloc((size_t)recipes, sizeof *forecast);
    hone_status status = all && forecast ? HONE_OK : HONE_FAILED;
    for (; opened < recipes && !status; opened++) {
        status = open_one(&all[opened], argv[opened], argc - recipes, argv + recipes, options);
        if (status) break;
        forecast[opened] = all[opened].forecast;
    }
    if (!status) status = json ? print_json(forecast, recipes) : print_text(forecast, recipes, memory);
    while (opened-- > 0) close_one(&all[opened]);
    hone_free(forecast);
    hone_free(all);
    return status;
}

hone_status hone_cmd_plan(int argc, char **argv)
{
    bool json = false, memory = false, measure = false, machines = false, done;
    hone_forecast_options o = { .effort = HONE_SPEED_FULL };
    const hone_cli_option options[] = {
        { "on", HONE_CLI_TEXT, &o.on, "MACHINE", "estimate for another machine, as h200 or 8xh100, by its data sheet (a roofline)" },
        { "machines", HONE_CLI_FLAG, &machines, NULL, "list the machines that --on knows" },
        { "memory", HONE_CLI_FLAG, &memory, NULL, "parameters by group, memory by class and layer as well" },
        { "measure", HONE_CLI_FLAG, &measure, NULL, "measure this machine's speed anew, whatever was measured before" },
        { "json", HONE_CLI_FLAG, &json, NULL, "print one JSON object (of several recipes an array), sizes in bytes" }, { 0 } };
    const hone_cli_command command = { "plan", "[options] RECIPE.yaml... [key=value ...]",
        "Says what a run takes before it runs: memory (the arena to the byte), tokens a second, time, disk, energy, with\n"
        "price_per_hour and gco2_per_kwh money and CO2. It builds the very programs that `hone pretrain` runs and times each kind\n"
        "of node in them: some seconds, once for a shape on a machine (`hone pretrain` measures by itself only what takes half a\n"
        "second). Several recipes stand side by side.",
        "hone plan recipes/tiny.yaml per_device_train_batch_size=16", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (machines) return print_machines();
    if (measure) o.effort = HONE_SPEED_ANEW;
    return plan_all(argc, argv, &o, json, memory);
}
