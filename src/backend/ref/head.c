// head.c: from hidden rows to log-probabilities, and the loss with its gradients.
//
//     z = x W^T, with a cap c  z = c tanh(x W^T / c)
//     lse = log sum_v exp(z_v)      logprob(v) = z_v - lse      p_v = exp(logprob(v))
//     loss = -sum_n weight[n] logprob_n(target[n])      dloss/dz_v = weight (p_v - [v = target])
//     dz/d(x W^T) = 1 - (z / c)^2
//
// Both ops get z and lse of a row from logits() below, so their log-probabilities agree bit for bit.
//
// Product int8 is of the gradients, whose integers are drawn at random (graph/quantize.h): here they are what those are on average.
// Logits are of bf16 then.
#include "backend/ref/ref.h"

static double logit(const hone_args *a, int64_t n, int64_t v, int64_t C)
{
    const hone_dtype product = a->attr.product == HONE_int8 ? HONE_bf16 : a->attr.product;
    double sum = 0;
    for (int64_t c = 0; c < C; c++) sum += factor_in(product, get(&a->in[0], n * C + c)) * factor_in(product, get(&a->in[1], v * C + c));
    double cap = (double)a->attr.cap;
    return cap > 0 ? cap * tanh(sum / cap) : sum;
}

// Of the product by the logit.
static double slope(const hone_args *a, double z)
{
    double cap = (double)a->attr.cap;
    return cap > 0 ? 1 - z / cap * (z / cap) : 1;
}

// z[v] of row n for all v; returns lse
static double logits(double *z, const hone_args *a, int64_t n, int64_t V, int64_t C)
{
    double largest = (double)-INFINITY, sum = 0;
    for (int64_t v = 0; v < V; v++) {
        z[v] = logit(a, n, v, C);
        if (z[v] > largest) largest = z[v];
    }
    for (int64_t v = 0; v < V; v++) sum += exp(z[v] - largest);
    return largest + log(sum);
}

// dx[n] = sum_v dz_v w_v,  dw_v += sum_n dz_v x_n,  dz_v = weight[n] (p_v - [v = target])
// dw is summed over n for one v at a time, so that it is rounded once; that needs lse of all rows and z again.
// Rows of weight 0 are not looked at: logprob 0, dx 0.
//   x, dx (N, C)   w, dw (V, C)   target, weight, logprob (N,)
void hone_ref_linear_xent(const hone_args *a)
{
    const hone_operand *x = &a->in[0], *w = &a->in[1], *target = &a->in[2], *weight = &a->in[3];
    const hone_operand *logprob = &a->out[0], *dx = &a->out[1], *dw = &a->out[2];
    int64_t N = hone_rows(x), C = x->dim[1], V = w->dim[0];
    double *z = a->workspace, *lse = z + V, *row = lse + x->dim[0]; // (V,) (N,) (C,)

    for (int64_t n = 0; n < N; n++) {
        int32_t t = get_index(target, n);
        bool used = get(weight, n) != 0;
        for (int64_t c = 0; c < C; c++) row[c] = 0;
        if (used) lse[n] = logits(z, a, n, V, C);
        for (int64_t v = 0; used && v < V; v++) {
            double dz = factor(a, get(weight, n) * (exp(z[v] - lse[n]) - (v == t)) * slope(a, z[v]));
            for (int64_t c = 0; c < C; c++) row[c] += dz * factor(a, get(w, v * C + c));
        }
        put(logprob, n, used ? z[t] - lse[n] : 0);
        for (int64_t c = 0; c < C; c++) put(dx, n * C + c, row[c]);
    }
    for (int64_t v = 0; dw->present && v < V; v++) {
        for (int64_t c = 0; c < C; c++) row[c] = get(dw, v * C + c);
        for (int64_t n = 0; n < N; n++) {
            if (get(weight, n) == 0) continue;
            double z_v = logit(a, n, v, C), dz = factor(a, get(weight, n) * (exp(z_v - lse[n]) - (get_index(target, n) == v)) * slope(a, z_v));
            for (int64_t c = 0; c < C; c++) row[c] += dz * factor(a, get(x, n * C + c));
        }
        for (int64_t c = 0; c < C; c++) put(dw, v * C + c, row[c]);
    }
}

// entropy = -sum_v p_v logprob(v)
//   x (N, C)   w (V, C)   ids, logprob (N, J)   entropy, lse (N,)
void hone_ref_linear_logprob(const hone_args *a)
{
    const hone_operand *x = &a->in[0], *w = &a->in[1], *ids = &a->in[2];
    const hone_operand *logprob = &a->out[0], *entropy = &a->out[1], *lse = &a->out[2];
    int64_t N = hone_rows(x), C = x->dim[1], V = w->dim[0], J = ids->dim[1];
    double *z = a->workspace; // (V,)
    for (int64_t n = 0; n < N; n++) {
        double total = logits(z, a, n, V, C), sum = 0;
        for (int64_t v = 0; v < V; v++) sum -= exp(z[v] - total) * (z[v] - total);
        for (int64_t j = 0; j < J; j++) put(logprob, n * J + j, z[get_index(ids, n * J + j)] - total);
        put(entropy, n, sum);
        put(lse, n, total);
    }
}

static double log_sigmoid(double z) { return z < 0 ? z - log1p(exp(z)) : -log1p(exp(-z)); }

//   logprob (N, 1)   share, weight (N,)   pair (N,)   reference (E, 2)   measure (E, 3)
void hone_ref_pair_loss(const hone_args *a)
{
    const hone_operand *logprob = &a->in[0], *share = &a->in[1], *pair = &a->in[2], *reference = &a->in[3];
    const hone_operand *weight = &a->out[0], *measure = &a->out[1];
    const double beta = (double)a->attr.scale, wrong = (double)a->attr.rate;
    int64_t N = hone_rows(share), E = hone_rows(reference);
    for (int64_t n = 0; n < N; n++) put(weight, n, 0);
    for (int64_t e = 0; e < E; e++) {
        double reward[2] = { 0, 0 };
        for (int64_t n = 0; n < N; n++)
            if (get_index(pair, n) == e && get(share, n) != 0) reward[get(share, n) < 0] += get(logprob, n);
        for (int side = 0; side < 2; side++) reward[side] = beta * (reward[side] - get(reference, 2 * e + side));
        const double z = reward[0] - reward[1], slope = beta * ((1 - wrong) * exp(log_sigmoid(-z)) - wrong * exp(log_sigmoid(z)));
        put(measure, 3 * e, -(1 - wrong) * log_sigmoid(z) - wrong * log_sigmoid(-z));
        put(measure, 3 * e + 1, reward[0]);
        put(measure, 3 * e + 2, reward[1]);
        for (int64_t n = 0; n < N; n++)
            if (get_index(pair, n) == e && get(share, n) != 0) put(weight, n, get(share, n) * slope);
    }
}

// y = cap tanh(z / cap);  z and y may be one
void hone_ref_softcap(const hone_args *a)
{
    const hone_operand *z = &a->in[0], *y = &a->out[0];
    double cap = (double)a->attr.cap;
    for (int64_t i = 0; i < count(y); i++) put(y, i, cap * tanh(get(z, i) / cap));
}
