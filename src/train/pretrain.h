// pretrain.h: a whole training run: plan, resume or start, steps, evaluations, samples, checkpoints, the final model.
//
//     output_dir/log.jsonl         what happened, one JSON object a line (run/log.h)
//     output_dir/step-N/           checkpoints, each a Hugging Face folder with the optimizer's state beside the weights
//     output_dir/model/            the final model: a Hugging Face folder (adapter/ where adapters were trained: tune.h)
#pragma once
#include "recipe/recipe.h"
#include <stdio.h>

// Shows its progress on `out`. A run that was stopped by a signal returns its exit code (128 + signal) after it saved.
hone_status hone_pretrain(const hone_recipe *recipe, FILE *out);
