// schedule.c: see schedule.h for the curves.
#include "optim/schedule.h"
#include <math.h>

hone_schedule hone_schedule_of(const hone_recipe *recipe)
{
    return (hone_schedule){ .kind = (hone_choice)recipe->lr_scheduler_type, .peak = recipe->learning_rate,
                            .min_ratio = recipe->min_lr_ratio, .decay_ratio = recipe->decay_ratio,
                            .warmup_steps = (double)recipe->warmup_steps, .warmup_ratio = recipe->warmup_ratio };
}

static double between(double t) { return t < 0 ? 0 : t > 1 ? 1 : t; }

double hone_schedule_rate(const hone_schedule *s, int64_t step, double total)
{
    double at = (double)step, low = s->peak * s->min_ratio;
    double warmup = s->warmup_steps > 0 ? s->warmup_steps : ceil(s->warmup_ratio * total);
    if (at < warmup) return s->peak * (at + 1) / warmup;
    double t = between((at - warmup) / fmax(1, total - warmup));
    if (s->kind == HONE_lr_scheduler_type_cosine) return low + (s->peak - low) * 0.5 * (1 + cos(3.14159265358979324 * t));
    if (s->kind == HONE_lr_scheduler_type_linear) return s->peak - (s->peak - low) * t;
    if (s->kind == HONE_lr_scheduler_type_wsd) {
        double decay = s->decay_ratio * total, start = fmax(warmup, total - decay);
        return s->peak - (s->peak - low) * between((at - start) / fmax(1, total - start));
    }
    return s->peak;
}

int64_t hone_schedule_length(const hone_recipe *recipe, int64_t step)
{
    int64_t from = recipe->length_warmup_from, to = recipe->cutoff_len, steps = recipe->length_warmup_steps;
    if (step >= steps || from >= to) return to;
    return from + (to - from) * step / steps;
}
