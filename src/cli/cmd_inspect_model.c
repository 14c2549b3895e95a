// cmd_inspect_model.c: hone inspect model: what a model is, from its config.json (or GGUF head) and tokenizer alone.
#include "base/units.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "gen/runner.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const norm_name[] = { [HONE_NORM_RMS] = "RMS", [HONE_NORM_LAYER] = "layer" };
static const char *const mlp_name[] = { [HONE_MLP_SWIGLU] = "gated SiLU", [HONE_MLP_GELU] = "GELU", [HONE_MLP_RELU2] = "squared ReLU",
                                        [HONE_MLP_GEGLU] = "gated GELU" };
static const char *const rope_name[] = { [HONE_ROPE_NONE] = "learned positions", [HONE_ROPE_PLAIN] = "rotary", [HONE_ROPE_LINEAR] = "rotary, linear scaling",
                                         [HONE_ROPE_LLAMA3] = "rotary, llama3 scaling" };

// Parameters whose name begins with layers., and the others.
static void count_parameters(const hone_model *m, int64_t *blocks, int64_t *embedding, int64_t *head)
{
    *blocks = *head = 0;
    for (int64_t i = 0; i < m->n_param; i++) {
        const hone_tensor *t = hone_at(m->graph, m->param[i]);
        if (!strncmp(t->name, "layers.", 7)) *blocks += hone_tensor_count(t);
        else if (m->param[i] == m->head && m->head != m->embed) *head = hone_tensor_count(t);
    }
    *embedding = hone_tensor_count(hone_at(m->graph, m->embed));
}

static void print_attention(const hone_config *c)
{
    printf("  attention    %" PRId64 " heads of %" PRId64 ", %" PRId64 " of keys and values; %s", c->heads, c->head_dim, c->kv_heads, rope_name[c->rope]);
    if (c->rope != HONE_ROPE_NONE) printf(", theta %g", c->rope_theta);
    if (c->rope_local > 0) printf(", of blocks with a window %g", c->rope_local);
    if (hone_config_rotated(c) < c->head_dim) printf(", %" PRId64 " of %" PRId64 " columns turn", hone_config_rotated(c), c->head_dim);
    if (c->qk_norm) printf("; q and k normalised");
    if (c->value_embeddings) printf("; %" PRId64 " value embedding%s, each of two blocks", c->value_embeddings, c->value_embeddings > 1 ? "s" : "");
    if (c->qkv_bias) printf("; biases");
    if (c->attention_cap > 0) printf("; scores within %g", c->attention_cap);
    if (c->window) printf("; window of %" PRId64 " tokens from block %" PRId64 " on", c->window, c->window_from);
    if (c->window && c->full_every) printf(", in each %" PRId64 "th none", c->full_every);
    printf("\n");
}

static void print_tokens(const hone_runner *r)
{
    const hone_config *c = &r->model.config;
    printf("  vocabulary   %s", hone_units_grouped(c->vocab).s);
    if (r->tokenizer) printf(", the tokenizer has %s ids", hone_units_grouped(hone_tokenizer_vocab(r->tokenizer)).s);
    else printf(", no tokenizer there");
    if (c->bos >= 0) printf("; begins with %" PRId64, c->bos);
    for (int64_t i = 0; i < c->n_eos; i++) printf("%s%" PRId64, i ? ", " : "; ends with ", c->eos[i]);
    printf("\n");
}

static void print_model(const char *path, const hone_runner *r)
{
    const hone_config *c = &r->model.config;
    int64_t blocks, embedding, head, all = hone_model_count(&r->model);
    count_parameters(&r->model, &blocks, &embedding, &head);
    printf("hone inspect model  %s\n", path);
    printf("  family       %s (%s)\n", c->family->model_type, c->family->architecture);
    printf("  parameters   %s", hone_units_grouped(all).s);
    printf(": blocks %s", hone_units_count((double)blocks).s);
    printf(", embedding %s", hone_units_count((double)embedding).s);
    if (head) printf(", head %s", hone_units_count((double)head).s);
    else printf(", which is the head, too");
    if (c->value_embeddings) printf("; value embeddings %s", hone_units_count((double)(c->value_embeddings * c->vocab * c->kv_heads * c->head_dim)).s);
    printf("\n");
    printf("  blocks       %" PRId64 " x %" PRId64 ", MLP %" PRId64 " (%s), %s norms%s\n", c->layers, c->width, c->mlp_width, mlp_name[c->mlp], norm_name[c->norm],
           c->skip_connections ? "; the last half takes in what the first put out" : "");
    print_attention(c);
    printf("  positions    %s\n", hone_units_grouped(c->max_positions).s);
    print_tokens(r);
    printf("  weights      %s in f32", hone_units_bytes(4.0 * (double)all).s);
    printf(", %s in bf16; keys and values of a token %s\n", hone_units_bytes(2.0 * (double)all).s, hone_units_bytes(8.0 * (double)(c->layers * c->kv_heads * c->head_dim)).s);
}

static hone_status print_json(const char *path, const hone_runner *r)
{
    json_t *config = NULL;
    if (hone_config_write(&r->model.config, path, &config)) return HONE_FAILED;
    json_t *row = json_pack("{s:s, s:s, s:I, s:o}", "model", path, "family", r->model.config.family->model_type, "parameters",
                            (json_int_t)hone_model_count(&r->model), "config", config);
    hone_status status = hone_cli_print_json(row);
    json_decref(row);
    return status;
}

hone_status hone_cmd_inspect_model(int argc, char **argv)
{
    bool json = false, done;
    const hone_cli_option options[] = { { "json", HONE_CLI_FLAG, &json, NULL, "print one JSON object, with all keys of its config.json" }, { 0 } };
    const hone_cli_command command = { "inspect model", "[options] MODEL",
        "Says what a model is: family, parameters, sizes, positions, vocabulary, bytes. A folder with a config.json is enough: no\n"
        "weight is read. What hone does not have, be it a family or one setting of it, is named, and the exit code is 1.",
        "hone inspect model recipes/configs/Qwen3-0.6B", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 1) return hone_fail_usage("inspect model: give one model%s%s", argc > 1 ? ", not also " : "", argc > 1 ? argv[1] : "");
    hone_runner runner;
    status = hone_runner_open(&runner, argv[0]);
    if (!status && json) status = print_json(argv[0], &runner);
    else if (!status) print_model(argv[0], &runner);
    hone_runner_close(&runner);
    return status;
}
