// config.h: the sizes and switches of a decoder, read from and written to a Hugging Face config.json.
// One struct serves every family; what differs between families is a row of families.def (switches, key names, weights).
#pragma once
#include "base/json.h"
#include "graph/graph.h"

typedef enum { HONE_NORM_RMS, HONE_NORM_LAYER } hone_norm;
typedef enum { HONE_MLP_SWIGLU, HONE_MLP_GELU } hone_mlp;
typedef enum { HONE_ROPE_NONE, HONE_ROPE_PLAIN, HONE_ROPE_LINEAR, HONE_ROPE_LLAMA3 } hone_rope; // NONE: learned positions

typedef struct hone_config {
    const struct hone_family *family;
    int64_t vocab, width, mlp_width, layers, heads, kv_heads, head_dim, max_positions; // V C F L H G D
    hone_norm norm; hone_mlp mlp; hone_rope rope;
    double norm_eps, rope_theta, init_std;
    double rope_factor, rope_low, rope_high; int64_t rope_original;   // linear and llama3 scaling
    int64_t window;                 // sliding window in tokens, 0 none
    bool tied, qkv_bias, out_bias, mlp_bias, qk_norm;
    int64_t bos, eos[8], n_eos;     // -1 / 0: none
    int64_t pad;
} hone_config;

// One parameter <-> one tensor of the Hugging Face folder.
typedef struct hone_weight_row {
    const char *file_name;          // "model.layers.{layer}.self_attn.q_proj.weight"; {layer} as in hone's name
    const char *param;              // hone's logical parameter, "layers.{layer}.q"
    int32_t part, parts;            // GPT-2's c_attn holds q, k, v: part 0, 1, 2 of 3 equal column blocks; else 0 of 1
    bool transposed;                // GPT-2's Conv1D stores (in, out)
    const char *when;               // switch that must be on for the row to exist: "", "qkv_bias", "qk_norm", "untied", "rope", ...
} hone_weight_row;

typedef struct hone_family {
    const char *model_type, *architecture;   // "llama", "LlamaForCausalLM"
    const hone_weight_row *row; int n_row;
    hone_status (*read)(hone_config *config, const json_t *json, const char *path);   // keys -> config; checks sizes
    hone_status (*write)(const hone_config *config, json_t *json);                    // and back
} hone_family;

const hone_family *hone_family_find(const char *model_type);   // NULL if unknown
hone_status hone_config_load(hone_config *config, const char *path); // config.json; unknown family and bad sizes named
hone_status hone_config_save(const hone_config *config, const char *path);
hone_status hone_config_check(const hone_config *config, const char *where); // sizes positive, H % G == 0, D even ...
// Logical parameter shape: rows, columns (1 row for vectors).
