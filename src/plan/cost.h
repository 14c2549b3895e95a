// cost.h: from the pace of a machine to what the whole run takes: time, disk, energy, money, CO2.
//
//     time   = steps x step + evaluations + samples + the last save      (or max_time; then the steps are what fits)
//     disk   = (checkpoints kept + the one being written) x checkpoint + the model folder
//     energy = power x time;  money = price_per_hour x time;  CO2 = gco2_per_kwh x energy
//
// Saves on the way are written while steps run; at the end the run waits for one, at DISK_BYTES_PER_S.
#pragma once
#include "plan/memory.h"

// What a machine takes for each part of one job's run: measured here (speed.h) or by a roofline (hardware.h).
typedef struct hone_pace {
    int64_t chips;              // each does the recipe's rows: a step has so many times its tokens
    double step_s;              // all of one optimizer step
    double moves_s, waited_s;   // of it: moves of what is offloaded, one after another; what nodes wait for them
    double score_s;             // one run of program score, on one chip
    double token_s;             // one token of a sample
    double watts;
    char power[96];             // how watts are known
} hone_pace;

typedef struct hone_cost {
    int64_t steps, tokens;      // 0: the recipe sets no end
    double epochs, *source_epochs;  // (sources,) of a mixture, NULL else
    double tokens_per_s;        // while steps run
    double reference_s, steps_s, eval_s, sample_s, save_s, total_s; // reference: of stage dpo, once
    int64_t checkpoint_bytes, checkpoints, disk_bytes;  // checkpoints: kept at the end
    double energy_kwh, money, co2_g;                    // money, co2_g 0: the recipe names no price, no gco2_per_kwh
} hone_cost;

hone_status hone_cost_make(hone_job *job, const hone_plan *plan, const hone_pace *pace, hone_cost *cost);
void hone_cost_release(hone_cost *cost);
