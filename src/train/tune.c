// tune.c: see tune.h.
#include "train/tune.h"
#include "train/run.h"

hone_status hone_tune(const hone_recipe *recipe, FILE *out)
{
    if (!recipe->model_name_or_path[0])
        return hone_recipe_fail(recipe, HONE_KEY_model_name_or_path, NULL, "tune starts from a model that exists: give model_name_or_path; `hone pretrain` trains a new one");
    return hone_run_recipe(recipe, "hone tune", out);
}
