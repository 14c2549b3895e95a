// forecast.c: see forecast.h.
#include "plan/forecast.h"
#include "base/cpu.h"
#include <math.h>

static void pace_here(const hone_speed *speed, const hone_plan *plan, hone_pace *pace)
{
    const hone_job *job = speed->job;
    int threads = (int)job->recipe->threads;
    if (threads <= 0) hone_cpu_threads(&threads);
    *pace = (hone_pace){ .chips = 1, .step_s = hone_speed_step_s(speed), .score_s = hone_speed_program_s(speed, "score"), .watts = speed->watts,
                         .moves_s = hone_speed_moves_s(speed), .waited_s = hone_speed_waited_s(speed) };
    // A token of a sample reads every weight once, at the pace at which the update reads and writes all that persists.
    double moved = 2 * (double)(plan->class_bytes[HONE_CLASS_param] + plan->class_bytes[HONE_CLASS_grad] + plan->class_bytes[HONE_CLASS_moment]);
    pace->token_s = hone_speed_program_s(speed, "update") * (double)plan->class_bytes[HONE_CLASS_param] / moved;
    if (hone_backend_is_apart(job->session.backend)) pace->watts = 0; // the host's meter and data sheet say nothing of the device
    else if (speed->watts > 0) snprintf(pace->power, sizeof pace->power, "metered while measuring");
    else pace->watts = hone_hardware_watts_here(hone_cpu()->model, threads, pace->power, sizeof pace->power);
}

static hone_status finish(hone_forecast *f, const hone_speed *speed)
{
    if (!hone_backend_is_apart(f->job->session.backend)) f->peak_flops = speed->peak_flops;    // what is measured is the host's
    if (!hone_speed_known(speed)) return HONE_OK;
    f->measured_s = speed->measured_s;
    f->paced = true;
    f->recompute_s = (double)f->job->accumulation * hone_speed_recompute_s(speed);
    pace_here(speed, &f->plan, &f->pace);
    return hone_cost_make(f->job, &f->plan, &f->pace, &f->cost);
}

static hone_status forecast_here(hone_forecast *f, hone_job *job, const hone_forecast_options *options)
{
    hone_speed speed;
    hone_status status = hone_speed_open(&speed, job);
    if (status) return status;
    if (f->fits) status = hone_speed_find(&speed, options->effort);
    if (!status) status = finish(f, &speed);
    hone_speed_close(&speed);
    return status;
}

hone_status hone_forecast_make(hone_forecast *f, hone_job *job, const hone_forecast_options *options)
{
    *f = (hone_forecast){ .job = job };
    if (options->precision) f->precision = *options->precision;
    int64_t chips = 1;
    hone_status status = options->on ? hone_hardware_find(options->on, &f->machine, &chips) : HONE_OK;
    if (!status) status = hone_plan_make(job, &f->plan);
    if (status) return status;
    if (f->machine) {
        f->fits = f->machine->memory == 0 || (double)f->plan.arena_bytes <= f->machine->memory;
        f->paced = true;
        hone_hardware_pace(job, &f->plan, f->machine, chips, &f->pace);
        status = hone_cost_make(job, &f->plan, &f->pace, &f->cost);
    } else {
        f->fits = hone_plan_fits(&f->plan, job->recipe);
        status = forecast_here(f, job, options);
    }
    if (status) hone_forecast_release(f);
    return status;
}

void hone_forecast_release(hone_forecast *f)
{
    hone_plan_release(&f->plan);
    hone_cost_release(&f->cost);
    *f = (hone_forecast){ 0 };
}
