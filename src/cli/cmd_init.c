// cmd_init.c: hone init: a commented recipe for this machine, these data and a given time (train/propose.h).
#include "base/file.h"
#include "base/memory.h"
#include "base/units.h"
#include "cli/args.h"
#include "cli/init.h"
#include "cli/verbs.h"
#include "recipe/recipe.h"
#include "train/propose.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MANY_EPOCHS = 16 };

int64_t hone_init_round(double x)
{
    double ten = x >= 1 ? pow(10, floor(log10(x))) : 1, lead = x / ten;
    return (int64_t)((lead >= 5 ? 5 : lead >= 2 ? 2 : 1) * ten);
}

// "30m" as a recipe has it, "4GB" likewise: read by the recipe's own rows.
static hone_status read_limits(const char *time, const char *memory, double *time_s, int64_t *bytes)
{
    hone_recipe recipe;
    char *key[2] = { hone_format("max_time=%s", time), hone_format("max_memory=%s", memory ? memory : "0") };
    hone_status status = key[0] && key[1] ? hone_recipe_load(&recipe, NULL, 2, key) : HONE_FAILED;
    hone_free(key[0]);
    hone_free(key[1]);
    if (status) return status;
    *time_s = recipe.max_time;
    *bytes = recipe.max_memory;
    hone_recipe_release(&recipe);
    return *time_s > 0 ? HONE_OK : hone_fail_usage("init: --time %s: must be more than nothing", time);
}

hone_status hone_init_print_path(hone_buffer *out, const char *key, const char *path)
{
    hone_status status = hone_buffer_print(out, "%s: \"", key);
    for (; *path && !status; path++) status = hone_buffer_print(out, strchr("\"\\", *path) ? "\\%c" : "%c", *path);
    return status ? status : hone_buffer_print(out, "\"\n");
}

static hone_status write_recipe(const hone_proposal *p, const hone_init *init)
{
    const char *time = init->time, *path = init->path;
    hone_buffer out = { 0 };
    int64_t step_tokens = p->rows * p->accumulation * p->T, eval = hone_init_round((double)p->steps / 10), save = hone_init_round((double)p->steps / 5);
    hone_status status = hone_buffer_print(&out,
        "# Made by `hone init` for this machine, these data and %s. Every key: `hone schema --format text`.\n"
        "# %s parameters at %s tokens a second (measured): about %s tokens, %.2g passes over the data, %s steps.\n"
        "# Memory of the process: %s planned; `hone plan %s` says it to the byte.\n\n",
        time, hone_units_count((double)p->params).s, hone_units_grouped((int64_t)p->tokens_per_s).s, hone_units_count((double)p->tokens).s, p->epochs,
        hone_units_grouped(p->steps).s, hone_units_bytes((double)p->process_bytes).s, path);
    if (!status) status = hone_buffer_print(&out,
        "# The size: of those that the time allows, the one with the lowest loss by the fit of Muennighoff et al. 2023\n"
        "# (arXiv:2305.16264), which is Hoffmann's 20 tokens a parameter until data have to be repeated.\n"
        "model:\n  model_type: llama\n  hidden_size: %lld\n  intermediate_size: %lld\n  num_hidden_layers: %lld\n  num_attention_heads: %lld\n  num_key_value_heads: %lld\n"
        "  max_position_embeddings: %lld\n  tie_word_embeddings: true\n\n", (long long)p->width, (long long)p->mlp_width, (long long)p->layers, (long long)p->heads, (long long)p->heads, 2 * (long long)p->T);
    if (!status) status = hone_init_print_path(&out, "dataset", init->data);
    if (!status && init->tokenizer) status = hone_init_print_path(&out, "tokenizer", init->tokenizer);
    if (!status) status = hone_init_print_path(&out, "output_dir", init->output_dir);
    if (!status) status = hone_buffer_print(&out,
        "\n# A step: %lld x %lld rows of %lld tokens = %s tokens; batch and rate by DeepSeek's fits (arXiv:2401.02954, the rate at\n# most 3e-3). Less memory: halve the first, double the second.\n"
        "cutoff_len: %lld\nper_device_train_batch_size: %lld\ngradient_accumulation_steps: %lld\nlearning_rate: %.2g\nlr_scheduler_type: linear\nwarmup_ratio: 0.03\nmin_lr_ratio: 0.05\n\n",
        (long long)p->accumulation, (long long)p->rows, (long long)p->T, hone_units_grouped(step_tokens).s, (long long)p->T, (long long)p->rows, (long long)p->accumulation, p->learning_rate);
    if (!status) status = hone_buffer_print(&out,
        "# The clock ends the run and steers the rate; after a stop the same command goes on.\nmax_time: %s\nlogging_steps: %lld\nsample_steps: %lld\nsave_steps: %lld\n",
        time, (long long)hone_init_round((double)p->steps / 200), (long long)save, (long long)save);
    if (!status && p->has_held) status = hone_buffer_print(&out, "eval_steps: %lld\n", (long long)eval);
    if (!status) status = hone_file_write(path, out.data, out.size);
    hone_buffer_release(&out);
    return status;
}

static void print_summary(const hone_proposal *p, const char *path, const char *time)
{
    printf("  size      llama %lld x %lld, %s parameters\n", (long long)p->layers, (long long)p->width, hone_units_count((double)p->params).s);
    printf("  step      %lld x %lld x %lld tokens, learning rate %.2g\n", (long long)p->accumulation, (long long)p->rows, (long long)p->T, p->learning_rate);
    printf("  run       %s: %s steps, %s tokens, %.2g passes over %s\n", time, hone_units_grouped(p->steps).s, hone_units_count((double)p->tokens).s, p->epochs, hone_units_count((double)p->data_tokens).s);
    if (p->epochs > MANY_EPOCHS) printf("            few data for so long: beyond %d passes little is gained (Muennighoff et al.); more text would bring more\n", MANY_EPOCHS);
    printf("  memory    %s of", hone_units_bytes((double)p->process_bytes).s);
    printf(" %s\n\n%s is written; next: hone plan %s, hone pretrain %s\n", hone_units_bytes((double)p->memory_bytes).s, path, path, path);
}

static hone_status init_new(const hone_init *init)
{
    const hone_propose_options options = { .data = init->data, .tokenizer = init->tokenizer, .time_s = init->time_s, .memory_bytes = init->memory_bytes };
    hone_proposal proposal;
    hone_status status = hone_propose(&options, &proposal, stdout);
    if (!status) status = write_recipe(&proposal, init);
    if (!status) print_summary(&proposal, init->path, init->time);
    return status;
}

static hone_status check(const hone_init *init, int operands, bool force)
{
    if (!init->data || operands) return hone_fail_usage("init: which data? hone init DATA, or --data FILE: one of them");
    if (init->method && !init->model) return hone_fail_usage("init: --method %s is of a model that exists; say --model too", init->method);
    if (!force && hone_file_exists(init->path)) return hone_fail("%s: is there already; --force replaces it, --output writes elsewhere", init->path);
    return HONE_OK;
}

hone_status hone_cmd_init(int argc, char **argv)
{
    hone_init o = { .time = "30m", .path = "recipe.yaml", .output_dir = "run" };
    bool force = false, done;
    const hone_cli_option options[] = {
        { "model", HONE_CLI_TEXT, &o.model, "PATH", "tune this model, a Hugging Face folder or GGUF file, in place of training a new one" },
        { "data", HONE_CLI_TEXT, &o.data, "FILE", "DATA; with --model also conversations (JSONL), or text, which is then prepared for it here" },
        { "method", HONE_CLI_TEXT, &o.method, "full|lora|qlora", "with --model: what is trained (default: the first of these that fits)" },
        { "time", HONE_CLI_TEXT, &o.time, "TIME", "how long training may take: 90s, 30m, 8h (default 30m)" },
        { "memory", HONE_CLI_TEXT, &o.memory, "BYTES", "what it may take of memory, as 4GB (default: four fifths of what is available)" },
        { "tokenizer", HONE_CLI_TEXT, &o.tokenizer, "PATH", "tokenizer of the data, where it does not lie with them" },
        { "output", HONE_CLI_TEXT, &o.path, "FILE", "where the recipe goes (default recipe.yaml)" },
        { "output-dir", HONE_CLI_TEXT, &o.output_dir, "DIR", "where its run shall go (default run)" },
        { "force", HONE_CLI_FLAG, &force, NULL, "replace a recipe that is there" }, { 0 } };
    const hone_cli_command command = { "init", "[options] DATA",
        "Writes a commented recipe for this machine and data of `hone prepare`, to be trained within a given time. Asks nothing:\n"
        "it measures this machine's speed, and picks size, batch and learning rate by published scaling rules, which the recipe names.\n"
        "With --model the recipe tunes that model, by the method that fits in memory:\n\n"
        "  hone init --model SmolLM2-135M-Instruct --data talks.jsonl",
        "hone init --time 30m data", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (!o.data && argc > 0) {
        o.data = argv[0];
        argc--;
    }
    if ((status = check(&o, argc, force))) return status;
    if ((status = read_limits(o.time, o.memory, &o.time_s, &o.memory_bytes))) return status;
    printf("hone init  %s%s%s  %s\n", o.model ? o.model : "", o.model ? "  " : "", o.data, o.time);
    fflush(stdout);
    return o.model ? hone_init_tune(&o) : init_new(&o);
}
