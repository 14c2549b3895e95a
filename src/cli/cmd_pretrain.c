// cmd_pretrain.c: hone pretrain: trains a model as a recipe says.
#include "cli/args.h"
#include "cli/verbs.h"
#include "train/pretrain.h"
#include <stdio.h>

enum { PROFILE_STEPS = 4 };

hone_status hone_cmd_pretrain(int argc, char **argv)
{
    bool done, profile = false;
    const hone_cli_option options[] = {
        { "profile", HONE_CLI_FLAG, &profile, NULL, "show where a step's time goes, by phase, op and layer (profile_steps=4), then go on" }, { 0 } };
    const hone_cli_command command = { "pretrain", "[--profile] RECIPE.yaml [key=value ...]",
        "Trains a model, new or given, on prepared text, as the recipe says; key=value overrides the recipe's keys\n"
        "(hone schema --format text lists them all).\n"
        "Everything goes to output_dir: log.jsonl, checkpoints step-N (each a Hugging Face folder) and the final model/.\n"
        "Ctrl-C (or SIGTERM) saves a checkpoint and stops, SIGUSR1 saves and goes on; the same command goes on from the newest\n"
        "whole checkpoint, bit for bit as if it had never stopped. docs/safety.md: what happens when something goes wrong.",
        "hone pretrain recipes/tiny.yaml learning_rate=1e-3 max_time=5m", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc < 1) return hone_fail_usage("pretrain: which recipe? hone pretrain RECIPE.yaml");
    hone_recipe recipe;
    if ((status = hone_recipe_load(&recipe, argv[0], argc - 1, argv + 1))) return status;
    if (profile && recipe.profile_steps == 0) recipe.profile_steps = PROFILE_STEPS;
    status = hone_pretrain(&recipe, stdout);
    hone_recipe_release(&recipe);
    return status;
}
