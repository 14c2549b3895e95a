// pass.h: the passes that every run uses, in their order. A pass rewrites one program of the graph.
//
//     model builder -> grad -> precision -> forms -> offload -> recompute -> overlap -> layout         (offload, overlap: offload.h)
#pragma once
#include "graph/fp8.h"
#include "graph/graph.h"

// Appends the backward of all nodes of graph->now. Starts at nodes that end in a loss (linear_xent: its rule hands over
// the dx that the op computed itself). Parameters with .trained get a gradient tensor "grad.<name>" of class grad
// (one for a fused storage, with views like the storage's own), which backward nodes accumulate into. No node is made
// for what leads to no trained parameter: frozen weights have no dW.
// Returns through grad_of[tid] (hone_alloc'd, n_tensor long, HONE_NONE where none): the gradient of each tensor.
hone_status hone_pass_grad(hone_graph *graph, hone_tid **grad_of);

// The gradient tensor of a parameter, or HONE_NONE ("grad.<name>").
hone_tid hone_grad_of_param(const hone_graph *graph, hone_tid param);

// The state of the loss scale (loss_scale.h) by which "micro" multiplies its loss, or HONE_NONE ("loss_scale").
hone_tid hone_loss_scale_state(const hone_graph *graph);

// Activation checkpointing (Chen et al. 2016): of the forward nodes whose outputs the backward reads, those chosen by `drop`
// run again just before the first backward reader, with what they need (recompute.h). Bit-identical: the clone runs the
// same kernel on the same rows. After forms, so that a clone's weight is packed again at its use. budget.h chooses by bytes.
typedef bool (*hone_drop_fn)(const hone_graph *graph, const hone_program *program, const hone_node *node);
hone_status hone_pass_recompute(hone_graph *graph, hone_program *program, hone_drop_fn drop);
bool hone_drop_cheap(const hone_graph *graph, const hone_program *program, const hone_node *node);  // HONE_CHEAP ops: always worth it
bool hone_drop_blocks(const hone_graph *graph, const hone_program *program, const hone_node *node); // and all of a block but its output

// Matrix products of the program in `product` (f32, bf16, f16, int8, e4m3, e4m3_128): operands are rounded, sums are f32. (Micikevicius et al. 2018;
// bf16 needs no loss scaling: Kalamkar et al. 2019; f16 does: loss_scale.h.) int8: quantised as quantize.h says; of the head
// the gradients alone, its logits in bf16. e4m3, e4m3_128: as fp8.h says where hone_fp8_judge() takes them, the others in bf16. After storage.
void hone_pass_precision(const hone_graph *graph, hone_program *program, hone_dtype product, double fp8_flops_per_byte);

// Whether fp8 is for a node, before its forms are made, and if not, why (fp8.c).
typedef enum { HONE_FP8_TAKEN, HONE_FP8_NO_RULE, HONE_FP8_BLOCKED, HONE_FP8_FEW_ROWS, HONE_FP8_SIZE, HONE_FP8_WORK, HONE_FP8_VERDICTS } hone_fp8_verdict;
extern const char *const hone_fp8_reason[HONE_FP8_VERDICTS];
hone_fp8_verdict hone_fp8_judge(const hone_graph *graph, const hone_node *node, hone_dtype product, double flops_per_byte);
int64_t hone_fp8_bytes(const hone_graph *graph, const hone_node *node, hone_dtype product);    // what quantising its operands moves beyond what bf16 does

// Stores in `half` (bf16 or f16), to nearest even, every activation and gradient of one that only operands marked `~` in ops.def read and
// write: what lies between a norm and the sum that it is added to, and the head's input. f32 stay the residual stream and its gradient
// (as in PyTorch's autocast), statistics, log-probabilities, weights, their gradients. Before forms and recompute.
hone_status hone_pass_storage(hone_graph *graph, hone_program *program, hone_dtype half);
static inline hone_dtype hone_storage_of_product(hone_dtype product) { return product == HONE_f16 ? HONE_f16 : HONE_bf16; }   // that goes with it
// Whether a backend may be handed a real operand in 16 bits: what ops.def marks `~`, the weight of a product, what a pack reads and
// makes, moments (these in bf16 alone).
bool hone_may_be_half(hone_op op, bool output, int operand);

// Where each weight's matrix form is made. `at_use`: a pack node before each use, dropped after it (training: a form costs
// one read of the weight, a thousandth of the product). `living`: class cache, made by program "refresh", which runs
// once after weights changed or another program ran (decode: few rows per run).
typedef enum { HONE_FORMS_NONE, HONE_FORMS_AT_USE, HONE_FORMS_LIVING } hone_forms;
hone_status hone_pass_forms(hone_graph *graph, hone_program *program, hone_forms policy);

// The update program is built by optim/update.h.
