// propose_tune.c: see propose_tune.h.
#include "train/propose_tune.h"
#include "base/blocks.h"
#include "base/gguf.h"
#include "base/units.h"
#include "io/hf.h"
#include "plan/memory.h"
#include "plan/precision.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_T = 64, MOST_T = 2048, MICRO_TOKENS = 4096, STEP_ROWS = 16, STEPS = 100, MOST_LENGTHS = 100000, DATA_ROWS = 4, TRIES = 4, EVALUATIONS = 10 };
static const double EVALUATION_SHARE = 0.1, BACKWARD = 3;  // a token is evaluated three times as fast as it is trained
static const double USUAL = 0.95;              // share of the documents that a row holds whole
static const double SHARE_IN_STEPS = 0.95;     // of the time; evaluations and checkpoints take the rest
static const double LARGE = 1e9;               // parameters from which the smaller rate holds

// In the order in which they are tried.
typedef struct { const char *title; hone_choice method; bool checkpointing; double rate, large_rate; } way;
static const way ways[] = {
    { "full tuning", HONE_finetuning_type_full, false, 3e-5, 1e-5 }, { "full tuning", HONE_finetuning_type_full, true, 3e-5, 1e-5 },
    { "LoRA", HONE_finetuning_type_lora, false, 2e-4, 1e-4 }, { "LoRA", HONE_finetuning_type_lora, true, 2e-4, 1e-4 },
    { "QLoRA", HONE_finetuning_type_qlora, false, 2e-4, 1e-4 }, { "QLoRA", HONE_finetuning_type_qlora, true, 2e-4, 1e-4 },
};
enum { WAYS = sizeof ways / sizeof *ways };

typedef struct {
    const hone_propose_tune_options *options;
    const way *way;
    bool blocks_fit;                    // QLoRA's, as it is by default, to every matrix of the model
    hone_tune_proposal now;
} search;

static int64_t power_of_two(double x) { return x > 1 ? (int64_t)exp2(floor(log2(x))) : 1; }

// A GGUF file's own blocks are kept, NF4 needs whole ones in a row.
static bool blocks_fit(const char *model, const hone_config *c)
{
    const int64_t n = hone_blocks_about(HONE_BLOCKS_nf4)->elements;
    return hone_gguf_is(model) || (c->width % n == 0 && c->heads * c->head_dim % n == 0 && c->mlp_width % n == 0);
}

// --- the data ----------------------------------------------------------------------------------------------------------

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// Documents' lengths, of very many every n-th.
static hone_status find_usual_length(const hone_dataset *data, int64_t *usual)
{
    const int64_t every = data->n_documents / MOST_LENGTHS + 1;
    int64_t *length = hone_alloc((size_t)(data->n_documents / every + data->n_shards + 1), sizeof *length), count = 0;
    if (!length) return HONE_FAILED;
    for (int64_t s = 0; s < data->n_shards; s++) {
        const hone_shard *shard = &data->shard[s];
        for (int64_t d = 0; d < shard->n_documents; d += every) length[count++] = (int64_t)(shard->ends[d] - (d ? shard->ends[d - 1] : 0));
    }
    qsort(length, (size_t)count, sizeof *length, ascending);
    *usual = length[(int64_t)(USUAL * (double)(count - 1))];
    hone_free(length);
    return HONE_OK;
}

static int64_t row_length(const hone_tune_proposal *p, int64_t positions)
{
    const int64_t wanted = p->documents > 0 ? p->usual_tokens : MOST_T / 4;
    int64_t T = LEAST_T;
    while (T < MOST_T && T < wanted) T *= 2;
    while (T > 1 && (T > positions || DATA_ROWS * T > p->data_tokens)) T /= 2;
    return T;
}

// --- a candidate as a job ----------------------------------------------------------------------------------------------

static hone_status load(const search *s, const char *precision, hone_recipe *recipe)
{
    const hone_tune_proposal *p = &s->now;
    char *key[] = { hone_format("model_name_or_path=%s", s->options->model), hone_format("dataset=%s", s->options->data), hone_format("cutoff_len=%lld", (long long)p->T),
                    hone_format("per_device_train_batch_size=%lld", (long long)p->rows), hone_format("gradient_accumulation_steps=%lld", (long long)p->accumulation),
                    hone_format("finetuning_type=%s", hone_choice_name(p->method)), hone_format("gradient_checkpointing=%s", p->checkpointing ? "true" : "false"),
                    hone_format("lora_rank=%d", HONE_PROPOSE_LORA_RANK), hone_format("lora_alpha=%d", HONE_PROPOSE_LORA_ALPHA), hone_format("precision=%s", precision), hone_format("output_dir=%s", s->options->output_dir),
                    hone_format("tokenizer=%s", s->options->tokenizer ? s->options->tokenizer : "") };
    enum { KEYS = sizeof key / sizeof *key };
    hone_status status = HONE_OK;
    for (int i = 0; i < KEYS; i++)
        if (!key[i]) status = HONE_FAILED;
    if (!status) status = hone_recipe_load(recipe, NULL, s->options->tokenizer ? KEYS : KEYS - 1, key);
    for (int i = 0; i < KEYS; i++) hone_free(key[i]);
    return status;
}

// Plans what stands in s->now, in the precision that stands there; with seconds: a step's, where it fits.
static hone_status examine(search *s, bool *fits, double *seconds)
{
    hone_recipe recipe;
    hone_job job;
    hone_plan plan;
    hone_tune_proposal *p = &s->now;
    hone_status status = load(s, hone_choice_name(p->precision), &recipe);
    if (status) return status;
    if (!(status = hone_job_open(&job, &recipe))) {
        if (!(status = hone_plan_make(&job, &plan))) {
            *fits = plan.process_bytes <= p->memory_bytes;
            p->process_bytes = plan.process_bytes;
            p->params = plan.params;
            p->trained = plan.factors ? plan.factors : plan.params;
            hone_plan_release(&plan);
            if (*fits && seconds) status = hone_speed_find_step(&job, HONE_SPEED_FULL, seconds);
        }
        hone_job_close(&job);
    }
    hone_recipe_release(&recipe);
    return status;
}

// As many rows as fit, from `most` down; rows 0: not even one does.
static hone_status find_rows(search *s, int64_t most)
{
    bool fits = false;
    hone_status status = HONE_OK;
    for (s->now.rows = most; s->now.rows > 0 && !status; s->now.rows /= 2) {
        status = examine(s, &fits, NULL);
        if (fits) break;
    }
    return status;
}

// What `precision: auto` comes to here.
static hone_status choose_precision(search *s)
{
    hone_recipe recipe;
    hone_precision_choice choice;
    hone_status status = load(s, "auto", &recipe);
    if (status) return status;
    if (!(status = hone_precision_choose(&recipe, NULL, HONE_SPEED_FULL, &choice))) s->now.precision = choice.precision;
    hone_recipe_release(&recipe);
    return status;
}

// --- the search --------------------------------------------------------------------------------------------------------

static hone_status look_at_data(search *s)
{
    hone_config config;
    hone_recipe recipe;
    hone_job job;
    hone_tune_proposal *p = &s->now;
    p->T = p->rows = p->accumulation = 1;
    hone_status status = hone_hf_load_config(&config, s->options->model);
    if (!status) status = load(s, "f32", &recipe);
    if (status) return status;
    if (!(status = hone_job_open_data(&job, &recipe))) {
        const hone_dataset *data = &job.train.source[0].loader.data;
        p->documents = data->n_documents;
        p->data_tokens = data->n_tokens;
        for (int64_t i = 0; i < job.n_held; i++) p->held_tokens += job.held[i].loader.data.n_tokens;
        if (p->held_tokens > recipe.eval_tokens) p->held_tokens = recipe.eval_tokens;
        if (p->documents > 0) status = find_usual_length(data, &p->usual_tokens);
        p->T = row_length(p, config.max_positions);
        s->blocks_fit = blocks_fit(s->options->model, &config);
        hone_job_close(&job);
    }
    hone_recipe_release(&recipe);
    return status;
}

static hone_status check_method(const hone_propose_tune_options *options)
{
    for (int i = 0; i < WAYS; i++)
        if (!options->method || strcmp(options->method, hone_choice_name(ways[i].method)) == 0) return HONE_OK;
    return hone_fail_usage("init: --method %s: give %s, %s or %s", options->method, hone_choice_name(HONE_finetuning_type_full),
                           hone_choice_name(HONE_finetuning_type_lora), hone_choice_name(HONE_finetuning_type_qlora));
}

// The first way of which a row fits, with as many rows as do.
static hone_status find_way(search *s, int64_t most)
{
    hone_tune_proposal *p = &s->now;
    hone_status status = HONE_OK;
    for (int i = 0; i < WAYS && !status; i++) {
        if (s->options->method && strcmp(s->options->method, hone_choice_name(ways[i].method)) != 0) continue;
        if (!s->options->method && ways[i].method == HONE_finetuning_type_qlora && !s->blocks_fit) continue;
        s->way = &ways[i];
        p->method = s->way->method;
        p->checkpointing = s->way->checkpointing;
        p->precision = HONE_precision_f32;
        if ((status = find_rows(s, most)) || p->rows > 0) return status;
        snprintf(p->refused, sizeof p->refused, "%s%s takes %s", hone_choice_name(p->method), p->checkpointing ? " with blocks recomputed" : "",
                 hone_units_bytes((double)p->process_bytes).s);
    }
    return status ? status : hone_fail("%s: not even %s of it with one row of %lld tokens fits into %s: it takes %s; give more with --memory, or take a smaller model",
                                       s->options->model, s->way->title, (long long)p->T,
                                       hone_units_bytes((double)p->memory_bytes).s, hone_units_bytes((double)p->process_bytes).s);
}

// Rows of a step in a run of so many.
static int64_t step_rows(double run_rows) { return power_of_two(fmin(STEP_ROWS, run_rows / STEPS)); }

// Batch and length, now that seconds of `rows` rows are known.
static void fill(search *s, double seconds)
{
    hone_tune_proposal *p = &s->now;
    const double windows = floor((double)(p->data_tokens - 1) / (double)p->T), wanted = HONE_PROPOSE_EPOCHS * windows;
    p->tokens_per_s = (double)(p->rows * p->accumulation * p->T) / seconds;
    const double in_time = floor(SHARE_IN_STEPS * s->options->time_s * p->tokens_per_s / (double)p->T), rows = fmin(wanted, in_time);
    p->epochs = wanted <= in_time ? HONE_PROPOSE_EPOCHS : 0;
    const int64_t of_step = step_rows(rows);
    p->rows = p->rows < of_step ? p->rows : of_step;
    p->accumulation = of_step / p->rows;
    p->steps = (int64_t)(p->epochs > 0 ? ceil(rows / (double)of_step) : floor(rows / (double)of_step));
    p->tokens = p->steps * of_step * p->T;
    p->passes = (double)p->tokens / (double)(p->T) / windows;
    p->seconds = (double)p->tokens / p->tokens_per_s;
    if (p->held_tokens > 0) p->evaluations = (int)fmin(EVALUATIONS, p->seconds * EVALUATION_SHARE * p->tokens_per_s * BACKWARD / (double)p->held_tokens);
    p->learning_rate = (double)p->params < LARGE ? s->way->rate : s->way->large_rate;
}

// Measures and fills in until the batch stays as it was measured: smaller where the run is short.
static hone_status settle(search *s)
{
    hone_tune_proposal *p = &s->now;
    for (int64_t rows = 0, accumulation = 0, try = 0; (rows != p->rows || accumulation != p->accumulation) && try < TRIES; try++) {
        bool fits = false;
        double seconds = 0;
        hone_status status = examine(s, &fits, &seconds);
        if (status) return status;
        if (!fits && p->rows > 1) { // in the precision that was chosen
            p->rows /= 2;
            try--;
            continue;
        }
        if (!fits) return hone_fail("%s: %s of it takes %s in %s; give more with --memory", s->options->model, hone_choice_name(p->method),
                                    hone_units_bytes((double)p->process_bytes).s, hone_choice_name(p->precision));
        rows = p->rows;
        accumulation = p->accumulation;
        fill(s, seconds);
    }
    return p->steps > 0 ? HONE_OK : hone_fail("%s is not enough for one step on this machine; give more with --time", hone_units_time(s->options->time_s).s);
}

hone_status hone_propose_tune(const hone_propose_tune_options *options, hone_tune_proposal *proposal, FILE *out)
{
    search s = { .options = options, .now.memory_bytes = options->memory_bytes > 0 ? options->memory_bytes : hone_memory_available_bytes() / 5 * 4 };
    hone_tune_proposal *p = &s.now;
    p->method = HONE_finetuning_type_full;
    hone_status status = check_method(options);
    if (!status) status = look_at_data(&s);
    if (!status) {
        const int64_t of_step = step_rows((double)HONE_PROPOSE_EPOCHS * (double)p->data_tokens / (double)p->T), most = MICRO_TOKENS / p->T;
        status = find_way(&s, most < of_step ? most : of_step);
    }
    if (!status) status = choose_precision(&s);
    if (!status) status = settle(&s);
    if (status) return status;
    *proposal = *p;
    if (out) fprintf(out, "  measured  %s of %s parameters, %s: %s tok/s\n", hone_choice_name(p->method), hone_units_count((double)p->params).s, hone_choice_name(p->precision),
                     hone_units_grouped((int64_t)p->tokens_per_s).s);
    return HONE_OK;
}
