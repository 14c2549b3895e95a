// value.h: inside recipe/ only: texts to values by the type column of keys.def.
#pragma once
#include "recipe/recipe.h"

// Parses `text` into the member that `key` names. The message has no place yet: "learning_rate: 'x' is not a number".
hone_status hone_value_set(hone_recipe *recipe, const hone_key *key, const char *text);
hone_status hone_value_append(hone_recipe *recipe, const hone_key *key, const char *text);    // list: one item more
void hone_value_release(hone_recipe *recipe, const hone_key *key);
hone_status hone_value_defaults(hone_recipe *recipe);
// YAML's own reading of an unquoted scalar: null, true, 12, 1.5e-3, else text.
json_t *hone_value_plain_json(const char *text);

static inline void *hone_value_at(const hone_recipe *recipe, const hone_key *key) { return (char *)(uintptr_t)recipe + key->offset; }
// YAML (file and overrides) into a recipe whose defaults are set.
hone_status hone_yaml_parse(hone_recipe *recipe, const char *path, const char *text, size_t size);
hone_status hone_yaml_load(hone_recipe *recipe, const char *path);
hone_status hone_yaml_override(hone_recipe *recipe, const char *text);
hone_status hone_key_choices(const hone_key *key, const char *separator, hone_buffer *out);  // "cosine, linear, ..."
