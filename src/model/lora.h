// lora.h: low-rank changes of frozen matrices (LoRA; Hu et al. 2021).
//
//     W' = W + scale B A        A (r, K)   B (M, r)   scale = alpha / r, or alpha / sqrt(r) (rsLoRA; Kalajdzievski 2023)
//     W' = m (W + scale B A) / |W + scale B A|, row by row: DoRA (Liu et al. 2024), m (M,) another factor
//
// A *module* is one matrix of the Hugging Face folder (q_proj, or GPT-2's c_attn of q, k and v together): what PEFT gives a pair
// of factors. A *site* is one weight storage with all its modules: they read the same rows, so their A lie below each other in one
// storage and one product serves them all; op lora_linear adds t = x A^T times each module's B to its own columns.
//
//     q, k, v:     x -- A_q|A_k|A_v --> t (N, 3 r) -- B_q, B_k, B_v --+
//                  x ------------------- W_qkv -----------------------+--> q|k|v
//
// Where many rows are trained at a time a site *folds*: op pack, which makes a form of W for dx anyway, makes one of W + scale B A, and
// the product dt A over all rows is gone. (Forward it would not do: B A is far below a step of 8 bits, and what rounding makes of
// it changes from step to step. It cost 0.7 % of held-out loss.)
//
// Use: hone_model_declare -> hone_lora_declare -> hone_model_build_* (which call the pass) -> ... weights -> hone_lora_init, or
// the factors from a file (io/peft.h). All else of the model is frozen: no gradients, no moments, no dW (graph/grad.c).
#pragma once
#include "graph/pass.h"

struct hone_model;

typedef struct hone_lora_options {
    int64_t rank;
    double alpha;
    bool rslora, dora;
    double dropout;                               // share of a site's inputs that its factors do not see in training
    int64_t fold_rows;                            // that are trained at a time, where the backend folds (backend.h); 0: nothing is folded
    const char *const *target; int64_t n_target;  // modules by name, or the end of it behind a dot ("q_proj"); "all": every one
} hone_lora_options;

typedef struct hone_lora_module {
    char *name;                       // "model.layers.3.self_attn.q_proj"
    int layer;
    hone_tid weight; int64_t row, rows;   // storage, and the module's rows of it
    hone_tid a, b, m;                 // logical factors; m: HONE_NONE without DoRA
} hone_lora_module;

typedef struct hone_lora_site {
    hone_tid weight, a, b, m;         // storages
    hone_attr attr;                   // of lora_linear
} hone_lora_site;

typedef struct hone_lora {            // rank 0: none
    int64_t rank;
    double alpha;
    bool rslora, dora;
    double dropout;
    char *base_path; uint64_t base_hash;   // the frozen weights: where they are from, and what they are; set once they are loaded (io/peft.h)
    hone_lora_module *module; int64_t n_module;
    hone_lora_site *site; int64_t n_site;
} hone_lora;

double hone_lora_scale(const hone_lora *lora);
// Freezes the model and declares the factors. Fails where a target names no module; the message lists those that there are.
hone_status hone_lora_declare(struct hone_model *model, const hone_lora_options *options);
void hone_lora_release(hone_lora *lora);
// The forward nodes of a program: each product with a site's weight gets its low-rank change. Before grad, precision and forms.
// drop: op dropout's key in training (matrices that read the same rows drop the same), HONE_NONE: nothing is dropped.
void hone_pass_lora(const hone_lora *lora, hone_graph *graph, hone_program *program, hone_tid drop);
// A uniform in +-1/sqrt(K), as PEFT draws it (a number is a function of seed, name, index), B zero: W' begins as W.
void hone_lora_init(const struct hone_model *model, uint64_t seed, void *(*data)(void *context, hone_tid id), void *context);
void hone_lora_fill_lengths(const struct hone_model *model, void *(*data)(void *context, hone_tid id), void *context);   // m = |W|, of the base as it lies in memory
static inline int hone_lora_factors(const hone_lora *lora) { return lora->dora ? 3 : 2; }    // of a module: A, B, m
static inline hone_tid hone_lora_factor(const hone_lora *lora, int64_t i)                    // of all modules, in order
{
    const hone_lora_module *m = &lora->module[i / hone_lora_factors(lora)];
    return (const hone_tid[]){ m->a, m->b, m->m }[i % hone_lora_factors(lora)];
}
int64_t hone_lora_count(const struct hone_model *model);      // numbers in the factors
