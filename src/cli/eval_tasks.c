// eval_tasks.c: hone eval --tasks: questions with known answers, asked and counted.
#include "cli/eval_tasks.h"
#include "base/cpu.h"
#include "base/file.h"
#include "gen/task_eval.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_TASKS = 64 };

typedef struct { double shown_s; bool terminal; hone_buffer rows; } job;

const char *hone_cli_task_names(void)
{
    static char names[512];
    size_t used = 0;
    const hone_task *task;
    for (int i = 0; (task = hone_task_at(i)); i++) {
        int n = snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", task->name);
        HONE_ASSERT(n > 0 && used + (size_t)n < sizeof names, "names of tasks");
        used += (size_t)n;
    }
    return names;
}

// --- which ---

static void add_task(const hone_task *task, const hone_task **list, int64_t *n)
{
    for (int64_t i = 0; i < *n; i++) if (list[i] == task) return;
    HONE_ASSERT(*n < MOST_TASKS, "%" PRId64 " tasks", *n);
    list[(*n)++] = task;
}

static hone_status add_all(const char *data, const hone_task **list, int64_t *n)
{
    const hone_task *task;
    for (int i = 0; (task = hone_task_at(i)); i++) if (hone_task_has_files(task, data)) add_task(task, list, n);
    return *n ? HONE_OK : hone_fail("%s: no file of any task is there; docs/data.md shows their names and layouts", data);
}

// "arc_easy,piqa", or "all": those whose files are there.
static hone_status list_tasks(const char *names, const char *data, const hone_task **list, int64_t *n)
{
    if (!strcmp(names, "all")) return add_all(data, list, n);
    for (const char *at = names; *at;) {
        char name[64];
        const hone_task *task;
        size_t size = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)(size < sizeof name ? size : sizeof name - 1), at);
        hone_status status = hone_task_find(name, &task);
        if (status) return status;
        add_task(task, list, n);
        at += size + (at[size] == ',');
    }
    return *n ? HONE_OK : hone_fail_usage("--tasks: name at least one, or all");
}

// --- what is shown ---

static void show_progress(void *context, int64_t done, int64_t all)
{
    job *j = context;
    double now = hone_clock_s();
    if (!j->terminal || now - j->shown_s < 0.2) return;
    j->shown_s = now;
    fprintf(stderr, "\reval  %" PRId64 "/%" PRId64 " questions  %.0f%%  ", done, all, 100.0 * (double)done / (double)all);
}

static hone_status keep_sample(void *context, const json_t *row)
{
    job *j = context;
    char *text = hone_json_dumps(row, JSON_COMPACT | JSON_REAL_PRECISION(9));
    hone_status status = text ? hone_buffer_print(&j->rows, "%s\n", text) : hone_fail("out of memory");
    hone_free(text);
    return status;
}

static json_t *figures(const hone_task_result *r)
{
    json_t *row = json_pack("{s:I, s:I}", "questions", (json_int_t)r->questions, "cut", (json_int_t)r->cut);
    char error[64];
    for (int f = 0; f < r->n_figure; f++) {
        snprintf(error, sizeof error, "%s_standard_error", r->figure[f].name);
        json_object_set_new(row, r->figure[f].name, json_real(r->figure[f].value));
        json_object_set_new(row, error, json_real(r->figure[f].error));
    }
    return row;
}

static hone_status print_json(const char *folder, const char *data, const hone_task_results *out)
{
    json_t *tasks = json_object(), *task = NULL;
    for (int64_t i = 0; i < out->count; i++) {
        const hone_task_result *r = &out->result[i];
        json_t *parts = r->part ? json_object_get(task, "parts") : NULL;
        if (!r->part) json_object_set_new(tasks, r->task->name, task = figures(r));
        else if (parts) json_object_set_new(parts, r->part, figures(r));
        else json_object_set_new(task, "parts", json_pack("{s:o}", r->part, figures(r)));
    }
    json_t *row = json_pack("{s:s, s:s, s:o, s:f, s:I, s:I}", "model", folder, "data", data, "tasks", tasks, "seconds", out->seconds,
                            "tokens", (json_int_t)out->tokens, "tokens_shared", (json_int_t)out->shared);
    hone_status status = hone_cli_print_json(row);
    json_decref(row);
    return status;
}

static void print_table(const char *folder, const char *data, const hone_task_results *out)
{
    printf("eval %s on %s\n", folder, data);
    printf("  %-32s %9s  %s\n", "task", "questions", "figures, each with its standard error");
    for (int64_t i = 0; i < out->count; i++) {
        const hone_task_result *r = &out->result[i];
        printf("  %s%-*s %9" PRId64, r->part ? "  " : "", r->part ? 30 : 32, r->part ? r->part : r->task->name, r->questions);
        for (int f = 0; f < r->n_figure; f++) printf("  %s %.4f +- %.4f", r->figure[f].name, r->figure[f].value, r->figure[f].error);
        if (r->cut) printf("  (%" PRId64 " prompts lost their beginning)", r->cut);
        printf("\n");
    }
    printf("  %" PRId64 " tokens in %.1f s, %.0f tok/s; %" PRId64 " more were shared\n", out->tokens, out->seconds, (double)out->tokens / out->seconds, out->shared);
}

hone_status hone_cli_eval_tasks_run(const hone_cli_eval_tasks *how, const char *folder, const char *data, const hone_cli_model *model, bool as_json)
{
    const hone_task *list[MOST_TASKS];
    int64_t n = 0;
    hone_runner runner = { 0 };
    hone_task_results out = { 0 };
    job j = { .terminal = isatty(2) };
    hone_status status = list_tasks(how->names, data, list, &n);
    if (!status) status = hone_cli_open_model(&runner, folder, model);
    hone_task_options options = { data, how->limit, how->shots, how->samples ? keep_sample : NULL, show_progress, &j };
    if (!status) status = hone_task_evaluate(&runner, list, n, &options, &out);
    if (j.shown_s > 0) fprintf(stderr, "\r\033[K");
    if (!status && how->samples) status = hone_file_write(how->samples, j.rows.data, j.rows.size);
    if (!status && as_json) status = print_json(folder, data, &out);
    else if (!status) print_table(folder, data, &out);
    hone_buffer_release(&j.rows);
    hone_task_results_release(&out);
    hone_runner_close(&runner);
    return status;
}
