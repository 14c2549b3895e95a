// pair.h: the loss of a pair of replies, of z = beta ((log p - log q of the chosen one) - (log p - log q of the rejected one)),
// where a share `wrong` of the pairs is taken for wrongly ordered (Rafailov et al. 2023, arXiv:2305.18290; conservative DPO):
//
//     loss  = -(1 - wrong) log sigma(z) - wrong log sigma(-z)
//     slope = -d loss / d z = (1 - wrong) sigma(-z) - wrong sigma(z)
#pragma once
#include <math.h>

static inline double hone_log_sigmoid(double z) { return z < 0 ? z - log1p(exp(z)) : -log1p(exp(-z)); }
static inline double hone_pair_loss(double z, double wrong, double *slope)
{
    const double right = hone_log_sigmoid(z), other = hone_log_sigmoid(-z);
    *slope = (1 - wrong) * exp(other) - wrong * exp(right);
    return -(1 - wrong) * right - wrong * other;
}
