// muon.c: see muon.h.
//
// With A = x x^T and its polynomial P = c0 I + c1 A + c2 A^2, the product P x has the singular values c0 s + c1 s^3 + c2 s^5.
// Each step's polynomial is the odd one of degree 5 that comes nearest to 1 on the interval where the steps before left the
// singular values (Amsel et al. 2025, arXiv:2505.16932; tools/polar.py makes the table). They start in [LOWER, 1]:
//
//     0.01 [ . . . . . 1 ]  ->  [ . . ]  ->  [..]  ->  near 1
//
// because x is divided by a bound on the largest. |A| (Frobenius) is one on its square, nearer than the usual trace of A
// (what |x| stands for): it is exact for rank 1 and sqrt(n) instead of n times too large for n equal values, which saves a step.
// The division itself is put off: A is divided in the polynomial, x in the last step.
#include "optim/muon.h"
#include <math.h>

static const double polynomial[][3] = {
    { 8.383674, -24.765906, 18.357082 },
    { 4.043420, -3.011405, 0.569512 },
    { 3.505571, -2.626654, 0.525719 },
    { 2.490116, -1.834275, 0.436835 },
};
static const double LOWER = 3e-3, ERROR = 0.1983;
static const double SAFETY = 1.01;  // rounding to bf16 may lift a singular value above its bound

int hone_muon_polynomials(const double (**poly)[3], double *lower, double *error)
{
    *poly = polynomial;
    *lower = LOWER;
    *error = ERROR;
    return (int)(sizeof polynomial / sizeof polynomial[0]);
}

// P of the polynomial, for A = gram / size.
static hone_tid add_polynomial(hone_graph *graph, const double c[3], const hone_tid gram[2])
{
    const double by = SAFETY * SAFETY;
    hone_attr attr = { .poly = { (float)c[0], (float)(c[1] / by), (float)(c[2] / (by * by)) }, .product = HONE_bf16 };
    return hone_graph_add(graph, HONE_OP_gram_poly, &attr, gram, NULL)->out[0];
}

void hone_muon_add(hone_graph *graph, double momentum, double decay, hone_tid hyper, hone_tid norm, hone_muon_operands of)
{
    const hone_tensor p = *hone_at(graph, of.param);
    const double rows = (double)p.dim[0], columns = (double)p.dim[1];
    const bool tall = rows > columns;
    hone_tid x = hone_graph_add(graph, HONE_OP_momentum, &(hone_attr){ .beta1 = (float)momentum, .stream = of.param },
                                (hone_tid[]){ hyper, norm }, (hone_tid[]){ of.grad, of.moment })->out[0], size = HONE_NONE;
    for (size_t k = 0; k < sizeof polynomial / sizeof polynomial[0]; k++) {
        const hone_attr bf16 = { .product = HONE_bf16 };
        const hone_node *gram = hone_graph_add(graph, tall ? HONE_OP_gram_columns : HONE_OP_gram, &bf16, &x, NULL);
        hone_tid a = gram->out[0];
        if (k == 0) size = gram->out[1];
        hone_tid by = add_polynomial(graph, polynomial[k], (hone_tid[]){ a, size });
        const hone_tid in[] = { tall ? x : by, tall ? by : x, HONE_NONE, HONE_NONE }; // x P = linear(x, P), P x = linear_dx(P, x)
        x = hone_graph_add(graph, tall ? HONE_OP_linear : HONE_OP_linear_dx, &bf16, in, NULL)->out[0];
    }
    const hone_attr attr = { .scale = (float)(sqrt(fmax(1, rows / columns)) / SAFETY), .decay = (float)decay };
    hone_graph_add(graph, HONE_OP_muon, &attr, (hone_tid[]){ hyper, x, size, norm }, &of.param);
}
