// post.c: what stands around an encoded text (post-processors), and which ids are special (bos, eos, pad, unknown).
#include "text/parts.h"
#include "base/file.h"

#include <inttypes.h>
#include <string.h>

// Ids of one special token of a template: its list in "special_tokens".
static hone_status template_ids(const hone_tokenizer *tokenizer, const json_t *json, const char *name, int32_t **list, int64_t *count, const char *where)
{
    json_t *ids = json_object_get(json_object_get(json_object_get(json, "special_tokens"), name), "ids"), *id;
    if (!json_is_array(ids)) return hone_fail("%s: the post-processor's template names \"%s\", but its special_tokens do not", where, name);
    int32_t *grown = hone_realloc(*list, (size_t)*count + json_array_size(ids) + 1, sizeof *grown);
    if (!grown) return HONE_FAILED;
    *list = grown;
    size_t i;
    json_array_foreach(ids, i, id) {
        int64_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= tokenizer->vocab.count)
            return hone_fail("%s: the post-processor's token \"%s\" has id %" PRId64 ", outside the vocabulary of %" PRId64, where, name, value, tokenizer->vocab.count);
        grown[(*count)++] = (int32_t)value;
    }
    return HONE_OK;
}

static hone_status read_template(hone_tokenizer *tokenizer, const json_t *json, const char *where)
{
    json_t *single = json_object_get(json, "single"), *part;
    bool behind = false;
    size_t i;
    if (!json_is_array(single)) return hone_fail("%s: post-processor \"TemplateProcessing\" without a list \"single\"", where);
    json_array_foreach(single, i, part) {
        const char *name = NULL;
        json_t *special = json_object_get(part, "SpecialToken");
        if (!special) { behind = true; continue; }
        hone_status status = hone_json_text(special, "id", where, true, &name);
        if (!status) status = template_ids(tokenizer, json, name, behind ? &tokenizer->suffix : &tokenizer->prefix,
                                           behind ? &tokenizer->n_suffix : &tokenizer->n_prefix, where);
        if (status) return status;
    }
    return HONE_OK;
}

static hone_status read_nothing(hone_tokenizer *tokenizer, const json_t *json, const char *where) // ByteLevel: about offsets, not ids
{
    (void)tokenizer; (void)json; (void)where;
    return HONE_OK;
}

// BertProcessing, RobertaProcessing: "cls" in front, "sep" behind, each [token, id]
static hone_status read_pair(hone_tokenizer *tokenizer, const json_t *json, const char *where)
{
    static const char *const key[] = { "cls", "sep" };
    for (int k = 0; k < 2; k++) {
        const json_t *id = json_array_get(json_object_get(json, key[k]), 1);
        int64_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        int32_t *ids = hone_alloc(1, sizeof *ids);
        if (!ids) return HONE_FAILED;
        hone_free(k ? tokenizer->suffix : tokenizer->prefix);
        *(k ? &tokenizer->suffix : &tokenizer->prefix) = ids;
        *(k ? &tokenizer->n_suffix : &tokenizer->n_prefix) = 1;
        if (value < 0 || value >= tokenizer->vocab.count)
            return hone_fail("%s: the post-processor's \"%s\" is not [token, id] with an id of the vocabulary of %" PRId64, where, key[k], tokenizer->vocab.count);
        *ids = (int32_t)value;
    }
    return HONE_OK;
}

static const struct { const char *type; hone_status (*read)(hone_tokenizer *tokenizer, const json_t *json, const char *where); } kinds[] = {
    { "BertProcessing", read_pair },
    { "ByteLevel", read_nothing },
    { "RobertaProcessing", read_pair },
    { "TemplateProcessing", read_template },
};

static hone_status add_processor(hone_tokenizer *tokenizer, int kind, const json_t *json, const char *where)
{
    return kinds[kind].read(tokenizer, json, where);
}

hone_status hone_post_read(hone_tokenizer *tokenizer, const json_t *json, const char *where)
{
    static const hone_component_table table = { "post-processor", "processors", kinds, sizeof *kinds, sizeof kinds / sizeof *kinds, add_processor };
    return hone_components_read(tokenizer, json, where, &table);
}

// --- special ids: tokenizer_config.json says which they are; without it, the names that the world uses
static const char *const bos_names[] = { "<s>", "<|begin_of_text|>", "<|begin▁of▁sentence｜>", "<bos>", "<|startoftext|>", "<|endoftext|>", NULL };
static const char *const eos_names[] = { "</s>", "<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "<eos>", "<|im_end|>", NULL };
static const char *const pad_names[] = { "<pad>", "<|padding|>", "<|pad|>", "<｜▁pad▁｜>", "[PAD]", NULL };

static int32_t first_of(const hone_tokenizer *tokenizer, const char *const *names)
{
    int32_t id = -1;
    for (; id < 0 && *names; names++) {
        id = hone_tokenizer_find(tokenizer, *names);
        if (id >= 0 && !tokenizer->vocab.token[id].special) id = -1;
    }
    return id;
}

static hone_status named_id(const hone_tokenizer *tokenizer, const json_t *config, const char *key, const char *where, int32_t *id)
{
    const json_t *value = json_object_get(config, key);
    if (json_is_object(value)) value = json_object_get(value, "content");
    if (!value || json_is_null(value)) { *id = -1; return HONE_OK; }
    if (!json_is_string(value)) return hone_fail("%s: %s is no string", where, key);
    *id = hone_tokenizer_find(tokenizer, json_string_value(value));
    if (*id < 0) return hone_fail("%s: %s is \"%s\", which is no token of the tokenizer beside it", where, key, json_string_value(value));
    return HONE_OK;
}

// Not by hone_json_parse: model_max_length is often 10^30, written as an integer. Only strings are read from here.
static hone_status parse_config(const hone_tokenizer *tokenizer, const char *path, json_t **config)
{
    json_error_t error;
    hone_error_clear();
    *config = hone_json_scan(tokenizer->config, tokenizer->config_size, JSON_DECODE_INT_AS_REAL, &error);
    if (*hone_error()) return HONE_FAILED; // memory ran out
    if (!*config) return hone_fail("%s:%d:%d: not valid JSON: %s", path, error.line, error.column, error.text);
    return json_is_object(*config) ? HONE_OK : hone_fail("%s: not a JSON object", path);
}

hone_status hone_special_read(hone_tokenizer *tokenizer, const char *folder)
{
    hone_special_ids *special = &tokenizer->special;
    char *path = hone_path_join(folder, "tokenizer_config.json"), *template = hone_path_join(folder, "chat_template.jinja");
    json_t *config = NULL;
    hone_status status = path && template ? HONE_OK : HONE_FAILED;
    if (!status && hone_file_exists(template)) status = hone_file_read(template, &tokenizer->template, &tokenizer->template_size);
    hone_free(template);
    if (!status && !tokenizer->config && hone_file_exists(path)) status = hone_file_read(path, &tokenizer->config, &tokenizer->config_size);
    if (!status && tokenizer->config) status = parse_config(tokenizer, path, &config);
    *special = (hone_special_ids){ .bos = first_of(tokenizer, bos_names), .eos = first_of(tokenizer, eos_names),
                                   .pad = first_of(tokenizer, pad_names), .unk = tokenizer->unk };
    if (!status && config) {
        status = named_id(tokenizer, config, "bos_token", path, &special->bos);
        if (!status) status = named_id(tokenizer, config, "eos_token", path, &special->eos);
        if (!status) status = named_id(tokenizer, config, "pad_token", path, &special->pad);
    }
    json_decref(config);
    hone_free(path);
    return status;
}
