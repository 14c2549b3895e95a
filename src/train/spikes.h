// spikes.h: is a step's loss far above what the last steps' were?
//
//     z = (loss - mean) / standard deviation, over the last `window` good steps
//
// A spike is z > threshold. Judged only behind a whole window: the first losses fall fast and say little. Bad steps do not
// enter the window, so one spike does not hide the next. The window is part of a checkpoint: a run that goes on judges as
// one that never stopped.
#pragma once
#include <stdint.h>

enum { HONE_SPIKES_MOST = 1000 };

typedef struct hone_spikes {
    double threshold;                // 0: never a spike
    int64_t window, count;           // window <= HONE_SPIKES_MOST
    double loss[HONE_SPIKES_MOST];   // (count,) the oldest first
} hone_spikes;

double hone_spikes_score(const hone_spikes *spikes, double loss);   // z; 0 where it is not judged
void hone_spikes_add(hone_spikes *spikes, double loss);             // of a good step
