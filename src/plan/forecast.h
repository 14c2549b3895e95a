// forecast.h: all that `hone plan` says of one recipe: memory, speed, the run's time and cost; here or on another machine.
//
//     precision.h (where it is auto) -> job -> memory.h (exact) -> speed.h (measured or from its cache) | hardware.h (roofline) -> cost.h -> table | JSON
#pragma once
#include "plan/hardware.h"
#include "plan/precision.h"

typedef struct hone_forecast {
    hone_job *job;                  // borrowed
    hone_plan plan;
    const hone_hardware *machine;   // NULL: this one
    bool fits;                      // into the machine's memory
    bool paced;                     // speed is known: pace and cost are filled in
    double peak_flops;              // of this machine, measured; 0 unknown
    double measured_s;              // how long measuring took now, 0: it came from the cache
    double recompute_s;             // of a step: activations made a second time
    hone_pace pace;
    hone_cost cost;
    hone_precision_choice precision;
} hone_forecast;

typedef struct hone_forecast_options {
    const char *on;                 // "8xh100"; NULL: this machine
    hone_speed_effort effort;
    const hone_precision_choice *precision; // how the recipe came to its precision; NULL: it was given
} hone_forecast_options;

// Where the recipe does not fit (.fits), there is no speed.
hone_status hone_forecast_make(hone_forecast *forecast, hone_job *job, const hone_forecast_options *options);
void hone_forecast_release(hone_forecast *forecast);

// One table, a column for each forecast; notes beside it where there is only one.
hone_status hone_forecast_print(const hone_forecast *forecast, int count, hone_buffer *out);
hone_status hone_forecast_json(const hone_forecast *forecast, json_t **out);    // what hone_plan_json says, and the rest
