// peft.h: adapters (model/lora.h) as PEFT folders, in and out.
//
//     adapter_config.json         r, lora_alpha, target_modules, ...
//     adapter_model.safetensors   base_model.model.<module>.lora_A.weight (r, K), .lora_B.weight (M, r), f32
//                                 with DoRA .lora_magnitude_vector (M,), too
//     base.json                   hone's own: the base model's path, the hash of its weights, the blocks they were kept in; absent in folders of PEFT's making
//
// What an adapter changes is told by the tensors of its file, not by patterns: each module has both factors, of one rank.
#pragma once
#include "io/safetensors.h"
#include "model/decoder.h"

typedef struct hone_peft {
    char *folder;
    hone_lora_options options;      // .target: the modules that the file has
    char **module;                  // (options.n_target,)
    bool has_base; uint64_t base_hash; char *base_path, *base_blocks;   // what its matrices were kept in while the adapter was trained, "" numbers
    hone_safetensors set;
} hone_peft;

// Everything that hone does not do (another peft_type, other ranks per module, trained biases ...) is refused by name. On failure
// nothing is left to close.
hone_status hone_peft_open(hone_peft *peft, const char *folder);
void hone_peft_close(hone_peft *peft);
// Once the frozen weights are in memory: notes in model->lora whose they are.
hone_status hone_peft_note_base(hone_model *model, const char *path, hone_place_fn data, void *context);
// After hone_lora_declare(model, &peft->options) and that: the factors, to where data(context, tid) says. Refuses those that were
// trained on other weights, or whose shapes do not fit.
hone_status hone_peft_load(const hone_peft *peft, const hone_model *model, hone_place_fn data, void *context);

hone_status hone_peft_save_about(const hone_model *model, const char *folder);  // the two small files
// The factors as the content of adapter_model.safetensors, into an open writer.
hone_status hone_peft_write_factors(const hone_model *model, hone_writer *writer, hone_place_fn data, void *context);
// The whole folder; made if absent. Each file appears whole; the factors come last.
hone_status hone_peft_save(const hone_model *model, const char *folder, hone_place_fn data, void *context);
