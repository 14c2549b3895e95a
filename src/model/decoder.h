// decoder.h: one decoder builder for all families. Writes parameters and programs into a graph; sees no backend.
//
//   h = embed(ids) (+ wpe[pos])
//   each block:  h = h + O attention(rope(qk_norm(QKV norm1(h))));  h = h + D act(U norm2(h))
//   logprob = linear_xent(norm(h), head)
//
// Logical parameters (names are the program's contract with io/ and optim/):
//   embed.tokens (V,C)  embed.positions (P,C)  layers.N.norm1.g/.b (C)  layers.N.q (H*D,C)  .k .v (G*D,C)  .o (C,H*D)
//   layers.N.q.b ...bias of q; .q_norm .k_norm (D)  layers.N.norm2.g/.b  layers.N.gate .up (F,C)  .down (C,F)
//   GPT-2's MLP has .up and .down only.  norm.g/.b (C)  head (V,C) where not tied.
// q, k, v are views of one storage layers.N.qkv (H*D+2*G*D, C), gate and up of layers.N.gate_up (2*F, C), likewise biases.
#pragma once
#include "model/config.h"
#include "graph/pass.h"

typedef struct hone_model {
    hone_config config;
    hone_graph *graph;
    hone_tid *param; int64_t n_param;          // logical parameters (views or storages), in file order
    hone_tid embed, positions, head;           // head == embed where tied; positions HONE_NONE with RoPE
    hone_tid final_g, final_b;
    struct hone_block *block;                  // (layers,) tids of each block's storages
} hone_model;

// Declares all parameters. The graph and the model live together.
hone_status hone_model_declare(hone_model *model, hone_graph *graph, const hone_config *config);
void hone_model_release(hone_model *model);

// Inputs of micro and score for N = rows * T tokens (class input; written by the host before each run):
typedef struct hone_train_io {
    hone_tid ids, pos, lo, hi, target, weight;  // i32[N] x 5, f32[N]; lo, hi: global rows, see op attention
    hone_tid logprob;                           // f32[N] output
    int64_t N, T;
} hone_train_io;
// Program "micro": forward, backward (hone_pass_grad), cheap recompute, forms at use.
hone_status hone_model_build_micro(hone_model *model, int64_t rows, int64_t T, hone_train_io *io);
// Program "score": same inputs (target = ids to score; weight unused) and same kernels on the same rows: logprobs bit-identical.
hone_status hone_model_build_score(hone_model *model, int64_t rows, int64_t T, hone_train_io *io);

// Program "decode": up to N token rows a run, each with slot, position, cache row; `count` i32[1] live rows (<= N);
// `wanted` rows R whose logits are computed, with `wanted_count` live.
typedef struct hone_decode_io {
    hone_tid count, ids, pos, slot, cache_row, lo, hi;  // i32[1], i32[N] ...
    hone_tid table;                                     // i32[S, blocks]: block table, an input
    hone_tid wanted_count, wanted;                      // i32[1], i32[R]
    hone_tid logits;                                    // f32[R, V] output
    int64_t N, R, S, blocks, block, cache_rows;         // sizes
} hone_decode_io;
// With program "refresh" that makes the living forms; run it once after the weights are loaded.
hone_status hone_model_build_decode(hone_model *model, int64_t N, int64_t R, int64_t slots, int64_t context, hone_decode_io *io);

// Random initial weights (as transformers initialises the family), keyed by seed and parameter name: called after the
// session is allocated; data(tid) gives the place.
void hone_model_init(const hone_model *model, uint64_t seed, void *(*data)(void *context, hone_tid id), void *context);
int64_t hone_model_count(const hone_model *model);       // parameters
double hone_model_flops_per_token(const hone_config *config, int64_t T); // DESIGN: 6 x matmul parameters + 6 L H D T
