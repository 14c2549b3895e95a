// optim.c: the step: global norm, clip factor, loss scale, AdamW.
#include "backend/ref/ref.h"
#include "graph/loss_scale.h"
#include "graph/round.h"

// part = sum g^2
//   g (A, B) or (B,)   part (1,)
void hone_ref_sum_squares(const hone_args *a)
{
    const hone_operand *g = &a->in[0], *part = &a->out[0];
    double sum = 0;
    for (int64_t i = 0; i < count(g); i++) sum += get(g, i) * get(g, i);
    put(part, 0, sum);
}

// norm = sqrt(sum parts) / scale, factor = min(1, max_norm / (norm + 1e-6)) / scale, as torch's clip_grad_norm_ (Pascanu et al. 2013);
// max_norm 0: factor 1 / scale; a norm that is not finite: 0
//   parts (L,)   state (3,) of the loss scale, absent: 1   norm (2,): norm, factor
void hone_ref_clip_factor(const hone_args *a)
{
    const hone_operand *parts = &a->in[0], *norm = &a->out[0];
    double sum = 0, max_norm = (double)a->attr.max_norm, scale = a->in[1].present ? (double)hone_loss_scale((float)get(&a->in[1], 0)) : 1;
    for (int64_t i = 0; i < hone_rows(parts); i++) sum += get(parts, i);
    const double true_norm = sqrt(sum) / scale, factor = max_norm > 0 ? fmin(1, max_norm / (true_norm + 1e-6)) : 1;
    put(norm, 0, true_norm);
    put(norm, 1, isfinite(true_norm) ? factor / scale : 0);
}

//   norm (2,)   state (3,)
void hone_ref_adapt_scale(const hone_args *a)
{
    const hone_operand *state = &a->out[0];
    float of[3];
    for (int i = 0; i < 3; i++) of[i] = (float)get(state, i);
    hone_loss_scale_adapt(of, isfinite(get(&a->in[0], 0)));
    for (int i = 0; i < 3; i++) put(state, i, (double)of[i]);
}

//   weight (N,)   state (3,)   y (N,)
void hone_ref_scale_loss(const hone_args *a)
{
    const double scale = (double)hone_loss_scale((float)get(&a->in[1], 0));
    for (int64_t n = 0; n < hone_rows(&a->out[0]); n++) put(&a->out[0], n, scale * get(&a->in[0], n));
}

// A step whose factor is 0 changes nothing, but the gradient, which begins anew: true, and that is done.
bool hone_ref_skips(const hone_operand *norm, const hone_operand *g)
{
    if (get(norm, 1) != 0) return false;
    for (int64_t i = 0; i < count(g); i++) put(g, i, 0);
    return true;
}

// A moment in its own dtype: bf16 is rounded at random, by 16 bits.
void hone_ref_put_moment(const hone_operand *x, int64_t i, double value, uint32_t bits16)
{
    if (x->dtype == HONE_bf16) ((uint16_t *)x->data)[i] = hone_round_bf16((float)value, bits16);
    else put(x, i, value);
}

// What all steps of AdamW share: constants of a node, and one element's arithmetic.
typedef struct adam { double lr, correction1, correction2, factor, beta1, beta2, eps, decay; uint32_t key; } adam;
static adam adam_of(const hone_args *a)
{
    const hone_operand *hyper = &a->in[0];
    return (adam){ .lr = get(hyper, 0), .correction1 = get(hyper, 1), .correction2 = get(hyper, 2), .factor = get(&a->in[1], 1),
                   .beta1 = (double)a->attr.beta1, .beta2 = (double)a->attr.beta2, .eps = (double)a->attr.eps,
                   .decay = (double)a->attr.decay, .key = hone_round_key((float)get(hyper, 4), a->attr.stream) };
}
static void adam_step(const adam *s, const hone_args *a, int64_t i, double *m, double *v)
{
    const hone_operand *p = &a->out[0], *g = &a->out[1];
    double d = get(g, i) * s->factor;
    *m = s->beta1 * *m + (1 - s->beta1) * d;
    *v = s->beta2 * *v + (1 - s->beta2) * d * d;
    put(p, i, get(p, i) * (1 - s->lr * s->decay) - s->lr * (*m / s->correction1) / (sqrt(*v / s->correction2) + s->eps));
    put(g, i, 0);
}

// Loshchilov & Hutter 2019, decay apart from the gradient:
//     g' = g factor      p *= 1 - lr decay      m = b1 m + (1 - b1) g'      v = b2 v + (1 - b2) g'^2
//     p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)      g = 0, ready for the next step's sums
//   hyper (5,): lr, 1 - b1^t, 1 - b2^t, -, t   norm (2,): norm, factor   p, g, m, v (A, B) or (B,)
void hone_ref_adamw(const hone_args *a)
{
    const hone_operand *m = &a->out[2], *v = &a->out[3];
    const adam s = adam_of(a);
    if (hone_ref_skips(&a->in[1], &a->out[1])) return;
    for (int64_t i = 0; i < count(&a->out[0]); i++) {
        double first = get(m, i), second = get(v, i);
        const uint32_t bits = hone_round_bits(s.key, i);
        adam_step(&s, a, i, &first, &second);
        hone_ref_put_moment(m, i, first, bits & 0xffff);
        hone_ref_put_moment(v, i, second, bits >> 16);
    }
}

// Elements [from, to) of a row are one block; scale: of its m, of its v.
static void adam_block(const adam *s, const hone_args *a, int64_t from, int64_t to, int64_t scale)
{
    const hone_operand *m = &a->out[2], *v = &a->out[3], *scales = &a->out[4];
    double first[HONE_MOMENT_BLOCK], second[HONE_MOMENT_BLOCK], most1 = 0, most2 = 0;
    for (int64_t i = from; i < to; i++) {
        const uint32_t code = ((const uint8_t *)m->data)[i];
        double *x = &first[i - from], *y = &second[i - from];
        *x = (double)hone_code_value(code & 127, HONE_CODE_BIAS1) * get(scales, scale) * (code & 128 ? -1 : 1);
        *y = (double)hone_code_value(((const uint8_t *)v->data)[i], HONE_CODE_BIAS2) * get(scales, scale + 1);
        adam_step(s, a, i, x, y);
        most1 = fmax(most1, fabs(*x));
        most2 = fmax(most2, *y);
    }
    put(scales, scale, most1 / (double)HONE_CODE_TOP);
    put(scales, scale + 1, most2 / (double)HONE_CODE_TOP);
    for (int64_t i = from; i < to; i++) {
        const double x = first[i - from], y = second[i - from];
        const uint32_t bits = hone_round_bits(s->key, i);
        const uint32_t of_x = most1 > 0 ? hone_code_of((float)(fabs(x) / most1) * HONE_CODE_TOP, bits & 0xffff, HONE_CODE_BIAS1) : 0;
        const uint32_t of_y = most2 > 0 ? hone_code_of((float)(y / most2) * HONE_CODE_TOP, bits >> 16, HONE_CODE_BIAS2) : 0;
        ((uint8_t *)m->data)[i] = (uint8_t)(of_x | (x < 0 ? 128 : 0));
        ((uint8_t *)v->data)[i] = (uint8_t)(y > 0 && of_y == 0 ? 1 : of_y); // a second moment of 0 would make a step of m / eps
    }
}

// AdamW with moments of 8 bits.
//   m, v (A, B)   scale (A, 2 S)
void hone_ref_adamw8(const hone_args *a)
{
    const int64_t *dim = a->out[0].dim, S = a->out[4].dim[1] / 2;
    const adam s = adam_of(a);
    if (hone_ref_skips(&a->in[1], &a->out[1])) return;
    for (int64_t row = 0; row < dim[0]; row++)
        for (int64_t block = 0; block < S; block++) {
            const int64_t from = block * HONE_MOMENT_BLOCK, to = from + HONE_MOMENT_BLOCK;
            adam_block(&s, a, row * dim[1] + from, row * dim[1] + (to < dim[1] ? to : dim[1]), (row * S + block) * 2);
        }
}
