// units.c: see units.h.
#include "base/units.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

// Three significant digits in the unit that keeps the number below `step`; rounding may push it into the next unit.
static hone_units scaled(double value, double step, const char *const *unit, int n)
{
    hone_units text;
    int u = 0;
    while (u + 1 < n && fabs(value) >= (step == 1024 ? 1023.5 : 999.5)) value /= step, u++;
    int digits = u == 0 || fabs(value) >= 99.95 ? 0 : fabs(value) >= 9.995 ? 1 : 2;
    snprintf(text.s, sizeof text.s, "%.*f%s", digits, value, unit[u]);
    return text;
}

hone_units hone_units_count(double count)
{
    static const char *const unit[] = { "", "k", "M", "B", "T" };
    return scaled(count, 1000, unit, 5);
}

hone_units hone_units_bytes(double bytes)
{
    static const char *const unit[] = { " B", " KiB", " MiB", " GiB", " TiB" };
    return scaled(bytes, 1024, unit, 5);
}

hone_units hone_units_flops(double per_second)
{
    static const char *const unit[] = { " FLOP/s", " kFLOP/s", " MFLOP/s", " GFLOP/s", " TFLOP/s", " PFLOP/s" };
    return scaled(per_second, 1000, unit, 6);
}

hone_units hone_units_grouped(int64_t number)
{
    char digits[24];
    hone_units text;
    int n = snprintf(digits, sizeof digits, "%" PRIu64, number < 0 ? -(uint64_t)number : (uint64_t)number), k = 0;
    if (number < 0) text.s[k++] = '-';
    for (int i = 0; i < n; i++) {
        text.s[k++] = digits[i];
        if ((n - i - 1) % 3 == 0 && i + 1 < n) text.s[k++] = ',';
    }
    text.s[k] = '\0';
    return text;
}

hone_units hone_units_time(double seconds)
{
    hone_units text;
    int64_t s = seconds > 0 && seconds < 1e15 ? (int64_t)(seconds + 0.5) : 0;
    if (s >= 3600) snprintf(text.s, sizeof text.s, "%" PRId64 ":%02d:%02d", s / 3600, (int)(s / 60 % 60), (int)(s % 60));
    else snprintf(text.s, sizeof text.s, "%d:%02d", (int)(s / 60), (int)(s % 60));
    return text;
}

hone_units hone_units_energy(double kwh)
{
    static const char *const unit[] = { " mWh", " Wh", " kWh", " MWh" };
    return scaled(kwh * 1e6, 1000, unit, 4);
}

hone_units hone_units_mass(double g)
{
    static const char *const unit[] = { " mg", " g", " kg", " t" };
    return scaled(g * 1e3, 1000, unit, 4);
}
