// drop.h: which elements op dropout drops, and what op noise adds. A function of (seed, node's stream, token row of the whole
// training, column), so that recomputation, the backward, any micro-batch split and a resumed run draw the same.
#pragma once
#include "graph/round.h"
#include <stdbool.h>

// key: seed, low and high half; number of the tensor's first row.
static inline uint32_t hone_drop_row(const int32_t key[3], int32_t stream, int64_t n)
{
    const uint32_t of_seed = hone_round_hash(hone_round_hash((uint32_t)key[0]) + (uint32_t)key[1]);
    return hone_round_hash(hone_round_hash(of_seed + (uint32_t)stream) + (uint32_t)key[2] + (uint32_t)n);
}
static inline uint32_t hone_drop_threshold(float rate) { return (uint32_t)((double)rate * 4294967296.0); } // rate < 1
static inline bool hone_drop_keeps(uint32_t row, int64_t k, uint32_t threshold) { return hone_round_hash((uint32_t)k * 0x9e3779b9u ^ row) >= threshold; }
// Uniform in [-1, 1), in steps of 2^-23: exact in f32.
static inline float hone_drop_noise(uint32_t row, int64_t k) { return (float)(int32_t)(hone_round_hash((uint32_t)k * 0x9e3779b9u ^ row) >> 8) * 0x1p-23f - 1; }
