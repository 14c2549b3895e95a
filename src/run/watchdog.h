// watchdog.h: a thread that notices, while it lasts, a step that takes far longer than the median, and says what the step
// was doing and what the process got meanwhile.
//
//     warning: step 37 takes 12.3 s so far, the median is 0.81 s: waiting for a checkpoint to be read, for 11.9 s; the
//              process had 0.2 s of CPU meanwhile: it was stopped, or waits for the disk
//
// The training's thread only writes down what it does. The clock is monotonic: setting the time of day changes nothing.
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct hone_watchdog hone_watchdog;

typedef struct hone_watchdog_options {
    double factor, least_s;                          // slow: factor x median, and least_s at least
    void (*say)(void *context, const char *text);    // called by the watchdog's thread, or by hone_watchdog_end
    void *context;
} hone_watchdog_options;

typedef struct hone_slow_step { int64_t step; double seconds, median_s, cpu_s; int64_t pages_read; char doing[96]; } hone_slow_step;

hone_status hone_watchdog_open(hone_watchdog **watchdog, const hone_watchdog_options *options);
void hone_watchdog_close(hone_watchdog *watchdog);

// The training's side. watchdog NULL: nothing. `doing` is a text that stays; part of parts, 0: without.
void hone_watchdog_begin(hone_watchdog *watchdog, int64_t step);
void hone_watchdog_doing(hone_watchdog *watchdog, const char *doing, int64_t part, int64_t parts);
void hone_watchdog_end(hone_watchdog *watchdog);
// True once for each slow step that has ended.
bool hone_watchdog_take(hone_watchdog *watchdog, hone_slow_step *slow);
