// hf_about.c: the small files of a Hugging Face folder: config.json, generation_config.json and the tokenizer's.
#include "io/hf.h"
#include "base/memory.h"
#include <string.h>

// path of `name` beside or within `tokenizer` (a file or a folder). NULL where memory is short.
static char *tokenizer_file(const char *tokenizer, const char *name)
{
    if (hone_dir_exists(tokenizer)) return hone_path_join(tokenizer, name);
    const char *slash = strrchr(tokenizer, '/');
    if (!slash) return hone_strdup(name);
    return hone_format("%.*s/%s", (int)(slash - tokenizer), tokenizer, name);
}

static hone_status copy_file(const char *from, const char *folder, const char *name)
{
    char *data, *to;
    size_t size;
    hone_status status = hone_file_read(from, &data, &size);
    if (status) return status;
    to = hone_path_join(folder, name);
    status = to ? hone_file_write(to, data, size) : HONE_FAILED;
    hone_free(to);
    hone_free(data);
    return status;
}

// The text of a token id: an added token, or one of the vocabulary. NULL if there is none.
static const char *token_text(const json_t *tokenizer, int64_t id)
{
    const char *text;
    json_t *value;
    size_t i;
    json_array_foreach(json_object_get(tokenizer, "added_tokens"), i, value)
        if (json_integer_value(json_object_get(value, "id")) == id && json_is_integer(json_object_get(value, "id")))
            return json_string_value(json_object_get(value, "content"));
    json_object_foreach(json_object_get(json_object_get(tokenizer, "model"), "vocab"), text, value)
        if (json_is_integer(value) && json_integer_value(value) == id) return text;
    return NULL;
}

// What AutoTokenizer needs beside tokenizer.json. Which token begins or ends a text, the model's config knows.
static hone_status make_tokenizer_config(const hone_config *config, const char *tokenizer_json, const char *folder)
{
    json_t *tokenizer = NULL, *out = json_object();
    hone_status status = hone_json_load(tokenizer_json, &tokenizer);
    if (status) { json_decref(out); return status; }
    const char *unknown = json_string_value(json_object_get(json_object_get(tokenizer, "model"), "unk_token"));
    const struct { const char *key, *text; } special[] = {
        { "bos_token", config->bos >= 0 ? token_text(tokenizer, config->bos) : NULL },
        { "eos_token", config->n_eos ? token_text(tokenizer, config->eos[0]) : NULL },
        { "unk_token", unknown },
        { "pad_token", config->pad >= 0 ? token_text(tokenizer, config->pad) : NULL },
    };
    int bad = json_object_set_new(out, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    bad |= json_object_set_new(out, "model_max_length", json_integer(config->max_positions));
    bad |= json_object_set_new(out, "clean_up_tokenization_spaces", json_false());
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++)
        if (special[i].text) bad |= json_object_set_new(out, special[i].key, json_string(special[i].text));
    char *path = hone_path_join(folder, "tokenizer_config.json");
    if (bad || !path) status = hone_fail("%s: out of memory while writing tokenizer_config.json", folder);
    else status = hone_json_save(path, out);
    hone_free(path);
    json_decref(out);
    json_decref(tokenizer);
    return status;
}

static hone_status save_tokenizer(const hone_config *config, const char *folder, const char *tokenizer)
{
    static const char *const optional[] = { "tokenizer_config.json", "chat_template.jinja" };
    char *main_file = hone_dir_exists(tokenizer) ? hone_path_join(tokenizer, "tokenizer.json") : hone_strdup(tokenizer);
    if (!main_file) return HONE_FAILED;
    hone_status status = copy_file(main_file, folder, "tokenizer.json");
    for (int i = 0; i < 2 && !status; i++) {
        char *from = tokenizer_file(tokenizer, optional[i]);
        if (!from) status = HONE_FAILED;
        else if (hone_file_exists(from)) status = copy_file(from, folder, optional[i]);
        else if (i == 0) status = make_tokenizer_config(config, main_file, folder);
        hone_free(from);
    }
    hone_free(main_file);
    return status;
}

static hone_status save_generation_config(const hone_config *config, const char *folder)
{
    json_t *out = json_object(), *eos = json_array();
    int bad = json_object_set_new(out, "_from_model_config", json_true());
    if (config->bos >= 0) bad |= json_object_set_new(out, "bos_token_id", json_integer(config->bos));
    for (int64_t i = 0; i < config->n_eos; i++) bad |= json_array_append_new(eos, json_integer(config->eos[i]));
    if (config->n_eos == 1) bad |= json_object_set(out, "eos_token_id", json_array_get(eos, 0));
    else if (config->n_eos) bad |= json_object_set(out, "eos_token_id", eos);
    if (config->pad >= 0) bad |= json_object_set_new(out, "pad_token_id", json_integer(config->pad));
    json_decref(eos);
    char *path = hone_path_join(folder, "generation_config.json");
    hone_status status = bad || !path ? hone_fail("%s: out of memory while writing generation_config.json", folder) : hone_json_save(path, out);
    hone_free(path);
    json_decref(out);
    return status;
}

hone_status hone_hf_save_about(const hone_model *model, const char *folder, const char *tokenizer)
{
    char *path = hone_path_join(folder, "config.json");
    hone_status status = path ? hone_config_save(&model->config, path) : HONE_FAILED;
    hone_free(path);
    if (!status) status = save_generation_config(&model->config, folder);
    if (!status && tokenizer) status = save_tokenizer(&model->config, folder, tokenizer);
    return status;
}
