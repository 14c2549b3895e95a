// checkpoint_look.h: what lies in saved tensors: are they finite, and how do two checkpoints differ?
#pragma once
#include "base/json.h"
#include "io/checkpoint.h"

// Fails with file, tensor and element where a weight or moment is not finite.
hone_status hone_checkpoint_check_finite(const char *path);

typedef struct hone_tensor_difference {
    char *name;                  // as in the file
    const char *file;            // "model.safetensors" or "optimizer.safetensors"
    const char *only;            // "first", "second", "shape": not comparable; NULL: what follows
    int64_t count, differing;    // elements
    double largest;              // of |a - b|
    double relative;             // ||a - b|| / ||a||
} hone_tensor_difference;

typedef struct hone_checkpoint_difference {
    hone_tensor_difference *tensor; int64_t count;   // those that differ, the largest relative difference first
    int64_t equal;                                   // tensors that are the same bit by bit
    double relative;                                 // ||a - b|| / ||a|| over all weights
} hone_checkpoint_difference;

// Two checkpoints, or any two Hugging Face folders (then without moments).
hone_status hone_checkpoint_diff(const char *a, const char *b, hone_checkpoint_difference *out);
void hone_checkpoint_difference_release(hone_checkpoint_difference *difference);
