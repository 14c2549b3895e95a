// cmd_eval.c: hone eval: loss, perplexity and bits per byte of a model on held-out text; or questions with known answers.
#include "base/cpu.h"
#include "base/json.h"
#include "cli/eval_tasks.h"
#include "cli/verbs.h"
#include "gen/evaluate.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

static void show_progress(void *context, const hone_evaluation *e)
{
    double *shown_s = context, now = hone_clock_s();
    if (now - *shown_s < 0.2) return;
    *shown_s = now;
    fprintf(stderr, "\reval  %" PRId64 " tokens  loss %.4f  ", e->tokens, hone_evaluation_loss(e));
}

static hone_status print(const char *model, const char *data, const hone_evaluation *e, bool as_json)
{
    double loss = hone_evaluation_loss(e), error = hone_evaluation_loss_error(e), bits = hone_evaluation_bits_per_byte(e);
    if (!as_json) {
        printf("eval %s on %s\n", model, data);
        printf("  loss           %.5f +- %.5f nats/token\n", loss, error);
        printf("  perplexity     %.4f +- %.4f\n", exp(loss), exp(loss) * error);
        if (bits > 0) printf("  bits per byte  %.5f +- %.5f\n", bits, bits * error / loss);
        else printf("  bits per byte  unknown: the bytes behind these ids are not\n");
        printf("  tokens         %" PRId64 " in %" PRId64 " windows, %.0f tok/s\n", e->tokens, e->windows, (double)e->tokens / e->seconds);
        return HONE_OK;
    }
    json_t *row = json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:I, s:I, s:f, s:f}", "model", model, "data", data, "loss", loss,
        "loss_standard_error", error, "perplexity", exp(loss), "perplexity_standard_error", exp(loss) * error, "tokens",
        (json_int_t)e->tokens, "windows", (json_int_t)e->windows, "seconds", e->seconds, "tokens_per_second", (double)e->tokens / e->seconds);
    if (!row) return hone_fail("eval: the result is not a finite number: loss %g", loss);
    json_object_set_new(row, "bits_per_byte", bits > 0 ? json_real(bits) : json_null());
    json_object_set_new(row, "bits_per_byte_standard_error", bits > 0 ? json_real(bits * error / loss) : json_null());
    json_dumpf(row, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10));
    json_decref(row);
    printf("\n");
    return HONE_OK;
}

static hone_status foretell(const char *folder, hone_evaluate_options *how, const hone_cli_model *model, bool json)
{
    double shown_s = 0;
    bool terminal = isatty(2);
    if (terminal) {
        how->progress = show_progress;
        how->progress_context = &shown_s;
    }
    hone_runner runner;
    hone_evaluation e = { 0 };
    hone_status status = hone_cli_open_model(&runner, folder, model);
    if (!status) status = hone_evaluate(&runner, how, &e);
    if (terminal && shown_s > 0) fprintf(stderr, "\r\033[K");
    how->progress_context = NULL; // it ends here
    if (!status) status = print(folder, how->data, &e, json);
    hone_evaluation_release(&e);
    hone_runner_close(&runner);
    return status;
}

// What belongs to questions and what belongs to texts.
static hone_status check(const hone_evaluate_options *how, const hone_cli_eval_tasks *tasks)
{
    if (!how->data) return hone_fail_usage("eval: --data PATH is missing");
    if (how->context < 0 || how->max_tokens < 0) return hone_fail_usage("eval: --context and --max-tokens must not be negative");
    if (tasks->limit < 0) return hone_fail_usage("eval: --limit must not be negative");
    if (!tasks->names && (tasks->limit || tasks->shots >= 0 || tasks->samples)) return hone_fail_usage("eval: --limit, --shots and --samples belong to --tasks");
    if (tasks->names && (how->context || how->max_tokens)) return hone_fail_usage("eval: --context and --max-tokens do not go with --tasks");
    return HONE_OK;
}

hone_status hone_cmd_eval(int argc, char **argv)
{
    hone_evaluate_options how = { 0 };
    hone_cli_eval_tasks tasks = { .shots = -1 };
    hone_cli_model model = { 0 };
    bool json = false, done;
    char about[1536];
    const hone_cli_option options[] = {
        { "data", HONE_CLI_TEXT, &how.data, "PATH", "prepared folder (its held-out split), .u16/.u32 token file, .jsonl of {\"text\"}, or a text file; of --tasks, a folder" },
        { "context", HONE_CLI_INT, &how.context, "N", "tokens a window (default 1024, or the model's positions)" },
        { "max-tokens", HONE_CLI_INT, &how.max_tokens, "N", "stop after about so many tokens (default 0: all)" },
        { "tasks", HONE_CLI_TEXT, &tasks.names, "LIST", "questions of these names, with commas between, or all whose files are there" },
        { "limit", HONE_CLI_INT, &tasks.limit, "N", "with --tasks: the first N questions of each file (default 0: all)" },
        { "shots", HONE_CLI_INT, &tasks.shots, "N", "with --tasks gsm8k: worked examples in front (default 5)" },
        { "samples", HONE_CLI_TEXT, &tasks.samples, "FILE", "with --tasks: what was answered to each question, as JSON lines" },
        HONE_CLI_MODEL_OPTIONS(model),
        { "json", HONE_CLI_FLAG, &json, NULL, "print one JSON object" }, { 0 } };
    snprintf(about, sizeof about,
        "Measures how well a model foretells text: loss, perplexity, bits per byte, each with its standard error over windows.\n"
        "Texts longer than a window are cut, as in training: each token is predicted from those before it in its window.\n\n"
        "With --tasks it answers questions instead, as lm-evaluation-harness asks and counts them: share right (acc), share right\n"
        "by likelihood a character (acc_norm), perplexity, exact match. Tasks:\n"
        "%s.\n"
        "docs/data.md says what their files hold.", hone_cli_task_names());
    const hone_cli_command command = { "eval", "MODEL --data PATH [options]", about, "hone eval out/step-700 --data novels/ --context 512", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 1) return hone_fail_usage("eval: give one model folder%s%s", argc > 1 ? ", not also " : "", argc > 1 ? argv[1] : "");
    if ((status = check(&how, &tasks))) return status;
    return tasks.names ? hone_cli_eval_tasks_run(&tasks, argv[0], how.data, &model, json) : foretell(argv[0], &how, &model, json);
}
