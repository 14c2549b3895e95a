// optim.c: the step: global norm, clip factor, AdamW.
#include "backend/ref/ref.h"

// part = sum g^2
//   g (A, B) or (B,)   part (1,)
void hone_ref_sum_squares(const hone_args *a)
{
    const hone_operand *g = &a->in[0], *part = &a->out[0];
    double sum = 0;
    for (int64_t i = 0; i < count(g); i++) sum += get(g, i) * get(g, i);
    put(part, 0, sum);
}

// norm = sqrt(sum parts), factor = min(1, max_norm / (norm + 1e-6)), as torch's clip_grad_norm_ (Pascanu et al. 2013);
// max_norm 0: factor 1
//   parts (L,)   norm (2,): norm, factor
void hone_ref_clip_factor(const hone_args *a)
{
    const hone_operand *parts = &a->in[0], *norm = &a->out[0];
    double sum = 0, max_norm = (double)a->attr.max_norm;
    for (int64_t i = 0; i < hone_rows(parts); i++) sum += get(parts, i);
    double factor = max_norm > 0 ? max_norm / (sqrt(sum) + 1e-6) : 1;
    put(norm, 0, sqrt(sum));
    put(norm, 1, factor < 1 ? factor : 1);
}

// Loshchilov & Hutter 2019, decay apart from the gradient:
//     g' = g factor      p *= 1 - lr decay      m = b1 m + (1 - b1) g'      v = b2 v + (1 - b2) g'^2
//     p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)      g = 0, ready for the next step's sums
//   hyper (3,): lr, 1 - b1^t, 1 - b2^t   norm (2,): norm, factor   p, g, m, v (A, B) or (B,)
void hone_ref_adamw(const hone_args *a)
{
    const hone_operand *hyper = &a->in[0], *norm = &a->in[1];
    const hone_operand *p = &a->out[0], *g = &a->out[1], *m = &a->out[2], *v = &a->out[3];
    double lr = get(hyper, 0), correction1 = get(hyper, 1), correction2 = get(hyper, 2), factor = get(norm, 1);
    double beta1 = (double)a->attr.beta1, beta2 = (double)a->attr.beta2;
    double eps = (double)a->attr.eps, decay = (double)a->attr.decay;
    for (int64_t i = 0; i < count(p); i++) {
        double d = get(g, i) * factor;
        double first = beta1 * get(m, i) + (1 - beta1) * d;
        double second = beta2 * get(v, i) + (1 - beta2) * d * d;
        put(p, i, get(p, i) * (1 - lr * decay) - lr * (first / correction1) / (sqrt(second / correction2) + eps));
        put(m, i, first);
        put(v, i, second);
        put(g, i, 0);
    }
}
