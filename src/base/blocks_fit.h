// blocks_fit.h: the scale (and shift) of a part of a block with the least squared error, larger elements weighing more.
#pragma once

// x_i ~ scale q_i - shift with q in 0 .. top, scale and shift >= 0.
void hone_blocks_fit_range(const float *x, int count, int top, float *scale, float *shift);

// x_i ~ scale q_i with q in -half .. half - 1; the scale may be negative.
float hone_blocks_fit_scale(const float *x, int count, int half);
