// progress.h: what a run shows while it goes on, and the table at its end.
//
//   step  350/700  50%  loss 4.812  bpb 1.870 (held out 1.910 @300)  1,912 tok/s  171 GFLOP/s  75% of peak  540 MiB  left 12:31
//
// On a terminal one line is redrawn in place, several times a second at most; piped, whole lines come every
// logging_steps. Everything else that is printed goes through hone_progress_say(), which clears the line first.
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct hone_progress {
    FILE *out;
    bool terminal;
    int64_t every;              // logging_steps
    double drawn_s;             // when the line was last drawn
    int drawn_columns;
    double peak_flops;          // of this machine, 0 unknown
    double held_bpb, held_loss; int64_t held_step;   // last evaluation; held_step -1: none yet
} hone_progress;

typedef struct hone_progress_row {
    int64_t step, steps;        // steps 0: unknown (limited by time)
    double done;                // 0..1
    double loss, bits_per_byte; // bits_per_byte 0: unknown
    double tokens_per_s, flops_per_s, left_s;
    int64_t memory_bytes;
} hone_progress_row;

void hone_progress_open(hone_progress *progress, FILE *out, int64_t every, double peak_flops);
void hone_progress_step(hone_progress *progress, const hone_progress_row *row);
void hone_progress_held(hone_progress *progress, int64_t step, double loss, double bits_per_byte);
void hone_progress_say(hone_progress *progress, const char *format, ...) __attribute__((format(printf, 2, 3)));
void hone_progress_end(hone_progress *progress);     // leaves the last line standing
