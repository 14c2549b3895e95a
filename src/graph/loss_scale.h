// loss_scale.h: the loss scale of training in f16 (Micikevicius et al. 2018, arXiv:1710.03740).
//
// An f16 has bf16's width and three more fraction bits, for a range of 2^-24 .. 65504: gradients of activations would vanish below it. So
// the weights of the loss, and with them all gradients, are multiplied by a power of 2, and the step divides by it again (op clip_factor).
// The scale finds itself:
//
//     norm finite       one more good step; behind HONE_SCALE_GOOD in a row the scale doubles
//     norm not finite   an overflow: the step changes no weight and no moment, the scale halves
//
// A tensor f32[3] is all there is to it, so that the host looks at nothing within a step. It is zeros before the first one:
//     state = (doublings less halvings so far, good steps in a row, overflows so far)
// An overflow at the least scale cannot be mended here: it is a bad step like any other (train/loop.c).
#pragma once
#include <math.h>
#include <stdbool.h>

enum { HONE_SCALE_GOOD = 2000, HONE_SCALE_FIRST = 16, HONE_SCALE_LEAST = -14, HONE_SCALE_MOST = 48 };   // the last three: exponents of 2

static inline float hone_loss_scale(float doublings) { return ldexpf(1, HONE_SCALE_FIRST + (int)doublings); }
static inline bool hone_loss_scale_is_least(float doublings) { return HONE_SCALE_FIRST + (int)doublings <= HONE_SCALE_LEAST; }

static inline void hone_loss_scale_adapt(float state[3], bool finite)
{
    const int exponent = HONE_SCALE_FIRST + (int)state[0];
    if (!finite) {
        const bool halves = exponent > HONE_SCALE_LEAST;
        state[0] -= halves;
        state[1] = 0;
        state[2] += halves;
    } else if (state[1] + 1 < HONE_SCALE_GOOD) {
        state[1] += 1;
    } else {
        state[0] += exponent < HONE_SCALE_MOST;
        state[1] = 0;
    }
}
