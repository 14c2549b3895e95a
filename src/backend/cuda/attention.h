// attention.h: what the kernels of attention on multiply-adds (attention.cu) and on matrix cores (attention_mma.cu) share.
#pragma once
#include "backend/cuda/kernel.h"

// Row n sees keys [first, hi).
HONE_DEVICE int first_key(const hone_cuda_call *c, const hone_cuda_view *lo, const hone_cuda_view *hi, int64_t n)
{
    const int first = get_index(lo, n), within = get_index(hi, n) - c->window;
    return c->window > 0 && within > first ? within : first;
}

typedef struct range { int from, to; } range;   // of keys, or of query tiles

// scale q . k, bounded where there is a cap
HONE_DEVICE float score_of(float scale, float cap, float product) { return cap > 0 ? cap * tanhf(scale * product / cap) : scale * product; }
