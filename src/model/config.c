// config.c: config.json as a whole: the family by name, its keys by table, then the checks that no key can make alone.
#include "model/config_keys.h"
#include "base/memory.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

// So large that nobody needs more, so small that no byte count below overflows 63 bits:
// L <= 2^14, C, F, H D <= 2^20, V and P <= 2^31: L (C H D + ...) 4 < 2^59.
enum { MAX_LAYERS = 1 << 14, MAX_WIDTH = 1 << 20 };

// The name of a weight in one of a row of blocks.
static const char in_layer[] = "{layer}";

static void write_name(char *name, size_t size, const char *pattern, int64_t layer)
{
    const char *at = strstr(pattern, in_layer);
    const int n = at ? snprintf(name, size, "%.*s%" PRId64 "%s", (int)(at - pattern), pattern, layer, at + strlen(in_layer)) : snprintf(name, size, "%s", pattern);
    HONE_ASSERT(n >= 0 && (size_t)n < size, "%s is too long a name", pattern);
}

bool hone_weight_is_layered(const char *pattern) { return strstr(pattern, in_layer) != NULL; }

char *hone_weight_name(const char *pattern, int64_t layer)
{
    char name[160];
    write_name(name, sizeof name, pattern, layer);
    return hone_strdup(name);
}

bool hone_weight_matches(const char *pattern, const char *name)
{
    const char *at = strstr(pattern, in_layer);
    if (!at) return strcmp(pattern, name) == 0;
    size_t front = (size_t)(at - pattern);
    if (strncmp(pattern, name, front) != 0) return false;
    size_t digits = strspn(name + front, "0123456789");
    return digits > 0 && strcmp(name + front + digits, at + strlen(in_layer)) == 0;
}

hone_tid hone_weight_find(const hone_graph *graph, const char *pattern, int64_t layer)
{
    char name[80];
    write_name(name, sizeof name, pattern, layer);
    return hone_graph_find(graph, name);
}

bool hone_config_has(const hone_config *config, const char *when, int64_t layer)
{
    if (!when[0]) return true;
    if (strcmp(when, "qkv_bias") == 0) return config->qkv_bias;
    if (strcmp(when, "out_bias") == 0) return config->out_bias;
    if (strcmp(when, "mlp_bias") == 0) return config->mlp_bias;
    if (strcmp(when, "qk_norm") == 0) return config->qk_norm;
    if (strcmp(when, "norm_bias") == 0) return config->norm == HONE_NORM_LAYER;
    if (strcmp(when, "gated") == 0) return hone_config_gated(config);
    if (strcmp(when, "gate_bias") == 0) return hone_config_gated(config) && config->mlp_bias;
    if (strcmp(when, "untied") == 0) return !config->tied;
    if (strcmp(when, "value_table") == 0) return layer < config->value_embeddings;
    if (strcmp(when, "value_gain") == 0) return hone_config_value_table(config, layer) >= 0;
    if (strcmp(when, "skip_gain") == 0) return hone_config_skip_from(config, layer) >= 0;
    HONE_ASSERT(false, "families.def: no switch is called %s", when);
    return false;
}

static hone_status check_sizes(const hone_config *c, const char *where)
{
    for (int i = 0; i < c->family->n_key; i++) {
        const hone_key_row *row = &c->family->key[i];
        int64_t value = row->kind == HONE_KEY_SIZE ? *(const int64_t *)((const char *)c + row->field) : 1;
        if (value < 1 || value > INT32_MAX)
            return hone_fail("%s: %s is %" PRId64 "; it must be from 1 to %d", where, row->key, value, INT32_MAX);
    }
    const char *heads = HONE_KEY_OF(c, heads), *width = HONE_KEY_OF(c, width);
    if (c->layers > MAX_LAYERS) return hone_fail("%s: %s is %" PRId64 "; hone goes up to %d", where, HONE_KEY_OF(c, layers), c->layers, MAX_LAYERS);
    if (c->width > MAX_WIDTH || c->mlp_width > MAX_WIDTH || c->heads * c->head_dim > MAX_WIDTH)
        return hone_fail("%s: %s %" PRId64 ", %s %" PRId64 " and %s x head size %" PRId64 " x %" PRId64 " may be %d at most each", where,
                         width, c->width, HONE_KEY_OF(c, mlp_width), c->mlp_width, heads, c->heads, c->head_dim, MAX_WIDTH);
    if (c->kv_heads < 1 || c->heads % c->kv_heads != 0)
        return hone_fail("%s: %s %" PRId64 " is not a multiple of num_key_value_heads %" PRId64 "; each key head serves equally many query heads",
                         where, heads, c->heads, c->kv_heads);
    if (c->heads_divide_width && c->width % c->heads != 0)
        return hone_fail("%s: %s %" PRId64 " is not a multiple of %s %" PRId64, where, width, c->width, heads, c->heads);
    if (c->rope != HONE_ROPE_NONE && c->rope_part == 0 && c->head_dim % 2 != 0)
        return hone_fail("%s: head size %" PRId64 " is odd; rotary embedding turns pairs, choose an even one", where, c->head_dim);
    if (!(c->rope_part >= 0 && c->rope_part < 1) || (c->rope_part > 0 && (hone_config_rotated(c) < 2 || hone_config_rotated(c) % 2 != 0)))
        return hone_fail("%s: partial_rotary_factor %g of head size %" PRId64 " is not an even number of columns from 2 on", where, c->rope_part, c->head_dim);
    return HONE_OK;
}

// What is between layers needs enough of them.
static hone_status check_layers(const hone_config *c, const char *where)
{
    if (c->value_embeddings < 0 || c->value_embeddings > c->layers / 2)
        return hone_fail("%s: value_embeddings is %" PRId64 ", but the first layers and the last share so many tables, and there are %" PRId64
                         " layers; it must be from 0 to %" PRId64, where, c->value_embeddings, c->layers, c->layers / 2);
    if (c->skip_connections && c->layers < 2)
        return hone_fail("%s: skip_connections is true, but they lead from the first half of the layers to the last, and there is one layer; "
                         "set it to false, or num_hidden_layers to 2 at least", where);
    return HONE_OK;
}

static hone_status check_numbers(const hone_config *c, const char *where)
{
    if (!(c->norm_eps > 0 && c->norm_eps < 1)) return hone_fail("%s: %s is %g; it must be above 0 and below 1", where, HONE_KEY_OF(c, norm_eps), c->norm_eps);
    if (!(c->init_std >= 0 && c->init_std <= 1)) return hone_fail("%s: %s is %g; it must be from 0 to 1", where, HONE_KEY_OF(c, init_std), c->init_std);
    if (!(c->softcap >= 0 && isfinite(c->softcap)))
        return hone_fail("%s: %s is %g; it must be above 0, or 0 for logits as they are", where, HONE_KEY_OF(c, softcap), c->softcap);
    if (!(c->attention_cap >= 0 && isfinite(c->attention_cap)))
        return hone_fail("%s: %s is %g; it must be above 0, or null for scores as they are", where, HONE_KEY_OF(c, attention_cap), c->attention_cap);
    const size_t scales[] = { offsetof(hone_config, embed_scale), offsetof(hone_config, residual_scale), offsetof(hone_config, logit_scale), offsetof(hone_config, attention_scale) };
    for (int i = 0; i < 4; i++) {
        const char *key = hone_config_key_of(c, scales[i]);
        const double value = *(const double *)((const char *)c + scales[i]);
        if (key ? !(value > 0 && value < 1e6) : value != 0) return hone_fail("%s: %s is %g; it must be above 0 and below 1e6", where, key ? key : "a multiplier", value);
    }
    if (c->rope != HONE_ROPE_NONE && !(c->rope_theta > 0 && isfinite(c->rope_theta)))
        return hone_fail("%s: rope_theta is %g; it must be above 0", where, c->rope_theta);
    if (HONE_KEY_OF(c, rope_local) ? !(c->rope_local > 0 && isfinite(c->rope_local)) : c->rope_local != 0)
        return hone_fail("%s: rope_theta of layers with a window is %g; it must be above 0", where, c->rope_local);
    if ((c->rope == HONE_ROPE_LINEAR || c->rope == HONE_ROPE_LLAMA3) && !(c->rope_factor >= 1 && isfinite(c->rope_factor)))
        return hone_fail("%s: rope_parameters: factor is %g; it must be 1 or more", where, c->rope_factor);
    if (c->rope == HONE_ROPE_LLAMA3) {
        if (!(c->rope_low > 0 && c->rope_low < c->rope_high && isfinite(c->rope_high)))
            return hone_fail("%s: rope_parameters: low_freq_factor %g must be above 0 and below high_freq_factor %g", where, c->rope_low, c->rope_high);
        if (c->rope_original < 1 || c->rope_original > INT32_MAX)
            return hone_fail("%s: rope_parameters: original_max_position_embeddings is %" PRId64 "; it must be from 1 to %d", where, c->rope_original, INT32_MAX);
    }
    if (c->window < 0 || c->window > INT32_MAX || c->window_from < 0 || c->window_from > c->layers)
        return hone_fail("%s: sliding window %" PRId64 " from layer %" PRId64 "; the window must be 0 (none) or more and the layer one of %" PRId64,
                         where, c->window, c->window_from, c->layers);
    for (int64_t i = -2; i < c->n_eos; i++) {
        int64_t id = i == -2 ? c->bos : i == -1 ? c->pad : c->eos[i];
        if (id < -1 || id >= c->vocab || (i >= 0 && id < 0))
            return hone_fail("%s: special token id %" PRId64 " is outside the vocabulary of %" PRId64, where, id, c->vocab);
    }
    return HONE_OK;
}

hone_status hone_config_read(hone_config *config, const json_t *json, const char *where)
{
    const char *type = NULL;
    if (!json_is_object(json)) return hone_fail("%s: must be a JSON object with the keys of a Hugging Face config.json", where);
    hone_status status = hone_json_text(json, "model_type", where, true, &type);
    if (status) return status;
    const hone_family *family = hone_family_find(type);
    if (!family) {
        hone_buffer known = { 0 };
        for (int i = 0; hone_family_at(i); i++) hone_buffer_print(&known, "%s%s", i ? ", " : "", hone_family_at(i)->model_type);
        status = hone_fail("%s: model_type \"%.60s\" is not a family that hone has: %s", where, type, known.data ? known.data : "");
        hone_buffer_release(&known);
        return status;
    }
    const json_t *quantized = json_object_get(json, "quantization_config");
    if (quantized && !json_is_null(quantized))
        return hone_fail("%s: quantization_config: these weights are quantised; hone reads f32, bf16 and f16, fetch the original model", where);

    *config = family->switches;
    config->family = family;
    for (int i = 0; i < family->n_key; i++)
        if ((status = hone_config_read_key(config, &family->key[i], json, where))) return status;

    if (config->mlp_width == HONE_CONFIG_UNSET) config->mlp_width = 4 * config->width;
    if (config->kv_heads == HONE_CONFIG_UNSET || !HONE_KEY_OF(config, kv_heads)) config->kv_heads = config->heads;
    if (config->head_dim == HONE_CONFIG_UNSET || !HONE_KEY_OF(config, head_dim)) {
        if (config->width % config->heads != 0)
            return hone_fail("%s: %s %" PRId64 " is not a multiple of %s %" PRId64, where, HONE_KEY_OF(config, width), config->width,
                             HONE_KEY_OF(config, heads), config->heads);
        config->head_dim = config->width / config->heads;
    }
    if ((status = check_sizes(config, where)) || (status = check_layers(config, where))) return status;
    return check_numbers(config, where);
}

hone_status hone_config_write(const hone_config *config, const char *where, json_t **json)
{
    hone_status status = HONE_OK;
    json_t *out = json_object(), *architectures = json_array();
    int bad = json_array_append_new(architectures, json_string(config->family->architecture));
    bad |= json_object_set_new(out, "architectures", architectures);
    bad |= json_object_set_new(out, "model_type", json_string(config->family->model_type));
    bad |= json_object_set_new(out, "dtype", json_string("float32"));
    if (bad) status = hone_fail("%s: out of memory", where);
    for (int i = 0; !status && i < config->family->n_key; i++) status = hone_config_write_key(config, &config->family->key[i], out);
    if (status) json_decref(out);
    else *json = out;
    return status;
}

static const char *first_difference(const hone_config *a, const hone_config *b)
{
#define DIFFERS(field) if (a->field != b->field) return #field
    DIFFERS(vocab); DIFFERS(width); DIFFERS(mlp_width); DIFFERS(layers); DIFFERS(heads); DIFFERS(kv_heads); DIFFERS(head_dim);
    DIFFERS(max_positions); DIFFERS(norm); DIFFERS(mlp); DIFFERS(rope); DIFFERS(norm_eps); DIFFERS(rope_theta); DIFFERS(init_std);
    DIFFERS(rope_factor); DIFFERS(rope_low); DIFFERS(rope_high); DIFFERS(rope_original); DIFFERS(window); DIFFERS(window_from);
    DIFFERS(tied); DIFFERS(qkv_bias); DIFFERS(out_bias); DIFFERS(mlp_bias); DIFFERS(qk_norm); DIFFERS(qk_whole); DIFFERS(norms); DIFFERS(attention_cap); DIFFERS(embed_root); DIFFERS(full_every); DIFFERS(init_scaled);
    DIFFERS(softcap); DIFFERS(rope_part); DIFFERS(rope_local); DIFFERS(embed_scale); DIFFERS(residual_scale); DIFFERS(logit_scale); DIFFERS(attention_scale);
    DIFFERS(value_embeddings); DIFFERS(skip_connections); DIFFERS(norm_base); DIFFERS(own); DIFFERS(heads_divide_width); DIFFERS(bos); DIFFERS(pad); DIFFERS(n_eos);
    for (int64_t i = 0; i < a->n_eos; i++) DIFFERS(eos[i]);
#undef DIFFERS
    return NULL;
}

// The last check writes the config and reads it back: what the family's config.json cannot say, the family does not have.
hone_status hone_config_check(const hone_config *config, const char *where)
{
    hone_status status;
    json_t *json = NULL;
    hone_config again;
    if (config->n_eos < 0 || config->n_eos > HONE_MAX_EOS)
        return hone_fail("%s: %" PRId64 " end tokens; hone keeps up to %d", where, config->n_eos, HONE_MAX_EOS);
    if ((status = check_sizes(config, where)) || (status = check_layers(config, where)) || (status = check_numbers(config, where))) return status;
    if ((status = hone_config_write(config, where, &json))) return status;
    status = hone_config_read(&again, json, where);
    json_decref(json);
    if (status) return status;
    const char *field = first_difference(config, &again);
    return field ? hone_fail("%s: a %s model cannot have this value of %s", where, config->family->model_type, field) : HONE_OK;
}

hone_status hone_config_load(hone_config *config, const char *path)
{
    json_t *json = NULL;
    hone_status status = hone_json_load(path, &json);
    if (!status) status = hone_config_read(config, json, path);
    json_decref(json);
    return status;
}

hone_status hone_config_save(const hone_config *config, const char *path)
{
    json_t *json = NULL;
    hone_status status = hone_config_check(config, path);
    if (!status) status = hone_config_write(config, path, &json);
    if (!status) status = hone_json_save(path, json);
    json_decref(json);
    return status;
}
