// op_harness.h: one bench for all ops, driven by the rows of ops.def: a new row is tested without a line here.
//
//     row + variant -> trial (operands made from the row alone) -> run on a backend -> judge against another run
//
// Operands: dims from the row's case; real ones N(0, 1), indices uniform below their bound, all keyed by (op, operand).
// Only where an op wants structure (ranges of attention, positive moments) has it a hook in op_harness.c. Operands that a
// backward takes from its forward (rstd, o, lse ...) are made by running that forward, found by name.
// Ordinary outputs start as NaN, every operand is followed by guard bytes, and rows behind a live count hold NaN and
// wild indices: a kernel that reads or writes what it must not gives itself away.
#pragma once
#include "graph/backend.h"

typedef struct op_variant {
    hone_op op;
    int number;         // of the case in the row
    int kind;           // of the op's hook, 0 where it has none
    unsigned present;   // optional operands, inputs then outputs, one bit each
    bool live;          // operands of token rows have a live count below their bound
    unsigned half;      // operands stored in 16 bits: one bit each, inputs, then from bit HONE_MAX_IN on outputs
    hone_dtype narrow;  // these are bf16 (unless f16 is said)
    hone_dtype real;    // all other real operands: f32, or f64
} op_variant;

typedef struct op_trial {
    op_variant variant;
    const hone_op_info *info;
    hone_binding binding;
    hone_args args;
    int32_t live;
    void *block[HONE_MAX_IN + HONE_MAX_OUT];    // what args points into; NULL where absent or shared (same_kv)
    size_t bytes[HONE_MAX_IN + HONE_MAX_OUT];   // without guard
    char label[160];
} op_trial;

// Steps through all variants of an op (number, kind, present, live; half and real stay). Start with op_variant_first.
op_variant op_variant_first(hone_op op);
bool op_variant_next(op_variant *variant);

void op_trial_make(op_trial *trial, const op_variant *variant);
void op_trial_copy(op_trial *copy, const op_trial *trial);
void op_trial_free(op_trial *trial);
hone_operand *op_trial_operand(op_trial *trial, int i); // inputs, then outputs
bool op_operand_is_rows(const op_trial *trial, int i);  // its dimension 0 is the one that a live count may cut

// One run as the executor would do it. False, and why, where the backend declines the node.
bool op_trial_run(op_trial *trial, const hone_backend *backend, void *self, const char **why_not);
// Replaces weight input `w` by a private form of this backend; false where it has no such form or no use for it here.
bool op_trial_pack(op_trial *trial, const hone_backend *backend, void *self, hone_form form);
// Output 0 takes its in-place input's memory. False where the op has no such input, or this variant leaves it out.
bool op_trial_place(op_trial *trial);

// NULL if `trial` (run) is as good as `reference` (run by ref from the same operands), else what is wrong with it.
// Compares each output's normalised error with a derived bound (see op_harness.c), and everything that must be untouched.
const char *op_trial_judge(const op_trial *trial, const op_trial *reference);
extern bool op_fp8_sums_are_short;   // on a GPU
extern bool op_attention_in_pairs;   // on a CPU with dot products of bf16
extern bool op_shares_are_half;      // on any CPU
// NULL if the outputs of both are the same bits in the first `rows` rows (-1: everywhere), else which is not.
const char *op_trial_same(const op_trial *trial, const op_trial *other, int64_t rows);

// A backend that runs another one and then spoils the result: what the judges must reject.
typedef enum {
    SPOIL_NOTHING,
    SPOIL_SCALE,      // output `operand` x 1.01
    SPOIL_SKIP,       // its last tile of rows (up to 8) is left as it was
    SPOIL_DROP,       // optional operand `operand` is ignored
    SPOIL_OVERWRITE,  // updated output `operand` is written, not added to
    SPOIL_BEYOND,     // one element behind the live rows is written
    SPOIL_ULP,        // one element of the output is off by its last bit (for judges of bit identity)
    SPOIL_COUNT
} op_spoil;
extern const char *const op_spoil_name[SPOIL_COUNT];
typedef struct op_spoiler {
    const hone_backend *backend;
    void *self;
    op_spoil spoil;
    int operand;              // inputs, then outputs, as in op_trial_operand
    const hone_args *only;    // spoils this node alone; NULL: all
} op_spoiler;
extern const hone_backend op_spoiler_backend;   // its self is an op_spoiler
bool op_spoil_applies(const op_trial *trial, op_spoil spoil, int operand);
