// cmd_tune.c: hone tune: goes on training a model that exists, whole or by adapters.
#include "cli/args.h"
#include "cli/verbs.h"
#include "train/tune.h"
#include <stdio.h>

hone_status hone_cmd_tune(int argc, char **argv)
{
    bool done;
    const hone_cli_option options[] = { { 0 } };
    const hone_cli_command command = { "tune", "RECIPE.yaml [key=value ...]",
        "Trains the model of model_name_or_path further, as the recipe says; key=value overrides the recipe's keys.\n"
        "finetuning_type: full trains every weight and ends in output_dir/model/. lora trains low-rank factors of frozen matrices\n"
        "and ends in output_dir/adapter/, a PEFT folder: give it to generate, score and eval with --adapter, to PEFT,\n"
        "or make a model of its own of it with hone merge. qlora is lora with the frozen matrices kept in few bits (quantization_type);\n"
        "use_dora: true trains the lengths of rows beside their directions. stage: dpo learns which of two replies is better from pairs.\n"
        "Data, checkpoints, stopping and going on are those of hone pretrain.",
        "hone tune recipe.yaml finetuning_type=lora lora_rank=16 max_steps=500", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc < 1) return hone_fail_usage("tune: which recipe? hone tune RECIPE.yaml");
    hone_recipe recipe;
    if ((status = hone_recipe_load(&recipe, argv[0], argc - 1, argv + 1))) return status;
    status = hone_tune(&recipe, stdout);
    hone_recipe_release(&recipe);
    return status;
}
