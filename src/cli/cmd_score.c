// cmd_score.c: hone score: the log-probability of every token of given texts.
#include "cli/model.h"
#include "cli/verbs.h"
#include "gen/lines.h"
#include "gen/score.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_CONTEXT = 2048 };

typedef struct { hone_ids ids; float *logprob; } row; // one line of the input, on its way through a run

typedef struct {
    hone_runner runner;
    hone_scorer scorer;
    row *row; int64_t n_row, capacity;   // waiting for a run
    int64_t lines;
} job;

static hone_status print_rows(job *j, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        row *r = &j->row[i];
        json_t *object = json_object(), *ids = json_array(), *logprobs = json_array();
        for (int64_t k = 0; k < r->ids.count; k++) {
            json_array_append_new(ids, json_integer(r->ids.data[k]));
            json_array_append_new(logprobs, k ? json_real((double)r->logprob[k]) : json_null());
        }
        json_object_set_new(object, "ids", ids);
        json_object_set_new(object, "logprobs", logprobs);
        int failed = json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
        json_decref(object);
        if (failed || printf("\n") < 0) return hone_fail("standard output: cannot write the scores of line %" PRId64, j->lines - j->n_row + i + 1);
        hone_free(r->ids.data);
        hone_free(r->logprob);
    }
    memmove(j->row, j->row + count, (size_t)(j->n_row - count) * sizeof *j->row);
    j->n_row -= count;
    return HONE_OK;
}

static hone_status score_line(job *j, const hone_line *line)
{
    static const char *const keys[] = { "text", NULL };
    const char *text;
    bool ran;
    if (hone_grow(&j->row, j->n_row, &j->capacity, sizeof *j->row)) return HONE_FAILED;
    row *r = &j->row[j->n_row];
    *r = (row){ 0 };
    if (hone_line_content(line, keys, &text, &r->ids)) return HONE_FAILED;
    j->n_row++;                  // from here on the job frees it
    j->lines++;
    if (text && (hone_runner_need_tokenizer(&j->runner) ||
                 hone_tokenizer_encode(j->runner.tokenizer, text, strlen(text), HONE_ENCODE_SPECIAL, &r->ids)))
        return HONE_FAILED;
    if (!(r->logprob = hone_alloc((size_t)r->ids.count + 1, sizeof *r->logprob))) return HONE_FAILED;
    if (hone_scorer_add(&j->scorer, &(hone_score_item){ r->ids.data, r->ids.count, r->logprob }, line->where, &ran)) return HONE_FAILED;
    return ran ? print_rows(j, j->n_row - 1) : HONE_OK;
}

static hone_status run(job *j, const char *folder, const char *input, int64_t context, const hone_cli_model *model)
{
    hone_lines lines;
    hone_train_io io;
    if (hone_lines_open(&lines, input)) return HONE_FAILED;
    hone_status status = hone_cli_open_model(&j->runner, folder, model);
    if (!status) {
        int64_t positions = j->runner.model.config.max_positions;
        status = hone_model_build_score(&j->runner.model, 1, context < positions ? context : positions, &io);
    }
    if (!status) status = hone_runner_start(&j->runner);
    if (!status) status = hone_scorer_open(&j->scorer, &j->runner.session, &j->runner.model, &io);
    for (hone_line line; !status && hone_lines_next(&lines, &line, &status);) {
        status = score_line(j, &line);
        hone_line_release(&line);
    }
    if (!status && j->lines == 0) status = hone_fail("%s: no lines; give one JSON object with \"text\" or \"ids\" a line", input);
    hone_lines_close(&lines);
    if (status) return status;
    hone_scorer_flush(&j->scorer);
    if (print_rows(j, j->n_row)) return HONE_FAILED;
    fprintf(stderr, "score  %" PRId64 " lines  load %.2f s  %" PRId64 " tokens %.2f s %.0f tok/s\n", j->lines, j->runner.load_s,
            j->scorer.tokens, j->scorer.seconds, j->scorer.seconds > 0 ? (double)j->scorer.tokens / j->scorer.seconds : 0);
    return HONE_OK;
}

hone_status hone_cmd_score(int argc, char **argv)
{
    const char *input = NULL;
    hone_cli_model model = { 0 };
    int64_t context = DEFAULT_CONTEXT;
    bool done;
    const hone_cli_option options[] = {
        { "input", HONE_CLI_TEXT, &input, "FILE", "one JSON object a line: {\"text\"} or {\"ids\"}" },
        { "context", HONE_CLI_INT, &context, "N", "tokens a run (default 2048, or the model's positions); longer lines are refused" },
        HONE_CLI_MODEL_OPTIONS(model), { 0 } };
    const hone_cli_command command = { "score", "MODEL --input FILE [options]",
        "Prints for each line one JSON object {\"ids\", \"logprobs\"}, in the same order: logprobs[i] is the natural logarithm\n"
        "of the probability of ids[i] given the ids before it; the first is null. A text gets the tokens that the tokenizer\n"
        "puts around it (such as <s>); ids are taken as they are.",
        "hone score out/step-700 --input answers.jsonl > scores.jsonl", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 1) return hone_fail_usage("score: give one model folder%s%s", argc > 1 ? ", not also " : "", argc > 1 ? argv[1] : "");
    if (!input) return hone_fail_usage("score: --input FILE is missing");
    if (context < 1) return hone_fail_usage("score: --context %" PRId64 ": must be 1 or more", context);
    job j = { 0 };
    status = run(&j, argv[0], input, context, &model);
    for (int64_t i = 0; i < j.n_row; i++) {
        hone_free(j.row[i].ids.data);
        hone_free(j.row[i].logprob);
    }
    hone_free(j.row);
    hone_scorer_close(&j.scorer);
    hone_runner_close(&j.runner);
    return status;
}
