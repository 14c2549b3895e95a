// bench_plan: how far `hone plan` is off: in turn, measures a recipe's speed as the plan does and trains some steps, in one
// process and some seconds apart, so that a machine that changes its pace meanwhile changes it for both.
//
//   build/bench_plan RECIPE.yaml ROUNDS        one JSON line: tokens/s planned, measured (medians over the rounds), off by
#include "plan/speed.h"
#include "train/loop.h"
#include <stdio.h>
#include <stdlib.h>

enum { MOST_ROUNDS = 64 };
static const double TRAIN_S = 2;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *value, int n)
{
    qsort(value, (size_t)n, sizeof *value, by_value);
    return n % 2 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}

static hone_status plan(hone_job *job, double *seconds)
{
    hone_speed speed;
    hone_status status = hone_speed_open(&speed, job);
    if (status) return status;
    if (!(status = hone_speed_find(&speed, HONE_SPEED_ANEW))) *seconds = hone_speed_step_s(&speed);
    hone_speed_close(&speed);
    return status;
}

// Mean seconds of steps for about TRAIN_S, one beforehand not counted.
static hone_status train(hone_job *job, double *seconds)
{
    hone_loop loop;
    hone_step step;
    int steps = 0;
    hone_status status = hone_session_allocate(&job->session);
    if (status) return status;
    hone_model_init(&job->model, 1, hone_job_place, job);
    hone_mixture_seek(&job->train, 0);
    hone_loop_open(&loop, job);
    status = hone_loop_step(&loop, 1000, &step);
    for (*seconds = 0; !status && *seconds < TRAIN_S; steps++) {
        status = hone_loop_step(&loop, 1000, &step);
        *seconds += step.seconds;
    }
    *seconds /= steps;
    hone_mixture_seek(&job->train, 0);
    hone_session_release_arena(&job->session);
    return status;
}

int main(int argc, char **argv)
{
    hone_recipe recipe;
    hone_job job;
    double planned[MOST_ROUNDS], trained[MOST_ROUNDS], ratio[MOST_ROUNDS];
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    if (argc < 2 || rounds < 1 || rounds > MOST_ROUNDS) {
        fprintf(stderr, "bench_plan RECIPE.yaml ROUNDS\n");
        return 2;
    }
    hone_status status = hone_recipe_load(&recipe, argv[1], 0, NULL);
    if (!status && !(status = hone_job_open(&job, &recipe))) {
        for (int r = 0; r < rounds && !status; r++) {
            if (!(status = plan(&job, &planned[r]))) status = train(&job, &trained[r]);
            ratio[r] = planned[r] / trained[r];
        }
        double tokens = (double)hone_job_step_tokens(&job);
        if (!status) printf("{\"planned\": %.1f, \"measured\": %.1f, \"measured_to_planned\": %.4f, \"rounds\": %d}\n", tokens / median(planned, rounds),
                            tokens / median(trained, rounds), median(ratio, rounds), rounds);
        hone_job_close(&job);
        hone_recipe_release(&recipe);
    }
    if (status) fprintf(stderr, "%s\n", hone_error());
    return (int)status;
}
