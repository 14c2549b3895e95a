// decoder.h: one decoder builder for all families. Writes parameters and programs into a graph; sees no backend.
//
//   h = embed(ids) (+ wpe[pos])
//   each block:  h = h + O attention(rope(qk_norm(QKV norm1(h))));  h = h + D act(U norm2(h))
//   with value_embeddings v of QKV norm1(h) is v + value_gain embed.values.K(ids); with skip_connections h is h + skip_gain (an earlier h) first
//   with norms behind (OLMo 2):  h = h + post1(O attention(... h)) ...; around (Gemma 2): both
//   logprob = linear_xent(norm(h), head); for pairs of replies with weights of pair_loss(linear_logprob(norm(h), head))
//
// Logical parameters (names are the program's contract with io/ and optim/):
//   embed.tokens (V,C)  embed.positions (P,C)  layers.N.norm1.g/.b (C)  layers.N.q (H*D,C)  .k .v (G*D,C)  .o (C,H*D)
//   layers.N.q.b ...bias of q; .q_norm .k_norm (D)  layers.N.norm2.g/.b  .post1.g .post2.g  layers.N.gate .up (F,C)  .down (C,F)
//   layers.N.skip_gain (C)  layers.N.value_gain (G*D)  embed.values.K (V,G*D)
//   GPT-2's MLP has .up and .down only.  norm.g/.b (C)  head (V,C) where not tied.
// q, k, v are views of one storage layers.N.qkv (H*D+2*G*D, C), gate and up of layers.N.gate_up (2*F, C), likewise biases.
//
// Use:  declare -> build_micro / build_score / build_decode -> hone_session_open -> hone_model_init, or load the weights
// and hone_model_fill_constants -> (decode: run "refresh") -> write inputs, run, read outputs.
#pragma once
#include "model/config.h"
#include "graph/pass.h"
#include "model/blocked.h"
#include "model/lora.h"

// The storages of one block; HONE_NONE where the family has none.
typedef struct hone_block {
    hone_tid norm1_g, norm1_b, qkv, qkv_b, q_norm, k_norm, o, o_b;
    hone_tid norm2_g, norm2_b, up, up_b, down, down_b;   // up: gate and up in one storage where the MLP is gated
    hone_tid post1_g, post1_b, post2_g, post2_b;         // of norms behind attention and MLP
    hone_tid values, value_gain, skip_gain;              // block k: table k; gains of what is added to v, and to the block's input
    hone_tid looked_up, put_out;                         // of the program built last: rows of `values`, the block's output
} hone_block;

typedef struct hone_model {
    hone_config config;
    hone_graph *graph;
    bool zero_outputs;                         // unless set: o and down start as random as the rest; see hone_model_init
    double pair_beta, pair_smoothing;          // beta > 0: the loss of programs micro built from then on is of pairs of replies (op pair_loss)
    double noise_alpha;                        // NEFTune: programs of training add noise to the embeddings; 0: none
    hone_dtype cache;                          // f32 unless set, or bf16, or int8 (graph/kv8.h): what decode keeps of keys and values
    hone_dtype product;                        // f32 unless set: what the matrix products of programs built from then on multiply
    double fp8_flops_per_byte;                 // where that is fp8: see hone_fp8_judge (graph/pass.h)
    hone_tid *param; int64_t n_param;          // logical parameters (views or storages), in file order
    hone_tid embed, positions, head;           // head == embed where tied; positions HONE_NONE with RoPE
    hone_tid final_g, final_b;
    hone_tid rope_local;                       // the same of layers with a window; HONE_NONE: those turn like the others
    hone_tid rope_freq;                        // (R/2) state, R columns of a head turn; HONE_NONE without RoPE: hone_model_fill_constants writes it
    hone_tid score_count; int64_t score_rows;  // see hone_train_io.count
    hone_block *block;                         // (layers,)
    uint64_t *blocked_hash;                    // (n_param,) of the numbers that matrices in blocks were made of; NULL: none is (blocked.h)
    hone_lora lora;                            // low-rank changes of frozen matrices; rank 0 none
} hone_model;

// What decode keeps of keys and values where nobody says: in a batch they are most of what a step reads.
static inline hone_dtype hone_model_cache_of(hone_dtype product) { return product == HONE_f32 ? HONE_f32 : HONE_bf16; }

// Declares all parameters. The graph and the model live together.
hone_status hone_model_declare(hone_model *model, hone_graph *graph, const hone_config *config);
void hone_model_release(hone_model *model);

// Inputs of micro and score for N = rows * T tokens (class input; written by the host before each run). Row n of sequence
// n / T: target[n] is the id that ids[n] predicts, pos[n] its place in its document, [lo, hi) the rows it may see: with
// documents packed, lo[n] = n - pos[n], hi[n] = n + 1.
typedef struct hone_train_io {
    hone_tid ids, pos, lo, hi, target, weight;  // i32[N] x 5, f32[N]; lo, hi: global rows, see op attention
    hone_tid logprob;                           // f32[N] output
    hone_tid scored, pair, reference, measure;  // of pairs, else HONE_NONE: i32[N, 1] target again, i32[N], f32[N / 2, 2], f32[N / 2, 3] output
    hone_tid drop;                              // i32[3] of micro where factors drop inputs or embeddings get noise (graph/drop.h), else HONE_NONE
    hone_tid count;                             // score: i32[1] rows in use, N unless written; micro: HONE_NONE
    int64_t N, T;
} hone_train_io;
// Program "micro", its forward alone: what passes start from.
void hone_model_build_forward(hone_model *model, int64_t rows, int64_t T, hone_train_io *io);
// Program "micro": forward, backward (hone_pass_grad), forms at use; every activation that the backward reads is stored.
hone_status hone_model_build_stored(hone_model *model, int64_t rows, int64_t T, hone_train_io *io);
// The same, recomputing what is cheap.
hone_status hone_model_build_micro(hone_model *model, int64_t rows, int64_t T, hone_train_io *io);
// Program "score": same inputs (target = ids to score; no weight) and same kernels on the same rows: logprobs bit-identical.
hone_status hone_model_build_score(hone_model *model, int64_t rows, int64_t T, hone_train_io *io);

// Program "decode": up to N token rows a run, each with slot, position, cache row; `count` i32[1] live rows (<= N);
// `wanted` rows R whose logits are computed, with `wanted_count` live. Rows of one slot stand together, by position.
// Key j of slot s lies in row table[s][j / block] * block + j % block of each layer's cache; cache_row[n] is that row for
// (slot[n], pos[n]); lo[n] = 0, hi[n] = pos[n] + 1 (a sliding window is an attribute of the nodes).
typedef struct hone_decode_io {
    hone_tid count, ids, pos, slot, cache_row, lo, hi;  // i32[1], i32[N] ...
    hone_tid table;                                     // i32[S, blocks]: block table, an input
    hone_tid wanted_count, wanted;                      // i32[1], i32[R]
    hone_tid logits;                                    // f32[R, V] output
    int64_t N, R, S, blocks, block, cache_rows;         // sizes
} hone_decode_io;
enum { HONE_KV_BLOCK = 32 };                            // keys a block holds
// With program "refresh" that makes the living forms: run it after the weights were loaded or another program ran (these
// forms and the keys lie where the others' activations lie). `context` bounds the
// length of one slot; the pool of blocks holds all slots at that length.
hone_status hone_model_build_decode(hone_model *model, int64_t N, int64_t R, int64_t slots, int64_t context, hone_decode_io *io);
// The same with a pool of `pool` blocks: fewer than slots * context / block, because few sequences reach `context`.
hone_status hone_model_build_decode_pool(hone_model *model, int64_t N, int64_t R, int64_t slots, int64_t context, int64_t pool,
                                         hone_decode_io *io);

// After the session is allocated; data(context, tid) gives a tensor's place. NULL: it has none, its home is a file (graph/offload.h).
typedef void *(*hone_place_fn)(void *context, hone_tid id);
// Such a tensor's bytes [first, first + size) to `data`, or (store) from it. Any thread, between runs of what changes it.
typedef hone_status (*hone_carry_fn)(void *context, hone_tid id, size_t first, size_t size, void *data, bool store);
// Random initial weights (as transformers initialises the family), keyed by seed and parameter name; and the constants.
// With zero_outputs, what is added to the residual stream (o, down) starts at zero: every block is the identity at first
// (Zhang, Dauphin & Ma 2019).
void hone_model_init(const hone_model *model, uint64_t seed, hone_place_fn data, void *context);
// What is neither learned nor an input of each run: RoPE frequencies, score's count. Needed after loading weights, too.
void hone_model_fill_constants(const hone_model *model, hone_place_fn data, void *context);
void hone_config_rope_frequencies(const hone_config *config, float *freq); // (hone_config_rotated() / 2,) as transformers computes them

int64_t hone_model_count(const hone_model *model);       // parameters
uint64_t hone_model_hash(const hone_model *model, hone_place_fn data, void *context);   // of its weights (those in blocks: of the numbers that they were made of), not of adapters
// Logical parameters one by one: the model's, then the factors of its adapters.
int64_t hone_model_n_logical(const hone_model *model);
hone_tid hone_model_logical(const hone_model *model, int64_t i);
double hone_model_flops_per_token(const hone_config *config, int64_t T); // DESIGN: 6 x matmul parameters + 6 L H D T
// The same of a model whose frozen matrices are counted 4 x, with adapters' factors.
double hone_model_trained_flops_per_token(const hone_model *model, int64_t T);
