// op.h: ops.def as code: ids, attributes, facts.
#pragma once
#include "base/error.h"
#include "graph/tensor.h"

typedef enum {
#define OP(name, ...) HONE_OP_##name,
#include "graph/ops.def"
#undef OP
    HONE_OP_COUNT
} hone_op;

enum { HONE_MAX_IN = 8, HONE_MAX_OUT = 5, HONE_MAX_PARTS = 3 };

// A node's constants. One flat struct: an op reads what its row in ops.def names and ignores the rest (zero).
typedef struct hone_attr {
    int32_t heads, kv_heads, head_dim;  // H, G, D
    int32_t q_col, k_col, v_col;        // attention, kv_write: first column of each part; v_col: blend
    int32_t window;                     // attention: 0 = unbounded
    int32_t group_rows;                 // attention: rows come in groups of this many that share no keys (T of training); 0 = one group
    int32_t block;                      // attention: keys a block of the table holds
    int32_t inverse;                    // rope
    hone_form form; hone_dtype dtype;   // pack: what to make
    hone_dtype product;                 // HONE_PRODUCT ops: bf16, f16 = operands are rounded to it before they are multiplied; int8 = quantised (quantize.h); e4m3, e4m3_128 = in fp8 (fp8.h); else as they are
    int32_t parts;                      // lora_*, dora*, pack: matrices of the weight that have factors
    int32_t part_col[HONE_MAX_PARTS], part_rows[HONE_MAX_PARTS];    // where each begins among the weight's rows, and how many it has
    int32_t fold;                       // lora_linear: its gradient multiplies by the changed matrix, of which pack makes one form
    float cap;                          // linear_xent, linear_logprob, softcap: logits z become cap tanh(z / cap), attention: scores; 0 = as they are
    float scale;                        // attention: of scores; lora_*, dora_norm, pack: of the change; scale; noise: most of it; muon: of the step; pair_loss: beta
    float eps;                          // norms, adamw
    float base;                         // rmsnorm, layernorm, qk_norm: added to g (1 in families that keep g - 1)
    float beta1, beta2, decay;          // adamw; beta1: momentum; decay: muon
    float max_norm;                     // clip_factor: 0 = never
    float poly[3];                      // gram_poly
    float rate;                         // dropout: share that is dropped; pair_loss: of pairs that are taken for wrongly ordered
    int32_t stream;                     // adamw, adamw8, momentum: which random numbers round its moments; dropout: drop; noise
} hone_attr;

#define HONE_INPLACE(k) (1 << 8 | (k))  // output 0 may take input k's place
enum { HONE_CHEAP = 1 << 9, HONE_PRODUCT = 1 << 10, HONE_INTEGERS = 1 << 11,
       HONE_MOVE = 1 << 12,                // the executor's own: every MOVE row has it
       HONE_FP8 = 1 << 13 };

typedef struct hone_operand_spec {
    char name[16];
    bool optional, update, half, blocked;    // `?`, `+`, `~`, `#`
    bool any_float;                 // no dtype named; (f32 means f32, or f64 in an f64 graph)
    hone_dtype dtype;               // HONE_DTYPE_COUNT: any
    char below[8];                  // i32<V>: the symbol, "" none
    int rank;
    char dim[HONE_MAX_RANK][16];    // expressions
} hone_operand_spec;

typedef struct hone_op_info {
    const char *name, *inputs, *outputs, *flops, *case_symbols, *what;
    bool has_grad;
    int flags, n_in, n_out, n_case;
    const int64_t *cases;           // (n_case, 8) values of case_symbols
    hone_operand_spec in[HONE_MAX_IN], out[HONE_MAX_OUT];
} hone_op_info;

const hone_op_info *hone_op_get(hone_op op);
uint64_t hone_op_table_hash(void);          // of all rows: a loaded backend must have been built against the same table

// Values of the symbols of a node: bound by shapes. Used for inference, validation, FLOPs and the harness.
typedef struct hone_symbols { char name[12]; int64_t value; } hone_symbol;
typedef struct hone_binding { hone_symbol symbol[16]; int count; } hone_binding;
hone_status hone_binding_set(hone_binding *binding, const char *symbol, int64_t value); // fails on a conflict
hone_status hone_binding_eval(const hone_binding *binding, const char *expression, int64_t *value); // fails on an unbound symbol
// Binds the one unbound symbol of a product ("2*F") from its value.
hone_status hone_binding_solve(hone_binding *binding, const char *expression, int64_t value);
