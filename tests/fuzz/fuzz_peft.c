// PEFT folders: any two JSON texts and any factors are an adapter whose modules can be declared on a model, or refused in words.
//
//     adapter_config.json NUL base.json (empty: none) NUL header NUL data
#include "fuzz/pieces.h"
#include "io/peft.h"

static void declare(const hone_peft *peft)
{
    static const char sizes[] = "{\"model_type\": \"llama\", \"vocab_size\": 9, \"hidden_size\": 8, \"intermediate_size\": 6, \"num_hidden_layers\": 2,"
                                " \"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"max_position_embeddings\": 8}";
    json_t *json = NULL;
    hone_config config;
    hone_model model = { 0 };
    hone_graph *graph = hone_graph_new();
    FUZZ_HOLDS(graph && hone_json_parse("sizes", sizes, strlen(sizes), &json) == HONE_OK && hone_config_read(&config, json, "sizes") == HONE_OK);
    FUZZ_HOLDS(hone_model_declare(&model, graph, &config) == HONE_OK);
    if (hone_lora_declare(&model, &peft->options)) FUZZ_HOLDS(*hone_error());
    else FUZZ_HOLDS(model.lora.n_module > 0 && hone_lora_count(&model) > 0);
    hone_model_release(&model);
    hone_graph_free(graph);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_piece rest = { data, size }, config = fuzz_take(&rest, false), base = fuzz_take(&rest, false), header = fuzz_take(&rest, false);
    char path[128];
    uint64_t length = header.size;
    char *file = malloc(8 + header.size + rest.size);
    hone_peft peft;
    FUZZ_HOLDS(file);
    memcpy(file, &length, 8);
    if (header.size) memcpy(file + 8, header.data, header.size);
    if (rest.size) memcpy(file + 8 + header.size, rest.data, rest.size);
    fuzz_file("adapter_config.json", config.data, config.size);
    fuzz_file("adapter_model.safetensors", file, 8 + header.size + rest.size);
    free(file);
    snprintf(path, sizeof path, "%s/base.json", fuzz_folder());
    if (base.size) fuzz_file("base.json", base.data, base.size);
    else unlink(path);
    hone_error_clear();
    if (hone_peft_open(&peft, fuzz_folder())) {
        FUZZ_HOLDS(*hone_error());
        return 0;
    }
    declare(&peft);
    hone_peft_close(&peft);
    return 0;
}
