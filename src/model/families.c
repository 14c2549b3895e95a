// families.c: families.def expanded into tables, three times: keys, weights, families.
#include "model/config.h"
#include <string.h>

#define REQUIRED HONE_KEY_REQUIRED
#define DERIVED HONE_KEY_DERIVED

// 1: keys
#define KEYS(list) static const hone_key_row list##_keys[] = {
#define KEY(kind, key, field, fallback) { HONE_KEY_##kind, key, offsetof(hone_config, field), fallback, NULL },
#define CHOICE(key, field, fallback, text) { HONE_KEY_CHOICE, key, offsetof(hone_config, field), fallback, text },
#define FIXED(key, text) { HONE_KEY_FIXED, key, 0, 0, text },
#define NOTE(key, text) { HONE_KEY_NOTE, key, 0, 0, text },
#define KEYS_END };
#define WEIGHTS(list)
#define WEIGHT_ROW(name, param, when, part, parts, transposed)
#define WEIGHTS_END
#define FAMILY(...)
#define WEIGHT(name, param, when) WEIGHT_ROW(name, param, when, 0, 1, false)
#define WEIGHT_T(name, param, when) WEIGHT_ROW(name, param, when, 0, 1, true)
#define WEIGHT_PART(name, param, when, part, parts) WEIGHT_ROW(name, param, when, part, parts, false)
#define WEIGHT_PART_T(name, param, when, part, parts) WEIGHT_ROW(name, param, when, part, parts, true)
#define IGNORED(name) WEIGHT_ROW(name, NULL, "", 0, 1, false)
#include "model/families.def"

// 2: weights
#undef KEYS
#undef KEY
#undef CHOICE
#undef FIXED
#undef NOTE
#undef KEYS_END
#undef WEIGHTS
#undef WEIGHT_ROW
#undef WEIGHTS_END
#define KEYS(list)
#define KEY(kind, key, field, fallback)
#define CHOICE(key, field, fallback, text)
#define FIXED(key, text)
#define NOTE(key, text)
#define KEYS_END
#define WEIGHTS(list) static const hone_weight_row list##_weights[] = {
#define WEIGHT_ROW(name, param, when, part, parts, transposed) { name, param, part, parts, transposed, when },
#define WEIGHTS_END };
#include "model/families.def"

// 3: families
#undef WEIGHTS
#undef WEIGHT_ROW
#undef WEIGHTS_END
#undef FAMILY
#define WEIGHTS(list)
#define WEIGHT_ROW(name, param, when, part, parts, transposed)
#define WEIGHTS_END
#define COUNT(array) (int)(sizeof array / sizeof array[0])
#define FAMILY(type, architecture, prefix, keys, weights, ...) \
    { type, architecture, prefix, keys##_keys, COUNT(keys##_keys), weights##_weights, COUNT(weights##_weights), { __VA_ARGS__ } },
static const hone_family families[] = {
#include "model/families.def"
};

const hone_family *hone_family_at(int index)
{
    return index >= 0 && index < COUNT(families) ? &families[index] : NULL;
}

bool hone_family_transposes(const hone_family *family)
{
    for (int r = 0; r < family->n_row; r++)
        if (family->row[r].transposed) return true;
    return false;
}

const hone_family *hone_family_find(const char *model_type)
{
    for (int i = 0; i < COUNT(families); i++)
        if (strcmp(families[i].model_type, model_type) == 0) return &families[i];
    return NULL;
}
