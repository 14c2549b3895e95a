// cmd_plan.c: hone plan: what a recipe takes, before it takes it.
#include "cli/args.h"
#include "cli/verbs.h"
#include "plan/memory.h"
#include <stdio.h>

static hone_status print(const hone_plan *plan, const hone_job *job, bool as_json)
{
    if (as_json) {
        json_t *json;
        hone_status status = hone_plan_json(plan, &json);
        if (status) return status;
        status = hone_cli_print_json(json);
        json_decref(json);
        return status;
    }
    hone_buffer table = { 0 };
    hone_status status = hone_plan_print(plan, &table);
    if (!status)
        printf("hone plan  %s  %s  %lld x %lld x %lld tokens a step\n%s", job->recipe->path, job->config.family->model_type,
               (long long)job->accumulation, (long long)job->rows, (long long)job->T, table.data);
    hone_buffer_release(&table);
    return status;
}

hone_status hone_cmd_plan(int argc, char **argv)
{
    bool json = false, done;
    const hone_cli_option options[] = { { "json", HONE_CLI_FLAG, &json, NULL, "print one JSON object, sizes in bytes" }, { 0 } };
    const hone_cli_command command = { "plan", "[--json] RECIPE.yaml [key=value ...]",
        "Says what a recipe takes before anything runs: parameters by group, memory by class, the arena to the byte, the\n"
        "whole process, FLOPs a token. It builds the very programs that `hone pretrain` runs, but allocates no arena.",
        "hone plan recipes/tiny.yaml per_device_train_batch_size=16", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc < 1) return hone_fail_usage("plan: which recipe? hone plan RECIPE.yaml");
    hone_recipe recipe;
    if ((status = hone_recipe_load(&recipe, argv[0], argc - 1, argv + 1))) return status;
    hone_job job;
    if (!(status = hone_job_open(&job, &recipe))) {
        hone_plan plan;
        if (!(status = hone_plan_make(&job, &plan))) {
            status = print(&plan, &job, json);
            hone_plan_release(&plan);
        }
        hone_job_close(&job);
    }
    hone_recipe_release(&recipe);
    return status;
}
