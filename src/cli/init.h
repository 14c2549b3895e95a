// init.h: what the two kinds of `hone init` share: a recipe for a new model (cmd_init.c), and for tuning one (init_tune.c).
#pragma once
#include "base/memory.h"
#include <stdbool.h>

typedef struct hone_init {
    const char *time, *memory;      // as the command line has them
    double time_s; int64_t memory_bytes;    // and what they come to; 0: not given
    const char *data, *tokenizer;
    const char *model, *method;     // of tuning
    const char *path, *output_dir;  // of the recipe; of its run
} hone_init;

int64_t hone_init_round(double x);  // 1, 2 or 5 times a power of ten, not above x; 1 at least
hone_status hone_init_print_path(hone_buffer *out, const char *key, const char *path); // as YAML takes it, whatever it holds
hone_status hone_init_tune(const hone_init *init);
