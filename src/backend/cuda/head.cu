// head.cu: from a chunk of products to log-probabilities, and to their gradients; a block has a row.
//
//     z = product, or with a cap c  z = c tanh(product / c)
//     lse = log sum_v exp(z_v)      logprob(v) = z_v - lse      dz_v = weight (exp(z_v - lse) - [v = target]) (1 - (z_v / c)^2)
//
// Memory bounds these: a row of products is read once for lse, with a running maximum, and once for what is made of it. A thread has four
// columns at a time, a multiple of 4 and the next, in one access of 16 bytes where V is such a multiple; their order is the same where not.
#include "backend/cuda/kernel.h"

HONE_DEVICE float logit(const hone_cuda_call *c, float product) { return c->cap > 0 ? c->cap * tanhf(product / c->cap) : product; }

typedef struct four { float x[4]; } four;

// Columns [v, v + 4) of a row; those from V on are `beyond`. p points at the row, all rows begin at multiples of 16 bytes where V % 4 = 0.
HONE_DEVICE four get_four(const float *p, int64_t v, int64_t V, float beyond)
{
    four y;
    if (V % 4 == 0) load_16(y.x, p + v);
    else
        for (int e = 0; e < 4; e++) y.x[e] = v + e < V ? p[v + e] : beyond;
    return y;
}
HONE_DEVICE void put_four(const hone_cuda_view *x, int64_t row, int64_t v, const four *y)
{
    const int64_t V = x->cols, at = row * V + v;
    if (V % 4 == 0 && x->dtype == HONE_f32) store_16((float *)x->data + at, y->x);
    else if (V % 4 == 0) {
        uint32_t *const pairs = (uint32_t *)((uint16_t *)x->data + at);
        for (int e = 0; e < 2; e++) pairs[e] = half_of(x->dtype, y->x[2 * e]) | (uint32_t)half_of(x->dtype, y->x[2 * e + 1]) << 16;
    } else
        for (int e = 0; e < 4 && v + e < V; e++) put(x, at + e, y->x[e]);
}

// Both kernels take lse of a row from here, so that their log-probabilities agree bit for bit.
HONE_DEVICE float row_lse(const hone_cuda_call *c, const float *product, int64_t V)
{
    float top = NOTHING, sum = 0;
    for (int64_t v = 4 * threadIdx.x; v < V; v += 4 * 256) {
        four z = get_four(product, v, V, NOTHING);
        float now = top;
        for (int e = 0; e < 4; e++) z.x[e] = z.x[e] > NOTHING ? logit(c, z.x[e]) : z.x[e], now = fmaxf(now, z.x[e]);
        if (now > top) sum *= expf(top - now), top = now;
        for (int e = 0; e < 4; e++) sum += expf(z.x[e] - top);
    }
    const float all = block_max(top);
    return all + logf(block_sum(sum > 0 ? sum * expf(top - all) : sum));
}

// Row r of the chunk is row n[0] + r of the operands. Rows of weight 0: logprob 0, dz 0.
//   in: target, weight (N,)   work: products (rows, V) f32   out: logprob (N,), dz (rows, V), which may be the products
HONE_KERNEL(xent_rows, 256)
{
    const int64_t n = c.n[0] + blockIdx.x, V = c.out[1].cols, at = blockIdx.x * V;
    const float *product = (const float *)c.work + at, weight = get(&c.in[1], n);
    const int target = get_index(&c.in[0], n);
    if (weight == 0) {
        for (int64_t v = threadIdx.x; v < V; v += 256) put(&c.out[1], at + v, 0);
        if (threadIdx.x == 0) put(&c.out[0], n, 0);
        return;
    }
    const float lse = row_lse(&c, product, V);
    if (threadIdx.x == 0) put(&c.out[0], n, logit(&c, product[target]) - lse);
    __syncthreads();
    for (int64_t v = 4 * threadIdx.x; v < V; v += 4 * 256) {
        four y = get_four(product, v, V, 0);
        for (int e = 0; e < 4; e++) {
            const float z = logit(&c, y.x[e]), share = c.cap > 0 ? z / c.cap : 0;
            y.x[e] = weight * (expf(z - lse) - (v + e == target ? 1.0f : 0.0f)) * (1 - share * share);
        }
        put_four(&c.out[1], blockIdx.x, v, &y);
    }
}

//   in: ids (N, J)   work: products (rows, V) f32, V = n[1]   out: logprob (N, J), entropy, lse (N,)
HONE_KERNEL(logprob_rows, 256)
{
    const int64_t n = c.n[0] + blockIdx.x, V = c.n[1], J = c.in[0].cols;
    const float *product = (const float *)c.work + blockIdx.x * V, lse = row_lse(&c, product, V);
    float entropy = 0;
    for (int64_t v = threadIdx.x; v < V; v += 256) {
        const float logprob = logit(&c, product[v]) - lse;
        entropy -= expf(logprob) * logprob;
    }
    entropy = block_sum(entropy);
    for (int64_t j = threadIdx.x; j < J; j += 256) put(&c.out[0], n * J + j, logit(&c, product[get_index(&c.in[0], n * J + j)]) - lse);
    if (threadIdx.x == 0) put(&c.out[1], n, entropy), put(&c.out[2], n, lse);
}

// A block has a pair; rows of share 0 are those of block 0.
//   in: logprob, share, pair (N,), reference (E, 2)   out: weight (N,), measure (E, 3)
HONE_KERNEL(pair_loss, 256)
{
    const int64_t N = c.in[1].rows, e = blockIdx.x;
    double chosen = 0, rejected = 0;
    for (int64_t n = threadIdx.x; n < N; n += 256) {
        const float share = get(&c.in[1], n);
        if (share == 0 || get_index(&c.in[2], n) != e) continue;
        if (share > 0) chosen += (double)get(&c.in[0], n);
        else rejected += (double)get(&c.in[0], n);
    }
    const double beta = (double)c.scale, wrong = (double)c.rate;
    chosen = beta * (block_sum_f64(chosen) - (double)get(&c.in[3], 2 * e));
    rejected = beta * (block_sum_f64(rejected) - (double)get(&c.in[3], 2 * e + 1));
    double slope;
    const double loss = hone_pair_loss(chosen - rejected, wrong, &slope);
    slope *= beta;
    if (threadIdx.x == 0) {
        put(&c.out[1], 3 * e, (float)loss);
        put(&c.out[1], 3 * e + 1, (float)chosen);
        put(&c.out[1], 3 * e + 2, (float)rejected);
    }
    for (int64_t n = threadIdx.x; n < N; n += 256) {
        const float share = get(&c.in[1], n);
        if (share != 0 ? get_index(&c.in[2], n) == e : e == 0) put(&c.out[0], n, share != 0 ? (float)((double)share * slope) : 0);
    }
}
