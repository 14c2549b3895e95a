// norm.c: rmsnorm, layernorm, per-head rmsnorm of q and k, and their gradients.
//
// All three scale a row by s = 1 / sqrt(moment + eps), keep s (and the mean) for the backward, and share its derivation:
// with z the normalised row and dz = dy g, s depends on every x, which takes from dz its component along z; a mean that
// was subtracted takes its mean as well.
#include "backend/ref/ref.h"

static double gain(const hone_args *a, const hone_operand *g, int64_t c) { return get(g, c) + (double)a->attr.base; }

// Zhang & Sennrich 2019: y = z g,  z = x s,  s = 1 / sqrt(mean(x^2) + eps)
//   x, y (N, C)   g (C,)   rstd (N,)
void hone_ref_rmsnorm(const hone_args *a)
{
    const hone_operand *x = &a->in[0], *g = &a->in[1], *y = &a->out[0], *rstd = &a->out[1];
    int64_t N = hone_rows(x), C = x->dim[1];
    for (int64_t n = 0; n < N; n++) {
        double squares = 0;
        for (int64_t c = 0; c < C; c++) squares += get(x, n * C + c) * get(x, n * C + c);
        double s = 1 / sqrt(squares / (double)C + (double)a->attr.eps);
        for (int64_t c = 0; c < C; c++) put(y, n * C + c, get(x, n * C + c) * s * gain(a, g, c));
        put(rstd, n, s);
    }
}

// ds/dx_c = -s^3 x_c / C, hence  dx = s (dz - z mean(dz z)) (+ addend),  dg += sum_n dy z
//   addend and dx may be one
void hone_ref_rmsnorm_back(const hone_args *a)
{
    const hone_operand *dy = &a->in[0], *x = &a->in[1], *g = &a->in[2], *rstd = &a->in[3], *addend = &a->in[4];
    const hone_operand *dx = &a->out[0], *dg = &a->out[1];
    int64_t N = hone_rows(dy), C = x->dim[1];
    for (int64_t c = 0; dg->present && c < C; c++) {
        double sum = get(dg, c);
        for (int64_t n = 0; n < N; n++) sum += get(dy, n * C + c) * get(x, n * C + c) * get(rstd, n);
        put(dg, c, sum);
    }
    for (int64_t n = 0; n < N; n++) {
        double s = get(rstd, n), along = 0;
        for (int64_t c = 0; c < C; c++) along += get(dy, n * C + c) * gain(a, g, c) * get(x, n * C + c) * s;
        along /= (double)C;
        for (int64_t c = 0; c < C; c++) {
            int64_t i = n * C + c;
            put(dx, i, s * (get(dy, i) * gain(a, g, c) - get(x, i) * s * along) + get_or(addend, i, 0));
        }
    }
}

// Ba et al. 2016: y = z g + b,  z = (x - mean) s,  s = 1 / sqrt(mean((x - mean)^2) + eps)
//   x, y (N, C)   g, b (C,)   stats (N, 2): mean, s
void hone_ref_layernorm(const hone_args *a)
{
    const hone_operand *x = &a->in[0], *g = &a->in[1], *b = &a->in[2], *y = &a->out[0], *stats = &a->out[1];
    int64_t N = hone_rows(x), C = x->dim[1];
    for (int64_t n = 0; n < N; n++) {
        double mean = 0, variance = 0;
        for (int64_t c = 0; c < C; c++) mean += get(x, n * C + c);
        mean /= (double)C;
        for (int64_t c = 0; c < C; c++) variance += (get(x, n * C + c) - mean) * (get(x, n * C + c) - mean);
        double s = 1 / sqrt(variance / (double)C + (double)a->attr.eps);
        for (int64_t c = 0; c < C; c++) put(y, n * C + c, (get(x, n * C + c) - mean) * s * gain(a, g, c) + get(b, c));
        put(stats, 2 * n, mean);
        put(stats, 2 * n + 1, s);
    }
}

// dx = s (dz - mean(dz) - z mean(dz z)) (+ addend),  dg += sum_n dy z,  db += sum_n dy
//   addend and dx may be one
void hone_ref_layernorm_back(const hone_args *a)
{
    const hone_operand *dy = &a->in[0], *x = &a->in[1], *g = &a->in[2], *stats = &a->in[3], *addend = &a->in[4];
    const hone_operand *dx = &a->out[0], *dg = &a->out[1], *db = &a->out[2];
    int64_t N = hone_rows(dy), C = x->dim[1];
    for (int64_t c = 0; c < C; c++) {
        double sum_g = get_or(dg, c, 0), sum_b = get_or(db, c, 0);
        for (int64_t n = 0; n < N; n++) {
            sum_g += get(dy, n * C + c) * (get(x, n * C + c) - get(stats, 2 * n)) * get(stats, 2 * n + 1);
            sum_b += get(dy, n * C + c);
        }
        if (dg->present) put(dg, c, sum_g);
        if (db->present) put(db, c, sum_b);
    }
    for (int64_t n = 0; n < N; n++) {
        double mean = get(stats, 2 * n), s = get(stats, 2 * n + 1), level = 0, along = 0;
        for (int64_t c = 0; c < C; c++) {
            double dz = get(dy, n * C + c) * gain(a, g, c);
            level += dz;
            along += dz * (get(x, n * C + c) - mean) * s;
        }
        level /= (double)C, along /= (double)C;
        for (int64_t c = 0; c < C; c++) {
            int64_t i = n * C + c;
            double z = (get(x, i) - mean) * s;
            put(dx, i, s * (get(dy, i) * gain(a, g, c) - level - z * along) + get_or(addend, i, 0));
        }
    }
}

// Head h of a fused row q|k|v, q's before k's: its gains, where it begins in the row, and its size.
typedef struct { const hone_operand *g; int64_t at, size; } head_of_row;
static head_of_row head_at(const hone_args *a, const hone_operand *gq, const hone_operand *gk, int64_t h)
{
    int64_t H = a->attr.heads, D = a->attr.head_dim, E = count(gk);
    return h < H ? (head_of_row){ gq, h * D, D } : (head_of_row){ gk, H * D + (h - H) * E, E };
}

// Qwen3: rmsnorm over the features of each of the H + G heads of a fused row q|k|v; the v part passes through.
//   qkv, y (N, P)   gq (D,), gk (E,)   rstd (N, H + G)
void hone_ref_qk_norm(const hone_args *a)
{
    const hone_operand *qkv = &a->in[0], *gq = &a->in[1], *gk = &a->in[2], *y = &a->out[0], *rstd = &a->out[1];
    int64_t N = hone_rows(qkv), P = qkv->dim[1], heads = a->attr.heads + a->attr.kv_heads;
    for (int64_t n = 0; n < N; n++) {
        for (int64_t h = 0; h < heads; h++) {
            const head_of_row head = head_at(a, gq, gk, h);
            int64_t at = n * P + head.at;
            double squares = 0;
            for (int64_t d = 0; d < head.size; d++) squares += get(qkv, at + d) * get(qkv, at + d);
            double s = 1 / sqrt(squares / (double)head.size + (double)a->attr.eps);
            for (int64_t d = 0; d < head.size; d++) put(y, at + d, get(qkv, at + d) * s * gain(a, head.g, d));
            put(rstd, n * heads + h, s);
        }
        for (int64_t i = n * P + head_at(a, gq, gk, heads).at; i < (n + 1) * P; i++) put(y, i, get(qkv, i));
    }
}

// dg += sum over rows and the heads from `first` to `end`. dg may be absent.
static void add_head_gains(const hone_args *a, const hone_operand *dg, int64_t first, int64_t end)
{
    const hone_operand *dy = &a->in[0], *qkv = &a->in[1], *rstd = &a->in[4];
    int64_t N = hone_rows(qkv), P = qkv->dim[1], heads = a->attr.heads + a->attr.kv_heads;
    for (int64_t d = 0; dg->present && d < count(dg); d++) {
        double sum = get(dg, d);
        for (int64_t n = 0; n < N; n++)
            for (int64_t h = first; h < end; h++) {
                int64_t i = n * P + head_at(a, &a->in[2], &a->in[3], h).at + d;
                sum += get(dy, i) * get(qkv, i) * get(rstd, n * heads + h);
            }
        put(dg, d, sum);
    }
}

// As rmsnorm_back, head by head. dy and dqkv may be one, so the gains are summed before dy is overwritten.
void hone_ref_qk_norm_back(const hone_args *a)
{
    const hone_operand *dy = &a->in[0], *qkv = &a->in[1], *gq = &a->in[2], *gk = &a->in[3], *rstd = &a->in[4], *dqkv = &a->out[0];
    int64_t N = hone_rows(qkv), P = qkv->dim[1], H = a->attr.heads, heads = H + a->attr.kv_heads;
    add_head_gains(a, &a->out[1], 0, H);
    add_head_gains(a, &a->out[2], H, heads);
    for (int64_t n = 0; n < N; n++) {
        for (int64_t h = 0; h < heads; h++) {
            const head_of_row head = head_at(a, gq, gk, h);
            int64_t at = n * P + head.at;
            double s = get(rstd, n * heads + h), along = 0;
            for (int64_t d = 0; d < head.size; d++) along += get(dy, at + d) * gain(a, head.g, d) * get(qkv, at + d) * s;
            along /= (double)head.size;
            for (int64_t d = 0; d < head.size; d++)
                put(dqkv, at + d, s * (get(dy, at + d) * gain(a, head.g, d) - get(qkv, at + d) * s * along));
        }
        for (int64_t i = n * P + head_at(a, gq, gk, heads).at; i < (n + 1) * P; i++) put(dqkv, i, get(dy, i));
    }
}
