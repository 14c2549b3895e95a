// precision.c: see precision.h.
#include "plan/precision.h"
#include "base/units.h"
#include "plan/hardware.h"
#include <math.h>

enum { FEW_TOKENS = 1024 };
const hone_choice hone_precision_of[HONE_PRECISIONS] = { HONE_precision_f32, HONE_precision_bf16, HONE_precision_int8 };

int hone_precision_pick(const double seconds[HONE_PRECISIONS])
{
    double least = INFINITY;
    for (int i = 0; i < HONE_PRECISIONS; i++) least = fmin(least, seconds[i]);
    for (int i = 0; i < HONE_PRECISIONS; i++)
        if (seconds[i] <= least * (1 + HONE_PRECISION_MARGIN)) return i;
    return 0; // nothing is known
}

hone_recipe hone_precision_trial(const hone_recipe *recipe, hone_choice precision)
{
    hone_recipe trial = *recipe;
    int64_t few = (FEW_TOKENS + recipe->cutoff_len - 1) / recipe->cutoff_len, half = recipe->per_device_train_batch_size / 2;
    trial.precision = (int)precision;
    trial.per_device_train_batch_size = half < 1 ? 1 : few < half ? few : half;
    trial.gradient_accumulation_steps = 1;
    trial.sample_steps = 0;
    return trial;
}

static hone_status time_here(hone_job *job, double scale, hone_speed_effort effort, double *seconds, double *measured_s)
{
    hone_speed speed;
    hone_status status = hone_speed_open(&speed, job);
    if (status) return status;
    if (!(status = hone_speed_find(&speed, effort))) {
        double update = hone_speed_program_s(&speed, "update");
        *seconds = scale * (hone_speed_step_s(&speed) - update) + update;
        *measured_s += speed.measured_s;
    }
    hone_speed_close(&speed);
    return status;
}

static hone_status time_there(hone_job *job, const char *on, double scale, double *seconds)
{
    const hone_hardware *machine;
    int64_t chips;
    hone_plan plan;
    hone_pace pace;
    hone_status status = hone_hardware_find(on, &machine, &chips);
    if (!status) status = hone_plan_make(job, &plan);
    if (status) return status;
    hone_hardware_pace(job, &plan, machine, chips, &pace);
    *seconds = scale * pace.step_s;
    hone_plan_release(&plan);
    return HONE_OK;
}

hone_status hone_precision_choose(hone_recipe *recipe, const char *on, hone_speed_effort effort, hone_precision_choice *choice)
{
    double seconds[HONE_PRECISIONS] = { 0 };
    *choice = (hone_precision_choice){ .precision = (hone_choice)recipe->precision };
    if (recipe->precision != HONE_precision_auto) return HONE_OK;
    for (int i = 0; i < HONE_PRECISIONS; i++) {
        hone_recipe trial = hone_precision_trial(recipe, hone_precision_of[i]);
        hone_job job;
        seconds[i] = INFINITY;
        hone_status status = hone_job_open(&job, &trial);
        if (status && recipe->memory > 0) { // as a rule it does not fit; whatever it is, the run's own opening says so
            hone_error_clear();
            continue;
        }
        if (status) return status;
        double rows = (double)(recipe->per_device_train_batch_size * recipe->gradient_accumulation_steps);
        double scale = rows / (double)trial.per_device_train_batch_size;
        if (on) status = time_there(&job, on, scale, &seconds[i]);
        else status = time_here(&job, scale, effort, &seconds[i], &choice->measured_s);
        hone_job_close(&job);
        if (status) return status;
        choice->tokens_per_s[i] = rows * (double)recipe->cutoff_len / seconds[i];
    }
    choice->chosen = true;
    choice->precision = hone_precision_of[hone_precision_pick(seconds)];
    recipe->precision = (int)choice->precision;
    return HONE_OK;
}

hone_status hone_precision_print(const hone_precision_choice *choice, hone_buffer *out)
{
    const char *separator = " tok/s; ";
    int taken = 0;
    for (int i = 0; i < HONE_PRECISIONS; i++)
        if (hone_precision_of[i] == choice->precision) taken = i;
    if (choice->kept[0]) return hone_buffer_print(out, "auto: %s", choice->kept);
    hone_status status = hone_buffer_print(out, "auto: %s", hone_units_grouped((int64_t)choice->tokens_per_s[taken]).s);
    for (int i = 0; i < HONE_PRECISIONS && !status; i++) {
        if (i == taken) continue;
        const hone_units speed = hone_units_grouped((int64_t)choice->tokens_per_s[i]);
        status = hone_buffer_print(out, "%s%s %s", separator, hone_choice_name(hone_precision_of[i]), choice->tokens_per_s[i] > 0 ? speed.s : "does not fit");
        separator = ", ";
    }
    if (status || choice->measured_s <= 0) return status;
    return hone_buffer_print(out, "; measured in %.1f s", choice->measured_s);
}
