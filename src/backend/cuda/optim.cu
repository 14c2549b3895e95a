// optim.cu: the step: clip factor, loss scale, AdamW with moments of f32, bf16 and 8 bits, Muon's momentum and step.
#include "backend/cuda/kernel.h"

// One block.   in: parts (L,), state (3,) of the loss scale or none   out: norm (2,): norm, factor
HONE_KERNEL(clip_factor, 256)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < count(&c.in[0]); i += 256) sum += (double)get(&c.in[0], i);
    const double scale = c.in[1].data ? (double)hone_loss_scale(get(&c.in[1], 0)) : 1;
    sum = sqrt(block_sum_f64(sum)) / scale;
    const double factor = c.max_norm > 0 ? (double)c.max_norm / (sum + 1e-6) : 1;
    if (threadIdx.x == 0) put(&c.out[0], 0, (float)sum), put(&c.out[0], 1, isfinite(sum) ? (float)((factor < 1 ? factor : 1) / scale) : 0);
}

// One thread.   in: norm (2,)   out: state (3,)
HONE_KERNEL(adapt_scale, 32)
{
    if (threadIdx.x == 0) hone_loss_scale_adapt((float *)c.out[0].data, isfinite(get(&c.in[0], 0)));
}

//   in: weight (N,), state (3,)   out: y (N,)
HONE_KERNEL(scale_loss, 256)
{
    const float scale = hone_loss_scale(get(&c.in[1], 0));
    for (int64_t n = first_element(); n < c.out[0].rows; n += element_step()) put(&c.out[0], n, scale * get(&c.in[0], n));
}

// A step whose factor is 0 changes nothing, but the gradient, which begins anew.
HONE_DEVICE bool is_skipped(const hone_cuda_view *norm) { return get(norm, 1) == 0; }

// A moment in its own dtype: bf16 is rounded at random, by 16 bits.
HONE_DEVICE void put_moment(const hone_cuda_view *x, int64_t i, float value, uint32_t bits16)
{
    if (x->dtype == HONE_bf16) ((uint16_t *)x->data)[i] = hone_round_bf16(value, bits16);
    else put(x, i, value);
}

HONE_DEVICE uint32_t key_of(const hone_cuda_call *c) { return hone_round_key(get(&c->in[0], 4), c->stream); }

// Element i's step with moments m and v, which become the new ones.   in: hyper (5,), norm (2,)   out: p, g (A, B)
HONE_DEVICE void adam_step(const hone_cuda_call *c, int64_t i, float *m, float *v)
{
    const float lr = get(&c->in[0], 0), d = get(&c->out[1], i) * get(&c->in[1], 1);
    *m = c->beta1 * *m + (1 - c->beta1) * d;
    *v = c->beta2 * *v + (1 - c->beta2) * d * d;
    const float step = *m / get(&c->in[0], 1) / (sqrtf(*v / get(&c->in[0], 2)) + c->eps);
    put(&c->out[0], i, get(&c->out[0], i) * (1 - lr * c->decay) - lr * step);
    put(&c->out[1], i, 0);
}

//   out: p, g, m, v (A, B)
HONE_KERNEL(adamw, 256)
{
    const uint32_t key = key_of(&c);
    const bool skipped = is_skipped(&c.in[1]);
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step()) {
        if (skipped) {
            put(&c.out[1], i, 0);
            continue;
        }
        float m = get(&c.out[2], i), v = get(&c.out[3], i);
        const uint32_t bits = hone_round_bits(key, i);
        adam_step(&c, i, &m, &v);
        put_moment(&c.out[2], i, m, bits & 0xffff);
        put_moment(&c.out[3], i, v, bits >> 16);
    }
}

// A thread block has a block of HONE_MOMENT_BLOCK elements of a row, a thread one element.
//   out: p, g (A, B), m, v u8 (A, B), scale (A, 2 S)                                            grid: rows, S
HONE_KERNEL(adamw8, 256)
{
    const int64_t row = blockIdx.x, B = c.out[0].cols, column = (int64_t)blockIdx.y * HONE_MOMENT_BLOCK + threadIdx.x;
    const int64_t i = row * B + column, scale = row * c.out[4].cols + 2 * blockIdx.y;
    uint8_t *codes_m = (uint8_t *)c.out[2].data, *codes_v = (uint8_t *)c.out[3].data;
    const bool mine = column < B;
    float m = 0, v = 0;
    if (is_skipped(&c.in[1])) {
        if (mine) put(&c.out[1], i, 0);
        return;
    }
    if (mine) {
        m = hone_code_value(codes_m[i] & 127, HONE_CODE_BIAS1) * get(&c.out[4], scale) * (codes_m[i] & 128 ? -1.0f : 1.0f);
        v = hone_code_value(codes_v[i], HONE_CODE_BIAS2) * get(&c.out[4], scale + 1);
        adam_step(&c, i, &m, &v);
    }
    const float most_m = block_max(fabsf(m)), most_v = block_max(v); // all have read the scales
    if (threadIdx.x == 0) put(&c.out[4], scale, most_m / HONE_CODE_TOP), put(&c.out[4], scale + 1, most_v / HONE_CODE_TOP);
    if (!mine) return;
    const uint32_t bits = hone_round_bits(key_of(&c), i);
    const uint32_t code_m = most_m > 0 ? hone_code_of(fabsf(m) / most_m * HONE_CODE_TOP, bits & 0xffff, HONE_CODE_BIAS1) : 0;
    const uint32_t code_v = most_v > 0 ? hone_code_of(v / most_v * HONE_CODE_TOP, bits >> 16, HONE_CODE_BIAS2) : 0;
    codes_m[i] = (uint8_t)(code_m | (m < 0 ? 128 : 0));
    codes_v[i] = (uint8_t)(v > 0 && code_v == 0 ? 1 : code_v); // a second moment of 0 would make a step of m / eps
}

//   in: hyper (5,), norm (2,)   out: u, g, m (A, B)
HONE_KERNEL(momentum, 256)
{
    const uint32_t key = key_of(&c);
    const bool skipped = is_skipped(&c.in[1]);
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step()) {
        if (skipped) {
            put(&c.out[0], i, 0), put(&c.out[1], i, 0);
            continue;
        }
        const float d = get(&c.out[1], i) * get(&c.in[1], 1), m = c.beta1 * get(&c.out[2], i) + d;
        put(&c.out[0], i, d + c.beta1 * m);
        put_moment(&c.out[2], i, m, hone_round_bits(key, i) & 0xffff);
        put(&c.out[1], i, 0);
    }
}

//   in: hyper (5,), x (A, B), size (1,), norm (2,) or none   out: p (A, B)
HONE_KERNEL(muon, 256)
{
    if (c.in[3].data && is_skipped(&c.in[3])) return;
    const float lr = get(&c.in[0], 3), size = get(&c.in[2], 0);
    const float keep = 1 - lr * c.decay, step = size > 0 ? lr * c.scale / sqrtf(size) : 0;
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step())
        put(&c.out[0], i, keep * get(&c.out[0], i) - step * get(&c.in[1], i));
}
