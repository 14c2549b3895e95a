// attention.c: attention over ranges of keys, its gradient, and the write of keys and values to a cache.
//
// Query n, head h sees the keys j in [first(n), hi[n]) of head g = h / (H / G), where first = lo[n], or hi[n] - window
// if that is later:
//     s_j = scale q . k_j (with a cap c  c tanh(scale q . k_j / c))      p_j = exp(s_j - lse)      lse = log sum_j exp(s_j)      o = sum_j p_j v_j
#include "backend/ref/ref.h"
#include "graph/kv8.h"

static int64_t first_key(const hone_args *a, const hone_operand *lo, const hone_operand *hi, int64_t n)
{
    int64_t first = get_index(lo, n), window = a->attr.window;
    return window > 0 && get_index(hi, n) - window > first ? get_index(hi, n) - window : first;
}

// sum_d x[i + d] y[j + d]
static double dot(const hone_operand *x, int64_t i, const hone_operand *y, int64_t j, int64_t D)
{
    double sum = 0;
    for (int64_t d = 0; d < D; d++) sum += get(x, i + d) * get(y, j + d);
    return sum;
}

// scale q . k, bounded where there is a cap.
static double score_of(const hone_args *a, double product)
{
    double s = (double)a->attr.scale * product, cap = (double)a->attr.cap;
    return cap > 0 ? cap * tanh(s / cap) : s;
}

// Where key j of query n lies in kv.
static int64_t row_of_key(const hone_args *a, int64_t n, int64_t j)
{
    const hone_operand *slot = &a->in[4], *table = &a->in[5];
    int64_t block = a->attr.block;
    return table->present ? get_index(table, get_index(slot, n) * table->dim[1] + j / block) * block + j % block : j;
}

// What numbers of a row of kv are times: the scale of the head that begins at column `col`, where kv has codes.
static double unit_of(const hone_args *a, int64_t row, int64_t col)
{
    const hone_operand *scale = &a->in[6];
    return scale->present ? get(scale, row * scale->dim[1] + col / a->attr.head_dim) : 1;
}

//   q (N, P)   kv (R, Q)   lo, hi, slot (N,)   table (S, B)   scale (R, 2 G) or absent   o (N, H*D)   lse (N, H)
void hone_ref_attention(const hone_args *a)
{
    const hone_operand *q = &a->in[0], *kv = &a->in[1], *lo = &a->in[2], *hi = &a->in[3];
    const hone_operand *o = &a->out[0], *lse = &a->out[1];
    int64_t N = hone_rows(q), P = q->dim[1], Q = kv->dim[1];
    int64_t H = a->attr.heads, D = a->attr.head_dim, share = H / a->attr.kv_heads;
    double *p = a->workspace; // (keys first .. hi,), at most R, or B * block where there is a table

    for (int64_t n = 0; n < N; n++)
        for (int64_t h = 0; h < H; h++) {
            int64_t first = first_key(a, lo, hi, n), keys = get_index(hi, n) - first, g = h / share;
            int64_t q_at = n * P + a->attr.q_col + h * D, k_at = a->attr.k_col + g * D, v_at = a->attr.v_col + g * D;
            double largest = (double)-INFINITY, sum = 0;
            for (int64_t i = 0; i < keys; i++) {
                const int64_t row = row_of_key(a, n, first + i);
                p[i] = score_of(a, unit_of(a, row, k_at) * dot(q, q_at, kv, row * Q + k_at, D));
                if (p[i] > largest) largest = p[i];
            }
            for (int64_t i = 0; i < keys; i++) sum += p[i] = exp(p[i] - largest);
            for (int64_t d = 0; d < D; d++) {
                double value = 0;
                for (int64_t i = 0; i < keys; i++) {
                    const int64_t row = row_of_key(a, n, first + i);
                    value += p[i] * unit_of(a, row, v_at) * get(kv, row * Q + v_at + d);
                }
                put(o, n * H * D + h * D + d, keys > 0 ? value / sum : 0);
            }
            put(lse, n * H + h, keys > 0 ? largest + log(sum) : (double)-INFINITY);
        }
}

void hone_ref_attention8(const hone_args *a) { hone_ref_attention(a); }

// From o = sum_j p_j v_j and p = softmax(s):
//     dp_j = do . v_j      ds_j = p_j (dp_j - sum_i p_i dp_i) = p_j (dp_j - do . o)
//     dq = scale sum_j ds_j k_j      dk_j = scale sum_n ds_nj q_n      dv_j = sum_n p_nj do_n
// With a cap ds has the factor 1 - (s_j / c)^2 more. p is made anew from lse. Columns that are no q, k or v get 0; so do keys that nobody sees.
typedef struct back {
    const hone_args *a;
    const hone_operand *d_o, *q, *kv, *o, *lse, *lo, *hi;
    int64_t N, P, Q, H, D, share;
} back;

// (p, ds) of query n, head h, key j
static void probability(const back *b, int64_t n, int64_t h, int64_t j, double *p, double *ds)
{
    int64_t D = b->D, g = h / b->share, out = n * b->H * D + h * D;
    double s = score_of(b->a, dot(b->q, n * b->P + b->a->attr.q_col + h * D, b->kv, j * b->Q + b->a->attr.k_col + g * D, D));
    double part = b->a->attr.cap > 0 ? s / (double)b->a->attr.cap : 0;
    *p = exp(s - get(b->lse, n * b->H + h));
    *ds = (1 - part * part) * *p * (dot(b->d_o, out, b->kv, j * b->Q + b->a->attr.v_col + g * D, D) - dot(b->d_o, out, b->o, out, D));
}

static void query_gradients(const back *b, const hone_operand *dq, double *sum)
{
    for (int64_t n = 0; n < b->N; n++)
        for (int64_t h = 0; h < b->H; h++) {
            for (int64_t d = 0; d < b->D; d++) sum[d] = 0;
            for (int64_t j = first_key(b->a, b->lo, b->hi, n); j < get_index(b->hi, n); j++) {
                double p, ds;
                probability(b, n, h, j, &p, &ds);
                for (int64_t d = 0; d < b->D; d++)
                    sum[d] += ds * get(b->kv, j * b->Q + b->a->attr.k_col + h / b->share * b->D + d);
            }
            for (int64_t d = 0; d < b->D; d++)
                put(dq, n * b->P + b->a->attr.q_col + h * b->D + d, (double)b->a->attr.scale * sum[d]);
        }
}

static void key_gradients(const back *b, const hone_operand *dkv, int64_t R, double *dk, double *dv)
{
    for (int64_t j = 0; j < R; j++)
        for (int64_t g = 0; g < b->H / b->share; g++) {
            for (int64_t d = 0; d < b->D; d++) dk[d] = dv[d] = 0;
            for (int64_t n = 0; n < b->N; n++) {
                if (j < first_key(b->a, b->lo, b->hi, n) || j >= get_index(b->hi, n)) continue;
                for (int64_t h = g * b->share; h < (g + 1) * b->share; h++) {
                    double p, ds;
                    probability(b, n, h, j, &p, &ds);
                    for (int64_t d = 0; d < b->D; d++) {
                        dk[d] += ds * get(b->q, n * b->P + b->a->attr.q_col + h * b->D + d);
                        dv[d] += p * get(b->d_o, n * b->H * b->D + h * b->D + d);
                    }
                }
            }
            for (int64_t d = 0; d < b->D; d++) {
                put(dkv, j * b->Q + b->a->attr.k_col + g * b->D + d, (double)b->a->attr.scale * dk[d]);
                put(dkv, j * b->Q + b->a->attr.v_col + g * b->D + d, dv[d]);
            }
        }
}

//   do, o (N, H*D)   q, dq (N, P)   kv, dkv (R, Q)   lse (N, H)   lo, hi (N,)
void hone_ref_attention_back(const hone_args *a)
{
    const hone_operand *dq = &a->out[0], *dkv = a->same_kv ? &a->out[0] : &a->out[1];
    back b = { .a = a, .d_o = &a->in[0], .q = &a->in[1], .kv = &a->in[2], .o = &a->in[3], .lse = &a->in[4],
               .lo = &a->in[5], .hi = &a->in[6], .N = hone_rows(&a->in[0]), .P = a->in[1].dim[1], .Q = a->in[2].dim[1],
               .H = a->attr.heads, .D = a->attr.head_dim, .share = a->attr.heads / a->attr.kv_heads };
    int64_t R = hone_rows(b.kv);
    double *sum = a->workspace; // (2, D)

    for (int64_t i = 0; i < b.N * b.P; i++) put(dq, i, 0);
    query_gradients(&b, dq, sum);
    if (!a->same_kv && !dkv->present) return;
    for (int64_t i = 0; !a->same_kv && i < R * b.Q; i++) put(dkv, i, 0);
    key_gradients(&b, dkv, R, sum, sum + b.D);
}

// cache[rows[n]] = columns [k_col, k_col + Q) of kv[n]
//   kv (N, P)   rows (N,)   cache (R, Q)
void hone_ref_kv_write(const hone_args *a)
{
    const hone_operand *kv = &a->in[0], *rows = &a->in[1], *cache = &a->out[0];
    int64_t N = hone_rows(kv), P = kv->dim[1], Q = cache->dim[1];
    for (int64_t n = 0; n < N; n++)
        for (int64_t i = 0; i < Q; i++) put(cache, get_index(rows, n) * Q + i, get(kv, n * P + a->attr.k_col + i));
}

// The same as codes and scales: kv8.h
//   kv (N, P)   rows (N,)   cache (R, 2*G*D)   scale (R, 2*G)
void hone_ref_kv_write8(const hone_args *a)
{
    const hone_operand *kv = &a->in[0], *rows = &a->in[1], *cache = &a->out[0], *scale = &a->out[1];
    const int64_t N = hone_rows(kv), P = kv->dim[1], E = scale->dim[1], D = a->attr.head_dim;
    for (int64_t n = 0; n < N; n++)
        for (int64_t e = 0; e < E; e++) {
            const int64_t from = n * P + a->attr.k_col + e * D, to = get_index(rows, n) * E + e;
            float top = 0;
            for (int64_t d = 0; d < D; d++) top = hone_kv8_larger(top, (float)get(kv, from + d));
            const hone_quant q = hone_quant_of(top);
            put(scale, to, (double)q.scale);
            for (int64_t d = 0; d < D; d++) put(cache, to * D + d, hone_kv8_code((float)get(kv, from + d), q.inverse));
        }
}
