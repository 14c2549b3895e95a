// recipe.c: the life of a recipe: defaults, then the file, then the command line; and what no single key can tell.
#include "recipe/value.h"
#include <string.h>

// Rules between keys. What needs the model or the data is judged by train/.
static hone_status check(const hone_recipe *recipe)
{
    if (recipe->warmup_steps > 0 && recipe->warmup_ratio > 0)
        return hone_recipe_fail(recipe, HONE_KEY_warmup_ratio, NULL, "warmup_ratio and warmup_steps are both given; keep one");
    if (json_object_size(recipe->model) > 0 && recipe->model_name_or_path[0])
        return hone_recipe_fail(recipe, HONE_KEY_model_name_or_path, NULL,
                                "model and model_name_or_path are both given: start a new model or continue one");
    if (json_array_size(recipe->datasets) > 0 && recipe->dataset[0])
        return hone_recipe_fail(recipe, HONE_KEY_dataset, NULL, "dataset and datasets are both given: name one source, or a list of them");
    return HONE_OK;
}

static hone_status load(hone_recipe *recipe, const char *path, const char *text, int n_override, char *const *override)
{
    *recipe = (hone_recipe){ 0 };
    hone_status status = HONE_FAILED;
    if (!(recipe->path = hone_strdup(path ? path : "")) || hone_value_defaults(recipe) != HONE_OK) goto out;
    if (text) status = hone_yaml_parse(recipe, path, text, strlen(text));
    else status = path ? hone_yaml_load(recipe, path) : HONE_OK;
    for (int i = 0; i < n_override && status == HONE_OK; i++) status = hone_yaml_override(recipe, override[i]);
    if (status == HONE_OK) status = check(recipe);
out:
    if (status != HONE_OK) hone_recipe_release(recipe);
    return status;
}

hone_status hone_recipe_load(hone_recipe *recipe, const char *path, int n_override, char *const *override)
{
    return load(recipe, path, NULL, n_override, override);
}

hone_status hone_recipe_parse(hone_recipe *recipe, const char *where, const char *text, int n_override, char *const *override)
{
    return load(recipe, where, text, n_override, override);
}

void hone_recipe_release(hone_recipe *recipe)
{
    for (int k = 0; k < HONE_KEY_COUNT; k++) hone_value_release(recipe, &hone_key_table[k]);
    for (int64_t i = 0; i < recipe->n_entry; i++) {
        hone_free(recipe->entry[i].member);
        hone_free(recipe->entry[i].line_text);
    }
    hone_free(recipe->entry);
    hone_free(recipe->path);
    *recipe = (hone_recipe){ 0 };
}
