// adamw.h: AdamW as a program of the graph.
//
//     update:   part[i] = sum_squares(grad i)          for each trained storage
//               norm, factor = clip_factor(part)
//               adamw(param i, grad i, moments i)      steps, and clears the gradient for the next step
//
// Fused storages (q|k|v, gate|up) are stepped as one: the arithmetic is elementwise, so it is the same as apart. Decay
// applies to matrices. The host writes `hyper` before each run; a run reads nothing else from outside.
// Moments are f32 tensors "moment1.<name>" and "moment2.<name>" with views like the parameter's own, so that checkpoints
// see logical parameters.
#pragma once
#include "graph/pass.h"

typedef struct hone_adamw_options { double beta1, beta2, epsilon, weight_decay, max_grad_norm; } hone_adamw_options;

typedef struct hone_update_io {
    hone_tid hyper;            // f32[3] input: rate, 1 - beta1^t, 1 - beta2^t
    hone_tid norm;             // f32[2] output: global norm of the gradients, clip factor
    int64_t n_storage;         // trained storages
    int64_t n_norm;            // nodes of "update" up to the norm: they change no weight
} hone_update_io;

// After program "micro" was built: its gradients say what is trained. Makes program "update".
hone_status hone_optim_build_update(hone_graph *graph, const hone_adamw_options *options, hone_update_io *io);
// hyper for step t = 1, 2, ...
void hone_adamw_hyper(const hone_adamw_options *options, double rate, int64_t t, float hyper[3]);
