// tune.h: fine-tuning: the training run of pretrain.h from a model that exists.
//
//     finetuning_type: full     output_dir/model/     as of pretraining
//     finetuning_type: lora     output_dir/adapter/   a PEFT folder (io/peft.h), and so is each checkpoint step-N/: the frozen model is
//                               not copied, but known by its hash
#pragma once
#include "recipe/recipe.h"
#include <stdio.h>

hone_status hone_tune(const hone_recipe *recipe, FILE *out);
