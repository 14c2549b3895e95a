// power.h: the energy that this machine's processors took, where Linux' powercap (RAPL) may be read.
#pragma once
#include <stdbool.h>

// Joules since some moment, summed over packages; false: not metered, or not for this user. Counters wrap after minutes to
// hours: take differences of what lies seconds apart, and drop those below zero.
bool hone_power_read(const char *root, double *joules);     // root: NULL = /sys/class/powercap
