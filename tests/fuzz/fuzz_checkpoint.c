// Checkpoints: whatever state.json, config.json and the two files of tensors hold, the folder is proven, read and loaded, or refused in words.
// Checksums stop a changed file at once, so that they are given right ones here (byte 0 odd), and what lies behind is looked at.
//
//     byte 0   state.json NUL what the header of model.safetensors is (none: the true one) NUL that of optimizer.safetensors
#include "fuzz/pieces.h"
#include "io/checkpoint_look.h"
#include "optim/update.h"

#include <inttypes.h>

static hone_graph *graph;
static hone_model model;
static float **place;                                    // (n_tensor,)
static struct { char *data; size_t size; } whole[2];     // the two files as they are written
static const char *const files[] = { "model.safetensors", "optimizer.safetensors" };

static void *place_of(void *context, hone_tid id)
{
    (void)context;
    const hone_tensor *t = hone_at(graph, id);
    return t->base == HONE_NONE ? (char *)place[id] : (char *)place[t->base] + t->offset_bytes;
}

// A model of a few hundred weights, trained for no step, saved as any other.
static void make_model(void)
{
    static const char text[] = "{\"model_type\": \"llama\", \"vocab_size\": 7, \"hidden_size\": 4, \"intermediate_size\": 6, \"num_hidden_layers\": 1, "
                               "\"num_attention_heads\": 2, \"max_position_embeddings\": 8}";
    const hone_optim_options options = { .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .max_grad_norm = 1 };
    json_t *json;
    hone_config config;
    hone_train_io io;
    hone_update_io update;
    hone_checkpoint_writer *writer;
    FUZZ_HOLDS(hone_json_parse("model", text, sizeof text - 1, &json) == HONE_OK && hone_config_read(&config, json, "model") == HONE_OK);
    json_decref(json);
    FUZZ_HOLDS((graph = hone_graph_new()) && hone_model_declare(&model, graph, &config) == HONE_OK);
    FUZZ_HOLDS(hone_model_build_micro(&model, 1, 8, &io) == HONE_OK && hone_optim_build_update(graph, &options, &update) == HONE_OK);
    FUZZ_HOLDS((place = hone_alloc((size_t)graph->n_tensor, sizeof *place)));
    for (hone_tid i = 0; i < graph->n_tensor; i++) {
        const hone_tensor *t = hone_at(graph, i);
        if (t->base == HONE_NONE && (t->cls == HONE_CLASS_param || t->cls == HONE_CLASS_moment))
            FUZZ_HOLDS((place[i] = hone_alloc((size_t)hone_tensor_count(t), sizeof(float))));
    }
    const hone_checkpoint_options saving = { .model = &model, .data = place_of, .folder = fuzz_folder() };
    const hone_checkpoint_state state = { .step = 1, .recipe = (char *)"{}" };
    FUZZ_HOLDS(hone_checkpoint_open(&writer, &saving) == HONE_OK && hone_checkpoint_start(writer, &state) == HONE_OK && hone_checkpoint_finish(writer, NULL) == HONE_OK);
    hone_checkpoint_close(writer);
    for (int f = 0; f < 2; f++) {
        char path[128];
        snprintf(path, sizeof path, "%s/step-1/%s", fuzz_folder(), files[f]);
        FUZZ_HOLDS(hone_file_read(path, &whole[f].data, &whole[f].size) == HONE_OK);
    }
}

// Another header in front of the true data.
static void put_tensors(int f, fuzz_piece header)
{
    static bool changed[2];
    char name[64];
    uint64_t length;
    snprintf(name, sizeof name, "step-1/%s", files[f]);
    if (!header.size && changed[f]) fuzz_file(name, whole[f].data, whole[f].size);
    changed[f] = header.size > 0;
    if (!header.size) return;
    memcpy(&length, whole[f].data, 8);
    size_t bytes = whole[f].size - 8 - length;
    char *file = malloc(8 + header.size + bytes);
    FUZZ_HOLDS(file);
    memcpy(file + 8 + header.size, whole[f].data + 8 + length, bytes);
    length = header.size;
    memcpy(file, &length, 8);
    memcpy(file + 8, header.data, header.size);
    fuzz_file(name, file, 8 + header.size + bytes);
    free(file);
}

// Sizes and checksums of what is listed and there, and the state's own, as checkpoint.c says they are.
static void put_sums(json_t *json)
{
    const char *name;
    json_t *about;
    char hash[17];
    if (json_is_object(json)) json_object_foreach(json_object_get(json, "files"), name, about) {
        char path[512];
        uint64_t is = 0;
        char *data;
        size_t size;
        snprintf(path, sizeof path, "%s/step-1/%.300s", fuzz_folder(), name);
        if (!json_is_object(about) || strchr(name, '/') || !*name || !hone_file_exists(path) || hone_file_read(path, &data, &size)) continue;
        hone_free(data);
        FUZZ_HOLDS(hone_file_hash(path, &is) == HONE_OK);
        snprintf(hash, sizeof hash, "%016" PRIx64, is);
        if (json_object_get(about, "size")) json_object_set_new(about, "size", json_integer((json_int_t)size));
        if (json_object_get(about, "xxh3")) json_object_set_new(about, "xxh3", json_string(hash));
    }
    if (!json_object_get(json, "self")) return;
    json_object_del(json, "self");
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    FUZZ_HOLDS(text);
    snprintf(hash, sizeof hash, "%016" PRIx64, hone_hash64(text, strlen(text)));
    hone_free(text);
    json_object_set_new(json, "self", json_string(hash));
}

static void put_state(fuzz_piece piece, bool sums)
{
    json_t *json;
    if (sums && hone_json_parse("state.json", (const char *)piece.data, piece.size, &json) == HONE_OK) {
        put_sums(json);
        char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
        FUZZ_HOLDS(text);
        fuzz_file("step-1/state.json", text, strlen(text));
        hone_free(text);
        json_decref(json);
    } else {
        fuzz_file("step-1/state.json", piece.data, piece.size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    if (!graph) make_model();
    char path[128];
    fuzz_piece rest = { data + 1, size - 1 }, state = fuzz_take(&rest, false);
    for (int f = 0; f < 2; f++) put_tensors(f, fuzz_take(&rest, f == 1));
    put_state(state, data[0] & 1);
    snprintf(path, sizeof path, "%s/step-1", fuzz_folder());
    hone_checkpoint_state read;
    hone_checkpoint_difference difference;
    hone_error_clear();
    if (hone_checkpoint_verify(path)) FUZZ_HOLDS(*hone_error());
    if (hone_checkpoint_load(path, &model, place_of, NULL, NULL, &read)) {
        FUZZ_HOLDS(*hone_error());
    } else {
        FUZZ_HOLDS(read.step >= 0 && read.row >= 0 && read.tokens >= 0 && read.skipped >= 0 && read.seconds >= 0 && read.recipe);
        hone_checkpoint_state_release(&read);
    }
    if (size % 4) return 0; // what is behind takes longer
    if (hone_checkpoint_check_finite(path)) FUZZ_HOLDS(*hone_error());
    if (hone_checkpoint_diff(path, path, &difference) == HONE_OK) {
        for (int64_t i = 0; i < difference.count; i++) FUZZ_HOLDS(difference.tensor[i].only && !strcmp(difference.tensor[i].only, "shape")); // no f32
        hone_checkpoint_difference_release(&difference);
    }
    return 0;
}
