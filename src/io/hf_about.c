// hf_about.c: the small files of a Hugging Face folder: config.json, generation_config.json and the tokenizer's. The latter
// are copied, not made anew: what others put into them stays.
#include "io/hf.h"
#include "base/memory.h"
#include "io/gguf_model.h"
#include <string.h>

hone_status hone_hf_load_config(hone_config *config, const char *path)
{
    if (hone_gguf_is(path)) return hone_gguf_read_config(config, path);
    if (!hone_dir_exists(path))
        return hone_fail("%s: no such folder; a model is a Hugging Face folder with config.json and model.safetensors, or a GGUF file", path);
    char *file = hone_path_join(path, "config.json");
    hone_status status = file ? hone_config_load(config, file) : HONE_FAILED;
    hone_free(file);
    return status;
}

static bool gguf_has_vocabulary(const char *path)
{
    hone_gguf file;
    if (hone_gguf_open(&file, path)) return true;   // whoever loads it will say what is wrong
    bool has = hone_gguf_find(&file, "tokenizer.ggml.tokens") != NULL;
    hone_gguf_close(&file);
    return has;
}

bool hone_hf_has_tokenizer(const char *path)
{
    static const char *const names[] = { "tokenizer.json", "vocab.json" };
    bool found = false;
    if (hone_gguf_is(path)) return gguf_has_vocabulary(path);
    for (int i = 0; i < 2 && !found && path[0]; i++) {
        char *file = hone_path_join(path, names[i]);
        found = file && hone_file_exists(file);
        hone_free(file);
    }
    return found;
}

// `name` in the folder of the tokenizer's path. NULL where memory is short.
static char *beside(const char *path, const char *name)
{
    if (hone_dir_exists(path)) return hone_path_join(path, name);
    const char *slash = strrchr(path, '/');
    if (!slash) return hone_strdup(name);
    return hone_format("%.*s/%s", (int)(slash - path), path, name);
}

// What holds the vocabulary: tokenizer.json under whatever name the path gives it, or GPT-2's two files. names: what they are
// called in a model's folder.
static const char *const one_file[] = { "tokenizer.json", NULL }, *const two_files[] = { "vocab.json", "merges.txt", NULL };
static hone_status find_files(const char *path, const char *const **names, char *from[2])
{
    const char *end = strrchr(path, '/');
    bool folder = hone_dir_exists(path), two = !folder && strcmp(end ? end + 1 : path, "vocab.json") == 0;
    from[0] = folder ? beside(path, "tokenizer.json") : two ? NULL : hone_strdup(path);
    from[1] = NULL;
    if (folder && from[0] && !hone_file_exists(from[0])) {
        hone_free(from[0]);
        from[0] = NULL;
        two = true;
    }
    *names = two ? two_files : one_file;
    if (two) {
        from[0] = beside(path, "vocab.json");
        from[1] = beside(path, "merges.txt");
    }
    bool there = from[0] && hone_file_exists(from[0]) && (!two || (from[1] && hone_file_exists(from[1])));
    if (there) return HONE_OK;
    hone_free(from[0]);
    hone_free(from[1]);
    return hone_fail("%s: there is no tokenizer here, neither tokenizer.json nor vocab.json with merges.txt; check the path", path);
}

// generation_config.json beside the tokenizer; *out stays NULL where there is none.
static hone_status load_generation_config(const hone_hf_tokenizer *tokenizer, json_t **out)
{
    if (!tokenizer || !tokenizer->path || hone_gguf_is(tokenizer->path)) return HONE_OK;
    char *path = beside(tokenizer->path, "generation_config.json");
    hone_status status = !path ? HONE_FAILED : hone_file_exists(path) ? hone_json_load(path, out) : HONE_OK;
    hone_free(path);
    return status;
}

hone_status hone_hf_check_tokenizer(const hone_hf_tokenizer *tokenizer)
{
    const char *const *names;
    char *from[2];
    json_t *generation = NULL;
    if (!tokenizer || !tokenizer->path || hone_gguf_is(tokenizer->path)) return HONE_OK;
    hone_status status = find_files(tokenizer->path, &names, from);
    if (status) return status;
    hone_free(from[0]);
    hone_free(from[1]);
    status = load_generation_config(tokenizer, &generation);
    json_decref(generation);
    return status;
}

// In pieces: a copy must not make the process larger.
static hone_status copy_file(const char *from, const char *folder, const char *name)
{
    hone_map map;
    hone_writer writer;
    const size_t piece = 1 << 20;
    hone_status status = hone_map_open(&map, from);
    if (status) return status;
    char *to = hone_path_join(folder, name);
    status = to ? hone_writer_open(&writer, to) : HONE_FAILED;
    if (!status) {
        for (size_t at = 0; at < map.size && !status; at += piece) {
            status = hone_writer_write(&writer, map.data + at, map.size - at < piece ? map.size - at : piece);
            hone_map_drop(&map);
        }
        status = hone_writer_commit(&writer);   // reports a failed write, too
    }
    hone_free(to);
    hone_map_close(&map);
    return status;
}

static int set_token(json_t *out, const char *key, const hone_tokenizer *tokenizer, int64_t id)
{
    size_t size;
    const char *text = id < 0 || id >= hone_tokenizer_vocab(tokenizer) ? NULL : hone_tokenizer_token(tokenizer, (int32_t)id, &size);
    return text ? json_object_set_new(out, key, json_stringn(text, size)) : 0;
}

// What AutoTokenizer needs beside the vocabulary. Which token begins or ends a text, the model's config knows.
static hone_status make_tokenizer_config(const hone_config *config, const hone_hf_tokenizer *tokenizer, bool two, const char *folder)
{
    hone_tokenizer *own = NULL;
    hone_status status = tokenizer->loaded ? HONE_OK : hone_tokenizer_load(tokenizer->path, &own);
    if (status) return status;
    const hone_tokenizer *t = tokenizer->loaded ? tokenizer->loaded : own;
    json_t *out = json_object();
    int bad = json_object_set_new(out, "tokenizer_class", json_string(two ? "GPT2Tokenizer" : "PreTrainedTokenizerFast"));
    bad |= json_object_set_new(out, "model_max_length", json_integer(config->max_positions));
    bad |= json_object_set_new(out, "clean_up_tokenization_spaces", json_false());
    bad |= set_token(out, "bos_token", t, config->bos) | set_token(out, "eos_token", t, config->n_eos ? config->eos[0] : -1);
    bad |= set_token(out, "unk_token", t, hone_tokenizer_special(t)->unk) | set_token(out, "pad_token", t, config->pad);
    char *path = hone_path_join(folder, "tokenizer_config.json");
    if (bad || !path) status = hone_fail("%s: out of memory while writing tokenizer_config.json", folder);
    else status = hone_json_save(path, out);
    hone_free(path);
    json_decref(out);
    hone_tokenizer_free(own);
    return status;
}

// The tokenizer within a GGUF file as files of a folder.
static hone_status save_from_gguf(const char *folder, const hone_hf_tokenizer *tokenizer)
{
    hone_tokenizer *own = NULL;
    hone_status status = tokenizer->loaded ? HONE_OK : hone_tokenizer_load(tokenizer->path, &own);
    if (!status) status = hone_tokenizer_save(tokenizer->loaded ? tokenizer->loaded : own, folder);
    hone_tokenizer_free(own);
    return status;
}

static hone_status save_tokenizer(const hone_config *config, const char *folder, const hone_hf_tokenizer *tokenizer)
{
    static const char *const optional[] = { "tokenizer_config.json", "chat_template.jinja" };
    const char *const *names;
    char *from[2];
    if (hone_gguf_is(tokenizer->path)) return save_from_gguf(folder, tokenizer);
    hone_status status = find_files(tokenizer->path, &names, from);
    if (status) return status;
    for (int i = 0; i < 2 && names[i] && !status; i++) status = copy_file(from[i], folder, names[i]);
    for (int i = 0; i < 2 && !status; i++) {
        char *path = beside(tokenizer->path, optional[i]);
        if (!path) status = HONE_FAILED;
        else if (hone_file_exists(path)) status = copy_file(path, folder, optional[i]);
        else if (i == 0) status = make_tokenizer_config(config, tokenizer, names == two_files, folder);
        hone_free(path);
    }
    hone_free(from[0]);
    hone_free(from[1]);
    return status;
}

// One id, or a list of them.
static bool has_id(const json_t *ids, int32_t id)
{
    bool found = json_is_integer(ids) && json_integer_value(ids) == id;
    for (size_t i = 0; i < json_array_size(ids); i++) found |= json_integer_value(json_array_get(ids, i)) == id;
    return found;
}

static json_t *make_generation_config(const hone_config *config)
{
    json_t *out = json_object(), *eos = json_array();
    int bad = json_object_set_new(out, "_from_model_config", json_true());
    if (config->bos >= 0) bad |= json_object_set_new(out, "bos_token_id", json_integer(config->bos));
    for (int64_t i = 0; i < config->n_eos; i++) bad |= json_array_append_new(eos, json_integer(config->eos[i]));
    if (config->n_eos == 1) bad |= json_object_set(out, "eos_token_id", json_array_get(eos, 0));
    else if (config->n_eos) bad |= json_object_set(out, "eos_token_id", eos);
    if (config->pad >= 0) bad |= json_object_set_new(out, "pad_token_id", json_integer(config->pad));
    json_decref(eos);
    if (!bad) return out;
    json_decref(out);
    return NULL;
}

// What the makers of the model said beside the tokenizer goes on: how answers are drawn, and all ids that end one (a conversation's end
// of turn is often there alone). Not if it is of another model: no id in it ends this one's text.
static hone_status save_generation_config(const hone_config *config, const char *folder, const hone_hf_tokenizer *tokenizer)
{
    json_t *out = NULL;
    hone_status status = load_generation_config(tokenizer, &out);
    if (status) return status;
    if (config->n_eos == 0 || !has_id(json_object_get(out, "eos_token_id"), config->eos[0])) {
        json_decref(out);
        out = make_generation_config(config);
    }
    char *path = hone_path_join(folder, "generation_config.json");
    status = !out || !path ? hone_fail("%s: out of memory while writing generation_config.json", folder) : hone_json_save(path, out);
    hone_free(path);
    json_decref(out);
    return status;
}

hone_status hone_hf_save_about(const hone_model *model, const char *folder, const hone_hf_tokenizer *tokenizer)
{
    char *path = hone_path_join(folder, "config.json");
    hone_status status = path ? hone_config_save(&model->config, path) : HONE_FAILED;
    hone_free(path);
    if (!status) status = save_generation_config(&model->config, folder, tokenizer);
    if (!status && tokenizer && tokenizer->path) status = save_tokenizer(&model->config, folder, tokenizer);
    return status;
}
