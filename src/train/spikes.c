// spikes.c: see spikes.h.
#include "train/spikes.h"
#include <math.h>
#include <string.h>

double hone_spikes_score(const hone_spikes *s, double loss)
{
    double mean = 0, square = 0;
    if (s->threshold <= 0 || s->count < s->window) return 0;
    for (int64_t i = 0; i < s->count; i++) mean += s->loss[i] / (double)s->count;
    for (int64_t i = 0; i < s->count; i++) square += (s->loss[i] - mean) * (s->loss[i] - mean) / (double)s->count;
    return (loss - mean) / fmax(sqrt(square), 1e-9);   // losses that are all alike: any rise is a spike
}

void hone_spikes_add(hone_spikes *s, double loss)
{
    if (s->window <= 0) return;
    if (s->count == s->window) memmove(s->loss, s->loss + 1, (size_t)--s->count * sizeof *s->loss);
    s->loss[s->count++] = loss;
}
