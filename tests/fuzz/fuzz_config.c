// config.json of a model, and the model keys of a recipe, which are read by the same tables: any object is a model that can be
// declared and written again, or refused in words.
#include "fuzz/fuzz.h"
#include "io/hf.h"

enum { MOST_LAYERS = 3 };

// Its parameters and their names in a folder. The largest sizes cost no more: nothing is allocated.
static void declare(const hone_config *config)
{
    hone_model model = { 0 };
    hone_hf_map map;
    hone_graph *graph = hone_graph_new();
    FUZZ_HOLDS(graph);
    if (hone_model_declare(&model, graph, config) == HONE_OK) {
        FUZZ_HOLDS(hone_model_count(&model) > 0 && hone_model_flops_per_token(config, 8) > 0);
        FUZZ_HOLDS(hone_hf_map_build(&map, &model) == HONE_OK);
        hone_hf_map_release(&map);
    } else {
        FUZZ_HOLDS(*hone_error());
    }
    hone_model_release(&model);
    hone_graph_free(graph);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json;
    hone_config config;
    hone_error_clear();
    if (hone_json_parse("fuzz", (const char *)data, size, &json)) return 0;
    if (hone_config_read(&config, json, "fuzz")) FUZZ_HOLDS(*hone_error());
    else if (config.layers <= 64) { // layer_types is written a row a layer
        FUZZ_HOLDS(hone_config_check(&config, "fuzz") == HONE_OK);
        if (config.layers <= MOST_LAYERS) declare(&config);
    }
    json_decref(json);
    return 0;
}
