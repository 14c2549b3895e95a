// precision.h: what `precision: auto` means for a recipe on a machine: the fastest of f32, bf16 and int8, by the timings that
// `hone plan` takes.
//
//     for each of the three:  the recipe with few rows -> job -> kinds of nodes -> seconds (cache, else measured)
//                             seconds of a step = micro-batches x rows / few x (read + micro) + update
//     taken: the widest one that takes at most HONE_PRECISION_MARGIN longer than the fastest
//
// All ops are linear in token rows, and few rows keep what is measured within the memory that the run will take; the recipe's keys
// memory and offload hold there, too. A precision that does not fit even so is not taken. Once chosen it
// stands in the recipe as if it had been written there: log, checkpoints and `hone replay` know nothing of `auto`.
#pragma once
#include "plan/speed.h"

enum { HONE_PRECISIONS = 3 };                       // f32, bf16, int8: from wide to narrow
extern const hone_choice hone_precision_of[HONE_PRECISIONS];
static const double HONE_PRECISION_MARGIN = 0.05;   // narrower numbers must gain more than this

typedef struct hone_precision_choice {
    bool chosen;                                    // the recipe said auto
    hone_choice precision;                          // HONE_precision_f32 ...
    double tokens_per_s[HONE_PRECISIONS];           // 0: not measured, or it does not fit
    double measured_s;                              // how long measuring took, 0: all was in the cache
    char kept[160];                                 // not measured but kept: what an earlier part of the run took, and where that stands
} hone_precision_choice;

// The rule by itself: index of the one that is taken.
int hone_precision_pick(const double seconds[HONE_PRECISIONS]);
// The recipe that is timed for one of them: a shallow copy, not to be released.
hone_recipe hone_precision_trial(const hone_recipe *recipe, hone_choice precision);
// Where the recipe says auto: chooses, and puts the choice into it. on: for another machine ("8xh100"), by its roofline; NULL: measured here.
hone_status hone_precision_choose(hone_recipe *recipe, const char *on, hone_speed_effort effort, hone_precision_choice *choice);
// What it chose and why, as one line without an end.
hone_status hone_precision_print(const hone_precision_choice *choice, hone_buffer *out);
