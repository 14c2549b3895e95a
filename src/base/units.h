// units.h: numbers as people read them, of a stable width: "13.8M", "1,912", "412 MiB", "12:31".
#pragma once
#include <stdint.h>

typedef struct hone_units { char s[32]; } hone_units;   // by value: hone_units_count(n).s inside a printf

hone_units hone_units_count(double count);      // 3 significant digits: 512, 4.66M, 13.8M, 1.24B
hone_units hone_units_grouped(int64_t number);  // 1,890
hone_units hone_units_bytes(double bytes);      // 412 MiB, 1.36 GiB
hone_units hone_units_time(double seconds);     // 0:07, 12:31, 3:05:00
hone_units hone_units_flops(double per_second); // 171 GFLOP/s
hone_units hone_units_energy(double kwh);       // 20 mWh, 11.7 Wh, 1.24 kWh
hone_units hone_units_mass(double g);           // 4.68 g, 1.24 kg
