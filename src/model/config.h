// config.h: the sizes and switches of a decoder, read from and written to a Hugging Face config.json.
// One struct serves every family; what differs between families is in families.def (keys, switches, weight names).
//
// Invariant of a config that hone_config_check() passed: sizes are positive and bounded (no product of two of them
// overflows int64 bytes), H % G == 0, D even where RoPE turns pairs, and the family's config.json can say all of it.
#pragma once
#include "base/json.h"
#include "graph/graph.h"

typedef enum { HONE_NORM_RMS, HONE_NORM_LAYER } hone_norm;
typedef enum { HONE_NORMS_BEFORE, HONE_NORMS_BEHIND, HONE_NORMS_AROUND } hone_norms; // where attention and MLP have theirs
typedef enum { HONE_MLP_SWIGLU, HONE_MLP_GELU, HONE_MLP_RELU2, HONE_MLP_GEGLU } hone_mlp;
typedef enum { HONE_ROPE_NONE, HONE_ROPE_PLAIN, HONE_ROPE_LINEAR, HONE_ROPE_LLAMA3 } hone_rope; // NONE: learned positions

enum { HONE_MAX_EOS = 8 };

typedef struct hone_config {
    const struct hone_family *family;
    int64_t vocab, width, mlp_width, layers, heads, kv_heads, head_dim, max_positions; // V C F L H G D
    hone_norm norm; hone_norms norms; hone_mlp mlp; hone_rope rope;
    double norm_eps, rope_theta, init_std;
    double softcap;                 // logits z become softcap tanh(z / softcap); 0: as they are
    double embed_scale, residual_scale, logit_scale; // of embeddings; of what is added to the residual stream; of logits: 1 / it. 0: 1
    double attention_scale;         // of scores; 0: 1 / sqrt(head_dim)
    double attention_cap;           // scores s become attention_cap tanh(s / attention_cap); 0: as they are
    bool embed_root;                // embeddings are scaled by sqrt(width)
    double norm_base;               // what is added to a norm's gain: 1 in families that keep the gain less 1
    double rope_part;               // share of a head that turns, 0: all of it
    double rope_factor, rope_low, rope_high; int64_t rope_original;   // linear and llama3 scaling
    double rope_local;              // rope_theta of the layers with a window, which turn without scaling; 0: as the others
    int64_t window, window_from;    // sliding window in tokens (0 none) of layers >= window_from; see hone_config_window
    int64_t full_every;             // of so many layers with a window each last one has none; 0: all have
    bool tied, qkv_bias, out_bias, mlp_bias, qk_norm;
    bool qk_whole;                  // qk_norm: over all of q and all of k, not head by head
    int64_t value_embeddings;       // tables whose rows are added to v, see hone_config_value_table; 0: none
    bool skip_connections;          // the last half of the layers take in what the first half put out, see hone_config_skip_from
    bool own;                       // of no family of transformers: only hone reads such a folder
    bool init_scaled;               // o and down start with init_std / sqrt(2 L) (Radford et al. 2019)
    bool heads_divide_width;        // transformers refuses C % H != 0 in this family, even with head_dim given
    int64_t bos, eos[HONE_MAX_EOS], n_eos;     // -1 / 0: none
    int64_t pad;
} hone_config;

// Columns of a head that rotary embedding turns.
static inline int64_t hone_config_rotated(const hone_config *config)
{
    return config->rope_part > 0 ? (int64_t)((double)config->head_dim * config->rope_part) : config->head_dim;
}

// Tokens that a query of this layer sees, itself included; 0: all before it.
static inline int64_t hone_config_window(const hone_config *config, int64_t layer)
{
    const bool full = config->full_every > 0 && (layer + 1) % config->full_every == 0;
    return layer >= config->window_from && !full ? config->window : 0;
}

// The table that this layer adds to its values, or -1: the first layers and the last share the tables, in turn.
static inline int64_t hone_config_value_table(const hone_config *config, int64_t layer)
{
    const int64_t K = config->value_embeddings, last = config->layers - K;
    return layer < K ? layer : layer >= last ? layer - last : -1;
}

// The layer whose output is added to this layer's input, or -1: the last with the first, inwards.
static inline int64_t hone_config_skip_from(const hone_config *config, int64_t layer)
{
    return config->skip_connections && layer >= config->layers - config->layers / 2 ? config->layers - 1 - layer : -1;
}

// The MLP has gate and up.
static inline bool hone_config_gated(const hone_config *config) { return config->mlp == HONE_MLP_SWIGLU || config->mlp == HONE_MLP_GEGLU; }

// One key of config.json <-> one field. Kinds: families.def.
typedef enum {
    HONE_KEY_SIZE, HONE_KEY_WHOLE, HONE_KEY_REAL, HONE_KEY_CAP, HONE_KEY_ROOT, HONE_KEY_FLAG, HONE_KEY_TOKEN, HONE_KEY_TOKENS, HONE_KEY_ROPE, HONE_KEY_LOCAL_BASE, HONE_KEY_WINDOW,
    HONE_KEY_LAYER_WINDOW, HONE_KEY_PATTERN_WINDOW, HONE_KEY_CHOICE, HONE_KEY_FIXED, HONE_KEY_NOTE
} hone_key_kind;

typedef struct hone_key_row {
    hone_key_kind kind;
    const char *key;
    size_t field;                   // offset in hone_config
    double fallback;                // where the key is absent; HONE_KEY_REQUIRED, HONE_KEY_DERIVED
    const char *text;               // FIXED: JSON list of accepted values; CHOICE: of the enum's values; NOTE: the value to write
} hone_key_row;
#define HONE_KEY_REQUIRED (-1e300)
#define HONE_KEY_DERIVED 1e300

// One parameter <-> one tensor of the Hugging Face folder.
typedef struct hone_weight_row {
    const char *file_name;          // "model.layers.{layer}.self_attn.q_proj.weight"; {layer} as in hone's name
    const char *param;              // hone's logical parameter, "layers.{layer}.q"; NULL: known and ignored
    int32_t part, parts;            // GPT-2's c_attn holds q, k, v: part 0, 1, 2 of 3 equal column blocks; else 0 of 1
    bool transposed;                // GPT-2's Conv1D stores (in, out)
    const char *when;               // switch that must be on for the row to exist: hone_config_has()
} hone_weight_row;
bool hone_weight_is_layered(const char *pattern);                   // has {layer}
char *hone_weight_name(const char *pattern, int64_t layer);         // "a.{layer}.b", 3 -> "a.3.b"; hone_free() it
bool hone_weight_matches(const char *pattern, const char *name);    // the pattern for some layer
hone_tid hone_weight_find(const hone_graph *graph, const char *pattern, int64_t layer);  // the parameter of that name, or HONE_NONE

typedef struct hone_family {
    const char *model_type, *architecture;   // "llama", "LlamaForCausalLM"
    const char *prefix;                      // of the base model's names: some files leave it out
    const hone_key_row *key; int n_key;
    const hone_weight_row *row; int n_row;
    hone_config switches;                    // what the family is before any key is read
} hone_family;

const hone_family *hone_family_find(const char *model_type);   // NULL if unknown
const hone_family *hone_family_at(int index);                  // NULL behind the last
bool hone_family_transposes(const hone_family *family);        // its files have some matrices (in, out)

hone_status hone_config_load(hone_config *config, const char *path); // config.json; unknown family and bad sizes named
hone_status hone_config_save(const hone_config *config, const char *path);
hone_status hone_config_check(const hone_config *config, const char *where); // every error in the file's own key names
// The same without a file: a recipe's model keys are read by this table too. `where` starts each message.
hone_status hone_config_read(hone_config *config, const json_t *json, const char *where);
hone_status hone_config_write(const hone_config *config, const char *where, json_t **json);   // json_decref() it

// A weight row's switch: "", "qkv_bias", "out_bias", "mlp_bias", "gated", "gate_bias", "norm_bias", "qk_norm", "untied"; and those that some
// layers alone have: "value_table" (`layer` counts tables), "value_gain", "skip_gain".
bool hone_config_has(const hone_config *config, const char *when, int64_t layer);
