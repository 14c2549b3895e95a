// op_hooks.h: what some ops want of a trial's operands beyond random numbers: ranges of attention, positive moments, a Gram matrix.
// A hook has kinds, variants of its own; it turns the operands that the harness made into those of one kind.
#pragma once
#include "support/op_harness.h"

struct op_hook {
    int kinds;                      // 0: the op has no hook, and one kind
    bool (*fill)(op_trial *trial);  // false: the trial is none of this kind's
};
extern const struct op_hook op_hook[HONE_OP_COUNT];

// What hooks and harness share (op_harness.c).
enum { OP_SLOTS = 3, OP_BLOCKS = 5 };   // S and B of ops that only optional operands show
const hone_operand_spec *op_spec(const op_trial *trial, int i);
int op_operand_named(const hone_op_info *info, const char *name);   // -1: none
hone_operand *op_named(op_trial *trial, const char *name);          // which must be
int64_t op_symbol(const op_trial *trial, const char *name);         // a size of the row, by its symbol or expression
int64_t op_count(const hone_operand *operand);                      // elements, by bounds
void *op_block_new(size_t bytes);                                   // NaN in every dtype, and a guard behind; free() it
