// cmd_inspect.c: hone inspect: what a recipe's data looks like.
#include "cli/args.h"
#include "cli/verbs.h"
#include "data/inspect.h"
#include "plan/job.h"

#include <inttypes.h>
#include <stdio.h>

static hone_status show(hone_job *job, hone_inspect_form form, int64_t first, int64_t rows)
{
    hone_inspector in = { .mixture = &job->train, .tokenizer = job->tokenizer, .form = form, .colour = hone_cli_colour(1) };
    hone_buffer out = { 0 };
    hone_status status = hone_inspector_open(&in);
    if (status) return status;
    if (form != HONE_INSPECT_JSON) {
        printf("hone inspect data  %s  rows of %" PRId64 " tokens, %" PRId64 " rows a step\n", job->recipe->path, job->T, job->train.step_rows);
        status = hone_inspect_mixture(&in, &out);
    }
    for (int64_t r = first; r < first + rows && !status; r++) {
        status = hone_inspect_row(&in, r, &out);
        fwrite(out.data, 1, out.size, stdout);
        out.size = 0;
    }
    hone_buffer_release(&out);
    hone_inspector_close(&in);
    return status;
}

hone_status hone_cmd_inspect_data(int argc, char **argv)
{
    int64_t rows = 2, from = 0, step = -1;
    bool table = false, json = false, done;
    const hone_cli_option options[] = {
        { "rows", HONE_CLI_INT, &rows, "N", "how many rows (default 2)" },
        { "from", HONE_CLI_INT, &from, "ROW", "the first of them (default 0)" },
        { "step", HONE_CLI_INT, &step, "S", "the first row of step S, in place of --from" },
        { "table", HONE_CLI_FLAG, &table, NULL, "a line a token: place, position in its document, id, whether it is trained, its text" },
        { "json", HONE_CLI_FLAG, &json, NULL, "a JSON object a row" }, { 0 } };
    const hone_cli_command command = { "inspect data", "[options] RECIPE.yaml [key=value ...]",
        "Shows what the model will see, token by token: rows of the recipe's data in the order of training, with the source of each,\n"
        "the file of each document, where documents begin, and what is not trained (in brackets, or dim): the step from the end of\n"
        "one document to the next. A line break is shown as an arrow.",
        "hone inspect data recipes/demo.yaml --step 100 --rows 4", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc < 1) return hone_fail_usage("inspect data: of which recipe? hone inspect data RECIPE.yaml");
    if (rows < 1 || from < 0) return hone_fail_usage("inspect data: --rows %" PRId64 " must be positive and --from %" PRId64 " not negative", rows, from);
    hone_recipe recipe;
    if ((status = hone_recipe_load(&recipe, argv[0], argc - 1, argv + 1))) return status;
    hone_job job;
    if (!(status = hone_job_open_data(&job, &recipe))) {
        status = show(&job, json ? HONE_INSPECT_JSON : table ? HONE_INSPECT_TABLE : HONE_INSPECT_TEXT, step >= 0 ? step * job.train.step_rows : from, rows);
        hone_job_close(&job);
    }
    hone_recipe_release(&recipe);
    return status;
}
