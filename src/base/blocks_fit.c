// blocks_fit.c: see blocks_fit.h.
//
// With the codes q given, the error  sum w (a q - b - x)^2  is quadratic in a and b: two linear equations. With a and b given, the best
// q is the nearest whole number. A few starts around the scale that spans the range, one solution of each, the best kept.
//
//     | sum w q q   - sum w q | |a|   |  sum w q x |
//     | - sum w q     sum w   | |b| = | -sum w x   |
//
// w = |x| + rms(x): what a weight adds to a product grows with its size, and none is worth nothing.
#include "base/blocks_fit.h"
#include <math.h>

enum { MOST = 32, STARTS = 9 };

static void set_weights(const float *x, int count, float *w)
{
    float square = 0;
    for (int i = 0; i < count; i++) square += x[i] * x[i];
    float rms = sqrtf(square / (float)count);
    for (int i = 0; i < count; i++) w[i] = fabsf(x[i]) + rms;
}

static float nearest_within(float x, float low, float high) { return fmaxf(low, fminf(high, rintf(x))); }

// Starts span the range with a little less than top steps to a little more.
static float start_of(int k, float steps, float span)
{
    int beside = k - STARTS / 2;
    return (steps + 0.25f * (float)beside) / span;
}

void hone_blocks_fit_range(const float *x, int count, int top, float *scale, float *shift)
{
    float w[MOST], q[MOST], low = 0, high = x[0], best = INFINITY, sum_w = 0, sum_wx = 0;
    for (int i = 0; i < count; i++) {
        low = fminf(low, x[i]);   // the shift cannot be negative: the range reaches to zero
        high = fmaxf(high, x[i]);
    }
    *scale = 0;
    *shift = -low;
    if (!(high > low)) return;   // all alike, and not above zero
    set_weights(x, count, w);
    for (int i = 0; i < count; i++) {
        sum_w += w[i];
        sum_wx += w[i] * x[i];
    }
    for (int k = 0; k < STARTS; k++) {
        float inverse = start_of(k, (float)top, high - low), qq = 0, qs = 0, qx = 0, error = 0;
        for (int i = 0; i < count; i++) {
            q[i] = nearest_within((x[i] - low) * inverse, 0, (float)top);
            qq += w[i] * q[i] * q[i];
            qs += w[i] * q[i];
            qx += w[i] * q[i] * x[i];
        }
        float determinant = qq * sum_w - qs * qs;
        if (!(qq > 0)) continue;
        float a = qx / qq, b = 0;              // without a shift: all codes alike, or the best shift is below zero
        if (determinant > 1e-4f * qq * sum_w && qs * qx > qq * sum_wx) {
            a = (qx * sum_w - qs * sum_wx) / determinant;
            b = (qs * qx - qq * sum_wx) / determinant;
        }
        if (!(a > 0)) continue;
        for (int i = 0; i < count; i++) {
            float off = a * q[i] - b - x[i];
            error += w[i] * off * off;
        }
        if (error >= best) continue;
        best = error;
        *scale = a;
        *shift = b;
    }
}

float hone_blocks_fit_scale(const float *x, int count, int half)
{
    float w[MOST], top = 0, scale = 0, best = 0;
    for (int i = 0; i < count; i++)
        if (fabsf(x[i]) > fabsf(top)) top = x[i];
    if (top == 0) return 0;
    set_weights(x, count, w);
    for (int k = 0; k < STARTS; k++) {
        float inverse = -start_of(k, (float)half, top), qq = 0, qx = 0;   // the furthest element is code -half
        for (int i = 0; i < count; i++) {
            float q = nearest_within(x[i] * inverse, (float)-half, (float)(half - 1));
            qq += w[i] * q * q;
            qx += w[i] * q * x[i];
        }
        if (!(qq > 0) || qx * qx <= best * qq) continue;   // error = sum w x x - qx^2 / qq
        best = qx * qx / qq;
        scale = qx / qq;
    }
    return scale;
}
