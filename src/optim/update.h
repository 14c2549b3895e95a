// update.h: the optimizer as a program of the graph.
//
//     update:   part[i] = sum_squares(grad i)          for each trained storage
//               norm, factor = clip_factor(part)       where the loss is scaled: of part / scale, and factor / scale
//               adamw(param i, grad i, moments i)      steps, and clears the gradient for the next step
//            or muon's nodes (optim/muon.h)            for each matrix of a block, where `muon`
//               average i += share (param i - average i)  where `average`: op muon's arithmetic with other constants
//               adapt_scale(norm)                      where the loss is scaled: doubles or halves (graph/loss_scale.h)
//
// Behind a norm that is not finite the factor is 0, and the rest changes nothing: it may be run all the same.
// AdamW steps fused storages (q|k|v, gate|up) as one: the arithmetic is elementwise, so it is the same as apart. Muon takes
// logical matrices. Decay applies to matrices. The host writes `hyper` before each run; a run reads nothing else from outside.
// Moments are tensors "moment1.<name>" and (AdamW) "moment2.<name>" with views like the parameter's own, so that checkpoints see
// logical parameters. They are f32, or of fewer bits rounded at random (graph/round.h): bf16, or 8 bits with scales
// "moments.scale.<name>". 8 bits are for AdamW's matrices: vectors stay f32 (there are few), Muon's moment is bf16 then.
#pragma once
#include "graph/pass.h"

typedef enum { HONE_MOMENTS_F32, HONE_MOMENTS_BF16, HONE_MOMENTS_INT8 } hone_moments;

typedef struct hone_optim_options {
    double beta1, beta2, epsilon, weight_decay, max_grad_norm;
    bool muon;                 // for matrices of blocks; AdamW for embeddings, head and vectors
    double muon_rate;          // in units of AdamW's
    double momentum;           // Muon's
    hone_moments moments;
    bool average;              // a mean of the weights, tensors "average.<name>", is kept beside them
    double fast_ratio;         // rate of parameters marked .fast, in units of the others'; 0 or 1: no difference
} hone_optim_options;

typedef struct hone_update_io {
    hone_tid hyper;            // f32[5] input: rate, 1 - beta1^t, 1 - beta2^t, Muon's rate, t
    hone_tid mix;              // f32[6] input of `average` (hone_optim_mix); HONE_NONE without it
    hone_tid fast_hyper;       // the same at fast_ratio times the rate; HONE_NONE: nothing is fast
    hone_tid norm;             // f32[2] output: global norm of the gradients, clip factor (over the loss scale)
    int64_t n_storage;         // trained storages
    int64_t n_norm;            // nodes of "update" up to the norm: they change no weight
} hone_update_io;

// After program "micro" was built: its gradients say what is trained. Makes program "update".
hone_status hone_optim_build_update(hone_graph *graph, const hone_optim_options *options, hone_update_io *io);
// The share that makes `average` the plain mean over the last `ratio` of `total` steps, for step 0, 1, ...; 0 before them.
double hone_optim_share(double ratio, int64_t step, double total);
void hone_optim_mix(double share, float mix[6]);
// hyper for step t = 1, 2, ...
void hone_optim_hyper(const hone_optim_options *options, double rate, int64_t t, float hyper[5]);
