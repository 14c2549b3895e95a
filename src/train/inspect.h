// inspect.h: a step done again node by node, each result looked at: which node was the first to make a number that is
// none? A good step pays nothing for this: its loss and its gradients' norm tell that all is well, because one NaN or
// infinity anywhere reaches one of the two. Only where one of them is not finite is the step run again.
//
// The step's result does not change by being looked at: the same nodes run in the same order on the same rows, so the
// same bits come out.
#pragma once
#include "train/loop.h"

typedef struct hone_finding {
    bool found;
    char node[320];          // "node 31 of micro (forward, layer 1) of micro-batch 2: linear(...)"; "" in the weights before the step
    char tensor[80];
    int64_t count, bad;      // elements, those that are not finite
    int64_t index[HONE_MAX_RANK]; int rank;   // of the first
    double value;
} hone_finding;

typedef struct hone_largest { char tensor[80]; int64_t node; double value; } hone_largest;   // |value| over a node's result
enum { HONE_LARGEST = 6 };

// What is not finite among the elements of one tensor of the session; false: nothing.
bool hone_inspect_tensor(const hone_session *session, hone_tid id, hone_finding *out);
// Weights and moments, then each node of the step that comes next. Leaves the loop at that step's beginning.
// loss (may be NULL): the step's. largest (may be NULL): of all results the HONE_LARGEST with the largest values.
hone_status hone_inspect_step(hone_loop *loop, hone_finding *out, double *loss, hone_largest *largest);
// "layers.1.up, nan at [5, 17], 3 of 1,184 values"
void hone_finding_print(const hone_finding *finding, char *text, size_t size);
const char *hone_number_print(double value, char text[32]);   // 6 digits, or nan, inf, -inf
