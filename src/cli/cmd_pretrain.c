// cmd_pretrain.c: hone pretrain: trains a model as a recipe says.
#include "cli/args.h"
#include "cli/verbs.h"
#include "train/pretrain.h"
#include <stdio.h>
#include <string.h>

enum { PROFILE_STEPS = 4 };

static hone_status print_keys(const char *how)
{
    hone_buffer text = { 0 };
    if (strcmp(how, "text") == 0) {
        hone_status status = hone_recipe_print_keys(&text);
        if (!status) fputs(text.data, stdout);
        hone_buffer_release(&text);
        return status;
    }
    if (strcmp(how, "json") != 0) return hone_fail_usage("pretrain: --keys %s: must be text or json", how);
    json_t *schema;
    hone_status status = hone_recipe_schema(&schema);
    if (status) return status;
    json_dumpf(schema, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(schema);
    return HONE_OK;
}

hone_status hone_cmd_pretrain(int argc, char **argv)
{
    const char *keys = NULL;
    bool done, profile = false;
    const hone_cli_option options[] = {
        { "keys", HONE_CLI_TEXT, &keys, "text|json", "print all keys of a recipe: a table, or a JSON schema for editors" },
        { "profile", HONE_CLI_FLAG, &profile, NULL, "show where a step's time goes, by phase, op and layer (profile_steps=4), then go on" }, { 0 } };
    const hone_cli_command command = { "pretrain", "[--profile] RECIPE.yaml [key=value ...]",
        "Trains a model, new or given, on prepared text, as the recipe says; key=value overrides the recipe's keys.\n"
        "Everything goes to output_dir: log.jsonl, checkpoints step-N (each a Hugging Face folder) and the final model/.\n"
        "Ctrl-C (or SIGTERM) saves a checkpoint and stops, SIGUSR1 saves and goes on; the same command goes on from the newest\n"
        "whole checkpoint, bit for bit as if it had never stopped. docs/safety.md: what happens when something goes wrong.",
        "hone pretrain recipes/tiny.yaml learning_rate=1e-3 max_time=5m", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (keys) return print_keys(keys);
    if (argc < 1) return hone_fail_usage("pretrain: which recipe? hone pretrain RECIPE.yaml");
    hone_recipe recipe;
    if ((status = hone_recipe_load(&recipe, argv[0], argc - 1, argv + 1))) return status;
    if (profile && recipe.profile_steps == 0) recipe.profile_steps = PROFILE_STEPS;
    status = hone_pretrain(&recipe, stdout);
    hone_recipe_release(&recipe);
    return status;
}
