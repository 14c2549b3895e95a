// propose.c: see propose.h.
#include "train/propose.h"
#include "base/cpu.h"
#include "base/units.h"
#include "plan/memory.h"
#include "plan/speed.h"
#include <math.h>
#include <string.h>

// Muennighoff et al. 2023, fit on C4; equal exponents.
static const double FIT_E = 1.87, FIT_A = 521, FIT_B = 1488, FIT_EXPONENT = 0.353, FIT_R_DATA = 15.387756, FIT_R_PARAMS = 5.309743;
static const double MOST_RATE = 3e-3;          // the fit of the rate lies above what small models bear
static const double SHARE_IN_STEPS = 0.95;     // of the time; evaluations, samples and checkpoints take the rest
enum { MOST_ROWS = 16, TRIES = 4 };

typedef struct { int64_t layers, width, head_dim; } shape;
static const shape shapes[] = { { 2, 64, 32 }, { 3, 128, 32 }, { 4, 192, 64 }, { 5, 256, 64 }, { 6, 384, 64 }, { 8, 512, 64 }, { 10, 640, 64 },
                                { 12, 768, 64 }, { 16, 1024, 64 }, { 20, 1280, 64 }, { 24, 1536, 64 }, { 24, 2048, 128 } };
enum { SHAPES = sizeof shapes / sizeof *shapes };

typedef struct {
    const hone_propose_options *options;
    int64_t vocab, data_tokens, document_tokens;
    hone_proposal now;
} search;

static int64_t mlp_width(int64_t width) { return (width * 8 / 3 + 63) / 64 * 64; }
static int64_t row_length(const search *s, const shape *m)
{
    int64_t longest = m->width < 384 ? 256 : m->width < 768 ? 512 : 1024, T = 128;
    while (T < longest && T < s->document_tokens) T *= 2;
    return T;
}

// Of the blocks: in small models the vocabulary would drown them, and it is not what makes them better.
static double params_of(const shape *m)
{
    double C = (double)m->width;
    return (double)m->layers * (4 * C * C + 3 * C * (double)mlp_width(m->width));
}

static double flops_per_token(const search *s, const shape *m, int64_t T)
{
    return 6 * (params_of(m) + (double)(s->vocab * m->width)) + 6 * (double)(m->layers * m->width * T);
}

double hone_propose_loss(double params, double tokens, double different)
{
    double U = fmin(tokens, different), ideal = pow(FIT_A / FIT_B, 1 / FIT_EXPONENT) * U, base = fmin(params, ideal);
    double D = U * (1 + FIT_R_DATA * (1 - exp(-(tokens / U - 1) / FIT_R_DATA)));
    double N = base * (1 + FIT_R_PARAMS * (1 - exp(-(params / base - 1) / FIT_R_PARAMS)));
    return FIT_E + FIT_A / pow(N, FIT_EXPONENT) + FIT_B / pow(D, FIT_EXPONENT);
}

// The best size where FLOP/s are what they were measured to be.
static int choose(const search *s, double flops_per_s, int most)
{
    int best = 0;
    double lowest = INFINITY;
    for (int i = 0; i <= most; i++) {
        double tokens = SHARE_IN_STEPS * s->options->time_s * flops_per_s / flops_per_token(s, &shapes[i], row_length(s, &shapes[i]));
        double loss = hone_propose_loss(params_of(&shapes[i]), tokens, (double)s->data_tokens);
        if (loss < lowest) { lowest = loss; best = i; }
    }
    return best;
}

// --- a candidate as a job ----------------------------------------------------------------------------------------------

static hone_status load(const search *s, const shape *m, int64_t T, int64_t rows, hone_recipe *recipe)
{
    const char *tokenizer = s->options->tokenizer;
    char *key[] = { hone_format("dataset=%s", s->options->data), hone_format("model.model_type=llama"), hone_format("model.hidden_size=%lld", (long long)m->width),
                    hone_format("model.intermediate_size=%lld", (long long)mlp_width(m->width)), hone_format("model.num_hidden_layers=%lld", (long long)m->layers),
                    hone_format("model.num_attention_heads=%lld", (long long)(m->width / m->head_dim)), hone_format("model.num_key_value_heads=%lld", (long long)(m->width / m->head_dim)),
                    hone_format("model.max_position_embeddings=%lld", 2 * (long long)T), hone_format("model.tie_word_embeddings=true"), hone_format("cutoff_len=%lld", (long long)T),
                    hone_format("per_device_train_batch_size=%lld", (long long)rows), hone_format("tokenizer=%s", tokenizer ? tokenizer : "") };
    int keys = sizeof key / sizeof *key - (tokenizer ? 0 : 1);
    hone_status status = HONE_OK;
    for (size_t i = 0; i < sizeof key / sizeof *key; i++)
        if (!key[i]) status = HONE_FAILED;
    if (!status) status = hone_recipe_load(recipe, NULL, keys, key);
    for (size_t i = 0; i < sizeof key / sizeof *key; i++) hone_free(key[i]);
    return status;
}

// Plans a size with as many rows as fit, at most `most`; *rows 0: not even one does. With seconds: measures it too.
static hone_status examine(search *s, const shape *m, int64_t most, int64_t *rows, double *seconds)
{
    int64_t T = row_length(s, m), limit = s->now.memory_bytes;
    for (*rows = most; *rows > 0; *rows /= 2) {
        hone_recipe recipe;
        hone_job job;
        hone_plan plan;
        hone_status status = load(s, m, T, *rows, &recipe);
        if (status) return status;
        if (!(status = hone_job_open(&job, &recipe))) {
            if (!(status = hone_plan_make(&job, &plan))) {
                bool fits = plan.process_bytes <= limit;
                s->now.process_bytes = plan.process_bytes;
                s->now.params = plan.params;
                hone_plan_release(&plan);
                if (fits && seconds) status = hone_speed_find_step(&job, HONE_SPEED_FULL, seconds);
                hone_job_close(&job);
                hone_recipe_release(&recipe);
                if (fits || status) return status;
                continue;
            }
            hone_job_close(&job);
        }
        hone_recipe_release(&recipe);
        if (status) return status;
    }
    return HONE_OK;
}

// --- the search --------------------------------------------------------------------------------------------------------

static hone_status look_at_data(search *s)
{
    hone_recipe recipe;
    hone_job job;
    hone_status status = load(s, &shapes[0], 128, 1, &recipe);
    if (status) return status;
    if (!(status = hone_job_open_data(&job, &recipe))) {
        const hone_dataset *data = &job.train.source[0].loader.data;
        if (!job.tokenizer) status = hone_fail("%s: has no tokenizer with it, so the model's vocabulary is unknown; make it with `hone prepare`", s->options->data);
        else {
            s->vocab = hone_tokenizer_vocab(job.tokenizer);
            s->data_tokens = data->n_tokens;
            s->now.has_held = job.has_held;
            s->document_tokens = data->n_tokens / (data->n_documents > 0 ? data->n_documents : 1);
        }
        hone_job_close(&job);
    }
    hone_recipe_release(&recipe);
    return status;
}

static int64_t power_of_two(double x) { return x > 1 ? (int64_t)exp2(round(log2(x))) : 1; }

// Batch and rate by the FLOPs of the whole run.
static void fill(search *s, const shape *m, int64_t rows, double flops_per_s)
{
    hone_proposal *p = &s->now;
    p->layers = m->layers;
    p->width = m->width;
    p->mlp_width = mlp_width(m->width);
    p->heads = m->width / m->head_dim;
    p->T = row_length(s, m);
    p->flops_per_s = flops_per_s;
    p->tokens_per_s = flops_per_s / flops_per_token(s, m, p->T);
    double compute = SHARE_IN_STEPS * s->options->time_s * flops_per_s;
    int64_t step_rows = power_of_two(0.292 * pow(compute, 0.3271) / (double)p->T);
    p->rows = rows < step_rows ? rows : step_rows;
    p->accumulation = step_rows / p->rows;
    p->learning_rate = fmin(MOST_RATE, 0.3118 * pow(compute, -0.125));
    p->tokens = (int64_t)(SHARE_IN_STEPS * s->options->time_s * p->tokens_per_s);
    p->steps = p->tokens / (step_rows * p->T);
    p->data_tokens = s->data_tokens;
    p->epochs = (double)p->tokens / (double)s->data_tokens;
}

hone_status hone_propose(const hone_propose_options *options, hone_proposal *proposal, FILE *out)
{
    search s = { .options = options };
    s.now.memory_bytes = options->memory_bytes > 0 ? options->memory_bytes : hone_memory_available_bytes() / 5 * 4;
    hone_status status = look_at_data(&s);
    double flops_per_s = 2e10, seconds; // a first guess, of one core
    int most = SHAPES - 1, measured = -1;
    for (int try = 0; !status && try < TRIES; try++) {
        int pick = choose(&s, flops_per_s, most);
        if (pick == measured) break;
        int64_t rows, T = row_length(&s, &shapes[pick]);
        if ((status = examine(&s, &shapes[pick], try == 0 && pick > 5 ? 2 : MOST_ROWS, &rows, &seconds))) break;
        if (rows == 0) { // the plan does not fit: smaller
            if (pick == 0) {
                status = hone_fail("not even a model of %lld x %lld fits into %s; give more with --memory", (long long)shapes[0].layers, (long long)shapes[0].width,
                                   hone_units_bytes((double)s.now.memory_bytes).s);
                break;
            }
            most = pick - 1;
            try--;
            continue;
        }
        flops_per_s = flops_per_token(&s, &shapes[pick], T) * (double)(rows * T) / seconds;
        measured = pick;
        fill(&s, &shapes[pick], rows, flops_per_s);
        if (out) {
            fprintf(out, "  measured  %2lld x %-4lld  %7s parameters  %8s tok/s  %s\n", (long long)s.now.layers, (long long)s.now.width, hone_units_count((double)s.now.params).s,
                    hone_units_grouped((int64_t)s.now.tokens_per_s).s, hone_units_flops(flops_per_s).s);
            fflush(out);
        }
    }
    if (!status && s.now.steps < 1) status = hone_fail("%s is not enough for one step on this machine; give more with --time", hone_units_time(options->time_s).s);
    if (!status) *proposal = s.now;
    return status;
}
