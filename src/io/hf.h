// hf.h: a model as a Hugging Face folder, in and out. What is read may be a GGUF file as well (gguf_model.h): wherever a path
// of a model is given, either will do.
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
#include "text/tokenizer.h"

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

// The model's config.json, or what a GGUF file says in its place; and whether it has a tokenizer.
hone_status hone_hf_load_config(hone_config *config, const char *path);
bool hone_hf_has_tokenizer(const char *path);

// Reads all weights of `folder` to where data(context, tid) says. The folder's tensors must be exactly the model's (names,
// shapes, a type that converts to f32); if not, nothing is loaded and one message names what is missing, unexpected and
// misshapen. Call hone_model_fill_constants afterwards.
hone_status hone_hf_load(const hone_model *model, const char *folder, hone_place_fn data, void *context);

// The weights as the content of a model.safetensors, into an open writer. scratch holds a transposed piece, or one that `carry` brings where data()
// is NULL (of families whose files have matrices transposed none is; NULL: nowhere).
hone_status hone_hf_write_weights(const hone_hf_map *map, hone_writer *writer, hone_place_fn data, hone_carry_fn carry, void *context,
                                  void *scratch, size_t scratch_bytes);

// A tokenizer's files: path is tokenizer.json, vocab.json (merges.txt beside it) or a folder that holds either, as
// hone_tokenizer_load takes it, or a GGUF file; NULL: none. loaded: the same, if the caller has it in memory (else it is loaded if needed).
typedef struct hone_hf_tokenizer { const char *path; const hone_tokenizer *loaded; } hone_hf_tokenizer;
hone_status hone_hf_check_tokenizer(const hone_hf_tokenizer *tokenizer);    // are its files there?

// All but the weights: config.json, generation_config.json (the one beside the tokenizer if its ids end this model's text),
// the tokenizer's files and, where it lies beside them, chat_template.jinja. Where there is no tokenizer_config.json, one is made that says which token is which of the model's
// special ones. tokenizer NULL: none.
hone_status hone_hf_save_about(const hone_model *model, const char *folder, const hone_hf_tokenizer *tokenizer);

// The whole folder; made if absent. Each file appears whole; the weights come last.
hone_status hone_hf_save(const hone_model *model, const char *folder, const hone_hf_tokenizer *tokenizer, hone_place_fn data,
                         hone_carry_fn carry, void *context);
