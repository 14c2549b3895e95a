// pair.c: pair_loss: a pass over token rows for the sums of replies, one for their weights. Too little for a second thread.
#include "backend/cpu/isa/kernel.h"
#include "graph/pair.h"

size_t ISA(hone_cpu_pair_loss_workspace)(const hone_args *args, int threads)
{
    (void)threads;
    return (size_t)args->in[3].dim[0] * 2 * sizeof(double);
}

// sum: (E, 2), then in column 0 what the pair's shares are multiplied by
void ISA(hone_cpu_pair_loss)(const hone_args *args, int threads)
{
    const float *logprob = f32_in(args, 0), *share = f32_in(args, 1), *reference = f32_in(args, 3);
    const int32_t *pair = i32_in(args, 2);
    float *weight = f32_out(args, 0), *measure = f32_out(args, 1);
    const double beta = (double)args->attr.scale, wrong = (double)args->attr.rate;
    const int64_t N = hone_rows(&args->in[1]), E = hone_rows(&args->in[3]);
    double *sum = args->workspace;
    (void)threads;
    for (int64_t i = 0; i < 2 * E; i++) sum[i] = 0;
    for (int64_t n = 0; n < N; n++)
        if (share[n] != 0) sum[2 * pair[n] + (share[n] < 0)] += (double)logprob[n];
    for (int64_t e = 0; e < E; e++) {
        const double chosen = beta * (sum[2 * e] - (double)reference[2 * e]), rejected = beta * (sum[2 * e + 1] - (double)reference[2 * e + 1]);
        double slope;
        measure[3 * e] = (float)hone_pair_loss(chosen - rejected, wrong, &slope);
        measure[3 * e + 1] = (float)chosen;
        measure[3 * e + 2] = (float)rejected;
        sum[2 * e] = beta * slope;
    }
    for (int64_t n = 0; n < N; n++) weight[n] = share[n] != 0 ? (float)((double)share[n] * sum[2 * pair[n]]) : 0;
}
