// schedule.h: the learning rate as a pure function of the step.
//
//     rate                    cosine, linear            wsd                 constant
//     peak |      ____            /\                   /-----\             /--------
//          |     /               /  \__               /       \           /
//      min |    /               /      ---           /         \         /
//          +---------> step   warm-up  total        warm-up  decay
//
// Steps count from 0. Warm-up of w steps: step s runs at peak (s + 1) / w, so no step is lost at rate 0. Behind it
// t = (s - w) / (total - w) runs from 0 to 1:
//     cosine    min + (peak - min) (1 + cos(pi t)) / 2                (Loshchilov & Hutter 2017)
//     linear    peak - (peak - min) t
//     wsd       peak, then linear to min over the last share `decay` of all steps   (Hu et al. 2024)
//     constant  peak
// After the last step the rate stays where it ended.
#pragma once
#include "recipe/recipe.h"

typedef struct hone_schedule {
    hone_choice kind;              // lr_scheduler_type
    double peak, min_ratio, decay_ratio;
    double warmup_steps;           // used if > 0, else
    double warmup_ratio;           // a share of all steps, rounded up
} hone_schedule;

hone_schedule hone_schedule_of(const hone_recipe *recipe);
// Tokens of the pieces that a step's rows are cut into (length_warmup_steps): from length_warmup_from up to cutoff_len.
int64_t hone_schedule_length(const hone_recipe *recipe, int64_t step);
// total: number of steps of the whole run; may be a guess that gets better (runs limited by time).
double hone_schedule_rate(const hone_schedule *schedule, int64_t step, double total);
