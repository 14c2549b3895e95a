// rows.cu: what is done to token rows one by one: embedding, norms, rotary embedding, activations.
#include "backend/cuda/kernel.h"

// --- tables by index: a block has a row -----------------------------------------------------------------------------------

// y[n] = table[ids[n]] (+ addend[n])       in: ids (N,), table (V, C), addend (N, C)   out: y (N, C)
HONE_KERNEL(embed, 256)
{
    const int64_t n = blockIdx.x, C = c.out[0].cols, from = (int64_t)get_index(&c.in[0], n) * C;
    for (int64_t i = threadIdx.x; i < C; i += 256) put(&c.out[0], n * C + i, get(&c.in[1], from + i) + get_or(&c.in[2], n * C + i, 0));
}

// y[r] = x[rows[r]]                        in: x (N, C), rows (R,)   out: y (R, C)
HONE_KERNEL(gather_rows, 256)
{
    const int64_t r = blockIdx.x, C = c.out[0].cols, from = (int64_t)get_index(&c.in[1], r) * C;
    for (int64_t i = threadIdx.x; i < C; i += 256) put(&c.out[0], r * C + i, get(&c.in[0], from + i));
}

// cache[rows[n]] = columns [k_col, k_col + Q) of kv[n]       in: kv (N, P), rows (N,)   out: cache (R, Q)
HONE_KERNEL(kv_write, 256)
{
    const int64_t n = blockIdx.x, Q = c.out[0].cols, to = (int64_t)get_index(&c.in[1], n) * Q, from = n * c.in[0].cols + c.k_col;
    for (int64_t i = threadIdx.x; i < Q; i += 256) put(&c.out[0], to + i, get(&c.in[0], from + i));
}

// The same as codes and scales (graph/kv8.h). A warp has a head.
//   in: kv (N, P), rows (N,)   out: cache (R, 2 G D), scale (R, 2 G)
HONE_KERNEL(kv_write8, 256)
{
    const int lane = (int)threadIdx.x % WARP, D = c.head_dim, heads = (int)c.out[1].cols;
    const int64_t n = blockIdx.x, to = (int64_t)get_index(&c.in[1], n) * heads, from = n * c.in[0].cols + c.k_col;
    for (int e = (int)threadIdx.x / WARP; e < heads; e += 256 / WARP) {
        float top = 0;
        for (int d = lane; d < D; d += WARP) top = hone_kv8_larger(top, get(&c.in[0], from + (int64_t)e * D + d));
        const hone_quant q = hone_quant_of(warp_max(top));
        if (lane == 0) put(&c.out[1], to + e, q.scale);
        for (int d = lane; d < D; d += WARP) ((int8_t *)c.out[0].data)[(to + e) * D + d] = hone_kv8_code(get(&c.in[0], from + (int64_t)e * D + d), q.inverse);
    }
}

// dtable[ids[n]] += dy[n]: rows of one id are added in order of n, whatever ran when. Rows are sorted by id: counted, their places
// found by a sum over the counts, put there in any order, and ordered among their like.
//   in: ids (N,), dy (N, C)   out: dtable (V, C)   work, i32: seen (V,) 0 at first, begin (V,), list (N,), sorted (N,)
typedef struct buckets { int *seen, *begin, *list, *sorted; } buckets;
HONE_DEVICE buckets buckets_of(const hone_cuda_call *c)
{
    const int64_t V = c->out[0].rows, N = c->in[0].rows;
    buckets b;
    b.seen = (int *)c->work, b.begin = b.seen + V, b.list = b.begin + V, b.sorted = b.list + N;
    return b;
}

HONE_KERNEL(embed_count, 256)
{
    const buckets b = buckets_of(&c);
    for (int64_t n = first_element(); n < c.in[0].rows; n += element_step()) atomicAdd(&b.seen[get_index(&c.in[0], n)], 1);
}

// One block of 1024: each thread sums a stretch of the counts, then knows what comes before it. Clears the counts.
HONE_KERNEL(embed_scan, 1024)
{
    __shared__ int before[1024];
    const buckets b = buckets_of(&c);
    const int64_t V = c.out[0].rows, part = (V + 1023) / 1024, from = threadIdx.x * part, end = from + part < V ? from + part : V;
    int sum = 0;
    for (int64_t v = from; v < end; v++) sum += b.seen[v];
    before[threadIdx.x] = sum;
    __syncthreads();
    sum = 0;
    for (int t = 0; t < (int)threadIdx.x; t++) sum += before[t];
    for (int64_t v = from; v < end; v++) {
        b.begin[v] = sum;
        sum += b.seen[v];
        b.seen[v] = 0;
    }
}

HONE_KERNEL(embed_place, 256)
{
    const buckets b = buckets_of(&c);
    for (int64_t n = first_element(); n < c.in[0].rows; n += element_step()) {
        const int id = get_index(&c.in[0], n);
        b.list[b.begin[id] + atomicAdd(&b.seen[id], 1)] = (int)n;
    }
}

HONE_KERNEL(embed_rank, 256)
{
    const buckets b = buckets_of(&c);
    for (int64_t i = first_element(); i < c.in[0].rows; i += element_step()) {
        const int n = b.list[i], id = get_index(&c.in[0], n), begin = b.begin[id];
        int rank = 0;
        for (int k = 0; k < b.seen[id]; k++) rank += b.list[begin + k] < n;
        b.sorted[begin + rank] = n;
    }
}

// A block for each place of the sorted rows; the first of each id works.
HONE_KERNEL(embed_sum, 256)
{
    const buckets b = buckets_of(&c);
    const int id = get_index(&c.in[0], b.sorted[blockIdx.x]), begin = b.begin[id], rows = b.seen[id];
    const int64_t C = c.out[0].cols;
    if (begin != (int)blockIdx.x) return;
    for (int64_t i = threadIdx.x; i < C; i += 256) {
        float sum = get(&c.out[0], id * C + i);
        for (int k = 0; k < rows; k++) sum += get(&c.in[1], b.sorted[begin + k] * C + i);
        put(&c.out[0], id * C + i, sum);
    }
}

// --- norms: a block has a row; attribute base is added to g ----------------------------------------------------------------

//   in: x (N, C), g (C,)   out: y (N, C), rstd (N,)
HONE_KERNEL(rmsnorm, 256)
{
    const int64_t n = blockIdx.x, C = c.in[0].cols;
    float squares = 0;
    for (int64_t i = threadIdx.x; i < C; i += 256) {
        const float x = get(&c.in[0], n * C + i);
        squares += x * x;
    }
    const float s = 1 / sqrtf(block_sum(squares) / (float)C + c.eps);
    for (int64_t i = threadIdx.x; i < C; i += 256) put(&c.out[0], n * C + i, get(&c.in[0], n * C + i) * s * (get(&c.in[1], i) + c.base));
    if (threadIdx.x == 0) put(&c.out[1], n, s);
}

// dx = s (dz - z mean(dz z)) (+ addend); dg is made by column_parts
//   in: dy, x (N, C), g (C,), rstd (N,), addend (N, C)   out: dx (N, C), which may be addend
HONE_KERNEL(rmsnorm_back, 256)
{
    const int64_t n = blockIdx.x, C = c.in[1].cols;
    const float s = get(&c.in[3], n);
    float along = 0;
    for (int64_t i = threadIdx.x; i < C; i += 256) along += get(&c.in[0], n * C + i) * (get(&c.in[2], i) + c.base) * get(&c.in[1], n * C + i) * s;
    along = block_sum(along) / (float)C;
    for (int64_t i = threadIdx.x; i < C; i += 256) {
        const int64_t at = n * C + i;
        put(&c.out[0], at, s * (get(&c.in[0], at) * (get(&c.in[2], i) + c.base) - get(&c.in[1], at) * s * along) + get_or(&c.in[4], at, 0));
    }
}

//   in: x (N, C), g, b (C,)   out: y (N, C), stats (N, 2)
HONE_KERNEL(layernorm, 256)
{
    const int64_t n = blockIdx.x, C = c.in[0].cols;
    float sum = 0, squares = 0;
    for (int64_t i = threadIdx.x; i < C; i += 256) sum += get(&c.in[0], n * C + i);
    const float mean = block_sum(sum) / (float)C;
    for (int64_t i = threadIdx.x; i < C; i += 256) {
        const float d = get(&c.in[0], n * C + i) - mean;
        squares += d * d;
    }
    const float s = 1 / sqrtf(block_sum(squares) / (float)C + c.eps);
    for (int64_t i = threadIdx.x; i < C; i += 256)
        put(&c.out[0], n * C + i, (get(&c.in[0], n * C + i) - mean) * s * (get(&c.in[1], i) + c.base) + get(&c.in[2], i));
    if (threadIdx.x == 0) put(&c.out[1], 2 * n, mean), put(&c.out[1], 2 * n + 1, s);
}

//   in: dy, x (N, C), g (C,), stats (N, 2), addend (N, C)   out: dx (N, C), which may be addend
HONE_KERNEL(layernorm_back, 256)
{
    const int64_t n = blockIdx.x, C = c.in[1].cols;
    const float mean = get(&c.in[3], 2 * n), s = get(&c.in[3], 2 * n + 1);
    float level = 0, along = 0;
    for (int64_t i = threadIdx.x; i < C; i += 256) {
        const float dz = get(&c.in[0], n * C + i) * (get(&c.in[2], i) + c.base);
        level += dz;
        along += dz * (get(&c.in[1], n * C + i) - mean) * s;
    }
    level = block_sum(level) / (float)C;
    along = block_sum(along) / (float)C;
    for (int64_t i = threadIdx.x; i < C; i += 256) {
        const int64_t at = n * C + i;
        const float z = (get(&c.in[1], at) - mean) * s;
        put(&c.out[0], at, s * (get(&c.in[0], at) * (get(&c.in[2], i) + c.base) - level - z * along) + get_or(&c.in[4], at, 0));
    }
}

// A warp has a head of q (D columns) or k (E); v passes through.
//   in: qkv (N, P), gq (D,), gk (E,)   out: y (N, P), rstd (N, H + G)
HONE_KERNEL(qk_norm, 256)
{
    const int64_t n = blockIdx.x, P = c.in[0].cols;
    const int lane = (int)threadIdx.x % WARP, E = (int)count(&c.in[2]), heads = c.heads + c.kv_heads, q = c.heads * c.head_dim;
    for (int h = (int)threadIdx.x / WARP; h < heads; h += 256 / WARP) {
        const hone_cuda_view *g = h < c.heads ? &c.in[1] : &c.in[2];
        const int size = h < c.heads ? c.head_dim : E;
        const int64_t head = n * P + (h < c.heads ? h * size : q + (h - c.heads) * size);
        float squares = 0;
        for (int d = lane; d < size; d += WARP) {
            const float x = get(&c.in[0], head + d);
            squares += x * x;
        }
        const float s = 1 / sqrtf(warp_sum(squares) / (float)size + c.eps);
        for (int d = lane; d < size; d += WARP) put(&c.out[0], head + d, get(&c.in[0], head + d) * s * (get(g, d) + c.base));
        if (lane == 0) put(&c.out[1], n * heads + h, s);
    }
    for (int64_t i = q + c.kv_heads * E + threadIdx.x; i < P; i += 256) put(&c.out[0], n * P + i, get(&c.in[0], n * P + i));
}

//   in: dy, qkv (N, P), gq (D,), gk (E,), rstd (N, H + G)   out: dqkv (N, P), which may be dy
HONE_KERNEL(qk_norm_back, 256)
{
    const int64_t n = blockIdx.x, P = c.in[0].cols;
    const int lane = (int)threadIdx.x % WARP, E = (int)count(&c.in[3]), heads = c.heads + c.kv_heads, q = c.heads * c.head_dim;
    for (int h = (int)threadIdx.x / WARP; h < heads; h += 256 / WARP) {
        const hone_cuda_view *g = h < c.heads ? &c.in[2] : &c.in[3];
        const int size = h < c.heads ? c.head_dim : E;
        const int64_t head = n * P + (h < c.heads ? h * size : q + (h - c.heads) * size);
        const float s = get(&c.in[4], n * heads + h);
        float along = 0;
        for (int d = lane; d < size; d += WARP) along += get(&c.in[0], head + d) * (get(g, d) + c.base) * get(&c.in[1], head + d) * s;
        along = warp_sum(along) / (float)size;
        for (int d = lane; d < size; d += WARP)
            put(&c.out[0], head + d, s * (get(&c.in[0], head + d) * (get(g, d) + c.base) - get(&c.in[1], head + d) * s * along));
    }
    for (int64_t i = q + c.kv_heads * E + threadIdx.x; i < P; i += 256) put(&c.out[0], n * P + i, get(&c.in[0], n * P + i));
}

// --- rotary embedding -----------------------------------------------------------------------------------------------------

//   in: pos (N,), freq (J,)   out: cs (N, 2 J)
HONE_KERNEL(rope_table, 256)
{
    const int64_t J = c.in[1].rows;
    for (int64_t i = first_element(); i < c.in[0].rows * J; i += element_step()) {
        const int64_t n = i / J, j = i % J;
        const float angle = (float)get_index(&c.in[0], n) * get(&c.in[1], j);
        put(&c.out[0], n * 2 * J + j, cosf(angle));
        put(&c.out[0], n * 2 * J + J + j, sinf(angle));
    }
}

// Each thread turns one pair, or copies one element that is not turned: of a head behind its first R, or behind q and k.
//   in: qkv (N, P), cs (N, R)   out: y (N, P), which may be qkv
HONE_KERNEL(rope, 256)
{
    const int64_t n = blockIdx.x, P = c.in[0].cols;
    const int D = c.head_dim, R = (int)c.in[1].cols, J = R / 2, heads = c.heads + c.kv_heads;
    for (int i = (int)threadIdx.x; i < heads * J; i += 256) {
        const int j = i % J;
        const int64_t a = n * P + i / J * D + j, b = a + J;
        const float cosine = get(&c.in[1], n * R + j), sine = get(&c.in[1], n * R + J + j) * (c.inverse ? -1.0f : 1.0f);
        const float x = get(&c.in[0], a), y = get(&c.in[0], b);
        put(&c.out[0], a, x * cosine - y * sine);
        put(&c.out[0], b, y * cosine + x * sine);
    }
    for (int64_t i = threadIdx.x; i < P; i += 256)
        if (i >= heads * D || i % D >= R) put(&c.out[0], n * P + i, get(&c.in[0], n * P + i));
}

// --- element by element ---------------------------------------------------------------------------------------------------

HONE_DEVICE float sigmoid(float x) { return 1 / (1 + expf(-x)); }

//   in: gu (N, 2 F): g, then u   out: h (N, F)
HONE_KERNEL(swiglu, 256)
{
    const int64_t F = c.out[0].cols;
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step()) {
        const int64_t at = i / F * 2 * F + i % F;
        const float g = get(&c.in[0], at);
        put(&c.out[0], i, g * sigmoid(g) * get(&c.in[0], at + F));
    }
}

//   in: dh (N, F), gu (N, 2 F)   out: dgu (N, 2 F), which may be gu
HONE_KERNEL(swiglu_back, 256)
{
    const int64_t F = c.in[0].cols;
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) {
        const int64_t at = i / F * 2 * F + i % F;
        const float g = get(&c.in[1], at), u = get(&c.in[1], at + F), d = get(&c.in[0], i), sigma = sigmoid(g);
        put(&c.out[0], at, d * u * sigma * (1 + g * (1 - sigma)));
        put(&c.out[0], at + F, d * g * sigma);
    }
}

#define GELU_A 0.7978845608028654f   // sqrt(2 / pi)
#define GELU_B 0.044715f
HONE_DEVICE float gelu_tanh(float x) { return tanhf(GELU_A * (x + GELU_B * x * x * x)); }

//   in: gu (N, 2 F): g, then u   out: h (N, F)
HONE_KERNEL(geglu, 256)
{
    const int64_t F = c.out[0].cols;
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step()) {
        const int64_t at = i / F * 2 * F + i % F;
        const float g = get(&c.in[0], at);
        put(&c.out[0], i, g / 2 * (1 + gelu_tanh(g)) * get(&c.in[0], at + F));
    }
}

//   in: dh (N, F), gu (N, 2 F)   out: dgu (N, 2 F), which may be gu
HONE_KERNEL(geglu_back, 256)
{
    const int64_t F = c.in[0].cols;
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) {
        const int64_t at = i / F * 2 * F + i % F;
        const float g = get(&c.in[1], at), u = get(&c.in[1], at + F), d = get(&c.in[0], i), t = gelu_tanh(g);
        put(&c.out[0], at, d * u * ((1 + t) / 2 + g / 2 * (1 - t * t) * GELU_A * (1 + 3 * GELU_B * g * g)));
        put(&c.out[0], at + F, d * g / 2 * (1 + t));
    }
}

HONE_KERNEL(gelu, 256)
{
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) {
        const float x = get(&c.in[0], i);
        put(&c.out[0], i, x / 2 * (1 + gelu_tanh(x)));
    }
}

// Far out t = 1 exactly, and 1 - t^2 = 0 must win over a square that overflows.
HONE_KERNEL(gelu_back, 256)
{
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) {
        const float x = get(&c.in[1], i), t = gelu_tanh(x), slope = 1 - t * t;
        const float bent = slope > 0 ? x / 2 * slope * GELU_A * (1 + 3 * GELU_B * x * x) : 0;
        put(&c.out[0], i, get(&c.in[0], i) * ((1 + t) / 2 + bent));
    }
}

//   in: a, b (N, C)   out: y (N, C), which may be a
HONE_KERNEL(add, 256)
{
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) put(&c.out[0], i, get(&c.in[0], i) + get(&c.in[1], i));
}

HONE_KERNEL(relu2, 256)
{
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) {
        const float x = fmaxf(get(&c.in[0], i), 0);
        put(&c.out[0], i, x * x);
    }
}

//   in: dy, x (N, F)   out: dx (N, F), which may be x
HONE_KERNEL(relu2_back, 256)
{
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) put(&c.out[0], i, 2 * fmaxf(get(&c.in[1], i), 0) * get(&c.in[0], i));
}

//   in: z (N, V)   out: y (N, V), which may be z
HONE_KERNEL(softcap, 256)
{
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) put(&c.out[0], i, c.cap * tanhf(get(&c.in[0], i) / c.cap));
}

//   in: x (N, C)   out: y (N, C), which may be x
HONE_KERNEL(scale, 256)
{
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) put(&c.out[0], i, c.scale * get(&c.in[0], i));
}

// graph/drop.h says what is added.      in: x (N, K), key (3,)   out: y (N, K), which may be x
HONE_KERNEL(noise, 256)
{
    const int64_t K = c.out[0].cols;
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) {
        const uint32_t row = hone_drop_row((const int32_t *)c.in[1].data, c.stream, i / K);
        put(&c.out[0], i, get(&c.in[0], i) + c.scale * hone_drop_noise(row, i % K));
    }
}

// graph/drop.h says which elements stay.      in: x (N, K), key (3,)   out: y (N, K)
HONE_KERNEL(dropout, 256)
{
    const int64_t K = c.out[0].cols;
    const uint32_t threshold = hone_drop_threshold(c.rate);
    for (int64_t i = first_element(); i < count(&c.in[0]); i += element_step()) {
        const uint32_t row = hone_drop_row((const int32_t *)c.in[1].data, c.stream, i / K);
        put(&c.out[0], i, hone_drop_keeps(row, i % K, threshold) ? get(&c.in[0], i) / (1 - c.rate) : 0);
    }
}

// --- blend ---------------------------------------------------------------------------------------------------------------

//   in: x (N, P), z (N, Q), g (Q,)   out: y (N, P), which may be x
HONE_KERNEL(blend, 256)
{
    const int64_t P = c.out[0].cols, Q = c.in[1].cols;
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step()) {
        const int64_t column = i % P - c.v_col;
        const bool within = column >= 0 && column < Q;
        put(&c.out[0], i, get(&c.in[0], i) + (within ? get(&c.in[2], column) * get(&c.in[1], i / P * Q + column) : 0));
    }
}

// dg is made by column_parts.      in: dy (N, P), z, g (Q,)   out: dz (N, Q), which may be z
HONE_KERNEL(blend_back, 256)
{
    const int64_t P = c.in[0].cols, Q = c.out[0].cols;
    for (int64_t i = first_element(); i < count(&c.out[0]); i += element_step())
        put(&c.out[0], i, get(&c.in[0], i / Q * P + c.v_col + i % Q) * get(&c.in[2], i % Q));
}
