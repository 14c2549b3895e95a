// muon.h: Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) as nodes: a matrix steps along the orthogonal matrix
// nearest to its momentum, so that all its directions learn at one rate.
//
//     u = momentum(gradient)                       Nesterov
//     u = U S V^T   ->   x ~ U V^T                 a few polynomials p(u u^T) u that bring every singular value near 1
//     weight = (1 - rate decay) weight - rate sqrt(max(1, rows / columns)) x
//
// U V^T is of one logical matrix: q, k, v, gate, up are taken apart. The work is on the smaller side: x x^T or x^T x, half
// of which is computed (both are symmetric, and so is every polynomial of them); products are of bf16 with sums in f32.
#pragma once
#include "graph/graph.h"

// One matrix (rank 2) and its gradient and moment of the same shape.
typedef struct hone_muon_operands { hone_tid param, grad, moment; } hone_muon_operands;

// Appends the nodes of one step. hyper, norm: as in optim/update.h.
void hone_muon_add(hone_graph *graph, double momentum, double decay, hone_tid hyper, hone_tid norm, hone_muon_operands of);
// The polynomials: step k makes c0 s + c1 s^3 + c2 s^5 of a singular value s. Returns how many. All of them bring what begins
// in [lower, 1] within `error` of 1.
int hone_muon_polynomials(const double (**poly)[3], double *lower, double *error);
