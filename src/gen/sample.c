// sample.c: drawing an id. No step sorts the vocabulary, and what touches all of it is plain loops that compilers
// vectorise: most ids are ruled out by a bound, the rest form a heap, and only those that are kept are popped.
#include "gen/sample.h"
#include "base/memory.h"
#include "base/rng.h"
#include <math.h>
#include <string.h>

typedef struct hone_candidate { float z; int32_t id; } candidate;
enum { LANES = 16, CHUNK = 1024 };

hone_status hone_sampling_check(const hone_sampling *how, const char *where)
{
    if (!(how->temperature >= 0 && how->temperature < 1e6))
        return hone_fail("%s: temperature %g; it must be 0 (greedy) or more", where, how->temperature);
    if (how->top_k < 0) return hone_fail("%s: top_k %lld; it must be 0 (off) or more", where, (long long)how->top_k);
    if (!(how->top_p > 0 && how->top_p <= 1)) return hone_fail("%s: top_p %g; it must be in (0, 1]", where, how->top_p);
    if (!(how->min_p >= 0 && how->min_p <= 1)) return hone_fail("%s: min_p %g; it must be in [0, 1]", where, how->min_p);
    if (!(how->repetition_penalty > 0 && how->repetition_penalty < 1e6))
        return hone_fail("%s: repetition_penalty %g; it must be above 0 (1: off)", where, how->repetition_penalty);
    return HONE_OK;
}

hone_status hone_sampler_init(hone_sampler *sampler, int64_t V)
{
    *sampler = (hone_sampler){ .V = V };
    sampler->candidate = hone_alloc((size_t)V, sizeof *sampler->candidate);
    sampler->seen = hone_alloc((size_t)V, 1);
    sampler->penalised = hone_alloc((size_t)V, sizeof *sampler->penalised);
    sampler->weight = hone_alloc((size_t)V, sizeof *sampler->weight);
    if (sampler->candidate && sampler->seen && sampler->penalised && sampler->weight) return HONE_OK;
    hone_sampler_release(sampler);
    return HONE_FAILED;
}

void hone_sampler_release(hone_sampler *sampler)
{
    hone_free(sampler->candidate);
    hone_free(sampler->seen);
    hone_free(sampler->penalised);
    hone_free(sampler->weight);
    *sampler = (hone_sampler){ 0 };
}

static const float *penalise(hone_sampler *s, const float *logits, double penalty, const int32_t *ids, int64_t n)
{
    float *z = s->penalised;
    memcpy(z, logits, (size_t)s->V * sizeof *z);
    for (int64_t i = 0; i < n; i++) {
        if (s->seen[ids[i]]) continue;
        s->seen[ids[i]] = 1;
        z[ids[i]] = (float)(z[ids[i]] > 0 ? z[ids[i]] / penalty : z[ids[i]] * penalty);
    }
    for (int64_t i = 0; i < n; i++) s->seen[ids[i]] = 0;
    return z;
}

static int32_t argmax(const float *z, int64_t V)
{
    float lane[LANES];
    for (int k = 0; k < LANES; k++) lane[k] = z[0];
    int64_t v = 0;
    for (; v + LANES <= V; v += LANES)
        for (int k = 0; k < LANES; k++) lane[k] = z[v + k] > lane[k] ? z[v + k] : lane[k];
    for (; v < V; v++) lane[0] = z[v] > lane[0] ? z[v] : lane[0];
    for (int k = 1; k < LANES; k++) lane[0] = lane[k] > lane[0] ? lane[k] : lane[0];
    for (v = 0; v < V - 1 && z[v] != lane[0]; v++) {}
    return (int32_t)v;
}

// exp(x) for -87 <= x <= 0 to 1e-7, in operations that compilers vectorise: 2^n by adding n to the exponent, e^r by a
// polynomial.
static inline float exp_below(float x)
{
    float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; // to nearest integer: 1.5 * 2^23 leaves no fraction bits
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f + r * (1.0f + r * (0.5f + r * (0.166666652f + r * (4.1666470e-2f + r * (8.3333310e-3f + r * 1.3928700e-3f)))));
    union { int32_t i; float f; } power = { ((int32_t)n + 127) << 23 };
    return p * power.f;
}

// Pairwise, so that rounding stays small; w is used up.
static double sum_chunk(float *w, int64_t n)
{
    double sum = 0;
    for (; n > 1; n /= 2) {
        if (n % 2) sum += (double)w[n - 1];
        for (int64_t i = 0; i < n / 2; i++) w[i] += w[i + n / 2];
    }
    return sum + (n ? (double)w[0] : 0);
}

// w[v] = exp((z[v] - best) / temperature), 0 where z[v] < least; returns their sum.
static double weigh(float *w, const float *z, int64_t V, float best, double temperature, double least)
{
    const float per = (float)(1 / temperature), from = (float)least;
    double sum = 0;
    float x[CHUNK];
    for (int64_t start = 0; start < V; start += CHUNK) {
        int64_t n = V - start < CHUNK ? V - start : CHUNK;
        for (int64_t i = 0; i < n; i++) x[i] = (z[start + i] - best) * per;
        for (int64_t i = 0; i < n; i++) x[i] = x[i] < -87.0f ? -87.0f : x[i];
        for (int64_t i = 0; i < n; i++) x[i] = exp_below(x[i]);
        for (int64_t i = 0; i < n; i++) w[start + i] = x[i] = z[start + i] < from ? 0.0f : x[i];
        sum += sum_chunk(x, n);
    }
    return sum;
}

static inline bool better(candidate a, candidate b) { return a.z > b.z || (a.z == b.z && a.id < b.id); }

static void sift_down(candidate *heap, int64_t n, int64_t i)
{
    candidate item = heap[i];
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && better(heap[child + 1], heap[child])) child++;
        if (!better(heap[child], item)) break;
        heap[i] = heap[child];
    }
    heap[i] = item;
}

// Best first: the popped ones end at the back of the array, the best at the very back.
static candidate pop(candidate *heap, int64_t n)
{
    candidate top = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = top;
    sift_down(heap, n - 1, 0);
    return top;
}

// Keeps the best of heap (n), which lies in w too, by top-k, then top-p of what is left. They end at the back of the
// array, best last; returns how many. *mass: their weight. all: weight of the whole vocabulary.
static int64_t keep_top(const hone_sampling *how, candidate *heap, int64_t n, const float *w, double all, double *mass)
{
    int64_t k = how->top_k > 0 && how->top_k < n ? how->top_k : n, kept = 0;
    *mass = 0;
    if (how->top_k > 0) { // top-p is a share of the k best, so their mass comes first
        for (; kept < k; kept++) *mass += (double)w[pop(heap, n - kept).id];
        if (how->top_p == 1) return kept;
        double reach = how->top_p * *mass;
        *mass = 0;
        for (kept = 0; kept < k && (kept == 0 || *mass < reach); kept++) *mass += (double)w[heap[n - 1 - kept].id];
        return kept;
    }
    for (double reach = how->top_p * all; kept < n && (kept == 0 || *mass < reach); kept++)
        *mass += (double)w[pop(heap, n - kept).id];
    return kept;
}

// The id at which the running sum of weights passes reach; the last of weight above 0 where rounding leaves a rest.
static int32_t draw_from_all(const float *w, int64_t V, double reach)
{
    int32_t id = 0;
    for (int64_t v = 0; v < V; v++) {
        if (w[v] == 0) continue;
        id = (int32_t)v;
        if (reach < (double)w[v]) break;
        reach -= (double)w[v];
    }
    return id;
}

// Candidates that can be among the k best: those in the upper buckets of z that together hold k.
static int64_t list_top_k(candidate *c, const float *z, int64_t V, int64_t k, float best, double floor_z)
{
    enum { BUCKETS = 1024 };
    int32_t held[BUCKETS] = { 0 };
    const float from = (float)floor_z, scale = (float)((BUCKETS - 1) / ((double)best - floor_z));
    int64_t count = 0, sum = 0;
    for (int64_t v = 0; v < V; v++) if (z[v] >= from) held[(int)((best - z[v]) * scale)]++;
    int last = 0;
    while (last < BUCKETS - 1 && (sum += held[last]) < k) last++;
    for (int64_t v = 0; v < V; v++)
        if (z[v] >= from && (int)((best - z[v]) * scale) <= last) c[count++] = (candidate){ z[v], (int32_t)v };
    return count;
}

// Candidates that can be among the fewest that reach p: V ids below (1 - p) all / V could not make up the rest.
static int64_t list_top_p(candidate *c, const float *z, const float *w, int64_t V, double p, double all)
{
    const float least = (float)((1 - p) * all / (double)V);
    int64_t count = 0;
    for (int64_t v = 0; v < V; v++) if (w[v] >= least && w[v] > 0) c[count++] = (candidate){ z[v], (int32_t)v };
    return count;
}

static int32_t draw_from_best(const hone_sampling *how, candidate *c, int64_t V, const float *z, const float *w, double all,
                              float best, double floor_z, double min_z, double u)
{
    double mass;
    int64_t count = how->top_k > 0 && how->top_k < V ? list_top_k(c, z, V, how->top_k, best, floor_z)
                                                     : list_top_p(c, z, w, V, how->top_p, all);
    for (int64_t i = count / 2 - 1; i >= 0; i--) sift_down(c, count, i);
    int64_t kept = keep_top(how, c, count, w, all, &mass);
    c += count - kept;
    for (; kept > 1 && (double)c[0].z < min_z; c++, kept--) mass -= (double)w[c[0].id];
    double reach = u * mass;
    for (int64_t i = kept - 1; i > 0; i--) {
        if (reach < (double)w[c[i].id]) return c[i].id;
        reach -= (double)w[c[i].id];
    }
    return c[0].id;
}

int32_t hone_sample(hone_sampler *s, const hone_sampling *how, const float *z, const int32_t *ids, int64_t n, uint64_t key)
{
    if (how->repetition_penalty != 1) z = penalise(s, z, how->repetition_penalty, ids, n);
    int32_t first = argmax(z, s->V);
    if (how->temperature == 0) return first;
    double best = (double)z[first], u = hone_rng_uniform(how->seed, HONE_RNG_SAMPLE, (uint32_t)key, (uint64_t)n);
    // What is exp(-50) times as likely as the best would be drawn once in 10^21 times.
    double floor_z = best - 50 * how->temperature;
    double min_z = how->min_p > 0 ? best + how->temperature * log(how->min_p) : floor_z;
    bool truncated = how->top_k > 0 || how->top_p < 1; // min-p comes last: top-p's share is taken of all
    double all = weigh(s->weight, z, s->V, z[first], how->temperature, truncated ? floor_z : min_z);
    if (!truncated) return draw_from_all(s->weight, s->V, u * all);
    return draw_from_best(how, s->candidate, s->V, z, s->weight, all, z[first], floor_z, min_z, u);
}

double hone_logits_lse(hone_sampler *sampler, const float *z, int32_t *best)
{
    *best = argmax(z, sampler->V);
    return (double)z[*best] + log(weigh(sampler->weight, z, sampler->V, z[*best], 1, -INFINITY));
}

float hone_logprob_of(hone_sampler *sampler, const float *z, int32_t id)
{
    int32_t best;
    return (float)((double)z[id] - hone_logits_lse(sampler, z, &best));
}
