// hf.h: a model as a Hugging Face folder, in and out.
//
//     config.json  generation_config.json  model.safetensors  tokenizer.json  tokenizer_config.json
//
// The weight rows of model/families.def say which tensor of the folder holds which logical parameter. hone_hf_map is those
// rows for one model, expanded over its layers: one entry per tensor of the folder, one to three parameters in each.
//
//     layers.0.q (C, C)  layers.0.k (C, C)  layers.0.v (C, C)   <->   transformer.h.0.attn.c_attn.weight (C, 3 C), transposed
#pragma once
#include "io/safetensors.h"
#include "model/decoder.h"

enum { HONE_HF_PARTS = 3 };

typedef struct hone_hf_entry {
    char *name;                          // in the file
    hone_tid param[HONE_HF_PARTS]; int parts;
    bool transposed;                     // stored (in, out)
    int rank; int64_t dim[2];            // in the file
} hone_hf_entry;

typedef struct hone_hf_map { hone_hf_entry *entry; int64_t count; } hone_hf_map;

hone_status hone_hf_map_build(hone_hf_map *map, const hone_model *model);
void hone_hf_map_release(hone_hf_map *map);

// Reads all weights of `folder` to where data(context, tid) says. The folder's tensors must be exactly the model's (names,
// shapes, a type that converts to f32); if not, nothing is loaded and one message names what is missing, unexpected and
// misshapen. Call hone_model_fill_constants afterwards.
hone_status hone_hf_load(const hone_model *model, const char *folder, hone_place_fn data, void *context);

// The weights as the content of a model.safetensors, into an open writer. scratch holds a transposed piece.
hone_status hone_hf_write_weights(const hone_hf_map *map, hone_writer *writer, hone_place_fn data, void *context, void *scratch,
                                  size_t scratch_bytes);

// All but the weights: config.json, generation_config.json, and from `tokenizer` (a tokenizer.json or a folder that has one;
// NULL: none) tokenizer.json, tokenizer_config.json and, where it lies beside, chat_template.jinja. Where there is no
// tokenizer_config.json, one is made that says which of the model's special tokens are which.
hone_status hone_hf_save_about(const hone_model *model, const char *folder, const char *tokenizer);

// The whole folder; made if absent. Each file appears whole; the weights come last.
hone_status hone_hf_save(const hone_model *model, const char *folder, const char *tokenizer, hone_place_fn data, void *context);
