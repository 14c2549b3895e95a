// sample.c: drawing an id. No step sorts the vocabulary: candidates form a heap and only those that are kept are popped,
// usually some hundred of V = 50,257 (sorting all of them took 4 ms a row, this takes 0.2).
#include "gen/sample.h"
#include "base/memory.h"
#include "base/rng.h"
#include <math.h>
#include <string.h>

typedef struct hone_candidate { float z; int32_t id; } candidate;

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
    if (sampler->candidate && sampler->seen && sampler->penalised) return HONE_OK;
    hone_sampler_release(sampler);
    return HONE_FAILED;
}

void hone_sampler_release(hone_sampler *sampler)
{
    hone_free(sampler->candidate);
    hone_free(sampler->seen);
    hone_free(sampler->penalised);
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
    int32_t best = 0;
    for (int64_t v = 1; v < V; v++) if (z[v] > z[best]) best = (int32_t)v;
    return best;
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

static inline double weight(float z, float best, double temperature) { return exp(((double)z - (double)best) / temperature); }

// Keeps the best of heap (n) by top-k, then top-p of what is left; *mass: weight of the kept, which lie at the back of the
// array, best last. all_mass: weight of all n.
static int64_t keep_top(const hone_sampling *how, candidate *heap, int64_t n, float best, double all_mass, double *mass)
{
    int64_t k = how->top_k > 0 && how->top_k < n ? how->top_k : n, kept = 0;
    bool nucleus = how->top_p < 1, limited = k < n;
    *mass = 0;
    if (limited) { // top-p is a share of the k best, so their mass comes first
        for (; kept < k; kept++) *mass += weight(pop(heap, n - kept).z, best, how->temperature);
        if (!nucleus) return kept;
        double reach = how->top_p * *mass;
        *mass = 0;
        for (kept = 0; kept < k && (kept == 0 || *mass < reach); kept++)
            *mass += weight(heap[n - 1 - kept].z, best, how->temperature);
        return kept;
    }
    for (double reach = how->top_p * all_mass; kept < n && (kept == 0 || *mass < reach); kept++)
        *mass += weight(pop(heap, n - kept).z, best, how->temperature);
    return kept;
}

int32_t hone_sample(hone_sampler *s, const hone_sampling *how, const float *z, const int32_t *ids, int64_t n, uint64_t key)
{
    if (how->repetition_penalty != 1) z = penalise(s, z, how->repetition_penalty, ids, n);
    int32_t first = argmax(z, s->V);
    if (how->temperature == 0) return first;
    float best = z[first];
    double u = hone_rng_uniform(how->seed, HONE_RNG_SAMPLE, (uint32_t)key, (uint64_t)n);
    // What is exp(-50) times as likely as the best would be drawn once in 10^21 times.
    double floor_z = best - 50 * how->temperature;
    double min_z = how->min_p > 0 ? best + how->temperature * log(how->min_p) : floor_z;
    bool truncated = how->top_k > 0 || how->top_p < 1;

    int64_t count = 0, kept;
    double all = 0, mass;
    candidate *c = s->candidate;
    double enter = truncated ? floor_z : min_z; // min-p comes last: top-p's share is taken of all
    for (int64_t v = 0; v < s->V; v++) {
        if (z[v] < enter) continue;
        c[count++] = (candidate){ z[v], (int32_t)v };
        all += weight(z[v], best, how->temperature);
    }
    kept = count;
    mass = all;
    if (truncated) {
        for (int64_t i = count / 2 - 1; i >= 0; i--) sift_down(c, count, i);
        kept = keep_top(how, c, count, best, all, &mass);
        c += count - kept;
        for (; kept > 1 && c[0].z < min_z; c++, kept--) mass -= weight(c[0].z, best, how->temperature);
    }
    double reach = u * mass;
    for (int64_t i = kept - 1; i > 0; i--) { // best first
        double w = weight(c[i].z, best, how->temperature);
        if (reach < w) return c[i].id;
        reach -= w;
    }
    return c[0].id;
}

// exp(x) for x <= 0 to 1e-7, in operations that compilers vectorise: 2^n by adding n to the exponent, e^r by a polynomial.
static inline float exp_below(float x)
{
    x = x < -87.0f ? -87.0f : x;
    float n = (x * 1.44269504f + 12582912.0f) - 12582912.0f; // to nearest integer: 1.5 * 2^23 leaves no fraction bits
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f + r * (1.0f + r * (0.5f + r * (0.166666652f + r * (4.1666470e-2f + r * (8.3333310e-3f + r * 1.3928700e-3f)))));
    union { int32_t i; float f; } power = { ((int32_t)n + 127) << 23 };
    return p * power.f;
}

float hone_logprob_of(const float *z, int64_t V, int32_t id)
{
    enum { LANES = 16, CHUNK = 4096 };
    float best = z[0];
    for (int64_t v = 1; v < V; v++) best = z[v] > best ? z[v] : best;
    double sum = 0;
    for (int64_t start = 0; start < V; start += CHUNK) { // short f32 sums, added in f64
        int64_t end = start + CHUNK < V ? start + CHUNK : V, v = start;
        float lane[LANES] = { 0 };
        for (; v + LANES <= end; v += LANES)
            for (int k = 0; k < LANES; k++) lane[k] += exp_below(z[v + k] - best);
        for (; v < end; v++) lane[0] += exp_below(z[v] - best);
        for (int k = 0; k < LANES; k++) sum += lane[k];
    }
    return (float)((double)z[id] - (double)best - log(sum));
}
