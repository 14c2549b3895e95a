// mlp.c: what happens element by element: activations of the MLP and sums.
#include "backend/ref/ref.h"
#include "graph/drop.h"

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

// silu(x) = x sigmoid(x),  sigmoid' = sigmoid (1 - sigmoid):  silu'(x) = sigmoid(x) (1 + x (1 - sigmoid(x)))
static double silu(double x) { return x * sigmoid(x); }
static double silu_slope(double x) { return sigmoid(x) * (1 + x * (1 - sigmoid(x))); }

// Hendrycks & Gimpel 2016, the tanh form: y = x/2 (1 + tanh(t)),  t = sqrt(2/pi) (x + 0.044715 x^3)
static const double gelu_a = 0.79788456080286535588, gelu_b = 0.044715;

static double gelu(double x) { return x / 2 * (1 + tanh(gelu_a * (x + gelu_b * x * x * x))); }

// tanh' = 1 - tanh^2:  y' = (1 + tanh(t)) / 2 + x/2 (1 - tanh^2(t)) sqrt(2/pi) (1 + 3 0.044715 x^2)
static double gelu_slope(double x)
{
    double t = tanh(gelu_a * (x + gelu_b * x * x * x));
    return (1 + t) / 2 + x / 2 * (1 - t * t) * gelu_a * (1 + 3 * gelu_b * x * x);
}

void hone_ref_gelu(const hone_args *a)
{
    const hone_operand *x = &a->in[0], *y = &a->out[0];
    for (int64_t i = 0; i < count(x); i++) put(y, i, gelu(get(x, i)));
}

// dx = dy y';  x and dx may be one
void hone_ref_gelu_back(const hone_args *a)
{
    const hone_operand *dy = &a->in[0], *x = &a->in[1], *dx = &a->out[0];
    for (int64_t i = 0; i < count(dy); i++) put(dx, i, get(dy, i) * gelu_slope(get(x, i)));
}

// Shazeer 2020, gated activations: h = f(g) u
//   gu (N, 2 F): g, then u   h (N, F)
static void gate(const hone_args *a, double (*f)(double))
{
    const hone_operand *gu = &a->in[0], *h = &a->out[0];
    int64_t N = hone_rows(gu), F = h->dim[1];
    for (int64_t n = 0; n < N; n++)
        for (int64_t i = 0; i < F; i++) put(h, n * F + i, f(get(gu, n * 2 * F + i)) * get(gu, n * 2 * F + F + i));
}

// dg = dh u f'(g),  du = dh f(g);  gu and dgu may be one
static void gate_back(const hone_args *a, double (*f)(double), double (*slope)(double))
{
    const hone_operand *dh = &a->in[0], *gu = &a->in[1], *dgu = &a->out[0];
    int64_t N = hone_rows(dh), F = dh->dim[1];
    for (int64_t n = 0; n < N; n++)
        for (int64_t i = 0; i < F; i++) {
            int64_t at_g = n * 2 * F + i, at_u = at_g + F;
            double g = get(gu, at_g), u = get(gu, at_u), d = get(dh, n * F + i);
            put(dgu, at_g, d * u * slope(g));
            put(dgu, at_u, d * f(g));
        }
}

void hone_ref_swiglu(const hone_args *a) { gate(a, silu); }
void hone_ref_swiglu_back(const hone_args *a) { gate_back(a, silu, silu_slope); }
void hone_ref_geglu(const hone_args *a) { gate(a, gelu); }
void hone_ref_geglu_back(const hone_args *a) { gate_back(a, gelu, gelu_slope); }

// So et al. 2021: y = max(x, 0)^2
void hone_ref_relu2(const hone_args *a)
{
    const hone_operand *x = &a->in[0], *y = &a->out[0];
    for (int64_t i = 0; i < count(x); i++) put(y, i, get(x, i) > 0 ? get(x, i) * get(x, i) : 0);
}

// dx = 2 max(x, 0) dy;  x and dx may be one
void hone_ref_relu2_back(const hone_args *a)
{
    const hone_operand *dy = &a->in[0], *x = &a->in[1], *dx = &a->out[0];
    for (int64_t i = 0; i < count(dy); i++) put(dx, i, get(x, i) > 0 ? 2 * get(x, i) * get(dy, i) : 0);
}

// y = s x;  x and y may be one
void hone_ref_scale(const hone_args *a)
{
    for (int64_t i = 0; i < count(&a->out[0]); i++) put(&a->out[0], i, (double)a->attr.scale * get(&a->in[0], i));
}

// y = a + b;  a and y may be one
void hone_ref_add(const hone_args *args)
{
    const hone_operand *a = &args->in[0], *b = &args->in[1], *y = &args->out[0];
    for (int64_t i = 0; i < count(a); i++) put(y, i, get(a, i) + get(b, i));
}

// y = x / (1 - p) where the element is kept
void hone_ref_dropout(const hone_args *a)
{
    const hone_operand *x = &a->in[0], *y = &a->out[0];
    const int64_t N = hone_rows(x), K = y->dim[1];
    for (int64_t n = 0; n < N; n++) {
        const uint32_t row = hone_drop_row(a->in[1].data, a->attr.stream, n);
        for (int64_t k = 0; k < K; k++)
            put(y, n * K + k, hone_drop_keeps(row, k, hone_drop_threshold(a->attr.rate)) ? get(x, n * K + k) / (1 - (double)a->attr.rate) : 0);
    }
}

// y = x + scale u;  x and y may be one
void hone_ref_noise(const hone_args *a)
{
    const hone_operand *x = &a->in[0], *y = &a->out[0];
    const int64_t N = hone_rows(x), K = y->dim[1];
    for (int64_t n = 0; n < N; n++) {
        const uint32_t row = hone_drop_row(a->in[1].data, a->attr.stream, n);
        for (int64_t k = 0; k < K; k++) put(y, n * K + k, get(x, n * K + k) + (double)a->attr.scale * (double)hone_drop_noise(row, k));
    }
}
