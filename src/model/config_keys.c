// config_keys.c: one row of a family's key table <-> one field of hone_config, by kind of key.
//
// Absent and null differ: an absent token id has the family's default, as transformers reads it; null says "none".
#include "model/config_keys.h"
#include "base/memory.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static int64_t *int_field(hone_config *config, const hone_key_row *row) { return (int64_t *)((char *)config + row->field); }
static double *real_field(hone_config *config, const hone_key_row *row) { return (double *)((char *)config + row->field); }
static unsigned *enum_field(hone_config *config, const hone_key_row *row) { return (unsigned *)((char *)config + row->field); }
static bool *flag_field(hone_config *config, const hone_key_row *row) { return (bool *)((char *)config + row->field); }

const char *hone_config_key_of(const hone_config *config, size_t field)
{
    for (int i = 0; i < config->family->n_key; i++) {
        const hone_key_row *row = &config->family->key[i];
        if (row->field == field && row->kind != HONE_KEY_FIXED && row->kind != HONE_KEY_NOTE) return row->key;
    }
    return NULL;
}

static hone_status read_size(int64_t *field, const hone_key_row *row, const json_t *json, const char *where)
{
    const json_t *value = json_object_get(json, row->key);
    if (!value || json_is_null(value)) {
        if (row->fallback == HONE_KEY_REQUIRED)
            return hone_fail("%s: %s is missing; a model's sizes have no defaults, so add it (or fetch the file again)", where, row->key);
        *field = row->fallback == HONE_KEY_DERIVED ? HONE_CONFIG_UNSET : (int64_t)row->fallback;
        return HONE_OK;
    }
    hone_status status = hone_json_int(json, row->key, where, true, field);
    if (status) return status;
    if (*field < 1 || *field > INT32_MAX)
        return hone_fail("%s: %s is %" PRId64 "; it must be from 1 to %d", where, row->key, *field, INT32_MAX);
    return HONE_OK;
}

static hone_status read_count(int64_t *field, const hone_key_row *row, const json_t *json, const char *where)
{
    *field = (int64_t)row->fallback;
    const hone_status status = hone_json_int(json, row->key, where, false, field);
    if (status) return status;
    return *field >= 0 && *field <= INT32_MAX ? HONE_OK : hone_fail("%s: %s is %" PRId64 "; it must be from 0 to %d", where, row->key, *field, INT32_MAX);
}

// A token id that the vocabulary lacks can never be met: some configs keep a default of another model, so it means none.
static hone_status read_token(const hone_config *config, const char *key, const json_t *value, const char *where, int64_t *out)
{
    if (json_is_null(value)) {
        *out = -1;
        return HONE_OK;
    }
    if (!json_is_integer(value)) return hone_fail("%s: %s must be a token id or null", where, key);
    *out = json_integer_value(value);
    if (*out < -1 || *out >= config->vocab) {
        hone_warn("%s: %s %" PRId64 " is outside the vocabulary of %" PRId64 "; hone goes on without one", where, key, *out, config->vocab);
        *out = -1;
    }
    return HONE_OK;
}

static hone_status read_tokens(hone_config *config, const hone_key_row *row, const json_t *json, const char *where)
{
    const json_t *value = json_object_get(json, row->key);
    int64_t *list = int_field(config, row), count = 0;
    size_t given = json_is_array(value) ? json_array_size(value) : 1;
    if (given > HONE_MAX_EOS) return hone_fail("%s: %s lists %zu ids; hone keeps up to %d", where, row->key, given, HONE_MAX_EOS);
    for (size_t i = 0; i < given; i++) {
        int64_t id = (int64_t)row->fallback < config->vocab ? (int64_t)row->fallback : -1;
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        if (item) {
            hone_status status = read_token(config, row->key, item, where, &id);
            if (status) return status;
        }
        if (id >= 0) list[count++] = id;
    }
    config->n_eos = count;
    return HONE_OK;
}

static hone_status read_fixed(const hone_config *config, const hone_key_row *row, const json_t *json, const char *where)
{
    const json_t *value = json_object_get(json, row->key);
    if (!value) return HONE_OK;
    json_t *accepted = NULL;
    hone_status status = hone_json_parse("families.def", row->text, strlen(row->text), &accepted);
    if (status) return status;
    bool found = false;
    for (size_t i = 0; i < json_array_size(accepted); i++) found = found || json_equal(json_array_get(accepted, i), value);
    json_decref(accepted);
    if (found) return HONE_OK;
    char *text = hone_json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    status = hone_fail("%s: %s is %.80s; for %s hone has %s", where, row->key, text ? text : "?", config->family->model_type, row->text);
    hone_free(text);
    return status;
}

static hone_status read_choice(hone_config *config, const hone_key_row *row, const json_t *json, const char *where)
{
    const json_t *value = json_object_get(json, row->key);
    *enum_field(config, row) = (unsigned)row->fallback;
    if (!value) return HONE_OK;
    hone_status status = read_fixed(config, row, json, where);
    json_t *names = NULL;
    if (!status) status = hone_json_parse("families.def", row->text, strlen(row->text), &names);
    for (size_t i = 0; i < json_array_size(names); i++)
        if (json_equal(json_array_get(names, i), value)) *enum_field(config, row) = (unsigned)i;
    json_decref(names);
    return status;
}

static const struct { const char *name; hone_rope rope; } rope_types[] = {
    { "default", HONE_ROPE_PLAIN }, { "linear", HONE_ROPE_LINEAR }, { "llama3", HONE_ROPE_LLAMA3 },
};

// Of rope_parameters {full_attention: {...}, sliding_attention: {...}} what one kind of layer has; NULL: nothing there.
static const json_t *rope_of_kind(const json_t *json, const char *kind)
{
    const json_t *values = json_object_get(json_object_get(json, "rope_parameters"), kind);
    return json_is_object(values) ? values : NULL;
}

// The older style has rope_theta beside rope_scaling {type or rope_type, ...}; transformers 5 has all in rope_parameters.
// Precedence as there: rope_scaling where it is given, and a rope_theta inside before one outside.
static hone_status read_rope(hone_config *config, const hone_key_row *row, const json_t *json, const char *where)
{
    const char *name = "rope_scaling";
    const json_t *values = json_object_get(json, name);
    if (!values || json_is_null(values) || (json_is_object(values) && json_object_size(values) == 0))
        values = json_object_get(json, name = "rope_parameters");
    if (json_is_null(values)) values = NULL;
    if (values && !json_is_object(values)) return hone_fail("%s: %s must be an object or null", where, name);
    const json_t *full = HONE_KEY_OF(config, rope_local) ? rope_of_kind(json, "full_attention") : NULL;
    if (full && values == json_object_get(json, "rope_parameters")) values = full;
    const char *key, *type = "default";
    json_t *value;
    json_object_foreach((json_t *)values, key, value)
        if (json_is_object(value))
            return hone_fail("%s: %s.%s: rotary parameters that differ by kind of layer are not something hone has", where, name, key);

    char inside[512];
    snprintf(inside, sizeof inside, "%s: %s", where, name);
    double partial = row->fallback;
    int64_t original = config->max_positions;
    hone_status status;
    if (!(config->rope_theta > 0)) config->rope_theta = 10000.0;   // the family's, where it has one
    if ((status = hone_json_real(json, "rope_theta", where, false, &config->rope_theta)) ||
        (full && (status = hone_json_real(full, "rope_theta", where, false, &config->rope_theta))) ||
        (status = hone_json_real(json, "partial_rotary_factor", where, false, &partial))) return status;
    if (values && ((status = hone_json_real(values, "rope_theta", inside, false, &config->rope_theta)) ||
                   (status = hone_json_real(values, "partial_rotary_factor", inside, false, &partial)) ||
                   (status = hone_json_text(values, "type", inside, false, &type)) ||
                   (status = hone_json_text(values, "rope_type", inside, false, &type)))) return status;
    if (!(partial > 0 && partial <= 1)) return hone_fail("%s: partial_rotary_factor is %g; it must be above 0 and at most 1", where, partial);
    config->rope_part = partial < 1 ? partial : 0;

    config->rope = HONE_ROPE_NONE;
    for (size_t i = 0; i < sizeof rope_types / sizeof rope_types[0]; i++)
        if (strcmp(type, rope_types[i].name) == 0) config->rope = rope_types[i].rope;
    if (config->rope == HONE_ROPE_NONE)
        return hone_fail("%s has rope_type \"%.60s\"; hone has default, linear and llama3", inside, type);
    if (config->rope != HONE_ROPE_PLAIN && (status = hone_json_real(values, "factor", inside, true, &config->rope_factor))) return status;
    if (config->rope != HONE_ROPE_LLAMA3) return HONE_OK;
    if ((status = hone_json_real(values, "low_freq_factor", inside, true, &config->rope_low)) ||
        (status = hone_json_real(values, "high_freq_factor", inside, true, &config->rope_high)) ||
        (status = hone_json_int(values, "original_max_position_embeddings", inside, false, &original))) return status;
    config->rope_original = original;
    return HONE_OK;
}

static hone_status read_local_base(hone_config *config, const hone_key_row *row, const json_t *json, const char *where)
{
    const json_t *values = rope_of_kind(json, "sliding_attention");
    const char *type = "default";
    double *theta = real_field(config, row);
    *theta = row->fallback;
    hone_status status = hone_json_real(json, row->key, where, false, theta);
    if (!status && values) status = hone_json_real(values, "rope_theta", where, false, theta);
    if (!status && values) status = hone_json_text(values, "rope_type", where, false, &type);
    if (status || strcmp(type, "default") == 0) return status;
    return hone_fail("%s: rope_parameters.sliding_attention has rope_type \"%.60s\"; in layers with a window hone has default", where, type);
}

// A bound, or null for none.
static hone_status read_cap(hone_config *config, const hone_key_row *row, const json_t *json, const char *where)
{
    *real_field(config, row) = json_is_null(json_object_get(json, row->key)) ? 0 : row->fallback;
    return json_is_null(json_object_get(json, row->key)) ? HONE_OK : hone_json_real(json, row->key, where, false, real_field(config, row));
}

// The field is 1 / sqrt(the key), a whole number.
static hone_status read_root(hone_config *config, const hone_key_row *row, const json_t *json, const char *where)
{
    double square = row->fallback;
    hone_status status = hone_json_real(json, row->key, where, false, &square);
    if (status) return status;
    if (!(square >= 1 && square <= 1e6 && square == floor(square)))
        return hone_fail("%s: %s is %g; it must be a whole number from 1 to 1e6", where, row->key, square);
    *real_field(config, row) = 1 / sqrt(square);
    return HONE_OK;
}

static hone_status read_window(hone_config *config, const hone_key_row *row, const json_t *json, const char *where)
{
    const json_t *value = json_object_get(json, row->key);
    config->window = value ? 0 : (int64_t)row->fallback;
    config->window_from = 0;
    if (!value || json_is_null(value)) return HONE_OK;
    hone_status status = hone_json_int(json, row->key, where, true, &config->window);
    if (status) return status;
    if (config->window < 1 || config->window > INT32_MAX)
        return hone_fail("%s: %s is %" PRId64 "; it must be from 1 to %d, or null", where, row->key, config->window, INT32_MAX);
    return HONE_OK;
}

// layer_types, where it is given, must be the family's pattern: each full_every-th layer full_attention, the others sliding.
static hone_status read_pattern_window(hone_config *config, const hone_key_row *row, const json_t *json, const char *where)
{
    const json_t *types = json_object_get(json, "layer_types");
    hone_status status = read_window(config, row, json, where);
    if (status) return status;
    if (config->window == 0) return hone_fail("%s: %s is null, but of these layers all but each %" PRId64 "th have a window", where, row->key, config->full_every);
    if (!types || json_is_null(types)) return HONE_OK;
    if (!json_is_array(types) || (int64_t)json_array_size(types) != config->layers)
        return hone_fail("%s: layer_types must list one kind for each of the %" PRId64 " layers", where, config->layers);
    for (int64_t l = 0; l < config->layers; l++) {
        const char *kind = json_string_value(json_array_get(types, (size_t)l)), *wanted = hone_config_window(config, l) ? "sliding_attention" : "full_attention";
        if (!kind || strcmp(kind, wanted) != 0)
            return hone_fail("%s: layer_types[%" PRId64 "] is \"%.60s\"; for %s hone has %s there: each %" PRId64 "th layer is full, the others slide", where, l, kind ? kind : "?",
                             config->family->model_type, wanted, config->full_every);
    }
    return HONE_OK;
}

// layer_types must be full_attention up to some layer and sliding_attention from there on.
static hone_status read_layer_types(const hone_config *config, const json_t *types, const char *where, int64_t *from)
{
    if (!json_is_array(types) || (int64_t)json_array_size(types) != config->layers)
        return hone_fail("%s: layer_types must list one kind for each of the %" PRId64 " layers", where, config->layers);
    *from = config->layers;
    for (int64_t l = 0; l < config->layers; l++) {
        const char *kind = json_string_value(json_array_get(types, (size_t)l));
        bool slides = kind && strcmp(kind, "sliding_attention") == 0;
        if (!slides && (!kind || strcmp(kind, "full_attention") != 0))
            return hone_fail("%s: layer_types[%" PRId64 "] is \"%.60s\"; hone has full_attention and sliding_attention", where, l, kind ? kind : "?");
        if (slides && *from == config->layers) *from = l;
        if (!slides && *from < l)
            return hone_fail("%s: layer_types[%" PRId64 "] is full_attention behind a sliding layer; hone has full layers first, then sliding ones", where, l);
    }
    return HONE_OK;
}

static hone_status read_layer_window(hone_config *config, const hone_key_row *row, const json_t *json, const char *where)
{
    bool slides = false;
    int64_t from = 28;   // transformers' default of max_window_layers
    const json_t *types = json_object_get(json, "layer_types");
    hone_status status;
    if ((status = read_window(config, row, json, where)) || (status = hone_json_bool(json, "use_sliding_window", where, false, &slides)) ||
        (status = hone_json_int(json, "max_window_layers", where, false, &from))) return status;
    if (from < 0) return hone_fail("%s: max_window_layers is %" PRId64 "; it must be 0 or more", where, from);
    if (types && !json_is_null(types) && (status = read_layer_types(config, types, where, &from))) return status;
    bool any = slides && config->window > 0 && from < config->layers;
    if (!any && types && !json_is_null(types) && from < config->layers)
        return hone_fail("%s: layer_types has sliding layers, but use_sliding_window and sliding_window do not give them a window", where);
    config->window = any ? config->window : 0;
    config->window_from = any ? from : 0;
    return HONE_OK;
}

hone_status hone_config_read_key(hone_config *config, const hone_key_row *row, const json_t *json, const char *where)
{
    const json_t *value = json_object_get(json, row->key);
    switch (row->kind) {
    case HONE_KEY_SIZE: return read_size(int_field(config, row), row, json, where);
    case HONE_KEY_WHOLE: return read_count(int_field(config, row), row, json, where);
    case HONE_KEY_REAL:
        *real_field(config, row) = row->fallback;
        return hone_json_real(json, row->key, where, false, real_field(config, row));
    case HONE_KEY_FLAG:
        *flag_field(config, row) = row->fallback != 0;
        return hone_json_bool(json, row->key, where, false, flag_field(config, row));
    case HONE_KEY_TOKEN:
        *int_field(config, row) = (int64_t)row->fallback < config->vocab ? (int64_t)row->fallback : -1;
        return value ? read_token(config, row->key, value, where, int_field(config, row)) : HONE_OK;
    case HONE_KEY_TOKENS: return read_tokens(config, row, json, where);
    case HONE_KEY_ROPE: return read_rope(config, row, json, where);
    case HONE_KEY_LOCAL_BASE: return read_local_base(config, row, json, where);
    case HONE_KEY_CAP: return read_cap(config, row, json, where);
    case HONE_KEY_ROOT: return read_root(config, row, json, where);
    case HONE_KEY_WINDOW: return read_window(config, row, json, where);
    case HONE_KEY_PATTERN_WINDOW: return read_pattern_window(config, row, json, where);
    case HONE_KEY_LAYER_WINDOW: return read_layer_window(config, row, json, where);
    case HONE_KEY_CHOICE: return read_choice(config, row, json, where);
    case HONE_KEY_FIXED: return read_fixed(config, row, json, where);
    case HONE_KEY_NOTE: return HONE_OK;
    }
    return HONE_OK;
}

// Writing. A failed json_object_set_new means that memory ran out; the caller turns -1 into a message once.

static json_t *token_json(int64_t id) { return id < 0 ? json_null() : json_integer(id); }

static json_t *tokens_json(const int64_t *id, int64_t count)
{
    if (count < 2) return token_json(count ? id[0] : -1);
    json_t *list = json_array();
    for (int64_t i = 0; i < count; i++) json_array_append_new(list, json_integer(id[i]));
    return list;
}

// Both styles, so that programs of either age read the same rotation.
static int write_rope(const hone_config *config, const hone_key_row *row, json_t *json)
{
    const char *type = "default";
    for (size_t i = 0; i < sizeof rope_types / sizeof rope_types[0]; i++)
        if (rope_types[i].rope == config->rope) type = rope_types[i].name;
    json_t *values = json_object();
    int bad = json_object_set_new(values, "rope_type", json_string(type));
    if (config->rope != HONE_ROPE_PLAIN) bad |= json_object_set_new(values, "factor", json_real(config->rope_factor));
    if (config->rope == HONE_ROPE_LLAMA3) {
        bad |= json_object_set_new(values, "low_freq_factor", json_real(config->rope_low));
        bad |= json_object_set_new(values, "high_freq_factor", json_real(config->rope_high));
        bad |= json_object_set_new(values, "original_max_position_embeddings", json_integer(config->rope_original));
    }
    const double part = config->rope_part > 0 ? config->rope_part : 1;
    if (row->fallback != 1 || part != 1) {
        bad |= json_object_set_new(values, "partial_rotary_factor", json_real(part));
        bad |= json_object_set_new(json, "partial_rotary_factor", json_real(part));
    }
    if (config->rope != HONE_ROPE_PLAIN) bad |= json_object_set_new(json, "rope_scaling", json_deep_copy(values));
    bad |= json_object_set_new(values, "rope_theta", json_real(config->rope_theta));
    bad |= json_object_set_new(json, "rope_parameters", values);
    return bad | json_object_set_new(json, "rope_theta", json_real(config->rope_theta));
}

// Takes what write_rope wrote for that of full_attention.
static int write_local_base(const hone_config *config, const hone_key_row *row, json_t *json)
{
    json_t *kinds = json_object(), *sliding = json_object();
    int bad = json_object_set(kinds, "full_attention", json_object_get(json, "rope_parameters"));
    bad |= json_object_set_new(sliding, "rope_type", json_string("default"));
    bad |= json_object_set_new(sliding, "rope_theta", json_real(config->rope_local));
    bad |= json_object_set_new(kinds, "sliding_attention", sliding);
    bad |= json_object_set_new(json, "rope_parameters", kinds);
    return bad | json_object_set_new(json, row->key, json_real(config->rope_local));
}

static int write_window(const hone_config *config, const hone_key_row *row, json_t *json)
{
    int bad = json_object_set_new(json, row->key, config->window ? json_integer(config->window) : json_null());
    if (row->kind == HONE_KEY_WINDOW) return bad;
    if (row->kind == HONE_KEY_LAYER_WINDOW) {
        bad |= json_object_set_new(json, "use_sliding_window", json_boolean(config->window > 0));
        bad |= json_object_set_new(json, "max_window_layers", json_integer(config->window ? config->window_from : config->layers));
    }
    json_t *types = json_array();
    for (int64_t l = 0; l < config->layers; l++)
        bad |= json_array_append_new(types, json_string(hone_config_window(config, l) ? "sliding_attention" : "full_attention"));
    return bad | json_object_set_new(json, "layer_types", types);
}

// Of a row's list the value at `index`; of a NOTE its value.
static json_t *constant_json(const hone_key_row *row, size_t index)
{
    json_t *value = NULL;
    if (hone_json_parse("families.def", row->text, strlen(row->text), &value)) return NULL;
    if (row->kind == HONE_KEY_NOTE) return value;
    json_t *first = json_incref(json_array_get(value, index));
    json_decref(value);
    return first;
}

hone_status hone_config_write_key(const hone_config *config, const hone_key_row *row, json_t *json)
{
    const char *field = (const char *)config + row->field;
    int bad = 0;
    switch (row->kind) {
    case HONE_KEY_WHOLE:
    case HONE_KEY_SIZE: bad = json_object_set_new(json, row->key, json_integer(*(const int64_t *)field)); break;
    case HONE_KEY_REAL: bad = json_object_set_new(json, row->key, json_real(*(const double *)field)); break;
    case HONE_KEY_FLAG: bad = json_object_set_new(json, row->key, json_boolean(*(const bool *)field)); break;
    case HONE_KEY_TOKEN: bad = json_object_set_new(json, row->key, token_json(*(const int64_t *)field)); break;
    case HONE_KEY_TOKENS: bad = json_object_set_new(json, row->key, tokens_json((const int64_t *)field, config->n_eos)); break;
    case HONE_KEY_LOCAL_BASE: bad = write_local_base(config, row, json); break;
    case HONE_KEY_ROPE: bad = write_rope(config, row, json); break;
    case HONE_KEY_CAP: bad = json_object_set_new(json, row->key, *(const double *)field > 0 ? json_real(*(const double *)field) : json_null()); break;
    case HONE_KEY_ROOT: bad = json_object_set_new(json, row->key, json_integer(llround(1 / (*(const double *)field * *(const double *)field)))); break;
    case HONE_KEY_WINDOW:
    case HONE_KEY_PATTERN_WINDOW:
    case HONE_KEY_LAYER_WINDOW: bad = write_window(config, row, json); break;
    case HONE_KEY_CHOICE: bad = json_object_set_new(json, row->key, constant_json(row, *(const unsigned *)field)); break;
    case HONE_KEY_FIXED:
    case HONE_KEY_NOTE: bad = json_object_set_new(json, row->key, constant_json(row, 0)); break;
    }
    return bad ? hone_fail("out of memory while writing %s", row->key) : HONE_OK;
}
